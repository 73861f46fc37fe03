"""CODEFUSION's published CF file, brought into our language; measured on, never trained on, never shipped.

Its spellings vary and some labels are wrong, so the gold is recomputed by running the gold rule. Every row that cannot
be used is counted under a reason.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import lru_cache
from typing import Any

from limbeck.data.sources import read_source
from limbeck.records import Example, Prompt, content_id
from limbeck.tasks.cf.executor import run_rule
from limbeck.tasks.cf.language import Column, Number, Rule, RuleError, Text, check, print_rule
from limbeck.tasks.cf.lexer import lex
from limbeck.tasks.cf.table import Table

TODAY = "2024-06-15"
ALIASES = {
    "top": "Top", "bottom": "Bottom", "toppercent": "TopPercent", "bottompercent": "BottomPercent", "duplicate": "Duplicates",
    "duplicates": "Duplicates", "unique": "Uniques", "uniques": "Uniques", "startswith": "TextStartsWith", "textstartswith": "TextStartsWith",
    "endswith": "TextEndsWith", "textendswith": "TextEndsWith", "greaterthanequals": "GreaterThanEqual", "lessthanequals": "LessThanEqual",
    **{n.lower(): n for n in ("GreaterThan", "GreaterThanEqual", "LessThan", "LessThanEqual", "Equals", "NotEquals", "Between", "NotBetween",
       "TextEquals", "TextContains", "Blanks", "Errors", "AboveAverage", "BelowAverage", "ColorScale", "DataBar", "IconSet", "LastMonth", "AND", "OR", "NOT")},
}  # fmt: skip
CUES = {
    "GreaterThan": "greater|over|above|more than|exceed|>|higher", "GreaterThanEqual": "least|greater than or equal|or more|>=|minimum",
    "LessThan": "less|under|below|lower|<|fewer", "LessThanEqual": "most|less than or equal|or less|<=|maximum", "Between": "between|from|to|range",
    "Top": "top|highest|max|largest|biggest|most", "TopPercent": "top|highest", "Bottom": "bottom|lowest|min|smallest|least",
    "BottomPercent": "bottom|lowest", "AboveAverage": "above.*average|average", "BelowAverage": "below.*average|average", "Duplicates": "duplicate|repeat",
    "Uniques": "unique", "Blanks": "blank|empty", "Errors": "error", "ColorScale": "scale|colou?r.*(high|low)|gradient|max to min|heat",
    "DataBar": "bar|gradient fill", "IconSet": "icon|arrow|traffic|indicator|rating", "TextStartsWith": "start|begin", "TextEndsWith": "end",
}  # fmt: skip


class _Dropped(Exception):
    """A row that cannot be used; the message is the reason."""


@lru_cache(maxsize=1)
def load_official() -> tuple[list[Example], dict[str, int]]:
    """Usable rows, and how many were dropped under which reason. Raises LimbeckError where the file is absent."""
    raw = read_source("cf-official", "codefusion/CFRuleBenchmarks.json")
    examples: list[Example] = []
    dropped: Counter[str] = Counter()
    for row in json.loads(raw)["train"]:
        try:
            examples.append(_example(row))
        except _Dropped as reason:
            dropped[str(reason)] += 1
    return examples, dict(dropped)


def _example(row: dict[str, Any]) -> Example:
    headers, cells = row["Data"][0], row["Data"][1:]
    if not cells:
        raise _Dropped("header_only_table")
    rule = normalise(row["Code"], len(headers))
    table = {"headers": [str(h) for h in headers], "rows": cells, "today": TODAY}
    try:
        marks = run_rule(rule, Table.from_json(table))
    except RuleError as problem:
        raise _Dropped("unrunnable") from problem
    identity = content_id([row["ID"], row["NL Utterance"], row["Code"]])
    prompt = Prompt(id=identity, text=row["NL Utterance"].strip(), context={"table": table})
    meta = {"determined": is_determined(prompt.text, rule), "informative": any(marks) and not all(marks)}
    return Example(id=identity, prompt=prompt, gold=(print_rule(rule),), source="official", meta=meta)


def normalise(code: str, columns: int) -> Rule:
    """A published rule as one of ours: spelling, explicit column (c[1]; c[0] where there is one column), defaults."""
    text = code.strip()
    if "ExcelScript" in text or "formula2" in text:
        raise _Dropped("code_in_rule")
    found = re.fullmatch(r"(\w+)\((.*)\)", text, re.DOTALL)
    if not found or found[1].lower() not in ALIASES:
        raise _Dropped("unknown_function")
    name, inside = ALIASES[found[1].lower()], found[2].strip()
    if name in ("AND", "OR", "NOT"):
        return _checked(Rule(name, tuple(normalise(part, columns) for part in _split(inside))))
    parts = [p.strip().strip("\"'") for p in _split(inside)] if inside else []
    column = Column(1 if columns > 1 else 0)
    if parts and (explicit := re.fullmatch(r"c\[(\d+)\]", parts[0])):
        column, parts = Column(int(explicit[1])), parts[1:]
    if name in ("Top", "Bottom"):
        spoken = parts[0] if parts else "10"
        if spoken.endswith("%"):
            name, spoken = name + "Percent", spoken[:-1]
        return _checked(Rule(name, (column, _number(spoken))))
    if name.startswith("Text"):
        if not parts or not ",".join(parts).strip():
            raise _Dropped("empty_literal")
        if re.fullmatch(r"\$?[A-Z]{1,2}\$?\d+", ",".join(parts)):
            raise _Dropped("cell_reference")
        return _checked(Rule(name, (column, Text(", ".join(parts)))))
    return _checked(Rule(name, (column, *map(_number, parts))))


def _number(text: str) -> Number:
    if re.search(r"\$?[A-Z]{1,2}\$?\d+", text):
        raise _Dropped("cell_reference")
    try:
        return Number(float(text.replace(",", "")))
    except ValueError as problem:
        raise _Dropped("unreadable_number" if text.strip() else "empty_literal") from problem


def _checked(rule: Rule) -> Rule:
    try:
        check(rule)
    except RuleError as problem:
        raise _Dropped("does_not_fit_signature") from problem
    return rule


def _split(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


def is_determined(utterance: str, rule: Rule) -> bool:
    """Whether an utterance determines its rule, by a mechanical test.

    Every literal of the rule must stand in the utterance (a number as digits or words, a text as written; the 1 of "the
    highest" may stay unsaid), and so must a cue word of each of its functions. The column is not asked for: the
    published tables have one that counts.
    """
    low = utterance.lower()
    numbers = {w.value for w in lex(utterance, Table.from_json({"headers": [], "rows": [], "today": TODAY}).today)}
    for argument in rule.arguments:
        if isinstance(argument, Rule):
            if not is_determined(utterance, argument):
                return False
        elif isinstance(argument, Number):
            unsaid = rule.function in ("Top", "Bottom") and argument.value == 1 and not re.search(r"values|items\b", low)
            if argument.value not in numbers and not unsaid:
                return False
        elif isinstance(argument, Text) and argument.value.lower() not in low:
            return False
    cue = CUES.get(rule.function)
    return cue is None or re.search(cue, low) is not None
