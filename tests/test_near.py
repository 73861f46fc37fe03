"""Requests that repeat another, inside a set and across sets: exactly, nearly, by embedding."""

import random

import numpy as np
import pytest

from limbeck.distill.near import (
    EmbeddingDuplicates,
    ExactDuplicates,
    MinHashDuplicates,
    choose_bands,
    get_duplicates,
    group_of,
    load_encoder,
    plain,
)
from limbeck.errors import LimbeckError
from limbeck.testing import make_tiny_model

WORDS = "amount region month order ship client invoice total late early north south red green stock price unit return tax rate".split()


def text_of(drawn, length=40):
    return " ".join(drawn.choice(WORDS) + str(drawn.randint(0, 99)) for _ in range(length))


def find(how, texts, groups=None):
    """(repeats, similarity) of each text, all in one batch."""
    how.prepare(texts, groups or [""] * len(texts))
    return [how.remember(at, str(at)) for at in range(len(texts))]


def jaccard(one, other, size=3):
    a, b = ({tuple(words[i : i + size]) for i in range(len(words) - size + 1)} for words in (plain(one).split(), plain(other).split()))
    return len(a & b) / len(a | b)


@pytest.mark.parametrize(("one", "other", "same"), [("Sum  the A.", "sum the a", True), ("ｓｕｍ", "sum", True), ("sum 1", "sum 2", False), ("a - b", "a + b", False), ("Why?", "why", True), ("3.", "3", True), ("0.5", "05", False)])
def test_typing_aside_two_requests_are_one(one, other, same):
    assert (plain(one) == plain(other)) is same
    assert (find(ExactDuplicates(), [one, other])[1] is not None) is same


def test_the_first_of_equal_requests_keeps_its_words():
    assert find(ExactDuplicates(), ["a", "b", "A", "a."]) == [None, None, ("0", 1.0), ("0", 1.0)]


@pytest.mark.parametrize("how", [ExactDuplicates, lambda: MinHashDuplicates(0.8), lambda: EmbeddingDuplicates(0.9, lambda texts: np.eye(4, dtype=np.float32)[[0] * len(texts)])])
def test_what_stands_in_another_group_repeats_nothing(how):
    assert find(how(), ["add them up"] * 3, ["x", "y", "x"])[:2] == [None, None]
    assert find(how(), ["add them up"] * 3, ["x", "y", "x"])[2] is not None


def test_a_table_or_an_earlier_turn_makes_another_group_the_last_turn_does_not():
    said = [{"role": "user", "content": "hello"}]
    assert group_of({}) == group_of({"messages": said}) == ""
    assert len({group_of({}), group_of({"table": 1}), group_of({"table": 2}), group_of({"messages": said * 2})}) == 4


@pytest.mark.parametrize("near", [0.5, 0.8, 0.95])
def test_exactly_the_near_ones_are_found(near):
    drawn, found, missed, false = random.Random(1), 0, 0, 0
    how = MinHashDuplicates(near)
    for trial in range(150):
        words = text_of(drawn).split()
        other = list(words)
        for place in drawn.sample(range(len(other)), drawn.randint(0, 6)):
            other[place] = "changed" + str(drawn.randint(0, 10**6))
        one, two = " ".join(words), " ".join(other)
        how.prepare([one, two], ["", ""])
        assert how.remember(0, f"{trial}a") is None
        repeat, true = how.remember(1, f"{trial}b"), jaccard(one, two)
        if repeat is not None:
            assert repeat == (f"{trial}a", round(true, 4))  # the similarity is exact, no estimate
        found += true >= near and repeat is not None
        missed += true >= near and repeat is None
        false += true < near and repeat is not None
    assert not false and found > 20 and missed <= 0.02 * (found + missed)


def test_the_nearest_one_is_named():
    long = text_of(random.Random(2)).split()
    how = MinHashDuplicates(0.5)
    how.prepare([" ".join(["x"] * 3 + long[3:]), " ".join(["y", *long[1:]]), " ".join(long)], [""] * 3)
    assert how.remember(0, "far") is None
    how._keep(1, "close")  # though it is near the first
    name, similarity = how.remember(2, "last") or ("", 0)
    assert name == "close" and similarity == round(jaccard(" ".join(["y", *long[1:]]), " ".join(long)), 4)


def test_short_requests_are_compared_by_letters():
    found = find(MinHashDuplicates(0.7), ["what is the capital of france", "what is the capital of frances", "what is the capital of sweden", "why", "who", "why"])
    assert found[1] and found[1][0] == "0" and found[2:5] == [None, None, None] and found[5] == ("3", 1.0)


def test_who_is_just_short_and_who_is_just_not_are_compared_by_letters():
    short = "list all files that were changed in the last two days"
    longer = short + " please"
    assert (len(short.split()), len(longer.split())) == (11, 12)
    for pair in ([short, longer], [longer, short]):
        found = find(MinHashDuplicates(0.7), pair)
        assert found[1] and found[1][0] == "0" and found[1][1] > 0.8
    assert find(MinHashDuplicates(0.7), [short, "count the lines that hold a number in each of the text files here"]) == [None, None]


def test_texts_without_words_are_compared_too():
    assert find(MinHashDuplicates(0.8), ["", "a", ""]) == [None, None, ("0", 1.0)]
    assert find(MinHashDuplicates(0.8), []) == []


def test_batches_do_not_change_what_is_found():
    drawn = random.Random(3)
    texts = [text_of(drawn, 20) for _ in range(60)]
    texts += [t.replace(" ", "  ", 1).upper() for t in texts[:20]]
    at_once = find(MinHashDuplicates(0.8), texts)
    how, apart = MinHashDuplicates(0.8), []
    for at, text in enumerate(texts):
        how.prepare([text], [""])
        apart.append(how.remember(0, str(at)))
    assert at_once == apart and [r[0] for r in at_once[60:] if r] == [str(n) for n in range(20)]


@pytest.mark.parametrize("near", [0.3, 0.5, 0.8, 0.9, 1.0])
def test_bands_miss_few_at_the_threshold_and_compare_little_below(near):
    bands, rows = choose_bands(near)
    assert bands * rows <= 128 and 1 - (1 - near**rows) ** bands >= 0.995
    if near < 1:
        assert (1 - near ** (rows + 1)) ** (128 // (rows + 1)) > 0.005  # one more row would miss more


def test_embeddings_are_compared_by_their_angle():
    turned = {"one": 0, "close": 20, "far": 60, "back": 58}

    def encode(texts):
        return np.array([[np.cos(np.radians(turned[t])), np.sin(np.radians(turned[t]))] for t in texts], np.float32)

    found = find(EmbeddingDuplicates(0.9, encode), list(turned))
    assert found == [None, ("0", round(float(np.cos(np.radians(20))), 4)), None, ("2", pytest.approx(np.cos(np.radians(2)), abs=1e-3))]


def test_more_embeddings_than_a_block_holds():
    rows = np.eye(1100, dtype=np.float32)
    how = EmbeddingDuplicates(0.9, lambda texts: rows[[int(t) for t in texts]])
    found = find(how, [str(n) for n in range(1100)] + ["3"])
    assert found[:1100] == [None] * 1100 and found[1100] == ("3", 1.0)


def test_an_encoder_gives_rows_of_unit_length_whatever_stands_beside(tmp_path):
    folder = make_tiny_model(tmp_path, ["add the amounts of all rows", "name the capital of France"], seed=1)
    encode = load_encoder(f"hf:{folder}")
    together, alone = encode(["add the amounts", "name the capital of France and of all rows"]), encode(["add the amounts"])
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5) and np.allclose(together[0], alone[0], atol=1e-4)
    found = find(get_duplicates("embedding", 0.999, f"hf:{folder}"), ["add the amounts", "name the capital", "add the amounts"])
    assert found[1] is None and found[2] and found[2][0] == "0"


@pytest.mark.parametrize(("source", "what"), [("", "needs an encoder"), ("hf:/no/such/folder", "cannot be loaded")])
def test_an_encoder_that_is_none_is_told(source, what):
    with pytest.raises(LimbeckError, match=what) as caught:
        get_duplicates("embedding", 0.9, source)
    assert "keep.embedding" in str(caught.value)


def test_off_leaves_all_of_them():
    assert get_duplicates("off", 0.8) is None
