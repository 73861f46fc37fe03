"""Whether a text is in the language that was asked for. langdetect tells, with a fixed seed; what is too short or no prose passes."""

from __future__ import annotations

import re
from typing import Any

from limbeck.errors import LimbeckError

LEAST_WORDS = 6  # fewer words: nobody can tell
SURE = 0.9  # a text is refused where another language is at least so likely
READ = 1_000  # characters that are read
_FENCE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+", re.DOTALL)
_NO_SPACES = re.compile("[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0eff]")


class LanguageCheck:
    """A language by its two-letter code. Raises LimbeckError where langdetect is missing or knows no such language."""

    def __init__(self, code: str) -> None:
        try:
            import langdetect
            from langdetect import detector_factory
        except ImportError as problem:
            raise LimbeckError("telling languages apart needs langdetect", f"keep.language = {code!r}", "pip install 'limbeck[evals]', or leave keep.language out") from problem
        langdetect.DetectorFactory.seed = 0
        detector_factory.init_factory()
        known = sorted({name.split("-")[0] for name in detector_factory._factory.get_lang_list()})  # type: ignore[union-attr]
        self.code = code.strip().lower()
        if self.code not in known:
            raise LimbeckError(f"there is no language {code!r}", "keep.language", f"one of: {', '.join(known)}")
        self._detect: Any = langdetect.detect_langs
        self._problem = langdetect.LangDetectException

    def other(self, text: str) -> str:
        """The language a text is in, where that is surely another one; "" where it is the right one or cannot be told."""
        prose = " ".join(_FENCE.sub(" ", text[:READ]).split())
        letters = sum(c.isalpha() for c in prose)
        if (len(prose.split()) < LEAST_WORDS and len(_NO_SPACES.findall(prose)) < 2 * LEAST_WORDS) or letters < 0.6 * len(prose.replace(" ", "")):
            return ""
        try:
            best = self._detect(prose)[0]
        except self._problem:
            return ""
        found = best.lang.split("-")[0]
        return found if found != self.code and best.prob >= SURE else ""
