"""Examples that need no download: a table, a rule that marks some of it, and English for the rule in one of many voices.

`generate_one(seed, index)` is a pure function. A family of rules makes (rule, wordings); a wording has a shape that says
which request frames fit it: "np" a noun phrase ("sales over 500"), "mod" what follows a row's name ("priced above 50"),
"clause" a sentence ("price is over 50"), "ticket" the clipped style of a work order, "whole" a finished request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from random import Random

from limbeck.records import Example, Prompt, content_id
from limbeck.tasks.cf import phrases, quantities, texts
from limbeck.tasks.cf.compounds import COMPOUNDS
from limbeck.tasks.cf.executor import run_rule
from limbeck.tasks.cf.language import SCALES, Rule, columns_of, print_rule
from limbeck.tasks.cf.moments import when
from limbeck.tasks.cf.naming import find_cue
from limbeck.tasks.cf.paraphrase import PERSONS
from limbeck.tasks.cf.tables import MadeTable, make_table, plural
from limbeck.tasks.cf.wording import Drawn, Wording, WordingError

FAMILIES: dict[str, Callable[[Random, MadeTable], Drawn]] = {
    "compare": quantities.compare, "between": quantities.between, "rank": quantities.rank, "average": quantities.average,
    "columns": quantities.columns, "scale": quantities.scale, "special": quantities.special, "text": texts.text,
    "value": texts.value, "state": texts.state, "date": when, **COMPOUNDS,
}  # fmt: skip
WEIGHTS = {
    "compare": 22, "between": 6, "text": 15, "value": 13, "state": 10, "rank": 14, "average": 6, "date": 17, "columns": 7,
    "scale": 8, "special": 7, "group": 9, "compound": 8, "two_texts": 3, "either": 4, "possessive": 4,
}  # fmt: skip
TYPO_RATE = 0.06
TRIES = 12
SAYINGS = 5  # wordings tried before another rule is drawn


def generate_one(seed: int, index: int) -> Example:
    """One example with gold; its id is a hash of what it says."""
    digest = hashlib.sha256(f"cf:{seed}:{index}".encode()).digest()
    random = Random(int.from_bytes(digest[:8], "big"))
    while True:
        family = random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        for _ in range(TRIES):
            made = make_table(random)
            try:
                rule, wordings = _group(random, made) if family == "group" else FAMILIES[family](random, made)
            except WordingError:
                continue
            marks = run_rule(rule, made.table)
            if (any(marks) and (not all(marks) or rule.function in SCALES)) or random.random() < 0.03:
                for wording in random.sample(wordings, min(SAYINGS, len(wordings))):
                    text = _utter(random, made, wording, family)
                    cue = find_cue(made, rule, text)
                    if cue:
                        meta = {"family": family, "voice": wording.shape, "column_by": cue, "index": index}
                        return _example(made, rule, _roughen(random, text, wording.literals), meta)


def _example(made: MadeTable, rule: Rule, text: str, meta: dict[str, object]) -> Example:
    table = made.table.to_json()
    identity = content_id([text, table])
    prompt = Prompt(id=identity, text=text, context={"table": table})
    return Example(id=identity, prompt=prompt, gold=(print_rule(rule),), source="generated", meta=meta)


def _group(random: Random, made: MadeTable) -> tuple[Rule, list[Wording]]:
    """Two or three conditions joined, or one turned round."""
    parts: list[tuple[Rule, list[Wording]]] = []
    size = 2 if random.random() < 0.85 else 3
    for _ in range(40):
        family = random.choices(["compare", "value", "text", "date", "state", "between", "columns", "average", "special"], [36, 28, 8, 12, 6, 4, 4, 3, 6])[0]
        try:
            rule, wordings = FAMILIES[family](random, made)
        except WordingError:
            continue
        if rule.function not in SCALES and all(_goes_with(rule, other) for other, _ in parts):
            parts.append((rule, wordings))
        if len(parts) == size:
            break
    if len(parts) < 2:
        raise WordingError
    shapes = [s for s in ("clause", "clause", "np", "mod") if all(any(w.shape == s for w in wordings) for _, wordings in parts)]
    if not shapes:
        raise WordingError
    shape = random.choice(shapes)
    chosen = [random.choice([w for w in wordings if w.shape == shape]) for _, wordings in parts]
    said = [w.text for w in chosen]
    if random.random() < 0.62:
        rule, joins = Rule("AND", tuple(r for r, _ in parts)), [" and ", " and ", " but also ", " and also ", ", and ", " but "]
        if shape == "clause":
            joins = [" and ", " and ", " while ", " but ", " and also ", " AND "]
    else:
        rule, joins = Rule("OR", tuple(r for r, _ in parts)), [" or ", " or ", ", or ", " or else ", " OR ", " or any "]
    joined = said[0]
    for more in said[1:]:
        joined += random.choice([j for j in joins if j != " or any " or shape == "np"]) + more
    if random.random() < 0.06 and rule.function == "AND":
        joined = "both " + joined
    elif random.random() < 0.08 and rule.function == "OR":
        joined = "either " + joined
    return rule, [Wording(shape, joined, tuple(lit for w in chosen for lit in w.literals))]


_ALL_FRAMES = {
    "np": phrases.FRAMES, "mod": phrases.ROW_FRAMES, "clause": phrases.CLAUSE_FRAMES, "ticket": phrases.TICKET,
    "scale": phrases.SCALE_FRAMES, "whole": ["{x}"],
}  # fmt: skip
_RELATIVES = ("with", "whose", "that", "who", "having", "without", "lacking", "sharing", "haven't", "has")
_OPENERS = ("all ", "everything", "everyone", "anything", "the ")
_MISFITS = (("the the ", "the "), ("which are that ", "that "), ("which are without ", "without "), ("where where ", "where "), ("whose the ", "whose "))


def _goes_with(rule: Rule, other: Rule) -> bool:
    """Two conditions worth joining: on different columns, or the two ends of one range."""
    if columns_of(rule)[0] != columns_of(other)[0]:
        return not set(columns_of(rule)) & set(columns_of(other))
    up, down = ("GreaterThan", "GreaterThanEqual"), ("LessThan", "LessThanEqual")
    return (rule.function in up and other.function in down) or (rule.function in down and other.function in up)


def _frames(wording: Wording, family: str, row: str) -> list[str]:
    """The request frames that this wording can stand in."""
    text, frames = wording.text, _ALL_FRAMES[wording.shape]
    blocked: tuple[str, ...] = ()
    if wording.shape == "np" and family in ("rank", "state"):
        blocked = ("all {x}", "any {x}", "every one", "are the {x}", "just the {x}", "where are")
    elif wording.shape == "np" and text.startswith(_OPENERS):
        blocked = ("all {x}", "any {x}", "every one", "the {x}", "only {x}")
    elif wording.shape == "mod":
        blocked = ("anyone", "everyone", "who is") if row not in PERSONS else ("anything", "items {m}", "entries")
        blocked += ("are {m}", "is {m}") if text.split()[0] in _RELATIVES else ()
        blocked += ("every {row}", "each {row}", "any {row}", "anyone", "everyone", "anything") if text.startswith(("that ", "who ")) else ()
    elif wording.shape == "ticket" and text.startswith(("that ", "with ", "which ", "without ", "where ", "not ")):
        return ["Apply conditional formatting to cells {f} in range {g}", "Style cells {f} in {g}", "Color values {f} in column {l}", "Highlight cells {f} in column {h} on sheet {s}"]
    elif wording.shape == "scale":
        is_verb = text.split()[0] in ("shade", "color", "colour", "make", "grade", "show")
        if is_verb and not text.startswith(("color scale", "colour scale", "color gradient", "colour gradient")):
            return ["{x}", "please {x}", "can you {x}", "I want to {x}", "could you {x}", "we should {x}"]
        blocked = ("a {x}",) if text.split()[0] in ("a", "data", "bars", "icons", "arrows", "traffic") or text.split(" on ")[0].split(" for ")[0].endswith("s") else ()
    return [f for f in frames if not any(b in f for b in blocked)]


def _utter(random: Random, made: MadeTable, wording: Wording, family: str) -> str:
    """A condition's wording set into a request, neat as yet."""
    row = random.choice(made.rows)
    rows = plural(row)
    text = random.choice(_frames(wording, family, row))
    has_color = "{k}" in text
    letter = chr(65 + random.randrange(8))
    first = random.randint(1, 12)
    filled = {
        "{x}": wording.text, "{s}": wording.text if wording.shape == "clause" else _sheet(random), "{m}": wording.text,
        "{f}": wording.text, "{v}": random.choice(phrases.VERBS), "{k}": random.choice(phrases.COLORS), "{rows}": rows,
        "{row}": row, "{l}": wording.letter or letter, "{g}": wording.cells or f"{letter}{first}:{letter}{first + random.randint(3, 200)}",
        "{h}": wording.header or random.choice(["Value", "Total", "Name", "Sheet"]),
    }  # fmt: skip
    for slot, filling in filled.items():
        text = text.replace(slot, filling)
    if wording.shape not in ("ticket", "whole") and random.random() < 0.6:
        tail = random.choice([t for t in phrases.TAILS if not has_color or "{k}" not in t]).replace("{k}", random.choice(phrases.COLORS)).replace("{s}", _sheet(random))
        is_order = text.split()[0] in phrases.VERBS
        text = random.choice([lead for lead in phrases.LEADS if is_order or not lead.endswith("wants me to ")]) + text.rstrip("?") + tail
    for wrong, right in _MISFITS:
        text = text.replace(wrong, right)
    return " ".join(text.split())


def _sheet(random: Random) -> str:
    return random.choice(["Sheet1", "Sheet 2", "Summary", "Data", "Q1", "Budget", "Report", "North", "Table 5", "Master", "Jan", "Results", "sheet2", "Overview"])


def _roughen(random: Random, text: str, literals: tuple[str, ...]) -> str:
    """Case, punctuation and, at a set rate, one slip of the finger outside literals."""
    roll = random.random()
    if roll < 0.45:
        text = text[:1].upper() + text[1:]
    elif roll < 0.75 and not literals:
        text = text.lower()
    elif roll < 0.77 and not literals:
        text = text.upper()
    if random.random() < 0.1 and not text.endswith((".", "?", "!")):
        text += "."
    if random.random() < TYPO_RATE:
        text = _slip(random, text, literals)
    return " ".join(text.split())


def _slip(random: Random, text: str, literals: tuple[str, ...]) -> str:
    words = text.split(" ")
    spots = [i for i, w in enumerate(words) if len(w) > 4 and w.isalpha() and not any(w in lit for lit in literals)]
    if not spots:
        return text
    at = random.choice(spots)
    word = words[at]
    cut = random.randrange(1, len(word) - 1)
    slips: list[Callable[[], str]] = [
        lambda: word[:cut] + word[cut + 1 :], lambda: word[:cut] + word[cut] + word[cut:],
        lambda: word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :],
    ]  # fmt: skip
    words[at] = random.choice(slips)()
    return " ".join(words)
