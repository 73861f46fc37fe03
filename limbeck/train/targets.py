"""A teacher's distributions on disk: a few bytes a token, read where they lie, bound to the very tokens they speak of.

A store is a folder. `header.json` says of what: teacher, kind, vocabulary, the hash of the packed tokens. Positions are the labels of
the packed rows, row by row. `lengths.bin` has one byte a position (two where more than 255 draws were made): how many tokens are
stored there. `codes.bin` has them:

    sampled   of `draws` draws from the teacher each different token once, with how often it came: id and count - 1 in 3 bytes where
              their bits fit (4 else), little-endian; about 12 tokens or 36 bytes a position for 50 draws (arXiv:2503.16870)
    top       the k likeliest tokens: id in 2 bytes (3 from 65,537 tokens on), then log-probability as float16; the tail is what is left

Rows are appended whole, and `done.json` says how far they go: a capture that was killed is cut back to there and goes on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limbeck.errors import LimbeckError
from limbeck.run import disk_error, write_atomically
from limbeck.train.divergence import Targets
from limbeck.train.packing import NO_LABEL, Packed

FORMAT = 1
MOST = 255  # tokens a position whose number is one byte


class TargetWriter:
    """Appends rows to a store; goes on where an earlier one of the same header stopped. Raises LimbeckError for any other."""

    def __init__(self, folder: Path, header: dict[str, Any]) -> None:
        self.folder, self.header = folder, {"format": FORMAT, **header}
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "header.json").exists() and _read(folder / "header.json") != json.loads(json.dumps(self.header)):
            raise LimbeckError("this folder holds the distributions of another teacher or other tokens", str(folder), "delete it, or name another")
        write_atomically(folder / "header.json", json.dumps(self.header, indent=1).encode())
        done = _read(folder / "done.json") if (folder / "done.json").exists() else {"rows": 0, "positions": 0, "bytes": 0}
        self.rows, self.positions, self.bytes = done["rows"], done["positions"], done["bytes"]
        for name, size in (("lengths.bin", self.positions * _length_type(header)().itemsize), ("codes.bin", self.bytes)):
            path = folder / name
            path.touch()
            with path.open("r+b") as file:
                file.truncate(size)

    def append(self, rows: int, lengths_N: np.ndarray, codes: bytes) -> None:
        """So many more rows: tokens stored at each of their positions, and these tokens."""
        try:
            for name, data in (("lengths.bin", lengths_N.astype(_length_type(self.header)).tobytes()), ("codes.bin", codes)):
                with (self.folder / name).open("ab") as file:
                    file.write(data)
                    file.flush()
        except OSError as problem:
            raise disk_error(problem, self.folder) from problem
        self.rows, self.positions, self.bytes = self.rows + rows, self.positions + len(lengths_N), self.bytes + len(codes)
        write_atomically(self.folder / "done.json", json.dumps({"rows": self.rows, "positions": self.positions, "bytes": self.bytes}).encode())


def _length_type(header: dict[str, Any]) -> type[np.uint8] | type[np.uint16]:
    return np.uint16 if header["kind"] == "sampled" and header["draws"] > MOST else np.uint8


def encode_counts(ids_N: Sequence[np.ndarray], counts_N: Sequence[np.ndarray], vocabulary: int, draws: int) -> tuple[np.ndarray, bytes]:
    """Tokens with how often they were drawn, position by position, as a store has them."""
    width, shift = _code(vocabulary, draws)
    flat = np.concatenate(ids_N).astype(np.uint32) | ((np.concatenate(counts_N) - 1).astype(np.uint32) << np.uint32(shift))
    return np.array([len(i) for i in ids_N]), flat.view(np.uint8).reshape(-1, 4)[:, :width].tobytes()


def encode_top(ids_NK: np.ndarray, logp_NK: np.ndarray, vocabulary: int) -> tuple[np.ndarray, bytes]:
    """The likeliest tokens of each position as a store has them: all ids of a position, then all log-probabilities."""
    width = _id_bytes(vocabulary)
    count, k = ids_NK.shape
    ids = ids_NK.astype(np.uint32).view(np.uint8).reshape(count, k, 4)[:, :, :width].reshape(count, k * width)
    return np.full(count, k), np.concatenate([ids, logp_NK.astype(np.float16).view(np.uint8).reshape(count, 2 * k)], 1).tobytes()


def _code(vocabulary: int, draws: int) -> tuple[int, int]:
    """Bytes of an id with its count, and the bits of the id."""
    id_bits, count_bits = max(1, (vocabulary - 1).bit_length()), max(1, (draws - 1).bit_length())
    if id_bits + count_bits > 32:
        raise LimbeckError(f"an id of {id_bits} bits and a count of {count_bits} do not fit 32 bits", "distill.soft_draws", "draw fewer")
    return (3 if id_bits + count_bits <= 24 else 4), id_bits


def _id_bytes(vocabulary: int) -> int:
    return 2 if vocabulary <= 1 << 16 else 3


class TargetStore:
    """A finished store, memory-mapped. `select(rows)` gives the teacher's word at all labels of these rows, row by row."""

    def __init__(self, folder: Path, packed: Packed, vocabulary: int) -> None:
        where = str(folder)
        if not (folder / "header.json").exists():
            raise LimbeckError("there are no stored distributions here", where, "run the recipe again: the targets step makes them")
        self.header = _read(folder / "header.json")
        if self.header["tokens_sha256"] != packed.sha256():
            raise LimbeckError("these distributions speak of other tokens, or of tokens packed in another way", where, "delete the targets step and run again; packing hangs on the dataset, the tokenizer, student.length and train.whole")
        if self.header["vocabulary"] != vocabulary:
            raise LimbeckError(f"these distributions are over {self.header['vocabulary']:,} tokens, the student has {vocabulary:,}", where, "give the student the teacher's tokenizer")
        done = _read(folder / "done.json")
        if done["rows"] != len(packed):
            raise LimbeckError(f"only {done['rows']} of {len(packed)} rows were captured", where, "run the recipe again: it goes on")
        self._lengths = np.memmap(folder / "lengths.bin", _length_type(self.header), "r") if done["positions"] else np.zeros(0, np.uint8)
        self._codes = np.memmap(folder / "codes.bin", np.uint8, "r") if done["bytes"] else np.zeros(0, np.uint8)
        if len(self._lengths) != done["positions"] or len(self._codes) != done["bytes"] or done["positions"] != packed.labels:
            raise LimbeckError("this store is damaged: its files have other sizes than they should", where, "delete the targets step and run again")
        first = np.concatenate([[0], np.cumsum((packed.label != NO_LABEL).sum(1))])  # of each row's positions
        stride = self._stride
        sizes = np.add.reduceat(self._lengths, np.minimum(first[:-1], max(0, len(self._lengths) - 1)), dtype=np.int64) if len(self._lengths) else np.zeros(len(packed), np.int64)
        sizes[np.diff(first) == 0] = 0
        self._first, self._at = first, np.concatenate([[0], np.cumsum(sizes)]) * stride

    @property
    def _stride(self) -> int:
        """Bytes of one stored token."""
        return _code(self.header["vocabulary"], self.header["draws"])[0] if self.header["kind"] == "sampled" else _id_bytes(self.header["vocabulary"]) + 2

    @property
    def bytes_per_position(self) -> float:
        """All that is on disk, over the positions."""
        return (self._codes.nbytes + self._lengths.nbytes) / max(1, len(self._lengths))

    def select(self, rows: Sequence[int] | np.ndarray) -> Targets:
        """ids and values, padded to the longest position."""
        lengths = np.concatenate([self._lengths[self._first[r] : self._first[r + 1]] for r in rows])
        codes = np.concatenate([self._codes[self._at[r] : self._at[r + 1]] for r in rows])
        return self._read_counts(lengths, codes) if self.header["kind"] == "sampled" else self._read_top(lengths, codes)

    def _read_counts(self, lengths_N: np.ndarray, codes: np.ndarray) -> Targets:
        width, bits = _code(self.header["vocabulary"], self.header["draws"])
        padded = np.zeros((len(codes) // width, 4), np.uint8)
        padded[:, :width] = codes.reshape(-1, width)
        flat = padded.view(np.uint32)[:, 0]
        is_there = np.arange(int(lengths_N.max(initial=1)))[None] < lengths_N[:, None]
        ids, share = np.zeros(is_there.shape, np.int64), np.zeros(is_there.shape, np.float32)
        ids[is_there] = flat & np.uint32((1 << bits) - 1)
        share[is_there] = ((flat >> np.uint32(bits)) + 1) / self.header["draws"]
        return Targets("sampled", torch.from_numpy(ids), torch.from_numpy(share))

    def _read_top(self, lengths_N: np.ndarray, codes: np.ndarray) -> Targets:
        k, width = int(self.header["top"]), _id_bytes(self.header["vocabulary"])
        table = codes.reshape(len(lengths_N), k * (width + 2))
        padded = np.zeros((len(lengths_N), k, 4), np.uint8)
        padded[:, :, :width] = table[:, : k * width].reshape(-1, k, width)
        logp = np.ascontiguousarray(table[:, k * width :]).view(np.float16).astype(np.float32)
        return Targets("top", torch.from_numpy(padded.view(np.uint32)[:, :, 0].astype(np.int64)), torch.from_numpy(logp))


def open_targets(folder: Path, packed: Packed, vocabulary: int) -> Any:
    """What a batch asks for the teacher's word on its rows. Raises LimbeckError for a store of other tokens."""
    return TargetStore(folder, packed, vocabulary).select


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise LimbeckError(f"this store is damaged: {problem}", str(path), "delete the targets step and run again") from problem
