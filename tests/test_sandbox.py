"""Programs that mean harm, a row each; and the small print of running one."""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from limbeck.errors import LimbeckError
from limbeck.tasks import sandbox
from limbeck.tasks.sandbox import Limits, Outcome, Program, python_program, require_sandbox, run_all, run_program

needs_bubblewrap = pytest.mark.skipif(not shutil.which("bwrap"), reason="needs bubblewrap")
SHORT = Limits(seconds=1.5, memory_bytes=256 << 20, processes=24)


@needs_bubblewrap
@pytest.mark.parametrize(
    ("code", "status", "says"),
    [
        ("while True: pass", "timeout", "did not end"),
        ("import time; time.sleep(30)", "timeout", "did not end"),
        ("x = bytearray(2 << 30)", "ended", "MemoryError"),
        ("import socket; socket.create_connection(('192.0.2.1', 80), 1)", "ended", "Network is unreachable"),
        ("import socket; socket.getaddrinfo('example.org', 80)", "ended", "gaierror"),
        ("import os\nfor _ in range(1000): os.fork() or __import__('time').sleep(9)", "ended", "BlockingIOError"),
        ("f = open('x', 'wb')\nfor _ in range(10_000): f.write(bytes(1 << 20))", "ended", "File too large"),
        ("for i in range(99):\n  with open(f'x{i}', 'wb') as f: f.write(bytes(30 << 20))", "ended", "No space left"),
        ("while True: print('x' * 1000)", "output", "too much output"),
        ("open('/usr/x', 'w')", "ended", "Read-only file system"),
        ("open('/x', 'w')", "ended", "Read-only file system"),
        ("open('/proc/1/environ').read()", "ended", "PermissionError"),
        ("import os; os.close(1); os.close(2); __import__('time').sleep(30)", "timeout", "did not end"),
        ("import os; os.kill(-1, 9)", "ended", "ProcessLookupError"),
        ("input()", "ended", "EOFError"),
        ("raise SystemExit(3)", "ended", "code 3"),
        ("for i in range(10**7): open(f'/tmp/{i}', 'w').close()", "files", "too many files"),
        ("import os\nfor i in range(10**7): os.mkdir(f'/dev/shm/{i}')", "files", "too many files"),
        ("open('/dev/sda', 'w')", "ended", "Read-only file system"),
        ("with open('/dev/shm/x', 'wb') as f:\n  while True: f.write(bytes(1 << 20))", "ended", "No space left"),
        ("import shutil; shutil.rmtree('/usr')", "ended", "Read-only file system"),
        ("import os; os.kill(os.getppid(), 9); os.kill(1, 9); raise SystemExit('still here')", "ended", "PermissionError"),
        ("x = 'не имя'; print(x); y = [, ]", "ended", "SyntaxError"),
        ("x = 1\0", "ended", "null bytes"),
        ("import ctypes; ctypes.string_at(0)", "ended", "code"),
        ("def f(): f()\nf()", "ended", "RecursionError"),
    ],
)
def test_a_harmful_program_gets_a_verdict(code, status, says):
    began = time.monotonic()
    outcome = run_program(python_program(code), SHORT)
    assert outcome.status == status and says in outcome.reason
    assert time.monotonic() - began < 6


@needs_bubblewrap
def test_many_small_thieves_of_memory_are_one_big_one():
    code = "import os, time\nfor _ in range(6):\n  if os.fork() == 0:\n    x = bytearray(150 << 20); time.sleep(9)\ntime.sleep(9)"
    assert run_program(python_program(code), Limits(seconds=8, memory_bytes=256 << 20)).status == "memory"


@needs_bubblewrap
def test_nothing_outlives_a_program():
    mark = "31.41592"
    code = f"import os, subprocess\nos.setsid() if os.fork() == 0 else None\nsubprocess.Popen(['sleep', '{mark}'], stdin=-3, stdout=-3, stderr=-3, start_new_session=True)"
    run_program(python_program(code), SHORT)
    time.sleep(0.1)
    assert mark not in subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout


@needs_bubblewrap
def test_a_program_sees_its_files_its_input_and_little_else(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    code = "import os; print(open('a/b.txt').read(), input(), os.getcwd(), os.environ.get('OPENAI_API_KEY'), sorted(os.listdir('/home')) if os.path.exists('/home') else [])"
    base = python_program(code)
    outcome = run_program(Program(argv=base.argv, files={**base.files, "a/b.txt": b"one"}, input=b"two\n", readable=base.readable), SHORT)
    assert outcome.output.decode().split() == ["one", "two", sandbox.HOME, "None", "[]"], outcome.reason


@needs_bubblewrap
def test_a_large_input_that_nobody_reads_is_no_trouble():
    assert run_program(Program(argv=["true"], input=bytes(10 << 20)), SHORT).code == 0


@needs_bubblewrap
def test_outcomes_come_in_the_order_of_the_programs():
    outcomes = run_all([python_program(f"print({n})") for n in range(6)], SHORT)
    assert [int(o.output) for o in outcomes] == list(range(6))


@needs_bubblewrap
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
@pytest.mark.skipif(not shutil.which("python3", path="/usr/bin:/bin"), reason="needs a python that everybody may run")
def test_it_works_for_those_who_are_not_root():
    code = "import sys; sys.path.insert(0, sys.argv[1])\nfrom limbeck.tasks.sandbox import *\nprint(run_program(Program(argv=['sh', '-c', 'id -u; touch x && ls']), Limits(seconds=3)))"
    package = Path(sandbox.__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for name in ("__init__.py", "errors.py", "tasks/__init__.py", "tasks/sandbox.py"):
            (Path(folder) / "limbeck" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(package / name, Path(folder) / "limbeck" / name)
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if sandbox.os.geteuid() == 0 else []
        done = subprocess.run([*as_nobody, str(shutil.which("python3", path="/usr/bin:/bin")), "-c", code, folder], capture_output=True, text=True, check=False)
    assert "code=0" in done.stdout and "x\\n" in done.stdout, done.stdout + done.stderr


def test_without_bubblewrap_it_is_refused_unless_somebody_says_so(monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda _: None)
    with pytest.raises(LimbeckError, match="bubblewrap is not installed") as refused:
        require_sandbox()
    assert "--unsafe-local" in str(refused.value)
    require_sandbox(unsafe_local=True)


def test_a_bubblewrap_that_does_not_work_is_told(monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda _: "/usr/bin/bwrap")
    monkeypatch.setattr(sandbox, "run_program", lambda _: Outcome(status="ended", code=1, output=b"", errors=b"bwrap: no permissions\n", seconds=0))
    with pytest.raises(LimbeckError, match="no permissions"):
        require_sandbox()


def test_unsafe_programs_still_have_limits_and_leave_no_folder():
    outcome = run_program(python_program("import os; print(os.getcwd()); x = bytearray(2 << 30)"), SHORT, unsafe_local=True)
    folder = outcome.output.decode().strip()
    assert "MemoryError" in outcome.reason and "limbeck-" in folder and not sandbox.os.path.exists(folder)
    assert run_program(python_program("while True: pass"), SHORT, unsafe_local=True).status == "timeout"
    assert sys.executable
