"""Comparing students: ways to answer tried apart, waiting time in a process of its own, every score, a paper's tables beside ours."""

import json

import pytest

from limbeck import sweeping
from limbeck.catalog.codefusion_paper import paper_curve, paper_defects, paper_table
from limbeck.errors import LimbeckError
from limbeck.evaluate.footprint import measure_footprint
from limbeck.recipe.load import load_recipe
from limbeck.records import Answer, Candidate, Example, Prompt, Verdict
from limbeck.report.study import beside_paper, every_score, quality_by_cost, study_of


class Counting:
    """Right about as many prompts as it is told to be."""

    name, parameters = "counting", 7

    def __init__(self, right=0):
        self.right = right

    def answer(self, prompts, *, k=1):
        return [Answer(prompt_id=p.id, candidates=(Candidate(text="yes" if int(p.id) < self.right else "no"),)) for p in prompts]


class YesTask:
    name, version, measures = "yes", "1", ("same",)

    def score(self, example, answer):
        return Verdict(status="scored", measures={"same": tuple(float(c.text == example.gold[0]) for c in answer.candidates)})


def examples(count):
    return [Example(id=str(n), prompt=Prompt(id=str(n), text="?"), gold=("yes",)) for n in range(count)]


def test_the_way_that_scores_best_apart_is_chosen_and_the_first_of_equals(monkeypatch):
    monkeypatch.setattr(sweeping, "load_swept", lambda path, task, name, setting: Counting(setting["right"]))
    told = []
    found = sweeping.sweep(YesTask(), "folder", [{"right": 1}, {"right": 3}, {"right": 3, "also": 1}], examples(4), 5, lambda a, b: told.append((a, b)))
    assert found["chosen"] == {"right": 3} and [t["top_1"] for t in found["tried"]] == [0.25, 0.75, 0.75] and told[-1] == (3, 3)


def test_a_way_is_put_on_an_expert():
    expert = Counting()
    expert.beams, expert.sampling = 6, {"steps": 9}
    assert sweeping.set_sampling(expert, {"beams": 3, "temperature": 0.5}).beams == 3 and expert.sampling == {"steps": 9, "temperature": 0.5}
    assert sweeping.set_sampling(expert, {}).beams == 3 and expert.sampling["steps"] == 9


def test_waiting_time_is_measured_in_a_process_of_its_own():
    found = measure_footprint(Counting, [e.prompt for e in examples(4)], 2)
    assert found["n"] == 4 and 0 <= found["latency_ms"] <= found["latency_ms_p90"] and (found["memory_mb"] is None or found["memory_mb"] > 5)


def test_a_sweep_over_what_is_examined_is_refused(tmp_path):
    (tmp_path / "r.toml").write_text('[evaluate]\nsplits = ["people-dev", "generated"]\nsweep = { autoregressive = [{ beams = 2 }] }\n')
    with pytest.raises(LimbeckError, match="tuned on what is examined"):
        load_recipe(str(tmp_path / "r.toml"))


def test_every_score_has_a_row_an_answerer_and_measure():
    def score(name, value):
        return {"name": name, "value": value, "low": value, "high": value}

    rows = [{"answerer": who, "scores": [score(f"{m}-{k}", 0.5) for m in ("cms", "template", "exact") for k in (1, 3, 5)] + [score("distinct-1", 0.2)]} for who in ("a", "b")]
    found = every_score(rows)
    assert list(found) == ["cms", "template", "exact"] and [r["who"] for r in found["cms"]] == ["a", "b"] and len(found["exact"][0]["ranks"]) == 3


def test_the_papers_tables_are_whole_and_its_withdrawn_size_is_named():
    for task in ("python", "bash", "cf"):
        table = beside_paper(task, "codefusion")
        assert len(table["rows"]) == 10 and all(len(r["top"]) == len(r["exact"]) == 3 for r in table["rows"])
        assert [r["who"] for r in table["rows"] if r["valid"]] == ["Diffusion-LM", "GENIE", "CodeFusion"] and len(table["ablations"]) == 5
        assert all(a <= b <= c for a, b, c in (r["top"] for r in table["rows"]))
    assert len(paper_table(2, "bash")) == 6 and len(paper_curve(2, "bash")) == 13 and paper_curve(6, "bash") == []
    assert any("20B" in d for d in paper_defects())


def test_a_study_reads_what_the_run_has_and_leaves_out_what_it_has_not(tmp_path):
    results = {"splits": ["dev"], "scores": []}
    empty = study_of(tmp_path, results, [], "")
    assert empty["sweeps"] == {} and empty["curve"] == "" and empty["paper"] == {}
    tried = [{"setting": {"steps": n}, "top_1": 0.1 * n, "top_5": 0.2 * n, "valid": 1.0, "distinct_4": 0.5, "cpu_seconds_per_answer": 0.01 * n} for n in (1, 2)]
    (tmp_path / "sweep" / "<b>x").mkdir(parents=True)
    (tmp_path / "sweep" / "<b>x" / "sweep.json").write_text(json.dumps({"n": 5, "k": 5, "measure": "cms", "tried": tried, "chosen": {"steps": 2}}))
    found = study_of(tmp_path, results, [], "")
    assert found["curve"].startswith("<svg") and "<b>x" not in found["curve"] and quality_by_cost({}) == ""


def test_answers_of_one_family_pool_their_probability():
    import math

    from limbeck.models.ranking import by_family

    found = by_family([Candidate(text=t, score=math.log(p)) for t, p in (("ls a", 0.4), ("cat a", 0.3), ("cat b", 0.25))], lambda text: text.split()[0])
    assert [c.text for c in found] == ["cat a", "ls a", "cat b"] and math.isclose(found[0].score, math.log(0.55)) and found[2].score == math.log(0.25) - 2.0
    assert by_family([], str) == []


def test_runs_are_compared_by_a_strict_measure_too():
    from limbeck.evaluate.summary import summarise

    def result(who, right):
        trials = [{"id": str(n), "status": "scored", "cms": [0.9], "template": [float(n < right)]} for n in range(10)]
        return {"dev": {"answerer": who, "task": "t", "version": "1", "split": "dev", "main": "cms", "scores": [], "parameters": 1, "cpu_seconds_per_answer": 0.1, "trials": trials}}

    found = summarise("x", {"student-s0": result("student-s0", 8), "nearest": result("nearest", 2)}, ["student-s0"], ["dev"], ("template",))
    gaps = {c["measure"]: c["difference"] for c in found["comparisons"]}
    assert gaps["top-1"] == 0 and abs(gaps["template-1"] - 0.6) < 1e-9 and "template-5" in gaps


def test_a_measure_that_no_verdict_has_is_refused(tmp_path):
    from limbeck.cli import main

    path = tmp_path / "r.json"
    path.write_text(json.dumps({"task": "t", "version": "1", "split": "d", "trials": [{"id": "a", "status": "scored", "cms": [1.0]}]}))
    with pytest.raises(SystemExit) as left:
        main(["compare", str(path), str(path), "--measure", "bleu"])
    assert left.value.code == 2


def test_a_student_goes_on_from_an_expert_of_its_shape_and_from_no_other(tmp_path):
    import torch
    from safetensors.torch import load_file

    from limbeck.models.expert import build_network, build_shape, save_expert, start_from
    from limbeck.recipe.schema import StudentSection
    from limbeck.tasks.bash.codec import BashCodec

    codec, section = BashCodec(), StudentSection(width=32, heads=2, buckets=128, encoder_layers=1, decoder_layers=1)
    torch.manual_seed(1)
    save_expert(tmp_path / "old", build_network(build_shape(section, codec)), codec, section)
    fresh = build_network(build_shape(section, codec))
    start_from(tmp_path / "old", fresh, codec)
    kept = load_file(tmp_path / "old" / "model.safetensors")
    assert all(torch.equal(t, kept[n].float()) for n, t in fresh.state_dict().items() if n in kept)
    wider = build_network(build_shape(section.model_copy(update={"width": 48}), codec))
    with pytest.raises(LimbeckError, match="another shape"):
        start_from(tmp_path / "old", wider, codec)
