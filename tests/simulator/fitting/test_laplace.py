"""Gaussian draws of laws with many worths: as wide as bootstraps, on the tangent, and what further runs leave open."""

import importlib

import numpy as np
import pytest
from foretrain.simulator.fitting import fit_law, public_prior
from foretrain.simulator.fitting._laplace import gaussian_draws, has_gaussian_draws, laplace
from foretrain.simulator.laws import Law, get_law, members

BOOTSTRAP = importlib.import_module("foretrain.simulator.fitting._fit")
DOMAINS = tuple("abcdefghij")


def runs(n: int, domains=DOMAINS, seed: int = 0, noise: float = 0.01, size: float = 1e8):
    """Columns and losses of runs of one size on random mixes, with a law of the same kind behind them."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(len(domains), 0.5), n)
    columns = {"params": np.full(n, size), "tokens": np.full(n, 20 * size)}
    columns |= {f"mix.{d}": shares[:, i] for i, d in enumerate(domains)}
    worth = np.exp(np.linspace(1.5, -1.5, len(domains)))
    loss = 1.8 + 1.6 * ((shares + 1e-4) ** 0.6 @ worth) ** (-0.3 / 0.6)
    return columns, loss * np.exp(rng.normal(0, noise, n))


def test_which_laws_have_them():
    assert has_gaussian_draws(get_law("general+mixture", DOMAINS))
    assert not has_gaussian_draws(get_law("general+mixture", DOMAINS[:3]))
    assert not has_gaussian_draws(get_law("general+lr_batch+repetition"))


@pytest.mark.parametrize("n", [60, 200])
def test_they_are_as_wide_as_bootstraps(n, monkeypatch):
    """Both are about the same question; a factor of two on the median spread would be two answers."""
    law = get_law("general+mixture", DOMAINS)
    columns, loss = runs(n)
    others, _ = runs(100, seed=1)
    gaussian = fit_law(law, columns, loss, prior=public_prior(), draws=200).log_loss_draws(others).std(axis=0)
    monkeypatch.setattr(BOOTSTRAP, "has_gaussian_draws", lambda law: False)
    bootstrap = fit_law(law, columns, loss, prior=public_prior(), draws=60).log_loss_draws(others).std(axis=0)
    assert 0.6 < np.median(gaussian) / np.median(bootstrap) < 1.6
    assert np.corrcoef(np.log(gaussian), np.log(bootstrap))[0, 1] > 0.5


def test_draws_and_covariance_say_the_same():
    law = get_law("general+mixture", DOMAINS)
    columns, loss = runs(60)
    fit = fit_law(law, columns, loss, prior=public_prior(), draws=4000)
    others, _ = runs(20, seed=1)
    gradient = fit.log_loss_gradient(others)
    covariance = fit.covariance(columns, prior=public_prior())
    expected = np.sqrt(np.einsum("pn,pq,qn->n", gradient, covariance, gradient))
    np.testing.assert_allclose(fit.log_loss_draws(others).std(axis=0), expected, rtol=0.06)
    np.testing.assert_allclose(fit.log_loss_draws(others).mean(axis=0), fit.log_loss(others), atol=5e-3)


def test_the_gradient_is_that_of_the_log_loss():
    law = get_law("general+mixture", DOMAINS[:3])
    columns, loss = runs(40, DOMAINS[:3])
    fit = fit_law(law, columns, loss, prior=public_prior())
    features = law.prepare(columns, fit.reference)
    gradient = fit.log_loss_gradient(columns)
    for at in np.flatnonzero(law.free):
        step = 1e-5 * (np.arange(len(law.names)) == at)
        up, down = (np.log(law.loss(fit.theta + side * step, features)[0]) for side in (1, -1))
        np.testing.assert_allclose(gradient[at], (up - down) / 2e-5, rtol=1e-4, atol=1e-7)


def test_further_runs_leave_less_open():
    """The use for choosing runs: the columns of runs that nobody has trained yet are enough."""
    law = get_law("general+mixture", DOMAINS)
    columns, loss = runs(40)
    fit = fit_law(law, columns, loss, prior=public_prior())
    more, _ = runs(200, seed=2)
    both = {name: np.concatenate([columns[name], more[name]]) for name in columns}
    gradient = fit.log_loss_gradient(runs(50, seed=3)[0])
    one, two = (
        np.einsum("pn,pq,qn->n", gradient, fit.covariance(c, prior=public_prior()), gradient) for c in (columns, both)
    )
    assert (two < one).all()
    assert np.median(two / one) < 0.5


def test_covariance_is_zero_where_parameters_are_fixed():
    plain = get_law("general+mixture", DOMAINS)
    law = Law(members()["general"], plain.terms, {"log_mix_curvature": -0.5, "log_gamma": 0.0})
    columns, loss = runs(60)
    fit = fit_law(law, columns, loss, prior=public_prior(), draws=50)
    covariance = fit.covariance(columns, prior=public_prior())
    assert not covariance[~law.free].any()
    assert (fit.draws[:, ~law.free] == fit.theta[~law.free]).all()
    assert np.linalg.eigvalsh(covariance).min() > -1e-12


def test_without_a_prior_what_nothing_bends_stays_where_it_is():
    """Only differences of worth matter: their common level has no variance instead of an infinite one."""
    law = get_law("general+mixture", DOMAINS)
    columns, loss = runs(80)
    fit = fit_law(law, columns, loss)
    level = np.array([name.startswith("worth.") for name in law.names], dtype=float)
    covariance = fit.covariance(columns)
    assert np.isfinite(covariance).all()
    assert level @ covariance @ level < 1e-6 * np.trace(covariance)


def test_equal_weights_give_the_posterior():
    law = get_law("general")
    rng = np.random.default_rng(0)
    grad, precision = rng.normal(size=(6, 30)), np.diag([0.0, 1, 2, 3, 4, 5])
    found = laplace(law, grad, np.ones(30), 0.01, precision)
    np.testing.assert_allclose(found, np.linalg.inv(grad @ grad.T / 0.012533**2 + precision), rtol=1e-9)


def test_points_of_a_run_tell_what_the_run_does():
    """Ten rows of each run, however alike, leave as much open as one row of each, the prior weighing accordingly."""
    law = get_law("general")
    rng = np.random.default_rng(0)
    grad, precision, weights = rng.normal(size=(6, 12)), np.diag([0.5, 1, 2, 3, 4, 5]), rng.uniform(0.5, 1.5, 12)
    weights /= weights.mean()
    alone = laplace(law, grad, weights, 0.01, precision)
    runs, many = np.repeat(np.arange(12), 10), np.repeat(grad, 10, axis=1)
    points = laplace(law, many, np.repeat(weights, 10), 0.01, 10 * precision, runs, 10.0)
    np.testing.assert_allclose(points, alone, rtol=1e-9)
    as_runs = laplace(law, many, np.repeat(weights, 10), 0.01, precision)
    assert np.trace(as_runs) < 0.2 * np.trace(alone)


def test_draws_are_seeded_and_stay_near_the_box():
    law = get_law("general+mixture", DOMAINS)
    theta = np.array([p.mean for p in law.parameters])
    wide = np.diag(np.full(len(theta), 25.0))
    one, two, other = (gaussian_draws(law, theta, wide, np.random.default_rng(seed), 30) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
    lower, upper = law.box()
    assert ((one >= lower - 1) & (one <= upper + 1)).all()
