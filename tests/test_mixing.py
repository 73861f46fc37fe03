"""Other sets: read whatever their form, seen as often as their weights say, never without who made them."""

import gzip
import json
from collections import Counter

import pytest

from limbeck.distill.mixing import load_set, mix
from limbeck.errors import LimbeckError


def lines(path, *records):
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records), encoding="utf-8")
    return str(path)


def make_run(folder, records, origins):
    (folder / "distill").mkdir(parents=True)
    (folder / "distill" / "data.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in records).encode()))
    (folder / "distill" / "origins.json").write_text(origins if isinstance(origins, str) else json.dumps(origins))
    return str(folder)


@pytest.mark.parametrize(
    ("record", "text", "answer"),
    [
        ({"text": "q", "answer": "a"}, "q", "a"),
        ({"prompt": "q", "completion": "a"}, "q", "a"),
        ({"question": "q", "answer": "a"}, "q", "a"),
        ({"instruction": "q", "output": "a"}, "q", "a"),
        ({"instruction": "q", "input": "of this", "output": "a"}, "q\n\nof this", "a"),
        ({"instruction": "q", "input": "", "output": "a"}, "q", "a"),
        ({"text": "a document"}, "", "a document"),
        ({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}, "q", "a"),
        ({"messages": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, "q", "a"),
    ],
)
def test_every_form_is_read(tmp_path, record, text, answer):
    (found,) = load_set(lines(tmp_path / "set.jsonl", record), terms="mit").records(0)
    assert (found["text"], found["answer"], found["by"]) == (text, answer, [0])


def test_earlier_turns_and_the_system_message_stay(tmp_path):
    said = [{"role": r, "content": c} for r, c in (("system", "s"), ("user", "1"), ("assistant", "2"), ("user", "3"), ("assistant", "4"))]
    (found,) = load_set(lines(tmp_path / "set.jsonl", {"messages": said})).records(0)
    assert (found["text"], found["answer"], found["context"]["messages"]) == ("3", "4", said[:-1])


def test_a_gzipped_file_is_the_same_set(tmp_path):
    plain = load_set(lines(tmp_path / "set.jsonl", {"text": "q", "answer": "a"}))
    (tmp_path / "set.jsonl.gz").write_bytes(gzip.compress((tmp_path / "set.jsonl").read_bytes()))
    packed = load_set(str(tmp_path / "set.jsonl.gz"))
    assert packed.sha256 == plain.sha256 and packed.lines[0]["text"] == "q"


def test_a_file_is_under_the_terms_that_are_said_else_unknown(tmp_path):
    path = lines(tmp_path / "set.jsonl", {"text": "q", "answer": "a"})
    assert load_set(path, terms="cc-by-4.0").origins[0].terms == "cc-by-4.0" and load_set(path).origins[0].terms == "unknown"


ORIGINS = [{"role": "generator", "model": "m", "terms": "mit"}, {"role": "judge", "model": "j", "terms": "llama-3"}]


def test_a_runs_records_bring_their_own_origins_counted_on(tmp_path):
    run = load_set(make_run(tmp_path / "run", [{"id": "1", "text": "q", "answer": "a", "by": [1]}, {"id": "2", "text": "r", "answer": "b"}], ORIGINS))
    assert [o.terms for o in run.origins] == ["mit", "llama-3"]
    assert [r["by"] for r in run.records(5)] == [[6], [5, 6]]  # who is not said is everybody
    assert load_set(str(tmp_path / "run" / "distill")).sha256 == run.sha256


@pytest.mark.parametrize(("weight", "least", "most"), [(1, 1, 1), (2, 2, 2), (0.5, 0, 1), (2.25, 2, 3), (0.1, 0, 1)])
def test_weights_are_honoured_to_a_record(tmp_path, weight, least, most):
    found = load_set(lines(tmp_path / "set.jsonl", *({"id": str(n), "text": f"q{n}", "answer": "a"} for n in range(40))), weight)
    records = found.records(0)
    seen = Counter(r["text"] for r in records)
    assert len(records) == len(found) == round(40 * weight) and max(seen.values()) == most and (min(seen.values()) if len(seen) == 40 else 0) == least
    assert len({r["id"] for r in records}) == len(records) and records == found.records(0)
    assert all(r["meta"]["set"] == found.name for r in records)


def test_a_share_of_a_set_is_no_beginning_of_it(tmp_path):
    found = load_set(lines(tmp_path / "set.jsonl", *({"id": str(n), "text": "q", "answer": str(n)} for n in range(100))), 0.3)
    assert [r["id"] for r in found.records(0)] != [str(n) for n in range(30)]


@pytest.mark.parametrize(
    ("content", "what", "where"),
    [
        (["{"], "no JSON", "line 1"),
        ([{"text": "q", "answer": "a"}, "[1]"], "no object", "line 2"),
        ([{"question": "q"}], "neither messages nor a request and an answer, but question", "line 1"),
        ([{"text": "q", "answer": " "}], "empty answer", "line 1"),
        ([{"messages": [{"role": "user", "content": "q"}]}], "last message", "line 1"),
        ([{"messages": "q"}], "no list of messages", "line 1"),
        ([{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": None}]}], "holds no text", "line 1"),
        ([], "empty", "set.jsonl"),
    ],
)
def test_a_set_that_cannot_be_read_is_told_with_its_line(tmp_path, content, what, where):
    with pytest.raises(LimbeckError, match=what) as caught:
        load_set(lines(tmp_path / "set.jsonl", *content))
    assert where in str(caught.value)


@pytest.mark.parametrize(
    ("records", "origins", "what"),
    [
        ([{"id": "1", "text": "q", "answer": "a", "by": [2]}], ORIGINS, r"names origins \[2\], and origins.json lists 2"),
        ([{"id": "1", "text": "q", "answer": "a", "by": 0}], ORIGINS, "names origins 0"),
        ([{"id": "1", "text": "q"}], ORIGINS, "has no answer"),
        ([{"id": "1", "text": "q", "answer": "a"}], "{", "origins is broken"),
        ([{"id": "1", "text": "q", "answer": "a"}], [{"who": "me"}], "origins is broken"),
    ],
)
def test_a_run_whose_origins_are_in_doubt_is_no_set(tmp_path, records, origins, what):
    with pytest.raises(LimbeckError, match=what):
        load_set(make_run(tmp_path / "run", records, origins))


def test_a_run_without_origins_a_broken_gzip_and_nothing_at_all(tmp_path):
    run = make_run(tmp_path / "run", [{"text": "q", "answer": "a"}], ORIGINS)
    (tmp_path / "run" / "distill" / "origins.json").unlink()
    with pytest.raises(LimbeckError, match="nothing says who made"):
        load_set(run)
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b"{}" * 99)[:20])
    with pytest.raises(LimbeckError, match="gzip file is broken"):
        load_set(str(tmp_path / "cut.jsonl.gz"))
    with pytest.raises(LimbeckError, match="there is no set 'nowhere'"):
        load_set("nowhere")


@pytest.mark.parametrize("weights", [(1.0, 1.0), (3.0, 1.0), (0.2, 0.5)])
def test_an_order_has_its_shares_all_along(weights):
    order = mix([7, 40], weights, seed=1, size=400)
    for size in (8, 40, 100, 400):
        first = sum(at == 0 for at, _ in order[:size])
        assert abs(first - size * weights[0] / sum(weights)) <= 1
    assert mix([7, 40], weights, seed=1, size=90) == order[:90] and mix([7, 40], weights, seed=2, size=90) != order[:90]


def test_every_record_is_seen_before_one_is_seen_again():
    order = [n for at, n in mix([10, 10], [2.0, 1.0], seed=3, size=90) if at == 0]
    assert [sorted(order[at : at + 10]) for at in range(0, 60, 10)] == [list(range(10))] * 6 and order[:10] != order[10:20]


@pytest.mark.parametrize(("sizes", "weights"), [([], []), ([1], [1, 2]), ([0, 4], [1, 1]), ([3], [0])])
def test_no_order_of_empty_sets_or_weights_of_nothing(sizes, weights):
    with pytest.raises(LimbeckError, match="weight above zero"):
        mix(sizes, weights, 0, 5)
