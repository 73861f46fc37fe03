"""pass@k: how likely at least one of k answers is right, without bias, from n answers a problem."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.evaluate.clustered import Groups, group_index, wilson_interval
from limbeck.evaluate.quantiles import t_quantile


def pass_at_k(samples: int, right: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k) of one problem (Chen et al. 2021, arXiv 2107.03374). Raises LimbeckError for k above n."""
    if not 0 <= right <= samples or not 0 < k <= samples:
        raise LimbeckError(f"pass@{k} of {right} right among {samples} answers cannot be", "pass@k", "draw at least k answers a problem")
    if samples - right < k:
        return 1.0
    return 1.0 - math.prod(1 - k / i for i in range(samples - right + 1, samples + 1))


def mean_pass_at_k(counts: Sequence[tuple[int, int]], k: int, groups: Groups = None, seed: int = 0, draws: int = 10_000) -> tuple[float, float, float]:
    """Mean pass@k over problems, each (answers, right), with a bootstrap interval over problems or over groups of them.

    Percentiles are widened for few problems as Student's quantile is (Hesterberg 2015: Phi(-sqrt(n / (n-1)) t)). Where all
    problems are equal, resampling shows nothing and Wilson's interval over the problems (groups) is given.
    """
    if not counts:
        raise LimbeckError("there are no problems", "pass@k", "judge at least one")
    values = np.array([pass_at_k(n, c, k) for n, c in counts])
    index = group_index(groups, len(values))
    clusters = int(index.max()) + 1
    mean = float(values.mean())
    if clusters == 1 or values.min() == values.max():
        low, high = wilson_interval(mean, clusters)
        return mean, low, high
    sums, sizes = np.bincount(index, values), np.bincount(index)
    weights = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), draws)
    means = (weights @ sums) / (weights @ sizes)
    low, high = np.quantile(means, widened_tails(clusters))
    return mean, float(low), float(high)


def widened_tails(n: int, level: float = 0.95) -> tuple[float, float]:
    """The two percentiles of a bootstrap over n units that make its interval as wide as Student's."""
    reach = math.sqrt(n / (n - 1)) * t_quantile(0.5 + level / 2, n - 1)
    low = 0.5 * math.erfc(reach / math.sqrt(2))
    return low, 1 - low
