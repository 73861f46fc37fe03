"""Games of numbers with a solution that is known because they are made from it: countdown, and making 24 of four numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import combinations

LARGEST_STEP = 10_000  # of a countdown's intermediate results
STRENGTH = {"+": 1, "-": 1, "*": 2, "/": 2}


@dataclass(frozen=True, slots=True)
class Game:
    """A question with its worked solution: steps such as "94 * 4 = 376", and one expression of all of them."""

    question: str
    numbers: tuple[int, ...]
    target: int
    steps: tuple[str, ...]
    expression: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How hard a game of countdown is: how many numbers, the largest of them, which targets; reasoning-gym's settings unless said."""

    numbers: tuple[int, int] = (4, 6)
    largest: int = 100
    targets: tuple[int, int] = (100, 999)


@dataclass(frozen=True, slots=True)
class _Part:
    value: Fraction
    text: str
    operator: str = ""
    steps: tuple[str, ...] = ()


def draw_countdown(rng: random.Random, rules: Rules = Rules()) -> Game | None:
    """A game by these rules; None where what was drawn makes no fit target."""
    parts = [_Part(Fraction(n), str(n)) for n in (rng.randint(1, rules.largest) for _ in range(rng.randint(*rules.numbers)))]
    numbers = tuple(int(p.value) for p in parts)
    while len(parts) > 1:
        first, second = rng.sample(range(len(parts)), 2)
        joined = _join(parts[first], parts[second], rng.choice("+-*/"))
        if joined is None or joined.value.denominator != 1 or not 0 < joined.value <= LARGEST_STEP:
            joined = _join(parts[first], parts[second], "+")
        if joined is None or joined.value > LARGEST_STEP:
            return None
        parts = [p for at, p in enumerate(parts) if at not in (first, second)] + [joined]
    target = int(parts[0].value)
    if not rules.targets[0] <= target <= rules.targets[1]:
        return None
    shown = ", ".join(map(str, numbers))
    question = rng.choice((f"Use each of the numbers {shown} exactly once to make {target}.", f"Make {target} out of all of these numbers: {shown}. Each is used once.", f"Which expression of {shown}, each used once, equals {target}?"))
    return Game(f"{question} You may use +, -, *, / and brackets.", numbers, target, parts[0].steps, parts[0].text)


def draw_puzzle24(rng: random.Random, four: Sequence[int] | None = None) -> Game | None:
    """A game of four numbers (drawn, or these in an order that is drawn); None where they make no 24."""
    numbers = [rng.randint(1, 10) for _ in range(4)] if four is None else rng.sample(list(four), 4)
    if not is_solvable(tuple(sorted(numbers))):
        return None
    found = next(_solutions([_Part(Fraction(n), str(n)) for n in numbers], 24, rng))
    question = f"Make 24 out of the numbers {', '.join(map(str, numbers))}. Each is used once; you may use +, -, *, / and brackets."
    return Game(question, tuple(numbers), 24, found.steps, found.text)


@lru_cache(maxsize=1024)
def is_solvable(four: tuple[int, ...]) -> bool:
    """Whether numbers make 24 at all."""
    return _reaches_24(tuple(sorted((n, 1) for n in four)))


@lru_cache(maxsize=100_000)
def _reaches_24(values: tuple[tuple[int, int], ...]) -> bool:
    """The same of fractions (numerator, denominator above 0, not reduced): any two are joined in every way."""
    if len(values) == 1:
        return values[0][0] == 24 * values[0][1]
    for one, two in combinations(range(len(values)), 2):
        rest = [v for at, v in enumerate(values) if at not in (one, two)]
        (a, b), (c, d) = values[one], values[two]
        made = {(a * d + c * b, b * d), (abs(a * d - c * b), b * d), (a * c, b * d), *([(a * d, b * c)] if c else []), *([(c * b, d * a)] if a else [])}  # a sign can always be turned round later
        if any(_reaches_24(tuple(sorted((*rest, value)))) for value in made):
            return True
    return False


def _solutions(parts: list[_Part], target: int, rng: random.Random) -> Iterator[_Part]:
    """Every way to make the target, in an order that is drawn."""
    if len(parts) == 1:
        if parts[0].value == target:
            yield parts[0]
        return
    ways = [(a, b, o) for a in range(len(parts)) for b in range(len(parts)) if a != b for o in "+-*/" if a < b or o in "-/"]
    rng.shuffle(ways)
    for first, second, operator in ways:
        joined = _join(parts[first], parts[second], operator)
        if joined is not None:
            yield from _solutions([p for at, p in enumerate(parts) if at not in (first, second)] + [joined], target, rng)


def _join(left: _Part, right: _Part, operator: str) -> _Part | None:
    if operator == "/" and right.value == 0:
        return None
    value = {"+": lambda: left.value + right.value, "-": lambda: left.value - right.value, "*": lambda: left.value * right.value, "/": lambda: left.value / right.value}[operator]()
    step = f"{_shown(left.value)} {operator} {_shown(right.value)} = {_shown(value)}"
    text = f"{_bracketed(left, operator, False)} {operator} {_bracketed(right, operator, True)}"
    return _Part(value, text, operator, (*left.steps, *right.steps, step))


def _bracketed(part: _Part, operator: str, is_right: bool) -> str:
    weaker = bool(part.operator) and (STRENGTH[part.operator] < STRENGTH[operator] or (is_right and STRENGTH[part.operator] == STRENGTH[operator] and operator in "-/"))
    return f"({part.text})" if weaker else part.text


def _shown(value: Fraction) -> str:
    """Whole numbers plainly, others as a fraction in brackets, negatives in brackets."""
    return str(value) if value.denominator == 1 and value >= 0 else f"({value})"
