"""What an installed utility says of its own options. Only plain utilities that are known to answer --help are asked, and nothing else is ever run."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache

# All of them print their help and do nothing else; they are taken from the system's folders only.
ASKABLE = {
    "basename", "cat", "chgrp", "chmod", "chown", "comm", "cp", "cut", "date", "df", "diff", "dirname", "du", "expand", "fmt", "fold", "grep", "gzip", "head", "id", "join", "ln", "ls", "md5sum",
    "mkdir", "mktemp", "mv", "nl", "od", "paste", "readlink", "rm", "rmdir", "sed", "seq", "sha256sum", "shuf", "sort", "split", "stat", "tac", "tail", "tar", "tee", "touch", "tr", "uname", "uniq", "wc", "xargs",
}  # fmt: skip
FOLDERS = "/usr/bin:/bin"
LINE = re.compile(r"^\s{1,10}(-{1,2}[\w?][^\s]*(?:(?:,\s?| )-{1,2}[^\s]+)*(?: [A-Z][\w=.]*)?)(?:\s{2,}(\S.*))?$")
TIMEOUT_S = 2


def look_up(utility: str, option: str) -> str:
    """The help's own words on an option, empty where there are none."""
    return _options(utility).get(option, "")


@cache
def _options(utility: str) -> dict[str, str]:
    path = shutil.which(utility, path=FOLDERS) if utility in ASKABLE else None
    if path is None:
        return {}
    try:
        done = subprocess.run([path, "--help"], capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, stdin=subprocess.DEVNULL, env={"LC_ALL": "C", "PATH": FOLDERS})
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return read_help(done.stdout)


def read_help(text: str) -> dict[str, str]:
    """Options and the words beside them, of a help text in the usual form."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in text.splitlines():
        match = LINE.match(line)
        if match:
            names = re.findall(r"(?<![\w-])--?[\w?][\w-]*", match[1])
            for name in names:
                found.setdefault(name, (match[2] or "").strip())
        elif names and re.match(r"\s{12,}\S", line):
            for name in names:
                found[name] = f"{found[name]} {line.strip()}".strip()
        else:
            names = []
    return {name: words for name, words in found.items() if words}
