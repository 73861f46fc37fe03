"""Settings carried to other sizes, and the two tests of whether they may be."""

import math
from dataclasses import replace

import pytest
import torch

from limbeck.errors import LimbeckError
from limbeck.predict.transfer import Setting, coordinate_band, holds, judge_sweep, transfer

KNOWN = Setting(width=96, layers=4, examples=64_000, batch=64, lr=4e-3, warmup=100, ema=0.998)


def test_a_batch_shrinks_for_the_least_steps_but_not_below_its_least():
    small = transfer(KNOWN, width=32, layers=4, examples=6_400, least_steps=400)
    assert (small.steps, small.batch) == (400, 16)
    assert transfer(KNOWN, width=32, layers=4, examples=800, least_steps=400).batch == 8 and transfer(KNOWN, width=32, layers=4, examples=800, least_steps=400, least_batch=2).batch == 2


def test_a_setting_carried_to_itself_is_itself():
    same = transfer(KNOWN, width=96, layers=4, examples=64_000)
    assert (same.batch, same.warmup, same.steps) == (64, 100, 1000) and math.isclose(same.lr, 4e-3) and math.isclose(same.ema, 0.998)


def test_muons_rate_falls_with_the_root_of_the_width_and_adamws_with_the_width():
    assert math.isclose(transfer(KNOWN, width=384, layers=4, examples=64_000).lr, 2e-3)
    assert math.isclose(transfer(replace(KNOWN, optimizer="adamw"), width=384, layers=4, examples=64_000).lr, 1e-3)


def test_depth_lowers_the_rate():
    assert math.isclose(transfer(KNOWN, width=96, layers=16, examples=64_000).lr, 2e-3)


def test_a_shorter_run_has_a_smaller_batch_and_warms_up_and_remembers_the_same_share():
    small = transfer(KNOWN, width=32, layers=4, examples=6_400)
    assert small.batch == round(64 * 0.1**0.57) and abs(small.warmup / small.steps - 0.1) < 0.01
    assert math.isclose((1 - small.ema) * small.steps, (1 - 0.998) * 1000, rel_tol=1e-9)


def test_a_batch_never_falls_below_the_least():
    assert transfer(KNOWN, width=16, layers=4, examples=80).batch == 8


def test_an_optimizer_without_a_rule_is_refused():
    with pytest.raises(LimbeckError, match="no rule carries"):
        transfer(replace(KNOWN, optimizer="sgd"), width=32, layers=4, examples=1000)


def test_the_band_is_the_worst_ratio_of_each_place():
    band = coordinate_band({16: {"a": 1.0, "b": 2.0}, 64: {"a": 1.5, "b": 1.9}})
    assert band["a"] == 1.5 and holds(band) and not holds(coordinate_band({16: {"a": 1.0}, 64: {"a": 4.0}}))
    assert not holds(coordinate_band({16: {"a": 1.0}, 64: {"a": math.nan}}))


def test_one_width_is_no_coordinate_check():
    with pytest.raises(LimbeckError, match="one width"):
        coordinate_band({16: {"a": 1.0}})


def test_a_sweep_that_finds_a_better_rate_disagrees():
    assert judge_sweep({0.5: 1.02, 1.0: 1.0, 2.0: 1.3})["agrees"]
    found = judge_sweep({0.5: 0.9, 1.0: 1.0, 2.0: math.nan})
    assert not found["agrees"] and found["best_factor"] == 0.5
    with pytest.raises(LimbeckError, match="a sweep needs"):
        judge_sweep({1.0: 1.0, 2.0: 1.1})


class Stack(torch.nn.Module):
    """Blocks added to one stream, each normalised before: what the students are made of, without their attention."""

    def __init__(self, width, blocks=2):
        super().__init__()
        self.blocks = torch.nn.ModuleList(torch.nn.Sequential(torch.nn.LayerNorm(width), torch.nn.Linear(width, 2 * width), torch.nn.ReLU(), torch.nn.Linear(2 * width, width)) for _ in range(blocks))
        for part in self.modules():
            if isinstance(part, torch.nn.Linear):
                torch.nn.init.normal_(part.weight, std=part.in_features**-0.5)
                torch.nn.init.zeros_(part.bias)

    def forward(self, x):
        added = {}
        for at, block in enumerate(self.blocks):
            added[f"block {at}"] = block(x)
            x = x + added[f"block {at}"]
        return x, added


def change_by_width(optimizer, carried, widths=(32, 128, 512), steps=6):
    """By how much training changes what each block adds, by width."""
    from limbeck.train.optimizer import make_optimizer

    known = Setting(width=32, layers=2, examples=1000, batch=10, lr={"muon": 2e-2, "adamw": 2e-3}[optimizer], warmup=1, ema=0.9, optimizer=optimizer)
    found = {}
    for width in widths:
        random = torch.Generator().manual_seed(1)
        torch.manual_seed(0)
        network = Stack(width)
        inputs, targets = torch.randn(64, 16, generator=random), torch.randn(64, 1, generator=random)
        read, out = torch.randn(16, width, generator=random) / 4, torch.randn(width, 1, generator=random) / width
        lr = transfer(known, width=width, layers=2, examples=1000).lr if carried else known.lr
        learner = make_optimizer(network, optimizer, lr, 0.0)
        with torch.no_grad():
            before = network(inputs @ read)[1]
        for _ in range(steps):
            (network(inputs @ read)[0] @ out - targets).pow(2).mean().backward()
            learner.step()
            learner.zero_grad(set_to_none=True)
        with torch.no_grad():
            found[width] = {name: float((after - before[name]).pow(2).mean().sqrt()) for name, after in network(inputs @ read)[1].items()}
    return found


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_with_the_transfer_changes_stay_in_the_band_over_widths_and_without_it_they_do_not(optimizer):
    carried, constant = (coordinate_band(change_by_width(optimizer, c)) for c in (True, False))
    assert holds(carried), carried
    assert not holds(constant) and max(constant.values()) > 1.5 * max(carried.values()), (carried, constant)
