"""Who says that a drawn answer is right before it is learnt from: the task's scorer, or a sandbox in which it is run, beside its gold or against tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from limbeck import resolve
from limbeck.errors import LimbeckError
from limbeck.recipe.schema import Recipe
from limbeck.records import Answer, Candidate, Example, Verdict

Score = Callable[[Example, Answer], Verdict]


def check_judge(recipe: Recipe) -> None:
    """Raises LimbeckError where answers are to be run that nobody here can run, or not safely."""
    if recipe.keep.run:
        _runner(recipe).ready()
    elif recipe.keep.gold and hasattr(task := resolve.get_task(recipe.recipe.task), "run_by"):
        task.ready()  # type: ignore[attr-defined]


def get_judge(recipe: Recipe, task: Any) -> Score | None:
    """By `keep.run` and `keep.gold`; None where neither asks for one. Gold itself is not run by `keep.run`: it is what others are held against."""
    if recipe.keep.run and recipe.teacher.model != "generator":
        return Runs(_runner(recipe), recipe.keep.gold)
    if recipe.keep.gold and hasattr(task, "run_by"):  # its scorer runs the tests: many at once
        return Runs(task, else_score=False)
    return task.score if recipe.keep.gold else None


class Runs:
    """Scores an answer 1 where it does what the gold does, or passes the tests. Where that tells nothing the scorer decides (`else_score`), or nobody: not scored."""

    def __init__(self, runner: Any, else_score: bool) -> None:
        self.runner, self.else_score, self.measure = runner, else_score, getattr(runner, "run_by", "functional")

    def see(self, pairs: Sequence[tuple[Example, str]]) -> None:
        """Run all these answers, as many at once as there are cores: what each did is remembered."""
        self.runner.score_all([e for e, _ in pairs], [_answer(e, text) for e, text in pairs])

    def __call__(self, example: Example, answer: Answer) -> Verdict:
        verdict = self.runner.score_all([example], [answer])[0]
        values = verdict.measures.get(self.measure)
        if values:
            return Verdict(status="scored", measures={self.measure: values}, reason=verdict.reason)
        if self.else_score and verdict.status == "scored":
            return verdict
        return Verdict(status="no_answer", reason=verdict.reason.partition(" (")[0] or verdict.status)


def _answer(example: Example, text: str) -> Answer:
    return Answer(prompt_id=example.prompt.id, candidates=(Candidate(text=text),))


def can_be_judged(judge: Score, examples: Sequence[Example]) -> list[Example]:
    """The examples about whose gold a judge has an opinion."""
    if isinstance(judge, Runs):
        judge.see([(e, e.gold[0]) for e in examples])
    return [e for e in examples if judge(e, _answer(e, e.gold[0])).status == "scored"]


def _runner(recipe: Recipe) -> Any:
    name = recipe.recipe.task
    if name == "bash":
        return resolve.get_task(name, run=True, code=recipe.distill.code or None)
    task: Any = resolve.get_task(name)
    if not hasattr(task, "run_by"):
        raise LimbeckError(f"nothing of task {name!r} can be run, beside its gold or against tests", "keep.run", "it is for tasks bash and functions; take keep.gold, or a task whose verifier works answers out itself (countdown, puzzle24)")
    return task
