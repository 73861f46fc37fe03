"""Task python: English in, a line or lines of Python out, judged against gold code. None is run, unless running was asked for."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

from limbeck.records import Answer, Candidate, Check, Example, Prompt, Score, Verdict, content_id
from limbeck.tasks.intervals import grouped_rate
from limbeck.tasks.python import metrics, pool
from limbeck.tasks.python.loading import ASK, SPLITS, make_examples, make_prompt
from limbeck.tasks.python.neural import find_codebertscore
from limbeck.tasks.python.running import ProgramTests
from limbeck.tasks.text_task import TextTask

SCORER_VERSION = 2
FENCE = re.compile(r"```[ \t]*(?:python3?|py)?[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")


class PythonTask(TextTask):
    """CoNaLa and its kin. `line_bleu` decides where lines are compared in pairs; the corpus BLEU-4 that papers show is the row `bleu-1`."""

    name = "python"
    licence = "mit+cc-by-sa-4.0+psf-2.0"  # of its training texts
    version = f"{SCORER_VERSION}-{content_id(ASK, 6)}"
    measures = ("line_bleu", "exact", "same_tree")
    known_splits = SPLITS
    many_answers = True  # people gave several lines for one question: each is worth learning
    never_trained_on = ("dev", "test")

    judged_together = 64
    score_all: Any = None  # with `run`: judges by the batch

    def __init__(self, code: Sequence[str] = (), run: bool = False, unsafe_local: bool = False) -> None:
        """`code`: places on this machine whose code is learnt from beside CoNaLa: "stdlib", "packages", or folders.

        `run`: also the measure `passed`, by running answers against the tests that split odex has, in a sandbox.
        """
        self.code = tuple(code)
        self.tests = ProgramTests(unsafe_local) if run or unsafe_local else None
        if self.tests:
            self.score_all = self._score_and_run
            self.version = f"{self.version}-{self.tests.version}"
        self.settings = {"run": True} if self.tests else {}

    def ready(self) -> None:
        """Raises LimbeckError where programs are to be run and cannot be run safely."""
        if self.tests:
            self.tests.ready()

    def _score_and_run(self, examples: Sequence[Example], answers: Sequence[Answer]) -> list[Verdict]:
        verdicts = [self.score(e, a) for e, a in zip(examples, answers, strict=True)]
        assert self.tests
        return self.tests.add(examples, [[unwrap(c.text) for c in a.candidates] for a in answers], verdicts)

    def prompt_for(self, text: str) -> Prompt:
        """A request as it is asked in an examination."""
        return make_prompt("ask", " ".join(text.split()))

    def family(self, text: str) -> Hashable:
        """What lines that differ only in their names and values have in common: the shape of the syntax tree."""
        tree = metrics.syntax_tree(unwrap(text))
        return re.sub(r"'[^']*'|\b\d[\d.]*\b", "", tree) if tree is not None else None

    def utility(self, text: str, other: str) -> float:
        """How alike two lines are, in [0, 1]: what minimum Bayes risk adds up."""
        return metrics.line_bleu([unwrap(other)], unwrap(text))

    def generate(self, seed: int, count: int, start: int = 0) -> Iterator[Example]:
        """Training pairs with values varied, each a pure function of (seed, index) and of the code that is read; `apart` keeps its groups out."""
        return (_pair_example(f"python-{seed}-{index}", pool.pick(self.code, seed, index)) for index in range(start, start + count))

    def apart(self, purpose: str) -> list[Example]:
        """CoNaLa's training pairs that `generate` never gives: for "dev" or for the "examination"."""
        return [_pair_example(f"python-{purpose}-{at}", pair) for at, pair in enumerate(pool.people_pairs(purpose))]

    def _load(self, split: str) -> list[Example]:
        return list(make_examples(split))

    def judge(self, example: Example, text: str) -> dict[str, float] | str:
        """All measures of one answer, or why it gets none."""
        code = unwrap(text)
        if reason := metrics.why_unreadable(code):
            return reason
        tree = metrics.syntax_tree(code)
        same = tree is not None and any(metrics.syntax_tree(gold) == tree for gold in example.gold)
        return {"line_bleu": metrics.line_bleu(example.gold, code), "exact": float(metrics.is_exact(example.gold, code)), "same_tree": float(same), "valid": float(tree is not None)}

    def tidy(self, text: str) -> str:
        """The code in what a language model said."""
        return unwrap(text)

    def verify(self, prompt: Prompt, candidate: Candidate) -> Check:
        """Python 3 that parses; its outcome is its syntax tree."""
        code = unwrap(candidate.text)
        if reason := metrics.why_unreadable(code):
            return Check(ok=False, reason=reason)
        tree = metrics.syntax_tree(code)
        return Check(ok=tree is not None, reason="" if tree is not None else "not Python 3", outcome=tree)

    def score(self, example: Example, answer: Answer) -> Verdict:
        """Each candidate judged. `failed`, with the reason of the first, where none can be; one that cannot be, among others, gets zeros."""
        if answer.status != "scored" or not answer.candidates:
            return Verdict(status=answer.status if answer.status != "scored" else "no_answer", reason=answer.reason or "no candidates")
        judged = [self.judge(example, c.text) for c in answer.candidates]
        reasons = [j for j in judged if isinstance(j, str)]
        if len(reasons) == len(judged):
            return Verdict(status="failed", reason=reasons[0])
        zeros = dict.fromkeys((*self.measures, "valid"), 0.0)
        rows = [zeros if isinstance(j, str) else j for j in judged]
        return Verdict(status="scored", measures={name: tuple(row[name] for row in rows) for name in zeros})

    def summarise(self, examples: Sequence[Example], trials: Sequence[Mapping[str, Any]]) -> list[Score]:
        """BLEU-4 of the first answers over all examples (an answer that is missing is an empty line), and CodeBERTScore where it is at hand."""
        known = {e.id: e for e in examples}
        asked = [known[t["id"]] for t in trials]
        lines = [_first(t) for t in trials]
        groups: dict[Any, list[metrics.Overlap]] = {}
        for example, line in zip(asked, lines, strict=True):
            groups.setdefault(example.meta.get("cluster", example.id), []).append(metrics.overlap(example.gold, line))
        if not groups:
            return []
        rows = [row for group in groups.values() for row in group]
        low, high = metrics.bleu_interval(list(groups.values()))
        bleu = Score(name="bleu-1", value=metrics.corpus_bleu(rows) / 100, n=len(rows), low=low / 100, high=high / 100, missing=sum(not line for line in lines))
        return [bleu, *_codebertscores(asked, trials), *(self.tests.summarise(asked, trials) if self.tests else ())]


def _pair_example(name: str, pair: tuple[str, str]) -> Example:
    return Example(id=name, prompt=Prompt(id=name, text=pair[0]), gold=(pair[1],), source="python/train")


def unwrap(text: str) -> str:
    """Code without the Markdown that language models put around it, and without a common indent."""
    found = FENCE.search(text)
    if found:
        return textwrap.dedent(found[1]).strip()
    inline = INLINE.fullmatch(text.strip())
    return inline[1].strip() if inline else textwrap.dedent(text).strip()


def _first(trial: Mapping[str, Any]) -> str:
    code = unwrap(trial["candidates"][0]) if trial["status"] == "scored" and trial["candidates"] else ""
    return "" if metrics.why_unreadable(code) else code


def _codebertscores(examples: Sequence[Example], trials: Sequence[Mapping[str, Any]]) -> list[Score]:
    scorer = find_codebertscore()
    judged = [(e, t) for e, t in zip(examples, trials, strict=True) if t["status"] == "scored" and t["candidates"]]
    if scorer is None or not judged:
        return []
    flat = [(number, unwrap(text), example.gold[0]) for number, (example, trial) in enumerate(judged) for text in trial["candidates"][:5]]
    out = []
    for kind, values in scorer([line for _, line, _ in flat], [gold for _, _, gold in flat]).items():
        by_example: list[list[float]] = [[] for _ in judged]
        for (number, _, _), value in zip(flat, values, strict=True):
            by_example[number].append(value)
        for rank in (1, 3, 5):
            if rank == 1 or any(len(v) >= rank for v in by_example):
                best = [max(v[:rank]) for v in by_example]
                out.append(grouped_rate(f"codebertscore_{kind}-{rank}", best, [1.0] * len(best), len(trials) - len(judged)))
    return out
