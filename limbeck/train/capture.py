"""A teacher with weights here reads the packed rows that its students will see, and its distributions are stored.

It reads whole rows with the students' own block-diagonal attention, so a stored distribution has the same context as the student's.
Draws are seeded by row: a capture that was killed and goes on writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import LimbeckError
from limbeck.models.decoder import Decoder, load_tokenizer, refuse_pickles
from limbeck.models.precision import is_bf16_native
from limbeck.recipe.schema import DistillSection
from limbeck.run import Step
from limbeck.train.capture_aligned import Aligned, capture_aligned, check_spelt
from limbeck.train.fit import step_seed
from limbeck.train.packing import NO_LABEL, Packed
from limbeck.train.targets import MOST, TargetWriter, encode_counts, encode_top

ROWS = 4  # read together
POSITIONS = 512  # whose logits exist at one time

Progress = Callable[[dict[str, Any]], None]


def capture_targets(source: str, packed: Packed, tokenizer: Any, section: DistillSection, step: Step, progress: Progress | None = None, aligned: Aligned | None = None) -> Path:
    """The store's folder: the teacher at `source` over these rows, in its own tokens where `aligned` says how they meet the student's.

    Raises LimbeckError where its vocabulary is not the student's, or too few records are spelt alike.
    """
    vocabulary = len(tokenizer)
    if aligned is None:
        check_vocabulary(load_tokenizer(source), tokenizer, source)
    teacher = load_teacher(source)
    if section.soft == "top" and section.soft_top > MOST:
        raise LimbeckError(f"at most {MOST} tokens of a distribution are stored", "distill.soft_top", "ask for fewer")
    header = {
        "kind": section.soft, "draws": section.soft_draws, "top": min(section.soft_top, vocabulary), "vocabulary": vocabulary, "tokens_sha256": packed.sha256(),
        "teacher": source.rsplit("/", 1)[-1], "seed": step.seed("draws"), "teacher_rows": int(teacher.head_VD.shape[0]),
    }  # fmt: skip
    if aligned is not None:
        header["aligned"] = True
    writer = TargetWriter(step.path, header)
    for first in range(writer.rows, len(packed), ROWS):
        rows = range(first, min(first + ROWS, len(packed)))
        if aligned is None:
            lengths, codes = _capture(teacher, packed, rows, header)
        else:
            lengths, codes, read, spelt = capture_aligned(teacher, packed, rows, aligned, header["top"], vocabulary)
            check_spelt(read, spelt, source)
        writer.append(len(rows), lengths, codes)
        if progress:
            progress({"done": rows[-1] + 1, "of": len(packed)})
    return step.path


def load_teacher(source: str) -> Decoder:
    """A teacher's weights, in the number format that is fast here."""
    from transformers import AutoModelForCausalLM

    refuse_pickles(source)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16 if is_bf16_native() else torch.float32, use_safetensors=True)
    except (OSError, ValueError) as problem:
        raise LimbeckError(f"this teacher cannot be loaded: {str(problem).splitlines()[0]}", source, "name a folder in Hugging Face form with safetensors weights") from problem
    return Decoder(model.eval().to("cuda" if torch.cuda.is_available() else "cpu"))


def check_vocabulary(teacher: Any, student: Any, where: str) -> None:
    """Raises LimbeckError unless every token of the student's has the same id in the teacher's; spare rows of a table do no harm."""
    theirs, ours = teacher.get_vocab(), student.get_vocab()
    wrong = next((token for token, at in ours.items() if theirs.get(token) != at), None)
    if wrong is not None or len(theirs) != len(ours):
        what = f"token {wrong!r} has id {ours[wrong]} in one and {theirs.get(wrong)} in the other" if wrong is not None else f"{len(theirs):,} tokens against {len(ours):,}"
        raise LimbeckError(f"teacher and student have different vocabularies: {what}", where, "give the student the teacher's tokenizer, or learn from its answers alone: distill.soft = 'off'; or try distill.align = true with distill.soft = 'top'")


@torch.inference_mode()
def _capture(teacher: Decoder, packed: Packed, rows: range, header: dict[str, Any]) -> tuple[np.ndarray, bytes]:
    """What is stored for some rows. Rows of the teacher's table beyond the vocabulary are padding and are cut off before the softmax."""
    device = teacher.head_VD.device
    ids, position, label = (torch.from_numpy(a[rows.start : rows.stop].astype(np.int64)).to(device) for a in (packed.ids, packed.position, packed.label))
    states_BLD = teacher.states(ids, position)
    lengths, codes = [], []
    for at, row in enumerate(rows):
        generator = torch.Generator().manual_seed(step_seed(header["seed"], row))
        states_ND = states_BLD[at][label[at] != NO_LABEL]
        for first in range(0, len(states_ND), POSITIONS):
            logits_NV = (states_ND[first : first + POSITIONS] @ teacher.head_VD.T)[:, : header["vocabulary"]].float()
            found = _draw(logits_NV, header, generator) if header["kind"] == "sampled" else _top(logits_NV, header)
            lengths.append(found[0])
            codes.append(found[1])
    return (np.concatenate(lengths) if lengths else np.zeros(0, np.uint8)), b"".join(codes)


def _draw(logits_NV: Tensor, header: dict[str, Any], generator: torch.Generator) -> tuple[np.ndarray, bytes]:
    """Draws with replacement by inverting the cumulative distribution in float64; equal ones are counted."""
    cumulative_NV = logits_NV.softmax(-1).double().cumsum(-1)
    point_ND = torch.rand(len(logits_NV), header["draws"], dtype=torch.float64, generator=generator).to(logits_NV.device) * cumulative_NV[:, -1:]
    drawn_ND = torch.searchsorted(cumulative_NV, point_ND, right=True).clamp(max=header["vocabulary"] - 1).sort(1).values.cpu().numpy()
    pairs = [np.unique(row, return_counts=True) for row in drawn_ND]
    return encode_counts([ids for ids, _ in pairs], [counts for _, counts in pairs], header["vocabulary"], header["draws"])


def _top(logits_NV: Tensor, header: dict[str, Any]) -> tuple[np.ndarray, bytes]:
    top = logits_NV.log_softmax(-1).topk(header["top"], -1)
    return encode_top(top.indices.cpu().numpy(), top.values.cpu().numpy(), header["vocabulary"])
