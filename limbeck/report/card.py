"""The model card that lies beside an expert's weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from limbeck.report.figures import label_of, named_scores
from limbeck.report.scale import card_section
from limbeck.run import write_atomically

LIMITS = {
    "cf": [
        "- English only; one rule a request; a table's first row must be its header.", "- It may answer a request that it did not understand: look at the marked cells before trusting a rule.",
        "- Words outside the generator's vocabulary are linked by spelling only.",
    ],
    "bash": [
        "- English only; one command line a request; mostly the hundred utilities of NL2Bash (find, grep, sed ...).", "- It may answer a request that it did not understand. Nothing is ever run: read the explanation before you run a command yourself.",
        "- Names, numbers and patterns are copied from the request; what the request does not say is guessed from what people usually meant.",
    ],
    "python": ["- English only; one line or a few of Python for one request; nothing is run.", "- It may answer a request that it did not understand: read a line before you run it."],
}  # fmt: skip
# What people wrote that an expert has learnt from, with licence and the names to give.
SOURCES = {
    "bash": [
        "- NL2Bash, training part (Lin et al., 2018; TellinaTool/nl2bash, MIT), values and words varied.", "- tldr pages of the same utilities and of everyday tools (tldr-pages contributors, CC BY 4.0), where they were at hand.",
        "- cheat sheets (cheat contributors, CC0 1.0), where they were at hand.", "- Everyday requests from limbeck's own patterns (Apache-2.0).",
    ],
    "python": ["- CoNaLa, curated training part (Yin et al., 2018; MIT; its code comes from Stack Overflow, CC BY-SA), values varied.", "- Code of the Python standard library of the machine that trained it (PSF licence), where the recipe says so."],
}  # fmt: skip
USES = {"cf": 'limbeck ask THIS_FOLDER --table sales.xlsx "highlight the top 10 % of sales"', "bash": 'limbeck ask THIS_FOLDER "find all pdf files changed in the last week"', "python": 'limbeck ask THIS_FOLDER "sort list a by its second element"'}


def write_card(expert_folder: Path, facts: dict[str, Any]) -> Path:
    """README.md in Hugging Face form: what it is, what it learnt from, how good it is, what it cannot do."""
    recipe, results = facts["recipe"], facts["results"]
    task, teacher, strict = recipe["recipe"]["task"], recipe["teacher"]["model"], _strict(results)
    is_from_people = task in SOURCES and teacher == "generator"
    made = "trained on pairs that people wrote, by limbeck" if is_from_people else f"distilled from `{teacher}` by limbeck"
    data = "training pairs and variations of them" if is_from_people else "generated utterances answered by the teacher"
    columns = ["answerer", "split", "n", "missing", "top-1", "top-3", "top-5", *strict, "valid"]
    lines = [
        "---", "license: apache-2.0", "library_name: limbeck", f"tags: [limbeck, distilled, {task}]", "language: en", "---", "",
        f"# {recipe['recipe']['name']}: an expert for task {task}", "",
        f"{'An' if recipe['student']['kind'][0] in 'aeiou' else 'A'} {recipe['student']['kind']} network of {_parameters(results):,} parameters{_without_embeddings(expert_folder)}, {made}.", "",
        "## Numbers", "", f"{label_of(results['scores']).capitalize()} in % with 95 % intervals.", "", f"| {' | '.join(columns)} |", f"{'|---' * len(columns)}|",
        *[_row(r, strict) for r in results["scores"]], "", "`nearest` and `majority` cost nothing.", "", *_scale(expert_folder),
        "## Data", "", f"{recipe['distill']['prompts']:,} {data}; see distill/README.md of the run. No test text is among them.", *(["", *SOURCES[task]] if task in SOURCES else []), "",
        "## Limits", "", *LIMITS.get(task, LIMITS["cf"]), "", "## Use", "", "```", USES.get(task, USES["cf"]), "```", "",
    ]  # fmt: skip
    write_atomically(expert_folder / "README.md", "\n".join(lines).encode())
    return expert_folder / "README.md"


def _scale(expert_folder: Path) -> list[str]:
    """Both sides of the scale, where the expert was probed."""
    path = expert_folder / "scale.json"
    return card_section(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []


def _parameters(results: dict[str, Any]) -> int:
    first = results["groups"]["student"][0]
    return next(r["parameters"] for r in results["scores"] if r["answerer"] == first)


def _without_embeddings(expert_folder: Path) -> str:
    """What its config says of its size but for tables of symbols, pieces and positions."""
    path = expert_folder / "config.json"
    count = json.loads(path.read_text(encoding="utf-8")).get("parameters_without_embeddings") if path.exists() else None
    return f" ({count:,} without embeddings)" if count is not None else ""


def _strict(results: dict[str, Any]) -> list[str]:
    """Scores of a stricter measure than the deciding one, where the task has it."""
    names = {s["name"] for s in results["scores"][0]["scores"]}
    return [name for name in ("template-1", "template-5") if name in names]


def _row(result: dict[str, Any], strict: list[str]) -> str:
    named = named_scores(result)
    cells = [_rate(named.get(n)) for n in ("top-1", "top-3", "top-5", *strict, "valid")]
    return f"| {result['answerer']} | {result['split']} | {result['n']} | {result['n'] - result['statuses'].get('scored', 0)} | {' | '.join(cells)} |"


def _rate(score: dict[str, Any] | None) -> str:
    if score is None or score["value"] is None:
        return "-"
    return f"{100 * score['value']:.1f} [{100 * score['low']:.0f}-{100 * score['high']:.0f}]"
