"""Samples: JSONL (gzipped or not, a file or a folder of them), in the order that upstream asks them."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError

SHUFFLE_SEED = 123
RUN_SEED = 20220722
POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True)
class Samples:
    """Rows with the place each was read from, and the hash of their content."""

    rows: list[dict[str, Any]]
    places: list[str]
    sha256: str


def find_samples(name: str, registry: Path) -> Path:
    """Where samples lie: an existing file as named, else below the registry's data. Raises LimbeckError where they are absent."""
    if Path(name).is_file():
        return Path(name)
    path = registry / "data" / name
    if not path.exists():
        raise LimbeckError(f"the samples are not here: {name}", str(path), "fetch them (openai/evals keeps them in Git LFS: run `git lfs pull` in the checkout)")
    return path


def read_samples(path: Path) -> Samples:
    """All rows of a file, or of every .jsonl of a folder in the order of their names (upstream: in the file system's order)."""
    files = sorted(p for p in path.iterdir() if p.name.endswith(".jsonl")) if path.is_dir() else [path]
    rows, places, digest = [], [], hashlib.sha256()
    for file in files:
        content = _content(file)
        digest.update(content)
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as problem:
            line = content[: problem.start].count(b"\n") + 1
            raise LimbeckError("the samples are not UTF-8", f"{file}, line {line}", "save the file as UTF-8") from problem
        for number, line in enumerate(text.split("\n")):
            if line.strip():
                place = f"{file}, line {number + 1}"
                rows.append(_row(line, place))
                places.append(place)
    if not rows:
        raise LimbeckError("there are no samples", str(path), "name a .jsonl file with one sample a line, or a folder of them")
    return Samples(rows, places, digest.hexdigest())


def asked_order(count: int, limit: int | None = None) -> list[int]:
    """The places of samples in the order in which they are asked; a limit cuts after the shuffle."""
    order = list(range(count))
    random.Random(SHUFFLE_SEED).shuffle(order)
    return order[:limit] if limit is not None else order


def sample_random(sample_id: str, seed: int = RUN_SEED) -> random.Random:
    """The generator that upstream hands an eval for one sample (base.split.index); none of the five classes uses it."""
    return random.Random(f"{sample_id}:{seed}".encode())


def is_chat(value: Any) -> bool:
    """Whether a value is a list of chat messages."""
    return isinstance(value, list) and all(isinstance(m, dict) for m in value)


def as_messages(value: Any, place: str) -> list[dict[str, Any]]:
    """An input as chat messages; a string is one system message, as upstream sends it to chat models."""
    if isinstance(value, str):
        return [{"role": "system", "content": value}]
    if not is_chat(value) or not value or not all(isinstance(m.get("content"), str) and "role" in m for m in value):
        raise LimbeckError("an input is neither a text nor a list of messages with role and content", place, 'write "input": "..." or [{"role": "user", "content": "..."}]')
    return [dict(m) for m in value]


def as_text(messages: Sequence[dict[str, Any]]) -> str:
    """Messages as one text, for a judge to read: one alone as it is, several each on a line with a prefix by role or name."""
    if len(messages) == 1:
        return messages[0]["content"]
    prefixes = {"system": "", "example_user": "User: ", "example_assistant": "Assistant: "}
    roles = [str(m.get("name", m.get("role", ""))) for m in messages]
    return "".join(f"{prefixes.get(r, f'{r.capitalize()}: ')}{m['content']}\n" for r, m in zip(roles, messages, strict=True)).lstrip()


def _content(file: Path) -> bytes:
    if file.suffix in (".lz4", ".zst"):
        raise LimbeckError(f"{file.suffix} files are not read", str(file), "unpack it, or pack it with gzip")
    try:
        content = file.read_bytes()
        content = gzip.decompress(content) if file.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as problem:
        raise LimbeckError(f"the samples cannot be read: {problem}", str(file), "check the file") from problem
    if content.startswith(POINTER):
        raise LimbeckError("this file is a Git LFS pointer, not the samples", str(file), "run `git lfs install` and `git lfs pull` in the checkout")
    return content


def _row(line: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise LimbeckError(f"this line is no JSON: {problem}", place, "one JSON object a line") from problem
    if not isinstance(row, dict):
        raise LimbeckError("this sample is no JSON object", place, "one JSON object a line")
    return row
