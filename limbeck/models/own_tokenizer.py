"""A small byte-level tokenizer learnt from a job's own texts, for decoders that start from random weights: digits stand alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from limbeck.errors import LimbeckError

SMALLEST = 300
TEMPLATE = "{% for m in messages %}{% if m['role'] != 'assistant' %}{{ m['content'] }}<answer>{% else %}{{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"


def learn_tokenizer(texts: Iterable[str], vocabulary: int, folder: Path) -> Path:
    """Byte-pair merges up to `vocabulary` tokens, saved in Hugging Face form. Any text can be spelt. Raises LimbeckError where it is too small."""
    if vocabulary < SMALLEST:
        raise LimbeckError(f"{vocabulary} tokens are too few", "student.vocabulary, staircase.vocabulary", f"all 256 bytes and some merges need at least {SMALLEST}")
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Split(Regex(r"\n"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])  # type: ignore[assignment]
    plain.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=["<end>", "<answer>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    plain.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<end>", pad_token="<end>", additional_special_tokens=["<answer>"])
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(str(folder))
    return folder
