"""Two answerers on the same examples: interval of the difference and of the ratio, p value, and many comparisons at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.evaluate.clustered import Groups, clustered_error, degrees_of_freedom, group_index
from limbeck.evaluate.quantiles import t_quantile, z_quantile

EXACT_GROUPS = 16  # up to 2^16 sign patterns are all tried


def difference_interval(gaps: Sequence[float], groups: Groups = None, level: float = 0.95) -> tuple[float, float, float]:
    """Mean of paired differences with its interval, over examples or over groups of examples.

    Differences of right-or-wrong scores (-1, 0, 1): Wald's interval with one more discordant pair each way (Bonett and Price
    2012), over the effective number of examples where they are clustered; unlike a bootstrap it keeps its width when the two
    hardly ever differ. Others: Student's interval with the clustered error.
    Measured: 95-97 % from 20 pairs or 30 groups on; 99 % where three of 100 pairs differ (a percentile bootstrap: 85 %) and with 8 groups.
    """
    gap, index = _gaps(gaps, groups)
    clusters, n, mean = int(index.max()) + 1, len(gap), float(gap.mean())
    df = n - 1.0 if clusters == n else degrees_of_freedom(index)
    if not _is_binary(gap):
        half = t_quantile(0.5 + level / 2, df) * clustered_error(gap, index) if clusters > 1 else math.inf
        return mean, mean - half, mean + half
    effective = float(n) if clusters == n else _effective(gap, index, df, level)
    up, down = ((float((gap == s).mean()) * effective + 1) / (effective + 2) for s in (1, -1))
    half = z_quantile(0.5 + level / 2) * math.sqrt((up + down - (up - down) ** 2) / (effective + 2))
    return mean, max(-1.0, up - down - half), min(1.0, up - down + half)


def _effective(gap: np.ndarray, index: np.ndarray, df: float, level: float) -> float:
    n, clusters = len(gap), int(index.max()) + 1
    independent, se = float(gap.var()) / n, clustered_error(gap, index)
    if clusters < 2 or independent == 0 or se == 0:
        return float(clusters)
    narrow = t_quantile(0.5 + level / 2, n - 1) / t_quantile(0.5 + level / 2, df)
    return max(1.0, min(float(n), n * independent / se**2 * narrow**2))


def ratio_interval(a: Sequence[float], b: Sequence[float], groups: Groups = None, level: float = 0.95) -> tuple[float, float, float]:
    """mean(a) / mean(b) with a Student interval on its logarithm (linearised, clustered error); up to infinity where a mean is 0.

    Measured: 95-98 % from 20 pairs or 8 groups on; 88 % where three of 100 pairs differ.
    """
    x, y = np.asarray(a, float), np.asarray(b, float)
    _, index = _gaps(x - y, groups)
    if x.mean() <= 0 or y.mean() <= 0:
        return (0.0 if x.mean() <= 0 < y.mean() else math.nan), 0.0, math.inf
    ratio, clusters = float(x.mean() / y.mean()), int(index.max()) + 1
    if clusters < 2:
        return ratio, 0.0, math.inf
    se = clustered_error(x / x.mean() - y / y.mean(), index)
    half = t_quantile(0.5 + level / 2, len(x) - 1 if clusters == len(x) else degrees_of_freedom(index)) * se
    return ratio, ratio * math.exp(-half), ratio * math.exp(half)


def p_value(gaps: Sequence[float], groups: Groups = None, seed: int = 0, draws: int = 10_000) -> float:
    """Two-sided p of "no difference", by the test that `p_test` names."""
    gap, index = _gaps(gaps, groups)
    if p_test(gaps, groups) == "mcnemar exact":
        return mcnemar(int((gap > 0).sum()), int((gap < 0).sum()))
    return sign_flip(np.bincount(index, gap), seed, draws)


def p_test(gaps: Sequence[float], groups: Groups = None) -> str:
    """Which test suits: McNemar's exact one for unclustered right-or-wrong pairs, else flipping signs of examples or of groups."""
    gap, index = _gaps(gaps, groups)
    if int(index.max()) + 1 < len(gap):
        return "sign flip by cluster"
    return "mcnemar exact" if _is_binary(gap) else "sign flip"


def mcnemar(only_a: int, only_b: int) -> float:
    """McNemar's exact p: how often a fair coin is at least this uneven over the pairs on which the two differ."""
    n, k = only_a + only_b, min(only_a, only_b)
    if n == 0:
        return 1.0
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2) for i in range(k + 1)]
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))


def sign_flip(sums: Sequence[float] | np.ndarray, seed: int = 0, draws: int = 10_000) -> float:
    """Two-sided p by flipping the sign of each group's summed difference: all patterns where few, else `draws` with one added."""
    values = np.asarray(sums, float)
    values = values[np.abs(values) > 1e-12]  # a sum of nothing flips into itself
    if len(values) == 0:
        return 1.0
    seen = abs(values.sum()) * (1 - 1e-9)
    if len(values) <= EXACT_GROUPS:
        signs = ((np.arange(2 ** len(values))[:, None] >> np.arange(len(values))) & 1) * 2.0 - 1
        return float((np.abs(signs @ values) >= seen).mean())
    random, extreme = np.random.default_rng(seed), 0
    for start in range(0, draws, 500):
        signs = random.integers(0, 2, (min(500, draws - start), len(values)), dtype=np.int8) * 2.0 - 1
        extreme += int((np.abs(signs @ values) >= seen).sum())
    return (extreme + 1) / (draws + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values in the order given: below .05 they hold together with at most a 5 % chance of any error (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def adjust_family(comparisons: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The comparisons with `p_holm` added, taken as one family; those without a p value are left as they are."""
    having = [i for i, c in enumerate(comparisons) if c.get("p") is not None]
    adjusted = dict(zip(having, holm([comparisons[i]["p"] for i in having]), strict=True))
    return [c | ({"p_holm": adjusted[i], "family_size": len(having)} if i in adjusted else {}) for i, c in enumerate(comparisons)]


def _is_binary(gap: np.ndarray) -> bool:
    return bool(np.isin(gap, (-1.0, 0.0, 1.0)).all())


def _gaps(gaps: Sequence[float] | np.ndarray, groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    found = np.asarray(gaps, float)
    if len(found) == 0:
        raise LimbeckError("there are no pairs to compare", "paired", "give both answerers' scores on the same examples")
    return found, group_index(groups, len(found))
