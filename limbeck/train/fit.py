"""The loop: every student, every arm, every size is trained here and nowhere else.

Each step's batch, noise and dropout are pure functions of (seed, step), so a run that was killed and resumed ends with
the same weights as one that was not. Built on accelerate: `accelerate launch -m limbeck train ...` spreads it.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limbeck.errors import LimbeckError
from limbeck.models.expert import build_network, build_shape, save_expert, start_from
from limbeck.recipe.schema import StudentSection, TrainSection
from limbeck.run import Step
from limbeck.task import Codec
from limbeck.train.batches import Batches, make_batch
from limbeck.train.checkpoint import load_checkpoint, save_checkpoint
from limbeck.train.encoded import Encoded, encode_dataset
from limbeck.train.optimizer import RunningMean, lr_at, make_optimizer

Progress = Callable[[dict[str, Any]], None]
LOG_EVERY = 20


@dataclass(slots=True)
class _Best:
    loss: float = math.inf
    step: int = -1


def step_seed(seed: int, step: int) -> int:
    """A 63-bit seed for one step."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{step}".encode()).digest()[:8], "big") >> 1


def train(
    dataset: Path, student: StudentSection, section: TrainSection, codec: Codec, step: Step, progress: Progress | None = None
) -> Path:
    """A student trained on a dataset folder; returns the expert's folder (weights are the running mean)."""
    from accelerate import Accelerator

    os.environ.setdefault("LRU_CACHE_CAPACITY", "64")  # torch keeps 1,024 compiled CPU operations by shape: 0.3 GB, no faster
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=_precision(section.precision))
    data = encode_dataset(dataset, "data", codec)
    dev = encode_dataset(dataset, "dev", codec)
    seed = step.seed("train")
    torch.manual_seed(step.seed("init"))
    shape = build_shape(student, codec)
    network: Any = build_network(shape)
    if section.start:
        start_from(Path(section.start), network, codec)
    mean = RunningMean(network, section.ema)
    optimizer = make_optimizer(network, section.optimizer, section.lr, section.weight_decay)
    checkpoint = step.path / "checkpoint.safetensors"
    state = load_checkpoint(checkpoint, network, mean, optimizer) or {"step": 0, "best": math.inf, "best_step": -1, "seconds": 0.0}
    model, optimizer = accelerator.prepare(network, optimizer)
    if section.compile:
        model = torch.compile(model)
    loop = _Loop(accelerator, model, network, mean, optimizer, section, Batches(data, section.batch, seed), seed, step, progress)
    loop.run(dev, state, checkpoint)
    network.load_state_dict(mean.weights)
    if accelerator.is_main_process:
        save_expert(step.path / "expert", network, codec, student)
    return step.path / "expert"


def _precision(wanted: str) -> str:
    """bf16 only where the processor multiplies it natively: elsewhere autocast is slower than float32."""
    if wanted == "fp32" or (not torch.cuda.is_available() and not torch.cpu._is_avx512_bf16_supported()):
        return "no"
    return "bf16"


@dataclass(slots=True)
class _Loop:
    accelerator: Any
    model: Any
    network: Any
    mean: RunningMean
    optimizer: torch.optim.Optimizer
    section: TrainSection
    batches: Batches
    seed: int
    step: Step
    progress: Progress | None

    def run(self, dev: Encoded, state: dict[str, Any], checkpoint: Path) -> None:
        """From where the state stands to the last step, or until dev loss has stopped falling."""
        section, began = self.section, time.perf_counter() - state["seconds"]
        best = _Best(state["best"], state["best_step"])
        tokens, mark = 0, time.perf_counter()
        for number in range(state["step"], section.steps):
            loss, parts, used = self._learn(number)
            tokens += used
            if not math.isfinite(loss):
                raise LimbeckError(f"the loss is {loss} at step {number}", str(self.step.path), "lower train.lr or set train.precision = 'fp32'")
            if (number + 1) % LOG_EVERY == 0 or number + 1 == section.steps:
                now = time.perf_counter()
                record = {"step": number + 1, "loss": loss, "lr": self.optimizer.param_groups[0]["lr"],
                          "tokens_per_s": tokens / max(1e-9, now - mark), "seconds": now - began, **parts}  # fmt: skip
                self.step.log(**record)
                if self.progress:
                    self.progress({**record, "steps": section.steps})
                tokens, mark = 0, now
            stop = False
            if (number + 1) % section.evaluate_every == 0 or number + 1 == section.steps:
                stop = self._evaluate(number + 1, dev, best)
                mark = time.perf_counter()
            if (number + 1) % section.checkpoint_every == 0 or stop:
                done = {"step": section.steps if stop else number + 1, "best": best.loss, "best_step": best.step, "seconds": time.perf_counter() - began}
                if self.accelerator.is_main_process:
                    save_checkpoint(checkpoint, self.network, self.mean, self.optimizer, done)
                mark = time.perf_counter()
            if stop:
                break

    def _learn(self, number: int) -> tuple[float, dict[str, Any], int]:
        """One optimizer step over `accumulate` batches; returns loss, its parts, and useful tokens."""
        section, world = self.section, self.accelerator.num_processes
        for group in self.optimizer.param_groups:
            group["lr"] = lr_at(number, section.steps, section.lr, section.warmup)
        self.model.train()
        if hasattr(self.network, "set_progress"):  # a student whose training has phases
            self.network.set_progress(number / section.steps)
        torch.manual_seed(step_seed(self.seed, number))  # dropout draws from the global generator: set for each step
        generator = torch.Generator().manual_seed(step_seed(self.seed + 1, number))
        total, parts, tokens = 0.0, {}, 0
        for turn in range(section.accumulate):
            index = (number * section.accumulate + turn) * world + self.accelerator.process_index
            batch = replace(self.batches(index), temperature=section.soft_temperature)
            with self.accelerator.autocast():
                loss, parts = self.network.loss(batch, soft_weight=section.soft_weight, generator=generator)
            self.accelerator.backward(loss / section.accumulate)
            total += float(loss.detach()) / section.accumulate
            tokens += batch.tokens
        self.accelerator.clip_grad_norm_(self.network.parameters(), section.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.mean.update(self.network, number)
        return total, parts, tokens

    @torch.no_grad()
    def _evaluate(self, number: int, dev: Encoded, best: _Best) -> bool:
        """Dev loss of the running mean on gold answers; True when `patience` evaluations brought nothing."""
        own = {n: t.clone() for n, t in self.network.state_dict().items()}
        self.network.load_state_dict(self.mean.weights)
        self.network.eval()
        total, parts, count = 0.0, [], 0
        generator = torch.Generator().manual_seed(step_seed(self.seed + 2, 0))
        for start in range(0, len(dev), 64):
            batch = make_batch(dev, range(start, min(start + 64, len(dev))))
            with self.accelerator.autocast():
                loss, found = self.network.loss(batch, soft_weight=0.0, generator=generator)
            total += float(loss)
            parts.append(found)
            count += 1
        self.network.load_state_dict(own)
        dev_loss = total / max(1, count)
        self.step.log(step=number, dev_loss=dev_loss, **{f"dev_{n}": v for n, v in _means(parts).items()})
        if self.progress:
            self.progress({"step": number, "steps": self.section.steps, "dev_loss": dev_loss})
        if dev_loss < best.loss:
            best.loss, best.step = dev_loss, number
        waited = (number - best.step) // self.section.evaluate_every
        return bool(self.section.patience) and waited >= self.section.patience


def _means(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Each part's mean over batches; of a list (loss by noise), the mean of each place, batches without a value left out."""
    means: dict[str, Any] = {}
    for name in parts[0] if parts else ():
        values = np.asarray([p[name] for p in parts], float)
        counted = np.isfinite(values).sum(0)
        mean = np.where(counted > 0, np.nansum(np.where(np.isfinite(values), values, 0.0), 0) / np.maximum(counted, 1), np.nan)
        means[name] = [None if math.isnan(v) else float(v) for v in mean] if mean.ndim else float(mean)
    return means
