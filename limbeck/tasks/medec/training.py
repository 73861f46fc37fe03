"""MEDEC's training part from its pairs: each wrong note and its mended version, vignettes parted by hash, twins never side by side."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from limbeck.errors import LimbeckError
from limbeck.tasks.medec.loading import FAMILIES, Note, split_sentences

DEV_SHARE = 0.1


def read_training(content: bytes, where: str) -> tuple[list[Note], dict[str, str]]:
    """Two notes for each pair, in an order by hash, and each note's vignette. Raises LimbeckError, naming the line."""
    notes, cluster = [], {}
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            for note in _notes(json.loads(line)):
                notes.append(note)
                cluster[note.id] = note.id.rsplit("/", 1)[0]
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise LimbeckError(f"this is not a training pair: {problem}", f"{where}, line {number}", "fetch the file again") from problem
    halves = [sorted((n for n in notes if _comes_first(n.id) == first), key=lambda n: hashlib.sha256(n.id.encode()).digest()) for first in (True, False)]
    if halves[0] and cluster[halves[0][-1].id] == cluster[halves[1][0].id]:
        halves[1] = [*halves[1][1:], halves[1][0]]  # the two halves must not meet in a pair of twins
    return halves[0] + halves[1], cluster


def _comes_first(note: str) -> bool:
    """One of each pair, by hash, stands in the first half, its twin in the second."""
    vignette, _, version = note.rpartition("/")
    return (hashlib.sha256(vignette.encode()).digest()[0] % 2 == 0) == (version == "wrong")


def is_dev(vignette: str) -> bool:
    """Whether a vignette is kept apart for dev loss: a tenth, by hash."""
    return int.from_bytes(hashlib.sha256(f"dev {vignette}".encode()).digest()[:6], "big") / 2**48 < DEV_SHARE


def _notes(pair: dict[str, str]) -> Iterator[Note]:
    before, error, after = pair["incorrect_note"].partition(pair["error_sentence"])
    if not error:
        raise ValueError("its error sentence is not in its note")
    head, tail = split_sentences(before), split_sentences(after)
    correction, family = " ".join(pair["corrected_sentence"].split()), FAMILIES[pair["error_type"].replace(" ", "").lower()]
    wrong, right = (*head, " ".join(error.split()), *tail), (*head, correction, *tail)
    yield Note(
        id=f"{pair['note_id']}/wrong", text=pair["incorrect_note"], numbered=_number(wrong), sentences=wrong, has_error=True, family=family, sentence_id=len(head),
        error_sentence=" ".join(error.split()), correction=correction,
    )  # fmt: skip
    yield Note(id=f"{pair['note_id']}/right", text=pair["correct_note"], numbered=_number(right), sentences=right, has_error=False)


def _number(sentences: tuple[str, ...]) -> str:
    return "\n".join(f"{at} {sentence}" for at, sentence in enumerate(sentences))
