"""Training the faithful size (recipes/codefusion-paper-cf.toml): tokens a second, and its share of the bare matrix-multiply limit.

python benchmarks/faithful_throughput.py [batch] [steps]: on a GPU where one is at hand, else on one CPU thread. Work is counted
by torch's own counter over forward and backward (matrix products only), the limit is 2048 x 2048 products measured before and
after in the same run, so a machine that others use slows both. Positions are those of the canvas and the prompt, padding
included (the paper trains on it); useful tokens are those of prompts and answers.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch.utils.flop_counter import FlopCounterMode

from limbeck.models.batch import Batch, collate_sources, collate_targets
from limbeck.models.expert import build_network, build_shape, count_parameters
from limbeck.recipe.load import load_recipe
from limbeck.tasks.cf.codec import CFCodec
from limbeck.tasks.cf.generator import generate_one
from limbeck.train.optimizer import make_optimizer

BATCH = int(sys.argv[1]) if len(sys.argv) > 1 else 16
STEPS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
SIDE = 2048


def clock(device: torch.device) -> float:
    """Seconds of work: of this process on a CPU (others share it), of the wall on a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def matmul_limit(device: torch.device, kind: torch.dtype) -> float:
    """FLOP a second of square products."""
    a, b = (torch.randn(SIDE, SIDE, device=device).to(kind) for _ in range(2))
    a @ b
    began, count = clock(device), 0
    while clock(device) - began < 2:
        a @ b
        count += 1
    return 2 * SIDE**3 * count / (clock(device) - began)


def make_batch(device: torch.device) -> Batch:
    """Generated rules with their tables."""
    codec, sources, targets = CFCodec(), [], []
    for index in range(BATCH * 2):
        example = generate_one(4, index)
        symbols = codec.encode_answer(example.prompt, example.gold[0])
        if symbols is not None and len(sources) < BATCH:
            sources.append(codec.encode(example.prompt))
            targets.append(symbols)
    source = collate_sources(sources)
    return Batch(type(source)(*(getattr(source, n).to(device) for n in source.__slots__)), collate_targets(targets).to(device))


def main() -> None:
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    student = load_recipe("codefusion-paper-cf").student
    network: Any = build_network(build_shape(student, CFCodec())).to(device).train()
    network.set_progress(1.0)  # phase 2
    print(f"{count_parameters(network):,} parameters, {count_parameters(network, embeddings=False):,} without embeddings; {device}, batch {BATCH}; load {os.getloadavg()[0]:.1f}")
    batch, generator = make_batch(device), torch.Generator().manual_seed(0)
    optimizer = make_optimizer(network, "adamw", 5e-4, 0.0)
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):

        def step(kind: torch.dtype = kind) -> None:
            with torch.autocast(device.type, torch.bfloat16, enabled=kind == torch.bfloat16):
                loss, _ = network.loss(batch, soft_weight=0.0, generator=generator)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        with FlopCounterMode(display=False) as counter:
            step()
        before, began = matmul_limit(device, kind), clock(device)
        for _ in range(STEPS):
            step()
        seconds = (clock(device) - began) / STEPS
        limit = (before + matmul_limit(device, kind)) / 2
        rate = counter.get_total_flops() / seconds
        positions = BATCH * (network.length + batch.source.kind_BS.shape[1])
        print(
            f"{name}: {seconds:.2f} s a step, {positions / seconds:,.0f} positions/s, {batch.tokens / seconds:,.0f} useful tokens/s; "
            f"{rate / 1e9:.1f} of {limit / 1e9:.1f} GFLOP/s: {100 * rate / limit:.0f} % of the matrix-multiply limit"
        )


if __name__ == "__main__":
    main()
