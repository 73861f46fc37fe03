"""Choices ranked by likelihood behind a server: letters from listed tokens, texts from echoed prompts, per byte and whole."""

import json
import math
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from limbeck.errors import LimbeckError
from limbeck.evaluate.examine import examine
from limbeck.records import Prompt
from limbeck.tasks.choices import ChoiceTask
from limbeck.teachers import likelihood
from limbeck.teachers.endpoint import Endpoint, Sampling


class Towns(ChoiceTask):
    name = "towns"

    def _load(self, split):
        return [self._example("1", "Capital of France?", ["Paris, the town of light", "Rome"], "A", []), self._example("2", "Capital of Italy?", ["Oslo", "Rome"], "B", [])]


@contextmanager
def serve(reply):
    """`reply(body)` is the one choice of each completion."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append(body)
            said = json.dumps({"model": "m", "choices": [reply(body)], "usage": {"prompt_tokens": 5, "completion_tokens": 1}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_):
            pass

    seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", seen
    finally:
        server.shutdown()


def asked(url, by, style="chat"):
    task = Towns(by=by)
    return examine(task, Endpoint("m", url, sampling=Sampling(style=style)), task.examples("test"), split="test", k=1)


def listed(**chances):
    return {"message": {"content": "x"}, "logprobs": {"content": [{"token": "x", "top_logprobs": [{"token": t.replace("_", " "), "logprob": math.log(p)} for t, p in chances.items()]}]}}


def test_letters_are_ranked_by_the_first_token_and_a_space_before_one_does_not_matter():
    with serve(lambda body: listed(A=0.3, _A=0.3, B=0.35)) as (url, seen):
        result = asked(url, "likelihood")
    assert [t["correct"] for t in result["trials"]] == [[1.0], [0.0]]
    assert result["trials"][0]["confidence"] == pytest.approx(0.6 / 0.95, abs=1e-6)
    assert seen[0]["top_logprobs"] == 20 and seen[0]["max_tokens"] == 1 and "n" not in seen[0]


def test_completions_list_letters_their_own_way():
    with serve(lambda body: {"text": "x", "logprobs": {"top_logprobs": [{" A": -3.0, " B": -0.1}]}}) as (url, seen):
        result = asked(url, "likelihood", "raw")
    assert [t["correct"] for t in result["trials"]] == [[0.0], [1.0]] and seen[0]["logprobs"] == 20


def test_no_choice_among_the_listed_tokens_is_no_answer():
    with serve(lambda body: listed(The=0.9)) as (url, _):
        assert asked(url, "likelihood")["statuses"] == {"no_answer": 2}


def echo(body):
    """A model of words: log-probability -1 a word, -4 for Rome."""
    tokens, offsets, at = [], [], 0
    for word in body["prompt"].split(" "):
        tokens.append(word)
        offsets.append(at)
        at += len(word) + 1
    logps = [None] + [-4.0 if t == "Rome" else -1.0 for t in tokens[1:]]
    return {"text": body["prompt"] + " and", "logprobs": {"tokens": [*tokens, "and"], "text_offset": [*offsets, at - 1], "token_logprobs": [*logps, -9.0]}}


def test_texts_are_ranked_per_byte_and_as_a_whole():
    with serve(echo) as (url, seen):
        result = asked(url, "text", "raw")
    first = result["trials"][0]
    assert first["answer_meta"]["ranking"] == [[-5.0, pytest.approx(-5 / 24)], [-4.0, pytest.approx(-1.0)]]  # five words, 24 bytes
    assert (first["per_byte"], first["whole"]) == ([1.0], [0.0]) and first["gold"] == ["Paris, the town of light"]
    assert len(seen) == 4 and all(b["echo"] for b in seen) and "Question: Capital of France?\nAnswer: Paris, the town of light" in {b["prompt"] for b in seen}
    assert [s["name"] for s in result["scores"]][:2] == ["per_byte", "whole"]


@pytest.mark.parametrize(("by", "style"), [("likelihood", "chat"), ("likelihood", "raw"), ("text", "raw")])
def test_a_server_without_log_probabilities_is_told_of(by, style):
    with serve(lambda body: {"message": {"content": "A"}, "text": "A"}) as (url, _), pytest.raises(LimbeckError, match="log-probabilities") as problem:
        asked(url, by, style)
    assert "--by letter" in problem.value.fix


def test_a_chat_server_cannot_say_how_likely_a_text_is():
    with pytest.raises(LimbeckError, match="how likely a text is"):
        asked("http://127.0.0.1:9/v1", "text")


def test_ways_and_shots_that_a_task_has_not_are_refused():
    from limbeck.tasks.choices import GpqaTask, TruthfulQaTask

    with pytest.raises(LimbeckError, match="judged by 'guess'"):
        Towns(by="guess")
    for task in (GpqaTask, TruthfulQaTask):
        with pytest.raises(LimbeckError, match="no worked examples"):
            task(shots=5)
    assert len({Towns(by=by).version for by in ("letter", "likelihood", "text")}) == 3


def test_a_ranking_per_byte_counts_bytes_and_not_characters():
    found = likelihood.rank(Prompt(id="1", text="", context={"choices": ["ab", "éé"]}), [-2.0, -3.0])
    assert found.meta["ranking"] == [[-2.0, -1.0], [-3.0, -0.75]] and found.candidates[0].text == "ab"
