"""95 % intervals hold the truth 93-97 % of the time; tests keep their size; formulas meet tables.

The simulations are those of benchmarks/coverage.py with fewer draws: the seed is fixed, and a margin of a standard error is left.
"""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

from limbeck.errors import LimbeckError
from limbeck.evaluate.clustered import (
    clustered_error,
    clustered_mean,
    degrees_of_freedom,
    mean_interval,
    rate_interval,
    wilson_interval,
)
from limbeck.evaluate.compare import compare
from limbeck.evaluate.paired import (
    adjust_family,
    difference_interval,
    holm,
    mcnemar,
    p_test,
    p_value,
    ratio_interval,
    sign_flip,
)
from limbeck.evaluate.pass_at_k import mean_pass_at_k, pass_at_k, widened_tails
from limbeck.evaluate.power import Design, chance_to_see, examples_needed, smallest_difference
from limbeck.evaluate.published import against_published
from limbeck.evaluate.quantiles import incomplete_beta, t_cdf, t_quantile

SPEC = importlib.util.spec_from_file_location("coverage_benchmark", Path(__file__).resolve().parents[1] / "benchmarks" / "coverage.py")
sim = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(sim)

DRAWS = 400
ROOM = math.sqrt(0.95 * 0.05 / DRAWS)  # one standard error of a simulated coverage


@pytest.mark.parametrize("n", [20, 50])
@pytest.mark.parametrize("p", [0.5, 0.8, 0.95])
def test_wilson_covers_rates_of_few_examples(n, p):
    """An exact sum. n = 20, p = .95 is the one that misses, as the docstring says: counts are too coarse to do better."""
    found = sim.wilson_coverage(n, p)
    assert found == pytest.approx(0.9245, abs=1e-3) if (n, p) == (20, 0.95) else 0.93 <= found <= 0.97


REGIMES = {
    "mean, 8 groups": lambda r: sim.mean_holds(r, 8),
    "mean, 30 groups": lambda r: sim.mean_holds(r, 30),
    "mean, 60 groups": lambda r: sim.mean_holds(r, 60),
    "rate, 30 groups": lambda r: sim.rate_holds(r, 30, 0.8, 0.3),
    "rate, 60 groups": lambda r: sim.rate_holds(r, 60, 0.5, 0.5),
    "difference, 100 pairs": lambda r: sim.difference_holds(r, 100, 0.25, 0.15),
    "difference, 100 pairs that seldom differ": lambda r: sim.difference_holds(r, 100, 0.05, 0.05),
    "difference, 50 twins": lambda r: sim.clustered_difference_holds(r, 50, 0.25, 0.15, (2,)),
    "ratio, 60 groups": lambda r: sim.ratio_holds(r, 60),
    "pass@1, 40 problems": lambda r: sim.pass_holds(r, 40, 10, 1, draws=400),
    "pass@5, 40 problems": lambda r: sim.pass_holds(r, 40, 10, 5, draws=400),
    "published": lambda r: sim.published_holds(r, 100, 100, 0.8),
}


@pytest.mark.parametrize("regime", list(REGIMES))
def test_intervals_cover_the_truth_93_to_97_times_in_a_hundred(regime):
    assert 0.93 - ROOM <= sim.covered(REGIMES[regime], DRAWS) <= 0.97 + ROOM


def test_few_groups_and_few_differences_err_on_the_wide_side():
    assert sim.covered(lambda r: sim.rate_holds(r, 8, 0.8, 0.5), 300) >= 0.95
    assert sim.covered(lambda r: sim.difference_holds(r, 100, 0.02, 0.01), 300) >= 0.97


def test_the_simulation_tells_a_wrong_interval():
    def naive(random):
        labels = sim.cluster_labels(random, 60)
        hits = sim.clustered_hits(random, labels, 0.5, 0.5)
        low, high = wilson_interval(hits.mean(), len(hits))
        return low <= 0.5 <= high

    assert sim.covered(naive, 300) < 0.88


def test_tests_of_no_difference_reject_at_most_one_time_in_twenty():
    assert sim.covered(lambda r: sim.is_rejected(r, 100, 0.2, False), 400) <= 0.05 + 0.011
    assert 0.02 <= sim.covered(lambda r: sim.is_rejected(r, 30, 0.2, True), 200) <= 0.05 + 0.03


@pytest.mark.parametrize(("p", "df", "value"), [(0.975, 1, 12.7062), (0.975, 2, 4.3027), (0.975, 4, 2.7764), (0.975, 29, 2.0452), (0.995, 10, 3.1693), (0.95, 120, 1.6577), (0.025, 4, -2.7764)])
def test_student_s_quantiles_are_those_of_the_tables(p, df, value):
    assert t_quantile(p, df) == pytest.approx(value, abs=5e-5) and t_cdf(t_quantile(p, df), df) == pytest.approx(p)


def test_the_incomplete_beta_function_has_its_closed_forms():
    assert incomplete_beta(2, 3, 0.4) == pytest.approx(0.5248) and incomplete_beta(1, 1, 0.3) == pytest.approx(0.3)
    assert incomplete_beta(0.5, 0.5, 0.25) == pytest.approx(2 / math.pi * math.asin(0.5)) and math.isinf(t_quantile(0.975, 0))


def test_clusters_of_one_are_no_clusters_and_copies_add_nothing():
    values = np.random.default_rng(0).random(40)
    assert clustered_error(values, np.arange(40)) == pytest.approx(values.std(ddof=1) / math.sqrt(40))
    assert degrees_of_freedom(np.arange(40)) == pytest.approx(39)
    once, thrice = clustered_mean(values), clustered_mean(np.repeat(values, 3), np.repeat(np.arange(40), 3).tolist())
    assert (thrice.se, thrice.low, thrice.high) == pytest.approx((once.se, once.low, once.high))
    assert thrice.n == 120 and thrice.clusters == 40 and thrice.n_effective == pytest.approx(40, rel=0.03)


def test_unequal_groups_have_fewer_degrees_of_freedom():
    assert degrees_of_freedom(np.repeat(np.arange(6), [1, 1, 1, 20, 3, 4])) == pytest.approx(1.19613, abs=1e-4)  # by the full matrix


def test_a_rate_with_no_variation_counts_its_groups():
    assert rate_interval([1.0] * 40, [i // 4 for i in range(40)]).low == pytest.approx(wilson_interval(1.0, 10)[0])
    assert rate_interval([]).n == 0 and mean_interval([1.0, 0.0])[0] == 0.5 and math.isinf(clustered_mean([0.3]).high)
    with pytest.raises(LimbeckError, match="2 group labels for 3 values"):
        clustered_mean([1, 2, 3], ["a", "b"])


def test_p_values_are_exact_where_they_can_be():
    nine_to_one = [1.0] * 9 + [-1.0] + [0.0] * 90
    assert p_value(nine_to_one) == pytest.approx(22 / 1024) and p_test(nine_to_one) == "mcnemar exact"
    assert p_value([0.5, 0.5, 0.5, 0.5], ["a", "b", "c", "c"]) == pytest.approx(2 / 8)
    assert p_value([0.0] * 5) == 1.0 and mcnemar(0, 0) == 1.0 and mcnemar(5000, 5000) == 1.0 and mcnemar(0, 6) == pytest.approx(2 / 64)
    assert sign_flip([0.1] * 30) == pytest.approx(1 / 10_001) and sign_flip([1.0, -1.0]) == 1.0


def test_a_difference_keeps_its_width_where_sides_never_differ():
    _, low, high = difference_interval([0.0] * 100)
    assert low < -0.01 and high > 0.01 and low == pytest.approx(-high)
    assert ratio_interval([0, 0], [1, 1])[0] == 0.0 and math.isinf(ratio_interval([0, 0], [1, 1])[2])


def test_holm_adjusts_a_family_and_leaves_those_without_p():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06]) and holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []
    adjusted = adjust_family([{"p": 0.02}, {"a": 1}, {"p": 0.5}])
    assert adjusted[0] == {"p": 0.02, "p_holm": 0.04, "family_size": 2} and adjusted[1] == {"a": 1}


def test_power_gives_the_known_table():
    for n, rate, row in ((164, 0.85, (11.0, 7.8, 6.1)), (198, 0.4, (13.8, 9.8, 7.6)), (1319, 0.9, (3.3, 2.3, 1.8)), (14042, 0.8, (1.3, 0.9, 0.7))):
        assert tuple(round(100 * smallest_difference(n, Design(rate=rate, correlation=c)), 1) for c in (None, 0.5, 0.7)) == row
    assert 900 <= examples_needed(0.03, Design(rate=0.8, correlation=0.65)) <= 1100  # "about 1,000 for three points"


@pytest.mark.parametrize("design", [Design(rate=0.8), Design(rate=0.8, discordance=0.12), Design(rate=0.7, correlation=0.5, samples=4, noise=0.4), Design(rate=0.8, discordance=0.1, group_size=4, group_correlation=0.3)])
def test_power_goes_there_and_back(design):
    n = examples_needed(0.03, design)
    assert smallest_difference(n, design) == pytest.approx(0.03, rel=5e-3) and chance_to_see(0.03, n, design) == pytest.approx(0.8, abs=5e-3)


def test_power_holds_in_simulation():
    design = Design(rate=0.8, discordance=0.2)
    n = examples_needed(0.1, design)

    def seen(random):
        a, b = sim.pairs(random, n, 0.15, 0.05)
        return difference_interval(a - b)[1] > 0

    assert 0.74 <= sim.covered(seen, 300) <= 0.86


def test_more_answers_an_example_need_fewer_examples_and_impossible_designs_are_refused():
    assert examples_needed(0.03, Design(rate=0.8, samples=5, noise=0.5)) < 0.65 * examples_needed(0.03, Design(rate=0.8))
    for bad in (Design(rate=1.8), Design(rate=0.5, correlation=0.2, discordance=0.1), Design(rate=0.5, discordance=0.01), Design(rate=0.5, correlation=0.9, samples=9, noise=0.5)):
        with pytest.raises(LimbeckError):
            examples_needed(0.03, bad)


@pytest.mark.parametrize(("n", "c", "k"), [(10, 0, 1), (10, 10, 1), (10, 3, 1), (5, 2, 3), (5, 3, 3), (200, 7, 100)])
def test_pass_at_k_is_the_binomial_formula(n, c, k):
    assert pass_at_k(n, c, k) == pytest.approx(1 - math.comb(n - c, k) / math.comb(n, k))
    with pytest.raises(LimbeckError, match="pass@"):
        pass_at_k(n, c, n + 1)


def test_pass_at_k_has_an_interval_even_where_all_problems_are_equal():
    assert mean_pass_at_k([(4, 4)] * 20, 1)[1:] == pytest.approx(wilson_interval(1.0, 20))
    assert widened_tails(10)[0] < widened_tails(1000)[0] < 0.0251
    counts = [(10, c) for c in (0, 1, 9, 10)]
    narrow, wide = mean_pass_at_k(counts * 20, 1), mean_pass_at_k(counts * 20, 1, [i % 10 // 2 for i in range(80)])
    assert narrow[0] == wide[0] == pytest.approx(0.5) and narrow[1] > 0.35


def test_a_published_rate_brings_its_own_error():
    ours = [1.0] * 75 + [0.0] * 25
    alone, both = against_published(ours, 0.85, None), against_published(ours, 0.85, 100)
    assert alone.p == alone.fixed_p == pytest.approx(both.fixed_p) and both.p > alone.p and alone.verdict == "lower" and both.verdict == "not shown to differ"
    assert against_published([1.0] * 164, 1.0, 164).low < 0 and against_published([0.5, 0.6, 0.4], 0.5, None).difference == pytest.approx(0)
    with pytest.raises(LimbeckError, match="no share"):
        against_published(ours, 45.9, 100)


def result(name, rights, cluster=None):
    trials = [{"id": str(i), "status": "scored", "execution": [r]} | ({"cluster": cluster(i)} if cluster else {}) for i, r in enumerate(rights)]
    return {"answerer": name, "task": "cf", "version": "1", "split": "s", "trials": trials}


def test_a_comparison_carries_p_and_heeds_clusters():
    a, b = [1.0] * 40 + [0.0] * 20, [1.0] * 30 + [0.0] * 30
    alone = compare(result("a", a), result("b", b))
    twins = compare(result("a", a, lambda i: i // 5), result("b", b, lambda i: i // 5))
    assert alone["p"] == pytest.approx(mcnemar(10, 0)) and alone["test"] == "mcnemar exact" and alone["clusters"] == 60
    assert twins["p"] == pytest.approx(0.5) and twins["test"] == "sign flip by cluster" and twins["clusters"] == 12  # two groups differ, the same way
    assert twins["difference"] == alone["difference"] and twins["difference_low"] < 0 < alone["difference_low"]
