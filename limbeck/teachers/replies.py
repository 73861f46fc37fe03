"""What a server sends, read with suspicion: completions, errors, web pages, log-probabilities; and draws put together into an Answer."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from limbeck.records import Answer, Candidate, Prompt
from limbeck.teachers.budget import cost_of
from limbeck.teachers.ledger import Draw

LONGEST_PAUSE_S = 60.0
REASONING = re.compile(r"<(think|thinking|reasoning)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_TOO_LONG = re.compile(r"context[ _-]?(length|window|size)|maximum (context|input|sequence)|too (long|many (input |prompt )?tokens)|exceeds? .{0,60}(token|context)|prompt is longer", re.IGNORECASE)
_FILTERED = re.compile(r"content[ _-]?(filter|management policy|policy)|ResponsibleAIPolicy", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """A completion: its choices in order, the tokens of the whole request (None where the server does not say), and who served it."""

    choices: list[dict[str, Any]]
    tokens_in: int | None
    tokens_out: int | None
    model: str | None
    fingerprint: str


def parse(content: bytes) -> Reply | None:
    """A completion, or None where it is none."""
    try:
        return read_reply(json.loads(content))
    except (ValueError, RecursionError):
        return None


def read_reply(document: Any) -> Reply | None:
    """The same of a document already parsed."""
    try:
        choices = [dict(c) for c in document["choices"]]
        if any(not isinstance(c.get("message") or {}, dict) for c in choices):
            return None
        numbers = [c.get("index") for c in choices]
        if all(isinstance(n, int) for n in numbers) and len(set(numbers)) == len(numbers):
            choices.sort(key=lambda c: c["index"])
        usage = document.get("usage")
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    read, written = (usage.get(f"{name}_tokens") if isinstance(usage, dict) else None for name in ("prompt", "completion"))
    model = document.get("model")
    return Reply(
        choices, read if isinstance(read, int) and read >= 0 else None, written if isinstance(written, int) and written >= 0 else None,
        model if isinstance(model, str) else None, str(document.get("system_fingerprint") or ""),
    )  # fmt: skip


def draws_of(reply: Reply, *, first: int, asked: int, request: str, price_usd: tuple[float, float] | None, latency_s: float, revision: str) -> list[Draw]:
    """A reply's choices as draws from number `first` on. Tokens are parted so that they add up to the request's."""
    count, at = len(reply.choices), time.time()
    draws = []
    for number, choice in enumerate(reply.choices):
        message = choice.get("message") or {}
        text = message.get("content") if "message" in choice else choice.get("text")
        refusal = message.get("refusal") or ("content filter" if choice.get("finish_reason") == "content_filter" else "")
        more = {name: found for name, found in (("logprobs", choice.get("logprobs")), ("reasoning", message.get("reasoning_content")), ("tool_calls", message.get("tool_calls"))) if found}
        read, written = _share(reply.tokens_in, count, number), _share(reply.tokens_out, count, number)
        draws.append(Draw(
            number=first + number, request=request, asked=asked, text=text if isinstance(text, str) else None, finish=choice.get("finish_reason"), refusal=str(refusal), model=reply.model,
            revision=revision or reply.fingerprint, tokens_in=read, tokens_out=written, cost_usd=cost_of(price_usd, read, written), latency_s=latency_s, time=at, more=more,
        ))  # fmt: skip
    return draws


def _share(total: int | None, count: int, number: int) -> int | None:
    return None if total is None else total // count + (number < total % count)


def read_answer(prompt: Prompt, draws: Sequence[Draw], k: int, *, paid: Collection[str], host: str, keep_reasoning: bool) -> Answer:
    """The first `k` of the draws there are as an Answer; `paid` are the requests that were paid for now."""
    used = draws[: max(k, 1)]
    meta = {**meta_of(draws, k, paid, host), "finish": [d.finish for d in used]}
    came, requests = Counter(d.request for d in draws), {d.request for d in used}
    if not used or any(came[d.request] != d.asked for d in used):  # kept, and said: another number of choices
        meta |= {"asked": k, "given": sum(came[r] for r in requests), "requests": max(1, len(requests))}
    cost, candidates = spend_of(draws, paid), []
    for draw in used:
        if draw.text:
            candidates.append(Candidate(text=draw.text if keep_reasoning else strip_reasoning(draw.text), meta=_candidate_meta(draw)))
    refusal = next((d.refusal for d in used if d.refusal), "")
    if not candidates:
        reason = refusal or f"empty ({used[0].finish if used else 'no choices'})"
        return Answer(prompt_id=prompt.id, status="refused" if refusal else "no_answer", reason=reason, cost_usd=cost, meta=meta)
    return Answer(prompt_id=prompt.id, candidates=tuple(candidates), cost_usd=cost, meta=meta)


def meta_of(draws: Sequence[Draw], k: int, paid: Collection[str], host: str) -> dict[str, Any]:
    """Tokens of the first `k` draws, who served them, and whether all of them were there before."""
    used = draws[: max(k, 1)]
    read, written = ([getattr(d, f"tokens_{name}") for d in used] for name in ("in", "out"))
    meta: dict[str, Any] = {
        "tokens": {"prompt": None if None in read or not read else sum(read), "completion": None if None in written or not written else sum(written)},
        "model": used[0].model if used else None, "replayed": bool(used) and not any(d.request in paid for d in used), "host": host,
    }  # fmt: skip
    return meta | ({"revision": used[0].revision} if used and used[0].revision else {})


def spend_of(draws: Sequence[Draw], paid: Collection[str]) -> float | None:
    """Dollars paid now; None where a price is unknown."""
    if not draws or any(d.cost_usd is None for d in draws):
        return None
    return sum(d.cost_usd or 0.0 for d in draws if d.request in paid)


def choice_of(draw: Draw) -> dict[str, Any]:
    """A draw as the choice that it was, for whoever reads its log-probabilities."""
    return {"text": draw.text, "logprobs": draw.more.get("logprobs")}


def _candidate_meta(draw: Draw) -> dict[str, Any]:
    found = read_logprobs(draw.more.get("logprobs"))
    meta: dict[str, Any] = {"logprobs": found} if found else {}
    return meta | {name: draw.more[name] for name in ("reasoning", "tool_calls") if name in draw.more}


def read_logprobs(found: Any) -> dict[str, Any] | None:
    """{"tokens", "logps" in nats, "ids" or None, "top"}: one entry a token written; `top` lists [token, logp, id or None]. Of either protocol."""
    try:
        if found.get("content") is not None:
            entries = found["content"]
            tops = [[[t["token"], float(t["logprob"]), _id(t)] for t in e.get("top_logprobs") or []] for e in entries]
            tokens, logps, ids = [e["token"] for e in entries], [float(e["logprob"]) for e in entries], [_id(e) for e in entries]
        else:
            tokens, logps = list(found["tokens"]), [float(v) for v in found["token_logprobs"]]
            tops = [[[t, float(v), _id({"token": t})] for t, v in (top or {}).items()] for top in found.get("top_logprobs") or [None] * len(tokens)]
            ids = [_id({"token": t}) for t in tokens]
    except (TypeError, KeyError, ValueError, AttributeError):
        return None
    return {"tokens": tokens, "logps": logps, "ids": None if None in ids or not ids else ids, "top": tops}


def _id(entry: dict[str, Any]) -> int | None:
    """A token's number where a server gives it: as `id` or `token_id`, or vLLM's "token_id:N" in place of the token."""
    for name in ("id", "token_id"):
        if isinstance(entry.get(name), int):
            return entry[name]
    token = str(entry["token"])
    return int(token[9:]) if token.startswith("token_id:") and token[9:].isdigit() else None


def strip_reasoning(text: str) -> str:
    """A text without its <think> part; one that never ends leaves nothing. Some templates open it in the prompt: only its end is seen."""
    if "<" not in text:
        return text
    left = REASONING.sub("", text)
    return left.rpartition("</think>")[2].strip()


def say_error(content: bytes) -> str:
    """What a server says of its error, in one line."""
    text = content[:2000].decode("utf-8", "replace")
    try:
        error = json.loads(text)["error"]
        text = error["message"] if isinstance(error, dict) else str(error)
    except (ValueError, KeyError, TypeError):
        pass
    return " ".join(str(text).split())[:200]


def is_web_page(content: bytes, kind: str) -> bool:
    """Whether a reply is HTML."""
    return "text/html" in kind or content[:256].lstrip().lower().startswith((b"<!doctype", b"<html"))


def refusal_of(status: int, content: bytes) -> str:
    """"too long" or "content filter" where that is why a request is turned down: asking it again is of no use. Else ""."""
    if status not in (400, 413, 422):
        return ""
    text = content[:4000].decode("utf-8", "replace")
    if _FILTERED.search(text):
        return "content filter"
    return "too long" if status == 413 or _TOO_LONG.search(text) else ""


def seconds_to_wait(header: str | None) -> float:
    """Retry-After, in seconds or as a date; at most a minute, 0 where there is none."""
    if not header:
        return 0.0
    try:
        wait_s = float(header)
    except ValueError:
        try:
            wait_s = parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, TypeError):
            return 0.0
    return min(LONGEST_PAUSE_S, max(0.0, wait_s))
