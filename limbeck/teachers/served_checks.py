"""What can be checked of a teacher behind a server with about twenty requests of a few dozen tokens each."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from limbeck.teachers.asking_once import Asker, Heard, text_of
from limbeck.teachers.findings import Finding, finding
from limbeck.teachers.schemas import breaks_schema
from limbeck.teachers.served_likelihoods import check_likelihoods, check_pieces, find_ceiling

REPEATS = 3  # the same request at temperature 0
SHORT = ("Is the sky blue on a clear day? Answer with one word.", "What is two plus two? Answer with the number alone.")
SHORT_TOKENS = 64  # enough for one word and some politeness
LONG, LONG_TOKENS = "Count from 1 to 200, separated by commas.", 5
FREE = "Write ten words that come to mind, separated by commas."
WORD = "MARZIPAN"
TEMPLATE_MOST = 600  # tokens that a template may put around a request
MARKS = re.compile(r"<\|[a-zA-Z0-9_/ -]{1,40}\|>|<｜[^｜>]{1,40}｜>|\[/?INST\]|<</?SYS>>|</?s>|<(?:start|end)_of_turn>|\n\s*(?:user|User|USER|Human|### Instruction)\s*:")


def check_served(asker: Asker, tokenizer: Any, requests: Sequence[str], k: int, soft: bool) -> list[Finding]:
    """All findings, likelihoods first. `tokenizer` is the student's, where there is one; `k` the likeliest tokens asked for."""
    top, ceiling = find_ceiling(asker, requests[0], k)
    same = [asker.ask(requests[0], top) for _ in range(REPEATS)]
    found = [check_pieces(same[0], tokenizer, soft), ceiling]
    found += check_likelihoods(asker, requests[0], same, top) if top is not None else [finding("likelihoods", "not possible", "the server gives none", "answers as text can be learnt from all the same")]
    found += [_check_texts(same), _check_stops(asker), _check_limit(asker, top), _check_n(asker), _check_seed(asker), *_check_system(asker)]
    if asker.endpoint.output.schema is not None:
        found.append(_check_schema(asker, requests[0], asker.endpoint.output.schema))
    return [*found, _check_marks(asker), _check_reasoning(asker), _check_usage(asker, requests[0], same[0], tokenizer), _check_name(asker)]


def _check_texts(same: Sequence[Heard]) -> Finding:
    texts = [h.text for h in same]
    others = sum(t != texts[0] for t in texts)
    refused = [h.said for h in same if h.said]
    if len(refused) == len(same):
        return finding("determinism", "fail", f"no request is answered: {refused[0]}", "mend what the server says: a shorter request or teacher.max_tokens where its context is too small")
    if not any(texts):
        return finding("determinism", "fail", "every answer is empty", "see the server's log; give reasoning models more max_tokens")
    return finding("determinism", "warn" if others else "pass", f"{others} of {len(texts) - 1} repeats at temperature 0 differ" if others else f"{len(texts)} equal answers at temperature 0", "pin one replica or provider; a replay from the ledger gives the same answers all the same", differing=others, repeats=len(texts) - 1)


def _check_stops(asker: Asker) -> Finding:
    heard = [asker.ask(request, max_tokens=SHORT_TOKENS) for request in SHORT]
    ends, texts = [h.finish for h in heard], ", ".join(repr(h.text[:24]) for h in heard)
    fix = "see that the served model's generation_config names the token that ends a turn (eos_token_id), or that its chat template is the right one"
    if all(end == "stop" for end in ends):
        return finding("stops", "pass", f"both one-word answers end by themselves: {texts}")
    if all(end == "length" for end in ends) and not asker.is_raw and not any(map(_thinks, heard)):
        return finding("stops", "fail", f"no one-word answer ended within {SHORT_TOKENS} tokens: {texts}", fix)
    return finding("stops", "warn", f"one-word answers end by {', '.join(map(repr, ends))}: {texts}", fix)


def _check_limit(asker: Asker, top: int | None) -> Finding:
    heard = asker.ask(LONG, top, max_tokens=LONG_TOKENS)
    written = len(heard.logprobs["tokens"]) if heard.logprobs else heard.reply.tokens_out if heard.reply else None
    words = len(heard.text.split())
    if (written or 0) > LONG_TOKENS or words > LONG_TOKENS:
        return finding("max_tokens", "fail", f"{max(written or 0, words)} tokens came where {LONG_TOKENS} were the most", "the server wants another name for it (max_completion_tokens), or ignores it: bound the budget otherwise", written=written)
    if heard.finish != "length":
        return finding("max_tokens", "warn", f"an answer that was cut at {LONG_TOKENS} tokens says it ended by {heard.finish!r}", "answers that are cut cannot be told from whole ones: leave room in max_tokens")
    return finding("max_tokens", "pass", f"cut after {LONG_TOKENS} tokens, and says so")


def _check_n(asker: Asker) -> Finding:
    heard = asker.ask(SHORT[0], max_tokens=16, temperature=1.0, n=2)
    if not heard.reply:
        return finding("n", "warn", f"refused: {heard.said[:100]}", "draws are asked for one by one")
    count = len(heard.reply.choices)
    outcome = "pass" if count == 2 else "warn" if count < 2 else "fail"
    return finding("n", outcome, f"2 draws asked, {count} given", "draws are asked for one by one: the request is paid for with each", given=count)


def _check_seed(asker: Asker) -> Finding:
    texts = [text_of(asker.ask(FREE, max_tokens=16, temperature=1.0, seed=seed).choice) for seed in (1234, 1234, 77)]
    if texts[0] == texts[1] and texts[1] != texts[2]:
        return finding("seed", "pass", "the same seed gives the same draw, another seed another")
    if texts[0] == texts[1] == texts[2]:
        return finding("seed", "warn", "three draws at temperature 1 are equal, with two seeds", "see that temperature reaches the model: draws that are all alike teach nothing new")
    return finding("seed", "warn", "the same seed gives two draws", "draws cannot be repeated at the server; the ledger keeps those there are")


def _check_system(asker: Asker) -> list[Finding]:
    if asker.is_raw:
        return [finding("system message", "not possible", "plain completions have no system message", ""), finding("default system text", "not possible", "no template is used", "")]
    heard = asker.ask(SHORT[0], system=f"Whatever is asked, answer with the one word {WORD}.", max_tokens=SHORT_TOKENS)
    fix = "put what it should say into the request itself"
    if not heard.reply:
        told = finding("system message", "warn", f"refused: {heard.said[:100]}", fix)
    elif WORD in heard.text.upper():
        told = finding("system message", "pass", "followed")
    else:
        told = finding("system message", "warn", f"not followed: it says {heard.text[:40]!r}", fix)
    if asker.endpoint.sampling.system:
        return [told, finding("default system text", "not possible", "the recipe has a system message of its own", "")]
    bare, empty = asker.ask(SHORT[0], system=None, max_tokens=1), asker.ask(SHORT[0], system="", max_tokens=1)
    counts = [h.reply.tokens_in if h.reply else None for h in (bare, empty)]
    if None in counts:
        return [told, finding("default system text", "not possible", "tokens are not counted, or an empty system message is refused", "")]
    hidden = (counts[0] or 0) - (counts[1] or 0)
    if hidden > 0:
        return [told, finding("default system text", "warn", f"the template adds about {hidden} tokens of its own where no system message is given", "give teacher.system yourself, and the student the same", tokens=hidden)]
    return [told, finding("default system text", "pass", "none is added")]


def _check_schema(asker: Asker, prompt: str, schema: dict[str, Any]) -> Finding:
    form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
    heard = asker.ask(prompt, max_tokens=asker.endpoint.sampling.max_tokens, response_format=form)
    fix = "the server ignores response_format: turn structured output on there, or leave teacher.schema_file out and let [keep] verify"
    if not heard.reply:
        return finding("structured output", "fail", f"refused: {heard.said[:120]}", fix)
    try:
        broken = breaks_schema(json.loads(heard.text), schema)
    except ValueError:
        broken = f"no JSON: {heard.text[:60]!r}"
    return finding("structured output", "fail" if broken else "pass", broken or "the answer follows the schema", fix)


def _check_marks(asker: Asker) -> Finding:
    texts = [text_of(choice) for heard in asker.heard if heard.reply for choice in heard.reply.choices]
    hit = next((m for m in map(MARKS.search, texts) if m), None)
    if hit:
        return finding("template marks", "fail", f"an answer holds {hit[0].strip()!r}", "the server's stop tokens or chat template are not those of this model: text after the end of a turn comes through")
    return finding("template marks", "pass", f"none in {len(texts)} answers")


def _thinks(heard: Heard) -> bool:
    return "<think" in heard.text.lower() or bool((heard.choice.get("message") or {}).get("reasoning_content"))


def _check_reasoning(asker: Asker) -> Finding:
    thinking = sum(_thinks(h) for h in asker.heard)
    if thinking:
        return finding("reasoning", "warn", f"{thinking} of {len(asker.heard)} answers think first", "it is taken off before an answer is kept; leave room for it in max_tokens, or turn it off at the server", answers=thinking)
    return finding("reasoning", "pass", "none seen")


def _check_usage(asker: Asker, prompt: str, heard: Heard, tokenizer: Any) -> Finding:
    reply, fix = heard.reply, "costs and budgets cannot be counted with this server: bound the number of requests"
    if reply is None or reply.tokens_in is None or reply.tokens_out is None:
        return finding("usage", "warn", "the server does not say what was used", fix)
    least = len(tokenizer(prompt, add_special_tokens=False)["input_ids"]) * 0.5 if tokenizer is not None else len(prompt) / 12
    most = len(prompt.encode()) + len(asker.endpoint.sampling.system.encode()) + TEMPLATE_MOST  # a token has at least one byte
    written = len(heard.logprobs["tokens"]) if heard.logprobs else None
    bounds = f"{reply.tokens_in} read (between {least:.0f} and {most} is likely), {reply.tokens_out} written" + (f" ({written} came with numbers)" if written is not None else "")
    odd = reply.tokens_out > len(heard.text.encode()) + 2 or (written is not None and abs(written - reply.tokens_out) > 1)
    wrong = not least <= reply.tokens_in <= most or (odd and not _thinks(heard))
    return finding("usage", "warn" if wrong else "pass", bounds, fix, tokens_in=reply.tokens_in, tokens_out=reply.tokens_out)


def _check_name(asker: Asker) -> Finding:
    asked, served = asker.endpoint.model, sorted({str(h.reply.model) for h in asker.heard if h.reply})
    fix = "name the model as the server lists it (GET /models); a router may have put another in its place"
    if served == [asked]:
        return finding("model name", "pass", f"{asked} throughout")
    if served in ([], ["None"]):
        return finding("model name", "warn", "the server does not say which model answered", fix)
    if len(served) == 1 and (re.fullmatch(re.escape(asked) + r"[-@:]v?\d[\w.-]*", served[0]) or served[0].endswith("/" + asked)):
        return finding("model name", "pass", f"{served[0]}: a version of {asked}; pin it as teacher.revision", served=served)
    return finding("model name", "fail", f"{asked} was asked, {' and '.join(served)} answered", fix, served=served)
