"""Noise of a prompt's own: seeded by its content, so that batch size, padding and company change no answer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.models.batch import SourceBatch


def row_seeds(source: SourceBatch, seed: int) -> list[int]:
    """A 63-bit seed for each prompt, a pure function of what the network reads of it and of `seed`."""
    out = []
    for row in range(len(source.kind_BS)):
        real = int(source.mask_BS[row].sum())
        pieces = source.pieces_BSG[row, :real]
        pieces = pieces[:, : int((pieces > 0).any(0).sum())]  # padding to the batch's richest token is left out
        parts = (pieces, source.kind_BS[row, :real], source.flags_BSF[row, :real], source.link_BS[row, :real], source.slot_BS[row, :real])
        digest = hashlib.sha256(f"{seed}:{real}:{pieces.shape[1]}".encode())
        for part in parts:
            digest.update(part.cpu().contiguous().numpy().tobytes())
        out.append(int.from_bytes(digest.digest()[:8], "big") >> 1)
    return out


class RowNoise:
    """One generator for each draw of each prompt: draw 3 is the same whether 4 or 40 are asked for."""

    def __init__(self, seeds: Sequence[int], draws: int, device: torch.device) -> None:
        self.device = device
        self._generators = [torch.Generator().manual_seed(_of_draw(seed, draw)) for seed in seeds for draw in range(draws)]

    def normal(self, *size: int) -> Tensor:
        """Standard normal [R, *size]."""
        return torch.stack([torch.randn(size, generator=g) for g in self._generators]).to(self.device)

    def uniform(self, *size: int) -> Tensor:
        """Uniform in [0, 1) [R, *size]."""
        return torch.stack([torch.rand(size, generator=g) for g in self._generators]).to(self.device)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the rows only."""
        self._generators = [self._generators[row] for row in rows]


def _of_draw(seed: int, draw: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{draw}".encode()).digest()[:8], "big") >> 1
