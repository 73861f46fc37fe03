"""The tests that limbeck knows, as texts that must not be trained on; and what a user's own files repeat of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from limbeck import resolve
from limbeck.distill.contamination import Contamination, Hit, Test
from limbeck.distill.mixing import load_set
from limbeck.errors import LimbeckError
from limbeck.overlapping import read_texts

TRAINED_ON = {  # splits that are there to be learnt from, or are made afresh; every other split of a task is a test
    "train", "train-clean", "released-train", "tldr-train", "tldr-dev", "cheatsheets", "generated",
}  # fmt: skip
GOLD_WORDS = 13  # gold answers of so many words (programs, proofs, corrected notes) are test texts too
WIDTH = 100


class KnownTexts:
    """(benchmark/split, id, text) of every test whose source is at hand; `not_looked_at` says of the others why not."""

    def __init__(self, texts: Sequence[Test], not_looked_at: Mapping[str, str]) -> None:
        self.texts, self.not_looked_at = list(texts), dict(not_looked_at)

    def __iter__(self) -> Iterator[Test]:
        return iter(self.texts)

    def __len__(self) -> int:
        return len(self.texts)


def known_texts(names: Sequence[str] = ()) -> KnownTexts:
    """The tests of every task, or of those named as TASK or TASK/SPLIT."""
    texts: list[Test] = []
    missing: dict[str, str] = {}
    for task, splits in _named(names).items():
        try:
            job = resolve.get_task(task)
            wanted = splits or [s for s in job.splits() if s not in TRAINED_ON and not (task == "mgsm" and s != "test")]
        except LimbeckError as problem:
            missing[task] = problem.what
            continue
        for split in wanted:
            try:
                texts += _tests(task, split, job)
            except LimbeckError as problem:
                missing[f"{task}/{split}"] = problem.what
    return KnownTexts(texts, missing)


def _named(names: Sequence[str]) -> dict[str, list[str]]:
    if not names:
        return {task: [] for task in resolve.TASKS}
    out: dict[str, list[str]] = {}
    for name in names:
        task, _, split = name.partition("/")
        out.setdefault(task, []).extend([split] if split else [])
        resolve.get_task(task)  # an unknown one is an error, not a benchmark that is away
    return out


def _tests(task: str, split: str, job: Any) -> Iterator[Test]:
    for example in job.examples(split):
        yield f"{task}/{split}", example.id, example.prompt.text or str(example.prompt.context.get("document", ""))
        for number, gold in enumerate(example.gold[:3]):
            if len(gold.split()) >= GOLD_WORDS and gold != example.prompt.context.get("document"):
                yield f"{task}/{split}", f"{example.id}, gold {number + 1}", gold


def against_texts(names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """(set, id, request) of other sets whose requests must not be repeated: runs, files, TASK/SPLIT."""
    for name in names:
        if Path(name).exists():
            for record in load_set(name, 1.0, "").records(0):
                yield name, str(record["id"]), record["text"] or record["answer"]
        else:
            yield from ((name, str(at), said or done) for at, (said, done) in enumerate(read_texts(name)))


def report_contamination(files: Sequence[str], tests: Sequence[str] = ("known",), ngram: int = 8, examples: int = 3, as_json: bool = False) -> int:
    """How many records of the user's files repeat a test, and where, both texts side by side. Returns how many do."""
    if ngram < 3:
        raise LimbeckError(f"runs of {ngram} words are shared by chance", "--ngram", "give 3 or more; 8 and 13 are usual")
    known = known_texts(() if "known" in tests else tests)
    if not known.texts:
        raise LimbeckError("no test is at hand to compare with", "; ".join(f"{n}: {why}" for n, why in known.not_looked_at.items()), "run `limbeck data get NAME`, or set LIMBECK_DATA")
    index = Contamination(known, ngram, not_looked_at=known.not_looked_at)
    rows, shown = [], []
    for file in files:
        records = load_set(file, 1.0, "").records(0)
        found = [
            (record["id"], column, hit)
            for column in ("text", "answer")
            for record, hits in zip(records, index.look([r[column] for r in records], is_answer=column == "answer"), strict=True)
            for hit in hits
        ]  # fmt: skip
        rows.append({"file": file, "records": len(records), "contaminated": len({name for name, _, _ in found}), "benchmarks": _by_benchmark(found)})
        shown.append([{"record": name, "column": "request" if column == "text" else "answer", **hit.as_row()} for name, column, hit in found])
    if as_json:
        report = {"ngram": ngram, "tests": index.benchmarks, "not_looked_at": index.not_looked_at, "files": [row | {"hits": hits} for row, hits in zip(rows, shown, strict=True)]}
        sys.stdout.write(json.dumps(report, ensure_ascii=False) + "\n")
    else:
        _print(rows, shown, index, examples)
    return sum(row["contaminated"] for row in rows)


def _by_benchmark(found: Sequence[tuple[str, str, Hit]]) -> dict[str, int]:
    records: dict[str, set[str]] = {}
    for name, _, hit in found:
        records.setdefault(hit.benchmark, set()).add(name)
    return {benchmark: len(names) for benchmark, names in sorted(records.items())}


def _print(rows: Sequence[dict[str, Any]], shown: Sequence[Sequence[dict[str, Any]]], index: Contamination, examples: int) -> None:
    out = sys.stdout.write
    for row, hits in zip(rows, shown, strict=True):
        out(f"{row['file']}: {row['contaminated']:,} of {row['records']:,} records repeat a test\n")
        for benchmark, count in row["benchmarks"].items():
            out(f"  {benchmark:<32} {count:>7,}\n")
        strongest = sorted(hits, key=lambda h: ({"whole": 0, "inside": 1, "run": 2}[h["kind"]], -h["words"]))
        for hit in strongest[:examples]:
            out(f"\n  {hit['record']}, {hit['column']}: {hit['kind']}, {hit['words']:g} words, {hit['benchmark']} {hit['test']}\n")
            for name in ("run", "training_text", "test_text"):
                out(f"    {name.split('_')[0]:<9}{_short(hit[name])}\n")
    out(f"\nlooked at {sum(index.benchmarks.values()):,} test texts of {len(index.benchmarks)} benchmarks\n")
    for name, why in index.not_looked_at.items():
        out(f"not looked at: {name} ({why})\n")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WIDTH - 14 else line[: WIDTH - 17] + "..."
