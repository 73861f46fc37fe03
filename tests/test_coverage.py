"""What 95 % intervals cover in simulation, and the tests against tables and closed forms."""

import math

import numpy as np
import pytest

from limbeck.evaluate.clustered import (
    against_published,
    difference_interval,
    examples_needed,
    holm,
    mean_interval,
    p_value,
    pass_at_k,
    smallest_difference,
    standard_error,
    student_quantile,
)

DRAWS = 1500
NOISE = 3 * math.sqrt(0.95 * 0.05 / DRAWS)  # three standard errors of a measured coverage


def share(covered):
    return float(np.mean(covered))


@pytest.mark.parametrize(("n", "p"), [(20, 0.5), (50, 0.8), (50, 0.95), (200, 0.9)])
def test_wilson_covers_rates_of_few_examples(n, p):
    random = np.random.default_rng(n)
    covered = []
    for _ in range(DRAWS):
        _, low, high = mean_interval((random.random(n) < p).astype(float))
        covered.append(low <= p <= high)
    assert 0.93 - NOISE <= share(covered) <= 0.975 + NOISE


@pytest.mark.parametrize(("groups", "size", "spread"), [(12, 3, 1.0), (30, 2, 1.5), (60, 5, 1.0), (250, 11, 1.0)])
def test_clustered_rates_are_covered_and_naive_ones_are_not(groups, size, spread):
    random = np.random.default_rng(groups)
    logits = random.normal(1.0, spread, 200_000)
    truth = float((1 / (1 + np.exp(-logits))).mean())
    clusters = np.repeat(np.arange(groups), size)
    covered, naive = [], []
    for _ in range(DRAWS // 3):
        chance = 1 / (1 + np.exp(-random.normal(1.0, spread, groups)))
        right = (random.random(groups * size) < np.repeat(chance, size)).astype(float)
        _, low, high = mean_interval(right, clusters.tolist())
        covered.append(low <= truth <= high)
        _, low, high = mean_interval(right)
        naive.append(low <= truth <= high)
    assert 0.925 - NOISE <= share(covered) <= 0.98 + NOISE
    assert share(naive) < share(covered)


@pytest.mark.parametrize("size", [1, 2])
def test_paired_differences_are_covered(size):
    random = np.random.default_rng(5)
    groups = 100 // size
    clusters = np.repeat(np.arange(groups), size).tolist()
    covered = []
    for _ in range(DRAWS):
        shared = np.repeat(random.random(groups), size)
        a = (np.clip(shared + random.normal(0, 0.1, len(shared)), 0, 1) < 0.8).astype(float)
        b = a.copy()
        flip = random.random(len(a)) < np.where(a == 1, 0.15, 0.0)
        b[flip] = 0
        covered.append(_covers(difference_interval(a - b, clusters), 0.15 * 0.8))
    assert 0.92 - NOISE <= share(covered) <= 0.98 + NOISE


def _covers(interval, truth):
    return interval[1] <= truth <= interval[2]


def test_the_mean_of_pass_at_k_is_unbiased_and_covered():
    random = np.random.default_rng(1)
    chances, samples, k = random.beta(1, 1, 100_000), 10, 3
    truth = float((1 - (1 - chances) ** k).mean())
    table = [pass_at_k(samples, c, k) for c in range(samples + 1)]
    covered, means = [], []
    for _ in range(DRAWS):
        right = random.binomial(samples, random.beta(1, 1, 80))
        mean, low, high = mean_interval([table[c] for c in right])
        covered.append(low <= truth <= high)
        means.append(mean)
    assert float(np.mean(means)) == pytest.approx(truth, abs=0.005) and 0.93 - NOISE <= share(covered) <= 0.97 + NOISE


def test_student_s_quantiles_are_those_of_the_tables():
    for df, value in ((4, 2.7764), (5, 2.5706), (10, 2.2281), (30, 2.0423), (120, 1.9799)):
        assert student_quantile(0.975, df) == pytest.approx(value, rel=0.005)


def test_clusters_of_one_are_no_clusters():
    values = np.random.default_rng(0).random(50)
    assert standard_error(values, list(range(50)))[0] == pytest.approx(values.std(ddof=1) / math.sqrt(50))
    assert standard_error([1.0, 1.0, 0.0, 0.0], ["a", "a", "b", "b"])[0] == pytest.approx(0.5)


def test_p_values_are_exact_where_they_can_be():
    assert p_value([1.0] * 9 + [-1.0] + [0.0] * 90) == pytest.approx(2 * 11 / 1024)
    assert p_value([0.0] * 5) == 1.0
    assert p_value([0.5, 0.5, 0.5], ["a", "b", "c"]) == pytest.approx(2 / 8)
    random = np.random.default_rng(0)
    under_null = [p_value(random.normal(0, 1, 60), list(np.repeat(np.arange(30), 2))) for _ in range(150)]
    assert 0.01 <= np.mean(np.array(under_null) < 0.05) <= 0.11


def test_holm_adjusts_a_family():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_power_agrees_with_itself_and_with_the_literature():
    assert 900 <= examples_needed(0.03, 0.8, correlation=0.65) <= 1100  # about 1,000 for 3 points
    n = examples_needed(0.05, 0.7, is_paired=False)
    assert smallest_difference(n, 0.7) == pytest.approx(0.05, rel=0.01)


@pytest.mark.parametrize(("n", "c", "k", "value"), [(10, 0, 1, 0.0), (10, 10, 1, 1.0), (10, 3, 1, 0.3), (5, 2, 3, 0.9), (5, 3, 3, 1.0)])
def test_pass_at_k(n, c, k, value):
    assert pass_at_k(n, c, k) == pytest.approx(value)
    with pytest.raises(ValueError, match="pass@"):
        pass_at_k(n, c, n + 1)


def test_a_published_rate_brings_its_own_error():
    gap, low, high, p = against_published([1.0] * 80 + [0.0] * 20, 0.8, 100)
    assert gap == pytest.approx(0) and p == pytest.approx(1) and (high - low) == pytest.approx(2 * 1.96 * 0.0567, rel=0.02)
