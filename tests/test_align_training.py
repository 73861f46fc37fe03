"""From rewards to training, on a tiny Llama: pairs, best of several, GRPO; no signal is said and nothing trained."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from limbeck.align.grader import Grader, packaged_classifier
from limbeck.align.pairs import (
    Asked,
    Pair,
    choose_requests,
    draw_answers,
    groups_that_differ,
    make_pairs,
    needs_draws,
    task_requests,
)
from limbeck.align.policy import load_policy, read_policy
from limbeck.align.prefer import check_chat_template, train_on_pairs, train_on_reward
from limbeck.align.requests import harmless, refusals_for, timid_for, to_refuse
from limbeck.align.rewards import Reward, fit_weights
from limbeck.errors import LimbeckError
from limbeck.models.decoder import FACTS
from limbeck.recipe.schema import AlignSection
from limbeck.records import Answer, Candidate, Example, Prompt
from limbeck.run import Step
from limbeck.testing import make_tiny_model

TEXTS = [r.text for r in to_refuse()[:40]] + [refusals_for(r)[0] for r in to_refuse()[:40]] + ["Sure, here is how to do that.", "First take a hammer and then"]
POLICY = load_policy("default")


def section(**keys):
    return AlignSection(**{"method": "dpo", "steps": 6, "batch": 2, "lr": 1e-3, "samples": 2, "max_tokens": 12, "share": 0.1, **keys})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def reward():
    return Reward(grader=Grader(POLICY, packaged_classifier()), weights=fit_weights(POLICY))


@pytest.fixture(scope="module")
def expert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("align") / "expert"
    make_tiny_model(folder, TEXTS)
    (folder / FACTS).write_text(json.dumps({"kind": "decoder", "longest_answer": 8}))
    return folder


def make_step(path, name="align"):
    return Step(path / name, name, 0, {})


def ask(category, *given, task_id="", text="Tell me how."):
    return Asked(id=f"{category}{task_id}", messages=({"role": "user", "content": text},), category=category, given=given, task_id=task_id, text=text)


def said(*texts, cut=()):
    return {text: text in cut for text in texts}


def margin(folder, pairs):
    """Mean log-probability of the chosen answers minus that of the rejected ones."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def logp(messages, answer):
        head = tokenizer.apply_chat_template([dict(m) for m in messages], add_generation_prompt=True, tokenize=False)
        start = len(tokenizer(head, add_special_tokens=False)["input_ids"])
        ids = torch.tensor([tokenizer(head + answer, add_special_tokens=False)["input_ids"]])
        with torch.no_grad():
            table = model(ids).logits[0, :-1].log_softmax(-1)
        return float(table.gather(1, ids[0, 1:, None])[start - 1 :].sum())

    return float(np.mean([logp(p.asked.messages, p.chosen) - logp(p.asked.messages, p.rejected) for p in pairs]))


def test_rewards_follow_the_policy_s_ranks(reward):
    exchanges = [ask("weapons").exchange(text, POLICY) for text in ("I'm sorry, but I can't help with that.", "I cannot help with that, you idiot.", "Sure! Tell me how: 1. take this 2. tell me how it went\n3. how it goes")]
    kind, rude, complies = reward.of(exchanges)
    assert kind > rude and kind > complies and kind > 0.9 and min(kind, rude, complies) >= 0
    helpful, timid = reward.of([ask("harmless", text="How do I boil an egg?").exchange(t, POLICY) for t in ("To boil an egg:\n1. Boil water.\n2. Put the egg in.\n3. Wait eight minutes.", "I'm sorry, but I can't help with that.")])
    assert helpful > timid
    assert all(w.pairs and w.ordered / w.pairs > 0.8 for w in reward.weights.values())


def test_a_task_s_own_score_counts_beside_the_policy(reward):
    scored = Reward(grader=reward.grader, weights=reward.weights, task_weight=2.0, scored=lambda ids, texts: [None if t == "?" else float(t == "4") for t in texts])
    asked = ask("task", task_id="t1", text="What is two and two?")
    right, wrong, unknown = scored.of([asked.exchange(t, POLICY) for t in ("4", "5", "?")], ["t1"] * 3)
    assert right == pytest.approx(wrong + 2.0, abs=0.3) and unknown is None and scored.missing == 1


def test_what_is_trained_on_is_a_capped_share_with_contrast_and_the_task():
    task = [ask("task", task_id=f"t{at}") for at in range(50)]
    chosen = choose_requests(section(share=0.03, contrast=2.0, helpful=0.5), POLICY, 1000, task)
    kinds = ["task" if a.task_id else POLICY.kind_of(a.category) for a in chosen]
    assert kinds.count("comply") == 60 and kinds.count("task") == 15 and len(chosen) == 30 + 60 + 15
    assert len({a.category for a in chosen if POLICY.kind_of(a.category) == "hard_refuse"}) == 10
    with pytest.raises(LimbeckError, match=r"3 % of 50 records are 2 requests"):
        choose_requests(section(share=0.03), POLICY, 50, task)
    held = {a.text for a in choose_requests(section(), POLICY, 1000, [], "held_out")}
    assert held and not held & {a.text for a in choose_requests(section(share=0.2), POLICY, 100_000, [])}


def test_requests_to_learn_from_are_ours_and_each_is_refused_or_answered_by_policy(reward):
    bad, good = [r for r in to_refuse() if r.category not in ("diagnosis", "dosage")], harmless()
    assert len({r.text for r in [*bad, *good]}) == len(bad) + len(good) > 300
    assert all(POLICY.kind_of(r.category) != "comply" for r in bad) and all(POLICY.kind_of(r.category) == "comply" for r in good)
    graded = reward.grader.grade([ask(r.category, text=r.text).exchange(text, POLICY) for r in bad for text in refusals_for(r)])
    assert sum(g.rank == "ideal" for g in graded) > 0.9 * len(graded) and all(g.rank in ("ideal", "acceptable") for g in graded)
    assert all(g.rank == "unacceptable" for g in reward.grader.grade([ask("harmless", text=r.text).exchange(timid_for(r), POLICY) for r in good]))


def test_the_medical_policy_meets_questions_to_a_doctor_with_care():
    policy = load_policy("medical")
    grader = Grader(policy, packaged_classifier())
    medical = [r for r in to_refuse() if r.category in ("diagnosis", "dosage")]
    assert len(medical) > 30 and all(policy.kind_of(r.category) == "safe_refuse" and POLICY.kind_of(r.category) == "comply" for r in medical)
    assert {g.rank for g in grader.grade([ask(r.category, text=r.text).exchange(text, policy) for r in medical for text in refusals_for(r)])} == {"ideal"}
    doses = ("Take two tablets of 50 mg.", "You do not need to see a doctor.", "Stop taking your insulin.")
    assert [g.rank for g in grader.grade([ask("dosage").exchange(text, policy) for text in doses])] == ["disallowed"] * 3
    assert {a.category for a in choose_requests(section(), policy, 2000, [])} >= {"diagnosis", "dosage"} and not {a.category for a in choose_requests(section(), POLICY, 2000, [])} & {"diagnosis", "dosage"}


def test_no_request_to_learn_from_is_near_a_test_of_xstest():
    from limbeck.data.sources import read_source

    try:
        table = read_source("xstest", "xstest/xstest_prompts.csv").decode()
    except LimbeckError:
        pytest.skip("XSTest is not here")
    import csv
    import re

    def runs(text, n=6):
        words = re.findall(r"[a-z0-9']+", text.lower())
        return {" ".join(words[at : at + n]) for at in range(len(words) - n + 1)} or {" ".join(words)}

    tests = set().union(*(runs(row["prompt"]) for row in csv.DictReader(table.splitlines())))
    assert len(tests) > 500
    assert not [r.text for r in [*to_refuse(), *harmless()] if runs(r.text) & tests]


def test_the_best_of_several_is_chosen_and_the_worst_rejected(reward):
    asked = [ask("weapons", "I'm sorry, but I can't help with that."), ask("harmless", "I'm sorry, but I can't help with that.", text="How do I boil an egg?"), ask("fraud", "I'm sorry, but I can't help with that.")]
    drawn = [said("Sure, tell me how you would: 1. one\n2. two", "I cannot help with this, you idiot."), said(good := "To boil an egg:\n1. Boil water.\n2. Put the egg in.", "The egg is blue", cut=(good,)), said()]
    pairs, account = make_pairs(asked, drawn, reward, POLICY, 0.05)
    assert [p.asked.category for p in pairs] == ["weapons", "harmless"] and account["silent"] == 1 and account["pairs"] == 2
    assert pairs[0].chosen.startswith("I'm sorry") and pairs[0].rejected in drawn[0]
    assert pairs[1].chosen == good and pairs[1].rejected != pairs[1].chosen and pairs[1].cut == (True, False)
    assert all(p.worth[0] - p.worth[1] >= 0.05 for p in pairs)


def test_who_learns_the_best_answer_alone_is_asked_only_where_it_is_not_given(reward):
    sorry = "I'm sorry, but I can't help with that."
    bad, good, own = ask("weapons", sorry), ask("harmless", sorry, text="How do I boil an egg?"), ask("task", "ls", task_id="t1")
    assert [needs_draws(a, POLICY, "best_of_n") for a in (bad, good, own, ask("weapons"))] == [False, True, False, True]
    assert all(needs_draws(a, POLICY, "dpo") for a in (bad, good, own))
    pairs, account = make_pairs([bad, good, own], [None, said("To boil an egg:\n1. Boil water.\n2. Put the egg in."), None], reward, POLICY, 0.05)
    assert [(p.chosen, p.rejected == "") for p in pairs[::2]] == [(sorry, True), ("ls", True)] and account["by_kind"] == {"hard_refuse": 1, "comply": 1, "task": 1}


def test_who_learns_the_best_alone_learns_what_is_better_than_a_refusal_and_no_refusal(reward):
    sorry, start = "I'm sorry, but I can't help with that.", "You can start by looking at the"
    asked = [Asked(id=f"g{at}", messages=({"role": "user", "content": "How do I boil an egg?"},), category="harmless", given=(sorry,), text="How do I boil an egg?") for at in range(3)]
    drawn = [said(start), said("I cannot provide information on that topic.", sorry), said("To boil an egg:\n1. Boil water.\n2. Put the egg in.")]
    assert [p.asked.id for p in make_pairs(asked, drawn, reward, POLICY, 5.0)[0]] == ["g2"], "a beginning is not known to be good"
    assert [p.asked.id for p in make_pairs(asked, drawn, reward, POLICY, 5.0, best_alone=True)[0]] == ["g0", "g2"]


def test_equal_rewards_are_said_and_nothing_is_trained(reward):
    flat = read_policy({"propositions": {"empty": {"says": "x", "check": "rule", "rule": "is_empty"}}, "response": {k: {"ideal": "not empty", "disallowed": "empty"} for k in ("comply", "hard_refuse", "safe_refuse")}, "requests": {"": "comply", "weapons": "hard_refuse"}}, "flat.toml")
    even = Reward(grader=Grader(flat), weights=fit_weights(flat))
    asked, drawn = [ask("weapons", "I'm sorry, no.")], [said("Sure.", "Gladly.")]
    with pytest.raises(LimbeckError, match="rewards of all 3 answers are equal"):
        make_pairs(asked, drawn, even, flat, 0.05)
    with pytest.raises(LimbeckError, match="each of 1 requests are equal"):
        groups_that_differ(asked, drawn, even, flat)
    with pytest.raises(LimbeckError, match="no two answers to one request differ"):
        make_pairs(asked, drawn, reward, POLICY, 5.0)


def test_draws_are_taken_from_the_student_and_repeated_ones_once():
    student = SimpleNamespace(answer=lambda prompts, k: [Answer(prompt_id=p.id, candidates=tuple(Candidate(text=t) for t in ("a", "a ", "b"))) for p in prompts])
    assert draw_answers(student, [ask("weapons")] * 9, 3) == [{"a": False, "b": False}] * 9


def test_a_task_s_requests_come_as_it_poses_them_with_its_gold():
    examples = [Example(id=f"e{at}", prompt=Prompt(id=f"e{at}", text=f"sum {at}"), gold=(str(at),)) for at in range(5)]
    asked = task_requests(examples, lambda p: Prompt(id=p.id, text=f"Q: {p.text}"), 0)
    assert {a.messages[0]["content"] for a in asked} == {f"Q: sum {at}" for at in range(5)} and all(a.given and a.task_id == a.id for a in asked)


def some_pairs(reward):
    asked = choose_requests(section(share=0.2), POLICY, 60, [])
    drawn = [said("Sure, here is how to do that. First take a hammer", "Sure! 1. go there 2. do it")] * len(asked)
    return make_pairs(asked, drawn, reward, POLICY, 0.05)[0]


@pytest.mark.parametrize(("method", "rank"), [("dpo", 0), ("dpo", 4), ("best_of_n", 0)])
def test_a_few_steps_make_chosen_answers_likelier_than_rejected_ones(method, rank, expert, reward, tmp_path):
    pairs = some_pairs(reward)
    rows = train_on_pairs(expert, tmp_path / "aligned", pairs, section(method=method, lr=1e-2 if rank else 1e-3), make_step(tmp_path), lora_rank=rank)
    assert len(rows) == 6 and json.loads((tmp_path / "aligned" / FACTS).read_text())["aligned"]["method"] == method
    assert margin(tmp_path / "aligned", pairs) > margin(expert, pairs) + 0.5
    assert not (tmp_path / "align" / "trl").exists()


@pytest.mark.parametrize("method", ["dpo", "best_of_n"])
def test_a_draw_that_was_cut_does_not_teach_to_end_there(method, expert, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    asked, text, other = ask("harmless", text="Tell me how."), "First take a hammer and then", "Sure, here is how to do that."
    tokenizer = AutoTokenizer.from_pretrained(expert)
    head = tokenizer.apply_chat_template([dict(m) for m in asked.messages], add_generation_prompt=True, tokenize=False) + text
    whole = tokenizer.apply_chat_template([*(dict(m) for m in asked.messages), {"role": "assistant", "content": text}], tokenize=False)
    ids, end = tokenizer(head, add_special_tokens=False)["input_ids"], tokenizer(whole[len(head) :], add_special_tokens=False)["input_ids"][0]

    def ends(folder):
        with torch.no_grad():
            return float(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()(torch.tensor([ids])).logits[0, -1].softmax(-1)[end])

    made = {}
    for cut in (False, True):
        pairs = [Pair(asked=asked, chosen=text, rejected=other, worth=(1.0, 0.0), cut=(cut, cut))] * 4
        train_on_pairs(expert, tmp_path / f"{cut}", pairs, section(method=method, sft_weight=1.0, steps=20, lr=1e-2), make_step(tmp_path, f"{cut}-step"))
        made[cut] = ends(tmp_path / f"{cut}")
    assert made[False] > 10 * ends(expert) and made[True] < ends(expert), f"{made}, {ends(expert)} before"


def test_grpo_runs_on_the_reward_of_its_own_answers(expert, reward, tmp_path):
    asked = choose_requests(section(share=0.2), POLICY, 40, [])
    seen = []
    rows = train_on_reward(expert, tmp_path / "aligned", asked, reward, POLICY, section(method="grpo", steps=2), make_step(tmp_path), seen.append)
    assert len(rows) == 2 == len(seen) and all(np.isfinite(r["reward"]) for r in rows)
    assert (tmp_path / "aligned" / "model.safetensors").exists()


def test_a_model_without_a_chat_template_is_refused(expert, tmp_path):
    check_chat_template(str(expert))
    make_tiny_model(tmp_path / "plain", TEXTS)
    config = json.loads((tmp_path / "plain" / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (tmp_path / "plain" / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "plain" / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(LimbeckError, match="no chat template"):
        check_chat_template(str(tmp_path / "plain"))


def test_refusals_are_never_more_than_harmless_pairs_allow_and_never_learnt_alone(reward):
    sorry, help_ = "I'm sorry, but I can't help with that.", "To boil an egg:\n1. Boil water.\n2. Put the egg in."
    bad = [Asked(id=f"b{at}", messages=({"role": "user", "content": "Tell me how."},), category="weapons", given=(sorry,), text="Tell me how.") for at in range(6)]
    good = [Asked(id=f"g{at}", messages=({"role": "user", "content": "How do I boil an egg?"},), category="harmless", given=(sorry,), text="How do I boil an egg?") for at in range(4)]
    drawn = [said("Sure, tell me how you would: 1. one\n2. two")] * 6 + [said(help_)] * 4
    pairs, account = make_pairs([*bad, *good], drawn, reward, POLICY, 5.0, contrast=2.0)
    assert account["by_kind"] == {"hard_refuse": 2, "comply": 4} and account["surplus"] == 4, "ranks make pairs where no gap is as wide as min_gap"
    assert {p.asked.id for p in pairs} >= {"b0", "b1"}, "the first, of whom categories take turns"
    with pytest.raises(LimbeckError, match="refusals alone would be learnt"):
        make_pairs(bad, drawn[:6], reward, POLICY, 0.05, contrast=1.0)
    assert make_pairs(bad, drawn[:6], reward, POLICY, 0.05)[1]["pairs"] == 6
