"""Steps that short functions are made of: how each is asked for, how it is written, and chains drawn from them.

A function takes one value and does a few steps to it: `xs` (a list of whole numbers), `words` (of strings), `s` (a string) or `n` (a whole number).
Steps lead from one kind to another; "truth" ends a chain. In wordings and spellings {k} is a number, {c} and {d} are letters, {0} is what a noun is
said of. What a step does is what its first spelling does; the others do the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

LETTERS = "aeinorst"
INPUTS = {"numbers": "xs", "words": "words", "text": "s", "number": "n"}  # as rules name them
MEANT = {"xs": "a list of whole numbers", "words": "a list of strings", "s": "a string", "n": "a whole number"}


@dataclass(frozen=True, slots=True)
class Step:
    """`takes` and `gives` are kinds of value. `say` asks for it as a thing to do, `nouns` as a result. {k} is from `low` to `high` (0: the rules' largest)."""

    takes: str
    gives: str
    say: tuple[str, ...]
    nouns: tuple[str, ...]
    codes: tuple[str, ...]
    low: int = 1
    high: int = 0
    is_first: bool = False  # only of what the function is given: it would grow too large


def _step(takes: str, gives: str, say: str, nouns: str, codes: str, low: int = 1, high: int = 0, is_first: bool = False) -> Step:
    return Step(takes, gives, tuple(say.split(" | ")), tuple(nouns.split(" | ")), tuple(codes.split(" | ")), low, high, is_first)


def _of_lists(name: str, one: str, many: str) -> tuple[Step, ...]:
    """What can be done to any list."""
    n = name
    return (
        _step(n, n, "reverse the order | turn the list around", "the reverse of {0}", f"{n}[::-1] | list(reversed({n}))"),
        _step(n, n, "take the first {k} | keep only the first {k}", "the first {k} of {0} | the first {k} items of {0}", f"{n}[:{{k}}]", 2, 5),
        _step(n, n, "take the last {k} | keep only the last {k}", "the last {k} of {0} | the last {k} items of {0}", f"{n}[-{{k}}:]", 2, 5),
        _step(n, n, "leave out the first {k} | skip the first {k}", "all but the first {k} of {0}", f"{n}[{{k}}:]", 1, 4),
        _step(n, n, "leave out the last {k} | cut off the last {k}", "all but the last {k} of {0}", f"{n}[:-{{k}}]", 1, 4),
        _step(n, n, "take every second one, beginning with the first | keep the first, third, fifth and so on", "every second one, from the first on, of {0}", f"{n}[::2]"),
        _step(n, n, f"drop repeated {many}, keeping the first of each | keep each {one} only where it first appears", "the distinct values, in order of first appearance, of {0}", f"list(dict.fromkeys({n}))"),
        _step(n, n, f"drop the smallest {one} wherever it is | remove every copy of the smallest {one}", f"all but the smallest {one} (every copy of it) of {{0}}", f"[v for v in {n} if v != min({n})] | [v for v in {n} if v > min({n})]"),
        _step(n, "n", f"count the {many} | count how many there are", f"the number of {many} in {{0}} | how many {many} there are in {{0}}", f"len({n})"),
        _step(n, "n", f"count the different {many} | count how many different {many} there are", f"the number of different {many} in {{0}}", f"len(set({n}))"),
    )  # fmt: skip


STEPS = (
    *_of_lists("xs", "number", "numbers"),
    _step("xs", "xs", "keep the even numbers | drop the odd numbers | keep only even numbers", "the even numbers in {0} | the even ones of {0}", "[x for x in xs if x % 2 == 0] | [x for x in xs if not x % 2]"),
    _step("xs", "xs", "keep the odd numbers | drop the even numbers | keep only odd numbers", "the odd numbers in {0} | the odd ones of {0}", "[x for x in xs if x % 2 == 1] | [x for x in xs if x % 2]"),
    _step("xs", "xs", "keep the positive numbers | keep only positive numbers", "the positive numbers in {0}", "[x for x in xs if x > 0]"),
    _step("xs", "xs", "keep the negative numbers | keep only negative numbers", "the negative numbers in {0}", "[x for x in xs if x < 0]"),
    _step("xs", "xs", "keep the numbers greater than {k} | keep what is greater than {k}", "the numbers greater than {k} in {0}", "[x for x in xs if x > {k}]"),
    _step("xs", "xs", "keep the numbers less than {k} | keep what is less than {k}", "the numbers less than {k} in {0}", "[x for x in xs if x < {k}]"),
    _step("xs", "xs", "keep the numbers that are {k} or more | drop the numbers below {k}", "the numbers of at least {k} in {0}", "[x for x in xs if x >= {k}]"),
    _step("xs", "xs", "keep the multiples of {k} | keep the numbers divisible by {k}", "the multiples of {k} in {0} | the numbers divisible by {k} in {0}", "[x for x in xs if x % {k} == 0]", 3, 9),
    _step("xs", "xs", "drop the multiples of {k} | remove the numbers divisible by {k}", "the numbers not divisible by {k} in {0}", "[x for x in xs if x % {k} != 0] | [x for x in xs if x % {k}]", 3, 9),
    _step("xs", "xs", "remove every {k} | drop all numbers equal to {k}", "the numbers other than {k} in {0}", "[x for x in xs if x != {k}]"),
    _step("xs", "xs", "square each number | replace each number by its square", "the squares of {0}", "[x * x for x in xs] | [x ** 2 for x in xs]"),
    _step("xs", "xs", "double each number | multiply each number by 2", "the doubles of {0}", "[x * 2 for x in xs] | [2 * x for x in xs] | [x + x for x in xs]"),
    _step("xs", "xs", "multiply each number by {k} | make each number {k} times as large", "the {k}-fold values of {0}", "[x * {k} for x in xs] | [{k} * x for x in xs]", 3),
    _step("xs", "xs", "add {k} to each number | increase each number by {k}", "the values plus {k} of {0}", "[x + {k} for x in xs]"),
    _step("xs", "xs", "subtract {k} from each number | decrease each number by {k}", "the values minus {k} of {0}", "[x - {k} for x in xs]"),
    _step("xs", "xs", "negate each number | flip the sign of each number", "the negatives of {0}", "[-x for x in xs]"),
    _step("xs", "xs", "take the absolute value of each number | drop all minus signs", "the absolute values of {0}", "[abs(x) for x in xs] | list(map(abs, xs))"),
    _step("xs", "xs", "replace each number by its remainder modulo {k} | take each number modulo {k}", "the remainders modulo {k} of {0}", "[x % {k} for x in xs]", 3, 9),
    _step("xs", "xs", "halve each number, rounding down | divide each number by 2, rounding down", "the halves, rounded down, of {0}", "[x // 2 for x in xs]"),
    _step("xs", "xs", "sort in ascending order | sort from smallest to largest", "the values, smallest first, of {0} | the ascending order of {0}", "sorted(xs)"),
    _step("xs", "xs", "sort in descending order | sort from largest to smallest", "the values, largest first, of {0} | the descending order of {0}", "sorted(xs, reverse=True) | sorted(xs)[::-1]"),
    _step("xs", "xs", "sort by absolute value, smallest first, ties in the order given | order by absolute value, keeping the order of ties", "the order by absolute value, ties as given, of {0}", "sorted(xs, key=abs)"),
    _step("xs", "xs", "replace each number by the sum of all up to it | make running totals", "the running totals of {0}", "[sum(xs[:i + 1]) for i in range(len(xs))]"),
    _step("xs", "xs", "take the difference of each number from the one before it | subtract from each number the one before it, dropping the first", "the differences between neighbours (later minus earlier) in {0}", "[b - a for a, b in zip(xs, xs[1:])]"),
    _step("xs", "n", "add them up | take the sum", "the sum of {0} | the total of {0}", "sum(xs)"),
    _step("xs", "n", "take the largest number, 0 if there is none", "the largest number, 0 if there is none, of {0}", "max(xs, default=0)"),
    _step("xs", "n", "take the smallest number, 0 if there is none", "the smallest number, 0 if there is none, of {0}", "min(xs, default=0)"),
    _step("xs", "n", "take the largest minus the smallest, 0 if there is none", "the largest minus the smallest (0 if there is none) of {0}", "max(xs, default=0) - min(xs, default=0)"),
    _step("xs", "words", "turn each number into a string | write each number as a string", "the numbers as strings of {0}", "[str(x) for x in xs] | list(map(str, xs))"),
    _step("xs", "truth", "say whether any number is greater than {k} | tell if at least one is greater than {k}", "whether any number is greater than {k} in {0}", "any(x > {k} for x in xs)"),
    _step("xs", "truth", "say whether all numbers are less than {k} | tell if every number is less than {k}", "whether all numbers are less than {k} in {0}", "all(x < {k} for x in xs)"),
    *_of_lists("words", "string", "strings"),
    _step("words", "words", "keep the strings longer than {k} characters | keep those with more than {k} characters", "the strings of more than {k} characters in {0}", "[w for w in words if len(w) > {k}]", 2, 6),
    _step("words", "words", "keep the strings shorter than {k} characters | keep those with fewer than {k} characters", "the strings of fewer than {k} characters in {0}", "[w for w in words if len(w) < {k}]", 2, 7),
    _step("words", "words", "keep the strings that start with '{c}' | keep those beginning with '{c}'", "the strings starting with '{c}' in {0}", "[w for w in words if w.startswith('{c}')] | [w for w in words if w[:1] == '{c}']"),
    _step("words", "words", "keep the strings that end with '{c}' | keep those ending in '{c}'", "the strings ending with '{c}' in {0}", "[w for w in words if w.endswith('{c}')] | [w for w in words if w[-1:] == '{c}']"),
    _step("words", "words", "keep the strings that contain '{c}' | keep those with a '{c}' in them", "the strings containing '{c}' in {0}", "[w for w in words if '{c}' in w]"),
    _step("words", "words", "drop the strings that contain '{c}' | remove those with a '{c}' in them", "the strings without '{c}' in {0}", "[w for w in words if '{c}' not in w]"),
    _step("words", "words", "drop empty strings | remove the empty ones", "the non-empty strings in {0}", "[w for w in words if w] | [w for w in words if w != '']"),
    _step("words", "words", "keep the palindromes | keep those that read the same backwards", "the palindromes in {0}", "[w for w in words if w == w[::-1]]"),
    _step("words", "words", "make each string upper case | put each in capital letters", "the upper-case forms of {0}", "[w.upper() for w in words]"),
    _step("words", "words", "make each string lower case | put each in small letters", "the lower-case forms of {0}", "[w.lower() for w in words]"),
    _step("words", "words", "reverse each string | spell each string backwards", "the backward spellings of {0}", "[w[::-1] for w in words]"),
    _step("words", "words", "cut each string to its first {k} characters | shorten each to {k} characters", "the first {k} characters of each of {0}", "[w[:{k}] for w in words]", 2, 4),
    _step("words", "words", "take away the first character of each string | cut the first character off each", "the strings less their first characters of {0}", "[w[1:] for w in words]"),
    _step("words", "words", "append '{c}' to each string | put a '{c}' at the end of each", "the strings with '{c}' appended of {0}", "[w + '{c}' for w in words]"),
    _step("words", "words", "write each string twice in a row | double each string", "the twice-written strings of {0}", "[w * 2 for w in words] | [w + w for w in words]"),
    _step("words", "words", "sort them alphabetically | put them in alphabetical order", "the alphabetical order of {0}", "sorted(words)"),
    _step("words", "words", "sort them in reverse alphabetical order | sort them alphabetically, last first", "the reverse alphabetical order of {0}", "sorted(words, reverse=True) | sorted(words)[::-1]"),
    _step("words", "words", "sort by length, shortest first, ties in the order given", "the order by length, shortest first, ties as given, of {0}", "sorted(words, key=len)"),
    _step("words", "words", "sort by length, longest first, ties in the order given", "the order by length, longest first, ties as given, of {0}", "sorted(words, key=len, reverse=True) | sorted(words, key=lambda w: -len(w))"),
    _step("words", "xs", "replace each string by its length | take the length of each", "the lengths of {0}", "[len(w) for w in words] | list(map(len, words))"),
    _step("words", "xs", "count the '{c}' in each string | replace each string by how many '{c}' it has", "the counts of '{c}' in each of {0}", "[w.count('{c}') for w in words]"),
    _step("words", "n", "count all characters | add up the lengths", "the total length of {0}", "sum(len(w) for w in words) | len(''.join(words))"),
    _step("words", "s", "join them with nothing between | put them together into one string", "the concatenation of {0}", "''.join(words)"),
    _step("words", "s", "join them with spaces | put them together with spaces between", "the joining with spaces of {0}", "' '.join(words)"),
    _step("words", "s", "join them with '-' | put them together with '-' between", "the joining with '-' of {0}", "'-'.join(words)"),
    _step("words", "s", "take the longest string, the first of several, '' if there is none", "the longest string (the first of several, '' if there is none) of {0}", "max(words, key=len, default='')"),
    _step("words", "truth", "say whether any of them starts with '{c}'", "whether any string starts with '{c}' in {0}", "any(w.startswith('{c}') for w in words)"),
    _step("s", "s", "make it upper case | put it in capital letters", "the upper-case form of {0}", "s.upper()"),
    _step("s", "s", "make it lower case | put it in small letters", "the lower-case form of {0}", "s.lower()"),
    _step("s", "s", "swap upper and lower case | turn small letters into capitals and capitals into small ones", "the case-swapped form of {0}", "s.swapcase()"),
    _step("s", "s", "reverse it | spell it backwards", "the backward spelling of {0}", "s[::-1]"),
    _step("s", "s", "remove every '{c}' | delete all '{c}'", "what is left without any '{c}' of {0}", "s.replace('{c}', '')"),
    _step("s", "s", "replace every '{c}' by '{d}' | change all '{c}' to '{d}'", "the result of changing '{c}' to '{d}' in {0}", "s.replace('{c}', '{d}')"),
    _step("s", "s", "remove the spaces | delete all spaces", "what is left without spaces of {0}", "s.replace(' ', '')"),
    _step("s", "s", "remove the vowels aeiou in small letters | delete every small a, e, i, o and u", "what is left without small vowels (aeiou) of {0}", "''.join(c for c in s if c not in 'aeiou')"),
    _step("s", "s", "keep only the letters | delete all that are no letters", "the letters alone of {0}", "''.join(c for c in s if c.isalpha())"),
    _step("s", "s", "keep only the digits | delete all that are no digits", "the digits alone of {0}", "''.join(c for c in s if c.isdigit())"),
    _step("s", "s", "take the first {k} characters | cut it to {k} characters", "the first {k} characters of {0}", "s[:{k}]", 2, 9),
    _step("s", "s", "take the last {k} characters | keep only the last {k} characters", "the last {k} characters of {0}", "s[-{k}:]", 2, 9),
    _step("s", "s", "leave out the first {k} characters | skip the first {k} characters", "all but the first {k} characters of {0}", "s[{k}:]", 1, 5),
    _step("s", "s", "leave out the last {k} characters | cut off the last {k} characters", "all but the last {k} characters of {0}", "s[:-{k}]", 1, 5),
    _step("s", "s", "take every second character, beginning with the first", "every second character, from the first on, of {0}", "s[::2]"),
    _step("s", "s", "write each character twice | double each character", "the form with each character doubled of {0}", "''.join(c * 2 for c in s) | ''.join(c + c for c in s)"),
    _step("s", "words", "split it at white space | cut it into words", "the words of {0}", "s.split()"),
    _step("s", "words", "make a list of its characters | split it into characters", "the list of characters of {0}", "list(s) | [c for c in s]"),
    _step("s", "n", "take its length | count its characters", "the length of {0}", "len(s)"),
    _step("s", "n", "count the '{c}' in it | count how often '{c}' appears", "the number of times '{c}' appears in {0}", "s.count('{c}')"),
    _step("s", "n", "count the vowels aeiou in it, capitals too", "the number of vowels (aeiou, capitals too) in {0}", "sum(c in 'aeiou' for c in s.lower()) | sum(1 for c in s if c in 'aeiouAEIOU')"),
    _step("s", "n", "count the digits in it | count how many characters are digits", "the number of digits in {0}", "sum(c.isdigit() for c in s)"),
    _step("s", "truth", "say whether it reads the same backwards | tell if it is a palindrome", "whether it is a palindrome, of {0}", "s == s[::-1]"),
    _step("s", "truth", "say whether it contains '{c}' | tell if there is a '{c}' in it", "whether there is a '{c}' in {0}", "'{c}' in s"),
    _step("n", "n", "add {k} | increase it by {k}", "{k} plus {0}", "n + {k}"),
    _step("n", "n", "subtract {k} | decrease it by {k}", "{k} less than {0}", "n - {k}"),
    _step("n", "n", "multiply it by {k} | make it {k} times as large", "{k} times {0}", "n * {k} | {k} * n", 2),
    _step("n", "n", "square it | multiply it by itself", "the square of {0}", "n * n | n ** 2"),
    _step("n", "n", "take the absolute value | drop its minus sign", "the absolute value of {0}", "abs(n)"),
    _step("n", "n", "flip its sign | negate it", "the negative of {0}", "-n"),
    _step("n", "n", "take the remainder modulo {k} | take it modulo {k}", "the remainder modulo {k} of {0}", "n % {k}", 3, 9),
    _step("n", "n", "halve it, rounding down | divide it by 2, rounding down", "half, rounded down, of {0}", "n // 2"),
    _step("n", "xs", "make a list of its digits, leaving out a minus sign", "the list of digits (a minus sign aside) of {0}", "[int(d) for d in str(abs(n))]"),
    _step("n", "xs", "list the numbers from 1 up to it | make the list of 1, 2 and so on up to it", "the numbers from 1 up to {0}", "list(range(1, n + 1))", is_first=True),
    _step("n", "xs", "list its positive divisors in ascending order, none if it is not positive", "the ascending positive divisors (none if it is not positive) of {0}", "[d for d in range(1, n + 1) if n % d == 0]", is_first=True),
    _step("n", "s", "turn it into a string | write it as a string", "the string form of {0}", "str(n)"),
    _step("n", "truth", "say whether it is even | tell if it is even", "whether it is even, of {0}", "n % 2 == 0"),
    _step("n", "truth", "say whether it is greater than {k} | tell if it is more than {k}", "whether there is more than {k} in {0}", "n > {k}"),
)  # fmt: skip
BY_KIND = {kind: tuple(s for s in STEPS if s.takes == kind) for kind in MEANT}


@dataclass(frozen=True, slots=True)
class Placed:
    """A step with its constants."""

    step: Step
    constants: tuple[tuple[str, str], ...] = ()

    def fill(self, text: str) -> str:
        """A wording or spelling with the constants in place."""
        for name, value in self.constants:
            text = text.replace("{" + name + "}", value)
        return text

    @property
    def run(self) -> Callable[[Any], Any]:
        """What it does to a value."""
        return _compiled(self.step.takes, self.fill(self.step.codes[0]))


@lru_cache(maxsize=8192)
def _compiled(name: str, code: str) -> Callable[[Any], Any]:
    return eval(f"lambda {name}: {code}")  # our own table's, never an answer's


def draw_chain(rng: random.Random, takes: str, depth: int, largest: int) -> list[Placed]:
    """`depth` steps that fit on each other, with constants; a truth comes last if at all."""
    chain: list[Placed] = []
    kind = takes
    for at in range(depth):
        fit = [s for s in BY_KIND[kind] if (at == depth - 1 or s.gives != "truth") and (at == 0 or not s.is_first)]
        ways = sorted({s.gives for s in fit})
        gives = rng.choices(ways, [6 if way == kind else 1 for way in ways])[0]  # by kind first: most steps stay in theirs
        step = rng.choice([s for s in fit if s.gives == gives])
        high = min(step.high or largest, max(largest, step.low))
        letters = rng.sample(LETTERS, 2)
        every = step.codes[0]
        constants = tuple((name, value) for name, value in (("k", str(rng.randint(step.low, high))), ("c", letters[0]), ("d", letters[1])) if "{" + name + "}" in every)
        chain.append(Placed(step, constants))
        kind = step.gives
    return chain


def apply(chain: Sequence[Placed], value: Any) -> Any:
    """What a chain makes of a value."""
    for placed in chain:
        value = placed.run(value)
    return value


def write(rng: random.Random, chain: Sequence[Placed]) -> str:
    """A chain as a function `f`: a line a step, each in one of its spellings."""
    lines = [f"def f({chain[0].step.takes}):"]
    for at, placed in enumerate(chain):
        code = placed.fill(rng.choice(placed.step.codes))
        lines.append(f"    return {code}" if at == len(chain) - 1 else f"    {placed.step.gives} = {code}")
    return "\n".join(lines)


def ask(rng: random.Random, chain: Sequence[Placed]) -> str:
    """A chain as a request in English: as things to do one after another, or as the result wanted."""
    name = chain[0].step.takes
    if rng.random() < 0.5:
        wanted = name
        for placed in chain:
            wanted = placed.fill(rng.choice(placed.step.nouns)).replace("{0}", wanted)
        return rng.choice((f"Write a function f({name}) that returns {wanted}, where {name} is {MEANT[name]}.", f"{name} is {MEANT[name]}. Write a function f({name}) that returns {wanted}."))
    said = [placed.fill(rng.choice(placed.step.say)) for placed in chain]
    doing = said[0] if len(said) == 1 else f"{'; '.join(said[:-1])}; then {said[-1]}"
    return rng.choice((f"Write a function f({name}) for {MEANT[name]}: {doing}. Return the result.", f"Given {MEANT[name]}, {doing}, and return the result. Write it as a function f({name})."))
