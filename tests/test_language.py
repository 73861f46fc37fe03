"""The rule language and its executor, one row a rule of semantics."""

import pytest

from limbeck.tasks.cf.executor import cells_of, run_rule
from limbeck.tasks.cf.generator import generate_one
from limbeck.tasks.cf.language import RuleError, parse, print_rule
from limbeck.tasks.cf.table import Table, column_kind, read_date, read_number

TODAY = "2024-06-12"  # a Wednesday


def marks(rule: str, cells: list, other: list | None = None) -> str:
    rows = [[c] for c in cells] if other is None else [list(pair) for pair in zip(cells, other, strict=True)]
    table = Table.from_json({"headers": ["A"] if other is None else ["A", "B"], "rows": rows, "today": TODAY})
    return "".join("x" if m else "." for m in run_rule(parse(rule), table))


NUMBERS = [5, "1,200", "$7.50", "12%", "(300)", None, "abc", "#N/A", True]
CASES = [
    ("GreaterThan(c[0], 5)", NUMBERS, ".xx......"),
    ("GreaterThanEqual(c[0], 5)", NUMBERS, "xxx......"),
    ("LessThan(c[0], 0.5)", NUMBERS, "...xx...."),
    ("LessThanEqual(c[0], -300)", NUMBERS, "....x...."),
    ("Equals(c[0], 0.12)", NUMBERS, "...x....."),
    ("NotEquals(c[0], 5)", NUMBERS, ".xxxx...."),
    ("Between(c[0], 10, 5)", NUMBERS, "x.x......"),
    ("NotBetween(c[0], 5, 10)", NUMBERS, ".x.xx...."),
    ('TextEquals(c[0], "ABC")', ["abc", " Abc ", "abcd", None, 5], "xx..."),
    ('TextEquals(c[0], "5")', [5, 5.0, "5", "55"], "xxx."),
    ('TextEquals(c[0], "true")', [True, "TRUE", False], "xx."),
    ('TextContains(c[0], "b")', ["abc", "B", "c", None], "xx.."),
    ('TextStartsWith(c[0], "a")', ["abc", "ba", " A"], "x.x"),
    ('TextEndsWith(c[0], "c")', ["abc", "cab", "C "], "x.x"),
    ("Blanks(c[0])", [None, "", "  ", 0, "x"], "xxx.."),
    ("NOT(Blanks(c[0]))", [None, "", "  ", 0, "x"], "...xx"),
    ("Errors(c[0])", ["#N/A", "#DIV/0!", "N/A", "#ref!", None], "xx.x."),
    ("Duplicates(c[0])", ["a", "A", "b", None, None, 1, "1"], "xx...xx"),
    ("Uniques(c[0])", ["a", "A", "b", None, 1], "..x.x"),
    ("Top(c[0], 2)", [1, 9, 9, 9, "x"], ".xxx."),
    ("Top(c[0], 99)", [1, 2], "xx"),
    ("Bottom(c[0], 1)", [3, "2", None, 5], ".x.."),
    ("TopPercent(c[0], 10)", [1, 2, 3, 4], "...x"),
    ("TopPercent(c[0], 50)", [1, 2, 3, 4, 5], "...xx"),
    ("BottomPercent(c[0], 40)", [1, 2, 3, 4, 5], "xx..."),
    ("AboveAverage(c[0])", [1, 2, 3, None, "x"], "..x.."),
    ("BelowAverage(c[0])", [1, 2, 3], "x.."),
    ("AboveAverage(c[0], 1)", [0, 0, 0, 10], "...x"),
    ('NOT(TextEquals(c[0], "a"))', ["a", "b", None], ".x."),
    ('AND(GreaterThan(c[0], 1), LessThan(c[0], 3))', [1, 2, 3], ".x."),
    ('OR(Equals(c[0], 1), Equals(c[0], 3))', [1, 2, 3], "x.x"),
    ("ColorScale(c[0])", [1, "x", None, "2%"], "x..x"),
    ("DateBefore(c[0], 2024-03)", ["2024-02-29", "2024-03-01", "2/1/2024", "text", 45000], "x.x.."),
    ("DateAfter(c[0], 2024-03)", ["2024-03-31", "2024-04-01", "1 May 2024"], ".xx"),
    ("DateIn(c[0], 2023)", ["2023-01-01", "2024-01-01"], "x."),
    ("DateBetween(c[0], 2024-01, 2024-02)", ["2024-01-01", "2024-02-29", "2024-03-01"], "xx."),
    ("DateBefore(c[0], today)", ["2024-06-11", "2024-06-12"], "x."),
    ("ThisWeek(c[0])", ["2024-06-08", "2024-06-09", "2024-06-15", "2024-06-16"], ".xx."),
    ("LastMonth(c[0])", ["2024-05-01", "2024-05-31", "2024-06-01"], "xx."),
    ("NextYear(c[0])", ["2025-07-01", "2024-07-01"], "x."),
    ("LastDays(c[0], 7)", ["2024-06-05", "2024-06-06", "2024-06-12", "2024-06-13"], ".xx."),
    ("NextDays(c[0], 2)", ["2024-06-12", "2024-06-13", "2024-06-14", "2024-06-15"], ".xx."),
    ("OlderThanDays(c[0], 30)", ["2024-05-12", "2024-05-13"], "x."),
    ("Weekend(c[0])", ["2024-06-08", "2024-06-10"], "x."),
]


@pytest.mark.parametrize(("rule", "cells", "expected"), CASES, ids=[c[0] + str(i) for i, c in enumerate(CASES)])
def test_a_rule_marks_what_a_spreadsheet_would(rule, cells, expected):
    assert marks(rule, cells) == expected


def test_columns_are_compared_row_by_row_also_as_texts_and_dates():
    assert marks("GreaterThan(c[0], c[1])", [1, 5, None, "2024-02-01"], [2, 3, 1, "2024-01-01"]) == ".x.x"
    assert marks("Equals(c[0], c[1])", ["a", "b", 1], ["A", "c", "1"]) == "x.x"


def test_a_repeated_header_row_is_no_data():
    table = Table.from_json({"headers": ["A"], "rows": [["A"], [1]], "today": TODAY})
    assert len(table.rows) == 1


def test_cells_name_the_column_read_first_unless_another_is_asked():
    table = Table.from_json({"headers": ["A", "B"], "rows": [[1, 5], [2, 6]], "today": TODAY})
    assert cells_of(parse("GreaterThan(c[1], 5)"), table) == [[1, 1]]
    assert cells_of(parse("GreaterThan(c[1], 5)"), table, 0) == [[1, 0]]


def test_printing_then_parsing_is_the_identity_on_generated_rules():
    for index in range(300):
        text = generate_one(77, index).gold[0]
        assert print_rule(parse(text)) == text


@pytest.mark.parametrize("text", ["", "Top(c[0])", "Top(c[0], 0)", "Foo(c[0])", "Top(c[0], 2) x", 'TextEquals(c[0], "")', "AND(Blanks(c[0]))", "Top(2, c[0])", "DateIn(c[0], 2024-13)", "NOT(" * 40, "TopPercent(c[0], 200)", 'GreaterThan(c[0], "x")', "__import__('os')"])
def test_what_is_no_rule_is_refused(text):
    with pytest.raises(RuleError):
        parse(text)


def test_a_missing_column_is_refused():
    with pytest.raises(RuleError):
        marks("Blanks(c[7])", [1])


@pytest.mark.parametrize(("cell", "number"), [("1,200", 1200), ("€5", 5), ("-3.5%", -0.035), ("(1,000)", -1000), ("1e3", 1000), ("1-2", None), ("12 kg", None), ("", None), (True, None), ("2024-01-01", None)])
def test_numbers_as_text(cell, number):
    assert read_number(cell) == number


def test_dates_and_kinds():
    assert str(read_date("3/14/2024")) == "2024-03-14" and str(read_date("5 Jan 2023")) == "2023-01-05" and read_date("2024-13-01") is None
    table = Table.from_json({"headers": list("abcd"), "rows": [["1%", "2024-01-01", "x", 3], ["5%", "2024-02-01", "y", "#N/A"]], "today": TODAY})
    assert [column_kind(table, i) for i in range(4)] == ["percent", "date", "text", "number"]
