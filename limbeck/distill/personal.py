"""Personal data and secrets in texts, by their form: found, counted, masked. What only a reader could recognise (names) is not looked for.

A form that has a check digit is believed only where it fits (cards by Luhn, IBAN by its remainder). Addresses that are there to be
shown (example.com, 192.0.2.1, 555-0123) are no one's.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}(?![\w-])")
_CARD = re.compile(r"(?<![\w.+-])(?:\d[ -]?){12,18}\d(?![\w-])(?!\.\d)")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_SSN = re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)(?!\.\d)")
_PHONE = re.compile(
    r"(?<![\w.+-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}"  # +49 30 123456, +1 (212) 555 1234
    r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|[2-9]\d{2}[.-][2-9]\d{2}[.-]\d{4}"  # (212) 456-7890, 212-456-7890
    r"|(?:(?:phone|tel|call|mobile|fax|cell)\b\.?:? ?)0\d{1,4}[ /-]?\d{3,8}(?:[ -]?\d{2,6})?)(?![\w-])(?!\.\d)",
    re.IGNORECASE,
)
_KEYS = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----(?:[\s\S]*?-----END (?:[A-Z0-9]+ )*PRIVATE KEY-----|[\s\S]*)"
    r"|(?<![A-Za-z0-9_-])(?:sk-(?:[a-z]+\d*-)*[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{30,}|glpat-[A-Za-z0-9_-]{20,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{35}|xox[abprs]-[A-Za-z0-9-]{10,}|hf_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,}"
    r"|[sr]k_live_[A-Za-z0-9]{20,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,})(?![A-Za-z0-9])"
)
_VERSION_BEFORE = re.compile(r"(?:version|release|ver\.?|\bv|build|[a-z]-|==|>=|<=|~=)\s*$", re.IGNORECASE)
_SHOWN_HOSTS = re.compile(r"@(?:[\w-]+\.)*(?:example\.(?:com|org|net|edu)|[\w-]+\.(?:example|test|invalid|local|localhost)|(?:email|domain|test|company|mail|host|server|yourdomain|mydomain)\.(?:com|org|net|tld)|git(?:hub|lab)\.com|bitbucket\.org)$", re.IGNORECASE)
_SHOWN_NETS = [ipaddress.ip_network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "1.2.3.4/32", "8.8.8.8/32", "8.8.4.4/32", "1.1.1.1/32")]
_CARD_LENGTHS = {2: (16,), 3: (14, 15, 16), 4: (16, 19), 5: (16,), 6: (16, 17, 18, 19)}  # digits of a card by its first one
_IBAN_LENGTHS = {"AT": 20, "BE": 16, "BG": 22, "CH": 21, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "EE": 20, "ES": 24, "FI": 18, "FR": 27, "GB": 22, "GR": 27, "HR": 21, "HU": 28, "IE": 22, "IS": 26, "IT": 27, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "MC": 27, "MT": 31, "NL": 18, "NO": 15, "PL": 28, "PT": 25, "RO": 24, "SA": 24, "SE": 24, "SI": 19, "SK": 24, "TR": 26, "AE": 23}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of personal data: its kind and where it stands."""

    kind: str
    start: int
    end: int


def find_personal(text: str) -> list[Finding]:
    """What there is, in order of place; nothing is found twice."""
    taken: list[Finding] = []
    for kind, pattern, believe in _FORMS:
        for match in pattern.finditer(text):
            start, end = match.span()
            if believe(text, match) and not any(f.start < end and start < f.end for f in taken):
                taken.append(Finding(kind, start, end))
    return sorted(taken, key=lambda f: f.start)


def count_kinds(text: str) -> dict[str, int]:
    """How often each kind stands in a text."""
    return dict(sorted(Counter(f.kind for f in find_personal(text)).items()))


def mask(text: str) -> str:
    """The text with each finding replaced by its kind and, where it is long enough to stay hidden, its first two characters."""
    return "".join(_masked(text))


def _masked(text: str) -> Iterator[str]:
    at = 0
    for finding in find_personal(text):
        shown = text[finding.start : finding.start + 2] if finding.end - finding.start >= 12 else ""
        yield f"{text[at : finding.start]}<{finding.kind}: {shown}...>"
        at = finding.end
    yield text[at:]


def _email(text: str, match: re.Match[str]) -> bool:
    return not _SHOWN_HOSTS.search(match[0]) and not match[0].split("@")[0].lower().startswith(("noreply", "no-reply")) and not text[max(0, match.start() - 3) : match.start()].endswith("://")


def _luhn(text: str, match: re.Match[str]) -> bool:
    digits = [int(c) for c in match[0] if c.isdigit()]
    doubled = [d if at % 2 == 0 else (2 * d - 9 if d > 4 else 2 * d) for at, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0 and len(digits) in _CARD_LENGTHS.get(digits[0], ()) and len(set(digits)) > 2


def _iban(text: str, match: re.Match[str]) -> bool:
    bare = match[0].replace(" ", "")
    length = _IBAN_LENGTHS.get(bare[:2])
    if length is None or len(bare) < length:
        return False
    bare = bare[:length]  # a word in capitals may follow
    return int("".join(str(int(c, 36)) for c in bare[4:] + bare[:4])) % 97 == 1


def _ipv4(text: str, match: re.Match[str]) -> bool:
    """An address that could be somebody's: public, no version number, none that documentation shows."""
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:
        return False
    return address.is_global and not any(address in net for net in _SHOWN_NETS) and not _VERSION_BEFORE.search(text[max(0, match.start() - 12) : match.start()]) and int(match[0].split(".")[0]) > 9


def _phone(text: str, match: re.Match[str]) -> bool:
    digits = re.sub(r"\D", "", match[0])
    return 7 <= len(digits) <= 15 and not re.search(r"555[ .-]?01\d\d$", match[0]) and len(set(digits)) > 3


def _believe(text: str, match: re.Match[str]) -> bool:
    return True


_FORMS: tuple[tuple[str, re.Pattern[str], Callable[[str, re.Match[str]], bool]], ...] = (
    ("key", _KEYS, _believe), ("e-mail", _EMAIL, _email), ("iban", _IBAN, _iban), ("card", _CARD, _luhn), ("ssn", _SSN, _believe), ("ip", _IPV4, _ipv4), ("phone", _PHONE, _phone),
)  # fmt: skip
