"""`fit(runs)`: a table of runs becomes forecasts with intervals that say how often such intervals held."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.predict.classical import Chinchilla, fit_chinchilla
from limbeck.predict.diagnosis import Finding, diagnose, refuse_negative_floor
from limbeck.predict.ensemble import (
    ENSEMBLE,
    Fitted,
    above_frontier,
    best_split,
    combine,
    fit_ensemble,
    predict_all,
    single,
)
from limbeck.predict.intervals import Spread, half_width, learnt, raw_spread, reach_of
from limbeck.predict.laws import LAWS
from limbeck.predict.tables import FEWEST, Rows, Runs, read_runs
from limbeck.predict.units import refuse_mixed_units

FARTHEST = 4.5  # factors of ten beyond the largest run; further is refused
FRONTIER_LAWS = tuple(name for name in LAWS if name not in ("rectified", "distilled"))
HOPELESS = 0.10  # a held-out rung missed by more, in ln L: not predictable


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """A loss in nats with its interval. `reach`: compute over the largest run's. `parts`: standard deviations in ln L before the factor."""

    loss: float
    low: float
    high: float
    level: float
    reach: float
    size: float | None
    data: float | None
    compute: float
    parts: dict[str, float]
    by_law: dict[str, float]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The frontier runs of the top rung, forecast from runs of `times` less compute: what was seen, said, and the mean error."""

    times: float
    fitted: int
    held_out: int
    error: float  # mean absolute, relative
    worst: float
    half_width: float  # of the interval, relative; the mean
    targets: tuple[dict[str, float], ...]


@dataclass(frozen=True)
class Fit:
    """A fitted table."""

    runs: Runs
    fits: tuple[Fitted, ...]
    resamples: int = 100
    findings: tuple[Finding, ...] = ()
    held_out: HeldOut | None = None

    @cached_property
    def spread(self) -> Spread:
        """Resampled fits, made when first needed."""
        return Spread(self.runs, self.fits, self.resamples)

    @cached_property
    def chinchilla(self) -> Chinchilla | None:
        """The classical fit without priors, for comparison with published coefficients."""
        return fit_chinchilla(self.runs) if self.runs.has_sizes and len(self.runs) >= 6 else None

    @property
    def guide(self) -> Fitted | None:
        """The law that splits compute into size and data."""
        return next((f for f in self.fits if "n" in f.problem.law.needs), None)

    @property
    def widening(self) -> float:
        """At least 1: how many half widths the held-out rung was missed by."""
        return max(1.0, self.held_out.error / self.held_out.half_width) if self.held_out else 1.0

    def predict(self, *, size: float | None = None, data: float | None = None, compute: float | None = None, level: float = 0.9) -> Forecast:
        """The loss of a run beyond the table; the best split of `compute` where it alone is given.

        Raises LimbeckError where the target lies inside the data, further out than anything tested, or where the held-out rung was missed too far.
        """
        n, d, c = self._target(size, data, compute)
        largest = float(self.runs.compute.max())
        if c <= largest:
            near = int(np.argmin(np.abs(np.log(self.runs.compute / c))))
            raise LimbeckError(f"the target lies inside the data: {c:.3g} FLOP, the largest run has {largest:.3g}", "target", f"nothing needs to be forecast: a run of {self.runs.compute[near]:.3g} FLOP reached {self.runs.losses[near]:.4g} nats")
        reach = math.log10(c / largest)
        if reach > FARTHEST:
            raise LimbeckError(f"the target is {c / largest:,.0f} times beyond the largest run; intervals were tested to {10 ** learnt()['tested_reach']:,.0f} times", "target", f"add rungs up to at least {c / 10**FARTHEST:.2g} FLOP")
        if self.held_out and self.held_out.error > HOPELESS:
            raise LimbeckError(f"not predictable: the held-out rung was missed by {100 * self.held_out.error:.1f} % from only {self.held_out.times:.0f} times less compute", self.runs.name, "tune the rungs (see the findings of `limbeck predict fit`), or add rungs nearer the target")
        return self._forecast(n, d, c, level, reach)

    def estimate(self, size: float, data: float, compute: float | None = None, level: float = 0.9) -> Forecast:
        """As `predict`, also inside the data and without refusals: for curves and searches."""
        n, d, c = self._target(size, data, compute)
        return self._forecast(n, d, c, level, max(0.0, math.log10(c / float(self.runs.compute.max()))))

    def best_split(self, compute: float) -> tuple[float, float]:
        """Size and data for a compute, as the laws of size and data would choose."""
        if self.guide is None:
            raise LimbeckError("the table knows only compute", self.runs.name, "add columns N and D to ask for a size")
        return best_split(self.guide, compute)

    def losses(self, sizes: Any, data: Any, compute: Any) -> np.ndarray:
        """The middle of the forecast for many targets (T), nats."""
        n, d, c = (np.asarray(v, float) for v in (sizes, data, compute))
        return np.exp(combine(predict_all(self.fits, n, d, c), self.fits))

    def _target(self, size: float | None, data: float | None, compute: float | None) -> tuple[float, float, float]:
        for name, value in (("size", size), ("data", data), ("compute", compute)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise LimbeckError(f"{name} {value} is no target", "target", "give numbers above 0, such as 3e9")
        if size is None and data is None and compute is not None:
            n, d = self.best_split(compute) if self.guide is not None else (math.nan, math.nan)
            return n, d, compute
        if not self.runs.has_sizes:
            raise LimbeckError("the table knows only compute", "target", "ask for a compute: --target 1e21")
        if size is not None and data is not None:
            return size, data, compute or 6.0 * size * data
        if compute is not None and size is not None:
            return size, compute / (6.0 * size), compute
        if compute is not None and data is not None:
            return compute / (6.0 * data), data, compute
        raise LimbeckError("the target is half said", "target", "give a compute, or size and data")

    def _forecast(self, n: float, d: float, c: float, level: float, reach: float) -> Forecast:
        where = (np.array([n]), np.array([d]), np.array([c]))
        each = predict_all(self.fits, *where)
        parts = self.spread.parts(*where)
        half = float(half_width(raw_spread(parts), np.array([reach]), level, len(self.runs))[0]) * self.widening
        middle = float(combine(each, self.fits)[0])
        return Forecast(loss=math.exp(middle), low=math.exp(middle - half), high=math.exp(middle + half), level=level, reach=10**reach, size=None if math.isnan(n) else n, data=None if math.isnan(d) else d, compute=c,
                        parts={k: float(v[0]) for k, v in parts.items()}, by_law={f.member.law: float(np.exp(v[0])) for f, v in zip(self.fits, each, strict=True)}, warnings=tuple(self._warnings(n, d, reach)))  # fmt: skip

    def _warnings(self, n: float, d: float, reach: float) -> list[str]:
        out = []
        if reach > learnt()["tested_reach"]:
            out.append(f"{10**reach:,.0f} times beyond the largest run: intervals were tested to {10 ** learnt()['tested_reach']:,.0f} times; this one was widened without a test")
        if self.runs.has_sizes and not math.isnan(n):
            ratio, seen = math.log(d / n), np.log(self.runs.data / self.runs.sizes)
            if not seen.min() - 0.5 <= ratio <= seen.max() + 0.5:
                out.append(f"D/N of {d / n:.3g} was in no run ({math.exp(seen.min()):.3g} to {math.exp(seen.max()):.3g})")
        if self.widening > 1:
            out.append(f"the held-out rung fell outside its interval: this one is {self.widening:.1f} times as wide")
        return out

    def as_dict(self) -> dict[str, Any]:
        """What `limbeck predict fit --json` prints of the fit."""
        laws = {f.member.law: {"equation": f.problem.law.equation, "weight": f.member.weight, "prior": {p: [round(float(m), 4), float(w)] for p, m, w in zip(f.problem.law.parameters, f.problem.means, f.problem.widths, strict=True)}, "parameters": {p: float(v) for p, v in zip(f.problem.law.parameters, f.theta, strict=True)}, "noise": f.problem.noise} for f in self.fits}
        return {"runs": len(self.runs), "notes": list(self.runs.notes), "held_out": asdict(self.held_out) if self.held_out else None, "findings": [asdict(f) for f in self.findings], "laws": laws, "chinchilla": asdict(self.chinchilla) if self.chinchilla else None}


def fit(runs: str | Path | Rows | Runs, *, law: str = "ensemble", columns: Mapping[str, str] | None = None, unit: str = "nats", drop_missing: bool = False, resamples: int = 100, only: Mapping[str, str] | None = None) -> Fit:
    """Fit a table of runs: a CSV file, rows, columns, a DataFrame or `Runs`. `law`: the ensemble, or one of `laws.LAWS` alone.

    Raises LimbeckError for tables that no honest forecast can be made from.
    """
    if law != "ensemble" and law not in FRONTIER_LAWS:
        others = {"rectified": "limbeck.predict.finetuning, `--law finetuning`", "distilled": "limbeck.predict.distillation, `limbeck predict questions --teacher`"}
        raise LimbeckError(f"the law '{law}' is not for runs of size and data" if law in others else f"there is no law '{law}'", "law", others.get(law) or f"ensemble, {', '.join(FRONTIER_LAWS)}, finetuning")
    table = read_runs(runs, columns, unit, drop_missing, only)
    members = ENSEMBLE if law == "ensemble" else (single(law),)
    needs = {need for m in members for need in LAWS[m.law].needs}
    if law != "ensemble" and ((needs & {"n", "d"} and not table.has_sizes) or ("u" in needs and table.unique is None)):
        raise LimbeckError(f"the law '{law}' needs columns that the table lacks", table.name, "size and data (N, D); for repeats also the unique data (U)")
    refuse_mixed_units(table, unit)
    refuse_negative_floor(table)
    fits = tuple(fit_ensemble(table, members))
    return Fit(table, fits, resamples, tuple(diagnose(table, fits)), hold_out(table, members))


def hold_out(runs: Runs, members: Sequence[Any] = ENSEMBLE) -> HeldOut | None:
    """Forecast the top rung's frontier runs from runs of 10 (else 4, else 2) times less compute; None where too few remain."""
    top = runs.compute.max()
    target = runs.keep((runs.compute >= top / 1.5) & (above_frontier(runs) <= 0.0))
    if not len(target):
        target = runs.keep(runs.compute >= top * 0.999)
    for times in (10.0, 4.0, 2.0):
        rest = runs.keep(runs.compute <= top / times)
        if len(rest) >= FEWEST - 1 and rest.compute.max() >= 1.5 * rest.compute.min():
            break
    else:
        return None
    fits = fit_ensemble(rest, members)
    where = (target.sizes, target.data, target.compute)
    values = combine(predict_all(fits, *where), fits)
    half = half_width(raw_spread(Spread(rest, fits, 40).parts(*where)), reach_of(rest, target.compute), runs=len(rest))
    errors = np.abs(np.expm1(values - np.log(target.losses)))
    rows = tuple({"compute": float(c), "loss": float(o), "forecast": float(np.exp(v)), "half_width": float(h)} for c, o, v, h in zip(target.compute, target.losses, values, half, strict=True))
    return HeldOut(times=float(top / rest.compute.max()), fitted=len(rest), held_out=len(target), error=float(errors.mean()), worst=float(errors.max()), half_width=float(half.mean()), targets=rows)
