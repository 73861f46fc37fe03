"""A user's own task in ten lines, and every way to get it wrong."""

import pytest

from limbeck.errors import LimbeckError
from limbeck.records import Answer, Candidate
from limbeck.tasks.own import load_own_task

GOOD = {"name": "capitals", "data": "rows.csv", "prompt": "Capital of {country}?", "answer": "capital", "scorer": "normalised"}
ROWS = "country,capital\nFrance,Paris\nItaly,Rome\n"


def write(folder, rows=ROWS, name="rows.csv", **changes):
    (folder / name).write_bytes(rows if isinstance(rows, bytes) else rows.encode())
    settings = {**GOOD, **changes}
    path = folder / "task.toml"
    path.write_text("".join(f"{k} = {v!r}\n".replace("'", '"') for k, v in settings.items() if v is not None))
    return path


def says(task, index, text):
    example = task.examples("test")[index]
    return task.score(example, Answer(prompt_id=example.id, candidates=(Candidate(text=text),)))


def test_ten_lines_make_a_task(tmp_path):
    task = load_own_task(write(tmp_path))
    first = task.examples("test")[0]
    assert (first.prompt.text, first.gold, task.name) == ("Capital of France?", ("Paris",), "capitals")
    assert says(task, 0, "The Paris.").measures["correct"] == (1.0,) and says(task, 1, "Milan").measures["correct"] == (0.0,)


def test_its_version_follows_its_words_and_its_data(tmp_path):
    versions = {load_own_task(write(tmp_path, **c)).version for c in ({}, {"prompt": "{country}: capital?"}, {"scorer": "exact"}, {"rows": ROWS + "Spain,Madrid\n"})}
    assert len(versions) == 4 and load_own_task(write(tmp_path)).version in versions


@pytest.mark.parametrize(
    ("scorer", "gold", "text", "verdict"),
    [
        ("exact", "Paris", " Paris\n", 1.0), ("exact", "Paris", "paris", 0.0), ("includes", "Paris", "It is paris, I think", 1.0),
        ("number", "1,200", "so 1200", 1.0), ("number", "1200", "1,200.00 in all", 1.0), ("number", "3", "none", "no number in the answer"),
        ("number", "-4", "x = -4", 1.0), ("number", "7", "first 7, then 8", 0.0),
        ("choice", "B", "B", 1.0), ("choice", "B", "(B)", 1.0), ("choice", "B", "The answer is B.", 1.0), ("choice", "B", "B) Rome", 1.0),
        ("choice", "B", "**Answer: B**", 1.0), ("choice", "B", "Answer: A", 0.0), ("choice", "B", "A or B", "no letter in the answer"),
        ("choice", "B", "(A) or (B)", "several letters: A, B"), ("regex", "^P.r", "Paris", 1.0),
        ("json", '{"a": 1}', '{ "a":1 }', 1.0), ("json", "[1]", "one", "the answer is no JSON"),
    ],
)  # fmt: skip
def test_scorers(tmp_path, scorer, gold, text, verdict):
    import json

    path = write(tmp_path, json.dumps({"country": "x", "capital": gold}) + "\n", "rows.jsonl", data="rows.jsonl", scorer=scorer)
    found = says(load_own_task(path), 0, text)
    assert (found.reason if isinstance(verdict, str) else found.measures["correct"][0]) == verdict
    assert found.status == ("no_answer" if isinstance(verdict, str) else "scored")


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        (ROWS, {"colour": "red"}, "unknown key"), (ROWS, {"prompt": None}, "'prompt' is missing"), (ROWS, {"answer": 3}, "must be a text"),
        (ROWS, {"scorer": "magic"}, "no scorer"), (ROWS, {"data": "none.csv"}, "cannot be read"), (ROWS, {"answer": "town"}, "no field 'town'"),
        (ROWS, {"prompt": "{land}?"}, "asks for 'land'"), (ROWS, {"prompt": "{country"}, "template cannot be read"),
        (ROWS, {"prompt": "{country.__class__}"}, "no field: {country.__class__}"), (ROWS, {"prompt": "{country!r}"}, "no field"), (ROWS, {"prompt": "{}"}, "no field"),
        ("country,capital\nFrance,Paris\nFrance,Rome\n", {"id": "country"}, "come twice"), (b"country,capital\nM\xfcnchen,x\n", {}, "not UTF-8"),
        ("country,capital\nFrance\n", {}, "another number of fields"), ("country,capital\n", {}, "empty"), (f"country,capital\n{'x' * 10_000_001},y\n", {}, "no CSV"),
        (ROWS, {"prompt": "Which capital?"}, "every row would be asked the same"), (ROWS, {"prompt": "a {{country}}"}, "every row would be asked the same"), (ROWS, {"split": 3}, "must be a text"),
        (ROWS, {"scorer": "number"}, "holds no number"), (ROWS, {"scorer": "choice"}, "is no letter"), (ROWS, {"scorer": "json"}, "is no JSON"),
        ("country,capital\nFrance,[oops\n", {"scorer": "regex"}, "is no pattern"), ("country,capital,country\nFrance,Paris,x\n", {}, "two columns"),
        (ROWS, {"choices": "country"}, "no list of two or more choices"), (ROWS, {"choices": 3}, "a field or a list of fields"), (ROWS, {"choices": ["country", "town"]}, "no field 'town'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path, rows, changes, message):
    with pytest.raises(LimbeckError, match=message.replace("{", r"\{").replace(".", r"\.")):
        load_own_task(write(tmp_path, rows, **changes)).examples("test")


def test_choices_come_from_a_list_or_from_columns(tmp_path):
    rows = "q,a,b,gold\nBig?,Paris,Rome,B\n"
    task = load_own_task(write(tmp_path, rows, prompt="{q} A. {a} B. {b}", answer="gold", scorer="choice", choices=["a", "b"]))
    assert task.examples("test")[0].prompt.context["choices"] == ["Paris", "Rome"] and says(task, 0, "B").measures["correct"] == (1.0,)


def test_a_field_too_long_is_named_in_a_list_too(tmp_path):
    with pytest.raises(LimbeckError, match="over 10,000,000") as problem:
        load_own_task(write(tmp_path, '{"country": ["' + "x" * 10_000_001 + '"], "capital": 2}\n', "rows.jsonl", data="rows.jsonl"))
    assert "line 1" in problem.value.where


def test_broken_lines_are_named(tmp_path):
    for line, message in (("{oops", "no JSON"), ("[1]", "no JSON object")):
        with pytest.raises(LimbeckError, match=message) as problem:
            load_own_task(write(tmp_path, '{"country": 1, "capital": 2}\n' + line + "\n", "rows.jsonl", data="rows.jsonl"))
        assert "line 2" in str(problem.value)


def test_requests_to_distil_from_may_be_without_answers(tmp_path):
    (tmp_path / "test.csv").write_text("country,capital\nFrance,Paris\n")
    (tmp_path / "train.jsonl").write_text('{"country": "Italy"}\n{"country": "Spain", "capital": "Madrid"}\n')
    settings = 'name = "capitals"\ndata = "test.csv"\nprompt = "Capital of {country}?"\nanswer = "capital"\nscorer = "normalised"\n'
    (tmp_path / "bare.toml").write_text(settings)
    (tmp_path / "own.toml").write_text(settings + 'train = "train.jsonl"\nlicence = "CC0-1.0"\n')
    task, bare = load_own_task(tmp_path / "own.toml"), load_own_task(tmp_path / "bare.toml")
    assert [e.gold for e in task.examples("train")] == [(), ("Madrid",)] and [e.id for e in task.examples("train")] == ["train-1", "train-2"]
    assert task.version == bare.version and task.licence == "CC0-1.0" and [e.gold for e in task.examples("test")] == [("Paris",)]
    (tmp_path / "train.jsonl").write_text('{"land": "Italy"}\n')
    with pytest.raises(LimbeckError, match="country"):
        load_own_task(tmp_path / "own.toml").examples("train")
