"""What a ladder's table says of a target: loss, score and pass rates, each with an interval or with why it cannot be forecast."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.predict import capability
from limbeck.predict.diagnosis import diagnose
from limbeck.predict.ensemble import ENSEMBLE, combine, fit_ensemble, predict_all
from limbeck.predict.intervals import Spread, half_width, raw_spread, reach_of
from limbeck.predict.plan import Candidate
from limbeck.predict.saturation import Saturation, saturation
from limbeck.predict.scaling import Fit, HeldOut, fit, hold_out
from limbeck.predict.tables import Runs

SHORT = 200  # steps
TASK = tuple(replace(m, floor=0.1, floor_width=1.0, slope_width=0.6) for m in ENSEMBLE)  # a task that is learnt has little loss that cannot be learnt


def fit_ladder(rows: list[dict[str, Any]]) -> tuple[Fit, str]:
    """The table fitted with the priors of natural text or with those of a learnable task, whichever foretold the held-out rung better; which it was.

    Intervals keep the factor learnt on tables of text, and are widened where a held-out rung was missed: the top one from all others, or from
    ten (four, two) times less compute, whichever was missed by more. A test of the top rung alone once passed at 0.9 % where the target was
    then missed threefold (docs/predict_ladder.md).
    """
    plain = fit([{name: row[name] for name in ("N", "D", "C", "loss")} for row in rows])
    table, best = plain.runs, None
    for name, members in (("text", ENSEMBLE), ("task", TASK)):
        held = hold_out_rung(table, members)
        if best is None or (held and best[1] and held.error < best[1].error):
            best = name, held, members
    assert best is not None
    name, held, members = best
    fits = tuple(fit_ensemble(table, members))
    farther = hold_out(table, members)  # the top rung is near the next one: what is missed from farther below counts as well
    return Fit(table, fits, plain.resamples, tuple(diagnose(table, fits)), max((h for h in (held, farther) if h), key=lambda h: h.error, default=None)), name


def hold_out_rung(table: Runs, members: Any) -> HeldOut | None:
    """The top rung alone, forecast from all others: what a plan trains it for."""
    top = float(table.compute.max())
    target, rest = table.keep(table.compute >= 0.999 * top), table.keep(table.compute < 0.999 * top)
    if len(rest) < 4 or rest.compute.max() < 1.5 * rest.compute.min():
        return None
    where = (target.sizes, target.data, target.compute)
    fits = fit_ensemble(rest, members)
    values = combine(predict_all(fits, *where), fits)
    half = half_width(raw_spread(Spread(rest, fits, 40).parts(*where)), reach_of(rest, target.compute))
    errors = np.abs(np.expm1(values - np.log(target.losses)))
    seen = tuple({"compute": float(c), "loss": float(o), "forecast": float(np.exp(v)), "half_width": float(h)} for c, o, v, h in zip(target.compute, target.losses, values, half, strict=True))
    return HeldOut(times=float(top / rest.compute.max()), fitted=len(rest), held_out=len(target), error=float(errors.mean()), worst=float(errors.max()), half_width=float(half.mean()), targets=seen)


def forecast_table(rows: list[dict[str, Any]], target: Candidate, symbols: float, letters: float, passes: np.ndarray | None = None) -> dict[str, Any]:
    """What a ladder says of a target: each quantity with its interval, or why it cannot be forecast; the held-out rungs beside."""
    said: dict[str, Any] = {}
    tests: dict[str, Any] = {}
    fitted, priors = fit_ladder(rows)
    if fitted.held_out:
        tests["loss"] = {"times": fitted.held_out.times, "error": fitted.held_out.error, "half_width": fitted.held_out.half_width}
    bent = _bent(fitted.runs, rows, target)
    if bent:
        tests["saturation"] = {"ceiling": bent.ceiling, "learnt": bent.learnt, "low": bent.low, "high": bent.high}
    try:
        loss = fitted.predict(size=target.size, data=target.data, compute=target.compute)
        if bent:
            _refuse_open(bent)
    except LimbeckError as problem:
        return {"forecast": {name: {"refused": problem.what} for name in ("loss", "score")}, "tests": tests, "priors": priors, "doubts": [*_short_rungs(rows), *(f.what for f in fitted.findings)]}
    said["loss"] = {"value": loss.loss, "low": min(loss.low, bent.low if bent else loss.low), "high": max(loss.high, bent.high if bent else loss.high)}
    if np.isfinite(symbols):
        said["loss_per_byte"] = {name: value * symbols / letters for name, value in said["loss"].items()}
    said["score"] = _forecast_score(rows, said["loss"], symbols if np.isfinite(symbols) else letters / 3, tests)
    if passes is not None:
        said |= _forecast_passes([row["C"] for row in rows], passes, target.compute, tests)
    doubts = [*_short_rungs(rows), *(note for note in fitted.runs.notes if "left out" in note), *(f.what for f in fitted.findings), *loss.warnings]
    return {"forecast": said, "tests": tests, "priors": priors, "doubts": doubts, "reach": loss.reach, "by_law": loss.by_law}


def _bent(runs: Runs, rows: list[dict[str, Any]], target: Candidate) -> Saturation | None:
    """Whether the rungs are still near the loss of knowing nothing (column `ceiling`), and what that leaves open at the target."""
    ceilings = {float(row["ceiling"]) for row in rows if row.get("ceiling")}
    return saturation(runs.sizes, runs.data, runs.losses, ceilings.pop(), target.size, target.data) if len(ceilings) == 1 else None


def _refuse_open(bent: Saturation) -> None:
    if bent.is_open:
        raise LimbeckError(f"not predictable: knowing only how often each symbol occurs loses {bent.ceiling:.3g}, and the best rung still {bent.lowest:.3g}; laws that bend there fit the rungs about equally well and say {bent.low:.3g} to {bent.high:.3g} of the target", "ladder", "give a larger ladder (predict.share), whose rungs come further down")


def _short_rungs(rows: list[dict[str, Any]]) -> list[str]:
    steps = [float(row["steps"]) for row in rows if row.get("steps")]
    short = sum(s < SHORT for s in steps)
    return [f"{short} of {len(steps)} rungs took fewer than {SHORT} optimizer steps: they are still learning what is most frequent, and every forecast made from such rungs so far came out far too high (docs/predict_ladder.md)"] if short > len(steps) / 2 else []


def _forecast_score(rows: list[dict[str, Any]], loss: dict[str, float], symbols: float, tests: dict[str, Any]) -> dict[str, Any]:
    scored = [row for row in rows if None not in (row.get("score"), row.get("score_n"), row.get("loss"))]
    if not scored:
        return {"refused": "no rung has a score (columns score, score_n)"}
    losses, scores, counts = [row["loss"] for row in scored], [row["score"] for row in scored], [int(row["score_n"]) for row in scored]
    try:
        tests["score"] = capability.try_link(losses, scores, counts, symbols) if len(scored) > 3 else {}
        link = capability.fit_link(losses, scores, counts, symbols)
        found = capability.forecast_score(link, loss["value"], loss["low"], loss["high"])
    except LimbeckError as problem:
        return {"refused": problem.what}
    return {"value": found.value, "low": found.low, "high": found.high, "scale": link.scale, "power": link.power}


def _forecast_passes(compute: list[float], passes: np.ndarray, target: float, tests: dict[str, Any]) -> dict[str, Any]:
    """The GPT-4 form: all problems together, and by difficulty."""
    said: dict[str, Any] = {}
    for bucket in capability.forecast_passes(compute, passes, target):
        name = f"log_pass_bucket_{bucket['bucket']}"
        said[name] = {key: bucket[key] for key in ("value", "low", "high", "refused", "problems", "places") if key in bucket}
        if "held_out" in bucket:
            tests[name] = bucket["held_out"]
    return said
