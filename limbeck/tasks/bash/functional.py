"""The measure `functional` of task bash: whether a command does what a gold command does, found by running both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from limbeck.records import Answer, Example, Score, Verdict, content_id
from limbeck.tasks.bash.fitness import unwrap
from limbeck.tasks.bash.running import DRIVER, NOT_COMPARABLE, SAME, CommandRunner
from limbeck.tasks.bash.tree import entries
from limbeck.tasks.intervals import grouped_rate
from limbeck.tasks.sandbox import require_sandbox

RUNNING_VERSION = 1


class FunctionalScore:
    """Adds the measure to verdicts, and its rows to a summary. An example without a comparable gold command has none: that is not zero."""

    version = f"run{RUNNING_VERSION}-{content_id([DRIVER, [e.path for e in entries()]], 6)}"

    def __init__(self, unsafe_local: bool = False) -> None:
        self.unsafe_local = unsafe_local
        self._runner: CommandRunner | None = None

    @property
    def runner(self) -> CommandRunner:
        """Made on first use: its tree is as old as it says from then on."""
        self._runner = self._runner or CommandRunner(self.unsafe_local)
        return self._runner

    def ready(self) -> None:
        """Raises LimbeckError where commands cannot be run safely."""
        require_sandbox(self.unsafe_local)

    def add(self, examples: Sequence[Example], answers: Sequence[Answer], verdicts: Sequence[Verdict]) -> list[Verdict]:
        """Every candidate of every answer run beside its golds; where nothing can be compared, or the best failed, the verdict says why."""
        places = [(at, unwrap(c.text)) for at, answer in enumerate(answers) if answer.status == "scored" for c in answer.candidates]
        judged = self.runner.judge_all([(examples[at].gold, command) for at, command in places])
        by_example: dict[int, list[Any]] = {}
        for (at, _), judgement in zip(places, judged, strict=True):
            by_example.setdefault(at, []).append(judgement)
        out = list(verdicts)
        for at, found in by_example.items():
            if out[at].status != "scored":
                continue
            if found[0].verdict == NOT_COMPARABLE:
                out[at] = replace(out[at], reason=f"{NOT_COMPARABLE}: {found[0].reason}")
                continue
            values = tuple(float(j.verdict == SAME) for j in found)
            reason = "" if values[0] else f"{found[0].verdict}: {found[0].reason}"
            out[at] = replace(out[at], measures={**out[at].measures, "functional": values}, reason=reason)
        return out

    def summarise(self, examples: Sequence[Example], trials: Sequence[Mapping[str, Any]]) -> list[Score]:
        """functional-k over examples that can be compared, an answer that failed counting as wrong; and why the others cannot."""
        self.runner.see_golds([e.gold for e in examples])
        reasons = [self.runner.why_not_comparable(e.gold) for e in examples]
        usable = [(e, t) for e, t, reason in zip(examples, trials, reasons, strict=True) if not reason]
        out = []
        for rank in (1, 3, 5):
            if rank == 1 or any(len(t["candidates"]) >= rank for t in trials):
                groups: dict[Any, list[float]] = {}
                for example, trial in usable:
                    groups.setdefault(example.meta.get("cluster", example.id), []).append(max(trial.get("functional", ())[:rank], default=0.0))
                out.append(grouped_rate(f"functional-{rank}", [sum(g) for g in groups.values()], [float(len(g)) for g in groups.values()], len(trials) - len(usable)))
        counts = Counter(reason.partition(" (")[0] for reason in reasons if reason)
        return [*out, *(Score(name=f"not run: {reason}", value=count / len(trials), n=len(trials)) for reason, count in counts.most_common())]
