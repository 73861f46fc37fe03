"""A plan as tables in the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

ORDER = ("weights", "casts", "gradients", "moments", "mean", "slack", "activations", "logits", "optimizer", "buckets", "gathered")


def print_plan(plan: dict[str, Any], console: Console | None = None) -> None:
    """Each student's parameters, memory, time and price, then the teacher and what is assumed."""
    out = console or Console(width=100, highlight=False)
    for student in plan["students"]:
        _print_student(student, plan["seeds"], out)
    _print_teacher(plan["teacher"], out)
    share = plan["assumptions"]["share_of_peak"]
    out.print(f"\n[dim]Assumed: {100 * share[0]:.0f} to {100 * share[1]:.0f} % of an accelerator's peak is reached (this machine: measured now), {100 * plan['assumptions']['usable_memory']:.0f} % of its memory is usable, rents as entered {plan['assumptions']['prices_entered']}; training alone. docs/plan.md has formulas and sources.[/dim]")


def size(value: float | None) -> str:
    """Bytes as GB or MB; parameters and tokens share it."""
    return "-" if value is None else f"{value / 1e9:.1f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"


def hours(span: Any) -> str:
    """A span of hours, in what reads best."""
    if span is None:
        return "unknown"
    low, high = span if isinstance(span, list) else (span, span)
    unit, factor = ("s", 3600) if high < 2 / 60 else ("min", 60) if high < 2 else ("h", 1) if high < 72 else ("days", 1 / 24)
    text = [f"{v * factor:.0f}" if v * factor >= 10 else f"{v * factor:.1f}" for v in (low, high)]
    return f"{text[0]} {unit}" if low == high else f"{text[0]} to {text[1]} {unit}"


def usd(span: Any) -> str:
    """A span of dollars."""
    return "unknown" if span is None else f"{span[0]:,.2f} to {span[1]:,.2f}"


def _print_student(student: dict[str, Any], seeds: int, out: Console) -> None:
    count, memory = student["parameters"], student["memory_bytes"]
    title = f"{student['arm']}: {student.get('shape', student['kind'])}" + (f", {seeds} seeds, each" if seeds > 1 else "")
    out.print(f"\n[bold]{title}[/bold]")
    out.print(f"{count['total']:,} parameters, {count['trained']:,} trained, {count['embeddings']:,} in embeddings" + (f" ({student['shape_from']})" if "shape_from" in student else ""))
    parts = ", ".join(f"{name} {size(memory[name])}" for name in ORDER if memory.get(name))
    out.print(f"memory at its peak {size(memory['peak'])}; of {parts}")
    if student["kind"] != "decoder":
        out.print(f"{student['examples']:,} examples are seen; start with: {student['command']}")
        return
    acts = student["activations_bytes"]
    out.print(f"activations without gradient checkpointing {size(acts['without'])}, with it {size(acts['with'])}: {student['settings']['rows']} rows of {student['settings']['length']} tokens a process")
    out.print(f"{student['tokens']:,} tokens at most, {student['flops']:.2e} operations")
    table = Table(title="by accelerator", title_justify="left")
    for heading in ("accelerator", "fits one", "how many", "memory each", "time", "USD"):
        table.add_column(heading)
    for row in student["devices"]:
        many = "more than 8" if row["devices"] is None else f"{row['devices']}{' (FSDP)' if row['strategy'] == 'fsdp' else ''}"
        table.add_row(row["accelerator"] + (" *" if row["standing"] == "disputed" else ""), "yes" if row["fits_one"] else "no", many, size(row.get("peak_bytes")), hours(row["hours"]), usd(row["usd"]))
    here = student.get("here")
    if here:
        table.add_row(f"this machine: {here['device']}", "yes" if here["fits"] else "no", "1", size(here["peak_bytes"]), hours(here["hours"]) + f" (measured {here['flops_per_s'] / 1e9:,.0f} G/s)", "-")
    out.print(table)
    if any(row["standing"] == "disputed" for row in student["devices"]):
        out.print("[dim]* its peak is disputed: limbeck/catalog/accelerators.toml[/dim]")
    commands: dict[str, list[str]] = {}
    for row in student["devices"]:
        if row["command"] and row["runs"]:
            commands.setdefault(row["command"], []).append(row["accelerator"])
    for command, names in commands.items():
        out.print(f"on {', '.join(names)}:\n  {command}", soft_wrap=True)
    spread = next((row["spread"] for row in student["devices"] if "spread" in row), None)
    if spread:
        out.print(f"where one is enough, {spread['devices']} of them take a {spread['devices']}th of the time for the same dollars, at best:\n  {spread['command']}", soft_wrap=True)
    if here and here["device"] == "processor":
        out.print("[dim]On a processor the C library may keep twice what is in use; MALLOC_MMAP_THRESHOLD_=65536 keeps it near the plan.[/dim]")
    split = next((row for row in student["devices"] if row["strategy"] == "fsdp"), None)
    if split:
        out.print("[dim]FSDP rows are arithmetic: limbeck's loop runs on one device and with DDP; its running mean is not split over devices yet. The line would be[/dim]")
        out.print(f"[dim]  {split['command']}[/dim]", soft_wrap=True)
    if student["would_fit"]:
        out.print("what would need less:")
        for remedy in student["would_fit"]:
            out.print(f"  {remedy['set']}: {size(remedy['peak_bytes'])}", soft_wrap=True)


def _print_teacher(teacher: dict[str, Any], out: Console) -> None:
    out.print(f"\n[bold]teacher: {teacher['model']}[/bold]")
    line = f"{teacher['requests']:,} requests, {teacher['draws']:,} draws"
    if teacher.get("tokens_out_at_most"):
        read = "tokens read unknown" if teacher.get("tokens_in_about") is None else f"about {teacher['tokens_in_about']:,} tokens read (never more than {teacher['tokens_in_at_most']:,})"
        line += f", {read}, at most {teacher['tokens_out_at_most']:,} written"
    cost = teacher["usd_at_most"]
    out.print(f"{line}: " + (f"unknown ({teacher['why_unknown']})" if cost is None else f"at most {cost:,.2f} USD" + (f" ({teacher['answers_from']})" if "answers_from" in teacher else "")))
