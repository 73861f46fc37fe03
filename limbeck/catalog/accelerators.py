"""Accelerators as facts: memory, peak, bandwidth, and what hosts ask for an hour. Unknown stays None, nothing is averaged into one truth."""

from __future__ import annotations

import statistics
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from limbeck.catalog.facts import STANDINGS


@dataclass(frozen=True, slots=True, kw_only=True)
class Rent:
    """What one host asks for an hour of one accelerator, in USD."""

    usd: float
    host: str
    source: str
    date: str = ""
    standing: str = "official"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """One kind. Memory in GB of 1e9 bytes, peak in dense bfloat16 operations a second, bandwidth in GB a second."""

    name: str
    memory_GB: float
    bf16_flops: float | None
    bandwidth_GB_s: float | None
    standing: str
    source: str
    rent: tuple[Rent, ...] = ()

    @property
    def rent_range(self) -> tuple[float, float, float] | None:
        """(lowest, median, highest) of the offers known; None without any."""
        asked = sorted(r.usd for r in self.rent)
        return (asked[0], statistics.median(asked), asked[-1]) if asked else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The share of its peak that an accelerator is assumed to reach in training, as a range."""

    low: float
    high: float
    standing: str
    source: str
    date: str = ""


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads((resources.files("limbeck") / "catalog" / "accelerators.toml").read_text(encoding="utf-8"))


@cache
def load_accelerators() -> tuple[Accelerator, ...]:
    """All that are known."""
    rows = tuple(Accelerator(**{**row, "rent": tuple(Rent(**r) for r in row.get("rent", ()))}) for row in _tables()["accelerator"])
    assert all(row.standing in STANDINGS for row in rows)
    return rows


def core_rent() -> Rent:
    """An hour of one processor core."""
    return Rent(**_tables()["core"])


def share_of_peak() -> Share:
    """Assumed model FLOPs utilisation, low to high."""
    return Share(**_tables()["share_of_peak"])


def entered() -> str:
    """When these rows were entered: prices move."""
    return str(_tables()["read"])
