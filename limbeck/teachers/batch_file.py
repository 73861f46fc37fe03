"""Asking by batch files (/files and /batches of the OpenAI protocol): cheaper where it is offered, and hours later.

A batch is noted in the ledger before it is made and again with its id, and carries our own mark, so that a killed run takes up the
same one. When it ends, however it ends, every finished line goes into the ledger; what is missing goes into the next batch, a few times.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.records import content_id
from limbeck.teachers import replies
from limbeck.teachers.budget import Budget
from limbeck.teachers.ledger import Ledger
from limbeck.teachers.sending import AGAIN, Failure, Sent

MOST_LINES = 50_000
MOST_BYTES = 100_000_000
LONGEST_POLL_S = 300.0
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
MARK = "limbeck"  # the name of our mark in a batch's metadata
ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What batches need of an endpoint. `keep(key, sent, first, n)` puts a reply into the ledger, `take(job, ...)` into its question too."""

    base_url: str
    path: str
    run: str
    ledger: Ledger
    budget: Budget
    keep: Callable[..., Any]
    take: Callable[..., None]
    tell: Callable[[dict[str, Any]], None] = lambda facts: None
    first_poll_s: float = 5.0
    tries: int = 8


class BatchFiles:
    """Asks `jobs` (endpoint.Job) in rounds of batches."""

    def __init__(self, desk: Desk, jobs: Sequence[Any]) -> None:
        self._desk, self._jobs = desk, {job.key: job for job in jobs}
        self._failures: dict[str, Failure] = {}  # for good
        self._reasons: dict[str, str] = {}  # of what is asked again
        self._inside: dict[str, list[str]] = {}  # keys of a batch, by our mark
        self._waits = random.Random()

    async def ask(self, session: Any, end: Callable[[Any, Failure | None], None]) -> None:
        """Calls `end(job, failure)` for each job once, as soon as nothing more is asked of it."""
        left = dict(self._jobs)
        for digest, batch_id, _ in self._desk.ledger.open_batches(self._desk.run, self._desk.base_url):
            found = batch_id or await self._look_up(session, digest)
            await self._take_in(session, digest, found) if found else self._note(digest, "", "done", 0)
        for turn in range(ROUNDS + 1):
            for key, job in list(left.items()):
                if key in self._failures or not job.missing():
                    end(left.pop(key), self._failures.get(key))
            lines = [] if turn == ROUNDS else self._lines(left.values())
            if not lines:
                break
            made = [await self._make(session, part) for part in _parts(lines)]
            for digest, batch_id in made:
                await self._take_in(session, digest, batch_id)
        self._desk.budget.is_spent &= bool(left)
        for key, job in left.items():
            is_over = self._desk.budget.is_spent and key not in self._reasons
            if not is_over or self._desk.budget.allowance.when_spent == "keep":
                end(job, Failure("budget" if is_over else self._reasons.get(key, "the batch ended without it")))

    def _lines(self, jobs: Any) -> list[bytes]:
        """One line a request, as many as the budget bears."""
        made, bounds = [], []
        for job in jobs:
            gap = job.missing()
            wanted = [(number, 1) for number in range(job.wanted) if number not in job.draws] if job.short else [gap]
            for first, n in wanted:
                body = job.request(first, n)
                made.append(json.dumps({"custom_id": f"{job.key}:{first}:{n}", "method": "POST", "url": "/v1" + self._desk.path, "body": body}).encode() + b"\n")
                bounds.append(self._desk.budget.bound(body, len(made[-1]), n))
        fitting = self._desk.budget.fits_beside(bounds)
        self._desk.budget.is_spent = fitting < len(made)
        return made[:fitting]

    async def _make(self, session: Any, lines: list[bytes]) -> tuple[str, str]:
        """A batch of these lines: our mark and its id."""
        import aiohttp

        digest = content_id([len(lines), time.time_ns(), lines[0].decode()], 32)
        self._inside[digest] = [json.loads(line)["custom_id"].split(":")[0] for line in lines]
        self._note(digest, "", "making", len(lines))

        def form() -> Any:
            data = aiohttp.FormData()
            data.add_field("purpose", "batch")
            data.add_field("file", b"".join(lines), filename=f"{digest}.jsonl", content_type="application/jsonl")
            return data

        file = await self._call(session, "POST", "/files", data=form)
        order = {"input_file_id": file["id"], "endpoint": "/v1" + self._desk.path, "completion_window": "24h", "metadata": {MARK: digest}}
        made = await self._call(session, "POST", "/batches", json=order, headers={"Idempotency-Key": digest}, found_by=lambda: self._look_up(session, digest))
        self._note(digest, made["id"], "open", len(lines))
        return digest, made["id"]

    async def _look_up(self, session: Any, digest: str) -> str:
        """The id of the batch that carries our mark; "" where there is none."""
        after = ""
        while True:
            page = await self._call(session, "GET", f"/batches?limit=100{after}")
            for batch in page["data"]:
                if (batch.get("metadata") or {}).get(MARK) == digest:
                    return str(batch["id"])
            if not page.get("has_more") or not page["data"]:
                return ""
            after = f"&after={page['data'][-1]['id']}"

    async def _take_in(self, session: Any, digest: str, batch_id: str) -> None:
        """Wait for the end of a batch, then every line of it into the ledger."""
        poll_s = self._desk.first_poll_s
        while True:
            batch = await self._call(session, "GET", f"/batches/{batch_id}")
            counts = batch.get("request_counts") or {}
            self._desk.tell({"batch": batch_id, "state": batch.get("status"), "lines_done": counts.get("completed"), "lines": counts.get("total")})
            if batch.get("status") in ENDED:
                break
            await asyncio.sleep(poll_s * self._waits.uniform(0.8, 1.2))
            poll_s = min(LONGEST_POLL_S, 1.5 * poll_s)
        for key in self._inside.get(digest, ()):
            self._reasons[key] = _why(batch)
        for name in ("output_file_id", "error_file_id"):
            if batch.get(name):
                for line in (await self._fetch(session, f"/files/{batch[name]}/content")).splitlines():
                    self._take_line(line, batch_id)
        self._note(digest, batch_id, "done", 0)

    def _take_line(self, line: bytes, batch_id: str) -> None:
        try:
            said = json.loads(line)
            key, first, n = said["custom_id"].split(":")
            response, error = said.get("response") or {}, said.get("error") or {}
            status, body = int(response.get("status_code") or 0), response.get("body")
        except (ValueError, KeyError, AttributeError, TypeError):
            return  # no line of ours; what it should have been is missing, and asked again
        job, reply = self._jobs.get(key), replies.read_reply(body) if status == 200 else None
        if reply is not None and reply.choices:
            sent = Sent(reply, content_id([batch_id, said["custom_id"]], 32), 0.0)
            if job is None:
                self._desk.keep(key, sent, int(first), int(n))
            elif int(first) not in job.draws:
                self._desk.take(job, sent, int(first), int(n))
                self._desk.budget.charge(reply.tokens_in, reply.tokens_out)
        elif status not in AGAIN | {0, 200}:
            content = json.dumps(body).encode()
            refusal, words = replies.refusal_of(status, content), replies.say_error(content)
            self._failures[key] = Failure(refusal, "refused", words) if refusal else Failure(f"HTTP {status}: {words}")
        else:
            self._reasons[key] = str(error.get("message") or error.get("code") or (f"HTTP {status}: {replies.say_error(json.dumps(body).encode())}" if status != 200 else "empty (no choices)"))[:200]

    def _note(self, digest: str, batch_id: str, state: str, requests: int) -> None:
        self._desk.ledger.note_batch(digest, run=self._desk.run, provider=self._desk.base_url, batch_id=batch_id, state=state, requests=requests)

    async def _call(self, session: Any, method: str, path: str, *, data: Callable[[], Any] | None = None, found_by: Callable[[], Any] | None = None, **rest: Any) -> dict[str, Any]:
        """A JSON reply; `found_by` looks for what a lost reply may have made, so that it is not made twice."""
        content = await self._fetch(session, path, method, data, found_by, **rest)
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise LimbeckError("this is no reply of a server that takes batch files: " + repr(content[:60].decode("utf-8", "replace")), self._desk.base_url + path, "set batch_file = false, or name a server that takes them")
        return found

    async def _fetch(self, session: Any, path: str, method: str = "GET", data: Callable[[], Any] | None = None, found_by: Callable[[], Any] | None = None, **rest: Any) -> bytes:
        """A whole reply, tried a few times."""
        import aiohttp

        reason = ""
        for turn in range(self._desk.tries):
            if turn:
                await asyncio.sleep(min(60.0, self._desk.first_poll_s * 2**turn) * self._waits.uniform(0.5, 1.5))
                if found_by and (found := await found_by()):
                    return json.dumps({"id": found}).encode()
            try:
                async with session.request(method, self._desk.base_url + path, data=data() if data else None, timeout=aiohttp.ClientTimeout(total=600), **rest) as response:
                    content = await response.read()
                    if response.status == 200:
                        return content
                    reason = f"HTTP {response.status}: {replies.say_error(content)}"
                    if response.status not in AGAIN:
                        raise LimbeckError(f"the server refuses: {reason}", self._desk.base_url + path, "check the key and whether this server takes batch files (batch_file = false asks one by one); a batch under way is taken up by the next run")
            except (aiohttp.ClientError, TimeoutError, OSError) as problem:
                reason = f"{type(problem).__name__}: {problem}"
        raise LimbeckError(f"the server does not answer about its batches: {reason}", self._desk.base_url + path, "run again later: a batch under way is taken up, and paid once")


def _parts(lines: list[bytes]) -> list[list[bytes]]:
    """As many lines together as a batch takes."""
    parts: list[list[bytes]] = [[]]
    size = 0
    for line in lines:
        if parts[-1] and (len(parts[-1]) >= MOST_LINES or size + len(line) > MOST_BYTES):
            parts.append([])
            size = 0
        parts[-1].append(line)
        size += len(line)
    return parts


def _why(batch: dict[str, Any]) -> str:
    """Why lines of a batch have no answer, in its own words where it has any."""
    errors = ((batch.get("errors") or {}).get("data") or [{}])[0]
    return f"the batch {batch.get('status')}" + (f": {errors['message']}"[:200] if errors.get("message") else "")
