"""Which noise times a batch is trained at: drawn towards high noise, or where the loss is."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from limbeck.models.canvas import spread_times
from limbeck.models.knobs import FusionKnobs

BINS, KEPT, EVEN = 20, 0.9, 0.05


class TimeLoss(nn.Module):
    """A running mean of the squared loss in each twentieth of the times; a buffer, so a checkpoint holds it and a resumed run goes on alike."""

    square_T: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("square_T", torch.ones(BINS))

    @torch.no_grad()
    def learn(self, logits_BLV: Tensor, target_BL: Tensor, weight_BL: Tensor, u_B: Tensor) -> None:
        """Move each bin that has rows towards their mean square."""
        hard_BL = functional.cross_entropy(logits_BLV.float().transpose(1, 2), target_BL, reduction="none")
        square_B = ((hard_BL * weight_BL).sum(1) / weight_BL.sum(1).clamp(min=1e-6)) ** 2
        bin_B = (u_B * BINS).long().clamp(0, BINS - 1)
        total = torch.zeros_like(self.square_T).scatter_add(0, bin_B, square_B)
        count = torch.zeros_like(self.square_T).scatter_add(0, bin_B, torch.ones_like(square_B))
        self.square_T.copy_(torch.where(count > 0, KEPT * self.square_T + (1 - KEPT) * total / count.clamp(min=1), self.square_T))

    def warp(self, u_B: Tensor) -> Tensor:
        """Even draws in [0, 1) made to fall in each bin in proportion to its root mean square (a twentieth of them stay even)."""
        share = self.square_T.sqrt()
        share = (1 - EVEN) * share / share.sum().clamp(min=1e-9) + EVEN / BINS
        edges = torch.cat([torch.zeros_like(share[:1]), share.cumsum(0)])
        bin_B = (torch.searchsorted(edges, u_B, right=True) - 1).clamp(0, BINS - 1)
        inside_B = (u_B - edges[bin_B]) / share[bin_B]
        return ((bin_B + inside_B) / BINS).clamp(0, 1 - 1e-6)


def draw_times(rows: int, knobs: FusionKnobs, steps: int, time_loss: TimeLoss | None, generator: torch.Generator, device: torch.device) -> Tensor:
    """One time a row, together evenly spread under the chosen density.

    Differs: "loss_aware" rows are not weighted back to the even density (Nichol and Dhariwal do): more weight on noise that
    teaches is what is wanted here.
    """
    u_B = spread_times(rows, generator, device)
    u_B = time_loss.warp(u_B) if time_loss is not None else u_B**knobs.high_noise
    return (u_B * steps).long().clamp(max=steps - 1)
