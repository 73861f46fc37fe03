"""`limbeck ask` for commands: what is shown, what a pipe gets, what is refused, and that a terminal obeys no answer."""

import json

import pytest

from limbeck import resolve
from limbeck.asking import task_of
from limbeck.asking_code import Wish, ask_code, clean
from limbeck.errors import LimbeckError
from limbeck.records import Answer, Candidate


class Canned:
    """Answers the same to everything."""

    name, parameters = "canned", 0

    def __init__(self, *texts, status="scored", reason=""):
        self.texts, self.status, self.reason = texts, status, reason

    def answer(self, prompts, *, k=1):
        found = tuple(Candidate(text=t, score=-float(n)) for n, t in enumerate(self.texts[:k]))
        return [Answer(prompt_id=p.id, candidates=found, status=self.status, reason=self.reason) for p in prompts]


@pytest.fixture
def canned(monkeypatch):
    def use(*texts, **kwargs):
        monkeypatch.setattr(resolve, "get_answerer", lambda *_, **__: Canned(*texts, **kwargs))

    return use


def ask(**options):
    ask_code("openai:m", "delete all log files", "bash", **{"k": 3, "plain": False, "as_json": False, **options})


def test_a_command_is_explained_word_by_word_and_warned_of(canned, capsys):
    canned("rm -rf /var/log/*.log", "ls")
    ask()
    shown = capsys.readouterr().out
    assert "deletes files" in shown and "DANGER" in shown and "nothing has been run" in shown and max(map(len, shown.splitlines())) <= 100


def test_json_has_every_answer_with_words_and_warnings(canned, capsys):
    canned("```bash\nrm -rf build\n```", "ls -l")
    ask(as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert [a["text"] for a in found["answers"]] == ["rm -rf build", "ls -l"] and found["status"] == "scored"
    assert found["answers"][0]["warnings"][0]["rule"] == "rm -rf" and not found["answers"][1]["warnings"]
    assert found["answers"][1]["explanation"][0] == {"text": "ls", "start": 0, "end": 2, "role": "utility", "depth": 0, "meaning": found["answers"][1]["explanation"][0]["meaning"]}


def test_a_pipe_gets_the_command_alone_and_the_warning_goes_to_standard_error(canned, capsys):
    canned("rm -rf build")
    ask(plain=True)
    written = capsys.readouterr()
    assert written.out == "rm -rf build\n" and written.err.startswith("danger: ")


def test_a_pipe_gets_nothing_where_there_is_no_answer(canned):
    canned(status="no_answer", reason="no candidate parses")
    with pytest.raises(LimbeckError, match="no candidate parses"):
        ask(plain=True)


def test_a_terminal_obeys_no_answer(canned, capsys):
    canned("echo \x1b[2J\x1b]0;owned\x07 [bold]x[/bold]")
    ask()
    shown = capsys.readouterr().out
    assert "\x1b]0" not in shown and "\x07" not in shown and "[bold]x[/bold]" in shown
    assert clean("a\x1bb\r\n") == "a\\x1bb\\x0d\n"


@pytest.mark.parametrize("text", ["", "   ", "x" * 3000, "найди все большие файлы"])
def test_a_request_that_cannot_be_read_is_refused(canned, text):
    canned("ls")
    with pytest.raises(LimbeckError):
        ask_code("openai:m", text, "bash", k=1, plain=False, as_json=False)


def test_a_job_must_be_known():
    assert task_of("builtin:cf", None) == "cf" and task_of("openai:m", "bash") == "bash"
    with pytest.raises(LimbeckError, match="made for task 'cf'"):
        task_of("builtin:cf", "bash")
    with pytest.raises(LimbeckError, match="which job"):
        ask_code("openai:m", "list files", "", k=1, plain=False, as_json=False)


class Filling(Canned):
    """Writes around what is given."""

    def infill(self, prompt, prefix, suffix, *, k=1):
        return Answer(prompt_id=prompt.id, candidates=(Candidate(text=f"{prefix} middle {suffix}", meta={"trace": ["find · ·", "find . -name"]}),))

    def edit(self, prompt, snippet, *, k=1, strength=0.5):
        return Answer(prompt_id=prompt.id, candidates=(Candidate(text=f"{snippet} {strength}"),))


def test_a_gap_is_filled_a_snippet_edited_and_not_both(monkeypatch, capsys):
    monkeypatch.setattr(resolve, "get_answerer", lambda *_, **__: Filling())
    ask(plain=True, wish=Wish(prefix="find .", suffix="-delete"))
    ask(plain=True, wish=Wish(snippet="find . -nam", strength=0.3))
    assert capsys.readouterr().out.splitlines() == ["find . middle -delete", "find . -nam 0.3"]
    with pytest.raises(LimbeckError, match="not both"):
        ask(wish=Wish(prefix="find", snippet="find"))


def test_a_trace_is_shown_step_by_step(monkeypatch, capsys):
    monkeypatch.setattr(resolve, "get_answerer", lambda *_, **__: Filling())
    ask(wish=Wish(prefix="find"), trace=True)
    assert "  1  find · ·" in capsys.readouterr().out


def test_an_answerer_that_cannot_write_around_text_says_so(canned):
    canned("ls")
    with pytest.raises(LimbeckError, match="only experts"):
        ask(wish=Wish(prefix="ls"))
