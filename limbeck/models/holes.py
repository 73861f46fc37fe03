"""Texts with a hole as symbols: what a codec, which only says whole answers, makes of a beginning, an end, a broken snippet."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.models.batch import EOS
from limbeck.records import Prompt

WAYS, MOST_FILLERS, MOST_CUTS, MOST_TRIES, ENOUGH, MOST_SYMBOLS = 24, 3_000, 30, 12, 3, 400
_TOKEN = re.compile(r"\w+|[^\w\s]")


def refuse_suffix(kind: str) -> None:
    """Raises LimbeckError for a student that writes from left to right."""
    if kind == "autoregressive":
        raise LimbeckError("an autoregressive student writes from left to right and cannot be held to an end", "suffix", "ask a masked or codefusion student, or give a prefix alone")


def fillers(texts: Sequence[str], request: str, prefix: str = "") -> list[str]:
    """What may stand in a hole: nothing, what the student's own answers have there, spans of them with brackets closed, words of the request."""
    rests = [text[len(prefix) :] for text in texts if prefix and text.startswith(prefix)]
    spans: list[str] = [""]
    for text in texts:
        marks = [m.span() for m in _TOKEN.finditer(text)]
        spans += [text[marks[i][0] : marks[j][1]] for i in range(len(marks)) for j in range(i, min(len(marks), i + 12))]
    spans += _TOKEN.findall(request)[:40]
    order = sorted(dict.fromkeys(spans), key=lambda span: zlib.crc32(span.encode()))  # mixed, so that the first few differ
    return [*rests, *(span + close for close in ("", ")", "))", ")))") for span in order)][:MOST_FILLERS]


def fixed_parts(codec: Any, prompt: Prompt, prefix: str, suffix: str, fillers: Iterable[str]) -> tuple[list[int], list[int]] | None:
    """The symbols that every answer of the form prefix + something + suffix begins and ends with; None where none can be said.

    The hole is filled in several ways and what all ways share is kept. Letters at the edge of the hole may belong to a symbol
    that reaches into it: they stay free, and answers are checked as texts. Of one way alone nothing is known to be shared:
    nothing is fixed then. Where no filler fits, a beginning is looked for symbol by symbol within the grammar.
    """
    found: list[list[int]] = []
    for filler in fillers:
        symbols = codec.encode_answer(prompt, prefix + filler + suffix)
        if symbols is not None and symbols[:-1] not in found:
            found.append(symbols[:-1])
        if len(found) >= WAYS:
            break
    if not found:
        front = find_beginning(codec, prompt, prefix)
        return (front, []) if front else None
    if len(found) < 2:
        return [], []
    front = _shared(found) if prefix.strip() else []
    back = _shared([symbols[::-1] for symbols in found])[: max(0, min(map(len, found)) - len(front))] if suffix.strip() else []
    return front, back[::-1]


def readable(codec: Any, prompt: Prompt, snippet: str, fillers: Sequence[str]) -> list[int]:
    """A snippet's symbols without <eos>: all of it, it with brackets closed, or as much of its beginning as can be read."""
    for close in ("", ")", "))", ")))", '"', "'"):
        symbols = codec.encode_answer(prompt, snippet + close)
        if symbols is not None:
            return symbols[:-1]
    ends = [m.end() for m in _TOKEN.finditer(snippet)]
    for end in reversed(ends[-MOST_CUTS:]):
        parts = fixed_parts(codec, prompt, snippet[:end], "", fillers)
        if parts is not None and parts[0]:
            return parts[0]
    return []


def find_beginning(codec: Any, prompt: Prompt, prefix: str) -> list[int]:
    """Symbols whose every completion is printed with this beginning, found one by one; empty where there are none.

    Each symbol is judged by a few random completions within the grammar: what all of them print was said by the symbols.
    """
    wanted, front, reached = _bare(prefix), [], 0
    while reached < len(wanted) and len(front) < codec.target_length:
        scored = []
        for symbol in _choices(codec, prompt, front)[:MOST_SYMBOLS]:
            texts = _complete(codec, prompt, [*front, symbol])
            if texts:
                scored.append((min(_common(_bare(text), wanted) for text in texts), -symbol))
        best = max(scored, default=(0, 0))
        if best[0] <= reached:
            return []
        reached = best[0]
        front.append(-best[1])
    return front if reached == len(wanted) else []


def _complete(codec: Any, prompt: Prompt, symbols: list[int]) -> list[str]:
    """Whole answers that begin with these symbols, as texts: random walks that end as soon as they may."""
    random, texts = np.random.default_rng(0), []
    for _ in range(MOST_TRIES):
        now = list(symbols)
        while len(now) < codec.target_length:
            choices = _choices(codec, prompt, now)
            if EOS in choices or not choices:
                break
            now.append(int(random.choice(choices)))
        text = codec.decode(prompt, now)
        if text is not None:
            texts.append(text)
        if len(texts) == ENOUGH:
            break
    return texts


def _choices(codec: Any, prompt: Prompt, symbols: list[int]) -> list[int]:
    return np.flatnonzero(codec.allowed(prompt, symbols)).tolist()


def _bare(text: str) -> str:
    return "".join(text.split()).lower()


def _common(a: str, b: str) -> int:
    """Letters that two texts share at their beginning."""
    return next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _shared(rows: Sequence[Sequence[int]]) -> list[int]:
    """The longest common beginning."""
    out = []
    for column in zip(*rows, strict=False):
        if len(set(column)) > 1:
            break
        out.append(column[0])
    return out


def holds(text: str, prefix: str, suffix: str) -> bool:
    """Whether a text begins and ends as asked; spaces do not count, since a codec prints in a form of its own."""
    bare, before, after = _bare(text), _bare(prefix), _bare(suffix)
    return bare.startswith(before) and bare.endswith(after) and len(bare) >= len(before) + len(after)
