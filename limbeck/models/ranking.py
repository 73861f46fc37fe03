"""Which candidate is best: the likeliest, or the one nearest to all others; and which of them are the same answer."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

from limbeck.records import Candidate, Check, Prompt

Utility = Callable[[str, str], float]  # how much of b is gained by saying a, 0 to 1
Family = Callable[[str], Hashable]  # what answers that differ only in their values have in common
RANKS = ("logp", "mbr", "family")
LESS_NEW = 2.0  # nats that an answer loses for being of a family that has spoken
_TOKEN = re.compile(r"\w+|[^\w\s]")


def edit_similarity(a: str, b: str) -> float:
    """1 - edit distance over tokens / the longer's tokens; 1 for equal texts."""
    first, second = _TOKEN.findall(a), _TOKEN.findall(b)
    return 1 - edits(first, second) / max(1, len(first), len(second))


def edits(first: Sequence[Any], second: Sequence[Any]) -> int:
    """The fewest insertions, deletions and replacements that turn one sequence into another."""
    row = list(range(len(second) + 1))
    for i, token in enumerate(first, 1):
        above, row[0] = row[0], i
        for j, other in enumerate(second, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (token != other))
    return row[-1]


def near_snippet(candidates: Sequence[Candidate], snippet: Sequence[int], strength: float) -> list[Candidate]:
    """Ranked by log-probability and by nearness to a snippet: a noisy channel that changed each symbol with probability `strength`.

    Each edited symbol costs log((1 - strength) / strength) nats; from a strength of a half on nearness counts for nothing.
    """
    price = max(0.0, math.log((1 - strength) / strength)) if strength < 1 else 0.0
    scored = [replace(c, score=c.score - price * edits(c.meta["symbols"], snippet)) for c in candidates]
    return sorted(scored, key=lambda c: -c.score)


def by_bayes_risk(candidates: Sequence[Candidate], utility: Utility = edit_similarity) -> list[Candidate]:
    """Ranked by expected utility under the candidates' own probabilities (Kumar and Byrne 2004), which becomes the score."""
    if not candidates:
        return []
    best = max(c.score for c in candidates)
    weights = [math.exp(c.score - best) for c in candidates]
    total = sum(weights)
    gains = [sum(w * utility(c.text, other.text) for w, other in zip(weights, candidates, strict=True)) / total for c in candidates]
    scored = [replace(c, score=gain) for c, gain in zip(candidates, gains, strict=True)]
    return sorted(scored, key=lambda c: -c.score)


def by_family(candidates: Sequence[Candidate], family: Family) -> list[Candidate]:
    """Answers of one family pool their probability, and the likeliest of them speaks for all; the others lose LESS_NEW nats.

    A network spreads one thought over many spellings of its values: the sum says how sure it is of the thought.
    """
    groups: dict[Hashable, list[Candidate]] = {}
    for candidate in sorted(candidates, key=lambda c: -c.score):
        groups.setdefault(family(candidate.text), []).append(candidate)
    out = []
    for first, *others in groups.values():
        mass = first.score + math.log(sum(math.exp(c.score - first.score) for c in (first, *others)))
        out += [replace(first, score=mass), *(replace(c, score=c.score - LESS_NEW) for c in others)]
    return sorted(out, key=lambda c: -c.score)


def distinct_outcomes(prompt: Prompt, candidates: Sequence[Candidate], check: Callable[[Prompt, str], Check]) -> list[Candidate]:
    """Without those that do what a better one does; an answer without an outcome is only equal to itself."""
    kept: list[Candidate] = []
    seen: set[object] = set()
    for candidate in candidates:
        outcome = check(prompt, candidate.text).outcome
        if outcome is None or outcome not in seen:
            kept.append(candidate)
            seen.add(outcome)
    return kept
