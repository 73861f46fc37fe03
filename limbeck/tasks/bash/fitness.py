"""Whether a text is fit to be judged as a Bash command at all, and what a model wrote around it."""

from __future__ import annotations

import re

from limbeck.tasks.bash.syntax import has_heredoc, parse

FENCE = re.compile(r"```[ \t]*(?:bash|sh|shell|console|zsh)?[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
INLINE = re.compile(r"`([^`]+)`")


def unwrap(text: str) -> str:
    """A command without the Markdown that language models put around it."""
    found = FENCE.search(text)
    if found:
        return found[1].strip().removeprefix("$ ")
    bare = text.strip().removeprefix("$ ")
    inline = INLINE.fullmatch(bare)
    return inline[1].strip() if inline else bare


def why_unfit(text: str) -> str:
    """Why a text gets no score: the reason in a few words, empty where it gets one. A slip of syntax alone is no reason."""
    parsed = parse(text)
    if parsed.error and (not parsed.pieces or parsed.error.startswith("unbalanced")):
        return parsed.error
    if has_heredoc(parsed.pieces):
        return "a here-document: only one-line commands are scored"
    first = next((p.text for p in parsed.pieces if p.kind in ("word", "assignment", "keyword")), "")
    if not first:
        return "no command in it"
    if parsed.pieces[0].kind == "word" and not first.isascii():
        return f"not a command: it starts with {first[:20]!r}"
    return ""


def is_valid(text: str) -> bool:
    """Whether a text is Bash through and through."""
    return not parse(text).error
