"""Plots of a fit as SVG text, drawn by Vega-Lite without a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair
import numpy as np
import vl_convert

from limbeck.predict.intervals import half_width, learnt, raw_spread, reach_of
from limbeck.predict.scaling import Fit, Forecast

INK = "#7a8290"
COLOURS = ["#2f7ed8", "#e0762f", "#3fa66b", "#9b6bd3", "#c9a227", "#d2527f", "#5ab4c5", "#8a8f98"]
POINTS = 40
LOG = altair.Scale(type="log", nice=False)


def to_svg(chart: Any) -> str:
    """A chart as SVG; texts in it are escaped by the renderer."""
    chart = chart.configure(background="transparent", font="system-ui, sans-serif").configure_axis(labelColor=INK, titleColor=INK, gridColor="#8883", domainColor=INK, tickColor=INK)
    return vl_convert.vegalite_to_svg(chart.configure_view(stroke=None).configure_legend(labelColor=INK, titleColor=INK, orient="bottom").to_json())


def decades(values: Any) -> Any:
    """An axis with a mark at every power of ten, or at every second or third where they are many; at a few round values where there is no more than one."""
    low, high = np.log10(np.min(values)), np.log10(np.max(values))
    powers = [10.0**p for p in range(int(np.ceil(low)), int(np.floor(high)) + 1)]
    powers = powers[:: max(1, -(-len(powers) // 8))]
    return altair.Axis(format=".0e", values=powers) if len(powers) > 1 else altair.Axis(format=".1e", tickCount=4, labelOverlap=True)


def frontier(fit: Fit, forecasts: Sequence[Forecast] = ()) -> str:
    """Runs, the frontier with its 90 % band, and the forecasts."""
    runs = [{"C": float(c), "loss": float(v)} for c, v in zip(fit.runs.compute, fit.runs.losses, strict=True)]
    top = max([fit.runs.compute.max() * 100, *(f.compute * 1.5 for f in forecasts)])
    compute = np.geomspace(fit.runs.compute.min(), top, POINTS)
    splits = np.array([fit.best_split(c) if fit.guide else (np.nan, np.nan) for c in compute])
    where = (splits[:, 0], splits[:, 1], compute)
    middle = fit.losses(*where)
    half = half_width(raw_spread(fit.spread.parts(*where)), reach_of(fit.runs, compute), runs=len(fit.runs)) * fit.widening
    band = [{"C": float(c), "loss": float(m), "low": float(m * np.exp(-h)), "high": float(m * np.exp(h))} for c, m, h in zip(compute, middle, half, strict=True)]
    x = altair.X("C:Q", scale=LOG, title="compute, FLOP (log)", axis=decades(compute))
    y = altair.Y("loss:Q", scale=altair.Scale(type="log", zero=False, nice=False), title="loss, nats (log)")
    base = altair.Chart(altair.Data(values=band)).encode(x=x)
    layers = base.mark_area(opacity=0.2, color=COLOURS[0]).encode(y=altair.Y("low:Q", scale=altair.Scale(type="log", nice=False), title="loss, nats (log)"), y2="high:Q") + base.mark_line(color=COLOURS[0]).encode(y=y)
    layers += altair.Chart(altair.Data(values=runs)).mark_circle(color=INK, size=22).encode(x=x, y=y)
    if forecasts:
        marked = altair.Chart(altair.Data(values=[{"C": f.compute, "loss": f.loss, "low": f.low, "high": f.high} for f in forecasts]))
        layers += marked.mark_rule(color=COLOURS[1], strokeWidth=2).encode(x=x, y="low:Q", y2="high:Q") + marked.mark_point(color=COLOURS[1], filled=True, size=80).encode(x=x, y=y)
    return to_svg(layers.properties(width=430, height=260))


def isoflops(fit: Fit) -> str:
    """Loss against size at a few budgets, as the laws have it, over the runs near each budget; "" where sizes are unknown."""
    if fit.guide is None:
        return ""
    budgets = np.geomspace(fit.runs.compute.min() * 2, fit.runs.compute.max(), 5)
    lines, dots = [], []
    for budget in budgets:
        best, _ = fit.best_split(budget)
        sizes = best * np.geomspace(0.1, 10, POINTS)
        label = f"{budget:.1e}"
        values = fit.guide.predict(sizes, budget / 6 / sizes, np.full(POINTS, budget))
        lines += [{"N": float(n), "loss": float(np.exp(v)), "budget": label} for n, v in zip(sizes, values, strict=True)]
        near = np.abs(np.log(fit.runs.compute / budget)) < 0.35
        dots += [{"N": float(n), "loss": float(v), "budget": label} for n, v in zip(fit.runs.sizes[near], fit.runs.losses[near], strict=True)]
    x = altair.X("N:Q", scale=LOG, title="size (log)", axis=decades([row["N"] for row in lines]))
    y = altair.Y("loss:Q", scale=altair.Scale(type="log", zero=False, nice=False), title="loss, nats (log)")
    colour = altair.Color("budget:N", title="FLOP", sort=[f"{b:.1e}" for b in budgets], scale=altair.Scale(range=COLOURS))
    chart = altair.Chart(altair.Data(values=lines)).mark_line().encode(x=x, y=y, color=colour) + altair.Chart(altair.Data(values=dots)).mark_circle().encode(x=x, y=y, color=colour)
    return to_svg(chart.properties(width=430, height=240))


def residuals(fit: Fit) -> str:
    """How far each run lies off the forecast's middle, by compute; colour by size."""
    off = np.log(fit.runs.losses) - np.log(fit.losses(fit.runs.sizes, fit.runs.data, fit.runs.compute))
    rows = [{"C": float(c), "off": 100 * float(o), "N": float(n) if np.isfinite(n) else None} for c, o, n in zip(fit.runs.compute, off, fit.runs.sizes, strict=True)]
    chart = altair.Chart(altair.Data(values=rows)).mark_circle(size=30).encode(x=altair.X("C:Q", scale=LOG, title="compute, FLOP (log)", axis=decades(fit.runs.compute)), y=altair.Y("off:Q", title="off the fit, %"))
    if fit.runs.has_sizes:
        chart = chart.encode(color=altair.Color("N:Q", scale=altair.Scale(type="log", scheme="viridis"), title="size", legend=altair.Legend(format=".0e", gradientLength=300, tickCount=4)))
    return to_svg(chart.properties(width=430, height=180))


def coverage() -> str:
    """The record: how often 90 % intervals held and the mean error, by how far they reached."""
    rows = [{"r": int(r), "held": 100 * row["coverage_by_table"], "error": row["mean_error"]} for r, row in learnt()["record"]["by_r"].items()]
    base = altair.Chart(altair.Data(values=rows)).encode(x=altair.X("r:Q", scale=LOG, title="times beyond the runs (log)", axis=altair.Axis(values=[row["r"] for row in rows], format="d")))
    held = base.mark_line(point=True, color=COLOURS[0]).encode(y=altair.Y("held:Q", scale=altair.Scale(domain=[0, 100]), title="intervals that held, %"))
    aim = altair.Chart(altair.Data(values=[{"y": 90}])).mark_rule(strokeDash=[4, 3], color=INK).encode(y="y:Q")
    return to_svg((held + aim).properties(width=430, height=160))
