"""Python for small networks: pieces of lines, and slots that copy from the request."""

from __future__ import annotations

import ast
import warnings
from importlib import resources

from limbeck.tasks.pieces import PiecesCodec, read_vocabulary
from limbeck.tasks.python.reading import tokens_of_request

OPENS = {"(": ")", "[": "]", "{": "}"}


class PythonCodec(PiecesCodec):
    """The codec of task python; an answer may end only where it parses."""

    def __init__(self, typed: bool = False) -> None:
        pieces = resources.files("limbeck.tasks.python") / "pieces.txt"
        super().__init__("python", read_vocabulary(pieces.read_text(encoding="utf-8")), may_end, tokens_of_request, typed=typed)

    def __reduce__(self) -> tuple[type[PythonCodec], tuple[bool]]:
        """Sent to another process by its name: its pieces lie in the package."""
        return PythonCodec, (self.typed,)


def may_end(code: str) -> bool:
    """Whether this is Python 3 as it stands. Counting brackets first spares most of the parsing."""
    if any(code.count(left) != code.count(right) for left, right in OPENS.items()) and "'" not in code and '"' not in code:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
