"""Draws judged by running them beside the gold."""

import shutil

import pytest

from limbeck.errors import LimbeckError
from limbeck.judging import can_be_judged, check_judge, get_judge
from limbeck.recipe.load import load_recipe
from limbeck.records import Answer, Candidate, Example, Prompt
from limbeck.resolve import get_task

needs_bubblewrap = pytest.mark.skipif(not shutil.which("bwrap"), reason="needs bubblewrap")


def recipe_with(*settings):
    return load_recipe("bash", ["student.kind=decoder", "student.tokenizer=own", "keep.run=true", "teacher.model=builtin:bash", *settings])


def example(gold):
    return Example(id=gold, prompt=Prompt(id=gold, text="a request"), gold=(gold,))


def say(judge, gold, text):
    return judge(example(gold), Answer(prompt_id=gold, candidates=(Candidate(text=text),)))


@needs_bubblewrap
def test_a_draw_is_right_where_it_does_what_the_gold_does_however_spelt():
    judge = get_judge(recipe_with(), get_task("bash"))
    gold = "find . -type f -name '*.txt' | wc -l"
    assert say(judge, gold, "find -name \"*.txt\" -type f | wc --lines").measures["functional"] == (1.0,)
    assert say(judge, gold, "find . -type f | wc -l").measures["functional"] == (0.0,)


@needs_bubblewrap
def test_a_gold_that_tells_nothing_leaves_it_to_the_scorer_or_to_nobody():
    unseen = "curl http://example.org/a.tgz"
    alone, both = get_judge(recipe_with(), get_task("bash")), get_judge(recipe_with("keep.gold=true"), get_task("bash"))
    assert say(alone, unseen, unseen).status == "no_answer" and say(alone, unseen, unseen).reason
    assert next(iter(say(both, unseen, unseen).measures.values())) == (1.0,)
    assert [e.id for e in can_be_judged(alone, [example(unseen), example("ls -a")])] == ["ls -a"]


def test_what_cannot_be_run_beside_its_gold_is_said_before_anything_is_asked():
    with pytest.raises(LimbeckError, match="nothing of task 'cf' can be run, beside its gold"):
        check_judge(recipe_with("recipe.task=cf"))
    assert get_judge(load_recipe("cf", ()), get_task("cf")) is None
    assert get_judge(recipe_with("teacher.model=generator"), get_task("bash")) is None  # gold is not run beside itself


@needs_bubblewrap
@pytest.mark.parametrize("setting", ["keep.run=true", "keep.gold=true"])
def test_functions_are_judged_by_their_tests_in_batches(setting, monkeypatch):
    recipe = load_recipe("functions-staircase", ["keep.run=false", setting, "teacher.model=self"])
    task = get_task(recipe.recipe.task)
    check_judge(recipe)
    judge = get_judge(recipe, task)
    one, other = task.generate(3, 2)
    judge.see([(one, one.gold[0]), (one, other.gold[0]), (one, "def f(")])
    monkeypatch.setattr("limbeck.tasks.functions.run_functions", lambda jobs, **_: [] if not jobs else pytest.fail("what was seen is run again"))

    def right(text):
        return judge(one, Answer(prompt_id=one.id, candidates=(Candidate(text=text),))).measures["passed"]

    assert [right(text) for text in (one.gold[0], other.gold[0], "def f(")] == [(1.0,), (0.0,), (0.0,)]


@needs_bubblewrap
def test_planted_answers_are_told_apart_by_running_them_alone():
    from limbeck.climbing import _try_verifier

    recipe = load_recipe("functions-staircase", ())
    task = get_task(recipe.recipe.task)
    _try_verifier(recipe, task)
    bare = load_recipe("functions-staircase", ["keep.run=false"])
    with pytest.raises(LimbeckError, match=r"passes \d+ of 100 planted") as told:
        _try_verifier(bare, task)
    assert "keep.run = true" in told.value.fix
