"""A run folder: one folder a step, each with a manifest written last, so that a killed run goes on where it stood."""

from __future__ import annotations

import ast
import errno
import fcntl
import hashlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from limbeck import __version__
from limbeck.errors import LimbeckError
from limbeck.records import content_id

FORMAT = 1


def derive_seed(*parts: object) -> int:
    """A 63-bit seed by SHA-256 of its purpose: equal parts, equal seed, and no two purposes share one."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def hash_file(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """All of it or nothing: written beside, flushed, then moved into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as problem:
        temporary.unlink(missing_ok=True)
        raise disk_error(problem, path) from problem


def disk_error(problem: OSError, path: Path) -> LimbeckError:
    """What to tell a user whose disk refused a write."""
    if problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return LimbeckError("the disk is full", str(path), "free some space and run again: it resumes")
    return LimbeckError(f"cannot write: {problem.strerror or problem}", str(path), "check the path and its permissions")


@cache
def code_version(*rooms: str) -> str:
    """The version and a short hash of what rooms do: their syntax trees without docstrings, and the data files beside them."""
    digest = hashlib.sha256()
    for room in sorted(rooms):
        folder = Path(__file__).parent / room
        for path in sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".txt", ".json")):
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(_syntax(path.read_text(encoding="utf-8")).encode() if path.suffix == ".py" else path.read_bytes())
    return f"{__version__}+{digest.hexdigest()[:12]}" if rooms else __version__


def _syntax(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


class Step:
    """One step's folder. `manifest.json` is written last; without it the step is not done."""

    def __init__(self, path: Path, name: str, seed: int, fingerprint: Mapping[str, Any]) -> None:
        self.path, self.name, self._seed = path, name, seed
        self._fingerprint = json.loads(json.dumps(fingerprint, default=str))
        self._purposes: dict[str, int] = {}
        self._began = time.perf_counter()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise disk_error(problem, path) from problem

    def seed(self, purpose: str) -> int:
        """The seed for one purpose in this step; noted in the manifest."""
        return self._purposes.setdefault(purpose, derive_seed(self._seed, self.name, purpose))

    @property
    def state(self) -> tuple[bool, str]:
        """Whether the step is done as asked, and if not, why it must be done."""
        manifest = self.manifest()
        if manifest is None:
            started = self._started()
            return False, "not done yet" if started is None else "was interrupted"
        if manifest["fingerprint"] != self._fingerprint:
            changed = [k for k in self._fingerprint if manifest["fingerprint"].get(k) != self._fingerprint[k]]
            return False, f"{' and '.join(changed) or 'something'} changed"
        return True, "up to date"

    def begin(self) -> None:
        """Note what is being made; leftovers of a different making are removed."""
        (self.path / "manifest.json").unlink(missing_ok=True)  # first: a kill in what follows must not leave "done" beside half a step
        if self._started() != self._fingerprint:
            for item in self.path.iterdir():
                shutil.rmtree(item) if item.is_dir() else item.unlink()
            self.write_json("started.json", self._fingerprint)
        self._began = time.perf_counter()

    def finish(self, **facts: Any) -> None:
        """Write the manifest: the step is done."""
        manifest = {
            "format": FORMAT, "step": self.name, "limbeck": __version__, "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self._began, 2), "hardware": describe_hardware(), "seeds": self._purposes,
            "fingerprint": self._fingerprint, "facts": facts,
        }  # fmt: skip
        self.write_json("manifest.json", manifest)

    def manifest(self) -> dict[str, Any] | None:
        """The manifest of a finished step."""
        found = _read_json(self.path / "manifest.json")
        return found if isinstance(found, dict) and isinstance(found.get("fingerprint"), dict) else None

    def _started(self) -> Any:
        return _read_json(self.path / "started.json")

    def write_json(self, name: str, value: object) -> Path:
        """A JSON file, atomically."""
        return self.write_bytes(name, json.dumps(value, indent=1, ensure_ascii=False, default=str).encode())

    def write_text(self, name: str, text: str) -> Path:
        """A text file, atomically."""
        return self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, data: bytes) -> Path:
        """A file, atomically."""
        write_atomically(self.path / name, data)
        return self.path / name

    def log(self, **metrics: Any) -> None:
        """One line of metrics.jsonl."""
        try:
            with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(metrics) + "\n")
        except OSError as problem:
            raise disk_error(problem, self.path / "metrics.jsonl") from problem


def _read_json(path: Path) -> Any:
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


class Run:
    """A run folder, held by one process at a time."""

    def __init__(self, path: Path, recipe_toml: str | None, seed: int) -> None:
        self.path, self.seed = path, seed
        if recipe_toml is not None:  # None for a process that only follows another one's run
            write_atomically(path / "recipe.toml", recipe_toml.encode())

    def step(self, name: str, section: object, inputs: Mapping[str, Any], rooms: tuple[str, ...] = ()) -> Step:
        """The step called `name`, whose result depends on its section, its inputs, the seed and the code of `rooms`."""
        fingerprint = {"section": section, "inputs": dict(inputs), "seed": self.seed, "code": code_version(*rooms)}
        return Step(self.path / name, name, self.seed, fingerprint)


@contextmanager
def open_run(path: Path, recipe_toml: str, seed: int) -> Iterator[Run]:
    """Open or make a run folder. Raises LimbeckError when it is in use, of another format, or not a run at all."""
    if path.exists() and not path.is_dir():
        raise LimbeckError("this is a file, not a run folder", str(path), "name another folder with --out")
    try:
        path.mkdir(parents=True, exist_ok=True)
        marker = path / "run.json"
        if marker.exists():
            found = _read_json(marker)
            made = found.get("format") if isinstance(found, dict) else "unreadable"
            if made != FORMAT:
                raise LimbeckError(f"this run was made by another version (format {made}, here {FORMAT})", str(path), "use --out for a new folder, or the version that made it")
        elif any(path.iterdir()) and not (path / ".lock").exists():
            raise LimbeckError("the folder is not empty and not a run", str(path), "name another folder with --out")
        lock = (path / ".lock").open("a+")
    except OSError as problem:
        raise disk_error(problem, path) from problem
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            raise LimbeckError("another process is working in this run folder", str(path), "wait for it, or name another folder with --out") from problem
        write_atomically(path / "run.json", json.dumps({"format": FORMAT, "limbeck": __version__}).encode())
        yield Run(path, recipe_toml, seed)


def describe_hardware() -> dict[str, Any]:
    """What the step ran on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    return {"cpu": model, "gpu": _gpu(), "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(), "system": platform.system(), "python": platform.python_version()}


def _gpu() -> str | None:
    """The accelerator's name, where torch is loaded and sees one."""
    torch = sys.modules.get("torch")
    return str(torch.cuda.get_device_name(0)) if torch is not None and torch.cuda.is_available() else None


def hash_inputs(value: object) -> str:
    """A short hash of what a step was given."""
    return content_id(value)
