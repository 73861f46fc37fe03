"""From noise to x_0: a walk through respaced times with any solver, for a CODEFUSION canvas of R rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from limbeck.models.batch import PAD, SourceBatch
from limbeck.models.canvas import normal
from limbeck.models.infill import FREE, Layout
from limbeck.models.knobs import FusionKnobs
from limbeck.models.memory import Memory
from limbeck.models.noise import RowNoise

STAGES = 8  # of a trace


def times_of(steps: list[int], stop_at: int, begin: int | None = None) -> list[int]:
    """The times to walk through: from the first or from `begin` (a snippet's noise), down to 0 or to `stop_at`, which is the last."""
    times = [t for t in steps if begin is None or t <= begin] or steps[-1:]
    return [*(t for t in times if t > stop_at), stop_at] if stop_at else times


def begin_canvas(model: Any, layout: Layout | None, noise: RowNoise, times: list[int], *, is_edited: bool) -> Tensor:
    """x at the first time: noise; at fixed positions (and all of a snippet's) their embedding with as much noise as the time has."""
    eps_RLD = noise.normal(model.length, model.shape.width)
    if layout is None:
        return eps_RLD
    t_1 = torch.tensor([times[0]])
    if is_edited:
        return model.schedule.noised(model.embed(layout.start_RL), eps_RLD, t_1)
    held_RL1 = (layout.fixed_RL != FREE)[..., None]
    return torch.where(held_RL1, model.schedule.noised(model.embed(layout.fixed_RL.clamp(min=0)), eps_RLD, t_1), eps_RLD)


def time_of_share(model: Any, symbol_RL: Tensor, share: float, source: SourceBatch) -> int:
    """The time at which noise makes this share of symbols unreadable: their nearest embedding is another one.

    So a strength means the same whatever the size of the embedding, and the same as a masked student's share of hidden symbols.
    """
    if share >= 1:
        return model.schedule.steps - 1
    clean_RLD, generator = model.embed(symbol_RL), torch.Generator().manual_seed(0)
    eps_RLD, real_RL = normal(clean_RLD.shape, generator, clean_RLD.device), symbol_RL != PAD
    late, early = model.schedule.steps - 1, 0
    while late - early > model.schedule.steps // 100:  # the share grows with time: halve
        middle = (late + early) // 2
        near = model.nearest(model.schedule.noised(clean_RLD, eps_RLD, torch.tensor([middle])), source)
        lost = float(((near != symbol_RL) & real_RL).sum() / real_RL.sum().clamp(min=1))
        late, early = (middle, early) if lost >= share else (late, middle)
    return max(late, 1)


class Walk:
    """One pass through the times. Prompts whose draws have all settled leave the batch; each decides for itself."""

    def __init__(self, model: Any, memory: Memory, x_RLD: Tensor, noise: RowNoise, knobs: FusionKnobs, room_R: Tensor | None, layout: Layout | None) -> None:
        self.model, self.memory, self.x, self.noise, self.knobs, self.room, self.layout = model, memory, x_RLD, noise, knobs, room_R, layout
        self.alive_R = torch.arange(len(x_RLD))
        self.final, self.seen = x_RLD.clone(), x_RLD
        self.guess = torch.zeros_like(x_RLD)
        self.before: tuple[int, Tensor] | None = None
        self.symbols: Tensor | None = None
        self.still_R = torch.zeros(len(x_RLD), dtype=torch.long)
        self.shots: list[Tensor] = []
        self.steps = 0  # row-steps taken, for benchmarks

    def run(self, times: list[int], stop_at: int = 0) -> Tensor:
        """x_0 of every row, or x at `stop_at` where that is not 0."""
        after = [*times[1:]] if stop_at else [*times[1:], None]
        for number, (t, previous) in enumerate(zip(times[: len(after)], after, strict=True)):
            self._step(t, previous)
            if len(self.shots) < STAGES and number * STAGES >= len(self.shots) * len(after):
                self.shots.append(self.seen.bfloat16())
            if self.knobs.early_exit and previous is not None and not self._go_on():
                return self.final
        self.final[self.alive_R] = self.x
        return self.final

    def _step(self, t: int, previous: int | None) -> None:
        knobs, schedule = self.knobs, self.model.schedule
        memory = self.memory if knobs.is_prompted else self.model.unprompted(self.memory, self.noise)
        shown = self.guess if knobs.self_conditioning else torch.zeros_like(self.x)
        guess = self.model.guess(self.x, shown, t, memory, self.room, knobs)
        if self.layout is not None and (self.layout.fixed_RL != FREE).any():
            fixed_RL = self.layout.fixed_RL[:, : guess.shape[1]]
            guess = torch.where((fixed_RL != FREE)[..., None], self.model.embed(fixed_RL.clamp(min=0)), guess)
        solver = knobs.solver or ("ddim" if knobs.ddim else "ddpm")
        is_noisy = previous is not None and (solver == "ddpm" or (solver == "ddim" and knobs.eta > 0))
        noise = self.noise.normal(self.model.length, self.model.shape.width)[:, : guess.shape[1]] if is_noisy else torch.zeros(())
        if solver == "dpm++":
            self.x = schedule.dpm_step(self.x, guess, t, previous, before=self.before)
        elif solver == "ddim":
            self.x = schedule.ddim_step(self.x, guess, t, previous, eta=knobs.eta, noise=noise)
        else:
            self.x = schedule.ddpm_step(self.x, guess, t, previous, noise=noise)
        self.guess, self.before = guess, (t, guess)
        self.seen = guess if len(guess) == len(self.final) else self.seen.index_copy(0, self.alive_R, guess)
        self.steps += len(guess)

    def _go_on(self) -> bool:
        """Let prompts go whose draws have all kept their nearest symbols; False when nobody is left."""
        now = self.model.nearest(self.guess, self.memory.source)
        if self.symbols is not None:
            same_R = (now == self.symbols).all(1)
            self.still_R = torch.where(same_R, self.still_R + 1, 0)
        self.symbols = now
        prompts = len(self.memory.source.kind_BS)
        is_done_B = (self.still_R.view(prompts, -1) >= self.knobs.early_exit).all(1)
        if not is_done_B.any():
            return True
        done_R = is_done_B.repeat_interleave(len(self.x) // prompts)
        self.final[self.alive_R[done_R]] = self.guess[done_R]
        kept_N = (~done_R).nonzero()[:, 0]
        if not len(kept_N):
            return False
        self.memory = self.memory.select((~is_done_B).nonzero()[:, 0])
        self.noise.keep(kept_N.tolist())
        self.alive_R, self.x, self.guess, self.still_R = self.alive_R[kept_N], self.x[kept_N], self.guess[kept_N], self.still_R[kept_N]
        self.symbols = now[kept_N]
        self.before = (self.before[0], self.guess) if self.before else None
        self.room = self.room[kept_N] if self.room is not None else None
        self.layout = self.layout.select(kept_N) if self.layout is not None else None
        return True
