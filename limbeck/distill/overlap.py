"""Whether a text repeats one that must never be trained on."""

from __future__ import annotations

import re
from collections.abc import Iterable


def normalise(text: str) -> str:
    """Lower case, digits as one sign, punctuation as spaces: what two people's typing differs in."""
    return " ".join(re.sub(r"[^a-z0#]+", " ", re.sub(r"\d+(?:[.,]\d+)*", "0", text.lower())).split())


class Overlap:
    """Test texts by their normalised form and their word n-grams."""

    def __init__(self, texts: Iterable[str], ngram: int) -> None:
        self.ngram = ngram
        self.whole: set[str] = set()
        self.grams: set[tuple[str, ...]] = set()
        for text in texts:
            words = normalise(text).split()
            self.whole.add(" ".join(words))
            self.grams.update(self._grams(words))

    def _grams(self, words: list[str]) -> Iterable[tuple[str, ...]]:
        return (tuple(words[i : i + self.ngram]) for i in range(len(words) - self.ngram + 1))

    def hits(self, text: str) -> bool:
        """True when the text equals a test text, or shares a run of `ngram` words with one."""
        words = normalise(text).split()
        return " ".join(words) in self.whole or any(gram in self.grams for gram in self._grams(words))
