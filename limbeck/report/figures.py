"""Plots of a run as SVG text, drawn by Vega-Lite without a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair
import vl_convert

INK = "#7a8290"  # readable on light and on dark paper
COLOURS = ["#2f7ed8", "#e0762f", "#3fa66b", "#9b6bd3", "#c9a227", "#d2527f", "#5ab4c5", "#8a8f98"]


def to_svg(chart: Any) -> str:
    """A chart as SVG; texts in it are escaped by the renderer."""
    chart = chart.configure(background="transparent", font="system-ui, sans-serif", padding={"left": 26, "top": 5, "right": 12, "bottom": 5}).configure_axis(
        labelColor=INK, titleColor=INK, gridColor="#8883", domainColor=INK, tickColor=INK
    )
    chart = chart.configure_view(stroke=None).configure_legend(labelColor=INK, titleColor=INK, orient="bottom")
    return vl_convert.vegalite_to_svg(chart.to_json())


LABELS = {"execution": "execution match", "cms": "command match score"}


def named_scores(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A result's scores by name; the deciding measure's ranks are also found as top-1, top-3, top-5."""
    named = {s["name"]: s for s in result["scores"]}
    main = result.get("main", "execution")
    first = {"top-1": named[main]} if main in named else {}  # where one answer was asked for, or draws were
    return first | {f"top-{k}": named[f"{main}-{k}"] for k in (1, 3, 5) if f"{main}-{k}" in named} | named


def label_of(results: Sequence[dict[str, Any]]) -> str:
    """What the deciding measure is called."""
    main = results[0].get("main", "execution") if results else "execution"
    return LABELS.get(main, main)


def topk_bars(scores: Sequence[dict[str, Any]], split: str) -> str:
    """Top-1, 3, 5 of everybody on one split, with intervals."""
    rows = [
        {"who": r["answerer"], "k": name, "value": 100 * s["value"], "low": 100 * s["low"], "high": 100 * s["high"]}
        for r in scores if r["split"] == split for name, s in named_scores(r).items() if name in ("top-1", "top-3", "top-5") and s["value"] is not None
    ]  # fmt: skip
    order = list(dict.fromkeys(r["who"] for r in rows))
    base = altair.Chart(altair.Data(values=rows)).encode(y=altair.Y("who:N", sort=order, title=None, axis=altair.Axis(labelLimit=110)))
    bars = base.mark_bar(height=5).encode(x=altair.X("value:Q", title=f"{label_of(scores)}, %", scale=altair.Scale(domain=[0, 100])), yOffset="k:N", color=altair.Color("k:N", title=None, scale=altair.Scale(range=COLOURS)))
    lines = base.mark_rule(color=INK).encode(x="low:Q", x2="high:Q", yOffset="k:N")
    return to_svg((bars + lines).properties(width=270, height=altair.Step(9)))


def score_by_size(scores: Sequence[dict[str, Any]], split: str) -> str:
    """Top-1 against parameters; those that cost nothing stand at the left edge."""
    rows = []
    for r in scores:
        top = named_scores(r).get("top-1")
        if r["split"] == split and top and top["value"] is not None:
            rows.append({"who": r["answerer"], "parameters": max(1000, r["parameters"] or 0), "value": 100 * top["value"], "low": 100 * top["low"], "high": 100 * top["high"]})
    base = altair.Chart(altair.Data(values=rows)).encode(x=altair.X("parameters:Q", title="parameters (log; none at the left edge)", scale=altair.Scale(type="log"), axis=altair.Axis(format="~s")))
    points = base.mark_circle(size=90).encode(y=altair.Y("value:Q", title="top-1, %", scale=altair.Scale(domain=[0, 100])), color=altair.Color("who:N", title=None, scale=altair.Scale(range=COLOURS), legend=altair.Legend(columns=3)))
    return to_svg((base.mark_rule(color=INK).encode(y="low:Q", y2="high:Q") + points).properties(width=270, height=220))


def differences(comparisons: Sequence[dict[str, Any]], splits: Sequence[str]) -> str:
    """Paired differences in top-1 with their intervals, a row a pair and a colour a split; right of the line the first is better."""
    rows = [
        {"pair": f"{c['a']} - {c['b']}", "split": c["split"], "value": 100 * c["difference"], "low": 100 * c["difference_low"], "high": 100 * c["difference_high"]}
        for c in comparisons if c["measure"] == "top-1"
    ]  # fmt: skip
    if not rows:
        return ""
    order = list(dict.fromkeys(r["pair"] for r in rows))
    base = altair.Chart(altair.Data(values=rows)).encode(
        y=altair.Y("pair:N", sort=order, title=None, axis=altair.Axis(labelLimit=190)), yOffset=altair.YOffset("split:N", sort=list(splits)),
        color=altair.Color("split:N", sort=list(splits), title=None, scale=altair.Scale(range=COLOURS)),
    )  # fmt: skip
    rule = base.mark_rule(strokeWidth=2).encode(x=altair.X("low:Q", title="difference in top-1, points"), x2="high:Q")
    zero = altair.Chart(altair.Data(values=[{"x": 0}])).mark_rule(color=INK, strokeDash=[4, 3]).encode(x="x:Q")
    return to_svg((zero + rule + base.mark_circle(size=55, opacity=1).encode(x="value:Q")).properties(width=520, height=altair.Step(13)))


def loss_by_noise(curves: dict[str, list[dict[str, Any]]]) -> str:
    """Held-out cross-entropy of diffusion students in five equal bands of noise, at their last look; "" where there is none."""
    rows = []
    for who, metrics in curves.items():
        last = next((m["dev_loss_by_noise"] for m in reversed(metrics) if m.get("dev_loss_by_noise")), None)
        for band, value in enumerate(last or ()):
            if value is not None and math.isfinite(value):
                rows.append({"who": who, "noise": f"{20 * band}-{20 * band + 20} %", "loss": value})
    if not rows:
        return ""
    chart = altair.Chart(altair.Data(values=rows)).mark_line(point=True).encode(
        x=altair.X("noise:N", sort=[f"{20 * band}-{20 * band + 20} %" for band in range(5)], title="share of the noise schedule", axis=altair.Axis(labelAngle=0)), y=altair.Y("loss:Q", title="held-out cross-entropy, nats"),
        color=altair.Color("who:N", title=None, scale=altair.Scale(range=COLOURS), legend=altair.Legend(columns=2)),
    )  # fmt: skip
    return to_svg(chart.properties(width=270, height=200))


def loss_curves(curves: dict[str, list[dict[str, Any]]]) -> str:
    """Dev loss where there is one, training loss smoothed behind it."""
    rows = []
    for who, metrics in curves.items():
        running = None
        for m in metrics:
            if "loss" in m:
                running = m["loss"] if running is None else 0.8 * running + 0.2 * m["loss"]
                rows.append({"who": who, "step": m["step"], "loss": running, "kind": "training, smoothed"})
            elif "dev_loss" in m:
                rows.append({"who": who, "step": m["step"], "loss": m["dev_loss"], "kind": "held out"})
    if not rows:
        return ""
    chart = altair.Chart(altair.Data(values=rows)).mark_line(point=False).encode(
        x=altair.X("step:Q"), y=altair.Y("loss:Q", scale=altair.Scale(type="log"), title="loss (log)"),
        color=altair.Color("who:N", title=None, scale=altair.Scale(range=COLOURS), legend=altair.Legend(columns=2)), strokeDash=altair.StrokeDash("kind:N", title=None),
    )  # fmt: skip
    return to_svg(chart.properties(width=270, height=200))


def keep_bars(keep: dict[str, Any]) -> str:
    """Records kept, and refused by reason."""
    rows = [{"what": "kept", "n": keep["kept"]}] + [{"what": reason.replace("_", " "), "n": n} for reason, n in keep["refused"].items()]
    base = altair.Chart(altair.Data(values=rows)).encode(y=altair.Y("what:N", sort="-x", title=None, axis=altair.Axis(labelLimit=120)), x=altair.X("n:Q", title=f"of {keep['asked']:,} asked"))
    bars = base.mark_bar(height=12).encode(color=altair.condition("datum.what == 'kept'", altair.value(COLOURS[2]), altair.value(COLOURS[1])))
    return to_svg((bars + base.mark_text(align="left", dx=4, color=INK).encode(text=altair.Text("n:Q", format=","))).properties(width=230, height=altair.Step(22)))
