"""An examination as a log that `inspect view` opens (inspect_ai's JSON format, version 2), written without inspect_ai.

Missing answers are unscored samples there (the value NaN, which its metrics leave out), with their reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from limbeck.records import content_id

FORMAT = 2
PEER = "0.3.285"  # the version whose reader this was tried with


def inspect_log(result: Mapping[str, Any], finished: datetime | None = None) -> dict[str, Any]:
    """A result of `examine` as an EvalLog. Times are ISO 8601; candidates become choices, measures one score each."""
    finished = finished or datetime.now(UTC)
    when, model = finished.isoformat(timespec="seconds"), str(result["answerer"])
    name = model if "/" in model else f"limbeck/{model}"
    run = content_id([result["task"], result["version"], result["split"], model, when], 22)
    measures = _measures(result)
    samples = [_sample(trial, measures, name) for trial in result["trials"]]
    done = result["statuses"].get("scored", 0)
    read, written = (sum(s["output"]["usage"][f"{kind}_tokens"] for s in samples if s["output"].get("usage")) for kind in ("input", "output"))
    usage = {name: {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}} if read or written else {}
    return {
        "version": FORMAT, "status": "success",
        "eval": {
            "eval_id": run, "run_id": run, "created": when, "task": f"limbeck/{result['task']}", "task_id": content_id([result["task"], result["split"]], 22), "task_version": str(result["version"]),
            "task_attribs": {}, "task_args": {"split": result["split"]}, "dataset": {"name": f"{result['task']}/{result['split']}", "samples": len(samples), "sample_ids": [s["id"] for s in samples], "shuffled": False},
            "model": name, "model_args": {}, "config": {"epochs": 1}, "packages": {}, "metadata": {"settings": result.get("settings", {}), "k": result.get("k")},
            "scorers": [{"name": m, "options": {}, "metrics": [{"name": "mean", "options": {}}]} for m in measures],
        },
        "plan": {"name": "plan", "steps": [{"solver": "generate", "params": {}}], "config": {}},
        "results": {"total_samples": len(samples), "completed_samples": len(samples), "scores": [_score(result, m, done, len(samples)) for m in measures]},
        "stats": {"started_at": when, "completed_at": when, "model_usage": usage}, "samples": samples,
    }  # fmt: skip


def log_name(log: Mapping[str, Any]) -> tuple[str, str]:
    """The file's name, as `inspect view` wants it (time_task_id.json: it lists no other), and its ending, equal for the same examination."""
    made = log["eval"]
    ending = f"_{made['task'].removeprefix('limbeck/').replace('_', '-').replace('/', '-').replace(':', '-')}_{content_id([made['task_id'], made['task_version'], made['model']], 22)}.json"
    return made["created"].replace(":", "-").replace("+", "-") + ending, ending


def _measures(result: Mapping[str, Any]) -> list[str]:
    """The names under which trials keep lists of numbers, the deciding one first."""
    kept = {n for t in result["trials"] if t["status"] == "scored" for n, v in t.items() if isinstance(v, list) and v and all(isinstance(x, float) for x in v)} - {"scores"}
    return [result["main"], *sorted(kept - {result["main"]})]


def _score(result: Mapping[str, Any], measure: str, done: int, n: int) -> dict[str, Any]:
    """A measure's rate over scored samples, and what limbeck says of it (interval, missing)."""
    values = [t[measure][0] for t in result["trials"] if t["status"] == "scored" and t.get(measure)]
    mean = sum(values) / len(values) if values else float("nan")
    ours = [s for s in result["scores"] if s["name"].split("-")[0].split(" ")[0] == {"execution": "top"}.get(measure, measure)]
    return {"name": measure, "scorer": measure, "scored_samples": done, "unscored_samples": n - done, "params": {}, "metrics": {"mean": {"name": "mean", "value": mean}}, "metadata": {"limbeck": ours}}


def _sample(trial: Mapping[str, Any], measures: list[str], model: str) -> dict[str, Any]:
    asked = [{"role": m["role"], "content": str(m["content"])} for m in trial.get("messages") or [{"role": "user", "content": trial["utterance"]}]]
    choices = [{"message": {"role": "assistant", "content": c, "source": "generate", "model": model}, "stop_reason": "stop"} for c in trial["candidates"]]
    tokens = (trial.get("answer_meta") or {}).get("tokens") or {}
    output: dict[str, Any] = {"model": model, "choices": choices, "completion": trial["candidates"][0] if trial["candidates"] else ""}
    if isinstance(tokens.get("prompt"), int) and isinstance(tokens.get("completion"), int):
        output["usage"] = {"input_tokens": tokens["prompt"], "output_tokens": tokens["completion"], "total_tokens": tokens["prompt"] + tokens["completion"]}
    scored = trial["status"] == "scored"
    scores = {
        m: {"value": trial[m][0] if scored and trial.get(m) else float("nan"), "answer": output["completion"][:2000], "explanation": trial["reason"] or None, "metadata": {"status": trial["status"], "all": trial.get(m, [])}} | ({} if scored else {"reason": trial["status"]})
        for m in measures
    }  # fmt: skip
    return {"id": trial["id"], "epoch": 1, "input": asked if len(asked) > 1 else asked[0]["content"], "target": list(trial["gold"]), "messages": [*asked, *(c["message"] for c in choices[:1])], "output": output, "scores": scores, "metadata": {k: trial[k] for k in ("family", "cluster", "confidence") if trial.get(k) not in (None, "")}}
