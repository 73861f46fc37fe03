"""The masked-diffusion twin: symbols are hidden and guessed in parallel, the surest first.

Loss: cross-entropy at hidden positions, each hidden with p = (1 - eps) t + eps, t uniform (LLaDA's form). It reads with
the same encoder and head as its twins; the prompt is never hidden.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from limbeck.models.batch import PAD, Batch, SourceBatch
from limbeck.models.blocks import Block, PointingHead, PromptReader, init_weights, pointed_at
from limbeck.models.canvas import (
    Reader,
    Valid,
    canvas_weight,
    faulty_rows,
    lay_out,
    loss_by_noise,
    rank_draws,
    read_draws,
    spread_times,
)
from limbeck.models.infill import FREE, Layout, Wish, lay_wishes, rows_each
from limbeck.models.knobs import MaskedKnobs, read_knobs
from limbeck.models.lengths import LengthHead, room_bias, within
from limbeck.models.memory import Memory, remember
from limbeck.models.network import Allowed, Ranked, Shape, target_loss
from limbeck.models.noise import RowNoise, row_seeds
from limbeck.models.unmasking import SETTLED, how_sure, to_hide, to_show

MOST_STEPS = 4  # a canvas in blocks may take so many times its steps before the rest is shown at once


class Masked(nn.Module):
    """p(y_i | what is visible of y, prompt) for all positions at once."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.knobs = read_knobs(MaskedKnobs, shape.extra)
        self.length = shape.target_length
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
        self.lengths = LengthHead(shape.width, self.length) if self.knobs.predicts_length else None
        init_weights(self)

    def remember(self, source: SourceBatch) -> Memory:
        """The prompts, read once for all steps and draws."""
        return remember(self.reader(source, self.symbols), source, self.blocks, self.head)

    def forward(self, memory: Memory, canvas_RL: Tensor, room_R: Tensor | None = None) -> Tensor:
        """logits_RLV of every position of a partly hidden canvas."""
        place = self.place(torch.arange(canvas_RL.shape[1], device=canvas_RL.device))
        x = self.symbols(canvas_RL) + place + self.content(pointed_at(memory.tokens_BSD, memory.source, canvas_RL))
        room = room_bias(room_R, canvas_RL.shape[1])
        for block, cross in zip(self.blocks, memory.cross, strict=True):
            x, _ = block(x, room, cross, memory.bias)
        return self.head(self.norm(x), memory.tokens_BSD, memory.source, self.symbols, memory.keys_BSD)[..., : self.shape.symbols]

    def loss(self, batch: Batch, *, soft_weight: float, generator: torch.Generator) -> tuple[Tensor, dict[str, Any]]:
        """Cross-entropy at hidden positions; its parts by how much was hidden."""
        batch, room_B = lay_out(batch, self.length), None
        if self.lengths is not None:
            room_B = self.lengths.training_room(batch.target_BL, generator)
            batch = lay_out(batch, int(room_B.max()))
        target, memory = batch.target_BL, self.remember(batch.source)
        time = spread_times(len(target), generator, target.device)
        share = (1 - self.knobs.epsilon) * time + self.knobs.epsilon
        is_hidden = torch.rand(target.shape, generator=generator) < share[:, None]
        logits = self(memory, target.masked_fill(is_hidden, self.hidden), room_B)
        weight = within(room_B, canvas_weight(target, self.knobs.pad_weight) * is_hidden)
        if self.knobs.weighting == "inverse_t":
            weight = weight / share[:, None]
        loss = target_loss(logits, batch, soft_weight, weight)
        parts: dict[str, Any] = {"cross_entropy": float(loss.detach()), "loss_by_noise": loss_by_noise(logits.detach(), target, weight, time)}
        if self.lengths is not None:
            long = self.lengths.loss(memory.tokens_BSD, batch.source, target)
            loss, parts = loss + self.knobs.length_weight * long, parts | {"length": float(long.detach())}
        return loss, parts

    @torch.no_grad()
    def generate(
        self, source: SourceBatch, *, k: int, allowed: Allowed | None, seed: int = 0, wishes: list[Wish] | None = None, strength: float = 0.5,
        valid: Valid | None = None, **sampling: Any,
    ) -> list[list[Ranked]]:  # fmt: skip
        """Draws that unmask the surest positions first, each read once more within the grammar."""
        knobs = read_knobs(MaskedKnobs, self.shape.extra, sampling)
        draws = rows_each(wishes, max(2, min(k + 1, knobs.draws)))
        noise = RowNoise(row_seeds(source, seed), draws, source.kind_BS.device)
        memory = self.remember(source)
        layout = lay_wishes(wishes, draws, self.length) if wishes else None
        room_R = self._rooms(memory, draws, layout, knobs)
        length = self.length if room_R is None else int(room_R.max())
        heat_R1 = torch.full((len(source.kind_BS) * draws, 1), knobs.temperature)
        heat_R1[::draws] = 0.0
        canvas = self._begin(memory, layout, noise, heat_R1, room_R, strength)[:, :length]
        fill = _Fill(self, memory, noise, heat_R1, room_R, knobs)
        canvas = fill.run(canvas, knobs.steps)
        reader = Reader(allowed, knobs.beams)
        readings = read_draws(self._scores(memory, canvas, room_R), draws, reader, layout)
        faulty = faulty_rows(readings, draws, valid) if knobs.repair else []
        if faulty:
            is_held = torch.zeros_like(canvas, dtype=torch.bool) if layout is None else layout.fixed_RL[:, :length] != FREE
            row_N = torch.tensor(faulty)
            hidden = torch.zeros_like(canvas, dtype=torch.bool)
            hidden[row_N] = to_hide(canvas[row_N] != PAD, is_held[row_N], fill.sure_RL[row_N], knobs.repair) | (canvas[row_N] == PAD) & ~is_held[row_N]
            heat_R1[row_N] = knobs.temperature
            fill.noise = RowNoise(row_seeds(source, seed + 1), draws, canvas.device)  # how far the first went hangs on company
            canvas = fill.run(canvas.masked_fill(hidden, self.hidden), knobs.steps)
            again = read_draws(self._scores(memory, canvas, room_R), draws, reader, layout)
            for row in faulty:
                readings[row] = again[row] or readings[row]
        ranked = rank_draws(readings, draws, k)
        for at, found in enumerate(ranked):
            if found:
                row = at * draws + found[0].draw
                found[0].trace = [_visible(shot[row].tolist(), canvas[row].tolist(), self.hidden) for shot in fill.stages()]
        return ranked

    def _rooms(self, memory: Memory, draws: int, layout: Layout | None, knobs: MaskedKnobs) -> Tensor | None:
        if self.lengths is None:
            return None
        room_R = self.lengths.sure_room(memory.tokens_BSD, memory.source, knobs.length_sure).repeat_interleave(draws)
        if layout is None:
            return room_R
        needed_R = torch.maximum(layout.used_R, (layout.start_RL != PAD).sum(1))
        least_R = self.lengths.room(self.lengths.class_of((torch.arange(self.length)[None] < needed_R[:, None]).long()))
        return torch.where(layout.used_R > 0, least_R, torch.maximum(room_R, least_R))

    def _begin(self, memory: Memory, layout: Layout | None, noise: RowNoise, heat_R1: Tensor, room_R: Tensor | None, strength: float) -> Tensor:
        """All hidden but what is fixed; of a snippet, the share `strength` that the prompt makes least likely is hidden."""
        blank = torch.full((len(heat_R1), self.length), self.hidden)
        if layout is None:
            return blank
        canvas = torch.where(layout.fixed_RL != FREE, layout.fixed_RL, blank)
        if not (layout.start_RL[:, 1:] != PAD).any():
            return canvas
        likely = self(memory, blank, room_R).log_softmax(-1).gather(2, layout.start_RL[..., None])[..., 0]
        uniform = noise.uniform(self.length).clamp(1e-9, 1 - 1e-9)
        likely = likely - (heat_R1 > 0) * (-uniform.log()).log()
        end_R1 = (layout.start_RL != PAD).sum(1, keepdim=True)
        at_L = torch.arange(self.length)[None]
        is_new = to_hide(at_L < end_R1 - 1, torch.zeros_like(layout.start_RL, dtype=torch.bool), likely, strength)
        is_tail = (at_L >= end_R1 - 1) & (at_L < end_R1 + (strength * end_R1).long())  # the end may move
        return layout.start_RL.masked_fill(is_new | is_tail, self.hidden)

    def _scores(self, memory: Memory, canvas: Tensor, room_R: Tensor | None) -> Any:
        logits = self(memory, canvas, room_R)
        if room_R is not None:
            beyond_RL = torch.arange(canvas.shape[1])[None] >= room_R[:, None]
            logits = logits.masked_fill(beyond_RL[..., None], -1e4)
            logits[..., PAD] = logits[..., PAD].masked_fill(beyond_RL, 0.0)
        return logits.log_softmax(-1).numpy()


class _Fill:
    """The loop that fills hidden positions, with snapshots for a trace."""

    def __init__(self, model: Masked, memory: Memory, noise: RowNoise, heat_R1: Tensor, room_R: Tensor | None, knobs: MaskedKnobs) -> None:
        self.model, self.memory, self.noise, self.heat, self.room, self.knobs = model, memory, noise, heat_R1, room_R, knobs
        self.shots: list[Tensor] = []
        self.sure_RL = torch.zeros(0)
        self.steps = 0

    def run(self, canvas: Tensor, steps: int) -> Tensor:
        """The canvas with nothing hidden. Each step is one pass; it ends early when every row is whole."""
        model, knobs = self.model, self.knobs
        is_held = canvas != model.hidden
        if self.room is not None:  # beyond its room a row has padding
            beyond_RL = torch.arange(canvas.shape[1])[None] >= self.room[:, None]
            canvas = canvas.masked_fill(beyond_RL & ~is_held, PAD)
            is_held = is_held | beyond_RL
        self.sure_RL = torch.zeros(canvas.shape)
        steps = min(steps, canvas.shape[1]) if not knobs.block else steps
        for step in range(steps * (MOST_STEPS if knobs.block else 1)):
            is_hidden = canvas == model.hidden
            if not is_hidden.any():
                break
            logp = model(self.memory, canvas, self.room).log_softmax(-1)
            drawn = (logp + self._gumbel(logp)).argmax(-1)
            logp_RL = logp.gather(2, drawn[..., None])[..., 0]
            random_RL = self.noise.uniform(model.length)[:, : canvas.shape[1]] if knobs.order == "random" else None
            sure = how_sure(logp, drawn, knobs.order, random_RL)
            shown = is_hidden if step + 1 == steps * MOST_STEPS else to_show(is_hidden, drawn, sure, logp_RL, steps - step, knobs)
            canvas = torch.where(shown, drawn, canvas)
            self.sure_RL = torch.where(shown, logp_RL, self.sure_RL)
            if knobs.remask and step + 1 < SETTLED * steps:
                canvas = canvas.masked_fill(to_hide((canvas != model.hidden) & (canvas != PAD), is_held, self.sure_RL, knobs.remask), model.hidden)
            self.shots.append(canvas.clone())
            self.steps += 1
        return canvas.masked_fill(canvas == model.hidden, PAD)

    def _gumbel(self, logp_RLV: Tensor) -> Tensor:
        """Noise that makes draws differ; none where the heat is 0."""
        if not bool((self.heat > 0).any()):
            return torch.zeros(())
        uniform = self.noise.uniform(self.model.length, logp_RLV.shape[-1])[:, : logp_RLV.shape[1]].clamp(1e-9, 1 - 1e-9)
        return -self.heat[..., None] * (-uniform.log()).log()

    def stages(self) -> list[Tensor]:
        """At most eight snapshots."""
        return self.shots[:: max(1, len(self.shots) // 7)]


def _visible(shot: list[int], final: list[int], hidden: int) -> list[int]:
    """The answer's own positions (not its padding) at one step; -1 where the symbol was still hidden."""
    return [-1 if now == hidden else now for now, last in zip(shot, final, strict=True) if last != 0]
