"""On-policy distillation at the end: the student writes, the teacher judges every token it wrote. Through TRL's stable DistillationTrainer.

Its divergence is the generalised JSD with TRL's beta (0 forward, 1 reverse Kullback-Leibler; reverse unless `train.divergence` says
otherwise). Teacher and student share a vocabulary, and the teacher's weights are here.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.models.decoder import FACTS, load_tokenizer
from limbeck.models.precision import is_bf16_native
from limbeck.recipe.schema import TrainSection
from limbeck.run import Step
from limbeck.train.capture import check_vocabulary
from limbeck.train.encoded import read_lines

BETA = {"forward_kl": 0.0, "reverse_kl": 1.0, "skew_kl": 1.0}
Progress = Callable[[dict[str, Any]], None]


def train_on_policy(expert: Path, teacher: str, dataset: Path, section: TrainSection, step: Step, longest: int, progress: Progress | None = None) -> Path:
    """The expert's folder, its weights trained further on its own answers of at most `longest` tokens; goes on from TRL's checkpoints.

    Raises LimbeckError for a teacher of another vocabulary, before anything is trained.
    """
    if not teacher:
        raise LimbeckError("there is no teacher with weights here", "train.on_policy_steps", "name hf:ID-or-folder or builtin:smollm2-135m as teacher.model, or set train.on_policy_steps = 0")
    check_vocabulary(load_tokenizer(teacher), load_tokenizer(str(expert)), teacher)
    try:
        from datasets import Dataset
        from transformers import TrainerCallback
        from trl import DistillationConfig, DistillationTrainer
    except ImportError as problem:
        raise LimbeckError(f"{problem.name} is not installed", "train.on_policy_steps", "pip install 'limbeck[trl]'") from problem
    import torch

    class Tell(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **rest: Any) -> None:
            if logs and "loss" in logs:
                step.log(step=state.global_step, on_policy_loss=float(logs["loss"]))
                if progress:
                    progress({"step": state.global_step, "steps": section.on_policy_steps, "on_policy_loss": float(logs["loss"])})

    os.environ.setdefault("HF_HUB_OFFLINE", "1") if Path(teacher).is_dir() else None
    out, has_gpu = step.path / "on-policy", torch.cuda.is_available()
    config = DistillationConfig(
        output_dir=str(out), max_steps=section.on_policy_steps, per_device_train_batch_size=section.batch, gradient_accumulation_steps=section.accumulate, learning_rate=section.lr / 10,
        beta=section.beta if section.divergence == "jsd" else BETA[section.divergence], temperature=1.0, max_completion_length=max(8, longest), use_cpu=not has_gpu, bf16=section.precision == "bf16" and is_bf16_native(),
        gradient_checkpointing=False, report_to=[], logging_steps=1, save_steps=section.checkpoint_every, save_total_limit=1, save_only_model=False, disable_tqdm=True, seed=step.seed("on-policy") % 2**31,
    )  # fmt: skip
    trainer = DistillationTrainer(model=str(expert), teacher_model=teacher, args=config, train_dataset=Dataset.from_dict({"prompt": list(_prompts(dataset))}), processing_class=load_tokenizer(str(expert)), callbacks=[Tell()])
    trainer.train(resume_from_checkpoint=bool(list(out.glob("checkpoint-*"))) or None)
    fresh = expert.with_name(f".{expert.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    model: Any = trainer.model
    model.save_pretrained(fresh)
    load_tokenizer(str(expert)).save_pretrained(fresh)
    facts = json.loads((expert / FACTS).read_text(encoding="utf-8"))
    (fresh / FACTS).write_text(json.dumps({**facts, "on_policy_steps": section.on_policy_steps}, indent=1), encoding="utf-8")
    shutil.rmtree(expert)
    fresh.rename(expert)
    shutil.rmtree(out, ignore_errors=True)
    return expert


def _prompts(dataset: Path) -> Iterable[list[dict[str, str]]]:
    """The requests of a dataset as messages. Raises LimbeckError where it has none: documents ask nothing."""
    found = [list(r["context"].get("messages") or [{"role": "user", "content": r["text"]}]) for r in read_lines(dataset / "data.jsonl.gz") if r["text"] or r.get("context", {}).get("messages")]
    if not found:
        raise LimbeckError("these records have no requests that a student could answer", str(dataset), "set train.on_policy_steps = 0 for plain documents")
    return found
