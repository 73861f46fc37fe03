"""Distillation from stored draws against distillation with the teacher at hand, on the same tokens: speed, memory, loss.

    python benchmarks/offline_distillation.py [--rows 128] [--length 256] [--batch 8] [--steps 16] [--teacher builtin:smollm2-135m]

Four ways to train one student (a Llama shape with random weights from one seed, AdamW at a constant rate, float32 unless the processor
has bfloat16), each in a process of its own with one thread, on the same rows in the same order:

    stored   limbeck: the teacher's distributions stored once as draws, chunked loss
    dense    a plain loop: the teacher reads each batch, Kullback-Leibler divergence over the whole vocabulary
    gkd      TRL's experimental GKDTrainer with lmbda = 0, beta = 0 (forward divergence)
    labels   limbeck without a teacher: what soft targets add

Text: docstrings of the standard library. Printed: tokens a CPU-second of training, peak memory of the process, held-out loss.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

WAYS = ("stored", "dense", "gkd", "labels")
LR = 1e-3


def read_rows(tokenizer: Any, count: int, length: int, split: str) -> np.ndarray:
    """`count` rows of `length` tokens, documents end to end."""
    from limbeck.tasks.text_files import TextFilesTask

    stream: list[int] = []
    for example in TextFilesTask("docstrings").examples(split):
        stream += [*tokenizer(example.gold[0], add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        if len(stream) >= count * length:
            break
    return np.array(stream[: len(stream) // length * length], np.int32).reshape(-1, length)[:count]


def as_packed(rows: np.ndarray) -> Any:
    """Rows of one document each."""
    from limbeck.train.packing import NO_LABEL, Packed

    label = np.concatenate([rows[:, 1:], np.full((len(rows), 1), NO_LABEL, np.int32)], 1)
    return Packed(rows, np.zeros_like(rows), np.tile(np.arange(rows.shape[1], dtype=np.int32), (len(rows), 1)), label, np.array(0))


def build_student(asked: argparse.Namespace, vocabulary: int, stop: int) -> Any:
    """The same weights in every process."""
    import torch

    from limbeck.models.decoder import build_decoder
    from limbeck.recipe.schema import StudentSection

    torch.manual_seed(0)
    return build_decoder(StudentSection(kind="decoder", width=asked.width, decoder_layers=asked.layers, heads=4, length=asked.length), "", vocabulary, stop)  # type: ignore[call-arg]


def train(asked: argparse.Namespace) -> dict[str, Any]:
    """One way, in this process."""
    import torch

    from limbeck import resolve
    from limbeck.models.decoder import load_tokenizer
    from limbeck.models.precision import is_bf16_native

    torch.set_num_threads(1)
    tokenizer = load_tokenizer(resolve.weights_of(asked.teacher))
    rows, held_out = read_rows(tokenizer, asked.rows, asked.length, "train"), read_rows(tokenizer, 24, asked.length, "test")
    student = build_student(asked, len(tokenizer), tokenizer.eos_token_id)
    order = [np.arange(at, at + asked.batch) % len(rows) for at in range(0, asked.steps * asked.batch, asked.batch)]
    spent = _train_gkd(asked, tokenizer, student, rows, order) if asked.way == "gkd" else _train_plainly(asked, student, rows, order, is_bf16_native())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"tokens": asked.steps * asked.batch * asked.length, "cpu_s": spent, "peak_mib": peak, "held_out": _held_out(student, held_out)}


def _held_out(student: Any, rows: np.ndarray) -> float:
    import torch

    from limbeck.train.divergence import cross_entropy
    from limbeck.train.packing import NO_LABEL, make_packed_batch

    packed, total = as_packed(rows), []
    with torch.no_grad():
        for at in range(0, len(rows), 4):
            batch = make_packed_batch(packed, np.arange(at, min(at + 4, len(rows))))
            states, is_said = student.states(batch.ids_BL, batch.position_BL), batch.label_BL != NO_LABEL
            total.append(float(cross_entropy(states[is_said], student.head_VD, batch.label_BL[is_said], chunk_tokens=256)))
    return float(np.mean(total))


def _train_plainly(asked: argparse.Namespace, student: Any, rows: np.ndarray, order: list[np.ndarray], fast: bool) -> float:
    import torch
    from torch.nn import functional

    from limbeck import resolve
    from limbeck.train.capture import load_teacher
    from limbeck.train.divergence import cross_entropy, divergence_loss
    from limbeck.train.packing import NO_LABEL, make_packed_batch
    from limbeck.train.targets import open_targets

    packed = as_packed(rows)
    vocabulary = student.head_VD.shape[0]
    select = open_targets(Path(asked.store), packed, vocabulary) if asked.way == "stored" else None
    teacher = load_teacher(resolve.weights_of(asked.teacher)) if asked.way == "dense" else None
    optimizer = torch.optim.AdamW(student.parameters(), lr=LR, weight_decay=0.0)
    began = time.process_time()
    for chosen in order:
        batch = make_packed_batch(packed, chosen, select)
        is_said = batch.label_BL != NO_LABEL
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            states = student.states(batch.ids_BL, batch.position_BL)[is_said]
            if asked.way == "stored":
                loss, _ = divergence_loss(states, student.head_VD, batch.targets, batch.label_BL[is_said], chunk_tokens=256)
            elif asked.way == "labels":
                loss = cross_entropy(states, student.head_VD, batch.label_BL[is_said], chunk_tokens=256)
            else:
                assert teacher is not None
                with torch.no_grad():
                    theirs = (teacher.states(batch.ids_BL, batch.position_BL)[is_said] @ teacher.head_VD.T)[:, :vocabulary].float().log_softmax(-1)
                loss = functional.kl_div((states @ student.head_VD.T).float().log_softmax(-1), theirs, log_target=True, reduction="batchmean")
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return time.process_time() - began


def _train_gkd(asked: argparse.Namespace, tokenizer: Any, student: Any, rows: np.ndarray, order: list[np.ndarray]) -> float:
    import torch
    from datasets import Dataset
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    from limbeck import resolve
    from limbeck.models.precision import is_bf16_native

    with tempfile.TemporaryDirectory() as folder:
        student.model.save_pretrained(folder)
        flat = np.concatenate(order)
        data = Dataset.from_dict({"row": flat.tolist(), "messages": [[{"role": "user", "content": "-"}, {"role": "assistant", "content": "-"}]] * len(flat)})
        config = GKDConfig(
            output_dir=folder, per_device_train_batch_size=asked.batch, max_steps=asked.steps, learning_rate=LR, lr_scheduler_type="constant", weight_decay=0.0, max_grad_norm=0.0, lmbda=0.0, beta=0.0, temperature=1.0,
            use_cpu=True, bf16=is_bf16_native(), gradient_checkpointing=False, report_to=[], save_strategy="no", logging_steps=10_000, remove_unused_columns=False, disable_tqdm=True, dataset_kwargs={"skip_prepare_dataset": True}, seed=0, adam_beta2=0.999,
        )  # fmt: skip

        def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
            ids = torch.from_numpy(rows[[i["row"] for i in items]].astype(np.int64))
            labels = ids.clone()
            labels[:, 0] = -100
            return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels, "prompts": ids[:, :1], "prompt_attention_mask": torch.ones_like(ids[:, :1])}

        teacher = resolve.weights_of(asked.teacher)
        trainer = GKDTrainer(model=student.model, teacher_model=teacher, args=config, train_dataset=data, processing_class=tokenizer, data_collator=collate)
        trainer._get_train_sampler = lambda *_: torch.utils.data.SequentialSampler(data)  # type: ignore[method-assign]
        began = time.process_time()
        trainer.train()
        return time.process_time() - began


def capture(asked: argparse.Namespace) -> dict[str, Any]:
    """The teacher's draws, stored once."""
    import torch

    from limbeck import resolve
    from limbeck.models.decoder import load_tokenizer
    from limbeck.recipe.schema import DistillSection
    from limbeck.run import Step
    from limbeck.train.capture import capture_targets
    from limbeck.train.targets import TargetStore

    torch.set_num_threads(1)
    source = resolve.weights_of(asked.teacher)
    tokenizer = load_tokenizer(source)
    packed = as_packed(read_rows(tokenizer, asked.rows, asked.length, "train"))
    began = time.process_time()
    capture_targets(source, packed, tokenizer, DistillSection(soft="sampled", soft_draws=asked.draws), Step(Path(asked.store), "targets", 0, {}))  # type: ignore[call-arg]
    return {"tokens": packed.labels, "cpu_s": time.process_time() - began, "bytes_a_token": TargetStore(Path(asked.store), packed, len(tokenizer)).bytes_per_position}


def main() -> None:
    reads = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, default in (("rows", 128), ("length", 256), ("batch", 8), ("steps", 16), ("width", 192), ("layers", 6), ("draws", 50)):
        reads.add_argument(f"--{name}", type=int, default=default)
    reads.add_argument("--teacher", default="builtin:smollm2-135m")
    reads.add_argument("--way", default="")
    reads.add_argument("--store", default="")
    asked = reads.parse_args()
    if asked.way:
        print(json.dumps(capture(asked) if asked.way == "capture" else train(asked)))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for way in ("capture", *WAYS):
            command = [sys.executable, __file__, *(a for n in ("rows", "length", "batch", "steps", "width", "layers", "draws") for a in (f"--{n}", str(getattr(asked, n)))), "--teacher", asked.teacher, "--way", way, "--store", folder]
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"})
            if done.returncode:
                print(f"{way}: ended with {done.returncode}: {(done.stderr.strip().splitlines() or ['nothing said'])[-1]}", flush=True)
                continue
            found[way] = json.loads(done.stdout.strip().splitlines()[-1])
            row = found[way]
            if way == "capture":
                print(f"capture  {row['tokens']:,} tokens, {row['tokens'] / row['cpu_s']:.0f} a CPU-second, {row['bytes_a_token']:.1f} bytes a token", flush=True)
            else:
                print(f"{way:8} {row['tokens'] / row['cpu_s']:7.0f} tokens a CPU-second  peak {row['peak_mib']:6.0f} MiB  held-out loss {row['held_out']:.4f}", flush=True)
        for peer in ("dense", "gkd"):
            if peer in found and "stored" in found:
                a, b = found["stored"], found[peer]
                print(f"stored against {peer}: {a['tokens'] / a['cpu_s'] / (b['tokens'] / b['cpu_s']):.2f} times the tokens a CPU-second, {a['peak_mib'] / b['peak_mib']:.2f} of the memory, held-out loss {100 * (a['held_out'] / b['held_out'] - 1):+.2f} %")


if __name__ == "__main__":
    main()
