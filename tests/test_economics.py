"""Costs of answers, from how many answers on a student pays, and the page's part on it."""

import json
import math

import pytest

from limbeck import economics as roof
from limbeck.errors import LimbeckError
from limbeck.evaluate.costs import Price, break_even, cost_of, economics, retention_rows, spend_of
from limbeck.evaluate.summary import summarise
from limbeck.recipe.schema import TeacherSection
from limbeck.records import Score
from limbeck.report.economics import FILTERS, cost_figure, economics_section, keep_rows, money, retention_figure, short

CORE = Price(core_hour_usd=0.036, source="a price list")


def result(who, rights, tokens=None, seconds=0.5, base_url="", families=("",), **more):
    trials = [
        {"id": str(i), "status": "scored", "family": families[i % len(families)], "execution": [float(r)], "answer_meta": {"tokens": {"prompt": tokens[0], "completion": tokens[1] + i % 2}} if tokens else {}}
        for i, r in enumerate(rights)
    ]  # fmt: skip
    return {"answerer": who, "task": "t", "version": "1", "split": "test", "main": "execution", "parameters": None, "settings": {"base_url": base_url} if base_url else {}, "asked": len(trials),
            "cpu_seconds_per_answer": seconds, "seconds": 2.0 * len(trials), "trials": trials, "scores": [], "statuses": {}, "n": len(trials)} | more  # fmt: skip


def test_a_served_teacher_costs_its_tokens_times_their_price_with_an_interval():
    found = cost_of(result("teacher", [1] * 10, tokens=(1000, 100)), Price(usd_in=2.0, usd_out=10.0))
    exact = 1000 * (1000 * 2.0 + 100.5 * 10.0) / 1e6  # half of the answers are a token longer
    assert found["per_1000"]["value"] == pytest.approx(exact) and found["by"] == "tokens"
    assert found["per_1000"]["low"] < exact < found["per_1000"]["high"] and found["tokens_out"] == 100.5


def test_a_students_seconds_are_priced_by_the_core_hour():
    found = cost_of(result("student", [1, 0], seconds=0.5), CORE)
    assert found["per_1000"]["value"] == pytest.approx(1000 * 0.5 * 0.036 / 3600) and found["per_1000"]["low"] is None


def test_weights_on_a_rented_machine_cost_its_hours():
    assert cost_of(result("teacher", [1, 0]), Price(machine_hour_usd=3.6))["per_1000"]["value"] == pytest.approx(1000 * 2.0 / 3600 * 3.6)


def test_bills_count_where_no_price_is_known_but_not_those_of_replays():
    billed = result("teacher", [1, 1, 1])
    for trial, cost in zip(billed["trials"], (0.002, 0.004, 0.0), strict=True):
        trial["cost_usd"] = cost
    billed["trials"][2]["answer_meta"] = {"replayed": True}
    assert cost_of(billed, Price())["per_1000"]["value"] == pytest.approx(3.0)


@pytest.mark.parametrize(("more", "price", "why"), [
    ({}, Price(source="nobody knows its price"), "nobody knows"), ({}, Price(usd_in=1.0, usd_out=1.0), "not counted"), ({"asked": 0}, CORE, "replayed"), ({"seconds": 0.0}, CORE, "a price list"),
])  # fmt: skip
def test_what_is_unknown_stays_unknown_and_says_why(more, price, why):
    found = cost_of(result("x", [1, 0], **more), price)
    assert found["per_1000"]["value"] is None and why in found["why_unknown"]


def test_break_even_is_spend_over_saving_and_its_bounds_take_both_costs_at_their_ends():
    teacher, student = Score(name="", value=2.0, n=10, low=1.5, high=2.5), Score(name="", value=1.0, n=10)
    found = break_even(10.0, teacher, student)
    assert (found.value, found.low, found.high) == (10_000, pytest.approx(1000 * 10 / 1.5), 20_000)


def test_a_student_that_is_not_cheaper_never_pays_and_the_upper_bound_may_be_never():
    dear = break_even(10.0, Score(name="", value=1.0, n=5), Score(name="", value=1.0, n=5))
    assert dear.value == math.inf
    doubtful = break_even(10.0, Score(name="", value=1.2, n=5, low=0.9, high=1.5), Score(name="", value=1.0, n=5))
    assert doubtful.value == pytest.approx(50_000) and doubtful.high == math.inf
    assert break_even(None, Score(name="", value=1.0, n=5), Score(name="", value=0.1, n=5)).value is None


def test_break_even_bounds_cover_the_truth_in_simulation():
    """Teacher's cost of an answer is sampled; the true break-even lies in the bounds at least as often as 95 times in 100."""
    import numpy as np

    from limbeck.evaluate.clustered import clustered_mean

    random, inside = np.random.default_rng(0), 0
    for _ in range(400):
        found = clustered_mean(list(random.gamma(4.0, 0.5, 60)))
        score = break_even(10.0, Score(name="", value=found.value, n=60, low=found.low, high=found.high), Score(name="", value=0.5, n=60))
        inside += score.low <= 1000 * 10 / (2.0 - 0.5) <= score.high
    assert inside >= 0.92 * 400


def manifests(**more):
    return [{"step": step, "seconds": s, "hardware": {"cores": 2} | more} for step, s in (("distill", 900.0), ("train/student-s0", 2700.0), ("train/student-s1", 9e9), ("evaluate/teacher", 9e9))]


def test_spend_is_bills_and_the_core_hours_of_the_seed_that_serves():
    keep = {"spend": {"paid": {"cost_usd": 4.0, "requests": 7, "tokens_in": 1, "tokens_out": 2}, "replayed": {"requests": 3}, "in_doubt": {"requests": 1}}}
    found = spend_of(keep, manifests(), "student-s0", 0.5, sends_bills=True)
    assert found["core_hours"] == 2.0 and found["total_usd"] == 5.0 and found["bills"]["replayed"] == 3 and not found["unknown"]


def test_accounts_in_their_plain_form_and_accounts_that_are_missing():
    assert spend_of({"spend": {"usd": 1.5, "calls": 3, "replayed": 2}}, manifests(), "student-s0", 0.0, True)["bills"] == {"usd": 1.5, "tokens_in": None, "tokens_out": None, "calls": 3, "replayed": 2, "in_doubt": 0}
    assert spend_of({}, manifests(), "student-s0", 0.0, sends_bills=False)["total_usd"] == 0.0
    unknown = spend_of({}, manifests(), "student-s0", 0.0, sends_bills=True)
    assert unknown["total_usd"] is None and unknown["unknown"] == ["the teacher's bills"]
    assert "an hour of H100" in spend_of({}, manifests(gpu="H100"), "student-s0", 0.5, False)["unknown"]


def test_retention_by_family_and_in_all():
    teacher = result("teacher", [1, 1] * 20, families=("easy", "hard"))
    student = result("student-s0", [1, 0] * 20, families=("easy", "hard"))
    rows = {r["family"]: r for r in retention_rows([student], [teacher])}
    assert rows[""]["share"] == 0.5 and rows["easy"]["share"] == 1.0 and rows["hard"]["share"] == 0.0
    assert rows[""]["low"] < 0.5 < rows[""]["high"] and rows["hard"]["high"] is None  # none right: no upper end can be said


def test_retention_of_a_teacher_that_gets_nothing_right_is_unknown():
    rows = retention_rows([result("s", [1, 0] * 5)], [result("t", [0] * 10)])
    assert rows[0]["share"] is None and retention_figure({"splits": {"test": {"retention": rows}}}) == ""


@pytest.fixture
def found():
    teacher = result("teacher", [1, 1, 1, 0] * 10, tokens=(900, 90), base_url="https://api", families=("a", "b"))
    return {"teacher": {"test": teacher}, "student-s0": {"test": result("student-s0", [1, 1, 0, 0] * 10, families=("a", "b"))}}


def made(found, teacher=Price(usd_in=2.0, usd_out=8.0), spend=None):  # noqa: B008
    groups = {who.removesuffix("-s0"): [who] for who in found}
    return economics(found, groups, ["test"], {"student": CORE, "teacher": teacher}, spend or spend_of({"spend": {"usd": 3.0}}, manifests(), "student-s0", 0.5, True))


def test_economics_is_json_and_names_the_volume_from_which_the_student_pays(found):
    out = made(found)
    assert json.loads(json.dumps(out, allow_nan=False)) == out
    even = out["splits"]["test"]["break_even"]
    assert even["value"] > 0 and not even["never"] and "pays from" in cost_figure(out, "test")


def test_the_page_copes_with_no_price_no_spend_no_teacher_and_older_runs(found, tmp_path):
    unpriced = made(found, Price(source="nobody knows its price"))
    assert unpriced["splits"]["test"]["break_even"]["value"] is None and "<svg" in cost_figure(unpriced, "test") and "pays from" not in cost_figure(unpriced, "test")
    unknown = made(found, spend=spend_of({}, [], "student-s0", 0.5, True))
    assert cost_figure(unknown, "test") == "" and "unknown: the teacher's bills" in unknown["splits"]["test"]["why_unknown"]
    alone = made({"student-s0": found["student-s0"]})
    assert alone["splits"]["test"]["retention"] == [] and alone["splits"]["test"]["teacher"]["why_unknown"] == "no teacher was examined"
    for out in (unpriced, unknown, alone, made(found)):
        text = render(economics_section(tmp_path, {"splits": ["test"], "economics": out}, {"asked": 3, "kept": 2, "refused": {"too_long": 1}}))
        assert "what answers cost" in text and "None" not in text
    assert economics_section(tmp_path, {"splits": ["test"]}, {}) is None


def render(section):
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("limbeck.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= FILTERS | {"pct": lambda v: "-" if v is None else f"{100 * v:.1f}"}
    return environment.get_template("economics.html").render(economics=section)


def test_reasons_of_untrusted_text_are_escaped(found, tmp_path):
    text = render(economics_section(tmp_path, {"splits": ["test"], "economics": made(found)}, {"asked": 1, "kept": 0, "table": [["refused", "answer", "<script>x", 1]]}))
    assert "<script>" not in text and "&lt;script&gt;" in text


def test_never_is_said_in_words(found, tmp_path):
    out = made(found, Price(usd_in=1e-9, usd_out=1e-9))
    assert out["splits"]["test"]["break_even"]["never"] and "never" in render(economics_section(tmp_path, {"splits": ["test"], "economics": out}, {}))


def test_keep_rows_of_the_table_and_of_older_accounts():
    assert keep_rows({"asked": 4, "kept": 3, "table": [["kept", "", "", 3], ["refused", "answer", "too_long", 1]]})[1] == {"state": "refused", "column": "answer", "reason": "too long", "n": 1, "share": 0.25}
    assert [r["reason"] for r in keep_rows({"asked": 4, "kept": 2, "refused": {"answer: too_long": 1}, "failed": {"429": 1}})] == ["", "too long", "429"]
    assert keep_rows({})[0]["share"] is None


def test_a_teacher_behind_a_server_is_not_timed_against_the_student(found):
    assert summarise("x", found, ["student-s0"], ["test"])["headline"]["speed_ratio"] is None
    found["teacher"]["test"]["settings"] = {}
    assert summarise("x", found, ["student-s0"], ["test"])["headline"]["speed_ratio"] == 1.0


def test_prices_come_from_the_recipe_the_catalogue_or_the_core_and_say_so(monkeypatch):
    monkeypatch.delenv(roof.CORE_HOUR, raising=False)
    assert "entered" in roof.core_price().source and roof.core_price().core_hour_usd == pytest.approx(0.33915 / 8, rel=1e-3)
    served = {"model": "openai:nobody-knows", "base_url": "https://api.example.com/v1"}
    assert roof.teacher_price(TeacherSection(**served)).usd_in is None
    assert roof.teacher_price(TeacherSection(**served, price_in_usd=1.0, price_out_usd=2.0)).usd_out == 2.0
    assert roof.teacher_price(TeacherSection(model="openai:gpt-4o-mini", base_url="https://api.example.com/v1")).source == "`limbeck catalog`"
    assert roof.teacher_price(TeacherSection(model="builtin:cf")).core_hour_usd and not roof.sends_bills(TeacherSection(model="openai:x", base_url="http://localhost:8000/v1"))
    monkeypatch.setenv(roof.CORE_HOUR, "0.5")
    assert roof.core_price().core_hour_usd == 0.5
    monkeypatch.setenv(roof.CORE_HOUR, "cheap")
    with pytest.raises(LimbeckError, match="is no price"):
        roof.core_price()


def test_numbers_are_written_for_people():
    assert (short(12_300), short(4_500_000), money(0.0), money(0.00042), money(1234.5), money(None)) == ("12,300", "4.5 million", "$0.00", "$0.00042", "$1,234.50", "unknown")
