"""Plans: rules of experience kept, the budget kept, uncertainty lowered, bad asks refused."""

import math

import pytest

from limbeck.errors import LimbeckError
from limbeck.predict.plan import Candidate, Design, choose_rungs, parse_budget, plain_grid

TARGET = Candidate(size=1e9, data=2e10, compute=1.2e20)


def test_a_plan_keeps_its_budget_with_a_reserve_and_the_rules():
    plan = choose_rungs(plain_grid(TARGET), TARGET, 1.2e18)
    roles = [r.role for r in plan.rungs]
    assert plan.compute <= 0.85 * 1.2e18 and plan.spread < plan.prior_spread
    assert roles.count("held-out") == 1 and roles.count("over-trained") == 1 and roles.count("seed") >= 1
    assert len({r.candidate.size for r in plan.rungs}) >= 4 and len({round(r.candidate.ratio, 3) for r in plan.rungs}) >= 2
    top = next(r for r in plan.rungs if r.role == "held-out")
    assert all(r.candidate.compute <= top.candidate.compute / 1.5 * 1.0001 for r in plan.rungs if r is not top)


def test_the_over_trained_rung_is_a_small_one_seen_much_longer():
    plan = choose_rungs(plain_grid(TARGET), TARGET, 1.2e18)
    over = next(r for r in plan.rungs if r.role == "over-trained").candidate
    top = next(r for r in plan.rungs if r.role == "held-out").candidate
    assert over.size < top.size and over.ratio >= 2.9 * top.ratio


def test_more_money_leaves_less_doubt():
    spreads = [choose_rungs(plain_grid(TARGET), TARGET, b).spread for b in (1.2e17, 1.2e18, 1.2e19)]
    assert spreads[0] > spreads[1] > spreads[2]


def test_the_same_rungs_repeated_tell_less_than_the_same_number_of_different_ones():
    grid = plain_grid(TARGET)
    design = Design(grid, TARGET)
    large = max((i for i, c in enumerate(grid) if c.compute < 1e18), key=lambda i: grid[i].compute)
    apart = [large, *(i for i, c in enumerate(grid) if 1e17 < c.compute < 1e18 and i != large)][:4]
    assert design.variance(apart) < design.variance([large]) < design.variance([])


def test_a_budget_that_pays_for_no_ladder_says_what_one_costs():
    with pytest.raises(LimbeckError, match="pays for no ladder") as problem:
        choose_rungs([c for c in plain_grid(TARGET) if c.size > 5e7], TARGET, 1e15)
    assert "costs" in problem.value.fix


def test_too_few_sizes_are_said():
    two = [c for c in plain_grid(TARGET) if c.size > 2e8][:8]
    with pytest.raises(LimbeckError) as problem:
        choose_rungs([c for c in two if c.compute < TARGET.compute], TARGET, 1e19)
    assert "sizes" in problem.value.fix or "costs" in problem.value.fix


def test_a_target_no_larger_than_its_ladder_is_refused():
    with pytest.raises(LimbeckError, match="no larger than its ladder"):
        choose_rungs(plain_grid(TARGET), Candidate(size=1e6, data=2e7, compute=1.2e14), 1e20)


@pytest.mark.parametrize(("text", "said"), [("1e15", ("flop", 1e15)), ("2h", ("hours", 2.0)), ("30m", ("hours", 0.5)), ("$5", ("dollars", 5.0)), ("5usd", ("dollars", 5.0))])
def test_budgets_are_read(text, said):
    assert parse_budget(text) == said


@pytest.mark.parametrize("text", ["", "much", "-3h", "nan", "$0"])
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(LimbeckError, match="no budget"):
        parse_budget(text)


def test_no_budget_is_not_infinite():
    with pytest.raises(LimbeckError, match="no budget"):
        choose_rungs(plain_grid(TARGET), TARGET, math.inf)


def test_a_budget_below_every_candidate_pays_for_no_ladder():
    with pytest.raises(LimbeckError, match="pays for no ladder"):
        choose_rungs([], TARGET, 1e6)


def test_whole_examples_do_not_part_ratios_that_are_meant_to_be_equal():
    grid = [Candidate(size=size, data=round(ratio * size / 500) * 500.0, compute=6 * size * round(ratio * size / 500) * 500.0) for size in (2e4, 3e4, 5e4, 8e4, 1.3e5) for ratio in (0.5, 1.0, 2.0, 4.0)]
    plan = choose_rungs(grid, Candidate(size=2e6, data=1e6, compute=1.2e13), 1e13)
    assert len({rung.candidate.size for rung in plan.rungs}) >= 4
