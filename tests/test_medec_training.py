"""MEDEC's training pairs as notes: both versions, numbered, parted by vignette."""

import json
from itertools import pairwise

import pytest

from limbeck.errors import LimbeckError
from limbeck.tasks.medec.training import is_dev, read_training


def pair(number):
    return {
        "note_id": f"ms-train-{number}", "incorrect_note": f"A man of {number} has a cough. He is given aspirin. He goes home.", "correct_note": f"A man of {number} has a cough. He is given penicillin. He goes home.",
        "error_type": "treatment", "error_sentence": "He is given aspirin.", "corrected_sentence": "He is given penicillin.",
    }  # fmt: skip


def test_a_pair_is_a_wrong_note_and_a_right_one_with_the_same_sentences_elsewhere():
    notes, cluster = read_training("\n".join(json.dumps(pair(i)) for i in range(60)).encode(), "pairs")
    assert len(notes) == 120 and len(set(cluster.values())) == 60
    by_id = {n.id: n for n in notes}
    wrong, right = by_id["ms-train-7/wrong"], by_id["ms-train-7/right"]
    assert wrong.sentence_id == 1 and wrong.sentences[1] == "He is given aspirin." and wrong.correction == right.sentences[1] == "He is given penicillin."
    assert right.numbered.splitlines()[2] == "2 He goes home." and not right.has_error and wrong.family == "treatment"
    assert all(cluster[a.id] != cluster[b.id] for a, b in pairwise(notes))
    assert 0 < sum(is_dev(v) for v in set(cluster.values())) < 20


def test_a_pair_that_does_not_fit_together_is_named_with_its_line():
    lines = [json.dumps(pair(1)), json.dumps({**pair(2), "error_sentence": "Not there."})]
    with pytest.raises(LimbeckError, match="error sentence") as caught:
        read_training("\n".join(lines).encode(), "pairs.jsonl")
    assert caught.value.where == "pairs.jsonl, line 2"
