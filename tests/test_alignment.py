"""Two tokenizers side by side: bytes, never places; a beginning token shifts nothing; refused where numbers would be wrong."""

import numpy as np
import pytest

from limbeck.errors import LimbeckError
from limbeck.teachers.alignment import TAIL, Alignment, align, align_self_test, beginning

WORDS = "the cat sat on the mat and there was another cat that sang then thinner things were said over there".split()
TEXTS = [" ".join(WORDS[i:] + WORDS[:i]) for i in range(0, 20, 3)] + ["naïve café, 🙂🙃 done\n\tdef f(x):  return x"]


def make(texts, *, size=330, begins=False, lower=False, kind="bytes"):
    """A small BPE tokenizer learnt from `texts`; `begins` puts <start> before every text."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.BPE() if kind != "pieces" else models.WordPiece(unk_token="<end>"))
    initial = []
    if kind == "bytes":
        plain.pre_tokenizer, plain.decoder, initial = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel(), pre_tokenizers.ByteLevel.alphabet()
    elif kind == "spaces":
        plain.pre_tokenizer, plain.decoder = pre_tokenizers.Metaspace(prepend_scheme="first"), decoders.Metaspace(prepend_scheme="first")
    else:
        plain.pre_tokenizer, plain.decoder = pre_tokenizers.Whitespace(), decoders.WordPiece()
    if lower:
        plain.normalizer = normalizers.Lowercase()
    trainer = (trainers.WordPieceTrainer if kind == "pieces" else trainers.BpeTrainer)(vocab_size=size, special_tokens=["<end>", "<start>"], initial_alphabet=initial, show_progress=False)
    plain.train_from_iterator(texts, trainer)
    if begins:
        plain.post_processor = processors.TemplateProcessing(single="<start> $A", special_tokens=[("<start>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<end>", bos_token="<start>", pad_token="<end>")


@pytest.fixture(scope="module")
def fine():
    return make(TEXTS, size=340)


@pytest.fixture(scope="module")
def coarse():
    return make(TEXTS, size=285)


def test_spans_hold_every_token_of_both_once_and_spell_the_text(fine, coarse):
    pair = Alignment(fine, coarse)
    for text in TEXTS:
        theirs, ours = pair.encode(text)
        found = pair.spans(text)
        assert [i for s in found for i in s.teacher] == list(range(len(theirs))) and [i for s in found for i in s.student] == list(range(len(ours)))
        for span in found:
            piece = text.encode()[span.first : span.last]
            assert b"".join(pair._bytes[0][theirs[i]] or b"" for i in span.teacher) == piece == b"".join(pair._bytes[1][ours[i]] or b"" for i in span.student)
            assert not any(a and b for a, b in [(len(span.teacher) > 1 and len(span.student) > 1, _inner(pair, theirs, ours, span))])  # no shared boundary inside


def _inner(pair, theirs, ours, span):
    ends = [{sum(len(pair._bytes[side][ids[j]] or b"") for j in tokens[: n + 1]) for n in range(len(tokens) - 1)} for side, ids, tokens in ((0, theirs, span.teacher), (1, ours, span.student))]
    return bool(ends[0] & ends[1])


def test_a_tokenizer_is_aligned_with_itself(fine):
    report = align_self_test(fine, make(TEXTS, size=340), TEXTS)
    assert report.passed and report.shared == 1 and report.unlike == 0 and report.gap_nats < 1e-9
    assert align(fine, fine, TEXTS).place_V[fine.eos_token_id] == fine.eos_token_id


def test_a_beginning_token_of_one_side_shifts_nothing(fine):
    """By place, the way that collapsed in the wild, no token but one matches; by bytes all do."""
    begins = make(TEXTS, size=340, begins=True)
    assert beginning(begins) == (1,) and beginning(fine) == ()
    by_place = [a == b for text in TEXTS for a, b in zip(begins(text)["input_ids"], fine(text)["input_ids"], strict=False)]
    assert np.mean(by_place) < 0.2
    for pair in ((begins, fine), (fine, begins), (begins, begins)):
        report = align_self_test(*pair, TEXTS)
        assert report.passed and report.shared == 1 and report.unlike == 0, report
    assert align_self_test(begins, fine, TEXTS).beginnings == ((1,), ())


def test_pairs_that_cut_texts_differently_are_refused_with_the_share(fine, coarse):
    report = align_self_test(fine, coarse, TEXTS)
    assert not report.passed and ("positions begin" in report.reason or "next tokens differ" in report.reason) and 0 < report.unlike < 1
    with pytest.raises(LimbeckError, match="one tokenizer to the other") as caught:
        align(fine, coarse, TEXTS)
    assert "distill.soft" in caught.value.fix


def test_tokenizers_that_change_texts_are_refused(fine):
    lower = make([t.lower() for t in TEXTS], size=340, lower=True)
    assert "byte for byte" in align_self_test(fine, lower, ["The Cat"]).reason
    assert "byte for byte" in align_self_test(fine, make(TEXTS, size=120, kind="spaces"), TEXTS).reason  # it puts a space before the text
    assert "not bytes" in align_self_test(fine, make(TEXTS, size=120, kind="pieces"), TEXTS).reason


def test_no_texts_no_test(fine):
    with pytest.raises(LimbeckError, match="there are none"):
        align_self_test(fine, fine, ["", ""])


def test_the_likelihood_of_a_text_is_the_sum_of_its_spans(fine, coarse):
    pair, random = Alignment(fine, coarse), np.random.default_rng(0)
    for text in TEXTS:
        logp = np.log(random.uniform(1e-3, 1, len(pair.encode(text)[0])))
        assert pair.span_likelihoods(text, logp).sum() == pytest.approx(logp.sum(), abs=1e-9)
        with pytest.raises(LimbeckError, match="log-probabilities for"):
            pair.span_likelihoods(text, np.concatenate([[-1.0], logp]))  # one for a beginning token


def test_mass_goes_to_tokens_of_the_same_bytes_and_the_rest_stays_tail(fine, coarse):
    pair, random = Alignment(fine, coarse), np.random.default_rng(0)
    logits = random.normal(0, 2, (len(pair.encode(TEXTS[0])[0]), len(fine)))
    logp = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    positions, ids, found = pair.project(TEXTS[0], logp, len(coarse))
    starts = [s.teacher.start for s in pair.spans(TEXTS[0])]
    assert positions.tolist() == [s.student.start for s in pair.spans(TEXTS[0])]
    for row, start in enumerate(starts):
        got = {int(i): float(np.exp(v)) for i, v in zip(ids[row], found[row], strict=True) if v > -np.inf}  # places beyond its tokens are -inf
        for at, place in enumerate(pair.place_V):
            if place != TAIL:
                assert got[int(place)] == pytest.approx(np.exp(logp[start, at]), rel=1e-9)
        assert sum(got.values()) == pytest.approx(1 - np.exp(logp[start][pair.place_V == TAIL]).sum(), abs=1e-9)
    assert pair.place_V[1] == TAIL  # a special token is never text
    with pytest.raises(LimbeckError, match="spare rows"):
        pair.project(TEXTS[0], np.concatenate([logp, logp[:, :3]], 1), 4)


def test_the_error_of_a_projection_is_within_the_share_of_unlike_next_tokens(fine, coarse):
    """A world of a few continuations with known chances: the student's true first token against what is projected."""
    pair, random = Alignment(fine, coarse), np.random.default_rng(1)
    world = sorted({" " + w for w in WORDS})
    chance = random.dirichlet(np.ones(len(world)))
    teacher, truth, unlike = np.zeros(len(fine)), np.zeros(len(coarse)), 0.0
    for word, p in zip(world, chance, strict=True):
        theirs, ours = pair.encode(word)
        teacher[theirs[0]] += p
        truth[ours[0]] += p
        unlike += p * (pair._bytes[0][theirs[0]] != pair._bytes[1][ours[0]])
    with np.errstate(divide="ignore"):
        _, ids, logp = pair.project(world[0], np.log(np.tile(teacher, (len(pair.encode(world[0])[0]), 1))), len(coarse))
    projected = np.zeros(len(coarse))
    projected[ids[0]] = np.exp(logp[0])
    variation = np.abs(projected - truth).sum() / 2 + (1 - projected.sum()) / 2
    assert 0 < variation <= unlike + 1e-9 < 1
