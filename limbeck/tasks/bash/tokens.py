"""A command as the tokens that scorers count: utilities, flags, operators and typed arguments.

The conventions are those of the NL2Bash evaluation, read off its published scores: `sudo` is no token, `/bin/rm` is `rm`, `-rf` is `-r -f`, `find`
without a path has `.`, a command under `xargs` has its `{}` and `-I` said, a command assigned to a variable is that command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from limbeck.tasks.bash.options import (
    ACTIONS,
    CARRIERS,
    FIND_BARE,
    LITERAL,
    LONG_VALUED,
    NUMBERED,
    OWN_WORDS,
    PREFIX_VALUED,
    PREFIXES,
    SHELLS,
    UNKNOWN,
    VALUED,
    WORDED,
)
from limbeck.tasks.bash.syntax import Piece, parse, unquote

Role = Literal["utility", "flag", "operator", "argument"]
CURLY = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'"})
DASH = re.compile(r"(?<!\S)[—–] ?(?=\w)")  # an em dash that a word processor made of the - of an option
UNCOUNTED = {"!", "-not", "-o", "-a", "-prune"}  # of find: no flags in the eyes of the NLC2CMD measure
SAME_FLAG = {"-or": "-o", "-and": "-a", "\\!": "!"}
SAME_UTILITY = {"egrep": ("grep", "-E"), "fgrep": ("grep", "-F")}
SYSTEM_PATH = re.compile(r"^/(?:usr/)?(?:local/)?s?bin/")
IMPLIED = "-I::implied"  # of xargs; it matches only another that was not said
BARE = "::"  # after a flag's name: it stands alone with its value. -f of -zcvf is another token than -f of -z -f


@dataclass(frozen=True, slots=True)
class Token:
    """One token: `text` as compared literally, `type` as compared where the values of arguments do not matter."""

    role: Role
    text: str
    type: str = ""


DEEPEST_CALL = 40  # commands inside commands: what is deeper is not read
NOTHING = Token("operator", "")


@dataclass(frozen=True, slots=True)
class Call:
    """One utility with its flags and those of the commands inside it; -exec is two flags, by its ; or +."""

    utility: str
    flags: frozenset[str]


def tokenise(command: str) -> tuple[Token, ...]:
    """The tokens of a command. Bad input is read as far as it goes."""
    return _read(command)[0]


def list_calls(command: str) -> tuple[Call, ...]:
    """The utilities of a command in order."""
    return _read(command)[1]


@lru_cache(maxsize=1024)  # one command is read for several measures, a gold one for several candidates
def _read(command: str) -> tuple[tuple[Token, ...], tuple[Call, ...]]:
    walker = _Walker()
    walker.walk(_trim(parse(straighten(command)).pieces))
    return tuple(walker.out), tuple(Call(name, frozenset(flags) - {"--"}) for name, flags in walker.calls)


def straighten(command: str) -> str:
    """A command without what word processors and copied prompts put there."""
    return DASH.sub("-", command.translate(CURLY)).removeprefix("$ ")


def _trim(pieces: Sequence[Piece]) -> Sequence[Piece]:
    """Without what ends a line; a lone assignment of a command's output is that command."""
    kept = list(pieces)
    while kept and kept[-1].kind == "operator" and kept[-1].text in (";", "&", "\n"):
        kept.pop()
    if len(kept) == 1 and kept[0].kind == "assignment" and kept[0].inner:
        return kept[0].inner[1:-1]
    return kept


class _Walker:
    """Writes tokens of pieces to `out`."""

    def __init__(self) -> None:
        self.out: list[Token] = []
        self.calls: list[tuple[str, list[str]]] = []
        self.open: list[list[str]] = []  # the flags of the commands that are being read, outermost first

    def add(self, role: Role, text: str, type: str = "") -> None:
        self.out.append(Token(role, text, type or text))

    def flag(self, text: str, known_as: str = "") -> None:
        """A flag, which belongs to every command it stands inside."""
        self.add("flag", text, text.split(BARE)[0])
        for call in self.open:
            call.append(known_as or text.split(BARE)[0])

    def walk(self, pieces: Iterable[Piece]) -> None:
        """Commands, and the operators between them."""
        words: list[Piece] = []
        after: list[Piece] = []
        for piece in pieces:
            if piece.kind == "word":
                words.append(piece)
            elif piece.kind == "redirect":
                after.append(piece)
            elif piece.kind == "assignment" and not words:
                self.inner(piece)
            elif piece.kind == "assignment":
                words.append(piece)
            else:
                self.command(words, after)
                words, after = [], []
                self.add("operator", piece.text)
        self.command(words, after)

    def inner(self, piece: Piece) -> None:
        """The substitutions of a word."""
        depth, group = 0, []
        for part in piece.inner:
            depth += (part.kind == "open") - (part.kind == "close")
            if part.kind in ("open", "close") and depth == (part.kind == "open"):
                if group:
                    self.walk(group)
                group = []
                self.add("operator", {"`": "$("}.get(part.text, part.text) if part.kind == "open" else ")")
            else:
                group.append(part)
        if group:
            self.walk(group)

    def command(self, words: list[Piece], redirects: Sequence[Piece] = ()) -> None:
        """One simple command."""
        words = self._after_prefix(words)
        if words and len(self.open) < DEEPEST_CALL:
            name = SYSTEM_PATH.sub("", unquote(words[0].text), count=1)
            self.inner(words[0])
            name, *implied = SAME_UTILITY.get(name, (name,))
            if name.startswith("$"):
                self.open.append([])
            else:
                self.add("utility", name)
                self.calls.append((name, []))
                self.open.append(self.calls[-1][1])
            for flag in implied:
                self.flag(flag)
            if name == "find":
                self._find(words[1:])
            else:
                self._options(name, words[1:])
            self.open.pop()
        for piece in redirects:
            if set(piece.text) & set("<>") and not piece.inner and piece.text.lstrip("0123456789").lstrip("<>&|-") == "":
                self.add("operator", piece.text)
            else:
                self.argument(piece, "file")

    def _after_prefix(self, words: list[Piece]) -> list[Piece]:
        while words and words[0].text in PREFIXES:
            valued = PREFIX_VALUED[words[0].text]
            words = words[1:]
            while words and words[0].text.startswith("-"):
                skip = 2 if words[0].text[-1] in valued and len(words[0].text) == 2 else 1
                words = words[skip:]
        return words

    def argument(self, piece: Piece, type: str = "text") -> None:
        """A word that is no flag."""
        if piece.inner:
            self.inner(piece)
        else:
            self.add("argument", piece.text, _typed(piece.text, type))

    def _find(self, words: list[Piece]) -> None:
        at, began = 0, len(self.out)
        while at < len(words) and words[at].text in ("-H", "-L", "-P"):
            self.flag(words[at].text)
            at += 1
        first = at
        while at < len(words) and not _is_expression(words[at].text):
            self.argument(words[at], "file")
            at += 1
        if at == first:
            self.add("argument", ".", "text")
        kinds = LONG_VALUED["find"]
        while at < len(words):
            word = words[at]
            text = word.text
            name = text[1:]
            if text in ("\\(", "\\)", "(", ")"):
                self.add("operator", text[-1])
            elif name in ACTIONS and text[0] == "-":
                stop = next((i for i in range(at + 1, len(words)) if words[i].text in ("\\;", ";", "';'", '";"', "\\", "+", "'+'")), len(words))
                end = "+" if stop < len(words) and "+" in words[stop].text else ";"
                self.flag(text, text + end)
                self.command(words[at + 1 : stop])
                self.add("operator", end)
                at = stop
            elif text[0] == "-" and name in kinds:
                self.flag(text + BARE if at + 1 < len(words) else text)
                for _ in range(2 if name == "fprintf" else 1):
                    if at + 1 < len(words):
                        at += 1
                        self.argument(words[at], kinds[name])
            elif text in ("!", "\\!") or (text[0] == "-" and name in FIND_BARE):
                same = SAME_FLAG.get(text, text)
                self.add("flag", same) if same in UNCOUNTED else self.flag(same)
            elif text[0] == "-":
                self.argument(word)  # no option of find that the reference knows
            else:
                self.argument(word, "file")
            at += 1
        self._drop_lone_brackets(began)

    def _drop_lone_brackets(self, start: int) -> None:
        """Brackets around one test say nothing."""
        marks: list[tuple[int, int]] = []
        for at in range(start, len(self.out)):
            token = self.out[at]
            if token.role == "operator" and token.text == "(":
                marks.append((at, 0))
            elif token.role == "operator" and token.text == ")" and marks:
                opened, tests = marks.pop()
                if tests <= 1:
                    self.out[opened] = self.out[at] = NOTHING
                if marks:
                    marks[-1] = (marks[-1][0], marks[-1][1] + tests)
            elif token.role == "flag" and marks:
                marks[-1] = (marks[-1][0], marks[-1][1] + 1)
        self.out[start:] = [t for t in self.out[start:] if t is not NOTHING]

    def _options(self, name: str, words: list[Piece]) -> None:
        own = OWN_WORDS.get(name, 0)
        carried: list[Piece] | None = None
        start = len(self.out)
        at = 0
        while at < len(words):
            word = words[at]
            text = word.text
            if text == "-" and name in NUMBERED:
                self.flag("-")
            elif not text.startswith("-") or len(text) == 1 or (word.inner and text[1:2] in "$`"):
                if name in CARRIERS:
                    if own:
                        own -= 1
                    else:
                        carried = words[at:]
                        break
                if at == 0 and name == "tar":
                    self._cluster(Piece("word", "-" + text, word.start, word.end), "", None)
                else:
                    self.argument(word, LITERAL.get(name, "text"))
            elif text.startswith("--"):
                flag, sign, value = text.partition("=")
                self.flag(flag + BARE if sign else flag)
                if sign:
                    self.inner(word)
                    self.add("argument", value, _typed(value, "text"))
            elif name in WORDED:
                self.flag(text)
            else:
                at += self._cluster(word, name, words[at + 1] if at + 1 < len(words) else None)
            at += 1
        if carried is not None:
            self._carry(name, carried, start)

    def _cluster(self, word: Piece, name: str, following: Piece | None) -> int:
        """-rf as two flags, -n5 as a flag and its value; how many more words were used."""
        text, valued = word.text, VALUED.get(name, "")
        if name in NUMBERED and re.fullmatch(r"-\d+", text):
            self.flag("-")
            self.add("argument", text[1:], "number")
            return 0
        for place, letter in enumerate(text[1:], 1):
            if not letter.isalnum():
                self.add("argument", text[place:], _typed(text[place:], "text"))
                return 0
            rest = text[place + 1 :]
            is_alone = place == 1 and letter in valued and (rest or following is not None)
            if f"-{letter}" in UNKNOWN.get(name, ()):
                self.add("argument", "-" + letter, "text")
            else:
                self.flag(f"-{letter}{BARE if is_alone else ''}")
            if letter in valued and rest:
                self.inner(word)
                self.add("argument", rest, _typed(rest, LITERAL.get(f"{name} -{letter}", "text")))
                return 0
            if letter in valued and following is not None:
                self._value(name, "-" + letter, following)
                return 1
        return 0

    def _value(self, name: str, flag: str, piece: Piece) -> None:
        """The next word as an option's value; what `sh -c` is given is a command itself."""
        if name in SHELLS and flag == "-c":
            self.walk(parse(unquote(piece.text)).pieces)
        else:
            self.argument(piece, LITERAL.get(f"{name} {flag}", "text"))

    def _carry(self, name: str, words: list[Piece], start: int) -> None:
        if name != "xargs":
            self.command(words)
            return
        said = any(t.role == "flag" and t.text == "-I" + BARE for t in self.out[start:])
        if not said:
            self.flag(IMPLIED)
            self.add("argument", "{}", "text")
        self.command(words)
        if not said and not any("{}" in w.text for w in words):
            self.add("argument", "{}", "text")


def _is_expression(text: str) -> bool:
    return (text.startswith("-") and len(text) > 1 and text not in ("-H", "-L", "-P")) or text in ("!", "\\!", "\\(", "(", ",")


def _typed(text: str, type: str) -> str:
    bare = unquote(text)
    if type == "literal":
        return text
    if type in ("sign", "permission"):
        return f"{type}{bare[:1] if bare[:1] in '+-/' else ''}"
    return "text"
