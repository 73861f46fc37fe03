"""The ledger: what is paid for is kept at once, found again, and counted once."""

import json
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from test_endpoint import asked, completion, right, serve

from limbeck.errors import LimbeckError
from limbeck.records import Prompt
from limbeck.teachers.endpoint import Endpoint, Output, Sampling
from limbeck.teachers.ledger import Draw, Ledger

pytest.importorskip("aiohttp")


def draw(number, text="four", request="q", asked=1, **more):
    return Draw(number=number, request=request, asked=asked, text=text, **{"tokens_in": 3, "tokens_out": 1, "cost_usd": 0.5, **more})


def keep(ledger, key, *draws, run="r"):
    ledger.keep(key, draws, run=run, model="m", host="h")


def prompts(*texts):
    return [Prompt(id=f"p{at}", text=text) for at, text in enumerate(texts)]


def teacher(url, ledger, run="r", k=None, **settings):
    endpoint = Endpoint("m", url, ledger=ledger, run=run, **{"sampling": Sampling(temperature=1.0, seed=5), "retries": 1, **settings})
    endpoint._waits.uniform = lambda a, b: 0.01
    return endpoint


def test_a_reply_is_in_the_file_before_anything_is_done_with_it(tmp_path):
    ledger, seen = Ledger(tmp_path / "l"), []

    def done(at, answer):
        seen.append(sqlite3.connect(tmp_path / "l").execute("SELECT count(*) FROM calls").fetchone()[0])

    with serve(right) as (url, _):
        teacher(url, ledger, concurrency=1).answer_each(prompts("1 + 1", "2 + 1", "3 + 1"), 1, done)
    assert seen == [1, 2, 3]


def test_more_draws_later_pay_for_the_missing_ones_alone_and_a_seed_moves_on(tmp_path):
    def reply(number, body):
        return {"model": "m", "choices": [{"index": at, "message": {"content": f"draw {body['seed'] + at}"}, "finish_reason": "stop"} for at in range(body.get("n", 1))], "usage": {"prompt_tokens": 7, "completion_tokens": 2 * body.get("n", 1)}}

    ledger = Ledger(tmp_path / "l")
    with serve(reply) as (url, seen):
        endpoint = teacher(url, ledger, price_usd=(1.0, 1.0))
        two = endpoint.answer(prompts("x"), k=2)[0]
        five = endpoint.answer(prompts("x"), k=5)[0]
        three = endpoint.answer(prompts("x"), k=3)[0]
    assert [c.text for c in five.candidates] == [f"draw {5 + at}" for at in range(5)] and two.candidates == five.candidates[:2] and three.candidates == five.candidates[:3]
    assert [(b["seed"], b.get("n", 1)) for b in seen] == [(5, 2), (7, 3)]
    assert two.cost_usd == pytest.approx(11e-6) and five.cost_usd == pytest.approx(13e-6) and three.cost_usd == 0.0 and three.meta["replayed"]
    assert five.meta["tokens"] == {"prompt": 14, "completion": 10} and "given" not in five.meta
    paid = ledger.spent("r")["paid"]
    assert (paid["draws"], paid["requests"], paid["tokens_in"], paid["tokens_out"]) == (5, 2, 14, 10)


def test_tokens_of_a_request_are_parted_over_its_draws_and_add_up(tmp_path):
    with serve(lambda number, body: {**completion("x", n=3), "usage": {"prompt_tokens": 8, "completion_tokens": 4}}) as (url, _):
        ledger = Ledger(tmp_path / "l")
        teacher(url, ledger).answer(prompts("x"), k=3)
    rows = sqlite3.connect(tmp_path / "l").execute("SELECT tokens_in, tokens_out, host, served_model, finish_reason FROM calls ORDER BY draw").fetchall()
    assert [r[:2] for r in rows] == [(3, 2), (3, 1), (2, 1)] and rows[0][2] == url.split("/")[2] and rows[0][3:] == ("m", "stop")


def test_equal_prompts_are_one_question_and_the_first_bears_the_cost(tmp_path):
    with serve(right) as (url, seen):
        answers = teacher(url, Ledger(tmp_path / "l"), price_usd=(1.0, 1.0)).answer(prompts("1 + 1", "1 + 1", "2 + 1"))
    assert len(seen) == 2 and [a.candidates[0].text for a in answers] == ["2", "2", "3"] and [a.cost_usd for a in answers] == [4e-6, 0.0, 4e-6]


def test_every_record_of_a_run_ends_in_one_state_with_its_reason_and_spend_survives_a_resume(tmp_path):
    def reply(number, body):
        text = body["messages"][-1]["content"]
        return {"a": completion("fine"), "b": completion(None, refusal="I cannot"), "c": completion(""), "d": (400, "no such field"), "e": (400, "maximum context length is 8")}[text]

    with serve(reply) as (url, seen):
        for _ in range(2):
            ledger = Ledger(tmp_path / "l")
            teacher(url, ledger, price_usd=(1.0, 1.0)).answer(prompts(*"abcde"))
            ledger.close()
    spent = Ledger(tmp_path / "l").spent("r")
    assert spent["asked"] == 5 and spent["states"] == {"answered": 1, "failed": 1, "no_answer": 1, "refused": 2}
    assert spent["reasons"] == {"failed: HTTP 400: no such field": 1, "no_answer: empty (stop)": 1, "refused: I cannot": 1, "refused: too long": 1}
    assert spent["paid"]["draws"] == 3 and spent["paid"]["cost_usd"] == pytest.approx(12e-6) and len(seen) == 5 + 2 and spent["in_doubt"]["requests"] == 0


def test_another_run_shows_what_it_replayed_apart_from_what_it_paid(tmp_path):
    ledger = Ledger(tmp_path / "l")
    with serve(right) as (url, _):
        teacher(url, ledger, "first", price_usd=(1.0, 1.0)).answer(prompts("1 + 1", "2 + 1"))
        endpoint = teacher(url, ledger, "second", price_usd=(1.0, 1.0))
        endpoint.answer(prompts("2 + 1", "3 + 1"))
    spent = endpoint.accounts()
    assert spent["paid"]["draws"] == 1 and spent["paid"]["cost_usd"] == pytest.approx(4e-6) and spent["replayed"]["draws"] == 1 and spent["states"] == {"answered": 2}
    assert ledger.spent("first")["paid"]["draws"] == 2 and ledger.spent("first")["replayed"]["draws"] == 0


def test_an_unknown_price_stays_unknown(tmp_path):
    ledger = Ledger(tmp_path / "l")
    keep(ledger, "a", draw(0))
    keep(ledger, "b", draw(0, cost_usd=None))
    assert ledger.spent("r")["paid"]["cost_usd"] is None and ledger.spent("r")["paid"]["known_usd"] == 0.5


def test_offline_a_missing_call_is_an_error_before_any_network(tmp_path):
    ledger = Ledger(tmp_path / "l")
    with serve(right) as (url, _):
        teacher(url, ledger).answer(prompts("1 + 1"))
    assert teacher(url, ledger, "again", offline=True).answer(prompts("1 + 1"))[0].candidates[0].text == "2"  # the server is gone
    told = []
    with pytest.raises(LimbeckError, match="1 of 2 requests are not in the ledger"):
        teacher(url, ledger, "again", offline=True).answer_each(prompts("1 + 1", "9 + 1"), 1, lambda at, answer: told.append(at))
    assert told == []


def test_a_revision_is_part_of_the_key_and_must_be_what_was_served(tmp_path):
    ledger = Ledger(tmp_path / "l")
    with serve(lambda number, body: {**right(number, body), "model": "m-2026-01"}) as (url, seen):
        answer = teacher(url, ledger, revision="2026-01").answer(prompts("1 + 1"))[0]
        teacher(url, ledger).answer(prompts("1 + 1"))
        assert len(seen) == 2 and answer.meta["revision"] == "2026-01" and answer.meta["host"] == url.split("/")[2]
        with pytest.raises(LimbeckError, match="not revision '2025-12'"):
            teacher(url, ledger, revision="2025-12").answer(prompts("1 + 1"))


def test_logprobs_come_with_candidates_of_either_protocol_and_from_the_ledger_too(tmp_path):
    chat = {"content": [{"token": "4", "logprob": -0.1, "token_id": 19, "top_logprobs": [{"token": "4", "logprob": -0.1, "token_id": 19}, {"token": "5", "logprob": -2.5, "token_id": 20}]}]}
    raw = {"tokens": ["token_id:19"], "token_logprobs": [-0.1], "top_logprobs": [{"token_id:19": -0.1, "token_id:20": -2.5}], "text_offset": [0]}

    def reply(number, body):
        choice = {"text": "4", "logprobs": raw} if "prompt" in body else {"message": {"content": "4"}, "logprobs": chat}
        return {"model": "m", "choices": [choice | {"finish_reason": "stop"}]}

    with serve(reply) as (url, seen):
        for style, tokens in (("chat", ["4", "5"]), ("raw", ["token_id:19", "token_id:20"])):
            for _ in range(2):
                found = teacher(url, Ledger(tmp_path / "l"), sampling=Sampling(style=style), output=Output(top_logprobs=2)).answer(prompts("2 + 2"))[0].candidates[0].meta["logprobs"]
                assert found["tokens"] == tokens[:1] and found["logps"] == [-0.1] and found["ids"] == [19] and found["top"] == [[[tokens[0], -0.1, 19], [tokens[1], -2.5, 20]]]
    assert len(seen) == 2 and (seen[0]["logprobs"], seen[0]["top_logprobs"], seen[1]["logprobs"]) == (True, 2, 2)


def test_a_server_that_gives_no_logprobs_is_told_of(tmp_path):
    with serve(right) as (url, _), pytest.raises(LimbeckError, match="no log-probabilities"):
        teacher(url, Ledger(tmp_path / "l"), output=Output(top_logprobs=0)).answer(prompts("1 + 1"))


def test_a_schema_is_sent_and_makes_another_question(tmp_path):
    schema, ledger = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}, Ledger(tmp_path / "l")
    with serve(lambda number, body: completion('{"sum": 2}')) as (url, seen):
        teacher(url, ledger).answer(prompts("1 + 1"))
        endpoint = teacher(url, ledger, output=Output(schema=schema))
        endpoint.answer(prompts("1 + 1"))
    assert "response_format" not in seen[0] and seen[1]["response_format"]["json_schema"]["schema"] == schema and endpoint.settings()["schema"] == schema


def test_a_damaged_file_a_foreign_file_and_a_newer_one_are_told_apart(tmp_path):
    (tmp_path / "damaged").write_bytes(b"not a database at all" * 100)
    with pytest.raises(LimbeckError, match="cannot be used"):
        Ledger(tmp_path / "damaged")
    with sqlite3.connect(tmp_path / "foreign") as file:
        file.execute("CREATE TABLE songs (name TEXT)")
    with pytest.raises(LimbeckError, match="another program's file"):
        Ledger(tmp_path / "foreign")
    Ledger(tmp_path / "newer").close()
    with sqlite3.connect(tmp_path / "newer") as file:
        file.execute("PRAGMA user_version = 99")
    with pytest.raises(LimbeckError, match="newer limbeck"):
        Ledger(tmp_path / "newer")
    (tmp_path / "plain").write_text("")
    with pytest.raises(LimbeckError, match="cannot be used"):
        Ledger(tmp_path / "plain" / "below")


def test_a_page_damaged_later_is_an_error_that_says_what_to_do(tmp_path):
    ledger = Ledger(tmp_path / "l")
    for number in range(300):
        keep(ledger, f"k{number}", draw(0, text="x" * 500))
    ledger.close()
    content = bytearray((tmp_path / "l").read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    (tmp_path / "l").write_bytes(content)
    with pytest.raises(LimbeckError) as problem:
        Ledger(tmp_path / "l").find([f"k{number}" for number in range(300)])
    assert "move it away" in problem.value.fix


def test_on_a_full_disk_what_is_under_way_is_kept_nothing_is_half_written_and_it_goes_on(tmp_path):
    ledger = Ledger(tmp_path / "l", spare_bytes=100_000)
    assert (tmp_path / "l-spare").stat().st_size == 100_000
    pages = ledger._file.execute("PRAGMA page_count").fetchone()[0]
    ledger._file.execute(f"PRAGMA max_page_count={pages + 4}")
    with serve(lambda number, body: completion("x" * 3000, n=2)) as (url, seen), pytest.raises(LimbeckError, match="full") as problem:
        teacher(url, ledger, concurrency=2).answer(prompts(*(f"{n} + 1" for n in range(40))), k=2)
    assert "run again" in problem.value.fix and not (tmp_path / "l-spare").exists()
    kept = sqlite3.connect(tmp_path / "l").execute("SELECT key, count(*) FROM calls GROUP BY key").fetchall()
    assert 0 < len(kept) < 40 and all(count == 2 for _, count in kept)
    with serve(lambda number, body: completion("x" * 3000, n=2)) as (url2, seen):
        again = teacher(url, Ledger(tmp_path / "l", spare_bytes=0), concurrency=2)
        again.base_url, again._sender.url = url, url2 + "/chat/completions"
        answers = again.answer(prompts(*(f"{n} + 1" for n in range(40))), k=2)
    assert len(seen) == 40 - len(kept) and all(a.status == "scored" for a in answers)


def test_several_threads_and_processes_write_one_file(tmp_path):
    code = "import sys\nfrom pathlib import Path\nfrom limbeck.teachers.ledger import Draw, Ledger\nl = Ledger(Path(sys.argv[1]))\nfor n in range(100):\n    l.keep(f'{sys.argv[2]}-{n}', [Draw(number=0, request='q', asked=1, text='x')], run='r', model='m', host='h')\n"
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "l"), name]) for name in "ab"]
    ledger = Ledger(tmp_path / "l")
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda n: keep(ledger, f"t-{n}", draw(0)), range(100)))
    assert [p.wait(30) for p in processes] == [0, 0] and ledger.spent("r")["paid"]["draws"] == 300


def test_a_draw_that_another_process_paid_for_meanwhile_stays_and_ours_is_listed_as_lost(tmp_path):
    ledger = Ledger(tmp_path / "l")
    keep(ledger, "a", draw(0, "theirs", request="q1"), run="other")
    ledger.send("q2", run="r", key="a", draws=1, tokens_bound=50, usd_bound=0.25)
    keep(ledger, "a", draw(0, "ours", request="q2"))
    assert ledger.find(["a"])["a"][0].text == "theirs" and ledger.spent("r")["in_doubt"] == {"requests": 1, "tokens_at_most": 50, "usd_at_most": 0.25}


def test_what_was_in_flight_at_a_kill_is_counted_as_in_doubt_by_the_next_process(tmp_path):
    ledger = Ledger(tmp_path / "l")
    for name in ("lost", "turned down", "kept"):
        ledger.send(name, run="r", key=name, draws=1, tokens_bound=10, usd_bound=None)
    ledger.refuse("turned down", "r")
    keep(ledger, "kept", draw(0, request="kept"))
    assert ledger.spent("r")["in_doubt"]["requests"] == 0
    Ledger(tmp_path / "l").begin("r", [])
    assert ledger.spent("r")["in_doubt"] == {"requests": 1, "tokens_at_most": 10, "usd_at_most": None}


def test_the_same_request_carries_the_same_idempotency_key_in_every_try_and_every_run(tmp_path):
    from aiohttp import web
    from test_faults import served

    keys = []

    async def complete(request):
        keys.append(request.headers["Idempotency-Key"])
        return web.json_response(completion("2")) if len(keys) > 2 else web.Response(status=500)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    with served(app) as url:
        teacher(url, Ledger(tmp_path / "one"), "r1", retries=3).answer(prompts("1 + 1"))
        teacher(url, Ledger(tmp_path / "two"), "r2").answer(prompts("1 + 1"))
        teacher(url, None, "").answer(prompts("1 + 1"))  # asked anew, on purpose
        teacher(url, Ledger(tmp_path / "two"), "r2").answer(prompts("2 + 1"))
    assert len(set(keys[:4])) == 1 and len(set(keys)) == 3


def test_a_server_that_remembers_an_empty_reply_gets_another_name_for_the_request_in_later_processes_too(tmp_path):
    from aiohttp import web
    from test_faults import served

    keys = []

    async def complete(request):
        keys.append(request.headers["Idempotency-Key"])
        return web.json_response({"model": "m", "choices": []} if keys.count(keys[0]) == len(keys) else {"error": "no"}, status=200 if keys[-1] == keys[0] else 400)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    with served(app) as url:
        first = teacher(url, Ledger(tmp_path / "l")).answer(prompts("1 + 1"))[0]
        second = teacher(url, Ledger(tmp_path / "l")).answer(prompts("1 + 1"))[0]
    assert first.status == second.status == "failed" and len(keys) == 3 and keys[0] != keys[1] == keys[2]


def test_the_ledger_may_be_used_from_a_judges_thread(tmp_path):
    ledger, found = Ledger(tmp_path / "l"), []
    thread = threading.Thread(target=lambda: (keep(ledger, "a", draw(0)), found.append(ledger.find(["a"])["a"][0].text)))
    thread.start()
    thread.join()
    assert found == ["four"] == [ledger.find(["a"])["a"][0].text]


def test_an_evaluation_without_a_run_keeps_answers_but_no_accounts(tmp_path):
    ledger = Ledger(tmp_path / "l")
    with serve(right) as (url, _):
        asked(url, 3, ledger=ledger)
    tables = {name: ledger._file.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("calls", "asked", "sent")}
    assert tables == {"calls": 3, "asked": 0, "sent": 0} and json.dumps(ledger.spent(""))


def test_weights_here_that_were_stopped_halfway_draw_again_what_they_would_have_drawn(tmp_path):
    """Draws hang on who is asked together: a portion that is not whole in the ledger is worked out whole again, and what was kept stays."""
    from limbeck.records import Answer, Candidate, Prompt
    from limbeck.teachers.ledger import Ledger
    from limbeck.teachers.remembered import PORTION, Remembered

    class Weights:
        name, parameters = "w", 1

        def __init__(self, stop_after=10**9):
            self.left = stop_after

        def settings(self):
            return {}

        def answer_each(self, prompts, k, done):
            together = "".join(p.id for p in prompts)  # what a batch draws hangs on all of it
            for at, p in enumerate(prompts):
                if self.left == 0:
                    raise KeyboardInterrupt
                self.left -= 1
                done(at, Answer(prompt_id=p.id, candidates=tuple(Candidate(text=f"{p.id} of {hash(together)} {n}", meta={"tokens": n + 1}) for n in range(k))))

    prompts = [Prompt(id=str(n), text=f"q{n}") for n in range(2 * PORTION + 5)]
    whole = Remembered(Weights(), "i", Ledger(tmp_path / "whole.sqlite"), "r").answer(prompts, k=3)
    ledger = Ledger(tmp_path / "broken.sqlite")
    with pytest.raises(KeyboardInterrupt):
        Remembered(Weights(stop_after=PORTION + 7), "i", ledger, "r").answer(prompts, k=3)
    gone_on = Remembered(Weights(), "i", ledger, "r")
    assert [[c.text for c in a.candidates] for a in gone_on.answer(prompts, k=3)] == [[c.text for c in a.candidates] for a in whole]
    paid = gone_on.accounts()["paid"]
    assert paid["draws"] == 3 * len(prompts) and paid["tokens_out"] == (1 + 2 + 3) * len(prompts)
