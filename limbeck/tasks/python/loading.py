"""Examples of English and Python from the pinned sources: CoNaLa, the released CODEFUSION file, ODEX."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any

from limbeck.data.groups import count_shared, normalise, split_by_group
from limbeck.data.sources import read_source
from limbeck.errors import LimbeckError
from limbeck.records import Example, Prompt, content_id
from limbeck.tasks.python.metrics import tokenise

SPLITS = ("dev", "test", "train", "released-test", "released-train", "odex")
SHARES = {"train": 0.9, "dev": 0.1}
ASK = "Write the line or lines of Python that do this:\n\n{utterance}\n\nAnswer with the code alone: no explanation, no Markdown."


@lru_cache(maxsize=8)
def make_examples(split: str) -> tuple[Example, ...]:
    """The examples of a split in the order of its source. Raises LimbeckError where the source is not here."""
    if split in ("train", "dev"):
        rows = _conala("train")
        return tuple(_example(at, row, split) for at, (row, place) in enumerate(zip(rows, place_rows(rows), strict=True)) if place == split)
    if split == "test":
        return tuple(_example(at, row, split) for at, row in enumerate(_conala("test")))
    if split == "odex":
        return tuple(_odex(at, json.loads(line)) for at, line in enumerate(read_source("odex", "odex/en_test.jsonl").decode().splitlines()))
    if split in SPLITS:
        table = json.loads(read_source("codefusion-python", "codefusion/PythonBenchmarks.json"))
        return tuple(_example(at, row, split) for at, row in enumerate(read_released(table, split.removeprefix("released-"))))
    raise LimbeckError(f"task 'python' has no split {split!r}", "split", f"name one of: {', '.join(SPLITS)}")


def place_rows(rows: Sequence[dict[str, Any]]) -> list[str]:
    """train or dev for each row of CoNaLa's training part: rows of one question, one utterance or one line of code stay together."""
    return split_by_group([_keys(row) for row in rows], [f"{row['question_id']:>12}/{row['snippet']}" for row in rows], SHARES, "conala")


def _keys(row: dict[str, Any]) -> list[Hashable]:
    return [("question", row["question_id"]), ("utterance", normalise(_utterance(row))), ("code", " ".join(tokenise(row["snippet"])))]


def _conala(part: str) -> list[dict[str, Any]]:
    rows = json.loads(read_source("conala", f"conala/conala-{part}.json"))
    return [row for row in rows if row["snippet"].strip()]


def read_released(table: dict[str, list[dict[str, Any]]], part: str) -> list[dict[str, Any]]:
    """The released CODEFUSION rows that have an utterance."""
    rows = [{"rewritten_intent": r["NL Utterance"], "snippet": r["Code"], "question_id": r["ID"]} for r in table[part]]
    return [row for row in rows if (row["rewritten_intent"] or "").strip()]


def report_overlap(training: Sequence[str], tests: Sequence[str]) -> list[dict[str, Any]]:
    """What each test split shares with each training split, utterances and code apart; a split that is not here is left out."""
    out = []
    for seen in training:
        for asked in tests:
            try:
                left, right = make_examples(seen), make_examples(asked)
            except LimbeckError:
                continue
            for part in ("utterance", "code"):
                shared = count_shared([_part(e, part) for e in left], [_part(e, part) for e in right])
                out.append({"training": seen, "test": asked, "of": part} | shared.as_row())
    return out


def _part(example: Example, part: str) -> str:
    return example.prompt.text if part == "utterance" else example.gold[0]


def _utterance(row: dict[str, Any]) -> str:
    return " ".join((row.get("rewritten_intent") or row.get("intent") or "").split())


def _example(number: int, row: dict[str, Any], split: str) -> Example:
    utterance, code = _utterance(row), row["snippet"].strip()
    name = f"python-{split}-{number}-{content_id([row['question_id'], utterance, code], 8)}"  # some rows are there twice
    return Example(id=name, prompt=make_prompt(name, utterance), gold=(code,), source=f"python/{split}", meta={"cluster": row["question_id"]})


def _odex(number: int, row: dict[str, Any]) -> Example:
    """With what is needed to run its tests; running is left to a sandbox."""
    name = f"odex-{row['task_id']}-{number}"  # some rows are there twice but for their tests
    meta = {key: row[key] for key in ("task_id", "prompt", "suffix", "test_start", "test", "entry_point", "library")}
    return Example(id=name, prompt=make_prompt(name, row["intent"]), gold=(row["canonical_solution"],), source="python/odex", meta=meta | {"cluster": row["task_id"]})


def make_prompt(name: str, utterance: str) -> Prompt:
    """A request with the message that language models get."""
    return Prompt(id=name, text=utterance, context={"messages": [{"role": "user", "content": ASK.format(utterance=utterance)}]})
