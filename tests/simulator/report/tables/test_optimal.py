"""The views of optima in words: numbers with intervals, what is open, what can't be done."""

import io
from pathlib import Path

import pytest
from foretrain.simulator.allocation.compute_optimal.curves import isoflop, isoloss
from foretrain.simulator.allocation.compute_optimal.optimal import compute_optimal
from foretrain.simulator.allocation.sensitivity.sensitivity import sensitivity
from foretrain.simulator.allocation.under_limits.marginal import what_more_buys
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.predictor.storage.folder import load
from foretrain.simulator.report.tables.optimal import curves_view, more_view, point_view, sensitivity_view
from rich.console import Console

SEVEN_B = Path(__file__).parents[4] / "examples/llama-7b.yaml"


@pytest.fixture(scope="module")
def web():
    return load("web-text")


def text(view) -> str:
    stream = io.StringIO()
    Console(file=stream, width=400, highlight=False, markup=False).print(view)
    return stream.getvalue()


def test_epochs_are_said_where_a_stock_is_repeated(web):
    assert "epochs of the stock" in text(point_view(compute_optimal(web, 1e23, unique_tokens=1e11)))
    assert "epochs" not in text(point_view(compute_optimal(web, 1e23)))


def test_a_loss_that_no_growth_makes_up_for_is_never_reached(web):
    shown = text(point_view(compute_optimal(web, 3e24, unique_tokens=3e10)))
    assert "never" in shown


def test_an_under_trained_plan_is_called_that(web, plan):
    assert "is under-trained" in text(point_view(compute_optimal(web, config=plan("175B", "300B"))))


def test_ends_of_compute_that_are_open_are_said_so(web):
    assert " to over " in text(curves_view([], isoloss(web, [1.8])))
    assert text(curves_view(isoflop(web, [1e21]), [])).startswith("lowest loss for a compute")


def test_what_cannot_be_done_is_said_and_why(web):
    config = RunConfig.load(SEVEN_B, ["layout={tp: 8, pp: 1}"])
    shown = text(more_view(what_more_buys(config, web, gpus=1)))
    assert "not possible" in shown
    assert "! 1 more accelerators (+0%): hardware.count" in shown


def test_shares_of_a_mix_are_percentages(plan):
    found = sensitivity(plan("1B", "20B", mix={"web": 0.5, "code": 0.5}), load("web-text"))
    shown = text(sensitivity_view(found))
    assert "not read here: " in shown
    assert "data.mix.web" in shown
