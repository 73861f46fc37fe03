"""Losses of a decoder that never hold the logits of more than `chunk_tokens` positions: hard labels and a teacher's stored distribution.

With student q and teacher p over a vocabulary of V tokens, at each position:

    cross-entropy        -log q(y)
    forward_kl           sum_v p log(p/q); from draws of p it is the mean of -log q over them: unbiased, its gradient too
    reverse_kl           sum_v q log(q/p)
    jsd                  b KL(p|m) + (1-b) KL(q|m), m = b p + (1-b) q; b = 0 and 1 are the two above (TRL's convention; Agarwal et al. 2024)
    skew_kl              KL(p | b p + (1-b) q)  (Ko et al. 2024)

Of a teacher's k likeliest tokens the rest of the vocabulary is one more outcome, the tail, for p and for q (as TRL's
`loss_add_tail`), or the tail's probability is spread evenly over the rest. At a temperature T the kept tokens are compared given that one
of them comes, p^(1/T) and q^(1/T) normalised over them: that is exact at any T. What T makes of a tail cannot be known from its sum, so
kept against tail is compared at 1:

    D(kept, tail at 1) + T^2 p(kept) D(p_T | kept, q_T | kept)

Differs: others normalise p_T over the kept tokens and q_T over all; their best student gives the tail nothing, and their reverse
divergence falls below zero. All in log space and float32; gradients are made chunk by chunk on the way forward, as Liger does.
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
Tail = Literal["bucket", "uniform"]
SURE_MISS = -1e4  # stands for -inf where the other side gives weight: dear, and not infinitely so
ALMOST_NOTHING = 1e-7  # of probability in a tail: below it float32 cannot say one minus the rest
Rule = Callable[[Tensor, int, int], tuple[Tensor, Tensor]]  # logits of positions first..last, which it may overwrite -> summed loss, its gradient
Compare = Callable[[Tensor, Tensor], Tensor]  # log-probabilities of teacher and student -> divergence by position


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

    @property
    def has_word(self) -> Tensor:
        """Whether the teacher says anything at each position [N]: a position without any token is learnt from its label alone."""
        if self.kind == "dense":
            return torch.ones(len(self.value_NK), dtype=torch.bool, device=self.value_NK.device)
        return ((self.value_NK > 0) if self.kind == "sampled" else ~torch.isneginf(self.value_NK)).any(1)


def cross_entropy(states_ND: Tensor, head_VD: Tensor, label_N: Tensor, *, bias_V: Tensor | None = None, chunk_tokens: int = 1024) -> Tensor:
    """Mean of -log q(label) in nats."""
    nothing = Targets("sampled", label_N[:, None][:, :0], torch.zeros(len(label_N), 0, device=label_N.device))
    return divergence_loss(states_ND, head_VD, nothing, label_N, soft_weight=0.0, bias_V=bias_V, chunk_tokens=chunk_tokens)[0]


def divergence_loss(
    states_ND: Tensor, head_VD: Tensor, targets: Targets, label_N: Tensor, *, kind: Divergence = "forward_kl", beta: float = 0.5, soft_weight: float = 1.0,
    temperature: float = 1.0, tail: Tail = "bucket", bias_V: Tensor | None = None, chunk_tokens: int = 1024,
) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
    """(1-w) cross-entropy with the label + w divergence from the teacher, mean over positions; and the two apart, without gradient.
    Where the teacher says nothing w is 0.

    From draws it is the cross-entropy with the teacher: the forward divergence and the teacher's own entropy, which no student
    changes. Raises LimbeckError for a divergence or a temperature that stored draws cannot give.
    """
    sums = {name: torch.zeros((), dtype=torch.float64, device=states_ND.device) for name in ("cross_entropy", "soft")}
    if targets.kind == "sampled":
        if kind != "forward_kl" or temperature != 1:
            what = kind if kind != "forward_kl" else f"temperature {temperature:g}"
            raise LimbeckError(f"{what} cannot be had from stored draws", "train.divergence, train.soft_temperature", "use forward_kl at temperature 1, or distill.soft = 'top'")
        rule = _kept_rule(targets, label_N, lambda share, logq: -(share * logq).sum(-1), soft_weight, sums)
    elif targets.kind == "top" and tail == "bucket":
        rule = _kept_rule(targets, label_N, lambda logp, logq: _kept_divergence(logp, logq, kind, beta, temperature), soft_weight, sums)
    else:
        rule = _whole_rule(targets, label_N, lambda logp, logq: temperature**2 * _divergence(logp, logq, kind, beta), soft_weight, temperature, sums)
    loss = _chunked(states_ND, head_VD, bias_V, rule, chunk_tokens)
    return loss, {name: (value / len(label_N)).float() for name, value in sums.items()}


def _kept_divergence(logp_CK: Tensor, logq_CK: Tensor, kind: Divergence, beta: float, heat: float) -> Tensor:
    """By position, from log-probabilities of the kept tokens at temperature 1. Places without a token are -inf in `logp_CK`."""
    logq_CK = logq_CK.masked_fill(torch.isneginf(logp_CK), -torch.inf)
    restp_C1, restq_C1 = _rest(logp_CK), _rest(logq_CK)
    if heat == 1:
        return _divergence(torch.cat([logp_CK, restp_C1], 1), torch.cat([logq_CK, restq_C1], 1), kind, beta)
    keptp_C1, keptq_C1 = logp_CK.logsumexp(1, keepdim=True), logq_CK.logsumexp(1, keepdim=True)
    outer = _divergence(torch.cat([keptp_C1, restp_C1], 1), torch.cat([keptq_C1, restq_C1], 1), kind, beta)
    inner = _divergence((logp_CK / heat).log_softmax(-1), (logq_CK / heat).log_softmax(-1), kind, beta)
    return outer + heat**2 * keptp_C1[:, 0].exp() * inner


def _rest(logp_CK: Tensor) -> Tensor:
    """log(1 - sum exp(logp)), [C, 1], at least log(ALMOST_NOTHING)."""
    return torch.log(-torch.expm1(logp_CK.logsumexp(1, keepdim=True).clamp(max=-ALMOST_NOTHING)))


def _spread(targets: Targets, vocabulary: int) -> Tensor:
    """Log-probabilities [C, V] of top tokens, the tail shared evenly by all others."""
    logp_CK = targets.value_NK.float()
    is_there = ~torch.isneginf(logp_CK)
    others_C1 = (vocabulary - is_there.sum(1, keepdim=True)).clamp(min=1)
    whole_CV = (_rest(logp_CK) - others_C1.log()).repeat(1, vocabulary)
    at, place = is_there.nonzero(as_tuple=True)
    whole_CV[at, targets.ids_NK[at, place]] = logp_CK[at, place]
    return whole_CV.log_softmax(-1)


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
    safe_b = torch.where(is_there, logb.masked_fill(torch.isneginf(logb), SURE_MISS), 0.0)
    return torch.where(is_there, safe_a.exp() * (safe_a - safe_b), 0.0).sum(-1)


def _kept_rule(targets: Targets, label_N: Tensor, divergence: Compare, soft_weight: float, sums: dict[str, Tensor]) -> Rule:
    """What hangs on the stored tokens alone: torch differentiates [C, K] log-probabilities, the softmax's gradient is written out.

    With g = d loss / d log q(stored), d loss / d z = scatter(g) - q sum(g): from draws, whose shares sum to one, q - share.
    """

    def rule(logits_CV: Tensor, first: int, last: int) -> tuple[Tensor, Tensor]:
        part, label_C1 = targets.part(first, last), label_N[first:last, None]
        lse_C1 = logits_CV.logsumexp(-1, keepdim=True)
        hard_C1 = lse_C1 - logits_CV.gather(1, label_C1)
        has_C = part.has_word
        weight_C1 = soft_weight * has_C[:, None].float()
        with torch.enable_grad():
            logq_CK = (logits_CV.gather(1, part.ids_NK) - lse_C1).detach().requires_grad_()
            soft = divergence(part.value_NK[has_C].float(), logq_CK[has_C]).sum()
            (grad_CK,) = torch.autograd.grad(soft_weight * soft, logq_CK)
        soft = soft.detach()
        sums["cross_entropy"] += hard_C1.sum()
        sums["soft"] += soft
        grad = logits_CV.sub_(lse_C1).exp_().mul_(1 - weight_C1 - grad_CK.sum(1, keepdim=True))
        grad.scatter_add_(1, part.ids_NK, grad_CK).scatter_add_(1, label_C1, weight_C1 - 1)
        return ((1 - weight_C1) * hard_C1).sum() + soft_weight * soft, grad

    return rule


def _whole_rule(targets: Targets, label_N: Tensor, divergence: Compare, soft_weight: float, heat: float, sums: dict[str, Tensor]) -> Rule:
    """What hangs on the whole vocabulary, differentiated by torch: a few tensors as large as one chunk's logits."""

    def rule(logits_CV: Tensor, first: int, last: int) -> tuple[Tensor, Tensor]:
        part = targets.part(first, last)
        logp_CV = part.value_NK.float() if part.kind == "dense" else _spread(part, logits_CV.shape[1])
        with torch.enable_grad():
            held = logits_CV.detach().requires_grad_()
            hard_C = functional.nll_loss(held.log_softmax(-1), label_N[first:last], reduction="none")
            soft_C = part.has_word * divergence(logp_CV if heat == 1 else (logp_CV / heat).log_softmax(-1), (held / heat).log_softmax(-1))
            loss = ((1 - soft_weight * part.has_word) * hard_C + soft_weight * soft_C).sum()
            (grad,) = torch.autograd.grad(loss, held)
        sums["cross_entropy"] += hard_C.sum().detach()
        sums["soft"] += soft_C.sum().detach()
        return loss.detach(), grad

    return rule


def _chunked(states_ND: Tensor, head_VD: Tensor, bias_V: Tensor | None, rule: Rule, chunk_tokens: int) -> Tensor:
    if not len(states_ND):
        raise LimbeckError("a batch has no token to predict", "train.batch", "raise train.batch or student.length")
    kind = states_ND.device.type
    fast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.promote_types(states_ND.dtype, head_VD.dtype)
    return _Chunked.apply(states_ND, head_VD, bias_V, rule, chunk_tokens, fast)  # type: ignore[no-any-return]


class _Chunked(torch.autograd.Function):
    """Mean over positions of what `rule` makes of their logits; `fast` is the number format of the three products."""

    @staticmethod
    def forward(ctx: Any, states_ND: Tensor, head_VD: Tensor, bias_V: Tensor | None, rule: Rule, chunk_tokens: int, fast: torch.dtype) -> Tensor:
        count = len(states_ND)
        ctx.wants = ctx.needs_input_grad[:3]
        ctx.dtypes = [t.dtype if t is not None else None for t in (states_ND, head_VD, bias_V)]
        states, head = states_ND.detach().to(fast), head_VD.detach().to(fast)
        grad_states = torch.empty_like(states) if ctx.wants[0] else None
        grad_head = torch.zeros(head_VD.shape, dtype=torch.float32, device=head.device) if ctx.wants[1] else None
        grad_bias = torch.zeros(len(head_VD), dtype=torch.float32, device=head.device) if ctx.wants[2] else None
        total = torch.zeros((), dtype=torch.float64, device=head.device)
        with torch.autocast(states.device.type, enabled=False):
            for first in range(0, count, chunk_tokens):
                last = min(first + chunk_tokens, count)
                logits_CV = (states[first:last] @ head.T).float()
                loss, grad_CV = rule(logits_CV if bias_V is None else logits_CV.add_(bias_V.detach().float()), first, last)
                total += loss.double()
                if grad_bias is not None:
                    grad_bias += grad_CV.sum(0) / count
                grad_CV = grad_CV.div_(count).to(fast)
                if grad_states is not None:
                    grad_states[first:last] = grad_CV @ head
                if grad_head is not None:
                    _add_product(grad_head, grad_CV, states[first:last])
                del logits_CV, grad_CV  # before the next ones are made
        ctx.save_for_backward(*(g for g in (grad_states, grad_head, grad_bias) if g is not None))
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
