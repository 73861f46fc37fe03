"""The catalogue: every claim with standing and source; estimators tried on what is official."""

import json
import subprocess
import sys

import numpy as np
import pytest

from limbeck.catalog.estimators import (
    combine,
    estimate,
    fit_law,
    known_models,
    logit_rank,
    price_law,
    price_ratio_errors,
    probe_law,
    quantiles,
    throughput_bound,
    width_law,
)
from limbeck.catalog.facts import STANDINGS, load_claims, load_open_models, load_scores, misprints, read_claims
from limbeck.catalog.showing import (
    believed_range,
    describe,
    describe_benchmark,
    find_claims,
    like_with_like,
    score_points,
)
from limbeck.catalog.trials import all_trials, combination_trial
from limbeck.errors import LimbeckError


def test_every_claim_has_a_standing_a_source_and_a_date():
    assert len(load_claims()) >= 244 and len(load_scores()) == 332
    for claim in load_claims():
        assert claim.standing in STANDINGS and claim.source and claim.date, claim
        assert claim.standing != "official" or claim.total_B


def test_the_famous_cases_stand_as_they_should():
    turbo = {c.total_B: c.standing for c in find_claims("ChatGPT")}
    assert turbo[20] == "retracted" and turbo[175] == "estimated"
    low, high = believed_range(find_claims("gpt-3.5-turbo"))
    assert low == 7 and high > 175  # the retracted 20 counts for nothing; there is no one number
    mini = [c.total_B for c in find_claims("openai/GPT-4o mini")]
    assert {8, 40} < set(mini) and believed_range(find_claims("llama 3.1 8b instruct")) in {(8, 8), (8, 8.03)}
    with pytest.raises(LimbeckError, match="no model"):
        find_claims("gpt-4o-mni")


def test_the_papers_one_misprint_is_found():
    [(row, mean)] = misprints()
    assert row.model.startswith("GPT-4o") and row.scores["aggregate"] == 0.4682 and mean == pytest.approx(0.5581, abs=1e-4)


def test_laws_are_fitted_on_official_sizes_and_tested_on_families_left_out():
    law = fit_law([0, 1, 2, 3, 4], [1, 10, 100, 1000, 10000], ["a", "a", "b", "b", "c"])
    assert law.slope == pytest.approx(1) and max(law.errors) == pytest.approx(1) and law.predict(2.5) == pytest.approx(10**2.5)
    odd = fit_law([0, 1, 2, 3, 4], [1, 10, 100, 1000, 50000], ["a", "a", "b", "b", "c"])
    assert odd.errors[-1] == pytest.approx(5) and odd.predict(4) > 10000  # the odd one is judged by a law that has not seen it
    official = {c.model for c in load_claims() if c.standing == "official"}
    assert len(known_models()) > 90 and all(m.model in official and m.active_B <= m.total_B for m in known_models())
    assert {m.model for m in load_open_models()} <= official and all(m.source for m in load_open_models())
    assert price_law().n == 80 and price_ratio_errors([(8, 0.1), (4, 0.1)]) == [2, 2]
    assert len(price_ratio_errors()) == price_law().n * (price_law().n - 1)
    with pytest.raises(ValueError, match="four models"):
        fit_law([1], [1], ["a"])


def test_the_presss_arithmetic_errs_more_than_the_law_and_the_probe_as_much_as_its_authors_say():
    law, press, probe, width = (quantiles(e) for e in (price_law("active").errors, price_ratio_errors(), probe_law().errors, width_law().errors))
    assert law[0] < press[0] and law[1] < press[1]
    assert probe == (pytest.approx(1.556, abs=0.06), pytest.approx(3.515, abs=0.1))  # arXiv:2604.24827, families left out
    assert width[1] < 2.5


def test_the_combination_is_tried_on_models_whose_family_its_laws_have_not_seen():
    trial = combination_trial()
    assert trial.n > 60 and trial.coverage is not None and trial.coverage > 0.85 and trial.median < quantiles(price_law("total").errors)[0]
    assert trial in all_trials() and len({t.method for t in all_trials()}) == 6


def test_a_decode_speed_bounds_and_a_width_estimates(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"model": "mine", "standing": "undisclosed", "source": "me", "tokens_per_s": 100, "bandwidth_gb_s": 3350, "gpus": 2, "width": 4096, "price_out_usd": 50}\n')
    found = {e.method: e for e in estimate(read_claims(path))}
    assert found["decode speed"].high_B == pytest.approx(33.5) and found["decode speed"].of == "active"
    assert 4 < found["hidden width"].value_B < 12 and "dense" in found["hidden width"].caveat
    assert "outside what the law has seen" in found["price law, active"].caveat and "outside" not in found["hidden width"].caveat
    totals = [e for e in found.values() if e.of == "total" and e.method != "combined"]
    assert "above the decode bound" in combine(totals, 0.01).caveat and "above" not in combine(totals, 1e6).caveat


def test_the_papers_table_is_drawn_again_with_standings_and_its_misprint():
    done = subprocess.run([sys.executable, "-m", "limbeck", "catalog", "--benchmark", "medec"], capture_output=True, text=True, check=True).stdout
    assert "20B retracted" in done and ".4682 !" in done and "its parts give 0.5581" in done and max(map(len, done.splitlines())) <= 100
    rows = describe_benchmark("medec", None)["rows"]
    assert len(rows) == 14 and [r["model"] for r in rows if r["aggregate_of_parts"]] == ["GPT-4o"]
    groups = describe_benchmark("GPQA", None)["settings"]
    assert len(groups) > 1 and all(len({s["setting"] for s in g}) == 1 for g in groups.values())
    with pytest.raises(LimbeckError, match="no published scores"):
        describe_benchmark("Foo", None)


def test_the_width_of_a_head_is_seen_in_its_logits():
    random = np.random.default_rng(0)
    for width in (16, 48):
        assert logit_rank(random.normal(size=(96, width)) @ random.normal(size=(width, 300))) == width
    assert throughput_bound(100, 3350) == pytest.approx(16.75)


def test_estimates_are_ranges_with_their_errors():
    found = {e.method: e for e in estimate(find_claims("gpt-4o-mini"))}
    assert set(found) == {"price law, active", "price law, total", "price ratio", "knowledge probe", "combined"}
    both, parts = found["combined"], [found["price law, total"].value_B, found["knowledge probe"].value_B]
    assert min(parts) <= both.value_B <= max(parts) and both.low_B < both.value_B < both.high_B and "inside the range" in both.error
    assert all(e.low_B < e.value_B < e.high_B and "90 %" in e.error for e in found.values() if e is not both)


def test_scores_compare_only_within_a_setting():
    groups = like_with_like(load_scores())
    assert len([k for k in groups if k[0] == "MMLU"]) > 3
    points = score_points("MMLU", "0-shot CoT, micro avg 14,042")
    assert {"official", "claimed"} >= {p["standing"] for p in points if p["standing"] != "undisclosed"} and len(points) >= 5


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{oops", "no JSON"), ("[1]", "no JSON object"), ('{"model": "x", "standing": "official"}', "no 'source'"), ('{"model": "x", "standing": "sure", "source": "me"}', "no standing"),
        ('{"model": "x", "standing": "official", "source": "me", "size": 3}', "unknown field"), ('{"model": "x", "standing": "official", "source": "me", "total_B": -3}', "no positive number"),
    ],
)  # fmt: skip
def test_a_users_claims_are_checked(tmp_path, line, message):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"model": "mine", "standing": "official", "source": "me", "total_B": 3}\n' + line + "\n")
    with pytest.raises(LimbeckError, match=message) as problem:
        read_claims(path)
    assert "line 2" in str(problem.value)


def test_a_users_claims_are_added(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"model": "my-model", "standing": "official", "source": "me", "total_B": 3}\n')
    assert find_claims("My Model", load_claims(str(path)))[0].total_B == 3


def test_the_command_prints_one_document_for_machines():
    done = subprocess.run([sys.executable, "-m", "limbeck", "catalog", "gpt-4o-mini", "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == json.loads(json.dumps(describe("gpt-4o-mini")))
    wide = subprocess.run([sys.executable, "-m", "limbeck", "catalog", "gpt-3.5-turbo"], capture_output=True, text=True, check=True).stdout
    assert "retracted" in wide and max(map(len, wide.splitlines())) <= 100


def test_a_figure_draws_every_claim_by_its_standing(tmp_path):
    from limbeck.report.sizes import scores_of, size_figure, size_points

    scores, shown = scores_of("medec")
    points = size_points(scores, load_claims())
    turbo = [p for p in points if p["model"] == "ChatGPT"]
    assert {p["standing"] for p in turbo} == {"claimed", "retracted"} and [p["B"] for p in turbo if p["standing"] == "retracted"] == [20]
    assert any(p["standing"] == "official" for p in points) and "925" in shown
    drawn, _ = size_figure("MMLU")
    assert drawn.startswith("<svg") and "Llama" in drawn
    with pytest.raises(LimbeckError, match="no published scores"):
        size_figure("nothing")
    with pytest.raises(LimbeckError, match="no scores with the setting"):
        size_figure("MMLU", "7-shot")
