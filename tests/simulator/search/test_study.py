"""Goals and limits: which measures they name, at which quantile, and what is said where they can't be had."""

import math
from pathlib import Path

import numpy as np
import pytest
from foretrain.core.errors import ConfigError
from foretrain.core.quantity import Quantity
from foretrain.simulator.search.evaluate import MACHINES, Evaluator
from foretrain.simulator.search.goals.measures import MEASURES
from foretrain.simulator.search.study import Study
from hypothesis import given
from hypothesis import strategies as st

SERVED = {"serving": {"tokens": "1T"}}
EXAMPLES = Path(__file__).parents[3] / "examples"
NEEDS_MORE = {"co2e_t": {"energy": {"grid_g_co2e_per_kwh": 300}}, "epochs": {"data": {"unique_tokens": "50B"}}}


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_is_finite_on_a_complete_plan(make_study, name):
    study = make_study(objective=name, run=NEEDS_MORE.get(name), **SERVED)
    found = Evaluator(study)(study.space.current())
    assert math.isfinite(found.goals[0])
    assert found.feasible


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"objective": "losses"}, "got 'losses'; did you mean loss_nats\\? expected one of loss_nats"),
        ({"objective": "loss_nats.github"}, "no loss of 'github'"),
        ({"objective": ["loss_nats", "loss_nats"]}, "twice"),
        ({"objective": {"minimise": "cost_usd", "maximise": "mfu"}}, "either minimise or maximise"),
        ({"objective": {"minimise": "cost_usd", "weights": {"a": 1}}}, "weights"),
        ({"objective": {"minimise": "loss_nats", "quantile": 1.5}}, "quantile"),
        ({"objective": []}, "objective"),
        ({"constraints": {"cost_usd": {}}}, "at_most"),
        ({"constraints": {"cost_usd": {"at_most": -1}}}, "above 0"),
        ({"constraints": {"cost_usd": {"at_most": "a lot"}}}, "expected a number"),
        ({"constraints": {"cost_usd": {"at_most": 1, "at_least": 2}}}, "at_least"),
        ({"constraints": {"cost_usd": {"at_most": 1, "chance": 0}}}, "chance"),
        (
            {"constraints": {"cost_usd": {"at_most": 1, "chance": "100%"}}},
            r"chance: got '100%'; expected",
        ),
        ({"constraints": {"cost_usd": {"at_most": 1, "chance": "often"}}}, "chance: got 'often'"),
        ({"constraints": {"wall_clock_days": {"at_most": "3 parsecs"}}}, "duration"),
        ({"constraints": {"nonsense": 3}}, "nonsense"),
        ({"constraints": {"lifetime_cost_usd": "3M"}}, "serving.tokens"),
        ({"constraints": {"epochs": 4}}, "unique_tokens"),
        ({"search": {"trials": 0}}, "trials"),
        ({"search": {"sampler": "best"}}, "sampler"),
        ({"space": {}}, "space"),
        ({"extra": 1}, "unknown key"),
        ({"objectives": "cost_usd"}, "only one of the two"),
        ({"objective": "cost_usd", "run": {"hardware": {"price_usd_per_hour": None}}}, "price"),
        ({"objective": "wall_clock_days", "run": {"hardware": {"accelerator": None}}}, "hardware.accelerator"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_a_study_lacks_is_said_when_it_is_read(make_study, parts, message):
    with pytest.raises(ConfigError, match=message):
        make_study(**parts)


@pytest.mark.parametrize("path", ["study.yaml", "project/study.yaml"])
def test_the_examples_are_studies(web_text, path):
    study = Study.load(EXAMPLES / path, predictor=web_text)
    assert Evaluator(study)(study.space.current()).goals[0] > 0
    assert study.limits


def test_the_runs_own_targets_are_limits_unless_the_study_speaks_of_them(make_study):
    targets = {"targets": {"budget_usd": "1M", "deadline": "30d", "perplexity": 8}}
    names = {limit.name: limit.bound for limit in make_study(run=targets).limits}
    assert names == {"cost_usd": 1e6, "wall_clock_days": 30}
    cheap = make_study(run=targets, objective="cost_usd", constraints={"wall_clock_days": "10d"})
    assert {limit.name: limit.bound for limit in cheap.limits} == {
        "cost_usd": 1e6, "wall_clock_days": 10, "perplexity": 8,
    }  # fmt: skip
    stated = make_study(run=targets, objective="cost_usd", constraints={"loss_nats": 2.2})
    assert "perplexity" not in {limit.name for limit in stated.limits}


def test_a_chance_is_a_share_of_the_draws(make_study):
    """P(cost ≤ b) ≥ p where, and only where, the limit isn't exceeded."""
    for chance in (0.1, 0.5, 0.8, 0.9):
        study = make_study(constraints={"cost_usd": {"at_most": 30_000, "chance": chance}})
        evaluator = Evaluator(study)
        for tokens in np.geomspace(2e10, 4e11, 9):
            values = {**study.space.current(), "data.tokens": float(tokens)}
            found, draws = evaluator(values), evaluator.forecast(values).cluster.draws.cost_usd
            assert (found.excess["cost_usd"] <= 0) == (np.mean(draws <= 30_000) >= chance - 1e-9)


def test_chances_and_quantiles_may_be_percentages(make_study):
    study = make_study(
        objective={"minimise": "loss_nats", "quantile": "90%"},
        constraints={"cost_usd": {"at_most": "1M", "chance": "95 %"}},
    )
    assert (study.goals[0].goal.quantile, study.limits[0].chance) == (0.9, 0.95)


def test_cautious_goals_are_never_better(make_study):
    values = make_study().space.current()
    goals = [
        Evaluator(make_study(objective={"minimise": "loss_nats", "quantile": q}))(values).goals[0]
        for q in (0.1, 0.5, 0.9)
    ]
    assert goals == sorted(goals)
    assert goals[0] < goals[2]


def test_a_trial_is_the_forecast(make_study):
    study = make_study(objective=["loss_nats", "cost_usd", {"minimise": "wall_clock_days", "quantile": 0.9}])
    evaluator = Evaluator(study)
    values = {**study.space.current(), "model.params": 2e9}
    found, told = evaluator(values), evaluator.forecast(values)
    assert found.goals[0] == told.headline.loss_nats.median
    assert found.goals[1] == told.cluster.cost_usd.median
    assert found.goals[2] == pytest.approx(told.cluster.wall_clock_days.intervals[0.8][1])


def test_many_plans_at_once_are_the_same_as_one_by_one(make_study):
    study = make_study()
    plans = [{**study.space.current(), "data.tokens": tokens} for tokens in (2e10, 5e10, 3e11)]
    together = Evaluator(study).many(plans)
    for plan, one in zip(plans, together, strict=True):
        assert Evaluator(study)(plan).goals == pytest.approx(one.goals, rel=1e-12)


def test_a_plan_that_cant_run_exceeds_every_limit_and_says_why(make_study):
    space = {"model.params": {"low": "300M", "high": "300B", "log": True}}
    study = make_study(space=space, constraints={"cost_usd": "1M"}, run={"hardware": {"count": 8}})
    found = Evaluator(study)({"model.params": 3e11, "data.tokens": 1e11})
    assert not found.feasible
    assert found.excess == {MACHINES: 1.0, "cost_usd": 1.0}
    assert "memory" in found.why
    assert math.isfinite(found.goals[0])


def test_over_training_pays_where_the_model_is_served_a_lot(make_study):
    """At equal loss, the more tokens are served the smaller the model that is cheapest over its life."""

    def lifetime(params: float, served: str) -> float:
        study = make_study(objective="lifetime_cost_usd", serving={"tokens": served})
        tokens = 6e20 / (6 * params)
        return Evaluator(study)({"model.params": params, "data.tokens": tokens}).goals[0]

    assert lifetime(5e8, "100T") < 0.5 * lifetime(2e9, "100T")
    assert lifetime(5e8, "1B") > 0.5 * lifetime(2e9, "1B")


QUANTITY = st.tuples(*[st.floats(-3, 3)] * 9).map(sorted)


@given(QUANTITY, st.floats(0.03, 0.97), st.floats(0.03, 0.97))
def test_quantiles_of_a_quantity_are_monotone_and_exact_where_stated(values, one, other):
    levels = (0.95, 0.9, 0.8, 0.5)
    intervals = {level: (values[n], values[8 - n]) for n, level in enumerate(levels)}
    quantity = Quantity(values[4], intervals)
    for level, (low, high) in intervals.items():
        assert quantity.quantile((1 - level) / 2) == pytest.approx(low)
        assert quantity.quantile((1 + level) / 2) == pytest.approx(high)
    low, high = sorted((one, other))
    assert quantity.quantile(low) <= quantity.quantile(high) + 1e-12
