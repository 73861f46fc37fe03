"""What a gold command names and the file tree lacks: made for it, so that the command has something to work on.

A file is made where the command reads or searches one, never where it makes one itself. For a pattern there are several: one
near and new, one deeper, old and larger, and one whose name differs in case only, so that looking for too much shows.
"""

from __future__ import annotations

import bz2
import fnmatch
import itertools
import posixpath
import re
from collections.abc import Iterable, Sequence, Set

from limbeck.tasks.bash.commands import Simple, list_commands
from limbeck.tasks.bash.options import VALUED
from limbeck.tasks.bash.syntax import parse
from limbeck.tasks.bash.tree import (
    DAY,
    FOLDERS,
    HOME,
    HOUR,
    LINES,
    PACKED,
    SENTENCES,
    Entry,
    entries,
    packed_tar,
    zipped,
)

PLAIN = re.compile(r"[\w./~+@,:=*?\[\]-]*[A-Za-z][\w./~+@,:=*?\[\]-]*")
SYSTEM = {"usr", "lib", "lib32", "lib64", "bin", "sbin", "proc", "dev", "sys", "boot", "run", "sandbox"}
MAKERS = {"mkdir", "mktemp", "touch", "echo", "printf", "export", "set", "shopt", "bind", "kill", "killall", "pkill", "type", "which", "whereis", "date", "seq", "tr", "expr", "test", "read", "su", "useradd", "groups", "id", "alias", "unset", "trap", "ps", "man", "yes", "tee", "sleep", "history", "jobs", "umask", "true", "false", "mount", "umount", "env", "hostname", "crontab"}
TO_LAST = {"cp", "mv", "ln", "rsync", "install"}
PATTERN_FIRST = {"grep", "egrep", "fgrep", "zgrep", "sed", "awk", "gawk", "perl", "chmod", "chown", "chgrp", "rename", "jq"}
INTO = {"cd", "pushd", "ls", "du", "tree", "rmdir"}
MOST = 40  # things made for one example


def furnish(golds: Iterable[str]) -> tuple[Entry, ...]:
    """What is made for the gold commands of one example; a path that ends in / is a folder."""
    files = {e.path for e in entries()}
    there = files | {above for path in files for above in _above(path)}
    found: dict[str, Entry] = {}
    for gold in golds:
        words = " ".join(dict.fromkeys(re.findall(r"[A-Za-z]{3,}", gold)))
        for simple in list_commands(parse(gold).pieces):
            for path, kind in _wanted(simple):
                for entry in _made(path, kind, words, there):
                    is_below_file = any(above in files for above in _above(entry.path))
                    if entry.path.rstrip("/") not in there and entry.path.split("/")[0] not in SYSTEM and not is_below_file:
                        found.setdefault(entry.path.rstrip("/"), entry)
    folders = {above for path in found for above in _above(path)}
    return tuple(e for path, e in sorted(found.items()) if e.path.endswith("/") or path not in folders)[:MOST]


def top_folders(furniture: Sequence[Entry]) -> tuple[str, ...]:
    """Folders of the first level that furniture needs and the tree has not."""
    tops = {f"/{e.path.split('/')[0]}" for e in furniture}
    return tuple(sorted(tops - {*FOLDERS, "/tmp"}))


def _wanted(simple: Simple) -> Iterable[tuple[str, str]]:
    """(path or pattern, kind) of what a command reads: kind is f, d, e (an empty folder), or "" where the name decides."""
    if simple.name == "find":
        yield from _searched(simple.words[1:])
        return
    for sign, target in simple.redirects:
        if sign == "<":
            yield target, "f"
    if simple.name in MAKERS:
        return
    plain = [w for w in _arguments(simple) if PLAIN.fullmatch(w)]
    if simple.name in PATTERN_FIRST:
        plain = plain[1:]
    if simple.name in TO_LAST and len(plain) > 1:
        plain, last = plain[:-1], plain[-1]
        if last.endswith("/") or len(plain) > 1:
            yield last, "d"
    if (simple.name == "tar" and simple.has("c", "--create")) or (simple.name == "tar" and "c" in (simple.words[1:] or ("",))[0].lstrip("-")):
        plain = [w for w in plain if ".t" not in w]
    for word in plain:
        is_folder = word.endswith("/") or ((simple.name in INTO or simple.has("rR", "--recursive")) and "." not in posixpath.basename(word).lstrip("."))
        yield word, "e" if simple.name == "rmdir" else "d" if is_folder else "f" if simple.name != "tar" or ".t" in word else ""


def _arguments(simple: Simple) -> list[str]:
    """Plain words that are no option's value."""
    out, skip = [], False
    for word in simple.words[1:]:
        if skip:
            skip = False
        elif word.startswith("-") and len(word) > 1:
            skip = not word.startswith("--") and word[-1] in VALUED.get(simple.name, "") and simple.name != "tar"
        else:
            out.append(word)
    return out


def _searched(words: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Starting points of find, and names that would be found below them."""
    starts: list[str] = []
    for word in words:
        if word.startswith(("-", "(", "!", "\\")):
            break
        if PLAIN.fullmatch(word) or word in (".", "/", "~"):
            starts.append(word)
    starts = [s for s in starts if s != "/"] or ["."]
    pairs = list(itertools.pairwise(words))
    kind = next((value for option, value in pairs if option == "-type"), "f")
    kind = kind if kind in ("d", "l") else "f"
    for start in starts:
        yield start, "d"
        for option, value in pairs:
            if option in ("-name", "-iname") and "/" not in value:
                yield f"{start}/{value}", kind
            elif option in ("-path", "-ipath", "-wholename") and "/" in value:
                yield f"{start}/{value.lstrip('./*')}", kind
            elif option in ("-newer", "-samefile", "-anewer", "-cnewer"):
                yield value, "f"


def _made(path: str, kind: str, words: str, there: Set[str]) -> Iterable[Entry]:
    """Files or folders for one wanted path: several where it is a pattern."""
    if any(sign in path for sign in "$`{}()\"'\\;|") or not path.strip("./*?~"):
        return
    has_pattern = any(sign in path for sign in "*?[")
    real = concrete(path)
    home = real[2:] if real.startswith("~/") else real
    full = posixpath.normpath(home if real.startswith("/") else f"/{HOME}/{home}").strip("/")
    if full.startswith("..") or not full:
        return
    folder, name = posixpath.split(full)
    folder = folder or HOME
    if kind == "e":
        yield Entry(f"{full}/")
    elif kind == "d" and full in there:
        return
    elif kind == "d":
        yield Entry(f"{full}/a.txt", f"{SENTENCES}{words}\n".encode(), 3 * HOUR)
        yield Entry(f"{full}/sub/b.log", LINES.encode(), 45 * DAY + 7 * HOUR)
    elif kind == "l":
        yield Entry(full, age_s=3 * HOUR, mode=0o777, link=f"/{HOME}/file.txt")
    else:
        yield Entry(full, _content(name, f"{SENTENCES}{words}\n"), 3 * HOUR)
        if has_pattern:
            yield Entry(f"{folder}/sub/z{name}" if fnmatch.fnmatch(f"z{name}", posixpath.basename(path)) else f"{folder}/sub/{name}", _content(name, LINES * 20 + words), 45 * DAY + 7 * HOUR)
            if name.upper() != name:
                yield Entry(f"{folder}/{name.upper()}", _content(name, LINES), 9 * DAY + 7 * HOUR)


def concrete(pattern: str) -> str:
    """A name that a pattern of the shell matches."""
    out = re.sub(r"\[!?\^?([^\]])[^\]]*\]", lambda m: "x" if m[0][1] in "!^" else m[1], pattern)
    return out.replace("*", "x").replace("?", "y")


def _content(name: str, text: str) -> bytes:
    if name.endswith((".tar.gz", ".tgz")):
        return packed_tar(PACKED, True)
    if name.endswith(".tar"):
        return packed_tar(PACKED, False)
    return zipped(text) if name.endswith(".gz") else bz2.compress(text.encode()) if name.endswith(".bz2") else text.encode()


def _above(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]
