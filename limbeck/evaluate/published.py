"""Our score against a published number, of which there are no single answers: both sides' sampling error counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.evaluate.clustered import Groups, clustered_error, degrees_of_freedom, group_index, rate_interval
from limbeck.evaluate.quantiles import t_cdf, t_quantile, z_quantile


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainstPublished:
    """Ours minus theirs, its interval and p. `fixed_p` takes the published number as exact: "below the line they drew"."""

    difference: float
    low: float
    high: float
    p: float
    fixed_p: float
    se_ours: float
    se_published: float
    verdict: str


def against_published(ours: Sequence[float], published: float, published_n: int | None, groups: Groups = None, level: float = 0.95) -> AgainstPublished:
    """One-sample test of our per-example scores against a published rate over `published_n` examples.

    The two are treated as independent samples even where the examples are the same, since pairs are not published: wider than a
    paired test, never narrower unless the two models fail on different examples. Without `published_n` the number is exact.
    The published rate's error is that of Agresti and Coull (two right and two wrong added), so that 100 % has one too.
    """
    if not 0 <= published <= 1:
        raise LimbeckError(f"a published rate of {published} is no share", "published", "give it between 0 and 1 (45.9 % is 0.459)")
    x = np.asarray(ours, float)
    if len(x) == 0 or (published_n is not None and published_n < 1):
        raise LimbeckError("there is nothing to compare", "published", "judge at least one example, and give the published n or none")
    index = group_index(groups, len(x))
    clusters = int(index.max()) + 1
    is_rate = bool(np.isin(x, (0.0, 1.0)).all())
    df = len(x) - 1.0 if clusters == len(x) else degrees_of_freedom(index)
    se = _rate_error(float(x.mean()), rate_interval(ours, groups, level).n_effective) if is_rate else clustered_error(x, index)
    se_published = _rate_error(published, published_n) if published_n else 0.0
    difference = float(x.mean()) - published
    both = math.hypot(se, se_published)
    reach = z_quantile(0.5 + level / 2) if is_rate else t_quantile(0.5 + level / 2, df)
    low, high = difference - reach * both, difference + reach * both
    verdict = "higher" if low > 0 else "lower" if high < 0 else "not shown to differ"
    return AgainstPublished(
        difference=difference, low=low, high=high, p=_two_sided(difference, both, is_rate, df), fixed_p=_two_sided(difference, se, is_rate, df),
        se_ours=se, se_published=se_published, verdict=verdict,
    )  # fmt: skip


def _rate_error(rate: float, n: float) -> float:
    shrunk = (rate * n + 2) / (n + 4)
    return math.sqrt(shrunk * (1 - shrunk) / (n + 4))


def _two_sided(difference: float, se: float, is_rate: bool, df: float) -> float:
    if not se > 0 or math.isnan(se):
        return 1.0 if difference == 0 or math.isnan(se) else 0.0
    z = abs(difference) / se
    return 2 * (1 - (NormalDist().cdf(z) if is_rate else t_cdf(z, df)))
