"""The rungs of a ladder trained one step of a run each, and the table that `limbeck predict fit` reads.

How a rung is trained and measured is handed in: this room knows no student.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.predict.plan import Candidate, Plan
from limbeck.predict.transfer import Setting
from limbeck.run import Run, Step

COLUMNS = ("run", "role", "N", "N_total", "D", "C", "loss", "loss_per_byte", "ceiling", "seed", "lr", "batch", "steps", "width", "score", "score_n", "log_pass", "seconds")
Tell = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One small run: what it is for, how it is trained, what it will cost by the plan."""

    name: str
    role: str
    seed: int
    setting: Setting
    planned: Candidate


# Trains every (rung, step) that is not done, several at once where that helps, and finishes their steps.
TrainRungs = Callable[[Sequence[tuple[Rung, Step]]], None]
# What a trained rung is worth: the columns of the table that only measuring tells (N, D, C, loss ...).
MeasureRung = Callable[[Rung, Path], Mapping[str, Any]]


def run_ladder(
    run: Run, rungs: Sequence[Rung], inputs: Mapping[str, Any], rooms: tuple[tuple[str, ...], tuple[str, ...]], train: TrainRungs, measure: MeasureRung,
    measuring: Mapping[str, Any], tell: Tell,
) -> list[dict[str, Any]]:  # fmt: skip
    """Every rung trained and measured, those that are done skipped; the rows of the table, lowest compute first.

    `inputs` and `rooms` (of training, of measuring) decide when a rung is stale; `measuring` is what its measures depend on besides.
    """
    if len({r.name for r in rungs}) < len(rungs):
        raise LimbeckError("two rungs have one name", "ladder", "give each rung a name of its own")
    pairs = []
    for rung in rungs:
        section = {"setting": asdict(rung.setting), "seed": rung.seed}
        pairs.append((rung, run.step(f"ladder/{rung.name}", section, inputs, rooms[0])))
    pending = [(rung, step) for rung, step in pairs if not _ready(step, tell)]
    if pending:
        train(pending)
    rows = []
    for rung, step in pairs:
        trained = (step.manifest() or {}).get("finished", "")
        measured = run.step(f"ladder/{rung.name}/measured", {"rung": rung.name}, {**inputs, **measuring, "trained": trained}, rooms[1])
        if not _ready(measured, tell):
            measured.write_json("row.json", {"run": rung.name, "role": rung.role, "seed": rung.seed, "lr": rung.setting.lr, "batch": rung.setting.batch, "steps": rung.setting.steps, "width": rung.setting.width, **measure(rung, step.path)})
            measured.finish()
        rows.append(json.loads((measured.path / "row.json").read_text(encoding="utf-8")))
    return sorted(rows, key=lambda row: (row["C"], row["seed"]))


def _ready(step: Step, tell: Tell) -> bool:
    done, why = step.state
    tell("skip" if done else "step", {"name": step.name, "why": why})
    if not done:
        step.begin()
    return done


def name_rungs(plan: Plan, settings: Sequence[Setting]) -> list[Rung]:
    """The plan's rungs with their settings, named by width, examples and seed."""
    return [
        Rung(name=f"w{setting.width}-e{setting.examples}-s{chosen.seed}", role=chosen.role, seed=chosen.seed, setting=setting, planned=chosen.candidate)
        for chosen, setting in zip(plan.rungs, settings, strict=True)
    ]


def table_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as CSV; what a rung has no value for is blank."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(["" if row.get(name) is None else row[name] for name in COLUMNS])
    return out.getvalue()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """A ladder's table again, numbers as numbers. Raises LimbeckError for what is no such table."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise LimbeckError("the ladder's table cannot be read", str(path), "name a run whose ladder is trained, or its runs.csv") from problem
    if not rows or not {"N", "D", "C", "loss"} <= set(rows[0]):
        raise LimbeckError("this is no table of a ladder", str(path), "it needs columns N, D, C and loss; `limbeck predict ladder` writes one")
    return [{name: _value(value) for name, value in row.items() if name} for row in rows]


def _value(text: Any) -> Any:
    if text in ("", None):
        return None
    try:
        return float(text)
    except (TypeError, ValueError):
        return text
