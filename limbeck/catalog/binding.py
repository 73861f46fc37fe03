"""What binds a set of records: who had a hand in which of them, under which terms, counted in one pass.

Most restrictive wins: one record in a million under terms that forbid a training forbids it, and that record is named. A binding is saved
in an expert's folder and joined again when that expert teaches: what the first generation owes, the third owes too.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from limbeck.catalog.families import (
    OWN,
    TRAIN,
    UNKNOWN,
    Effects,
    Terms,
    bare_name,
    expert_terms,
    find_terms,
    get_terms,
    load_terms,
    local_folder,
    origin,
    split_ids,
)
from limbeck.errors import LimbeckError
from limbeck.records import Origin
from limbeck.run import write_atomically

FORMAT = 1
NOBODY = Origin(role="generator", model="nobody named", terms=UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Records in which the same origins (places in the binding's list) had a hand; `first` is the id of the first of them."""

    by: tuple[int, ...]
    records: int
    first: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Terms that bind, in how many records, with the first of those and the origin that brought them."""

    terms: Terms
    records: int
    first: str
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One effect on the whole set, and what caused it first."""

    kind: str
    value: str | bool | int
    terms: str
    records: int
    first: str
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """Terms that somebody accepted, or has permission under, on a day."""

    id: str
    date: str


@dataclass(frozen=True, kw_only=True)
class Binding:
    """`records` in all; `origins` seen; `groups` of records; the terms as they were when they were read (`snapshots`); acceptances."""

    records: int = 0
    seen: tuple[Origin, ...] = ()
    groups: tuple[Group, ...] = ()
    snapshots: Mapping[str, Terms] = field(default_factory=dict)
    accepted: tuple[Acceptance, ...] = ()

    def origins(self) -> list[Origin]:
        """All that had a hand in any record."""
        return list(self.seen)

    def bound(self) -> list[Bound]:
        """Each terms that binds, most restrictive for training first."""
        counts: dict[str, Bound] = {}
        for group in self.groups:
            here: dict[str, Origin] = {}
            for place in group.by:
                for name in split_ids(self.seen[place].terms):
                    here.setdefault(name, self.seen[place])
            for name, whose in here.items():
                old = counts.get(name)
                counts[name] = replace(old, records=old.records + group.records) if old else Bound(terms=self.terms(name), records=group.records, first=group.first, origin=whose)
        return sorted(counts.values(), key=lambda b: (-TRAIN.index(b.terms.effects.train), b.terms.id))

    def terms(self, name: str) -> Terms:
        """Terms as they bind here: today's reading of the version that was read then, or what was read then. Raises LimbeckError."""
        now, then = load_terms().get(name), self.snapshots.get(name)
        if then is not None and (now is None or now.version != then.version):
            return then
        return now or get_terms(name, "origins")

    def effects(self) -> list[Effect]:
        """The join: of each kind of effect the most restrictive value, or every text that is owed."""
        found, bound = [], self.bound()
        for kind, standard in asdict(Effects(train="any")).items():
            if kind == "family":
                continue
            told = [(getattr(b.terms.effects, kind), b) for b in bound if getattr(b.terms.effects, kind) != standard]
            told = told[:1] if kind == "train" else [min(told, key=lambda pair: pair[0])] if kind == "users_limit" and told else told
            found += [Effect(kind=kind, value=value, terms=b.terms.id, records=b.records, first=b.first, origin=b.origin) for value, b in told]
        return found

    def join(self, other: Binding) -> Binding:
        """Both sets as one; acceptances of both stay."""
        return _merge([self, other])

    def join_origin(self, what: str, *origins: Origin) -> Binding:
        """What is no record but binds as one: weights a student starts from, with their `lineage` (`what` names them in messages)."""
        seen = tuple(dict.fromkeys(origins))
        return self.join(Binding(seen=seen, groups=(Group(by=tuple(range(len(seen))), records=0, first=what),)))

    def accept(self, ids: Sequence[str], date: str = "") -> Binding:
        """The same, with terms accepted today. Raises LimbeckError for ids that the catalogue and this set do not know."""
        day, had = date or datetime.now(UTC).date().isoformat(), {a.id for a in self.accepted}
        for name in ids:
            self.terms(name) if name in self.snapshots else get_terms(name, "--accept-terms")
        return replace(self, accepted=(*self.accepted, *(Acceptance(id=name, date=day) for name in dict.fromkeys(ids) if name not in had)))

    def to_dict(self) -> dict[str, Any]:
        """For JSON. `terms` and `effects` are for readers, and hold what was read should the catalogue change."""
        bound = self.bound()
        keep = ("title", "holder", "version", "date", "source", "text_sha256")
        return {
            "format": FORMAT, "records": self.records, "origins": [asdict(o) for o in self.seen], "groups": [asdict(g) for g in self.groups],
            "terms": {b.terms.id: {k: getattr(b.terms, k) for k in keep} | {"effects": asdict(b.terms.effects), "records": b.records, "first_record": b.first} for b in bound},
            "effects": [asdict(e) for e in self.effects()], "accepted": [asdict(a) for a in self.accepted], "mind": "a reading of licences, no legal advice",
        }  # fmt: skip

    @classmethod
    def from_dict(cls, found: Any, where: str = "terms.json") -> Binding:
        """What to_dict wrote. Raises LimbeckError where it is something else."""
        try:
            if found["format"] != FORMAT:
                raise LimbeckError(f"these terms were written by another version (format {found['format']}, here {FORMAT})", where, "make the expert again with this version, or update limbeck")
            seen = tuple(Origin(**o) for o in found["origins"])
            groups = tuple(Group(by=tuple(g["by"]), records=int(g["records"]), first=str(g["first"])) for g in found["groups"])
            old = {name: Terms(id=name, effects=Effects(**t["effects"]), **{k: t[k] for k in ("title", "holder", "version", "date", "source", "text_sha256")}) for name, t in found["terms"].items()}
            accepted = tuple(Acceptance(**a) for a in found["accepted"])
            if any(not 0 <= place < len(seen) for g in groups for place in g.by):
                raise IndexError("an origin that is not listed")
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as problem:
            raise LimbeckError(f"these terms cannot be read: {problem}", where, "take the expert's folder from its run again; do not write terms.json by hand") from problem
        return cls(records=int(found["records"]), seen=seen, groups=groups, snapshots=old, accepted=accepted)

    @classmethod
    def load(cls, path: Path) -> Binding:
        """From terms.json. Raises LimbeckError."""
        try:
            return cls.from_dict(json.loads(path.read_text(encoding="utf-8")), str(path))
        except (OSError, ValueError) as problem:
            raise LimbeckError(f"these terms cannot be read: {problem}", str(path), "take the expert's folder from its run again") from problem

    def save(self, path: Path) -> None:
        """To terms.json, atomically."""
        write_atomically(path, (json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n").encode())


def _merge(bindings: Sequence[Binding]) -> Binding:
    places: dict[Origin, int] = {}
    groups: dict[tuple[int, ...], Group] = {}
    snapshots: dict[str, Terms] = {}
    for binding in bindings:
        moved = [places.setdefault(origin, len(places)) for origin in binding.seen]
        snapshots = {**binding.snapshots, **snapshots}
        for group in binding.groups:
            by = tuple(sorted({moved[place] for place in group.by}))
            old = groups.get(by)
            groups[by] = Group(by=by, records=group.records + (old.records if old else 0), first=old.first if old else group.first)
    accepted = {a.id: a for binding in reversed(bindings) for a in binding.accepted}
    return Binding(records=sum(b.records for b in bindings), seen=tuple(places), groups=tuple(groups.values()), snapshots=snapshots, accepted=tuple(accepted.values()))


def join(records: Iterable[tuple[str, Sequence[Origin]]]) -> Binding:
    """What binds records, each an id and its origins, in one pass. A record that names nobody is under unknown terms."""
    table: dict[tuple[Origin, ...], list[Any]] = {}
    total, last, entry = 0, None, [0, ""]
    for name, origins in records:
        total += 1
        if origins is not last or type(origins) is not tuple:  # a tuple cannot change between two records
            last, key = origins, tuple(origins)
            entry = table.get(key)
            if entry is None:
                entry = table[key] = [0, name]
        entry[0] += 1
    return _tabulate(total, ((key, count, first) for key, (count, first) in table.items()))


def _tabulate(total: int, table: Iterable[tuple[Sequence[Origin], int, str]]) -> Binding:
    parts = []
    for origins, count, first in table:
        seen = tuple(dict.fromkeys(origins)) or (NOBODY,)
        parts.append(Binding(seen=seen, groups=(Group(by=tuple(range(len(seen))), records=count, first=str(first)),)))
    found = replace(_merge(parts), records=total)
    return replace(found, snapshots={b.terms.id: b.terms for b in found.bound()})


def read_binding(folder: Path) -> Binding:
    """What binds a dataset's folder: `origins.json` and the `by` of each record of data.jsonl.gz. Raises LimbeckError."""
    origins, table, total = read_origins(folder), {}, 0
    for name, by in read_records(folder, len(origins)):
        total += 1
        entry = table.get(by)
        if entry is None:
            entry = table[by] = [0, name]
        entry[0] += 1
    return _tabulate(total, [([origins[place] for place in by], count, first) for by, (count, first) in table.items()])


def read_origins(folder: Path) -> list[Origin]:
    """Who had a hand in a dataset. Raises LimbeckError where it does not say."""
    path = folder / "origins.json"
    try:
        return [Origin(**origin) for origin in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError as problem:
        raise LimbeckError("nothing says who made this set", str(path), "make the run again with this version") from problem
    except (OSError, ValueError, TypeError) as problem:
        raise LimbeckError(f"who made this set cannot be read: {problem}", str(path), "make the run again with this version") from problem


def read_records(folder: Path, origins: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Each record's id and who had a hand in it; all of the set's origins where it does not say. Raises LimbeckError, naming the line."""
    path, everyone, number = folder / "data.jsonl.gz", tuple(range(origins)), 0
    try:
        with gzip.open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                record = json.loads(line)
                by = tuple(sorted(set(record["by"]))) if "by" in record else everyone
                if by and not 0 <= by[0] <= by[-1] < origins:
                    raise LimbeckError(f"a record names an origin that is not in the list of {origins}", f"{path}, line {number}", "make the run again with this version")
                yield str(record.get("id", number)), by
    except (OSError, EOFError, zlib.error) as problem:
        raise LimbeckError(f"the records cannot be read: {problem}", str(path), "make the run again") from problem
    except (ValueError, TypeError, AttributeError) as problem:
        raise LimbeckError("a record is no JSON, or names its origins in another form", f"{path}, line {number}", "make the run again") from problem


def name_records(folder: Path, name: str) -> Iterator[str]:
    """Ids of the records that are under the terms called `name`."""
    origins = read_origins(folder)
    under = {place for place, origin in enumerate(origins) if name in split_ids(origin.terms)}
    yield from (record for record, by in read_records(folder, len(origins)) if under.intersection(by) or (not by and name == UNKNOWN))


def inherited(folder: Path) -> list[Origin]:
    """Whom an expert learnt from, as it says itself: these bind whatever it teaches, and whatever starts from its weights."""
    path = expert_terms(folder)
    return Binding.load(path).origins() if path else []


def lineage(role: Any, model: str, stated: str = "", *, revision: str = "", host: str = "") -> list[Origin]:
    """A model as an origin, and all it learnt from where it is an expert that says so (a run, a folder, hf:FOLDER, builtin:NAME)."""
    folder = local_folder(model)
    found = [origin(role, model, stated, revision=revision, host=host), *(inherited(folder) if folder else ())]
    return list(dict.fromkeys(found))


def family_of(model: str) -> str:
    """Whose model this is, as licences that allow their own family mean it ("llama-3"): of an expert, the weights it started from.

    Else the first letters of its name; "own" for none.
    """
    if folder := local_folder(model):
        start = next((o.model for o in inherited(folder) if o.role == "base"), "")
        return family_of(start) if start and start != model else OWN
    families = [t.effects.family for t in find_terms(model) if t.effects.family]
    word = re.match(r"[a-z]+", bare_name(model))
    return families[0] if families else word.group() if word else OWN
