"""What the panel room is handed: members made from a file, how a task reads answers, and whose terms bind what a panel says."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from limbeck import resolve
from limbeck.errors import LimbeckError
from limbeck.panel.members import Member
from limbeck.panel.panel import Panel
from limbeck.panel.reading import Reading, try_verifier
from limbeck.panel.schema import AskedSection, MemberSection, PanelFile, read_panel
from limbeck.recipe.schema import TeacherSection
from limbeck.records import Candidate, Example, Origin, Prompt, content_id
from limbeck.run import hash_file
from limbeck.task import Task

PREFIX = "panel:"
PLANTED = 40


def is_panel(model: str) -> bool:
    """Whether a MODEL string names a panel."""
    return model.startswith(PREFIX)


def panel_path(model: str) -> Path:
    """The file behind panel:FILE.toml, or FILE.toml itself."""
    return Path(model.removeprefix(PREFIX))


def open_panel(model: str) -> PanelFile:
    """The file and every panel in it, read. Raises LimbeckError for a cycle."""
    return _open(panel_path(model), ())


def _open(path: Path, trail: tuple[Path, ...]) -> PanelFile:
    whole = path.resolve()
    if whole in trail:
        raise LimbeckError("this panel sits in itself", " -> ".join(p.name for p in (*trail, whole)), "take one of these members out: panels may hold panels, but none that leads back")
    found = read_panel(path)
    for asked in everyone(found):
        if is_panel(asked.model):
            _open(beside(path, asked.model), (*trail, whole))
    return found


def everyone(found: PanelFile) -> list[AskedSection]:
    """Members, aggregator and teacher."""
    return [*found.member, *(a for a in (found.aggregator, found.teacher) if a)]


def beside(path: Path, model: str) -> Path:
    """A panel named in a panel's file: from that file's folder where it lies there."""
    inner = panel_path(model)
    near = path.parent / inner
    return near if near.exists() or not inner.exists() else inner


def load_panel(model: str, task: Task | None = None, threshold: float | None = None) -> Panel:
    """The panel of a file, ready to answer for `task` (a router's members have tasks of their own). Raises LimbeckError before anybody is asked."""
    path, found = panel_path(model), open_panel(model)
    if found.panel.kind == "router":
        return _load_router(model, path, found, task, threshold)
    if task is None:
        raise LimbeckError("which job is this panel asked for?", f"{model}, panel.task", "name it with --task, or in the panel's file: task = \"cf\"")
    sure = _threshold(found, path, task, threshold)
    reading = reading_of(task, needs_verifier=found.panel.kind == "best")
    members = [_seat(m, path, task) for m in found.member]
    _check_members(found, members, str(path))
    return Panel(
        model, found.panel.kind, members, reading, early_stop=found.panel.early_stop, threshold=sure, rounds=found.panel.rounds,
        aggregator=_seat(found.aggregator, path, task) if found.aggregator else None, teacher=_seat(found.teacher, path, task) if found.teacher else None, settings=settings_of(path),
    )  # fmt: skip


def _threshold(found: PanelFile, path: Path, task: Task | None, given: float | None) -> float | None:
    if given is not None or found.panel.kind != "cascade":
        return given
    if found.panel.threshold is not None:
        return found.panel.threshold
    from limbeck.panel.cascade import read_calibration

    return read_calibration(calibration_path(path), task.name if task else "", content_of(path))


def calibration_path(path: Path) -> Path:
    """Where `limbeck panel calibrate` writes."""
    return path.with_suffix(".calibration.json")


def _load_router(model: str, path: Path, found: PanelFile, task: Task | None, threshold: float | None) -> Panel:
    from limbeck.panel.router import Router

    if not found.panel.router:
        raise LimbeckError("this router has not been trained", f"{path}, panel.router", "run `limbeck panel train-router FILE.toml`, and write the file it names as router = \"FILE.safetensors\"")
    router = Router.load(path.parent / found.panel.router)
    unknown = [m.task for m in found.member if m.task not in router.labels]
    if unknown:
        raise LimbeckError(f"the router knows no task {unknown[0]!r}", f"{path}, member.task", f"it was trained for: {', '.join(router.labels)}; train it again")
    members = [_seat(m, path, resolve.get_task(m.task)) for m in found.member]
    teacher = _seat(found.teacher, path, task) if found.teacher else None
    chosen = threshold if threshold is not None else found.panel.threshold if found.panel.threshold is not None else router.threshold
    return Panel(model, "router", members, Reading(key=lambda prompt, text: text), threshold=chosen, teacher=teacher, route=router.route, settings=settings_of(path))


def _seat(asked: AskedSection, path: Path, task: Task | None) -> Member:
    samples = asked.samples if isinstance(asked, MemberSection) else 1
    speaks = resolve.is_language_model(asked.model)
    bare: Any = None
    if is_panel(asked.model):
        answerer: Any = load_panel(f"{PREFIX}{beside(path, asked.model)}", task)
    elif speaks:
        bare = _language_model(asked, samples)
        answerer = resolve.posed(bare, task) if task else bare
    elif task is None:
        raise LimbeckError(f"{asked.model} needs a task", f"{path}", "name a language model as teacher of a router, or ask with --task")
    else:
        answerer = resolve.get_answerer(asked.model, task)
    weight = asked.weight if isinstance(asked, MemberSection) else 1.0
    job = asked.task if isinstance(asked, MemberSection) else ""
    return Member(name=asked.name or asked.model, answerer=answerer, bare=bare, weight=weight, samples=samples, deadline_s=asked.deadline_s, cost=asked.cost, task=job, grows=asked.model.startswith("openai:"))


def _language_model(asked: AskedSection, samples: int) -> Any:
    temperature = asked.temperature if asked.temperature is not None else 0.7 if samples > 1 else 0.0
    if not asked.model.startswith("openai:"):
        return resolve.get_language_model(asked.model, sampling={"temperature": temperature, "max_tokens": asked.max_tokens, "system": asked.system, "seed": asked.seed})
    section = TeacherSection.model_validate({"model": asked.model, "base_url": asked.base_url, "key_env": asked.key_env, "temperature": temperature, "max_tokens": asked.max_tokens, "system": asked.system, "seed": asked.seed, "timeout_s": asked.deadline_s, "deadline_s": asked.deadline_s, "retries": 2})
    return resolve.get_teacher(section, "")


def _check_members(found: PanelFile, members: Sequence[Member], where: str) -> None:
    kind = found.panel.kind
    if kind == "vote" and len(members) == 1 and not members[0].draws:
        raise LimbeckError(f"this is a panel of one: {members[0].name} ranks its answers, so it has one vote", where, "name a second [[member]], or take kind = \"best\"")
    if kind == "debate":
        deaf = next((m for m in members if m.bare is None), None)
        if deaf:
            raise LimbeckError(f"{deaf.name} cannot debate: it reads no plain text", where, "name language models, or take kind = \"vote\"")
    if found.aggregator and not resolve.is_language_model(found.aggregator.model):
        raise LimbeckError(f"{found.aggregator.model} cannot sum up: it reads no plain text", f"{where}, aggregator.model", "name a language model: openai:NAME, hf:FOLDER or builtin:smollm2-135m")


def reading_of(task: Task, needs_verifier: bool = False) -> Reading:
    """How a task reads answers: its own canonical form, what its verifier says an answer does, else the answer marked in the text.

    Raises LimbeckError where a verifier is needed and there is none, or it passes whatever is planted.
    """
    has_verifier = _has_verifier(task)
    if needs_verifier and not has_verifier:
        raise LimbeckError(f"task {task.name!r} has no verifier to choose the best by", "panel.kind = \"best\"", "take kind = \"vote\", or a task that can check an answer without gold (cf, bash, python, countdown, puzzle24)")
    if needs_verifier:
        try_verifier(task.name, _tried_on(task), partial(_passes, task))
    return Reading(key=partial(_key, task), passes=partial(_passes, task) if has_verifier else None, pose=resolve.get_pose(task))


def _has_verifier(task: Any) -> bool:
    from limbeck.tasks.text_task import TextTask

    return type(task).verify is not TextTask.verify


def _tried_on(task: Task) -> list[Example]:
    """Examples with gold to try a verifier on: made ones, else learnt ones. Never those of an examination."""
    try:
        return list(islice(task.generate(int(content_id(["planted", task.name], 7), 16), PLANTED), PLANTED))
    except LimbeckError:
        split = next((s for s in task.splits() if s in ("dev", "train", "people-dev", "validation")), "")
        return task.examples(split, PLANTED) if split else []


def _passes(task: Task, prompt: Prompt, text: str) -> bool:
    return task.verify(prompt, Candidate(text=text)).ok


def _key(task: Any, prompt: Prompt, text: str) -> Hashable:
    if hasattr(task, "canonical"):
        return task.canonical(prompt, text)
    if not text.strip():
        return None
    from limbeck.distill.agreement import outcome_of

    check = task.verify(prompt, Candidate(text=text))
    return outcome_of(text, check.outcome) if check.ok else None


def content_of(path: Path) -> str:
    """What decides a panel's answers: the file's members and theirs, by content; thresholds are no part of it."""
    found = open_panel(str(path))
    told = found.model_dump()
    told["panel"].pop("threshold")
    inner = [content_of(beside(path, a.model)) for a in everyone(found) if is_panel(a.model)]
    weights = []
    for asked in everyone(found):
        if not (is_panel(asked.model) or asked.model.startswith(("openai:", "hf:", "baseline:"))) and asked.model != "builtin:smollm2-135m":
            weights.append(resolve.hash_weights(resolve.expert_folder(asked.model)))
    router = path.parent / found.panel.router if found.panel.router else None
    return content_id([told, inner, weights, hash_file(router) if router and router.is_file() else ""], 32)


def load_threshold(model: str) -> str:
    """The threshold that a panel answers by, as text: its file's, or that of its calibration as it lies there; "" where it has none."""
    path, found = panel_path(model), open_panel(model)
    if found.panel.threshold is not None:
        return f"{found.panel.threshold:g}"
    return hash_file(calibration_path(path)) if calibration_path(path).is_file() else ""


def task_of(model: str, prompt: Prompt) -> str:
    """For which job a panel is asked: its file says, or its router sees it in the request; "" where neither does."""
    path, found = panel_path(model), open_panel(model)
    if found.panel.task or found.panel.kind != "router" or not found.panel.router:
        return found.panel.task
    from limbeck.panel.router import Router

    named = {m.task for m in found.member}
    task = Router.load(path.parent / found.panel.router).route(prompt)[0]
    return task if task in named else ""


def load_route(model: str) -> Callable[[Prompt], tuple[str, float]]:
    """How a router panel sees which task a request is of, and how sure it is."""
    from limbeck.panel.router import Router

    path, found = panel_path(model), open_panel(model)
    if found.panel.kind != "router" or not found.panel.router:
        raise LimbeckError("this panel is no router", str(path), "name a panel of kind router that has been trained")
    return Router.load(path.parent / found.panel.router).route


def settings_of(path: Path) -> dict[str, Any]:
    """What makes two examinations of a panel comparable, for results and logs."""
    found = open_panel(str(path))
    return {"panel": str(path), "content": content_of(path), "kind": found.panel.kind, "members": [m.name or m.model for m in found.member]}


def lineage(role: Any, model: str, task: str = "") -> list[Origin]:
    """Everybody who may have a hand in what a panel says, with all they learnt from: a panel's terms are the join of its members'.

    `task` says whose texts a baseline repeats, where the file does not.
    """
    from limbeck.catalog import terms

    path, found = panel_path(model), open_panel(model)
    out: list[Origin] = []
    for asked in everyone(found):
        job = getattr(asked, "task", "") or found.panel.task or task
        if is_panel(asked.model):
            out += lineage(role, f"{PREFIX}{beside(path, asked.model)}", job)
        elif asked.model.startswith("baseline:") and job and not asked.terms:
            licence = getattr(resolve.get_task(job), "licence", "")
            out.append(terms.origin(role, f"people:{job}" if licence else "generator", licence or "own"))
        else:
            address = asked.base_url or os.environ.get("OPENAI_BASE_URL", "")
            host = urlsplit(address).hostname or "" if asked.model.startswith("openai:") else ""
            out += terms.lineage(role, asked.model, asked.terms, host=host)
    return list(dict.fromkeys(out))


def unposed(teacher: Any, pose: Callable[[Prompt], Prompt]) -> tuple[Any, Callable[[Prompt], Prompt]]:
    """A panel as teacher of text: its members pose requests themselves, so it gets them as they were. The second replaces the step's `pose`."""
    raw: dict[str, Prompt] = {}

    def remember(prompt: Prompt) -> Prompt:
        raw[prompt.id] = prompt
        return pose(prompt)

    return Unposed(teacher, raw), remember


class Unposed:
    """An answerer that is given posed requests and asks with the ones behind them."""

    def __init__(self, answerer: Any, raw: dict[str, Prompt]) -> None:
        self._answerer, self._raw = answerer, raw
        self.name, self.parameters = answerer.name, answerer.parameters

    def answer(self, prompts: Sequence[Prompt], *, k: int = 1) -> list[Any]:
        """As the answerer answers the requests behind."""
        return self._answerer.answer([self._raw.get(p.id, p) for p in prompts], k=k)
