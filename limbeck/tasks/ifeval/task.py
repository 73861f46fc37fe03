"""541 prompts with 834 instructions: strict and loose, by prompt and by instruction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from limbeck.data.sources import read_source
from limbeck.errors import LimbeckError
from limbeck.records import Example, Prompt, Score
from limbeck.tasks.ifeval.checkers import CHECKERS, follows, follows_loosely
from limbeck.tasks.intervals import grouped_rate
from limbeck.tasks.text_task import TextTask


class IfevalTask(TextTask):
    """The prompt decides strictly; instruction rates are over instructions, their errors clustered by prompt."""

    name, version = "ifeval", "1"
    measures = ("prompt_strict", "prompt_loose")

    def _load(self, split: str) -> list[Example]:
        found = []
        for number, line in enumerate(read_source("ifeval", "ifeval/input_data.jsonl").decode().splitlines(), 1):
            row = json.loads(line)
            unknown = [i for i in row["instruction_id_list"] if i not in CHECKERS]
            if unknown or len(row["kwargs"]) != len(row["instruction_id_list"]):
                raise LimbeckError(f"an instruction is unknown: {unknown}", f"ifeval/input_data.jsonl, line {number}", "fetch it again: limbeck data get ifeval")
            instructions = list(zip(row["instruction_id_list"], row["kwargs"], strict=True))
            name = f"ifeval-{row['key']}"
            found.append(Example(id=name, prompt=Prompt(id=name, text=row["prompt"]), source="ifeval", meta={"instructions": instructions}))
        return found

    def judge(self, example: Example, text: str) -> dict[str, float] | str:
        """All instructions followed, strictly and loosely; and the share that was."""
        strict = [follows(name, text, arguments) for name, arguments in example.meta["instructions"]]
        loose = [s or follows_loosely(name, text, arguments) for s, (name, arguments) in zip(strict, example.meta["instructions"], strict=True)]
        return {
            "prompt_strict": float(all(strict)), "prompt_loose": float(all(loose)),
            "share_strict": sum(strict) / len(strict), "share_loose": sum(loose) / len(loose),
        }  # fmt: skip

    def summarise(self, examples: Sequence[Example], trials: Sequence[dict[str, Any]]) -> list[Score]:
        """Rates over instructions, then the mean of all four, as the Llama reports print it."""
        judged = [(e, t) for e, t in zip(examples, trials, strict=True) if t["status"] == "scored"]
        sizes = [float(len(e.meta["instructions"])) for e, _ in judged]
        out = [grouped_rate(f"instruction_{kind}", [t[f"share_{kind}"][0] * n for (_, t), n in zip(judged, sizes, strict=True)], sizes, len(trials) - len(judged)) for kind in ("strict", "loose")]
        four = [sum(t[m][0] for _, t in judged) / max(1, len(judged)) for m in self.measures] + [s.value or 0.0 for s in out]
        return [*out, Score(name="mean of the four", value=sum(four) / 4 if judged else None, n=len(judged))]
