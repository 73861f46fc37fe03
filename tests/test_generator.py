"""The generator: deterministic, its gold runs, every family appears, the English is varied and names its column."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from limbeck.records import Example, content_id
from limbeck.tasks.cf.executor import run_rule
from limbeck.tasks.cf.generator import generate_one
from limbeck.tasks.cf.language import SCALES, Rule, parse, print_rule
from limbeck.tasks.cf.table import Table

COUNT = 1500
FAMILIES = {"compare", "between", "text", "value", "state", "rank", "average", "date", "columns", "scale", "special", "group", "compound", "two_texts", "either", "possessive"}
FREQUENT = {
    "GreaterThan", "GreaterThanEqual", "LessThan", "LessThanEqual", "Equals", "NotEquals", "Between", "NotBetween", "TextEquals",
    "TextContains", "TextStartsWith", "TextEndsWith", "Blanks", "Errors", "Duplicates", "Uniques", "Top", "Bottom", "TopPercent",
    "BottomPercent", "AboveAverage", "BelowAverage", "DateBefore", "DateAfter", "DateIn", "DateBetween", "LastDays", "NextDays",
    "OlderThanDays", "AND", "OR", "NOT", "ColorScale", "DataBar", "IconSet",
}  # fmt: skip


@cache
def made() -> tuple[Example, ...]:
    return tuple(generate_one(7, index) for index in range(COUNT))


def table_of(example: Example) -> Table:
    return Table.from_json(dict(example.prompt.context["table"]))


def functions_in(rule: Rule) -> list[str]:
    return [rule.function] + [f for part in rule.arguments if isinstance(part, Rule) for f in functions_in(part)]


def test_the_same_seed_and_index_give_the_same_example() -> None:
    again = [generate_one(7, index) for index in reversed(range(100))]
    assert list(reversed(again)) == list(made()[:100])
    assert generate_one(8, 0).prompt.text != generate_one(7, 0).prompt.text


def test_the_id_is_a_hash_of_what_the_example_says() -> None:
    for example in made()[:100]:
        assert example.id == example.prompt.id == content_id([example.prompt.text, example.prompt.context["table"]])


def test_gold_is_in_its_printed_form_and_runs() -> None:
    for example in made():
        rule = parse(example.gold[0])
        assert print_rule(rule) == example.gold[0]
        table = table_of(example)
        assert len(run_rule(rule, table)) == len(table.rows)


def test_gold_usually_marks_some_rows_and_not_all() -> None:
    rules = [(parse(example.gold[0]), table_of(example)) for example in made()]
    marks = [run_rule(rule, table) for rule, table in rules if rule.function not in SCALES]
    assert sum(any(m) and not all(m) for m in marks) / len(marks) > 0.93


def test_every_family_and_frequent_function_appears() -> None:
    assert {example.meta["family"] for example in made()} == FAMILIES
    assert {f for example in made() for f in functions_in(parse(example.gold[0]))} >= FREQUENT


def test_no_family_crowds_out_the_others() -> None:
    count = Counter(example.meta["family"] for example in made())
    assert 0.12 < count["compare"] / COUNT < 0.28
    assert all(0.015 < count[family] / COUNT < 0.28 for family in FAMILIES)


def test_utterances_are_varied() -> None:
    texts = [example.prompt.text.lower() for example in made()]
    assert len(set(texts)) / COUNT > 0.97
    assert len({" ".join(text.split()[:2]) for text in texts}) / COUNT > 0.25


def test_utterances_are_one_tidy_line() -> None:
    for example in made():
        text = example.prompt.text
        assert text == " ".join(text.split()) and 0 < len(text) < 300
        assert "{" not in text and "}" not in text


def test_tables_have_two_or_more_columns_and_a_few_rows() -> None:
    for example in made():
        table = table_of(example)
        assert 2 <= len(table.headers) <= 14 and 4 <= len(table.rows) <= 16


def test_each_example_says_how_its_column_is_named() -> None:
    assert {example.meta.get("column_by") for example in made()} <= {"header", "mention", "letter", "implied", "only", "part"}


@pytest.mark.parametrize("slip", ["the the ", "who is who ", "are that ", "whose the ", " of the the "])
def test_frames_and_wordings_do_not_stumble(slip: str) -> None:
    assert sum(slip in example.prompt.text.lower() for example in made()) == 0
