"""The layers all students share: a prompt reader, attention blocks, and a head that speaks symbols or points at the prompt."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from limbeck.models.batch import SourceBatch

Cache = dict[int, tuple[Tensor, Tensor]]


class Attention(nn.Module):
    """Multi-head attention, plain on purpose: at these widths it beat the fused kernel on CPU (82 against 135 ms a step)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def project(self, memory_BSD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of what is attended to, each [B, H, S, K]: made once for a prompt, used at every step."""
        batch, length, width = memory_BSD.shape
        kv = self.key_value(memory_BSD).view(batch, length, 2, self.heads, width // self.heads)
        key_BHSK, value_BHSK = kv.permute(2, 0, 3, 1, 4)
        return key_BHSK, value_BHSK

    def forward(self, x_BLD: Tensor, kv: tuple[Tensor, Tensor], bias: Tensor | None) -> Tensor:
        """Attend from x to projected keys and values; `bias` is added to the scores (0 or -inf).

        Where x has several rows (draws) for each row of keys, they attend as one long row: keys are never repeated.
        """
        batch, length, width = x_BLD.shape
        if len(kv[0]) != batch:
            return self(x_BLD.reshape(len(kv[0]), -1, width), kv, bias).view(batch, length, width)
        query_BHLK = self.query(x_BLD).view(batch, length, self.heads, -1).transpose(1, 2)
        key_BHSK, value_BHSK = kv
        scores_BHLS = query_BHLK @ key_BHSK.transpose(2, 3) / math.sqrt(width // self.heads)
        if bias is not None:
            scores_BHLS = scores_BHLS + bias
        mixed_BHLK = scores_BHLS.softmax(-1) @ value_BHSK
        return self.out(mixed_BHLK.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    """Self-attention, optional cross-attention, feed-forward; normalised before each (pre-norm)."""

    def __init__(self, width: int, heads: int, dropout: float, cross: bool) -> None:
        super().__init__()
        self.norm_self = nn.LayerNorm(width)
        self.attend_self = Attention(width, heads)
        self.attend_cross = Attention(width, heads) if cross else None
        self.norm_cross = nn.LayerNorm(width) if cross else None
        self.norm_feed = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(
        self,
        x_BLD: Tensor,
        self_bias: Tensor | None,
        cross_kv: tuple[Tensor, Tensor] | None = None,
        cross_bias: Tensor | None = None,
        past: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The new x and this layer's self keys and values (with `past` in front) for the next step."""
        normed = self.norm_self(x_BLD)
        key, value = self.attend_self.project(normed)
        if past is not None:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
        x_BLD = x_BLD + self.dropout(self.attend_self(normed, (key, value), self_bias))
        if self.attend_cross is not None and cross_kv is not None and self.norm_cross is not None:
            x_BLD = x_BLD + self.dropout(self.attend_cross(self.norm_cross(x_BLD), cross_kv, cross_bias))
        x_BLD = x_BLD + self.dropout(self.feed(self.norm_feed(x_BLD)))
        return x_BLD, (key, value)

    def step(
        self, x_BGD: Tensor, past: tuple[Tensor, Tensor] | None, cross_kv: tuple[Tensor, Tensor], cross_bias: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The next position of G hypotheses a prompt: each looks back at itself, all share the prompt's keys and values."""
        assert self.attend_cross is not None and self.norm_cross is not None
        normed = self.norm_self(x_BGD).flatten(0, 1)[:, None]
        key, value = self.attend_self.project(normed)
        if past is not None:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
        x_BGD = x_BGD + self.attend_self(normed, (key, value), None).view(x_BGD.shape)
        x_BGD = x_BGD + self.attend_cross(self.norm_cross(x_BGD), cross_kv, cross_bias)
        return x_BGD + self.feed(self.norm_feed(x_BGD)), (key, value)


def key_bias(mask_BS: Tensor) -> Tensor:
    """0 where a token may be attended to and a large negative number where not: [B, 1, 1, S]."""
    return torch.zeros(mask_BS.shape, device=mask_BS.device).masked_fill(~mask_BS, -1e4)[:, None, None, :]


def causal_bias(length: int, device: torch.device) -> Tensor:
    """0 on and below the diagonal, a large negative number above: [L, L]."""
    return torch.full((length, length), -1e4, device=device).triu(1)


class PromptReader(nn.Module):
    """The encoder E: hashed pieces, kind, flags, position and slots summed, then blocks of full self-attention.

    A token that can be pointed at carries its slot's symbol embedding, and a token that speaks of another (a word
    that names a column) carries that one's: linking is done in the input, not left to be learnt.
    """

    def __init__(
        self, *, width: int, layers: int, heads: int, dropout: float, buckets: int, kinds: int, flags: int, positions: int
    ) -> None:
        super().__init__()
        self.pieces = nn.EmbeddingBag(buckets, width, mode="sum", padding_idx=0)
        self.kind = nn.Embedding(kinds, width)
        self.flags = nn.Linear(flags, width)
        self.position = nn.Embedding(positions, width)
        self.link = nn.Linear(width, width, bias=False)
        self.blocks = nn.ModuleList(Block(width, heads, dropout, cross=False) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, source: SourceBatch, symbols: nn.Embedding) -> Tensor:
        """The prompt as memory [B, S, D]."""
        batch, length, pieces = source.pieces_BSG.shape
        count_BS1 = (source.pieces_BSG > 0).sum(-1, keepdim=True).clamp(min=1)
        bucket_BSG = torch.where(source.pieces_BSG > 0, source.pieces_BSG % (self.pieces.num_embeddings - 1) + 1, 0)
        x = self.pieces(bucket_BSG.reshape(-1, pieces)).view(batch, length, -1) / count_BS1.sqrt()
        place_S = torch.arange(length, device=x.device).clamp(max=self.position.num_embeddings - 1)
        x = x + self.kind(source.kind_BS) + self.flags(source.flags_BSF) + self.position(place_S)
        slot = symbols(source.slot_BS) * (source.slot_BS > 0)[..., None]
        link = symbols(source.link_BS) * (source.link_BS > 0)[..., None]
        x = self.dropout(x + slot + self.link(link))
        return self._through(x, source.mask_BS)

    def read_code(self, code_BLD: Tensor, mask_BL: Tensor) -> Tensor:
        """E of an answer that is given as embedded symbols (CPD shows the encoder masked code): [B, L, D]."""
        place_L = torch.arange(code_BLD.shape[1], device=code_BLD.device).clamp(max=self.position.num_embeddings - 1)
        return self._through(self.dropout(code_BLD + self.position(place_L)), mask_BL)

    def _through(self, x_BSD: Tensor, mask_BS: Tensor) -> Tensor:
        bias = key_bias(mask_BS)
        for block in self.blocks:
            x_BSD, _ = block(x_BSD, bias)
        return self.norm(x_BSD)


class PointingHead(nn.Module):
    """Scores of all V symbols, plus, for slots, how well the prompt's token there fits.

    Tied to the symbol embedding; with `own` symbols, a fully connected layer of its own instead.
    """

    def __init__(self, width: int, fixed: int, own: int = 0) -> None:
        super().__init__()
        self.fixed = fixed
        self.own = nn.Linear(width, own) if own else None
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.scale = 1 / math.sqrt(width)

    def forward(
        self, hidden_BLD: Tensor, memory_BSD: Tensor, source: SourceBatch, symbols: nn.Embedding, key_BSD: Tensor | None = None
    ) -> Tensor:
        """logits_BLV in float32; slots that the prompt does not have are at -1e4. `key_BSD` is self.key(memory), if at hand.

        Several rows (draws) a prompt are scored as one long row.
        """
        if len(hidden_BLD) != len(memory_BSD):
            folded = self(hidden_BLD.reshape(len(memory_BSD), -1, hidden_BLD.shape[-1]), memory_BSD, source, symbols, key_BSD)
            return folded.view(*hidden_BLD.shape[:2], -1)
        keys_BSD = self.key(memory_BSD) if key_BSD is None else key_BSD
        logits_BLV = self.own(hidden_BLD).float() if self.own is not None else functional.linear(hidden_BLD, symbols.weight).float() * self.scale * 4
        scores_BLS = (self.query(hidden_BLD) @ keys_BSD.transpose(1, 2)).float() * self.scale
        slot_BS = source.slot_BS
        scores_BLS = scores_BLS * (slot_BS > 0)[:, None, :]
        index_BLS = slot_BS[:, None, :].expand_as(scores_BLS)
        logits_BLV = logits_BLV.scatter_add(2, index_BLS, scores_BLS)
        return logits_BLV + self.absent(slot_BS, logits_BLV.shape[-1])[:, None, :]

    def absent(self, slot_BS: Tensor, size: int) -> Tensor:
        """-1e4 for each slot symbol the prompt does not offer, else 0: [B, V]."""
        there = torch.zeros(slot_BS.shape[0], size, device=slot_BS.device)
        there.scatter_(1, slot_BS, 1.0)
        there[:, : self.fixed] = 1.0
        return (1 - there) * -1e4


def pointed_at(memory_BSD: Tensor, source: SourceBatch, symbol_BL: Tensor) -> Tensor:
    """The prompt's token that each symbol points at, zeros for symbols that point nowhere: [B, L, D]. Draws fold as in the head."""
    if len(symbol_BL) != len(memory_BSD):
        return pointed_at(memory_BSD, source, symbol_BL.reshape(len(memory_BSD), -1)).view(*symbol_BL.shape, -1)
    match_BLS = (source.slot_BS[:, None, :] == symbol_BL[:, :, None]) & (source.slot_BS > 0)[:, None, :]
    return match_BLS.to(memory_BSD.dtype) @ memory_BSD


def init_weights(module: nn.Module) -> None:
    """Normal(0, 0.02) for linear maps, unit-norm rows for embeddings so that tied logits start near zero."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding | nn.EmbeddingBag):
            nn.init.normal_(part.weight, std=part.embedding_dim**-0.5)
