"""MEDEC's CSV files as notes, with what is wrong in the published ones put right or said.

The published test file has 328 blank rows (place-holders of notes that need an agreement); a reader that infers types then
makes floats of flags and ids, and every official comparison fails. Some `Sentences` fields hold lines without a number: they
belong to the line before. Corrections may hold newlines.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from limbeck.errors import LimbeckError

COLUMNS = ("Text ID", "Sentences", "Error Flag", "Error Type", "Error Sentence ID", "Error Sentence", "Corrected Sentence")
LARGEST_FIELD = 10_000_000
NUMBERED = re.compile(r"^(\d+)\s+(.*)$", re.DOTALL)
TYPES = {"causalorganism": "causal organism", "diagnosis": "diagnosis", "management": "management", "pharmacotherapy": "pharmacotherapy", "treatment": "treatment"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One note. `sentences` maps an id to its sentence; a correct note has flag 0 and error_id -1."""

    id: str
    sentences: dict[int, str]
    flag: int
    error_id: int
    error_type: str
    error_sentence: str
    correction: str
    pair: str = ""


def read_notes(content: bytes, where: str) -> tuple[list[Note], int]:
    """The notes of a CSV, and how many blank rows were left out. Raises LimbeckError, naming the row."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise LimbeckError(f"the notes are not UTF-8: byte {problem.start}", where, "save the file as UTF-8") from problem
    csv.field_size_limit(LARGEST_FIELD)
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as problem:
        raise LimbeckError(f"the notes are no CSV: {problem}", where, f"fields hold at most {LARGEST_FIELD:,} characters") from problem
    missing = [c for c in COLUMNS if rows and c not in rows[0]]
    if missing or not rows:
        raise LimbeckError(f"there is no column {missing[0]!r}" if missing else "there are no notes", where, f"columns needed: {', '.join(COLUMNS)}")
    full = [(number, row) for number, row in enumerate(rows, 2) if any((row[c] or "").strip() for c in COLUMNS[:3])]
    notes = [_read_note(row, f"{where}, row {number}") for number, row in full]
    double = [name for name, count in Counter(n.id for n in notes).items() if count > 1]
    if double:
        raise LimbeckError(f"{len(double)} ids come twice, the first {double[0]!r}", where, "take the file as it was published")
    return pair_notes(notes), len(rows) - len(full)


def _read_note(row: dict[str, str | None], where: str) -> Note:
    def get(column: str) -> str:
        return (row[column] or "").strip()

    flag, error_id = _whole(get("Error Flag"), "Error Flag", where), _whole(get("Error Sentence ID"), "Error Sentence ID", where)
    sentences = read_sentences(row["Sentences"] or "", where)
    if flag and error_id not in sentences:
        raise LimbeckError(f"sentence {error_id} is not in the note", where, "take the file as it was published")
    kind = get("Error Type").lower().replace(" ", "")
    return Note(
        id=get("Text ID"), sentences=sentences, flag=flag, error_id=error_id if flag else -1,
        error_type=TYPES.get(kind, kind) if flag else "none", error_sentence=" ".join(get("Error Sentence").split()) if flag else "",
        correction=" ".join(get("Corrected Sentence").split()) if flag else "",
    )  # fmt: skip


def _whole(text: str, column: str, where: str) -> int:
    """'1', '1.0', '-1'."""
    try:
        value = float(text)
    except ValueError:
        value = 0.5
    if value != int(value):
        raise LimbeckError(f"{column} is {text!r}, no whole number", where, "take the file as it was published")
    return int(value)


def read_sentences(text: str, where: str = "") -> dict[int, str]:
    """Lines "ID sentence"; a line whose number does not follow on belongs to the sentence before it."""
    found: dict[int, str] = {}
    for line in text.strip().splitlines():
        match = NUMBERED.match(line.strip())
        if match and int(match[1]) == len(found):
            found[len(found)] = match[2].strip()
        elif found:
            found[len(found) - 1] += " " + line.strip()
        elif line.strip():
            raise LimbeckError("the first sentence has no number 0", where, "take the file as it was published")
    return found


def pair_notes(notes: Sequence[Note]) -> list[Note]:
    """Each note with the name of its vignette: neighbours that share over half of the shorter one's runs of six words are twins."""
    runs = [_runs(n) for n in notes]
    out: list[Note] = []
    at = 0
    while at < len(notes):
        is_pair = at + 1 < len(notes) and _share(runs[at], runs[at + 1]) > 0.5
        name = notes[at].id
        for offset in range(2 if is_pair else 1):
            note = notes[at + offset]
            out.append(Note(**{f: getattr(note, f) for f in Note.__slots__ if f != "pair"}, pair=name))
        at += 2 if is_pair else 1
    return out


def _runs(note: Note) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", " ".join(note.sentences.values()).lower())
    return {tuple(words[i : i + 6]) for i in range(len(words) - 5)}


def _share(a: set[tuple[str, ...]], b: set[tuple[str, ...]]) -> float:
    return len(a & b) / max(1, min(len(a), len(b)))
