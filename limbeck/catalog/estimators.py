"""Ways to guess a hidden size, each with the error it makes on models whose size is official. None is a fact.

A factor error of 2 says: off by two times, either way. Errors are measured by leaving each model out in turn.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.catalog.facts import Claim, load_claims

PROBE_FACTOR = 3.51  # 90 % of vendors left out fall within it, as IKP reports (arXiv:2604.24827)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A range in billions of parameters and what stands behind it."""

    method: str
    value_B: float
    low_B: float
    high_B: float
    error: str
    caveat: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceLaw:
    """log10 B = a + b log10(USD per million output tokens), with its leave-one-out factor errors."""

    intercept: float
    slope: float
    n: int
    errors: tuple[float, ...]

    def predict(self, price_out_usd: float) -> float:
        """Billions of (active) parameters."""
        return 10 ** (self.intercept + self.slope * math.log10(price_out_usd))


def priced(claims: Sequence[Claim] | None = None) -> dict[str, tuple[float, float]]:
    """Officially sized models with a price: (active parameters in billions, USD per million output tokens)."""
    found = {}
    for claim in claims if claims is not None else load_claims():
        size = claim.active_B or claim.total_B
        if claim.standing == "official" and size and claim.price_out_usd:
            found[claim.model] = (size, claim.price_out_usd)
    return found


def fit_price_law(known: dict[str, tuple[float, float]] | None = None) -> PriceLaw:
    """Fitted on officially sized models only. Raises ValueError below four."""
    known = priced() if known is None else known
    if len(known) < 4:
        raise ValueError("a price law needs four models of official size")
    x, y = (np.log10([pair[at] for pair in known.values()]) for at in (1, 0))
    errors = []
    for left in range(len(x)):
        keep = np.arange(len(x)) != left
        slope, intercept = np.polyfit(x[keep], y[keep], 1)
        errors.append(10 ** abs(intercept + slope * x[left] - y[left]))
    slope, intercept = np.polyfit(x, y, 1)
    return PriceLaw(intercept=float(intercept), slope=float(slope), n=len(x), errors=tuple(float(e) for e in errors))


def price_ratio_errors(known: dict[str, tuple[float, float]] | None = None) -> list[float]:
    """The press's arithmetic (40 % of the price, so 40 % of the size) tried on all ordered pairs of officially sized models."""
    known = priced() if known is None else known
    pairs = itertools.permutations(known.values(), 2)
    return [_factor(size_b * price_a / price_b, size_a) for (size_a, price_a), (size_b, price_b) in pairs]


def _factor(said: float, true: float) -> float:
    return max(said / true, true / said)


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
        law = fit_price_law()
        median, ninety = quantiles(law.errors)
        value = law.predict(price)
        out.append(Estimate(
            method="price law", value_B=value, low_B=value / ninety, high_B=value * ninety,
            error=f"left out: median {median:.1f}x, 90 % within {ninety:.1f}x, n = {law.n}", caveat="active parameters; a vendor's margin is not in it",
        ))  # fmt: skip
        out.append(_by_ratio(price))
    for claim in claims:
        if claim.method == "knowledge probe" and claim.total_B:
            out.append(Estimate(
                method="knowledge probe", value_B=claim.total_B, low_B=claim.total_B / PROBE_FACTOR, high_B=claim.total_B * PROBE_FACTOR,
                error=f"IKP: 90 % within {PROBE_FACTOR}x for a vendor left out", caveat="total parameters of an open model that knows as much; refusals lower it",
            ))  # fmt: skip
    return [*out, combine(out)] if len({e.method for e in out} - {"price ratio"}) > 1 else out


def _by_ratio(price: float) -> Estimate:
    """The press's arithmetic from the officially sized model of the nearest price."""
    name, (size, reference) = min(priced().items(), key=lambda item: abs(math.log(item[1][1] / price)))
    median, ninety = quantiles(price_ratio_errors())
    value = size * price / reference
    return Estimate(
        method="price ratio", value_B=value, low_B=value / ninety, high_B=value * ninety,
        error=f"all pairs: median {median:.1f}x, 90 % within {ninety:.1f}x", caveat=f"{price:g} of {reference:g} USD times the size of {name}: the press's way, shown for its error",
    )  # fmt: skip


def combine(estimates: Sequence[Estimate]) -> Estimate:
    """Independent estimates as one: means of logarithms weighted by the inverse square of each one's 90 % error.

    The price ratio is left out: it says what the price law says, worse. Differs from a tested method: prices and knowledge of one
    model were never left out together, so the range is as wide as its narrowest part at least.
    """
    used = [e for e in estimates if e.method != "price ratio"]
    spreads = [math.log(e.high_B / e.value_B) for e in used]
    weights = [1 / w**2 for w in spreads]
    centre = sum(w * math.log(e.value_B) for w, e in zip(weights, used, strict=True)) / sum(weights)
    apart = max(abs(math.log(e.value_B) - centre) for e in used)
    reach = max(min(spreads), apart)
    return Estimate(
        method="combined", value_B=math.exp(centre), low_B=math.exp(centre - reach), high_B=math.exp(centre + reach),
        error="not tested as a whole", caveat=f"{len(used)} estimates; as wide as the best of them, or as far as they lie apart",
    )  # fmt: skip
