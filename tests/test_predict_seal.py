"""Seals and the ledger: what is changed, late or missing is noticed."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from limbeck.errors import LimbeckError
from limbeck.predict.seal import append, judge, read_ledger, read_seal, standing, write_seal

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def sealed(tmp_path):
    table = tmp_path / "runs.csv"
    table.write_text("N,D,C,loss\n1,2,3,4\n")
    write_seal(tmp_path / "seal.json", table, "v1", {"forecast": {"loss": {"value": 1.0, "low": 0.9, "high": 1.1}, "score": {"value": 0.5, "low": 0.4, "high": 0.6}}}, NOW)
    return tmp_path


def test_a_seal_is_read_again_and_stands_before_training(sealed):
    document = read_seal(sealed / "seal.json")
    assert standing(document, sealed / "runs.csv", NOW + timedelta(minutes=1), NOW + timedelta(hours=1)) == "sealed before training"
    assert standing(document, sealed / "runs.csv", NOW - timedelta(minutes=1), NOW + timedelta(hours=1)) == "sealed during training"


def test_a_changed_seal_is_noticed(sealed):
    path = sealed / "seal.json"
    path.write_text(path.read_text().replace('"value": 1.0', '"value": 1.2'))
    with pytest.raises(LimbeckError, match="changed after it was sealed"):
        read_seal(path)


def test_a_changed_date_is_a_changed_seal(sealed):
    path = sealed / "seal.json"
    path.write_text(path.read_text().replace("2026-01-02", "2025-01-02"))
    with pytest.raises(LimbeckError, match="changed after"):
        read_seal(path)


def test_a_seal_made_after_the_run_is_no_forecast(sealed):
    with pytest.raises(LimbeckError, match="after the run it speaks of had ended"):
        standing(read_seal(sealed / "seal.json"), sealed / "runs.csv", NOW - timedelta(hours=2), NOW - timedelta(hours=1))


def test_a_changed_table_is_noticed(sealed):
    (sealed / "runs.csv").write_text("N,D,C,loss\n1,2,3,5\n")
    with pytest.raises(LimbeckError, match="not the one that was sealed"):
        standing(read_seal(sealed / "seal.json"), sealed / "runs.csv", NOW + timedelta(hours=1), NOW + timedelta(hours=2))


def test_a_seal_is_not_made_twice(sealed):
    with pytest.raises(LimbeckError, match="already"):
        write_seal(sealed / "seal.json", sealed / "runs.csv", "v1", {"forecast": {}})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}'])
def test_what_is_no_seal_is_said(tmp_path, text):
    (tmp_path / "seal.json").write_text(text)
    with pytest.raises(LimbeckError, match="no sealed forecast"):
        read_seal(tmp_path / "seal.json")


def test_losses_are_judged_in_percent_and_scores_in_points(sealed):
    judged = judge(read_seal(sealed / "seal.json"), {"loss": 0.8, "score": 0.45})
    assert abs(judged["loss"]["error"] - 25) < 1e-9 and not judged["loss"]["inside"]
    assert abs(judged["score"]["error"] - 5) < 1e-9 and judged["score"]["inside"]


def test_a_refused_forecast_is_shown_beside_what_came():
    assert judge({"forecast": {"score": {"refused": "not predictable"}}}, {"score": 0.4}) == {"score": {"refused": "not predictable", "came": 0.4}}


def test_a_ledger_grows_and_notices_a_changed_or_missing_line(tmp_path):
    ledger = tmp_path / "forecasts.jsonl"
    for number in range(3):
        append(ledger, {"kind": "sealed", "number": number})
    assert [line["number"] for line in read_ledger(ledger)] == [0, 1, 2]
    lines = ledger.read_text().splitlines()
    ledger.write_text("\n".join([lines[0], lines[2]]) + "\n")
    with pytest.raises(LimbeckError, match="line 2 of the ledger"):
        read_ledger(ledger)
    changed = json.loads(lines[1]) | {"number": 7}
    ledger.write_text("\n".join([lines[0], json.dumps(changed), lines[2]]) + "\n")
    with pytest.raises(LimbeckError, match="line 2 of the ledger"):
        append(ledger, {"kind": "outcome"})
