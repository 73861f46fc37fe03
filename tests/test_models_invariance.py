"""Company, padding, order and batch size change no answer of any student, to the token at fp32."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_models import shape, toy

from limbeck.models.batch import collate_sources
from limbeck.models.expert import build_network
from limbeck.models.noise import RowNoise, row_seeds

torch.set_num_threads(1)
CASES = [
    ("autoregressive", {}, {}),
    ("autoregressive", {}, {"temperature": 1.0}),
    ("masked", {}, {}),
    ("masked", {}, {"order": "random", "remask": 0.3}),
    ("masked", {"predicts_length": True}, {"threshold": 0.2}),
    ("codefusion", {}, {}),
    ("codefusion", {}, {"solver": "ddpm", "steps": 20}),
    ("codefusion", {}, {"solver": "ddim", "eta": 1.0}),
    ("codefusion", {}, {"solver": "dpm++", "early_exit": 1}),
    ("codefusion", {"predicts_length": True, "canvas": 20}, {"length_sure": 0.5}),
]


def answers(network, sources, **sampling):
    found = network.generate(collate_sources(sources), k=3, allowed=None, seed=0, **sampling)
    return [[(r.symbols, round(r.score, 3)) for r in row] for row in found]


@pytest.mark.parametrize(("kind", "extra", "sampling"), CASES)
def test_answers_do_not_change_with_batch_size_padding_or_order(kind, extra, sampling):
    """An untrained network is the hardest case: nothing is sure, so the least leak of another row's noise would show."""
    torch.manual_seed(3)
    form = shape(kind)
    network = build_network(replace(form, extra={**form.extra, **extra})).eval()
    sources = toy(7)[0]
    together = answers(network, sources, **sampling)
    assert [answers(network, [source], **sampling)[0] for source in sources] == together
    assert answers(network, sources[::-1], **sampling)[::-1] == together
    long = dataclasses.replace(sources[0], **{f.name: np.concatenate([getattr(sources[0], f.name)] * 3) for f in dataclasses.fields(sources[0])})
    assert answers(network, [*sources, long], **sampling)[:-1] == together


def test_noise_is_a_pure_function_of_content_seed_and_draw():
    sources = toy(3)[0]
    alone, together = row_seeds(collate_sources(sources[:1]), 0), row_seeds(collate_sources(sources), 0)
    assert alone[0] == together[0] and len(set(together)) == 3
    assert row_seeds(collate_sources(sources[:1]), 1) != alone
    few, many = RowNoise(together, 2, torch.device("cpu")).normal(5), RowNoise(together, 4, torch.device("cpu")).normal(5)
    assert torch.equal(few[0], many[0]) and torch.equal(few[3], many[5]) and not torch.equal(few[0], few[1])
