"""A Bash command explained word by word, with warnings. It is read, never run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from limbeck.tasks.bash import meanings
from limbeck.tasks.bash.commands import RUNNERS
from limbeck.tasks.bash.danger import Danger, find_dangers
from limbeck.tasks.bash.helptext import look_up
from limbeck.tasks.bash.options import ACTIONS, LONG_VALUED, NUMBERED, PREFIX_VALUED, SHELLS, VALUED, WORDED
from limbeck.tasks.bash.syntax import Piece, blank_prompt, parse, unquote

Role = Literal["utility", "option", "value", "argument", "operator", "redirection", "assignment", "keyword"]
DEEPEST = 20


@dataclass(frozen=True, slots=True)
class Part:
    """A word of the command, where it stands, and what it means; `depth` counts the commands it stands inside."""

    text: str
    start: int
    end: int
    role: Role
    meaning: str
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Explanation:
    """The parts in the order of the text; `error` says what is not Bash about it, and the parts are then a guess."""

    command: str
    parts: tuple[Part, ...]
    dangers: tuple[Danger, ...] = ()
    error: str = ""

    def lines(self) -> list[str]:
        """As text: a line a word, indented by depth, then the warnings."""
        width = min(30, max((len(p.text) + 2 * p.depth for p in self.parts), default=0))
        out = [f"{'  ' * p.depth + p.text:<{width}}  {p.meaning}" for p in self.parts]
        if self.error:
            out.append(f"not valid: {self.error}")
        return out + [f"{d.level.upper()}: {d.text} ({d.rule})" for d in self.dangers]


def explain(command: str, *, ask_help: bool = True) -> Explanation:
    """What every word of a command does. `ask_help` lets an installed utility's own --help speak where our table is silent."""
    parsed = parse(blank_prompt(command))
    parts = tuple(_Explainer(ask_help).walk(parsed.pieces, 0))
    return Explanation(command, parts, tuple(find_dangers(command)), parsed.error)


class _Explainer:
    def __init__(self, ask_help: bool) -> None:
        self.ask_help = ask_help

    def walk(self, pieces: Sequence[Piece], depth: int) -> Iterator[Part]:
        words: list[Piece] = []
        sign: Piece | None = None
        for piece in pieces:
            if piece.kind == "redirect":
                yield from self.command(words, depth)
                words = []
                sign = yield from self._redirect(sign, piece, depth)
            elif piece.kind == "word" or (piece.kind == "assignment" and words):
                words.append(piece)
            else:
                yield from self.command(words, depth)
                words = []
                yield from self._between(piece, depth)
        yield from self.command(words, depth)

    def _between(self, piece: Piece, depth: int) -> Iterator[Part]:
        if piece.kind == "assignment":
            name, _, value = piece.text.partition("=")
            yield _part(piece, "assignment", f"sets the variable {name.rstrip('+')} to {value or 'nothing'}", depth)
            yield from self.inside(piece, depth)
        elif piece.kind == "keyword":
            known = meanings.KEYWORDS.get(piece.text)
            yield _part(piece, "keyword", known or ("a test" if piece.text.startswith(("[", "((")) else "the name, or what the loop goes through"), depth)
            yield from self.inside(piece, depth)
        elif piece.text.strip() or piece.text == "\n":
            yield _part(piece, "operator", meanings.OPERATORS.get(piece.text, "part of the shell's own language"), depth)

    def _redirect(self, sign: Piece | None, piece: Piece, depth: int) -> Iterator[Part]:
        """The sign is kept until its target comes; returns the sign that waits."""
        bare = piece.text.lstrip("0123456789")
        if sign is None and bare and set(bare) <= set("<>&|-"):
            return piece
        if sign is not None:
            target = meanings.STREAMS.get(unquote(piece.text), piece.text)
            said = meanings.REDIRECTS.get(sign.text, "redirects to {}").format(target)
            yield Part(f"{sign.text}{'' if sign.end == piece.start else ' '}{piece.text}", sign.start, piece.end, "redirection", said, depth)
            yield from self.inside(piece, depth)
        else:
            yield _part(piece, "redirection", "the text that is read", depth)
        return None

    def inside(self, piece: Piece, depth: int) -> Iterator[Part]:
        """The commands inside a word."""
        if piece.inner and depth < DEEPEST:
            yield from self.walk(piece.inner, depth + 1)

    def command(self, words: Sequence[Piece], depth: int) -> Iterator[Part]:
        """A simple command: its utility, then its words."""
        if not words or depth > DEEPEST:
            return
        spoken = unquote(words[0].text)
        name = spoken.rsplit("/", 1)[-1] or spoken
        yield _part(words[0], "utility", _say_utility(spoken, name), depth)
        yield from self.inside(words[0], depth)
        yield from self._find(words[1:], depth) if name == "find" else self._words(name, words[1:], depth)

    def _find(self, words: Sequence[Piece], depth: int) -> Iterator[Part]:
        at, tested = 0, False
        while at < len(words):
            word, bare = words[at], unquote(words[at].text)
            said = meanings.FIND.get(bare, "")
            at += 1
            if bare[1:] in ACTIONS and bare[:1] == "-":
                yield _part(word, "option", said, depth)
                stop = next((i for i in range(at, len(words)) if unquote(words[i].text) in (";", "+")), len(words))
                yield from self.command(words[at:stop], depth + 1)
                if stop < len(words):
                    end = "end of that command, run once for each" if unquote(words[stop].text) == ";" else "end of that command, run for many at once"
                    yield _part(words[stop], "operator", end, depth)
                at, tested = stop + 1, True
            elif bare[1:] in LONG_VALUED["find"] and bare[:1] == "-" and at < len(words):
                value = words[at].text
                shown = meanings.FIND_TYPES.get(value, value) if bare in ("-type", "-xtype") else _say_amount(value)
                yield _part(word, "option", (said or "a test on {}").format(shown), depth)
                yield from self._value(words[at], depth)
                at, tested = at + 1, True
            elif said or bare.startswith("-"):
                yield _part(word, "option", said or "an option of find that is not known here", depth)
                tested = True
            else:
                yield from self._argument(word, "the rest of a test" if tested else "where to search", depth)

    def _words(self, name: str, words: Sequence[Piece], depth: int) -> Iterator[Part]:
        valued = PREFIX_VALUED.get(name) or VALUED.get(name, "")
        own = RUNNERS.get(name, 0)
        at, only_words = 0, False
        while at < len(words):
            word, text = words[at], words[at].text
            at += 1
            if text == "--" and not only_words:
                only_words = True
                yield _part(word, "option", "no options after this", depth)
            elif not only_words and text.startswith("-") and len(text) > 1 and not word.inner:
                following = words[at] if at < len(words) else None
                at += yield from self._option(name, word, valued, following, depth)
            elif at == 1 and _is_old_style(name, text):
                yield _part(word, "option", "; ".join(self._say(name, "-" + letter, "") for letter in text), depth)
            elif name in RUNNERS and not (name in ("env", "sudo", "doas") and "=" in text):
                if own:
                    own -= 1
                    yield from self._argument(word, f"for {name}", depth)
                else:
                    yield from self.command(words[at - 1 :], depth + 1)
                    return
            else:
                yield from self._argument(word, _say_argument(name, text), depth)

    def _option(self, name: str, word: Piece, valued: str, following: Piece | None, depth: int) -> Iterator[Part]:
        """One word of options; returns how many more words were values."""
        text = word.text
        if text.startswith("--") or name in WORDED:
            flag, sign, value = text.partition("=")
            yield _part(word, "option", self._say(name, flag, value if sign else ""), depth)
            return 0
        if text[1:].isdigit() and name in NUMBERED:
            yield _part(word, "option", f"{text[1:]} lines", depth)
            return 0
        if text in meanings.OPTIONS.get(name, {}):
            letters, value = [text], ""
        else:
            letters, value = _cut(text, valued)
        takes = letters[-1][1:] in valued and len(letters[-1]) == 2
        needs_next = takes and not value and following is not None
        shown = following.text if needs_next and following is not None else value
        yield _part(word, "option", "; ".join(self._say(name, flag, shown if flag is letters[-1] else "") for flag in letters), depth)
        if needs_next and following is not None:
            if name in SHELLS and letters[-1] == "-c":
                yield _part(following, "value", "the commands it runs", depth)
                yield from self._quoted(following, depth)
            else:
                yield from self._value(following, depth)
            return 1
        return 0

    def _quoted(self, piece: Piece, depth: int) -> Iterator[Part]:
        """What `sh -c` is given, explained at its place where that can be told."""
        text = unquote(piece.text)
        shift = piece.start + 1 if piece.text[1:-1] == text else None
        if depth < DEEPEST:
            for part in self.walk(parse(text).pieces, depth + 1):
                start, end = (part.start + shift, part.end + shift) if shift is not None else (piece.start, piece.end)
                yield Part(part.text, start, end, part.role, part.meaning, part.depth)

    def _say(self, name: str, flag: str, value: str) -> str:
        said = meanings.OPTIONS.get(name, {}).get(flag)
        if said:
            return said.replace("{}", value or "what is named next")
        helped = look_up(name, flag) if self.ask_help else ""
        return (helped or f"an option of {name} that is not known here") + (f": {value}" if value else "")

    def _value(self, piece: Piece, depth: int) -> Iterator[Part]:
        yield from self._argument(piece, "the value of that option", depth, "value")

    def _argument(self, piece: Piece, said: str, depth: int, role: Role = "argument") -> Iterator[Part]:
        yield _part(piece, role, said + _say_expansion(piece), depth)
        yield from self.inside(piece, depth)


def _part(piece: Piece, role: Role, meaning: str, depth: int) -> Part:
    return Part(piece.text, piece.start, piece.end, role, meaning, depth)


def _say_amount(value: str) -> str:
    """find's -7 and +7 in words."""
    sign = {"-": "less than ", "+": "more than "}.get(value[:1], "") if value[1:2].isdigit() else ""
    return sign + value[1:] if sign else value


def _cut(text: str, valued: str) -> tuple[list[str], str]:
    """-rfn5 as -r, -f, -n and 5."""
    letters = []
    for place, letter in enumerate(text[1:], 1):
        letters.append("-" + letter)
        if letter in valued:
            return letters, text[place + 1 :]
    return letters, ""


def _say_utility(spoken: str, name: str) -> str:
    if spoken.startswith("$"):
        return "the command that the variable holds"
    if spoken.startswith("./") or spoken.endswith((".sh", ".py", ".pl")):
        return "a program of your own"
    return meanings.UTILITIES.get(name.removeprefix("\\"), "a command that is not known here")


def _say_argument(name: str, text: str) -> str:
    if name == "date" and unquote(text).startswith("+"):
        return f"in the format {unquote(text)[1:]}"
    if text == "{}":
        return "what was found"
    if text == "-":
        return "what comes in, or goes out"
    return f"for {name}"


def _is_old_style(name: str, text: str) -> bool:
    """tar xzf: options without their dash."""
    return name == "tar" and text.isalpha() and text[:1] in "ctxruA"


def _say_expansion(piece: Piece) -> str:
    text = piece.text
    if text.startswith("'"):
        return ""
    if piece.inner:
        return ", with what a command writes in its place"
    if "$" in text:
        return ", with the value of a variable in its place"
    if text[:1] != '"' and any(sign in text for sign in "*?"):
        return ", a pattern for names of files"
    return ""
