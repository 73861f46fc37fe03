"""Questions to a fit: smallest student, the best split, serving, int4, one more rung, a run under way."""

import math

import numpy as np
import pytest

from limbeck.cli import main
from limbeck.errors import LimbeckError
from limbeck.predict import fit
from limbeck.predict import questions as ask


def true_loss(n, d):
    return 1.8 + 480.0 / n**0.35 + 2000.0 / d**0.37


def ladder():
    random = np.random.default_rng(0)
    return [{"N": n, "D": r * n, "loss": true_loss(n, r * n) * math.exp(0.002 * random.normal())} for n in (1e7, 3e7, 1e8, 3e8, 1e9) for r in (5, 20, 80)]


@pytest.fixture(scope="module")
def fitted():
    return fit(ladder(), resamples=30)


def test_chances_agree_with_the_intervals(fitted):
    f = fitted.predict(size=5e9, data=1e11)
    at = lambda loss: float(ask.chances(fitted, loss, np.array([5e9]), np.array([1e11]))[0])  # noqa: E731
    assert at(f.loss) == pytest.approx(0.5, abs=1e-6) and at(f.high) == pytest.approx(0.95, abs=1e-6) and at(f.low) == pytest.approx(0.05, abs=1e-6)
    assert at(f.loss * 0.8) < 0.01 < 0.99 < at(f.loss * 1.25)


def test_the_smallest_student_reaches_the_loss_and_a_surer_one_is_larger(fitted):
    likely, sure = ask.smallest_student(fitted, 2.35, 0.5), ask.smallest_student(fitted, 2.35, 0.95, dollars_per_flop=2e-18)
    assert likely.chance >= 0.5 and sure.chance >= 0.95 and sure.size > likely.size
    assert true_loss(likely.size, likely.data) == pytest.approx(2.35, rel=0.02) and true_loss(sure.size, sure.data) < 2.35
    assert sure.dollars == pytest.approx(2e-18 * 6 * sure.size * sure.data)
    assert ask.smallest_student(fitted, 2.35, 0.5, most_data=2e10).size > likely.size


def test_a_loss_out_of_reach_is_refused_with_the_best_chance(fitted):
    with pytest.raises(LimbeckError, match="no student within"):
        ask.smallest_student(fitted, 1.2)
    with pytest.raises(LimbeckError, match="no probability"):
        ask.smallest_student(fitted, 2.5, 1.5)


def test_a_bad_split_wastes_compute_and_a_good_one_none(fitted):
    size, data = fitted.best_split(1e21)
    assert ask.gap_to_best(fitted, size, data)["wasted"] < 0.02
    bad = ask.gap_to_best(fitted, size * 8, data / 8)
    assert bad["wasted"] > 0.3 and bad["loss"] > bad["best_loss"] and bad["best_size"] == pytest.approx(size, rel=0.01)


def test_the_more_is_served_the_smaller_the_student(fitted):
    few, many = ask.cheapest_to_serve(fitted, 2.35, 0), ask.cheapest_to_serve(fitted, 2.35, 1e13)
    assert many.size < few.size and many.data > few.data and few.lifetime == pytest.approx(few.compute)
    assert many.lifetime == pytest.approx(6 * many.size * many.data + 2 * many.size * 1e13)


def test_quantising_is_unknown_until_measured_and_then_follows_the_rungs():
    with pytest.raises(LimbeckError, match="unknown"):
        ask.quantisation_cost([{"N": 1e8, "D": 2e9, "penalty": 0.02}], 1e9, 2e10)
    cost = lambda n, d: 0.02 * (d / 2e9) ** 0.5 * (1e8 / n) ** 0.4  # noqa: E731
    rows = [{"N": n, "D": r * n, "penalty": cost(n, r * n)} for n in (1e8, 3e8, 1e9) for r in (10, 100)]
    found = ask.quantisation_cost(rows, 3e9, 3e11)
    assert found["penalty"] == pytest.approx(cost(3e9, 3e11), rel=0.15) and found["off"] < 0.05
    assert ask.quantisation_cost(rows, 3e9, 3e10)["penalty"] < found["penalty"]


def test_a_rung_nearer_the_target_narrows_the_interval(fitted):
    found = ask.one_more_rung(fitted, 1e10, 2e11, (3e9, 6e10))
    assert found["half_width_after"] < found["half_width"] and found["share"] == pytest.approx(0.09)
    with pytest.raises(LimbeckError, match="as much as the target"):
        ask.one_more_rung(fitted, 1e10, 2e11, (2e10, 2e11))


def test_a_run_behind_its_band_is_told_to_stop_and_one_on_course_is_not(fitted):
    on = ask.on_course(fitted, 5e9, 1e11, 5e10, true_loss(5e9, 5e10), 2.2)
    assert on["low"] < on["loss"] < on["high"] and on["chance"] > 0.3 and not on["stop"]
    off = ask.on_course(fitted, 5e9, 1e11, 5e10, 1.15 * true_loss(5e9, 5e10), 2.2)
    assert off["loss"] > off["high"] and off["chance"] <= 0.02 and off["stop"]
    with pytest.raises(LimbeckError, match="data seen"):
        ask.on_course(fitted, 5e9, 1e11, 2e11, 2.3)


def test_the_command_answers_and_says_what_is_missing(tmp_path, capsys):
    table, rungs = tmp_path / "runs.csv", tmp_path / "int4.csv"
    table.write_text("N,D,loss\n" + "".join(f"{r['N']},{r['D']},{r['loss']}\n" for r in ladder()))
    rungs.write_text("N,D,penalty\n1e8,1e9,0.01\n1e8,1e10,0.03\n1e9,1e10,0.012\n")
    with pytest.raises(SystemExit) as ended:
        main(["predict", "questions", str(table), "--loss", "2.35", "--run", "5e9,1e11", "--quantised", str(rungs)])
    out = capsys.readouterr().out
    assert ended.value.code == 0 and "smallest" in out and "split" in out and "penalty" in out
    for options, what in (([], "nothing was asked"), (["--run", "7"], "no size and data"), (["--teacher", "a=2"], "which student"), (["--run", "5e9,1e11", "--teacher", "a"], "no teacher's loss"), (["--run", "5e9,1e11", "--seen", "1e10"], "running loss")):
        with pytest.raises(SystemExit) as ended:
            main(["predict", "questions", str(table), *options])
        error = capsys.readouterr().err
        assert ended.value.code == 2 and what in error and "fix:" in error
