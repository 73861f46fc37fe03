"""Fine-tuning curves forecast from their first part: python benchmarks/scaling_finetuning.py FOLDER [--write]

FOLDER holds flan.csv, gigaword.csv, wmt19.csv of github.com/linhaowei1/Fine-tuning-Scaling-Law: 30 models, losses after 200 to 1,638,400
examples. Each curve is cut at 1/8, 1/32, 1/128 of the data and its last loss forecast. Printed: mean absolute errors, the straight line's,
and how often 90 % intervals hold whose half width was learnt on the other families. `--write` stores half widths (limbeck/predict/finetuning.json).
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from limbeck.predict.finetuning import disagreement, forecasts

TIMES = (4, 8, 32, 128)
LEVELS = (0.5, 0.8, 0.9, 0.95)


def load(folder: Path) -> list[tuple[str, str, np.ndarray, np.ndarray]]:
    """Task, family, data, losses of each curve."""
    out = []
    for task in ("flan", "gigaword", "wmt19"):
        with (folder / f"{task}.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                data = sorted(int(k) for k in row if k.isdigit() and int(k) > 0)
                out.append((task, row["family"], np.array(data, float), np.array([float(row[str(d)]) for d in data])))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    curves, began = load(arguments.folder), time.process_time()
    families, tasks = np.array([c[1] for c in curves]), np.array([c[0] for c in curves])
    halves: dict[str, dict[str, float]] = {f"{level:g}": {} for level in LEVELS}
    record = {}
    for times in TIMES:
        middle, line, apart = np.empty(len(curves)), np.empty(len(curves)), np.empty(len(curves))
        for j, (_, _, data, losses) in enumerate(curves):
            seen = data <= data[-1] / times * 1.0001
            found = forecasts(data[seen], losses[seen], float(data[-1]))
            middle[j], line[j] = (np.log(v / losses[-1]) for v in (np.median(list(found.values())), found["straight line"]))
            apart[j] = disagreement(found)
        error = np.abs(middle)
        beyond = np.where(error > apart, error, 0.0)  # what the laws' disagreement does not cover already
        held, half = np.empty(len(curves), bool), np.empty(len(curves))
        for family in set(families):
            half[families == family] = np.maximum(np.quantile(beyond[families != family], 0.9), apart[families == family])
            held[families == family] = (error <= half)[families == family]
        for level in LEVELS:
            halves[f"{level:g}"][str(times)] = round(float(np.quantile(beyond, level)), 4)
        row = {"curves": len(curves), "mean_error": round(100 * float(np.abs(np.expm1(middle)).mean()), 2), "straight_line": round(100 * float(np.abs(np.expm1(line)).mean()), 2), "coverage": round(float(held.mean()), 3), "median_width": round(float(np.median(2 * np.sinh(half))), 3)}
        record[str(times)] = row
        print(times, row, {t: round(100 * float(np.abs(np.expm1(middle[tasks == t])).mean()), 2) for t in dict.fromkeys(tasks)})
    print(f"{time.process_time() - began:.0f} CPU-s")
    if arguments.write:
        document = {"what": "half widths in ln L of intervals of fine-tuning forecasts, by times the data", "half_widths": halves, "how": "quantiles of the absolute error over 90 public curves (30 models, 3 tasks); coverage: half width learnt on the other families of models; the priors were set on these curves", "learnt": datetime.now(UTC).date().isoformat(), "record": record}
        (Path(__file__).resolve().parents[1] / "limbeck" / "predict" / "finetuning.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
