"""A prompt read closely: which words of the utterance name which column or cell value, and what the columns hold."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from limbeck.tasks.cf.lexer import ORDINALS, Word, lex
from limbeck.tasks.cf.table import Table, column_kind, is_blank, is_error, read_number, shown

MAX_COLUMNS = 16
MAX_WORDS = 64
MAX_VALUES = 32
SAMPLE_ROWS = 2000  # rows looked at to describe a column: a description, not a computation
_STOP = frozenset(["a", "an", "the", "of", "or", "and", "to", "is", "are", "on", "at", "by", "for", "in", "with", "that", "which", "where", "all", "any", "it", "be", "as", "from", "not", "have", "has"])


@dataclass(frozen=True, slots=True)
class Column:
    """What a reader notices of one column."""

    index: int
    header: str
    words: tuple[str, ...]
    stems: tuple[str, ...]
    kind: str
    low: float
    high: float
    has_blanks: bool
    has_errors: bool
    distinct_share: float
    values: tuple[tuple[str, float], ...]  # shown text and share, most frequent first; texts only


@dataclass(slots=True)
class Link:
    """What one word names. Columns and values are indexes into the reading's lists; -1 for nothing."""

    column: int = -1
    strength: float = 0.0
    by_letter: bool = False
    value_column: int = -1
    is_whole_value: bool = False
    is_part_value: bool = False


@dataclass(slots=True)
class Reading:
    """An utterance and its table, linked. `columns` are at most MAX_COLUMNS, those spoken of first kept."""

    utterance: str
    words: list[Word]
    columns: list[Column]
    links: list[Link]
    values: list[tuple[int, str, bool, float]] = field(default_factory=list)  # column position, text, linked, share
    states: dict[tuple[int, ...], Any] = field(default_factory=dict)  # the codec's memo of grammar states

    def span(self, first: int, last: int) -> str:
        """The characters of the utterance from one word to another."""
        return self.utterance[self.words[first].start : self.words[last].end]


def fold(text: str) -> str:
    """Case and space folded, for comparing texts."""
    return " ".join(text.lower().split())


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """A word without its commonest English endings: enough to let "orders" meet "Order"."""
    low = word.lower().replace("’", "'").removesuffix("'s")
    for ending, keep in (("ies", 3), ("sses", 4), ("es", 4), ("s", 3), ("ing", 4), ("ed", 4)):
        if low.endswith(ending) and len(low) - len(ending) >= keep - 1 and not low.endswith("ss"):
            low = low[: -len(ending)] + ("y" if ending == "ies" else "ss" if ending == "sses" else "")
            break
    return low[:-1] if low.endswith("e") and len(low) > 3 else low


@lru_cache(maxsize=20_000)
def header_words(header: str) -> tuple[str, ...]:
    """A header's words: split at spaces, punctuation, underscores and camelCase."""
    spaced = re.sub(r"([a-z\d])([A-Z])", r"\1 \2", str(header))
    return tuple(w.lower() for w in re.findall(r"[^\W_]+|%|#|\$", spaced))


_tables: OrderedDict[int, tuple[Any, Table, list[Column]]] = OrderedDict()


def describe_table(raw: Mapping[str, Any]) -> tuple[Table, list[Column]]:
    """The table of a prompt's context and its columns' descriptions, remembered for the last few tables."""
    known = _tables.get(id(raw))
    if known is not None and known[0] is raw:
        return known[1], known[2]
    table = Table.from_json(raw)
    columns = [_describe(table, index) for index in range(len(table.headers))]
    _tables[id(raw)] = (raw, table, columns)
    if len(_tables) > 1024:
        _tables.popitem(last=False)
    return table, columns


def _describe(table: Table, index: int) -> Column:
    cells = [row[index] for row in table.rows[:SAMPLE_ROWS]]
    numbers = [n for n in map(read_number, cells) if n is not None]
    full = [c for c in cells if not is_blank(c)]
    kind = column_kind(table, index)
    texts = Counter(shown(c) for c in full if isinstance(c, str | bool) and not is_error(c) and read_number(c) is None)
    if kind == "date":
        texts.clear()  # dates are spoken of as periods, never copied as texts
    total = max(1, len(full))
    words = header_words(table.headers[index])
    return Column(
        index=index, header=table.headers[index], words=words, stems=tuple(stem(w) for w in words),
        kind=kind, low=min(numbers, default=0.0), high=max(numbers, default=0.0),
        has_blanks=len(full) < len(cells), has_errors=any(is_error(c) for c in cells),
        distinct_share=len({shown(c).lower() for c in full}) / total,
        values=tuple((text, count / total) for text, count in texts.most_common(400)),
    )  # fmt: skip


def read(utterance: str, raw_table: Mapping[str, Any]) -> Reading:
    """Lex, link words to columns and values, choose the columns and values an answer may point at."""
    table, columns = describe_table(raw_table)
    words = lex(utterance, table.today)[:MAX_WORDS]
    links = [Link() for _ in words]
    stems = [stem(w.text) if w.sort in ("word", "number") else w.text for w in words]
    _link_headers(words, stems, links, columns)
    _link_places(words, links, columns)
    linked_values = _link_values(words, stems, links, columns)
    kept = _keep_columns(columns, links)
    position = {column.index: at for at, column in enumerate(kept)}
    for link in links:
        link.column = position.get(link.column, -1)
        link.value_column = position.get(link.value_column, -1)
    return Reading(utterance, words, kept, links, _choose_values(kept, position, linked_values))


def _link_headers(words: list[Word], stems: list[str], links: list[Link], columns: list[Column]) -> None:
    spoken = set(stems)
    cover = [sum(s in spoken for s in c.stems if s not in _STOP) / max(1, len(c.stems)) for c in columns]
    for at, word in enumerate(words):
        if word.sort == "range" or word.text.lower() in _STOP:
            continue
        best, strength = -1, 0.0
        for number, column in enumerate(columns):
            if stems[at] in column.stems:
                now = 1.0 + cover[number]
            elif word.sort == "word" and len(word.text) >= 4 and any(_alike(word.text.lower(), w) for w in column.words):
                now = 0.5 + 0.1 * cover[number]
            else:
                continue
            if now > strength:
                best, strength = column.index, now
        if best >= 0:
            links[at].column, links[at].strength = best, strength
    _link_initials(words, links, columns)


def _link_initials(words: list[Word], links: list[Link], columns: list[Column]) -> None:
    """ "goals for" names a column headed GF; "wins" perhaps one headed W."""
    for column in columns:
        initials = column.header.strip().lower()
        if not 1 <= len(initials) <= 4 or not column.header.strip().isupper() or not initials.isalpha():
            continue
        for at in range(len(words) - len(initials) + 1):
            span = range(at, at + len(initials))
            if all(words[i].sort == "word" and len(words[i].text) > 1 and words[i].text[0].lower() == letter for i, letter in zip(span, initials, strict=True)):
                for i in span:
                    strength = 1.5 if len(initials) > 1 else 0.3
                    if links[i].strength < strength and (len(initials) > 1 or words[i].text.lower() not in _STOP):
                        links[i].column, links[i].strength = column.index, strength


@lru_cache(maxsize=200_000)
def _alike(word: str, header: str) -> bool:
    """An abbreviation ("qty" for quantity), a shared beginning, or one slip of the finger."""
    if len(header) < 2 or word[0] != header[0]:
        return False
    if len(header) >= 3 and len(word) > len(header) and _is_abbreviation(header, word):
        return True
    if min(len(word), len(header)) >= 5 and word[:5] == header[:5]:
        return True
    return len(word) >= 5 and abs(len(word) - len(header)) <= 1 and _one_slip(word, header)


def _is_abbreviation(short: str, long: str) -> bool:
    rest = iter(long)
    return all(letter in rest for letter in short) and (long.startswith(short) or len(short) <= 4)


def _one_slip(a: str, b: str) -> bool:
    if a == b:
        return True
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    x, y = a[start:], b[start:]
    return x[1:] == y or x == y[1:] or x[1:] == y[1:] or (len(x) > 1 and x[:2] == y[:2][::-1] and x[2:] == y[2:])


def _link_places(words: list[Word], links: list[Link], columns: list[Column]) -> None:
    """ "column C", "C2:C50", "third column", "last column", "column 2" (people count columns from one)."""
    indexes = {column.index for column in columns}
    for at, word in enumerate(words):
        low = word.text.lower()
        before = words[at - 1].text.lower() if at else ""
        after = words[at + 1].text.lower() if at + 1 < len(words) else ""
        place = -1
        if word.sort == "range":
            place = _letters(re.sub(r"[^A-Z].*", "", word.text.lstrip("$").upper()))
        elif before in ("column", "col", "columns", "cols", "col.") or (before == "." and at > 1 and words[at - 2].text.lower() == "col"):
            if len(low) == 1 and low.isalpha():
                place = _letters(low.upper())
            elif word.sort == "number" and word.value is not None and not word.is_quoted:
                place = int(word.value) - 1
        elif after in ("column", "col", "columns") or (after == "numeric" and at + 2 < len(words)):
            if len(low) == 1 and low.isalpha() and low != "a" and low != "i":
                place = _letters(low.upper())
            elif low in ORDINALS or (word.is_ordinal and word.value):
                place = ORDINALS.get(low, int(word.value or 0)) - 1
            elif low == "last":
                place = max(indexes, default=-1)
            elif low == "middle" and columns:
                place = len(columns) // 2
        if place in indexes:
            links[at].column, links[at].by_letter, links[at].strength = place, True, 3.0


def _letters(text: str) -> int:
    value = 0
    for letter in text[:3]:
        value = value * 26 + ord(letter) - 64
    return value - 1


def _link_values(words: list[Word], stems: list[str], links: list[Link], columns: list[Column]) -> set[tuple[int, str]]:
    """Words that are a cell's text, whole or in part; returns the (column, text) pairs that were spoken."""
    low = [w.text.lower() for w in words]
    spoken = set(low) | set(stems)
    found: set[tuple[int, str]] = set()
    for column in columns:
        for text, _share in column.values:
            parts = _parts(text)
            if not parts or not (parts[0] in spoken or (len(parts) > 1 and any(p in spoken for p in parts)) or stem(next(iter(parts))) in spoken):
                continue
            whole = False
            for at in range(len(low) - len(parts) + 1):
                if tuple(low[at : at + len(parts)]) == parts or (len(parts) == 1 and len(parts[0]) > 3 and stems[at] == stem(parts[0])):
                    if len(parts) == 1 and parts[0] in _STOP:
                        continue
                    whole = True
                    for inside in range(at, at + len(parts)):
                        links[inside].value_column, links[inside].is_whole_value = column.index, True
            if whole:
                found.add((column.index, text))
            elif len(parts) > 1 and column.distinct_share < 0.99:
                for at, word in enumerate(low):
                    if len(word) > 2 and word in parts and word not in _STOP and not links[at].is_whole_value:
                        links[at].value_column, links[at].is_part_value = column.index, True
                        found.add((column.index, text))
    return found


@lru_cache(maxsize=50_000)
def _parts(text: str) -> tuple[str, ...]:
    return tuple(w.lower() for w in re.findall(r"[^\W_]+(?:['’]\w+)?|[^\s\w]", text))[:8]


def _keep_columns(columns: list[Column], links: list[Link]) -> list[Column]:
    if len(columns) <= MAX_COLUMNS:
        return list(columns)
    named = [link.column for link in sorted(links, key=lambda k: -k.strength) if link.column >= 0]
    named += [link.value_column for link in links if link.value_column >= 0]
    order = list(dict.fromkeys(named + [c.index for c in columns]))[:MAX_COLUMNS]
    return [column for column in columns if column.index in set(order)]


def _choose_values(columns: list[Column], position: dict[int, int], linked: set[tuple[int, str]]) -> list[tuple[int, str, bool, float]]:
    """Values an answer may point at: those spoken of, then the frequent ones of columns with few distinct texts."""
    chosen = [(position[c], text, True, 0.0) for c, text in sorted(linked) if c in position][: MAX_VALUES // 2]
    seen = {(c, fold(text)) for c, text, _, _ in chosen}
    per_column = max(2, (MAX_VALUES - len(chosen)) // max(1, sum(bool(c.values) for c in columns)))
    for at, column in enumerate(columns):
        if column.distinct_share > 0.9 and len(column.values) > 5:
            continue
        for text, share in column.values[: min(8, per_column)]:
            if (at, fold(text)) not in seen and len(chosen) < MAX_VALUES and len(text) <= 60:
                seen.add((at, fold(text)))
                chosen.append((at, text, False, share))
    return chosen
