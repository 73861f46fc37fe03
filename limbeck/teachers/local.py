"""A language model's weights on this machine, through transformers: generates answers, gives likelihoods of choices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.records import Answer, Candidate, Prompt, content_id
from limbeck.teachers import likelihood
from limbeck.teachers.endpoint import Sampling, strip_reasoning
from limbeck.teachers.pool import is_bf16_native

BATCH = 8  # prompts answered together
ROWS = ((5_000_000, 256), (500_000_000, 32))  # a model of fewer parameters writes so many answers together: what a step costs beside arithmetic is shared, and its cache is still small
Done = Callable[[int, Answer], None]


class LocalModel:
    """A causal language model from a folder (or a hub id), in bfloat16 where that is native. Prompts of like length are answered together."""

    def __init__(self, source: str, *, name: str = "", sampling: Sampling | None = None, batch: int | None = None, ranks: bool = False, decide: dict[str, Any] | None = None) -> None:
        """`ranks`: several answers are a beam's, best first, and not draws. `decide`: how an expert settles on the beginning of its answer."""
        try:
            from transformers import AutoModelForCausalLM, AutoTokenizer
            from transformers.utils import logging
        except ImportError as problem:
            raise LimbeckError("transformers is not installed", f"hf:{source}", "pip install 'limbeck[hf]'") from problem
        import torch

        logging.disable_progress_bar()
        _refuse_pickles(source)
        self.precision = "bfloat16" if torch.cuda.is_available() or is_bf16_native() else "float32"  # a processor without bfloat16 is 25 times slower in it
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(source, padding_side="left")
            model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=getattr(torch, self.precision), use_safetensors=True)
            self._model: Any = model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        except (OSError, ValueError) as problem:
            raise LimbeckError(f"this model cannot be loaded: {str(problem).splitlines()[0]}", f"hf:{source}", "name a folder in Hugging Face form with safetensors weights, or a hub id that can be reached") from problem
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self.draws_samples = not ranks  # whether k answers are k draws
        self._decide = decide
        self.weights = ""  # a hash of them, where somebody needs one
        self.name, self.sampling = name or f"hf:{source}", sampling or Sampling()
        self.parameters: int | None = sum(p.numel() for p in self._model.parameters())
        self._batch = batch  # prompts, whatever the answers to each
        self._rows = next((rows for below, rows in ROWS if self.parameters < below), 0)
        self._longest = int(getattr(self._model.config, "max_position_embeddings", 2048))

    @property
    def has_chat(self) -> bool:
        """Whether its tokenizer says how a conversation is written."""
        return bool(self._tokenizer.chat_template)

    def settings(self) -> dict[str, Any]:
        """What must be equal for two sets of answers to be comparable."""
        return {"precision": self.precision, **asdict(self.sampling)}

    def answer(self, prompts: Sequence[Prompt], *, k: int = 1) -> list[Answer]:
        """All answers, in order."""
        found: dict[int, Answer] = {}
        self.answer_each(prompts, k, lambda at, answer: found.__setitem__(at, answer))
        return [found[at] for at in range(len(prompts))]

    def answer_each(self, prompts: Sequence[Prompt], k: int, done: Done) -> None:
        """Calls `done(index, answer)` batch by batch. Prompts with "choices" get them ranked by likelihood, a "document" its log-probability."""
        texts = {}
        for at, prompt in enumerate(prompts):
            if "document" in prompt.context:
                logp = self.loglikelihood_rolling(prompt.context["document"])
                done(at, Answer(prompt_id=prompt.id, candidates=(Candidate(text="", score=logp),)))
            elif "choices" in prompt.context:
                done(at, self._rank(prompt, k))
            else:
                texts[at] = self._text(prompt)
        order, size = sorted(texts, key=lambda at: len(texts[at])), self._batch or (max(1, self._rows // max(1, k)) if self._rows else BATCH)
        for start in range(0, len(order), size):
            part = order[start : start + size]
            for at, answer in zip(part, self._generate([texts[a] for a in part], [prompts[a] for a in part], k), strict=True):
                done(at, answer)

    def _text(self, prompt: Prompt) -> str:
        messages = list(prompt.context.get("messages") or [{"role": "user", "content": prompt.text}])
        if self.sampling.system:
            messages.insert(0, {"role": "system", "content": self.sampling.system})
        if self.sampling.style == "raw" or not self._tokenizer.chat_template:
            return "\n\n".join(m["content"] for m in messages)
        return self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def measure(self, prompt: Prompt) -> tuple[int, int]:
        """The tokens of a prompt, and how many are read beside its answer: what is longer loses its end."""
        chosen = self._chosen(prompt)
        return len(self._tokenizer(self._text(prompt), add_special_tokens=chosen.style == "raw")["input_ids"]), self._longest - chosen.max_tokens

    def _chosen(self, prompt: Prompt) -> Sampling:
        fixed = prompt.context.get("sampling") or {}  # a task that prescribes how it is asked
        seed = {"seed": prompt.context["seed"]} if "seed" in prompt.context else {}
        return replace(self.sampling, **{n: v for n, v in fixed.items() if n in ("temperature", "max_tokens", "top_p")}, **seed)

    def _generate(self, texts: list[str], prompts: list[Prompt], k: int) -> list[Answer]:
        import torch

        chosen = self._chosen(prompts[0])
        room = max(1, self._longest - chosen.max_tokens)
        batch = self._tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=chosen.style == "raw", truncation=True, max_length=room).to(self._model.device)
        warm: dict[str, Any] = {"do_sample": True, "temperature": chosen.temperature, "top_p": chosen.top_p or 1.0} if chosen.temperature else {"do_sample": False}
        torch.manual_seed(int(content_id([chosen.seed or 0, texts], 15), 16))  # by what is asked: batches of one seed do not draw alike
        with torch.inference_mode():
            beam: dict[str, Any] = {"num_beams": k, "length_penalty": 0.0, "output_scores": True, "return_dict_in_generate": True} if k > 1 and not self.draws_samples else {}
            made = self._model.generate(**batch, max_new_tokens=chosen.max_tokens, num_return_sequences=k if chosen.temperature or beam else 1, pad_token_id=self._tokenizer.pad_token_id, **warm, **beam)
        out, scores = (made.sequences, made.sequences_scores.tolist()) if beam else (made, [0.0] * len(made))
        width, each = batch["input_ids"].shape[1], out.shape[0] // len(texts)
        answers = []
        for row, prompt in enumerate(prompts):
            rows = out[row * each : (row + 1) * each, width:]
            said = [self._tokenizer.decode(ids, skip_special_tokens=True) for ids in rows]
            said = [t if chosen.keep_reasoning else strip_reasoning(t) for t in said]
            written = [int((ids != self._tokenizer.pad_token_id).sum()) for ids in rows]
            finish = dict(zip(reversed(said), reversed(["length" if n == chosen.max_tokens else "stop" for n in written])))
            found = dict(zip(reversed(said), reversed(scores[row * each : (row + 1) * each]))) if beam else {}  # the better of two that read alike
            drawn = [(t, {}) for t in sorted(found, key=lambda t: -found[t])] if beam else [(t, {"tokens": n}) for t, n in zip(said, written, strict=True)]
            kept = tuple(Candidate(text=t, score=found.get(t, 0.0), meta=more) for t, more in drawn if t.strip())
            tokens = {"prompt": int(batch["attention_mask"][row].sum()), "completion": written[0] if beam else sum(written), "all": sum(written)}
            meta = {"tokens": tokens, "finish": [finish[c.text] for c in kept]}
            answers.append(Answer(prompt_id=prompt.id, candidates=kept, meta=meta) if kept else Answer(prompt_id=prompt.id, status="no_answer", reason="empty", meta=meta))
        return answers

    def _rank(self, prompt: Prompt, k: int) -> Answer:
        """Choices by log-likelihood after the prompt, whole and per byte. Without a chat template a space stands before a choice."""
        import torch

        text = self._text(prompt)
        head = self._tokenizer(text, add_special_tokens=self.sampling.style == "raw")["input_ids"]
        space = " " if self.sampling.style == "raw" or not self._tokenizer.chat_template else ""
        tails = [self._tokenizer(space + str(choice), add_special_tokens=False)["input_ids"] for choice in prompt.context["choices"]]
        one = all(len(tail) == 1 for tail in tails)  # letters: the last position says all of them
        logps, logp_LV = [], torch.empty(0)
        for number, tail in enumerate(tails):
            if not (one and number):
                ids = torch.tensor([(head + tail)[-self._longest :]], device=self._model.device)
                with torch.inference_mode():
                    logp_LV = self._model(ids).logits[0, -len(tail) - 1 : -1].float().log_softmax(-1).cpu()
            total = float(logp_LV.gather(1, torch.tensor(tail)[:, None]).sum())
            logps.append(total if math.isfinite(total) else -1e9)
        return likelihood.rank(prompt, logps, k)

    def loglikelihood(self, context: str, continuation: str) -> tuple[float, bool]:
        """Log-probability in nats of a continuation after a context, both as they stand, and whether greedy decoding gives it.

        They are tokenised together and parted where the context's own tokens end, as lm-evaluation-harness does; an empty
        context is the end-of-text token. Contexts too long lose their beginning.
        """
        stripped = context.rstrip()
        context, continuation = (stripped, context[len(stripped) :] + continuation) if stripped else ("", continuation)
        start = self._tokenizer(context)["input_ids"] if context else [self._first()]
        whole = self._tokenizer(context + continuation)["input_ids"] if context else [*start, *self._tokenizer(continuation)["input_ids"]]
        return self._logp_of(whole, len(whole) - len(start))

    def loglikelihood_rolling(self, text: str) -> float:
        """Log-probability in nats of a whole text, window by window; each token is predicted once."""
        ids, total, window = self._tokenizer(text)["input_ids"], 0.0, self._longest - 1
        before = self._first()
        for start in range(0, len(ids), window):
            part = ids[start : start + window]
            total += self._logp_of([before, *part], len(part))[0]
            before = part[-1]
        return total

    def _first(self) -> int:
        found = self._tokenizer.bos_token_id if self._tokenizer.bos_token_id is not None else self._tokenizer.eos_token_id
        return int(found if found is not None else 0)

    def _logp_of(self, ids: list[int], last: int) -> tuple[float, bool]:
        """Of the `last` tokens."""
        import torch

        if last <= 0:
            return 0.0, True
        kept = torch.tensor([ids[-(self._longest + 1) :]], device=self._model.device)
        with torch.inference_mode():
            logp_LV = self._model(kept[:, :-1]).logits[0, -last:].float().log_softmax(-1)
        said = kept[0, -last:]
        return float(logp_LV.gather(1, said[:, None]).sum()), bool((logp_LV.argmax(-1) == said).all())


def _refuse_pickles(source: str) -> None:
    """A folder whose weights are pickles only is refused: loading one can run anything."""
    folder = Path(source)
    if folder.is_dir() and not list(folder.glob("*.safetensors")):
        found = [p.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for p in folder.glob(pattern)]
        what = f"its weights are pickles ({found[0]}), which can run any code" if found else "it holds no safetensors weights"
        raise LimbeckError(f"this model is refused: {what}", str(folder), "convert it to safetensors first")
