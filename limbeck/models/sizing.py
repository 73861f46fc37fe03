"""How much memory and how many operations a decoder takes to train: arithmetic on its configuration, nothing is allocated.

Widths in the equations: V vocabulary, D width, F feed-forward, H heads and K key/value heads of width w each, N layers, T tokens of a
process's batch, L tokens of a row. Bytes are per device; operations are floating-point ones, a multiply-add counted as two.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from limbeck.errors import LimbeckError

Strategy = Literal["one", "ddp", "fsdp"]
INSTRUCT = ("-instruct", "-base", "-it", "-chat")  # endings that do not change a shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A decoder of the Llama kind: grouped attention, gated feed-forward. `family` decides biases (qwen2) and query norms (qwen3)."""

    name: str
    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    feed_forward: int
    tied: bool
    family: str = "llama"
    attention_bias: bool = False
    mlp_bias: bool = False
    parameters: int | None = None  # as published, where somebody has counted
    aliases: tuple[str, ...] = ()

    @property
    def linears(self) -> tuple[tuple[int, int], ...]:
        """(in, out) of the seven linear layers of a block."""
        query, key, d, f = self.heads * self.head_width, self.kv_heads * self.head_width, self.width, self.feed_forward
        return (d, query), (d, key), (d, key), (query, d), (d, f), (d, f), (f, d)


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Parameters: all, those trained, the tables of embeddings (a head of its own is one), and matrices inside the blocks."""

    total: int
    trained: int
    embeddings: int
    matrices: int
    adapters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What of a recipe decides memory and operations. `rows` of `length` tokens are a process's batch."""

    rows: int
    length: int
    lora_rank: int = 0
    muon: bool = False
    checkpointing: bool = False
    bf16: bool = True
    accumulate: int = 1
    chunk_tokens: int = 1024
    devices: int = 1
    strategy: Strategy = "one"

    @property
    def tokens(self) -> int:
        """Of one batch of one process, padding included."""
        return self.rows * self.length


@cache
def known_shapes() -> tuple[Shape, ...]:
    """Decoders whose configuration is known without their folder."""
    text = (resources.files("limbeck") / "models" / "decoder_shapes.toml").read_text(encoding="utf-8")
    return tuple(Shape(**{**row, "aliases": tuple(row.get("aliases", ()))}) for row in tomllib.loads(text)["shape"])


def find_shape(name: str) -> Shape | None:
    """The known shape that a hub id means, whatever its case and whether tuned on instructions or not."""
    wanted = _bare(name)
    return next((s for s in known_shapes() for n in (s.name, *s.aliases) if _bare(n) == wanted), None)


def _bare(name: str) -> str:
    bare = name.lower().split("/")[-1]
    for ending in INSTRUCT:
        bare = bare.removesuffix(ending)
    return bare


def read_shape(folder: Path) -> Shape:
    """The shape that a folder's config.json describes. Raises LimbeckError for a family this arithmetic does not know."""
    path = folder / "config.json"
    try:
        return shape_of(json.loads(path.read_text(encoding="utf-8")), str(folder))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise LimbeckError(f"this is no configuration of a decoder: {problem!r}", str(path), "name a folder in Hugging Face form") from problem


def shape_of(config: dict[str, Any], name: str) -> Shape:
    """A configuration in Hugging Face form as a shape. Raises LimbeckError for families with other blocks, KeyError for missing keys."""
    family = config["model_type"]
    if family not in ("llama", "mistral", "qwen2", "qwen3"):
        raise LimbeckError(f"no plan can be made for {family!r}: its blocks are none of those that are known here", name, "known: llama, mistral, qwen2, qwen3")
    heads = config["num_attention_heads"]
    return Shape(
        name=name, family=family, vocabulary=config["vocab_size"], width=config["hidden_size"], layers=config["num_hidden_layers"], heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads, head_width=config.get("head_dim") or config["hidden_size"] // heads, feed_forward=config["intermediate_size"],
        tied=bool(config.get("tie_word_embeddings", False)), attention_bias=bool(config.get("attention_bias", False)), mlp_bias=bool(config.get("mlp_bias", False)),
    )  # fmt: skip


def count_parameters(shape: Shape, lora_rank: int = 0) -> Count:
    """Parameters of a shape, without building it; with LoRA only r (in + out) numbers of each linear layer of the blocks are trained.

    Hu et al., arXiv 2106.09685; peft's "all-linear" leaves the head out.
    """
    embeddings = shape.vocabulary * shape.width * (1 if shape.tied else 2)
    matrices = shape.layers * sum(a * b for a, b in shape.linears)
    query, key = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    small = 2 * shape.width
    small += query + 2 * key if shape.family == "qwen2" or shape.attention_bias else 0
    small += shape.width if shape.attention_bias else 0
    small += 2 * shape.feed_forward + shape.width if shape.mlp_bias else 0
    small += 2 * shape.head_width if shape.family == "qwen3" else 0
    total = embeddings + matrices + shape.layers * small + shape.width
    adapters = lora_rank * shape.layers * sum(a + b for a, b in shape.linears)
    return Count(total=total + adapters, trained=adapters or total, embeddings=embeddings, matrices=matrices, adapters=adapters)


def activation_bytes(shape: Shape, training: Training) -> dict[str, int]:
    """Bytes that one layer keeps for the backward pass of a batch, and those of what comes after the last layer.

    Counted in transformers 5 (eager blocks, SDPA with the block-diagonal mask), by the kind of arithmetic; a test holds these to
    what PyTorch really keeps, to the byte. Per token and layer, q = H w, k = K w:
      float32          24 D + 16 F + 16 q + 4 L + 4 H + 8        qwen3: + 8 (q + k) + 4 (H + K)
      bfloat16         26 D +  8 F +  8 q + 2 L + 4 H + 8        qwen3: + 6 (q + k) + 4 (H + K)
      float32, LoRA    16 D + 16 F + 16 q + 4 L + 4 H + 8 + 28 r qwen3: + 4 (q + k) + 4 (H + K)
      bfloat16, LoRA   18 D +  8 F + 10 q + 2 L + 4 H + 8 + 14 r qwen3: + 4 (q + k) + 4 (H + K)
    L is the mask, which every layer keeps for itself; keys and values are kept once for each query head. With checkpointing a
    layer keeps its input alone: 4 D, or 2 D with LoRA in bfloat16. The same idea for GPT: Korthikanti et al., arXiv 2205.05198.
    """
    lora, d, f, q, k = training.lora_rank, shape.width, shape.feed_forward, shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    wide, narrow, query, norm = {(False, False): (24, 16, 16, 8), (True, False): (26, 8, 8, 6), (False, True): (16, 16, 16, 4), (True, True): (18, 8, 10, 4)}[training.bf16, bool(lora)]
    size = 2 if training.bf16 else 4
    layer = wide * d + narrow * f + query * q + size * training.length + 4 * shape.heads + 8 + 7 * size * lora
    if shape.family == "qwen3":
        layer += norm * (q + k) + 4 * (shape.heads + shape.kv_heads)
    stream = 2 if lora and training.bf16 else 4
    labels = 2 * stream * d  # states where something is predicted, and their gradient; at most all tokens
    after = 8 * d + 4 + 8 * shape.head_width + 8 + labels
    return {"layer": training.tokens * layer, "kept": training.tokens * (stream * d if training.checkpointing else layer), "after": training.tokens * after}


def memory_bytes(shape: Shape, training: Training) -> dict[str, int]:
    """Bytes a device needs to train, by what they are for; `peak` is the most at one time. Mirrors limbeck's own loop:

    weights     4 P, or 2 of the frozen and 4 of the trained with LoRA in bfloat16; `casts` 2 more of each matrix under autocast
    gradients   4 a trained weight; moments 8 (AdamW), or 4 for the blocks' matrices with Muon (its momentum)
    mean        4 a trained weight: the running mean; a tied head is kept once
    logits      2 x 4 x chunk x V: a chunk's logits and their gradient
    optimizer   Muon orthogonalizes all matrices of one shape together: 10 bytes a weight of the largest such group
    buckets     4 a trained weight with DDP, which copies gradients into buckets to send them
    FSDP splits weights, gradients, moments and the mean over the devices and gathers two layers at a time (Rajbhandari et al.,
    arXiv 1910.02054, stage 3).
    At the end of the forward pass all activations are there and no gradients (but with accumulation); at the end of the backward
    pass it is the other way round; then the optimizer works. The peak is the most of the three.
    """
    count, split = count_parameters(shape, training.lora_rank), training.devices if training.strategy == "fsdp" else 1
    acts, trained = activation_bytes(shape, training), count.trained
    frozen = count.total - trained
    parts = {
        "weights": 4 * trained + frozen * (2 if training.bf16 else 4), "gradients": 4 * trained,
        "moments": 8 * trained - (4 * count.matrices if training.muon and not training.lora_rank else 0), "mean": 4 * trained,
    }  # fmt: skip
    parts = {name: size // split for name, size in parts.items()}
    parts["casts"] = 2 * (count.matrices + shape.vocabulary * shape.width if not training.lora_rank else count.adapters) if training.bf16 and training.strategy != "fsdp" else 0
    parts["gathered"] = 2 * 4 * max(count.matrices // shape.layers, shape.vocabulary * shape.width) if training.strategy == "fsdp" else 0
    parts["buckets"] = 4 * trained if training.strategy == "ddp" else 0
    parts["activations"] = shape.layers * acts["kept"] + acts["after"] + (acts["layer"] if training.checkpointing else 0)
    parts["logits"] = 8 * min(training.chunk_tokens, training.tokens) * shape.vocabulary
    parts["optimizer"] = _muon_bytes(shape) // split if training.muon and not training.lora_rank else 0
    static = sum(parts[name] for name in ("weights", "moments", "mean", "gathered", "buckets"))
    forward = parts["casts"] + parts["activations"] + parts["logits"] + (parts["gradients"] if training.accumulate > 1 else 0)
    backward = parts["casts"] + parts["gradients"] + 2 * acts["layer"]
    return parts | {"peak": static + max(forward, backward, parts["gradients"] + parts["optimizer"])}


def _muon_bytes(shape: Shape) -> int:
    """Stacked updates (4), their bfloat16 copy (2) and the result (4) of the largest group of matrices of one shape."""
    groups: dict[tuple[int, int], int] = {}
    for a, b in shape.linears:
        groups[min(a, b), max(a, b)] = groups.get((min(a, b), max(a, b)), 0) + shape.layers * a * b
    return 10 * max(groups.values())


def flops_per_token(shape: Shape, training: Training) -> float:
    """Operations to train on one token.

    Forward: 2 a weight of the blocks and the head, and 4 L H w a layer for attention (a dense mask is computed whole, so no half
    for causality). Backward: twice that, so 6 N + 12 L H w in all (Kaplan et al., arXiv 2001.08361; Chowdhery et al., arXiv
    2204.02311, appendix B). With LoRA frozen weights need no gradient of their own: 4 N, and 6 for the adapters. Checkpointing
    computes the blocks forward once more. Tokens whose next one is not predicted skip the head; not subtracted here.
    """
    count, head = count_parameters(shape, training.lora_rank), shape.vocabulary * shape.width
    attention = 4.0 * training.length * shape.heads * shape.head_width * shape.layers
    blocks = 2.0 * count.matrices + attention
    total = (4.0 if training.lora_rank else 6.0) * (count.matrices + head) + 3 * attention + 6.0 * count.adapters
    return total + (blocks + 2.0 * count.adapters if training.checkpointing else 0.0)


def native_memory_bytes(parameters: int, width: int, layers: int, heads: int, examples: int, tokens: int = 120) -> dict[str, int]:
    """Roughly, for limbeck's own students: weights, gradients, two moments and the mean (24 bytes a weight with slack), and activations."""
    activations = examples * tokens * width * layers * 80 + examples * layers * heads * tokens * tokens * 8
    parts = {"weights": 4 * parameters, "gradients": 4 * parameters, "moments": 8 * parameters, "mean": 4 * parameters, "slack": 4 * parameters, "activations": activations}
    return parts | {"peak": sum(parts.values())}
