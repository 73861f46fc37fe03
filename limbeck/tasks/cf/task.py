"""Task cf: English and a table in, a conditional-formatting rule out, judged by the rows it marks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib import resources

from limbeck.errors import LimbeckError
from limbeck.records import Answer, Candidate, Check, Example, Prompt, Verdict
from limbeck.tasks.cf import official, posing
from limbeck.tasks.cf.executor import cells_of, run_rule
from limbeck.tasks.cf.generator import generate_one
from limbeck.tasks.cf.language import SCALES, Rule, RuleError, columns_of, parse, print_rule
from limbeck.tasks.cf.reading import describe_table
from limbeck.tasks.cf.table import Table

SPLITS = ("people-dev", "people-test", "official", "official-determined", "generated")
GENERATED_SEED, GENERATED_COUNT = 20_240, 1_000


class CFTask:
    """The job. Its version changes with the prompt's form, the executor or a scorer."""

    name = "cf"
    version = "1"
    never_trained_on = ("people-dev", "people-test")

    def splits(self) -> Sequence[str]:
        """People's own utterances (two halves), the official train file (two cuts), and fresh generated ones."""
        return SPLITS

    def examples(self, split: str, limit: int | None = None) -> list[Example]:
        """The examples of a split in a fixed order. The official ones need the published file, see `limbeck data list`."""
        if split.startswith("people-"):
            found = _people(split.removeprefix("people-"))
        elif split == "official":
            found = official.load_official()[0]
        elif split == "official-determined":
            found = [e for e in official.load_official()[0] if e.meta["determined"]]
        elif split == "generated":
            found = list(self.generate(GENERATED_SEED, GENERATED_COUNT))
        else:
            raise LimbeckError(f"task cf has no split {split!r}", "evaluate.splits", f"choose from {', '.join(SPLITS)}")
        return found[:limit] if limit else found

    def generate(self, seed: int, count: int, start: int = 0) -> Iterator[Example]:
        """Fresh examples with gold, each a pure function of (seed, index); `start` is the first one's index."""
        return (generate_one(seed, index) for index in range(start, start + count))

    def pose(self, prompt: Prompt) -> Prompt:
        """A request as language models are asked it."""
        return posing.pose(prompt)

    def tidy(self, text: str) -> str:
        """The rule in what a language model said."""
        return posing.tidy(text)

    def verify(self, prompt: Prompt, candidate: Candidate) -> Check:
        """Parses, runs, and marks some but not all rows; scales may mark all that hold numbers."""
        try:
            rule = parse(candidate.text)
        except RuleError:
            return Check(ok=False, reason="unparsable")
        try:
            marks = run_rule(rule, _table(prompt))
        except (RuleError, OverflowError):
            return Check(ok=False, reason="unrunnable")
        if not any(marks):
            return Check(ok=False, reason="marks_nothing", outcome=marks)
        if all(marks) and rule.function not in SCALES:
            return Check(ok=False, reason="marks_everything", outcome=marks)
        return Check(ok=True, outcome=(rule.function, *columns_of(rule)) if rule.function in SCALES else marks)

    def score(self, example: Example, answer: Answer) -> Verdict:
        """Execution match (the same rows as a gold rule), exact match, and whether a candidate is a rule that runs."""
        if answer.status != "scored":
            return Verdict(status=answer.status, reason=answer.reason)
        table = _table(example.prompt)
        golds = [parse(g) for g in example.gold]
        wanted = [run_rule(g, table) for g in golds]
        printed = {print_rule(g).lower() for g in golds}
        execution, exact, valid = [], [], []
        for candidate in answer.candidates:
            marks, text = _run(candidate.text, table)
            valid.append(float(marks is not None))
            execution.append(float(marks is not None and marks in wanted))
            exact.append(float(text.lower() in printed))
        return Verdict(status="scored", measures={"execution": tuple(execution), "exact": tuple(exact), "valid": tuple(valid)})

    def marked_cells(self, prompt: Prompt, text: str, column: int | None = None) -> list[list[int]]:
        """The cells a rule marks, as [row, column] from 0; none where it is no rule or does not run."""
        try:
            return cells_of(parse(text), _table(prompt), column)
        except (RuleError, OverflowError):
            return []


def _run(text: str, table: Table) -> tuple[tuple[bool, ...] | None, str]:
    try:
        rule: Rule = parse(text)
        return run_rule(rule, table), print_rule(rule)
    except (RuleError, OverflowError):
        return None, text


def _table(prompt: Prompt) -> Table:
    return describe_table(prompt.context["table"])[0]


@lru_cache(maxsize=4)
def _people(half: str) -> list[Example]:
    """Utterances that people wrote by hand, none by the generator."""
    raw = json.loads((resources.files("limbeck.tasks.cf") / "people" / f"{half}.json").read_text(encoding="utf-8"))
    out = []
    for entry in raw["examples"]:
        table = raw["tables"][entry["table"]]
        prompt = Prompt(id=entry["id"], text=entry["utterance"], context={"table": table})
        out.append(Example(id=entry["id"], prompt=prompt, gold=tuple(entry["gold"]), source=f"people-{half}"))
    return out
