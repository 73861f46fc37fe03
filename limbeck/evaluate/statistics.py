"""Intervals for rates, differences and ratios. All at 95 %."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Z = 1.959963984540054


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Wilson's score interval for a rate (Wilson 1927)."""
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    centre = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def paired_difference(a: Sequence[float], b: Sequence[float], seed: int = 0, draws: int = 10_000) -> tuple[float, float, float]:
    """mean(a - b) and its percentile bootstrap interval over examples; a and b answer the same examples in order."""
    gap = np.asarray(a, float) - np.asarray(b, float)
    means = _resample(gap[:, None], seed, draws)[:, 0]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(gap.mean()), float(low), float(high)


def paired_ratio(a: Sequence[float], b: Sequence[float], seed: int = 0, draws: int = 10_000) -> tuple[float, float, float]:
    """mean(a) / mean(b) with its percentile bootstrap interval over examples: what share of b's score a retains."""
    both = np.stack([np.asarray(a, float), np.asarray(b, float)], 1)
    means = _resample(both, seed, draws)
    ratios = means[:, 0] / np.maximum(means[:, 1], 1e-12)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(both[:, 0].mean() / max(both[:, 1].mean(), 1e-12)), float(low), float(high)


def _resample(values: np.ndarray, seed: int, draws: int) -> np.ndarray:
    """Means of `draws` resamples of the rows: [draws, columns]."""
    random = np.random.default_rng(seed)
    n = len(values)
    out = np.empty((draws, values.shape[1]))
    for start in range(0, draws, 500):
        index = random.integers(0, n, (min(500, draws - start), n))
        out[start : start + 500] = values[index].mean(1)
    return out
