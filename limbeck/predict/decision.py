"""One page to decide by: the held-out rung, the forecasts, the doubts, four plots, the record."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from limbeck.predict import figures
from limbeck.predict.intervals import learnt
from limbeck.predict.scaling import Fit, Forecast
from limbeck.run import write_atomically

STYLE = "body{font:15px/1.5 system-ui,sans-serif;max-width:980px;margin:2em auto;padding:0 1em;color-scheme:light dark}table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:right}.doubt{border-left:4px solid #e0762f;padding-left:.8em}figure{display:inline-block;margin:.5em}svg{max-width:100%}"


def write_page(fit: Fit, forecasts: Sequence[Forecast], path: Path) -> Path:
    """The page as one HTML file without a network."""
    plots = [("The frontier and its 90 % band", figures.frontier(fit, forecasts)), ("The same compute split otherwise", figures.isoflops(fit)), ("What the fit leaves", figures.residuals(fit)), ("How often such intervals held on other tables", figures.coverage())]
    parts = [f"<!doctype html><meta charset=utf-8><title>Forecast: {html.escape(fit.runs.name)}</title><style>{STYLE}</style><h1>Forecast from {len(fit.runs)} runs</h1>", _tested(fit), _table(forecasts), _doubts(fit, forecasts)]
    parts += [f"<figure><figcaption>{title}</figcaption>{svg}</figure>" for title, svg in plots if svg]
    write_atomically(path, "\n".join([*parts, _record()]).encode())
    return path


def _tested(fit: Fit) -> str:
    held = fit.held_out
    if held is None:
        return "<p><b>Untested on this table:</b> no runs lie far enough below the largest to hold it out.</p>"
    return f"<p><b>Held out first:</b> from {held.fitted} runs of {held.times:.0f} times less compute the top rung ({held.held_out} runs) is forecast to {100 * held.error:.2f} % (interval ±{100 * held.half_width:.1f} %).</p>"


def _table(forecasts: Sequence[Forecast]) -> str:
    if not forecasts:
        return ""
    rows = "".join(f"<tr><td>{f.compute:.3g}<td>{f.size:.3g}<td>{f.data:.3g}<td>{f.reach:,.0f}<td><b>{f.loss:.4f}</b><td>{f.low:.4f} to {f.high:.4f}</tr>" if f.size and f.data else f"<tr><td>{f.compute:.3g}<td><td><td>{f.reach:,.0f}<td><b>{f.loss:.4f}</b><td>{f.low:.4f} to {f.high:.4f}</tr>" for f in forecasts)
    return f"<table><tr><th>FLOP<th>size<th>data<th>times the largest run<th>loss, nats<th>{100 * forecasts[0].level:g} % interval</tr>{rows}</table>"


def _doubts(fit: Fit, forecasts: Sequence[Forecast]) -> str:
    said = [f"{f.what}; {f.fix}" for f in fit.findings] + [w for f in forecasts for w in f.warnings]
    return "".join(f"<p class=doubt>{html.escape(s)}</p>" for s in dict.fromkeys(said))


def _record() -> str:
    facts = learnt()["record"]
    rows = "".join(f"<tr><td>{r}<td>{row['tables']}<td>{row['targets']}<td>{row['mean_error']} %<td>{row['worst_error']} %<td>{100 * row['coverage']:.0f} %<td>{100 * row['median_width']:.1f} %</tr>" for r, row in facts["by_r"].items())
    return f"<h2>The record of these intervals</h2><p>{html.escape(facts['how'])}.</p><table><tr><th>times beyond<th>tables<th>targets<th>mean error<th>worst table<th>90 % intervals held<th>median width</tr>{rows}</table>"
