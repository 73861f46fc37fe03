"""Extraction, a row a trap; and the published sets where LIMBECK_DATA holds them."""

import json
import os
from pathlib import Path

import pytest

from limbeck.errors import LimbeckError
from limbeck.records import Answer, Candidate, Example, Prompt
from limbeck.tasks.bbh import BbhTask, final_answer, normalise, worked
from limbeck.tasks.choices import ArcTask, GpqaTask, MmluTask, TruthfulQaTask, show, shuffled
from limbeck.tasks.extract import choice_letter, code_block, last_number, strict_number, to_number
from limbeck.tasks.gsm8k import Gsm8kTask, MgsmTask, _plain
from limbeck.tasks.truthfulqa import TruthfulQaGenerationTask, read_word

DATA = Path(os.environ.get("LIMBECK_DATA", "/nowhere"))
needs_data = pytest.mark.skipif(not (DATA / "evals").exists(), reason="needs LIMBECK_DATA")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The answer is 72.", 72), ("72", 72), ("it costs $1,234.50.", 1234.5), ("-3", -3), ("−3", -3), ("first 7, then 8", 8), ("1.2.3", None), ("7 then 1.2.3", 7),
        ("none", None), ("", None), ("...", None), ("$,", None), ("5 % of 20 is 1", 1), ("x=4.", 4), ("18 dollars...", 18), ("৭২", 72), ("７２", 72), ("答え：18", 18), ("3/4", 4), ("1e3", 3),
        ("10,000 10", 10), (".5", 0.5), ("²", None),
    ],
)  # fmt: skip
def test_the_last_number(text, value):
    assert last_number(text) == value


def test_strict_and_single_numbers():
    assert strict_number("a\n#### 1,200") == 1200 and strict_number("1200") is None and to_number("-") is None


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"), ("B.", "B"), ("(B)", "B"), ("B) Rome", "B"), ("**B**", "B"), ("Answer: B", "B"), ("The answer is B.", "B"), ("the answer is (B) Rome", "B"), ("**Answer:** B", "B"),
        ("\\boxed{B}", "B"), ("$\\boxed{\\text{B}}$", "B"), ("Ｂ", "B"), ("答案：B", "B"), ("ANSWER: $ B $", "B"), ("answer: b", "B"), ("ANSWER: A\nNo.\nANSWER: B", "B"), ("ANSWER: A, B", "several letters: A, B"), ("Answer: A or B", "several letters: A, B"), ("Answer: A and B", "several letters: A, B"), ("Answer: (A), (B)", "several letters: A, B"), ("Answer: A\nAnswer: B, really", "B"), ("ANSWER: B and more", "B"), ("answer: a cat", "no letter in the answer"), ("Answer: B or Answer: A", "several letters: A, B"), ("Respuesta: C", "C"), ("I think about A cat.\nAnswer: D", "D"), ("Long talk.\nC", "C"),
        ("A is wrong, so the answer is C", "C"), ("It must be (C), as said.", "C"),
        ("Answer: A\nAnswer: B", "B"), ("(A) or (B)", "several letters: A, B"), ("A or B", "no letter in the answer"), ("", "no letter in the answer"),
        ("Apples are red", "no letter in the answer"), ("Answer: Everything", "no letter in the answer"), ("E", "no letter in the answer"), ("I do not know", "no letter in the answer"),
    ],
)  # fmt: skip
def test_the_letter_chosen(text, letter):
    found = choice_letter(text)
    assert (found[1] if isinstance(found, tuple) else found) == letter


def test_blocks_of_code():
    assert code_block("x\n```python\na = 1\n```\n```\nb\n```") == "a = 1\n" and code_block("a = 1") == "a = 1"
    assert code_block("```\nc\n") == "c\n" and code_block("```bash\nls\n```") == "ls\n"


def test_a_question_shows_its_choices_as_letters():
    assert "B. two" in show("Which?", ["one", "two", "three"]) and _plain("2*3=<<2*3=6>>6 eggs") == "2*3=6 eggs"
    assert Gsm8kTask(shots=5).version != Gsm8kTask().version and MmluTask(by="likelihood").version != MmluTask().version


def told(task, example, text):
    return task.score(example, Answer(prompt_id=example.id, candidates=(Candidate(text=text),)))


@needs_data
def test_the_published_sets_are_whole_and_gold_is_right():
    for task, split, count in ((Gsm8kTask(shots=2), "test", 1319), (MgsmTask(), "test", 2750), (MmluTask(shots=5), "test", 14042), (ArcTask(), "test", 1172), (TruthfulQaTask(), "test", 817), (BbhTask(), "test", 6511)):
        examples = task.examples(split)
        assert len(examples) == count == len({e.id for e in examples})
        for example in examples[:: max(1, count // 200)]:
            assert told(task, example, f"The answer is {example.gold[0]}.").measures["correct"] == (1.0,), example.id
    assert len({e.meta["family"] for e in MmluTask().examples("test")}) == 57
    assert len({e.meta["cluster"] for e in MgsmTask().examples("test")}) == 250


@needs_data
def test_training_solutions_end_in_their_gold():
    task = Gsm8kTask()
    rows = [json.loads(line) for line in (DATA / "evals/gsm8k/test.jsonl").read_text().splitlines()]
    for example, row in zip(task.examples("test"), rows, strict=True):
        assert told(task, example, row["answer"]).measures == {"correct": (1.0,), "strict": (1.0,)}


@pytest.mark.parametrize(
    ("text", "gold", "is_right"),
    [
        ("... So the answer is (B).", "(B)", True), ("So the answer is B", "(B)", True), ("The answer is (B) a red ball.", "(B)", True), ("So the answer is (A). No: the answer is (B).", "(B)", True),
        ("so the answer is False.", "False", True), ("So the answer is -11.", "-11", True), ("So the answer is ) ] >.", ") ] >", True), ("So the answer is ) ]", ") ] >", False),
        ("so the answer is abbe Arragon cast", "abbe arragon cast", True), ("Yes", "Yes", True), ("**Answer:** yes", "yes", True), ("So the answer is invalid.", "valid", False), ("No.", "Yes", False),
    ],
)  # fmt: skip
def test_final_answers_of_bbh(text, gold, is_right):
    assert (normalise(final_answer(text)) == normalise(gold)) is is_right


def test_bbh_says_when_no_answer_is_named_and_reads_worked_examples():
    assert final_answer("I thought about it for long and came to no conclusion that I would like to share.") == "" == final_answer("")
    turns = worked("canary\n-----\nDo it.\n\nQ: one\ntwo\nA: three\n\nfour.\n\nQ: five\nA: six\n")
    assert [t[1]["content"] for t in turns] == ["three\n\nfour.", "six"] and turns[0][0]["content"].startswith("one\ntwo")


def test_gpqa_comes_from_the_users_own_file(tmp_path, monkeypatch):
    import zipfile

    text = "Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3,High-level domain\nq,yes,a,b,c,Physics\nr,yes,a,b,c,Physics\n"
    (tmp_path / "own.csv").write_text(text)
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        archive.writestr("data/gpqa_diamond.csv", text)
    with pytest.raises(LimbeckError, match="file of your own"):
        GpqaTask().examples("diamond")
    for name in ("own.csv", "own.zip"):
        monkeypatch.setenv("LIMBECK_GPQA", str(tmp_path / name))
        examples = GpqaTask().examples("diamond")
        assert len(examples) == 2 and all(f"{e.gold[0]}. yes" in e.prompt.text for e in examples)
    with pytest.raises(LimbeckError, match=r"no gpqa_main\.csv"):
        GpqaTask().examples("main")
    (tmp_path / "own.csv").write_text("Question,Answer\nq,yes\n")
    monkeypatch.setenv("LIMBECK_GPQA", str(tmp_path / "own.csv"))
    with pytest.raises(LimbeckError, match="no column 'Correct Answer'"):
        GpqaTask().examples("diamond")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "own.csv", tmp_path / "own.zip"]
    assert shuffled("abcd", 3) == shuffled("abcd", 3) and len({tuple(shuffled("abcd", i)) for i in range(30)}) > 10


@pytest.mark.parametrize(("reply", "said"), [("TRUE", True), ("true.", True), ("**FALSE**", False), ("It is neither", None), ("TRUE or FALSE", None), ("", None), (None, None), ("untrue", None)])
def test_what_a_judge_said(reply, said):
    assert read_word(reply, ("TRUE", "FALSE")) is said


def test_truthfulqa_in_free_text_with_and_without_a_judge():
    row = {"Question": "Do frogs fly?", "Best Answer": "Frogs do not fly", "Correct Answers": "Frogs do not fly; No frog flies", "Incorrect Answers": "Frogs fly at night", "Category": "Myths"}
    plain = TruthfulQaGenerationTask()
    example = plain._row(0, row)
    answers = [Answer(prompt_id="x", candidates=(Candidate(text=t),)) for t in ("frogs do not fly", "Frogs fly at night, always", " ")]
    assert [plain.score(example, a).measures.get("rouge_true") for a in answers] == [(1.0,), (0.0,), None]
    seen = []

    def judge(prompts):
        seen.extend(p.text for p in prompts)
        return ["maybe" if "perhaps" in p.text else ("TRUE" if "not fly\n\nDoes the answer to judge" in p.text else "FALSE") if "one word: TRUE" in p.text else "YES" for p in prompts]

    judged = TruthfulQaGenerationTask(judge=judge)
    verdicts = judged.score_all([example] * 3, [answers[0], answers[1], Answer(prompt_id="x", candidates=(Candidate(text="perhaps"),))])
    assert [v.status for v in verdicts] == ["scored", "scored", "failed"] and "neither" in verdicts[2].reason
    assert verdicts[0].measures["true_and_informative"] == (1.0,) and verdicts[1].measures["true"] == (0.0,)
    assert len(seen) == 6 and judged.version != plain.version


@needs_data
def test_nexus_has_its_five_parts_and_every_reference_is_right_against_itself():
    from limbeck.tasks.nexus import NexusTask

    task = NexusTask()
    examples = task.examples("test")
    assert len(examples) == 78 + 151 + 38 + 21 + 51
    judged = [task.judge(e, e.gold[0]) for e in examples if e.meta["family"] == "toolalpaca"]
    assert len(judged) == 51 and all(isinstance(j, dict) and j["correct"] == 1 for j in judged)


@needs_data
def test_worked_problems_of_mgsm_are_in_the_language_of_the_question():
    task = MgsmTask(shots=8)
    for language in ("de", "ja", "te"):
        turns = task.examples(language, 1)[0].prompt.context["messages"]
        assert len(turns) == 17 and turns[-1]["content"].endswith(turns[0]["content"].split("\n\n")[-1])
        assert task.judge(Example(id="", prompt=Prompt(id="", text=""), gold=("11",)), turns[1]["content"]) == {"correct": 1.0, "strict": 0.0}
    assert task.version != MgsmTask().version
    with pytest.raises(LimbeckError, match="8 worked problems"):
        MgsmTask(shots=9)


@needs_data
def test_a_limit_takes_some_of_every_subject_and_language():
    mmlu, mgsm = MmluTask(), MgsmTask()
    assert len({e.meta["family"] for e in mmlu.examples("test", 57)}) == 57 and len(mmlu.examples("test", 100)) == 100
    assert {e.id for e in mmlu.examples("test", 57)} < {e.id for e in mmlu.examples("test", 100)}
    assert {e.meta["cluster"] for e in mgsm.examples("test", 22)} == {0, 1} and len({e.meta["family"] for e in mgsm.examples("test", 22)}) == 11
