"""Ways to guess a hidden size, each with the error it makes on models whose size is official. None is a fact.

A factor error of 2 says: off by two times, either way. Errors are those on families that the law was not fitted on (Llama left
out, then Qwen, ...): a vendor nobody has seen is what a law is used for. `trials.py` measures them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from limbeck.catalog.facts import Claim, load_claims, load_open_models

FEWEST = 4  # models that a law is fitted on


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A range in billions of parameters and what stands behind it. `of` says which parameters: total or active."""

    method: str
    value_B: float
    low_B: float
    high_B: float
    error: str
    caveat: str
    of: str = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A model of official size, in billions, with what an outsider can see of it."""

    model: str
    family: str
    total_B: float
    active_B: float
    price_out_usd: float | None = None
    probe_accuracy: float | None = None
    width: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """log10 B = intercept + slope x, with its factor errors on families left out and the x it has seen."""

    intercept: float
    slope: float
    n: int
    errors: tuple[float, ...]
    seen: tuple[float, float]

    def predict(self, x: float) -> float:
        """Billions of parameters."""
        return 10 ** (self.intercept + self.slope * x)


@cache
def known_models() -> tuple[Known, ...]:
    """Officially sized models with a price, a probe's accuracy or a width, by name."""
    facts = {row.model: row for row in load_open_models()}
    found: dict[str, Known] = {}
    for claim in load_claims():
        if claim.standing != "official" or not claim.total_B or claim.model in found:
            continue
        row = facts.get(claim.model)
        price = (row.price_out_usd if row else None) or (None if row else claim.price_out_usd)  # a model that many host: the median of their prices
        if row or price:
            found[claim.model] = Known(
                model=claim.model, family=row.family if row else claim.model.split("-")[0], total_B=claim.total_B, active_B=claim.active_B or claim.total_B,
                price_out_usd=price, probe_accuracy=row.probe_accuracy if row else None, width=row.width if row else None,
            )  # fmt: skip
    return tuple(found.values())


def fit_line(x: np.ndarray, y: np.ndarray, inverse: bool = False) -> tuple[float, float]:
    """(intercept, slope) of y on x; `inverse` fits x on y and turns it round, as a probe is calibrated: size is what is known there."""
    if inverse:
        slope, intercept = np.polyfit(y, x, 1)
        return float(-intercept / slope), float(1 / slope)
    slope, intercept = np.polyfit(x, y, 1)
    return float(intercept), float(slope)


def fit_law(x: Sequence[float], sizes_B: Sequence[float], families: Sequence[str], inverse: bool = False) -> Law:
    """A law, and what it errs by on each family when it is fitted without it. Raises ValueError below four models."""
    if len(x) < FEWEST:
        raise ValueError("a law needs four models of official size")
    xs, ys, errors = np.asarray(x, float), np.log10(sizes_B), []
    for at, family in enumerate(families):
        keep = np.array([other != family for other in families])
        if keep.sum() < FEWEST - 1 or np.ptp(xs[keep]) == 0:
            keep = np.arange(len(xs)) != at
        intercept, slope = fit_line(xs[keep], ys[keep], inverse)
        errors.append(float(10 ** abs(intercept + slope * xs[at] - ys[at])))
    intercept, slope = fit_line(xs, ys, inverse)
    return Law(intercept=intercept, slope=slope, n=len(xs), errors=tuple(errors), seen=(float(xs.min()), float(xs.max())))


@cache
def price_law(of: str = "active") -> Law:
    """Size on the logarithm of USD per million output tokens: `of` is active (what a token costs to compute) or total."""
    known = [m for m in known_models() if m.price_out_usd]
    return fit_law([math.log10(m.price_out_usd or 1) for m in known], [m.active_B if of == "active" else m.total_B for m in known], [m.family for m in known])


@cache
def probe_law() -> Law:
    """Total size on the share of rarely told facts a model knows (IKP, arXiv:2604.24827)."""
    known = [m for m in known_models() if m.probe_accuracy]
    return fit_law([m.probe_accuracy or 0 for m in known], [m.total_B for m in known], [m.family for m in known], inverse=True)


@cache
def width_law() -> Law:
    """Size of a dense model on the logarithm of its hidden width, which its logits give away."""
    known = [m for m in known_models() if m.width]
    return fit_law([math.log10(m.width or 1) for m in known], [m.total_B for m in known], [m.family for m in known])


def price_ratio_errors(known: Sequence[tuple[float, float]] | None = None) -> list[float]:
    """The press's arithmetic (40 % of the price, so 40 % of the size) tried on all ordered pairs of (size, price), officially sized."""
    pairs = [(m.active_B, m.price_out_usd) for m in known_models() if m.price_out_usd] if known is None else list(known)
    return [max(guess / size, size / guess) for (size, price), (other, reference) in itertools.permutations(pairs, 2) for guess in (other * price / reference,)]


def quantiles(errors: Sequence[float]) -> tuple[float, float]:
    """Median and 90th percentile."""
    return float(np.quantile(errors, 0.5)), float(np.quantile(errors, 0.9))


def throughput_bound(tokens_per_s: float, bandwidth_gb_s: float, gpus: int = 1, bytes_per_weight: float = 2.0) -> float:
    """The most active parameters, in billions, that memory bandwidth allows at this decode speed of one stream.

    Every weight is read once a token: N <= bandwidth x gpus / (tokens/s x bytes). Speculative decoding breaks the bound.
    """
    return bandwidth_gb_s * gpus / (tokens_per_s * bytes_per_weight)


def logit_rank(logits_NV: np.ndarray) -> int:
    """The hidden width seen in N > width full rows of logits: where their singular values fall off most (Carlini et al., 2024).

    Exact for a plain linear head; needs full-vocabulary logits, so it serves local models and as a test of the idea.
    """
    values = np.linalg.svd(np.asarray(logits_NV, np.float64), compute_uv=False)
    values = np.maximum(values, values[0] * 1e-14)
    return int(np.argmax(values[:-1] / values[1:]) + 1)


def estimate(claims: Sequence[Claim]) -> list[Estimate]:
    """What each method says of a model from its claims; nothing where a method lacks what it needs."""
    out = []
    price = next((c.price_out_usd for c in claims if c.price_out_usd), None)
    if price:
        for of in ("active", "total"):
            out.append(_by_law(f"price law, {of}", price_law(of), math.log10(price), of, "a vendor's margin is not in it" + _beyond(price_law(of), math.log10(price))))
        out.append(_by_ratio(price))
    for claim in claims:
        if claim.method == "knowledge probe" and claim.total_B:
            median, ninety = quantiles(probe_law().errors)
            out.append(Estimate(
                method="knowledge probe", value_B=claim.total_B, low_B=claim.total_B / ninety, high_B=claim.total_B * ninety,
                error=_error(median, ninety, probe_law().n), caveat="total of an open model that knows as much; refusals lower it",
            ))  # fmt: skip
        if claim.width:
            law = width_law()
            out.append(_by_law("hidden width", law, math.log10(claim.width), "total", f"width {claim.width:,}, if the model is dense" + _beyond(law, math.log10(claim.width))))
    out += [_by_throughput(c) for c in claims if c.tokens_per_s and c.bandwidth_gb_s]
    used = [e for e in out if e.of == "total"]
    if len(used) < 2:
        return out
    from limbeck.catalog.trials import combination_trial

    trial = combination_trial()
    tested = f"price and probe, families left out: median {trial.median:.1f}x, {100 * (trial.coverage or 0):.0f} % inside the range, n = {trial.n}"
    return [*out, replace(combine(used, _bound(out)), error=tested)]


def _error(median: float, ninety: float, n: int) -> str:
    return f"families left out: median {median:.1f}x, 90 % within {ninety:.1f}x, n = {n}"


def _by_law(method: str, law: Law, x: float, of: str, caveat: str) -> Estimate:
    median, ninety = quantiles(law.errors)
    value = law.predict(x)
    return Estimate(method=method, value_B=value, low_B=value / ninety, high_B=value * ninety, error=_error(median, ninety, law.n), caveat=caveat, of=of)


def _beyond(law: Law, x: float) -> str:
    return "" if law.seen[0] <= x <= law.seen[1] else "; outside what the law has seen"


def _by_ratio(price: float) -> Estimate:
    """The press's arithmetic from the officially sized model of the nearest price."""
    reference = min((m for m in known_models() if m.price_out_usd), key=lambda m: abs(math.log((m.price_out_usd or 1) / price)))
    errors = price_ratio_errors()
    median, ninety = quantiles(errors)
    value = reference.active_B * price / (reference.price_out_usd or 1)
    return Estimate(
        method="price ratio", value_B=value, low_B=value / ninety, high_B=value * ninety, of="active",
        error=f"all {len(errors):,} pairs: median {median:.1f}x, 90 % within {ninety:.1f}x", caveat=f"{price:g} of {reference.price_out_usd:g} USD times the size of {reference.model}: the press's way, shown for its error",
    )  # fmt: skip


def _by_throughput(claim: Claim) -> Estimate:
    bound = throughput_bound(claim.tokens_per_s or 1, claim.bandwidth_gb_s or 1, claim.gpus or 1, claim.bytes_per_weight or 2.0)
    return Estimate(
        method="decode speed", value_B=bound, low_B=0.0, high_B=bound, of="active", error="a bound, not an estimate",
        caveat=f"at most, at {claim.tokens_per_s:g} tokens/s from {claim.bandwidth_gb_s:g} GB/s x {claim.gpus or 1}; speculative decoding breaks it",
    )  # fmt: skip


def _bound(estimates: Sequence[Estimate]) -> float:
    return min((e.high_B for e in estimates if e.method == "decode speed"), default=math.inf)


def combine(estimates: Sequence[Estimate], active_bound_B: float = math.inf) -> Estimate:
    """Estimates of the total as one: means of logarithms weighted by the inverse square of each one's 90 % error.

    The range is no narrower than that of the best of them, and at least as wide as they lie apart. A decode bound is of active
    parameters, so it cuts nothing off the total: where the whole range lies above it, that is said. `trials.py` tests the rule.
    """
    spreads = [math.log(e.high_B / e.value_B) for e in estimates]
    weights = [1 / w**2 for w in spreads]
    centre = sum(w * math.log(e.value_B) for w, e in zip(weights, estimates, strict=True)) / sum(weights)
    reach = max(min(spreads), *(abs(math.log(e.value_B) - centre) for e in estimates))
    low = math.exp(centre - reach)
    caveat = f"{len(estimates)} estimates; as wide as the best of them, or as far as they lie apart" + ("; all above the decode bound: sparse, or wrong" if low > active_bound_B else "")
    return Estimate(method="combined", value_B=math.exp(centre), low_B=low, high_B=math.exp(centre + reach), error="", caveat=caveat)
