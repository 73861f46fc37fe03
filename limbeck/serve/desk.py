"""Between a request and an answerer: what may be asked, how it is put, and what an answer is told with."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from limbeck.answerer import Answerer
from limbeck.errors import LimbeckError
from limbeck.records import Answer, Prompt
from limbeck.serve.requests import Asked, Refused
from limbeck.task import Task

MOST = 50  # ranked answers, as `limbeck ask -k`


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One prompt as its answerer reads it. `notes` is handed to `describe`; `left_out` names messages that were not read."""

    prompt: Prompt
    k: int
    answerer: Answerer
    task: Task | None = None
    stop: tuple[str, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An answer, with what is said of each candidate beside its text."""

    answer: Answer
    beside: tuple[Mapping[str, Any], ...] = ()
    left_out: tuple[str, ...] = ()


Extra = Callable[[Mapping[str, Any]], tuple[dict[str, Any], dict[str, Any]]]  # the field `limbeck`: a prompt's context, and notes. Raises LimbeckError
Describe = Callable[[Job, Answer], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Desk:
    """An answerer (and the task it answers for) as it is served.

    `raw` continues a text as it stands (/v1/completions of a language model); `takes` of a request's sampling fields; `cuts` whether `stop` is heeded
    here, by cutting; `reads_messages` whether whole conversations are read; `forwards` whether settings that were not asked for are left to the
    answerer's server; `draws` whether several answers need a temperature; `splits` whether a batch that failed is asked again one by one;
    `tidy`, `check`, `read_extra` and `describe` are the task's own ways, `choose_task` finds the task of a request where there are several;
    `needs` names the extra field without which nothing can be answered.
    """

    name: str
    answerer: Answerer
    task: Task | None = None
    also_named: tuple[str, ...] = ()
    raw: Answerer | None = None
    takes: frozenset[str] = frozenset()
    most: int = MOST
    cuts: bool = False
    reads_messages: bool = False
    forwards: bool = False
    draws: bool = False
    splits: bool = True
    tidy: Callable[[str], str] | None = None
    check: Callable[[str], None] | None = None
    read_extra: Extra | None = None
    describe: Describe | None = None
    choose_task: Callable[[Prompt], Task | None] | None = None
    needs: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """What a request may call it."""
        return (self.name, *self.also_named)

    def job(self, asked: Asked) -> tuple[Job, Hashable]:
        """A request as a job, and the group it may be answered with. Raises Refused."""
        param = "messages" if asked.kind == "chat" else "prompt"
        try:
            if self.check:
                self.check(asked.text)
        except LimbeckError as problem:
            raise Refused.of(problem, param=param, code="context_length_exceeded" if "characters" in problem.what else "invalid_value") from problem
        if asked.extra and self.read_extra is None:
            raise Refused(400, "this model takes no extra field: leave out limbeck", code="unsupported_parameter", param="limbeck")
        try:
            context, notes = self.read_extra(asked.extra) if self.read_extra else ({}, {})
        except LimbeckError as problem:
            raise Refused.of(problem, param="limbeck", code="invalid_value") from problem
        if self.needs and self.needs not in context and not self.choose_task:
            raise Refused(400, f"this model needs a {self.needs}: give it in the extra field, {{\"limbeck\": {{\"{self.needs}\": ...}}}}", code="missing_parameter", param=f"limbeck.{self.needs}")
        if self.draws and asked.n > 1 and not asked.sampling.get("temperature"):
            raise Refused(400, "several answers are several draws, which are all the same one without a temperature: give one above 0", code="invalid_value", param="temperature")
        return self._pose(asked, context, notes)

    def _pose(self, asked: Asked, context: dict[str, Any], notes: dict[str, Any]) -> tuple[Job, Hashable]:
        left_out: tuple[str, ...] = ()
        if self.reads_messages:
            context = {"messages": [dict(m) for m in asked.messages], **context}
        else:
            left_out = _one_request(asked)
        prompt = Prompt(id=secrets.token_hex(8), text=asked.text, context=context)
        try:
            task = self.choose_task(prompt) if self.choose_task else self.task
        except LimbeckError as problem:
            raise Refused.of(problem, param="limbeck", code="missing_parameter") from problem
        if task is not None and hasattr(task, "prompt_for"):
            made: Prompt = getattr(task, "prompt_for")(asked.text)
            prompt = replace(made, id=prompt.id, context={**made.context, **context})
        settings = {name: value for name, value in asked.sampling.items() if name != "seed" or self.forwards}
        stop = tuple(settings.pop("stop", ())) if self.cuts else ()
        if settings or self.forwards:
            prompt = replace(prompt, context={**prompt.context, "sampling": settings})
        seed = asked.sampling.get("seed")
        if "seed" in self.takes and not self.forwards:  # draws differ from request to request unless a seed is asked for; who asks for one is answered alone
            prompt = replace(prompt, context={**prompt.context, "seed": seed % 2**32 if seed is not None else secrets.randbits(31)})
        answerer = self.raw if asked.kind == "text" and self.raw is not None else self.answerer
        group = (id(answerer), asked.n, repr(sorted(settings.items())), prompt.id if seed is not None and not self.forwards else "")
        return Job(prompt=prompt, k=asked.n, answerer=answerer, task=task, stop=stop, notes=notes, left_out=left_out), group

    def work(self, jobs: Sequence[Job]) -> list[Told | Exception]:
        """The answers of jobs of one group, in one call; a job that is too long gets its refusal."""
        found: dict[int, Told | Exception] = {}
        able: list[int] = []
        for at, job in enumerate(jobs):
            why = _too_long(job)
            if why:
                found[at] = why
            else:
                able.append(at)
        if able:
            answers = jobs[0].answerer.answer([jobs[at].prompt for at in able], k=jobs[0].k)
            found |= {at: self._tell(jobs[at], answer) for at, answer in zip(able, answers, strict=True)}
        return [found[at] for at in range(len(jobs))]

    def _tell(self, job: Job, answer: Answer) -> Told:
        if self.tidy:
            answer = replace(answer, candidates=tuple(replace(c, text=self.tidy(c.text)) for c in answer.candidates))
        if job.stop:
            answer = replace(answer, candidates=tuple(replace(c, text=_cut(c.text, job.stop)) for c in answer.candidates))
        beside = tuple(self.describe(job, answer)) if self.describe else ({},) * len(answer.candidates)
        return Told(answer=answer, beside=beside, left_out=job.left_out)


def _one_request(asked: Asked) -> tuple[str, ...]:
    """Messages that an expert does not read: what it is for was learnt, so a system prompt is left out and that is said. Raises Refused for a conversation."""
    spoken = [at for at, m in enumerate(asked.messages) if m["role"] != "system"]
    if len(spoken) > 1:
        raise Refused(400, "this model answers one request at a time: send a single message of role user", code="invalid_value", param="messages")
    return tuple(f"messages[{at}]" for at, m in enumerate(asked.messages) if m["role"] == "system")


def _too_long(job: Job) -> Refused | None:
    """Where an answerer counts tokens and says how many it reads: the refusal of a prompt that would lose its beginning."""
    measure = getattr(job.answerer, "measure", None)
    if measure is None:
        return None
    tokens, room = measure(job.prompt)
    if tokens <= room:
        return None
    return Refused(400, f"the prompt has {tokens:,} tokens; there is room for {max(0, room):,} beside the answer: shorten it, or lower max_tokens", code="context_length_exceeded", param="messages")


def _cut(text: str, stop: Sequence[str]) -> str:
    ends = [at for word in stop if (at := text.find(word)) >= 0]
    return text[: min(ends)] if ends else text
