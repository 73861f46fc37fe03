"""What a comparison of students shows beyond its main table: every score, diversity, ways to answer, waiting time, a paper's tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair

from limbeck.catalog.codefusion_paper import SOURCE, paper_defects, paper_table
from limbeck.report.figures import COLOURS, named_scores, to_svg

RANKS = (1, 3, 5)
DIVERSITY = ("distinct-1", "distinct-2", "distinct-3", "distinct-4", "edit-min", "edit-mean", "edit-max")


def study_of(run_folder: Path, results: dict[str, Any], means: Sequence[dict[str, Any]], paper: str) -> dict[str, Any]:
    """Everything the section needs, from the run's files; parts that a run does not have are empty."""
    sweeps = {p.parent.name: json.loads(p.read_text(encoding="utf-8")) for p in sorted((run_folder / "sweep").glob("*/sweep.json"))}
    split = results["splits"][0]
    rows = [r for r in means if r["split"] == split]
    return {
        "split": split, "every": every_score(rows), "diversity": diversity(rows), "sweeps": sweeps, "curve": quality_by_cost(sweeps),
        "footprints": results.get("footprints", {}), "paper": beside_paper(rows[0]["task"], paper) if rows and paper else {},
    }  # fmt: skip


def every_score(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """By measure, a row an answerer with its scores at ranks 1, 3, 5; only where a task has several measures."""
    out: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        named = {s["name"]: s for s in row["scores"]}
        for base in dict.fromkeys(n.rsplit("-", 1)[0] for n in named if n.rsplit("-", 1)[-1] in ("1", "3", "5") and not n.startswith("distinct") and "_official" not in n):
            out.setdefault(base, []).append({"who": row["answerer"], "ranks": [named.get(f"{base}-{k}") for k in RANKS]})
    return out if len(out) > 2 else {}


def diversity(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Distinct n-grams and edit distances between the first five answers, and the share that is valid."""
    return [{"who": r["answerer"], **{name: named_scores(r).get(name, {}).get("value") for name in (*DIVERSITY, "valid")}} for r in rows]


def quality_by_cost(sweeps: dict[str, Any]) -> str:
    """Score against processor time an answer over the ways that were tried, a colour a student; "" without a sweep."""
    rows = []
    for who, found in sweeps.items():
        for tried in found["tried"]:
            for name in ("top_1", f"top_{found['k']}"):
                label = ", ".join(f"{key} {value}" for key, value in tried["setting"].items()) or "as trained"
                rows.append({"who": who, "ms": 1000 * tried["cpu_seconds_per_answer"], "value": 100 * tried[name], "rank": name.replace("_", "-"), "way": label})
    if not rows:
        return ""
    base = altair.Chart(altair.Data(values=rows)).encode(
        x=altair.X("ms:Q", title="processor ms an answer (log)", scale=altair.Scale(type="log")), y=altair.Y("value:Q", title="score on the sweep's examples, %", scale=altair.Scale(zero=False)),
        color=altair.Color("who:N", title=None, scale=altair.Scale(range=COLOURS)), shape=altair.Shape("rank:N", title=None),
    )  # fmt: skip
    return to_svg(base.mark_point(size=70, filled=True, opacity=0.85).properties(width=560, height=260))


def beside_paper(task: str, paper: str) -> dict[str, Any]:
    """The published tables for a task with their source and defects."""
    if paper != "codefusion":
        return {}
    first = {r["system"]: r for r in paper_table(1, task)}
    exact, valid = ({r["system"]: r["top"] for r in paper_table(n, task)} for n in (6, 3))
    rows = [{"who": who, "parameters": r["parameters"], "top": r["top"], "exact": exact.get(who), "valid": (valid.get(who) or [None])[0]} for who, r in first.items()]
    return {
        "source": SOURCE, "measure": next(iter(first.values()))["measure"] if first else "", "rows": rows, "diversity": paper_table(2, task),
        "ablations": [{"who": r["system"], "top": r["top"][0]} for r in paper_table(4, task)], "defects": paper_defects(),
    }  # fmt: skip
