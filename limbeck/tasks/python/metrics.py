"""Scores of a line of Python against gold ones: CoNaLa's BLEU-4 and exact match, and equality of syntax trees."""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ORDER = 4
LONGEST = 10_000  # characters
MOST_TOKENS = 4_000
DRAWS = 1_000


@dataclass(frozen=True, slots=True)
class Overlap:
    """What BLEU adds up over a corpus: n-grams found and n-grams there, for n = 1 to 4, and the two lengths."""

    hits: tuple[int, ...]
    grams: tuple[int, ...]
    length: int
    gold_length: int


def why_unreadable(code: str) -> str:
    """Why a text is not even looked at; empty where it is."""
    if not code.strip():
        return "empty"
    if "\0" in code:
        return "a null byte"
    if len(code) > LONGEST:
        return f"longer than {LONGEST:,} characters"
    if len(code.split()) > MOST_TOKENS:
        return f"more than {MOST_TOKENS:,} words"
    return ""


def tokenise(code: str) -> list[str]:
    """Words as CoNaLa counts them: signs apart, camelCase apart, all quotes alike."""
    text = re.sub(r"([^A-Za-z0-9_])", r" \1 ", code)
    text = re.sub(r"([a-z])([A-Z])", r"\1 \2", text)
    return re.sub("[\"']", "`", text).split()


def overlap(golds: Sequence[str], code: str) -> Overlap:
    """What one line adds to a corpus BLEU."""
    words, references = tokenise(code), [tokenise(g) for g in golds]
    hits, grams = [], []
    for n in range(1, ORDER + 1):
        found, best = _grams(words, n), Counter[tuple[str, ...]]()
        for reference in references:
            best |= _grams(reference, n)
        hits.append(sum((found & best).values()))
        grams.append(max(0, len(words) - n + 1))
    return Overlap(tuple(hits), tuple(grams), len(words), min((len(r) for r in references), default=0))


def corpus_bleu(rows: Sequence[Overlap]) -> float:
    """BLEU-4 in percent, unsmoothed, with the shortest reference's length (CoNaLa's evaluation)."""
    return float(_bleu(_table(rows).sum(0, keepdims=True))[0]) if rows else 0.0


def bleu_interval(groups: Sequence[Sequence[Overlap]]) -> tuple[float, float]:
    """95 % interval of corpus BLEU: a bootstrap over groups of lines that belong together; the same on every run."""
    sums = np.stack([_table(rows).sum(0) for rows in groups])
    random = np.random.default_rng(0)
    draws = np.concatenate([_bleu(sums[random.integers(0, len(sums), len(sums))].sum(0, keepdims=True)) for _ in range(DRAWS)])
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def _table(rows: Sequence[Overlap]) -> np.ndarray:
    return np.array([[*r.hits, *r.grams, r.length, r.gold_length] for r in rows], dtype=float)


def _bleu(sums: np.ndarray) -> np.ndarray:
    hits, grams, length, gold_length = sums[:, :ORDER], sums[:, ORDER : 2 * ORDER], sums[:, -2], sums[:, -1]
    precision = np.where(grams > 0, hits / np.maximum(grams, 1), 0.0)
    mean = np.where(precision.min(1) > 0, np.exp(np.log(np.maximum(precision, 1e-300)).mean(1)), 0.0)
    ratio = length / np.maximum(gold_length, 1)
    brevity = np.where(ratio > 1, 1.0, np.exp(1 - 1 / np.maximum(ratio, 1e-9)))
    return 100 * mean * brevity


def line_bleu(golds: Sequence[str], code: str) -> float:
    """BLEU of one line in [0, 1]; every n from 2 on has one added to hits and n-grams, since a line may be short (Lin and Och, 2004)."""
    found = overlap(golds, code)
    if not found.length or not found.hits[0]:
        return 0.0
    logs = math.log(found.hits[0] / found.grams[0]) + sum(math.log((h + 1) / (g + 1)) for h, g in zip(found.hits[1:], found.grams[1:], strict=True))
    return math.exp(logs / ORDER) * min(1.0, math.exp(1 - found.gold_length / found.length))


def is_exact(golds: Sequence[str], code: str) -> bool:
    """Whether the words are those of a gold line."""
    words = tokenise(code)
    return bool(words) and any(words == tokenise(gold) for gold in golds)


def syntax_tree(code: str) -> str | None:
    """The syntax tree as text; None where it is no Python 3, or nested too deep to be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.dump(ast.parse(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _grams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[at : at + n]) for at in range(len(words) - n + 1))
