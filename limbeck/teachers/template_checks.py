"""What a chat template does to requests and answers, seen from its text and its tokens: nothing is generated."""

from __future__ import annotations

import re
from typing import Any

from limbeck.teachers.findings import Finding, finding

REQUEST, ANSWER, SYSTEM = "Name a colour.", "Blue is a colour.", "Answer in capitals only, please."


def check_template(tokenizer: Any, style: str, system: str) -> list[Finding]:
    """Template there, its prompt a prefix of the whole talk, one beginning, the same tokens both ways, system message, own words."""
    if style == "raw" or not tokenizer.chat_template:
        outcome = "pass" if style == "raw" else "warn"
        return [finding("chat template", outcome, "plain completions: no template is used" if style == "raw" else "this tokenizer has none: requests are joined by blank lines", "teacher.style = \"raw\" if this is a base model; else give the folder its chat template")]
    user = {"role": "user", "content": REQUEST}
    asked = tokenizer.apply_chat_template([user], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template([user, {"role": "assistant", "content": ANSWER}], tokenize=False)
    found = [finding("chat template", "pass" if REQUEST in asked else "fail", f"a request of {len(REQUEST)} characters is rendered as {len(asked)}", "the template drops the request: use another")]
    return [*found, _prefix(tokenizer, asked, whole), *_tokens(tokenizer, asked, user), *_system(tokenizer, user, asked, system)]


def _prefix(tokenizer: Any, asked: str, whole: str) -> Finding:
    fix = "a template whose prompt with add_generation_prompt begins the whole talk"
    if not whole.startswith(asked):
        at = next((n for n, (a, b) in enumerate(zip(asked, whole, strict=False)) if a != b), min(len(asked), len(whole)))
        return finding("template prefix", "fail", f"the prompt is written otherwise once it is answered, from character {at}: {asked[at : at + 20]!r} and {whole[at : at + 20]!r}", fix)
    ids, longer = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (asked, whole))
    if longer[: len(ids)] != ids:
        return finding("template prefix", "warn", "the text is a prefix, but the prompt's last token grows together with the answer's first", "a template that ends its prompt in a token of its own")
    return finding("template prefix", "pass", f"the prompt is the beginning of the whole talk, in text and in its {len(ids)} tokens")


def _tokens(tokenizer: Any, asked: str, user: dict[str, str]) -> list[Finding]:
    bos = tokenizer.bos_token_id
    sent, other = (_starts(tokenizer(asked, add_special_tokens=special)["input_ids"], bos) for special in (False, True))
    note = f"; whoever tokenises the rendering with special tokens gets {other}" if other > 1 else ""
    rendered = tokenizer.apply_chat_template([user], tokenize=True, add_generation_prompt=True, return_dict=True)["input_ids"]
    same = list(rendered) == tokenizer(asked, add_special_tokens=False)["input_ids"]
    return [
        finding("one beginning", "fail" if sent > 1 else "pass", f"a request begins with {sent} beginning-of-text tokens{note}", "take one out of the template"),
        finding("template tokens", "pass" if same else "fail", "tokens of the rendering and of its text are the same" if same else "tokens of the rendering differ from those of its text", "a tokenizer whose template is tokenised as its text is"),
    ]  # fmt: skip


def _starts(ids: list[int], bos: int | None) -> int:
    """How many beginning-of-text tokens stand at the beginning; a tokenizer that has none has no second one."""
    return 0 if bos is None else next((at for at, token in enumerate(ids) if token != bos), len(ids))


def _system(tokenizer: Any, user: dict[str, str], asked: str, wanted: str) -> list[Finding]:
    try:
        told = tokenizer.apply_chat_template([{"role": "system", "content": SYSTEM}, user], tokenize=False, add_generation_prompt=True)
        kept, seen = SYSTEM in told, "it is part of the rendering" if SYSTEM in told else "the template drops it"
    except Exception as problem:  # a template is a program of its own: it may raise anything
        kept, seen = False, f"the template refuses it: {str(problem)[:80]}"
    marks = "|".join(map(re.escape, [REQUEST, "\n", *sorted(tokenizer.all_special_tokens, key=len, reverse=True)]))
    own = [piece.strip() for piece in re.split(marks, asked) if len(piece.split()) > 2]
    return [
        finding("system message", "pass" if kept else "fail" if wanted else "warn", seen, "put instructions into the request itself" + (": teacher.system is lost here" if wanted else "")),
        finding("default system text", "warn" if own else "pass", f"the template adds: {own[0][:80]!r}" if own else "it adds no words of its own", "nothing to do where teacher and student share the template; else give teacher.system"),
    ]  # fmt: skip
