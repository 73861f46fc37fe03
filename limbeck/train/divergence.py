"""Losses of a decoder that never hold the logits of more than `chunk_tokens` positions: hard labels and a teacher's stored distribution.

With student q and teacher p over a vocabulary of V tokens, at each position:

    cross-entropy        -log q(y)
    forward_kl           sum_v p log(p/q); from draws of p it is the mean of -log q over them: unbiased, its gradient too
    reverse_kl           sum_v q log(q/p)
    jsd                  b KL(p|m) + (1-b) KL(q|m), m = b p + (1-b) q; b = 0 and 1 are the two above (TRL's convention; Agarwal et al. 2024)
    skew_kl              KL(p | b p + (1-b) q)  (Ko et al. 2024)

Of a teacher's k likeliest tokens the rest of the vocabulary is one more outcome, the tail, for p and for q (as TRL's
`loss_add_tail`). All in log space and float32; gradients are made chunk by chunk on the way forward, as Liger does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from limbeck.errors import LimbeckError

Divergence = Literal["forward_kl", "reverse_kl", "jsd", "skew_kl"]
ALMOST_NOTHING = 1e-7  # of probability in a tail: below it float32 cannot say one minus the rest
Rule = Callable[[Tensor, int, int], tuple[Tensor, Tensor]]  # logits of positions first..last -> summed loss, its gradient


@dataclass(frozen=True, slots=True)
class Targets:
    """A teacher's word at N positions.

    kind "sampled": ids_NK and their shares of the draws in value_NK, 0 where there are fewer; "top": ids_NK, log-probabilities in
    value_NK, -inf where there are fewer; "dense": value_NV holds log-probabilities of the whole vocabulary and ids_NK nothing.
    """

    kind: Literal["sampled", "top", "dense"]
    ids_NK: Tensor
    value_NK: Tensor

    def part(self, first: int, last: int) -> Targets:
        """Some of the positions."""
        return Targets(self.kind, self.ids_NK[first:last], self.value_NK[first:last])


def cross_entropy(states_ND: Tensor, head_VD: Tensor, label_N: Tensor, *, chunk_tokens: int = 1024) -> Tensor:
    """Mean of -log q(label) in nats."""
    ones = torch.ones(len(label_N), 1, device=states_ND.device)
    return _chunked(states_ND, head_VD, _sparse_rule(label_N[:, None], ones), chunk_tokens)


def divergence_loss(
    states_ND: Tensor, head_VD: Tensor, targets: Targets, label_N: Tensor, *, kind: Divergence = "forward_kl", beta: float = 0.5, soft_weight: float = 1.0,
    temperature: float = 1.0, chunk_tokens: int = 1024,
) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
    """(1-w) cross-entropy with the label + w divergence from the teacher, mean over positions; and both apart where they are.

    From draws it is the cross-entropy with the teacher: the forward divergence and the teacher's own entropy, which no student
    changes. Raises LimbeckError for a divergence or a temperature that stored draws cannot give.
    """
    if targets.kind == "sampled":
        if kind != "forward_kl" or temperature != 1:
            what = kind if kind != "forward_kl" else f"temperature {temperature:g}"
            raise LimbeckError(f"{what} cannot be had from stored draws", "train.divergence, train.soft_temperature", "use forward_kl at temperature 1, or distill.soft = 'top'")
        ids = torch.cat([label_N[:, None], targets.ids_NK], 1)
        share = torch.cat([torch.full_like(targets.value_NK[:, :1], 1 - soft_weight), soft_weight * targets.value_NK], 1)
        return _chunked(states_ND, head_VD, _sparse_rule(ids, share), chunk_tokens), {}
    heat = temperature

    def loss_of(logits_CV: Tensor, first: int, last: int) -> Tensor:
        logq_CV = functional.log_softmax(logits_CV, -1)
        hard = functional.nll_loss(logq_CV, label_N[first:last], reduction="sum")
        logp, logq = _outcomes(targets.part(first, last), logq_CV if heat == 1 else functional.log_softmax(logits_CV / heat, -1), heat)
        return (1 - soft_weight) * hard + soft_weight * heat**2 * _divergence(logp, logq, kind, beta).sum()

    return _chunked(states_ND, head_VD, _differentiate(loss_of), chunk_tokens), {}


def _outcomes(targets: Targets, logq_CV: Tensor, heat: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities of teacher and student over the same outcomes: the vocabulary, or the kept tokens and the tail.

    Away from temperature 1 the tail's weight is unknown: the teacher is renormalised over the tokens that were kept.
    """
    if targets.kind == "dense":
        return (targets.value_NK if heat == 1 else functional.log_softmax(targets.value_NK / heat, -1)), logq_CV
    logp, logq = targets.value_NK.float(), logq_CV.gather(1, targets.ids_NK)
    logq = logq.masked_fill(torch.isneginf(logp), -torch.inf)
    if heat != 1:
        return functional.log_softmax(logp / heat, -1), logq
    return torch.cat([logp, _rest(logp)], 1), torch.cat([logq, _rest(logq)], 1)


def _rest(logp_CK: Tensor) -> Tensor:
    """log(1 - sum exp(logp)), [C, 1], at least log(ALMOST_NOTHING)."""
    share = logp_CK.logsumexp(1, keepdim=True).exp()
    return torch.log((1 - share).clamp(min=ALMOST_NOTHING))


def _divergence(logp_CK: Tensor, logq_CK: Tensor, kind: Divergence, beta: float) -> Tensor:
    """By position. Outcomes that one side calls impossible add nothing where its weight is zero; never a NaN."""
    if kind == "forward_kl" or (kind == "jsd" and beta == 0):
        return _kl(logp_CK, logq_CK)
    if kind == "reverse_kl" or (kind == "jsd" and beta == 1):
        return _kl(logq_CK, logp_CK)
    share = torch.tensor(beta, dtype=logq_CK.dtype, device=logq_CK.device)
    floor = torch.finfo(logq_CK.dtype).min / 4
    mixture = torch.logaddexp(logp_CK.clamp(min=floor) + share.log(), logq_CK.clamp(min=floor) + torch.log1p(-share))
    if kind == "skew_kl":
        return _kl(logp_CK, mixture)
    return beta * _kl(logp_CK, mixture) + (1 - beta) * _kl(logq_CK, mixture)


def _kl(loga: Tensor, logb: Tensor) -> Tensor:
    is_there = ~torch.isneginf(loga)
    safe_a = torch.where(is_there, loga, 0.0)
    safe_b = torch.where(is_there, logb.clamp(min=-1e4), 0.0)  # a sure miss costs 10,000 nats, not infinitely many
    return torch.where(is_there, safe_a.exp() * (safe_a - safe_b), 0.0).sum(-1)


def _sparse_rule(ids_NK: Tensor, share_NK: Tensor) -> Rule:
    """Cross-entropy with a distribution over few tokens that sums to one: log sum exp(z) - sum c z; its gradient is q - c."""

    def rule(logits_CV: Tensor, first: int, last: int) -> tuple[Tensor, Tensor]:
        ids, share = ids_NK[first:last], share_NK[first:last].to(logits_CV.dtype)
        lse_C1 = logits_CV.logsumexp(-1, keepdim=True)
        loss = (lse_C1 * share.sum(1, keepdim=True)).sum() - (logits_CV.gather(1, ids) * share).sum()
        grad = logits_CV.sub_(lse_C1).exp_().mul_(share.sum(1, keepdim=True))
        return loss, grad.scatter_add_(1, ids, -share)

    return rule


def _differentiate(loss_of: Callable[[Tensor, int, int], Tensor]) -> Rule:
    """A rule from a loss that torch differentiates, one chunk at a time."""

    def rule(logits_CV: Tensor, first: int, last: int) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            held = logits_CV.detach().requires_grad_()
            loss = loss_of(held, first, last)
            (grad,) = torch.autograd.grad(loss, held)
        return loss.detach(), grad

    return rule


def _chunked(states_ND: Tensor, head_VD: Tensor, rule: Rule, chunk_tokens: int) -> Tensor:
    if not len(states_ND):
        raise LimbeckError("a batch has no token to predict", "train.batch", "raise train.batch or student.length")
    kind = states_ND.device.type
    fast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.promote_types(states_ND.dtype, head_VD.dtype)
    return _Chunked.apply(states_ND, head_VD, rule, chunk_tokens, fast)  # type: ignore[no-any-return]


class _Chunked(torch.autograd.Function):
    """Mean over positions of what `rule` makes of their logits; `fast` is the number format of the three products."""

    @staticmethod
    def forward(ctx: Any, states_ND: Tensor, head_VD: Tensor, rule: Rule, chunk_tokens: int, fast: torch.dtype) -> Tensor:
        count = len(states_ND)
        wants_states, wants_head = ctx.needs_input_grad[:2]
        states, head = states_ND.detach().to(fast), head_VD.detach().to(fast)
        grad_states = torch.empty_like(states) if wants_states else None
        grad_head = torch.zeros(head_VD.shape, dtype=torch.float32, device=head.device) if wants_head else None
        total = torch.zeros((), dtype=torch.float64, device=head.device)
        with torch.autocast(states.device.type, enabled=False):
            for first in range(0, count, chunk_tokens):
                last = min(first + chunk_tokens, count)
                loss, grad_CV = rule((states[first:last] @ head.T).float(), first, last)
                total += loss.double()
                grad_CV = (grad_CV / count).to(fast)
                if grad_states is not None:
                    grad_states[first:last] = grad_CV @ head
                if grad_head is not None:
                    _add_product(grad_head, grad_CV, states[first:last])
        ctx.save_for_backward(*(g for g in (grad_states, grad_head) if g is not None))
        ctx.wants, ctx.dtypes = (wants_states, wants_head), (states_ND.dtype, head_VD.dtype)
        return (total / count).float()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        held = iter(ctx.saved_tensors)
        out = [(next(held) * grads[0]).to(dtype) if wanted else None for wanted, dtype in zip(ctx.wants, ctx.dtypes, strict=True)]
        return (*out, None, None, None)


def _add_product(total_VD: Tensor, grad_CV: Tensor, states_CD: Tensor) -> None:
    if grad_CV.dtype == torch.float32:
        total_VD.addmm_(grad_CV.T, states_CD)
    else:
        total_VD += (grad_CV.T @ states_CD).float()
