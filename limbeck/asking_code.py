"""`limbeck ask` for code: ranked commands or lines, the best explained word by word, with warnings. Nothing is ever run."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from typing import Any

from limbeck import resolve
from limbeck.asking import check_request, tell_missing
from limbeck.errors import LimbeckError
from limbeck.records import Answer, Candidate, Prompt

WIDTH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an answer must begin or end with, or the snippet it is made from; all empty: any answer."""

    prefix: str = ""
    suffix: str = ""
    snippet: str = ""
    strength: float = 0.5

    def ask(self, answerer: Any, prompt: Prompt, k: int) -> Answer:
        """The answers that keep to it. Raises LimbeckError for an answerer that cannot."""
        if not (self.prefix or self.suffix or self.snippet):
            return answerer.answer([prompt], k=k)[0]
        if self.snippet and (self.prefix or self.suffix):
            raise LimbeckError("a snippet is edited or a gap is filled, not both", "--edit", "leave --prefix and --suffix out, or --edit")
        if not hasattr(answerer, "infill"):
            raise LimbeckError("only experts write around given text", "--edit" if self.snippet else "--prefix", "ask an expert: builtin:bash, or one that you trained")
        return answerer.edit(prompt, self.snippet, k=k, strength=self.strength) if self.snippet else answerer.infill(prompt, self.prefix, self.suffix, k=k)


def ask_code(model: str, text: str, task_name: str, *, k: int, plain: bool, as_json: bool, base_url: str = "", wish: Wish | None = None, trace: bool = False) -> None:
    """Answers on standard output: a table, the best one alone (`plain`), or a JSON document; `trace` shows how a diffusion student's first took shape.

    Raises LimbeckError where there is no answer and only the bare command was asked for: a pipe must not get an empty one.
    """
    check_request(text)
    task = resolve.get_task(task_name) if task_name else None
    asking = {"base_url": base_url, "sampling": {}} if resolve.is_language_model(model) else {}
    if task is None or task_name not in ("bash", "python"):
        raise LimbeckError("which job is this for?", "--task", "name one: cf, bash or python")
    if not resolve.is_language_model(model):
        import torch

        torch.set_num_threads(1)
    prompt: Prompt = getattr(task, "prompt_for")(text)
    answer = (wish or Wish()).ask(resolve.get_answerer(model, task, **asking), prompt, k)
    tell_missing(answer)
    answers = [_described(rank, _unwrapped(task, c), task_name) for rank, c in enumerate(answer.candidates, 1)]
    if as_json:
        sys.stdout.write(json.dumps({"task": task_name, "status": answer.status, "answers": answers} | ({"panel": answer.meta["panel"]} if "panel" in answer.meta else {}) | ({"reason": answer.reason} if answer.reason else {}), ensure_ascii=False) + "\n")
    elif plain:
        _write_plain(answer, answers)
    else:
        _show(answer, answers, trace)


def _unwrapped(task: Any, candidate: Candidate) -> Candidate:
    """Without the Markdown that a language model puts around it."""
    from limbeck.tasks.bash.fitness import unwrap

    return replace(candidate, text=unwrap(candidate.text)) if task.name == "bash" else candidate


def _described(rank: int, candidate: Candidate, task_name: str) -> dict[str, Any]:
    """One answer with, for a command, its words and its warnings."""
    out: dict[str, Any] = {"rank": rank, "text": candidate.text, "score": round(candidate.score, 4)}
    if candidate.meta.get("trace"):
        out["trace"] = list(candidate.meta["trace"])
    if task_name == "bash":
        from limbeck.tasks.bash.explain import explain

        found = explain(candidate.text, ask_help=rank == 1)
        out["warnings"] = [{"level": d.level, "rule": d.rule, "text": d.text} for d in found.dangers]
        out["explanation"] = [{"text": p.text, "start": p.start, "end": p.end, "role": p.role, "depth": p.depth, "meaning": p.meaning} for p in found.parts]
        if found.error:
            out["error"] = found.error
    return out


def _write_plain(answer: Answer, answers: list[dict[str, Any]]) -> None:
    if not answers:
        raise LimbeckError(f"no answer: {answer.reason or answer.status}", "MODEL", "say it in other words, or ask another model")
    for warning in answers[0].get("warnings", ()):
        sys.stderr.write(f"{warning['level']}: {clean(warning['text'])}\n")
    sys.stdout.write(clean(answers[0]["text"]) + "\n")


def clean(text: str) -> str:
    """A model's text without what a terminal would obey: control signs become their names."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)


def _show(answer: Answer, answers: list[dict[str, Any]], trace: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as Grid

    console = Console(width=min(WIDTH, Console().width), highlight=False)
    if not answers:
        console.print(escape(f"no answer: {answer.reason or answer.status}"))
        return
    grid = Grid("rank", "answer", "score", box=box.HEAVY_HEAD)
    for a in answers:
        marks = {w["level"] for w in a.get("warnings", ())}
        sign = "[bold red]! [/]" if "danger" in marks else "[yellow]? [/]" if marks else ""
        grid.add_row(str(a["rank"]), sign + escape(clean(a["text"])), f"{a['score']:.2f}")
    console.print(grid)
    best = answers[0]
    if trace:
        steps = best.get("trace") or ["this student writes from left to right: there is nothing to show"]
        console.print("how rank 1 took shape")
        for number, step in enumerate(steps, 1):
            console.print(escape(f"{number:>3}  {clean(step)}"), soft_wrap=True)
    if best.get("explanation"):
        console.print("rank 1, word by word (nothing has been run)")
        words = Grid(box=None, show_header=False, padding=(0, 2, 0, 0))
        for part in best["explanation"]:
            words.add_row(escape("  " * part["depth"] + clean(part["text"])), escape(clean(part["meaning"])))
        console.print(words)
    if best.get("error"):
        console.print(escape(f"not valid: {clean(best['error'])}"))
    for warning in best.get("warnings", ()):
        colour = "bold red" if warning["level"] == "danger" else "yellow"
        console.print(f"[{colour}]{warning['level'].upper()}[/]: " + escape(f"{clean(warning['text'])} ({warning['rule']})"))
