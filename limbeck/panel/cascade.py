"""When to trust a small panel: the agreement under which the teacher is asked, chosen on held-out examples for a wanted risk.

Two bounds, each for a finite sample. `clopper_pearson`: with confidence 1 - delta the chance of error among the answers that the panel
keeps is at most `upper`; tried from the strictest threshold on and stopped at the first that fails, so the confidence holds for the chosen
one as it stands (fixed-sequence testing, as in Learn then Test, Angelopoulos et al. 2021). `conformal`: the expected share of all requests
that the panel keeps and gets wrong, beyond what the teacher gets wrong on them, is at most the risk (conformal risk control, Angelopoulos et al. 2022).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.run import write_atomically

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What one threshold does on the calibration examples: `kept` by the panel, `wrong_kept` of those, and the cascade's score and cost.

    `upper` is the Clopper-Pearson bound of the chance that a kept answer is wrong; `cost` is of one request; `share` of the teacher's cost.
    """

    threshold: float
    kept: int
    n: int
    wrong_kept: float
    upper: float
    loss: float
    score: float
    cost: float
    share: float


def clopper_pearson(wrong: float, n: int, delta: float = 0.05) -> float:
    """Upper bound, with confidence 1 - delta, of a rate seen as `wrong` of `n` (Clopper and Pearson 1934); parts of a mistake count as whole ones."""
    from scipy.stats import beta

    bad = math.ceil(wrong - 1e-9)
    return 1.0 if n == 0 or bad >= n else float(beta.ppf(1 - delta, bad + 1, n - bad))


def curve(agreement: Sequence[float], panel: Sequence[float], teacher: Sequence[float], panel_cost: float, teacher_cost: float, delta: float = 0.05) -> list[Point]:
    """A point for each threshold that makes a difference, strictest first: `panel` and `teacher` are the scores (0 to 1) of either on the same examples."""
    a, p, t = (np.asarray(x, float) for x in (agreement, panel, teacher))
    if not len(a) or not len(a) == len(p) == len(t):
        raise LimbeckError(f"there are {len(a)} agreements, {len(p)} and {len(t)} scores", "panel calibrate", "give one of each for every example, and at least one example")
    points = []
    for threshold in (1.01, *sorted(set(np.round(a, 9).tolist()), reverse=True)):
        kept = np.round(a, 9) >= threshold
        wrong = float((1 - p[kept]).sum())
        cost = panel_cost + teacher_cost * float((~kept).mean())
        excess = float(np.where(kept, np.maximum(0.0, t - p), 0.0).mean())
        points.append(Point(
            threshold=min(1.0, threshold) if kept.any() else 1.01, kept=int(kept.sum()), n=len(a), wrong_kept=wrong, upper=clopper_pearson(wrong, int(kept.sum()), delta),
            loss=excess, score=float(np.where(kept, p, t).mean()), cost=cost, share=cost / teacher_cost if teacher_cost else math.inf,
        ))  # fmt: skip
    return points


def choose_threshold(points: Sequence[Point], risk: float, bound: str = "clopper-pearson") -> Point | None:
    """The loosest threshold whose bound holds; None where even the strictest that keeps anything does not.

    `clopper-pearson`: fixed-sequence testing from the strictest on. `conformal`: n/(n+1) of the mean excess loss, and 1/(n+1), at most the risk;
    the loss is monotone in the threshold by its definition, as the proof asks.
    """
    if bound not in ("clopper-pearson", "conformal"):
        raise LimbeckError(f"there is no bound {bound!r}", "--bound", "clopper-pearson or conformal")
    chosen = None
    for point in points:
        if not point.kept:
            continue
        holds = point.upper <= risk if bound == "clopper-pearson" else (point.n * point.loss + 1) / (point.n + 1) <= risk
        if not holds:
            break
        chosen = point
    return chosen


def write_calibration(path: Path, facts: dict[str, Any], points: Sequence[Point], chosen: Point) -> None:
    """The sidecar: what was calibrated, on what, the curve and the threshold."""
    told = {"format": FORMAT, **facts, "threshold": chosen.threshold, "chosen": asdict(chosen), "curve": [asdict(p) for p in points]}
    write_atomically(path, (json.dumps(told, indent=1) + "\n").encode())


def read_calibration(path: Path, task: str, content: str) -> float:
    """The threshold for this panel and task. Raises LimbeckError where there is none, or it was measured on another panel."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        threshold, whose, of = float(found["threshold"]), found["content"], found["task"]
    except FileNotFoundError as problem:
        raise LimbeckError("this cascade has no threshold", str(path), "run `limbeck panel calibrate FILE.toml --task TASK --split SPLIT`, or set panel.threshold") from problem
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise LimbeckError(f"the calibration cannot be read: {problem}", str(path), "calibrate the panel again") from problem
    if whose != content or of != task:
        raise LimbeckError(f"this calibration is of another {'panel' if whose != content else 'task'}", str(path), "members or task have changed since: calibrate the panel again")
    return threshold
