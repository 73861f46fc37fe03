"""Members are asked at once, each in a thread of its own and within its deadline: who is late or fails loses its vote, never the answer."""

from __future__ import annotations

import atexit
import queue
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.records import Answer, Candidate, Prompt

LAST_WAIT_S = 3.0  # for threads at the end of the program: one that dies inside a library's C++ code would take the exit code with it
PORTION = 8  # requests given at a time to who does not say when each is done


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Who is asked. `answerer` takes a task's requests as they are; `bare` takes plain text (language models alone: None else).

    `cost` is of one answer. `grows` says that asking for more draws keeps those that were paid for: they can be asked for bit by bit.
    """

    name: str
    answerer: Any
    bare: Any = None
    weight: float = 1.0
    samples: int = 1
    deadline_s: float = 60.0
    cost: float = 1.0
    task: str = ""
    grows: bool = False

    @property
    def draws(self) -> bool:
        """Whether its answers are draws of equal standing; else they are ranked, and the first is its vote."""
        return bool(getattr(self.answerer, "draws_samples", False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What one member said to one request: its answers from number `first` on, or why there are none."""

    member: Member
    candidates: tuple[Candidate, ...] = ()
    missing: str = ""
    cost_usd: float | None = None
    calls: int = 1
    first: int = 0


@dataclass(slots=True)
class _Job:
    """Requests that a member works on. `last` is when it last gave an answer."""

    prompts: Sequence[Prompt]
    k: int
    bare: bool
    last: float
    found: dict[int, Answer] = field(default_factory=dict)
    failure: str = ""
    is_over: bool = False
    is_dropped: bool = False
    portion: int = 1


_THREADS: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


@atexit.register
def _await_threads() -> None:
    """Runs after all seats were dismissed (finalizers registered later run earlier): idle threads end at once."""
    until = time.monotonic() + LAST_WAIT_S
    for thread in list(_THREADS):
        thread.join(max(0.0, until - time.monotonic()))


class Seats:
    """The members' threads: started when first needed, and kept, so that a member that hangs holds up nobody but itself."""

    def __init__(self) -> None:
        self._queues: dict[int, queue.SimpleQueue[_Job | None]] = {}
        self._late: dict[int, _Job] = {}
        self._news = threading.Condition()
        weakref.finalize(self, _dismiss, self._queues)

    def ask(self, asked: Sequence[tuple[Member, Sequence[Prompt], int]], *, bare: bool = False) -> list[list[Heard]]:
        """What each of `asked` (member, its requests, answers a request) says, all at the same time: a list for each, in the order of its requests."""
        jobs = [self._put(member, prompts, k, bare) for member, prompts, k in asked]
        with self._news:
            while any(not self._is_done(member, job) for (member, _, _), job in zip(asked, jobs, strict=True)):
                self._news.wait(self._patience(asked, jobs))
            return [self._collect(member, job) for (member, _, _), job in zip(asked, jobs, strict=True)]

    def _put(self, member: Member, prompts: Sequence[Prompt], k: int, bare: bool) -> _Job:
        job = _Job(prompts, k, bare, time.monotonic())
        if not prompts:
            job.is_over = True
            return job
        who, late = id(member), self._late.get(id(member))
        if late is not None and not late.is_over:
            job.failure, job.is_over = "still busy with an earlier request", True
            return job
        if not (hasattr(member.bare if bare else member.answerer, "answer_each")):
            job.portion = min(PORTION, len(prompts))
        if who not in self._queues:
            self._queues[who] = queue.SimpleQueue()
            thread = threading.Thread(target=_work, args=(member, self._queues[who], self._news), daemon=True, name=f"member {member.name}")
            _THREADS.add(thread)
            thread.start()
        self._queues[who].put(job)
        return job

    def _is_done(self, member: Member, job: _Job) -> bool:
        if job.is_over or job.is_dropped:
            return True
        if time.monotonic() - job.last >= member.deadline_s * job.portion:
            job.is_dropped, job.failure = True, f"no answer within {member.deadline_s:g} s"
            self._late[id(member)] = job
            return True
        return False

    def _patience(self, asked: Sequence[tuple[Member, Sequence[Prompt], int]], jobs: Sequence[_Job]) -> float:
        left = [member.deadline_s * job.portion - (time.monotonic() - job.last) for (member, _, _), job in zip(asked, jobs, strict=True) if not (job.is_over or job.is_dropped)]
        return max(0.001, min(left, default=0.001))

    def _collect(self, member: Member, job: _Job) -> list[Heard]:
        return [_heard(member, job.found.get(at), job) for at in range(len(job.prompts))]


def _dismiss(queues: dict[int, queue.SimpleQueue[_Job | None]]) -> None:
    """The threads end once nobody can ask them any more."""
    for waiting in queues.values():
        waiting.put(None)


def _work(member: Member, jobs: queue.SimpleQueue[_Job | None], news: threading.Condition) -> None:
    """One member's thread."""
    while (job := jobs.get()) is not None:
        try:
            _run(member.bare if job.bare else member.answerer, job, news)
        except LimbeckError as problem:
            job.failure = f"{problem.what} ({problem.where})"
        except Exception as problem:  # whatever a member does, the others go on
            job.failure = f"{type(problem).__name__}: {problem}"
        with news:
            job.is_over = True
            news.notify_all()


def _run(answerer: Any, job: _Job, news: threading.Condition) -> None:
    if answerer is None:
        raise LimbeckError("it reads no plain text", "member.model", "name a language model")
    if job.portion == 1 and hasattr(answerer, "answer_each"):
        answerer.answer_each(job.prompts, job.k, lambda at, answer: _note(job, at, answer, news))
        return
    for start in range(0, len(job.prompts), job.portion):
        if job.is_dropped:
            return
        for offset, answer in enumerate(answerer.answer(job.prompts[start : start + job.portion], k=job.k)):
            _note(job, start + offset, answer, news)


def _note(job: _Job, at: int, answer: Answer, news: threading.Condition) -> None:
    with news:
        if not job.is_dropped:
            job.found[at], job.last = answer, time.monotonic()


def _heard(member: Member, answer: Answer | None, job: _Job) -> Heard:
    if answer is None:
        return Heard(member=member, missing=job.failure or "it gave no answer", calls=job.k)
    if answer.status != "scored" or not answer.candidates:
        return Heard(member=member, missing=f"{answer.status}: {answer.reason}".rstrip(": "), cost_usd=answer.cost_usd, calls=job.k)
    return Heard(member=member, candidates=answer.candidates, cost_usd=answer.cost_usd, calls=job.k)
