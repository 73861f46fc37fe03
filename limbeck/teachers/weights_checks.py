"""A teacher with weights here, looked at from inside: vocabulary, likelihoods twice, padding, what top tokens cover, how it stops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from limbeck.records import Prompt
from limbeck.teachers.findings import Finding, finding, judge_coverage, judge_gap

LONGEST = 48
MASS_LOST = 1e-3  # on rows without a token, on the model's own text: less is rounding


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
    found = [_vocabulary(trial, student, soft)] if student is not None else []
    gaps, padded, greedy, mass, tokens, empty = [], [], 0, {}, 0, 0.0
    for head, said, logps in trial.answers:
        once, again = trial.score(head, said), trial.score(head, said, padding=7)
        gaps += [abs(float(once[at, token]) - logps[at]) for at, token in enumerate(said)]
        padded += [abs(float(once[at, token] - again[at, token])) for at, token in enumerate(said)]
        greedy += sum(int(once[at].argmax()) == token for at, token in enumerate(said))
        tokens += len(said)
        empty += float(once[:, len(trial.tokenizer) :].exp().sum())
        for size in sorted({1, k, 64}):
            mass[size] = mass.get(size, 0.0) + float(once.exp().topk(min(size, once.shape[1]), -1).values.sum())
    is_finite = all(gap == gap and gap != float("inf") for gap in gaps)
    found += [
        finding("likelihoods", "pass" if is_finite else "fail", f"{tokens} tokens have finite log-probabilities" if is_finite else "some log-probabilities are no numbers", "take another copy of the weights, or float32"),
        judge_gap("likelihoods re-scored", gaps, "as written and scored again", "turn off caches or quantisation that change the numbers"),
        judge_gap("padding", padded, "with and without padding before", "use a model whose positions follow the attention mask"),
        finding("greedy choice", "pass" if greedy >= 0.9 * tokens else "warn", f"{greedy} of {tokens} written tokens are the likeliest when scored again", "generation_config changes the distribution (repetition penalty, forced tokens): clear it"),
        _rows(trial, empty / max(1, tokens)), _again(trial), judge_coverage(k, {size: share / max(1, tokens) for size, share in mass.items()}, tokens), *_stops(trial),
    ]  # fmt: skip
    return found


def _vocabulary(trial: Trial, student: Any, soft: bool) -> Finding:
    """Every token has one number on both sides, and a text is cut into the same ones."""
    theirs, ours = trial.tokenizer.get_vocab(), student.get_vocab()
    other = next((token for token, at in ours.items() if theirs.get(token) != at), None)
    cut = [tokenizer(" ".join(trial.texts), add_special_tokens=False)["input_ids"] for tokenizer in (trial.tokenizer, student)]
    if other is None and len(theirs) == len(ours) and cut[0] == cut[1]:
        return finding("vocabulary", "pass", f"{len(ours):,} tokens, all with the same ids, and the same {len(cut[0])} of them for two requests", tokens=len(ours))
    why = f"{other!r} is {theirs.get(other)} there and {ours[other]} here" if other is not None else f"{len(theirs) - len(ours):,} tokens are the teacher's alone" if len(theirs) != len(ours) else "the same tokens, but texts are cut otherwise"
    return finding("vocabulary", "fail" if soft else "warn", f"{len(theirs):,} tokens against {len(ours):,}: {why}", "give the student the teacher's tokenizer, or learn from answers alone (distill.soft = \"off\")", teacher=len(theirs), student=len(ours))


def _rows(trial: Trial, mass: float) -> Finding:
    """Rows of the output beyond the tokenizer's last token: how many, and how much of the distribution they hold on the model's own text."""
    rows, size = int(trial.network.get_output_embeddings().weight.shape[0]), len(trial.tokenizer)
    if rows < size:
        return finding("padding rows", "fail", f"{rows:,} rows for {size:,} tokens", "the table is smaller than the vocabulary: take another copy", rows=rows, tokens=size)
    outcome = "pass" if mass <= MASS_LOST else "warn"
    seen = f"{rows - size} rows beyond the tokenizer's {size:,} tokens" + (f", with {mass:.2g} of the mass: {'safe to cut' if outcome == 'pass' else 'not safe to cut'}" if rows > size else "")
    return finding("padding rows", outcome, seen, "the tokenizer lacks tokens that the model writes: take the model's own", rows=rows, tokens=size, mass=mass)


def _again(trial: Trial) -> Finding:
    head, said, _ = trial.answers[0]
    again = trial.write(trial.texts[0])[1]
    same = again == said
    return finding("determinism", "pass" if same else "warn", f"the same request at temperature 0 gives the same {len(said)} tokens" if same else "the same request at temperature 0 gives other tokens", "use float32, or one thread", tokens=len(said), prompt_tokens=len(head))


def _stops(trial: Trial) -> list[Finding]:
    stop, config = trial.tokenizer.eos_token_id, trial.network.generation_config.eos_token_id
    named = {n for n in (config if isinstance(config, list) else [config]) if n is not None}
    ended = sum(said[-1] in named for _, said, _ in trial.answers if said)
    texts = [trial.tokenizer.decode([i for i in said if i not in named | {stop}]) for _, said, _ in trial.answers]
    marks = [t for t in trial.tokenizer.all_special_tokens if any(t in text for text in texts)]
    return [
        _turn_end(trial, stop, named),
        finding("stops", "pass" if ended else "warn", f"{ended} of {len(trial.answers)} answers end within {LONGEST} tokens", "raise teacher.max_tokens with care: answers that never end cost all of it"),
        finding("template marks", "warn" if marks else "pass", f"marks in answers: {', '.join(marks[:3])}" if marks else "no mark of the template is in an answer", "the model writes special tokens in mid-answer: it may want another template"),
    ]  # fmt: skip


def _turn_end(trial: Trial, stop: int, named: set[int]) -> Finding:
    """The token that the template puts after an answer must be one at which generation stops; so must the tokenizer's own, where no template is used."""
    fix = f"put it into eos_token_id of generation_config.json, beside {sorted(named)}"
    if trial.model.sampling.style == "raw" or not trial.tokenizer.chat_template:
        return finding("stop tokens", "pass" if stop in named else "warn", f"the tokenizer ends with {stop}, generation stops at {sorted(named)}", fix)
    talk = [{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "Blue."}]
    end = trial.tokenizer.apply_chat_template(talk, tokenize=False).rpartition("Blue.")[2]
    ids = trial.tokenizer(end.strip(), add_special_tokens=False)["input_ids"]
    shown = f"an answer ends with {end.strip()[:20]!r} ({ids[0] if ids else 'nothing'}), the tokenizer names {stop}, generation stops at {sorted(named)}"
    if not ids:
        return finding("stop tokens", "warn", shown, "a template that ends answers with a token: a student cannot learn to stop from this one")
    return finding("stop tokens", "pass" if ids[0] in named else "fail", shown, fix)
