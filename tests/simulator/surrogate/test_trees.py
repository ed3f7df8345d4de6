"""Trees: they learn steps, never see what is left out, and give the same bits."""

import numpy as np
import pytest
from foretrain.simulator.surrogate import _trees


def sample(n: int, seed: int = 0):
    """Features, a step of 2 % along the first, and noise of 0.2 %."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, 3))
    return x, np.where(x[:, 0] > 0.4, 0.01, -0.01) + 0.002 * rng.standard_normal(n)


def test_a_step_is_learned():
    trees = _trees.grow(*sample(300), np.ones(300), seed=0)
    new, truth = sample(200, 1)
    away = np.abs(new[:, 0] - 0.4) > 0.05
    assert np.abs(trees.predict(new) - truth)[away].mean() < 0.003


def test_the_same_seed_gives_the_same_bits():
    x, residual = sample(200)
    groups = np.arange(200)
    trust = np.ones(200)
    first, again = (_trees.grow(x, residual, trust, seed=3).arrays() for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
    one, other = (_trees.left_out(x, residual, trust, groups, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_runs_that_are_not_believed_are_hardly_learned():
    x, residual = sample(300)
    spoilt = residual + np.where(np.arange(300) % 10 == 0, 0.5, 0.0)
    trust = np.where(np.arange(300) % 10 == 0, 1e-3, 1.0)
    clean, doubted, believed = (
        _trees.grow(x, z, w, seed=0).predict(x)
        for z, w in ((residual, np.ones(300)), (spoilt, trust), (spoilt, np.ones(300)))
    )
    assert np.abs(doubted - clean).mean() < 0.15 * np.abs(believed - clean).mean()


def test_a_run_that_is_left_out_is_not_known():
    """Rows of one training run share a residual that nothing else tells: only who has seen the run can predict it."""
    rng = np.random.default_rng(0)
    runs = np.repeat(np.arange(60), 5)
    x = np.repeat(rng.random((60, 3)), 5, axis=0)
    residual = np.repeat(rng.standard_normal(60), 5)
    known = _trees.left_out(x, residual, np.ones(300), np.arange(300), seed=0)
    unknown = _trees.left_out(x, residual, np.ones(300), runs, seed=0)
    assert np.corrcoef(known, residual)[0, 1] > 0.9
    assert np.corrcoef(unknown, residual)[0, 1] < 0.4


@pytest.mark.parametrize("groups", [3, 5, 200])
def test_every_run_is_predicted(groups):
    x, residual = sample(200)
    out = _trees.left_out(x, residual, np.ones(200), np.arange(200) % groups, seed=1)
    assert np.isfinite(out).all()
    assert out.any()


def test_trees_never_extrapolate():
    """Beyond what they have seen, trees say the same: that is why they correct a law and never replace it."""
    x, residual = sample(300)
    trees = _trees.grow(x, residual, np.ones(300), seed=0)
    far = np.array([[1e3, 0.5, 0.5], [1e6, 0.5, 0.5]])
    inside = np.array([[x[:, 0].max(), 0.5, 0.5]])
    np.testing.assert_array_equal(trees.predict(far), np.repeat(trees.predict(inside), 2))
