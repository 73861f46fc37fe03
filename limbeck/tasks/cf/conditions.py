"""The generator's families of rules: each draws a rule for a table and several ways to word it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from limbeck.tasks.cf import phrases
from limbeck.tasks.cf.executor import period_bounds
from limbeck.tasks.cf.language import Column, Number, Period, Rule, Text
from limbeck.tasks.cf.lexicon import load_lexicon
from limbeck.tasks.cf.naming import fold
from limbeck.tasks.cf.numbers import DAYS, count_text, date_text, number_text, percent_text
from limbeck.tasks.cf.paraphrase import deny, say
from limbeck.tasks.cf.table import Table, is_blank, read_number, shown
from limbeck.tasks.cf.tables import Made, MadeTable, plural


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
_LOCATIONS = frozenset(["department", "region", "area", "city", "location", "warehouse", "site", "store", "country", "class", "team"])
_PLACES_OR_LABELS = {True: ("in", "from"), False: ("marked", "labelled")}
NO_YEAR = date.min  # a "today" whose year no date shares: years are always written
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


def _ticket(random: Random, made: MadeTable, column: Made, text: str, literals: tuple[str, ...] = ()) -> list[Wording]:
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


def _fit(patterns: list[str], who: str) -> list[str]:
    """The patterns that go with a column named this way."""
    if not is_place(who):
        return [p for p in patterns if not (who.endswith("s") and ("a {c}" in p or p in ("top {c}", "best {c}", "worst {c}")))]
    return [p for p in patterns if " in {c}" in p or " of {c}" in p or " by {c}" in p or "{c} is" in p or p.startswith("{c} ")] or patterns


def _is_only(made: MadeTable, column: Made) -> bool:
    return sum(c.is_numeric for c in made.columns) == 1 and column.is_numeric


def _threshold(random: Random, table: Table, column: Made) -> float:
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


def compare(random: Random, made: MadeTable) -> Drawn:
    """One number column against a number."""
    column = numeric(random, made)
    name = random.choices(list(phrases.COMPARE), [30, 20, 25, 12, 9, 4])[0]
    if random.random() < 0.05 and column.words.extra.get("neg"):
        return _signed(random, made, column)
    value = _threshold(random, made.table, column)
    if name in ("Equals", "NotEquals"):
        value = random.choice([v for v in made.table.numbers(column.index) if v is not None])
    spoken = number_text(random, value, column)
    rule = Rule(name, (Column(column.index), Number(value)))
    who = name_column(random, made, column)
    out = _comparisons(random, name, spoken, who)
    extra, key = column.words.extra, {"GreaterThan": "more", "LessThan": "less"}.get(name, "")
    if key and extra.get(key):
        for _ in range(3):
            phrase = random.choice(extra[key])
            out.append(Wording("mod", f"{phrase} {spoken}"))
    if value == 0 and name in ("GreaterThan", "LessThan"):
        word = random.choice(["positive", "greater than zero"] if name == "GreaterThan" else ["negative", "below zero", "less than zero", "minus"])
        out += [Wording("np", f"{word} {who}"), Wording("clause", f"{who} is {word}")] * 2
    if _is_only(made, column):
        bare = _phrase(random.choice(phrases.COMPARE[name]), spoken)
        out += [Wording("np", random.choice([f"values {bare}", f"anything {bare}", f"cells {bare}", f"everything {bare}", f"numbers {bare}", bare]))] * 3
    full = {"GreaterThan": "greaterThan", "LessThan": "lessThan", "Equals": "equalTo", "NotEquals": "notEqualTo"}.get(name)
    phrase = random.choice([_phrase(random.choice(phrases.COMPARE[name]), spoken)] + ([f"{full} {spoken}"] if full else []))
    return rule, out + _ticket(random, made, column, phrase)


def _the(random: Random, who: str) -> str:
    return "the " if random.random() < 0.4 and not is_place(who) and not who.startswith("the ") else ""


def _phrase(pattern: str, spoken: str) -> str:
    return pattern.replace("{n}", spoken) if "{n}" in pattern else f"{pattern} {spoken}"


def _comparisons(random: Random, name: str, spoken: str, who: str) -> list[Wording]:
    out = []
    for _ in range(3):
        bare = _phrase(random.choice(phrases.COMPARE[name]), spoken)
        out.append(Wording("np", f"{who} {bare}"))
        out.append(Wording("clause", f"{_the(random, who)}{who} {_phrase(random.choice(phrases.VERBED[name]), spoken)}"))
        verbed = _phrase(random.choice(phrases.VERBED[name]), spoken)
        if is_place(who):
            out.append(Wording("mod", f"with {who} {bare}"))
            continue
        article = "a " if not who.endswith("s") else ""
        out.append(Wording("mod", random.choice([f"with {who} {bare}", f"with {article}{who} {bare}", f"whose {who} {verbed}", f"having {who} {bare}", f"that have {who} {bare}"])))
        if who.endswith("s") and "{n}" not in bare and name not in ("Equals", "NotEquals"):
            out.append(Wording("mod", f"with {bare} {who}"))
    return out


def _signed(random: Random, made: MadeTable, column: Made) -> Drawn:
    is_negative = random.random() < 0.6
    rule = Rule("LessThan" if is_negative else "GreaterThan", (Column(column.index), Number(0)))
    word = random.choice(column.words.extra["neg" if is_negative else "pos"])
    return rule, [Wording("mod", word), Wording("np", f"{plural(random.choice(made.rows))} {word}")]


def between(random: Random, made: MadeTable) -> Drawn:
    """Inside or outside two numbers."""
    column = numeric(random, made)
    low, high = sorted((_threshold(random, made.table, column), _threshold(random, made.table, column)))
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
        if _is_only(made, column):
            out.append(Wording("np", f"{random.choice(['values', 'cells', 'anything', 'numbers'])} {phrase}"))
        if "aged over" in column.words.extra.get("more", ()):
            out.append(Wording("mod", f"aged {phrase}"))
        out += _ticket(random, made, column, phrase)
    return rule, out


def _quoted(random: Random, text: str) -> str:
    roll = random.random()
    shape = '"{}"' if roll < 0.2 else "'{}'" if roll < 0.3 else "{}"
    if random.random() < 0.2:
        text = text.lower()
    return shape.format(text)


def _texts(made: MadeTable, column: Made) -> list[str]:
    found = [shown(c) for c in made.table.column(column.index) if isinstance(c, str) and not is_blank(c) and not c.startswith("#") and read_number(c) is None]
    return [t for t in dict.fromkeys(found) if 0 < len(t) <= 40 and '"' not in t]


def text(random: Random, made: MadeTable) -> Drawn:
    """Contains, starts, ends, equals, with the text spelled out."""
    column = pick(random, made.of("name", "text", "category", "email", "id", "phone"))
    texts = _texts(made, column)
    if not texts:
        raise WordingError
    whole = random.choice(texts)
    who = name_column(random, made, column)
    name = random.choices(["TextContains", "TextStartsWith", "TextEndsWith", "TextEquals"], [48, 22, 14, 16])[0]
    parts = [p for p in whole.replace("@", " @").split() if len(p) > 2]
    if name == "TextContains":
        piece = random.choice(parts) if parts and random.random() < 0.85 else whole
        piece = piece if random.random() < 0.8 else random.choice(["Inc", "late", "test", "old", "new", "smith", "temp", "Q3", "draft", "urgent"])
        nouns, verbs = phrases.CONTAINS, phrases.CONTAINS_VERBED
    elif name == "TextStartsWith":
        piece, nouns, verbs = whole[: random.choice([1, 1, 2, 3, 4])].strip(), phrases.STARTS, phrases.STARTS_VERBED
    elif name == "TextEndsWith":
        piece, nouns, verbs = whole[-random.choice([1, 2, 3, 4, 8]) :].strip(), phrases.ENDS, phrases.ENDS_VERBED
        piece = "@" + whole.split("@")[1] if column.words.kind == "email" and random.random() < 0.5 else piece
    else:
        piece, nouns, verbs = whole, ["equal to {t}", "that equal {t}", "exactly {t}", "that say {t}", "{t}", "= {t}"], ["is {t}", "equals {t}", "= {t}", "says {t}", "is exactly {t}"]
    piece = piece.strip(" ,.-'")
    if not piece or (not piece[0].isalnum() and piece[0] != "@"):
        raise WordingError
    spoken = _quoted(random, piece)
    rule = Rule(name, (Column(column.index), Text(spoken.strip("\"'"))))
    negated = random.random() < 0.12
    if negated:
        rule = Rule("NOT", (rule,))
        verbs = ["does not contain {t}", "doesn't contain {t}", "doesn't include {t}"] if name == "TextContains" else ["does not start with {t}", "doesn't begin with {t}"] if name == "TextStartsWith" else ["does not end in {t}", "doesn't end with {t}"] if name == "TextEndsWith" else ["is not {t}", "isn't {t}", "is anything but {t}", "is different from {t}"]
        nouns = ["without {t}", "not containing {t}", "that don't contain {t}"] if name == "TextContains" else [f"where it {v}" for v in verbs]
    lits = (spoken, *spoken.split())
    out = []
    for _ in range(3):
        noun, verb = random.choice(nouns).replace("{t}", spoken), random.choice(verbs).replace("{t}", spoken)
        out += [Wording("np", f"{who} {noun}", lits), Wording("clause", f"{who} {verb}", lits)]
        out.append(Wording("mod", random.choice([f"whose {who} {verb}", f"with {who} {noun}"]), lits))
        if column.words.kind == "name" or (column.is_plain and len(made.columns) < 4):
            out.append(Wording("np", f"{random.choice(['names', 'cells', plural(random.choice(made.rows)), 'values'])} {noun}", lits))
        out += _ticket(random, made, column, noun, lits)
    return rule, out


def value(random: Random, made: MadeTable) -> Drawn:
    """A category, a code, or yes and no, named outright or paraphrased."""
    column = pick(random, made.of("category", "code", "yesno"))
    who = name_column(random, made, column)
    if column.words.kind == "yesno":
        return _yes_no(random, made, column, who)
    present = {t.lower() for t in _texts(made, column)}
    choices = [(v, said) for v, said in column.words.values if v.lower() in present]
    if not choices:
        raise WordingError
    text_value, said = random.choice(choices)
    is_location = any(m in _LOCATIONS for m in column.words.mentions)
    spelled = next(t for t in _texts(made, column) if t.lower() == text_value.lower())
    negated = random.random() < 0.22
    paraphrase = bool(said) and random.random() < 0.55
    spoken = random.choice(said) if paraphrase else _quoted(random, spelled)
    literal = spoken.strip("\"'") if not paraphrase else spelled
    rule = Rule("TextEquals", (Column(column.index), Text(literal)))
    lits = () if paraphrase else (spoken, *spoken.split())
    out: list[Wording] = []
    if negated:
        rule = Rule("NOT", (rule,))
        if paraphrase:
            row = random.choice(made.rows)
            out = [Wording(shape, said) for shape, said in deny(random, spoken, row, plural(row))]
            if not out:
                raise WordingError
        else:
            out = [Wording("clause", f"{who} {random.choice(['is not', 'isnt', 'is different from', '!=', 'is anything but', 'is other than', 'does not equal'])} {spoken}", lits) for _ in range(3)]
            out += [Wording("mod", f"not {spoken}", lits), Wording("np", f"all {who} except {spoken}", lits), Wording("mod", f"with {who} not {spoken}", lits), Wording("np", f"everything but {spoken}", lits), Wording("mod", f"other than {spoken}", lits), Wording("mod", f"not {'in ' if is_location else ''}{spoken}", lits), Wording("np", f"non {spoken} ones", lits)]
        return rule, out
    if paraphrase:
        row = random.choice(made.rows)
        out = [Wording(shape, said) for shape, said in say(random, spoken, row, plural(row))]
    else:
        out = [Wording("clause", f"{who} {random.choice(['is', 'equals', '=', 'says', 'is equal to', 'is set to', 'reads', 'shows'])} {spoken}", lits) for _ in range(2)]
        out += [Wording("mod", f"with {who} {spoken}", lits), Wording("np", f"{who} {spoken}", lits), Wording("np", f"{spoken} ones", lits), *(Wording("mod", f"{word} {spoken}", lits) for word in _PLACES_OR_LABELS[is_location]), Wording("np", f"{spoken} {plural(random.choice(made.rows))}", lits), Wording("np", f"all the {spoken}", lits), Wording("np", f"cells that say {spoken}", lits), Wording("np", f"{spoken} in {who}", lits), Wording("mod", f"that are {spoken}", lits), Wording("np", f"{spoken}", lits), Wording("np", f'"{literal}"', lits)]
        out += _ticket(random, made, column, random.choice([f"equalTo {spoken}", f"equal to {spoken}", f"{spoken}", f"equalTo = {spoken}", f"value {spoken}"]), lits)
    return rule, out


def _yes_no(random: Random, made: MadeTable, column: Made, who: str) -> Drawn:
    yes, no = column.yes_no
    is_yes = random.random() < 0.5
    cell = yes if is_yes else no
    if cell == "":
        rule = Rule("Blanks", (Column(column.index),))
    elif cell in ("1", "0"):
        rule = Rule("Equals", (Column(column.index), Number(float(cell))))
    else:
        rule = Rule("TextEquals", (Column(column.index), Text(cell)))
    said = random.choice(column.words.extra["yes" if is_yes else "no"])
    lits = (cell,) if cell else ()
    row = random.choice(made.rows)
    out = [Wording(shape, phrase) for shape, phrase in say(random, said, row, plural(row))]
    if cell not in ("x", "", "1", "0"):
        spoken = _quoted(random, cell)
        rule = Rule("TextEquals", (Column(column.index), Text(spoken.strip("\"'")))) if random.random() < 0.4 else rule
        if rule.arguments[1] != Text(cell):
            return rule, [Wording("clause", f"{who} is {spoken}", lits), Wording("clause", f"{who} = {spoken}", lits), Wording("np", f"{spoken} in {who}", lits), Wording("mod", f"with {who} {spoken}", lits)]
    return rule, out


def state(random: Random, made: MadeTable) -> Drawn:
    """Blanks, filled cells, errors, duplicates, uniques."""
    name = random.choices(["Blanks", "FILLED", "Errors", "Duplicates", "Uniques"], [34, 8, 17, 28, 13])[0]
    patterns = {"Blanks": phrases.BLANK, "FILLED": phrases.FILLED, "Errors": phrases.ERRORS, "Duplicates": phrases.DUPLICATES, "Uniques": phrases.UNIQUES}[name]
    columns = made.columns if name not in ("Duplicates", "Uniques") else [c for c in made.columns if c.words.kind not in ("yesno",)]
    if name == "Errors":
        columns = [c for c in columns if any(isinstance(v, str) and v.startswith("#") for v in made.table.column(c.index))] or [c for c in columns if random.random() < 0.1]
    elif name in ("Blanks", "FILLED"):
        columns = [c for c in columns if any(map(is_blank, made.table.column(c.index)))] or [c for c in columns if random.random() < 0.1]
    column = pick(random, columns)
    who = name_column(random, made, column)
    if name in ("Blanks", "FILLED") and column.words.kind == "yesno":
        patterns = [p for p in patterns if "blank" in p or "empty" in p or "filled" in p]
    rule = Rule("Blanks" if name == "FILLED" else name, (Column(column.index),))
    rule = Rule("NOT", (rule,)) if name == "FILLED" else rule
    out = []
    for _ in range(4):
        said = random.choice(_fit(patterns, who)).replace("{c}", who)
        shape = "clause" if " is " in said else "mod" if said.startswith(("where", "who", "with", "lacking", "that", "shar", "haven")) else "np"
        out.append(Wording(shape, said.removeprefix("where ")))
    others = [c for c in made.columns if c is not column]
    alone = name == "Errors" and not any(isinstance(v, str) and v.startswith("#") for c in others for v in made.table.column(c.index))
    alone |= name == "Blanks" and not any(is_blank(v) for c in others for v in made.table.column(c.index))
    if alone or column.is_plain:
        bare = {"Blanks": ["blank cells", "empty cells", "blanks", "missing values", "cells that are empty"], "FILLED": ["cells that are not blank", "non-empty cells"], "Errors": ["errors", "cells with errors", "error cells", "broken formulas", "#N/A cells"], "Duplicates": ["duplicates", "duplicate values", "repeated values"], "Uniques": ["unique values"]}[name]
        out.append(Wording("np", random.choice(bare)))
    ticket = {"Blanks": "blank", "FILLED": "not blank", "Errors": "error", "Duplicates": random.choice(["duplicate", "duplicate values", "Duplicate", "duplicates"]), "Uniques": "unique values"}[name]
    return rule, out + _ticket(random, made, column, ticket)


def rank(random: Random, made: MadeTable) -> Drawn:
    """Top and bottom n, one, or a share."""
    column = numeric(random, made) if random.random() < 0.93 else pick(random, made.of("date"))
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
            said = random.choice(_fit(phrases.TOP_PERCENT if is_top else phrases.BOTTOM_PERCENT, who))
            out.append(Wording("np", said.replace("{p}", spoken).replace("{c}", who).replace("{r}", plural(row))))
        if superlatives:
            out.append(Wording("np", f"the {spoken} {random.choice(superlatives)} {plural(row)}"))
        if _is_only(made, column):
            out.append(Wording("np", f"{'top' if is_top else 'bottom'} {spoken}"))
        return rule, out + _ticket(random, made, column, f"{'top' if is_top else 'bottom'} {spoken}")
    count = 1 if random.random() < 0.45 else random.choice([2, 3, 3, 4, 5, 5, 6, 7, 8, 10, 10, 15])
    rule = Rule("Top" if is_top else "Bottom", (Column(column.index), Number(count)))
    if count == 1:
        for _ in range(3):
            said = random.choice(_fit(phrases.HIGHEST if is_top else phrases.LOWEST, who))
            out.append(Wording("whole" if said.startswith(("who", "which")) else "np", said.replace("{c}", who).replace("{x}", row)))
        for _ in range(3 if superlatives else 0):
            word = random.choice(superlatives)
            out += [Wording("np", f"the {word} {row}"), Wording("np", random.choice([f"the {word} one", f"{word} {row}", f"our {word} {row}", f"the {word} of all {plural(row)}"]))]
        return rule, out + _ticket(random, made, column, random.choice(["top value", "highest value", "topItems top 1", "max value"] if is_top else ["bottom value", "lowest value", "bottomItems 1", "min value"]))
    spoken = count_text(random, count)
    for _ in range(3):
        said = random.choice(_fit(phrases.TOP if is_top else phrases.BOTTOM, who))
        out.append(Wording("np", said.replace("{n}", spoken).replace("{c}", who).replace("{r}", plural(row))))
    for _ in range(3 if superlatives else 0):
        word = random.choice(superlatives)
        out.append(Wording("np", random.choice([f"the {spoken} {word} {plural(row)}", f"{spoken} {word} {plural(row)}", f"the {word} {spoken} {plural(row)}", f"{word} {spoken}", f"{spoken} {word}"])))
    if _is_only(made, column):
        out.append(Wording("np", random.choice([f"{'top' if is_top else 'bottom'} {spoken}", f"{spoken} {'highest' if is_top else 'lowest'} values"])))
    if count == 10:
        out += [Wording("np", f"{random.choice(['top', 'highest', 'biggest'] if is_top else ['bottom', 'lowest', 'smallest'])} {random.choice(['items', 'values', 'entries'])} {random.choice(['in', 'of', 'by'])} {who}")]
        out += [Wording("ticket", "topItems" if is_top else "bottomItems", (), w.cells, w.letter, w.header) for w in _ticket(random, made, column, "")]
    return rule, out + _ticket(random, made, column, f"{'top' if is_top else 'bottom'} {spoken} {random.choice(['', 'values', 'items', 'numbers'])}")


def average(random: Random, made: MadeTable) -> Drawn:
    """Above or below the mean, or the mean and some standard deviations."""
    column = numeric(random, made)
    who, is_above = name_column(random, made, column), random.random() < 0.55
    deviations = random.choice([1, 2, 2, 3]) if random.random() < 0.28 else 0
    name = "AboveAverage" if is_above else "BelowAverage"
    patterns = {(True, False): phrases.ABOVE, (False, False): phrases.BELOW, (True, True): phrases.ABOVE_STD, (False, True): phrases.BELOW_STD}[is_above, bool(deviations)]
    out = []
    for _ in range(3):
        said = random.choice(_fit(patterns, who)).replace("{c}", who)
        if deviations:
            said = said.replace("{k}", random.choice(phrases.DEVIATIONS[deviations]))
        out.append(Wording("clause" if " is " in said else "mod" if said.startswith("with ") else "np", said))
    side = "above" if is_above else "below"
    superlatives = column.words.extra.get("more" if is_above else "less", ())
    if superlatives and not deviations:
        out.append(Wording("mod", f"{random.choice(superlatives)} {random.choice(['average', 'the average', 'the mean', 'the average ' + random.choice(made.rows)])}"))
    if _is_only(made, column) and not deviations:
        out += [Wording("np", random.choice([f"{side} average values", f"values {side} average", f"{side} average", f"anything {side} the mean"]))] * 2
    rule = Rule(name, (Column(column.index), Number(deviations)) if deviations else (Column(column.index),))
    tickets = [] if deviations else _ticket(random, made, column, random.choice([f"{side} average", f"{side}Average", f"values {side} average", f"{side} average numbers"]))
    return rule, out + tickets


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
        unit, factor = ("weeks", 7) if count in (14, 21, 28, 42) and random.random() < 0.35 else ("days", 1)
        number = count_text(random, count // factor)
        words = {"last": ["in the last {n} {u}", "in the past {n} {u}", "within the last {n} {u}", "over the last {n} {u}", "during the past {n} {u}", "last {n} {u}", "less than {n} {u} ago"],
                 "next": ["in the next {n} {u}", "within the next {n} {u}", "within {n} {u}", "in the coming {n} {u}", "over the next {n} {u}", "next {n} {u}"],
                 "older": ["more than {n} {u} ago", "older than {n} {u}", "over {n} {u} ago", "more than {n} {u} old", "over {n} {u} old"]}[kind]  # fmt: skip
        return Rule({"last": "LastDays", "next": "NextDays", "older": "OlderThanDays"}[kind], (column, Number(count))), random.choice(words).replace("{n}", number).replace("{u}", unit)
    size = random.choices([4, 7, 10], [28, 36, 36])[0]
    period = day.isoformat()[:size]
    spoken = date_text(random, period, today)
    if kind == "before":
        return Rule("DateBefore", (column, Period(period))), f"{random.choice(['before', 'before', 'prior to', 'earlier than', 'older than', '<'])} {spoken}"
    if kind == "after":
        if random.random() < 0.25:
            (period_bounds(period, today)[0] - timedelta(1)).isoformat()[:size]
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


def _unranged(random: Random, made: MadeTable, column: Made) -> str:
    """A column's name that is no cell range: nobody compares C2:C9 with D2:D9 in words."""
    names = (name_column(random, made, column) for _ in range(6))
    return next((name for name in names if not re.search(r"[A-Z]\d", name)), f"column {chr(65 + column.index)}")


def columns(random: Random, made: MadeTable) -> Drawn:
    """Two columns against each other, row by row."""
    _, pairs, _ = load_lexicon()
    numbers = [c for c in made.columns if c.is_numeric]
    if len(numbers) < 2:
        raise WordingError
    known = [(a, b, said) for (left, right), said in pairs.items() for a in numbers for b in numbers if a.words.headers[0] == left and b.words.headers[0] == right]
    if known and random.random() < 0.6:
        left, right, said = random.choice(known)
        key = random.choice([k for k in ("more", "less", "equal") if said.get(k)])
        rule = Rule({"more": "GreaterThan", "less": "LessThan", "equal": "Equals"}[key], (Column(left.index), Column(right.index)))
        word = random.choice(said[key])
        return rule, [Wording("mod", word)] * 2 + [Wording("np", f"{plural(random.choice(made.rows))} {word}"), Wording("np", word)]
    left, right = random.sample(numbers, 2)
    if left.words.kind != right.words.kind and random.random() < 0.85:
        raise WordingError
    name = random.choices(["GreaterThan", "LessThan", "Equals", "NotEquals", "GreaterThanEqual", "LessThanEqual"], [38, 32, 10, 8, 6, 6])[0]
    other = _unranged(random, made, right)
    patterns = [p for p in phrases.VERBED[name] if "{n}" not in p]
    rule = Rule(name, (Column(left.index), Column(right.index)))
    who = _unranged(random, made, left)
    out = [Wording("clause", f"{who} {random.choice(patterns)} {_the(random, other)}{other}") for _ in range(3)]
    bare = [p for p in phrases.COMPARE[name] if "{n}" not in p]
    out += [Wording("np", f"{who} {random.choice(bare)} {_the(random, other)}{other}"), Wording("mod", f"with {who} {random.choice(bare)} {other}"), Wording("mod", f"with more {who} than {other}" if name == "GreaterThan" and not is_place(who) and not is_place(other) else f"with {who} {random.choice(bare)} {other}")]
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
    if _is_only(made, column):
        out += [Wording("scale", random.choice(words)), Wording("scale", f"{random.choice(words)} on the numbers")]
    return Rule(name, (Column(column.index),)), out + _ticket(random, made, column, random.choice(words))


FAMILIES: dict[str, Callable[[Random, MadeTable], Drawn]] = {
    "compare": compare, "between": between, "text": text, "value": value, "state": state, "rank": rank, "average": average,
    "date": when, "columns": columns, "scale": scale,
}  # fmt: skip
