"""Infilling, editing, repair, ranking: what users ask of candidates, for all three students."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_models import FIXED, shape, toy, trained

from limbeck.errors import LimbeckError
from limbeck.models.batch import collate_sources
from limbeck.models.expert import Expert, build_network, load_expert, read_config, save_expert
from limbeck.models.holes import find_beginning, fixed_parts, holds, readable
from limbeck.models.infill import FREE, Wish, lay_wishes, middle_lengths
from limbeck.models.ranking import by_bayes_risk, distinct_outcomes, edit_similarity, near_snippet
from limbeck.recipe.schema import StudentSection
from limbeck.records import Candidate, Check, Prompt

torch.set_num_threads(1)


class ToyCodec:
    """`f(w3)`: a function of three and a pointer to a word, as tests/test_models.py has it."""

    name = "toy"
    symbols = ("<pad>", "<bos>", "<eos>", "f", "g", "h", "x", "y", *(f"w{n}" for n in range(16)))
    fixed_symbols, target_length, kinds, flags, positions = FIXED, 6, 3, 2, 24

    def __init__(self, sources):
        self.sources = sources

    def settings(self):
        return {"name": self.name}

    def encode(self, prompt):
        return self.sources[int(prompt.id)]

    def encode_answer(self, prompt, text):
        found = re.fullmatch(r"([fgh])\((w\d+)\)", text.replace(" ", ""))
        return [self.symbols.index(found[1]), self.symbols.index(found[2]), 2] if found and found[2] in self.symbols else None

    def decode(self, prompt, symbols):
        said = [self.symbols[s] for s in symbols]
        return f"{said[0]}({said[1]})" if len(said) == 2 and said[0] in "fgh" and said[1][0] == "w" else None

    def allowed(self, prompt, prefix):
        out = np.zeros(len(self.symbols), bool)
        out[[range(3, 6), range(FIXED, FIXED + len(self.encode(prompt).kind_S)), [2]][min(2, len(prefix))]] = True
        return out


@pytest.fixture(scope="module", params=[("autoregressive", 60), ("masked", 200), ("codefusion", 300)])
def expert(request):
    network, _, targets, _ = trained(*request.param)
    codec = ToyCodec(toy()[0])
    codec.golds = [codec.decode(None, t[:-1]) for t in targets]
    return Expert("toy", network, codec, beams=4, check=lambda p, text: Check(ok=True, outcome=text[0]))


def prompts(count=12):
    return [Prompt(id=str(n), text="f of w1") for n in range(count)]


def test_a_given_beginning_is_kept_even_where_the_student_would_not_say_it(expert):
    for prompt, gold in list(zip(prompts(), expert.codec.golds, strict=True))[:6]:
        for function in "fgh":
            answer = expert.infill(prompt, f"{function}(", k=2)
            assert answer.candidates and all(c.text.startswith(f"{function}(") for c in answer.candidates)
        assert expert.infill(prompt, gold[:2]).candidates[0].text == gold


def test_a_given_end_is_kept_or_refused(expert):
    if expert.network.shape.kind == "autoregressive":
        with pytest.raises(LimbeckError, match="left to right"):
            expert.infill(prompts()[0], "f(", "w1)")
        return
    for prompt, gold in list(zip(prompts(), expert.codec.golds, strict=True))[:6]:
        assert expert.infill(prompt, "", gold[2:]).candidates[0].text == gold
        assert all(c.text.endswith("w1)") for c in expert.infill(prompt, "g(", "w1)", k=3).candidates)


def test_a_snippet_is_mended_and_a_small_strength_keeps_it(expert):
    mended = 0
    for prompt, gold in zip(prompts(), expert.codec.golds, strict=True):
        wrong = ("g" if gold[0] == "f" else "f") + gold[1:]
        mended += expert.edit(prompt, wrong, strength=0.6).candidates[0].text == gold
        assert expert.edit(prompt, gold[:-1], strength=0.5).candidates[0].text == gold  # a bracket is missing
    assert mended >= 9
    assert expert.edit(prompts()[0], expert.codec.golds[0], strength=0.01).candidates[0].text == expert.codec.golds[0]
    with pytest.raises(LimbeckError, match="strength"):
        expert.edit(prompts()[0], "f(w1)", strength=0.0)
    with pytest.raises(LimbeckError, match="nothing of the snippet"):
        expert.edit(prompts()[0], "???")


def test_what_cannot_stand_in_an_answer_is_told_of(expert):
    with pytest.raises(LimbeckError, match="beginning and end"):
        expert.infill(prompts()[0], "q(")


def test_candidates_that_do_the_same_are_one_answer_where_asked(expert):
    expert.sampling = {"distinct": "outcome"}
    texts = [c.text for c in expert.answer(prompts(1), k=4)[0].candidates]
    expert.sampling = {}
    assert len({t[0] for t in texts}) == len(texts)


def test_bayes_risk_prefers_the_middle_of_the_crowd():
    crowd = [Candidate(text=t, score=s) for t, s in (("a b c d", -1.0), ("x y z", -0.9), ("a b c e", -1.1), ("a b c f", -1.2))]
    ranked = by_bayes_risk(crowd)
    assert ranked[0].text == "a b c d" and ranked[-1].text == "x y z" and 0 < ranked[0].score < 1
    assert edit_similarity("f(a, b)", "f(a, c)") == pytest.approx(5 / 6) and edit_similarity("", "") == 1.0
    kept = distinct_outcomes(prompts(1)[0], crowd, lambda _, text: Check(ok=True, outcome=text[0]))
    assert [c.text for c in kept] == ["a b c d", "x y z"]


def test_an_edit_costs_the_log_odds_of_its_strength():
    candidates = [Candidate(text="far", score=-1.0, meta={"symbols": [1, 2, 3]}), Candidate(text="near", score=-2.0, meta={"symbols": [7, 8, 9]})]
    assert [c.text for c in near_snippet(candidates, [7, 8, 9], 0.1)] == ["near", "far"]
    assert near_snippet(candidates, [7, 8, 9], 0.1)[1].score == pytest.approx(-1.0 - 3 * math.log(9))
    assert [c.text for c in near_snippet(candidates, [7, 8, 9], 0.5)] == ["far", "near"]


@pytest.mark.parametrize("kind", ["masked", "codefusion"])
def test_a_draw_that_is_no_answer_is_made_again(kind):
    """Nothing is valid: every draw is made again once, and what could not be mended is still there."""
    torch.manual_seed(1)
    network, batch, _, _ = trained(kind, 60)
    seen = []

    def valid(row, symbols):
        seen.append(row)
        return len(symbols) == 2

    plain = network.generate(batch.source, k=3, allowed=None)
    mended = network.generate(batch.source, k=3, allowed=None, repair=0.5, valid=valid)
    assert seen and len(mended) == len(plain)
    whole = [sum(len(r.symbols) == 2 for row in found for r in row[:1]) for found in (plain, mended)]
    assert whole[1] >= whole[0]
    alone = network.generate(batch.source.select(torch.tensor([0])), k=3, allowed=None, repair=0.5, valid=valid)
    assert [r.symbols for r in alone[0]] == [r.symbols for r in mended[0]]


def test_a_layout_leaves_different_room_for_the_middle():
    layout = lay_wishes([Wish(prefix=(3,), suffix=(9, 10)), Wish(prefix=(4, 5))], 3, 6)
    assert layout.fixed_RL[0].tolist() == [3, 9, 10, 2, 0, 0] and layout.fixed_RL[2].tolist() == [3, FREE, FREE, 9, 10, 2]
    assert layout.fixed_RL[3].tolist() == [4, 5, FREE, FREE, FREE, FREE] and layout.used_R.tolist() == [4, 5, 6, 0, 0, 0]
    assert layout.endless_RL[2].tolist() == [True] * 5 + [False]
    assert middle_lengths(2, 4) == [0, 1, 2, 0] and middle_lengths(100, 5) == sorted(set(middle_lengths(100, 5)))
    logp = layout.constrain(np.zeros((6, 12), np.float32), 2)
    assert (logp[1] > -1e8).sum() == 10 and (logp[3] > -1e8).nonzero()[0].tolist() == [9]


def test_beginnings_are_read_by_filling_the_hole_or_symbol_by_symbol():
    codec, prompt = ToyCodec(toy()[0]), prompts(1)[0]
    assert fixed_parts(codec, prompt, "f(", ")", ["w1", "w2", "nonsense"]) == ([3], [])
    assert fixed_parts(codec, prompt, "f(", "", ["nonsense"]) == ([3], [])  # by the grammar
    assert fixed_parts(codec, prompt, "", "w2)", ["f(", "g("]) == ([], [FIXED + 2])
    assert find_beginning(codec, prompt, "g(w2") == [4, FIXED + 2] and find_beginning(codec, prompt, "q(") == []
    assert readable(codec, prompt, "h(w1", []) == [5, FIXED + 1]
    assert holds("f( w1 )", "f(", "1)") and not holds("f(w1)", "g", "")


def test_an_expert_says_its_size_with_and_without_embeddings(tmp_path):
    codec = ToyCodec(toy()[0])
    for kind in ("autoregressive", "masked", "codefusion"):
        network = build_network(replace(shape(kind), extra={"denoiser_layers": 1}))
        save_expert(tmp_path / kind, network, codec, StudentSection(kind=kind))
        config, loaded = read_config(tmp_path / kind), load_expert(tmp_path / kind, codec)
        assert config["parameters"] == loaded.parameters > config["parameters_without_embeddings"] == loaded.parameters_without_embeddings > 0
        assert loaded.network.generate(collate_sources(codec.sources[:1]), k=1, allowed=None)
