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
from limbeck.train.packing import NO_LABEL, Document, Packed, pack, render
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
    logp = teacher.model(ids).logits[0].float().log_softmax(-1)[torch.from_numpy(packed.label[1][place] != NO_LABEL)]
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
    with pytest.raises(LimbeckError, match="other sizes"):
        TargetStore(store, packed, len(tokenizer))
    (store / "done.json").write_text(json.dumps(done | {"rows": 1}))
    with pytest.raises(LimbeckError, match="only 1 of"):
        TargetStore(store, packed, len(tokenizer))


def test_another_vocabulary_is_refused_before_anything_is_read(given, tmp_path):
    _, tokenizer, packed = given
    other = make_tiny_model(tmp_path / "other", ["zebra zebra quick brown fox"] * 3)
    with pytest.raises(LimbeckError, match="different vocabularies"):
        capture(other, tokenizer, packed, tmp_path / "store", soft="sampled")


def write(folder, packed, vocabulary=40, draws=6, rows=None):
    """A store of random counts, row by row, and what was stored of each position."""
    random = np.random.default_rng(1)
    pairs = [np.unique(random.integers(0, vocabulary, draws), return_counts=True) for _ in range(packed.labels)]
    writer, at = TargetWriter(folder, {"kind": "sampled", "draws": draws, "vocabulary": vocabulary, "tokens_sha256": packed.sha256()}), 0
    for size in (packed.label != NO_LABEL).sum(1)[:rows]:
        part = pairs[at : at + size]
        at += size
        lengths, codes = encode_counts([i for i, _ in part], [c for _, c in part], vocabulary, draws) if len(part) else (np.zeros(0, np.uint8), b"")
        writer.append(1, lengths, codes)
    return pairs


def with_bare_rows(*bare):
    """Packed rows, of which some have no label at all."""
    packed = pack([Document(list(range(3, 3 + n)), 1) for n in (9, 8, 7, 6, 5)], 10, 0)
    label = packed.label.copy()
    label[list(bare)] = NO_LABEL
    return Packed(packed.ids, packed.segment, packed.position, label, packed.refused)


@pytest.mark.parametrize("bare", [(), (0,), (4,), (3, 4), (1, 2), (0, 1, 2, 3, 4)])
@pytest.mark.parametrize("draws", [6, 300])
def test_rows_without_labels_shift_nothing(tmp_path, bare, draws):
    packed = with_bare_rows(*bare)
    pairs = write(tmp_path, packed, draws=draws)
    store, at = TargetStore(tmp_path, packed, 40), 0
    for row, size in enumerate((packed.label != NO_LABEL).sum(1)):
        targets = store.select([row])
        assert len(targets.ids_NK) == size and (row not in bare or not size)
        for (ids, counts), found, share in zip(pairs[at : at + size], targets.ids_NK, targets.value_NK, strict=True):
            assert found[: len(ids)].tolist() == ids.tolist() and torch.allclose(share[: len(ids)], torch.tensor(counts / draws, dtype=torch.float32))
        at += size
    assert len(store.select(range(5)).ids_NK) == packed.labels == at


def test_rows_without_labels_are_captured_and_one_token_answers_too(given, tmp_path):
    folder, tokenizer, _ = given
    documents = [Document([5, 6, 7, 8], 4), Document([5, 6, 7, 8], 3), Document([9, 4], 1), Document([8] * 5, 5)]  # learnt from: none, one, one, none
    packed = pack(documents, 5, 0)
    assert packed.labels == 2 and (packed.label != NO_LABEL).sum(1).min() == 0
    for soft in ("sampled", "top"):
        store = TargetStore(capture(folder, tokenizer, packed, tmp_path / soft, soft=soft, soft_draws=7, soft_top=3), packed, len(tokenizer))
        assert [len(store.select([row]).ids_NK) for row in range(len(packed))] == (packed.label != NO_LABEL).sum(1).tolist()
        assert len(store.select(range(len(packed))).ids_NK) == 2


def test_as_many_top_tokens_are_stored_as_a_byte_counts(given, tmp_path):
    folder, tokenizer, packed = given
    targets = TargetStore(capture(folder, tokenizer, packed, tmp_path, soft="top", soft_top=255), packed, len(tokenizer)).select([0, 1])
    mass = targets.value_NK.exp().sum(1)
    assert targets.ids_NK.shape[1] == 255 < len(tokenizer) and bool(((mass > 0.5) & (mass < 1)).all())
    assert all(len(set(ids.tolist())) == 255 for ids in targets.ids_NK)
    with pytest.raises(LimbeckError, match="at most 255"):
        capture(folder, tokenizer, packed, tmp_path / "more", soft="top", soft_top=300)


def test_a_capture_that_did_not_end_is_told(tmp_path):
    packed = with_bare_rows()
    write(tmp_path, packed, rows=3)
    with pytest.raises(LimbeckError, match="only 3 of 5 rows"):
        TargetStore(tmp_path, packed, 40)
    (tmp_path / "done.json").unlink()
    with pytest.raises(LimbeckError, match="only 0 of 5 rows"):
        TargetStore(tmp_path, packed, 40)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def lengthen(path):
    path.write_bytes(path.read_bytes() + b"x")


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(bytes(content))


def swap(path):
    content = path.read_bytes()
    path.write_bytes(content[1:] + content[:1])


@pytest.mark.parametrize("name", ["codes.bin", "lengths.bin"])
@pytest.mark.parametrize("damage", [cut, lengthen, flip, swap, lambda path: path.write_bytes(b""), lambda path: path.unlink()])
def test_a_damaged_store_is_an_error_and_not_another_distribution(tmp_path, name, damage):
    packed = with_bare_rows(4)
    write(tmp_path, packed)
    damage(tmp_path / name)
    with pytest.raises(LimbeckError, match="damaged") as caught:
        TargetStore(tmp_path, packed, 40)
    assert "delete the targets step" in str(caught.value)


@pytest.mark.parametrize("name", ["codes.bin", "lengths.bin"])
@pytest.mark.parametrize("damage", [cut, flip])
def test_a_capture_does_not_go_on_from_a_damaged_store(tmp_path, name, damage):
    packed = with_bare_rows()
    write(tmp_path, packed, rows=3)
    damage(tmp_path / name)
    with pytest.raises(LimbeckError, match="damaged"):
        TargetWriter(tmp_path, {"kind": "sampled", "draws": 6, "vocabulary": 40, "tokens_sha256": packed.sha256()})


@pytest.mark.parametrize(("name", "content"), [("done.json", "{"), ("done.json", "[]"), ("done.json", '{"rows": 5}'), ("header.json", "no"), ("header.json", "[]"), ("header.json", "{}"), ("header.json", '{"format": 1, "kind": "sampled", "vocabulary": 40, "tokens_sha256": ""}')])
def test_broken_notes_of_a_store_are_told(tmp_path, name, content):
    packed = with_bare_rows()
    write(tmp_path, packed)
    (tmp_path / name).write_text(content)
    with pytest.raises(LimbeckError, match=r"damaged|no store that this version reads"):
        TargetStore(tmp_path, packed, 40)


def test_a_store_without_checksums_is_checked_where_it_is_read(tmp_path):
    packed = with_bare_rows()
    write(tmp_path, packed)
    done = json.loads((tmp_path / "done.json").read_text())
    del done["crc32"]
    (tmp_path / "done.json").write_text(json.dumps(done))
    assert len(TargetStore(tmp_path, packed, 40).select([0]).ids_NK) == 8
    (tmp_path / "codes.bin").write_bytes(b"\xff" * (tmp_path / "codes.bin").stat().st_size)
    with pytest.raises(LimbeckError, match="no distribution over the vocabulary"):
        TargetStore(tmp_path, packed, 40).select([0])


def test_the_same_records_packed_otherwise_are_other_tokens(tmp_path):
    documents = [Document(list(range(3, 3 + n)), 1) for n in (9, 8, 7, 6, 5)]
    packed = pack(documents, 20, 0)
    write(tmp_path, packed)
    for other in (pack(documents, 24, 0), pack([Document(d.ids, 2) for d in documents], 20, 0)):  # longer rows; other labels
        with pytest.raises(LimbeckError, match="packed in another way"):
            TargetStore(tmp_path, other, 40)
    assert TargetStore(tmp_path, pack(documents, 20, 0), 40).header["draws"] == 6
