"""Answers that were given before: a SQLite file of calls by content, so that a replay is free and a paid answer never lost."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError

COMMIT_S = 0.25


class CallCache:
    """Key to reply, on disk. Several processes may read and write it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)  # a judge is asked from a thread of its own; the lock below keeps order
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=NORMAL")
            self._file.execute("CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, reply TEXT NOT NULL) WITHOUT ROWID")
        except sqlite3.Error as problem:
            raise LimbeckError(f"the file of earlier calls cannot be used: {problem}", str(path), "move it away; it is made anew, and its answers are asked again") from problem
        self.path = path
        self._waiting: list[tuple[str, str]] = []
        self._lock = threading.RLock()
        self._written = time.monotonic()

    def find(self, keys: Sequence[str]) -> dict[str, Any]:
        """The replies known for these keys."""
        found: dict[str, Any] = {}
        for start in range(0, len(keys), 500):
            part = keys[start : start + 500]
            with self._lock:
                rows = self._file.execute(f"SELECT key, reply FROM calls WHERE key IN ({','.join('?' * len(part))})", part).fetchall()
            found |= {key: json.loads(reply) for key, reply in rows}
        return found

    def keep(self, key: str, reply: Any) -> None:
        """Remember one reply; written to disk within a quarter of a second, or at the next `flush`."""
        with self._lock:
            self._waiting.append((key, json.dumps(reply, ensure_ascii=False)))
        if time.monotonic() - self._written > COMMIT_S:
            self.flush()

    def flush(self) -> None:
        """Everything to disk now."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        try:
            with self._lock, self._file:
                self._file.execute("BEGIN")
                self._file.executemany("INSERT OR REPLACE INTO calls VALUES (?, ?)", waiting)
        except sqlite3.Error as problem:
            raise LimbeckError(f"answers could not be written: {problem}", str(self.path), "free some disk space and run again: it goes on where it stopped") from problem
        self._written = time.monotonic()

    def close(self) -> None:
        """Flush and let go of the file."""
        if self._waiting:
            self.flush()
        self._file.close()
