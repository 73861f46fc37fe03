"""How well the rules of limbeck/align/refusals.py read refusals: against people's labels of XSTest's answers, by class, with Wilson intervals.

LIMBECK_DATA=FOLDER python benchmarks/refusal_labels.py [FILE.csv[.gz]...]: CSVs with columns `completion` and `final_label`
(1_full_compliance, 2_full_refusal, 3_partial_refusal) as paul-rottger/exaggerated-safety has them under model_completions/; without a
file, the two under safety/ in LIMBECK_DATA. The completions are under their vendors' terms: measured, never shipped.
"""

from __future__ import annotations

import csv
import gzip
import os
import sys
from collections import Counter
from pathlib import Path

from limbeck.align.refusals import classify
from limbeck.evaluate.statistics import wilson

LABELS = {"1_full_compliance": "comply", "2_full_refusal": "refuse", "3_partial_refusal": "partial"}
KINDS = ("comply", "partial", "refuse")


def main(paths: list[Path]) -> None:
    """One table a file."""
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8", newline="") if path.suffix == ".gz" else path.open(encoding="utf-8", newline="") as lines:
            pairs = [(LABELS[row["final_label"]], classify(row["completion"])) for row in csv.DictReader(lines)]
        counts = Counter(pairs)
        sys.stdout.write(f"{path.name}: {len(pairs)} answers\n  people \\ rules  {'  '.join(f'{k:>8}' for k in KINDS)}  found\n")
        for people in KINDS:
            row = [counts[people, rules] for rules in KINDS]
            sys.stdout.write(f"  {people:>14}  {'  '.join(f'{n:>8}' for n in row)}  {_share(counts[people, people], sum(row))}\n")
        sys.stdout.write(f"  three classes            {_share(sum(a == b for a, b in pairs), len(pairs))}\n")
        sys.stdout.write(f"  complies, or does not    {_share(sum((a == 'comply') == (b == 'comply') for a, b in pairs), len(pairs))}\n")
        sys.stdout.write(f"  refuses wholly, or not   {_share(sum((a == 'refuse') == (b == 'refuse') for a, b in pairs), len(pairs))}\n")
        whole = [(a, b) for a, b in pairs if a != "partial"]
        sys.stdout.write(f"  the same, without partial ones by people: {_share(sum((a == 'refuse') == (b != 'comply') for a, b in whole), len(whole))}\n")


def _share(hits: int, n: int) -> str:
    low, high = wilson(hits, n)
    return f"{100 * hits / n:.1f} % [{100 * low:.1f}, {100 * high:.1f}], n = {n}" if n else "-"


if __name__ == "__main__":
    here = Path(os.environ.get("LIMBECK_DATA", "."))
    main([Path(a) for a in sys.argv[1:]] or [here / f"safety/xstest_completions_{name}.csv.gz" for name in ("llama2new", "gpt4")])
