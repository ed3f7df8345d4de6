"""Money and time: tokens up to the limits, the best size within them, what more of each buys."""

import json
import math

import numpy as np
import pytest
from foretrain.core.errors import ConfigError, InfeasibleError, InputError
from foretrain.simulator.allocation.under_limits.affordable import AffordableSteps, Limits, affordable, with_tokens
from foretrain.simulator.allocation.under_limits.devices import with_devices
from foretrain.simulator.allocation.under_limits.marginal import what_more_buys
from foretrain.simulator.allocation.under_limits.money import money_optimal
from foretrain.simulator.cluster.estimate import estimate
from foretrain.simulator.config.run_config import RunConfig


def over(config: RunConfig, *overrides: str) -> RunConfig:
    return RunConfig.from_mapping(config.to_mapping(), overrides=overrides)


@pytest.fixture(scope="module")
def steps():
    return AffordableSteps()


# tokens within limits


@pytest.mark.parametrize(
    ("limits", "binding"),
    [
        (Limits(cost_usd=5e5), "cost_usd"),
        (Limits(wall_clock_days=30), "wall_clock_days"),
        (Limits(cost_usd=5e5, wall_clock_days=10), "wall_clock_days"),
        (Limits(cost_usd=1e5, wall_clock_days=10), "cost_usd"),
    ],
)
def test_tokens_fill_the_limits_and_never_pass_them(seven, steps, limits, binding):
    run = affordable(seven, limits, steps)
    assert run.binding == binding
    spent = getattr(run.estimate, binding).median / getattr(limits, binding)
    assert 0.995 < spent <= 1.0
    again = estimate(run.config, draws=1000)
    assert again.layout == run.estimate.layout, "the layout that was found is stated in the plan"
    assert getattr(again, binding).median == pytest.approx(getattr(run.estimate, binding).median)


def test_a_chance_leaves_room(seven, steps):
    sure, even = (affordable(seven, Limits(cost_usd=5e5, chance=chance), steps) for chance in (0.9, 0.5))
    assert sure.config.data.tokens < even.config.data.tokens
    assert np.mean(sure.estimate.draws.cost_usd <= 5e5) == pytest.approx(0.9, abs=0.02)
    assert f"{sure.config.data.tokens:.4g}" == f"{sure.config.data.tokens:.6g}", "a number that can be written"


def test_a_reservation_is_paid_whether_it_is_used_or_not(seven, steps):
    reserved = over(
        seven, "prices={purchase: reserved, reserved: 20d, reserved_usd_per_hour: 1.5, on_demand_usd_per_hour: 3}"
    )
    most = 20 * 24 * 512 * 1.5
    run = affordable(reserved, Limits(cost_usd=most * 1.5), steps)
    assert run.estimate.cost_usd.median == pytest.approx(most * 1.5, rel=0.005)
    with pytest.raises(InfeasibleError, match=r"budget: .* USD isn't enough"):
        affordable(reserved, Limits(cost_usd=most * 0.5), steps)


def test_too_little_for_a_step_says_so(seven, steps):
    with pytest.raises(InfeasibleError, match=r"budget: 5 USD isn't enough; expected at least about"):
        affordable(seven, Limits(cost_usd=5.0), steps)
    with pytest.raises(InfeasibleError, match=r"deadline: 1e-05 days aren't enough"):
        affordable(seven, Limits(wall_clock_days=1e-5), steps)


def test_a_budget_needs_a_price(seven, steps):
    free = over(seven, "hardware.price_usd_per_hour=0")
    for plan in (over(seven, "hardware.price_usd_per_hour=null"), free):
        with pytest.raises(ConfigError, match="expected a price"):
            affordable(plan, Limits(cost_usd=1e6), steps)
    with pytest.raises(InputError, match="both are missing"):
        affordable(seven, Limits(), steps)


# the best size


@pytest.fixture(scope="module")
def best(seven, web):
    return money_optimal(seven, web, budget_usd=1e6)


def test_the_best_size_beats_every_other_for_the_same_money(best, seven, web):
    assert min(row.loss_nats for row in best.sizes) == pytest.approx(best.loss_nats.median, abs=2e-4)
    assert best.plan.params_total == seven.model.params_total
    assert best.plan.loss_nats > best.loss_nats.median
    assert all(row.cost_usd <= 1e6 for row in best.sizes)
    assert best.cluster.cost_usd.median <= 1e6
    assert best.cluster.p_budget == pytest.approx(0.5, abs=0.05)
    low, high = best.params.intervals[0.9]
    assert low < best.params.median < high
    few, many = best.tokens.intervals[0.9]
    assert few < best.tokens.median < many


def test_machines_hardly_move_the_optimum_of_equal_compute(best):
    """Speeds of sizes differ by some 10 %, and the loss is flat: the best buy is nearly compute-optimal."""
    assert 0.4 < best.over_training.factor < 2.5
    assert best.over_training.penalty_nats.median < 0.005


def test_the_best_plan_can_be_run_as_it_is(best, web):
    from foretrain.simulator.forecast.forecast import forecast

    config = RunConfig.from_mapping(best.config.to_mapping())
    said = forecast(config, web)
    assert said.headline.loss_nats.median == pytest.approx(best.loss_nats.median, abs=2e-3)
    assert said.cluster.cost_usd.median == pytest.approx(1e6, rel=0.01)


def test_limits_of_the_plan_are_taken_where_none_are_stated(seven, web, best):
    """And twice the money buys a larger model and a lower loss."""
    found = money_optimal(seven, web)
    assert found.limits == Limits(cost_usd=5e5, wall_clock_days=30.0)
    assert found.binding == "cost_usd"
    assert best.loss_nats.median < found.loss_nats.median
    assert best.params.median > found.params.median
    with pytest.raises(InputError, match="both are missing"):
        money_optimal(over(seven, "targets=null"), web)


def test_sizes_that_do_not_fit_are_left_out(seven, web):
    found = money_optimal(over(seven, "hardware.count=8", "optim.batch_tokens=1M"), web, deadline_days=100)
    assert found.left_out
    assert all("memory" in why or "no layout" in why for why in found.left_out.values())
    assert any(note.startswith("left out") for note in found.notes)


@pytest.mark.parametrize("chance", [0.0, 1.0, -1.0, math.nan])
def test_what_is_no_chance_is_refused(seven, web, chance):
    with pytest.raises(InputError, match="chance: got"):
        money_optimal(seven, web, budget_usd=1e6, chance=chance)


def test_a_plan_without_a_shape_or_machines_says_what_is_missing(web, plan):
    with pytest.raises(InputError, match=r"model\.architecture: is missing"):
        money_optimal(plan("7B", "2T"), web, budget_usd=1e6)


def test_json_of_money(best):
    facts = json.loads(json.dumps(best.to_dict(), allow_nan=False))
    assert facts["limits"] == {"cost_usd": 1e6, "wall_clock_days": None, "chance": 0.5}
    assert facts["params_total"]["median"] == best.config.model.params_total


# more accelerators


@pytest.mark.parametrize("count", [256, 500, 640, 1000, 1512])
def test_a_batch_moves_where_the_accelerators_cannot_share_it(seven, steps, count):
    moved, note = with_devices(seven, count, steps)
    assert moved.hardware.count == count
    assert estimate(moved, draws=100).devices == count
    change = moved.optim.batch_tokens / seven.optim.batch_tokens - 1
    assert abs(change) <= 0.3
    assert (note is None) == (change == 0.0)


def test_accelerators_that_no_batch_fits_are_refused(seven, steps):
    with pytest.raises(InfeasibleError):
        with_devices(over(seven, "layout={tp: 3}"), 512, steps)


# what more buys


@pytest.fixture(scope="module")
def more(seven, web):
    return what_more_buys(seven, web, gpus=512)


def row_of(more, words):
    return next(row for row in more.rows if words in row.what)


def test_more_of_anything_never_hurts(more):
    for row in more.rows:
        if row.same_model is not None:
            assert row.same_model.loss_change_nats.median <= 1e-12
            assert row.best_model.loss_change_nats.median <= row.same_model.loss_change_nats.median + 2e-4


def test_a_week_more_is_a_week_and_more_accelerators_take_as_long(more):
    assert row_of(more, "1 week more").same_model.days_change == pytest.approx(7.0, abs=0.1)
    doubled = row_of(more, "512 more accelerators (+100%)").same_model
    assert (doubled.devices, doubled.days_change) == (1024, pytest.approx(0.0, abs=0.06))
    assert 1.5 < doubled.tokens / more.tokens < 2.1
    money = row_of(more, "10% more money")
    for change in (money.same_model, money.best_model):
        assert change.cost_change_usd == pytest.approx(0.1 * more.cost_usd.median, rel=0.06)
    twice = row_of(more, "twice the tokens").same_model
    assert twice.tokens == 2 * more.tokens


def test_changes_hold_only_what_the_runs_do_not_share(more, seven, web):
    """Each run's own interval is some 6 % of the loss; the difference of two is known far better."""
    week = row_of(more, "1 week more").same_model
    low, high = week.loss_change_nats.intervals[0.9]
    own_low, own_high = more.loss_nats.intervals[0.9]
    assert high - low < 0.35 * (own_high - own_low)
    assert low < week.loss_change_nats.median < high
    exact = math.exp(week.loss_nats) - math.exp(more.loss_nats.median)
    assert week.perplexity_change.median == pytest.approx(exact)
    assert week.loss_change_nats.chance_lower == week.perplexity_change.chance_lower > 0.5
    days, cost = (week.of_machines[name] for name in ("wall_clock_days", "cost_usd"))
    assert (days.median, cost.median) == pytest.approx((week.days_change, week.cost_change_usd))
    assert days.chance_lower == cost.chance_lower == 0.0, "more steps on the same machines"


def test_one_definition_of_a_difference(more, seven, web):
    """`optimal more` says of twice the tokens what `compare` says of the two plans."""
    from foretrain.simulator.forecast.compare import compare

    found = compare([seven, with_tokens(seven, 4e12)], web).differences[1]["loss_nats"]
    told = row_of(more, "twice the tokens").same_model.loss_change_nats
    assert told.median == pytest.approx(found.median)
    assert told.intervals[0.9] == pytest.approx(found.intervals[0.9])
    assert told.chance_lower == pytest.approx(found.chance_lower)


def test_more_tokens_by_hand(more, seven, web):
    from foretrain.simulator.forecast.forecast import forecast

    doubled = forecast(with_tokens(seven, 4e12), web).headline.loss_nats.median
    assert row_of(more, "twice the tokens").same_model.loss_nats == pytest.approx(doubled)


def test_what_cannot_be_done_is_said(seven, web):
    found = what_more_buys(over(seven, "layout={tp: 8, pp: 1}"), web, gpus=1, weeks=2)
    row = row_of(found, "1 more accelerator")
    assert (row.same_model, row.best_model) == (None, None)
    assert row.note
    assert row_of(found, "2 weeks more").same_model.days_change == pytest.approx(14.0, abs=0.2)


@pytest.mark.parametrize(
    ("kind", "words"),
    [({"weeks": 0.0}, "weeks"), ({"gpus": 0}, "gpus"), ({"budget": -0.1}, "budget"), ({"weeks": math.nan}, "weeks")],
)
def test_nothing_more_is_refused(seven, web, kind, words):
    with pytest.raises(InputError, match=f"{words}: got"):
        what_more_buys(seven, web, **kind)


def test_a_plan_without_machines_has_nothing_to_add(web, plan):
    with pytest.raises(ConfigError, match=r"hardware\.count: missing"):
        what_more_buys(plan("7B", "2T"), web)


def test_json_of_more(more):
    facts = json.loads(json.dumps(more.to_dict(), allow_nan=False))
    assert set(facts) == {"plan", "more", "notes", "version"}
    assert np.isfinite(facts["more"][1]["same_model"]["loss_change_nats"]["median"])
