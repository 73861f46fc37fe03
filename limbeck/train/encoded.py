"""A dataset as packed arrays: each prompt and answer encoded once, kept beside the dataset, read by every arm."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from limbeck.errors import LimbeckError
from limbeck.records import Prompt
from limbeck.task import Codec, Source

CHUNK = 2000  # examples a worker encodes at a time


@dataclass(frozen=True, slots=True)
class Encoded:
    """N examples end to end. Rows of example i are offsets[i]:offsets[i+1]; the same for targets."""

    pieces: np.ndarray
    kind: np.ndarray
    flags: np.ndarray
    link: np.ndarray
    slot: np.ndarray
    offsets: np.ndarray
    targets: np.ndarray
    target_offsets: np.ndarray
    soft_ids: np.ndarray | None = None  # [sum of target lengths, K]
    soft_logps: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def source(self, index: int) -> Source:
        """One prompt as the network reads it."""
        rows = slice(self.offsets[index], self.offsets[index + 1])
        return Source(
            pieces_SG=self.pieces[rows], kind_S=self.kind[rows], flags_SF=self.flags[rows], link_S=self.link[rows],
            slot_S=self.slot[rows],
        )  # fmt: skip

    def target(self, index: int) -> np.ndarray:
        """One answer's symbols, <eos> last."""
        return self.targets[self.target_offsets[index] : self.target_offsets[index + 1]]

    def soft(self, index: int) -> tuple[np.ndarray, np.ndarray] | None:
        """The teacher's K likeliest symbols and their log-probabilities at each position of the answer."""
        if self.soft_ids is None or self.soft_logps is None:
            return None
        rows = slice(self.target_offsets[index], self.target_offsets[index + 1])
        return self.soft_ids[rows], self.soft_logps[rows]

    @property
    def lengths(self) -> np.ndarray:
        """Source tokens of each example: what batches are grouped by."""
        return np.diff(self.offsets)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a .jsonl.gz file."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
    except (OSError, EOFError, json.JSONDecodeError) as problem:
        raise LimbeckError(f"the dataset cannot be read: {problem}", str(path), "delete the step's folder and run again") from problem


def encode_dataset(folder: Path, name: str, codec: Codec, workers: int = 2) -> Encoded:
    """The packed form of `folder/name.jsonl.gz`, made on first use and kept as `encoded-name.safetensors`."""
    cache = folder / f"encoded-{name}.safetensors"
    if not cache.exists():
        arrays = _encode(list(read_lines(folder / f"{name}.jsonl.gz")), codec, workers)
        temporary = cache.with_suffix(f".tmp{os.getpid()}")
        save_file(arrays, temporary)
        os.replace(temporary, cache)
    packed = Encoded(**load_file(cache))
    soft_path = folder / "soft.safetensors"
    if name != "data" or not soft_path.exists():
        return packed
    soft = load_file(soft_path)
    fields = {f: getattr(packed, f) for f in Encoded.__slots__}
    return Encoded(**{**fields, "soft_ids": soft["ids"], "soft_logps": soft["logps"]})


def _encode(records: list[dict[str, Any]], codec: Codec, workers: int) -> dict[str, np.ndarray]:
    if not records:
        raise LimbeckError("the dataset is empty", "the distill step", "see distill/refused.jsonl for why every record was refused")
    chunks = [(codec, records[i : i + CHUNK]) for i in range(0, len(records), CHUNK)]
    if workers > 1 and len(chunks) > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            parts = list(pool.map(_encode_chunk, chunks))
    else:
        parts = [_encode_chunk(chunk) for chunk in chunks]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for lengths, offsets in (("lengths", "offsets"), ("target_lengths", "target_offsets")):
        joined[offsets] = np.concatenate([[0], np.cumsum(joined.pop(lengths))]).astype(np.int64)
    return joined


def _encode_chunk(job: tuple[Codec, list[dict[str, Any]]]) -> dict[str, np.ndarray]:
    codec, records = job
    sources: list[Source] = []
    targets: list[list[int]] = []
    for record in records:
        prompt = Prompt(id=record["id"], text=record["text"], context=record["context"])
        symbols = record.get("symbols") or codec.encode_answer(prompt, record["answer"])
        if symbols is None:
            continue
        sources.append(codec.encode(prompt))
        targets.append(symbols)
    return {
        "pieces": np.concatenate([s.pieces_SG for s in sources]),
        "kind": np.concatenate([s.kind_S for s in sources]).astype(np.int8),
        "flags": np.concatenate([s.flags_SF for s in sources]).astype(np.float16),
        "link": np.concatenate([s.link_S for s in sources]),
        "slot": np.concatenate([s.slot_S for s in sources]),
        "lengths": np.array([len(s.kind_S) for s in sources], np.int64),
        "targets": np.concatenate([np.asarray(t, np.int16) for t in targets]),
        "target_lengths": np.array([len(t) for t in targets], np.int64),
    }
