"""A teacher behind a server, tried with about ten short requests: what it says of likelihoods, draws, limits, usage and itself."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from limbeck.teachers.asking_once import Asker, Heard, text_of
from limbeck.teachers.findings import Finding, finding, judge_coverage, judge_gap

LONGEST, REPEATS = 48, 3
MARKS = ("<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "[INST]", "[/INST]", "<start_of_turn>", "<end_of_turn>", "<|assistant|>", "<|user|>")


def check_served(asker: Asker, student: Any, requests: Sequence[str], k: int, soft: bool) -> list[Finding]:
    """All findings. A server shows no vocabulary: distributions can only be learnt from weights."""
    same = [asker.ask(requests[0], max_tokens=LONGEST) for _ in range(REPEATS)]
    found = [_determinism(same), _stops(same + [asker.ask(text, max_tokens=LONGEST) for text in requests[1:]]), _marks(same), _length(asker, requests[0]), _draws(asker, requests[0]), _seed(asker, requests[0]), *_usage(same, student, requests[0])]
    found += _likelihoods(asker, requests[0], min(k, 20))
    found += [_name(asker, same[0]), _reasoning(same[0]), _schema(asker)]
    return [*found, *([finding("vocabulary", "fail", "a server's vocabulary is not seen from here", "soft targets need weights here")] if soft else [])]


def _determinism(same: Sequence[Heard]) -> Finding:
    texts = {heard.text for heard in same}
    return finding("determinism", "pass" if len(texts) == 1 else "warn", f"{len(texts)} different answers to {len(same)} equal requests at temperature 0", "replays come from the ledger all the same; ask the server for one replica or a seed", answers=len(texts))


def _stops(heard: Sequence[Heard]) -> Finding:
    ended = sum(h.finish == "stop" for h in heard)
    return finding("stops", "pass" if ended else "warn", f"{ended} of {len(heard)} answers end by themselves within {LONGEST} tokens", "a stop token may be missing in the server's settings; long answers are paid for whole")


def _marks(heard: Sequence[Heard]) -> Finding:
    marks = sorted({mark for h in heard for mark in MARKS if mark in h.text})
    return finding("template marks", "fail" if marks else "pass", f"marks in answers: {', '.join(marks)}" if marks else "no mark of a template is in an answer", "give the server the right chat template or stop tokens")


def _length(asker: Asker, request: str) -> Finding:
    heard = asker.ask(request, max_tokens=4)
    wrote = heard.reply.tokens_out if heard.reply else None
    words = len(heard.text.split())
    over = (wrote is not None and wrote > 4) or words > 8
    return finding("max_tokens", "fail" if over else "pass", f"asked for at most 4 tokens, got {words} words" + (f" and {wrote} tokens by its own count" if wrote is not None else ""), "budgets cannot be kept with this server: leave them out, or mend it")


def _draws(asker: Asker, request: str) -> Finding:
    heard = asker.ask(request, n=3, temperature=1.0, max_tokens=12)
    given = len(heard.reply.choices) if heard.reply else 0
    return finding("n", "pass" if given == 3 else "warn", f"asked for 3 draws, given {given}" + (f" ({heard.said})" if heard.said else ""), "draws are asked for one by one; nothing is lost")


def _seed(asker: Asker, request: str) -> Finding:
    texts = {asker.ask(request, seed=7, temperature=1.0, max_tokens=16).text for _ in range(2)}
    return finding("seed", "pass" if len(texts) == 1 else "warn", "one seed gives one answer" if len(texts) == 1 else "one seed gives different answers", "the ledger repeats what was drawn; do not count on the server")


def _usage(same: Sequence[Heard], student: Any, request: str) -> list[Finding]:
    reply = same[0].reply
    read, wrote = (reply.tokens_in, reply.tokens_out) if reply else (None, None)
    if read is None or wrote is None:
        return [finding("usage", "warn", "no usage is reported", "costs and token budgets are counted at their bounds")]
    size = len(request.encode())
    odd = read < len(request.split()) * 0.5 or read > 40 * size or wrote > LONGEST or (wrote == 0 and same[0].text)
    return [finding("usage", "warn" if odd else "pass", f"{read} tokens read and {wrote} written are reported for {size} bytes", "check the server's counting before a budget relies on it")]


def _likelihoods(asker: Asker, request: str, k: int) -> list[Finding]:
    two = [asker.ask(request, top=k, max_tokens=24) for _ in range(2)]
    lists = two[0].logprobs
    if not lists or not lists.get("logps"):
        return [finding("likelihoods", "not possible", f"this server gives none{f' ({two[0].said})' if two[0].said else ''}", "answers can be learnt from all the same")]
    said = [float(v) for v in lists["logps"]]
    wrong = [v for v in said if not math.isfinite(v) or v > 1e-3 or v <= -9000] or (said if len(said) > 3 and len(set(said)) == 1 else [])
    tops = [[float(logp) for _, logp, _ in row] for row in lists.get("top") or [] if row]
    unsorted = sum(row != sorted(row, reverse=True) for row in tops)
    heavy = sum(sum(map(math.exp, row)) > 1.02 for row in tops)
    found = [
        finding("likelihoods", "fail" if wrong else "pass", f"{len(wrong)} of {len(said)} log-probabilities are impossible or all alike" if wrong else f"{len(said)} log-probabilities are possible", "do not rank or weigh by them"),
        finding("likelihood lists", "fail" if unsorted or heavy else "pass", f"{unsorted} lists unsorted, {heavy} sum to more than one, of {len(tops)}", "do not learn from these lists"),
        _repeats(two),
    ]  # fmt: skip
    if tops:
        greedy = sum(abs(row[0] - value) < 1e-3 or value >= row[0] - 1e-3 for row, value in zip(tops, said, strict=False))
        found.append(finding("greedy choice", "pass" if greedy >= 0.9 * len(tops) else "warn", f"{greedy} of {len(tops)} tokens written at temperature 0 are the likeliest", "numbers and text come from different places"))
        share = sum(sum(map(math.exp, row)) for row in tops) / len(tops)
        found.append(judge_coverage(k, {k: min(1.0, share)}, len(tops)))
    return found


def _repeats(two: Sequence[Heard]) -> Finding:
    a, b = ((h.logprobs or {}) for h in two)
    pairs = [(x, y) for s, t, x, y in zip(a.get("tokens") or [], b.get("tokens") or [], a.get("logps") or [], b.get("logps") or [], strict=False) if s == t]
    return judge_gap("likelihoods repeat", [abs(float(x) - float(y)) for x, y in pairs], "the same request asked twice", "replicas disagree: ask for one, or learn from answers alone")


def _name(asker: Asker, heard: Heard) -> Finding:
    served, wanted = str((heard.document or {}).get("model") or ""), asker.endpoint.model
    same = not served or served == wanted or served.startswith(wanted) or wanted.endswith(served)
    return finding("model name", "pass" if same else "fail", f"asked for {wanted!r}, served by {served or 'nobody named'!r}", "name the model that is served, or another server")


def _reasoning(heard: Heard) -> Finding:
    thinks = "<think" in heard.text or any((c.get("message") or {}).get("reasoning_content") for c in (heard.reply.choices if heard.reply else ()))
    return finding("reasoning", "warn" if thinks else "pass", "it thinks before it answers" if thinks else "no thinking is seen", "the thinking is taken off answers; raise teacher.max_tokens so that it ends")


def _schema(asker: Asker) -> Finding:
    schema = asker.endpoint.output.schema
    if schema is None:
        return finding("structured output", "not possible", "none is asked for")
    heard = asker.ask("Answer as the schema says.", response_format={"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}})
    try:
        found = json.loads(text_of(heard.choice))
        fits = isinstance(found, dict) and set(schema.get("required", ())) <= set(found)
    except ValueError:
        fits = False
    return finding("structured output", "pass" if fits else "fail", "the answer follows the schema" if fits else f"the answer does not follow it: {heard.text[:60]!r}{heard.said}", "leave schema_file out and let [keep] refuse what does not parse")
