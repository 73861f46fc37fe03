"""Bash for small networks: pieces of commands, and slots that copy from the request."""

from __future__ import annotations

from importlib import resources

from limbeck.tasks.pieces import PiecesCodec, read_vocabulary

CLOSES = {")": "(", "}": "{", "]": "["}


class BashCodec(PiecesCodec):
    """The codec of task bash; a command may end only where its quotes and brackets are closed."""

    def __init__(self, typed: bool = False) -> None:
        pieces = resources.files("limbeck.tasks.bash") / "pieces.txt"
        super().__init__("bash", read_vocabulary(pieces.read_text(encoding="utf-8")), may_end, typed=typed)

    def __reduce__(self) -> tuple[type[BashCodec], tuple[bool]]:
        """Sent to another process by its name: its words lie in the package."""
        return BashCodec, (self.typed,)


def may_end(text: str) -> bool:
    """Whether quotes, substitutions and parentheses of a command are closed and nothing is left to be said after its last sign."""
    quote, open_, at = "", [], 0
    while at < len(text):
        letter = text[at]
        if letter == "\\" and quote != "'":
            at += 2
            continue
        if quote == "'":
            quote = "" if letter == "'" else quote
        elif letter == '"':
            quote = "" if quote else '"'
        elif letter == "'" and not quote:
            quote = "'"
        elif letter in "({" and (letter == "(" or text[at - 1 : at] == "$") and (not quote or text[at - 1 : at] == "$"):
            open_.append(letter)
        elif letter in ")}" and open_ and open_[-1] == CLOSES[letter]:
            open_.pop()
        at += 1
    return not quote and not open_ and text.count("`") % 2 == 0 and not text.rstrip().endswith(("|", "&&", ">", "<")) and not (text.endswith("\\") and not text.endswith("\\\\"))
