"""Plain documents as a task: cut, parted by file, judged by likelihood."""

import math

import pytest

from limbeck.errors import LimbeckError
from limbeck.records import Answer, Candidate
from limbeck.resolve import get_task
from limbeck.tasks.text_files import PIECE, TextFilesTask, cut, split_of


def write(folder, count=60):
    for number in range(count):
        (folder / f"{number}.txt").write_text(f"Chapter {number}.\n\n" + f"The sentence number {number} goes on for a while so that it is long enough.\n\n" * 3)
    return folder


def test_a_document_is_cut_at_blank_lines_and_nothing_long_is_lost():
    text = "\n\n".join(f"paragraph {i} " + "word " * 40 for i in range(30))
    pieces = cut(text)
    assert all(len(p) <= PIECE for p in pieces)
    assert "\n\n".join(pieces) == text
    assert cut("x" * 4000) == ["x" * 1500, "x" * 1500, "x" * 1000]


def test_all_of_a_file_falls_into_one_split(tmp_path):
    task = TextFilesTask(str(write(tmp_path)))
    seen = {}
    for split in task.splits():
        for example in task.examples(split):
            assert seen.setdefault(example.meta["cluster"], split) == split == split_of(example.meta["cluster"])
    assert len(seen) == 60 and len(task.examples("train")) > 40


def test_likelihood_is_judged_by_the_byte():
    task = get_task("text:docstrings")
    example = task.examples("test")[0]
    size = len(example.gold[0].encode())
    verdict = task.score(example, Answer(prompt_id=example.id, candidates=(Candidate(text="", score=-size * math.log(4)),)))
    assert verdict.measures["byte_likelihood"] == (pytest.approx(0.25),) and verdict.measures["bits_per_byte"] == (pytest.approx(2.0),)


def test_bits_per_byte_of_all_pieces_weighs_them_by_their_bytes(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "' + "a" * 100 + '", "group": "x"}\n{"text": "' + "b" * 300 + '", "group": "y"}\n')
    task = TextFilesTask(str(tmp_path / "a.jsonl"))
    examples = [e for split in task.splits() for e in task.examples(split)]
    trials = [{"id": e.id, "status": "scored", "bits_per_byte": [len(e.gold[0]) / 100]} for e in examples]
    (score,) = task.summarise(examples, trials)
    assert score.value == pytest.approx((100 * 1 + 300 * 3) / 400) and score.n == 2


@pytest.mark.parametrize(("name", "content", "said"), [("no.txt", None, "no such"), ("short.txt", b"tiny", "no text"), ("bad.txt", b"\xff\xfe" * 99, "UTF-8"), ("a.jsonl", b'{"txt": "x"}\n', "no document")])
def test_what_is_no_text_is_said(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(LimbeckError, match=said):
        TextFilesTask(str(tmp_path / name))
