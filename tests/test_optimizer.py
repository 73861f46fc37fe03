"""Muon against torch's own, and which weights it takes."""

import pytest
import torch
from torch import nn

from limbeck.errors import LimbeckError
from limbeck.train.checkpoint import load_checkpoint, save_checkpoint
from limbeck.train.optimizer import Muon, RunningMean, learnt_state, make_optimizer, orthogonalize, refuse_split

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


class Tied(nn.Module):
    """A table that is embedding and head at once."""

    def __init__(self):
        super().__init__()
        self.embedding, self.middle, self.head = nn.Embedding(11, 4), nn.Linear(4, 4), nn.Linear(4, 11, bias=False)
        self.head.weight = self.embedding.weight


def test_a_tied_table_is_averaged_once_and_by_the_right_share():
    torch.manual_seed(0)
    model = Tied()
    mean = RunningMean(model, 0.5)
    assert set(mean.weights) == {"embedding.weight", "middle.weight", "middle.bias"} == set(learnt_state(model)) and mean.is_partial
    before = model.embedding.weight.detach().clone()
    with torch.no_grad():
        model.embedding.weight += 1
    mean.update(model, 1000)
    assert torch.allclose(mean.weights["embedding.weight"], before + 0.5)
    model.load_state_dict(mean.weights, strict=False)
    assert torch.equal(model.head.weight, mean.weights["embedding.weight"])


def test_a_checkpoint_holds_a_tied_table_once_and_old_ones_are_read(tmp_path):
    torch.manual_seed(0)
    model, path = Tied(), tmp_path / "checkpoint.safetensors"
    mean, optimizer = RunningMean(model, 0.5), make_optimizer(model, "adamw", 0.1, 0.0)
    model.head(model.middle(model.embedding(torch.arange(5)))).sum().backward()
    optimizer.step()
    mean.update(model, 5)
    save_checkpoint(path, model, mean, optimizer, {"step": 1})
    again = Tied()
    other = RunningMean(again, 0.5)
    assert load_checkpoint(path, again, other, make_optimizer(again, "adamw", 0.1, 0.0)) == {"step": 1}
    assert all(torch.equal(again.state_dict()[n], t) for n, t in model.state_dict().items()) and all(torch.equal(other.weights[n], t) for n, t in mean.weights.items())
    mean.weights["head.weight"] = torch.full((11, 4), 9.0)  # as an earlier version kept it: the second name of a tensor, which may be stale
    save_checkpoint(path, model, mean, optimizer, {"step": 1})
    load_checkpoint(path, again, other, make_optimizer(again, "adamw", 0.1, 0.0))
    assert set(other.weights) == {"embedding.weight", "middle.weight", "middle.bias"}


def test_weights_split_over_devices_are_refused(tmp_path):
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import distribute_tensor

    model = nn.Linear(4, 4)
    refuse_split(model)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        model.weight = nn.Parameter(distribute_tensor(model.weight.detach(), init_device_mesh("cpu", (1,))))
        with pytest.raises(LimbeckError, match="cannot train with FSDP") as caught:
            refuse_split(model)
    finally:
        dist.destroy_process_group()
    assert "lora_rank" in caught.value.fix
