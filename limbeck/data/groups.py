"""Splits in which near-duplicates stay together, and what two sets of texts share."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

NGRAM = 8
VARYING = re.compile(r"\"[^\"]*\"|'[^']*'|`[^`]*`|\d+(?:[.,]\d+)*")


def normalise(text: str) -> str:
    """Lower case, words only, with quoted parts and numbers as one sign: what near-duplicates differ in."""
    return " ".join(re.findall(r"[^\W_]+|§", VARYING.sub("§", text.lower())))


def group_by_keys(keys: Sequence[Iterable[Hashable]]) -> list[int]:
    """A group number for each item; items that share any key, or are linked by others that do, are in one group."""
    parent = list(range(len(keys)))

    def find(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    first: dict[Hashable, int] = {}
    for at, own in enumerate(keys):
        for key in own:
            a, b = find(first.setdefault(key, at)), find(at)
            parent[max(a, b)] = min(a, b)
    return [find(at) for at in range(len(keys))]


def split_by_group(keys: Sequence[Iterable[Hashable]], names: Sequence[str], shares: Mapping[str, float], salt: str = "") -> list[str]:
    """The split of each item: whole groups, by the hash of a group's smallest name. `shares` add up to 1."""
    groups = group_by_keys(keys)
    smallest: dict[int, str] = {}
    for group, name in zip(groups, names, strict=True):
        smallest[group] = min(name, smallest.get(group, name))
    chosen = {group: _choose(f"{salt}/{name}", shares) for group, name in smallest.items()}
    return [chosen[group] for group in groups]


def _choose(name: str, shares: Mapping[str, float]) -> str:
    point = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
    *before, last = shares.items()
    for split, share in before:
        point -= share
        if point < 0:
            return split
    return last[0]


@dataclass(frozen=True, slots=True)
class SharedText:
    """How many test texts stand in the training texts: as they are, normalised, or in a run of `NGRAM` words."""

    tests: int
    exact: int
    normalised: int
    ngrams: int
    long_enough: int

    def as_row(self) -> dict[str, int]:
        """For a table or JSON."""
        return {"tests": self.tests, "exact": self.exact, "normalised": self.normalised, f"shared_{NGRAM}_grams": self.ngrams, "long_enough": self.long_enough}


def count_shared(training: Iterable[str], tests: Iterable[str]) -> SharedText:
    """What of the tests was seen in training; each test text counts once however often it stands there."""
    asked = list(tests)
    exact, plain, grams = set(), set(), set()
    wanted = {gram for text in asked for gram in _grams(text)}
    for text in training:
        exact.add(text.strip())
        plain.add(normalise(text))
        grams |= wanted & set(_grams(text))
    counts: Counter[str] = Counter()
    for text in asked:
        own = _grams(text)
        counts["exact"] += text.strip() in exact
        counts["normalised"] += normalise(text) in plain
        counts["ngrams"] += any(gram in grams for gram in own)
        counts["long"] += bool(own)
    return SharedText(len(asked), counts["exact"], counts["normalised"], counts["ngrams"], counts["long"])


def _grams(text: str) -> list[tuple[str, ...]]:
    words = re.findall(r"[^\W_]+", text.lower())
    return [tuple(words[at : at + NGRAM]) for at in range(len(words) - NGRAM + 1)]
