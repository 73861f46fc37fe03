"""Other training sets, with their origins, and one order in which several sets are seen.

A set is a run, its distill folder, or a .jsonl file (gzipped or not) of messages, or of a request and an answer.
"""

from __future__ import annotations

import gzip
import hashlib
import heapq
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.records import Origin, content_id

PAIRS = (("text", "answer"), ("prompt", "completion"), ("question", "answer"), ("instruction", "output"), ("prompt", "response"), ("request", "answer"))
FORMS = "one JSON object a line, with messages, or with text and answer (prompt and completion, question and answer, instruction and output)"


@dataclass(frozen=True, slots=True)
class MixedSet:
    """A set and how often its records are seen. `lines` are its records; their `by` counts in `origins`."""

    name: str
    weight: float
    origins: tuple[Origin, ...]
    lines: tuple[Mapping[str, Any], ...]
    sha256: str

    def __len__(self) -> int:
        return len(self._chosen())

    def records(self, first: int) -> list[dict[str, Any]]:
        """The records as often as the weight says, in their own order; their origins are counted from `first`."""
        out = []
        for at, turn in self._chosen():
            line = dict(self.lines[at])
            line["by"] = [first + origin for origin in line["by"]]
            line["meta"] = {**line.get("meta", {}), "set": self.name}
            line["id"] = line["id"] if turn == 0 else f"{line['id']}~{turn + 1}"
            out.append(line)
        return out

    def _chosen(self) -> list[tuple[int, int]]:
        """(record, turn): each as often as the whole part of the weight, and a share of them, by hash, once more."""
        whole, part = int(self.weight), self.weight - int(self.weight)
        extra = set(sorted(range(len(self.lines)), key=lambda at: content_id([self.sha256, at]))[: round(part * len(self.lines))])
        return [(at, turn) for at in range(len(self.lines)) for turn in range(whole + (at in extra))]


def load_set(source: str, weight: float = 1.0, terms: str = "") -> MixedSet:
    """The set that `source` names. A run knows who made it; a file's records are under `terms`. Raises LimbeckError."""
    path = Path(source)
    folder = next((f for f in (path / "distill", path) if (f / "data.jsonl.gz").is_file()), None)
    if folder is not None:
        content = _read(folder / "data.jsonl.gz")
        origins = _origins(folder)
        lines = tuple(_own_record(line, number, len(origins), folder / "data.jsonl.gz") for number, line in _parse(content, str(folder / "data.jsonl.gz")))
    elif path.is_file():
        content = _read(path)
        origins = (Origin(role="generator", model=f"file:{path.name}", terms=terms or "unknown"),)
        lines = tuple(_record(line, number, path) for number, line in _parse(content, source))
    else:
        raise LimbeckError(f"there is no set {source!r}", "mix.source", f"name a run, its distill folder, or a .jsonl file: {FORMS}")
    if not lines:
        raise LimbeckError("this set is empty", source, "leave it out, or name another")
    return MixedSet(source, weight, origins, lines, hashlib.sha256(content).hexdigest())


def _read(path: Path) -> bytes:
    content = path.read_bytes()
    try:
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as problem:
        raise LimbeckError("this gzip file is broken", str(path), "make it again") from problem


def _parse(content: bytes, where: str) -> list[tuple[int, dict[str, Any]]]:
    found = []
    for number, raw in enumerate(content.split(b"\n"), 1):
        if not raw.strip():
            continue
        try:
            line = json.loads(raw)
        except ValueError as problem:  # no JSON, or no UTF-8
            raise LimbeckError("a line is no JSON", f"{where}, line {number}", FORMS) from problem
        if not isinstance(line, dict):
            raise LimbeckError("a line is no object", f"{where}, line {number}", FORMS)
        found.append((number, line))
    return found


def _origins(folder: Path) -> tuple[Origin, ...]:
    path = folder / "origins.json"
    if not path.exists():
        raise LimbeckError("nothing says who made this set", str(path), "make the run again with this version, or name its data.jsonl as a file with `terms`")
    try:
        return tuple(Origin(**origin) for origin in json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as problem:
        raise LimbeckError(f"this file of origins is broken: {problem}", str(path), "make the run again, or name its data.jsonl as a file with `terms`") from problem


def _own_record(line: dict[str, Any], number: int, origins: int, path: Path) -> dict[str, Any]:
    """A record of a run. Who had a hand in it is never dropped: an origin that is not listed is an error."""
    where, fix = f"{path}, line {number}", "make the run again: its distill folder was changed by hand, or is broken"
    by = line.get("by", list(range(origins)))
    if not isinstance(by, list) or not all(isinstance(o, int) and 0 <= o < origins for o in by):
        raise LimbeckError(f"a record names origins {by!r}, and origins.json lists {origins}", where, fix)
    if not isinstance(line.get("answer"), str) or not line["answer"].strip():
        raise LimbeckError("a record has no answer", where, fix)
    kept = {name: line[name] for name in ("key", "candidates", "meta") if name in line}
    return {"id": str(line.get("id", number)), "text": line.get("text", ""), "context": line.get("context", {}), "answer": line["answer"], "candidates": [[line["answer"], 0.0]], **kept, "by": by}


def _record(line: dict[str, Any], number: int, path: Path) -> dict[str, Any]:
    """One line of a file in any of the known forms."""
    where = f"{path}, line {number}"
    context: dict[str, Any] = dict(line["context"]) if isinstance(line.get("context"), dict) else {}
    messages = line.get("messages") or line.get("conversations")
    if messages is not None:
        text, answer, before = _last_turn(messages, where)
        context = {**context, "messages": before}
    else:
        pair = next(((q, a) for q, a in PAIRS if isinstance(line.get(q), str) and isinstance(line.get(a), str)), None)
        if pair is None and isinstance(line.get("text"), str):
            text, answer = "", line["text"]  # a document
        elif pair is None:
            raise LimbeckError(f"a record has neither messages nor a request and an answer, but {', '.join(map(str, line)) or 'nothing'}", where, FORMS)
        else:
            text, answer = line[pair[0]], line[pair[1]]
            if pair[0] == "instruction" and isinstance(line.get("input"), str) and line["input"]:
                text = f"{text}\n\n{line['input']}"
    if not answer.strip():
        raise LimbeckError("a record has an empty answer", where, "mend it or leave it out")
    return {"id": str(line.get("id", f"{path.stem}-{number}")), "text": text, "context": context, "answer": answer, "candidates": [[answer, 0.0]], "by": [0]}


def _last_turn(messages: Any, where: str) -> tuple[str, str, list[dict[str, str]]]:
    """The last user message, the assistant's after it, and all messages before that answer."""
    fix = "each message needs a role and a content, and the last one is the assistant's"
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise LimbeckError("messages are no list of messages", where, fix)
    turns = [{"role": str(m.get("role", m.get("from", ""))), "content": m.get("content", m.get("value"))} for m in messages]
    roles = {"human": "user", "gpt": "assistant"}
    turns = [{"role": roles.get(t["role"], t["role"]), "content": t["content"]} for t in turns]
    if not all(isinstance(t["content"], str) for t in turns):
        raise LimbeckError("a message holds no text", where, fix)
    if turns[-1]["role"] != "assistant" or len(turns) < 2:
        raise LimbeckError("the last message is not the assistant's", where, fix)
    asked = next((t["content"] for t in reversed(turns[:-1]) if t["role"] == "user"), "")
    return asked, turns[-1]["content"], turns[:-1]


def mix(sizes: Sequence[int], weights: Sequence[float], seed: int, size: int) -> list[tuple[int, int]]:
    """`size` pairs (set, record): sets in proportion to their weights all along, each set's records in an order of their own.

    A set that is used up begins anew in another order. The same arguments give the same pairs, and a shorter order is the
    beginning of a longer one.
    """
    if len(sizes) != len(weights) or not sizes or min(sizes) < 1 or min(weights) <= 0:
        raise LimbeckError("a mixture needs sets with records, and a weight above zero for each", "mix", "leave empty sets out")
    orders = [_order(seed, at, 0, count) for at, count in enumerate(sizes)]
    queue = [(0.5 / weight, at, 0) for at, weight in enumerate(weights)]  # when a set is due next; halves spread the first ones
    heapq.heapify(queue)
    out = []
    while len(out) < size:
        _, at, turn = heapq.heappop(queue)
        place = turn % sizes[at]
        if turn and not place:
            orders[at] = _order(seed, at, turn // sizes[at], sizes[at])
        out.append((at, orders[at][place]))
        heapq.heappush(queue, ((turn + 1.5) / weights[at], at, turn + 1))
    return out


def _order(seed: int, at: int, epoch: int, count: int) -> list[int]:
    return sorted(range(count), key=lambda n: hashlib.sha256(f"{seed}/{at}/{epoch}/{n}".encode()).digest())
