"""What an examination costs beside the model: 2,000 GSM8K-like prompts against an instant local server, 32 at once.

    python benchmarks/examine_overhead.py [samples]

Each contender is a process of its own, timed whole; `start` is the same process with 10 samples. Peers take part where they are
installed: in this environment, or in that of the interpreter that PEERS_PYTHON names (lm-eval with a YAML task over the same
rows, inspect_ai with a task of its own); absent ones are named.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CONNECTIONS = 32
PEERS = os.environ.get("PEERS_PYTHON", sys.executable)
SERVER = """
from aiohttp import web
import json, sys
REPLY = json.dumps({"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [{"index": 0, "finish_reason": "stop",
    "message": {"role": "assistant", "content": "Half of 48 is 24, and 48 and 24 make 72. The answer is 72."}}],
    "usage": {"prompt_tokens": 80, "completion_tokens": 20, "total_tokens": 100}}).encode()
async def handle(request):
    await request.read()
    return web.Response(body=REPLY, content_type="application/json")
app = web.Application(client_max_size=2**24)
app.router.add_post("/v1/chat/completions", handle)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
"""


def questions(count: int) -> list[dict[str, str]]:
    """Distinct word problems of about GSM8K's length."""
    text = "In April {a} friends bought clips from Natalia, {b} each, and half as many in May. With a discount of {c} cents a clip, how many clips did she sell altogether in April and May?"
    return [{"id": str(i), "question": text.format(a=i % 97 + 2, b=i % 89 + 1, c=i), "answer": str(72 if i % 2 else 70)} for i in range(count)]


def run_bare(url: str, rows: list[dict[str, str]], folder: Path) -> None:
    """The least a client can do: post, find the last number, write a line."""
    import asyncio

    import aiohttp

    async def main() -> None:
        queue = iter(rows)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
            with (folder / "bare.jsonl").open("w") as file:

                async def work() -> None:
                    for row in queue:
                        body = {"model": "m", "temperature": 0, "messages": [{"role": "user", "content": row["question"]}]}
                        async with session.post(f"{url}/chat/completions", json=body) as response:
                            text = (await response.json())["choices"][0]["message"]["content"]
                        file.write(json.dumps({"id": row["id"], "text": text, "right": re.findall(r"\d+", text)[-1:] == [row["answer"]]}) + "\n")

                await asyncio.gather(*(work() for _ in range(CONNECTIONS)))

    asyncio.run(main())


def command_limbeck(url: str, rows: list[dict[str, str]], folder: Path) -> list[str]:
    """Our command as a user gives it, on a task of their own: no reply cached before, a log of every prompt and answer."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (folder / "task.toml").write_text('name = "sums"\ndata = "rows.jsonl"\nprompt = "{question}"\nanswer = "answer"\nid = "id"\nscorer = "number"\n')
    return ["-m", "limbeck", "evaluate", "--task", str(folder / "task.toml"), "--model", "openai:m", "--base-url", url, "--max-connections", str(CONNECTIONS), "--out", str(folder / "out"), "--quiet"]


def command_lm_eval(url: str, rows: list[dict[str, str]], folder: Path) -> list[str]:
    """lm-eval's chat client with a YAML task over the same rows, its other tasks not read."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (folder / "sums.yaml").write_text(textwrap.dedent(f"""
        task: sums
        dataset_path: json
        dataset_kwargs: {{data_files: {{test: {folder / "rows.jsonl"}}}}}
        test_split: test
        output_type: generate_until
        doc_to_text: "{{{{question}}}}"
        doc_to_target: "{{{{answer}}}}"
        generation_kwargs: {{until: ["\\n\\n\\n"], max_gen_toks: 64, do_sample: false, temperature: 0.0}}
        filter_list: [{{name: last, filter: [{{function: regex, regex_pattern: "(\\\\d+)", group_select: -1}}, {{function: take_first}}]}}]
        metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
    """))
    code = textwrap.dedent(f"""
        import lm_eval
        from lm_eval.tasks import TaskManager
        lm_eval.simple_evaluate(model="local-chat-completions", model_args="model=m,base_url={url}/chat/completions,num_concurrent={CONNECTIONS},tokenized_requests=False",
            tasks=["sums"], task_manager=TaskManager(include_path={str(folder)!r}, include_defaults=False), apply_chat_template=True, bootstrap_iters=0)
    """)
    return ["-c", code]


def command_lm_eval_cli(url: str, rows: list[dict[str, str]], folder: Path) -> list[str]:
    """The same as its users call it: the command, with all of its own tasks indexed."""
    command_lm_eval(url, rows, folder)
    arguments = f"model=m,base_url={url}/chat/completions,num_concurrent={CONNECTIONS},tokenized_requests=False"
    return ["-m", "lm_eval", "--model", "local-chat-completions", "--model_args", arguments, "--tasks", "sums", "--include_path", str(folder), "--apply_chat_template", "--output_path", str(folder / "out"), "--log_samples"]


def command_inspect(url: str, rows: list[dict[str, str]], folder: Path) -> list[str]:
    """inspect_ai with a task of its own over the same rows, defaults, no display."""
    (folder / "rows.jsonl").write_text("".join(json.dumps({"input": r["question"], "target": r["answer"], "id": r["id"]}) + "\n" for r in rows))
    code = textwrap.dedent(f"""
        from inspect_ai import Task, eval, task
        from inspect_ai.dataset import json_dataset
        from inspect_ai.scorer import match
        from inspect_ai.solver import generate
        @task
        def sums():
            return Task(dataset=json_dataset({str(folder / "rows.jsonl")!r}), solver=generate(), scorer=match(numeric=True))
        eval(sums(), model="openai-api/local/m", model_base_url={url!r}, max_connections={CONNECTIONS}, display="none", log_dir={str(folder / "log")!r})
    """)
    return ["-c", code]


def is_there(module: str) -> bool:
    """Whether a peer can be imported by the peers' interpreter."""
    if sys.executable == PEERS:
        return find_spec(module) is not None
    return subprocess.run([PEERS, "-c", f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"]).returncode == 0


def measure(python: str, arguments: list[str], folder: Path) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and MB at the peak of one process."""
    environment = {**os.environ, "LIMBECK_CACHE": str(folder / "cache"), "OPENAI_API_KEY": "none", "LOCAL_API_KEY": "none", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": ""}
    began = time.perf_counter()
    process = subprocess.Popen([python, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=(folder / "stderr").open("w"))
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    if status:
        raise SystemExit(f"failed: {' '.join(arguments)[:80]}\n" + (folder / "stderr").read_text()[-2000:])
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    if sys.argv[1:2] == ["--bare"]:
        run_bare(sys.argv[2], questions(int(sys.argv[3])), Path(sys.argv[4]))
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    port = 18000 + os.getpid() % 2000
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(port)])
    try:
        time.sleep(2)
        contend(f"http://127.0.0.1:{port}/v1", count)
    finally:
        server.terminate()


def contend(url: str, count: int) -> None:
    """Every contender with 10 samples (its start) and with all; ratios against ours."""
    makers: dict[str, Any] = {"bare aiohttp": lambda rows, folder: [__file__, "--bare", url, str(len(rows)), str(folder)], "limbeck": lambda rows, folder: command_limbeck(url, rows, folder)}
    for name, module, maker in (("lm-eval, API", "lm_eval", command_lm_eval), ("lm-eval", "lm_eval", command_lm_eval_cli), ("inspect_ai", "inspect_ai", command_inspect)):
        if is_there(module):
            makers[name] = lambda rows, folder, maker=maker: maker(url, rows, folder)
        else:
            print(f"{name}: not installed in this environment, takes no part")
    print(f"{count} samples, {CONNECTIONS} connections, load {os.getloadavg()[0]:.1f}\n{'':14s} {'wall s':>8s} {'CPU s':>8s} {'start, wall s':>14s} {'start, CPU s':>13s} {'CPU ms a sample after start':>28s} {'peak MB':>8s} {'wall, x ours':>13s} {'CPU, x ours':>12s}")
    found = {}
    for name, maker in makers.items():
        small, full = [], []
        for _ in range(2):  # the first warms bytecode and disk
            for size, into in ((10, small), (count, full)):
                with tempfile.TemporaryDirectory() as folder:
                    into.append(measure(PEERS if name.startswith(("lm-eval", "inspect_ai")) else sys.executable, maker(questions(size), Path(folder)), Path(folder)))
        found[name] = (min(small), min(full))
    ours, ours_cpu = found["limbeck"][1][:2]
    for name, (start, whole) in found.items():
        each = 1000 * (whole[1] - start[1]) / (count - 10)
        print(f"{name:14s} {whole[0]:8.2f} {whole[1]:8.2f} {start[0]:14.2f} {start[1]:13.2f} {each:28.2f} {whole[2]:8.0f} {whole[0] / ours:13.1f} {whole[1] / ours_cpu:12.1f}", flush=True)


if __name__ == "__main__":
    main()
