"""MEDEC's measures: exactly the official ones, then those that say what the official ones do not.

Official: flag and sentence accuracy over all notes, missing ones wrong; correction scores averaged over notes where both the
reference and the system give a sentence. Copying the erroneous sentence unchanged scores ROUGE-1 .68 there, so the change is
also scored alone, the composite counts notes without an error, and floors stand in every table.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from limbeck.records import Score
from limbeck.tasks.intervals import grouped_rate
from limbeck.tasks.medec.loading import Note
from limbeck.tasks.medec.parsing import Reading


@dataclass(frozen=True, slots=True)
class Judged:
    """A note and what was read of the answer to it; None where nothing could be read."""

    note: Note
    reading: Reading | None


def rouge_1(reference: str, said: str) -> float:
    """ROUGE-1 F as the `rouge` package has it: words between spaces after full stops split sentences; sets, not counts.

    An empty text scores 0 (the package raises).
    """
    want, have = _rouge_words(reference), _rouge_words(said)
    if not want or not have:
        return 0.0
    overlap = len(want & have)
    precision, recall = overlap / len(have), overlap / len(want)
    return 2 * (precision * recall / (precision + recall + 1e-8))


def _rouge_words(text: str) -> set[str]:
    sentences = [" ".join(part.split()) for part in text.split(".") if part]
    return {word for sentence in sentences for word in sentence.split(" ")}


def changed_words(before: str, after: str) -> Counter[str]:
    """The words that `after` has and `before` has not, by alignment."""
    a, b = re.findall(r"\w+", before.lower()), re.findall(r"\w+", after.lower())
    blocks = difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    return Counter(word for tag, _, _, low, high in blocks if tag in ("replace", "insert") for word in b[low:high])


def change_f1(note: Note, said: str) -> float:
    """F1 of the changed words: 0 for a copy, 1 for the reference's own change."""
    want, have = changed_words(note.error_sentence, note.correction), changed_words(note.error_sentence, said)
    overlap = sum((want & have).values())
    total = sum(want.values()) + sum(have.values())
    return 2 * overlap / total if total else 1.0


def _flag(j: Judged) -> float:
    return float(j.reading is not None and j.reading.flag == j.note.flag)


def _sentence(j: Judged) -> float:
    return float(j.reading is not None and (j.reading.sentence if j.reading.flag else -1) == j.note.error_id)


def _gives(j: Judged) -> bool:
    return j.reading is not None and j.reading.flag == 1 and bool(j.reading.correction)


def _rouge(j: Judged) -> float:
    return rouge_1(j.note.correction, j.reading.correction) if j.reading else 0.0


def _composite(j: Judged) -> float:
    """1 where neither gives a correction, the score where both do, 0 where one does."""
    return _rouge(j) if j.note.flag and _gives(j) else float(not j.note.flag and not _gives(j) and j.reading is not None)


def _change(j: Judged) -> float:
    """The change alone, in the right sentence."""
    return change_f1(j.note, j.reading.correction) if _gives(j) and _sentence(j) and j.reading else 0.0


Measure = tuple[str, Callable[[Judged], float], Callable[[Judged], bool]]
MEASURES: tuple[Measure, ...] = (
    ("official flag", _flag, lambda j: True),
    ("official sentence", _sentence, lambda j: True),
    ("sentence, notes with an error", _sentence, lambda j: j.note.flag == 1),
    ("flag recall", _flag, lambda j: j.note.flag == 1),
    ("false alarms", lambda j: 1 - _flag(j) if j.reading else 0.0, lambda j: j.note.flag == 0),
    ("official ROUGE-1", _rouge, lambda j: j.note.flag == 1 and _gives(j)),
    ("ROUGE-1 composite", _composite, lambda j: True),
    ("change F1, right sentence", _change, lambda j: j.note.flag == 1),
)


def summarise(judged: Sequence[Judged]) -> list[Score]:
    """Every measure with a bootstrap interval over vignettes; then by error type, both twins right, and MCC."""
    missing = sum(j.reading is None for j in judged)
    out = [_score(name, judged, value, counts, missing) for name, value, counts in MEASURES]
    for kind in sorted({j.note.error_type for j in judged if j.note.flag}):
        out.append(_score(f"flag recall: {kind}", judged, _flag, lambda j, kind=kind: j.note.error_type == kind, missing))
        out.append(_score(f"sentence: {kind}", judged, _sentence, lambda j, kind=kind: j.note.error_type == kind, missing))
    pairs: dict[str, list[Judged]] = defaultdict(list)
    for j in judged:
        pairs[j.note.pair].append(j)
    both = [Judged(p[0].note, Reading(p[0].note.flag) if all(map(_flag, p)) else None) for p in pairs.values() if len(p) == 2]
    out.append(_score("both twins' flags right", both, _flag, lambda j: True, missing))
    return [*out, Score(name="flag MCC", value=_mcc(judged), n=len(judged), missing=missing)]


def _score(name: str, judged: Sequence[Judged], value: Callable[[Judged], float], counts: Callable[[Judged], bool], missing: int) -> Score:
    rows = [(j.note.pair, value(j)) for j in judged if counts(j)]
    if not rows:
        return Score(name=name, value=None, n=0, missing=missing)
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for pair, v in rows:
        sums[pair][0] += v
        sums[pair][1] += 1
    return grouped_rate(name, [s for s, _ in sums.values()], [n for _, n in sums.values()], missing)


def _mcc(judged: Sequence[Judged]) -> float | None:
    """Matthews' correlation of said and true flags; an answer that cannot be read counts as the wrong flag."""
    cells = Counter((j.note.flag, j.reading.flag if j.reading else 1 - j.note.flag) for j in judged)
    tp, tn, fp, fn = cells[1, 1], cells[0, 0], cells[0, 1], cells[1, 0]
    under = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return (tp * tn - fp * fn) / under if under else None


def is_mean(parts: Sequence[float], printed: float, tolerance: float = 6e-4) -> bool:
    """Whether a printed aggregate is the mean of its printed parts, to rounding."""
    return abs(sum(parts) / len(parts) - printed) <= tolerance
