"""Scores from losses, pass rates from compute, draws until one passes; and what cannot be predicted is said."""

import math
import random

import numpy as np
import pytest

from limbeck.errors import LimbeckError
from limbeck.predict.capability import (
    difficulty_buckets,
    fit_link,
    fit_pass_law,
    forecast_passes,
    forecast_score,
    sample_until_pass,
    try_link,
)

LOSSES = [2.0, 1.5, 1.2, 0.9, 0.7]


def true_score(loss, scale=0.6, power=1.2):
    return math.exp(-((loss / scale) ** power))


def test_a_link_is_found_again_and_reaches_beyond_its_rungs():
    link = fit_link(LOSSES, [true_score(x) for x in LOSSES], [2000] * 5, symbols=5)
    said = forecast_score(link, 0.3, 0.29, 0.31)
    assert abs(said.value - true_score(0.3)) < 0.06 and said.low < true_score(0.3) < said.high


def test_a_wider_loss_makes_a_wider_score():
    link = fit_link(LOSSES, [true_score(x) for x in LOSSES], [2000] * 5, symbols=5)
    near, far = forecast_score(link, 0.4, 0.39, 0.41), forecast_score(link, 0.4, 0.3, 0.5)
    assert far.high - far.low > 1.5 * (near.high - near.low)


def test_scores_that_no_rung_shows_are_not_predictable():
    with pytest.raises(LimbeckError, match="not predictable: no rung"):
        fit_link(LOSSES, [0.0, 0.0, 0.0, 0.001, 0.002], [500] * 5, symbols=5)


def test_a_score_that_does_not_follow_the_loss_is_not_predictable():
    with pytest.raises(LimbeckError, match="not predictable: from the other rungs"):
        try_link(LOSSES, [0.02, 0.1, 0.25, 0.4, 0.02], [2000] * 5, symbols=5)


def test_nonsense_is_no_link():
    with pytest.raises(LimbeckError, match="three rungs"):
        fit_link([1.0, -1.0, 2.0], [0.1, 0.2, 0.3], [10] * 3, symbols=5)


def test_drawing_until_one_passes_estimates_the_log_of_the_rate_without_bias():
    source = random.Random(1)
    found = [sample_until_pass(lambda _: source.random() < 0.3, 1000)[0] for _ in range(6000)]
    assert abs(float(np.mean(found)) - math.log(0.3)) < 0.05


def test_a_problem_never_passed_has_no_estimate():
    value, draws = sample_until_pass(lambda _: False, 50)
    assert math.isnan(value) and draws == 50


def test_a_pass_law_forecasts_a_power():
    compute = [1e9, 3e9, 1e10, 3e10]
    law = fit_pass_law(compute, [4.0 * (c / 1e9) ** -0.3 for c in compute])
    said = law.predict(1e12)
    assert abs(said.value / (4.0 * 1000**-0.3) - 1) < 0.1 and said.low < 4.0 * 1000**-0.3 < said.high


def test_pass_rates_that_do_not_rise_are_not_predictable():
    with pytest.raises(LimbeckError, match="do not rise"):
        fit_pass_law([1e9, 1e10, 1e11], [1.0, 2.0, 3.0])


def test_buckets_go_from_easy_to_hard_and_leave_out_what_never_passed():
    table = np.array([[-1.0, -5.0, -3.0, math.nan], [-0.5, -4.0, -2.0, -9.0]])
    assert [b.tolist() for b in difficulty_buckets(table, 3)] == [[0], [2], [1]]


def test_each_bucket_has_its_own_forecast_and_a_held_out_rung():
    compute = [1e9, 3e9, 1e10, 3e10, 1e11]
    hard = np.linspace(1, 6, 40)
    table = -np.array([hard * (c / 1e9) ** -0.25 for c in compute])
    rows = forecast_passes(compute, table, 1e13)
    assert len(rows) == 4 and all("value" in r and "held_out" in r for r in rows)
    assert rows[0]["value"] < rows[-1]["value"] and abs(rows[0]["value"] / (hard[:10].mean() * 1e4**-0.25) - 1) < 0.15
    table[-1] = -20.0
    assert all("not predictable" in r["refused"] for r in forecast_passes(compute, table, 1e13))
