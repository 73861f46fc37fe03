"""Ladders: resumable rungs, their table, forecasts from it, seals checked against a run; and on a real student, that sizes and costs are counted."""

import json
import math
import os
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from limbeck import carrying_over, forecasting, laddering
from limbeck.errors import LimbeckError
from limbeck.predict import seal
from limbeck.predict.ladder import Rung, read_rows, run_ladder, table_of
from limbeck.predict.plan import Candidate
from limbeck.predict.transfer import Setting
from limbeck.recipe.load import load_recipe
from limbeck.recipe.schema import StudentSection, TrainSection
from limbeck.run import open_run


def rung(width, examples=1000, seed=0):
    setting = Setting(width=width, layers=2, examples=examples, batch=10, lr=1e-3, warmup=5, ema=0.9)
    size = 12.0 * width**2
    return Rung(name=f"w{width}-e{examples}-s{seed}", role="rung", seed=seed, setting=setting, planned=Candidate(size=size, data=examples * 30, compute=6 * size * examples * 30))


def loss_of(size, data, floor=0.05):
    return floor + 30 * size**-0.45 + 60 * data**-0.4


class Toy:
    """Trains nothing: writes what the law says, and notes which rungs it was given; dies after `most` of them."""

    def __init__(self, most=99):
        self.most, self.trained = most, []

    def train(self, pairs):
        for r, step in pairs:
            if len(self.trained) == self.most:
                raise KeyboardInterrupt
            self.trained.append(r.name)
            step.finish()

    def measure(self, r, path):
        return {"N": r.planned.size, "D": r.planned.data, "C": r.planned.compute, "loss": loss_of(r.planned.size, r.planned.data)}


def climb(folder, toy, rungs, measuring=None):
    with open_run(folder, "", 1) as run:
        return run_ladder(run, rungs, {"data": "x"}, ((), ()), toy.train, toy.measure, measuring or {}, lambda *_: None)


RUNGS = [rung(w, e) for w, e in ((16, 1000), (24, 2000), (32, 4000), (48, 8000), (16, 6000), (64, 12000))]


def test_a_killed_ladder_goes_on_and_a_done_one_is_left_alone(tmp_path):
    first = Toy(most=2)
    with pytest.raises(KeyboardInterrupt):
        climb(tmp_path / "run", first, RUNGS)
    second = Toy()
    rows = climb(tmp_path / "run", second, RUNGS)
    assert sorted(first.trained + second.trained) == sorted(r.name for r in RUNGS) and len(rows) == len(RUNGS)
    third = Toy()
    assert climb(tmp_path / "run", third, RUNGS) == rows and not third.trained


def test_a_changed_rung_is_trained_again_and_a_changed_measure_only_measured(tmp_path):
    climb(tmp_path / "run", Toy(), RUNGS[:2])
    again = Toy()
    climb(tmp_path / "run", again, [RUNGS[0], rung(24, 2000, seed=0)], {"examples": 5})
    assert not again.trained
    climb(tmp_path / "run", again, [rung(16, 1000), Rung(name="w24-e2000-s0", role="rung", seed=0, setting=rung(24, 2400).setting, planned=RUNGS[1].planned)])
    assert again.trained == ["w24-e2000-s0"]


def test_two_rungs_of_one_name_are_refused(tmp_path):
    with pytest.raises(LimbeckError, match="one name"):
        climb(tmp_path / "run", Toy(), [RUNGS[0], RUNGS[0]])


def test_the_table_is_read_back_and_by_predict_fit(tmp_path):
    from limbeck.predict import fit

    rows = climb(tmp_path / "run", Toy(), RUNGS)
    path = tmp_path / "runs.csv"
    path.write_text(table_of(rows))
    assert [r["loss"] for r in read_rows(path)] == [r["loss"] for r in rows] and len(fit(path).runs) == len(RUNGS)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "N,D,C\n1,2,3\n"])
def test_a_broken_table_is_said(tmp_path, text):
    (tmp_path / "runs.csv").write_text(text)
    with pytest.raises(LimbeckError, match="no table of a ladder"):
        read_rows(tmp_path / "runs.csv")


def ladder_rows(score=True):
    rows = []
    for r in RUNGS:
        loss = loss_of(r.planned.size, r.planned.data)
        rows.append({"N": r.planned.size, "D": r.planned.data, "C": r.planned.compute, "loss": loss, "score": math.exp(-loss / 0.7) if score else None, "score_n": 500})
    return rows


TARGET = Candidate(size=12.0 * 300**2, data=30 * 200_000, compute=6 * 12.0 * 300**2 * 30 * 200_000)


def test_a_forecast_holds_loss_score_and_pass_rates():
    compute = np.array([r["C"] for r in ladder_rows()])
    passes = -np.outer((compute / compute.min()) ** -0.15, np.linspace(2, 9, 40))
    found = forecasting.forecast_table(ladder_rows(), TARGET, 5.0, 25.0, passes)
    loss = found["forecast"]["loss"]
    assert loss["low"] < loss_of(TARGET.size, TARGET.data) < loss["high"]
    assert found["forecast"]["loss_per_byte"]["value"] == pytest.approx(loss["value"] / 5)
    assert found["forecast"]["score"]["low"] < found["forecast"]["score"]["value"] < found["forecast"]["score"]["high"]
    assert "value" in found["forecast"]["log_pass_bucket_0"] and found["tests"]["loss"]["error"] < 0.1


def test_without_scores_the_loss_is_forecast_all_the_same():
    found = forecasting.forecast_table(ladder_rows(score=False), TARGET, 5.0, 25.0)
    assert "value" in found["forecast"]["loss"] and "refused" in found["forecast"]["score"]


def test_a_ladder_whose_held_out_rung_is_missed_is_not_predictable():
    rows = ladder_rows()
    rows[-1]["loss"] *= 0.5
    found = forecasting.forecast_table(rows, TARGET, 5.0, 25.0)
    assert "not predictable" in found["forecast"]["loss"]["refused"] and "not predictable" in found["forecast"]["score"]["refused"]


def test_two_rungs_are_no_ladder():
    with pytest.raises(LimbeckError, match="too few"):
        forecasting.forecast_table(ladder_rows()[:2], TARGET, 5.0, 25.0)


def test_a_target_no_larger_than_the_ladder_is_refused_with_the_reason():
    small = Candidate(size=100.0, data=100.0, compute=6e4)
    assert "inside the data" in forecasting.forecast_table(ladder_rows(), small, 5.0, 25.0)["forecast"]["loss"]["refused"]


def make_run(folder, sealed_at, said=0.5, train=None):
    """A run as `limbeck make` leaves it: a sealed forecast, a ladder's table, a trained student with its last dev loss."""
    recipe = load_recipe("cf-smoke", ["predict.share=0.01", "predict.examples=0"])
    table = folder / "ladder" / "runs.csv"
    table.parent.mkdir(parents=True)
    table.write_text(table_of(ladder_rows()))
    content = {"run": "r", "student": recipe.student.model_dump(), "train": recipe.train.model_dump(), "examples": 0, "larger": 1.0, "share": 0.01, "rungs": 6, "forecast": {"loss": {"value": said, "low": said * 0.9, "high": said * 1.1}}}
    seal.write_seal(folder / "predict" / "seal.json", table, "v", content, sealed_at)
    step = folder / "train" / "student-s0"
    step.mkdir(parents=True)
    (step / "metrics.jsonl").write_text('{"step": 1, "seconds": 1.0}\n{"step": 2, "dev_loss": 0.52}\n')
    (step / "started.json").write_text("{}")
    section = {"student": recipe.student.model_dump(), "train": {**recipe.train.model_dump(), **(train or {})}}
    (step / "manifest.json").write_text(json.dumps({"finished": (datetime.now(UTC) + timedelta(seconds=60)).isoformat(), "seconds": 50, "fingerprint": {"section": section}}))
    from limbeck.recipe.load import dump_toml

    (folder / "recipe.toml").write_text(dump_toml(recipe))
    return folder


def test_a_run_is_checked_and_entered_in_the_ledger_once(tmp_path):
    run = make_run(tmp_path / "run", datetime.now(UTC) - timedelta(hours=1))
    judged = forecasting.check_run(run)
    assert judged["standing"] == "sealed before training" and judged["judged"]["loss"]["inside"] and judged["judged"]["loss"]["error"] == pytest.approx(100 * (0.5 / 0.52 - 1))
    forecasting.check_run(run)
    assert [line["kind"] for line in seal.read_ledger(tmp_path / "forecasts.jsonl")] == ["outcome"]


def test_a_seal_made_after_the_run_is_detected(tmp_path):
    with pytest.raises(LimbeckError, match="after the run it speaks of had ended"):
        forecasting.check_run(make_run(tmp_path / "run", datetime.now(UTC) + timedelta(hours=1)))


def test_another_student_than_the_sealed_one_is_detected(tmp_path):
    with pytest.raises(LimbeckError, match=r"train\.steps differs"):
        forecasting.check_run(make_run(tmp_path / "run", datetime.now(UTC) - timedelta(hours=1), train={"steps": 7}))


def test_a_run_without_a_student_cannot_be_checked_yet(tmp_path):
    run = make_run(tmp_path / "run", datetime.now(UTC))
    (run / "train" / "student-s0" / "manifest.json").unlink()
    with pytest.raises(LimbeckError, match="not trained yet"):
        forecasting.check_run(run)


ASKS = [
    (lambda p: forecasting.show_plan(None, "", "", "", 0, None, True), "needs a budget"),
    (lambda p: forecasting.show_plan(None, "2h", "1e20", "", 0, None, True), "what is trained"),
    (lambda p: forecasting.show_plan(None, "1e15", "", "", 0, None, True), "needs a target"),
    (lambda p: forecasting.make_ladder("cf-smoke", p / "r", (), "", False, True, True), "what the ladder may cost"),
    (lambda p: forecasting.make_ladder("cf-smoke", p / "r", ["train.start=builtin:cf"], "1e10", False, True, True), "starts from weights"),
    (lambda p: forecasting.show_forecast(p, "", False, True), "no ladder"),
    (lambda p: forecasting.show_forecast(p / "runs.csv", "", False, True), "no student of its own"),
    (lambda p: forecasting.show_check(p, True), "no sealed forecast"),
]


@pytest.mark.parametrize("ask", ASKS, ids=[a[1] for a in ASKS])
def test_what_cannot_be_answered_is_said(ask, tmp_path):
    with pytest.raises(LimbeckError) as problem:
        ask[0](tmp_path)
    assert ask[1] in problem.value.what and problem.value.where and problem.value.fix


def test_a_rungs_student_and_its_schedule_follow_the_recipe():
    student = laddering.student_at(StudentSection(width=96, heads=4), 40)  # type: ignore[call-arg]
    assert student.width == 40 and 40 % student.heads == 0
    section = laddering.section_of(TrainSection(lr=5e-3), rung(16).setting)  # type: ignore[call-arg]
    assert (section.steps, section.batch, section.lr, section.evaluate_every) == (100, 10, 1e-3, 100)


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """The miniature recipe's student on a dataset of the task's own gold."""
    from limbeck.make import make

    folder = tmp_path_factory.mktemp("ladder") / "run"
    recipe = load_recipe("cf-smoke", ["teacher.model=generator", "distill.prompts=400", "distill.dev=40", "distill.held_out=60", "train.steps=2000", "train.soft_weight=0.0", "student.width=96", "predict.share=0.02", "predict.least_steps=20", "predict.examples=60", "predict.rung_examples=50", "evaluate.splits=[\"generated\"]", "evaluate.k=1", "student.beams=2", "arm=[]"])
    make(recipe, folder, lambda *_: None, "distill")
    from limbeck.resolve import get_codec

    return laddering.Ground(recipe, folder / "distill", get_codec("cf"))


@pytest.mark.slow
def test_costs_are_counted_on_real_batches_and_grow_with_the_width(ground):
    small, large = ground.cost(16), ground.cost(48)
    assert small.size < large.size < large.size_total and small.flops < large.flops
    assert 0.5 < large.flops / (6 * large.size * large.tokens) < 4  # 6 N D is right to a small factor; the head and attention make the rest


@pytest.mark.slow
def test_activations_stay_in_a_band_over_widths_at_transferred_rates(ground):
    from limbeck.predict.transfer import coordinate_band

    band = coordinate_band(carrying_over.measure_activations(ground, [32, 64, 96], steps=4))
    assert band and max(band.values()) < 4


@pytest.mark.slow
def test_a_student_from_given_weights_has_no_ladder(ground):
    given = ground.recipe.model_copy(update={"train": ground.recipe.train.model_copy(update={"start": "builtin:cf"})})
    with pytest.raises(LimbeckError, match="starts from weights"):
        laddering.Ground(given, ground.dataset, ground.codec).plan()


@pytest.mark.slow
def test_the_line_seals_before_training_and_scores_afterwards(tmp_path):
    from limbeck.make import make

    settings = ["teacher.model=generator", "distill.prompts=600", "distill.dev=40", "distill.held_out=60", "train.steps=200", "train.soft_weight=0.0", "student.width=96", "predict.share=0.5", "predict.least_steps=20", "predict.examples=60", "predict.rung_examples=50", "evaluate.splits=[\"generated\"]", "evaluate.limit=0", "evaluate.baselines=[]", "evaluate.k=1", "student.beams=2", "arm=[]"]
    told = []
    make(load_recipe("cf-smoke", settings), tmp_path / "run", lambda event, facts: told.append((event, facts)))
    outcome = json.loads((tmp_path / "run" / "predict" / "outcome.json").read_text())
    assert outcome["standing"] == "sealed before training" and "loss" in outcome["judged"]
    assert [line["kind"] for line in seal.read_ledger(tmp_path / "forecasts.jsonl")] == ["sealed", "outcome"]
    assert any(event == "note" and "sealed before training" in facts["text"] for event, facts in told)
    page = (tmp_path / "run" / "report" / "index.html").read_text()
    assert "Forecasts and what came" in page and outcome["seal"][:12] in page and f"{outcome['judged']['loss']['came']:.4g}" in page


MINIATURE = ["distill.prompts=1500", "distill.held_out=60", "student.width=64", "student.encoder_layers=1", "student.decoder_layers=1", "student.buckets=512", "student.beams=1", "train.steps=240", "train.evaluate_every=120", "predict.share=0.3", "predict.least_steps=20", "predict.examples=60", "predict.rung_examples=50"]


@pytest.mark.slow
@pytest.mark.skipif("LIMBECK_DATA" not in os.environ, reason="LIMBECK_DATA is not set")
def test_the_bash_ladder_recipe_seals_and_scores_in_miniature(tmp_path):
    from limbeck.make import make

    make(load_recipe("bash-ladder", MINIATURE), tmp_path / "run", lambda *_: None)
    sealed, outcome = (json.loads((tmp_path / "run" / "predict" / name).read_text()) for name in ("seal.json", "outcome.json"))
    assert outcome["standing"] == "sealed before training" and outcome["seal"] == sealed["sha256"]
    assert "came" in outcome["judged"]["loss"] and "came" in outcome["judged"]["score"] and outcome["outcome"]["score"] is not None


def test_the_packaged_ladders_ask_for_a_forecast_of_the_student_that_they_train():
    for name in ("cf-ladder", "bash-ladder", "text-ladder"):
        recipe = load_recipe(name, ())
        assert 0 < recipe.predict.share <= 0.02 and recipe.predict.larger == 1 and recipe.predict.least_steps >= 200


def test_a_baseline_that_a_task_has_not_is_refused_before_anything_is_made(tmp_path):
    from limbeck.make import make

    with pytest.raises(LimbeckError, match="no baseline of task 'cf' called 'nonsense'"):
        make(load_recipe("cf-ladder", ['evaluate.baselines=["nonsense"]']), tmp_path / "run", lambda *_: None)
    assert not (tmp_path / "run").exists()


def test_a_bad_table_of_a_forecast_is_named_and_what_was_left_out_is_said(tmp_path):
    (tmp_path / "mine.csv").write_text(table_of(ladder_rows()[:2]))
    with pytest.raises(LimbeckError, match="too few") as problem:
        forecasting.show_forecast(tmp_path / "mine.csv", "1e15", False, True)
    assert "mine.csv" in problem.value.where
    found = forecasting.forecast_table([*ladder_rows(score=False), {**ladder_rows()[0], "loss": None}], TARGET, 5.0, 25.0)
    assert any("left out" in doubt for doubt in found["doubts"]) and "no rung has a score" in found["forecast"]["score"]["refused"]


def test_a_forecasts_page_holds_it_or_why_there_is_none(tmp_path, capsys):
    (tmp_path / "mine.csv").write_text(table_of(ladder_rows()))
    forecasting.show_forecast(tmp_path / "mine.csv", f"{TARGET.size},{TARGET.data}", False, False, tmp_path / "yes.html")
    said = next(line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("loss "))
    page = (tmp_path / "yes.html").read_text()
    assert f"{said} nats" in page and 'name="viewport"' in page and page.count("<svg") == 4
    rows = ladder_rows()
    rows[-1]["loss"] *= 0.5
    (tmp_path / "missed.csv").write_text(table_of(rows))
    forecasting.show_forecast(tmp_path / "missed.csv", f"{TARGET.size},{TARGET.data}", False, False, tmp_path / "no.html")
    page = (tmp_path / "no.html").read_text()
    assert "not predictable" in page and " nats</b>" not in page


def test_a_page_refuses_what_the_forecast_refuses(tmp_path):
    rows = bent_rows(1)
    (tmp_path / "bent.csv").write_text(table_of(rows))
    top = max(rows, key=lambda r: r["C"])
    forecasting.show_forecast(tmp_path / "bent.csv", f"{20 * top['N']},{20 * top['D']}", False, False, tmp_path / "no.html")
    assert "knowing only how often each symbol occurs" in (tmp_path / "no.html").read_text()


class Analytic(laddering.Ground):
    """A recipe's ground whose costs are said, not counted: plans without a dataset or torch."""

    def cost(self, width):
        return laddering.Cost(tokens=25.0, flops=6 * 12.0 * width**2 * 25, size=12 * width**2, size_total=20 * width**2)


def analytic():
    from pathlib import Path

    return Analytic(load_recipe("cf-ladder", ["train.steps=20000"]), Path("nowhere"), None)


def test_a_rung_takes_its_least_steps_with_a_smaller_batch_where_it_must():
    ground = analytic()
    rungs = ground.rungs(ground.plan_seconds(600, laddering.Pace(step=0.0, flops=1e10, workers=1)))
    assert all(r.setting.steps >= 200 and r.setting.batch >= 8 for r in rungs) and min(r.setting.batch for r in rungs) < 64


def test_a_decoders_smallest_batch_is_one_of_tokens():
    student = StudentSection(kind="decoder", length=256)
    assert laddering.least_batch(student) == 2 and laddering.least_batch(student.model_copy(update={"length": 2048})) == 1 and laddering.least_batch(StudentSection()) == 8


def test_heads_of_every_width_turn_in_pairs():
    student = StudentSection(kind="decoder", width=192, heads=6)
    for width in range(16, 193, 4):
        small = laddering.student_at(student, width)
        assert width % small.heads == 0 and width // small.heads % 2 == 0


def bent_rows(reach):
    """Rungs under a law that bends at a loss of 6, the largest of `reach` times the compute of the first."""
    out = []
    for width, examples in ((16, 1000), (20, 1600), (24, 2200), (32, 4000), (16, 4000), (40, 6000)):
        size, data = 12.0 * width**2 * reach**0.5, examples * 100.0 * reach**0.5
        rest = 60 * size**-0.35 + 400 * data**-0.4
        out.append({"run": f"w{width}-{examples}", "N": size, "D": data, "C": 6 * size * data, "loss": 0.5 + (5.5**-2 + rest**-2) ** -0.5, "ceiling": 6.0, "steps": 400})
    return out


def test_rungs_that_have_hardly_learnt_forecast_nothing_and_those_that_have_do():
    for reach, refused in ((1, True), (10_000, False)):
        rows = bent_rows(reach)
        top = max(rows, key=lambda r: r["C"])
        size, data = (20 if refused else 4) * top["N"], (20 if refused else 4) * top["D"]
        found = forecasting.forecast_table(rows, Candidate(size=size, data=data, compute=6 * size * data), 5.0, 25.0)
        assert ("not predictable: knowing only how often" in found["forecast"]["loss"].get("refused", "")) == refused, found
        assert found["tests"]["saturation"]["ceiling"] == 6.0
    came = 0.5 + (5.5**-2 + (60 * size**-0.35 + 400 * data**-0.4) ** -2) ** -0.5
    assert found["forecast"]["loss"]["low"] < came < found["forecast"]["loss"]["high"]


def test_a_budget_in_hours_counts_what_every_step_takes_however_small():
    ground = analytic()
    quick, slow = laddering.Pace(step=0.0, flops=1e10, workers=1), laddering.Pace(step=0.02, flops=1e10, workers=1)
    plans = [ground.plan_seconds(600, pace) for pace in (quick, slow)]
    for plan, pace in zip(plans, (quick, slow), strict=True):
        assert ground.seconds_of(plan, pace) <= 600
    assert plans[1].compute < plans[0].compute  # the same seconds, fewer operations


def test_rungs_trained_at_once_take_less_time_but_never_less_than_the_longest():
    ground = analytic()
    plan = ground.plan_seconds(600, laddering.Pace(step=0.01, flops=1e10, workers=1))
    alone, many = (ground.seconds_of(plan, laddering.Pace(step=0.01, flops=1e10, workers=w)) for w in (1, 64))
    longest = max(r.setting.steps * 0.01 + r.planned.compute / 1e10 for r in ground.rungs(plan))
    assert many == pytest.approx(longest) and alone > many


def test_hours_that_pay_for_no_ladder_are_said_in_hours():
    with pytest.raises(LimbeckError, match="hours of this machine pay for no ladder"):
        analytic().plan_seconds(0.5, laddering.Pace(step=0.05, flops=1e10, workers=1))


def test_dollars_need_the_price_of_an_hour():
    with pytest.raises(LimbeckError, match="price of this machine's hour"):
        forecasting.plan_for(analytic(), "dollars", 5.0)
