"""`limbeck teacher MODEL`: a teacher tried with a handful of tiny requests, shown check by check."""

from __future__ import annotations

import json
import sys
from typing import Any

from limbeck import resolve
from limbeck.errors import LimbeckError
from limbeck.recipe.schema import TeacherSection
from limbeck.teachers.findings import Report
from limbeck.teachers.self_test import self_test

WIDTH = 100
COLOURS = {"pass": "green", "warn": "yellow", "fail": "red", "not possible": "dim"}


def try_teacher(model: str, base_url: str, student: str, as_json: bool) -> int:
    """Prints the report; 1 where a check fails, else 0. Nothing is kept in the ledger."""
    if not resolve.is_language_model(model):
        raise LimbeckError(f"{model!r} is no language model", "MODEL", "name openai:NAME, hf:ID-or-folder or builtin:smollm2-135m; experts and generators need no trying")
    teacher = resolve.get_teacher(TeacherSection(model=model, base_url=base_url, temperature=0.0), "self-test")  # type: ignore[call-arg]
    tokenizer: Any = None
    if student:
        from limbeck.models.decoder import load_tokenizer

        tokenizer = load_tokenizer(resolve.weights_of(student))
    report = self_test(teacher, tokenizer, student=student)
    if as_json:
        sys.stdout.write(json.dumps(report.as_json(), ensure_ascii=False) + "\n")
    else:
        _print(report)
    return 1 if report.of("fail") else 0


def _print(report: Report) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"{escape(report.teacher)}: {report.calls} calls, {report.tokens_in + report.tokens_out:,} tokens, {report.seconds:.0f} s", title_justify="left")
    for heading in ("check", "outcome", "seen"):
        table.add_column(heading, overflow="fold")
    for found in report.findings:
        more = f"\n{found.matters}\nfix: {found.fix}" if found.outcome in ("warn", "fail") and found.fix else ""
        table.add_row(found.name, f"[{COLOURS[found.outcome]}]{found.outcome}[/]", escape(found.seen + more))
    Console(width=WIDTH, highlight=False, file=sys.stdout).print(table)
