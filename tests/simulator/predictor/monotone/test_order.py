"""More parameters and more tokens never raise a loss: neither the ends of its interval nor the change."""

import numpy as np
import pandas as pd
import pytest
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.forecast.compare import compare
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage.folder import load, shipped
from hypothesis import given, settings
from hypothesis import strategies as st

ROUNDING = 3e-4  # in log loss: the grid on which the lowest upper end is looked for


def noisy(law: str = "auto", seed: int = 0, noise: float = 0.03) -> Predictor:
    """A fit of few noisy runs, whose interval grows fast beyond them."""
    rng = np.random.default_rng(seed)
    params = np.repeat([1e7, 3e7, 1e8], 3)
    tokens = params * np.tile([5.0, 20.0, 80.0], 3)
    loss = (1.9 + 300 * params**-0.34 + 900 * tokens**-0.34) * np.exp(noise * rng.normal(size=9))
    frame = pd.DataFrame({"params": params, "tokens": tokens, "loss": loss})
    return Predictor.fit(RunTable.from_frame(frame), law)


@pytest.fixture(scope="module")
def predictors() -> dict[str, Predictor]:
    return {
        "repeats-c4": load("repeats-c4"),
        "auto": noisy(),
        "chinchilla": noisy("chinchilla", 1),
        "kaplan": noisy("kaplan", 2, 0.01),
    }


@settings(max_examples=6, deadline=None)
@given(st.floats(7.0, 10.0), st.floats(9.0, 11.0), st.sampled_from(["params", "tokens"]), st.floats(0.5, 0.98))
def test_upper_ends_never_rise_with_size_or_tokens(predictors, log_params, log_tokens, axis, level):
    sizes = {"params": np.full(7, 10**log_params), "tokens": np.full(7, 10**log_tokens)}
    sizes[axis] = sizes[axis] * np.geomspace(1.0, 300.0, 7)
    for name, predictor in predictors.items():
        rise, inside = checked(predictor, sizes, level)
        assert rise <= ROUNDING, name
        assert inside, name


def checked(predictor: Predictor, sizes: dict[str, np.ndarray], level: float) -> tuple[float, bool]:
    """By how much an upper end rises in log loss at most, and whether the centres fall and lie inside."""
    found = predictor.predict(sizes)
    low, high = found.interval(level)
    inside = (low < found.loss_nats).all() and (found.loss_nats <= high).all()
    return float(np.diff(np.log(high)).max()), bool(inside and np.diff(found.log_loss).max() <= 1e-9)


# the one is of a single token count, the other asks for an architecture
@pytest.mark.parametrize("name", [name for name in shipped() if name not in ("routing-moe", "proxy-architectures")])
@pytest.mark.parametrize("axis", ["params", "tokens"])
def test_shipped_predictors_are_monotone_from_small_to_far_beyond(name, axis):
    sizes = {"params": np.full(25, 7e9), "tokens": np.full(25, 2e12)}
    sizes[axis] = sizes[axis] * np.geomspace(1e-3, 1e3, 25)
    for level in (0.5, 0.9, 0.95):
        rise, inside = checked(load(name), sizes, level)
        assert rise <= ROUNDING
        assert inside


def test_chances_and_draws_follow_the_narrower_upper_side():
    found = load("repeats-c4").predict({"params": np.array([1e8]), "tokens": np.array([1e14])})
    assert found.upper_share is not None
    assert (np.diff(found.upper_share[0]) < 0).all()
    for level in (0.5, 0.9, 0.95):
        low, high = (float(end[0]) for end in found.interval(level))
        assert found.probability_at_most(high)[0] == pytest.approx(0.5 + level / 2, abs=1e-3)
        assert found.probability_at_most(low)[0] == pytest.approx(0.5 - level / 2, abs=1e-3)
    drawn = found.sample(np.random.default_rng(0), 20_000)[:, 0]
    assert np.mean(drawn <= found.interval(0.9)[1][0]) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("name", ["repeats-c4", "chinchilla", "auto"])
def test_twice_the_tokens_never_hurt(predictors, name):
    plans = [
        RunConfig.from_mapping({"model": {"params": "200M"}, "data": {"tokens": tokens}})
        for tokens in ("1T", "2T", "4T", "900T")
    ]
    found = compare(plans, predictors[name])
    for change in found.differences[1:]:
        loss = change["loss_nats"]
        low, high = loss.intervals[0.95]
        assert low < loss.median < high <= 0
        assert loss.chance_lower == 1.0
        assert change["perplexity"].intervals[0.9][1] <= 0
    fewer = compare([plans[1], plans[0]], predictors[name]).differences[1]["loss_nats"]
    assert fewer.intervals[0.9][0] >= 0
    assert fewer.chance_lower == 0.0


def test_a_change_that_may_hurt_still_may(predictors):
    plans = [
        RunConfig.from_mapping({"model": {"params": params}, "data": {"tokens": tokens}})
        for params, tokens in (("200M", "20B"), ("220M", "18B"))
    ]
    loss = compare(plans, predictors["chinchilla"]).differences[1]["loss_nats"]
    assert loss.intervals[0.9][0] < 0 < loss.intervals[0.9][1]
