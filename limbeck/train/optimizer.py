"""Muon and AdamW, their schedule, and the running mean of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from limbeck.errors import LimbeckError
from limbeck.models.precision import is_bf16_native

# The quintic a x + b x^3 + c x^5 whose iteration brings every singular value near 1 (Jordan et al., 2024, "Muon").
QUINTIC = (3.4445, -4.7750, 2.0315)
ROUNDS = 5


class Muon(torch.optim.AdamW):
    """Muon for the matrices of linear layers, AdamW for all else (embeddings, norms, biases), in one optimizer.

    The update of a matrix is its momentum, orthogonalized, and scaled by 0.2 sqrt(larger side), so that one learning rate
    serves both kinds (Liu et al., 2025). Matrices of one shape are orthogonalized as one batch: the same numbers as
    `torch.optim.Muon` in two thirds of its time on a CPU (`benchmarks/optimizer.py`).
    """

    def __init__(self, matrices: list[Tensor], groups: list[dict[str, Any]], lr: float, weight_decay: float, momentum: float = 0.95) -> None:
        muon = {"params": matrices, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__([muon, *groups], lr=lr, betas=(0.9, 0.98), eps=1e-8, fused=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; the gradients of the matrices are used up, so that AdamW passes them by."""
        loss = closure() if closure else None
        for group in self.param_groups:
            if "momentum" in group:
                self._step_matrices(group)
        super().step()
        return loss

    def _step_matrices(self, group: dict[str, Any]) -> None:
        by_shape: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
        for weight in group["params"]:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if not state:
                state["step"] = torch.zeros(())  # AdamW expects it of every state it restores
                state["momentum_buffer"] = torch.zeros_like(weight)
            buffer = state["momentum_buffer"].lerp_(weight.grad, 1 - group["momentum"])
            update = weight.grad.lerp(buffer, group["momentum"])  # Nesterov's look ahead
            wide = weight.shape[0] <= weight.shape[1]
            shape = (min(weight.shape), max(weight.shape))
            by_shape.setdefault(shape, []).append((weight if wide else weight.mT, update if wide else update.mT))
            weight.grad = None
        for (_, side), pairs in by_shape.items():
            updates = orthogonalize(torch.stack([update for _, update in pairs]))
            for (weight, _), update in zip(pairs, updates, strict=True):
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(side))


def orthogonalize(matrices_NRC: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix of each of N matrices with R <= C, roughly: singular values between 0.7 and 1.2."""
    linear, cubic, quintic = QUINTIC
    x_NRC = matrices_NRC.bfloat16() if is_bf16_native() else matrices_NRC.float()  # five rounds in bfloat16 are enough, where it is fast
    x_NRC = x_NRC / x_NRC.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    for _ in range(ROUNDS):
        gram_NRR = x_NRC @ x_NRC.mT
        poly_NRR = torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=cubic, alpha=quintic)
        x_NRC = torch.baddbmm(x_NRC, poly_NRR, x_NRC, beta=linear)
    return x_NRC.to(matrices_NRC.dtype)


def make_optimizer(model: nn.Module, kind: str, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """Muon or AdamW, with decay on matrices only; beta2 0.98 as is usual where runs are short."""
    linear = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)} if kind == "muon" else set()
    learned = [p for p in model.parameters() if p.requires_grad]
    rest = [p for p in learned if id(p) not in linear]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    if linear:
        return Muon([p for p in learned if id(p) in linear], groups, lr, weight_decay)
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), eps=1e-8, fused=True)


def lr_at(step: int, steps: int, peak: float, warmup: int) -> float:
    """Linear up over `warmup` steps, then a cosine down to 2 % of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def learnt_state(model: nn.Module) -> dict[str, Tensor]:
    """The part of a network's state that training changes: all of it but frozen weights. What has two names (a tied head) is there once."""
    frozen = {name for name, p in model.named_parameters(remove_duplicate=False) if not p.requires_grad}
    found: dict[str, Tensor] = {}
    seen: set[tuple[Any, ...]] = set()
    for name, tensor in model.state_dict().items():
        place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        if name not in frozen and not (place[0] and place in seen):
            seen.add(place)
            found[name] = tensor
    return found


def refuse_split(model: nn.Module) -> None:
    """Raises LimbeckError where weights are split over devices (FSDP), before the first step."""
    if any(isinstance(p, DTensor) for p in model.parameters()):
        raise LimbeckError(
            "the running mean of the weights is not split over devices yet, so this loop cannot train with FSDP", "accelerate launch --use_fsdp",
            "leave FSDP out (DDP runs); where one device is too small, student.lora_rank or a smaller train.batch; `limbeck make RECIPE --plan` says what would need less",
        )  # fmt: skip


class RunningMean:
    """An exponential moving average of weights: decay min(d, (1+t)/(10+t)), so that early steps do not linger.

    Frozen weights are left out, and second names of one tensor; `is_partial` says that there are some.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Tensor] = {n: p.detach().clone() for n, p in learnt_state(model).items()}
        self.is_partial = len(self.weights) < len(model.state_dict())

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the model by one step."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        now = learnt_state(model)  # by name: a restored mean may hold its weights in another order
        mine, theirs = [self.weights[name] for name in now], [p.detach() for p in now.values()]
        torch._foreach_lerp_(mine, theirs, share)
