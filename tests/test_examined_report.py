"""The page and pictures of examinations: every number there, nothing of a model's text alive."""

import itertools
import json
import re

import pytest

from limbeck.cli import main
from limbeck.errors import LimbeckError
from limbeck.evaluate.examine import examine
from limbeck.records import Answer, Candidate, Example, Prompt
from limbeck.report.examined import read_result, write_examined
from limbeck.report.examined_figures import cost_facts, draw, main_score, reliability_bins
from limbeck.report.sizes import official_frontier
from limbeck.tasks.text_task import TextTask

EVIL = "<script>alert(1)</script>"


class Letters(TextTask):
    name, version = "letters", "1"

    def judge(self, example, text):
        return "unreadable" if text == "?" else {"correct": float(text == example.gold[0])}


class Sure:
    """Right on even examples, unreadable on every seventh; says how sure it is."""

    name, parameters = f"sure {EVIL}", 1_000_000

    def answer(self, prompts, *, k=1):
        out = []
        for p in prompts:
            n = int(p.id)
            text = "?" if n % 7 == 6 else "a" if n % 2 == 0 else EVIL
            out.append(Answer(prompt_id=p.id, candidates=(Candidate(text=text, meta={"probability": 0.9 if n % 2 == 0 else 0.3}),), cost_usd=0.001, meta={"tokens": {"prompt": 10, "completion": 5}}))
        return out


@pytest.fixture
def result():
    examples = [Example(id=str(n), prompt=Prompt(id=str(n), text=f"letter {EVIL}"), gold=("a",), meta={"family": f"kind {n % 3}"}) for n in range(70)]
    return examine(Letters(), Sure(), examples, split="test", k=1)


def test_the_page_holds_the_numbers_and_escapes_what_was_said(result, tmp_path):
    path = write_examined([result], [], tmp_path / "test.html")
    page = path.read_text()
    assert EVIL not in page and "&lt;script&gt;alert(1)" in page
    assert re.search(r"correct, missing answers wrong.*n = 70, 10 missing", page)
    assert "no_answer: unreadable" in page and "0.0700" in page and "<svg" in page


def test_costs_add_up_and_unknown_stays_unknown(result):
    facts = cost_facts(result)
    assert facts["tokens_read"] == 700 and facts["usd_per_1000"] == pytest.approx(1.0) and facts["usd_per_million"] == pytest.approx(200)
    for trial in result["trials"]:
        trial.pop("answer_meta")
    assert cost_facts({**result, "cost_usd": None}) | {"seconds": 0, "cpu_ms": 0, "asked": 0} == dict.fromkeys(facts, None) | {"seconds": 0, "cpu_ms": 0, "asked": 0}


def test_reliability_by_hand(result):
    bins, error = reliability_bins(result)
    assert [(round(b["confidence"], 2), b["right"], b["n"]) for b in bins] == [(0.3, 0.0, 30), (0.9, 1.0, 30)]
    assert error == pytest.approx((30 * 0.3 + 30 * 0.1) / 60)
    assert reliability_bins({**result, "trials": [{**t, "confidence": None} | {} for t in []]}) is None


def test_the_main_score_counts_missing_answers_as_wrong(result):
    assert main_score(result)["value"] == pytest.approx(30 / 70)


def test_labels_do_not_cover_each_other():
    from limbeck.report.sizes import place_labels

    placed = place_labels([{"model": f"model-{n}", "B": 70 + n, "score": 95 - 0.1 * n} for n in range(4)] + [{"model": "small", "B": 1, "score": 30}], "B")
    tops = sorted(p["label_at"] for p in placed if p["model"] != "small")
    assert min(b - a for a, b in itertools.pairwise(tops)) > 1.9 and placed[-1]["label_at"] == 30  # 10 px of 360 over 78 points


def test_the_frontier_keeps_what_no_smaller_one_equals():
    assert official_frontier([(3, 5), (1, 2), (2, 1), (3, 7), (4, 7)]) == [(1, 2), (3, 7)]


@pytest.mark.parametrize("kind", ["scores", "families", "reliability", "sizes", "prices"])
def test_every_picture_is_drawn(result, kind):
    drawn = draw(kind, [{**result, "task": "medec"}])
    assert drawn.startswith("<svg") and EVIL not in drawn


def test_pictures_that_cannot_be_drawn_say_why(result):
    for kind, words in (("pie", "no figure"), ("sizes", "no published scores")):
        with pytest.raises(LimbeckError, match=words):
            draw(kind, [result])
    bare = {**result, "trials": [{k: v for k, v in t.items() if k != "confidence"} for t in result["trials"]]}
    with pytest.raises(LimbeckError, match="hold nothing"):
        draw("reliability", [bare])


def test_report_from_the_command_line(result, tmp_path, capsys):
    one, two = tmp_path / "a.json", tmp_path / "b.json"
    one.write_text(json.dumps(result))
    two.write_text(json.dumps({**result, "answerer": "other"}))
    with pytest.raises(SystemExit) as left:
        main(["report", str(one), str(two), "--out", str(tmp_path)])
    assert left.value.code == 0 and "Side by side" in (tmp_path / "test.html").read_text()
    with pytest.raises(SystemExit) as left:
        main(["report", str(one), "--figure", str(tmp_path / "f.svg"), "--kind", "families"])
    assert left.value.code == 0 and (tmp_path / "f.svg").read_text().startswith("<svg")
    two.write_text(json.dumps({**result, "version": "2"}))
    with pytest.raises(SystemExit) as left:
        main(["report", str(one), str(two)])
    assert left.value.code == 2 and "different tasks or versions" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", "\x00", '{"trials": []}'])
def test_what_is_no_result_is_told(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(LimbeckError, match="result"):
        read_result(path)
