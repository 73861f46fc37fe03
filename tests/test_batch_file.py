"""Asking by batch files: what a killed run, an expired batch or a lost reply leaves behind, and that nothing is paid twice."""

import asyncio
import json
from collections import Counter

import pytest

web = pytest.importorskip("aiohttp.web")

from test_faults import prompts, served  # noqa: E402

from limbeck.errors import LimbeckError  # noqa: E402
from limbeck.records import Prompt  # noqa: E402
from limbeck.teachers.budget import Allowance  # noqa: E402
from limbeck.teachers.endpoint import Endpoint, Sampling  # noqa: E402
from limbeck.teachers.ledger import Ledger  # noqa: E402


class Batches:
    """/files and /batches in memory. `line(number, batch, body)` is (status, body) of a line, or None where the batch ends without it; `polls` are looks before the end."""

    def __init__(self, line=None, polls=2, status="completed", create=None, lists=True):
        self.line, self.polls, self.status, self.create, self.lists = line or self.answer, polls, status, create, lists
        self.files, self.batches, self.paid, self.calls = {}, {}, Counter(), Counter()

    def answer(self, number, batch, body):
        text, n, seed = body["messages"][-1]["content"], body.get("n", 1), body.get("seed", 0)
        choices = [{"index": at, "message": {"content": f"{text} {seed + at}"}, "finish_reason": "stop"} for at in range(n)]
        return 200, {"model": "m", "choices": choices, "usage": {"prompt_tokens": 10, "completion_tokens": 2 * n}}

    def app(self):
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/files", self.upload)
        app.router.add_get("/v1/files/{id}/content", self.content)
        app.router.add_post("/v1/batches", self.make)
        app.router.add_get("/v1/batches", self.list)
        app.router.add_get("/v1/batches/{id}", self.look)
        return app

    async def upload(self, request):
        self.calls["upload"] += 1
        fields = await request.post()
        assert fields["purpose"] == "batch"
        self.files[f"file-{len(self.files)}"] = fields["file"].file.read()
        return web.json_response({"id": f"file-{len(self.files) - 1}"})

    async def content(self, request):
        return web.Response(body=self.files[request.match_info["id"]])

    async def make(self, request):
        self.calls["make"] += 1
        order = await request.json()
        name = f"batch-{len(self.batches)}"
        self.batches[name] = {"id": name, "status": "validating", "metadata": order["metadata"], "polls": 0, "lines": [json.loads(line) for line in self.files[order["input_file_id"]].splitlines()]}
        for line in self.batches[name]["lines"]:
            assert line["url"] == order["endpoint"] == "/v1/chat/completions" and line["method"] == "POST"
        return (self.create(self.calls["make"]) if self.create else None) or web.json_response({"id": name, "status": "validating"})

    async def list(self, request):
        assert self.lists
        return web.json_response({"data": [{"id": b["id"], "metadata": b["metadata"]} for b in self.batches.values()], "has_more": False})

    async def look(self, request):
        self.calls["look"] += 1
        batch = self.batches[request.match_info["id"]]
        batch["polls"] += 1
        if batch["polls"] > self.polls and "output_file_id" not in batch:
            self.finish(batch)
        return web.json_response({name: v for name, v in batch.items() if name != "lines"})

    def finish(self, batch):
        good, bad = [], []
        for at, line in enumerate(batch["lines"]):
            found = self.line(at, int(batch["id"].split("-")[1]), line["body"])
            if found is None:
                bad.append({"custom_id": line["custom_id"], "response": None, "error": {"code": "batch_expired", "message": "not done in time"}})
            else:
                (good if found[0] == 200 else bad).append({"custom_id": line["custom_id"], "response": {"status_code": found[0], "body": found[1]}, "error": None})
                self.paid[line["custom_id"]] += found[0] == 200
        for name, lines in (("output", good), ("error", bad)):
            self.files[f"{batch['id']}-{name}"] = "".join(json.dumps(line) + "\n" for line in reversed(lines)).encode()
        batch.update(status=self.status, output_file_id=f"{batch['id']}-output", error_file_id=f"{batch['id']}-error", request_counts={"completed": len(good), "total": len(batch["lines"])})


def teacher(url, path, **settings):
    endpoint = Endpoint("m", url, ledger=Ledger(path), run="r", by_batch=True, **{"sampling": Sampling(temperature=0.7, seed=4, max_tokens=20), **settings})
    endpoint.first_poll_s = 0.005
    return endpoint


def texts(answers):
    return [[c.text for c in a.candidates] for a in answers]


def test_lines_go_up_come_back_in_any_order_and_are_in_the_ledger(tmp_path):
    server, told = Batches(), []
    with served(server.app()) as url:
        endpoint = teacher(url, tmp_path / "l", price_usd=(1.0, 1.0), progress=told.append)
        answers = endpoint.answer(prompts(7), k=2)
        again = teacher(url, tmp_path / "l", price_usd=(1.0, 1.0)).answer(prompts(7), k=2)
        teacher(url, tmp_path / "l").answer(prompts(7), k=3)
    assert texts(answers) == [[f"{n} is the question {4 + at}" for at in range(2)] for n in range(7)] == texts(again)
    assert server.calls["make"] == 2 and [len(b["lines"]) for b in server.batches.values()] == [7, 7] and server.batches["batch-1"]["lines"][0]["body"]["seed"] == 6
    assert answers[0].cost_usd == pytest.approx(14e-6) and again[0].cost_usd == 0.0 and again[0].meta["replayed"]
    assert endpoint.accounts()["states"] == {"answered": 7} and any(t.get("state") == "validating" and t["batch"] == "batch-0" for t in told)


@pytest.mark.parametrize("moment", ["poll", "made", "before"])
def test_a_killed_run_takes_up_the_same_batch(tmp_path, moment):
    """`poll`: killed while waiting. `made`: after the server had made the batch and before its id was known here. `before`: before it was made."""

    class Killed(BaseException):
        pass

    def kill(*_, **__):
        raise Killed

    server = Batches()
    with served(server.app()) as url:
        first = teacher(url, tmp_path / "l")
        if moment == "poll":
            first.progress = kill
        else:
            noted = first._ledger.note_batch
            first._ledger.note_batch = lambda *a, **facts: noted(*a, **facts) if facts["state"] == "making" and moment == "made" else kill() if facts["state"] != "making" else (noted(*a, **facts), kill())
        with pytest.raises(Killed):
            first.answer(prompts(5), k=2)
        answers = teacher(url, tmp_path / "l").answer(prompts(5), k=2)
    assert len(server.batches) == 1 and set(server.paid.values()) == {1} and all(len(t) == 2 for t in texts(answers))


def test_a_batch_of_other_questions_of_the_same_run_is_put_into_the_ledger_too(tmp_path):
    server = Batches()
    others = [Prompt(id="other", text="another question")]

    class Killed(BaseException):
        pass

    def kill(facts):
        raise Killed

    with served(server.app()) as url:
        with pytest.raises(Killed):
            teacher(url, tmp_path / "l", progress=kill).answer(others)
        teacher(url, tmp_path / "l").answer(prompts(3))
        made = len(server.batches)
        assert texts(teacher(url, tmp_path / "l").answer(others)) == [["another question 4"]] and len(server.batches) == made == 2


def test_an_expired_batch_keeps_its_finished_lines_and_the_rest_is_asked_again(tmp_path):
    server = Batches(status="expired")
    server.line = lambda number, batch, body: None if batch == 0 and number % 2 else server.answer(number, batch, body)
    with served(server.app()) as url:
        answers = teacher(url, tmp_path / "l").answer(prompts(6))
    assert {a.status for a in answers} == {"scored"} and [len(b["lines"]) for b in server.batches.values()] == [6, 3] and set(server.paid.values()) == {1}


def test_what_no_batch_answers_ends_with_its_reason(tmp_path):
    def line(number, batch, body):
        text = body["messages"][-1]["content"]
        return {"0": None, "1": (400, {"error": {"message": "maximum context length is 8"}}), "2": (400, {"error": {"message": "no such field"}}), "3": (500, {"error": {"message": "oops"}})}.get(text[0]) if text[0] in "0123" else server.answer(number, batch, body)

    server = Batches(line=line)
    with served(server.app()) as url:
        endpoint = teacher(url, tmp_path / "l")
        answers = endpoint.answer(prompts(5))
    assert [(a.status, a.reason) for a in answers] == [("failed", "not done in time"), ("refused", "too long"), ("failed", "HTTP 400: no such field"), ("failed", "HTTP 500: oops"), ("scored", "")]
    assert endpoint.accounts()["states"] == {"answered": 1, "failed": 3, "refused": 1} and [len(b["lines"]) for b in server.batches.values()] == [5, 2, 2]


def test_a_batch_that_fails_as_a_whole_gives_its_own_reason(tmp_path):
    server = Batches()
    server.finish = lambda batch: batch.update(status="failed", errors={"data": [{"message": "the file has no lines"}]}, output_file_id=None)
    with served(server.app()) as url:
        answers = teacher(url, tmp_path / "l").answer(prompts(2))
    assert {a.reason for a in answers} == {"the batch failed: the file has no lines"}


def test_a_server_that_knows_no_n_is_asked_for_the_rest_one_by_one_in_the_next_batch(tmp_path):
    server = Batches()
    server.line = lambda number, batch, body: server.answer(number, batch, {**body, "n": 1})
    with served(server.app()) as url:
        answers = teacher(url, tmp_path / "l").answer(prompts(2), k=3)
    assert texts(answers)[1] == [f"1 is the question {4 + at}" for at in range(3)] and [len(b["lines"]) for b in server.batches.values()] == [2, 4]


def test_a_lost_reply_to_the_order_does_not_make_a_second_batch(tmp_path):
    server = Batches(create=lambda number: web.Response(status=502, text="bad gateway") if number == 1 else None)
    with served(server.app()) as url:
        answers = teacher(url, tmp_path / "l").answer(prompts(3))
    assert len(server.batches) == 1 == server.calls["make"] and {a.status for a in answers} == {"scored"}


def test_a_budget_bounds_what_goes_into_a_batch(tmp_path):
    server = Batches()
    with served(server.app()) as url:
        with pytest.raises(LimbeckError, match="the budget is spent"):
            teacher(url, tmp_path / "l", allowance=Allowance(tokens=1500)).answer(prompts(40))
        stopped = len(server.paid)
        answers = teacher(url, tmp_path / "l", allowance=Allowance(tokens=1500, when_spent="keep")).answer(prompts(40))
    scored = sum(a.status == "scored" for a in answers)
    assert 3 < stopped <= scored == len(server.paid) < 40 and {a.reason for a in answers if a.status == "failed"} == {"budget"}
    assert sum(server.paid.values()) * 12 <= 1500


def test_a_server_without_batch_files_or_a_run_without_a_ledger_is_told_of(tmp_path):
    app = web.Application()
    with served(app) as url, pytest.raises(LimbeckError, match="HTTP 404") as problem:
        teacher(url, tmp_path / "l").answer(prompts(1))
    assert "batch_file = false" in problem.value.fix
    with pytest.raises(LimbeckError, match="need a ledger and a run"):
        Endpoint("m", "http://127.0.0.1:9/v1", by_batch=True)


def test_a_web_page_in_place_of_the_api_is_no_reply(tmp_path):
    async def page(request):
        await asyncio.sleep(0)
        return web.Response(text="<html>hello</html>", content_type="text/html")

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", page)
    with served(app) as url, pytest.raises(LimbeckError, match="no reply of a server that takes batch files"):
        teacher(url, tmp_path / "l").answer(prompts(1))
