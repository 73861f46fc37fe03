"""`limbeck ask`: one request in, ranked answers out; for rules, with a table and the cells they mark."""

from __future__ import annotations

import json
import re
import sys
from datetime import date
from pathlib import Path
from typing import Any

from limbeck import resolve
from limbeck.errors import LimbeckError
from limbeck.records import Answer, Prompt
from limbeck.tasks.cf.language import columns_of, parse
from limbeck.tasks.cf.table import Table, shown
from limbeck.tasks.cf.workbook import read_table, write_rule

MAX_TEXT = 2_000
_COMMON = frozenset(["the", "a", "an", "of", "in", "on", "is", "are", "and", "or", "not", "to", "for", "with", "than", "all", "any", "where", "which", "who", "over", "under", "above", "below", "top", "bottom", "least", "most", "highest", "lowest", "blank", "empty", "duplicate", "greater", "less", "equal", "between", "before", "after"])
_FOREIGN = frozenset(["el", "la", "los", "las", "de", "que", "con", "para", "por", "una", "del", "les", "des", "dans", "avec", "pour", "sur", "est", "sont", "et", "ou", "der", "die", "das", "und", "mit", "von", "ist", "nicht", "auf", "für", "alle", "zeilen", "où", "wo", "donde", "filas", "lignes", "cellules", "celdas", "resalta", "markiere", "surligne", "mayor", "menor", "größer", "il", "lo", "gli", "della", "che", "sono", "per", "maggiore", "evidenzia", "celle", "righe"])


def check_request(text: str) -> None:
    """Refuse what no rule can be read from."""
    where = "TEXT"
    if not text.strip():
        raise LimbeckError("the request is empty", where, 'say what you want, for instance "highlight sales over 500" or "find files larger than 1 GB"')
    if len(text) > MAX_TEXT:
        raise LimbeckError(f"the request has {len(text):,} characters", where, f"at most {MAX_TEXT:,} are read; one thing a request")
    letters = [c for c in text if c.isalpha()]
    unquoted = re.findall(r"[^\W\d_]+", re.sub(r"([\"“”']).*?\1", " ", text.lower()))
    foreign, common = (sum(w in known for w in unquoted) for known in (_FOREIGN, _COMMON))
    if sum(ord(c) > 0x24F for c in letters) > len(letters) / 2 or foreign > max(1, common):
        raise LimbeckError("the request does not seem to be English", where, "write it in English; names and cell texts may be in any language")


def task_of(model: str, asked: str | None, prompt: Prompt | None = None) -> str:
    """The task a MODEL is asked for: the one an expert was made for, the one a panel's file names or its router sees in the request, or the one that --task names; "" where none says."""
    if model.startswith("panel:"):
        from limbeck.empanelling import task_of as task_of_panel

        return asked or task_of_panel(model, prompt or Prompt(id="ask", text=""))
    if resolve.is_language_model(model) or model.startswith("baseline:"):
        return asked or ""
    from limbeck.models.decoder import read_facts
    from limbeck.models.expert import read_config

    folder = resolve.expert_folder(model)
    facts = read_facts(folder)
    own = str(facts["task"] if facts else read_config(folder).get("codec", "")).split("/")[0]
    if asked and asked != own:
        raise LimbeckError(f"this expert was made for task {own!r}, not {asked!r}", "--task", "leave --task out, or name another model")
    return own


def tell_missing(answer: Answer) -> None:
    """Which members of a panel an answer does without, and why: a line each on standard error."""
    for name, reason in answer.meta.get("panel", {}).get("missing", {}).items():
        sys.stderr.write(f"note: {name} was missing: {reason}\n")


def ask_rule(model: str, text: str, *, k: int, path: Path | None, sheet: str | None, today: str | None, column: int | None, write: Path | None, as_json: bool) -> None:
    """Answer on standard output, and write the workbook where asked."""
    check_request(text)
    if path is None:
        raise LimbeckError("this expert needs a table", "--table", "add --table FILE with a .csv or .xlsx file")
    task = resolve.get_task("cf")
    table = read_table(path, read_day(today), sheet)
    if column is not None and column >= len(table.headers):
        raise LimbeckError(f"there is no column {column}", "--column", f"the table has columns 0 to {len(table.headers) - 1}")
    import torch

    torch.set_num_threads(1)
    expert = resolve.get_answerer(model, task) if model.startswith("panel:") else resolve.get_expert(model, task)
    prompt = Prompt(id="ask", text=text, context={"table": table.to_json()})
    answer = expert.answer([prompt], k=k)[0]
    tell_missing(answer)
    answers = [
        {"rank": rank, "text": c.text, "score": round(c.score, 4), "cells": task.marked_cells(prompt, c.text, column)}  # type: ignore[attr-defined]
        for rank, c in enumerate(answer.candidates, 1)
    ]
    if write is not None and answers:
        write_rule(path, write, parse(answers[0]["text"]), table, sheet)
    if as_json:
        sys.stdout.write(json.dumps({"answers": answers} | ({"panel": answer.meta["panel"]} if "panel" in answer.meta else {}), ensure_ascii=False) + "\n")
    else:
        _show(answers, table)
        if write is not None and answers:
            sys.stdout.write(f"\nwrote {write}\n")


def read_day(text: str | None) -> date | None:
    """A day written as YYYY-MM-DD. Raises LimbeckError."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as problem:
        raise LimbeckError(f"{text!r} is no date", "--today", "write it as YYYY-MM-DD") from problem


def _show(answers: list[dict[str, Any]], table: Table) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as Grid

    console = Console(width=min(100, Console().width))
    if not answers:
        console.print("no answer: no candidate is a rule")
        return
    grid = Grid("rank", "rule", "score", "cells")
    for a in answers:
        grid.add_row(str(a["rank"]), escape(a["text"]), f"{a['score']:.2f}", f"{len(a['cells'])} of {len(table.rows)}")
    console.print(grid)
    marked = {tuple(cell) for cell in answers[0]["cells"]}
    at = columns_of(parse(answers[0]["text"]))[0]
    view = Grid("row", *[escape(h) for h in table.headers[: max(6, at + 1)][:8]], title="rank 1, marked cells with *", title_justify="left")
    for number, row in list(enumerate(table.rows))[:20]:
        cells = [f"[black on yellow]{escape(shown(c)[:24])} *[/]" if (number, j) in marked else escape(shown(c)[:24]) for j, c in enumerate(row[: max(6, at + 1)][:8])]
        view.add_row(str(number), *cells)
    console.print(view)
    if len(table.rows) > 20:
        console.print(f"... and {len(table.rows) - 20:,} more rows")
