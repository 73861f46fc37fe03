"""What an answer is worth: a policy's propositions and ranks weighed under the response type that its request calls for, and the task's own score.

The policy's part lies between 0 and 1. A task's own request is worth that plus `task_weight` times the score that the task gives, so that help
counts beside manners.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from limbeck.align.grader import Grader, Labelled
from limbeck.align.policy import KINDS, RANKS, Kind, Policy
from limbeck.align.propositions import Exchange
from limbeck.align.weights import fit_ranking, ordered_share

MADE_UP = 60  # answers of each rank whose propositions are drawn by chance, beside those that people labelled
MISREAD = 0.1  # share of a drawn answer's propositions that the grader is taken to read wrongly
FOLDS = 5
Scored = Callable[[Sequence[str], Sequence[str]], list[float | None]]  # ids of a task's requests, answers -> the task's own score of each


@dataclass(frozen=True, kw_only=True)
class Weighing:
    """Weights of one response type's propositions and ranks; `low` and `high` are the scores that become 0 and 1."""

    names: tuple[str, ...]
    weights_F: np.ndarray
    low: float
    high: float
    ordered: int = 0
    pairs: int = 0

    def worth(self, chances: Mapping[str, float], rank: str) -> float:
        """Between 0 and 1."""
        score = float(_features(self.names, chances, rank) @ self.weights_F)
        return min(1.0, max(0.0, (score - self.low) / (self.high - self.low))) if self.high > self.low else 0.0

    def as_json(self) -> dict[str, Any]:
        """The weights by name, and how many pairs of held-out answers they put in the policy's order."""
        return {"weights": dict(zip([*self.names, *(f"rank {r}" for r in RANKS)], (round(float(w), 4) for w in self.weights_F), strict=True)), "held_out_pairs": self.pairs, "ordered": self.ordered}


def _features(names: Sequence[str], chances: Mapping[str, float], rank: str) -> np.ndarray:
    return np.array([*(chances.get(name, 0.0) for name in names), *(float(rank == r) for r in RANKS)])


def fit_weights(policy: Policy, labelled: Sequence[Labelled] = (), chances: Mapping[str, np.ndarray] | None = None, seed: int = 0) -> dict[Kind, Weighing]:
    """Weights by response type, under which answers as the grader reads them lie in the order of the ranks that they truly have.

    `chances` are the grader's of the labelled answers, by classifiers that have not seen them. Beside those stand drawn answers of every rank,
    read wrongly now and then, so that ranks which no labelled answer has are weighed too. Held out, fold by fold, are the labelled answers,
    or the drawn ones where there are none.
    """
    out: dict[Kind, Weighing] = {}
    for kind in KINDS:
        if any(k == kind for k, _ in policy.conditions):
            at = [i for i, row in enumerate(labelled) if row.exchange.kind == kind]
            read = [{name: float(column[i]) for name, column in (chances or {}).items() if not np.isnan(column[i])} or {n: float(v) for n, v in labelled[i].truth.items()} for i in at]
            out[kind] = _fit(policy, kind, [labelled[i].truth for i in at], read, seed)
    return out


def _fit(policy: Policy, kind: Kind, truths: Sequence[Mapping[str, bool]], read: Sequence[Mapping[str, float]], seed: int) -> Weighing:
    names, random = policy.used(kind), np.random.default_rng([seed, KINDS.index(kind)])
    drawn = _draw(policy, kind, names, random)
    misread = [{name: float(value != (random.random() < MISREAD)) for name, value in truth.items()} for truth in drawn]
    ranks = np.array([RANKS.index(policy.rank(kind, truth)) for truth in [*truths, *drawn]])
    features = np.array([_features(names, r, policy.rank(kind, {n: c >= 0.5 for n, c in r.items()})) for r in [*read, *misread]])
    weights = fit_ranking(features, ranks)
    tested = np.arange(len(truths)) if len(set(ranks[: len(truths)].tolist())) > 1 else np.arange(len(ranks))
    fold, right, pairs = random.permutation(len(ranks)) % FOLDS, 0, 0
    for part in range(FOLDS):
        inside = tested[fold[tested] == part]
        found = fit_ranking(features[fold != part], ranks[fold != part])
        ordered, count = ordered_share(features[inside] @ found, ranks[inside])
        right, pairs = right + ordered, pairs + count
    best = _features(names, {n: float(v) for n, v in policy.example(kind, "ideal").items()}, "ideal") @ weights
    scores = np.append(features @ weights, best)
    return Weighing(names=names, weights_F=weights, low=float(scores.min()), high=float(scores.max()), ordered=right, pairs=pairs)


def _draw(policy: Policy, kind: Kind, names: Sequence[str], random: np.random.Generator) -> list[dict[str, bool]]:
    """Truths of each rank that has any: what puts an answer there, and all else by chance where it stays there."""
    out = []
    for rank in RANKS:
        settled = policy.example(kind, rank)
        for share in random.uniform(0.05, 0.6, MADE_UP):
            truth = {name: bool(random.random() < share) for name in names} | {name: settled[name] for name in names if name in settled}
            out.append(truth if policy.rank(kind, truth) == rank or not settled else {name: settled.get(name, False) for name in names})
    return out


@dataclass(kw_only=True)
class Reward:
    """The worth of answers. `scored` gives a task's own score for its own requests, by their ids."""

    grader: Grader
    weights: Mapping[Kind, Weighing]
    task_weight: float = 1.0
    scored: Scored | None = None
    missing: int = field(default=0, init=False)

    def of(self, exchanges: Sequence[Exchange], task_ids: Sequence[str] = ()) -> list[float | None]:
        """One number an exchange; None where a proposition that its rank hangs on could not be judged, or the task could not score it."""
        return self.ranked(exchanges, task_ids)[0]

    def ranked(self, exchanges: Sequence[Exchange], task_ids: Sequence[str] = ()) -> tuple[list[float | None], list[int]]:
        """The same, and each answer's rank under the policy, 0 being the best."""
        grades = self.grader.grade(exchanges)
        found: list[float | None] = []
        for exchange, grade in zip(exchanges, grades, strict=True):
            weighing = self.weights[exchange.kind or "comply"]  # type: ignore[index]
            found.append(weighing.worth(grade.chances, grade.rank) if all(name in grade.chances for name in weighing.names) else None)
        own = [at for at, name in enumerate(task_ids) if name]
        if own and self.scored is not None:
            scores = self.scored([task_ids[at] for at in own], [exchanges[at].answer for at in own])
            for at, score in zip(own, scores, strict=True):
                worth = found[at]
                found[at] = None if score is None or worth is None else worth + self.task_weight * score
        self.missing += sum(value is None for value in found)
        return found, [RANKS.index(grade.rank) for grade in grades]
