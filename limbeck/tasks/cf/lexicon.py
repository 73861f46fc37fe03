"""The generator's vocabulary: columns as people head and mention them, and what their values are called.

`lexicon/columns.txt` holds one column a line, grouped by the kind of row ("@people employee/worker"):
`kind | headers | mentions | key: values | ...` with `/` between alternatives. Keys: range (low high decimals), high and
low (superlatives), more and less (comparatives), values (`text=what people say/...;...`), yes, no, verb (of dates and
years), past, future, neg, pos, zero, full and part (of a percentage), unit, count ("two-bed"), times ("won 5 times"),
better (what one can be better at). Lines `pair | left | right | more: | less: | equal:` say how two columns are compared.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class ColumnWords:
    """One column of the lexicon."""

    kind: str
    headers: tuple[str, ...]
    mentions: tuple[str, ...]
    extra: dict[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    values: tuple[tuple[str, tuple[str, ...]], ...] = ()
    low: float = 0.0
    high: float = 0.0
    decimals: int = 0


@dataclass(frozen=True, slots=True)
class Domain:
    """A kind of row and the columns that describe it."""

    name: str
    rows: tuple[str, ...]
    columns: tuple[ColumnWords, ...]


@cache
def load_lexicon() -> tuple[tuple[Domain, ...], dict[tuple[str, str], dict[str, tuple[str, ...]]], dict[str, list[str]]]:
    """Domains, pairs of columns that people compare, and plain word lists."""
    folder = resources.files("limbeck.tasks.cf") / "lexicon"
    domains: list[tuple[str, tuple[str, ...], list[ColumnWords]]] = []
    pairs: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {}
    for line in (folder / "columns.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("@"):
            name, rows = line[1:].split(" ", 1)
            domains.append((name, tuple(rows.split("/")), []))
        elif line.strip() and not line.startswith("#"):
            parts = [part.strip() for part in line.split(" | ")]
            if parts[0] == "pair":
                pairs[parts[1], parts[2]] = pairs.get((parts[1], parts[2]), {}) | _extra(parts[3:])
            else:
                domains[-1][2].append(_column(parts))
    words = json.loads((folder / "words.json").read_text(encoding="utf-8"))
    return tuple(Domain(name, rows, tuple(columns)) for name, rows, columns in domains), pairs, words


def _extra(parts: list[str]) -> dict[str, tuple[str, ...]]:
    return {key.strip(): tuple(text.strip().split("/")) for key, text in (part.split(":", 1) for part in parts)}


def _column(parts: list[str]) -> ColumnWords:
    texts = {key.strip(): value.strip() for key, value in (part.split(":", 1) for part in parts[3:])}
    low, high, decimals = ([float(n) for n in texts.pop("range", "0 0 0").split()] + [0.0])[:3]
    values: list[tuple[str, tuple[str, ...]]] = []
    for entry in filter(None, texts.pop("values", "").split(";")):
        value, _, said = entry.partition("=")
        values.append((value, tuple(filter(None, said.split("/")))))
    extra = {key: tuple(text.split("/")) for key, text in texts.items()}
    return ColumnWords(parts[0], tuple(parts[1].split("/")), tuple(parts[2].split("/")), extra, tuple(values), low, high, int(decimals))
