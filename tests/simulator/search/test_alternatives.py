"""Named alternatives: each is what its name says, against the run as it is, and no plan is shown twice."""

import io
import json

import pytest
from foretrain.simulator.report.tables.study import study_view
from foretrain.simulator.search.optimize import optimize
from rich.console import Console

TOKENS = {"data.tokens": {"low": "10B", "high": "100B", "log": True}}


@pytest.fixture(scope="module")
def found(make_study):
    """A search of 16 plans for the least loss, with no limit but on time; the run as it is trains too long."""
    run = {"data": {"tokens": "400B"}}
    return optimize(
        make_study(run=run, constraints={"wall_clock_days": 20}, search={"trials": 16, "sampler": "random"})
    )


def medians(of) -> dict[str, float]:
    return {name: value.median for name, value in of.items()}


def test_each_is_what_its_name_says_and_none_is_shown_twice(found):
    named = {name: one for one in found.alternatives for name in one.names}
    assert found.alternatives[0].name == "best"
    assert set(named) == {"best", "same_money", "same_loss", "fastest"}
    own = medians(found.alternatives[0].baseline)
    money, loss, fastest = (medians(named[name].figures) for name in ("same_money", "same_loss", "fastest"))
    assert money["cost_usd"] <= own["cost_usd"]
    assert money["loss_nats"] < own["loss_nats"]
    assert loss["loss_nats"] <= own["loss_nats"] * (1 + 1e-9)
    assert loss["cost_usd"] < own["cost_usd"]
    assert fastest["loss_nats"] <= own["loss_nats"] * (1 + 1e-9)
    assert fastest["wall_clock_days"] == min(medians(one.figures)["wall_clock_days"] for one in found.alternatives)
    assert all(one.candidate.evaluation.feasible for one in found.alternatives)
    assert len({json.dumps(one.to_dict()["values"]) for one in found.alternatives}) == len(found.alternatives)
    assert named["best"].candidate is found.best


def test_shares_of_the_gain_and_differences_come_from_the_forecasts(found):
    best, *others = found.alternatives
    gain = best.baseline["loss_nats"].median - best.figures["loss_nats"].median
    for one in (best, *others):
        own = one.candidate
        assert own.forecast is not None
        less = one.baseline["loss_nats"].median - own.forecast.headline.loss_nats.median
        assert one.share_of_gain == pytest.approx(max(less, 0.0) / gain)
        assert own.difference["loss_nats"].median == pytest.approx(-less)
        assert own.difference["cost_usd"].median == pytest.approx(
            own.forecast.cluster.cost_usd.median - one.baseline["cost_usd"].median
        )
    assert best.share_of_gain == 1.0


def test_the_page_leads_with_them_and_ends_with_how_was_searched(found):
    shown = Console(width=200, file=io.StringIO())
    shown.print(study_view(found))
    lines = shown.file.getvalue().splitlines()
    assert found.alternatives[0].sentence in lines[0]
    for one in found.alternatives:
        (line,) = [line for line in lines if line.startswith(one.title)]
        assert one.plan in line
    assert "16 plans tried" in lines[-1]


def test_plans_that_are_one_are_named_together(make_study):
    """With tokens alone to vary, the best for the same money is the cheapest of that loss and the fastest."""
    search = {"trials": 6, "sampler": "random", "polish": False, "warm_start": False}
    space = {"data.tokens": ["50B", "100B"], "hardware.count": [64, 128]}
    found = optimize(make_study(objective="wall_clock_days", space=space, constraints={"loss_nats": 9}, search=search))
    names = [one.names for one in found.alternatives]
    assert len(set(names)) == len(names)
    plans = [one.plan for one in found.alternatives]
    assert len(set(plans)) == len(plans)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["alternatives"][0]["names"][0] == "best"


def test_without_machines_only_the_best_is_named(make_study):
    study = make_study(space=TOKENS, search={"trials": 4, "sampler": "random"}, run={"hardware": {"accelerator": None}})
    found = optimize(study)
    assert [one.names for one in found.alternatives] == [("best",)]
    assert "nats" in found.alternatives[0].sentence
    assert "USD" not in found.alternatives[0].sentence


def test_without_a_feasible_plan_the_smallest_relaxation_is_the_decision(make_study):
    search = {"trials": 6, "sampler": "random", "polish": False}
    found = optimize(make_study(constraints={"cost_usd": 5}, search=search))
    (one,) = found.alternatives
    assert one.names == ("relaxed",)
    assert found.smallest_relaxation is found.relaxations[0]
    assert one.condition == found.smallest_relaxation.text
    assert found.why_infeasible == one.sentence
    assert one.figures["cost_usd"].median <= found.smallest_relaxation.to_dict()["limits"][0]["needed"]
    shown = Console(width=200, file=io.StringIO())
    shown.print(study_view(found))
    assert shown.file.getvalue().splitlines()[0] == f"study: {found.why_infeasible}"
