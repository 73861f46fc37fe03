"""BIG-Bench Hard: 27 tasks, answered after thinking aloud (Suzgun et al., 2022). The source has a canary: never train on it."""

from __future__ import annotations

import json
import re
import string

from limbeck.data.sources import get_source, read_source
from limbeck.errors import LimbeckError
from limbeck.records import Example, Prompt, content_id
from limbeck.tasks.text_task import TextTask

SCORER_VERSION = 1
ASK = "{question}\n\nThink step by step. End with a line that says: So the answer is X."
MARK = re.compile(r"(?:the answer is|answer\**\s*:)[:\s*]*", re.IGNORECASE)
TURN = re.compile(r"^Q: (.*?)\nA: (.*?)(?=\n\nQ: |\Z)", re.DOTALL | re.MULTILINE)


class BbhTask(TextTask):
    """6,511 examples; `shots` of the source's own worked ones (three a task) go before. Results are also shown by task."""

    name = "bbh"
    limit_spreads = True

    def __init__(self, shots: int = 3) -> None:
        if shots > 3:
            raise LimbeckError(f"there are 3 worked examples a task, not {shots}", "--shots", "ask for 0 to 3")
        self.shots = shots
        self.version = f"{SCORER_VERSION}-{shots}shot-{content_id(ASK, 6)}"

    def _load(self, split: str) -> list[Example]:
        files = [f for f in get_source("bbh").files if f.startswith("bbh/")]
        return [e for f in files for e in self._task(f.removeprefix("bbh/").removesuffix(".json"))]

    def _task(self, task: str) -> list[Example]:
        before = [m for turn in worked(read_source("bbh", f"cot-prompts/{task}.txt").decode())[: self.shots] for m in turn]
        found = []
        for number, row in enumerate(json.loads(read_source("bbh", f"bbh/{task}.json"))["examples"]):
            name, text = f"bbh-{task}-{number}", ASK.format(question=row["input"])
            context = {"messages": [*before, {"role": "user", "content": text}]} if before else {}
            found.append(Example(id=name, prompt=Prompt(id=name, text=text, context=context), gold=(row["target"],), source="bbh", meta={"family": task}))
        return found

    def judge(self, example: Example, text: str) -> dict[str, float] | str:
        """What stands after the last "the answer is", else on the last line, against the target: letters, words or numbers alike."""
        said = final_answer(text)
        return {"correct": float(normalise(said) == normalise(example.gold[0]))} if said else "no answer is named"


def worked(prompts: str) -> list[list[dict[str, str]]]:
    """The worked examples of a source's prompt file as turns, asked as we ask."""
    return [[{"role": "user", "content": ASK.format(question=q.strip())}, {"role": "assistant", "content": a.strip()}] for q, a in TURN.findall(prompts)]


def final_answer(text: str) -> str:
    """After the last mark, else a short last line; "" where there is neither."""
    parts = MARK.split(text)
    if len(parts) > 1 and parts[-1].strip():
        return parts[-1].strip().splitlines()[0].strip()
    last = (text.strip().splitlines() or [""])[-1].strip()
    return last if len(last) <= 60 or " " not in last else ""


def normalise(text: str) -> str:
    """Without bold, final full stop and quotes; a choice by its letter; brackets of Dyck words kept."""
    bare = text.replace("**", "").strip().strip("\"'`$").strip()
    letter = re.match(r"^\(?([A-R])\)(?:\s|$|[.:,])", bare) or re.match(r"^\(?([A-R])\)?[.]?$", bare)
    if letter:
        return letter[1]
    if bare.strip("()[]{}<> ."):
        bare = bare.rstrip(".").strip()
    return " ".join(bare.lower().split()) if any(c in string.ascii_letters for c in bare) else " ".join(bare.rstrip(".").split())
