"""Whose terms a model's outputs, or people's texts, are under: the registry in `terms/`, one TOML file each, and who is matched to which.

A name matches a file's `models` as a whole (suffixes such as -Instruct, -GGUF or a date aside) or its `derived` patterns in part: then
the model was made from that family, and what else it learnt from is unknown. A name that matches nothing is unknown: never guessed.
Several terms bind at once ("mit+llama-3.1"). What the files say is a reading with its date and the hash of the text read, no legal advice.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from limbeck.errors import LimbeckError
from limbeck.records import Origin

Train = Literal["any", "no_competing", "same_family", "forbidden", "unknown"]
TRAIN: tuple[str, ...] = ("any", "no_competing", "same_family", "forbidden", "unknown")  # least restrictive first
UNKNOWN, OWN, UNSTATED, HOSTED = "unknown", "own", "unstated", "hosted"
OWN_DATA = frozenset(["builtin:cf"])  # shipped experts that learnt from their task's generator alone; others say in terms.json what they owe
_SUFFIX = re.compile(
    r"-(instruct|chat|it|base|pt|turbo|instant|versatile|latest|preview|hf|free|text|gguf|ggml|awq|gptq|mlx|onnx|exl[23]|bnb|quantized|dynamic|qat|unsloth|lite|reference|distributed"
    r"|fp(4|8|16|32)|bf16|nvfp4|mxfp4|int[48]|[2-8]bit|w\d+a\d+|i?q\d(-[k\d])?(-(xs|s|m|l|xl|xxs))?|v\d+(\.\d+)*|\d{4}|\d{6,8}|\d{4}-\d{2}-\d{2}|maas|0)$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What terms ask of whoever trains on outputs or texts, in a closed vocabulary.

    `train`: any; no_competing (no models that compete with the holder's); same_family (only students made from `family`'s weights);
    forbidden; unknown. The rest binds at export and serve: the student's name begins with `name_prefix`, `display` is shown,
    `notice` stands in NOTICE, a copy of the licence goes along, use restrictions are passed on, no commercial use, attribution,
    share alike, a separate licence above `users_limit` monthly users.
    """

    train: Train = "unknown"
    family: str = ""
    name_prefix: str = ""
    display: str = ""
    notice: str = ""
    licence_copy: bool = False
    share_terms: bool = False
    commercial: bool = True
    attribution: bool = False
    share_alike: bool = False
    users_limit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """One licence or agreement as it was read. `text_sha256` is of the `copy` that was read; empty where `quoted_from` had to do."""

    id: str
    title: str
    holder: str = ""
    version: str = ""
    date: str = ""
    read_on: str = ""
    source: str = ""
    text_sha256: str = ""
    copy: str = ""
    verified: bool = False
    quoted_from: str = ""
    clauses: str = ""
    note: str = ""
    spdx: str = ""
    models: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    effects: Effects = field(default_factory=Effects)


@cache
def load_terms(extra: str = "") -> dict[str, Terms]:
    """All terms by id: ours, then those of a user's own folder (`extra`, or LIMBECK_TERMS). Raises LimbeckError for a wrong file."""
    ours = [f for f in (resources.files("limbeck") / "catalog" / "terms").iterdir() if f.name.endswith(".toml")]
    found = {t.id: t for t in sorted((parse_terms(f.name.removesuffix(".toml"), f.read_text(encoding="utf-8"), f.name) for f in ours), key=lambda t: t.id)}
    place = extra or os.environ.get("LIMBECK_TERMS", "")
    if place:
        paths = sorted(Path(place).glob("*.toml"))
        if not paths:
            raise LimbeckError("there are no terms here", f"LIMBECK_TERMS = {place}", "name a folder of .toml files, or unset it")
        found |= {path.stem: parse_terms(path.stem, path.read_text(encoding="utf-8"), str(path)) for path in paths}
    return found


def parse_terms(name: str, text: str, where: str) -> Terms:
    """One file of the registry. Raises LimbeckError, naming the key."""
    known, effects_known = {f.name for f in fields(Terms)} - {"id"}, {f.name for f in fields(Effects)}
    try:
        table: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise LimbeckError(f"these terms are no TOML: {problem}", where, "see docs/terms.md for an example") from problem
    effects = table.pop("effects", {})
    wrong = next((f"unknown key {k!r}" for k in table if k not in known), "") or next((f"unknown effect {k!r}" for k in effects if k not in effects_known), "")
    wrong = wrong or ("there is no 'title'" if not table.get("title") else "") or (f"train cannot be {effects.get('train')!r}" if effects.get("train") not in TRAIN else "")
    wrong = wrong or ("same_family needs 'family'" if effects["train"] == "same_family" and not effects.get("family") else "")
    wrong = wrong or (f"the id {name!r} has other signs than a-z, 0-9, dot and dash" if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name) else "")
    if wrong:
        raise LimbeckError(wrong, where, f"keys: {', '.join(sorted(known))}; effects: {', '.join(sorted(effects_known))}; train: {', '.join(TRAIN)}")
    lists = {k: tuple(table.pop(k, ())) for k in ("models", "derived", "licences", "hosts")}
    return Terms(id=name, effects=Effects(**effects), **lists, **table)


def list_terms() -> list[Terms]:
    """All terms, by id."""
    return sorted(load_terms().values(), key=lambda t: t.id)


def get_terms(name: str, where: str = "terms") -> Terms:
    """The terms called `name`. Raises LimbeckError with the nearest ids."""
    found = load_terms().get(name)
    if found is None:
        near = difflib.get_close_matches(name, load_terms(), 3, 0.5)
        hint = f"did you mean {', '.join(near)}? " if near else ""
        raise LimbeckError(f"no terms called {name!r} are catalogued", where, f"{hint}`limbeck terms --list` shows all; your own go into a folder that LIMBECK_TERMS names")
    return found


def split_ids(ids: str) -> tuple[str, ...]:
    """'mit+llama-3.1' is two."""
    return tuple(part.strip() for part in ids.split("+") if part.strip()) or (UNKNOWN,)


def bare_name(model: str) -> str:
    """The last part of a model's id as patterns see it: 'hf:meta-llama/Llama-3.1-8B-Instruct' is 'llama-3.1-8b-instruct'."""
    name = re.sub(r"^(hf|openai|builtin|file|people|baseline):", "", model.strip()).rstrip("/").split("/")[-1]
    return re.sub(r"[_\s:@]+", "-", name.casefold().removesuffix(".gguf")).strip("-")


def stems(model: str) -> list[str]:
    """A model's bare name, then with one suffix less at a time."""
    names = [bare_name(model)]
    while (shorter := _SUFFIX.sub("", names[-1])) != names[-1] and shorter:
        names.append(shorter)
    return names


@cache
def _patterns(kind: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((t.id, re.compile(pattern)) for t in list_terms() for pattern in getattr(t, kind))


def match_model(model: str) -> tuple[str, ...]:
    """Ids of the terms that a model's name shows; () where it shows none."""
    for name in stems(model):
        if exact := tuple(dict.fromkeys(i for i, pattern in _patterns("models") if pattern.fullmatch(name))):
            return exact
    part = dict.fromkeys(i for i, pattern in _patterns("derived") if pattern.search(bare_name(model)))
    return (*part, UNKNOWN) if part else ()


def match_licence(text: str) -> tuple[str, ...]:
    """Ids of the terms that an id ("mit+llama-3.1") or a line about a licence ("CC BY 4.0 (pages)") names; () where none is known."""
    if all(part in load_terms() for part in split_ids(text.casefold())):
        return split_ids(text.casefold())
    line, found = re.sub(r"\s+", " ", text.casefold()), []
    names = sorted(((name, t.id) for t in list_terms() for name in t.licences), key=lambda pair: -len(pair[0]))
    for name, which in names:  # longest first: "cc by-nc 4.0" is not also "cc by"
        shorter = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-]|\.\d)", " ", line)
        if shorter != line:
            line = shorter
            found.append(which)
    return tuple(dict.fromkeys(found))


def match_host(host: str) -> tuple[str, ...]:
    """Ids of the terms of a server: none for one of your own, those of its maker where we know them, else `hosted`."""
    host = host.casefold().rstrip(".")
    if not host or ("." not in host.strip("[]") and ":" not in host) or host.endswith((".local", ".internal", ".localhost")):
        return ()
    try:
        return () if ipaddress.ip_address(host.strip("[]")).is_private else (HOSTED,)
    except ValueError:
        known = tuple(t.id for t in list_terms() for name in t.hosts if host == name or host.endswith("." + name))
        return known or (HOSTED,)


def find_terms(model: str, stated: str = "", host: str = "") -> tuple[Terms, ...]:
    """The terms that bind what `model` writes, all at once; `stated` is what the user knows of them.

    A statement adds to what the name shows and stands for what it does not show; it never lightens it (that is what accepting is for).
    Raises LimbeckError for a statement that names no catalogued terms.
    """
    said = match_licence(stated) if stated else ()
    if stated and not said:
        get_terms(stated, f"terms of {model}")
    shown = _of_people(model) or _of_expert(model) or match_model(model)
    if said and UNKNOWN in shown:
        shown = tuple(i for i in shown if i != UNKNOWN)
    if said and shown == (UNSTATED,):
        shown = ()
    ids = tuple(dict.fromkeys((*said, *shown, *match_host(host)))) or (UNKNOWN,)
    if host and ids == (HOSTED,):
        ids = (UNKNOWN, HOSTED)
    return tuple(get_terms(i) for i in ids)


def _of_people(model: str) -> tuple[str, ...]:
    return (UNSTATED,) if model.startswith("people:") else (UNKNOWN,) if model.startswith("file:") else ()


def _of_expert(model: str) -> tuple[str, ...]:
    """An expert made by limbeck is its maker's own; what binds it through its teachers stands in its terms.json and is joined apart."""
    if model == "generator" or model.startswith("baseline:") or model in OWN_DATA:
        return (OWN,)
    return (OWN,) if local_folder(model) else ()


def local_folder(model: str) -> Path | None:
    """The folder of an expert that says what it owes: a run, an expert, hf:FOLDER or builtin:NAME with a terms.json; None for others."""
    scheme, _, rest = model.partition(":")
    path = Path(str(resources.files("limbeck") / "experts" / rest)) if scheme == "builtin" else Path(rest if scheme == "hf" else model)
    return path if model and not model.startswith(("openai:", "people:", "file:")) and expert_terms(path) else None


def expert_terms(path: Path) -> Path | None:
    """terms.json of an expert or of a run's expert; None where there is none."""
    return next((p for p in (path / "terms.json", path / "expert" / "terms.json") if p.is_file()), None)


def origin(role: Any, model: str, stated: str = "", *, revision: str = "", host: str = "") -> Origin:
    """Who had a hand in records, with the terms that bind it, as the catalogue has them today."""
    found = find_terms(model, stated, host)
    shas, dates = "+".join(t.text_sha256 for t in found), "+".join(t.date for t in found)
    return Origin(role=role, model=model, revision=revision, host=host, terms="+".join(t.id for t in found), terms_sha256=shas.strip("+") and shas, terms_date=dates.strip("+") and dates)
