"""Test texts among training texts: planted ones are all found, each shown with both texts; ordinary ones are left alone."""

import random

import pytest

from limbeck.distill.contamination import Contamination, split_words

NOUNS = "farmer wagon lantern violin harbour kettle glacier orchard parrot tunnel meadow anchor candle dragon engine feather goblet hammer island jacket ladder magnet needle oyster pillow quarry ribbon saddle temple umbrella valley window".split()
VERBS = "sells paints carries breaks measures follows hides borrows repairs counts".split()
TEST = "A farmer from Lower Saxony sells seventeen crates of unripe quinces to a travelling circus"


def sentence(drawn, words=18):
    return " ".join(f"the {drawn.choice(NOUNS)} {drawn.choice(VERBS)} {drawn.randint(2, 99)}" for _ in range(words // 4)) + "."


def make_tests(count=300, seed=1):
    drawn = random.Random(seed)
    return [("toy/test", f"t{n}", sentence(drawn, 24)) for n in range(count)]


def test_planted_tests_are_all_found_and_nothing_else():
    tests, drawn = make_tests(), random.Random(2)
    index = Contamination(tests)
    clean = [sentence(drawn, 40) for _ in range(2_000)]
    planted = {}
    for number in range(100):
        text = tests[number * 3][2]
        frame = [text.upper(), f"Q: {text} A:", text.replace(" ", "  \n"), f"{sentence(drawn)} {text} {sentence(drawn)}", " ".join(text.split()[2:-2])][number % 5]
        planted[number * 20] = tests[number * 3][1]
        clean[number * 20] = frame
    hits = index.look(clean)
    assert {at: found[0].test for at, found in enumerate(hits) if found} == planted


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (TEST, "whole"),
        (TEST.upper() + "!", "whole"),
        (f"Solve this. {TEST}? Think.", "inside"),
        ("He tells of a farmer from Lower Saxony who sells seventeen crates of unripe quinces to a travelling circus", "run"),
    ],
)
def test_a_hit_shows_both_texts_and_what_they_share(text, kind):
    (hit,) = Contamination([("quinces/test", "q7", TEST)]).hits(text)
    assert (hit.kind, hit.benchmark, hit.test, hit.training_text, hit.test_text) == (kind, "quinces/test", "q7", text, TEST)
    assert b" ".join(split_words(text)).decode().find(hit.run) >= 0 and b" ".join(split_words(TEST)).decode().find(hit.run) >= 0
    assert hit.words == len(hit.run.split())
    assert set(hit.as_row()) == {"benchmark", "test", "kind", "words", "run", "training_text", "test_text"}


def test_a_run_counts_from_as_many_words_as_asked_for():
    words = TEST.split()
    index = Contamination([("q/test", "7", TEST)], ngram=8)
    assert not index.hits("Once upon a time " + " ".join(words[4:11]) + " and so on") and index.hits("Once upon a time " + " ".join(words[4:12]) + " and so on")
    assert Contamination([("q/test", "7", TEST)], ngram=12).hits(" ".join(words[4:12]) + " and so on") == []


def test_a_long_text_is_shown_around_the_hit():
    drawn = random.Random(5)
    before = " ".join(sentence(drawn) for _ in range(300))
    (hit,) = Contamination([("q/test", "7", TEST)]).hits(f"{before} {TEST} {before}")
    assert hit.kind == "inside" and TEST in hit.training_text and len(hit.training_text) < 2_100


@pytest.mark.parametrize(("text", "other"), [("12,000 people", "12000 people"), ("don’t", "dont"), ("Ａｐｐｌｅ", "apple"), ("half-way house", "half way house"), ("naïve", "NAÏVE")])
def test_words_are_compared_however_they_are_typed(text, other):
    assert split_words(text) == split_words(other)


def test_numbers_make_another_text():
    index = Contamination([("q/test", "7", "What is 17 times 23?")])
    assert index.hits("what is 17 times 23") and not index.hits("what is 17 times 24")


def test_signs_tell_short_tests_apart():
    index = Contamination([("sums/test", "1", "What is 7 + 5?"), ("sums/test", "2", "What is 7 * 5?")])
    assert [h.test for h in index.hits("what is 7 + 5")] == ["1 (and 1 more)"] and index.hits("what is 7 * 5")
    assert not index.hits("what is 7 / 5")


def test_an_answer_of_few_words_repeats_no_test():
    index = Contamination([("capitals/test", "1", "the capital of France")])
    assert index.hits("The capital of France.") and not index.hits("The capital of France.", is_answer=True)


def test_a_benchmarks_own_wording_is_no_evidence():
    wording = "You are given a spreadsheet and must write one single formula that answers the request of a colleague."
    drawn = random.Random(3)
    tests = [("sheet/test", str(n), f"{wording}\n\n{sentence(drawn, 24)}") for n in range(40)]
    index = Contamination(tests)
    assert not index.hits(f"{wording}\n\nShow me overdue invoices in red.")
    assert index.hits(tests[5][2].partition("\n\n")[2])[0].test == "5"


def test_scripts_without_spaces_are_compared():
    text = "农夫从下萨克森州把十七箱未成熟的榅桲卖给了巡回马戏团的老板"
    index = Contamination([("zh/test", "1", text)])
    assert index.hits(f"问题：{text}。请回答") and not index.hits("今天天气很好，我们去公园散步吧")


def test_at_most_three_tests_are_shown_and_equal_ones_as_one():
    index = Contamination([("a/test", "1", TEST), ("b/test", "2", TEST + "."), *(("c/test", str(n), f"{TEST} number {n} of the whole long tour") for n in range(9))])
    assert [h.test for h in index.hits(TEST)] == ["1 (and 1 more)"] and index.hits(TEST)[0].kind == "whole"
    assert len(index.hits(f"so {TEST} number 4 of the whole long tour. {TEST} number 5 of the whole long tour")) == 3


def test_no_tests_and_empty_texts_hit_nothing():
    assert Contamination([]).look(["anything", ""]) == [[], []]
    assert Contamination([("q/test", "1", "")]).look(["", "a"]) == [[], []]
    assert Contamination([("q/test", "1", TEST)], not_looked_at={"gated": "no access"}).not_looked_at == {"gated": "no access"}
    assert Contamination([("q/test", "1", TEST), ("q/test", "2", "x")]).benchmarks == {"q/test": 2}


def test_batches_do_not_change_what_is_found(monkeypatch):
    tests = make_tests(50)
    texts = [t for _, _, t in tests] + ["", "nothing of the kind"]
    at_once = Contamination(tests).look(texts)
    monkeypatch.setattr("limbeck.distill.contamination.BATCH_WORDS", 30)
    assert Contamination(tests).look(texts) == at_once


def test_short_ends_around_the_wording_of_a_benchmark_are_found_with_it():
    wording = "Write it as the body of this function and reply with the whole function in one block"
    tests = [("odd/test", str(at), f"Get urls within text {name}\n\n{wording}\n\ndef f_{7919 * at}({name}):") for at, name in enumerate("abcdefghijklmnopqrstuvwxyz")]
    known = Contamination(tests)
    found = known.hits(f"Here is one that I was asked before. {tests[3][2]} Can you help me with it?")
    assert len(found) == 1
    assert not known.hits(f"Another job altogether, though put in the same words. {wording} please")
