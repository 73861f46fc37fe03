"""The task: find the one medical error in a note, or say that there is none; name its sentence; put it right."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from limbeck.data.sources import read_source
from limbeck.errors import LimbeckError
from limbeck.records import Answer, Example, Prompt, Score, Verdict
from limbeck.tasks.medec import floors, metrics, parsing
from limbeck.tasks.medec.loading import Note, link_twins, read_notes, read_pair, read_screening
from limbeck.tasks.medec.neural import find_scorers
from limbeck.tasks.medec.prompts import EXAMPLE_ID, EXAMPLE_SLOT, choose_prompt, fill, prompt_version, write_example
from limbeck.tasks.medec.training import is_dev, read_training
from limbeck.tasks.text_task import TextTask

SOURCE = "medec"
FILES = {
    "test": "MEDEC-MS-TestSet-with-GroundTruth-and-ErrorType.csv",
    "validation": "MEDEC-MS-ValidationSet-with-GroundTruth-and-ErrorType.csv",
}
PAIRS = "ms_train_pairs.jsonl"
UW = "LIMBECK_MEDEC_UW"
LAYOUTS = ("published", "joined")


class MedecTask(TextTask):
    """MEDEC (arXiv:2412.19260), one note to a prompt.

    `prompt` is "p1", "p2" (with one solved example from the training part) or a text of one's own with {sentences} in it, and
    {example} if wanted. `layout` "joined" shows each sentence on one line; "published" keeps the file's stray line breaks.
    Splits: train and dev (from the training pairs: each wrong note and its mended twin, parted by vignette), test (597), test-clean (what MedRECT's screening kept of it, 458), validation (574), and uw, real notes that are never
    fetched: LIMBECK_MEDEC_UW names the CSV that a user got under the hospitals' data use agreement.
    """

    name = "medec"
    licence = "cc-by-4.0"  # of its training texts
    measures = ("flag", "sentence", "composite", "change")
    known_splits = ("test", "test-clean", "validation", "uw", "train", "dev")

    def __init__(self, prompt: str = "p1", layout: str = "published") -> None:
        if layout not in LAYOUTS:
            raise LimbeckError(f"there is no layout {layout!r}", "layout", f"name one of: {', '.join(LAYOUTS)}")
        name, self._template = choose_prompt(prompt)
        self._layout = layout
        self.version = prompt_version(name, self._template, layout)

    def apart(self, purpose: str) -> list[Example]:
        """Training vignettes kept apart for dev loss ("dev"); an examination has the validation and test parts."""
        return self._load("dev") if purpose == "dev" else []

    def _load(self, split: str) -> list[Example]:
        if split in ("train", "dev"):
            notes, cluster = read_training(read_source(SOURCE, PAIRS), PAIRS)
            example = self._example() if EXAMPLE_SLOT in self._template else ""
            return [self._pose(n, cluster[n.id], example, split) for n in notes if is_dev(cluster[n.id]) == (split == "dev")]
        notes = self._read(split)
        cluster = link_twins(notes)
        if split == "test-clean":
            kept = read_screening(read_source("medrect", "medrect_screening.csv"), "medrect_screening.csv")
            notes = [n for n in notes if n.id in kept]
        example = self._example() if EXAMPLE_SLOT in self._template else ""
        return [self._pose(n, cluster[n.id], example, split) for n in notes]

    def _read(self, split: str) -> list[Note]:
        if split == "uw":
            path = os.environ.get(UW, "")
            if not path:
                raise LimbeckError("the UW notes are not here, and limbeck never fetches them", UW, "sign the data use agreement of MEDEC's UW part, then set this variable to the CSV you were given")
            try:
                return read_notes(Path(path).read_bytes(), path)
            except OSError as problem:
                raise LimbeckError(f"the UW notes cannot be read: {problem.strerror}", path, f"set {UW} to the CSV file") from problem
        name = FILES["test" if split == "test-clean" else split]
        return read_notes(read_source(SOURCE, name), name)

    def _example(self) -> str:
        return write_example(*read_pair(read_source(SOURCE, PAIRS), EXAMPLE_ID, PAIRS))

    def _pose(self, note: Note, cluster: str, example: str, split: str) -> Example:
        numbered = note.numbered if self._layout == "published" else "\n".join(f"{at} {s}" for at, s in enumerate(note.sentences))
        meta = {
            "cluster": cluster, "family": note.family, "has_error": note.has_error, "sentence_id": note.sentence_id,
            "error_sentence": note.error_sentence, "correction": note.correction, "sentences": list(note.sentences),
        }  # fmt: skip
        gold = f"{note.sentence_id} {' '.join((note.correction or '').split())}" if note.has_error else "CORRECT"
        return Example(id=note.id, prompt=Prompt(id=note.id, text=fill(self._template, numbered, example)), gold=(gold,), source=f"medec/{split}", meta=meta)

    def judge(self, example: Example, text: str) -> dict[str, float] | str:
        """flag, sentence, composite and change of one answer, or why it cannot be read."""
        reading = parsing.read_answer(text, example.meta["sentences"])
        return reading if isinstance(reading, str) else metrics.measure(example, reading)

    def score(self, example: Example, answer: Answer) -> Verdict:
        """As every text task, and a refusal is called one."""
        verdict = super().score(example, answer)
        return replace(verdict, status="refused") if verdict.status == "no_answer" and verdict.reason == parsing.REFUSED else verdict

    def summarise(self, examples: Sequence[Example], trials: Sequence[Mapping[str, Any]]) -> list[Score]:
        """All rows of docs/medec.md. A trial has id, status and candidates (texts); of candidates the first is taken.

        Several trials of one example count each; an example without a trial is missing.
        """
        known = {e.id: e for e in examples}
        strange = [t["id"] for t in trials if t["id"] not in known]
        if strange:
            raise LimbeckError(f"{len(strange)} answers are to notes that were not asked: {strange[0]}", "medec", "summarise the trials with the examples they came from")
        tried = {t["id"] for t in trials}
        asked = [known[t["id"]] for t in trials] + [e for e in examples if e.id not in tried]
        readings = [_reading(known[t["id"]], t) for t in trials] + [None] * (len(asked) - len(trials))
        return self._scores(asked, readings)

    def floors(self, examples: Sequence[Example]) -> dict[str, list[Score]]:
        """The same rows for answers that need no medicine; a table of results shows them beside its own."""
        found = {}
        for name in floors.FLOORS:
            answers = floors.floor_answers(name, examples)
            trials = [{"id": e.id, "status": self.score(e, a).status, "candidates": [c.text for c in a.candidates]} for e, a in zip(examples, answers, strict=True)]
            found[name] = self.summarise(examples, trials)
        return found

    def score_run(self, examples: Sequence[Example], text: str) -> list[Score]:
        """The rows for a run file of the shared task (id, flag, sentence, correction on each line)."""
        readings, _ = parsing.read_run(text)
        return self._scores(examples, [readings.get(e.id) for e in examples])

    def _scores(self, examples: Sequence[Example], readings: Sequence[parsing.Reading | None]) -> list[Score]:
        rows = metrics.summarise(examples, readings, find_scorers())
        return [Score(name=name, value=r["value"], n=r["n"], low=r["low"], high=r["high"], missing=r["missing"]) for name, r in rows.items()]


def _reading(example: Example, trial: Mapping[str, Any]) -> parsing.Reading | None:
    if trial["status"] != "scored" or not trial["candidates"]:
        return None
    reading = parsing.read_answer(trial["candidates"][0], example.meta["sentences"])
    return None if isinstance(reading, str) else reading
