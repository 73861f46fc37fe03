"""Families about numbers: comparisons, ranges, ranks, averages, two columns against each other, and scales."""

from __future__ import annotations

import re
from random import Random

from limbeck.tasks.cf import phrases
from limbeck.tasks.cf.language import Column, Number, Rule
from limbeck.tasks.cf.lexicon import load_lexicon
from limbeck.tasks.cf.numbers import count_text, is_year, number_text, percent_text
from limbeck.tasks.cf.paraphrase import say
from limbeck.tasks.cf.table import is_blank
from limbeck.tasks.cf.tables import Made, MadeTable, plural
from limbeck.tasks.cf.wording import (
    Drawn,
    Wording,
    WordingError,
    article_for,
    draw_threshold,
    fit_patterns,
    is_only_number,
    is_place,
    name_column,
    name_without_range,
    numeric,
    pick,
    ticket_wordings,
)

_COUNTED = ("in ", "on ", "sold", "left", "scored", "conceded", "won", "lost", "played", "booked", "enrolled", "passed", "out")


def compare(random: Random, made: MadeTable) -> Drawn:
    """One number column against a number."""
    column = numeric(random, made)
    name = random.choices(list(phrases.COMPARE), [30, 20, 25, 12, 9, 4])[0]
    value = draw_threshold(random, made.table, column)
    if name in ("Equals", "NotEquals"):
        value = random.choice([v for v in made.table.numbers(column.index) if v is not None])
    spoken = number_text(random, value, column)
    rule = Rule(name, (Column(column.index), Number(value)))
    who = name_column(random, made, column)
    out = _comparisons(random, name, spoken, who)
    if column.words.decimals == 0 and name not in ("NotEquals", "Equals") and (who.endswith("s") or who.startswith(_COUNTED)):
        out += [Wording("np", f"{_phrase(random.choice(phrases.COMPARE[name]), spoken)} {who}") for _ in range(2)]
    extra, key = column.words.extra, {"GreaterThan": "more", "LessThan": "less"}.get(name, "")
    if key and extra.get(key):
        for _ in range(3):
            phrase = random.choice(extra[key])
            out.append(Wording("mod", f"{phrase} {spoken}"))
    if value == 0 and name in ("GreaterThan", "LessThan"):
        word = random.choice(["positive", "greater than zero"] if name == "GreaterThan" else ["negative", "below zero", "less than zero", "minus"])
        out += [Wording("np", f"{word} {who}"), Wording("clause", f"{who} is {word}")] * 2
    if is_only_number(made, column):
        bare = _phrase(random.choice(phrases.COMPARE[name]), spoken)
        out += [Wording("np", random.choice([f"values {bare}", f"anything {bare}", f"cells {bare}", f"everything {bare}", f"numbers {bare}", bare]))] * 3
    full = {"GreaterThan": "greaterThan", "LessThan": "lessThan", "Equals": "equalTo", "NotEquals": "notEqualTo"}.get(name)
    phrase = random.choice([_phrase(random.choice(phrases.COMPARE[name]), spoken)] + ([f"{full} {spoken}"] if full else []))
    return rule, out + ticket_wordings(random, made, column, phrase)


def _phrase(pattern: str, spoken: str) -> str:
    return pattern.replace("{n}", spoken) if "{n}" in pattern else f"{pattern} {spoken}"


def _comparisons(random: Random, name: str, spoken: str, who: str) -> list[Wording]:
    out = []
    for _ in range(3):
        bare = _phrase(random.choice(phrases.COMPARE[name]), spoken)
        out.append(Wording("np", f"{who} {bare}"))
        out.append(Wording("clause", f"{article_for(random, who)}{who} {_phrase(random.choice(phrases.VERBED[name]), spoken)}"))
        verbed = _phrase(random.choice(phrases.VERBED[name]), spoken)
        if is_place(who):
            out.append(Wording("mod", f"with {who} {bare}"))
            continue
        article = "a " if not who.endswith("s") else ""
        out.append(Wording("mod", random.choice([f"with {who} {bare}", f"with {article}{who} {bare}", f"whose {who} {verbed}", f"having {who} {bare}", f"that have {who} {bare}"])))
        if who.endswith("s") and "{n}" not in bare and name not in ("Equals", "NotEquals"):
            out.append(Wording("mod", f"with {bare} {who}"))
    return out


def special(random: Random, made: MadeTable) -> Drawn:
    """What some columns of numbers are called when they are nothing, whole, a year, a count, or a number of times."""
    kinds = {"zero": _zero, "full": _whole, "part": _whole, "verb": _year, "count": _count, "times": _times, "neg": _signed}
    found = [(c, key) for c in made.columns if c.is_numeric for key in kinds if c.words.extra.get(key) and (key != "verb" or is_year(c))]
    if not found:
        raise WordingError
    column, key = random.choice(found)
    return kinds[key](random, made, column)


def _zero(random: Random, made: MadeTable, column: Made) -> Drawn:
    if 0 not in made.table.numbers(column.index):
        raise WordingError
    who, row = random.choice(column.words.mentions), random.choice(made.rows)
    called = column.words.extra["zero"]
    out = [Wording(*shaped) for phrase in random.sample(called, min(2, len(called))) for shaped in say(random, phrase, row, plural(row))]
    out += [Wording("mod", f"with {random.choice(['zero', '0', 'zero', 'exactly zero'])} {who}"), Wording("clause", f"{who} is {random.choice(['zero', '0', 'nil', 'nothing'])}")]
    if not any(map(is_blank, made.table.column(column.index))):
        out += [Wording("mod", f"with no {who}"), Wording("mod", f"with no {who} at all"), Wording("mod", f"without any {who}")]
    return Rule("Equals", (Column(column.index), Number(0))), out


def _whole(random: Random, made: MadeTable, column: Made) -> Drawn:
    """Done, or not yet done, of a share."""
    numbers = [n for n in made.table.numbers(column.index) if n is not None]
    top = 1.0 if max(numbers, default=0) <= 1.5 else 100.0
    is_full = random.random() < 0.5 or not column.words.extra.get("part")
    if (is_full and top not in numbers) or not column.words.extra.get("full"):
        raise WordingError
    row = random.choice(made.rows)
    phrase = random.choice(column.words.extra["full" if is_full else "part"])
    return Rule("Equals" if is_full else "LessThan", (Column(column.index), Number(top))), [Wording(*shaped) for shaped in say(random, phrase, row, plural(row))]


def _year(random: Random, made: MadeTable, column: Made) -> Drawn:
    """Years held as numbers: "published after 2010", "from 2016 or earlier"."""
    years = [int(n) for n in made.table.numbers(column.index) if n is not None]
    if not years:
        raise WordingError
    year = random.choice(years) + random.choice([0, 0, 0, 1, -1])
    verb, row = random.choice(column.words.extra["verb"]), random.choice(made.rows)
    name, patterns = random.choice([
        ("GreaterThan", ["{v} after {y}", "{v} after {y}", "{v} later than {y}", "newer than {y}", "{v} past {y}"]),
        ("LessThan", ["{v} before {y}", "{v} before {y}", "{v} earlier than {y}", "older than {y}", "pre-{y}", "{v} prior to {y}"]),
        ("GreaterThanEqual", ["{v} since {y}", "{v} in {y} or later", "from {y} or later", "from {y} on", "{y} or newer", "from {y} onwards", "{v} in or after {y}"]),
        ("LessThanEqual", ["from {y} or earlier", "{v} in {y} or earlier", "{y} or older", "{v} up to {y}", "{v} in or before {y}", "no newer than {y}"]),
        ("Equals", ["{v} in {y}", "from {y}", "{v} in {y}", "from the year {y}", "of {y}"]),
        ("Between", ["{v} between {y} and {z}", "{v} from {y} to {z}", "from {y} to {z}", "between {y} and {z}"]),
    ])  # fmt: skip
    later = year + random.choice([2, 3, 5, 8, 10, 20])
    said = [re.sub(r"\b(from|of|that|who) (from|of|in)\b", r"\2", p.replace("{v}", verb).replace("{y}", str(year)).replace("{z}", str(later))) for p in patterns]
    numbers = (Number(year), Number(later)) if name == "Between" else (Number(year),)
    return Rule(name, (Column(column.index), *numbers)), [Wording("mod", s) for s in said] + [Wording("np", f"{plural(row)} {s}") for s in said]


def _count(random: Random, made: MadeTable, column: Made) -> Drawn:
    """How many of something a row has, in front of its name: "two-bed flats"."""
    rule, spoken = count_in_front(random, made, column)
    row = random.choice(made.rows)
    return rule, [Wording("np", f"{spoken} {plural(row)}"), Wording("np", f"{spoken} ones"), Wording("np", f"{spoken}s")]


def count_in_front(random: Random, made: MadeTable, column: Made) -> tuple[Rule, str]:
    """The rule and the words of "two-bed", "3 bedroom"."""
    numbers = [int(n) for n in made.table.numbers(column.index) if n]
    if not numbers:
        raise WordingError
    number, noun = random.choice(numbers), random.choice(column.words.extra["count"])
    return Rule("Equals", (Column(column.index), Number(number))), f"{count_text(random, number)}{random.choice(['-', '-', ' '])}{noun}"


def _times(random: Random, made: MadeTable, column: Made) -> Drawn:
    """How often something happened: "lost at least 5 times"."""
    name = random.choice([n for n in phrases.COMPARE if n != "NotEquals"])
    number = draw_threshold(random, made.table, column)
    verb, row = random.choice(column.words.extra["times"]), random.choice(made.rows)
    bare = random.choice([p for p in phrases.COMPARE[name] if p[0].isalpha() or "{n}" in p])
    bare = random.choice(["", "exactly "]) + count_text(random, int(number)) if name == "Equals" else _phrase(bare, count_text(random, int(number)))
    said = [f"that {verb} {bare} times", f"who {verb} {bare} times", f"that {verb} {bare}", f"{verb} {bare} times"]
    return Rule(name, (Column(column.index), Number(int(number)))), [Wording("mod", s) for s in said] + [Wording("np", f"{plural(row)} {said[3]}")]


def _signed(random: Random, made: MadeTable, column: Made) -> Drawn:
    is_negative = random.random() < 0.6 or not column.words.extra.get("pos")
    rule = Rule("LessThan" if is_negative else "GreaterThan", (Column(column.index), Number(0)))
    word = random.choice(column.words.extra["neg" if is_negative else "pos"])
    return rule, [Wording("mod", word), Wording("np", f"{plural(random.choice(made.rows))} {word}")]


def between(random: Random, made: MadeTable) -> Drawn:
    """Inside or outside two numbers."""
    column = numeric(random, made)
    low, high = sorted((draw_threshold(random, made.table, column), draw_threshold(random, made.table, column)))
    if low == high:
        raise WordingError
    outside = random.random() < 0.15
    rule = Rule("NotBetween" if outside else "Between", (Column(column.index), Number(low), Number(high)))
    who = name_column(random, made, column)
    out = []
    for _ in range(3):
        phrase = random.choice([p for p in (phrases.NOT_BETWEEN if outside else phrases.BETWEEN) if low >= 0 or "{a}-{b}" not in p])
        phrase = phrase.replace("{a}", number_text(random, low, column)).replace("{b}", number_text(random, high, column))
        out += [Wording("np", f"{who} {phrase}"), Wording("clause", f"{who} is {phrase}"), Wording("mod", f"with {who} {phrase}")]
        if is_only_number(made, column):
            out.append(Wording("np", f"{random.choice(['values', 'cells', 'anything', 'numbers'])} {phrase}"))
        if "aged over" in column.words.extra.get("more", ()):
            out.append(Wording("mod", f"aged {phrase}"))
        out += ticket_wordings(random, made, column, phrase)
    return rule, out


def rank(random: Random, made: MadeTable) -> Drawn:
    """Top and bottom n, one, or a share."""
    column = numeric(random, made) if random.random() < 0.87 else pick(random, [c for c in made.of("date") if c.words.extra.get("high") or c.words.extra.get("low")])
    who, extra = name_column(random, made, column), column.words.extra
    is_top, share = random.random() < 0.6, random.random() < 0.28
    superlatives = extra.get("high" if is_top else "low", ())
    row = random.choice(made.rows)
    if column.words.kind == "date":
        count = random.choice([1, 1, 1, 3, 5])
        if not superlatives:
            raise WordingError
        word = random.choice(superlatives)
        rule = Rule("Top" if is_top else "Bottom", (Column(column.index), Number(count)))
        text = f"the {word} {who}" if count == 1 else f"the {count_text(random, count)} {word} {plural(row)}"
        return rule, [Wording("np", text), Wording("np", f"the {word} {row}" if count == 1 else text)]
    out: list[Wording] = []
    if share and column.words.kind != "date":
        percent = random.choice([5, 10, 10, 10, 15, 20, 25, 30, 33, 40, 50, 1, 2])
        rule = Rule("TopPercent" if is_top else "BottomPercent", (Column(column.index), Number(percent)))
        spoken = percent_text(random, percent)
        for _ in range(3):
            said = random.choice(fit_patterns(phrases.TOP_PERCENT if is_top else phrases.BOTTOM_PERCENT, who))
            out.append(Wording("np", said.replace("{p}", spoken).replace("{c}", who).replace("{r}", plural(row))))
        if superlatives:
            out.append(Wording("np", f"the {spoken} {random.choice(superlatives)} {plural(row)}"))
        if is_only_number(made, column):
            out.append(Wording("np", f"{'top' if is_top else 'bottom'} {spoken}"))
        return rule, out + ticket_wordings(random, made, column, f"{'top' if is_top else 'bottom'} {spoken}")
    count = 1 if random.random() < 0.45 else random.choice([2, 3, 3, 4, 5, 5, 6, 7, 8, 10, 10, 15])
    rule = Rule("Top" if is_top else "Bottom", (Column(column.index), Number(count)))
    if count == 1:
        for _ in range(3):
            said = random.choice(fit_patterns(phrases.HIGHEST if is_top else phrases.LOWEST, who))
            out.append(Wording("whole" if said.startswith(("who", "which")) else "np", said.replace("{c}", who).replace("{x}", row)))
        for _ in range(3 if superlatives else 0):
            word = random.choice(superlatives)
            out += [Wording("np", f"the {word} {row}"), Wording("np", random.choice([f"the {word} one", f"{word} {row}", f"our {word} {row}", f"the {word} of all {plural(row)}"]))]
        return rule, out + ticket_wordings(random, made, column, random.choice(["top value", "highest value", "topItems top 1", "max value"] if is_top else ["bottom value", "lowest value", "bottomItems 1", "min value"]))
    spoken = count_text(random, count)
    for _ in range(3):
        said = random.choice(fit_patterns(phrases.TOP if is_top else phrases.BOTTOM, who))
        out.append(Wording("np", said.replace("{n}", spoken).replace("{c}", who).replace("{r}", plural(row))))
    for _ in range(3 if superlatives else 0):
        word = random.choice(superlatives)
        out.append(Wording("np", random.choice([f"the {spoken} {word} {plural(row)}", f"{spoken} {word} {plural(row)}", f"the {word} {spoken} {plural(row)}", f"{word} {spoken}", f"{spoken} {word}"])))
    if is_only_number(made, column):
        out.append(Wording("np", random.choice([f"{'top' if is_top else 'bottom'} {spoken}", f"{spoken} {'highest' if is_top else 'lowest'} values"])))
    if count == 10:
        out += [Wording("np", f"{random.choice(['top', 'highest', 'biggest'] if is_top else ['bottom', 'lowest', 'smallest'])} {random.choice(['items', 'values', 'entries'])} {random.choice(['in', 'of', 'by'])} {who}")]
        out += [Wording("ticket", "topItems" if is_top else "bottomItems", (), w.cells, w.letter, w.header) for w in ticket_wordings(random, made, column, "")]
    return rule, out + ticket_wordings(random, made, column, f"{'top' if is_top else 'bottom'} {spoken} {random.choice(['', 'values', 'items', 'numbers'])}")


def average(random: Random, made: MadeTable) -> Drawn:
    """Above or below the mean, or the mean and some standard deviations."""
    column = numeric(random, made)
    who, is_above = name_column(random, made, column), random.random() < 0.55
    deviations = random.choice([1, 2, 2, 3]) if random.random() < 0.28 else 0
    name = "AboveAverage" if is_above else "BelowAverage"
    patterns = {(True, False): phrases.ABOVE, (False, False): phrases.BELOW, (True, True): phrases.ABOVE_STD, (False, True): phrases.BELOW_STD}[is_above, bool(deviations)]
    out = []
    for _ in range(3):
        said = random.choice(fit_patterns(patterns, who)).replace("{c}", who)
        if deviations:
            said = said.replace("{k}", random.choice(phrases.DEVIATIONS[deviations]))
        out.append(Wording("clause" if " is " in said else "mod" if said.startswith("with ") else "np", said))
    side = "above" if is_above else "below"
    superlatives = column.words.extra.get("more" if is_above else "less", ())
    if superlatives and not deviations:
        out.append(Wording("mod", f"{random.choice(superlatives)} {random.choice(['average', 'the average', 'the mean', 'the average ' + random.choice(made.rows)])}"))
    if is_only_number(made, column) and not deviations:
        out += [Wording("np", random.choice([f"{side} average values", f"values {side} average", f"{side} average", f"anything {side} the mean"]))] * 2
    rule = Rule(name, (Column(column.index), Number(deviations)) if deviations else (Column(column.index),))
    tickets = [] if deviations else ticket_wordings(random, made, column, random.choice([f"{side} average", f"{side}Average", f"values {side} average", f"{side} average numbers"]))
    return rule, out + tickets


def _better(random: Random, left: Made, right: Made) -> Drawn:
    """Better at one thing than at another."""
    name, one, other = random.choice(["GreaterThan", "GreaterThan", "LessThan", "Equals"]), left.words.extra["better"][0], right.words.extra["better"][0]
    said = {
        "GreaterThan": ["better at {a} than {b}", "better at {a} than at {b}", "who did better in {a} than in {b}", "stronger in {a} than {b}", "with a higher {a} mark than {b}", "whose {a} beats their {b}"],
        "LessThan": ["worse at {a} than {b}", "worse at {a} than at {b}", "who did worse in {a} than in {b}", "weaker in {a} than in {b}", "with a lower {a} mark than {b}"],
        "Equals": ["as good at {a} as at {b}", "equally good at {a} and {b}", "with the same mark in {a} and {b}", "who got the same in {a} and {b}"],
    }[name]  # fmt: skip
    return Rule(name, (Column(left.index), Column(right.index))), [Wording("mod", s.replace("{a}", one).replace("{b}", other)) for s in said]


def columns(random: Random, made: MadeTable) -> Drawn:
    """Two columns against each other, row by row."""
    _, pairs, _ = load_lexicon()
    numbers = [c for c in made.columns if c.is_numeric]
    if len(numbers) < 2:
        raise WordingError
    known = [(a, b, said) for (left, right), said in pairs.items() for a in numbers for b in numbers if a.words.headers[0] == left and b.words.headers[0] == right]
    if known and random.random() < 0.75:
        left, right, said = random.choice(known)
        key = random.choice([k for k in ("more", "less", "equal") if said.get(k)])
        rule = Rule({"more": "GreaterThan", "less": "LessThan", "equal": "Equals"}[key], (Column(left.index), Column(right.index)))
        word = random.choice(said[key])
        return rule, [Wording("mod", word)] * 2 + [Wording("np", f"{plural(random.choice(made.rows))} {word}"), Wording("np", word)]
    rivals = [c for c in numbers if c.words.extra.get("better")]
    if len(rivals) > 1 and random.random() < 0.7:
        return _better(random, *random.sample(rivals, 2))
    left, right = random.sample(numbers, 2)
    if left.words.kind != right.words.kind and random.random() < 0.85:
        raise WordingError
    name = random.choices(["GreaterThan", "LessThan", "Equals", "NotEquals", "GreaterThanEqual", "LessThanEqual"], [38, 32, 10, 8, 6, 6])[0]
    other = name_without_range(random, made, right)
    patterns = [p for p in phrases.VERBED[name] if "{n}" not in p]
    rule = Rule(name, (Column(left.index), Column(right.index)))
    who = name_without_range(random, made, left)
    out = [Wording("clause", f"{who} {random.choice(patterns)} {article_for(random, other)}{other}") for _ in range(3)]
    bare = [p for p in phrases.COMPARE[name] if "{n}" not in p]
    out += [Wording("np", f"{who} {random.choice(bare)} {article_for(random, other)}{other}"), Wording("mod", f"with {who} {random.choice(bare)} {other}"), Wording("mod", f"with more {who} than {other}" if name == "GreaterThan" and not is_place(who) and not is_place(other) else f"with {who} {random.choice(bare)} {other}")]
    if name in ("GreaterThan", "LessThan") and who.endswith("s") and other.endswith("s") and not is_place(who) and not is_place(other):
        word = "more" if name == "GreaterThan" else "fewer"
        out += [Wording("np", f"{word} {who} than {other}")] * 2 + [Wording("mod", f"that have {word} {who} than {other}"), Wording("mod", f"with {word} {who} than {other}")]
    if name == "NotEquals":
        out.append(Wording("clause", f"{who} and {other} {random.choice(['do not match', 'differ', 'are different', 'dont match'])}"))
    if name == "Equals":
        out.append(Wording("clause", f"{who} and {other} {random.choice(['match', 'are the same', 'are equal'])}"))
    return rule, out


def scale(random: Random, made: MadeTable) -> Drawn:
    """Colour scale, data bars, icons: they format every number of a column."""
    column = numeric(random, made)
    name = random.choices(["ColorScale", "DataBar", "IconSet"], [42, 28, 30])[0]
    who = name_column(random, made, column)
    out = [Wording("scale", random.choice(phrases.SCALES[name]).replace("{c}", who)) for _ in range(4)]
    words = {"ColorScale": ["color scale", "colour scale", "heat map", "Red-Yellow-Green color scale", "green-white color scale", "color gradient", "color scales", "3 color scale", "blue-white color scale", "high to low coloring", "min to max coloring"], "DataBar": ["data bar", "data bars", "blue data bars", "gradient fill", "solid fill bars", "data bar gradient"], "IconSet": ["icon set", "icon sets", "5 arrows", "3 traffic lights", "directional icons", "icon set with 4 arrows", "percent icon set", "arrows", "indicators", "ratings icons"]}[name]
    if is_only_number(made, column):
        out += [Wording("scale", random.choice(words)), Wording("scale", f"{random.choice(words)} on the numbers")]
    return Rule(name, (Column(column.index),)), out + ticket_wordings(random, made, column, random.choice(words))

