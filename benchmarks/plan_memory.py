"""The plan's memory against what training really takes: a few steps of small decoders, each in a process of its own.

    OMP_NUM_THREADS=1 python benchmarks/plan_memory.py

Measured is the growth of resident memory from before the network is built to its peak (Linux); a first small step is made
before, so that what libraries allocate once is there. Twice: with the C library's allocator as it is, which keeps much of what was
freed, and with MALLOC_MMAP_THRESHOLD_=65536, which gives every large block back at once.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

CASES = {  # name: student, train; all random Llama shapes in float32 on a CPU
    "full, AdamW": ({"width": 256, "decoder_layers": 8, "heads": 4}, {"optimizer": "adamw"}),
    "full, AdamW, long rows": ({"width": 128, "decoder_layers": 6, "heads": 4, "length": 1024}, {"optimizer": "adamw", "batch": 8}),
    "full, Muon": ({"width": 256, "decoder_layers": 8, "heads": 4, "length": 64}, {"optimizer": "muon", "batch": 1}),  # small batches: here its work is the peak
    "checkpointing": ({"width": 256, "decoder_layers": 16, "heads": 4, "extra": {"gradient_checkpointing": True}}, {"optimizer": "adamw", "batch": 8}),
    "LoRA 16": ({"width": 512, "decoder_layers": 6, "heads": 8, "lora_rank": 16}, {"optimizer": "adamw"}),
}
VOCABULARY = 8192


def measure(student: dict, train: dict) -> dict[str, float]:
    """Bytes planned and bytes measured for one case."""
    import torch

    from limbeck.models.decoder import build_decoder, llama_shape
    from limbeck.models.sizing import Training, memory_bytes, shape_of
    from limbeck.recipe.schema import StudentSection, TrainSection
    from limbeck.train.learner import DecoderLearner
    from limbeck.train.optimizer import RunningMean, make_optimizer
    from limbeck.train.packing import PackedBatch

    torch.set_num_threads(1)
    shaped = StudentSection(kind="decoder", **student)
    section = TrainSection(**({"batch": 4, "precision": "fp32"} | train))

    def steps(shaped: StudentSection, rows: int, count: int) -> None:
        learner = DecoderLearner(build_decoder(shaped, "", VOCABULARY, 0), section)
        mean, optimizer = RunningMean(learner, section.ema), make_optimizer(learner, section.optimizer, section.lr, 0.01)
        for number in range(count):
            ids = torch.randint(1, VOCABULARY, (rows, shaped.length))
            positions = (torch.arange(shaped.length) % (shaped.length // 2)).expand(rows, -1)
            batch = PackedBatch(ids, positions, ids.roll(-1, 1), torch.arange(rows).numpy(), ids.numel())
            loss, _ = learner.loss(batch, soft_weight=0.0, generator=torch.Generator())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            mean.update(learner, number)

    steps(StudentSection(kind="decoder", width=32, decoder_layers=1, heads=2, length=32, lora_rank=shaped.lora_rank), 1, 1)
    gc.collect()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the greatest so far is forgotten
    steps(shaped, section.batch, 3)
    config = llama_shape(shaped, VOCABULARY, 0).to_dict()
    training = Training(
        rows=section.batch, length=shaped.length, lora_rank=shaped.lora_rank, muon=section.optimizer == "muon", checkpointing=bool(shaped.extra), bf16=False, chunk_tokens=section.chunk_tokens
    )
    return {"planned": memory_bytes(shape_of(config, "random"), training)["peak"], "measured": resident("VmHWM") - before}


def resident(field: str) -> float:
    """Bytes, as the kernel counts them."""
    return next(float(line.split()[1]) * 1024 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.stdout.write(json.dumps(measure(*CASES[sys.argv[1]])) + "\n")
    else:
        for name in CASES:
            found = {}
            for how, more in (("as it is", {}), ("given back", {"MALLOC_MMAP_THRESHOLD_": "65536"})):
                out = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=True, env=os.environ | more).stdout
                found[how] = json.loads(out.splitlines()[-1])
            planned, kept, back = found["as it is"]["planned"], found["as it is"]["measured"], found["given back"]["measured"]
            sys.stdout.write(f"{name:24} planned {planned / 1e6:5.0f} MB; measured {back / 1e6:5.0f} MB given back ({100 * (planned / back - 1):+.0f} %), {kept / 1e6:5.0f} MB as it is\n")
            sys.stdout.flush()
