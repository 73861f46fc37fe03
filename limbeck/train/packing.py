"""Records as rows of tokens for a decoder: several whole documents to a row, none of which sees another.

A record is its request, rendered with the tokenizer's chat template, and its answer up to the stop token. The request is
tokenised by itself, as it will be when the expert is asked. Only answers are learnt unless `whole` says otherwise; a record
without a request is a plain document, and all of it is learnt.
"""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

from limbeck.errors import LimbeckError
from limbeck.train.encoded import read_lines

NO_LABEL = -100


@dataclass(frozen=True, slots=True)
class Document:
    """One record's token ids; those from `learnt` on are predicted."""

    ids: list[int]
    learnt: int


@dataclass(frozen=True, slots=True)
class Packed:
    """R rows of L tokens. Documents of a row are numbered in `segment` (-1 is padding), `position` starts anew with each.

    label[r, t] is the token to be predicted at t, the next one of the same document, or -100. `refused` counts records that
    are longer than a row.
    """

    ids: np.ndarray
    segment: np.ndarray
    position: np.ndarray
    label: np.ndarray
    refused: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> int:
        """Tokens that are predicted."""
        return int((self.label != NO_LABEL).sum())

    @property
    def fill(self) -> float:
        """Share of the rows that is not padding."""
        return float((self.segment >= 0).mean())

    @property
    def longest_answer(self) -> int:
        """Tokens of the longest run that is predicted; a document's last token predicts nothing, so no two runs touch."""
        ends = np.diff(np.concatenate([np.zeros((len(self), 1), bool), self.label != NO_LABEL, np.zeros((len(self), 1), bool)], 1).astype(np.int8), axis=1)
        return int((np.nonzero(ends == -1)[1] - np.nonzero(ends == 1)[1]).max(initial=0))

    def sha256(self) -> str:
        """Of tokens and their places: what stored distributions of a teacher are bound to."""
        digest = hashlib.sha256()
        for array in (self.ids, self.segment, self.label):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """B rows as tensors; `row_B` says which, and `targets` holds the teacher's word at each label, in the same order."""

    ids_BL: Tensor
    position_BL: Tensor
    label_BL: Tensor
    row_B: np.ndarray
    tokens: int
    targets: Any = None
    temperature: float = 1.0


def render(tokenizer: Any, record: dict[str, Any], whole: bool = False) -> Document:
    """A record as tokens. Raises LimbeckError where the chat template cannot be trained on."""
    if not record["text"] and not record.get("context", {}).get("messages"):
        return Document([_first(tokenizer), *tokenizer(record["answer"], add_special_tokens=False)["input_ids"], tokenizer.eos_token_id], 1)
    messages = list(record.get("context", {}).get("messages") or [{"role": "user", "content": record["text"]}])
    asked = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    full = tokenizer.apply_chat_template([*messages, {"role": "assistant", "content": record["answer"]}], tokenize=False)
    if not full.startswith(asked):
        raise LimbeckError("the chat template writes a request otherwise once it is answered, so the expert would be asked what it never learnt", "student.tokenizer", "use a template whose prompt with add_generation_prompt is a prefix of the whole talk")
    head = tokenizer(asked, add_special_tokens=False)["input_ids"]
    tail = tokenizer(full[len(asked) :], add_special_tokens=False)["input_ids"]
    stop = tokenizer.eos_token_id
    tail = tail[: tail.index(stop) + 1] if stop in tail else [*tail, stop]
    return Document(head + tail, 1 if whole else len(head))


def _first(tokenizer: Any) -> int:
    return int(tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id)


def pack(documents: Iterable[Document], length: int, pad: int) -> Packed:
    """Best fit, longest first: each document whole into the fullest row that has room for it; an order that is always the same."""
    held = list(documents)
    fitting = [d for d in held if len(d.ids) <= length]
    rows: list[list[Document]] = []
    by_room: dict[int, list[int]] = {}
    rooms: list[int] = []  # those of by_room, sorted
    for document in sorted(fitting, key=lambda d: -len(d.ids)):
        size = len(document.ids)
        at = bisect_left(rooms, size)
        if at == len(rooms):
            row, room = len(rows), length
            rows.append([])
        else:
            room = rooms[at]
            row = by_room[room].pop()
            if not by_room[room]:
                del by_room[room], rooms[at]
        rows[row].append(document)
        left = room - size
        if left and left not in by_room:
            insort(rooms, left)
        if left:
            by_room.setdefault(left, []).append(row)
    return _arrays(rows, length, pad, len(held) - len(fitting))


def _arrays(rows: Sequence[Sequence[Document]], length: int, pad: int, refused: int) -> Packed:
    ids = np.full((len(rows), length), pad, np.int32)
    segment, label = np.full(ids.shape, -1, np.int32), np.full(ids.shape, NO_LABEL, np.int32)
    position = np.zeros(ids.shape, np.int32)
    for at, row in enumerate(rows):
        start = 0
        for number, document in enumerate(row):
            size = len(document.ids)
            span = slice(start, start + size)
            ids[at, span], segment[at, span], position[at, span] = document.ids, number, np.arange(size)
            label[at, start + document.learnt - 1 : start + size - 1] = document.ids[document.learnt :]
            start += size
        position[at, start:] = np.arange(length - start)  # padding is a document of its own
    return Packed(ids, segment, position, label, np.array(refused))


def pack_dataset(folder: Path, name: str, tokenizer: Any, length: int, whole: bool = False, opted_out: Any = None) -> Packed:
    """The packed form of `folder/name.jsonl.gz`, kept beside it under a name that says how it was made."""
    how = hashlib.sha256(repr((length, whole, tokenizer.chat_template, len(tokenizer), tokenizer.eos_token_id, sorted(tokenizer.get_vocab().items())[:2000])).encode()).hexdigest()[:10]
    kept = folder / f"packed-{name}-{how}.safetensors"
    if not kept.exists():
        documents = [render(tokenizer, record, whole) for record in read_lines(folder / f"{name}.jsonl.gz")]
        made = pack(documents, length, tokenizer.pad_token_id)
        if not len(made):
            raise LimbeckError(f"no record fits a row of {length} tokens: {int(made.refused)} are longer" if documents else "the dataset is empty", str(folder / f"{name}.jsonl.gz"), "raise student.length" if documents else "see refused.jsonl.gz for why every record was refused")
        temporary = kept.with_suffix(f".tmp{os.getpid()}")
        save_file({field: getattr(made, field) for field in Packed.__slots__}, temporary)
        os.replace(temporary, kept)
    return Packed(**load_file(kept))


class PackedBatches:
    """Batch number `step` of an endless shuffled stream of rows; `targets` gives the teacher's word on chosen rows."""

    def __init__(self, data: Packed, size: int, seed: int, targets: Any = None) -> None:
        self.data, self.size, self.seed, self.targets = data, min(size, len(data)), seed, targets
        self.per_epoch = max(1, len(data) // self.size)
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def __call__(self, step: int) -> PackedBatch:
        """The batch of one step, a pure function of (seed, step)."""
        epoch, at = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._order, self._epoch = np.random.default_rng([self.seed, epoch]).permutation(len(self.data)), epoch
        return make_packed_batch(self.data, self._order[at * self.size : (at + 1) * self.size], self.targets)


def make_packed_batch(data: Packed, rows: np.ndarray | Sequence[int], targets: Any = None) -> PackedBatch:
    """Chosen rows as tensors, cut after the longest."""
    chosen = np.asarray(rows)
    used = int((data.segment[chosen] >= 0).sum(1).max())
    take = lambda array: torch.from_numpy(array[chosen, :used].astype(np.int64))  # noqa: E731
    return PackedBatch(take(data.ids), take(data.position), take(data.label), chosen, int((data.segment[chosen] >= 0).sum()), targets(chosen) if targets else None)
