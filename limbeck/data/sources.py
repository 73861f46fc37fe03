"""Pinned sources: one TOML file each in `pinned/`, every file checked by SHA-256 wherever it comes from.

A file is looked for in the folder that LIMBECK_DATA names (under its own name, or one of its `local` names, gzipped or not),
then among what `limbeck data get` fetched. The checksum is that of the content, unzipped.
"""

from __future__ import annotations

import difflib
import gzip
import hashlib
import os
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path

from limbeck.errors import LimbeckError
from limbeck.run import write_atomically

TIMEOUT_S = 60
LARGEST_BYTES = 500_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file of a source: SHA-256 of its content (or of a part that serves as well), its URL, other names of local copies."""

    name: str
    sha256: str
    url: str = ""
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
    files = {n: SourceFile(name=n, sha256=f["sha256"], url=f.get("url", ""), local=tuple(f.get("local", ())), parts=tuple(f.get("parts", ()))) for n, f in table.pop("files").items()}
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
    fetch = f"run `limbeck data get {source}`, or " if wanted.url else ""
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
        if not wanted.url:
            raise LimbeckError(f"{wanted.name} cannot be fetched", source, f"get it from {pinned.origin} and set LIMBECK_DATA to its folder; {pinned.note}")
        content = _download(wanted)
        _check(content, wanted, wanted.url)
        path = cache_folder() / source / wanted.name
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


def _download(wanted: SourceFile) -> bytes:
    try:
        with urllib.request.urlopen(wanted.url, timeout=TIMEOUT_S) as response:
            content = response.read(LARGEST_BYTES)
            return gzip.decompress(content) if wanted.url.endswith(".gz") and content[:2] == b"\x1f\x8b" else content
    except (urllib.error.URLError, OSError, ValueError) as problem:
        raise LimbeckError(f"{wanted.name} cannot be fetched: {problem}", wanted.url, "check the network, or set LIMBECK_DATA to a folder that holds it") from problem
