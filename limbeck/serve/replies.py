"""What a client is told, in OpenAI's forms: completions, chunks of a stream, usage where it is known.

Nothing is made up: usage is null unless tokens were counted, log-probabilities are null unless the answerer gave them. What OpenAI has no
field for (scores, marked cells, warnings) stands in `limbeck`, beside each choice and beside the whole.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from limbeck.records import Answer, Candidate
from limbeck.serve.desk import Told
from limbeck.serve.requests import Asked, Refused

FINISHES = frozenset(["stop", "length", "content_filter", "tool_calls", "function_call"])


def complete(asked: Sequence[Asked], told: Sequence[Told], model: str) -> dict[str, Any]:
    """The whole reply of a request. Raises Refused where an answer has nothing to show."""
    kind = asked[0].kind
    choices: list[dict[str, Any]] = []
    for one, found in zip(asked, told, strict=True):
        choices += _choices(one, found, len(choices))
    document = {
        "id": ("chatcmpl-" if kind == "chat" else "cmpl-") + secrets.token_hex(12), "object": "chat.completion" if kind == "chat" else "text_completion", "created": int(time.time()), "model": model,
        "choices": choices, "usage": usage_of([t.answer for t in told]),
    }  # fmt: skip
    more: dict[str, Any] = {}
    if any(t.left_out for t in told):
        more["left_out"] = sorted({name for t in told for name in t.left_out})
    missing = sorted({name for t in told for name in t.answer.meta.get("panel", {}).get("missing", {})})
    if missing:
        more["missing"] = missing
    return document | ({"limbeck": more} if more else {})


def _choices(asked: Asked, told: Told, first: int) -> list[dict[str, Any]]:
    answer = told.answer
    if answer.status == "failed":
        if answer.reason == "too long":
            raise Refused(400, "the prompt is longer than the model reads", code="context_length_exceeded", param="messages" if asked.kind == "chat" else "prompt")
        raise Refused(502, f"the model did not answer: {answer.reason or 'no reason given'}", code="no_answer")
    if answer.status == "refused":
        return [_choice(asked, Candidate(text=""), first, "content_filter", {}, refusal=answer.reason or "refused")]
    if not answer.candidates:
        if answer.reason.startswith("empty"):  # a language model may well say nothing
            return [_choice(asked, Candidate(text=""), first, "length" if "length" in answer.reason else "stop", {})]
        raise Refused(422, f"there is no answer: {answer.reason or 'no candidate is one'}; say it in other words", code="no_answer")
    finishes = answer.meta.get("finish") or []
    known = finishes if len(finishes) == len(answer.candidates) else []
    out = []
    for at, candidate in enumerate(answer.candidates[: asked.n]):
        finish = known[at] if known and known[at] in FINISHES else "stop"
        out.append(_choice(asked, candidate, first + at, finish, told.beside[at] if at < len(told.beside) else {}))
    return out


def _choice(asked: Asked, candidate: Candidate, index: int, finish: str, beside: Mapping[str, Any], refusal: str | None = None) -> dict[str, Any]:
    logprobs = _logprobs(candidate.meta.get("logprobs"), asked.kind) if asked.sampling.get("logprobs") not in (None, False) else None
    said: dict[str, Any] = {"message": {"role": "assistant", "content": candidate.text if refusal is None else None, "refusal": refusal}} if asked.kind == "chat" else {"text": candidate.text}
    return {"index": index, **said, "logprobs": logprobs, "finish_reason": finish} | ({"limbeck": plain(dict(beside))} if beside else {})


def plain(found: Any) -> Any:
    """The same without numbers that JSON has not."""
    if isinstance(found, float):
        return found if math.isfinite(found) else None
    if isinstance(found, Mapping):
        return {str(name): plain(value) for name, value in found.items()}
    return [plain(value) for value in found] if isinstance(found, list | tuple) else found


def _logprobs(found: Any, kind: str) -> dict[str, Any] | None:
    """A candidate's log-probabilities as this protocol writes them; None where there are none."""
    if not isinstance(found, Mapping) or not found.get("tokens"):
        return None
    tokens, logps, tops = found["tokens"], plain(found["logps"]), found.get("top") or [[] for _ in found["tokens"]]
    if kind == "chat":
        return {"content": [
            {"token": token, "logprob": logp, "bytes": None, "top_logprobs": [{"token": t[0], "logprob": plain(t[1]), "bytes": None} for t in top]} for token, logp, top in zip(tokens, logps, tops, strict=True)
        ], "refusal": None}  # fmt: skip
    starts = [sum(map(len, tokens[:at])) for at in range(len(tokens))]
    return {"tokens": tokens, "token_logprobs": logps, "top_logprobs": [{t[0]: plain(t[1]) for t in top} for top in tops], "text_offset": starts}


def usage_of(answers: Sequence[Answer]) -> dict[str, int] | None:
    """Tokens read and written, over all prompts and choices; None where any of it was not counted."""
    read = written = 0
    for answer in answers:
        tokens = answer.meta.get("tokens") or {}
        asked, said = tokens.get("prompt"), tokens.get("all", tokens.get("completion"))
        if not isinstance(asked, int) or not isinstance(said, int):
            return None
        read, written = read + asked, written + said
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def encode(document: Any) -> bytes:
    """JSON in ASCII: whatever a model writes arrives."""
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode("ascii")


def stream(document: Mapping[str, Any], kind: str, wants_usage: bool) -> Iterator[bytes]:
    """The same reply as server-sent events, each choice in one piece: nothing here is written token by token."""
    head = {name: document[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk" if kind == "chat" else "text_completion"}
    for choice in document["choices"]:
        index, beside = choice["index"], {"limbeck": choice["limbeck"]} if "limbeck" in choice else {}
        if kind == "chat":
            said = choice["message"]
            delta = {"role": "assistant", "content": said["content"]} | ({"refusal": said["refusal"]} if said["refusal"] is not None else {})
            yield _event(head, [{"index": index, "delta": delta, "logprobs": choice["logprobs"], "finish_reason": None, **beside}], wants_usage)
            yield _event(head, [{"index": index, "delta": {}, "logprobs": None, "finish_reason": choice["finish_reason"]}], wants_usage)
        else:
            yield _event(head, [dict(choice)], wants_usage)
    if wants_usage:
        yield b"data: " + encode({**head, "choices": [], "usage": document["usage"]}) + b"\n\n"
    yield b"data: [DONE]\n\n"


def _event(head: Mapping[str, Any], choices: list[dict[str, Any]], wants_usage: bool) -> bytes:
    return b"data: " + encode({**head, "choices": choices} | ({"usage": None} if wants_usage else {})) + b"\n\n"
