"""Gifts for tests: answerers that cost nothing to run, and checks of what every task and answerer promises."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from limbeck.answerer import Answerer
from limbeck.errors import LimbeckError
from limbeck.records import Answer, Candidate, Example, Prompt
from limbeck.task import Task


class EchoTeacher:
    """Says what it was told to say, by prompt id; `no_answer` to a prompt it was told nothing about."""

    name = "echo"
    parameters: int | None = 0

    def __init__(self, replies: Mapping[str, Sequence[str]]) -> None:
        self.replies = {name: tuple(dict.fromkeys(texts)) for name, texts in replies.items()}

    @classmethod
    def from_examples(cls, examples: Iterable[Example]) -> EchoTeacher:
        """A teacher that is always right."""
        return cls({e.prompt.id: e.gold for e in examples})

    def answer(self, prompts: Sequence[Prompt], *, k: int = 1) -> list[Answer]:
        """The replies in the order they were given."""
        return [_answer(p, self.replies.get(p.id, ()), k) for p in prompts]

    def answer_with_soft(self, prompts: Sequence[Prompt], k: int, width: int = 8) -> list[tuple[Answer, None]]:
        """What the distill step calls; an echo has no distributions."""
        return [(answer, None) for answer in self.answer(prompts, k=k)]


class TinyStudent:
    """Learns by heart: the answers it saw for a text, then those it saw most."""

    name = "tiny"

    def __init__(self, examples: Iterable[Example]) -> None:
        seen = [(e.prompt.text, gold) for e in examples for gold in e.gold]
        self._known: dict[str, list[str]] = {}
        for text, gold in seen:
            self._known.setdefault(text, []).append(gold)
        self._often = [gold for gold, _ in Counter(gold for _, gold in seen).most_common()]
        self.parameters: int | None = len(seen)

    def answer(self, prompts: Sequence[Prompt], *, k: int = 1) -> list[Answer]:
        """Known answers first."""
        return [_answer(p, [*self._known.get(p.text, ()), *self._often], k) for p in prompts]


def _answer(prompt: Prompt, texts: Sequence[str], k: int) -> Answer:
    candidates = tuple(Candidate(text=t, score=-float(rank)) for rank, t in enumerate(list(dict.fromkeys(texts))[:k]))
    return Answer(prompt_id=prompt.id, candidates=candidates) if candidates else Answer(prompt_id=prompt.id, status="no_answer", reason="told nothing")


def check_answerer(answerer: Any, prompts: Sequence[Prompt], k: int = 3) -> None:
    """Raises AssertionError at the first promise of `limbeck.answerer.Answerer` that is broken."""
    assert isinstance(answerer, Answerer), "an answerer has a name, parameters and answer"
    assert answerer.name and (answerer.parameters is None or answerer.parameters >= 0), "a name, and a count or None"
    assert answerer.answer([], k=k) == [], "nothing asked, nothing answered"
    answers = answerer.answer(prompts, k=k)
    assert [a.prompt_id for a in answers] == [p.id for p in prompts], "one answer a prompt, in order"
    for answer in answers:
        texts, scores = [c.text for c in answer.candidates], [c.score for c in answer.candidates]
        assert len(texts) <= k and len(set(texts)) == len(texts), f"{answer.prompt_id}: at most k distinct candidates"
        assert all(map(math.isfinite, scores)) and scores == sorted(scores, reverse=True), f"{answer.prompt_id}: finite scores, best first"
        assert (answer.status == "scored") == bool(texts), f"{answer.prompt_id}: scored exactly where there is something to judge"
    again = answerer.answer(prompts, k=k)
    assert [[c.text for c in a.candidates] for a in again] == [[c.text for c in a.candidates] for a in answers], "the same twice"


def check_task(task: Any, limit: int = 20) -> None:
    """Raises AssertionError at the first promise of `limbeck.task.Task` that is broken; splits that need a download are passed over."""
    assert isinstance(task, Task) and task.name and task.version, "a task has a name, a version and the protocol's methods"
    assert len(set(task.splits())) == len(task.splits()) > 0, "named splits"
    for split in task.splits():
        try:
            examples = task.examples(split, limit)
        except LimbeckError:
            continue
        assert examples and examples == task.examples(split, limit), f"{split}: the same examples in the same order"
        assert len({e.id for e in examples}) == len(examples), f"{split}: ids are unique"
        for example in examples:
            _check_example(task, example)
    first, longer, other = (list(islice(task.generate(seed, count), 5)) for seed, count in ((1, 5), (1, 50), (2, 5)))
    assert [e.id for e in task.generate(1, 2, 3)] == [e.id for e in longer[3:]]
    assert first == longer, "generate is a pure function of (seed, index)"
    assert first != other, "another seed gives other examples"
    for example in first:
        _check_example(task, example)


def _check_example(task: Task, example: Example) -> None:
    json.dumps(dict(example.prompt.context))
    assert example.gold, f"{example.id}: an example of a split has gold"
    perfect = Answer(prompt_id=example.prompt.id, candidates=tuple(Candidate(text=t) for t in example.gold))
    verdict = task.score(example, perfect)
    assert verdict.status == "scored" and verdict.measures, f"{example.id}: gold is judged"
    assert all(len(values) == len(example.gold) for values in verdict.measures.values()), f"{example.id}: one value a candidate"
    assert all(value == 1.0 for values in verdict.measures.values() for value in values), f"{example.id}: gold is right by every measure: {verdict.measures}"
    for status in ("no_answer", "refused", "failed"):
        missing = task.score(example, Answer(prompt_id=example.prompt.id, status=status))
        assert missing.status == status and not missing.measures, f"{example.id}: {status} is never a zero"


def make_tiny_model(folder: Any, texts: Iterable[str], *, seed: int = 0, width: int = 32, layers: int = 2, vocabulary: int = 300) -> str:
    """A Llama shape with random weights and a byte-level tokenizer learnt from `texts`, saved as a Hugging Face folder; its path."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer, plain.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=["<end>", "<start>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    plain.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<end>", bos_token="<start>", pad_token="<end>")
    tokenizer.chat_template = "{% for m in messages %}<start>{{ m['role'] }}\n{{ m['content'] }}<end>\n{% endfor %}{% if add_generation_prompt %}<start>assistant\n{% endif %}"
    torch.manual_seed(seed)
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers, num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=512, bos_token_id=1, eos_token_id=0, pad_token_id=0, tie_word_embeddings=True)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
