"""People's objections: lists of texts (by hash), ids and domains that may not be learnt from, applied wherever records enter.

A text list holds one entry a line, `sha256:HEX`, `id:ID` or `domain:example.org`; `#` begins a comment. A .jsonl list holds objects with
one of those keys and, if people like, a `note`. A hash is of the text's normal form: Unicode NFC, white space at both ends cut, each run
of white space one space, UTF-8. So nobody has to hand over the text they object to. A domain covers its sub-domains.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from limbeck.errors import LimbeckError

KINDS = ("sha256", "id", "domain")
_HEX = re.compile(r"[0-9a-f]{64}")
_HASH_LINE = re.compile(r"sha256:[0-9a-f]{64}\n?")
_DOMAIN = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9-]*[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_TURN = re.compile(r"(~\d+)+$")
_ADDRESS = re.compile(r"https?://[^\s<>\"'\])}]+", re.IGNORECASE)
FIX = "one entry a line: sha256:HEX (of `limbeck terms --hash-text FILE`), id:ID or domain:example.org; # begins a comment"


def normal_form(text: str) -> str:
    """NFC, white space at the ends cut and elsewhere one space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def hash_text(text: str) -> str:
    """SHA-256 of a text's normal form, as an opt-out list names it."""
    return hashlib.sha256(normal_form(text).encode("utf-8", "surrogatepass")).hexdigest()


def request_id(record_id: str) -> str:
    """The id of the request that a record answers: a second answer, or a second turn, is "ID~2"."""
    return _TURN.sub("", record_id)


class OptOut:
    """Objections from any number of lists. `count` says how many records each kind of objection has met since it was loaded."""

    def __init__(self, hashes: Iterable[bytes] = (), ids: Iterable[str] = (), domains: Iterable[str] = ()) -> None:
        self._hashes, self._ids, self._domains = set(hashes), set(ids), set(domains)
        self.count: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._hashes) + len(self._ids) + len(self._domains)

    @classmethod
    def load(cls, paths: Sequence[str | Path] | str | Path) -> OptOut:
        """From files. Raises LimbeckError, naming file and line, for anything that is no entry: an objection misread would be ignored."""
        found = cls()
        for path in [paths] if isinstance(paths, str | Path) else paths:
            found._read(Path(path))
        return found

    def _read(self, path: Path) -> None:
        number = 0
        try:
            with path.open(encoding="utf-8-sig") as file:
                for number, line in enumerate(file, 1):
                    if _HASH_LINE.fullmatch(line):  # of a million lines most are of this form
                        self._hashes.add(bytes.fromhex(line[7:71]))
                    elif path.suffix == ".jsonl":
                        if line.strip():
                            self._add(*_of_json(line, path, number), path, number)
                    elif entry := _bare(line):
                        kind, colon, value = entry.partition(":")
                        self._add(kind.strip().casefold() if colon else "", value.strip(), path, number)
        except UnicodeDecodeError as problem:
            raise LimbeckError("an opt-out list is no UTF-8", f"{path}, after line {number}", "save it as UTF-8") from problem
        except OSError as problem:
            raise LimbeckError(f"the opt-out list cannot be read: {problem.strerror or problem}", str(path), "name a file that exists, or take it out of keep.opt_out") from problem

    def _add(self, kind: str, value: str, path: Path, number: int) -> None:
        if kind not in KINDS:
            raise LimbeckError(f"{kind!r} is no kind of objection" if kind else "this line is no objection", f"{path}, line {number}", FIX)
        if kind == "sha256":
            if not _HEX.fullmatch(value.casefold()):
                raise LimbeckError(f"{value[:80]!r} is no SHA-256: it has 64 hexadecimal digits", f"{path}, line {number}", FIX)
            self._hashes.add(bytes.fromhex(value))
        elif kind == "id":
            if not value:
                raise LimbeckError("an id is empty", f"{path}, line {number}", FIX)
            self._ids.add(value)
        else:
            domain = _ascii(value)
            if not _DOMAIN.fullmatch(domain):
                raise LimbeckError(f"{value[:80]!r} is no domain: no scheme, no path, no star; sub-domains are covered", f"{path}, line {number}", FIX)
            self._domains.add(domain)

    def objection(self, id: str, texts: Iterable[str | None] = (), source: str | Mapping[str, object] = "") -> str:
        """Why a record may not be used ("id", "text", "domain example.org"), counted; "" where nobody objects.

        `texts` are whole texts of the record (request, answer ...); `source` is where it came from: an address, or a record's meta.
        Addresses inside the texts count too.
        """
        reason = self._look(id, [t for t in texts if t], source)
        if reason:
            self.count[reason.split(" ")[0]] += 1
        return reason

    def _look(self, id: str, texts: Sequence[str], source: str | Mapping[str, object]) -> str:
        if self._ids and (id in self._ids or request_id(id) in self._ids):
            return "id"
        if self._hashes:
            for text in texts:
                if bytes.fromhex(hash_text(text)) in self._hashes:
                    return "text"
        if self._domains:
            places = [source] if isinstance(source, str) else [v for v in source.values() if isinstance(v, str)]
            hosts = [host for place in places for host in _hosts(place, bare=True)] + [host for text in texts if "://" in text for host in _hosts(text)]
            for host in hosts:
                if domain := self._domain_of(host):
                    return f"domain {domain}"
        return ""

    def _domain_of(self, host: str) -> str:
        """The listed domain that a host is or belongs to."""
        while host:
            if host in self._domains:
                return host
            host = host.partition(".")[2]
        return ""


def _bare(line: str) -> str:
    """A line without its comment: # at the beginning, or after white space."""
    return re.sub(r"(^|\s)#.*", "", line.rstrip("\n")).strip()


def _of_json(line: str, path: Path, number: int) -> tuple[str, str]:
    try:
        row = json.loads(line)
    except ValueError as problem:
        raise LimbeckError(f"this line is no JSON: {problem}", f"{path}, line {number}", 'one object a line, such as {"id": "..."}') from problem
    named = [k for k in KINDS if k in row] if isinstance(row, dict) else []
    if len(named) != 1 or set(row) - {*KINDS, "note"} or not isinstance(row[named[0]], str):
        raise LimbeckError("an objection has one of the keys sha256, id, domain (a text), and at most a note beside it", f"{path}, line {number}", 'one object a line, such as {"domain": "example.org", "note": "..."}')
    return named[0], row[named[0]].strip()


def _ascii(host: str) -> str:
    """A host as it stands in addresses: lower case, no dot at the end, international names in their ASCII form."""
    host = host.strip().rstrip(".").casefold()
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return host


def _hosts(text: str, bare: bool = False) -> list[str]:
    """Hosts of the addresses in a text; with `bare`, also of a text that is itself a host or an address without a scheme."""
    found = []
    for address in _ADDRESS.findall(text) or ([f"//{text.strip()}"] if bare and text and " " not in text.strip() else []):
        try:
            found.append(_ascii(urlsplit(address).hostname or ""))
        except ValueError:  # an address with broken brackets has no host
            continue
    return found
