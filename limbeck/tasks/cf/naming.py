"""Whether an utterance determines the columns of its rule, and by what: letter, header, mention, implied, only.

The generator refuses a request that would fit another column just as well: "the smallest bills" over two amounts,
"overdue" where both a status and a due date could be meant, "top 6" over five columns of numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from limbeck.tasks.cf.executor import run_rule
from limbeck.tasks.cf.language import Column, Rule, Text, columns_of
from limbeck.tasks.cf.lexicon import load_lexicon
from limbeck.tasks.cf.tables import Made, MadeTable

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_STATES = ("Blanks", "Errors", "Duplicates", "Uniques")
_DATES = ("Date", "Today", "Yesterday", "Tomorrow", "Last", "This", "Next", "Weekend", "OlderThan")


def fold(text: str) -> str:
    """Lower case, one space between words, and one at each end so that whole words can be looked for."""
    return " " + " ".join(re.findall(r"[^\W_]+(?:['’][^\W_]+)?|[%#$]", text.lower())) + " "


def find_cue(made: MadeTable, rule: Rule, text: str) -> str:
    """How the columns of the rule are named; "" when some column of it is not determined."""
    folded, used = fold(text), columns_of(rule)
    cues = [_cue(made, part, folded, text, used) for part in _leaves(rule)]
    for part in _leaves(rule):
        second = part.arguments[1] if len(part.arguments) > 1 else None
        if isinstance(second, Column) and not _is_idiom(folded):
            cues.append(_cue(made, Rule("DataBar", (second,)), folded, text, used))
    return "" if "" in cues else cues[0]


@cache
def _idioms() -> frozenset[str]:
    return frozenset(fold(said) for pair in load_lexicon()[1].values() for phrases in pair.values() for said in phrases)


def _is_idiom(folded: str) -> bool:
    """A phrase that speaks of two columns at once, as "over budget" does."""
    return any(idiom in folded for idiom in _idioms())


def _leaves(rule: Rule) -> list[Rule]:
    if rule.function in ("AND", "OR", "NOT"):
        return [leaf for part in rule.arguments if isinstance(part, Rule) for leaf in _leaves(part)]
    return [rule]


def _cue(made: MadeTable, rule: Rule, folded: str, text: str, used: Sequence[int]) -> str:
    first = columns_of(rule)[0]
    column = made.columns[first]
    if column.is_plain:
        return "only"
    if any(place in folded for place in _places(column, len(made.columns))) or re.search(rf"\b{chr(65 + first)}\d+(:|-| to )", text):
        return "letter"
    others = [c for c in made.columns if c.index not in used]
    taken = {phrase for other in others for phrase in _phrases(other) if phrase in folded}
    for kind, phrases in (("header", {fold(column.header)}), ("mention", set(map(fold, column.words.mentions))), ("implied", _implied(column))):
        if any(p in folded and not any(p in longer for longer in taken) for p in phrases):
            return kind
    if _is_alone(made, rule, folded, others):
        return "only"
    words = [w for w in fold(column.header).split() if len(w) > 2]
    shared = " ".join(" ".join(_phrases(other)) for other in others)
    return "part" if any(f" {w} " in folded and f" {w} " not in shared for w in words) else ""


def _places(column: Made, count: int) -> list[str]:
    letter = chr(97 + column.index)
    places = [f" column {letter} ", f" col {letter} ", f" {letter} column "]
    places += [f" {_ORDINALS[column.index]} column "] if column.index < len(_ORDINALS) else []
    return places + ([" last column "] if column.index == count - 1 else [])


def _phrases(column: Made) -> set[str]:
    return {fold(column.header), *map(fold, column.words.mentions)} | _implied(column)


def _implied(column: Made) -> set[str]:
    """Words that speak of a column without naming it: superlatives, verbs, what its values are called."""
    words = column.words
    said = {phrase for phrases in words.extra.values() for phrase in phrases}
    said |= {phrase for value, phrases in words.values for phrase in (value, *phrases)}
    return set(map(fold, said))


def _is_alone(made: MadeTable, rule: Rule, folded: str, others: list[Made]) -> bool:
    """No other column could carry the rule: the only one of its kind, or the only one where it marks anything."""
    literal = rule.arguments[-1]
    if isinstance(literal, Text) and fold(literal.value).strip() not in folded:
        return False  # a paraphrase: the data alone cannot say whose it is
    if rule.function in _STATES or isinstance(literal, Text):
        return any(run_rule(rule, made.table)) and not any(any(run_rule(_moved(rule, c.index), made.table)) for c in others)
    if rule.function.startswith(_DATES):
        return not any(c.words.kind == "date" for c in others)
    return not any(c.is_numeric for c in others)


def _moved(rule: Rule, index: int) -> Rule:
    return Rule(rule.function, (Column(index), *rule.arguments[1:]))
