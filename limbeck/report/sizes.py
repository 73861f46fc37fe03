"""Score against claimed size: every claim a point drawn by its standing, the claims of one model joined by a line.

Solid: official or measured. Hollow: estimated, rumoured, disputed. Struck through: taken back. Models without any claimed size stand
at the right edge. Published scores are drawn only within one benchmark and setting; ours carry their intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair

from limbeck.catalog.facts import Claim, load_claims, load_paper
from limbeck.catalog.showing import like_with_like, load_scores, paper_model
from limbeck.errors import LimbeckError
from limbeck.report.figures import COLOURS, INK, to_svg

STRUCK_THROUGH = "M0,-0.8A0.8,0.8,0,1,1,0,0.8A0.8,0.8,0,1,1,0,-0.8M-1.5,0.9L1.5,-0.9"
DRAWN = {"official": "official", "measured": "official", "retracted": "retracted"}  # all else is claimed
UNKNOWN_B = 20_000.0  # where models without a size are drawn


def scores_of(benchmark: str, setting: str | None = None) -> tuple[list[tuple[str, str, float]], str]:
    """(model, label, score in %) of one benchmark and setting; the setting with most models unless one is named."""
    if benchmark.lower() == "medec":
        rows = [r for r in load_paper() if r.table == 2 and r.prompt == "P1" and "Doctor" not in r.model and "error_flag" in r.scores]
        return [(paper_model(r.model), r.model, 100 * r.scores["error_flag"]) for r in rows], "error flag accuracy, prompt P1, 925 notes (arXiv:2412.19260v2)"
    groups = {key[1]: rows for key, rows in like_with_like(load_scores()).items() if key[0].lower() == benchmark.lower()}
    if not groups:
        known = sorted({s.benchmark for s in load_scores()})
        raise LimbeckError(f"there are no published scores of {benchmark!r}", "--benchmark", f"known: medec, {', '.join(known)}")
    chosen = setting if setting is not None else max(groups, key=lambda key: len({s.model for s in groups[key]}))
    if chosen not in groups:
        raise LimbeckError(f"{benchmark} has no scores with the setting {chosen!r}", "--setting", f"known: {'; '.join(groups)}")
    return [(s.model, s.label or s.model, s.score) for s in groups[chosen]], chosen


def size_points(scores: Sequence[tuple[str, str, float]], claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """A point for each claim of each scored model."""
    points = []
    for model, label, score in scores:
        sized = [c for c in claims if c.model == model and c.total_B]
        official = [c for c in sized if c.standing == "official"]
        for claim in official[:1] or sized:
            points.append({"model": label, "B": claim.total_B, "score": score, "standing": DRAWN.get(claim.standing, "claimed")})
        if not sized:
            points.append({"model": label, "B": UNKNOWN_B, "score": score, "standing": "no size claimed here"})
    return points


def place_labels(points: Sequence[dict[str, Any]], x: str, ours: Sequence[dict[str, Any]] = (), width: int = 620, height: int = 360) -> list[dict[str, Any]]:
    """One label a model, moved down where it would cover another: `label_at` is its score on the axis. Widths are those of 9 px letters."""
    first = [next(p for p in points if p["model"] == label) for label in dict.fromkeys(p["model"] for p in points)]
    if not first:
        return []
    logs, scores = [math.log10(p[x]) for p in first], [p["score"] for p in first]
    every, ends = [*logs, *(math.log10(o[x]) for o in ours)], [*scores, *(o[side] for o in ours for side in ("low", "high"))]  # the axes reach to ours
    across, down = width / (1.1 * max(0.1, max(every) - min(every))), height / (1.2 * max(0.1, max(ends) - min(ends)))
    placed: list[tuple[float, float, float]] = []  # left, right, pixels from the top
    out = []
    for point, log in sorted(zip(first, logs, strict=True), key=lambda pair: -pair[0]["score"]):
        left, top = (log - min(logs)) * across, (max(scores) - point["score"]) * down
        right = left + 5.0 * len(point["model"])
        while any(left < other_right and other_left < right and abs(top - other) < 10 for other_left, other_right, other in placed):
            top += 2
        placed.append((left, right, top))
        out.append({**point, "label_at": max(scores) - top / down})
    return out


def official_frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no smaller (cheaper) one equals, from left to right."""
    out: list[tuple[float, float]] = []
    for at, score in sorted(points, key=lambda p: (p[0], -p[1])):
        if not out or score > out[-1][1]:
            out.append((at, score))
    return out


def size_figure(benchmark: str, setting: str | None = None, ours: Sequence[dict[str, Any]] = ()) -> tuple[str, str]:
    """The SVG and the setting it shows. `ours`: dicts with model, B, score, low, high (in %)."""
    scores, shown = scores_of(benchmark, setting)
    points = size_points(scores, load_claims())
    x = altair.X("B:Q", title="billions of parameters, as claimed (log; unknown at the right edge)", scale=altair.Scale(type="log", domain=[min([1.0, *(0.5 * o["B"] for o in ours)]), 60_000], nice=False), axis=altair.Axis(format="~g", grid=False))
    y = altair.Y("score:Q", title=f"{benchmark}, %", scale=altair.Scale(zero=False))
    base = altair.Chart(altair.Data(values=points)).encode(x=x, y=y)
    shapes = altair.Shape("standing:N", title=None, scale=altair.Scale(domain=["official", "claimed", "retracted", "no size claimed here"], range=["circle", "circle", STRUCK_THROUGH, "triangle-right"]))
    fills = altair.Fill("standing:N", title=None, scale=altair.Scale(domain=["official", "claimed", "retracted", "no size claimed here"], range=[COLOURS[0], "transparent", "transparent", "transparent"]))
    strokes = altair.Stroke("standing:N", title=None, scale=altair.Scale(domain=["official", "claimed", "retracted", "no size claimed here"], range=[COLOURS[0], COLOURS[0], "#c33", COLOURS[0]]))
    joined = base.mark_line(color=INK, strokeWidth=1, strokeDash=[3, 3]).encode(detail="model:N")
    marks = base.mark_point(size=80, strokeWidth=1.5).encode(shape=shapes, fill=fills, stroke=strokes)
    names = altair.Chart(altair.Data(values=place_labels(points, "B", ours))).mark_text(dx=8, dy=-7, align="left", fontSize=9, color=INK).encode(x=x, y=altair.Y("label_at:Q"), text="model:N")
    known = [(p["B"], p["score"]) for p in points if p["standing"] == "official"]
    known += [(p["B"], p["score"]) for p in ours]
    edge = altair.Chart(altair.Data(values=[{"B": a, "score": b} for a, b in official_frontier(known)])).mark_line(interpolate="step-after", color=INK, strokeWidth=1).encode(x=x, y=y)
    layers = edge + joined + marks + names
    if ours:
        own = altair.Chart(altair.Data(values=list(ours))).encode(x=x)
        layers = layers + own.mark_rule(color=COLOURS[1]).encode(y="low:Q", y2="high:Q") + own.mark_square(size=90, color=COLOURS[1], opacity=1).encode(y=y)
        layers = layers + own.mark_text(dx=8, dy=-7, align="left", fontSize=9, color=COLOURS[1]).encode(y=y, text="model:N")
    return to_svg(layers.properties(width=620, height=360, title=altair.Title(f"{benchmark}: {shown}", color=INK, fontSize=12, anchor="start"))), shown
