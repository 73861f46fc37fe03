"""For those who live in inspect_ai: every task of ours as an `@task`, every MODEL of ours as a `@modelapi`.

    inspect eval limbeck/gsm8k --model openai/gpt-4o-mini
    inspect eval limbeck/cf -T split=people-dev --model limbeck/builtin:cf
    inspect eval their_tasks.py --model limbeck/hf:FOLDER

inspect_ai finds this module by its entry point; nothing else of limbeck imports it. Tried with inspect_ai 0.3.285.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import cache
from typing import Any

from inspect_ai import Task as InspectTask
from inspect_ai import task as inspect_task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)
from inspect_ai.scorer import Score, Target, mean, scorer, stderr
from inspect_ai.solver import TaskState, generate

from limbeck import resolve
from limbeck.records import Answer, Candidate, Prompt

ROLES = {"user": ChatMessageUser, "system": ChatMessageSystem, "assistant": ChatMessageAssistant}


def as_inspect_task(name: str, split: str = "", limit: int = 0, **settings: Any) -> InspectTask:
    """One of our tasks, with our examples, prompts and verdicts; `settings` as on our command line (shots, by, prompt)."""
    ours = resolve.get_task(name, **settings)
    if hasattr(ours, "ready"):
        ours.ready()  # type: ignore[attr-defined]
    examples = {e.id: e for e in ours.examples(split or ours.splits()[0], limit or None)}
    samples = []
    for example in examples.values():
        turns = example.prompt.context.get("messages") or [{"role": "user", "content": example.prompt.text}]
        messages: list[ChatMessage] = [ROLES[t["role"]](content=t["content"]) for t in turns]
        messages[-1].metadata = {"limbeck": json.dumps({"text": example.prompt.text, "context": dict(example.prompt.context)})}  # for answerers of ours: a table
        samples.append(Sample(id=example.id, input=messages, target=list(example.gold)))

    @scorer(metrics=[mean(), stderr()], name=f"limbeck_{ours.name}")
    def judged() -> Any:
        async def judge(state: TaskState, target: Target) -> Score:
            texts = [c.message.text for c in state.output.choices if c.message.text] if state.output.choices else []
            answer = Answer(prompt_id=str(state.sample_id), candidates=tuple(Candidate(text=t) for t in texts), status="scored" if texts else "no_answer", reason="" if texts else "empty")
            verdict = await asyncio.to_thread(ours.score, examples[str(state.sample_id)], answer)
            if verdict.status != "scored":
                return Score.unscored(explanation=verdict.reason, reason=verdict.status)
            measures = {m: float(v[0]) for m, v in verdict.measures.items()}
            return Score(value=next(iter(measures.values())), answer=texts[0], explanation=verdict.reason or None, metadata=measures)

        return judge

    return InspectTask(dataset=MemoryDataset(samples, name=f"{ours.name}/{split or ours.splits()[0]}"), solver=generate(), scorer=judged(), version=str(ours.version), name=ours.name)


def _define(name: str) -> Callable[..., InspectTask]:
    def made(split: str = "", limit: int = 0, **settings: Any) -> InspectTask:
        return as_inspect_task(name, split, limit, **settings)

    made.__name__ = made.__qualname__ = name.replace("-", "_")
    return inspect_task(made)


for _name in resolve.TASKS:
    globals()[_name.replace("-", "_")] = _define(_name)


@cache
def _answerer(model: str, task: str, sampling: str) -> Any:
    asking = {"sampling": json.loads(sampling)} if resolve.is_language_model(model) else {}
    return resolve.get_answerer(model, resolve.get_task(task), **asking)


class LimbeckAPI(ModelAPI):
    """A MODEL of ours (hf:FOLDER, builtin:NAME, a run, an expert). Experts need `-M task=NAME` where it is not cf."""

    def __init__(self, model_name: str, base_url: str | None = None, api_key: str | None = None, config: GenerateConfig = GenerateConfig(), task: str = "cf", **_: Any) -> None:  # noqa: B008
        super().__init__(model_name, base_url, api_key, [], config)
        self._task = task
        self._lock = asyncio.Lock()

    async def generate(self, input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig) -> ModelOutput:
        """One prompt at a time: the weights are one."""
        chosen = {"temperature": config.temperature or 0.0, "max_tokens": config.max_tokens or 1024, "seed": config.seed}
        answerer = _answerer(self.model_name, self._task, json.dumps(chosen))
        kept = (input[-1].metadata or {}).get("limbeck")
        context = json.loads(kept)["context"] if kept else {"messages": [{"role": m.role, "content": m.text} for m in input]}
        prompt = Prompt(id="inspect", text=json.loads(kept)["text"] if kept else input[-1].text, context=context)
        async with self._lock:
            answer = (await asyncio.to_thread(answerer.answer, [prompt], k=config.num_choices or 1))[0]
        tokens = answer.meta.get("tokens") or {}
        output = ModelOutput.from_content(model=self.model_name, content=answer.candidates[0].text if answer.candidates else "")
        output.choices += [c for text in answer.candidates[1:] for c in ModelOutput.from_content(model=self.model_name, content=text.text).choices]
        read, written = int(tokens.get("prompt") or 0), int(tokens.get("completion") or 0)
        output.usage = ModelUsage(input_tokens=read, output_tokens=written, total_tokens=read + written)
        return output


@modelapi(name="limbeck")
def limbeck() -> type[ModelAPI]:
    """`--model limbeck/MODEL`."""
    return LimbeckAPI
