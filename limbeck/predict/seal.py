"""Forecasts that cannot be changed afterwards without its being seen: sealed before a run, checked after it, kept in a ledger.

A seal is a JSON file with the SHA-256 of the ladder's table and of itself. A ledger has one line a seal or an outcome, each with the hash of
the line before it. Both show changes by accident or afterthought; who can rewrite every file and the clock can forge them: publish the hash.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.run import disk_error, hash_file, write_atomically

FORMAT = 1


def digest_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of a document without its own hash."""
    plain = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def write_seal(path: Path, table: Path, code: str, content: Mapping[str, Any], now: datetime | None = None) -> dict[str, Any]:
    """Seal `content` (the target and what is forecast of it) with the table it rests on. A seal that is there is not overwritten."""
    if path.exists():
        raise LimbeckError("there is a sealed forecast already", str(path), "a forecast is made once; seal another under another name")
    made = (now or datetime.now(UTC)).isoformat(timespec="seconds")
    document = json.loads(json.dumps({"format": FORMAT, "made": made, "code": code, "table": table.name, "table_sha256": hash_file(table), **content}, default=str))
    document["sha256"] = digest_of(document)
    write_atomically(path, json.dumps(document, indent=1, ensure_ascii=False).encode())
    return document


def read_seal(path: Path) -> dict[str, Any]:
    """A seal that is whole and unchanged. Raises LimbeckError otherwise."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise LimbeckError("there is no sealed forecast here, or it is damaged", str(path), "seal one before training: `limbeck predict forecast`") from problem
    if not isinstance(document, dict) or document.get("format") != FORMAT or "sha256" not in document:
        raise LimbeckError("this is no sealed forecast", str(path), "name the seal.json of a run")
    if digest_of(document) != document["sha256"]:
        raise LimbeckError("the forecast was changed after it was sealed", str(path), "it counts for nothing now: restore the sealed file, or make a new forecast for a new run")
    return document


def standing(seal: Mapping[str, Any], table: Path, began: datetime, ended: datetime) -> str:
    """'sealed before training', 'sealed during training'; raises LimbeckError where the seal is later than the run's end, or its table is another."""
    made = datetime.fromisoformat(seal["made"])
    if made >= ended:
        raise LimbeckError(f"the forecast was sealed ({seal['made']}) after the run it speaks of had ended ({ended.isoformat(timespec='seconds')})", "seal.json", "it is no forecast: seal one before the next run")
    if not table.exists() or hash_file(table) != seal["table_sha256"]:
        raise LimbeckError("the ladder's table is not the one that was sealed", str(table), "restore the table: the forecast rests on it")
    return "sealed before training" if made <= began else "sealed during training"


def judge(seal: Mapping[str, Any], outcome: Mapping[str, float | None]) -> dict[str, Any]:
    """Each forecast quantity beside what came: error (relative for losses, in points for scores) and whether the interval held it."""
    judged: dict[str, Any] = {}
    for name, said in seal["forecast"].items():
        came = outcome.get(name)
        if said.get("refused"):
            judged[name] = {"refused": said["refused"], "came": came}
        elif came is not None:
            is_score = name == "score"
            error = 100 * (said["value"] - came) if is_score else 100 * (said["value"] / came - 1)
            judged[name] = {"said": said["value"], "low": said["low"], "high": said["high"], "came": came, "error": error, "unit": "points" if is_score else "%", "inside": said["low"] <= came <= said["high"]}
    return judged


def append(ledger: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    """One more line, chained to the last. Raises LimbeckError where the ledger was changed."""
    lines = read_ledger(ledger) if ledger.exists() else []
    line = json.loads(json.dumps({**entry, "before": lines[-1]["sha256"] if lines else ""}, default=str))
    line["sha256"] = digest_of(line)
    try:
        ledger.parent.mkdir(parents=True, exist_ok=True)
        with ledger.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        raise disk_error(problem, ledger) from problem
    return line


def read_ledger(ledger: Path) -> list[dict[str, Any]]:
    """All lines, the chain of hashes checked. Raises LimbeckError where a line was changed or removed."""
    try:
        texts = ledger.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise LimbeckError("the ledger of forecasts cannot be read", str(ledger), "name the forecasts.jsonl beside your runs") from problem
    lines: list[dict[str, Any]] = []
    for number, text in enumerate(texts, 1):
        try:
            line = json.loads(text)
            good = line["sha256"] == digest_of(line) and line["before"] == (lines[-1]["sha256"] if lines else "")
        except (ValueError, KeyError, TypeError):
            good, line = False, {}
        if not good:
            raise LimbeckError(f"line {number} of the ledger was changed, or one before it is missing", str(ledger), "restore it from a copy; later entries cannot be believed")
        lines.append(line)
    return lines
