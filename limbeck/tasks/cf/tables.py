"""Tables for the generator: columns of one kind of row, with the blemishes real sheets have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Any

from limbeck.tasks.cf.lexicon import ColumnWords, load_lexicon
from limbeck.tasks.cf.table import Table, read_number

YES_NO = [("Yes", "No"), ("Y", "N"), ("yes", "no"), ("TRUE", "FALSE"), ("x", ""), ("1", "0"), ("Yes", "No")]


@dataclass(slots=True)
class Made:
    """One column as it stands in a made table: its words, header, place, and how yes and no are written."""

    words: ColumnWords
    header: str
    index: int
    yes_no: tuple[str, str] = ("Yes", "No")
    is_plain: bool = False  # "Value", "Index": a sheet whose headers say nothing

    @property
    def is_numeric(self) -> bool:
        return self.words.kind in ("number", "money", "percent")


@dataclass(slots=True)
class MadeTable:
    """A table with what the phrases need to know of it."""

    table: Table
    columns: list[Made]
    rows: tuple[str, ...]  # what a row is called

    def of(self, *kinds: str) -> list[Made]:
        return [c for c in self.columns if c.words.kind in kinds]


def make_table(random: Random) -> MadeTable:
    """A table of 2 to 9 columns and 4 to 14 rows."""
    domains, pairs, words = load_lexicon()
    today = date(2019, 1, 1) + timedelta(random.randrange(365 * 8))
    if random.random() < 0.11:
        return _plain_table(random, today, words)
    domain = random.choice(domains)
    pool = list(domain.columns)
    size = min(len(pool), random.choice([2, 3, 4, 4, 5, 5, 6, 6, 7, 8]))
    chosen = random.sample(pool, size)
    heads = {c.headers[0]: c for c in pool}
    together = [pair for pair in pairs if pair[0] in heads and pair[1] in heads]
    if together and random.random() < 0.4:
        chosen += [heads[h] for h in random.choice(together) if heads[h] not in chosen]
    if random.random() < 0.5:
        other = [c for d in domains for c in d.columns if c not in pool]
        chosen += random.sample(other, random.choice([1, 1, 2, 3]))
    if random.random() < 0.65:
        named = [c for c in pool if c.kind == "name" and c not in chosen]
        chosen = named[:1] + chosen
    else:
        random.shuffle(chosen)
    columns, seen = [], set[str]()
    for words_of in chosen:
        header = _header(random, random.choice(words_of.headers))
        if header.lower() not in seen:
            seen.add(header.lower())
            columns.append(Made(words_of, header, len(columns), random.choice(YES_NO)))
    count = random.randint(4, 14)
    cells = [_cells(random, column, count, today, words) for column in columns]
    table = Table(tuple(c.header for c in columns), tuple(zip(*cells, strict=True)), today)
    return MadeTable(table, columns, domain.rows)


def _plain_table(random: Random, today: date, words: dict[str, list[str]]) -> MadeTable:
    """Index and Value, sometimes with one more column that nobody speaks of."""
    number = ColumnWords("number", ("Value",), ("value", "values", "cells", "numbers"), low=0, high=random.choice([1, 10, 100, 1000, 50_000]), decimals=random.choice([0, 0, 2]))
    domains, _, _ = load_lexicon()
    texts = random.choice([c for d in domains for c in d.columns if c.kind == "category" and len(c.values) > 2])
    value = Made(number if random.random() < 0.7 else ColumnWords("category", ("Value",), ("value", "values", "cells"), values=texts.values), "Value", 1, is_plain=True)
    count = random.randint(5, 16)
    index = Made(ColumnWords("id", ("Index",), ("index",)), "Index", 0)
    columns, cells = [index, value], [list(range(count)), _cells(random, value, count, today, words)]
    if random.random() < 0.5:
        name = random.choice(["Score", "ID", "Count", "Point"])
        columns.append(Made(ColumnWords("id", (name,), (name.lower(),)), name, 2))
        cells.append([random.randint(1, 100) for _ in range(count)])
    table = Table(tuple(c.header for c in columns), tuple(zip(*cells, strict=True)), today)
    return MadeTable(table, columns, ("cell", "value", "row"))


def _header(random: Random, header: str) -> str:
    roll = random.random()
    if roll < 0.07:
        return header.upper()
    if roll < 0.13:
        return header.lower()
    if roll < 0.18:
        return re.sub(r"\W+", "_", header.lower()).strip("_")
    return header


def _cells(random: Random, column: Made, count: int, today: date, words: dict[str, list[str]]) -> list[Any]:
    make = _maker(random, column, today, words)
    cells = [make() for _ in range(count)]
    kind = column.words.kind
    if kind in ("name", "email", "phone", "id", "text") and random.random() < 0.3:
        cells[random.randrange(count)] = cells[random.randrange(count)]
    if random.random() < (0.3 if kind not in ("id", "name") else 0.1):
        for _ in range(random.randint(1, max(1, count // 4))):
            cells[random.randrange(count)] = None if random.random() < 0.8 else ""
    for key, spare in (("zero", 0), ("full", "full")):
        if column.words.extra.get(key) and random.random() < 0.5:
            top = 1 if kind == "percent" and all(n is None or n <= 1.5 for n in map(read_number, cells)) else 100
            for _ in range(random.randint(1, max(1, count // 4))):
                cells[random.randrange(count)] = spare if spare == 0 else "100%" if any("%" in str(c) for c in cells) else top
    if column.is_numeric and random.random() < 0.12:
        for _ in range(random.randint(1, 2)):
            cells[random.randrange(count)] = random.choice(["#N/A", "#DIV/0!", "#VALUE!", "#REF!"])
    return cells


def _maker(random: Random, column: Made, today: date, words: dict[str, list[str]]) -> Any:
    """A function that makes one cell after another in one style."""
    spec, kind = column.words, column.words.kind
    if kind in ("number", "money", "percent"):
        return _number_maker(random, spec)
    if kind == "date":
        style = random.choice(["iso", "iso", "iso", "us", "named"])
        spread = random.choice([2, 8, 20, 60, 400, 900])
        return lambda: _date_text(today + timedelta(random.randint(-spread, spread // 2 if "past" not in spec.extra else spread)), style)
    if kind == "category" and random.random() < 0.22:  # texts that the lexicon does not know
        pool = random.choice([words["first"], words["last"], words["company"], words["product"], words["month_item"], words["wild"]])
        wild = random.sample(pool, random.randint(3, 6))
        return lambda: random.choice(wild)
    if kind in ("category", "code"):
        values = random.sample(spec.values, min(len(spec.values), random.randint(2, 7)))
        shout = random.random()
        fold = str.upper if shout < 0.06 else str.lower if shout < 0.12 else str
        return lambda: fold(random.choice(values)[0])
    if kind == "yesno":
        yes, no = column.yes_no
        share = random.uniform(0.25, 0.75)
        as_bool = (yes, no) == ("TRUE", "FALSE") and random.random() < 0.5
        return lambda: (is_yes if as_bool else (yes if is_yes else no or None)) if (is_yes := random.random() < share) or True else None
    if kind == "name":
        people = random.random() < 0.6
        things = words["product"] if random.random() < 0.5 else words["company"]
        return lambda: f"{random.choice(words['first'])} {random.choice(words['last'])}" if people else random.choice(things)
    if kind == "email":
        return lambda: f"{random.choice(words['first']).lower()}@{random.choice(words['domain'])}"
    if kind == "phone":
        return lambda: f"555-{random.randint(1000, 9999)}"
    if kind == "id":
        prefix = random.choice(["", "A-", "INV", "ORD-", "SKU", "X"])
        return lambda: f"{prefix}{random.randint(100, 9999)}" if prefix else random.randint(1000, 9999)
    if "street" in spec.mentions:
        return lambda: f"{random.randint(1, 240)} {random.choice(words['street'])}"
    return lambda: random.choice(words["note"])


def _number_maker(random: Random, spec: ColumnWords) -> Any:
    low, high = spec.low, spec.high
    if random.random() < 0.3 and high > low:
        middle, width = random.uniform(low, high), (high - low) * random.uniform(0.1, 0.5)
        low, high = max(low, middle - width / 2), min(high, middle + width / 2)
    decimals = spec.decimals if random.random() < 0.8 else max(0, spec.decimals - 1)
    style = random.random()
    if spec.kind == "percent":
        if style < 0.5:
            return lambda: f"{round(100 * random.uniform(low, high))}%"
        if style < 0.75:
            return lambda: round(random.uniform(low, high), 2)
        return lambda: round(100 * random.uniform(low, high))
    if spec.kind == "money" and style < 0.25:
        return lambda: f"${random.uniform(low, high):,.{min(2, decimals)}f}"
    if style < 0.3 and high > 1000:
        return lambda: f"{random.uniform(low, high):,.{decimals}f}"
    step = random.choice([1, 1, 5, 10, 50]) if high - low > 200 else 1
    if decimals == 0:
        return lambda: int(step * round(random.uniform(low, high) / step))
    return lambda: round(random.uniform(low, high), decimals)


def _date_text(day: date, style: str) -> str:
    if style == "us":
        return f"{day.month}/{day.day}/{day.year}"
    return day.isoformat() if style == "iso" else f"{day.day} {day:%b} {day.year}"


def plural(noun: str) -> str:
    """An English plural, good enough for row names."""
    if noun in ("person", "staff member"):
        return {"person": "people"}.get(noun, "staff")
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")
