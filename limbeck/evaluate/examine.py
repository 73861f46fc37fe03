"""The examination: one answerer, one set of examples, every answer judged and counted."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from limbeck.answerer import Answerer
from limbeck.errors import LimbeckError
from limbeck.evaluate.clustered import mean_interval
from limbeck.evaluate.diversity import distinct_ngrams, edit_distances
from limbeck.evaluate.log import TrialLog, prompt_key
from limbeck.evaluate.pass_at_k import mean_pass_at_k
from limbeck.evaluate.statistics import wilson
from limbeck.records import Answer, Example, Prompt, Score, Verdict
from limbeck.task import Task

BATCH = 64
SCHEMA = 1  # of a result: docs/result.schema.json
RANKS = (1, 3, 5)
Progress = Callable[[int, int, float], None]  # judged, of, USD spent


def examine(
    task: Task, answerer: Answerer, examples: Sequence[Example], *, split: str, k: int = 5, progress: Progress | None = None, log: TrialLog | None = None
) -> dict[str, Any]:
    """The result as one JSON document: scores with n, interval and missing count, and every trial in the examples' order.

    With a log, what it holds is not asked again. An answerer that has `answer_each` is asked everything at once.
    """
    _check_ids(task, examples)
    found = {at: trial for at, e in enumerate(examples) if log and (trial := log.find(e))}
    todo = [at for at in range(len(examples)) if at not in found]
    heed_model = getattr(answerer, "heed_model", None)
    for trial in found.values() if heed_model else ():  # a server that changed its model since then is noticed
        heed_model(trial.get("answer_meta", {}).get("model"), replayed=True)  # type: ignore[misc]
    began, cpu, judging = time.perf_counter(), time.process_time(), 0.0
    answers: dict[int, Answer] = {}
    score_all, together = getattr(task, "score_all", None), getattr(task, "judged_together", len(examples))
    spent = 0.0

    def judge(place: int, answer: Answer) -> None:
        nonlocal judging, spent
        spent += answer.cost_usd or 0.0
        if score_all:  # judged by the batch: a judge model and a sandbox take many at once
            answers[place] = answer
            if len(answers) >= together:
                judge_all()
            elif progress:
                progress(len(found) + len(answers), len(examples), spent)
            return
        entered = time.process_time()
        verdict = task.score(examples[todo[place]], answer)
        judging += time.process_time() - entered
        keep(place, answer, verdict)

    def keep(place: int, answer: Answer, verdict: Verdict) -> None:
        nonlocal judging
        entered = time.process_time()
        trial = _trial(examples[todo[place]], answer, verdict)
        found[todo[place]] = trial
        if log:
            log.append(trial)
        judging += time.process_time() - entered
        if progress:
            progress(len(found) + len(answers), len(examples), spent)

    def judge_all() -> None:
        nonlocal judging
        places, entered = sorted(answers), time.process_time()
        verdicts = score_all([examples[todo[p]] for p in places], [answers[p] for p in places]) if score_all else ()
        judging += time.process_time() - entered
        for place, verdict in zip(places, verdicts, strict=True):
            keep(place, answers.pop(place), verdict)

    try:
        _ask([examples[at].prompt for at in todo], answerer, k, judge)
        judge_all()
    finally:
        if log:
            log.flush()
    cpu_end = time.process_time()
    trials = [found[at] for at in range(len(examples))]
    hook = getattr(task, "summarise", None)
    samples = k > 1 and getattr(answerer, "draws_samples", False)
    more = hook(examples, trials) if hook else []
    scores = [*(s for s in (score_samples if samples else score)(trials, k, measures_of(task)) if s.name not in {m.name for m in more}), *more]
    costs = [t["cost_usd"] for t in trials if t.get("cost_usd") is not None]
    return {
        "schema": SCHEMA, "answerer": answerer.name, "parameters": answerer.parameters, "task": task.name, "version": task.version, "split": split,
        "settings": answerer.settings() if hasattr(answerer, "settings") else {}, "main": measures_of(task)[0],  # type: ignore[attr-defined]
        "task_settings": getattr(task, "settings", {}), "floors": _floors(task, examples),
        "k": k, "n": len(trials), "asked": len(todo), "statuses": dict(Counter(t["status"] for t in trials)),
        "cpu_seconds_per_answer": (cpu_end - cpu - judging) / max(1, len(todo)), "seconds": time.perf_counter() - began,
        "cost_usd": sum(costs) if costs else None, "notes": _notes(trials), "scores": [asdict(s) for s in scores], "trials": trials,
    }  # fmt: skip


def _notes(trials: Sequence[dict[str, Any]]) -> list[str]:
    """What a reader of the scores must know of how the answers came."""
    odd = Counter((m["asked"], m["given"], m["requests"]) for t in trials if "given" in (m := t.get("answer_meta", {})))
    gone = Counter(pair for t in trials for pair in t.get("answer_meta", {}).get("panel", {}).get("missing", {}).items())
    return [f"panel member {name} was missing from {count} of {len(trials)} answers: {reason}" for (name, reason), count in gone.most_common(5)] + [
        f"{count} prompts asked for {asked} choices and got {given}" + (f", in {requests} requests each: the server gives fewer than asked for at a time" if requests > 1 else "")
        for (asked, given, requests), count in odd.most_common(3)
    ]


def measures_of(task: Task) -> tuple[str, ...]:
    """What a task's verdicts measure; the first decides."""
    return getattr(task, "measures", ("execution", "exact"))


def _floors(task: Task, examples: Sequence[Example]) -> dict[str, list[dict[str, Any]]]:
    """What answers that cost nothing reach, where a task knows some."""
    hook = getattr(task, "floors", None)
    return {name: [asdict(s) for s in scores] for name, scores in hook(examples).items()} if hook else {}


def _check_ids(task: Task, examples: Sequence[Example]) -> None:
    double = [name for name, count in Counter(e.id for e in examples).items() if count > 1]
    if double:
        raise LimbeckError(f"{len(double)} examples share an id, the first {double[0]!r}", f"task {task.name}", "give every example an id of its own")


def _ask(prompts: Sequence[Prompt], answerer: Answerer, k: int, judge: Callable[[int, Answer], None]) -> None:
    if hasattr(answerer, "answer_each"):
        answerer.answer_each(prompts, k, judge)  # type: ignore[attr-defined]
        return
    for start in range(0, len(prompts), BATCH):
        chunk = prompts[start : start + BATCH]
        for offset, answer in enumerate(answerer.answer(chunk, k=k)):
            judge(start + offset, answer)


def _trial(example: Example, answer: Answer, verdict: Verdict) -> dict[str, Any]:
    trial: dict[str, Any] = {
        "id": example.id, "prompt_key": prompt_key(example), "utterance": example.prompt.text, "gold": list(example.gold), "status": verdict.status, "reason": verdict.reason,
        "candidates": [c.text for c in answer.candidates], "scores": [round(c.score, 4) for c in answer.candidates],
        "family": example.meta.get("family", ""),
    }  # fmt: skip
    if "messages" in example.prompt.context:
        trial["messages"] = list(example.prompt.context["messages"])
    if "cluster" in example.meta:
        trial["cluster"] = example.meta["cluster"]
    if answer.cost_usd is not None:
        trial["cost_usd"] = answer.cost_usd
    confidence = confidence_of(answer)
    if confidence is not None:
        trial["confidence"] = round(confidence, 6)
    if answer.meta:
        trial["answer_meta"] = dict(answer.meta)
    trace = answer.candidates[0].meta.get("trace") if answer.candidates else None
    return trial | {name: list(values) for name, values in verdict.measures.items()} | ({"trace": trace} if trace else {})


def confidence_of(answer: Answer) -> float | None:
    """The probability an answerer gives its first answer: among the choices it ranked, or that of the whole answer it wrote."""
    if not answer.candidates:
        return None
    first = answer.candidates[0]
    if "probability" in first.meta:
        return float(first.meta["probability"])
    return math.exp(first.score) if first.score < 0 else None


def score(trials: Sequence[dict[str, Any]], k: int, measures: Sequence[str] = ("execution", "exact")) -> list[Score]:
    """Rates over judged answers; those without an answer are counted as missing and also, apart, as wrong."""
    judged = [t for t in trials if t["status"] == "scored"]
    missing = len(trials) - len(judged)
    out = []
    for measure in measures:
        label = {"execution": "top"}.get(measure, measure)
        for rank in RANKS:
            if rank <= k:
                name = f"{label}-{rank}" if k > 1 or measures[0] == "execution" else label
                out.append(_mean(name, [max(t[measure][:rank], default=0.0) for t in judged], missing, judged))
    first = {"execution": "top-1"}.get(measures[0], measures[0] if k == 1 else f"{measures[0]}-1")
    out.append(_mean(f"{first} (missing wrong)", [max(t[measures[0]][:1], default=0.0) if t["status"] == "scored" else 0.0 for t in trials], 0, trials))
    if any("valid" in t for t in judged):
        shown = [v for t in judged for v in t["valid"]]
        out.append(_rate("valid", sum(shown), len(shown), missing))
    return out + (_diversity([t["candidates"][:5] for t in judged]) if k > 1 else [])


def score_samples(trials: Sequence[dict[str, Any]], k: int, measures: Sequence[str]) -> list[Score]:
    """Rates where k answers are draws of one model and no ranking: the mean over them, and unbiased pass@r of the first measure."""
    judged = [t for t in trials if t["status"] == "scored"]
    missing = len(trials) - len(judged)
    out = [_mean(measure, [sum(t[measure]) / len(t[measure]) for t in judged], missing, judged) for measure in measures]
    first = measures[0]
    whole = [sum(t[first]) / len(t[first]) if t["status"] == "scored" else 0.0 for t in trials]
    out.append(_mean(f"{first} (missing wrong)", whole, 0, trials))
    for rank in sorted({r for r in (1, 2, 3, 5, 10, 25, 100) if r <= k} | {k}):
        counts = [(len(t[first]), round(sum(t[first]))) for t in judged if len(t[first]) >= rank]
        if counts and set(judged[0][first]) <= {0.0, 1.0}:
            clusters = [t["cluster"] for t in judged if len(t[first]) >= rank] if all("cluster" in t for t in judged) else None
            mean, low, high = mean_pass_at_k(counts, rank, clusters)
            out.append(Score(name=f"pass@{rank}", value=mean, n=len(counts), low=low, high=high, missing=len(trials) - len(counts)))
    if any("valid" in t for t in judged):
        shown = [v for t in judged for v in t["valid"]]
        out.append(_rate("valid", sum(shown), len(shown), missing))
    return [*out, *_diversity([t["candidates"][:5] for t in judged])]


def _mean(name: str, values: Sequence[float], missing: int, trials: Sequence[dict[str, Any]]) -> Score:
    """A mean with its interval, clustered where the trials say what they share."""
    if not values:
        return Score(name=name, value=None, n=0, missing=missing)
    clusters = [t["cluster"] for t in trials] if all("cluster" in t for t in trials) else None
    mean, low, high = mean_interval(values, clusters)
    return Score(name=name, value=mean, n=len(values), low=low, high=high, missing=missing)


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
