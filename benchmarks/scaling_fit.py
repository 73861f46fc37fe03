"""Epoch's refit of Chinchilla's 240 runs, and how fast: python benchmarks/scaling_fit.py RUNS.csv [--grid]

RUNS.csv: svg_extracted_data.csv of github.com/epoch-research/analyzing-chinchilla, or its form with columns N, C, loss; the 5 highest losses
are dropped, as Epoch does. `--grid` also runs the published search (L-BFGS from 4,500 starts) and prints the ratio of times.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from limbeck.predict.classical import BEND, fit_chinchilla
from limbeck.predict.fitting import huber
from limbeck.predict.tables import Runs, read_runs

PUBLISHED = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}
DROPPED = 5
TIMES = 21


def load(path: Path) -> Runs:
    """The 240 runs."""
    runs = read_runs(path, {"n": "Model Size", "c": "Training FLOP"} if "svg" in path.name else None)
    order = np.argsort(runs.losses)[: len(runs) - DROPPED] if len(runs) == 245 else np.arange(len(runs))
    mask = np.zeros(len(runs), bool)
    mask[order] = True
    return runs.keep(mask)


def grid_seconds(runs: Runs) -> tuple[float, float, int]:
    """The published search, with analytic gradients: CPU-seconds, the best objective, starts."""
    from scipy.optimize import minimize

    n, d, y = np.log(runs.sizes), np.log(runs.data), np.log(runs.losses)

    def both(x):
        terms = np.stack([x[0] - x[3] * n, x[1] - x[4] * d, np.full_like(n, x[2])])
        top = terms.max(0)
        parts = np.exp(terms - top)
        total = parts.sum(0)
        residual = top + np.log(total) - y
        share, pull = parts / total, np.clip(residual, -BEND, BEND)
        return huber(residual, BEND).sum(), np.array([pull @ share[0], pull @ share[1], pull @ share[2], -pull @ (share[0] * n), -pull @ (share[1] * d)])

    starts = list(itertools.product((0, 5, 10, 15, 20, 25), (0, 5, 10, 15, 20, 25), (-1, -0.5, 0, 0.5, 1), (0, 0.5, 1, 1.5, 2), (0, 0.5, 1, 1.5, 2)))
    began = time.process_time()
    best = min(minimize(both, np.array(s, float), jac=True, method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-12, "maxiter": 2000}).fun for s in starts)
    return time.process_time() - began, float(best), len(starts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--grid", action="store_true")
    arguments = parser.parse_args()
    runs = load(arguments.table)
    fit_chinchilla(runs)  # imports and first calls are not timed
    each = []
    for _ in range(TIMES):
        began, wall = time.process_time(), time.perf_counter()
        found = fit_chinchilla(runs)
        each.append((time.process_time() - began, time.perf_counter() - wall))
    seconds, wall = (sorted(column)[TIMES // 2] for column in zip(*each, strict=True))
    print(f"{len(runs)} runs: E {found.E:.5f}  A {found.A:.2f}  B {found.B:.2f}  alpha {found.alpha:.5f}  beta {found.beta:.5f}  a {found.share:.4f}  objective {found.objective:.6e}  {seconds:.4f} CPU-s ({wall:.4f} wall), median of {TIMES}")
    print("published (arXiv:2404.10102):", PUBLISHED)
    began = time.process_time()
    errors = fit_chinchilla(runs, resamples=500).errors or {}
    print("500 resamples:", {k: round(v, 4) for k, v in errors.items()}, f"{time.process_time() - began:.2f} CPU-s")
    if arguments.grid:
        took, best, starts = grid_seconds(runs)
        print(f"the published grid of {starts} starts: objective {best:.6e}, {took:.0f} CPU-s, {took / seconds:.0f} times ours")


if __name__ == "__main__":
    main()
