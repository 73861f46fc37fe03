"""NexusRaven's function calls: name equal and arguments equal after defaults, averaged over its parts (Srinivasan et al., 2023).

Of toolalpaca the first turn of each conversation is read: the later ones need what the earlier calls returned, which is not
published. The data may be used privately only.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from limbeck.data.sources import read_source
from limbeck.records import Example, Prompt, Score, content_id
from limbeck.tasks.calls import Signature, bind, read_call, read_signature
from limbeck.tasks.text_task import TextTask

SCORER_VERSION = 2
ASK = "These functions are there:\n\n{functions}\n\nReply with one call of one of them that does what is asked, as Python, and nothing else.\n\n{query}"
EMAILREP = "emailrep_post(email: str)"
PARTS = ("cve_cpe", "virustotal", "emailrep", "toolllm", "toolalpaca")
OFFERED = re.compile(r"<func_start>(.*?)<func_end>\s*<docstring_start>\s*(.*?)<docstring_end>", re.DOTALL)


class NexusTask(TextTask):
    """Queries with the functions of their part; the macro average is the one that is quoted."""

    name = "nexus"

    def __init__(self) -> None:
        self.version = f"{SCORER_VERSION}-{content_id(ASK, 6)}"
        self._signatures: dict[str, dict[str, Signature]] = {}

    def _load(self, split: str) -> list[Example]:
        definitions = json.loads(read_source("nexus", "nexus/function_definitions.json"))
        return [e for part in PARTS for e in self._part(part, definitions)]

    def _part(self, part: str, definitions: dict[str, list[dict[str, str]]]) -> list[Example]:
        found = []
        for number, row in enumerate(json.loads(read_source("nexus", f"nexus/{part}_queries.json"))):
            if part == "toolalpaca":
                turn = row["turns_1"]
                offered = [f"{definition}:\n    {' '.join(words.strip().strip(chr(34)).split())!r}" for definition, words in OFFERED.findall(turn["docstring"])]
                query, gold = turn["instruction"], json.loads(turn["golden_answer"])[0]
            elif part == "toolllm":
                offered, query, gold = list(row["context"]), _query(row), row["Output"]
            else:
                offered = [f"def {d['signature']}:\n    {d['docstring']!r}" for d in definitions.get(part, [])] or [f"def {EMAILREP}:\n    'Report on an email address.'"]
                query, gold = row["query"], row["reference"]
            name = f"nexus-{part}-{number}"
            self._signatures[name] = {s.name: s for s in map(_signature, offered) if s}
            prompt = Prompt(id=name, text=ASK.format(functions="\n\n".join(_shown(o) for o in offered), query=query))
            found.append(Example(id=name, prompt=prompt, gold=(gold,), source="nexus", meta={"family": part}))
        return found

    def judge(self, example: Example, text: str) -> dict[str, float] | str:
        """Equal to the reference after binding; the function's name alone is measured too."""
        said, gold = read_call(text), read_call(example.gold[0])
        if isinstance(said, str) or isinstance(gold, str):
            return said if isinstance(said, str) else "the reference is no call"
        signatures = self._signatures[example.id]
        same = bind(said, signatures.get(said.name)) == bind(gold, signatures.get(gold.name))
        return {"correct": float(same), "name": float(said.name == gold.name)}

    def summarise(self, examples: Sequence[Example], trials: Sequence[dict[str, Any]]) -> list[Score]:
        """The mean of the parts' rates, missing answers wrong."""
        parts: dict[str, list[float]] = defaultdict(list)
        for example, trial in zip(examples, trials, strict=True):
            parts[example.meta["family"]].append(trial["correct"][0] if trial["status"] == "scored" else 0.0)
        means = [sum(v) / len(v) for v in parts.values()]
        return [Score(name="macro average (missing wrong)", value=sum(means) / len(means) if means else None, n=len(trials))]


def _query(row: dict[str, Any]) -> str:
    return next((str(row[key]) for key in ("Input", "query", "Query", "input", "Instruction") if key in row), "")


def _shown(definition: str) -> str:
    """A definition without its body: the line and the words under it."""
    lines = definition.splitlines()
    return "\n".join(lines[:2])


def _signature(definition: str) -> Signature | None:
    try:
        return read_signature(definition.splitlines()[0].removeprefix("def ").rstrip().removesuffix(":"))
    except ValueError:
        return None
