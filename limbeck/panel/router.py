"""Which specialist gets a request: character pieces and logistic regression, learnt in seconds, applied in under a millisecond or two.

A request becomes hashed counts of its pieces of 1 to 4 characters (words padded with spaces) and of its words; the classes' weights are
trained by L-BFGS with an L2 penalty. A threshold of confidence, chosen on requests apart, says when the router does not know.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.records import Prompt

BUCKETS = 1 << 14
LONGEST = 1_000  # characters of a request that are read
FORMAT = 1
ATTACHED = 8.0  # what a table along with a request weighs, against 1 for a piece of its text
L2 = 1e-4
_SPACES = re.compile(r"\s+")


def pieces_of(prompt: Prompt) -> dict[int, float]:
    """Hashed pieces with their weights: 1 + log of the count, to length one. What comes along with a request (a table) is a piece too, by its kind alone."""
    plain = _SPACES.sub(" ", prompt.text[:LONGEST].lower()).strip()
    counts: Counter[str] = Counter()
    padded = f" {plain} "
    for size in (1, 2, 3, 4):
        counts.update(padded[at : at + size] for at in range(len(padded) - size + 1))
    counts.update(f"w {word}" for word in plain.split())
    attached = {f"with {kind}": ATTACHED for kind in prompt.context if kind != "messages"}
    found: dict[int, float] = {}
    for piece, count in counts.items():
        at = zlib.crc32(piece.encode("utf-8", "replace")) % BUCKETS
        found[at] = found.get(at, 0.0) + 1.0 + math.log(count)
    for piece, value in attached.items():
        at = zlib.crc32(piece.encode()) % BUCKETS
        found[at] = found.get(at, 0.0) + value
    norm = math.sqrt(sum(v * v for v in found.values())) or 1.0
    return {at: value / norm for at, value in found.items()}


@dataclass(frozen=True, kw_only=True)
class Router:
    """`weights_CK` and `bias_C` for `labels` over K hashed pieces; `threshold` under which it does not know."""

    labels: tuple[str, ...]
    weights_CK: np.ndarray
    bias_C: np.ndarray
    threshold: float = 0.9
    meta: dict[str, Any] | None = None

    def route(self, prompt: Prompt) -> tuple[str, float]:
        """The likeliest task of a request, and its probability."""
        p = self.probabilities(prompt)
        best = int(p.argmax())
        return self.labels[best], float(p[best])

    def probabilities(self, prompt: Prompt) -> np.ndarray:
        """Of each label, float64 [C]."""
        found = pieces_of(prompt)
        at = np.fromiter(found.keys(), int, len(found))
        z = self.weights_CK[:, at].astype(float) @ np.fromiter(found.values(), float, len(found)) + self.bias_C
        e = np.exp(z - z.max())
        return e / e.sum()

    def save(self, path: Path) -> None:
        """One .safetensors file; labels and threshold in its header."""
        from safetensors.numpy import save_file

        path.parent.mkdir(parents=True, exist_ok=True)
        header = {"router": json.dumps({"format": FORMAT, "labels": self.labels, "threshold": self.threshold, "buckets": BUCKETS, **(self.meta or {})})}
        save_file({"weights": np.ascontiguousarray(self.weights_CK, np.float32), "bias": np.ascontiguousarray(self.bias_C, np.float32)}, str(path), metadata=header)

    @classmethod
    def load(cls, path: Path) -> Router:
        """What `save` wrote. Raises LimbeckError."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), "numpy") as file:
                told = json.loads((file.metadata() or {})["router"])
                weights, bias = file.get_tensor("weights"), file.get_tensor("bias")
            if told["format"] != FORMAT or told["buckets"] != BUCKETS or weights.shape != (len(told["labels"]), BUCKETS) or not (np.isfinite(weights).all() and np.isfinite(bias).all()):
                raise ValueError("another format")
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as problem:
            raise LimbeckError(f"this is no router: {problem}", str(path), "train it: limbeck panel train-router FILE.toml") from problem
        return cls(labels=tuple(told["labels"]), weights_CK=weights, bias_C=bias, threshold=float(told["threshold"]), meta={k: v for k, v in told.items() if k not in ("format", "labels", "threshold", "buckets")})


def train_router(requests: dict[str, Sequence[Prompt]], l2: float = L2, steps: int = 60) -> Router:
    """Logistic regression on each label's requests, every label with the same weight in all; a request with a table is learnt without it too. Raises LimbeckError for fewer than two labels or an empty one."""
    from scipy.optimize import minimize
    from scipy.sparse import csr_matrix

    labels = tuple(requests)
    if len(labels) < 2:
        raise LimbeckError(f"a router between {len(labels)} specialists has nothing to decide", "panel train-router", "name two or more [[member]], each with its task")
    empty = next((name for name in labels if not requests[name]), "")
    if empty:
        raise LimbeckError(f"task {empty!r} has no requests to learn from", "panel train-router", "name a task with a generator or a train split")
    shown = {n: [*requests[n], *(replace(p, context={}) for p in requests[n] if p.context)] for n in labels}
    rows = [pieces_of(prompt) for name in labels for prompt in shown[name]]
    classes = np.repeat(np.arange(len(labels)), [len(shown[n]) for n in labels])
    share = np.array([1.0 / (len(labels) * len(shown[labels[c]])) for c in classes])
    x = csr_matrix((np.concatenate([np.fromiter(r.values(), float) for r in rows]), np.concatenate([np.fromiter(r.keys(), int) for r in rows]), np.cumsum([0, *map(len, rows)])), shape=(len(rows), BUCKETS))
    one_hot = np.eye(len(labels))[classes]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w, b = flat[: -len(labels)].reshape(len(labels), BUCKETS), flat[-len(labels) :]
        z = x @ w.T + b
        z -= z.max(1, keepdims=True)
        logp = z - np.log(np.exp(z).sum(1, keepdims=True))
        gap = (np.exp(logp) - one_hot) * share[:, None]
        value = -float((share * (logp * one_hot).sum(1)).sum()) + 0.5 * l2 * float((w * w).sum())
        return value, np.concatenate([((x.T @ gap).T + l2 * w).ravel(), gap.sum(0)])

    found = minimize(loss, np.zeros(len(labels) * (BUCKETS + 1)), jac=True, method="L-BFGS-B", options={"maxiter": steps}).x
    return Router(labels=labels, weights_CK=found[: -len(labels)].reshape(len(labels), BUCKETS), bias_C=found[-len(labels) :])


def choose_confidence(confidences: Sequence[float], is_right: Sequence[bool], accuracy: float = 0.99) -> float:
    """The lowest threshold at and above which at least `accuracy` of the requests apart are routed right; 1.01 (always the teacher) where none does."""
    order = sorted(zip(confidences, is_right, strict=True), reverse=True)
    best, right = 1.01, 0
    for n, (confidence, ok) in enumerate(order, 1):
        right += ok
        if right / n >= accuracy and (n == len(order) or order[n][0] < confidence):
            best = confidence
    return float(best)
