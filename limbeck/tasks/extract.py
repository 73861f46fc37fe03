"""What a model's free text says: its last number, the letter it chose, its block of code. Nothing is guessed.

Where a text can be read in two ways, the reading is a reason (a string), and the answer counts as missing.
"""

from __future__ import annotations

import re
import unicodedata

# The pattern of lm-evaluation-harness's flexible rule: the last run of digits, $ , and . (or one digit), sign included.
NUMBER = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
STRICT = re.compile(r"#### (\-?[0-9.,]+)")
FENCE = re.compile(r"```[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
MINUS = str.maketrans({"−": "-", "–": "-", "﹣": "-", "－": "-"})


def last_number(text: str) -> float | None:
    """The last number of a text: 1,234 and $12. and -3 and full-width or Indic digits are read; None where there is none."""
    for wide, narrow in reversed(NUMBER.findall(_ascii_digits(text))):
        value = to_number(wide or narrow)
        if value is not None:
            return value
    return None


def strict_number(text: str) -> float | None:
    """The first number after ####, GSM8K's own mark."""
    found = STRICT.search(_ascii_digits(text))
    return to_number(found[1]) if found else None


def to_number(text: str) -> float | None:
    """'$1,234.' is 1234; None for what is no number, such as '1.2.3' or '...'."""
    bare = text.replace(",", "").replace("$", "").rstrip(".")
    try:
        return float(bare) if bare and bare != "-" else None
    except ValueError:
        return None


def _ascii_digits(text: str) -> str:
    """Digits of every script as 0-9, every minus as -."""
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(c, c)) for c in text.translate(MINUS))


def choice_letter(text: str, letters: str = "ABCD") -> str | tuple[str, str]:
    """The one letter chosen, or ("", reason). Explicit forms ("Answer: B", "the answer is (B)", \\boxed{B}) go before "B) ..." and a bare "B".

    Where explicit forms differ, one that stands on the last line is the answer: what came before was thought over. "Answer: B, C" is two.
    """
    text = unicodedata.normalize("NFKC", text).replace("**", "").replace("__", "").strip()
    one = f"[{letters}]"
    said = r"(?i:answer|option|choice|respuesta|réponse|antwort|答案)(?i:\s*is|\s*:|\s*=|\s)*\s*[(\[\"'$ ]*(?:\\(?:text|boxed|mathrm)\{)*"
    marks = [*re.finditer(rf"{said}({one})(?![A-Za-z'])((?:\s*[)\]]?\s*(?:,|/|&|and|or)\s*[(\[]?{one}(?![A-Za-z'])[)\]]?)*)", text), *re.finditer(rf"\\boxed\{{\(?(?:\\text\{{)?\(?({one})\)?\}}()", text)]
    marks += re.finditer(rf"(?im)^answer\s*:\s*([{letters.lower()}])\s*\.?\s*$()", text)
    marks.sort(key=lambda m: m.start())
    explicit = [letter for m in marks for letter in (m[1].upper(), *re.findall(one, m[2]))]
    if len(set(explicit)) > 1 and not marks[-1][2] and "\n" not in text[marks[-1].start() :] and text[: marks[-1].start()].endswith("\n"):
        return explicit[-1]
    for found in (explicit, re.findall(rf"^({one})(?:[)\].:]|\s*$)", text), re.findall(rf"(?m)^[(\[]?({one})[)\].]?\s*$", text), re.findall(rf"\(({one})\)", text)):
        distinct = sorted(set(found))
        if len(distinct) == 1:
            return distinct[0]
        if len(distinct) > 1:
            return "", f"several letters: {', '.join(distinct)}"
    return "", "no letter in the answer"


def code_block(text: str, language: str = "python") -> str:
    """The first fenced block of a language (or of none named); the whole text where nothing is fenced."""
    blocks = FENCE.findall(text)
    named = [code for tag, code in blocks if tag.lower() in (language, language[:2], "")]
    return (named or [code for _, code in blocks] or [text])[0]
