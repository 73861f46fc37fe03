"""What a chat template does to requests and answers, seen from its text and its tokens: nothing is generated."""

from __future__ import annotations

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
    found.append(finding("template prefix", "pass" if whole.startswith(asked) else "fail", "the prompt is the beginning of the whole talk" if whole.startswith(asked) else "the prompt is written otherwise once it is answered", "a template whose prompt with add_generation_prompt begins the whole talk"))
    found += _tokens(tokenizer, asked, user)
    return [*found, *_system(tokenizer, user, asked)]


def _tokens(tokenizer: Any, asked: str, user: dict[str, str]) -> list[Finding]:
    bos = tokenizer.bos_token_id
    ids = tokenizer(asked)["input_ids"]
    starts = next((at for at, token in enumerate(ids) if token != bos), len(ids)) if bos is not None else 0
    doubled = bos is not None and starts > 1
    rendered = tokenizer.apply_chat_template([user], tokenize=True, add_generation_prompt=True, return_dict=True)["input_ids"]
    same = list(rendered) == tokenizer(asked, add_special_tokens=False)["input_ids"]
    return [
        finding("one beginning", "warn" if doubled else "pass", f"the rendering tokenised with special tokens begins with {starts} beginning-of-text tokens", "tokenise a rendering with add_special_tokens = False, as limbeck does"),
        finding("template tokens", "pass" if same else "fail", "tokens of the rendering and of its text are the same" if same else "tokens of the rendering differ from those of its text", "a tokenizer whose template is tokenised as its text is"),
    ]  # fmt: skip


def _system(tokenizer: Any, user: dict[str, str], asked: str) -> list[Finding]:
    try:
        told = tokenizer.apply_chat_template([{"role": "system", "content": SYSTEM}, user], tokenize=False, add_generation_prompt=True)
        kept, seen = SYSTEM in told, "it is part of the rendering" if SYSTEM in told else "the template drops it"
    except Exception as problem:  # a template is a program of its own: it may raise anything
        kept, seen = False, f"the template refuses it: {str(problem)[:80]}"
    own = [line for line in asked.splitlines() if len(line.split()) > 3 and REQUEST not in line]
    return [
        finding("system message", "pass" if kept else "warn", seen, "put instructions into the request itself"),
        finding("default system text", "warn" if own else "pass", f"the template adds: {own[0][:80]!r}" if own else "it adds no words of its own", "nothing to do where teacher and student share the template; else give teacher.system"),
    ]  # fmt: skip
