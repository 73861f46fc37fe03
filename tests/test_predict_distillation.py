"""The distillation law: made-up students are recovered; teacher or none, which teacher, and what cannot be told."""

import math

import numpy as np
import pytest

from limbeck.errors import LimbeckError
from limbeck.predict import read_runs
from limbeck.predict.distillation import data_for_the_same_compute, fit_distillation


def alone(n, d):
    return 1.7 + (60.0 / n**0.25 + 300.0 / d**0.3) ** 0.9


def taught(n, d, teacher, c0=1.5, c1=1.2, f1=0.35, d1=0.85):
    gap = (1 + (teacher / (alone(n, d) * d1)) ** (1 / f1)) ** (-c1 * f1)
    return teacher + teacher**-c0 * gap * (50.0 / n**0.22 + 120.0 / d**0.27)


def table(noise=0.001, seed=0, teachers=(2.0, 2.3, 2.6)):
    random = np.random.default_rng(seed)
    rows = []
    for n in (1e7, 3e7, 1e8, 3e8):
        for ratio in (10, 40, 160):
            d = n * ratio
            rows.append({"N": n, "D": d, "loss": alone(n, d), "teacher_loss": None})
            rows += [{"N": n, "D": d, "loss": taught(n, d, t), "teacher_loss": t} for t in teachers]
    return [r | {"loss": r["loss"] * math.exp(noise * random.normal())} for r in rows]


@pytest.fixture(scope="module")
def fitted():
    return fit_distillation(read_runs(table()), resamples=40)


def test_students_that_nobody_trained_are_forecast_within_one_percent(fitted):
    for n, d, teacher in ((5e7, 3e9, 2.1), (1e9, 2e10, 2.3), (2e8, 4e9, 2.5)):
        assert fitted.loss(n, d, teacher) == pytest.approx(taught(n, d, teacher), rel=0.01)
        assert fitted.loss(n, d) == pytest.approx(alone(n, d), rel=0.012)


def test_the_better_choice_is_found_and_its_chance_is_high(fitted):
    for n, d in ((1e7, 1e9), (3e8, 6e9)):
        truth = {"none": alone(n, d), "good": taught(n, d, 2.0), "weak": taught(n, d, 2.6)}
        found = fitted.choose(n, d, {"good": 2.0, "weak": 2.6})
        best = min(truth, key=lambda k: truth[k])
        assert max(found.best, key=lambda k: found.best[k]) == best and found.best[best] > 0.8
        assert sum(found.best.values()) == pytest.approx(1.0)


def test_what_the_teachers_compute_would_buy_can_turn_the_choice(fitted):
    more = data_for_the_same_compute(1e7, 1e8, teacher_size=1e10)
    assert more == pytest.approx(1e8 * (1 + 2e10 / 6e7))
    same, paid = fitted.choose(1e7, 1e8, {"t": 2.3}), fitted.choose(1e7, 1e8, {"t": 2.3}, data_alone=more)
    assert paid.losses["none"][0] < same.losses["none"][0] and paid.losses["t"] == same.losses["t"]


def test_a_teacher_outside_the_table_is_noted_and_students_that_beat_theirs_are_left_out(fitted):
    assert any("any in the table" in n for n in fitted.choose(1e8, 1e9, {"new": 1.2}).notes)
    rows = [*table(), {"N": 3e8, "D": 5e10, "loss": 2.4, "teacher_loss": 2.6}]
    assert any("beat their teacher" in n for n in fit_distillation(read_runs(rows), resamples=2).notes)


@pytest.mark.parametrize(("rows", "what"), [
    ([r | {"teacher_loss": None} for r in table()], "too few"),
    (table(teachers=(2.3,)), "one teacher"),
    ([{k: v for k, v in r.items() if k != "teacher_loss"} for r in table()], "names no teachers"),
    ([r | {"teacher_loss": None if r["teacher_loss"] is None else 9.0 + r["teacher_loss"]} for r in table()], "worse than their teacher"),
])  # fmt: skip
def test_tables_that_cannot_answer_say_so(rows, what):
    with pytest.raises(LimbeckError, match=what) as raised:
        fit_distillation(read_runs(rows))
    assert raised.value.fix


def test_a_teacher_without_a_loss_is_refused(fitted):
    with pytest.raises(LimbeckError, match="no usable loss"):
        fitted.choose(1e8, 1e9, {"x": float("nan")})
