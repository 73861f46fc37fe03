"""Tables of runs: sizes, data, compute and losses from a CSV file, rows or columns; and what is wrong with them, said plainly."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError

MOST_ROWS = 20_000  # more are points of training curves, not runs
LEAST_SPAN = 1.5  # in compute
FEWEST = 5  # runs: fewer cannot even pose the question
UNITS = {"nats": 1.0, "bits": math.log(2.0), "bits_per_byte": math.log(2.0)}  # to nats (per token, or per byte)
NAMES = {
    "n": ("n", "params", "parameters", "model_size", "size", "num_params", "n_params", "non_embedding_params"),
    "d": ("d", "tokens", "data", "train_tokens", "num_tokens", "n_tokens", "examples"),
    "c": ("c", "flops", "flop", "compute", "training_flop", "train_flops"),
    "loss": ("loss", "val_loss", "final_loss", "eval_loss", "bpb", "bits_per_byte", "cross_entropy"),
    "u": ("u", "unique", "unique_tokens", "unique_data", "unique_d"),
    "teacher": ("teacher_loss", "loss_teacher", "l_t"),
    "embeddings": ("embeddings", "embedding_params", "n_embed"),
    "run": ("run", "run_id", "group"),
    "score": ("score", "accuracy", "pass_rate", "top1"),
}
Rows = Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]


@dataclass(frozen=True, kw_only=True)
class Runs:
    """M runs. Losses in nats (per token or byte as they came); `compute` in FLOP; `notes` say what was assumed or dropped."""

    sizes: np.ndarray
    data: np.ndarray
    compute: np.ndarray
    losses: np.ndarray
    unique: np.ndarray | None = None
    teacher: np.ndarray | None = None
    scores: np.ndarray | None = None
    groups: tuple[str, ...] = ()
    has_sizes: bool = True  # False: the table knows only compute
    notes: tuple[str, ...] = ()
    name: str = "runs"
    facts: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.losses)

    def keep(self, mask: np.ndarray) -> Runs:
        """The runs that a mask (M) picks."""
        some = lambda x: None if x is None else x[mask]  # noqa: E731
        groups = tuple(g for g, k in zip(self.groups, mask, strict=True) if k) if self.groups else ()
        return Runs(sizes=self.sizes[mask], data=self.data[mask], compute=self.compute[mask], losses=self.losses[mask], unique=some(self.unique), teacher=some(self.teacher), scores=some(self.scores), groups=groups, has_sizes=self.has_sizes, notes=self.notes, name=self.name, facts=self.facts)


EXPERIMENTS = ("dataset", "experiment", "family", "series", "study", "table", "source", "paper")  # columns that say which experiment a run is of


def read_runs(source: str | Path | Rows | Runs, columns: Mapping[str, str] | None = None, unit: str = "nats", drop_missing: bool = False, only: Mapping[str, str] | None = None) -> Runs:
    """Runs from a CSV file, a list of rows or a table of columns (a DataFrame works). `columns` maps n, d, c, loss, u, teacher, embeddings, run to names.

    Two of n, d, c suffice (C = 6 N D), and c alone gives the frontier law. A blank cell is a run that was not measured and is left out, with a
    note; a written nan is an error unless `drop_missing`. Embedding parameters, where a column has them, are taken off the sizes. `only` keeps the
    rows that have these words in these columns.
    """
    if isinstance(source, Runs):
        return source
    if unit not in UNITS:
        raise LimbeckError(f"'{unit}' is no unit of loss", "unit", f"one of {', '.join(UNITS)}")
    table, name = columns_of(source)
    for column, wanted in (only or {}).items():
        table = _rows_with(table, column, wanted, name)
    found = _match(table, columns or {}, name)
    numbers = {key: numbers_of(table[column], column, name) for key, column in found.items() if key not in ("run",)}
    notes: list[str] = []
    mask = _measured(numbers, name, drop_missing, notes)
    numbers = {key: values[mask] for key, values in numbers.items()}
    groups = tuple(str(v) for v, k in zip(table[found["run"]], mask, strict=True) if k) if "run" in found else ()
    if "embeddings" in numbers and "n" in numbers:
        numbers["n"] = numbers["n"] - numbers["embeddings"]
        notes.append("sizes are without embeddings")
    runs = _complete(numbers, groups, notes, name, UNITS[unit])
    return replace(_checked(runs), facts={**runs.facts, **_experiments(table, found)})


def _rows_with(table: Mapping[str, Any], column: str, wanted: str, name: str) -> dict[str, list[Any]]:
    if column not in table:
        raise LimbeckError(f"there is no column '{column}'", f"{name}, --only", f"the table has: {', '.join(map(str, table)) or 'nothing'}")
    kept = [at for at, value in enumerate(table[column]) if str(value).strip() == wanted]
    if not kept:
        raise LimbeckError(f"no row has {wanted!r} in column '{column}'", f"{name}, --only", f"it has: {'; '.join(sorted({str(v) for v in table[column]})[:12])}")
    return {key: [values[at] for at in kept] for key, values in table.items()}


def _experiments(table: Mapping[str, Any], found: Mapping[str, str]) -> dict[str, Any]:
    """The column, if any, that parts the rows into several experiments."""
    for column, values in table.items():
        several = len({str(v).strip() for v in values})
        if str(column).lower().strip() in EXPERIMENTS and column not in found.values() and 1 < several <= len(values) / 2:
            return {"experiments": (str(column), several)}
    return {}


def columns_of(source: Any) -> tuple[dict[str, list[Any]], str]:
    if isinstance(source, str | Path):
        path = Path(source)
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file)
                head = [h.strip() for h in next(reader, [])]
                rows = []
                for number, row in enumerate(reader, 2):
                    if number > MOST_ROWS + 1:
                        raise _too_many(str(path), f"more than {MOST_ROWS:,}")
                    if row:
                        rows.append(row)
        except (OSError, UnicodeDecodeError) as problem:
            raise LimbeckError("the table of runs cannot be read", str(path), f"name a CSV file in UTF-8 ({getattr(problem, 'strerror', None) or problem})") from problem
        for number, row in enumerate(rows, 2):
            if len(row) != len(head):
                raise LimbeckError(f"a row has {len(row)} cells, the head {len(head)}", f"{path}, row {number}", "mend the row; a comma in a name needs quotes")
        return {h: [row[j] for row in rows] for j, h in enumerate(head)}, path.name
    if hasattr(source, "to_dict"):  # a DataFrame
        source = source.to_dict("list")
    if isinstance(source, Mapping):
        table = {str(k): list(v) for k, v in source.items()}
    else:
        listed = list(source)
        if listed and not isinstance(listed[0], Mapping):
            raise LimbeckError("these are no runs", type(listed[0]).__name__, "give rows like {'N': 1e7, 'D': 2e8, 'loss': 3.1}, columns, or a CSV file")
        table = {key: [row.get(key) for row in listed] for key in dict.fromkeys(k for row in listed for k in row)}
    if table and len({len(v) for v in table.values()}) > 1:
        raise LimbeckError("the columns have unequal lengths", ", ".join(f"{k}: {len(v)}" for k, v in table.items()), "give one value a run in every column")
    if table and len(next(iter(table.values()))) > MOST_ROWS:
        raise _too_many("runs", f"{len(next(iter(table.values()))):,}")
    return table, "runs"


def _too_many(where: str, count: str) -> LimbeckError:
    return LimbeckError(f"{count} rows are points of training curves, not runs", where, f"keep the last row of every run (at most {MOST_ROWS:,}): points of one curve tell less than they seem to")


def _match(table: Mapping[str, Any], columns: Mapping[str, str], name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    lowered = {column.lower().strip().replace(" ", "_"): column for column in table}
    for key, wanted in columns.items():
        if key not in NAMES:
            raise LimbeckError(f"there is no column kind '{key}'", "columns", f"one of {', '.join(NAMES)}")
        if wanted not in table:
            raise LimbeckError(f"there is no column '{wanted}'", name, f"the table has: {', '.join(map(str, table)) or 'nothing'}")
        found[key] = wanted
    for key, words in NAMES.items():
        hit = next((lowered[w] for w in words if w in lowered), None)
        if key not in found and hit is not None:
            found[key] = hit
    if "loss" not in found or not ("c" in found or {"n", "d"} <= set(found)):
        raise LimbeckError("the table lacks loss, or both compute and size with data", name, f"name columns N, D (or C) and loss, or map them: --column loss=NAME; the table has: {', '.join(map(str, table)) or 'nothing'}")
    return found


def numbers_of(values: Sequence[Any], column: str, name: str) -> np.ndarray:
    """Floats; infinite where blank (not measured), NaN where NaN was written."""
    out = np.empty(len(values))
    for at, value in enumerate(values):
        if value is None or (isinstance(value, str) and not value.strip()):
            out[at] = -math.inf
            continue
        try:
            out[at] = float(value)
        except (TypeError, ValueError):
            raise LimbeckError(f"'{str(value)[:40]}' is no number", f"{name}, column {column}, row {at + 1}", "give plain numbers such as 1.5e9") from None
    return out


def _measured(numbers: Mapping[str, np.ndarray], name: str, drop: bool, notes: list[str]) -> np.ndarray:
    must = [key for key in ("n", "d", "c", "loss") if key in numbers]
    blank: np.ndarray = np.any([numbers[key] == -math.inf for key in must], axis=0)
    broken: np.ndarray = np.any([~np.isfinite(numbers[key]) & (numbers[key] != -math.inf) for key in must], axis=0)
    if broken.any() and not drop:
        rows = ", ".join(str(i + 1) for i in np.flatnonzero(broken)[:5])
        raise LimbeckError(f"{int(broken.sum())} of {len(broken)} runs have a value that is not finite (nan or inf)", f"{name}, row {rows}", "a diverged run is no rung: rerun it at a lower learning rate, or leave it out (--drop-missing)")
    for mask, why in ((blank, "a blank cell"), (broken, "a value that is not finite")):
        if mask.any():
            notes.append(f"{int(mask.sum())} of {len(mask)} rows left out: {why}")
    return ~np.asarray(blank | broken)


def _complete(numbers: dict[str, np.ndarray], groups: tuple[str, ...], notes: list[str], name: str, factor: float) -> Runs:
    has_sizes = ("n" in numbers and ("d" in numbers or "c" in numbers)) or ("d" in numbers and "c" in numbers)
    for key in ("n", "d", "c", "loss"):
        if key in numbers and len(numbers[key]) and numbers[key].min() <= 0:
            what = "a loss is zero or negative" if key == "loss" else f"{ {'n': 'a size', 'd': 'an amount of data', 'c': 'a compute'}[key]} is zero or negative"
            fix = "give cross-entropies (log-likelihoods need their sign turned)" if key == "loss" else "give counts above 0"
            raise LimbeckError(what, f"{name}, row {int(numbers[key].argmin()) + 1}", fix)
    if "c" not in numbers:
        numbers["c"] = 6.0 * numbers["n"] * numbers["d"]
        notes.append("compute taken as 6 N D")
    if "d" not in numbers and "n" in numbers:
        numbers["d"] = numbers["c"] / (6.0 * numbers["n"])
        notes.append("data taken as C / 6 N")
    if "n" not in numbers and "d" in numbers:
        numbers["n"] = numbers["c"] / (6.0 * numbers["d"])
        notes.append("size taken as C / 6 D")
    blank = np.full(len(numbers["loss"]), np.nan)
    u, t, s = numbers.get("u"), numbers.get("teacher"), numbers.get("score")
    return Runs(sizes=numbers.get("n", blank), data=numbers.get("d", blank), compute=numbers["c"], losses=numbers["loss"] * factor, unique=u, teacher=None if t is None else t * factor, scores=s, groups=groups, has_sizes=bool(has_sizes), notes=tuple(notes), name=name)


def _checked(runs: Runs) -> Runs:
    """The runs without repeated rows, or what is wrong with them."""
    where = runs.name
    if len(runs) < FEWEST:
        raise LimbeckError(f"{len(runs)} runs are too few to forecast from", where, f"{FEWEST} runs at the very least, of 3 or more sizes; 8 to 16 make a useful ladder")
    key = np.stack([np.nan_to_num(runs.sizes), np.nan_to_num(runs.data), runs.compute, runs.losses], axis=1)
    _, first = np.unique(key, axis=0, return_index=True)
    notes = list(runs.notes)
    if len(first) < len(runs):
        notes.append(f"{len(runs) - len(first)} repeated rows left out: a copy is not a second run")
        mask = np.zeros(len(runs), bool)
        mask[first] = True
        runs = runs.keep(mask)
    if len(runs) < FEWEST:
        raise LimbeckError(f"{len(runs)} different runs remain once {len(key) - len(runs)} repeated rows are left out", where, f"{FEWEST} runs at the very least; repeats of a run need their own losses (other seeds)")
    if runs.has_sizes and len(np.unique(np.round(np.log(runs.sizes), 6))) < 2:
        raise LimbeckError("all runs have one size", where, "what a larger model reaches cannot be seen: train 3 or more sizes; for one size and more data use `limbeck predict fit --law finetuning`")
    if runs.compute.max() < LEAST_SPAN * runs.compute.min():
        raise LimbeckError(f"the runs span only {runs.compute.max() / runs.compute.min():.1f} times in compute", where, "a ladder needs 10 times or more between its lowest and highest rung")
    _check_direction(runs, where)
    return Runs(**{**runs.__dict__, "notes": tuple(notes)})


def _check_direction(runs: Runs, where: str) -> None:
    from scipy.stats import spearmanr

    rank = float(np.asarray(spearmanr(runs.compute, runs.losses)[0]))
    top = runs.compute >= np.median(runs.compute)
    if rank > 0 and runs.losses[top].min() >= runs.losses[~top].min():
        raise LimbeckError(f"losses rise with compute (rank correlation {rank:+.2f})", where, "look for a learning rate too high at the larger sizes, over-fitting on repeated data, or a score given as a loss")
