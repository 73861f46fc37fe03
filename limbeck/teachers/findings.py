"""What trying a teacher shows: findings with what was seen, why it matters and what mends it; and the report of them all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from limbeck.errors import LimbeckError

Outcome = Literal["pass", "warn", "fail", "not possible"]

MATTERS = {
    "chat template": "without the template it was trained with, a model answers worse, and nothing says so",
    "template prefix": "a student learns answers after the same beginning that it is later asked with; where the two differ it learns something else",
    "one beginning": "a second beginning-of-text token shifts every likelihood a little, silently",
    "template tokens": "tokens of the rendering must be the tokens of its text, else stored targets sit at the wrong places",
    "system message": "instructions that are dropped are not followed, and no error says so",
    "default system text": "the template's own words are part of every request: they cost tokens, and a student must be asked with the same",
    "vocabulary": "distributions can be learnt from only where a token's number means the same to teacher and student",
    "padding rows": "rows beyond the tokenizer's last token carry no meaning; mass on them is mass lost",
    "likelihoods": "soft targets and rankings are made of these numbers",
    "likelihood lists": "a list that is not sorted, or sums to more than one, is no part of a distribution",
    "greedy choice": "at temperature 0 the written token is the likeliest; where it is not, numbers and text come from different places",
    "likelihoods re-scored": "the same text scored again must get the same numbers: caches and batches that leak give others",
    "padding": "answers come in batches of unequal length; what is added to even them out must not count",
    "determinism": "what cannot be repeated cannot be checked, and a replay of the run gives other data",
    "likelihoods repeat": "replicas that disagree add noise to every soft target, of the size shown",
    "top-k coverage": "what the k likeliest tokens leave out is not learnt (or goes into one tail)",
    "top-k ceiling": "a server refuses or cuts lists longer than its own limit",
    "stops": "an answer that does not end runs to the limit, and all of it is paid for",
    "stop tokens": "the token that ends a turn must be one at which generation stops",
    "template marks": "marks of the template in an answer are learnt by the student as text",
    "n": "draws that are not given are asked for one by one: the request is paid for each time",
    "seed": "a seed that is not heeded makes draws that cannot be repeated",
    "max_tokens": "the budget is counted with this limit",
    "structured output": "answers that break the schema are refused later, after they are paid for",
    "reasoning": "thinking is paid for, and is in the answer unless it is taken off",
    "usage": "costs and budgets are counted from these numbers",
    "model name": "answers of another model are under other terms, and of other quality",
}
NEAR_NATS, FAR_NATS = 0.05, 0.5  # mean difference in nats of the same token scored twice: up to the first it is rounding (bfloat16, batches), above the second something is wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check: its outcome, what was seen, why it matters, what mends it, and the numbers."""

    name: str
    outcome: Outcome
    seen: str
    fix: str = ""
    matters: str = ""
    measured: Mapping[str, Any] = field(default_factory=dict)


def finding(name: str, outcome: Outcome, seen: str, fix: str = "", **measured: Any) -> Finding:
    """A finding of a check that MATTERS knows."""
    return Finding(name=name, outcome=outcome, seen=seen, fix="" if outcome == "pass" else fix, matters=MATTERS[name], measured=measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All findings about one teacher and what they cost; `cost_usd` is None where no price is known."""

    teacher: str
    student: str
    findings: tuple[Finding, ...]
    calls: int
    tokens_in: int
    tokens_out: int
    seconds: float
    cost_usd: float | None = None

    def of(self, outcome: Outcome) -> list[Finding]:
        """The findings with one outcome."""
        return [f for f in self.findings if f.outcome == outcome]

    def as_json(self) -> dict[str, Any]:
        """Plain values for a file or a pipe."""
        counts = {outcome: len(self.of(outcome)) for outcome in ("pass", "warn", "fail", "not possible")}
        return {**asdict(self), "findings": [{**asdict(f), "measured": dict(f.measured)} for f in self.findings], "counts": counts}

    def warnings(self) -> list[str]:
        """One line a warning, for a run's log."""
        return [f"{f.name}: {f.seen}" + (f"; {f.fix}" if f.fix else "") for f in self.of("warn")]

    def raise_failures(self) -> None:
        """Raises LimbeckError that names every failed check, before anything is spent."""
        failed = self.of("fail")
        if failed:
            seen = "; ".join(f"{f.name}: {f.seen}" for f in failed)
            raise LimbeckError(f"the teacher does not pass its self-test: {seen}", self.teacher, "; ".join(dict.fromkeys(f.fix for f in failed if f.fix)) + "; or teacher.self_test = false to go on all the same")


def judge_gap(name: str, gaps: Sequence[float], seen: str, fix: str) -> Finding:
    """Differences in nats of the same tokens scored twice: passed up to NEAR_NATS on average, failed above FAR_NATS or where one is no number."""
    if not gaps:
        return finding(name, "not possible", "there was no token to compare", fix)
    mean, most = sum(gaps) / len(gaps), max(gaps)
    shown = f"{seen}: {len(gaps)} tokens differ by {mean:.3g} nats on average, {most:.3g} at most (passed to {NEAR_NATS:g} on average)"
    outcome: Outcome = "fail" if not math.isfinite(mean) or mean > FAR_NATS else "warn" if mean > NEAR_NATS else "pass"
    return finding(name, outcome, shown, fix, tokens=len(gaps), mean_nats=mean, max_nats=most)


def judge_coverage(k: int, shares: Mapping[int, float], tokens: int) -> Finding:
    """How much of the distribution the k likeliest tokens hold, on the teacher's own text."""
    shown = ", ".join(f"top {size}: {100 * share:.1f} %" for size, share in sorted(shares.items()))
    outcome: Outcome = "pass" if shares.get(k, 0.0) >= 0.9 else "warn"
    return finding("top-k coverage", outcome, f"{shown} of the mass, over {tokens} tokens", "keep more tokens, or store draws (distill.soft = \"sampled\"): they are unbiased", shares={str(s): v for s, v in shares.items()}, tokens=tokens)
