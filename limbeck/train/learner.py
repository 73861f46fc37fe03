"""What the loop sees of a decoder: a loss on the tokens that are predicted, and on the teacher's word about them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limbeck.models.decoder import Decoder
from limbeck.recipe.schema import TrainSection
from limbeck.train.divergence import cross_entropy, divergence_loss
from limbeck.train.packing import NO_LABEL, PackedBatch


class DecoderLearner(nn.Module):
    """A decoder with its loss. Logits exist for `chunk_tokens` positions at a time."""

    def __init__(self, decoder: Decoder, section: TrainSection) -> None:
        super().__init__()
        self.decoder, self.section = decoder, section

    def loss(self, batch: PackedBatch, *, soft_weight: float, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Mean over predicted tokens, in nats: (1-w) cross-entropy + w divergence from the teacher's stored distribution."""
        states_BLD = self.decoder.states(batch.ids_BL, batch.position_BL)
        is_predicted_BL = batch.label_BL != NO_LABEL
        states_ND, label_N = states_BLD[is_predicted_BL], batch.label_BL[is_predicted_BL]
        head_VD, chunk = self.decoder.head_VD, self.section.chunk_tokens
        if batch.targets is None or soft_weight == 0:
            return cross_entropy(states_ND, head_VD, label_N, chunk_tokens=chunk), {}
        loss, parts = divergence_loss(
            states_ND, head_VD, batch.targets, label_N, kind=self.section.divergence, beta=self.section.beta, soft_weight=soft_weight, temperature=batch.temperature, chunk_tokens=chunk
        )
        return loss, {name: float(value) for name, value in parts.items()}
