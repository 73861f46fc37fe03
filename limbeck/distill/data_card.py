"""The card of a training set: who made it, what was kept and why the rest was not, what of it repeats a test, under which terms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.distill.keep import Kept
from limbeck.recipe.schema import KeepSection
from limbeck.records import Origin

BARS = "▁▂▃▄▅▆▇█"
SHOWN_HITS = 5
SHOWN_CHARS = 300
BINS = 24


def write_card(task: Any, teacher: Any, kept: Kept, facts: Mapping[str, Any], keep: KeepSection, origins: Sequence[Origin], terms: str) -> str:
    """Markdown. Every number is of this set; texts of others stand in code spans, cut short."""
    who = f"the teacher `{teacher.name}`" if teacher is not None else "the task's own gold"
    asked = facts["asked"]
    parts = [
        f"# Training data for task {task.name}, version {task.version}",
        f"Answers from {who}. Asked {asked:,}, kept {facts['kept']:,} ({facts['kept'] / max(1, asked):.1%}), refused {sum(facts['refused'].values()):,}, failed {sum(facts['failed'].values()):,}: "
        f"each request ends in exactly one of these. {facts['records']:,} records are learnt from{_mixed(facts)}, {facts['dev']:,} are kept for dev loss, {facts['held_out']:,} for the examination.",
        _accounts(facts), _draws(facts), _lengths(kept.records), _difficulty(facts), _contamination(kept, keep), _personal(facts, keep), _spend(facts.get("spend", {})), _origins(origins), terms,
        f"## Making it again\n\nThe recipe, the seed and the ledger of calls give the same bytes: `limbeck distill` on the run folder.\nSHA-256 of data.jsonl.gz: {facts['sha256']}",
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _mixed(facts: Mapping[str, Any]) -> str:
    return f" ({facts['mixed']:,} of them from other sets)" if facts.get("mixed") else ""


def _accounts(facts: Mapping[str, Any]) -> str:
    rows = [f"| {state} | {column} | {reason} | {count:,} |" for state, column, reason, count in facts["table"]]
    return "\n".join(["## What became of each request", "", "| state | column | reason | requests |", "|---|---|---|---|", *rows])


def _draws(facts: Mapping[str, Any]) -> str:
    draws = dict(facts.get("draws", {}))
    drawn = draws.pop("drawn", 0)
    return f"Of {drawn:,} answers: " + ", ".join(f"{count:,} {reason}" for reason, count in draws.items()) + "." if drawn > facts["asked"] else ""


def _lengths(records: Sequence[Mapping[str, Any]]) -> str:
    sizes = sorted(len(r["answer"]) for r in records)
    if not sizes:
        return ""
    top = max(1, sizes[min(len(sizes) - 1, int(0.98 * len(sizes)))])
    bins = Counter(min(BINS - 1, BINS * size // (top + 1)) for size in sizes)
    most = max(bins.values())
    line = "".join(BARS[-(-(len(BARS) - 1) * bins[b] // most)] if bins[b] else " " for b in range(BINS))
    return f"## Lengths\n\nAnswers have {sizes[0]:,} to {sizes[-1]:,} characters, half of them at most {sizes[len(sizes) // 2]:,}:\n\n`0 {line} {top:,}+`"


def _difficulty(facts: Mapping[str, Any]) -> str:
    found = facts.get("difficulty", {})
    if not found or sum(1 for n in found.values() if n) < 2:
        return ""
    return "Share of a request's answers that pass: " + ", ".join(f"{name}: {count:,}" for name, count in found.items()) + "."


def _contamination(kept: Kept, keep: KeepSection) -> str:
    if keep.contamination == "off":
        return "## Tests\n\nNo test text was looked for (`keep.contamination = \"off\"`)."
    looked = ", ".join(f"{name} ({count:,})" for name, count in sorted(kept.tests.items())) or "none"
    away = "; not looked at: " + ", ".join(f"{name} ({why})" for name, why in sorted(kept.not_looked_at.items())) if kept.not_looked_at else ""
    verb = "refused" if keep.contaminated == "refuse" else "kept and marked"
    lines = [f"## Tests\n\nTexts of these tests were looked for: {looked}{away}. {len(kept.contamination):,} hits were {verb}; all of them, with both texts, are in contamination.jsonl."]
    for hit in kept.contamination[:SHOWN_HITS]:
        lines.append(f"- {hit['benchmark']} {hit['test']}, {hit['kind']}\n  - here: {_code(hit['training_text'])}\n  - test: {_code(hit['test_text'])}")
    return "\n".join(lines)


def _code(text: str) -> str:
    line = " ".join(text.split()).replace("`", "'")
    return f"`{line[:SHOWN_CHARS]}{'...' if len(line) > SHOWN_CHARS else ''}`"


def _personal(facts: Mapping[str, Any], keep: KeepSection) -> str:
    if keep.personal == "off":
        return ""
    found = facts.get("personal", {})
    return f"Personal data ({keep.personal}): " + (", ".join(f"{kind} {count:,}" for kind, count in found.items()) if found else "none found") + "."


def _spend(spend: Mapping[str, Any]) -> str:
    paid = spend.get("paid")
    if not paid:
        return ""
    money = "price unknown" if paid["cost_usd"] is None else f"${paid['cost_usd']:.4f}"
    replayed = spend.get("replayed", {}).get("requests", 0)
    doubt = spend.get("in_doubt", {}).get("requests", 0)
    return f"## Spent\n\n{paid['requests']:,} requests, {paid['tokens_in']:,} tokens read and {paid['tokens_out']:,} written: {money}. {replayed:,} were taken from the ledger and cost nothing; {doubt:,} may have been paid for without an answer."


def _origins(origins: Sequence[Origin]) -> str:
    rows = [f"| {o.role} | {o.model}{' ' + o.revision if o.revision else ''} | {o.terms} | {o.terms_date} |" for o in origins]
    return "\n".join(["## Who had a hand in it", "", "| role | who | terms | of |", "|---|---|---|---|", *rows])
