"""Wishes laid on a canvas: text fixed in front and behind while the middle is written, or a snippet to be mended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.models.batch import EOS, PAD
from limbeck.records import Prompt

FREE = -1
LAYOUTS = 12  # middle lengths tried at once where a suffix is fixed
NEVER = -1e9


@dataclass(frozen=True, slots=True)
class Wish:
    """What one prompt's canvas must hold: symbols in front, symbols behind, or a whole snippet to start from."""

    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()
    snippet: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """R rows of L positions: what is fixed (FREE elsewhere), where an answer may not end, what a snippet starts from."""

    fixed_RL: Tensor
    endless_RL: Tensor
    start_RL: Tensor
    used_R: Tensor  # positions that the answer takes with its <eos>, where a suffix decides it, else 0

    def select(self, row_N: Tensor) -> Layout:
        """Some of the rows."""
        return Layout(self.fixed_RL[row_N], self.endless_RL[row_N], self.start_RL[row_N], self.used_R[row_N])

    def constrain(self, logp_LV: np.ndarray, row: int) -> np.ndarray:
        """Scores with everything but the fixed symbols ruled out, and no end before the suffix."""
        out_LV = logp_LV.copy()
        fixed_L = self.fixed_RL[row].numpy()[: len(out_LV)]
        for at in np.flatnonzero(fixed_L != FREE):
            kept = out_LV[at, fixed_L[at]]
            out_LV[at] = NEVER
            out_LV[at, fixed_L[at]] = kept
        endless_L = np.flatnonzero(self.endless_RL[row].numpy()[: len(out_LV)])
        out_LV[endless_L, PAD] = out_LV[endless_L, EOS] = NEVER
        return out_LV


def rows_each(wishes: Sequence[Wish] | None, draws: int) -> int:
    """Draws a prompt: more where the length of a middle must be guessed too."""
    return max(draws, LAYOUTS) if wishes and any(w.suffix for w in wishes) else draws


def lay_wishes(wishes: Sequence[Wish], each: int, length: int) -> Layout:
    """`each` rows a wish; where a suffix is fixed they differ in how much room they leave for the middle."""
    rows = len(wishes) * each
    fixed, start = torch.full((rows, length), FREE), torch.full((rows, length), PAD)
    endless, used = torch.zeros(rows, length, dtype=torch.bool), torch.zeros(rows, dtype=torch.long)
    for number, wish in enumerate(wishes):
        before, after = list(wish.prefix), [*wish.suffix, EOS]
        middles = middle_lengths(length - len(before) - len(after), each)
        for draw in range(each):
            row = number * each + draw
            fixed[row, : len(before)] = torch.tensor(before, dtype=torch.long)
            endless[row, : len(before)] = True
            start[row, : len(wish.snippet) + 1] = torch.tensor([*wish.snippet, EOS])
            if wish.suffix:
                begin = len(before) + middles[draw]
                used[row] = begin + len(after)
                fixed[row, begin:] = PAD
                fixed[row, begin : begin + len(after)] = torch.tensor(after)
                endless[row, : begin + len(after) - 1] = True
    return Layout(fixed, endless, start, used)


def middle_lengths(most: int, count: int) -> list[int]:
    """`count` lengths from 0 to `most`: each of the short ones, then wider apart."""
    if most < count:
        return [at % (most + 1) for at in range(count)]
    spread = [round(most * (at / (count - 1)) ** 1.6) for at in range(count)]
    return [max(length, at) for at, length in enumerate(spread)]


def fixed_parts(codec: Any, prompt: Prompt, prefix: str, suffix: str, fillers: Iterable[str]) -> tuple[list[int], list[int]] | None:
    """The symbols that every answer of the form prefix + something + suffix begins and ends with; None where none can be said.

    A codec only says whole answers, so the hole is filled in several ways and what all ways share is kept. Letters at the
    edge of the hole may belong to a symbol that reaches into it: they stay free, and answers are checked as texts.
    """
    found: list[list[int]] = []
    for filler in fillers:
        symbols = codec.encode_answer(prompt, prefix + filler + suffix)
        if symbols is not None and symbols[:-1] not in found:
            found.append(symbols[:-1])
        if len(found) >= 6:
            break
    if not found:
        return None
    front = _shared(found)
    shortest = min(map(len, found))
    back = _shared([list(reversed(symbols)) for symbols in found])[: max(0, shortest - len(front))]
    return (front if prefix.strip() else []), (list(reversed(back)) if suffix.strip() else [])


def _shared(rows: Sequence[Sequence[int]]) -> list[int]:
    """The longest common beginning; of one row alone nothing is known to be shared but what is not its last symbol."""
    if len(rows) == 1:
        return list(rows[0][:-1])
    out = []
    for column in zip(*rows, strict=False):
        if len(set(column)) > 1:
            break
        out.append(column[0])
    return out


def holds(text: str, prefix: str, suffix: str) -> bool:
    """Whether a text begins and ends as asked; spaces do not count, since a codec prints in a form of its own."""
    bare, before, after = ("".join(part.split()).lower() for part in (text, prefix, suffix))
    return bare.startswith(before) and bare.endswith(after) and len(bare) >= len(before) + len(after)
