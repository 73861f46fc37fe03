"""From a loss to a task's own score, and pass rates as the GPT-4 report forecasts them (arXiv 2303.08774; sampled until pass: 2310.03262).

Two steps: the loss on the gold answer is forecast, then a monotone link says what score goes with it: exp(-(L/s)^p), 1 where nothing is lost.
Its weak prior: an answer of n symbols is right about where each is likely, s = 2/n, p = 1. The other form: -E[log pass rate] = alpha C^-k, in
buckets of difficulty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError

Array = np.ndarray
SCALE_WIDTH, POWER_WIDTH = 0.7, 0.35  # of the link's prior, in ln
CLUMPED = 4.0  # times as much variance as independent answers would have: examples of one kind succeed together
SEEN = 0.02  # a link needs rungs that score more than this
MISSED = 0.10  # the held-out rung's score may be missed by so much, beyond its interval
SLOPE, SLOPE_WIDTH = math.log(0.25), 0.5  # prior of the pass-rate law's exponent, in ln
LEAST_SPREAD = 0.03  # of ln of a bucket's mean log pass rate
Z = 1.6449  # of a 90 % interval


@dataclass(frozen=True, kw_only=True)
class Link:
    """score = exp(-(loss/scale)^power): the mode and the covariance (2, 2) of (ln scale, ln power)."""

    scale: float
    power: float
    covariance: Array

    def score(self, loss: Array | float) -> Array:
        """The scores that go with losses."""
        return np.exp(-((np.asarray(loss, float) / self.scale) ** self.power))


@dataclass(frozen=True, kw_only=True)
class Said:
    """A quantity with its 90 % interval."""

    value: float
    low: float
    high: float


def fit_link(losses: Sequence[float], scores: Sequence[float], counts: Sequence[int], symbols: float) -> Link:
    """The link through rungs: loss per symbol, score (0 to 1) of so many examples; `symbols` is an answer's mean length."""
    loss, score, count = (np.asarray(x, float) for x in (losses, scores, counts))
    if len(loss) < 3 or not np.isfinite(loss).all() or (loss <= 0).any() or ((score < 0) | (score > 1)).any():
        raise LimbeckError("a link needs three rungs or more with losses above 0 and scores from 0 to 1", "score", "measure the task's score on the ladder's rungs")
    if float(score.max()) <= SEEN:
        raise LimbeckError(f"not predictable: no rung scores more than {100 * SEEN:.0f} % (best {100 * score.max():.1f} %)", "score", "add larger rungs: a score that no rung shows cannot be linked to a loss")
    prior, width = np.array([math.log(2.0 / symbols), 0.0]), np.array([SCALE_WIDTH, POWER_WIDTH])

    def cost(theta: Array) -> float:
        rate = np.clip(np.exp(-((loss / math.exp(theta[0])) ** math.exp(theta[1]))), 1e-6, 1 - 1e-6)
        return float(-(count / CLUMPED * (score * np.log(rate) + (1 - score) * np.log(1 - rate))).sum() + 0.5 * (((theta - prior) / width) ** 2).sum())

    from scipy.optimize import minimize

    theta = minimize(cost, prior, method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-7, "maxiter": 2000}).x
    return Link(scale=math.exp(theta[0]), power=math.exp(theta[1]), covariance=np.linalg.inv(_curvature(cost, theta)))


def _curvature(cost: Callable[[Array], float], theta: Array, step: float = 1e-3) -> Array:
    size = len(theta)
    out = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            a, b = np.eye(size)[i] * step, np.eye(size)[j] * step
            out[i, j] = (cost(theta + a + b) - cost(theta + a - b) - cost(theta - a + b) + cost(theta - a - b)) / (4 * step * step)
    return out + 1e-9 * np.eye(size)


def forecast_score(link: Link, loss: float, low: float, high: float, draws: int = 4000, seed: int = 0) -> Said:
    """The score at a forecast loss: middle, and the 90 % interval that the loss's interval and the link's own doubt give together."""
    random = np.random.default_rng(seed)
    losses = np.exp(random.normal(math.log(loss), math.log(high / low) / (2 * Z), draws))
    thetas = random.multivariate_normal([math.log(link.scale), math.log(link.power)], link.covariance, draws)
    scores = np.exp(-((losses / np.exp(thetas[:, 0])) ** np.exp(thetas[:, 1])))
    return Said(value=float(np.median(scores)), low=float(np.quantile(scores, 0.05)), high=float(np.quantile(scores, 0.95)))


def try_link(losses: Sequence[float], scores: Sequence[float], counts: Sequence[int], symbols: float) -> dict[str, float]:
    """The link without the best rung, asked for that rung at its true loss. Raises LimbeckError ("not predictable") where it is missed too far."""
    at = int(np.argmin(losses))
    rest = [i for i in range(len(losses)) if i != at]
    link = fit_link([losses[i] for i in rest], [scores[i] for i in rest], [counts[i] for i in rest], symbols)
    said = forecast_score(link, losses[at], losses[at] * 0.999, losses[at] * 1.001)
    beyond = max(said.low - scores[at], scores[at] - said.high, 0.0)
    if beyond > MISSED:
        raise LimbeckError(f"not predictable: from the other rungs the held-out rung's score is {100 * said.value:.1f} %, it was {100 * scores[at]:.1f} %", "score", "the score does not follow the loss here: look at what the rungs answer")
    return {"said": said.value, "low": said.low, "high": said.high, "came": float(scores[at])}


def sample_until_pass(passes: Callable[[int], bool], most: int) -> tuple[float, int]:
    """An unbiased estimate of the log of a pass rate, and the draws it took: -(1 + 1/2 + ... + 1/(K-1)) where draw K is the first to pass.

    `passes(number)` draws and judges one answer. After `most` draws without a pass the estimate is no more than a bound: NaN is returned for it.
    """
    total = 0.0
    for number in range(1, most + 1):
        if passes(number - 1):
            return -total, number
        total += 1.0 / number
    return math.nan, most


@dataclass(frozen=True, kw_only=True)
class PassLaw:
    """-E[log pass rate] = alpha C^-k of one bucket: ln alpha and k with their covariance, centred on the rungs' mean ln C."""

    log_alpha: float
    slope: float
    centre: float
    covariance: Array
    noise: float

    def predict(self, compute: float) -> Said:
        """-E[log pass rate] at a compute, with a 90 % interval."""
        x = math.log(compute) - self.centre
        row = np.array([1.0, -x])
        spread = math.sqrt(float(row @ self.covariance @ row) + self.noise**2)
        middle = self.log_alpha - self.slope * x
        return Said(value=math.exp(middle), low=math.exp(middle - Z * spread), high=math.exp(middle + Z * spread))


def fit_pass_law(compute: Sequence[float], misses: Sequence[float]) -> PassLaw:
    """Fit rungs' -E[log pass rate]. Raises LimbeckError where there are too few, or where it does not fall with compute."""
    x, y = np.log(np.asarray(compute, float)), np.asarray(misses, float)
    if len(x) < 3 or not np.isfinite(y).all() or (y <= 0).any():
        raise LimbeckError("not predictable: a pass-rate law needs three rungs or more where every problem is solved at least once", "pass rate", "draw more answers, or leave the hardest problems out")
    centre = float(x.mean())
    design = np.stack([np.ones_like(x), -(x - centre)], axis=1)
    slope = float(np.linalg.lstsq(design, np.log(y), rcond=None)[0][1])
    if slope <= 0:
        raise LimbeckError("not predictable: pass rates do not rise with compute over these rungs", "pass rate", "add larger rungs")
    middle, width = math.exp(SLOPE), SLOPE_WIDTH * math.exp(SLOPE)
    noise = LEAST_SPREAD
    for _ in range(3):  # residual spread and fit settle together
        precision = design.T @ design / noise**2 + np.diag([0.0, 1 / width**2])
        theta = np.linalg.solve(precision, design.T @ np.log(y) / noise**2 + np.array([0.0, middle / width**2]))
        noise = max(LEAST_SPREAD, float(np.sqrt(np.sum((np.log(y) - design @ theta) ** 2) / max(1, len(x) - 2))))
    return PassLaw(log_alpha=float(theta[0]), slope=float(theta[1]), centre=centre, covariance=np.linalg.inv(precision), noise=noise)


def difficulty_buckets(log_pass: Array, count: int = 4) -> list[Array]:
    """Problems (their places) in buckets from easy to hard by the rungs' mean log pass rate; `log_pass` is (rungs, problems), NaN never passed.

    Problems that some rung never passed are in no bucket: they cannot be estimated.
    """
    known = np.flatnonzero(np.isfinite(log_pass).all(0))
    order = known[np.argsort(-log_pass[:, known].mean(0), kind="stable")]
    return [part for part in np.array_split(order, count) if len(part)]


def forecast_passes(compute: Sequence[float], log_pass: Array, target: float, buckets: int = 4) -> list[dict[str, Any]]:
    """Each bucket's -E[log pass rate] at a target's compute, the top rung held out first: (said, came) or why it cannot be forecast."""
    order = np.argsort(compute)
    c, table = [float(compute[at]) for at in order], log_pass[order]
    out: list[dict[str, Any]] = []
    for number, places in enumerate(difficulty_buckets(table[:-1], buckets)):
        row: dict[str, Any] = {"bucket": number, "problems": len(places), "places": places.tolist()}
        misses = -table[:, places].mean(1)
        try:
            held = fit_pass_law(c[:-1], misses[:-1].tolist()).predict(c[-1])
            row["held_out"] = {"said": held.value, "low": held.low, "high": held.high, "came": float(misses[-1])}
            if not held.low / 1.25 <= misses[-1] <= held.high * 1.25:
                raise LimbeckError(f"not predictable: the held-out rung has {misses[-1]:.3g}, forecast {held.value:.3g}", "pass rate", "add rungs")
            law = fit_pass_law(c, misses.tolist())
            said = law.predict(target)
            row |= {"value": said.value, "low": said.low, "high": said.high, "k": law.slope}
        except LimbeckError as problem:
            row["refused"] = problem.what
        out.append(row)
    return out
