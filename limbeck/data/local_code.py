"""Text to learn from out of code that is on this machine: functions with their docstrings, single statements, commented commands.

Places: "stdlib" (of the Python that runs us), "packages" (installed in it), "system" (shell scripts below /etc, /usr/share and
/usr/lib), or a folder of the user's. No history of a shell is ever read, and nothing of what is read is kept in the project:
what a piece came from (file, package, version, licence) goes with it. Files come in the order of their content's hash, so the
same files give the same text wherever they lie; a piece that was seen before is left out.
"""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import re
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Literal

from limbeck.data.local_origins import Origin, debian_origin, folder_origin, package_origin
from limbeck.errors import LimbeckError

Language = Literal["python", "shell"]
PLACES: dict[Language, tuple[str, ...]] = {"python": ("stdlib", "packages"), "shell": ("system",)}
SYSTEM_SCRIPTS = ("/etc", "/usr/share", "/usr/lib")
ENDINGS: dict[Language, tuple[str, ...]] = {"python": (".py",), "shell": (".sh", ".bash", "")}
LEFT_OUT = {"test", "tests", "testing", "idle_test", "lib2to3", "site-packages", "__pycache__", "node_modules", ".git", ".venv", "venv"}
HISTORY = re.compile(r"history|\.(?:ba|z|fi)?sh_sessions")
GENERATED = re.compile(r"(?i)(?:auto[- ]?)?generated (?:by|from|using|file|automatically)|do not (?:edit|modify)|@generated|machine[- ]generated")
SHEBANG = re.compile(rb"^#!\s*\S*/(?:env\s+)?(?:ba|da|k)?sh\b")
SENTENCE = re.compile(r"(.+?[.!?])(?:\s|$)", re.DOTALL)
PLAIN_SHELL = re.compile(r"^[a-z][\w.+-]*(?:\s|$)")
SHELL_WORDS = {"if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "function", "return", "exit", "local", "export", "set", "shift", "break", "continue", "readonly", "unset", "trap", "source", "eval", "exec"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeLimits:
    """What is not read."""

    file_bytes: int = 300_000
    line: int = 160  # characters of a one-line piece
    body: int = 1_200  # characters of a function's body
    mean_line: int = 200  # characters a line: above it a file is data or minified


@dataclass(frozen=True, slots=True, kw_only=True)
class CodePiece:
    """One piece of code. `text` is what its author says of it (a docstring's first sentence, a comment), or empty."""

    kind: Literal["function", "line", "statement"]
    text: str
    code: str
    origin: Origin


@dataclass(slots=True)
class CodeCount:
    """What was read and what was not, and why."""

    files: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    pieces: Counter[str] = field(default_factory=Counter)
    origins: dict[str, Origin] = field(default_factory=dict)


def read_code(places: Sequence[str], language: Language = "python", limits: CodeLimits | None = None, count: CodeCount | None = None) -> Iterator[CodePiece]:
    """Every piece of these places, each once, in an order that hangs on the files' contents only. `count` is filled on the way."""
    limits, count = limits or CodeLimits(), count if count is not None else CodeCount()
    seen: set[bytes] = set()
    for path, origin in _ordered(places, language, limits, count):
        source = _text(path, limits, count)
        if source is None:
            continue
        count.files += 1
        count.origins.setdefault(f"{origin.package} {origin.version}".strip(), origin)
        for piece in (_python_pieces if language == "python" else _shell_pieces)(source, origin, limits, count):
            key = hashlib.blake2b(f"{piece.kind}\0{piece.text}\0{piece.code}".encode("utf-8", "replace"), digest_size=12).digest()
            if key not in seen:
                seen.add(key)
                count.pieces[piece.kind] += 1
                yield piece


def _ordered(places: Sequence[str], language: Language, limits: CodeLimits, count: CodeCount) -> list[tuple[Path, Origin]]:
    """Files by the hash of their content, each content once."""
    found: dict[str, tuple[Path, Origin]] = {}
    for place in places:
        for path, origin in _files(place, language):
            try:
                if path.stat().st_size > limits.file_bytes:
                    count.skipped["too large"] += 1
                    continue
                content = path.read_bytes()
            except OSError:
                count.skipped["cannot be read"] += 1
                continue
            if language == "shell" and not path.suffix and not SHEBANG.match(content):
                continue
            key = hashlib.sha256(content).hexdigest()
            if key in found:
                count.skipped["a copy"] += 1
            found.setdefault(key, (path, origin))
    return [found[key] for key in sorted(found)]


def _files(place: str, language: Language) -> Iterator[tuple[Path, Origin]]:
    """Every file of a place that may be of the language, with its origin."""
    if place == "stdlib" and language == "python":
        root = Path(sysconfig.get_paths()["stdlib"])
        yield from ((p, Origin(file=str(p.relative_to(root)), package="python", version=platform.python_version(), licence="PSF-2.0")) for p in _walk(root, ".py"))
    elif place == "packages" and language == "python":
        for distribution in sorted(metadata.distributions(), key=lambda d: (d.metadata["Name"] or "").lower()):
            for file in distribution.files or ():
                if file.suffix == ".py" and not LEFT_OUT & set(file.parts[:-1]) and ".." not in file.parts:
                    yield Path(str(file.locate())), package_origin(distribution, str(file))
    elif place == "system" and language == "shell":
        for root in SYSTEM_SCRIPTS:
            yield from ((p, debian_origin(p)) for p in _walk(Path(root), ".sh", ".bash", ""))
    elif place in (*PLACES["python"], *PLACES["shell"]):
        raise LimbeckError(f"{place!r} holds no {language} code", "distill.code", f"for {language}: {', '.join(PLACES[language])}, or a folder")
    else:
        root = Path(place).expanduser()
        if not root.is_dir():
            known = ", ".join(PLACES[language])
            raise LimbeckError(f"there is no folder {place!r} to read code from", "distill.code", f"name a folder, or one of: {known}")
        yield from ((p, folder_origin(root, p)) for p in _walk(root, *ENDINGS[language]))


def _walk(root: Path, *endings: str) -> Iterator[Path]:
    """Files below a folder with one of these endings; links are not followed, tests and caches left out."""
    for folder, below, names in os.walk(root):
        below[:] = sorted(d for d in below if d not in LEFT_OUT and not os.path.islink(os.path.join(folder, d)))
        for name in sorted(names):
            path = Path(folder, name)
            if path.suffix in endings and not HISTORY.search(name) and not path.is_symlink() and path.is_file():
                yield path


def _text(path: Path, limits: CodeLimits, count: CodeCount) -> str | None:
    """A file's text; None, counted with its reason, where it is not fit to learn from."""
    try:
        source = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        count.skipped["not UTF-8"] += 1
        return None
    lines = source.count("\n") + 1
    reason = ""
    if "\0" in source:
        reason = "a null byte"
    elif GENERATED.search(source[:2_000]) or path.stem.endswith(("_pb2", "_pb2_grpc")):
        reason = "generated"
    elif len(source) / lines > limits.mean_line:
        reason = "data or minified"
    if reason:
        count.skipped[reason] += 1
        return None
    return source.replace("\r\n", "\n")


def _python_pieces(source: str, origin: Origin, limits: CodeLimits, count: CodeCount) -> Iterator[CodePiece]:
    """Functions with docstrings, examples in docstrings, and every simple statement that fits on one line, as Python prints them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
            for node in ast.walk(tree):
                yield from _of_node(node, origin, limits)
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
                    yield from _of_examples(ast.get_docstring(node) or "", origin, limits)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        count.skipped["not this Python"] += 1


def _of_node(node: ast.AST, origin: Origin, limits: CodeLimits) -> Iterator[CodePiece]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        said = first_sentence(ast.get_docstring(node) or "")
        body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
        if said and body:
            code = ast.unparse(ast.Module(body, []))
            one_line = "\n" not in code and len(code) <= limits.line
            if len(code) <= limits.body and not (len(body) == 1 and isinstance(body[0], ast.Pass | ast.Raise)) and code != "...":
                yield CodePiece(kind="line" if one_line else "function", text=said, code=code, origin=origin)
    elif isinstance(node, ast.Assign | ast.AugAssign | ast.Return | ast.Expr | ast.With | ast.For | ast.Delete | ast.Import | ast.ImportFrom):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return
        code = ast.unparse(node)
        if "\n" not in code and len(code) <= limits.line and code.isascii():
            yield CodePiece(kind="statement", text="", code=code, origin=origin)


def _of_examples(docstring: str, origin: Origin, limits: CodeLimits) -> Iterator[CodePiece]:
    """One-line examples (`>>> f(x)`) of a docstring, the first after a sentence with it."""
    above, is_output = [], False
    lines = [line.strip() for line in docstring.split("\n")]
    for at, line in enumerate(lines):
        following = lines[at + 1] if at + 1 < len(lines) else ""
        if not line.startswith(">>> "):
            is_output = is_output and bool(line)
            if line and not is_output:
                above.append(line)
            elif not following.startswith(">>>"):  # an empty line: only a sentence right before an example speaks of it
                above = []
            continue
        said, above, is_output = first_sentence(" ".join(above).removesuffix(":")), [], True
        try:
            code = ast.unparse(ast.parse(line[4:])) if not following.startswith("...") else ""
        except (SyntaxError, ValueError):
            continue
        if code and "\n" not in code and len(code) <= limits.line and code.isascii() and not code.startswith(("import ", "from ")):
            yield CodePiece(kind="line" if said else "statement", text=said, code=code, origin=origin)


def first_sentence(docstring: str) -> str:
    """The first sentence of a docstring in one line; empty where it is markup, too short or too long to say what is done."""
    paragraph = docstring.strip().split("\n\n")[0]
    found = SENTENCE.match(paragraph)
    words = " ".join((found[1] if found else paragraph).split()).rstrip(".").removeprefix("# ")
    return words if 3 <= len(words.split()) <= 40 and words.isascii() and not words.startswith((">>>", ":", "@", "|", "..", "Example")) else ""


def _shell_pieces(source: str, origin: Origin, limits: CodeLimits, count: CodeCount) -> Iterator[CodePiece]:
    """One-line commands; with the comment above where one stands there."""
    above = ""
    for raw in source.split("\n"):
        line = raw.strip()
        if line.startswith("#"):
            said = line.lstrip("#! ").strip()
            above = said if 3 <= len(said.split()) <= 30 and said.isascii() else ""
            continue
        first = line.split()[0] if line.split() else ""
        if PLAIN_SHELL.match(line) and "=" not in first and first not in SHELL_WORDS and len(line) <= limits.line and line.isascii() and _ends_here(line) and not first.endswith(")"):
            if above:
                yield CodePiece(kind="line", text=above.rstrip(".:"), code=line, origin=origin)
            yield CodePiece(kind="statement", text="", code=line, origin=origin)
        above = ""


def _ends_here(line: str) -> bool:
    """Whether a shell line stands by itself: quotes and brackets closed, nothing carried on."""
    plain = re.sub(r"\\.|'[^']*'|\"(?:[^\"\\]|\\.)*\"", "", line)
    return not plain.endswith(("\\", "|", "&&", "||", "{", "(", ";;")) and "<<" not in plain and not set(plain) & set("'\"`{}") and plain.count("(") == plain.count(")")
