"""Scores that count unequally: a calibration among the fitted runs, where every scale counts alike."""

import numpy as np
import pytest
from foretrain.simulator.fitting import Scores
from foretrain.simulator.predictor.calibration import Calibration, public_calibration

PUBLIC = public_calibration()


def scores(z) -> Scores:
    """Every run a cut of its own, with the given errors over their sds."""
    zero = np.zeros(len(z))
    return Scores(np.asarray(z, float), np.ones(len(z)), zero, zero, np.arange(len(z)))


@pytest.mark.parametrize("factor", [1e-3, 1.0, 50.0])
def test_equal_weights_are_none(factor):
    """Weights say what counts more, not how many runs there are."""
    own = scores(np.random.default_rng(0).standard_normal(60))
    weighted = Calibration.from_scores(own, PUBLIC, np.full(60, factor))
    np.testing.assert_allclose(weighted.quantiles, Calibration.from_scores(own, PUBLIC).quantiles)
    assert (weighted.own_cuts, weighted.own_scores) == (60, 60)


def test_eight_large_runs_count_as_much_as_five_hundred_small_ones():
    small, large = np.full(500, 0.5), np.full(8, 3.0)
    weights = np.repeat([1 / 500, 1 / 8], [500, 8])
    own = scores(np.concatenate([small, large]))
    plain, fair = Calibration.from_scores(own, PUBLIC), Calibration.from_scores(own, PUBLIC, weights)
    assert plain.width(0.8) == pytest.approx(0.5, abs=0.05)
    assert fair.width(0.8) > 2.0


def test_few_runs_that_count_leave_more_to_the_public_scores():
    """By Kish: 500 runs of which 8 carry half of the weight are worth some 30."""
    z = np.full(508, 6.0)
    weights = np.repeat([1 / 500, 1 / 8], [500, 8])
    plain, fair = Calibration.from_scores(scores(z), PUBLIC), Calibration.from_scores(scores(z), PUBLIC, weights)
    assert fair.width(0.3) < plain.width(0.3)
    worth = (weights.sum()) ** 2 / (weights**2).sum()
    assert worth == pytest.approx(31.5, abs=0.1)
    alike = Calibration.from_scores(scores(np.full(round(worth), 6.0)), PUBLIC)
    np.testing.assert_allclose(fair.width(np.array([0.2, 0.4, 0.8])), alike.width(np.array([0.2, 0.4, 0.8])), rtol=0.1)
