"""How many examples it takes to see a difference, and how small a difference a set can show.

n = (z_{1-alpha/2} + z_power)^2 * variance / difference^2 (Miller 2024, arXiv 2411.00640, section 5), where `variance` is that of
one example's difference between the two sides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from limbeck.errors import LimbeckError
from limbeck.evaluate.quantiles import z_quantile


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Two sides, right or wrong on each example, around a rate.

    Say how they go together by `correlation` (of two single answers to one example, one of each side) or by `discordance` (the
    share of examples on which exactly one side is right); neither means two separate sets of examples. `samples` answers are
    averaged per example and side; `noise` is the share of a single answer's variance that asking again would redraw (0: the
    same answer each time; 1: all examples equally hard). Examples in groups of `group_size` with correlation `group_correlation`
    of their differences count for less.
    """

    rate: float
    correlation: float | None = None
    discordance: float | None = None
    samples: int = 1
    noise: float = 0.0
    group_size: float = 1.0
    group_correlation: float = 0.0
    alpha: float = 0.05
    power: float = 0.8

    def variance(self, difference: float = 0.0) -> float:
        """Variance of one example's difference, design effect included. Raises LimbeckError where no such data can exist."""
        self._check(difference)
        one = self.rate * (1 - self.rate)
        saved = 2 * one * self.noise * (1 - 1 / self.samples)  # what averaging over samples takes away, both sides
        if self.discordance is not None:
            variance = self.discordance - difference**2 - saved
        else:
            variance = 2 * one * (1 - (self.correlation or 0.0)) - saved
        if variance < -1e-12:
            raise LimbeckError("this much noise cannot go with sides that agree so often", f"noise {self.noise}", "lower noise or correlation, or raise discordance")
        return max(variance, 0.0) * (1 + (self.group_size - 1) * self.group_correlation)

    def _check(self, difference: float) -> None:
        shares = {"rate": self.rate, "noise": self.noise, "alpha": self.alpha, "power": self.power, "discordance": self.discordance}
        for name, value in shares.items():
            if value is not None and not 0 <= value <= 1:
                raise LimbeckError(f"{name} {value} is no share", "power", "give a number between 0 and 1 (3 points are 0.03)")
        if self.correlation is not None and not -1 <= self.correlation <= 1:
            raise LimbeckError(f"correlation {self.correlation} is none", "power", "give a number between -1 and 1")
        if self.correlation is not None and self.discordance is not None:
            raise LimbeckError("both correlation and discordance are given", "power", "give one: the other follows")
        if self.discordance is not None and self.discordance < abs(difference):
            raise LimbeckError(f"sides that differ on {self.discordance:.0%} of examples cannot be {abs(difference):.0%} apart", "discordance", "raise it, or ask for a smaller difference")
        if self.samples < 1 or self.group_size < 1:
            raise LimbeckError("samples and group_size start at 1", "power", "give at least 1")

    @property
    def _quantiles(self) -> float:
        return z_quantile(1 - self.alpha / 2) + z_quantile(self.power)


def examples_needed(difference: float, design: Design) -> int:
    """How many examples (a side, where unpaired) show this difference with the design's power. 0.03 is three points."""
    if not 0 < abs(difference) <= 1:
        raise LimbeckError(f"a difference of {difference} cannot be looked for", "power", "give a share above 0, such as 0.03 for three points")
    return max(2, math.ceil(design._quantiles**2 * design.variance(difference) / difference**2))


def smallest_difference(examples: int, design: Design) -> float:
    """The smallest difference that this many examples show with the design's power; above 1 it is out of reach."""
    if examples < 1:
        raise LimbeckError("there are no examples", "power", "give at least one")
    q2 = design._quantiles**2
    if design.discordance is None:
        return math.sqrt(q2 * design.variance() / examples)
    effect = 1 + (design.group_size - 1) * design.group_correlation  # variance is V - effect * d^2: solve n d^2 = q2 (V - effect d^2)
    return math.sqrt(q2 * design.variance() / (examples + q2 * effect))


def chance_to_see(difference: float, examples: int, design: Design) -> float:
    """The power itself: how likely this many examples show this difference at the design's alpha."""
    se = math.sqrt(design.variance(difference) / examples)
    if se == 0:
        return 1.0
    edge = z_quantile(1 - design.alpha / 2)
    return NormalDist().cdf(abs(difference) / se - edge) + NormalDist().cdf(-abs(difference) / se - edge)
