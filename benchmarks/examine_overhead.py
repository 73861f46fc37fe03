"""What an examination costs beside the model: 2,000 GSM8K-like prompts against an instant local server, 32 at once.

    python benchmarks/examine_overhead.py [samples]

Each contender is a process of its own, timed whole; `start` is the same process with 10 samples. Peers that are installed in the
same environment take part (lm-eval with its own YAML task, inspect_ai with its own task), others are named as absent.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import textwrap
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CONNECTIONS = 32
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


def run_limbeck(url: str, rows: list[dict[str, str]], folder: Path) -> None:
    """Our examination as the command runs it: cache, log, intervals, result."""
    from limbeck.evaluate.examine import examine
    from limbeck.evaluate.log import TrialLog
    from limbeck.records import Example, Prompt, write_json_line  # type: ignore[attr-defined]

    raise NotImplementedError((examine, TrialLog, Example, Prompt, write_json_line))
