"""`fit_law` and `LawPrior`: a published table to the last digit, weights, outliers, few runs, many runs."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from foretrain.core.errors import FitError
from foretrain.simulator.fitting import LawPrior, fit_law, weak_prior
from foretrain.simulator.laws import CORE, Law, Reference, get_law, members

CHINCHILLA = Path(__file__).parents[3].parent / "shared" / "data" / "chinchilla" / "runs.csv"
REFERENCE = Reference({"params": 1e9, "tokens": 2e10})


@pytest.fixture(scope="module")
def chinchilla():
    """The 240 points that Besiroglu et al. 2024 fit, as columns and loss."""
    if not CHINCHILLA.exists():
        pytest.skip("the reconstructed Chinchilla table is not beside this checkout (shared/data/chinchilla)")
    table = pd.read_csv(CHINCHILLA)
    table = table[table["outlier_dropped_by_epoch"] != 1]
    assert len(table) == 240
    return {key: table[key].to_numpy() for key in ("params", "tokens")}, table["loss"].to_numpy()


def textbook(fit) -> dict[str, float]:
    """A, B, E, α, β of a Chinchilla fit: λρw·N0^α, λρ(1-w)·D0^β, λ(1-ρ), a, b."""
    log_level, logit_rho, logit_w, alpha, beta, log_gamma = fit.theta
    assert log_gamma == 0.0
    level, rho, w = np.exp(log_level), 1 / (1 + np.exp(-logit_rho)), 1 / (1 + np.exp(-logit_w))
    at = fit.reference.values
    return {
        "A": level * rho * w * at["params"] ** alpha,
        "B": level * rho * (1 - w) * at["tokens"] ** beta,
        "E": level * (1 - rho),
        "alpha": alpha,
        "beta": beta,
    }


def test_chinchilla_table_reaches_the_known_optimum(chinchilla):
    """A 4500-point grid of L-BFGS starts on the same objective ends at 0.00101827402901."""
    columns, loss = chinchilla
    fit = fit_law(get_law("chinchilla"), columns, loss)
    assert fit.objective <= 0.0010182740180
    assert fit.objective == pytest.approx(0.0010182740177, abs=1e-13)
    found = textbook(fit)
    assert found["A"] == pytest.approx(477.83, rel=1e-4)
    assert found["B"] == pytest.approx(2143.4, rel=1e-4)
    assert found["E"] == pytest.approx(1.81722, abs=1e-5)
    assert found["alpha"] == pytest.approx(0.34731, abs=1e-5)
    assert found["beta"] == pytest.approx(0.36717, abs=1e-5)


def test_objective_is_the_huber_sum_of_the_published_formula(chinchilla):
    columns, loss = chinchilla
    fit = fit_law(get_law("chinchilla"), columns, loss)
    p = textbook(fit)
    predicted = p["E"] + p["A"] * columns["params"] ** -p["alpha"] + p["B"] * columns["tokens"] ** -p["beta"]
    np.testing.assert_allclose(np.exp(fit.log_loss(columns)), predicted, rtol=1e-10)
    size = np.abs(np.log(predicted) - np.log(loss))
    huber = np.where(size <= 1e-3, size**2 / 2, 1e-3 * (size - 5e-4)).sum()
    assert fit.objective == pytest.approx(huber, rel=1e-9)
    # five parameters; the usual noise of a table, 0.5 %, counts like two more runs
    assert fit.noise == pytest.approx((size.sum() + 2 * 5e-3) / (240 - 5 + 2), rel=1e-9)


def test_general_form_fits_the_table_no_worse_than_its_special_cases(chinchilla):
    columns, loss = chinchilla
    general, plain, kaplan = (fit_law(get_law(n), columns, loss).objective for n in ("general", "chinchilla", "kaplan"))
    assert general <= plain
    assert general <= kaplan


@pytest.mark.parametrize("name", ["chinchilla", "general"])
def test_integer_weights_equal_duplicated_rows(name, simulate, grow):
    columns, loss = simulate(80, noise=0.005)
    copies = np.random.default_rng(1).integers(1, 3, 80)
    weighted = fit_law(get_law(name), columns, loss, weights=copies)
    repeated = {key: np.repeat(values, copies) for key, values in columns.items()}
    plain = fit_law(get_law(name), repeated, np.repeat(loss, copies))
    for where in (columns, grow(columns)):
        np.testing.assert_allclose(weighted.log_loss(where), plain.log_loss(where), atol=1e-6)


@pytest.mark.parametrize("name", ["chinchilla", "general"])
def test_zero_weight_equals_dropping(name, simulate, grow):
    """The dropped runs still count towards the reference point, so parameters differ and predictions don't."""
    columns, loss = simulate(80, noise=0.005)
    keep = np.random.default_rng(2).random(80) < 0.7
    loss = np.where(keep, loss, 9.0)
    weighted = fit_law(get_law(name), columns, loss, weights=keep.astype(float))
    plain = fit_law(get_law(name), {key: values[keep] for key, values in columns.items()}, loss[keep])
    for where in (columns, grow(columns)):
        np.testing.assert_allclose(weighted.log_loss(where), plain.log_loss(where), atol=1e-6)


def test_scale_of_the_weights_is_irrelevant(simulate, grow):
    columns, loss = simulate(40, noise=0.01)
    weights = np.random.default_rng(3).uniform(0.5, 2, 40)
    one, two = (
        fit_law(get_law("general"), columns, loss, weights=weights * k, prior=weak_prior()) for k in (1.0, 1000.0)
    )
    np.testing.assert_allclose(one.log_loss(grow(columns)), two.log_loss(grow(columns)), atol=1e-9)


@pytest.mark.parametrize("name", ["chinchilla", "general"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_few_outliers_hardly_move_the_predictions(name, seed, simulate, grow):
    columns, loss = simulate(200, noise=0.005, seed=seed)
    clean = fit_law(get_law(name), columns, loss)
    bad = np.random.default_rng(seed).choice(200, size=10, replace=False)
    spoilt = fit_law(get_law(name), columns, loss * np.where(np.isin(np.arange(200), bad), 1.5, 1.0))
    for where in (columns, grow(columns)):
        assert np.abs(spoilt.log_loss(where) - clean.log_loss(where)).max() < 0.01


def at_decades(decades: float) -> dict[str, np.ndarray]:
    """One compute-optimal run, `decades` of parameters (and of tokens) beyond the largest that `simulate` makes."""
    return {"params": np.array([3e9 * 10**decades]), "tokens": np.array([6e10 * 10**decades])}


def spread(fit, decades: float) -> float:
    return float(fit.log_loss_draws(at_decades(decades)).std())


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", members())
def test_six_runs_and_a_prior_stay_finite_and_admit_what_they_do_not_know(name, seed, simulate):
    columns, loss = simulate(6, noise=0.005, seed=seed)
    fit = fit_law(get_law(name), columns, loss, prior=weak_prior(), draws=100)
    assert np.isfinite(fit.theta).all()
    assert np.isfinite(fit.draws).all()
    widths = [spread(fit, d) for d in (0, 1, 2, 3)]
    assert np.isfinite(widths).all()
    assert (np.diff(widths) > 0).all()


def test_six_runs_leave_wide_draws(simulate):
    """By their median over tables: six runs that the law happens to pass through exactly leave narrow ones."""
    few, many = (
        np.median(
            [
                spread(fit_law(get_law("general"), *simulate(n, 0.005, s), prior=weak_prior(), draws=60), 2)
                for s in range(8)
            ]
        )
        for n in (6, 60)
    )
    assert few > 0.02
    assert few > 2 * many


@pytest.mark.parametrize(("n", "noise"), [(10, 0.005), (40, 0.02)])
def test_draws_cover_the_truth_as_often_as_they_claim(n, noise, simulate, true_loss):
    """30 tables of one true law: the 90 % interval one decade out holds it in 75 % or more of them."""
    held = 0
    for seed in range(30):
        fit = fit_law(get_law("chinchilla"), *simulate(n, noise, seed), prior=weak_prior(), draws=40)
        low, high = np.quantile(fit.log_loss_draws(at_decades(1))[:, 0], [0.05, 0.95])
        held += low <= np.log(true_loss(at_decades(1))[0]) <= high
    assert held >= 23


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_fewer_runs_than_parameters_do_not_break_the_fit(count, simulate):
    columns, loss = simulate(count, noise=0.005)
    for prior in (None, weak_prior()):
        fit = fit_law(get_law("general"), columns, loss, prior=prior, draws=8)
        assert np.isfinite(fit.draws).all()
        np.testing.assert_allclose(np.exp(fit.log_loss(columns)), loss, rtol=0.05)


def test_what_the_runs_cannot_tell_stays_as_wide_as_the_prior(simulate):
    """All runs have one size and one length: only the level is known, the shape is the prior's."""
    columns = {"params": np.full(20, 1e9), "tokens": np.full(20, 2e10)}
    loss = 2.7 * np.exp(np.random.default_rng(4).normal(0, 0.005, 20))
    fit = fit_law(get_law("general"), columns, loss, prior=weak_prior(), draws=600)
    sd = np.array([p.sd for p in CORE[1:]])
    np.testing.assert_allclose(fit.theta[1:], [p.mean for p in CORE[1:]], atol=0.02)
    np.testing.assert_allclose(fit.draws[:, 1:].std(axis=0) / sd, 1.0, atol=0.15)
    assert fit.draws[:, 0].std() < 0.01


def test_prior_shrinks_as_runs_multiply(simulate, grow):
    law, prior = get_law("general"), weak_prior()
    odd = LawPrior("odd", prior.mean + np.array([1.0, 1.0, 0.3, -0.15, 0.5]), prior.covariance)
    widths, pulls = [], []
    for n in (8, 60, 480):
        columns, loss = simulate(n, noise=0.005, seed=n)
        fit = fit_law(law, columns, loss, prior=prior, draws=100)
        widths.append(spread(fit, 1))
        pulled = fit_law(law, columns, loss, prior=odd)
        pulls.append(np.abs(pulled.log_loss(grow(columns, 10)) - fit.log_loss(grow(columns, 10))).max())
    assert widths[0] > 2 * widths[1] > 4 * widths[2] / 2
    assert pulls[0] > 2 * pulls[1] > 4 * pulls[2] / 2
    assert pulls[2] < 0.01


def test_noisier_runs_leave_wider_draws(simulate):
    calm, noisy = (
        fit_law(get_law("general"), *simulate(40, noise=noise), prior=weak_prior(), draws=100)
        for noise in (0.002, 0.02)
    )
    assert noisy.noise > 5 * calm.noise
    assert spread(noisy, 1) > 2 * spread(calm, 1)


def test_draws_lie_around_the_optimum(simulate):
    columns, loss = simulate(60, noise=0.01)
    fit = fit_law(get_law("chinchilla"), columns, loss, draws=200)
    found, centre = fit.log_loss_draws(columns), fit.log_loss(columns)
    assert found.shape == (200, 60)
    middle = np.median(found, axis=0)
    assert (np.abs(middle - centre) < found.std(axis=0)).all()


def test_twenty_thousand_runs(simulate, grow, true_loss):
    columns, loss = simulate(20_000, noise=0.01)
    fit = fit_law(get_law("general"), columns, loss, prior=weak_prior(), draws=10)
    np.testing.assert_allclose(np.exp(fit.log_loss(columns)), true_loss(columns), rtol=2e-3)
    further = grow(columns, 10)
    np.testing.assert_allclose(np.exp(fit.log_loss(further)), true_loss(further), rtol=4e-3)
    assert fit.noise == pytest.approx(0.01 * np.sqrt(2 / np.pi), rel=0.05)
    assert np.isfinite(fit.draws).all()


CORRELATED = LawPrior(
    "correlated",
    np.array([-0.5, 0.1, 0.3, 0.4, 0.1]),
    np.array(
        [
            [0.90, 0.20, 0.02, -0.03, 0.10],
            [0.20, 2.00, 0.05, 0.01, -0.20],
            [0.02, 0.05, 0.03, 0.005, 0.02],
            [-0.03, 0.01, 0.005, 0.02, 0.015],
            [0.10, -0.20, 0.02, 0.015, 0.15],
        ]
    ),
)


def conditional(value: float, place: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Mean and covariance of the other shape parameters given the one at `place` (textbook formula)."""
    m, c = CORRELATED.mean, CORRELATED.covariance
    rest = [i for i in range(5) if i != place]
    gain = c[rest, place] / c[place, place]
    return m[rest] + gain * (value - m[place]), c[np.ix_(rest, rest)] - np.outer(gain, c[place, rest]), rest


def free_optimum(law: Law, mean, precision):
    """Where ½(θ - μ)ᵀΛ(θ - μ) is least over the free shape parameters, the fixed ones at their value."""
    free = [i for i in range(1, 6) if law.free[i]]
    held = [i for i in range(1, 6) if not law.free[i]]
    at = law.complete(mean[None])[0]
    pull = precision[np.ix_(free, held)] @ (at - mean)[held]
    return mean[free] - np.linalg.solve(precision[np.ix_(free, free)], pull), free


@pytest.mark.parametrize(
    ("fixed", "value", "place"),
    [({"gamma": 1.2}, np.log(1.2), 4), ({"params_exponent": 0.5}, 0.5, 2), ({"logit_reducible": 0.3}, 0.3, 0)],
)
def test_a_fixed_parameter_conditions_the_rest_of_the_prior(fixed, value, place):
    law = Law(members()["general"], (), fixed)
    mean, precision = CORRELATED.for_law(law, REFERENCE)
    expected, covariance, rest = conditional(value, place)
    centre, free = free_optimum(law, mean, precision)
    assert free == [1 + i for i in rest]
    np.testing.assert_allclose(centre, expected, atol=1e-10)
    np.testing.assert_allclose(np.linalg.inv(precision[np.ix_(free, free)]), covariance, atol=1e-10)


def test_drawn_centres_spread_like_the_conditional_prior():
    law = Law(members()["general"], (), {"gamma": 1.2})
    mean, precision = CORRELATED.for_law(law, REFERENCE)
    moved = CORRELATED.spread(law, np.random.default_rng(5), 20_000)
    assert not moved[:, 0].any()
    found = np.array([free_optimum(law, mean + step, precision)[0] for step in moved[:4000]])
    expected, covariance, _ = conditional(np.log(1.2), 4)
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((found.mean(axis=0) - expected) / sd, 0.0, atol=0.1)
    np.testing.assert_allclose(np.cov(found.T) / np.outer(sd, sd), covariance / np.outer(sd, sd), atol=0.1)
    np.testing.assert_allclose(np.cov(moved[:, 1:6].T), CORRELATED.covariance, atol=0.06)


@pytest.mark.parametrize("name", ["kaplan", "params_only", "tokens_only"])
def test_an_implausible_fixed_value_says_nothing_about_the_rest(name):
    """Kaplan has no floor and params_only no tokens: other forms, not extreme cases of this prior."""
    law = get_law(name)
    _, precision = CORRELATED.for_law(law, REFERENCE)
    far = {"kaplan": [1, 4], "params_only": [2], "tokens_only": [2]}[name]
    assert not precision[far].any()
    assert not precision[:, far].any()
    known = [i for i in range(1, 6) if i not in far]
    shape = CORRELATED.covariance[np.ix_([i - 1 for i in known], [i - 1 for i in known])]
    np.testing.assert_allclose(np.linalg.inv(precision[np.ix_(known, known)]), shape, atol=1e-12)


def test_prior_leaves_the_level_alone_and_terms_to_themselves():
    law = get_law("general+experts+lr")
    mean, precision = CORRELATED.for_law(law, REFERENCE)
    assert not precision[0].any()
    extra = np.arange(len(CORE), len(law.parameters))
    np.testing.assert_array_equal(mean[extra], [law.parameters[i].mean for i in extra])
    np.testing.assert_allclose(np.diag(precision)[extra], [law.parameters[i].sd ** -2 for i in extra])
    assert np.count_nonzero(precision[extra]) == len(extra)


def test_prior_round_trips_through_json():
    prior = LawPrior(CORRELATED.name, CORRELATED.mean, CORRELATED.covariance, {"tables": 3, "made": "by hand"})
    again = LawPrior.from_dict(json.loads(json.dumps(prior.to_dict())))
    assert again.name == prior.name
    assert again.provenance == prior.provenance
    np.testing.assert_array_equal(again.mean, prior.mean)
    np.testing.assert_array_equal(again.covariance, prior.covariance)
    assert again.to_dict() == prior.to_dict()


def test_weak_prior_is_the_core_parameters_own():
    prior = weak_prior()
    np.testing.assert_array_equal(prior.mean, [p.mean for p in CORE[1:]])
    np.testing.assert_array_equal(prior.covariance, np.diag([p.sd**2 for p in CORE[1:]]))
    assert prior.to_dict()["parameters"] == [p.name for p in CORE[1:]]


@pytest.mark.parametrize(
    ("member", "fixed"), [("kaplan", {}), ("general", {"E": 1.7}), ("general", {"alpha": 0.35, "beta": 0.37})]
)
def test_stored_parameters_already_hold_their_fixed_values(member, fixed, simulate):
    """A reader of Fit.draws who computes E = λ(1 - ρ) must find the E that was fixed."""
    law = Law(members()[member], (), fixed)
    fit = fit_law(law, *simulate(40, noise=0.02), draws=20)
    np.testing.assert_allclose(fit.theta[None], law.complete(fit.theta), atol=1e-12)
    np.testing.assert_allclose(fit.draws, law.complete(fit.draws), atol=1e-12)


def test_no_prediction_is_below_a_fixed_floor(simulate):
    columns, loss = simulate(40, noise=0.005)
    law = Law(members()["general"], (), {"E": 4.0})  # above the best runs: a user's slip, or bits taken for nats
    assert loss.min() < 4.0 < loss.max()
    try:
        fit = fit_law(law, columns, loss)
    except FitError:
        return
    assert np.exp(fit.log_loss(columns)).min() >= 4.0


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_an_impossible_loss_is_refused_by_row(bad, simulate):
    columns, loss = simulate(20)
    loss[3] = bad
    with pytest.raises(FitError, match="3"):
        fit_law(get_law("chinchilla"), columns, loss)


@pytest.mark.parametrize(
    "weights", [np.zeros(20), -np.ones(20), np.full(20, np.nan), np.ones(19)], ids=["zero", "negative", "nan", "short"]
)
def test_impossible_weights_are_refused(weights, simulate):
    with pytest.raises(FitError):
        fit_law(get_law("chinchilla"), *simulate(20), weights=weights)


@pytest.mark.parametrize(("rows", "losses"), [(0, 0), (10, 20)], ids=["empty", "lengths differ"])
def test_impossible_tables_are_refused(rows, losses, simulate):
    columns, loss = simulate(20)
    with pytest.raises(FitError):
        fit_law(get_law("chinchilla"), {key: values[:rows] for key, values in columns.items()}, loss[:losses])
