"""BERTScore and BLEURT as the official script sets them, where their packages and weights are on this machine already.

Nothing is downloaded: a score that is absent is shown as absent, and so is the aggregate of the three.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from limbeck.tasks.medec.metrics import Scorer

BERTSCORE_MODEL = "microsoft/deberta-xlarge-mnli"
BLEURT_FOLDER = "LIMBECK_BLEURT"  # the environment variable that names the unpacked BLEURT-20 checkpoint


def find_scorers() -> dict[str, Scorer]:
    """Those of the two that can be computed here."""
    found: dict[str, Scorer] = {}
    if importlib.util.find_spec("bert_score") and _cached(BERTSCORE_MODEL):
        found["bertscore"] = _bertscore
    folder = os.environ.get(BLEURT_FOLDER, "")
    if folder and Path(folder).is_dir() and importlib.util.find_spec("bleurt"):
        found["bleurt"] = _bleurt
    return found


def _cached(model: str) -> bool:
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    folder = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{model.replace('/', '--')}"
    return any(folder.glob("snapshots/*/config.json"))


def _bertscore(answers: Sequence[str], references: Sequence[str]) -> list[float]:
    """F1, rescaled with the package's baseline."""
    score = importlib.import_module("bert_score").score
    _, _, f1 = score(list(answers), list(references), model_type=BERTSCORE_MODEL, lang="en", device="cpu", rescale_with_baseline=True)
    return [float(v) for v in f1]


def _bleurt(answers: Sequence[str], references: Sequence[str]) -> list[float]:
    scorer = importlib.import_module("bleurt.score").BleurtScorer(checkpoint=os.environ[BLEURT_FOLDER])
    return [float(v) for v in scorer.score(references=list(references), candidates=list(answers), batch_size=1)]
