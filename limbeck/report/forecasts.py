"""The ledger of sealed forecasts as rows of a run's page: hits and misses alike, whichever run beside it they speak of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

NAMED = {"loss": ("loss, nats", 1.0, "%"), "score": ("score, %", 100.0, "points")}  # what readers ask for; loss per byte and pass rates stand in the ledger itself


def forecasts_section(lines: Sequence[Mapping[str, Any]], run: str, problem: str = "") -> dict[str, Any]:
    """Rows, oldest first, and how many intervals held; `problem`: why the ledger cannot be believed, shown in place of its lines. {} where there is nothing to show."""
    if not lines and not problem:
        return {}
    sealed = {str(line.get("seal")): line for line in lines if line.get("kind") == "sealed"}
    outcomes = {str(line.get("seal")): line for line in lines if line.get("kind") == "outcome"}  # of a seal judged twice, the last word
    rows = [row for seal in dict.fromkeys([*sealed, *outcomes]) for row in _rows(seal, sealed.get(seal, {}), outcomes.get(seal, {}), run)]
    judged = [row for row in rows if row["verdict"] in ("inside", "outside")]
    return {"rows": rows, "held": sum(row["verdict"] == "inside" for row in judged), "judged": len(judged), "open": sum(row["verdict"] == "not yet" for row in rows), "refused": sum(row["verdict"] == "not predictable" for row in rows), "problem": problem}


def _rows(seal: str, sealed: Mapping[str, Any], outcome: Mapping[str, Any], run: str) -> list[dict[str, Any]]:
    said, judged = _table(sealed.get("forecast")), _table(outcome.get("judged"))
    share = _number(sealed.get("share"))
    shared = {"seal": seal[:12], "run": str(sealed.get("run", outcome.get("run", ""))), "at": str(sealed.get("at", ""))[:16].replace("T", " "), "standing": str(outcome.get("standing", "")), "share": 1 / share if share else None}
    shared["own"] = shared["run"] == run
    return [shared | _row(name, _table(said.get(name)), _table(judged.get(name))) for name in NAMED if name in said or name in judged]


def _row(name: str, said: Mapping[str, Any], judged: Mapping[str, Any]) -> dict[str, Any]:
    what, times, unit = NAMED[name]
    value, low, high, came = (_times(_number(x), times) for x in (said.get("value", judged.get("said")), said.get("low", judged.get("low")), said.get("high", judged.get("high")), judged.get("came")))
    refused = str(judged.get("refused") or said.get("refused") or "").removeprefix("not predictable: ")
    verdict = "not predictable" if refused else "not yet" if came is None else "inside" if judged.get("inside") is True else "outside"
    return {"what": what, "value": value, "low": low, "high": high, "came": came, "error": _number(judged.get("error")), "unit": unit, "refused": refused, "verdict": verdict}


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None


def _times(value: float | None, times: float) -> float | None:
    return None if value is None else times * value
