"""What in a table of runs should make one doubt its forecast, each said in one plain sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.predict.classical import project
from limbeck.predict.ensemble import Fitted, above_frontier
from limbeck.predict.tables import Runs

OUTLIER = 6.0  # in robust standard deviations
FAR_OFF = 0.02  # of ln L


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One doubt: a short name, what was seen and what to do about it."""

    name: str
    what: str
    fix: str


def diagnose(runs: Runs, fits: Sequence[Fitted]) -> list[Finding]:
    """The doubts that the table and its residuals give."""
    found = [*_several_experiments(runs), *_one_ratio(runs), *_few_sizes(runs)]
    law = next((f for f in fits if f.problem.law.needs != ("c",)), fits[0])
    residual = np.log(runs.losses) - law.predict(runs.sizes, runs.data, runs.compute, unique=runs.unique)
    return [*found, *_untuned(runs, residual), *_outliers(runs, residual), *_pattern(runs, residual)]


def _several_experiments(runs: Runs) -> list[Finding]:
    column, count = runs.facts.get("experiments", ("", 0))
    return [Finding(name="several experiments", what=f"column '{column}' has {count} different words: losses on different text or tokenizers lie on no one law", fix=f"keep one: --only {column}=WORD")] if count else []


def _one_ratio(runs: Runs) -> list[Finding]:
    if not runs.has_sizes:
        return []
    ratio = np.log(runs.data / runs.sizes)
    slope = np.polyfit(np.log(runs.compute), ratio, 1)
    if np.std(ratio - np.polyval(slope, np.log(runs.compute))) > 0.1:
        return []
    return [Finding(name="one ratio", what="size and data cannot be told apart: every run has the D/N that its compute dictates", fix="forecasts hold along this line only; add a small run with 4 or more times the data")]


def _few_sizes(runs: Runs) -> list[Finding]:
    count = len(np.unique(np.round(np.log(runs.sizes), 2))) if runs.has_sizes else 3
    return [] if count >= 3 else [Finding(name="few sizes", what=f"only {count} sizes: an exponent in size rests on one ratio", fix="train a third size")]


def _untuned(runs: Runs, residual: np.ndarray) -> list[Finding]:
    if not runs.has_sizes:
        return []
    sizes = np.round(np.log(runs.sizes), 2)
    kinds = np.unique(sizes)
    if len(kinds) < 4:
        return []
    best = np.array([residual[sizes == s].min() for s in kinds])
    spread = 1.4826 * np.median(np.abs(best - np.median(best)))
    rungs = [k for k, b in zip(kinds, best, strict=True) if b - np.median(best) > max(FAR_OFF, 4 * spread) and (sizes == k).sum() <= len(runs) / 3]
    return [Finding(name="untuned rung", what=f"every run of size {np.exp(k):.3g} lies {100 * (best[kinds == k][0]):.1f} % or more above the law", fix="its learning rate or batch may be off: sweep it, or leave the rung out") for k in rungs[:3]]


def _outliers(runs: Runs, residual: np.ndarray) -> list[Finding]:
    near = above_frontier(runs) < 0.1
    if near.sum() < 5:
        return []
    spread = max(0.003, 1.4826 * float(np.median(np.abs(residual[near] - np.median(residual[near])))))
    odd = np.flatnonzero(near & (np.abs(residual - np.median(residual[near])) > max(OUTLIER * spread, FAR_OFF)))
    return [Finding(name="outlier", what=f"run {i + 1} (C {runs.compute[i]:.3g}, loss {runs.losses[i]:.4g} nats) lies {100 * residual[i]:+.1f} % off the law", fix="look at its curve; it counts little in the fit, but a wrong number here hides others") for i in odd[:3]]


def _pattern(runs: Runs, residual: np.ndarray) -> list[Finding]:
    """Curvature left in the residuals: a saddle in size and data, or a bend in compute."""
    near = above_frontier(runs) < 0.1
    if not runs.has_sizes or near.sum() < 12:
        return []
    n, d = (np.log(v[near]) - np.log(v[near]).mean() for v in (runs.sizes, runs.data))
    design = np.stack([np.ones_like(n), n, d, n * n, n * d, d * d], axis=1)
    left = residual[near]
    smooth = design @ np.linalg.lstsq(design, left, rcond=None)[0]
    share = 1 - np.var(left - smooth) / max(np.var(left), 1e-12)
    if share < 0.6 or np.std(smooth) < 0.005:
        return []
    return [Finding(name="pattern", what=f"{100 * share:.0f} % of the residuals' variance is a smooth surface in size and data: no law here bends as the runs do", fix="do not trust a forecast far beyond the runs")]


def refuse_negative_floor(runs: Runs) -> None:
    """Losses that fall as if towards a loss below zero are an error: no cross-entropy does."""
    if not runs.has_sizes or len(runs) < 8:
        return
    n, d = np.log(runs.sizes) - np.log(runs.sizes).mean(), np.log(runs.data) - np.log(runs.data).mean()
    near = above_frontier(runs) < 0.2
    if near.sum() < 8:
        return
    free, where = project(n[near], d[near], runs.losses[near], negative_floor=True)
    held, _ = project(n[near], d[near], runs.losses[near])
    floor = where[np.argmin(free), 2]
    spread = np.sqrt(held.min() / near.sum())
    if floor < 0 and free.min() < NEGATIVE * held.min() and spread > 0.004:
        raise LimbeckError(
            f"the losses fall towards a negative irreducible loss ({floor:.2f} nats): no cross-entropy does", runs.name,
            "something changes with size beside size: look for other data or tokenizers at larger rungs, over-tuned top rungs, a subtracted constant, or a measure that is no loss",
        )  # fmt: skip


NEGATIVE = 0.7  # the squared error left by a free floor over that of a floor held at 0, below which it is believed: on 218 parts of ten public tables never below 0.92
