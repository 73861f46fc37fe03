"""Requests go to a teacher that answers in text; what passes becomes a dataset, written once, every record accounted for.

Asked with a ledger behind it, a killed run asks nothing twice: the answers are taken in the order of the requests, so the same
answers give the same bytes. What is not answered after all tries is `failed`, and too many of those stop the step.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from limbeck.distill.data_card import write_card
from limbeck.distill.keep import Draft, Draw, Kept, keep_records
from limbeck.distill.mixing import MixedSet
from limbeck.distill.near import plain
from limbeck.distill.overlap import normalise
from limbeck.distill.stage import gzip_text
from limbeck.errors import LimbeckError
from limbeck.recipe.schema import DistillSection, KeepSection, TeacherSection
from limbeck.records import Answer, Candidate, Example, Origin, Prompt, Verdict, content_id
from limbeck.run import Step, hash_file
from limbeck.task import Codec, Task

Progress = Callable[[dict[str, Any]], None]
TOLD_EVERY_S = 0.25
NONE_KEPT = "every record was refused"
APART = 0.1  # at most this share of the kept records is held out where the task has none for that


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the roof lays ready: the job, who answers (None: the task's gold), how a request is put to it, and what may not be kept.

    `origins` are all that had a hand in the records, `by` says which of them in each; `mixed` are other sets; `terms` is a paragraph;
    `judge` says whether a draw is right.
    """

    task: Task
    teacher: Any
    pose: Callable[[Prompt], Prompt]
    origins: tuple[Origin, ...]
    by: tuple[int, ...]
    codec: Codec | None = None
    contamination: Any = None
    opt_out: Any = None
    against: tuple[tuple[str, str, str], ...] | None = None
    mixed: tuple[MixedSet, ...] = ()
    terms: str = ""
    accounts: Callable[[], dict[str, Any]] = field(default=dict)
    judge: Callable[[Example, Answer], Verdict] | None = None


def distill_texts(desk: Desk, asking: TeacherSection, section: DistillSection, keep: KeepSection, step: Step, progress: Progress | None = None) -> Path:
    """The dataset's folder: data, dev, held_out and refused.jsonl.gz, origins.json, keep.json and a card."""
    examples = _requests(desk.task, section, step)
    answers = _ask(desk, examples, asking.samples, progress)
    drafts: Any = (_draft(desk, example, answer) for example, answer in zip(examples, answers, strict=True))
    if see := getattr(desk.judge, "see", None):
        drafts = list(drafts)
        see([(draft.as_example(), draw.text) for draft in drafts for draw in draft.draws])
    kept = keep_records(
        drafts, section=keep, verify=desk.task.verify if keep.verify else None, score=desk.judge, contamination=desk.contamination, opt_out=desk.opt_out,
        against=desk.against,
    )  # fmt: skip
    _check(kept, asking, step)
    records, dev, held_out = _part(desk, section, step, kept)
    if desk.codec is not None:
        records = _encode(desk.codec, records, kept)
    others, objected = _mixed(desk, keep, kept)
    _write(desk, step, records + others, dev, held_out, kept, keep, objected)
    return step.path


def _requests(task: Task, section: DistillSection, step: Step) -> list[Example]:
    """What is asked: the first ones of a split, or fresh ones."""
    if section.split:
        found = task.examples(section.split, section.prompts)
        if not found:
            raise LimbeckError(f"split {section.split!r} of task {task.name!r} is empty", "distill.split", "name another split")
        return found
    return list(islice(task.generate(step.seed("prompts"), section.prompts), section.prompts))


def _ask(desk: Desk, examples: Sequence[Example], samples: int, progress: Progress | None) -> list[Answer]:
    """One answer a request, in order, with at most `samples` draws; gold where there is no teacher."""
    if desk.teacher is None:
        bare = next((e for e in examples if not e.gold), None)
        if bare:
            raise LimbeckError(f"request {bare.id!r} has no gold answer", "teacher.model = generator", "name a teacher that answers it")
        return [Answer(prompt_id=e.prompt.id, candidates=(Candidate(text=e.gold[0]),)) for e in examples]
    answers: dict[int, Answer] = {}
    sent, told = [], 0.0
    for at, example in enumerate(examples):  # what somebody objects to is not even shown to a teacher
        why = desk.opt_out.objection(example.id, (example.prompt.text, *example.gold), example.source) if desk.opt_out else ""
        if why:
            answers[at] = Answer(prompt_id=example.prompt.id, status="refused", reason=f"not asked: {why}")
        else:
            sent.append(at)

    def done(at: int, answer: Answer) -> None:
        nonlocal told
        answers[sent[at]] = answer
        if progress and (time.monotonic() - told > TOLD_EVERY_S or len(answers) == len(examples)):  # accounts are read from a file
            told = time.monotonic()
            progress({"done": len(answers), "of": len(examples), **desk.accounts()})

    prompts = [desk.pose(examples[at].prompt) for at in sent]
    if hasattr(desk.teacher, "answer_each"):
        desk.teacher.answer_each(prompts, samples, done)
    else:
        for start in range(0, len(prompts), 64):
            for offset, answer in enumerate(desk.teacher.answer(prompts[start : start + 64], k=samples)):
                done(start + offset, answer)
    return [answers[at] for at in range(len(examples))]


def _draft(desk: Desk, example: Example, answer: Answer) -> Draft:
    posed = desk.pose(example.prompt)
    context = dict(example.prompt.context)
    if posed.text != example.prompt.text or "messages" in posed.context:  # a student that reads text is asked as its teacher was
        context["messages"] = list(posed.context.get("messages") or [{"role": "user", "content": posed.text}])
    tidy = getattr(desk.task, "tidy", str)
    many = getattr(desk.task, "many_answers", False) and desk.teacher is None
    text = example.prompt.text or str(example.prompt.context.get("document", ""))
    key = normalise(text) + "|" + content_id(dict(example.prompt.context.get("table", {})), 8) + (f"|{example.gold[0]}" if many and example.gold else "")
    return Draft(
        id=example.id, text=example.prompt.text, context={k: v for k, v in context.items() if k != "document"}, key=key, gold=example.gold, source=example.source, by=desk.by,
        draws=tuple(Draw(text=tidy(c.text), score=c.score, meta=c.meta) for c in answer.candidates), status=answer.status, reason=answer.reason, example=example,
    )  # fmt: skip


def _check(kept: Kept, asking: TeacherSection, step: Step) -> None:
    accounts = kept.accounts
    if accounts["asked"] != accounts["kept"] + sum(accounts["refused"].values()) + sum(accounts["failed"].values()):
        raise AssertionError("a record was lost between asking and keeping")
    failed = sum(accounts["failed"].values())
    if failed > asking.failed_most * accounts["asked"] and asking.when_spent == "stop":
        raise LimbeckError(f"{failed} of {accounts['asked']} requests failed: {accounts['failed']}", str(step.path), "run again: what was answered is kept and only these are asked; or raise teacher.failed_most")
    if not kept.records:
        raise LimbeckError(NONE_KEPT, str(step.path), f"reasons: {accounts['refused'] | accounts['failed']}; loosen [keep], or try another teacher")


def _part(desk: Desk, section: DistillSection, step: Step, kept: Kept) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """The records learnt from; those for dev loss; those for the examination. Apart by the task where it can, else by hash."""
    records, apart = list(kept.records), {}
    for name, purpose, count in (("dev", "dev", section.dev), ("held_out", "examination", section.held_out)):
        found = _apart(desk, step, purpose, count)
        if found is not None:
            apart[name] = found
            keys = {plain(r["text"] or r["answer"]) for r in found}  # digits as they are: other numbers make another problem
            records = [r for r in records if plain(r["text"] or r["answer"]) not in keys]
    if "dev" not in apart:
        size = max(1, min(section.dev, int(APART * len(records))))
        chosen = {r["id"] for r in sorted(records, key=lambda r: content_id([step.seed("dev"), r["id"]]))[:size]} if len(records) > 1 else set()
        apart["dev"] = [r for r in records if r["id"] in chosen] or records[:1]
        records = [r for r in records if r["id"] not in chosen]
    return records, apart["dev"], apart.get("held_out", [])


def _apart(desk: Desk, step: Step, purpose: str, count: int) -> list[dict[str, Any]] | None:
    """Examples with gold that are never trained on; None where the task has none to give."""
    apart = getattr(desk.task, "apart", None)
    try:
        found = apart(purpose) if apart else list(islice(desk.task.generate(step.seed(purpose), count), count))
    except LimbeckError:
        return None
    out = []
    for example in found[:count]:
        posed = desk.pose(example.prompt)
        context = {k: v for k, v in example.prompt.context.items() if k != "document"}
        if posed.text != example.prompt.text or "messages" in posed.context:
            context["messages"] = list(posed.context.get("messages") or [{"role": "user", "content": posed.text}])
        out.append({"id": example.id, "text": example.prompt.text, "context": context, "answer": example.gold[0], "meta": dict(example.meta)})
    return out or None


def _mixed(desk: Desk, keep: KeepSection, kept: Kept) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Records of other sets, without what people object to and what repeats a test; and how many of those there were."""
    out, first = [], len(desk.origins)
    left: Counter[str] = Counter()
    for mixed in desk.mixed:
        found = mixed.records(first)
        first += len(mixed.origins)
        hits = [[*a, *b] for a, b in zip(desk.contamination.look([r["text"] for r in found]), desk.contamination.look([r["answer"] for r in found], is_answer=True), strict=True)] if desk.contamination else [[]] * len(found)
        for record, repeats in zip(found, hits, strict=True):
            why = desk.opt_out.objection(record["id"], (record["text"], record["answer"]), mixed.name) if desk.opt_out else ""
            kept.contamination += [{"id": record["id"], "column": "mixed", "refused": keep.contaminated == "refuse", **hit.as_row()} for hit in repeats]
            if why or (repeats and keep.contaminated == "refuse"):
                left[f"objection: {why}" if why else f"repeats a test of {repeats[0].benchmark}"] += 1
            else:
                out.append(record)
    return out, dict(left)


def _encode(codec: Codec, records: list[dict[str, Any]], kept: Kept) -> list[dict[str, Any]]:
    """With their symbols, for students that write in them; what they cannot say is refused."""
    out = []
    for record in records:
        symbols = codec.encode_answer(Prompt(id=record["id"], text=record["text"], context=record["context"]), record["answer"])
        if symbols is None:
            kept.refuse(record["id"], "answer", "cannot_encode", record["text"], record["answer"])
        else:
            out.append(record | {"symbols": symbols})
    return out


def _write(desk: Desk, step: Step, records: list[dict[str, Any]], dev: list[dict[str, Any]], held_out: list[dict[str, Any]], kept: Kept, keep: KeepSection, objected: dict[str, int]) -> None:
    origins = [*desk.origins, *(origin for mixed in desk.mixed for origin in mixed.origins)]
    for name, lines in (("data", records), ("dev", dev), ("held_out", held_out), ("refused", kept.refused)):
        step.write_bytes(f"{name}.jsonl.gz", gzip_text("".join(json.dumps(r, ensure_ascii=False, default=str) + "\n" for r in lines)))
    if kept.contamination:
        step.write_text("contamination.jsonl", "".join(json.dumps(hit, ensure_ascii=False) + "\n" for hit in kept.contamination))
    step.write_json("origins.json", [asdict(origin) for origin in origins])
    facts = {**kept.accounts, "task": desk.task.name, "dev": len(dev), "held_out": len(held_out), "mixed": sum(len(m) for m in desk.mixed) - sum(objected.values()), "mixed_refused": objected, "objections": dict(desk.opt_out.count) if desk.opt_out else {}, "records": len(records), "spend": desk.accounts(), "sha256": hash_file(step.path / "data.jsonl.gz")}
    step.write_json("keep.json", facts)
    step.write_text("README.md", write_card(desk.task, desk.teacher, kept, facts, keep, origins, desk.terms))
