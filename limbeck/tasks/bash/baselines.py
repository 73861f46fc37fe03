"""The answerer that costs nothing: the commands of the nearest utterances seen, as they are."""

from __future__ import annotations

from limbeck.tasks.nearest import NearestText


class NearestCommand(NearestText):
    """Words of two letters and more: the strongest of five ways to cut words on NL2Bash dev."""
