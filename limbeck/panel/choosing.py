"""Who should sit in a panel: whose errors differ, what the best choice could reach, and a greedy search that refuses whoever lowers the held-out score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.panel.vote import Ballot, rank_votes

Judge = Callable[[int, str], float]  # an example's place and a text: how right it is, 0 to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """`ballots[m][e]`: what member m said to example e; `names` of the members; `judge` says how right a text is."""

    names: tuple[str, ...]
    ballots: Sequence[Sequence[Sequence[Ballot]]]
    judge: Judge

    def scores(self, members: Sequence[int], examples: Sequence[int]) -> np.ndarray:
        """How right the vote of these members is on each of these examples; 0 where nobody could be read."""
        out = []
        for e in examples:
            winner = rank_votes([b for m in members for b in self.ballots[m][e]], 1)
            out.append(self.judge(e, winner[0].text) if winner else 0.0)
        return np.array(out, float)


def error_correlation(scores_MN: np.ndarray) -> np.ndarray:
    """Pearson's correlation of the members' errors [M, M]; nan where a member errs always or never: it correlates with nobody."""
    gap = scores_MN - scores_MN.mean(1, keepdims=True)
    size = np.sqrt((gap**2).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.outer(size, size) > 1e-12, (gap @ gap.T) / np.outer(size, size), np.nan)


def oracle(scores_MN: np.ndarray) -> float:
    """The score of whoever picks the best member for every example: no way to combine first answers is above it."""
    return float(scores_MN.max(0).mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Members in the order they were taken, the score on the choosing examples after each, and who was refused with what it would have made of it."""

    members: tuple[int, ...]
    scores: tuple[float, ...]
    refused: dict[str, float]


def choose_members(sheet: Sheet, examples: Sequence[int], most: int = 0) -> Chosen:
    """From the best single member on, always the one that raises the vote's score most; none that does not raise it. `most` members; 0: any number.

    Two members that differ only have to vote: a pair is a tie, so a trio may be better where no pair is. Pairs of newcomers are tried too
    where no single one helps.
    """
    if len(sheet.names) < 2:
        raise LimbeckError("there is nothing to choose from", "limbeck panel choose", "name two or more models with --model")
    everyone = range(len(sheet.names))
    singles = [float(sheet.scores([m], examples).mean()) for m in everyone]
    taken = [int(np.argmax(singles))]
    scores = [singles[taken[0]]]
    most = most or len(sheet.names)
    while len(taken) < most:
        left = [m for m in everyone if m not in taken]
        groups = [[m] for m in left] + ([[a, b] for at, a in enumerate(left) for b in left[at + 1 :]] if len(taken) + 2 <= most else [])
        found = [(float(sheet.scores([*taken, *g], examples).mean()), -len(g), g) for g in groups]
        best = max(found, key=lambda f: f[:2], default=None)
        if best is None or best[0] <= scores[-1] + 1e-12:
            break
        taken += best[2]
        scores.append(best[0])
    refused = {sheet.names[m]: float(sheet.scores([*taken, m], examples).mean()) for m in everyone if m not in taken}
    return Chosen(members=tuple(taken), scores=tuple(scores), refused=refused)


def halves(count: int) -> tuple[list[int], list[int]]:
    """Every other example to choose on, and the others to report on: what is chosen on looks better than it is."""
    if count < 4:
        raise LimbeckError(f"{count} examples are too few to choose on", "--split, --limit", "take a split with at least four; some hundreds tell members apart")
    return list(range(0, count, 2)), list(range(1, count, 2))
