"""MEDEC's training pairs as notes: both versions, numbered, parted by vignette."""

import json
from itertools import pairwise

import numpy as np
import pytest

from limbeck.errors import LimbeckError
from limbeck.tasks.medec.training import is_dev, read_training
from limbeck.tasks.medec.words import Linear, Words, read_sentences


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


def words():
    from limbeck.tasks.medec.task import MedecTask

    notes, cluster = read_training("\n".join(json.dumps(pair(i)) for i in range(40)).encode(), "pairs")
    task = MedecTask()
    return [task._pose(note, cluster[note.id], "", "train") for note in notes]


def test_the_words_floor_finds_a_lexical_giveaway_and_the_sentence_that_gets_changed():
    examples = words()
    floor = Words.from_examples(examples[:60])
    answers = floor.answer([e.prompt for e in examples[60:]], k=2)
    assert {a.candidates[0].text for a in answers} == {"CORRECT", "1 He is given aspirin."}  # words alone part these toy twins
    assert all((a.candidates[0].text == "CORRECT") == (not e.meta["has_error"]) for a, e in zip(answers, examples[60:], strict=True))
    assert all(len(a.candidates) == 2 for a in answers)
    shares = floor.place_probabilities(examples[0].meta["sentences"])
    assert shares.argmax() == 1 and abs(shares.sum() - 1) < 1e-9


def test_the_words_floor_reads_the_note_and_not_the_instructions():
    example = words()[0]
    assert read_sentences(example.prompt) == tuple(example.meta["sentences"])


def test_without_a_signal_the_words_floor_answers_by_the_share_of_errors_it_expects():
    same = Linear({}, np.zeros(0), 0.0)
    prompt = words()[0].prompt
    assert Words(same, same, prior=0.6).answer([prompt])[0].candidates[0].text.startswith("0 ")
    assert Words(same, same, prior=0.4).answer([prompt])[0].candidates[0].text == "CORRECT"


def test_the_words_floor_cannot_learn_from_correct_notes_alone():
    with pytest.raises(LimbeckError, match="all with an error or all without"):
        Words.from_examples([e for e in words() if not e.meta["has_error"]])
