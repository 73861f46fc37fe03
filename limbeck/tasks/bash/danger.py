"""Warnings on commands that destroy. A text is read, never run; a word inside quotes that nobody runs raises no alarm."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from limbeck.tasks.bash.commands import Simple, list_commands
from limbeck.tasks.bash.syntax import Piece, blank_prompt, parse

Level = Literal["danger", "care"]
DEVICE = re.compile(r"/dev/(?:sd|hd|vd|xvd|nvme|mmcblk|disk|rdisk|dm-|md|loop|mapper/|mem|kmem|port|sr|ram)[\w/.-]*")
SYSTEM = re.compile(r"/(?:etc|boot|bin|sbin|lib|lib64|usr|sys|proc)(?:/.*)?")
ROOTS = {"/", "/*", "/.", "/..", "~", "~/", "~/*", "$HOME", "${HOME}", "$HOME/", "${HOME}/", "$HOME/*", "${HOME}/*", "*", "./*", ".", "./", "..", "../", ".*", "/home", "/home/*"}
TOP = re.compile(r"/(?:etc|boot|bin|sbin|lib|lib32|lib64|usr|sys|proc|dev|var|root|opt|home)/?\*?|/usr/(?:bin|lib|sbin|share)/?\*?")
UNSET = re.compile(r"\$\{?\w+\}?/\*?")  # "$DIR/" is "/" where DIR is empty
SHELLS = {"sh", "bash", "zsh", "dash", "ksh", "fish"}
DISK_TOOLS = {"mkswap", "fdisk", "sfdisk", "cfdisk", "gdisk", "sgdisk", "parted", "wipefs", "blkdiscard", "hdparm", "badblocks", "pvremove", "vgremove", "lvremove", "cryptsetup"}
POWER = {"shutdown", "reboot", "halt", "poweroff"}
BODY = re.compile(r"(?:function\s+)?([^\s(){};|&]+)\s*\(\s*\)\s*\{([^}]*)\}|function\s+([^\s(){};|&]+)\s*\{([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Danger:
    """What a command would do, and where in the text it says so."""

    level: Level
    rule: str
    text: str
    start: int
    end: int


def find_dangers(command: str) -> list[Danger]:
    """Warnings in the order of the text, each rule once a command; a broken command is looked through as well."""
    parsed = parse(blank_prompt(command))
    found = list(_fork_bomb(command, parsed.pieces))
    commands = list(list_commands(parsed.pieces))
    for simple in commands:
        found += [Danger(level, rule, text, simple.start, simple.end) for level, rule, text in _judge(simple)]
    return list(dict.fromkeys(found))


def _fork_bomb(command: str, pieces: Sequence[Piece]) -> Iterator[Danger]:
    """A function that calls itself twice or in the background, and is called."""
    code = "".join(p.text if p.kind != "word" or p.text[:1] not in "'\"" else "''" for p in _spaced(pieces)) if pieces else ""
    for match in BODY.finditer(code):
        name, body = match[1] or match[3], match[2] or match[4]
        calls = len(re.findall(rf"(?<![\w:-]){re.escape(name)}(?![\w:-])", body))
        if calls >= 2 or (calls and "&" in body.replace("&&", "")):
            yield Danger("danger", "fork bomb", f"{name!r} starts copies of itself without end: the machine stops answering", 0, len(command))
    if re.search(r"(?:while|until)\b[^;]*;\s*do\b[^;]*&\s*(?:;\s*)?done", code) and re.search(r"while\s+(?:true|:|1)\s*;", code):
        yield Danger("danger", "fork bomb", "a loop without end starts a process each time round", 0, len(command))


def _spaced(pieces: Sequence[Piece]) -> Iterator[Piece]:
    for piece in pieces:
        yield piece
        yield Piece("operator", " ", piece.end, piece.end)


def _judge(command: Simple) -> Iterator[tuple[Level, str, str]]:
    yield from _redirections(command)
    name = command.name
    if name == "rm":
        yield from _removal(command)
    elif name == "find" and "-delete" in command.words:
        yield "care", "find -delete", "deletes every file that the search finds; run it with -print first"
    elif name == "dd" and (target := _output(command)):
        is_device = bool(DEVICE.match(target))
        yield ("danger" if is_device else "care"), "dd", f"writes over {target}" + (", a whole device: what is on it is lost" if is_device else " from its first byte")
    elif name.startswith("mkfs") or name == "mke2fs":
        yield "danger", "mkfs", "makes a new file system: everything on the device is lost"
    elif name in DISK_TOOLS and not command.has("lL", "--list", "--help", "--version") and len(command.words) > 1:
        yield "danger", "disk tool", f"{name} changes a disk itself: a wrong device loses what is on it"
    elif name == "shred":
        yield "danger", "shred", "overwrites files so that nobody can recover them"
    elif name in ("cp", "mv", "tee", "install", "truncate") and any(DEVICE.fullmatch(w) for w in command.plain()[-1:]):
        yield "danger", "writes to a device", f"writes over {command.plain()[-1]} itself, not into a file on it"
    elif name == "mv":
        yield from _moving(command)
    elif name in ("chmod", "chown", "chgrp"):
        yield from _rights(command)
    else:
        yield from _others(command)


def _output(command: Simple) -> str:
    target = next((w[3:] for w in command.words if w.startswith("of=")), "")
    return "" if target in ("/dev/null", "/dev/stdout", "/dev/stderr") else target


def _removal(command: Simple) -> Iterator[tuple[Level, str, str]]:
    recursive, force = command.has("rR", "--recursive"), command.has("f", "--force")
    targets = command.plain()
    wide = [t for t in targets if t in ROOTS or TOP.fullmatch(t)]
    unset = [t for t in targets if UNSET.fullmatch(t)]
    if "--no-preserve-root" in command.words or (wide and recursive):
        yield "danger", "rm -r of a root", f"deletes {' '.join(wide) or '/'} and all that is below it"
    elif unset and recursive:
        yield "danger", "rm -r of a variable", f"{unset[0]} is the root of the disk where the variable is empty"
    elif recursive and force:
        yield "danger", "rm -rf", "deletes folders with all they hold, without asking; nothing can be brought back"
    elif recursive:
        yield "care", "rm -r", "deletes folders with all they hold"
    elif command.runner in ("find", "xargs"):
        yield "care", "rm of what was found", "deletes every file that was found; look at the list first"
    elif any("*" in t for t in targets):
        yield "care", "rm of a pattern", f"deletes every file that matches {next(t for t in targets if '*' in t)}"


def _redirections(command: Simple) -> Iterator[tuple[Level, str, str]]:
    for sign, target in command.redirects:
        if ">" not in sign:
            continue
        if DEVICE.fullmatch(target):
            yield "danger", "redirection over a device", f"writes over {target} itself, not into a file on it"
        elif SYSTEM.fullmatch(target) and sign != ">>":
            yield "danger", "redirection over a system file", f"replaces what {target} holds"
        elif target in command.words[1:] and sign in (">", ">|", "&>"):
            yield "care", "redirection over the input", f"{target} is emptied before it is read"


def _moving(command: Simple) -> Iterator[tuple[Level, str, str]]:
    words = command.plain()
    if words and words[-1] == "/dev/null":
        yield "danger", "mv to /dev/null", "the file is lost, and as root /dev/null with it"
    elif any(w in ROOTS - {"*", "./*", ".", "..", "./", "../"} for w in words[:-1]):
        yield "danger", "mv of a root", f"moves {words[0]} and all that is below it"


def _rights(command: Simple) -> Iterator[tuple[Level, str, str]]:
    wide = [w for w in command.plain() if w in ROOTS - {"*", "./*", ".", "./"} or TOP.fullmatch(w)]
    if command.has("R", "--recursive") and wide:
        yield "danger", f"{command.name} -R of a root", f"changes the rights of everything below {wide[0]}: the system may not start again"
    elif command.name == "chmod" and command.has("R", "--recursive") and any(re.fullmatch(r"0?777|a\+rwx|ugo\+rwx", w) for w in command.plain()):
        yield "care", "chmod -R 777", "lets everybody read, change and run everything there"


def _others(command: Simple) -> Iterator[tuple[Level, str, str]]:
    name, words = command.name, command.words
    if name in SHELLS and command.piped_from in ("curl", "wget", "fetch"):
        yield "danger", "downloaded code", "runs what was downloaded without looking at it"
    elif name in SHELLS and command.piped_from in ("base64", "xxd", "openssl"):
        yield "danger", "hidden code", "runs code that cannot be read before"
    elif name in POWER or (name in ("init", "telinit") and words[1:2] in (("0",), ("6",))) or (name == "systemctl" and set(words) & POWER):
        yield "care", "power", "stops or restarts the machine"
    elif name == "kill" and "-1" in words[2:]:
        yield "danger", "kill -1", "ends every process that you may end"
    elif name == "crontab" and command.has("r"):
        yield "danger", "crontab -r", "deletes all your scheduled jobs, without asking"
    elif name == "truncate":
        yield "care", "truncate", "cuts files; what is beyond the size is lost"
    elif name == "rsync" and any(w.startswith("--del") for w in words):
        yield "care", "rsync --delete", "deletes what the source does not have"
    elif name == "git" and ((words[1:2] == ("clean",) and command.has("f")) or (words[1:2] == ("reset",) and "--hard" in words)):
        yield "care", f"git {words[1]}", "work that was never committed is lost"
    elif name == "git" and words[1:2] == ("push",) and command.has("f", "--force"):
        yield "care", "git push --force", "replaces what others see; commits may be lost"
    elif name in ("userdel", "deluser", "groupdel"):
        yield "danger", name, "removes an account"
    elif name in ("iptables", "ip6tables") and command.has("F", "--flush"):
        yield "care", "iptables -F", "drops all firewall rules"
