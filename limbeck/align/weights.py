"""Two small things that are fitted in seconds: a classifier of propositions over words and rules, and the weights of propositions in a reward.

The classifier is logistic regression, one output a proposition, over what the rules find (alone and by response type) and hashed runs of one to three words.
The weights follow Mu et al. (2024, arXiv 2411.01111): a linear score under which better-ranked answers lie a margin above worse ones (hinge).
Differs: the hinge is squared, so that L-BFGS may minimise it.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, hstack

from limbeck.align.policy import KINDS
from limbeck.align.propositions import COMMON, RULES, Exchange, overlap, sentences_of, words_of
from limbeck.align.refusals import refusal_score
from limbeck.errors import LimbeckError
from limbeck.records import content_id

FORMAT = 1
BUCKETS = 1 << 12
GRAMS = 3  # longest run of words
GRAM_SCALE = 3.0  # of a text's hashed runs (length one) beside findings that are 0 or 1
L2 = 1e-3
STEPS = 200
MARGIN = 1.0


def id_of(exchange: Exchange) -> str:
    """Equal conversations with equal answers, equal id."""
    return content_id([[dict(m) for m in exchange.messages], exchange.answer])


def _findings(exchange: Exchange) -> list[float]:
    """What rules and counts say, and the same once more for each response type, so that a finding may mean another thing under another."""
    words, sentences = len(words_of(exchange.answer)), sentences_of(exchange.answer)
    plain = [float(rule(exchange)) for rule in RULES.values()]
    plain += [refusal_score(exchange.answer), min(math.log1p(words) / 5, 2.0), overlap(exchange), min(len(sentences) / 8, 2.0), min(exchange.answer.count("?"), 3) / 3]
    plain += [float(bool(sentences) and sentences[-1].endswith("?")), float(len(exchange.messages) > 1), min(math.log1p(len(words_of(exchange.request))) / 5, 2.0)]
    kinds = [float(exchange.kind == kind) for kind in KINDS] + [float(exchange.kind == "comply" and exchange.topic == "self_harm")]
    return [*plain, *kinds, *(k * value for k in kinds for value in plain)]


def _runs(exchange: Exchange) -> dict[int, float]:
    """Hashed runs of the answer's words and the request's words of substance: 1 + log of the count, to length one."""
    words, counts = words_of(exchange.answer), dict[int, float]()
    pieces = [" ".join(words[at : at + size]) for size in range(1, GRAMS + 1) for at in range(len(words) - size + 1)]
    for piece in [*pieces, *(f"q {word}" for word in sorted(set(words_of(exchange.request)) - COMMON))]:
        at = zlib.crc32(piece.encode()) % BUCKETS
        counts[at] = counts.get(at, 0.0) + 1.0
    found = {at: 1.0 + math.log(count) for at, count in counts.items()}
    norm = math.sqrt(sum(v * v for v in found.values())) or 1.0
    return {at: value / norm for at, value in found.items()}


def features_of(exchanges: Sequence[Exchange]) -> Any:
    """A sparse matrix [N, K]: findings, then hashed runs."""
    findings = np.array([_findings(e) for e in exchanges]).reshape(len(exchanges), -1)
    runs = [_runs(e) for e in exchanges]
    at = np.fromiter((k for row in runs for k in row), int)
    value = np.fromiter((v for row in runs for v in row.values()), float)
    hashed = csr_matrix((value * GRAM_SCALE, at, np.cumsum([0, *map(len, runs)])), shape=(len(exchanges), BUCKETS))
    return hstack([csr_matrix(findings), hashed]).tocsr()


def width_of_features() -> int:
    """K, and with it whether a classifier was made for these rules."""
    return len(_findings(Exchange(messages=(), answer=""))) + BUCKETS


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """`weights_KP` and `bias_P` for `names`, P propositions over K features. `seen` are the ids of the answers it learnt from."""

    names: tuple[str, ...]
    weights_KP: np.ndarray
    bias_P: np.ndarray
    seen: frozenset[str] = frozenset()
    meta: Mapping[str, Any] | None = None

    def chances(self, exchanges: Sequence[Exchange]) -> np.ndarray:
        """The probability of each proposition, float64 [N, P]."""
        return _sigmoid(features_of(exchanges) @ self.weights_KP.astype(float) + self.bias_P) if exchanges else np.zeros((0, len(self.names)))

    def save(self, path: Path) -> None:
        """One .safetensors file, weights in half precision; names and what it learnt from in its header."""
        from safetensors.numpy import save_file

        header = {"grader": json.dumps({"format": FORMAT, "names": self.names, "features": width_of_features(), "seen": sorted(self.seen), "meta": dict(self.meta or {})})}
        save_file({"weights": np.ascontiguousarray(self.weights_KP, np.float16), "bias": np.ascontiguousarray(self.bias_P, np.float32)}, str(path), metadata=header)

    @classmethod
    def load(cls, path: Path) -> Classifier:
        """What `save` wrote. Raises LimbeckError."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), "numpy") as file:
                told = json.loads((file.metadata() or {})["grader"])
                weights, bias = file.get_tensor("weights"), file.get_tensor("bias")
            if told["format"] != FORMAT or told["features"] != width_of_features() or weights.shape != (told["features"], len(told["names"])) or not (np.isfinite(weights).all() and np.isfinite(bias).all()):
                raise ValueError("it was made for other rules")
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as problem:
            raise LimbeckError(f"this is no classifier of propositions: {problem}", str(path), "name a file of labels in align.labels, so that one is fitted") from problem
        return cls(names=tuple(told["names"]), weights_KP=weights, bias_P=bias, seen=frozenset(told["seen"]), meta=told["meta"])


def fit_classifier(exchanges: Sequence[Exchange], labels: Sequence[Mapping[str, bool]], names: Sequence[str] = (), l2: float = L2) -> Classifier:
    """Logistic regression; a proposition that an answer was not labelled for is passed over there."""
    chosen = tuple(names) or tuple(dict.fromkeys(name for row in labels for name in row))
    return _fit(features_of(exchanges), labels, chosen, l2, frozenset(map(id_of, exchanges)))


def cross_chances(exchanges: Sequence[Exchange], labels: Sequence[Mapping[str, bool]], names: Sequence[str], folds: int = 10, l2: float = L2) -> np.ndarray:
    """The probability of each proposition by classifiers that have not seen the answer, [N, P]. Answers to one request share a fold."""
    features, out = features_of(exchanges), np.zeros((len(exchanges), len(names)))
    fold = np.array([int(content_id([dict(m) for m in e.messages], 8), 16) % folds for e in exchanges])
    for part in sorted(set(fold.tolist())):
        inside = [row for row, f in zip(labels, fold, strict=True) if f != part]
        found = _fit(features[fold != part], inside, tuple(names), l2, frozenset())
        out[fold == part] = _sigmoid(features[fold == part] @ found.weights_KP + found.bias_P)
    return out


def _fit(features: Any, labels: Sequence[Mapping[str, bool]], names: tuple[str, ...], l2: float, seen: frozenset[str]) -> Classifier:
    """Fitted in the space of the answers, which are far fewer than features: a factor of their inner products stands in for the features."""
    known_NP = np.array([[name in row for name in names] for row in labels], float)
    true_NP = np.array([[float(row.get(name, False)) for name in names] for row in labels])
    n, p = true_NP.shape
    values, vectors = np.linalg.eigh((features @ features.T).toarray())
    kept = values > 1e-9 * max(values.max(), 1e-12)
    scale, vectors = np.sqrt(values[kept]), vectors[:, kept]
    inner_ND = vectors * scale
    share = (true_NP * known_NP).sum(0) / np.maximum(known_NP.sum(0), 1)
    start = np.concatenate([np.zeros(inner_ND.shape[1] * p), np.log((share + 0.01) / (1.01 - share))])

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = flat[:-p].reshape(-1, p), flat[-p:]
        logits = inner_ND @ weights + bias
        gap = (_sigmoid(logits) - true_NP) * known_NP / n
        value = float((known_NP * (np.logaddexp(0, logits) - true_NP * logits)).sum()) / n + 0.5 * l2 * float((weights * weights).sum())
        return value, np.concatenate([(inner_ND.T @ gap + l2 * weights).ravel(), gap.sum(0)])

    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x
    weights_KP = features.T @ (vectors @ (found[:-p].reshape(-1, p) / scale[:, None]))
    return Classifier(names=names, weights_KP=np.asarray(weights_KP), bias_P=found[-p:], seen=seen)


def cross_stack(columns_NF: np.ndarray, truth: Sequence[bool | None], groups: Sequence[str], folds: int = 10) -> np.ndarray:
    """Probabilities [N] from a few readings of one proposition (a rule's, a judge's), weighed by logistic regression that has not seen the answer."""
    known = np.array([t is not None for t in truth])
    wanted = np.array([bool(t) for t in truth], float)
    logits = np.log(np.clip(np.nan_to_num(columns_NF, nan=0.5), 0.02, 0.98) / np.clip(1 - np.nan_to_num(columns_NF, nan=0.5), 0.02, 0.98))
    fold, out = np.array([int(content_id(g, 8), 16) % folds for g in groups]), np.full(len(wanted), 0.5)
    width = columns_NF.shape[1]
    for part in sorted(set(fold.tolist())):
        inside = known & (fold != part)
        x, y = logits[inside], wanted[inside]

        def loss(w: np.ndarray, x: np.ndarray = x, y: np.ndarray = y) -> tuple[float, np.ndarray]:
            z = x @ w[:width] + w[width]
            gap = (_sigmoid(z) - y) / max(len(y), 1)
            return float((np.logaddexp(0, z) - y * z).mean() + 0.005 * w[:width] @ w[:width]), np.append(x.T @ gap + 0.01 * w[:width], gap.sum())

        w = minimize(loss, np.zeros(width + 1), jac=True, method="L-BFGS-B").x if len(y) else np.zeros(width + 1)
        out[fold == part] = _sigmoid(logits[fold == part] @ w[:width] + w[width])
    return out


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -30, 30)))


def fit_ranking(features_NF: np.ndarray, ranks: Sequence[int] | np.ndarray, l2: float = 1e-3, margin: float = MARGIN) -> np.ndarray:
    """Weights [F] under which answers of a smaller rank (0 is best) score a margin above those of a larger one, as far as can be.

    Minimises the mean squared hinge over all pairs of different ranks plus l2 / 2 times the weights' square.
    """
    rank = np.asarray(ranks)
    better, worse = np.nonzero(rank[:, None] < rank[None, :])
    gaps = features_NF[better] - features_NF[worse]

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        short = np.maximum(0.0, margin - gaps @ w)
        return float((short * short).mean() + 0.5 * l2 * w @ w), -2.0 * gaps.T @ short / len(gaps) + l2 * w

    if not len(gaps):
        return np.zeros(features_NF.shape[1])
    return minimize(loss, np.zeros(features_NF.shape[1]), jac=True, method="L-BFGS-B").x


def ordered_share(scores: np.ndarray, ranks: Sequence[int] | np.ndarray) -> tuple[int, int]:
    """Of all pairs of different ranks, how many the scores order rightly (a tie is half): (right, pairs), rounded down."""
    rank = np.asarray(ranks)
    better, worse = np.nonzero(rank[:, None] < rank[None, :])
    gap = scores[better] - scores[worse]
    return int((gap > 1e-12).sum() + 0.5 * (np.abs(gap) <= 1e-12).sum()), len(gap)
