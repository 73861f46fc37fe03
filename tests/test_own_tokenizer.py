"""`student.tokenizer = "own"`: learnt from the run's records, once, and part of what makes a student."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

pytest.importorskip("reasoning_gym")

RECIPE = """
[recipe]
name = "tiny"
task = "gsm"
[teacher]
model = "generator"
[distill]
prompts = 30
dev = 4
held_out = 1
[keep]
gold = true
contamination = "off"
[student]
kind = "decoder"
tokenizer = "own"
vocabulary = 400
width = 16
decoder_layers = 1
heads = 2
length = 512
[train]
steps = 3
batch = 2
warmup = 2
evaluate_every = 3
[evaluate]
splits = ["test"]
limit = 2
k = 1
baselines = []
[[arm]]
name = "wide"
set = { "student.width" = 32 }
"""


def limbeck(*words: str, cwd, ok: int = 0) -> str:
    done = subprocess.run([sys.executable, "-m", "limbeck", *words], capture_output=True, text=True, cwd=cwd, timeout=240)
    assert done.returncode == ok, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("own")
    (place / "r.toml").write_text(RECIPE)
    limbeck("make", "r.toml", "--out", "run", cwd=place)
    return place


def test_every_arm_learns_with_the_tokenizer_of_the_runs_records(folder):
    learnt = json.loads((folder / "run" / "tokenizer" / "tokenizer.json").read_text())
    assert 256 < len(learnt["model"]["vocab"]) + 2 <= 402
    for arm in ("student-s0", "wide-s0"):
        assert json.loads((folder / "run" / "train" / arm / "expert" / "config.json").read_text())["vocab_size"] <= 402
        assert json.loads((folder / "run" / "train" / arm / "expert" / "tokenizer.json").read_text())["model"]["vocab"] == learnt["model"]["vocab"]


def test_a_run_that_was_moved_trains_nobody_again(folder):
    (folder / "run").rename(folder / "moved")
    try:
        said = limbeck("make", "r.toml", "--out", "moved", cwd=folder)
        assert said.count("up to date") >= 3 and "tokens/s" not in said, said
    finally:
        (folder / "moved").rename(folder / "run")


def test_another_vocabulary_is_another_tokenizer(folder):
    said = limbeck("train", "r.toml", "--out", "run2", "--set", "student.vocabulary=350", cwd=folder)
    assert len(json.loads((folder / "run2" / "tokenizer" / "tokenizer.json").read_text())["model"]["vocab"]) <= 352, said


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        (("student.source=hf:somewhere",), "starts? from random weights"),
        (("student.kind=autoregressive",), "decoders"),
        (("teacher.model=hf:somewhere", "distill.soft=sampled"), "its own tokens"),
        (("teacher.model=hf:somewhere", "train.on_policy_steps=2"), "token by token"),
        (("student.vocabulary=100",), "300"),
    ],
)
def test_what_cannot_have_its_own_tokenizer_is_refused_before_anything_starts(tmp_path, settings, what):
    (tmp_path / "r.toml").write_text(RECIPE)
    said = limbeck("make", "r.toml", "--out", "run", *(w for s in settings for w in ("--set", s)), cwd=tmp_path, ok=2)
    assert re.search(what, said), said
    assert not (tmp_path / "run" / "distill").exists()


def test_a_plan_counts_the_tokens_it_will_have(tmp_path):
    (tmp_path / "r.toml").write_text(RECIPE)
    few, many = (json.loads(limbeck("make", "r.toml", "--plan", "--json", "--set", f"student.vocabulary={n}", cwd=tmp_path)) for n in (400, 40_000))
    assert json.dumps(few) != json.dumps(many)
