"""Words and operators of a text that is not quite Bash: unbalanced quotes run to the end, brackets need not match."""

from __future__ import annotations

import re
from typing import Any, Literal

OPERATORS = re.compile(r"\|\||&&|\|&|;;|[|;&\n]")
REDIRECTS = re.compile(r"\d*(?:<<<|<<-?|>>|>\||[<>]&|&>>|&>|[<>])")
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")
KEYWORDS = {"for", "in", "do", "done", "while", "until", "if", "then", "else", "elif", "fi", "case", "esac", "function", "select"}
Found = tuple[Literal["word", "assignment", "operator", "open", "close", "redirect", "keyword"], str, int, int, tuple[Any, ...]]


def lex(text: str, offset: int = 0) -> list[Found]:
    """What `Piece` is made of, in order. Substitutions inside words are not looked into."""
    found: list[Found] = []
    at, is_target = 0, False
    while at < len(text):
        if text[at] in " \t\r":
            at += 1
            continue
        if match := REDIRECTS.match(text, at):
            found.append(("redirect", match[0], offset + at, offset + match.end(), ()))
            at, is_target = match.end(), True
            continue
        if match := OPERATORS.match(text, at):
            found.append(("operator", match[0], offset + at, offset + match.end(), ()))
            at = match.end()
            continue
        if text[at] in "()":
            found.append(("open" if text[at] == "(" else "close", text[at], offset + at, offset + at + 1, ()))
            at += 1
            continue
        end = max(_word_end(text, at), at + 1)
        word = text[at:end]
        kind = "redirect" if is_target else "assignment" if ASSIGNMENT.match(word) and _is_first(found) else "keyword" if word in KEYWORDS and _is_first(found) else "word"
        found.append((kind, word, offset + at, offset + end, ()))
        at, is_target = end, False
    return found


def _is_first(found: list[Found]) -> bool:
    return not found or found[-1][0] in ("operator", "open", "assignment", "keyword")


def _word_end(text: str, at: int) -> int:
    quote, depth = "", 0
    while at < len(text):
        letter = text[at]
        if letter == "\\" and quote != "'":
            at += 1
        elif quote:
            if letter == quote:
                quote = ""
        elif letter in "'\"`":
            quote = letter
        elif text.startswith("$(", at):
            depth, at = depth + 1, at + 1
        elif depth and letter in "()":
            depth += 1 if letter == "(" else -1
        elif not depth and letter in " \t\r\n|;&()<>":
            return min(at, len(text))
        at += 1
    return len(text)
