"""Fine-tuning curves: forecasts by four laws, intervals by reach, several models in a table, plain answers to bad ones."""

import json

import numpy as np
import pytest

from limbeck.cli import main
from limbeck.errors import LimbeckError
from limbeck.predict.finetuning import half_width, read_curves

DATA = 200.0 * 2 ** np.arange(9)


def rectified(data, known=3000.0, exponent=0.8, floor=0.6):
    return 1500.0 / (known + data**exponent) + floor


def rows(**other):
    return [{"data": float(d), "loss": float(rectified(d, **other))} for d in DATA]


def write(path, table):
    path.write_text(",".join(table[0]) + "\n" + "".join(",".join(str(v) for v in r.values()) + "\n" for r in table))
    return str(path)


def test_a_curve_that_bends_late_is_followed_better_than_by_a_straight_line():
    for known in (3000.0, 6000.0):
        curve = read_curves(rows(known=known, floor=0.1, exponent=0.7))[0]
        found, truth = curve.predict(DATA[-1] * 8), rectified(DATA[-1] * 8, known=known, floor=0.1, exponent=0.7)
        assert found.low < truth < found.high and found.times == 8
        assert abs(found.loss - truth) < 0.5 * abs(found.by_law["straight line"] - truth)
    flat = read_curves([{"D": d, "loss": 3 * d**-0.1} for d in DATA])[0].predict(DATA[-1] * 32)
    assert flat.loss == pytest.approx(3 * (DATA[-1] * 32) ** -0.1, rel=0.06)


def test_intervals_widen_with_data_and_with_level():
    assert half_width(4) < half_width(8) < half_width(20) < half_width(32) < half_width(128)
    assert half_width(32, 0.5) < half_width(32, 0.8) < half_width(32, 0.95)
    with pytest.raises(LimbeckError, match="no half width"):
        half_width(8, 0.42)


def test_far_targets_are_warned_of_then_refused_and_near_ones_are_no_forecast():
    curve = read_curves(rows())[0]
    assert curve.predict(DATA[-1] * 64).warnings and not curve.predict(DATA[-1] * 16).warnings
    with pytest.raises(LimbeckError, match="times the data tried"):
        curve.predict(DATA[-1] * 200)
    with pytest.raises(LimbeckError, match="inside the data"):
        curve.predict(1000)


def test_several_models_have_a_curve_each_and_bits_become_nats():
    table = [r | {"model": m, "loss": r["loss"] / np.log(2)} for m in ("small", "large") for r in rows(floor=0.6 if m == "small" else 0.4)]
    small, large = read_curves(table, unit="bits")
    assert (small.run, large.run) == ("small", "large") and small.losses[0] == pytest.approx(rectified(200.0)) and large.losses[-1] < small.losses[-1]


@pytest.mark.parametrize(("table", "what"), [
    (rows()[:4], "too few"),
    ([r | {"loss": 1 + i / 10} for i, r in enumerate(rows())], "rise with data"),
    ([*rows(), {"data": 1e6, "loss": float("nan")}], "is nan"),
    ([r | {"loss": r["loss"] - 2} for r in rows()], "zero or negative"),
    ([{"data": r["data"]} for r in rows()], "lacks the loss"),
    ([{"loss": r["loss"]} for r in rows()], "lacks the data"),
])  # fmt: skip
def test_curves_that_cannot_be_followed_say_why(table, what):
    with pytest.raises(LimbeckError, match=what) as raised:
        read_curves(table)
    assert raised.value.fix


def test_the_command_forecasts_curves_and_prints_its_record(tmp_path, capsys):
    table = write(tmp_path / "curve.csv", rows())
    with pytest.raises(SystemExit) as ended:
        main(["predict", "fit", table, "--law", "finetuning", "--target", "4e5"])
    out = capsys.readouterr().out
    assert ended.value.code == 0 and "forecast" in out and "a straight line" in out
    with pytest.raises(SystemExit):
        main(["predict", "fit", table, "--law", "finetuning", "--target", "4e5", "--json"])
    assert json.loads(capsys.readouterr().out)["forecasts"][0]["data"] == 4e5
    for wrong in (["--target", "1e5,2e5"], ["--target", "4e5", "--page", str(tmp_path / "p.html")], ["--target", "4e5", "--unit", "joules"]):
        with pytest.raises(SystemExit) as ended:
            main(["predict", "fit", table, "--law", "finetuning", *wrong])
        assert ended.value.code == 2 and "fix:" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["predict", "fit", table, "--law", "rectified"])
    assert ended.value.code == 2 and "not for runs" in capsys.readouterr().err
