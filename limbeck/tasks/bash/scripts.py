"""Pairs from shell scripts on this machine: a comment, and the one-line command below it."""

from __future__ import annotations

from functools import lru_cache

from limbeck.data.groups import normalise
from limbeck.data.local_code import read_code
from limbeck.errors import LimbeckError
from limbeck.tasks.bash.fitness import is_valid, why_unfit
from limbeck.tasks.bash.loading import load_pairs

EVERY = 10  # one pair in so many comes from scripts


@lru_cache(maxsize=4)
def script_pairs(places: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Those fit to be asked for, without what shares its comment or its command with NL2Bash's dev or test part."""
    kept_out = {key for split in ("dev", "test") for key in _seen(split)}
    found = [(piece.text, piece.code) for piece in read_code(places, "shell") if piece.kind == "line"]
    return tuple((nl, cmd) for nl, cmd in found if is_valid(cmd) and not why_unfit(cmd) and normalise(nl) not in kept_out and " ".join(cmd.split()) not in kept_out)


def _seen(split: str) -> list[str]:
    try:
        return [key for pair in load_pairs(split) for key in (normalise(pair.utterance), " ".join(pair.command.split()))]
    except LimbeckError:  # the test part may be kept elsewhere
        return []
