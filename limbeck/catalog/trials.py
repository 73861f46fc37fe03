"""The estimators examined on models whose size is official, family by family left out, and the rule that combines them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from limbeck.catalog import estimators
from limbeck.catalog.estimators import Estimate, Known, fit_line, known_models, quantiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How far a method was off: factor errors at the median and the 90th percentile; `coverage` is the share of sizes inside its range."""

    method: str
    n: int
    median: float
    ninety: float
    coverage: float | None = None


@cache
def combination_trial() -> Trial:
    """Price and probe combined on each model that has both, by laws that have seen nothing of its family."""
    both = [m for m in known_models() if m.price_out_usd and m.probe_accuracy]
    errors, inside = [], 0
    spreads = (quantiles(estimators.price_law("total").errors)[1], quantiles(estimators.probe_law().errors)[1])
    for model in both:
        found = estimators.combine([_told(model, spreads[0], by="price"), _told(model, spreads[1], by="probe")])
        errors.append(max(found.value_B / model.total_B, model.total_B / found.value_B))
        inside += found.low_B <= model.total_B <= found.high_B
    median, ninety = quantiles(errors)
    return Trial(method="price and probe combined", n=len(both), median=median, ninety=ninety, coverage=inside / len(both))


def _told(model: Known, ninety: float, by: str) -> Estimate:
    """What a law fitted without the model's family says of it."""
    seen = [m for m in known_models() if (m.price_out_usd if by == "price" else m.probe_accuracy) and m.family != model.family]
    x = [math.log10(m.price_out_usd or 1) if by == "price" else m.probe_accuracy or 0 for m in seen]
    intercept, slope = fit_line(np.array(x), np.log10([m.total_B for m in seen]), inverse=by == "probe")
    mine = math.log10(model.price_out_usd or 1) if by == "price" else model.probe_accuracy or 0
    value = 10 ** (intercept + slope * mine)
    return Estimate(method=by, value_B=value, low_B=value / ninety, high_B=value * ninety, error="", caveat="")


def all_trials() -> list[Trial]:
    """Every method that has officially sized models to be tried on."""
    laws = [("price law, active parameters", estimators.price_law("active")), ("price law, total parameters", estimators.price_law("total")), ("knowledge probe, total", estimators.probe_law()), ("hidden width, total, dense models", estimators.width_law())]
    out = []
    for name, law in laws:
        median, ninety = quantiles(law.errors)
        out.append(Trial(method=name, n=law.n, median=median, ninety=ninety))
    errors = estimators.price_ratio_errors()
    median, ninety = quantiles(errors)
    return [*out, Trial(method="price ratio times a known size, active (the press's way)", n=len(errors), median=median, ninety=ninety), combination_trial()]
