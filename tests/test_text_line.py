"""The whole line for teachers that write text: a server that fails on purpose, kills, terms, soft targets, several processes."""

import gzip
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from limbeck.errors import LimbeckError
from limbeck.make import make
from limbeck.models.decoder import read_facts
from limbeck.recipe.load import load_recipe
from limbeck.testing import make_tiny_model

HERE = Path(__file__).resolve().parent
RECIPE = """
[recipe]
name = "words"
task = "{folder}/task.toml"
[teacher]
model = "{model}"
base_url = "{url}"
temperature = 1.0
samples = {samples}
max_tokens = 16
timeout_s = 2.0
seed = 5
self_test = false
terms = "mit"
[distill]
split = "train"
dev = 8
licence = "cc0-1.0"
soft = "{soft}"
soft_top = 6
soft_draws = 12
[keep]
contamination = "off"
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
[evaluate]
splits = ["test"]
k = 1
baselines = []
teacher = false
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("tiny"), ["say the word number twelve", "the word is wombat"], seed=1)


@pytest.fixture(autouse=True)
def own_ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))


def write(folder, tiny, *, model="generator", url="", soft="off", samples=1, answers=True, count=40):
    rows = [{"n": i, "word": f"wombat {i % 7}"} if answers else {"n": i} for i in range(count)]
    (folder / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (folder / "test.jsonl").write_text('{"n": 1000, "word": "wombat 6"}\n{"n": 1001, "word": "wombat 0"}\n')
    (folder / "task.toml").write_text('name = "words"\ndata = "test.jsonl"\ntrain = "train.jsonl"\nprompt = "Say the word number {n}"\nanswer = "word"\nscorer = "includes"\nlicence = "cc0-1.0"\n')
    path = folder / "words.toml"
    path.write_text(RECIPE.format(folder=folder, model=model, url=url, tiny=tiny, soft=soft, samples=samples))
    return path


def run(path, out, *settings, until="report"):
    told = []
    make(load_recipe(str(path), settings), out, lambda event, facts: told.append((event, facts.get("name"), facts.get("why"))), until)
    return told


def data_of(out):
    return gzip.decompress((out / "distill" / "data.jsonl.gz").read_bytes()).decode()


class Server:
    """The faulty server in a process of its own."""

    def __init__(self, *options):
        self.process = subprocess.Popen([sys.executable, str(HERE / "faulty_server.py"), "--stall", "4", *options], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.url = f"http://127.0.0.1:{self.process.stdout.readline().split()[-1]}/v1"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def test_gold_answers_make_an_expert_that_is_asked_and_a_second_run_does_nothing(tmp_path, tiny):
    path, out = write(tmp_path, tiny), tmp_path / "run"
    run(path, out)
    facts = read_facts(out / "expert")
    assert facts and facts["task"] == "words" and facts["packing"]["too_long"] == 0
    assert json.loads((out / "expert" / "terms.json").read_text())["terms"]["cc0-1.0"]["records"] > 0
    assert (out / "report" / "index.html").exists() and "words" in (out / "distill" / "README.md").read_text()
    assert {event for event, _, _ in run(path, out)} <= {"skip", "report"}


def test_a_teachers_distributions_are_captured_and_learnt_from(tmp_path, tiny):
    path = write(tmp_path, tiny, model=f"hf:{tiny}", soft="sampled")
    out = tmp_path / "run"
    run(path, out, "distill.answers=gold")
    store = next((out / "targets").iterdir())
    assert json.loads((store / "done.json").read_text())["positions"] > 100
    origins = json.loads((out / "distill" / "origins.json").read_text())
    assert [o["role"] for o in origins] == ["generator", "logits"] and origins[1]["terms"] == "mit"
    again = run(path, out, "distill.answers=gold", "distill.soft_draws=13")
    assert ("step", f"targets/{store.name}", "section changed") in again and ("skip", "distill", "up to date") not in again


@pytest.mark.slow
def test_a_student_ends_on_its_own_answers_judged_by_its_teacher(tmp_path, tiny):
    pytest.importorskip("trl", reason="trl is an extra")
    path, out = write(tmp_path, tiny, model=f"hf:{tiny}", count=12), tmp_path / "run"
    run(path, out, "distill.answers=gold", "train.on_policy_steps=3", "train.steps=4", until="train")
    logged = [json.loads(line) for line in next((out / "train").glob("*/metrics.jsonl")).read_text().splitlines()]
    assert [m["step"] for m in logged if "on_policy_loss" in m] == [1, 2, 3]
    facts = read_facts(out / "expert")
    assert facts and facts["on_policy_steps"] == 3 and not list((out / "train").glob("*/on-policy"))
    with pytest.raises(LimbeckError, match="weights are here"):
        run(write(tmp_path, tiny), tmp_path / "other", "train.on_policy_steps=3")


@pytest.mark.slow
def test_a_killed_run_against_a_failing_server_ends_as_one_without_faults(tmp_path, tiny):
    with Server("--share", "0") as server:
        run(write(tmp_path, tiny, model="openai:m", url=server.url, samples=3, answers=False, count=150), tmp_path / "calm", "keep.per_request=3", until="distill")
    with Server("--share", "0.25", "--seed", "3", "--wait", "0.05") as server:
        path = write(tmp_path, tiny, model="openai:m", url=server.url, samples=3, answers=False, count=150)
        command = [sys.executable, "-m", "limbeck", "distill", str(path), "--out", str(tmp_path / "run"), "--set", "keep.per_request=3", "--quiet"]
        for patience in (2.2, 3.0):
            process = subprocess.Popen(command, env=os.environ, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            time.sleep(patience)
            process.kill()
            process.wait()
        subprocess.run(command, check=True, env=os.environ, capture_output=True, timeout=120)
    assert hashlib.sha256(data_of(tmp_path / "run").encode()).hexdigest() == hashlib.sha256(data_of(tmp_path / "calm").encode()).hexdigest()
    keep = json.loads((tmp_path / "run" / "distill" / "keep.json").read_text())
    assert keep["asked"] == 150 == keep["kept"] + sum(keep["refused"].values()) + sum(keep["failed"].values()) and keep["draws"]["drawn"] == 450
    assert keep["spend"]["paid"]["draws"] + keep["spend"]["replayed"]["draws"] >= 450  # a server may give more than was asked for


def test_a_run_is_made_again_without_its_teacher(tmp_path, tiny, monkeypatch):
    with Server("--share", "0") as server:
        path = write(tmp_path, tiny, model="openai:m", url=server.url, samples=2, answers=False)
        run(path, tmp_path / "first", until="distill")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)  # the server is gone, and nothing is tried
    run(path, tmp_path / "again", "teacher.offline=true", "teacher.self_test=true", until="distill")
    assert data_of(tmp_path / "again") == data_of(tmp_path / "first")
    spend = json.loads((tmp_path / "again" / "distill" / "keep.json").read_text())["spend"]
    assert spend["paid"]["requests"] == 0 and spend["replayed"]["draws"] == 80
    with pytest.raises(LimbeckError, match=r"40 of 40 requests are not in the ledger.*the first is 'train-") as caught:
        run(path, tmp_path / "more", "teacher.offline=true", "teacher.samples=3", until="distill")
    assert "teacher.offline" in caught.value.fix
    (tmp_path / "train.jsonl").write_text((tmp_path / "train.jsonl").read_text() + '{"n": 77}\n')
    with pytest.raises(LimbeckError, match=r"1 of 41 requests are not in the ledger.*the first is 'train-41'"):
        run(path, tmp_path / "new", "teacher.offline=true", until="distill")


def test_weights_here_are_not_asked_again_offline(tmp_path, tiny):
    path = write(tmp_path, tiny, model=f"hf:{tiny}", answers=False, count=12)
    with pytest.raises(LimbeckError, match="12 of 12 requests are not in the ledger"):
        run(path, tmp_path / "first", "teacher.offline=true", until="distill")
    run(path, tmp_path / "first", until="distill")
    run(path, tmp_path / "again", "teacher.offline=true", until="distill")
    assert data_of(tmp_path / "again") == data_of(tmp_path / "first")


def test_one_record_of_a_forbidden_teacher_stops_training_and_is_named(tmp_path, tiny):
    path, out = write(tmp_path, tiny), tmp_path / "run"
    (tmp_path / "other.jsonl").write_text('{"id": "foreign-7", "text": "Say it", "answer": "wombat"}\n')
    path.write_text(path.read_text() + '\n[[mix]]\nsource = "' + str(tmp_path / "other.jsonl") + '"\nterms = "llama-3"\n')
    with pytest.raises(LimbeckError, match="llama-3") as caught:
        run(path, out)
    assert "foreign-7" in caught.value.where and not (out / "train").exists()
    run(path, out, 'terms.accept=["llama-3"]', until="train")
    assert json.loads((out / "expert" / "terms.json").read_text())["accepted"][0]["id"] == "llama-3"


def test_what_people_object_to_is_neither_asked_nor_learnt(tmp_path, tiny):
    path, out = write(tmp_path, tiny), tmp_path / "run"
    (tmp_path / "out.txt").write_text("id:train-5\n")
    run(path, out, f'keep.opt_out=["{tmp_path / "out.txt"}"]', until="distill")
    keep = json.loads((out / "distill" / "keep.json").read_text())
    assert sum(keep["refused"].values()) == 1 and keep["objections"] == {"id": 1} and '"train-5"' not in data_of(out)


@pytest.mark.parametrize(("settings", "said"), [
    (["teacher.model=openai:m", "teacher.base_url="], "no server is named"),
    (["teacher.model=openai:m", "teacher.base_url=http://127.0.0.1:9/v1", "teacher.budget_usd=0.0"], "buys nothing"),
    (["teacher.model=openai:m", "teacher.base_url=http://127.0.0.1:9/v1", "teacher.budget_usd=1.0"], "nobody knows the price"),
    (["teacher.model=openai:m", "teacher.base_url=http://example.org/v1"], "not catalogued"),
    (["teacher.model=openai:m", "teacher.base_url=http://example.org/v1", 'terms.accept=["hosted"]'], "no key"),
    (["distill.soft=top"], "weights are here"),
    (["distill.licence=", 'recipe.task="text:docstrings"', "distill.licence=nonsense-9"], "nonsense-9"),
    (["student.tokenizer="], "needs a tokenizer"),
    (["student.length=16"], "no record fits"),
])  # fmt: skip
def test_what_cannot_work_is_said_before_anything_is_asked(tmp_path, tiny, monkeypatch, settings, said):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(LimbeckError, match=said):
        run(write(tmp_path, tiny), tmp_path / "run", *settings)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_twice_the_batches(tmp_path, tiny):
    from safetensors.torch import load_file

    path = write(tmp_path, tiny)
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "limbeck", "train", str(path), "--out", str(tmp_path / "two"), "--quiet"], check=True, env=environment, capture_output=True, timeout=240)
    run(path, tmp_path / "one", "train.accumulate=2", until="train")
    two, one = (load_file(tmp_path / name / "expert" / "model.safetensors") for name in ("two", "one"))
    assert all((two[name] - one[name]).abs().max() < 1e-5 for name in one)
