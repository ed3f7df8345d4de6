"""Local search: never worse, never beyond a limit that was kept, at the optimum where that is known."""

import numpy as np
import pytest
from foretrain.simulator.search.evaluate import Evaluator
from foretrain.simulator.search.local_search.polish import improve
from foretrain.simulator.search.local_search.polishing import polished
from foretrain.simulator.search.local_search.relaxation import relaxations


def first_goal(one) -> float:
    return one.goals[0]


@pytest.mark.parametrize("tokens", [2e10, 1.2e11])
def test_never_worse_and_never_infeasible(make_study, tokens):
    study = make_study(constraints={"cost_usd": {"at_most": "20k", "chance": 0.9}})
    evaluator = Evaluator(study)
    start = evaluator({"model.params": 5e8, "data.tokens": tokens})
    end = improve(evaluator, start, first_goal, budget=120)
    if start.feasible:
        assert end.feasible
        assert end.goals[0] <= start.goals[0]
    else:
        assert end.worst <= start.worst


def test_tokens_go_to_the_limit(make_study):
    study = make_study(space={"data.tokens": {"low": "10B", "high": "1T", "log": True}}, constraints={"cost_usd": "9k"})
    evaluator = Evaluator(study)
    end = improve(evaluator, evaluator({"data.tokens": 2e10}), first_goal, budget=60)
    assert -1e-3 < end.excess["cost_usd"] <= 0


def test_the_optimum_of_a_mix_is_found(mixed_predictor, make_study):
    """The law's own optimum, by a fine grid of all mixes of three domains."""
    study = make_study(
        run={"data": {"tokens": "10B", "evaluated_on": "a"}, "model": {}},
        space={"data.mix": {"simplex": {"a": {"max": 0.6}, "b": None, "c": None}}},
        objective={"minimise": "loss_nats", "weights": {"a": 0.6, "b": 0.4}},
        predictor=mixed_predictor,
    )
    evaluator = Evaluator(study)
    steps = np.linspace(0, 1, 61)
    grid = [(a, b, 1 - a - b) for a in steps for b in steps if a <= 0.6 and a + b <= 1 + 1e-9]
    best = min(
        one.goals[0] for one in evaluator.many([{"data.mix": dict(zip("abc", np.abs(m), strict=True))} for m in grid])
    )
    start = evaluator({"data.mix": {"a": 0.2, "b": 0.2, "c": 0.6}})
    end = improve(evaluator, start, first_goal, budget=400)
    assert end.goals[0] <= best * (1 + 1e-5)
    assert sum(end.values["data.mix"].values()) == pytest.approx(1)
    assert end.values["data.mix"]["a"] <= 0.6 + 1e-9


def test_polish_of_a_front_improves_its_points(make_study):
    study = make_study(objective=["loss_nats", "cost_usd"])
    evaluator = Evaluator(study)
    known = [
        evaluator({"model.params": params, "data.tokens": tokens})
        for params, tokens in ((4e8, 3e10), (1e9, 2e10), (3e9, 3e10))
    ]
    done: set[str] = set()
    better = polished(evaluator, known, 300, done)
    assert better
    for one in better:
        assert any(
            all(mine <= theirs * (1 + 1e-9) for mine, theirs in zip(one.goals, start.goals, strict=True))
            and one.goals != start.goals
            for start in known
        )
    assert len(done) == len(known)
    assert polished(evaluator, known, 300, done) == []


def test_the_smallest_relaxation_makes_a_plan_feasible(make_study):
    limits = {"cost_usd": {"at_most": "3k"}, "loss_nats": {"at_most": 2.4, "chance": 0.5}}
    study = make_study(constraints=limits, objective="wall_clock_days")
    evaluator = Evaluator(study)
    known = evaluator.many([{"model.params": p, "data.tokens": t} for p in (5e8, 1e9, 2e9) for t in (1e10, 3e10, 1e11)])
    assert not any(one.feasible for one in known)
    found = relaxations(evaluator, known)
    assert found == sorted(found, key=lambda one: one.factor)
    for one in found:
        loosened = {**limits, **{limit.measure.name: {**limits[limit.measure.name], "at_most": bound}
                                 for limit, bound in one.limits}}  # fmt: skip
        again = make_study(constraints=loosened, objective="wall_clock_days")
        assert Evaluator(again)(one.plan.values).feasible
        assert one.factor > 1
        assert "instead of" in one.text


def test_impossible_limits_together_leave_most_alone(make_study):
    limits = {"cost_usd": 1, "wall_clock_days": "1min", "loss_nats": {"at_most": 5.0, "chance": 0.5}}
    study = make_study(constraints=limits)
    evaluator = Evaluator(study)
    found = relaxations(evaluator, [evaluator({"model.params": 1e9, "data.tokens": 5e10})])
    assert found
    assert "loss_nats" not in {limit.measure.name for limit, _ in found[0].limits}


def test_the_cheapest_plan_that_reaches_a_loss_is_found(make_study):
    """Against every shape of the range, each with as few tokens as reach the loss: there more tokens only cost."""
    limits = {"loss_nats": {"at_most": 2.6, "chance": 0.5}}
    study = make_study(objective="cost_usd", constraints=limits)
    evaluator = Evaluator(study)

    def cheapest(params: float) -> float:
        low, high = np.log(1e10), np.log(1e12)
        for _ in range(18):
            middle = 0.5 * (low + high)
            one = evaluator({"model.params": params, "data.tokens": float(np.exp(middle))})
            low, high = (low, middle) if one.feasible else (middle, high)
        one = evaluator({"model.params": params, "data.tokens": float(np.exp(high))})
        return one.goals[0] if one.feasible else np.inf

    best = min(cheapest(float(params)) for params in np.geomspace(8e8, 2.4e9, 20))
    start = evaluator({"model.params": 8e8, "data.tokens": 9e11})
    end = improve(evaluator, start, first_goal, budget=300)
    assert end.feasible
    assert end.goals[0] <= best * (1 + 5e-4)
