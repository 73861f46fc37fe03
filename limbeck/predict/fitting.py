"""Many fits at once: Levenberg-Marquardt on Huber's loss with weak priors, for a batch of starts or of resampled tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from limbeck.predict.laws import Array, Law, Points


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is fitted: a law on M runs. `means`, `widths` are the prior's; `noise` the scale of a residual in ln L; `bend` where Huber's loss turns linear, in noises."""

    law: Law
    points: Points
    log_losses: Array  # (M)
    weights: Array  # (M) or (B, M)
    means: Array  # (P)
    widths: Array  # (P); infinite: no prior
    noise: float
    bend: float = 1.345


def huber(residual: Array, bend: float) -> Array:
    """Half the square, then linear."""
    size = np.abs(residual)
    return np.where(size <= bend, 0.5 * residual**2, bend * (size - 0.5 * bend))


def objective(problem: Problem, theta: Array) -> Array:
    """What is minimised, for each of B parameter vectors (B)."""
    value, _ = problem.law.log_loss(theta, problem.points)
    misfit = (problem.weights * huber((value - problem.log_losses) / problem.noise, problem.bend)).sum(-1)
    return misfit + 0.5 * (((theta - problem.means) / problem.widths) ** 2).sum(-1)


def solve(problem: Problem, theta: Array, steps: int = 60, tolerance: float = 1e-7) -> tuple[Array, Array]:
    """The best parameters from each start (B, P) and their objective (B). Steps that do not help are damped and tried again."""
    theta = np.array(theta, dtype=float)
    precision = 1.0 / problem.widths**2
    damping = np.full(len(theta), 1e-2)
    now = objective(problem, theta)
    diagonal = np.arange(theta.shape[1])
    for _ in range(steps):
        value, slopes = problem.law.log_loss(theta, problem.points)
        residual = (value - problem.log_losses) / problem.noise
        weight = problem.weights * np.minimum(1.0, problem.bend / np.maximum(np.abs(residual), 1e-300))
        slopes = slopes / problem.noise
        gradient = np.einsum("bmp,bm->bp", slopes, weight * residual) + (theta - problem.means) * precision
        weighted = slopes * weight[..., None]
        curvature = np.matmul(weighted.transpose(0, 2, 1), slopes)
        curvature[:, diagonal, diagonal] += precision
        damped = curvature.copy()
        damped[:, diagonal, diagonal] += damping[:, None] * (curvature[:, diagonal, diagonal] + 1e-9)
        move = -np.linalg.solve(damped, gradient[..., None])[..., 0]
        move = np.clip(move, -2.0, 2.0)
        there = objective(problem, theta + move)
        better = there < now
        gain = np.where(better, now - there, 0.0)
        theta = np.where(better[:, None], theta + move, theta)
        now = np.where(better, there, now)
        damping = np.where(better, np.maximum(damping * 0.3, 1e-9), np.minimum(damping * 5.0, 1e8))
        if np.all((gain <= tolerance * (1 + np.abs(now))) & (better | (damping > 1e5))):
            break
    return theta, now
