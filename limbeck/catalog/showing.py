"""`limbeck catalog`: all claims of a model side by side, never one number as truth."""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from limbeck.catalog.estimators import estimate, fit_price_law, price_ratio_errors, quantiles
from limbeck.catalog.facts import BELIEVED, Claim, PublishedScore, load_claims, load_scores, misprints
from limbeck.errors import LimbeckError


def slug(name: str) -> str:
    """'GPT-4o mini' and 'openai/gpt-4o-mini' are one name."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower().split("/")[-1]).strip("-")


def find_claims(name: str, claims: Sequence[Claim] | None = None) -> list[Claim]:
    """All claims of the model that a name or alias means. Raises LimbeckError with the nearest names."""
    claims = load_claims() if claims is None else claims
    names = {slug(n): c.model for c in claims for n in (c.model, *c.aliases)}
    wanted = names.get(slug(name))
    if wanted is None:
        near = difflib.get_close_matches(slug(name), names, 3, 0.5)
        raise LimbeckError(f"the catalogue has no model {name!r}", "catalog", f"did you mean {', '.join(near)}? " if near else "`limbeck catalog` lists all")
    return [c for c in claims if c.model == wanted]


def believed_range(claims: Sequence[Claim]) -> tuple[float, float] | None:
    """The official size where there is one, else the span of all claims that were not taken back; None without any."""
    for standings in (("official",), BELIEVED):
        sizes = [c.total_B for c in claims if c.total_B and c.standing in standings]
        if sizes:
            return min(sizes), max(sizes)
    return None


def like_with_like(scores: Sequence[PublishedScore]) -> dict[tuple[str, str], list[PublishedScore]]:
    """Scores by benchmark and setting: only those of one key may be compared."""
    groups: dict[tuple[str, str], list[PublishedScore]] = {}
    for score in scores:
        groups.setdefault((score.benchmark, score.setting), []).append(score)
    return groups


def score_points(benchmark: str, setting: str) -> list[dict[str, Any]]:
    """What a figure of score against size needs: each model's score with the range and standing of its size, and its price."""
    points = []
    for score in like_with_like(load_scores()).get((benchmark, setting), []):
        claims = [c for c in load_claims() if c.model == score.model]
        span = believed_range(claims)
        official = any(c.standing == "official" and c.total_B for c in claims)
        price = next((c.price_out_usd for c in claims if c.price_out_usd), None)
        points.append({
            "model": score.label or score.model, "score": score.score, "setting": setting, "source": score.source, "price_out_usd": price,
            "low_B": span[0] if span else None, "high_B": span[1] if span else None, "standing": "official" if official else "claimed" if span else "undisclosed",
        })  # fmt: skip
    return points


def describe(name: str) -> dict[str, Any]:
    """Everything known of one model, for machines."""
    claims = find_claims(name)
    span = believed_range(claims)
    return {
        "model": claims[0].model, "claims": [asdict(c) for c in claims], "range_B": list(span) if span else None,
        "estimates": [asdict(e) for e in estimate(claims)], "scores": [asdict(s) for s in load_scores() if s.model == claims[0].model],
    }  # fmt: skip


def run_catalog(model: str | None, as_json: bool) -> None:
    """Print one model, or the list of all."""
    if as_json:
        found = describe(model) if model else {"claims": [asdict(c) for c in load_claims()], "scores": [asdict(s) for s in load_scores()]}
        sys.stdout.write(json.dumps(found) + "\n")
        return
    from rich.console import Console

    console = Console(width=100, highlight=False)
    for table in _show_model(model) if model else _show_all():
        console.print(table)


def _size(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}B" if value >= 10 else f"{value:.3g}B"


def _show_model(name: str) -> list[Any]:
    from rich.markup import escape
    from rich.table import Table

    found = describe(name)
    claims = Table(title=f"what is claimed of {found['model']}", title_justify="left")
    for heading in ("total", "active", "standing", "date", "source"):
        claims.add_column(heading)
    for c in found["claims"]:
        total = _size(c["total_B"]) if c["standing"] != "retracted" else f"[strike]{_size(c['total_B'])}[/strike]"
        width = f" (width {c['width']:,})" if c["width"] else ""
        claims.add_row(total, _size(c["active_B"]), c["standing"], c["date"], escape(c["source"]) + width)
    out: list[Any] = [claims]
    if found["range_B"]:
        low, high = found["range_B"]
        out.append(f"size: {_size(low)}" if low == high else f"size: {_size(low)} to {_size(high)}, by whom one believes")
    priced = next((c for c in found["claims"] if c["price_out_usd"] or c["price_in_usd"]), None)
    if priced:
        out.append(f"price: {priced['price_in_usd']} in, {priced['price_out_usd']} out, USD per million tokens ({priced['price_source']})")
    if found["estimates"]:
        table = Table(title="estimates of a size that nobody published, with the error of each method", title_justify="left")
        for heading in ("method", "range", "tested error", "mind"):
            table.add_column(heading)
        for e in found["estimates"]:
            table.add_row(e["method"], f"{_size(e['low_B'])} to {_size(e['high_B'])}", e["error"], e["caveat"])
        out.append(table)
    if found["scores"]:
        table = Table(title="published scores; only equal settings compare", title_justify="left")
        for heading in ("benchmark", "score", "setting", "source"):
            table.add_column(heading)
        for s in sorted(found["scores"], key=lambda s: (s["benchmark"], s["setting"])):
            table.add_row(s["benchmark"], f"{s['score']:g}", escape(s["setting"]), escape(s["source"]))
        out.append(table)
    return out


def _show_all() -> list[Any]:
    from rich.table import Table

    by_model: dict[str, list[Claim]] = {}
    for claim in load_claims():
        by_model.setdefault(claim.model, []).append(claim)
    table = Table(title=f"{len(by_model)} models, {len(load_claims())} claims; `limbeck catalog MODEL` shows who says so", title_justify="left")
    for heading in ("model", "size", "standing", "out USD/M"):
        table.add_column(heading)
    for model, claims in sorted(by_model.items()):
        span = believed_range(claims)
        size = "-" if span is None else _size(span[0]) if span[0] == span[1] else f"{_size(span[0])} to {_size(span[1])}"
        price = next((f"{c.price_out_usd:g}" for c in claims if c.price_out_usd), "-")
        table.add_row(model, size, ", ".join(dict.fromkeys(c.standing for c in claims)), price)
    law, ratio = fit_price_law(), price_ratio_errors()
    median, ninety = quantiles(law.errors)
    other, other_ninety = quantiles(ratio)
    notes = [
        f"price law on {law.n} official sizes, left out: median {median:.1f}x off, 90 % within {ninety:.1f}x",
        f"price ratio times a known size (the press's way), {len(ratio)} pairs: median {other:.1f}x off, 90 % within {other_ninety:.1f}x",
    ]
    notes += [f"misprint: {row.model} {row.prompt}, table {row.table}: aggregate {row.scores['aggregate']:.4f}, its parts give {mean:.4f}" for row, mean in misprints()]
    return [table, *notes]
