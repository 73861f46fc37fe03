"""Solvers against their equations, orders of unmasking, early exit, stopping, the knobs of the paper."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_models import PAPER, shape, toy, trained

from limbeck.errors import LimbeckError
from limbeck.models.batch import Batch, collate_sources, collate_targets
from limbeck.models.expert import build_network, build_shape, count_parameters, names_of
from limbeck.models.knobs import MaskedKnobs
from limbeck.models.lengths import LengthHead, room_bias
from limbeck.models.sampling import times_of
from limbeck.models.schedule import SqrtSchedule
from limbeck.models.times import BINS, TimeLoss
from limbeck.models.unmasking import how_sure, to_hide, to_show
from limbeck.recipe.load import load_recipe
from limbeck.recipe.schema import StudentSection
from limbeck.resolve import get_codec

torch.set_num_threads(1)
LESS_FAITHFUL = {**PAPER, "loss": "paper", "is_normalised": False, "has_own_head": True, "canvas": 9, "ddim": False}


@pytest.fixture(scope="module")
def fusion():
    return trained("codefusion", 300)


@pytest.fixture(scope="module")
def masked():
    return trained("masked", 200)


def right(network, batch, targets, **sampling):
    found = network.generate(batch.source, k=3, allowed=None, seed=0, **sampling)
    return sum(bool(a) and a[0].symbols == t[:-1] for a, t in zip(found, targets, strict=True))


def test_a_first_dpm_step_is_a_ddim_step_and_the_true_x0_stays_on_the_path():
    schedule = SqrtSchedule(100)
    x0, eps = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    x = schedule.noised(x0, eps, torch.tensor([80, 80]))
    guess = torch.randn(2, 3, 4)
    assert torch.allclose(schedule.dpm_step(x, guess, 80, 40, before=None), schedule.ddim_step(x, guess, 80, 40, eta=0.0, noise=torch.zeros(())), atol=1e-4)
    wanted = schedule.noised(x0, eps, torch.tensor([40, 40]))
    assert torch.allclose(schedule.dpm_step(x, x0, 80, 40, before=(90, x0)), wanted, atol=1e-4)


def test_dpm_extrapolates_an_x0_that_moves_along_log_snr_and_ends_nearer_than_ddim():
    """x0_hat(lambda) = a + b lambda: the exact solution of the flow is known by fine steps."""
    schedule = SqrtSchedule(1000)

    def x0_at(t):
        return torch.full((1, 1, 1), 0.3 + 0.5 * schedule._log_snr(t))

    def walk(times, step):
        x, before = torch.ones(1, 1, 1), None
        for t, s in itertools.pairwise(times):
            x, before = step(x, x0_at(t), t, s, before), (t, x0_at(t))
        return float(x)

    def ddim(x, x0, t, s, _):
        return schedule.ddim_step(x, x0, t, s, eta=0.0, noise=torch.zeros(()))

    def dpm(x, x0, t, s, before):
        return schedule.dpm_step(x, x0, t, s, before=before)

    exact = walk(list(range(900, 99, -1)), ddim)
    assert abs(walk(list(range(900, 99, -100)), dpm) - exact) < abs(walk(list(range(900, 99, -100)), ddim) - exact) / 3


def test_ddim_with_eta_one_adds_as_much_noise_as_ddpm():
    schedule = SqrtSchedule(100)
    x, x0, noise = torch.randn(1, 2, 3), torch.randn(1, 2, 3), torch.randn(1, 2, 3)
    assert torch.allclose(schedule.ddim_step(x, x0, 60, 50, eta=1.0, noise=noise), schedule.ddpm_step(x, x0, 60, 50, noise=noise), atol=1e-4)


@pytest.mark.parametrize("sampling", [{"solver": "ddpm", "steps": 30}, {"solver": "ddim", "eta": 0.5}, {"solver": "dpm++", "steps": 8}, {"early_exit": 2, "steps": 30}, {"clamp": "nearest", "read": "nearest"}, {"read": "nearest"}])
def test_every_way_to_sample_answers_what_was_learnt(fusion, sampling):
    network, batch, targets, _ = fusion
    assert right(network, batch, targets, **sampling) >= 9


def test_stopping_early_reads_the_noisy_state(fusion):
    network, batch, targets, _ = fusion
    assert times_of([99, 66, 33, 0], 50) == [99, 66, 50] and times_of([99, 66, 33, 0], 0) == [99, 66, 33, 0] and times_of([99, 0], 99) == [99]
    at_once, late, done = (right(network, batch, targets, stop_at=t) for t in (1199, 100, 0))
    assert done >= 10 and late >= at_once


def test_early_exit_takes_fewer_steps_and_gives_the_same_answers(fusion):
    network, batch, _targets, _ = fusion
    plain = network.generate(batch.source, k=1, allowed=None, steps=60)
    early = network.generate(batch.source, k=1, allowed=None, steps=60, early_exit=3)
    assert sum(a[0].symbols == b[0].symbols for a, b in zip(plain, early, strict=True)) >= 11


def test_the_papers_form_learns_has_a_longer_canvas_and_a_head_of_its_own():
    network, _, _, losses = trained("codefusion", 60, **LESS_FAITHFUL)
    assert losses[-1] < 0.8 * losses[0]
    assert network.head.own is not None and network.place.num_embeddings == 9
    assert float(network.embed(torch.tensor([[3]])).detach().norm()) != pytest.approx(math.sqrt(48), rel=1e-3)


@pytest.mark.parametrize("phase1", ["both", "cpd", "generation"])
def test_phase_one_shows_the_masked_answer_or_fresh_noise(phase1):
    sources, targets = toy()
    batch = Batch(collate_sources(sources), collate_targets(targets))
    form = shape("codefusion")
    torch.manual_seed(0)
    network = build_network(replace(form, extra={**form.extra, "phase1_first": 0.5, "phase1": phase1, "names": [3, 4]})).train()
    network.set_progress(0.1)
    seen, bias = network._without_prompts(torch.nn.functional.pad(batch.target_BL, (0, 3)), torch.zeros(12, 8, 48), torch.Generator().manual_seed(0))
    is_code = (bias[:, 0, 0, -1] < 0)  # an answer is shorter than the canvas, noise is not
    assert is_code.sum() == {"both": 6, "cpd": 12, "generation": 0}[phase1] and seen.shape == (12, 8, 48)
    loss = network.loss(batch, soft_weight=0.0, generator=torch.Generator().manual_seed(1))[0]
    loss.backward()
    assert all(p.grad is not None for n, p in network.named_parameters() if n.startswith("reader.pieces"))


def test_only_names_are_masked():
    codec = get_codec("cf")
    named = {codec.symbols[n] for n in names_of(codec)}
    assert {"GreaterThan", "AND"} <= named and not {"<pad>", "<eos>", ")"} & named


def test_unprompted_code_does_not_hang_on_the_prompt(fusion):
    network, _, _, _ = fusion
    sources, _ = toy()
    first = network.generate(collate_sources(sources[:2]), k=1, allowed=None, is_prompted=False)
    assert all(a[0].symbols for a in first)


def test_times_are_drawn_where_the_loss_is_and_the_running_mean_is_in_the_checkpoint():
    keeper = TimeLoss()
    even = torch.arange(1000) / 1000
    assert torch.allclose(keeper.warp(even), even, atol=1e-3)
    keeper.square_T.copy_(torch.linspace(0, 1, BINS) ** 2)
    warped = keeper.warp(even)
    assert (warped > 0.5).float().mean() > 0.7 and (warped < 0.05).float().mean() == pytest.approx(0.05 / BINS, abs=2e-3)
    network = trained("codefusion", 5, times="loss_aware")[0]
    assert "time_loss.square_T" in network.state_dict() and not torch.equal(network.time_loss.square_T, torch.ones(BINS))


def test_a_length_head_learns_and_bounds_the_canvas():
    network, batch, targets, _losses = trained("codefusion", 300, predicts_length=True, canvas=20)
    assert right(network, batch, targets) >= 9
    room = network.lengths.sure_room(network.reader(batch.source, network.symbols), batch.source, 0.9)
    assert int(room.max()) <= 8
    head = LengthHead(4, 20)
    assert head.room(head.class_of(torch.tensor([[1, 1, 2, 0, 0], [1, 1, 1, 1, 2]]))).tolist() == [4, 8]
    assert (room_bias(torch.tensor([2]), 4)[0, 0, 0] < 0).tolist() == [False, False, True, True]


@pytest.mark.parametrize("sampling", [{"order": "margin"}, {"order": "entropy"}, {"order": "random"}, {"threshold": 0.9, "steps": 6}, {"remask": 0.3, "steps": 12}, {"block": 2, "steps": 6}])
def test_every_order_of_unmasking_answers_what_was_learnt(masked, sampling):
    network, batch, targets, _ = masked
    assert right(network, batch, targets, **sampling) >= 9


def test_orders_blocks_and_thresholds_show_what_they_say():
    logp = torch.tensor([[[0.6, 0.4, 0.0], [0.5, 0.1, 0.4], [0.34, 0.33, 0.33]]]).clamp(min=1e-9).log()
    drawn = logp.argmax(-1)
    assert how_sure(logp, drawn, "confidence", None)[0].argsort(descending=True).tolist() == [0, 1, 2]
    assert how_sure(logp, drawn, "margin", None)[0].argsort(descending=True).tolist() == [0, 1, 2]
    assert int(how_sure(logp, drawn, "entropy", None)[0].argmax()) == 0
    hidden, symbol = torch.ones(1, 4, dtype=torch.bool), torch.full((1, 4), 5)
    sure = torch.tensor([[0.1, 0.95, 0.2, 0.97]]).log()
    assert to_show(hidden, symbol, sure, sure, 4, MaskedKnobs()).tolist() == [[False, False, False, True]]
    assert to_show(hidden, symbol, sure, sure, 4, MaskedKnobs(threshold=0.9)).tolist() == [[False, True, False, True]]
    assert to_show(hidden, symbol, sure, sure, 4, MaskedKnobs(block=2)).tolist() == [[False, True, False, False]]
    assert to_hide(hidden, torch.zeros_like(hidden), sure, 0.5).tolist() == [[True, False, True, False]]


def test_a_threshold_saves_steps(masked):
    network, batch, _, _ = masked
    calls = []
    hook = network.norm.register_forward_hook(lambda *_: calls.append(1))
    network.generate(batch.source, k=1, allowed=None, steps=6)
    plain = len(calls)
    network.generate(batch.source, k=1, allowed=None, steps=6, threshold=0.5)
    hook.remove()
    assert len(calls) - plain < plain


def test_an_unknown_knob_or_choice_is_told_of():
    codec = get_codec("cf")
    with pytest.raises(LimbeckError, match="self_conditionin"):
        build_shape(StudentSection(kind="codefusion", extra={"self_conditionin": 0.1}), codec)
    with pytest.raises(LimbeckError, match="predict"):
        build_shape(StudentSection(kind="codefusion", extra={"predict": "v"}), codec)


@pytest.mark.parametrize("task", ["cf", "bash", "python"])
def test_the_papers_recipes_have_its_form(task):
    recipe, codec = load_recipe(f"codefusion-paper-{task}"), get_codec(task)
    with torch.device("meta"):
        network = build_network(build_shape(recipe.student, codec))
    assert network.length == 128 and len(network.denoiser) == 10 and len(network.decoder) == 6 and network.schedule.steps == 1200
    without = count_parameters(network, embeddings=False)
    blocks = 6 * 12 * 512**2 + (10 + 6) * 16 * 512**2  # matrices of E, N and D
    assert blocks < without < 1.05 * blocks and count_parameters(network) - without > 16e6
    assert np.isclose(recipe.train.lr, 5e-4) and recipe.train.optimizer == "adamw" and recipe.train.weight_decay == 0
