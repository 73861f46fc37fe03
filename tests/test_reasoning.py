"""Problems without end: parts that never mix, checkers that no text can fool or run, worked answers whose steps hold."""

import builtins
import os
from itertools import combinations, combinations_with_replacement
from pathlib import Path

import pytest

from limbeck.errors import LimbeckError
from limbeck.records import Answer, Candidate, Prompt
from limbeck.resolve import get_task
from limbeck.tasks.arithmetic import work_out, wrong_step
from limbeck.tasks.gsm8k import Gsm8kTask
from limbeck.tasks.number_games import is_solvable
from limbeck.tasks.reasoning import CountdownTask, FamilyTask, GsmTask, Puzzle24Task, check_expression, said_expression
from limbeck.testing import check_task

pytest.importorskip("reasoning_gym")
DATA = Path(os.environ.get("LIMBECK_DATA", "/nowhere"))
needs_data = pytest.mark.skipif(not (DATA / "evals/gsm8k").exists(), reason="needs LIMBECK_DATA")
TASKS = (GsmTask, CountdownTask, Puzzle24Task)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("94*4 - 61 - 6", 309), ("(1 + 2) * 3", 9), ("2 - (3 - 4)", 3), ("1/3 * 3", 1), ("10×(8−5)−6", 24), ("3 x 4", 12), ("-(-3)", 3), ("5*-2", -10), ("1,234 + 1", 1235), ("50% * 8", 4), ("[1+2]*{3}", 9), (".5*4", 2),
    ],
)  # fmt: skip
def test_arithmetic_is_exact(text, value):
    assert work_out(text).value == value


@pytest.mark.parametrize("text", ["", "a + 1", "1 2", "(1", "1)", "8/0", "8/(3-3)", "2**3", "1e9", "__import__('os')", "9" * 40, "(" * 300 + "1", "-" * 60 + "1", "1+" * 300 + "1", "1 + +", "×", "1+1; 2", "²"])
def test_what_is_no_arithmetic_is_refused(text):
    with pytest.raises(ValueError):
        work_out(text)


def test_equal_expressions_share_a_form_and_others_do_not():
    same = ["1 + 2 + 3*4", "4*3 + (2 + 1)", "(2 + 3*4) + 1"]
    assert len({work_out(t).form for t in same}) == 1
    assert work_out("2 - (3 - 4)").form == work_out("4 + 2 - 3").form and work_out("8/(4/2)").form == work_out("2*8/4").form
    assert work_out("6*(1+2)/3").form != work_out("6*1 + 6*2").form


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("so 35 × 3 = 105 kiwi", False), ("53 x €13 = €689", False), ("10/3 = 3.33", False), ("10/3=3.35", True), ("5 + 5 = 11", True), ("14/42 = 1/3 miles", False), ("100% - 50% = 50%", False), ("100 - 50 = 50%", False),
        ("9 kilograms * 2 - 1 = 17", False), ("231 pages x 2/3 = 154", False), ("x = 5", False), ("2 * 3 = 6 * 10 = 60", False), ("first 2+2=4, then 4*2 = 9", True), ("$1,000 - $1 = $999", False), ("0.72*60 = 43", True), ("14÷2/3 = 21", False),
    ],
)  # fmt: skip
def test_a_step_that_does_not_hold_is_found(text, wrong):
    assert bool(wrong_step(text)) == wrong


def test_a_step_is_looked_for_in_time_that_grows_with_the_text():
    assert wrong_step("1" * 100_000 + "=" + "2 " * 50_000 + "so 1+1=3") == "1+1 = 3"


@pytest.mark.parametrize("maker", TASKS)
def test_tasks_keep_their_promises(maker):
    check_task(maker(), 4)


@pytest.mark.parametrize("maker", TASKS)
def test_no_question_is_in_two_parts(maker):
    task = maker()
    parts = {split: {e.meta["key"] for e in task.examples(split, 15)} for split in task.splits()}
    parts |= {"examination": {e.meta["key"] for e in task.apart("examination")[:25]}} if maker is Puzzle24Task else {}
    parts["learn"] = {e.meta["key"] for seed in (1, 2) for e in task.generate(seed, 40)}
    assert all(not parts[a] & parts[b] for a, b in combinations(parts, 2)) and all(parts.values())
    assert {task.part_of(e) for e in task.generate(3, 20)} == {"learn"}


def test_numbers_are_kept_apart_in_whatever_order_they_come():
    task = CountdownTask()
    apart = {tuple(sorted(e.prompt.context["numbers"])) for e in task.examples("test", 50)}
    assert not apart & {tuple(sorted(e.prompt.context["numbers"])) for e in task.generate(1, 300)}


def test_templates_of_the_unseen_split_are_never_learnt_from():
    task = GsmTask()
    unseen = {e.meta["cluster"] for e in task.examples("unseen", 30)}
    assert len(unseen) > 2 and not unseen & {e.meta["cluster"] for e in task.generate(1, 200)}
    assert not unseen & {e.meta["cluster"] for e in task.examples("test", 30)}


def test_dev_loss_and_examination_come_from_parts_of_their_own():
    task = Puzzle24Task()
    assert [e.id for e in task.apart("dev")] == [e.id for e in task.examples("dev")]
    assert {task.part_of(e) for e in task.apart("examination")[:20]} == {"examination"}


def test_worked_answers_end_in_the_answer_and_their_steps_hold():
    for example in GsmTask().generate(5, 40):
        assert example.gold[0].splitlines()[-1].startswith("The answer is ") and not wrong_step(example.gold[0]) and "####" not in example.gold[0]


def judged(task, example, text):
    return task.score(example, Answer(prompt_id=example.id, candidates=(Candidate(text=text),)))


def test_word_problems_are_judged_by_their_last_number():
    task = GsmTask()
    example = next(task.generate(1, 1))
    answer = example.gold[0].rpartition("The answer is ")[2].rstrip(".")
    assert judged(task, example, f"So it is {answer}").measures["correct"] == (1.0,)
    assert judged(task, example, f"{answer} or 7").measures["correct"] == (float(float(answer) == 7),)
    assert judged(task, example, f"1 + 1 = 3. The answer is {answer}.").measures == {"correct": (1.0,), "no_wrong_step": (0.0,)}
    assert judged(task, example, "none").status == "no_answer"
    assert not task.verify(example.prompt, Candidate(text="none")).ok and task.verify(example.prompt, Candidate(text="it is 7.0")).outcome == 7


@pytest.mark.parametrize(
    ("text", "ok", "reason"),
    [
        ("6 * 4 * 1 * 1", False, "other numbers"), ("The answer is 8 / (3 - 8 / 3).", True, ""), ("8/(3-8/3)", True, ""), ("The answer is 8/(3-8/3) = 24.", True, ""), ("8+8+3+3", False, "another value"), ("24", False, "other numbers"),
        ("steps\n**8/(3-8/3)**", True, ""), ("The answer is: 8/(3-8/3)", True, ""), ("", False, "no expression"), ("The answer is", False, "no expression"), ("The answer is open('x').", False, "no expression"), ("83-8/3", False, "other numbers"),
    ],
)  # fmt: skip
def test_expressions_are_checked_without_gold(text, ok, reason):
    check = check_expression(text, [8, 8, 3, 3], 24)
    assert check.ok == ok and check.reason.startswith(reason)


def test_which_fours_make_24_is_known_without_missing_any():
    fours = [f for f in combinations_with_replacement(range(1, 11), 4) if is_solvable(f)]
    assert len(fours) == 566  # of 715, as is known of this game
    assert is_solvable((3, 3, 8, 8)) and is_solvable((1, 3, 4, 6)) and not is_solvable((1, 1, 1, 1))


def test_other_ways_of_writing_a_solution_have_one_outcome_and_are_right():
    task = Puzzle24Task()
    example = task.examples("test", 1)[0]
    gold = said_expression(example.gold[0])
    assert task.verify(example.prompt, Candidate(text=f"({gold})")).outcome == task.verify(example.prompt, Candidate(text=example.gold[0])).outcome
    assert judged(task, example, f"0 + {gold}").measures["correct"] == (0.0,) and judged(task, example, "I give up").status == "no_answer"


def test_no_answer_reaches_eval(monkeypatch):
    """`reasoning-gym` itself evaluates answers to these families."""
    hostile = "[print('run')][0] if __import__('os') else 1"
    items = []
    for family in ("binary_matrix", "spiral_matrix", "string_insertion", "n_queens", "polynomial_multiplication", "simple_integration", "puzzle24", "countdown", "bitwise_arithmetic"):
        task = FamilyTask(family)
        items.append((task, next(task.generate(1, 1))))
    monkeypatch.setattr(builtins, "eval", lambda *_: pytest.fail("eval was called"))
    sympy = pytest.importorskip("sympy")
    monkeypatch.setattr(sympy, "parse_expr", lambda *_, **__: pytest.fail("parse_expr was called"))
    for task, example in items:
        verdict = judged(task, example, f"Answer: {hostile}")
        assert verdict.measures["correct"] == (0.0,)


def test_families_are_judged_by_what_is_said_of_them():
    assert {f: FamilyTask(f).judged_by for f in ("word_ladder", "countdown", "gsm_symbolic", "maze")} == {"word_ladder": "library", "countdown": "expression", "gsm_symbolic": "number", "maze": "exact"}
    check_task(FamilyTask("chain_sum"), 3)
    check_task(FamilyTask("spiral_matrix"), 3)
    task = FamilyTask("chain_sum")
    example = next(task.generate(2, 1))
    answer = example.gold[0].removeprefix("Answer: ")
    assert judged(task, example, f"I add.\nAnswer: {answer}.00").measures["correct"] == (1.0,)  # the library reads numbers
    assert judged(task, example, f"Answer: {answer}1").measures["correct"] == (0.0,) and judged(task, example, "Answer:").status == "no_answer"
    assert judged(task, example, "Answer: " + "9" * 5_000).measures["correct"] == (0.0,)


def test_a_scorer_that_says_yes_to_anything_is_not_asked():
    task = FamilyTask("game_of_life_halting")  # the library's calls every text but "" right where the gold is "True"
    for example in task.generate(1, 6):
        wrong = "False" if example.gold[0].endswith("True") else "True"
        assert judged(task, example, f"Answer: {wrong}").measures["correct"] == (0.0,)


@pytest.mark.parametrize(("family", "what"), [("gsm_symbolik", "did you mean 'gsm_symbolic'"), ("rubiks_cube", "name another family"), ("composite", "name another family")])
def test_families_that_cannot_be_used_are_refused(family, what):
    with pytest.raises(LimbeckError, match="family") as problem:
        FamilyTask(family)
    assert what in problem.value.fix


def test_a_missing_library_and_a_wrong_split_are_said(monkeypatch):
    from importlib import metadata

    from limbeck.tasks import reasoning

    with pytest.raises(LimbeckError, match="no split"):
        CountdownTask().examples("train")

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    reasoning._library.cache_clear()
    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(LimbeckError, match="not installed") as problem:
        GsmTask()
    assert "limbeck[reasoning]" in problem.value.fix
    monkeypatch.undo()
    assert GsmTask().version
    assert CountdownTask().verify(Prompt(id="", text="", context={"numbers": [1, 2], "target": 3}), Candidate(text="1+2")).ok


def test_a_family_with_too_few_questions_is_said():
    class One(CountdownTask):
        def _make(self, seed):
            found = super()._make(7)
            return found if found and self.part_of(found) == "learn" else None

    with pytest.raises(LimbeckError, match="too few different questions"):
        One().examples("test", 1)


@needs_data
def test_gsm8k_teaches_worked_solutions_and_scores_as_before():
    task = Gsm8kTask()
    for example in task.examples("train", 50):
        assert example.gold[0].splitlines()[-1].startswith("The answer is ") and "<<" not in example.gold[0]
        assert judged(task, example, example.gold[0]).measures["correct"] == (1.0,)
    assert all(e.gold[0].replace(",", "").lstrip("-").isdigit() for e in task.examples("test", 50)) and task.version == Gsm8kTask(0).version == "1-0shot-212908"
    dev, examination = (task.apart(purpose) for purpose in ("dev", "examination"))
    assert len(dev) > 300 and len(examination) > 300 and not {e.id for e in dev} & {e.id for e in examination}


def test_countdown_can_be_made_easier_and_stays_apart():
    task, plain = get_task("countdown:numbers=3,largest=9,targets=1-60"), get_task("countdown")
    assert task.name == "countdown:numbers=3,largest=9,targets=1-60" and plain.name == "countdown"
    made = list(task.generate(0, 60))
    for e in made:
        assert len(e.prompt.context["numbers"]) == 3 and max(e.prompt.context["numbers"]) <= 9 and 1 <= e.prompt.context["target"] <= 60
        assert task.verify(e.prompt, Candidate(text=e.gold[0])).ok
    asked = {(tuple(sorted(e.prompt.context["numbers"])), e.prompt.context["target"]) for e in made}
    tests = {(tuple(sorted(e.prompt.context["numbers"])), e.prompt.context["target"]) for e in task.examples("test", 50)}
    assert len(tests) == 50 and not asked & tests
