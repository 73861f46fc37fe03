"""Intervals: against a published value, and covering the truth in simulation."""

import numpy as np
import pytest

from limbeck.distill.overlap import Overlap
from limbeck.evaluate.compare import compare
from limbeck.evaluate.diversity import distinct_ngrams, edit_distances
from limbeck.evaluate.examine import score
from limbeck.evaluate.statistics import paired_difference, paired_ratio, wilson


def test_wilson_gives_the_textbook_interval():
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=2e-4)  # Newcombe 1998, table I
    assert wilson(0, 10)[0] == 0.0 and wilson(10, 10)[1] == pytest.approx(1.0) and wilson(0, 0) == (0.0, 1.0)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    random = np.random.default_rng(0)
    inside = inside_paired = 0
    for trial in range(200):
        a, b = random.random(120) < 0.8, random.random(120) < 0.6
        low, high = wilson(a.sum(), 120)
        inside += low <= 0.8 <= high
        _, low, high = paired_difference(a, b, seed=trial, draws=600)
        inside_paired += low <= 0.2 <= high
    assert inside >= 182 and inside_paired >= 180


def test_ratio_of_equals_is_one():
    assert paired_ratio([1, 0, 1], [1, 0, 1])[0] == 1.0


def trial(name, status="scored", right=()):
    return {"id": name, "status": status, "execution": list(right), "exact": list(right), "valid": [1.0] * len(right), "candidates": ["Top(c[0], 1)"] * len(right)}


def test_missing_answers_are_counted_apart_and_never_as_zero():
    found = {s.name: s for s in score([trial("a", right=(1.0,)), trial("b", "no_answer")], 5)}
    assert found["top-1"].value == 1.0 and found["top-1"].n == 1 and found["top-1"].missing == 1
    assert found["top-1 (missing wrong)"].value == 0.5


def test_compare_pairs_by_id():
    a = {"answerer": "a", "task": "cf", "version": "1", "split": "s", "trials": [trial("x", right=(1.0,)), trial("y", right=(1.0,))]}
    b = {**a, "answerer": "b", "trials": [trial("y", right=(0.0,)), trial("x", right=(1.0,))]}
    assert compare(a, b)["difference"] == 0.5


def test_diversity_and_overlap():
    assert distinct_ngrams(["a b", "a b"], 1) == 0.5 and edit_distances(["ab", "ac"]) == (0.5, 0.5, 0.5)
    overlap = Overlap(["Highlight the ten best sellers of all time in this table"], 8)
    assert overlap.hits("please highlight the ten best sellers of all time") and not overlap.hits("highlight the best sellers")
