"""Points of a back-test: predicted against observed, with the intervals whose coverage is told."""

import json

import numpy as np
import pandas as pd
import pytest
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import Scores
from foretrain.simulator.predictor.evaluation import backtesting
from foretrain.simulator.predictor.evaluation.backtesting import backtest_table


def _ladder() -> dict[str, np.ndarray]:
    params = np.repeat(np.geomspace(1e7, 1e9, 5), 3)
    tokens = params * np.tile([10, 20, 80], 5)
    noise = np.random.default_rng(0).normal(0, 0.01, len(params))
    loss = (1.7 + 400 * params**-0.34 + 1500 * tokens**-0.34) * np.exp(noise)
    return {"params": params, "tokens": tokens, "loss": loss}


LADDER = _ladder()
"""Fifteen runs of 10M to 1B parameters with a per cent of noise."""


def check(points, coverage) -> None:
    """Points are inside their intervals as often as the coverage says."""
    for level in ("0.5", "0.9"):
        ends = [(point["intervals"][level], point["observed_nats"]) for point in points]
        assert np.mean([low <= seen <= high for (low, high), seen in ends]) == pytest.approx(coverage[level])
    json.dumps(points, allow_nan=False)


def test_points_cover_as_often_as_the_chosen_law_says():
    found = backtest_table(RunTable.from_frame(pd.DataFrame(LADDER)))["loss"]
    points, chosen = found["points"], found["laws"][found["chosen"]]
    assert len({point["cut"] for point in points}) == chosen["cuts"]
    check(points, chosen["coverage"])
    errors = [abs(np.log(point["predicted_nats"] / point["observed_nats"])) for point in points]
    assert max(errors) == pytest.approx(chosen["max_relative_error"])
    for point in points:  # is a run of the table
        same = np.isclose(LADDER["params"], point["params"]) & np.isclose(LADDER["tokens"], point["tokens"])
        assert LADDER["loss"][same] == pytest.approx([point["observed_nats"]])


def test_points_of_a_law_of_its_own_and_of_very_many(monkeypatch):
    rng = np.random.default_rng(1)
    n = 120
    runs = {"params": rng.uniform(1e7, 1e9, n), "tokens": rng.uniform(1e9, 1e11, n), "loss": rng.uniform(2, 4, n)}
    cut = np.repeat(np.arange(6), n // 6)
    error = rng.normal(0, 0.01, n) * (1 + cut)
    scores = Scores(error, np.full(n, 0.01), np.full(n, 0.005), np.linspace(0, 2, n), cut, runs)
    points = backtesting._points(scores, scores.scale(), backtesting._left_out(scores))
    assert len(points) == n
    check(points, backtesting.coverage(scores))
    monkeypatch.setattr(backtesting, "_MOST_POINTS", 50)
    fewer = backtesting._points(scores, scores.scale(), backtesting._left_out(scores))
    assert fewer == points[::3]
