"""Batches of like length, in an order that is a pure function of (seed, epoch): a resumed run sees the same ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from limbeck.models.batch import Batch, collate_sources, collate_targets
from limbeck.train.encoded import Encoded

POOL = 32  # batches sorted by length together: little padding, still a good shuffle


class Batches:
    """Batch number `step` of an endless shuffled stream over an encoded dataset."""

    def __init__(self, data: Encoded, size: int, seed: int) -> None:
        self.data, self.size, self.seed = data, min(size, len(data)), seed
        self.per_epoch = max(1, len(data) // self.size)
        self._epoch = -1
        self._order: list[np.ndarray] = []

    def indices(self, step: int) -> np.ndarray:
        """Which examples make up one step's batch."""
        epoch, at = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._order, self._epoch = self._shuffle(epoch), epoch
        return self._order[at]

    def _shuffle(self, epoch: int) -> list[np.ndarray]:
        random = np.random.default_rng([self.seed, epoch])
        order = random.permutation(len(self.data))[: self.per_epoch * self.size]
        lengths = self.data.lengths
        pools = [order[i : i + POOL * self.size] for i in range(0, len(order), POOL * self.size)]
        ordered = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
        batches = ordered.reshape(-1, self.size)
        return list(batches[random.permutation(len(batches))])

    def __call__(self, step: int) -> Batch:
        """The batch of one step."""
        return make_batch(self.data, self.indices(step))


def make_batch(data: Encoded, indices: Sequence[int] | np.ndarray) -> Batch:
    """Chosen examples as padded tensors."""
    source = collate_sources([data.source(i) for i in indices])
    target_BL = collate_targets([data.target(i).tolist() for i in indices])
    if data.soft_ids is None or data.soft_logps is None:
        return Batch(source, target_BL)
    width = data.soft_ids.shape[1]
    ids = np.zeros((*target_BL.shape, width), np.int64)
    logps = np.full(ids.shape, -np.inf, np.float32)
    for row, index in enumerate(indices):
        found = data.soft(index)
        if found is not None:
            ids[row, : len(found[0])], logps[row, : len(found[1])] = found
    return Batch(source, target_BL, torch.from_numpy(ids), torch.from_numpy(logps))
