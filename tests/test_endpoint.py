"""A server that misbehaves, and what becomes of each prompt."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from limbeck.errors import LimbeckError
from limbeck.evaluate.examine import examine
from limbeck.evaluate.log import TrialLog
from limbeck.records import Example, Prompt
from limbeck.tasks.text_task import TextTask
from limbeck.teachers.endpoint import Endpoint, Sampling, strip_reasoning
from limbeck.teachers.ledger import Ledger

web = pytest.importorskip("aiohttp.web")


class Adding(TextTask):
    name, version, known_splits = "adding", "1", ("test",)

    def __init__(self, count=6):
        self.count = count

    def _load(self, split):
        return [Example(id=str(i), prompt=Prompt(id=str(i), text=f"{i} + 1"), gold=(str(i + 1),)) for i in range(self.count)]

    def judge(self, example, text):
        return {"correct": float(text.strip() == example.gold[0])} if text.strip().isdigit() else "unparsable"


def completion(text, model="m", n=1, **more):
    return {"model": model, "choices": [{"message": {"content": text, **more}, "finish_reason": "stop"}] * n, "usage": {"prompt_tokens": 3, "completion_tokens": 1}}


@contextmanager
def serve(reply):
    """`reply(number, body)` gives a JSON document, (status, text), seconds to sleep, or a function that writes the reply part by part; yields address and requests seen."""
    seen, loop, ready = [], asyncio.new_event_loop(), threading.Event()
    where = {}

    async def handle(request):
        body = await request.json()
        seen.append(body)
        answer = reply(len(seen) - 1, body)
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            answer = completion("late")
        if callable(answer):
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            await answer(response, body)
            return response
        return web.json_response(answer) if isinstance(answer, dict) else web.Response(status=answer[0], text=answer[1])

    async def start():
        app = web.Application()
        app.router.add_post("/v1/{tail:.*}", handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        where["runner"] = runner
        where["port"] = site._server.sockets[0].getsockname()[1]
        ready.set()

    async def stop():
        await where["runner"].cleanup()
        left = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    thread = threading.Thread(target=lambda: (loop.run_until_complete(start()), loop.run_forever()), daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield f"http://127.0.0.1:{where['port']}/v1", seen
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def right(number, body):
    return completion(str(int(body["messages"][-1]["content"].split()[0]) + 1))


def asked(url, count=6, log=None, ledger=None, k=1, **settings):
    task = Adding(count)
    endpoint = Endpoint("m", url, ledger=ledger, **{"retries": 1, "concurrency": 4, **settings})
    endpoint._waits.uniform = lambda a, b: 0.01  # no long waits in tests
    return examine(task, endpoint, task.examples("test"), split="test", k=k, log=log)


def test_every_answer_is_judged_in_the_order_of_the_examples():
    with serve(right) as (url, seen):
        result = asked(url, 40)
    assert result["statuses"] == {"scored": 40} and [t["id"] for t in result["trials"]] == [str(i) for i in range(40)]
    assert all(t["correct"] == [1.0] for t in result["trials"]) and len(seen) == 40
    assert result["settings"]["model"] == "m"


@pytest.mark.parametrize(
    ("reply", "status", "reason"),
    [
        (completion("no number"), "no_answer", "unparsable"),
        (completion(None, refusal="I cannot"), "refused", "I cannot"),
        ({"model": "m", "choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}, "refused", "content filter"),
        (completion(""), "no_answer", "empty (stop)"),
        ({"model": "m", "choices": []}, "no_answer", "empty (no choices)"),
        ((200, "data: {garbage"), "failed", "the reply is not a completion"),
        ((200, '{"choices": 3}'), "failed", "the reply is not a completion"),
        ((200, '[1, 2]'), "failed", "the reply is not a completion"),
        ((400, '{"error": {"message": "the maximum context length is 8 tokens"}}'), "refused", "too long"),
        ((400, '{"error": {"message": "no such field"}}'), "failed", "HTTP 400: no such field"),
        ((500, "oops"), "failed", "HTTP 500: oops"),
        (2.0, "failed", "no answer in 0.3 s"),
    ],
)
def test_a_prompt_ends_in_one_status_with_its_reason(reply, status, reason):
    with serve(lambda number, body: reply if number in (0, 6, 7) and body["messages"][-1]["content"] == "0 + 1" else right(number, body)) as (url, _):
        result = asked(url, 3, concurrency=1, retries=0, timeout_s=0.3)
    trial = result["trials"][0]
    assert trial["status"] == status and trial["reason"].startswith(reason)
    assert result["statuses"]["scored"] == 2
    score = next(s for s in result["scores"] if s["name"] == "correct")
    assert score["value"] == 1.0 and score["n"] == 2 and score["missing"] == 1


def test_429_is_asked_again():
    with serve(lambda number, body: (429, "slow down") if number < 3 else right(number, body)) as (url, seen):
        result = asked(url, 6, retries=4)
    assert result["statuses"] == {"scored": 6} and len(seen) == 9


def test_a_wrong_key_stops_at_once_and_keeps_what_was_answered(tmp_path):
    ledger = Ledger(tmp_path / "calls.sqlite")
    with serve(lambda number, body: right(number, body) if number < 3 else (401, "bad key")) as (url, _), pytest.raises(LimbeckError, match="bad key"):
        asked(url, 20, concurrency=1, ledger=ledger)
    assert len(ledger.find([])) == 0 and ledger._file.execute("SELECT count(*) FROM calls").fetchone() == (3,)


def test_a_server_that_is_down_is_said(tmp_path):
    with pytest.raises(LimbeckError, match="20 prompts failed"):
        asked("http://127.0.0.1:9/v1", 30, retries=0)


def test_a_server_that_never_replied_is_given_up_after_three_tries_of_one_prompt():
    for url, message in (("http://127.0.0.1:9/v1", "cannot be reached"), ("http://127.1/v1", "no address of a server")):
        with pytest.raises(LimbeckError, match=message):
            asked(url, 30, retries=5)


def test_a_model_that_changes_half_way_is_noticed():
    with serve(lambda number, body: {**right(number, body), "model": "a" if number < 2 else "b"}) as (url, _), pytest.raises(LimbeckError, match="changed its model"):
        asked(url, 6, concurrency=1)


def test_a_replay_costs_no_request_and_no_money(tmp_path):
    with serve(right) as (url, seen):
        first = asked(url, ledger=Ledger(tmp_path / "c"), price_usd=(1.0, 2.0))
        again = asked(url, ledger=Ledger(tmp_path / "c"), price_usd=(1.0, 2.0))
        assert len(seen) == 6
        asked(url, ledger=Ledger(tmp_path / "c"), sampling=Sampling(temperature=1.0))
        assert len(seen) == 12
    assert first["cost_usd"] == pytest.approx(6 * 5e-6) and again["cost_usd"] == 0.0
    assert [t["correct"] for t in first["trials"]] == [t["correct"] for t in again["trials"]]


def test_an_examination_goes_on_from_its_log(tmp_path):
    header = {"task": "adding", "version": "1"}
    with serve(lambda number, body: right(number, body) if number < 5 else (401, "stop")) as (url, _), pytest.raises(LimbeckError):
        asked(url, 12, TrialLog(tmp_path / "log.jsonl", header), concurrency=1)
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(b'{"id": "7", "torn')
    with serve(right) as (url, seen):
        log = TrialLog(tmp_path / "log.jsonl", header)
        result = asked(url, 12, log)
        log.close()
    assert len(seen) == 7 and result["statuses"] == {"scored": 12} and result["asked"] == 7
    assert len([json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]) == 13
    with pytest.raises(LimbeckError, match="version was '1', now '2'"):
        TrialLog(tmp_path / "log.jsonl", {**header, "version": "2"})


def test_another_number_of_choices_is_kept_and_said():
    with serve(lambda number, body: completion("1", n=5)) as (url, _):
        result = asked(url, 1, k=3)
    assert result["trials"][0]["candidates"] == ["1", "1", "1"] and result["notes"] == ["1 prompts asked for 3 choices and got 5"]


@pytest.mark.parametrize(
    ("text", "left"),
    [("<think>2 or 3</think>4", "4"), ("<thinking>x", ""), ("a < b", "a < b"), ("<think>a</think>b<THINK>c</THINK>", "b"), ("so 4 it is</think>4", "4")],
)
def test_reasoning_is_taken_off(text, left):
    assert strip_reasoning(text) == left


def limbeck(folder, *arguments):
    environment = {**os.environ, "LIMBECK_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "limbeck", "evaluate", *map(str, arguments), "--json"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_command_examines_a_server_on_a_users_own_task_and_on_an_openai_eval(tmp_path):
    (tmp_path / "rows.csv").write_text("n,answer\n1,2\n2,3\n3,5\n")
    (tmp_path / "sums.toml").write_text('name = "sums"\ndata = "rows.csv"\nprompt = "{n} + 1"\nanswer = "answer"\nscorer = "number"\n')
    evals, data = tmp_path / "registry" / "evals", tmp_path / "registry" / "data"
    evals.mkdir(parents=True)
    data.mkdir()
    (evals / "sums.yaml").write_text("sums:\n  id: sums.test.v0\n  metrics: [accuracy]\nsums.test.v0:\n  class: evals.elsuite.basic.match:Match\n  args:\n    samples_jsonl: sums.jsonl\n")
    (data / "sums.jsonl").write_text("".join(json.dumps({"input": [{"role": "user", "content": f"{n} + 1"}], "ideal": str(n + 1)}) + "\n" for n in range(4)))
    with serve(right) as (url, seen):
        own = limbeck(tmp_path, "--task", tmp_path / "sums.toml", "--model", "openai:m", "--base-url", url, "--out", tmp_path / "out")
        again = limbeck(tmp_path, "--task", tmp_path / "sums.toml", "--model", "openai:m", "--base-url", url, "--out", tmp_path / "out")
        assert len(seen) == 3 and own["scores"][0]["value"] == pytest.approx(2 / 3) and again["asked"] == 0 and again["scores"] == own["scores"]
        registry = limbeck(tmp_path, "--task", "openai-evals:sums", "--registry", tmp_path / "registry", "--model", "openai:m", "--base-url", url)
    assert registry["statuses"] == {"scored": 4} and next(s for s in registry["scores"] if s["name"] == "accuracy")["value"] == 1.0
    assert set(seen[-1]) == {"model", "messages", "temperature"}  # what upstream does not send is not sent


def test_a_reply_that_comes_in_pieces_is_read_to_its_end():
    async def write(response, body):
        whole = json.dumps(right(0, body)).encode()
        for at in range(0, len(whole), 7):
            await response.write(whole[at : at + 7])
            await asyncio.sleep(0.001)

    with serve(lambda number, body: write) as (url, _):
        assert asked(url)["statuses"] == {"scored": 6}


def test_a_stream_of_garbage_ends_in_a_reason(monkeypatch):
    monkeypatch.setattr("limbeck.teachers.sending.LARGEST_REPLY_BYTES", 200_000)

    async def write(response, body):
        while True:
            await response.write(b"\xff\x00garbage" * 1000)

    with serve(lambda number, body: write) as (url, _):
        result = asked(url, 2)
    assert result["statuses"] == {"failed": 2} and "not a completion" in result["trials"][0]["reason"]


@pytest.mark.parametrize("starts", [True, False])
def test_a_server_that_stalls_is_given_up_after_three_time_limits_and_what_came_before_is_kept(tmp_path, starts):
    numbers = iter(range(100))

    async def write(response, body):
        if next(numbers) < 3:
            await response.write(json.dumps(right(0, body)).encode())
            return
        if starts:
            await response.write(b'{"choi')
        await asyncio.sleep(60)

    with serve(lambda number, body: write) as (url, _), pytest.raises(LimbeckError, match="stalls") as problem:
        log = TrialLog(tmp_path / "log.jsonl", {"task": "adding"})
        asked(url, 40, log, timeout_s=0.2, retries=5)
    assert "--timeout" in problem.value.fix
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) >= 4


def test_a_model_that_changed_between_two_runs_is_noticed_and_its_answers_do_not_mix_in(tmp_path):
    header = {"task": "adding"}
    with serve(lambda number, body: right(number, body) | {"model": "a" if number < 3 else "b"}) as (url, _):
        for _ in range(2):
            with pytest.raises(LimbeckError, match="from 'a' to 'b'"):
                asked(url, 6, TrialLog(tmp_path / "log.jsonl", header), Ledger(tmp_path / "c"), concurrency=1)
    said = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()[1:]]
    assert {t["answer_meta"]["model"] for t in said} == {"a"} and len(said) == 3


def test_prompts_that_failed_are_asked_again_by_the_same_command(tmp_path):
    with serve(lambda number, body: (400, "no") if number < 2 else right(number, body)) as (url, _):
        first = asked(url, 6, TrialLog(tmp_path / "log.jsonl", {}), concurrency=1)
        second = asked(url, 6, TrialLog(tmp_path / "log.jsonl", {}), concurrency=1)
    assert first["statuses"] == {"failed": 2, "scored": 4} and second["statuses"] == {"scored": 6} and second["asked"] == 2


def test_a_server_that_knows_no_n_is_asked_again_for_the_rest():
    with serve(lambda number, body: completion(str(number))) as (url, seen):
        result = asked(url, 1, k=3, sampling=Sampling(temperature=1.0, seed=5))
    assert result["trials"][0]["candidates"] == ["0", "1", "2"] and [b["seed"] for b in seen] == [5, 6, 7]
    assert result["trials"][0]["answer_meta"]["tokens"] == {"prompt": 9, "completion": 3}
    assert result["notes"] == ["1 prompts asked for 3 choices and got 3, in 3 requests each: the server gives fewer than asked for at a time"]


def test_an_endpoint_is_examined_without_torch_pyarrow_or_a_hub_and_ten_cached_examples_in_no_time(tmp_path):
    (tmp_path / "rows.csv").write_text("n,answer\n" + "".join(f"{n},{n + 1}\n" for n in range(10)))
    (tmp_path / "sums.toml").write_text('name = "sums"\ndata = "rows.csv"\nprompt = "{n} + 1"\nanswer = "answer"\nscorer = "number"\n')
    heavy = ("torch", "pyarrow", "huggingface_hub", "datasets", "transformers", "pandas", "scipy", "altair")
    code = f"""import resource, sys
from limbeck.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
used = resource.getrusage(resource.RUSAGE_SELF)
from pathlib import Path
status = Path("/proc/self/status")  # ru_maxrss would count the process that started this one
peak = next((int(l.split()[1]) / 1024 for l in status.read_text().splitlines() if l.startswith("VmHWM")), 0.0) if status.exists() else 0.0
print([m for m in {heavy} if m in sys.modules], used.ru_utime + used.ru_stime, peak)"""
    command = [sys.executable, "-c", code, "evaluate", "--task", str(tmp_path / "sums.toml"), "--limit", "10", "--model", "openai:m", "--base-url"]
    with serve(right) as (url, seen):
        for turn in ("asked", "cached"):
            done = subprocess.run([*command, url, "--out", str(tmp_path / turn)], capture_output=True, text=True, env={**os.environ, "LIMBECK_CACHE": str(tmp_path / "cache")})
            assert "10 scored" in done.stdout, done.stdout + done.stderr
    loaded, cpu_s, peak_mb = done.stdout.strip().splitlines()[-1].rsplit(" ", 2)
    assert loaded == "[]" and len(seen) == 10
    assert float(cpu_s) < 1.5 and float(peak_mb) < 300  # processor time: other work may share the machine
