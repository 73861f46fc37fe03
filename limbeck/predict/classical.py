"""The published way to fit E + A/N^alpha + B/D^beta: Huber's loss on ln L with a bend of 1e-3 and no prior, started by variable projection.

Hoffmann et al. (arXiv:2203.15556) start L-BFGS from a grid of 4,500 points. Given the exponents the law is linear in E, A and B, so a grid
over two exponents, each solved at once, finds starts near the best one; quasi-Newton steps with analytic gradients finish.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from limbeck.predict.fitting import Problem, huber, objective, solve
from limbeck.predict.laws import LAWS, Array
from limbeck.predict.tables import Runs

BEND = 1e-3
EXPONENTS = np.linspace(0.1, 0.9, 13)
STARTS = 4


@dataclass(frozen=True, kw_only=True)
class Chinchilla:
    """The classical fit. `objective` is the sum (not the mean) of Huber's loss, as Epoch's refit has it (arXiv:2404.10102)."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float
    objective: float
    errors: dict[str, float] | None = None  # standard errors by resampling runs

    @property
    def share(self) -> float:
        """a of N* ~ C^a: beta / (alpha + beta)."""
        return self.beta / (self.alpha + self.beta)

    def loss(self, sizes: Array, data: Array) -> Array:
        """Nats."""
        return self.E + self.A / sizes**self.alpha + self.B / data**self.beta


def project(n: Array, d: Array, losses: Array, negative_floor: bool = False) -> tuple[Array, Array]:
    """For each pair of exponents: their relative squared error (G), and ln A, ln B, E, ln alpha, ln beta (G, 5); E, A, B not negative by clipping.

    n, d: centred logarithms (M). With `negative_floor` E may be negative and is returned as it is.
    """
    alpha, beta = (g.ravel() for g in np.meshgrid(EXPONENTS, EXPONENTS, indexing="ij"))
    design = np.stack([np.exp(-alpha[:, None] * n), np.exp(-beta[:, None] * d), np.ones((len(alpha), len(n)))], axis=-1) / losses[:, None]
    gram = np.einsum("gmi,gmj->gij", design, design) + 1e-10 * np.eye(3)
    solution = np.linalg.solve(gram, design.sum(1)[..., None])[..., 0]
    if not negative_floor:
        low = solution[:, 2] <= 0
        two = np.linalg.solve(gram[:, :2, :2], design[:, :, :2].sum(1)[..., None])[..., 0]
        solution[low] = np.concatenate([two, np.full((len(two), 1), 1e-3)], axis=1)[low]
    solution[:, :2] = np.maximum(solution[:, :2], 1e-3)
    residual = np.einsum("gmi,gi->gm", design, solution) - 1.0
    return (residual**2).sum(1), np.concatenate([np.log(solution[:, :2]), solution[:, 2:], np.log(alpha)[:, None], np.log(beta)[:, None]], axis=1)


def fit_chinchilla(runs: Runs, resamples: int = 0, seed: int = 0) -> Chinchilla:
    """The classical fit; with `resamples`, standard errors by a bootstrap of runs."""
    n, d = np.log(runs.sizes), np.log(runs.data)
    centre = (float(n.mean()), float(d.mean()))
    n, d, y = n - centre[0], d - centre[1], np.log(runs.losses)
    errors, starts = project(n, d, runs.losses)
    order = np.argsort(errors)[:STARTS]
    starts = starts[order]
    starts[:, 2] = np.log(np.maximum(starts[:, 2], 1e-3))
    problem = Problem(law=LAWS["chinchilla"], points={"n": n, "d": d}, log_losses=y, weights=np.ones(len(y)), means=np.zeros(5), widths=np.full(5, np.inf), noise=1.0, bend=BEND)
    thetas, values = solve(problem, starts, steps=15, tolerance=1e-4)
    theta, value = _polish(problem, thetas[np.argmin(values)])
    found = _natural(theta[None], centre)[0]
    spread = None
    if resamples:
        counts = np.random.default_rng(seed).multinomial(len(y), np.full(len(y), 1 / len(y)), resamples).astype(float)
        drawn = Problem(**{**problem.__dict__, "weights": counts})
        many, _ = solve(drawn, np.repeat(theta[None], resamples, axis=0), steps=200, tolerance=1e-7)
        natural = _natural(many, centre)
        names = ("E", "A", "B", "alpha", "beta")
        spread = {name: float(natural[:, j].std(ddof=1)) for j, name in enumerate(names)}
        spread["share"] = float((natural[:, 4] / (natural[:, 3] + natural[:, 4])).std(ddof=1))
    return Chinchilla(E=found[0], A=found[1], B=found[2], alpha=found[3], beta=found[4], objective=value, errors=spread)


def _polish(problem: Problem, theta: Array) -> tuple[Array, float]:
    """BFGS with the analytic gradient to the exact optimum: Huber's bend is far below the residuals, where squared steps creep."""
    from scipy.optimize import minimize

    def both(x: Array) -> tuple[float, Array]:
        value, slopes = problem.law.log_loss(x[None], problem.points)
        residual = value[0] - problem.log_losses
        return float(huber(residual, problem.bend).sum()) / problem.bend, slopes[0].T @ np.clip(residual, -problem.bend, problem.bend) / problem.bend

    for _ in range(2):
        theta = minimize(both, theta, jac=True, method="BFGS", options={"gtol": 1e-6, "maxiter": 300}).x
    return theta, float(objective(problem, theta[None])[0])


def _natural(theta: Array, centre: tuple[float, float]) -> Array:
    """E, A, B, alpha, beta (B, 5) of centred parameters."""
    alpha, beta = np.exp(theta[:, 3]), np.exp(theta[:, 4])
    return np.stack([np.exp(theta[:, 2]), np.exp(theta[:, 0] + alpha * centre[0]), np.exp(theta[:, 1] + beta * centre[1]), alpha, beta], axis=1)
