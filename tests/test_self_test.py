"""A teacher is tried before anything is spent: an honest one passes, each lie is caught by the check that is named for it."""

import asyncio
import json
import math
import threading

import pytest
from aiohttp import web

from limbeck.errors import LimbeckError
from limbeck.models.decoder import load_tokenizer
from limbeck.teachers.endpoint import Endpoint, Sampling
from limbeck.teachers.local import LocalModel
from limbeck.teachers.self_test import self_test
from limbeck.testing import make_tiny_model

TEXTS = ["Name three colours", "Explain why bread rises", "Answer in capitals only, please."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("tiny"), TEXTS)


def outcomes(report):
    return {f.name: f.outcome for f in report.findings}


def test_weights_here_pass_what_can_be_passed(folder):
    report = self_test(LocalModel(folder), load_tokenizer(folder), soft=True)
    found = outcomes(report)
    assert not report.of("fail") and {found[n] for n in ("chat template", "template prefix", "template tokens", "vocabulary", "padding rows", "likelihoods", "likelihoods re-scored", "padding", "greedy choice", "determinism", "stop tokens")} == {"pass"}
    assert report.calls == 3 and report.cost_usd == 0.0 and json.dumps(report.as_json())


def test_another_vocabulary_fails_where_distributions_are_wanted_and_warns_elsewhere(folder, tmp_path):
    other = load_tokenizer(make_tiny_model(tmp_path, ["zebra quick brown fox"] * 3))
    assert outcomes(self_test(LocalModel(folder), other, soft=True))["vocabulary"] == "fail"
    assert outcomes(self_test(LocalModel(folder), other))["vocabulary"] == "warn"


@pytest.mark.parametrize(("template", "check", "outcome"), [
    ("{% for m in messages %}{{ messages | length }}{{ m['content'] }}{% endfor %}", "template prefix", "fail"),
    ("{% for m in messages %}{% if m['role'] != 'system' %}{{ m['content'] }}{% endif %}{% endfor %}", "system message", "warn"),
    ("You are a very kind helper of people.\n{% for m in messages %}{{ m['content'] }}{% endfor %}", "default system text", "warn"),
    ("<start>{% for m in messages %}<start>{{ m['content'] }}{% endfor %}", "one beginning", "warn"),
    ("hello", "chat template", "fail"),
])  # fmt: skip
def test_a_template_that_spoils_something_is_named(folder, template, check, outcome):
    model = LocalModel(folder)
    model._tokenizer.chat_template = template
    assert outcomes(self_test(model))[check] == outcome


def test_likelihoods_that_change_when_scored_again_fail(folder):
    model = LocalModel(folder)
    forward = model._model.forward
    model._model.forward = lambda *a, **k: _louder(forward(*a, **k), k)
    report = self_test(model)
    assert outcomes(report)["likelihoods re-scored"] == "fail"
    with pytest.raises(LimbeckError, match="likelihoods re-scored"):
        report.raise_failures()


def _louder(out, given):
    if given.get("past_key_values") is None and not given.get("use_cache"):
        out.logits = out.logits * 9
    return out


def reply(body, **lies):
    logps = lies.get("logps", [-0.1, -0.2, -0.3, -0.25])
    tops = lies.get("tops") or [[logp, -2.2] for logp in logps]
    content = [{"token": f"t{at}", "logprob": logp, "top_logprobs": [{"token": f"t{at}x{n}", "logprob": v} for n, v in enumerate(top)]} for at, (logp, top) in enumerate(zip(logps, tops, strict=True))]
    count = 1 if lies.get("one") else body.get("n", 1)
    words = lies.get("text", "red green blue" if body.get("max_tokens", 99) > 4 or lies.get("long") else "red")
    text = words if not lies.get("long") else " ".join(["red"] * 40)
    wrote = len(text.split())
    choice = {"index": 0, "finish_reason": lies.get("finish", "stop"), "message": {"role": "assistant", "content": text}} | ({"logprobs": {"content": content}} if body.get("logprobs") else {})
    return {"id": "x", "model": lies.get("model", "m"), "choices": [choice] * count, "usage": {"prompt_tokens": 20, "completion_tokens": wrote}}


class Server:
    """Answers as `reply` with these lies; `changing` adds a count to each answer."""

    def __init__(self, **lies):
        self.lies, self.count, self.ready = lies, 0, threading.Event()
        threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True).start()
        self.ready.wait(10)

    async def complete(self, request):
        self.count += 1
        said = {**self.lies, **({"text": f"red {self.count}", "logps": [-0.1 * self.count] * 3 + [-2.0]} if self.lies.get("changing") else {})}
        return web.json_response(reply(await request.json(), **said))

    async def serve(self):
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.complete)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1"
        self.ready.set()
        await asyncio.Event().wait()


def try_server(**lies):
    return self_test(Endpoint("m", Server(**lies).url, sampling=Sampling()))


def test_an_honest_server_passes():
    report = try_server()
    assert not report.of("fail") and not [f for f in report.of("warn") if f.name != "usage"], [f for f in report.findings if f.outcome != "pass"]
    assert report.calls <= 15


@pytest.mark.parametrize(("lies", "check", "outcome"), [
    ({"model": "other"}, "model name", "fail"), ({"one": True}, "n", "warn"), ({"long": True}, "max_tokens", "fail"), ({"text": "red<|im_end|>"}, "template marks", "fail"),
    ({"finish": "length"}, "stops", "warn"), ({"logps": [0.5, -0.1, -0.1, -2.0]}, "likelihoods", "fail"), ({"logps": [-9999.0, -0.1, -0.2, -0.3]}, "likelihoods", "fail"), ({"logps": [-1.0] * 4}, "likelihoods", "fail"),
    ({"tops": [[-3.0, -0.1]] * 4}, "likelihood lists", "fail"), ({"tops": [[math.log(0.9), math.log(0.8)]] * 4}, "likelihood lists", "fail"), ({"changing": True}, "determinism", "warn"), ({"changing": True}, "likelihoods repeat", "warn"),
    ({"text": "<think>hm</think> red"}, "reasoning", "warn"),
])  # fmt: skip
def test_each_lie_is_caught_by_name(lies, check, outcome):
    assert outcomes(try_server(**lies))[check] == outcome
