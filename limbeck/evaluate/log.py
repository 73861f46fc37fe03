"""The log of an examination: one line a trial, only ever appended to, so that a killed run goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.records import Example, content_id
from limbeck.run import disk_error

FLUSH_EVERY = 32  # lines


def prompt_key(example: Example) -> str:
    """Changes when what is shown to the answerer does."""
    return content_id([example.prompt.text, example.prompt.context], 12)


class TrialLog:
    """A JSONL file: a header that says what is examined, then trials. Raises LimbeckError where it is of another examination."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.path, self._known, self._lines = path, {}, 0
        header = {"kind": "examination", **header}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            whole = self._read(header) if path.exists() else 0
            self._file = path.open("r+b" if path.exists() else "wb")
            self._file.truncate(whole)  # a line that a kill cut short
            self._file.seek(whole)
            if not whole:
                self._write(header)
                self.flush()
        except OSError as problem:
            raise disk_error(problem, path) from problem

    def _read(self, header: dict[str, Any]) -> int:
        """Fills what is known; how many bytes are whole lines."""
        whole = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file):
                try:
                    found = json.loads(line) if line.endswith(b"\n") else None
                except ValueError:
                    found = None
                if found is None:
                    break
                if number == 0:
                    self._check(found, json.loads(json.dumps(header)))
                else:
                    self._known[found["id"], found["prompt_key"]] = found
                whole += len(line)
        return whole

    def _check(self, found: dict[str, Any], header: dict[str, Any]) -> None:
        for name in header:
            if found.get(name) != header[name]:
                raise LimbeckError(f"this log is of another examination: {name} was {found.get(name)!r}, now {header[name]!r}", str(self.path), "use another --out, or move this file away")

    def find(self, example: Example) -> dict[str, Any] | None:
        """The trial of an example that was already judged, unless its prompt has changed or no answer came: that is asked again."""
        found = self._known.get((example.id, prompt_key(example)))
        return None if found is None or found["status"] == "failed" else found

    def append(self, trial: dict[str, Any]) -> None:
        """One more trial."""
        self._write(trial)
        self._lines += 1
        if self._lines % FLUSH_EVERY == 0:
            self.flush()

    def _write(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")

    def flush(self) -> None:
        """Hand everything to the system."""
        try:
            self._file.flush()
        except OSError as problem:
            raise disk_error(problem, self.path) from problem

    def close(self) -> None:
        """Flush and let go."""
        self.flush()
        self._file.close()
