"""`limbeck ask` for whoever reads and writes plain text: a decoder that limbeck trained, or any language model. Nothing is ever run."""

from __future__ import annotations

import json
import sys
from typing import Any

from limbeck import resolve
from limbeck.errors import LimbeckError
from limbeck.records import Prompt

WIDTH = 100
LONGEST = 200_000


def ask_text(model: str, text: str, task_name: str, *, k: int, plain: bool, as_json: bool, base_url: str = "") -> None:
    """Ranked answers on standard output: as text, the best alone (`plain`), or a JSON document.

    Raises LimbeckError where there is no answer and only the bare one was asked for.
    """
    if not text.strip() or len(text) > LONGEST:
        raise LimbeckError("the request is empty" if not text.strip() else f"the request has {len(text):,} characters", "TEXT", f"write what you want to know, in at most {LONGEST:,} characters")
    is_panel = model.startswith("panel:")
    if is_panel and not task_name:
        raise LimbeckError("which job is this panel asked for?", "--task", "name it, or write task = \"NAME\" in the panel's file")
    task: Any = resolve.get_task(task_name) if task_name in resolve.TASKS or is_panel else None  # a task of the user's own is asked as it stands
    prompt: Prompt = task.prompt_for(text) if hasattr(task, "prompt_for") else Prompt(id="ask", text=text)
    speaks = resolve.is_language_model(model)
    sampling = {"temperature": 0.7 if k > 1 else 0.0}
    answerer = resolve.get_language_model(model, base_url=base_url, sampling=sampling) if speaks else resolve.get_answerer(model, task) if is_panel else resolve.get_expert(model, task)
    answer = answerer.answer([prompt], k=k)[0]
    if is_panel:
        from limbeck.asking import tell_missing

        tell_missing(answer)
    if as_json:
        found = [{"answer": c.text, "score": round(c.score, 4)} for c in answer.candidates]
        sys.stdout.write(json.dumps({"task": task_name, "status": answer.status, "answers": found} | ({"panel": answer.meta["panel"]} if is_panel else {}) | ({"reason": answer.reason} if answer.reason else {}), ensure_ascii=False) + "\n")
        return
    if not answer.candidates:
        raise LimbeckError(f"there is no answer: {answer.reason or answer.status}", model, "ask in other words")
    if plain:
        sys.stdout.write(answer.candidates[0].text.strip() + "\n")
        return
    from rich.console import Console

    console = Console(width=WIDTH, highlight=False, markup=False, file=sys.stdout)
    for rank, candidate in enumerate(answer.candidates, 1):
        console.print(f"{rank}  {candidate.text.strip()}" if len(answer.candidates) > 1 else candidate.text.strip())
