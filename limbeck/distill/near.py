"""Requests that repeat another: equal when normalised, near by MinHash (checked exactly, so nothing is merged falsely), or near by embedding.

Each answers with the name of the record that is repeated. What differs in its context (a table, earlier turns) is another request.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.records import content_id

SHINGLE_WORDS, SHINGLE_CHARS = 3, 5  # shorter texts (under SHORT_WORDS) are compared by runs of characters
SHORT_WORDS = 12
PERMUTATIONS = 128  # most minima kept of a text
MISSED_MOST = 0.005  # of pairs exactly at the threshold
_FACTOR = 0x9E3779B97F4A7C15
_WORD = re.compile(r"\w+|[^\w\s]")
_END = re.compile(r"[\s.?!。？！]+$")


Repeat = tuple[str, float]  # the name of what is repeated, and how similar it is


class Duplicates(Protocol):
    """Who remembers requests and knows again what repeats one."""

    def prepare(self, texts: Sequence[str], groups: Sequence[str]) -> None:
        """Read a batch of requests; nothing is remembered yet."""
        ...

    def remember(self, at: int, name: str) -> Repeat | None:
        """What text `at` of the batch repeats; where it repeats nothing it is remembered as `name`, and the answer is None."""
        ...


def plain(text: str) -> str:
    """Case, width of letters, white space and a final full stop aside: the same request, typed differently. Numbers and signs count."""
    return _END.sub("", " ".join(unicodedata.normalize("NFKC", text).casefold().split()))


def group_of(context: Mapping[str, Any]) -> str:
    """What a request stands in, but for its own words: two requests of different groups never repeat each other."""
    rest = {name: value for name, value in context.items() if name != "messages"}
    before = list(context.get("messages") or [])[:-1]
    return content_id([rest, before]) if rest or before else ""


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


class ExactDuplicates:
    """Equal when normalised (`plain`) and in the same group."""

    def __init__(self) -> None:
        self._seen: dict[bytes, str] = {}
        self._batch: list[bytes] = []

    def prepare(self, texts: Sequence[str], groups: Sequence[str]) -> None:
        """By a hash of 128 bits."""
        self._batch = [hashlib.blake2b(f"{group}\x1f{plain(text)}".encode(), digest_size=16).digest() for text, group in zip(texts, groups, strict=True)]

    def remember(self, at: int, name: str) -> Repeat | None:
        """The first one with a text keeps it."""
        first = self._seen.setdefault(self._batch[at], name)
        return None if first == name else (first, 1.0)


def choose_bands(near: float, permutations: int = PERMUTATIONS) -> tuple[int, int]:
    """(bands, rows): as many rows as still miss at most MISSED_MOST of the pairs at the threshold, 1 - (1 - s^r)^b."""
    fitting = [rows for rows in range(1, permutations + 1) if (1 - near**rows) ** (permutations // rows) <= MISSED_MOST]
    rows = max(fitting, default=1)
    return permutations // rows, rows


@dataclass(frozen=True, slots=True)
class Shingles:
    """The distinct runs of a text as sorted 64-bit hashes: of words, of characters, or of both where it is little longer than short."""

    words: np.ndarray | None
    chars: np.ndarray | None

    @property
    def kinds(self) -> tuple[np.ndarray, ...]:
        """Those that are there."""
        return tuple(kind for kind in (self.words, self.chars) if kind is not None)

    def similarity(self, other: Shingles, near: float) -> float:
        """Jaccard's, by words where both have them; 0 where it cannot reach `near`."""
        one, two = (self.words, other.words) if self.words is not None and other.words is not None else (self.chars, other.chars)
        if one is None or two is None or min(len(one), len(two)) < near * max(len(one), len(two)):
            return 0.0
        same = len(np.intersect1d(one, two, assume_unique=True))
        return same / (len(one) + len(two) - same)


def _runs(tokens: np.ndarray, length: int, group: str) -> np.ndarray:
    """Hashes of all runs of `length`; texts of two groups share none."""
    runs = np.full(max(1, len(tokens) - length + 1), _hash(f"{length} {group}"), np.uint64)
    for offset in range(min(length, len(tokens))):
        runs = (runs + tokens[offset : offset + len(runs)]) * np.uint64(_FACTOR)
        runs ^= runs >> np.uint64(29)
    return np.unique(runs)


class MinHashDuplicates:
    """Jaccard similarity of shingles of at least `near`: candidates by MinHash with banding, each checked exactly.

    Shingles are runs of three words, or of five characters where either text is short; who is little longer than short has both kinds.
    Differs from datasketch's MinHashLSH: minima of a batch are found together in numpy, and an estimate never decides.
    """

    def __init__(self, near: float, permutations: int = PERMUTATIONS) -> None:
        self.near = near
        self.bands, self.rows = choose_bands(near, permutations)
        draw = np.random.default_rng(7)
        count = self.bands * self.rows
        self._a = draw.integers(1, 1 << 63, count, np.uint64) | np.uint64(1)
        self._b = draw.integers(0, 1 << 63, count, np.uint64)
        self._tables: list[dict[int, list[int]]] = [defaultdict(list) for _ in range(self.bands)]
        self._kept: list[Shingles] = []
        self._names: list[str] = []
        self._words: dict[str, int] = {}
        self._batch: list[Shingles] = []
        self._keys: list[list[list[int]]] = []

    def prepare(self, texts: Sequence[str], groups: Sequence[str]) -> None:
        """Shingles and the hashes of their bands."""
        self._batch = [self._shingles(text, group) for text, group in zip(texts, groups, strict=True)]
        rows = iter(self._band_keys([kind for both in self._batch for kind in both.kinds]).tolist())
        self._keys = [[next(rows) for _ in both.kinds] for both in self._batch]

    def remember(self, at: int, name: str) -> Repeat | None:
        """The nearest of those remembered, from `near` on."""
        found = self._nearest(at)
        if found is None:
            self._keep(at, name)
        return found

    def _keep(self, at: int, name: str) -> None:
        number = len(self._names)
        self._names.append(name)
        self._kept.append(self._batch[at])
        for keys in self._keys[at]:
            for table, key in zip(self._tables, keys, strict=True):
                table[key].append(number)

    def _shingles(self, text: str, group: str) -> Shingles:
        bare = plain(text)
        words = _WORD.findall(bare)
        known = self._words
        short = len(words) < SHORT_WORDS
        by_char = np.frombuffer(bare.encode("utf-32-le"), np.uint32).astype(np.uint64) if len(words) * self.near < SHORT_WORDS else None
        by_word = None if short else np.array([known[w] if w in known else known.setdefault(w, _hash(w)) for w in words], np.uint64)
        return Shingles(
            None if by_word is None else _runs(by_word, SHINGLE_WORDS, group),
            None if by_char is None else _runs(by_char, SHINGLE_CHARS, group),
        )

    def _nearest(self, at: int) -> Repeat | None:
        own = self._batch[at]
        candidates = {n for keys in self._keys[at] for table, key in zip(self._tables, keys, strict=True) for n in table.get(key, ())}
        best, name = 0.0, -1
        for number in sorted(candidates):
            similarity = own.similarity(self._kept[number], self.near)
            if similarity >= self.near and similarity > best:
                best, name = similarity, number
        return (self._names[name], round(best, 4)) if name >= 0 else None

    def _band_keys(self, sets: Sequence[np.ndarray]) -> np.ndarray:
        """[N, bands]: a hash of each band's minima."""
        if not sets:
            return np.zeros((0, self.bands), np.uint64)
        flat = np.concatenate(sets)
        starts = np.cumsum([0, *(len(s) for s in sets[:-1])])
        minima = np.empty((len(sets), self.bands * self.rows), np.uint64)
        for at, (a, b) in enumerate(zip(self._a, self._b, strict=True)):
            mixed = flat * a + b  # modulo 2^64: multiply-shift, whose high bits are the good ones
            minima[:, at] = np.minimum.reduceat(mixed ^ (mixed >> np.uint64(31)), starts)
        keys = np.zeros((len(sets), self.bands), np.uint64)
        for row in range(self.rows):
            keys = keys * np.uint64(_FACTOR) + minima[:, row :: self.rows][:, : self.bands]
        return keys


Encode = Callable[[Sequence[str]], np.ndarray]


class EmbeddingDuplicates:
    """Cosine similarity of embeddings of at least `near`. `encode` gives a row of unit length a text."""

    def __init__(self, near: float, encode: Encode) -> None:
        self.near, self._encode = near, encode
        self._rows: np.ndarray | None = None
        self._count = 0
        self._names: list[str] = []
        self._groups: list[str] = []
        self._batch: np.ndarray = np.zeros((0, 0), np.float32)
        self._batch_groups: Sequence[str] = ()

    def prepare(self, texts: Sequence[str], groups: Sequence[str]) -> None:
        """Their embeddings."""
        self._batch, self._batch_groups = np.asarray(self._encode(texts), np.float32), groups

    def remember(self, at: int, name: str) -> Repeat | None:
        """The nearest of those remembered, from `near` on."""
        found = self._nearest(at)
        if found:
            return found
        if self._rows is None:
            self._rows = np.empty((1024, self._batch.shape[1]), np.float32)
        elif self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self._count] = self._batch[at]
        self._count += 1
        self._names.append(name)
        self._groups.append(self._batch_groups[at])
        return None

    def _nearest(self, at: int) -> Repeat | None:
        if self._rows is None:
            return None
        similar = self._rows[: self._count] @ self._batch[at]
        for place in np.argsort(-similar, kind="stable"):
            if similar[place] < self.near - 1e-6:
                return None
            if self._groups[place] == self._batch_groups[at]:
                return self._names[place], round(float(similar[place]), 4)
        return None


def load_encoder(source: str, batch: int = 32, length: int = 512) -> Encode:
    """Mean of a transformer's last hidden states over a text's tokens, at unit length. `source` is hf:ID-or-folder. Raises LimbeckError."""
    if not source:
        raise LimbeckError("near by embedding needs an encoder", "keep.embedding", "name one: hf:ID-or-folder; or set keep.duplicates = 'minhash'")
    try:
        import torch
        from transformers import AutoModel, AutoTokenizer
    except ImportError as problem:
        raise LimbeckError("near by embedding needs transformers", "keep.duplicates = 'embedding'", "pip install 'limbeck[hf]', or set keep.duplicates = 'minhash'") from problem
    name = source.removeprefix("hf:")
    try:
        tokenizer, model = AutoTokenizer.from_pretrained(name), AutoModel.from_pretrained(name).eval()
    except (OSError, ValueError) as problem:
        raise LimbeckError(f"the encoder cannot be loaded: {str(problem).splitlines()[0]}", f"keep.embedding = {source!r}", "name a folder or id of a model with its tokenizer") from problem
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token

    def encode(texts: Sequence[str]) -> np.ndarray:
        rows = []
        for start in range(0, len(texts), batch):
            read = tokenizer(list(texts[start : start + batch]), padding=True, truncation=True, max_length=length, return_tensors="pt")
            read.pop("token_type_ids", None) if "token_type_ids" not in tokenizer.model_input_names else None
            with torch.inference_mode():
                hidden_BLD = model(**read).last_hidden_state.float()
            mask_BL1 = read["attention_mask"].unsqueeze(-1).float()
            mean_BD = (hidden_BLD * mask_BL1).sum(1) / mask_BL1.sum(1).clamp(min=1)
            rows.append(torch.nn.functional.normalize(mean_BD, dim=-1).numpy())
        return np.concatenate(rows)

    return encode


def get_duplicates(how: str, near: float, embedding: str = "") -> Duplicates | None:
    """What `keep.duplicates` names; None where duplicates stay."""
    if how == "off":
        return None
    if how == "exact":
        return ExactDuplicates()
    return MinHashDuplicates(near) if how == "minhash" else EmbeddingDuplicates(near, load_encoder(embedding))
