"""Curves of equal compute and of equal loss: what lies on them, and that they agree with each other."""

import json
import math

import numpy as np
import pytest
from foretrain.core.errors import InfeasibleError, InputError
from foretrain.simulator.allocation.compute_optimal.curves import isoflop, isoloss
from foretrain.simulator.allocation.compute_optimal.optimum import find_optimum
from foretrain.simulator.allocation.compute_optimal.surface import LossSurface


def test_a_curve_of_equal_compute_has_that_compute_and_its_valley_at_the_optimum(fitted):
    for curve in isoflop(fitted, [1e19, 1e21]):
        assert 6 * curve.params * curve.tokens == pytest.approx(curve.flops)
        # the median over the laws that the tables leave open has its valley near that of their mean
        assert curve.params[curve.loss_nats.argmin()] == pytest.approx(curve.optimum.params.median, rel=0.2)
        assert curve.loss_nats.min() == pytest.approx(curve.optimum.loss_nats.median, rel=1e-3)
        assert (curve.low_90 < curve.loss_nats).all()
        assert (curve.loss_nats < curve.high_90).all()
        far = np.abs(np.log(curve.params / curve.optimum.params.median)[1:]) > 0.5
        larger = curve.params[1:] > curve.optimum.params.median
        assert (np.diff(curve.loss_nats)[far & ~larger] < 0).all()
        assert (np.diff(curve.loss_nats)[far & larger] > 0).all()


def test_the_valley_of_forecasts_over_many_laws_is_where_the_law_has_it(chinchilla):
    """Forecasts of a known table are medians over the laws that it leaves open; the optimum is of their mean."""
    (curve,) = isoflop(chinchilla, [1e22])
    low, high = curve.optimum.params.intervals[0.5]
    assert low < curve.params[curve.loss_nats.argmin()] < high
    assert curve.loss_nats.min() == pytest.approx(curve.optimum.loss_nats.median, rel=2e-3)


def test_more_compute_lies_lower(chinchilla):
    first, second = isoflop(chinchilla, [1e21, 1e22])
    assert second.loss_nats.min() < first.loss_nats.min()


@pytest.mark.parametrize(("stock", "loss"), [(None, 2.25), (1e11, 2.2)])
def test_a_curve_of_equal_loss_has_that_loss_and_its_cheapest_is_the_optimum(web, stock, loss):
    surface = LossSurface.of(web, unique_tokens=stock)
    (curve,) = isoloss(web, [2.25], unique_tokens=stock)
    assert np.exp(surface.log_loss(curve.params, curve.tokens)) == pytest.approx(2.25, rel=1e-9)
    exact = 1e-6 if stock is None else 5e-3  # in the corner where the stock is used up the loss hardly falls
    assert curve.flops.min() == pytest.approx(curve.cheapest_flops.median, rel=exact)
    assert 6 * curve.cheapest_params * curve.cheapest_tokens == pytest.approx(curve.cheapest_flops.median)
    fewer = surface.log_loss(curve.params, 0.99 * curve.tokens)
    assert (fewer > math.log(loss)).all(), "they are the fewest tokens"


def test_the_least_compute_for_the_loss_of_a_compute_is_that_compute(chinchilla):
    best = find_optimum(LossSurface.of(chinchilla), 3e22)
    (curve,) = isoloss(chinchilla, [math.exp(best.log_loss)])
    assert curve.cheapest_flops.median == pytest.approx(3e22, rel=1e-6)
    assert curve.cheapest_params == pytest.approx(best.params, rel=1e-6)


def test_the_interval_of_a_compute_is_that_of_the_loss_turned_round(chinchilla):
    (curve,) = isoloss(chinchilla, [2.1])
    low, high = curve.cheapest_flops.intervals[0.9]
    surface = LossSurface.of(chinchilla)
    for flops, place in ((low, 0), (high, 1)):
        best = find_optimum(surface, flops)
        ends = surface.predict(np.array([best.params]), np.array([best.tokens])).interval(0.9)
        assert ends[place][0] == pytest.approx(2.1, rel=2e-3)


def test_a_loss_below_the_floor_is_infeasible_and_says_the_lowest(chinchilla):
    with pytest.raises(
        InfeasibleError, match=r"loss 1\.2: no compute up to 1e32 FLOPs reaches it; the lowest .* 1\.[5-7]"
    ):
        isoloss(chinchilla, [1.2])


def test_a_stock_can_put_a_loss_out_of_reach(web):
    assert isoloss(web, [2.15])[0].cheapest_flops.median < 1e24
    with pytest.raises(InfeasibleError, match="no compute"):
        isoloss(web, [2.15], unique_tokens=1e9)


@pytest.mark.parametrize("loss", [0.0, -1.0, 30.0, math.nan])
def test_what_is_no_loss_is_refused(chinchilla, loss):
    with pytest.raises(InputError, match="loss: got"):
        isoloss(chinchilla, [loss])


def test_a_loss_that_nearly_nothing_reaches_is_refused(chinchilla):
    with pytest.raises(InputError, match=r"expected a loss below"):
        isoloss(chinchilla, [19.0])


def test_json(chinchilla):
    json.dumps([one.to_dict() for one in isoflop(chinchilla, [1e22])], allow_nan=False)
    facts = json.loads(json.dumps([one.to_dict() for one in isoloss(chinchilla, [2.2])], allow_nan=False))
    assert set(facts[0]["cheapest"]) == {"params", "tokens", "training_flops"}
