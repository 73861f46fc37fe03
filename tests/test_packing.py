"""Records as rows of tokens: nothing lost, nothing seen across documents, the same prompt when learning and when asked."""

import numpy as np
import pytest
import torch

from limbeck.errors import LimbeckError
from limbeck.models.decoder import build_decoder, load_tokenizer
from limbeck.recipe.schema import StudentSection
from limbeck.records import Prompt
from limbeck.testing import make_tiny_model
from limbeck.train.packing import NO_LABEL, Document, PackedBatches, make_packed_batch, pack, render

TEXTS = ["what is two plus two", "four", "name the capital of France", "Paris is the capital"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("tiny"), TEXTS)


def record(text, answer, **context):
    return {"id": text, "text": text, "context": context, "answer": answer}


def test_every_document_is_whole_in_one_row_and_rows_are_nearly_full():
    random = np.random.default_rng(0)
    documents = [Document(list(random.integers(3, 99, size)), 1) for size in random.integers(3, 60, 400)]
    packed = pack(documents, 64, 0)
    found = sorted(tuple(ids[segment == s]) for ids, segment in zip(packed.ids, packed.segment, strict=True) for s in range(segment.max() + 1))
    assert found == sorted(tuple(d.ids) for d in documents)
    assert packed.fill > 0.95 and packed.labels == sum(len(d.ids) - 1 for d in documents)
    assert packed.longest_answer == max(len(d.ids) for d in documents) - 1


def test_a_label_is_the_next_token_of_the_same_document():
    packed = pack([Document([5, 6, 7], 1), Document([8, 9, 10, 11], 3)], 8, 0)
    assert packed.ids[0].tolist() == [8, 9, 10, 11, 5, 6, 7, 0]
    assert packed.label[0].tolist() == [NO_LABEL, NO_LABEL, 11, NO_LABEL, 6, 7, NO_LABEL, NO_LABEL]
    assert packed.position[0].tolist() == [0, 1, 2, 3, 0, 1, 2, 0]


def test_what_is_longer_than_a_row_is_refused_and_counted():
    packed = pack([Document(list(range(9)), 1), Document([1, 2], 1)], 8, 0)
    assert len(packed) == 1 and int(packed.refused) == 1


def test_the_request_is_tokenised_as_it_will_be_asked(folder):
    from limbeck.teachers.local import LocalModel

    tokenizer, asked = load_tokenizer(folder), record(TEXTS[0], TEXTS[1])
    document = render(tokenizer, asked)
    prompt = tokenizer(LocalModel(folder)._text(Prompt(id="1", text=TEXTS[0])), add_special_tokens=False)["input_ids"]
    assert document.ids[: document.learnt] == prompt
    assert document.ids[-1] == tokenizer.eos_token_id and tokenizer.decode(document.ids[document.learnt : -1]) == TEXTS[1]


def test_whole_learns_the_request_too_and_a_document_has_none(folder):
    tokenizer = load_tokenizer(folder)
    assert render(tokenizer, record(TEXTS[0], TEXTS[1]), whole=True).learnt == 1
    plain = render(tokenizer, record("", TEXTS[3]))
    assert plain.learnt == 1 and plain.ids[0] == tokenizer.bos_token_id and tokenizer.decode(plain.ids[1:-1]) == TEXTS[3]


def test_a_template_that_rewrites_the_request_is_refused(folder):
    tokenizer = load_tokenizer(folder)
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}{{ messages | length }}: {{ m['content'] }}{% endfor %}"
    with pytest.raises(LimbeckError, match="never learnt"):
        render(tokenizer, record("a", "b"))


def test_no_document_sees_another_of_its_row(folder):
    tokenizer = load_tokenizer(folder)
    documents = [render(tokenizer, record(TEXTS[i], TEXTS[j])) for i, j in ((0, 1), (2, 3), (2, 1))]
    packed = pack(documents, 128, tokenizer.pad_token_id)
    assert len(packed) == 1
    network = build_decoder(StudentSection(kind="decoder"), folder, len(tokenizer), tokenizer.eos_token_id).eval()
    batch = make_packed_batch(packed, [0])
    with torch.no_grad():
        together = network.states(batch.ids_BL, batch.position_BL)[0]
        for number in range(3):
            place = torch.from_numpy(packed.segment[0, : together.shape[0]] == number)
            ids = batch.ids_BL[:, place]
            alone = network.states(ids, torch.arange(ids.shape[1])[None])[0]
            assert torch.allclose(together[place], alone, atol=1e-5)


def test_the_stream_of_rows_is_a_function_of_seed_and_step():
    packed = pack([Document([i, i + 1, i + 2], 1) for i in range(40)], 6, 0)
    first, second = PackedBatches(packed, 4, 1), PackedBatches(packed, 4, 1)
    wanted = [first(step).row_B.tolist() for step in range(12)]
    assert second(7).row_B.tolist() == wanted[7] and second(2).row_B.tolist() == wanted[2]
    assert sorted(row for rows in wanted[:5] for row in rows) == list(range(20))
    assert PackedBatches(packed, 4, 2)(0).row_B.tolist() != wanted[0]
