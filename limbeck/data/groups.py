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


@dataclass(frozen=True, slots=True)
class Hit:
    """A test text and the first training text that shares it. `kind`: exact, normalised, or run."""

    kind: str
    test: str
    training: str


def count_shared(training: Iterable[str], tests: Iterable[str]) -> SharedText:
    """What of the tests was seen in training; each test text counts once however often it stands there."""
    return find_shared(training, tests)[0]


def find_shared(training: Iterable[str], tests: Iterable[str]) -> tuple[SharedText, list[Hit]]:
    """The counts, and for each test text that was seen the closest sort of hit. Training texts are read once and not kept."""
    asked = list(tests)
    own = [_grams(text) for text in asked]
    by_text, by_plain, by_gram = ({key: "" for key in keys} for keys in ((t.strip() for t in asked), map(normalise, asked), (g for grams in own for g in grams)))
    for text in training:
        for known, keys in ((by_text, (text.strip(),)), (by_plain, (normalise(text),)), (by_gram, _grams(text))):
            for key in keys:
                if key in known:
                    known[key] = known[key] or text
    counts: Counter[str] = Counter()
    hits = []
    for text, grams in zip(asked, own, strict=True):
        run = next((found for gram in grams if (found := by_gram[gram])), "")
        found = {"exact": by_text[text.strip()], "normalised": by_plain[normalise(text)], "run": run}
        counts.update(kind for kind, seen in found.items() if seen)
        counts["long"] += bool(grams)
        hits += [Hit(kind, text, seen) for kind, seen in found.items() if seen][:1]
    return SharedText(len(asked), counts["exact"], counts["normalised"], counts["run"], counts["long"]), hits


def _grams(text: str) -> list[Hashable]:
    words = re.findall(r"[^\W_]+", text.lower())
    return [tuple(words[at : at + NGRAM]) for at in range(len(words) - NGRAM + 1)]
