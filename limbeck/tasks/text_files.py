"""Task `text:PLACE`: plain documents that a language model learns to foretell; judged by the likelihood it gives to others.

PLACE is a folder or file (.txt, .md, .rst; .jsonl with `text`, and `id`, `group` where there are some), or `docstrings`: what
the Python that runs us says of its own standard library. Documents are cut at blank lines into pieces of at most 1,500
characters; all pieces of one file (or group, or module) fall into one split by hash, and are one cluster for the intervals.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import sysconfig
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.records import Answer, Candidate, Check, Example, Prompt, Score, Verdict, content_id
from limbeck.tasks.intervals import grouped_rate
from limbeck.tasks.text_task import TextTask

PIECE = 1_500  # characters
SHORTEST = 80
ENDINGS = (".txt", ".md", ".rst", ".jsonl")
SHARES = {"train": 0.84, "dev": 0.08, "test": 0.08}
LEFT_OUT = {"test", "tests", "idlelib", "lib2to3", "site-packages", "__pycache__", "turtledemo"}
LARGEST_BYTES = 50_000_000


class TextFilesTask(TextTask):
    """Held-out text: `byte_likelihood` is the geometric mean of the probability of a byte, and decides; bits a byte beside it."""

    name = "text"
    measures = ("byte_likelihood", "bits_per_byte")
    compared = ("bits_per_byte",)
    known_splits = ("test", "dev", "train")
    draws = False  # nothing is sampled: the model says how likely a given text is

    def __init__(self, place: str) -> None:
        self.place = place
        self.licence = "psf-2.0" if place == "docstrings" else "unstated"
        pieces = list(_docstrings() if place == "docstrings" else _files(Path(place)))
        if not pieces:
            raise LimbeckError("there is no text here", place, f"name a folder or file with {', '.join(ENDINGS)} of at least {SHORTEST} characters, or docstrings")
        self._pieces: dict[str, list[tuple[str, str]]] = {split: [] for split in SHARES}
        for group, text in pieces:
            self._pieces[split_of(group)].append((group, text))
        self.version = "1-" + content_id(pieces, 10)
        self.settings = {"pieces": {split: len(found) for split, found in self._pieces.items()}}

    def _load(self, split: str) -> list[Example]:
        return [_example(f"{split}-{at}", group, text) for at, (group, text) in enumerate(self._pieces[split])]

    def apart(self, purpose: str) -> list[Example]:
        """Documents for dev loss ("dev"), and none for an examination: that has the test part."""
        return self._load("dev") if purpose == "dev" else []

    def verify(self, prompt: Prompt, candidate: Candidate) -> Check:
        """Any text will do."""
        return Check(ok=bool(candidate.text.strip()), reason="" if candidate.text.strip() else "empty")

    def score(self, example: Example, answer: Answer) -> Verdict:
        """What a model said of the text: its log-probability in nats."""
        if answer.status != "scored" or not answer.candidates:
            return Verdict(status=answer.status if answer.status != "scored" else "no_answer", reason=answer.reason or "no likelihood")
        nats = -answer.candidates[0].score / len(example.gold[0].encode())
        return Verdict(status="scored", measures={"byte_likelihood": (math.exp(-nats),), "bits_per_byte": (nats / math.log(2),)})

    def summarise(self, examples: Sequence[Example], trials: Sequence[Mapping[str, Any]]) -> list[Score]:
        """Bits a byte over all pieces, with an interval over groups."""
        known, sums = {e.id: e for e in examples}, {}
        judged = [t for t in trials if t["status"] == "scored"]
        for trial in judged:
            example = known[trial["id"]]
            size = len(example.gold[0].encode())
            bits, seen = sums.get(example.meta["cluster"], (0.0, 0.0))
            sums[example.meta["cluster"]] = (bits + trial["bits_per_byte"][0] * size, seen + size)
        whole = grouped_rate("bits per byte", [b for b, _ in sums.values()], [n for _, n in sums.values()], len(trials) - len(judged))
        return [replace(whole, n=len(judged))]


def split_of(group: str) -> str:
    """train, dev or test by the hash of a group's name."""
    place = int.from_bytes(hashlib.sha256(group.encode()).digest()[:6], "big") / 2**48
    for split, share in SHARES.items():
        if place < share:
            return split
        place -= share
    return "test"


def _example(name: str, group: str, text: str) -> Example:
    return Example(id=name, prompt=Prompt(id=name, text="", context={"document": text}), gold=(text,), source="text", meta={"cluster": group})


def _files(place: Path) -> Iterator[tuple[str, str]]:
    if not place.exists():
        raise LimbeckError("there is no such folder or file", str(place), "write text:FOLDER, text:FILE or text:docstrings")
    paths = sorted(p for p in place.rglob("*") if p.suffix in ENDINGS and p.is_file()) if place.is_dir() else [place]
    for path in paths:
        if path.stat().st_size > LARGEST_BYTES:
            raise LimbeckError(f"this file is larger than {LARGEST_BYTES:,} bytes", str(path), "split it")
        try:
            content = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as problem:
            raise LimbeckError(f"this is not UTF-8: byte {problem.start}", str(path), "save it as UTF-8") from problem
        name = path.relative_to(place).as_posix() if place.is_dir() else path.name
        if path.suffix == ".jsonl":
            yield from _lines(content, path)
        else:
            pieces = cut(content)
            yield from ((name if place.is_dir() else f"{name}-{at // 8}", piece) for at, piece in enumerate(pieces))


def _lines(content: str, path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            text, group = record["text"], str(record.get("group") or record.get("id") or number)
        except (ValueError, KeyError, TypeError) as problem:
            raise LimbeckError("a line is no document", f"{path}, line {number}", 'each line is {"text": ..., "group": ...}') from problem
        yield from ((group, piece) for piece in cut(text))


def cut(text: str) -> list[str]:
    """A document in pieces of at most PIECE characters, at blank lines where it has them; short leftovers are dropped."""
    pieces, now = [], ""
    for paragraph in (p.strip("\n") for p in text.replace("\r\n", "\n").split("\n\n")):
        for part in (paragraph[i : i + PIECE] for i in range(0, len(paragraph), PIECE)):
            if now and len(now) + 2 + len(part) > PIECE:
                pieces.append(now)
                now = ""
            now = f"{now}\n\n{part}" if now else part
    return [p for p in (*pieces, now) if len(p.strip()) >= SHORTEST]


def _docstrings() -> Iterator[tuple[str, str]]:
    """What modules of the standard library say of themselves: names with their docstrings, a group a module."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(p for p in root.rglob("*.py") if not LEFT_OUT & set(p.relative_to(root).parts)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError, OSError):
            continue
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        said = [ast.get_docstring(tree) or ""]
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
                head = f"class {node.name}" if isinstance(node, ast.ClassDef) else f"{node.name}({', '.join(a.arg for a in node.args.args)})"
                said.append(f"{module}: {head}\n{text}")
        yield from ((module, piece) for piece in cut("\n\n".join(s for s in said if s)))
