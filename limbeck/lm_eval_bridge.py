"""For those who live in lm-evaluation-harness: any MODEL of ours that speaks as its `LM`.

    import limbeck.lm_eval_bridge                       # registers "limbeck"
    lm_eval.simple_evaluate(model="limbeck", model_args={"model": "hf:FOLDER"}, tasks=[...])

Generation works with every language model; likelihoods need weights on this machine. Tried with lm-eval 0.4.13.
"""

from __future__ import annotations

from typing import Any

from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from limbeck import resolve
from limbeck.errors import LimbeckError
from limbeck.records import Prompt


@register_model("limbeck")
class LimbeckLM(LM):
    """`model`: openai:NAME (with `base_url`), hf:FOLDER or builtin:smollm2-135m. Prompts go in raw unless `chat` is set."""

    def __init__(self, model: str, base_url: str = "", chat: bool = False, **_: Any) -> None:
        super().__init__()
        if not resolve.is_language_model(model):
            raise LimbeckError(f"{model!r} is no language model", "lm-eval", "name openai:NAME, hf:FOLDER or builtin:smollm2-135m")
        self._model, self._base_url, self._style = model, base_url, "chat" if chat else "raw"
        self._made: dict[tuple[float, int], Any] = {}

    def _answerer(self, temperature: float = 0.0, max_tokens: int = 256) -> Any:
        key = (temperature, max_tokens)
        if key not in self._made:
            sampling = {"temperature": temperature, "max_tokens": max_tokens, "style": self._style}
            self._made[key] = resolve.get_language_model(self._model, base_url=self._base_url, sampling=sampling)
        return self._made[key]

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Greedy (or sampled) continuations, cut at the first stop sequence. Requests of like settings are asked together."""
        out: list[str] = [""] * len(requests)
        groups: dict[tuple[float, int], list[int]] = {}
        for at, request in enumerate(requests):
            wanted = request.args[1]
            warm = float(wanted.get("temperature") or 0.0) if wanted.get("do_sample", bool(wanted.get("temperature"))) else 0.0
            groups.setdefault((warm, int(wanted.get("max_gen_toks") or wanted.get("max_tokens") or 256)), []).append(at)
        for (warm, most), places in groups.items():
            answers = self._answerer(warm, most).answer([Prompt(id=str(at), text=str(requests[at].args[0])) for at in places], k=1)
            for at, answer in zip(places, answers, strict=True):
                if answer.status == "failed":
                    raise LimbeckError(f"no answer came: {answer.reason}", self._model, "lm-eval cannot count missing answers; mend the server and run again: answers are cached")
                stops = requests[at].args[1].get("until") or []
                out[at] = _cut(answer.candidates[0].text if answer.candidates else "", [stops] if isinstance(stops, str) else stops)
        return out

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Log-probability of each continuation after its context, and whether greedy decoding would give it."""
        return [self._local().loglikelihood(str(r.args[0]), str(r.args[1])) for r in requests]

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Log-probability of each whole text, in windows that do not overlap."""
        return [self._local().loglikelihood_rolling(str(r.args[0])) for r in requests]

    def _local(self) -> Any:
        answerer = self._answerer()
        if not hasattr(answerer, "loglikelihood"):
            raise LimbeckError("a server does not give likelihoods of a text", self._model, "use the task's generative variant, or weights on this machine: hf:FOLDER")
        return answerer


def _cut(text: str, stops: list[str]) -> str:
    places = [text.find(s) for s in stops if s and s in text]
    return text[: min(places)] if places else text
