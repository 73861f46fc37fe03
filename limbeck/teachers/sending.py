"""One request to one server, tried until it is answered, turned down, or given up; nothing is sent that a budget cannot bear.

A request carries an Idempotency-Key of its content, so that a server which knows the header answers a second try from what it has and
sends no second bill. Errors that stop everything (a wrong key, a page in place of an API, silence) are LimbeckErrors; all others
are a reason.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

from limbeck.errors import LimbeckError
from limbeck.records import content_id
from limbeck.teachers import replies
from limbeck.teachers.budget import Bound, Budget
from limbeck.teachers.gate import Gate, Outcome
from limbeck.teachers.ledger import Ledger
from limbeck.teachers.replies import Reply

AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
OURS_TO_MEND = frozenset({401, 403, 404, 405})  # a wrong key, address or model: no use to go on
SILENT_LIMITS = 3  # time limits without any reply from the server before all is given up
UNREACHED_TRIES = 3  # tries at a server that has never replied to anybody
GARBLED = 4  # times that garbage is put down to the way and not to the server
LARGEST_REPLY_BYTES = 20_000_000
PROBE_S = 10.0


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request has no answer. A `stopped` one has not ended: the next run asks it."""

    reason: str
    status: Literal["failed", "refused"] = "failed"
    detail: str = ""
    is_stopped: bool = False


@dataclass(frozen=True, slots=True)
class _Again:
    """A try that came to nothing. `is_lost`: it may have been paid for. `reply` is a completion without choices."""

    reason: str
    wait_s: float = 0.0
    is_lost: bool = False
    is_whole: bool = False
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """A reply, its request's id and the seconds it took."""

    reply: Reply
    request: str
    latency_s: float


@dataclass(slots=True)
class Deadline:
    """So many seconds for one record with all its tries, from its first request on; None is no end."""

    seconds: float | None
    _at: float = 0.0

    def start(self) -> None:
        if not self._at:
            self._at = time.monotonic() + (self.seconds or 0.0)

    def left_s(self, most: float) -> float:
        return most if self.seconds is None or not self._at else max(0.0, min(most, self._at - time.monotonic()))


class Sender:
    """Sends to `url`. The gate bounds what is in flight, the budget what is spent, the ledger knows what is on the way."""

    def __init__(
        self, url: str, *, gate: Gate, budget: Budget, timeout_s: float, retries: int, ledger: Ledger | None = None, run: str = "",
    ) -> None:  # fmt: skip
        self.url, self.gate, self.budget = url, gate, budget
        self._timeout_s, self._retries = timeout_s, retries
        self._ledger, self._run = (ledger, run) if run else (None, "")
        self._salt = "" if ledger else f"{random.random()}{time.time_ns()}"  # without a ledger everything is asked anew, by servers that remember too
        self._spoilt: set[str] = set()
        self.waits = random.Random()  # jitter only: no result depends on it
        self._heard = 0.0  # when the server last replied at all
        self._is_reached = self._is_api = False  # whether it ever replied, and as an API
        self._models: list[str] | None = None
        self._stop = asyncio.Event()

    def start(self) -> None:
        """For a new event loop."""
        self._heard, self._stop = time.monotonic(), asyncio.Event()
        self._spoilt |= self._ledger.spoilt(self._run) if self._ledger else set()
        self.gate.reopen()

    def stop(self) -> None:
        """Let what is in flight come in and send nothing more."""
        self._stop.set()

    @property
    def is_stopping(self) -> bool:
        return self._stop.is_set()

    async def probe(self, session: Any, model: str, base_url: str) -> bool | None:
        """Whether the server lists the model; None where it has no list to show. Raises LimbeckError where it refuses the key."""
        import aiohttp

        if self._is_reached:
            return None if self._models is None else model in self._models
        try:
            async with session.get(base_url + "/models", timeout=aiohttp.ClientTimeout(total=min(PROBE_S, self._timeout_s))) as response:
                content = await _read_whole(response)
                if response.status == 401:
                    raise LimbeckError(f"the server refuses: HTTP 401: {replies.say_error(content)}", base_url + "/models", "check the key; nothing was asked")
                if response.status == 200 and not replies.is_web_page(content, response.headers.get("Content-Type", "")):
                    self._models = [str(m["id"]) for m in json.loads(content)["data"]]
                    self._is_api = True
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError):
            return None
        return None if self._models is None else model in self._models

    async def send(self, session: Any, key: str, body: dict[str, Any], first: int, n: int, deadline: Deadline) -> Sent | Failure:
        """The reply to a request for draws `first` and on of what has this key."""
        data, last, wait_s, whole = json.dumps(body).encode(), _Again("not asked"), 0.0, 0
        request = self._name(key, first, n)
        for turn in range(self._retries + 1):
            if turn:
                await self._sleep(deadline.left_s(wait_s))
                whole += last.is_whole
                if last.is_whole and (last.reply is not None or whole > GARBLED):  # a server that remembers would send the same again: no choices are its own, garbage may be of the way for a while
                    self._spoil(request)
                    request = self._name(key, first, n)
            bound = self.budget.bound(body, len(data), n)
            if not await self.budget.reserve(bound):
                return Failure("budget")
            await self.gate.enter()
            deadline.start()
            if self.is_stopping or not deadline.left_s(1.0):
                self.gate.leave("neither")
                self.budget.settle(bound, is_free=True)
                return Failure("stopped", is_stopped=True) if self.is_stopping else Failure(f"deadline of {deadline.seconds:g} s passed; last: {last.reason}")
            found = await self._try(session, request, key, data, n, turn, bound, deadline)
            if not isinstance(found, _Again):
                return found
            last = found
            wait_s = max(found.wait_s, min(30.0, 0.5 * 2**turn) * self.waits.uniform(0.5, 1.5))
        return Failure(last.reason) if last.reply is None else Sent(last.reply, request, 0.0)

    def _name(self, key: str, first: int, n: int) -> str:
        """The id of a request: of its content, and of how often the server had nothing to say to it."""
        return next(name for name in (content_id([key, first, n, number, self._salt], 32) for number in count()) if name not in self._spoilt)

    def _spoil(self, request: str) -> None:
        self._spoilt.add(request)
        if self._ledger:
            self._ledger.spoil(request, self._run)

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), seconds)

    async def _try(self, session: Any, request: str, key: str, data: bytes, n: int, turn: int, bound: Bound, deadline: Deadline) -> Sent | Failure | _Again:
        """One try, with what it means for gate, budget and ledger."""
        outcome: Outcome = "neither"
        began = time.monotonic()
        if self._ledger:
            self._ledger.send(request, run=self._run, key=key, draws=n, tokens_bound=bound.tokens, usd_bound=self.budget.dollars(bound))
        try:
            found = await self._post(session, data, request, turn, deadline)
            if isinstance(found, LimbeckError):
                self.stop()  # before anybody takes this place
            outcome = "fine" if isinstance(found, Reply | Failure) else "trouble" if isinstance(found, _Again) and not found.is_whole else "neither"
        finally:
            self.gate.leave(outcome, time.monotonic() - began)
        if isinstance(found, Reply) and not found.choices:
            found = _Again("empty (no choices)", is_lost=True, is_whole=True, reply=found)
        if isinstance(found, Reply):
            self.budget.settle(bound, found.tokens_in, found.tokens_out)
            return Sent(found, request, time.monotonic() - began)
        is_lost = isinstance(found, _Again) and found.is_lost
        self.budget.settle(bound, is_free=not is_lost)
        if self._ledger:
            (self._ledger.lose if is_lost else self._ledger.refuse)(request, self._run)
        if isinstance(found, LimbeckError):
            raise found
        return found

    async def _post(self, session: Any, data: bytes, request: str, turn: int, deadline: Deadline) -> Reply | Failure | _Again | LimbeckError:
        """What came of sending it once."""
        import aiohttp

        limits = {} if deadline.seconds is None else {"timeout": aiohttp.ClientTimeout(total=max(0.001, deadline.left_s(self._timeout_s)))}
        try:
            async with session.post(self.url, data=data, headers={"Idempotency-Key": request, "Content-Type": "application/json"}, **limits) as response:
                content = await _read_whole(response)
                return self._judge(response.status, response.headers, content)
        except aiohttp.InvalidURL as problem:
            return LimbeckError(f"this is no address of a server: {problem}", self.url, "write --base-url as http://HOST:PORT/v1")
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            is_late = isinstance(problem, TimeoutError)
            silent = time.monotonic() - self._heard
            if is_late and silent > SILENT_LIMITS * self._timeout_s:
                return LimbeckError(f"the server stalls: nothing came for {silent:.0f} s", self.url, "see that it is up, or give it longer with --timeout; what was answered is kept: the same command goes on")
            is_refused = isinstance(problem, aiohttp.ClientConnectorError)
            if is_refused and not self._is_reached and turn >= UNREACHED_TRIES - 1:
                return LimbeckError(f"the server cannot be reached: {problem}", self.url, "see that it is up and that --base-url is right")
            return _Again(f"no answer in {self._timeout_s:g} s" if is_late else f"{type(problem).__name__}: {problem}", is_lost=not is_refused)

    def _judge(self, status: int, headers: Any, content: bytes) -> Reply | Failure | _Again | LimbeckError:
        """What a whole HTTP reply means."""
        self._heard, self._is_reached = time.monotonic(), True
        is_page = replies.is_web_page(content, headers.get("Content-Type", ""))
        if is_page and not self._is_api and status not in AGAIN:
            return LimbeckError("this is a web page, not an API: is --base-url right?", self.url, "most addresses end in /v1; see the server's own words: " + repr(content[:60].decode("utf-8", "replace")))
        self._is_api |= not is_page
        if status == 200:
            reply = replies.parse(content)
            return reply if reply is not None else _Again("the reply is not a completion: " + repr(content[:80].decode("utf-8", "replace")), is_lost=True, is_whole=True)
        said = replies.say_error(content)
        reason = f"HTTP {status}: {said}"
        if status in OURS_TO_MEND:
            return LimbeckError(f"the server refuses: {reason}", self.url, "check the key, --base-url and the model's name" + self._near_names(status) + "; what was answered is kept")
        if status not in AGAIN:
            refusal = replies.refusal_of(status, content)
            return Failure(refusal, "refused", said) if refusal else Failure(reason)
        pause_s = replies.seconds_to_wait(headers.get("Retry-After"))
        if pause_s:
            self.gate.pause(pause_s)
        return _Again(reason, pause_s)

    def _near_names(self, status: int) -> str:
        return f" (it lists {', '.join(self._models[:5])})" if status == 404 and self._models else ""


async def settle_all(workers: Sequence[asyncio.Future[None]], sender: Sender, grace_s: float) -> None:
    """Wait for the workers; when one fails, the others' replies under way get `grace_s` to come in, and the error is raised."""
    try:
        await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        problem = next((w.exception() for w in workers if w.done() and not w.cancelled() and w.exception()), None)
        left = [w for w in workers if not w.done()]
        if left:
            sender.stop()
            await asyncio.wait(left, timeout=grace_s)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    if problem:
        raise problem


async def _read_whole(response: Any) -> bytes:
    """A reply's body; one without end is cut, and is then no completion."""
    if (response.content_length or LARGEST_REPLY_BYTES + 1) <= LARGEST_REPLY_BYTES and "Content-Encoding" not in response.headers:
        return await response.read()
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > LARGEST_REPLY_BYTES:
            response.close()
            break
    return b"".join(parts)
