"""A chat server that fails on purpose: a share of its calls, chosen by a seed, goes wrong in one of fifteen ways.

    python tests/faulty_server.py --share 0.2 --seed 1 [--remembers]

It prints its port and serves until it is ended. What it answers follows from the prompt, the request's seed and the number of the
choice alone. It counts what it would bill: `billed` choices were sent whole and well, `spoilt` ones were made and damaged on the
way. With --remembers it knows Idempotency-Key: a request seen before gets the same answer and no second bill.
`GET /counts` shows all that, and when each choice was asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import time
from collections import Counter
from typing import Any

from aiohttp import web

FAULTS = ("429", "429_wait", "500", "503", "reset_before", "reset_after", "stall", "truncated", "invalid", "html", "slow", "fewer", "more", "same_id", "empty")
SPOILING = frozenset({"reset_after", "stall", "truncated", "invalid"})  # the answer was made, and is lost


def fraction(*parts: Any) -> float:
    """A number in [0, 1) that follows from the parts."""
    return int.from_bytes(hashlib.sha256("|".join(map(str, parts)).encode()).digest()[:7]) / 2**56


class FaultyServer:
    """`share` of calls fail; `stall_s` is longer than a client's patience, `wait_s` what Retry-After says."""

    def __init__(self, share: float = 0.2, seed: int = 0, remembers: bool = False, stall_s: float = 3.0, wait_s: float = 0.2, faults: tuple[str, ...] = FAULTS) -> None:
        self.share, self.seed, self.remembers, self.stall_s, self.wait_s, self.faults = share, seed, remembers, stall_s, wait_s, faults
        self.attempts: Counter[str] = Counter()
        self.happened: Counter[str] = Counter()
        self.billed: Counter[str] = Counter()
        self.spoilt: Counter[str] = Counter()
        self.arrivals: dict[str, list[float]] = {}
        self.memory: dict[str, int] = {}

    def app(self) -> web.Application:
        """To be served by aiohttp."""
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/counts", self.counts)
        app.router.add_post("/v1/chat/completions", self.complete)
        return app

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "m", "object": "model"}]})

    async def counts(self, request: web.Request) -> web.Response:
        return web.json_response({"billed": self.billed, "spoilt": self.spoilt, "arrivals": self.arrivals, "happened": self.happened, "requests": self.attempts.total()})

    def fault_of(self, content: str) -> str:
        """What goes wrong with this attempt at this content; "" for nothing."""
        attempt = self.attempts[content]
        self.attempts[content] += 1
        if fraction(self.seed, content, attempt) >= self.share:
            return ""
        return self.faults[int(fraction(self.seed, "kind", content, attempt) * len(self.faults))]

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        text = body["messages"][-1]["content"]
        n, first = body.get("n", 1), body.get("seed", 0)
        names = [f"{hashlib.sha256(text.encode()).hexdigest()[:16]}:{first + at}" for at in range(n + 1)]
        for name in names[:n]:
            self.arrivals.setdefault(name, []).append(time.time())
        fault = self.fault_of(json.dumps(body, sort_keys=True))
        self.happened[fault or "none"] += 1
        if fault in ("429", "429_wait", "500", "503"):
            return web.json_response({"error": {"message": "not now"}}, status=int(fault[:3]), headers={"Retry-After": str(self.wait_s)} if fault == "429_wait" else {})
        if fault == "html":
            return web.Response(text="<html><body>Bad gateway</body></html>", content_type="text/html")
        if fault == "reset_before":
            return self.cut(request)
        key = request.headers.get("Idempotency-Key", "") if self.remembers else ""
        count = self.memory.get(key) if key else None
        is_new = count is None
        if count is None:
            count = {"fewer": n - 1, "more": n + 1, "empty": 0}.get(fault, n)
        if key and fault != "empty":
            self.memory[key] = count
        whole = json.dumps(self.completion(names[:count], "same" if fault == "same_id" else names[0])).encode()
        try:
            response, is_spoilt = await self.send(request, fault, whole), fault in SPOILING
        except ConnectionResetError:  # whoever asked is gone
            response, is_spoilt = web.Response(), True
        if is_new:
            (self.spoilt if is_spoilt else self.billed).update(names[:count])
        return response

    def completion(self, names: list[str], identity: str) -> dict[str, Any]:
        """Texts that name their choice and are as long as it says."""
        choices = [{"index": at, "finish_reason": "stop", "message": {"role": "assistant", "content": f"{name} " + "word " * int(5 + 20 * fraction(name))}} for at, name in enumerate(names)]
        return {"id": identity, "object": "chat.completion", "model": "m", "choices": choices, "usage": {"prompt_tokens": 20, "completion_tokens": sum(len(c["message"]["content"].split()) for c in choices)}}

    def cut(self, request: web.Request) -> web.Response:
        """Hang up."""
        if request.transport:
            request.transport.abort()
        return web.Response()

    async def send(self, request: web.Request, fault: str, whole: bytes) -> web.StreamResponse:
        """The reply, damaged as the fault says."""
        if fault in ("truncated", "invalid"):
            return web.Response(body=whole[: len(whole) // 2] if fault == "truncated" else b"{'choices': nothing}", content_type="application/json")
        if fault == "stall":
            await asyncio.sleep(self.stall_s)
            return self.cut(request)
        if fault not in ("reset_after", "slow"):
            return web.Response(body=whole, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(whole))})
        await response.prepare(request)
        if fault == "reset_after":
            await response.write(whole[: len(whole) // 2])
            return self.cut(request)  # type: ignore[return-value]
        for start in range(0, len(whole), 40):
            await response.write(whole[start : start + 40])
            await asyncio.sleep(0.01)
        return response


async def serve(server: FaultyServer, port: int) -> None:
    """Until it is ended; prints the port."""
    runner = web.AppRunner(server.app(), shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=1024)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)  # type: ignore[union-attr]
    await asyncio.Event().wait()


def main() -> None:
    reads = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    reads.add_argument("--port", type=int, default=0)
    reads.add_argument("--share", type=float, default=0.2)
    reads.add_argument("--seed", type=int, default=0)
    reads.add_argument("--remembers", action="store_true", help="knows Idempotency-Key")
    reads.add_argument("--stall", type=float, default=3.0, help="seconds of a stall")
    reads.add_argument("--wait", type=float, default=0.2, help="seconds that Retry-After says")
    reads.add_argument("--faults", default=",".join(FAULTS))
    asked = reads.parse_args()
    asyncio.run(serve(FaultyServer(asked.share, asked.seed, asked.remembers, asked.stall, asked.wait, tuple(asked.faults.split(","))), asked.port))


if __name__ == "__main__":
    main()
