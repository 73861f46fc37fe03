"""Rates of things that come in groups of unequal size, with a bootstrap over the groups."""

from __future__ import annotations

import numpy as np

from limbeck.records import Score

DRAWS = 2000


def grouped_rate(name: str, sums: list[float], sizes: list[float], missing: int = 0) -> Score:
    """sum(sums) / sum(sizes) and its 95 % interval; the same numbers on every run."""
    table = np.column_stack([sums, sizes]) if sums else np.zeros((0, 2))
    if not table[:, 1].sum():
        return Score(name=name, value=None, n=0, missing=missing)
    random = np.random.default_rng(0)
    draws = table[random.integers(0, len(table), (DRAWS, len(table)))].sum(1)
    low, high = np.quantile(draws[:, 0] / np.maximum(draws[:, 1], 1e-12), [0.025, 0.975])
    return Score(name=name, value=float(table[:, 0].sum() / table[:, 1].sum()), n=int(table[:, 1].sum()), low=float(low), high=float(high), missing=missing)
