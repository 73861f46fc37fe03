"""On-policy distillation at the end: the student writes, the teacher judges every token it wrote. Through TRL's stable DistillationTrainer.

Its divergence is the generalised JSD with TRL's beta: 0 for `train.divergence = "forward_kl"`, 1 for "reverse_kl", `train.beta` for "jsd".
TRL has no skew divergence. Teacher and student share a vocabulary, and the teacher's weights are here.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.models.decoder import FACTS, load_tokenizer, read_facts
from limbeck.models.precision import is_bf16_native
from limbeck.recipe.schema import TrainSection
from limbeck.run import Step
from limbeck.train.capture import check_vocabulary, load_teacher
from limbeck.train.encoded import read_lines

BETA = {"forward_kl": 0.0, "reverse_kl": 1.0}
Progress = Callable[[dict[str, Any]], None]


def check_on_policy(section: TrainSection, teacher: str) -> None:
    """Raises LimbeckError for what TRL cannot do. Cheap: to be called before anything is trained."""
    if not teacher:
        raise LimbeckError("there is no teacher with weights here", "train.on_policy_steps", "name hf:ID-or-folder or builtin:smollm2-135m as teacher.model, or set train.on_policy_steps = 0")
    if section.divergence != "jsd" and section.divergence not in BETA:
        raise LimbeckError(f"{section.divergence} cannot be had on-policy", "train.divergence, train.on_policy_steps", "use reverse_kl, forward_kl or jsd, or set train.on_policy_steps = 0")


def train_on_policy(expert: Path, teacher: str, dataset: Path, section: TrainSection, step: Step, longest: int, progress: Progress | None = None) -> Path:
    """The expert's folder, its weights trained further on its own answers of at most `longest` tokens; goes on from TRL's checkpoints.

    Raises LimbeckError for a teacher of another vocabulary, before anything is trained.
    """
    check_on_policy(section, teacher)
    fresh = expert.with_name(f".{expert.name}.new")
    if not expert.exists() and (fresh / FACTS).exists():  # killed between taking the old one away and putting the new one there
        fresh.rename(expert)
    if (read_facts(expert) or {}).get("on_policy_steps") == section.on_policy_steps:
        shutil.rmtree(step.path / "on-policy", ignore_errors=True)
        return expert
    prompts = list(_prompts(dataset))
    check_vocabulary(load_tokenizer(teacher), load_tokenizer(str(expert)), teacher)
    trainer = _make_trainer(expert, teacher, prompts, section, step, longest, progress)
    trainer.train(resume_from_checkpoint=bool(list((step.path / "on-policy").glob("checkpoint-*"))) or None)
    shutil.rmtree(fresh, ignore_errors=True)
    trainer.model.save_pretrained(fresh)
    load_tokenizer(str(expert)).save_pretrained(fresh)
    facts = json.loads((expert / FACTS).read_text(encoding="utf-8"))
    (fresh / FACTS).write_text(json.dumps({**facts, "on_policy_steps": section.on_policy_steps}, indent=1), encoding="utf-8")  # last: says that it is whole
    shutil.rmtree(expert)
    fresh.rename(expert)
    shutil.rmtree(step.path / "on-policy", ignore_errors=True)
    return expert


def _make_trainer(expert: Path, teacher: str, prompts: list[list[dict[str, str]]], section: TrainSection, step: Step, longest: int, progress: Progress | None) -> Any:
    if Path(teacher).is_dir():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the hub's library is first imported
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

    config = DistillationConfig(
        output_dir=str(step.path / "on-policy"), max_steps=section.on_policy_steps, per_device_train_batch_size=section.batch, gradient_accumulation_steps=section.accumulate, learning_rate=section.lr / 10,
        beta=section.beta if section.divergence == "jsd" else BETA[section.divergence], temperature=1.0, max_completion_length=max(8, longest), use_cpu=not torch.cuda.is_available(), bf16=section.precision == "bf16" and is_bf16_native(),
        gradient_checkpointing=False, report_to=[], logging_steps=1, save_steps=section.checkpoint_every, save_total_limit=1, save_only_model=False, disable_tqdm=True, seed=step.seed("on-policy") % 2**31,
    )  # fmt: skip
    return DistillationTrainer(model=str(expert), teacher_model=_load_judge(expert, teacher), args=config, train_dataset=Dataset.from_dict({"prompt": prompts}), processing_class=load_tokenizer(str(expert)), callbacks=[Tell()])


def _load_judge(expert: Path, teacher: str) -> Any:
    """The teacher with as many rows as the student: TRL compares whole tables, and spare rows of the teacher's are cut off."""
    rows = json.loads((expert / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    model = load_teacher(teacher).model
    theirs = int(model.get_output_embeddings().weight.shape[0])
    if theirs < rows:
        raise LimbeckError(f"the student's table has {rows:,} rows, the teacher's {theirs:,}", teacher, "start from a student without spare rows, or set train.on_policy_steps = 0")
    if theirs > rows:
        model.resize_token_embeddings(rows)
    return model


def _prompts(dataset: Path) -> Iterable[list[dict[str, str]]]:
    """The requests of a dataset as messages. Raises LimbeckError where it has none: documents ask nothing."""
    found = [list(r["context"].get("messages") or [{"role": "user", "content": r["text"]}]) for r in read_lines(dataset / "data.jsonl.gz") if r["text"] or r.get("context", {}).get("messages")]
    if not found:
        raise LimbeckError("these records have no requests that a student could answer", str(dataset), "set train.on_policy_steps = 0 for plain documents")
    return found
