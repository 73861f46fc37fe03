"""Which training texts repeat a test, and where: whole, the whole test inside a longer text, or a shared run of words.

Texts are compared by their words: case, white space, punctuation and the width of letters aside; numbers count. Characters of
scripts without spaces (Chinese, Japanese, Thai ...) are half a word each. What a benchmark says in 20 tests or more
(a paragraph of its prompt) is cut off first, and words inside runs of four that many tests share are stock: they are no
evidence by themselves. A shared run is one where it is `ngram` words long, half of them are not stock, and those that are not
are rare enough (their unigram surprise in bits). A whole test inside a record counts whatever its words are.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

TEMPLATE = 20  # tests of one benchmark that share a paragraph: it is the benchmark's wording, not the test's
STOCK_RUN, STOCK_TESTS = 4, 6  # a run of four words in so many different tests is stock
LEAST_WORDS = 200  # fewer words of tests cannot say how rare a word is: it is taken as one of so many
SURPRISE_BITS = 45.0  # of the words of a run that are not stock; see benchmarks/decontamination.py
LONG_WORDS, LONG_RUN = 2_000, 13  # records longer than this meet chance runs: they need a longer one (n = 13, Brown et al. 2020)
MOST_HITS = 3  # shown of one record
SHOWN = 2_000  # characters of a text that a hit carries
BATCH_WORDS = 2_000_000
_BITMAP = 25  # log2 of the cells of the filter before the search

_BARE = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # scripts written without spaces
WORD = re.compile(rf"[{_BARE}]|(?:[^\W_{_BARE}]|[\u0300-\u036f\u0900-\u0963\u0966-\u0dff])+")
_APOSTROPHE = str.maketrans("", "", "'\u2019\u02bc`\u00ad\u200b\u200c\u200d\ufeff")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_SIGN = re.compile(r"[()\[\]{}<>+*/=^|&~%]|(?<![^\W_])-")
_TABLE = bytes(c if chr(c).isalnum() and c < 128 else 32 for c in range(256))
_FACTOR = np.uint64(0x9E3779B97F4A7C15)

Test = tuple[str, str, str]  # benchmark (TASK/SPLIT), id, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A text that repeats a test. `kind`: whole (equal), inside (the whole test in a longer text), run (`words` of both in a row)."""

    benchmark: str
    test: str
    kind: str
    words: float
    run: str
    training_text: str
    test_text: str

    def as_row(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def split_words(text: str) -> list[bytes]:
    """A text's words in UTF-8, as they are compared."""
    text = text.translate(_APOSTROPHE) if not text.isascii() or "'" in text or "`" in text else text
    if "," in text:
        text = _THOUSANDS.sub("", text)
    if text.isascii():
        return text.lower().encode().translate(_TABLE).split()
    return [w.encode() for w in WORD.findall(unicodedata.normalize("NFKC", text).casefold())]


def _weight(word: bytes) -> float:
    return 0.5 if len(word) > 2 and re.fullmatch(f"[{_BARE}]", word.decode()) else 1.0


def _signs(text: str) -> str:
    """The brackets and operators of a text: all that some tests differ in."""
    return "".join(_SIGN.findall(text))


@dataclass(slots=True)
class _Item:
    """Tests that are one text when compared: their names, and how they are written."""

    text: str
    part: bool  # the question of a test without its choices or cases; or a short test with its benchmark's wording
    names: list[tuple[str, str]] = field(default_factory=list)
    signs: set[str] = field(default_factory=set)
    start: int = 0
    length: int = 0

    @property
    def is_common(self) -> bool:
        """A question that several tests ask ("Which of these is true?"): it says nothing of any of them."""
        return self.part and len({name for _, name in self.names}) > 2


class Contamination:
    """An index of test texts. `texts` are (benchmark, id, text); `not_looked_at` says which benchmarks are missing, and why."""

    def __init__(self, texts: Iterable[Test], ngram: int = 8, *, bits: float = SURPRISE_BITS, not_looked_at: Mapping[str, str] | None = None) -> None:
        self.ngram, self.bits, self.not_looked_at = ngram, bits, dict(not_looked_at or {})
        given = list(texts)
        self.benchmarks = dict(Counter(benchmark for benchmark, _, _ in given))
        self._vocabulary: dict[bytes, int] = {}
        self._items, bodies, self._whole = _items(given, ngram)
        ids = [[self._vocabulary.setdefault(w, len(self._vocabulary) + 1) for w in words] for words in bodies]
        for item, body in zip(self._items, ids, strict=True):
            item.length = len(body)
        self._ids = np.array([i for body in ids for i in (*body, 0)], np.int32)
        starts = np.cumsum([0, *(len(body) + 1 for body in ids)])
        for item, start in zip(self._items, starts, strict=False):
            item.start = int(start)
        self._owner = np.repeat(np.arange(len(ids), dtype=np.int32), [len(body) + 1 for body in ids])
        names = list(self._vocabulary)
        self._words = [b"", *names]
        self._weights = np.array([0.0, *map(_weight, names)])
        self._mixed = np.random.default_rng(20).integers(1, 2**63, len(self._words), np.uint64)
        self._measure()
        self._index()

    def _measure(self) -> None:
        """Which positions hold stock words, and how surprising each word is."""
        parts = np.array([item.part for item in self._items], bool)
        counts = np.bincount(self._ids[~parts[self._owner]] if len(parts) else self._ids, minlength=len(self._words)).astype(float)
        counts[0] = 0
        self._surprise = np.log2((max(LEAST_WORDS, counts.sum()) + 1) / (counts + 1))
        self._stock = np.zeros(len(self._ids), bool)
        grams, known = self._grams(self._ids, STOCK_RUN)
        if not len(grams):
            return
        at = np.flatnonzero(known & ~parts[self._owner[: len(grams)]])
        at = at[np.argsort(grams[at], kind="stable")]  # stable: the places of one run stay in the order of their tests
        runs, owners = grams[at], self._owner[at]
        first = np.concatenate([[True], (runs[1:] != runs[:-1]) | (owners[1:] != owners[:-1])])
        shared, tests = np.unique(runs[first], return_counts=True)
        places = np.flatnonzero(known & np.isin(grams, shared[tests >= STOCK_TESTS]))
        for offset in range(STOCK_RUN):
            self._stock[places + offset] = True

    def _index(self) -> None:
        """Sorted hashes of the runs that hold a word of their own; and the first run of each test."""
        grams, known = self._grams(self._ids, self.ngram)
        own = np.concatenate([[0], np.cumsum(~self._stock & (self._ids > 0))])
        fresh = known & (own[self.ngram : len(grams) + self.ngram] - own[: len(grams)] > 0) if len(grams) else known
        parts = np.array([item.part for item in self._items], bool)
        at = np.flatnonzero(fresh & ~parts[self._owner[: len(grams)]]) if len(grams) else np.flatnonzero(fresh)
        order = np.argsort(grams[at], kind="stable")
        self._at, self._hashes = at[order], grams[at][order]
        self._first: dict[int, list[int]] = defaultdict(list)
        for number, item in enumerate(self._items):
            if not item.is_common and item.length >= self.ngram and self._length(item.start, item.start + item.length) >= self.ngram:
                self._first[int(grams[item.start])].append(number)
        heads = np.fromiter(self._first, np.uint64, len(self._first))
        self._filter = np.zeros(1 << _BITMAP, bool)
        for hashes in (self._hashes, heads):
            self._filter[hashes >> np.uint64(64 - _BITMAP)] = True

    def _grams(self, ids: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """A hash of each run of `length` tokens, and whether all of them are known words."""
        size = len(ids) - length + 1
        if size <= 0:
            return np.zeros(0, np.uint64), np.zeros(0, bool)
        values = self._mixed[ids]
        out, unknown = np.zeros(size, np.uint64), np.zeros(size, bool)
        missing = ids == 0
        for offset in range(length):
            out *= _FACTOR
            out += values[offset : offset + size]
            unknown |= missing[offset : offset + size]
        return out ^ (out >> np.uint64(29)), ~unknown

    def _length(self, start: int, end: int) -> float:
        return float(self._weights[self._ids[start:end]].sum())

    def hits(self, text: str, *, is_answer: bool = False) -> list[Hit]:
        """What one text repeats, the strongest first; at most three tests."""
        return self.look([text], is_answer=is_answer)[0]

    def look(self, texts: Sequence[str], *, is_answer: bool = False) -> list[list[Hit]]:
        """What each text repeats. An answer is no repetition of a test shorter than `ngram` words."""
        out: list[list[Hit]] = []
        batch: list[list[bytes]] = []
        size = 0
        for text in texts:
            batch.append(split_words(text))
            size += len(batch[-1])
            if size >= BATCH_WORDS:
                out += self._look(texts[len(out) : len(out) + len(batch)], batch, is_answer)
                batch, size = [], 0
        return out + self._look(texts[len(out) :], batch, is_answer) if batch else out

    def _look(self, texts: Sequence[str], batch: Sequence[Sequence[bytes]], is_answer: bool) -> list[list[Hit]]:
        get = self._vocabulary.get
        ids = np.array([i for words in batch for i in (*(get(w, 0) for w in words), 0)], np.int32)
        starts = np.concatenate([[0], np.cumsum([len(words) + 1 for words in batch])])
        grams, known = self._grams(ids, self.ngram)
        at = np.flatnonzero(known)
        at = at[self._filter[grams[at] >> np.uint64(64 - _BITMAP)]]
        places: dict[int, list[int]] = defaultdict(list)
        for place, owner in zip(at.tolist(), (np.searchsorted(starts, at, "right") - 1).tolist(), strict=True):
            places[owner].append(place)
        found = []
        for number, (text, words) in enumerate(zip(texts, batch, strict=True)):
            hits = list(self._equal(text, words, is_answer))
            if not hits and number in places:
                start, end = int(starts[number]), int(starts[number + 1]) - 1
                hits = self._compare(text, words, ids[start:end], grams, places[number], start)
            found.append(hits[:MOST_HITS])
        return found

    def _equal(self, text: str, words: Sequence[bytes], is_answer: bool) -> Iterator[Hit]:
        """Tests that are this very text."""
        numbers = self._whole.get(b" ".join(words), ()) if words else ()
        for number in numbers:
            item = self._items[number]
            if is_answer and item.length < self.ngram:
                continue
            if len(item.signs) == 1 or _signs(text) in item.signs:
                yield self._hit(item, "whole", float(self._weights[[self._vocabulary.get(w, 0) for w in words]].sum()), words, text, 0)

    def _compare(self, text: str, words: Sequence[bytes], ids: np.ndarray, grams: np.ndarray, places: Sequence[int], start: int) -> list[Hit]:
        """Whole tests inside a text, then the longest run with each other test."""
        found: dict[int, tuple[bool, float, int, int]] = {}  # test: inside, words, where, how many tokens
        done: dict[tuple[int, int], int] = {}  # (test, diagonal): up to where it was followed
        for place in places:
            gram, here = grams[place], place - start
            for number in self._first.get(int(gram), ()):
                item = self._items[number]
                if here + item.length <= len(ids) and np.array_equal(ids[here : here + item.length], self._ids[item.start : item.start + item.length]) and self._is_written(item, text):
                    found[number] = (True, self._length(item.start, item.start + item.length), here, item.length)
            low, high = np.searchsorted(self._hashes, gram, "left"), np.searchsorted(self._hashes, gram, "right")
            for there in self._at[low:high].tolist():
                number = int(self._owner[there])
                if here < done.get((number, there - here), -1) or (number in found and found[number][0]):
                    continue
                first, last = self._follow(ids, here, there)
                done[number, there - here] = last
                length = self._evidence(there - (here - first), there + (last - here), len(ids))
                if length > found.get(number, (False, 0.0, 0, 0))[1]:
                    found[number] = (False, length, first, last - first)
        ranked = sorted(found.items(), key=lambda f: (not f[1][0], -f[1][1], f[0]))
        return [self._hit(self._items[n], "inside" if inside else "run", length, words[at : at + size], text, at) for n, (inside, length, at, size) in ranked]

    def _follow(self, ids: np.ndarray, here: int, there: int) -> tuple[int, int]:
        """The first and last + 1 position in the text of the run around two equal positions."""
        first, last = here, here
        while first > 0 and there - (here - first) > 0 and ids[first - 1] and ids[first - 1] == self._ids[there - (here - first) - 1]:
            first -= 1
        while last < len(ids) and ids[last] and ids[last] == self._ids[there + (last - here)]:
            last += 1
        return first, last

    def _evidence(self, start: int, end: int, record_tokens: int) -> float:
        """The words of a run where it is evidence, else 0."""
        length = self._length(start, end)
        own = ~self._stock[start:end]
        distinct = np.unique(self._ids[start:end][own])
        needed = max(self.ngram, LONG_RUN) if record_tokens > LONG_WORDS else self.ngram
        enough = length >= needed and self._weights[self._ids[start:end][own]].sum() >= self.ngram / 2
        return length if enough and self._surprise[distinct].sum() >= self.bits else 0.0

    def _is_written(self, item: _Item, text: str) -> bool:
        """Tests that differ in their signs alone (brackets, operators) must stand there with them."""
        return len(item.signs) == 1 or any(s in _signs(text) for s in item.signs)

    def _hit(self, item: _Item, kind: str, length: float, run: Sequence[bytes], text: str, at: int) -> Hit:
        benchmark, name = item.names[0]
        also = f" (and {len(item.names) - 1} more)" if len(item.names) > 1 else ""
        shown = text if len(text) <= SHOWN else _cut(text, at)
        return Hit(benchmark=benchmark, test=name + also, kind=kind, words=length, run=b" ".join(run).decode(), training_text=shown, test_text=item.text[:SHOWN])


def _cut(text: str, word: int) -> str:
    """A long text from a little before its word of this number (as the original counts words, so about there)."""
    spans = [m.start() for m in WORD.finditer(text)]
    middle = spans[min(word, len(spans) - 1)] if spans else 0
    first = max(0, middle - SHOWN // 4)
    return ("... " if first else "") + text[first : first + SHOWN] + (" ..." if first + SHOWN < len(text) else "")


def _items(given: Sequence[Test], ngram: int) -> tuple[list[_Item], list[list[bytes]], dict[bytes, list[int]]]:
    """Distinct tests without their benchmark's wording, their words, and which of them a whole text may equal."""
    shared: Counter[tuple[str, str]] = Counter()
    for benchmark, _, text in given:
        shared.update({(benchmark, p) for p in _paragraphs(text)})
    items: dict[tuple[bool, bytes], _Item] = {}
    bodies: list[list[bytes]] = []
    whole: dict[bytes, set[int]] = defaultdict(set)
    numbers: dict[tuple[bool, bytes], int] = {}
    for benchmark, name, text in given:
        left = [p for p in _paragraphs(text) if shared[benchmark, p] < TEMPLATE] or _paragraphs(text)
        bare = "\n\n".join(left)
        bodies_of = [(False, bare), *([(True, left[0])] if len(left) > 1 else []), *([(True, text)] if max((len(split_words(p)) for p in left), default=0) < ngram <= len(split_words(text)) else [])]  # wording cut out of the middle leaves short ends
        for part, body in bodies_of:
            words = split_words(body)
            if not words:
                continue
            key = (part, b" ".join(words))
            if key not in items:
                items[key] = _Item(body, part)
                numbers[key] = len(bodies)
                bodies.append(words)
            items[key].names.append((benchmark, name))
            items[key].signs.add(_signs(body))
            whole[key[1]].add(numbers[key])
            if not part:
                whole[b" ".join(split_words(text))].add(numbers[key])
    found = list(items.values())
    common = {n for n, item in enumerate(found) if item.is_common}
    return found, bodies, {key: sorted(ns - common) for key, ns in whole.items() if ns - common}


def _paragraphs(text: str) -> list[str]:
    return [p.strip() for p in re.split(r"\n\s*\n", text) if p.strip()]
