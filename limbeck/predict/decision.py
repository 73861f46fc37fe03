"""One page to decide by: the held-out rung, the forecasts, the doubts, four plots, the record."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from limbeck.predict import figures
from limbeck.predict.intervals import learnt
from limbeck.predict.scaling import Fit, Forecast
from limbeck.run import write_atomically

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --paper: #fbfaf7; --card: #fff; --soft: #67707e; --line: #dcdad3; --doubt: #e0762f }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaee; --paper: #14171c; --card: #1c2027; --soft: #98a1ae; --line: #323843 } }
* { box-sizing: border-box }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper) }
main { max-width: 1120px; margin: auto; padding: 24px 16px 48px }
h1 { font-size: 28px; margin: 0 0 4px; letter-spacing: -.02em } h2 { font-size: 19px; margin: 28px 0 10px } h3, figcaption { font-size: 14px; margin: 0 0 8px; color: var(--soft); font-weight: 600 }
p { margin: 8px 0 } .note { color: var(--soft); font-size: 13px }
.tiles, .grid { display: grid; gap: 14px; margin-top: 14px } .tiles { grid-template-columns: repeat(auto-fit, minmax(min(240px, 100%), 1fr)) } .grid { grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)) }
.card, figure { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; margin: 0; min-width: 0 } .card b { display: block; font-size: 28px; line-height: 1.2; letter-spacing: -.02em }
svg { max-width: 100%; height: auto; display: block }
.doubt { border-left: 4px solid var(--doubt); padding-left: .8em; overflow-wrap: anywhere }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-size: 13px; width: 100% } th, td { padding: 5px 8px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap } th { color: var(--soft) }
"""


def write_page(fit: Fit, forecasts: Sequence[Forecast], path: Path, refused: str = "") -> Path:
    """The page as one HTML file without a network; `refused`: why there is no forecast, in its place."""
    plots = [("The frontier and its 90 % band", figures.frontier(fit, forecasts)), ("The same compute split otherwise", figures.isoflops(fit)), ("What the fit leaves", figures.residuals(fit)), ("How often such intervals held on other tables, by table", figures.coverage())]
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src \'unsafe-inline\'">'
    drawn = "".join(f"<figure><figcaption>{title}</figcaption>{svg}</figure>" for title, svg in plots if svg)
    parts = [f"{head}<title>Forecast: {html.escape(fit.runs.name)}</title><style>{STYLE}</style><main><h1>Forecast from {len(fit.runs)} runs</h1>", _tested(fit), _tiles(forecasts), f'<div class="card"><h3>no forecast</h3><b>{html.escape(refused)}</b></div>' if refused else "", _doubts(fit, forecasts), f'<div class="grid">{drawn}</div>', _record(), "</main></html>"]
    write_atomically(path, "\n".join(parts).encode())
    return path


def _tested(fit: Fit) -> str:
    held = fit.held_out
    if held is None:
        return "<p><b>Untested on this table:</b> no runs lie far enough below the largest to hold it out.</p>"
    return f"<p><b>Held out first:</b> from {held.fitted} runs of {held.times:.0f} times less compute the top rung ({held.held_out} run{'s' * (held.held_out > 1)}) is forecast to {100 * held.error:.2f} % (interval ±{100 * held.half_width:.1f} %).</p>"


def _tiles(forecasts: Sequence[Forecast]) -> str:
    if not forecasts:
        return ""
    tiles = ""
    for f in forecasts:
        where = f"{f.compute:.3g} FLOP" + (f", size {f.size:.3g}, data {f.data:.3g}" if f.size and f.data else "")
        tiles += f'<div class="card"><h3>{where}</h3><b>{f.loss:.4f} nats</b><span class="note">{100 * f.level:g} % interval {f.low:.4f} to {f.high:.4f}; {f.reach:,.0f} times the largest run</span></div>'
    return f'<div class="tiles">{tiles}</div>'


def _doubts(fit: Fit, forecasts: Sequence[Forecast]) -> str:
    said = [f"{f.what}; {f.fix}" for f in fit.findings] + [w for f in forecasts for w in f.warnings]
    return "".join(f'<p class="doubt">{html.escape(s)}</p>' for s in dict.fromkeys(said))


def _record() -> str:
    facts = learnt()["record"]
    rows = "".join(f"<tr><td>{r}<td>{row['tables']}<td>{row['targets']}<td>{row['mean_error']} %<td>{row['worst_error']} %<td>{100 * row['coverage']:.0f} %<td>{100 * row['median_width']:.1f} %</tr>" for r, row in facts["by_r"].items())
    return f"<h2>The record of these intervals</h2><p>{html.escape(facts['how'])}.</p><div class='card scroll'><table><tr><th>times beyond<th>tables<th>targets<th>mean error<th>worst table<th>90 % intervals held<th>median width</tr>{rows}</table></div>"
