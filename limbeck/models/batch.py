"""Prompts and answers of many lengths as padded tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from limbeck.task import Source

PAD, BOS, EOS = 0, 1, 2


@dataclass(frozen=True, slots=True)
class SourceBatch:
    """B prompts of at most S tokens with G pieces and F flags each; padding has kind 0."""

    pieces_BSG: Tensor
    kind_BS: Tensor
    flags_BSF: Tensor
    link_BS: Tensor
    slot_BS: Tensor

    @property
    def mask_BS(self) -> Tensor:
        """True where a token is real."""
        return self.kind_BS > 0

    def repeat(self, times: int) -> SourceBatch:
        """Each prompt `times` times in a row: [B*times, ...]."""
        return SourceBatch(*(getattr(self, name).repeat_interleave(times, 0) for name in self.__slots__))

    def select(self, row_N: Tensor) -> SourceBatch:
        """Some of the prompts."""
        return SourceBatch(*(getattr(self, name)[row_N] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Batch:
    """What a student learns from: prompts, answers ending in <eos>, and a teacher's K likeliest symbols per position."""

    source: SourceBatch
    target_BL: Tensor
    soft_ids_BLK: Tensor | None = None
    soft_logp_BLK: Tensor | None = None  # -inf where the teacher gave fewer than K
    temperature: float = 1.0  # at which the teacher's word and the student's are compared

    @property
    def tokens(self) -> int:
        """Useful (non-padding) tokens, source and target together."""
        return int(self.source.mask_BS.sum() + (self.target_BL != PAD).sum())


def collate_sources(sources: Sequence[Source]) -> SourceBatch:
    """Pad to the longest prompt of the batch."""
    length = max(len(s.kind_S) for s in sources)
    pieces = max(s.pieces_SG.shape[1] for s in sources)
    flags = sources[0].flags_SF.shape[1]
    out_pieces = np.zeros((len(sources), length, pieces), np.int64)
    out_flags = np.zeros((len(sources), length, flags), np.float32)
    out_kind, out_link, out_slot = (np.zeros((len(sources), length), np.int64) for _ in range(3))
    for row, source in enumerate(sources):
        size = len(source.kind_S)
        out_pieces[row, :size, : source.pieces_SG.shape[1]] = source.pieces_SG
        out_flags[row, :size] = source.flags_SF
        out_kind[row, :size] = source.kind_S
        out_link[row, :size] = source.link_S
        out_slot[row, :size] = source.slot_S
    return SourceBatch(*map(torch.from_numpy, (out_pieces, out_kind, out_flags, out_link, out_slot)))


def collate_targets(targets: Sequence[Sequence[int]], length: int | None = None) -> Tensor:
    """Answers padded with <pad> to the longest, or to `length`: int64 [B, L]."""
    longest = length or max(len(t) for t in targets)
    out_BL = torch.zeros(len(targets), longest, dtype=torch.long)
    for row, target in enumerate(targets):
        out_BL[row, : len(target)] = torch.as_tensor(list(target)[:longest])
    return out_BL
