"""What a client asks, read with suspicion: a JSON body in OpenAI's form becomes `Asked`, or is refused with a status and the field at fault.

What would change the answer and is not heeded is refused, never passed over in silence; fields that only speak of the sender are left out.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from limbeck.errors import LimbeckError

Kind = Literal["chat", "text"]
LONGEST = 200_000  # characters of all messages
MOST_PROMPTS = 64  # of one /v1/completions request
# Fields that say nothing of the answer.
IDLE = frozenset(["user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls"])
# Fields that ask for what nobody here does, with the values that ask for nothing.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "temperature": (0,), "top_p": (1,), "presence_penalty": (0,), "frequency_penalty": (0,), "logprobs": (False,), "best_of": (1,), "echo": (False,), "suffix": ("",), "tools": ([],), "functions": ([],),
    "tool_choice": ("none", "auto"), "function_call": ("none", "auto"), "response_format": ({"type": "text"},), "logit_bias": ({},), "modalities": (["text"],), "max_tokens": (), "stop": ([],), "seed": (), "top_logprobs": (0,),
    "audio": (), "prediction": (), "reasoning_effort": (), "verbosity": (), "web_search_options": (),
}  # fmt: skip
SAMPLING = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "seed", "logprobs", "top_logprobs", "presence_penalty", "frequency_penalty")
OWN = ("model", "messages", "prompt", "n", "stream", "stream_options", "limbeck")


class Refused(Exception):
    """A request that gets no answer: HTTP status, and what OpenAI's error objects hold. `wait_s` becomes Retry-After."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None, kind: str = "", wait_s: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param, self.wait_s = status, message, code, param, wait_s
        self.kind = kind or ("server_error" if status >= 500 else "invalid_request_error")

    def document(self) -> dict[str, Any]:
        """The body of the reply."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}

    @classmethod
    def of(cls, problem: LimbeckError, status: int = 400, param: str | None = None, code: str | None = None) -> Refused:
        """An error of ours for whoever asks over HTTP: what is wrong and how to mend it."""
        return cls(status, f"{problem.what}: {problem.fix}", param=param or (problem.where if problem.where.startswith("limbeck.") else None), code=code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One prompt of one request. `sampling` holds what was asked of the answerer's own settings, `extra` the field `limbeck`."""

    text: str
    messages: tuple[Mapping[str, str], ...] = ()
    n: int = 1
    kind: Kind = "chat"
    sampling: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = False
    wants_usage: bool = False


def read_document(content: bytes) -> dict[str, Any]:
    """A body as an object. Raises Refused."""
    try:
        found = json.loads(content, parse_constant=_no_number)
        if b"\\ud" in content.lower():
            json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError as problem:
        raise Refused(400, "the body holds half of a surrogate pair, which is no text", code="invalid_json") from problem
    except (ValueError, RecursionError) as problem:
        raise Refused(400, f"the body is no JSON: {str(problem)[:200] or 'it is nested too deeply'}", code="invalid_json") from problem
    if not isinstance(found, dict):
        raise Refused(400, "the body is no JSON object", code="invalid_json")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def read_asked(kind: Kind, body: Mapping[str, Any], *, names: Collection[str], takes: Collection[str], most: int) -> list[Asked]:
    """The prompts of a request (several only of /v1/completions). Raises Refused, naming the field."""
    _check_model(body.get("model"), names)
    _check_fields(body, kind, takes)
    n = _integer(body, "n", 1, 1, most)
    stream = _flag(body, "stream")
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise _wrong("stream_options", "give an object")
    extra = body.get("limbeck")
    if extra is not None and not isinstance(extra, dict):
        raise _wrong("limbeck", "give an object, for instance {\"table\": \"Rep,Sales\\nAnn,1200\"}")
    shared: dict[str, Any] = {"n": n, "kind": kind, "sampling": _sampling(body, takes), "extra": extra or {}, "stream": stream, "wants_usage": bool(options and options.get("include_usage"))}
    if kind == "chat":
        messages = _messages(body.get("messages"))
        users = [m["content"] for m in messages if m["role"] == "user"]
        if not users or not users[-1].strip():
            raise _wrong("messages", "the last message of role user is empty, or there is none")
        return [Asked(text=users[-1], messages=messages, **shared)]
    return [Asked(text=text, messages=({"role": "user", "content": text},), **shared) for text in _prompts(body.get("prompt"))]


def _check_model(model: Any, names: Collection[str]) -> None:
    if not isinstance(model, str) or not model:
        raise _wrong("model", f"name the model: {sorted(names)[0]!r}")
    if model not in names:
        raise Refused(404, f"the model {model[:200]!r} is not served here; this one is: {sorted(names)[0]!r}", code="model_not_found", param="model")


def _check_fields(body: Mapping[str, Any], kind: Kind, takes: Collection[str]) -> None:
    """Every field is one we heed, one that says nothing of the answer, or one with a value that asks for nothing."""
    misplaced = "prompt" if kind == "chat" else "messages"
    if misplaced in body:
        raise _wrong(misplaced, "/v1/chat/completions takes messages, /v1/completions takes prompt")
    for name, value in body.items():
        if name in OWN or name in IDLE or name in takes or value is None:
            continue
        plain = "max_tokens" if name == "max_completion_tokens" else name
        if plain in takes:
            continue
        if plain not in NEUTRAL:
            raise Refused(400, f"the field {name[:100]!r} is not known", code="unknown_parameter", param=name[:100])
        if not any(value == neutral and isinstance(value, bool) == isinstance(neutral, bool) for neutral in NEUTRAL[plain]):
            raise Refused(400, f"this model takes no {name!r}: leave it out; it takes {', '.join(sorted(takes)) or 'none of the sampling fields'}", code="unsupported_parameter", param=name)


def _sampling(body: Mapping[str, Any], takes: Collection[str]) -> dict[str, Any]:
    """What is asked of the answerer's own settings, checked."""
    out: dict[str, Any] = {}
    for name in SAMPLING:
        value, plain = body.get(name), name if name in takes else "max_tokens" if name == "max_completion_tokens" else name
        if value is None or plain not in takes:
            continue
        if plain in ("temperature", "top_p", "presence_penalty", "frequency_penalty"):
            low, high = (0.0, 2.0) if plain == "temperature" else (0.0, 1.0) if plain == "top_p" else (-2.0, 2.0)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise _wrong(name, f"give a number from {low:g} to {high:g}")
            out[plain] = value
        elif plain == "stop":
            words = [value] if isinstance(value, str) else value
            if not isinstance(words, list) or len(words) > 4 or any(not isinstance(w, str) or not w for w in words):
                raise _wrong(name, "give a text, or at most four, none of them empty")
            out[plain] = list(words)
        elif plain == "logprobs" and isinstance(value, bool):
            out[plain] = value
        else:
            out[plain] = _integer(body, name, 0, 1 if plain.startswith("max_") else -(2**63) if plain == "seed" else 0, 20 if plain in ("top_logprobs", "logprobs") else 2**63 - 1)
    return out


def _messages(found: Any) -> tuple[dict[str, str], ...]:
    if not isinstance(found, list) or not found:
        raise _wrong("messages", "give a list with at least one message")
    out: list[dict[str, str]] = []
    for at, message in enumerate(found):
        where = f"messages[{at}]"
        if not isinstance(message, dict) or message.get("role") not in ("system", "developer", "user", "assistant"):
            raise _wrong(where, "a message is an object with a role (system, developer, user or assistant) and a content")
        out.append({"role": "system" if message["role"] == "developer" else message["role"], "content": _content(message.get("content"), f"{where}.content")})
    _check_length(sum(len(m["content"]) for m in out), "messages")
    return tuple(out)


def _content(found: Any, where: str) -> str:
    if isinstance(found, str):
        return found
    if not isinstance(found, list) or not found:
        raise _wrong(where, "give a text, or a list of text parts")
    for part in found:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise _wrong(where, "only parts of type text are read: no pictures, sounds or files")
    return "\n".join(part["text"] for part in found)


def _prompts(found: Any) -> list[str]:
    prompts = [found] if isinstance(found, str) else found
    if not isinstance(prompts, list) or not prompts or len(prompts) > MOST_PROMPTS or any(not isinstance(p, str) or not p.strip() for p in prompts):
        raise _wrong("prompt", f"give a text, or a list of at most {MOST_PROMPTS} texts, none of them empty (token numbers are not read)")
    _check_length(sum(map(len, prompts)), "prompt")
    return prompts


def _check_length(length: int, param: str) -> None:
    if length > LONGEST:
        raise Refused(400, f"the request has {length:,} characters: at most {LONGEST:,} are read", code="context_length_exceeded", param=param)


def _integer(body: Mapping[str, Any], name: str, standard: int, low: int, high: int) -> int:
    value = body.get(name)
    if value is None:
        return standard
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _wrong(name, f"give a whole number from {low:,} to {high:,}" if high < 2**62 else f"give a whole number of at least {low:,}" if low > -(2**62) else "give a whole number")
    return value


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise _wrong(name, "give true or false")
    return bool(value)


def _wrong(param: str, fix: str) -> Refused:
    return Refused(400, f"{param} is missing or has a wrong value: {fix}", code="invalid_value", param=param)
