"""Programs a second in the sandbox, beside the same programs run bare: the price of safety.

    python benchmarks/sandbox.py [PROGRAMS]

Prints both rates and their ratio. The limit asked of the sandbox: 25 programs a second on 2 cores.
"""

import resource
import sys
import time

from limbeck.tasks.sandbox import python_program, require_sandbox, run_all

CODE = "def half(x):\n    return x / 2\n\nassert half(4) == 2\nprint(sorted({n * n % 7 for n in range(1000)}))\n"


def rate(programs: int, unsafe_local: bool) -> tuple[float, float]:
    """Programs a second, CPU-ms a program."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    outcomes = run_all([python_program(CODE)] * programs, unsafe_local=unsafe_local)
    assert all(o.code == 0 for o in outcomes), outcomes[0]
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return programs / seconds, 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / programs


def main() -> None:
    programs = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    require_sandbox()
    bare, bare_cpu = rate(programs, True)
    safe, safe_cpu = rate(programs, False)
    print(f"bare     {bare:6.1f} programs/s  {bare_cpu:5.1f} CPU-ms each (of children waited for)")
    print(f"sandbox  {safe:6.1f} programs/s  {safe_cpu:5.1f} CPU-ms each (of children waited for)")
    print(f"ratio    {safe / bare:6.2f}   25 asked: {'met' if safe >= 25 else 'missed'}")


main()
