"""The model card that lies beside an expert's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from limbeck.report.figures import label_of, named_scores
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
}  # fmt: skip
USES = {"cf": 'limbeck ask THIS_FOLDER --table sales.xlsx "highlight the top 10 % of sales"', "bash": 'limbeck ask THIS_FOLDER "find all pdf files changed in the last week"'}


def write_card(expert_folder: Path, facts: dict[str, Any]) -> Path:
    """README.md in Hugging Face form: what it is, what it learnt from, how good it is, what it cannot do."""
    recipe, results = facts["recipe"], facts["results"]
    task = recipe["recipe"]["task"]
    lines = [
        "---", "license: apache-2.0", "library_name: limbeck", f"tags: [limbeck, distilled, {recipe['recipe']['task']}]", "language: en", "---", "",
        f"# {recipe['recipe']['name']}: an expert for task {recipe['recipe']['task']}", "",
        f"A {recipe['student']['kind']} network of {_parameters(results):,} parameters, distilled from `{recipe['teacher']['model']}` by limbeck.", "",
        "## Numbers", "", f"{label_of(results['scores']).capitalize()} in % with 95 % intervals.", "", "| answerer | split | n | missing | top-1 | top-3 | top-5 | valid |", "|---|---|---|---|---|---|---|---|",
        *[_row(r) for r in results["scores"]], "", "`nearest` and `majority` cost nothing.", "", "## Data", "",
        f"{recipe['distill']['prompts']:,} {'training pairs and variations of them' if recipe['teacher']['model'] == 'generator' and task == 'bash' else 'generated utterances answered by the teacher'}; see distill/README.md of the run. No test text is among them.", "",
        "## Limits", "", *LIMITS.get(task, LIMITS["cf"]), "", "## Use", "", "```", USES.get(task, USES["cf"]), "```", "",
    ]  # fmt: skip
    write_atomically(expert_folder / "README.md", "\n".join(lines).encode())
    return expert_folder / "README.md"


def _parameters(results: dict[str, Any]) -> int:
    first = results["groups"]["student"][0]
    return next(r["parameters"] for r in results["scores"] if r["answerer"] == first)


def _row(result: dict[str, Any]) -> str:
    named = named_scores(result)
    cells = [_rate(named.get(n)) for n in ("top-1", "top-3", "top-5", "valid")]
    return f"| {result['answerer']} | {result['split']} | {result['n']} | {result['n'] - result['statuses'].get('scored', 0)} | {' | '.join(cells)} |"


def _rate(score: dict[str, Any] | None) -> str:
    if score is None or score["value"] is None:
        return "-"
    return f"{100 * score['value']:.1f} [{100 * score['low']:.0f}-{100 * score['high']:.0f}]"
