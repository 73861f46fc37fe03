"""A functional score for Bash: the gold command and another one are each run in a copy of the same file tree, and compared.

Compared are standard output, whether it succeeded (exit code zero or not), and the tree afterwards: names, kinds, contents,
rights, targets of links, times of files where they were touched. Standard error is not. Lines may come in another order where
the gold command walks folders and puts nothing in order itself. A gold command that cannot tell right from wrong here is not
comparable, with its reason, and makes no score: it fails, does nothing that can be seen, shows something else on each run,
needs a network or a program that is not installed.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from limbeck.errors import LimbeckError
from limbeck.tasks.bash.commands import list_commands
from limbeck.tasks.bash.danger import find_dangers
from limbeck.tasks.bash.fitness import why_unfit
from limbeck.tasks.bash.furniture import furnish, top_folders
from limbeck.tasks.bash.syntax import parse
from limbeck.tasks.bash.tree import FOLDERS, HOME, Entry, pack
from limbeck.tasks.sandbox import Limits, Outcome, Program, other_users, run_all

LIMITS = Limits(seconds=5.0, memory_bytes=512 << 20, file_bytes=256 << 20)
WHOLE_BYTES = 2 << 20  # a larger file is compared by its size
TICK_US = 11_000  # the file system's clock moves in steps: what bears a time so little before a run may be of it
MOST_LEFT = 20  # processes that a command may leave behind
CHANGED = 2.0  # seconds: a file touched no longer before the run than this is "now"
NETWORK = {"wget", "curl", "ssh", "scp", "sftp", "ftp", "ping", "ping6", "traceroute", "dig", "nslookup", "host", "nc", "ncat", "netcat", "telnet", "whois", "finger", "apt", "apt-get", "yum", "pip", "brew", "rsh", "mail", "sendmail", "ssh-copy-id", "ssh-keyscan", "lftp", "wall", "write"}
WALKERS = {"find", "du", "tree", "locate", "parallel", "rgrep"}
ORDERERS = {"sort", "tac", "nl", "shuf", "ls"}
DRIVER = rf"""
at=$1 root=$2 roots=$3 whole=$4
read -r mark
umask 022
tar -xf "$at/tree.tar" --no-same-owner -C "${{root:-/}}" 2> /dev/null
cd "$root/{HOME}" || exit 99
echo "user:x:$UID:${{GROUPS[0]}}::/{HOME}:/bin/bash" >> "$root/etc/passwd"
echo "user:x:${{GROUPS[0]}}:" >> "$root/etc/group"
export HOME="$root/{HOME}" USER=user LOGNAME=user SHELL=/bin/bash TERM=dumb TZ=UTC COLUMNS=80
sudo() {{ while [ $# -gt 0 ]; do case $1 in -u|-g) shift 2;; -*) shift;; *) break;; esac; done; "$@"; }}
export -f sudo
began=${{EPOCHREALTIME/[.,]/}}
/bin/bash "$at/command" < /dev/null 2> "$at/errors"
code=$?
exec 1>&2
left=(/proc/[0-9]*)
if [ -z "$root" ] && [ ${{#left[@]}} -gt 2 ]; then  # something goes on behind it: does it multiply?
    until [ $((${{EPOCHREALTIME/[.,]/}} - began)) -gt 150000 ]; do :; done
    left=(/proc/[0-9]*)
    [ ${{#left[@]}} -gt {MOST_LEFT} ] && printf '%s too many processes\n' "$mark" && exit 0
fi
printf '%s code %d %s\n' "$mark" "$code" "$root"
IFS= read -r -N 300 -d '' errors < "$at/errors"
printf '%q\nnames\n' "$errors"
began=$((began - {TICK_US})) since=
[ "$whole" ] || since="-newerct @$((began / 1000000)).$(printf '%06d' $((began % 1000000)))"
find $roots -xdev -mindepth 1 ! -path "$root/etc/passwd" ! -path "$root/etc/group" -printf '%y\t%m\t%s\t%T@\t%p\t%l\0' -type f -size -{WHOLE_BYTES >> 10}k $since -exec md5sum -z {{}} + 2> /dev/null
printf '\nend %s\n' "$mark"
"""
SAME, DIFFERENT, NOT_COMPARABLE, FAILED = "same", "different", "not comparable", "failed"


@dataclass(frozen=True, slots=True)
class Effect:
    """What a command did: its output, whether it succeeded, what it left changed; or why that cannot be said."""

    output: bytes = b""
    succeeded: bool = True
    changes: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)
    errors: str = ""
    reason: str = ""

    @property
    def is_visible(self) -> bool:
        """Whether there is anything to compare."""
        return bool(self.output.strip() or self.changes)


@dataclass(frozen=True, slots=True)
class Report:
    """What the driver says of a run: exit code, the beginning of its errors, where the tree stands, and what is in it."""

    code: int
    errors: str
    root: str
    listing: bytes


@dataclass(frozen=True, slots=True)
class Judgement:
    """A candidate beside a gold command."""

    verdict: Literal["same", "different", "not comparable", "failed"]
    reason: str = ""


@dataclass(slots=True)
class Scene:
    """A file tree in which commands are run, and what each did there. `bare` is the tree untouched."""

    tar: bytes
    folders: tuple[str, ...] = FOLDERS
    bare: dict[str, tuple[str, ...]] = field(default_factory=dict)
    effects: dict[str, Effect] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)  # of gold commands: why nothing can be compared with them here


Run = tuple[Scene, str]  # a command in a scene


class CommandRunner:
    """Runs commands, each in a fresh copy of the tree, and remembers what they did.

    Where none of an example's gold commands can be compared with in the plain tree, it is furnished with what they name.
    """

    def __init__(self, unsafe_local: bool = False) -> None:
        self.unsafe_local = unsafe_local
        self._now = time.time()
        self.plain = Scene(pack(self._now))
        self._furnished: dict[tuple[Entry, ...], Scene] = {}
        self._scenes: dict[tuple[str, ...], Scene] = {}

    def judge_all(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[Judgement]:
        """For each (gold commands, candidate): the same effect as one of the golds, or not, or why there is no saying."""
        self.see_golds([golds for golds, _ in pairs])
        self._see([(self._scenes[tuple(golds)], candidate) for golds, candidate in pairs if not self.why_not_comparable(golds)])
        return [self._judge(golds, candidate) for golds, candidate in pairs]

    def see_golds(self, examples: Sequence[Sequence[str]]) -> None:
        """Run the gold commands of each example, and find out whether and where they can be compared with."""
        todo = [golds for golds in dict.fromkeys(tuple(g) for g in examples) if golds not in self._scenes]
        self._scenes |= dict.fromkeys(todo, self.plain)
        self._try_golds([(self.plain, gold) for golds in todo for gold in golds])
        for golds in todo:
            if self.why_not_comparable(golds) and (furniture := furnish(golds)):
                if furniture not in self._furnished:
                    self._furnished[furniture] = Scene(pack(self._now, furniture), (*FOLDERS, *top_folders(furniture)))
                self._scenes[golds] = self._furnished[furniture]
        self._try_golds([(self._scenes[golds], gold) for golds in todo if self._scenes[golds] is not self.plain for gold in golds])

    def why_not_comparable(self, golds: Sequence[str]) -> str:
        """Empty where one gold of an example can be compared with; else why its first cannot. They must have been seen."""
        reasons = [self._scenes[tuple(golds)].reasons[gold] for gold in golds]
        return "" if "" in reasons else reasons[0] if reasons else "no gold command"

    def scene_of(self, golds: Sequence[str]) -> Scene:
        """Where an example's commands are run."""
        return self._scenes[tuple(golds)]

    def _try_golds(self, runs: Sequence[Run]) -> None:
        """Twice, at least a second apart and as another user: what shows something else on each run cannot be compared with."""
        runs = [(scene, gold) for scene, gold in runs if gold not in scene.reasons]
        for scene, gold in runs:
            if reason := _why_never(gold):
                scene.reasons[gold] = reason
        runs = [(scene, gold) for scene, gold in runs if gold not in scene.reasons]
        began = time.time()
        self._see(runs)
        for scene, gold in runs:
            if reason := _why_blind(scene.effects[gold]):
                scene.reasons[gold] = reason
        runs = [(scene, gold) for scene, gold in runs if gold not in scene.reasons]
        if runs:
            time.sleep(1.1)
        with other_users():
            second = self.run(runs)
        for (scene, gold), again in zip(runs, second, strict=True):
            is_steady = is_same(gold, scene.effects[gold], again) and not _shows_now(again.output, began)
            scene.reasons[gold] = "" if is_steady else "shows something else on each run"

    def _see(self, runs: Sequence[Run]) -> None:
        todo = [(scene, command) for scene, command in {(id(s), c): (s, c) for s, c in runs}.values() if command not in scene.effects]
        for (scene, command), effect in zip(todo, self.run(todo), strict=True):
            scene.effects[command] = effect

    def _judge(self, golds: Sequence[str], candidate: str) -> Judgement:
        if reason := self.why_not_comparable(golds):
            return Judgement(NOT_COMPARABLE, reason)
        scene = self._scenes[tuple(golds)]
        found = scene.effects[candidate]
        if found.reason:
            return Judgement(FAILED, found.reason)
        usable = [gold for gold in golds if not scene.reasons[gold]]
        if any(is_same(gold, scene.effects[gold], found) for gold in usable):
            return Judgement(SAME)
        return Judgement(DIFFERENT, say_difference(usable[0], scene.effects[usable[0]], found))

    def run(self, runs: Sequence[Run]) -> list[Effect]:
        """What each command does in a fresh copy of its scene, as many at once as there are cores; nothing is remembered."""
        new = list({id(scene): scene for scene, _ in runs if not scene.bare}.values())
        for scene, (outcome, report) in zip(new, self._outcomes([(scene, "true") for scene in new], whole=True), strict=True):
            scene.bare = _read_tree(report) if report else {}
            if not scene.bare:
                raise LimbeckError(f"the file tree cannot be made: {outcome.reason or 'no report'}", "the sandbox", "see that bash, tar, find and md5sum are installed")
        refused = [self._why_refused(command) for _, command in runs]
        began = time.time()
        outcomes = iter(self._outcomes([run for run, reason in zip(runs, refused, strict=True) if not reason]))
        return [Effect(reason=reason) if reason else self._read(*next(outcomes), began, scene.bare) for (scene, _), reason in zip(runs, refused, strict=True)]

    def _why_refused(self, command: str) -> str:
        """Why a command is not run at all."""
        if reason := why_unfit(command):
            return reason
        if self.unsafe_local:
            danger = next((d.text for d in find_dangers(command) if d.level == "danger"), "")
            return f"not run without a sandbox: {danger}" if danger else ""
        return ""

    def _outcomes(self, runs: Sequence[Run], whole: bool = False) -> list[tuple[Outcome, Report | None]]:
        """`whole`: report the content of every file, not only of those that a command changed."""
        more = "1" if whole else ""
        outside = ["/bin/bash", "-c", f'mkdir tree && exec /bin/bash driver "$PWD" "$PWD/tree" "$PWD/tree" "{more}"']
        marks = [secrets.token_hex(8) for _ in runs]  # so that a command cannot write its own report
        programs = []
        for (scene, command), mark in zip(runs, marks, strict=True):
            inside = ["/bin/bash", "driver", "/sandbox", "", " ".join(("/tmp", *scene.folders)), more]
            files = {"driver": DRIVER.encode(), "tree.tar": scene.tar, "command": command.encode("utf-8", "replace") + b"\n"}
            programs.append(Program(argv=outside if self.unsafe_local else inside, files=files, input=f"{mark}\n".encode(), folders=scene.folders))
        outcomes = run_all(programs, LIMITS, unsafe_local=self.unsafe_local)
        return [(outcome, _read_report(outcome.errors, mark)) for outcome, mark in zip(outcomes, marks, strict=True)]

    @staticmethod
    def _read(outcome: Outcome, report: Report | None, began: float, bare: Mapping[str, tuple[str, ...]]) -> Effect:
        """A run as an effect."""
        if b" too many processes\n" in outcome.errors[:40]:
            return Effect(reason="started too many processes")
        if outcome.status != "ended":
            return Effect(reason=outcome.reason)
        if report is None or outcome.code != 0:
            return Effect(reason="killed what ran it" if outcome.code in (137, -9) else f"its run broke off: {outcome.reason or 'no report'}"[:200])
        if "Resource temporarily unavailable" in report.errors:
            return Effect(reason="started too many processes")
        changes: dict[str, tuple[str, ...] | None] = {}
        after = _read_tree(report, bare)
        changes |= dict.fromkeys(bare.keys() - after.keys())
        for path, (*what, touched) in after.items():
            before = bare.get(path)
            when = "as before" if before and touched == before[-1] else "now" if float(touched) >= began - CHANGED else str(int(float(touched)))
            if what[0] != "f":  # the time of a folder follows from what was done in it
                when = ""
            if not before or list(before[:-1]) != what or when not in ("as before", ""):
                changes[path] = (*what, when)
        return Effect(outcome.output, report.code == 0, changes, report.errors)


def _why_never(command: str) -> str:
    """Why a gold command is not even tried: it needs what a sandbox has not."""
    if reason := why_unfit(command):
        return reason
    wanted = next((c.name for c in list_commands(parse(command).pieces) if c.name in NETWORK), "")
    return f"needs a network ({wanted})" if wanted else ""


def _why_blind(found: Effect) -> str:
    """Why nothing can be compared with what a gold command did; empty where something can."""
    if found.reason:
        return found.reason
    if "command not found" in found.errors or ("No such file or directory" in found.errors and not found.succeeded and not found.is_visible):
        missing = found.errors.split("command not found")[0].rstrip(": ").split(":")[-1].strip() if "command not found" in found.errors else ""
        return "needs a program that is not installed" if missing else "fails: a file it names is not in the tree"
    if not found.is_visible:
        return "does nothing that can be seen" if found.succeeded else "fails: " + _kind_of(found.errors)
    return ""


def _shows_now(output: bytes, began: float) -> bool:
    """Whether an output has the minute of its run in it, as `ls -l` and ISO dates have it: in the next minute it is another."""
    minutes = [time.gmtime(began + 60 * n) for n in range(int((time.time() - began) // 60) + 2)]
    stamps = {time.strftime(form, minute).encode() for minute in minutes for form in ("%b %e %H:%M", "%Y-%m-%d %H:%M")}
    return any(stamp in output for stamp in stamps)


def _kind_of(errors: str) -> str:
    """What sort of failure a message is of, so that reasons can be counted."""
    for words in ("Permission denied", "Operation not permitted", "No such file", "missing", "invalid", "syntax error", "Read-only"):
        if words.lower() in errors.lower():
            return words
    return "another error" if errors.strip() else "no message"


def is_same(gold: str, wanted: Effect, found: Effect) -> bool:
    """Whether two effects are the same; order of lines as the gold command has it, or free where it leaves it to chance."""
    return not found.reason and wanted.succeeded == found.succeeded and wanted.changes == found.changes and _lines(wanted.output, gold) == _lines(found.output, gold)


def say_difference(gold: str, wanted: Effect, found: Effect) -> str:
    """In what two effects differ, in a few words."""
    if _lines(wanted.output, gold) != _lines(found.output, gold):
        return "other output" if found.output else f"no output{f': {found.errors.strip()[:100]}' if found.errors.strip() else ''}"
    if wanted.changes != found.changes:
        first = min(path for path in {*wanted.changes, *found.changes} if wanted.changes.get(path, "") != found.changes.get(path, ""))
        return f"another tree: {first}"
    return "another exit code"


def is_order_free(gold: str) -> bool:
    """Whether the order of a command's lines is chance: it walks folders and no part of it sorts or numbers."""
    commands = list(list_commands(parse(gold).pieces))
    names = {c.name for c in commands}
    walks = bool(names & WALKERS) or any(c.name in ("grep", "egrep", "fgrep") and c.has("rR", "--recursive") for c in commands)
    return walks and not any(c.name in ORDERERS and c.runner not in ("find", "xargs") for c in commands)


def _lines(output: bytes, gold: str) -> list[bytes]:
    lines = output.rstrip(b"\n").split(b"\0" if b"\0" in output else b"\n")
    return sorted(lines) if is_order_free(gold) else lines


def _read_report(report: bytes, mark: str) -> Report | None:
    """A run's report; None where it is not whole, or not the driver's own."""
    end = f"\nend {mark}\n".encode()
    if not report.startswith(f"{mark} code ".encode()) or not report.endswith(end):
        return None
    head, _, listing = report.removesuffix(end).partition(b"\nnames\n")
    first, _, errors = head.decode("utf-8", "replace").partition("\n")
    _, _, code, *root = first.split(" ", 3)
    return Report(int(code), errors.removeprefix("$").strip("'"), root[0] if root else "", listing)


def _read_tree(report: Report, bare: Mapping[str, tuple[str, ...]] | None = None) -> dict[str, tuple[str, ...]]:
    """Path to (kind, mode, content, link, time) of everything in the tree; a file whose content is not said has that of `bare`."""
    out: dict[str, tuple[str, ...]] = {}
    hashes = {}
    for line in report.listing.split(b"\0"):
        text = line.decode("utf-8", "replace")
        if text[1:2] == "\t":
            kind, mode, size, touched, path, link = text.split("\t", 5)
            link = link.removeprefix(report.root) if report.root else link
            out[path.removeprefix(report.root)] = (kind, mode, size if kind == "f" else "", link, touched)
        elif "  " in text:
            content, _, path = text.partition("  ")
            hashes[path.removeprefix(report.root)] = content
    for path, (kind, mode, size, link, touched) in out.items():
        before = bare.get(path) if bare else None
        content = hashes.get(path) or (before[2] if before and kind == "f" and before[0] == "f" else size)
        out[path] = (kind, mode, content, link, touched)
    return out
