"""The ledger of forecasts on a run's page: hits and misses alike, escaped, and a changed ledger said."""

from jinja2 import Environment, PackageLoader

from limbeck.report.forecasts import forecasts_section


def sealed(seal, run="a", at="2026-11-26T10:00:00+00:00", **forecast):
    return {"kind": "sealed", "at": at, "run": run, "seal": seal * 64, "share": 0.01, "forecast": forecast}


def outcome(seal, run="a", standing="sealed before training", **judged):
    return {"kind": "outcome", "at": "2026-11-26T11:00:00+00:00", "run": run, "seal": seal * 64, "standing": standing, "judged": judged}


def said(value, low, high):
    return {"value": value, "low": low, "high": high}


def judged(came, error, inside, unit="%"):
    return {"said": 1.0, "low": 0.9, "high": 1.1, "came": came, "error": error, "unit": unit, "inside": inside}


LEDGER = [
    sealed("1", loss=said(0.34, 0.301, 0.383), score=said(0.649, 0.558, 0.743)),
    outcome("1", loss=judged(0.0994, 242.0, False), score=judged(0.70, -5.1, True, "points")),
    sealed("2", run="b", loss=said(1.231, 1.061, 1.428), score={"refused": "not predictable: no rung scores more than 2 %"}),
]


def page(lines, run="a", problem=""):
    environment = Environment(loader=PackageLoader("limbeck.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("forecasts.html").render(forecasts=forecasts_section(lines, run, problem))


def test_hits_misses_and_what_is_still_open_stand_beside_each_other():
    section = forecasts_section(LEDGER, "a")
    assert [(r["run"], r["what"], r["verdict"]) for r in section["rows"]] == [("a", "loss, nats", "outside"), ("a", "score, %", "inside"), ("b", "loss, nats", "not yet"), ("b", "score, %", "not predictable")]
    assert (section["held"], section["judged"], section["open"], section["refused"]) == (1, 2, 1, 1)
    assert section["rows"][1]["value"] == 64.9 and section["rows"][1]["came"] == 70.0 and section["rows"][0]["own"] and not section["rows"][2]["own"]


def test_the_page_shows_interval_date_hash_and_what_came():
    html = page(LEDGER)
    for shown in ("0.301 to 0.383", "0.0994", "+242.0 %", "2026-11-26 10:00", "1" * 12, ">NO<", "1.061 to 1.428", "not yet", "no rung scores", "<b>a</b>", "Of 2 forecasts that can be judged 1 held"):
        assert shown in html, shown


def test_a_seal_made_during_training_is_marked():
    assert "sealed during training" in page([LEDGER[0], outcome("1", standing="sealed during training", loss=judged(0.35, 1.0, True))]) and "sealed before" not in page(LEDGER)


def test_words_of_a_ledger_are_never_markup():
    html = page([sealed("1", run="<script>alert(1)</script>", at="<b>", loss={"refused": "<img src=x>"})])
    assert "<script" not in html and "<img" not in html and "&lt;script&gt;" in html


def test_numbers_that_are_none_are_left_out_not_shown():
    html = page([sealed("1", loss={"value": "nan", "low": float("nan"), "high": None}), outcome("9", run="old", score=judged(0.4, 2.0, True, "points"))])
    assert "nan" not in html.lower() and ">old<" in html and "40" in html


def test_a_changed_ledger_is_said_and_none_of_it_shown():
    html = page([], problem="line 2 of the ledger was changed")
    assert "line 2 of the ledger was changed" in html and "<table" not in html and forecasts_section([], "a") == {}
