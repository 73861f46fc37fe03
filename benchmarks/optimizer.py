"""One optimizer step of the main job's student: torch's Muon, ours, and AdamW, in CPU milliseconds.

    python benchmarks/optimizer.py
"""

from __future__ import annotations

import time

import torch

from limbeck.models.expert import build_network, build_shape
from limbeck.recipe.load import load_recipe
from limbeck.tasks.cf.codec import CFCodec
from limbeck.train.optimizer import make_optimizer

STEPS = 40


def measure(optimizers: list[torch.optim.Optimizer], gradients: dict[torch.nn.Parameter, torch.Tensor]) -> float:
    """CPU milliseconds of one step, gradients put back before each."""
    spent = 0.0
    for turn in range(STEPS + 5):
        for parameter, gradient in gradients.items():
            parameter.grad = gradient
        began = time.process_time()
        for optimizer in optimizers:
            optimizer.step()
        spent += (time.process_time() - began) if turn >= 5 else 0.0
    return spent / STEPS * 1000


def main() -> None:
    torch.set_num_threads(1)
    model = build_network(build_shape(load_recipe("cf", []).student, CFCodec()))
    gradients = {p: torch.randn_like(p) for p in model.parameters()}
    ours = make_optimizer(model, "muon", 1e-5, 0.01)
    matrices = ours.param_groups[0]["params"]
    rest = [p for group in ours.param_groups[1:] for p in group["params"]]
    peer = [
        torch.optim.Muon(matrices, lr=1e-5, weight_decay=0.01, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=1e-5, fused=True),
    ]
    spent = {"torch.optim.Muon with AdamW": measure(peer, gradients), "ours": measure([ours], gradients)}
    spent["AdamW alone"] = measure([make_optimizer(model, "adamw", 1e-5, 0.01)], gradients)
    for name, value in spent.items():
        print(f"{name:28s} {value:7.2f} CPU-ms a step   {spent['torch.optim.Muon with AdamW'] / value:5.2f} x torch.optim.Muon")


if __name__ == "__main__":
    main()
