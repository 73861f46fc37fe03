"""Questions with a few choices, answered by a letter: MMLU and ARC-Challenge (Hendrycks et al., 2021; Clark et al., 2018).

Where an answerer can give likelihoods, the letters of Prompt.context["choices"] are ranked by them; else the letter is read from
free text, and a text that names two or none is missing, not wrong.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from limbeck.data.sources import get_source, read_source
from limbeck.errors import LimbeckError
from limbeck.records import Example, Prompt, content_id
from limbeck.tasks.extract import choice_letter
from limbeck.tasks.text_task import TextTask

SCORER_VERSION = 1
LETTERS = "ABCDEFGHIJ"
ASK = "{question}\n\n{choices}\n\nReply with the letter of the right choice and nothing else."


class ChoiceTask(TextTask):
    """A letter against the gold letter. `by` is "letter" (free text) or "likelihood" (only answerers that can rank)."""

    def __init__(self, shots: int = 0, by: str = "letter") -> None:
        if by not in ("letter", "likelihood"):
            raise LimbeckError(f"choices cannot be judged by {by!r}", f"task {self.name}", "letter or likelihood")
        self.shots, self.by = shots, by
        self.version = f"{SCORER_VERSION}-{shots}shot-{by}-{content_id(ASK, 6)}"

    def judge(self, example: Example, text: str) -> dict[str, float] | str:
        """Right where the one letter named is the gold."""
        found = choice_letter(text, LETTERS[: example.meta["choices"]])
        return found[1] if isinstance(found, tuple) else {"correct": float(found == example.gold[0])}

    def _example(self, name: str, question: str, choices: Sequence[str], gold: str, before: list[dict[str, str]], **meta: Any) -> Example:
        text = show(question, choices)
        context: dict[str, Any] = {"messages": [*before, {"role": "user", "content": text}]} if before else {}
        if self.by == "likelihood":
            context["choices"] = list(LETTERS[: len(choices)])
        return Example(id=name, prompt=Prompt(id=name, text=text, context=context), gold=(gold,), source=self.name, meta={"choices": len(choices), **meta})


def show(question: str, choices: Sequence[str]) -> str:
    """The question, a choice a line, and what to do."""
    return ASK.format(question=question.strip(), choices="\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False)))


class MmluTask(ChoiceTask):
    """14,042 questions of 57 subjects. With shots, a subject's first dev questions go before. Twice-asked questions stay in."""

    name = "mmlu"

    def _load(self, split: str) -> list[Example]:
        files = [f for f in get_source("mmlu").files if f.startswith("mmlu/test/")]
        return [e for f in files for e in self._subject(f.removeprefix("mmlu/test/").removesuffix("_test.csv"))]

    def _subject(self, subject: str) -> list[Example]:
        shown = _read_csv(f"mmlu/dev/{subject}_dev.csv")[: self.shots] if self.shots else []
        before = [turn for q, c, gold in shown for turn in ({"role": "user", "content": show(q, c)}, {"role": "assistant", "content": gold})]
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
        before = [turn for _, q, c, gold in shown for turn in ({"role": "user", "content": show(q, c)}, {"role": "assistant", "content": gold})]
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
