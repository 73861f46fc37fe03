"""Gates at train, export and serve, and what is written for the user: NOTICE, pointers to licences, terms.json, a paragraph for the card.

What no terms say is refused, not guessed. Who holds a permission, or judges that an expert does not compete, says so by accepting the
terms' id; that is recorded with its date. Accepting lifts a refusal, never a name, a notice or an attribution that is owed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from limbeck.catalog.binding import (
    Acceptance,
    Binding,
    Bound,
    Effect,
    Group,
    family_of,
    inherited,
    join,
    lineage,
    name_records,
    read_binding,
)
from limbeck.catalog.families import (
    HOSTED,
    OWN,
    UNKNOWN,
    UNSTATED,
    Effects,
    Terms,
    find_terms,
    get_terms,
    list_terms,
    load_terms,
    origin,
)
from limbeck.errors import LimbeckError
from limbeck.records import Origin
from limbeck.run import write_atomically

__all__ = [
    "HOSTED", "OWN", "UNKNOWN", "UNSTATED", "Acceptance", "Binding", "Bound", "Effect", "Effects", "Group", "Obligations", "Student", "Terms", "family_of", "find_terms", "gate", "get_terms", "inherited",
    "join", "lineage", "list_terms", "load_terms", "name_records", "obligations_of", "origin", "paragraph", "read_binding", "write_obligations", "write_terms",
]  # fmt: skip

Act = Literal["train", "export", "serve"]
NOT_ADVICE = "A reading of licences with its date, not legal advice: what binds you is the text itself."


@dataclass(frozen=True, slots=True, kw_only=True)
class Student:
    """Who is trained: `family` of the weights it starts from ("llama-3", or "own"), and the name it will be published under."""

    family: str = OWN
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligations:
    """What is owed by whoever publishes or serves a student. Every list holds texts or ids of terms, in a fixed order."""

    prefixes: tuple[str, ...] = ()
    displays: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    passed_on: tuple[str, ...] = ()
    attributions: tuple[str, ...] = ()
    share_alike: tuple[str, ...] = ()
    noncommercial: tuple[str, ...] = ()
    users_limits: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Each duty as a sentence."""
        told = [f'The published name begins with "{p}".' for p in self.prefixes] + [f'Show "{d}" on a page or in the documentation that goes with it.' for d in self.displays]
        told += [f"Give a copy of {_title(i)}." for i in self.copies] + [f"Pass the use restrictions of {_title(i)} on to whoever receives it." for i in self.passed_on]
        told += [f"Attribution: {a}." for a in self.attributions] + [f"Share alike ({_title(i)}): data that is published stays under it." for i in self.share_alike]
        told += [f"No commercial use ({_title(i)})." for i in self.noncommercial] + [f"Ask the holder for a licence: {u}." for u in self.users_limits]
        return told


def _title(name: str) -> str:
    return f"{load_terms()[name].title} ({name})" if name in load_terms() else name


def obligations_of(binding: Binding) -> Obligations:
    """What a binding asks for, refused or not."""
    bound = binding.bound()

    def texts(kind: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(text for b in bound if (text := getattr(b.terms.effects, kind))))

    def ids(kind: str, value: bool = True) -> tuple[str, ...]:
        return tuple(b.terms.id for b in bound if getattr(b.terms.effects, kind) is value)

    authors = {b.terms.id: sorted({o.model for o in binding.seen if b.terms.id in o.terms.split("+")}) for b in bound if b.terms.effects.attribution}
    return Obligations(
        prefixes=texts("name_prefix"), displays=texts("display"), notices=texts("notice"), copies=ids("licence_copy"), passed_on=ids("share_terms"), share_alike=ids("share_alike"), noncommercial=ids("commercial", False),
        attributions=tuple(f"{', '.join(names)}, {_title(i)}" for i, names in authors.items()), users_limits=tuple(f"{b.terms.id}, above {b.terms.effects.users_limit:,} monthly users" for b in bound if b.terms.effects.users_limit),
        accepted=tuple(f"{a.id} on {a.date}" for a in binding.accepted),
    )  # fmt: skip


def gate(binding: Binding, act: Act, student: Student, accepted: Sequence[str] = ()) -> Obligations:
    """What is owed if the act goes on. Raises LimbeckError for the first terms that forbid it, naming the record and who brought them.

    At every act: terms that are unknown, that forbid training, or allow it for another family or for models that do not compete.
    At export also: no commercial use (not accepted), and a name without the beginning that terms demand.
    """
    said = binding.accept(accepted)
    allowed = {a.id for a in said.accepted}
    refused = [(b, why) for b in binding.bound() if b.terms.id not in allowed and (why := _refusal(b.terms, act, student))]
    if refused:
        raise _refuse(binding, act, refused)
    found = obligations_of(said)
    wanting = next((p for p in sorted(found.prefixes, key=len, reverse=True) if not _begins(student.name, p)), "") if act == "export" else ""
    if wanting:
        cause = next(b for b in binding.bound() if b.terms.effects.name_prefix == wanting)
        example = f"{wanting.replace(' ', '-')}-{student.name or 'expert'}"
        raise LimbeckError(f'terms {cause.terms.id} ({cause.terms.title}) ask for a name that begins with "{wanting}"; this is {student.name!r}', _where(binding, cause), f'set terms.name = "{example}"')
    return found


def _refusal(terms: Terms, act: Act, student: Student) -> str:
    """Why terms forbid an act; "" where they do not."""
    effects = terms.effects
    if effects.train == "unknown":
        return {UNKNOWN: "nobody knows what its outputs may be used for", UNSTATED: "its texts carry no licence", HOSTED: "the terms of the server that answered are not catalogued"}.get(terms.id, "its effects are unknown")
    if effects.train == "forbidden":
        return "outputs may not train other models"
    if effects.train == "no_competing":
        return f"outputs may not develop models that compete with {terms.holder}"
    if effects.train == "same_family" and student.family != effects.family:
        return f"outputs may improve {effects.family} and its derivatives alone; the student is {student.family}"
    return "no commercial use" if act == "export" and not effects.commercial else ""


def _refuse(binding: Binding, act: str, refused: list[tuple[Bound, str]]) -> LimbeckError:
    first, why = refused[0]
    terms, others = first.terms, ", ".join(b.terms.id for b, _ in refused[1:])
    deed = {"train": "training", "export": "export", "serve": "serving"}[act]
    read = f"read the terms of {first.origin.host or 'the server'}, then " if terms.id == HOSTED else f"if you hold a permission from {terms.holder}, " if terms.effects.train in ("same_family", "forbidden") else "if you have judged that yourself, " if terms.effects.train == "no_competing" else ""
    ways = ["take another teacher"] + ([f"start from {terms.effects.family} weights"] if terms.effects.train == "same_family" else []) + (["say them (teacher.terms, distill.licence)"] if terms.id in (UNKNOWN, UNSTATED) else [])
    drop = f"drop {'this record' if first.records == 1 else f'these {first.records:,} records'} (`limbeck terms RUN --records {terms.id}` lists them for keep.opt_out)" if 0 < first.records < binding.records else ""
    also = f" Also refused: {others}." if others else ""
    return LimbeckError(f"terms {terms.id} ({terms.title}) stop this {deed}: {why}", _where(binding, first), f"{', '.join([*ways, *([drop] if drop else [])])}, or {read}--accept-terms {terms.id}, which is recorded.{also}")


def _where(binding: Binding, bound: Bound) -> str:
    share = f", {bound.records:,} of {binding.records:,} records" if bound.records else ""
    return f"{'record ' if bound.records else ''}{bound.first}: {bound.origin.role} {bound.origin.model}{share}"


def _begins(name: str, prefix: str) -> bool:
    plain = str.maketrans("_ ", "--")
    return name.translate(plain).startswith(prefix.translate(plain))


def write_terms(folder: Path, binding: Binding, accepted: Sequence[str] = (), date: str = "") -> Obligations:
    """What stands beside an expert's weights: terms.json with acceptances, NOTICE, LICENSES. Refuses nothing: gates come before.

    Acceptances that stand there already keep their dates.
    """
    before = Binding.load(folder / "terms.json").accepted if (folder / "terms.json").is_file() else ()
    said = replace(binding, accepted=(*before, *(a for a in binding.accepted if a.id not in {b.id for b in before}))).accept(accepted, date)
    found = obligations_of(said)
    write_obligations(folder, said, found)
    return found


def write_obligations(folder: Path, binding: Binding, obligations: Obligations) -> None:
    """terms.json, NOTICE, and a pointer in LICENSES for each terms that bind: where the text lies, and the hash of the text that was read."""
    binding.save(folder / "terms.json")
    write_atomically(folder / "NOTICE", _notice(binding, obligations).encode())
    for bound in binding.bound():
        if bound.terms.source:
            write_atomically(folder / "LICENSES" / f"{bound.terms.id}.txt", _pointer(bound.terms).encode())


def _notice(binding: Binding, owed: Obligations) -> str:
    parts = ["\n".join([*owed.displays, *owed.notices])] if owed.displays or owed.notices else []
    parts += ["\n".join(owed.lines())] if owed.lines() else []
    parts += ["Learnt from:\n" + "\n".join(f"  {o.role:<9} {o.model}{f' {o.revision}' if o.revision else ''}, terms {o.terms}" for o in binding.seen)] if binding.seen else []
    parts += ["Accepted: " + "; ".join(owed.accepted)] if owed.accepted else []
    return "\n\n".join([*parts, NOT_ADVICE]) + "\n"


def _pointer(terms: Terms) -> str:
    read = f"sha256 of the text read: {terms.text_sha256}\nwhich copy:              {terms.copy}" if terms.text_sha256 else f"not hashed:              {terms.quoted_from or 'read by nobody'}"
    copy = "\nA copy of this text goes along with what you distribute: fetch it from there and put it in this folder.\n" if terms.effects.licence_copy else ""
    return f"{terms.title}\nholder:                  {terms.holder}\nversion, date:           {terms.version} {terms.date}\ntext:                    {terms.source}\nread on:                 {terms.read_on}\n{read}\n{copy}"


def paragraph(origins: Sequence[Origin]) -> str:
    """What a card says of the terms of its data: who had a hand, under what, and what follows."""
    if not origins:
        return ""
    binding = join([("", tuple(dict.fromkeys(origins)))])
    who = "; ".join(f"{o.role} {o.model} ({o.terms}{f', {o.terms_date}' if o.terms_date.strip('+') else ''})" for o in binding.seen)
    owed = " ".join(obligations_of(binding).lines())
    stops = [b.terms.id for b in binding.bound() if b.terms.effects.train != "any"]
    gated = f" Training on it is gated by {', '.join(stops)}." if stops else ""
    return f"Terms: {who}.{gated}{' ' + owed if owed else ''} {NOT_ADVICE}"
