"""Wordings in which a cell's text stands before or after the row's name: "Sales staff earning over 5k", "Uma's tasks",
"either red or blue ones", "urgent and still open". The texts are any the table holds, known to the lexicon or not."""

from __future__ import annotations

from random import Random

from limbeck.tasks.cf.language import Column, Rule, Text
from limbeck.tasks.cf.moments import when
from limbeck.tasks.cf.paraphrase import sort_of
from limbeck.tasks.cf.quantities import compare, count_in_front
from limbeck.tasks.cf.table import is_blank, read_number, shown
from limbeck.tasks.cf.tables import Made, MadeTable, plural
from limbeck.tasks.cf.wording import Drawn, Wording, WordingError, name_column, pick


def _texts(made: MadeTable, column: Made) -> list[str]:
    found = [shown(c) for c in made.table.column(column.index) if isinstance(c, str) and not is_blank(c) and not c.startswith("#") and read_number(c) is None]
    return [t for t in dict.fromkeys(found) if 0 < len(t) <= 30 and '"' not in t]


def _spell(random: Random, text: str) -> str:
    return random.choice([text, text, text, text.lower(), f'"{text}"', text.capitalize()])


def _is(random: Random, column: Made, text: str) -> tuple[Rule, str]:
    """A rule that a cell says a text, and how the text is spelled or paraphrased."""
    said = dict((v.lower(), s) for v, s in column.words.values).get(text.lower(), ())
    adjectives = [s for s in said if sort_of(s) == "adjective"]
    if adjectives and random.random() < 0.35:
        return Rule("TextEquals", (Column(column.index), Text(text))), random.choice(adjectives)
    spoken = _spell(random, text)
    return Rule("TextEquals", (Column(column.index), Text(spoken.strip('"')))), spoken


def compound(random: Random, made: MadeTable) -> Drawn:
    """A text and a number or date, the text as an adjective of the row."""
    counted = [c for c in made.columns if c.words.extra.get("count")]
    if counted and random.random() < 0.5:
        column = random.choice(counted)
        first, spoken = count_in_front(random, made, column)
    else:
        column = pick(random, [c for c in made.of("category", "code") if _texts(made, c)])
        first, spoken = _is(random, column, random.choice(_texts(made, column)))
    second, wordings = (when if made.of("date") and random.random() < 0.25 else compare)(random, made)
    row = random.choice(made.rows)
    rows = plural(row)
    mods = [w for w in wordings if w.shape == "mod"]
    nouns = [w for w in wordings if w.shape == "np" and not w.text.startswith("the ")]
    clauses = [w for w in wordings if w.shape == "clause"]
    if not mods or not nouns or not clauses:
        raise WordingError
    mod, noun, clause = random.choice(mods).text, random.choice(nouns).text, random.choice(clauses).text
    lits = (spoken, *spoken.split(), *(x for w in wordings for x in w.literals))
    who = name_column(random, made, column)
    texts = [
        f"{spoken} {rows} {mod}", f"{spoken} {rows} {mod}", f"{spoken} {rows} where {clause}", f"{spoken} {noun}", f"{spoken} with {noun}",
        f"{rows} in {spoken} {mod}", f"{spoken} {mod}", f"{spoken} ones {mod}", f"{rows} that are {spoken} and {mod}", f"{who} {spoken} and {noun}",
        f"{spoken} and {noun}", f"{mod.removeprefix('with ')} and {spoken}", f"{noun} that are {spoken}", f"{rows} {mod} that are {spoken}",
        f"{noun} for {spoken}", f"{noun} in {spoken}", f"{rows} which are {spoken} but {mod}", f"{who} = {spoken} and {clause}",
    ]  # fmt: skip
    parts = (first, second) if random.random() < 0.9 else (second, first)
    return Rule("AND", parts), [Wording("np", t, lits) for t in texts]


def two_texts(random: Random, made: MadeTable) -> Drawn:
    """Two columns' texts at once: "high priority ones that are still open"."""
    usable = [c for c in made.of("category", "code", "yesno") if _texts(made, c)]
    if len(usable) < 2:
        raise WordingError
    a, b = random.sample(usable, 2)
    first, spoken = _is(random, a, random.choice(_texts(made, a)))
    row = random.choice(made.rows)
    rows = plural(row)
    if b.words.kind == "yesno":
        side = random.choice(["yes", "no"])
        cell = b.yes_no[side == "no"]
        said = random.choice(b.words.extra[side])
        if not cell or cell in ("1", "0") or sort_of(said) not in ("adjective", "finite"):
            raise WordingError
        second, other = Rule("TextEquals", (Column(b.index), Text(cell))), said
    else:
        second, other = _is(random, b, random.choice(_texts(made, b)))
    negated = random.random() < 0.2 and b.words.kind != "yesno"
    second = Rule("NOT", (second,)) if negated else second
    link = "not" if negated else random.choice(["", "", "also ", "still "])
    lits = (spoken, *spoken.split(), other, *other.split())
    texts = [
        f"{spoken} {rows} that are {link} {other}", f"{spoken} and {link} {other}", f"{spoken} {rows} {link} {other}", f"{rows} that are {spoken} and {link} {other}",
        f"{name_column(random, made, a)} {spoken} and {link} {other}", f"{spoken} but {link} {other}", f"{spoken} ones that are {link} {other}",
        f"{spoken} {a.words.mentions[0]} that's {link} {other}", f"{spoken} + {link} {other}",
    ]  # fmt: skip
    return Rule("AND", (first, second)), [Wording("np", t, lits) for t in texts]


def either(random: Random, made: MadeTable) -> Drawn:
    """Two texts of one column."""
    column = pick(random, [c for c in made.of("category", "code", "name") if len(_texts(made, c)) > 2])
    one, other = (_is(random, column, t) for t in random.sample(_texts(made, column), 2))
    row = random.choice(made.rows)
    rows = plural(row)
    who, a, b = name_column(random, made, column), one[1], other[1]
    lits = (a, b, *a.split(), *b.split())
    np = [
        f"{a} or {b} ones", f"either {a} or {b}", f"{a} or {b} {who}", f"{rows} that are {a} or {b}", f"{a} and {b} {rows}", f"{who} {a} or {b}",
        f"{a} or {b}", f"anything {a} or {b}", f"{rows} in {a} or {b}", f"{rows} from {a} or {b}", f"{a} as well as {b}", f"both {a} and {b} ones", f"{a}/{b} ones",
        f"{who} that are {a} or {b}", f"{who}: {a} or {b}", f"all {a} and all {b}",
    ]  # fmt: skip
    clause = [f"{who} is {a} or {b}", f"{who} is either {a} or {b}", f"{who} equals {a} or {b}", f"it is {a} or {b}", f"{who} is {a} or {who} is {b}"]
    return Rule("OR", (one[0], other[0])), [Wording("np", t, lits) for t in np] + [Wording("clause", t, lits) for t in clause]


def possessive(random: Random, made: MadeTable) -> Drawn:
    """Whose rows they are: "Uma's tasks", "books by Hart", "assigned to Raj", "belongs to Acme"."""
    column = pick(random, made.of("name", "category"))
    texts = _texts(made, column)
    if not texts:
        raise WordingError
    whole = random.choice(texts)
    part = random.choice([p for p in whole.split() if len(p) > 1] or [whole])
    is_part = part != whole and random.random() < 0.5
    spoken = (part if is_part else whole) if random.random() < 0.7 else (part if is_part else whole).lower()
    name = "TextContains" if is_part else "TextEquals"
    row = random.choice(made.rows)
    rows = plural(row)
    lits = (spoken, *spoken.split())
    texts = [
        f"{spoken}'s {rows}", f"{spoken}'s stuff", f"{spoken}'s ones", f"{rows} by {spoken}", f"{rows} of {spoken}", f"{rows} for {spoken}", f"{rows} from {spoken}",
        f"{rows} belonging to {spoken}", f"everything from {spoken}", f"everything for {spoken}", f"the {spoken} {rows}", f"anything to do with {spoken}", f"the {spoken} rows",
        f"only {spoken}", f"{spoken} entries", f"all of {spoken}'s", f"rows about {spoken}", f"{spoken} only",
    ]  # fmt: skip
    return Rule(name, (Column(column.index), Text(spoken))), [Wording("np", t, lits) for t in texts]


COMPOUNDS = {"compound": compound, "two_texts": two_texts, "either": either, "possessive": possessive}
