"""How long an answer will be: a small head on the prompt bounds the canvas, so that 14 symbols are not written on 128.

Each prompt has a room of its own: positions beyond it are neither attended to nor read. So the canvas of a batch is as
long as its longest room, and a prompt's answer does not change with its company.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from limbeck.models.batch import PAD, SourceBatch

FINEST, CLASSES = 4, 16


class LengthHead(nn.Module):
    """p(length class | prompt) from the mean of the prompt's tokens; class c has room for (c + 1) * step symbols, <eos> included."""

    def __init__(self, width: int, longest: int) -> None:
        super().__init__()
        self.longest = longest
        self.step = max(FINEST, math.ceil(longest / CLASSES))
        self.score = nn.Linear(width, math.ceil(longest / self.step))

    def forward(self, memory_BSD: Tensor, source: SourceBatch) -> Tensor:
        """Logits [B, classes]."""
        mask_BS1 = source.mask_BS[..., None]
        return self.score((memory_BSD * mask_BS1).sum(1) / mask_BS1.sum(1).clamp(min=1)).float()

    def class_of(self, target_BL: Tensor) -> Tensor:
        """The smallest class that an answer fits in."""
        length_B = (target_BL != PAD).sum(1)
        return ((length_B - 1) // self.step).clamp(0, self.score.out_features - 1)

    def room(self, class_B: Tensor) -> Tensor:
        """Positions of each class."""
        return ((class_B + 1) * self.step).clamp(max=self.longest)

    def training_room(self, target_BL: Tensor, generator: torch.Generator) -> Tensor:
        """What fits and, for half of the rows, one class more: the sampler too gives room to spare."""
        more_B = (torch.rand(len(target_BL), generator=generator) < 0.5).long().to(target_BL.device)
        return self.room(self.class_of(target_BL) + more_B)

    def sure_room(self, memory_BSD: Tensor, source: SourceBatch, sure: float) -> Tensor:
        """The smallest room that holds the answer with probability `sure`."""
        below_BC = self(memory_BSD, source).softmax(-1).cumsum(-1) < sure
        return self.room(below_BC.sum(-1).clamp(max=self.score.out_features - 1))

    def loss(self, memory_BSD: Tensor, source: SourceBatch, target_BL: Tensor) -> Tensor:
        """Cross-entropy of the class."""
        return functional.cross_entropy(self(memory_BSD, source), self.class_of(target_BL))


def room_bias(room_R: Tensor | None, length: int) -> Tensor | None:
    """0 within a row's room and a large negative number beyond: [R, 1, 1, L]."""
    if room_R is None:
        return None
    beyond_RL = torch.arange(length, device=room_R.device)[None] >= room_R[:, None]
    return torch.zeros(beyond_RL.shape, device=room_R.device).masked_fill(beyond_RL, -1e4)[:, None, None, :]


def within(room_R: Tensor | None, weight_RL: Tensor) -> Tensor:
    """Weights with zeros beyond each row's room."""
    if room_R is None:
        return weight_RL
    return weight_RL * (torch.arange(weight_RL.shape[1], device=room_R.device)[None] < room_R[:, None])
