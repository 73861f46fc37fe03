"""Arithmetic in text, worked out exactly and without `eval`: what a model wrote can be no more than numbers, + - * / and brackets.

There is no power, no name and no call, so nothing an answer holds can run or take long. Division is exact (fractions).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

LONGEST = 400  # characters of an expression
DEEPEST = 40  # brackets and signs inside one another
_TOKEN = re.compile(r"\s*(?:(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,18}(?:\.\d{1,12})?|\.\d{1,12})(%?)|([-+*/()]))")
_ALIKE = str.maketrans({"×": "*", "·": "*", "⋅": "*", "∗": "*", "÷": "/", "∕": "/", "−": "-", "–": "-", "[": "(", "]": ")", "{": "(", "}": ")"})
_TIMES = re.compile(r"(?<=[\d)%])\s*[xX]\s*(?=[-$€£(.\d])")
_BEFORE, _AFTER = re.compile(r"[-+*/().,\d% ]+$"), re.compile(r"\s*(-?[\d.,]*\d(?:/\d+)?)(%?)")  # the two sides of an "=": money marks are taken out first


@dataclass(frozen=True, slots=True)
class Sum:
    """A worked-out expression: its exact value, the numbers in it as they come, and a form that equal ways of writing it share."""

    value: Fraction
    numbers: tuple[Fraction, ...]
    form: str
    operators: int


@dataclass(frozen=True, slots=True)
class _Node:
    """`sign` is "+" (terms), "*" (factors) or "" (a number); a part is (1 or -1, node): added or taken, multiplied or divided by."""

    value: Fraction
    sign: str = ""
    parts: tuple[tuple[int, _Node], ...] = ()

    def form(self) -> str:
        if not self.sign:
            return str(self.value)
        marks = {("+", 1): "+", ("+", -1): "-", ("*", 1): "*", ("*", -1): "/"}
        return "(" + "".join(sorted(marks[self.sign, way] + node.form() for way, node in self.parts)) + ")"


class _Reader:
    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str, str]] = []
        self.at, self.depth, self.operators = 0, 0, 0
        self.numbers: list[Fraction] = []
        place = 0
        text = text.strip()
        while place < len(text):
            found = _TOKEN.match(text, place)
            if not found:
                raise ValueError(f"{text[place : place + 12]!r} is no arithmetic")
            self.tokens.append((found[1] or "", found[2] or "", found[3] or ""))
            place = found.end()

    def next_is(self, *marks: str) -> bool:
        return self.at < len(self.tokens) and self.tokens[self.at][2] in marks

    def chain(self, sign: str, more: tuple[str, str]) -> _Node:
        """Terms or factors from left to right, in one flat node: a - (b - c) is a - b + c."""
        read = self.factor if sign == "*" else lambda: self.chain("*", ("*", "/"))
        first = read()
        value, parts = first.value, list(first.parts if first.sign == sign else ((1, first),))
        while self.next_is(*more):
            way = 1 if self.tokens[self.at][2] == more[0] else -1
            self.at += 1
            self.operators += 1
            node = read()
            if sign == "+":
                value += way * node.value
            elif way == 1:
                value *= node.value
            elif node.value == 0:
                raise ValueError("it divides by zero")
            else:
                value /= node.value
            parts += [(way * inner, part) for inner, part in node.parts] if node.sign == sign else [(way, node)]
        return first if len(parts) == 1 else _Node(value, sign, tuple(parts))

    def factor(self) -> _Node:
        if self.at >= len(self.tokens):
            raise ValueError("it breaks off")
        number, share, mark = self.tokens[self.at]
        self.at += 1
        if number:
            value = Fraction(number.replace(",", "")) / (100 if share else 1)
            self.numbers.append(value)
            return _Node(value)
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError(f"brackets nest deeper than {DEEPEST}")
        if mark in "+-":
            inner = self.factor()
            self.depth -= 1
            return inner if mark == "+" else _Node(-inner.value, "+", ((-1, inner),))
        if mark != "(":
            raise ValueError(f"{mark!r} where a number should be")
        inner = self.chain("+", ("+", "-"))
        if not self.next_is(")"):
            raise ValueError("a bracket stays open")
        self.at += 1
        self.depth -= 1
        return inner


def work_out(text: str) -> Sum:
    """The value of an expression. Raises ValueError, with the reason, for what is not one."""
    text = _TIMES.sub(" * ", text.translate(_ALIKE))
    if not text.strip():
        raise ValueError("there is nothing")
    if len(text) > LONGEST:
        raise ValueError(f"it is longer than {LONGEST} characters")
    reader = _Reader(text)
    node = reader.chain("+", ("+", "-"))
    if reader.at != len(reader.tokens):
        raise ValueError("something stands after its end")
    return Sum(node.value, tuple(reader.numbers), node.form(), reader.operators)


def wrong_step(text: str) -> str:
    """The first step "A op B = C" of a worked answer that does not hold, to the digits it prints; "" where all that can be read hold."""
    whole = re.sub(r"÷\s*(\d+/\d+)", r"/ (\1)", re.sub(r"[$€£¥]", "", text))
    sides = _TIMES.sub(" * ", whole.translate(_ALIKE)).split("=")
    for left, right in pairwise(sides):
        before, after = _BEFORE.search(left[-LONGEST:]), _AFTER.match(right[:LONGEST])
        if not before or not after or left[-LONGEST:][: before.start()].rstrip().endswith((" x", " X")):
            continue
        if right[after.end() :].lstrip()[:1] in ("*", "/", "+", "-", "("):
            continue  # the other side is worked out too
        said, share = after[1].replace(",", ""), after[2]
        try:
            expression = re.split(r"[,.]\s", before[0])[-1].strip()
            if expression[:1] in ("+", "-", "*", "/"):
                continue  # a word stands before it
            step = work_out(expression)
            unit, value = Fraction(1, 10 ** len(said.partition(".")[2])), work_out(said).value
        except ValueError:
            continue  # words among the numbers: not a step that can be read
        off = min(abs(step.value - value), abs(100 * step.value - value) if share else abs(step.value - value))  # "100 - 20 = 80%" and "0.8 = 80%" are both written
        if step.operators and off > unit / (1 if "." in said else 1000):
            return f"{expression} = {after[0].strip()}"
    return ""
