"""What the teacher is asked next: requests on which the panel disagrees most (query by committee, Seung et al. 1992), against chance at equal spend."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from limbeck.errors import LimbeckError


def choose_requests(disagreement: Sequence[float], spend: int) -> list[int]:
    """Places of the `spend` requests with the most disagreement, most first; ties by place. Raises LimbeckError for a spend of nothing."""
    _check(spend)
    return sorted(range(len(disagreement)), key=lambda at: (-disagreement[at], at))[:spend]


def choose_by_chance(count: int, spend: int, seed: int = 0) -> list[int]:
    """As many places, drawn without looking: the control."""
    _check(spend)
    return random.Random(seed).sample(range(count), min(spend, count))


def _check(spend: int) -> None:
    if spend < 1:
        raise LimbeckError(f"a spend of {spend} requests buys no label", "-n", "ask for one or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """Share of bought labels that correct the panel: chosen by disagreement, and expected of chance, whose 95 % range is `low` to `high`."""

    by_disagreement: float
    by_chance: float
    low: float
    high: float
    spend: int


def worth_of(disagreement: Sequence[float], is_wrong: Sequence[bool], spend: int) -> Worth:
    """What labels bought by disagreement are worth where gold is known. Chance is exact: draws without replacement from the same requests (hypergeometric)."""
    from scipy.stats import hypergeom

    chosen = choose_requests(disagreement, spend)
    n, wrong = len(chosen), sum(map(bool, is_wrong))
    low, high = hypergeom(len(is_wrong), wrong, n).ppf([0.025, 0.975])
    return Worth(by_disagreement=sum(bool(is_wrong[at]) for at in chosen) / n, by_chance=wrong / len(is_wrong), low=float(low) / n, high=float(high) / n, spend=n) if n else Worth(by_disagreement=math.nan, by_chance=math.nan, low=math.nan, high=math.nan, spend=0)
