"""A Bash command as a list of pieces, from tree-sitter's tree; a lexer of our own where that tree has errors.

Nothing here runs anything. Reading is bounded: a text over `LONGEST` characters is refused before it is parsed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from typing import Any, Literal

from limbeck.errors import LimbeckError
from limbeck.tasks.bash.lexer import lex

Kind = Literal["word", "assignment", "operator", "open", "close", "redirect", "keyword"]
LONGEST = 10_000  # characters
MOST_WORDS = 2_000
DEEPEST = 200  # nested nodes; a tree is walked by recursion
LEAVES = {
    "word", "number", "string", "raw_string", "ansi_c_string", "translated_string", "concatenation", "simple_expansion", "expansion", "command_substitution",
    "process_substitution", "arithmetic_expansion", "brace_expression", "variable_name", "regex", "extglob_pattern", "special_variable_name",
}  # fmt: skip
SEPARATORS = {"|", "|&", "&&", "||", ";", "&", ";;", "\n"}
LOOPS = {"for_statement", "select_statement", "case_statement"}  # their names and lists are no commands
SUBSTITUTIONS = {"command_substitution", "process_substitution"}


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a command as written, with its place in characters; `inner` holds the commands that stand inside a word."""

    kind: Kind
    text: str
    start: int
    end: int
    inner: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class Parsed:
    """What was read. `error` is empty where the whole text is Bash; else it says what is wrong, and pieces are a guess."""

    text: str
    pieces: tuple[Piece, ...]
    error: str = ""


@cache
def _parser() -> Any:
    try:
        language, tree_sitter = import_module("tree_sitter_bash"), import_module("tree_sitter")
    except ImportError as problem:
        raise LimbeckError("reading Bash needs the packages tree-sitter and tree-sitter-bash", "task bash", "pip install 'limbeck[bash]', or tree-sitter and tree-sitter-bash") from problem
    return tree_sitter.Parser(tree_sitter.Language(language.language()))


def why_unreadable(text: str) -> str:
    """Why a text is not even looked at as a command: empty, a null byte, too long; empty where it is."""
    if not text.strip():
        return "empty"
    if "\0" in text:
        return "a null byte"
    if len(text) > LONGEST:
        return f"longer than {LONGEST:,} characters"
    if len(text.split()) > MOST_WORDS:
        return f"more than {MOST_WORDS:,} words"
    return ""


@lru_cache(maxsize=1024)  # the scorers read one text for several measures
def parse(text: str) -> Parsed:
    """The pieces of a command; never raises on bad input and never takes long."""
    if problem := why_unreadable(text):
        return Parsed(text, (), problem)
    source = text.encode("utf-8", "replace")
    root = _parser().parse(source).root_node
    problem = _first_error(root, source)
    if not problem:
        reader = _Reader(source)
        pieces = tuple(reader.read(root))
        return Parsed(text, pieces) if pieces else Parsed(text, (), "no command in it")
    return Parsed(text, tuple(Piece(*found) for found in lex(text)), problem)


def _first_error(root: Any, source: bytes) -> str:
    """What is wrong with a tree, in a few words."""
    stack = [(root, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > DEEPEST:
            return f"nested deeper than {DEEPEST}"
        if node.type == "ERROR" or node.is_missing:
            return _name_error(node, source)
        stack += [(child, depth + 1) for child in reversed(node.children)]
    return ""


def _name_error(node: Any, source: bytes) -> str:
    text = source.decode("utf-8", "replace")
    if quote := open_quote(text):
        return f"unbalanced {quote}"
    if node.is_missing:
        return f"something is missing: {node.type!r}"
    near = source[node.start_byte : node.start_byte + 20].decode("utf-8", "replace").split("\n")[0]
    return f"not Bash near {near!r}"


def open_quote(text: str) -> str:
    """The quote that is opened and never closed: ' or \" or `; empty where all are closed."""
    quote, at = "", 0
    while at < len(text):
        letter = text[at]
        if letter == "\\" and quote != "'":
            at += 1
        elif quote:
            if letter == quote:
                quote = ""
        elif letter in "'\"" or (letter == "`" and not quote):
            quote = letter
        at += 1
    return quote


class _Reader:
    """From tree-sitter's nodes to pieces. Its offsets are bytes; pieces count characters."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.is_ascii = source.isascii()

    def place(self, byte: int) -> int:
        return byte if self.is_ascii else len(self.source[:byte].decode("utf-8", "replace"))

    def piece(self, kind: Kind, node: Any, inner: tuple[Piece, ...] = ()) -> Piece:
        text = self.source[node.start_byte : node.end_byte].decode("utf-8", "replace")
        return Piece(kind, text, self.place(node.start_byte), self.place(node.end_byte), inner)

    def read(self, node: Any) -> Iterator[Piece]:
        """The pieces under a node in the order of the text."""
        found = sorted(self._read(node), key=lambda p: (p.start, p.end))
        merged: list[Piece] = []
        for piece in found:  # parts of one word that the grammar leaves side by side
            if merged and piece.kind == merged[-1].kind == "word" and merged[-1].end == piece.start:
                last = merged.pop()
                piece = Piece("word", last.text + piece.text, last.start, piece.end, last.inner + piece.inner)
            merged.append(piece)
        yield from merged

    def _read(self, node: Any) -> Iterator[Piece]:
        kind = node.type
        if kind == "comment":
            return
        if kind in LOOPS:
            for at, child in enumerate(node.children):
                if node.field_name_for_child(at) in ("variable", "value"):
                    yield self.piece("keyword", child, tuple(self._inner(child)))
                else:
                    yield from self._read(child)
        elif kind in LEAVES:
            yield self.piece("word", node, tuple(self._inner(node)))
        elif kind == "variable_assignment":
            yield self.piece("assignment", node, tuple(self._inner(node)))
        elif kind in ("file_redirect", "herestring_redirect", "heredoc_redirect"):
            yield from self._redirect(node)
        elif kind == "test_command":
            yield self.piece("keyword", node, tuple(self._inner(node)))
        elif not node.children:
            if kind in SEPARATORS:
                yield self.piece("operator", node)
            elif kind in ("(", ")", "{", "}"):
                yield self.piece("open" if kind in "({" else "close", node)
            elif node.end_byte > node.start_byte:
                yield self.piece("keyword", node)
        else:
            for child in node.children:
                yield from self._read(child)

    def _redirect(self, node: Any) -> Iterator[Piece]:
        """The sign with its descriptor, then the target; arguments that the grammar keeps under a redirection stay words."""
        target_seen, descriptor = False, None
        for child in node.children:
            if child.type == "file_descriptor":
                descriptor = child
            elif not child.is_named and not target_seen and set(child.type) <= set("<>&|-"):
                sign = self.piece("redirect", child)
                if descriptor is not None:
                    front = self.piece("redirect", descriptor)
                    sign = Piece("redirect", front.text + sign.text, front.start, sign.end)
                yield sign
            elif not target_seen:
                target_seen = True
                found = self.piece("word", child, tuple(self._inner(child)))
                yield Piece("redirect", found.text, found.start, found.end, found.inner) if child.type != "heredoc_body" else self.piece("redirect", child)
            elif child.type in ("heredoc_body", "heredoc_end"):
                yield self.piece("redirect", child)
            else:
                yield from self._read(child)

    def _inner(self, node: Any) -> Iterator[Piece]:
        """The substitutions inside a word, each between its open and its close."""
        if node.type in SUBSTITUTIONS:
            children = node.children
            yield self.piece("open", children[0])
            for child in children[1:-1]:
                yield from self.read(child)
            yield self.piece("close", children[-1])
            return
        for child in node.children:
            yield from self._inner(child)


def blank_prompt(text: str) -> str:
    """A text without the `$ ` of a copied prompt; places stay as they are."""
    bare = text.lstrip()
    return text.replace("$", " ", 1) if bare.startswith("$ ") else text


def has_heredoc(pieces: tuple[Piece, ...]) -> bool:
    """Whether some text stands in the command as a here-document."""
    return any((p.kind == "redirect" and p.text.lstrip("0123456789") in ("<<", "<<-")) or has_heredoc(p.inner) for p in pieces)


def unquote(text: str) -> str:
    """A word without its quotes and backslashes; expansions stay as written."""
    out, quote, at = [], "", 0
    if text.startswith("$'") or text.startswith('$"'):
        text = text[1:]
    while at < len(text):
        letter = text[at]
        if quote == "'":
            if letter == "'":
                quote = ""
            else:
                out.append(letter)
        elif letter == "\\" and at + 1 < len(text):
            at += 1
            out.append(text[at] if not quote or text[at] in '"\\$`' else "\\" + text[at])
        elif letter == quote:
            quote = ""
        elif letter in "'\"" and not quote:
            quote = letter
        else:
            out.append(letter)
        at += 1
    return "".join(out)
