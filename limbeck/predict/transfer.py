"""Learning rate, batch and schedule carried from one size to another, and two tests of whether that may be done.

Each exponent, where it comes from, and where we differ:

- Width, AdamW: lr with width^-1. muP (arXiv 2203.03466, Tables 3 and 8) has 1/fan-in for hidden matrices: their updates add up along the
  gradient's direction. Differs: muP leaves lr of embeddings and biases alone and scales initial weights and logits too; a student has one lr, so
  its embeddings learn more slowly the wider it is.
- Width, Muon: lr with width^-1/2. The condition behind muP is that an update's spectral norm goes with sqrt(fan-out / fan-in) (arXiv 2310.17813).
  The project's Muon makes updates whose elements have a size of 0.2 lr whatever the shape (arXiv 2502.16982), with singular values all alike: their
  spectral norm is 0.2 lr sqrt(width). Ours by that derivation; measured in tests/test_predict_transfer.py.
- Depth: lr with layers^-1/2. CompleteP (arXiv 2505.01618, Table 1) multiplies branches by m_L^-alpha and hidden lr by m_L^(alpha-1), alpha from 1/2
  to 1; its own choice, alpha = 1, needs scaled branches, another network. Branches added unscaled to a stream that is normalised before it is
  read are the case alpha = 1/2 (a shrunken embedding is the same network), hence m_L^-1/2. No ladder of ours changes depth.
- Batch: with data^0.57. Step Law (arXiv 2503.04715): batch = 0.58 D^0.571 tokens.
- Batch and lr: lr with the root of the batch, the rule for Adam-like updates (arXiv 2205.10287); it fails above a peak (arXiv 2405.14578).
- Duration: lr with data^-0.32 at one batch (arXiv 2409.19913, AdamW; the same exponent was found for a Muon by 2603.28743). Together with the
  batch's rule lr goes with data^-0.03, until the batch meets its least.
- Not carried: weight decay (CompleteP: width^1) and Adam's epsilon; at the recipes' decay of 0.01 and a few thousand steps both are small.

2203.03466, 2505.01618, 2503.04715 and 2409.19913 as noted in an earlier reading and in public implementations; 2205.10287, 2310.17813 and 2502.16982 from memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from limbeck.errors import LimbeckError

WIDTH_POWER = {"muon": 0.5, "adamw": 1.0}
DEPTH_POWER, BATCH_POWER, DURATION_POWER = 0.5, 0.57, 0.32
LEAST_BATCH = 8
BAND = 2.0  # activations of all widths within this factor of each other: the transfer holds
AGREES = 0.01  # the transferred lr's loss above the best of a sweep, relative


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What decides how a student is trained. `examples` is all that is seen, repeats included."""

    width: int
    layers: int
    examples: int
    batch: int
    lr: float
    warmup: int
    ema: float
    optimizer: str = "muon"

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return max(1, round(self.examples / self.batch))


def transfer(known: Setting, *, width: int, layers: int, examples: int, least_steps: int = 1, least_batch: int = LEAST_BATCH) -> Setting:
    """The setting for another width, depth and amount of data, from one that is known to be good.

    The batch shrinks further than its rule says where a run would otherwise take fewer than `least_steps` steps, but never below `least_batch`.
    """
    if known.optimizer not in WIDTH_POWER:
        raise LimbeckError(f"no rule carries learning rates of {known.optimizer!r} to another width", "train.optimizer", f"one of {', '.join(WIDTH_POWER)}")
    data = examples / known.examples
    batch = max(min(least_batch, known.batch), min(round(known.batch * data**BATCH_POWER), examples // least_steps))
    lr = known.lr * (width / known.width) ** -WIDTH_POWER[known.optimizer] * (layers / known.layers) ** -DEPTH_POWER * data**-DURATION_POWER * math.sqrt(batch / known.batch)
    steps = max(1, round(examples / batch))
    share = known.warmup / known.steps
    remembered = (1 - known.ema) * known.steps / steps  # the running mean covers the same part of the run
    return Setting(width=width, layers=layers, examples=examples, batch=batch, lr=lr, warmup=max(1, round(share * steps)), ema=max(0.0, 1 - min(1.0, remembered)), optimizer=known.optimizer)


def coordinate_band(activations: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """For each place in the network, the largest root mean square over widths divided by the smallest; 1 is perfect.

    `activations` maps a width to each place's root mean square after a few steps.
    """
    if len(activations) < 2:
        raise LimbeckError("one width shows nothing of how activations change with it", "coordinate check", "measure two widths or more")
    places = set.intersection(*(set(a) for a in activations.values()))
    out = {}
    for place in sorted(places):
        values = [a[place] for a in activations.values()]
        out[place] = max(values) / max(min(values), 1e-12) if all(map(math.isfinite, values)) else math.inf
    return out


def holds(band: Mapping[str, float]) -> bool:
    """Whether every place stays within the band."""
    return bool(band) and max(band.values()) <= BAND


def judge_sweep(losses: Mapping[float, float]) -> dict[str, float | bool]:
    """Losses of one rung by factor on the transferred lr: the best factor, how much is lost by factor 1, and whether it agrees."""
    if 1.0 not in losses or len(losses) < 3:
        raise LimbeckError("a sweep needs the transferred learning rate and one on each side of it", "lr sweep", "give losses for factors such as 0.5, 1 and 2")
    finite = {factor: loss for factor, loss in losses.items() if math.isfinite(loss)}
    best = min(finite, key=lambda factor: finite[factor]) if finite else math.nan
    lost = losses[1.0] / finite[best] - 1 if finite else math.inf
    return {"best_factor": best, "lost": lost, "agrees": math.isfinite(lost) and lost <= AGREES}
