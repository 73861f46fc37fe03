"""CODEFUSION (arXiv 2310.17680): continuous diffusion over embedded symbols, conditioned on an encoded prompt.

Encoder E reads the prompt; denoiser N (full self-attention and cross-attention) finds x_0 in the noisy x_t; decoder D
reads x_0 and E_s; head H names the symbols. Training has two phases: N, D on answers alone (from noise, and from an
answer with its names masked, "CPD"), then everything on pairs.

Loss: ||eps_hat - eps|| + ||D_s - L(y)|| - log p(y | D_s), as `loss = "paper"` has it; by default squared means.
Differs: the defaults of knobs.FusionKnobs, without which nothing is learnt at a small size; recipes/codefusion-paper-*.toml
restore the paper's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from limbeck.models.batch import PAD, Batch, SourceBatch
from limbeck.models.blocks import Block, PointingHead, PromptReader, init_weights, key_bias
from limbeck.models.canvas import (
    Reader,
    Reading,
    Valid,
    canvas_weight,
    faulty_rows,
    lay_out,
    loss_by_noise,
    normal,
    rank_draws,
    read_draws,
)
from limbeck.models.infill import Layout, Wish, lay_wishes, rows_each
from limbeck.models.knobs import FusionKnobs, read_knobs
from limbeck.models.lengths import LengthHead, room_bias, within
from limbeck.models.memory import Memory, remember
from limbeck.models.network import Allowed, Ranked, Shape, target_loss
from limbeck.models.noise import RowNoise, row_seeds
from limbeck.models.sampling import Walk, begin_canvas, time_of_share, times_of
from limbeck.models.schedule import SqrtSchedule
from limbeck.models.times import TimeLoss, draw_times


class CodeFusion(nn.Module):
    """Encoder, denoiser, decoder, head and a trainable embedding."""

    is_name_V: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.knobs = knobs = read_knobs(FusionKnobs, shape.extra)
        width, self.length = shape.width, max(knobs.canvas, shape.target_length)
        self.symbols = nn.Embedding(shape.symbols, width)
        self.reader = PromptReader(
            width=width, layers=shape.encoder_layers, heads=shape.heads, dropout=shape.dropout, buckets=shape.buckets,
            kinds=shape.kinds, flags=shape.flags, positions=shape.positions,
        )  # fmt: skip
        self.schedule = SqrtSchedule(knobs.noise_steps)
        self.up = nn.Linear(2 * width, width)
        self.time = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        self.place = nn.Embedding(self.length, width)
        self.denoiser: Any = nn.ModuleList(Block(width, shape.heads, shape.dropout, cross=True) for _ in range(knobs.denoiser_layers))
        self.norm_denoiser = nn.LayerNorm(width)
        self.down = nn.Linear(width, width)
        self.decoder: Any = nn.ModuleList(Block(width, shape.heads, shape.dropout, cross=True) for _ in range(shape.decoder_layers))
        self.norm = nn.LayerNorm(width)
        self.head = PointingHead(width, shape.fixed_symbols, shape.symbols if knobs.has_own_head else 0)
        self.lengths = LengthHead(width, self.length) if knobs.predicts_length else None
        self.time_loss = TimeLoss() if knobs.times == "loss_aware" else None
        names = torch.zeros(shape.symbols, dtype=torch.bool)
        names[list(shape.extra.get("names", range(3, shape.fixed_symbols)))] = True
        self.register_buffer("is_name_V", names, persistent=False)
        self.done = 1.0
        init_weights(self)

    def set_progress(self, done: float) -> None:
        """How far training is, 0 to 1: it decides the phase."""
        self.done = done

    def embed(self, symbol_BL: Tensor) -> Tensor:
        """L(y): rows of the embedding, brought to length sqrt(D) times the scale where they are normalised."""
        rows = self.symbols(symbol_BL)
        return (functional.normalize(rows, dim=-1) if self.knobs.is_normalised else rows) * self._size

    @property
    def _size(self) -> float:
        return self.knobs.embedding_scale * math.sqrt(self.shape.width)

    def remember(self, tokens_BSD: Tensor, source: SourceBatch, attended: tuple[Tensor, Tensor] | None = None) -> Memory:
        """The prompts as denoiser and decoder attend to them: keys and values made once for all steps and draws."""
        return remember(tokens_BSD, source, [*self.denoiser, *self.decoder], self.head, attended=attended)

    def denoise(self, x_BLD: Tensor, guess_BLD: Tensor, t_B: Tensor, memory: Memory, room: Tensor | None = None) -> Tensor:
        """N: what it is trained to predict, x_0 or (where `predict` is "eps") the noise. `t_B` may be one time for all."""
        place = self.place(torch.arange(x_BLD.shape[1], device=x_BLD.device))
        h = self.up(torch.cat([x_BLD, guess_BLD], -1)) + place + self.time(_sinusoid(t_B / self.schedule.steps, self.shape.width))[:, None]
        for block, cross in zip(self.denoiser, memory.cross, strict=False):
            h, _ = block(h, room, cross, memory.bias)
        return self.down(self.norm_denoiser(h)).float()

    def clean(self, x_BLD: Tensor, out_BLD: Tensor, t_B: Tensor) -> Tensor:
        """x0_hat from the denoiser's output."""
        return self.schedule.clean(x_BLD, out_BLD, t_B) if self.knobs.predict == "eps" else out_BLD

    def decode(self, x0_BLD: Tensor, memory: Memory, room: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """D and H: what the decoder makes of x_0, and logits_BLV."""
        h = x0_BLD + self.place(torch.arange(x0_BLD.shape[1], device=x0_BLD.device))
        for block, cross in zip(self.decoder, memory.cross[len(self.denoiser) :], strict=True):
            h, _ = block(h, room, cross, memory.bias)
        h = self.norm(h)
        return h, self.head(h, memory.tokens_BSD, memory.source, self.symbols, memory.keys_BSD)

    def loss(self, batch: Batch, *, soft_weight: float, generator: torch.Generator) -> tuple[Tensor, dict[str, Any]]:
        """The three terms and the anchor; the first rows of a batch do phase 1, without their prompt."""
        knobs, batch = self.knobs, lay_out(batch, self.length)
        tokens, memory, alone = self._training_memory(batch, generator)
        room_B = None
        if self.lengths is not None:
            room_B = self.lengths.training_room(batch.target_BL, generator)
            batch = lay_out(batch, int(room_B.max()))
        target, rows = batch.target_BL, len(batch.target_BL)
        room = room_bias(room_B, target.shape[1])
        t_B = draw_times(rows, knobs, self.schedule.steps, self.time_loss, generator, target.device)
        clean = self.embed(target)
        eps = normal(clean.shape, generator, clean.device)
        start = clean + self.schedule.std_0 * normal(clean.shape, generator, clean.device)
        noisy = self.schedule.noised(start, eps, t_B)
        guess = torch.zeros_like(noisy)
        if knobs.self_conditioning:
            guess = self._earlier_guess(start, noisy, eps, t_B, memory, room, generator)
        out = self.denoise(noisy, guess, t_B, memory, room)
        x0 = self.clean(noisy, out, t_B)
        hidden, logits = self.decode(x0, memory, room)
        weight = within(room_B, canvas_weight(target, knobs.pad_weight))
        wanted = eps if knobs.predict == "eps" else clean
        denoising, decoding = self._distances(out, wanted, hidden.float(), clean, weight)
        naming = target_loss(logits, batch, soft_weight, weight)
        anchor = target_loss(self._named(x0, memory.source), batch, 0.0, weight) if knobs.anchor_weight else torch.zeros(())
        loss = denoising + (1.0 if knobs.loss == "paper" else 0.1) * decoding + naming + knobs.anchor_weight * anchor
        parts = {"cross_entropy": float(naming.detach()), "denoising": float(denoising.detach()), "decoding": float(decoding.detach()), "anchor": float(anchor.detach())}
        if self.lengths is not None:
            long = self.lengths.loss(tokens[alone:], batch.source.select(torch.arange(alone, rows)), target[alone:]) if alone < rows else tokens.sum() * 0
            loss, parts = loss + knobs.length_weight * long, parts | {"length": float(long.detach())}
        if self.time_loss is not None and self.training:
            self.time_loss.learn(logits.detach(), target, weight, t_B / self.schedule.steps)
        return loss, parts | {"loss_by_noise": loss_by_noise(logits.detach(), target, weight, t_B / self.schedule.steps)}

    def _earlier_guess(self, start: Tensor, noisy: Tensor, eps: Tensor, t_B: Tensor, memory: Memory, room: Tensor | None, generator: torch.Generator) -> Tensor:
        """What some rows are shown of themselves: a guess made at their own time or, with `guess_gap`, at a noisier one."""
        rows, knobs = len(noisy), self.knobs
        sees = (torch.rand(rows, generator=generator) < knobs.self_conditioning).to(noisy.device)[:, None, None]
        if knobs.guess_gap:
            gap_B = torch.rand(rows, generator=generator).to(noisy.device) * knobs.guess_gap * self.schedule.steps
            t_B = (t_B + gap_B.long()).clamp(max=self.schedule.steps - 1)
            noisy = self.schedule.noised(start, eps, t_B)  # with the same noise: a DDIM path keeps it
        with torch.no_grad():
            blank = torch.zeros_like(noisy)
            out = self.denoise(noisy, blank, t_B, memory, room)
            return torch.where(sees, self._clamped(self.clean(noisy, out, t_B), memory.source, knobs.clamp).detach(), blank)

    def _distances(self, out: Tensor, wanted: Tensor, hidden: Tensor, clean: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Terms 1 and 2: the denoiser's miss and the decoder's distance from L(y)."""
        if self.knobs.loss == "paper":  # Paper silent on norm or squared norm, written as a norm: of each position's vector
            return _mean((out - wanted).norm(dim=-1), weight), _mean((hidden - clean).norm(dim=-1), weight)
        scale = 1.0 if self.knobs.predict == "eps" else self.knobs.embedding_scale**2
        named = functional.normalize(hidden, dim=-1) * self._size if self.knobs.is_normalised else hidden
        return _mean(((out - wanted) ** 2 / scale).mean(-1), weight), _mean(((named - clean.detach()) ** 2 / self.knobs.embedding_scale**2).mean(-1), weight)

    def _training_memory(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Memory, int]:
        """E_s for every row, and how many rows are phase 1: these get fresh noise, or their own answer with names masked."""
        tokens = self.reader(batch.source, self.symbols)
        share = 1.0 if self.done < self.knobs.phase1_first else self.knobs.phase1_share
        count = int(len(tokens) * share) if self.training else 0
        if not count:
            return tokens, self.remember(tokens, batch.source), 0
        alone_B11 = (torch.arange(len(tokens), device=tokens.device) < count)[:, None, None]
        attended, bias = self._without_prompts(batch.target_BL, tokens, generator)
        room = attended.shape[1] - tokens.shape[1]
        padded = functional.pad(tokens, (0, 0, 0, room))
        prompt_bias = key_bias(functional.pad(batch.source.mask_BS, (0, room)))
        seen = torch.where(alone_B11, attended, padded), torch.where(alone_B11[..., None], bias, prompt_bias)
        return tokens, self.remember(tokens * ~alone_B11, batch.source, seen), count

    def _without_prompts(self, target_BL: Tensor, tokens: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """For each row what phase 1 attends to, and its bias: E(y with names masked), or Gaussian noise in place of E_s."""
        size = max(tokens.shape[1], target_BL.shape[1])
        noise = normal((len(tokens), size, tokens.shape[2]), generator, tokens.device).to(tokens.dtype)
        is_masked = (torch.rand(target_BL.shape, generator=generator) < self.knobs.cpd_mask).to(tokens.device) & self.is_name_V[target_BL]
        real_BL = target_BL != PAD
        code = self.reader.read_code(self.symbols(target_BL).masked_fill(is_masked[..., None], 0.0), real_BL)
        code = functional.pad(code, (0, 0, 0, size - code.shape[1]))
        row = torch.arange(len(tokens), device=tokens.device)
        is_cpd_B11 = {"both": row % 2 == 0, "cpd": row >= 0, "generation": row < 0}[self.knobs.phase1][:, None, None]
        bias = torch.where(is_cpd_B11[..., None], key_bias(functional.pad(real_BL, (0, size - real_BL.shape[1]))), 0.0)
        return torch.where(is_cpd_B11, code, noise), bias

    def unprompted(self, memory: Memory, noise: RowNoise) -> Memory:
        """Gaussian noise in place of E_s, drawn anew: phase 1 without a prompt, at sampling."""
        tokens = noise.normal(*memory.tokens_BSD.shape[1:])
        return self.remember(tokens * 0, memory.source, (tokens, memory.bias * 0))

    def _named(self, x0_BLD: Tensor, source: SourceBatch) -> Tensor:
        """Logits of x0_hat by its nearness to each symbol's embedding."""
        rows = (functional.normalize(self.symbols.weight, dim=-1) if self.knobs.is_normalised else self.symbols.weight).float() * self._size
        logits = functional.linear(x0_BLD.float(), rows)
        if not self.knobs.is_normalised:
            logits = logits - (rows**2).sum(-1) / 2  # -|x - row|^2 / 2 but for |x|^2
        logits = logits / self.knobs.embedding_scale**2 / 4
        absent_BV = self.head.absent(source.slot_BS, logits.shape[-1])
        return logits + absent_BV.repeat_interleave(len(logits) // len(absent_BV), 0)[:, None, :]

    def nearest(self, x0_BLD: Tensor, source: SourceBatch) -> Tensor:
        """The symbol nearest to x0_hat at each position."""
        return self._named(x0_BLD, source).argmax(-1)

    def _clamped(self, x0_BLD: Tensor, source: SourceBatch, clamp: str) -> Tensor:
        """x0_hat drawn towards real embeddings: their expectation, the nearest one, or left alone."""
        if clamp == "none":
            return x0_BLD
        logits = self._named(x0_BLD, source)
        if clamp == "nearest":
            return self.embed(logits.argmax(-1))
        rows = functional.normalize(self.symbols.weight, dim=-1) if self.knobs.is_normalised else self.symbols.weight
        return logits.softmax(-1) @ (rows * self._size).float()

    def guess(self, x_BLD: Tensor, shown_BLD: Tensor, t: int, memory: Memory, room_R: Tensor | None, knobs: FusionKnobs) -> Tensor:
        """x0_hat of one sampling step."""
        t_1 = torch.tensor([t], device=x_BLD.device)
        out = self.denoise(x_BLD, shown_BLD, t_1, memory, room_bias(room_R, x_BLD.shape[1]))
        return self._clamped(self.clean(x_BLD, out, t_1), memory.source, knobs.clamp)

    @torch.no_grad()
    def generate(
        self, source: SourceBatch, *, k: int, allowed: Allowed | None, seed: int = 0, wishes: list[Wish] | None = None, strength: float = 0.5,
        valid: Valid | None = None, **sampling: Any,
    ) -> list[list[Ranked]]:  # fmt: skip
        """Independent noises denoised together, decoded once, read within the grammar, ranked by the decoder."""
        knobs = read_knobs(FusionKnobs, self.shape.extra, sampling)
        draws = rows_each(wishes, max(2, min(k + 1, knobs.draws)))
        noise = RowNoise(row_seeds(source, seed), draws, source.kind_BS.device)
        layout = lay_wishes(wishes, draws, self.length) if wishes else None
        many, each = (source, draws) if knobs.is_prompted else (source.repeat(draws), 1)
        tokens = self.reader(many, self.symbols)
        memory, room_R = self.remember(tokens, many), self._rooms(tokens, many, each, layout, knobs)
        is_edited = wishes is not None and any(wish.snippet for wish in wishes)
        begin = time_of_share(self, layout.start_RL, strength, many) if layout is not None and is_edited else None
        times = times_of(self.schedule.respaced(knobs.steps), knobs.stop_at, begin)
        length = self.length if room_R is None else int(room_R.max())
        walk = Walk(self, memory, begin_canvas(self, layout, noise, times, is_edited=is_edited)[:, :length], noise, knobs, room_R, layout)
        x = walk.run(times, knobs.stop_at)
        reader = Reader(allowed if knobs.within_grammar else None, knobs.beams)
        readings = read_draws(self._scores(x, memory, room_R, knobs), draws, reader, layout)
        faulty = faulty_rows(readings, draws, valid) if knobs.repair else []
        if faulty:
            fresh = RowNoise(row_seeds(source, seed + 1), draws, x.device)
            self._repair(readings, faulty, x, memory, fresh, room_R, layout, knobs, reader, draws, each)
        ranked = rank_draws(readings, draws, k)
        self._trace(ranked, walk.shots, memory, room_R, draws)
        return ranked

    def _rooms(self, tokens: Tensor, source: SourceBatch, each: int, layout: Layout | None, knobs: FusionKnobs) -> Tensor | None:
        """Positions of each row, where the length is predicted: by the head, or by a suffix that ends the answer."""
        if self.lengths is None:
            return None
        room_R = self.lengths.sure_room(tokens, source, knobs.length_sure).repeat_interleave(each)
        if layout is None:
            return room_R
        needed_R = torch.maximum(layout.used_R, (layout.start_RL != PAD).sum(1))
        least_R = self.lengths.room(self.lengths.class_of((torch.arange(self.length)[None] < needed_R[:, None]).long()))
        return torch.where(layout.used_R > 0, least_R, torch.maximum(room_R, least_R))

    def _scores(self, x_RLD: Tensor, memory: Memory, room_R: Tensor | None, knobs: FusionKnobs) -> np.ndarray:
        """Log-probabilities of every position; beyond a row's room only padding."""
        logits = self._named(x_RLD, memory.source) if knobs.read == "nearest" else self.decode(x_RLD, memory, room_bias(room_R, x_RLD.shape[1]))[1]
        if room_R is not None:
            beyond_RL = torch.arange(x_RLD.shape[1])[None] >= room_R[:, None]
            logits = logits.masked_fill(beyond_RL[..., None], -1e4)
            logits[..., PAD] = logits[..., PAD].masked_fill(beyond_RL, 0.0)
        return logits.log_softmax(-1).numpy()

    def _repair(
        self, readings: list[list[Reading]], faulty: list[int], x: Tensor, memory: Memory, noise: RowNoise, room_R: Tensor | None,
        layout: Layout | None, knobs: FusionKnobs, reader: Reader, draws: int, each: int,
    ) -> None:  # fmt: skip
        """Rows that are no answers: noised again to a middle time and denoised once more, in place."""
        row_N = torch.tensor(faulty)
        noise.keep(faulty)
        row_symbols = self._named(x[row_N], memory.source.select(row_N // each)).argmax(-1)
        times = times_of(self.schedule.respaced(knobs.steps), 0, time_of_share(self, row_symbols, knobs.repair, memory.source.select(row_N // each)))
        eps = noise.normal(self.length, self.shape.width)[:, : x.shape[1]]
        again = self.schedule.noised(x[row_N], eps, torch.tensor([times[0]]))
        own, room_N = memory.select(row_N // each), room_R[row_N] if room_R is not None else None
        part = layout.select(row_N) if layout is not None else None
        mended = Walk(self, own, again, noise, knobs, room_N, part).run(times)
        for number, (row, logp_LV) in enumerate(zip(faulty, self._scores(mended, own, room_N, knobs), strict=True)):
            found = reader.read(part.constrain(logp_LV, number) if part is not None else logp_LV, row // draws)
            readings[row] = [reading for reading in found if reading[1] > -1e8] or readings[row]

    def _trace(self, ranked: list[list[Ranked]], shots: list[Tensor], memory: Memory, room_R: Tensor | None, draws: int) -> None:
        """How each prompt's first answer took shape: its draw's guesses, decoded."""
        if not shots or not ranked:
            return
        row_B = torch.tensor([at * draws + (found[0].draw if found else 0) for at, found in enumerate(ranked)])
        own = memory if len(memory.tokens_BSD) == len(ranked) else memory.select(row_B)
        stages = torch.stack([shot[row_B].float() for shot in shots], 1)
        room = room_bias(room_R[row_B].repeat_interleave(len(shots)) if room_R is not None else None, stages.shape[2])
        symbols = self.decode(stages.flatten(0, 1), own, room)[1].argmax(-1).view(len(ranked), len(shots), -1)
        for at, found in enumerate(ranked):
            if found:
                found[0].trace = [[s for s in stage if s != PAD] for stage in symbols[at].tolist()]


def _mean(value_BL: Tensor, weight_BL: Tensor) -> Tensor:
    return (value_BL * weight_BL).sum() / weight_BL.sum()


def _sinusoid(u_B: Tensor, width: int) -> Tensor:
    """Sine and cosine of time at geometric frequencies: [B, D]."""
    frequency = torch.exp(torch.arange(width // 2, device=u_B.device) * (-math.log(10_000) / (width // 2))) * 1000
    angle = u_B[:, None].float() * frequency[None]
    return torch.cat([angle.sin(), angle.cos()], -1)
