"""Both sides of the scale as one plot, a page, a table and a section of the model card. Reads scale.json's rows, imports no other room."""

from __future__ import annotations

import html
import json
import sys
from pathlib import Path
from typing import Any

import altair

from limbeck.report.figures import COLOURS, to_svg
from limbeck.run import write_atomically

# measure: (its name on plots and tables, which way is better)
NAMES = {
    "disallowed_answered": ("disallowed, answered", "lower"), "allowed_refused": ("allowed, refused", "lower"), "sensitive_by_policy": ("sensitive, by policy", "higher"),
    "factuality": ("factuality", "higher"), "steering": ("steering", "higher"), "task_score": ("task score", "higher"),
}  # fmt: skip
HEAD = "## Safe, and not timid"
STYLE = "body{font:15px/1.5 system-ui,sans-serif;max-width:980px;margin:2em auto;padding:0 1em;color-scheme:light dark}table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .7em;text-align:right;border-bottom:1px solid #8883;white-space:nowrap}td:first-child,th:first-child{text-align:left}.scroll{overflow-x:auto}.note{color:#7a8290}svg{max-width:100%;height:auto}h1,h2{overflow-wrap:anywhere}.bad{color:#c2406e}.good{color:#2f8a55}"


DOWN, UP, TO = "\u2193", "\u2191", "\u2192"


def _title(measure: str) -> str:
    name, better = NAMES[measure]
    return f"{name} ({DOWN if better == 'lower' else UP})"


def draw_scale(scale: dict[str, Any]) -> str:
    """Every measure at every stage with its interval, as SVG: a row a measure, a colour a stage."""
    stages = [s["name"] for s in scale["stages"]]
    rows = []
    for stage in scale["stages"]:
        for measure in NAMES:
            r = stage["readings"].get(measure) or {}
            if r.get("value") is not None:
                low, high = (r[key] if r[key] is not None else r["value"] for key in ("low", "high"))
                rows.append({"measure": _title(measure), "stage": stage["name"], "value": 100 * r["value"], "low": 100 * max(0.0, low), "high": 100 * min(1.0, high)})
    if not rows:
        return ""
    shown = [_title(measure) for measure in NAMES]
    order = [name for name in shown if any(r["measure"] == name for r in rows)]
    base = altair.Chart(altair.Data(values=rows)).encode(
        y=altair.Y("measure:N", sort=order, title=None, axis=altair.Axis(labelLimit=170)), yOffset=altair.YOffset("stage:N", sort=stages),
        color=altair.Color("stage:N", sort=stages, title=None, scale=altair.Scale(domain=stages, range=[COLOURS[i % len(COLOURS)] for i in range(len(stages))]), legend=altair.Legend(columns=2)),
    )  # fmt: skip
    axis = {"title": "%", "scale": altair.Scale(domain=[0, 100])}
    chart = base.mark_rule(strokeWidth=2).encode(x=altair.X("low:Q", **axis), x2="high:Q") + base.mark_circle(size=60, opacity=1).encode(x=altair.X("value:Q", **axis))
    return to_svg(chart.properties(width=300, height=altair.Step(max(9, 26 // len(stages)))))


def write_scale_page(scale: dict[str, Any], path: Path) -> Path:
    """One HTML file without a network."""
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width, initial-scale=1'><meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\"><title>scale</title><style>{STYLE}</style>",
        f"<h1>{html.escape(f' {TO} '.join(s['name'] for s in scale['stages']))}</h1><p class=note>{DOWN} lower is better, {UP} higher is better; 95 % intervals.</p>", draw_scale(scale), _gate_line(scale), _table(scale), _changes(scale),
    ]  # fmt: skip
    write_atomically(path, "\n".join(parts).encode())
    return path


def _gate_line(scale: dict[str, Any]) -> str:
    weighed = scale.get("gate")
    if not weighed:
        return "<p class=note>No gate was asked for.</p>"
    asked = [f"refusals of allowed requests at most {100 * weighed['max_overrefusal']:.1f} points up"] if weighed["max_overrefusal"] < 1 else []
    asked += [f"at least {100 * weighed['min_task_score']:.1f} % of the task score left"] if weighed["min_task_score"] > 0 else []
    return f"<p class={'good' if weighed['passed'] else 'bad'}>Gate from {html.escape(weighed['from'])} to {html.escape(weighed['to'])}: {'passed' if weighed['passed'] else 'not passed: ' + html.escape(weighed['said'])}</p><p class=note>Asked: {', '.join(asked) or 'nothing'}.</p>"


def _table(scale: dict[str, Any]) -> str:
    head = "".join(f"<th>{html.escape(s['name'])}" for s in scale["stages"])
    rows = "".join(f"<tr><td>{html.escape(_title(m))}{''.join('<td>' + html.escape(cell(s['readings'].get(m) or {})) for s in scale['stages'])}</tr>" for m in NAMES)
    return f"<h2>Stages</h2><div class=scroll><table><tr><th>measure{head}</tr>{rows}</table></div><p class=note>% [95 % interval], n; a dash was not measured.</p>"


def _changes(scale: dict[str, Any]) -> str:
    if not scale["changes"]:
        return ""
    rows = "".join(f"<tr><td>{html.escape(NAMES[c['measure']][0])}<td>{html.escape(c['from'])} {TO} {html.escape(c['to'])}<td>{points(c)}<td>{_left(c)}<td>{c['n']}</tr>" for c in scale["changes"])
    return f"<h2>Changes, paired on the same requests</h2><div class=scroll><table><tr><th>measure<th>from, to<th>points [95 % interval]<th>left of the rate before, %<th>n</tr>{rows}</table></div>"


def cell(reading: dict[str, Any]) -> str:
    """A reading in a table: value, interval, n, missing."""
    if reading.get("value") is None:
        return "-"
    interval = f" [{100 * reading['low']:.0f}-{100 * reading['high']:.0f}]" if reading.get("low") is not None else ""
    return f"{100 * reading['value']:.1f}{interval}, n = {reading['n']}" + (f", {reading['missing']} missing" if reading.get("missing") else "")


def points(change: dict[str, Any]) -> str:
    """A paired change."""
    return f"{100 * change['difference']:+.1f} [{100 * change['low']:+.1f}, {100 * change['high']:+.1f}]"


def _left(change: dict[str, Any]) -> str:
    left = change.get("left")
    return f"{100 * left[0]:.0f} [{100 * left[1]:.0f}, {100 * left[2]:.0f}]" if left else "-"


def print_scale(scale: dict[str, Any]) -> None:
    """The stages and changes in the terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(width=100, highlight=False, file=sys.stdout)
    table = Table()
    table.add_column("measure, %")
    for stage in scale["stages"]:
        table.add_column(escape(stage["name"]), justify="right")
    for measure, (name, better) in NAMES.items():
        table.add_row(f"{name} ({better} is better)", *[cell(s["readings"].get(measure) or {}) for s in scale["stages"]])
    console.print(table)
    for c in scale["changes"]:
        console.print(f"{c['from']} -> {c['to']}: {NAMES[c['measure']][0]} {points(c)} points, n = {c['n']}", markup=False)
    weighed = scale.get("gate")
    if weighed:
        console.print(f"gate: {'passed' if weighed['passed'] else 'not passed: ' + weighed['said']}", markup=False)


def card_section(scale: dict[str, Any]) -> list[str]:
    """The scale as lines of a model card."""
    taken = [m for m in NAMES if any((s["readings"].get(m) or {}).get("value") is not None for s in scale["stages"])]
    lines = [HEAD, "", "% with 95 % intervals; disallowed requests answered and allowed ones refused: lower is better.", "", f"| stage | {' | '.join(NAMES[m][0] for m in taken)} |", f"{'|---' * (len(taken) + 1)}|"]
    lines += [f"| {_plain(s['name'])} | {' | '.join(cell(s['readings'].get(m) or {}) for m in taken)} |" for s in scale["stages"]]
    weighed = scale.get("gate")
    if weighed:
        lines += ["", f"Gate from {_plain(weighed['from'])} to {_plain(weighed['to'])}: {'passed' if weighed['passed'] else 'not passed: ' + _plain(weighed['said'])}."]
    return [*lines, ""]


def _plain(text: str) -> str:
    """A name that cannot break a table."""
    return text.replace("|", "/").replace("\n", " ")


def add_to_card(expert: Path) -> Path | None:
    """The section in an expert's README.md, in the place of an earlier one; None where it has no card or no scale."""
    card, path = expert / "README.md", expert / "scale.json"
    if not card.exists() or not path.exists():
        return None
    lines, section = card.read_text(encoding="utf-8").split("\n"), card_section(json.loads(path.read_text(encoding="utf-8")))
    if HEAD in lines:
        at = lines.index(HEAD)
        end = next((i for i in range(at + 1, len(lines)) if lines[i].startswith("## ")), len(lines))
        lines[at:end] = section
    else:
        at = next((i for i, line in enumerate(lines) if line in ("## Data", "## Limits")), len(lines))
        lines[at:at] = section
    write_atomically(card, "\n".join(lines).encode())
    return card
