"""The measure `passed` of task python: ODEX answers put where they belong and run against the tests, in a sandbox."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from limbeck.records import Answer, Candidate, Example, Score, Verdict
from limbeck.tasks.intervals import grouped_rate
from limbeck.tasks.programs import OdexTask, missing_library


class ProgramTests:
    """Adds the measure to verdicts on examples that have tests; the others, and those whose libraries are absent, have none."""

    def __init__(self, unsafe_local: bool = False) -> None:
        self.odex = OdexTask(unsafe_local)
        self.version = f"run-{self.odex.version}"

    def ready(self) -> None:
        """Raises LimbeckError where programs cannot be run safely."""
        self.odex.ready()

    def add(self, examples: Sequence[Example], texts: Sequence[Sequence[str]], verdicts: Sequence[Verdict]) -> list[Verdict]:
        """`texts` are each answer's candidates without what stands around the code."""
        out, places = list(verdicts), [at for at, v in enumerate(verdicts) if v.status == "scored" and "test" in examples[at].meta]
        answers = [Answer(prompt_id=examples[at].id, candidates=tuple(Candidate(text=t) for t in texts[at])) for at in places]
        for at, run in zip(places, self.odex.score_all([_posed(examples[at]) for at in places], answers), strict=True):
            passed = {"passed": run.measures["passed"]} if run.status == "scored" else {}
            out[at] = replace(out[at], measures={**out[at].measures, **passed}, reason=run.reason)
        return out

    def summarise(self, examples: Sequence[Example], trials: Sequence[Mapping[str, Any]]) -> list[Score]:
        """passed-k, the best of the first k answers: an answer that failed counts as wrong, an example that cannot be run as missing."""
        why = [_why_not_run(e) for e in examples]
        usable = [(e, t) for e, t, reason in zip(examples, trials, why, strict=True) if not reason]
        out = []
        for rank in (1, 3, 5) if usable else ():
            if rank == 1 or any(len(t["candidates"]) >= rank for t in trials):
                groups: dict[Any, list[float]] = {}
                for example, trial in usable:
                    groups.setdefault(example.meta.get("cluster", example.id), []).append(max(trial.get("passed", ())[:rank], default=0.0))
                out.append(grouped_rate(f"passed-{rank}", [sum(g) for g in groups.values()], [float(len(g)) for g in groups.values()], len(trials) - len(usable)))
        counts = Counter(reason for reason in why if reason)
        return [*out, *(Score(name=f"not run: {reason}", value=count / len(trials), n=len(trials)) for reason, count in counts.most_common())]


def _posed(example: Example) -> Example:
    """An example of this task as task odex has it."""
    row = example.meta
    tests = f"{row['test_start']}{''.join(row['test'])}\ncheck({row['entry_point']})\n"
    return replace(example, meta={"tests": tests, "head": row["prompt"], "tail": row["suffix"], "entry_point": row["entry_point"], "needs": tuple(row["library"])})


def _why_not_run(example: Example) -> str:
    if "test" not in example.meta:
        return "no tests"
    absent = missing_library(_posed(example))
    return f"{absent} is not installed" if absent else ""
