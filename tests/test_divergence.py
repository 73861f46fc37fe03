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
    assert float(loss.detach()) == pytest.approx(float(plain.detach()), abs=atol)
    for a, b in zip(grads(loss * 3, states, head), grads(plain * 3, states, head), strict=True):
        assert torch.allclose(a, b, atol=atol)


@pytest.mark.parametrize("chunk", [1, 8, 37, 1000])
def test_cross_entropy_in_chunks_is_cross_entropy(given, chunk):
    states, head, labels, _ = given
    same(cross_entropy(states, head, labels, chunk_tokens=chunk), functional.cross_entropy(states @ head.T, labels), states, head)


def trl_jsd(student_logits, teacher_logp, beta):
    """The generalised JSD as TRL's GKDTrainer has it, written out."""
    return trl_jsd_of(student_logits.log_softmax(-1), teacher_logp, beta)


def trl_jsd_of(q, p, beta):
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


def dense(teacher):
    return Targets("dense", torch.zeros(len(teacher), 0, dtype=torch.long), teacher)


def top_of(teacher, k):
    found = teacher.topk(k)
    return Targets("top", found.indices, found.values)


KINDS = [("forward_kl", 0.5), ("reverse_kl", 0.5), ("jsd", 0.3), ("skew_kl", 0.1)]


@pytest.mark.parametrize("value", [3e4, 1e6])
def test_a_student_that_is_surely_wrong_is_still_pulled(value):
    states = torch.tensor([[value, 0.0, 0.0]], requires_grad=True)
    teacher = torch.tensor([[-torch.inf, 0.0, -torch.inf]])
    for targets in (dense(teacher), top_of(teacher, 2), Targets("sampled", torch.tensor([[1]]), torch.ones(1, 1))):
        loss, _ = divergence_loss(states, torch.eye(3), targets, torch.zeros(1, dtype=torch.long))
        (grad,) = torch.autograd.grad(loss, states)
        assert float(loss.detach()) == pytest.approx(value, rel=1e-3) and torch.allclose(grad, torch.tensor([[1.0, -1.0, 0.0]]), atol=1e-5)  # q - p


def test_logits_of_minus_infinity_on_both_sides_give_finite_losses_and_gradients():
    bias = torch.tensor([0.0, 0.0, -torch.inf, -torch.inf])  # tokens that the student may not say
    teacher = torch.tensor([[0.5, 0.0, 0.5, 0.0]]).log()
    for kind, beta in KINDS:
        for targets in (dense(teacher), top_of(teacher, 3)):
            states = torch.zeros(1, 4, requires_grad=True)
            loss, _ = divergence_loss(states, torch.eye(4), targets, torch.zeros(1, dtype=torch.long), kind=kind, beta=beta, bias_V=bias)
            assert math.isfinite(float(loss.detach())) and torch.autograd.grad(loss, states)[0].isfinite().all(), (kind, targets.kind)


def plain_kept(logits, targets, kind, beta, heat):
    """Kept tokens and the tail at temperature 1, and the kept ones among themselves at `heat`, written out with probabilities."""
    p, q = targets.value_NK.double().exp(), logits.double().softmax(-1).gather(1, targets.ids_NK)

    def compare(a, b):
        m = beta * a + (1 - beta) * b
        kl = lambda x, y: (x * (x / y).log()).sum(-1)  # noqa: E731
        return {"forward_kl": lambda: kl(a, b), "reverse_kl": lambda: kl(b, a), "jsd": lambda: beta * kl(a, m) + (1 - beta) * kl(b, m), "skew_kl": lambda: kl(a, m)}[kind]()

    rest = lambda x: torch.cat([x, 1 - x.sum(1, keepdim=True)], 1)  # noqa: E731
    if heat == 1:
        return compare(rest(p), rest(q)).mean()
    among = lambda x: (x ** (1 / heat)) / (x ** (1 / heat)).sum(1, keepdim=True)  # noqa: E731
    return (compare(rest(p.sum(1, keepdim=True)), rest(q.sum(1, keepdim=True))) + heat**2 * p.sum(1) * compare(among(p), among(q))).mean()


@pytest.mark.parametrize(("kind", "beta"), KINDS)
@pytest.mark.parametrize("heat", [1.0, 2.0])
def test_top_tokens_are_compared_as_written_out(given, kind, beta, heat):
    states, head, labels, teacher = given
    targets = top_of(teacher, 6)
    loss, parts = divergence_loss(states, head, targets, labels, kind=kind, beta=beta, temperature=heat, soft_weight=0.7, chunk_tokens=8)
    plain = 0.7 * plain_kept(states @ head.T, targets, kind, beta, heat) + 0.3 * functional.cross_entropy(states @ head.T, labels)
    same(loss, plain.float(), states, head)
    assert 0.3 * float(parts["cross_entropy"]) + 0.7 * float(parts["soft"]) == pytest.approx(float(loss.detach()), rel=1e-5)


@pytest.mark.parametrize(("kind", "beta"), KINDS)
@pytest.mark.parametrize("heat", [0.5, 1.0, 2.0])
def test_the_best_student_of_top_tokens_is_the_teacher_at_any_temperature(given, kind, beta, heat):
    teacher = given[3][:8]
    targets = top_of(teacher, 4)
    lowest, _ = divergence_loss(teacher, torch.eye(V), targets, torch.zeros(8, dtype=torch.long), kind=kind, beta=beta, temperature=heat)
    assert float(lowest) == pytest.approx(0, abs=1e-5)
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        other, _ = divergence_loss(teacher + torch.randn(8, V, generator=generator), torch.eye(V), targets, torch.zeros(8, dtype=torch.long), kind=kind, beta=beta, temperature=heat)
        assert float(other) > 1e-3


@pytest.mark.parametrize(("kind", "beta"), KINDS)
@pytest.mark.parametrize("heat", [1.0, 2.0])
def test_a_tail_spread_evenly_is_that_distribution(given, kind, beta, heat):
    states, head, labels, teacher = given
    targets = top_of(teacher, 5)
    targets = Targets("top", torch.cat([targets.ids_NK, torch.zeros(N, 1, dtype=torch.long)], 1), torch.cat([targets.value_NK, torch.full((N, 1), -torch.inf)], 1))  # a place without a token
    whole = ((1 - targets.value_NK.exp().sum(1, keepdim=True)) / (V - 5)).log().repeat(1, V).scatter(1, targets.ids_NK[:, :5], targets.value_NK[:, :5])
    loss, _ = divergence_loss(states, head, targets, labels, kind=kind, beta=beta, temperature=heat, tail="uniform", chunk_tokens=8)
    plain, _ = divergence_loss(states, head, dense(whole), labels, kind=kind, beta=beta, temperature=heat)
    same(loss, plain, states, head)


def test_a_bias_of_the_head_is_added_and_learnt(given):
    states, head, labels, teacher = given
    bias = torch.randn(V, requires_grad=True)
    loss, _ = divergence_loss(states, head, top_of(teacher, V), labels, soft_weight=0.5, bias_V=bias, chunk_tokens=8)
    logits = states @ head.T + bias
    plain = 0.5 * functional.cross_entropy(logits, labels) + 0.5 * functional.kl_div(logits.log_softmax(-1), teacher, log_target=True, reduction="batchmean")
    for a, b in zip(torch.autograd.grad(loss, (states, head, bias)), torch.autograd.grad(plain, (states, head, bias)), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_the_parts_say_what_was_mixed(given):
    states, head, labels, teacher = given
    logits = states @ head.T
    loss, parts = divergence_loss(states, head, draw(teacher, 9, 0), labels, soft_weight=0.25, chunk_tokens=8)
    assert float(parts["cross_entropy"]) == pytest.approx(float(functional.cross_entropy(logits, labels)), rel=1e-5)
    assert 0.75 * float(parts["cross_entropy"]) + 0.25 * float(parts["soft"]) == pytest.approx(float(loss.detach()), rel=1e-5) and not parts["soft"].requires_grad


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_parity_with_trls_top_tokens_and_tail(given, beta):
    server = pytest.importorskip("trl.experimental.server_distillation.server_distillation_trainer", reason="trl is an extra")
    states, head, labels, teacher = given
    targets = top_of(teacher, 7)
    loss, _ = divergence_loss(states, head, targets, labels, kind="jsd", beta=beta)
    is_there = torch.ones_like(targets.ids_NK, dtype=torch.bool)
    logq, _ = server._add_tail_bucket((states @ head.T).log_softmax(-1).gather(1, targets.ids_NK), is_there)
    logp, mask = server._add_tail_bucket(targets.value_NK, is_there)
    theirs = trl_jsd_of(logq, logp, beta)
    assert mask.all()
    same(loss, theirs, states, head)


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("heat", [1.0, 2.0])
def test_parity_with_trls_chunked_kernel(given, beta, heat):
    kernel = pytest.importorskip("trl.kernels.chunked_divergence", reason="trl is an extra").ChunkedDivergenceFunction
    states, head, labels, _ = given
    their_states, their_head = torch.randn(N, 5), torch.randn(V, 5)
    loss, _ = divergence_loss(states, head, dense((their_states @ their_head.T).log_softmax(-1)), labels, kind="jsd", beta=beta, temperature=heat, chunk_tokens=8)
    divergence, _ = kernel.apply(states, head, None, their_states, their_head, None, beta, heat, 1.0, None, 1.0, None)
    same(loss, heat**2 * divergence.mean(), states, head)  # TRL leaves the T^2 to the user


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
