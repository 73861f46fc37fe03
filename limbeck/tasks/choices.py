"""Questions with a few choices, answered by a letter: MMLU, ARC-Challenge, TruthfulQA, GPQA.

By "letter" the letter is read from free text, and a text that names two or none is missing, not wrong. By "likelihood" the letters in
Prompt.context["choices"] are ranked by their probability. By "text" the choices are not shown: each one's own text is ranked, per byte
(the measure that decides) and as a whole, as base models are examined.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import random
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck.data.sources import get_source, read_source
from limbeck.errors import LimbeckError
from limbeck.records import Answer, Example, Prompt, Verdict, content_id
from limbeck.tasks.extract import choice_letter
from limbeck.tasks.text_task import TextTask

SCORER_VERSION = 2
WAYS = ("letter", "likelihood", "text")
LETTERS = "ABCDEFGHIJKLMNOP"
ASK_TEXT = "Question: {question}\nAnswer:"
ASK = "{question}\n\n{choices}\n\nReply with the letter of the right choice and nothing else."


class ChoiceTask(TextTask):
    """A letter against the gold letter. `by` is "letter" (free text), or "likelihood" or "text" (only answerers that can rank)."""

    has_shots = True

    def __init__(self, shots: int = 0, by: str = "letter") -> None:
        if by not in WAYS:
            raise LimbeckError(f"choices cannot be judged by {by!r}", f"task {self.name}", f"one of: {', '.join(WAYS)}")
        if shots and not self.has_shots:
            raise LimbeckError(f"task {self.name!r} has no worked examples", "--shots", "its source holds none that are not asked; leave --shots out")
        self.shots, self.by = shots, by
        self.version = f"{SCORER_VERSION}-{shots}shot-{by}-{content_id(ASK_TEXT if by == 'text' else ASK, 6)}"
        if by == "text":
            self.measures = ("per_byte", "whole")

    def score(self, example: Example, answer: Answer) -> Verdict:
        """By text: the likeliest choice per byte, and as a whole. Else as any text."""
        if self.by == "letter" or answer.status != "scored":
            return super().score(example, answer)
        ranking: list[list[float]] = answer.meta.get("ranking") or []
        if not ranking:
            return Verdict(status="failed", reason="the answerer gives no likelihoods: --by letter")
        if self.by == "likelihood":
            return super().score(example, answer)
        best = [max(range(len(ranking)), key=[pair[by] for pair in ranking].__getitem__) for by in (1, 0)]
        gold = example.meta["gold"]
        return Verdict(status="scored", measures={name: (float(at == gold),) for name, at in zip(self.measures, best, strict=True)})

    def judge(self, example: Example, text: str) -> dict[str, float] | str:
        """Right where the one letter named is the gold."""
        found = choice_letter(text, LETTERS[: example.meta["choices"]])
        return found[1] if isinstance(found, tuple) else {"correct": float(found == example.gold[0])}

    def _turns(self, question: str, choices: Sequence[str], gold: str) -> list[dict[str, str]]:
        """A solved question as two turns."""
        if self.by == "text":
            return [{"role": "user", "content": ASK_TEXT.format(question=question.strip())}, {"role": "assistant", "content": choices[LETTERS.index(gold)]}]
        return [{"role": "user", "content": show(question, choices)}, {"role": "assistant", "content": gold}]

    def _example(self, name: str, question: str, choices: Sequence[str], gold: str, before: list[dict[str, str]], **meta: Any) -> Example:
        text = ASK_TEXT.format(question=question.strip()) if self.by == "text" else show(question, choices)
        context: dict[str, Any] = {"messages": [*before, {"role": "user", "content": text}]} if before else {}
        if self.by == "likelihood":
            context["choices"] = list(LETTERS[: len(choices)])
        elif self.by == "text":
            context["choices"], meta = list(choices), {**meta, "gold": LETTERS.index(gold)}
            gold = str(choices[meta["gold"]])
        return Example(id=name, prompt=Prompt(id=name, text=text, context=context), gold=(gold,), source=self.name, meta={"choices": len(choices), **meta})


def show(question: str, choices: Sequence[str]) -> str:
    """The question, a choice a line, and what to do."""
    return ASK.format(question=question.strip(), choices="\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False)))


class MmluTask(ChoiceTask):
    """14,042 questions of 57 subjects. With shots, a subject's first dev questions go before. Twice-asked questions stay in."""

    name = "mmlu"
    limit_spreads = True

    def _load(self, split: str) -> list[Example]:
        files = [f for f in get_source("mmlu").files if f.startswith("mmlu/test/")]
        return [e for f in files for e in self._subject(f.removeprefix("mmlu/test/").removesuffix("_test.csv"))]

    def _subject(self, subject: str) -> list[Example]:
        shown = _read_csv(f"mmlu/dev/{subject}_dev.csv")[: self.shots] if self.shots else []
        before = [turn for q, c, gold in shown for turn in self._turns(q, c, gold)]
        rows = _read_csv(f"mmlu/test/{subject}_test.csv")
        return [self._example(f"mmlu-{subject}-{n}", q, c, gold, before, family=subject) for n, (q, c, gold) in enumerate(rows)]


def _read_csv(name: str) -> list[tuple[str, list[str], str]]:
    rows = list(csv.reader(io.StringIO(read_source("mmlu", name).decode("utf-8"))))[1:]
    if any(len(r) != 6 or r[5] not in ("0", "1", "2", "3") for r in rows):
        raise LimbeckError("a row has not a question, four choices and an answer from 0 to 3", name, "fetch it again: limbeck data get mmlu")
    return [(r[0], r[1:5], LETTERS[int(r[5])]) for r in rows]


class ArcTask(ChoiceTask):
    """1,172 test questions of ARC-Challenge with three to five choices, whose labels may be 1-4: shown as letters."""

    name = "arc"

    def _load(self, split: str) -> list[Example]:
        shown = _read_arc("train")[: self.shots] if self.shots else []
        before = [turn for _, q, c, gold in shown for turn in self._turns(q, c, gold)]
        return [self._example(name, q, c, gold, before) for name, q, c, gold in _read_arc("test")]


def _read_arc(split: str) -> list[tuple[str, str, list[str], str]]:
    found = []
    for number, line in enumerate(read_source("arc", f"arc/{split}.jsonl").decode().splitlines()):
        row = json.loads(line)
        labels = row["choices"]["label"]
        if row["answerKey"] not in labels:
            raise LimbeckError(f"the key {row['answerKey']!r} is no label", f"arc/{split}.jsonl, line {number + 1}", "fetch the source again")
        found.append((str(row["id"]), row["question"], row["choices"]["text"], LETTERS[labels.index(row["answerKey"])]))
    return found


class TruthfulQaTask(ChoiceTask):
    """817 questions, one true answer (the best) among all false ones, in an order drawn for each question by its number.

    Differs: the published MC1 order puts the true answer first; shown to a model that would give it away.
    `adversarial` keeps the questions that were chosen because a model answered them wrongly. `file` is a CSV of the user's own in the
    same columns, in the place of the pinned one.
    """

    name = "truthfulqa"
    has_shots = False

    def __init__(self, shots: int = 0, by: str = "letter", adversarial: bool = False, file: str = "") -> None:
        super().__init__(shots, by)
        self._adversarial, self._file = adversarial, file
        content = _own_file(file) if file else b""
        self.version += ("-adversarial" if adversarial else "") + (f"-own-{hashlib.sha256(content).hexdigest()[:8]}" if file else "")

    def _load(self, split: str) -> list[Example]:
        content, where = (_own_file(self._file), self._file) if self._file else (read_source("truthfulqa", "truthfulqa/TruthfulQA.csv"), "truthfulqa/TruthfulQA.csv")
        try:
            rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
        except (UnicodeDecodeError, csv.Error) as problem:
            raise LimbeckError(f"this is no CSV in UTF-8: {problem}", where, "name TruthfulQA.csv as it was published") from problem
        needed = ("Question", "Best Answer", "Incorrect Answers", "Category", *(("Type",) if self._adversarial else ()))
        missing = [c for c in needed if not rows or c not in rows[0]]
        bare = next((n for n, row in enumerate(rows, 2) if not missing and not all((row[c] or "").strip() for c in needed[:3])), None)
        if missing or bare:
            what = f"there is no column {missing[0]!r}" if missing else f"row {bare} lacks a question, its best answer or a false one"
            raise LimbeckError(what, where, f"columns needed: {', '.join(needed)}")
        found = [self._row(number, row) for number, row in enumerate(rows) if not self._adversarial or row["Type"].strip() == "Adversarial"]
        if not found:
            raise LimbeckError("no question's Type is Adversarial", where, "name TruthfulQA.csv as it was published")
        return found

    def _row(self, number: int, row: dict[str, str]) -> Example:
        best = row["Best Answer"].strip()
        false = [a for a in dict.fromkeys(part.strip() for part in row["Incorrect Answers"].split(";")) if a and a != best][: len(LETTERS) - 1]
        choices = shuffled([best, *false], number)
        return self._example(f"truthfulqa-{number}", row["Question"], choices, LETTERS[choices.index(best)], [], family=row["Category"])


def _own_file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as problem:
        raise LimbeckError(f"the questions cannot be read: {problem.strerror or problem}", path, "name TruthfulQA.csv as it was published") from problem


class GpqaTask(ChoiceTask):
    """GPQA from the user's own CSV, or a zip that is read and never written unpacked: LIMBECK_GPQA, and LIMBECK_GPQA_PASSWORD."""

    name = "gpqa"
    has_shots = False
    known_splits = ("diamond", "main", "extended")

    def _load(self, split: str) -> list[Example]:
        content, where = _own_gpqa(split)
        try:
            rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
        except UnicodeDecodeError as problem:
            raise LimbeckError("the file is not UTF-8", where, "name GPQA's CSV as it was published") from problem
        needed = ("Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
        missing = [c for c in needed if not rows or c not in rows[0]]
        if missing:
            raise LimbeckError(f"there is no column {missing[0]!r}", where, f"columns needed: {', '.join(needed)}")
        found = []
        for number, row in enumerate(rows):
            choices = shuffled([row[c].strip() for c in needed[1:]], number)
            gold = LETTERS[choices.index(row["Correct Answer"].strip())]
            found.append(self._example(f"gpqa-{split}-{number}", row["Question"], choices, gold, [], family=row.get("High-level domain", "")))
        return found


def shuffled(choices: Sequence[str], seed: int) -> list[str]:
    """The choices in an order that is a pure function of the seed."""
    return random.Random(seed).sample(list(choices), len(choices))


def _own_gpqa(split: str) -> tuple[bytes, str]:
    path = os.environ.get("LIMBECK_GPQA", "")
    fix = "set LIMBECK_GPQA to your gpqa CSV or zip, and LIMBECK_GPQA_PASSWORD to the password of the zip"
    if not path:
        raise LimbeckError("GPQA is read from a file of your own", "LIMBECK_GPQA", fix)
    try:
        if not path.endswith(".zip"):
            return Path(path).read_bytes(), path
        with zipfile.ZipFile(path) as archive:
            name = next((n for n in archive.namelist() if n.endswith(f"gpqa_{split}.csv")), None)
            if name is None:
                raise LimbeckError(f"the zip holds no gpqa_{split}.csv", path, fix)
            return archive.read(name, pwd=os.environ.get("LIMBECK_GPQA_PASSWORD", "").encode() or None), f"{path}, {name}"
    except (OSError, zipfile.BadZipFile, RuntimeError) as problem:
        raise LimbeckError(f"GPQA cannot be read: {problem}", path, fix) from problem
