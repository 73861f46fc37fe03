"""Other houses' formats: the shape they read, held without them; and our own schema."""

import json
import math
import re
from pathlib import Path

import jsonschema
import pytest

from limbeck.cli import main
from limbeck.evaluate.inspect_log import inspect_log

SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "result.schema.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A real examination with a missing answer in it: `majority` has none where no template fits."""
    out = tmp_path_factory.mktemp("examined")
    with pytest.raises(SystemExit) as left:
        main(["evaluate", "--task", "cf", "--model", "baseline:majority", "--split", "people-dev", "--limit", "30", "--out", str(out), "--log-format", "inspect", "--quiet"])
    assert left.value.code == 0
    return out


def test_a_result_keeps_its_schema(folder):
    result = json.loads((folder / "people-dev.json").read_text())
    jsonschema.validate(result, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**result, "statuses": {"wrong": 1}}, SCHEMA)


def test_an_inspect_log_holds_every_sample_and_leaves_missing_ones_unscored(folder):
    [written] = (folder / "inspect").iterdir()
    result, log = json.loads((folder / "people-dev.json").read_text()), json.loads(written.read_text())
    assert re.match(r"^\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}-\d{2}-\d{2}_cf_[0-9a-f]{22}\.json$", written.name)  # else `inspect view` does not list it
    assert (log["version"], log["status"], log["eval"]["dataset"]["samples"]) == (2, "success", 30)
    missing = [t["id"] for t in result["trials"] if t["status"] != "scored"]
    assert missing, "the example needs one"
    for sample in log["samples"]:
        score = sample["scores"]["execution"]
        assert math.isnan(score["value"]) == (sample["id"] in missing) and ("reason" in score) == (sample["id"] in missing)
        assert sample["messages"][0]["role"] == "user" and isinstance(sample["target"], list)
    judged = [t["execution"][0] for t in result["trials"] if t["status"] == "scored"]
    rates = {s["name"]: s for s in log["results"]["scores"]}
    assert rates["execution"]["metrics"]["mean"]["value"] == pytest.approx(sum(judged) / len(judged))
    assert rates["execution"]["unscored_samples"] == len(missing)


def test_inspect_itself_reads_it(folder):
    reader = pytest.importorskip("inspect_ai.log")
    [listed] = reader.list_eval_logs(str(folder / "inspect"))
    log = reader.read_eval_log(listed)
    assert log.status == "success" and len(log.samples) == 30


def test_tokens_become_usage():
    trial = {"id": "1", "utterance": "q", "gold": ["a"], "status": "scored", "reason": "", "candidates": ["a"], "scores": [0.0], "correct": [1.0], "answer_meta": {"tokens": {"prompt": 3, "completion": 2}}}
    result = {"answerer": "openai:x", "task": "t", "version": "1", "split": "test", "main": "correct", "statuses": {"scored": 1}, "scores": [], "trials": [trial]}
    log = inspect_log(result)
    assert log["stats"]["model_usage"] == {"limbeck/openai:x": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}}


def test_a_log_format_without_a_folder_or_of_no_name_is_told(capsys):
    for more in (["--log-format", "inspect"], ["--log-format", "csv", "--out", "x"]):
        with pytest.raises(SystemExit) as left:
            main(["evaluate", "--task", "cf", "--model", "baseline:majority", *more])
        assert left.value.code == 2 and "--log-format" in capsys.readouterr().err
