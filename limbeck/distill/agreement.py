"""Which draws of one request come to the same answer, and which answer is the commonest (self-consistency, Wang et al. 2023)."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence

from limbeck.distill.near import plain

# What a chain of thought ends with: \boxed{...}, "#### 12", "the answer is 12". The last one counts.
MARK = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}|####\s*(\S[^\n]*)|(?:the (?:final )?answer is|final answer\s*:|\banswer\s*:)\s*([^\n]+)", re.IGNORECASE)
NUMBER = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?")
SHORT = 60  # characters up to which a text of one line is itself the answer


def outcome_of(text: str, effect: Hashable = None) -> Hashable:
    """What a draw comes to: its effect where the verifier gives one, else its marked answer, else the number its last line ends with, else its words."""
    if effect is not None:
        return "effect", effect
    marks = MARK.findall(text)
    if marks:
        return _value(next(part for part in marks[-1] if part) if any(marks[-1]) else "")
    lines = text.strip().splitlines() or [""]
    if len(lines) == 1 and len(text) <= SHORT:
        return _value(text)
    numbers = NUMBER.findall(lines[-1]) if len(lines) > 1 or len(text) > SHORT else []
    return _value(numbers[-1]) if numbers else ("text", plain(text))


def _value(said: str) -> Hashable:
    """A number as a number ("$1,200.00." is 1200); anything else in plain words, without wrappings."""
    bare = re.sub(r"\*\*|\\text|\\\(|\\\)", "", said).strip().strip(" .`\"'${}()")
    found = re.fullmatch(r"(-?)\$?(\d[\d,]*(?:\.\d+)?)\s*(?:%|[a-z]{0,12}|[a-z]+ [a-z]+)?", bare, re.IGNORECASE)
    if found:
        return "number", float(found[1] + found[2].replace(",", ""))
    return "text", plain(bare)


def shares(outcomes: Sequence[Hashable], counts: Sequence[int]) -> list[float]:
    """For each draw the share of all draws that come to its outcome; `counts` says how often each was drawn."""
    total: dict[Hashable, int] = {}
    for outcome, count in zip(outcomes, counts, strict=True):
        total[outcome] = total.get(outcome, 0) + count
    drawn = sum(counts)
    return [total[o] / drawn for o in outcomes]
