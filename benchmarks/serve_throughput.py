"""Requests a second of `limbeck serve builtin:cf`: answered in batches against one by one, both servers in one run, turn by turn.

python benchmarks/serve_throughput.py [--requests 64] [--clients 16] [--rounds 3]: each round asks the same requests (made by the task's
generator, tables of their own) of the one server, then of the other. Others on the machine slow both alike; the ratio is of the best rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from typing import Any

import aiohttp

from limbeck import resolve

BATCH = 16


def start(batch: int) -> tuple[subprocess.Popen[str], str]:
    """A server and its address."""
    process = subprocess.Popen([sys.executable, "-m", "limbeck", "serve", "builtin:cf", "--port", "0", "--batch", str(batch), "--queue", "4096", "--deadline", "600"], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for line in process.stdout:
        if line.startswith("client"):
            found = re.search(r"base_url=(\S+)", line)
            assert found
            return process, found[1]
    raise SystemExit("the server did not start")


async def ask_all(address: str, bodies: list[dict[str, Any]], clients: int) -> tuple[float, list[str]]:
    """Seconds for all, and the answers."""
    said, queue = [""] * len(bodies), iter(enumerate(bodies))

    async def work(session: aiohttp.ClientSession) -> None:
        for at, body in queue:
            async with session.post(address + "/chat/completions", json=body) as reply:
                found = await reply.json()
                said[at] = found["choices"][0]["message"]["content"] if reply.status == 200 else found["error"]["code"]

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=900)) as session:
        began = time.perf_counter()
        await asyncio.gather(*(work(session) for _ in range(clients)))
        return time.perf_counter() - began, said


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, standard in (("--requests", 64), ("--clients", 16), ("--rounds", 3)):
        parser.add_argument(name, type=int, default=standard)
    given = parser.parse_args()
    prompts = [e.prompt for e in resolve.get_task("cf").generate(7, given.requests)]
    bodies = [{"model": "builtin:cf", "messages": [{"role": "user", "content": p.text}], "limbeck": {"table": {n: p.context["table"][n] for n in ("headers", "rows")}, "today": p.context["table"]["today"]}} for p in prompts]
    servers = {f"batch {BATCH}": start(BATCH), "batch 1": start(1)}
    rates: dict[str, list[float]] = {name: [] for name in servers}
    answers: dict[str, list[str]] = {}
    try:
        for _, address in servers.values():
            asyncio.run(ask_all(address, bodies[:4], 1))
        for _ in range(given.rounds):
            for name, (_, address) in servers.items():
                seconds, answers[name] = asyncio.run(ask_all(address, bodies, given.clients))
                rates[name].append(len(bodies) / seconds)
    finally:
        for process, _ in servers.values():
            process.send_signal(signal.SIGINT)
    one, other = (answers[name] for name in servers)
    print(f"{given.requests} requests, {given.clients} clients, {os.environ.get('OMP_NUM_THREADS', 'all')} threads, load {os.getloadavg()[0]:.1f}")
    for name, found in rates.items():
        print(f"{name:10s} {max(found):7.1f} requests/s   rounds: {', '.join(f'{r:.1f}' for r in found)}")
    print(f"ratio of the best rounds: {max(rates[f'batch {BATCH}']) / max(rates['batch 1']):.2f}   same answers: {sum(a == b for a, b in zip(one, other))} of {len(one)}")


if __name__ == "__main__":
    main()
