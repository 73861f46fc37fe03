"""The MEDEC task: one note, one prompt (never its twin beside it), measures as the official script has them and better ones."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck.data.sources import read_source
from limbeck.errors import LimbeckError
from limbeck.records import Example, Prompt, Score, content_id
from limbeck.tasks.medec import prompts
from limbeck.tasks.medec.loading import Note, read_notes
from limbeck.tasks.medec.metrics import Judged, change_f1, rouge_1, summarise
from limbeck.tasks.medec.parsing import Reading, read_answer
from limbeck.tasks.text_task import TextTask

SCORER_VERSION = 1
USERS_OWN = {"test": "LIMBECK_MEDEC_TEST", "test-clean": "LIMBECK_MEDEC_TEST", "uw": "LIMBECK_MEDEC_UW"}


class MedecTask(TextTask):
    """Splits: `validation` (MS, 574 notes), `test` and `test-clean` (MS, the second without notes that MedRECT's reviewers found
    unfit; the user's own file), `uw` (a file under a signed agreement; the user's own). `prompt` is p1, p2 or a template."""

    name = "medec"
    measures = ("flag", "sentence", "rouge_1", "change")
    known_splits = ("validation", "test", "test-clean", "uw")

    def __init__(self, prompt: str = "p1") -> None:
        self.prompt = prompt
        wording = prompts.P1 + prompts.EXAMPLE if prompt in ("p1", "p2") else prompt
        self.version = f"{SCORER_VERSION}-{prompt if prompt in ('p1', 'p2') else 'own'}-{content_id(wording, 8)}"
        self._notes: dict[str, Note] = {}

    def notes(self, split: str) -> list[Note]:
        """A split's notes, paired by vignette."""
        if split == "validation":
            return read_notes(read_source("medec", "medec/validation.csv"), "medec/validation.csv")[0]
        found = read_notes(*_users_own(split, USERS_OWN[split]))[0]
        if split == "test-clean":
            accepted = _accepted()
            found = [n for n in found if n.id in accepted]
        return found

    def _load(self, split: str) -> list[Example]:
        notes = self.notes(split)
        example = _worked_example() if self.prompt == "p2" else None
        self._notes |= {n.id: n for n in notes}
        return [self._example(n, split, example) for n in notes]

    def _example(self, note: Note, split: str, example: Note | None) -> Example:
        gold = f"{note.error_id} {note.correction}" if note.flag else "CORRECT"
        prompt = Prompt(id=note.id, text=prompts.render(note, self.prompt, example))
        return Example(id=note.id, prompt=prompt, gold=(gold,), source=f"medec/{split}", meta={"cluster": note.pair, "family": note.error_type})

    def judge(self, example: Example, text: str) -> dict[str, float] | str:
        """Flag, sentence and, where both the reference and the answer give a sentence, ROUGE-1 (else 1 or 0 as in the composite)."""
        note = self._notes[example.id]
        reading = read_answer(text, set(note.sentences))
        if isinstance(reading, str):
            return reading
        flag = float(reading.flag == note.flag)
        sentence = float((reading.sentence if reading.flag else -1) == note.error_id)
        both, neither = note.flag and reading.flag and reading.correction, not note.flag and not reading.flag
        return {"flag": flag, "sentence": sentence, "rouge_1": rouge_1(note.correction, reading.correction) if both else float(neither), "change": change_f1(note, reading.correction) if both else 0.0}

    def summarise(self, examples: Sequence[Example], trials: Sequence[dict[str, Any]]) -> list[Score]:
        """The official measures and ours over all notes, then the floors that cost nothing."""
        judged = [Judged(self._notes[e.id], self._reading(e, t)) for e, t in zip(examples, trials, strict=True)]
        floors = [Score(name=f"floor, {name}: {s.name}", value=s.value, n=s.n, low=s.low, high=s.high) for name, said in FLOORS.items() for s in _floor([j.note for j in judged], said)]
        return summarise(judged) + floors

    def _reading(self, example: Example, trial: dict[str, Any]) -> Reading | None:
        if not trial["candidates"]:
            return None
        reading = read_answer(trial["candidates"][0], set(self._notes[example.id].sentences))
        return None if isinstance(reading, str) else reading


FLOORS = {
    "all correct": lambda note: Reading(0),
    "always the last sentence": lambda note: Reading(1, max(note.sentences), note.sentences[max(note.sentences)]),
    "copy, told the sentence": lambda note: Reading(1, note.error_id, note.error_sentence) if note.flag else Reading(0),
}
SHOWN = {"all correct": ("official flag", "official sentence"), "always the last sentence": ("official flag", "official sentence"), "copy, told the sentence": ("official ROUGE-1", "change F1, right sentence")}


def _floor(notes: Sequence[Note], said: Any) -> list[Score]:
    name = next(n for n, f in FLOORS.items() if f is said)
    return [s for s in summarise([Judged(n, said(n)) for n in notes]) if s.name in SHOWN[name]]


def _users_own(split: str, variable: str) -> tuple[bytes, str]:
    path = os.environ.get(variable, "")
    note = "; the UW notes need a signed data use agreement" if split == "uw" else ""
    if not path:
        raise LimbeckError(f"split {split!r} is read from a file of your own", variable, f"set {variable} to the CSV as MEDEC published it{note}")
    try:
        return Path(path).read_bytes(), path
    except OSError as problem:
        raise LimbeckError(f"the notes cannot be read: {problem.strerror}", path, f"set {variable} to the CSV as MEDEC published it{note}") from problem


def _accepted() -> set[str]:
    """Ids of the test notes that MedRECT's reviewers kept."""
    path = os.environ.get("LIMBECK_MEDRECT", "")
    if not path:
        raise LimbeckError("split 'test-clean' needs MedRECT's screening", "LIMBECK_MEDRECT", "set it to a CSV with the columns text_id and accepted (1 or 0)")
    with open(path, encoding="utf-8", newline="") as file:
        return {row["text_id"] for row in csv.DictReader(file) if row["accepted"] == "1"}


def _worked_example() -> Note:
    """The first note with an error of a file of training notes."""
    path = os.environ.get("LIMBECK_MEDEC_EXAMPLE", "")
    if not path:
        raise LimbeckError("prompt p2 shows one training note as an example", "LIMBECK_MEDEC_EXAMPLE", "set it to a CSV of training notes, or use prompt p1")
    found = [n for n in read_notes(Path(path).read_bytes(), path)[0] if n.flag]
    if not found:
        raise LimbeckError("there is no note with an error", path, "name a CSV of training notes as MEDEC published it")
    return found[0]
