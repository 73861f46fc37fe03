"""One eval of a registry as a Task: upstream's samples in upstream's order, its sampling settings, its verdicts, its metrics."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from limbeck.answerer import Answerer
from limbeck.errors import LimbeckError
from limbeck.records import Answer, Example, Prompt, Score, Verdict, content_id
from limbeck.tasks.openai_evals import verdicts
from limbeck.tasks.openai_evals.modelgraded import INVALID, Grading, read_grading
from limbeck.tasks.openai_evals.registry import EvalSpec, Registry, reason_not_run
from limbeck.tasks.openai_evals.samples import (
    Samples,
    as_messages,
    as_text,
    asked_order,
    find_samples,
    is_chat,
    read_samples,
)
from limbeck.tasks.openai_evals.wording import Wording, find_wording
from limbeck.tasks.text_task import TextTask

RULES = "1"  # changes when a verdict or a prompt of this reader does
SENT: dict[str, dict[str, Any]] = {"Match": {"temperature": 0.0}, "Includes": {}, "FuzzyMatch": {"temperature": 0.0, "max_tokens": 100}, "JsonMatch": {"temperature": 0.0, "max_tokens": 512}}
Ask = Callable[[Sequence[Prompt]], Sequence[str | None]]  # prompts -> texts; None where none came


class OpenAIEval(TextTask):
    """An eval of class Match, Includes, FuzzyMatch or JsonMatch.

    Prompt.context["sampling"] holds exactly what upstream sends; what it does not name is the endpoint's default (Includes
    sends nothing; Match keeps max_tokens to itself). `settings` says what a log should say.
    Differs: an answer that never came is missing here, where upstream's run would stop.
    """

    def __init__(self, spec: EvalSpec) -> None:
        self.spec, self.name = spec, f"openai-evals:{spec.name}"
        self.known_splits = (spec.split,)
        self.measures = ("accuracy", "f1_score") if spec.kind == "FuzzyMatch" else ("accuracy",)
        self._samples = read_samples(find_samples(str(spec.args["samples_jsonl"]), spec.registry))
        self._few_shot = self._read_few_shot()
        self.settings: dict[str, Any] = {"class": spec.kind, "args": dict(spec.args), "samples_sha256": self._samples.sha256, "sampling": self._sampling()}
        self.version = self._version()

    def _version(self, *more: Any) -> str:
        return content_id([RULES, self.settings, self._few_shot and self._few_shot.sha256, *more], 12)

    def _sampling(self) -> dict[str, Any]:
        sampling = dict(SENT[self.spec.kind])
        if "max_tokens" in sampling and "max_tokens" in self.spec.args:
            sampling["max_tokens"] = self.spec.args["max_tokens"]
        return sampling

    def _read_few_shot(self) -> Samples | None:
        if self.spec.kind != "Match" or not self.spec.args.get("num_few_shot"):
            return None
        name = self.spec.args.get("few_shot_jsonl")
        if not name:
            raise LimbeckError(f"{self.spec.name} wants few-shot examples and names no few_shot_jsonl", str(self.spec.file), "add it")
        return read_samples(find_samples(str(name), self.spec.registry))

    def examples(self, split: str, limit: int | None = None) -> list[Example]:
        """The samples in upstream's shuffled order, cut after the shuffle; only those that are asked are checked."""
        if split not in self.known_splits:
            return super().examples(split, limit)
        return [self._example(at) for at in asked_order(len(self._samples.rows), limit or None)]

    def _row(self, at: int, *keys: str) -> tuple[dict[str, Any], str]:
        row, place = self._samples.rows[at], self._samples.places[at]
        for key in keys:
            if key not in row:
                raise LimbeckError(f"the sample has no {key!r}", place, f"it has: {', '.join(map(str, row))}")
        return row, place

    def _id(self, at: int) -> str:
        return f"{self.spec.base}.{self.spec.split}.{at}"

    def _example(self, at: int) -> Example:
        row, place = self._row(at, "input", "ideal")
        ideals = row["ideal"] if isinstance(row["ideal"], list) else [row["ideal"]]
        if not all(isinstance(i, str) for i in ideals):
            raise LimbeckError("an ideal is no text", place, 'write "ideal": "..." or a list of texts')
        if self.spec.kind == "JsonMatch":
            _check_json(ideals, place)
        return _example(self._id(at), self._messages(row["input"], place), self.settings["sampling"], tuple(ideals), self.spec.name)

    def _messages(self, given: Any, place: str) -> list[dict[str, Any]]:
        if self._few_shot is None:
            return as_messages(given, place)
        if not is_chat(given):
            raise LimbeckError("few-shot examples need an input of chat messages", place, "write the input as a list of messages")
        shown: list[dict[str, Any]] = []
        for row, where in list(zip(self._few_shot.rows, self._few_shot.places, strict=True))[: int(self.spec.args["num_few_shot"])]:
            shown += as_messages(row.get("sample"), where)
        messages = as_messages(given, place)
        return [*messages[:-1], *shown, messages[-1]]

    def judge(self, example: Example, text: str) -> dict[str, float] | str:
        """Upstream's verdict on one text."""
        kind, ideals = self.spec.kind, example.gold
        if kind == "Match":
            return {"accuracy": float(verdicts.is_match(text, ideals))}
        if kind == "Includes":
            return {"accuracy": float(verdicts.is_included(text, ideals, bool(self.spec.args.get("ignore_case", False))))}
        if kind == "JsonMatch":
            return {"accuracy": float(verdicts.is_json_match(text, ideals))}
        return {"accuracy": float(verdicts.is_fuzzy_match(text, ideals)), "f1_score": verdicts.token_f1(text, ideals)}

    def summarise(self, examples: Sequence[Example], trials: Sequence[Mapping[str, Any]]) -> list[Score]:
        """Upstream's own metrics under their own names, over what was judged."""
        firsts = {name: [t[name][0] for t in trials if t["status"] == "scored"] for name in self.measures}
        n, missing = len(firsts["accuracy"]), len(trials) - len(firsts["accuracy"])
        if n == 0:
            return []
        found = {f"upstream: {name}": math.fsum(values) / n for name, values in firsts.items()}
        if self.spec.kind in ("Match", "Includes"):
            found["upstream: boostrap_std"] = verdicts.boostrap_std(firsts["accuracy"])
        return [Score(name=name, value=None if math.isnan(value) else value, n=n, missing=missing) for name, value in found.items()]


class ModelGradedEval(OpenAIEval):
    """An eval of class ModelBasedClassify: `judge` is handed in, and `complete` where one sample needs several completions.

    Both take prompts and give texts; `complete` should be the model under examination. Where a sample brings its completions
    (a metaeval), the judge itself is examined: the prompt is the judge's and the answer is its verdict.
    Measures: score (where choices have scores), metascore (where labels are checked), and counts/CHOICE, 1 for the one chosen.
    """

    def __init__(self, spec: EvalSpec, grading: Grading, *, judge: Ask | None = None, complete: Ask | None = None) -> None:
        self._grading, self._judge, self._complete = grading, judge, complete
        self.graded: dict[str, dict[str, str]] = {}  # by example: choice, and the judge's own text
        super().__init__(spec)
        counts = tuple(f"counts/{c}" for c in (*grading.choices, INVALID))
        self.measures = (("metascore",) if grading.is_metaeval else ()) + (("score",) if grading.scores is not None else ()) + counts
        self.settings |= {"wording": grading.wording or "none", "judge_sampling": dict(grading.judge_sampling), "eval_type": grading.eval_type, "match_fn": grading.match}
        self.version = self._version(grading.messages, grading.choices, grading.scores, grading.output_template)

    def _sampling(self) -> dict[str, Any]:
        return dict(self._grading.sampling)

    def _missing_outputs(self, row: Mapping[str, Any]) -> list[tuple[str, str]]:
        return [(k, v) for k, v in self._grading.outputs.items() if v not in row]

    def _example(self, at: int) -> Example:
        grading = self._grading
        row, place = self._row(at, *grading.outputs, *(("choice",) if grading.is_metaeval else ()))
        for key in grading.outputs:
            as_messages(row[key], place)
        label = (row["choice"],) if grading.is_metaeval and isinstance(row["choice"], str) else ()  # another type equals no choice
        meta = {"sample": at, "wording": grading.wording or "none"}
        wanted = self._missing_outputs(row)
        if not wanted:
            return _example(self._id(at), grading.question(row, {}, place), grading.judge_sampling, label, self.spec.name, meta)
        return _example(self._id(at), as_messages(row[wanted[0][0]], place), grading.sampling, label, self.spec.name, meta)

    def score(self, example: Example, answer: Answer) -> Verdict:
        """One answer judged. Many at once are quicker by `score_all`."""
        return self.score_all([example], [answer])[0]

    def score_all(self, examples: Sequence[Example], answers: Sequence[Answer]) -> list[Verdict]:
        """First candidates judged, with all the questions to the judge (and all the further completions) asked together."""
        found: dict[int, Verdict] = {}
        said: dict[int, str] = {}
        for place, (example, answer) in enumerate(zip(examples, answers, strict=True)):
            if answer.status != "scored" or not answer.candidates:
                found[place] = super().score(example, answer)
            else:
                said[place] = answer.candidates[0].text
        graded = dict(said)
        asked = [p for p in said if self._missing_outputs(self._sample(examples[p]))]
        if asked:
            graded |= self._ask_judge({p: (examples[p], said[p]) for p in asked}, found)
        for place, text in graded.items():
            if place not in found:
                found[place] = self._verdict(examples[place], text)
        return [found[place] for place in range(len(examples))]

    def _sample(self, example: Example) -> dict[str, Any]:
        return self._samples.rows[example.meta["sample"]]

    def _ask_judge(self, said: dict[int, tuple[Example, str]], found: dict[int, Verdict]) -> dict[int, str]:
        if self._judge is None:
            raise LimbeckError(f"{self.spec.name} is graded by a model and none is given", "judge", "--judge MODEL names one (openai:NAME with --judge-url, hf:FOLDER)")
        completions = self._completions(said, found)
        questions: dict[int, Prompt] = {}
        for place, outputs in completions.items():
            example = said[place][0]
            shown = self._grading.question(self._sample(example), outputs, self._samples.places[example.meta["sample"]])
            questions[place] = _prompt(f"{example.id}/judge", shown, self._grading.judge_sampling)
        texts: dict[int, str] = {}
        for place, text in zip(questions, self._judge(list(questions.values())), strict=True):
            if text is None:
                found[place] = Verdict(status="failed", reason="the judge gave no answer")
            else:
                texts[place] = text
        return texts

    def _completions(self, said: dict[int, tuple[Example, str]], found: dict[int, Verdict]) -> dict[int, dict[str, str]]:
        """By place: the completions of each output, the first of them answered already, the rest drawn now."""
        texts: dict[tuple[int, str], list[str | None]] = {}
        prompts: list[tuple[tuple[int, str], Prompt]] = []
        for place, (example, first) in said.items():
            row = self._sample(example)
            for number, (key, output) in enumerate(self._missing_outputs(row)):
                texts[place, output] = [first] if number == 0 else []
                for draw in range(len(texts[place, output]), self._grading.completions):
                    messages = as_messages(row[key], self._samples.places[example.meta["sample"]])
                    prompts.append(((place, output), _prompt(f"{example.id}/{output}/{draw}", messages, self._grading.sampling)))
        if prompts and self._complete is None:
            raise LimbeckError(f"{self.spec.name} needs several completions of one sample", "complete", "hand in `complete`, which asks the model under examination")
        if prompts and self._complete is not None:
            for (where, _), text in zip(prompts, self._complete([p for _, p in prompts]), strict=True):
                texts[where].append(text)
        out: dict[int, dict[str, str]] = {place: {} for place in said}
        for (place, output), parts in texts.items():
            whole = [p for p in parts if p is not None]
            if len(whole) < len(parts):
                found[place] = Verdict(status="failed", reason="a further completion did not come")
                out.pop(place, None)
            elif place in out:
                out[place][output] = self._grading.join(whole) if self._grading.completions > 1 else whole[0]
        return out

    def _verdict(self, example: Example, text: str) -> Verdict:
        choice = self._grading.choose(text)
        self.graded[example.id] = {"choice": choice, "judge": text}
        measures = {f"counts/{c}": (float(c == choice),) for c in (*self._grading.choices, INVALID)}
        worth = self._grading.score(choice)
        if worth is not None:
            measures["score"] = (worth,)
        if self._grading.is_metaeval:
            measures["metascore"] = (float((choice,) == example.gold),)
        return Verdict(status="scored", measures=measures, reason=f"chosen: {choice}")

    def summarise(self, examples: Sequence[Example], trials: Sequence[Mapping[str, Any]]) -> list[Score]:
        """Upstream's counts of each choice that was made, mean score and mean metascore."""
        judged = [t for t in trials if t["status"] == "scored"]
        n, missing = len(judged), len(trials) - len(judged)
        counted = Counter({name: sum(t[name][0] for t in judged) for name in self.measures if name.startswith("counts/")})
        out = [Score(name=f"upstream: {name}", value=count, n=n, missing=missing) for name, count in counted.most_common() if count]
        for name in ("score", "metascore"):
            if name in self.measures and n:
                out.append(Score(name=f"upstream: {name}", value=math.fsum(t[name][0] for t in judged) / n, n=n, missing=missing))
        return out


def load_openai_eval(name: str, paths: Sequence[str | Path] = (), *, judge: Ask | None = None, complete: Ask | None = None, wording: Wording | None = None) -> OpenAIEval:
    """The eval of this name in these registries as a task. Raises LimbeckError, with the reason, for one that is not run here."""
    registry = Registry(paths)
    return make_task(registry, registry.get(name), judge=judge, complete=complete, wording=wording)


def load_openai_evals(pattern: str, paths: Sequence[str | Path] = (), *, judge: Ask | None = None, complete: Ask | None = None) -> tuple[list[OpenAIEval], dict[str, str]]:
    """The tasks that an eval set or pattern means, and those not run here with their reasons."""
    registry = Registry(paths)
    specs = registry.expand(pattern)
    skipped = {s.name: reason for s in specs if (reason := reason_not_run(s))}
    return [make_task(registry, s, judge=judge, complete=complete) for s in specs if s.name not in skipped], skipped


def make_task(registry: Registry, spec: EvalSpec, *, judge: Ask | None = None, complete: Ask | None = None, wording: Wording | None = None) -> OpenAIEval:
    """The task of one entry."""
    reason = reason_not_run(spec)
    if reason:
        raise LimbeckError(f"{spec.name} is not run here: {reason}", str(spec.file), "Registry.not_run() lists all of these")
    if spec.kind != "ModelBasedClassify":
        return OpenAIEval(spec)
    graded, file = registry.get_modelgraded(str(spec.args.get("modelgraded_spec")))
    grading = read_grading(graded, file, spec.args, wording or _find_wording(registry))
    return ModelGradedEval(spec, grading, judge=judge, complete=complete)


def ask_with(answerer: Answerer) -> Ask:
    """An answerer as a judge or for further completions. Inside a running event loop it is asked in a thread of its own."""

    def ask(prompts: Sequence[Prompt]) -> list[str | None]:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            answers = answerer.answer(prompts, k=1)
        else:
            with ThreadPoolExecutor(1) as pool:
                answers = pool.submit(answerer.answer, prompts, k=1).result()
        return [a.candidates[0].text if a.status == "scored" and a.candidates else None for a in answers]

    return ask


def _find_wording(registry: Registry) -> Wording:
    found = [find_wording(path) for path in registry.paths]
    return next((w for w in found if w.whose == "upstream"), found[0])


def _prompt(name: str, messages: list[dict[str, Any]], sampling: Mapping[str, Any]) -> Prompt:
    return Prompt(id=name, text=as_text(messages), context={"messages": messages, "sampling": dict(sampling)})


def _example(name: str, messages: list[dict[str, Any]], sampling: Mapping[str, Any], gold: tuple[str, ...], source: str, meta: Mapping[str, Any] | None = None) -> Example:
    return Example(id=name, prompt=_prompt(name, messages, sampling), gold=gold, source=source, meta=dict(meta or {}))


def _check_json(ideals: Sequence[str], place: str) -> None:
    for ideal in ideals:
        try:
            json.loads(ideal)
        except ValueError as problem:
            raise LimbeckError(f"an ideal is no JSON: {problem}", place, "JsonMatch compares JSON: write the ideal as JSON in a text") from problem
