"""How many requests may be in flight: as many as the server likes.

One until a server is known to answer, then doubled every window until first trouble; halved at 429, 5xx and stalls (once a
window), one more for every window of successes after that (additive increase, multiplicative decrease). A wait that the server asks
for (Retry-After) holds for everybody. Latency counts too: where its mean has doubled against the best seen and no more answers
come for it, a quarter fewer are let in; if that does not help, the cause is not our number and it is given back.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Literal

Outcome = Literal["fine", "trouble", "neither"]
FIRST = 16  # in flight once a server has answered
WINDOW = 16  # answers over which latency and rate are taken, at least
SLOWER = 2.0  # times the best mean latency
GAIN = 1.1  # times the best rate: what makes a higher latency worth while
LEAST_FOR_LATENCY = 4


class Gate:
    """`most` is the user's bound; `limit` what is let in now. For one event loop at a time."""

    def __init__(self, most: int, is_known: bool = True) -> None:
        self.most, self.limit = most, float(min(most, FIRST) if is_known else 1)
        self.inside = 0
        self._is_known, self._is_calm, self._grace = is_known, True, 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._paused_until = 0.0
        self._best_s = self._best_rate = 0.0
        self._tried: tuple[float, float] | None = None  # limit and latency before a step back
        self._start_window()

    def reopen(self) -> None:
        """For a new event loop: nobody is inside."""
        self.inside, self._grace = 0, 0
        self._waiting.clear()
        self._start_window()

    def trust(self) -> None:
        """The server is known to answer: no need to wait for its first reply."""
        if not self._is_known:
            self._is_known, self.limit = True, float(min(self.most, FIRST))

    async def enter(self) -> None:
        """Wait for a place, and for the end of a pause that the server asked for."""
        while True:
            if self.inside >= int(self.limit):
                future = asyncio.get_running_loop().create_future()
                self._waiting.append(future)
                await future
                continue
            pause_s = self._paused_until - time.monotonic()
            if pause_s <= 0:
                break
            await asyncio.sleep(pause_s)
        self.inside += 1

    def pause(self, seconds: float) -> None:
        """Nobody enters for so long."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def leave(self, outcome: Outcome, seconds: float = 0.0) -> None:
        """Give a place back; `seconds` is how long an answer took."""
        self.inside -= 1
        self._grace = max(0, self._grace - 1)
        if outcome == "fine":
            self._succeed(seconds)
        elif outcome == "trouble":
            self._is_calm, self._tried = False, None
            if not self._grace:
                self.limit, self._grace = max(1.0, self.limit / 2), self.inside
        room = int(self.limit) - self.inside
        while self._waiting and room > 0:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                room -= 1

    def _succeed(self, seconds: float) -> None:
        if not self._is_known:
            self.trust()
            return
        self.limit = min(float(self.most), self.limit + (1.0 if self._is_calm else 1 / max(1.0, self.limit)))
        self._count, self._total_s = self._count + 1, self._total_s + seconds
        if self._count >= max(WINDOW, self.limit):
            now = time.monotonic()
            self._weigh(self._total_s / self._count, self._count / max(1e-9, now - self._began))
            self._start_window()

    def _start_window(self) -> None:
        self._count, self._total_s, self._began = 0, 0.0, time.monotonic()

    def _weigh(self, mean_s: float, rate: float) -> None:
        """One window: its mean latency and its answers a second against the best."""
        if self._tried is not None:
            before, slow_s = self._tried
            self._tried = None
            if mean_s > 0.9 * slow_s:  # fewer in flight did not make it faster: long answers, not a crowded server
                self.limit, self._best_s, self._best_rate = min(before, float(self.most)), mean_s, rate
                return
        if self._best_s and mean_s > SLOWER * self._best_s and rate < GAIN * self._best_rate and self.limit > LEAST_FOR_LATENCY:
            self._tried, self._is_calm = (self.limit, mean_s), False
            self.limit = max(float(LEAST_FOR_LATENCY), 0.75 * self.limit)
        self._best_s = min(1.02 * self._best_s, mean_s) if self._best_s else mean_s  # ages, so that a server may change for the worse
        self._best_rate = max(0.98 * self._best_rate, rate)
