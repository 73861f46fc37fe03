"""A teacher of another tokenizer reads the same records in its own tokens; what it says where both cut the text alike is stored.

The pair of tokenizers is handed in and has passed its self-test (`limbeck.teachers.alignment`). The teacher reads a record as its own
chat template writes it, all records of a row at once without seeing each other. Positions inside a token of the teacher's, and
records whose answers the two do not spell alike, have no target and are learnt from their labels alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from limbeck.errors import LimbeckError
from limbeck.models.decoder import Decoder
from limbeck.train.packing import NO_LABEL, Document, Packed, render
from limbeck.train.targets import encode_top

LEAST_SPELT = 0.8  # of a row's records must be spelt alike by both


class Pair(Protocol):
    """Two tokenizers side by side, as `limbeck.teachers.alignment.Alignment`."""

    def encode(self, text: str) -> tuple[list[int], list[int]]:
        """Token ids of teacher and student."""
        ...

    def project(self, text: str, logp_LV: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Student's positions [N], tokens [N, k] and their log-probabilities [N, k]."""
        ...

    def project_end(self, logp_V: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Student's tokens [k] and log-probabilities [k] after the whole text."""
        ...


@dataclass(frozen=True, slots=True)
class Aligned:
    """What is needed to read packed rows with other tokens: the pair, both tokenizers, and the records by their student's tokens."""

    pair: Pair
    teacher: Any
    records: Mapping[tuple[int, ...], tuple[dict[str, Any], int]]  # of a document's ids: its record, and where its answer begins


def by_tokens(records: list[dict[str, Any]], tokenizer: Any) -> dict[tuple[int, ...], tuple[dict[str, Any], int]]:
    """Records by the token ids that packing gives them, with where the answer begins."""
    documents = [(render(tokenizer, record), record) for record in records]
    return {tuple(document.ids): (record, document.learnt) for document, record in documents}


@torch.inference_mode()
def capture_aligned(teacher: Decoder, packed: Packed, rows: range, aligned: Aligned, k: int, vocabulary: int) -> tuple[np.ndarray, bytes, int, int]:
    """Of some rows: tokens stored at each label (k or none), their codes, records read and records that were spelt alike."""
    lengths, codes, read, spelt = [], [], 0, 0
    for row in rows:
        documents = list(_documents(packed, row))
        asked = [_as_teacher_reads(ids, aligned) for _, ids in documents]
        states = _states(teacher, [a[0].ids for a in asked if a is not None])
        count = int((packed.label[row] != NO_LABEL).sum())
        ids_NK, logp_NK, has = np.zeros((count, k), np.int64), np.full((count, k), -np.inf, np.float32), np.zeros(count, bool)
        number = np.cumsum(packed.label[row] != NO_LABEL) - 1  # of each place with a label among the row's labels
        for (start, _), found in zip(documents, asked, strict=True):
            read += 1
            if found is None:
                continue
            spelt += 1
            document, text, answer = found
            states_LD = next(states)[document.learnt - 1 : document.learnt + len(aligned.pair.encode(text)[0])]
            logp_LV = (states_LD @ teacher.head_VD.T)[:, : len(aligned.teacher)].float().log_softmax(-1).cpu().numpy()
            positions, ids, logp = aligned.pair.project(text, logp_LV[:-1], k)
            end_ids, end_logp = aligned.pair.project_end(logp_LV[-1], k)
            at = number[start + answer - 1 + np.append(positions, len(aligned.pair.encode(text)[1]))]
            ids_NK[at], logp_NK[at], has[at] = np.concatenate([ids, end_ids[None]]), np.concatenate([logp, end_logp[None]]), True
        _, stored = encode_top(ids_NK[has], logp_NK[has], vocabulary)
        lengths.append(np.where(has, k, 0))
        codes.append(stored)
    return np.concatenate(lengths), b"".join(codes), read, spelt


def check_spelt(read: int, spelt: int, where: str) -> None:
    """Raises LimbeckError where too few records are read alike by both tokenizers for their distributions to be worth much."""
    if read and spelt < LEAST_SPELT * read:
        raise LimbeckError(f"only {spelt} of {read} answers are spelt alike by both tokenizers within their chat templates", where, "learn from the teacher's answers alone: distill.soft = 'off'")


def _documents(packed: Packed, row: int) -> Any:
    """Start and token ids of each document of a row."""
    segment = packed.segment[row]
    for number in range(int(segment.max()) + 1):
        places = np.flatnonzero(segment == number)
        yield int(places[0]), tuple(packed.ids[row][places].tolist())


def _as_teacher_reads(ids: tuple[int, ...], aligned: Aligned) -> tuple[Document, str, int] | None:
    """The record in the teacher's tokens, its answer's text, and where that begins for the student; None where the two differ."""
    record, answer = aligned.records[ids]
    text = record["answer"]
    document = render(aligned.teacher, record)
    theirs, ours = aligned.pair.encode(text)
    alike = document.ids[document.learnt : -1] == theirs and list(ids[answer:-1]) == ours
    return (document, text, answer) if alike else None


def _states(teacher: Decoder, documents: list[list[int]]) -> Any:
    """Hidden states [L, D] of each document, read together."""
    if not documents:
        return
    device = teacher.head_VD.device
    ids = torch.tensor([[i for d in documents for i in d]], device=device)
    position = torch.cat([torch.arange(len(d)) for d in documents])[None].to(device)
    states_LD, start = teacher.states(ids, position)[0], 0
    for document in documents:
        yield states_LD[start : start + len(document)]
        start += len(document)
