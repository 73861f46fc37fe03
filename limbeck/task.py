"""What is asked. A Task owns examples, prompt, verifier and scorer; a Codec lets a small network read and write it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from limbeck.records import Answer, Candidate, Check, Example, Prompt, Verdict


@runtime_checkable
class Task(Protocol):
    """A job. `version` changes whenever a prompt or a scorer changes, so that scores of two versions never mix."""

    name: str
    version: str

    def splits(self) -> Sequence[str]:
        """Names that `examples` takes."""
        ...

    def examples(self, split: str, limit: int | None = None) -> list[Example]:
        """The examples of one split, always in the same order."""
        ...

    def generate(self, seed: int, count: int, start: int = 0) -> Iterator[Example]:
        """Fresh examples with gold, a pure function of (seed, index)."""
        ...

    def verify(self, prompt: Prompt, candidate: Candidate) -> Check:
        """Whether a candidate could be an answer at all, with no gold in sight."""
        ...

    def score(self, example: Example, answer: Answer) -> Verdict:
        """An answer judged against the gold."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A prompt as a small network reads it: S tokens, each a bag of hashed pieces plus facts about it.

    pieces_SG   int32, hashed word and character n-grams of a token, 0 = none
    kind_S      int16, what sort of token (word, column, value ...), 1-based; 0 is padding
    flags_SF    float32, facts: is a number, matches a header, lies in a column's range ...
    link_S      int16, the slot a token speaks of (a word naming column 3 carries column 3's slot), 0 = none
    slot_S      int16, the output symbol that points at this token, 0 = none
    """

    pieces_SG: np.ndarray
    kind_S: np.ndarray
    flags_SF: np.ndarray
    link_S: np.ndarray
    slot_S: np.ndarray


@runtime_checkable
class Codec(Protocol):
    """Between a task's prompts and answers and a network's numbers. Symbols 0, 1, 2 are <pad>, <bos>, <eos>."""

    name: str
    symbols: Sequence[str]
    target_length: int  # longest answer in symbols, <eos> included

    def encode(self, prompt: Prompt) -> Source:
        """What the network reads."""
        ...

    def encode_answer(self, prompt: Prompt, text: str) -> list[int] | None:
        """An answer as symbols, ending in <eos>; None where the symbols cannot say it."""
        ...

    def decode(self, prompt: Prompt, symbols: Sequence[int]) -> str | None:
        """Symbols as an answer in its one printed form; None where they do not parse."""
        ...

    def allowed(self, prompt: Prompt, prefix: Sequence[int]) -> np.ndarray:
        """Which symbols may follow a prefix: bool, shape V."""
        ...

    def settings(self) -> dict[str, Any]:
        """What must be equal for two codecs to understand the same weights; saved with an expert."""
        ...
