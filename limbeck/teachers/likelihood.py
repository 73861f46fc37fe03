"""Choices ranked by their likelihoods behind a server: letters by the first token's log-probabilities, texts by echoed prompts.

A letter is one token, so one request gives all of them (chat or completions with `logprobs`). A choice of several words needs the
log-probabilities of the prompt itself: one request a choice to /completions with `echo`, which vLLM and the like give.
Each ranking is by the whole log-probability and, apart, per byte of the choice: a long choice is not unlikely for its length alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.records import Answer, Candidate, Prompt

MOST_LISTED = 20  # log-probabilities a token that servers give at most
UNLISTED = 1e-3  # a letter that is not among them has less than the last one; this share of it is assumed
FIX = "use --by letter, or a server that gives them"


def by_letter(prompt: Prompt) -> bool:
    """Whether a prompt's choices are single letters."""
    return "choices" in prompt.context and all(len(c) == 1 for c in prompt.context["choices"])


def by_text(prompt: Prompt) -> bool:
    """Whether a prompt's choices are texts."""
    return "choices" in prompt.context and not by_letter(prompt)


def rank(prompt: Prompt, logps: Sequence[float], k: int = 1, **meta: Any) -> Answer:
    """Choices by log-probability; `meta["ranking"]` has (logp, logp per byte) of every choice in the order of the prompt."""
    choices = [str(c) for c in prompt.context["choices"]]
    each = [(logp, logp / max(1, len(choice.encode()))) for logp, choice in zip(logps, choices, strict=True)]
    order = sorted(range(len(choices)), key=lambda at: -each[at][0])
    top = each[order[0]][0]
    whole = sum(math.exp(logp - top) for logp, _ in each)
    candidates = tuple(Candidate(text=choices[at], score=each[at][0], meta={"logp_per_byte": each[at][1], "probability": math.exp(each[at][0] - top) / whole}) for at in order[: max(k, 1)])
    return Answer(prompt_id=prompt.id, candidates=candidates, meta={"by": "likelihood", "ranking": [[round(a, 5), round(b, 7)] for a, b in each], **meta})


def letter_body(body: dict[str, Any], raw: bool) -> dict[str, Any]:
    """The request that gives the first token's log-probabilities."""
    kept = {name: v for name, v in body.items() if name not in ("n", "max_tokens", "temperature")}
    return kept | {"max_tokens": 1, "temperature": 0} | ({"logprobs": MOST_LISTED} if raw else {"logprobs": True, "top_logprobs": MOST_LISTED})


def echo_body(body: dict[str, Any], choice: str) -> dict[str, Any]:
    """The request that gives the log-probabilities of a prompt with a choice after it. One token is written, since some servers refuse none."""
    kept = {name: v for name, v in body.items() if name not in ("n", "max_tokens", "temperature")}
    return kept | {"prompt": f"{body['prompt']} {choice}", "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}


def read_letters(prompt: Prompt, choice: dict[str, Any], where: str, k: int) -> Answer:
    """Letters ranked by what the server lists; " B" and "B" are one. Raises LimbeckError where it lists nothing."""
    listed = _listed(choice.get("logprobs"))
    if not listed:
        raise LimbeckError("the server gives no log-probabilities", where, FIX)
    chances: dict[str, float] = {}
    for token, logp in listed.items():
        chances[token.strip()] = chances.get(token.strip(), 0.0) + math.exp(min(0.0, logp))
    wanted = [chances.get(c, 0.0) for c in prompt.context["choices"]]
    if not any(wanted):
        return Answer(prompt_id=prompt.id, status="no_answer", reason=f"no choice among the {len(listed)} likeliest tokens")
    least = UNLISTED * min(chances.values()) or 1e-30
    return rank(prompt, [math.log(w or least) for w in wanted], k, unlisted=sum(not w for w in wanted))


def _listed(found: Any) -> dict[str, float]:
    """Token to log-probability at the first position, of either protocol."""
    try:
        if "content" in found:
            return {t["token"]: float(t["logprob"]) for t in found["content"][0]["top_logprobs"]}
        return {str(token): float(logp) for token, logp in found["top_logprobs"][0].items()}
    except (TypeError, KeyError, IndexError, ValueError, AttributeError):
        return {}


def read_echo(prompt: Prompt, choice: dict[str, Any], where: str) -> Answer:
    """The log-probability of the choice that stands at the end of an echoed prompt."""
    start, end = prompt.context["echo"]
    found: Any = choice.get("logprobs")
    try:
        pairs = [(at, logp) for at, logp in zip(found["text_offset"], found["token_logprobs"], strict=True) if start <= at < end]
        if not pairs or any(logp is None for _, logp in pairs):
            raise ValueError("no log-probability of the choice")
        total = sum(float(logp) for _, logp in pairs)
    except (TypeError, KeyError, ValueError) as problem:
        raise LimbeckError("the server does not give the log-probabilities of a prompt (echo)", where, FIX) from problem
    return Answer(prompt_id=prompt.id, candidates=(Candidate(text="", score=total),))


def unfold(prompts: Sequence[Prompt], render: Callable[[Prompt], str], k: int, done: Callable[[int, Answer], None]) -> tuple[list[Prompt], Callable[[int, Answer], None]]:
    """Prompts whose choices are texts become one prompt a choice; the `done` returned puts their answers together again."""
    flat: list[Prompt] = []
    origin: list[tuple[int, int]] = []
    for at, prompt in enumerate(prompts):
        if not by_text(prompt):
            flat.append(prompt)
            origin.append((at, 0))
            continue
        text = render(prompt)
        for number, choice in enumerate(prompt.context["choices"]):
            context = {name: v for name, v in prompt.context.items() if name != "choices"}
            flat.append(Prompt(id=f"{prompt.id}#{number}", text=prompt.text, context={**context, "echo": (len(text), len(text) + 1 + len(choice)), "said": choice}))
            origin.append((at, number))
    waiting: dict[int, dict[int, Answer]] = {}

    def collect(place: int, answer: Answer) -> None:
        at, number = origin[place]
        if not by_text(prompts[at]):
            done(at, answer)
            return
        parts = waiting.setdefault(at, {})
        parts[number] = answer
        if len(parts) == len(prompts[at].context["choices"]):
            done(at, _together(prompts[at], [parts[n] for n in range(len(parts))], k))

    return flat, collect


def _together(prompt: Prompt, parts: Sequence[Answer], k: int) -> Answer:
    lost = next((p for p in parts if p.status != "scored"), None)
    if lost:
        return Answer(prompt_id=prompt.id, status=lost.status, reason=lost.reason)
    costs = [p.cost_usd for p in parts if p.cost_usd is not None]
    ranked = rank(prompt, [p.candidates[0].score for p in parts], k, model=parts[0].meta.get("model"), replayed=all(p.meta.get("replayed") for p in parts))
    return Answer(prompt_id=prompt.id, candidates=ranked.candidates, cost_usd=sum(costs) if costs else None, meta=ranked.meta)
