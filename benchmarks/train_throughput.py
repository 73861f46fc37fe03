"""Useful (non-pad) tokens per CPU-second of training: our three students, a transformers Trainer, the matmul limit.

python benchmarks/train_throughput.py [seconds per contender]; needs `pip install limbeck[bench]`. One thread. The peer is
a T5 of about the same size reading the same examples (its tokens: the prompt's words, columns and values as hashed ids),
once with the Trainer's defaults and once at its best (bf16, grouped by length). A ratio against each peer is printed.
The peers step by AdamW, so the rows to compare with are those of AdamW; Muon, our default, takes more time a step and needs
about half the steps (lab/log.md).
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch

from limbeck.models.batch import PAD
from limbeck.models.expert import build_network, build_shape, count_parameters
from limbeck.recipe.schema import StudentSection
from limbeck.tasks.cf.codec import CFCodec
from limbeck.tasks.cf.generator import generate_one
from limbeck.train.batches import Batches
from limbeck.train.encoded import Encoded, _encode_chunk
from limbeck.train.optimizer import RunningMean, make_optimizer

EXAMPLES, BATCH, VOCABULARY = 3000, 64, 3072
BUDGET_S = float(sys.argv[1]) if len(sys.argv) > 1 else 12.0


def load() -> Encoded:
    """Generated examples, encoded as training sees them."""
    examples = (generate_one(4, i) for i in range(EXAMPLES))
    records = [{"id": e.id, "text": e.prompt.text, "context": dict(e.prompt.context), "answer": e.gold[0]} for e in examples]
    arrays = _encode_chunk((CFCodec(), records))
    for lengths, offsets in (("lengths", "offsets"), ("target_lengths", "target_offsets")):
        arrays[offsets] = np.concatenate([[0], np.cumsum(arrays.pop(lengths))])
    return Encoded(**arrays)


def ours(kind: str, data: Encoded, chosen: str) -> tuple[float, int]:
    """Tokens per CPU-second of our step: loss, gradients, clipping, optimizer, running mean, bf16 autocast."""
    layers = {"decoder_layers": 2} if kind == "autoregressive" else {"decoder_layers": 1, "denoiser_layers": 1}
    network: Any = build_network(build_shape(StudentSection.model_validate({"kind": kind, **layers}), CFCodec()))
    optimizer, mean = make_optimizer(network, chosen, 1e-3, 0.01), RunningMean(network, 0.99)
    batches, generator = Batches(data, BATCH, 0), torch.Generator().manual_seed(0)
    tokens, step, began = 0, 0, 0.0
    while True:
        if step == 3:
            tokens, began = 0, time.process_time()
        batch = batches(step)
        with torch.autocast("cpu", torch.bfloat16):
            loss, _ = network.loss(batch, soft_weight=0.0, generator=generator)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        mean.update(network, step)
        tokens, step = tokens + batch.tokens, step + 1
        if step > 4 and time.process_time() - began > BUDGET_S:
            return tokens / (time.process_time() - began), count_parameters(network)


def peer(data: Encoded, best: bool) -> tuple[float, int]:
    """The same examples through transformers' Trainer: its defaults (batch 8, fp32), or bf16, batch 64, grouped by length."""
    from transformers import T5Config, T5ForConditionalGeneration, Trainer, TrainerCallback, TrainingArguments

    rows = [
        {"input_ids": (data.pieces[data.offsets[i] : data.offsets[i + 1], 0] % (VOCABULARY - 2) + 2).tolist(), "labels": data.target(i).tolist()}
        for i in range(len(data))
    ]  # fmt: skip
    config = T5Config(vocab_size=VOCABULARY, d_model=96, d_kv=24, d_ff=384, num_layers=3, num_decoder_layers=2, num_heads=4, dropout_rate=0.0, decoder_start_token_id=0)
    model = T5ForConditionalGeneration(config)
    seen = {"tokens": 0, "began": 0.0, "rate": 0.0}

    def collate(batch: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        longest, answers = max(len(r["input_ids"]) for r in batch), max(len(r["labels"]) for r in batch)
        ids, labels = torch.zeros(len(batch), longest, dtype=torch.long), torch.full((len(batch), answers), -100)
        for row, record in enumerate(batch):
            ids[row, : len(record["input_ids"])] = torch.tensor(record["input_ids"])
            labels[row, : len(record["labels"])] = torch.tensor(record["labels"])
        seen["tokens"] += sum(len(r["input_ids"]) + len(r["labels"]) for r in batch)
        return {"input_ids": ids, "attention_mask": (ids != PAD).long(), "labels": labels}

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 3:
                seen["tokens"], seen["began"] = 0, time.process_time()
            elif state.global_step > 3 and time.process_time() - seen["began"] > BUDGET_S:
                seen["rate"] = seen["tokens"] / (time.process_time() - seen["began"])
                control.should_training_stop = True

    chosen: dict[str, Any] = {"bf16": True, "per_device_train_batch_size": BATCH} if best else {}
    if best:
        names = TrainingArguments.__dataclass_fields__
        chosen |= {"train_sampling_strategy": "group_by_length"} if "train_sampling_strategy" in names else {"group_by_length": True}
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(output_dir=folder, use_cpu=True, max_steps=100_000, save_strategy="no", report_to=[], logging_strategy="no", disable_tqdm=True, **chosen)
        Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate, callbacks=[Clock()]).train()  # type: ignore[arg-type]
    return seen["rate"], sum(p.numel() for p in model.parameters())


def matmul_limit() -> float:
    """bf16 multiply-adds of 1024 x 1024 matrices: FLOP per CPU-second."""
    a, b = torch.randn(1024, 1024).bfloat16(), torch.randn(1024, 1024).bfloat16()
    began, count = time.process_time(), 0
    while time.process_time() - began < 2:
        a @ b
        count += 1
    return 2 * 1024**3 * count / (time.process_time() - began)


def main() -> None:
    torch.set_num_threads(1)
    data = load()
    print(f"{len(data)} examples, {data.lengths.mean():.1f} source tokens each; batch {BATCH}; 1 thread; {BUDGET_S:.0f} CPU-s a contender; load {os.getloadavg()[0]:.1f}")
    limit = matmul_limit()
    print(f"bf16 matmul limit                {limit / 1e9:10.1f} GFLOP per CPU-second")
    peers = {name: peer(data, best) for name, best in (("Trainer, defaults", False), ("Trainer, best", True))}
    for name, (rate, parameters) in peers.items():
        print(f"{name:32s} {rate:10,.0f} tokens per CPU-second  ({parameters:,} parameters)")
    for kind, chosen in itertools.product(("autoregressive", "masked", "codefusion"), ("adamw", "muon")):
        rate, parameters = ours(kind, data, chosen)
        share = 6 * (parameters - 3072 * 96) * rate / limit
        ratios = ", ".join(f"{rate / r:.2f} x {name}" for name, (r, _) in peers.items())
        print(f"{f'{kind}, {chosen}':32s} {rate:10,.0f} tokens per CPU-second  ({parameters:,} parameters)  {ratios}; {100 * share:.0f} % of the limit")


if __name__ == "__main__":
    main()
