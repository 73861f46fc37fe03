"""Means, rates and paired differences where examples come in clusters (twins, one problem in eleven languages), and their p values.

Errors are clustered as in Miller (arXiv:2411.00640): examples that share a source are no independent evidence. With few
clusters the quantile is Student's with G - 1 degrees of freedom; tests/test_coverage.py measures what the intervals cover.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist

import numpy as np

from limbeck.evaluate.statistics import Z, wilson

FLIPS = 10_000
EXACT_CLUSTERS = 12


def student_quantile(p: float, df: float) -> float:
    """The p quantile of Student's t by the Cornish-Fisher expansion: within 0.5 % from 4 degrees of freedom on, at p = .975."""
    z = NormalDist().inv_cdf(p)
    g1 = (z**3 + z) / 4
    g2 = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    g3 = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    g4 = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + g1 / df + g2 / df**2 + g3 / df**3 + g4 / df**4


def cluster_sums(values: Sequence[float] | np.ndarray, clusters: Sequence[Hashable] | None) -> tuple[np.ndarray, np.ndarray]:
    """Sum and size of each cluster; every value its own where there are none."""
    x = np.asarray(values, float)
    if clusters is None:
        return x, np.ones(len(x))
    places: dict[Hashable, int] = {}
    index = np.array([places.setdefault(c, len(places)) for c in clusters])
    return np.bincount(index, x), np.bincount(index).astype(float)


def standard_error(values: Sequence[float] | np.ndarray, clusters: Sequence[Hashable] | None = None) -> tuple[float, int]:
    """The clustered standard error of the mean, with the correction G / (G - 1), and the number of clusters G."""
    sums, sizes = cluster_sums(values, clusters)
    groups, n = len(sums), sizes.sum()
    if groups < 2:
        return math.nan, groups
    residuals = sums - sizes * (sums.sum() / n)
    return float(math.sqrt(groups / (groups - 1) * (residuals**2).sum()) / n), groups


def mean_interval(values: Sequence[float] | np.ndarray, clusters: Sequence[Hashable] | None = None) -> tuple[float, float, float]:
    """Mean and 95 % interval: Wilson's for 0 and 1 (with the effective n of the design where clustered), else Student's."""
    x = np.asarray(values, float)
    mean = float(x.mean())
    error, groups = standard_error(x, clusters)
    quantile = student_quantile(0.975, groups - 1) if groups > 1 else math.inf
    if bool(np.isin(x, (0.0, 1.0)).all()):
        n = float(len(x))
        if clusters is not None and groups > 1 and error > 0:  # Korn and Graubard 1998; more than n is not believed
            n = min(n, mean * (1 - mean) / error**2 * (Z / quantile) ** 2)
        low, high = wilson_at(mean, n)
        return mean, low, high
    low, high = mean - quantile * error, mean + quantile * error
    if bool(((x >= 0) & (x <= 1)).all()):  # shares stay shares
        low, high = max(0.0, low), min(1.0, high)
    return mean, low, high


def wilson_at(p: float, n: float) -> tuple[float, float]:
    """Wilson's interval for a rate p of n, which need be no whole number."""
    if n <= 0:
        return 0.0, 1.0
    if float(n).is_integer():
        return wilson(p * n, int(n))
    centre, half = (p + Z * Z / (2 * n)) / (1 + Z * Z / n), Z / (1 + Z * Z / n) * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def difference_interval(gaps: Sequence[float] | np.ndarray, clusters: Sequence[Hashable] | None = None) -> tuple[float, float, float]:
    """Mean of paired differences and its 95 % interval (Student's, clustered)."""
    error, groups = standard_error(gaps, clusters)
    mean = float(np.mean(gaps))
    half = student_quantile(0.975, groups - 1) * error if groups > 1 else math.inf
    return mean, mean - half, mean + half


def p_value(gaps: Sequence[float] | np.ndarray, clusters: Sequence[Hashable] | None = None, seed: int = 0) -> float:
    """Two-sided p of no difference: McNemar's exact test for gaps of -1, 0, 1, else flipping the signs of whole clusters."""
    x = np.asarray(gaps, float)
    if clusters is None and bool(np.isin(x, (-1.0, 0.0, 1.0)).all()):
        wins, losses = int((x > 0).sum()), int((x < 0).sum())
        return min(1.0, 2 * sum(math.comb(wins + losses, i) for i in range(min(wins, losses) + 1)) / 2 ** (wins + losses))
    sums, _ = cluster_sums(x, clusters)
    sums = sums[sums != 0]
    if not len(sums):
        return 1.0
    observed = abs(sums.sum()) - 1e-9
    if len(sums) <= EXACT_CLUSTERS:
        signs = 1 - 2 * ((np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums))) & 1)
        return float((np.abs(signs @ sums) >= observed).mean())
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (FLIPS, len(sums)))
    return float(((np.abs(signs @ sums) >= observed).sum() + 1) / (FLIPS + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values of a family of tests (Holm 1979), in the order given."""
    order = np.argsort(p_values)
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = highest
    return adjusted


def examples_needed(points: float, p: float = 0.8, *, correlation: float = 0.0, is_paired: bool = True, power: float = 0.8) -> int:
    """How many examples show a difference of `points` (0.03 is 3 points) at 5 %, two-sided, with this power."""
    variance = 2 * p * (1 - p) * (1 - (correlation if is_paired else 0.0))
    return math.ceil((Z + NormalDist().inv_cdf(power)) ** 2 * variance / points**2)


def smallest_difference(n: int, p: float = 0.8, *, correlation: float = 0.0, power: float = 0.8) -> float:
    """The smallest difference that n examples a side show with this power."""
    return (Z + NormalDist().inv_cdf(power)) * math.sqrt(2 * p * (1 - p) * (1 - correlation) / n)


def pass_at_k(samples: int, right: int, k: int) -> float:
    """The unbiased estimate 1 - C(n - c, k) / C(n, k) (Chen et al., 2021). Raises ValueError for k over n."""
    if not 0 < k <= samples or not 0 <= right <= samples:
        raise ValueError(f"pass@{k} of {right} right among {samples}")
    return 1.0 - math.comb(samples - right, k) / math.comb(samples, k)


def against_published(ours: Sequence[float], published: float, n_published: int, clusters: Sequence[Hashable] | None = None) -> tuple[float, float, float, float]:
    """Difference to a published rate that has no per-example data, its 95 % interval and p; both sides' sampling error counts."""
    error, _ = standard_error(ours, clusters)
    total = math.sqrt(error**2 + published * (1 - published) / n_published)
    gap = float(np.mean(ours)) - published
    p = 2 * (1 - NormalDist().cdf(abs(gap) / total)) if total else float(gap == 0)
    return gap, gap - Z * total, gap + Z * total, p
