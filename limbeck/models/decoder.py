"""Decoders from transformers as students: pretrained weights or a small Llama shape, all weights or LoRA, saved in Hugging Face form."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.errors import LimbeckError
from limbeck.models.precision import is_bf16_native
from limbeck.recipe.schema import StudentSection

FACTS = "limbeck.json"  # beside config.json: what is ours to say of an expert that transformers can load by itself
WIDENING = 8 / 3  # of a feed-forward layer with a gate, so that it has as many numbers as a plain one of factor 4
SCALED = ("final_logit_softcapping", "logits_scaling", "logit_scale")  # heads that are more than one matrix
# For tokenizers that know no chat: a request and its answer as two paragraphs.
PLAIN_CHAT = "{% for message in messages %}{{ message['role'] }}:\n{{ message['content'] }}{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n\n{% endfor %}{% if add_generation_prompt %}assistant:\n{% endif %}"


def load_tokenizer(source: str) -> Any:
    """A tokenizer from a folder or hub id, with a chat template and a padding token in any case."""
    transformers = _transformers(source)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as problem:
        raise LimbeckError(f"this tokenizer cannot be loaded: {str(problem).splitlines()[0]}", source, "name a folder in Hugging Face form, or a hub id that can be reached") from problem
    if tokenizer.eos_token_id is None:
        raise LimbeckError("this tokenizer has no end-of-text token, so no answer could end", source, "set eos_token in its tokenizer_config.json, or use another")
    if not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN_CHAT
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def build_decoder(student: StudentSection, source: str, vocabulary: int, stop: int) -> Decoder:
    """The network to train: the weights at `source`, or a Llama shape with random ones where there is none.

    `vocabulary` is how many token ids there are, `stop` the id that ends an answer. Raises LimbeckError where weights cannot be had.
    """
    transformers = _transformers(source)
    if source:
        refuse_pickles(source)
        wanted = torch.bfloat16 if student.lora_rank and is_bf16_native() else torch.float32  # frozen weights need no spare digits
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=wanted, use_safetensors=True)
        except (OSError, ValueError) as problem:
            raise LimbeckError(f"this model cannot be loaded: {str(problem).splitlines()[0]}", source, "name a folder in Hugging Face form with safetensors weights, or a hub id that can be reached") from problem
    else:
        model = transformers.LlamaForCausalLM(llama_shape(student, vocabulary, stop))
    scaled = next((name for name in SCALED if getattr(model.config, name, None) not in (None, 1, 1.0)), None)
    if scaled:
        raise LimbeckError(f"this family scales its logits ({scaled}), which the chunked losses do not know", source, "use another family (Llama, Qwen, SmolLM ...)")
    rows = model.get_output_embeddings().weight.shape[0]
    if rows < vocabulary:
        raise LimbeckError(f"the model has {rows} rows for {vocabulary} tokens", source, "use the model's own tokenizer")
    if student.extra.get("gradient_checkpointing"):
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return Decoder(_with_lora(model, student) if student.lora_rank else model)


def llama_shape(student: StudentSection, vocabulary: int, stop: int) -> Any:
    """A Llama configuration of `width`, `decoder_layers` and `heads`; embeddings serve as the head too."""
    known = {"gradient_checkpointing", "feed_forward", "kv_heads", "tie"}
    if unknown := set(student.extra) - known:
        raise LimbeckError(f"a decoder has no knob {sorted(unknown)[0]!r}", "student.extra", f"known: {', '.join(sorted(known))}")
    wide = int(student.extra.get("feed_forward", -(-student.width * WIDENING // 32) * 32))
    return _transformers("").LlamaConfig(
        vocab_size=vocabulary, hidden_size=student.width, intermediate_size=wide, num_hidden_layers=student.decoder_layers, num_attention_heads=student.heads,
        num_key_value_heads=int(student.extra.get("kv_heads", student.heads)), max_position_embeddings=max(2048, student.length), tie_word_embeddings=bool(student.extra.get("tie", True)),
        attention_dropout=student.dropout, bos_token_id=stop, eos_token_id=stop, pad_token_id=stop, use_cache=True,
    )  # fmt: skip


class Decoder(nn.Module):
    """A causal language model as the loop sees it; `model` is the transformers model, wrapped by peft where it has LoRA."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    @property
    def plain(self) -> Any:
        """The transformers model itself; LoRA's matrices sit inside its layers."""
        return self.model.get_base_model() if hasattr(self.model, "peft_config") else self.model

    @property
    def head_VD(self) -> Tensor:
        """The matrix that turns a state into logits."""
        return self.plain.get_output_embeddings().weight

    def states(self, ids_BL: Tensor, position_BL: Tensor) -> Tensor:
        """Last hidden states [B, L, D]. Positions start anew with each document of a row, and no document sees another.

        transformers makes the block-diagonal mask from the positions; a cache would keep it from doing so.
        """
        return self.plain.get_decoder()(input_ids=ids_BL, position_ids=position_BL, use_cache=False).last_hidden_state


def _with_lora(model: Any, student: StudentSection) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as problem:
        raise LimbeckError("peft is not installed", "student.lora_rank", "pip install 'limbeck[hf]'") from problem
    config = LoraConfig(r=student.lora_rank, lora_alpha=int(student.lora_alpha or 2 * student.lora_rank), lora_dropout=student.dropout, target_modules="all-linear", task_type="CAUSAL_LM")
    wrapped = get_peft_model(model, config)
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return wrapped


def count_decoder(model: Any) -> tuple[int, int]:
    """Parameters in all, and without embeddings (a tied head counts as one of them)."""
    total = sum(p.numel() for p in model.parameters())
    embeddings = {id(m.weight): m.weight.numel() for m in (model.get_input_embeddings(), model.get_output_embeddings()) if m is not None}
    return total, total - sum(embeddings.values())


def save_decoder(folder: Path, network: Decoder, tokenizer: Any, facts: dict[str, Any]) -> Path:
    """An expert's folder in Hugging Face form, LoRA merged in, with what limbeck knows of it in limbeck.json; all or nothing."""
    model = network.model.merge_and_unload() if hasattr(network.model, "peft_config") else network.model
    total, inner = count_decoder(model)
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        model.save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
        (fresh / FACTS).write_text(json.dumps({"kind": "decoder", "parameters": total, "parameters_without_embeddings": inner, **facts}, indent=1), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(fresh, folder)
    except OSError as problem:
        shutil.rmtree(fresh, ignore_errors=True)
        raise LimbeckError(f"the expert could not be written: {problem}", str(folder), "free some disk space and run again: it resumes") from problem
    return folder


def read_facts(folder: Path) -> dict[str, Any] | None:
    """What limbeck.json says of an expert; None where the folder is no decoder of ours."""
    path = folder / FACTS
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if found["kind"] == "decoder" else None
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise LimbeckError(f"the expert's facts cannot be read: {problem}", str(path), "train it again, or take another copy") from problem


def refuse_pickles(source: str) -> None:
    """Raises LimbeckError for a folder without safetensors weights: loading a pickle can run anything."""
    folder = Path(source)
    if folder.is_dir() and not list(folder.glob("*.safetensors")):
        raise LimbeckError("this folder holds no safetensors weights; pickles are refused", str(folder), "convert it to safetensors first")


def _transformers(source: str) -> Any:
    try:
        import transformers
    except ImportError as problem:
        raise LimbeckError("transformers is not installed", source or "student.kind", "pip install 'limbeck[hf]'") from problem
    transformers.utils.logging.disable_progress_bar()
    return transformers
