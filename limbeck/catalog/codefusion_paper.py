"""What CODEFUSION's paper printed (arXiv 2310.17680v1), as facts, and what is known to be wrong about it."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources
from typing import Any

SOURCE = "arXiv:2310.17680v1, withdrawn"


@lru_cache(maxsize=1)
def _rows() -> tuple[dict[str, Any], ...]:
    text = (resources.files("limbeck.catalog") / "codefusion_paper.jsonl").read_text(encoding="utf-8")
    return tuple(json.loads(line) for line in text.splitlines())


def paper_table(number: int, task: str) -> list[dict[str, Any]]:
    """The rows of one table for a task ("all": what is not told apart by task), in the paper's order; scores in percent."""
    return [row for row in _rows() if row.get("table") == number and row["task"] in (task, "all")]


def paper_curve(number: int, task: str) -> list[float]:
    """The points of one figure for a task, read from its drawing; empty where it has none."""
    return next((list(row["values"]) for row in _rows() if row.get("figure") == number and row["task"] == task), [])


def paper_defects() -> list[str]:
    """What a reader must know before comparing with the paper."""
    return [row["defect"] for row in _rows() if "defect" in row]
