"""A teacher with weights here, looked at from inside: vocabulary, likelihoods twice, padding, what top tokens cover, how it stops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from limbeck.records import Prompt
from limbeck.teachers.findings import Finding, finding, judge_coverage, judge_gap

LONGEST = 48


class Trial:
    """The model with its tokenizer, its own greedy answers to a few requests, and what they cost."""

    def __init__(self, model: Any, requests: Sequence[str]) -> None:
        self.model, self.tokenizer, self.network = model, model._tokenizer, model._model
        self.calls = self.tokens_in = self.tokens_out = 0
        self.texts = [model._text(Prompt(id=str(at), text=text)) for at, text in enumerate(requests)]
        self.answers = [self.write(text) for text in self.texts]

    def write(self, text: str) -> tuple[list[int], list[int], list[float]]:
        """Greedy: the ids of the request, those written, and the log-probability of each as it was written."""
        import torch

        ids = self.tokenizer(text, add_special_tokens=self.model.sampling.style == "raw", return_tensors="pt")["input_ids"].to(self.network.device)
        with torch.inference_mode():
            out = self.network.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=LONGEST, pad_token_id=self.tokenizer.pad_token_id, output_logits=True, return_dict_in_generate=True)
        said = out.sequences[0, ids.shape[1] :].tolist()
        logps = [float(step[0].float().log_softmax(-1)[token]) for step, token in zip(out.logits, said, strict=True)]
        self.calls, self.tokens_in, self.tokens_out = self.calls + 1, self.tokens_in + ids.shape[1], self.tokens_out + len(said)
        return ids[0].tolist(), said, logps

    def score(self, head: list[int], said: list[int], padding: int = 0) -> Any:
        """Log-probabilities [L, V] at what was said, by one forward pass; `padding` tokens before it that must not count."""
        import torch

        ids = torch.tensor([[self.tokenizer.pad_token_id] * padding + head + said], device=self.network.device)
        mask = torch.tensor([[0] * padding + [1] * (len(head) + len(said))], device=self.network.device)
        place = (mask.cumsum(-1) - 1).clamp(min=0)
        with torch.inference_mode():
            return self.network(ids, attention_mask=mask, position_ids=place).logits[0, -len(said) - 1 : -1].float().log_softmax(-1).cpu()


def check_weights(trial: Trial, student: Any, k: int, soft: bool) -> list[Finding]:
    """All findings; a student's tokenizer is compared where one is given."""
    found = _vocabulary(trial, student, soft) if student is not None else []
    gaps, padded, greedy, mass, tokens = [], [], 0, {}, 0
    for head, said, logps in trial.answers:
        once, again = trial.score(head, said), trial.score(head, said, padding=7)
        gaps += [abs(float(once[at, token]) - logps[at]) for at, token in enumerate(said)]
        padded += [abs(float(once[at, token] - again[at, token])) for at, token in enumerate(said)]
        greedy += sum(int(once[at].argmax()) == token for at, token in enumerate(said))
        tokens += len(said)
        for size in sorted({1, k, 64}):
            mass[size] = mass.get(size, 0.0) + float(once.exp().topk(min(size, once.shape[1]), -1).values.sum())
    is_finite = all(gap == gap and gap != float("inf") for gap in gaps)
    found += [
        finding("likelihoods", "pass" if is_finite else "fail", f"{tokens} tokens have finite log-probabilities" if is_finite else "some log-probabilities are no numbers", "take another copy of the weights, or float32"),
        judge_gap("likelihoods re-scored", gaps, "as written and scored again", "turn off caches or quantisation that change the numbers"),
        judge_gap("padding", padded, "with and without padding before", "use a model whose positions follow the attention mask"),
        finding("greedy choice", "pass" if greedy >= 0.9 * tokens else "warn", f"{greedy} of {tokens} written tokens are the likeliest when scored again", "generation_config changes the distribution (repetition penalty, forced tokens): clear it"),
        _again(trial), judge_coverage(k, {size: share / max(1, tokens) for size, share in mass.items()}, tokens), *_stops(trial),
    ]  # fmt: skip
    return found


def _vocabulary(trial: Trial, student: Any, soft: bool) -> list[Finding]:
    theirs, ours = trial.tokenizer.get_vocab(), student.get_vocab()
    other = next((token for token, at in ours.items() if theirs.get(token) != at), None)
    same = other is None and len(theirs) == len(ours)
    rows, size = int(trial.network.get_output_embeddings().weight.shape[0]), len(trial.tokenizer)
    seen = f"{len(ours):,} tokens, all with the same ids" if same else f"{len(theirs):,} tokens against {len(ours):,}" + (f"; {other!r} is {theirs.get(other)} and {ours[other]}" if other is not None else "")
    return [
        finding("vocabulary", "pass" if same else "fail" if soft else "warn", seen, "give the student the teacher's tokenizer, or learn from answers alone (distill.soft = \"off\")"),
        finding("padding rows", "pass" if rows >= size else "fail", f"{rows - size} rows beyond the tokenizer's {size:,} tokens; they are cut off before the softmax", "the table is smaller than the vocabulary: take another copy"),
    ]  # fmt: skip


def _again(trial: Trial) -> Finding:
    head, said, _ = trial.answers[0]
    again = trial.write(trial.texts[0])[1]
    same = again == said
    return finding("determinism", "pass" if same else "warn", f"the same request at temperature 0 gives the same {len(said)} tokens" if same else "the same request at temperature 0 gives other tokens", "use float32, or one thread", tokens=len(said), prompt_tokens=len(head))


def _stops(trial: Trial) -> list[Finding]:
    stop, config = trial.tokenizer.eos_token_id, trial.network.generation_config.eos_token_id
    named = set(config if isinstance(config, list) else [config])
    ended = sum(said[-1] in named | {stop} for _, said, _ in trial.answers if said)
    marks = [t for t in trial.tokenizer.all_special_tokens if any(t in trial.tokenizer.decode([i for i in said if i != stop]) for _, said, _ in trial.answers)]
    return [
        finding("stop tokens", "pass" if stop in named else "warn", f"the tokenizer ends with {stop}, generation stops at {sorted(n for n in named if n is not None)}", "put the tokenizer's eos_token_id into generation_config.json"),
        finding("stops", "pass" if ended else "warn", f"{ended} of {len(trial.answers)} answers end within {LONGEST} tokens", "raise teacher.max_tokens with care: answers that never end cost all of it"),
        finding("template marks", "warn" if marks else "pass", f"marks in answers: {', '.join(marks[:3])}" if marks else "no mark of the template is in an answer", "the model writes special tokens in mid-answer: it may want another template"),
    ]  # fmt: skip
