"""Untrusted programs, run where they can do no harm: bubblewrap, no network, a read-only system, and limits.

Inside: a system directory tree that can only be read, an empty /sandbox and /tmp in memory, no network, its own processes.
Limits: wall time, processor time, memory of one process and of all together, processes, size of a file and of all files,
their number, size of the output. As root the program runs under a user id of its own: limits on processes do not hold for root.
"""

from __future__ import annotations

import os
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

from limbeck.errors import LimbeckError

HOME = "/sandbox"
FIRST_USER = 61_000  # as root: from here on a user id for each concurrent run, where no login lives
CHECK_AFTER_S = 0.3  # memory and the number of files are looked at so often
SHARED_BYTES = 16 << 20  # of /dev/shm, and of each folder that a program asks for
SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin")
READABLE = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/etc/mime.types")
FIX = "install bubblewrap (apt install bubblewrap), or accept the risk on a machine you can lose: --unsafe-local"
Status = Literal["ended", "timeout", "memory", "output", "files"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a program may use."""

    seconds: float = 10.0
    memory_bytes: int = 1 << 30  # of one process; twice as much of all together
    processes: int = 48
    file_bytes: int = 32 << 20
    disk_bytes: int = 64 << 20
    files: int = 20_000  # that may be there at a time: empty ones take memory too
    output_bytes: int = 1 << 20
    quiet_s: float = 0.0  # that may pass without output; 0: as long as it runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a program ended. `output` and `errors` are cut at the limit."""

    status: Status
    code: int | None
    output: bytes
    errors: bytes
    seconds: float

    @property
    def reason(self) -> str:
        """Why it did not end well, in a few words; empty where it did."""
        if self.status == "timeout":
            return f"did not end in {self.seconds:.1f} s"
        if self.status != "ended":
            return {"memory": "used too much memory", "output": "wrote too much output", "files": "made too many files"}[self.status]
        if self.code:
            last = self.errors.decode("utf-8", "replace").strip().splitlines()[-1:]
            return (last[0][:200] if last else f"ended with code {self.code}") or f"ended with code {self.code}"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run: arguments, files by their name under /sandbox, what it reads, folders of the machine it may read, and
    further folders ("/home") that are empty and its own. Where it is not `is_writable` it can write to no folder at all."""

    argv: Sequence[str]
    files: Mapping[str, bytes] = field(default_factory=dict)
    input: bytes = b""
    readable: Sequence[str] = ()
    folders: Sequence[str] = ()
    is_writable: bool = True


def python_program(code: str, argv: Sequence[str] = ()) -> Program:
    """Python source as a program, with the libraries of the interpreter that runs us."""
    return Program(argv=[sys.executable, "-I", "main.py", *argv], files={"main.py": code.encode("utf-8", "replace")}, readable=_interpreter())


@cache
def _interpreter() -> tuple[str, ...]:
    """The folders an interpreter needs, without those that lie in the system's."""
    wanted = {sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent.parent)}
    return tuple(sorted(p for p in wanted if not p.startswith(SYSTEM)))


def require_sandbox(unsafe_local: bool = False) -> None:
    """Raises LimbeckError, before anything is asked, where programs cannot be run safely and nobody said they may be run so."""
    if unsafe_local:
        return
    if not shutil.which("bwrap"):
        raise LimbeckError("programs cannot be run safely: bubblewrap is not installed", "bwrap", FIX)
    trial = run_program(Program(argv=["true"]))
    if trial.code != 0:
        raise LimbeckError(f"bubblewrap does not work here: {trial.reason}", "bwrap", f"allow user namespaces, or run outside a container that forbids them; else {FIX}")


def run_all(programs: Sequence[Program], limits: Limits | None = None, *, unsafe_local: bool = False, workers: int = 0, done: Callable[[int, Outcome], None] | None = None) -> list[Outcome]:
    """Each program's outcome, in order; as many at once as there are cores."""
    limits = limits or Limits()

    def run(at: int) -> Outcome:
        outcome = run_program(programs[at], limits, unsafe_local=unsafe_local)
        if done:
            done(at, outcome)
        return outcome

    with ThreadPoolExecutor(workers or count_workers()) as pool:
        return list(pool.map(run, range(len(programs))))


def run_program(program: Program, limits: Limits | None = None, *, unsafe_local: bool = False) -> Outcome:
    """Run one program to its end or its limit. Nothing of it is left behind, whatever it did."""
    limits = limits or Limits()
    with ExitStack() as stack:
        slot = stack.enter_context(_Slot())
        if unsafe_local:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="limbeck-", ignore_cleanup_errors=True)))
            for name, content in program.files.items():
                (home / name).parent.mkdir(parents=True, exist_ok=True)
                (home / name).write_bytes(content)
            process = _start([*program.argv], stack, cwd=home, preexec_fn=lambda: _limit_here(limits))
        else:
            descriptors = {name: _memory_file(content, stack) for name, content in program.files.items()}
            process = _start(_bubble(program, limits, descriptors, slot.number), stack, pass_fds=tuple(descriptors.values()))
        return _watch(process, program.input, limits)


def _bubble(program: Program, limits: Limits, descriptors: Mapping[str, int], slot: int) -> list[str]:
    """The whole command line: bwrap, then limits, then the program."""
    root = os.geteuid() == 0
    out = ["bwrap", "--die-with-parent", "--new-session", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    out += [] if root else ["--unshare-user"]
    out += ["--clearenv", "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin", "--setenv", "HOME", HOME, "--setenv", "LANG", "C.UTF-8", "--setenv", "PYTHONHASHSEED", "0"]
    out += ["--setenv", "OMP_NUM_THREADS", "1", "--setenv", "OPENBLAS_NUM_THREADS", "1", "--setenv", "PYTHONDONTWRITEBYTECODE", "1"]
    for folder in SYSTEM:
        if os.path.islink(folder):
            out += ["--symlink", os.readlink(folder), folder]
        elif os.path.isdir(folder):
            out += ["--ro-bind", folder, folder]
    out += ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--size", str(SHARED_BYTES), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]
    for folder, size in (("/tmp", limits.disk_bytes), (HOME, limits.disk_bytes), *((f, SHARED_BYTES) for f in program.folders)):
        out += ["--perms", "0777", "--size", str(size), "--tmpfs", folder]
    # After the folders in memory: an interpreter may itself lie below /tmp.
    for folder in sorted({str(above) for place in program.readable for above in Path(place).parents} - {"/", "/tmp"}):
        out += ["--perms", "0755", "--dir", folder]
    for place in (*READABLE, *program.readable):
        out += ["--ro-bind-try", place, place]
    for name, descriptor in descriptors.items():
        out += ["--perms", "0644", "--file", str(descriptor), f"{HOME}/{name}"]
    for folder in () if program.is_writable else ("/tmp", HOME, "/dev/shm", *program.folders):
        out += ["--remount-ro", folder]
    out += ["--remount-ro", "/", "--chdir", HOME]
    drop = ["setpriv", f"--reuid={_user(slot)}", f"--regid={_user(slot)}", "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"] if root else []
    seconds = int(limits.seconds) + 1
    caps = [f"--as={limits.memory_bytes}", f"--fsize={limits.file_bytes}", f"--nproc={limits.processes}", f"--cpu={seconds}:{seconds + 1}", "--core=0", "--nofile=256"]
    return [*out, "--", *drop, "prlimit", *caps, "--", *program.argv]


def _user(slot: int) -> int:
    """A user id for a run; another process of ours has others, since limits on processes count by user."""
    return FIRST_USER + os.getpid() % 40 * 64 + slot % 64


def _start(argv: list[str], stack: ExitStack, **options: object) -> subprocess.Popen[bytes]:
    try:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **options)  # type: ignore[call-overload]
    except FileNotFoundError as problem:
        raise LimbeckError(f"{argv[0]} is not installed", "the sandbox", FIX) from problem
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    """The whole group goes; in a sandbox every process inside dies with its first."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with suppress(OSError):
                pipe.close()


def _watch(process: subprocess.Popen[bytes], given: bytes, limits: Limits) -> Outcome:
    """Feeds and reads a process until it ends or passes a limit."""
    began = heard = time.monotonic()
    look_at = began + CHECK_AFTER_S
    read: dict[int, bytearray] = {}
    assert process.stdin and process.stdout and process.stderr
    out, err = process.stdout.fileno(), process.stderr.fileno()
    status: Status = "ended"
    with selectors.DefaultSelector() as selector:
        for pipe in (out, err):
            selector.register(pipe, selectors.EVENT_READ)
            read[pipe] = bytearray()
        left = memoryview(given)
        if given:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin.fileno(), selectors.EVENT_WRITE)
        else:
            process.stdin.close()
        while any(key.events == selectors.EVENT_READ for key in selector.get_map().values()):
            now = time.monotonic()
            passed = now - began
            if passed >= limits.seconds or (limits.quiet_s and now - heard > limits.quiet_s):
                status = "timeout"
                break
            if now > look_at:
                look_at = now + CHECK_AFTER_S
                if (status := _excess(process.pid, limits)) != "ended":
                    break
            for key, _ in selector.select(min(limits.seconds - passed, CHECK_AFTER_S)):
                if key.events == selectors.EVENT_WRITE:
                    left = _feed(process, key.fd, left, selector)
                    continue
                chunk = os.read(key.fd, 1 << 16)
                if chunk:
                    read[key.fd] += chunk
                    heard = time.monotonic()
                else:
                    selector.unregister(key.fd)
            if len(read[out]) + len(read[err]) > limits.output_bytes:
                status = "output"
                break
    code = None
    if status == "ended":
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(max(0.05, limits.seconds - (time.monotonic() - began)))
        status = "timeout" if code is None else status  # it closed its outputs and went on
    return Outcome(status=status, code=code, output=bytes(read[out][: limits.output_bytes]), errors=bytes(read[err][: limits.output_bytes]), seconds=time.monotonic() - began)


def _feed(process: subprocess.Popen[bytes], descriptor: int, left: memoryview, selector: selectors.BaseSelector) -> memoryview:
    """Some more of the input; closed after the last or when nobody reads."""
    try:
        left = left[os.write(descriptor, left[: 1 << 16]) :]
    except BrokenPipeError:
        left = left[:0]
    if not left:
        selector.unregister(descriptor)
        assert process.stdin
        with suppress(BrokenPipeError):
            process.stdin.close()
    return left


def _excess(pid: int, limits: Limits) -> Status:
    """What a running program has taken too much of, if anything."""
    if _memory_of(pid) > 2 * limits.memory_bytes:
        return "memory"
    return "files" if _files_of(pid) > limits.files else "ended"


def _files_of(pid: int) -> int:
    """Files in the writable folders of a sandbox; 0 where they cannot be seen (a program run bare has the machine's own)."""
    total = 0
    with suppress(OSError, ValueError, IndexError):
        inside = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
        if os.readlink(f"/proc/{inside}/ns/mnt") == os.readlink("/proc/self/ns/mnt"):
            return 0
        for line in Path(f"/proc/{inside}/mountinfo").read_text().splitlines():
            about = line.split()
            if " - tmpfs " in line and "rw" in about[5].split(","):
                there = os.statvfs(f"/proc/{inside}/root{about[4]}")
                total += there.f_files - there.f_ffree
    return total


def _memory_of(pid: int) -> int:
    """Bytes in memory of a process and all below it."""
    total, stack = 0, [pid]
    while stack:
        at = stack.pop()
        with suppress(OSError, ValueError):
            total += int(Path(f"/proc/{at}/statm").read_text().split()[1]) * resource.getpagesize()
            stack += [int(p) for p in Path(f"/proc/{at}/task/{at}/children").read_text().split()]
    return total


def _limit_here(limits: Limits) -> None:
    for kind, most in ((resource.RLIMIT_AS, limits.memory_bytes), (resource.RLIMIT_FSIZE, limits.file_bytes), (resource.RLIMIT_CPU, int(limits.seconds) + 1), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(kind, (most, most))


def _memory_file(content: bytes, stack: ExitStack) -> int:
    """A descriptor to read `content` from."""
    descriptor = os.memfd_create("limbeck")
    stack.callback(os.close, descriptor)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


@contextmanager
def other_users() -> Iterator[None]:
    """Programs run inside have other user ids than those run before: what hangs on the number shows."""
    with ExitStack() as stack:
        for _ in range(count_workers()):
            stack.enter_context(_Slot())
        yield


def count_workers() -> int:
    """Programs that are run at once where nobody says how many: the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Slot:
    """A number that no other run of this process holds now."""

    _taken: ClassVar[set[int]] = set()
    _lock = threading.Lock()

    def __enter__(self) -> _Slot:
        with self._lock:
            self.number = next(n for n in range(10_000) if n not in self._taken)
            self._taken.add(self.number)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._taken.discard(self.number)
