"""Settings carried to other sizes, and the two tests of whether they may be."""

import math
from dataclasses import replace

import pytest

from limbeck.errors import LimbeckError
from limbeck.predict.transfer import Setting, coordinate_band, holds, judge_sweep, transfer

KNOWN = Setting(width=96, layers=4, examples=64_000, batch=64, lr=4e-3, warmup=100, ema=0.998)


def test_a_setting_carried_to_itself_is_itself():
    same = transfer(KNOWN, width=96, layers=4, examples=64_000)
    assert (same.batch, same.warmup, same.steps) == (64, 100, 1000) and math.isclose(same.lr, 4e-3) and math.isclose(same.ema, 0.998)


def test_muons_rate_falls_with_the_root_of_the_width_and_adamws_with_the_width():
    assert math.isclose(transfer(KNOWN, width=384, layers=4, examples=64_000).lr, 2e-3)
    assert math.isclose(transfer(replace(KNOWN, optimizer="adamw"), width=384, layers=4, examples=64_000).lr, 1e-3)


def test_depth_lowers_the_rate():
    assert math.isclose(transfer(KNOWN, width=96, layers=16, examples=64_000).lr, 2e-3)


def test_a_shorter_run_has_a_smaller_batch_and_warms_up_and_remembers_the_same_share():
    small = transfer(KNOWN, width=32, layers=4, examples=6_400)
    assert small.batch == round(64 * 0.1**0.57) and abs(small.warmup / small.steps - 0.1) < 0.01
    assert math.isclose((1 - small.ema) * small.steps, (1 - 0.998) * 1000, rel_tol=1e-9)


def test_a_batch_never_falls_below_the_least():
    assert transfer(KNOWN, width=16, layers=4, examples=80).batch == 8


def test_an_optimizer_without_a_rule_is_refused():
    with pytest.raises(LimbeckError, match="no rule carries"):
        transfer(replace(KNOWN, optimizer="sgd"), width=32, layers=4, examples=1000)


def test_the_band_is_the_worst_ratio_of_each_place():
    band = coordinate_band({16: {"a": 1.0, "b": 2.0}, 64: {"a": 1.5, "b": 1.9}})
    assert band["a"] == 1.5 and holds(band) and not holds(coordinate_band({16: {"a": 1.0}, 64: {"a": 4.0}}))
    assert not holds(coordinate_band({16: {"a": 1.0}, 64: {"a": math.nan}}))


def test_one_width_is_no_coordinate_check():
    with pytest.raises(LimbeckError, match="one width"):
        coordinate_band({16: {"a": 1.0}})


def test_a_sweep_that_finds_a_better_rate_disagrees():
    assert judge_sweep({0.5: 1.02, 1.0: 1.0, 2.0: 1.3})["agrees"]
    found = judge_sweep({0.5: 0.9, 1.0: 1.0, 2.0: math.nan})
    assert not found["agrees"] and found["best_factor"] == 0.5
    with pytest.raises(LimbeckError, match="a sweep needs"):
        judge_sweep({1.0: 1.0, 2.0: 1.1})
