"""A panel's file: who sits in it, how they come to one answer. Frozen; an unknown key is an error; the text under a field is its help."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from limbeck.errors import LimbeckError
from limbeck.recipe.schema import Section

Kind = Literal["vote", "best", "sum", "debate", "cascade", "router"]


class AskedSection(Section):
    """One who is asked: a member, an aggregator or the teacher behind a panel."""

    model: str = Field(description="builtin:NAME, openai:NAME, hf:ID-or-folder, baseline:NAME, panel:FILE.toml, or the path of a run or expert")
    name: str = Field("", description="how the log calls it; its model unless said")
    base_url: str = Field("", description="openai: its server; OPENAI_BASE_URL unless said. Members may sit on different machines")
    key_env: str = Field("OPENAI_API_KEY", description="openai: the environment variable that holds its key")
    deadline_s: float = Field(60.0, gt=0, description="longest wait for one answer; who is later loses its vote for that request")
    temperature: float | None = Field(None, ge=0, le=5, description="language models: of the draws; 0.7 where several are asked for, else 0")
    max_tokens: int = Field(1024, ge=1, description="language models: longest answer")
    system: str = Field("", description="language models: a system message")
    seed: int | None = Field(None, ge=0, description="language models: sent with each request")
    cost: float = Field(1.0, ge=0, description="of one answer, in any unit that all share (dollars, seconds); what a cascade's curve counts")
    terms: str = Field("", description="id of the terms its answers are under, where the catalogue does not know the model")


class MemberSection(AskedSection):
    """One who sits in the panel."""

    weight: float = Field(1.0, gt=0, description="of its votes")
    samples: int = Field(1, ge=1, le=128, description="answers asked of it: draws of a language model, ranked answers of an expert")
    task: str = Field("", description="router: the job it is the specialist of")


class PanelSection(Section):
    """How the members come to one answer."""

    kind: Kind = Field(description="vote, best (of all, by the task's verifier first), sum (an aggregator writes the last), debate (of two), cascade (the teacher where they disagree), router (one specialist a request)")
    task: str = Field("", description="the job it is asked for by `limbeck ask`; --task unless said")
    early_stop: bool = Field(True, description="vote: nobody is asked any more once the lead cannot be caught")
    threshold: float | None = Field(None, ge=0, le=1, description="cascade: the agreement, router: the confidence under which the teacher is asked; from the calibration beside this file unless said")
    rounds: int = Field(2, ge=1, le=10, description="debate: times that each may answer the other")
    router: str = Field("", description="router: what `limbeck panel train-router` wrote, a .safetensors file taken from this file's folder")


class PanelFile(Section):
    """The whole file."""

    panel: PanelSection
    member: tuple[MemberSection, ...] = Field(min_length=1, description="[[member]], one after another")
    aggregator: AskedSection | None = Field(None, description="[aggregator]: sum, and debate where the two do not agree in the end")
    teacher: AskedSection | None = Field(None, description="[teacher]: cascade and router, asked where the panel is not sure")


def read_panel(path: Path) -> PanelFile:
    """The validated file. Raises LimbeckError naming the key at fault."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise LimbeckError(f"the panel's file cannot be read: {problem.strerror}", str(path), "name a TOML file: panel:FILE.toml (docs/panel.md has some)") from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise LimbeckError(f"the panel's file is no TOML: {problem}", str(path), "see docs/panel.md") from problem
    try:
        found = PanelFile.model_validate(raw)
    except ValidationError as problem:
        raise _explain(problem, path) from problem
    check_panel(found, path)
    return found


def _explain(problem: ValidationError, path: Path) -> LimbeckError:
    first = next((e for e in problem.errors() if e["type"] == "extra_forbidden"), problem.errors()[0])  # a misspelt key is why another is missing
    places = [str(p + 1) if isinstance(p, int) else str(p) for p in first["loc"]]
    section = {"panel": PanelSection, "member": MemberSection, "aggregator": AskedSection, "teacher": AskedSection}.get(places[0], PanelFile)
    known = list((section if len(places) > 1 else PanelFile).model_fields)
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(places[-1], known, 1, 0.5)
        return LimbeckError(f"unknown key {places[-1]!r}", f"{path}, {'.'.join(places)}", f"{f'did you mean {near[0]!r}? ' if near else ''}known: {', '.join(known)}")
    if first["type"] == "missing":
        return LimbeckError(f"{'.'.join(places)} is missing", str(path), "see docs/panel.md for files that work")
    return LimbeckError(f"{first['msg'][0].lower()}{first['msg'][1:]}", f"{path}, {'.'.join(places)}", "see docs/panel.md")


def check_panel(found: PanelFile, path: Path) -> None:
    """Raises LimbeckError for a file whose parts do not go together."""
    kind, members, where = found.panel.kind, found.member, str(path)
    if len(members) == 1 and members[0].samples == 1 and kind != "cascade":
        raise LimbeckError("this is a panel of one", where, f"name a second [[member]], or give {members[0].model} samples = 5 (the same one asked often)")
    names = [m.name or m.model for m in members]
    double = next((n for n in names if names.count(n) > 1), "")
    if double:
        raise LimbeckError(f"two members are called {double!r}", where, "give each a name of its own; to ask one more often, raise its samples")
    if kind == "sum" and found.aggregator is None:
        raise LimbeckError("nobody sums up", where, "add [aggregator] with the model that writes the last answer")
    if kind == "debate" and len(members) != 2:
        raise LimbeckError(f"a debate is of two, here are {len(members)}", where, "leave two [[member]], or take kind = \"sum\"")
    if kind == "cascade" and found.teacher is None:
        raise LimbeckError("there is no teacher behind this cascade", where, "add [teacher] with the model that is asked where the panel disagrees")
    if kind == "router":
        bare = next((n for n, m in zip(names, members, strict=True) if not m.task), "")
        if bare:
            raise LimbeckError(f"of which job is {bare!r} the specialist?", f"{where}, member.task", "name its task: task = \"bash\"")
        tasks = [m.task for m in members]
        if len(set(tasks)) < len(tasks):
            raise LimbeckError("two specialists of one job", f"{where}, member.task", "keep one of them, or make a panel of both and name that as the member")
