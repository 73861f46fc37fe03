"""What one answer takes: seconds of waiting and memory, measured in a process of its own, one request after another."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from limbeck.records import Prompt

WARM_UP = 3


def measure_footprint(load: Callable[[], Any], prompts: Sequence[Prompt], k: int, threads: int = 1) -> dict[str, Any]:
    """Median and 90th percentile of milliseconds from request to k answers, and the process's greatest memory in MB.

    `load` makes the answerer inside the new process; the first WARM_UP requests are not counted. `memory_mb` is the whole
    process with its libraries, `model_mb` what grew from loading the model to the last answer (Linux; None elsewhere).
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measure, load, list(prompts), k, threads).result()


def _measure(load: Callable[[], Any], prompts: list[Prompt], k: int, threads: int) -> dict[str, Any]:
    import torch

    torch.set_num_threads(threads)
    before = _resident_mb("VmRSS")
    answerer = load()
    waits: list[float] = []
    for number, prompt in enumerate([*prompts[:WARM_UP], *prompts]):
        began = time.perf_counter()
        answerer.answer([prompt], k=k)
        if number >= min(WARM_UP, len(prompts)):
            waits.append(1000 * (time.perf_counter() - began))
    peak = _resident_mb("VmHWM")
    tenths = statistics.quantiles(waits, n=10) if len(waits) > 1 else [waits[0]] * 9
    return {
        "n": len(waits), "k": k, "threads": threads, "latency_ms": statistics.median(waits), "latency_ms_p90": tenths[8],
        "memory_mb": peak, "model_mb": peak - before if peak is not None and before is not None else None,
    }  # fmt: skip


def _resident_mb(field: str) -> float | None:
    status = Path(f"/proc/{os.getpid()}/status")
    if not status.exists():
        return None
    return next((float(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith(field)), None)
