"""Folders that are moved, renamed or spelt in another way are the same; what changed in its place is another: models, runs, staircases, answers kept."""

import gzip
import json
import os
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from test_staircase import RECIPE as STAIR
from test_text_line import run, write

from limbeck import climbing
from limbeck.errors import LimbeckError
from limbeck.identifying import identify_model, identify_tokenizer
from limbeck.recipe.load import load_recipe
from limbeck.tasks.reasoning import GeneratedTask
from limbeck.terming import read_target
from limbeck.testing import make_tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("tiny"), ["say the word number twelve", "the word is wombat"], seed=1)


@pytest.fixture(autouse=True)
def own_ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))


def retrain(expert):
    """Other weights in the same place."""
    path = next(Path(expert).glob("*.safetensors"))
    save_file({name: tensor + 0.01 for name, tensor in load_file(path).items()}, path, metadata={"format": "pt"})


def steps(told):
    """What is done anew, by name."""
    return {fact[1] for fact in told if fact[0] == "step"}


def test_a_model_is_its_weights_and_tokenizer_wherever_they_lie(tmp_path, tiny, monkeypatch):
    first, other = tmp_path / "first", tmp_path / "deep" / "other"
    shutil.copytree(tiny, first)
    shutil.copytree(tiny, other)
    monkeypatch.chdir(tmp_path)
    named = {identify_model(m) for m in (f"hf:{first}", str(first), "hf:first", "hf:deep/../first", "first/", f"hf:{other}")}
    assert len(named) == 1 and str(tmp_path) not in "".join(named)
    tokenizer = identify_tokenizer(f"hf:{first}")
    retrain(first)
    assert identify_model("hf:first") not in named and identify_model(f"hf:{other}") in named and identify_tokenizer("hf:first") == tokenizer
    (other / "tokenizer_config.json").write_text((other / "tokenizer_config.json").read_text().replace("{", '{"x": 1,', 1))
    assert identify_tokenizer("hf:deep/other") != tokenizer and identify_model(f"hf:{other}") not in named


def test_what_lies_in_no_folder_of_the_users_keeps_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("own", "generator"):
        (tmp_path / name).mkdir()
    for name in ("", "own", "generator", "hf:who/what", "who/what", "builtin:cf", "builtin:smollm2-135m", "openai:gpt-4o", "panel:three.toml", "baseline:nearest"):
        assert identify_model(name) == identify_tokenizer(name) == name


def test_a_moved_run_of_moved_models_and_sets_does_nothing_anew_and_a_retrained_teacher_makes_it_stale(tmp_path, tiny, monkeypatch):
    place, moved = tmp_path / "place", tmp_path / "elsewhere"
    place.mkdir()
    shutil.copytree(tiny, place / "teacher")
    path = write(tmp_path, place / "teacher", model=f"hf:{place / 'teacher'}", soft="top", count=12)
    text = path.read_text()

    def settle(folder):
        path.write_text(text.replace(str(place), str(folder)).replace("teacher = false", "teacher = true") + f'\n[[mix]]\nsource = "{folder / "set"}"\n')

    settle(place)
    mixed = tmp_path / "mixed.toml"
    mixed.write_text(text.replace(f"hf:{place / 'teacher'}", "generator", 1).replace('soft = "top"', 'soft = "off"'))
    run(mixed, place / "set", until="distill")
    settings = ("distill.answers=gold", "train.steps=2", "train.evaluate_every=2")
    assert {"distill", "train/student-s0", "evaluate/teacher"} < steps(run(path, place / "run", *settings))
    place.rename(moved)
    monkeypatch.chdir(moved)
    for folder in (moved, Path(".")):
        settle(folder)
        assert steps(run(path, folder / "run", *settings)) == set()
    binding = read_target("run")
    assert {o.model for o in binding["data"].seen} >= {f"hf:{place / 'teacher'}"} and any(o.revision.startswith("weights:") for o in binding["expert"].seen)
    retrain(moved / "teacher")
    anew = steps(run(path, moved / "run", *settings))
    assert {"distill", "train/student-s0", "evaluate/teacher"} <= anew and any(name.startswith("targets/") for name in anew)
    made = json.loads((moved / "set" / "distill" / "origins.json").read_text())
    (moved / "set" / "distill" / "origins.json").write_text(json.dumps([made[0] | {"terms": "cc0-1.0+mit"}]))
    assert "distill" in steps(run(path, moved / "run", *settings))  # the same records, under other terms


def test_weights_that_a_student_starts_from_are_not_taken_for_others_in_their_place(tmp_path, tiny):
    shutil.copytree(tiny, tmp_path / "start")
    path = write(tmp_path, tiny, count=12)
    settings = (f'student.source="hf:{tmp_path / "start"}"', 'recipe.name="from-start"', "train.steps=2", "train.evaluate_every=2", 'distill.licence="cc0-1.0"', 'terms.accept=["unknown"]')
    run(path, tmp_path / "run", *settings)
    assert steps(run(path, tmp_path / "run", *settings)) == set()
    retrain(tmp_path / "start")
    assert steps(run(path, tmp_path / "run", *settings)) == {"train/student-s0", "evaluate/before", "evaluate/student-s0"}


def test_answers_kept_are_those_of_the_weights_and_go_where_they_go(tmp_path, tiny):
    """An expert that moved is not asked again; another in its old place is."""
    shutil.copytree(tiny, tmp_path / "one")
    path = write(tmp_path, tiny, model=f"hf:{tmp_path / 'one'}", answers=False, count=12)
    run(path, tmp_path / "first", until="distill")
    shutil.move(tmp_path / "one", tmp_path / "two")
    moved = f'teacher.model="hf:{os.path.relpath(tmp_path / "two")}"'
    run(path, tmp_path / "second", moved, "teacher.offline=true", until="distill")
    assert gzip.decompress((tmp_path / "second/distill/data.jsonl.gz").read_bytes()) == gzip.decompress((tmp_path / "first/distill/data.jsonl.gz").read_bytes())
    shutil.copytree(tmp_path / "two", tmp_path / "one")
    retrain(tmp_path / "one")
    with pytest.raises(LimbeckError, match="12 of 12 requests are not in the ledger"):
        run(path, tmp_path / "third", "teacher.offline=true", until="distill")


@pytest.fixture(scope="module")
def staircase(tmp_path_factory):
    """A recipe and its staircase of two generations, in a folder of its own."""
    place = tmp_path_factory.mktemp("stairs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        patch.setattr(climbing, "SPELT_FROM", 50)
        patch.setattr(climbing, "GATED_ON", 4)
        patch.setattr(climbing, "_try_verifier", lambda *_: None)  # what takes long and has tests of its own
        patch.setattr(GeneratedTask, "size", 20)
        patch.chdir(place)
        (place / "r.toml").write_text(STAIR.replace('"puzzle24"', '"countdown:numbers=3,largest=20,targets=1-99"').replace("generations = 1", "generations = 2"))
        loaded = load_recipe("r.toml")
        yield loaded, place, climbing.climb(loaded, Path("out"), lambda *_: None)


def climb_again(recipe, folder):
    """The results, what is done anew, and whether anybody is examined anew."""
    told = []
    results = climbing.climb(recipe, folder, lambda event, facts: told.append((event, facts.get("name"))))
    return results, steps(told), any(event == "evaluate" for event, _ in told)


def test_a_staircase_that_was_moved_does_nothing_anew(staircase):
    recipe, place, results = staircase
    (place / "out").rename(place / "moved")
    try:
        for folder in (Path("moved"), place / "moved", place / "cache" / ".." / "moved"):
            assert climb_again(recipe, folder) == (results, set(), False)
        assert {part: b.seen[0].model for part, b in read_target("moved/unverified-s0/g2").items()} == {"data": "generator", "expert": "generator"}
        asked = [o for o in json.loads(Path("moved/unverified-s0/g2/distill/origins.json").read_text()) if o["model"].startswith("hf:")]
        assert len(asked) == 2 and all(o["revision"].startswith("weights:") for o in asked)  # which expert it was, wherever it is now
        assert "moved" in Path("moved/unverified-s0/g2/recipe.toml").read_text()  # the run's own recipe names the place of today
    finally:
        (place / "moved").rename(place / "out")


def test_a_retrained_expert_makes_what_came_of_it_stale_and_nothing_else(staircase):
    recipe, place, _ = staircase
    shutil.copytree(place / "out", place / "copy")
    retrain("copy/unverified-s0/g1/train/larger-s0/expert")
    _, anew, _ = climb_again(recipe, Path("copy"))
    assert anew == {"unverified-s0/g2/distill", "unverified-s0/g2/train/student-s0"}


def test_a_staircase_of_another_vocabulary_learns_another_tokenizer(staircase):
    recipe, place, _ = staircase
    shutil.copytree(place / "out", place / "wider")
    wider = recipe.model_copy(update={"staircase": recipe.staircase.model_copy(update={"vocabulary": 320, "arms": ("seed",)})})
    before = identify_tokenizer("hf:out/tokenizer")
    _, anew, _ = climb_again(wider, Path("wider"))
    assert identify_tokenizer("hf:wider/tokenizer") != before and anew >= {"g0-s0/train/student-s0"} and "g0-s0/distill" not in anew


def test_a_staircase_made_elsewhere_has_the_same_steps_and_results(staircase):
    recipe, place, results = staircase
    made, _, _ = climb_again(recipe, place / "deep" / "down")
    assert [{**row, "spend": {}} for row in made["rows"]] == [{**row, "spend": {}} for row in results["rows"]]  # seconds differ
    manifests = [path.relative_to("out") for path in sorted(Path("out").glob("**/manifest.json"))]
    assert len(manifests) == 13
    for path in manifests:
        here, there = (json.loads((folder / path).read_text()) for folder in (Path("out"), place / "deep" / "down"))
        assert here["fingerprint"] == there["fingerprint"] and here["seeds"] == there["seeds"], path
