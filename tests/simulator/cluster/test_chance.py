"""What two estimates that are compared share of what they are drawn from."""

import numpy as np
import pytest
from foretrain.simulator.cluster.chance import Chance
from foretrain.simulator.cluster.step_time.step_model import StepTimeModel

DRAWS = 4000
MODEL = StepTimeModel.shipped()


def beside(shared: float | None, place: int = 1) -> Chance:
    return Chance.beside(7, MODEL, DRAWS, place, shared)


def test_an_own_chance_is_that_of_the_seed_alone():
    rng = np.random.default_rng(7)
    own = Chance.own(7, MODEL, DRAWS)
    np.testing.assert_array_equal(own.step_errors, MODEL.spread.draw(rng, DRAWS))
    np.testing.assert_array_equal(own.failure_rates.random(5), rng.random(5))


@pytest.mark.parametrize("shared", [0.0, 0.6, 0.95, 1.0])
def test_step_errors_are_the_same_ones_as_far_as_they_are_shared(shared):
    own, other = Chance.own(7, MODEL, DRAWS), beside(shared)
    np.testing.assert_array_equal(np.sort(other.step_errors), np.sort(own.step_errors))
    found = np.corrcoef(own.step_errors, other.step_errors)[0, 1]
    assert found == pytest.approx(shared, abs=0.05)


def test_machines_of_one_kind_share_failure_rates_and_prices_but_no_failures():
    own, other = Chance.own(7, MODEL, DRAWS), beside(0.9)
    np.testing.assert_array_equal(own.failure_rates.standard_normal(9), other.failure_rates.standard_normal(9))
    np.testing.assert_array_equal(own.prices.standard_normal(9), other.prices.standard_normal(9))
    luck = [one.interruptions.random(9) for one in (Chance.own(7, MODEL, DRAWS), beside(0.9), beside(0.9, 2))]
    assert len({tuple(drawn) for drawn in luck}) == 3


def test_machines_of_another_kind_share_nothing():
    own, other = Chance.own(7, MODEL, DRAWS), beside(None)
    assert abs(np.corrcoef(own.step_errors, other.step_errors)[0, 1]) < 0.05
    assert (own.prices.random(9) != other.prices.random(9)).all()
