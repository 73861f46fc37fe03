"""Requests that come together are answered in one call: a short window, a bounded queue, a deadline, one thread that does the work.

The answerer is only ever called from that thread. A place is freed as soon as its request is answered, given up or too late; what is
being worked on cannot be interrupted, but nobody waits for it any longer.
"""

from __future__ import annotations

import asyncio
import math
import queue
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from limbeck.serve.requests import Refused

LONGEST_WAIT_S = 60
Work = Callable[[Sequence[Any]], Sequence[Any]]  # jobs of one group: for each a result, or the exception that befell it


@dataclass(eq=False, slots=True)
class Place:
    """One job that waits, with where its result goes."""

    job: Any
    group: Hashable
    came: float
    result: asyncio.Future[Any] = field(repr=False)


class Batcher:
    """`await ask(job, group)` for many at once; jobs of one group are worked on together, at most `batch`, the oldest first.

    `window_s`: how long the first of a batch waits for company. `places`: how many may wait; one more is refused with 429.
    `deadline_s`: from coming to being answered; after that, 504. `splits`: whether a batch that failed is worked on again one by one.
    """

    def __init__(self, work: Work, *, batch: int = 16, window_s: float = 0.005, places: int = 128, deadline_s: float = 60.0, splits: bool = True) -> None:
        self.batch, self.window_s, self.places, self.deadline_s, self.splits = batch, window_s, places, deadline_s, splits
        self._work, self._waiting = work, list[Place]()
        self._inbox: queue.SimpleQueue[tuple[list[Place], asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._arrival = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._seconds = 0.0  # of a batch, lately
        self.batches, self.answered, self.is_working = 0, 0, False

    @property
    def waiting(self) -> int:
        """How many are waiting."""
        return len(self._waiting)

    def start(self) -> None:
        """Begin, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run())
        threading.Thread(target=self._labour, name="limbeck-answerer", daemon=True).start()  # daemon: an answer under way must not hold up the end

    def stop(self) -> None:
        """Take nothing more."""
        if self._task:
            self._task.cancel()
        self._inbox.put(None)

    def check_room(self, more: int = 1, coming: int = 0) -> None:
        """Raises Refused with 429 where so many more would not find a place; `coming` are on their way to one."""
        if more > self.places:
            raise Refused(400, f"a request of {more} prompts is larger than the whole queue of {self.places}", code="invalid_value", param="prompt")
        if len(self._waiting) + coming + more > self.places:
            wait_s = min(LONGEST_WAIT_S, max(1, math.ceil(self._seconds * (1 + len(self._waiting) / self.batch))))
            raise Refused(429, f"{len(self._waiting) + coming} requests are waiting already: come again in {wait_s} s", code="queue_full", kind="rate_limit_error", wait_s=wait_s)

    async def ask(self, jobs: Sequence[tuple[Any, Hashable]]) -> list[Any]:
        """The results of all jobs of a request. Raises Refused (429, 504), or what befell the first job that went wrong."""
        assert self._loop
        self.check_room(len(jobs))
        now = self._loop.time()
        places = [Place(job, group, now, self._loop.create_future()) for job, group in jobs]
        self._waiting += places
        self._arrival.set()
        try:
            async with asyncio.timeout(self.deadline_s):
                return list(await asyncio.gather(*(p.result for p in places)))
        except TimeoutError as problem:
            raise Refused(504, f"no answer within {self.deadline_s:g} s", code="deadline_exceeded") from problem
        finally:
            for place in places:
                place.result.cancel()
            self._waiting = [p for p in self._waiting if p not in places]

    async def _run(self) -> None:
        assert self._loop
        while True:
            while not self._waiting:
                self._arrival.clear()
                await self._arrival.wait()
            await self._gather_company()
            if not self._waiting:
                continue
            group = self._waiting[0].group
            chosen = [p for p in self._waiting if p.group == group][: self.batch]
            self._waiting = [p for p in self._waiting if p not in chosen]
            done = self._loop.create_future()
            self.is_working = True
            self._inbox.put((chosen, done))
            await done
            self.is_working = False

    async def _gather_company(self) -> None:
        """Until the first has waited its window, or its batch is full."""
        assert self._loop
        while self._waiting:
            first = self._waiting[0]
            left = first.came + self.window_s - self._loop.time()
            if left <= 0 or sum(p.group == first.group for p in self._waiting) >= self.batch:
                return
            self._arrival.clear()
            try:
                async with asyncio.timeout(left):
                    await self._arrival.wait()
            except TimeoutError:
                return

    def _labour(self) -> None:
        """The one thread."""
        assert self._loop
        while (order := self._inbox.get()) is not None:
            places, done = order
            began = time.perf_counter()
            found = self._try([p.job for p in places])
            seconds = time.perf_counter() - began
            try:
                self._loop.call_soon_threadsafe(self._settle, places, found, done, seconds)
            except RuntimeError:  # the loop has ended: nobody is waiting
                return

    def _try(self, jobs: list[Any]) -> list[Any]:
        """Results; where a batch fails, one by one, so that nobody suffers for another's request."""
        try:
            found = list(self._work(jobs))
            if len(found) != len(jobs):
                raise RuntimeError(f"{len(found)} results for {len(jobs)} jobs")
            return found
        except Exception as problem:  # the thread's end of things: whatever it was, somebody is waiting to be told, and the thread goes on
            return [problem] * len(jobs) if len(jobs) == 1 or not self.splits else [one for job in jobs for one in self._try([job])]

    def _settle(self, places: Sequence[Place], found: Sequence[Any], done: asyncio.Future[None], seconds: float) -> None:
        self._seconds = seconds if not self.batches else 0.7 * self._seconds + 0.3 * seconds
        self.batches += 1
        self.answered += len(places)
        for place, result in zip(places, found, strict=True):
            if place.result.done():  # given up
                continue
            if isinstance(result, Exception):
                place.result.set_exception(result)
            else:
                place.result.set_result(result)
        if not done.done():
            done.set_result(None)
