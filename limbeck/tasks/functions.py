"""Task functions: requests of our own for short Python functions, judged by calling them in a sandbox with inputs whose results are known.

A request is a chain of steps (function_steps.py) in one of many wordings; tests are what the chain makes of drawn and of awkward inputs. The tests
are in Example.meta, never in a prompt, and the results never in the sandbox (function_runs.py).
"""

from __future__ import annotations

import ast
import json
import random
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.records import Candidate, Check, Example, Prompt, content_id
from limbeck.tasks.extract import code_block
from limbeck.tasks.function_runs import DRIVER, Job, Run, run_functions, shown
from limbeck.tasks.function_steps import INPUTS, LETTERS, MEANT, STEPS, Placed, apply, ask, draw_chain, write
from limbeck.tasks.nearest import NearestText
from limbeck.tasks.programs import ProgramTask, syntax_error
from limbeck.tasks.reasoning import GeneratedTask

VERSION = 1
NAME = "f"
TESTS = 32
PROBES = 30
REMEMBERED = 200_000  # programs whose end is known
ALONE = "\n\nReply with the Python function alone."
FIX = "e.g. functions:depth=2, functions:depth=1-3,largest=9,inputs=numbers+words"


class FunctionsTask(ProgramTask, GeneratedTask):
    """Short functions over whole numbers, strings and lists. `rules` such as "depth=1-2,largest=9,inputs=numbers" say how hard (`functions:RULES`).

    What is kept apart is kept apart by what the function does: two requests that ask for the same in other words or steps are in one part.
    """

    measures = ("passed",)
    judged_together = 256
    run_by = "passed"  # the measure that says whether an answer does what it should when run

    def __init__(self, rules: str = "", unsafe_local: bool = False) -> None:
        super().__init__(unsafe_local)
        self.depth, self.largest, self.inputs = read_rules(rules)
        self.name = f"functions:{rules}" if rules else "functions"
        self.version = f"{VERSION}-{content_id([ALONE, DRIVER, TESTS, [repr(s) for s in STEPS]], 6)}"
        self._known: dict[str, str] = {}

    def _make(self, seed: int) -> Example | None:
        rng = random.Random(seed)
        takes = INPUTS[rng.choice(self.inputs)]
        chain = draw_chain(rng, takes, rng.randint(*self.depth), self.largest)
        key = behaviour(chain)
        if not key:
            return None
        inputs = draw_inputs(rng, takes, TESTS, [int(v) for p in chain for name, v in p.constants if name == "k"])
        tests = json.dumps([[given, apply(chain, given)] for given in inputs])
        meta = {"key": key, "tests": tests, "family": f"{MEANT[takes]}, {len(chain)} step{'s' * (len(chain) > 1)}"}
        return Example(id="", prompt=Prompt(id="", text=ask(rng, chain)), gold=(write(rng, chain),), source="made here", meta=meta)

    def pose(self, prompt: Prompt) -> Prompt:
        """A request as whoever reads text is asked it."""
        return Prompt(id=prompt.id, text=prompt.text + ALONE, context=prompt.context)

    def tidy(self, text: str) -> str:
        """The code in what a language model said."""
        return code_block(text).strip()

    def program(self, example: Example, text: str) -> str:
        """The code block, or the whole text where there is none."""
        return code_block(text)

    def verify(self, prompt: Prompt, candidate: Candidate) -> Check:
        """Python that defines `f`; whether it does what is asked only its tests tell (`keep.run`). The outcome is its syntax tree."""
        code = code_block(candidate.text)
        if syntax_error(code):
            return Check(ok=False, reason="not Python")  # one reason in a run's accounts, not one a line
        tree = ast.parse(code)
        is_there = any(getattr(node, "name", "") == NAME or (isinstance(node, ast.Assign) and any(getattr(t, "id", "") == NAME for t in node.targets)) for node in tree.body)
        return Check(ok=is_there, reason="" if is_there else f"no function {NAME}", outcome=ast.dump(tree))

    def run(self, pairs: Sequence[tuple[str, str]]) -> list[str]:
        """For each (program, tests): why it does not pass, empty where it does. What is known is not run again."""
        names = [content_id(pair, 24) for pair in pairs]
        todo = {name: pair for name, pair in zip(names, pairs, strict=True) if name not in self._known}
        if len(self._known) + len(todo) > REMEMBERED:
            todo, self._known = dict(zip(names, pairs, strict=True)), {}
        tests = [json.loads(text) for _, text in todo.values()]
        jobs = [Job(program=source, name=NAME, inputs=[given for given, _ in rows]) for (source, _), rows in zip(todo.values(), tests, strict=True)]
        runs = run_functions(jobs, unsafe_local=self.unsafe_local)
        self._known |= {name: why_wrong(run, rows) for name, run, rows in zip(todo, runs, tests, strict=True)}
        return [self._known[name] for name in names]


def why_wrong(run: Run, tests: Sequence[Sequence[Any]]) -> str:
    """The first test that a run does not pass, in words; empty where there is none."""
    for at, (given, wanted) in enumerate(tests):
        call = f"{NAME}({given!r})"[:80]
        if at >= len(run.results):
            return f"{call}: {run.reason}"
        if run.results[at] != shown(wanted):
            return f"{call} is {run.results[at][:60]}, not {shown(wanted)[:60]}"
    return run.reason


def behaviour(chain: Sequence[Placed]) -> str:
    """An id of what a chain does, the same for all chains that do the same to the probes; "" for one that is no fit question: it hardly hangs on what it is given, or does what a shorter one does."""
    takes = chain[0].step.takes
    probes = _probes(takes)
    whole = [apply(chain, p) for p in probes]
    is_truth = chain[-1].step.gives == "truth"
    counts = [whole.count(value) for value in whole]
    if max(counts) > (0.8 if is_truth else 0.6) * PROBES:
        return ""
    for start in range(len(chain)):
        for end in range(start + 1, len(chain) + 1):
            rest = [*chain[:start], *chain[end:]]
            if chain[start].step.takes == chain[end - 1].step.gives and [apply(rest, p) for p in probes] == whole:
                return ""
    return content_id([takes, whole])


@lru_cache(maxsize=8)
def _probes(takes: str) -> tuple[Any, ...]:
    return tuple(draw_inputs(random.Random(f"probes of {takes}"), takes, PROBES, (2, 5, 9, 14, 20)))


def draw_inputs(rng: random.Random, takes: str, count: int, constants: Sequence[int]) -> list[Any]:
    """Different inputs of a kind, awkward ones first: empty, alone, ties, both signs, and what is at, just above and just below the constants."""
    near = [v for k in constants for v in (k, k + 1, k - 1, -k)] or [1]
    maker = {"xs": _numbers, "words": _words, "s": _text, "n": _number}[takes]
    found: dict[str, Any] = {}
    for at in range(count * 4):
        value = maker(rng, at, near)
        found.setdefault(json.dumps(value), value)
        if len(found) == count:
            break
    return list(found.values())


def _numbers(rng: random.Random, at: int, near: Sequence[int]) -> list[int]:
    edges: tuple[list[int], ...] = ([], [rng.choice(near)], [-3, 3, 3, -3, 2], sorted(near), sorted(near, reverse=True), [0, 0, 1], [-5, -2, -8, -7])
    if at < len(edges):
        return edges[at]
    span = rng.choice((3, 10, 30, 120))
    return [rng.choice(near) if rng.random() < 0.3 else rng.randint(-span, span) for _ in range(rng.randint(2, 9))]


def _word(rng: random.Random) -> str:
    half = "".join(rng.choices(LETTERS + "bcl", k=rng.randint(1, 7)))
    kind = rng.random()
    word = half + half[-2::-1] if kind < 0.15 else half[:3] if kind < 0.4 else half
    return word.capitalize() if rng.random() < 0.2 else word.upper() if rng.random() < 0.05 else word


def _words(rng: random.Random, at: int, near: Sequence[int]) -> list[str]:
    edges: tuple[list[str], ...] = ([], [""], [_word(rng)], ["b", "a", "B", "", "b"], ["tt", "as", "on", "to"])
    if at < len(edges):
        return edges[at]
    drawn = [_word(rng) for _ in range(rng.randint(2, 7))]
    return [*drawn, rng.choice((drawn[0], "", _word(rng)))] if rng.random() < 0.5 else drawn


def _text(rng: random.Random, at: int, near: Sequence[int]) -> str:
    edges = ("", " ", rng.choice(LETTERS), "anna", "AEIOU aeiou", " 12 a-3  b.")
    if at < len(edges):
        return edges[at]
    parts = [str(rng.randint(0, 999)) if rng.random() < 0.2 else _word(rng) for _ in range(rng.randint(1, 4))]
    text = rng.choice((" ", " ", "  ", "-", ", ")).join(parts)
    return text + text[::-1] if rng.random() < 0.1 else rng.choice(("", "", " ")) + text


def _number(rng: random.Random, at: int, near: Sequence[int]) -> int:
    edges = (0, 1, -1, 2, 12, -7, *near)
    return edges[at] if at < len(edges) else rng.randint(-9, 9) if rng.random() < 0.2 else rng.randint(-60, 120)


def read_rules(text: str) -> tuple[tuple[int, int], int, tuple[str, ...]]:
    """Depth, largest constant and inputs from "depth=1-2,largest=9,inputs=numbers+words"; what is not said is 2 to 3 steps, 20, and all. Raises LimbeckError."""
    where = f"functions:{text}"
    depth, largest, inputs, seen = (2, 3), 20, tuple(INPUTS), set()
    for part in text.split(",") if text else ():
        name, _, value = (p.strip() for p in part.partition("="))
        low, dash, high = value.partition("-")
        if name in seen:
            raise LimbeckError(f"{name!r} is said twice", where, FIX)
        seen.add(name)
        if name == "depth" and low.isdecimal() and (high.isdecimal() or not dash) and 1 <= int(low) <= int(high or low) <= 6:
            depth = int(low), int(high or low)
        elif name == "largest" and value.isdecimal() and 3 <= int(value) <= 99:
            largest = int(value)
        elif name == "inputs" and value and set(value.split("+")) <= set(INPUTS):
            inputs = tuple(kind for kind in INPUTS if kind in value.split("+"))
        else:
            known = {"depth": "depth is 1 to 6, the lower bound first", "largest": "largest is 3 to 99", "inputs": f"inputs are of {', '.join(INPUTS)}, joined by +"}
            raise LimbeckError(f"{part.strip()!r} is no rule of functions{f': {known[name]}' if name in known else ''}", where, FIX)
    return depth, largest, inputs


class NearestFunction(NearestText):
    """The functions of the nearest requests seen: numbers and single letters count as words."""

    word = re.compile(r"\w+")
    is_sublinear = True
