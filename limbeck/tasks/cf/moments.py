"""The family about dates: before, after, in, between, windows around today, overdue and upcoming."""

from __future__ import annotations

import re
from datetime import date, timedelta
from random import Random

from limbeck.tasks.cf import phrases
from limbeck.tasks.cf.language import Column, Number, Period, Rule
from limbeck.tasks.cf.numbers import DAYS, count_text, date_text
from limbeck.tasks.cf.paraphrase import say
from limbeck.tasks.cf.tables import MadeTable, plural
from limbeck.tasks.cf.wording import (
    Drawn,
    Wording,
    WordingError,
    name_column,
    pick,
)

NO_YEAR = date.min  # a "today" whose year no date shares: years are always written


def when(random: Random, made: MadeTable) -> Drawn:
    """Dates before, after, in, between; windows around today; overdue and upcoming."""
    column = pick(random, made.of("date"))
    extra = column.words.extra
    who = name_column(random, made, column)
    row = random.choice(made.rows)
    days = [d for d in made.table.dates(column.index) if d]
    if not days:
        raise WordingError
    kind = random.choices(["occurs", "before", "after", "in", "between", "last", "next", "older", "past", "future"], [44, 12, 12, 12, 6, 9, 9, 5, 11 if extra.get("past") else 2, 5])[0]
    rule, said = _when(random, kind, column.index, random.choice(days), made.table.today)
    if kind in ("past", "future") and extra.get(kind) and random.random() < 0.75:
        word = random.choice(extra[kind])
        return rule, [Wording(shape, phrase) for shape, phrase in say(random, word, row, plural(row))]
    out = [Wording("np", f"{who} {said}"), Wording("clause", f"{who} is {said}"), Wording("mod", f"with {who} {said}"), Wording("mod", f"whose {who} is {said}"), Wording("np", f"dates in {who} {said}")]
    verbs = () if kind in ("past", "future") or said.startswith(("equal", "=", "<", ">", "exactly", "dated")) else extra.get("verb", ())
    if kind == "older" and verbs:
        span = re.sub(r"^(over|more than|older than|at least) | (ago|old|ago or more)$", "", re.sub(r" (ago|old|ago or more)$", "", said))
        for verb in random.sample(verbs, min(2, len(verbs))):
            verb = re.sub(r"^(who|that) (is |are )?", "", verb)
            out += [Wording("mod", f"not {verb} {random.choice(['in', 'for', 'within', 'in the last', 'in the past', 'in over', 'for over', 'for more than'])} {span}") for _ in range(3)]
            out += [Wording("mod", f"that have not been {verb} {random.choice(['in', 'for', 'in over', 'for more than'])} {span}")]
    for _ in range(4 if verbs else 0):
        verb = random.choice(verbs)
        out += [Wording("mod", f"{verb} {said}"), Wording("mod", f"{verb} {said}")]
    if len(made.of("date")) == 1:
        out += [Wording("np", f"dates {said}"), Wording("np", f"{plural(row)} {said}"), *([Wording("mod", said)] if said[0].isalpha() and not said.startswith(("equal", "exactly", "dated")) else [])]
    return rule, out


def _when(random: Random, kind: str, index: int, day: date, today: date) -> tuple[Rule, str]:
    column = Column(index)
    if kind == "occurs":
        name = random.choice(list(phrases.OCCURS))
        return Rule(name, (column,)), random.choice(phrases.OCCURS[name])
    if kind in ("past", "future"):
        words = ["before today", "in the past", "earlier than today", "already passed", "already gone by"] if kind == "past" else ["after today", "in the future", "later than today", "still to come"]
        return Rule("DateBefore" if kind == "past" else "DateAfter", (column, Period("today"))), random.choice(words)
    if kind in ("last", "next", "older"):
        count = random.choice(DAYS)
        units = [("day", 1)] + [(u, f) for u, f in (("week", 7), ("month", 30), ("year", 365)) if count % f == 0 and count // f <= 12] * 2
        unit, factor = random.choice(units)
        number = count_text(random, count // factor) if count > factor else random.choice(["1", "one", "a", "a"])
        unit += "s" if count > factor else ""
        words = {"last": ["in the last {n} {u}", "in the past {n} {u}", "within the last {n} {u}", "over the last {n} {u}", "during the past {n} {u}", "last {n} {u}", "less than {n} {u} ago"],
                 "next": ["in the next {n} {u}", "within the next {n} {u}", "within {n} {u}", "in the coming {n} {u}", "over the next {n} {u}", "next {n} {u}"],
                 "older": ["more than {n} {u} ago", "older than {n} {u}", "over {n} {u} ago", "more than {n} {u} old", "over {n} {u} old", "{n} {u} ago or more", "at least {n} {u} ago"]}[kind]  # fmt: skip
        return Rule({"last": "LastDays", "next": "NextDays", "older": "OlderThanDays"}[kind], (column, Number(count))), random.choice(words).replace("{n}", number).replace("{u}", unit)
    size = random.choices([4, 7, 10], [28, 36, 36])[0]
    period = day.isoformat()[:size]
    spoken = date_text(random, period, today)
    if kind == "before":
        return Rule("DateBefore", (column, Period(period))), f"{random.choice(['before', 'before', 'prior to', 'earlier than', 'older than', '<'])} {spoken}"
    if kind == "after":
        if random.random() < 0.35:
            return Rule("NOT", (Rule("DateBefore", (column, Period(period))),)), random.choice(["since {p}", "since {p}", "from {p} on", "from {p} onwards", "in {p} or later" if size < 10 else "on or after {p}"]).replace("{p}", spoken)
        return Rule("DateAfter", (column, Period(period))), f"{random.choice(['after', 'after', 'later than', 'past', 'newer than', '>', 'following'])} {spoken}"
    if kind == "in":
        word = random.choice(["in", "during", "from", "within"]) if size < 10 else random.choice(["on", "exactly on", "dated", "equal to", "="])
        return Rule("DateIn", (column, Period(period))), f"{word} {spoken}"
    other = (day + timedelta(random.choice([20, 40, 100, 400]))).isoformat()[:size]
    if other == period:
        raise WordingError
    pattern = random.choice(["between {a} and {b}", "from {a} to {b}", "between {a} to {b}", "from {a} through {b}", "from {a} until {b}"])
    return Rule("DateBetween", (column, Period(period), Period(other))), pattern.replace("{a}", date_text(random, period, NO_YEAR)).replace("{b}", date_text(random, other, NO_YEAR))

