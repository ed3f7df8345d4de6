"""The posynomial of learning rate and batch: its minimum, runs that state neither, and what can't blow up."""

import numpy as np
import pytest
from foretrain.simulator.fitting import fit_law, public_prior
from foretrain.simulator.laws import Law, Reference, get_law
from foretrain.simulator.laws.posynomial import Posynomial, _costs
from foretrain.simulator.predictor.textbook_parameters import decompose, rebase
from hypothesis import example, given, settings
from hypothesis import strategies as st

LAW = get_law("general+lr_batch_posynomial")
TERM = Posynomial()
REFERENCE = Reference({"params": 3e8, "tokens": 1e10, "lr": 1e-3, "batch_tokens": 5e5})
OWN = slice(len(LAW.parameters) - len(TERM.parameters), None)
SEEDS = st.integers(0, 10_000)


def thetas(seed: int, count: int = 1, width: float = 0.5) -> np.ndarray:
    """Parameter vectors of the whole law near its prior's centre, `(count, P)`."""
    rng = np.random.default_rng(seed)
    centre, sd = (np.array([getattr(p, key) for p in LAW.parameters]) for key in ("mean", "sd"))
    return LAW.complete(centre + width * sd * rng.uniform(-1, 1, (count, len(centre))))


def sizes(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    params = 10 ** rng.uniform(7.5, 9.5, n)
    return {"params": params, "tokens": params * 10 ** rng.uniform(0.8, 2, n)}


def stated(n: int, seed: int = 0, spread: float = 1.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed + 1)
    lr, batch = 1e-3 * np.exp(spread * rng.standard_normal(n)), 5e5 * np.exp(spread * rng.standard_normal(n))
    return {**sizes(n, seed), "lr": lr, "batch_tokens": batch}


def loss(theta, columns, law: Law = LAW, reference: Reference = REFERENCE) -> np.ndarray:
    return law.loss(np.atleast_2d(theta), law.prepare(columns, reference))[0]


def at_best(theta, columns) -> dict[str, np.ndarray]:
    """The same runs with the learning rate and the batch that the term calls best."""
    features = TERM.prepare(columns, REFERENCE)
    best = TERM._best(theta[:, OWN], features)[0]
    lr, batch = (REFERENCE.values[c] * np.exp(b) for c, b in zip(("lr", "batch_tokens"), best, strict=True))
    return {**columns, "lr": lr, "batch_tokens": batch}


# the minimum


@pytest.mark.parametrize("seed", range(12))
def test_the_minimum_is_the_one_that_scipy_finds(seed):
    from scipy.optimize import minimize

    theta, columns = thetas(seed), sizes(3, seed)
    features = TERM.prepare(columns, REFERENCE)
    ours = TERM._best(theta[:, OWN], features)[0]
    for run in range(3):
        one = {name: features[name][run : run + 1] for name in ("params", "tokens")}

        def cost(u, one=one):
            return float(_costs(theta[:, OWN], u.reshape(1, 2, 1), one)[0][0, 0])

        found = minimize(
            cost, np.zeros(2), bounds=[(-8, 8)] * 2, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-12}
        )
        assert cost(ours[:, run]) <= found.fun * (1 + 1e-7)
        inside = np.abs(found.x).max() < 7.9
        if inside:
            np.testing.assert_allclose(ours[:, run], found.x, atol=0.02)


@settings(deadline=None, max_examples=40)
@given(SEEDS)
def test_costs_are_convex_in_the_logs(seed):
    rng = np.random.default_rng(seed)
    theta, features = thetas(seed, width=0.3)[:, OWN], TERM.prepare(sizes(30, seed), REFERENCE)
    a, b = rng.uniform(-2, 2, (2, 1, 2, 30))
    ends = 0.5 * (_costs(theta, a, features)[0] + _costs(theta, b, features)[0])
    middle, reached = _costs(theta, 0.5 * (a + b), features)[0], ends < 1.3  # no end at the cap, e levels
    assert (middle <= ends + 1e-12)[reached].all()


@settings(deadline=None, max_examples=30)
@given(SEEDS)
@example(210)  # its best batch lies beyond the edge of the search, where the learning rate was that of no batch at all
def test_no_setting_beats_the_best_one(seed):
    theta, columns = thetas(seed), stated(40, seed)
    bare = {name: columns[name] for name in ("params", "tokens")}
    assert (loss(theta, bare) <= loss(theta, columns) * (1 + 1e-9)).all()
    np.testing.assert_allclose(loss(theta, bare), loss(theta, at_best(theta, bare)), rtol=1e-9)


@pytest.mark.parametrize("missing", [("lr",), ("batch_tokens",), ("lr", "batch_tokens")])
def test_a_run_that_does_not_state_both_is_taken_as_well_tuned(missing):
    theta, columns = thetas(1), stated(20)
    fewer = {name: values for name, values in columns.items() if name not in missing}
    bare = {name: columns[name] for name in ("params", "tokens")}
    np.testing.assert_array_equal(loss(theta, fewer), loss(theta, bare))


def test_many_runs_of_one_size_share_one_minimum():
    """The minimum is looked for once for each size and data, and must come back to the runs that it belongs to."""
    theta = thetas(2)
    few = sizes(5)
    pick = np.array([3, 0, 0, 4, 1, 2, 3, 3, 1])
    many = {name: values[pick] for name, values in few.items()}
    np.testing.assert_allclose(loss(theta, many), loss(theta, few)[pick], rtol=1e-12)
    features = TERM.prepare(many, REFERENCE)
    assert len(np.unique(features["cell"])) == 5


def test_where_costs_run_away_the_minimum_stays_finite():
    """All costs fall with the learning rate: only the wide bowl holds the minimum."""
    theta = thetas(3)
    own = theta[:, OWN].reshape(1, 4, 5)
    own[:, :, 1] = -np.abs(own[:, :, 1])
    best = TERM._best(own.reshape(1, -1), TERM.prepare(sizes(10), REFERENCE))
    assert np.isfinite(best).all()
    assert np.abs(best).max() <= 8


# gradient


def differences(theta, columns) -> np.ndarray:
    """d loss / d theta by central differences, `(P, n)`."""
    step = 1e-5
    moves = step * np.eye(theta.shape[1])
    return np.array([(loss(theta + move, columns) - loss(theta - move, columns)) / (2 * step) for move in moves])


@pytest.mark.parametrize("which", ["stated", "best"])
@pytest.mark.parametrize("seed", range(4))
def test_the_gradient_equals_central_differences(seed, which):
    """At the best settings the minimum moves with the parameters, which to first order changes nothing."""
    theta, columns = thetas(seed), (stated if which == "stated" else sizes)(12, seed)
    value, grad = LAW.loss(theta, LAW.prepare(columns, REFERENCE), gradient=True)
    np.testing.assert_allclose(grad[0], differences(theta, columns), rtol=1e-4, atol=1e-6 * value.max())


# moving the reference


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
def test_another_reference_point_keeps_the_curve(seed, x, t):
    """Exact but for the wide bowl and the cap on what diverged, which are shares of the level."""
    theta = thetas(seed, width=0.3)
    moved = Reference({**REFERENCE.values, "params": 3e8 * np.exp(x), "tokens": 1e10 * np.exp(t)})
    for columns in (stated(20, seed, spread=0.3), sizes(20, seed)):
        again = loss(rebase(LAW, theta, REFERENCE, moved), columns, reference=moved)
        np.testing.assert_allclose(again, loss(theta, columns), rtol=1e-3)


def test_the_reference_is_the_geometric_mean_of_the_largest_runs():
    columns = stated(50)
    values = LAW.reference(columns).values
    largest = np.argsort(columns["params"] * columns["tokens"])[-10:]
    for name in ("lr", "batch_tokens"):
        assert values[name] == pytest.approx(np.exp(np.log(columns[name])[largest].mean()))


# tuning


def test_offsets_are_zero_at_the_best_and_logs_elsewhere():
    theta = thetas(4)
    best = at_best(theta, sizes(15))
    own = theta[0, OWN]
    for values in TERM.offsets(own, TERM.prepare(best, REFERENCE)).values():
        np.testing.assert_allclose(values, 0, atol=1e-9)
    off = TERM.offsets(
        own, TERM.prepare({**best, "lr": 3 * best["lr"], "batch_tokens": best["batch_tokens"] / 2}, REFERENCE)
    )
    np.testing.assert_allclose(off["log_lr_offset"], np.log(3))
    np.testing.assert_allclose(off["log_batch_offset"], -np.log(2))
    assert TERM.offsets(own, TERM.prepare(sizes(5), REFERENCE)) == {}


def test_tuned_runs_are_those_without_settings():
    columns = stated(10)
    tuned = TERM.tuned(TERM.prepare(columns, REFERENCE))
    bare = TERM.prepare({name: columns[name] for name in ("params", "tokens")}, REFERENCE)
    assert set(tuned) == set(bare)
    theta = thetas(5)
    np.testing.assert_array_equal(
        TERM.effect(theta[:, OWN], tuned).penalty[0], TERM.effect(theta[:, OWN], bare).penalty[0]
    )


def test_what_diverged_is_bounded():
    """A learning rate of 100 costs at most four times e levels: one absurd run must not rule a fit."""
    theta, columns = thetas(6), sizes(10)
    absurd = {**columns, "lr": np.full(10, 1e2), "batch_tokens": np.full(10, 1e3)}
    value, grad = LAW.loss(theta, LAW.prepare(absurd, REFERENCE), gradient=True)
    assert np.isfinite(grad).all()
    level = float(np.exp(theta[0, 0]))
    assert (value - loss(theta, columns) <= level * (4 * np.e + 0.01)).all()


# tables


@pytest.fixture(scope="module")
def found():
    """A table of the law itself with noise of 0.2 %, and the fit of it; most settings lie near their best."""
    theta = thetas(7, width=0.3)
    rng = np.random.default_rng(0)
    columns = at_best(theta, sizes(200, 7))
    columns |= {name: columns[name] * np.exp(0.8 * rng.standard_normal(200)) for name in ("lr", "batch_tokens")}
    observed = loss(theta, columns) * np.exp(0.002 * rng.standard_normal(200))
    return theta, columns, fit_law(LAW, columns, observed, prior=public_prior())


def test_the_best_settings_of_a_noisy_table_are_as_good_as_the_true_ones(found):
    """What counts is not where the minimum lies but what the settings that are recommended cost."""
    theta, _, fit = found
    larger = {name: 3 * values for name, values in sizes(30, 8).items()}
    features = TERM.prepare(larger, fit.reference)
    best = TERM._best(fit.theta[None, OWN], features)[0]
    ours = {c: fit.reference.values[c] * np.exp(b) for c, b in zip(("lr", "batch_tokens"), best, strict=True)}
    excess = loss(theta, {**larger, **ours}) / loss(theta, larger) - 1
    assert excess.min() > -1e-9
    assert excess.mean() < 0.003


def test_a_noisy_table_gives_the_losses_of_its_law(found):
    theta, columns, fit = found
    np.testing.assert_allclose(fit.log_loss(columns), np.log(loss(theta, columns)), atol=0.01)
    bare = {name: columns[name] for name in ("params", "tokens")}
    np.testing.assert_allclose(fit.log_loss(bare), np.log(loss(theta, bare)), atol=0.01)


def test_settings_cost_what_they_add_to_the_best(found):
    _, columns, fit = found
    parts = decompose(fit, columns)
    assert (parts["lr_batch_posynomial"] >= -1e-9).all()
    np.testing.assert_allclose(sum(parts.values()), np.exp(fit.log_loss(columns)), rtol=1e-9)


def test_it_takes_eighty_runs_whose_settings_vary_by_themselves():
    columns = stated(80)
    assert TERM.identifiable(columns) is None
    few = {name: values[:79] for name, values in columns.items()}
    assert "79 runs are too few" in str(TERM.identifiable(few))
    for name in ("lr", "batch_tokens"):
        assert name in str(TERM.identifiable({key: v for key, v in columns.items() if key != name}))
        assert name in str(TERM.identifiable({**columns, name: np.full(80, columns[name][0])}))
        by_size = {**columns, name: columns[name][0] * (columns["params"] / 1e8) ** -0.3}
        assert name in str(TERM.identifiable(by_size))
