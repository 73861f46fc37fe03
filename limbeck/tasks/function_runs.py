"""Many untrusted functions called in one sandbox: what each returned, or why it did not.

One process forks a child for each program, one at a time, and kills it when it is done or has had its share. What keeps them honest:

- What a right program returns is never in the sandbox: a child has its own program and inputs, results are compared outside. Nothing that
  can be read, printed or overwritten there makes a wrong program right, its own or another. The parent holds the bytes of one job at a time.
- A child can start no process or thread, write no file, and reach neither the descriptors nor the memory of its parent.
- It can stop or kill its parent, whose user it is: then the first program without a result is tried alone, the rest together.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.tasks.sandbox import Limits, Outcome, Program, count_workers, python_program, run_all

TOGETHER = 256  # programs in one sandbox
CPU_S = 0.25  # processor time of one program with all its inputs: what ends at all takes a thousandth
IDLE_S = 1.0  # asleep; a program that waits for a processor is not
WALL_S = 60.0  # on a machine that hardly lets it run
MEMORY_BYTES = 256 << 20
SLACK_S = 30.0  # beyond that without a result: the process that forks is given up
RESULT_BYTES = 32 << 10  # of one program
DRIVER = """
import ctypes, gc, json, os, resource, select, signal, struct, sys, time

def read(view):
    while view:
        count = os.readv(0, [view])
        if not count:
            os._exit(0)
        view = view[count:]

def limits():
    return [resource.getrlimit(kind) for kind in range(16)] + [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)]

def show(value):
    kind = type(value)
    if kind is list:
        return "[" + ", ".join(map(show, value)) + "]"
    if value is None or kind in (bool, int, str):
        return json.dumps(value)
    raise TypeError("returned a " + kind.__name__)

def run(view, out):
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.dup2(out, 3)
    os.closerange(4, 256)
    for kind, most in ((resource.RLIMIT_NPROC, 0), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, 1 + int(cpu_s)), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(kind, (most, most))
    job = json.loads(bytes(view))
    said = []
    try:
        space = {"__name__": "program"}
        exec(compile(job["program"], "program.py", "exec"), space)
        for given in job["inputs"]:
            said.append(show(space[job["name"]](given)))
        said.append("")
    except BaseException as problem:
        said.append("!" + type(problem).__name__ + ": " + str(problem)[:150].replace("\\n", " "))
    left = memoryview("\\n".join(said).encode("utf-8", "replace"))
    while left:
        left = left[os.write(3, left):]
    os._exit(0)

def is_awake(pid):
    with open("/proc/%d/stat" % pid, "rb") as file:
        return file.read().rpartition(b")")[2][1:2] in b"RD"  # it runs, or would if it were let

def listen(pid, inlet):
    found, began, wait = bytearray(), time.monotonic(), 0.01
    awake = began
    clock = (~pid << 3) | 2  # the processor time of a process, as clock_getcpuclockid(3) has it
    while len(found) <= most:
        if select.select([inlet], [], [], wait)[0]:
            chunk = os.read(inlet, 65536)
            if not chunk:
                return bytes(found)
            found += chunk
            continue
        now = time.monotonic()
        awake = now if is_awake(pid) else awake
        if time.clock_gettime(clock) > cpu_s or now - awake > idle_s or now - began > wall_s:
            return b"!did not end in time"
        wait = min(0.05, wait * 2)
    return b"!returned too much"

cpu_s, idle_s, wall_s, memory, most = *map(float, sys.argv[1:4]), *map(int, sys.argv[4:6])
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: no other process may look into this one
before, header, job = limits(), bytearray(4), bytearray(1 << 16)
exec(compile("x = 0", "", "exec"), {})  # the first time makes the types of syntax trees: 3 ms
json.dumps(json.loads('["", 0]'))
gc.collect()
gc.freeze()
while True:
    read(memoryview(header))
    size = struct.unpack("<I", header)[0]
    if size > len(job):
        job = bytearray(size)
    view = memoryview(job)[:size]
    read(view)
    inlet, outlet = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            run(view, outlet)
        finally:
            os._exit(1)
    os.close(outlet)
    found = listen(pid, inlet)
    os.close(inlet)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    view[:] = bytes(size)
    if limits() != before:
        os._exit(3)
    left = memoryview(struct.pack("<I", len(found)) + found)
    while left:
        left = left[os.write(1, left):]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A program, the function in it that is called, and what with: one JSON value a call."""

    program: str
    name: str
    inputs: Sequence[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the calls returned, one text each as `shown` writes them; fewer than there were inputs, and the reason, where one failed."""

    results: tuple[str, ...]
    reason: str = ""


def shown(value: Any) -> str:
    """A result as it is compared: lists, strings, whole numbers, truths and None, each its own kind (1 is not True, a tuple is no list)."""
    return json.dumps(value)


FIRST = Job(program="def f(x): return x", name="f", inputs=(0,))  # of every sandbox: without its result nothing there can be run


def run_functions(jobs: Sequence[Job], *, unsafe_local: bool = False, workers: int = 0) -> list[Run]:
    """Each job's run, in order; many in one sandbox, as many sandboxes at once as there are cores. Raises LimbeckError where nothing can be run."""
    found: dict[int, Run] = {}
    size = min(TOGETHER, max(1, -(-len(jobs) // (workers or count_workers()))))
    chunks = [list(range(start, min(start + size, len(jobs)))) for start in range(0, len(jobs), size)]
    while chunks:
        outcomes = run_all([_program([FIRST, *(jobs[at] for at in chunk)]) for chunk in chunks], _limits(max(map(len, chunks))), unsafe_local=unsafe_local, workers=workers)
        again: list[list[int]] = []
        for chunk, outcome in zip(chunks, outcomes, strict=True):
            first, *frames = _frames(outcome.output)[: len(chunk) + 1] or [b""]
            if _run(first).results != ("0",):
                raise LimbeckError(f"no program can be run in the sandbox: {outcome.reason or _run(first).reason}", "bwrap", "see that bubblewrap works and memory is free; then run again, it resumes")
            found |= {at: _run(frame) for at, frame in zip(chunk, frames, strict=False)}
            if left := chunk[len(frames) :]:
                if len(chunk) == 1:
                    found[left[0]] = Run(results=(), reason=_how_it_ended(outcome))
                else:  # who was at work may have been the victim of one before it
                    again += [[left[0]], left[1:]] if left[1:] else [[left[0]]]
        chunks = again
    return [found[at] for at in range(len(jobs))]


def _limits(jobs: int) -> Limits:
    return Limits(seconds=(jobs + 2) * WALL_S, quiet_s=WALL_S + SLACK_S, memory_bytes=2 * MEMORY_BYTES, processes=8, output_bytes=(jobs + 2) * (RESULT_BYTES + 1024) + (1 << 17))


def _program(jobs: Sequence[Job]) -> Program:
    bodies = [json.dumps({"program": job.program, "name": job.name, "inputs": list(job.inputs)}).encode() for job in jobs]
    base = python_program(DRIVER)
    argv = [base.argv[0], "-I", "-S", *base.argv[2:], str(CPU_S), str(IDLE_S), str(WALL_S), str(MEMORY_BYTES), str(RESULT_BYTES)]
    return Program(argv=argv, files=base.files, input=b"".join(struct.pack("<I", len(body)) + body for body in bodies), readable=base.readable, is_writable=False)


def _frames(output: bytes) -> list[bytes]:
    """The whole results in what the sandbox wrote."""
    frames, at = [], 0
    while at + 4 <= len(output) and at + 4 + (size := struct.unpack_from("<I", output, at)[0]) <= len(output):
        frames.append(output[at + 4 : at + 4 + size])
        at += 4 + size
    return frames


def _run(frame: bytes) -> Run:
    *results, last = frame.decode("utf-8", "replace").split("\n")
    if last.startswith("!"):
        return Run(results=tuple(results), reason=last[1:200])
    return Run(results=tuple(results), reason="" if results and not last else "ended before its calls did")


def _how_it_ended(outcome: Outcome) -> str:
    return f"harmed the process that ran it: {outcome.reason}" if outcome.reason else "harmed the process that ran it"
