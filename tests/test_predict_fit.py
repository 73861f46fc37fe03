"""Forecasts from tables of runs: laws, the classical fit, intervals, doubts, and plain answers to tables that cannot be used."""

import json
import math
import time

import numpy as np
import pytest

from limbeck.cli import main
from limbeck.errors import LimbeckError
from limbeck.predict import fit, read_runs
from limbeck.predict.classical import fit_chinchilla
from limbeck.predict.laws import LAWS

TRUTH = {"E": 1.8, "A": 480.0, "B": 2000.0, "alpha": 0.35, "beta": 0.37}


def true_loss(n, d):
    return TRUTH["E"] + TRUTH["A"] / n ** TRUTH["alpha"] + TRUTH["B"] / d ** TRUTH["beta"]


def ladder(noise=0.003, seed=0, sizes=(1e7, 3e7, 1e8, 3e8, 1e9), ratios=(5, 20, 80)):
    random = np.random.default_rng(seed)
    return [{"N": n, "D": r * n, "loss": true_loss(n, r * n) * math.exp(noise * random.normal())} for n in sizes for r in ratios]


@pytest.mark.parametrize("name", LAWS)
def test_every_laws_derivatives_are_those_of_its_values(name):
    law, random = LAWS[name], np.random.default_rng(1)
    points = {k: random.normal(size=7) for k in "ndc"} | {"t": random.normal(size=7), "s": random.normal(size=7)}
    points["u"] = points["d"] - np.abs(random.normal(size=7))
    theta = np.nan_to_num(np.array(law.means)) + 0.3 * random.normal(size=(3, len(law.means)))
    _, slopes = law.log_loss(theta, points)
    for j in range(theta.shape[1]):
        up, down = theta.copy(), theta.copy()
        up[:, j] += 1e-5
        down[:, j] -= 1e-5
        measured = (law.log_loss(up, points)[0] - law.log_loss(down, points)[0]) / 2e-5
        assert np.allclose(measured, slopes[..., j], atol=1e-7)


def test_the_classical_fit_recovers_the_coefficients_that_made_the_losses():
    found = fit_chinchilla(read_runs(ladder(noise=0.0)))
    assert pytest.approx(1.8, abs=2e-3) == found.E and found.alpha == pytest.approx(0.35, abs=2e-3) and found.beta == pytest.approx(0.37, abs=2e-3)
    assert found.objective < 1e-7 and found.share == pytest.approx(0.37 / 0.72, abs=5e-3)


def test_a_ladder_without_tricks_is_forecast_within_its_interval():
    fitted = fit(ladder())
    for size, data in ((1e10, 2e11), (5e9, 4e11)):
        forecast = fitted.predict(size=size, data=data)
        assert forecast.low < true_loss(size, data) < forecast.high
        assert forecast.loss == pytest.approx(true_loss(size, data), rel=0.025) and forecast.reach > 1
    assert fitted.held_out and fitted.held_out.error < 0.02


def test_intervals_widen_with_reach_and_with_level():
    fitted = fit(ladder())
    near, far = fitted.predict(compute=3e21), fitted.predict(compute=3e23)
    assert math.log(far.high / far.low) > 1.5 * math.log(near.high / near.low)
    assert fitted.predict(compute=3e23, level=0.5).high < far.high


def test_too_far_a_target_is_warned_of_and_then_refused():
    fitted = fit(ladder())
    assert any("without a test" in w for w in fitted.predict(compute=4.8e20 * 5000).warnings)
    with pytest.raises(LimbeckError, match="times beyond the largest run"):
        fitted.predict(compute=1e27)


def test_compute_alone_is_enough_for_a_frontier():
    compute = np.geomspace(1e16, 1e19, 8)
    fitted = fit({"C": compute.tolist(), "loss": (1.5 + 40 * compute**-0.1).tolist()})
    forecast = fitted.predict(compute=1e20)
    assert forecast.size is None and forecast.loss == pytest.approx(1.5 + 40 * 1e20**-0.1, rel=0.05)
    with pytest.raises(LimbeckError, match="knows only compute"):
        fitted.best_split(1e20)


def test_bits_are_brought_to_nats_and_columns_mapped(tmp_path):
    rows = [{"params": r["N"], "seen": r["D"], "val_bits": r["loss"] / math.log(2)} for r in ladder()]
    a = fit(rows, columns={"d": "seen", "loss": "val_bits"}, unit="bits").predict(compute=1e22)
    assert a.loss == pytest.approx(fit(ladder()).predict(compute=1e22).loss, rel=1e-6)


def test_embeddings_are_taken_off_the_sizes():
    runs = read_runs([r | {"embeddings": 5e6} for r in ladder()])
    assert runs.sizes.min() == pytest.approx(5e6) and "sizes are without embeddings" in runs.notes


def rising():
    return [{"N": n, "D": 20 * n, "loss": 2 + i * 0.1} for i, n in enumerate((1e7, 3e7, 1e8, 3e8, 1e9, 3e9))]


def mixed():
    return [r | {"loss": r["loss"] / (math.log(2) if i % 3 == 0 else 1)} for i, r in enumerate(ladder())]


def sinking():
    return [r | {"loss": r["loss"] - 1.8 - 0.25} for r in ladder(0.001) if r["loss"] > 2.2] + [{"N": 3e9, "D": 6e10, "loss": true_loss(3e9, 6e10) - 2.05}]


BAD = {
    "two runs": (lambda: ladder()[:2], "2 runs are too few"),
    "one size": (lambda: [r | {"N": 1e8} for r in ladder()], "one size"),
    "rising losses": (rising, "losses rise with compute"),
    "nan": (lambda: [*ladder(), {"N": 1e8, "D": 1e9, "loss": float("nan")}], "not finite"),
    "copies": (lambda: ladder()[:3] * 5, "different runs remain"),
    "two units": (mixed, "two units"),
    "negative floor": (sinking, "negative irreducible loss"),
    "too many": (lambda: {"N": [1.0] * 200_000, "D": [1.0] * 200_000, "loss": [1.0] * 200_000}, "points of training curves"),
    "negative loss": (lambda: [r | {"loss": -r["loss"]} for r in ladder()], "zero or negative"),
    "no loss": (lambda: [{"N": 1, "D": 2}] * 6, "lacks loss"),
    "words": (lambda: [r | {"loss": "low"} for r in ladder()], "is no number"),
    "no span": (lambda: [r | {"N": 1e8 * (1 + i / 100), "D": 2e9} for i, r in enumerate(ladder())], "span only"),
    "unequal": (lambda: {"N": [1, 2], "D": [1], "loss": [1, 2]}, "unequal lengths"),
    "numbers": (lambda: [1, 2, 3], "these are no runs"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_table_that_cannot_be_used_gets_a_plain_answer_at_once(name):
    make, what = BAD[name]
    table = make()
    began = time.process_time()
    with pytest.raises(LimbeckError, match=what) as raised:
        fit(table)
    assert raised.value.fix and time.process_time() - began < 2


@pytest.mark.parametrize("noise", [0.0, 0.003])
def test_a_sinking_table_is_refused_through_the_noise_of_seeds(noise):
    random = np.random.default_rng(3)
    rows = [{"N": n, "D": n * r, "loss": (4 * (n / 1e6) ** -0.2 + 2 * (n * r / 1e7) ** -0.2 - 0.5) * math.exp(random.normal(0, noise))} for n in (1e6, 2e6, 4e6, 8e6, 1.6e7, 3.2e7) for r in (10, 20, 80)]
    with pytest.raises(LimbeckError, match="negative irreducible loss"):
        fit(rows)


def test_a_target_inside_the_data_is_no_forecast():
    with pytest.raises(LimbeckError, match="inside the data"):
        fit(ladder()).predict(compute=1e18)


def test_repeated_rows_and_blanks_are_left_out_with_a_note():
    runs = read_runs([*ladder(), *ladder()[:4], {"N": 1e8, "D": 2e9, "loss": None}])
    assert len(runs) == 15 and any("repeated" in n for n in runs.notes) and any("blank" in n for n in runs.notes)


def test_noisy_but_honest_tables_are_not_taken_for_mixed_units_or_sinking_ones():
    for seed in range(12):
        fit(ladder(noise=0.02, seed=seed))


def test_one_ratio_of_data_to_size_is_a_doubt():
    fitted = fit(ladder(ratios=(20,), sizes=(1e7, 2e7, 4e7, 8e7, 2e8, 5e8, 1e9)))
    assert "one ratio" in [f.name for f in fitted.findings]


def test_a_size_that_was_not_tuned_and_a_wrong_number_are_doubts():
    rows = ladder(noise=0.002, sizes=(1e7, 3e7, 1e8, 3e8, 1e9, 2e9))
    untuned = [r | {"loss": r["loss"] * (1.05 if r["N"] == 3e8 else 1)} for r in rows]
    assert "untuned rung" in [f.name for f in fit(untuned).findings]
    rows[10]["loss"] *= 0.93
    assert "outlier" in [f.name for f in fit(rows).findings]
    assert not [f.name for f in fit(ladder(noise=0.002, sizes=(1e7, 3e7, 1e8, 3e8, 1e9, 2e9))).findings]


def test_a_ladder_whose_held_out_rung_is_missed_is_not_predictable():
    rows = [r | {"loss": r["loss"] * (1.3 if r["N"] >= 1e9 else 1)} for r in ladder()]
    with pytest.raises(LimbeckError, match="not predictable"):
        fit([*rows, {"N": 3e9, "D": 6e10, "loss": 3.4}]).predict(compute=1e23)


def test_repeated_data_is_worth_less():
    rows = []
    for n in (1e7, 3e7, 1e8, 3e8):
        for unique in (1e8, 1e9):
            for epochs in (1, 4, 16, 64):
                worth = unique * (1 + 10 * (1 - math.exp(-(epochs - 1) / 10)))
                rows.append({"N": n, "D": unique * epochs, "U": unique, "loss": true_loss(n, worth)})
    fitted = fit(rows, law="repeats").fits[0]
    assert math.exp(fitted.theta[5]) == pytest.approx(10, rel=0.25)


def test_the_command_prints_the_held_out_rung_first_and_its_record(tmp_path, capsys):
    table = tmp_path / "runs.csv"
    table.write_text("N,D,loss\n" + "".join(f"{r['N']},{r['D']},{r['loss']}\n" for r in ladder()))
    with pytest.raises(SystemExit) as ended:
        main(["predict", "fit", str(table), "--target", "1e22", "--page", str(tmp_path / "page.html")])
    out = capsys.readouterr().out
    assert ended.value.code == 0 and out.startswith("held out") and "record" in out and "prior" in out
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 4 and "Held out first" in page
    with pytest.raises(SystemExit):
        main(["predict", "fit", str(table), "--target", "7e9,1.4e11", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["forecasts"][0]["size"] == 7e9 and document["fit"]["held_out"]


@pytest.mark.parametrize(("arguments", "what"), [(["--target", "big"], "is no target"), (["--column", "loss"], "maps nothing"), (["--law", "magic"], "there is no law"), (["--unit", "joules"], "no unit"), (["--column", "loss=x"], "no column 'x'"), (["--target", "1e22", "--level", "0.42"], "no factor was learnt"), (["--law", "repeats"], "needs columns")])  # fmt: skip
def test_wrong_options_are_three_lines(tmp_path, capsys, arguments, what):
    table = tmp_path / "runs.csv"
    table.write_text("N,D,loss\n" + "".join(f"{r['N']},{r['D']},{r['loss']}\n" for r in ladder()))
    with pytest.raises(SystemExit) as ended:
        main(["predict", "fit", str(table), *arguments])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and what in error and "where:" in error and "fix:" in error


def test_several_experiments_in_one_table_are_doubted_and_can_be_parted(tmp_path, capsys):
    rows = [{**r, "dataset": "a, plain"} for r in ladder()] + [{**r, "loss": 1.15 * r["loss"], "dataset": "b"} for r in ladder(seed=1)]
    assert "several experiments" in [f.name for f in fit(rows).findings]
    apart = fit(rows, only={"dataset": "a, plain"})
    assert len(apart.runs) == len(ladder()) and "several experiments" not in [f.name for f in apart.findings]
    for only, what in (({"dataset": "c"}, "no row has 'c'"), ({"set": "a"}, "no column 'set'")):
        with pytest.raises(LimbeckError, match=what):
            fit(rows, only=only)
    table = tmp_path / "t.csv"
    table.write_text("N,D,loss\n")
    with pytest.raises(SystemExit):
        main(["predict", "fit", str(table), "--only", "dataset"])
    assert "keeps nothing" in capsys.readouterr().err


def test_the_names_of_a_table_are_escaped_on_the_page(tmp_path):
    from limbeck.predict.decision import write_page

    table = tmp_path / "<script>alert(1)<s>&.csv"
    table.write_text("N,D,loss\n" + "".join(f"{r['N']},{r['D']},{r['loss']}\n" for r in ladder()))
    page = write_page(fit(table), (), tmp_path / "page.html").read_text()
    assert "<script>" not in page and "&lt;script&gt;" in page
