"""Which small runs to train: those out of a grid that leave the forecast at the target least uncertain for a budget (V-optimality).

A law's parameters have the ensemble's weak priors; each run adds what its place tells of them; the variance at the target is the gradient there
through the inverse of all that is known. Runs far below the target tell less than their noise says (no law is exact): their noise grows with
the distance. Rules of experience on top: four sizes or more, two ratios of data to size, one small rung trained for much longer, two seeds of
the smallest, and the top rung held out as a test (docs/predict_ladder.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.predict.ensemble import ENSEMBLE, Fitted, prior_of
from limbeck.predict.laws import LAWS, Array

NOISE = 0.01  # of ln L at one rung: a seed, and what a law misses
DRIFT = 0.008  # more for each factor e between rung and target: laws missed by 3.5 % on average from 100 times less compute (docs/predict.md)
RESERVE = 0.15  # of the budget, for a rung that must be run again
SIZES = 4  # the fewest
STEP = 1.25  # least ratio between two neighbouring sizes
LONGER = 3.0  # how much longer the over-trained rung is trained, at least
MOST = 16  # rungs
ALIKE = 0.1  # of ln D/N: nearer ones are one ratio
FAR = 100.0  # times below the top rung: what is learnt there is another thing than what the target still has to learn


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A run that could be a rung: size without embeddings, data in tokens, cost in FLOP; `facts` are the caller's (a width, say)."""

    size: float
    data: float
    compute: float
    facts: tuple[tuple[str, float], ...] = ()

    @property
    def ratio(self) -> float:
        """Tokens a parameter."""
        return self.data / self.size


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """One rung of a plan. `role`: rung, over-trained, held-out or seed; `seed` numbers equal runs."""

    candidate: Candidate
    role: str
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The rungs, smallest first; `spread` is the forecast's standard deviation in ln L at the target, before any inflation."""

    rungs: tuple[Chosen, ...]
    target: Candidate
    budget: float
    spread: float
    prior_spread: float

    @property
    def compute(self) -> float:
        """FLOP of all rungs."""
        return sum(r.candidate.compute for r in self.rungs)


class Design:
    """What a set of runs would tell of a target, averaged over the ensemble's laws. Ready for many questions about one grid."""

    def __init__(self, grid: Sequence[Candidate], target: Candidate, fits: Sequence[Fitted] = ()) -> None:
        every = [*grid, target]
        n, d, c = (np.log([getattr(x, name) for x in every]) for name in ("size", "data", "compute"))
        noise = np.hypot(NOISE, DRIFT * np.maximum(0.0, c[-1] - c[:-1]))
        self.terms: list[tuple[float, Array, Array, Array]] = []
        fitted = {f.member.law: f for f in fits}
        for member in ENSEMBLE:
            law, found = LAWS[member.law], fitted.get(member.law)
            centre = dict(found.centre) if found else {"n": n.mean(), "d": d.mean(), "c": c.mean()}
            means, widths = (found.theta, found.problem.widths) if found else prior_of(law, member, np.zeros(1), np.ones(1))
            slopes = law.log_loss(means[None], {"n": n - centre["n"], "d": d - centre["d"], "c": c - centre["c"]})[1][0]
            precision = np.diag(1.0 / widths**2)
            if found:  # what the table at hand already tells
                known = law.log_loss(means[None], found.problem.points)[1][0]
                precision = precision + (known * (found.problem.weights / found.problem.noise**2)[:, None]).T @ known
            self.terms.append((member.weight, slopes[:-1] / noise[:, None], slopes[-1], precision))

    def variance(self, picks: Sequence[int]) -> float:
        """Of ln L at the target, when these candidates (with repeats) are run."""
        total = 0.0
        for weight, rows, aim, precision in self.terms:
            told = rows[list(picks)]
            total += weight * float(aim @ np.linalg.solve(precision + told.T @ told, aim))
        return total


def choose_rungs(grid: Sequence[Candidate], target: Candidate, budget: float, fits: Sequence[Fitted] = ()) -> Plan:
    """The best ladder that the budget (FLOP) pays for. Raises LimbeckError where it pays for none, or the target is no larger than the grid."""
    if not (math.isfinite(budget) and budget > 0):
        raise LimbeckError(f"{budget} is no budget", "--budget", "give FLOP (1e15), time (2h) or dollars ($5)")
    if target.compute <= max((c.compute for c in grid if c.compute <= budget), default=0.0):
        raise LimbeckError(f"the target ({target.compute:.3g} FLOP) is no larger than its ladder", "--target", "train it: nothing needs to be forecast; or lower the budget")
    design = Design(grid, target, fits)
    best: tuple[float, list[tuple[int, str, int]]] | None = None
    spendable = budget * (1 - RESERVE)
    for skeleton in _skeletons(grid):
        cost = sum(grid[at].compute for at, _, _ in skeleton)
        if cost > spendable:
            continue
        full = _fill(grid, design, skeleton, spendable - cost)
        value = design.variance([at for at, _, _ in full])
        if best is None or value < best[0]:
            best = value, full
    if best is None:
        least = min((sum(grid[at].compute for at, _, _ in s) for s in _skeletons(grid)), default=math.inf) / (1 - RESERVE)
        need = f"the smallest ladder of this grid costs {least:.3g} FLOP with its reserve" if math.isfinite(least) else f"this grid has fewer than {SIZES} sizes a factor of {STEP} apart"
        raise LimbeckError(f"a budget of {budget:.3g} FLOP pays for no ladder", "--budget", f"{need}; give more, or a larger target")
    rungs = sorted((Chosen(candidate=grid[at], role=role, seed=seed) for at, role, seed in best[1]), key=lambda r: (r.candidate.compute, r.seed))
    return Plan(rungs=tuple(rungs), target=target, budget=budget, spread=math.sqrt(best[0]), prior_spread=math.sqrt(design.variance([])))


def _skeletons(grid: Sequence[Candidate]) -> list[list[tuple[int, str, int]]]:
    """The least ladders: four sizes at like ratios of data to size, the smallest for longer and with a second seed."""
    alike = _alike([math.log(c.ratio) for c in grid])
    place = {(round(math.log(c.size), 6), alike[at]): at for at, c in enumerate(grid)}
    sizes = sorted({size for size, _ in place})
    ratios = sorted({ratio for _, ratio in place})
    out = []
    for ratio in ratios:
        for top in range(len(sizes)):
            picked = [sizes[top]]
            for size in reversed(sizes[:top]):
                if len(picked) < SIZES and picked[-1] - size >= math.log(STEP) and (size, ratio) in place:
                    picked.append(size)
            longer = [at for (size, other), at in place.items() if size == picked[-1] and other - ratio >= math.log(LONGER) - ALIKE]
            if len(picked) < SIZES or (picked[0], ratio) not in place or not longer:
                continue
            rungs = [place[size, ratio] for size in picked]
            over = min(longer, key=lambda at: grid[at].compute)
            if grid[over].compute > grid[rungs[0]].compute / 1.5:
                continue  # the held-out rung must stand above all others
            out.append([(rungs[0], "held-out", 0), *((at, "rung", 0) for at in rungs[1:]), (rungs[-1], "seed", 1), (over, "over-trained", 0)])
    return out


def _alike(ratios: Sequence[float]) -> list[float]:
    """For each logarithm the mean of those it belongs with: whole examples make ratios that are meant to be equal differ by a few hundredths."""
    out, group = [0.0] * len(ratios), []
    order = sorted(range(len(ratios)), key=lambda at: ratios[at])
    for place, at in enumerate(order):
        group.append(at)
        if place + 1 == len(order) or ratios[order[place + 1]] - ratios[at] > ALIKE:
            for member in group:
                out[member] = sum(ratios[m] for m in group) / len(group)
            group = []
    return out


def _fill(grid: Sequence[Candidate], design: Design, skeleton: list[tuple[int, str, int]], left: float) -> list[tuple[int, str, int]]:
    """The skeleton and whatever else the money pays for, the most told for a FLOP first; nothing as large as the held-out rung, nor hopelessly small.

    What a law misses at a place it misses with every seed: no place is run more than twice.
    """
    full, top = list(skeleton), grid[skeleton[0][0]].compute / 1.5
    least = grid[skeleton[0][0]].compute / FAR
    for _ in range(MOST - len(skeleton)):
        picks = [at for at, _, _ in full]
        now = design.variance(picks)
        gains = {at: (now - design.variance([*picks, at])) / c.compute for at, c in enumerate(grid) if least <= c.compute <= min(left, top) and picks.count(at) < 2}
        best = max(gains, key=lambda at: gains[at], default=None)
        if best is None or gains[best] * grid[best].compute < 0.01 * now:
            break
        full.append((best, "seed" if best in picks else "rung", picks.count(best)))
        left -= grid[best].compute
    return full


def plain_grid(target: Candidate, smallest: float = 1e-5) -> list[Candidate]:
    """Sizes from a fraction of the target's compute up, each at five ratios of data to size around the target's: where no recipe says what can be built."""
    out = []
    for power in range(1, 25):
        size = target.size * 2.0 ** (-power / 2)
        for times in (0.5, 1.0, 2.0, 4.0):
            data = size * target.ratio * times
            compute = target.compute * (size * data) / (target.size * target.data)
            if compute >= smallest * 1e-3 * target.compute:
                out.append(Candidate(size=size, data=data, compute=compute))
    return out


def parse_budget(text: str) -> tuple[str, float]:
    """'1e15' is FLOP, '2h', '30m' or '90s' hours, '$5' or '5usd' dollars: ("flop", ...), ("hours", ...) or ("dollars", ...)."""
    plain = text.strip().lower()
    kinds = [("$", "", "dollars", 1.0), ("", "usd", "dollars", 1.0), ("", "h", "hours", 1.0), ("", "m", "hours", 1 / 60), ("", "s", "hours", 1 / 3600), ("", "", "flop", 1.0)]
    for head, tail, kind, factor in kinds:
        if plain.startswith(head) and plain.endswith(tail):
            try:
                value = float(plain[len(head) : len(plain) - len(tail)]) * factor
            except ValueError:
                continue
            if math.isfinite(value) and value > 0:
                return kind, value
    raise LimbeckError(f"'{text}' is no budget", "--budget", "give FLOP (1e15), time (2h, 30m) or dollars ($5)")


def as_dict(plan: Plan) -> dict[str, Any]:
    """The plan as plain values."""
    rungs: list[Mapping[str, Any]] = [{"role": r.role, "seed": r.seed, "size": r.candidate.size, "data": r.candidate.data, "compute": r.candidate.compute, **dict(r.candidate.facts)} for r in plan.rungs]
    target = {"size": plan.target.size, "data": plan.target.data, "compute": plan.target.compute}
    return {"target": target, "budget": plan.budget, "cost": plan.compute, "share_of_target": plan.compute / plan.target.compute, "spread": plan.spread, "prior_spread": plan.prior_spread, "rungs": rungs}
