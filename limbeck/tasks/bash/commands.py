"""The simple commands of a line, those included that others run: under sudo, xargs, find -exec, sh -c, in substitutions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from limbeck.tasks.bash.options import ACTIONS, PREFIX_VALUED, SHELLS, VALUED
from limbeck.tasks.bash.syntax import Piece, parse, unquote

# Utilities that run the command behind their own options; the numbers are plain words of their own before it.
RUNNERS = {
    "sudo": 0, "doas": 0, "xargs": 0, "nohup": 0, "nice": 0, "time": 0, "timeout": 1, "env": 0, "exec": 0, "command": 0, "builtin": 0, "setsid": 0, "ionice": 0,
    "stdbuf": 0, "strace": 0, "busybox": 0, "chroot": 1, "watch": 0, "parallel": 0, "chronic": 0,
}  # fmt: skip
DEEPEST = 20


@dataclass(frozen=True, slots=True)
class Simple:
    """One command: `words` without quotes, its redirections as (sign, target), and what pipes into it."""

    words: tuple[str, ...]
    redirects: tuple[tuple[str, str], ...]
    start: int
    end: int
    piped_from: str = ""
    runner: str = ""

    @property
    def name(self) -> str:
        """The utility without its folder and without the backslash that bypasses an alias."""
        return self.words[0].rsplit("/", 1)[-1] if self.words else ""

    def has(self, letters: str, *names: str) -> bool:
        """Whether an option is given: one of `letters` in a cluster, or one of the long `names`."""
        for word in self.words[1:]:
            if word == "--":
                return False
            if word.startswith("--"):
                if word.partition("=")[0] in names:
                    return True
            elif word.startswith("-") and set(word[1:]) & set(letters):
                return True
        return False

    def plain(self) -> list[str]:
        """The words that are no options."""
        words = list(self.words[1:])
        if "--" in words:
            at = words.index("--")
            return [w for w in words[:at] if not w.startswith("-")] + words[at + 1 :]
        return [w for w in words if not w.startswith("-")]


def list_commands(pieces: Sequence[Piece], depth: int = 0) -> Iterator[Simple]:
    """Every simple command in the order of the text."""
    words: list[Piece] = []
    redirects: list[Piece] = []
    piped = ""
    for piece in [*pieces, Piece("operator", "", 0, 0)]:
        if depth < DEEPEST and piece.inner:
            yield from list_commands([p for p in piece.inner if p.kind not in ("open", "close")], depth + 1)
        if piece.kind == "word" or (piece.kind == "assignment" and words):
            words.append(piece)
        elif piece.kind == "redirect":
            redirects.append(piece)
        elif piece.kind != "assignment":
            last = ""
            for found in _unfold(words, redirects, piped, depth):
                last = found.name
                yield found
            piped = last if piece.text in ("|", "|&") else piped if piece.kind in ("open", "keyword") else ""
            words, redirects = [], []


def _unfold(words: Sequence[Piece], redirects: Sequence[Piece], piped: str, depth: int, runner: str = "") -> Iterator[Simple]:
    """A command, and the command that it runs."""
    if not words and not redirects:
        return
    place = [*words, *redirects]
    texts = tuple(unquote(w.text) for w in words)
    found = Simple(texts, tuple(_pair(redirects)), min(p.start for p in place), max(p.end for p in place), piped, runner)
    yield found
    if depth >= DEEPEST or not words:
        return
    if found.name in RUNNERS:
        rest = _behind_options(found, words)
        if rest:
            yield from _unfold(rest, (), piped, depth + 1, found.name)
    elif found.name == "find":
        for at, text in enumerate(texts):
            if text[:1] == "-" and text[1:] in ACTIONS:
                stop = next((i for i in range(at + 1, len(texts)) if texts[i] in (";", "+")), len(texts))
                yield from _unfold(words[at + 1 : stop], (), piped, depth + 1, "find")
    elif found.name == "eval" or (found.name in SHELLS and "-c" in texts):
        at = 1 if found.name == "eval" else texts.index("-c") + 1
        inside = " ".join(texts[at:]) if found.name == "eval" else texts[at] if at < len(texts) else ""
        yield from list_commands(parse(inside).pieces, depth + 1)


def _behind_options(found: Simple, words: Sequence[Piece]) -> Sequence[Piece]:
    valued = PREFIX_VALUED.get(found.name) or VALUED.get(found.name, "")
    own, at = RUNNERS[found.name], 1
    while at < len(words):
        text = found.words[at]
        if text == "--":
            pass
        elif text.startswith("-") and len(text) > 1:
            at += len(text) == 2 and text[1] in valued
        elif found.name in ("env", "sudo", "doas") and "=" in text:
            pass
        elif own:
            own -= 1
        else:
            return words[at:]
        at += 1
    return ()


def _pair(redirects: Sequence[Piece]) -> Iterator[tuple[str, str]]:
    sign = ""
    for piece in redirects:
        bare = piece.text.lstrip("0123456789")
        if bare and set(bare) <= set("<>&|-") and set(bare) & set("<>"):
            sign = bare
        elif sign:
            yield sign, unquote(piece.text)
            sign = ""
