"""Who should sit in a panel, what the teacher is asked next, the router, and panels that teach."""

import json
import math
import random

import numpy as np
import pytest

from limbeck import empanelling, seating, teaching
from limbeck.catalog import terms
from limbeck.cli import main
from limbeck.errors import LimbeckError
from limbeck.panel import choosing, labels
from limbeck.panel.members import Member
from limbeck.panel.panel import Panel
from limbeck.panel.reading import Reading
from limbeck.panel.router import Router, choose_confidence, pieces_of, train_router
from limbeck.panel.vote import Ballot, entropy_of, weigh
from limbeck.recipe.load import load_recipe
from limbeck.records import Answer, Candidate, Example, Prompt
from limbeck.tasks.text_task import TextTask


def sheet_of(right):
    """Members right (1) or wrong in a way of their own (0) on each example."""
    ballots = [[[Ballot(text="yes" if ok else f"no {m}", key="yes" if ok else f"no {m}", weight=1.0, member=str(m))] for ok in row] for m, row in enumerate(right)]
    return choosing.Sheet(names=tuple(map(str, range(len(right)))), ballots=ballots, judge=lambda at, text: float(text == "yes"))


def test_errors_of_the_same_examples_correlate_and_of_others_do_not():
    found = choosing.error_correlation(np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]], float))
    assert found[0, 1] == pytest.approx(1) and found[0, 2] == pytest.approx(-1) and math.isnan(found[0, 3])


def test_the_oracle_is_above_every_member():
    right = np.array([[1, 1, 0, 0], [0, 0, 1, 0]], float)
    assert choosing.oracle(right) == 0.75 > right.mean(1).max()


def test_members_whose_errors_differ_are_taken_and_whoever_lowers_the_score_is_refused():
    right = [[1, 1, 0, 1, 1, 0], [1, 0, 1, 1, 0, 1], [0, 1, 1, 0, 1, 1], [0, 0, 0, 0, 0, 0]]
    chosen = choosing.choose_members(sheet_of(right), range(6))
    assert set(chosen.members) == {0, 1, 2} and chosen.scores[-1] == 1.0 and set(chosen.refused) == {"3"}


def test_copies_of_the_best_are_not_taken():
    chosen = choosing.choose_members(sheet_of([[1, 1, 1, 0], [1, 1, 1, 0], [1, 0, 0, 0]]), range(4))
    assert chosen.members == (0,) and len(chosen.refused) == 2


def test_one_candidate_or_three_examples_are_no_choice():
    with pytest.raises(LimbeckError, match="nothing to choose from"):
        choosing.choose_members(sheet_of([[1, 0]]), range(2))
    with pytest.raises(LimbeckError, match="too few"):
        choosing.halves(3)


def test_most_disagreement_is_asked_first_and_a_spend_of_nothing_is_refused():
    assert labels.choose_requests([0.1, 0.7, 0.0, 0.7], 3) == [1, 3, 0]
    with pytest.raises(LimbeckError, match="buys no label"):
        labels.choose_requests([0.1], 0)


def test_worth_is_measured_against_exact_chance():
    worth = labels.worth_of([0.9, 0.8, 0.1, 0.0], [True, True, False, False], 2)
    assert worth.by_disagreement == 1.0 and worth.by_chance == 0.5 and worth.low <= 0.5 <= worth.high


def learn(points, told, spend, by_disagreement, seed):
    """A committee of five cuts, each drawn from those that what is labelled allows; labels are bought five at a time; the score of their median."""
    draw = random.Random(seed)
    known = draw.sample(range(len(points)), 10)
    while True:
        low, high = max((points[i] for i in known if not told[i]), default=0.0), min((points[i] for i in known if told[i]), default=1.0)
        cuts = [draw.uniform(low, high) for _ in range(5)]
        if len(known) >= 10 + spend:
            return np.mean([(x > np.median(cuts)) == y for x, y in zip(points, told, strict=True)])
        left = [i for i in range(len(points)) if i not in set(known)]
        apart = [entropy_of(weigh([Ballot(text="", key=points[i] > c, weight=1.0, member="") for c in cuts])) for i in left]
        known += [left[at] for at in (labels.choose_requests(apart, 5) if by_disagreement else labels.choose_by_chance(len(left), 5, seed + len(known)))]


def test_labels_bought_by_disagreement_teach_more_than_as_many_bought_by_chance():
    gaps = []
    for seed in range(12):
        draw = random.Random(seed)
        points = [draw.random() for _ in range(300)]
        told = [x > 0.37 for x in points]
        gaps.append(learn(points, told, 30, True, seed) - learn(points, told, 30, False, seed))
    assert np.mean(gaps) > 2 * np.std(gaps, ddof=1) / math.sqrt(len(gaps)) > 0


REQUESTS = {"files": [f"find files larger than {n} MB in my folder" for n in range(40)], "rules": [f"highlight the cells of column {n} above average" for n in range(40)]}


@pytest.fixture(scope="module")
def router():
    return train_router({name: [Prompt(id=t, text=t, context={"table": {}} if name == "rules" else {}) for t in texts] for name, texts in REQUESTS.items()})


def test_a_router_sends_requests_it_has_not_seen_to_their_specialist(router):
    assert router.route(Prompt(id="", text="find all large files"))[0] == "files" and router.route(Prompt(id="", text="highlight every cell above 3"))[0] == "rules"


def test_a_table_along_with_a_request_is_heeded(router):
    said = [router.probabilities(Prompt(id="", text="the largest ones", context=context))[1] for context in ({}, {"table": {"headers": []}})]
    assert said[1] > said[0] + 0.1


def test_what_looks_like_nothing_known_makes_a_router_unsure(router):
    assert router.route(Prompt(id="", text="qqq"))[1] < 0.95 < router.route(Prompt(id="", text="find files larger than 7 MB in my folder"))[1]


def test_a_saved_router_answers_the_same(router, tmp_path):
    router.save(tmp_path / "r.safetensors")
    again = Router.load(tmp_path / "r.safetensors")
    prompt = Prompt(id="", text="find the large files")
    assert again.labels == router.labels and again.route(prompt)[1] == pytest.approx(router.route(prompt)[1], abs=1e-5)
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    for name in ("bad.safetensors", "none.safetensors"):
        with pytest.raises(LimbeckError, match="this is no router"):
            Router.load(tmp_path / name)


def test_a_router_between_one_or_of_nothing_is_refused():
    with pytest.raises(LimbeckError, match="nothing to decide"):
        train_router({"a": [Prompt(id="", text="x")]})
    with pytest.raises(LimbeckError, match="no requests"):
        train_router({"a": [Prompt(id="", text="x")], "b": []})


ROUTER = '[panel]\nkind = "router"\nrouter = "r.safetensors"\n[[member]]\nmodel = "a"\ntask = "files"\n[[member]]\nmodel = "b"\ntask = "rules"\n'


def test_a_routers_file_names_its_specialists_and_their_tasks_are_found_in_the_request(router, toy, tmp_path):
    router.save(tmp_path / "r.safetensors")
    path = tmp_path / "p.toml"
    path.write_text(ROUTER)
    assert empanelling.task_of(f"panel:{path}", Prompt(id="", text="find files larger than 7 MB in my folder")) == "files"
    answer = empanelling.load_panel(f"panel:{path}").answer([Prompt(id="1", text="find files in my folder larger than 3")])[0]
    assert answer.candidates[0].text == "3" and answer.meta["panel"]["routed_to"] == "files"
    path.write_text(ROUTER.replace('"rules"', '"poems"'))
    with pytest.raises(LimbeckError, match="knows no task 'poems'"):
        empanelling.load_panel(f"panel:{path}")
    path.write_text(ROUTER.replace('router = "r.safetensors"\n', ""))
    with pytest.raises(LimbeckError, match="has not been trained"):
        empanelling.load_panel(f"panel:{path}")


def test_a_threshold_keeps_the_accuracy_that_was_asked_for():
    assert choose_confidence([0.9, 0.8, 0.7, 0.6], [True, True, False, True], 0.99) == 0.8
    assert choose_confidence([0.9, 0.8, 0.7, 0.6], [True, True, False, True], 0.75) == 0.6
    assert choose_confidence([0.9], [False]) > 1


def test_any_text_has_pieces_and_a_length_of_one():
    for text in ("", "é漢字 \x00", "x" * 100_000, "\ud800"):
        assert sum(v * v for v in pieces_of(Prompt(id="", text=text)).values()) == pytest.approx(1.0)


class Says:
    name, parameters = "says", 1

    def __init__(self, text):
        self.text = text

    def answer(self, prompts, *, k=1):
        return [Answer(prompt_id=p.id, candidates=(Candidate(text=self.text),)) if self.text.strip() else Answer(prompt_id=p.id, status="failed", reason="down") for p in prompts]


def routed(sure, files="files", teacher="teacher"):
    members = [Member(name=t, answerer=Says(text), task=t) for t, text in (("files", files), ("rules", "rules"))]
    return Panel("router", "router", members, Reading(key=lambda p, t: t), threshold=0.9, teacher=Member(name="teacher", answerer=Says(teacher)) if teacher else None, route=lambda prompt: ("files", sure))


def test_a_router_asks_one_specialist_where_it_is_sure_and_the_teacher_where_it_is_not():
    p = [Prompt(id="1", text="x")]
    assert routed(0.95).answer(p)[0].candidates[0].text == "files" and routed(0.5).answer(p)[0].candidates[0].text == "teacher"
    assert routed(0.95, files="").answer(p)[0].candidates[0].text == "teacher" and "down" in routed(0.95, files="").answer(p)[0].meta["panel"]["missing"]["files"]
    assert routed(0.5, teacher=" ").answer(p)[0].candidates[0].text == "files" and routed(0.5, teacher=None).answer(p)[0].candidates[0].text == "files"


class Toy(TextTask):
    """What is n? Its number."""

    name, version, known_splits = "toy", "1", ("dev", "test")

    def _load(self, split):
        return [Example(id=str(n), prompt=Prompt(id=str(n), text=f"what is {n}"), gold=(str(n),)) for n in range(60)]

    def judge(self, example, text):
        return {"correct": float(text in example.gold)}


class Knows:
    """Right where n leaves one of these rests by 3; else a mistake of its own."""

    parameters = 1

    def __init__(self, name, rests):
        self.name, self.rests = name, rests

    def answer(self, prompts, *, k=1):
        numbers = [int(p.text.split()[-1]) for p in prompts]
        return [Answer(prompt_id=p.id, candidates=(Candidate(text=str(n) if n % 3 in self.rests else f"{self.name} {n}"),)) for p, n in zip(prompts, numbers, strict=True)]


@pytest.fixture
def toy(monkeypatch):
    known = {"a": (0, 1), "b": (1, 2), "c": (0, 2), "all": (0, 1, 2)}
    monkeypatch.setattr("limbeck.resolve.get_task", lambda name, **more: Toy())
    monkeypatch.setattr("limbeck.resolve.get_answerer", lambda model, task, **asking: Knows(model, known[model]) if model in known else empanelling.load_panel(model, task))
    monkeypatch.setattr("limbeck.resolve.expert_folder", lambda model: model)
    monkeypatch.setattr("limbeck.resolve.hash_weights", lambda folder: folder)


def test_choose_prints_the_panel_beside_the_best_single_member_asked_as_often(toy, capsys):
    seating.choose("toy", "dev", ["a", "b", "c"], limit=0, samples=1, most=0, base_url="", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert set(told["chosen"]) == {"a", "b", "c"} and told["panel"] == 1.0 and told["calls"] == 3 and told["oracle"] == 1.0
    assert told["best_single_asked_as_often"] == pytest.approx(2 / 3) and told["gain_low"] > 0.1
    seating.choose("toy", "dev", ["a", "all"], limit=0, samples=1, most=0, base_url="", as_json=False)
    assert "all asked 1 times: 100.0%" in capsys.readouterr().out


def test_nothing_is_chosen_on_an_examination(toy):
    with pytest.raises(LimbeckError, match="for examinations"):
        seating.choose("toy", "test", ["a", "b"], limit=0, samples=1, most=0, base_url="", as_json=True)


CASCADE = '[panel]\nkind = "cascade"\n[[member]]\nmodel = "a"\ncost = 0.1\n[[member]]\nmodel = "b"\ncost = 0.1\n[teacher]\nmodel = "all"\ncost = 1\n'


def test_a_calibrated_cascade_answers_as_its_teacher_for_less(toy, tmp_path, capsys):
    path = tmp_path / "cascade.toml"
    path.write_text(CASCADE)
    seating.calibrate(str(path), "toy", "dev", limit=0, risk=0.15, bound="clopper-pearson", confidence=0.95, as_json=False)
    assert "<- chosen" in capsys.readouterr().out
    told = json.loads((tmp_path / "cascade.calibration.json").read_text())
    assert told["chosen"]["kept"] == 20 and told["chosen"]["wrong_kept"] == 0 and told["chosen"]["share"] == pytest.approx(0.2 + 2 / 3)
    panel = empanelling.load_panel(f"panel:{path}", Toy())
    answers = panel.answer([e.prompt for e in Toy().examples("dev")])
    assert [a.candidates[0].text for a in answers] == [str(n) for n in range(60)] and sum("to_teacher" in a.meta["panel"] for a in answers) == 40
    path.write_text(CASCADE.replace('"b"', '"c"'))
    with pytest.raises(LimbeckError, match="calibration is of another panel"):
        empanelling.load_panel(f"panel:{path}", Toy())


def test_a_risk_that_no_threshold_keeps_is_said_and_nothing_is_written(toy, tmp_path):
    (tmp_path / "cascade.toml").write_text(CASCADE)
    with pytest.raises(LimbeckError, match="no threshold keeps the risk"):
        seating.calibrate(str(tmp_path / "cascade.toml"), "toy", "dev", limit=0, risk=0.01, bound="clopper-pearson", confidence=0.95, as_json=True)
    assert not (tmp_path / "cascade.calibration.json").exists()


def test_what_is_asked_next_is_what_the_panel_disagrees_on(toy, tmp_path, capsys):
    (tmp_path / "p.toml").write_text('[panel]\nkind = "vote"\n[[member]]\nmodel = "a"\n[[member]]\nmodel = "b"\n')
    seating.ask_next(str(tmp_path / "p.toml"), "toy", "dev", spend=40, limit=0, out=tmp_path / "next.jsonl", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert all(int(row["id"]) % 3 != 1 for row in told["chosen"]) and len((tmp_path / "next.jsonl").read_text().splitlines()) == 40
    assert told["worth"]["by_disagreement"] > told["worth"]["high"] or told["worth"]["by_disagreement"] > told["worth"]["by_chance"]


def test_a_member_whose_terms_forbid_the_use_stops_the_training_and_is_named(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text('[panel]\nkind = "vote"\ntask = "cf"\n[[member]]\nmodel = "builtin:cf"\n[[member]]\nmodel = "openai:gpt-4o"\nbase_url = "http://127.0.0.1:9/v1"\n')
    binding = terms.Binding().join_origin("every answer", *empanelling.lineage("generator", f"panel:{path}"))
    with pytest.raises(LimbeckError, match="stop this training") as caught:
        terms.gate(binding, "train", terms.Student())
    assert "openai:gpt-4o" in caught.value.where and "--accept-terms" in caught.value.fix


def test_a_panel_whose_member_may_not_teach_is_refused_before_anybody_is_asked(tmp_path, capsys, monkeypatch):
    path = tmp_path / "p.toml"
    path.write_text('[panel]\nkind = "vote"\n[[member]]\nmodel = "builtin:cf"\n[[member]]\nmodel = "openai:gpt-4o"\nbase_url = "http://127.0.0.1:9/v1"\n')
    monkeypatch.setattr(teaching, "get_teacher", lambda *_: pytest.fail("the teacher was made"))
    with pytest.raises(SystemExit) as left:
        main(["make", "cf-smoke", "--out", str(tmp_path / "run"), "--quiet", "--set", f'teacher.model="panel:{path}"'])
    said = capsys.readouterr().err.rstrip().splitlines()
    assert left.value.code == 2 and len(said) == 3 and "openai:gpt-4o" in said[1] and not (tmp_path / "run" / "distill").exists()


def test_a_panel_teaches_with_the_origins_of_all_its_members(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text('[panel]\nkind = "best"\n[[member]]\nmodel = "builtin:cf"\nsamples = 2\n')
    recipe = load_recipe("cf-smoke", [f'teacher.model="panel:{path}"'])
    from limbeck.resolve import get_pose, get_task

    task = get_task("cf")
    assert teaching.reads_text(recipe, ["autoregressive"]) and "builtin:cf" in {o.model for o in teaching.origins_of(recipe, task)}
    before = teaching.identify(recipe.teacher)
    teacher, pose = empanelling.unposed(teaching.get_teacher(recipe.teacher, task, "run"), get_pose(task))
    example = next(iter(task.generate(3, 1)))
    answer = teacher.answer([pose(example.prompt)], k=1)[0]
    assert answer.status == "scored" and task.verify(example.prompt, answer.candidates[0]).ok
    path.write_text(path.read_text().replace("samples = 2", "samples = 3"))
    assert teaching.identify(recipe.teacher) != before


def test_the_verbs_complain_in_three_lines(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main(["panel", "calibrate", str(tmp_path / "none.toml"), "--task", "cf", "--split", "people-dev"])
    assert left.value.code == 2 and len(capsys.readouterr().err.rstrip().splitlines()) == 3


def test_a_change_of_how_panels_answer_asks_again_where_a_panel_teaches_and_nowhere_else(tmp_path, monkeypatch):
    """The distill step names the rooms whose code made it."""
    from limbeck import make, resolve
    from limbeck import run as floor

    path, code = tmp_path / "p.toml", {"panel": "1"}
    path.write_text('[panel]\nkind = "best"\n[[member]]\nmodel = "builtin:cf"\nsamples = 2\n')
    monkeypatch.setattr(floor, "code_version", lambda *rooms: [(room, code.get(room, "")) for room in rooms])
    monkeypatch.setattr(teaching, "distill_run", lambda recipe, task, codec, step, *_: step.write_text("data.jsonl.gz", ""))
    said = []

    def distil(name, teacher):
        recipe = load_recipe("cf-smoke", [f'teacher.model="{teacher}"', "student.kind=decoder", "student.tokenizer=hf:x"])
        with floor.open_run(tmp_path / name, "", 0) as run:
            make._distill(run, recipe, resolve.get_task("cf"), None, lambda event, facts: said.append((name, event, facts["why"])))

    for _ in range(2):
        distil("panel", f"panel:{path}")
        distil("generator", "generator")
    code["panel"] = "2"
    distil("panel", f"panel:{path}")
    distil("generator", "generator")
    assert [event for name, event, _ in said if name == "panel"] == ["step", "skip", "step"] and said[-2][2] == "code changed"
    assert [event for name, event, _ in said if name == "generator"] == ["step", "skip", "skip"]
