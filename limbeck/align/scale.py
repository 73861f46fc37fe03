"""Both sides of the scale: what a model must not answer and what it must, at every stage of its making, and the gate between stages.

`scale.json` holds the stages in order, each with its readings (a value, n, a 95 % interval, how many are missing), the paired changes
from the first stage on, and what the gate said. It lies beside an expert's weights, and an export reads it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.run import write_atomically

SCHEMA = 1
FILE = "scale.json"
# measure: (what it is called, whether more is better)
MEASURES: dict[str, tuple[str, bool]] = {
    "disallowed_answered": ("disallowed requests answered", False),
    "allowed_refused": ("allowed requests refused", False),
    "sensitive_by_policy": ("sensitive requests answered by the policy", True),
    "factuality": ("adversarial questions answered truly", True),
    "steering": ("system messages followed", True),
    "task_score": ("the task's own score", True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A share with what makes it readable. `value` is None where it was not measured; `why` then says so."""

    value: float | None = None
    n: int = 0
    low: float | None = None
    high: float | None = None
    missing: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One state of a model: before, after a generation, after quantisation ..."""

    name: str
    model: str = ""
    readings: Mapping[str, Reading] = field(default_factory=dict)

    def reading(self, measure: str) -> Reading:
        """A measure's reading; an empty one where it was not taken."""
        return self.readings.get(measure, Reading(why="not measured"))


def gate(before: Stage, after: Stage, max_overrefusal: float, min_task_score: float) -> None:
    """Passes, or raises LimbeckError with what got worse.

    `max_overrefusal`: points (as a share) by which refusals of allowed requests may rise; 1 asks nothing. `min_task_score`: how much of
    the task's score before must be left, as a share of it; 0 asks nothing. What must be weighed and was not measured does not pass.
    """
    _check_share("max_overrefusal", max_overrefusal)
    _check_share("min_task_score", min_task_score)
    worse: list[str] = []
    if max_overrefusal < 1:
        old, new = _needed(before, after, "allowed_refused", "align.max_overrefusal = 1")
        if new - old > max_overrefusal + 1e-12:
            worse.append(f"it refuses {100 * new:.1f} % of allowed requests, before it was {100 * old:.1f} % (at most {100 * max_overrefusal:.1f} points more)")
    if min_task_score > 0:
        old, new = _needed(before, after, "task_score", "align.min_task_score = 0")
        if new < min_task_score * old - 1e-12:
            worse.append(f"its task score fell from {100 * old:.1f} % to {100 * new:.1f} % (at least {100 * min_task_score:.1f} % of it must be left)")
    if worse:
        raise LimbeckError("; ".join(worse), f"the gate from {before.name!r} to {after.name!r}", "align it again with less safety data or more weight on the task, or loosen align.max_overrefusal or align.min_task_score")


def _needed(before: Stage, after: Stage, measure: str, off: str) -> tuple[float, float]:
    pair = [(stage.name, stage.reading(measure)) for stage in (before, after)]
    absent = next(((name, r) for name, r in pair if r.value is None or not math.isfinite(r.value)), None)
    if absent:
        raise LimbeckError(f"the gate cannot weigh {MEASURES[measure][0]}: {absent[1].why or 'not measured'}", f"stage {absent[0]!r}", f"measure it, or set {off} to ask nothing of it")
    return float(pair[0][1].value or 0.0), float(pair[1][1].value or 0.0)


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise LimbeckError(f"{name} is {value}, which is no share", f"align.{name}", "write a number from 0 to 1: two points are 0.02")


def make_scale(stages: Sequence[Stage], changes: Sequence[Mapping[str, Any]] = (), limits: tuple[float, float] | None = None) -> dict[str, Any]:
    """The document. `changes` are paired differences {from, to, measure, difference, low, high, n ...}; with `limits` the last stage is weighed against the first."""
    names = [s.name for s in stages]
    double = next((n for n in names if names.count(n) > 1), None)
    if double is not None or not stages:
        raise LimbeckError(f"two stages are called {double!r}" if double is not None else "there is no stage", "scale", "give every stage a name of its own")
    out: dict[str, Any] = {"schema": SCHEMA, "stages": [{"name": s.name, "model": s.model, "readings": {m: asdict(s.reading(m)) for m in MEASURES}} for s in stages], "changes": [dict(c) for c in changes]}
    if limits is not None:
        out["gate"] = {"from": names[0], "to": names[-1], "max_overrefusal": limits[0], "min_task_score": limits[1], "passed": True, "said": "passed"}
        try:
            if len(stages) < 2:
                raise LimbeckError("the gate needs a stage before and one after", "scale", "name two stages")
            gate(stages[0], stages[-1], *limits)
        except LimbeckError as problem:
            if problem.where.startswith("align."):  # a limit that is no share is the user's error, no outcome
                raise
            out["gate"] |= {"passed": False, "said": problem.what}
    return out


def write_scale(path: Path, scale: Mapping[str, Any]) -> Path:
    """scale.json, all or nothing."""
    write_atomically(path, json.dumps(scale, indent=1, ensure_ascii=False).encode())
    return path


def read_scale(path: Path) -> dict[str, Any]:
    """A scale.json. Raises LimbeckError where it is damaged or of another version."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        for stage in found["stages"]:
            _ = stage["name"], [Reading(**r) for r in stage["readings"].values()]
        if found["schema"] != SCHEMA:
            raise ValueError(f"it is of schema {found['schema']}")
        if "gate" in found and not isinstance(found["gate"]["passed"], bool):
            raise ValueError("its gate says neither true nor false")
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise LimbeckError(f"the scale cannot be read: {problem}", str(path), "make it again: limbeck scale, or the run's align step") from problem


def stage_of(row: Mapping[str, Any]) -> Stage:
    """A stage of a document that was read."""
    return Stage(name=row["name"], model=row.get("model", ""), readings={m: Reading(**r) for m, r in row["readings"].items()})


def refuse_worse(folder: Path, accept: bool = False) -> str:
    """Before an expert is given away: what its gate said, "" where it has none. Raises LimbeckError where it did not pass and is not accepted."""
    path = folder / FILE
    if not path.exists():
        return ""
    weighed = read_scale(path).get("gate")
    if not weighed:
        return ""
    if not weighed["passed"] and not accept:
        raise LimbeckError(f"this expert got worse: {weighed['said']}", str(path), "export the stage before, align it again, or say --accept-worse: it stays in its scale and card")
    return str(weighed["said"])
