"""Function calls in text: read with Python's own parser, never run."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Any

OPENED = re.compile(r"([A-Za-z_][\w.]*)\s*\(")
LONGEST = 20_000  # characters of an answer that are read
MOST_TRIED = 50


@dataclass(frozen=True, slots=True)
class Call:
    """A function's own name (without its module) and what it is given."""

    name: str
    positional: tuple[Any, ...]
    named: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """A function's parameters in order, and the defaults of those that have one."""

    name: str
    parameters: tuple[str, ...]
    defaults: tuple[tuple[str, Any], ...]


def read_signature(text: str) -> Signature:
    """'f(a, b: int = 3)'. Raises ValueError where it is none."""
    try:
        function = ast.parse(f"def {text.removeprefix('def ').rstrip(':')}: pass").body[0]
    except SyntaxError as problem:
        raise ValueError(f"no signature: {text[:80]!r}") from problem
    if not isinstance(function, ast.FunctionDef):
        raise ValueError(f"no signature: {text[:80]!r}")
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args)]
    defaults = dict(zip(names[len(names) - len(given.defaults) :], given.defaults, strict=True))
    defaults |= {a.arg: d for a, d in zip(given.kwonlyargs, given.kw_defaults, strict=True) if d is not None}
    return Signature(function.name, tuple(names + [a.arg for a in given.kwonlyargs]), tuple((n, _value(d)) for n, d in defaults.items()))


def read_call(text: str) -> Call | str:
    """The one call of a text, or why there is none: two different ones are not chosen between."""
    text, at, found = text[:LONGEST], 0, []
    for _ in range(MOST_TRIED):
        match = OPENED.search(text, at)
        if match is None:
            break
        parsed, end = _parse_from(text, match.start())
        at = end if parsed else match.end()
        if parsed:
            found.append(parsed)
    distinct = list(dict.fromkeys(found))
    if len(distinct) > 1:
        return "several calls: " + ", ".join(dict.fromkeys(c.name for c in distinct))
    return distinct[0] if distinct else "no function call in the answer"


def _parse_from(text: str, start: int) -> tuple[Call | None, int]:
    """The call that begins here, and where it ends."""
    depth, quote, at = 0, "", text.index("(", start)
    while at < len(text):
        letter = text[at]
        if quote:
            if letter == "\\":
                at += 1
            elif letter == quote:
                quote = ""
        elif letter in "\"'":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
            if depth == 0:
                return _parse(text[start : at + 1]), at + 1
        at += 1
    return None, start


def _parse(text: str) -> Call | None:
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not isinstance(node, ast.Call):
        return None
    if isinstance(node.func, ast.Name) and node.func.id == "print" and len(node.args) == 1 and isinstance(node.args[0], ast.Call):
        node = node.args[0]
    name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
    if not name or any(k.arg is None for k in node.keywords):
        return None
    return Call(name, tuple(_value(a) for a in node.args), tuple((str(k.arg), _value(k.value)) for k in node.keywords))


def _value(node: ast.AST) -> Any:
    """A literal as something that can be compared and hashed; anything else as its text."""
    try:
        return _frozen(ast.literal_eval(node))  # type: ignore[arg-type]
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return ("code", ast.unparse(node))


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return ("dict", tuple(sorted(((repr(k), _frozen(v)) for k, v in value.items()))))
    if isinstance(value, list | tuple | set):
        return (type(value).__name__, *(_frozen(v) for v in value))
    return ("number", float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else value


def bind(call: Call, signature: Signature | None) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """Name and arguments after defaults: two calls that bind alike do the same. Without a signature, as written."""
    given = dict(call.named)
    if signature is None:
        return call.name, tuple(sorted([(str(n), v) for n, v in enumerate(call.positional)] + list(given.items()), key=lambda p: p[0]))
    given |= {**dict(zip(signature.parameters, call.positional, strict=False))}
    if len(call.positional) > len(signature.parameters):
        given["*"] = call.positional[len(signature.parameters) :]
    return call.name, tuple(sorted({**dict(signature.defaults), **given}.items(), key=lambda p: p[0]))
