"""`limbeck terms`: what binds a run's data, an expert or a model's outputs, and the record that binds it; the registry; a bill of materials."""

from __future__ import annotations

import json
import sys
import textwrap
import tomllib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from limbeck.catalog.binding import read_origins
from limbeck.catalog.families import expert_terms
from limbeck.catalog.terms import (
    NOT_ADVICE,
    OWN,
    Act,
    Binding,
    Bound,
    Effects,
    Student,
    Terms,
    family_of,
    gate,
    list_terms,
    name_records,
    obligations_of,
    origin,
    read_binding,
)
from limbeck.data.opt_out import hash_text, request_id
from limbeck.errors import LimbeckError

WIDTH = 100
TRAINING = {"any": "allowed", "no_competing": "no competing models", "same_family": "its own family alone", "forbidden": "not allowed", "unknown": "unknown: refused"}


def show_terms(target: str, as_json: bool = False, bill: str = "", accepted: Sequence[str] = ()) -> None:
    """Print what binds a run, a dataset's folder, an expert, or what a model writes. Raises LimbeckError where nothing says.

    `accepted` terms are recorded, with today's date, in an expert's terms.json where there is one.
    """
    found = read_target(target)
    if accepted:
        found = {part: binding.accept(accepted) for part, binding in found.items()}
        if "expert" in found and (path := expert_terms(Path(target))):
            found["expert"].save(path)
    if bill:
        from limbeck.catalog.bill import write_bill

        part = "expert" if "expert" in found else next(iter(found))
        sys.stdout.write(json.dumps(write_bill(bill, found[part], _name(target), _made(target)), indent=1, ensure_ascii=False) + "\n")
        return
    told = {part: describe(binding, _student(target, binding), ("train",) if part == "outputs" else get_args(Act)) for part, binding in found.items()}
    if as_json:
        sys.stdout.write(json.dumps({"target": target, **told, "mind": NOT_ADVICE}, ensure_ascii=False) + "\n")
        return
    _print(target, found, told)


def read_target(target: str) -> dict[str, Binding]:
    """What binds by part: `data` and `expert` of a run, one of them of a folder, or `outputs` of a model."""
    path, found = Path(target), {}
    folder = next((f for f in (path / "distill", path) if (f / "origins.json").is_file()), None)
    if folder:
        found["data"] = read_binding(folder)
    if terms := expert_terms(path):
        found["expert"] = Binding.load(terms)
    if found:
        return found
    if target.startswith((".", "/", "~")) and not path.exists():
        raise LimbeckError(f"there is no run, expert or model {target!r}", "limbeck terms", "name a run, an expert's folder, or a MODEL such as openai:gpt-4o or hf:meta-llama/Llama-3.1-8B-Instruct")
    if path.is_dir() and not (path / "config.json").exists():
        raise LimbeckError("nothing here says who made it: no distill/origins.json, no expert/terms.json", target, "make the run again with this version, or name a model")
    if target.startswith("panel:"):
        from limbeck.empanelling import lineage

        return {"outputs": Binding(records=0).join_origin("every answer", *lineage("generator", target))}
    return {"outputs": Binding(records=0).join_origin("every answer", origin("generator", target))}


def describe(binding: Binding, student: Student, acts_asked: Sequence[Any] = get_args(Act)) -> dict[str, Any]:
    """A binding for machines: what it holds, what is owed, and whether each act passes for this student."""
    acts = {}
    for act in acts_asked:
        try:
            gate(binding, act, student)
            acts[act] = {"passes": True}
        except LimbeckError as refusal:
            acts[act] = {"passes": False, "what": refusal.what, "where": refusal.where, "fix": refusal.fix}
    return {**binding.to_dict(), "student": {"family": student.family, "name": student.name}, "acts": acts, "owed": obligations_of(binding).lines()}


def _student(target: str, binding: Binding) -> Student:
    """Whose student a run's is: of the weights it started from, with the name its recipe gives."""
    start = next((o for o in binding.seen if o.role == "base"), None)
    return Student(family=family_of(start.model) if start else OWN, name=_name(target))


def _name(target: str) -> str:
    for path in (Path(target) / "recipe.toml", Path(target).parent / "recipe.toml"):
        if path.is_file():
            try:
                recipe = tomllib.loads(path.read_text(encoding="utf-8"))
                return recipe.get("terms", {}).get("name") or recipe["recipe"]["name"]
            except (tomllib.TOMLDecodeError, KeyError, AttributeError):
                break
    return Path(target).name


def _made(target: str) -> str:
    """When the thing was made, as its files say; now for a model's name."""
    path = Path(target)
    files = [p for p in (path / "expert" / "terms.json", path / "terms.json", path / "distill" / "origins.json", path / "origins.json") if p.is_file()]
    moment = datetime.fromtimestamp(files[0].stat().st_mtime, UTC) if files else datetime.now(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def says(effects: Effects) -> str:
    """Effects in a few words, beside what they say of training."""
    told = [f'name "{effects.name_prefix}..."'] if effects.name_prefix else []
    told += [f'"{effects.display}"'] if effects.display else []
    told += ["notice"] if effects.notice else []
    told += ["licence copy"] if effects.licence_copy else []
    told += ["restrictions passed on"] if effects.share_terms else []
    told += [] if effects.commercial else ["no commercial use"]
    told += ["attribution"] if effects.attribution else []
    told += ["share alike"] if effects.share_alike else []
    told += [f"licence above {effects.users_limit // 1_000_000} million users"] if effects.users_limit else []
    return ", ".join(told)


def _print(target: str, found: dict[str, Binding], told: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(width=WIDTH, highlight=False)
    for part, binding in found.items():
        console.print(_table(part, target, binding))
        fixes: set[str] = set()
        for act, said in told[part]["acts"].items():
            lines = ["passes"] if said["passes"] else [f"refused: {said['what']}"] + ([f"where: {said['where']}", f"fix: {said['fix']}"] if said["fix"] not in fixes else [])
            fixes.add(said.get("fix", ""))
            _say(console, act, lines)
        _say(console, "owed", told[part]["owed"])
        _say(console, "accepted", [f"{a.id} on {a.date}" for a in binding.accepted])
        console.print("")
    console.print(NOT_ADVICE)


def _say(console: Any, heading: str, lines: Sequence[str]) -> None:
    """Lines under a heading on the left, wrapped under themselves."""
    for at, line in enumerate(lines):
        text = textwrap.fill(line, WIDTH, initial_indent=f"{heading if at == 0 else '':<9}", subsequent_indent=" " * 9, break_on_hyphens=False)
        console.print(text, markup=False)


def _table(part: str, target: str, binding: Binding) -> Any:
    from rich.markup import escape
    from rich.table import Table

    title = {"data": f"what binds the data of {target}: {binding.records:,} records", "expert": f"what binds the expert of {target}", "outputs": f"what binds the outputs of {target}"}[part]
    table = Table(title=escape(title), title_justify="left")
    for heading, width in (("terms", 15), ("training on it", 13), ("owed at export", 23), ("records", 9), ("first", 12), ("by", None)):
        table.add_column(heading, overflow="fold", max_width=width, justify="right" if heading == "records" else "left")
    for b in binding.bound():
        table.add_row(b.terms.id, TRAINING[b.terms.effects.train], says(b.terms.effects), f"{b.records:,}" if b.records else "", escape(b.first), escape(f"{b.origin.role} {b.origin.model}{_dated(b)}"))
    return table


def _dated(bound: Bound) -> str:
    return f" (terms of {bound.terms.date})" if bound.terms.date else ""


def show_list(as_json: bool = False) -> None:
    """Print the registry."""
    if as_json:
        from dataclasses import asdict

        sys.stdout.write(json.dumps({t.id: asdict(t) for t in list_terms()}, ensure_ascii=False) + "\n")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title="terms that limbeck knows", title_justify="left")
    for heading, width in (("id", 21), ("dated", 10), ("training on it", 13), ("owed at export", 30), ("text", 8)):
        table.add_column(heading, overflow="fold", max_width=width)
    for terms in list_terms():
        table.add_row(terms.id, terms.date, TRAINING[terms.effects.train], says(terms.effects), terms.text_sha256[:8] or _unhashed(terms))
    console = Console(width=WIDTH, highlight=False)
    console.print(table)
    console.print(f"text: the first signs of its SHA-256; `quoted`: not read whole, or not hashed. {NOT_ADVICE}")


def _unhashed(terms: Terms) -> str:
    return "quoted" if terms.quoted_from else "-"


def terms_table() -> str:
    """The registry as a Markdown table, as docs/terms.md shows it (tests/test_terms.py keeps both equal)."""
    rows = ["| id | terms | dated | training on outputs or texts | owed at export | text read |", "|---|---|---|---|---|---|"]
    for t in list_terms():
        text = f"`{t.text_sha256[:12]}`" if t.text_sha256 else f"not hashed: {t.quoted_from}" if t.quoted_from else "-"
        title = f"[{t.title}]({t.source})" if t.source else t.title
        rows.append(f"| `{t.id}` | {title} | {t.date or '-'} | {TRAINING[t.effects.train]} | {says(t.effects) or '-'} | {text} |")
    return "\n".join(rows)


def list_records(target: str, name: str) -> Iterator[str]:
    """`id:ID` of each request of a run with a record under the terms called `name`: a list for keep.opt_out. Raises LimbeckError."""
    path = Path(target)
    folder = next((f for f in (path / "distill", path) if (f / "origins.json").is_file()), None)
    if folder is None:
        raise LimbeckError("there are no records here", target, "name a run, or its distill folder")
    ids = sorted({i for o in read_origins(folder) for i in o.terms.split("+")})
    if name not in ids:
        raise LimbeckError(f"no record here is under {name!r}", target, f"they are under: {', '.join(ids) or 'nothing'}")
    yield from dict.fromkeys(f"id:{request_id(record)}" for record in name_records(folder, name))


def hash_file_text(file: str) -> str:
    """`sha256:HEX` of a text's normal form, for an opt-out list; "-" reads standard input. Raises LimbeckError."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise LimbeckError(f"the text cannot be read: {problem}", file, "name a text file in UTF-8, or - for standard input") from problem
    if not text.strip():
        raise LimbeckError("the text is empty", file, "give the text that is objected to")
    return f"sha256:{hash_text(text)}"

