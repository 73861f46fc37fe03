"""A teacher of another tokenizer: the same distributions under other numbers, nothing where it says nothing, nothing at all untested."""

import json

import pytest
import torch

from limbeck.errors import LimbeckError
from limbeck.models.decoder import load_tokenizer
from limbeck.recipe.load import load_recipe
from limbeck.recipe.schema import DistillSection
from limbeck.run import Step
from limbeck.teachers.alignment import Alignment
from limbeck.testing import make_tiny_model
from limbeck.train.capture import capture_targets
from limbeck.train.capture_aligned import Aligned, by_tokens, check_spelt
from limbeck.train.divergence import Targets, cross_entropy, divergence_loss
from limbeck.train.packing import pack, render
from limbeck.train.targets import TargetStore

TEXTS = ["what is two plus two", "four is the answer that you seek", "name the capital of France", "Paris is the capital"]


def renumbered(folder, to):
    """The same tokenizer with its first two tokens at the end: every number differs, every cut is the same."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    plain = load_tokenizer(folder)
    described = json.loads(plain.backend_tokenizer.to_str())
    size = len(plain)
    move = lambda at: (at - 2) % size  # noqa: E731
    described["model"]["vocab"] = {token: move(at) for token, at in described["model"]["vocab"].items()}
    described["added_tokens"] = [{**token, "id": move(token["id"])} for token in described["added_tokens"]]
    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(described)), eos_token="<end>", bos_token="<start>", pad_token="<end>")
    other.chat_template = plain.chat_template
    other.save_pretrained(to)
    return load_tokenizer(str(to))


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = make_tiny_model(tmp_path_factory.mktemp("teacher"), TEXTS, seed=3)
    records = [{"id": str(i), "text": TEXTS[i % 4], "context": {}, "answer": TEXTS[(i * 3 + 1) % 4]} for i in range(12)]
    return folder, load_tokenizer(folder), records


def packed_for(tokenizer, records):
    return pack([render(tokenizer, r) for r in records], 96, tokenizer.pad_token_id)


def capture(folder, packed, tokenizer, where, aligned=None, k=6):
    return TargetStore(capture_targets(folder, packed, tokenizer, DistillSection(soft="top", soft_top=k), Step(where, "targets", 0, {}), None, aligned), packed, len(tokenizer)).select(range(len(packed)))  # type: ignore[call-arg]


def test_other_numbers_for_the_same_tokens_change_nothing_but_the_numbers(given, tmp_path):
    folder, theirs, records = given
    ours = renumbered(folder, tmp_path / "ours")
    assert ours("two")["input_ids"] != theirs("two")["input_ids"]
    pair = Alignment(theirs, ours)
    plain = capture(folder, packed_for(theirs, records), theirs, tmp_path / "plain")
    carried = capture(folder, packed_for(ours, records), ours, tmp_path / "carried", Aligned(pair, theirs, by_tokens(records, ours)))
    assert carried.has_word.all()
    same = 0
    for ids, values, moved, found in zip(plain.ids_NK, plain.value_NK, carried.ids_NK, carried.value_NK, strict=True):
        if (torch.from_numpy(pair.place_V)[ids] >= 0).all():  # a start of text is nothing that a student of other numbers could say
            same += 1
            expected = dict(zip(pair.place_V[ids.numpy()].tolist(), values.tolist(), strict=True))
            told = dict(zip(moved.tolist(), found.tolist(), strict=True))
            level = [i for i in {*expected, *told} if i not in expected or i not in told]  # the last of the top may be level with one that is not among them
            assert len(level) <= 2 and all(abs(expected[i] - told[i]) < 2e-2 for i in expected.keys() & told.keys())
            assert torch.allclose(values, found, atol=2e-2)
    assert same > 0.5 * len(plain.ids_NK)


def test_places_inside_a_token_of_the_teachers_have_no_target(given, tmp_path):
    folder, theirs, records = given
    ours = load_tokenizer(make_tiny_model(tmp_path / "coarse", ["qu"], seed=1, vocabulary=259))  # bytes, nearly
    pair = Alignment(theirs, ours)
    packed = packed_for(ours, records)
    targets = capture(folder, packed, ours, tmp_path / "targets", Aligned(pair, theirs, by_tokens(records, ours)))
    expected = sum(len(pair.spans(r["answer"])) + 1 for r in records)  # and where the answer ends
    assert int(targets.has_word.sum()) == expected < packed.labels
    said = targets.value_NK[targets.has_word].exp().sum(1)
    assert (said <= 1 + 1e-2).all() and (said > 0).all()


@pytest.mark.parametrize(("tail", "heat"), [("bucket", 1.0), ("bucket", 2.0), ("uniform", 1.0)])
def test_a_place_without_a_word_is_learnt_from_its_label_alone(tail, heat):
    torch.manual_seed(0)
    states, head, label = torch.randn(7, 4, requires_grad=True), torch.randn(11, 4, requires_grad=True), torch.randint(0, 11, (7,))
    top = torch.randn(7, 11).log_softmax(-1).topk(3)
    value = top.values.clone()
    silent = torch.tensor([1, 4])
    value[silent] = -torch.inf
    spoken = torch.tensor([0, 2, 3, 5, 6])
    loss, _ = divergence_loss(states, head, Targets("top", top.indices, value), label, soft_weight=0.7, temperature=heat, tail=tail, chunk_tokens=3)
    apart = divergence_loss(states[spoken], head, Targets("top", top.indices[spoken], value[spoken]), label[spoken], soft_weight=0.7, temperature=heat, tail=tail)[0] * 5 + cross_entropy(states[silent], head, label[silent]) * 2
    assert float(loss.detach()) == pytest.approx(float(apart.detach()) / 7, rel=1e-5)
    for got, wanted in zip(torch.autograd.grad(loss, (states, head)), torch.autograd.grad(apart / 7, (states, head)), strict=True):
        assert torch.isfinite(got).all() and torch.allclose(got, wanted, atol=1e-6)


def test_a_row_of_records_that_are_spelt_differently_is_refused():
    check_spelt(10, 9, "hf:teacher")
    with pytest.raises(LimbeckError, match="only 7 of 10 answers are spelt alike"):
        check_spelt(10, 7, "hf:teacher")


@pytest.mark.slow
@pytest.mark.parametrize(("vocabulary", "passes"), [("renumbered", True), ("coarse", False)])
def test_the_line_carries_distributions_only_between_tokenizers_that_passed(tmp_path, given, vocabulary, passes, capsys):
    from limbeck.make import make

    texts = tmp_path / "texts"
    texts.mkdir()
    for at in range(60):
        (texts / f"{at}.txt").write_text("\n\n".join(" ".join(TEXTS[(at + i) % 4] for i in range(5)) for _ in range(3)))
    folder = make_tiny_model(tmp_path / "teacher", TEXTS, seed=3)
    if passes:
        renumbered(folder, tmp_path / "ours")
    else:
        make_tiny_model(tmp_path / "ours", ["qu"], seed=1, vocabulary=259)
    recipe = tmp_path / "r.toml"
    recipe.write_text(f"""
[recipe]
name = "aligned"
task = "text:{texts}"
[teacher]
model = "hf:{folder}"
terms = "apache-2.0"
[distill]
split = "train"
licence = "own"
prompts = 30
soft = "top"
soft_top = 6
align = true
[keep]
contamination = "off"
[student]
kind = "decoder"
tokenizer = "hf:{tmp_path}/ours"
width = 16
decoder_layers = 1
heads = 2
length = 512
[train]
steps = 4
batch = 2
[evaluate]
splits = ["test"]
k = 1
baselines = []
""")
    notes = []
    run = lambda: make(load_recipe(str(recipe)), tmp_path / "run", lambda kind, facts: notes.append((kind, facts)), until="train")  # noqa: E731
    if passes:
        run()
        report = json.loads(next((tmp_path / "run" / "targets").rglob("alignment.json")).read_text())
        assert report["passed"] and report["shared"] == 1 and any("two tokenizers" in str(facts.get("text")) for _, facts in notes)
        assert (tmp_path / "run" / "expert" / "config.json").exists()
    else:
        with pytest.raises(LimbeckError, match="cannot be carried"):
            run()


@pytest.mark.parametrize("soft", ["sampled", "off"])
def test_draws_are_not_carried(tmp_path, soft):
    from limbeck.teaching import check_recipe

    recipe = load_recipe("text", [f"distill.soft={soft}", "distill.align=true"])
    with pytest.raises(LimbeckError, match="another tokenizer"):
        check_recipe(recipe, ["decoder"])
