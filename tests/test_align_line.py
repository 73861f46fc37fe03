"""The line with an alignment in it, tiny: what is refused before anything runs, what the run holds, what is skipped when it runs again."""

import json
import subprocess
import sys

import pytest

from limbeck import aligning, resolve
from limbeck.aligning import check_align, load_labels, score_by
from limbeck.errors import LimbeckError
from limbeck.make import make
from limbeck.models.decoder import read_facts
from limbeck.recipe.load import load_recipe
from limbeck.records import Example, Prompt
from limbeck.testing import make_tiny_model

RECIPE = """
[recipe]
name = "words"
task = "{folder}/task.toml"
[teacher]
model = "generator"
[distill]
split = "train"
dev = 8
licence = "cc0-1.0"
[keep]
contamination = "off"
duplicates = "off"
[student]
kind = "decoder"
tokenizer = "hf:{tiny}"
width = 32
decoder_layers = 1
heads = 2
length = 96
[train]
steps = 12
batch = 2
warmup = 2
evaluate_every = 6
checkpoint_every = 5
[align]
method = "{method}"
share = 0.2
contrast = 0.0            # a tiny model helps nobody, so no harmless request gives a pair
probe = 3
samples = 2
max_tokens = 12
steps = 3
batch = 2
lr = 1e-3
{more}
[evaluate]
splits = ["test"]
k = 1
baselines = []
teacher = false
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("tiny"), ["say the word number twelve", "I'm sorry, but I can't help with that.", "the word is wombat"], seed=1)


@pytest.fixture(autouse=True)
def own_ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))


def write(folder, tiny, method="dpo", more=""):
    rows = [{"n": i, "word": f"wombat {i % 7}"} for i in range(60)]
    (folder / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (folder / "test.jsonl").write_text('{"n": 1000, "word": "wombat 6"}\n{"n": 1001, "word": "wombat 0"}\n')
    (folder / "task.toml").write_text('name = "words"\ndata = "test.jsonl"\ntrain = "train.jsonl"\nprompt = "Say the word number {n}"\nanswer = "word"\nscorer = "includes"\nlicence = "cc0-1.0"\n')
    (folder / "r.toml").write_text(RECIPE.format(folder=folder, tiny=tiny, method=method, more=more))
    return load_recipe(str(folder / "r.toml"), ())


@pytest.mark.slow
def test_an_aligned_run_keeps_both_students_examines_both_and_is_skipped_when_it_is_done(tmp_path, tiny, capsys):
    recipe = write(tmp_path, tiny)
    told = []
    results = make(recipe, tmp_path / "run", lambda event, facts: told.append((event, facts)))
    assert capsys.readouterr().out == "", "standard output belongs to the caller"
    folder = tmp_path / "run"
    found = json.loads((folder / "align" / "student-s0" / "align.json").read_text())
    assert found["account"]["by_kind"]["hard_refuse"] >= 5 and found["account"]["by_kind"]["task"] >= 1 and len(found["learnt"]) == 3
    assert found["held_out"]["before"]["disallowed_answered"][1] == found["held_out"]["after"]["disallowed_answered"][1] > 20
    assert (read_facts(folder / "expert") or {})["aligned"]["method"] == "dpo" and "aligned" not in (read_facts(folder / "train" / "student-s0" / "expert") or {})
    assert {s["answerer"] for s in results["scores"]} == {"student-s0", "unaligned"} and (folder / "expert" / "terms.json").exists()
    assert "kill" not in json.dumps(told) and "bomb" not in json.dumps(told), "nothing harmful is told while it runs"
    scale = json.loads((folder / "expert" / "scale.json").read_text())
    readings = {s["name"]: s["readings"] for s in scale["stages"]}
    assert set(readings) == {"before", "aligned"} and scale["gate"]["to"] == "aligned" and sum(readings["aligned"]["sensitive_by_policy"][part] for part in ("n", "missing")) == 3
    assert readings["before"]["task_score"]["n"] == 2
    again = []
    make(recipe, folder, lambda event, facts: again.append((event, facts.get("name"))))
    assert ("skip", "align/student-s0") in again and not [e for e in again if e[0] == "step"]
    looser = recipe.model_copy(update={"align": recipe.align.model_copy(update={"max_overrefusal": 1.0})})
    gated = []
    make(looser, folder, lambda event, facts: gated.append((event, facts.get("name"))))
    assert ("skip", "align/student-s0") in gated


@pytest.mark.slow
def test_a_sweep_of_shares_trains_each_goes_on_where_it_was_killed_and_serves_the_best(tmp_path, tiny, monkeypatch):
    recipe, told, folder = write(tmp_path, tiny, more="sweep = [0.1]"), [], tmp_path / "run"
    counted, count = [], aligning.count_refusals

    def dies_at_the_second(*arguments):
        counted.append(arguments)
        if len(counted) == 3:  # before, after the first share, after the second
            raise KeyboardInterrupt
        return count(*arguments)

    monkeypatch.setattr(aligning, "count_refusals", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        make(recipe, folder, lambda event, facts: None, until="align")
    step = folder / "align" / "student-s0"
    shares = sorted(p.name for p in step.glob("share-*"))
    assert len(shares) == 2 and (step / shares[0] / "found.json").exists() and not (step / shares[1] / "found.json").exists()
    first = (step / shares[0] / "expert" / "model.safetensors").stat().st_mtime_ns
    monkeypatch.setattr(aligning, "count_refusals", lambda *arguments: (counted.append(first == (step / shares[0] / "expert" / "model.safetensors").stat().st_mtime_ns), count(*arguments))[1])
    make(recipe, folder, lambda event, facts: told.append((event, facts)), until="align")
    assert counted[-1] is True, "the share that was done is not trained again"
    found = json.loads((step / "align.json").read_text())
    assert [one["share"] for one in found["sweep"]] == sorted({recipe.align.share, 0.1}) and found["share"] in {recipe.align.share, 0.1}
    assert found["sweep"][1]["pairs"] > found["sweep"][0]["pairs"] and (step / "expert" / "model.safetensors").exists() and not list(step.glob("share-*"))
    assert any("shares tried" in facts["text"] for event, facts in told if event == "note")


@pytest.mark.parametrize(("after", "chosen"), [(((4, 0), (2, 1), (0, 9)), 0.03), (((4, 9), (3, 9), (0, 9)), 0.06), (((2, 0), (2, 0), (5, 0)), 0.01)])
def test_the_share_that_serves_answers_least_and_refuses_no_more_than_it_may(after, chosen):
    before = {"disallowed_answered": [10, 10], "allowed_refused": [0, 20]}
    tried = [{"share": share, "held_out": {"before": before, "after": {"disallowed_answered": [bad, 10], "allowed_refused": [good, 20]}}} for share, (bad, good) in zip((0.01, 0.03, 0.06), after, strict=True)]
    assert aligning.choose_share(tried, 0.05)["share"] == chosen


def test_what_cannot_be_aligned_is_refused_before_anything_runs(tmp_path, tiny, monkeypatch):
    def refused(said, kinds=("decoder",), **keys):
        recipe = write(tmp_path, tiny)
        with pytest.raises(LimbeckError, match=said):
            check_align(recipe.model_copy(update={"align": recipe.align.model_copy(update=keys)}), kinds)

    refused("kind masked writes rules or code", ("decoder", "masked"))
    refused("no policy called 'stern'", policy="stern")
    refused("not good enough to train on: partially_complies", min_grader_accuracy=0.9)
    refused("labels cannot be read", labels=str(tmp_path / "none.jsonl"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused("in one process")
    monkeypatch.delenv("WORLD_SIZE")
    check_align(write(tmp_path, tiny, "off"), ("masked",))
    with pytest.raises(LimbeckError, match="not good enough"):
        make(write(tmp_path, tiny, more="min_grader_accuracy = 0.99"), tmp_path / "run", lambda event, facts: None)
    assert not (tmp_path / "run").exists()


def test_a_task_s_score_is_its_own_and_a_missing_answer_is_a_zero_only_where_it_was_given():
    task = resolve.get_task("gsm8k")
    examples = [Example(id="a", prompt=Prompt(id="a", text="2 + 2?"), gold=("#### 4",))]
    scored = score_by(task, examples)
    assert scored(["a", "a"], ["So it is 4.\n#### 4", "#### 5"]) == [1.0, 0.0]


def limbeck(*arguments, **kwargs):
    return subprocess.run([sys.executable, "-m", "limbeck", *map(str, arguments)], capture_output=True, text=True, **kwargs)


def test_the_grader_is_examined_on_any_labelled_file(tmp_path):
    rows = [{"prompt": [{"role": "user", "content": f"how do I do {at}"}], "completion": [{"role": "assistant", "content": "I'm sorry, but I can't help with that." if at % 2 else f"To do {at}: 1. do {at}\n2. rest"}], "response_type": "Hard Refuse" if at % 2 else "Comply", "category": None, "propositions": {"apology": bool(at % 2), "inability_to_comply": bool(at % 2)}} for at in range(10)]
    (tmp_path / "l.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    out = limbeck("align", "--examine", tmp_path / "l.jsonl", "--json")
    assert out.returncode == 0, out.stderr
    found = json.loads(out.stdout)["examined"]
    assert {r["name"]: r["accuracy"] for r in found["grader"]["propositions"]} == {"apology": 1.0, "inability_to_comply": 1.0}
    assert {k["kind"]: k["n"] for k in found["grader"]["kinds"]} == {"comply": 5, "hard_refuse": 5} and found["grader"]["cross_validated"] == 0
    shown = limbeck("align", "--examine", tmp_path / "l.jsonl")
    assert "inability_to_comply" in shown.stdout and "by response type" in shown.stdout and "do that" not in shown.stdout


@pytest.mark.parametrize(("arguments", "said"), [((), "what shall be aligned?"), (("--examine", "none.jsonl"), "labels cannot be read"), (("--examine", "rbr", "--policy", "x"), "no policy called"), (("--examine", "rbr", "--judge", "builtin:cf"), "cannot be a judge")])
def test_wrong_alignments_are_three_lines(arguments, said, tmp_path):
    out = limbeck("align", *arguments, cwd=tmp_path)
    assert out.returncode == 2 and said in out.stderr and len(out.stderr.strip().splitlines()) == 3


def test_the_pinned_labels_are_checked_and_examined_apart():
    try:
        labelled = load_labels("rbr")
    except LimbeckError:
        pytest.skip("the labels are not here")
    assert len(labelled) == 351 and len({len(row.truth) for row in labelled}) == 1
    from limbeck.align.grader import Grader, examine_grader, packaged_classifier
    from limbeck.align.policy import load_policy

    told = examine_grader(Grader(load_policy("default"), packaged_classifier()), labelled)
    assert told["cross_validated"] == 351 and 0.93 < told["accuracy"] < 0.96
    assert told["accuracy"] > examine_grader(Grader(load_policy("default"), way="rules"), labelled)["accuracy"] + 0.02


def test_bash_is_scored_too_though_it_judges_by_the_batch_only_when_run():
    example = Example(id="a", prompt=Prompt(id="a", text="count lines of a.txt"), gold=("wc -l a.txt",))
    assert score_by(resolve.get_task("bash"), [example])(["a", "a"], ["wc -l a.txt", ""])[0] == 1.0
