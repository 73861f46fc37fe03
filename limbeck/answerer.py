"""Who answers: teacher, student, panel and baseline are all one thing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from limbeck.records import Answer, Prompt


@runtime_checkable
class Answerer(Protocol):
    """Anything that turns prompts into ranked answers."""

    name: str
    parameters: int | None  # trainable numbers inside; None where nobody knows

    def answer(self, prompts: Sequence[Prompt], *, k: int = 1) -> list[Answer]:
        """One answer a prompt, in order, each with at most `k` distinct candidates, best first."""
        ...


class Posed:
    """An answerer that reads text, asked as a task puts its requests in words; its answers are tidied. All else is its own."""

    def __init__(self, answerer: Any, pose: Callable[[Prompt], Prompt], tidy: Callable[[str], str]) -> None:
        self._answerer, self._pose, self._tidy = answerer, pose, tidy
        self.name: str = answerer.name
        self.parameters: int | None = answerer.parameters
        if hasattr(answerer, "answer_each"):
            self.answer_each = self._answer_each
        if hasattr(answerer, "measure"):
            self.measure = lambda prompt: answerer.measure(pose(prompt))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._answerer, name)

    def answer(self, prompts: Sequence[Prompt], *, k: int = 1) -> list[Answer]:
        """As the answerer answers the posed prompts."""
        return [self._read(a) for a in self._answerer.answer([self._pose(p) for p in prompts], k=k)]

    def _answer_each(self, prompts: Sequence[Prompt], k: int, done: Callable[[int, Answer], None]) -> None:
        self._answerer.answer_each([self._pose(p) for p in prompts], k, lambda at, answer: done(at, self._read(answer)))

    def _read(self, answer: Answer) -> Answer:
        return replace(answer, candidates=tuple(replace(c, text=self._tidy(c.text)) for c in answer.candidates))
