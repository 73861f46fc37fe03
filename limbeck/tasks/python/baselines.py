"""The answerer that costs nothing: the lines of the nearest utterances seen, as they are."""

from __future__ import annotations

import re

from limbeck.tasks.nearest import NearestText


class NearestLine(NearestText):
    """Words as spaces cut them, names and quotes with them: utterances of CoNaLa quote the code they ask for."""

    word = re.compile(r"\S+")
    is_sublinear = True
