"""Problems without end, each with a checker: school word problems, numbers to make a target of, and reasoning-gym's families.

`gsm` is reasoning-gym's gsm_symbolic (templates of GSM8K's *test* problems, Mirzadeh et al. 2024: an expert trained on it has seen
what GSM8K's test asks; docs/reasoning.md). `countdown` and `puzzle24` have that library's rules and are made here, in exact fractions
and ten to a hundred times faster. `reasoning:FAMILY` is any family of it that gives a gold answer.

What an answerer wrote never reaches `eval` or SymPy, though scorers of the library do that: we check with our own parser, with those
scorers of the library that were read and do no such thing, or by exact match.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Iterator, Sequence
from copy import deepcopy
from fractions import Fraction
from functools import lru_cache
from importlib import metadata
from itertools import combinations_with_replacement, islice
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.records import Candidate, Check, Example, Prompt, content_id
from limbeck.tasks.arithmetic import work_out, wrong_step
from limbeck.tasks.extract import last_number, to_number
from limbeck.tasks.gsm8k import ASK
from limbeck.tasks.number_games import LARGEST_STEP, Game, Rules, draw_countdown, draw_puzzle24, is_solvable
from limbeck.tasks.text_task import TextTask

VERSION = 1
SPLIT_SIZE = 500
TRIES = 400  # draws for one example before a family counts as too small to keep some apart
PARTS = ("dev", "test", "examination")  # kept apart from what `generate` gives, by a hash of what is asked
ASK_FOR_EXPRESSION = "{question}\n\nShow the steps. End with a line that says: The answer is EXPRESSION."
ASK_FOR_ANSWER = "{question}\n\nWhen you are done, write a line that says Answer: and after it the answer alone."
SUFFIX = " Give the result as your final answer. Do not include units."  # the library's, in place of which ours is asked
LONGEST_ANSWER = 4_000  # characters that a scorer of the library is shown
# Scorers of the library that were read (0.1.25): they compare, count and simulate, in time bounded by the length of the answer.
LIBRARY_SCORES = frozenset({
    "chain_sum", "cryptarithm", "group_anagrams", "jugs", "kakurasu", "knight_swap", "number_format", "palindrome_generation", "products", "quantum_lock", "shortest_path", "tower_of_hanoi", "word_ladder",
})  # fmt: skip
WITHOUT_GOLD = frozenset({"boxnet", "composite", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"})  # answers of theirs cannot be shown to a student


class GeneratedTask(TextTask):
    """Examples made from numbers. What is asked falls by its hash to one part: dev, test, examination, or what `generate` gives.

    A subclass gives `_make(seed)`: an example (named anew here) with meta "key", what must not be shared between parts; or None for a draw that is no good.
    """

    known_splits: tuple[str, ...] = ("test", "dev")
    parts = 12  # a twelfth of all that can be asked is each of PARTS
    size = SPLIT_SIZE

    def _make(self, seed: int) -> Example | None:
        raise NotImplementedError

    def part_of(self, example: Example) -> str:
        """Where an example belongs, whoever made it: "dev", "test", "examination" or "learn"."""
        at = int(content_id(["part", self.name, example.meta["key"]], 12), 16) % self.parts
        return PARTS[at] if at < len(PARTS) else "learn"

    def generate(self, seed: int, count: int, start: int = 0) -> Iterator[Example]:
        """Fresh examples with worked answers, none of which is in a split; a pure function of (seed, index)."""
        for index in range(start, start + count):
            yield self._draw("learn", f"{self.name}-{seed}-{index}")

    def apart(self, purpose: str) -> list[Example]:
        """Examples for dev loss ("dev", the split of that name), or for an "examination" beside the splits."""
        return self.examples("dev") if purpose == "dev" else list(islice(self._part(purpose), self.size))

    def examples(self, split: str, limit: int | None = None) -> list[Example]:
        """The first ones of a split: always the same, in the same order."""
        if split not in self.known_splits:
            raise LimbeckError(f"task {self.name!r} has no split {split!r}", "split", f"name one of: {', '.join(self.known_splits)}")
        return list(islice(self._part(split), min(limit or self.size, self.size)))

    def _part(self, part: str) -> Iterator[Example]:
        """Different examples of one part; the end comes early where a family has no more."""
        seen: set[str] = set()
        for index in range(self.size):
            for again in range(20):
                example = self._draw(part, f"{self.name}-{part}-{index}", again)
                if example.meta["key"] not in seen:
                    break
            else:
                return
            seen.add(str(example.meta["key"]))
            yield example

    def _draw(self, part: str, name: str, again: int = 0) -> Example:
        for turn in range(TRIES):
            example = self._make(int(content_id([name, again, turn], 8), 16))
            if example is not None and self.part_of(example) == part:
                prompt = Prompt(id=name, text=example.prompt.text, context=example.prompt.context)
                return Example(id=name, prompt=prompt, gold=example.gold, source=example.source, meta=example.meta)
        raise LimbeckError(f"task {self.name!r} has too few different questions to keep some apart", part, "name another task or family")


class GsmTask(GeneratedTask):
    """Word problems of 85 templates with worked answers in which every step that can be read holds. `unseen` has templates that are never given to learn from."""

    name = "gsm"
    measures = ("correct", "no_wrong_step")
    known_splits = ("test", "dev", "unseen")

    def __init__(self) -> None:
        self.version = f"{VERSION}-{_library()}-{content_id(ASK, 6)}"

    def part_of(self, example: Example) -> str:
        """`unseen` by its template; else by the question."""
        return "unseen" if int(content_id(["template", example.meta["cluster"]], 8), 16) % 8 == 0 else super().part_of(example)

    def _make(self, seed: int) -> Example | None:
        item, template = _item("gsm_symbolic", seed)
        solution, _, said = item["metadata"]["answer_cot"].rpartition("#### ")
        gold, solution = to_number(item["answer"]), solution.strip()
        if gold is None or not solution or to_number(said.strip()) != gold or wrong_step(solution):
            return None
        question = item["question"].removesuffix(SUFFIX)
        meta = {"key": " ".join(question.split()), "cluster": template, "family": f"template {template}"}
        return Example(id="", prompt=Prompt(id="", text=ASK.format(question=question)), gold=(f"{solution}\nThe answer is {item['answer']}.",), source=f"reasoning-gym {_library()}", meta=meta)

    def verify(self, prompt: Prompt, candidate: Candidate) -> Check:
        """A number is there; the last one is what is answered."""
        said = last_number(candidate.text)
        return Check(ok=said is not None, reason="" if said is not None else "no number in the answer", outcome=said)

    def judge(self, example: Example, text: str) -> dict[str, float] | str:
        """Right where the last number is the gold's to 1e-6; and whether every step "A op B = C" that can be read holds."""
        said, gold = last_number(text), last_number(example.gold[0])
        if said is None or gold is None:
            return "no number in the answer"
        return {"correct": float(abs(said - gold) < 1e-6), "no_wrong_step": float(not wrong_step(text))}


class NumbersTask(GeneratedTask):
    """Numbers, each used once, with + - * / and brackets, make a target. Any expression that does is right; no gold is needed to see it.

    The context holds "numbers" and "target".
    """

    measures = ("correct",)
    game = "countdown"

    def verify(self, prompt: Prompt, candidate: Candidate) -> Check:
        """Makes the target of the numbers; the outcome is a form that equal ways of writing it share."""
        return check_expression(candidate.text, prompt.context["numbers"], prompt.context["target"])

    def judge(self, example: Example, text: str) -> dict[str, float] | str:
        """Right where it makes the target of the numbers; unreadable where there is no expression."""
        try:
            work_out(said_expression(text))
        except ValueError as problem:
            return f"no expression: {problem}"
        return {"correct": float(self.verify(example.prompt, Candidate(text=text)).ok)}

    def _example(self, game: Game, key: list[int]) -> Example:
        prompt = Prompt(id="", text=ASK_FOR_EXPRESSION.format(question=game.question), context={"numbers": list(game.numbers), "target": game.target})
        gold = "\n".join((*game.steps, f"The answer is {game.expression}."))
        return Example(id="", prompt=prompt, gold=(gold,), source="made here", meta={"key": content_id(key), "family": f"{len(game.numbers)} numbers"})


class CountdownTask(NumbersTask):
    """4 to 6 numbers up to 100 make a target of 100 to 999, as in reasoning-gym; what is kept apart is kept apart by the numbers, in any order.

    `rules` such as "numbers=3,largest=9,targets=1-60" make easier games (`countdown:RULES`); of these there are few sets of numbers, so they are
    kept apart by numbers and target.
    """

    name = "countdown"

    def __init__(self, rules: str = "") -> None:
        self.rules, self.is_varied = read_rules(rules), bool(rules)
        self.name = f"countdown:{rules}" if rules else "countdown"
        self.version = f"{VERSION}-{content_id(ASK_FOR_EXPRESSION, 6)}"

    def _make(self, seed: int) -> Example | None:
        game = draw_countdown(random.Random(seed), self.rules)
        return self._example(game, [*sorted(game.numbers), *([game.target] if self.is_varied else [])]) if game else None


def read_rules(text: str) -> Rules:
    """Rules from "numbers=3-4,largest=9,targets=1-60"; what is not said is reasoning-gym's. Raises LimbeckError for what makes no game."""
    where, fix = f"countdown:{text}", "e.g. countdown:numbers=3-4,largest=9,targets=1-60"
    found: dict[str, tuple[int, int]] = {}
    for part in text.split(",") if text else ():
        name, _, value = part.strip().partition("=")
        low, dash, high = value.partition("-")
        if name not in ("numbers", "largest", "targets") or not low.isdecimal() or (dash and not high.isdecimal()) or (dash and name == "largest") or name in found:
            raise LimbeckError(f"{part.strip()!r} is no rule of countdown", where, fix)
        found[name] = (int(low), int(high if dash else low))
    rules = Rules(**{name: value[0] if name == "largest" else value for name, value in found.items()})  # type: ignore[arg-type]
    if not (2 <= rules.numbers[0] <= rules.numbers[1] <= 8 and 2 <= rules.largest <= 1000 and 1 <= rules.targets[0] <= rules.targets[1] <= LARGEST_STEP):
        raise LimbeckError(f"no game has these rules: 2 to 8 numbers, the largest 2 to 1000, targets 1 to {LARGEST_STEP:,}, the lower bound first", where, fix)
    return rules


class Puzzle24Task(NumbersTask):
    """Four numbers up to 10 make 24. There are 715 such fours: a sixth of them are dev, test and examination each, a half to learn from."""

    name = "puzzle24"
    parts = 6

    def __init__(self) -> None:
        self.version = f"{VERSION}-{content_id(ASK_FOR_EXPRESSION, 6)}"

    def _make(self, seed: int) -> Example | None:
        game = draw_puzzle24(random.Random(seed))
        return self._example(game, sorted(game.numbers)) if game else None

    def _part(self, part: str) -> Iterator[Example]:
        """All fours of a part that can make 24."""
        for four in combinations_with_replacement(range(1, 11), 4):
            key = Example(id="", prompt=Prompt(id="", text=""), meta={"key": content_id(list(four))})
            if self.part_of(key) == part and is_solvable(four):
                name = f"{self.name}-{part}-{'-'.join(map(str, four))}"
                game = draw_puzzle24(random.Random(content_id(name)), four)
                if game:
                    made = self._example(game, sorted(game.numbers))
                    yield Example(id=name, prompt=Prompt(id=name, text=made.prompt.text, context=made.prompt.context), gold=made.gold, source=made.source, meta=made.meta)


class FamilyTask(GeneratedTask):
    """One family of reasoning-gym. `judged_by` says how: "expression", "number", "library" (its own scorer says 1.0) or "exact"."""

    measures = ("correct",)
    size = 200

    def __init__(self, family: str) -> None:
        known = _families()
        if family in WITHOUT_GOLD:
            raise LimbeckError(f"family {family!r} gives no gold answer to learn from", f"reasoning:{family}", "name another family; docs/reasoning.md lists them")
        if family not in known:
            near = difflib.get_close_matches(family, known, 1, 0.4)
            raise LimbeckError(f"reasoning-gym has no family {family!r}", f"reasoning:{family}", f"{f'did you mean {near[0]!r}? ' if near else ''}known: {', '.join(known)}")
        self.family, self.name = family, f"reasoning:{family}"
        self.version = f"{VERSION}-{_library()}-{content_id(ASK_FOR_ANSWER, 6)}"
        self.judged_by = "expression" if family in ("countdown", "puzzle24") else "number" if family == "gsm_symbolic" else "library" if family in LIBRARY_SCORES else "exact"

    def _make(self, seed: int) -> Example | None:
        item, template = _item(self.family, seed)
        context: dict[str, Any] = {}
        if self.judged_by == "expression":
            context = {"numbers": [int(n) for n in item["metadata"]["numbers"]], "target": int(item["metadata"].get("target", 24))}
            if not check_expression(str(item["answer"]), context["numbers"], context["target"]).ok:
                return None  # the library cuts targets down to whole numbers
        prompt = Prompt(id="", text=ASK_FOR_ANSWER.format(question=item["question"].strip()), context=context)
        return Example(id="", prompt=prompt, gold=(f"Answer: {item['answer']}",), source=f"reasoning-gym {_library()}", meta={"key": " ".join(item["question"].split()), "seed": seed, "family": template or self.family})

    def verify(self, prompt: Prompt, candidate: Candidate) -> Check:
        """There is an answer; expressions and numbers are read. The outcome is what is answered."""
        if self.judged_by == "expression":
            return check_expression(said_answer(candidate.text), prompt.context["numbers"], prompt.context["target"])
        said = said_answer(candidate.text)
        value = last_number(said) if self.judged_by == "number" else _lines(said)
        is_read = value is not None and value != ""
        return Check(ok=is_read, reason="" if is_read else "no answer is given", outcome=value)

    def judge(self, example: Example, text: str) -> dict[str, float] | str:
        """Right by the family's checker."""
        check = self.verify(example.prompt, Candidate(text=text))
        if self.judged_by == "expression":
            return {"correct": float(check.ok)}
        if not check.ok:
            return check.reason
        said, gold = said_answer(text), said_answer(example.gold[0])
        if self.judged_by == "number":
            wanted = to_number(gold)
            return {"correct": float(wanted is not None and isinstance(check.outcome, float) and abs(check.outcome - wanted) < 1e-6)}
        return {"correct": float(_lines(said) == _lines(gold) or (self.judged_by == "library" and self._library_says_right(said, int(example.meta["seed"]))))}

    def _library_says_right(self, said: str, seed: int) -> bool:
        if len(said) > LONGEST_ANSWER:
            return False
        item, _ = _item(self.family, seed)
        try:
            return _dataset(self.family, seed).score_answer(said, deepcopy(item)) == 1.0  # some scorers write into what they are shown
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, RecursionError):
            return False  # a scorer that stumbles over an answer has not called it right


def check_expression(text: str, numbers: Sequence[int], target: int) -> Check:
    """Whether the expression of an answer makes the target with each number used once."""
    try:
        found = work_out(said_expression(text))
    except ValueError as problem:
        return Check(ok=False, reason=f"no expression: {problem}")
    if sorted(found.numbers) != sorted(map(Fraction, numbers)):
        return Check(ok=False, reason="other numbers than those given", outcome=found.form)
    if found.value != target:
        return Check(ok=False, reason="another value than the target", outcome=found.form)
    return Check(ok=True, outcome=found.form)


def said_expression(text: str) -> str:
    """What stands after the last "The answer is" on its line, else the last line; without a full stop, marks around it, and "= N" after it."""
    head, mark, tail = text.rpartition("The answer is")
    lines = (tail if mark else head or text).strip().splitlines()
    line = (lines[0] if mark else lines[-1]) if lines else ""
    return line.split("=")[0].strip().lstrip(":").strip("$`*. ")


def said_answer(text: str) -> str:
    """What stands after the last "Answer:", line breaks and all; the whole text where it is not there."""
    return text.rpartition("Answer:")[2].strip()


def _lines(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


@lru_cache(maxsize=1)
def _library() -> str:
    try:
        return metadata.version("reasoning-gym")
    except metadata.PackageNotFoundError as problem:
        raise LimbeckError("reasoning-gym is not installed", "tasks gsm and reasoning:FAMILY", "pip install 'limbeck[reasoning]'") from problem


def _families() -> list[str]:
    _library()
    import reasoning_gym  # noqa: F401  (registers the families)
    from reasoning_gym.factory import DATASETS

    return sorted(set(DATASETS) - WITHOUT_GOLD)


@lru_cache(maxsize=64)
def _dataset(family: str, seed: int) -> Any:
    _library()
    import reasoning_gym

    return reasoning_gym.create_dataset(family, seed=seed, size=1)


@lru_cache(maxsize=4096)
def _item(family: str, seed: int) -> tuple[dict[str, Any], str]:
    """The one item of a dataset of this seed: a pure function, as items of one dataset with neighbouring seeds would not be; and its template, where it has one."""
    dataset = _dataset(family, seed)
    templates = getattr(dataset, "task_indices", None)
    return dataset[0], str(templates[0]) if templates else ""
