"""CodeBERTScore, where its package and weights are on this machine already. Nothing is downloaded, and nothing stands in for it."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path

MODEL = "neulab/codebert-python"
Scorer = Callable[[Sequence[str], Sequence[str]], dict[str, list[float]]]


def find_codebertscore() -> Scorer | None:
    """F1 and F3 of lines against gold lines, or None where they cannot be computed here."""
    return _codebertscore if importlib.util.find_spec("code_bert_score") and _is_cached(MODEL) else None


def _is_cached(model: str) -> bool:
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    folder = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{model.replace('/', '--')}"
    return any(folder.glob("snapshots/*/config.json"))


def _codebertscore(lines: Sequence[str], golds: Sequence[str]) -> dict[str, list[float]]:
    """The package's own call for Python, without sources; the paper does not say which of F1 and F3 it shows."""
    _, _, f1, f3 = importlib.import_module("code_bert_score").score(cands=list(lines), refs=list(golds), lang="python")
    return {"f1": [float(v) for v in f1], "f3": [float(v) for v in f3]}
