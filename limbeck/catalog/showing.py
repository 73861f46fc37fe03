"""`limbeck catalog`: all claims of a model side by side, never one number as truth."""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from limbeck.catalog.estimators import estimate
from limbeck.catalog.facts import (
    BELIEVED,
    Claim,
    PublishedScore,
    load_claims,
    load_open_models,
    load_paper,
    load_scores,
    misprints,
)
from limbeck.catalog.trials import all_trials
from limbeck.errors import LimbeckError

PAPER_NAMES = {"chatgpt": "gpt-3.5-turbo", "phi-3-7b": "phi-3-small"}  # the MEDEC paper's names, where the catalogue has others


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


def paper_model(name: str) -> str:
    """A name of the MEDEC paper as the catalogue has it: no date in brackets."""
    bare = slug(name.split(" (")[0])
    return PAPER_NAMES.get(bare, bare)


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


def official_of(found: dict[str, Any]) -> bool:
    """Whether a model's maker says its size."""
    return any(c["standing"] == "official" and c["total_B"] for c in found["claims"])


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
        official = official_of(found)
        out.append(f"size: {_size(low)}{', official' if official else ''}" if low == high else f"size: {_size(low)} to {_size(high)}, {'official, by how one counts' if official else 'by whom one believes'}")
    priced = next((c for c in found["claims"] if c["price_out_usd"] or c["price_in_usd"]), None)
    if priced:
        asked = ", ".join(f"{priced[key]:g} {way}" for key, way in (("price_in_usd", "in"), ("price_out_usd", "out")) if priced[key])
        out.append(f"price: {asked}, USD per million tokens ({priced['price_source'] or priced['source']})")
    hosted = next((m for m in load_open_models() if m.model == found["model"] and m.offers), None)
    if hosted:
        out.append(f"hosts ask: {hosted.price_in_usd:g} in, {hosted.price_out_usd:g} out, median of {hosted.offers} offers from {hosted.price_low_usd:g} to {hosted.price_high_usd:g} USD out ({hosted.source.split(',')[0]})")
    if found["estimates"]:
        table = Table(title="estimates beside the official size, with the error of each method" if official_of(found) else "estimates of a size that nobody published, with the error of each method", title_justify="left")
        for heading in ("method", "range", "tested error", "mind"):
            table.add_column(heading)
        for e in found["estimates"]:
            table.add_row(e["method"], f"{_size(e['low_B'])} to {_size(e['high_B'])}" if e["low_B"] else f"at most {_size(e['high_B'])}", e["error"], e["caveat"])
        out.append(table)
    if found["scores"]:
        table = Table(title="published scores; only equal settings compare", title_justify="left")
        for heading in ("benchmark", "score", "setting", "source"):
            table.add_column(heading)
        for s in sorted(found["scores"], key=lambda s: (s["benchmark"], s["setting"])):
            table.add_row(s["benchmark"], f"{s['score']:g}", escape(s["setting"]), escape(s["source"]))
        out.append(table)
    return out


def sizes_claimed(model: str) -> list[dict[str, Any]]:
    """Each claimed total of a model with its standing, smallest first; only the official ones where there are some."""
    sized = [c for c in load_claims() if c.model == model and c.total_B]
    sized = [c for c in sized if c.standing == "official"][:1] or sized
    return [{"total_B": c.total_B, "standing": c.standing} for c in sorted(sized, key=lambda c: c.total_B or 0)]


def _sizes_shown(model: str) -> str:
    return ", ".join(f"[strike]{_size(c['total_B'])}[/strike] retracted" if c["standing"] == "retracted" else f"{_size(c['total_B'])} {c['standing']}" for c in sizes_claimed(model)) or "none"


def describe_benchmark(benchmark: str, setting: str | None) -> dict[str, Any]:
    """Published scores of one benchmark, apart by setting, each beside the claimed sizes; MEDEC's are the paper's own table."""
    if benchmark.lower() == "medec":
        wrong = {id(row): mean for row, mean in misprints()}
        rows = [{"model": r.model, "prompt": r.prompt, "stated_B": r.stated_B, "sizes": sizes_claimed(paper_model(r.model)), **r.scores, "aggregate_of_parts": wrong.get(id(r))} for r in load_paper() if r.table == 2]
        return {"benchmark": "medec", "source": "arXiv:2412.19260v2, table 2, 925 notes", "rows": rows}
    groups = {key[1]: rows for key, rows in like_with_like(load_scores()).items() if key[0].lower() == benchmark.lower()}
    if not groups:
        raise LimbeckError(f"there are no published scores of {benchmark!r}", "--benchmark", f"known: medec, {', '.join(sorted({s.benchmark for s in load_scores()}))}")
    if setting is not None and setting not in groups:
        raise LimbeckError(f"{benchmark} has no scores with the setting {setting!r}", "--setting", f"known: {'; '.join(groups)}")
    chosen = {key: rows for key, rows in groups.items() if setting in (None, key)}
    return {"benchmark": benchmark, "settings": {key: [asdict(s) | {"sizes": sizes_claimed(s.model)} for s in rows] for key, rows in chosen.items()}}


def run_benchmark(benchmark: str, setting: str | None, as_json: bool) -> None:
    """Print the published scores of one benchmark beside the claimed sizes."""
    found = describe_benchmark(benchmark, setting)
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    from rich.console import Console

    console = Console(width=100, highlight=False)
    for table in _show_paper(found) if "rows" in found else _show_settings(found):
        console.print(table)


def _show_paper(found: dict[str, Any]) -> list[Any]:
    from rich.table import Table

    table = Table(title=f"MEDEC as printed ({found['source']}) beside what is claimed of sizes", title_justify="left")
    columns = {"error_flag": "flag", "error_sentence": "sent.", "rouge1": "R-1", "bertscore": "BERT", "bleurt": "BLEURT", "aggregate": "aggr."}
    for heading in ("model", "printed", "claimed, with standing", *columns.values()):
        table.add_column(heading)
    notes = []
    for r in found["rows"]:
        shown = [f"{r[c]:.4f}"[1:] if r.get(c) is not None else "-" for c in columns]
        if r["aggregate_of_parts"]:
            shown[-1] += " !"
            notes.append(f"! misprint: {r['model']} {r['prompt']}: aggregate {r['aggregate']:.4f} is printed, its parts give {r['aggregate_of_parts']:.4f}")
        sizes = "" if r["model"].startswith("Doctor") else _sizes_shown(paper_model(r["model"]))
        table.add_row(f"{r['model']} {r['prompt']}".strip(), _size(r["stated_B"]), sizes, *shown)
    return [table, *notes, "sizes as printed are from the press; the paper's authors do not vouch for them"]


def _show_settings(found: dict[str, Any]) -> list[Any]:
    from rich.markup import escape
    from rich.table import Table

    out = []
    for setting, rows in sorted(found["settings"].items(), key=lambda item: -len(item[1])):
        table = Table(title=f"{found['benchmark']}, {escape(setting)}", title_justify="left")
        for heading in ("model", "score", "claimed size, with standing", "source"):
            table.add_column(heading)
        for s in sorted(rows, key=lambda s: -s["score"]):
            table.add_row(escape(s["label"] or s["model"]), f"{s['score']:g}", _sizes_shown(s["model"]), escape(s["source"]))
        out.append(table)
    return [*out, "only scores of one table compare: settings differ between tables"]


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
    tried = Table(title="ways to guess a size, tried on official ones, each family left out of the law it is tried on", title_justify="left")
    for heading in ("method", "median", "90 % within", "n", "inside its range"):
        tried.add_column(heading)
    for t in all_trials():
        tried.add_row(t.method, f"{t.median:.1f}x", f"{t.ninety:.1f}x", f"{t.n:,}", "-" if t.coverage is None else f"{100 * t.coverage:.0f} %")
    notes: list[Any] = [tried]
    notes += [f"misprint: {row.model} {row.prompt}, table {row.table}: aggregate {row.scores['aggregate']:.4f}, its parts give {mean:.4f}" for row, mean in misprints()]
    return [table, *notes]
