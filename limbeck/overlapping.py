"""`limbeck data overlap`: what any training text shares with any test, counted, with examples."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from limbeck import resolve
from limbeck.data.groups import NGRAM, Hit, find_shared, normalise
from limbeck.data.local_code import PLACES, read_code
from limbeck.data.sources import get_source, read_source
from limbeck.errors import LimbeckError

WIDTH = 100
KINDS = "TASK/SPLIT (bash/train), code:PLACE (code:stdlib), source:NAME, a run folder, or a .txt, .jsonl or .jsonl.gz file"
Text = tuple[str, str]  # request and answer; either may be empty


def report_overlap(training: Sequence[str], tests: Sequence[str], examples: int, as_json: bool) -> None:
    """A row for each pair of names and each part that both have; as a table of at most 100 columns, or as JSON."""
    read = {name: list(read_texts(name)) for name in dict.fromkeys(tests)}
    rows, hits = [], []
    for seen in dict.fromkeys(training):
        texts = list(read_texts(seen))
        for asked in read:
            for at, part in enumerate(("request", "answer")):
                left, right = [t[at] for t in texts if t[at]], [t[at] for t in read[asked] if t[at]]
                if left and right:
                    shared, found = find_shared(left, list(dict.fromkeys(right)))
                    rows.append({"training": seen, "test": asked, "part": part, "texts": len(left)} | shared.as_row())
                    hits.append(_choose(found, examples))
    if not rows:
        raise LimbeckError("these have nothing that could be compared", f"{', '.join(training)} and {', '.join(tests)}", f"name texts that have requests, or answers, on both sides: {KINDS}")
    if as_json:
        shown = [row | {"examples": [{"kind": h.kind, "test": h.test, "training": h.training} for h in found]} for row, found in zip(rows, hits, strict=True)]
        sys.stdout.write(json.dumps({"ngram": NGRAM, "overlap": shown}, ensure_ascii=False) + "\n")
        return
    _print(rows, hits)


def read_texts(name: str) -> Iterator[Text]:
    """(request, answer) of everything that a name stands for."""
    kind, _, rest = name.partition(":")
    if kind == "code" and rest:
        for language, places in PLACES.items():
            if rest in places or (language == "python" and rest not in PLACES["shell"]):
                yield from ((piece.text, piece.code) for piece in read_code([rest], language))
        return
    if kind == "source" and rest:
        yield from _source_texts(rest)
        return
    path = Path(name)
    if (path / "distill" / "data.jsonl.gz").exists():
        path = path / "distill" / "data.jsonl.gz"
    if path.is_file():
        yield from _lines(path.read_bytes(), path.name)
        return
    task, _, split = name.partition("/")
    if task not in resolve.TASKS:
        raise LimbeckError(f"there is nothing called {name!r} to compare", "limbeck data overlap", f"name {KINDS}; tasks: {', '.join(resolve.TASKS)}")
    job = resolve.get_task(task)
    for example in job.examples(split or job.splits()[0]):
        for gold in example.gold or ("",):
            yield example.prompt.text, gold


def _source_texts(name: str) -> Iterator[Text]:
    for file in get_source(name).files:
        yield from _lines(read_source(name, file), file)


def _lines(content: bytes, name: str) -> Iterator[Text]:
    """Records of a .jsonl file, or plain lines as answers."""
    text = (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8", "replace")
    for line in text.splitlines():
        if not line.strip():
            continue
        if ".jsonl" not in name:
            yield "", line.strip()
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as problem:
            raise LimbeckError(f"a line is no JSON: {problem}", name, "one JSON object a line, with text (or nl, intent) and answer (or cmd, code)") from problem
        said = next((record[key] for key in ("text", "nl", "utterance", "rewritten_intent", "intent", "prompt") if record.get(key)), "")
        done = next((record[key] for key in ("answer", "cmd", "code", "snippet", "canonical_solution") if record.get(key)), "")
        if isinstance(said, str) and isinstance(done, str):
            yield said, done


def _choose(found: Sequence[Hit], count: int) -> list[Hit]:
    """At most `count` hits of each kind, the longest texts first: short ones are shared by chance."""
    out: list[Hit] = []
    for kind in ("exact", "normalised", "run"):
        out += islice(sorted((h for h in found if h.kind == kind), key=lambda h: (-len(h.test), h.test)), count)
    return out


def _print(rows: Sequence[dict[str, Any]], hits: Sequence[Sequence[Hit]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for heading, justify in (("training", "left"), ("test", "left"), ("part", "left"), ("tests", "right"), ("exact", "right"), ("normalised", "right"), (f"run of {NGRAM}", "right"), ("of", "right")):
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(row["training"], row["test"], row["part"], *(f"{row[key]:,}" for key in ("tests", "exact", "normalised", f"shared_{NGRAM}_grams", "long_enough")))
    console = Console(width=WIDTH, highlight=False, file=sys.stdout)
    console.print(table)
    for row, found in zip(rows, hits, strict=True):
        for hit in found:
            console.print(f"{row['training']} > {row['test']}, {row['part']}, {hit.kind}", markup=False)
            console.print(f"  test      {_short(hit.test)}", markup=False)
            if hit.kind != "exact":
                console.print(f"  training  {_short(_around(hit))}", markup=False)


def _around(hit: Hit) -> str:
    """The training text from a little before what it shares."""
    if hit.kind != "run":
        return hit.training
    low, first = hit.training.lower(), next((w for w in normalise(hit.test).split() if len(w) > 3 and w in hit.training.lower()), "")
    return hit.training[max(0, low.find(first) - 10) :] if first else hit.training


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WIDTH - 14 else line[: WIDTH - 17] + "..."

