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
from limbeck.tasks.cf import phrases
from limbeck.tasks.cf.conditions import FAMILIES, Wording, WordingError
from limbeck.tasks.cf.executor import run_rule
from limbeck.tasks.cf.language import SCALES, Rule, print_rule
from limbeck.tasks.cf.tables import MadeTable, make_table

WEIGHTS = {
    "compare": 22, "between": 6, "text": 15, "value": 11, "state": 10, "rank": 13, "average": 6, "date": 13, "columns": 4,
    "scale": 8, "group": 11,
}  # fmt: skip
TYPO_RATE = 0.06
TRIES = 12


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
                text, voice = _utter(random, made, wordings)
                return _example(made, rule, text, family, voice, index)


def _example(made: MadeTable, rule: Rule, text: str, family: str, voice: str, index: int) -> Example:
    table = made.table.to_json()
    identity = content_id([text, table])
    prompt = Prompt(id=identity, text=text, context={"table": table})
    return Example(id=identity, prompt=prompt, gold=(print_rule(rule),), source="generated", meta={"family": family, "voice": voice, "index": index})


def _group(random: Random, made: MadeTable) -> tuple[Rule, list[Wording]]:
    """Two or three conditions joined, or one turned round."""
    parts: list[tuple[Rule, list[Wording]]] = []
    size = 2 if random.random() < 0.85 else 3
    for _ in range(40):
        family = random.choices(["compare", "value", "text", "date", "state", "between", "columns", "average"], [38, 28, 8, 10, 6, 4, 3, 3])[0]
        try:
            rule, wordings = FAMILIES[family](random, made)
        except WordingError:
            continue
        if rule.function not in SCALES and all(rule.arguments[0] != other.arguments[0] or random.random() < 0.4 for other, _ in parts) and rule not in [r for r, _ in parts]:
            parts.append((rule, wordings))
        if len(parts) == size:
            break
    if len(parts) < 2:
        raise WordingError
    shape = random.choice(["clause", "clause", "np", "mod"])
    texts = []
    for _, wordings in parts:
        fitting = [w for w in wordings if w.shape == shape] or [w for w in wordings if w.shape in ("clause", "np", "mod")]
        if not fitting:
            raise WordingError
        texts.append(random.choice(fitting).text)
    if random.random() < 0.62:
        rule, joins = Rule("AND", tuple(r for r, _ in parts)), [" and ", " and ", " but also ", " and also ", " with ", ", and ", " but "]
        if shape == "clause":
            joins = [" and ", " and ", " while ", " but ", " and also ", " AND "]
    else:
        rule, joins = Rule("OR", tuple(r for r, _ in parts)), [" or ", " or ", ", or ", " or else ", " OR ", " or any "]
    joined = texts[0]
    for text in texts[1:]:
        joined += random.choice(joins) + text
    if random.random() < 0.06 and rule.function == "AND":
        joined = "both " + joined
    elif random.random() < 0.08 and rule.function == "OR":
        joined = "either " + joined
    return rule, [Wording(shape, joined)]


def _utter(random: Random, made: MadeTable, wordings: list[Wording]) -> tuple[str, str]:
    """A condition's wording set into a request, then roughened."""
    wording = random.choice(wordings)
    frame = {
        "np": phrases.FRAMES, "mod": phrases.ROW_FRAMES, "clause": phrases.CLAUSE_FRAMES, "ticket": phrases.TICKET,
        "scale": phrases.SCALE_FRAMES, "whole": ["{x}"],
    }[wording.shape]  # fmt: skip
    row = random.choice(made.rows)
    rows = plural(row)
    text = random.choice(frame)
    letter = chr(65 + random.randrange(8))
    first = random.randint(1, 12)
    filled = {
        "{x}": wording.text, "{s}": wording.text if wording.shape == "clause" else _sheet(random), "{m}": wording.text,
        "{f}": wording.text, "{v}": random.choice(phrases.VERBS), "{k}": random.choice(phrases.COLORS), "{rows}": rows,
        "{row}": row, "{l}": wording.letter or letter, "{g}": wording.cells or f"{letter}{first}:{letter}{first + random.randint(3, 200)}",
        "{h}": wording.header or random.choice(["Value", "Total", "Name", "Sheet"]),
    }  # fmt: skip
    for slot, value in filled.items():
        text = text.replace(slot, value)
    if wording.shape not in ("ticket", "whole") and random.random() < 0.6:
        tail = random.choice(phrases.TAILS).replace("{k}", random.choice(phrases.COLORS)).replace("{s}", _sheet(random))
        text = random.choice(phrases.LEADS) + text.rstrip("?") + tail
    text = _roughen(random, text, wording.literals)
    return text, wording.shape


def _sheet(random: Random) -> str:
    return random.choice(["Sheet1", "Sheet 2", "Summary", "Data", "Q1", "Budget", "Report", "North", "Table 5", "Master", "Jan", "Results", "sheet2", "Overview"])


def plural(noun: str) -> str:
    """An English plural, good enough for row names."""
    if noun == "person":
        return "people"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


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
