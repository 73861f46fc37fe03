"""The end of a decoder's making: it comes to prefer better answers. Through TRL's stable trainers, with our run folder and metrics.

best_of_n learns the best of several answers (SFTTrainer), dpo the better of two (DPOTrainer), grpo the reward itself (GRPOTrainer). The last two
hold the student near the model it starts from, which is their reference.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from limbeck.align.pairs import Asked, Pair
from limbeck.align.policy import Policy
from limbeck.align.rewards import Reward
from limbeck.errors import LimbeckError
from limbeck.models.decoder import FACTS, load_tokenizer
from limbeck.models.precision import is_bf16_native
from limbeck.recipe.schema import AlignSection
from limbeck.run import Step

Progress = Callable[[dict[str, Any]], None]
LONGEST = 1024  # tokens of a request and its answer
SEEN = ("loss", "reward", "reward_std", "kl", "rewards/margins", "rewards/accuracies", "grad_norm")


def check_chat_template(folder: str) -> None:
    """Raises LimbeckError for a model whose tokenizer does not say how a conversation is written."""
    from transformers import AutoTokenizer

    try:
        template = AutoTokenizer.from_pretrained(folder).chat_template
    except (OSError, ValueError) as problem:
        raise LimbeckError(f"this tokenizer cannot be loaded: {str(problem).splitlines()[0]}", folder, "name a folder in Hugging Face form") from problem
    if not template:
        raise LimbeckError("this model has no chat template, so nobody knows how a request is put to it", folder, "train it through a recipe first (its expert gets one), or add chat_template to its tokenizer_config.json")


def train_on_pairs(expert: Path, out: Path, pairs: Sequence[Pair], section: AlignSection, step: Step, progress: Progress | None = None, lora_rank: int = 0) -> list[dict[str, float]]:
    """The expert's weights trained to prefer, saved at `out`; returns what was logged on the way. `section.method` is dpo or best_of_n.

    Of a draw that was cut its words are learnt and not its end: no answer ends there.
    """
    trl, dataset = _trl(expert), _dataset()
    prompts = [[dict(m) for m in p.asked.messages] for p in pairs]
    chosen, rejected = [[_said(p.chosen)] for p in pairs], [[_said(p.rejected)] for p in pairs]
    cut = {"chosen_cut": [p.cut[0] for p in pairs], "rejected_cut": [p.cut[1] for p in pairs]}
    watch, rows = _watch(section, step, progress)
    tokenizer = load_tokenizer(str(expert))
    if section.method == "dpo":
        both = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, section.sft_weight]} if section.sft_weight else {}
        config = trl.DPOConfig(**_shared(section, step), **both, beta=section.beta, max_length=LONGEST, precompute_ref_log_probs=False)
        trainer = trl.DPOTrainer(model=str(expert), args=config, train_dataset=dataset.from_dict({"prompt": prompts, "chosen": chosen, "rejected": rejected, **cut}), processing_class=tokenizer, callbacks=[watch], peft_config=_lora(lora_rank))
    else:
        config = trl.SFTConfig(**_shared(section, step), max_length=LONGEST, completion_only_loss=True, packing=False)
        trainer = trl.SFTTrainer(model=str(expert), args=config, train_dataset=dataset.from_dict({"prompt": prompts, "completion": chosen, **cut}), processing_class=tokenizer, callbacks=[watch], peft_config=_lora(lora_rank))
    trainer.train_dataset = _open_ends(trainer.train_dataset, tokenizer)
    _run(trainer, expert, out, step, tokenizer, section)
    return rows


def train_on_reward(expert: Path, out: Path, asked: Sequence[Asked], reward: Reward, policy: Policy, section: AlignSection, step: Step, progress: Progress | None = None, lora_rank: int = 0) -> list[dict[str, float]]:
    """GRPO: the student writes `samples` answers to each request, and what is worth more than its group's mean becomes likelier."""
    trl, dataset = _trl(expert), _dataset()
    known = {a.id: a for a in asked}
    watch, rows = _watch(section, step, progress)
    tokenizer = load_tokenizer(str(expert))

    def worth(completions: list[Any], request: list[str], **_: Any) -> list[float | None]:
        texts = [c[-1]["content"] if isinstance(c, list) else str(c) for c in completions]
        return reward.of([known[name].exchange(text.strip(), policy) for name, text in zip(request, texts, strict=True)], [known[name].task_id for name in request])

    config = trl.GRPOConfig(**_shared(section, step, section.batch * section.samples), beta=section.beta, num_generations=section.samples, max_completion_length=section.max_tokens, temperature=section.temperature, steps_per_generation=1)
    data = dataset.from_dict({"prompt": [[dict(m) for m in a.messages] for a in asked], "request": [a.id for a in asked]})
    trainer = trl.GRPOTrainer(model=str(expert), reward_funcs=worth, args=config, train_dataset=data, processing_class=tokenizer, callbacks=[watch], peft_config=_lora(lora_rank))
    _run(trainer, expert, out, step, tokenizer, section)
    return rows


def _open_ends(data: Any, tokenizer: Any) -> Any:
    """Tokenised answers without what the chat template writes after them, where they were cut."""
    word = "answer"
    whole = tokenizer.apply_chat_template([{"role": "user", "content": "question"}, _said(word)], tokenize=False)
    tail = len(tokenizer(whole[whole.rindex(word) + len(word) :], add_special_tokens=False)["input_ids"])
    ends = {"input_ids": "chosen_cut", "labels": "chosen_cut", "chosen_ids": "chosen_cut", "rejected_ids": "rejected_cut"}
    return data.map(lambda row: {column: row[column][: len(row[column]) - tail * row[cut]] for column, cut in ends.items() if column in row})


def _lora(rank: int) -> Any:
    """LoRA of this rank, merged in at the end; the model without it is then the reference, and no second copy is held. None trains all weights."""
    if not rank:
        return None
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")


def _said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _shared(section: AlignSection, step: Step, batch: int = 0) -> dict[str, Any]:
    import torch

    gpu = torch.cuda.is_available()
    return {
        "output_dir": str(step.path / "trl"), "max_steps": section.steps, "per_device_train_batch_size": batch or section.batch, "gradient_accumulation_steps": 1, "learning_rate": section.lr, "lr_scheduler_type": "cosine",
        "warmup_steps": max(1, section.steps // 10), "use_cpu": not gpu, "bf16": is_bf16_native(), "gradient_checkpointing": False, "report_to": [], "logging_steps": 1, "save_strategy": "steps",
        "save_steps": max(10, section.steps // 4), "save_total_limit": 1, "disable_tqdm": True, "seed": step.seed("align") % 2**31, "dataloader_pin_memory": gpu, "model_init_kwargs": {"dtype": "float32"},
    }  # fmt: skip


def _watch(section: AlignSection, step: Step, progress: Progress | None) -> tuple[Any, list[dict[str, float]]]:
    from transformers import TrainerCallback

    rows: list[dict[str, float]] = []

    class Tell(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **rest: Any) -> None:
            found = {name: float(logs[name]) for name in SEEN if logs and name in logs}
            if found:
                rows.append({"step": state.global_step, **found})
                step.log(**rows[-1])
                if progress:
                    progress({"step": state.global_step, "steps": section.steps, **found})

    return Tell(), rows


def _run(trainer: Any, expert: Path, out: Path, step: Step, tokenizer: Any, section: AlignSection) -> None:
    """Trained, from a checkpoint where a killed run left one; the folder appears whole or not at all."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)  # it prints every log on standard output, which belongs to --json
    trainer.train(resume_from_checkpoint=bool(list((step.path / "trl").glob("checkpoint-*"))) or None)
    fresh = out.with_name(f".{out.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    model = trainer.model.merge_and_unload() if hasattr(trainer.model, "peft_config") else trainer.model
    model.save_pretrained(fresh)
    tokenizer.save_pretrained(fresh)
    facts = json.loads((expert / FACTS).read_text(encoding="utf-8")) if (expert / FACTS).exists() else {"kind": "decoder"}
    (fresh / FACTS).write_text(json.dumps({**facts, "aligned": {"method": section.method, "policy": section.policy, "steps": section.steps, "share": section.share}}, indent=1), encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    fresh.rename(out)
    shutil.rmtree(step.path / "trl", ignore_errors=True)


def _trl(expert: Path) -> Any:
    if expert.is_dir():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the hub's library is first imported
    try:
        import trl
    except ImportError as problem:
        raise LimbeckError(f"{problem.name} is not installed", "align.method", "pip install 'limbeck[trl]'") from problem
    return trl


def _dataset() -> Any:
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    return Dataset
