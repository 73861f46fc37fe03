"""Two of the catalogue's estimators on models whose size is known: hidden width by the rank of logits, and the bound by decode speed.

    PYTHONPATH=. python lab/hidden_size.py      needs transformers and `limbeck data get smollm2-135m`

Untrained models of three families and five widths, then SmolLM2-135M in three precisions of its logits. The bound is that of this
machine: memory bandwidth by summing a large array with one thread, decode speed of one stream with one thread.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
import transformers

from limbeck.catalog.estimators import logit_rank, throughput_bound
from limbeck.resolve import smollm2_folder

WIDTHS = (48, 64, 96, 160, 256)
VOCABULARY, ROWS = 2048, 400


def tiny(family: str, width: int) -> Any:
    """An untrained model, two layers deep."""
    torch.manual_seed(width)
    shared = {"vocab_size": VOCABULARY, "hidden_size": width, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 2 * width}
    if family == "gpt2":
        config: Any = transformers.GPT2Config(vocab_size=VOCABULARY, n_embd=width, n_layer=2, n_head=4)
    else:
        config = {"llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config}[family](**shared, num_key_value_heads=2)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def logits_of(model: Any, rows: int, vocabulary: int) -> np.ndarray:
    """Rows of logits at positions of random texts."""
    ids = torch.randint(0, vocabulary, (-(-rows // 50), 50), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return model(ids).logits.float().reshape(-1, model.config.vocab_size)[:rows].numpy()


def widths() -> None:
    for family in ("llama", "gpt2", "qwen2"):
        found = {width: logit_rank(logits_of(tiny(family, width), ROWS, VOCABULARY)) for width in WIDTHS}
        print(f"{family}: {sum(a == b for a, b in found.items())} of {len(found)} widths exact: {found}")


def smollm2() -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(smollm2_folder(), dtype=torch.float32).eval()
    parameters = sum(p.numel() for p in model.parameters())
    rows = logits_of(model, 784, 40_000)[:, :4096]
    logp = torch.tensor(rows).log_softmax(-1).numpy()
    rounded = torch.tensor(rows).bfloat16().float().numpy()
    print(f"SmolLM2, width {model.config.hidden_size}: fp32 logits {logit_rank(rows)}, log-probabilities {logit_rank(logp)}, bf16 logits {logit_rank(rounded)}")
    array = np.ones(200_000_000, np.float32)
    spent = []
    for _ in range(3):
        began = time.thread_time()  # not wall: other work may share the cores
        array.sum()
        spent.append(time.thread_time() - began)
    bandwidth = array.nbytes / min(spent) / 1e9
    ids = torch.ones((1, 8), dtype=torch.long)
    model.generate(ids, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    began = time.thread_time()
    model.generate(ids, max_new_tokens=64, min_new_tokens=64, do_sample=False)
    speed = 64 / (time.thread_time() - began)
    bound = throughput_bound(speed, bandwidth, bytes_per_weight=4.0)
    print(f"SmolLM2 decodes {speed:.1f} tokens a CPU-second from {bandwidth:.1f} GB/s in fp32: at most {bound:.3f}B, it has {parameters / 1e9:.3f}B")


if __name__ == "__main__":
    torch.set_num_threads(1)
    widths()
    smollm2()
