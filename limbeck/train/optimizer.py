"""AdamW, its schedule, and the running mean of the weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def make_optimizer(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW with decay on matrices only; beta2 0.98 as is usual where runs are short."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), eps=1e-8, fused=True)


def lr_at(step: int, steps: int, peak: float, warmup: int) -> float:
    """Linear up over `warmup` steps, then a cosine down to 2 % of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


class RunningMean:
    """An exponential moving average of weights: decay min(d, (1+t)/(10+t)), so that early steps do not linger."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Tensor] = {n: p.detach().clone() for n, p in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the model by one step."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        now = model.state_dict()  # by name: a restored mean may hold its weights in another order
        mine, theirs = [self.weights[name] for name in now], [p.detach() for p in now.values()]
        torch._foreach_lerp_(mine, theirs, share)
