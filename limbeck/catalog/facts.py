"""Claims and published scores as facts: one JSON object a line, entered from the sources they name; a user may add a file.

A size is never one number here: every claim stands beside the others with who said it, when, and how well founded it is.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError

STANDINGS = ("official", "measured", "estimated", "rumoured", "disputed", "retracted", "undisclosed")
BELIEVED = ("official", "measured", "estimated", "rumoured", "disputed")  # standings whose numbers may enter a range


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One statement about one model. Sizes in billions of parameters, prices in USD per million tokens, width of the hidden layer."""

    model: str
    standing: str
    source: str
    date: str = ""
    aliases: tuple[str, ...] = ()
    total_B: float | None = None
    active_B: float | None = None
    width: int | None = None
    method: str = ""
    price_in_usd: float | None = None
    price_out_usd: float | None = None
    price_source: str = ""
    context_tokens: int | None = None
    tokens_per_s: float | None = None  # decode speed of one stream, seen from outside
    bandwidth_gb_s: float | None = None  # of one accelerator it is believed to run on
    gpus: int | None = None
    bytes_per_weight: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenModel:
    """What an outsider sees of a model whose size is official: what hosts ask for it, what it knows, how wide it is."""

    model: str
    family: str
    source: str
    price_in_usd: float | None = None
    price_out_usd: float | None = None
    price_low_usd: float | None = None
    price_high_usd: float | None = None
    offers: int = 0
    probe_accuracy: float | None = None
    width: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedScore:
    """A score somebody printed, with its setting: compared only with like settings."""

    model: str
    benchmark: str
    setting: str = ""
    score: float = 0.0
    source: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperRow:
    """A row of the MEDEC paper's tables."""

    table: int
    model: str
    subset: str = ""
    prompt: str = ""
    stated_B: float | None = None
    scores: dict[str, float] = field(default_factory=dict)


def _lines(name: str) -> list[dict[str, Any]]:
    text = (resources.files("limbeck") / "catalog" / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@cache
def load_claims(extra: str = "") -> tuple[Claim, ...]:
    """Our claims, then those of a user's own file (`extra`, or LIMBECK_CLAIMS)."""
    ours = tuple(Claim(**{**row, "aliases": tuple(row.get("aliases", ()))}) for row in _lines("claims.jsonl"))
    path = extra or os.environ.get("LIMBECK_CLAIMS", "")
    return ours + (read_claims(Path(path)) if path else ())


def read_claims(path: Path) -> tuple[Claim, ...]:
    """A user's own claims, one JSON object a line. Raises LimbeckError, naming the line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise LimbeckError(f"the claims cannot be read: {problem}", str(path), "name a file with one JSON object a line") from problem
    return tuple(_read_claim(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip())


def _read_claim(line: str, where: str) -> Claim:
    known = {f.name for f in fields(Claim)}
    try:
        row = json.loads(line)
    except ValueError as problem:
        raise LimbeckError(f"this line is no JSON: {problem}", where, "one JSON object a line") from problem
    wrong = "no JSON object" if not isinstance(row, dict) else next((f"unknown field {k!r}" for k in row if k not in known), "")
    wrong = wrong or next((f"there is no {k!r}" for k in ("model", "standing", "source") if not isinstance(row.get(k), str) or not row[k]), "")
    wrong = wrong or (f"{row['standing']!r} is no standing" if row["standing"] not in STANDINGS else "")
    numbers = ("total_B", "active_B", "width", "price_in_usd", "price_out_usd", "context_tokens", "tokens_per_s", "bandwidth_gb_s", "gpus", "bytes_per_weight")
    wrong = wrong or next((f"{k} is no positive number" for k in numbers if k in row and (isinstance(row[k], bool) or not isinstance(row[k], int | float) or row[k] <= 0)), "")
    if wrong:
        raise LimbeckError(wrong, where, f"fields: {', '.join(sorted(known))}; standings: {', '.join(STANDINGS)}")
    return Claim(**{**row, "aliases": tuple(row.get("aliases", ()))})


@cache
def load_open_models() -> tuple[OpenModel, ...]:
    """Officially sized models as outsiders see them."""
    return tuple(OpenModel(**row) for row in _lines("open_models.jsonl"))


@cache
def load_scores() -> tuple[PublishedScore, ...]:
    """Published scores, each with setting and source."""
    return tuple(PublishedScore(**row) for row in _lines("published_scores.jsonl"))


@cache
def load_paper() -> tuple[PaperRow, ...]:
    """The MEDEC paper's results (arXiv:2412.19260v2)."""
    known = {"table", "model", "subset", "prompt", "stated_B"}
    return tuple(PaperRow(**{k: v for k, v in row.items() if k in known}, scores={k: v for k, v in row.items() if k not in known}) for row in _lines("medec_paper.jsonl"))


def misprints(rows: tuple[PaperRow, ...] | None = None, tolerance: float = 6e-4) -> list[tuple[PaperRow, float]]:
    """Rows whose printed aggregate is not the mean of ROUGE-1, BERTScore and BLEURT, with that mean."""
    found = []
    for row in load_paper() if rows is None else rows:
        parts = [row.scores[k] for k in ("rouge1", "bertscore", "bleurt") if k in row.scores]
        if len(parts) == 3 and "aggregate" in row.scores and abs(sum(parts) / 3 - row.scores["aggregate"]) > tolerance:
            found.append((row, sum(parts) / 3))
    return found
