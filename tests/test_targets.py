"""A teacher's distributions on disk: few bytes, the same after a kill, bound to the tokens they speak of."""

import json

import numpy as np
import pytest
import torch

from limbeck.errors import LimbeckError
from limbeck.models.decoder import load_tokenizer
from limbeck.recipe.schema import DistillSection
from limbeck.run import Step
from limbeck.testing import make_tiny_model
from limbeck.train.capture import capture_targets, load_teacher
from limbeck.train.packing import NO_LABEL, Document, pack, render
from limbeck.train.targets import TargetStore, TargetWriter, encode_counts, encode_top

TEXTS = ["what is two plus two", "four is the answer that you seek", "name the capital of France", "Paris is the capital"]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = make_tiny_model(tmp_path_factory.mktemp("teacher"), TEXTS, seed=3)
    tokenizer = load_tokenizer(folder)
    records = [{"id": str(i), "text": TEXTS[i % 4], "context": {}, "answer": TEXTS[(i * 3 + 1) % 4]} for i in range(30)]
    return folder, tokenizer, pack([render(tokenizer, r) for r in records], 96, tokenizer.pad_token_id)


def capture(folder, tokenizer, packed, where, **section):
    return capture_targets(folder, packed, tokenizer, DistillSection(**section), Step(where, "targets", 0, {}))  # type: ignore[call-arg]


@pytest.mark.parametrize(("vocabulary", "draws", "width"), [(49_152, 50, 3), (151_936, 50, 3), (262_144, 50, 3), (262_144, 200, 4), (300, 1, 3)])
def test_counts_come_back_as_they_were(tmp_path, vocabulary, draws, width):
    random = np.random.default_rng(0)
    packed = pack([Document(list(range(3, 3 + n)), 1) for n in (5, 9, 2, 7)], 12, 0)
    pairs = [np.unique(random.integers(0, vocabulary, draws), return_counts=True) for _ in range(packed.labels)]
    lengths, codes = encode_counts([i for i, _ in pairs], [c for _, c in pairs], vocabulary, draws)
    writer = TargetWriter(tmp_path, {"kind": "sampled", "draws": draws, "vocabulary": vocabulary, "tokens_sha256": packed.sha256()})
    writer.append(len(packed), lengths, codes)
    assert len(codes) == width * lengths.sum()
    targets = TargetStore(tmp_path, packed, vocabulary).select(range(len(packed)))
    for (ids, counts), found, share in zip(pairs, targets.ids_NK, targets.value_NK, strict=True):
        assert found[: len(ids)].tolist() == ids.tolist() and torch.allclose(share[: len(ids)], torch.tensor(counts / draws, dtype=torch.float32)) and share.sum() == pytest.approx(1)


@pytest.mark.parametrize("vocabulary", [49_152, 151_936])
def test_top_tokens_come_back_as_they_were(tmp_path, vocabulary):
    packed = pack([Document([1, 2, 3, 4], 1)], 6, 0)
    logp = torch.randn(packed.labels, vocabulary).log_softmax(-1).topk(16)
    TargetWriter(tmp_path, {"kind": "top", "top": 16, "vocabulary": vocabulary, "tokens_sha256": packed.sha256()}).append(1, *encode_top(logp.indices.numpy(), logp.values.numpy(), vocabulary))
    targets = TargetStore(tmp_path, packed, vocabulary).select([0])
    assert torch.equal(targets.ids_NK, logp.indices) and torch.allclose(targets.value_NK, logp.values, atol=0.01)


def test_rows_are_found_in_any_order(given, tmp_path):
    folder, tokenizer, packed = given
    store = TargetStore(capture(folder, tokenizer, packed, tmp_path, soft="sampled", soft_draws=20), packed, len(tokenizer))
    whole, sizes = store.select(range(len(packed))), (packed.label != NO_LABEL).sum(1)
    start = int(sizes[:2].sum())
    some = store.select([2, 0])
    size = int(sizes[2])
    assert torch.equal((whole.value_NK[start : start + size] > 0).sum(1), (some.value_NK[:size] > 0).sum(1))
    width = min(whole.ids_NK.shape[1], some.ids_NK.shape[1])
    assert torch.equal(whole.ids_NK[start : start + size, :width], some.ids_NK[:size, :width]) and torch.equal(whole.ids_NK[: sizes[0], :width], some.ids_NK[size:, :width])


def test_what_is_stored_is_the_teachers_distribution(given, tmp_path):
    folder, tokenizer, packed = given
    top = TargetStore(capture(folder, tokenizer, packed, tmp_path / "top", soft="top", soft_top=5), packed, len(tokenizer)).select([1])
    drawn = TargetStore(capture(folder, tokenizer, packed, tmp_path / "drawn", soft="sampled", soft_draws=1000), packed, len(tokenizer)).select([1])
    teacher = load_teacher(folder)
    place = packed.segment[1] == 0  # the row's first document, read by itself
    ids = torch.from_numpy(packed.ids[1][place].astype(np.int64))[None]
    logp = teacher.model(ids).logits[0].log_softmax(-1)[torch.from_numpy(packed.label[1][place] != NO_LABEL)]
    count = len(logp)
    assert torch.allclose(top.value_NK[:count], logp.topk(5).values, atol=0.02)
    shares = torch.zeros_like(logp).scatter_add_(1, drawn.ids_NK[:count], drawn.value_NK[:count])
    spread = (logp.exp() * (1 - logp.exp()) / 1000).sqrt()
    assert float(((shares - logp.exp()) / spread).pow(2).mean()) == pytest.approx(1, abs=0.15)


def test_a_capture_that_was_cut_short_goes_on_to_the_same_bytes(given, tmp_path, monkeypatch):
    folder, tokenizer, packed = given
    whole = capture(folder, tokenizer, packed, tmp_path / "whole", soft="sampled", soft_draws=9)
    append = TargetWriter.append

    def stop(self, rows, lengths, codes):
        if self.rows >= 4:
            (self.folder / "codes.bin").write_bytes((self.folder / "codes.bin").read_bytes() + b"half")
            raise KeyboardInterrupt
        append(self, rows, lengths, codes)

    monkeypatch.setattr(TargetWriter, "append", stop)
    with pytest.raises(KeyboardInterrupt):
        capture(folder, tokenizer, packed, tmp_path / "cut", soft="sampled", soft_draws=9)
    monkeypatch.setattr(TargetWriter, "append", append)
    capture(folder, tokenizer, packed, tmp_path / "cut", soft="sampled", soft_draws=9)
    assert all((whole / name).read_bytes() == (tmp_path / "cut" / name).read_bytes() for name in ("codes.bin", "lengths.bin", "done.json"))


def test_a_store_opens_for_its_own_tokens_only(given, tmp_path):
    folder, tokenizer, packed = given
    store = capture(folder, tokenizer, packed, tmp_path, soft="top", soft_top=3)
    other = pack([Document([5, 6, 7, 8], 1)] * 20, 96, 0)
    with pytest.raises(LimbeckError, match="other tokens"):
        TargetStore(store, other, len(tokenizer))
    with pytest.raises(LimbeckError, match="tokens, the student"):
        TargetStore(store, packed, 999)
    done = json.loads((store / "done.json").read_text())
    (store / "codes.bin").write_bytes(b"")
    with pytest.raises((LimbeckError, ValueError)):
        TargetStore(store, packed, len(tokenizer))
    (store / "done.json").write_text(json.dumps(done | {"rows": 1}))
    with pytest.raises(LimbeckError, match="only 1 of"):
        TargetStore(store, packed, len(tokenizer))


def test_another_vocabulary_is_refused_before_anything_is_read(given, tmp_path):
    _, tokenizer, packed = given
    other = make_tiny_model(tmp_path / "other", ["zebra zebra quick brown fox"] * 3)
    with pytest.raises(LimbeckError, match="different vocabularies"):
        capture(other, tokenizer, packed, tmp_path / "store", soft="sampled")
