"""Several laws fitted to one table with weak priors, and their mean: no single form is right far from its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from limbeck.predict.fitting import Problem, solve
from limbeck.predict.laws import LAWS, Array, Law, Points
from limbeck.predict.tables import Runs

LEAST_NOISE = 0.003  # of ln L: seeds alone move a loss by about this much
LEAST_WEIGHT = 1e-3
CLEARLY = 0.02  # ln L: a target is off the best split only where a law says so by more


@dataclass(frozen=True, kw_only=True)
class Member:
    """A law of the ensemble with its priors, learnt on tables of other people's runs (docs/predict.md says which, and how).

    floor: prior median of the irreducible loss, as a share of the lowest loss seen; floor_width its width in ln.
    slope: prior median of the exponents; near: runs this far (in ln L) above the frontier count half.
    """

    law: str
    weight: float
    floor: float
    floor_width: float
    slope: float
    slope_width: float
    near: float
    sharpness: float = 1.0
    sharpness_width: float = 0.2


ENSEMBLE: tuple[Member, ...] = (
    Member(law="frontier", weight=0.2, floor=0.6, floor_width=0.15, slope=0.16, slope_width=0.3, near=0.003),
    Member(law="broken", weight=0.2, floor=0.6, floor_width=0.15, slope=0.16, slope_width=0.3, near=0.003),
    Member(law="coupled", weight=0.3, floor=0.55, floor_width=0.3, slope=0.3, slope_width=0.3, near=0.008, sharpness=0.7, sharpness_width=0.2),
    Member(law="chinchilla", weight=0.3, floor=0.55, floor_width=0.15, slope=0.3, slope_width=0.2, near=0.008),
)
FLOORS = ("ln E", "ln c")
SLOPES = ("ln alpha", "ln beta", "ln b", "ln k alpha", "ln k beta", "ln g")


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A law's parameters on a table, with what a refit needs."""

    member: Member
    problem: Problem
    theta: Array  # (P)
    centre: Mapping[str, float]
    objective: float

    def predict(self, sizes: Array, data: Array, compute: Array, theta: Array | None = None, unique: Array | None = None) -> Array:
        """ln L at targets (T), or (B, T) for parameter vectors (B, P). `unique`: different data, all of it unless said."""
        points = _points(sizes, data, compute, self.centre)
        if "u" in self.problem.law.needs:
            points = {**points, "u": points["d"] if unique is None else np.log(np.minimum(unique, data)) - self.centre["d"]}
        value, _ = self.problem.law.log_loss(self.theta[None] if theta is None else theta, points)
        return value[0] if theta is None else value


def above_frontier(runs: Runs) -> Array:
    """How far each run (M) lies above the lowest loss at no more compute, in ln L."""
    order = np.argsort(runs.compute, kind="stable")
    logs = np.log(runs.losses[order])
    excess = np.empty(len(runs))
    excess[order] = logs - np.minimum.accumulate(logs)
    return excess


def centre_of(runs: Runs) -> dict[str, float]:
    """Means of the logarithms, which the laws are centred on."""
    return {"n": float(np.log(runs.sizes).mean()), "d": float(np.log(runs.data).mean()), "c": float(np.log(runs.compute).mean())}


def points_of(runs: Runs, centre: Mapping[str, float]) -> Points:
    """What the laws read, for each run (M)."""
    return _points(runs.sizes, runs.data, runs.compute, centre)


def _points(sizes: Array, data: Array, compute: Array, centre: Mapping[str, float]) -> Points:
    return {"n": np.log(sizes) - centre["n"], "d": np.log(data) - centre["d"], "c": np.log(compute) - centre["c"]}


def single(law: str) -> Member:
    """A law alone, with the priors of the ensemble where it has it."""
    found = next((m for m in ENSEMBLE if m.law == law), None)
    return replace(found, weight=1.0) if found else Member(law=law, weight=1.0, floor=0.55, floor_width=0.3, slope=0.16 if LAWS[law].needs == ("c",) else 0.3, slope_width=0.3, near=0.003 if LAWS[law].needs == ("c",) else 0.1)


def prior_of(law: Law, member: Member, logs: Array, weights: Array) -> tuple[Array, Array]:
    """Means and widths (P) of the member's weak prior on this table."""
    means, widths = np.array(law.means), np.array(law.widths)
    lowest = float(np.exp(logs.min()))
    middle = max(float(np.exp(np.average(logs, weights=weights))) - member.floor * lowest, 0.05 * lowest)
    for j, name in enumerate(law.parameters):
        if name in FLOORS:
            means[j], widths[j] = np.log(member.floor * lowest), member.floor_width
        elif name == "ln a":
            means[j] = np.log(middle)
        elif name in ("ln A", "ln B", "ln data term"):
            means[j] = np.log(middle / 2)
        elif name == "ln size term":  # what no data removes: the floor and the model's own part
            means[j] = np.log(member.floor * lowest + middle / 2)
        elif name in SLOPES:
            means[j], widths[j] = np.log(member.slope), member.slope_width
        elif name == "ln k":
            means[j], widths[j] = np.log(member.sharpness), member.sharpness_width
    return means, widths


def starts_of(law: Law, means: Array) -> Array:
    """The prior's middle, and from there other floors and slopes (5, P)."""
    floor = [j for j, name in enumerate(law.parameters) if name in FLOORS]
    slopes = [j for j, name in enumerate(law.parameters) if name in SLOPES]
    starts = np.repeat(means[None], 5, axis=0)
    starts[1, floor] -= 0.5
    starts[2, floor] += 0.2
    starts[3, slopes] -= 0.4
    starts[4, slopes] += 0.4
    return starts


def fit_member(runs: Runs, member: Member) -> Fitted:
    """One law, twice: first with a noise of 1 %, then with the noise that its residuals show."""
    law, centre = LAWS[member.law], centre_of(runs)
    points, logs = points_of(runs, centre), np.log(runs.losses)
    if runs.unique is not None and "u" in law.needs:
        points = {**points, "u": np.log(np.minimum(runs.unique, runs.data)) - centre["d"]}
    weights = np.maximum(1.0 / (1.0 + (above_frontier(runs) / member.near) ** 2), LEAST_WEIGHT)
    means, widths = prior_of(law, member, logs, weights)
    problem = Problem(law=law, points=points, log_losses=logs, weights=weights, means=means, widths=widths, noise=0.01)
    theta, _ = _best(problem, starts_of(law, means))
    residual = law.log_loss(theta[None], points)[0][0] - logs
    noise = max(LEAST_NOISE, 1.25 * float(np.average(np.abs(residual), weights=weights)))
    problem = replace(problem, noise=noise)
    theta, value = _best(problem, np.vstack([theta[None], starts_of(law, means)]))
    return Fitted(member=member, problem=problem, theta=theta, centre=centre, objective=value)


def _best(problem: Problem, starts: Array) -> tuple[Array, float]:
    thetas, values = solve(problem, starts)
    at = int(np.argmin(values))
    return thetas[at], float(values[at])


def fit_ensemble(runs: Runs, members: Sequence[Member] = ENSEMBLE) -> list[Fitted]:
    """Every member that the table's columns allow."""
    return [fit_member(runs, m) for m in members if runs.has_sizes or LAWS[m.law].needs == ("c",)]


def predict_all(fits: Sequence[Fitted], sizes: Array, data: Array, compute: Array, thetas: Sequence[Array] | None = None) -> list[Array]:
    """ln L of each member at targets (T), or (B, T). A law of compute alone knows only the best split of it: where a target lies further
    from that split than any run it was fitted on, it is raised by what the laws of size and data say of the difference."""
    values = [f.predict(sizes, data, compute, None if thetas is None else thetas[j]) for j, f in enumerate(fits)]
    guide = next((f for f in fits if f.member.law in ("coupled", "chinchilla")), None)
    if guide is not None:
        raised = np.maximum(0.0, off_best(guide, sizes, data) - guide_allowance(guide, fits) - CLEARLY)
        values = [v + raised if f.problem.law.needs == ("c",) else v for v, f in zip(values, fits, strict=True)]
    return values


def guide_allowance(guide: Fitted, fits: Sequence[Fitted]) -> float:
    """How far off the best split the runs lie that a law of compute was fitted on, in ln L."""
    flat = next((f for f in fits if f.problem.law.needs == ("c",)), None)
    if flat is None:
        return 0.0
    near = flat.problem.weights > 0.5
    sizes, data = np.exp(guide.problem.points["n"][near] + guide.centre["n"]), np.exp(guide.problem.points["d"][near] + guide.centre["d"])
    return float(off_best(guide, sizes, data).max())


def off_best(guide: Fitted, sizes: Array, data: Array) -> Array:
    """How far above the best split of the same compute a law puts targets (T), in ln L."""
    shift = np.linspace(-6.0, 6.0, 121)[:, None]
    grid = guide.predict((sizes * np.exp(shift)).ravel(), (data * np.exp(-shift)).ravel(), np.ones(shift.size * len(sizes))).reshape(len(shift), -1)
    return guide.predict(sizes, data, np.ones(len(sizes))) - grid.min(0)


def best_split(guide: Fitted, compute: float) -> tuple[float, float]:
    """Size and data that a law would choose for 6 N D = compute."""
    middle = np.sqrt(compute / 6.0)
    shift = np.linspace(-9.0, 9.0, 1801)
    values = guide.predict(middle * np.exp(shift), middle * np.exp(-shift), np.full(len(shift), compute))
    at = int(np.argmin(values))
    return float(middle * np.exp(shift[at])), float(middle * np.exp(-shift[at]))


def combine(values: Sequence[Array], fits: Sequence[Fitted]) -> Array:
    """The members' weighted mean of ln L."""
    return np.average(np.stack(values), axis=0, weights=[f.member.weight for f in fits])


def resample(fitted: Fitted, block_counts: Array) -> Array:
    """Parameters (B, P) refitted to B resampled tables; `block_counts` (B, M) says how often each run was drawn."""
    problem, out = fitted.problem, []
    chunk = max(1, int(4e6 / (block_counts.shape[1] * len(fitted.theta))))
    for start in range(0, len(block_counts), chunk):
        counts = block_counts[start : start + chunk]
        drawn = replace(problem, weights=problem.weights * counts)
        theta, _ = solve(drawn, np.repeat(fitted.theta[None], len(counts), axis=0), steps=25, tolerance=1e-4)
        out.append(theta)
    return np.concatenate(out)

