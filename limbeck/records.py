"""The things that flow down the line. Small, frozen, JSON-friendly; every room speaks in these.

Absent is never zero: an answer, a verdict and a trial carry a status, and only `scored` ones enter a rate.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["scored", "no_answer", "refused", "failed"]


def content_id(value: object, length: int = 16) -> str:
    """The first `length` hex digits of SHA-256 over canonical JSON: equal content, equal id, on any machine."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What an answerer is shown: `text` for people and language models, `context` for what text cannot carry (a table)."""

    id: str
    text: str
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One thing to be answered. `gold` lists every accepted answer and is empty where nobody knows one."""

    id: str
    prompt: Prompt
    gold: tuple[str, ...] = ()
    source: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One ranked answer. `score` is a log-probability or any number where larger is better."""

    text: str
    score: float = 0.0
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Ranked distinct candidates, best first; `status` is `scored` when there is at least one to judge."""

    prompt_id: str
    candidates: tuple[Candidate, ...] = ()
    status: Status = "scored"
    reason: str = ""
    seconds: float = 0.0
    cost_usd: float | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Whether a candidate is fit to be used at all, decided without a gold answer. `reason` names the refusal.

    `outcome` is what the candidate does to its prompt, where that can be run: equal outcomes, same effect.
    """

    ok: bool
    reason: str = ""
    outcome: Hashable = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who had a hand in a record, in which role, and under which terms (an id of limbeck/catalog/terms, or "unknown").

    `model` is a MODEL string, or `people:SOURCE` for what people wrote; `terms_sha256` is of the terms' text as it was read.
    """

    role: Literal["generator", "rewriter", "judge", "labeller", "logits", "base", "prompt"]
    model: str
    revision: str = ""
    host: str = ""
    terms: str = "unknown"
    terms_sha256: str = ""
    terms_date: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One answer judged. `measures` maps a measure's name to one value per candidate, in rank order (1.0 is right)."""

    status: Status
    measures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One example, the answer it got and the verdict on it."""

    example_id: str
    answer: Answer
    verdict: Verdict
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A rate with what makes it readable: how many were judged, the 95 % interval, how many are missing."""

    name: str
    value: float | None
    n: int
    low: float | None = None
    high: float | None = None
    missing: int = 0
