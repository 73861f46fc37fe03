"""How different an answerer's candidates are, by the CODEFUSION paper's measures (Table 2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations


def distinct_ngrams(texts: Sequence[str], n: int) -> float | None:
    """Distinct token n-grams over all tokens of the candidates."""
    tokens = [re.findall(r"\w+|[^\w\s]", t) for t in texts]
    total = sum(map(len, tokens))
    grams = {tuple(t[i : i + n]) for t in tokens for i in range(len(t) - n + 1)}
    return len(grams) / total if total else None


def edit_distances(texts: Sequence[str]) -> tuple[float, float, float] | None:
    """Least, mean and greatest normalised edit distance between pairs of candidates."""
    gaps = [_levenshtein(a, b) / max(len(a), len(b), 1) for a, b in combinations(texts, 2)]
    return (min(gaps), sum(gaps) / len(gaps), max(gaps)) if gaps else None


def _levenshtein(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]
