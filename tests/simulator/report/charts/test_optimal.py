"""The charts of optima: curves, their lowest points, bands that say something, and what moves the loss."""

from pathlib import Path

import numpy as np
import pytest
from foretrain.core.errors import UsageError
from foretrain.core.units import format_count
from foretrain.simulator.allocation.compute_optimal.curves import isoflop, isoloss
from foretrain.simulator.allocation.sensitivity.sensitivity import sensitivity
from foretrain.simulator.allocation.under_limits.money import money_optimal
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.predictor.storage.folder import load
from foretrain.simulator.report.charts.altair_old import save_chart
from foretrain.simulator.report.charts.optimal import curves_chart, money_chart, sensitivity_chart

SEVEN_B = Path(__file__).parents[4] / "examples/llama-7b.yaml"


@pytest.fixture(scope="module")
def chinchilla():
    return load("chinchilla-massivetext")


def rows(spec: dict) -> list[dict]:
    """Every row of every data set in a specification."""
    found = [row for values in spec.get("datasets", {}).values() for row in values]
    for key in ("layer", "vconcat"):
        found += [row for part in spec.get(key, []) for row in rows(part)]
    return found + (spec["data"]["values"] if "values" in spec.get("data", {}) else [])


def marks(spec: dict) -> set[str]:
    own = {spec["mark"]["type"]} if "mark" in spec else set()
    return own.union(*(marks(part) for key in ("layer", "vconcat") for part in spec.get(key, [])))


def test_curves_of_equal_compute_show_their_optima(chinchilla):
    curves = isoflop(chinchilla, [1e21, 1e22])
    spec = curves_chart(curves, []).to_dict()
    best = {row["label"]: row for row in rows(spec) if "least" in row}
    for curve, (label, row) in zip(curves, best.items(), strict=True):
        optimum = curve.optimum
        assert label == f"{format_count(optimum.params.median)} on {format_count(optimum.tokens.median)}"
        assert row["loss"] == pytest.approx(optimum.loss_nats.median)
        assert row["least"] < row["params"] < row["most"]
    assert "area" in marks(spec)


def test_bands_that_would_cover_everything_are_said_in_words():
    spec = curves_chart(isoflop(load("web-text"), [1e21, 1e22]), []).to_dict()
    assert "area" not in marks(spec)
    assert "90 % of the loss: -" in spec["title"]["subtitle"]


def test_curves_of_equal_loss_stay_where_anybody_would_train(chinchilla):
    (curve,) = isoloss(chinchilla, [2.2])
    drawn = [row for row in rows(curves_chart([], [curve]).to_dict()) if "reached" in row]
    assert max(row["tokens"] for row in drawn) <= 30 * curve.cheapest_tokens < np.max(curve.tokens)


def test_both_panels_in_one_chart_and_as_files(chinchilla, tmp_path):
    chart = curves_chart(isoflop(chinchilla, [1e21, 1e22]), isoloss(chinchilla, [2.2]))
    assert len(chart.to_dict()["vconcat"]) == 2
    save_chart(chart, tmp_path / "both.svg")
    assert (tmp_path / "both.svg").read_bytes().startswith(b"<svg")


def test_sizes_within_the_same_limits_with_the_best_and_the_plan():
    config = RunConfig.load(SEVEN_B)
    result = money_optimal(config, load("web-text"), budget_usd=1e6)
    drawn = rows(money_chart(result).to_dict())
    labels = [row["label"] for row in drawn if "label" in row]
    assert any(label.startswith("best: ") for label in labels)
    assert any(label.startswith("the plan's size: 6.74B on ") for label in labels)
    assert sum("params" in row and "label" not in row for row in drawn) == len(result.sizes)


def test_no_curves_are_no_chart():
    with pytest.raises(UsageError, match="no curve to draw"):
        curves_chart([], [])


def test_what_moves_the_loss_is_drawn_largest_first(plan):
    found = sensitivity(plan("7B", "2T", unique_tokens="500B", optim={"lr": 3e-4}), load("web-text"))
    spec = sensitivity_chart(found).to_dict()
    bars = [row for row in rows(spec) if "turned" in row]
    assert {row["key"] for row in bars} == {"model.params", "data.tokens", "data.unique_tokens"}
    assert {row["turned"] for row in bars} == {"down", "up"}
    assert "optim.lr" not in str(spec)
