"""One number of a plan at a time: what moves, by how much, and what nothing reads."""

import json

import pytest
from foretrain.core.errors import InputError
from foretrain.simulator.allocation.sensitivity.knobs import knobs
from foretrain.simulator.allocation.sensitivity.sensitivity import OUTCOMES, sensitivity
from foretrain.simulator.allocation.under_limits.affordable import AffordableSteps
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.predictor.storage.folder import load


@pytest.fixture(scope="module")
def turned(seven, web):
    return sensitivity(seven, web)


def row_of(result, key):
    return next(row for row in result.rows if row.key == key)


def test_the_outcomes_are_those_of_a_forecast(turned, seven, web):
    said = forecast(seven, web)
    assert turned.outcomes == {
        "loss_nats": pytest.approx(said.headline.loss_nats.median),
        "perplexity": pytest.approx(said.headline.perplexity.median),
        "cost_usd": pytest.approx(said.cluster.cost_usd.median),
        "wall_clock_days": pytest.approx(said.cluster.wall_clock_days.median),
    }


@pytest.mark.parametrize(
    ("key", "override"),
    [
        ("data.tokens", "data.tokens=2.2e12"),
        ("hardware.price_usd_per_hour", "hardware.price_usd_per_hour=2.2"),
        ("optim.lr", "optim.lr=3.3e-4"),
        ("reliability.restart", "reliability.restart=11min"),
    ],
)
def test_a_number_turned_up_gives_the_forecast_of_that_plan(turned, seven, web, key, override):
    row = row_of(turned, key)
    said = forecast(RunConfig.from_mapping(seven.to_mapping(), overrides=[override]), web)
    assert turned.outcomes["loss_nats"] + row.up["loss_nats"] == pytest.approx(said.headline.loss_nats.median)
    assert turned.outcomes["cost_usd"] + row.up["cost_usd"] == pytest.approx(said.cluster.cost_usd.median)


def test_changes_have_intervals_and_a_chance(turned):
    tokens, price = (row_of(turned, key) for key in ("data.tokens", "hardware.price_usd_per_hour"))
    for side, found in ((tokens.down, tokens.difference_down), (tokens.up, tokens.difference_up)):
        for name, difference in found.items():
            assert difference.median == pytest.approx(side[name], rel=1e-6, abs=1e-9)
            low, high = difference.intervals[0.9]
            assert low <= difference.median <= high
    assert tokens.difference_up["loss_nats"].chance_lower > 0.5 > tokens.difference_down["loss_nats"].chance_lower
    assert price.difference_up["cost_usd"].chance_lower == 0.0, "a dearer hour is dearer for the same hours"
    assert price.difference_up["loss_nats"].chance_lower == 0.5
    facts = tokens.to_dict()["difference_up"]["loss_nats"]
    assert facts["median"] == tokens.difference_up["loss_nats"].median


def test_signs_and_elasticities_are_what_they_must_be(turned):
    tokens, price, size = (
        row_of(turned, key) for key in ("data.tokens", "hardware.price_usd_per_hour", "model.params")
    )
    assert tokens.up["loss_nats"] < 0 < tokens.down["loss_nats"]
    assert tokens.elasticity["wall_clock_days"] == pytest.approx(1.0, abs=0.02)
    assert price.elasticity == {
        "loss_nats": 0.0,
        "perplexity": 0.0,
        "cost_usd": pytest.approx(1.0),
        "wall_clock_days": 0.0,
    }
    assert size.elasticity["loss_nats"] < 0 < size.elasticity["cost_usd"]
    assert row_of(turned, "hardware.count").elasticity["wall_clock_days"] == pytest.approx(-1.0, abs=0.2)


def test_largest_effects_come_first(turned):
    effects = [row.effect[0] for row in turned.rows]
    assert effects == sorted(effects, reverse=True)


def test_what_changes_nothing_is_listed(turned, seven, web):
    """A learning rate at the best of its flat basin; the plan's own is below it."""
    assert "data.tokens" not in turned.not_read
    assert row_of(turned, "optim.lr").up["loss_nats"] < 0
    at_best = RunConfig.from_mapping(seven.to_mapping(), overrides=["optim.lr=7e-4"])
    found = sensitivity(at_best, web)
    assert "optim.lr" in found.not_read
    assert row_of(found, "optim.lr").read is False


def test_a_predictor_that_reads_a_learning_rate_tells_what_it_does(seven):
    rates = row_of(sensitivity(seven, load("steplaw")), "optim.lr")
    assert rates.up["loss_nats"] != 0


def test_networks_are_read_though_steps_are_kept(seven, web):
    """The steps of shapes are worked out once; a network that is another must not be given the step of the first."""
    shapes = RunConfig.from_mapping(seven.to_mapping(), overrides=["hardware.inter_node_gbps=25"])
    assert row_of(sensitivity(shapes, web), "hardware.inter_node_gbps").up["wall_clock_days"] < 0


def test_shares_move_by_a_point_and_the_rest_gives_way(plan):
    config = plan("1B", "20B", mix={"web": 0.5, "code": 0.3, "wiki": 0.2}, optim={"lr": 3e-4})
    knob = next(knob for knob in knobs(config, AffordableSteps()) if knob.key == "data.mix.web")
    up, value, _ = knob.moved(1.1)
    assert value == pytest.approx(0.51)
    assert up.data.mix == pytest.approx({"web": 0.51, "code": 0.294, "wiki": 0.196})
    down, value, _ = knob.moved(0.9)
    assert (value, sum(down.data.mix.values())) == (pytest.approx(0.49), pytest.approx(1.0))


def test_a_share_at_its_end_moves_one_way_only(web, plan):
    config = plan("1B", "20B", mix={"web": 1.0, "code": 0.0})
    found = sensitivity(config, web)
    assert "data.mix.web" in found.cannot
    assert row_of(found, "data.mix.code").value_down is None
    assert "down: a share can't be" in row_of(found, "data.mix.code").note


def test_a_plan_without_machines_has_its_loss_only(web, plan):
    found = sensitivity(plan("7B", "2T", unique_tokens="500B"), web)
    assert [found.outcomes[name] is None for name in OUTCOMES] == [False, False, True, True]
    assert row_of(found, "model.params").value_up == pytest.approx(7.7e9)
    assert row_of(found, "data.unique_tokens").up["loss_nats"] < 0
    assert "reliability.restart" in found.not_read


def test_a_share_of_synthetic_tokens_moves_as_far_as_its_regime_allows(seven):
    data = seven.data.model_dump() | {"synthetic": {"share": 0.49, "regime": "accumulate"}}
    config = RunConfig.from_mapping(seven.to_mapping() | {"data": data})
    knob = next(knob for knob in knobs(config, AffordableSteps()) if knob.key == "data.synthetic.share")
    assert (knob.value, knob.moved(0.9)[1], knob.moved(1.1)[1]) == pytest.approx((0.49, 0.441, 0.5))
    assert knob.moved(0.9)[0].data.real_tokens > config.data.real_tokens
    assert not any(knob.key == "data.synthetic.share" for knob in knobs(seven, AffordableSteps()))


def test_failures_keep_how_uncertain_they_are(seven):
    knob = next(knob for knob in knobs(seven, AffordableSteps()) if knob.key.startswith("reliability.failures"))
    moved, value, _ = knob.moved(1.1)
    assert value == pytest.approx(1.1 * knob.value)
    assert moved.reliability.failure_rate_spread == seven.reliability.failure_rate_spread


@pytest.mark.parametrize("step", [0.0, -0.1, 0.6, float("nan")])
def test_steps_out_of_range_are_refused(seven, web, step):
    with pytest.raises(InputError, match="step: got"):
        sensitivity(seven, web, step=step)


def test_json(turned):
    facts = json.loads(json.dumps(turned.to_dict(), allow_nan=False))
    assert {"name", "predictor", "step", "outcomes", "knobs", "not_read", "cannot", "version"} == set(facts)
