"""The whole line in miniature: made, skipped, killed, resumed, and refused with three lines."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from limbeck.run import hash_file

TINY = """
[recipe]
name = "tiny"
[distill]
prompts = 160
dev = 16
held_out = 24
candidates = 1
shard = 32
[student]
width = 32
encoder_layers = 1
decoder_layers = 1
buckets = 256
[train]
steps = 30
batch = 16
warmup = 5
evaluate_every = 10
checkpoint_every = 10
[evaluate]
splits = ["people-dev", "generated"]
limit = 8
"""


def limbeck(*arguments, **kwargs):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-m", "limbeck", *map(str, arguments)], capture_output=True, text=True, env=environment, **kwargs)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("line")
    recipe = folder / "tiny.toml"
    recipe.write_text(TINY)
    out = limbeck("make", recipe, "--out", folder / "run", "--json")
    assert out.returncode == 0, out.stderr
    return recipe, folder / "run", json.loads(out.stdout)


def test_the_line_leaves_everything_it_promises(made):
    _, run, document = made
    keep = json.loads((run / "distill" / "keep.json").read_text())
    assert keep["asked"] == 160 == keep["kept"] + sum(keep["refused"].values())
    assert (run / "expert" / "README.md").read_text().startswith("---")
    page = (run / "report" / "index.html").read_text()
    assert "<svg" in page and "http-equiv" in page and "src=\"http" not in page
    names = {r["answerer"] for r in document["results"]["scores"]}
    assert names == {"teacher", "student-s0", "nearest", "majority"}


def test_a_second_make_skips_every_step_and_a_changed_key_redoes_only_what_hangs_on_it(made):
    recipe, run, _ = made
    before = hash_file(run / "expert" / "model.safetensors")
    again = limbeck("make", recipe, "--out", run)
    assert again.returncode == 0 and again.stderr.count("up to date") == 6, again.stderr
    changed = limbeck("make", recipe, "--out", run, "--set", "evaluate.k=3")
    assert "section changed" in changed.stderr and "train/student-s0  up to date" in changed.stderr
    assert hash_file(run / "expert" / "model.safetensors") == before


def test_a_run_killed_twice_ends_like_one_that_was_not(made, tmp_path):
    recipe, run, _ = made
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for wait_s in (4.0, 7.5):
        process = subprocess.Popen([sys.executable, "-m", "limbeck", "make", str(recipe), "--out", str(tmp_path / "run"), "--quiet"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(wait_s)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = limbeck("make", recipe, "--out", tmp_path / "run", "--quiet")
    assert done.returncode == 0, done.stderr
    for name in ("distill/data.jsonl.gz", "expert/model.safetensors"):
        assert hash_file(tmp_path / "run" / name) == hash_file(run / name), name


def test_ask_ranks_distinct_rules_with_their_cells_and_writes_a_workbook(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("Item,Price,Stock\nTea,4,10\nCake,9,0\nJam,6,3\n")
    out = limbeck("ask", "builtin:cf", "--table", table, "price over 5", "-k", 5, "--json", "--write", tmp_path / "o.xlsx")
    answers = json.loads(out.stdout)["answers"]
    assert [a["rank"] for a in answers] == [1, 2, 3, 4, 5] and len({a["text"] for a in answers}) == 5
    assert answers[0]["cells"] == [[1, 1], [2, 1]]
    import openpyxl

    rules = openpyxl.load_workbook(tmp_path / "o.xlsx").active.conditional_formatting
    assert [str(r.sqref) for r in rules] == ["B2:B4"]


BAD = [
    (("make", "cf", "--set", "train.stepz=1"), "did you mean 'steps'"),
    (("make", "cf", "--set", "train.steps=many"), "train.steps"),
    (("make", "cf", "--set", "student.width=4096", "--set", "student.encoder_layers=64"), "GB"),
    (("make", "no-such-recipe"), "there is no recipe"),
    (("ask", "builtin:cf", "--table", "TABLE", ""), "empty"),
    (("ask", "builtin:cf", "--table", "TABLE", "x" * 10_000), "10,000 characters"),
    (("ask", "builtin:cf", "--table", "TABLE", "выдели все ячейки больше пяти"), "English"),
    (("ask", "builtin:cf", "--table", "TABLE", "resalta las celdas con ventas mayor que 500"), "English"),
    (("ask", "builtin:cf", "price over 5"), "--table"),
    (("ask", "builtin:cf", "--table", "nowhere.csv", "price over 5"), "no such file"),
    (("ask", "nowhere", "--table", "TABLE", "price over 5"), "there is no model"),
    (("evaluate", "--task", "cg", "--model", "builtin:cf"), "did you mean 'cf'"),
]


@pytest.mark.parametrize(("arguments", "says"), BAD, ids=[b[1] for b in BAD])
def test_bad_input_gets_three_lines_and_exit_code_2(arguments, says, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("Item,Price\nTea,4\n")
    out = limbeck(*(str(table) if a == "TABLE" else a for a in arguments), cwd=tmp_path)
    assert out.returncode == 2 and says in out.stderr and "Traceback" not in out.stderr
    assert len(out.stderr.strip().splitlines()) == 3 and out.stdout == ""


TABLES = [("", "empty"), ("1,2\n3,4\n", "not headers"), ("A,\n1,2\n", "no header"), ("A,B\n1,2,3\n", "row 2"), ("A,B\n", "no rows"), ("A\n" + "1\n" * 200_000, "100,000 rows")]


@pytest.mark.parametrize(("text", "says"), TABLES, ids=[t[1] for t in TABLES])
def test_a_bad_table_is_refused(text, says, tmp_path):
    from limbeck.errors import LimbeckError
    from limbeck.tasks.cf.workbook import read_table

    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(LimbeckError, match=says):
        read_table(path)


def test_run_folders_in_use_of_another_version_or_half_written(made, tmp_path):
    import shutil

    recipe, run, _ = made
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "run.json").write_text('{"format": 99}')
    assert "another version" in limbeck("make", recipe, "--out", copy).stderr
    (copy / "run.json").write_text('{"format": 1}')
    import fcntl

    with (copy / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another process" in limbeck("make", recipe, "--out", copy).stderr
    (copy / "distill" / "manifest.json").unlink()
    (copy / "distill" / "asked" / "00001.jsonl.gz").unlink()
    assert limbeck("make", recipe, "--out", copy, "--quiet").returncode == 0
    assert hash_file(copy / "distill" / "data.jsonl.gz") == hash_file(run / "distill" / "data.jsonl.gz")


def test_corrupt_and_pickled_experts_are_refused(made, tmp_path):
    import shutil

    _, run, _ = made
    table = tmp_path / "t.csv"
    table.write_text("Item,Price\nTea,4\n")
    for name, spoil, says in [("a", lambda f: (f / "model.safetensors").write_bytes(b"junk"), "cannot be loaded"), ("b", lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "pickle")]:
        folder = tmp_path / name
        shutil.copytree(run / "expert", folder)
        spoil(folder)
        out = limbeck("ask", folder, "--table", table, "price over 5")
        assert out.returncode == 2 and says in out.stderr and "Traceback" not in out.stderr


def test_a_full_disk_is_told_and_loses_nothing(made):
    _recipe, _, _ = made
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    import errno

    from limbeck.errors import LimbeckError
    from limbeck.run import disk_error

    with pytest.raises(OSError) as caught, open("/dev/full", "wb", buffering=0) as full:
        full.write(b"x")
    assert caught.value.errno == errno.ENOSPC
    told = disk_error(caught.value, Path("runs/x"))
    assert isinstance(told, LimbeckError) and "disk is full" in str(told)


def test_no_training_record_repeats_a_test_text(made):
    from limbeck.distill.overlap import Overlap
    from limbeck.tasks.cf.task import CFTask

    _, run, _ = made
    overlap = Overlap([e.prompt.text for s in ("people-dev", "people-test") for e in CFTask().examples(s)], 8)
    lines = gzip.decompress((run / "distill" / "data.jsonl.gz").read_bytes()).decode().splitlines()
    assert lines and not any(overlap.hits(json.loads(line)["text"]) for line in lines)
