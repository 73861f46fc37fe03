"""The examination: one answerer, one set of examples, every answer judged and counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from limbeck.answerer import Answerer
from limbeck.evaluate.diversity import distinct_ngrams, edit_distances
from limbeck.evaluate.statistics import wilson
from limbeck.records import Answer, Example, Score, Verdict
from limbeck.task import Task

BATCH = 64
RANKS = (1, 3, 5)
Progress = Callable[[int, int], None]


def examine(task: Task, answerer: Answerer, examples: Sequence[Example], *, split: str, k: int = 5, progress: Progress | None = None) -> dict[str, Any]:
    """The result as one JSON document: scores with n, interval and missing count, and every trial."""
    trials: list[dict[str, Any]] = []
    spent = 0.0
    for start in range(0, len(examples), BATCH):
        chunk = examples[start : start + BATCH]
        began = time.process_time()
        answers = answerer.answer([e.prompt for e in chunk], k=k)
        spent += time.process_time() - began
        trials += [_trial(e, a, task.score(e, a)) for e, a in zip(chunk, answers, strict=True)]
        if progress:
            progress(len(trials), len(examples))
    return {
        "answerer": answerer.name, "parameters": answerer.parameters, "task": task.name, "version": task.version, "split": split,
        "k": k, "n": len(trials), "statuses": dict(Counter(t["status"] for t in trials)),
        "cpu_seconds_per_answer": spent / max(1, len(examples)), "scores": [asdict(s) for s in score(trials, k)], "trials": trials,
    }  # fmt: skip


def _trial(example: Example, answer: Answer, verdict: Verdict) -> dict[str, Any]:
    trial: dict[str, Any] = {
        "id": example.id, "utterance": example.prompt.text, "gold": list(example.gold), "status": verdict.status, "reason": verdict.reason,
        "candidates": [c.text for c in answer.candidates], "scores": [round(c.score, 4) for c in answer.candidates],
        "family": example.meta.get("family", ""),
    }  # fmt: skip
    trace = answer.candidates[0].meta.get("trace") if answer.candidates else None
    return trial | {name: list(values) for name, values in verdict.measures.items()} | ({"trace": trace} if trace else {})


def score(trials: Sequence[dict[str, Any]], k: int) -> list[Score]:
    """Rates over judged answers; those without an answer are counted as missing and also, apart, as wrong."""
    judged = [t for t in trials if t["status"] == "scored"]
    missing = len(trials) - len(judged)
    out = []
    for measure, label in (("execution", "top"), ("exact", "exact")):
        for rank in RANKS:
            if rank <= k:
                hits = sum(any(t[measure][:rank]) for t in judged)
                out.append(_rate(f"{label}-{rank}", hits, len(judged), missing))
    hits = sum(any(t["execution"][:1]) for t in judged)
    out.append(_rate("top-1 (missing wrong)", hits, len(trials), 0))
    shown = [v for t in judged for v in t["valid"]]
    out.append(_rate("valid", sum(shown), len(shown), missing))
    return out + _diversity([t["candidates"][:5] for t in judged])


def _rate(name: str, hits: float, n: int, missing: int) -> Score:
    if n == 0:
        return Score(name=name, value=None, n=0, missing=missing)
    low, high = wilson(hits, n)
    return Score(name=name, value=hits / n, n=n, low=low, high=high, missing=missing)


def _diversity(candidates: Sequence[Sequence[str]]) -> list[Score]:
    out = []
    for n in range(1, 5):
        values = [v for v in (distinct_ngrams(c, n) for c in candidates) if v is not None]
        out.append(Score(name=f"distinct-{n}", value=sum(values) / len(values) if values else None, n=len(values)))
    gaps = [g for g in map(edit_distances, candidates) if g is not None]
    for at, name in enumerate(("edit-min", "edit-mean", "edit-max")):
        out.append(Score(name=name, value=sum(g[at] for g in gaps) / len(gaps) if gaps else None, n=len(gaps)))
    return out


def value_of(result: dict[str, Any], name: str) -> dict[str, Any]:
    """One score of a result by its name."""
    return next(s for s in result["scores"] if s["name"] == name)
