"""Requests for functions, tests that near misses fail, and hostile programs that cost only themselves."""

import json
import random
import shutil
import string
from itertools import combinations

import pytest

from limbeck.errors import LimbeckError
from limbeck.evaluate.examine import examine, value_of
from limbeck.records import Answer, Candidate
from limbeck.resolve import get_baseline, get_task
from limbeck.tasks import function_runs
from limbeck.tasks.function_mutants import mutants
from limbeck.tasks.function_runs import Job, Run, run_functions, shown
from limbeck.tasks.function_steps import MEANT, STEPS, Placed, _compiled
from limbeck.tasks.functions import FunctionsTask, behaviour, draw_inputs, why_wrong
from limbeck.testing import check_task

needs_bubblewrap = pytest.mark.skipif(not shutil.which("bwrap"), reason="needs bubblewrap")
EVEN = "def f(xs):\n    return [x for x in xs if x % 2 == 0]\n"
HOSTILE = [
    ("def f(xs):\n    while True: pass", "did not end in time"),
    ("import time\ndef f(xs): time.sleep(60)", "did not end in time"),
    ("import sys\ndef f(xs): sys.exit(0)", "SystemExit"),
    ("import os\nos._exit(0)", "ended before"),
    ("import os\ndef f(xs):\n    while True: os.fork()", "BlockingIOError"),
    ("import subprocess\ndef f(xs): return subprocess.check_output('true')", "BlockingIOError"),
    ("import threading\ndef f(xs):\n    threading.Thread(target=print).start()\n    return xs", "can't start new thread"),
    ("import os\ndef f(xs): os.kill(os.getppid(), 9)", "harmed"),
    ("import os\ndef f(xs): os.kill(-1, 9)", "harmed"),
    ("import os, resource\ndef f(xs):\n    resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (9, 9))\n    return [2, 4]", "harmed"),
    ("def f(xs): return [0] * 10 ** 10", "MemoryError"),
    ("kept = []\ndef f(xs):\n    while True: kept.append(bytes(1 << 24))", "MemoryError"),
    ("def f(xs): return 'x' * 10 ** 6", "returned too much"),
    ("open('/tmp/x', 'w')\ndef f(xs): return xs", "Read-only file system"),
    ("open('/dev/shm/x', 'w')\ndef f(xs): return xs", "Read-only file system"),
    ("import os\nopen(f'/proc/{os.getppid()}/mem', 'rb+')\ndef f(xs): return xs", "PermissionError"),
    ("import os\nos.listdir(f'/proc/{os.getppid()}/fd')\ndef f(xs): return xs", "PermissionError"),
    ("import socket\nsocket.create_connection(('192.0.2.1', 80), 1)\ndef f(xs): return xs", "unreachable"),
    ("import ctypes\nctypes.string_at(0)\ndef f(xs): return xs", "ended before"),
    ("def f(xs): return f(xs)", "RecursionError"),
    ("def f(xs): return tuple(xs)", "returned a tuple"),
    ("def g(xs): return xs", "KeyError"),
    ("def f(xs) return xs", "SyntaxError"),
    ("def f(xs): return 10 ** 9999", "ValueError"),
    ("def f(xs): return {}['\x00']", "null bytes"),
]
FORGED = [  # what has a result all the same, and not the right one
    "import builtins\nbuiltins.list = builtins.sorted = builtins.len = None\ndef f(xs): return 0",
    "import json\njson.dumps = json.loads = lambda *_: '[2, 4]'\ndef f(xs): return xs",
    "import sys\nfor frame in sys._current_frames().values():\n    while frame:\n        frame.f_globals.clear() if '__file__' not in frame.f_globals else None\n        frame = frame.f_back\ndef f(xs): return xs",
    "import os\nfor at in (0, 1, 2, *range(4, 99)):\n    try: os.write(at, b'[2, 4]\\n[2, 4]\\n')\n    except OSError: pass\ndef f(xs): return 0",
    "import os\nos.write(3, b'[2, 4]\\n')\ndef f(xs): return 0",
    "print('[2, 4]', flush=True)\ndef f(xs): return 0",
]


@pytest.fixture(scope="module")
def runs():
    """Every hostile program with a good one after it, all at once."""
    programs = [text for hostile in [*(text for text, _ in HOSTILE), *FORGED] for text in (hostile, EVEN)]
    return run_functions([Job(program=text, name="f", inputs=[[1, 2, 3, 4], []]) for text in programs])


@needs_bubblewrap
def test_a_hostile_program_costs_only_itself(runs):
    for at, (text, says) in enumerate(HOSTILE):
        assert says in runs[2 * at].reason and not runs[2 * at].results, text
        assert runs[2 * at + 1] == Run(results=("[2, 4]", "[]")), text


@needs_bubblewrap
def test_nothing_a_program_prints_or_overwrites_makes_it_right(runs):
    tests = [([1, 2, 3, 4], [2, 4]), ([], [])]
    for at, text in enumerate(FORGED, len(HOSTILE)):
        assert why_wrong(runs[2 * at], tests), text
        assert not why_wrong(runs[2 * at + 1], tests), text


@pytest.mark.slow
@needs_bubblewrap
def test_who_stops_the_process_that_judges_is_found(monkeypatch):
    monkeypatch.setattr(function_runs, "WALL_S", 4.0)
    monkeypatch.setattr(function_runs, "SLACK_S", 4.0)
    stopped, good = run_functions([Job(program=text, name="f", inputs=[[2]]) for text in ("import os\ndef f(xs): os.kill(os.getppid(), 19)", EVEN)], workers=1)
    assert stopped.reason.startswith("harmed") and good.results == ("[2]",)


@needs_bubblewrap
def test_a_program_sees_neither_results_nor_other_programs():
    """It looks through all its objects and what it was forked from."""
    look = "import gc, sys\nseen = repr(gc.get_objects()) + repr([f.f_locals for f in sys._current_frames().values()])\ndef f(x): return [''.join(x) in seen, 'look' + 'ing' in seen]  # looking"
    marked = "def f(x):\n    return 'marked-program'  # {}"
    before, found, after = run_functions([Job(program=text, name="f", inputs=[given]) for text, given in ((marked.format(1), 1), (look, ["marked-", "program"]), (marked.format(2), 1))], workers=1)
    assert before.results == after.results == ('"marked-program"',)
    assert found.results == ("[false, true]",), found.reason  # itself it does see


@needs_bubblewrap
def test_where_nothing_can_be_run_it_is_said(monkeypatch):
    monkeypatch.setattr(function_runs, "DRIVER", "raise SystemExit('no memory')")
    with pytest.raises(LimbeckError, match="no program can be run in the sandbox: no memory"):
        run_functions([Job(program=EVEN, name="f", inputs=[[]])])


@pytest.mark.parametrize(("results", "wanted"), [(("true",), 1), (("1",), True), (("[1]",), [True]), (('"1"',), 1), (("null",), []), ((), 0)])
def test_a_result_of_another_kind_is_another_result(results, wanted):
    assert why_wrong(Run(results=results, reason="" if results else "stopped"), [(5, wanted)])
    assert not why_wrong(Run(results=(shown(wanted),)), [(5, wanted)])


def test_every_spelling_of_a_step_does_the_same():
    rng = random.Random(0)
    for step in STEPS:
        inputs = draw_inputs(rng, step.takes, 60, (2, 3, 5))
        filled = [Placed(step, (("k", k), ("c", "a"), ("d", "o"))) for k in ("3", "5")]
        for placed in filled:
            ways = [[_compiled(step.takes, placed.fill(code))(given) for given in inputs] for code in step.codes]
            assert all(way == ways[0] for way in ways), step.codes
            assert all("{" not in placed.fill(text.replace("{0}", "")) for text in (*step.say, *step.nouns, *step.codes)), step
            assert all(text.count("{0}") == 1 for text in step.nouns), step.nouns


@needs_bubblewrap
def test_the_task_keeps_its_promises():
    check_task(FunctionsTask("depth=1-3"), 4)


def test_what_is_examined_is_never_made_in_whatever_words():
    task = FunctionsTask("depth=2,largest=9,inputs=numbers")
    parts = {split: {e.meta["key"] for e in task.examples(split, 40)} for split in task.splits()}
    parts |= {"examination": {e.meta["key"] for e in task.apart("examination")[:40]}, "learn": {e.meta["key"] for seed in (1, 2) for e in task.generate(seed, 120)}}
    assert all(not parts[a] & parts[b] for a, b in combinations(parts, 2)) and all(parts.values())


def test_two_ways_to_ask_for_the_same_are_one_question():
    def placed(*codes):
        return [Placed(next(s for s in STEPS if code in s.codes)) for code in codes]

    even, square, up, down = "[x for x in xs if x % 2 == 0]", "[x * x for x in xs]", "sorted(xs)", "sorted(xs, reverse=True)"
    assert behaviour(placed(even, square)) == behaviour(placed(square, even)) != behaviour(placed(square, up))
    assert not behaviour(placed(up, down)) and not behaviour(placed(even, even)) and not behaviour(placed("[-x for x in xs]", "[-x for x in xs]"))


def test_tests_are_many_differ_and_are_not_in_the_request():
    task = FunctionsTask("depth=1-3")
    for example in task.generate(4, 40):
        tests = json.loads(example.meta["tests"])
        assert len(tests) >= 25 and len({json.dumps(given) for given, _ in tests}) == len(tests) and len({json.dumps(wanted) for _, wanted in tests}) > 1
        assert tests[0][0] in ([], "", 0)
        assert set(example.prompt.context) == set() and "assert" not in task.pose(example.prompt).text


def called(program, inputs):
    """Our own programs, and theirs with one thing changed."""
    space = {}
    exec(program, space)
    found = []
    for given in inputs:
        try:
            found.append(space["f"](json.loads(json.dumps(given))))
        except (TypeError, ValueError, NameError, IndexError, AttributeError, ZeroDivisionError) as problem:
            found.append(type(problem))
    return found


def test_tests_fail_nearly_all_near_misses():
    killed = alive = 0
    for example in FunctionsTask("depth=2-3").generate(11, 50):
        tests = json.loads(example.meta["tests"])
        takes = example.gold[0].partition("(")[2].partition(")")[0]
        wide = draw_inputs(random.Random(1), takes, 300, range(1, 21))
        right = called(example.gold[0], wide)
        assert called(example.gold[0], [given for given, _ in tests]) == [wanted for _, wanted in tests]
        for mutant in mutants(example.gold[0]):
            found = called(mutant, wide)
            if found != right and not all(isinstance(f, type) for f in found):
                is_killed = list(map(repr, called(mutant, [given for given, _ in tests]))) != [repr(wanted) for _, wanted in tests]
                killed, alive = killed + is_killed, alive + (not is_killed)
    assert killed > 120 and killed / (killed + alive) > 0.95


@pytest.mark.parametrize(("rules", "said"), [("depth=99", "depth is 1 to 6"), ("depth=3-2", "depth is 1 to 6"), ("depth=", "depth is"), ("depth=-1", "depth is"), ("largest=1000", "largest is 3 to 99"), ("inputs=trees", "inputs are of numbers"), ("inputs=", "inputs are of"), ("size=2", "no rule of functions"), ("depth=1,depth=2", "said twice"), (",", "no rule")])
def test_rules_that_make_no_functions_are_told(rules, said):
    with pytest.raises(LimbeckError, match=said) as told:
        get_task(f"functions:{rules}")
    assert told.value.where == f"functions:{rules}" and "e.g. functions:" in told.value.fix


def test_rules_say_how_hard_and_what_of():
    task = get_task("functions:depth=1,largest=5,inputs=words+number")
    made = list(task.generate(0, 80))
    assert {e.gold[0].count("\n") for e in made} == {1} and {e.gold[0].split(")")[0] for e in made} == {"def f(words", "def f(n"}
    assert max(int(c) for e in made for c in e.gold[0] if c in string.digits) <= 9
    assert get_task("functions:depth=1", unsafe_local=True).unsafe_local
    with pytest.raises(LimbeckError, match="no setting 'shots'"):
        get_task("functions:depth=1", shots=2)


@pytest.mark.parametrize(("text", "ok"), [(EVEN, True), (f"Sure:\n```python\n{EVEN}```\nDone.", True), ("f = lambda xs: xs", True), ("def g(xs): return xs", False), ("def f(xs) return", False), ("", False), ("def f(x: int) -> list:\n    return []", True), ("\x00", False)])
def test_the_verifier_looks_for_the_function(text, ok):
    task = FunctionsTask()
    check = task.verify(next(task.generate(1, 1)).prompt, Candidate(text=text))
    assert check.ok == ok and bool(check.reason) != ok


@needs_bubblewrap
def test_equal_programs_are_run_once_and_every_answer_is_judged(monkeypatch):
    from limbeck.tasks import functions

    task, seen = FunctionsTask(), []
    monkeypatch.setattr(functions, "run_functions", lambda jobs, **more: seen.append(len(jobs)) or run_functions(jobs, **more))
    examples = list(task.generate(5, 3))
    answers = [Answer(prompt_id=e.id, candidates=(Candidate(text=f"```python\n{e.gold[0]}\n```"), Candidate(text=e.gold[0] + "\n"), Candidate(text="def f(x): return 'no'"), Candidate(text="def f("))) for e in examples]
    verdicts = task.score_all(examples, answers)
    assert [v.measures["passed"] for v in verdicts] == [(1, 1, 0, 0)] * 3 and [v.measures["valid"] for v in verdicts] == [(1, 1, 1, 0)] * 3
    assert task.score_all(examples, answers) == verdicts and sum(seen) <= 9 and seen[-1] == 0


@needs_bubblewrap
def test_it_is_examined_like_any_task():
    task = get_task("functions:depth=1-2,largest=5,inputs=numbers")
    result = examine(task, get_baseline("nearest", task, list(task.generate(1, 200))), task.examples("test", 20), split="test", k=3)
    top = value_of(result, "passed-1")
    assert top["n"] == 20 and top["value"] <= value_of(result, "passed-3")["value"] and set(MEANT.values()) & {t["family"].split(",")[0] for t in result["trials"]}
