"""The ledger: every answer that a server was paid for, in one SQLite file, kept before anything is done with it.

A row is one draw: its key is a hash of what was asked (server, model, revision, messages, parameters), so that asking for more
draws pays for the missing ones alone, and a replay costs nothing. Each reply is a commit of its own (WAL): a kill loses requests in
flight and nothing else; those stay listed in `sent`, and the accounts say how many of them may have been paid for without an answer.
Several processes may use the file. docs/teachers.md has the tables.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError

APPLICATION = 0x6C696D62  # "limb": tells our file from another program's
VERSION = 1
SPARE_BYTES = 8_000_000  # given back to a full disk, so that replies under way can still be kept
TABLES = """
CREATE TABLE IF NOT EXISTS calls (
  key TEXT NOT NULL, draw INTEGER NOT NULL, run TEXT NOT NULL, request TEXT NOT NULL, asked INTEGER NOT NULL,
  model TEXT NOT NULL, served_model TEXT, revision TEXT NOT NULL, host TEXT NOT NULL,
  tokens_in INTEGER, tokens_out INTEGER, cost_usd REAL, latency_s REAL, time REAL NOT NULL,
  finish_reason TEXT, text TEXT, refusal TEXT NOT NULL, more TEXT, PRIMARY KEY (key, draw));
CREATE INDEX IF NOT EXISTS calls_of_run ON calls (run);
CREATE TABLE IF NOT EXISTS asked (
  run TEXT NOT NULL, record_id TEXT NOT NULL, key TEXT NOT NULL, draws INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
  PRIMARY KEY (run, record_id, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sent (
  request TEXT NOT NULL, run TEXT NOT NULL, key TEXT NOT NULL, draws INTEGER NOT NULL, tokens_bound INTEGER, usd_bound REAL, lost INTEGER NOT NULL, is_open INTEGER NOT NULL, time REAL NOT NULL,
  PRIMARY KEY (run, request)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spoilt (run TEXT NOT NULL, request TEXT NOT NULL, PRIMARY KEY (run, request)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
  digest TEXT NOT NULL, run TEXT NOT NULL, provider TEXT NOT NULL, batch_id TEXT NOT NULL, state TEXT NOT NULL, requests INTEGER NOT NULL, time REAL NOT NULL, PRIMARY KEY (run, digest)) WITHOUT ROWID;
"""
COLUMNS = "key, draw, run, request, asked, model, served_model, revision, host, tokens_in, tokens_out, cost_usd, latency_s, time, finish_reason, text, refusal, more"
_KEEP = f"INSERT OR IGNORE INTO calls ({COLUMNS}) VALUES ({', '.join('?' * 18)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One answer as a server gave it, with its share of its request's tokens and cost. `more` has logprobs, reasoning and tool calls as they came."""

    number: int
    request: str
    asked: int  # draws that its request asked for
    text: str | None
    finish: str | None = None
    refusal: str = ""
    model: str | None = None  # as served
    revision: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_usd: float | None = None
    latency_s: float | None = None
    time: float = 0.0
    more: dict[str, Any] = field(default_factory=dict)


class Ledger:
    """The file at `path`, made where it is not there. Raises LimbeckError where it is damaged, another program's, or cannot be written."""

    def __init__(self, path: Path, spare_bytes: int = SPARE_BYTES) -> None:
        self.path, self.is_full = path, False
        self._lock = threading.RLock()  # a judge is asked from a thread of its own
        self._ends: list[tuple[str, str, str, str, str]] = []
        self._ended = time.monotonic()
        with _said(path, "the ledger of calls cannot be used"):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as problem:
                raise sqlite3.OperationalError(str(problem)) from problem
            self._file = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            self._check_owner()
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=NORMAL")  # survives a kill; a power cut may lose the last moments, never the file
            self._file.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA application_id={APPLICATION}; PRAGMA user_version={VERSION}; COMMIT;")
        self._spare = path.with_name(path.name + "-spare")
        _reserve(self._spare, spare_bytes)

    def _check_owner(self) -> None:
        (owner,), (version,) = self._file.execute("PRAGMA application_id").fetchone(), self._file.execute("PRAGMA user_version").fetchone()
        (tables,) = self._file.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and owner != APPLICATION:
            raise LimbeckError("this is no ledger of calls but another program's file", str(self.path), "name another file, or move this one away")
        if owner == APPLICATION and version > VERSION:
            raise LimbeckError(f"this ledger is of a newer limbeck (form {version}, known is {VERSION})", str(self.path), "update limbeck")

    def find(self, keys: Sequence[str]) -> dict[str, dict[int, Draw]]:
        """The draws there are for these keys, by key and number."""
        found: dict[str, dict[int, Draw]] = {}
        for start in range(0, len(keys), 500):
            part = keys[start : start + 500]
            with self._lock, _said(self.path, "the ledger of calls cannot be read"):
                rows = self._file.execute(f"SELECT {COLUMNS} FROM calls WHERE key IN ({','.join('?' * len(part))})", part).fetchall()
            for row in rows:
                found.setdefault(row[0], {})[row[1]] = _draw(row)
        return found

    def keep(self, key: str, draws: Sequence[Draw], *, run: str, model: str, host: str) -> None:
        """One reply to disk, now: its draws, and that its request is no longer on the way.

        A draw that another process paid for meanwhile is left as it is, and this reply stays listed as lost. A full disk gets the spare
        room back and `is_full` is set: what is under way can still be kept, nothing new should be sent.
        """
        rows = [
            (key, d.number, run, d.request, d.asked, model, d.model, d.revision, host, d.tokens_in, d.tokens_out, d.cost_usd, d.latency_s, d.time, d.finish, d.text, d.refusal, json.dumps(d.more, ensure_ascii=False) if d.more else None)
            for d in draws
        ]

        def write() -> None:
            kept = sum(self._file.execute(_KEEP, row).rowcount for row in rows)
            if run and draws and not (kept and self._file.execute("DELETE FROM sent WHERE run = ? AND request = ? AND lost = 0", (run, draws[0].request)).rowcount):
                self._file.execute("UPDATE sent SET is_open = 0, lost = lost + ? WHERE run = ? AND request = ?", (0 if kept else 1, run, draws[0].request))

        self._write(write)

    def send(self, request: str, *, run: str, key: str, draws: int, tokens_bound: int | None, usd_bound: float | None) -> None:
        """Note that a request goes out, before it does: what may be paid for if no answer is ever kept."""
        values = (request, run, key, draws, tokens_bound, usd_bound, time.time())
        self._write(lambda: self._file.execute("INSERT INTO sent VALUES (?, ?, ?, ?, ?, ?, 0, 1, ?) ON CONFLICT (run, request) DO UPDATE SET is_open = 1", values), is_one=True)

    def lose(self, request: str, run: str) -> None:
        """A request went out and no whole reply came: it may have been paid for."""
        self._write(lambda: self._file.execute("UPDATE sent SET lost = lost + 1, is_open = 0 WHERE run = ? AND request = ?", (run, request)), is_one=True)

    def spoil(self, request: str, run: str) -> None:
        """A server that remembers would answer this request with the same nothing again: it gets another name from now on, in later processes too."""
        self._write(lambda: self._file.execute("INSERT OR IGNORE INTO spoilt VALUES (?, ?)", (run, request)), is_one=True)

    def spoilt(self, run: str) -> set[str]:
        """The requests that have another name by now."""
        with self._lock, _said(self.path, "the ledger of calls cannot be read"):
            return {request for (request,) in self._file.execute("SELECT request FROM spoilt WHERE run = ?", (run,))}

    def refuse(self, request: str, run: str) -> None:
        """A server turned a request down: nothing was paid."""
        self._write(lambda: self._file.execute("DELETE FROM sent WHERE run = ? AND request = ? AND lost = 0", (run, request)), is_one=True)

    def begin(self, run: str, records: Iterable[tuple[str, str, int]]) -> None:
        """Enter (record id, key, draws) of a run as waiting. What an earlier process of this run had on the way when it ended counts as lost."""

        def write() -> None:
            self._file.execute("UPDATE sent SET lost = lost + 1, is_open = 0 WHERE run = ? AND is_open = 1", (run,))
            self._file.executemany("INSERT OR REPLACE INTO asked VALUES (?, ?, ?, ?, 'waiting', '')", [(run, record, key, draws) for record, key, draws in records])

        self._write(write)

    def end(self, run: str, record: str, key: str, state: str, reason: str) -> None:
        """The state in which a record ended; on disk within a quarter of a second (a killed run finds it anew from its draws)."""
        with self._lock:
            self._ends.append((state, reason, run, record, key))
        if time.monotonic() - self._ended > 0.25:
            self.flush()

    def flush(self) -> None:
        """All ended states to disk."""
        with self._lock:
            ends, self._ends = self._ends, []
        self._ended = time.monotonic()
        if ends:
            self._write(lambda: self._file.executemany("UPDATE asked SET state = ?, reason = ? WHERE run = ? AND record_id = ? AND key = ?", ends))

    def note_batch(self, digest: str, *, run: str, provider: str, batch_id: str, state: str, requests: int) -> None:
        """Where a batch file stands, so that a killed run takes up the same one."""
        self._write(lambda: self._file.execute("INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?, ?, ?, ?)", (digest, run, provider, batch_id, state, requests, time.time())), is_one=True)

    def open_batches(self, run: str, provider: str) -> list[tuple[str, str, int]]:
        """(digest, batch id, requests) of batches that were not taken in yet; the id is "" where a run was killed before it knew it."""
        with self._lock, _said(self.path, "the ledger of calls cannot be read"):
            return self._file.execute("SELECT digest, batch_id, requests FROM batches WHERE run = ? AND provider = ? AND state != 'done' ORDER BY time", (run, provider)).fetchall()

    def spent(self, run: str) -> dict[str, Any]:
        """The accounts of a run: records by state and reason, what was first paid in it, what it took from earlier ones, what may have been paid without an answer.

        `cost_usd` is None where the price of any part is unknown; `known_usd` is the sum of the rest.
        """
        with self._lock, _said(self.path, "the ledger of calls cannot be read"):
            states = self._file.execute("SELECT state, reason, count(*) FROM asked WHERE run = ? GROUP BY state, reason ORDER BY state, reason", (run,)).fetchall()
            paid = self._file.execute(f"SELECT {_SUMS} FROM calls c WHERE run = ?", (run,)).fetchone()
            replayed = self._file.execute(f"SELECT {_SUMS} FROM calls c JOIN (SELECT key, max(draws) AS draws FROM asked WHERE run = ? GROUP BY key) a ON c.key = a.key AND c.draw < a.draws WHERE c.run != ?", (run, run)).fetchone()
            lost = self._file.execute("SELECT sum(lost), sum(lost * tokens_bound), sum(lost * usd_bound) FROM sent WHERE run = ? AND lost > 0", (run,)).fetchone()
        by_state: dict[str, int] = {}
        for state, _, count in states:
            by_state[state] = by_state.get(state, 0) + count
        return {
            "asked": sum(by_state.values()), "states": by_state, "reasons": {f"{state}: {reason}": count for state, reason, count in states if reason},
            "paid": _account(paid), "replayed": _account(replayed), "in_doubt": {"requests": lost[0] or 0, "tokens_at_most": lost[1] or 0, "usd_at_most": lost[2]},
        }  # fmt: skip

    def close(self) -> None:
        """Flush and let go of the file."""
        self.flush()
        self._file.close()

    def _write(self, change: Callable[[], Any], is_one: bool = False) -> None:
        """One transaction; on a full disk once more with the spare room."""
        with self._lock, _said(self.path, "answers could not be written"):
            try:
                self._commit(change, is_one)
            except sqlite3.OperationalError as problem:
                if not _is_full(problem) or not self._spare.exists():
                    raise
                self.is_full = True
                self._spare.unlink(missing_ok=True)
                self._commit(change, is_one)

    def _commit(self, change: Callable[[], Any], is_one: bool) -> None:
        if is_one:  # a statement alone is a transaction already
            change()
            return
        self._file.execute("BEGIN IMMEDIATE")
        try:
            change()
            self._file.execute("COMMIT")
        except BaseException:
            if self._file.in_transaction:
                self._file.execute("ROLLBACK")
            raise


def not_in_ledger(missing: int, of: int, first: str, where: str) -> LimbeckError:
    """The error of a run that may not ask, and has not all its answers."""
    return LimbeckError(f"{missing:,} of {of:,} requests are not in the ledger, and nothing may be asked (offline); the first is {first!r}", where, "make the run once without teacher.offline, with the same teacher, settings and samples")


_SUMS = "count(*), count(DISTINCT c.request), sum(tokens_in), sum(tokens_out), sum(cost_usd), sum(cost_usd IS NULL), sum(tokens_in IS NULL OR tokens_out IS NULL)"


def _account(row: Sequence[Any]) -> dict[str, Any]:
    draws, requests, tokens_in, tokens_out, usd, unpriced, uncounted = row
    return {
        "draws": draws, "requests": requests, "tokens_in": tokens_in or 0, "tokens_out": tokens_out or 0,
        "cost_usd": None if unpriced else usd or 0.0, "known_usd": usd or 0.0, "draws_without_usage": uncounted or 0,
    }  # fmt: skip


def _draw(row: Sequence[Any]) -> Draw:
    _, number, _, request, asked, _, model, revision, _, tokens_in, tokens_out, cost, latency, at, finish, text, refusal, more = row
    return Draw(
        number=number, request=request, asked=asked, text=text, finish=finish, refusal=refusal, model=model, revision=revision, tokens_in=tokens_in, tokens_out=tokens_out,
        cost_usd=cost, latency_s=latency, time=at, more=json.loads(more) if more else {},
    )  # fmt: skip


def _is_full(problem: sqlite3.OperationalError) -> bool:
    return getattr(problem, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def _reserve(path: Path, size: int) -> None:
    """Room that a full disk will get back; left out where there is none to spare."""
    if size <= 0 or (path.exists() and path.stat().st_size == size):
        return
    with suppress(OSError):
        try:
            with path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError:
            path.unlink(missing_ok=True)


@contextmanager
def _said(path: Path, what: str) -> Any:
    """What SQLite complains of, as a user's error."""
    try:
        yield
    except sqlite3.OperationalError as problem:
        fix = "free some disk space and run again: it goes on where it stopped" if _is_full(problem) else "see that the folder can be written and that no other program holds the file; what was answered is kept"
        raise LimbeckError(f"{what}: {problem}", str(path), fix) from problem
    except sqlite3.Error as problem:
        raise LimbeckError(f"{what}: {problem}", str(path), "move it away; a new one is made, and its answers are asked (and paid) again") from problem
