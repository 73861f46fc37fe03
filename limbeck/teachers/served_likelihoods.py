"""What a server says of likelihoods: whether they are numbers, make distributions, belong to the text, and come again when asked again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from limbeck.teachers.asking_once import Asker, Heard
from limbeck.teachers.findings import Finding, finding, judge_coverage, judge_gap

BEYOND = 1_000  # likeliest tokens that no server grants: its refusal or its cut shows the limit
NOT_SAID = -9_999.0  # what some servers put where they have no number
SAME_NATS, TIE_NATS, SUM_SLACK = 1e-3, 0.05, 1e-3
CODED = ("token_id:", "bytes:", "Ġ", "▁", "\ufffd")  # tokens written so are not pieces of the text as it stands


def check_likelihoods(asker: Asker, request: str, same: Sequence[Heard], top: int) -> list[Finding]:
    """All findings of likelihoods; `same` are the replies to one request asked again and again, with `top` likeliest tokens."""
    if not same[0].logprobs or not same[0].logprobs["logps"]:
        return [finding("likelihoods", "fail", "the server gave likelihoods for one token and none for more", "ask for fewer of the likeliest tokens, or learn from text alone")]
    return [_check_numbers(same[0]), _check_lists(same, asker.is_raw), _check_greedy(same), _check_again(asker, request, same[0]), _check_repeat(same), _check_top(same[0], top)]


def find_ceiling(asker: Asker, prompt: str, k: int) -> tuple[int | None, Finding]:
    """How many likeliest tokens the server gives: at most k; and its limit, by asking beyond it."""
    tried = [size for size in dict.fromkeys((k, 20, 10, 5, 1)) if size <= k]
    refused = ""
    for size in tried:
        heard = asker.ask(prompt, size, max_tokens=1)
        if heard.reply and heard.logprobs and heard.logprobs["top"] and heard.logprobs["top"][0]:
            given = len(heard.logprobs["top"][0])
            beyond = asker.ask(prompt, BEYOND, max_tokens=1)
            most = len(beyond.logprobs["top"][0]) if beyond.logprobs and beyond.logprobs["top"] else None
            limit = f"asked for {BEYOND:,} it gives {most}" if most else f"asked for {BEYOND:,} it says {beyond.said[:90]!r}" if beyond.said else f"asked for {BEYOND:,} it gives none"
            if size == k and given >= k:
                return size, finding("top-k ceiling", "pass", f"{k} are given; {limit}", asked=k, given=given, most=most)
            seen = f"{k} are asked, {given} given" if size == k else f"{k} are refused ({refused[:80]}), {size} given"
            return size, finding("top-k ceiling", "warn", f"{seen}; {limit}", "ask for fewer, or raise the server's limit (vLLM: --max-logprobs)", asked=k, given=given, most=most)
        if heard.reply:
            return None, finding("top-k ceiling", "not possible", "the server gives no log-probabilities", "text is all that can be learnt from: distill.soft = \"off\"", asked=k)
        refused = heard.said
    return None, finding("top-k ceiling", "not possible", f"the server refuses log-probabilities: {refused[:120]}", "text is all that can be learnt from: distill.soft = \"off\"", asked=k)


def _check_numbers(heard: Heard) -> Finding:
    logps = (heard.logprobs or {})["logps"]
    listed = [logp for top in (heard.logprobs or {})["top"] for _, logp, _ in top]
    fix = "see what sits between you and the model (a proxy, a cache); do not learn from these numbers"
    bad = next((v for v in [*logps, *listed] if not math.isfinite(v) or v > 1e-6), None)
    if bad is not None:
        return finding("likelihoods", "fail", f"{bad} stands where a log-probability should", fix)
    if len(logps) >= 4 and len(set(logps)) == 1:
        return finding("likelihoods", "fail", f"all {len(logps)} tokens have {logps[0]:g}", fix)
    if any(v <= NOT_SAID for v in logps):
        return finding("likelihoods", "fail", f"a written token has {min(logps):g}: the server had no number for it", fix)
    said = "".join(map(str, (heard.logprobs or {})["tokens"]))
    if heard.text.strip() and heard.text.strip() not in said and not any(mark in said for mark in CODED):
        return finding("likelihoods", "warn", f"they are of {said[:40]!r}, the text is {heard.text[:40]!r}", fix)
    if len(logps) >= 4 and all(abs(v * 10 - round(v * 10)) < 1e-9 for v in logps):
        return finding("likelihoods", "warn", "all are rounded to one decimal", "soft targets made of them are as coarse as that", tokens=len(logps))
    return finding("likelihoods", "pass", f"{len(logps)} tokens from {min(logps):.3g} to {max(logps):.3g} nats", tokens=len(logps), least=min(logps), mean=sum(logps) / len(logps))


def _check_lists(same: Sequence[Heard], is_raw: bool) -> Finding:
    lists = [[logp for _, logp, _ in top] for heard in same if heard.logprobs for top in heard.logprobs["top"] if top]
    sums = [sum(math.exp(min(v, 50.0)) for v in top) for top in lists]
    unsorted = sum(any(b > a + 1e-9 for a, b in pairwise(top)) for top in lists) if not is_raw else 0
    fix = "sort and renormalise nothing by hand: ask what made them; do not learn from these numbers"
    over = [s for s in sums if not s <= 1 + SUM_SLACK]
    if over:
        return finding("likelihood lists", "fail", f"{len(over)} of {len(lists)} lists sum to more than 1 (up to {max(over):.3g})", fix, most=max(over))
    if unsorted:
        return finding("likelihood lists", "fail", f"{unsorted} of {len(lists)} lists are not sorted", fix)
    return finding("likelihood lists", "pass", f"{len(lists)} lists, {'none sums above 1' if is_raw else 'sorted, none sums above 1'}", lists=len(lists))


def _check_greedy(same: Sequence[Heard]) -> Finding:
    other = differs = tokens = 0
    for heard in same:
        found = heard.logprobs or {"tokens": (), "logps": (), "top": ()}
        for token, logp, top in zip(found["tokens"], found["logps"], found["top"], strict=True):
            if not top:
                continue
            tokens += 1
            other += max(v for _, v, _ in top) > logp + TIE_NATS  # near ties are rounded either way
            differs += any(t == token and abs(v - logp) > SAME_NATS for t, v, _ in top)
    if other or differs:
        return finding("greedy choice", "fail", f"of {tokens} tokens {other} are not the likeliest in their list, {differs} have another number there", "see that temperature 0 reaches the model, and that numbers are of the raw distribution (vLLM: --logprobs-mode raw_logprobs)")
    return finding("greedy choice", "pass" if tokens else "not possible", f"all {tokens} tokens lead their list, with the same number" if tokens else "no list came", tokens=tokens)


def _check_again(asker: Asker, prompt: str, heard: Heard) -> Finding:
    """The written text scored anew as part of a prompt, where the server shows likelihoods of prompts."""
    name, fix = "likelihoods re-scored", "turn prefix caching off for scoring, and see that one model serves both; do not learn from these numbers"
    tokens, logps = _within(heard)
    again = _echoed(asker, prompt, heard.text) if asker.is_raw else _continued(asker, prompt, heard.text)
    if not again:
        return finding(name, "not possible", "the server does not show likelihoods of a prompt", "the checks by repeat and by list stand in for it")
    before = again[-len(tokens) :] if not asker.is_raw and len(again) >= len(tokens) else again
    if [t for t, _ in before] != tokens:
        total, other = sum(logps), sum(v for _, v in again)
        if asker.is_raw and math.isfinite(other):
            return judge_gap(name, [abs(total - other) / max(1, len(tokens))] * max(1, len(tokens)), "cut into other tokens the second time, so compared as a whole", fix)
        return finding(name, "not possible", "the text is cut into other tokens when it is scored", "the checks by repeat and by list stand in for it")
    return judge_gap(name, [abs(a - b) for a, (_, b) in zip(logps, before, strict=True)], "scored again as part of a prompt", fix)


def _within(heard: Heard) -> tuple[list[str], list[float]]:
    """Tokens that make up the text, without a stop token at the end."""
    found, text = heard.logprobs or {"tokens": [], "logps": []}, ""
    for count, token in enumerate(found["tokens"]):
        text += str(token)
        if not heard.text.startswith(text):
            return found["tokens"][:count], found["logps"][:count]
    return found["tokens"], found["logps"]


def _echoed(asker: Asker, prompt: str, text: str) -> list[tuple[str, float]]:
    body = asker.body(prompt, 1, max_tokens=1)
    start = len(body["prompt"])
    heard = asker.send(body | {"prompt": body["prompt"] + text, "echo": True})
    found = heard.choice.get("logprobs") or {}
    try:
        rows = zip(found["text_offset"], found["tokens"], found["token_logprobs"], strict=True)
        return [(str(token), float(logp)) for at, token, logp in rows if start <= at < start + len(text)]
    except (KeyError, TypeError, ValueError):
        return []


def _continued(asker: Asker, prompt: str, text: str) -> list[tuple[str, float]]:
    """vLLM's chat: the answer stands in the messages, unfinished, and every token of the prompt is scored."""
    body = asker.body(prompt, max_tokens=1)
    body["messages"].append({"role": "assistant", "content": text})
    heard = asker.send(body | {"prompt_logprobs": 0, "add_generation_prompt": False, "continue_final_message": True})
    try:
        rows = heard.document["prompt_logprobs"]
        entries = [next(iter(row.values())) for row in rows if row]
        return [(str(e["decoded_token"]), float(e["logprob"])) for e in entries]
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration):
        return []


def _check_repeat(same: Sequence[Heard]) -> Finding:
    gaps: list[float] = []
    first = same[0].logprobs or {"tokens": [], "logps": []}
    for heard in same[1:]:
        other = heard.logprobs or {"tokens": [], "logps": []}
        for a, b, p, q in zip(first["tokens"], other["tokens"], first["logps"], other["logps"], strict=False):
            if a != b:
                break
            gaps.append(abs(p - q))
    most = max(gaps, default=math.inf)
    outcome = "pass" if most <= SAME_NATS else "warn"
    return finding("likelihoods repeat", outcome, f"{len(same)} calls, {len(gaps)} tokens: {most:.3g} nats apart at most", "pin one replica or provider; average soft targets over calls, or do without them", max_nats=most, tokens=len(gaps))


def _check_top(heard: Heard, k: int) -> Finding:
    lists = [[logp for _, logp, _ in top] for top in (heard.logprobs or {})["top"] if top]
    if any(not math.isfinite(v) for top in lists for v in top):
        return finding("top-k coverage", "not possible", "the lists hold what is no number", "see the check of likelihoods")
    shares = {size: sum(sum(sorted(map(math.exp, top), reverse=True)[:size]) for top in lists) / len(lists) for size in {1, k}}
    return judge_coverage(k, shares, len(lists))


def check_pieces(heard: Heard, tokenizer: Any, soft: bool) -> Finding:
    """Whether the student's tokenizer cuts the teacher's text into the same pieces."""
    if soft:
        return finding("vocabulary", "fail", "a server does not show the numbers of its tokens", "learn from answers as text (distill.soft = \"off\"), or take a teacher with weights here")
    if tokenizer is None or not heard.logprobs:
        return finding("vocabulary", "not possible", "no student's tokenizer is given" if tokenizer is None else "the server does not show tokens", "answers as text can be learnt from by any student")
    theirs, _ = _within(heard)
    ours = [tokenizer.decode([i]) for i in tokenizer(heard.text, add_special_tokens=False)["input_ids"]]
    if theirs and [str(t).strip() for t in theirs] == [t.strip() for t in ours]:
        return finding("vocabulary", "pass", f"the student's tokenizer cuts the text into the same {len(theirs)} pieces (numbers of tokens cannot be seen)", tokens=len(theirs))
    return finding("vocabulary", "warn", f"the teacher wrote {len(theirs)} tokens, the student's tokenizer makes {len(ours)} of the text", "answers as text can be learnt from by any student")
