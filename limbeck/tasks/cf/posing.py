"""How a rule is asked of whoever reads text: the language, the table, the wish; and what of a talkative answer is the rule."""

from __future__ import annotations

import re
from dataclasses import replace

from limbeck.records import Prompt
from limbeck.tasks.cf.language import SIGNATURES, RuleError, parse, print_rule
from limbeck.tasks.cf.table import Table, shown

ROWS = 8
CELL = 30
KINDS = {
    "column": "a column", "number_or_column": "a number or a column", "text": '"text"', "count": "a whole number", "percent": "a percentage", "optional_number": "a number of standard deviations, or nothing",
    "period": "a year, YYYY-MM, YYYY-MM-DD or today", "rules": "two or more rules", "rule": "a rule",
}  # fmt: skip
ASK = (
    "A spreadsheet marks the cells for which a rule holds. Write the rule that does what is wished.\n\n"
    "A rule is one function call, in which a column is written c[0], c[1] and so on, and a text stands in double quotes. The functions:\n{functions}\n\n"
    "The table (today is {today}):\n{table}\n\nThe wish: {wish}\n\nAnswer with the rule alone, on one line: no explanation, no Markdown."
)


def pose(prompt: Prompt) -> Prompt:
    """The same request with the language and the beginning of the table in a message."""
    table = Table.from_json(prompt.context["table"])
    heads = " | ".join(f"c[{at}] {header[:CELL]}" for at, header in enumerate(table.headers))
    rows = [" | ".join(str(shown(cell))[:CELL] for cell in row) for row in table.rows[:ROWS]]
    more = [f"... {len(table.rows) - ROWS} more rows"] if len(table.rows) > ROWS else []
    asked = ASK.format(functions=_functions(), today=table.today.isoformat(), table="\n".join([heads, *rows, *more]), wish=prompt.text)
    return replace(prompt, context={**prompt.context, "messages": [{"role": "user", "content": asked}]})


def _functions() -> str:
    """Functions that take the same arguments on one line."""
    by_arguments: dict[tuple[str, ...], list[str]] = {}
    for name, arguments in SIGNATURES.items():
        by_arguments.setdefault(arguments, []).append(name)
    return "\n".join(f"- {', '.join(names)}: {', '.join(KINDS[a] for a in arguments)}" for arguments, names in by_arguments.items())


def tidy(text: str) -> str:
    """The first line that is a rule, in its one printed form; the text as it is where none is."""
    for line in (text, *text.splitlines()):
        try:
            return print_rule(parse(re.sub(r"^[\s`>*-]+|[\s`.;]+$", "", line)))
        except RuleError:
            continue
    return text
