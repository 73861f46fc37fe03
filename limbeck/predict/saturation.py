"""Are the rungs of a ladder still near the loss of knowing nothing? There any law bends, and laws without that bend foretell too much loss.

Who knows only how often each symbol occurs has a loss of M (a unigram's, measured on the dev set). No run stays above it for long, so small rungs
leave a plateau: in logarithms their losses fall ever faster, and turn into a power law only once they lie well below M. The form, ours:

    L = E + ((M - E)^-k + (A/N^a + B/D^b)^-k)^(-1/k)

It is Chinchilla's far below M and M where little is learnt; k says how sharp the bend is. Several k and floors that fit the rungs about as well
are asked for the target; how far their answers lie apart is what the rungs do not tell. Priors: a, b 0.4 +- 0.25; floors around 0.3 and 0.1 of the lowest
loss, +- 1 in ln. Nothing here was fitted to other ladders: it refuses or widens, and gives no forecast of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from limbeck.predict.laws import Array

BENDS = (1.0, 2.0, 4.0)
FLOORS = (0.3, 0.1)  # of the lowest loss seen
SLOPE, SLOPE_WIDTH, FLOOR_WIDTH, PLACE_WIDTH = 0.4, 0.25, 1.0, 3.0
NOISE = 0.01  # of ln L at one rung
WORSE = 3.0  # of half a chi squared, scaled by the best fit's: what fits worse is not asked
APART = 1.3  # highest answer over lowest: beyond it there is no forecast


@dataclass(frozen=True, kw_only=True)
class Saturation:
    """`answers` at the target by (bend, floor); `learnt`: how much of the way from M to nothing the best rung has gone, 0 to 1."""

    ceiling: float
    lowest: float
    answers: tuple[tuple[float, float, float], ...]

    @property
    def learnt(self) -> float:
        """Of M."""
        return 1 - self.lowest / self.ceiling

    @property
    def low(self) -> float:
        """The least loss that a fitting form foretells."""
        return min(value for _, _, value in self.answers)

    @property
    def high(self) -> float:
        """The largest."""
        return max(value for _, _, value in self.answers)

    @property
    def is_open(self) -> bool:
        """Whether the forms disagree too far for a forecast."""
        return self.high > APART * self.low


def saturation(sizes: Array, data: Array, losses: Array, ceiling: float, size: float, amount: float) -> Saturation | None:
    """What the form says of a target (`size` parameters, `amount` of data) from rungs; None where M is unknown or too few rungs lie below it."""
    below = np.asarray(losses) < 0.995 * ceiling
    if not math.isfinite(ceiling) or below.sum() < 5:
        return None
    n, d, ln_l = np.log(np.asarray(sizes)[below]), np.log(np.asarray(data)[below]), np.log(np.asarray(losses)[below])
    found = [(k, share, *_fit(n, d, ln_l, ceiling, k, share * math.exp(ln_l.min()), (math.log(size), math.log(amount)))) for k in BENDS for share in FLOORS]
    best = min(cost for *_, cost in found)
    scale = max(1.0, 2 * best / max(1, below.sum() - 5))
    answers = tuple((k, share, value) for k, share, value, cost in found if cost - best <= WORSE * scale)
    return Saturation(ceiling=ceiling, lowest=float(math.exp(ln_l.min())), answers=answers)


def _fit(n: Array, d: Array, ln_l: Array, ceiling: float, k: float, floor: float, at: tuple[float, float]) -> tuple[float, float]:
    """The loss at the target, and half the sum of squares with its priors."""
    centre = n.mean(), d.mean()
    aim = np.array([0.0, SLOPE, 0.0, SLOPE, math.log(floor)])
    width = np.array([PLACE_WIDTH, SLOPE_WIDTH, PLACE_WIDTH, SLOPE_WIDTH, FLOOR_WIDTH])

    def loss(theta: Array, n: Array | float, d: Array | float) -> Array:
        lowest = min(math.exp(theta[4]), 0.99 * ceiling)
        rest = np.exp(theta[0] - theta[1] * (n - centre[0])) + np.exp(theta[2] - theta[3] * (d - centre[1]))
        return lowest + ((ceiling - lowest) ** -k + rest**-k) ** (-1 / k)

    def misses(theta: Array) -> Array:
        return np.concatenate([(np.log(loss(theta, n, d)) - ln_l) / NOISE, (theta - aim) / width])

    starts = [np.array([a, SLOPE, b, SLOPE, aim[4]]) for a in (-1.0, 1.0) for b in (-1.0, 1.0)]
    best = min((least_squares(misses, start, method="lm") for start in starts), key=lambda s: s.cost)
    return float(loss(best.x, *at)), float(best.cost)
