"""What a probe's trials say: rates by kind and by family, what a garment changes on the same seeds, and before against after, paired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.evaluate.clustered import mean_interval
from limbeck.evaluate.paired import difference_interval, p_value, ratio_interval
from limbeck.evaluate.statistics import paired_difference, paired_ratio, wilson

Trials = Sequence[dict[str, Any]]


def rate(trials: Trials, measure: str) -> dict[str, Any]:
    """One rate over judged trials: Wilson's interval, or where trials share a seed the clustered one."""
    judged = [t for t in trials if t["status"] == "scored"]
    values, missing = [float(t[measure][0]) for t in judged], len(trials) - len(judged)
    if not values:
        return {"value": None, "n": 0, "low": None, "high": None, "missing": missing}
    seeds = [t["cluster"] for t in judged] if all("cluster" in t for t in judged) else None
    if seeds and len(set(seeds)) < len(seeds):
        value, low, high = mean_interval(values, seeds)
    else:
        value, (low, high) = sum(values) / len(values), wilson(sum(values), len(values))
    return {"value": value, "n": len(values), "low": low, "high": high, "missing": missing}


def by_kind(trials: Trials, measure: str) -> list[dict[str, Any]]:
    """The rate of every kind, in the order in which kinds first come."""
    kinds = dict.fromkeys(t["family"] for t in trials)
    return [{"kind": kind, **rate([t for t in trials if t["family"] == kind], measure)} for kind in kinds]


def against_plain(clothed: Trials, plain: Trials, measure: str) -> dict[str, Any] | None:
    """How much more (or less) often clothed requests have the measure than the plain ones of the same seeds; None where none is shared."""
    known = {t["id"]: float(t[measure][0]) for t in plain if t["status"] == "scored"}
    pairs = [(float(t[measure][0]), known[t["cluster"]], t["cluster"]) for t in clothed if t["status"] == "scored" and t.get("cluster") in known]
    if not pairs:
        return None
    groups = [seed for *_, seed in pairs]
    difference, low, high = difference_interval([a - b for a, b, _ in pairs], groups if len(set(groups)) < len(groups) else None)
    return {"plain": sum(b for _, b, _ in pairs) / len(pairs), "difference": difference, "low": low, "high": high, "n": len(pairs)}


def answered_by_both(before: Trials, after: Trials) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Judged trials of the same requests, worded alike, in the order of `after`."""
    known = {(t["id"], t.get("prompt_key")): t for t in before if t["status"] == "scored"}
    return [(known[key], t) for t in after if t["status"] == "scored" and (key := (t["id"], t.get("prompt_key"))) in known]


def before_after(before: dict[str, Any], after: dict[str, Any], measure: str) -> dict[str, Any]:
    """Two examinations of the same requests: each side's rate, the paired difference and what is left of the rate, with intervals.

    `difference` has the interval that keeps its width when the two hardly ever differ; `bootstrap` is the percentile bootstrap
    over requests (over seeds, their mean) beside it. `left` is after / before. Raises LimbeckError where the two are not of the same requests.
    """
    where = f"{before.get('task')} {before.get('version')}, {after.get('task')} {after.get('version')}"
    if before.get("task") != after.get("task") or before.get("version") != after.get("version"):
        raise LimbeckError("these results are of different tasks or versions", where, "probe or evaluate both again with one version")
    pairs = answered_by_both(before["trials"], after["trials"])
    if not pairs:
        raise LimbeckError("these results share no request that both answered", where, "probe both with the same families and limits")
    x, y = ([float(pair[side][measure][0]) for pair in pairs] for side in (0, 1))
    seeds = [a.get("cluster", a["id"]) for a, _ in pairs]
    groups = seeds if len(set(seeds)) < len(seeds) else None
    difference, low, high = difference_interval([b - a for a, b in zip(x, y, strict=True)], groups)
    if groups:
        means = {s: [(a, b) for a, b, g in zip(x, y, seeds, strict=True) if g == s] for s in dict.fromkeys(seeds)}
        bootstrap = paired_difference([sum(b for _, b in m) / len(m) for m in means.values()], [sum(a for a, _ in m) / len(m) for m in means.values()])
        left = ratio_interval(y, x, groups) if sum(x) else None
    else:
        bootstrap, left = paired_difference(y, x), paired_ratio(y, x) if sum(x) else None
    all_trials = max(len(before["trials"]), len(after["trials"]))
    return {
        "measure": measure, "n": len(pairs), "missing": all_trials - len(pairs), "before": sum(x) / len(x), "after": sum(y) / len(y), "difference": difference, "low": low, "high": high,
        "bootstrap": list(bootstrap[1:]), "left": list(left) if left else None, "p": p_value([b - a for a, b in zip(x, y, strict=True)], groups),
    }  # fmt: skip


def statuses(trials: Trials) -> dict[str, int]:
    """How many trials have each status."""
    return dict(Counter(t["status"] for t in trials))
