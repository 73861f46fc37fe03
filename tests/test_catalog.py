"""The catalogue: every claim with standing and source; estimators tried on what is official."""

import json
import subprocess
import sys

import numpy as np
import pytest

from limbeck.catalog.estimators import (
    estimate,
    fit_price_law,
    logit_rank,
    price_ratio_errors,
    priced,
    quantiles,
    throughput_bound,
)
from limbeck.catalog.facts import STANDINGS, load_claims, load_scores, misprints, read_claims
from limbeck.catalog.showing import believed_range, describe, find_claims, like_with_like, score_points
from limbeck.errors import LimbeckError


def test_every_claim_has_a_standing_a_source_and_a_date():
    assert len(load_claims()) == 239 and len(load_scores()) == 332
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


def test_the_price_law_is_fitted_on_official_sizes_and_tested_by_leaving_out():
    known = {f"m{i}": (size, 0.01 * size**0.5) for i, size in enumerate((1, 8, 70, 400, 30))}
    law = fit_price_law(known)
    assert law.slope == pytest.approx(2) and max(law.errors) == pytest.approx(1) and law.predict(0.1) == pytest.approx(100)
    assert all(any(c.model == m and c.standing == "official" for c in load_claims()) for m in priced())
    real = fit_price_law()
    assert real.n == len(priced()) and quantiles(real.errors)[1] > 1.5  # nobody should believe it to the letter
    assert min(price_ratio_errors()) >= 1 and len(price_ratio_errors()) == real.n * (real.n - 1)
    with pytest.raises(ValueError, match="four models"):
        fit_price_law({"a": (1, 1)})


def test_the_width_of_a_head_is_seen_in_its_logits():
    random = np.random.default_rng(0)
    for width in (16, 48):
        assert logit_rank(random.normal(size=(96, width)) @ random.normal(size=(width, 300))) == width
    assert throughput_bound(100, 3350) == pytest.approx(16.75)


def test_estimates_are_ranges_with_their_errors():
    found = {e.method: e for e in estimate(find_claims("gpt-4o-mini"))}
    assert set(found) == {"price law", "price ratio", "knowledge probe", "combined"}
    both = found["combined"]
    assert min(found["price law"].value_B, found["knowledge probe"].value_B) <= both.value_B <= max(found["price law"].value_B, found["knowledge probe"].value_B)
    assert both.low_B < both.value_B < both.high_B and "not tested" in both.error
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
