"""Losses in chunks against plain ones, gradients and all; draws that are right on the mean; nothing that becomes NaN."""

import math

import pytest
import torch
from torch.nn import functional

from limbeck.errors import LimbeckError
from limbeck.train.divergence import Targets, cross_entropy, divergence_loss

N, V, D = 37, 50, 8


@pytest.fixture
def given():
    generator = torch.Generator().manual_seed(0)
    states, head = torch.randn(N, D, generator=generator, requires_grad=True), torch.randn(V, D, generator=generator, requires_grad=True)
    labels, teacher = torch.randint(V, (N,), generator=generator), torch.randn(N, V, generator=generator).mul(2).log_softmax(-1)
    return states, head, labels, teacher


def grads(loss, states, head):
    return [g.clone() for g in torch.autograd.grad(loss, (states, head))]


def same(loss, plain, states, head, atol=1e-5):
    assert float(loss) == pytest.approx(float(plain), abs=atol)
    for a, b in zip(grads(loss * 3, states, head), grads(plain * 3, states, head), strict=True):
        assert torch.allclose(a, b, atol=atol)


@pytest.mark.parametrize("chunk", [1, 8, 37, 1000])
def test_cross_entropy_in_chunks_is_cross_entropy(given, chunk):
    states, head, labels, _ = given
    same(cross_entropy(states, head, labels, chunk_tokens=chunk), functional.cross_entropy(states @ head.T, labels), states, head)


def trl_jsd(student_logits, teacher_logp, beta):
    """The generalised JSD as TRL's GKDTrainer has it, written out."""
    q, p = student_logits.log_softmax(-1), teacher_logp
    if beta == 0:
        return functional.kl_div(q, p, reduction="none", log_target=True).sum(-1).mean()
    if beta == 1:
        return functional.kl_div(p, q, reduction="none", log_target=True).sum(-1).mean()
    mixture = torch.logsumexp(torch.stack([q + math.log(1 - beta), p + math.log(beta)]), 0)
    kl = [functional.kl_div(mixture, side, reduction="none", log_target=True).sum(-1) for side in (p, q)]
    return (beta * kl[0] + (1 - beta) * kl[1]).mean()


@pytest.mark.parametrize(("kind", "beta", "as_beta"), [("forward_kl", 0.5, 0.0), ("reverse_kl", 0.5, 1.0), ("jsd", 0.0, 0.0), ("jsd", 1.0, 1.0), ("jsd", 0.3, 0.3)])
def test_dense_divergences_are_trls(given, kind, beta, as_beta):
    states, head, labels, teacher = given
    targets = Targets("dense", torch.zeros(N, 0, dtype=torch.long), teacher)
    loss, _ = divergence_loss(states, head, targets, labels, kind=kind, beta=beta, chunk_tokens=8)
    same(loss, trl_jsd(states @ head.T, teacher, as_beta), states, head)


def test_parity_with_the_installed_trl(given):
    gkd = pytest.importorskip("trl.experimental.gkd", reason="trl is an extra")
    states, head, labels, teacher = given
    targets = Targets("dense", torch.zeros(N, 0, dtype=torch.long), teacher)
    for beta in (0.0, 0.5, 1.0):
        loss, _ = divergence_loss(states, head, targets, labels, kind="jsd", beta=beta)
        theirs = gkd.GKDTrainer.generalized_jsd_loss((states @ head.T)[None], teacher[None], labels[None], beta=beta)
        assert float(loss) == pytest.approx(float(theirs), abs=1e-5)


def test_top_tokens_with_a_tail_become_the_whole_divergence_as_k_grows(given):
    states, head, labels, teacher = given
    whole, _ = divergence_loss(states, head, Targets("dense", torch.zeros(N, 0, dtype=torch.long), teacher), labels)
    found = []
    for k in (2, 10, 40, V):
        top = teacher.topk(k)
        loss, _ = divergence_loss(states, head, Targets("top", top.indices, top.values), labels, chunk_tokens=5)
        found.append(float(loss))
    assert found == sorted(found) and found[-1] == pytest.approx(float(whole), abs=1e-4)  # merging outcomes only loses divergence


def test_labels_and_teacher_are_mixed_by_the_weight(given):
    states, head, labels, teacher = given
    targets = Targets("dense", torch.zeros(N, 0, dtype=torch.long), teacher)
    hard, soft = (divergence_loss(states, head, targets, labels, soft_weight=w)[0] for w in (0.0, 1.0))
    mixed, _ = divergence_loss(states, head, targets, labels, soft_weight=0.3)
    assert float(mixed) == pytest.approx(0.7 * float(hard) + 0.3 * float(soft), rel=1e-5) and float(hard) == pytest.approx(float(functional.cross_entropy(states @ head.T, labels)), rel=1e-5)


def draw(teacher, draws, seed):
    picked = torch.multinomial(teacher.exp(), draws, replacement=True, generator=torch.Generator().manual_seed(seed))
    return Targets("sampled", picked, torch.full(picked.shape, 1 / draws))


def test_the_gradient_from_draws_is_right_on_the_mean_and_from_top_tokens_alone_it_is_not(given):
    states, head, labels, teacher = given
    full = grads(-(teacher.exp() * (states @ head.T).log_softmax(-1)).sum(-1).mean(), states, head)[0]
    rounds = torch.stack([grads(divergence_loss(states, head, draw(teacher, 12, seed), labels)[0], states, head)[0] for seed in range(600)])
    z = (rounds.mean(0) - full) / (rounds.std(0) / math.sqrt(len(rounds)))
    assert abs(float(z.mean())) < 3 / math.sqrt(z.numel()) * 2 and 0.8 < float(z.std()) < 1.2 and float(z.abs().max()) < 5
    top = teacher.topk(12)
    cut = Targets("sampled", top.indices, top.values.exp() / top.values.exp().sum(1, keepdim=True))  # renormalised, as many do
    biased = grads(divergence_loss(states, head, cut, labels)[0], states, head)[0]
    noise = rounds.std(0) / math.sqrt(len(rounds))
    assert float(((biased - full) / noise).abs().median()) > 3


def test_a_temperature_is_the_textbook_one(given):
    states, head, labels, teacher = given
    loss, _ = divergence_loss(states, head, Targets("dense", torch.zeros(N, 0, dtype=torch.long), teacher), labels, temperature=2.0)
    p, q = (teacher / 2).log_softmax(-1), ((states @ head.T) / 2).log_softmax(-1)
    same(loss, 4 * functional.kl_div(q, p, reduction="none", log_target=True).sum(-1).mean(), states, head)


@pytest.mark.parametrize("kind", ["forward_kl", "reverse_kl", "jsd", "skew_kl"])
@pytest.mark.parametrize("scale", [1e3, 1e5])
def test_sure_teachers_and_sure_students_give_finite_losses_and_gradients(kind, scale):
    states, head = (torch.eye(4) * scale).requires_grad_(), torch.eye(4).requires_grad_()
    teacher = torch.full((4, 4), -torch.inf)
    teacher[torch.arange(4), torch.tensor([1, 2, 3, 3])] = 0.0
    top = teacher.topk(2)
    for targets in (Targets("dense", torch.zeros(4, 0, dtype=torch.long), teacher), Targets("top", top.indices, top.values)):
        loss, _ = divergence_loss(states, head, targets, torch.arange(4), kind=kind, beta=0.1)
        assert math.isfinite(float(loss)) and all(g.isfinite().all() for g in grads(loss, states, head))


def test_draws_give_one_divergence_at_one_temperature(given):
    states, head, labels, teacher = given
    for wrong in ({"kind": "jsd"}, {"temperature": 2.0}):
        with pytest.raises(LimbeckError, match="stored draws"):
            divergence_loss(states, head, draw(teacher, 5, 0), labels, **wrong)


def test_frozen_heads_get_no_gradient_and_autocast_stays_near(given):
    states, head, labels, _ = given
    loss = cross_entropy(states, head.detach(), labels)
    (grad,) = torch.autograd.grad(loss, (states,))
    with torch.autocast("cpu", torch.bfloat16):
        near = cross_entropy(states, head, labels)
    assert grad.shape == states.shape and float(near) == pytest.approx(float(loss), rel=0.02)
