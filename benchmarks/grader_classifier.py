"""Fits the classifier of propositions that comes with limbeck on people's labels, in seconds, with its examination in the header.

python benchmarks/grader_classifier.py [--write limbeck/align/classifier.safetensors]: needs `limbeck data get rbr`. Prints how well it agrees with the labels
by cross-validation over requests (rules alone beside it), and whether the packaged file is what it would write.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.align.grader import Grader, examine_grader, packaged_classifier
from limbeck.align.policy import load_policy
from limbeck.align.weights import fit_classifier
from limbeck.aligning import load_labels

SOURCE = "openai/safety-rbr-code-and-data 7f489fa6, rbr_gold_train: {} answers (MIT, copyright (c) 2024 OpenAI); accuracies by cross-validation over requests"


def by_name(found: dict[str, Any]) -> dict[str, Any]:
    """An examination's rows by proposition, without who checked them."""
    return {row["name"]: {key: value for key, value in row.items() if key not in ("name", "by")} for row in found["propositions"]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", type=Path)
    args = parser.parse_args()
    rows, policy = load_labels("rbr"), load_policy("default")
    fitted = fit_classifier([row.exchange for row in rows], [row.truth for row in rows])
    rules, grader = examine_grader(Grader(policy, None, None, "rules"), rows), examine_grader(Grader(policy, fitted), rows)
    for name, found in (("rules alone", rules), ("with the classifier", grader)):
        print(f"{name:<20} {100 * found['accuracy']:.1f} % [{100 * found['low']:.1f}, {100 * found['high']:.1f}] of {found['n']} answers")
    packaged = packaged_classifier()
    same = packaged.names == fitted.names and np.allclose(packaged.weights_KP, fitted.weights_KP, atol=2e-3)
    print(f"the packaged file is {'the same' if same else 'ANOTHER ONE'}")
    if args.write:
        meta = {"labels": SOURCE.format(len(rows)), "examined": {"n": len(rows), "rules": by_name(rules), "grader": by_name(grader)}}
        replace(fitted, meta=meta).save(args.write)
        args.write.chmod(0o644)


if __name__ == "__main__":
    main()
