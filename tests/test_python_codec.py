"""Python in pieces and slots; the pairs a student learns from."""

import ast
import os
import pickle
import random

import pytest

from limbeck.records import Prompt
from limbeck.tasks.bash.codec import BashCodec
from limbeck.tasks.python.codec import PythonCodec, may_end
from limbeck.tasks.python.pool import described, people_pairs, pick, varied
from limbeck.tasks.python.reading import tokens_of_request
from limbeck.tasks.python.task import PythonTask

needs_data = pytest.mark.skipif("LIMBECK_DATA" not in os.environ, reason="LIMBECK_DATA is not set")


def prompt(text: str) -> Prompt:
    return Prompt(id=text, text=text)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("sort list `my_list`", ["sort:word", "list:word", "my_list:value"]),
        ("split `['a', 'b']` by 'x y'", ["split:word", "['a', 'b']:value", "a:quoted", "b:quoted", "by:word", "x y:quoted"]),
        ("add 3 to `d['k']`.", ["add:word", "3:number", "to:word", "d['k']:value", "d:value", "k:quoted", ".:mark"]),
        ("the user's file", ["the:word", "user:word", "file:word"]),
    ],
)
def test_a_request_is_read_with_its_code_whole_and_in_parts(text, tokens):
    assert [f"{t.text}:{t.kind}" for t in tokens_of_request(text)] == tokens


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("sort list `my_list` in reverse", "sorted(my_list, reverse=True)"),
        ("get `x` of 'naïve café'", "x['naïve café']"),
        ("loop over `rows`", "for row in rows:\n    print(row)"),
        ("set `a` to 12345", "a = 12345"),
    ],
)
def test_an_answer_survives_and_names_are_copied(text, code):
    codec = PythonCodec()
    symbols = codec.encode_answer(prompt(text), code)
    assert symbols is not None and codec.decode(prompt(text), symbols) == code
    assert any(s >= codec.fixed_symbols for s in symbols)
    for at, symbol in enumerate(symbols):
        assert codec.allowed(prompt(text), symbols[:at])[symbol]


def test_letters_that_are_nowhere_cannot_be_said():
    assert PythonCodec().encode_answer(prompt("say hello"), "print('žluť')") is None


@pytest.mark.parametrize(("code", "ends"), [("f(x)", True), ("f(x", False), ("x = ')'", True), ("'a", False), ("for a in b:", False), ("", True), ("x\0", False), ("(" * 3000, False)])
def test_an_answer_ends_only_where_it_parses(code, ends):
    assert may_end(code) is ends


def test_codecs_travel_by_name_and_bash_is_read_as_before():
    assert pickle.loads(pickle.dumps(PythonCodec())).settings() == PythonCodec().settings()
    codec, request = BashCodec(), prompt("find *.txt under `pwd` bigger than 100M.")
    assert [codec.symbols[s] if s < codec.fixed_symbols else s - codec.fixed_symbols for s in codec.encode_answer(request, "find . -name '*.txt' -size +100M") or ()] == [
        "find", " .", " -name", " '", 1, "'", " -size", " +", 6, "M", "<eos>",
    ]  # fmt: skip


def test_pairs_are_varied_together_and_still_parse():
    nl, code = "append 'abc' to list `numbers` 12 times", "numbers.extend(['abc'] * 12)"
    for seed in range(60):
        fresh_nl, fresh = varied(nl, code, random.Random(seed))
        ast.parse(fresh)
        name = fresh.split(".")[0]
        assert f"`{name}`" in fresh_nl and fresh.split("'")[1] in fresh_nl and fresh.split("* ")[1][:-1] in fresh_nl
    assert len({varied(nl, code, random.Random(seed)) for seed in range(60)}) > 20


@pytest.mark.parametrize(("nl", "code"), [("call `os.kill` with 1", "os.kill(1, 9)"), ("sum of `list`", "sum(list)"), ("attribute `real` of `x`", "x.real")])
def test_what_carries_meaning_is_not_renamed(nl, code):
    for seed in range(30):
        _, fresh = varied(nl, code, random.Random(seed))
        assert ("os.kill(1" in fresh) or ("sum(list)" in fresh) or fresh.endswith(".real")


def test_a_statement_is_described_by_its_own_words():
    said = described("path = os.path.join(root, 'data')", random.Random(3))
    assert "`path`" in said and "`root`" in said and "'data'" in said and "join" in said
    assert described("path = os.path.join(root, 'data')", random.Random(3)) == said


def test_generate_is_a_pure_function_of_seed_and_index(tmp_path, monkeypatch):
    (tmp_path / "code.py").write_text('def half(x):\n    """Half of the number."""\n    return divide(x, 2)\n\nvalue = json.loads(text)\n')
    monkeypatch.setattr("limbeck.tasks.python.pool.people_pairs", lambda part: (("sort `x`", "sorted(x)"), ("reverse `x`", "x[::-1]")))
    monkeypatch.setattr("limbeck.tasks.python.pool._golds", lambda split: ["value = json.loads(text)"] if split == "test" else [])
    task = PythonTask(code=[str(tmp_path)])
    found = list(task.generate(3, 40))
    assert [e.gold for e in found[10:20]] == [e.gold for e in task.generate(3, 10, 10)]
    assert any("divide" in e.gold[0] for e in found) and not any("json" in e.gold[0] for e in found)  # a test line is never learnt from


@needs_data
def test_what_is_kept_apart_is_never_generated():
    apart = {code for purpose in ("dev", "examination") for _, code in people_pairs(purpose)} | {e.gold[0] for s in ("dev", "test") for e in PythonTask().examples(s)}
    drawn = {pick((), 7, index)[1] for index in range(len(people_pairs("pool")))}
    assert not drawn & apart and len(drawn) > 1_500
