"""Upstream's rules for right and wrong, to the letter: no strip where it does not strip, no mercy where it has none."""

from __future__ import annotations

import json
import random
import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

PUNCTUATION = frozenset(string.punctuation)
ARTICLES = re.compile(r"\b(a|an|the)\b")


def is_match(said: str, ideals: Sequence[str]) -> bool:
    """Match: the text begins with an ideal; case and spaces count."""
    return any(said.startswith(ideal) for ideal in ideals)


def is_included(said: str, ideals: Sequence[str], ignore_case: bool = False) -> bool:
    """Includes: an ideal lies somewhere in the text."""
    if ignore_case:
        return any(ideal.lower() in said.lower() for ideal in ideals)
    return any(ideal in said for ideal in ideals)


def normalise(text: str) -> str:
    """Lower case, ASCII punctuation gone (not replaced by a space), articles gone, single spaces."""
    return " ".join(ARTICLES.sub(" ", "".join(c for c in text.lower() if c not in PUNCTUATION)).split())


def is_fuzzy_match(said: str, ideals: Sequence[str]) -> bool:
    """FuzzyMatch: one of text and ideal lies in the other once normalised; nothing only equals nothing."""
    here = normalise(said)
    return any((here == there) if not here or not there else (here in there or there in here) for there in map(normalise, ideals))


def token_f1(said: str, ideals: Sequence[str]) -> float:
    """FuzzyMatch's second measure: the best F1 of normalised words over the ideals; 0 where no word is shared."""
    return max((_f1(normalise(said).split(), normalise(ideal).split()) for ideal in ideals), default=0.0)


def _f1(said: list[str], ideal: list[str]) -> float:
    shared = sum((Counter(said) & Counter(ideal)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(said), shared / len(ideal)
    return 2 * precision * recall / (precision + recall)


def is_json_match(said: str, ideals: Sequence[str]) -> bool:
    """JsonMatch: the text parses as JSON equal to an ideal, part by part; code fences are not stripped. Ideals must be JSON."""
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        return False
    return any(is_equal_json(found, json.loads(ideal)) for ideal in ideals)


def is_equal_json(a: Any, b: Any) -> bool:
    """Same keys and values, same length and order; null equals nothing, not even null; 1 equals 1.0 and true."""
    if a is None or b is None:
        return False
    if isinstance(a, dict):
        return isinstance(b, dict) and all(is_equal_json(a.get(key), b.get(key)) for key in a.keys() | b.keys())
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(is_equal_json, a, b))
    return a == b


def boostrap_std(values: Sequence[float], seed: int = 0, draws: int = 1000) -> float:
    """Upstream's error of an accuracy (its spelling): spread of the means of random halves, drawn without replacement.

    Equals the standard error: half without replacement varies as p (1-p) / n. Differs: a seed of its own, not the global one.
    NaN for fewer than two values.
    """
    half = len(values) // 2
    if half == 0:
        return float("nan")
    generator, found = random.Random(seed), list(values)
    return float(np.std([sum(generator.sample(found, half)) / half for _ in range(draws)]))
