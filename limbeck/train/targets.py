"""A teacher's distributions on disk: a few bytes a token, read where they lie, bound to the very tokens they speak of.

A store is a folder. `header.json` says of what: teacher, kind, vocabulary, the hash of the packed tokens. Positions are the labels of
the packed rows, row by row. `lengths.bin` has one byte a position (two where more than 255 draws were made): how many tokens are
stored there. `codes.bin` has them:

    sampled   of `draws` draws from the teacher each different token once, with how often it came: id and count - 1 in 3 bytes where
              their bits fit (4 else), little-endian; about 12 tokens or 36 bytes a position for 50 draws (arXiv:2503.16870)
    top       the k likeliest tokens: id in 2 bytes (3 from 65,537 tokens on), then log-probability as float16; the tail is what is left.
              A position of which a teacher of another tokenizer says nothing has none

Rows are appended whole, and `done.json` says how far they go, with a checksum of both files: a capture that was killed is cut back to
there and goes on; a store that is not what was written is an error, on opening and where a batch reads it.
"""

from __future__ import annotations

import json
import zlib
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
BLOCK = 1 << 20  # bytes read at a time by the check
FILES = ("lengths.bin", "codes.bin")
AGAIN = "delete the targets step and run again"


class TargetWriter:
    """Appends rows to a store; goes on where an earlier one of the same header stopped. Raises LimbeckError for any other."""

    def __init__(self, folder: Path, header: dict[str, Any]) -> None:
        self.folder, self.header = folder, {"format": FORMAT, **header}
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "header.json").exists() and _read(folder / "header.json") != json.loads(json.dumps(self.header)):
            raise LimbeckError("this folder holds the distributions of another teacher or other tokens", str(folder), "delete it, or name another")
        write_atomically(folder / "header.json", json.dumps(self.header, indent=1).encode())
        self.rows, self.positions, self.bytes, sums = _read_done(folder) if (folder / "done.json").exists() else (0, 0, 0, [0, 0])
        for name, size in zip(FILES, (self.positions * _length_type(header)().itemsize, self.bytes), strict=True):
            path = folder / name
            path.touch()
            if path.stat().st_size < size:
                raise LimbeckError(f"this store is damaged: {name} has {path.stat().st_size:,} bytes of at least {size:,}", str(path), AGAIN)
            with path.open("r+b") as file:
                file.truncate(size)
        self._sums = _check_sums(folder, sums)

    def append(self, rows: int, lengths_N: np.ndarray, codes: bytes) -> None:
        """So many more rows: tokens stored at each of their positions, and these tokens."""
        parts = lengths_N.astype(_length_type(self.header)).tobytes(), codes
        try:
            for name, data in zip(FILES, parts, strict=True):
                with (self.folder / name).open("ab") as file:
                    file.write(data)
                    file.flush()
        except OSError as problem:
            raise disk_error(problem, self.folder) from problem
        self.rows, self.positions, self.bytes = self.rows + rows, self.positions + len(lengths_N), self.bytes + len(codes)
        self._sums = [zlib.crc32(data, at) for data, at in zip(parts, self._sums, strict=True)]
        write_atomically(self.folder / "done.json", json.dumps({"rows": self.rows, "positions": self.positions, "bytes": self.bytes, "crc32": self._sums}).encode())


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
        self.folder, self.header = folder, _read(folder / "header.json")
        missing = [key for key in ("format", "kind", "vocabulary", "tokens_sha256", {"sampled": "draws", "top": "top"}.get(self.header.get("kind", ""), "kind")) if key not in self.header]
        if missing or self.header["kind"] not in ("sampled", "top") or self.header["format"] != FORMAT:
            raise LimbeckError(f"this is no store that this version reads: its header {f'lacks {missing[0]}' if missing else 'is of another form'}", where, AGAIN)
        if self.header["tokens_sha256"] != packed.sha256():
            raise LimbeckError("these distributions speak of other tokens, or of tokens packed in another way", where, "delete the targets step and run again; packing hangs on the dataset, the tokenizer, student.length and train.whole")
        if self.header["vocabulary"] != vocabulary:
            raise LimbeckError(f"these distributions are over {self.header['vocabulary']:,} tokens, the student has {vocabulary:,}", where, "give the student the teacher's tokenizer")
        rows, positions, size, sums = _read_done(folder) if (folder / "done.json").exists() else (0, 0, 0, [0, 0])
        if rows != len(packed):
            raise LimbeckError(f"only {rows} of {len(packed)} rows were captured", where, "run the recipe again: it goes on")
        width = np.dtype(_length_type(self.header)).itemsize
        found = [(folder / name).stat().st_size if (folder / name).exists() else 0 for name in FILES]
        if found != [positions * width, size] or positions != packed.labels:
            raise LimbeckError("this store is damaged: its files have other sizes than they should", where, AGAIN)
        _check_sums(folder, sums)
        self._lengths = np.memmap(folder / "lengths.bin", _length_type(self.header), "r") if positions else np.zeros(0, np.uint8)
        self._codes = np.memmap(folder / "codes.bin", np.uint8, "r") if size else np.zeros(0, np.uint8)
        first = np.concatenate([[0], np.cumsum((packed.label != NO_LABEL).sum(1))])  # of each row's positions
        sizes, filled = np.zeros(len(packed), np.int64), np.flatnonzero(np.diff(first))
        if len(filled):
            sizes[filled] = np.add.reduceat(self._lengths, first[filled], dtype=np.int64)
        self._first, self._at = first, np.concatenate([[0], np.cumsum(sizes)]) * self._stride
        if self._at[-1] != size:
            raise LimbeckError("this store is damaged: its lengths and its tokens do not fit together", where, AGAIN)

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
        targets = self._read_counts(lengths, codes) if self.header["kind"] == "sampled" else self._read_top(lengths, codes)
        self._check(targets)
        return targets

    def _check(self, targets: Targets) -> None:
        """Raises LimbeckError where what was read can be no distribution over the vocabulary."""
        value = targets.value_NK
        is_wrong = bool(len(targets.ids_NK)) and int(targets.ids_NK.max()) >= self.header["vocabulary"]
        if targets.kind == "sampled":
            is_wrong |= bool(((value.sum(1) - 1).abs() > 1e-3).any())
        else:
            is_wrong |= bool((value.isnan() | (value > 0.01)).any())
        if is_wrong:
            raise LimbeckError("this store is damaged: what it holds is no distribution over the vocabulary", str(self.folder), AGAIN)

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
        has_N = lengths_N > 0
        table = codes.reshape(int(has_N.sum()), k * (width + 2))
        padded = np.zeros((len(table), k, 4), np.uint8)
        padded[:, :, :width] = table[:, : k * width].reshape(-1, k, width)
        ids, logp = np.zeros((len(lengths_N), k), np.int64), np.full((len(lengths_N), k), -np.inf, np.float32)
        ids[has_N] = padded.view(np.uint32)[:, :, 0]
        logp[has_N] = np.ascontiguousarray(table[:, k * width :]).view(np.float16)
        return Targets("top", torch.from_numpy(ids), torch.from_numpy(logp))


def open_targets(folder: Path, packed: Packed, vocabulary: int) -> Any:
    """What a batch asks for the teacher's word on its rows. Raises LimbeckError for a store of other tokens."""
    return TargetStore(folder, packed, vocabulary).select


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise LimbeckError(f"this store is damaged: {problem}", str(path), AGAIN) from problem
    if not isinstance(found, dict):
        raise LimbeckError("this store is damaged: this file holds no object", str(path), AGAIN)
    return found


def _read_done(folder: Path) -> tuple[int, int, int, list[int] | None]:
    """Rows, positions and bytes that are there, and the checksums of both files (None where an earlier version wrote none)."""
    done = _read(folder / "done.json")
    try:
        return int(done["rows"]), int(done["positions"]), int(done["bytes"]), done.get("crc32")
    except (KeyError, TypeError, ValueError) as problem:
        raise LimbeckError(f"this store is damaged: {problem!r}", str(folder / "done.json"), AGAIN) from problem


def _check_sums(folder: Path, expected: list[int] | None) -> list[int]:
    """The checksums of both files. Raises LimbeckError where one is not what was written; read block by block, so no memory is taken."""
    sums = []
    for at, path in enumerate(folder / name for name in FILES):
        found = 0
        if path.exists():
            with path.open("rb") as file:
                while block := file.read(BLOCK):
                    found = zlib.crc32(block, found)
        if expected is not None and found != expected[at]:
            raise LimbeckError(f"this store is damaged: {path.name} is not what was written", str(path), AGAIN)
        sums.append(found)
    return sums
