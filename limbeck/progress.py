"""What a person sees while the line runs: bars and one line a step, on standard error."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars


class Progress:
    """A context manager whose `tell(event, facts)` the line calls."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.console = Console(file=sys.stderr)
        self.bars = Bars(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=self.console, disable=quiet or not self.console.is_terminal, transient=True)
        self._tasks: dict[str, Any] = {}
        self._quarter: dict[str, int] = {}

    def __enter__(self) -> Progress:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def tell(self, event: str, facts: dict[str, Any]) -> None:
        """One event of the line."""
        if self.quiet:
            return
        if event == "step":
            self.console.print(f"[bold]{facts['name']}[/bold]  {facts['why']}", highlight=False)
        elif event == "skip":
            self.console.print(f"[dim]{facts['name']}  {facts['why']}[/dim]", highlight=False)
        elif event == "distill":
            self._bar("distill", facts["done"], facts["of"], _spent(facts))
        elif event == "note":
            self.console.print(f"  {facts['text']}", highlight=False, markup=False)
        elif event == "targets":
            self._bar("teacher's distributions", facts["done"], facts["of"], "rows")
        elif event == "train" and "tokens_per_s" in facts:
            self._bar(f"train {facts['arm']}", facts["step"], facts["steps"], f"loss {facts['loss']:.3f}  {facts['tokens_per_s']:,.0f} tokens/s")
        elif event == "train" and "on_policy_loss" in facts:
            self._bar(f"on-policy {facts['arm']}", facts["step"], facts["steps"], f"loss {facts['on_policy_loss']:.3f}")
        elif event == "align" and "of" in facts:
            self._bar(f"draw {facts['arm']}", facts["done"], facts["of"], "requests")
        elif event == "align":
            self._bar(f"align {facts['arm']}", facts["step"], facts["steps"], f"loss {facts['loss']:.3f}" if "loss" in facts else "")
        elif event == "evaluate":
            self._bar(f"{facts['answerer'][:24]} on {facts['split']}", facts["done"], facts["of"], f"{facts['usd']:.4f} USD" if facts.get("usd") else "")

    def _bar(self, name: str, done: int, total: int, note: str) -> None:
        if not self.console.is_terminal:
            quarter = 4 * done // max(1, total)
            if quarter != self._quarter.get(name):
                self._quarter[name] = quarter
                self.console.print(f"  {name}  {done}/{total}  {note}", highlight=False)
            return
        if name not in self._tasks:
            self._tasks[name] = self.bars.add_task(name, total=total, note=note)
        self.bars.update(self._tasks[name], completed=done, note=note)
        if done >= total:
            self.bars.remove_task(self._tasks.pop(name))


def _spent(facts: dict[str, Any]) -> str:
    """What asking a teacher has cost, will cost, and how long it takes, where that is known."""
    if "concurrency" not in facts:
        return ""
    money = "" if facts.get("cost_usd") is None else f"${facts['cost_usd']:.4f}" + (f" of about ${facts['projected_usd']:.4f}" if facts.get("projected_usd") is not None else "")
    left = "" if facts.get("seconds_left") is None else f"{facts['seconds_left']:.0f} s left"
    return ", ".join(part for part in (f"{facts['in_flight']} in flight", f"{facts['failed']} failed" if facts["failed"] else "", f"{facts['tokens_in'] + facts['tokens_out']:,} tokens", money, left) if part)
