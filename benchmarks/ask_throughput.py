"""How many answered calls a second a teacher behind an instant server gives: limbeck's ledgered endpoint, Bespoke curator, inspect_ai.

    python benchmarks/ask_throughput.py [--records 2000] [--inspect PYTHON] [--curator PYTHON] [--peer-records 3000]

Server and client are processes of their own on one machine; the server answers at once. Each client is timed whole, and again with 20
records: the difference is what a record costs. limbeck writes every answer to its ledger before it is used, curator to its cache,
inspect_ai to its log. Peers take part where their interpreter is named; each has the same requests and 64 at once. Few peer records
measure the noise of a slow start and not the calls.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import textwrap
import time
from contextlib import closing

CONNECTIONS, FEW = 64, 20
SERVER = """
import json, socket
from aiohttp import web
REPLY = json.dumps({"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "The answer is 72."}}], "usage": {"prompt_tokens": 80, "completion_tokens": 20, "total_tokens": 100}}).encode()
async def handle(request):
    await request.read()
    return web.Response(body=REPLY, content_type="application/json")
async def models(request):
    return web.json_response({"object": "list", "data": [{"id": "m", "object": "model"}]})
app = web.Application(client_max_size=2**24)
app.router.add_post("/v1/chat/completions", handle)
app.router.add_get("/v1/models", models)
held = socket.socket()
held.bind(("127.0.0.1", 0))
print(held.getsockname()[1], flush=True)
web.run_app(app, sock=held, print=None, access_log=None)
"""
LIMBECK = """
import sys
from pathlib import Path
from limbeck.records import Prompt
from limbeck.teachers.endpoint import Endpoint, Sampling
from limbeck.teachers.ledger import Ledger
url, count, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
prompts = [Prompt(id=str(i), text=f"Question {i}: what is half of 48 and 48?") for i in range(count)]
teacher = Endpoint("m", url, sampling=Sampling(max_tokens=64), concurrency=64, ledger=Ledger(folder / "ledger.sqlite"), run="benchmark")
answers = teacher.answer(prompts)
assert sum(a.status == "scored" for a in answers) == count
"""
INSPECT = """
import os, sys
url, count, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
os.environ.update(OWN_API_KEY="x", OWN_BASE_URL=url, INSPECT_LOG_DIR=folder)
from inspect_ai import Task, eval as run
from inspect_ai.dataset import Sample, MemoryDataset
from inspect_ai.solver import generate
task = Task(dataset=MemoryDataset([Sample(id=str(i), input=f"Question {i}: what is half of 48 and 48?", target="72") for i in range(count)]), solver=generate())
logs = run(task, model="openai-api/own/m", max_connections=64, max_samples=64, display="none", log_dir=folder)
assert logs[0].status == "success" and len(logs[0].samples) == count
"""
CURATOR = """
import os, sys
url, count, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
os.environ.update(OPENAI_API_KEY="x", CURATOR_CACHE_DIR=folder, HF_HUB_OFFLINE="1", TELEMETRY_ENABLED="0", CURATOR_DISABLE_RICH_DISPLAY="1")
import tiktoken
class Words:  # it fetches a tokenizer to count what it sends: words are counted here, where no network is
    def encode(self, text, **rest):
        return text.split()
tiktoken.get_encoding = tiktoken.encoding_for_model = lambda name: Words()
from bespokelabs import curator
model = curator.LLM(model_name="m", backend="openai", backend_params={"base_url": url, "api_key": "x", "max_concurrent_requests": 64, "max_requests_per_minute": 10_000_000, "max_tokens_per_minute": 1_000_000_000})
found = model([f"Question {i}: what is half of 48 and 48?" for i in range(count)])
data = getattr(found, "dataset", found)
assert len(data) == count, len(data)
"""


def client(code: str, python: str, url: str, count: int) -> tuple[float, float, str]:
    """Seconds and CPU-seconds of one client, and what it complained of."""
    with tempfile.TemporaryDirectory() as folder:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run([python, "-c", textwrap.dedent(code), url, str(count), folder], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=folder, timeout=1500)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, cpu, "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it failed"])[-1][:200]


def main() -> None:
    reads = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    reads.add_argument("--records", type=int, default=2000)
    reads.add_argument("--peer-records", type=int, default=3000)
    reads.add_argument("--inspect", default="")
    reads.add_argument("--curator", default="")
    asked = reads.parse_args()
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert server.stdout
    with closing(server.stdout):
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        try:
            each: dict[str, float] = {}
            for name, code, python, count in (("limbeck", LIMBECK, sys.executable, asked.records), ("curator", CURATOR, asked.curator, asked.peer_records), ("inspect", INSPECT, asked.inspect, asked.peer_records)):
                if not python:
                    print(f"{name:8} is not measured: name its interpreter with --{name}")
                    continue
                few, many = client(code, python, url, FEW), client(code, python, url, count)
                if few[2] or many[2]:
                    print(f"{name:8} failed: {few[2] or many[2]}")
                    continue
                each[name] = (many[1] - few[1]) / (count - FEW)
                print(f"{name:8} {(count - FEW) / (many[0] - few[0]):7.0f} answered calls a second, {1000 * each[name]:.2f} CPU-ms a call; {many[0]:.1f} s for {count:,} records, start included", flush=True)
            for peer in each.keys() - {"limbeck"}:
                print(f"limbeck against {peer}: {each[peer] / each['limbeck']:.1f} times less CPU a call")
        finally:
            server.kill()
            server.wait()


if __name__ == "__main__":
    main()
