"""A codec for short code from one sentence: words of the sentence can be copied, everything else is spelled in pieces.

An answer is a row of symbols: pieces of a fixed vocabulary (every printable ASCII character is one, so nothing common is
unsayable) and slots, each of which stands for one word or quoted span of the prompt, letter by letter. What looks like a
value (a number, a path, a pattern, something quoted) is always copied where the prompt has it; a plain word only where no
piece says it. So a name never seen in training costs one symbol.
"""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from limbeck.records import Prompt
from limbeck.task import Source

EOS = 2
PIECES = 16  # hashes of one prompt token
MOST_TOKENS = 64  # of a prompt that are read; each can be copied
SLOT_KINDS = ("word", "value", "quoted", "number", "mark")  # of typed slots: the first number is <number0> wherever it stands
KINDS = ("", "start", "word", "value", "quoted", "number", "mark")
FLAGS = 10
SPAN = re.compile(r"""["“]([^"“”\n]{1,80})["”]|(?<![\w])'([^'\n]{1,80})'(?![\w])|(?<![\w])`([^`'\n]{1,80})[`'](?![\w])|(\S+)""")
TRAILING = re.compile(r"^(.+?)([.,;:!?)\]]+)$")
UNIT = re.compile(r"^([+-]?\d+)([A-Za-z]{1,7})$")
SPECIAL = re.compile(r"[^a-z']|^.$")  # anything but a lower-case word


@dataclass(frozen=True, slots=True)
class Token:
    """One word, quoted span or mark of a prompt."""

    text: str
    kind: str

    @property
    def is_value(self) -> bool:
        """Something that is copied wherever an answer has it: it looks like no plain word."""
        return self.kind in ("value", "quoted", "number")


@lru_cache(maxsize=4096)
def tokens_of(text: str) -> tuple[Token, ...]:
    """What a sentence consists of, in order, at most MOST_TOKENS."""
    out: list[Token] = []
    for match in SPAN.finditer(text):
        quoted = match[1] or match[2] or match[3]
        if quoted:
            out.append(Token(quoted.strip() or quoted, "quoted"))
            continue
        out += word_tokens(match[4])
        if len(out) >= MOST_TOKENS:
            break
    return tuple(out[:MOST_TOKENS])


def word_tokens(text: str) -> list[Token]:
    """A word without the punctuation that ends it; a number apart from its unit."""
    text = text.lstrip("(\"“'") or text
    tail = TRAILING.match(text)
    if tail and not re.fullmatch(r"[.*?]+", text):
        return [*word_tokens(tail[1]), Token(tail[2][0], "mark")]
    text = re.sub(r"['’]s$", "", text) or text
    unit = UNIT.match(text)
    if unit:
        return [Token(unit[1], "number"), Token(unit[2], "word")]
    if re.fullmatch(r"[+-]?\d+", text):
        return [Token(text, "number")]
    plain = text.lower() if text[:1].isupper() and text[1:].islower() else text
    return [Token(text, "value" if SPECIAL.search(plain) and not re.fullmatch(r"[a-z]+(?:-[a-z]+)+", plain) else "word")]


@lru_cache(maxsize=100_000)
def hashes(token: Token) -> tuple[int, ...]:
    """Hashes (1 .. 2^30) of a token: its words, their beginnings, its shape, character trigrams."""
    low = token.text.lower()
    words = re.findall(r"[a-z]+", low)
    shape = re.sub(r"[a-z]+", "a", re.sub(r"\d+", "0", low))
    grams = [f"w:{low}", f"h:{shape[:12]}", *(f"w:{w}" for w in words[:4]), *(f"p:{w[:4]}" for w in words[:2]), *(f"e:{w[-3:]}" for w in words[:2])]
    marked = f"^{low}$"
    grams += [f"t:{marked[i : i + 3]}" for i in range(len(marked) - 2)]
    return tuple(zlib.crc32(g.encode()) % (2**30) + 1 for g in dict.fromkeys(grams))[:PIECES]


class PiecesCodec:
    """Between sentences and code. `vocabulary`: pieces, longest match wins; `fits` says whether a finished text may end there;
    `read` says what a sentence consists of, at most MOST_TOKENS."""

    kinds = len(KINDS)
    flags = FLAGS
    positions = MOST_TOKENS + 1
    target_length = 72

    def __init__(self, name: str, vocabulary: Sequence[str], fits: Callable[[str], bool] | None = None, read: Callable[[str], Sequence[Token]] = tokens_of, typed: bool = False) -> None:
        self.name = f"{name}/typed" if typed else name
        self.typed = typed
        self._read = read
        letters = [chr(c) for c in range(32, 127)]
        self._spoken = list(dict.fromkeys([*letters, *vocabulary]))
        self.symbols = ["<pad>", "<bos>", "<eos>", *self._spoken, *(f"<{kind}{n}>" for kind in (SLOT_KINDS if typed else ("",)) for n in range(MOST_TOKENS))]
        self.fixed_symbols = 3 + len(self._spoken)
        self._number = {piece: 3 + at for at, piece in enumerate(self._spoken)}
        self._longest = max(map(len, self._spoken))
        self._fits = fits
        self._texts: OrderedDict[tuple[str, tuple[int, ...]], str] = OrderedDict()

    def settings(self) -> dict[str, Any]:
        """Saved with an expert; another codec's weights are refused."""
        return {"name": self.name, "pieces": self._spoken, "tokens": MOST_TOKENS, "kinds": list(KINDS), "flags": FLAGS} | ({"slots": list(SLOT_KINDS)} if self.typed else {})

    def slots_of(self, found: Sequence[Token]) -> list[int]:
        """The symbol that copies each token: by its place, or (typed) by its kind and how many of that kind came before."""
        if not self.typed:
            return [self.fixed_symbols + at for at in range(len(found))]
        before: Counter[str] = Counter()
        out = []
        for token in found:
            out.append(self.fixed_symbols + SLOT_KINDS.index(token.kind) * MOST_TOKENS + before[token.kind])
            before[token.kind] += 1
        return out

    def encode(self, prompt: Prompt) -> Source:
        """A start token, then each token with hashes, kind, facts and the slot that copies it."""
        found = self._read(prompt.text)
        size = 1 + len(found)
        source = Source(
            pieces_SG=np.zeros((size, PIECES), np.int32), kind_S=np.zeros(size, np.int16), link_S=np.zeros(size, np.int16),
            slot_S=np.zeros(size, np.int16), flags_SF=np.zeros((size, FLAGS), np.float32),
        )  # fmt: skip
        source.kind_S[0] = KINDS.index("start")
        for at, (token, slot) in enumerate(zip(found, self.slots_of(found), strict=True)):
            values = hashes(token)
            source.pieces_SG[at + 1, : len(values)] = values
            source.kind_S[at + 1] = KINDS.index(token.kind)
            source.slot_S[at + 1] = slot
            source.flags_SF[at + 1] = _facts(token)
        return source

    def encode_answer(self, prompt: Prompt, text: str) -> list[int] | None:
        """Symbols ending in <eos>; None for letters that are neither ASCII nor in the prompt, and for answers too long."""
        found, out, at, used = self._read(prompt.text), [], 0, set()
        slots = self.slots_of(found)
        while at < len(text):
            piece = next((text[at : at + n] for n in range(min(self._longest, len(text) - at), 0, -1) if text[at : at + n] in self._number), "")
            if piece and self._would_split(text, at, piece, found):
                piece = piece[: self._would_split(text, at, piece, found)]
            slot = _slot_at(text, at, piece, found, used)
            if slot is not None:
                used.add(slot)
                out.append(slots[slot])
                at += len(found[slot].text)
            elif piece:
                out.append(self._number[piece])
                at += len(piece)
            else:
                return None
            if len(out) >= self.target_length:
                return None
        return [*out, EOS] if out else None

    def _would_split(self, text: str, at: int, piece: str, found: Sequence[Token]) -> int:
        """How much of a piece stands before a value that can be copied; 0 where it does not reach into one."""
        for inside in range(1, len(piece)):
            if piece[:inside] in self._number and any(t.is_value and len(t.text) > len(piece) - inside and _stands(text, at + inside, t.text) for t in found):
                return inside
        return 0

    def decode(self, prompt: Prompt, symbols: Sequence[int]) -> str | None:
        """The text, or None where a symbol copies what is not there or nothing is said."""
        text = self._text(prompt, tuple(s for s in symbols if s != EOS))
        return text.strip() or None if text is not None else None

    def _text(self, prompt: Prompt, symbols: tuple[int, ...]) -> str | None:
        found, parts = self._read(prompt.text), []
        slots = self.slots_of(found)
        for symbol in symbols:
            if symbol < 3:
                return None
            if symbol < self.fixed_symbols:
                parts.append(self.symbols[symbol])
            elif symbol in slots:
                parts.append(found[slots.index(symbol)].text)
            else:
                return None
        return "".join(parts)

    def allowed(self, prompt: Prompt, prefix: Sequence[int]) -> np.ndarray:
        """bool [V]: pieces, slots of this prompt, and <eos> where what is said so far may end."""
        out = _mask(len(self.symbols), self.fixed_symbols).copy()
        out[self.slots_of(self._read(prompt.text))] = True
        if self._fits is not None and prefix:
            text = self._text(prompt, tuple(prefix))
            out[EOS] = text is not None and bool(text.strip()) and self._fits(text)
        else:
            out[EOS] = bool(prefix)
        return out


@lru_cache(maxsize=256)
def _mask(symbols: int, fixed: int) -> np.ndarray:
    out = np.zeros(symbols, bool)
    out[3:fixed] = True
    return out


def _facts(token: Token) -> list[float]:
    text = token.text
    return [
        float(fact) for fact in (
            token.kind == "number", token.kind == "quoted", "." in text, "/" in text, "*" in text or "?" in text, text.startswith("-"), text.isupper(), any(c.isdigit() for c in text), " " in text, len(text) > 12,
        )
    ]  # fmt: skip


def _stands(text: str, at: int, word: str) -> bool:
    """Whether a word stands here whole: no letter or digit of its own kind touches it."""
    if not text.startswith(word, at):
        return False
    end = at + len(word)
    before = at > 0 and text[at - 1].isalnum() and word[0].isalnum()
    after = end < len(text) and text[end].isalnum() and word[-1].isalnum()
    digits = word[-1].isdigit() and end < len(text) and not text[end].isdigit()  # 100 in 100M
    return not before and (not after or digits)


def _slot_at(text: str, at: int, piece: str, found: Sequence[Token], used: set[int]) -> int | None:
    """The token to copy here: the longest value, or a plain word that no piece covers; one not copied before goes first."""
    usable = [(len(t.text), n not in used, -n) for n, t in enumerate(found) if t.kind != "mark" and (t.is_value or len(t.text) > len(piece.strip())) and len(t.text) > (0 if t.is_value else 2) and _stands(text, at, t.text)]
    return -max(usable)[2] if usable else None


def read_vocabulary(content: str) -> list[str]:
    """Pieces, one JSON string a line."""
    return [json.loads(line) for line in content.splitlines() if line.strip()]
