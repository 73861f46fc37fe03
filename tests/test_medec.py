"""MEDEC: what the loader refuses, what the reader takes for an answer, and the measures against their definitions."""

import csv
import io
import os
import random

import numpy as np
import pytest

from limbeck.errors import LimbeckError
from limbeck.records import Answer, Candidate, Example, Prompt
from limbeck.tasks.medec import metrics
from limbeck.tasks.medec.floors import FLOORS
from limbeck.tasks.medec.loading import COLUMNS, link_twins, read_notes, read_pair, read_screening, split_numbered
from limbeck.tasks.medec.metrics import change_score, check_paper_rows, rouge_1, summarise
from limbeck.tasks.medec.parsing import (
    CORRECT,
    EMPTY,
    NO_SUCH,
    REFUSED,
    TWO_ANSWERS,
    UNFINISHED,
    UNREADABLE,
    Reading,
    read_answer,
    read_run,
)
from limbeck.tasks.medec.prompts import choose_prompt, fill
from limbeck.tasks.medec.task import MedecTask

needs_data = pytest.mark.skipif("LIMBECK_DATA" not in os.environ, reason="LIMBECK_DATA is not set")

SENTENCES = (
    "A sailor comes to the clinic because of a swollen knee.",
    "He has had a cough for 3 days.",
    "He fell from a ladder a week ago.",
    "1 mg of nothing was taken.",
    "His pulse is 80/min.",
    "The knee is red.",
    "The joint fluid is cloudy.",
    "Gram stain shows cocci.",
    "He has no allergies.",
    "Urine output: 30 ml.",
    "Methotrexate is given.",
    "A follow-up is planned.",
)
P = Reading(True, 10, "Prednisone is given.")

ANSWERS = [
    # correct, said in one word or several
    ("CORRECT", CORRECT), ("CORRECT.", CORRECT), ("Correct", CORRECT), ("**CORRECT**", CORRECT), ("`CORRECT`\n", CORRECT), ('"CORRECT."', CORRECT),
    ("correct!", CORRECT), ("CORRECT -1 NA", CORRECT), ("0 -1 NA", CORRECT), ("-1", CORRECT),
    ("The text is correct.", CORRECT), ("The medical narrative appears to be medically correct.", CORRECT), ("There are no medical errors.", CORRECT),
    ("I did not find any errors in the note.", CORRECT), ("I cannot find any errors in this text.", CORRECT),
    ("Correct. All treatments fit.", CORRECT), ("CORRECT: the text contains no errors.", CORRECT),
    ("Sure! Here is my answer: CORRECT", CORRECT), ("I went through all sentences.\n\nCORRECT", CORRECT), ("After checking, the note is CORRECT.", CORRECT),
    # the sentence, in every punctuation
    ("10 Prednisone is given.", P), ("10| Prednisone is given.", P), ("10 | Prednisone is given.", P), ("10|Prednisone is given.", P), ("[10] Prednisone is given.", P),
    ("(10) Prednisone is given.", P), ("10. Prednisone is given.", P), ("10: Prednisone is given.", P), ("10) Prednisone is given.", P), ("10 - Prednisone is given.", P),
    ("Sentence 10: Prednisone is given.", P), ("**Sentence 10:** Prednisone is given.", P), ("- 10 Prednisone is given.", P), ("sentence id 10: Prednisone is given.", P),
    ('10 "Prednisone is given."', P), ("**10** Prednisone is given.", P), ("> 10 Prednisone  is given.\n", P), ("```\n10 Prednisone is given.\n```", P),
    ("10 1 Prednisone is given.", P),  # the example in the paper's second prompt answers so
    ("10 Methotrexate is given. -> Prednisone is given.", P), ("10 Methotrexate is given. 10 Prednisone is given.", P), ("10 Methotrexate is given.\n10 Prednisone is given.", P),
    ("10 Methotrexate is given. Correction: Prednisone is given.", P), ("10 Methotrexate is given. Corrected sentence: 10 Prednisone is given.", P),
    ("10 Methotrexate is given.", Reading(True, 10, "Methotrexate is given.")),  # copied unchanged: still a claim
    ("3 1 mg of prednisone was taken.", Reading(True, 3, "1 mg of prednisone was taken.")),  # this sentence begins with a number
    ("9 Urine output: 900 ml.", Reading(True, 9, "Urine output: 900 ml.")),
    # labels, prose, preambles, reasoning
    ("Sentence ID: 10\nCorrected sentence: Prednisone is given.", P), ("10\nPrednisone is given.", P), ("10", Reading(True, 10, None)),
    ("The error is in the sentence number 10: Methotrexate is given. The correction is: Prednisone is given.", P),
    ("Sentence 10 contains an error.\nCorrected version: Prednisone is given.", P), ("The error is in sentence 10.", Reading(True, 10, None)),
    ("Here is the answer:\n\n10 Prednisone is given.", P), ("Final answer: 10 Prednisone is given.", P), ("**Answer:** 10 Prednisone is given.", P),
    ("<think>Maybe 5 The knee is green. Or CORRECT?</think>\n10 Prednisone is given.", P), ("thoughts about 5\n</think>CORRECT", CORRECT),
    ("Cocci speak for an infection, so methotrexate harms.\n10 mg of it are too much in any case.\n\n10 Prednisone is given.", P),
    ("1. The knee is infected.\n2. The drug is wrong.\n\nAnswer: 10 Prednisone is given.", P), ("10 Prednisone is given.\nExplanation: 4 days of it are enough.", P),
    ("\n".join(f"{at} {s}" for at, s in enumerate(SENTENCES)) + "\nCORRECT", CORRECT),  # the whole note first
    ("\n".join(f"Sentence {at}: correct" for at in range(10)) + "\nSentence 10: Prednisone is given.", P),
    # what is no answer stays none
    ("", EMPTY), ("  \n ", EMPTY), ("<think>10 Prednisone is", UNFINISHED), ("<think></think>", EMPTY),
    ("10 Prednisone is given.\n5 The knee is pale.", TWO_ANSWERS), ("CORRECT\n10 Prednisone is given.", TWO_ANSWERS), ("Correct: 10 Prednisone is given.", TWO_ANSWERS),
    ("CORRECT\nHowever, the error is in sentence 10.", TWO_ANSWERS), ("3 10 Prednisone is given.", TWO_ANSWERS), ("10 Prednisone is given. 11 A biopsy is planned.", TWO_ANSWERS),
    ("10 Methotrexate is given.\nCORRECT", TWO_ANSWERS), ("10 Methotrexate is given.\n5 The knee is pale.", TWO_ANSWERS), ("Sentences: the error is in sentence 4 or an error in sentence 5", TWO_ANSWERS),
    ("12 Prednisone is given.", NO_SUCH), ("Sentence 45: Prednisone is given.", NO_SUCH), ("99", NO_SUCH), ("-3 Prednisone is given.", NO_SUCH), ("The error is in sentence 77.", NO_SUCH),
    ("I'm sorry, but I can't help with medical advice.", REFUSED), ("As an AI language model I do not diagnose.", REFUSED), ("I am unable to assess this.", REFUSED),
    ("The text is not correct.", UNREADABLE), ("INCORRECT", UNREADABLE), ("It depends whether the text is CORRECT", UNREADABLE), ("Prednisone is given.", UNREADABLE),
    ("1", UNREADABLE), ("0", UNREADABLE), ("10 mg of prednisone", UNREADABLE), ("35-year-old men need prednisone.", UNREADABLE), ("4.1 mEq/L", UNREADABLE), ("No error in sentence 3, but something is off.", UNREADABLE),
]  # fmt: skip


@pytest.mark.parametrize("text,wanted", ANSWERS)
def test_an_answer_is_read_as_what_it_claims_or_gives_the_reason_it_cannot_be(text, wanted):
    assert read_answer(text, SENTENCES) == wanted


def test_endless_answers_are_read_without_trouble():
    for text in ("<think>" * 20_000, "1" * 9_000, "a" * 100_000, "Correction:" * 5_000, "an error in " * 5_000):
        assert read_answer(text, SENTENCES) in (UNREADABLE, UNFINISHED)
    assert read_answer("10 " + "1" * 9_000, SENTENCES) == Reading(True, 10, "1" * 9_000)


def test_a_run_file_is_read_as_the_shared_task_reads_it():
    readings, refused = read_run('ms-1 1 10 "Prednisone  is given."\n\nms-2 0 -1 NA\nms-3 0 7 Left over.\nms-4 1 2 NA\nno line of a run\nms-2 1 3 Later.\n')
    assert readings == {
        "ms-1": P, "ms-2": Reading(True, 3, "Later."), "ms-3": Reading(False, 7, None), "ms-4": Reading(True, 2, None),
    }  # fmt: skip
    assert refused == ["no line of a run"]


def write_csv(*rows, columns=COLUMNS, extra=""):
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([row.get(c, "") for c in columns])
    return (out.getvalue() + extra).encode()


def row(**changes):
    made = {
        "Text ID": "t-0", "Text": "It rains. He takes salt.", "Sentences": "0 It rains.\n1 He takes salt.", "Error Flag": "1", "Error Type": "causalOrganism",
        "Error Sentence ID": "1", "Error Sentence": "He takes salt.", "Corrected Sentence": "He takes sugar.",
    }  # fmt: skip
    return made | {k.replace("_", " "): v for k, v in changes.items()}


FINE = {"Error_Flag": "0", "Error_Type": "NA", "Error_Sentence_ID": "-1", "Error_Sentence": "NA", "Corrected_Sentence": "NA"}


def test_blank_rows_are_dropped_and_floats_are_numbers_again():
    notes = read_notes(b"\xef\xbb\xbf" + write_csv(row(Error_Flag="1.0", Error_Sentence_ID="1.0"), {}, row(Text_ID="t-1", **FINE) | {"Error Flag": "0.0", "Error Sentence ID": "-1.0"}, {}, extra=",,,,\r\n"), "x.csv")
    assert [(n.id, n.has_error, n.sentence_id, n.family, n.correction) for n in notes] == [("t-0", True, 1, "causal organism", "He takes sugar."), ("t-1", False, -1, "correct", None)]


def test_line_breaks_inside_sentences_and_corrections_are_kept_apart_from_numbers():
    block = "0 It rains:\n\n1 Salt 4 g\nSugar\n7 g\n2 He sleeps."
    assert split_numbered(block) == ("It rains:", "Salt 4 g Sugar 7 g", "He sleeps.")
    note = read_notes(write_csv(row(Sentences=block, Corrected_Sentence="Salt 5 g:\n\n")), "x.csv")[0]
    assert note.numbered == block and note.correction == "Salt 5 g:\n\n"


BROKEN = [
    (b"", "columns are missing"),
    (write_csv(row(), columns=COLUMNS[:5]), "columns are missing: Error Sentence ID"),
    (write_csv({}, {}), "holds no notes"),
    (write_csv(row(), row()), "more than once: t-0"),
    (write_csv(row(Text_ID=" ")), "no Text ID"),
    (write_csv(row(Text="x" * 10_000_000)), "field larger than"),
    (write_csv(row()).replace(b"salt.\"", b"salt.", 1), "Error Flag is ''"),
    (write_csv(row()).replace(b"rains", b"r\xffins"), "not UTF-8: byte 0xff in line 2"),
    (write_csv(row(), extra='t-9,"a,b'), "not numbered from 0"),
    (write_csv(row(), extra="t-9,a,0 b,0,NA,-1,NA,NA,surplus\r\n"), "more cells"),
    (write_csv(row(Error_Flag="yes")), "Error Flag is 'yes'"),
    (write_csv(row(Error_Flag="2")), "Error Flag is 2"),
    (write_csv(row(Error_Flag="")), "Error Flag is ''"),
    (write_csv(row(Error_Sentence_ID="1.5")), "Error Sentence ID is '1.5'"),
    (write_csv(row(Error_Sentence_ID="2")), "no sentence 2: the note has 2"),
    (write_csv(row(Error_Flag="0")), "a correct note names sentence 1"),
    (write_csv(row(Error_Type="magic")), "Error Type is 'magic'"),
    (write_csv(row(Corrected_Sentence="NA")), "no Corrected Sentence"),
    (write_csv(row(Sentences="It rains.")), "not numbered from 0"),
]


@pytest.mark.parametrize("content,what", BROKEN)
def test_a_file_that_is_not_as_published_is_refused_with_its_place(content, what):
    with pytest.raises(LimbeckError, match=what) as caught:
        read_notes(content, "x.csv")
    assert caught.value.where.startswith("x.csv") and caught.value.fix


def test_neighbours_that_share_their_words_are_one_vignette_and_others_are_not():
    words = [f"w{at}" for at in range(40)]
    texts = [" ".join(words), " ".join([*words[:35], "other"]), " ".join(words[:20] + [f"v{at}" for at in range(20)]), "", ""]
    notes = read_notes(write_csv(*(row(Text_ID=f"t-{at}", Text=text) for at, text in enumerate(texts))), "x.csv")
    assert link_twins(notes) == {"t-0": "t-0", "t-1": "t-0", "t-2": "t-2", "t-3": "t-3", "t-4": "t-4"}


def test_a_training_pair_becomes_a_numbered_example():
    line = b'{"note_id": "a", "incorrect_note": "It rains. He takes salt. Then he sleeps.", "error_sentence": "He takes salt.", "corrected_sentence": "He takes sugar."}'
    assert read_pair(line, "a", "x") == (("It rains.", "He takes salt.", "Then he sleeps."), 1, "He takes sugar.")
    for content, what in ((line, "no training pair 'b'"), (b"{", "not a training pair"), (b"[1]", "not a training pair")):
        with pytest.raises(LimbeckError, match=what):
            read_pair(content, "b", "x")


def test_a_screening_needs_its_columns():
    assert read_screening(b"text_id,accepted\r\na,1\r\nb,0\r\n", "x") == {"a"}
    with pytest.raises(LimbeckError, match="columns are missing"):
        read_screening(b"id,kept\na,1\n", "x")


def test_versions_change_with_the_prompt_and_its_layout_and_nothing_else():
    makes = [{"prompt": "p1"}, {"prompt": "p2"}, {"prompt": "Check: {sentences}"}, {"prompt": "Check! {sentences}"}, {"layout": "joined"}]
    versions = [MedecTask(**m).version for m in makes]
    assert len(set(versions)) == len(versions) and versions[0] == MedecTask().version and versions[0].split(".")[1] == "p1"
    with pytest.raises(LimbeckError, match="no place for the note"):
        MedecTask(prompt="p3")
    with pytest.raises(LimbeckError, match="no layout"):
        MedecTask(layout="round")


def test_a_prompt_holds_one_note_and_braces_mean_nothing():
    assert fill("{a} {sentences} {b}{example}", "0 {example} {x}", "E") == "{a} 0 {example} {x} {b}E"
    assert choose_prompt("p2")[1].count("{sentences}") == 1


def test_the_uw_part_is_read_only_from_the_users_own_file(monkeypatch, tmp_path):
    monkeypatch.delenv("LIMBECK_MEDEC_UW", raising=False)
    with pytest.raises(LimbeckError, match="never fetches") as caught:
        MedecTask().examples("uw")
    assert "data use agreement" in caught.value.fix
    monkeypatch.setenv("LIMBECK_MEDEC_UW", str(tmp_path / "uw.csv"))
    with pytest.raises(LimbeckError, match="cannot be read"):
        MedecTask().examples("uw")
    (tmp_path / "uw.csv").write_bytes(write_csv(row()))
    (example,) = MedecTask().examples("uw")
    assert example.prompt.text.endswith("0 It rains.\n1 He takes salt.") and example.gold == ("1 He takes sugar.",) and "sugar" not in example.prompt.text


def example(name, cluster, error=True, family="diagnosis"):
    meta = {"cluster": cluster, "family": family if error else "correct", "has_error": error, "sentences": list(SENTENCES)}
    meta |= {"sentence_id": 10, "error_sentence": SENTENCES[10], "correction": "Prednisone is given."} if error else {"sentence_id": -1, "error_sentence": "", "correction": None}
    return Example(id=name, prompt=Prompt(id=name, text="?"), meta=meta)


CHANGES = [
    ("Methotrexate is given.", "Prednisone is given.", "Prednisone is given.", 1.0),
    ("Methotrexate is given.", "Prednisone is given.", "PREDNISONE is given", 1.0),
    ("Methotrexate is given.", "Prednisone is given.", "Methotrexate is given.", 0.0),  # copied
    ("Methotrexate is given.", "Prednisone is given.", "Insulin is given.", 0.0),
    ("Methotrexate is given.", "Prednisone is given.", "Prednisone and salt is given.", 0.5),  # 1 of 3 said, 1 of 1 wanted
    ("He takes salt and sugar daily.", "He takes sugar daily.", "He takes sugar daily.", 1.0),  # only a deletion
    ("He takes salt and sugar daily.", "He takes sugar daily.", "He takes salt and sugar daily.", 0.0),
    ("He takes salt.", "He takes no salt.", "He takes no salt.", 1.0),  # only an insertion
    ("He takes salt.", "He takes salt", "He takes salt!", 1.0),  # no word changes
    ("Dose is 1.5 mg.", "Dose is 15 mg.", "Dose is 15 mg.", 1.0),
    ("Dose is 1.5 mg.", "Dose is 15 mg.", "", 0.0),
]


@pytest.mark.parametrize("original,reference,correction,wanted", CHANGES)
def test_the_changed_words_alone_are_scored(original, reference, correction, wanted):
    assert change_score(original, reference, correction) == pytest.approx(wanted)


def random_sentence(random_):
    return "".join(random_.choice(["salt", "Salt", "sugar", "He", " ", " ", "  ", ".", ". ", "\n", "1.5", ",", "ß", ""]) for _ in range(random_.randint(0, 14)))


def test_rouge_1_equals_the_published_package():
    rouge = pytest.importorskip("rouge").Rouge(metrics=["rouge-1"])
    draw, compared = random.Random(5), 0
    for _ in range(3_000):
        said, wanted = random_sentence(draw), random_sentence(draw)
        if not said.replace(".", "") or not wanted.replace(".", ""):
            assert rouge_1(said, wanted) == 0.0  # the package raises
            continue
        assert rouge_1(said, wanted) == pytest.approx(rouge.get_scores(said, wanted)[0]["rouge-1"]["f"], abs=1e-9)
        compared += 1
    assert compared > 2_000


def test_rouge_1_on_values_worked_out_by_hand():
    assert rouge_1("Prednisone is given.", "Prednisone is given.") == pytest.approx(1.0, abs=1e-7)
    assert rouge_1("Methotrexate is given.", "Prednisone is given.") == pytest.approx(2 / 3, abs=1e-7)
    assert rouge_1("a a a b", "a c") == pytest.approx(0.5, abs=1e-7)  # sets, not counts: {a,b} against {a,c}
    assert rouge_1("", "a") == rouge_1(".", "a") == 0.0


def official(examples, readings, rouge):
    """The shared task's definition, written down once more: string comparison over all notes, C where both give a sentence."""
    flags = sum(r is not None and r.has_error == e.meta["has_error"] for e, r in zip(examples, readings))
    places = sum(r is not None and str(r.sentence_id) == str(e.meta["sentence_id"]) for e, r in zip(examples, readings))
    scores, alone = [], 0
    for e, r in zip(examples, readings):
        reference = e.meta["correction"] or "NA"
        given = None if r is None else (r.correction or "NA") if r.has_error else "NA"
        if given == reference == "NA":
            alone += 1
        elif given not in (None, "NA") and reference != "NA":
            scores.append(rouge(given, reference))
    n = len(examples)
    return {"flag_official": flags / n, "sentence_official": places / n, "rouge1": np.mean(scores), "composite_rouge1": (sum(scores) + alone) / n}


def random_run(examples, seed):
    draw = random.Random(seed)
    kinds = [
        lambda e: f"{e.id} 0 -1 NA",
        lambda e: f"{e.id} 0 3 left over",
        lambda e: f'{e.id} 1 {e.meta["sentence_id"]} "{" ".join((e.meta["correction"] or "Something else.").split())}"',
        lambda e: f"{e.id} 1 {max(0, e.meta['sentence_id'])} {e.meta['error_sentence'] or 'He sleeps.'}",
        lambda e: f"{e.id} 1 2 He  takes \\s and 5. salt",
        lambda e: f"{e.id} 1 4 NA",
        lambda e: f"{e.id} is not answered",
    ]
    return "\n".join(draw.choice(kinds)(e) for e in examples)


def check_official(examples, rouge, seed):
    text = random_run(examples, seed)
    readings, refused = read_run(text)
    wanted = official(examples, [readings.get(e.id) for e in examples], rouge)
    scores = {s.name: s for s in MedecTask().score_run(examples, text)}
    assert refused and {name: scores[name].value for name in wanted} == pytest.approx(wanted, abs=1e-6)
    assert scores["flag"].missing == len(refused) and scores["flag"].n + scores["flag"].missing == scores["flag_official"].n == len(examples)


def test_a_run_file_scores_as_the_official_definition_says():
    package = pytest.importorskip("rouge").Rouge(metrics=["rouge-1"])
    examples = [example(f"n-{at}", f"c-{at // 2}", error=at % 2 == 0) for at in range(120)]
    check_official(examples, lambda a, b: package.get_scores(a, b)[0]["rouge-1"]["f"], seed=1)


TWINS = [example("a", "a"), example("b", "a", error=False), example("c", "c", family="treatment"), example("d", "c", error=False), example("e", "e")]


def test_every_row_of_a_small_table_worked_out_by_hand():
    readings = [P, CORRECT, Reading(True, 5, "The knee is pale."), Reading(True, 1, "He coughs."), None]
    rows = summarise(TWINS, readings)
    value = {name: (r["value"], r["n"], r["missing"]) for name, r in rows.items()}
    assert value["flag"] == (3 / 4, 4, 1) and value["flag_official"] == (3 / 5, 5, 0)
    assert value["sentence"] == (2 / 4, 4, 1) and value["sentence_official"] == (2 / 5, 5, 0)
    assert value["sentence_on_errors"] == (1 / 2, 2, 1) and value["flag_recall"] == (1.0, 2, 1) and value["false_positive_rate"] == (1 / 2, 2, 0)
    assert value["change"] == (1 / 2, 2, 1) and value["pair_accuracy"] == (1 / 2, 2, 0)
    assert value["mcc"][0] == pytest.approx((2 * 1 - 1 * 0) / (3 * 2 * 2 * 1) ** 0.5) and value["mcc"][1:] == (4, 1)
    assert value["rouge1"] == (pytest.approx((1 + rouge_1("The knee is pale.", "Prednisone is given.")) / 2, abs=1e-6), 2, 1)
    assert value["composite_rouge1"][0] == pytest.approx((1 + rouge_1("The knee is pale.", "Prednisone is given.") + 1) / 5, abs=1e-6)
    assert value["recall/diagnosis"] == (1.0, 1, 1) and value["change/treatment"] == (0.0, 1, 0)
    assert rows["aggregate"]["value"] is None and rows["aggregate"]["note"] == "absent: bertscore, bleurt is not installed"


def test_the_aggregate_is_the_mean_of_three_and_cut_to_0_and_1():
    scorers = {"bertscore": lambda said, wanted: [-0.4 for _ in said], "bleurt": lambda said, wanted: [1.3 for _ in said]}
    rows = summarise(TWINS[:2], [P, CORRECT], scorers)
    assert (rows["bertscore"]["value"], rows["bleurt"]["value"]) == (0.0, 1.0)
    assert rows["aggregate"]["value"] == pytest.approx(2 / 3, abs=1e-6) and rows["composite_aggregate"]["value"] == pytest.approx((2 / 3 + 1) / 2, abs=1e-6)


def test_no_answers_and_no_notes_are_no_numbers():
    for rows in (summarise([], []), summarise(TWINS, [None] * 5)):
        assert rows["flag"]["value"] is None and rows["mcc"]["value"] is None and rows["pair_accuracy"]["value"] is None
    assert summarise(TWINS, [None] * 5)["pair_accuracy"]["missing"] == 2
    with pytest.raises(LimbeckError, match="5 notes and 1 answers"):
        summarise(TWINS, [None])


def test_the_interval_is_drawn_over_vignettes():
    # 60 vignettes, each asked 8 times with the same outcome: the interval is that of 60, not of 480
    examples = [example(f"n-{at}", f"n-{at}") for at in range(60) for _ in range(8)]
    readings = [P if at // 8 % 2 else CORRECT for at in range(480)]
    found = summarise(examples, readings)["flag"]
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * (0.25 / 60) ** 0.5, rel=0.1)


def test_intervals_over_vignettes_cover_the_truth():
    draw, hits = np.random.default_rng(3), 0
    examples = [example(f"n-{at}", f"c-{at // 2}", error=at % 2 == 0) for at in range(160)]
    for trial in range(100):
        skill = draw.random(80) < 0.5  # both twins of a vignette are easy (.9) or hard (.4): the truth is .65
        right = draw.random(160) < np.where(np.repeat(skill, 2), 0.9, 0.4)
        readings = [Reading(e.meta["has_error"] == bool(r), 10 if e.meta["has_error"] == bool(r) else -1) for e, r in zip(examples, right)]
        found = summarise(examples, readings, seed=trial)["flag"]
        hits += found["low"] <= 0.65 <= found["high"]
    assert 88 <= hits <= 100


def test_a_rate_of_none_or_all_still_has_an_interval():
    found = summarise(TWINS, [CORRECT] * 5)["flag_recall"]
    assert found["value"] == 0.0 and found["low"] == 0.0 and 0.3 < found["high"] < 0.7


def test_trials_become_scores_and_unreadable_ones_are_missing():
    task = MedecTask()
    texts = {"a": "10 Prednisone is given.", "b": "CORRECT.", "c": "I'm sorry, but I can't help.", "d": "well"}
    answers = {name: Answer(prompt_id=name, candidates=(Candidate(text=text),)) for name, text in texts.items()}
    verdicts = {e.id: task.score(e, answers[e.id]) for e in TWINS if e.id in answers}
    assert [(v.status, v.reason) for v in verdicts.values()] == [("scored", ""), ("scored", ""), ("refused", REFUSED), ("no_answer", UNREADABLE)]
    assert verdicts["a"].measures == {"flag": (1.0,), "sentence": (1.0,), "composite": (pytest.approx(1.0, abs=1e-7),), "change": (1.0,)}
    trials = [{"id": name, "status": verdicts[name].status, "candidates": [text]} for name, text in texts.items()]
    scores = {s.name: s for s in task.summarise(TWINS, trials)}
    assert (scores["flag"].value, scores["flag"].n, scores["flag"].missing) == (1.0, 2, 3) and scores["flag_official"].value == 2 / 5
    again = {s.name: s for s in task.summarise(TWINS, trials + trials[:2])}
    assert (again["flag"].n, again["pair_accuracy"].n) == (4, 2)
    with pytest.raises(LimbeckError, match="not asked"):
        task.summarise(TWINS[:1], trials)


def test_the_right_words_at_the_wrong_place_change_nothing():
    found = metrics.measure(TWINS[0], Reading(True, 5, "Prednisone is given."))
    assert found["flag"] == 1.0 and found["composite"] > 0.99 and found["sentence"] == found["change"] == 0.0


def test_a_second_candidate_that_calls_the_note_correct_is_judged_too():
    answer = Answer(prompt_id="a", candidates=(Candidate(text="10 Prednisone is given."), Candidate(text="CORRECT"), Candidate(text="?")))
    assert MedecTask().score(TWINS[0], answer).measures["flag"] == (1.0, 0.0, 0.0)


def test_floors_go_through_the_same_scorer():
    found = {name: {s.name: s.value for s in scores} for name, scores in MedecTask().floors(TWINS[:4]).items()}
    assert set(found) == set(FLOORS)
    assert found["all-correct"]["flag"] == 0.5 and found["all-error"]["flag"] == 0.5 and found["last-sentence"]["sentence"] == 0.0
    assert found["copy"]["flag"] == found["copy"]["sentence"] == 1.0 and found["copy"]["rouge1"] > 0.6 and found["copy"]["change"] == 0.0


def test_a_printed_aggregate_that_is_not_the_mean_of_its_parts_is_flagged():
    good = {"model": "m", "rouge1": ".5", "bertscore": "0.6", "bleurt": 0.7, "aggregate": "0.6001"}
    bad = good | {"model": "GPT-4o", "rouge1": 0.5517, "bertscore": 0.5373, "bleurt": 0.5852, "aggregate": 0.4682}
    assert check_paper_rows([good, bad, good | {"bleurt": ""}]) == [{"row": 1, "model": "GPT-4o", "prompt": "", "printed": 0.4682, "recomputed": 0.5581}]
    with pytest.raises(LimbeckError, match="not a number"):
        check_paper_rows([good | {"bleurt": "high"}])


@needs_data
def test_the_validation_part_its_twins_and_its_floors():
    task = MedecTask()
    examples = task.examples("validation")
    assert len(examples) == 574 and sum(e.meta["has_error"] for e in examples) == 319
    families = {f: sum(e.meta["family"] == f for e in examples) for f in ("diagnosis", "management", "treatment", "pharmacotherapy", "causal organism")}
    assert list(families.values()) == [86, 168, 25, 27, 13]
    floors = {name: {s.name: s for s in scores} for name, scores in task.floors(examples).items()}
    assert floors["all-correct"]["flag"].value == pytest.approx(255 / 574) and floors["all-error"]["flag"].value == pytest.approx(319 / 574)
    assert floors["last-sentence"]["sentence_on_errors"].value == pytest.approx(197 / 319) and floors["copy"]["pair_accuracy"].n == 253
    assert floors["copy"]["rouge1"].value == pytest.approx(0.6295, abs=5e-5) and floors["copy"]["change"].value == 0.0
    assert all(s.missing == 0 for name in ("flag", "sentence", "change") for f in floors.values() for s in [f[name]])


@needs_data
def test_every_reference_answer_is_read_back_and_scores_full_marks():
    examples = MedecTask().examples("validation")
    for e in examples:
        found = MedecTask().judge(e, e.gold[0])
        assert isinstance(found, dict) and found["flag"] == found["sentence"] == found["change"] == 1.0, (e.id, found)


@needs_data
def test_the_validation_part_by_the_official_definition():
    package = pytest.importorskip("rouge").Rouge(metrics=["rouge-1"])
    check_official(MedecTask().examples("validation"), lambda a, b: package.get_scores(a, b)[0]["rouge-1"]["f"], seed=2)


@needs_data
def test_the_second_prompt_shows_one_solved_note_that_is_not_asked():
    first, second = MedecTask("p1").examples("validation", 3), MedecTask("p2").examples("validation", 3)
    for one, two in zip(first, second):
        assert two.prompt.text.endswith("\n\n" + one.prompt.text.split("\n\n", 1)[1]) and len(two.prompt.text) - len(one.prompt.text) < 1_000
        assert two.prompt.text.count("So the answer is:") == 1 and "{" not in two.prompt.text
    joined = MedecTask(layout="joined").examples("validation")
    assert all(len(e.prompt.text.rsplit("\n\n", 1)[1].split("\n")) == len(e.meta["sentences"]) for e in joined)


@needs_data
def test_the_papers_table_has_one_misprint():
    path = os.path.join(os.environ["LIMBECK_DATA"], "medec", "paper_results.csv")
    if not os.path.exists(path):
        pytest.skip("paper_results.csv is not there")
    with open(path, newline="") as file:
        (found,) = check_paper_rows(list(csv.DictReader(file)))
    assert (found["model"], found["printed"], found["recomputed"]) == ("GPT-4o", 0.4682, 0.5581) and metrics.ROUNDING < 1e-3
