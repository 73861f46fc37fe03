"""As many requests of each difficulty: the share of a request's draws that pass says how hard it is for its teacher."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.records import content_id

BINS = 5
RARE = 0.05  # bins with less than this share of all requests are kept whole, and do not say how many the others keep


def bin_of(share: float) -> int:
    """0 (hardest) .. 4: five equal parts of (0, 1]; what never passes is in the first."""
    return min(BINS - 1, max(0, -(-round(share * 1000) * BINS // 1000) - 1))


def name_bin(number: int) -> str:
    """For a table: the share of draws that pass."""
    return f"{100 * number // BINS}-{100 * (number + 1) // BINS} %"


def histogram(found: Sequence[float]) -> dict[str, int]:
    """Requests in each bin."""
    counts = [0] * BINS
    for share in found:
        counts[bin_of(share)] += 1
    return {name_bin(at): count for at, count in enumerate(counts)}


def thin(found: Sequence[float], names: Sequence[str]) -> set[int]:
    """Which of N requests go, so that every bin that is not rare has as many. Chosen by the hash of a request's name."""
    bins: dict[int, list[int]] = {}
    for at, share in enumerate(found):
        bins.setdefault(bin_of(share), []).append(at)
    counted = [len(members) for members in bins.values() if len(members) >= RARE * len(found)]
    if len(counted) < 2:
        return set()
    size = min(counted)
    out: set[int] = set()
    for members in bins.values():
        out.update(sorted(members, key=lambda at: content_id(["balance", names[at]]))[size:])
    return out
