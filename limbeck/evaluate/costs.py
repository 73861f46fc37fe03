"""What answers cost: the teacher's by tokens and price, the student's by processor time, and from how many answers on the student pays.

Money is USD. A price is never guessed: where it is unknown, so is all that follows from it, and the reason is said.
An answer is one request with all the candidates it was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from limbeck.evaluate.clustered import clustered_mean
from limbeck.evaluate.compare import clusters_of, compare_seeds, right
from limbeck.evaluate.paired import ratio_interval
from limbeck.records import Score

FEWEST = 8  # examples of a family for which a share is still given
MOST_FAMILIES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What work costs: a million tokens read and written, or an hour of a processor core, or an hour of a whole machine; with its source."""

    usd_in: float | None = None
    usd_out: float | None = None
    core_hour_usd: float | None = None
    machine_hour_usd: float | None = None
    source: str = ""


def cost_of(result: Mapping[str, Any], price: Price) -> dict[str, Any]:
    """USD per 1,000 answers of one examination, by whichever of tokens, a machine's hours, or a core's seconds its price is given.

    `per_1000` is a score: with Student's interval where each answer's tokens were counted, without one where only the sum of
    seconds is known. `by` says how; `why_unknown` why it is None. Replayed answers cost what their tokens cost when they were made.
    """
    counted = [t["answer_meta"]["tokens"] for t in result["trials"] if _has_tokens(t)]
    means = {"tokens_in": _mean([c["prompt"] for c in counted]), "tokens_out": _mean([c["completion"] for c in counted])}
    n, asked = len(result["trials"]), result.get("asked", len(result["trials"]))
    if price.usd_in is not None and price.usd_out is not None:
        costs = [(c["prompt"] * price.usd_in + c["completion"] * price.usd_out) / 1e3 for c in counted]
        return _sampled(costs, n, "tokens", means) if costs else _unknown(n, "its tokens were not counted", means)
    billed = [1000 * t["cost_usd"] for t in result["trials"] if t.get("cost_usd") is not None and not t.get("answer_meta", {}).get("replayed")]
    if billed and any(billed):
        return _sampled(billed, n, "bills", means)
    if not asked:
        return _unknown(n, "all its answers were replayed, so no time was measured", means)
    if price.machine_hour_usd is not None:
        return _plain(result["seconds"] / asked * price.machine_hour_usd / 3.6, n, "hours of a machine", means)
    if price.core_hour_usd is not None and result.get("cpu_seconds_per_answer", 0) > 0:
        return _plain(result["cpu_seconds_per_answer"] * price.core_hour_usd / 3.6, n, "seconds of a core", means)
    return _unknown(n, price.source or "nobody knows its price", means)


def _has_tokens(trial: Mapping[str, Any]) -> bool:
    tokens = trial.get("answer_meta", {}).get("tokens") or {}
    return tokens.get("prompt") is not None and tokens.get("completion") is not None


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _sampled(costs: Sequence[float], n: int, by: str, means: dict[str, Any]) -> dict[str, Any]:
    found = clustered_mean(costs)
    low, high = (max(0.0, found.low), found.high) if len(costs) > 1 else (None, None)
    return {"per_1000": asdict(Score(name="usd per 1,000", value=found.value, n=len(costs), low=low, high=high, missing=n - len(costs))), "by": by, "why_unknown": "", **means}


def _plain(value: float, n: int, by: str, means: dict[str, Any]) -> dict[str, Any]:
    return {"per_1000": asdict(Score(name="usd per 1,000", value=value, n=n)), "by": by, "why_unknown": "", **means}


def _unknown(n: int, why: str, means: dict[str, Any]) -> dict[str, Any]:
    return {"per_1000": asdict(Score(name="usd per 1,000", value=None, n=0, missing=n)), "by": "", "why_unknown": why, **means}


def break_even(spend_usd: float | None, teacher: Mapping[str, Any] | Score, student: Mapping[str, Any] | Score) -> Score:
    """Answers from which on the student, with what it cost to make, is cheaper than the teacher; infinity is never.

    spend / (teacher - student) per answer. The bounds take both costs at the ends of their intervals that favour and disfavour
    the student, so they hold at least as often as the intervals do together. None where one of the three is unknown.
    """
    t, s = (score if isinstance(score, Score) else Score(**score) for score in (teacher, student))
    if spend_usd is None or t.value is None or s.value is None:
        return Score(name="break-even answers", value=None, n=0)

    def answers(dear: float, cheap: float) -> float:
        return 1000 * spend_usd / (dear - cheap) if dear > cheap else math.inf

    is_sampled = t.low is not None or s.low is not None
    low = answers(t.high if t.high is not None else t.value, s.low if s.low is not None else s.value)
    high = answers(t.low if t.low is not None else t.value, s.high if s.high is not None else s.value)
    return Score(name="break-even answers", value=answers(t.value, s.value), n=min(x for x in (t.n, s.n)), low=low if is_sampled else None, high=high if is_sampled else None)


def spend_of(keep: Mapping[str, Any], manifests: Sequence[Mapping[str, Any]], student: str, core_hour_usd: float | None, sends_bills: bool) -> dict[str, Any]:
    """What making the student cost: the teacher's bills, and the core-hours of the steps that lead to it (asking, targets, training).

    `student` is the folder of the seed that serves. Seconds of a step are those of all cores of its machine, an upper bound; with a
    graphics card in it they cannot be priced. Parts that are unknown are named in `unknown` and make the sum unknown.
    """
    bills = _bills(keep.get("spend") or {}, sends_bills)
    wanted = ("distill", f"train/{student}")
    steps = [m for m in manifests if m["step"] in wanted or m["step"].startswith("targets/")]
    hours = sum(m["seconds"] * m.get("hardware", {}).get("cores", 1) for m in steps) / 3600
    accelerated = sorted({str(m["hardware"]["gpu"]) for m in steps if m.get("hardware", {}).get("gpu")})
    work = None if core_hour_usd is None or accelerated or not steps else hours * core_hour_usd
    unknown = [why for why, value in (("the teacher's bills", bills["usd"]), (f"an hour of {', '.join(accelerated)}" if accelerated else "the core-hours of training", work)) if value is None]
    total = None if unknown else (bills["usd"] or 0.0) + (work or 0.0)
    return {"bills": bills, "core_hours": hours, "work_usd": work, "total_usd": total, "unknown": unknown, "steps": [m["step"] for m in steps]}


def _bills(spend: Mapping[str, Any], sends_bills: bool) -> dict[str, Any]:
    """The teacher's bills from a run's accounts, in whichever of their forms; nothing said of a teacher that sends none is zero."""
    paid = spend.get("paid") or spend
    usd = paid.get("cost_usd", paid.get("usd"))
    if usd is None and not sends_bills:
        usd = 0.0
    replayed = spend.get("replayed", 0)
    return {
        "usd": usd, "tokens_in": paid.get("tokens_in"), "tokens_out": paid.get("tokens_out"), "calls": paid.get("requests", paid.get("calls")),
        "replayed": replayed.get("requests", 0) if isinstance(replayed, Mapping) else replayed, "in_doubt": (spend.get("in_doubt") or {}).get("requests", 0),
    }  # fmt: skip


def retention_rows(student: Sequence[dict[str, Any]], teacher: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The share of the teacher's top-1 that the student reaches on the same examples: in all, then by family, each with its interval.

    `share` is None where the teacher gets none right. Families with fewer than FEWEST examples are left out.
    """
    whole = compare_seeds(student, teacher, 1)
    kinds = {t["id"]: t.get("family") or "" for t in student[0]["trials"]}
    families = sorted({f for f in kinds.values() if f})
    left, there = ([right(r) for r in side] for side in (student, teacher))
    shared = [i for i in kinds if all(i in side for side in (*left, *there))]
    rows = [_row("", whole["ratio"], whole["ratio_low"], whole["ratio_high"], whole["n"], whole["mean_a"], whole["mean_b"])]
    if whole["ratio_low"] == whole["ratio_high"]:  # a bootstrap of examples that are all alike has no width: say what they can say
        rows = [_share(student, left, there, shared, "")]
    if not 2 <= len(families) <= MOST_FAMILIES:
        return rows
    for family in families:
        ids = [i for i in shared if kinds[i] == family]
        if len(ids) >= FEWEST:
            rows.append(_share(student, left, there, ids, family))
    return rows


def _share(student: Sequence[dict[str, Any]], left: Sequence[Mapping[str, float]], there: Sequence[Mapping[str, float]], ids: Sequence[str], family: str) -> dict[str, Any]:
    a, b = ([float(np.mean([side[i] for side in sides])) for i in ids] for sides in (left, there))
    return _row(family, *ratio_interval(a, b, clusters_of(student[0], ids)), len(ids), float(np.mean(a)), float(np.mean(b)))


def _row(family: str, share: float, low: float, high: float, n: int, student: float, teacher: float) -> dict[str, Any]:
    known = teacher > 0
    finite = math.isfinite(high)
    return {"family": family, "share": share if known else None, "low": low if known else None, "high": high if known and finite else None, "n": n, "student": student, "teacher": teacher}


def economics(
    found: Mapping[str, Mapping[str, dict[str, Any]]], groups: Mapping[str, Sequence[str]], splits: Sequence[str], prices: Mapping[str, Price], spend: Mapping[str, Any]
) -> dict[str, Any]:
    """Student against teacher in money, for JSON: by split both costs, the volume from which on the student pays, and what it retains.

    `prices` has one for "student" and one for "teacher". An infinite number of answers is written as null with `never` true.
    """
    out: dict[str, Any] = {"splits": {}, "spend": dict(spend), "prices": {who: asdict(price) for who, price in prices.items()}}
    for split in splits:
        students = [found[w][split] for w in groups["student"] if split in found.get(w, {})]
        teachers = [found[w][split] for w in groups.get("teacher", ()) if split in found.get(w, {})]
        if not students:
            continue
        mine = cost_of(students[0], prices["student"])
        theirs = cost_of(teachers[0], prices["teacher"]) if teachers else _unknown(0, "no teacher was examined", {"tokens_in": None, "tokens_out": None})
        even = break_even(spend.get("total_usd"), theirs["per_1000"], mine["per_1000"])
        why = "; ".join(filter(None, (theirs["why_unknown"], mine["why_unknown"], f"unknown: {', '.join(spend['unknown'])}" if spend.get("unknown") else "")))
        out["splits"][split] = {"student": mine, "teacher": theirs, "break_even": _finite(even), "why_unknown": why, "retention": retention_rows(students, teachers) if teachers else []}
    return out


def _finite(score: Score) -> dict[str, Any]:
    """A break-even for JSON, which has no infinity."""
    row = asdict(score)
    return row | {name: None if row[name] is not None and math.isinf(row[name]) else row[name] for name in ("value", "low", "high")} | {"never": score.value is not None and math.isinf(score.value), "high_is_never": score.high is not None and math.isinf(score.high)}
