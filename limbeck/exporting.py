"""`limbeck export`: an expert's folder for others, once its terms allow it; what is owed is written beside the weights."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from limbeck import resolve
from limbeck.align.scale import refuse_worse
from limbeck.catalog import terms
from limbeck.errors import LimbeckError
from limbeck.run import disk_error

FORMS = ("hf",)


def export_expert(model: str, to: str, out: Path | None, name: str, accepted: Sequence[str], accept_worse: bool = False) -> tuple[Path, list[str]]:
    """The new folder, and each duty as a sentence. Raises LimbeckError where terms forbid it, ask for another name, or are unknown, or where its scale says that it got worse."""
    if to not in FORMS:
        raise LimbeckError(f"an expert cannot be exported as {to!r} yet", "--to", f"name one of: {', '.join(FORMS)}")
    source = resolve.expert_folder(model)
    name = name or (source.parent.name if source.name == "expert" else source.name)
    target = out or Path("exported") / name
    if target.exists() and any(target.iterdir()):
        raise LimbeckError("this folder is not empty", str(target), "name another one with --out")
    path = source / "terms.json"
    if not path.exists():
        raise LimbeckError("nothing says what binds this expert", str(path), "make its run again with this version: it writes terms.json")
    binding = terms.Binding.load(path)
    terms.gate(binding, "export", terms.Student(family=family_of_expert(binding), name=name), [*accepted, *(a.id for a in binding.accepted)])
    refuse_worse(source, accept_worse)
    try:
        shutil.copytree(source, target, dirs_exist_ok=True)
    except OSError as problem:
        raise disk_error(problem, target) from problem
    return target, terms.write_terms(target, binding, accepted).lines()


def family_of_expert(binding: terms.Binding) -> str:
    """The family of the weights that an expert started from."""
    base = next((o.model for o in binding.origins() if o.role == "base"), "")
    return terms.family_of(base) if base else terms.OWN
