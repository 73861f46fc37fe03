"""The report of what training texts share with tests; splits in which near-duplicates stay together."""

import gzip
import json
import os

import pytest

from limbeck.cli import main
from limbeck.data.groups import Hit, count_shared, find_shared, normalise
from limbeck.errors import LimbeckError
from limbeck.overlapping import read_texts
from limbeck.tasks.bash.loading import load_pairs
from limbeck.tasks.bash.pool import split_pairs
from limbeck.tasks.python.loading import make_examples
from limbeck.tasks.python.pool import people_pairs

needs_data = pytest.mark.skipif("LIMBECK_DATA" not in os.environ, reason="LIMBECK_DATA is not set")
LONG = "one two three four five six seven eight nine"


@pytest.fixture
def files(tmp_path):
    """Training records and tests that share something of each sort."""
    records = [{"text": "List 'a'", "answer": "ls a"}, {"text": LONG, "answer": "pwd"}, {"text": "the same", "answer": "whoami"}]
    (tmp_path / "run" / "distill").mkdir(parents=True)
    (tmp_path / "run" / "distill" / "data.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, records)).encode()))
    tests = [{"nl": "list 'b'", "cmd": "ls b"}, {"nl": f"zero {LONG[:-5]}", "cmd": "cd"}, {"nl": "the same", "cmd": "id"}, {"nl": "something new", "cmd": "whoami"}]
    (tmp_path / "tests.jsonl").write_text("\n".join(map(json.dumps, tests)))
    (tmp_path / "lines.txt").write_text("whoami\n\n# [bold]nothing[/bold]\n")
    return tmp_path


def run(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as leaving:
        main(["data", "overlap", *arguments])
    assert leaving.value.code == 0
    return capsys.readouterr().out


def test_the_table_fits_and_shows_what_was_hit(files, capsys):
    out = run(capsys, "--training", str(files / "run"), "--training", str(files / "lines.txt"), "--test", str(files / "tests.jsonl"))
    assert max(map(len, out.splitlines())) <= 100
    out = " ".join(out.split())  # long names are folded
    assert "request, exact" in out and "the same" in out and "request, normalised" in out and "request, run" in out and "answer, exact" in out


def test_json_says_the_same(files, capsys):
    found = json.loads(run(capsys, "--training", str(files / "run"), "--test", str(files / "tests.jsonl"), "--json"))
    request, answer = found["overlap"]
    assert (request["tests"], request["exact"], request["normalised"], request["shared_8_grams"], request["long_enough"]) == (4, 1, 2, 1, 1)
    assert answer["part"] == "answer" and answer["exact"] == 1
    assert {"kind": "normalised", "test": "list 'b'", "training": "List 'a'"} in request["examples"]


@pytest.mark.parametrize(("name", "word"), [("nosuch/split", "nothing called"), ("bash/nosuch", "no split"), ("source:nosuch", "no source"), ("code:/no/such/folder", "no folder")])
def test_a_name_that_is_none_is_told(name, word):
    with pytest.raises(LimbeckError, match=word):
        list(read_texts(name))


def test_a_line_that_is_no_json_is_told(files):
    (files / "broken.jsonl").write_text('{"text": ')
    with pytest.raises(LimbeckError, match="no JSON"):
        list(read_texts(str(files / "broken.jsonl")))


def test_code_of_a_folder_is_a_training_text(files):
    (files / "code.py").write_text("value = json.loads(text)\n")
    assert ("", "value = json.loads(text)") in list(read_texts(f"code:{files}"))


def test_counts_do_not_hang_on_how_often_a_text_is_there():
    shared, hits = find_shared(iter(["a b", "a b", "A  b!"]), ["a b", "x"])
    assert shared == count_shared(["A b", "a b"], ["a b", "x"]) and hits == [Hit("exact", "a b", "a b")]


@needs_data
def test_no_near_duplicate_straddles_a_split_of_ours():
    python = [{normalise(e.prompt.text) for e in make_examples(split)} for split in ("train", "dev")]
    parts = [people_pairs(part) for part in ("pool", "dev", "examination")]
    bash = [{pair.page for pair in load_pairs(split)} for split in ("tldr-train", "tldr-dev")]
    commands = [{cmd for _, cmd in split_pairs(part)} for part in ("dev", "examination")]
    assert not python[0] & python[1] and not bash[0] & bash[1] and not commands[0] & commands[1]
    for part in (0, 1):
        texts = [{normalise(pair[0]) for pair in pairs} if part == 0 else {pair[1] for pair in pairs} for pairs in parts]
        assert not texts[0] & texts[1] and not texts[0] & texts[2] and not texts[1] & texts[2]
