"""The HTTP application: OpenAI's paths, a page to try the model, and what guards both.

Who asks is not trusted: bodies are bounded, the key is compared in constant time, a server of this machine answers to no other name (a web page
could otherwise reach it under a name of its own), and nothing but JSON is read as a request. What a model writes is text, never markup, never run.
"""

from __future__ import annotations

import asyncio
import hmac
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qs

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from limbeck.errors import LimbeckError
from limbeck.serve import page, replies
from limbeck.serve.batching import Batcher
from limbeck.serve.desk import Desk, Told
from limbeck.serve.requests import Asked, Kind, Refused, read_asked, read_document

BODY_S = 30.0  # for a body to come
BODY_BYTES = 8 * 2**20
LOCAL = frozenset(["localhost", "127.0.0.1", "::1", "[::1]"])
SAFE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much at once and how long. See Batcher for the first four."""

    batch: int = 16
    window_s: float = 0.005
    places: int = 128
    deadline_s: float = 60.0
    body_bytes: int = BODY_BYTES


@dataclass(frozen=True, kw_only=True)
class House:
    """What is around a desk: the key that is asked for ("" for none), names this server answers to (empty: any), what /v1/terms says."""

    key: str = ""
    hosts: frozenset[str] = frozenset()
    terms: Mapping[str, Any] = field(default_factory=dict)
    began: int = field(default_factory=lambda: int(time.time()))


class Served:
    """A desk with its batcher, and how requests get to it."""

    def __init__(self, desk: Desk, house: House, limits: Limits) -> None:
        self.desk, self.house, self.limits, self.reading = desk, house, limits, 0
        self.batcher = Batcher(desk.work, batch=limits.batch, window_s=limits.window_s, places=limits.places, deadline_s=limits.deadline_s, splits=desk.splits)

    def check_host(self, request: Request) -> None:
        """Raises Refused for a name that is not this server's."""
        if not self.house.hosts:
            return
        name = request.headers.get("host", "")
        bare = name.rpartition(":")[0] if name.rpartition(":")[2].isdigit() else name
        if bare.lower() not in self.house.hosts:
            raise Refused(421, f"this server does not answer to the name {bare[:100]!r}: ask it as {sorted(self.house.hosts)[0]}", code="wrong_host")

    def check_key(self, given: str) -> None:
        """Raises Refused with 401 where a key is wanted and this is not it."""
        if self.house.key and not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.house.key.encode()):
            raise Refused(401, "the key is missing or wrong: send Authorization: Bearer KEY", code="invalid_api_key", kind="authentication_error")

    def enter(self, request: Request) -> None:
        """Every call of the interface: the right name, the right key."""
        self.check_host(request)
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        self.check_key(key.strip() if scheme.lower() == "bearer" else "")

    async def body(self, request: Request, kind: str) -> bytes:
        """The whole body, bounded in bytes and seconds; not read at all where the queue has no room for it. Raises Refused."""
        self.batcher.check_room(1, self.reading)
        self.reading += 1
        try:
            return await self._read(request, kind)
        finally:
            self.reading -= 1

    async def _read(self, request: Request, kind: str) -> bytes:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != kind:
            raise Refused(415, f"send Content-Type: {kind}", code="wrong_content_type")
        most = self.limits.body_bytes
        if int(length if (length := request.headers.get("content-length", "0")).isdigit() else 0) > most:
            raise _too_large(most)
        parts, size = [], 0
        try:
            async with asyncio.timeout(BODY_S):
                async for part in request.stream():
                    size += len(part)
                    if size > most:
                        raise _too_large(most)
                    parts.append(part)
        except TimeoutError as problem:
            raise Refused(408, f"the body did not come within {BODY_S:g} s", code="body_timeout") from problem
        return b"".join(parts)

    async def answer(self, asked: Sequence[Asked], request: Request) -> list[Told]:
        """The answers of all prompts of a request; given up when the client is gone."""
        jobs = [await asyncio.to_thread(self.desk.job, one) for one in asked]  # a table may take a while to read
        return await _unless_gone(self.batcher.ask(jobs), request)

    async def complete(self, request: Request, kind: Kind) -> Response:
        """/v1/chat/completions and /v1/completions."""
        self.enter(request)
        body = read_document(await self.body(request, "application/json"))
        asked = read_asked(kind, body, names=self.desk.names, takes=self.desk.takes, most=self.desk.most)
        told = await self.answer(asked, request)
        document = replies.complete(asked, told, self.desk.name)
        if asked[0].stream:
            events = iter(list(replies.stream(document, kind, asked[0].wants_usage)))
            return StreamingResponse(events, media_type="text/event-stream", headers=SAFE)
        return _json(document)

    async def try_page(self, request: Request) -> Response:
        """The page's form, answered as a page."""
        self.check_host(request)
        form: dict[str, str] = {}
        try:
            if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                raise Refused(403, "another site sent this form", code="wrong_origin")
            raw = parse_qs((await self.body(request, "application/x-www-form-urlencoded")).decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20)
            form = {name: values[0] for name, values in raw.items()}
            self.check_key(form.pop("key", ""))
            extra = {name: form[name] for name in ("table", "today") if form.get(name, "").strip()}
            count = form.get("n", "1")
            body = {"model": self.desk.name, "messages": [{"role": "user", "content": form.get("text", "").replace("\r\n", "\n")}], "n": int(count) if count.isdigit() and len(count) < 4 else 0, "limbeck": extra or None}
            if self.desk.draws and body["n"] > 1:
                body["temperature"] = 0.7
            asked = read_asked("chat", body, names=self.desk.names, takes=self.desk.takes, most=self.desk.most)
            document = replies.complete(asked, await self.answer(asked, request), self.desk.name)
            return self.page(form, choices=document["choices"])
        except Refused as refusal:
            return self.page(form, refusal=refusal)
        except LimbeckError as problem:
            return self.page(form, refusal=Refused.of(problem, 502, code="no_answer"))

    def page(self, form: Mapping[str, str], choices: Sequence[Mapping[str, Any]] = (), refusal: Refused | None = None) -> Response:
        """The page, with answers or with why there are none."""
        text = page.render(self.desk, self.house.terms, bool(self.house.key), form, choices, refusal.message if refusal else "")
        return Response(text, refusal.status if refusal else 200, {**SAFE, **page.HEADERS, **_retry(refusal)}, media_type="text/html")


def build_app(desk: Desk, house: House | None = None, limits: Limits | None = None) -> FastAPI:
    """The application of one desk; its batcher stands in `app.state.batcher`."""
    served = Served(desk, house or House(), limits or Limits())

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        served.batcher.start()
        yield
        served.batcher.stop()

    app = FastAPI(title="limbeck", docs_url=None, redoc_url=None, openapi_url=None, lifespan=life)  # no pages that load scripts from elsewhere
    app.state.batcher = served.batcher
    _add_errors(app)
    _add_paths(app, served)
    return app


def _add_paths(app: FastAPI, served: Served) -> None:
    desk, house = served.desk, served.house
    shown = {"id": desk.name, "object": "model", "created": house.began, "owned_by": "limbeck"}

    async def chat(request: Request) -> Response:
        return await _unless_ending(served.complete(request, "chat"))

    async def text(request: Request) -> Response:
        return await _unless_ending(served.complete(request, "text"))

    async def models(request: Request) -> Response:
        served.enter(request)
        return _json({"object": "list", "data": [shown]})

    async def model(request: Request) -> Response:
        served.enter(request)
        name = request.path_params["name"]
        if name not in desk.names:
            raise Refused(404, f"the model {name[:200]!r} is not served here; this one is: {desk.name!r}", code="model_not_found", param="model")
        return _json(shown)

    async def terms(request: Request) -> Response:
        served.enter(request)
        return _json({"model": desk.name, **house.terms})

    async def health(request: Request) -> Response:
        served.check_host(request)
        return _json({"status": "ok", "model": desk.name, "waiting": served.batcher.waiting, "places": served.batcher.places, "answered": served.batcher.answered, "batches": served.batcher.batches})

    async def shown_page(request: Request) -> Response:
        served.check_host(request)
        return served.page({})

    async def tried_page(request: Request) -> Response:
        return await _unless_ending(served.try_page(request))

    for path, method, handler in (
        ("/v1/chat/completions", "POST", chat), ("/v1/completions", "POST", text), ("/v1/models", "GET", models), ("/v1/models/{name:path}", "GET", model), ("/v1/terms", "GET", terms), ("/health", "GET", health),
        ("/", "GET", shown_page), ("/", "POST", tried_page),
    ):  # fmt: skip
        app.add_route(path, handler, methods=[method])


def _add_errors(app: FastAPI) -> None:
    async def refused(_: Request, problem: Exception) -> Response:
        assert isinstance(problem, Refused)
        return _json(problem.document(), problem.status, _retry(problem) | ({"WWW-Authenticate": "Bearer"} if problem.status == 401 else {}))

    async def not_found(request: Request, problem: Exception) -> Response:
        assert isinstance(problem, HTTPException)
        what = f"there is no {request.method} {request.url.path[:200]} here" if problem.status_code in (404, 405) else str(problem.detail)
        return _json(Refused(problem.status_code, what, code="not_found" if problem.status_code == 404 else None).document(), problem.status_code, dict(problem.headers or {}))

    async def failed(_: Request, problem: Exception) -> Response:
        """Ours to see, not the client's: an answerer's error may name files and servers."""
        sys.stderr.write(f"error: {problem}\n")
        return _json(Refused(502, "the model could not answer; whoever serves it sees why", code="no_answer").document(), 502)

    async def broken(_: Request, problem: Exception) -> Response:
        return _json(Refused(500, "something went wrong here; whoever serves this model sees what", code="internal_error").document(), 500)

    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(HTTPException, not_found)
    app.add_exception_handler(LimbeckError, failed)
    app.add_exception_handler(Exception, broken)


async def _unless_gone(answer: Awaitable[Found], request: Request) -> Found:
    """What is awaited, unless the client goes away first: then it is cancelled, which frees its places."""
    work = asyncio.ensure_future(answer)
    gone = asyncio.ensure_future(_wait_until_gone(request.receive))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise Refused(499, "the client is gone", code="client_closed")
        return work.result()
    finally:
        work.cancel()
        gone.cancel()


async def _unless_ending(reply: Awaitable[Response]) -> Response:
    """A reply, unless the server ends and has waited long enough: then the client is told."""
    try:
        return await reply
    except asyncio.CancelledError:
        raise Refused(503, "the server is ending", code="shutting_down") from None


async def _wait_until_gone(receive: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _too_large(most: int) -> Refused:
    return Refused(413, f"the body is larger than {most:,} bytes", code="body_too_large")


def _retry(refusal: Refused | None) -> dict[str, str]:
    return {"Retry-After": str(refusal.wait_s)} if refusal and refusal.wait_s is not None else {}


def _json(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(replies.encode(document), status, {**SAFE, **(headers or {})}, media_type="application/json")
