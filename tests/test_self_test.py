"""A teacher is tried before anything is spent: an honest one passes, each lie is caught by the check that is named for it."""

import asyncio
import json
import math
import random
import re
import threading

import pytest
import torch
from aiohttp import web

from limbeck.errors import LimbeckError
from limbeck.models.decoder import load_tokenizer
from limbeck.records import Prompt, content_id
from limbeck.teachers.budget import Allowance
from limbeck.teachers.endpoint import Endpoint, Output, Sampling
from limbeck.teachers.ledger import Ledger
from limbeck.teachers.local import LocalModel
from limbeck.teachers.remembered import Remembered
from limbeck.teachers.schemas import breaks_schema
from limbeck.teachers.self_test import self_test
from limbeck.teachers.template_checks import _prefix
from limbeck.teachers.weights_checks import Trial, _rows
from limbeck.testing import EchoTeacher, make_tiny_model

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
    ("You are a kind helper of people.<end>{% for m in messages %}{{ m['content'] }}<end>{% endfor %}", "default system text", "warn"),
    ("<start>{% for m in messages %}<start>{{ m['content'] }}{% endfor %}", "one beginning", "fail"),
    ("{% for m in messages %}{{ m['content'] }}{% endfor %}", "stop tokens", "warn"),
    ("{% for m in messages %}{{ m['content'] }}<start>{% endfor %}", "stop tokens", "fail"),
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


def test_a_system_message_that_the_recipe_wants_and_the_template_drops_fails(folder):
    model = LocalModel(folder, sampling=Sampling(system="Be brief."))
    model._tokenizer.chat_template = "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['content'] }}<end>{% endif %}{% endfor %}"
    assert outcomes(self_test(model))["system message"] == "fail"


def test_a_request_whose_last_token_grows_into_the_answer_is_named(folder):
    tokenizer = load_tokenizer(folder)
    pair = next(t for t in sorted(tokenizer.get_vocab()) if len(t) == 2 and t.isascii() and t.isalpha())  # two letters that are one token together
    assert _prefix(tokenizer, pair[0], pair).outcome == "warn" and _prefix(tokenizer, pair, pair + " " + pair).outcome == "pass"


def test_rows_without_a_token_are_counted_and_their_mass_is_measured(folder, tmp_path):
    from transformers import AutoModelForCausalLM

    wide = AutoModelForCausalLM.from_pretrained(folder)
    rows = wide.config.vocab_size
    wide.resize_token_embeddings(rows + 20, mean_resizing=False)
    with torch.no_grad():
        wide.get_output_embeddings().weight[rows:] = 0.0
    wide.save_pretrained(tmp_path)
    load_tokenizer(folder).save_pretrained(tmp_path)
    found = next(f for f in self_test(LocalModel(str(tmp_path)), load_tokenizer(folder), soft=True).findings if f.name == "padding rows")
    assert found.measured["rows"] - found.measured["tokens"] == 20 and found.outcome == "warn"  # a random model puts as much there as anywhere: 20 of some 300
    assert 0.01 < found.measured["mass"] < 0.2
    model = LocalModel(folder)
    head = model._model.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight[:-5].detach())
    assert _rows(_bare(model), 0.0).outcome == "fail"


def _bare(model):
    trial = Trial.__new__(Trial)
    trial.model, trial.tokenizer, trial.network = model, model._tokenizer, model._model
    return trial


def test_a_model_that_does_not_heed_its_mask_fails_at_padding(folder):
    model = LocalModel(folder)
    forward = model._model.forward
    model._model.forward = lambda *a, **k: forward(*a, **{**k, "attention_mask": None, "position_ids": None})
    for layer in model._model.parameters():  # attention that looks at more than the last token, so that what is before it counts
        layer.data *= 4
    assert outcomes(self_test(model))["padding"] in ("warn", "fail")


def test_what_is_drawn_at_random_by_a_greedy_teacher_is_named(folder):
    model = LocalModel(folder)
    forward = model._model.forward

    def restless(*a, **k):
        out = forward(*a, **k)
        out.logits = out.logits + 5 * torch.randn_like(out.logits)
        return out

    model._model.forward = restless
    found = outcomes(self_test(model))
    assert found["determinism"] == "warn" and found["likelihoods re-scored"] == "fail"


def test_numbers_that_are_no_numbers_fail(folder):
    model = LocalModel(folder)
    forward = model._model.forward

    def broken(*a, **k):
        out = forward(*a, **k)
        if not k.get("use_cache"):
            out.logits = out.logits * float("nan")
        return out

    model._model.forward = broken
    assert outcomes(self_test(model))["likelihoods"] == "fail"


def test_a_remembered_teacher_is_tried_by_its_weights_and_an_expert_needs_no_trying(folder, tmp_path):
    report = self_test(Remembered(LocalModel(folder), "id", Ledger(tmp_path / "l.sqlite"), "run"))
    assert report.calls == 3 and report.findings
    assert self_test(EchoTeacher({})).findings == ()


def test_the_table_fits_and_the_exit_code_says_whether_a_check_failed(folder, capsys, monkeypatch):
    from limbeck import resolve, self_testing

    monkeypatch.setattr(resolve, "get_teacher", lambda section, run: LocalModel(folder, name=section.model))
    assert self_testing.try_teacher("hf:tiny", "", "", False) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 100 and "likelihoods re-scored" in shown
    broken = LocalModel(folder)
    broken._tokenizer.chat_template = "hello"
    monkeypatch.setattr(resolve, "get_teacher", lambda section, run: broken)
    assert self_testing.try_teacher("hf:tiny", "", "", True) == 1
    assert json.loads(capsys.readouterr().out)["counts"]["fail"] > 0
    with pytest.raises(LimbeckError, match="is no language model"):
        self_testing.try_teacher("builtin:cf", "", "", False)


def _louder(out, given):
    if given.get("past_key_values") is None and not given.get("use_cache"):
        out.logits = out.logits * 9
    return out


class Toy:
    """A server of a toy model: a token's likelihood depends on the token alone, so that everything it says can be true. `lies` name what is not."""

    def __init__(self, **lies):
        self.lies, self.count, self.ready = lies, 0, threading.Event()
        threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True).start()
        self.ready.wait(10)

    def logp(self, token):
        return -0.05 - int(content_id(token, 6), 16) % 600 / 1000

    def words(self, request, system, body, draw):
        """What is answered, as tokens; the end is not one."""
        if system and "MARZIPAN" in system and "deaf" not in self.lies:
            return ["MARZIPAN"]
        if "response_format" in body and "formless" not in self.lies:
            return ['{"colour":', ' "red"', "}"]
        if "one word" in request or "number alone" in request:
            return ["Yes"] if "one word" in request else ["4"]
        if body.get("temperature") and "cold" not in self.lies:
            chosen = random.Random(f"{body.get('seed') if 'unseeded' not in self.lies and body.get('seed') is not None else self.count}-{draw}")
            return [f" {chosen.choice(('red', 'green', 'blue', 'grey'))}" for _ in range(10)]
        if "Count" in request:
            return [f" {number}," for number in range(1, 201)]
        return [" Red", " is", " seen", " in", " roses", ",", " green", " in", " grass", "."]

    def choice(self, body, request, system, draw, is_raw):
        lies, tokens = self.lies, self.words(request, system, body, draw)
        if "restless" in lies and not body.get("temperature"):
            tokens = [*tokens[:4], f" {self.count}", *tokens[4:]]
        if "endless" in lies and "Count" not in request:
            tokens = tokens * 200
        most = 10_000 if "limitless" in lies else body["max_tokens"]
        cut, tokens = len(tokens) > most, tokens[:most]
        text = lies.get("before", "") + "".join(tokens) + lies.get("after", "")
        finish = lies.get("finish") or ("length" if cut else "stop")
        base = {"index": draw, "finish_reason": finish} | ({"text": text} if is_raw else {"message": {"role": "assistant", "content": text}})
        return base | self.listed(tokens, body, is_raw), tokens

    def listed(self, tokens, body, is_raw):
        size = (body.get("logprobs") if is_raw else body.get("top_logprobs")) or 0
        if not body.get("logprobs") or "mute" in self.lies:
            return {}
        size = min(size, self.lies.get("cut", 20))
        shift = self.count * 0.2 if "drifting" in self.lies else 0.0
        logps = self.lies.get("logps") or [self.logp(t) - shift for t in tokens]
        logps = (list(logps) * len(tokens))[: len(tokens)]
        tops = [self.top(token, logp, size) for token, logp in zip(tokens, logps, strict=True)]
        tokens = [f"{t}?" for t in tokens] if "foreign" in self.lies else tokens
        if is_raw:
            return {"logprobs": {"tokens": tokens, "token_logprobs": logps, "top_logprobs": [dict(top) for top in tops]}}
        return {"logprobs": {"content": [{"token": t, "logprob": v, "top_logprobs": [{"token": a, "logprob": b} for a, b in top]} for t, v, top in zip(tokens, logps, tops, strict=True)]}}

    def top(self, token, logp, size):
        rest = max(1e-6, 1 - math.exp(min(0.0, logp))) / (max(1, size) * (4.0 if "flat" in self.lies else 1.0))
        top = [(token, logp)] + [(f" w{at}", math.log(rest) - 0.01 * at) for at in range(size - 1)]
        if "heavy" in self.lies:
            top = [(t, -0.1 - 0.01 * at) for at, (t, _) in enumerate(top)]
        if "unsorted" in self.lies:
            top = top[:1] + top[:0:-1]
        if "other" in self.lies:
            top = [("else", min(0.0, logp + 0.2)), *top[1:]]
        return top

    async def complete(self, request):
        self.count += 1
        body, lies, is_raw = await request.json(), self.lies, request.path.endswith("/v1/completions")
        messages = body.get("messages") or [{"role": "user", "content": body["prompt"]}]
        system = next((m["content"] for m in messages if m["role"] == "system"), None)
        asked = next(m["content"] for m in messages if m["role"] == "user")
        top = body.get("top_logprobs") or (body.get("logprobs") if is_raw else 0) or 0
        if "small context" in lies:
            return web.json_response({"error": {"message": "maximum context length is 8 tokens"}}, status=400)
        if "no system" in lies and system is not None:
            return web.json_response({"error": {"message": "system role is not supported"}}, status=400)
        if top > lies.get("ceiling", 20) and "cut" not in lies:
            return web.json_response({"error": {"message": f"top_logprobs must be at most {lies.get('ceiling', 20)}"}}, status=400)
        read = len(asked.split()) + 6 + (len(system.split()) if system else 0) + (25 if "own words" in lies and system is None else 0)
        if body.get("echo") or body.get("prompt_logprobs") is not None:
            return web.json_response(self.scored(body, messages, is_raw, read))
        made = [self.choice(body, asked, system, draw, is_raw) for draw in range(1 if "one" in lies else body.get("n", 1))]
        usage = {"usage": {"prompt_tokens": read * lies.get("inflated", 1), "completion_tokens": sum(len(t) for _, t in made)}} if "uncounted" not in lies else {}
        return web.json_response({"id": "x", "model": lies.get("model", "m"), "choices": [c for c, _ in made], **usage})

    def scored(self, body, messages, is_raw, read):
        """The prompt's own likelihoods; of other lies they know nothing."""
        off = 2.0 if "stale" in self.lies else 0.0
        text = body["prompt"] if is_raw else messages[-1]["content"]
        tokens = re.findall(r" ?[^ ,.]+|[,.]", text)
        reply = {"id": "x", "model": self.lies.get("model", "m"), "usage": {"prompt_tokens": read, "completion_tokens": 1}, "choices": [{"index": 0, "text": text, "message": {"content": ""}, "finish_reason": "length"}]}
        if "blind" in self.lies:
            return reply
        if is_raw:
            places = [m.start() for m in re.finditer(r" ?[^ ,.]+|[,.]", text)]
            del reply["choices"][0]["message"]
            reply["choices"][0]["logprobs"] = {"tokens": tokens, "token_logprobs": [None] + [self.logp(t) - off for t in tokens[1:]], "text_offset": places}
        else:
            reply["prompt_logprobs"] = [None] + [{"7": {"decoded_token": t, "logprob": self.logp(t) - off}} for t in ["user", *tokens]]
        return reply

    async def serve(self):
        app = web.Application()
        app.router.add_post("/v1/{tail:.*}", self.complete)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1"
        self.ready.set()
        await asyncio.Event().wait()


SCHEMA = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"], "additionalProperties": False}


def try_server(style="chat", schema=None, student=None, soft=False, k=8, price=None, **lies):
    return self_test(Endpoint("m", Toy(**lies).url, sampling=Sampling(style=style), output=Output(schema=schema), price_usd=price), student, k=k, soft=soft, top=True)


@pytest.mark.parametrize("style", ["chat", "raw"])
def test_an_honest_server_passes_everything(style):
    report = try_server(style, schema=SCHEMA, price=(1.0, 2.0))
    assert not report.of("fail") and not report.of("warn"), [f for f in report.findings if f.outcome in ("fail", "warn")]
    assert {f.name for f in report.of("not possible")} <= {"vocabulary"} | ({"system message", "default system text"} if style == "raw" else set())
    assert report.calls <= 24 and report.tokens_out < 400 and report.cost_usd == pytest.approx((report.tokens_in + 2 * report.tokens_out) / 1e6)
    assert all(f.matters for f in report.findings) and json.loads(json.dumps(report.as_json()))["counts"]["fail"] == 0
    report.raise_failures()


@pytest.mark.parametrize(("lies", "check", "outcome"), [
    ({"model": "other"}, "model name", "fail"), ({"model": "m-mini"}, "model name", "fail"), ({"model": "m-2026-01-01"}, "model name", "pass"), ({"model": None}, "model name", "warn"),
    ({"one": 1}, "n", "warn"), ({"limitless": 1}, "max_tokens", "fail"), ({"endless": 1}, "stops", "fail"), ({"finish": "stop"}, "max_tokens", "warn"),
    ({"after": "<|im_end|>"}, "template marks", "fail"), ({"after": "\nUser: and then?"}, "template marks", "fail"), ({"after": "</s>"}, "template marks", "fail"), ({"before": "<think>hm</think> "}, "reasoning", "warn"),
    ({"logps": [0.5, -0.1]}, "likelihoods", "fail"), ({"logps": [-9999.0, -0.1]}, "likelihoods", "fail"), ({"logps": [-1.0]}, "likelihoods", "fail"), ({"logps": [0.0]}, "likelihoods", "fail"), ({"logps": [float("nan"), -0.1]}, "likelihoods", "fail"),
    ({"logps": [-0.1, -0.2, -0.3]}, "likelihoods", "warn"), ({"foreign": 1}, "likelihoods", "warn"), ({"mute": 1}, "likelihoods", "not possible"),
    ({"unsorted": 1}, "likelihood lists", "fail"), ({"heavy": 1}, "likelihood lists", "fail"), ({"other": 1}, "greedy choice", "fail"), ({"stale": 1}, "likelihoods re-scored", "fail"), ({"blind": 1}, "likelihoods re-scored", "not possible"),
    ({"restless": 1}, "determinism", "warn"), ({"drifting": 1}, "likelihoods repeat", "warn"), ({"ceiling": 5}, "top-k ceiling", "warn"), ({"cut": 3}, "top-k ceiling", "warn"), ({"ceiling": 0}, "top-k ceiling", "not possible"),
    ({"flat": 1}, "top-k coverage", "warn"), ({"unseeded": 1}, "seed", "warn"), ({"cold": 1}, "seed", "warn"), ({"no system": 1}, "system message", "warn"), ({"deaf": 1}, "system message", "warn"), ({"own words": 1}, "default system text", "warn"),
    ({"uncounted": 1}, "usage", "warn"), ({"inflated": 200}, "usage", "warn"), ({"formless": 1}, "structured output", "fail"),
])  # fmt: skip
def test_each_lie_of_a_server_is_caught_by_the_check_of_its_name(lies, check, outcome):
    report = try_server(schema=SCHEMA, **lies)
    found = next(f for f in report.findings if f.name == check)
    assert found.outcome == outcome, found
    assert outcome in ("pass", "not possible") or found.fix


@pytest.mark.parametrize("lie", ["stale", "heavy", "other"])
def test_lies_of_plain_completions_are_caught_too(lie):
    check = {"stale": "likelihoods re-scored", "heavy": "likelihood lists", "other": "greedy choice"}[lie]
    assert outcomes(try_server("raw", **{lie: 1}))[check] == "fail"


def test_failures_stop_a_run_with_their_names_and_warnings_are_lines():
    report = try_server(model="other", one=1)
    with pytest.raises(LimbeckError, match="model name: m was asked, other answered") as problem:
        report.raise_failures()
    assert "teacher.self_test = false" in problem.value.fix and any(line.startswith("n: ") for line in report.warnings())


def test_a_server_cannot_be_learnt_from_by_distributions_and_its_pieces_are_compared(folder):
    assert outcomes(try_server(soft=True))["vocabulary"] == "fail"
    assert outcomes(try_server(student=load_tokenizer(folder)))["vocabulary"] == "warn"


@pytest.mark.parametrize(("url", "what"), [("http://127.0.0.1:9/v1", "cannot be reached"), ("http://bad host/v1", "cannot be reached")])
def test_a_server_that_is_not_there_is_said(url, what, monkeypatch):
    monkeypatch.setattr("limbeck.teachers.asking_once.time.sleep", lambda _: None)
    with pytest.raises(LimbeckError, match=what):
        self_test(Endpoint("m", url, timeout_s=2))


@pytest.mark.parametrize(("value", "schema", "reason"), [
    ({"a": 1}, {"type": "object", "required": ["b"]}, "has no 'b'"), ({"a": 1, "c": 2}, {"properties": {"a": {}}, "additionalProperties": False}, "has 'c'"), ([1, "x"], {"items": {"type": "integer"}}, r"the answer[1] is no integer"),
    (True, {"type": "number"}, "is no number"), (None, {"type": ["string", "null"]}, ""), ("x", {"enum": ["y"]}, "none of the values"), ({"a": {"b": 1}}, {"properties": {"a": {"properties": {"b": {"type": "string"}}}}}, "the answer.a.b is no string"),
    (3, {"anyOf": [{"type": "string"}, {"type": "integer"}]}, ""), (3.5, {"anyOf": [{"type": "string"}, {"type": "integer"}]}, "none of its forms"), ({"a": 1}, {"type": "object"}, ""),
])  # fmt: skip
def test_what_breaks_a_schema_is_said(value, schema, reason):
    found = breaks_schema(value, schema)
    assert (reason in found) if reason else found == ""


def test_little_coverage_is_a_warning_only_where_top_tokens_are_stored():
    url = Toy(flat=1).url
    for soft, top, outcome in ((False, None, "pass"), (True, None, "warn"), (True, False, "pass"), (False, True, "warn")):
        found = next(f for f in self_test(Endpoint("m", url), soft=soft, top=top).findings if f.name == "top-k coverage")
        assert found.outcome == outcome and "of the mass" in found.seen and bool(found.fix) == (outcome == "warn")


def test_what_the_test_costs_counts_in_the_budget_and_the_accounts(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    teacher = Endpoint("m", Toy().url, ledger=ledger, run="r", price_usd=(1.0, 2.0), allowance=Allowance(tokens=100_000))
    report = self_test(teacher)
    paid = teacher.accounts()["paid"]
    assert (paid["tokens_in"], paid["tokens_out"]) == (report.tokens_in, report.tokens_out) and paid["cost_usd"] == pytest.approx(report.cost_usd) and paid["cost_usd"] > 0
    assert 0 < paid["requests"] <= report.calls and teacher.budget.spent_tokens == report.tokens_in + report.tokens_out
    again = Endpoint("m", Toy().url, ledger=ledger, run="r", price_usd=(1.0, 2.0), allowance=Allowance(tokens=100_000))
    again.answer([Prompt(id="1", text="Say one word")])
    spent = again.accounts()
    assert again.budget.spent_tokens == spent["paid"]["tokens_in"] + spent["paid"]["tokens_out"] > report.tokens_in + report.tokens_out
    assert spent["asked"] == 1 and spent["states"] == {"answered": 1}  # a try is no record


@pytest.mark.parametrize("allowance", [Allowance(tokens=330), Allowance(usd=0.00033)])
def test_a_budget_too_small_for_the_test_is_not_passed(tmp_path, allowance):
    teacher = Endpoint("m", Toy().url, ledger=Ledger(tmp_path / "ledger.sqlite"), run="r", price_usd=(1.0, 1.0), allowance=allowance)
    with pytest.raises(LimbeckError, match="too small for the self-test") as caught:
        self_test(teacher)
    paid = teacher.accounts()["paid"]
    assert 0 < paid["tokens_in"] + paid["tokens_out"] <= 330 and "self_test = false" in str(caught.value)


def test_a_server_that_answers_nothing_is_quoted():
    with pytest.raises(LimbeckError, match=r"no request is answered: HTTP 400: .*maximum context length is 8"):
        self_test(Endpoint("m", Toy(**{"small context": True}).url, sampling=Sampling()), None).raise_failures()
