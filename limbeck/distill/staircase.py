"""What a staircase decides by: whether a teacher may teach, whether a generation gained, how often a model is asked at equal compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from limbeck.distill.near import plain
from limbeck.records import Example, content_id

Compare = Callable[[Sequence[dict[str, Any]], Sequence[dict[str, Any]]], dict[str, Any]]


@dataclass(slots=True, kw_only=True)
class Step:
    """One generation of one arm and seed. `result` is its student's examination."""

    arm: str
    seed: int
    generation: int
    records: int
    result: dict[str, Any]
    gate: dict[str, Any] = field(default_factory=dict)
    skipped: str = ""
    stopped: str = ""
    asked: int = 0
    drawn: int = 0
    kept: int = 0
    distinct: int = 0
    fresh: int = 0
    overlap: dict[str, int] = field(default_factory=dict)
    spend: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, Any] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """Share of the examination answered rightly; a missing answer is not right."""
        main = self.result["main"]
        trials = self.result["trials"]
        return sum(max(t.get(main, [])[:1], default=0.0) for t in trials) / max(1, len(trials))


def decide_gate(teacher: dict[str, Any], student: dict[str, Any], compare: Compare) -> dict[str, Any]:
    """Open where the teacher is better than its student on examples that neither learnt from; with the paired interval."""
    c = compare([teacher], [student])
    numbers = {"difference": c["difference"], "low": c["difference_low"], "high": c["difference_high"], "n": c["n"]}
    return {"open": c["difference"] > 0, **numbers, "said": f"its teacher is {_points(numbers)} better than its student on {c['n']} examples kept apart"}


def gains(now: dict[str, Any], before: dict[str, Any], compare: Compare) -> dict[str, Any]:
    """Whether a generation is better than the one before by more than its interval."""
    c = compare([now], [before])
    numbers = {"difference": c["difference"], "low": c["difference_low"], "high": c["difference_high"], "n": c["n"]}
    return {"gained": c["difference_low"] > 0, **numbers, "said": f"{_points(numbers)} on the generation before, n {c['n']}"}


def _points(numbers: dict[str, float]) -> str:
    return f"{100 * numbers['difference']:+.1f} [{100 * numbers['low']:+.1f}, {100 * numbers['high']:+.1f}] points"


def ask_for(samples: int, larger: int, asker: int) -> int:
    """Draws of `asker` (parameters) that cost as much as `samples` of the larger model: cost is taken as proportional to size."""
    return max(1, round(samples * larger / max(1, asker)))


def overlaps(records: Iterable[Mapping[str, Any]], tests: Sequence[Example]) -> dict[str, int]:
    """How many records ask what a test asks, or say all that a test's gold says; spelling, case and white space aside."""
    asked = {(plain(e.prompt.text), _beside(e.prompt.context)) for e in tests}
    said = {plain(text) for e in tests for text in e.gold}
    found = {"requests": 0, "answers": 0}
    for record in records:
        found["requests"] += (plain(record["text"]), _beside(record.get("context") or {})) in asked
        found["answers"] += plain(record["answer"]) in said
    return found


def _beside(context: Mapping[str, Any]) -> str:
    """What a request stands in (a table, numbers) as one id; how it is put to a model is no part of it."""
    return content_id({name: value for name, value in context.items() if name != "messages"}, 12)


def planted(examples: Sequence[Example], passes: Callable[[Example, str], bool]) -> tuple[int, int]:
    """How many answers to the next question pass for this one, and how many golds pass for their own."""
    wrong = sum(passes(e, other.gold[0]) for e, other in pairwise(examples) if other.gold[0] not in e.gold)
    return wrong, sum(passes(e, e.gold[0]) for e in examples)
