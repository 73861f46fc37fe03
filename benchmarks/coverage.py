"""How often a 95 % interval holds the truth, by method and regime: python benchmarks/coverage.py [--draws 2000]

Also the tests' size under no difference (5 % or less is right). tests/test_coverage.py runs these same simulations with fewer draws.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from limbeck.evaluate.clustered import clustered_mean, rate_interval, wilson_interval
from limbeck.evaluate.paired import difference_interval, p_value, ratio_interval
from limbeck.evaluate.pass_at_k import mean_pass_at_k
from limbeck.evaluate.published import against_published
from limbeck.evaluate.statistics import paired_difference

Random = np.random.Generator


def wilson_coverage(n: int, p: float) -> float:
    """Exactly: the sum of the binomial over the counts whose interval holds p."""
    held = (x for x in range(n + 1) if (edge := wilson_interval(x / n, n))[0] <= p <= edge[1])
    return sum(math.comb(n, x) * p**x * (1 - p) ** (n - x) for x in held)


def cluster_labels(random: Random, clusters: int, sizes: tuple[int, ...] = (2, 3, 4, 5)) -> np.ndarray:
    """A label an example; group sizes drawn from `sizes`."""
    return np.repeat(np.arange(clusters), random.choice(sizes, clusters))


def clustered_hits(random: Random, labels: np.ndarray, p: float, correlation: float) -> np.ndarray:
    """Right or wrong, with this correlation inside a group (beta-binomial)."""
    a = (1 - correlation) / correlation
    return (random.random(len(labels)) < random.beta(p * a, (1 - p) * a, labels.max() + 1)[labels]).astype(float)


def pairs(random: Random, n: int, only_a: float, only_b: float, labels: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Two sides right or wrong; with labels, a group leans to one of the four outcomes (Dirichlet, correlation .3)."""
    both = 0.5 * (1 - only_a - only_b)
    shares = np.array([only_a, only_b, both, both])
    if labels is not None:
        chances = random.dirichlet(shares * 0.7 / 0.3, labels.max() + 1)[labels]
        outcome = (random.random(len(labels))[:, None] > chances.cumsum(1)).sum(1).clip(0, 3)
    else:
        outcome = random.choice(4, n, p=shares)
    return np.isin(outcome, (0, 2)).astype(float), np.isin(outcome, (1, 2)).astype(float)


def covered(draw: Callable[[Random], bool], draws: int, seed: int = 0) -> float:
    """The share of draws that hold."""
    random = np.random.default_rng(seed)
    return sum(draw(random) for _ in range(draws)) / draws


def mean_holds(random: Random, clusters: int, correlation: float = 0.4) -> bool:
    """Scores between 0 and 1 that spread, in groups: does the clustered mean's interval hold .6?"""
    labels = cluster_labels(random, clusters)
    a = (1 - correlation) / correlation
    centre = random.beta(0.6 * a, 0.4 * a, clusters)[labels]
    estimate = clustered_mean(random.beta(4 * centre + 1e-3, 4 * (1 - centre) + 1e-3), labels.tolist())
    return estimate.low <= 0.6 <= estimate.high


def rate_holds(random: Random, clusters: int, p: float, correlation: float) -> bool:
    """Right-or-wrong values in groups: does the rate's interval hold p?"""
    labels = cluster_labels(random, clusters)
    estimate = rate_interval(clustered_hits(random, labels, p, correlation), labels.tolist())
    return estimate.low <= p <= estimate.high


def difference_holds(random: Random, n: int, only_a: float, only_b: float, method: Callable | None = None) -> bool:
    """Independent pairs: does the interval hold the true difference?"""
    a, b = pairs(random, n, only_a, only_b)
    found = method(a, b) if method else difference_interval(a - b)
    return found[1] <= only_a - only_b <= found[2]


def clustered_difference_holds(random: Random, clusters: int, only_a: float, only_b: float, sizes: tuple[int, ...] = (1, 2, 3, 4, 5)) -> bool:
    """Pairs in groups: does the interval hold the true difference?"""
    labels = cluster_labels(random, clusters, sizes)
    a, b = pairs(random, 0, only_a, only_b, labels)
    _, low, high = difference_interval(a - b, labels.tolist())
    return low <= only_a - only_b <= high


def ratio_holds(random: Random, clusters: int) -> bool:
    """Pairs in groups: does the interval hold the true ratio of means?"""
    labels = cluster_labels(random, clusters)
    a, b = pairs(random, 0, 0.1, 0.2, labels)
    _, low, high = ratio_interval(a, b, labels.tolist())
    return low <= 0.45 / 0.55 <= high


def pass_holds(random: Random, problems: int, samples: int, k: int, draws: int = 1000) -> bool:
    """Problems of beta(.6, .6) difficulty: does the bootstrap hold the true pass@k?"""
    right = random.binomial(samples, random.beta(0.6, 0.6, problems))
    truth = 1 - math.exp(math.lgamma(0.6 + k) + math.lgamma(1.2) - math.lgamma(0.6) - math.lgamma(1.2 + k))  # 1 - E[(1-p)^k]
    _, low, high = mean_pass_at_k([(samples, int(c)) for c in right], k, draws=draws)
    return low <= truth <= high


def published_holds(random: Random, n: int, published_n: int, p: float) -> bool:
    """Both sides drawn from the same rate: does the interval of their difference hold 0?"""
    found = against_published((random.random(n) < p).astype(float), random.binomial(published_n, p) / published_n, published_n)
    return found.low <= 0 <= found.high


def is_rejected(random: Random, clusters: int, only: float, is_clustered: bool) -> bool:
    """Sides that do not differ: is p below .05?"""
    labels = cluster_labels(random, clusters) if is_clustered else None
    a, b = pairs(random, clusters, only, only, labels)
    return p_value(a - b, labels.tolist() if labels is not None else None, draws=999) < 0.05


def table(draws: int) -> Iterator[tuple[str, str, float]]:
    """Method, regime, coverage (or size)."""
    for n in (20, 50, 200):
        for p in (0.5, 0.8, 0.95):
            yield "Wilson, independent (exact sum)", f"n {n}, p {p}", wilson_coverage(n, p)
    for clusters in (8, 15, 30, 60):
        yield "mean, clustered", f"{clusters} groups of 2-5, correlation .4", covered(lambda r, g=clusters: mean_holds(r, g), draws)
    for clusters in (8, 30, 60):
        for p in (0.5, 0.8, 0.95):
            for c in (0.1, 0.5):
                yield "rate, clustered (Korn-Graubard, Wilson)", f"{clusters} groups of 2-5, p {p}, correlation {c}", covered(lambda r, g=clusters, p=p, c=c: rate_holds(r, g, p, c), draws)
    for n, up, down in ((20, 0.2, 0.2), (100, 0.25, 0.15), (100, 0.05, 0.05), (100, 0.02, 0.01)):
        yield "difference, pairs (Bonett-Price)", f"n {n}, only a {up}, only b {down}", covered(lambda r, n=n, u=up, d=down: difference_holds(r, n, u, d), draws)
        boot = covered(lambda r, n=n, u=up, d=down: difference_holds(r, n, u, d, lambda a, b: paired_difference(a, b, 0, 500)), draws // 2)
        yield "difference, pairs (bootstrap, for comparison)", f"n {n}, only a {up}, only b {down}", boot
    for clusters, sizes in ((8, (1, 2, 3, 4, 5)), (30, (1, 2, 3, 4, 5)), (50, (2,)), (100, (1, 2, 3, 4, 5))):
        yield "difference, clustered pairs", f"{clusters} groups of {sizes[0]}-{sizes[-1]}, .25 / .15", covered(lambda r, g=clusters, s=sizes: clustered_difference_holds(r, g, 0.25, 0.15, s), draws)
    for clusters in (8, 30, 60):
        yield "ratio, clustered", f"{clusters} groups of 2-5", covered(lambda r, g=clusters: ratio_holds(r, g), draws)
    for problems, samples, k in ((20, 10, 1), (164, 10, 1), (164, 10, 5), (50, 5, 5)):
        yield "pass@k (bootstrap, widened)", f"{problems} problems, {samples} answers, k {k}", covered(lambda r, n=problems, s=samples, k=k: pass_holds(r, n, s, k), draws // 2)
    for n, m, p in ((100, 100, 0.8), (164, 164, 0.95), (1000, 200, 0.5)):
        yield "against a published rate", f"ours {n}, theirs {m}, p {p}", covered(lambda r, n=n, m=m, p=p: published_holds(r, n, m, p), draws)
    for clusters, is_clustered in ((100, False), (8, True), (30, True)):
        yield "size of the test (at most .05)", f"{clusters} {'groups of 2-5' if is_clustered else 'pairs'}", covered(lambda r, g=clusters, c=is_clustered: is_rejected(r, g, 0.2, c), draws // 2)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=2000)
    draws = parser.parse_args().draws
    for method, regime, share in table(draws):
        print(f"{method:46} {regime:44} {share:.3f}", flush=True)


if __name__ == "__main__":
    main()
