"""HumanEval, MBPP and ODEX: Python judged by running it against tests, in a sandbox (Chen et al. 2021, Austin et al. 2021, Wang et al. 2023).

A program passes when its tests end and the driver says so afterwards: leaving early (`sys.exit(0)`) is a failure. The mark
is drawn for each run, so that printing what a pass prints is of no use; a program that searches its interpreter's memory
for it could still cheat.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import secrets
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any

from limbeck.data.sources import read_source
from limbeck.errors import LimbeckError
from limbeck.records import Answer, Candidate, Check, Example, Prompt, Verdict, content_id
from limbeck.tasks.extract import code_block
from limbeck.tasks.sandbox import Limits, Outcome, Program, python_program, require_sandbox, run_all
from limbeck.tasks.text_task import TextTask

SCORER_VERSION = 1
STOPS = re.compile(r"\n(?:class|def|#|if|print|@)")  # where a continuation has left the function (Chen et al. 2021, without "@")
DRIVER = """
import os, sys
mark = sys.stdin.readline().strip()
space = {"__name__": "program"}
for file in ("program.py", "tests.py"):
    with open(file, encoding="utf-8") as opened:
        exec(compile(opened.read(), file, "exec"), space)
sys.stdout.flush()
sys.__stdout__.write("\\n" + mark + "\\n")
sys.__stdout__.flush()
os._exit(0)
"""
WHOLE = "Complete the Python function below. Reply with the whole function, with every import it needs, in one ```python block.\n\n```python\n{prompt}\n```"
BY_TESTS = "{text}\n\nThese tests must pass:\n\n```python\n{tests}\n```\n\nReply with the code alone, in one ```python block."
FILL = "{intent}\n\nWrite it as the body of this function, and reply with the whole function in one ```python block.\n\n```python\n{head}...{tail}\n```"


class ProgramTask(TextTask):
    """A task whose answers are programs. A subclass gives `_load` and `program(example, text)`; Example.meta["tests"] is run after it."""

    measures = ("passed",)
    judged_together = 64

    def __init__(self, unsafe_local: bool = False) -> None:
        self.unsafe_local = unsafe_local
        self.limits = Limits()

    def ready(self) -> None:
        """Raises LimbeckError where programs cannot be run safely: before anything is asked."""
        require_sandbox(self.unsafe_local)

    def program(self, example: Example, text: str) -> str:
        """A whole program out of a model's text."""
        raise NotImplementedError

    def verify(self, prompt: Prompt, candidate: Candidate) -> Check:
        """Whether the code in a text parses."""
        reason = syntax_error(code_block(candidate.text))
        return Check(ok=not reason, reason=reason)

    def score(self, example: Example, answer: Answer) -> Verdict:
        """Each candidate run against the tests."""
        return self.score_all([example], [answer])[0]

    def score_all(self, examples: Sequence[Example], answers: Sequence[Answer]) -> list[Verdict]:
        """All candidates of all answers, as many at once as there are cores; equal programs run once."""
        wanted = {}
        for example, answer in zip(examples, answers, strict=True):
            if answer.status == "scored" and not missing_library(example):
                wanted |= {(example.id, c.text): (example, self.program(example, c.text)) for c in answer.candidates if c.text.strip()}
        known: dict[tuple[str, str], str] = {(name, source): syntax_error(source) for (name, _), (_, source) in wanted.items() for source in [source]}
        todo = list(dict.fromkeys((e.id, source) for e, source in wanted.values() if not known[e.id, source]))
        tests = {e.id: str(e.meta["tests"]) for e, _ in wanted.values()}
        known |= dict(zip(todo, self.run([(source, tests[name]) for name, source in todo]), strict=True))
        reasons = {key: known[e.id, source] for key, (e, source) in wanted.items()}
        valid = {key: not syntax_error(source) for key, (_, source) in wanted.items()}
        return [self._verdict(e, a, reasons, valid) for e, a in zip(examples, answers, strict=True)]

    def _verdict(self, example: Example, answer: Answer, reasons: dict[tuple[str, str], str], valid: dict[tuple[str, str], bool]) -> Verdict:
        if answer.status != "scored" or not any(c.text.strip() for c in answer.candidates):
            return Verdict(status=answer.status if answer.status != "scored" else "no_answer", reason=answer.reason or "empty")
        absent = missing_library(example)
        if absent:
            return Verdict(status="failed", reason=f"its tests need {absent}, which is not installed")
        found = [reasons.get((example.id, c.text), "empty") for c in answer.candidates]
        parses = tuple(float(valid.get((example.id, c.text), False)) for c in answer.candidates)
        return Verdict(status="scored", measures={"passed": tuple(float(not r) for r in found), "valid": parses}, reason=found[0])

    def run(self, pairs: Sequence[tuple[str, str]]) -> list[str]:
        """For each (program, tests): why it does not pass, empty where it does."""
        marks = [secrets.token_hex(16) for _ in pairs]
        programs = []
        for (source, tests), mark in zip(pairs, marks, strict=True):
            base = python_program(DRIVER)
            files = {**base.files, "program.py": source.encode("utf-8", "replace"), "tests.py": tests.encode("utf-8", "replace")}
            programs.append(Program(argv=base.argv, files=files, input=f"{mark}\n".encode(), readable=base.readable))
        outcomes = run_all(programs, self.limits, unsafe_local=self.unsafe_local)
        return [why_failed(outcome, mark) for outcome, mark in zip(outcomes, marks, strict=True)]


def why_failed(outcome: Outcome, mark: str) -> str:
    """Empty where a run ended well and after its tests."""
    if outcome.status == "ended" and outcome.code == 0 and outcome.output.rstrip().endswith(mark.encode()):
        return ""
    return outcome.reason or "ended before its tests did"


def syntax_error(source: str) -> str:
    """Why a source is no Python; empty where it is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a model's doubtful escapes
            ast.parse(source)
    except SyntaxError as problem:
        return f"SyntaxError: {problem.msg} (line {problem.lineno})"
    except (ValueError, RecursionError, MemoryError) as problem:  # null bytes; nested too deep
        return f"{type(problem).__name__}: {problem}"
    return ""


def missing_library(example: Example) -> str:
    """The first library an example's tests need that is not here."""
    return next((name for name in example.meta.get("needs", ()) if not importlib.util.find_spec(name)), "")


def defines(code: str, name: str) -> bool:
    """Whether a code has a top-level function of this name."""
    return bool(re.search(rf"(?m)^(?:async\s+)?def\s+{re.escape(name)}\b", code))


def indented(code: str, by: str) -> str:
    """A body set in by one step, whatever its own margin is."""
    return textwrap.indent(textwrap.dedent(code.expandtabs(4)), by)


def _lines(source: str, name: str, fields: Sequence[str]) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in read_source(source, name).decode("utf-8").splitlines() if line.strip()]
    missing = next((f for f in fields if any(f not in r for r in rows)), None)
    if missing:
        raise LimbeckError(f"a row has no {missing!r}", name, f"fetch it again: limbeck data get {source}")
    return rows


class HumanEvalTask(ProgramTask):
    """164 functions to be completed from their docstrings. `prompt`: "instruct" (the default) or "completion", for base models with --raw."""

    name = "humaneval"

    def __init__(self, prompt: str = "instruct", unsafe_local: bool = False) -> None:
        super().__init__(unsafe_local)
        if prompt not in ("instruct", "completion"):
            raise LimbeckError(f"there is no prompt {prompt!r}", "--prompt", "instruct or completion")
        self.prompt = prompt
        self.version = f"{SCORER_VERSION}-{prompt}-{content_id([WHOLE, DRIVER], 6)}"

    def _load(self, split: str) -> list[Example]:
        found = []
        for row in _lines("humaneval", "humaneval/HumanEval.jsonl", ("task_id", "prompt", "entry_point", "canonical_solution", "test")):
            text = row["prompt"] if self.prompt == "completion" else WHOLE.format(prompt=row["prompt"].rstrip())
            tests = f"{row['test']}\n\ncheck({row['entry_point']})\n"
            meta = {"tests": tests, "head": row["prompt"], "entry_point": row["entry_point"]}
            found.append(Example(id=row["task_id"], prompt=Prompt(id=row["task_id"], text=text), gold=(row["prompt"] + row["canonical_solution"],), source="humaneval", meta=meta))
        return found

    def program(self, example: Example, text: str) -> str:
        """The function an answer gives, after what stands before it in the prompt (imports, other functions); or the prompt continued."""
        head, name = str(example.meta["head"]), str(example.meta["entry_point"])
        if self.prompt == "completion" and "```" not in text:
            return text if text.startswith(head) else head + text[: stop.start() if (stop := STOPS.search(text)) else None]
        code = code_block(text)
        if defines(code, name):
            return head[: head.rfind(f"def {name}")] + "\n" + code
        return head + (code if code[:1] == " " else indented(code, "    "))


MBPP_IDS = {"test": (11, 510), "validation": (511, 600), "train": (601, 974)}


class MbppTask(ProgramTask):
    """500 test problems (task ids 11-510) from a sentence and three tests. `shots`: up to ten of the problems set apart for it, as earlier turns."""

    name = "mbpp"
    known_splits = ("test", "validation", "train")

    def __init__(self, shots: int = 3, unsafe_local: bool = False) -> None:
        super().__init__(unsafe_local)
        self.shots = shots
        self.version = f"{SCORER_VERSION}-{shots}shot-{content_id([BY_TESTS, DRIVER], 6)}"

    def _load(self, split: str) -> list[Example]:
        rows = _lines("mbpp", "mbpp/mbpp.jsonl", ("task_id", "text", "code", "test_list", "test_setup_code"))
        by_id = {r["task_id"]: r for r in rows}
        first = [2, 3, 4, *(n for n in range(1, 11) if n not in (2, 3, 4))]  # the paper's three, then the others
        before = []
        for number in first[: self.shots]:
            before += [{"role": "user", "content": _mbpp_text(by_id[number])}, {"role": "assistant", "content": f"```python\n{_unix(by_id[number]['code'])}\n```"}]
        low, high = MBPP_IDS[split]
        return [self._example(r, before) for r in rows if low <= r["task_id"] <= high]

    def _example(self, row: dict[str, Any], before: list[dict[str, str]]) -> Example:
        name, text = f"mbpp-{row['task_id']}", _mbpp_text(row)
        context: dict[str, Any] = {"messages": [*before, {"role": "user", "content": text}]} if before else {}
        tests = "\n".join(_unix(t) for t in (row["test_setup_code"], *row["test_list"]))
        return Example(id=name, prompt=Prompt(id=name, text=text, context=context), gold=(_unix(row["code"]),), source="mbpp", meta={"tests": tests})

    def program(self, example: Example, text: str) -> str:
        """The code block, or the whole text where there is none."""
        return code_block(text)


def _mbpp_text(row: dict[str, Any]) -> str:
    return BY_TESTS.format(text=row["text"], tests="\n".join(_unix(t) for t in row["test_list"]))


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").rstrip()


class OdexTask(ProgramTask):
    """439 English snippets with tests, from Stack Overflow. Tests that need a library that is not installed count as missing, and say which."""

    name = "odex"

    def __init__(self, unsafe_local: bool = False) -> None:
        super().__init__(unsafe_local)
        self.version = f"{SCORER_VERSION}-{content_id([FILL, DRIVER], 6)}"

    def _load(self, split: str) -> list[Example]:
        found = []
        for row in _lines("odex", "odex/en_test.jsonl", ("task_id", "prompt", "suffix", "canonical_solution", "test_start", "test", "entry_point", "intent", "library")):
            name = f"odex-{row['task_id']}-{len(found)}"
            text = FILL.format(intent=row["intent"].strip(), head=row["prompt"], tail=row["suffix"].rstrip())
            tests = f"{row['test_start']}{''.join(row['test'])}\ncheck({row['entry_point']})\n"
            meta = {"tests": tests, "head": row["prompt"], "tail": row["suffix"], "entry_point": row["entry_point"], "needs": tuple(row["library"]), "cluster": row["task_id"]}
            gold = row["prompt"] + row["canonical_solution"] + row["suffix"]
            found.append(Example(id=name, prompt=Prompt(id=name, text=text), gold=(gold,), source="odex", meta=meta))
        return found

    def program(self, example: Example, text: str) -> str:
        """The function an answer gives, or the answer put where the body is missing."""
        code = code_block(text)
        if defines(code, str(example.meta["entry_point"])):
            return code
        return str(example.meta["head"]) + code.strip() + str(example.meta["tail"])
