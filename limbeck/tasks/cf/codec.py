"""Between CF prompts and rules and a network's numbers: the slots of a prompt, the symbols of a rule (grammar.py).

A rule is written in prefix form: `Between COL1 W4 W6 <eos>`. COLi, Wi and VALi are slots: they point at a column, a word
of the utterance, or a cell value, and are copied back when the rule is printed. A text is a first and a last word, or
one value; a number is one word, or one of a few constants for what people leave unsaid ("the highest", "negative").
"""

from __future__ import annotations

import math
import re
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from limbeck.records import Prompt
from limbeck.task import Source
from limbeck.tasks.cf.grammar import (
    CLOSE,
    COL,
    CONSTANT,
    CONSTANTS,
    EOS,
    FIXED,
    GROUPS,
    ID,
    MAX_DEPTH,
    MAX_SPAN,
    SYMBOLS,
    TODAY,
    VAL,
    VALUE_OF,
    W,
    is_number,
    mask_of,
    state_after,
)  # fmt: skip
from limbeck.tasks.cf.language import (
    SIGNATURES,
    Column,
    Number,
    Period,
    Rule,
    RuleError,
    Text,
    check_whole,
    parse,
    print_rule,
)
from limbeck.tasks.cf.lexer import Word
from limbeck.tasks.cf.reading import MAX_COLUMNS, MAX_VALUES, MAX_WORDS, Link, Reading, fold, read, stem

PIECES, FLAGS = 12, 32
KINDS = ("<pad>", "word", "number", "date", "range", "operator", "error", "other", "column:number", "column:percent",
         "column:date", "column:text", "column:boolean", "column:empty", "value", "start")  # fmt: skip
_KIND = {name: number for number, name in enumerate(KINDS)}


class CFCodec:
    """The codec of task cf; stateless but for a memo of the prompts read last."""

    name = "cf/1"
    symbols = SYMBOLS
    fixed_symbols = len(FIXED)
    kinds = len(KINDS)
    flags = FLAGS
    positions = MAX_WORDS + MAX_COLUMNS + MAX_VALUES + 1
    target_length = 28

    def __init__(self) -> None:
        self._readings: OrderedDict[str, Reading] = OrderedDict()

    def settings(self) -> dict[str, Any]:
        """Saved with an expert; another codec's weights are refused."""
        return {"name": self.name, "symbols": list(SYMBOLS), "kinds": list(KINDS), "flags": FLAGS}

    def reading(self, prompt: Prompt) -> Reading:
        """The prompt linked; remembered while it is being answered."""
        known = self._readings.get(prompt.id)
        if known is None or known.utterance != prompt.text:
            known = read(prompt.text, prompt.context["table"])
            self._readings[prompt.id] = known
            if len(self._readings) > 1024:
                self._readings.popitem(last=False)
        return known

    def encode(self, prompt: Prompt) -> Source:
        """Words, then columns, then values, each with its pieces, kind, flags, link and slot."""
        reading = self.reading(prompt)
        size = 1 + len(reading.words) + len(reading.columns) + len(reading.values)
        source = Source(
            pieces_SG=np.zeros((size, PIECES), np.int32), kind_S=np.zeros(size, np.int16), link_S=np.zeros(size, np.int16),
            slot_S=np.zeros(size, np.int16), flags_SF=np.zeros((size, FLAGS), np.float32),
        )  # fmt: skip
        source.kind_S[0] = _KIND["start"]
        _write_words(source, reading)
        _write_columns(source, reading, 1 + len(reading.words))
        _write_values(source, reading, 1 + len(reading.words) + len(reading.columns))
        return source

    def encode_answer(self, prompt: Prompt, text: str) -> list[int] | None:
        """A rule as symbols with <eos>; None when a literal of it can neither be pointed at nor is a constant."""
        try:
            reading = self.reading(prompt)
            out = _encode_rule(parse(text), reading, set())
        except (RuleError, _Unsayable):
            return None
        return [*out, EOS] if len(out) < self.target_length else None

    def decode(self, prompt: Prompt, symbols: Sequence[int]) -> str | None:
        """The printed rule, or None where the symbols are no rule."""
        reading = self.reading(prompt)
        body = list(symbols)
        if EOS in body:
            body = body[: body.index(EOS)]
        try:
            rule, used = _decode_rule(body, 0, reading, 0)
            check_whole(rule)
            return print_rule(rule) if used == len(body) else None
        except (RuleError, _Unsayable, IndexError):
            return None

    def allowed(self, prompt: Prompt, prefix: Sequence[int]) -> np.ndarray:
        """bool [V]: the symbols by which a prefix can still become a rule; all False after a misstep."""
        reading = self.reading(prompt)
        return mask_of(state_after(reading, tuple(prefix)), reading)


class _Unsayable(Exception):
    """A literal that the symbols cannot express for this prompt."""


# --- what the network reads ------------------------------------------------------------------------------------------


@lru_cache(maxsize=100_000)
def pieces(word: str) -> tuple[int, ...]:
    """Hashes (1 .. 2^30) of a word, its stem, its ends and its character trigrams; at most PIECES of them."""
    low = word.lower()
    marked = f"^{low}$"
    grams = [f"w:{low}", f"s:{stem(low)}", f"p:{low[:4]}"] + [f"t:{marked[i : i + 3]}" for i in range(len(marked) - 2)]
    return tuple(zlib.crc32(g.encode()) % (2**30) + 1 for g in dict.fromkeys(grams))[:PIECES]


def _number_pieces(word: Word) -> tuple[int, ...]:
    value = abs(word.value or 0.0)
    size = int(math.log10(value)) if value >= 1 else -1
    grams = ["n:", f"n:{size}", f"n:{value:g}" if value in CONSTANTS else "n:other", f"n:int{value == int(value)}"]
    letters = re.sub(r"[\d\s]+", "0", word.text.lower())
    return tuple(zlib.crc32(g.encode()) % (2**30) + 1 for g in [*grams, f"n:{letters}"])


def _bag(words: Sequence[str]) -> tuple[int, ...]:
    """The pieces of several words: whole words and stems of all first, then trigrams as room allows."""
    each = [pieces(w) for w in words[:6]]
    first = [p for ps in each for p in ps[:3]]
    rest = [p for ps in each for p in ps[3:]]
    return tuple(dict.fromkeys(first + rest))[:PIECES]


def _put(row: np.ndarray, values: Sequence[int]) -> None:
    row[: len(values)] = values


def _write_words(source: Source, reading: Reading) -> None:
    for at, (word, link) in enumerate(zip(reading.words, reading.links, strict=True)):
        row = at + 1
        source.kind_S[row] = _KIND[word.sort]
        source.slot_S[row] = W + at
        is_plain_word = word.sort in ("word", "operator", "other", "error")
        if word.sort == "number":
            _put(source.pieces_SG[row], _number_pieces(word))
        elif is_plain_word:
            _put(source.pieces_SG[row], pieces(word.text))
        else:
            shape = re.sub(r"\d+", "0", word.text.lower())
            _put(source.pieces_SG[row], (zlib.crc32(f"d:{shape}".encode()) % (2**30) + 1,))
        column = link.column if link.column >= 0 else link.value_column
        source.link_S[row] = COL + column if column >= 0 else 0
        source.flags_SF[row] = _word_flags(word, link, reading, at)


def _word_flags(word: Word, link: Link, reading: Reading, at: int) -> np.ndarray:
    flags = np.zeros(FLAGS, np.float32)
    flags[0:6] = (word.value is not None, word.period is not None, word.is_percent, word.is_money, word.is_quoted, word.text[:1].isupper())
    flags[6:12] = (
        word.text.isupper() and len(word.text) > 1, link.column >= 0 and link.strength >= 1 and not link.by_letter,
        link.column >= 0 and link.strength < 1, link.is_whole_value, link.is_part_value, link.by_letter,
    )  # fmt: skip
    flags[12] = link.strength / 3
    flags[13] = at == 0
    flags[14] = word.is_ordinal
    if word.value is not None:
        flags[15] = math.log10(1 + abs(word.value)) / 6
        flags[16] = word.value == int(word.value) and 0 < word.value <= 30
        flags[17] = word.value < 0
        fits = [c for c in reading.columns if c.kind in ("number", "percent") and _fits(word, c)]
        flags[18] = bool(fits)
    flags[19] = at == len(reading.words) - 1
    return flags


def _fits(word: Word, column: Any) -> bool:
    value = resolve_number(word, column)
    margin = 0.25 * (column.high - column.low) + 1e-9
    return column.low - margin <= value <= column.high + margin


def _write_columns(source: Source, reading: Reading, start: int) -> None:
    numeric = [c for c in reading.columns if c.kind in ("number", "percent")]
    dates = [c for c in reading.columns if c.kind == "date"]
    numbers = [w for w in reading.words if w.value is not None and not w.is_ordinal]
    for at, column in enumerate(reading.columns):
        row = start + at
        source.kind_S[row] = _KIND[f"column:{column.kind}"]
        source.slot_S[row] = COL + at
        _put(source.pieces_SG[row], _bag(column.words))
        mine = [k for k in reading.links if k.column == at]
        named = {stem(w.text) for w, k in zip(reading.words, reading.links, strict=True) if k.column == at}
        flags = source.flags_SF[row]
        flags[0:8] = (
            any(k.strength >= 1 and not k.by_letter for k in mine), any(0 < k.strength < 1 for k in mine),
            any(k.by_letter for k in mine), any(k.value_column == at and k.is_whole_value for k in reading.links),
            any(k.value_column == at and k.is_part_value for k in reading.links),
            sum(s in named for s in column.stems) / max(1, len(column.stems)), column.has_blanks, column.has_errors,
        )  # fmt: skip
        flags[8:18] = (
            column.distinct_share, len(numeric) == 1 and column in numeric, len(dates) == 1 and column in dates,
            at == 0, at == len(reading.columns) - 1, len(column.values) <= 6 and bool(column.values),
            any(_fits(w, column) for w in numbers) if column in numeric else 0.0,
            sum(_fits(w, column) for w in numbers) / max(1, len(numbers)) if column in numeric else 0.0,
            math.log10(1 + abs(column.high)) / 6, len(reading.columns) / 16,
        )  # fmt: skip
        flags[18] = len(numeric) >= 1 and column == numeric[0]
        flags[19] = bool(dates) and column == dates[0]
        flags[20] = column.low < 0
        flags[21] = column.kind in ("number", "percent") and column.low == 0


def _write_values(source: Source, reading: Reading, start: int) -> None:
    for at, (column, text, linked, share) in enumerate(reading.values):
        row = start + at
        source.kind_S[row] = _KIND["value"]
        source.slot_S[row] = VAL + at
        source.link_S[row] = COL + column
        _put(source.pieces_SG[row], _bag(re.findall(r"[^\W_]+|[^\s\w]", text.lower()) or [text]))
        source.flags_SF[row, :5] = (linked, share, len(text) <= 2, reading.columns[column].kind == "boolean", len(text) / 30)


# --- literals ---------------------------------------------------------------------------------------------------------


def resolve_number(word: Word, column: Any) -> float:
    """What a written number means in a column: "20 %" is 0.2 where cells are shares, 20 where they are points."""
    if column == "days":
        return word.days or word.value or 0.0
    value = word.value or 0.0
    if column is None:
        return value
    if word.is_percent:
        return value / 100 if column.kind == "percent" or max(abs(column.low), abs(column.high)) <= 1.5 else value
    if column.kind == "percent" and abs(value) > 1.5 and max(abs(column.low), abs(column.high)) <= 3:
        return value / 100
    return value


def _encode_rule(rule: Rule, reading: Reading, used: set[int]) -> list[int]:
    out = [ID[rule.function]]
    column: Any = None
    for argument in rule.arguments:
        if isinstance(argument, Rule):
            out += _encode_rule(argument, reading, used)
        elif isinstance(argument, Column):
            position = next((i for i, c in enumerate(reading.columns) if c.index == argument.index), None)
            if position is None:
                raise _Unsayable
            column = column or reading.columns[position]
            out.append(COL + position)
        elif isinstance(argument, Number):
            out.append(_encode_number(argument.value, _number_column(rule.function, column), reading, used))
        elif isinstance(argument, Text):
            out += _encode_text(argument.value, reading, column)
        else:
            out.append(_encode_period(argument.text, reading, used))
    return [*out, CLOSE] if rule.function in GROUPS else out


def _number_column(function: str, column: Any) -> Any:
    """Only comparisons read "20 %" against the column's cells, and only counts of days read "2 weeks" as 14."""
    if function in ("LastDays", "NextDays", "OlderThanDays"):
        return "days"
    return column if "number_or_column" in SIGNATURES[function] else None


def _encode_number(value: float, column: Any, reading: Reading, used: set[int]) -> int:
    hits = [
        i for i, w in enumerate(reading.words)
        if w.value is not None and math.isclose(resolve_number(w, column), value, rel_tol=1e-9, abs_tol=1e-12)
    ]  # fmt: skip
    hits.sort(key=lambda i: (i in used, reading.links[i].by_letter, reading.words[i].is_ordinal, i))
    if hits:
        used.add(hits[0])
        return W + hits[0]
    if value in CONSTANT:
        return CONSTANT[value]
    raise _Unsayable


def _encode_text(text: str, reading: Reading, column: Any) -> list[int]:
    wanted = fold(text)
    best: tuple[float, int, int] | None = None
    at_column = reading.columns.index(column) if column in reading.columns else -1
    for first in range(len(reading.words)):
        if not wanted.startswith(reading.words[first].text.lower()[:1]):
            continue
        for last in range(first, min(first + MAX_SPAN, len(reading.words))):
            if fold(reading.span(first, last)) == wanted:
                rank = 2.0 * reading.words[first].is_quoted + (reading.links[first].value_column == at_column) - 0.5 * (reading.links[first].column >= 0)
                if best is None or rank > best[0]:
                    best = (rank, first, last)
    if best is not None:
        return [W + best[1], W + best[2]]
    for at, (position, value, _, _) in enumerate(reading.values):
        if fold(value) == wanted and position == at_column:
            return [VAL + at]
    raise _Unsayable


def _encode_period(period: str, reading: Reading, used: set[int]) -> int:
    if period == "today":
        return TODAY
    hits = [i for i, w in enumerate(reading.words) if w.period == period]
    hits.sort(key=lambda i: (i in used, i))
    if not hits:
        raise _Unsayable
    used.add(hits[0])
    return W + hits[0]


def _decode_rule(body: list[int], at: int, reading: Reading, depth: int) -> tuple[Rule, int]:
    function = SYMBOLS[body[at]]
    if function not in SIGNATURES or depth > MAX_DEPTH:
        raise _Unsayable
    at += 1
    if function in GROUPS:
        parts: list[Any] = []
        while body[at] != CLOSE:
            part, at = _decode_rule(body, at, reading, depth + 1)
            parts.append(part)
        if len(parts) < 2 or any(part in parts[:n] for n, part in enumerate(parts)):
            raise _Unsayable
        return Rule(function, tuple(parts)), at + 1
    arguments: list[Any] = []
    column: Any = None
    for kind in SIGNATURES[function]:
        if kind == "rule":
            part, at = _decode_rule(body, at, reading, depth + 1)
            arguments.append(part)
        elif kind == "optional_number":
            if at < len(body) and (is_number(body[at], reading) or body[at] in VALUE_OF):
                arguments.append(Number(_number_at(body[at], reading, None)))
                at += 1
        elif kind == "text":
            text, at = _text_at(body, at, reading)
            arguments.append(Text(text))
        else:
            symbol = body[at]
            at += 1
            if COL <= symbol < W and kind in ("column", "number_or_column"):
                chosen = reading.columns[symbol - COL]
                column = column or chosen
                arguments.append(Column(chosen.index))
            elif kind == "period":
                arguments.append(Period(_period_at(symbol, reading)))
            elif kind == "column":
                raise _Unsayable
            else:
                arguments.append(Number(_number_at(symbol, reading, _number_column(function, column))))
    return Rule(function, tuple(arguments)), at


def _number_at(symbol: int, reading: Reading, column: Any) -> float:
    if symbol in VALUE_OF:
        return VALUE_OF[symbol]
    if not is_number(symbol, reading):
        raise _Unsayable
    return resolve_number(reading.words[symbol - W], column)


def _period_at(symbol: int, reading: Reading) -> str:
    if symbol == TODAY:
        return "today"
    if not W <= symbol < VAL or reading.words[symbol - W].period is None:
        raise _Unsayable
    return str(reading.words[symbol - W].period)


def _text_at(body: list[int], at: int, reading: Reading) -> tuple[str, int]:
    if body[at] >= VAL:
        return reading.values[body[at] - VAL][1], at + 1
    first, last = body[at] - W, body[at + 1] - W
    if not 0 <= first <= last < len(reading.words) or last - first >= MAX_SPAN:
        raise _Unsayable
    return reading.span(first, last).strip(), at + 2
