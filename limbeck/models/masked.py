"""The masked-diffusion twin: symbols are hidden and guessed in parallel, the surest first.

Loss: cross-entropy at hidden positions, each hidden with p = (1 - eps) t + eps, t uniform (LLaDA's form). It reads with
the same encoder and head as its twins; the prompt is never hidden.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.models.batch import PAD, Batch, SourceBatch
from limbeck.models.blocks import Block, PointingHead, PromptReader, init_weights, key_bias, pointed_at
from limbeck.models.canvas import Reader, best_distinct, canvas_weight, lay_out, loss_by_noise, read_knobs, spread_times
from limbeck.models.network import Allowed, Ranked, Shape, target_loss


@dataclass(frozen=True, slots=True)
class MaskedKnobs:
    """What this student alone needs."""

    denoiser_layers: int = 2
    steps: int = 12
    pad_weight: float = 0.1  # pads are real targets; unweighted they drown the few symbols of an answer
    weighting: str = "flat"  # "inverse_t" is the likelihood bound; flat learnt faster in a trial at this size
    epsilon: float = 1e-3  # least share hidden
    temperature: float = 0.7  # of the Gumbel noise that makes draws differ; the first draw has none
    draws: int = 6
    beams: int = 4  # of the grammar's final reading


class Masked(nn.Module):
    """p(y_i | what is visible of y, prompt) for all positions at once."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.knobs = read_knobs(MaskedKnobs, shape.extra)
        self.symbols = nn.Embedding(shape.symbols + 1, shape.width)
        self.hidden = shape.symbols
        self.reader = PromptReader(
            width=shape.width, layers=shape.encoder_layers, heads=shape.heads, dropout=shape.dropout,
            buckets=shape.buckets, kinds=shape.kinds, flags=shape.flags, positions=shape.positions,
        )  # fmt: skip
        self.place = nn.Embedding(shape.target_length, shape.width)
        self.content = nn.Linear(shape.width, shape.width, bias=False)
        layers = shape.decoder_layers + self.knobs.denoiser_layers
        self.blocks: Any = nn.ModuleList(Block(shape.width, shape.heads, shape.dropout, cross=True) for _ in range(layers))
        self.norm = nn.LayerNorm(shape.width)
        self.head = PointingHead(shape.width, shape.fixed_symbols)
        init_weights(self)

    def forward(self, source: SourceBatch, canvas_BL: Tensor, memory: Tensor | None = None) -> Tensor:
        """logits_BLV of every position of a partly hidden canvas."""
        memory = memory if memory is not None else self.reader(source, self.symbols)
        assert memory is not None
        place = self.place(torch.arange(canvas_BL.shape[1], device=canvas_BL.device))
        x = self.symbols(canvas_BL) + place + self.content(pointed_at(memory, source, canvas_BL))
        keys = key_bias(source.mask_BS)
        for block in self.blocks:
            x, _ = block(x, None, block.attend_cross.project(memory), keys)
        return self.head(self.norm(x), memory, source, self.symbols)[..., : self.shape.symbols]

    def loss(self, batch: Batch, *, soft_weight: float, generator: torch.Generator) -> tuple[Tensor, dict[str, Any]]:
        """Cross-entropy at hidden positions; its parts by how much was hidden."""
        batch = lay_out(batch, self.shape.target_length)
        target = batch.target_BL
        time = spread_times(len(target), generator, target.device)
        share = (1 - self.knobs.epsilon) * time + self.knobs.epsilon
        is_hidden = torch.rand(target.shape, generator=generator) < share[:, None]
        logits = self(batch.source, target.masked_fill(is_hidden, self.hidden))
        weight = canvas_weight(target, self.knobs.pad_weight) * is_hidden
        if self.knobs.weighting == "inverse_t":
            weight = weight / share[:, None]
        loss = target_loss(logits, batch, soft_weight, weight)
        return loss, {"cross_entropy": float(loss.detach()), "loss_by_noise": loss_by_noise(logits.detach(), target, weight, time)}

    @torch.no_grad()
    def generate(self, source: SourceBatch, *, k: int, allowed: Allowed | None, generator: torch.Generator, **sampling: Any) -> list[list[Ranked]]:
        """Draws that unmask the surest positions first, each read once more within the grammar."""
        knobs = read_knobs(MaskedKnobs, self.shape.extra, sampling)
        draws = max(2, min(k + 1, knobs.draws))
        many = source.repeat(draws)
        memory = self.reader(source, self.symbols).repeat_interleave(draws, 0)
        rows, length = len(many.kind_BS), self.shape.target_length
        canvas = torch.full((rows, length), self.hidden)
        noise_scale = torch.full((rows, 1), knobs.temperature).masked_fill((torch.arange(rows) % draws == 0)[:, None], 0.0)
        snapshots: list[Tensor] = []
        steps = min(knobs.steps, length)
        for step in range(steps):
            logp = self(many, canvas, memory).log_softmax(-1)
            uniform = torch.rand(logp.shape, generator=generator).clamp(1e-9, 1 - 1e-9)
            drawn = (logp - noise_scale[..., None] * (-uniform.log()).log()).argmax(-1)
            sure = logp.gather(2, drawn[..., None])[..., 0]
            canvas = torch.where(_to_show(canvas == self.hidden, drawn == PAD, sure, steps - step), drawn, canvas)
            snapshots.append(canvas.clone())
        final = self(many, canvas, memory).log_softmax(-1).numpy()
        return _finish(final, snapshots, draws, k, allowed, knobs.beams, self.hidden)


def _to_show(is_hidden: Tensor, is_pad: Tensor, sure: Tensor, left: int) -> Tensor:
    """Which hidden positions to settle with `left` steps to go: sure padding at once, of the rest an even share, surest first.

    Counting padding in the share (as a plain schedule does) spent nine of twelve steps on it and guessed the answer in three.
    """
    if left == 1:
        return is_hidden
    open_RL = is_hidden & ~is_pad
    share_R1 = (open_RL.sum(1, keepdim=True) + left - 1) // left
    rank_RL = sure.masked_fill(~open_RL, float("-inf")).argsort(1, descending=True).argsort(1)
    return (open_RL & (rank_RL < share_R1)) | (is_hidden & is_pad & (sure > math.log(0.9)))


def _finish(final_NLV: Any, snapshots: list[Tensor], draws: int, k: int, allowed: Allowed | None, beams: int, hidden: int) -> list[list[Ranked]]:
    """Each prompt's draws read within the grammar and ranked."""
    reader, canvas = Reader(allowed, beams), snapshots[-1]
    kept = snapshots[:: max(1, len(snapshots) // 7)]
    out = []
    for row in range(len(final_NLV) // draws):
        span = range(row * draws, (row + 1) * draws)
        traces = [[_visible(shot[n].tolist(), canvas[n].tolist(), hidden) for shot in kept] for n in span]
        out.append(best_distinct([reader.read(final_NLV[n], row) for n in span], k, traces))
    return out


def _visible(shot: list[int], final: list[int], hidden: int) -> list[int]:
    """The answer's own positions (not its padding) at one step; -1 where the symbol was still hidden."""
    return [-1 if now == hidden else now for now, last in zip(shot, final, strict=True) if last != 0]
