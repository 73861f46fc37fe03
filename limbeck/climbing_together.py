"""Parts of a staircase side by side: a few processes, each with one thread, that take the parts in turn.

One thread each whoever is beside it: a sum of two halves is not bit for bit the sum of all, so results would hang on how many cores there are.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from typing import Any

from limbeck.errors import LimbeckError

Tell = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of work in a form that another process can receive: `work(*given, tell)` is called. `after` names what must be there first."""

    name: str
    work: Callable[..., Any]
    given: tuple[Any, ...]
    after: str = ""


def work_together(parts: Sequence[Part], processes: int, tell: Tell) -> dict[str, Any]:
    """What each part returned, by name. The first failure stops the others and is raised."""
    return _in_turn(parts, tell) if processes <= 1 else _side_by_side(parts, processes, tell)


def _in_turn(parts: Sequence[Part], tell: Tell) -> dict[str, Any]:
    import torch

    threads = torch.get_num_threads()
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    try:
        return {part.name: part.work(*part.given, tell) for part in parts}
    finally:
        torch.set_num_threads(threads)


def _side_by_side(parts: Sequence[Part], processes: int, tell: Tell) -> dict[str, Any]:
    waiting, found = list(parts), {}
    context, workers, idle = get_context("spawn"), {}, []
    try:
        for _ in range(min(processes, len(parts))):
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(there,), daemon=True)
            process.start()
            there.close()
            workers[here] = process
            idle.append(here)
        while len(found) < len(parts):
            for part in [p for p in waiting if not p.after or p.after in found][: len(idle)]:
                waiting.remove(part)
                idle.pop(0).send(part)
            for ready in connection.wait(list(workers)):
                if (ended := _listen(ready, workers, tell)) is not None:
                    found[ended[0]] = ended[1]
                    idle.append(ready)
    finally:
        for process in workers.values():
            process.terminate()
            process.join()
    return {part.name: found[part.name] for part in parts}


def _listen(pipe: Any, workers: dict[Any, Any], tell: Tell) -> tuple[str, Any] | None:
    try:
        kind, name, content = pipe.recv()
    except (EOFError, ConnectionResetError):
        workers[pipe].join()
        raise LimbeckError(f"a process of the staircase ended with exit code {workers[pipe].exitcode}", "staircase.processes", "the machine may be short of memory: set staircase.processes = 1, and run again, it resumes") from None
    if kind == "error":
        raise content
    if kind == "told":
        tell(name, content)
    return (name, content) if kind == "done" else None


def _work(pipe: Any) -> None:
    """In the new process: one part after another until nobody sends any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and ends this process
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)
    while True:
        part = pipe.recv()
        try:
            pipe.send(("done", part.name, part.work(*part.given, lambda event, facts: pipe.send(("told", event, facts)))))
        except LimbeckError as problem:
            pipe.send(("error", part.name, problem))


def _leave_with_parent() -> None:
    """A killed staircase must not go on in its children."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
