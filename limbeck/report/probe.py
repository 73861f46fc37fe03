"""The page and the table of a probe. What was asked and said is untrusted and may be harmful: escaped, folded, never on the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import altair
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from limbeck.report.figures import COLOURS, INK, to_svg
from limbeck.run import write_atomically

LONGEST = 4000  # characters of one text on the page
TITLES = {
    "xstest-safe": "safe requests that sound unsafe (XSTest)", "xstest-unsafe": "unsafe requests (XSTest)", "harmbench": "unsafe requests (HarmBench)",
    "role-play": "unsafe seeds, a role to play", "languages": "unsafe seeds, answer in another language", "encodings": "unsafe seeds, encoded", "many-turn": "unsafe seeds, after other turns", "own-allowed": "harmless requests of our own", "own-disallowed": "requests of our own to be refused",
}  # fmt: skip


def write_page(probe: dict[str, Any], results: dict[str, dict[str, Any]], path: Path) -> Path:
    """One self-contained HTML file without a network; `results` hold the transcripts."""
    environment = Environment(loader=PackageLoader("limbeck.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["pct"] = lambda v: "-" if v is None else f"{100 * v:.1f}"
    environment.filters["signed"] = lambda v: f"{100 * v:+.1f}"
    html = environment.get_template("probe.html").render(
        probe=probe, titles=TITLES, plot=Markup(draw_families(probe["families"])) if probe["families"] else "", tiles=_tiles(probe),
        transcripts=[(name, TITLES.get(name, name), [_shown(t) for t in result["trials"]]) for name, result in results.items() if name != "factuality"],
    )  # fmt: skip
    write_atomically(path, html.encode())
    return path


def _tiles(probe: dict[str, Any]) -> list[tuple[str, dict[str, Any], str]]:
    found = [("disallowed requests answered", probe.get("disallowed_answered"), "lower is better"), ("allowed requests refused", probe.get("allowed_refused"), "lower is better"), ("sensitive requests answered by the policy", probe.get("sensitive_by_policy"), "higher is better"), ("system messages followed", probe.get("steering"), "higher is better"), ("adversarial questions answered truly", probe.get("factuality"), "higher is better")]
    return [(title, row, note) for title, row, note in found if row]


def _shown(trial: dict[str, Any]) -> dict[str, Any]:
    """One conversation as the page shows it."""
    turns = trial.get("messages") or [{"role": "user", "content": trial["utterance"]}]
    label = trial["status"]
    if label == "scored" and "refused" in trial:
        label = "refused" if trial["refused"][0] else "answered" if trial["wholly"][0] else "answered in part"
    elif label == "scored" and "by_policy" in trial:
        label = "by the policy" if trial["by_policy"][0] else "not by the policy"
    elif label == "scored":
        label = "followed" if trial.get("followed", [0])[0] else "not followed"
    return {"id": trial["id"], "kind": trial["family"], "label": label, "reason": trial["reason"], "turns": [{"role": t["role"], "content": str(t["content"])[:LONGEST]} for t in turns], "answers": [c[:LONGEST] for c in trial["candidates"]]}


def draw_families(families: list[dict[str, Any]]) -> str:
    """Each family's rate with its interval: unsafe ones answered, safe ones refused; for clothed seeds also their plain requests."""
    rows = []
    for f in families:
        if f["value"] is not None:
            what = "unsafe, answered" if f["unsafe"] else "safe, refused"
            rows.append({"family": f["family"], "what": what, "value": 100 * f["value"], "low": 100 * f["low"], "high": 100 * f["high"]})
            plain = f.get("against_plain")
            if plain:
                rows.append({"family": f["family"], "what": "the same seeds, plain", "value": 100 * plain["plain"], "low": 100 * plain["plain"], "high": 100 * plain["plain"]})
    if not rows:
        return ""
    order = [f["family"] for f in families]
    marks = {"unsafe, answered": (COLOURS[1], "circle"), "safe, refused": (COLOURS[0], "circle"), "the same seeds, plain": (COLOURS[7], "diamond")}
    kinds = [kind for kind in marks if any(r["what"] == kind for r in rows)]
    base = altair.Chart(altair.Data(values=rows)).encode(y=altair.Y("family:N", sort=order, title=None, axis=altair.Axis(labelLimit=110)), color=altair.Color("what:N", sort=kinds, title=None, scale=altair.Scale(domain=kinds, range=[marks[kind][0] for kind in kinds]), legend=altair.Legend(columns=1)))
    x = altair.X("value:Q", title="% of requests", scale=altair.Scale(domain=[0, 100]))
    return to_svg((base.mark_rule(strokeWidth=2).encode(x=altair.X("low:Q", title="% of requests", scale=altair.Scale(domain=[0, 100])), x2="high:Q") + base.mark_point(size=60, filled=True, opacity=1).encode(x=x, shape=altair.Shape("what:N", sort=kinds, legend=None, scale=altair.Scale(domain=kinds, range=[marks[kind][1] for kind in kinds])))).properties(width=230, height=altair.Step(26)).configure_axisX(titleColor=INK))


def print_probe(probe: dict[str, Any]) -> None:
    """Rates alone: neither requests nor answers."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(width=100, highlight=False, file=sys.stdout)
    table = Table(title=escape(probe["model"]), title_justify="left")
    for heading in ("family", "what", "%", "95 % interval", "n", "missing", "against plain seeds"):
        table.add_column(heading, justify="left" if heading in ("family", "what") else "right")
    for f in probe["families"]:
        plain = f.get("against_plain")
        table.add_row(f["family"], "unsafe, answered" if f["unsafe"] else "safe, refused", *_cells(f), f"{100 * plain['difference']:+.1f} [{100 * plain['low']:+.1f}, {100 * plain['high']:+.1f}]" if plain else "")
    for name, row, what in (("sensitive", probe.get("sensitive_by_policy"), "ideal or acceptable"), ("steering", probe.get("steering"), "messages followed"), ("  without a message", (probe.get("steering") or {}).get("unasked"), "rules met by chance"), ("factuality", probe.get("factuality"), "true answer likeliest")):
        if row:
            table.add_row(name, what, *_cells(row), "")
    console.print(table)
    partly = probe.get("allowed_partly")
    if partly and partly["value"]:
        console.print(f"{100 * partly['value']:.1f} % of safe requests were refused in part; they are not among the refused")
    for name, why in probe["absent"].items():
        console.print(f"not asked: {name}: {why}", markup=False)
    for reason in (probe.get("factuality") or {}).get("why_missing", ()):
        console.print(f"missing: factuality: {reason}", markup=False)
    for change in probe.get("against", {}).get("changes", ()):
        console.print(f"{change['part']}: {said(change)}", markup=False)


def said(change: dict[str, Any]) -> str:
    """A paired change in points, with its interval, and how much is left of the rate before."""
    left = change.get("left")
    fewer = f"; {100 * left[0]:.0f} % of it left [{100 * left[1]:.0f}, {100 * left[2]:.0f}]" if left else ""
    return f"{100 * change['before']:.1f} % before, {100 * change['after']:.1f} % now: {100 * change['difference']:+.1f} points [{100 * change['low']:+.1f}, {100 * change['high']:+.1f}]{fewer}, n = {change['n']}"


def _cells(row: dict[str, Any]) -> tuple[str, str, str, str]:
    if row["value"] is None:
        return "-", "-", "0", str(row["missing"])
    return f"{100 * row['value']:.1f}", f"{100 * row['low']:.1f} to {100 * row['high']:.1f}", str(row["n"]), str(row["missing"])
