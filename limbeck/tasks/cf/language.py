"""The rule language: its functions, a parser and a printer. Printing a rule and parsing it again gives the same rule.

    rule     = NAME "(" argument ("," argument)* ")"
    argument = "c[" digits "]" | number | '"' text '"' | period | "today" | rule
    period   = YYYY | YYYY-MM | YYYY-MM-DD
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

MAX_TEXT, MAX_DEPTH = 2000, 8
_COMPARE = ("column", "number_or_column")
_OCCURS = ["Today", "Yesterday", "Tomorrow", "LastWeek", "ThisWeek", "NextWeek", "LastMonth", "ThisMonth", "NextMonth", "LastYear", "ThisYear", "NextYear", "Weekend"]

# Each function's arguments in order. "rules" stands for two or more rules.
SIGNATURES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("GreaterThan", "GreaterThanEqual", "LessThan", "LessThanEqual", "Equals", "NotEquals"), _COMPARE),
    "Between": ("column", "number_or_column", "number_or_column"),
    "NotBetween": ("column", "number_or_column", "number_or_column"),
    **dict.fromkeys(("TextEquals", "TextContains", "TextStartsWith", "TextEndsWith"), ("column", "text")),
    **dict.fromkeys(("Blanks", "Errors", "Duplicates", "Uniques"), ("column",)),
    "Top": ("column", "count"), "Bottom": ("column", "count"),
    "TopPercent": ("column", "percent"), "BottomPercent": ("column", "percent"),
    "AboveAverage": ("column", "optional_number"), "BelowAverage": ("column", "optional_number"),
    **dict.fromkeys(("DateBefore", "DateAfter", "DateIn"), ("column", "period")),
    "DateBetween": ("column", "period", "period"),
    **dict.fromkeys(_OCCURS, ("column",)),
    **dict.fromkeys(("LastDays", "NextDays", "OlderThanDays"), ("column", "count")),
    **dict.fromkeys(("ColorScale", "DataBar", "IconSet"), ("column",)),
    "AND": ("rules",), "OR": ("rules",), "NOT": ("rule",),
}  # fmt: skip
SCALES = frozenset({"ColorScale", "DataBar", "IconSet"})

_TOKEN = re.compile(
    r"\s*(?:(?P<column>c\[(\d{1,4})\])|(?P<period>\d{4}-\d{2}(?:-\d{2})?)|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r'|"(?P<text>(?:[^"\\]|\\.)*)"|(?P<name>[A-Za-z]+)|(?P<mark>[(),]))'
)


class RuleError(ValueError):
    """A text that is no rule, or a rule that cannot run on this table."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column, counted from 0."""

    index: int


@dataclass(frozen=True, slots=True)
class Number:
    """A number."""

    value: float


@dataclass(frozen=True, slots=True)
class Text:
    """A text, compared without regard to case."""

    value: str


@dataclass(frozen=True, slots=True)
class Period:
    """A year, a month, a day, or "today"."""

    text: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A function applied to its arguments."""

    function: str
    arguments: tuple[Argument, ...]


Argument = Column | Number | Text | Period | Rule


def parse(text: str) -> Rule:
    """The rule a text spells. Raises RuleError saying what is wrong and where."""
    if len(text) > MAX_TEXT:
        raise RuleError(f"a rule of {len(text)} characters; at most {MAX_TEXT} are read")
    tokens: list[tuple[str, str]] = []
    at = 0
    stripped = text.rstrip()
    while at < len(stripped):
        found = _TOKEN.match(stripped, at)
        if found is None:
            raise RuleError(f"cannot read {stripped[at : at + 12]!r} at character {at}")
        kind = str(found.lastgroup or "column")
        kind = "column" if found.group("column") else kind
        tokens.append((kind, found.group(2) if kind == "column" else found.group(kind)))
        at = found.end()
    rule, used = _rule(tokens, 0, 0)
    if used != len(tokens):
        raise RuleError(f"something follows the rule: {tokens[used][1]!r}")
    return rule


def _rule(tokens: list[tuple[str, str]], at: int, depth: int) -> tuple[Rule, int]:
    if depth > MAX_DEPTH:
        raise RuleError(f"rules nested more than {MAX_DEPTH} deep")
    if at + 1 >= len(tokens) or tokens[at][0] != "name" or tokens[at + 1] != ("mark", "("):
        raise RuleError("a function and '(' were expected")
    function = tokens[at][1]
    if function not in SIGNATURES:
        raise RuleError(f"no function is called {function!r}")
    at += 2
    arguments: list[Argument] = []
    while True:
        if at >= len(tokens):
            raise RuleError(f"{function} is not closed")
        kind, value = tokens[at]
        if kind == "name" and value != "today":
            argument, at = _rule(tokens, at, depth + 1)
        else:
            argument, at = _literal(kind, value, len(arguments), function), at + 1
        arguments.append(argument)
        if at >= len(tokens) or tokens[at][0] != "mark" or tokens[at][1] == "(":
            raise RuleError(f"',' or ')' was expected in {function}")
        at += 1
        if tokens[at - 1][1] == ")":
            break
    rule = Rule(function, tuple(arguments))
    check(rule)
    return rule, at


def _literal(kind: str, value: str, position: int, function: str) -> Argument:
    if kind == "column":
        return Column(int(value))
    if kind == "text":
        return Text(re.sub(r"\\(.)", r"\1", value))
    if kind == "period" or value == "today":
        return Period(value)
    if kind == "number":
        signature = SIGNATURES[function]
        wanted = signature[position] if position < len(signature) else ""
        return Period(value) if wanted == "period" else Number(float(value))
    raise RuleError(f"an argument of {function} was expected, not {value!r}")


def check(rule: Rule) -> None:
    """Raise RuleError unless a rule's arguments fit its signature."""
    signature, given = SIGNATURES[rule.function], rule.arguments
    if signature == ("rules",):
        if len(given) < 2 or not all(isinstance(a, Rule) for a in given):
            raise RuleError(f"{rule.function} takes two or more rules")
        return
    needed = sum(not kind.startswith("optional") for kind in signature)
    if not needed <= len(given) <= len(signature):
        raise RuleError(f"{rule.function} takes {len(signature)} arguments, {len(given)} given")
    for kind, argument in zip(signature, given, strict=False):
        if not _fits(kind, argument):
            raise RuleError(f"{rule.function}: {print_argument(argument)} is no {kind.replace('_', ' ')}")


def check_whole(rule: Rule) -> None:
    """`check` for a rule and every rule inside it."""
    check(rule)
    for argument in rule.arguments:
        if isinstance(argument, Rule):
            check_whole(argument)


def _fits(kind: str, argument: Argument) -> bool:
    match kind:
        case "column":
            return isinstance(argument, Column)
        case "number_or_column":
            return isinstance(argument, Number | Column)
        case "text":
            return isinstance(argument, Text) and bool(argument.value.strip())
        case "count":
            return isinstance(argument, Number) and argument.value >= 1 and argument.value == int(argument.value)
        case "percent":
            return isinstance(argument, Number) and 0 < argument.value <= 100
        case "optional_number":
            return isinstance(argument, Number) and argument.value > 0
        case "rule":
            return isinstance(argument, Rule)
        case _:
            return isinstance(argument, Period) and _is_period(argument.text)


def _is_period(text: str) -> bool:
    if text == "today":
        return True
    parts = [int(p) for p in text.split("-")] if re.fullmatch(r"\d{4}(-\d{2}){0,2}", text) else [0]
    try:
        date(parts[0], *([*parts[1:], 1, 1])[:2])
    except ValueError:
        return False
    return True


def print_argument(argument: Argument) -> str:
    """One argument as it is written."""
    match argument:
        case Column(index):
            return f"c[{index}]"
        case Number(value):
            return f"{int(value)}" if value == int(value) and abs(value) < 1e15 else repr(value)
        case Text(value):
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case Period(text):
            return text
        case Rule():
            return print_rule(argument)


def print_rule(rule: Rule) -> str:
    """The one printed form of a rule."""
    return f"{rule.function}({', '.join(print_argument(a) for a in rule.arguments)})"


def columns_of(rule: Rule) -> list[int]:
    """The columns a rule reads, in the order it reads them, each once."""
    found: list[int] = []
    for argument in rule.arguments:
        if isinstance(argument, Column):
            found.append(argument.index)
        elif isinstance(argument, Rule):
            found += columns_of(argument)
    return list(dict.fromkeys(found))
