"""Workbooks in and out: dates, percents, formulas never calculated, and real conditional formats."""

from datetime import date

import openpyxl
import pytest

from limbeck.errors import LimbeckError
from limbeck.tasks.cf.executor import run_rule
from limbeck.tasks.cf.language import parse
from limbeck.tasks.cf.workbook import excel_rule, read_table, write_rule


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "b.xlsx"
    workbook = openpyxl.Workbook()
    page = workbook.active
    page.append(["Item", "Share", "Due"])
    for row in (["Tea", 0.12, date(2024, 3, 5)], ["Cake", 0.5, date(2024, 5, 1)]):
        page.append(row)
    page["B2"].number_format = page["B3"].number_format = "0%"
    workbook.create_sheet("Other").append(["X"])
    workbook.save(path)
    return path


def test_percents_and_dates_are_read_as_shown(book):
    table = read_table(book, date(2024, 6, 1))
    assert table.rows == (("Tea", "12%", "2024-03-05"), ("Cake", "50%", "2024-05-01"))
    assert run_rule(parse("GreaterThan(c[1], 0.2)"), table) == (False, True)


@pytest.mark.parametrize(("rule", "kind"), [("Top(c[1], 1)", "expression"), ("Duplicates(c[0])", "duplicateValues"), ("ColorScale(c[1])", "colorScale"), ("DataBar(c[1])", "dataBar"), ("IconSet(c[1])", "iconSet"), ('TextContains(c[0], "a""b")'.replace('""', '\\"'), "expression"), ("AND(GreaterThan(c[1], 0.1), DateBefore(c[2], today))", "expression"), ("NOT(Blanks(c[0]))", "expression"), ("LastMonth(c[2])", "expression"), ("AboveAverage(c[1], 2)", "expression")])
def test_a_rule_is_written_as_a_real_format_and_other_sheets_stay(book, tmp_path, rule, kind):
    table = read_table(book)
    write_rule(book, tmp_path / "o.xlsx", parse(rule), table)
    again = openpyxl.load_workbook(tmp_path / "o.xlsx")
    found = [r.type for formats in again.worksheets[0].conditional_formatting for r in formats.rules]
    assert found == [kind] and again.sheetnames == ["Sheet", "Other"]


def test_every_function_can_be_written(book):
    from limbeck.tasks.cf.generator import generate_one
    from limbeck.tasks.cf.table import Table

    for index in range(200):
        example = generate_one(8, index)
        assert excel_rule(parse(example.gold[0]), Table.from_json(example.prompt.context["table"])) is not None


def test_formulas_never_calculated_are_refused(tmp_path):
    path = tmp_path / "f.xlsx"
    workbook = openpyxl.Workbook()
    workbook.active.append(["A"])
    workbook.active.append(["=1+1"])
    workbook.save(path)
    with pytest.raises(LimbeckError, match="row 2 holds a formula"):
        read_table(path)
    workbook.active["B1"], workbook.active["B2"], workbook.active["A2"] = "B", "=A2*2", 4
    workbook.save(path)  # beside cells that hold values
    with pytest.raises(LimbeckError, match="A2"):
        read_table(path)


def test_a_csv_cell_that_looks_like_a_formula_stays_text(tmp_path):
    (tmp_path / "t.csv").write_text("A,B\n=cmd(),5\nx,6\n")
    table = read_table(tmp_path / "t.csv")
    write_rule(tmp_path / "t.csv", tmp_path / "o.xlsx", parse("GreaterThan(c[1], 5)"), table)
    cell = openpyxl.load_workbook(tmp_path / "o.xlsx").active["A2"]
    assert cell.data_type != "f" or (cell.value == "=cmd()" and cell.quotePrefix)


def test_what_is_no_workbook_is_refused(tmp_path):
    (tmp_path / "x.xlsx").write_text("no zip")
    with pytest.raises(LimbeckError, match="workbook"):
        read_table(tmp_path / "x.xlsx")
