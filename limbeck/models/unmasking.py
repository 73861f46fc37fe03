"""In which order a masked canvas is filled: how many positions a step, which ones, and what is hidden again."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limbeck.models.batch import PAD
from limbeck.models.knobs import MaskedKnobs

SURE_PAD = math.log(0.9)
SETTLED = 0.75  # of the steps, after which nothing is hidden again


def how_sure(logp_RLV: Tensor, drawn_RL: Tensor, order: str, random_RL: Tensor | None) -> Tensor:
    """What positions are ranked by, larger first: [R, L]."""
    if order == "margin":
        top_RL2 = logp_RLV.exp().topk(2, -1).values
        return top_RL2[..., 0] - top_RL2[..., 1]
    if order == "entropy":
        return (logp_RLV.exp() * logp_RLV.clamp(min=-1e4)).sum(-1)
    if order == "random":
        assert random_RL is not None
        return random_RL
    return logp_RLV.gather(2, drawn_RL[..., None])[..., 0]


def to_show(is_hidden: Tensor, drawn_RL: Tensor, sure_RL: Tensor, logp_RL: Tensor, left: int, knobs: MaskedKnobs) -> Tensor:
    """Which hidden positions to settle with `left` steps to go: sure padding at once, of the rest an even share, surest first.

    Counting padding in the share (as a plain schedule does) spent nine of twelve steps on it and guessed the answer in three.
    """
    if left <= 1 and not knobs.block:
        return is_hidden
    may = is_hidden & _in_block(is_hidden, knobs.block)
    open_RL = may & (drawn_RL != PAD)
    if knobs.block:
        left = max(1, round(left * knobs.block / is_hidden.shape[1]))
    share_R1 = (open_RL.sum(1, keepdim=True) + left - 1) // left
    shown = (open_RL & (_rank(sure_RL, open_RL) < share_R1)) | (is_hidden & (drawn_RL == PAD) & (logp_RL > SURE_PAD))
    if knobs.threshold:
        shown |= may & (logp_RL > math.log(knobs.threshold))
    stuck_R1 = ~shown.any(1, keepdim=True)  # only unsure padding is left in the block: the surest of it
    return shown | (may & stuck_R1 & (_rank(logp_RL, may) < 1))


def to_hide(shown_RL: Tensor, held_RL: Tensor, sure_RL: Tensor, share: float) -> Tensor:
    """The least sure of what is shown and not held, a share of it (rounded down)."""
    loose_RL = shown_RL & ~held_RL
    count_R1 = (loose_RL.sum(1, keepdim=True) * share).long()
    return loose_RL & (_rank(-sure_RL, loose_RL) < count_R1)


def _in_block(is_hidden: Tensor, block: int) -> Tensor:
    """Positions of the first block that still hides something; everywhere where there are no blocks."""
    if not block:
        return torch.ones_like(is_hidden)
    at_L = torch.arange(is_hidden.shape[1], device=is_hidden.device)
    first_R = is_hidden.int().argmax(1)
    return at_L[None] < (first_R // block + 1)[:, None] * block


def _rank(value_RL: Tensor, among_RL: Tensor) -> Tensor:
    """The place of each position among some, largest first; the others come after all of them."""
    return value_RL.masked_fill(~among_RL, float("-inf")).argsort(dim=1, descending=True, stable=True).argsort(1)
