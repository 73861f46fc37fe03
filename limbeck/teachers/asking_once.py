"""One small request after another to a server, each reply read as it stands: for trying a teacher, not for asking it."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.teachers import replies
from limbeck.teachers.budget import cost_of
from limbeck.teachers.endpoint import Endpoint
from limbeck.teachers.sending import LARGEST_REPLY_BYTES

AGAIN, TRIES = (429, 500, 502, 503, 504, 529), 4
TO_MEND = (401, 403, 404, 405)


@dataclass(frozen=True, slots=True)
class Heard:
    """A reply: `said` is the server's error where there is no completion. Of the first choice: its text, why it ended, its log-probabilities."""

    reply: replies.Reply | None
    said: str
    document: dict[str, Any]

    @property
    def choice(self) -> dict[str, Any]:
        return self.reply.choices[0] if self.reply and self.reply.choices else {}

    @property
    def text(self) -> str:
        return text_of(self.choice)

    @property
    def finish(self) -> str:
        return str(self.choice.get("finish_reason") or "")

    @property
    def logprobs(self) -> dict[str, Any] | None:
        return replies.read_logprobs(self.choice.get("logprobs")) if self.choice.get("logprobs") else None


def text_of(choice: dict[str, Any]) -> str:
    """What a choice says, of either protocol; "" where it says nothing."""
    text = (choice.get("message") or {}).get("content") if "message" in choice else choice.get("text")
    return text if isinstance(text, str) else ""


class Asker:
    """Asks a teacher's server as its recipe does, and counts, within the recipe's budget.

    No reply is read from a ledger: it would prove nothing. What the replies cost is entered there at once, without their texts, in the
    accounts of the teacher's run.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint, self.is_raw = endpoint, endpoint.sampling.style == "raw"
        self.calls = self.tokens_in = self.tokens_out = 0
        self.heard: list[Heard] = []
        endpoint.start_budget()

    def cost_usd(self) -> float | None:
        """Dollars so far; None where no price is known."""
        return cost_of(self.endpoint._price, self.tokens_in, self.tokens_out)

    def body(self, request: str, top: int | None = None, system: str | None = None, **more: Any) -> dict[str, Any]:
        """A request at temperature 0 unless said; `top` likeliest tokens; `system` in place of the recipe's."""
        body: dict[str, Any] = {"model": self.endpoint.model, "temperature": 0.0, "max_tokens": 48, **more}
        first = self.endpoint.sampling.system if system is None else system
        if self.is_raw:
            return body | {"prompt": f"{first}\n\n{request}" if first else request} | ({"logprobs": top} if top is not None else {})
        messages = ([{"role": "system", "content": first}] if first or system is not None else []) + [{"role": "user", "content": request}]
        return body | {"messages": messages} | ({"logprobs": True, "top_logprobs": top} if top is not None else {})

    def ask(self, request: str, top: int | None = None, system: str | None = None, **more: Any) -> Heard:
        """One request. Raises LimbeckError where no request to this server can succeed."""
        return self.send(self.body(request, top, system, **more))

    def send(self, body: dict[str, Any]) -> Heard:
        """One body to the path of the teacher's style."""
        url, data = self.endpoint.base_url + self.endpoint._path, json.dumps(body).encode()
        self._check_budget(body, data)
        status, content = 0, b""
        for turn in range(TRIES):
            status, content = self._post(url, data, turn)
            if status not in AGAIN:
                break
            time.sleep(0.25 * 2**turn)
        self.calls += 1
        if status in TO_MEND or status in AGAIN:
            raise LimbeckError(f"the server refuses: HTTP {status}: {replies.say_error(content)}", url, "check the key, the address and the model's name; nothing was spent but the self-test")
        reply = replies.parse(content) if status == 200 else None
        if status == 200 and reply is None:
            raise LimbeckError(f"the reply is not a completion: {content[:80].decode('utf-8', 'replace')!r}", url, "see that the address is that of an OpenAI-compatible API (it ends in /v1)")
        heard = Heard(reply, "" if reply else f"HTTP {status}: {replies.say_error(content)}", json.loads(content) if reply else {})
        if reply:
            self.tokens_in, self.tokens_out = self.tokens_in + (reply.tokens_in or 0), self.tokens_out + (reply.tokens_out or 0)
            self.endpoint.enter_cost(f"self-test-{self.calls}", reply.tokens_in, reply.tokens_out)
            self.heard.append(heard)
        return heard

    def _check_budget(self, body: dict[str, Any], data: bytes) -> None:
        """Raises LimbeckError where the most that a request can cost is not left."""
        budget = self.endpoint.budget
        if budget.allowance.usd is None and budget.allowance.tokens is None:
            return
        if not budget.fits_beside([budget.bound(body, len(data), int(body.get("n", 1)))]):
            raise LimbeckError(
                f"the budget is too small for the self-test: {budget.spent_tokens:,} tokens (${budget.spent_usd:.4f}) are spent, and the next request might pass it", self.endpoint.name,
                "raise teacher.budget_usd or teacher.budget_tokens, or set teacher.self_test = false",
            )  # fmt: skip

    def _post(self, url: str, data: bytes, turn: int) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.endpoint._key}"} if self.endpoint._key else {})
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=self.endpoint._timeout_s) as response:
                return response.status, response.read(LARGEST_REPLY_BYTES)
        except urllib.error.HTTPError as problem:
            return problem.code, problem.read(100_000)
        except (OSError, ValueError, http.client.HTTPException) as problem:
            if turn == TRIES - 1 or isinstance(problem, (ValueError, http.client.InvalidURL)):
                raise LimbeckError(f"the server cannot be reached: {getattr(problem, 'reason', problem)}", url, "see that it is up and that the address is right") from problem
            return 503, b""
