"""Five small cf experts that differ in their seed: is the panel better than its best member asked five times, and what does a cascade save?

    limbeck train cf --set 'recipe.seeds=[0,1,2,3,4]' --set student.width=64 --set teacher.model=generator --set distill.prompts=12000 \\
        --set train.steps=600 --set train.batch=64 --set train.soft_weight=0 --set 'arm=[]' --out runs/five
    python benchmarks/panel_gain.py runs/five [--generated 2000] [--work runs/panel-gain]

The best member, and the members of the cascades, are chosen on people-dev, where thresholds are calibrated too; figures are of people-test and of requests
made with a seed of their own. A cascade's cost counts parameters (millions, of members and of builtin:cf that it asks where they disagree); CPU time stands
beside it, since so small models spend most of theirs outside the network. Exit 0 whatever it finds.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from itertools import islice
from pathlib import Path
from typing import Any

from limbeck import resolve, seating
from limbeck.evaluate.examine import examine
from limbeck.evaluate.paired import difference_interval
from limbeck.records import Example

TASK, SEED, TEACHER = "cf", 20261126, "builtin:cf"


def write_panel(path: Path, kind: str, members: list[tuple[str, float]], samples: int, teacher: float = 0.0) -> str:
    """A panel's file; `members` are folders with their cost, `teacher` the cost of the one asked where they disagree."""
    seats = "".join(f'\n[[member]]\nmodel = "{model}"\nname = "{Path(model).parent.name}"\nsamples = {samples}\ncost = {cost:.4g}\n' for model, cost in members)
    more = f'\n[teacher]\nmodel = "{TEACHER}"\ncost = {teacher:.4g}\n' if teacher else ""
    path.write_text(f'[panel]\nkind = "{kind}"\ntask = "{TASK}"\n{seats}{more}', encoding="utf-8")
    return f"panel:{path}"


def ask(model: str, examples: list[Example], split: str) -> dict[str, Any]:
    """One examination with one answer an example."""
    task = resolve.get_task(TASK)
    return examine(task, resolve.get_answerer(model, task), examples, split=split, k=1)


def right(result: dict[str, Any]) -> list[float]:
    """1 where the first answer marks the cells that it should."""
    return [float((trial.get("execution") or [0.0])[0]) for trial in result["trials"]]


def against(a: list[float], b: list[float]) -> str:
    """A paired difference in points, with its 95 % interval."""
    mean, low, high = difference_interval([x - y for x, y in zip(a, b, strict=True)])
    return f"{100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def cost_of(result: dict[str, Any], whole: float) -> float:
    """Mean cost of a cascade's answers, as a share of the teacher's."""
    return sum(t["answer_meta"]["panel"]["cost"] for t in result["trials"]) / len(result["trials"]) / whole


def millions(model: str) -> float:
    """Parameters of an expert."""
    return json.loads((resolve.expert_folder(model) / "config.json").read_text(encoding="utf-8"))["parameters"] / 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--generated", type=int, default=2_000)
    parser.add_argument("--work", type=Path, default=Path("runs/panel-gain"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    task = resolve.get_task(TASK)
    experts = sorted(str(p) for p in (args.run / "train").glob("student-s*/expert"))
    dev = task.examples("people-dev")
    parts = {"people-test": task.examples("people-test"), "generated": list(islice(task.generate(SEED, args.generated), args.generated))}

    known = {model: right(ask(model, dev, "people-dev")) for model in experts}
    order = sorted(experts, key=lambda m: -sum(known[m]))
    cost, whole = millions(experts[0]), millions(TEACHER)
    seats = [(model, cost) for model in experts]
    panels = {kind: write_panel(args.work / f"{kind}.toml", kind, seats, 5) for kind in ("vote", "best")}
    single = write_panel(args.work / "single.toml", "best", [(order[0], cost)], 25)  # as many answers as the panel of five gives
    print(f"{len(experts)} members of {cost:.2f}M parameters, teacher {TEACHER} of {whole:.2f}M; best on people-dev: {Path(order[0]).parent.name}\n")
    for split, examples in parts.items():
        results = {model: right(ask(model, examples, split)) for model in experts}
        control = right(ask(single, examples, split))
        print(f"{split}, n = {len(examples)}: members " + ", ".join(f"{100 * sum(r) / len(r):.1f}" for r in results.values()) + f"; oracle {100 * sum(max(v) for v in zip(*results.values(), strict=True)) / len(examples):.1f}; best single asked as often {100 * sum(control) / len(control):.1f}")
        for kind, panel in panels.items():
            got = right(ask(panel, examples, split))
            print(f"  panel {kind:<5} {100 * sum(got) / len(got):.1f}, less best single asked as often {against(got, control)}", flush=True)
    for members in (2, 3, 5):
        path = args.work / f"cascade{members}.toml"
        cascade = write_panel(path, "cascade", [(model, cost) for model in order[:members]], 1, whole)
        with contextlib.redirect_stdout(io.StringIO()):
            seating.calibrate(str(path), TASK, "people-dev", risk=0.12, bound="clopper-pearson", confidence=0.95, limit=0, as_json=True)
        for split, examples in parts.items():
            got, taught = ask(cascade, examples, split), ask(TEACHER, examples, split)
            print(f"cascade of {members}, {split}: {100 * sum(right(got)) / len(examples):.1f}, teacher {100 * sum(right(taught)) / len(examples):.1f}, difference {against(right(got), right(taught))}; {100 * cost_of(got, whole):.0f} % of its parameters read, {100 * got['cpu_seconds_per_answer'] / taught['cpu_seconds_per_answer']:.0f} % of its CPU time", flush=True)


if __name__ == "__main__":
    main()
