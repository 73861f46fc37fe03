"""How far a forecast may be off: runs resampled in blocks, the laws' disagreement, seed noise, times a factor learnt on other tables.

The factor is conformal: on tables of other people's runs, each forecast from its low-compute part, the error divided by the raw spread
is at most the factor in the wanted share of cases. `conformal.json` holds it with the facts of how it was learnt (benchmarks/scaling_loto.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.predict.ensemble import LEAST_NOISE, Fitted, combine, predict_all, resample
from limbeck.predict.laws import Array
from limbeck.predict.tables import Runs

RESAMPLES = 100
TYPICAL, FEW, MANY, EASE = 60, 10, 300, 0.15  # runs: with 300 an interval is (300 / 60)^-0.15 = 0.79 times that of 60; outside 10 to 300 not further


@cache
def learnt() -> dict[str, Any]:
    """The conformal factors and how they were learnt."""
    return json.loads((Path(__file__).parent / "conformal.json").read_text(encoding="utf-8"))


def blocks_of(runs: Runs) -> Array:
    """A block's number for each run (M): its group, else its size where sizes repeat (points of one curve, one series), else itself."""
    if runs.groups:
        return np.unique(runs.groups, return_inverse=True)[1]
    if runs.has_sizes:
        sizes = np.unique(np.round(np.log(runs.sizes), 3), return_inverse=True)[1]
        if 6 <= sizes.max() + 1 <= len(runs) / 3:
            return sizes
    return np.arange(len(runs))


def draw_blocks(blocks: Array, resamples: int, seed: int) -> Array:
    """How often each run is drawn, (B, M), when blocks are drawn with replacement; Bayesian where blocks are few: no table loses a size."""
    random = np.random.default_rng(seed)
    count = int(blocks.max()) + 1
    shares = random.dirichlet(np.ones(count), resamples) * count
    return shares[:, blocks]


class Spread:
    """The raw spread of a table's forecasts: call it on targets."""

    def __init__(self, runs: Runs, fits: Sequence[Fitted], resamples: int = RESAMPLES, seed: int = 0) -> None:
        counts = draw_blocks(blocks_of(runs), resamples, seed)
        self.fits = fits
        self.thetas = [resample(f, counts) for f in fits]
        self.noise = max(LEAST_NOISE, min(f.problem.noise for f in fits))

    def parts(self, sizes: Array, data: Array, compute: Array) -> dict[str, Array]:
        """Standard deviations in ln L at targets (T): by resampling, between laws, of a run's own noise."""
        drawn = combine(predict_all(self.fits, sizes, data, compute, self.thetas), self.fits)
        middle = np.stack(predict_all(self.fits, sizes, data, compute))
        weights = np.array([f.member.weight for f in self.fits])
        mean = np.average(middle, axis=0, weights=weights)
        forms = np.sqrt(np.average((middle - mean) ** 2, axis=0, weights=weights))
        low, high = np.quantile(drawn, [0.16, 0.84], axis=0)
        return {"resampled": (high - low) / 2, "forms": forms, "noise": np.full(len(mean), self.noise)}


def raw_spread(parts: dict[str, Array]) -> Array:
    """The parts together (T)."""
    return np.sqrt(sum((part**2 for part in parts.values()), np.zeros(len(parts["noise"]))))


def reach_of(runs: Runs, compute: Array) -> Array:
    """How many factors of ten beyond the largest run a target lies (T); 0 inside."""
    return np.maximum(0.0, np.log10(compute / runs.compute.max()))


def scale_of(raw: Array, reach: Array, floor: float, growth: float, runs: int = TYPICAL) -> Array:
    """What the factor multiplies: the raw spread and an error that no table's own spread shows, growing with the reach; less where runs are many."""
    few = (min(max(runs, FEW), MANY) / TYPICAL) ** -EASE
    return few * np.sqrt(raw**2 + (floor + growth * reach) ** 2)


def half_width(raw: Array, reach: Array, level: float = 0.9, runs: int = TYPICAL) -> Array:
    """Half the interval in ln L (T), at one of the learnt levels; `runs`: how many the forecast rests on."""
    facts = learnt()
    factor = facts["factors"].get(f"{level:g}")
    if factor is None:
        raise LimbeckError(f"no factor was learnt for {100 * level:g} % intervals", "level", f"one of {', '.join(facts['factors'])}")
    beyond = np.maximum(0.0, reach - facts["tested_reach"])  # past what was tested the interval widens twice as fast
    return factor * scale_of(raw, reach + beyond, facts["floor"], facts["growth"], runs)
