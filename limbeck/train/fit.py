"""The loop: every student, every arm, every size is trained here and nowhere else.

Each step's batch, noise and dropout are pure functions of (seed, step), so a run that was killed and resumed ends with
the same weights as one that was not. Built on accelerate: `accelerate launch -m limbeck train ...` spreads it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck.errors import LimbeckError
from limbeck.models.expert import build_network, build_shape, save_expert, start_from
from limbeck.models.precision import is_bf16_native
from limbeck.recipe.schema import StudentSection, TrainSection
from limbeck.run import Step
from limbeck.task import Codec
from limbeck.train.batches import Batches, make_batch
from limbeck.train.checkpoint import load_checkpoint, save_checkpoint
from limbeck.train.device import take_to
from limbeck.train.encoded import encode_dataset
from limbeck.train.optimizer import RunningMean, lr_at, make_optimizer, refuse_split

Progress = Callable[[dict[str, Any]], None]
LOG_EVERY = 20


@dataclass(slots=True)
class _Best:
    loss: float = math.inf
    step: int = -1


def step_seed(seed: int, step: int) -> int:
    """A 63-bit seed for one step."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{step}".encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What the loop needs of one kind of student: the network with its loss, batches by number, dev batches with weights, a way to save."""

    network: Any
    batch: Callable[[int], Any]
    dev: Callable[[], Iterator[tuple[Any, float]]]
    save: Callable[[Path], Any]


class _Trainee(nn.Module):
    """The network's loss as a forward pass: what spreads a step over processes hooks into that."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Any, soft_weight: float, generator: torch.Generator) -> tuple[Tensor, dict[str, Any]]:
        return self.network.loss(batch, soft_weight=soft_weight, generator=generator)


def train(
    dataset: Path, student: StudentSection, section: TrainSection, codec: Codec | None, step: Step, progress: Progress | None = None,
    targets: Path | None = None, teacher: str = "",
) -> Path:  # fmt: skip
    """A student trained on a dataset folder; returns the expert's folder (weights are the running mean).

    `codec` is None for decoders, which read text; `targets` is the folder of a teacher's stored distributions and
    `teacher` its weights, for them alone.
    """
    from accelerate import Accelerator

    offline = step.path / "offline.json"  # the stored part of a decoder's training is behind it: what follows is on-policy
    if offline.exists():
        return _end_on_policy(dataset, section, step, progress, teacher)
    os.environ.setdefault("LRU_CACHE_CAPACITY", "64")  # torch keeps 1,024 compiled CPU operations by shape: 0.3 GB, no faster
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=_precision(section.precision))
    seed = step.seed("train")
    torch.manual_seed(step.seed("init"))
    course = _native_course(dataset, student, section, codec, seed) if codec is not None else _decoder_course(dataset, student, section, seed, targets)
    mean = RunningMean(course.network, section.ema)
    optimizer = make_optimizer(course.network, section.optimizer, section.lr, section.weight_decay)
    checkpoint = step.path / "checkpoint.safetensors"
    state = load_checkpoint(checkpoint, course.network, mean, optimizer) or {"step": 0, "best": math.inf, "best_step": -1, "seconds": 0.0}
    model, optimizer = accelerator.prepare(_Trainee(course.network), optimizer)
    refuse_split(course.network)
    if section.compile:
        model = torch.compile(model)
    loop = _Loop(accelerator, model, course, mean, optimizer, section, seed, step, progress)
    loop.run(state, checkpoint)
    course.network.load_state_dict(mean.weights, strict=not mean.is_partial)
    if accelerator.is_main_process:
        course.save(step.path / "expert")
    accelerator.wait_for_everyone()
    if codec is None and section.on_policy_steps:
        step.write_json("offline.json", {"steps": section.steps})
        return _end_on_policy(dataset, section, step, progress, teacher)
    return step.path / "expert"


def _end_on_policy(dataset: Path, section: TrainSection, step: Step, progress: Progress | None, teacher: str) -> Path:
    from limbeck.models.decoder import read_facts
    from limbeck.train.on_policy import train_on_policy

    facts = read_facts(step.path / "expert") or {}
    return train_on_policy(step.path / "expert", teacher, dataset, section, step, int(facts.get("longest_answer", 256)), progress)


def _native_course(dataset: Path, student: StudentSection, section: TrainSection, codec: Codec, seed: int) -> Course:
    data, dev = encode_dataset(dataset, "data", codec), encode_dataset(dataset, "dev", codec)
    network: Any = build_network(build_shape(student, codec))
    if section.start:
        start_from(Path(section.start), network, codec)
    looks = range(0, len(dev), 64)
    return Course(
        network=network, batch=Batches(data, section.batch, seed), dev=lambda: ((make_batch(dev, range(at, min(at + 64, len(dev)))), 1.0) for at in looks),
        save=lambda path: save_expert(path, network, codec, student),
    )  # fmt: skip


def _decoder_course(dataset: Path, student: StudentSection, section: TrainSection, seed: int, targets: Path | None) -> Course:
    from limbeck.models.decoder import build_decoder, load_tokenizer, save_decoder
    from limbeck.train.learner import DecoderLearner
    from limbeck.train.packing import PackedBatches, make_packed_batch, pack_dataset
    from limbeck.train.targets import open_targets

    source = section.start or student.source
    tokenizer = load_tokenizer(source or student.tokenizer)
    data, dev = (pack_dataset(dataset, name, tokenizer, student.length, section.whole) for name in ("data", "dev"))
    network = DecoderLearner(build_decoder(student, source, len(tokenizer), tokenizer.eos_token_id), section)
    looks = range(0, len(dev), section.batch)
    batches = [range(at, min(at + section.batch, len(dev))) for at in looks]
    facts = {"task": read_task(dataset), "length": student.length, "longest_answer": data.longest_answer, "packing": {"rows": len(data), "fill": round(data.fill, 4), "labels": data.labels, "too_long": int(data.refused)}}
    return Course(
        network=network, batch=PackedBatches(data, section.batch, seed, open_targets(targets, data, len(tokenizer)) if targets else None),
        dev=lambda: ((batch, float((batch.label_BL >= 0).sum())) for batch in (make_packed_batch(dev, rows) for rows in batches)),
        save=lambda path: save_decoder(path, network.decoder, tokenizer, facts),
    )  # fmt: skip


def read_task(dataset: Path) -> str:
    """The task a dataset was made for, as its accounts say; empty where they do not."""
    path = dataset / "keep.json"
    return str(json.loads(path.read_text(encoding="utf-8")).get("task", "")) if path.exists() else ""


def _precision(wanted: str) -> str:
    """bf16 only where the processor multiplies it natively: elsewhere autocast is slower than float32."""
    return "bf16" if wanted == "bf16" and is_bf16_native() else "no"


@dataclass(slots=True)
class _Loop:
    accelerator: Any
    model: Any
    course: Course
    mean: RunningMean
    optimizer: torch.optim.Optimizer
    section: TrainSection
    seed: int
    step: Step
    progress: Progress | None

    @property
    def network(self) -> Any:
        """The student itself, whatever spreads it over processes."""
        return self.course.network

    def run(self, state: dict[str, Any], checkpoint: Path) -> None:
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
                self._tell(record)
                tokens, mark = 0, now
            stop = False
            if (number + 1) % section.evaluate_every == 0 or number + 1 == section.steps:
                stop = self._evaluate(number + 1, best)
                mark = time.perf_counter()
            if (number + 1) % section.checkpoint_every == 0 or stop:
                done = {"step": section.steps if stop else number + 1, "best": best.loss, "best_step": best.step, "seconds": time.perf_counter() - began}
                if self.accelerator.is_main_process:
                    save_checkpoint(checkpoint, self.network, self.mean, self.optimizer, done)
                mark = time.perf_counter()
            if stop:
                break

    def _tell(self, record: dict[str, Any]) -> None:
        """The first process speaks for all."""
        if self.accelerator.is_main_process:
            self.step.log(**record)
            if self.progress:
                self.progress({**record, "steps": self.section.steps})

    def _learn(self, number: int) -> tuple[float, dict[str, Any], int]:
        """One optimizer step over `accumulate` batches; returns loss, its parts, and useful tokens."""
        section, world = self.section, self.accelerator.num_processes
        for group in self.optimizer.param_groups:
            group["lr"] = lr_at(number, section.steps, section.lr, section.warmup)
        self.model.train()
        if hasattr(self.network, "set_progress"):  # a student whose training has phases
            self.network.set_progress(number / section.steps)
        torch.manual_seed(step_seed(self.seed, number) + self.accelerator.process_index)  # dropout draws from the global generator: set for each step
        generator = torch.Generator().manual_seed(step_seed(self.seed + 1, number) + self.accelerator.process_index)
        total, parts, tokens = 0.0, {}, 0
        for turn in range(section.accumulate):
            index = (number * section.accumulate + turn) * world + self.accelerator.process_index
            batch = take_to(self.accelerator.device, replace(self.course.batch(index), temperature=section.soft_temperature))
            with self.accelerator.autocast():
                loss, parts = self.model(batch, section.soft_weight, generator)
            self.accelerator.backward(loss / section.accumulate)
            total += float(loss.detach()) / section.accumulate
            tokens += batch.tokens
        self.accelerator.clip_grad_norm_(self.network.parameters(), section.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.mean.update(self.network, number)
        return total, parts, tokens

    @torch.no_grad()
    def _evaluate(self, number: int, best: _Best) -> bool:
        """Dev loss of the running mean on gold answers; True when `patience` evaluations brought nothing."""
        own = {n: self.network.state_dict()[n].clone() for n in self.mean.weights}
        self.network.load_state_dict(self.mean.weights, strict=not self.mean.is_partial)
        self.network.eval()
        total, parts, weights = 0.0, [], 0.0
        generator = torch.Generator().manual_seed(step_seed(self.seed + 2, 0))
        for batch, weight in self.course.dev():
            with self.accelerator.autocast():
                loss, found = self.network.loss(take_to(self.accelerator.device, batch), soft_weight=0.0, generator=generator)
            total += float(loss) * weight
            weights += weight
            parts.append(found)
        self.network.load_state_dict(own, strict=not self.mean.is_partial)
        dev_loss = total / max(1.0, weights)
        self._tell({"step": number, "dev_loss": dev_loss, **{f"dev_{n}": v for n, v in _means(parts).items()}})
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
