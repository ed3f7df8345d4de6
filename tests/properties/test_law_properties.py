"""Laws and terms: what holds for all parameters, and that they are the published formulas.

Coordinates (docstring of simulator/laws/_law.py): at a reference point (N0, D0),
L = λ·[(1 - ρ) + ρ·(w·(N/N0)^(-a/γ) + (1 - w)·(D/D0)^(-b/γ))^γ], with λ, ρ, w, γ from log λ, logit ρ, logit w, log γ.
"""

import numpy as np
import pytest
from foretrain.simulator.fitting import fit_law
from foretrain.simulator.laws import Law, Reference, get_law, members, terms
from hypothesis import given, settings
from hypothesis import strategies as st

LAWS = settings(deadline=None, max_examples=60)
FEW = settings(deadline=None, max_examples=6)  # these fit

N0, D0 = 1e9, 2e10
REFERENCE = Reference({"params": N0, "tokens": D0, "lr": 1e-3, "batch_tokens": 1e6})


def number(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


def decades(low: float, high: float) -> st.SearchStrategy[float]:
    return number(low, high).map(lambda power: 10.0**power)


def sizes(low: float, high: float, n: int = 8) -> st.SearchStrategy[np.ndarray]:
    return st.lists(decades(low, high), min_size=n, max_size=n).map(np.array)


def vectors(law: Law) -> st.SearchStrategy[np.ndarray]:
    """One parameter vector `(1, P)` inside the box and within 2.5 prior spreads; a level between 1 and 7 nats."""

    def inside(p) -> st.SearchStrategy[float]:
        return number(max(p.lower, p.mean - 2.5 * p.sd), min(p.upper, p.mean + 2.5 * p.sd))

    rest = [inside(p) for p in law.parameters[1:]]
    return st.tuples(number(0.0, 2.0), *rest).map(lambda t: law.complete(np.array([t])))


def predict(law: Law, theta, **columns) -> np.ndarray:
    return law.loss(theta, law.prepare(columns, REFERENCE))[0]


def own(name: str, **values: float) -> np.ndarray:
    """A term's own parameters `(1, p)`: its prior's centre, changed where `values` says so."""
    return np.array([[values.get(p.name, p.mean) for p in terms()[name].parameters]])


def effect(name: str, theta: np.ndarray, **columns):
    term = terms()[name]()
    return term.effect(theta, term.prepare(columns, REFERENCE))


def floor(theta: np.ndarray) -> float:
    """E = λ(1 - ρ)."""
    return float(np.exp(theta[0, 0]) / (1.0 + np.exp(theta[0, 1])))


@pytest.mark.parametrize("name", members())
@LAWS
@given(st.data())
def test_more_compute_never_raises_the_loss(name, data):
    law = get_law(name)
    theta = data.draw(vectors(law))
    params, tokens = data.draw(sizes(5, 13)), data.draw(sizes(6, 16))
    more_params, more_tokens = (data.draw(sizes(0, 4)) for _ in range(2))
    base = predict(law, theta, params=params, tokens=tokens)
    assert (predict(law, theta, params=params * more_params, tokens=tokens) <= base * (1 + 1e-12)).all()
    assert (predict(law, theta, params=params, tokens=tokens * more_tokens) <= base * (1 + 1e-12)).all()


@pytest.mark.parametrize("name", members())
@LAWS
@given(st.data())
def test_e_is_the_infimum(name, data):
    law = get_law(name)
    theta = data.draw(vectors(law))
    exponent = min(theta[0, 3:5])
    loss = predict(law, theta, params=data.draw(sizes(5, 13)), tokens=data.draw(sizes(6, 16)))
    assert (loss >= floor(theta) * (1 - 1e-12)).all()
    end = np.array([10.0 ** min(12.0 / exponent + 20.0, 300.0)])
    limit = predict(law, theta, params=end, tokens=end)[0]
    if exponent > 0.05:
        assert limit - floor(theta) <= 1e-9 * np.exp(theta[0, 0])


@LAWS
@given(st.data())
def test_chinchilla_is_the_sum_of_two_power_laws(data):
    """E = λ(1-ρ), A = λ·ρ·w·N0^α, B = λ·ρ·(1-w)·D0^β, α = a, β = b."""
    law = get_law("chinchilla")
    theta = data.draw(vectors(law))
    params, tokens = data.draw(sizes(5, 13)), data.draw(sizes(6, 16))
    log_level, logit_rho, logit_w, alpha, beta, log_gamma = theta[0]
    assert log_gamma == 0.0
    level, rho, w = np.exp(log_level), 1 / (1 + np.exp(-logit_rho)), 1 / (1 + np.exp(-logit_w))
    a, b, e = level * rho * w * N0**alpha, level * rho * (1 - w) * D0**beta, level * (1 - rho)
    expected = e + a * params**-alpha + b * tokens**-beta
    np.testing.assert_allclose(predict(law, theta, params=params, tokens=tokens), expected, rtol=1e-10)


@LAWS
@given(st.data())
def test_general_is_its_formula(data):
    """With α = a/γ, β = b/γ, A = (λρ)^(1/γ)·w·N0^α and B = (λρ)^(1/γ)·(1-w)·D0^β: L = E + (A·N^-α + B·D^-β)^γ."""
    law = get_law("general")
    theta = data.draw(vectors(law))
    params, tokens = data.draw(sizes(5, 13)), data.draw(sizes(6, 16))
    log_level, logit_rho, logit_w, a_core, b_core, log_gamma = theta[0]
    level, rho, w = np.exp(log_level), 1 / (1 + np.exp(-logit_rho)), 1 / (1 + np.exp(-logit_w))
    gamma = np.exp(log_gamma)
    alpha, beta = a_core / gamma, b_core / gamma
    a = (level * rho) ** (1 / gamma) * w * N0**alpha
    b = (level * rho) ** (1 / gamma) * (1 - w) * D0**beta
    expected = level * (1 - rho) + (a * params**-alpha + b * tokens**-beta) ** gamma
    np.testing.assert_allclose(predict(law, theta, params=params, tokens=tokens), expected, rtol=1e-10)


@LAWS
@given(st.data())
def test_kaplan_is_equation_1_5(data):
    """((N_c/N)^(α_N/α_D) + D_c/D)^α_D with α_N = a, α_D = γ, N_c = N0·(λ^(1/γ)·w)^(γ/a), D_c = λ^(1/γ)·(1-w)·D0."""
    law = get_law("kaplan")
    theta = data.draw(vectors(law))
    params, tokens = data.draw(sizes(5, 13)), data.draw(sizes(6, 16))
    log_level, _, logit_w, alpha_n, _, log_gamma = theta[0]
    w, alpha_d = 1 / (1 + np.exp(-logit_w)), np.exp(log_gamma)
    if alpha_n < 0.02:  # N_c overflows
        return
    log_n_c = np.log(N0) + (log_level / alpha_d + np.log(w)) * alpha_d / alpha_n
    d_c = np.exp(log_level / alpha_d) * (1 - w) * D0
    expected = (np.exp((log_n_c - np.log(params)) * alpha_n / alpha_d) + d_c / tokens) ** alpha_d
    np.testing.assert_allclose(predict(law, theta, params=params, tokens=tokens), expected, rtol=1e-9)


def test_kaplan_reproduces_its_published_fit():
    """Kaplan et al. 2020, table 2: α_N .076, α_D .103, N_c 6.4e13, D_c 1.8e13."""
    alpha_n, alpha_d, n_c, d_c = 0.076, 0.103, 6.4e13, 1.8e13
    u, v = (n_c / N0) ** (alpha_n / alpha_d), d_c / D0
    theta = np.array([[alpha_d * np.log(u + v), 0.0, np.log(u / v), alpha_n, 0.0, np.log(alpha_d)]])
    params, tokens = np.array([1e6, 1e8, 1.5e9, 1.75e11]), np.array([2.2e10, 1e9, 2.2e10, 3e11])
    expected = ((n_c / params) ** (alpha_n / alpha_d) + d_c / tokens) ** alpha_d
    np.testing.assert_allclose(predict(get_law("kaplan"), theta, params=params, tokens=tokens), expected, rtol=1e-10)


@pytest.mark.parametrize(("name", "other"), [("params_only", "tokens"), ("tokens_only", "params")])
@LAWS
@given(data=st.data())
def test_members_with_one_column_ignore_the_other(name, other, data):
    law = get_law(name)
    theta = data.draw(vectors(law))
    mine = {law.member.uses[0]: data.draw(sizes(6, 13))}
    alone = predict(law, theta, **mine)
    np.testing.assert_array_equal(predict(law, theta, **mine, **{other: data.draw(sizes(6, 13))}), alone)


REPEATING = ["repetition", "muennighoff"]


def repeated(data):
    tokens, epochs = data.draw(sizes(8, 14)), data.draw(sizes(0, 3))
    return {"params": data.draw(sizes(6, 12)), "tokens": tokens, "unique_tokens": tokens / epochs}


def term_vectors(name: str) -> st.SearchStrategy[np.ndarray]:
    """A term's own parameters `(1, p)`, anywhere in their box."""
    return st.tuples(*[number(p.lower, p.upper) for p in terms()[name].parameters]).map(lambda t: np.array([t]))


@pytest.mark.parametrize("name", REPEATING)
@LAWS
@given(data=st.data())
def test_effective_tokens_lie_between_the_unique_and_the_seen(name, data):
    columns = repeated(data)
    found = effect(name, data.draw(term_vectors(name)), **columns)
    shift = found.log_tokens[0][0]
    assert (shift <= 1e-12).all()
    assert (shift >= np.log(columns["unique_tokens"] / columns["tokens"]) - 1e-12).all()


@pytest.mark.parametrize("name", REPEATING)
@LAWS
@given(data=st.data())
def test_one_epoch_sees_all_its_tokens(name, data):
    columns = repeated(data)
    columns["unique_tokens"] = columns["tokens"] * data.draw(st.sampled_from([1.0, 1.5]))  # a larger stock is no repeat
    assert not effect(name, data.draw(term_vectors(name)), **columns).log_tokens[0].any()


@LAWS
@given(data=st.data())
def test_overfitting_is_negligible_at_one_epoch_for_typical_parameters(data):
    columns = repeated(data)
    columns["unique_tokens"] = columns["tokens"]
    scale = data.draw(number(-9, -5))
    found = effect("repetition", own("repetition", overfit_log_scale=scale), **columns)
    assert (found.penalty[0] < 1e-9).all()


def test_overfitting_is_zero_at_one_epoch_for_all_parameters():
    """A fit on runs with repeats may choose a small exponent; single-epoch runs must stay as the core predicts them."""
    theta = own("repetition", overfit_repeats=0.05)
    found = effect("repetition", theta, params=np.array([1e9]), tokens=np.array([1e10]), unique_tokens=np.array([1e10]))
    assert found.penalty[0][0, 0] < 1e-12


@LAWS
@given(data=st.data())
def test_overfitting_grows_with_repeats_and_with_params_per_unique_token(data):
    theta = data.draw(term_vectors("repetition"))
    unique = data.draw(decades(7, 11))
    epochs, size = np.sort(data.draw(sizes(0.01, 3))), np.sort(data.draw(sizes(6, 12)))
    n = np.ones(len(epochs))
    by_epochs = effect("repetition", theta, params=n * 1e9, tokens=unique * epochs, unique_tokens=unique * n)
    by_size = effect("repetition", theta, params=size, tokens=5 * unique * n, unique_tokens=unique * n)
    for found in (by_epochs, by_size):
        penalty = found.penalty[0][0]
        assert (penalty >= 0).all()
        assert (np.diff(penalty) >= -1e-9 * penalty[1:]).all()


@LAWS
@given(data=st.data())
def test_repeats_without_end_do_no_more_harm_than_parameters_can_memorise(data):
    theta = data.draw(term_vectors("repetition"))
    most, log_half = np.exp(theta[0, 4]), theta[0, 5]
    params_per_unique = data.draw(decades(-3, 2))
    columns = {"params": np.full(2, params_per_unique * 1e9), "unique_tokens": np.full(2, 1e9)}
    penalty = effect("repetition", theta, tokens=np.array([1e13, 1e40]), **columns).penalty[0][0]
    can_memorise = most / (1.0 + (np.exp(log_half) / params_per_unique) ** 2)
    assert (penalty <= can_memorise * (1 + 1e-9)).all()
    assert penalty[1] >= penalty[0] * (1 - 1e-9)


PUBLISHED = {"A": 520.8, "B": 1487.7, "E": 1.869, "alpha": 0.35266, "beta": 0.35266, "R_D": 15.388, "R_N": 5.310}


def muennighoff_paper(params, tokens, unique):
    """Muennighoff et al. 2023, section 3.1: L = A/N'^α + B/D'^β + E, N_opt from the Chinchilla-optimal allocation."""
    p = PUBLISHED
    u_d = np.minimum(unique, tokens)
    r_d = tokens / u_d - 1
    d_prime = u_d + u_d * p["R_D"] * (1 - np.exp(-r_d / p["R_D"]))
    g = (p["alpha"] * p["A"] / (p["beta"] * p["B"])) ** (1 / (p["alpha"] + p["beta"]))
    share = p["alpha"] / (p["alpha"] + p["beta"])
    compute_over_6 = (u_d * g) ** (1 / share)  # D_opt(C) = (C/6)^share / G = U_D
    n_opt = g * compute_over_6 ** (1 - share)
    u_n = np.minimum(n_opt, params)
    r_n = params / u_n - 1
    n_prime = u_n + u_n * p["R_N"] * (1 - np.exp(-r_n / p["R_N"]))
    return p["A"] / n_prime ** p["alpha"] + p["B"] / d_prime ** p["beta"] + p["E"]


@LAWS
@given(data=st.data())
def test_muennighoff_is_the_paper(data):
    p = PUBLISHED
    a, b = p["A"] * N0 ** -p["alpha"], p["B"] * D0 ** -p["beta"]
    level = p["E"] + a + b
    core = [np.log(level), np.log((a + b) / p["E"]), np.log(a / b), p["alpha"], p["beta"], 0.0]
    per_unique = (p["A"] / p["B"]) ** (1 / p["alpha"])  # α = β: N_opt/U_D = G²
    theta = np.array([[*core, np.log(p["R_D"]), np.log(p["R_N"]), np.log(per_unique)]])
    columns = repeated(data)
    expected = muennighoff_paper(columns["params"], columns["tokens"], columns["unique_tokens"])
    np.testing.assert_allclose(predict(get_law("chinchilla+muennighoff"), theta, **columns), expected, rtol=1e-9)


def test_muennighoff_prior_is_centred_on_the_published_constants():
    star, excess, per_unique = np.exp(own("muennighoff")[0])
    assert star == pytest.approx(PUBLISHED["R_D"], rel=1e-3)
    assert excess == pytest.approx(PUBLISHED["R_N"], rel=1e-3)
    assert per_unique == pytest.approx((PUBLISHED["A"] / PUBLISHED["B"]) ** (1 / PUBLISHED["alpha"]), rel=1e-2)


@LAWS
@given(data=st.data())
def test_muennighoff_effective_params_never_exceed_params(data):
    columns = repeated(data)
    shift = effect("muennighoff", data.draw(term_vectors("muennighoff")), **columns).log_params[0][0]
    assert (shift <= 1e-12).all()


@LAWS
@given(data=st.data())
def test_dense_models_are_worth_their_params(data):
    params = data.draw(sizes(6, 12))
    found = effect("experts", data.draw(term_vectors("experts")), params=params, num_experts=np.ones(len(params)))
    assert not found.log_params[0].any()


@LAWS
@given(data=st.data())
def test_more_experts_never_hurt_when_the_gain_is_positive(data):
    theta = data.draw(term_vectors("experts"))
    theta[0, :2] = data.draw(number(0, 2)), 0.0
    experts = np.sort(data.draw(sizes(0, 4)))
    shift = effect("experts", theta, params=np.full(len(experts), N0), num_experts=experts).log_params[0][0]
    assert (shift >= -1e-12).all()
    assert (np.diff(shift) >= -1e-12).all()
    limit = theta[0, 0] * (theta[0, 3] - theta[0, 2])  # Ê runs from E_start towards E_max
    assert (shift <= limit + 1e-9).all()


@LAWS
@given(data=st.data())
def test_experts_is_equation_7(data):
    """Clark et al. 2022, eq. 7: 1/Ê = 1/(E - 1 + 1/(1/E_start - 1/E_max)) + 1/E_max."""
    kappa, omega, log_start, log_max = theta = data.draw(term_vectors("experts"))[0]
    params, experts = data.draw(sizes(6, 12)), data.draw(sizes(0, 3))
    start, top = np.exp(log_start), np.exp(log_max)
    effective = 1 / (1 / (experts - 1 + 1 / (1 / start - 1 / top)) + 1 / top)
    expected = (kappa + omega * np.log(params / N0)) * np.log(effective / start)
    found = effect("experts", theta[None], params=params, num_experts=experts).log_params[0][0]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def bowl_case(data, name):
    """A bowl's parameters within 2 spreads, runs, and a function from offsets (lr, batch) to the term's stretch."""
    own_ = {p.name: data.draw(number(p.mean - 2 * p.sd, p.mean + 2 * p.sd)) for p in terms()[name].parameters}
    params, tokens = data.draw(sizes(7, 11)), data.draw(sizes(9, 13))
    x, t = np.log(params / N0), np.log(tokens / D0)

    def stretch(off_lr, off_batch):
        columns = {"params": params, "tokens": tokens}
        log_lr = own_["lr_centre"] + own_["lr_by_params"] * x + own_["lr_by_tokens"] * t + off_lr
        if name == "lr_batch":
            log_batch = own_["batch_centre"] + own_["batch_by_params"] * x + own_["batch_by_tokens"] * t + off_batch
            columns["batch_tokens"] = 1e6 * np.exp(log_batch)
            log_lr = log_lr + own_["lr_by_batch"] * off_batch
        columns["lr"] = 1e-3 * np.exp(log_lr)
        return effect(name, np.array([list(own_.values())]), **columns).stretch[0][0]

    return stretch


@pytest.mark.parametrize("name", ["lr", "lr_batch"])
@LAWS
@given(data=st.data())
def test_bowl_is_zero_at_its_optimum_and_positive_elsewhere(name, data):
    stretch = bowl_case(data, name)
    best = stretch(0.0, 0.0)
    assert (np.abs(best) < 1e-12).all()
    off = data.draw(number(0.05, 3)) * data.draw(st.sampled_from([-1.0, 1.0]))
    assert (stretch(off, 0.0) > 0).all()
    assert (stretch(2 * off, 0.0) > stretch(off, 0.0)).all()
    if name == "lr_batch":
        assert (stretch(0.0, off) > 0).all()
        assert (stretch(off, off) > stretch(off, 0.0)).all()


@pytest.mark.parametrize("name", ["lr", "lr_batch"])
@LAWS
@given(data=st.data())
def test_bowl_at_its_optimum_is_flat(name, data):
    """Halving a small offset quarters the penalty."""
    stretch = bowl_case(data, name)
    near, half = stretch(2e-3, 0.0), stretch(1e-3, 0.0)
    np.testing.assert_allclose(half / near, 0.25, rtol=0.03)


def simulated(seed: int, n: int = 60):
    """Runs of a plausible general law with 0.5 % noise, and a second set of sizes a decade beyond in compute."""
    rng = np.random.default_rng(seed)
    params = np.exp(rng.uniform(np.log(2e7), np.log(3e9), n))
    tokens = params * np.exp(rng.uniform(np.log(5), np.log(300), n))
    loss = 1.7 + 1.1 * ((params / 1e9) ** -0.33 * 0.55 + (tokens / 2e10) ** -0.36 * 0.45) ** 0.95
    columns = {"params": params, "tokens": tokens}
    return columns, loss * np.exp(rng.normal(0, 0.005, n)), {key: values * 3 for key, values in columns.items()}


@pytest.mark.parametrize("name", members())
@FEW
@given(seed=st.integers(0, 10**6), factor=decades(-1, 1))
def test_scaling_the_loss_scales_the_predictions(name, seed, factor):
    columns, loss, further = simulated(seed)
    one, two = fit_law(get_law(name), columns, loss), fit_law(get_law(name), columns, loss * factor)
    for where in (columns, further):
        np.testing.assert_allclose(two.log_loss(where), one.log_loss(where) + np.log(factor), atol=1e-6)


@pytest.mark.parametrize("name", members())
@FEW
@given(seed=st.integers(0, 10**6), unit=decades(-6, 6), column=st.sampled_from(["params", "tokens"]))
def test_units_of_the_columns_change_nothing(name, seed, unit, column):
    columns, loss, further = simulated(seed)

    def counted(where):
        return {**where, column: where[column] * unit}

    one, two = fit_law(get_law(name), columns, loss), fit_law(get_law(name), counted(columns), loss)
    for where in (columns, further):
        np.testing.assert_allclose(two.log_loss(counted(where)), one.log_loss(where), atol=1e-6)
