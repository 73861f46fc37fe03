"""An utterance cut into words, numbers and dates, each knowing the characters it came from.

Numbers are read in the many ways people write them ("$1,200", "1.5k", "fifteen hundred", "20 %", "half") and dates as
periods ("March 2024", "3/5/2024", "5 Jan"), because an answer copies literals instead of spelling them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date

MONTHS = {
    name: number
    for number, names in enumerate(
        ["january jan", "february feb", "march mar", "april apr", "may", "june jun", "july jul", "august aug",
         "september sep sept", "october oct", "november nov", "december dec"], 1)
    for name in names.split()
}  # fmt: skip
UNITS = {
    word: value
    for value, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
    )
}
TENS = {word: 10 * value for value, word in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2)}
SCALES = {"hundred": 100, "thousand": 1000, "grand": 1000, "million": 1_000_000, "billion": 1_000_000_000, "dozen": 12}
ORDINALS = {
    word: value
    for value, word in enumerate(["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"], 1)
}
UNIT_DAYS = {"week": 7, "fortnight": 14, "month": 30, "year": 365}
SUFFIXES = {"k": 1e3, "thousand": 1e3, "grand": 1e3, "m": 1e6, "mm": 1e6, "million": 1e6, "mil": 1e6, "b": 1e9, "bn": 1e9,
            "billion": 1e9, "hundred": 1e2, "dozen": 12}  # fmt: skip

_RANGE = r"\$?[A-Za-z]{1,2}\$?\d{1,6}\s?(?:[:\-–]|to|thru)\s?\$?[A-Za-z]{1,3}\$?\d{0,6}(?![\w/])|\b[A-Z]{1,2}\d{1,5}\b"
_MONTH = r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_DATES = [
    r"(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})",
    r"(?P<m>\d{1,2})/(?P<d>\d{1,2})/(?P<y>\d{4}|\d{2})",
    rf"(?P<d>{_DAY})(?:\s+of)?[\s\-]+(?P<b>{_MONTH})\.?,?[\s\-]+(?P<y>\d{{4}})",
    rf"(?P<b>{_MONTH})\.?\s+(?P<d>{_DAY}),?\s+(?P<y>\d{{4}})",
    rf"(?P<b>{_MONTH})\.?,?[\s\-]+(?:of\s+)?(?P<y>\d{{4}})",
    r"(?P<y>(?:19|20)\d{2})[-/](?P<m>0[1-9]|1[0-2])(?![-/\d])",
    r"(?P<m>0?[1-9]|1[0-2])/(?P<y>(?:19|20)\d{2})",
    rf"(?P<b>{_MONTH})\.?\s+(?P<d>{_DAY})(?![\d,.]*\d)",
    rf"(?P<d>{_DAY})(?:\s+of)?\s+(?P<b>{_MONTH})",
]
_NUMBER = (
    r"(?P<sign>[-−+])?(?P<cur>[$€£¥₹]\s?)?(?P<sign2>-)?(?P<num>\d{1,3}(?:,\d{2,3})+(?:\.\d+)?|\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)"
    r"(?:(?P<suffix>k|mm?|bn?|mil)\b|\s?(?P<word>thousand|grand|million|billion|hundred|dozen)\b)?"
    r"(?P<pct>\s?(?:%|percent\b|pct\b|per\s?cent\b))?"
)


def _numbered(pattern: str, index: int) -> str:
    """A pattern whose group names end in its index, so that several can live in one expression."""
    return re.sub(r"\(\?P<(\w)>", lambda found: f"(?P<{found.group(1)}{index}>", pattern)


_TOKEN = re.compile(
    "|".join(
        [rf"(?P<range>{_RANGE})"]
        + [rf"(?P<date{i}>(?<![\w/.]){_numbered(pattern, i)}(?![\w/]))" for i, pattern in enumerate(_DATES)]
        + [
            rf"(?P<number>(?<![\w.]){_NUMBER}(?:(?:st|nd|rd|th)\b)?\+?)",
            r"(?P<operator>>=|<=|<>|!=|==|=>|=<|≥|≤|≠|[><=&|])",
            r"(?P<error>#[A-Z]+/?[A-Z0]*[!?]?)",
            r"(?P<word_>[^\W\d_](?:[^\W_]|['’](?=\w))*)",
            r"(?P<quote>[\"“”`]|(?<!\w)'|'(?!\w))",
            r"(?P<other>[^\s\w]|_|\d+)",
        ]
    ),
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Word:
    """One token of an utterance. `value` is set for numbers, `period` for dates ("2024", "2024-03", "2024-03-05")."""

    text: str
    start: int
    end: int
    sort: str  # word, number, date, range, operator, error, other
    value: float | None = None
    period: str | None = None
    days: float | None = None  # a number followed by weeks, months or years, as days
    is_percent: bool = False
    is_money: bool = False
    is_quoted: bool = False
    is_ordinal: bool = False


def lex(utterance: str, today: date) -> list[Word]:
    """The words of an utterance in order; quotes are dropped and remembered as `is_quoted`."""
    words: list[Word] = []
    open_quote = ""
    for match in _TOKEN.finditer(utterance):
        sort, text = str(match.lastgroup), match.group()
        sort = next(name for name in ("range", "number", "operator", "error", "word_", "quote", "other", "date") if _has(match, name))
        if sort == "quote":
            open_quote = "" if open_quote else text
            continue
        word = Word(text, match.start(), match.end(), sort.rstrip("_"), is_quoted=bool(open_quote))
        if sort == "date":
            word = replace(word, sort="date", period=_period(match, today))
            if word.period is None:
                word = replace(word, sort="other")
        elif sort == "number":
            word = _number(match, word)
        words.append(word)
    return _days(_months(_number_words(words, utterance), today))


def _days(words: list[Word]) -> list[Word]:
    """ "2 weeks" also knows that it is 14 days, and "a week" that it is 7."""
    out = list(words)
    for at, word in enumerate(words[:-1]):
        factor = UNIT_DAYS.get(words[at + 1].text.lower().rstrip("s"))
        if factor and word.sort == "word" and word.text.lower() in ("a", "an"):
            out[at] = replace(word, sort="number", value=1.0, days=factor)
        elif word.value is not None and factor:
            out[at] = replace(word, days=word.value * factor)
    return out


def _has(match: re.Match[str], name: str) -> bool:
    if name == "date":
        return True
    return match.group(name) is not None


def _period(match: re.Match[str], today: date) -> str | None:
    groups = match.groupdict()
    index = next(i for i in range(len(_DATES)) if groups.get(f"date{i}") is not None)
    year_text, month_text = groups.get(f"y{index}"), groups.get(f"m{index}")
    named, day_text = groups.get(f"b{index}"), groups.get(f"d{index}")
    year = int(year_text) if year_text else today.year
    year += 2000 if year < 100 else 0
    month = (MONTHS.get(named.lower()) or MONTHS[named[:3].lower()]) if named else int(month_text or 0)
    day = int(re.sub(r"\D", "", day_text)) if day_text else None
    if month > 12 and day is not None and day <= 12:
        month, day = day, month
    try:
        date(year, month, day or 1)
    except ValueError:
        return None
    return f"{year:04d}-{month:02d}" + (f"-{day:02d}" if day else "")


def _number(match: re.Match[str], word: Word) -> Word:
    value = float(match.group("num").replace(",", "").rstrip("."))
    suffix = (match.group("suffix") or match.group("word") or "").lower()
    if suffix == "mm" and not match.group("cur"):
        suffix = ""  # "20mm" of rain; "$20mm" is money
    value = round(value * SUFFIXES.get(suffix, 1.0), 9)
    if match.group("sign") in ("-", "−") or match.group("sign2"):
        value = -value
    is_ordinal = bool(re.search(r"(st|nd|rd|th)\+?$", match.group(), re.IGNORECASE))
    return replace(
        word, value=value, is_percent=bool(match.group("pct")), is_money=bool(match.group("cur")), is_ordinal=is_ordinal,
        period=f"{int(value)}" if 1900 <= value <= 2100 and value == int(value) and not suffix else None,
    )  # fmt: skip


def _number_words(words: list[Word], utterance: str) -> list[Word]:
    """Runs such as "twenty five", "fifteen hundred", "a dozen" and "five percent" become one number."""
    out: list[Word] = []
    at = 0
    while at < len(words):
        value, length = _spoken(words, at)
        if length:
            last = words[at + length - 1]
            is_percent = at + length < len(words) and words[at + length].text.lower() in ("percent", "pct", "%")
            if is_percent:
                last = words[at + length]
                length += 1
            text = utterance[words[at].start : last.end]
            out.append(replace(words[at], text=text, end=last.end, sort="number", value=value, is_percent=is_percent))
            at += length
        else:
            word = words[at]
            low = word.text.lower()
            if low == "half":
                word = replace(word, sort="number", value=50.0, is_percent=True)
            elif low in ("quarter",):
                word = replace(word, sort="number", value=25.0, is_percent=True)
            elif low in ORDINALS:
                word = replace(word, is_ordinal=True)
            out.append(word)
            at += 1
    return out


def _spoken(words: list[Word], at: int) -> tuple[float, int]:
    total, current, length = 0.0, 0.0, 0
    seen = False
    while at + length < len(words):
        low = words[at + length].text.lower()
        following = words[at + length + 1].text.lower() if at + length + 1 < len(words) else ""
        if low in UNITS or low in TENS:
            if seen and low in UNITS and not (current >= 20 and current % 10 == 0 and UNITS[low] < 10):
                break
            current += UNITS.get(low, TENS.get(low, 0))
            seen = True
        elif low in SCALES and (seen or (low in ("hundred", "thousand", "million", "dozen") and length)):
            current = max(current, 1) * SCALES[low]
            if SCALES[low] >= 1000:
                total, current = total + current, 0.0
        elif low in ("a", "an") and not seen and following in SCALES:
            current = 1.0
            seen = True
        elif (low == "and" and seen and current >= 100 and (following in UNITS or following in TENS)) or (low == "-" and seen and following in UNITS):
            pass
        else:
            break
        length += 1
    if not seen:
        return 0.0, 0
    return total + current, length


def _months(words: list[Word], today: date) -> list[Word]:
    """A month alone takes the year of a date soon after it, else today's."""
    out: list[Word] = []
    for at, word in enumerate(words):
        low = word.text.lower().rstrip(".")
        if word.sort == "word" and low in MONTHS and (low not in ("may", "mar", "march", "sep", "dec") or word.text[0].isupper() or _dated(words, at)):
            near = [w.period for w in words[at + 1 : at + 5] if w.period]
            year = near[0][:4] if near else f"{today.year:04d}"
            word = replace(word, sort="date", period=f"{year}-{MONTHS[low]:02d}")
        out.append(word)
    return out


def _dated(words: list[Word], at: int) -> bool:
    return at > 0 and words[at - 1].text.lower() in ("in", "before", "after", "since", "until", "from", "during", "by", "and", "to", "last", "between")
