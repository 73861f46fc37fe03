"""Judging functions by their tests: many to a sandbox beside one sandbox start an answer; and how many near misses the tests fail.

    python benchmarks/function_runs.py [ANSWERS] [--mutants N]

Prints answers a second and their ratio (asked: 5), then, for N requests, the share of mutants killed (asked: 95 %) among those that do something
else on 2,000 drawn inputs and run at all (those that fail on every input would be caught by one test).
"""

import json
import random
import sys
import time

from limbeck.tasks.function_mutants import mutants
from limbeck.tasks.function_runs import Job, run_functions
from limbeck.tasks.functions import FunctionsTask, draw_inputs
from limbeck.tasks.programs import HumanEvalTask
from limbeck.tasks.sandbox import require_sandbox


def called(program: str, inputs: list) -> list:
    """What a program of ours gives for each input; the error's name where it fails."""
    space: dict = {}
    exec(program, space)
    found = []
    for given in inputs:
        try:
            value = space["f"](json.loads(json.dumps(given)))
            found.append(json.dumps(value))
        except Exception as problem:
            found.append(f"!{type(problem).__name__}")
    return found


def show_speed(answers: int) -> None:
    examples = list(FunctionsTask().generate(1, answers))
    tests = [json.loads(e.meta["tests"]) for e in examples]
    jobs = [Job(program=e.gold[0], name="f", inputs=[given for given, _ in rows]) for e, rows in zip(examples, tests, strict=True)]
    began = time.perf_counter()
    assert not any(r.reason for r in run_functions(jobs))
    many = answers / (time.perf_counter() - began)
    few = max(10, answers // 20)
    one_by_one = [(e.gold[0], "\n".join(f"assert f({given!r}) == {wanted!r}" for given, wanted in rows)) for e, rows in zip(examples[:few], tests, strict=False)]
    began = time.perf_counter()
    assert not any(HumanEvalTask().run(one_by_one))
    single = few / (time.perf_counter() - began)
    print(f"one sandbox an answer {single:7.1f} answers/s\nmany to a sandbox     {many:7.1f} answers/s   ratio {many / single:5.1f}   5 asked: {'met' if many >= 5 * single else 'missed'}")


def show_mutants(count: int) -> None:
    killed = equal = broken = 0
    alive: list[tuple[str, str]] = []
    for example in FunctionsTask("depth=1-3").generate(2, count):
        rows = json.loads(example.meta["tests"])
        takes = example.gold[0].partition("(")[2].partition(")")[0]
        wide = draw_inputs(random.Random(example.id), takes, 2_000, [int(w) for w in example.gold[0].replace(")", " ").replace("]", " ").replace("[", " ").replace(":", " ").split() if w.lstrip("-").isdigit()])
        right = called(example.gold[0], wide)
        for mutant in mutants(example.gold[0]):
            found = called(mutant, wide)
            if found == right:
                equal += 1
            elif all(f.startswith("!") for f in found):
                broken += 1
            elif called(mutant, [given for given, _ in rows]) == [json.dumps(wanted) for _, wanted in rows]:
                alive.append((example.gold[0], mutant))
            else:
                killed += 1
    share = killed / max(1, killed + len(alive))
    print(f"mutants of {count} functions: {killed} killed, {len(alive)} alive, {equal} do the same, {broken} do not run: {100 * share:.1f} % killed   95 asked: {'met' if share > 0.95 else 'missed'}")
    for gold, mutant in alive[:3]:
        print(f"--- alive:\n{gold}\n--- as\n{mutant}")


def main() -> None:
    numbers = [int(a) for a in sys.argv[1:] if a.isdigit()]
    require_sandbox()
    if "--mutants" not in sys.argv[1:2]:
        show_speed(numbers[0] if numbers else 500)
    if "--mutants" in sys.argv:
        show_mutants(int(sys.argv[sys.argv.index("--mutants") + 1]))


main()
