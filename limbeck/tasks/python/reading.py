"""What a request for Python consists of: words, and the code between backticks and quotes, whole and in its parts."""

from __future__ import annotations

import re
from functools import lru_cache

from limbeck.tasks.pieces import MOST_TOKENS, Token, word_tokens

SPAN = re.compile(r"""`([^`\n]{1,120})`|"([^"\n]{1,80})"|(?<!\w)'([^'\n]{1,80})'(?!\w)|(\S+)""")
PART = re.compile(r"""'([^'\n]{1,60})'|"([^"\n]{1,60})"|([A-Za-z_]\w*)|(\d+(?:\.\d+)?)""")
NUMBER = re.compile(r"[+-]?\d+")
MOST_PARTS = 8  # of one span


@lru_cache(maxsize=4096)
def tokens_of_request(text: str) -> tuple[Token, ...]:
    """At most MOST_TOKENS. A span of code is one token, followed by its names, strings and numbers where it has several."""
    out: list[Token] = []
    for match in SPAN.finditer(text):
        code, quoted, word = match[1], match[2] or match[3], match[4]
        if code or quoted:
            span = (code or quoted).strip() or (code or quoted)
            kind = "mark" if _is_sign(span) else "number" if NUMBER.fullmatch(span) else "value" if code else "quoted"
            out += [Token(span, kind), *_parts(span)]
        else:
            out += [Token(word, "mark")] if _is_sign(word) else word_tokens(word)
        if len(out) >= MOST_TOKENS:
            break
    return tuple(out[:MOST_TOKENS])


def _is_sign(text: str) -> bool:
    """Signs alone are never copied: most lines of code have them for reasons of their own."""
    return text.isascii() and not any(c.isalnum() for c in text)


def _parts(span: str) -> list[Token]:
    """Names, strings and numbers inside a span that is more than one of them."""
    if re.fullmatch(r"\w+|[\w ]+", span):
        return []
    found = [Token(m[1] or m[2], "quoted") if m[1] or m[2] else Token(m[3], "value") if m[3] else Token(m[4], "number") for m in PART.finditer(span)]
    return list(dict.fromkeys(t for t in found if t.text != span and not _is_sign(t.text)))[:MOST_PARTS]
