"""What a model says of a note, read tolerantly and never guessed at.

Asked for: CORRECT, or the id of the wrong sentence, a space, and the sentence put right. Models add full stops, bold, labels, a
pipe, the old id before the new sentence, reasoning before the answer. Where two readings differ, the answer is unparsable.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

REFUSAL = re.compile(r"\b(?:I(?:'m| am) (?:sorry|unable|not able)|I can(?:no|')t (?:help|assist|provide|comply)|as an AI)\b", re.IGNORECASE)
CORRECT = re.compile(r"^(?:the (?:text|note|narrative) is |(?:final )?answer\s*:?\s*|output\s*:?\s*)?correct\b[.!]*$", re.IGNORECASE)
LABEL = re.compile(r"^(?:(?:final )?answer|output|result)\s*(?:is)?\s*[:=]\s*", re.IGNORECASE)
FOUND = re.compile(r"^(?:sentence\s*(?:id|number|no\.?)?\s*:?\s*)?[\[(]?(\d{1,3})[\])]?\s*(?:[|:.)\-–,]+\s*|\s+)(.*)$", re.IGNORECASE)
NUMBER_ALONE = re.compile(r"^(?:sentence\s*(?:id|number|no\.?)?\s*:?\s*)?[\[(]?(\d{1,3})[\])]?[.:|]?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reading:
    """flag 0 or 1; for 1 the sentence's id and the corrected sentence, "" where none was given."""

    flag: int
    sentence: int = -1
    correction: str = ""


def read_answer(text: str, ids: set[int]) -> Reading | str:
    """One answer, or why it cannot be read. `ids` are the note's sentence ids."""
    lines = [line for line in (_bare(raw) for raw in text.splitlines()) if line]
    if not lines:
        return "empty"
    if all(CORRECT.match(line) for line in lines):
        return Reading(0)
    found = [reading for line in lines if (reading := _read_line(line, ids)) is not None]
    says_correct = any(CORRECT.match(line) for line in lines)
    distinct = {(r.sentence, r.correction) for r in found}
    if says_correct and found:
        return "two answers: CORRECT and a sentence"
    if says_correct:
        return Reading(0) if CORRECT.match(lines[-1]) or CORRECT.match(lines[0]) else "CORRECT in the middle of a text"
    if len({r.sentence for r in found}) > 1:
        return f"two answers: sentences {', '.join(str(s) for s in sorted({r.sentence for r in found}))}"
    if found:
        return found[-1] if len(distinct) > 1 else found[0]
    if REFUSAL.search(text):
        return "refusal"
    outside = next((m[1] for line in lines if (m := FOUND.match(line) or NUMBER_ALONE.match(line))), None)
    return f"no sentence {outside} in the note" if outside else "neither CORRECT nor a sentence id"


def _bare(line: str) -> str:
    line = line.strip().strip("`").replace("**", "").replace("__", "").strip().strip('"').strip()
    return LABEL.sub("", line) if not CORRECT.match(line) else line


def _read_line(line: str, ids: set[int]) -> Reading | None:
    """"10 Prednisone is given.", "10| ...", "[10]: ...", "Sentence 10: ...", "10 1 Prednisone is given." (MEDEC's own example)."""
    if alone := NUMBER_ALONE.match(line):
        return Reading(1, int(alone[1])) if int(alone[1]) in ids else None
    match = FOUND.match(line)
    if not match or int(match[1]) not in ids:
        return None
    correction = match[2].strip()
    again = re.match(r"^(\d{1,3})\s+(?=[A-Z])", correction)  # the old id, or MEDEC's stray 1, before the sentence
    if again and int(again[1]) in {1, int(match[1])}:
        correction = correction[again.end() :]
    return Reading(1, int(match[1]), correction.strip().strip('"'))
