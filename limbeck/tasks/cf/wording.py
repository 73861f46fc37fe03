"""One way to say a condition, and what the families of rules share: names of columns, places, thresholds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from limbeck.tasks.cf.language import Rule
from limbeck.tasks.cf.naming import fold
from limbeck.tasks.cf.table import Table, is_blank, read_number, shown
from limbeck.tasks.cf.tables import Made, MadeTable


class WordingError(Exception):
    """This family has nothing to say about this table."""


@dataclass(frozen=True, slots=True)
class Wording:
    """One way to say a condition. `literals` are texts that a typo must not touch."""

    shape: str
    text: str
    literals: tuple[str, ...] = ()
    cells: str = ""
    letter: str = ""
    header: str = ""


Drawn = tuple[Rule, list[Wording]]
ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"]


def name_column(random: Random, made: MadeTable, column: Made) -> str:
    """A column as people refer to it, by a name that no other column answers to."""
    taken = {fold(name) for other in made.columns if other is not column for name in (other.header, *other.words.mentions)}
    for _ in range(4):
        name = _name(random, made, column)
        if fold(name) not in taken:
            return name
    return f"column {chr(65 + column.index)}"


def _name(random: Random, made: MadeTable, column: Made) -> str:
    if column.is_plain:
        return random.choice(["value", "values", "the values", "cells", "Value", "numbers" if column.is_numeric else "cells", "the cells"])
    roll, letter = random.random(), chr(65 + column.index)
    if roll < 0.42:
        return random.choice(column.words.mentions)
    if roll < 0.72:
        header = column.header if random.random() < 0.5 else column.header.lower().replace("_", " ")
        return header.rstrip("?")
    if roll < 0.78:
        return f"{random.choice(['the ', 'the ', ''])}{column.header.rstrip('?')} {random.choice(['column', 'column', 'col', 'field', 'values'])}"
    if roll < 0.82:
        words = [w for w in column.header.replace("_", " ").split() if len(w) > 2]
        shared = [w for w in words if not any(w.lower() in other.header.lower() for other in made.columns if other is not column)]
        return random.choice(shared).lower() if shared else column.header
    if roll < 0.90:
        return random.choice([f"column {letter}", f"col {letter}", f"column {letter.lower()}", f"{letter} column", f"column {letter}"])
    if roll < 0.95:
        last = len(made.table.rows) + 1
        return random.choice([f"{letter}2:{letter}{last}", f"{letter}2 to {letter}{last}", f"{letter}2-{letter}{last}", f"range {letter}2:{letter}{last}"])
    if column.index == len(made.columns) - 1 and random.random() < 0.5:
        return "the last column"
    return f"the {ORDINALS[column.index]} column" if column.index < 10 else f"column {letter}"


def pick(random: Random, columns: list[Made]) -> Made:
    """One of them, or say that there is none."""
    if not columns:
        raise WordingError
    return random.choice(columns)


def numeric(random: Random, made: MadeTable) -> Made:
    """A column of numbers."""
    return pick(random, [c for c in made.columns if c.is_numeric])


def ticket_wordings(random: Random, made: MadeTable, column: Made, text: str, literals: tuple[str, ...] = ()) -> list[Wording]:
    """The clipped style, with a cell range that lies in the column, or anywhere where headers say nothing."""
    if random.random() > 0.7:
        return []
    free = column.is_plain and random.random() < 0.8
    letter = chr(65 + (random.randrange(20) if free else column.index))
    start = random.randint(2, 12)
    end = start + random.randint(3, 300)
    cells = random.choice([f"{letter}{start}:{letter}{end}", f"{letter}{start} to {letter}{end}", f"{letter}{start}-{letter}{end}"])
    header = random.choice(["Value", "Total", "Name", "Score", "Rate"]) if column.is_plain else column.header
    return [Wording("ticket", text, literals, cells, letter, header)] * (2 if column.is_plain else 1)


def is_place(who: str) -> bool:
    """A column named by where it stands: it takes "in" and "of", never "no" or "with the most"."""
    return " column " in fold(who) or " col " in fold(who) or bool(re.search(r"[A-Z]\d", who)) or who.startswith("the values")


def fit_patterns(patterns: list[str], who: str) -> list[str]:
    """The patterns that go with a column named this way."""
    if not is_place(who):
        return [p for p in patterns if not (who.endswith("s") and ("a {c}" in p or p in ("top {c}", "best {c}", "worst {c}")))]
    return [p for p in patterns if " in {c}" in p or " of {c}" in p or " by {c}" in p or "{c} is" in p or p.startswith("{c} ")] or patterns


def is_only_number(made: MadeTable, column: Made) -> bool:
    return sum(c.is_numeric for c in made.columns) == 1 and column.is_numeric


def draw_threshold(random: Random, table: Table, column: Made) -> float:
    values = sorted(v for v in table.numbers(column.index) if v is not None)
    if len(values) < 2:
        raise WordingError
    at = random.randrange(len(values) - 1)
    value = random.choice([values[at], (values[at] + values[at + 1]) / 2, values[at + 1]])
    if value == 0:
        return 0.0
    size = 10 ** max(0, len(str(int(abs(value)))) - random.choice([1, 2, 2, 3]))
    if column.words.kind == "percent" and abs(value) <= 3:
        return round(value, 2)
    return round(value / size) * size if abs(value) >= 1 and random.random() < 0.8 else round(value, min(2, column.words.decimals))


def article_for(random: Random, who: str) -> str:
    return "the " if random.random() < 0.4 and not is_place(who) and not who.startswith("the ") else ""


def name_without_range(random: Random, made: MadeTable, column: Made) -> str:
    """A column's name that is no cell range: nobody compares C2:C9 with D2:D9 in words."""
    names = (name_column(random, made, column) for _ in range(6))
    return next((name for name in names if not re.search(r"[A-Z]\d", name)), f"column {chr(65 + column.index)}")


def texts_in(made: MadeTable, column: Made) -> list[str]:
    found = [shown(c) for c in made.table.column(column.index) if isinstance(c, str) and not is_blank(c) and not c.startswith("#") and read_number(c) is None]
    return [t for t in dict.fromkeys(found) if 0 < len(t) <= 40 and '"' not in t]


def quote_text(random: Random, text: str) -> str:
    roll = random.random()
    shape = '"{}"' if roll < 0.2 else "'{}'" if roll < 0.3 else "{}"
    if random.random() < 0.2:
        text = text.lower()
    return shape.format(text)

