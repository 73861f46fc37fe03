"""Families about texts and cells: contains, a category or yes and no in other words, blanks, errors, duplicates."""

from __future__ import annotations

from random import Random

from limbeck.tasks.cf import phrases
from limbeck.tasks.cf.language import Column, Number, Rule, Text
from limbeck.tasks.cf.paraphrase import deny, say, sort_of
from limbeck.tasks.cf.table import is_blank
from limbeck.tasks.cf.tables import Made, MadeTable, plural
from limbeck.tasks.cf.wording import (
    Drawn,
    Wording,
    WordingError,
    fit_patterns,
    name_column,
    pick,
    quote_text,
    texts_in,
    ticket_wordings,
)

_LOCATIONS = frozenset(["department", "region", "area", "city", "location", "warehouse", "site", "store", "country", "class", "team"])
_PLACES_OR_LABELS = {True: ("in", "from"), False: ("marked", "labelled")}


def text(random: Random, made: MadeTable) -> Drawn:
    """Contains, starts, ends, equals, with the text spelled out."""
    column = pick(random, made.of("name", "text", "category", "email", "id", "phone"))
    texts = texts_in(made, column)
    if not texts:
        raise WordingError
    whole = random.choice(texts)
    who = name_column(random, made, column)
    name = random.choices(["TextContains", "TextStartsWith", "TextEndsWith", "TextEquals"], [48, 22, 14, 16])[0]
    parts = [p for p in whole.replace("@", " @").split() if len(p) > 2]
    if name == "TextContains":
        piece = random.choice(parts) if parts and random.random() < 0.85 else whole
        piece = piece.removeprefix("@") if random.random() < 0.6 else piece
        piece = piece if random.random() < 0.8 else random.choice(["Inc", "late", "test", "old", "new", "smith", "temp", "Q3", "draft", "urgent"])
        nouns, verbs = phrases.CONTAINS, phrases.CONTAINS_VERBED
    elif name == "TextStartsWith":
        piece, nouns, verbs = whole[: random.choice([1, 1, 2, 3, 4])].strip(), phrases.STARTS, phrases.STARTS_VERBED
    elif name == "TextEndsWith":
        piece, nouns, verbs = whole[-random.choice([1, 2, 3, 4, 8]) :].strip(), phrases.ENDS, phrases.ENDS_VERBED
        piece = random.choice(["@", ""]) + whole.split("@")[1] if column.words.kind == "email" and random.random() < 0.5 else piece
    else:
        piece, nouns, verbs = whole, ["equal to {t}", "that equal {t}", "exactly {t}", "that say {t}", "{t}", "= {t}"], ["is {t}", "equals {t}", "= {t}", "says {t}", "is exactly {t}"]
    piece = piece.strip(" ,.-'")
    if not piece or (not piece[0].isalnum() and piece[0] != "@"):
        raise WordingError
    spoken = quote_text(random, piece)
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
        out += ticket_wordings(random, made, column, noun, lits)
    if name == "TextContains" and not negated:
        out += _inside(random, made, column, spoken, lits)
    return rule, out


def _inside(random: Random, made: MadeTable, column: Made, spoken: str, lits: tuple[str, ...]) -> list[Wording]:
    """Further ways to say that a cell holds a text somewhere."""
    who = column.words.mentions[0]
    article = random.choice(["", "", "a ", "an ", "the word "])
    said = [f"with {article}{spoken} in the {who}", f"that have {article}{spoken} in the {who}", f"with {spoken} somewhere in the {who}", f"with {article}{spoken} in it"]
    out = [Wording("mod", s, lits) for s in said]
    if column.words.kind == "email":
        out += [Wording("np", s, lits) for s in (f"{spoken} addresses", f"{spoken} emails", f"{spoken} accounts", f"everyone at {spoken}", f"anyone with a {spoken} address")]
    elif column.words.kind == "name":
        rows = plural(random.choice(made.rows))
        out += [Wording("np", s, lits) for s in (f"{rows} called {spoken}", f"any kind of {spoken}", f"{rows} with {spoken} in the name", f"all sorts of {spoken}", f"{spoken} {rows}")]
    return out


def value(random: Random, made: MadeTable) -> Drawn:
    """A category, a code, or yes and no, named outright or paraphrased."""
    column = pick(random, made.of("category", "code", "yesno"))
    who = name_column(random, made, column)
    if column.words.kind == "yesno":
        return _yes_no(random, made, column, who)
    present = {t.lower() for t in texts_in(made, column)}
    choices = [(v, said) for v, said in column.words.values if v.lower() in present]
    if not choices:
        raise WordingError
    text_value, said = random.choice(choices)
    is_location = any(m in _LOCATIONS for m in column.words.mentions)
    spelled = next(t for t in texts_in(made, column) if t.lower() == text_value.lower())
    negated = random.random() < 0.22
    paraphrase = bool(said) and random.random() < 0.55
    spoken = random.choice(said) if paraphrase else quote_text(random, spelled)
    literal = spoken.strip("\"'") if not paraphrase else spelled
    rule = Rule("TextEquals", (Column(column.index), Text(literal)))
    lits = () if paraphrase else (spoken, *spoken.split())
    out: list[Wording] = []
    if negated:
        rule = Rule("NOT", (rule,))
        if paraphrase:
            row = random.choice(made.rows)
            out = [Wording(shape, said) for shape, said in deny(random, spoken, row, plural(row))]
            out += [Wording("mod", f"not {spoken} yet"), Wording("mod", f"still not {spoken}")] if out and sort_of(spoken) == "adjective" else []
            if not out:
                raise WordingError
        else:
            out = [Wording("clause", f"{who} {random.choice(['is not', 'isnt', 'is different from', '!=', 'is anything but', 'is other than', 'does not equal'])} {spoken}", lits) for _ in range(3)]
            out += [Wording("mod", f"not {spoken}", lits), Wording("np", f"all {who} except {spoken}", lits), Wording("mod", f"with {who} not {spoken}", lits), Wording("np", f"everything but {spoken}", lits), Wording("mod", f"other than {spoken}", lits), Wording("mod", f"not {'in ' if is_location else ''}{spoken}", lits), Wording("np", f"non {spoken} ones", lits), Wording("mod", f"not {spoken} yet", lits), Wording("mod", f"not yet {spoken}", lits), Wording("mod", f"that are still not {spoken}", lits), Wording("np", f"not {spoken}", lits), Wording("mod", f"that haven't been {spoken}", lits), Wording("mod", f"outside {'the ' if random.random() < 0.4 else ''}{spoken}" if is_location else f"that aren't {spoken}", lits), Wording("np", f"everything not {spoken}", lits), Wording("np", f"anything other than {spoken}", lits)]
        return rule, out
    if paraphrase:
        row = random.choice(made.rows)
        out = [Wording(shape, said) for shape, said in say(random, spoken, row, plural(row))]
    else:
        out = [Wording("clause", f"{who} {random.choice(['is', 'equals', '=', 'says', 'is equal to', 'is set to', 'reads', 'shows'])} {spoken}", lits) for _ in range(2)]
        out += [Wording("mod", f"with {who} {spoken}", lits), Wording("np", f"{who} {spoken}", lits), Wording("np", f"{spoken} ones", lits), *(Wording("mod", f"{word} {spoken}", lits) for word in _PLACES_OR_LABELS[is_location]), Wording("np", f"{spoken} {plural(random.choice(made.rows))}", lits), Wording("np", f"all the {spoken}", lits), Wording("np", f"cells that say {spoken}", lits), Wording("np", f"{spoken} in {who}", lits), Wording("mod", f"that are {spoken}", lits), Wording("np", f"{spoken}", lits), Wording("np", f'"{literal}"', lits)]
        out += ticket_wordings(random, made, column, random.choice([f"equalTo {spoken}", f"equal to {spoken}", f"{spoken}", f"equalTo = {spoken}", f"value {spoken}"]), lits)
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
        spoken = quote_text(random, cell)
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
        said = random.choice(fit_patterns(patterns, who)).replace("{c}", who)
        shape = "clause" if " is " in said else "mod" if said.startswith(("where", "who", "with", "lacking", "that", "shar", "haven")) else "np"
        out.append(Wording(shape, said.removeprefix("where ")))
    others = [c for c in made.columns if c is not column]
    alone = name == "Errors" and not any(isinstance(v, str) and v.startswith("#") for c in others for v in made.table.column(c.index))
    alone |= name == "Blanks" and not any(is_blank(v) for c in others for v in made.table.column(c.index))
    if alone or column.is_plain:
        bare = {"Blanks": ["blank cells", "empty cells", "blanks", "missing values", "cells that are empty"], "FILLED": ["cells that are not blank", "non-empty cells"], "Errors": ["errors", "cells with errors", "error cells", "broken formulas", "#N/A cells"], "Duplicates": ["duplicates", "duplicate values", "repeated values"], "Uniques": ["unique values"]}[name]
        out.append(Wording("np", random.choice(bare)))
    ticket = {"Blanks": "blank", "FILLED": "not blank", "Errors": "error", "Duplicates": random.choice(["duplicate", "duplicate values", "Duplicate", "duplicates"]), "Uniques": "unique values"}[name]
    return rule, out + ticket_wordings(random, made, column, ticket)

