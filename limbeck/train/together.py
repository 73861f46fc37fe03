"""Several students trained side by side, each in a process of its own.

On a CPU small students hardly gain from a second thread (CODEFUSION at 1.2M parameters read 10,400 tokens a second with
one thread and with two), so two at a time on two cores take half as long as one after another.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.recipe.schema import StudentSection, TrainSection
from limbeck.run import Step
from limbeck.task import Codec


@dataclass(frozen=True, slots=True)
class Job:
    """One student to train, in a form that another process can receive."""

    name: str
    dataset: Path
    student: StudentSection
    section: TrainSection
    step: Step
    targets: Path | None = None
    teacher: str = ""


Report = Callable[[str, dict[str, Any]], None]


def train_together(jobs: Sequence[Job], codec: Codec | None, workers: int, threads: int, report: Report) -> None:
    """Train all of them, `workers` at a time with `threads` each. The first failure stops the others and is raised."""
    context = get_context("spawn")
    waiting, running = list(jobs), {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop(0)
                here, there = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(job, codec, threads, there), name=job.name, daemon=True)
                process.start()
                there.close()
                running[here] = process
            for ready in connection.wait(list(running)):
                _listen(ready, running, report)
    finally:
        for process in running.values():
            process.terminate()
            process.join()


def _listen(pipe: Any, running: dict[Any, Any], report: Report) -> None:
    try:
        kind, name, content = pipe.recv()
    except EOFError:
        process = running.pop(pipe)
        process.join()
        if process.exitcode:
            raise LimbeckError(f"training ended with exit code {process.exitcode}", process.name, "the machine may be short of memory: lower train.batch, and run again, it resumes") from None
        return
    if kind == "error":
        raise content
    report(name, content)


def _work(job: Job, codec: Codec | None, threads: int, pipe: Any) -> None:
    """In the new process: train, finish the step, tell what happens through the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and ends this process
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    import torch

    from limbeck.train.fit import train

    torch.set_num_threads(threads)
    try:
        own = codec if job.student.kind != "decoder" else None
        train(job.dataset, job.student, job.section, own, job.step, lambda record: pipe.send(("progress", job.name, record)), job.targets, job.teacher)
        job.step.finish()
    except LimbeckError as problem:
        pipe.send(("error", job.name, problem))


def _leave_with_parent() -> None:
    """A killed run must not go on in its children."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
