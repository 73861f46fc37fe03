"""Prompts read once: what every layer, draw and denoising step attends to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from limbeck.models.batch import SourceBatch
from limbeck.models.blocks import PointingHead, key_bias

KeyValue = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Memory:
    """B prompts. A canvas of R = B * draws rows attends to them; keys and values are neither repeated nor made again."""

    source: SourceBatch
    tokens_BSD: Tensor  # what the head points at
    bias: Tensor  # [B, 1, 1, S]
    cross: list[KeyValue]  # of each block, in order
    keys_BSD: Tensor  # of the head

    def select(self, row_N: Tensor) -> Memory:
        """Some of the prompts."""
        cross = [(key[row_N], value[row_N]) for key, value in self.cross]
        return Memory(self.source.select(row_N), self.tokens_BSD[row_N], self.bias[row_N], cross, self.keys_BSD[row_N])


def remember(tokens_BSD: Tensor, source: SourceBatch, blocks: Iterable[Any], head: PointingHead, *, attended: tuple[Tensor, Tensor] | None = None) -> Memory:
    """Everything that does not change while an answer is made. `attended` is another memory for the blocks, with its bias."""
    seen, bias = attended if attended is not None else (tokens_BSD, key_bias(source.mask_BS))
    return Memory(source, tokens_BSD, bias, [block.attend_cross.project(seen) for block in blocks], head.key(tokens_BSD))
