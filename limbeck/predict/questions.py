"""The questions people ask of a fit: how small, how wasteful, how dear to serve, one rung more, stop now?

Chances come from the tested intervals: half widths at the learnt levels, joined on a straight line and, past the widest, by a normal tail.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.predict.intervals import half_width, learnt, raw_spread, reach_of
from limbeck.predict.laws import Array
from limbeck.predict.scaling import FARTHEST, Fit, fit

GRID = 48
FEWEST_QUANTISED = 3
HOPELESS = 0.02  # chance at and below which stopping is advised


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A student that would do: size, data, compute (FLOP), its loss's middle, the chance of reaching the wanted loss, dollars where a price was given."""

    size: float
    data: float
    compute: float
    loss: float
    chance: float
    dollars: float | None = None
    lifetime: float | None = None  # FLOP with what is served


def middles(fitted: Fit, sizes: Array, data: Array) -> tuple[Array, Array, Array]:
    """ln L of many targets (T), their raw spread and reach."""
    compute = 6.0 * sizes * data
    return np.log(fitted.losses(sizes, data, compute)), raw_spread(fitted.spread.parts(sizes, data, compute)), reach_of(fitted.runs, compute)


def chances(fitted: Fit, loss: float, sizes: Array, data: Array) -> Array:
    """The chance that each target (T) reaches a loss in nats."""
    middle, raw, reach = middles(fitted, np.asarray(sizes, float), np.asarray(data, float))
    levels = sorted(float(level) for level in learnt()["factors"])
    halves = np.stack([half_width(raw, reach, level, len(fitted.runs)) * fitted.widening for level in levels])
    gap = math.log(loss) - middle
    inside = np.array([np.interp(abs(g), [0.0, *h], [0.0, *levels]) for g, h in zip(gap, halves.T, strict=True)])
    sigma = halves[-1] / NormalDist().inv_cdf(0.5 + levels[-1] / 2)
    tail = np.array([2 * NormalDist().cdf(abs(g) / s) - 1 for g, s in zip(gap, sigma, strict=True)])
    inside = np.where(np.abs(gap) > halves[-1], tail, inside)
    return 0.5 + 0.5 * np.sign(gap) * inside


def smallest_student(fitted: Fit, loss: float, probability: float = 0.9, most_data: float | None = None, dollars_per_flop: float | None = None) -> Answer:
    """The smallest size, then the least data (no more than `most_data`, else the table's largest D/N), that reaches a loss with a probability."""
    _need_sizes(fitted)
    _check(loss, "loss")
    if not 0.0 < probability < 1.0:
        raise LimbeckError(f"{probability} is no probability", "probability", "give one between 0 and 1, such as 0.9")
    runs = fitted.runs
    cap = float(runs.compute.max()) * 10 ** min(FARTHEST, learnt()["tested_reach"])
    best: tuple[float, float] = (0.0, 0.0)
    for size in np.geomspace(runs.sizes.min() / 4, runs.sizes.max() * 1000, GRID * 3):
        limit = min(most_data or size * float((runs.data / runs.sizes).max()), cap / (6 * size))
        if limit < size:
            continue
        data = np.geomspace(max(size / 4, limit / 1e4), limit, GRID)
        chance = chances(fitted, loss, np.full(GRID, size), data)
        best = max(best, (float(chance.max()), float(size)))
        hit = np.flatnonzero(chance >= probability)
        if len(hit):
            return _answer(fitted, float(size), float(data[hit[0]]), float(chance[hit[0]]), dollars_per_flop)
    raise LimbeckError(f"no student within {cap:.2g} FLOP reaches {loss:g} nats with a chance of {100 * probability:g} %; the best has {100 * best[0]:.0f} %", "loss", f"ask for a higher loss or a lower probability, allow more data, or add rungs beyond {runs.compute.max():.2g} FLOP")


def gap_to_best(fitted: Fit, size: float, data: float) -> dict[str, float]:
    """How far a split of compute is from the best one: both losses, the best size and data, and `wasted`: the share of the compute that
    the best split would not need for the same loss."""
    _need_sizes(fitted)
    _check(size, "size")
    _check(data, "data")
    compute, law = 6.0 * size * data, fitted.guide
    assert law is not None
    guide = lambda n, d: float(np.exp(law.predict(np.array([n]), np.array([d]), np.array([6 * n * d]))[0]))  # noqa: E731 (the law of size and data)
    here, best = guide(size, data), fitted.best_split(compute)
    low, high = compute / 1e4, compute
    for _ in range(40):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if guide(*fitted.best_split(middle)) > here else (low, middle)
    return {"loss": here, "best_loss": guide(*best), "best_size": best[0], "best_data": best[1], "compute": compute, "wasted": max(0.0, 1.0 - high / compute)}


def cheapest_to_serve(fitted: Fit, loss: float, served_tokens: float, most_data: float | None = None, dollars_per_flop: float | None = None) -> Answer:
    """The size and data that reach a loss (as likely as not) at the least 6 N D + 2 N T, T the tokens it will serve (arXiv:2401.00448)."""
    _need_sizes(fitted)
    _check(loss, "loss")
    if not served_tokens >= 0:
        raise LimbeckError(f"{served_tokens} served tokens", "served", "give a count, 0 or more")
    runs = fitted.runs
    cap = float(runs.compute.max()) * 10 ** learnt()["tested_reach"]
    sizes = np.geomspace(runs.sizes.min() / 4, runs.sizes.max() * 100, GRID * 2)
    found: list[tuple[float, float, float]] = []
    for size in sizes:
        limit = min(most_data or size * float((runs.data / runs.sizes).max()), cap / (6 * size))
        if limit < size / 4:
            continue
        data = np.geomspace(min(size / 4, limit / 1.01), limit, GRID * 2)
        hit = np.flatnonzero(fitted.losses(np.full(len(data), size), data, 6 * size * data) <= loss)
        if len(hit):
            found.append((6 * size * float(data[hit[0]]) + 2 * size * served_tokens, float(size), float(data[hit[0]])))
    if not found:
        raise LimbeckError(f"no student within {cap:.2g} FLOP and the table's D/N reaches {loss:g} nats", "loss", "ask for a higher loss or allow more data")
    lifetime, size, data = min(found)
    return replace(_answer(fitted, size, data, float(chances(fitted, loss, np.array([size]), np.array([data]))[0]), None), lifetime=lifetime, dollars=lifetime * dollars_per_flop if dollars_per_flop else None)


def quantisation_cost(measured: Sequence[Mapping[str, float]], size: float, data: float) -> dict[str, float]:
    """What quantising (to the same bits, in the same way) would add to a loss in nats, from the user's own rungs: rows with N, D and penalty.

    The form is that of arXiv:2411.04330: penalty = C D^g / N^h at fixed bits. Its published constants belong to other models and another
    way of quantising, so none is assumed: with fewer than three measured rungs the answer is that it is unknown.
    """
    rows = [(float(r["N"]), float(r["D"]), float(r["penalty"])) for r in measured if float(r["penalty"]) > 0]
    if len(rows) < FEWEST_QUANTISED:
        raise LimbeckError(f"what quantising costs is unknown: {len(rows)} rungs were measured", "quantised rungs", f"quantise {FEWEST_QUANTISED} or more of your rungs (other sizes, other D/N), measure each loss before and after, and give N, D, penalty")
    n, d, y = (np.log(np.array(v)) for v in zip(*rows, strict=True))
    centre = (n.mean(), d.mean())
    design = np.stack([np.ones_like(n), d - centre[1], centre[0] - n], axis=1)
    pull = np.diag([0.0, 0.3, 0.3])  # weak: exponents near 0.5, half as sure as one rung a factor of e away
    solution = np.linalg.solve(design.T @ design + pull, design.T @ y + pull @ np.array([0.0, 0.5, 0.5]))
    residual = float(np.sqrt(np.mean((design @ solution - y) ** 2)))
    value = float(solution @ np.array([1.0, math.log(data) - centre[1], centre[0] - math.log(size)]))
    return {"penalty": math.exp(value), "by_data": float(solution[1]), "by_size": float(solution[2]), "off": residual, "rungs": float(len(rows))}


def one_more_rung(fitted: Fit, size: float, data: float, rung: tuple[float, float], level: float = 0.9) -> dict[str, float]:
    """Is a further rung (size, data) worth training before the target? The target's half width now and with the rung at its forecast loss,
    and the rung's share of the target's compute. The gain is in reach and in resampling; what the rung may reveal is not in it."""
    _need_sizes(fitted)
    now = fitted.predict(size=size, data=data, level=level)
    n, d = rung
    _check(n, "rung")
    _check(d, "rung")
    if 6 * n * d >= now.compute:
        raise LimbeckError("the rung costs as much as the target", "rung", "name a rung below the target's compute")
    runs, loss = fitted.runs, float(fitted.losses([n], [d], [6 * n * d])[0])
    longer = replace(runs, sizes=np.append(runs.sizes, n), data=np.append(runs.data, d), compute=np.append(runs.compute, 6 * n * d), losses=np.append(runs.losses, loss), unique=None, teacher=None, scores=None, groups=())
    after = fit(longer, resamples=fitted.resamples).estimate(size, data, level=level)
    return {"half_width": math.log(now.high / now.low) / 2, "half_width_after": math.log(after.high / after.low) / 2, "share": 6 * n * d / now.compute, "loss": now.loss, "rung_loss": loss}


def on_course(fitted: Fit, size: float, data: float, seen: float, loss: float, target: float | None = None, level: float = 0.9) -> dict[str, float | bool]:
    """During a run of size and data with a decaying learning rate: the band for a run of the same size that ended at `seen` data, where `loss` lies
    in it, and the chance of reaching `target` at the end, the final forecast moved by the run's own lead or lag.

    The band is for a learning rate that had decayed by then; before the decay a run lies above it, so only a loss measured after a decay (or
    an average of weights) should be judged by it.
    """
    _need_sizes(fitted)
    if not 0 < seen <= data:
        raise LimbeckError(f"{seen:.3g} of {data:.3g} data seen", "seen", "give what the run has seen, above 0 and no more than its data")
    _check(loss, "loss")
    now, end = fitted.estimate(size, seen, level=level), fitted.estimate(size, data, level=level)
    lag = math.log(loss / now.loss)
    out: dict[str, float | bool] = {"low": now.low, "high": now.high, "loss": loss, "behind": lag, "end": end.loss * math.exp(lag), "end_forecast": end.loss}
    if target is not None:
        chance = float(chances(fitted, target * math.exp(-lag), np.array([size]), np.array([data]))[0])
        out |= {"target": target, "chance": chance, "stop": chance <= HOPELESS}
    return out


def _answer(fitted: Fit, size: float, data: float, chance: float, price: float | None) -> Answer:
    compute = 6.0 * size * data
    return Answer(size=size, data=data, compute=compute, loss=float(fitted.losses([size], [data], [compute])[0]), chance=chance, dollars=compute * price if price else None)


def _need_sizes(fitted: Fit) -> None:
    if fitted.guide is None:
        raise LimbeckError("the table knows only compute", fitted.runs.name, "add columns N and D to ask for a size")


def _check(value: float, name: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise LimbeckError(f"{name} {value} is no number above 0", name, "give one such as 2.5")
