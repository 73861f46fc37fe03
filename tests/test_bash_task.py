"""Task bash: its examples, its verdicts, its baseline; what training and test share."""

import hashlib
import json
import os

import pytest

from limbeck.data.groups import count_shared, group_by_keys, normalise, split_by_group
from limbeck.errors import LimbeckError
from limbeck.evaluate.examine import examine
from limbeck.records import Answer, Candidate, Example, Prompt
from limbeck.tasks.bash import loading
from limbeck.tasks.bash.baselines import NearestCommand
from limbeck.tasks.bash.loading import (
    Pair,
    drop_seen,
    fill_placeholders,
    plain_utterance,
    read_released,
    report_overlap,
)
from limbeck.tasks.bash.task import BashTask, best_nlc2cmd

needs_data = pytest.mark.skipif("LIMBECK_DATA" not in os.environ, reason="LIMBECK_DATA is not set")


def example(utterance: str, *golds: str) -> Example:
    return Example(id=utterance, prompt=Prompt(id=utterance, text=utterance), gold=golds)


def answer(*texts: str) -> Answer:
    return Answer(prompt_id="a", candidates=tuple(Candidate(text=t) for t in texts))


TOY = [example("count the lines of a.txt", "wc -l a.txt"), example("list hidden files", "ls -a", "ls -A"), example("delete a.txt for good", "rm -f a.txt")]


@pytest.mark.parametrize("text", ["", "echo 'a", "ls \0", "cat <<EOF\na\nEOF", "a " * 10_000, "список файлов", "# nothing"])
def test_an_answer_that_cannot_be_judged_failed_and_says_why(text):
    verdict = BashTask().score(TOY[0], answer(text))
    assert verdict.status == "failed" and verdict.reason and not verdict.measures
    assert not BashTask().verify(TOY[0].prompt, Candidate(text=text)).ok


def test_among_others_it_gets_zeros():
    verdict = BashTask().score(TOY[0], answer("echo 'a", "wc -l a.txt"))
    assert verdict.status == "scored" and verdict.measures["cms"] == pytest.approx((0, 1)) and verdict.measures["valid"] == (0, 1) and verdict.measures["nlc2cmd"][0] == -1


def test_measures_are_judged_candidate_by_candidate():
    verdict = BashTask().score(TOY[1], answer("ls -A", "ls  -a", "ls -l", "```bash\nls -a\n```"))
    assert verdict.measures["exact"] == (1, 1, 0, 1) and verdict.measures["template"] == (1, 1, 0, 1) and verdict.measures["valid"] == (1, 1, 1, 1)
    assert verdict.measures["cms"] == pytest.approx((1, 1, 0.5, 1))


@pytest.mark.parametrize(("text", "reason"), [("find . ( -name a )", "not Bash"), ("ls |", "not Bash"), ("ls -l", "")])
def test_verify_asks_for_bash_through_and_through(text, reason):
    check = BashTask().verify(TOY[0].prompt, Candidate(text=text))
    assert check.ok is not bool(reason) and check.reason == reason


def test_equal_commands_have_equal_outcomes():
    task, prompt = BashTask(), TOY[0].prompt
    assert task.verify(prompt, Candidate(text="rm -rf a")).outcome == task.verify(prompt, Candidate(text="sudo rm -r  -f a")).outcome
    assert task.verify(prompt, Candidate(text="rm -rf a")).outcome != task.verify(prompt, Candidate(text="rm -rf b")).outcome


def test_an_examination_counts_every_example():
    class Toy:
        name, parameters = "toy", 0

        def answer(self, prompts, *, k=1):
            return [answer("wc -l b") if at == 0 else answer("echo 'a") for at in range(len(prompts))]

    result = examine(BashTask(), Toy(), TOY, split="toy", k=5)
    scores = {s["name"]: s for s in result["scores"]}
    assert result["statuses"] == {"scored": 1, "failed": 2} and scores["cms-1"]["missing"] == 2
    assert scores["cms-1"]["value"] == pytest.approx(1) and scores["cms_official-1"]["value"] == pytest.approx(1 / 3) and scores["nlc2cmd_official"]["value"] == pytest.approx(-1 / 3)
    assert best_nlc2cmd([-1, 0.5]) == 0.5 and best_nlc2cmd([-1, -0.5]) == -0.75 and best_nlc2cmd([]) == -1


def test_the_nearest_utterance_gives_its_command():
    found = NearestCommand.from_examples(TOY).answer([Prompt(id="1", text="Count lines of b.txt"), Prompt(id="2", text="xyzzy")], k=2)
    assert found[0].candidates[0].text == "wc -l a.txt" and found[1].status == "no_answer"
    assert [c.text for c in NearestCommand.from_examples(TOY).answer([Prompt(id="1", text="hidden files")], k=5)[0].candidates] == ["ls -a", "ls -A"]


def test_groups_are_never_split():
    keys = [["a", "b"], ["b", "c"], ["d"], ["c"], ["e"]]
    groups = group_by_keys(keys)
    assert groups[0] == groups[1] == groups[3] and len(set(groups)) == 3
    many = [[f"{at // 3}"] for at in range(3_000)]
    places = split_by_group(many, [str(at) for at in range(3_000)], {"train": 0.8, "dev": 0.2})
    assert all(len(set(places[at : at + 3])) == 1 for at in range(0, 3_000, 3)) and 0.75 < places.count("train") / 3_000 < 0.85
    backwards = split_by_group(many[::-1], [str(at) for at in reversed(range(3_000))], {"train": 0.8, "dev": 0.2})
    assert places == backwards[::-1]  # the order of the items decides nothing


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [("Find 'a.txt' 3 times!", 'find "b" 17 times', True), ("find files", "find folders", False), ("FIND  files.", "find files", True), ("найти файлы", "удалить файлы", False)],
)
def test_near_duplicates_differ_in_case_signs_quotes_and_numbers(a, b, same):
    assert (normalise(a) == normalise(b)) is same


def test_shared_texts_are_counted_once_each():
    shared = count_shared(["ls -l", "one two three four five six seven eight nine", "Say 7"], ["ls -l", "zero one two three four five six seven eight", "say 9", "new"])
    assert shared.as_row() == {"tests": 4, "exact": 1, "normalised": 2, "shared_8_grams": 1, "long_enough": 1}


def test_pairs_near_a_test_pair_are_dropped():
    pairs = [Pair("list 'a'", "ls a"), Pair("count", "wc  -l"), Pair("other", "pwd")]
    assert drop_seen(pairs, [Pair("List 'b'", "ls b"), Pair("x", "wc -l")]) == [pairs[2]]


@pytest.mark.parametrize(
    ("raw", "filled"),
    [("cp {{path/to/a}} {{b}}", "cp path/to/a b"), ("ls {{[-l|--long]}} {{a|b}}", "ls -l a"), ("awk '{print $1}' {{f}}", "awk '{print $1}' f"), ("echo ${{{VARIABLE}}}", "echo ${VARIABLE}")],
)
def test_placeholders_of_tldr_are_filled(raw, filled):
    assert fill_placeholders(raw) == filled


def test_mnemonic_brackets_of_tldr_are_dropped():
    assert plain_utterance("[c]reate an archive, e[x]tract it, use [1]") == "create an archive, extract it, use [1]"


def test_the_released_file_is_read_as_released():
    assert read_released({"test": [{"ID": 0, "NL Utterance": "a\n", "Code": "ls\n"}]}, "test") == [Pair("a", "ls")]


def test_a_split_that_is_unknown_or_absent_says_what_to_do(monkeypatch, tmp_path):
    with pytest.raises(LimbeckError, match="no split 'tset'"):
        BashTask().examples("tset")
    monkeypatch.setenv("LIMBECK_DATA", str(tmp_path))
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path))
    loading.load_pairs.cache_clear()
    with pytest.raises(LimbeckError, match="is not here"):
        BashTask().examples("test")
    assert report_overlap(["train"], ["test"]) == []


def test_the_official_split_is_rebuilt_from_all_pairs_by_id(monkeypatch, tmp_path):
    pairs = [("a", "ls"), ("b", "pwd"), ("c", "wc")]
    ids = [hashlib.sha256(f"{u}\t{c}".encode()).hexdigest()[:16] for u, c in pairs]
    files = {"nl2bash/all.nl": "a \nb\nc", "nl2bash/all.cm": "ls\npwd\nwc"}
    monkeypatch.setattr(loading, "official_marks", lambda: {"test": frozenset({ids[2][:8], ids[0][:8]})})
    monkeypatch.setattr(loading, "read_source", lambda source, name: files[name].encode())
    monkeypatch.setenv("LIMBECK_DATA", str(tmp_path))
    loading.load_pairs.cache_clear()
    assert set(loading.load_pairs("test")) == {Pair("c", "wc"), Pair("a", "ls")}
    loading.load_pairs.cache_clear()
    (tmp_path / "nl2bash").mkdir()
    (tmp_path / "nl2bash" / "test.jsonl").write_text(json.dumps({"nl": "a", "cmd": "ls -changed"}))
    with pytest.raises(LimbeckError, match="2 of 2 pairs"):
        loading.load_pairs("test")
    loading.load_pairs.cache_clear()


def test_the_split_that_ships_is_whole():
    marks = loading.official_marks()
    assert {name: len(found) for name, found in marks.items()} == {"train": 8_090, "dev": 609, "test": 606}
    assert not marks["train"] & marks["dev"] and not marks["test"] & (marks["train"] | marks["dev"])


@needs_data
def test_the_published_pairs_are_all_there_and_the_clean_split_shares_none():
    loading.load_pairs.cache_clear()
    task = BashTask()
    assert len(task.examples("train")) == 8_090 and len(task.examples("dev")) == 558
    assert len({e.id for s in ("train", "dev") for e in task.examples(s)}) == 8_648
    clean = count_shared([p.utterance for p in loading.load_pairs("train-clean")], [p.utterance for p in loading.load_pairs("dev")])
    assert clean.normalised == 0 and 7_000 < len(loading.load_pairs("train-clean")) < 8_090
    pages = [{p.page for p in loading.load_pairs(s)} for s in ("tldr-train", "tldr-dev")]
    assert not pages[0] & pages[1] and [len(loading.load_pairs(s)) for s in ("tldr-train", "tldr-dev")] == [29_084, 1_331]
    assert count_shared(*([p.utterance for p in loading.load_pairs(s)] for s in ("tldr-train", "tldr-dev"))).normalised == 0


def test_scripts_of_this_machine_are_learnt_from_where_asked(monkeypatch, tmp_path):
    (tmp_path / "run.sh").write_text("#!/bin/sh\n# list the files of a folder\nls -l folder\n# count the lines of it\nwc -l folder/a.txt\n")
    monkeypatch.setattr("limbeck.tasks.bash.pool.split_pairs", lambda part: (("say hello", "echo hello"),))
    monkeypatch.setattr("limbeck.tasks.bash.scripts.load_pairs", lambda split: [Pair("Count the lines of it!", "wc -c")])
    made = [e.gold[0] for e in BashTask(code=[str(tmp_path)]).generate(1, 30)]
    assert made.count("ls -l folder") == 3 and not [c for c in made if c.startswith("wc -l folder")]  # a test's sentence never
    assert "ls -l folder" not in {e.gold[0] for e in BashTask().generate(1, 30)}
