"""Muon against torch's own, and which weights it takes."""

import pytest
import torch
from torch import nn

from limbeck.train.optimizer import Muon, make_optimizer, orthogonalize

SHAPES = [(24, 16), (16, 24), (16, 16), (16, 16), (48, 16)]


def test_it_steps_as_torch_muon_does():
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(s)) for s in SHAPES]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    mine = Muon(ours, [{"params": [nn.Parameter(torch.zeros(1))]}], lr=0.02, weight_decay=0.1)
    peer = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, momentum=0.95, nesterov=True, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        gradients = [torch.randn(s) for s in SHAPES]
        for parameters in (ours, theirs):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient.clone()
        mine.step()
        peer.step()
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=2e-3), (a - b).abs().max()  # both iterate in bfloat16, in another order


def test_singular_values_come_near_one():
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalize(torch.randn(3, 16, 40)))
    assert float(values.min()) > 0.6 and float(values.max()) < 1.3


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_every_weight_is_stepped_once(kind):
    model = nn.Sequential(nn.Embedding(7, 16), nn.Linear(16, 8), nn.LayerNorm(8))
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = make_optimizer(model, kind, 0.1, 0.0)
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    (model(torch.arange(7)) * torch.randn(7, 8)).sum().backward()
    optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    matrices = optimizer.param_groups[0]["params"] if kind == "muon" else []
    assert [tuple(p.shape) for p in matrices] == ([(8, 16)] if kind == "muon" else [])
