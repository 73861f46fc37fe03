"""Task bash: English in, one Bash command line out, judged against gold commands. None is run, unless running was asked for."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

from limbeck.records import Answer, Candidate, Check, Example, Prompt, Score, Verdict, content_id
from limbeck.tasks.bash import metrics, pool
from limbeck.tasks.bash.fitness import is_valid, unwrap, why_unfit
from limbeck.tasks.bash.loading import ASK, SPLITS, make_examples, make_prompt
from limbeck.tasks.bash.metrics import template_of
from limbeck.tasks.bash.pool import pick
from limbeck.tasks.bash.scripts import EVERY, script_pairs
from limbeck.tasks.bash.tokens import tokenise
from limbeck.tasks.intervals import grouped_rate
from limbeck.tasks.text_task import TextTask

SCORER_VERSION = 1


class BashTask(TextTask):
    """NL2Bash and its kin. `cms` decides: what CODEFUSION's paper calls template match."""

    name = "bash"
    licence = "mit+cc-by-4.0+cc0-1.0"  # of its training texts
    version = f"{SCORER_VERSION}-{content_id(ASK, 6)}"
    measures = ("cms", "template", "command", "char_bleu", "nlc2cmd", "exact")
    compared = ("template",)  # beside the deciding measure, in a run's paired comparisons
    known_splits = SPLITS
    many_answers = True  # people gave several commands for one request: each is worth learning
    judged_together = 64
    score_all: Any = None  # with `run`: judges by the batch

    def __init__(self, run: bool = False, unsafe_local: bool = False, code: Sequence[str] = ()) -> None:
        """`run`: also the measure `functional`, by running commands in a sandbox (docs/bash.md). `code`: places of this
        machine whose shell scripts are learnt from too: "system", or folders."""
        self.code = tuple(code)
        if run or unsafe_local:
            from limbeck.tasks.bash.functional import FunctionalScore

            self.functional = FunctionalScore(unsafe_local)
            self.score_all = self._score_and_run
            self.version = f"{self.version}-{self.functional.version}"
        else:
            self.functional = None
        self.settings = {"run": True} if run else {}

    def ready(self) -> None:
        """Raises LimbeckError where commands are to be run and cannot be run safely."""
        if self.functional:
            self.functional.ready()

    def _score_and_run(self, examples: Sequence[Example], answers: Sequence[Answer]) -> list[Verdict]:
        verdicts = [self.score(e, a) for e, a in zip(examples, answers, strict=True)]
        assert self.functional
        return self.functional.add(examples, answers, verdicts)

    def generate(self, seed: int, count: int, start: int = 0) -> Iterator[Example]:
        """Training pairs with values varied, each a pure function of (seed, index); `apart` keeps its groups out."""
        return (_pair_example(f"bash-{seed}-{index}", self._pair(seed, index)) for index in range(start, start + count))

    def _pair(self, seed: int, index: int) -> tuple[str, str]:
        if self.code and index % EVERY == EVERY - 1 and (scripts := script_pairs(self.code)):
            return pick(scripts, seed, index // EVERY)
        return pick(pool.split_pairs("pool"), seed, index)

    def apart(self, purpose: str) -> list[Example]:
        """Training pairs that `generate` never gives: for "dev" or for the "examination"."""
        return [_pair_example(f"bash-{purpose}-{at}", pair) for at, pair in enumerate(pool.split_pairs(purpose))]

    def prompt_for(self, text: str) -> Prompt:
        """A request as it is asked in an examination."""
        return make_prompt("ask", text)

    def family(self, text: str) -> Hashable:
        """What commands that differ only in their values have in common: the template."""
        return template_of(tokenise(text))

    def utility(self, text: str, other: str) -> float:
        """How much of one command another says: the command match score."""
        return metrics.command_match_score((other,), text)

    def _load(self, split: str) -> list[Example]:
        return make_examples(split)

    def judge(self, example: Example, text: str) -> dict[str, float] | str:
        """All measures of one command, or why it gets none."""
        command = unwrap(text)
        if reason := why_unfit(command):
            return reason
        golds = example.gold
        return {
            "cms": metrics.command_match_score(golds, command), "template": float(metrics.is_same_template(golds, command)), "command": float(metrics.is_same_command(golds, command)),
            "char_bleu": metrics.char_bleu(golds, command), "nlc2cmd": metrics.nlc2cmd_score(golds, command), "exact": float(" ".join(command.split()) in {" ".join(g.split()) for g in golds}),
            "valid": float(is_valid(command)),
        }  # fmt: skip

    def tidy(self, text: str) -> str:
        """The code in what a language model said."""
        return unwrap(text)

    def verify(self, prompt: Prompt, candidate: Candidate) -> Check:
        """Bash through and through, and one line. Its outcome is the template with its values: equal commands, however spelt."""
        command = unwrap(candidate.text)
        reason = why_unfit(command) or ("" if is_valid(command) else "not Bash")
        if reason:
            return Check(ok=False, reason=reason)
        tokens = tokenise(command)
        return Check(ok=True, outcome=(template_of(tokens), tuple(t.text for t in tokens if t.role == "argument")))

    def score(self, example: Example, answer: Answer) -> Verdict:
        """Each candidate judged. `failed`, with the reason of the first, where none can be; one that cannot be, among others, gets zeros."""
        if answer.status != "scored" or not answer.candidates:
            return Verdict(status=answer.status if answer.status != "scored" else "no_answer", reason=answer.reason or "no candidates")
        judged = [self.judge(example, c.text) for c in answer.candidates]
        reasons = [j for j in judged if isinstance(j, str)]
        if len(reasons) == len(judged):
            return Verdict(status="failed", reason=reasons[0])
        zeros = dict.fromkeys((*self.measures, "valid"), 0.0) | {"nlc2cmd": -1.0}
        rows = [zeros if isinstance(j, str) else j for j in judged]
        return Verdict(status="scored", measures={name: tuple(row[name] for row in rows) for name in zeros})

    def summarise(self, examples: Sequence[Example], trials: Sequence[Mapping[str, Any]]) -> list[Score]:
        """The rows of the papers: every example counts, what cannot be judged as 0 (NLC2CMD: -1), as the reference scorers do."""
        known = {e.id: e for e in examples}
        out = []
        for measure in ("cms", "template", "command"):
            for rank in (1, 3, 5):
                if rank == 1 or any(len(t["candidates"]) >= rank for t in trials):
                    values = [max(t[measure][:rank], default=0.0) if t["status"] == "scored" else 0.0 for t in trials]
                    out.append(_by_cluster(f"{measure}_official-{rank}", values, [known[t["id"]] for t in trials]))
        values = [best_nlc2cmd(t["nlc2cmd"][:5]) if t["status"] == "scored" else -1.0 for t in trials]
        more = self.functional.summarise([known[t["id"]] for t in trials], trials) if self.functional else []
        return [*out, _by_cluster("nlc2cmd_official", values, [known[t["id"]] for t in trials]), *more]


def _pair_example(name: str, pair: tuple[str, str]) -> Example:
    return Example(id=name, prompt=Prompt(id=name, text=pair[0]), gold=(pair[1],), source="bash/train")


def best_nlc2cmd(values: Sequence[float]) -> float:
    """Of several commands the competition takes the best where one is above zero, else their mean."""
    if not values:
        return -1.0
    return max(values) if max(values) > 0 else sum(values) / len(values)


def _by_cluster(name: str, values: Sequence[float], examples: Sequence[Example]) -> Score:
    groups: dict[Any, list[float]] = {}
    for value, example in zip(values, examples, strict=True):
        groups.setdefault(example.meta.get("cluster", example.id), []).append(value)
    return grouped_rate(name, [sum(g) for g in groups.values()], [float(len(g)) for g in groups.values()])
