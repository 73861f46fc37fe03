"""Names in a recipe or on the command line become objects: one literal dict a kind; plugins enter through entry points."""

from __future__ import annotations

import difflib
import inspect
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module, metadata, resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from limbeck.answerer import Posed
from limbeck.errors import LimbeckError
from limbeck.recipe.schema import TeacherSection
from limbeck.records import Candidate, Example, Prompt, content_id
from limbeck.run import hash_file
from limbeck.task import Task

TASKS = {
    "cf": "limbeck.tasks.cf.task:CFTask", "bash": "limbeck.tasks.bash.task:BashTask", "python": "limbeck.tasks.python.task:PythonTask",
     "medec": "limbeck.tasks.medec.task:MedecTask", "gsm8k": "limbeck.tasks.gsm8k:Gsm8kTask",
    "mgsm": "limbeck.tasks.gsm8k:MgsmTask", "mmlu": "limbeck.tasks.choices:MmluTask", "arc": "limbeck.tasks.choices:ArcTask", "ifeval": "limbeck.tasks.ifeval.task:IfevalTask",
    "truthfulqa": "limbeck.tasks.choices:TruthfulQaTask", "gpqa": "limbeck.tasks.choices:GpqaTask", "bbh": "limbeck.tasks.bbh:BbhTask", "nexus": "limbeck.tasks.nexus:NexusTask",
    "truthfulqa-generation": "limbeck.tasks.truthfulqa:TruthfulQaGenerationTask", "humaneval": "limbeck.tasks.programs:HumanEvalTask", "mbpp": "limbeck.tasks.programs:MbppTask", "odex": "limbeck.tasks.programs:OdexTask",
    "gsm": "limbeck.tasks.reasoning:GsmTask", "countdown": "limbeck.tasks.reasoning:CountdownTask", "puzzle24": "limbeck.tasks.reasoning:Puzzle24Task",
    "functions": "limbeck.tasks.functions:FunctionsTask",
}  # fmt: skip
OWN_MACHINE = {"localhost", "127.0.0.1", "::1", "0.0.0.0"}  # a server here sends no bill
CODECS = {"cf": "limbeck.tasks.cf.codec:CFCodec", "bash": "limbeck.tasks.bash.codec:BashCodec", "python": "limbeck.tasks.python.codec:PythonCodec"}
BASELINES = {  # by task
    "cf": {"nearest": "limbeck.tasks.cf.baselines:NearestNeighbour", "majority": "limbeck.tasks.cf.baselines:Majority"},
    "bash": {"nearest": "limbeck.tasks.bash.baselines:NearestCommand"},
    "python": {"nearest": "limbeck.tasks.python.baselines:NearestLine"},
    "medec": {"words": "limbeck.tasks.medec.words:Words"},
    "functions": {"nearest": "limbeck.tasks.functions:NearestFunction"},
}
BUILTINS = {"cf": "cf", "bash": "bash", "python": "python"}  # name: the task it serves; weights in limbeck/experts/NAME
# Nats a candidate loses for marking nothing or everything: demoted, not forbidden (3 helped in a trial, refusing did not).
DEMOTED = 3.0
REPEATED = 2.0  # nats a candidate loses for marking the same cells as a better one: five answers should be five choices


def _load(path: str) -> Any:
    module, name = path.split(":")
    return getattr(import_module(module), name)


def get_task(name: str, **settings: Any) -> Task:
    """The task called `name`, ours or a plugin's; or the one that a user's TOML file describes.

    `settings` are what a task may be asked to vary: prompt, shots, by. Those that are None were not asked for.
    """
    asked = {key: value for key, value in settings.items() if value is not None}
    if name.startswith("openai-evals:"):
        return get_openai_eval(name.removeprefix("openai-evals:"), **asked)
    if asked:
        if "judge" in asked:
            from limbeck.tasks.openai_evals.task import ask_with

            asked["judge"] = ask_with(asked["judge"])
        return _task_with(name, asked)
    if name.startswith("policy:"):
        from limbeck.align.grader import make_grader
        from limbeck.align.policy import load_policy
        from limbeck.align.sensitive import PolicyTask

        return PolicyTask(make_grader(load_policy(name.removeprefix("policy:"))))
    if name.startswith("reasoning:"):
        from limbeck.tasks.reasoning import FamilyTask

        return FamilyTask(name.removeprefix("reasoning:"))
    if name.startswith("countdown:"):
        from limbeck.tasks.reasoning import CountdownTask

        return CountdownTask(name.removeprefix("countdown:"))
    if name.startswith("functions:"):
        return _load(TASKS["functions"])(name.removeprefix("functions:"))
    if name.startswith("text:"):
        from limbeck.tasks.text_files import TextFilesTask

        return TextFilesTask(name.removeprefix("text:"))
    if name.endswith(".toml"):
        from limbeck.tasks.own import load_own_task

        return load_own_task(name)
    if name in TASKS:
        return _load(TASKS[name])()
    for entry in metadata.entry_points(group="limbeck.tasks"):
        if entry.name == name:
            return entry.load()()
    raise _unknown("task", name, TASKS)


def get_openai_eval(name: str, registry: Sequence[str] = (), judge: Any = None, complete: Any = None) -> Task:
    """An eval of the user's own OpenAI Evals registries; `judge` and `complete` are answerers, for the evals that need one."""
    from limbeck.tasks.openai_evals.task import ask_with, load_openai_eval

    return load_openai_eval(name, list(registry), judge=ask_with(judge) if judge else None, complete=ask_with(complete) if complete else None)


def _task_with(name: str, asked: dict[str, Any]) -> Task:
    name, _, rules = name.partition(":") if name.startswith("functions:") else (name, "", "")
    if rules:
        asked = {"rules": rules, **asked}
    if name not in TASKS:
        raise LimbeckError(f"task {name!r} has no settings", ", ".join(f"--{key.replace(chr(95), chr(45))}" for key in asked), f"tasks of ours: {', '.join(TASKS)}")
    maker = _load(TASKS[name])
    known = [p for p in inspect.signature(maker).parameters if p != "rules"]  # rules are said in the name
    wrong = next((key for key in asked if key not in known and key != "rules"), None)
    if wrong:
        raise LimbeckError(f"task {name!r} has no setting {wrong!r}", f"--{wrong.replace(chr(95), chr(45))}", f"it has: {', '.join(known) or 'none'}")
    return maker(**asked)


def get_codec(task: str, slots: str = "plain") -> Any:
    """The codec of a task; `slots` "typed" names copies by their kind, where the task's codec spells in pieces."""
    if task not in CODECS:
        raise _unknown("codec for task", task, CODECS)
    if slots == "plain":
        return _load(CODECS[task])()
    if "typed" not in inspect.signature(_load(CODECS[task])).parameters:
        raise LimbeckError(f"the slots of task {task!r} are typed as they are", "distill.slots", "leave it out")
    return _load(CODECS[task])(typed=True)


def _unknown(kind: str, name: str, known: Any) -> LimbeckError:
    near = difflib.get_close_matches(name, known, 1, 0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return LimbeckError(f"there is no {kind} called {name!r}", kind, f"{hint}known: {', '.join(known)}")


def get_adjust(task: Task) -> Callable[[Prompt, Sequence[str]], list[float]]:
    """What each of a prompt's ranked candidates loses: for being refused by the task's verifier, for doing what a better one does."""

    def adjust(prompt: Prompt, texts: Sequence[str]) -> list[float]:
        losses, seen = [], set()
        for check in (task.verify(prompt, Candidate(text=text)) for text in texts):
            losses.append((0.0 if check.ok else -DEMOTED) - (REPEATED if check.outcome is not None and check.outcome in seen else 0.0))
            seen.add(check.outcome)
        return losses

    return adjust


def builtin_folder(name: str) -> Path:
    """Where the weights of a builtin expert lie."""
    if name not in BUILTINS:
        raise _unknown("builtin", name, BUILTINS)
    return Path(str(resources.files("limbeck") / "experts" / name))


def expert_folder(model: str) -> Path:
    """The folder a MODEL string names: a builtin's, a run's expert, or an expert itself."""
    if model.startswith("builtin:"):
        return builtin_folder(model.removeprefix("builtin:"))
    path = Path(model)
    if (path / "expert" / "config.json").exists():
        return path / "expert"
    if (path / "run.json").exists() and not (path / "config.json").exists():
        raise LimbeckError("this run has no expert yet", model, f"finish it: limbeck make {path / 'recipe.toml'} --out {path}")
    if not path.exists():
        kinds = "builtin:NAME, a run folder, an expert's folder, baseline:NAME"
        raise LimbeckError(f"there is no model {model!r}", "MODEL", f"name one of: {kinds}")
    return path


def get_expert(model: str, task: Task, name: str | None = None) -> Any:
    """The expert a MODEL string names, ready to answer."""
    from limbeck.models.decoder import read_facts
    from limbeck.models.expert import load_expert, read_config

    folder = expert_folder(model)
    if facts := read_facts(folder):
        return posed(get_decoder_expert(folder, facts, name or model), task)
    known = str(read_config(folder).get("codec", "")) if (folder / "config.json").exists() else ""
    expert = load_expert(folder, get_codec(task.name, "typed" if known.endswith("/typed") else "plain"), name=name or model, adjust=get_adjust(task), check=lambda prompt, text: task.verify(prompt, Candidate(text=text)), family=getattr(task, "family", None))
    expert.utility = getattr(task, "utility", expert.utility)
    return expert


def posed(answerer: Any, task: Task) -> Any:
    """Somebody who reads text, asked as a task poses its requests where it has a way of its own to."""
    return Posed(answerer, get_pose(task), getattr(task, "tidy", str)) if hasattr(task, "pose") else answerer


def get_decoder_expert(folder: Path, facts: dict[str, Any], name: str) -> Any:
    """A decoder that limbeck trained: greedy for one answer, a beam for several; as long as what it learnt from, and half as long again."""
    from limbeck.teachers.endpoint import Sampling
    from limbeck.teachers.local import LocalModel

    return LocalModel(str(folder), name=name, sampling=Sampling(temperature=0.0, max_tokens=int(facts.get("longest_answer", 256) * 1.5) + 8), ranks=True, decide=facts.get("decide"))


def hash_weights(folder: Path) -> str:
    """SHA-256 of an expert's or model's weights, in one file or in several."""
    files = sorted(folder.glob("*.safetensors"))
    return hash_file(files[0]) if len(files) == 1 else content_id([hash_file(f) for f in files], 64)


def check_baseline(name: str, task: Task) -> str:
    """Where a task's baseline lives. Raises LimbeckError for one that it has not."""
    known = BASELINES.get(task.name.partition(":")[0], {})
    if name not in known:
        raise _unknown(f"baseline of task {task.name!r}", name, known or ("none",))
    return known[name]


def get_baseline(name: str, task: Task, examples: Sequence[Example]) -> Any:
    """A task's baseline that has seen these examples."""
    return _load(check_baseline(name, task)).from_examples(examples)


def get_answerer(model: str, task: Task, **asking: Any) -> Any:
    """Any MODEL; `asking` is what an endpoint takes. A baseline asked for by itself learns from the task's training split, or from 20,000 generated examples."""
    if is_language_model(model):
        return posed(get_language_model(model, **asking), task)
    if model.startswith("baseline:"):
        learnt = task.examples("train") if "train" in task.splits() else list(task.generate(1, 20_000))
        return get_baseline(model.removeprefix("baseline:"), task, learnt)
    if model.startswith("panel:"):
        from limbeck.empanelling import load_panel

        return load_panel(model, task)
    return get_expert(model, task)


def get_language_model(model: str, **asking: Any) -> Any:
    """openai:NAME, hf:FOLDER or builtin:smollm2-135m; `asking` is what an endpoint takes, weights take its sampling."""
    if model.startswith("openai:"):
        return get_endpoint(model.removeprefix("openai:"), **asking)
    return get_local(model, asking.get("sampling"))


def get_endpoint(model: str, base_url: str = "", sampling: dict[str, Any] | None = None, use_cache: bool = True, **rest: Any) -> Any:
    """A model behind an OpenAI-compatible server; the key is OPENAI_API_KEY, the address --base-url or OPENAI_BASE_URL."""
    from limbeck.data.sources import cache_folder
    from limbeck.teachers.endpoint import Endpoint, Sampling
    from limbeck.teachers.ledger import Ledger

    address = base_url or os.environ.get("OPENAI_BASE_URL", "")
    if not address:
        raise LimbeckError("no server is named", f"openai:{model}", "give --base-url http://HOST:PORT/v1 or set OPENAI_BASE_URL")
    if not address.startswith(("http://", "https://")):
        raise LimbeckError(f"{address!r} is no address of a server", "--base-url", "write it as http://HOST:PORT/v1")
    ledger = Ledger(cache_folder().parent / "ledger.sqlite") if use_cache else None
    rest.setdefault("price_usd", None if urlsplit(address).hostname in OWN_MACHINE else get_price(model))
    return Endpoint(model, address, api_key=os.environ.get("OPENAI_API_KEY", ""), sampling=Sampling(**(sampling or {})), ledger=ledger, **rest)


def get_teacher(section: TeacherSection, run: str) -> Any:
    """A recipe's language model as a teacher, with the ledger behind it; `run` names whose accounts are kept."""
    from limbeck.data.sources import cache_folder
    from limbeck.identifying import identify_model
    from limbeck.teachers.endpoint import Sampling
    from limbeck.teachers.ledger import Ledger

    sampling = Sampling(temperature=section.temperature, top_p=section.top_p, max_tokens=section.max_tokens, system=section.system, style=section.style, seed=section.seed)
    ledger = Ledger(cache_folder().parent / "ledger.sqlite")
    if section.model.startswith("openai:"):
        return _served_teacher(section, sampling, ledger, run)
    from limbeck.teachers.local import LocalModel
    from limbeck.teachers.remembered import Remembered

    source = weights_of(section.model)
    model = LocalModel(source, name=section.model, sampling=sampling)
    return Remembered(model, [identify_model(section.model), hash_weights(Path(source)) if Path(source).is_dir() else section.revision], ledger, run, offline=section.offline)


def _served_teacher(section: TeacherSection, sampling: Any, ledger: Any, run: str) -> Any:
    from limbeck.teachers.budget import Allowance
    from limbeck.teachers.endpoint import Endpoint, Output

    model, address = section.model.removeprefix("openai:"), section.base_url or os.environ.get("OPENAI_BASE_URL", "")
    if not address.startswith(("http://", "https://")):
        raise LimbeckError(f"{address!r} is no address of a server" if address else "no server is named", "teacher.base_url", "write http://HOST:PORT/v1, or set OPENAI_BASE_URL")
    host, key = urlsplit(address).hostname, os.environ.get(section.key_env, "")
    if not key and host not in OWN_MACHINE and not section.offline:
        raise LimbeckError("there is no key for this server", section.key_env, f"set {section.key_env} (any word, where the server wants none), or name another variable in teacher.key_env")
    if (section.price_in_usd is None) != (section.price_out_usd is None):
        raise LimbeckError("half a price is given", "teacher.price_in_usd, teacher.price_out_usd", "give both, in dollars a million tokens, or neither")
    price = (section.price_in_usd, section.price_out_usd) if section.price_in_usd is not None and section.price_out_usd is not None else None if host in OWN_MACHINE else get_price(model)
    return Endpoint(
        model, address, api_key=key, sampling=sampling, output=Output(schema=_schema(section.schema_file)), revision=section.revision, concurrency=section.concurrency, timeout_s=section.timeout_s,
        deadline_s=section.deadline_s, retries=section.retries, price_usd=price, allowance=Allowance(usd=section.budget_usd, tokens=section.budget_tokens, when_spent=section.when_spent), ledger=ledger, run=run, offline=section.offline, by_batch=section.batch_file,
    )  # fmt: skip


def _schema(path: str) -> dict[str, Any] | None:
    if not path:
        return None
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it is no object")
        return found
    except (OSError, ValueError) as problem:
        raise LimbeckError(f"the schema cannot be read: {problem}", f"teacher.schema_file = {path}", "name a JSON file that holds a JSON schema") from problem


def get_pose(task: Task) -> Callable[[Prompt], Prompt]:
    """How a request is put to whoever reads text: as the task poses it to language models, or as it stands."""
    if hasattr(task, "pose"):
        return task.pose  # type: ignore[attr-defined]
    if hasattr(task, "prompt_for"):
        return lambda prompt: replace(task.prompt_for(prompt.text), id=prompt.id)  # type: ignore[attr-defined]
    return lambda prompt: prompt


def weights_of(model: str) -> str:
    """The folder or hub id behind hf:ID-or-folder, builtin:smollm2-135m, a run or an expert; as it is where it has no such prefix."""
    if model == "builtin:smollm2-135m":
        if not (smollm2_folder() / "config.json").exists():
            raise LimbeckError("its weights are not here yet", model, "run `limbeck data get smollm2-135m` (93 MB)")
        return str(smollm2_folder())
    if model.startswith("hf:"):
        return model.removeprefix("hf:")
    return str(expert_folder(model)) if model.startswith("builtin:") or (Path(model) / "expert").exists() else model


def get_price(model: str) -> tuple[float, float] | None:
    """USD per million tokens, in and out, as the catalogue has it; None where it is unknown: never guessed."""
    from limbeck.catalog.facts import load_claims
    from limbeck.catalog.showing import slug

    for claim in load_claims():
        if claim.price_in_usd and claim.price_out_usd and slug(model) in {slug(n) for n in (claim.model, *claim.aliases)}:
            return claim.price_in_usd, claim.price_out_usd
    return None


def get_local(model: str, sampling: dict[str, Any] | None = None) -> Any:
    """A language model's weights on this machine."""
    from limbeck.teachers.endpoint import Sampling
    from limbeck.teachers.local import LocalModel

    return LocalModel(weights_of(model), name=model, sampling=Sampling(**(sampling or {})))


def smollm2_folder() -> Path:
    """Where `limbeck data get smollm2-135m` puts the weights."""
    from limbeck.data.sources import cache_folder

    return cache_folder().parent / "models" / "smollm2-135m"


def is_language_model(model: str) -> bool:
    """Whether a MODEL string names one that is asked with a temperature and the like."""
    return model.startswith(("openai:", "hf:")) or model == "builtin:smollm2-135m"


def _teacher(model: str, task: str) -> Any:
    return get_expert(model, get_task(task), name=model)


def get_teacher_pool(model: str, task: str) -> Any:
    """A teacher in as many processes as there are cores."""
    from limbeck.models.expert import read_config
    from limbeck.teachers.pool import TeacherPool

    folder = expert_folder(model)
    return TeacherPool(model, read_config(folder)["parameters"], partial(_teacher, model, task), count_cores())


def count_cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
