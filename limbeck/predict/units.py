"""Are all losses of a table in one unit? Two clouds a constant factor apart, each smooth, together not.

What is smooth is judged by a law that can only fall with size and data: a free polynomial would bend itself round a whole series in
another unit, and a series (all runs of one D/N, all large ones) is just how units come to be mixed.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.predict.ensemble import Member, centre_of, points_of, prior_of, starts_of
from limbeck.predict.fitting import Problem, solve
from limbeck.predict.laws import LAWS, Array
from limbeck.predict.tables import Runs

FEWEST = 8  # runs: with fewer, two clouds are always found
LEAST_SPREAD = 0.025  # of ln L about one law; below it there is nothing to explain
SHARE = 0.3  # of that spread may be left once two units are assumed
LEAST_FACTOR = 0.3  # ln of the factor between the clouds: 1.35 (bits: 1.44); closer ones may be two recipes
ROUNDS = 8
BITS = -math.log(math.log(2.0))


def refuse_mixed_units(runs: Runs, unit: str = "nats") -> None:
    """Raises LimbeckError where two units explain the losses far better than one."""
    if len(runs) < FEWEST:
        return
    law = LAWS["chinchilla" if runs.has_sizes else "frontier"]
    member = Member(law=law.name, weight=1.0, floor=0.5, floor_width=0.5, slope=0.3 if runs.has_sizes else 0.15, slope_width=0.5, near=1.0)
    logs, points = np.log(runs.losses), points_of(runs, centre_of(runs))
    means, widths = prior_of(law, member, logs, np.ones(len(logs)))
    problem = Problem(law=law, points=points, log_losses=logs, weights=np.ones(len(logs)), means=means, widths=widths, noise=0.02)
    residual, before = _residual(problem)
    if before < LEAST_SPREAD:
        return
    best: tuple[Array, float, float] | None = None
    for high in _first_guesses(runs, residual):
        found = _two_clouds(problem, high)
        if found and (best is None or found[2] < best[2]):
            best = found
    if best is None or best[2] > SHARE * before:
        return
    high, shift, _ = best
    rows = ", ".join(str(i + 1) for i in np.flatnonzero(high)[:5])
    bits = abs(shift - BITS) < 0.1
    factor = "1/ln 2 = 1.44 times" if bits else f"{math.exp(shift):.2f} times"
    fix = f"bring all to one unit (bits x 0.693 = nats) and say which with --unit; read as {unit}" if bits else "bring all to one unit and one tokenizer; forecast other recipes in tables of their own"
    raise LimbeckError(f"the losses seem to be in two units: {int(high.sum())} of {len(runs)} runs lie {factor} above the others", f"{runs.name}, row {rows}", fix)


def _residual(problem: Problem) -> tuple[Array, float]:
    """ln L less the law's (M), and their spread: the mean of the absolute residuals, which a few wild runs do not rule."""
    thetas, values = solve(problem, starts_of(problem.law, problem.means), steps=40, tolerance=1e-5)
    residual = problem.log_losses - problem.law.log_loss(thetas[np.argmin(values)][None], problem.points)[0][0]
    return residual, float(np.mean(np.abs(residual)))


def _first_guesses(runs: Runs, residual: Array) -> list[Array]:
    """Which runs might be in the larger unit: those above one law, those far above the frontier's, whole series of a size, a D/N or a compute."""
    guesses = [residual > 0, residual > np.median(residual), residual > BITS / 2, residual > -BITS / 2]
    order = np.argsort(residual)
    at = int(np.argmax(np.diff(residual[order]))) + 1
    guesses.append(residual >= residual[order[at]])
    for cut in (0.2, 0.35, 0.5, 0.65, 0.8):
        guesses += [runs.compute > np.quantile(runs.compute, cut), runs.compute <= np.quantile(runs.compute, cut)]
        if runs.has_sizes:
            ratio = runs.data / runs.sizes
            guesses += [ratio > np.quantile(ratio, cut), ratio <= np.quantile(ratio, cut)]
    return guesses


def _two_clouds(problem: Problem, high: Array) -> tuple[Array, float, float] | None:
    """The runs in the larger unit, ln of the factor and the spread that is left: assigned and refitted in turn."""
    shift, best = BITS, None
    for _ in range(ROUNDS):
        if not 2 <= high.sum() <= len(high) - 2:
            break
        residual, _ = _residual(replace(problem, log_losses=problem.log_losses - shift * high))
        whole = residual + shift * high
        shift = float(np.median(whole[high]) - np.median(whole[~high]))
        left = float(np.mean(np.abs(residual)))
        if shift > LEAST_FACTOR and (best is None or left < best[2]):
            best = (high, shift, left)
        shift = max(shift, LEAST_FACTOR)
        new = whole > shift / 2 + np.median(whole[~high])
        if (new == high).all():
            break
        high = new
    return best
