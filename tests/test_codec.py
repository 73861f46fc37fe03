"""Prompts and rules as numbers, and the grammar that keeps a student inside the language."""

import numpy as np
import pytest

from limbeck.records import Prompt
from limbeck.tasks.cf.codec import SYMBOLS, CFCodec
from limbeck.tasks.cf.generator import generate_one
from limbeck.tasks.cf.lexer import lex
from limbeck.tasks.cf.table import Table

TABLE = {"headers": ["Name", "Sales ($)", "Status", "Due", "Growth"], "rows": [["Ann", 1200, "Open", "2024-03-05", "12%"], ["Bo", 300, "In progress", "2024-05-01", "3%"]], "today": "2024-06-15"}
DAY = Table.from_json(TABLE).today


def words(text):
    return {w.text: (w.value, w.period) for w in lex(text, DAY)}


@pytest.mark.parametrize(("text", "token", "value"), [("over $1,500.50", "$1,500.50", 1500.5), ("2.5k", "2.5k", 2500), ("16.1k", "16.1k", 16100), ("fifteen hundred", "fifteen hundred", 1500), ("twenty five percent", "twenty five percent", 25), ("a dozen", "a dozen", 12), ("-5", "-5", -5), ("1.2 million", "1.2 million", 1_200_000), ("top half", "half", 50)])
def test_numbers_are_read_as_people_write_them(text, token, value):
    assert words(text)[token][0] == value


@pytest.mark.parametrize(("text", "token", "period"), [("March 2024", "March 2024", "2024-03"), ("3/5/2024", "3/5/2024", "2024-03-05"), ("5 Jan 2023", "5 Jan 2023", "2023-01-05"), ("in april", "april", "2024-04"), ("between Jan and March 2022", "Jan", "2022-01"), ("2023", "2023", "2023"), ("6 sepember 2024", "6 sepember 2024", "2024-09-06")])
def test_dates_are_read_as_people_write_them(text, token, period):
    assert words(text)[token][1] == period


def prompt(text):
    return Prompt(id=text, text=text, context={"table": TABLE})


@pytest.mark.parametrize(("text", "rule"), [("sales over 1k", "GreaterThan(c[1], 1000)"), ("growth above 10%", "GreaterThan(c[4], 0.1)"), ('status is "in progress"', 'TextEquals(c[2], "in progress")'), ("not done yet", 'NOT(TextEquals(c[2], "Open"))'), ("due in the next 2 weeks", "NextDays(c[3], 14)"), ("overdue", "DateBefore(c[3], today)")])
def test_an_answer_survives_encoding_and_decoding(text, rule):
    codec = CFCodec()
    symbols = codec.encode_answer(prompt(text), rule)
    assert symbols is not None and codec.decode(prompt(text), symbols) == rule


def test_the_grammar_allows_every_generated_answer_and_every_allowed_walk_is_a_rule():
    codec, random = CFCodec(), np.random.default_rng(0)
    for index in range(150):
        example = generate_one(5, index)
        symbols = codec.encode_answer(example.prompt, example.gold[0])
        if symbols is None:
            continue
        for at, symbol in enumerate(symbols):
            assert codec.allowed(example.prompt, symbols[:at])[symbol]
        walk: list[int] = []
        while len(walk) < 27 and (not walk or walk[-1] != 2):
            walk.append(int(random.choice(np.flatnonzero(codec.allowed(example.prompt, walk)))))
        if walk[-1] == 2:
            text = codec.decode(example.prompt, walk)
            assert text is not None or any(SYMBOLS[s].startswith(("W", "#")) for s in walk), [SYMBOLS[s] for s in walk]


def test_no_column_is_compared_with_itself_and_no_part_is_said_twice():
    codec = CFCodec()
    at = [SYMBOLS.index(s) for s in ("GreaterThan", "COL1")]
    mask = codec.allowed(prompt("sales over 5"), at)
    assert not mask[SYMBOLS.index("COL1")] and mask[SYMBOLS.index("COL4")]
    twice = [SYMBOLS.index(s) for s in ("OR", "Blanks", "COL1", "Blanks", "COL1", ")", "<eos>")]
    assert codec.decode(prompt("sales"), twice) is None


def test_initials_and_millimetres():
    table = {"headers": ["Team", "GF", "GA", "Rain mm"], "rows": [["A", 3, 4, 1], ["B", 2, 1, 9]], "today": "2024-06-15"}
    reading = CFCodec().reading(Prompt(id="i", text="fewest goals for, rain over 20mm", context={"table": table}))
    assert [k.column for k in reading.links][1:3] == [1, 1] and [w.value for w in reading.words if w.value is not None] == [20]


def test_a_literal_that_is_nowhere_cannot_be_said():
    assert CFCodec().encode_answer(prompt("sales over a lot"), "GreaterThan(c[1], 777)") is None


def test_source_has_a_row_for_each_word_column_and_value():
    source = CFCodec().encode(prompt("sales over 1000"))
    assert source.kind_S.shape == (1 + 3 + 5 + 4,) and source.slot_S[1] == SYMBOLS.index("W0") and source.link_S[1] == SYMBOLS.index("COL1")
