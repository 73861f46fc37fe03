"""Copies named by kind: the same texts come back, the first number has one name wherever it stands, and an expert keeps its form."""

import random

import pytest

from limbeck import resolve
from limbeck.errors import LimbeckError
from limbeck.models.expert import build_network, build_shape, load_expert, save_expert
from limbeck.recipe.schema import StudentSection
from limbeck.records import Prompt
from limbeck.tasks.bash.codec import BashCodec
from limbeck.tasks.bash.everyday import make_everyday


def symbols(codec, text, answer):
    return [codec.symbols[s] for s in codec.encode_answer(Prompt(id="x", text=text), answer)]


def test_the_first_number_has_one_name_wherever_it_stands():
    typed = BashCodec(typed=True)
    assert "<number0>" in symbols(typed, "show the first 20 lines of a.txt", "head -n 20 a.txt")
    assert "<number0>" in symbols(typed, "of a.txt show the first lines, 20 of them", "head -n 20 a.txt")
    assert "<value0>" in symbols(typed, "show the first 20 lines of a.txt", "head -n 20 a.txt")


def test_both_forms_give_every_command_back_and_allow_it():
    draw, forms = random.Random(2), (BashCodec(), BashCodec(typed=True))
    for _ in range(200):
        request, command = make_everyday(draw)
        prompt = Prompt(id="x", text=request)
        for codec in forms:
            written = codec.encode_answer(prompt, command)
            assert codec.decode(prompt, written) == command
            assert all(codec.allowed(prompt, written[:at])[symbol] for at, symbol in enumerate(written))
            assert set(codec.encode(prompt).slot_S[1:]) == set(codec.slots_of(codec._read(request)))


def test_an_expert_keeps_its_form_and_other_weights_are_refused(tmp_path):
    typed, section = BashCodec(typed=True), StudentSection(width=32, heads=2, buckets=128, encoder_layers=1, decoder_layers=1)
    save_expert(tmp_path / "e", build_network(build_shape(section, typed)), typed, section)
    expert = resolve.get_expert(str(tmp_path / "e"), resolve.get_task("bash"))
    assert expert.codec.typed and expert.answer([Prompt(id="x", text="list 3 files")], k=1)
    with pytest.raises(LimbeckError, match="made for format"):
        load_expert(tmp_path / "e", BashCodec())


def test_a_task_whose_slots_are_typed_already_says_so():
    with pytest.raises(LimbeckError, match="typed as they are"):
        resolve.get_codec("cf", "typed")
