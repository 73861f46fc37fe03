"""The best of many: what the task's verifier passes comes before what it refuses, and a ranker orders each."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

from limbeck.panel.members import Heard
from limbeck.panel.reading import Reading
from limbeck.records import Candidate, Prompt


def mass_of(heard: Heard) -> list[float]:
    """A member's weight shared out over its answers by their log-probabilities (a softmax of its scores): the ranker's scale, the same for all members."""
    scores = [c.score for c in heard.candidates]
    top = max(scores, default=0.0)
    grown = [math.exp(max(-700.0, s - top)) for s in scores]
    return [heard.member.weight * g / sum(grown) for g in grown]


def rank_best(prompt: Prompt, heard: Sequence[Heard], reading: Reading, k: int) -> tuple[Candidate, ...]:
    """At most k answers: those that pass first; then by the mass of all that come to the same. Meta says which passed."""
    mass: dict[Hashable, float] = {}
    texts: dict[Hashable, tuple[str, bool]] = {}
    for h in heard:
        for candidate, share in zip(h.candidates, mass_of(h), strict=True):
            passed = reading.passes is None or reading.passes(prompt, candidate.text)
            key = reading.key(prompt, candidate.text) if passed else None
            key = ("text", candidate.text) if key is None else ("key", key)
            mass[key] = mass.get(key, 0.0) + share
            texts.setdefault(key, (candidate.text, passed))
    total = sum(mass.values()) or 1.0
    order = sorted(texts, key=lambda key: (not texts[key][1], -mass[key]))
    found: dict[str, Candidate] = {}
    lowest = 0.0
    for key in order:  # scores fall from rank to rank, also where what is refused had more mass than what passes
        text, passed = texts[key]
        lowest = min(lowest, math.log(max(mass[key] / total, 1e-300)))
        found.setdefault(text, Candidate(text=text, score=lowest, meta={"passed": passed, "mass": mass[key] / total}))
    return tuple(found.values())[:k]
