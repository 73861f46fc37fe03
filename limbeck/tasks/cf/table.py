"""A table and how a spreadsheet reads its cells: numbers written as text, dates in several styles, blanks, errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any, Literal

from limbeck.tasks.cf.lexer import MONTHS

Cell = str | int | float | bool | None
Kind = Literal["number", "percent", "date", "text", "boolean", "empty"]

ERRORS = frozenset({"#N/A", "#DIV/0!", "#REF!", "#VALUE!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!"})
_NUMBER = re.compile(r"^\(?\s*[-+]?\s*[$€£¥₹]?\s*[-+]?(\d{1,3}(,\d{3})+|\d+)?(\.\d*)?([eE][-+]?\d+)?\s*[€£]?\s*%?\s*\)?$")
_ISO = re.compile(r"^(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?Z?)?$")
_SLASHED = re.compile(r"^(\d{1,2})[/-](\d{1,2})[/-](\d{4}|\d{2})$")
_NAMED = re.compile(r"^(?:(\d{1,2})[\s-]+([A-Za-z]{3,9})\.?|([A-Za-z]{3,9})\.?\s+(\d{1,2})(?:st|nd|rd|th)?),?[\s-]+(\d{4}|\d{2})$")


@dataclass(frozen=True, eq=False)
class Table:
    """Headers, data rows of equal length, and the day that counts as today."""

    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    today: date
    _memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Table:
        """From {"headers", "rows", "today"}; a first row that repeats the headers is dropped, short rows are filled."""
        headers = tuple(str(h) for h in raw["headers"])
        rows = tuple((*row[: len(headers)], *([None] * (len(headers) - len(row)))) for row in raw["rows"])
        if rows and tuple(str(c) for c in rows[0]) == headers:
            rows = rows[1:]
        today = raw.get("today")
        return cls(headers, rows, date.fromisoformat(today) if today else date.today())

    def to_json(self) -> dict[str, Any]:
        """The form that records carry."""
        return {"headers": list(self.headers), "rows": [list(r) for r in self.rows], "today": self.today.isoformat()}

    def column(self, index: int) -> tuple[Cell, ...]:
        """The cells of one column, top to bottom."""
        return self._once(("cells", index), lambda: tuple(row[index] for row in self.rows))

    def numbers(self, index: int) -> tuple[float | None, ...]:
        """Each cell as a number, None where it is none."""
        return self._once(("numbers", index), lambda: tuple(map(read_number, self.column(index))))

    def dates(self, index: int) -> tuple[date | None, ...]:
        """Each cell as a date, None where it is none."""
        return self._once(("dates", index), lambda: tuple(map(read_date, self.column(index))))

    def texts(self, index: int) -> tuple[str, ...]:
        """Each cell as shown, trimmed and folded to lower case; "" for blanks."""
        return self._once(("texts", index), lambda: tuple(shown(c).lower() for c in self.column(index)))

    def _once(self, key: Any, make: Any) -> Any:
        if key not in self._memo:
            self._memo[key] = make()
        return self._memo[key]


def is_blank(cell: Cell) -> bool:
    """Nothing, or only white space."""
    return cell is None or (isinstance(cell, str) and not cell.strip())


def is_error(cell: Cell) -> bool:
    """One of the spreadsheet's error values."""
    return isinstance(cell, str) and cell.strip().upper() in ERRORS


def shown(cell: Cell) -> str:
    """The text a cell shows, trimmed: 5 for 5.0, TRUE for True, nothing for a blank."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float):
        return f"{int(cell)}" if cell.is_integer() and abs(cell) < 1e15 else f"{cell:.12g}"
    return str(cell).strip()


def read_number(cell: Cell) -> float | None:
    """A number, also where it is written as text: "1,200", "$5.50", "12%" (0.12), "(300)" (-300), "1.5e3"."""
    if isinstance(cell, bool) or cell is None:
        return None
    if isinstance(cell, int | float):
        return float(cell)
    return _number_text(cell)


@lru_cache(maxsize=100_000)
def _number_text(text: str) -> float | None:
    stripped = text.strip()
    if not stripped or not any(c.isdigit() for c in stripped) or not _NUMBER.match(stripped):
        return None
    bare = re.sub(r"[^\d.eE+-]", "", stripped)
    try:
        value = float(bare)
    except ValueError:
        return None
    if "%" in stripped:
        value /= 100
    return -abs(value) if stripped.startswith("(") and stripped.endswith(")") else value


def read_date(cell: Cell) -> date | None:
    """A date written as ISO, month/day/year, or with the month's name; None for anything else, numbers included."""
    return _date_text(cell.strip()) if isinstance(cell, str) and 6 <= len(cell) <= 30 else None


@lru_cache(maxsize=100_000)
def _date_text(text: str) -> date | None:
    try:
        if found := _ISO.match(text):
            return date(int(found[1]), int(found[2]), int(found[3]))
        if found := _SLASHED.match(text):
            month, day = int(found[1]), int(found[2])
            if month > 12:
                month, day = day, month
            return date(_year(found[3]), month, day)
        if found := _NAMED.match(text):
            month_name = (found[2] or found[3]).lower()
            number = MONTHS.get(month_name) or MONTHS.get(month_name[:3])
            return date(_year(found[5]), number, int(found[1] or found[4])) if number else None
    except ValueError:
        return None
    return None


def _year(text: str) -> int:
    year = int(text)
    return year + (2000 if year < 70 else 1900) if len(text) == 2 else year


def column_kind(table: Table, index: int) -> Kind:
    """What most of a column's filled cells are (errors aside); "percent" when most numbers carry a % sign."""
    return table._once(("kind", index), lambda: _kind(table, index))


def _kind(table: Table, index: int) -> Kind:
    cells = [c for c in table.column(index)[:2000] if not is_blank(c) and not is_error(c)]
    if not cells:
        return "empty"
    half = len(cells) / 2
    dates = sum(read_date(c) is not None for c in cells)
    numbers = sum(read_number(c) is not None for c in cells)
    if dates >= half:
        return "date"
    if numbers > half or (numbers == half and numbers == len(cells)):
        return "percent" if sum(isinstance(c, str) and c.strip().endswith("%") for c in cells) > numbers / 2 else "number"
    return "boolean" if sum(isinstance(c, bool) for c in cells) > half else "text"
