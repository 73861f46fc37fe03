"""The autoregressive student: an encoder, a causal decoder, and beam search that never leaves the grammar."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck.models.batch import BOS, EOS, Batch, SourceBatch
from limbeck.models.blocks import Block, PointingHead, PromptReader, causal_bias, init_weights, key_bias, pointed_at
from limbeck.models.holes import refuse_suffix
from limbeck.models.infill import Wish
from limbeck.models.memory import Memory, remember
from limbeck.models.network import Allowed, Ranked, Shape, real_positions, target_loss
from limbeck.models.noise import RowNoise, row_seeds

CUTS = 4  # beginnings of a snippet that are kept when it is mended


class Autoregressive(nn.Module):
    """p(y_i | y_<i, prompt); a symbol that points at the prompt is read back with what stands there."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.symbols = nn.Embedding(shape.symbols, shape.width)
        self.reader = PromptReader(
            width=shape.width, layers=shape.encoder_layers, heads=shape.heads, dropout=shape.dropout,
            buckets=shape.buckets, kinds=shape.kinds, flags=shape.flags, positions=shape.positions,
        )  # fmt: skip
        self.place = nn.Embedding(shape.target_length + 1, shape.width)
        self.content = nn.Linear(shape.width, shape.width, bias=False)
        self.blocks: Any = nn.ModuleList(
            Block(shape.width, shape.heads, shape.dropout, cross=True) for _ in range(shape.decoder_layers)
        )
        self.norm = nn.LayerNorm(shape.width)
        self.head = PointingHead(shape.width, shape.fixed_symbols)
        init_weights(self)

    def embed(self, symbol_BL: Tensor, start: int, memory_BSD: Tensor, source: SourceBatch) -> Tensor:
        """Symbols as the decoder reads them, at positions start, start+1, ...: [B, L, D]."""
        place_L = torch.arange(start, start + symbol_BL.shape[1], device=symbol_BL.device)
        read = self.content(pointed_at(memory_BSD, source, symbol_BL))
        return self.symbols(symbol_BL) + self.place(place_L) + read

    def forward(self, source: SourceBatch, target_BL: Tensor, memory: Tensor | None = None) -> Tensor:
        """Teacher-forced logits_BLV: position i sees <bos> and y_<i. `memory` is the prompts read, if at hand."""
        memory = memory if memory is not None else self.reader(source, self.symbols)
        assert memory is not None
        shifted = torch.cat([torch.full_like(target_BL[:, :1], BOS), target_BL[:, :-1]], 1)
        x = self.embed(shifted, 0, memory, source)
        causal, keys = causal_bias(x.shape[1], x.device), key_bias(source.mask_BS)
        for block in self.blocks:
            x, _ = block(x, causal, block.attend_cross.project(memory), keys)
        return self.head(self.norm(x), memory, source, self.symbols)

    def loss(self, batch: Batch, *, soft_weight: float, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Mean cross-entropy a symbol, in nats."""
        loss = target_loss(self(batch.source, batch.target_BL), batch, soft_weight, real_positions(batch.target_BL))
        return loss, {"cross_entropy": float(loss.detach())}

    @torch.no_grad()
    def generate(
        self, source: SourceBatch, *, k: int, allowed: Allowed | None, seed: int = 0, wishes: list[Wish] | None = None, strength: float = 0.5,
        memory: Tensor | None = None, **sampling: Any,
    ) -> list[list[Ranked]]:  # fmt: skip
        """Beam search with `beams` (at least k) hypotheses; or, with `temperature`, k nucleus samples ranked by log-probability.

        Of a wish's prefix every hypothesis is made to begin with it; a suffix cannot be promised, so it is refused. A snippet
        is mended by keeping several of its beginnings, the shortest `1 - strength` of it, and writing on from each.
        """
        if wishes and any(wish.suffix for wish in wishes):
            refuse_suffix(self.shape.kind)
        forced = [list(wish.prefix) for wish in wishes] if wishes else None
        if wishes and any(wish.snippet for wish in wishes):
            begins = [_beginnings(wish.snippet, strength) for wish in wishes]
            many = None if memory is None else memory.repeat_interleave(CUTS, 0)
            found = self.generate(
                source.repeat(CUTS), k=k, allowed=None if allowed is None else lambda row, prefix: allowed(row // CUTS, prefix), seed=seed,
                wishes=[Wish(prefix=begin) for row in begins for begin in row], memory=many, **sampling,
            )  # fmt: skip
            return [_best([r for part in found[at : at + CUTS] for r in part], k) for at in range(0, len(found), CUTS)]
        if sampling.get("temperature"):
            noise = RowNoise(row_seeds(source, seed), k, source.kind_BS.device)
            return self._sample(source, memory, k, allowed, noise, sampling["temperature"], sampling.get("top_p", 1.0), forced)
        return self._beam(source, memory, max(k, int(sampling.get("beams", k + 1))), k, allowed, forced)

    def _start(self, source: SourceBatch, memory: Tensor | None) -> Memory:
        """What every step needs of the prompts, made once."""
        return remember(self.reader(source, self.symbols) if memory is None else memory, source, self.blocks, self.head)

    def _step(self, symbol_BG: Tensor, at: int, given: Memory, past: list[Any]) -> Tensor:
        """Log-probabilities of each hypothesis's next symbol [B, G, V]; `past` is replaced in place."""
        x = self.symbols(symbol_BG) + self.place.weight[at] + self.content(pointed_at(given.tokens_BSD, given.source, symbol_BG))
        for layer, block in enumerate(self.blocks):
            x, past[layer] = block.step(x, past[layer], given.cross[layer], given.bias)
        return self.head(self.norm(x), given.tokens_BSD, given.source, self.symbols, given.keys_BSD).log_softmax(-1)

    def _mask(self, logp_BGV: Tensor, prefixes: list[list[int]], rows: list[int], at: int, allowed: Allowed | None, forced: list[list[int]] | None) -> Tensor:
        """What the grammar and a forced beginning leave of the next symbol's log-probabilities."""
        size = logp_BGV.shape[1]
        if forced is not None and any(at < len(begin) for begin in forced):
            logp_BGV = logp_BGV.clone()
            for n, row in enumerate(rows):
                if at < len(forced[row]):
                    kept = logp_BGV[n, :, forced[row][at]].clone()
                    logp_BGV[n] = -1e9
                    logp_BGV[n, :, forced[row][at]] = kept
        if allowed is None:
            return logp_BGV
        masks = np.stack([allowed(rows[n // size], prefix) for n, prefix in enumerate(prefixes)])
        return logp_BGV.masked_fill(~torch.from_numpy(masks).view(logp_BGV.shape), -1e9)

    def _beam(
        self, source: SourceBatch, memory: Tensor | None, beams: int, k: int, allowed: Allowed | None, forced: list[list[int]] | None
    ) -> list[list[Ranked]]:
        batch = source.kind_BS.shape[0]
        given = self._start(source, memory)
        past: list[Any] = [None] * len(self.blocks)
        symbol = torch.full((batch, beams), BOS)
        score = torch.full((batch, beams), -1e9)
        score[:, 0] = 0.0
        prefixes: list[list[int]] = [[] for _ in range(batch * beams)]
        done: list[list[Ranked]] = [[] for _ in range(batch)]
        rows = list(range(batch))  # prompts still being answered
        for at in range(self.shape.target_length):
            total = score[:, :, None] + self._mask(self._step(symbol, at, given, past), prefixes, rows, at, allowed, forced)
            size = total.shape[-1]
            for row, beam in (total[:, :, EOS] > -1e8).nonzero().tolist():
                done[rows[row]].append(Ranked(list(prefixes[row * beams + beam]), float(total[row, beam, EOS])))
            total[:, :, EOS] = -1e9
            score, flat = total.view(len(rows), -1).topk(beams, -1)
            origin = (torch.arange(len(rows))[:, None] * beams + flat // size).view(-1)
            symbol = flat % size
            prefixes = [prefixes[o] + [s] for o, s in zip(origin.tolist(), symbol.view(-1).tolist(), strict=True)]
            past = [(p[0][origin], p[1][origin]) for p in past]
            unsettled = [n for n, row in enumerate(rows) if not self._settled(done[row], float(score[n, 0]), k)]
            if not unsettled:
                break
            if len(unsettled) <= 0.7 * len(rows):  # answered prompts leave the batch
                kept = torch.tensor(unsettled)
                hypotheses = (kept[:, None] * beams + torch.arange(beams)).view(-1)
                given, score, symbol = given.select(kept), score[kept], symbol[kept]
                prefixes = [prefixes[n] for n in hypotheses.tolist()]
                past = [(p[0][hypotheses], p[1][hypotheses]) for p in past]
                rows = [rows[n] for n in unsettled]
        return [_best(found, k) for found in done]

    @staticmethod
    def _settled(found: list[Ranked], best_open: float, k: int) -> bool:
        """No open hypothesis can still enter the k best (log-probabilities only fall)."""
        if best_open < -1e8:
            return True
        return len(found) >= k and sorted((f.score for f in found), reverse=True)[k - 1] >= best_open

    def _sample(
        self, source: SourceBatch, memory: Tensor | None, k: int, allowed: Allowed | None, noise: RowNoise, temperature: float, top_p: float,
        forced: list[list[int]] | None,
    ) -> list[list[Ranked]]:  # fmt: skip
        batch = source.kind_BS.shape[0]
        given = self._start(source, memory)
        past: list[Any] = [None] * len(self.blocks)
        symbol = torch.full((batch, k), BOS)
        prefixes: list[list[int]] = [[] for _ in range(batch * k)]
        score = torch.zeros(batch * k)
        is_open = torch.ones(batch * k, dtype=torch.bool)
        for at in range(self.shape.target_length):
            logp = self._mask(self._step(symbol, at, given, past), prefixes, list(range(batch)), at, allowed, forced).flatten(0, 1)
            ordered, index = (logp / temperature).softmax(-1).sort(-1, descending=True)
            ordered[ordered.cumsum(-1) - ordered > top_p] = 0.0
            summed = ordered.cumsum(-1)
            place = (summed < noise.uniform(1) * summed[:, -1:]).sum(-1, keepdim=True).clamp(max=ordered.shape[-1] - 1)
            drawn = index.gather(1, place)[:, 0]
            score = torch.where(is_open, score + logp.gather(1, drawn[:, None])[:, 0], score)
            for n, picked in enumerate(drawn.tolist()):
                if is_open[n] and picked != EOS:
                    prefixes[n] = prefixes[n] + [picked]
            is_open &= drawn != EOS
            symbol = drawn.view(batch, k)
            if not is_open.any():
                break
        rows: list[list[Ranked]] = [[] for _ in range(batch)]
        for n, prefix in enumerate(prefixes):
            if not is_open[n]:
                rows[n // k].append(Ranked(prefix, float(score[n])))
        return [_best(found, k) for found in rows]


def _best(found: list[Ranked], k: int) -> list[Ranked]:
    """The k likeliest, each symbol sequence once."""
    unique: dict[tuple[int, ...], Ranked] = {}
    for candidate in sorted(found, key=lambda r: -r.score):
        unique.setdefault(tuple(candidate.symbols), candidate)
    return list(unique.values())[:k]


def _beginnings(snippet: tuple[int, ...], strength: float) -> list[tuple[int, ...]]:
    """CUTS beginnings of a snippet, from `1 - strength` of it to all but its last symbol."""
    least, most = round((1 - strength) * len(snippet)), max(0, len(snippet) - 1)
    return [snippet[: round(min(least, most) + (most - min(least, most)) * at / (CUTS - 1))] for at in range(CUTS)]
