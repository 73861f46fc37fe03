"""The fixed-length canvas on which diffusion students write: how an answer is laid on it and how it is read off."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from limbeck.models.batch import BOS, EOS, PAD, Batch
from limbeck.models.infill import Layout
from limbeck.models.network import Allowed, Ranked

NOISE_BINS = 5
Reading = tuple[list[int], float]  # symbols before the end, log-probability with the end
Valid = Callable[[int, list[int]], bool]  # whether a prompt's row and symbols are an answer at all


def lay_out(batch: Batch, length: int) -> Batch:
    """The batch with targets of exactly `length`, and the teacher's word made the target itself where it gave none."""
    target_BL = functional.pad(batch.target_BL[:, :length], (0, max(0, length - batch.target_BL.shape[1])), value=PAD)
    if batch.soft_ids_BLK is None or batch.soft_logp_BLK is None:
        return Batch(batch.source, target_BL)
    short = max(0, length - batch.soft_ids_BLK.shape[1])
    ids = functional.pad(batch.soft_ids_BLK[:, :length], (0, 0, 0, short))
    logp = functional.pad(batch.soft_logp_BLK[:, :length], (0, 0, 0, short), value=float("-inf"))
    silent_BL1 = ~torch.isfinite(logp[..., :1])
    sure_K = torch.full_like(logp[0, 0], float("-inf"))
    sure_K[0] = 0.0
    return Batch(batch.source, target_BL, torch.where(silent_BL1, target_BL[..., None], ids), torch.where(silent_BL1, sure_K, logp), batch.temperature)


def canvas_weight(target_BL: Tensor, pad_weight: float) -> Tensor:
    """1 at the answer with its <eos>, `pad_weight` after it."""
    return torch.where(target_BL == PAD, pad_weight, 1.0)


def spread_times(rows: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """One time in [0, 1) a row, each uniform, together evenly spread: less noise in the loss than independent draws."""
    shift = torch.rand(1, generator=generator, device=generator.device)
    order = torch.randperm(rows, generator=generator, device=generator.device)
    return ((order / rows + shift) % 1.0).to(device)


def normal(size: Sequence[int], generator: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal noise from the generator's device."""
    return torch.randn(tuple(size), generator=generator, device=generator.device).to(device)


@torch.no_grad()
def loss_by_noise(logits_BLV: Tensor, target_BL: Tensor, weight_BL: Tensor, time_B: Tensor) -> list[float]:
    """Mean cross-entropy of the weighted positions in each fifth of the noise range, NaN where no row fell."""
    hard_BL = functional.cross_entropy(logits_BLV.float().transpose(1, 2), target_BL, reduction="none")
    bin_B = (time_B * NOISE_BINS).long().clamp(0, NOISE_BINS - 1)
    total = torch.zeros(NOISE_BINS, device=bin_B.device).scatter_add(0, bin_B, (hard_BL * weight_BL).sum(1))
    count = torch.zeros(NOISE_BINS, device=bin_B.device).scatter_add(0, bin_B, weight_BL.sum(1))
    return [float(t / c) if c > 0 else float("nan") for t, c in zip(total.tolist(), count.tolist(), strict=True)]


class Reader:
    """Turns a canvas's scores into answers, left to right and within the grammar; remembers what the grammar said."""

    def __init__(self, allowed: Allowed | None, beams: int) -> None:
        self.allowed = allowed
        self.beams = beams
        self.known: dict[tuple[int, tuple[int, ...]], np.ndarray] = {}

    def read(self, logp_LV: np.ndarray, row: int) -> list[Reading]:
        """Likeliest first; when the grammar leaves nothing that ends in time, the plain argmax."""
        logp_LV = ending(logp_LV)
        found = self._search(logp_LV, row) if self.allowed is not None else []
        return found or [_argmax(logp_LV)]

    def _may_follow(self, row: int, prefix: tuple[int, ...]) -> np.ndarray:
        if (row, prefix) not in self.known and self.allowed is not None:
            self.known[row, prefix] = np.flatnonzero(self.allowed(row, list(prefix)))
        return self.known[row, prefix]

    def _search(self, logp_LV: np.ndarray, row: int) -> list[Reading]:
        """Beam search over positions that are independent given the canvas."""
        opened: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
        ended: list[Reading] = []
        for logp_V in logp_LV:
            grown: list[tuple[float, tuple[int, ...]]] = []
            for score, prefix in opened:
                choice = self._may_follow(row, prefix)
                best = choice[np.argsort(-logp_V[choice])[: self.beams + 1]]
                if EOS in choice:
                    ended.append((list(prefix), score + float(logp_V[EOS])))
                grown += [(score + float(logp_V[s]), (*prefix, int(s))) for s in best if s not in (PAD, BOS, EOS)]
            opened = sorted(grown, reverse=True)[: self.beams]
            ended = sorted(ended, key=lambda reading: -reading[1])[: self.beams]
            if not opened or (len(ended) == self.beams and ended[-1][1] >= opened[0][0]):
                break
        return ended


def ending(logp_LV: np.ndarray) -> np.ndarray:
    """<pad> means the end as much as <eos> does; <bos> never stands on a canvas."""
    out_LV = logp_LV.copy()
    out_LV[:, EOS] = np.logaddexp(logp_LV[:, EOS], logp_LV[:, PAD])
    out_LV[:, [PAD, BOS]] = -1e9
    return out_LV


def _argmax(logp_LV: np.ndarray) -> Reading:
    best_L = logp_LV.argmax(1)
    ends = np.flatnonzero(best_L == EOS)
    stop = int(ends[0]) if len(ends) else len(best_L)
    return best_L[:stop].tolist(), float(logp_LV.max(1)[: stop + 1].sum())


def read_draws(logp_RLV: np.ndarray, draws: int, reader: Reader, layout: Layout | None) -> list[list[Reading]]:
    """Each row's readings; what a wish fixes is kept, and readings that miss it are dropped."""
    out = []
    for row, logp_LV in enumerate(logp_RLV):
        if layout is None:
            out.append(reader.read(logp_LV, row // draws))
            continue
        readings = reader.read(layout.constrain(logp_LV, row), row // draws)
        out.append([reading for reading in readings if reading[1] > -1e8])
    return out


def best_distinct(draws: Sequence[Sequence[Reading]], k: int) -> list[Ranked]:
    """The k likeliest answers: each draw's best first, and runners-up only while there are fewer than k."""
    firsts = sorted(((reading, d) for d, readings in enumerate(draws) for reading in readings[:1]), key=lambda r: -r[0][1])
    others = sorted(((reading, d) for d, readings in enumerate(draws) for reading in readings[1:]), key=lambda r: -r[0][1])
    chosen: dict[tuple[int, ...], Ranked] = {}
    for (symbols, score), draw in [*firsts, *others]:
        if symbols and len(chosen) < k:
            chosen.setdefault(tuple(symbols), Ranked(symbols, score, draw=draw))
    first, rest = list(chosen.values())[:1], list(chosen.values())[1:]
    return [*first, *sorted(rest, key=lambda ranked: -ranked.score)]


def rank_draws(readings_R: Sequence[Sequence[Reading]], draws: int, k: int) -> list[list[Ranked]]:
    """Each prompt's draws ranked."""
    return [best_distinct(readings_R[at : at + draws], k) for at in range(0, len(readings_R), draws)]


def faulty_rows(readings_R: Sequence[Sequence[Reading]], draws: int, valid: Valid | None) -> list[int]:
    """Rows whose best reading is no answer."""
    if valid is None:
        return []
    return [row for row, readings in enumerate(readings_R) if not readings or not valid(row // draws, readings[0][0])]
