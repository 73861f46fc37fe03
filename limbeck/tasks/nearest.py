"""The answerer that costs nothing: the answers to the nearest utterances seen, as they are."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Self

from limbeck.records import Answer, Candidate, Example, Prompt


class NearestText:
    """TF-IDF over words and word pairs, cosine; the distinct answers of the nearest utterances.

    A subclass says what a word is, and whether a word that comes again counts by the logarithm only.
    """

    name = "nearest"
    word = re.compile(r"\w\w+")
    is_sublinear = False
    parameters: int | None = 0

    def __init__(self) -> None:
        self._answers: list[tuple[str, ...]] = []
        self._weights: dict[str, float] = {}
        self._index: dict[str, list[tuple[int, float]]] = defaultdict(list)

    @classmethod
    def from_examples(cls, examples: Iterable[Example]) -> Self:
        """Remember examples with gold."""
        self = cls()
        seen = [e for e in examples if e.gold]
        bags = [self._count(e.prompt.text) for e in seen]
        self._answers = [e.gold for e in seen]
        documents = Counter(gram for bag in bags for gram in bag)
        self._weights = {gram: math.log((1 + len(bags)) / (1 + count)) + 1 for gram, count in documents.items()}
        for number, bag in enumerate(bags):
            norm = math.sqrt(sum((c * self._weights[g]) ** 2 for g, c in bag.items())) or 1.0
            for gram, count in bag.items():
                self._index[gram].append((number, count * self._weights[gram] / norm))
        return self

    def answer(self, prompts: Sequence[Prompt], *, k: int = 1) -> list[Answer]:
        """At most k distinct answers a prompt, nearest first."""
        return [self._answer(prompt, k) for prompt in prompts]

    def _answer(self, prompt: Prompt, k: int) -> Answer:
        grams = self._count(prompt.text)
        norm = math.sqrt(sum((c * self._weights.get(g, 0.0)) ** 2 for g, c in grams.items())) or 1.0
        scores: dict[int, float] = defaultdict(float)
        for gram, count in grams.items():
            for number, weight in self._index.get(gram, ()):
                scores[number] += count * self._weights[gram] * weight / norm
        found: dict[str, float] = {}
        for number in sorted(scores, key=lambda n: (-scores[n], n)):
            for text in self._answers[number]:
                if len(found) < k:
                    found.setdefault(text, scores[number])
            if len(found) >= k:
                break
        if not found:
            return Answer(prompt_id=prompt.id, status="no_answer", reason="no word in common with what was seen")
        return Answer(prompt_id=prompt.id, candidates=tuple(Candidate(text=t, score=s) for t, s in found.items()))

    def _count(self, text: str) -> dict[str, float]:
        words = self.word.findall(text.lower())
        counts = Counter(words + [f"{a} {b}" for a, b in itertools.pairwise(words)])
        return {gram: 1 + math.log(count) if self.is_sublinear else float(count) for gram, count in counts.items()}
