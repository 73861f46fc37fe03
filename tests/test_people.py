"""The people's set: big enough, clean, and every gold runs."""

import json
from importlib import resources

import pytest

from limbeck.tasks.cf.executor import run_rule
from limbeck.tasks.cf.language import SCALES, parse
from limbeck.tasks.cf.table import Table


def load(half):
    return json.loads((resources.files("limbeck.tasks.cf") / "people" / f"{half}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("half", ["dev", "test"])
def test_every_gold_runs_and_marks_some_rows(half):
    data = load(half)
    for entry in data["examples"]:
        table = Table.from_json(data["tables"][entry["table"]])
        for gold in entry["gold"]:
            rule = parse(gold)
            found = run_rule(rule, table)
            assert any(found) and (not all(found) or rule.function in SCALES), entry["id"]


def test_there_are_enough_of_them_and_the_halves_share_nothing():
    dev, test = load("dev"), load("test")
    assert len(dev["examples"]) + len(test["examples"]) >= 400 and len(dev["tables"]) + len(test["tables"]) >= 40
    headers = [{tuple(t["headers"]) for t in half["tables"].values()} for half in (dev, test)]
    shared = {h for h in headers[0] & headers[1] if h not in {("Index", "Value")}}
    assert not shared
