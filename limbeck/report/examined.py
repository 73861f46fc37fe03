"""The page of one or more examinations: scores, floors, pictures, cost, and what was said. Model output is untrusted: escaped."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from limbeck.errors import LimbeckError
from limbeck.report import examined_figures as figures
from limbeck.run import write_atomically

NEEDED = ("answerer", "task", "version", "split", "scores", "trials", "main", "statuses")
MOST_SHOWN = 200  # answers on the page; all are in the log
LONGEST = 6000  # characters of one text on the page


def read_result(path: Path) -> dict[str, Any]:
    """A file written by `limbeck evaluate --out`. Raises LimbeckError where it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        missing = [name for name in NEEDED if name not in found]
    except (OSError, ValueError, TypeError) as problem:
        raise LimbeckError(f"this is no result: {problem}", str(path), "name SPLIT.json files written by `limbeck evaluate --out`") from problem
    if missing:
        raise LimbeckError(f"this result has no {missing[0]!r}", str(path), "name SPLIT.json files written by `limbeck evaluate --out`")
    return found


def write_examined(results: Sequence[dict[str, Any]], comparisons: Sequence[dict[str, Any]], path: Path) -> Path:
    """One self-contained HTML page. `comparisons` are paired differences, as `limbeck compare` prints them."""
    environment = Environment(loader=PackageLoader("limbeck.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["pct"] = lambda v: "-" if v is None else f"{100 * v:.1f}"
    first = results[0]
    html = environment.get_template("examined.html").render(
        task=first["task"], split=first["split"], version=first["version"], rows=[_row(r) for r in results], comparisons=comparisons,
        floors=first.get("floors", {}), floor_names=_floor_names(first), bars=Markup(figures.score_bars(results)), families=Markup(figures.family_bars(results)),
        reliability=Markup(figures.reliability(results)), sizes=_or_none("sizes", results), prices=_or_none("prices", results), trials=[_shown(r, t) for r in results for t in r["trials"][:MOST_SHOWN]], most=MOST_SHOWN,
    )  # fmt: skip
    write_atomically(path, html.encode())
    return path


def _or_none(kind: str, results: Sequence[dict[str, Any]]) -> Markup | None:
    """A picture beside published scores, where this task has some and ours has a place in it."""
    ours = figures.ours_by_size(results) if kind == "sizes" else figures.ours_by_price(results)
    return Markup(figures.draw(kind, results)) if ours and results[0]["task"] in figures.BENCHMARKS else None


def _row(result: dict[str, Any]) -> dict[str, Any]:
    reasons = Counter(f"{t['status']}: {t['reason']}"[:140] for t in result["trials"] if t["status"] != "scored")
    missing = result["n"] - result["statuses"].get("scored", 0)
    absent = [s["name"] for s in result["scores"] if s["value"] is None and "/" not in s["name"]] if result["statuses"].get("scored") else []
    return {**result, "absent": absent, "headline": figures.main_score(result), "missing": missing, "reasons": reasons.most_common(8), "cost": figures.cost_facts(result)}


def _floor_names(result: dict[str, Any]) -> list[str]:
    """Scores that some floor has, in the result's order; families left out."""
    known = {s["name"] for floor in result.get("floors", {}).values() for s in floor if s["value"] is not None}
    return [s["name"] for s in result["scores"] if s["name"] in known and "/" not in s["name"]][:8]


def _shown(result: dict[str, Any], trial: dict[str, Any]) -> dict[str, Any]:
    """One answer as the page shows it."""
    messages = trial.get("messages") or [{"role": "user", "content": trial["utterance"]}]
    verdict = trial["status"]
    if verdict == "scored":
        verdict = "right" if max(trial[result["main"]][:1], default=0.0) == 1 else "wrong" if max(trial[result["main"]][:1], default=0.0) == 0 else "partly right"
    return {
        "id": trial["id"], "who": result["answerer"], "verdict": verdict, "reason": trial["reason"], "messages": [{"role": m["role"], "content": str(m["content"])[:LONGEST]} for m in messages],
        "answers": [c[:LONGEST] for c in trial["candidates"]], "gold": [g[:LONGEST] for g in trial["gold"]],
    }  # fmt: skip
