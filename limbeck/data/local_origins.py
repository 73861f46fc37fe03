"""Whose a file on this machine is: its package, version and licence, as the machine itself records them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

DPKG = Path("/var/lib/dpkg")
DOCUMENTS = Path("/usr/share/doc")
LICENCE_FILES = ("LICENSE", "LICENCE", "COPYING", "LICENSE.txt", "LICENSE.md", "LICENCE.txt")
KNOWN = (("Apache License", "Apache-2.0"), ("GNU AFFERO", "AGPL"), ("GNU LESSER", "LGPL"), ("GNU GENERAL PUBLIC", "GPL"), ("MIT License", "MIT"), ("Permission is hereby granted, free of charge", "MIT"), ("Mozilla Public", "MPL-2.0"), ("Redistribution and use in source", "BSD"))
NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a piece of code came from. `file` is relative to its package or folder."""

    file: str
    package: str
    version: str
    licence: str


def package_origin(distribution: metadata.Distribution, file: str) -> Origin:
    """Of an installed Python package."""
    name, version, licence = _package(distribution)
    return Origin(file=file, package=name, version=version, licence=licence)


@cache
def _package(distribution: metadata.Distribution) -> tuple[str, str, str]:
    about = distribution.metadata
    classified = [c.split(" :: ")[-1] for c in about.get_all("Classifier") or () if c.startswith("License :: OSI")]
    written = [v.strip().split("\n")[0][:80] for key in ("License-Expression", "License") for v in about.get_all(key) or () if v.strip()]
    return about["Name"], about["Version"], written[0] if written else ", ".join(classified) or NOT_STATED


def folder_origin(root: Path, path: Path) -> Origin:
    """Of a folder that the user named: the licence file nearest above decides."""
    return Origin(file=str(path.relative_to(root)), package=root.resolve().name, version="", licence=_licence_above(path.parent, root))


@cache
def _licence_above(folder: Path, root: Path) -> str:
    for name in LICENCE_FILES:
        if (folder / name).is_file():
            text = " ".join((folder / name).read_text(encoding="utf-8", errors="replace")[:3_000].split())
            return next((licence for words, licence in KNOWN if words.lower() in text.lower()), f"see {name}")
    return NOT_STATED if folder == root or folder == folder.parent else _licence_above(folder.parent, root)


def debian_origin(path: Path) -> Origin:
    """Of the Debian package that put a file here, as dpkg recorded it."""
    package = _owners().get(str(path), "")
    version, licence = _debian(package) if package else ("", NOT_STATED)
    return Origin(file=str(path), package=package or "this machine", version=version, licence=licence)


@cache
def _owners() -> dict[str, str]:
    """Each file's package; none where there is no dpkg."""
    out: dict[str, str] = {}
    for listing in sorted((DPKG / "info").glob("*.list")) if DPKG.is_dir() else ():
        package = listing.stem.split(":")[0]
        for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
            out[line] = package
            if line.startswith(("/lib/", "/bin/", "/sbin/")):
                out[f"/usr{line}"] = package
    return out


@cache
def _versions() -> dict[str, str]:
    status = DPKG / "status"
    text = status.read_text(encoding="utf-8", errors="replace") if status.exists() else ""
    return dict(re.findall(r"(?m)^Package: (\S+)\n(?:.+\n)*?Version: (\S+)", text))


@cache
def _debian(package: str) -> tuple[str, str]:
    notice = DOCUMENTS / package / "copyright"
    found = re.search(r"(?m)^License:\s*(\S.*)$", notice.read_text(encoding="utf-8", errors="replace")) if notice.exists() else None
    return _versions().get(package, ""), found[1].strip()[:80] if found else f"see {notice.name} of {package}"
