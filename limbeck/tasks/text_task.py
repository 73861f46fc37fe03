"""What tasks for language models share: a prompt of messages in, free text out, one measure that decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from limbeck.errors import LimbeckError
from limbeck.records import Answer, Candidate, Check, Example, Prompt, Verdict


class TextTask:
    """A task whose answers are free text. A subclass gives `name`, `version`, `_load(split)` and `judge(example, text)`.

    Conventions that answerers and the examination rely on:
    Prompt.text is what a person would read; Prompt.context may hold "messages" (chat messages, system and few-shot ones
    included; without it, Prompt.text is the one user message) and "choices" (the strings whose likelihoods decide, where an
    answerer can give them). Example.meta may hold "cluster" (examples that share a source: errors are clustered by it) and
    "family" (results are also shown by it).
    """

    name = ""
    version = ""
    measures: tuple[str, ...] = ("correct",)  # the first decides
    known_splits: tuple[str, ...] = ("test",)
    limit_spreads = False  # whether a limit takes some of every family (subject, language) and not all of the first

    def splits(self) -> Sequence[str]:
        """Names that `examples` takes; the first is the one that is quoted."""
        return self.known_splits

    def examples(self, split: str, limit: int | None = None) -> list[Example]:
        """The examples of one split in the order of their source."""
        if split not in self.known_splits:
            raise LimbeckError(f"task {self.name!r} has no split {split!r}", "split", f"name one of: {', '.join(self.known_splits)}")
        found = self._load(split)
        if not limit:
            return found
        return spread(found, limit) if self.limit_spreads else found[:limit]

    def _load(self, split: str) -> list[Example]:
        raise NotImplementedError

    def generate(self, seed: int, count: int, start: int = 0) -> Iterator[Example]:
        """These examples were written by people: none can be made."""
        raise LimbeckError(f"task {self.name!r} cannot make examples", "generate", "use a task with a generator, such as cf")

    def judge(self, example: Example, text: str) -> dict[str, float] | str:
        """The measures of one text, or why it cannot be judged (unparsable)."""
        raise NotImplementedError

    def verify(self, prompt: Prompt, candidate: Candidate) -> Check:
        """Fit to be judged: not empty."""
        return Check(ok=bool(candidate.text.strip()), reason="" if candidate.text.strip() else "empty")

    def score(self, example: Example, answer: Answer) -> Verdict:
        """Each candidate judged; `no_answer` where not even the first can be."""
        if answer.status != "scored" or not answer.candidates:
            return Verdict(status=answer.status if answer.status != "scored" else "no_answer", reason=answer.reason or "no candidates")
        judged = [self.judge(example, c.text) for c in answer.candidates]
        if isinstance(judged[0], str):
            return Verdict(status="no_answer", reason=judged[0])
        zeros = dict.fromkeys(judged[0], 0.0)  # a later candidate that cannot be read is simply not right
        rows = [j if isinstance(j, dict) else zeros for j in judged]
        return Verdict(status="scored", measures={name: tuple(float(r[name]) for r in rows) for name in judged[0]})


def spread(examples: Sequence[Example], limit: int) -> list[Example]:
    """The first ones of every family in turn, in the order of the source. A larger limit holds all that a smaller one does."""
    seen: dict[str, int] = {}
    turns = []
    for at, example in enumerate(examples):
        family = str(example.meta.get("family", ""))
        seen[family] = seen.get(family, 0) + 1
        turns.append((seen[family], at))
    return [examples[at] for at in sorted(at for _, at in sorted(turns)[:limit])]
