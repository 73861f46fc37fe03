"""One page of a staircase: score by generation and arm with intervals, what each generation was made of and cost, what the gates said."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import altair
import vl_convert

from limbeck.run import write_atomically

INK = "#7a8290"
COLOURS = ["#8a8f98", "#2f7ed8", "#e0762f", "#3fa66b", "#9b6bd3", "#c9a227", "#d2527f"]
SPREAD = 0.6  # of a generation's width over which arms stand side by side, so that their intervals do not hide each other
STYLE = "body{font:15px/1.5 system-ui,sans-serif;max-width:1060px;margin:2em auto;padding:0 1em;color-scheme:light dark}table{border-collapse:collapse;margin:1em 0;white-space:nowrap}td,th{padding:.2em .7em;text-align:right;border-bottom:1px solid #8883;vertical-align:top}th{white-space:normal}td:first-child,th:first-child{text-align:left}td.said{text-align:left;white-space:normal;min-width:22em}.scroll{overflow-x:auto}svg{max-width:100%;height:auto}.note{color:#7a8290}@media(max-width:600px){body{margin:1em auto}td,th{padding:.2em .45em}h1{font-size:1.4em;overflow-wrap:anywhere}}"
ARMS = {
    "seed": "gold of generation 0 alone", "self": "and the student's own answers that passed", "larger": "and a larger model's answers that passed", "unverified": "and all of a larger model's answers",
    "replace": "a larger model's answers in place of what there was", "weaker": "and a smaller model's answers that passed", "gold": "and the gold of the same requests: the upper bound",
}  # fmt: skip


def write_page(results: dict[str, Any], path: Path) -> Path:
    """The page as one HTML file without a network."""
    name, task, seeds = html.escape(results["name"]), html.escape(results["task"]), len(results["seeds"])
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width,initial-scale=1'><title>{name}</title><style>{STYLE}</style><h1>{name}: {task}</h1>",
        f"<p class=note>{seeds} seed{'s' if seeds != 1 else ''}; every student has the same size, steps and batch, every asker the same sampling compute. Small dots are seeds, lines their means, bars 95 % intervals {'over questions and seeds' if seeds > 1 else 'over questions: one seed says nothing of others'}.</p>",
        plot(results), _legend(results), "<h2>Scores</h2>", _scores(results), "<h2>What the data are</h2>", _made_of(results), "<h2>What it cost</h2>", _spend(results), "<h2>Each seed</h2>", _each(results),
    ]  # fmt: skip
    write_atomically(path, "\n".join(part for part in parts if part).encode())
    return path


def plot(results: dict[str, Any]) -> str:
    """Score by generation, a line an arm, from the seeds' own start; as SVG."""
    start = next(r for r in results["rows"] if r["arm"] == "seed")
    arms = list(dict.fromkeys(r["arm"] for r in results["rows"]))
    last = max(r["generation"] for r in results["rows"])
    lines, dots = [], []
    for number, arm in enumerate(arms):
        aside = SPREAD * (number / max(1, len(arms) - 1) - 0.5) if len(arms) > 1 else 0.0
        rows = [r for r in results["rows"] if r["arm"] == arm]
        if arm == "seed":  # it does not climb: its level runs through the whole picture
            rows = [{**start, "generation": g} for g in range(last + 1)]
        for row in [start, *rows] if arm != "seed" else rows:
            at = row["generation"] + (aside if row["generation"] else 0.0)
            held = {"arm": arm, "generation": at, "score": 100 * row["score"]}
            has_bar = "low" in row and (arm == "seed") == (row["generation"] == 0)
            lines.append(held | ({"low": 100 * row["low"], "high": 100 * row["high"]} if has_bar else {}))
            dots += [{"arm": arm, "generation": at, "score": 100 * s} for s in row["each"]] if (arm == "seed") == (row["generation"] == 0) else []
    colour = altair.Color("arm:N", sort=arms, scale=altair.Scale(domain=arms, range=COLOURS[: len(arms)]), legend=None)
    x = altair.X("generation:Q", axis=altair.Axis(values=list(range(last + 1)), format="d", grid=False), scale=altair.Scale(domain=[-0.2, last + 0.4], nice=False), title="generation")
    y = altair.Y("score:Q", title="right on the examination, %", scale=altair.Scale(zero=True))
    base = altair.Chart(altair.Data(values=lines))
    bars = altair.Chart(altair.Data(values=[row for row in lines if "low" in row])).mark_rule(opacity=0.7, strokeWidth=1.5).encode(x=x, y=altair.Y("low:Q", title="right on the examination, %"), y2="high:Q", color=colour)
    chart = base.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour) + bars + base.mark_point(filled=True, size=50, opacity=1).encode(x=x, y=y, color=colour) + altair.Chart(altair.Data(values=dots)).mark_circle(opacity=0.5, size=18).encode(x=x, y=y, color=colour)
    chart = chart.properties(width=560, height=320).configure(background="transparent", font="system-ui, sans-serif").configure_axis(labelColor=INK, titleColor=INK, gridColor="#8883", domainColor=INK, tickColor=INK, labelFontSize=13, titleFontSize=13, titlePadding=12, titleFontWeight="normal")
    return vl_convert.vegalite_to_svg(chart.configure_view(stroke=None).to_json())


def _legend(results: dict[str, Any]) -> str:
    arms = list(dict.fromkeys(r["arm"] for r in results["rows"]))
    return "<p>" + "<br>".join(f"<span style='color:{COLOURS[at % len(COLOURS)]}'>&#9632;</span> <strong>{html.escape(arm)}</strong> <span class=note>{html.escape(ARMS.get(arm, ''))}</span>" for at, arm in enumerate(arms)) + "</p>"


def _table(heads: list[str], rows: list[list[str]], said_last: bool = False) -> str:
    cells = "".join("<tr>" + "".join(f"<td class=said>{c}" if said_last and at == len(row) - 1 else f"<td>{c}" for at, c in enumerate(row)) + "</tr>" for row in rows)
    return f"<div class=scroll><table><tr>{''.join(f'<th>{h}' for h in heads)}</tr>{cells}</table></div>"


def _scores(results: dict[str, Any]) -> str:
    rows = []
    for r in results["rows"]:
        right = f"{100 * r['score']:.1f}" + (f" [{100 * r['low']:.1f}, {100 * r['high']:.1f}]" if "low" in r else "")
        rows.append([html.escape(r["arm"]), str(r["generation"]), str(r["seeds"]), right, said(r.get("minus_seed")), said(r.get("minus_self")), _points(r.get("minus_self_each")), str(r["n"])])
    return _table(["arm", "generation", "seeds", "right, % [95 %]", "less gold of generation 0 alone", "less self-training", "each seed", "n"], rows)


def _points(each: list[float] | None) -> str:
    return ", ".join(f"{100 * e:+.1f}" for e in each or ())


def _made_of(results: dict[str, Any]) -> str:
    """By arm and generation, seeds together: yield, different answers, what is shared with the tests."""
    rows = []
    for r in results["rows"]:
        if "made" not in r:
            continue
        m = r["made"]
        rows.append([html.escape(r["arm"]), str(r["generation"]), f"{m['records']:,}", f"{m['asked']:,}", f"{m['drawn']:,}", f"{m['kept']:,}", f"{m['kept'] / m['asked']:.0%}" if m["asked"] else "", f"{1000 * m['kept'] / m['drawn']:.0f}" if m["drawn"] else "", f"{m['distinct']:,}", f"{m['requests']:,}", f"{m['answers']:,}"])
    heads = ["arm", "generation", "records", "asked", "draws", "kept", "of requests", "kept of 1,000 draws", "different answers", "requests of a test", "answers of a test"]
    return _table(heads, rows) + "<p class=note>Seeds together. A record is counted as of a test where its request, or all of its answer, is that of a test but for case and white space; such answers to other questions are no leak by themselves.</p>" if rows else ""


def _spend(results: dict[str, Any]) -> str:
    rows, usd = [], 0.0
    for r in results["rows"]:
        if "spend" not in r:
            continue
        s, cpu = r["spend"], r["spend"]["cpu_s"]
        usd += s["usd"]
        rows.append([html.escape(r["arm"]), str(r["generation"]), f"{s['tokens_out']:,}", f"{s['tokens_in']:,}", f"{cpu['distill']:,.0f}", f"{cpu['train']:,.0f}", f"{s['usd']:.4f}" if s["usd"] else "0"])
    if not rows:
        return ""
    paid = f"{usd:.4f} USD were paid to servers." if usd else "Nothing was paid: every model that answered ran here."
    return _table(["arm", "generation", "tokens sampled", "tokens read", "CPU seconds, asking", "CPU seconds, training", "USD"], rows) + f"<p class=note>Seeds together. {paid} Asking includes judging; training includes the asker of the next generation. What a kill cut off is not in the seconds.</p>"


def _each(results: dict[str, Any]) -> str:
    rows = [[html.escape(r["arm"]), str(r["seed"]), str(r["generation"]), f"{100 * r['score']:.1f}", f"{r['records']:,}", f"{r['kept']:,}", html.escape(_end(r))] for r in results["rungs"]]
    return _table(["arm", "seed", "generation", "right, %", "records", "kept", "gate, end"], rows, said_last=True)


def _end(rung: dict[str, Any]) -> str:
    if rung["skipped"]:
        return f"skipped: {rung['skipped']}"
    return f"stopped: {rung['stopped']}" if rung["stopped"] else str(rung["gate"].get("said", ""))


def said(gap: list[float] | None) -> str:
    """A paired difference in points with its interval."""
    return "" if gap is None else f"{100 * gap[0]:+.1f} [{100 * gap[1]:+.1f}, {100 * gap[2]:+.1f}]"
