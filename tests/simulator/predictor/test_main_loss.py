"""Several loss columns: one meaning of the loss, whatever the order of the columns."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.forecast.compare import compare
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.predictor.predictor import AVERAGE, Predictor
from foretrain.simulator.search.goals.measures import get_measure
from foretrain.simulator.search.optimize import optimize

LEVELS = {"loss.web": 2.0, "loss.code": 1.0, "loss.wiki.en": 2.6}


def fitted(order: tuple[str, ...]) -> Predictor:
    rng = np.random.default_rng(3)
    params = np.repeat([2e7, 5e7, 1e8, 3e8], 3)
    tokens = params * np.tile([10.0, 30.0, 90.0], 4)
    power = 300 * params**-0.33 + 900 * tokens**-0.33
    luck = np.exp(0.002 * rng.normal(size=(len(LEVELS), 12)))
    losses = {name: (level + power) * own for (name, level), own in zip(LEVELS.items(), luck, strict=True)}
    columns = {"params": params, "tokens": tokens, **{name: losses[name] for name in order}}
    return Predictor.fit(RunTable.from_frame(pd.DataFrame(columns)), "chinchilla")


@pytest.fixture(scope="module")
def predictors() -> list[Predictor]:
    """One fit for every order of the loss columns."""
    return [fitted(order) for order in permutations(LEVELS)]


def plan(target: float, tokens: str = "20B") -> RunConfig:
    return RunConfig.from_mapping(
        {"model": {"params": "1B"}, "data": {"tokens": tokens}, "targets": {"loss_nats": target}}
    )


def test_the_order_of_loss_columns_changes_no_answer(predictors):
    said = []
    for predictor in predictors:
        found = forecast(plan(2.4), predictor)
        both = compare([plan(2.4), plan(2.4, "40B")], predictor).differences[1]["loss_nats"]
        study = {
            "run": {"model": {"params": "1B"}, "data": {"tokens": "20B"}},
            "space": {"data.tokens": {"low": "10B", "high": "30B", "log": True}},
            "objective": {"minimise": "loss_nats"},
        }
        measure = get_measure("loss_nats", predictor, predictor.main_loss, "objective")
        assert (found.main, set(measure.loss_columns)) == (AVERAGE, set(LEVELS))
        loss = found.headline.loss_nats
        said.append([loss.median, *loss.intervals[0.9], found.p_target, both.median, *both.intervals[0.9]])
        if predictor in (predictors[0], predictors[-1]):
            best = optimize({**study, "search": {"storage": "memory", "trials": 4}}, predictor=predictor).best
            said[-1].append(best.evaluation.goals[0])
    for other in said[1:-1]:
        assert other == pytest.approx(said[0][:-1], rel=1e-9)
    assert said[-1] == pytest.approx(said[0], rel=1e-9)


def test_headline_json_target_and_chance_speak_of_the_mean(predictors):
    predictor = predictors[0]
    found = forecast(plan(2.4), predictor)
    median = found.headline.loss_nats.median
    assert median == pytest.approx(np.mean([one.loss_nats.median for one in found.domains.values()]))
    plain = found.to_dict()
    assert plain["loss_nats"]["median"] == plain["average"]["loss_nats"]["median"] == median
    assert plain["predictor"]["main_in_words"] == "mean of 3 domains"
    low, high = found.headline.loss_nats.intervals[0.9]
    for target, chance in ((low, 0.05), (median, 0.5), (high, 0.95)):
        assert forecast(plan(target), predictor).p_target == pytest.approx(chance, abs=1e-6)
    assert sum(plain["decomposition_nats"].values()) == pytest.approx(median)


def test_a_column_that_is_called_loss_or_average_is_the_main_one():
    params = np.repeat([2e7, 5e7, 1e8, 3e8], 3)
    tokens = params * np.tile([10.0, 30.0, 90.0], 4)
    web = 1.7 + 300 * params**-0.33 + 900 * tokens**-0.33
    for name in ("loss", "loss.average"):
        frame = pd.DataFrame({"params": params, "tokens": tokens, "loss.web": web, "loss.code": 0.5 * web})
        predictor = Predictor.fit(RunTable.from_frame(frame.assign(**{name: 3 * web})), "chinchilla")
        found = forecast(plan(2.4), predictor)
        assert found.main == name
        of_web = found.domains["loss.web"].loss_nats.median
        assert found.headline.loss_nats.median == pytest.approx(3 * of_web, rel=1e-3)
