import numpy as np
from foretrain.simulator.curve.law.multipower import FADE, Shape, basis, basis_gradient
from foretrain.simulator.curve.rates.path import piecewise_path
from hypothesis import given
from hypothesis import strategies as st

SHAPES = st.tuples(st.floats(0.1, 1.5), st.floats(-8, 0), st.floats(0.1, 2), st.floats(-0.3, 1.5)).map(np.array)
NAMES = st.sampled_from(["cosine", "constant", "two_stage", "wsd"])


@given(SHAPES, NAMES)
def test_gradient_matches_differences(paths, shape, name):
    decay = paths[name].decay(np.array([700.0, 3100.0, 5000.0, 6000.0]))
    values, gradient = basis_gradient(shape, decay)
    np.testing.assert_array_equal(values, basis(shape, decay))
    for i in range(4):
        step = np.eye(4)[i] * 1e-5
        slope = (basis(shape + step, decay) - basis(shape - step, decay)) / 2e-5
        np.testing.assert_allclose(gradient[i], slope, rtol=1e-5, atol=1e-7)


@given(SHAPES)
def test_loss_falls_faster_while_the_rate_decays(paths, shape):
    """The annealing term is 0 before a decay and at a constant rate; it only falls while the rate does."""
    step = np.arange(4700.0, 6001.0, 10.0)
    term = basis(shape, paths["wsd"].decay(step))[:, 2]
    assert (term[step <= 4800] == 0).all()
    assert (np.diff(term[step >= 4850]) < 0).all()
    assert (basis(shape, paths["constant"].decay(step))[:, 2] == 0).all()


@given(SHAPES)
def test_at_a_constant_rate_the_loss_falls_as_a_power_of_the_steps(paths, shape):
    values = basis(shape, paths["constant"].decay(np.array([1000.0, 2000.0, 4000.0])))
    behind = paths["constant"].behind([1000.0, 2000.0, 4000.0])
    np.testing.assert_allclose(np.diff(np.log(values[:, 1])), -shape[0] * np.diff(np.log(behind)), rtol=1e-9)
    assert (values[:, 0] == 1).all()


def test_the_published_law_means_this_shape():
    """Luo et al. 2025, with C 1 at a peak of 3e-4 and γ .5, is C · peak^(1 - γ) per peak step."""
    assert Shape.of(Shape().array()) == Shape()
    np.testing.assert_allclose(np.exp(Shape().log_c), np.sqrt(3e-4))


def test_a_fall_of_the_rate_is_worth_less_after_more_progress():
    """The same fall after eight times the peak steps, looked at equally long after it."""
    early, late = (piecewise_path(40_000, 0, {at: 0.3}) for at in (4_000, 32_000))
    terms = [basis(Shape().array(), path.decay([at + 5_000.0]))[0, 2] for path, at in ((early, 4_000), (late, 32_000))]
    assert terms[0] < terms[1] < 0
    np.testing.assert_allclose(terms[1] / terms[0], 8.0**-FADE, rtol=1e-6)
