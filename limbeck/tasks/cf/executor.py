"""A rule run over a table with a spreadsheet's semantics: which data rows it marks.

Differs: NOT marks non-blank cells only (of the columns its rule reads), because "not done" means a cell that says
something else; NOT(Blanks(...)) is the rule for filled cells.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta

from limbeck.tasks.cf.language import Column, Number, Period, Rule, RuleError, Text, columns_of
from limbeck.tasks.cf.table import Table, is_blank, is_error

Mask = list[bool]


def run_rule(rule: Rule, table: Table) -> tuple[bool, ...]:
    """One bool a data row. Raises RuleError for a column that is not there."""
    return tuple(_run(rule, table))


def cells_of(rule: Rule, table: Table, column: int | None = None) -> list[list[int]]:
    """The marked cells as [row, column]; the column is the one the rule reads first unless another is asked for."""
    at = columns_of(rule)[0] if column is None else column
    return [[row, at] for row, is_marked in enumerate(run_rule(rule, table)) if is_marked]


def _run(rule: Rule, table: Table) -> Mask:
    name = rule.function
    if name == "AND":
        return [all(marks) for marks in zip(*(_run(r, table) for r in _rules(rule)), strict=True)]
    if name == "OR":
        return [any(marks) for marks in zip(*(_run(r, table) for r in _rules(rule)), strict=True)]
    if name == "NOT":
        return _not(_rules(rule)[0], table)
    first = rule.arguments[0]
    if not isinstance(first, Column):
        raise RuleError(f"{name} begins with a column")
    _must_exist(first, table)
    return _RUNNERS[name](rule, table, first.index)


def _rules(rule: Rule) -> list[Rule]:
    return [a for a in rule.arguments if isinstance(a, Rule)]


def _must_exist(column: Column, table: Table) -> None:
    if column.index >= len(table.headers):
        raise RuleError(f"there is no column c[{column.index}]: the table has {len(table.headers)}")


def _not(rule: Rule, table: Table) -> Mask:
    marks = _run(rule, table)
    if rule.function == "Blanks":
        return [not m for m in marks]
    columns = columns_of(rule)
    return [not m and any(not is_blank(table.column(c)[row]) for c in columns) for row, m in enumerate(marks)]


# --- comparisons -------------------------------------------------------------------------------------------------------

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "GreaterThan": lambda a, b: a > b, "GreaterThanEqual": lambda a, b: a >= b, "LessThan": lambda a, b: a < b,
    "LessThanEqual": lambda a, b: a <= b, "Equals": lambda a, b: math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12),
    "NotEquals": lambda a, b: not math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12),
}  # fmt: skip


def _operand(argument: object, table: Table) -> tuple[float | None, ...]:
    if isinstance(argument, Column):
        _must_exist(argument, table)
        return table.numbers(argument.index)
    assert isinstance(argument, Number)
    return (argument.value,) * len(table.rows)


def _compare(rule: Rule, table: Table, column: int) -> Mask:
    test, other = _COMPARE[rule.function], rule.arguments[1]
    marks = [a is not None and b is not None and test(a, b) for a, b in zip(table.numbers(column), _operand(other, table), strict=True)]
    if isinstance(other, Column):
        dates = zip(table.dates(column), table.dates(other.index), strict=True)
        marks = [m or (a is not None and b is not None and test(a.toordinal(), b.toordinal())) for m, (a, b) in zip(marks, dates, strict=True)]
        if rule.function in ("Equals", "NotEquals"):
            texts = zip(table.texts(column), table.texts(other.index), table.numbers(column), table.numbers(other.index), strict=True)
            wanted = rule.function == "Equals"
            marks = [m or (bool(a) and bool(b) and (n is None or k is None) and (a == b) == wanted) for m, (a, b, n, k) in zip(marks, texts, strict=True)]
    return marks


def _between(rule: Rule, table: Table, column: int) -> Mask:
    """Both ends included, and either order of them, as in a spreadsheet."""
    inside = rule.function == "Between"
    ends = zip(table.numbers(column), _operand(rule.arguments[1], table), _operand(rule.arguments[2], table), strict=True)
    return [v is not None and a is not None and b is not None and (min(a, b) <= v <= max(a, b)) == inside for v, a, b in ends]


# --- texts -------------------------------------------------------------------------------------------------------------

_TEXT: dict[str, Callable[[str, str], bool]] = {
    "TextEquals": lambda cell, text: cell == text, "TextContains": lambda cell, text: text in cell,
    "TextStartsWith": lambda cell, text: cell.startswith(text), "TextEndsWith": lambda cell, text: cell.endswith(text),
}  # fmt: skip


def _text(rule: Rule, table: Table, column: int) -> Mask:
    argument = rule.arguments[1]
    assert isinstance(argument, Text)
    wanted, test = argument.value.strip().lower(), _TEXT[rule.function]
    return [bool(cell) and test(cell, wanted) for cell in table.texts(column)]


def _state(rule: Rule, table: Table, column: int) -> Mask:
    cells = table.column(column)
    if rule.function == "Blanks":
        return [is_blank(c) for c in cells]
    if rule.function == "Errors":
        return [is_error(c) for c in cells]
    keys = [n if n is not None else t for n, t in zip(table.numbers(column), table.texts(column), strict=True)]
    count = Counter(keys)
    repeated = rule.function == "Duplicates"
    return [key != "" and (count[key] > 1) == repeated for key in keys]


# --- rank and average ----------------------------------------------------------------------------------------------------


def _rank(rule: Rule, table: Table, column: int) -> Mask:
    """The n largest or smallest, all ties at the border included; a percentage is max(1, floor(n p / 100)) cells."""
    argument = rule.arguments[1]
    assert isinstance(argument, Number)
    values = table.numbers(column)
    found = sorted((v for v in values if v is not None), reverse=rule.function.startswith("Top"))
    if not found:
        dates = [d.toordinal() if d else None for d in table.dates(column)]
        values, found = tuple(map(_float, dates)), sorted((float(d) for d in dates if d is not None), reverse=rule.function.startswith("Top"))
    if not found:
        return [False] * len(table.rows)
    wanted = max(1, math.floor(len(found) * argument.value / 100)) if rule.function.endswith("Percent") else int(argument.value)
    border = found[min(wanted, len(found)) - 1]
    if rule.function.startswith("Top"):
        return [v is not None and v >= border for v in values]
    return [v is not None and v <= border for v in values]


def _float(value: int | None) -> float | None:
    return None if value is None else float(value)


def _average(rule: Rule, table: Table, column: int) -> Mask:
    """Above or below the mean, or the mean and k population standard deviations."""
    values = table.numbers(column)
    found = [v for v in values if v is not None]
    if not found:
        return [False] * len(table.rows)
    mean = math.fsum(found) / len(found)
    deviations = rule.arguments[1].value if len(rule.arguments) > 1 and isinstance(rule.arguments[1], Number) else 0.0
    spread = deviations * math.sqrt(math.fsum((v - mean) ** 2 for v in found) / len(found))
    if rule.function == "AboveAverage":
        return [v is not None and v > mean + spread for v in values]
    return [v is not None and v < mean - spread for v in values]


# --- dates ---------------------------------------------------------------------------------------------------------------


def period_bounds(text: str, today: date) -> tuple[date, date]:
    """First and last day of a period: "2024", "2024-03", "2024-03-05" or "today"."""
    if text == "today":
        return today, today
    parts = [int(p) for p in text.split("-")]
    if len(parts) == 3:
        day = date(*parts)
        return day, day
    if len(parts) == 2:
        return date(parts[0], parts[1], 1), _month_end(parts[0], parts[1])
    return date(parts[0], 1, 1), date(parts[0], 12, 31)


def _month_end(year: int, month: int) -> date:
    return date(year + month // 12, month % 12 + 1, 1) - timedelta(1)


def _date(rule: Rule, table: Table, column: int) -> Mask:
    periods = [a for a in rule.arguments[1:] if isinstance(a, Period)]
    start, _ = period_bounds(periods[0].text, table.today)
    first_end = period_bounds(periods[0].text, table.today)[1]
    end = period_bounds(periods[-1].text, table.today)[1]
    if rule.function == "DateBefore":
        return [d is not None and d < start for d in table.dates(column)]
    if rule.function == "DateAfter":
        return [d is not None and d > first_end for d in table.dates(column)]
    other = period_bounds(periods[-1].text, table.today)[0]
    low, high = min(start, other), max(end, first_end)
    return [d is not None and low <= d <= high for d in table.dates(column)]


def _days(rule: Rule, table: Table, column: int) -> Mask:
    argument = rule.arguments[1]
    assert isinstance(argument, Number)
    days = timedelta(min(int(argument.value), 100_000))
    today = table.today
    if rule.function == "LastDays":
        return [d is not None and today - days < d <= today for d in table.dates(column)]
    if rule.function == "NextDays":
        return [d is not None and today < d <= today + days for d in table.dates(column)]
    return [d is not None and d < today - days for d in table.dates(column)]


def _occurs(rule: Rule, table: Table, column: int) -> Mask:
    """Excel's "a date occurring"; weeks begin on Sunday."""
    if rule.function == "Weekend":
        return [d is not None and d.weekday() >= 5 for d in table.dates(column)]
    low, high = _window(rule.function, table.today)
    return [d is not None and low <= d <= high for d in table.dates(column)]


def _window(name: str, today: date) -> tuple[date, date]:
    sunday = today - timedelta((today.weekday() + 1) % 7)
    shift = {"Last": -1, "This": 0, "Next": 1}.get(name[:4], 0)
    if name.endswith("Week"):
        return sunday + timedelta(7 * shift), sunday + timedelta(7 * shift + 6)
    if name.endswith("Month"):
        months = today.year * 12 + today.month - 1 + shift
        return date(months // 12, months % 12 + 1, 1), _month_end(months // 12, months % 12 + 1)
    if name.endswith("Year"):
        return date(today.year + shift, 1, 1), date(today.year + shift, 12, 31)
    day = today + timedelta({"Yesterday": -1, "Today": 0, "Tomorrow": 1}[name])
    return day, day


def _scale(_rule: Rule, table: Table, column: int) -> Mask:
    """A colour scale, data bar or icon set formats every numeric cell; dates are numbers to a spreadsheet."""
    return [n is not None or d is not None for n, d in zip(table.numbers(column), table.dates(column), strict=True)]


_RUNNERS: dict[str, Callable[[Rule, Table, int], Mask]] = {
    **dict.fromkeys(_COMPARE, _compare), **dict.fromkeys(("Between", "NotBetween"), _between), **dict.fromkeys(_TEXT, _text),
    **dict.fromkeys(("Blanks", "Errors", "Duplicates", "Uniques"), _state),
    **dict.fromkeys(("Top", "Bottom", "TopPercent", "BottomPercent"), _rank),
    **dict.fromkeys(("AboveAverage", "BelowAverage"), _average),
    **dict.fromkeys(("DateBefore", "DateAfter", "DateIn", "DateBetween"), _date),
    **dict.fromkeys(("LastDays", "NextDays", "OlderThanDays"), _days),
    **dict.fromkeys(("Today", "Yesterday", "Tomorrow", "LastWeek", "ThisWeek", "NextWeek", "LastMonth", "ThisMonth", "NextMonth",
                     "LastYear", "ThisYear", "NextYear", "Weekend"), _occurs),
    **dict.fromkeys(("ColorScale", "DataBar", "IconSet"), _scale),
}  # fmt: skip
