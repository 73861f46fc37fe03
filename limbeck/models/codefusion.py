"""CODEFUSION (arXiv 2310.17680): continuous diffusion over embedded symbols, conditioned on an encoded prompt.

Encoder E reads the prompt; denoiser N (full self-attention and cross-attention) finds x_0 in the noisy x_t; decoder D
reads x_0 and E_s; head H names the symbols. Training has two phases: N, D on answers alone (from noise, and from an
answer with its functions masked, "CPD"), then everything on pairs.

Loss: ||eps_hat - eps||^2 + ||D_s - L(y)||^2 - log p(y | D_s), averaged over positions and width.
Differs: the defaults below, without which nothing is learnt at this size; `faithful` values restore the paper's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from limbeck.models.batch import Batch, SourceBatch
from limbeck.models.blocks import Block, PointingHead, PromptReader, init_weights, key_bias
from limbeck.models.canvas import (
    Reader,
    best_distinct,
    canvas_weight,
    lay_out,
    loss_by_noise,
    normal,
    read_knobs,
    spread_times,
)
from limbeck.models.network import Allowed, Ranked, Shape, target_loss
from limbeck.models.schedule import SqrtSchedule


@dataclass(frozen=True, slots=True)
class FusionKnobs:
    """What this student alone needs, with the reason for each default."""

    denoiser_layers: int = 2
    noise_steps: int = 1200  # the paper's T
    steps: int = 12  # Differs: quality was the same at 10 and 200 respaced DDIM steps in a trial, so few
    embedding_scale: float = 0.3  # Differs: at 1.0 x_0 is readable from x_t until very high noise and nothing is learnt
    predict: str = "x0"  # "eps" is the paper's; x0 is steadier at high noise
    self_conditioning: float = 0.5  # Differs: share of training rows that see their own last guess (Chen et al. 2022)
    anchor_weight: float = 1.0  # Differs: cross-entropy of x0_hat itself (Difformer), against collapse of L
    clamp: str = "none"  # the paper's; the expected embedding under the head ("expected") cost 5 to 11 points, see lab/log.md
    pad_weight: float = 0.1  # Paper silent: pads are targets, unweighted they drown the answer
    high_noise: float = 0.2  # Differs: times are drawn as u ** high_noise, since low noise teaches little; 0.6 was 10 points worse
    phase1_share: float = 0.0  # Differs: phase 1 as a share of each batch's rows; 0.15 cost 3 to 11 points at equal steps
    phase1_first: float = 0.0  # the paper's order: the first share of training steps is phase 1 alone (paper silent on how long)
    cpd_mask: float = 0.3  # Paper silent; GENIE's rate
    draws: int = 6
    beams: int = 4
    ddim: bool = True


class CodeFusion(nn.Module):
    """Encoder, denoiser, decoder, head and a trainable embedding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.knobs = read_knobs(FusionKnobs, shape.extra)
        width = shape.width
        self.symbols = nn.Embedding(shape.symbols, width)
        self.reader = PromptReader(
            width=width, layers=shape.encoder_layers, heads=shape.heads, dropout=shape.dropout, buckets=shape.buckets,
            kinds=shape.kinds, flags=shape.flags, positions=shape.positions,
        )  # fmt: skip
        self.schedule = SqrtSchedule(self.knobs.noise_steps)
        self.up = nn.Linear(2 * width, width)
        self.time = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        self.place = nn.Embedding(shape.target_length, width)
        self.denoiser: Any = nn.ModuleList(Block(width, shape.heads, shape.dropout, cross=True) for _ in range(self.knobs.denoiser_layers))
        self.norm_denoiser = nn.LayerNorm(width)
        self.down = nn.Linear(width, width)
        self.decoder: Any = nn.ModuleList(Block(width, shape.heads, shape.dropout, cross=True) for _ in range(shape.decoder_layers))
        self.norm = nn.LayerNorm(width)
        self.head = PointingHead(width, shape.fixed_symbols)
        self.done = 1.0
        init_weights(self)

    def set_progress(self, done: float) -> None:
        """How far training is, 0 to 1: it decides the phase."""
        self.done = done

    def embed(self, symbol_BL: Tensor) -> Tensor:
        """L(y): rows of the embedding brought to length sqrt(D) times the scale."""
        return functional.normalize(self.symbols(symbol_BL), dim=-1) * self._size

    @property
    def _size(self) -> float:
        return self.knobs.embedding_scale * math.sqrt(self.shape.width)

    def denoise(self, x_BLD: Tensor, guess_BLD: Tensor, t_B: Tensor, memory: Tensor, keys: Tensor) -> Tensor:
        """N: the x_0 behind x_t (or, where `predict` is "eps", the one its noise implies)."""
        place = self.place(torch.arange(x_BLD.shape[1], device=x_BLD.device))
        h = self.up(torch.cat([x_BLD, guess_BLD], -1)) + place + self.time(_sinusoid(t_B / self.schedule.steps, self.shape.width))[:, None]
        for block in self.denoiser:
            h, _ = block(h, None, block.attend_cross.project(memory), keys)
        out = self.down(self.norm_denoiser(h)).float()
        return self.schedule.clean(x_BLD, out, t_B) if self.knobs.predict == "eps" else out

    def decode(self, x0_BLD: Tensor, memory: Tensor, keys: Tensor, source: SourceBatch) -> tuple[Tensor, Tensor]:
        """D and H: what the decoder makes of x_0, and logits_BLV."""
        h = x0_BLD + self.place(torch.arange(x0_BLD.shape[1], device=x0_BLD.device))
        for block in self.decoder:
            h, _ = block(h, None, block.attend_cross.project(memory), keys)
        h = self.norm(h)
        return h, self.head(h, memory, source, self.symbols)

    def loss(self, batch: Batch, *, soft_weight: float, generator: torch.Generator) -> tuple[Tensor, dict[str, Any]]:
        """The three terms and the anchor; the first rows of a batch do phase 1, without their prompt."""
        knobs, batch = self.knobs, lay_out(batch, self.shape.target_length)
        target = batch.target_BL
        memory, keys = self._memory(batch, generator)
        rows = len(target)
        u_B = spread_times(rows, generator, target.device) ** knobs.high_noise
        t_B = (u_B * self.schedule.steps).long().clamp(max=self.schedule.steps - 1)
        clean = self.embed(target)
        eps = normal(clean.shape, generator, clean.device)
        noisy = self.schedule.noised(clean + self.schedule.std_0 * normal(clean.shape, generator, clean.device), eps, t_B)
        guess = torch.zeros_like(noisy)
        if knobs.self_conditioning:
            sees = (torch.rand(rows, generator=generator) < knobs.self_conditioning)[:, None, None]
            with torch.no_grad():
                guess = torch.where(sees, self._clamped(self.denoise(noisy, guess, t_B, memory, keys), memory, batch.source).detach(), guess)
        x0 = self.denoise(noisy, guess, t_B, memory, keys)
        hidden, logits = self.decode(x0, memory, keys, batch.source)
        weight = canvas_weight(target, knobs.pad_weight)
        denoising = _mean((x0 - clean) ** 2 / knobs.embedding_scale**2, weight)
        if knobs.predict == "eps":
            implied = (noisy - self.schedule.at(t_B).sqrt() * x0) / (1 - self.schedule.at(t_B)).sqrt()
            denoising = _mean((implied - eps) ** 2, weight)
        decoding = _mean((functional.normalize(hidden.float(), dim=-1) * self._size - clean.detach()) ** 2 / knobs.embedding_scale**2, weight)
        naming = target_loss(logits, batch, soft_weight, weight)
        anchor = target_loss(self._named(x0, memory, batch.source), batch, 0.0, weight) if knobs.anchor_weight else torch.zeros(())
        loss = denoising + 0.1 * decoding + naming + knobs.anchor_weight * anchor
        parts = {"cross_entropy": float(naming.detach()), "denoising": float(denoising.detach()), "decoding": float(decoding.detach()), "anchor": float(anchor.detach())}
        return loss, parts | {"loss_by_noise": loss_by_noise(logits.detach(), target, weight, t_B / self.schedule.steps)}

    def _memory(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """E_s for every row; phase-1 rows get noise, or nothing but their own answer with its functions masked."""
        memory = self.reader(batch.source, self.symbols)
        keys = key_bias(batch.source.mask_BS)
        share = 1.0 if self.done < self.knobs.phase1_first else self.knobs.phase1_share
        count = int(len(memory) * share) if self.training else 0
        if count:
            noise = normal(memory[:count].shape, generator, memory.device)
            shown = self.embed(batch.target_BL[:count])
            masked = torch.rand(batch.target_BL[:count].shape, generator=generator) < self.knobs.cpd_mask
            shown = shown.masked_fill((masked & (batch.target_BL[:count] < self.shape.fixed_symbols))[..., None], 0.0)
            room = min(shown.shape[1], memory.shape[1])
            own = torch.cat([shown[:, :room], noise[:, room:]], 1).to(memory.dtype)
            is_cpd = (torch.arange(count) % 2 == 0)[:, None, None]
            memory = torch.cat([torch.where(is_cpd, own, noise.to(memory.dtype)), memory[count:]])
        return memory, keys

    def _named(self, x0_BLD: Tensor, memory: Tensor, source: SourceBatch) -> Tensor:
        """Logits of x0_hat by its nearness to each symbol's embedding."""
        rows = functional.normalize(self.symbols.weight, dim=-1) * self._size
        logits = functional.linear(x0_BLD.float(), rows.float()) / self.knobs.embedding_scale**2 / 4
        return logits + self.head.absent(source.slot_BS, logits.shape[-1])[:, None, :]

    def _clamped(self, x0_BLD: Tensor, memory: Tensor, source: SourceBatch) -> Tensor:
        """x0_hat drawn towards real embeddings: their expectation, the nearest one, or left alone."""
        if self.knobs.clamp == "none":
            return x0_BLD
        rows = functional.normalize(self.symbols.weight, dim=-1) * self._size
        logits = self._named(x0_BLD, memory, source)
        return rows[logits.argmax(-1)] if self.knobs.clamp == "nearest" else logits.softmax(-1) @ rows.float()

    @torch.no_grad()
    def generate(self, source: SourceBatch, *, k: int, allowed: Allowed | None, generator: torch.Generator, **sampling: Any) -> list[list[Ranked]]:
        """Independent noises denoised together, decoded once, read within the grammar, ranked by the decoder."""
        knobs = read_knobs(FusionKnobs, self.shape.extra, sampling)
        draws = max(2, min(k + 1, knobs.draws))
        many = source.repeat(draws)
        memory, keys = self.reader(source, self.symbols).repeat_interleave(draws, 0), key_bias(many.mask_BS)
        size = (len(many.kind_BS), self.shape.target_length, self.shape.width)
        x, guess = normal(size, generator, memory.device), torch.zeros(size)
        times = self.schedule.respaced(knobs.steps)
        snapshots: list[Tensor] = []
        for t, previous in zip(times, [*times[1:], None], strict=True):
            t_B = torch.full((size[0],), t)
            guess = self._clamped(self.denoise(x, guess if knobs.self_conditioning else torch.zeros_like(x), t_B, memory, keys), memory, many)
            noise = normal(size, generator, memory.device)
            step = self.schedule.ddim_step(x, guess, t, previous, eta=0.0, noise=noise) if knobs.ddim else self.schedule.ddpm_step(x, guess, t, previous, noise=noise)
            x = step
            if len(snapshots) < 8 and t <= times[0] * (1 - len(snapshots) / 8):
                snapshots.append(self.decode(guess, memory, keys, many)[1].argmax(-1))
        final = self.decode(x, memory, keys, many)[1].log_softmax(-1).numpy()
        reader = Reader(allowed, knobs.beams)
        out = []
        for row in range(size[0] // draws):
            span = range(row * draws, (row + 1) * draws)
            traces = [[[s for s in shot[n].tolist() if s != 0] for shot in snapshots] for n in span]
            out.append(best_distinct([reader.read(final[n], row) for n in span], k, traces))
        return out


def _mean(square_BLD: Tensor, weight_BL: Tensor) -> Tensor:
    return (square_BLD.mean(-1) * weight_BL).sum() / weight_BL.sum()


def _sinusoid(u_B: Tensor, width: int) -> Tensor:
    """Sine and cosine of time at geometric frequencies: [B, D]."""
    frequency = torch.exp(torch.arange(width // 2, device=u_B.device) * (-math.log(10_000) / (width // 2))) * 1000
    angle = u_B[:, None].float() * frequency[None]
    return torch.cat([angle.sin(), angle.cos()], -1)
