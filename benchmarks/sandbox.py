"""Programs a second in the sandbox, beside the same programs run bare: the price of safety.

    python benchmarks/sandbox.py [PROGRAMS] [--golds]

Prints rates and their ratios, for Python programs and for Bash commands in their file tree (made anew and compared for each).
The limit asked of the sandbox: 25 programs a second on 2 cores. `--golds` then runs every reference solution of HumanEval, MBPP
and ODEX (they must be at hand) and says how many pass.
"""

import resource
import sys
import time
from collections.abc import Callable

from limbeck.records import Answer, Candidate
from limbeck.tasks.bash.running import CommandRunner
from limbeck.tasks.programs import HumanEvalTask, MbppTask, OdexTask
from limbeck.tasks.sandbox import Program, python_program, require_sandbox, run_all

CODE = "def half(x):\n    return x / 2\n\nassert half(4) == 2\nprint(sorted({n * n % 7 for n in range(1000)}))\n"
COMMANDS = ("find . -name '*.txt' -size +0 | sort", "wc -l file1 docs/*.txt", "mkdir -p a/b && mv file1 a/b/", "grep -rl foo src | head -3")


def rate(programs: int, run: Callable[[], bool]) -> tuple[float, float]:
    """Programs a second, CPU-ms a program."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run()
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return programs / seconds, 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / programs


def run_python(programs: int, unsafe_local: bool) -> bool:
    return all(o.code == 0 for o in run_all([python_program(CODE)] * programs, unsafe_local=unsafe_local))


def run_bash(programs: int, unsafe_local: bool) -> Callable[[], bool]:
    runner = CommandRunner(unsafe_local)
    runner.run([(runner.plain, "true")])  # the tree as it is, once for all
    return lambda: not any(e.reason for e in runner.run([(runner.plain, COMMANDS[n % len(COMMANDS)]) for n in range(programs)]))


def show_golds() -> None:
    for maker, splits in ((HumanEvalTask, ("test",)), (MbppTask, ("train", "validation", "test")), (OdexTask, ("test",))):
        task = maker()
        examples = [e for split in splits for e in task.examples(split)]
        began = time.perf_counter()
        verdicts = task.score_all(examples, [Answer(prompt_id=e.id, candidates=(Candidate(text=e.gold[0]),)) for e in examples])
        judged = [v for v in verdicts if v.status == "scored"]
        passed = round(sum(v.measures["passed"][0] for v in judged))
        print(f"{task.name:9} {passed} of {len(judged)} reference solutions pass, {len(examples) - len(judged)} need a library that is not installed; {len(judged) / (time.perf_counter() - began):.1f} programs/s")


def main() -> None:
    numbers = [int(a) for a in sys.argv[1:] if a.isdigit()]
    programs = numbers[0] if numbers else 200
    require_sandbox()
    idle = rate(programs, lambda: all(o.code == 0 for o in run_all([Program(argv=["true"])] * programs)))
    print(f"nothing  sandbox {idle[0]:6.1f} programs/s")
    for name, maker in (("python", lambda unsafe: lambda: run_python(programs, unsafe)), ("bash", lambda unsafe: run_bash(programs, unsafe))):
        bare, bare_cpu = rate(programs, maker(True))
        safe, safe_cpu = rate(programs, maker(False))
        print(f"{name:8} bare    {bare:6.1f} programs/s  {bare_cpu:5.1f} CPU-ms each (of children waited for)")
        print(f"{name:8} sandbox {safe:6.1f} programs/s  {safe_cpu:5.1f} CPU-ms each   ratio {safe / bare:5.2f}   25 asked: {'met' if safe >= 25 else 'missed'}")
    if "--golds" in sys.argv:
        show_golds()


main()
