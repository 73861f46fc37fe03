"""The floor that knows words but no medicine: logistic regressions over bags of words, from the task's own training part.

Two models. One says from the words of the whole note whether it holds an error; the other says which sentence an annotator would have
changed, from the sentence's words and its place. A flagged sentence is given back as it stands.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Self

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from limbeck.errors import LimbeckError
from limbeck.records import Answer, Candidate, Example, Prompt
from limbeck.tasks.medec.loading import split_numbered

FLAG_PENALTY, PLACE_PENALTY = 100.0, 0.3  # half of it times the squared weights is added to the summed loss; the first has the least log loss in 5-fold cross-validation by vignette, the second is near the least (0.1 was a little lower, with both twins as teachers)
PRIOR = 1219 / 2189  # share of notes with an error in the published training part (arXiv:2412.19260); the pairs alone would say a half
SEEN = 3  # a word is a feature if this many notes (sentences) of the training part have it
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


class Words:
    """Answers CORRECT, or the number of a sentence and the sentence unchanged. `prior` is the share of notes with an error to expect."""

    name = "words"

    def __init__(self, flag: Linear, place: Linear, prior: float = PRIOR) -> None:
        self._flag, self._place = flag, place
        self._shift = float(np.log(prior / (1 - prior)))

    @property
    def parameters(self) -> int:
        return len(self._flag.weights) + len(self._place.weights) + 1

    @classmethod
    def from_examples(cls, examples: Iterable[Example]) -> Self:
        """Learn from training examples: `gold` says of each whether it has an error and where."""
        notes = list(examples)
        errors = np.array([e.gold[0] != "CORRECT" for e in notes], float) if notes else np.zeros(0)
        if len(set(errors.tolist())) < 2:
            raise LimbeckError(f"{len(notes)} notes, all with an error or all without", "baseline:words", "teach it on a training split that has both, such as medec's train")
        texts = [read_sentences(e.prompt) for e in notes]
        flag = Linear.fit_flag([note_words(t) for t in texts], errors)
        wrong = [(int(e.gold[0].split()[0]), t) for e, t in zip(notes, texts, strict=True) if e.gold[0] != "CORRECT"]
        wrong = [(place, t) for place, t in wrong if place < len(t)]
        place = Linear.fit_place([[sentence_words(t, i) for i in range(len(t))] for _, t in wrong], [place for place, _ in wrong])
        return cls(flag, place)

    def answer(self, prompts: Sequence[Prompt], *, k: int = 1) -> list[Answer]:
        """At most k answers a note, the likeliest first: CORRECT, or a sentence by how likely it is the changed one."""
        return [Answer(prompt_id=p.id, candidates=tuple(Candidate(text=text) for text in self._rank(p)[:k])) for p in prompts]

    def error_probability(self, prompt: Prompt) -> float:
        """How likely the note holds an error."""
        return float(1 / (1 + np.exp(-self._flag.scores([note_words(read_sentences(prompt))])[0] - self._shift)))

    def place_probabilities(self, sentences: Sequence[str]) -> np.ndarray:
        """Of each sentence, how likely it is the one an annotator changed; they sum to 1."""
        scores = self._place.scores([sentence_words(sentences, i) for i in range(len(sentences))])
        weights = np.exp(scores - scores.max())
        return weights / weights.sum()

    def _rank(self, prompt: Prompt) -> list[str]:
        sentences = read_sentences(prompt)
        if not sentences:
            return ["CORRECT"]
        order = np.argsort(-self.place_probabilities(sentences), kind="stable")
        placed = [f"{i} {sentences[i]}" for i in order]
        return [*placed, "CORRECT"] if self.error_probability(prompt) > 0.5 else ["CORRECT", *placed]


class Linear:
    """A bias and a weight for each known word."""

    def __init__(self, index: dict[str, int], weights: np.ndarray, bias: float) -> None:
        self._index, self.weights, self._bias = index, weights, bias

    def scores(self, bags: Sequence[Sequence[str]]) -> np.ndarray:
        """The log odds of each bag of words."""
        return _matrix(bags, self._index) @ self.weights + self._bias

    @classmethod
    def fit_flag(cls, bags: Sequence[Sequence[str]], truth: np.ndarray, penalty: float = FLAG_PENALTY) -> Linear:
        """Logistic regression of 0/1 on bags."""
        index = _known(bags)
        x, sign = _matrix(bags, index), 2 * truth - 1

        def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
            margin = sign * (x @ w[:-1] + w[-1])
            pull = -sign / (1 + np.exp(margin))
            return float(np.logaddexp(0, -margin).sum() + penalty / 2 * w[:-1] @ w[:-1]), np.append(x.T @ pull + penalty * w[:-1], pull.sum())

        w = minimize(loss, np.zeros(len(index) + 1), jac=True, method="L-BFGS-B").x
        return cls(index, w[:-1], float(w[-1]))

    @classmethod
    def fit_place(cls, notes: Sequence[Sequence[Sequence[str]]], places: Sequence[int], penalty: float = PLACE_PENALTY) -> Linear:
        """Of the bags of one note, which one it is: a softmax over the note."""
        flat = [bag for note in notes for bag in note]
        index = _known(flat)
        x = _matrix(flat, index)
        starts = np.cumsum([0, *(len(n) for n in notes)])[:-1]
        of, right = np.repeat(np.arange(len(notes)), [len(n) for n in notes]), starts + np.array(places, int)

        def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
            score = x @ w
            score = score - np.maximum.reduceat(score, starts)[of]
            total = np.add.reduceat(np.exp(score), starts)
            pull = np.exp(score) / total[of]
            np.subtract.at(pull, right, 1.0)
            return float((np.log(total) - score[right]).sum() + penalty / 2 * w @ w), x.T @ pull + penalty * w

        return cls(index, minimize(loss, np.zeros(len(index)), jac=True, method="L-BFGS-B").x, 0.0)


def read_sentences(prompt: Prompt) -> tuple[str, ...]:
    """The numbered sentences at the end of a prompt: from the last line numbered 0 on."""
    lines = prompt.text.splitlines()
    start = next((i for i in range(len(lines) - 1, -1, -1) if re.match(r"0\s", lines[i])), len(lines))
    return split_numbered("\n".join(lines[start:]))


def note_words(sentences: Sequence[str]) -> list[str]:
    """Distinct words and word pairs of a note, without case."""
    return sorted({gram for s in sentences for gram in _grams(s)})


def sentence_words(sentences: Sequence[str], at: int) -> list[str]:
    """Distinct words and pairs of one sentence, how it begins, its place from both ends and its length."""
    words = _WORD.findall(sentences[at].lower())
    place = [f"#end {min(len(sentences) - 1 - at, 5)}", f"#part {at * 4 // len(sentences)}", f"#length {min(len(words) // 4, 6)}", f"#begins {' '.join(words[:2])}"]
    return sorted(set(_grams(sentences[at]))) + place + (["#first"] if at == 0 else [])


def _grams(sentence: str) -> list[str]:
    words = _WORD.findall(sentence.lower())
    return words + [f"{a} {b}" for a, b in pairwise(words)]


def _known(bags: Sequence[Sequence[str]]) -> dict[str, int]:
    counts = Counter(word for bag in bags for word in bag)
    return {word: at for at, word in enumerate(sorted(w for w, n in counts.items() if n >= SEEN))}


def _matrix(bags: Sequence[Sequence[str]], index: dict[str, int]) -> csr_matrix:
    rows = [[index[w] for w in bag if w in index] for bag in bags]
    return csr_matrix((np.ones(sum(map(len, rows))), np.concatenate([np.zeros(0, int), *(np.array(r, int) for r in rows)]), np.cumsum([0, *map(len, rows)])), shape=(len(bags), len(index)))
