"""Two answerers on the same examples, paired."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.evaluate.paired import difference_interval, p_test, p_value, ratio_interval
from limbeck.evaluate.quantiles import t_quantile, z_quantile
from limbeck.evaluate.statistics import paired_ratio


def right(result: dict[str, Any], rank: int = 1) -> dict[str, float]:
    """By example: the best of the first `rank` candidates by the deciding measure; an answer that is missing is not right."""
    main = result.get("main", "execution")
    return {t["id"]: float(max(t.get(main, [])[:rank], default=0.0)) for t in result["trials"]}


def compare(a: dict[str, Any], b: dict[str, Any], rank: int = 1) -> dict[str, Any]:
    """Difference and ratio of top-`rank` over the examples that both answered. Raises LimbeckError where they share none."""
    return compare_seeds([a], [b], rank)


def compare_seeds(a: Sequence[dict[str, Any]], b: Sequence[dict[str, Any]], rank: int = 1) -> dict[str, Any]:
    """The same with several seeds a side: each example's score is its mean over seeds, then examples, or clusters of them, are compared."""
    if a[0]["task"] != b[0]["task"] or a[0]["version"] != b[0]["version"]:
        raise LimbeckError("these results are of different tasks or versions", f"{a[0]['task']} {a[0]['version']}, {b[0]['task']} {b[0]['version']}", "evaluate both again with one version")
    left, right_side = _mean(a, rank), _mean(b, rank)
    shared = [i for i in left if i in right_side]
    if not shared:
        raise LimbeckError("these results share no example", f"splits {a[0]['split']} and {b[0]['split']}", "evaluate both on the same split")
    x, y = [left[i] for i in shared], [right_side[i] for i in shared]
    gaps, groups = [p - q for p, q in zip(x, y)], clusters_of(a[0], shared)
    difference, low, high = difference_interval(gaps, groups)
    ratio, ratio_low, ratio_high = ratio_interval(x, y, groups) if groups else paired_ratio(x, y)
    return {
        "a": a[0]["answerer"], "b": b[0]["answerer"], "split": a[0]["split"], "measure": f"top-{rank}", "main": a[0].get("main", "execution"), "n": len(shared), "settings_differ": _differing(a[0], b[0]),
        "seeds": [len(a), len(b)], "mean_a": float(np.mean(x)), "mean_b": float(np.mean(y)),
        "difference": difference, "difference_low": low, "difference_high": high,
        "ratio": ratio, "ratio_low": ratio_low, "ratio_high": ratio_high,
        "p": p_value(gaps, groups), "test": p_test(gaps, groups), "clusters": len(set(groups)) if groups else len(shared),
    }  # fmt: skip


def over_seeds(low: float, high: float, each: Sequence[float]) -> tuple[float, float]:
    """An interval over examples (95 %, normal) made to hold over seeds too: `each` is the same number, a seed each.

    Variances of examples and of the seeds' mean add up, with Satterthwaite's degrees of freedom. Of three seeds that differ it is
    wide, as it should be; the examples' own share of the spread between seeds is counted twice, so it is never too narrow.
    """
    by_examples = ((high - low) / 2 / z_quantile(0.975)) ** 2
    by_seeds = float(np.var(each, ddof=1)) / len(each) if len(each) > 1 else 0.0
    if by_seeds == 0.0:
        return low, high
    half = t_quantile(0.975, (by_examples + by_seeds) ** 2 / (by_seeds**2 / (len(each) - 1))) * (by_examples + by_seeds) ** 0.5
    return (low + high) / 2 - half, (low + high) / 2 + half


def _differing(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Sampling settings in which two results differ: what was asked for, apart from who was asked."""
    left, right_side = ({k: v for k, v in r.get("settings", {}).items() if k not in ("model", "base_url", "precision")} for r in (a, b))
    return sorted(k for k in left.keys() & right_side.keys() if left[k] != right_side[k])


def clusters_of(result: dict[str, Any], ids: Sequence[str]) -> list[tuple[str, str]] | None:
    """What each of these examples shares with others, itself where its trial says nothing; None where none says anything."""
    said = {t["id"]: str(t["cluster"]) for t in result["trials"] if t.get("cluster") not in (None, "")}
    return [("cluster", said[i]) if i in said else ("example", i) for i in ids] if said else None


def _mean(results: Sequence[dict[str, Any]], rank: int) -> dict[str, float]:
    each = [right(r, rank) for r in results]
    shared = [i for i in each[0] if all(i in e for e in each)]
    return {i: float(np.mean([e[i] for e in each])) for i in shared}
