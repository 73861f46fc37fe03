"""Tables from CSV and xlsx files, and rules written back as real conditional formats."""

from __future__ import annotations

import csv
import io
import os
import zipfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.tasks.cf.executor import period_bounds
from limbeck.tasks.cf.language import Column, Number, Period, Rule, Text, columns_of
from limbeck.tasks.cf.table import Table, read_date, read_number

MAX_ROWS, MAX_COLUMNS = 100_000, 1_000
MAX_BYTES = 200_000_000


def read_table(path: Path, today: date | None = None, sheet: str | None = None) -> Table:
    """The first sheet's (or the named one's) table; its first row is the header. Raises LimbeckError for what is no table."""
    where = str(path)
    if not path.is_file():
        raise LimbeckError("there is no such file", where, "name a .csv or .xlsx file")
    if path.stat().st_size > MAX_BYTES:
        raise LimbeckError(f"the file has {path.stat().st_size:,} bytes", where, f"at most {MAX_BYTES:,} are read; save the part you need")
    return make_table(_read_xlsx(path, sheet) if path.suffix.lower() in (".xlsx", ".xlsm") else _read_csv(path), today, where)


def make_table(rows: list[list[Any]], today: date | None, where: str) -> Table:
    """Rows as a table; the first is the header. Raises LimbeckError for what is no table."""
    while rows and all(c is None or c == "" for c in rows[-1]):
        rows.pop()
    if not rows or all(c is None or str(c).strip() == "" for c in rows[0]):
        raise LimbeckError("the table is empty or its first row is", where, "put the column headers in the first row")
    headers = ["" if c is None else str(c).strip() for c in rows[0]]
    while headers and not headers[-1] and all(len(r) < len(headers) or r[len(headers) - 1] in (None, "") for r in rows[1:]):
        headers.pop()
    _check_shape(headers, rows, where)
    cells = tuple(tuple(r[: len(headers)]) + (None,) * (len(headers) - len(r)) for r in rows[1:])
    return Table(tuple(headers), cells, today or date.today())


def _check_shape(headers: list[str], rows: list[list[Any]], where: str) -> None:
    if any(not h for h in headers):
        raise LimbeckError(f"column {headers.index('') + 1} has no header", where, "give every column a header in the first row")
    if all(read_number(h) is not None or read_date(h) is not None for h in headers):
        raise LimbeckError("the first row holds values, not headers", where, "add a first row that names the columns")
    if len(rows) == 1:
        raise LimbeckError("the table has headers but no rows", where, "add at least one row of data")
    if len(rows) - 1 > MAX_ROWS or len(headers) > MAX_COLUMNS:
        raise LimbeckError(f"the table has {len(rows) - 1:,} rows and {len(headers):,} columns", where, f"at most {MAX_ROWS:,} rows and {MAX_COLUMNS:,} columns are read; save the part you need")
    for number, row in enumerate(rows[1:], 2):
        if len(row) > len(headers) and any(c not in (None, "") for c in row[len(headers) :]):
            raise LimbeckError(f"row {number} has {len(row)} cells, the header {len(headers)}", where, "make the rows as long as the header (quote cells that hold a comma)")


def _read_csv(path: Path) -> list[list[Any]]:
    raw = path.read_bytes()
    if b"\x00" in raw[:4096] and not raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise LimbeckError("this is not a text file", str(path), "save it as CSV (UTF-8) or .xlsx")
    encoding = "utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t|", key=first.count) if first else ","
    try:
        rows: list[list[Any]] = []
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            rows.append([_cell(c) for c in row])
            if len(rows) > MAX_ROWS + 1:
                _too_long(path)
    except csv.Error as problem:
        raise LimbeckError(f"the CSV cannot be read: {problem}", str(path), "save it again as CSV (UTF-8)") from problem
    return [r for at, r in enumerate(rows) if at == 0 or r]


def _too_long(path: Path) -> None:
    raise LimbeckError(f"the table has more than {MAX_ROWS:,} rows", str(path), "save the part you need to a file of its own")


def _cell(text: str) -> Any:
    """A CSV cell as a spreadsheet opens it: plain numbers become numbers, the rest stays text."""
    stripped = text.strip()
    if not stripped:
        return None
    try:
        if stripped.lstrip("-").replace(".", "", 1).isdigit() and not (len(stripped) > 1 and stripped[0] == "0" and stripped[1].isdigit()):
            return float(stripped) if "." in stripped else int(stripped)
    except ValueError:
        return text
    return text


def _read_xlsx(path: Path, sheet: str | None) -> list[list[Any]]:
    import openpyxl

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, TypeError) as problem:
        raise LimbeckError("this is no readable .xlsx workbook", str(path), "open it in a spreadsheet program and save it again") from problem
    try:
        if sheet is not None and sheet not in book.sheetnames:
            raise LimbeckError(f"there is no sheet {sheet!r}", str(path), f"sheets: {', '.join(book.sheetnames)}")
        page = book[sheet] if sheet else book.worksheets[0]
        rows: list[list[Any]] = []
        for row in page.iter_rows(max_col=MAX_COLUMNS + 1):
            rows.append([_excel_cell(c.value, c.number_format or "") if c.value is not None else None for c in row])
            if len(rows) > MAX_ROWS + 1:
                _too_long(path)
    finally:
        book.close()
    if any(cell is None for row in rows for cell in row) and _has_formulas(path):
        _refuse_uncalculated(path, sheet, rows)
    return rows


def _has_formulas(path: Path) -> bool:
    """Whether any sheet holds a formula; the raw XML tells without reading every cell once more."""
    with zipfile.ZipFile(path) as archive:
        return any(b"<f>" in (text := archive.read(name)) or b"<f " in text for name in archive.namelist() if name.startswith("xl/worksheets/"))


def _refuse_uncalculated(path: Path, sheet: str | None, rows: list[list[Any]]) -> None:
    """Formulas whose values were never saved read as blanks: say so instead."""
    import openpyxl

    book = openpyxl.load_workbook(path, read_only=True)
    page = book[sheet] if sheet else book.worksheets[0]
    for number, (formulas, values) in enumerate(zip(page.iter_rows(max_col=MAX_COLUMNS + 1), rows, strict=False), 1):
        for formula, value in zip(formulas, values, strict=False):
            if value is None and formula.data_type == "f":
                book.close()
                raise LimbeckError(f"row {number} holds a formula whose value was never saved: {formula.value}", str(path), "open it in a spreadsheet program, let it calculate, and save it")
    book.close()


def _excel_cell(value: Any, number_format: str) -> Any:
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == value.time().min else value.isoformat(sep=" ", timespec="minutes")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int | float) and not isinstance(value, bool) and "%" in number_format:
        return f"{100 * value:.10g}%"
    return value if isinstance(value, str | int | float | bool) else str(value)


# --- writing ------------------------------------------------------------------------------------------------------------


def write_rule(source: Path | None, target: Path, rule: Rule, table: Table, sheet: str | None = None) -> None:
    """The workbook with the rule as a conditional format on the cells of the column it reads first. Written whole or not at all."""
    import openpyxl
    from openpyxl.utils import get_column_letter

    if target.suffix.lower() != ".xlsx":
        raise LimbeckError("a workbook is written as .xlsx", str(target), "name a file that ends in .xlsx")
    if source is not None and source.suffix.lower() in (".xlsx", ".xlsm"):
        book = openpyxl.load_workbook(source)
        page = book[sheet] if sheet else book.worksheets[0]
    else:
        book = openpyxl.Workbook()
        page = book.worksheets[0]
        _fill(page, table)
    letter = get_column_letter(columns_of(rule)[0] + 1)
    page.conditional_formatting.add(f"{letter}2:{letter}{len(table.rows) + 1}", excel_rule(rule, table))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        book.save(temporary)
        os.replace(temporary, target)
    except OSError as problem:
        temporary.unlink(missing_ok=True)
        raise LimbeckError(f"the workbook could not be written: {problem.strerror}", str(target), "check the folder and the free space") from problem


def _fill(page: Any, table: Table) -> None:
    """A CSV's cells: dates become dates, text that looks like a formula stays text; columns wide enough to be read."""
    from openpyxl.utils import get_column_letter

    for column in range(len(table.headers)):
        widest = max(len(str(row[column] or "")) for row in (table.headers, *table.rows[:1000]))
        page.column_dimensions[get_column_letter(column + 1)].width = min(60, max(11, widest + 2))
    page.freeze_panes = "A2"
    for row, cells in enumerate((table.headers, *table.rows), 1):
        for column, cell in enumerate(cells, 1):
            day = read_date(cell) if row > 1 else None
            target = page.cell(row, column)
            number = read_number(cell) if row > 1 and isinstance(cell, str) else None
            target.value = day or (cell if number is None else number)
            if number is not None and isinstance(cell, str):
                target.number_format = "0%" if "%" in cell else "General"
            if isinstance(cell, str) and day is None and number is None:
                target.data_type = "s"


def excel_rule(rule: Rule, table: Table) -> Any:
    """The native rule where a spreadsheet has one that means the same, else a formula."""
    from openpyxl.formatting.rule import ColorScaleRule, DataBarRule, FormulaRule, IconSetRule
    from openpyxl.formatting.rule import Rule as ExcelRule
    from openpyxl.styles import PatternFill
    from openpyxl.styles.differential import DifferentialStyle

    name = rule.function
    if name == "ColorScale":
        return ColorScaleRule(start_type="min", start_color="F8696B", mid_type="percentile", mid_value=50, mid_color="FFEB84", end_type="max", end_color="63BE7B")
    if name == "DataBar":
        return DataBarRule(start_type="min", end_type="max", color="638EC6")
    if name == "IconSet":
        return IconSetRule("3TrafficLights1", "percent", [0, 33, 67])
    fill = PatternFill(start_color="FFEB9C", end_color="FFEB9C", fill_type="solid")
    style = DifferentialStyle(fill=fill)
    count = next((int(a.value) for a in rule.arguments if isinstance(a, Number)), 0)
    has_plain_numbers = all(not isinstance(c, str) or read_number(c) is None for c in table.column(columns_of(rule)[0]))
    if name in ("Top", "Bottom", "TopPercent", "BottomPercent") and has_plain_numbers:
        return ExcelRule(type="top10", dxf=style, rank=count, bottom=name.startswith("Bottom") or None, percent=name.endswith("Percent") or None)
    if name in ("AboveAverage", "BelowAverage") and has_plain_numbers:
        return ExcelRule(type="aboveAverage", dxf=style, aboveAverage=name == "AboveAverage", stdDev=count or None)
    if name == "Duplicates":
        return ExcelRule(type="duplicateValues", dxf=style)
    if name == "Uniques":
        return ExcelRule(type="uniqueValues", dxf=style)
    return FormulaRule(formula=[formula(rule, table)], fill=fill)


def formula(rule: Rule, table: Table) -> str:
    """A rule as an Excel formula for row 2, to be carried down its column."""
    from openpyxl.utils import get_column_letter

    name = rule.function
    parts = [formula(a, table) for a in rule.arguments if isinstance(a, Rule)]
    if name in ("AND", "OR"):
        return f"{name}({','.join(parts)})"
    letters = [get_column_letter(c + 1) for c in columns_of(rule)]
    if name == "NOT":
        inner = rule.arguments[0]
        if isinstance(inner, Rule) and inner.function == "Blanks":
            return f"NOT({parts[0]})"
        return f"AND(NOT({parts[0]}),{'OR(' if len(letters) > 1 else ''}{','.join(f'LEN(TRIM(${x}2))>0' for x in letters)}{')' if len(letters) > 1 else ''})"
    cell, last = f"${letters[0]}2", len(table.rows) + 1
    span = f"${letters[0]}$2:${letters[0]}${last}"
    return _formula(rule, name, cell, span, table)


def _operands(rule: Rule) -> list[str]:
    from openpyxl.utils import get_column_letter

    return [f"${get_column_letter(a.index + 1)}2" if isinstance(a, Column) else f"{a.value:.15g}" for a in rule.arguments[1:] if isinstance(a, Column | Number)]


def _formula(rule: Rule, name: str, cell: str, span: str, table: Table) -> str:
    signs = {"GreaterThan": ">", "GreaterThanEqual": ">=", "LessThan": "<", "LessThanEqual": "<=", "Equals": "=", "NotEquals": "<>"}
    given = _operands(rule)
    if name in signs:
        numeric = f"ISNUMBER({cell})" + (f",ISNUMBER({given[0]})" if given[0].startswith("$") else "")
        return f"AND({numeric},{cell}{signs[name]}{given[0]})" if name != "Equals" or not given[0].startswith("$") else f"AND(LEN({cell})>0,{cell}={given[0]})"
    if name in ("Between", "NotBetween"):
        inside = f"{cell}>=MIN({given[0]},{given[1]}),{cell}<=MAX({given[0]},{given[1]})"
        return f"AND(ISNUMBER({cell}),{inside})" if name == "Between" else f"AND(ISNUMBER({cell}),NOT(AND({inside})))"
    if name.startswith("Text"):
        argument = rule.arguments[1]
        assert isinstance(argument, Text)
        text = argument.value.strip()
        quoted = '"' + text.replace('"', '""') + '"'
        return {
            "TextEquals": f'LOWER(TRIM({cell}&""))=LOWER({quoted})', "TextContains": f"ISNUMBER(FIND(LOWER({quoted}),LOWER({cell})))",
            "TextStartsWith": f"LOWER(LEFT(TRIM({cell}),{len(text)}))=LOWER({quoted})", "TextEndsWith": f"LOWER(RIGHT(TRIM({cell}),{len(text)}))=LOWER({quoted})",
        }[name]  # fmt: skip
    if name == "Blanks":
        return f"LEN(TRIM({cell}))=0"
    if name == "Errors":
        return f"ISERROR({cell})"
    if name in ("Duplicates", "Uniques"):
        return f"AND(LEN({cell})>0,COUNTIF({span},{cell}){'>1' if name == 'Duplicates' else '=1'})"
    if name in ("Top", "Bottom", "TopPercent", "BottomPercent"):
        order, sign = ("LARGE", ">=") if name.startswith("Top") else ("SMALL", "<=")
        count = f"MAX(1,INT(COUNT({span})*{given[0]}/100))" if name.endswith("Percent") else f"MIN({given[0]},COUNT({span}))"
        return f"AND(ISNUMBER({cell}),{cell}{sign}{order}({span},{count}))"
    if name in ("AboveAverage", "BelowAverage"):
        sign, way = (">", "+") if name == "AboveAverage" else ("<", "-")
        return f"AND(ISNUMBER({cell}),{cell}{sign}AVERAGE({span}){f'{way}{given[0]}*STDEVP({span})' if given else ''})"
    if name == "ColorScale" or name in ("DataBar", "IconSet"):
        return f"ISNUMBER({cell})"
    return _date_formula(rule, name, cell, given, table)


def _date_formula(rule: Rule, name: str, cell: str, given: list[str], table: Table) -> str:
    periods = [a.text for a in rule.arguments if isinstance(a, Period)]
    if periods:
        bounds = [period_bounds(p, table.today) for p in periods]
        low, high = (_excel_day(bounds[0][0], periods[0]), _excel_day(bounds[-1][1], periods[-1]))
        tests = {"DateBefore": f"{cell}<{low}", "DateAfter": f"INT({cell})>{high}"}
        return f"AND(ISNUMBER({cell}),{tests.get(name, f'INT({cell})>={low},INT({cell})<={high}')})"
    if name in ("LastDays", "NextDays", "OlderThanDays"):
        tests = {"LastDays": f"{cell}>TODAY()-{given[0]},INT({cell})<=TODAY()", "NextDays": f"INT({cell})>TODAY(),INT({cell})<=TODAY()+{given[0]}", "OlderThanDays": f"INT({cell})<TODAY()-{given[0]}"} if given else {}
        return f"AND(ISNUMBER({cell}),{tests[name]})"
    if name == "Weekend":
        return f"AND(ISNUMBER({cell}),WEEKDAY({cell},2)>5)"
    shift = {"Last": -1, "Yest": -1, "Next": 1, "Tomo": 1}.get(name[:4], 0)
    if name.endswith("Week"):
        return f"AND(ISNUMBER({cell}),INT({cell})>=TODAY()-WEEKDAY(TODAY())+1+{7 * shift},INT({cell})<=TODAY()-WEEKDAY(TODAY())+7+{7 * shift})"
    if name.endswith("Month"):
        return f"AND(ISNUMBER({cell}),INT({cell})>EOMONTH(TODAY(),{shift - 1}),INT({cell})<=EOMONTH(TODAY(),{shift}))"
    if name.endswith("Year"):
        return f"AND(ISNUMBER({cell}),YEAR({cell})=YEAR(TODAY())+{shift})"
    return f"AND(ISNUMBER({cell}),INT({cell})=TODAY()+{shift})"


def _excel_day(day: date, period: str) -> str:
    return "TODAY()" if period == "today" else f"DATE({day.year},{day.month},{day.day})"
