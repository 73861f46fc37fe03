"""What one kind of student alone needs (`student.extra`), with the reason for each default; many are choices at sampling too."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from limbeck.errors import LimbeckError

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class FusionKnobs:
    """CODEFUSION's. `recipes/codefusion-paper-*.toml` sets every one of them to the paper's choice."""

    # form
    denoiser_layers: int = 2
    canvas: int = 0  # positions of the canvas; 0: the codec's longest answer. The paper: 128, nine tenths of it padding
    noise_steps: int = 1200  # the paper's T
    embedding_scale: float = 0.3  # Differs: at 1.0 x_0 is readable from x_t until very high noise and nothing is learnt
    is_normalised: bool = True  # Differs: L(y) has one length, else term 2 and the head may shrink or blow it up
    has_own_head: bool = False  # Differs: H shares its weights with L; the paper's is a layer of its own
    predicts_length: bool = False  # Differs: a small head bounds the canvas of each prompt, see lengths.py
    # learning
    predict: str = "x0"  # "eps" is the paper's; x0 is steadier at high noise
    loss: str = "mean"  # "paper": norms, unweighted, L pulled by the decoder; "mean": squared means, 0.1 decoding, L not pulled
    self_conditioning: float = 0.5  # Differs: share of training rows that see their own last guess (Chen et al. 2022)
    guess_gap: float = 0.0  # that guess is made from up to this share of T noisier, as a sampler with few steps makes it (FastDiSS)
    anchor_weight: float = 1.0  # Differs: cross-entropy of x0_hat itself (Difformer), against collapse of L
    pad_weight: float = 0.1  # Paper silent: pads are targets, unweighted they drown the answer
    times: str = "power"  # "loss_aware": in proportion to the root mean square of the loss at each time (Nichol and Dhariwal 2021)
    high_noise: float = 0.2  # Differs: times are drawn as u ** high_noise, since low noise teaches little; 0.6 was 10 points worse
    length_weight: float = 0.1  # of the length head's cross-entropy
    phase1_share: float = 0.0  # Differs: phase 1 as a share of each batch's rows; 0.15 cost 3 to 11 points at equal steps
    phase1_first: float = 0.0  # the paper's order: the first share of training steps is phase 1 alone (paper silent on how long)
    phase1: str = "both"  # "cpd": without unsupervised code generation; "generation": without CPD (the paper's ablations)
    cpd_mask: float = 0.3  # Paper silent; GENIE's rate
    # sampling
    steps: int = 12  # Differs: quality was the same at 10 and 200 respaced DDIM steps in a trial, so few
    ddim: bool = True  # False: the paper's ancestral sampling, where `solver` says nothing
    solver: str = ""  # "ddpm", "ddim", "dpm++" (DPM-Solver++(2M)); "" leaves it to `ddim`
    eta: float = 0.0  # of DDIM: 0 adds no noise, 1 as much as DDPM
    clamp: str = "none"  # the paper's; the expected embedding under the head ("expected") cost 5 to 11 points, see lab/log.md
    read: str = "decoder"  # "nearest": D and H replaced by the nearest symbol (the paper's grounding; with clamp "nearest" its clamping)
    within_grammar: bool = True  # Differs: the canvas is read by a small search inside the task's grammar; False: argmax, as the paper
    stop_at: int = 0  # stop denoising at this time and read x_t as it is (the paper's figure 2)
    is_prompted: bool = True  # False: code from noise alone, E_s drawn anew at every step, as phase 1 trains it
    early_exit: int = 0  # a prompt is done when no draw's nearest symbols changed for so many steps; 0 never
    length_sure: float = 0.95  # the canvas is long enough with this probability, where the length is predicted
    repair: float = 0.0  # a draw that is no answer is noised until this share of its symbols is lost, and denoised once more; 0 never
    draws: int = 6
    beams: int = 4


@dataclass(frozen=True, slots=True)
class MaskedKnobs:
    """The masked twin's."""

    denoiser_layers: int = 2
    steps: int = 12
    pad_weight: float = 0.1  # pads are real targets; unweighted they drown the few symbols of an answer
    weighting: str = "flat"  # "inverse_t" is the likelihood bound; flat learnt faster in a trial at this size
    epsilon: float = 1e-3  # least share hidden
    predicts_length: bool = False  # a small head bounds the canvas of each prompt, see lengths.py
    length_weight: float = 0.1
    length_sure: float = 0.95
    temperature: float = 0.7  # of the Gumbel noise that makes draws differ; the first draw has none
    order: str = "confidence"  # what is shown first: "margin" (to the runner-up), "entropy" (least), "random"
    threshold: float = 0.0  # everything surer than this is shown at once, and the loop ends when nothing is hidden (Fast-dLLM); 0 off
    remask: float = 0.0  # share of what is shown that each step hides again, least sure first (ReMDM); not in the last quarter
    block: int = 0  # positions shown block after block, left to right (semi-autoregressive); 0: anywhere
    repair: float = 0.0  # a draw that is no answer has this share hidden again, least sure first, and is filled once more; 0 never
    draws: int = 6
    beams: int = 4  # of the grammar's final reading


CHOICES = {
    "predict": ("x0", "eps"), "loss": ("mean", "paper"), "times": ("power", "loss_aware"), "phase1": ("both", "cpd", "generation"),
    "solver": ("", "ddpm", "ddim", "dpm++"), "clamp": ("none", "expected", "nearest"), "read": ("decoder", "nearest"),
    "weighting": ("flat", "inverse_t"), "order": ("confidence", "margin", "entropy", "random"),
}  # fmt: skip
KNOBS = {"codefusion": FusionKnobs, "masked": MaskedKnobs}
BEYOND = ("names", "rank", "temperature", "top_p")  # not of a kind of student: what the codec told, how candidates are ranked, the autoregressive twin's


def read_knobs(kind: type[K], *givens: Mapping[str, Any]) -> K:
    """A dataclass of knobs; later mappings win, keys that it does not have are someone else's."""
    names = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for given in givens for name, value in given.items() if name in names})


def check_knobs(given: Mapping[str, Any], where: str) -> None:
    """Raises LimbeckError for a key that no kind of student has, or a value that a choice does not offer."""
    known = {f.name for kind in KNOBS.values() for f in fields(kind)} | set(BEYOND)
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), 1)
            raise LimbeckError(f"no student has a knob {name!r}", where, f"did you mean {near[0]!r}?" if near else "see docs/models.md")
        if name in CHOICES and value not in CHOICES[name]:
            raise LimbeckError(f"{name} cannot be {value!r}", where, f"choose from {', '.join(repr(c) for c in CHOICES[name])}")
