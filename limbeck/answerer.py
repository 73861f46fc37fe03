"""Who answers: teacher, student, panel and baseline are all one thing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from limbeck.records import Answer, Prompt


@runtime_checkable
class Answerer(Protocol):
    """Anything that turns prompts into ranked answers."""

    name: str
    parameters: int | None  # trainable numbers inside; None where nobody knows

    def answer(self, prompts: Sequence[Prompt], *, k: int = 1) -> list[Answer]:
        """One answer a prompt, in order, each with at most `k` distinct candidates, best first."""
        ...
