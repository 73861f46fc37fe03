"""From what a model wrote to what it claims: correct, or sentence N should read so. Never a guess.

An answer that cannot be read gives the reason as a string. It is counted as missing, not as a right or a wrong flag: a harness that
took "CORRECT." for an error (because it is not the exact word) measured its own parser.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

EMPTY, REFUSED, UNFINISHED = "empty", "refused", "reasoning without an answer"
TWO_ANSWERS, NO_SUCH, UNREADABLE = "two answers", "no such sentence", "neither CORRECT nor a sentence number"


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer claims. `correction` is None where none is given; of a text called correct sentence_id is -1."""

    has_error: bool
    sentence_id: int = -1
    correction: str | None = None


CORRECT = Reading(False)

_OPEN_REASONING = re.compile(r"<(?:think|thinking|reasoning)>", re.I)
_CLOSE_REASONING = re.compile(r"</(?:think|thinking|reasoning)>", re.I)
_MARKER = re.compile(r"\b(?:final |my |the )?(?:answer|output|response|verdict|result)\b(?: is)?\s*:", re.I)
_REFUSAL = re.compile(
    r"\b(?:I(?:'m| am)?|we)\s+(?:(?:am |are )?(?:sorry|unable|not able)|can(?:no|')t|can not|won't|will not|must decline|decline)\b"
    r"|\bas an? (?:AI|language model)\b|\b(?:consult|see) (?:a|your) (?:doctor|physician|healthcare)",
    re.I,
)
_SAYS_CORRECT = re.compile(
    r"(?:the |this )?(?:[a-z]{1,20} ){0,2}(?:text|note|narrative|passage|report|case)\b(?: \w{1,20}){0,2}? (?:is|appears|seems|looks)(?: to be)?(?: \w{1,20}ly)? correct"
    r"|(?:there (?:is|are|was|were) |(?:I |we )?(?:found|find|see|detect(?:ed)?) |contains? |has |with )?no (?:medical |clinical |factual )?(?:errors?|mistakes?)(?: (?:was|were|is|are))?(?: (?:found|detected|present))?"
    r"|all (?:the )?sentences are correct",
    re.I,
)
_FINDS_NONE = re.compile(r"\b(?:cannot|can't|could not|couldn't|do(?:es)? not|did not|don't|doesn't|didn't) (?:find|see|detect|identify|contain|have) (?:any|an|a) (?:medical |clinical |factual )?(?:errors?|mistakes?)", re.I)
_HEDGED = re.compile(r"\b(?:whether|if|unless|not|cannot|can't|isn't|incorrect|unsure|unclear|but|however|except)\b", re.I)
_LABEL = r"(?:the )?(?:error(?:neous)? (?:is )?(?:in )?)?(?:the )?(?:error )?(?:sentence|line)(?: (?:number|id|no\.?))?"
_CLAIM = re.compile(
    rf"(?P<label>{_LABEL}\s*[:#]?\s*)?(?P<open>[\[(<]?)\s*(?P<id>-?\d{{1,6}}(?!\d))\s*(?P<close>[\])>]?)(?:\s*(?P<mark>[|:.)]|->|→|[-–—](?=\s))\s*|(?P<gap>\s+)|$)(?P<rest>.*)",
    re.I | re.S,
)
_NAMED = re.compile(r"\b(?:sentence|line)(?: (?:number|id|no\.?))?\s*[:#]?\s*\[?(?P<id>\d{1,6})\b", re.I)
_FAULT = re.compile(r"\b(?:errors?|erroneous|incorrect|mistakes?|wrong|inaccurate)\b", re.I)
_CORRECTION = re.compile(
    r"\b(?:the )?(?:correction|corrected (?:sentence|version|text)|correct(?:ed)?(?: (?:sentence|version))?|it should (?:read|be)|should (?:read|be corrected to))(?: is| should be| would be| reads)?\s*:\s*(?P<text>.+)",
    re.I | re.S,
)
_EXPLAINS = re.compile(r"^\W*(?:explanation|reasoning|reason|rationale|note|because|justification)\b", re.I)


def read_answer(text: str, sentences: Sequence[str]) -> Reading | str:
    """What a text claims about a note of these sentences, or why it cannot be read."""
    text = _CLOSE_REASONING.split(text)[-1]  # some servers keep the opening tag for themselves
    if _OPEN_REASONING.search(text):
        return UNFINISHED
    lines = [line for line in map(_plain, text.splitlines()) if line]
    if not lines:
        return EMPTY
    marked = [at for at, line in enumerate(lines) if _MARKER.search(line) and not line[:1].isdigit()]
    if marked:  # what follows the last "Answer:" is the answer, whatever was thought aloud before
        tail = [_MARKER.split(lines[marked[-1]])[-1].strip(), *lines[marked[-1] + 1 :]]
        found = _decide([line for line in tail if line], sentences)
        if found != UNREADABLE:
            return found
    found = _decide(lines, sentences)
    return REFUSED if found == UNREADABLE and _REFUSAL.search(" ".join(lines)) else found


def _plain(line: str) -> str:
    """A line without its markdown and the quotation marks around it."""
    line = re.sub(r"\*\*|__|`+", "", line).strip()
    line = re.sub(r"^(?:#+|>|[-*•])\s+", "", line).strip()
    while len(line) > 1 and line[0] == line[-1] == '"':
        line = line[1:-1].strip()
    return line


def _decide(lines: Sequence[str], sentences: Sequence[str]) -> Reading | str:
    """The one claim these lines make. Lines that repeat a sentence of the note are no claim unless they are the only one."""
    claims: list[Reading | str] = []
    for line in lines:
        claim = _claim(line, sentences)
        if claim is not None:
            claims.append(claim)
    if not claims:
        return _told(lines, sentences)
    distinct = list(dict.fromkeys(claims))
    if distinct == [CORRECT] and _blamed(lines):
        return TWO_ANSWERS
    changed = [c for c in distinct if isinstance(c, str) or not _repeats(c, sentences)]
    if len(changed) == 1:
        return _completed(changed[0], distinct, lines)
    return distinct[0] if len(distinct) == 1 else _same_place(changed) or TWO_ANSWERS


def _completed(claim: Reading | str, distinct: Sequence[Reading | str], lines: Sequence[str]) -> Reading | str:
    """A bare number, with the correction that another line labels as one."""
    if isinstance(claim, Reading) and claim.has_error and not claim.correction:
        return Reading(True, claim.sentence_id, _labelled(lines))
    repeated = {c.sentence_id for c in distinct if isinstance(c, Reading) and c != claim}
    if len(repeated) == 1 and isinstance(claim, Reading) and claim.sentence_id not in repeated:
        return TWO_ANSWERS  # one sentence copied, and another claim: which one is meant?
    return claim


def _same_place(claims: Sequence[Reading | str]) -> Reading | None:
    """A number and, on a line of its own, the same number with its correction."""
    if not all(isinstance(c, Reading) and c.has_error for c in claims):
        return None
    readings = [c for c in claims if isinstance(c, Reading)]
    full = [c for c in readings if c.correction]
    return full[0] if len({c.sentence_id for c in readings}) == 1 and len(full) == 1 else None


def _repeats(claim: Reading, sentences: Sequence[str]) -> bool:
    return claim.has_error and claim.correction is not None and _words(claim.correction) == _words(sentences[claim.sentence_id])


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _claim(line: str, sentences: Sequence[str]) -> Reading | str | None:
    """What one line claims: a reading, a claim that cannot hold (a reason), or nothing (None)."""
    if re.fullmatch(r"correct\b[\s.!,;:-]*(?:-1|NA)?[\s.]*(?:NA)?", line, re.I) or re.fullmatch(r"(?:0\s+)?-1(?:\s+(?:NA|CORRECT\.?))?", line):
        return CORRECT
    opening = re.match(r"(?:CORRECT\b|[Cc]orrect(?=\s*[.,;:!–-]))(?P<mark>[\s.,;:!–-]*)", line)
    if opening:
        rest = line[opening.end() :]
        if isinstance(_numbered(rest, sentences), Reading):
            return TWO_ANSWERS
        announces = not opening["mark"].strip() or ":" in opening["mark"]  # "CORRECT version ...", "Correct: ..."
        return CORRECT if _SAYS_CORRECT.search(rest) or not announces else None
    return _numbered(line, sentences)


def _numbered(line: str, sentences: Sequence[str]) -> Reading | str | None:
    match = _CLAIM.match(line)
    if not match:
        return None
    sure = bool(match["label"] or match["open"] or match["mark"] == "|")
    number, rest = int(match["id"]), match["rest"].strip()
    if match["label"] and not match["mark"] and not match["close"] and rest:
        return None  # "Sentence 10 contains an error": prose
    if not sure and match["mark"] == "." and re.match(r"\d", rest):
        return None  # "4.1 mEq/L"
    if number in (0, 1) and not sure and not rest:
        return None  # a flag, or a sentence without its correction?
    if not 0 <= number < len(sentences):
        return NO_SUCH if sure or match["mark"] or not rest or rest[:1].isupper() else None
    if match["gap"] and not sure and rest[:1].islower() and not sentences[number][:1].islower():
        return None  # "10 mg of prednisone is too much"
    flagged = re.match(r"(\d{1,6})\s+(?=\S)", rest)
    if flagged and not sentences[number].startswith(flagged[1]) and int(flagged[1]) < len(sentences):
        if flagged[1] != "1":
            return TWO_ANSWERS  # "3 10 Prednisone is given."
        rest = rest[flagged.end() :]  # "10 1 Prednisone is given.": sentence, flag, correction
    if re.fullmatch(r"(?:is |seems )?correct[.!]?", rest, re.I):
        return None  # one of many sentences gone through
    if _starts_another(rest, number, sentences):
        return TWO_ANSWERS
    return Reading(True, number, _rewritten(rest, number, sentences[number]))


def _starts_another(rest: str, number: int, sentences: Sequence[str]) -> bool:
    """Whether a further numbered sentence of the note begins within the line."""
    others = [(int(m[1]), m[2]) for m in re.finditer(r"[.!?]\s{1,9}(\d{1,6})\s*[|:]?\s+([A-Z]\w*)", rest)]
    return any(n != number and n < len(sentences) and sentences[n].startswith(word) and not sentences[number].endswith(rest) for n, word in others)


def _rewritten(rest: str, number: int, original: str) -> str | None:
    """The correction in what follows the sentence number: after an arrow, a label, or the number said again."""
    if _words(rest) == _words(original):
        return clean_correction(rest)
    rest = re.split(r"\s*(?:->|→|=>)\s*", rest)[-1]
    labelled = _CORRECTION.search(rest)
    if labelled and labelled.group()[:12] not in original:
        rest = labelled["text"]
    if rest.startswith(original):
        rest = re.sub(rf"^\W*{number}\b", str(number), rest[len(original) :]) or rest
    again = re.match(rf"{number}(?:\s*[|:.]\s*|\s+)(?=\D)", rest)  # "should be corrected to: 3 Suspected ..."
    return clean_correction(rest[again.end() :] if again and not original.startswith(again.group()) else rest)


def _told(lines: Sequence[str], sentences: Sequence[str]) -> Reading | str:
    """Claims in prose: "the error is in sentence 10 ... The correction is: ...", "The text is correct"."""
    blamed = _blamed(lines)
    said = [line for line in lines if not line[:1].isdigit() and (_FINDS_NONE.search(line) or _agrees(line))]
    if len(blamed) > 1 or (blamed and said):
        return TWO_ANSWERS
    if blamed:
        number = blamed.pop()
        return Reading(True, number, _labelled(lines) or _after_number(" ".join(lines), number)) if number < len(sentences) else NO_SUCH
    return CORRECT if said else UNREADABLE


def _agrees(line: str) -> bool:
    return not _HEDGED.search(line) and bool(_SAYS_CORRECT.search(line) or re.search(r"\bCORRECT[.!\"]*$", line))


def _blamed(lines: Sequence[str]) -> set[int]:
    """The sentences that prose calls wrong."""
    parts = re.split(r"(?<=[.!?])\s+", " ".join(lines))
    return {int(m["id"]) for part in parts if _FAULT.search(part) and not _SAYS_CORRECT.search(part) for m in _NAMED.finditer(part)}


def _labelled(lines: Sequence[str]) -> str | None:
    """The text that is called the correction, up to the end of its line or to an explanation."""
    for at, line in enumerate(lines):
        match = _CORRECTION.search(line)
        if match:
            return clean_correction(match["text"])
        if at and re.fullmatch(r"(?:the )?(?:correction|corrected (?:sentence|version))\s*:?", lines[at - 1], re.I):
            return clean_correction(line)
    rest = [line for line in lines if not re.fullmatch(r"\D{0,30}\d+\D?", line) and not _EXPLAINS.search(line)]
    return clean_correction(rest[0]) if len(lines) == 2 and len(rest) == 1 else None


def _after_number(text: str, number: int) -> str | None:
    """What stands after "sentence 10:" where nothing is labelled as the correction."""
    match = re.search(rf"\b{number}\]?\s*[:|]\s*(?P<text>.+)", text)
    return clean_correction(match["text"]) if match else None


def clean_correction(text: str) -> str | None:
    """One line, single spaces, no quotation marks around it: as the official reader takes it. None for NA and for nothing."""
    text = " ".join(text.split())
    while text.startswith('"') and len(text) > 1:
        text = text[1:]
    while text.endswith('"') and len(text) > 1:
        text = text[:-1]
    text = text.strip()
    return None if text in ("", "NA", '"') else text


_RUN_LINE = re.compile(r"([a-z0-9\-]+)\s(\d+)\s(-?\d{1,6})\s(.+)")


def read_run(text: str) -> tuple[dict[str, Reading], list[str]]:
    """A run file of the shared task, a line a note: id, flag, sentence, correction. Also the lines that are not of that form.

    As officially: the last line of an id holds, and a flag of 0 takes the correction away but not the sentence number.
    """
    readings, refused = {}, []
    for line in filter(None, map(str.strip, text.splitlines())):
        match = _RUN_LINE.fullmatch(line)
        if not match:
            refused.append(line)
            continue
        has_error = match[2] != "0"
        readings[match[1]] = Reading(has_error, int(match[3]), clean_correction(match[4]) if has_error else None)
    return readings, refused
