"""Panels: members that fail, votes, the best of many, summing up, debate, cascades, and files that cannot work."""

import itertools
import json
import math
import threading
import time

import pytest

from limbeck import empanelling, resolve
from limbeck.cli import main
from limbeck.errors import LimbeckError
from limbeck.panel.best import rank_best
from limbeck.panel.cascade import choose_threshold, clopper_pearson, curve, read_calibration, write_calibration
from limbeck.panel.members import Heard, Member, Seats
from limbeck.panel.panel import Panel
from limbeck.panel.reading import Reading, try_verifier
from limbeck.panel.schema import read_panel
from limbeck.panel.vote import agreement_of, ballots_of, entropy_of, is_decided, seats_of, waves_of, weigh
from limbeck.records import Answer, Candidate, Example, Prompt
from limbeck.testing import check_answerer

P = [Prompt(id=str(n), text=f"question {n}") for n in range(3)]


class Says:
    """Says the same to everything: texts, best first; or fails, or takes its time. Counts what it was asked."""

    name, parameters = "says", 10

    def __init__(self, *texts, draws=False, wait=0.0, problem=None, event=None):
        self.texts, self.draws_samples, self.wait, self.problem, self.event, self.asked = texts, draws, wait, problem, event, []

    def answer(self, prompts, *, k=1):
        self.asked += [(p.text, k) for p in prompts]
        if self.event:
            self.event.wait(30)
        time.sleep(self.wait)
        if self.problem:
            raise self.problem
        return [Answer(prompt_id=p.id, candidates=tuple(Candidate(text=t, score=-float(n)) for n, t in enumerate(self.texts[:k]))) for p in prompts]


def whole_numbers(prompt, text):
    return int(text) if text.strip().lstrip("-").isdigit() else None


READING = Reading(key=whole_numbers)


def member(name, *texts, **more):
    who = {key: more.pop(key) for key in ("draws", "wait", "problem", "event") if key in more}
    return Member(name=name, answerer=Says(*texts, **who), **more)


def panel(kind, *members, **more):
    return Panel("panel", kind, members, more.pop("reading", READING), **more)


def test_equal_answers_are_one_however_they_are_spelt():
    answer = panel("vote", member("a", "7"), member("b", " 007"), member("c", "8"), early_stop=False).answer(P)[0]
    assert answer.candidates[0].text == "7" and answer.candidates[0].meta["probability"] == pytest.approx(2 / 3)
    assert answer.meta["panel"]["agreement"] == pytest.approx(2 / 3)


def test_a_panel_keeps_what_every_answerer_promises():
    check_answerer(panel("vote", member("a", "7", "9"), member("b", "8"), early_stop=False), P)


def test_one_dead_one_slow_one_talking_nonsense_and_the_answers_keep_coming():
    dead = member("dead", problem=LimbeckError("the server is gone", "http://host", "start it"))
    slow = member("slow", "5", wait=2.0, deadline_s=0.05)
    odd = member("odd", "the colour of time")
    good = member("good", "42")
    began = time.monotonic()
    answers = panel("vote", dead, slow, odd, good, early_stop=False).answer(P[:1])
    assert time.monotonic() - began < 1.5
    told = answers[0].meta["panel"]
    assert answers[0].candidates[0].text == "42" and answers[0].status == "scored"
    assert set(told["missing"]) == {"dead", "slow"} and "the server is gone" in told["missing"]["dead"] and "0.05 s" in told["missing"]["slow"]
    assert told["unreadable"] == ["odd"] and told["agreement"] == 0.25


def test_a_member_that_hangs_is_not_asked_again_before_it_is_done():
    event = threading.Event()
    stuck, good = member("stuck", "1", event=event, deadline_s=0.05), member("good", "2")
    both = panel("vote", stuck, good, early_stop=False)
    assert "0.05 s" in both.answer(P[:1])[0].meta["panel"]["missing"]["stuck"]
    assert both.answer(P[:1])[0].meta["panel"]["missing"]["stuck"] == "still busy with an earlier request"
    event.set()
    time.sleep(0.1)
    assert "missing" not in both.answer(P[:1])[0].meta["panel"]


def test_where_all_are_missing_the_reasons_are_told_and_nothing_is_invented():
    answer = panel("vote", member("a", problem=ValueError("broken")), member("b", problem=OSError("off"))).answer(P[:1])[0]
    assert answer.status == "no_answer" and "ValueError: broken" in answer.reason and "off" in answer.reason


def test_nonsense_alone_comes_before_silence():
    answer = panel("vote", member("a", "maybe"), member("b", "perhaps")).answer(P[:1])[0]
    assert answer.status == "scored" and answer.candidates[0].meta["unread"] and answer.meta["panel"]["agreement"] == 0.0


def test_nobody_is_asked_once_the_lead_cannot_be_caught():
    members = [member(str(n), "1") for n in range(5)]
    answer = panel("vote", *members).answer(P[:1])[0]
    assert sum(len(m.answerer.asked) for m in members) == 3 and answer.meta["panel"]["stopped_early"] and answer.meta["panel"]["calls"] == 3
    split = [member(str(n), text) for n, text in enumerate("12211")]
    assert panel("vote", *split).answer(P[:1])[0].candidates[0].text == "1" and all(m.answerer.asked for m in split)


def test_early_stop_changes_no_answer():
    import random

    draw = random.Random(0)
    for _ in range(40):
        texts = [str(draw.randrange(3)) for _ in range(5)]
        both = [panel("vote", *(member(str(n), t) for n, t in enumerate(texts)), early_stop=stop).answer(P[:1])[0].candidates[0].text for stop in (True, False)]
        assert both[0] == both[1], texts


def test_a_tie_can_still_be_made_so_the_vote_goes_on():
    assert not is_decided({1: 2.0}, 2.0) and is_decided({1: 2.1}, 2.0) and not is_decided({1: 3.0, 2: 2.0}, 1.0) and not is_decided({}, 0.0)


def test_draws_have_a_vote_each_and_a_ranking_has_one():
    heard = [Heard(member=m, candidates=m.answerer.answer(P[:1], k=3)[0].candidates) for m in (member("draws", "1", "1", "2", draws=True), member("ranks", "2", "1"))]
    votes = weigh([b for h in heard for b in ballots_of(P[0], h, READING)])
    assert votes == {1: 2.0, 2: 2.0}


def test_draws_that_are_paid_one_by_one_are_asked_for_bit_by_bit():
    seats = seats_of([Member(name="m", answerer=Says("1", draws=True), samples=5, grows=True)])
    assert [(s.first, s.upto, s.weight) for s in seats] == [(0, 3, 3.0), (3, 4, 1.0), (4, 5, 1.0)]
    assert [len(w) for w in waves_of(seats, True)] == [1, 1, 1] and len(waves_of(seats, False)) == 1
    whole = seats_of([Member(name="m", answerer=Says("1", draws=True), samples=5, grows=True)], early_stop=False)
    assert [(s.first, s.upto) for s in whole] == [(0, 5)]


def test_agreement_and_entropy_have_the_values_they_must():
    assert agreement_of({1: 2.0, 2: 1.0}, 4.0) == 0.5 and agreement_of({}, 0) == 0.0
    assert entropy_of({1: 3.0}) == 0.0 and entropy_of({1: 1.0, 2: 1.0}) == pytest.approx(math.log(2)) and entropy_of({}) == 0.0


def test_the_best_is_what_the_verifier_passes_whoever_is_surer():
    reading = Reading(key=whole_numbers, passes=lambda p, t: t == "3")
    heard = [Heard(member=member("a", "1", "3"), candidates=(Candidate(text="1", score=-0.1), Candidate(text="3", score=-9.0))), Heard(member=member("b", "1"), candidates=(Candidate(text="1", score=0.0),))]
    ranked = rank_best(P[0], heard, reading, 5)
    assert [c.text for c in ranked] == ["3", "1"] and ranked[0].meta["passed"] and ranked[0].score >= ranked[1].score


def test_among_those_that_pass_more_mass_wins():
    heard = [Heard(member=member("a"), candidates=(Candidate(text="1", score=-0.1), Candidate(text="3", score=-0.2))), Heard(member=member("b"), candidates=(Candidate(text="3", score=-0.5),))]
    assert rank_best(P[0], heard, READING, 1)[0].text == "3"


class Reads(Says):
    """A language model that answers by a function of what it reads."""

    def __init__(self, reply):
        super().__init__()
        self.reply, self.read = reply, []

    def answer(self, prompts, *, k=1):
        self.read += [p.text for p in prompts]
        return [Answer(prompt_id=p.id, candidates=(Candidate(text=self.reply(p.text)),)) for p in prompts]


def test_an_aggregator_reads_all_answers_and_writes_the_last():
    writer = Reads(lambda text: "12" if "Answer 2:\n6" in text else "?")
    summed = panel("sum", member("a", "5"), member("b", "6"), aggregator=Member(name="writer", answerer=writer, bare=writer))
    answer = summed.answer(P[:1], k=3)[0]
    assert next(c.text for c in answer.candidates) == "12" and answer.meta["panel"]["written_by"] == "writer" and "question 0" in writer.read[0]


def test_without_its_aggregator_a_panel_still_votes():
    gone = Says(problem=OSError("no route"))
    summed = panel("sum", member("a", "5"), member("b", "5"), member("c", "6"), aggregator=Member(name="writer", answerer=gone, bare=gone))
    answer = summed.answer(P[:1])[0]
    assert answer.candidates[0].text == "5" and "no route" in answer.meta["panel"]["missing"]["writer"]


def test_in_a_debate_who_is_persuaded_changes_the_answer():
    stays, yields = Reads(lambda text: "8"), Reads(lambda text: "8" if "Somebody else" in text else "9")
    debate = panel("debate", Member(name="a", answerer=stays, bare=stays), Member(name="b", answerer=yields, bare=yields))
    answer = debate.answer(P[:1])[0]
    assert answer.candidates[0].text == "8" and answer.meta["panel"]["rounds"] == 1 and "question 0" in yields.read[1] and "9" in yields.read[1]


def test_those_who_agree_do_not_debate():
    one, two = Reads(lambda text: "8"), Reads(lambda text: "8")
    panel("debate", Member(name="a", answerer=one, bare=one), Member(name="b", answerer=two, bare=two)).answer(P[:1])
    assert len(one.read) == len(two.read) == 1


def test_a_cascade_asks_the_teacher_where_the_panel_disagrees():
    teacher = member("teacher", "3")
    apart = panel("cascade", member("a", "1"), member("b", "2"), threshold=0.8, teacher=teacher).answer(P[:1])[0]
    agreed = panel("cascade", member("a", "1"), member("b", "1"), threshold=0.8, teacher=teacher).answer(P[:1])[0]
    assert apart.candidates[0].text == "3" and apart.meta["panel"]["to_teacher"] and agreed.candidates[0].text == "1" and len(teacher.answerer.asked) == 1


def test_without_its_teacher_a_cascade_answers_from_the_panel():
    apart = panel("cascade", member("a", "1"), member("b", "2"), threshold=0.8, teacher=member("teacher", problem=OSError("down"))).answer(P[:1])[0]
    assert apart.candidates[0].text == "1" and "down" in apart.meta["panel"]["missing"]["teacher"]


def test_the_clopper_pearson_bound_is_the_known_one():
    assert clopper_pearson(0, 59, 0.05) == pytest.approx(1 - 0.05 ** (1 / 59)) and clopper_pearson(3, 100) == pytest.approx(0.0757, abs=2e-4) and clopper_pearson(0, 0) == 1.0


def _drawn(n, seed):
    import numpy as np

    draw = np.random.default_rng(seed)
    agreement = draw.choice([0.4, 0.6, 0.8, 1.0], n)
    return agreement, (draw.random(n) < agreement).astype(float), np.ones(n)


def test_a_chosen_threshold_keeps_its_risk_as_often_as_it_says():
    broken = trials = 0
    for seed in range(150):
        found = choose_threshold(curve(*_drawn(300, seed), 1.0, 10.0, 0.1), 0.15)
        if found:
            trials += 1
            levels = [x for x in (0.4, 0.6, 0.8, 1.0) if x >= found.threshold - 1e-9]
            broken += 1 - sum(levels) / len(levels) > 0.15
    assert trials > 100 and broken / trials <= 0.1 + 0.05


def test_conformal_risk_is_kept_in_the_mean():
    import numpy as np

    losses = []
    for seed in range(200):
        found = choose_threshold(curve(*_drawn(200, seed), 1.0, 10.0), 0.05, "conformal")
        threshold = found.threshold if found else 2.0
        losses.append(sum((1 - x) / 4 for x in (0.4, 0.6, 0.8, 1.0) if x >= threshold - 1e-9))
    assert 0.01 < np.mean(losses) <= 0.055


def test_the_curve_begins_with_the_teacher_alone_and_ends_with_the_panel_alone():
    points = curve(*_drawn(100, 0), 1.0, 10.0)
    assert points[0].kept == 0 and points[0].cost == 11.0 and points[0].score == 1.0 and points[-1].kept == 100 and points[-1].cost == 1.0
    assert choose_threshold(points, 0.0001) is None


def test_a_calibration_of_another_panel_is_not_used(tmp_path):
    points = curve(*_drawn(300, 0), 1.0, 10.0)
    write_calibration(tmp_path / "c.json", {"task": "cf", "content": "a"}, points, points[1])
    assert read_calibration(tmp_path / "c.json", "cf", "a") == points[1].threshold
    for task, content in (("cf", "b"), ("bash", "a")):
        with pytest.raises(LimbeckError, match="calibration is of another"):
            read_calibration(tmp_path / "c.json", task, content)


def test_a_verifier_that_always_says_yes_is_found_out():
    examples = [Example(id=str(n), prompt=P[0], gold=(str(n),)) for n in range(20)]
    with pytest.raises(LimbeckError, match="says yes to everything"):
        try_verifier("toy", examples, lambda prompt, text: True)
    told = try_verifier("toy", examples, lambda prompt, text: text.isdigit())
    assert told["others_passed"] == 20 and told["nonsense_passed"] == 0


def write(folder, text, name="panel.toml"):
    path = folder / name
    path.write_text(text)
    return path


TWO = '[[member]]\nmodel = "builtin:cf"\n[[member]]\nmodel = "baseline:nearest"\n'
WRONG = {
    "unknown key": ('[panel]\nkind = "vote"\n[[member]]\nmodell = "builtin:cf"\n', "did you mean 'model'"),
    "should be": ('[panel]\nkind = "poll"\n' + TWO, "docs/panel.md"),
    "is missing": ('[panel]\nkind = "vote"\n', "docs/panel.md"),
    "panel of one": ('[panel]\nkind = "vote"\n[[member]]\nmodel = "builtin:cf"\n', "samples = 5"),
    "two members are called": ('[panel]\nkind = "vote"\n[[member]]\nmodel = "builtin:cf"\n[[member]]\nmodel = "builtin:cf"\n', "raise its samples"),
    "nobody sums up": ('[panel]\nkind = "sum"\n' + TWO, "[aggregator]"),
    "debate is of two": ('[panel]\nkind = "debate"\n' + TWO + '[[member]]\nmodel = "x"\n', "kind = \"sum\""),
    "no teacher behind": ('[panel]\nkind = "cascade"\n' + TWO, "[teacher]"),
    "the specialist": ('[panel]\nkind = "router"\n' + TWO, "task = "),
    "no TOML": ("[panel\n", "docs/panel.md"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_file_that_cannot_work_says_what_where_and_how_to_mend_it(what, tmp_path):
    text, fix = WRONG[what]
    with pytest.raises(LimbeckError) as caught:
        read_panel(write(tmp_path, text))
    assert what in caught.value.what and fix in caught.value.fix and str(tmp_path) in caught.value.where


def test_a_panel_that_names_itself_is_refused_also_through_another(tmp_path):
    for names in (("a", "a"), ("a", "b", "a")):
        for here, there in itertools.pairwise(names):
            write(tmp_path, f'[panel]\nkind = "vote"\ntask = "cf"\n[[member]]\nmodel = "builtin:cf"\n[[member]]\nmodel = "panel:{there}.toml"\n', f"{here}.toml")
        with pytest.raises(LimbeckError, match="sits in itself") as caught:
            empanelling.open_panel(f"panel:{tmp_path / 'a.toml'}")
        assert caught.value.where == " -> ".join(f"{n}.toml" for n in names)


def test_the_best_cannot_be_chosen_where_a_task_has_no_verifier(tmp_path):
    path = write(tmp_path, '[panel]\nkind = "best"\n[[member]]\nmodel = "openai:a"\nbase_url = "http://127.0.0.1:9/v1"\n[[member]]\nmodel = "openai:b"\nbase_url = "http://127.0.0.1:9/v1"\n')
    with pytest.raises(LimbeckError, match="has no verifier"):
        resolve.get_answerer(f"panel:{path}", resolve.get_task("mmlu"))


def test_a_cascade_without_a_threshold_says_how_to_get_one(tmp_path):
    path = write(tmp_path, '[panel]\nkind = "cascade"\n' + TWO + '[teacher]\nmodel = "builtin:cf"\n')
    with pytest.raises(LimbeckError, match="no threshold") as caught:
        empanelling.load_panel(f"panel:{path}", resolve.get_task("cf"))
    assert "limbeck panel calibrate" in caught.value.fix


def test_the_terms_of_a_panel_are_those_of_all_its_members(tmp_path):
    write(tmp_path, '[panel]\nkind = "vote"\n[[member]]\nmodel = "openai:gpt-4o"\n[[member]]\nmodel = "builtin:cf"\n', "inner.toml")
    path = write(tmp_path, '[panel]\nkind = "vote"\ntask = "cf"\n[[member]]\nmodel = "hf:meta-llama/Llama-3.1-8B-Instruct"\n[[member]]\nmodel = "panel:inner.toml"\n')
    found = {o.model: o.terms for o in empanelling.lineage("generator", f"panel:{path}")}
    assert {"openai:gpt-4o", "builtin:cf", "hf:meta-llama/Llama-3.1-8B-Instruct"} <= set(found) and "llama" in found["hf:meta-llama/Llama-3.1-8B-Instruct"]


def test_seats_ask_nothing_where_nothing_is_to_be_asked():
    assert Seats().ask([(member("a", "1"), [], 1)]) == [[]]


def test_wrong_use_is_three_lines_and_exit_code_2(tmp_path, capsys):
    path = write(tmp_path, '[panel]\nkind = "vote"\n[[member]]\nmodel = "builtin:cf"\n')
    for arguments in (["terms", f"panel:{path}"], ["ask", f"panel:{path}", "highlight sales"]):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        told = capsys.readouterr()
        assert left.value.code == 2 and told.out == "" and "panel of one" in told.err and len(told.err.rstrip().splitlines()) == 3


def test_asked_for_a_rule_a_panel_says_who_was_missing(tmp_path, capsys):
    from limbeck.asking import ask_rule

    (tmp_path / "t.csv").write_text("Name,Sales\nA,100\nB,900\n")
    (tmp_path / "p.toml").write_text('[panel]\nkind = "vote"\ntask = "cf"\n\n[[member]]\nmodel = "builtin:cf"\n\n[[member]]\nmodel = "openai:gone"\nname = "gone"\nbase_url = "http://127.0.0.1:9/v1"\ndeadline_s = 2\n')
    ask_rule(f"panel:{tmp_path / 'p.toml'}", "highlight sales over 500", k=1, path=tmp_path / "t.csv", sheet=None, today=None, column=None, write=None, as_json=True)
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert told["answers"][0]["cells"] == [[1, 1]] and list(told["panel"]["missing"]) == ["gone"] and "gone was missing" in said.err
