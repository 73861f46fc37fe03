"""One page of a staircase: score by generation and arm, what each generation was made of, what the gates said."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import altair
import vl_convert

from limbeck.run import write_atomically

INK = "#7a8290"
COLOURS = ["#8a8f98", "#2f7ed8", "#e0762f", "#3fa66b", "#9b6bd3", "#c9a227", "#d2527f"]
STYLE = "body{font:15px/1.5 system-ui,sans-serif;max-width:980px;margin:2em auto;padding:0 1em;color-scheme:light dark}table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .7em;text-align:right;border-bottom:1px solid #8883}td:first-child,th:first-child{text-align:left}.scroll{overflow-x:auto}.note{color:#7a8290}"


def write_page(results: dict[str, Any], path: Path) -> Path:
    """The page as one HTML file without a network."""
    parts = [f"<!doctype html><meta charset=utf-8><title>{html.escape(results['name'])}</title><style>{STYLE}</style><h1>{html.escape(results['name'])}: {html.escape(results['task'])}</h1>"]
    seeds = len(results["seeds"])
    parts += [f"<p class=note>{seeds} seed{'s' if seeds != 1 else ''}; every student has the same size, steps and batch, every asker the same sampling compute. Dots are seeds, lines their means.</p>", plot(results), _scores(results), _made_of(results)]
    write_atomically(path, "\n".join(parts).encode())
    return path


def plot(results: dict[str, Any]) -> str:
    """Score by generation, a line an arm, from the seeds' own start; as SVG."""
    start = next(r for r in results["rows"] if r["arm"] == "seed")
    arms = list(dict.fromkeys(r["arm"] for r in results["rows"]))
    lines, dots = [], []
    for arm in arms:
        rows = [r for r in results["rows"] if r["arm"] == arm]
        for row in [start, *rows] if arm != "seed" else rows:
            lines.append({"arm": arm, "generation": row["generation"], "score": 100 * row["score"]})
            dots += [{"arm": arm, "generation": row["generation"], "score": 100 * s} for s in row["each"]]
    colour = altair.Color("arm:N", sort=arms, scale=altair.Scale(domain=arms, range=COLOURS[: len(arms)]), title=None)
    x = altair.X("generation:Q", axis=altair.Axis(tickMinStep=1, format="d"), title="generation")
    y = altair.Y("score:Q", title="right on the examination, %")
    chart = altair.Chart(altair.Data(values=lines)).mark_line(point=True).encode(x=x, y=y, color=colour) + altair.Chart(altair.Data(values=dots)).mark_circle(opacity=0.4, size=24).encode(x=x, y=y, color=colour)
    chart = chart.properties(width=640, height=320).configure(background="transparent", font="system-ui, sans-serif").configure_axis(labelColor=INK, titleColor=INK, gridColor="#8883", domainColor=INK, tickColor=INK)
    return vl_convert.vegalite_to_svg(chart.configure_view(stroke=None).configure_legend(labelColor=INK, orient="bottom").to_json())


def _scores(results: dict[str, Any]) -> str:
    rows = "".join(f"<tr><td>{r['arm']}<td>{r['generation']}<td>{r['seeds']}<td>{100 * r['score']:.1f}<td>{said(r.get('minus_seed'))}<td>{said(r.get('minus_self'))}<td>{r['n']}</tr>" for r in results["rows"])
    return f"<div class=scroll><table><tr><th>arm<th>generation<th>seeds<th>right, %<th>less gold of generation 0 alone<th>less self-training<th>n</tr>{rows}</table></div>"


def _made_of(results: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{r['arm']}<td>{r['seed']}<td>{r['generation']}<td>{r['records']:,}<td>{r['asked']:,}<td>{r['drawn']:,}<td>{r['kept']:,}<td>{r['distinct']:,}<td style='text-align:left'>{html.escape(_end(r))}</tr>" for r in results["rungs"]
    )
    return f"<div class=scroll><table><tr><th>arm<th>seed<th>generation<th>records<th>asked<th>draws<th>kept<th>different answers<th style='text-align:left'>gate, end</tr>{rows}</table></div>"


def _end(rung: dict[str, Any]) -> str:
    if rung["skipped"]:
        return f"skipped: {rung['skipped']}"
    return f"stopped: {rung['stopped']}" if rung["stopped"] else str(rung["gate"].get("said", ""))


def said(gap: list[float] | None) -> str:
    """A paired difference in points with its interval."""
    return "" if gap is None else f"{100 * gap[0]:+.1f} [{100 * gap[1]:+.1f}, {100 * gap[2]:+.1f}]"
