"""The registry: YAML files of evals, aliases, eval sets and modelgraded specs in one or several folders.

Folders are read in the order given, then ~/.evals. A folder may be a checkout of openai/evals, its `evals` folder, or a registry.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError

RESERVED = ("key", "group", "cls")
CLASSES = {
    "evals.elsuite.basic.match:Match": "Match",
    "evals.elsuite.basic.includes:Includes": "Includes",
    "evals.elsuite.basic.fuzzy_match:FuzzyMatch": "FuzzyMatch",
    "evals.elsuite.basic.json_match:JsonMatch": "JsonMatch",
    "evals.elsuite.modelgraded.classify:ModelBasedClassify": "ModelBasedClassify",
}
ARGUMENTS = {
    "Match": {"samples_jsonl", "max_tokens", "num_few_shot", "few_shot_jsonl"},
    "Includes": {"samples_jsonl", "ignore_case"},
    "FuzzyMatch": {"samples_jsonl", "max_tokens"},
    "JsonMatch": {"samples_jsonl", "max_tokens"},
    "ModelBasedClassify": {"samples_jsonl", "modelgraded_spec", "modelgraded_spec_args", "sample_kwargs", "eval_kwargs", "multicomp_n", "eval_type", "match_fn", "metaeval"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSpec:
    """One runnable entry: its whole name (base.split.version), class, arguments and the registry it lies in."""

    name: str
    cls: str
    args: Mapping[str, Any] = field(default_factory=dict)
    registry: Path
    file: Path

    @property
    def kind(self) -> str:
        """Which of the classes that are run here this is; empty for another."""
        return CLASSES.get(self.cls, "")

    @property
    def base(self) -> str:
        """The first part of the name."""
        return self.name.split(".")[0]

    @property
    def split(self) -> str:
        """The second part of the name."""
        return self.name.split(".")[1]


@dataclass(frozen=True, slots=True)
class _Entry:
    spec: Any
    registry: Path
    file: Path


class Registry:
    """Everything that the folders register. Files are read when first asked for."""

    def __init__(self, paths: Sequence[str | Path] = (), *, home: Path | None = None) -> None:
        own = (home or Path.home()) / ".evals"
        self.paths = [find_registry(Path(p)) for p in paths] + ([own] if own.is_dir() else [])
        if not self.paths:
            raise LimbeckError("there is no registry of OpenAI Evals", str(own), "name a checkout of github.com/openai/evals or a registry folder")

    @cached_property
    def evals(self) -> dict[str, _Entry]:
        """All entries of evals/, aliases included."""
        return self._read("evals")

    @cached_property
    def modelgraded(self) -> dict[str, _Entry]:
        """All specs that say how a model grades."""
        return self._read("modelgraded")

    @cached_property
    def eval_sets(self) -> dict[str, _Entry]:
        """All named lists of evals."""
        return self._read("eval_sets")

    def get(self, name: str) -> EvalSpec:
        """The eval of this name, aliases followed. Raises LimbeckError, with the nearest names, where there is none."""
        entry, final = self._follow(name, self.evals, "eval")
        if "class" not in entry.spec:
            raise LimbeckError(f"the eval {final!r} has no class", str(entry.file), "give it `class: module:Name`")
        args = entry.spec.get("args") or {}
        if not isinstance(args, dict):
            raise LimbeckError(f"the args of {final!r} are no table", str(entry.file), "write `args:` with one key a line below it")
        return EvalSpec(name=final, cls=str(entry.spec["class"]), args=args, registry=entry.registry, file=entry.file)

    def get_modelgraded(self, name: str) -> tuple[dict[str, Any], Path]:
        """A modelgraded spec as written, and its file."""
        entry, _ = self._follow(name, self.modelgraded, "modelgraded spec")
        return entry.spec, entry.file

    def expand(self, pattern: str) -> list[EvalSpec]:
        """What an eval set, a name or a pattern (`*` stands for anything) means, aliases followed, each eval once."""
        patterns = [pattern]
        if pattern in self.eval_sets:
            patterns = self._follow(pattern, self.eval_sets, "eval set")[0].spec.get("evals") or []
        rules = [re.compile("^" + ".*".join(re.escape(part) for part in str(p).split("*")) + "$") for p in patterns]
        found = {spec.name: spec for name in self.evals if any(r.match(name) for r in rules) for spec in [self.get(name)]}
        if not found:
            raise LimbeckError(f"no eval is called {pattern!r}", "registry", _near(pattern, [*self.evals, *self.eval_sets]))
        return list(found.values())

    def runnable(self) -> list[EvalSpec]:
        """Every entry with a class, whether it is run here or not."""
        return [self.get(name) for name, entry in self.evals.items() if isinstance(entry.spec, dict) and "class" in entry.spec and "id" not in entry.spec]

    def not_run(self) -> dict[str, str]:
        """Entries that are not run here, each with its reason."""
        return {spec.name: reason for spec in self.runnable() if (reason := reason_not_run(spec))}

    def _follow(self, name: str, entries: dict[str, _Entry], kind: str) -> tuple[_Entry, str]:
        trail = [name]
        while True:
            entry = entries.get(trail[-1])
            if entry is None:
                by = f" (reached from {trail[-2]!r})" if len(trail) > 1 else ""
                raise LimbeckError(f"there is no {kind} called {trail[-1]!r}{by}", "registry", _near(trail[-1], list(entries)))
            target = entry.spec if isinstance(entry.spec, str) else entry.spec.get("id")
            if target is None:
                return entry, trail[-1]
            if target in trail:
                raise LimbeckError(f"the {kind} {name!r} is an alias of itself: {' -> '.join([*trail, target])}", str(entry.file), "let one of them have a class")
            trail.append(str(target))

    def _read(self, kind: str) -> dict[str, _Entry]:
        found: dict[str, _Entry] = {}
        for path in self.paths:
            for file, name, spec in _entries(path / kind):
                if name in found:
                    raise LimbeckError(f"{name!r} is registered twice in {kind}", f"{found[name].file} and {file}", "rename or remove one")
                if not isinstance(spec, str | dict):
                    raise LimbeckError(f"the entry {name!r} is neither a table nor the name of another", str(file), "write its keys below it")
                bad = [k for k in RESERVED if isinstance(spec, dict) and k in spec]
                if bad:
                    raise LimbeckError(f"{name!r} uses the reserved key {bad[0]!r}", str(file), "rename the key")
                found[name] = _Entry(spec, path, file)
        return found


def find_registry(path: Path) -> Path:
    """The registry in a checkout, a package folder or itself. Raises LimbeckError where there is none."""
    for place in (path, path / "evals" / "registry", path / "registry"):
        if (place / "evals").is_dir() and any((place / "evals").glob("*.yaml")):
            return place
    raise LimbeckError("this folder holds no registry of OpenAI Evals", str(path), "name a checkout of github.com/openai/evals, or a folder with evals/*.yaml")


def reason_not_run(spec: EvalSpec) -> str:
    """Why an entry is not run here; empty where it is."""
    if not spec.kind:
        return f"class {spec.cls.rpartition(':')[2]} is code of its own and not one of {', '.join(ARGUMENTS)}"
    unknown = sorted(set(spec.args) - ARGUMENTS[spec.kind])
    if unknown:
        return f"{spec.kind} has no argument {unknown[0]!r}"
    samples = str(spec.args.get("samples_jsonl", ""))
    if not samples:
        return "it names no samples_jsonl"
    if re.match(r"[a-z]+://", samples):
        return f"its samples lie at an address ({samples.split(':')[0]}) and are not fetched"
    if spec.args.get("multicomp_n") == "from_models":
        return "multicomp_n: from_models compares several models in one run"
    if spec.name.count(".") < 1:
        return "its name has no split (base.split.version)"
    return ""


def _entries(path: Path) -> Iterator[tuple[Path, str, Any]]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where libyaml is there; as safe
    for file in sorted(path.glob("*.yaml")) if path.is_dir() else ():
        try:
            table = yaml.load(file.read_text(encoding="utf-8"), Loader=loader)
        except (yaml.YAMLError, UnicodeDecodeError) as problem:
            raise LimbeckError(f"this file is no YAML: {str(problem).splitlines()[0]}", str(file), "mend it, or remove it") from problem
        for name, spec in table.items() if isinstance(table, dict) else ():
            yield file, str(name), spec


def _near(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, 3, 0.5)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"{len(names)} names are registered; see Registry.runnable()"
