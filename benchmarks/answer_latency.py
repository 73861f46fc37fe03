"""Five candidates from a student of 5M non-embedding parameters on 2 cores, all three kinds: milliseconds, one prompt at a time.

python benchmarks/answer_latency.py [EXPERT_FOLDER...]: with folders, these; else builtin:cf (autoregressive, trained) and
untrained diffusion students of the same size. What weights hold changes the diffusion students' time only where draws settle
early (early_exit, threshold), so those switches are timed with trained folders alone. The median of 20 prompts after 3 to
warm up; `cpu` is the process's time, which others on the machine do not lengthen.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")

import torch

from limbeck import resolve
from limbeck.models.expert import Expert, build_network, build_shape, load_expert
from limbeck.recipe.schema import StudentSection

WARM, COUNT, K = 3, 20, 5
THREADS = int(os.environ["OMP_NUM_THREADS"])  # on a machine that others use, two wait for each other: set 1
SIZES = {
    "codefusion": {"width": 192, "encoder_layers": 4, "denoiser_layers": 3, "decoder_layers": 2, "heads": 6},
    "masked": {"width": 192, "encoder_layers": 4, "denoiser_layers": 3, "decoder_layers": 2, "heads": 6},
}
WAYS: dict[str, list[dict[str, Any]]] = {
    "autoregressive": [{}, {"beams": 6}],
    "codefusion": [{}, {"steps": 10}, {"steps": 5}, {"steps": 10, "solver": "dpm++"}, {"steps": 10, "draws": 5}, {"steps": 50}],
    "masked": [{}, {"steps": 6}, {"steps": 24}],
}
TRAINED_ONLY: dict[str, list[dict[str, Any]]] = {"codefusion": [{"steps": 20, "early_exit": 2}], "masked": [{"steps": 24, "threshold": 0.9}]}


def contenders() -> list[tuple[str, Expert, bool]]:
    """What is timed, and whether it is trained."""
    task, codec = resolve.get_task("cf"), resolve.get_codec("cf")
    if len(sys.argv) > 1:
        return [(name, load_expert(Path(name), codec, adjust=resolve.get_adjust(task)), True) for name in sys.argv[1:]]
    out = [("builtin:cf", resolve.get_expert("builtin:cf", task), True)]
    for kind, size in SIZES.items():
        for extra in ({}, {"predicts_length": True}):
            student = StudentSection.model_validate({"kind": kind, "beams": K, "buckets": 16384, "extra": extra, **size})
            torch.manual_seed(0)
            out.append((f"{kind}{', length predicted' if extra else ''}, untrained", Expert(kind, build_network(build_shape(student, codec)).eval(), codec, beams=K, adjust=resolve.get_adjust(task)), False))
    return out


def measure(expert: Expert, prompts: list[Any]) -> tuple[float, float, float]:
    """Median and best wall, mean CPU: milliseconds an answer."""
    walls = []
    for prompt in prompts[:WARM]:
        expert.answer([prompt], k=K)
    cpu = time.process_time()
    for prompt in prompts[WARM:]:
        began = time.perf_counter()
        expert.answer([prompt], k=K)
        walls.append(time.perf_counter() - began)
    cpu = time.process_time() - cpu
    return 1e3 * sorted(walls)[len(walls) // 2], 1e3 * min(walls), 1e3 * cpu / len(walls)


def main() -> None:
    torch.set_num_threads(THREADS)
    prompts = [e.prompt for e in resolve.get_task("cf").examples("people-dev", WARM + COUNT)]
    print(f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}, {COUNT} prompts, {K} candidates")
    print(f"{'student':44s} {'without emb.':>12s} {'sampling':42s} {'median ms':>9s} {'best ms':>8s} {'cpu ms':>7s}")
    for name, expert, is_trained in contenders():
        kind = expert.network.shape.kind
        for way in [*WAYS[kind], *(TRAINED_ONLY.get(kind, []) if is_trained else [])]:
            expert.sampling = way
            median, best, cpu = measure(expert, prompts)
            print(f"{name[-44:]:44s} {expert.parameters_without_embeddings:12,} {', '.join(f'{n} {v}' for n, v in way.items()) or 'as it comes':42s} {median:9.0f} {best:8.0f} {cpu:7.0f}", flush=True)


if __name__ == "__main__":
    main()
