"""The learned prior: it finds the population that its tables were drawn from, and counts each source once."""

import numpy as np
import pytest
from foretrain.simulator.fitting import SHAPE, Observations, learn_prior, public_prior
from foretrain.simulator.laws import CORE, Reference, get_law

GENERAL = get_law("general")
REFERENCE = Reference({"params": 3e9, "tokens": 3e11})  # where the tables below end
MEAN = np.array([-0.5, 0.3, 0.36, 0.32, -0.3])
SD = np.array([0.3, 0.4, 0.04, 0.04, 0.15])


def draw_table(rng, n: int = 60, noise: float = 0.001) -> Observations:
    """Runs of a law whose shape is drawn from the population, over four decades of compute."""
    shape = MEAN + SD * rng.standard_normal(5)
    params = 10 ** rng.uniform(7, 10, n)
    tokens = 10 ** rng.uniform(9, 12, n)
    columns = {"params": params, "tokens": tokens}
    theta = np.concatenate([[rng.uniform(0.6, 1.2)], shape])[None]
    loss = GENERAL.loss(theta, GENERAL.prepare(columns, REFERENCE))[0]
    return Observations.from_columns(columns, loss * np.exp(rng.normal(0, noise, n)))


@pytest.fixture(scope="module")
def population() -> dict[str, list[Observations]]:
    rng = np.random.default_rng(0)
    return {f"source {i}": [draw_table(rng)] for i in range(12)}


@pytest.fixture(scope="module")
def learned(population):
    return learn_prior(GENERAL, population, provenance={"made": "here"})


def test_the_prior_speaks_of_the_shape():
    assert tuple(p.name for p in CORE)[1:] == SHAPE
    assert len(SHAPE) == len(MEAN)


def test_finds_the_populations_mean(learned):
    # the mean of 12 draws is off by sd/√12; shapes are expressed where each table ends, near REFERENCE
    np.testing.assert_array_less(np.abs(learned.mean - MEAN), 1.5 * SD + 0.1)
    np.testing.assert_allclose(learned.mean[2:4], MEAN[2:4], atol=0.06)


def test_finds_the_populations_spread(learned):
    spread = np.sqrt(np.diag(learned.covariance))
    assert (spread > 0.4 * SD).all(), spread
    assert (spread[2:4] < 3 * SD[2:4]).all(), spread


def test_gives_a_proper_covariance(learned):
    np.testing.assert_allclose(learned.covariance, learned.covariance.T, atol=1e-12)
    assert (np.linalg.eigvalsh(learned.covariance) > 0).all()
    correlation = learned.covariance / np.sqrt(np.outer(*[np.diag(learned.covariance)] * 2))
    assert np.abs(correlation - np.eye(5)).max() <= 0.7 + 1e-12, "pulled three tenths towards zero"
    assert (learned.name, learned.provenance) == ("public", {"made": "here"})


def test_is_deterministic(population):
    few = dict(list(population.items())[:4])
    one, again = (learn_prior(GENERAL, few) for _ in range(2))
    np.testing.assert_array_equal(one.mean, again.mean)
    np.testing.assert_array_equal(one.covariance, again.covariance)


def test_each_source_counts_once(population):
    few = dict(list(population.items())[:3])
    crowded = {name: tables * 3 if name == "source 0" else tables for name, tables in few.items()}
    one, other = learn_prior(GENERAL, few), learn_prior(GENERAL, crowded)
    np.testing.assert_allclose(other.mean, one.mean, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(other.covariance, one.covariance, rtol=1e-5, atol=1e-9)


def test_order_of_the_sources_is_irrelevant(population):
    few = dict(list(population.items())[:3])
    one, other = learn_prior(GENERAL, few), learn_prior(GENERAL, dict(reversed(few.items())))
    np.testing.assert_allclose(other.mean, one.mean, rtol=1e-6, atol=1e-9)


def test_a_single_source_still_gives_a_usable_prior(population):
    prior = learn_prior(GENERAL, {"only": population["source 0"]})
    assert np.isfinite(prior.mean).all()
    assert (np.linalg.eigvalsh(prior.covariance) > 0).all()


def test_the_shipped_prior_is_plausible():
    prior = public_prior()
    names = dict(zip(SHAPE, prior.mean, strict=True))
    assert 0.1 < names["params_exponent"] < 0.6
    assert 0.1 < names["tokens_exponent"] < 0.6
    assert (np.linalg.eigvalsh(prior.covariance) > 0).all()
    assert prior.provenance["command"] == "python benchmarks/facts_laws.py"
