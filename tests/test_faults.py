"""A teacher that fails, is slow, asks for patience or costs too much: what becomes of each record."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

web = pytest.importorskip("aiohttp.web")

from faulty_server import FAULTS, FaultyServer  # noqa: E402
from test_endpoint import completion, right, serve  # noqa: E402

from limbeck.errors import LimbeckError  # noqa: E402
from limbeck.records import Prompt  # noqa: E402
from limbeck.teachers.budget import Allowance, Budget  # noqa: E402
from limbeck.teachers.endpoint import Endpoint, Sampling  # noqa: E402
from limbeck.teachers.gate import Gate  # noqa: E402
from limbeck.teachers.ledger import Ledger  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def served(app):
    """An aiohttp app in a thread; its address."""
    loop, ready, where = asyncio.new_event_loop(), threading.Event(), {}

    async def start():
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        where.update(runner=runner, port=site._server.sockets[0].getsockname()[1])
        ready.set()

    thread = threading.Thread(target=lambda: (loop.run_until_complete(start()), loop.run_forever()), daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield f"http://127.0.0.1:{where['port']}/v1"
    finally:
        asyncio.run_coroutine_threadsafe(where["runner"].cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def prompts(count, words="is the question"):
    return [Prompt(id=str(number), text=f"{number} {words}") for number in range(count)]


def teacher(url, quick=True, **settings):
    endpoint = Endpoint("m", url, **{"sampling": Sampling(temperature=0.7, seed=3, max_tokens=50), "retries": 10, "concurrency": 8, "timeout_s": 0.5, **settings})
    if quick:
        endpoint._waits.uniform = lambda a, b: 0.002
    return endpoint


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_survived_and_the_answers_are_those_of_a_server_without_faults(tmp_path, fault):
    wanted = prompts(30)
    with served(FaultyServer(share=0).app()) as url:
        plain = teacher(url).answer(wanted, k=2)
    server = FaultyServer(share=0.4, seed=2, stall_s=1.0, wait_s=0.01, faults=(fault,))
    with served(server.app()) as url:
        ledger = Ledger(tmp_path / "l")
        found = teacher(url, ledger=ledger, run="r").answer(wanted, k=2)
    assert server.happened[fault] >= 5
    assert [[c.text for c in a.candidates] for a in found] == [[c.text for c in a.candidates] for a in plain]
    assert ledger.spent("r")["states"] == {"answered": 30} and max(server.billed.values()) == 1
    doubtful = fault in ("reset_before", "reset_after", "stall", "truncated", "invalid", "html", "empty", "fewer")  # fewer than one is none
    assert (ledger.spent("r")["in_doubt"]["requests"] > 0) == doubtful


@pytest.mark.slow
def test_kills_and_a_full_disk_lose_nothing_and_what_was_kept_is_never_asked_again():
    command = [sys.executable, str(ROOT / "benchmarks" / "ask_faults.py"), "--records", "300", "--disk", "pages", "--json", "--remembers"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    faulty = found["faulty"]
    assert found["same_hash"] and faulty["accounts"]["states"] == {"answered": 300} and len(faulty["killed_at"]) == 3 and "full" in faulty["full_disk_said"]
    assert faulty["asked_after_kept"] == 0 and faulty["made_twice"] == 0 and faulty["billed_never_kept"] == 0 and sum(faulty["faults"].values()) > 30


def test_a_web_page_in_place_of_an_api_is_said_at_once():
    page = "<!DOCTYPE html><html><body>Welcome</body></html>"
    for status in (200, 404):
        with serve(lambda number, body, status=status: (status, page)) as (url, seen), pytest.raises(LimbeckError, match="web page, not an API"):
            teacher(url).answer(prompts(20))
        assert len(seen) == 1


def test_a_web_page_after_real_replies_is_one_more_fault():
    with serve(lambda number, body: (200, "<html>busy</html>") if number == 2 else completion("x")) as (url, seen):
        assert {a.status for a in teacher(url).answer(prompts(6))} == {"scored"}
    assert len(seen) == 7


def test_a_wrong_key_is_found_by_the_list_of_models_before_anything_is_asked():
    app, asked = web.Application(), []

    async def models(request):
        return web.json_response({"error": {"message": "no such key"}}, status=401)

    async def complete(request):
        asked.append(1)
        return web.json_response(completion("x"))

    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/chat/completions", complete)
    with served(app) as url:
        for act in (lambda: teacher(url).answer(prompts(5)), lambda: teacher(url).probe()):
            with pytest.raises(LimbeckError, match="401: no such key"):
                act()
    assert asked == []


def test_a_model_that_is_not_there_costs_one_request_and_the_error_names_those_that_are():
    app, asked = web.Application(), []

    async def models(request):
        return web.json_response({"data": [{"id": "mm"}, {"id": "other"}]})

    async def complete(request):
        asked.append(1)
        return web.json_response({"error": {"message": "no model m"}}, status=404)

    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/chat/completions", complete)
    with served(app) as url:
        assert teacher(url).probe() == {"listed": False}
        with pytest.raises(LimbeckError, match="no model m") as problem:
            teacher(url, concurrency=64).answer(prompts(64))
    assert len(asked) == 1 and "mm, other" in problem.value.fix


def test_a_server_without_a_list_of_models_is_asked_all_the_same():
    with serve(right) as (url, _):
        assert teacher(url).probe() == {"listed": None}
        assert teacher(url).answer([Prompt(id="1", text="1 + 1")])[0].candidates[0].text == "2"


def test_a_wait_that_the_server_asks_for_holds_for_everybody():
    times = []

    async def complete(request):
        times.append(time.monotonic())
        return web.json_response({}, status=429, headers={"Retry-After": "0.4"}) if len(times) == 4 else web.json_response(completion("x"))

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    with served(app) as url:
        teacher(url, concurrency=1).answer(prompts(10))
    gaps = [b - a for a, b in pairwise(times)]
    assert len(times) == 11 and gaps[3] >= 0.38 and sum(g > 0.3 for g in gaps) == 1


def test_a_record_has_a_deadline_for_all_its_tries():
    with serve(lambda number, body: (503, "busy") if body["messages"][-1]["content"].startswith("0 ") else completion("x")) as (url, _):
        endpoint = teacher(url, quick=False, retries=50, deadline_s=0.8)
        began = time.monotonic()
        answers = endpoint.answer(prompts(3))
    assert time.monotonic() - began < 3 and [a.status for a in answers] == ["failed", "scored", "scored"] and answers[0].reason.startswith("deadline of 0.8 s passed")


def test_a_slow_body_ends_at_the_deadline_and_not_at_its_own():
    async def write(response, body):
        for _ in range(1000):
            await response.write(b" ")
            await asyncio.sleep(0.02)

    with serve(lambda number, body: write if body["messages"][-1]["content"].startswith("0 ") else completion("x")) as (url, _):
        answers = teacher(url, timeout_s=5, deadline_s=0.5, retries=3).answer(prompts(2))
    assert [a.status for a in answers] == ["failed", "scored"]


@pytest.mark.parametrize(
    ("status", "words", "reason"),
    [
        (400, "This model's maximum context length is 4096 tokens", "too long"), (400, "prompt is too long: 9 tokens > 8 maximum", "too long"), (413, "big", "too long"),
        (400, '{"error": {"code": "context_length_exceeded", "message": "x"}}', "too long"), (400, "blocked by our content management policy", "content filter"),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_helped_is_refused_and_asked_once(status, words, reason):
    with serve(lambda number, body: (status, words) if number == 0 else completion("x")) as (url, seen):
        answers = teacher(url, concurrency=1).answer(prompts(3))
    assert [a.status for a in answers] == ["refused", "scored", "scored"] and answers[0].reason == reason and answers[0].meta["said"] and len(seen) == 3


def test_a_budget_stops_before_it_is_passed_and_a_larger_one_goes_on(tmp_path):
    with serve(lambda number, body: {**completion("x"), "usage": {"prompt_tokens": 30, "completion_tokens": 20}}) as (url, seen):
        settings = {"ledger": Ledger(tmp_path / "l"), "run": "r", "price_usd": (1.0, 1.0), "concurrency": 4}
        with pytest.raises(LimbeckError, match="the budget is spent") as problem:
            teacher(url, allowance=Allowance(usd=1000e-6), **settings).answer(prompts(60))
        first = len(seen)
        assert 10 <= first < 20 and 50e-6 * first <= 1000e-6 and f"{60 - first} requests are left" in problem.value.what and "when_spent" in problem.value.fix
        with pytest.raises(LimbeckError, match="the budget is spent"):  # what was spent counts in the next process too
            teacher(url, allowance=Allowance(usd=1000e-6), **settings).answer(prompts(60))
        assert len(seen) == first
        teacher(url, allowance=Allowance(tokens=60 * 50 + 500), **settings).answer(prompts(60))
    assert len(seen) == 60 and settings["ledger"].spent("r")["paid"]["cost_usd"] == pytest.approx(60 * 50e-6)


def test_a_spent_budget_may_end_the_rest_as_failed(tmp_path):
    ledger = Ledger(tmp_path / "l")
    with serve(lambda number, body: {**completion("x"), "usage": {"prompt_tokens": 30, "completion_tokens": 20}}) as (url, seen):
        answers = teacher(url, ledger=ledger, run="r", allowance=Allowance(tokens=800, when_spent="keep")).answer(prompts(60))
    scored = sum(a.status == "scored" for a in answers)
    assert 5 < scored == len(seen) <= 16 and {a.reason for a in answers if a.status == "failed"} == {"budget"} and ledger.spent("r")["states"] == {"answered": scored, "failed": 60 - scored}


def test_a_lost_reply_may_have_been_paid_for_and_counts_at_its_most(tmp_path):
    def reply(number, body):
        return (200, "{broken") if number < 3 else {**completion("x"), "usage": {"prompt_tokens": 1, "completion_tokens": 1}}

    with serve(reply) as (url, _):
        endpoint = teacher(url, ledger=Ledger(tmp_path / "l"), run="r", allowance=Allowance(tokens=10_000), concurrency=1)
        endpoint.answer(prompts(2))
    doubt = endpoint.accounts()["in_doubt"]
    assert doubt["requests"] == 3 and doubt["tokens_at_most"] > 150 and endpoint.budget.spent_tokens == doubt["tokens_at_most"] + 4


@pytest.mark.parametrize(("allowance", "price", "said"), [(Allowance(usd=1), None, "nobody knows the price"), (Allowance(usd=0), (1, 1), "buys nothing"), (Allowance(tokens=-5), None, "buys nothing"), (Allowance(usd=float("nan")), (1, 1), "buys nothing")])
def test_a_budget_that_cannot_be_kept_is_refused_before_anything_is_asked(allowance, price, said):
    with pytest.raises(LimbeckError, match=said):
        Endpoint("m", "http://127.0.0.1:9/v1", allowance=allowance, price_usd=price)


def test_a_budget_needs_requests_with_an_end():
    with serve(right) as (url, seen), pytest.raises(LimbeckError, match="no max_tokens"):
        teacher(url, allowance=Allowance(tokens=1000)).answer([Prompt(id="1", text="1 + 1", context={"sampling": {"temperature": 0}})])
    assert seen == []


def test_a_tokeniser_makes_the_bound_closer_and_a_bill_above_it_widens_the_next():
    budget = Budget(Allowance(tokens=1000, count_tokens=lambda text: len(text.split())), None, "here")
    body = {"messages": [{"role": "user", "content": "one two three"}], "max_tokens": 10}
    bound = budget.bound(body, 500, 2)
    assert (bound.tokens_in, bound.tokens_out) == (3 + 16, 20) and Budget(Allowance(), None, "").bound(body, 500, 2).tokens_in == 500
    asyncio.run(budget.reserve(bound))
    budget.settle(bound, 60, 20)
    assert budget.bound(body, 500, 2).tokens >= 80


def test_progress_says_how_far_how_fast_and_how_dear(tmp_path):
    told = []
    with serve(lambda number, body: {**completion("x"), "usage": {"prompt_tokens": 30, "completion_tokens": 20}}) as (url, _):
        endpoint = teacher(url, price_usd=(1.0, 1.0), progress=told.append, ledger=Ledger(tmp_path / "l"), run="r")
        endpoint.answer(prompts(40))
    assert told[0]["projected_usd"] == pytest.approx(40 * 50e-6) and told[0]["seconds_left"] > 0 and told[0]["done"] < 40
    last = told[-1]
    assert (last["done"], last["of"], last["answered"], last["failed"], last["tokens_in"], last["tokens_out"]) == (40, 40, 40, 0, 1200, 800)
    assert last["cost_usd"] == last["projected_usd"] == pytest.approx(40 * 50e-6) and last["seconds_left"] == 0 and set(last) >= {"in_flight", "concurrency", "refused", "no_answer", "replayed"}


def test_what_is_under_way_when_everything_stops_is_kept(tmp_path):
    ledger = Ledger(tmp_path / "l")

    async def slow(response, body):
        await asyncio.sleep(0.3)
        await response.write(json.dumps(completion("x")).encode())

    def reply(number, body):
        return completion("x") if number < 2 else (401, "key withdrawn") if number == 6 else slow

    with serve(reply) as (url, seen), pytest.raises(LimbeckError, match="key withdrawn"):
        teacher(url, ledger=ledger, run="r", concurrency=6, timeout_s=5).answer(prompts(30))
    assert ledger.spent("r")["paid"]["draws"] == len(seen) - 1 and ledger.spent("r")["in_doubt"]["requests"] == 0


def drive(gate, seconds, rate_of, windows):
    """Windows of successes whose latency and rate are given by the number in flight; the clock is ours."""
    for _ in range(windows):
        limit = gate.limit
        gate._weigh(seconds(limit), rate_of(limit))


def test_the_gate_doubles_until_trouble_halves_on_it_and_then_grows_by_one_a_window():
    gate = Gate(64, is_known=False)
    assert gate.limit == 1
    gate.inside = 1
    gate.leave("fine", 0.1)
    assert gate.limit == 16
    for _ in range(16):
        gate.inside += 1
        gate.leave("fine", 0.1)
    assert gate.limit == 32
    gate.inside = 8
    gate.leave("trouble")
    assert gate.limit == 16
    gate.leave("trouble")  # the same window: those were on their way already
    assert gate.limit == 16
    before = gate.limit
    for _ in range(16):
        gate.inside += 1
        gate.leave("fine", 0.1)
    assert 0.9 < gate.limit - before < 1.1


def test_the_gate_steps_back_when_answers_get_slower_and_no_more_come():
    gate = Gate(128)
    gate.limit = 16.0
    drive(gate, lambda limit: 0.1, lambda limit: 160, 1)
    gate.limit = 64.0
    drive(gate, lambda limit: limit / 160, lambda limit: 160, 8)  # a server that is full at 16: latency grows with what is in flight
    assert 16 <= gate.limit <= 34


def test_the_gate_stays_where_more_in_flight_means_more_answers_or_answers_are_long_by_themselves():
    gate = Gate(128)
    gate.limit = 16.0
    drive(gate, lambda limit: 0.1, lambda limit: 160, 1)
    gate.limit = 64.0
    drive(gate, lambda limit: 0.25, lambda limit: 256, 1)
    assert gate.limit == 64
    drive(gate, lambda limit: 2.0, lambda limit: limit / 2.0, 2)  # long answers now: fewer in flight would not make them shorter
    assert gate.limit == 64
    drive(gate, lambda limit: 2.0, lambda limit: limit / 2.0, 5)
    assert gate.limit == 64
