"""Weights on this machine with a ledger behind them: an answer that was given is not worked out again, and a killed run goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from limbeck.records import Answer, Candidate, Prompt, content_id
from limbeck.teachers.ledger import Draw, Ledger, not_in_ledger

HOST = "here"
PORTION = 64  # prompts worked on together; where one of them is missing all are worked out again, so that a killed run draws the same


class Remembered:
    """A local language model, asked for samples; all else is the model's own. `identity` is what must be equal for the same answers.

    `offline` refuses to work out what the ledger lacks.
    """

    draws_samples = True

    def __init__(self, model: Any, identity: Any, ledger: Ledger, run: str, progress: Callable[[dict[str, Any]], None] | None = None, offline: bool = False) -> None:
        self._offline = offline
        self._model, self._identity, self._ledger, self._run, self.progress = model, identity, ledger, run, progress
        self.name: str = model.name
        self.parameters: int | None = model.parameters

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._model, name)

    def accounts(self) -> dict[str, Any]:
        """The run's accounts from the ledger; what is worked out here costs no dollars."""
        self._ledger.flush()
        return self._ledger.spent(self._run)

    def answer(self, prompts: Sequence[Prompt], *, k: int = 1) -> list[Answer]:
        """All answers, in order."""
        found: dict[int, Answer] = {}
        self.answer_each(prompts, k, lambda at, answer: found.__setitem__(at, answer))
        return [found[at] for at in range(len(prompts))]

    def answer_each(self, prompts: Sequence[Prompt], k: int, done: Callable[[int, Answer], None]) -> None:
        """Calls `done(index, answer)` as answers come in, in portions. Raises LimbeckError where one is missing and this is offline."""
        keys = [content_id([self._identity, self._model.settings(), p.text, p.context.get("messages"), k], 32) for p in prompts]
        known = self._ledger.find(list(dict.fromkeys(keys)))
        missing = [p.id for p, key in zip(prompts, keys, strict=True) if key not in known]
        if missing and self._offline:
            raise not_in_ledger(len(missing), len(prompts), missing[0], str(self._ledger.path))
        self._ledger.begin(self._run, [(p.id, key, k) for p, key in zip(prompts, keys, strict=True)])
        for start in range(0, len(keys), PORTION):
            part = list(range(start, min(start + PORTION, len(keys))))
            if all(keys[at] in known for at in part):
                for at in part:
                    self._end(prompts[at], keys[at], _answer(prompts[at], [known[keys[at]][n] for n in sorted(known[keys[at]])]), at, done)
                continue
            last = time.perf_counter()

            def keep(place: int, answer: Answer, part: list[int] = part) -> None:
                nonlocal last
                at, now = part[place], time.perf_counter()
                self._ledger.keep(keys[at], _draws(answer, keys[at], k, now - last), run=self._run, model=self.name, host=HOST)
                last = now
                self._end(prompts[at], keys[at], answer, at, done)

            self._model.answer_each([prompts[at] for at in part], k, keep)
        self._ledger.flush()

    def _end(self, prompt: Prompt, key: str, answer: Answer, at: int, done: Callable[[int, Answer], None]) -> None:
        self._ledger.end(self._run, prompt.id, key, "answered" if answer.status == "scored" else answer.status, answer.reason)
        done(at, answer)


def _draws(answer: Answer, request: str, k: int, seconds: float) -> list[Draw]:
    """An answer's candidates as rows; an empty answer is a row too, so that it is not worked out again."""
    tokens = answer.meta.get("tokens", {})
    texts: list[str | None] = [c.text for c in answer.candidates] or [None]
    written = [c.meta.get("tokens") for c in answer.candidates] or [tokens.get("completion")]
    return [
        Draw(
            number=number, request=request, asked=k, text=text, refusal="", tokens_in=tokens.get("prompt") if number == 0 else 0, tokens_out=written[number],
            cost_usd=0.0, latency_s=seconds, time=time.time(), more={} if text is not None else {"reason": answer.reason, "status": answer.status},
        )
        for number, text in enumerate(texts)
    ]  # fmt: skip


def _answer(prompt: Prompt, draws: Sequence[Draw]) -> Answer:
    texts = tuple(Candidate(text=d.text) for d in draws if d.text is not None)
    meta = {"replayed": True, "tokens": {"prompt": draws[0].tokens_in, "completion": None if any(d.tokens_out is None for d in draws) else sum(d.tokens_out or 0 for d in draws)}}
    return Answer(prompt_id=prompt.id, candidates=texts, meta=meta) if texts else replace(Answer(prompt_id=prompt.id, meta=meta), status=draws[0].more.get("status", "no_answer"), reason=draws[0].more.get("reason", "empty"))
