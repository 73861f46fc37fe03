"""Task python: CoNaLa's scores against their definition and published value, verdicts, splits."""

import ast
import gzip
import json
import os
import shutil
import sys
import types
from pathlib import Path

import pytest

from limbeck.errors import LimbeckError
from limbeck.evaluate.examine import examine
from limbeck.records import Answer, Candidate, Example, Prompt
from limbeck.resolve import get_task
from limbeck.tasks.python import metrics, neural
from limbeck.tasks.python.baselines import NearestLine
from limbeck.tasks.python.loading import place_rows, read_released
from limbeck.tasks.python.metrics import corpus_bleu, is_exact, line_bleu, overlap, syntax_tree, tokenise
from limbeck.tasks.python.task import PythonTask, unwrap

needs_data = pytest.mark.skipif("LIMBECK_DATA" not in os.environ, reason="LIMBECK_DATA is not set")


def example(name: str, gold: str, cluster: int = 0) -> Example:
    return Example(id=name, prompt=Prompt(id=name, text=name), gold=(gold,), meta={"cluster": cluster})


def answer(*texts: str) -> Answer:
    return Answer(prompt_id="a", candidates=tuple(Candidate(text=t) for t in texts))


@pytest.mark.parametrize(
    ("code", "words"),
    [("os.kill(a)", "os . kill ( a )"), ("camelCase HTTPServer", "camel Case HTTPServer"), ("x = 'a' + \"b\"", "x = ` a ` + ` b `"), ("snake_case2", "snake_case2"), ("  ", ""), ("é", "é")],
)
def test_code_is_cut_into_the_words_of_conala(code, words):
    assert " ".join(tokenise(code)) == words


def test_exact_match_is_that_of_words():
    assert is_exact(["print( 'a' )"], 'print("a")') and not is_exact(["print(a)"], "print(b)") and not is_exact([""], "")


def test_corpus_bleu_adds_up_before_it_divides():
    same = overlap(["a b c d e"], "a b c d e")
    assert corpus_bleu([same]) == pytest.approx(100)
    none = overlap(["a b c d e"], "v w x y z")
    assert corpus_bleu([none]) == 0 and corpus_bleu([]) == 0
    both = [same, none]  # half of every n-gram
    assert corpus_bleu(both) == pytest.approx(50)
    short = overlap(["a b c d e f g h"], "a b c d")
    assert corpus_bleu([short]) == pytest.approx(100 * 2.718281828 ** (1 - 8 / 4))
    assert corpus_bleu([overlap(["a b c"], "a b c")]) == 0  # no 4-gram, no smoothing


def test_a_line_s_bleu_is_smoothed_from_two_on():
    assert line_bleu(["a b c"], "a b c") == pytest.approx(1) and line_bleu(["a"], "b") == 0 and line_bleu(["a"], "") == 0
    assert 0 < line_bleu(["a b c d"], "a x y z") < line_bleu(["a b c d"], "a b y z") < 1


@pytest.mark.parametrize(
    ("text", "status", "valid"),
    [
        ("x = 1", "scored", 1),
        ("```python\nx = 1\n```", "scored", 1),
        ("    x = 1", "scored", 1),
        ("print 1", "scored", 0),
        ("def f(:", "scored", 0),
        ("не код", "scored", 0),
        ("(" * 9_000, "scored", 0),
        ("-" * 9_000 + "1", "scored", 0),
        ("9" * 9_000, "scored", 0),
        ("", "failed", None),
        ("x\0", "failed", None),
        ("x" * 20_000, "failed", None),
        ("x " * 4_900, "failed", None),
    ],
)
def test_bad_input_gets_a_verdict(text, status, valid):
    verdict = PythonTask().score(example("a", "x = 1"), answer(text))
    assert verdict.status == status and bool(verdict.reason) is (status == "failed")
    assert verdict.measures.get("valid", (None,))[0] == valid
    assert PythonTask().verify(Prompt(id="a", text="a"), Candidate(text=text)).ok is (valid == 1)


def test_candidates_are_judged_one_by_one():
    verdict = PythonTask().score(example("a", "f(x=1)"), answer("f( x = 1 )", "f(x=2)", "", "`f(x=1)`"))
    assert verdict.measures["same_tree"] == (1, 0, 0, 1) and verdict.measures["exact"] == (1, 0, 0, 1) and verdict.measures["valid"] == (1, 1, 0, 1)


def test_markdown_and_common_indent_are_taken_off():
    assert unwrap("Sure:\n```py\nif a:\n    b\n```\nDone.") == "if a:\n    b"
    assert unwrap("  a\n  b") == "a\nb" and unwrap("a = `b` + `c`") == "a = `b` + `c`"


def test_trees_are_those_of_python_3_and_nothing_runs():
    assert syntax_tree("a+b") == ast.dump(ast.parse("a + b")) and syntax_tree("print 1") is None
    assert syntax_tree("raise SystemExit") is not None


def test_rows_that_belong_together_stay_together():
    rows = [{"intent": f"do thing {chr(97 + at % 26)}{chr(97 + at // 26)}", "rewritten_intent": None, "snippet": f"f{at}()", "question_id": at // 2} for at in range(600)]
    rows[5]["snippet"] = rows[500]["snippet"]
    places = place_rows(rows)
    assert all(places[at] == places[at + 1] for at in range(0, 600, 2)) and places[4] == places[500]
    assert 0.03 < places.count("dev") / 600 < 0.2


def test_the_released_rows_without_utterance_are_left_out():
    rows = read_released({"test": [{"ID": 1, "NL Utterance": None, "Code": "a"}, {"ID": 2, "NL Utterance": "b", "Code": "c"}]}, "test")
    assert [r["snippet"] for r in rows] == ["c"]


def test_an_examination_shows_corpus_bleu_over_all_examples(monkeypatch):
    class Toy:
        name, parameters = "toy", 0

        def answer(self, prompts, *, k=1):
            return [answer("a b c d e") if p.id == "1" else answer("") for p in prompts]

    result = examine(PythonTask(), Toy(), [example("1", "a b c d e", 1), example("2", "v w x y z", 2)], split="toy", k=1)
    bleu = next(s for s in result["scores"] if s["name"] == "bleu-1")
    assert bleu["n"] == 2 and bleu["missing"] == 1 and bleu["value"] == pytest.approx(2.718281828 ** (1 - 10 / 5))
    assert not [s for s in result["scores"] if "codebert" in s["name"]]


def test_codebertscore_is_there_with_its_package_and_weights_only(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    package = types.ModuleType("code_bert_score")
    package.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    package.score = lambda cands, refs, lang: ([0], [0], [0.5] * len(cands), [0.25] * len(cands))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "code_bert_score", package)
    assert neural.find_codebertscore() is None
    snapshot = tmp_path / "models--neulab--codebert-python" / "snapshots" / "x"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    trials = [{"id": "1", "status": "scored", "candidates": ["a", "b"]}, {"id": "2", "status": "failed", "candidates": [""]}]
    scores = {s.name: s for s in PythonTask().summarise([example("1", "a"), example("2", "b")], trials)}
    assert scores["codebertscore_f1-1"].value == 0.5 and scores["codebertscore_f3-1"].value == 0.25 and scores["codebertscore_f1-1"].missing == 1


def test_the_nearest_utterance_gives_its_line():
    found = NearestLine.from_examples([example("sort list `a`", "a.sort()"), example("open file `b`", "open(b)")]).answer([Prompt(id="1", text="Sort list `x`")])
    assert found[0].candidates[0].text == "a.sort()"


def test_an_unknown_split_is_named():
    with pytest.raises(LimbeckError, match="no split 'tset'"):
        PythonTask().examples("tset")


@needs_data
def test_the_published_bleu_and_exact_match_are_met():
    file = Path(os.environ["LIMBECK_DATA"]) / "scoring_fixtures" / "conala_test_knn_predictions.jsonl.gz"
    rows = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    assert corpus_bleu([overlap([r["ref"]], r["hyp"][0]) for r in rows]) == pytest.approx(14.96, abs=0.01)
    assert [sum(any(is_exact([r["ref"]], h) for h in r["hyp"][:k]) for r in rows) for k in (1, 3, 5)] == [1, 3, 3]


@needs_data
def test_splits_share_no_question_and_every_gold_line_is_python():
    task = PythonTask()
    train, dev, test = (task.examples(s) for s in ("train", "dev", "test"))
    assert len(train) + len(dev) == 2_378 and len(test) == 500
    questions = [{e.meta["cluster"] for e in part} for part in (train, dev, test)]
    assert not questions[0] & questions[1] and not questions[0] & questions[2] and not questions[1] & questions[2]
    assert all(metrics.syntax_tree(e.gold[0]) for e in test)
    assert {e.meta["task_id"] for e in task.examples("odex")} <= questions[2]


def odex_like(name: str, intent: str, head: str, tests: list[str], library: list[str]) -> Example:
    meta = {"prompt": head, "suffix": "", "test_start": "def check(candidate):\n", "test": tests, "entry_point": "f", "library": library, "cluster": name}
    return Example(id=name, prompt=Prompt(id=name, text=intent), gold=("sorted(x)",), meta=meta)


@pytest.mark.skipif(not shutil.which("bwrap"), reason="needs bubblewrap")
def test_answers_are_run_where_there_are_tests_and_running_was_asked_for():
    class Toy:
        name, parameters = "toy", 0

        def answer(self, prompts, *, k=1):
            return [answer("while True: pass" if p.id == "1" else "x[", "x[::1]", "sorted(x)") for p in prompts]

    head = "def f(x):\n\treturn "
    examples = [odex_like("1", "sort x", head, ["\tassert candidate([2, 1]) == [1, 2]\n"], []), odex_like("2", "sort x", head, ["\tassert candidate([1, 2]) == [1, 2]\n"], []), odex_like("3", "sort x", head, [], ["nosuchlibrary"]), example("4", "sorted(x)")]
    task = get_task("python", run=True)
    assert task.version != get_task("python").version and get_task("python").score_all is None
    result = examine(task, Toy(), examples, split="toy", k=3)
    scores = {s["name"]: s for s in result["scores"]}
    assert (scores["passed-1"]["value"], scores["passed-1"]["n"], scores["passed-1"]["missing"]) == (0, 2, 2) and scores["passed-3"]["value"] == 1
    assert [t.get("passed") for t in result["trials"]] == [[0, 0, 1], [0, 1, 1], None, None]
    assert scores["not run: nosuchlibrary is not installed"]["value"] == 0.25 and scores["not run: no tests"]["value"] == 0.25


@needs_data
def test_every_example_has_an_id_of_its_own():
    for split in ("train", "dev", "test", "odex"):
        examples = PythonTask().examples(split)
        assert len({e.id for e in examples}) == len(examples), split


def test_a_request_is_asked_as_in_an_examination_and_lines_have_families():
    task = PythonTask()
    assert task.prompt_for("sort  `x`").text == "sort `x`" and "sort `x`" in task.prompt_for("sort `x`").context["messages"][0]["content"]
    assert task.family("f(a, 1)") == task.family("f(b, 22)") != task.family("f(a)") and task.family("f(") is None
    assert task.utility("f(a)", "f(a)") == pytest.approx(1) and task.utility("f(a)", "g[b] = 1") < 0.5
