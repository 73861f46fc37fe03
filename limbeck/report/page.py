"""The report: one self-contained page made from the files of a run. Model output is untrusted: escaped, never markup."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from limbeck.recipe.schema import ReportSection
from limbeck.report import figures
from limbeck.report.economics import FILTERS, economics_section
from limbeck.report.forecasts import forecasts_section
from limbeck.report.study import study_of
from limbeck.run import write_atomically


def write_report(run_folder: Path, section: ReportSection, ledger: Mapping[str, Any] | None = None) -> Path:
    """Render runs/NAME/report/index.html. Every number on it is read from the run's files; `ledger`: the lines of the ledger of forecasts beside it, or its problem."""
    results = _json(run_folder / "results.json")
    split = results["splits"][0]
    first = results["groups"]["student"][0]
    shown = [members[0] for members in results["groups"].values()]
    curves = {p.parent.name: _lines(p) for p in sorted((run_folder / "train").glob("*/metrics.jsonl")) if p.parent.name in shown}
    means, seeds = _means_of_seeds(results), max(map(len, results["groups"].values()))
    trials = _json(run_folder / "evaluate" / first / f"{split}.json")["trials"][: section.examples]
    study = study_of(run_folder, results, means, section.paper)
    environment = Environment(loader=PackageLoader("limbeck.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["pct"] = lambda v: "-" if v is None else f"{100 * v:.1f}"
    environment.filters.update(FILTERS)
    html = environment.get_template("page.html").render(
        name=results["name"], results=results, label=figures.label_of(results["scores"]), detail=_detail(results["scores"][0]), split=split, headline=results["headline"], rows=_rows(means), seeds=seeds, per_seed=_rows([r for r in results["scores"] if seeds > 1]),
        keep=_json(run_folder / "distill" / "keep.json"), recipe=(run_folder / "recipe.toml").read_text(encoding="utf-8"),
        manifests=_manifests(run_folder), traces=_traces(run_folder, results, split), size=_size(run_folder),
        bars={s: Markup(figures.topk_bars(means, s)) for s in results["splits"]},
        economics=economics_section(run_folder, results, _json(run_folder / "distill" / "keep.json")), forecasts=forecasts_section(**ledger, run=run_folder.resolve().name) if ledger else {}, study=study, curve=Markup(study["curve"]), sizes=Markup(figures.score_by_size(means, split)), losses=Markup(figures.loss_curves(curves)),
        differences=Markup(figures.differences(results["comparisons"], results["splits"])), noise=Markup(figures.loss_by_noise(curves)),
        keeps=Markup(figures.keep_bars(_json(run_folder / "distill" / "keep.json"))), examples=_embed([t | {"main": t.get(results["scores"][0].get("main", "execution"), [])} for t in trials]),
    )  # fmt: skip
    write_atomically(run_folder / "report" / "index.html", html.encode())
    return run_folder / "report" / "index.html"


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _lines(path: Path) -> list[dict[str, Any]]:
    """The metrics of a step; a last line cut short by a kill is passed over."""
    out = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            out.append(json.loads(line))
        except ValueError:
            continue
    return out


def _embed(value: Any) -> Markup:
    """JSON that cannot close its script element."""
    text = json.dumps(value, ensure_ascii=True)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _means_of_seeds(results: dict[str, Any]) -> list[dict[str, Any]]:
    """One row an answerer and split: as measured for one seed, the mean with the range for several."""
    out = []
    for group, members in results["groups"].items():
        for split in results["splits"]:
            rows = [r for r in results["scores"] if r["answerer"] in members and r["split"] == split]
            if len(rows) < 2:
                out += rows
                continue
            scores = []
            for column in zip(*(r["scores"] for r in rows), strict=True):
                values = [s["value"] for s in column if s["value"] is not None]
                mean = sum(values) / len(values) if values else None
                scores.append({**column[0], "value": mean, "low": min(values, default=None), "high": max(values, default=None)})
            cost = sum(r["cpu_seconds_per_answer"] for r in rows) / len(rows)
            out.append({**rows[0], "answerer": group, "scores": scores, "cpu_seconds_per_answer": cost})
    return out


def _rows(scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    out = []
    for r in scores:
        named = figures.named_scores(r)
        out.append({**r, "named": named, "missing": r["n"] - r["statuses"].get("scored", 0), "free": r["answerer"] in ("nearest", "majority")})
    return out


def _detail(result: dict[str, Any]) -> str:
    """The measure shown beside the deciding one: the strictest that its task has."""
    named = {s["name"] for s in result["scores"]}
    return "template-1" if "template-1" in named else "exact-1"


def _manifests(run_folder: Path) -> list[dict[str, Any]]:
    found = [_json(p) for p in sorted(run_folder.glob("**/manifest.json"))]
    return sorted(found, key=lambda m: m["finished"])


def _size(run_folder: Path) -> dict[str, Any]:
    """The expert's parameters, where its config says how many are outside embeddings."""
    path = run_folder / "expert" / "config.json"
    config = _json(path) if path.exists() else {}
    return config if "parameters_without_embeddings" in config else {}


def _traces(run_folder: Path, results: dict[str, Any], split: str) -> list[dict[str, Any]]:
    """How diffusion students' first candidates took shape: of each student the four that changed most on the way."""
    out = []
    for group in results["groups"].values():
        trials = _json(run_folder / "evaluate" / group[0] / f"{split}.json")["trials"]
        changing = sorted((t for t in trials if t.get("trace")), key=lambda t: -len(set(t["trace"])))
        for trial in changing[:4]:
            out.append({"who": group[0], "utterance": trial["utterance"], "gold": trial["gold"][0], "steps": trial["trace"], "answer": trial["candidates"][0]})
    return out
