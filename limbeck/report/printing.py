"""Results as tables of at most 100 columns in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

MOST_FAMILIES, FLOOR_ROWS = 60, 4
LABELS = {"execution": "execution match", "cms": "command match score"}
COSTS_NOTHING = ("nearest", "majority")


def _rate(scores: Sequence[dict[str, Any]], name: str) -> str:
    found = next((s for s in scores if s["name"] == name), None)
    if found is None or found["value"] is None:
        return "-"
    if found["low"] is None:
        return f"{found['value']:.2f}"
    return f"{100 * found['value']:.1f} [{100 * found['low']:.0f}-{100 * found['high']:.0f}]"


def _size(parameters: int | None) -> str:
    """9.8M, 950k, 0, or ? where nobody knows."""
    if parameters is None:
        return "?"
    return f"{parameters / 1e6:.2f}M" if parameters >= 1e6 else f"{parameters / 1e3:.0f}k" if parameters >= 1000 else str(parameters)


def print_results(results: dict[str, Any]) -> None:
    """Everybody on every split, then what the student retains of its teacher."""
    console = Console(width=100)
    label = LABELS.get(results["scores"][0].get("main", "execution"), results["scores"][0].get("main", "execution"))
    for split in results["splits"]:
        rows = [r for r in results["scores"] if r["split"] == split]
        table = Table(title=f"{split}, n = {rows[0]['n']}: {label} in % [95 %]", title_justify="left")
        for heading in ("answerer", "size", "top-1", "top-3", "top-5", "valid %", "missing", "ms/answer"):
            table.add_column(heading, justify="left" if heading == "answerer" else "right")
        for row in rows:
            missing = row["n"] - row["statuses"].get("scored", 0)
            name = row["answerer"] + (" *" if row["answerer"] in COSTS_NOTHING else "")
            valid = next((s["value"] for s in row["scores"] if s["name"] == "valid"), None)
            shown = "-" if valid is None else f"{100 * valid:.1f}"
            table.add_row(name, _size(row["parameters"]), *(_rate(row["scores"], _ranked(row, k)) for k in (1, 3, 5)), shown, str(missing), f"{1000 * row['cpu_seconds_per_answer']:.1f}")
        console.print(table)
    console.print("* costs nothing", highlight=False)
    _print_headline(console, results.get("headline", {}))
    print_comparisons([c for c in results["comparisons"] if c["measure"].endswith("-1")], console)


def _ranked(row: dict[str, Any], k: int) -> str:
    """The name of the deciding measure at rank k; of one answer, or of draws, it is the measure's own."""
    main = row.get("main", "execution")
    if main == "execution":
        return f"top-{k}"
    return main if k == 1 and any(s["name"] == main for s in row["scores"]) else f"{main}-{k}"


def _print_headline(console: Console, headline: dict[str, Any]) -> None:
    for split, (value, low, high, n) in headline.get("retention", {}).items():
        console.print(f"retains {100 * value:.1f} % [{100 * low:.1f}-{100 * high:.1f}] of the teacher's top-1 on {split} (n = {n})", highlight=False)
    if headline.get("size_ratio"):
        faster = f", {headline['speed_ratio']:.1f} times faster (CPU time an answer)" if headline.get("speed_ratio") else ""
        console.print(f"{headline['size_ratio']:.1f} times smaller{faster}", highlight=False)


def print_comparisons(rows: Sequence[dict[str, Any]], console: Console | None = None) -> None:
    """Paired differences in points."""
    if not rows:
        return
    table = Table(title="paired differences in points [95 %]", title_justify="left")
    adjusted = any("p_holm" in row for row in rows)
    for heading in ("split", "measure", "a", "b", "a - b", "interval", "p", *(["p, Holm"] if adjusted else []), "n"):
        table.add_column(heading)
    for row in rows:
        main = row.get("main", "execution")
        measure = row["measure"] if main == "execution" else main if row["measure"] == "top-1" else row["measure"].removesuffix("-1") if row["measure"].startswith(main) else f"{main}, {row['measure']}"
        interval = f"{100 * row['difference_low']:+.1f} to {100 * row['difference_high']:+.1f}"
        holm = [f"{row['p_holm']:.3f}" if row.get("p_holm") is not None else "-"] if adjusted else []
        table.add_row(row["split"], measure, row["a"], row["b"], f"{100 * row['difference']:+.1f}", interval, f"{row['p']:.3f}" if "p" in row else "-", *holm, str(row["n"]))
    console = console or Console(width=100)
    console.print(table)
    for row in rows:
        if row.get("settings_differ") and row["measure"] == "top-1":
            console.print(f"note: {row['a']} and {row['b']} were asked with other {', '.join(row['settings_differ'])}", highlight=False, markup=False)


def print_scores(result: dict[str, Any]) -> None:
    """One examination: scores, then by family, then why answers are missing, then what it cost."""
    console = Console(width=100)
    statuses = ", ".join(f"{count} {status}" for status, count in result["statuses"].items())
    table = Table(title=f"{result['answerer']} on {result['task']}/{result['split']}, n = {result['n']}: {statuses}", title_justify="left")
    for heading in ("score", "value [95 %]", "n", "missing"):
        table.add_column(heading)
    for score in result["scores"]:
        table.add_row(score["name"], _rate([score], score["name"]), str(score["n"]), str(score["missing"]))
    console.print(table)
    for name, floor in result.get("floors", {}).items():
        first = [s for s in floor if s["value"] is not None][:FLOOR_ROWS]
        console.print(f"floor, {name}: " + ", ".join(f"{s['name']} {100 * s['value']:.1f}" for s in first), highlight=False, markup=False)
    _print_families(console, result)
    reasons = Counter(f"{t['status']}: {t['reason']}"[:90] for t in result["trials"] if t["status"] != "scored")
    for reason, count in reasons.most_common(6):
        console.print(f"{count} x {reason}", highlight=False, markup=False)
    for note in result.get("notes", ()):
        console.print(f"note: {note}", highlight=False, markup=False)
    if result.get("cost_usd") is not None:
        console.print(f"cost {result['cost_usd']:.4f} USD", highlight=False)


def _print_families(console: Console, result: dict[str, Any]) -> None:
    """The deciding measure of the first answer by family, where there are some but not hundreds."""
    main, families = result.get("main", "execution"), {}
    for trial in result["trials"]:
        families.setdefault(trial.get("family") or "", []).append(trial)
    if not 2 <= len(families) <= MOST_FAMILIES:
        return
    table = Table(title=f"by family: {main} of the first answer", title_justify="left")
    for heading in ("family", "value", "n", "missing"):
        table.add_column(heading, justify="left" if heading == "family" else "right")
    for family, trials in sorted(families.items()):
        judged = [t[main][0] if t[main] else 0.0 for t in trials if t["status"] == "scored"]
        shown = f"{100 * sum(judged) / len(judged):.1f}" if judged else "-"
        table.add_row(escape(family or "-"), shown, str(len(judged)), str(len(trials) - len(judged)))
    console.print(table)
