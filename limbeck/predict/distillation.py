"""Teacher or none, and which: the distillation law fitted to a user's own few students, some of them trained alone.

Busbridge et al. (arXiv:2502.08606, Eq. 8): a student's loss is its teacher's plus something positive, so the law cannot say by how much a
student beats its teacher; such rows are left out with a note. No coefficient is borrowed: they hold for one data set and one kind of model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.predict.ensemble import Fitted, fit_member, resample, single
from limbeck.predict.fitting import Problem, solve
from limbeck.predict.intervals import draw_blocks
from limbeck.predict.laws import LAWS, Array
from limbeck.predict.tables import Runs

FEWEST_ALONE, FEWEST_TAUGHT = 5, 6
RESAMPLES = 100
LEAST_GAP = 1e-3  # nats above its teacher's loss that a row needs to be used


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A student with each teacher and with none: losses in nats with 90 % intervals of resampling, and how often each was best among resamples."""

    size: float
    data: float
    losses: dict[str, tuple[float, float, float]]  # name: middle, low, high
    best: dict[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Distillation:
    """The law without a teacher and the law with one, on the same table."""

    alone: Fitted
    problem: Problem
    theta: Array
    drawn_alone: Array  # (B, P)
    drawn: Array  # (B, P)
    teachers: tuple[float, float]  # lowest and highest loss of a teacher in the table
    notes: tuple[str, ...] = ()

    def loss(self, size: float, data: float, teacher: float | None = None) -> float:
        """Nats; `teacher`: the teacher's loss, None: trained alone."""
        return float(np.exp(self._logs(size, data, teacher)[0]))

    def _logs(self, size: float, data: float, teacher: float | None) -> Array:
        """ln L of the fit and of each resample (1 + B)."""
        where = (np.array([size]), np.array([data]), np.array([6.0 * size * data]))
        alone = np.concatenate([self.alone.predict(*where), self.alone.predict(*where, theta=self.drawn_alone)[:, 0]])
        if teacher is None:
            return alone
        thetas = np.vstack([self.theta[None], self.drawn])
        n, d = math.log(size) - self.alone.centre["n"], math.log(data) - self.alone.centre["d"]
        out = [LAWS["distilled"].log_loss(theta[None], {"n": np.array([n]), "d": np.array([d]), "t": np.array([math.log(teacher)]), "s": np.array([s])})[0][0, 0] for theta, s in zip(thetas, alone, strict=True)]
        return np.array(out)

    def choose(self, size: float, data: float, teachers: Mapping[str, float], data_alone: float | None = None) -> Choice:
        """Teacher or none, and which: `teachers` maps names to losses (nats, on the same text). `data_alone`: what the compute that the teacher
        eats would buy (`data_for_the_same_compute`); the same data unless said."""
        for name, loss in teachers.items():
            if not (math.isfinite(loss) and loss > 0):
                raise LimbeckError(f"teacher '{name}' has no usable loss: {loss}", "teachers", "give its cross-entropy in nats on the text that the students are measured on")
        logs = {"none": self._logs(size, data_alone or data, None)} | {name: self._logs(size, data, loss) for name, loss in teachers.items()}
        low, high = self.teachers
        notes = [f"teacher '{name}' (loss {loss:.3g}) is better or worse than any in the table ({low:.3g} to {high:.3g})" for name, loss in teachers.items() if not 0.98 * low <= loss <= 1.02 * high]
        stacked = np.stack(list(logs.values()))[:, 1:]
        winner = stacked.argmin(0)
        return Choice(size=size, data=data, losses={k: (float(np.exp(v[0])), float(np.exp(np.quantile(v[1:], 0.05))), float(np.exp(np.quantile(v[1:], 0.95)))) for k, v in logs.items()},
                      best={k: float(np.mean(winner == j)) for j, k in enumerate(logs)}, notes=(*self.notes, *notes))  # fmt: skip


def data_for_the_same_compute(size: float, data: float, teacher_size: float, teacher_data: float = 0.0) -> float:
    """How much data the student could see alone for what distilling costs: 6 N D, the teacher's 2 N_T D for its logits, and 6 N_T D_T where its training is paid for too."""
    return data + (2.0 * teacher_size * data + 6.0 * teacher_size * teacher_data) / (6.0 * size)


def fit_distillation(runs: Runs, resamples: int = RESAMPLES, seed: int = 0) -> Distillation:
    """Fit a table with columns N, D, loss and teacher_loss; rows with a blank teacher_loss were trained alone."""
    if runs.teacher is None or not runs.has_sizes:
        raise LimbeckError("the table names no teachers, or no sizes", runs.name, "give columns N, D, loss and teacher_loss (blank where a student was trained alone)")
    taught = np.isfinite(runs.teacher)
    if (~taught).sum() < FEWEST_ALONE or taught.sum() < FEWEST_TAUGHT:
        raise LimbeckError(f"{int((~taught).sum())} students trained alone and {int(taught.sum())} taught are too few", runs.name, f"train {FEWEST_ALONE} alone and {FEWEST_TAUGHT} taught at the least, of 2 or more sizes, by 2 or more teachers")
    if len(np.unique(np.round(runs.teacher[taught], 4))) < 2:
        raise LimbeckError("all students have one teacher", runs.name, "what another teacher would bring cannot be seen: use a second one, clearly better or worse")
    usable = taught & (runs.losses > np.where(taught, runs.teacher, np.inf) + LEAST_GAP)
    notes = [f"{int(taught.sum() - usable.sum())} of {int(taught.sum())} taught students beat their teacher: the law has no place for them, left out"] if usable.sum() < taught.sum() else []
    if usable.sum() < FEWEST_TAUGHT:
        raise LimbeckError(f"only {int(usable.sum())} taught students are worse than their teacher", runs.name, "the law tells how near a student comes to a better teacher: use stronger teachers, or compare the runs themselves")
    base, rows = runs.keep(~taught), runs.keep(usable)
    alone = fit_member(base, replace(single("coupled"), near=1.0))
    counts = draw_blocks(np.arange(len(base)), resamples, seed)
    drawn_alone = resample(alone, counts)
    problem = _problem(rows, alone, alone.predict(rows.sizes, rows.data, rows.compute))
    theta = _solved(problem, _starts(problem.means))
    weights = draw_blocks(np.arange(len(rows)), resamples, seed + 1)
    drawn = []
    for j, other in enumerate(drawn_alone):
        again = _problem(rows, alone, alone.predict(rows.sizes, rows.data, rows.compute, theta=other[None])[0])
        drawn.append(_solved(replace(again, weights=weights[j]), theta[None], steps=25))
    teachers = rows.teacher
    assert teachers is not None
    return Distillation(alone, problem, theta, drawn_alone, np.array(drawn), (float(teachers.min()), float(teachers.max())), tuple(notes))


def _problem(rows: Runs, alone: Fitted, without: Array) -> Problem:
    assert rows.teacher is not None
    law, logs = LAWS["distilled"], np.log(rows.losses)
    points = {"n": np.log(rows.sizes) - alone.centre["n"], "d": np.log(rows.data) - alone.centre["d"], "t": np.log(rows.teacher), "s": without}
    means, widths = np.array(law.means), np.array(law.widths)
    means[:2] = math.log(float(np.median(rows.losses - rows.teacher)) / 2 + 1e-6)
    return Problem(law=law, points=points, log_losses=logs, weights=np.ones(len(logs)), means=means, widths=widths, noise=0.005)


def _starts(means: Array) -> Array:
    starts = np.repeat(means[None], 4, axis=0)
    starts[1, :2] += 1.0
    starts[2, 5] += 1.0
    starts[3, 2:4] += 0.5
    return starts


def _solved(problem: Problem, starts: Array, steps: int = 80) -> Array:
    thetas, values = solve(problem, starts, steps=steps, tolerance=1e-6)
    return thetas[int(np.argmin(values))]
