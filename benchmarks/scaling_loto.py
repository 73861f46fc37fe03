"""Forecasts of tables of real runs from their low-compute part, each table left out of what is learnt: python benchmarks/scaling_loto.py RUNS.csv [--write]

RUNS.csv has columns dataset,N,D,C,loss. For each table and r, runs with C <= Cmax/r are fitted and the frontier runs with C >= Cmax/3 are
forecast. Printed: the absolute error of the loss by r, coverage and width of the 90 % intervals, both with the weights of the laws and the
conformal factor learnt on the other sources only, and what baselines get. `--write` stores the factor learnt on all (limbeck/predict/conformal.json).
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from limbeck.predict.ensemble import ENSEMBLE, fit_ensemble, predict_all
from limbeck.predict.intervals import Spread, raw_spread, reach_of, scale_of
from limbeck.predict.tables import Runs

REACHES = (10, 30, 100, 300, 1000)
FEWEST = 5
LEVELS = (0.5, 0.8, 0.9, 0.95)
FLOORS, GROWTHS = (0.0, 0.004, 0.008, 0.012, 0.02), (0.0, 0.004, 0.008, 0.016, 0.024, 0.03, 0.04)
WEIGHTS = ((0.2, 0.2, 0.3, 0.3), (0.25, 0.25, 0.25, 0.25), (0.4, 0.0, 0.3, 0.3), (0.0, 0.4, 0.3, 0.3), (0.3, 0.3, 0.2, 0.2), (0.2, 0.2, 0.4, 0.2), (0.2, 0.2, 0.2, 0.4))


def load_tables(path: Path) -> dict[str, np.ndarray]:
    """Columns N, D, C, loss of each table; rows with a blank are left out."""
    tables = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if all(row[k] for k in ("N", "D", "C", "loss")):
                tables[row["dataset"]].append([float(row[k]) for k in ("N", "D", "C", "loss")])
    return {name: np.array(rows) for name, rows in tables.items()}


def source_of(name: str) -> str:
    """Tables of one source are left out together."""
    return name.split()[0]


def frontier(compute: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Which runs no run of less compute beats."""
    best, keep = np.inf, np.zeros(len(compute), bool)
    for i in np.lexsort((losses, compute)):
        keep[i] = losses[i] < best
        best = min(best, losses[i])
    return keep


def as_runs(rows: np.ndarray) -> Runs:
    return Runs(sizes=rows[:, 0], data=rows[:, 1], compute=rows[:, 2], losses=rows[:, 3])


def forecasts(tables: dict[str, np.ndarray], cuts: tuple[int, ...] = (1,)) -> list[dict]:
    """Each (table, cut, r): the laws' errors in ln L, the ensemble's raw spread and its parts, at each target."""
    out = []
    for name, rows in tables.items():
        for cut in cuts:
            part = rows[rows[:, 2] <= rows[:, 2].max() / cut * 1.0001]
            top = part[:, 2].max()
            target = part[frontier(part[:, 2], part[:, 3]) & (part[:, 2] >= top / 3)]
            for r in REACHES:
                rung = part[part[:, 2] <= top / r * 1.0001]
                if not len(target) or len(rung) < FEWEST or len(set(rung[:, 0])) < 2 or rung[:, 2].max() < 1.5 * rung[:, 2].min():
                    continue
                runs = as_runs(rung)
                fits = fit_ensemble(runs)
                where = (target[:, 0], target[:, 1], target[:, 2])
                spread = Spread(runs, fits)
                out.append({"table": name, "source": source_of(name), "cut": cut, "r": r, "errors": np.stack(predict_all(fits, *where)) - np.log(target[:, 3]), "parts": spread.parts(*where), "reach": reach_of(runs, target[:, 2]), "runs": len(runs)})
    return out


def error_of(case: dict, weights: tuple[float, ...]) -> np.ndarray:
    return np.average(case["errors"], axis=0, weights=weights)


def score_weights(cases: list[dict], weights: tuple[float, ...]) -> float:
    """Mean over r of the sources' mean error, and a fifth of the worst: what weights are chosen by."""
    total = 0.0
    for r in REACHES:
        by = defaultdict(list)
        for case in cases:
            if case["r"] == r and case["cut"] == 1:
                by[case["source"]].append(np.abs(np.expm1(error_of(case, weights))).mean())
        if by:
            total += (np.mean([np.mean(v) for v in by.values()]) + 0.2 * max(max(v) for v in by.values())) / (1 + np.log10(r))
    return total


def quantile(values: np.ndarray, weights: np.ndarray, level: float) -> float:
    """A weighted quantile."""
    order = np.argsort(values)
    share = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(int(np.searchsorted(share, level)), len(values) - 1)])


def learn(cases: list[dict], weights: tuple[float, ...]) -> dict:
    """Floor, growth and a factor for each level: those whose 90 % intervals have the best interval score (width, and ten times what lies outside);
    a table's targets share its weight."""
    e, w, tables_of = [], [], defaultdict(set)
    for case in cases:
        tables_of[case["source"]].add((case["table"], case["cut"]))
    for case in cases:
        e.append(np.abs(error_of(case, weights)))
        w.append(np.full(len(e[-1]), 1.0 / len(e[-1]) / np.sqrt(len(tables_of[case["source"]]))))
    e, w = np.concatenate(e), np.concatenate(w)
    best = None
    for floor in FLOORS:
        for growth in GROWTHS:
            scale = np.concatenate([scale_of(raw_spread(c["parts"]), c["reach"], floor, growth, c["runs"]) for c in cases])
            half = quantile(e / scale, w, 0.9) * scale
            score = float(np.average(half + np.maximum(0.0, e - half) / 0.1, weights=w))
            if best is None or score < best[0]:
                best = (score, floor, growth, scale)
    assert best is not None
    return {"floor": best[1], "growth": best[2], "factors": {f"{level:g}": round(quantile(e / best[3], w, level), 3) for level in LEVELS}, "n": len(e)}


def left_out(cases: list[dict]) -> list[dict]:
    """Each case's error and half width with everything learnt on the other sources."""
    out = []
    for source in sorted({c["source"] for c in cases}):
        others = [c for c in cases if c["source"] != source]
        weights = min(WEIGHTS, key=lambda w: score_weights(others, w))
        facts = learn(others, weights)
        for case in cases:
            if case["source"] == source and case["cut"] == 1:
                half = facts["factors"]["0.9"] * scale_of(raw_spread(case["parts"]), case["reach"], facts["floor"], facts["growth"], case["runs"])
                error = error_of(case, weights)
                out.append(case | {"error": error, "half": half, "held": np.abs(error) <= half, "weights": weights, "facts": facts})
    return out


def show(cases: list[dict]) -> dict:
    """The table of results, and the same as numbers."""
    record = {}
    print(f"{'r':>6} {'tables':>6} {'targets':>7} {'mean %':>7} {'worst %':>8} {'cover %':>8} {'by table':>8} {'median width %':>14} {'form a %':>9} {'B %':>6}")
    for r in REACHES:
        some = [c for c in cases if c["r"] == r]
        if not some:
            continue
        error = [100 * np.abs(np.expm1(c["error"])).mean() for c in some]
        held, half = np.concatenate([c["held"] for c in some]), np.concatenate([c["half"] for c in some])
        law = [np.mean([100 * np.abs(np.expm1(c["errors"][j])).mean() for c in some]) for j in (0, 3)]
        row = {"tables": len(some), "targets": len(held), "mean_error": round(float(np.mean(error)), 2), "worst_error": round(max(error), 2), "coverage": round(float(held.mean()), 3), "coverage_by_table": round(float(np.mean([c["held"].mean() for c in some])), 3), "median_width": round(float(np.median(2 * np.sinh(half))), 4)}
        record[str(r)] = row
        print(f"{r:6d} {len(some):6d} {len(held):7d} {row['mean_error']:7.2f} {row['worst_error']:8.2f} {100 * row['coverage']:8.1f} {100 * row['coverage_by_table']:8.1f} {100 * row['median_width']:14.1f} {law[0]:9.2f} {law[1]:6.2f}")
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--write", action="store_true", help="store the factor learnt on all tables")
    parser.add_argument("--each", action="store_true", help="a line for each table and r")
    arguments = parser.parse_args()
    began = time.process_time()
    tables = load_tables(arguments.table)
    cases = forecasts(tables, cuts=(1, 3, 10))
    judged = left_out(cases)
    if arguments.each:
        for c in judged:
            print(f"{c['table'][:44]:44s} {c['r']:5d} n={len(c['error']):3d} error {100 * np.mean(np.expm1(c['error'])):+6.2f} % half width {100 * np.mean(np.sinh(c['half'])):5.2f} % held {c['held'].mean():.2f}  parts " + " ".join(f"{k} {100 * v.mean():.2f}" for k, v in c["parts"].items()))
    print({c["source"]: (c["weights"], {k: v for k, v in c["facts"].items()}) for c in judged})
    record = show(judged)
    weights = tuple(m.weight for m in ENSEMBLE)
    print("weights that all tables together would choose:", min(WEIGHTS, key=lambda w: score_weights(cases, w)), "in use:", weights)
    held, half = np.concatenate([c["held"] for c in judged]), np.concatenate([c["half"] for c in judged])
    whole = {"targets": len(held), "coverage": round(float(held.mean()), 3), "coverage_by_table": round(float(np.mean([c["held"].mean() for c in judged])), 3), "median_width": round(float(np.median(2 * np.sinh(half))), 4)}
    print("all r together:", whole)
    facts = learn(cases, weights)
    print("learnt on all:", facts, f"| {time.process_time() - began:.0f} CPU-s")
    if arguments.write:
        document = {
            "what": "factors that turn a raw spread of ln L into an interval", **facts, "tested_reach": 3.0,
            "how": "floor and growth by the interval score, factor by a weighted quantile of |error| / scale, over forecasts of frontier runs with C >= Cmax/3 from runs with C <= Cmax/r, of whole tables and of tables cut at Cmax/3 and Cmax/10; sources weighted alike",
            "tables": len(tables), "sources": len({source_of(n) for n in tables}), "reaches": list(REACHES), "learnt": datetime.now(UTC).date().isoformat(),
            "record": {"how": "leave one source out: weights of the laws and factor learnt on the others", "level": 0.9, "whole": whole, "by_r": record},
        }  # fmt: skip
        (Path(__file__).resolve().parents[1] / "limbeck" / "predict" / "conformal.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
