"""What more data for fine-tuning one model would bring: the rectified law with weak priors beside a straight line, and their median.

The law (arXiv:2402.02314) is L = B / (D_l + D^b) + E: what the model knew already counts as D_l of data, so that the curve is flat first
and steep later. A curve of one model shows its floor E badly; three priors of it are fitted, and with the straight line through the last
three points (ln L against ln D) four forecasts are made, whose median is given. Fine-tuning is far harder to extrapolate than training.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.predict.fitting import Problem, solve
from limbeck.predict.laws import LAWS, Array
from limbeck.predict.tables import UNITS, Rows, columns_of, numbers_of

FEWEST = 5
FARTHEST = 128.0  # times the largest amount of data; further is refused
FLOORS = (0.1, 0.3, 0.5)  # prior medians of E, as shares of the lowest loss seen
FLOOR_WIDTH, EXPONENT, EXPONENT_WIDTH, KNOWN_WIDTH = 0.3, 0.3, 0.6, 3.0  # the priors of docs/predict.md
MEMORY = 12.0  # points: one so many before the last counts 1/e
NAMES = {"d": ("d", "data", "examples", "tokens", "num_examples"), "loss": ("loss", "val_loss", "test_loss", "eval_loss"), "run": ("run", "model", "name", "config", "n")}


@dataclass(frozen=True, kw_only=True)
class TuningForecast:
    """A loss in nats at `data`, `times` the largest seen, with its interval."""

    run: str
    data: float
    times: float
    loss: float
    low: float
    high: float
    level: float
    by_law: dict[str, float]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One model's losses (M, nats) after fine-tuning on so many examples or tokens (M), rising in data."""

    run: str
    data: Array
    losses: Array

    def predict(self, data: float, level: float = 0.9) -> TuningForecast:
        """The loss after more data. Raises LimbeckError inside the curve and more than 128 times beyond it."""
        largest = float(self.data[-1])
        if not math.isfinite(data) or data <= largest:
            raise LimbeckError(f"the target lies inside the data: {data:,.0f}, the curve reaches {largest:,.0f}", f"--target, {self.run}", "nothing needs to be forecast; name more data than was tried")
        times = data / largest
        if times > FARTHEST:
            raise LimbeckError(f"the target is {times:,.0f} times the data tried; fine-tuning curves can be followed for 32 times, tested to {FARTHEST:g}", f"--target, {self.run}", f"fine-tune on at least {data / FARTHEST:,.0f} examples first")
        by_law = forecasts(self.data, self.losses, data)
        middle, half = float(np.median(list(by_law.values()))), max(half_width(times, level), disagreement(by_law))
        warned = () if times <= 32 else (f"{times:,.0f} times the data tried: beyond 32 times fine-tuning curves bend in ways no law foresees",)
        return TuningForecast(run=self.run, data=data, times=times, loss=middle, low=middle * math.exp(-half), high=middle * math.exp(half), level=level, by_law=by_law, warnings=warned)


@cache
def learnt() -> dict[str, Any]:
    """Half widths by how far a forecast reaches, and how they were learnt (benchmarks/scaling_finetuning.py)."""
    return json.loads((Path(__file__).parent / "finetuning.json").read_text(encoding="utf-8"))


def half_width(times: float, level: float = 0.9) -> float:
    """Half the interval in ln L, between the tested reaches on a logarithmic scale."""
    found = learnt()["half_widths"].get(f"{level:g}")
    if found is None:
        raise LimbeckError(f"no half width was learnt for {100 * level:g} % intervals", "level", f"one of {', '.join(learnt()['half_widths'])}")
    return float(np.interp(math.log(times), [math.log(float(t)) for t in found], list(found.values())))


def forecasts(data: Array, losses: Array, target: float) -> dict[str, float]:
    """The loss at a target by each of the four forecasts."""
    steps, line = np.log(data), np.polyfit(np.log(data[-3:]), np.log(losses[-3:]), 1)
    out = {f"rectified, floor {share:g}": _rectified(steps, losses, math.log(target), share) for share in FLOORS}
    return out | {"straight line": float(np.exp(np.polyval(line, math.log(target))))}


def disagreement(by_law: Mapping[str, float]) -> float:
    """Half the distance in ln L between the highest and the lowest forecast: no interval is narrower."""
    return 0.5 * math.log(max(by_law.values()) / min(by_law.values()))


def _rectified(steps: Array, losses: Array, target: float, share: float) -> float:
    law, logs, lowest, middle = LAWS["rectified"], np.log(losses), float(losses.min()), float(steps.mean())
    weights = np.exp(-(len(steps) - 1 - np.arange(len(steps))) / MEMORY)
    reducible = max(float(np.exp(logs.mean())) - share * lowest, 0.05 * lowest)
    means = np.array([math.log(2 * reducible), 0.0, math.log(share * lowest), math.log(EXPONENT)])
    widths = np.array([2.0, KNOWN_WIDTH, FLOOR_WIDTH, EXPONENT_WIDTH])
    starts = np.repeat(means[None], 4, axis=0)
    starts[1, :2] += 3.0
    starts[2, 1] -= 3.0
    starts[3, 3] -= 0.6
    problem = Problem(law=law, points={"d": steps - middle}, log_losses=logs, weights=weights, means=means, widths=widths, noise=0.01)
    thetas, values = solve(problem, starts, steps=50, tolerance=1e-5)
    value, _ = law.log_loss(thetas[[int(np.argmin(values))]], {"d": np.array([target - middle])})
    return float(np.exp(value[0, 0]))


def read_curves(source: str | Path | Rows, columns: Mapping[str, str] | None = None, unit: str = "nats") -> list[Curve]:
    """Curves of a table with columns data (or examples) and loss, and run (or model) where it holds several models."""
    if unit not in UNITS:
        raise LimbeckError(f"'{unit}' is no unit of loss", "unit", f"one of {', '.join(UNITS)}")
    table, name = columns_of(source)
    lowered = {c.lower().strip().replace(" ", "_"): c for c in table}
    found = {kind: next((lowered[w] for w in words if w in lowered), "") for kind, words in NAMES.items()} | dict(columns or {})
    for kind in ("d", "loss"):
        if found[kind] not in table:
            raise LimbeckError(f"the table lacks {'the data' if kind == 'd' else 'the loss'}", name, f"name columns data and loss, or map them: --column {kind}=NAME; the table has: {', '.join(map(str, table)) or 'nothing'}")
    data, losses = numbers_of(table[found["d"]], found["d"], name), numbers_of(table[found["loss"]], found["loss"], name) * UNITS[unit]
    runs = [str(v) for v in table[found["run"]]] if found["run"] in table else [name] * len(data)
    return [_curve(run, data[mask], losses[mask]) for run in dict.fromkeys(runs) for mask in [np.array([r == run for r in runs])]]


def _curve(run: str, data: Array, losses: Array) -> Curve:
    if np.isnan(data).any() or np.isnan(losses).any():
        raise LimbeckError("a loss or an amount of data is nan", run, "leave that row out, or measure it again")
    seen = np.isfinite(data) & np.isfinite(losses) & (data > 0)  # without fine-tuning there is no ln D
    data, losses = data[seen], losses[seen]
    order = np.unique(data, return_index=True)[1]
    data, losses = data[order], losses[order]
    if len(data) < FEWEST:
        raise LimbeckError(f"{len(data)} amounts of data are too few to forecast from", run, f"fine-tune on {FEWEST} or more, each twice the last: 200, 400, 800, ...")
    if losses.min() <= 0:
        raise LimbeckError("a loss is zero or negative", run, "give cross-entropies")
    if losses[-2:].mean() >= losses[:2].mean() or losses[-1] >= losses[-3]:
        raise LimbeckError("losses rise with data", run, "look for over-fitting (stop earlier), a learning rate too high, or a score given as a loss")
    return Curve(run=run, data=data, losses=losses)
