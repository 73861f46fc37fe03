"""The first screens, the exit codes, what a verb loads, and the gifts for tests with the contracts they check."""

import json
import signal
import subprocess
import sys
import time

import pytest

from limbeck.distill.stage import distill
from limbeck.recipe.schema import DistillSection
from limbeck.records import Answer, Candidate, Example
from limbeck.run import Step
from limbeck.tasks.cf.codec import CFCodec
from limbeck.tasks.cf.task import CFTask
from limbeck.testing import EchoTeacher, TinyStudent, check_answerer, check_task

VERBS = ("make", "staircase", "distill", "train", "report", "ask", "evaluate", "compare", "export", "serve", "teacher", "terms", "data", "panel", "predict", "probe", "scale", "align")


def limbeck(*arguments, **kwargs):
    return subprocess.run([sys.executable, "-m", "limbeck", *map(str, arguments)], capture_output=True, text=True, **kwargs)


def test_help_names_every_verb():
    out = limbeck("--help")
    assert out.returncode == 0 and all(verb in out.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_loads_no_heavy_library(verb):
    # pydantic is not among them: Typer itself loads it to read the options of a verb.
    code = f"import sys; from limbeck.cli import main\ntry:\n main([{verb!r}, '--help'])\nexcept SystemExit as e: assert not e.code\nprint(sorted({{'torch', 'numpy', 'altair', 'openpyxl', 'jinja2'}} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip().endswith("[]")


def test_ask_imports_nothing_slow_beside_torch():
    code = "import sys, limbeck.asking\nprint(sorted({'transformers', 'accelerate', 'altair', 'jinja2', 'scipy', 'pandas', 'vl_convert'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


WRONG = [("nosuch",), ("make",), ("make", "cf", "--nope"), ("ask", "builtin:cf"), ("ask", "builtin:cf", "x", "-k", "0"), ("make", "no-such-recipe"), ("data", "get", "nothing"), ("power",), ("catalog", "no-such-model"), ("evaluate", "--task", "cf", "--model", "openai:m"), ("evaluate", "--task", "none.toml", "--model", "builtin:cf"), ("evaluate", "--task", "openai-evals:x", "--model", "openai:m", "--base-url", "http://127.0.0.1:9/v1"), ("compare", "a.json", "b.json")]


@pytest.mark.parametrize("arguments", WRONG, ids=[" ".join(w) for w in WRONG])
def test_wrong_usage_is_three_lines_and_exit_code_2(arguments, tmp_path):
    out = limbeck(*arguments, cwd=tmp_path)
    assert out.returncode == 2 and out.stdout == "" and "Traceback" not in out.stderr
    lines = out.stderr.rstrip().splitlines()
    assert len(lines) == 3 and lines[0].startswith("error: ") and "where:" in lines[1] and "fix:" in lines[2]


@pytest.mark.parametrize("arguments", [(), ("data",)], ids=["limbeck", "limbeck data"])
def test_nothing_asked_shows_the_help_and_no_error(arguments):
    out = limbeck(*arguments)
    assert out.returncode == 2 and out.stderr.startswith("Usage:") and "fix:" not in out.stderr


def test_debug_shows_where_an_error_arose(tmp_path):
    out = limbeck("make", "no-such-recipe", "--debug", cwd=tmp_path)
    assert out.returncode != 0 and "Traceback" in out.stderr


def test_json_is_the_only_thing_on_standard_output():
    out = limbeck("data", "list", "--json")
    assert out.returncode == 0 and "cf-official" in json.loads(out.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send")
def test_an_interrupted_run_exits_with_130_and_no_traceback(tmp_path):
    command = [sys.executable, "-m", "limbeck", "make", "cf-smoke", "--out", str(tmp_path / "run"), "--set", "teacher.model=generator", "--set", "distill.prompts=200000"]
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731  a shell lets what it runs in the background ignore Ctrl-C
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, preexec_fn=heed)
    try:
        until = time.monotonic() + 60
        while not (tmp_path / "run" / "distill" / "asked").exists() and time.monotonic() < until and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130 and "Traceback" not in told and "interrupted" in told


def test_the_cf_task_keeps_what_a_task_promises():
    check_task(CFTask(), limit=8)


def prompts():
    return [e.prompt for e in CFTask().examples("people-dev", 6)]


def test_the_gifts_keep_what_an_answerer_promises():
    examples = CFTask().examples("people-dev", 6)
    check_answerer(EchoTeacher.from_examples(examples[:4]), prompts())
    check_answerer(TinyStudent(examples), prompts())
    assert EchoTeacher.from_examples(examples[:4]).answer(prompts())[5].status == "no_answer"
    assert TinyStudent(examples).answer(prompts()[:1])[0].candidates[0].text == examples[0].gold[0]


class Broken(EchoTeacher):
    """Breaks one promise, by name."""

    def __init__(self, how):
        super().__init__({})
        self.how = how

    def answer(self, prompts, *, k=1):
        good = [Answer(prompt_id=p.id, candidates=(Candidate(text="a", score=0.0), Candidate(text="b", score=-1.0))) for p in prompts]
        if self.how == "order":
            return good[::-1]
        if self.how == "repeats":
            return [Answer(prompt_id=a.prompt_id, candidates=(Candidate(text="a"), Candidate(text="a"))) for a in good]
        if self.how == "worst first":
            return [Answer(prompt_id=a.prompt_id, candidates=a.candidates[::-1]) for a in good]
        if self.how == "not finite":
            return [Answer(prompt_id=a.prompt_id, candidates=(Candidate(text="a", score=float("nan")),)) for a in good]
        return [Answer(prompt_id=a.prompt_id) for a in good]


@pytest.mark.parametrize("how", ["order", "repeats", "worst first", "not finite", "scored but empty"])
def test_the_contract_catches_an_answerer_that_breaks_it(how):
    with pytest.raises(AssertionError):
        check_answerer(Broken(how), prompts())


def test_the_contract_catches_a_task_that_scores_missing_answers_as_zero():
    class Zero(CFTask):
        def score(self, example: Example, answer: Answer):
            return super().score(example, Answer(prompt_id=answer.prompt_id, candidates=answer.candidates or (Candidate(text="nothing"),)))

    with pytest.raises(AssertionError, match="never a zero"):
        check_task(Zero(), limit=2)


def test_an_echo_can_teach_the_distill_step(tmp_path):
    task, section = CFTask(), DistillSection(prompts=12, dev=4, held_out=4, shard=6, candidates=1)
    step = Step(tmp_path / "distill", "distill", 1, {})
    teacher = EchoTeacher.from_examples(task.generate(step.seed("prompts"), section.prompts))
    teacher.replies.popitem()
    distill(task, teacher, CFCodec(), section, step, ())
    keep = json.loads((step.path / "keep.json").read_text())
    assert keep["asked"] == 12 and keep["kept"] >= 6 and keep["refused"]["no_answer"] == 1
