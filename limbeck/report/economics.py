"""Student against teacher in money, as the page shows it: two pictures and what stands beside them. Copes with whatever is missing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import altair
from markupsafe import Markup

from limbeck.report.figures import COLOURS, INK, to_svg

DOLLARS = "datum.value >= 1e6 ? '$' + replace(format(datum.value, '~s'), 'G', 'B') : '$' + format(datum.value, ',~r')"
FIRST, POINTS = 10.0, 60  # answers at the left edge of the picture; points of a line


def economics_section(run_folder: Path, results: Mapping[str, Any], keep: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the template needs; None where a run has no economics (made by an older limbeck)."""
    found = results.get("economics")
    if not found or not found.get("splits"):
        return None
    split = results["splits"][0] if results["splits"][0] in found["splits"] else next(iter(found["splits"]))
    return {
        **found, "split": split, "first": found["splits"][split], "costs": Markup(cost_figure(found, split)), "retention": Markup(retention_figure(found)),
        "keep_rows": keep_rows(keep), "asked": keep.get("asked"), "terms": terms_of(run_folder),
    }  # fmt: skip


def cost_figure(found: Mapping[str, Any], split: str) -> str:
    """Total USD against answers, log axes: the teacher by the answer, the student with what it cost to make; the crossing marked. "" where a cost is unknown."""
    costs = found["splits"][split]
    teacher, student, spend = costs["teacher"]["per_1000"], costs["student"]["per_1000"], found["spend"].get("total_usd")
    if student["value"] is None or spend is None or not (spend > 0 or student["value"] > 0):
        return ""
    even = costs["break_even"]
    last = 10 ** math.ceil(math.log10(100 * even["value"] if even.get("value") else 1e7))
    last = min(max(last, 1e4), 1e13)
    lines = [("student and its making", student, spend)] + ([("teacher", teacher, 0.0)] if teacher["value"] else [])
    at = [FIRST * (last / FIRST) ** (i / (POINTS - 1)) for i in range(POINTS)]
    rows = []
    for who, score, fixed in lines:
        low, high = (score[side] if score[side] is not None else score["value"] for side in ("low", "high"))
        rows += [{"who": who, "answers": x, "usd": fixed + score["value"] * x / 1000, "low": max(1e-9, fixed + low * x / 1000), "high": fixed + high * x / 1000} for x in at if fixed + score["value"] * x / 1000 > 0]
    order = [who for who, _, _ in lines]
    floor = 10 ** math.floor(math.log10(min(r["usd"] for r in rows)))
    base = altair.Chart(altair.Data(values=rows)).encode(
        x=altair.X("answers:Q", title="answers (log)", scale=altair.Scale(type="log", domain=[FIRST, last], nice=False), axis=altair.Axis(labelExpr="replace(format(datum.value, '~s'), 'G', 'B')", values=decades(FIRST, last), grid=False)),
        color=altair.Color("who:N", sort=order, title=None, scale=altair.Scale(domain=order, range=COLOURS), legend=altair.Legend(labelLimit=200, columns=2, symbolOpacity=1)),
    )  # fmt: skip
    y = altair.Y("usd:Q", title="USD in all (log)", scale=altair.Scale(type="log", domainMin=floor), axis=altair.Axis(labelExpr=DOLLARS, values=decades(floor, max(r["high"] for r in rows))))
    layers = base.mark_area(opacity=0.18).encode(y=altair.Y("low:Q", title="USD in all (log)", scale=altair.Scale(type="log", domainMin=floor)), y2="high:Q") + base.mark_line(strokeWidth=2).encode(y=y)
    if even.get("value"):
        mark = altair.Chart(altair.Data(values=[{"answers": even["value"], "usd": spend + student["value"] * even["value"] / 1000, "text": f"pays from {short(even['value'])} answers"}])).encode(x="answers:Q")
        layers = layers + mark.mark_rule(color=INK, strokeDash=[4, 3]) + mark.mark_circle(size=70, color=INK, opacity=1).encode(y="usd:Q")
        side = {"align": "right", "dx": -8} if even["value"] > math.sqrt(FIRST * last) else {"align": "left", "dx": 8}
        layers = layers + mark.mark_text(color=INK, dy=-12, **side).encode(y="usd:Q", text="text:N")
    return to_svg(layers.properties(width=320, height=220))


def retention_figure(found: Mapping[str, Any]) -> str:
    """The share of the teacher's top-1 retained, with intervals, by split and family; "" without a teacher."""
    rows = []
    for split, facts in found["splits"].items():
        for row in facts["retention"]:
            if row["share"] is not None:
                name = f"{split}: {row['family']}" if row["family"] else split
                high = row["high"] if row["high"] is not None else 10.0  # no end: cut at the edge
                rows.append({"name": f"{name} (n = {row['n']})", "share": 100 * row["share"], "low": 100 * row["low"], "high": 100 * high, "kind": "by family" if row["family"] else "in all"})
    if not rows:
        return ""
    order, top = [r["name"] for r in rows], max(110.0, min(200.0, max(r["high"] for r in rows) + 5))
    rows = [r | {"high": min(r["high"], top), "share": min(r["share"], top)} for r in rows]
    bottom = 10 * math.floor(min(r["low"] for r in rows) / 10)
    base = altair.Chart(altair.Data(values=rows)).encode(
        y=altair.Y("name:N", sort=order, title=None, axis=altair.Axis(labelLimit=230)), color=altair.Color("kind:N", sort=["in all", "by family"], title=None, scale=altair.Scale(domain=["in all", "by family"], range=COLOURS[:2]), legend=altair.Legend() if len({r["kind"] for r in rows}) > 1 else None)
    )  # fmt: skip
    x = altair.X("low:Q", title="% of the teacher's top-1", scale=altair.Scale(domain=[bottom, top], nice=False), axis=altair.Axis(tickCount=6))
    line = altair.Chart(altair.Data(values=[{"x": 100}])).mark_rule(color=INK, strokeDash=[4, 3]).encode(x="x:Q")
    return to_svg((line + base.mark_rule(strokeWidth=2).encode(x=x, x2="high:Q") + base.mark_circle(size=60, opacity=1).encode(x="share:Q")).properties(width=290, height=altair.Step(20)))


def decades(low: float, high: float) -> list[float]:
    """Powers of ten between two numbers, at most eight of them."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    return [10.0**power for power in range(first, last + 1, max(1, -(-(last - first + 1) // 8)))]


def keep_rows(keep: Mapping[str, Any]) -> list[dict[str, Any]]:
    """State, column, reason, count and share of all asked: from the accounts' table, or from older accounts by reason alone."""
    asked = keep.get("asked") or 0
    table = keep.get("table")
    if not table:
        table = [["kept", "", "", keep.get("kept", 0)]] + [[state, *_column(reason), n] for state in ("refused", "failed") for reason, n in (keep.get(state) or {}).items()]
    return [{"state": s, "column": c, "reason": r.replace("_", " "), "n": n, "share": n / asked if asked else None} for s, c, r, n in table]


def _column(reason: str) -> tuple[str, str]:
    """"answer: too_long" in its two parts."""
    column, colon, rest = reason.partition(": ")
    return (column, rest) if colon else ("", reason)


def terms_of(run_folder: Path) -> str:
    """The paragraph on terms, from the origins of a run's records; empty where they are not recorded."""
    from limbeck.catalog import terms
    from limbeck.records import Origin

    path = run_folder / "distill" / "origins.json"
    if not path.exists():
        return ""
    return terms.paragraph([Origin(**row) for row in json.loads(path.read_text(encoding="utf-8"))])


def short(value: float) -> str:
    """12,300 or 4.5 million."""
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if value >= size:
            return f"{value / size:.3g} {word}"
    return f"{value:,.0f}"


def money(value: float | None) -> str:
    """Dollars with as many digits as say something."""
    if value is None:
        return "unknown"
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.2g}"


def span(score: Mapping[str, Any], show: Any = money) -> str:
    """ [low to high] of a score, where it has an interval."""
    return "" if score.get("low") is None else f" [{show(score['low'])} to {show(score['high']) if score.get('high') is not None else 'never'}]"


FILTERS: dict[str, Any] = {"money": money, "short": short, "span": span}
