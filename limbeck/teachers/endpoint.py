"""Any server that speaks the OpenAI protocol, as an Answerer: many requests at once, as fast as the server likes.

The number of requests in flight starts at `concurrency`, is halved when the server says 429 or 5xx or stalls, and grows by
one for every window of successes (additive increase, multiplicative decrease). Each prompt ends in exactly one status:
scored, refused, no_answer, or failed with its reason. A server from which nothing at all comes for three time limits is given up.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from limbeck.errors import LimbeckError
from limbeck.records import Answer, Candidate, Prompt, content_id
from limbeck.teachers import likelihood
from limbeck.teachers.calls import CallCache

AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
OURS_TO_MEND = frozenset({401, 403, 404, 405})  # a wrong key, address or model: no use to go on
IN_A_ROW = 20  # prompts that failed one after another before an examination gives up
SILENT_LIMITS = 3  # time limits without any reply from the server before an examination gives up
UNREACHED_TRIES = 3  # tries at a server that has never replied to anybody
LARGEST_REPLY_BYTES = 20_000_000
REASONING = re.compile(r"<(think|thinking|reasoning)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)

Done = Callable[[int, Answer], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a model is asked: part of every call's key and of every result."""

    temperature: float = 0.0
    top_p: float | None = None
    max_tokens: int = 1024
    system: str = ""
    style: Literal["chat", "raw"] = "chat"
    seed: int | None = None
    keep_reasoning: bool = False


class Endpoint:
    """Model `model` behind `base_url`. `price_usd` is (input, output) per million tokens, None where nobody knows."""

    parameters: int | None = None
    draws_samples = True  # k answers are k draws, not a ranking

    def __init__(
        self, model: str, base_url: str, *, api_key: str = "", sampling: Sampling | None = None, concurrency: int = 32,
        timeout_s: float = 120, retries: int = 5, cache: CallCache | None = None, price_usd: tuple[float, float] | None = None,
    ) -> None:  # fmt: skip
        self.name, self.model, self.base_url = f"openai:{model}", model, base_url.rstrip("/")
        self._key, self.sampling, self._timeout_s, self._retries = api_key, sampling or Sampling(), timeout_s, retries
        self._cache, self._price, self._gate = cache, price_usd, _Gate(concurrency)
        self._served_by: str | None = None
        self._heard = 0.0  # when the server last replied at all
        self._reached = False  # whether it ever did
        self._failed_in_a_row = 0
        self._waits = random.Random()  # jitter only: no result depends on it

    def settings(self) -> dict[str, Any]:
        """What must be equal for two sets of answers to be comparable."""
        return {"model": self.model, "base_url": self.base_url, **asdict(self.sampling)}

    def answer(self, prompts: Sequence[Prompt], *, k: int = 1) -> list[Answer]:
        """All answers, in order."""
        found: dict[int, Answer] = {}
        self.answer_each(prompts, k, lambda at, answer: found.__setitem__(at, answer))
        return [found[at] for at in range(len(prompts))]

    def answer_each(self, prompts: Sequence[Prompt], k: int, done: Done) -> None:
        """Calls `done(index, answer)` as answers come in. Raises LimbeckError where asking on is of no use."""
        if any(likelihood.by_text(p) for p in prompts):
            if self.sampling.style != "raw":
                raise LimbeckError("a chat server does not say how likely a text is", self.base_url, "--raw with a server that echoes log-probabilities, or --by letter or likelihood; in a task of your own, leave `choices` out")
            prompts, done = likelihood.unfold(prompts, lambda p: self._body(p, 1)["prompt"], k, done)
        bodies = [self._body(prompt, k) for prompt in prompts]
        keys = [content_id([self.base_url, body], 32) for body in bodies]
        known = self._cache.find(keys) if self._cache else {}
        for reply in known.values():
            self.heed_model(reply.get("model"), replayed=True)
        waiting = []
        for at, (prompt, key) in enumerate(zip(prompts, keys, strict=True)):
            if key in known:
                done(at, self._read(prompt, known[key], k, replayed=True))
            else:
                waiting.append(at)
        if waiting:
            try:
                asyncio.run(self._ask_all([(at, prompts[at], keys[at], bodies[at]) for at in waiting], k, done))
            finally:
                if self._cache:
                    self._cache.flush()

    def _body(self, prompt: Prompt, k: int) -> dict[str, Any]:
        chosen = self.sampling
        fixed = prompt.context.get("sampling")  # a task that prescribes how it is asked: what it does not name is not sent
        ours = {"temperature": chosen.temperature, "max_tokens": chosen.max_tokens} | {n: v for n, v in (("top_p", chosen.top_p), ("seed", chosen.seed)) if v is not None}
        body: dict[str, Any] = {"model": self.model, **(ours if fixed is None else fixed)}
        messages = list(prompt.context.get("messages") or [{"role": "user", "content": prompt.text}])
        if chosen.system:
            messages.insert(0, {"role": "system", "content": chosen.system})
        if chosen.style == "raw":
            body["prompt"] = "\n\n".join(m["content"] for m in messages)
        else:
            body["messages"] = messages
        if "said" in prompt.context:
            return likelihood.echo_body(body, prompt.context["said"])
        if likelihood.by_letter(prompt):
            return likelihood.letter_body(body, chosen.style == "raw")
        if k > 1:
            body["n"] = k
        return body

    async def _ask_all(self, jobs: list[tuple[int, Prompt, str, dict[str, Any]]], k: int, done: Done) -> None:
        import aiohttp

        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        path = "/completions" if self.sampling.style == "raw" else "/chat/completions"
        queue = iter(jobs)
        self._heard = time.monotonic()
        connector = aiohttp.TCPConnector(limit=self._gate.most)
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)

        async def work(session: Any) -> None:
            for at, prompt, key, body in queue:
                reply = await self._ask_for_all(session, self.base_url + path, body, body.get("n", 1))
                if "failed" not in reply:
                    self.heed_model(reply.get("model"))  # before it is kept: answers of another model never mix in
                    if self._cache:
                        self._cache.keep(key, reply)
                done(at, self._read(prompt, reply, k))
                self._count(reply)

        async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
            workers = [asyncio.ensure_future(work(session)) for _ in range(min(self._gate.most, len(jobs)))]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _ask_for_all(self, session: Any, url: str, body: dict[str, Any], k: int) -> dict[str, Any]:
        """The reply with k choices: a server that gives fewer than asked for (many know no `n`) is asked again for the rest."""
        whole = await self._ask(session, url, body)
        while "failed" not in whole and 0 < len(whole["choices"]) < k:
            missing = k - len(whole["choices"])
            again = {name: v for name, v in body.items() if name != "n"} | ({"n": missing} if missing > 1 and not whole.get("topped_up") else {})
            if body.get("seed") is not None:
                again["seed"] = body["seed"] + len(whole["choices"])  # else every draw would be the same one
            more = await self._ask(session, url, again)
            if "failed" in more:
                return more
            if not more["choices"]:
                return whole
            self.heed_model(more.get("model"))
            whole = {**whole, "choices": whole["choices"] + more["choices"], "usage": _add(whole.get("usage"), more.get("usage")), "topped_up": whole.get("topped_up", 0) + 1}
        return whole

    async def _ask(self, session: Any, url: str, body: dict[str, Any]) -> dict[str, Any]:
        """The reply to one request, or {"failed": reason} when every try has failed."""
        import aiohttp

        reason, wait_s, data = "", 0.0, json.dumps(body).encode()
        for turn in range(self._retries + 1):
            if turn:
                await asyncio.sleep(wait_s)
            wait_s = min(30.0, 0.5 * 2**turn) * self._waits.uniform(0.5, 1.5)
            await self._gate.enter()
            fine = False
            try:
                async with session.post(url, data=data) as response:
                    content = await _read_whole(response)
                    self._heard, self._reached = time.monotonic(), True
                    if response.status == 200:
                        reply = _parse(content)
                        if reply is not None:
                            fine = True
                            return reply
                        reason = "the reply is not a completion: " + repr(content[:80].decode("utf-8", "replace"))
                    else:
                        reason = f"HTTP {response.status}: {_message(content)}"
                        if response.status in OURS_TO_MEND:
                            raise LimbeckError(f"the server refuses: {reason}", url, "check the key, --base-url and the model's name; what was answered is kept")
                        if response.status not in AGAIN:
                            fine = True  # the server is well; this request is not
                            return {"failed": reason}
                        wait_s = max(wait_s, _seconds(response.headers.get("Retry-After")))
            except aiohttp.InvalidURL as problem:
                raise LimbeckError(f"this is no address of a server: {problem}", url, "write --base-url as http://HOST:PORT/v1") from problem
            except (aiohttp.ClientError, TimeoutError, OSError) as problem:
                reason = f"no answer in {self._timeout_s:g} s" if isinstance(problem, TimeoutError) else f"{type(problem).__name__}: {problem}"
                silent = time.monotonic() - self._heard
                if isinstance(problem, TimeoutError) and silent > SILENT_LIMITS * self._timeout_s:
                    raise LimbeckError(f"the server stalls: nothing came for {silent:.0f} s", url, "see that it is up, or give it longer with --timeout; what was answered is kept: the same command goes on") from problem
                if isinstance(problem, aiohttp.ClientConnectorError) and not self._reached and turn >= UNREACHED_TRIES - 1:
                    raise LimbeckError(f"the server cannot be reached: {problem}", url, "see that it is up and that --base-url is right") from problem
            finally:
                self._gate.leave(fine)
        return {"failed": reason}

    def _count(self, reply: dict[str, Any]) -> None:
        """Gives up after a row of failures."""
        self._failed_in_a_row = self._failed_in_a_row + 1 if "failed" in reply else 0
        if self._failed_in_a_row >= IN_A_ROW:
            raise LimbeckError(f"{IN_A_ROW} prompts failed one after another, the last with: {reply['failed']}", self.base_url, "see that the server is up, then run again: what was answered is kept")

    def heed_model(self, served_by: str | None, replayed: bool = False) -> None:
        """Notices a server that changes its model, against earlier replies of this examination (`replayed`: from its log or the cache)."""
        if served_by and self._served_by is None:
            self._served_by = served_by
        elif served_by and served_by != self._served_by:
            fix = "name a pinned version of the model, or ask all anew: --no-cache with another --out" if replayed else "name a pinned version of the model; what the first one answered is kept. To examine the new one alone: --no-cache with another --out"
            raise LimbeckError(f"the server changed its model from {self._served_by!r} to {served_by!r} half-way", self.base_url, fix)

    def _read(self, prompt: Prompt, reply: dict[str, Any], k: int, replayed: bool = False) -> Answer:
        """A server's reply as an Answer."""
        if "failed" in reply:
            return Answer(prompt_id=prompt.id, status="failed", reason=str(reply["failed"]))
        usage = reply.get("usage") or {}
        read, written = (usage.get(f"{name}_tokens") for name in ("prompt", "completion"))
        meta: dict[str, Any] = {"tokens": {"prompt": read, "completion": written}, "model": reply.get("model"), "replayed": replayed}
        cost = None
        if self._price and isinstance(read, int) and isinstance(written, int):
            cost = 0.0 if replayed else (read * self._price[0] + written * self._price[1]) / 1e6
        if reply["choices"] and ("said" in prompt.context or likelihood.by_letter(prompt)):
            ranked = likelihood.read_echo(prompt, reply["choices"][0], self.base_url) if "said" in prompt.context else likelihood.read_letters(prompt, reply["choices"][0], self.base_url, k)
            return replace(ranked, cost_usd=cost, meta={**meta, **ranked.meta})
        texts, refusal, finish = [], "", []
        for choice in reply["choices"]:
            message = choice.get("message") or {}
            text = message.get("content") if "message" in choice else choice.get("text")
            finish.append(choice.get("finish_reason"))
            refusal = refusal or message.get("refusal") or ("content filter" if choice.get("finish_reason") == "content_filter" else "")
            if isinstance(text, str) and text:
                texts.append(text if self.sampling.keep_reasoning else strip_reasoning(text))
        meta["finish"] = finish
        if len(reply["choices"]) != k or reply.get("topped_up"):
            meta |= {"asked": k, "given": len(reply["choices"]), "requests": 1 + reply.get("topped_up", 0)}  # kept, and said: another number of choices
        if not texts:
            return Answer(prompt_id=prompt.id, status="refused" if refusal else "no_answer", reason=refusal or f"empty ({finish[0] if finish else 'no choices'})", cost_usd=cost, meta=meta)
        candidates = tuple(Candidate(text=text) for text in texts)
        return Answer(prompt_id=prompt.id, candidates=candidates[: max(k, 1)], cost_usd=cost, meta=meta)


def strip_reasoning(text: str) -> str:
    """A text without its <think> part; one that never ends leaves nothing. Some templates open it in the prompt: only its end is seen."""
    if "<" not in text:
        return text
    left = REASONING.sub("", text)
    return left.rpartition("</think>")[2].strip()


async def _read_whole(response: Any) -> bytes:
    """A reply's body; one without end is cut, and is then no completion."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > LARGEST_REPLY_BYTES:
            response.close()
            break
    return b"".join(parts)


def _add(a: dict[str, Any] | None, b: dict[str, Any] | None) -> dict[str, Any] | None:
    """Tokens of two replies together; None where one does not say."""
    if not a or not b:
        return None
    return {name: a[name] + b[name] for name in a if isinstance(a[name], int) and isinstance(b.get(name), int)}


def _parse(content: bytes) -> dict[str, Any] | None:
    """What is needed of a completion, or None where it is none."""
    try:
        reply = json.loads(content)
        choices = [{name: c[name] for name in ("message", "text", "finish_reason", "logprobs") if c.get(name) is not None} for c in reply["choices"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return {"choices": choices, "usage": reply.get("usage"), "model": reply.get("model")}


def _message(content: bytes) -> str:
    """What a server says of its error, in one line."""
    text = content[:2000].decode("utf-8", "replace")
    try:
        error = json.loads(text)["error"]
        text = error["message"] if isinstance(error, dict) else str(error)
    except (ValueError, KeyError, TypeError):
        pass
    return " ".join(text.split())[:200]


def _seconds(header: str | None) -> float:
    try:
        return min(60.0, float(header or 0))
    except ValueError:
        return 0.0


class _Gate:
    """How many requests may be in flight: halved on trouble (once a window), one more after as many successes."""

    def __init__(self, most: int) -> None:
        self.most, self.limit = most, float(most)
        self._inside = 0
        self._grace = 0
        self._waiting: list[asyncio.Future[None]] = []

    async def enter(self) -> None:
        while self._inside >= int(self.limit):
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
        self._inside += 1

    def leave(self, fine: bool) -> None:
        self._inside -= 1
        self._grace = max(0, self._grace - 1)
        if fine:
            self.limit = min(float(self.most), self.limit + 1 / max(1.0, self.limit))
        elif not self._grace:
            self.limit, self._grace = max(1.0, self.limit / 2), self._inside
        room = int(self.limit) - self._inside
        while self._waiting and room > 0:
            future = self._waiting.pop(0)
            if not future.done():
                future.set_result(None)
                room -= 1
