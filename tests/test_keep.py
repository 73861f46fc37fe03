"""Which answers are kept: each request has one end with a reason, each draw is accounted for, and the sums hold."""

import random
from collections import Counter

import pytest

from limbeck.data.opt_out import OptOut
from limbeck.distill.agreement import outcome_of, shares
from limbeck.distill.balance import bin_of, histogram, thin
from limbeck.distill.contamination import Contamination
from limbeck.distill.data_card import write_card
from limbeck.distill.keep import Draft, Draw, keep_records, load_hook
from limbeck.errors import LimbeckError
from limbeck.recipe.schema import KeepSection
from limbeck.records import Check, Origin, Verdict


def draft(id, *answers, text=None, **more):
    draws = tuple(a if isinstance(a, Draw) else Draw(text=a) for a in answers)
    return Draft(id=id, text=f"request number {id}" if text is None else text, draws=draws, **more)


def keep(drafts, verify=None, score=None, contamination=None, opt_out=None, against=(), **section):
    return keep_records(drafts, section=KeepSection(**section), verify=verify, score=score, contamination=contamination, opt_out=opt_out, against=against)


def ends(kept):
    return {row["id"]: (row["state"], row["column"], row["reason"]) for row in kept.refused}


def runs(prompt, candidate):
    return Check(ok=candidate.text.startswith("print"), reason="does not run", outcome=candidate.text.split("#")[0].strip())


def right(example, answer):
    return Verdict(status="scored", measures={"exact": tuple(float(c.text in example.gold) for c in answer.candidates)})


def test_every_end_has_its_column_and_reason():
    kept = keep(
        [
            draft("kept", "print 1"),
            draft("failed", status="failed", reason="429 after five tries"),
            draft("refused", status="refused", reason="content filter"),
            draft("silent", status="no_answer"),
            draft("nothing"),
            draft("empty", "  \n"),
            draft("short", "pr"),
            draft("long", "print " + "x" * 50),
            draft("broken", "echo 1"),
            draft("wrong", "print 2", gold=("print 3",)),
            draft("again", "print 1", text="Request  number KEPT."),
            draft("personal", "print mail to anna.berg@web.de"),
        ],
        verify=runs, score=right, min_chars=3, max_chars=40, personal="refuse",
    )  # fmt: skip
    assert ends(kept) == {
        "failed": ("failed", "call", "429 after five tries"),
        "refused": ("refused", "answer", "the teacher refused, content filter"),
        "silent": ("refused", "answer", "no answer"),
        "nothing": ("refused", "answer", "no answer"),
        "empty": ("refused", "answer", "empty"),
        "short": ("refused", "answer", "shorter than 3 characters"),
        "long": ("refused", "answer", "longer than 40 characters"),
        "broken": ("refused", "answer", "not verified, does not run"),
        "wrong": ("refused", "answer", "not right by the gold"),
        "again": ("refused", "request", "repeats another request"),
        "personal": ("refused", "answer", "personal data, e-mail"),
    }
    accounts = kept.accounts
    assert [r["id"] for r in kept.records] == ["kept"] and accounts["asked"] == 12 and accounts["kept"] == 1
    assert sum(accounts["failed"].values()) == 1 and sum(accounts["refused"].values()) == 10
    assert sum(row[3] for row in accounts["table"]) == 12


def test_the_sums_hold_whatever_comes():
    drawn = random.Random(4)
    words = ["print 1", "print 2", "print 2 # two", "echo", "", "print me@web.de", "print of a rather long answer that is cut"]
    for trial in range(30):
        drafts = [
            draft(str(n), *(Draw(text=drawn.choice(words), score=drawn.random(), meta={"count": drawn.randint(1, 4)}) for _ in range(drawn.randint(0, 5))),
                  text=f"request {drawn.randint(0, 25)}", gold=drawn.choice([(), ("print 1",)]), status=drawn.choice(["scored"] * 5 + ["failed", "refused", "no_answer"]))
            for n in range(40)
        ]  # fmt: skip
        kept = keep(
            drafts, verify=drawn.choice([None, runs]), score=drawn.choice([None, right]), agreement=drawn.choice([0, 0.5]), per_request=drawn.choice([1, 3]), max_chars=30,
            personal=drawn.choice(["off", "flag", "refuse"]), duplicates=drawn.choice(["off", "exact", "minhash"]), balance=drawn.choice(["off", "difficulty"]),
        )  # fmt: skip
        accounts = kept.accounts
        assert accounts["asked"] == 40 == accounts["kept"] + sum(accounts["refused"].values()) + sum(accounts["failed"].values())
        draws = dict(accounts["draws"])
        assert draws.pop("drawn") == sum(draws.values()) == sum(d.count for one in drafts if one.status == "scored" for d in one.draws)
        assert min(draws.values(), default=0) >= 0
        assert draws.get("kept", 0) >= len(kept.records)  # a kept answer may stand for several draws
        assert {r["request"] for r in kept.records} | {r["id"] for r in kept.refused} == {str(n) for n in range(40)}
        assert sum(accounts["difficulty"].values()) == accounts["kept"], trial


def test_the_same_drafts_give_the_same_records():
    drafts = [draft(str(n), "print 1", "print 2", text=f"request {n % 30}") for n in range(60)]
    assert keep(drafts).records == keep(drafts).records


def test_two_requests_of_one_name_are_no_data():
    with pytest.raises(AssertionError, match="two requests"):
        keep([draft("1", "a"), draft("1", "b")])


def test_the_best_answers_come_first_verified_and_agreed_before_likely():
    answers = [Draw(text="echo", score=9), Draw(text="print 1", score=5), Draw(text="print 2", score=1), Draw(text="print 2 # said otherwise", score=2)]
    one = keep([draft("1", *answers)], verify=runs).records
    assert [r["answer"] for r in one] == ["print 2 # said otherwise"]  # two of four come to it, and the likelier of the two is taken
    three = keep([draft("1", *answers)], verify=runs, per_request=3)
    assert [(r["id"], r["answer"]) for r in three.records] == [("1", "print 2 # said otherwise"), ("1~2", "print 2"), ("1~3", "print 1")]
    assert three.accounts["draws"] == {"drawn": 4, "kept": 3, "answer: not verified, does not run": 1}
    assert three.accounts["kept"] == 1 and three.accounts["answers"] == 3
    assert three.records[0]["meta"] == {"passed": 0.75, "agreement": 0.5, "verified": True}


def test_right_answers_go_before_all_others():
    kept = keep([draft("1", "print 2", "print 2 ", "print 7", gold=("print 7",))], score=right, per_request=3)
    assert [r["answer"] for r in kept.records] == ["print 7"] and kept.records[0]["meta"]["right"]


def test_equal_answers_are_kept_once():
    kept = keep([draft("1", "Paris", "paris.", "  PARIS", "Rome")], per_request=4)
    assert [r["answer"] for r in kept.records] == ["Paris", "Rome"] and kept.accounts["draws"] == {"drawn": 4, "kept": 2, "spare": 2}


def test_too_little_agreement_refuses_and_the_minority_goes():
    agreed = keep([draft("1", "12", "12", "13", "twelve")], agreement=0.5, per_request=4)
    assert [r["answer"] for r in agreed.records] == ["12"] and agreed.accounts["draws"]["answer: not the commonest answer"] == 2
    split = keep([draft("1", "11", "12", "13", "14")], agreement=0.5)
    assert ends(split) == {"1": ("refused", "answer", "fewer than 50% of the draws agree")}
    exactly = keep([draft("1", "12", "12", "13", "14")], agreement=0.5)
    assert exactly.accounts["kept"] == 1


def test_agreement_counts_draws_not_texts():
    kept = keep([draft("1", Draw(text="12", meta={"count": 3}), Draw(text="13"))], agreement=0.75)
    assert kept.records[0]["answer"] == "12" and kept.records[0]["meta"]["agreement"] == 0.75


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("so \\boxed{12}", "I think\n#### 12", True),
        ("It is 7.\nThe answer is $1,200.00.", "1200", True),
        ("first 3 apples\nthen he has 12 apples", "12", True),
        ("\\boxed{\\frac{1}{2}}", "\\boxed{\\frac{1}{3}}", False),
        ("12", "-12", False),
        ("Paris", "paris.", True),
        ("the answer is 3 and then\nthe answer is 4", "the answer is 4", True),
        ("1,5", "15", True),
        ("", "  ", True),
    ],
)
def test_what_a_chain_comes_to(one, other, same):
    assert (outcome_of(one) == outcome_of(other)) is same


def test_an_effect_goes_before_words():
    assert outcome_of("=A1+B1", 3) == outcome_of("=SUM(A1:B1)", 3) != outcome_of("=A1+B1", 4)
    assert shares(["a", "b", "a"], [1, 2, 1]) == [0.5, 0.5, 0.5]


def test_bins_of_difficulty():
    assert [bin_of(s) for s in (0, 0.001, 0.2, 0.201, 0.5, 0.8, 0.801, 1)] == [0, 0, 0, 1, 2, 3, 4, 4]
    assert histogram([0.1, 1, 1]) == {"0-20 %": 1, "20-40 %": 0, "40-60 %": 0, "60-80 %": 0, "80-100 %": 2}


def test_balance_keeps_as_many_of_each_difficulty_and_rare_ones_whole():
    found = [1.0] * 60 + [0.5] * 20 + [0.1] * 2
    names = [str(n) for n in range(len(found))]
    left = [share for at, share in enumerate(found) if at not in thin(found, names)]
    assert Counter(left) == {1.0: 20, 0.5: 20, 0.1: 2}
    assert thin([1.0] * 10, names[:10]) == set()


def test_a_balanced_set_accounts_for_what_went_and_for_every_draw():
    drafts = [draft(f"e{n}", Draw(text="print 1", meta={"count": 4})) for n in range(30)] + [draft(f"h{n}", "print 1", "echo") for n in range(10)]
    kept = keep(drafts, verify=runs, balance="difficulty")
    assert kept.accounts["kept"] == 20 and kept.accounts["refused"] == {"request: balance of difficulty": 20}
    assert kept.accounts["draws"] == {"drawn": 140, "kept": 10 * 4 + 10, "answer: not verified, does not run": 10, "request: balance of difficulty": 80}
    assert {row["reason"] for row in kept.refused} == {"balance of difficulty"} and len(kept.refused) == 20


def test_what_a_later_step_cannot_use_is_taken_out_with_its_reason():
    kept = keep([draft("a~b", "one", "two"), draft("c", Draw(text="three", meta={"count": 5}))], per_request=2)
    kept.refuse("a~b~2", "answer", "cannot_encode")
    assert [r["id"] for r in kept.records] == ["a~b", "c"] and kept.accounts["kept"] == 2
    kept.refuse("a~b", "answer", "cannot_encode")
    kept.refuse("c", "answer", "too long")
    assert not kept.records and kept.accounts["refused"] == {"answer: cannot_encode": 1, "answer: too long": 1}
    assert kept.accounts["draws"] == {"drawn": 7, "answer: cannot_encode": 2, "answer: too long": 5}
    with pytest.raises(AssertionError, match="was not kept"):
        kept.refuse("c", "answer", "again")


SECRET = "write to anna.berg@web.de about it"


def test_personal_data_is_counted_or_refused_and_never_repeated_in_refusals():
    flagged = keep([draft("1", SECRET)])
    assert flagged.records[0]["meta"]["personal"] == {"e-mail": 1} and flagged.accounts["personal"] == {"e-mail": 1}
    refused = keep([draft("answer", SECRET), draft("request", "fine", text=SECRET), draft("other", f"echo {SECRET}")], verify=lambda p, c: runs(p, c) if p.id == "other" else Check(ok=True), personal="refuse")
    assert refused.accounts["refused"] == {"answer: not verified, does not run": 1, "answer: personal data, e-mail": 1, "request: personal data, e-mail": 1}
    assert all("anna" not in str(row) for row in refused.refused)
    assert "personal" not in keep([draft("1", SECRET)], personal="off").records[0]["meta"]


def shouting(text):
    return float(text.isupper())


def test_a_hook_of_ones_own_judges_texts():
    kept = keep([draft("1", "calm"), draft("2", "LOUD"), draft("3", "calm", text="ASK")], toxicity=f"{__name__}:shouting", toxicity_most=0.5)
    assert ends(kept) == {"2": ("refused", "answer", "toxic"), "3": ("refused", "request", "toxic")}


def wrong(text):
    return "bad"


@pytest.mark.parametrize(("name", "what"), [("nothing", "names no function"), ("no.such:thing", "cannot be imported"), ("limbeck.records:nothing", "has no function"), (f"{__name__}:wrong", "returned 'bad'")])
def test_a_hook_that_is_none_is_told(name, what):
    with pytest.raises(LimbeckError, match=what) as caught:
        load_hook(name)("text")
    assert "keep.toxicity" in str(caught.value)


def test_the_language_that_was_asked_for():
    pytest.importorskip("langdetect")
    german = "Das ist ein ganz gewöhnlicher deutscher Satz, der über das Wetter von gestern spricht."
    english = "This is quite an ordinary English sentence that speaks about the weather of yesterday."
    kept = keep([draft("1", english), draft("2", german), draft("3", english, text=german), draft("4", "42"), draft("5", "```python\nfür = 'das ist ein deutscher Satz in einem Programm'\n```")], language="en")
    assert ends(kept) == {"2": ("refused", "answer", "language de, not en"), "3": ("refused", "request", "language de, not en")}
    with pytest.raises(LimbeckError, match="no language 'xx'"):
        keep([], language="xx")


TEST = "A farmer from Lower Saxony sells seventeen crates of unripe quinces to a travelling circus"


def test_a_repeated_test_is_shown_with_both_texts_and_refused_or_marked():
    index = Contamination([("quinces/test", "q7", TEST)])
    leaks = [draft("request", "fine", text=f"Please solve: {TEST}."), draft("answer", f"As they say, {TEST.lower()}!"), draft("clean", "fine")]
    kept = keep(leaks, contamination=index)
    assert ends(kept) == {"request": ("refused", "request", "repeats a test of quinces/test"), "answer": ("refused", "answer", "repeats a test of quinces/test")}
    assert [(h["id"], h["column"], h["test"], h["test_text"], h["refused"]) for h in kept.contamination] == [("request", "request", "q7", TEST, True), ("answer", "answer", "q7", TEST, True)]
    assert kept.contamination[0]["training_text"] == f"Please solve: {TEST}." and kept.accounts["contamination"] == {"quinces/test": 2}
    marked = keep(leaks, contamination=index, contaminated="flag")
    assert [r["meta"].get("contamination") for r in marked.records] == [["quinces/test"], ["quinces/test"], None] and len(marked.contamination) == 2


def test_an_answer_that_repeats_a_test_goes_and_the_others_stay():
    kept = keep([draft("1", TEST, "something else")], contamination=Contamination([("q/test", "7", TEST)]), per_request=2)
    assert [r["answer"] for r in kept.records] == ["something else"] and kept.accounts["draws"] == {"drawn": 2, "kept": 1, "answer: repeats a test of q/test": 1}


def test_what_other_sets_ask_is_not_repeated():
    kept = keep([draft("1", "x", text="What is the capital of France?"), draft("2", "y")], against=[("runs/old", "r9", "what is the capital of FRANCE")])
    assert kept.refused[0]["reason"] == "repeats a request of runs/old" and kept.refused[0]["repeats"] == "runs/old: r9" and [r["id"] for r in kept.records] == ["2"]
    with pytest.raises(LimbeckError, match="no set 'nowhere'"):
        keep_records([], section=KeepSection(against=("nowhere",)))


def test_near_repeats_are_found_inside_a_set_and_across_batches():
    long = "please write a formula that adds the amounts of all rows whose region is north and whose month is {} of the year"
    drafts = [draft("first", "a", text=long.format("January"))] + [draft(f"n{n}", "b", text=f"{n} {n * 7} {n * n} apples") for n in range(600)] + [draft("last", "c", text=long.format("February"))]
    kept = keep(drafts, duplicates="minhash", near=0.7)
    assert kept.refused[-1]["id"] == "last" and kept.refused[-1]["repeats"] == "first" and 0.7 <= kept.refused[-1]["similarity"] < 1
    assert keep(drafts, duplicates="exact").accounts["kept"] == 602


def test_the_same_words_about_another_table_are_another_request():
    drafts = [draft("1", "a", text="add them", context={"table": {"headers": ["x"]}}), draft("2", "b", text="add them", context={"table": {"headers": ["y"]}}), draft("3", "c", text="Add them.", context={"table": {"headers": ["x"]}})]
    for how in ("exact", "minhash"):
        assert [r["id"] for r in keep(drafts, duplicates=how).records] == ["1", "2"]


def test_an_objection_ends_a_request_and_its_text_is_not_written_down(tmp_path):
    (tmp_path / "list.txt").write_text("id:7\n")
    kept = keep([draft("7", "fine"), draft("8", "fine")], opt_out=OptOut.load([tmp_path / "list.txt"]))
    assert [r["id"] for r in kept.records] == ["8"] and kept.refused[0]["reason"].startswith("objection") and kept.refused[0]["text"] == kept.refused[0]["answer"] == ""


def test_the_card_says_what_became_of_each_request():
    class Name:
        name, version = "toy", "1"

    kept = keep([draft("1", "fine"), draft("2", ""), draft("3", status="failed", reason="timeout"), draft("4", TEST)], contamination=Contamination([("q/test", "7", TEST)], not_looked_at={"gated": "no access"}))
    facts = {**kept.accounts, "dev": 1, "held_out": 2, "mixed": 3, "records": 4, "sha256": "abc", "spend": {"paid": {"requests": 4, "tokens_in": 10, "tokens_out": 20, "cost_usd": None}}}
    card = write_card(Name, Name, kept, facts, kept.section, [Origin(role="generator", model="m", terms="apache-2.0")], "## Terms\n\nfree")
    for said in ("Asked 4, kept 1 (25.0%), refused 2, failed 1", "| failed | call | timeout | 1 |", "| refused | answer | empty | 1 |", "gated (no access)", TEST, "price unknown", "| generator | m | apache-2.0 |", "(3 of them from other sets)", "SHA-256 of data.jsonl.gz: abc"):
        assert said in card
