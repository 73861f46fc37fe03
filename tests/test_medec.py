"""MEDEC: reading the published files, reading answers, the official measures and ours. The notes here are made up."""

import csv
import io
import os
from pathlib import Path

import pytest

from limbeck.errors import LimbeckError
from limbeck.tasks.medec import prompts
from limbeck.tasks.medec.loading import COLUMNS, Note, read_notes, read_sentences
from limbeck.tasks.medec.metrics import Judged, change_f1, is_mean, rouge_1, summarise
from limbeck.tasks.medec.parsing import Reading, read_answer

IDS = set(range(12))
START = "A man of forty comes to the clinic with a cough that has lasted three weeks and does not get better at night. "


def csv_of(*rows):
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    writer.writerows(dict(zip(COLUMNS, row, strict=True)) for row in rows)
    return out.getvalue().encode()


WRONG = ("n-1", f"0 {START}\n1 He is given water.", "1", "causalOrganism", "1", "He is given water.", "He is given\nmilk.")
RIGHT = ("n-2", f"0 {START}\n1 He is given milk.", "0", "NA", "-1", "NA", "NA")
BLANK = ("",) * 7


def test_blank_rows_floats_and_newlines_are_put_right():
    notes, blank = read_notes(csv_of(WRONG, tuple({"1": "1.0"}.get(c, c) for c in ("n-3", *WRONG[1:])), RIGHT, BLANK, BLANK), "x.csv")
    assert blank == 2 and [n.flag for n in notes] == [1, 1, 0] and notes[1].error_id == 1
    assert notes[0].correction == "He is given milk." and notes[0].error_type == "causal organism" and notes[2].correction == ""


def test_a_line_without_the_next_number_belongs_to_the_one_before():
    assert read_sentences("0 His pulse is\n106/min and\n1 The end.\n") == {0: "His pulse is 106/min and", 1: "The end."}
    assert read_sentences("0 a\n5 mg of b\n1 c") == {0: "a 5 mg of b", 1: "c"}


def test_twins_are_neighbours_of_one_vignette():
    notes, _ = read_notes(csv_of(WRONG, RIGHT, ("n-9", "0 Something else altogether, which is long enough to have six words.", "0", "NA", "-1", "NA", "NA")), "x.csv")
    assert [n.pair for n in notes] == ["n-1", "n-1", "n-9"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (csv_of(WRONG, WRONG), "come twice"), (b"Text ID,Sentences\nx,0 a\n", "no column 'Error Flag'"), (b"", "no notes"), (csv_of(WRONG)[:40] + b"\xff", "not UTF-8"),
        (csv_of((*WRONG[:4], "7", *WRONG[5:])), "sentence 7 is not in the note"), (csv_of((*WRONG[:2], "maybe", *WRONG[3:])), "no whole number"),
        (csv_of(("n", "no number here", *RIGHT[2:])), "first sentence has no number"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named(content, message):
    with pytest.raises(LimbeckError, match=message):
        read_notes(content, "x.csv")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("CORRECT", Reading(0)), ("CORRECT.", Reading(0)), ("correct", Reading(0)), ("**CORRECT**", Reading(0)), ("The text is correct.", Reading(0)),
        ("Answer: CORRECT", Reading(0)), ("\n CORRECT \n", Reading(0)), ("CORRECT\n\nEvery sentence agrees with the guidelines.", Reading(0)),
        ("I checked every sentence.\nCORRECT", Reading(0)),
        ("10 Prednisone is given.", Reading(1, 10, "Prednisone is given.")), ("10 1 Prednisone is given.", Reading(1, 10, "Prednisone is given.")),
        ("10 10 Prednisone is given.", Reading(1, 10, "Prednisone is given.")), ("10| Prednisone is given.", Reading(1, 10, "Prednisone is given.")),
        ("10 | Prednisone is given.", Reading(1, 10, "Prednisone is given.")), ("[10] Prednisone is given.", Reading(1, 10, "Prednisone is given.")),
        ("Sentence 10: Prednisone is given.", Reading(1, 10, "Prednisone is given.")), ("sentence id 3 - It is x.", Reading(1, 3, "It is x.")),
        ("**3** It is x.", Reading(1, 3, "It is x.")), ("Output: 3 It is x.", Reading(1, 3, "It is x.")), ('3 "It is x."', Reading(1, 3, "It is x.")),
        ("3. It is x.", Reading(1, 3, "It is x.")), ("3", Reading(1, 3, "")), ("3 5 mg are given.", Reading(1, 3, "5 mg are given.")),
        ("3 It is x.\n3 It is x.", Reading(1, 3, "It is x.")),
        ("", "empty"), ("3 It is x.\n4 It is y.", "two answers: sentences 3, 4"), ("CORRECT\n3 It is x.", "two answers: CORRECT and a sentence"),
        ("99 It is x.", "no sentence 99 in the note"), ("I'm sorry, I cannot help with medical advice.", "refusal"),
        ("There seems to be an error somewhere.", "neither CORRECT nor a sentence id"), ("INCORRECT", "neither CORRECT nor a sentence id"),
        ("The diagnosis is not correct.", "neither CORRECT nor a sentence id"),
    ],
)  # fmt: skip
def test_answers_are_read_and_never_guessed(text, wanted):
    assert read_answer(text, IDS) == wanted


NOTE = Note(id="a", sentences={0: "x", 1: "He is given water."}, flag=1, error_id=1, error_type="treatment", error_sentence="He is given water.", correction="He is given milk.", pair="a")
TWIN = Note(id="b", sentences={0: "x", 1: "He is given milk."}, flag=0, error_id=-1, error_type="none", error_sentence="", correction="", pair="a")


def value(judged, name):
    return next(s.value for s in summarise(judged) if s.name == name)


def test_missing_answers_are_wrong_officially_and_counted():
    judged = [Judged(NOTE, None), Judged(TWIN, Reading(0))]
    assert value(judged, "official flag") == 0.5 and value(judged, "official sentence") == 0.5 and summarise(judged)[0].missing == 1
    assert value(judged, "false alarms") == 0.0 and value(judged, "both twins' flags right") == 0.0


def test_a_copy_scores_well_officially_and_nothing_by_its_change():
    copy, right = Judged(NOTE, Reading(1, 1, NOTE.error_sentence)), Judged(NOTE, Reading(1, 1, NOTE.correction))
    assert value([copy], "official ROUGE-1") == pytest.approx(0.75, abs=1e-6) and value([copy], "change F1, right sentence") == 0.0
    assert value([right], "official ROUGE-1") == pytest.approx(1, abs=1e-6) and value([right], "change F1, right sentence") == 1.0
    assert change_f1(NOTE, "He is given milk and honey.") == pytest.approx(0.5)


def test_the_official_mean_leaves_out_what_the_composite_counts():
    silent, twin, alarm = Judged(NOTE, Reading(0)), Judged(TWIN, Reading(0)), Judged(TWIN, Reading(1, 1, "y"))
    assert value([silent, twin], "official ROUGE-1") is None and value([silent, twin], "ROUGE-1 composite") == 0.5
    assert value([alarm], "ROUGE-1 composite") == 0.0 and value([alarm], "false alarms") == 1.0


def test_rouge_1_is_the_published_package_s():
    rouge = pytest.importorskip("rouge")
    scorer = rouge.Rouge(metrics=["rouge-1"])
    texts = ["He is given milk.", "He is given 2.5 mg of milk. Daily", "a a a b", "milk", "He  is\tgiven. ", "Été, naïve; (x)"]
    for want in texts:
        for have in texts:
            assert rouge_1(want, have) == pytest.approx(scorer.get_scores(have, want)[0]["rouge-1"]["f"], abs=1e-6)
    assert rouge_1("x", "") == 0.0


def test_the_prompts_hold_the_note_and_a_user_s_own_must():
    assert "1 He is given water." in prompts.render(NOTE) and "CORRECT" in prompts.render(NOTE)
    assert "End of the example" in prompts.render(TWIN, "p2", NOTE) and prompts.render(NOTE, "Look: {sentences}").startswith("Look: 0 x")
    with pytest.raises(LimbeckError, match="no place for the note"):
        prompts.render(NOTE, "Look!")
    with pytest.raises(LimbeckError, match="worked example"):
        prompts.render(NOTE, "p2")


def test_a_misprinted_aggregate_is_seen():
    assert is_mean((0.5517, 0.5373, 0.5852), 0.5581) and not is_mean((0.5517, 0.5373, 0.5852), 0.4682)


@pytest.mark.skipif(not (Path(os.environ.get("LIMBECK_DATA", "/nowhere")) / "medec").exists(), reason="needs LIMBECK_DATA")
def test_the_published_validation_notes():
    from limbeck.tasks.medec.task import FLOORS, MedecTask

    notes = MedecTask().notes("validation")
    assert len(notes) == 574 and sum(n.flag for n in notes) == 319
    sizes = [sum(n.pair == p for n in notes) for p in {n.pair for n in notes}]
    assert sizes.count(2) == 253
    correct = [Judged(n, FLOORS["all correct"](n)) for n in notes]
    assert value(correct, "official flag") == value(correct, "official sentence") == pytest.approx(255 / 574)
