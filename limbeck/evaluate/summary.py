"""The results document of a run: who scored what on which split, and the paired comparisons a reader asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from limbeck.evaluate.compare import compare_seeds
from limbeck.evaluate.paired import adjust_family

MAIN = "student"


def summarise(name: str, found: dict[str, dict[str, Any]], folders: Sequence[str], splits: Sequence[str], also: Sequence[str] = ()) -> dict[str, Any]:
    """Scores without their trials; the main student, seeds pooled, against teacher, other arms and baselines: by the deciding measure and by those in `also`."""
    scores = [{k: v for k, v in result.items() if k != "trials"} | {"answerer": who} for who, by_split in found.items() for result in by_split.values()]
    groups: dict[str, list[str]] = {}
    for who in found:
        groups.setdefault(who.rsplit("-s", 1)[0] if who in folders else who, []).append(who)
    pairs = [(MAIN, other) for other in groups if other != MAIN]
    if "teacher" in groups:
        pairs += [("teacher", other) for other in ("nearest", "majority") if other in groups]
    comparisons = []
    for split in splits:
        for a, b in pairs:
            left, right = ([found[w][split] for w in groups[g]] for g in (a, b))
            for rank in (1, 5):
                comparisons.append(compare_seeds(left, right, rank) | {"a": a, "b": b})
                for measure in also:
                    strict = [[{**r, "main": measure} for r in side] for side in (left, right)]
                    comparisons.append(compare_seeds(strict[0], strict[1], rank) | {"a": a, "b": b, "measure": f"{measure}-{rank}"})
    comparisons = adjust_family(comparisons)
    return {"name": name, "groups": groups, "splits": list(splits), "scores": scores, "comparisons": comparisons, "headline": _headline(found, groups, splits, comparisons)}


def _headline(found: dict[str, dict[str, Any]], groups: dict[str, list[str]], splits: Sequence[str], comparisons: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Retention of the teacher's top-1, how many times smaller and how many times faster (CPU-seconds an answer)."""
    if "teacher" not in groups:
        return {}
    teacher, student = found["teacher"][splits[0]], found[groups[MAIN][0]][splits[0]]
    retention = {c["split"]: [c["ratio"], c["ratio_low"], c["ratio_high"], c["n"]] for c in comparisons if (c["a"], c["b"], c["measure"]) == (MAIN, "teacher", "top-1")}
    return {
        "retention": retention, "size_ratio": teacher["parameters"] / student["parameters"] if teacher["parameters"] and student["parameters"] else None,
        "speed_ratio": _speed_ratio(teacher, student),
        "teacher_parameters": teacher["parameters"], "student_parameters": student["parameters"],
    }  # fmt: skip


def _speed_ratio(teacher: dict[str, Any], student: dict[str, Any]) -> float | None:
    """How many times the CPU-seconds of an answer; None where the teacher answers elsewhere (here it only waits) or all was replayed."""
    if teacher.get("settings", {}).get("base_url") or not teacher.get("asked", 1) or any(t.get("answer_meta", {}).get("replayed") for t in teacher.get("trials", ())):
        return None
    return teacher["cpu_seconds_per_answer"] / max(1e-9, student["cpu_seconds_per_answer"])
