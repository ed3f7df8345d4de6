"""The minimiser itself: robust objective, global enough, inside its box, batches that don't mix."""

import numpy as np
import pytest
from foretrain.simulator.fitting._fit import thin
from foretrain.simulator.fitting._newton import DELTA, Problem, curvature, huber, minimise
from foretrain.simulator.laws import Law, get_law, members

TRUTH = np.array([np.log(2.5), -0.4, 0.3, 0.33, 0.38, 0.15])
FAR_STARTS = np.array(
    [
        [0.0, -3.0, -3.0, 0.05, 0.05, -1.0],
        [2.0, 2.0, 3.0, 0.90, 0.90, 1.0],
        [1.0, 0.0, 0.0, 0.35, 0.36, 0.0],
        [0.5, 1.0, -2.0, 0.10, 1.20, 0.5],
        [1.5, -3.0, 3.0, 1.00, 0.10, 0.0],
    ]
)
NO_PRIOR = np.zeros((6, 6))
CENTRE = np.zeros(6)


@pytest.fixture
def make_problem(simulate):
    """`make_problem(law, n, noise, truth)`: runs that follow the law at `truth`."""

    def make(law: Law | str = "general", n: int = 60, noise: float = 0.0, truth=TRUTH, precision=NO_PRIOR) -> Problem:
        law = get_law(law) if isinstance(law, str) else law
        columns, _ = simulate(n)
        features = law.prepare(columns, law.reference(columns))
        clean = np.log(law.loss(truth[None], features)[0])
        return Problem(law, features, clean + np.random.default_rng(1).normal(0, noise, n), precision)

    return make


def predict(problem: Problem, theta) -> np.ndarray:
    return np.log(problem.law.loss(theta, problem.features))


def value_at(problem: Problem, theta, weights, delta=DELTA, mean=CENTRE) -> np.ndarray:
    """The objective written out plainly, `(K,)`."""
    size = np.abs(predict(problem, theta) - problem.log_loss)
    each = np.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta))
    step = problem.law.complete(theta) - mean
    return (weights * each).sum(axis=-1) + 0.5 * ((step @ problem.precision) * step).sum(axis=-1)


def test_huber_is_quadratic_inside_and_linear_outside():
    delta = 0.1
    inside, outside = np.array([-0.1, -0.03, 0.0, 0.05, 0.1]), np.array([-7.0, -0.2, 0.11, 3.0])
    np.testing.assert_allclose(huber(inside, delta), inside**2 / 2)
    np.testing.assert_allclose(huber(outside, delta), delta * (np.abs(outside) - delta / 2))


def test_huber_is_smooth_even_and_matches_its_clipped_slope():
    r = np.linspace(-0.5, 0.5, 2001)
    np.testing.assert_array_equal(huber(r, 0.1), huber(-r, 0.1))
    slope = (huber(r + 1e-7, 0.1) - huber(r - 1e-7, 0.1)) / 2e-7
    np.testing.assert_allclose(slope, np.clip(r, -0.1, 0.1), atol=1e-6)


def test_objective_is_its_definition(make_problem):
    problem = make_problem(noise=0.01, precision=np.diag([0.0, 1e-4, 1e-4, 1e-3, 1e-3, 1e-4]))
    weights = np.random.default_rng(2).uniform(0, 2, (5, 60))
    mean = np.random.default_rng(3).normal(0, 1, (5, 6))
    residual, _ = problem.linearise(FAR_STARTS)
    found = problem.objective(residual, FAR_STARTS, weights, mean)
    np.testing.assert_allclose(found, value_at(problem, FAR_STARTS, weights, mean=mean), rtol=1e-12)


def test_linearise_gives_the_gradient_of_log_loss(make_problem):
    problem = make_problem(noise=0.01)
    residual, grad = problem.linearise(FAR_STARTS)
    np.testing.assert_allclose(residual, predict(problem, FAR_STARTS) - problem.log_loss, atol=1e-12)
    for j in range(6):
        move = 1e-5 * np.eye(6)[j]
        slope = (predict(problem, FAR_STARTS + move) - predict(problem, FAR_STARTS - move)) / 2e-5
        np.testing.assert_allclose(grad[:, j], slope, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", ["general", "chinchilla", "kaplan"])
@pytest.mark.parametrize("delta", [1.0, 0.1])
def test_far_starts_reach_the_same_optimum_without_noise(name, delta, make_problem):
    problem = make_problem(name)
    theta, value = minimise(problem, FAR_STARTS, np.ones(60), CENTRE, delta=delta, iterations=300)
    assert (value < 1e-20).all()
    np.testing.assert_allclose(predict(problem, theta), np.broadcast_to(problem.log_loss, (5, 60)), atol=1e-9)
    np.testing.assert_allclose(
        problem.law.complete(theta), np.broadcast_to(problem.law.complete(TRUTH), (5, 6)), atol=1e-6
    )


@pytest.mark.parametrize("exact", [True, False])
def test_noisy_optimum_is_stationary_and_never_worse_than_its_start(exact, make_problem):
    problem = make_problem("chinchilla", noise=0.01)
    weights = np.ones(60)
    before = value_at(problem, FAR_STARTS, weights, delta=0.1)
    theta, value = minimise(problem, FAR_STARTS, weights, CENTRE, delta=0.1, iterations=300, exact=exact)
    np.testing.assert_allclose(value, value_at(problem, theta, weights, delta=0.1), rtol=1e-10)
    assert (value <= before).all()
    best = theta[[np.argmin(value)]]
    for j in np.flatnonzero(problem.law.free):
        move = 1e-4 * np.eye(6)[j]
        up, down = (value_at(problem, best + s * move, weights, delta=0.1) for s in (1, -1))
        assert abs(up - down) / 2e-4 < 1e-5  # slope; it is about 1e-1 at the starts
        assert min(up, down) > value.min()


def test_a_fall_in_iterations_is_monotone(make_problem):
    problem = make_problem(noise=0.01)
    values = [minimise(problem, FAR_STARTS, np.ones(60), CENTRE, iterations=i)[1] for i in (1, 3, 10, 40)]
    assert (np.diff(values, axis=0) <= 0).all()


def test_result_stays_inside_the_box_and_rests_on_its_bound(make_problem):
    """The runs follow an exponent beyond the box: the bound is the answer, the rest is as good as it can be."""
    truth = np.array([np.log(2.5), -0.4, 0.3, 3.6, 0.38, 0.0])
    problem = make_problem("general", truth=truth)
    lower, upper = problem.law.box()
    starts = np.vstack([FAR_STARTS, [[1.0, 0.0, 0.0, 2.9, 0.4, 0.0]]])
    theta, value = minimise(problem, starts, np.ones(60), CENTRE, delta=1.0, iterations=300)
    assert (theta >= lower).all()
    assert (theta <= upper).all()
    best = theta[np.argmin(value)]
    assert best[3] == upper[3]
    held = Law(members()["general"], (), {"params_exponent": float(upper[3])})
    other = Problem(held, problem.features, problem.log_loss, NO_PRIOR)
    assert value.min() <= minimise(other, starts, np.ones(60), CENTRE, delta=1.0, iterations=300)[1].min() * (1 + 1e-6)


def test_fixed_parameters_do_not_move(make_problem):
    law = Law(members()["general"], (), {"params_exponent": 0.5, "log_gamma": -0.2})
    problem = make_problem(law, noise=0.01)
    theta, _ = minimise(problem, FAR_STARTS, np.ones(60), CENTRE, delta=0.1)
    assert (theta[:, 3] == 0.5).all()
    assert (theta[:, 5] == -0.2).all()


def test_starts_are_not_changed_in_place(make_problem):
    starts = FAR_STARTS.copy()
    minimise(make_problem(noise=0.01), starts, np.ones(60), CENTRE, iterations=5)
    np.testing.assert_array_equal(starts, FAR_STARTS)


def bootstrap(problem: Problem, count: int):
    """The optimum on all runs, bootstrap weights, and the optimum repeated as the start of each."""
    theta, _ = minimise(problem, TRUTH[None], np.ones(60), CENTRE)
    weights = np.random.default_rng(4).dirichlet(np.ones(60), size=count) * 60
    return theta[0], weights, np.repeat(theta, count, axis=0)


def test_a_problem_is_unaffected_by_its_neighbours(make_problem):
    """Alone, among others and in another order, hard neighbours included."""
    problem = make_problem("chinchilla", noise=0.01)
    _, weights, start = bootstrap(problem, 5)
    start = np.vstack([start[:3], FAR_STARTS[:2]])
    together, values = minimise(problem, start, weights, CENTRE)
    backwards, _ = minimise(problem, start[::-1], weights[::-1], CENTRE)
    np.testing.assert_allclose(predict(problem, backwards[::-1]), predict(problem, together), atol=1e-9)
    for k in range(5):
        alone, value = minimise(problem, start[k : k + 1], weights[k : k + 1], CENTRE)
        np.testing.assert_allclose(predict(problem, alone)[0], predict(problem, together)[k], atol=1e-9)
        assert value[0] == pytest.approx(values[k], rel=1e-10)


def gaps(problem: Problem, count: int, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Frozen against exact: each draw's largest distance in log loss `(count,)`, and the ratio of spreads `(n,)`.

    Distances are in units of the bootstrap spread of the exact optima at that run.
    """
    optimum, weights, start = bootstrap(problem, count)
    bend = curvature(problem, optimum)
    frozen, _ = minimise(problem, start, weights, CENTRE, iterations=60, tolerance=tolerance, frozen=bend)
    exact, _ = minimise(problem, start, weights, CENTRE)
    one, two = predict(problem, frozen), predict(problem, exact)
    spread = two.std(axis=0)
    return (np.abs(one - two) / spread).max(axis=1), one.std(axis=0) / spread


@pytest.mark.parametrize(("name", "share"), [("general", 0.9), ("chinchilla", 1.0), ("kaplan", 1.0)])
def test_frozen_curvature_finds_the_exact_optima(name, share, make_problem):
    """Where γ is free some bootstraps have several optima, and a few end in another one (of either quality)."""
    gap, _ = gaps(make_problem(name, noise=0.01), 100, 1e-9)
    assert (gap < 1e-3).mean() >= share


@pytest.mark.parametrize("name", ["general", "chinchilla", "kaplan"])
def test_frozen_curvature_at_the_tolerance_of_draws(name, make_problem):
    """Draws stop early (1e-5): single ones may be off by a little, their spread isn't."""
    gap, ratio = gaps(make_problem(name, noise=0.01), 100, 1e-5)
    assert (gap < 0.02).mean() >= 0.85
    np.testing.assert_allclose(ratio, 1.0, atol=0.1)


def test_curvature_is_the_second_derivative_of_log_loss(make_problem):
    problem = make_problem("general", n=5)
    found = curvature(problem, TRUTH).reshape(5, 6, 6)
    np.testing.assert_array_equal(found, found.transpose(0, 2, 1))
    step = 1e-3
    for i in range(6):
        for j in range(6):
            a, b = step * np.eye(6)[i], step * np.eye(6)[j]
            corners = [predict(problem, (TRUTH + s * a + t * b)[None])[0] * s * t for s in (1, -1) for t in (1, -1)]
            np.testing.assert_allclose(found[:, i, j], sum(corners) / (4 * step**2), atol=2e-4, rtol=1e-3)


def test_prior_alone_is_minimised_at_its_centre(make_problem):
    precision = np.diag([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    problem = make_problem("general", precision=precision)
    mean = np.array([0.9, 0.3, -0.2, 0.4, 0.3, 0.1])
    theta, value = minimise(problem, FAR_STARTS, np.zeros(60), mean)
    np.testing.assert_allclose(theta, np.broadcast_to(mean, theta.shape), atol=1e-6)
    assert (value < 1e-12).all()


def test_thinning_spreads_over_the_losses_and_keeps_the_weight_against_the_prior(make_problem):
    problem = make_problem(n=600, noise=0.01)
    some, weights = thin(problem, np.ones(600), 200)
    assert len(some.log_loss) == len(weights) == 200
    assert weights.sum() == pytest.approx(600)
    assert all(len(values) == 200 for block in some.features for values in block.values())
    levels = np.linspace(0, 1, 11)
    np.testing.assert_allclose(np.quantile(some.log_loss, levels), np.quantile(problem.log_loss, levels), atol=0.02)
    theta = TRUTH[None]
    kept = np.isin(problem.log_loss, some.log_loss)
    np.testing.assert_array_equal(predict(some, theta)[0], predict(problem, theta)[0][kept])
    same, everything = thin(problem, np.ones(600), 600)
    assert same is problem
    assert everything.sum() == 600
