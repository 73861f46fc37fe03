"""HumanEval, MBPP and ODEX: what is taken out of an answer, and what passes."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from limbeck.data import sources
from limbeck.errors import LimbeckError
from limbeck.evaluate.examine import examine, value_of
from limbeck.records import Answer, Candidate, Example, Prompt
from limbeck.tasks.programs import HumanEvalTask, MbppTask, OdexTask, ProgramTask, syntax_error, why_failed
from limbeck.tasks.sandbox import Outcome

DATA = Path(os.environ.get("LIMBECK_DATA", "/nowhere"))
needs_data = pytest.mark.skipif(not (DATA / "humaneval").exists(), reason="needs LIMBECK_DATA")
needs_bubblewrap = pytest.mark.skipif(not shutil.which("bwrap"), reason="needs bubblewrap")
HEAD = 'from typing import List\n\ndef half(x):\n    return x / 2\n\ndef quarter(x: List[int]) -> List[float]:\n    """A quarter of each."""\n'
TOY = Example(id="toy/0", prompt=Prompt(id="toy/0", text=HEAD), gold=("",), meta={"tests": "assert quarter([4]) == [1.0]", "head": HEAD, "entry_point": "quarter"})
BODY = "    return [half(half(n)) for n in x]\n"


def score(task, example, *texts):
    return task.score(example, Answer(prompt_id=example.id, candidates=tuple(Candidate(text=t) for t in texts)))


@needs_bubblewrap
@pytest.mark.parametrize(
    ("text", "passes"),
    [
        (f"Sure!\n```python\n{HEAD}{BODY}```\nDone.", 1),
        (f"```python\ndef quarter(x: List[int]):\n{BODY}```", 1),  # leans on the prompt's imports and its other function
        (f"```\n{BODY}```", 1),
        ("```python\nreturn [half(half(n)) for n in x]\n```", 1),
        ("```python\n\treturn [n / 4 for n in x]\n```", 1),
        (f"def quarter(x):\n{BODY}", 1),
        (f"```python\ndef quarter(x):\n{BODY}\nif __name__ == '__main__':\n    print(input())\n```", 1),
        ("```python\ndef quarter(x):\n    return [n / 2 for n in x]\n```", 0),
        ("```python\ndef quarter(x):\n    import os; os._exit(0)\n```", 0),
        ("```python\nimport sys; sys.exit(0)\ndef quarter(x): return\n```", 0),
        ("```python\ndef quarter(x:\n```", 0),
        ("I cannot do that.", 0),
        ("```python\ndef other(x): return x\n```", 0),
        ("```python\ndef quarter(x):\n    while True: pass\n```", 0),
        ("```python\ndef quarter(x):\n    raise ValueError('\x00')\n```", 0),
        (f"```python\nimport threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\ndef quarter(x):\n{BODY}```", 1),
    ],
)
def test_what_a_model_says_is_run_as_it_meant(text, passes):
    task = HumanEvalTask()
    task.limits = type(task.limits)(seconds=2)
    verdict = score(task, TOY, text)
    assert verdict.status == "scored" and verdict.measures["passed"] == (passes,), verdict.reason
    assert bool(verdict.reason) != bool(passes)


@pytest.mark.parametrize("text", ["    return 1\n\ndef other():\n    pass", "    return 1\n# more", "    return 1\nprint(2)", "    return 1\nclass A: pass", HEAD + "    return 1"])
def test_a_continuation_ends_where_it_leaves_the_function(text):
    assert HumanEvalTask(prompt="completion").program(TOY, text).rstrip() == HEAD + "    return 1"


def test_empty_and_missing_answers_are_not_zeros():
    task = HumanEvalTask()
    assert score(task, TOY, "  ").status == "no_answer"
    assert task.score(TOY, Answer(prompt_id="x", status="refused", reason="no")).status == "refused"
    needy = Example(id="needy", prompt=TOY.prompt, gold=("",), meta={**TOY.meta, "needs": ("no_such_library",)})
    assert "no_such_library" in score(task, needy, "x = 1").reason and score(task, needy, "x = 1").status == "failed"


def test_a_wrong_prompt_name_is_told():
    with pytest.raises(LimbeckError, match="no prompt"):
        HumanEvalTask(prompt="chat")


@pytest.mark.parametrize(("source", "reason"), [("x = 1", ""), ("x =", "invalid syntax"), ("\x00", "null byte"), ("(" * 5000, "")])
def test_syntax_errors_are_told_and_never_raised(source, reason):
    assert reason in syntax_error(source).lower() and bool(syntax_error(source)) == (source != "x = 1")


def test_a_mark_printed_too_early_or_with_an_error_is_no_pass():
    good = Outcome(status="ended", code=0, output=b"hello\n\nabc\n", errors=b"", seconds=1)
    assert why_failed(good, "abc") == "" and why_failed(good, "abd")
    assert why_failed(Outcome(status="ended", code=1, output=b"abc\n", errors=b"boom", seconds=1), "abc") == "boom"


class Sampler:
    """Answers each prompt with the same draws."""

    name, parameters, draws_samples = "sampler", 0, True

    def __init__(self, *texts: str) -> None:
        self.texts = texts

    def answer(self, prompts, *, k=1):
        return [Answer(prompt_id=p.id, candidates=tuple(Candidate(text=t) for t in self.texts[:k])) for p in prompts]


@needs_bubblewrap
def test_samples_give_an_unbiased_pass_at_k():
    good, bad = f"```python\ndef quarter(x):\n{BODY}```", "```python\ndef quarter(x): return 0\n```"
    result = examine(HumanEvalTask(), Sampler(good, bad, bad, good), [TOY], split="test", k=4)
    assert value_of(result, "passed")["value"] == 0.5 and value_of(result, "pass@1")["value"] == 0.5
    assert value_of(result, "pass@2")["value"] == pytest.approx(1 - 1 / 6) and value_of(result, "pass@4")["value"] == 1


@needs_data
@needs_bubblewrap
@pytest.mark.parametrize(("maker", "split", "most_failing"), [(HumanEvalTask, "test", 0), (MbppTask, "validation", 0), (OdexTask, "test", 5)])
def test_reference_solutions_pass(maker, split, most_failing):
    task = maker()
    examples = task.examples(split)
    verdicts = task.score_all(examples, [Answer(prompt_id=e.id, candidates=(Candidate(text=e.gold[0]),)) for e in examples])
    judged = [v for v in verdicts if v.status == "scored"]
    assert len(judged) > 80 and len(judged) - sum(v.measures["passed"][0] for v in judged) <= most_failing


def test_mbpp_shows_its_paper_examples_first_and_its_split(tmp_path, monkeypatch):
    rows = [{"task_id": n, "text": f"t{n}", "code": f"x={n}\r\n", "test_list": [f"assert x=={n}"], "test_setup_code": ""} for n in (*range(1, 13), 511, 601)]
    content = "\n".join(json.dumps(r) for r in rows).encode()
    (tmp_path / "mbpp.jsonl").write_bytes(content)
    file = sources.SourceFile(name="mbpp/mbpp.jsonl", sha256=hashlib.sha256(content).hexdigest(), local=("mbpp.jsonl",))
    monkeypatch.setenv("LIMBECK_DATA", str(tmp_path))
    monkeypatch.setattr(sources, "get_source", lambda name: sources.DataSource(name=name, title="", licence="", origin="", files={file.name: file}))
    task = MbppTask(shots=2)
    found = task.examples("test")
    assert [e.id for e in found] == ["mbpp-11", "mbpp-12"] and "\r" not in found[0].gold[0]
    messages = found[0].prompt.context["messages"]
    assert len(messages) == 5 and "t2" in messages[0]["content"] and "t3" in messages[2]["content"]
    assert task.version != MbppTask(shots=3).version and isinstance(task, ProgramTask)
