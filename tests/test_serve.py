"""Serving: OpenAI's shapes, batches, full queues, deadlines, clients that leave, and bodies that are no requests. A real server, an answerer of straw."""

import contextlib
import http.client
import json
import socket
import threading
import time
from urllib.parse import quote

import pytest

pytest.importorskip("fastapi")
uvicorn = pytest.importorskip("uvicorn")

from limbeck.errors import LimbeckError  # noqa: E402
from limbeck.records import Answer, Candidate  # noqa: E402
from limbeck.serve.application import House, Limits, build_app  # noqa: E402
from limbeck.serve.desk import Desk  # noqa: E402

ASK = {"model": "straw", "messages": [{"role": "user", "content": "hello"}]}


class Straw:
    """Says a prompt backwards, ranked; remembers the batches it got. `hold` keeps it from answering while it is cleared."""

    name, parameters = "straw", 0

    def __init__(self):
        self.batches, self.ks, self.hold, self.began = [], [], threading.Event(), threading.Event()
        self.prompts = []
        self.hold.set()

    def answer(self, prompts, *, k=1):
        self.batches.append([p.text for p in prompts])
        self.ks.append(k)
        self.prompts += prompts
        self.began.set()
        assert self.hold.wait(30)
        if any("poison" in p.text for p in prompts):
            raise ValueError("secret path /home/x")
        if any("unreachable" in p.text for p in prompts):
            raise LimbeckError("the server at http://inner:1 is down", "openai:m", "start it")
        return [self._one(p, k) for p in prompts]

    def _one(self, prompt, k):
        said = {"nothing": ("no_answer", "no candidate parses"), "mute": ("no_answer", "empty"), "refuse": ("refused", "I cannot"), "fail": ("failed", "503")}.get(prompt.text)
        if said:
            return Answer(prompt_id=prompt.id, status=said[0], reason=said[1])
        meta = {"tokens": {"prompt": 3, "completion": 5}} if "count" in prompt.text else {}
        logs = {"logprobs": {"tokens": ["a", "b"], "logps": [-0.5, float("-inf")], "ids": None, "top": [[["a", -0.5, None]], []]}}
        return Answer(prompt_id=prompt.id, candidates=tuple(Candidate(text=prompt.text[::-1] + "!" * n, score=-float(n), meta=logs) for n in range(k)), meta=meta)


@contextlib.contextmanager
def served(answerer, *, house=None, limits=None, grace_s=20, **desk):
    """A running server; gives its port and its application."""
    app = build_app(Desk(name="straw", answerer=answerer, **desk), house, limits)
    server = uvicorn.Server(uvicorn.Config(app, port=0, http="h11", ws="none", lifespan="on", log_config=None, access_log=False, timeout_graceful_shutdown=grace_s))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not (server.started and server.servers) and time.monotonic() < until:
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1], app, server
    finally:
        answerer.hold.set()
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server ends when it is told to"


def call(port, path="/v1/chat/completions", body=ASK, *, method=None, headers=None, raw=None):
    """Status, headers and text of one call."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    content = raw if raw is not None else json.dumps(body) if body is not None else None
    link.request(method or ("POST" if content is not None else "GET"), path, content, {"Content-Type": "application/json", **(headers or {})})
    reply = link.getresponse()
    text = reply.read().decode()
    link.close()
    return reply.status, {k.lower(): v for k, v in reply.getheaders()}, text


def ask(port, **more):
    status, _, text = call(port, body={**ASK, **more})
    return status, json.loads(text)


def at_once(port, bodies):
    """All at the same time; the replies in order."""
    out = [None] * len(bodies)
    threads = [threading.Thread(target=lambda at=at, body=body: out.__setitem__(at, call(port, body=body))) for at, body in enumerate(bodies)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    return out


def wait_for(true):
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.01)


def asking(text, **more):
    return {**ASK, "messages": [{"role": "user", "content": text}], **more}


@pytest.fixture(scope="module")
def straw():
    return Straw()


@pytest.fixture(scope="module")
def port(straw):
    with served(straw, limits=Limits(body_bytes=20_000)) as (port, _, _):
        yield port


def test_a_chat_completion_has_openais_form_and_ranked_choices(port):
    status, said = ask(port, n=3)
    assert status == 200 and said["object"] == "chat.completion" and said["id"].startswith("chatcmpl-") and said["model"] == "straw" and abs(said["created"] - time.time()) < 60
    assert [c["message"]["content"] for c in said["choices"]] == ["olleh", "olleh!", "olleh!!"] and [c["index"] for c in said["choices"]] == [0, 1, 2]
    assert all(c["message"]["role"] == "assistant" and c["finish_reason"] == "stop" and c["logprobs"] is None for c in said["choices"])
    assert said["usage"] is None, "nobody counted, so nothing is said"


def test_tokens_that_were_counted_are_said(port):
    assert ask(port, messages=[{"role": "user", "content": "count"}])[1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


def test_completions_take_one_prompt_or_several(port):
    status, _, text = call(port, "/v1/completions", {"model": "straw", "prompt": ["ab", "cd"], "n": 2})
    said = json.loads(text)
    assert status == 200 and said["object"] == "text_completion" and [(c["index"], c["text"]) for c in said["choices"]] == [(0, "ba"), (1, "ba!"), (2, "dc"), (3, "dc!")]


@pytest.mark.parametrize("path, body", [("/v1/chat/completions", ASK), ("/v1/completions", {"model": "straw", "prompt": "hello"})])
def test_a_stream_is_server_sent_events_that_end_in_done(port, path, body):
    status, headers, text = call(port, path, {**body, "n": 2, "stream": True, "stream_options": {"include_usage": True}})
    events = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert status == 200 and headers["content-type"].startswith("text/event-stream") and events[-1] == "[DONE]"
    chunks = [json.loads(e) for e in events[:-1]]
    assert len({c["id"] for c in chunks}) == 1 and chunks[-1]["choices"] == [] and chunks[-1]["usage"] is None
    texts = {}
    for choice in (c for chunk in chunks for c in chunk["choices"]):
        texts[choice["index"]] = texts.get(choice["index"], "") + (choice["delta"].get("content") or "" if "delta" in choice else choice["text"])
    assert texts == {0: "olleh", 1: "olleh!"}
    assert [c["finish_reason"] for chunk in chunks for c in chunk["choices"] if c["finish_reason"]] == ["stop", "stop"]


def test_models_health_and_terms_are_told(port):
    models = json.loads(call(port, "/v1/models", None)[2])
    assert models["object"] == "list" and [(m["id"], m["object"]) for m in models["data"]] == [("straw", "model")]
    assert json.loads(call(port, "/v1/models/straw", None)[2])["id"] == "straw" and call(port, "/v1/models/other", None)[0] == 404
    assert json.loads(call(port, "/health", None)[2])["status"] == "ok" and json.loads(call(port, "/v1/terms", None)[2])["model"] == "straw"


def test_the_last_of_the_system_prompts_and_text_parts_are_read(port):
    status, said = ask(port, messages=[{"role": "system", "content": "be brief"}, {"role": "user", "content": [{"type": "text", "text": "ab"}, {"type": "text", "text": "cd"}]}])
    assert status == 200 and said["choices"][0]["message"]["content"] == "dc\nba" and said["limbeck"] == {"left_out": ["messages[0]"]}, "what was not read is said"


WRONG = [
    ({"model": "other"}, 404, "model_not_found", "model"), ({"model": None}, 400, "invalid_value", "model"), ({"model": ["straw"]}, 400, "invalid_value", "model"), ({"messages": []}, 400, "invalid_value", "messages"),
    ({"messages": "hello"}, 400, "invalid_value", "messages"), ({"messages": [{"role": "user", "content": " "}]}, 400, "invalid_value", "messages"), ({"messages": [{"role": "user"}]}, 400, "invalid_value", "messages[0].content"),
    ({"messages": [{"role": "tool", "content": "x"}]}, 400, "invalid_value", "messages[0]"), ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "invalid_value", "messages[0].content"),
    ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]}, 400, "invalid_value", "messages"),
    ({"n": 0}, 400, "invalid_value", "n"), ({"n": 51}, 400, "invalid_value", "n"), ({"n": True}, 400, "invalid_value", "n"), ({"n": "2"}, 400, "invalid_value", "n"), ({"stream": 1}, 400, "invalid_value", "stream"),
    ({"temperature": 0.7}, 400, "unsupported_parameter", "temperature"), ({"max_tokens": 5}, 400, "unsupported_parameter", "max_tokens"), ({"stop": ["x"]}, 400, "unsupported_parameter", "stop"),
    ({"logprobs": True}, 400, "unsupported_parameter", "logprobs"), ({"tools": [{"type": "function"}]}, 400, "unsupported_parameter", "tools"), ({"response_format": {"type": "json_object"}}, 400, "unsupported_parameter", "response_format"),
    ({"frobnicate": 1}, 400, "unknown_parameter", "frobnicate"), ({"limbeck": {"table": "x"}}, 400, "unsupported_parameter", "limbeck"), ({"limbeck": 3}, 400, "invalid_value", "limbeck"), ({"prompt": "x"}, 400, "invalid_value", "prompt"),
]  # fmt: skip


@pytest.mark.parametrize("more, status, code, param", WRONG, ids=[json.dumps(w[0])[:50] for w in WRONG])
def test_a_wrong_request_is_refused_in_openais_form_and_names_the_field(port, more, status, code, param):
    got, said = ask(port, **more)
    assert got == status and said["error"]["code"] == code and said["error"]["param"] == param and said["error"]["message"] and said["error"]["type"] == "invalid_request_error"


def test_values_that_ask_for_nothing_are_no_error(port):
    assert ask(port, temperature=0, top_p=1, presence_penalty=0, stop=None, tools=[], user="u", logprobs=False, response_format={"type": "text"}, metadata={"a": "b"})[0] == 200


@pytest.mark.parametrize("raw", ["{", "[1]", "", '{"model": NaN}', '"' + "[" * 5000, "[" * 5000, '{"a": "\\ud800"}'])
def test_what_is_no_json_object_is_said_to_be_none(port, raw):
    status, _, text = call(port, raw=raw)
    assert status == 400 and json.loads(text)["error"]["code"] == "invalid_json"


def test_bodies_are_bounded_whether_they_say_their_length_or_not(port):
    assert call(port, raw="x" * 20_001)[0] == 413
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    link.request("POST", "/v1/chat/completions", iter([b"x" * 15_000, b"x" * 15_000]), {"Content-Type": "application/json"}, encode_chunked=True)
    assert link.getresponse().status == 413
    link.close()


def test_a_request_of_another_content_type_is_refused(port):
    """A web page may send text/plain to a server of this machine unasked, JSON it may not."""
    assert call(port, headers={"Content-Type": "text/plain"})[0] == 415


def test_unknown_paths_and_methods_are_errors_in_openais_form(port):
    for path, body, status in (("/v1/embeddings", ASK, 404), ("/v1/chat/completions", None, 405)):
        got, _, text = call(port, path, body)
        assert got == status and json.loads(text)["error"]["message"]


@pytest.mark.parametrize("text, status, code", [("nothing", 422, "no_answer"), ("fail", 502, "no_answer"), ("unreachable", 502, "no_answer"), ("poison", 500, "internal_error")])
def test_an_answer_that_is_none_is_an_error_and_never_an_empty_choice(port, text, status, code):
    got, said = ask(port, messages=[{"role": "user", "content": text}])
    assert got == status and said["error"]["code"] == code and "secret" not in json.dumps(said) and "inner" not in json.dumps(said)


def test_a_refusal_and_silence_of_a_language_model_are_answers(port):
    choice = ask(port, messages=[{"role": "user", "content": "refuse"}])[1]["choices"][0]
    assert choice["message"]["content"] is None and choice["message"]["refusal"] == "I cannot" and choice["finish_reason"] == "content_filter"
    assert ask(port, messages=[{"role": "user", "content": "mute"}])[1]["choices"][0]["message"]["content"] == ""


def test_text_of_any_script_comes_back_whole(port):
    text = "naïve \U0001f600 \u202e </script>\x00"
    assert ask(port, messages=[{"role": "user", "content": text}])[1]["choices"][0]["message"]["content"] == text[::-1]


# --- what an answerer takes -----------------------------------------------------------------------------------------------


def test_settings_that_are_taken_reach_the_answerer_and_stop_cuts():
    straw = Straw()
    with served(straw, takes=frozenset(["temperature", "max_tokens", "stop", "seed"]), cuts=True, draws=True, reads_messages=True) as (port, _, _):
        talk = [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "xyz"}]
        status, said = ask(port, messages=talk, temperature=0.5, max_completion_tokens=7, stop="y", seed=4, n=2)
        assert status == 200 and [c["message"]["content"] for c in said["choices"]] == ["z", "z"]
        context = straw.prompts[0].context
        assert context["sampling"] == {"temperature": 0.5, "max_tokens": 7} and context["seed"] == 4 and context["messages"] == talk
        ask(port)
        ask(port)
        assert straw.prompts[1].context["seed"] != straw.prompts[2].context["seed"], "two requests are two draws"
        for more, param in (({"temperature": 3}, "temperature"), ({"temperature": "hot"}, "temperature"), ({"max_tokens": 0}, "max_tokens"), ({"stop": [""]}, "stop"), ({"stop": list("abcde")}, "stop"), ({"seed": 1.5}, "seed"), ({"n": 2}, "temperature")):
            got, refused = ask(port, **more)
            assert got == 400 and refused["error"]["param"] == param, more


def test_log_probabilities_are_told_where_they_were_given():
    with served(Straw(), takes=frozenset(["logprobs"]), forwards=True) as (port, _, _):
        found = ask(port, logprobs=True)[1]["choices"][0]["logprobs"]["content"]
        assert [(t["token"], t["logprob"]) for t in found] == [("a", -0.5), ("b", None)] and found[0]["top_logprobs"][0]["token"] == "a"
        assert ask(port)[1]["choices"][0]["logprobs"] is None, "who did not ask gets none"


def test_a_prompt_longer_than_the_model_reads_is_refused_and_its_neighbours_are_not():
    straw = Straw()
    straw.measure = lambda prompt: (len(prompt.text), 10)
    straw.hold.clear()
    with served(straw) as (port, _, _):
        threading.Thread(target=lambda: call(port), daemon=True).start()
        assert straw.began.wait(20)
        threading.Timer(0.5, straw.hold.set).start()
        long, short = at_once(port, [asking("x" * 11), asking("abc")])
        assert long[0] == 400 and json.loads(long[2])["error"]["code"] == "context_length_exceeded" and short[0] == 200


# --- together -------------------------------------------------------------------------------------------------------------


def test_requests_that_come_together_are_answered_in_one_batch():
    straw = Straw()
    with served(straw, limits=Limits(window_s=0.5, batch=4)) as (port, _, _):
        replies = at_once(port, [asking(f"r{n}") for n in range(4)])
        assert [json.loads(r[2])["choices"][0]["message"]["content"] for r in replies] == [f"{n}r" for n in range(4)], "each gets its own answer"
        assert len(straw.batches) == 1 and sorted(straw.batches[0]) == ["r0", "r1", "r2", "r3"]
        at_once(port, [asking("a"), asking("b", n=2)])
        assert len(straw.batches) == 3, "another number of answers is another call"


def test_a_batch_is_never_larger_than_allowed():
    straw = Straw()
    straw.hold.clear()
    with served(straw, limits=Limits(batch=3)) as (port, app, _):
        threading.Thread(target=lambda: call(port), daemon=True).start()
        assert straw.began.wait(20)
        threading.Thread(target=lambda: at_once(port, [asking(f"r{n}") for n in range(7)]), daemon=True).start()
        wait_for(lambda: app.state.batcher.waiting == 7)
        straw.hold.set()
        wait_for(lambda: sum(map(len, straw.batches)) == 8)
        assert [len(b) for b in straw.batches] == [1, 3, 3, 1]


def test_one_request_that_breaks_the_answerer_does_not_break_its_neighbours():
    with served(Straw(), limits=Limits(window_s=0.5, batch=3)) as (port, _, _):
        replies = at_once(port, [asking("abc"), asking("poison"), asking("xyz")])
        assert [r[0] for r in replies] == [200, 500, 200]


def test_a_full_queue_is_said_with_429_and_when_to_come_again():
    straw = Straw()
    straw.hold.clear()
    with served(straw, limits=Limits(places=2)) as (port, app, _):
        threads = [threading.Thread(target=lambda: call(port), daemon=True)]
        threads[0].start()
        assert straw.began.wait(20)
        threads += [threading.Thread(target=lambda n=n: call(port, body=asking(f"r{n}")), daemon=True) for n in range(2)]
        for t in threads[1:]:
            t.start()
        wait_for(lambda: app.state.batcher.waiting == 2)
        status, headers, text = call(port)
        assert status == 429 and 1 <= int(headers["retry-after"]) <= 60 and json.loads(text)["error"]["code"] == "queue_full" and json.loads(text)["error"]["type"] == "rate_limit_error"
        straw.hold.set()
        for t in threads:
            t.join(20)
        assert call(port)[0] == 200, "the queue has emptied"
        many = call(port, "/v1/completions", {"model": "straw", "prompt": ["a", "b", "c"]})
        assert many[0] == 400, "what can never fit is no matter of waiting"


def test_a_request_that_waits_too_long_gets_504_and_frees_its_place():
    straw = Straw()
    straw.hold.clear()
    with served(straw, limits=Limits(deadline_s=0.4, places=1)) as (port, app, _):
        began = time.monotonic()
        status, _, text = call(port)
        assert status == 504 and json.loads(text)["error"]["code"] == "deadline_exceeded" and json.loads(text)["error"]["type"] == "server_error" and time.monotonic() - began < 15
        assert call(port, body=asking("queued"))[0] == 504 and app.state.batcher.waiting == 0
        straw.hold.set()
        wait_for(lambda: call(port, body=asking("later"))[0] == 200)
        assert ["queued"] not in straw.batches, "nobody works for who has given up"


def test_a_client_that_leaves_frees_its_place():
    straw = Straw()
    straw.hold.clear()
    with served(straw, limits=Limits(places=1)) as (port, app, _):
        first = threading.Thread(target=lambda: call(port), daemon=True)
        first.start()
        assert straw.began.wait(20)
        body = json.dumps(asking("gone")).encode()
        leaver = socket.create_connection(("127.0.0.1", port))
        leaver.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        wait_for(lambda: app.state.batcher.waiting == 1)
        assert call(port)[0] == 429
        leaver.close()
        wait_for(lambda: app.state.batcher.waiting == 0)
        straw.hold.set()
        first.join(20)
        assert call(port)[0] == 200 and ["gone"] not in straw.batches


def test_requests_in_flight_are_finished_when_the_server_is_told_to_end():
    straw, got = Straw(), []
    straw.hold.clear()
    with served(straw) as (port, _, server):
        asker = threading.Thread(target=lambda: got.append(call(port)), daemon=True)
        asker.start()
        assert straw.began.wait(20)
        server.should_exit = True
        time.sleep(0.5)
        straw.hold.set()
        asker.join(20)
        assert got and got[0][0] == 200


def test_a_request_that_would_hold_up_the_end_is_told_so():
    straw, got = Straw(), []
    straw.hold.clear()
    with served(straw, grace_s=1) as (port, _, server):
        asker = threading.Thread(target=lambda: got.append(call(port)), daemon=True)
        asker.start()
        assert straw.began.wait(20)
        server.should_exit = True
        asker.join(20)
        assert got and got[0][0] == 503 and json.loads(got[0][2])["error"]["code"] == "shutting_down"


def test_bodies_that_are_still_coming_take_places_too():
    with served(Straw(), limits=Limits(places=1)) as (port, _, _):
        slow = socket.create_connection(("127.0.0.1", port))
        slow.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        wait_for(lambda: call(port)[0] == 429)
        slow.close()
        wait_for(lambda: call(port)[0] == 200)


# --- guards ---------------------------------------------------------------------------------------------------------------


def test_with_a_key_nothing_is_answered_without_it():
    with served(Straw(), house=House(key="s3cret")) as (port, _, _):
        for path, body in (("/v1/chat/completions", ASK), ("/v1/completions", {"model": "straw", "prompt": "x"}), ("/v1/models", None), ("/v1/models/straw", None), ("/v1/terms", None)):
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic s3cret"}, {"Authorization": "Bearer s3cret2"}, {"Authorization": b"Bearer \xff"}):
                status, told, text = call(port, path, body, headers=headers)
                assert status == 401 and json.loads(text)["error"]["code"] == "invalid_api_key" and told["www-authenticate"] == "Bearer", (path, headers)
            assert call(port, path, body, headers={"Authorization": "Bearer s3cret"})[0] == 200
        assert call(port, "/health", None)[0] == 200
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert call(port, "/", raw="text=abc&key=wrong", headers=form)[0] == 401 and "cba" in call(port, "/", raw="text=abc&key=s3cret", headers=form)[2]
        assert "s3cret" not in call(port, "/", raw="text=abc&key=s3cret", headers=form)[2], "the page does not show the key"


def test_a_server_of_this_machine_answers_to_no_other_name():
    """A page elsewhere could make its own name point here (DNS rebinding): its requests carry that name."""
    with served(Straw(), house=House(hosts=frozenset(["localhost", "127.0.0.1"]))) as (port, _, _):
        assert call(port)[0] == 200 and call(port, headers={"Host": "localhost:1"})[0] == 200
        for path, body in (("/v1/chat/completions", ASK), ("/", None), ("/health", None)):
            assert call(port, path, body, headers={"Host": "evil.example:80"})[0] == 421


def test_the_page_works_without_a_script_and_escapes_everything():
    terms = {"displays": ["Built with <Llama>"], "owed": []}
    with served(Straw(), house=House(terms=terms)) as (port, _, _):
        status, headers, text = call(port, "/", None)
        assert status == 200 and "Built with &lt;Llama&gt;" in text and "script" not in text and "http:" not in text and "https:" not in text
        assert "default-src 'none'" in headers["content-security-policy"]
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        status, _, text = call(port, "/", raw="n=2&text=" + quote("<script>\u202e" + "<img src=x>"[::-1]), headers=form)
        assert status == 200 and "&lt;img src=x&gt;" in text and "<img" not in text and "<script" not in text, "neither what was asked nor what was answered is markup"
        assert "\\x202e" in text, "a sign that turns lines round is shown by name"
        status, _, text = call(port, "/", raw="text=", headers=form)
        assert status == 400 and "role=\"alert\"" in text
        assert call(port, "/", raw="text=abc", headers={**form, "Sec-Fetch-Site": "cross-site"})[0] == 403
        assert call(port, "/", raw="text=abc&n=999", headers=form)[0] == 400
        assert call(port, "/", raw="text=nothing", headers=form)[0] == 422
