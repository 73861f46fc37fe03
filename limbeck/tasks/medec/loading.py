"""MEDEC's published CSV as notes: blank rows dropped, numbers that became floats read back, every other defect an error.

Twins: most vignettes are there twice, once correct and once with an error, as neighbours. `link_twins` finds them, so that
intervals can be drawn over vignettes and nobody sets two versions side by side.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from limbeck.errors import LimbeckError

COLUMNS = ("Text ID", "Text", "Sentences", "Error Flag", "Error Type", "Error Sentence ID", "Error Sentence", "Corrected Sentence")
AS_PUBLISHED = ("Text", "Sentences", "Corrected Sentence")  # kept with their white space: the official ROUGE counts it
FAMILIES = {
    "diagnosis": "diagnosis", "management": "management", "treatment": "treatment", "pharmacotherapy": "pharmacotherapy",
    "causalorganism": "causal organism",
}  # fmt: skip
GRAM = 6  # words; twins share more than half of the shorter one's 6-grams
SHARED = 0.5
_NUMBERED = re.compile(r"(\d+)(?:\s(.*))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One text. `sentences[i]` is the sentence numbered i; of a correct note sentence_id is -1 and there is no correction.

    `numbered` is the published block of numbered lines, `correction` the published correction, line breaks and all.
    """

    id: str
    text: str
    numbered: str
    sentences: tuple[str, ...]
    has_error: bool
    family: str = "correct"
    sentence_id: int = -1
    error_sentence: str = ""
    correction: str | None = None


def read_notes(content: bytes, where: str) -> list[Note]:
    """The notes of one CSV file in its order. Raises LimbeckError, naming the row, where the file is not as published."""
    rows = [(line, row) for line, row in _read_rows(content, where) if any(row.values())]  # the test file holds 328 blank rows
    if not rows:
        raise LimbeckError("the file holds no notes", where, "fetch it again")
    counts = Counter(row["Text ID"] for _, row in rows)
    repeated = [name for name, n in counts.items() if n > 1]
    if repeated:
        raise LimbeckError(f"{len(repeated)} notes are there more than once: {', '.join(repeated[:3])}", where, "keep one row for each Text ID")
    return [_read_note(row, f"{where}, line {line}") for line, row in rows]


def _read_rows(content: bytes, where: str) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        raise LimbeckError(f"this is not UTF-8: byte {content[problem.start]:#04x} in line {line}", where, "save the file as UTF-8, or fetch it again") from problem
    reader = csv.DictReader(io.StringIO(text, newline=""), restval="")
    try:
        absent = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
        if absent:
            raise LimbeckError(f"columns are missing: {', '.join(absent)}", where, f"a MEDEC file has: {', '.join(COLUMNS)}")
        for row in reader:
            if None in row:
                raise LimbeckError("a row has more cells than there are columns", f"{where}, line {reader.line_num}", "a quotation mark is missing: fetch the file again")
            cells = {c: row[c].strip() for c in COLUMNS}
            yield reader.line_num, cells | {c: row[c] for c in AS_PUBLISHED if cells[c]}
    except csv.Error as problem:  # an endless field
        raise LimbeckError(f"this is not a readable CSV: {problem}", f"{where}, line {reader.line_num}", "fetch the file again; no field of MEDEC is longer than a few thousand characters") from problem


def _read_note(row: dict[str, str], where: str) -> Note:
    if not row["Text ID"]:
        raise LimbeckError("a note has no Text ID", where, "give it one, or remove the row")
    where = f"{where} ({row['Text ID']})"
    sentences = split_numbered(row["Sentences"])
    if not sentences:
        raise LimbeckError("the sentences are not numbered from 0", where, "each line of Sentences is an id, a space and a sentence")
    flag, sentence_id = _whole(row["Error Flag"], "Error Flag", where), _whole(row["Error Sentence ID"], "Error Sentence ID", where)
    if flag not in (0, 1):
        raise LimbeckError(f"Error Flag is {flag}", where, "it is 0 (correct) or 1 (one error)")
    shared = {"id": row["Text ID"], "text": row["Text"], "numbered": row["Sentences"].rstrip("\r\n"), "sentences": sentences}
    if flag == 0:
        if sentence_id != -1:
            raise LimbeckError(f"a correct note names sentence {sentence_id}", where, "its Error Sentence ID is -1")
        return Note(has_error=False, **shared)
    if not 0 <= sentence_id < len(sentences):
        raise LimbeckError(f"there is no sentence {sentence_id}: the note has {len(sentences)}", where, "Error Sentence ID is one of the numbers in Sentences")
    if row["Corrected Sentence"].strip() in ("", "NA"):
        raise LimbeckError("a note with an error has no Corrected Sentence", where, "fetch the file again")
    family = FAMILIES.get(row["Error Type"].replace(" ", "").lower())
    if family is None:
        raise LimbeckError(f"Error Type is {row['Error Type']!r}", where, f"known: {', '.join(FAMILIES.values())}")
    return Note(has_error=True, family=family, sentence_id=sentence_id, error_sentence=row["Error Sentence"], correction=row["Corrected Sentence"], **shared)


def _whole(text: str, column: str, where: str) -> int:
    """A whole number that may have become a float on its way through a table with blank rows ('1.0')."""
    if not re.fullmatch(r"-?\d+(\.0+)?", text):
        raise LimbeckError(f"{column} is {text[:40]!r}", where, "it is a whole number")
    return int(text.split(".")[0])


def split_numbered(block: str) -> tuple[str, ...]:
    """The sentences of a numbered block; a line without the next number goes on with the sentence before it."""
    found: list[str] = []
    for line in block.splitlines():
        match = _NUMBERED.fullmatch(line)
        if match and int(match[1]) == len(found):
            found.append(match[2] or "")
        elif found:
            found[-1] += "\n" + line
        elif line.strip():
            return ()
    return tuple(" ".join(s.split()) for s in found)


def link_twins(notes: Sequence[Note]) -> dict[str, str]:
    """Each note's vignette, named by its first note: neighbours that share over half of the shorter one's 6-grams are one."""
    grams = [_grams(n.text) for n in notes]
    cluster: dict[str, str] = {}
    for at, note in enumerate(notes):
        shared = at > 0 and len(grams[at] & grams[at - 1]) > SHARED * max(1, min(len(grams[at]), len(grams[at - 1])))
        cluster[note.id] = cluster[notes[at - 1].id] if shared else note.id
    return cluster


def _grams(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[at : at + GRAM]) for at in range(len(words) - GRAM + 1)}


def read_pair(content: bytes, note_id: str, where: str) -> tuple[tuple[str, ...], int, str]:
    """One training pair as (sentences, the number of the wrong one, its correction). The pairs come without numbers."""
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        try:
            pair = json.loads(line)
            if pair["note_id"] != note_id:
                continue
            before, error, after = pair["incorrect_note"].partition(pair["error_sentence"])
            correction = pair["corrected_sentence"]
        except (ValueError, KeyError, TypeError) as problem:
            raise LimbeckError(f"this is not a training pair: {problem}", f"{where}, line {number}", "fetch the file again") from problem
        head = split_sentences(before)
        return (*head, " ".join(error.split()), *split_sentences(after)), len(head), " ".join(correction.split())
    raise LimbeckError(f"there is no training pair {note_id!r}", where, "fetch the file again")


def split_sentences(text: str) -> list[str]:
    """Sentences of a note that comes without numbers."""
    return [s for s in (" ".join(p.split()) for p in re.split(r"(?<=[.?!])\s+(?=[A-Z\"])", text)) if s]


def read_screening(content: bytes, where: str) -> set[str]:
    """The ids of the notes that MedRECT's screening kept."""
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8", "replace"))))
    if not rows or not {"text_id", "accepted"} <= rows[0].keys():
        raise LimbeckError("columns are missing: text_id, accepted", where, "write one line a note: its id and 1 (kept) or 0")
    return {row["text_id"] for row in rows if row["accepted"] == "1"}
