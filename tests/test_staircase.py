"""Generations: gates, ends, equal compute, verifiers that filter nothing; and a small one climbed, killed and climbed on."""

import json
from pathlib import Path

import pytest

from limbeck import climbing
from limbeck.climbing import check_climb, climb
from limbeck.distill.staircase import Step, ask_for, decide_gate, gains, overlaps, planted
from limbeck.errors import LimbeckError
from limbeck.evaluate.compare import compare_seeds, over_seeds
from limbeck.recipe.load import load_recipe
from limbeck.records import Example, Prompt
from limbeck.report.staircase import write_page
from limbeck.train.encoded import read_lines

RECIPE = """
[recipe]
name = "stair"
task = "puzzle24"
seeds = [0]
[teacher]
model = "generator"
[distill]
prompts = 30
dev = 10
held_out = 1
[keep]
contamination = "off"
[student]
kind = "decoder"
tokenizer = "own"
width = 16
decoder_layers = 1
heads = 2
length = 512
[train]
steps = 3
batch = 2
warmup = 2
evaluate_every = 3
[evaluate]
splits = ["test"]
limit = 4
[staircase]
generations = 1
requests = 6
samples = 2
max_tokens = 12
larger = { "student.width" = 32 }
arms = ["seed", "unverified", "gold"]
processes = 1
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "r.toml"
    path.write_text(RECIPE)
    return path


def result(rights):
    return {"answerer": "a", "task": "t", "version": "1", "split": "test", "main": "correct", "trials": [{"id": str(i), "correct": [float(r)]} for i, r in enumerate(rights)]}


def example(at, gold):
    return Example(id=str(at), prompt=Prompt(id=str(at), text=str(at)), gold=(gold,))


def test_a_teacher_that_is_not_better_than_its_student_may_not_teach():
    good, bad = result([1] * 80 + [0] * 20), result([1] * 40 + [0] * 60)
    assert decide_gate(good, bad, compare_seeds)["open"]
    closed = decide_gate(bad, good, compare_seeds)
    assert not closed["open"] and "-40.0" in closed["said"] and closed["n"] == 100
    assert not decide_gate(good, good, compare_seeds)["open"]


def test_a_generation_gains_only_beyond_its_interval():
    assert gains(result([1] * 60 + [0] * 40), result([1] * 30 + [0] * 70), compare_seeds)["gained"]
    assert not gains(result([1] * 31 + [0] * 69), result([1] * 30 + [0] * 70), compare_seeds)["gained"]


def test_small_models_are_asked_more_often_for_the_same_compute():
    assert ask_for(8, 400, 100) == 32 and ask_for(8, 400, 400) == 8 and ask_for(1, 100, 400) == 1


def test_planted_answers_show_a_verifier_that_passes_everything():
    examples = [example(i, f"answer {i}") for i in range(20)]
    assert planted(examples, lambda e, text: True) == (19, 20)
    assert planted(examples, lambda e, text: text in e.gold) == (0, 20)


def test_records_that_ask_what_a_test_asks_are_counted_however_spelt():
    tests = [example(1, "gold one"), Example(id="2", prompt=Prompt(id="2", text="Sum it", context={"table": {"a": 1}}), gold=("two", "zwei"))]
    records = [
        {"text": " 1 ", "answer": "other", "context": {"messages": [{"role": "user", "content": "1"}]}}, {"text": "3", "answer": "GOLD  one"},
        {"text": "sum it", "answer": "x", "context": {"table": {"a": 1}}}, {"text": "sum it", "answer": "zwei", "context": {"table": {"a": 2}}},
    ]  # fmt: skip
    assert overlaps(records, tests) == {"requests": 2, "answers": 2}


def test_an_interval_over_seeds_covers_other_seeds_too():
    """2,000 made experiments of three seeds and 100 questions: at least 95 % of the intervals hold the true mean; over questions alone, far fewer."""
    import numpy as np

    rng, held, bare = np.random.default_rng(0), 0, 0
    for _ in range(2_000):
        each = [rng.normal(0.0, 0.03) + rng.normal(0, 0.02) for _ in range(3)]
        low, high = np.mean(each) - 1.96 * 0.02 / 3**0.5, np.mean(each) + 1.96 * 0.02 / 3**0.5
        wide = over_seeds(low, high, each)
        held, bare = held + (wide[0] <= 0 <= wide[1]), bare + (low <= 0 <= high)
    assert held >= 0.945 * 2_000 and bare < 0.8 * 2_000
    assert over_seeds(0.1, 0.2, [0.15]) == (0.1, 0.2)


def test_processor_seconds_are_counted_by_step_and_not_for_what_was_done():
    from limbeck.climbing import Clock

    clock = Clock(lambda *_: None)

    def burn():
        return sum(i * i for i in range(300_000))

    clock.tell("skip", {"name": "distill"})
    burn()
    clock.tell("step", {"name": "train/student-s0"})
    clock.tell("skip", {"name": "train/larger-s0"})
    burn()
    spent = clock.stop()
    assert set(spent) == {"train"} and spent["train"] > 0


def test_missing_answers_are_not_right():
    made = result([1, 1])
    made["trials"].append({"id": "9"})
    assert Step(arm="self", seed=0, generation=1, records=3, result=made).score == pytest.approx(2 / 3)


@pytest.mark.parametrize(("setting", "said"), [
    ("student.source=hf:x", "random weights"), ("teacher.model=builtin:cf", "task's own gold"), ("staircase.larger={}", "nothing says what the larger"), ("student.kind=masked", "random weights"),
])  # fmt: skip
def test_what_cannot_climb_is_said_before_anything_is_trained(recipe, setting, said):
    with pytest.raises(LimbeckError, match=said):
        check_climb(load_recipe(str(recipe), [setting]))


@pytest.mark.parametrize(("change", "said"), [
    ((RECIPE[RECIPE.index("[staircase]") :], ""), "has no [staircase]"), (('"gold"]', '"sideways"]'), "sideways"), (('"puzzle24"', '"gsm"'), "planted wrong answers"), (('"puzzle24"', '"mmlu"'), "cannot make examples"),
    (('"puzzle24"', '"countdown:numbers=40"'), "no game has these rules"), (('"puzzle24"', '"countdown:size=4"'), "is no rule of countdown"), (('"puzzle24"', '"countdown:numbers=2,largest=2"'), "too few different questions"),
])  # fmt: skip
def test_bad_staircases_end_in_three_lines(recipe, tmp_path, capsys, change, said):
    from limbeck.cli import main

    text = RECIPE.replace(*change)
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(SystemExit) as left:
        main(["staircase", str(path), "--out", str(tmp_path / "out")])
    lines = capsys.readouterr().err.rstrip().splitlines()
    assert left.value.code == 2 and said in lines[0] and lines[1].startswith("  where:") and lines[2].startswith("  fix:") and len(lines) == 3


def test_a_verifier_that_looks_at_the_form_alone_is_found_out(recipe, tmp_path, monkeypatch):
    from limbeck.records import Check
    from limbeck.tasks.reasoning import Puzzle24Task

    monkeypatch.setattr(Puzzle24Task, "verify", lambda *_: Check(ok=True))
    with pytest.raises(LimbeckError, match=r"passes \d\d+ of 100 planted wrong answers"):
        climb(load_recipe(str(recipe)), tmp_path / "out", lambda *_: None)


@pytest.mark.slow
def test_a_staircase_is_climbed_and_going_on_after_a_kill_gives_the_same(recipe, tmp_path, monkeypatch):
    out, told = tmp_path / "out", []
    loaded = load_recipe(str(recipe))
    whole = climbing.make
    monkeypatch.setattr(climbing, "make", lambda r, folder, *a, **k: (_ for _ in ()).throw(KeyboardInterrupt) if "gold" in folder.parent.name else whole(r, folder, *a, **k))
    with pytest.raises(KeyboardInterrupt):
        climb(loaded, out, lambda *_: None)
    monkeypatch.setattr(climbing, "make", whole)
    results = climb(loaded, out, lambda event, facts: told.append((event, facts.get("name"))))
    assert ("step", "unverified-s0/g1/distill") not in told and ("step", "gold-s0/g1/distill") in told
    assert [(r["arm"], r["generation"]) for r in results["rows"]] == [("seed", 0), ("unverified", 1), ("gold", 1)]
    gold = next(r for r in results["rungs"] if r["arm"] == "gold")
    assert gold["records"] > results["rungs"][0]["records"] > 20  # other numbers are another problem: data are not taken for dev's
    assert climb(loaded, out, lambda *_: None) == results == json.loads((out / "staircase.json").read_text())
    assert "unverified" in (out / "report" / "index.html").read_text()


def test_the_page_shows_every_arm_and_escapes(tmp_path):
    rungs = [{"arm": "seed", "seed": 0, "generation": 0, "records": 3, "gate": {}, "skipped": "<b>", "stopped": "", "asked": 0, "drawn": 0, "kept": 0, "distinct": 0, "score": 0.1}]
    rows = [{"arm": arm, "generation": g, "seeds": 1, "score": 0.1, "each": [0.1], "n": 5} for arm, g in (("seed", 0), ("self", 1))]
    rows[1] |= {
        "low": 0.05, "high": 0.2, "minus_seed": [0.0, -0.05, 0.05], "minus_self_each": [0.01], "made": {"records": 9, "asked": 6, "drawn": 48, "kept": 3, "distinct": 4, "fresh": 3, "requests": 2, "answers": 1},
        "spend": {"tokens_in": 10, "tokens_out": 12_345, "usd": 0.25, "cpu_s": {"distill": 2.0, "train": 31.0}},
    }  # fmt: skip
    page = Path(write_page({"name": "n<i>", "task": "t", "seeds": [0], "rows": rows, "rungs": rungs}, tmp_path / "p.html")).read_text()
    assert "self" in page and "<b>" not in page and "n<i>" not in page and "<svg" in page
    assert "12,345" in page and "0.2500 USD were paid" in page and "<td>50%<td>62<td>4<td>2<td>1" in page and "10.0 [5.0, 20.0]" in page


@pytest.mark.slow
def test_arms_worked_on_side_by_side_give_the_same(recipe, tmp_path):
    alone = climb(load_recipe(str(recipe), ["train.steps=2"]), tmp_path / "alone", lambda *_: None)
    told = []
    together = climb(load_recipe(str(recipe), ["train.steps=2", "staircase.processes=2"]), tmp_path / "together", lambda event, facts: told.append((event, facts.get("name"))))
    assert ("step", "unverified-s0/g1/distill") in told  # said in another process, heard here
    for results in (alone, together):
        for made in (*results["rungs"], *results["rows"]):
            assert made["spend"].pop("cpu_s")["train"] > 0
    assert together == alone
    for arm in ("unverified", "gold"):
        one, other = (tmp_path / way / f"{arm}-s0" / "g1" for way in ("alone", "together"))
        assert list(read_lines(one / "distill" / "data.jsonl.gz")) == list(read_lines(other / "distill" / "data.jsonl.gz"))
        for step in ("distill", "train/student-s0"):  # wherever they are made they are the same
            assert json.loads((one / step / "manifest.json").read_text())["fingerprint"] == json.loads((other / step / "manifest.json").read_text())["fingerprint"]
        assert (one / "train/student-s0/expert/model.safetensors").read_bytes() == (other / "train/student-s0/expert/model.safetensors").read_bytes(), arm


@pytest.mark.slow
@pytest.mark.parametrize(("task", "split"), [("cf", "people-dev"), ("gsm", "test"), ("puzzle24", "test")])
def test_any_task_whose_answers_can_be_judged_climbs(recipe, tmp_path, monkeypatch, task, split):
    """Students that read and write text draw as they like, also where experts with a grammar could not."""
    monkeypatch.setattr(climbing, "GATED_ON", 6)
    loaded = load_recipe(str(recipe), [f'recipe.task="{task}"', f'evaluate.splits=["{split}"]', "keep.gold=true", "train.steps=2", "student.length=2048", 'staircase.arms=["seed", "unverified"]'])
    results = climb(loaded, tmp_path / "out", lambda *_: None)
    assert [(r["arm"], r["generation"], r["n"]) for r in results["rows"]] == [("seed", 0, 4), ("unverified", 1, 4)]
    made = results["rows"][1]
    assert made["made"]["drawn"] >= 12 and made["spend"]["tokens_out"] > 0 and made["made"]["requests"] == 0
    assert results["rungs"][1]["gate"]["n"] == 6


@pytest.mark.slow
def test_an_arm_none_of_whose_answers_passed_ends_and_says_so(recipe, tmp_path):
    loaded = load_recipe(str(recipe), ['staircase.arms=["seed", "self", "gold"]'])  # three steps teach no student to solve a puzzle
    results = climb(loaded, tmp_path / "out", lambda *_: None)
    ended = next(r for r in results["rungs"] if r["arm"] == "self")
    assert ended["skipped"] == "none of its answers passed" and ended["score"] == next(r for r in results["rungs"] if r["arm"] == "seed")["score"]
    assert [r["arm"] for r in results["rungs"]] == ["seed", "self", "gold"]
