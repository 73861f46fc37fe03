"""Wishes laid on a canvas: text fixed in front and behind while the middle is written, or a snippet to be mended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from limbeck.models.batch import EOS, PAD

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
