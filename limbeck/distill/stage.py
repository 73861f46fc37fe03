"""Ask a teacher about utterances that carry no gold, keep what passes, write the dataset once.

Answers are stored in shards as they come; a killed run goes on from the last whole shard and ends with the same bytes.
`asked = kept + refused` is checked, and every refusal is listed with its reason.
"""

from __future__ import annotations

import gzip
import io
import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as save_tensors

from limbeck.distill.overlap import Overlap, normalise
from limbeck.errors import LimbeckError
from limbeck.recipe.schema import DistillSection
from limbeck.records import Candidate, Example, Origin, Prompt
from limbeck.run import Step, hash_file
from limbeck.task import Codec, Task

Progress = Callable[[dict[str, Any]], None]


def distill(
    task: Task, teacher: Any, codec: Codec, section: DistillSection, step: Step, forbidden: Iterable[str], progress: Progress | None = None,
    opt_out: Any = None, origins: Sequence[Origin] = (),
) -> Path:  # fmt: skip
    """The dataset's folder. `teacher` is an Answerer, or None for the task's own gold; `forbidden` are all test texts.

    `opt_out` knows who objects to what (`objection(id, texts, source)`), `origins` are all that had a hand in every record.
    """
    overlap = Overlap(forbidden, section.ngram)
    dev = _apart(task, codec, step, "dev", section.dev, overlap, set())
    held_out = _apart(task, codec, step, "examination", section.held_out, overlap, {_key(e) for e in dev})
    seen = {_key(e, task) for e in dev + held_out}
    kept: list[dict[str, Any]] = []
    soft: list[dict[str, Any]] = []
    refused: list[dict[str, str]] = []
    asked = 0
    for shard in _shards(task, teacher, codec, section, step, progress):
        for record in shard:
            asked += 1
            reason = _refusal(record, overlap, seen) or (opt_out.objection(record["id"], (record["text"], record["answer"]), "") if opt_out else "")
            if reason:
                refused.append({"id": record["id"], "reason": reason, "text": record["text"], "answer": record.get("answer") or ""})
                continue
            seen.add(record["key"])
            soft.append(record.pop("soft", None) or {})
            kept.append({name: record[name] for name in ("id", "text", "context", "answer", "symbols", "candidates")})
    reasons = dict(sorted(Counter(r["reason"] for r in refused).items()))
    if asked != len(kept) + len(refused):
        raise AssertionError("a record was lost between asking and keeping")
    if not kept:
        raise LimbeckError("every record was refused", str(step.path), f"reasons: {reasons}; try another teacher")
    _write(step, kept, soft, refused, section, teacher is not None)
    for name, examples in (("dev", dev), ("held_out", held_out)):
        lines = [{"id": e.id, "text": e.prompt.text, "context": dict(e.prompt.context), "answer": e.gold[0], "meta": dict(e.meta)} for e in examples]
        step.write_bytes(f"{name}.jsonl.gz", gzip_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in lines)))
    step.write_json("origins.json", [asdict(origin) for origin in origins])
    facts = {"task": task.name, "asked": asked, "kept": len(kept), "refused": reasons, "dev": len(dev), "held_out": len(held_out), "sha256": hash_file(step.path / "data.jsonl.gz")}
    step.write_json("keep.json", facts)
    step.write_text("README.md", _card(task, teacher, facts))
    return step.path


def _key(example: Example, task: Task | None = None) -> str:
    """Equal keys, one record. Where people gave several answers to one request (`task.many_answers`), each is a record."""
    answer = f"|{example.gold[0]}" if example.gold and getattr(task, "many_answers", False) else ""
    return normalise(example.prompt.text) + "|" + "|".join(example.prompt.context.get("table", {}).get("headers", ())) + answer


def _apart(task: Task, codec: Codec, step: Step, purpose: str, count: int, overlap: Overlap, seen: set[str]) -> list[Example]:
    """Examples with gold, never trained on: generated from the seed of this purpose, or those a task of people's data keeps apart for it."""
    found: list[Example] = []
    apart = getattr(task, "apart", None)
    for example in apart(purpose) if apart else task.generate(step.seed(purpose), count * 2):
        fresh = _key(example) not in seen and not overlap.hits(example.prompt.text)
        if fresh and codec.encode_answer(example.prompt, example.gold[0]) is not None:
            found.append(example)
        if len(found) == count:
            break
    return found


def _shards(task: Task, teacher: Any, codec: Codec, section: DistillSection, step: Step, progress: Progress | None) -> Iterable[list[dict[str, Any]]]:
    """Answered prompts, a shard at a time; shards on disk are read, not asked again."""
    count = -(-section.prompts // section.shard)
    paths = [step.path / "asked" / f"{number:05d}.jsonl.gz" for number in range(count)]
    seed = step.seed("prompts")
    todo: deque[list[Example]] = deque()

    def missing() -> Iterator[list[Prompt]]:
        for number, path in enumerate(paths):
            if not path.exists():
                first = number * section.shard
                chunk = list(task.generate(seed, min(section.shard, section.prompts - first), first))
                todo.append(chunk)
                yield [e.prompt for e in chunk]

    answers = _answers(teacher, missing(), section)
    for number, path in enumerate(paths):
        if path.exists():
            records = [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
        else:
            pairs = next(answers)
            records = _records(task, codec, todo.popleft(), pairs)
            step.write_bytes(f"asked/{path.name}", gzip_text("".join(json.dumps(r) + "\n" for r in records)))
        if progress:
            progress({"done": min((number + 1) * section.shard, section.prompts), "of": section.prompts})
        yield records


def _answers(teacher: Any, chunks: Iterator[list[Prompt]], section: DistillSection) -> Iterator[Any]:
    """What the teacher says to each chunk; None for each where the task's gold is the answer."""
    if teacher is None:
        return (None for _ in chunks)
    if hasattr(teacher, "answer_chunks"):
        return iter(teacher.answer_chunks(chunks, section.candidates, section.soft_top))
    return (teacher.answer_with_soft(chunk, section.candidates, section.soft_top) for chunk in chunks)


def _records(task: Task, codec: Codec, chunk: Sequence[Example], pairs: Any) -> list[dict[str, Any]]:
    """One record a prompt: the best answer that passes the task's own verifier, or why none does."""
    if pairs is None:
        answered: list[Any] = [([(e.gold[0], 0.0)], None, "") for e in chunk]
    else:
        answered = [([(c.text, round(c.score, 4)) for c in a.candidates], soft, a.status) for a, soft in pairs]
    records = []
    for example, (candidates, soft, status) in zip(chunk, answered, strict=True):
        record: dict[str, Any] = {"id": example.id, "text": example.prompt.text, "context": dict(example.prompt.context), "key": _key(example, task)}
        record |= {"candidates": candidates, "answer": None, "symbols": None, "reason": "" if candidates else status or "no_answer"}
        for rank, (text, _score) in enumerate(candidates):
            check = task.verify(example.prompt, Candidate(text=text))
            record["reason"] = record["reason"] or check.reason
            if check.ok:
                record |= {"answer": text, "symbols": codec.encode_answer(example.prompt, text), "reason": ""}
                if rank == 0 and soft is not None:
                    record |= {"symbols": [int(s) for s in soft["symbols"]], "soft": _soft_json(soft)}
                break
        if record["answer"] and record["symbols"] is None:
            record["reason"] = "cannot_encode"
        records.append(record)
    return records


def _soft_json(soft: dict[str, Any]) -> dict[str, Any]:
    return {"ids": soft["top_ids"].tolist(), "logps": [[round(float(v), 3) for v in row] for row in soft["top_logps"]]}


def _refusal(record: dict[str, Any], overlap: Overlap, seen: set[str]) -> str:
    if record["reason"]:
        return record["reason"]
    if record["key"] in seen:
        return "duplicate"
    return "overlap_with_test" if overlap.hits(record["text"]) else ""


def gzip_text(text: str) -> bytes:
    """The same bytes on every machine and day: no time stamp, no name."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0, compresslevel=4) as file:
        file.write(text.encode())
    return buffer.getvalue()


def _write(
    step: Step, kept: list[dict[str, Any]], soft: list[dict[str, Any]], refused: list[dict[str, str]], section: DistillSection, has_teacher: bool
) -> None:
    step.write_bytes("data.jsonl.gz", gzip_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in kept)))
    step.write_bytes("refused.jsonl.gz", gzip_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in refused)))
    if has_teacher:
        total = sum(len(r["symbols"]) for r in kept)
        ids, logps = np.zeros((total, section.soft_top), np.int16), np.full((total, section.soft_top), -np.inf, np.float16)
        at = 0
        for record, given in zip(kept, soft, strict=True):
            length = len(record["symbols"])
            if given:
                ids[at : at + length], logps[at : at + length] = given["ids"], given["logps"]
            at += length
        step.write_bytes("soft.safetensors", save_tensors({"ids": ids, "logps": logps}))


def _card(task: Task, teacher: Any, facts: dict[str, Any]) -> str:
    """What a person should know of this data."""
    who = f"the teacher {teacher.name} ({teacher.parameters:,} parameters)" if teacher is not None else "the task's own generator (gold)"
    refusals = "\n".join(f"| {reason} | {count} |" for reason, count in facts["refused"].items())
    return (
        f"# Training data for task {task.name}, version {task.version}\n\nUtterances come from the task's generator without gold; answers from {who}. "
        f"Asked {facts['asked']}, kept {facts['kept']} ({facts['kept'] / facts['asked']:.1%}).\n\n| refused because | records |\n|---|---|\n{refusals}\n\n"
        f"Apart with gold, from seeds of their own: {facts['dev']} for dev loss, {facts['held_out']} for the examination. No record shares a run of words with a test text.\n\nSHA-256 of data.jsonl.gz: {facts['sha256']}\n"
    )
