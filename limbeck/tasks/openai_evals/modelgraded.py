"""ModelBasedClassify: a judge model reads question and answer and names one of several choices."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.tasks.openai_evals.samples import as_text, is_chat
from limbeck.tasks.openai_evals.verdicts import PUNCTUATION
from limbeck.tasks.openai_evals.wording import EVAL_TYPES, Wording

INVALID = "__invalid__"
MATCHES: dict[str, Callable[[str, str], bool]] = {
    "include": lambda line, choice: line in choice,  # upstream asks whether the choice includes the line, not the other way round
    "exact": lambda line, choice: line == choice,
    "endswith": lambda line, choice: line.endswith(choice),
    "starts_or_endswith": lambda line, choice: line.startswith(choice) or line.endswith(choice),
}
SENT = {"temperature": 0, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0, "n": 1, "max_tokens": 1024}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grading:
    """How one eval is graded: its spec from the registry joined with the eval's own arguments, all checked."""

    messages: tuple[dict[str, Any], ...]  # the judge's prompt, with upstream's or our instruction put at its end
    choices: tuple[str, ...]
    scores: Mapping[str, float] | None
    outputs: Mapping[str, str]  # which key of a sample is asked, and under which key its completion goes
    output_template: str
    eval_type: str
    match: str
    completions: int
    is_metaeval: bool
    extra: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    judge_sampling: Mapping[str, Any] = field(default_factory=dict)
    wording: str = ""  # upstream, ours, or empty where no instruction is added

    def choose(self, text: str) -> str:
        """The choice a judge's text names, or INVALID."""
        return find_choice(text, self.eval_type, self.match, self.choices)

    def score(self, choice: str) -> float | None:
        """What a choice is worth; an invalid one is worth the least there is; None where the spec has no scores."""
        if self.scores is None:
            return None
        return min(self.scores.values()) if choice == INVALID else self.scores[choice]

    def question(self, sample: Mapping[str, Any], completions: Mapping[str, str], place: str) -> list[dict[str, Any]]:
        """What the judge is shown. As upstream: braces in inputs arrive doubled, arguments of the eval win over the sample."""
        doubled = {k: double_braces(sample[k]) for k in self.outputs}
        values = {"n": self.completions, **completions, **sample, **doubled, **self.extra}
        shown = {k: as_text(v) if is_chat(v) and all("content" in m for m in v) else v for k, v in values.items()}
        return [{**m, "content": fill(m["content"], shown, place)} if "content" in m else dict(m) for m in self.messages]

    def join(self, completions: Sequence[str]) -> str:
        """Several completions as the one text that the judge reads."""
        parts = []
        for at, text in enumerate(completions):
            letters = {"i": at + 1, "i_abc": string.ascii_lowercase[at % 26], "i_ABC": string.ascii_uppercase[at % 26]}
            parts.append(fill(self.output_template, {**letters, "output": text, "n": len(completions)}, "output_template"))
        return "".join(parts).strip()


def read_grading(spec: Mapping[str, Any], file: Path, args: Mapping[str, Any], wording: Wording) -> Grading:
    """A modelgraded spec with an eval's arguments. Raises LimbeckError for what upstream would fail on in the middle of a run.

    Differs: with a prompt in chat form and an eval_type, upstream appends the instruction to the spec itself, once more for
    every sample; here it is there once.
    """
    for key in ("prompt", "choice_strings", "input_outputs"):
        if key not in spec:
            raise LimbeckError(f"the modelgraded spec has no {key!r}", str(file), "add it")
    completions = args.get("multicomp_n", 1)
    if isinstance(completions, bool) or not isinstance(completions, int) or completions < 1:
        raise LimbeckError(f"multicomp_n {completions!r} is not run here", str(file), "use a whole number from 1")
    if completions > 1 and not spec.get("output_template"):
        raise LimbeckError("several completions need an output_template", str(file), 'add one, such as "{i}. {output}\\n"')
    asked = args.get("eval_type")
    eval_type = spec.get("eval_type") or asked
    for name in (asked, eval_type):
        if name is not None and name not in EVAL_TYPES:
            raise LimbeckError(f"there is no eval_type {name!r}", str(file), f"known: {', '.join(EVAL_TYPES)}")
    if eval_type is None:
        raise LimbeckError("neither the eval nor its modelgraded spec has an eval_type", str(file), f"add one: {', '.join(EVAL_TYPES)}")
    match = args.get("match_fn") or "starts_or_endswith"
    if match not in MATCHES:
        raise LimbeckError(f"there is no match_fn {match!r}", str(file), f"known: {', '.join(MATCHES)}")
    choices = _choices(spec["choice_strings"], completions, file)
    prompt = spec["prompt"]
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(m) for m in prompt]
    if asked:
        instruction = double_braces(wording.instruction(asked, choices))
        messages[-1]["content"] += "\n\n" + instruction
    return Grading(
        messages=tuple(messages), choices=tuple(choices), scores=_scores(spec.get("choice_scores"), choices, file), outputs=dict(spec["input_outputs"]),
        output_template=spec.get("output_template") or "", eval_type=eval_type, match=match, completions=completions, is_metaeval=bool(args.get("metaeval")),
        extra=dict(args.get("modelgraded_spec_args") or {}), sampling=sent(args.get("sample_kwargs")), judge_sampling=sent(args.get("eval_kwargs")),
        wording=wording.whose if asked else "",
    )  # fmt: skip


def sent(changes: Mapping[str, Any] | None) -> dict[str, Any]:
    """What upstream sends with a request of this class, changed by `sample_kwargs` or `eval_kwargs`."""
    changes = dict(changes or {})
    inner = dict(changes.pop("completion_kwargs", None) or {})
    if changes.get("n_samples") is not None:
        changes["n"] = changes["n_samples"]
    changes.pop("n_samples", None)
    return {**SENT, **changes, **inner}


def _choices(given: Any, completions: int, file: Path) -> list[str]:
    named = {
        "from_n": lambda i: str(i + 1),
        "from_n_abc": lambda i: string.ascii_lowercase[i % 26],
        "from_n_ABC": lambda i: string.ascii_uppercase[i % 26],
    }
    choices = [named[given](i) for i in range(completions)] if isinstance(given, str) and given in named else list(given)
    for choice in choices:
        if not isinstance(choice, str):
            raise LimbeckError(f"the choice {choice!r} is no text", str(file), 'put it in quotation marks: YAML reads Yes and No as true and false, so write "Yes"')
        if any(c in PUNCTUATION for c in choice):
            raise LimbeckError(f"the choice {choice!r} holds punctuation, which is taken out of answers", str(file), "use letters, digits and spaces")
    return choices


def _scores(given: Any, choices: Sequence[str], file: Path) -> dict[str, float] | None:
    if given is None:
        return None
    try:
        scores = {c: float(c) for c in choices} if given == "from_strings" else {c: float(given[c]) for c in given}
    except (TypeError, ValueError) as problem:
        raise LimbeckError(f"the choice_scores are no numbers: {problem}", str(file), "give each choice a number, or from_strings where choices are numbers") from problem
    missing = [c for c in choices if c not in scores]
    if missing:
        raise LimbeckError(f"the choice {missing[0]!r} has no score", str(file), 'add it to choice_scores (in quotation marks: "Yes")')
    return scores


def find_choice(text: str, eval_type: str, match: str, choices: Sequence[str]) -> str:
    """The first line, bare of punctuation, that matches a choice, the choices tried in order; the last line first for cot_*."""
    lines = text.strip().split("\n")
    for line in reversed(lines) if eval_type.startswith("cot_classify") else lines:
        bare = "".join(c for c in line.strip() if c not in PUNCTUATION)
        for choice in choices if bare else ():
            if MATCHES[match](bare, choice):
                return choice
    return INVALID


def double_braces(value: Any) -> Any:
    """A text, or a chat's texts, with braces doubled, so that filling a template leaves them as they were."""
    if isinstance(value, str):
        return value.replace("{", "{{").replace("}", "}}")
    return [{**m, "content": double_braces(m["content"])} if "content" in m else m for m in value]


def fill(template: str, values: Mapping[str, Any], place: str) -> str:
    """The template with its {keys} replaced. Raises LimbeckError for a key that the sample lacks."""
    try:
        keys = [key for _, key, _, _ in string.Formatter().parse(template) if key is not None]
        absent = [k for k in keys if k not in values or not k.isidentifier()]
        if absent:
            raise LimbeckError(f"the judge's prompt asks for {absent[0]!r}, which is not there", place, f"it has: {', '.join(map(str, values))}")
        return template.format(**{k: values[k] for k in keys})
    except (ValueError, KeyError, IndexError, TypeError) as problem:
        raise LimbeckError(f"the judge's prompt cannot be filled: {problem}", place, "write {key}; {{ and }} for braces") from problem
