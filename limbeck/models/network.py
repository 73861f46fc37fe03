"""The seam inside models/ and train/: what a student must offer, and the shape all students are built from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from limbeck.models.batch import PAD, Batch, SourceBatch

# Given a prompt's row and the symbols so far, which symbols may follow (bool, V).
Allowed = Callable[[int, Sequence[int]], np.ndarray]


@dataclass(frozen=True, slots=True)
class Shape:
    """One network's size and the sizes its codec fixes."""

    kind: str
    width: int
    encoder_layers: int
    decoder_layers: int
    heads: int
    dropout: float
    buckets: int
    kinds: int
    flags: int
    positions: int
    symbols: int
    fixed_symbols: int
    target_length: int
    extra: dict[str, Any] = field(default_factory=dict)  # what one kind of student alone needs


@dataclass(slots=True)
class Ranked:
    """One candidate of a network: symbols without <eos>, its log-probability (or ranking score), and how it took shape."""

    symbols: list[int]
    score: float
    trace: list[list[int]] = field(default_factory=list)
    draw: int = 0  # which of a diffusion student's draws it was read from


class Network(Protocol):
    """A student: learns from batches, answers prompts."""

    shape: Shape

    def loss(self, batch: Batch, *, soft_weight: float, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """The scalar to minimise and its parts for the log."""
        ...

    def generate(
        self, source: SourceBatch, *, k: int, allowed: Allowed | None, seed: int = 0, **sampling: Any
    ) -> list[list[Ranked]]:
        """At most `k` distinct candidates a prompt, best first; noise is seeded by each prompt's content and `seed`.

        `sampling` may hold `wishes` (one infill.Wish a prompt), `strength` (how much of a snippet is made anew) and `valid`
        (row, symbols -> whether it is an answer, for repair), besides what the kind of student lets be chosen.
        """
        ...


def target_loss(logits_BLV: Tensor, batch: Batch, soft_weight: float, weight_BL: Tensor) -> Tensor:
    """Cross-entropy with the answer, mixed with cross-entropy to the teacher's distribution where there is one.

    (1-w) * CE(y) + w * T^2 * sum_k -p_teacher(k; T) log p_student(k; T), p_teacher renormalised over its K kept symbols
    (Hinton et al. 2015; T is the batch's temperature). Weighted mean over positions; float32.
    """
    logp_BLV = functional.log_softmax(logits_BLV.float(), -1)
    length = logits_BLV.shape[1]
    hard_BL = -logp_BLV.gather(2, batch.target_BL[:, :length, None])[..., 0]
    if batch.soft_ids_BLK is not None and batch.soft_logp_BLK is not None and soft_weight > 0:
        ids, soft = batch.soft_ids_BLK[:, :length], batch.soft_logp_BLK[:, :length]
        has_teacher_BL = torch.isfinite(soft[..., 0])
        heat = batch.temperature
        teacher_BLK = (torch.where(has_teacher_BL[..., None], soft, 0.0).float() / heat).softmax(-1)
        soft_BLV = logp_BLV if heat == 1 else functional.log_softmax(logits_BLV.float() / heat, -1)
        taught_BL = -(teacher_BLK * soft_BLV.gather(2, ids).clamp(min=-50)).sum(-1) * heat**2
        hard_BL = torch.where(has_teacher_BL, (1 - soft_weight) * hard_BL + soft_weight * taught_BL, hard_BL)
    return (hard_BL * weight_BL).sum() / weight_BL.sum().clamp(min=1e-6)


def real_positions(target_BL: Tensor) -> Tensor:
    """1.0 at symbols up to and including <eos>, 0.0 at padding."""
    return (target_BL != PAD).float()
