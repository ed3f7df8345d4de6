"""Textbook parameters and the decomposition of the loss, against formulas written out here."""

import numpy as np
import pytest
from foretrain.simulator.fitting import Fit, fit_law
from foretrain.simulator.laws import Reference, get_law, members, terms
from foretrain.simulator.predictor.textbook_parameters import decompose, rebase, textbook_parameters

REFERENCE = Reference({"params": 1e9, "tokens": 3e10, "lr": 1e-3, "batch_tokens": 1e6})
MEMBERS = ["general", "chinchilla", "kaplan", "params_only", "tokens_only"]


def make_fit(name: str, seed: int = 0, width: float = 0.7) -> Fit:
    """A fit at a random plausible point, without any data."""
    levels = {"selection": ("none", "judge", "dedup"), "generator": ("none", "self", "ngram")}
    levels["architecture"] = ("transformer", "hyena", "h3")
    law = get_law(name, ("web", "code"), levels)
    rng = np.random.default_rng(seed)
    lower, upper = law.box()
    theta = np.array([p.mean + width * p.sd * rng.uniform(-1, 1) for p in law.parameters])
    theta[0] = rng.uniform(0.4, 1.6)
    theta = law.complete(np.clip(theta, lower, upper)[None])
    return Fit(law, REFERENCE, theta[0], theta, 0.003, 0.0)


def make_runs(n: int = 60, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    params = 10 ** rng.uniform(7, 11, n)
    tokens = 10 ** rng.uniform(9, 13, n)
    web = np.linspace(0.05, 0.95, n)
    selection = np.arange(n) % 3
    return {
        "mix.web": web,
        "mix.code": 1.0 - web,
        "params": params,
        "tokens": tokens,
        "unique_tokens": tokens / np.where(np.arange(n) % 2, 10 ** rng.uniform(0.1, 1.5, n), 1.0),
        "num_experts": 2.0 ** rng.integers(0, 8, n),
        "lr": 10 ** rng.uniform(-4, -2, n),
        "batch_tokens": 10 ** rng.uniform(5, 7, n),
        **{f"selection={one}": 1.0 * (selection == at) for at, one in enumerate(("none", "judge", "dedup"))},
        **{f"generator={one}": 1.0 * (selection == at) for at, one in enumerate(("none", "self", "ngram"))},
        **{f"architecture={one}": 1.0 * (selection == at) for at, one in enumerate(("transformer", "hyena", "h3"))},
        "synthetic_share": np.where(selection > 0, web, 0.0),
        "generation": 1.0 * selection,
    }


def textbook(p: dict[str, float], columns) -> np.ndarray:
    """L = E + (A·N^-α + B·D^-β)^γ, a term that is absent being zero."""
    capacity = p["A"] * columns["params"] ** -p["alpha"] if "A" in p else 0.0
    data = p["B"] * columns["tokens"] ** -p["beta"] if "B" in p else 0.0
    return p["E"] + (capacity + data) ** p["gamma"]


def test_every_member_is_tested():
    assert set(MEMBERS) == set(members())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", MEMBERS)
def test_the_textbook_formula_gives_the_laws_predictions(name, seed):
    fit, columns = make_fit(name, seed), make_runs()
    np.testing.assert_allclose(textbook(textbook_parameters(fit), columns), np.exp(fit.log_loss(columns)), rtol=1e-10)


def test_members_report_the_parameters_that_they_have():
    found = {name: textbook_parameters(make_fit(name)) for name in MEMBERS}
    assert list(found["general"]) == ["E", "A", "alpha", "B", "beta", "gamma"]
    assert list(found["params_only"]) == ["E", "A", "alpha", "gamma"]
    assert list(found["tokens_only"]) == ["E", "B", "beta", "gamma"]
    assert found["chinchilla"]["gamma"] == found["params_only"]["gamma"] == 1.0
    assert (found["kaplan"]["E"], found["kaplan"]["beta"]) == (0.0, pytest.approx(1.0, rel=1e-12))


def test_effects_of_levels_are_told_in_their_own_units():
    fit = make_fit("general+selection")
    stated = dict(zip(fit.law.names, fit.theta, strict=True))
    spread = np.exp(stated["selection_log_spread_tokens"])
    told = textbook_parameters(fit)["selection_tokens.judge"]
    assert told == pytest.approx(spread * stated["selection_tokens.judge"], rel=1e-12)


def test_kaplan_is_the_published_form():
    """Kaplan et al. 2020 (arXiv 2001.08361), eq. 1.5: ((N_c/N)^(α_N/α_D) + D_c/D)^α_D."""
    fit, columns = make_fit("kaplan", 3), make_runs()
    p = textbook_parameters(fit)
    alpha_d, alpha_n = p["gamma"], p["alpha"] * p["gamma"]
    n_c, d_c = p["A"] ** (1 / p["alpha"]), p["B"]
    written = ((n_c / columns["params"]) ** (alpha_n / alpha_d) + d_c / columns["tokens"]) ** alpha_d
    np.testing.assert_allclose(written, np.exp(fit.log_loss(columns)), rtol=1e-10)


def test_a_published_law_is_found_again():
    """Besiroglu et al. 2024 (arXiv 2404.10102): E 1.8172, A 482.01, B 2085.43, α 0.3478, β 0.3658."""
    published = {"E": 1.8172, "A": 482.01, "alpha": 0.3478, "B": 2085.43, "beta": 0.3658, "gamma": 1.0}
    columns = {name: make_runs()[name] for name in ("params", "tokens")}
    fit = fit_law(get_law("chinchilla"), columns, textbook(published, columns))
    assert textbook_parameters(fit) == pytest.approx(published, rel=1e-5)


def test_terms_keep_their_own_names():
    fit = make_fit("general+repetition+experts", 4)
    p = textbook_parameters(fit)
    for name, value in zip(fit.law.names[6:], fit.theta[6:], strict=True):
        assert p[name] == value
    once = {**make_runs(), "num_experts": np.ones(60)}
    once["unique_tokens"] = once["tokens"]
    np.testing.assert_allclose(textbook(p, once), np.exp(fit.log_loss(once)), rtol=1e-10)


@pytest.mark.parametrize("name", ["general", "chinchilla"])
def test_textbook_parameters_do_not_depend_on_the_reference_point(name):
    fit = make_fit(name, 5)
    moved = Reference({**REFERENCE.values, "params": 4e11, "tokens": 7e9})
    theta = rebase(fit.law, fit.theta, REFERENCE, moved)
    again = Fit(fit.law, moved, theta[0], theta, fit.noise, fit.objective)
    assert textbook_parameters(again) == pytest.approx(textbook_parameters(fit), rel=1e-9)


# decomposition

LAWS = [*MEMBERS, *(f"general+{term}" for term in terms()), "general+repetition+experts", "general+experts+lr_batch"]


@pytest.mark.parametrize("name", LAWS)
def test_parts_add_up_to_the_loss(name):
    for seed in range(4):
        fit, columns = make_fit(name, seed), make_runs()
        parts = decompose(fit, columns)
        assert list(parts) == ["irreducible", "capacity", "data", *(t.name for t in fit.law.terms)]
        np.testing.assert_allclose(sum(parts.values()), np.exp(fit.log_loss(columns)), rtol=1e-10)
        for part in ("irreducible", "capacity", "data"):
            assert (parts[part] >= 0).all(), part
        np.testing.assert_allclose(parts["irreducible"], textbook_parameters(fit)["E"], rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_capacity_and_data_share_the_sum_by_their_weight(seed):
    fit, columns = make_fit("general", seed), make_runs()
    p, parts = textbook_parameters(fit), decompose(fit, columns)
    of_params, of_tokens = p["A"] * columns["params"] ** -p["alpha"], p["B"] * columns["tokens"] ** -p["beta"]
    np.testing.assert_allclose(parts["capacity"] / parts["data"], of_params / of_tokens, rtol=1e-9)


def test_a_law_of_one_column_has_one_part():
    assert np.abs(decompose(make_fit("params_only"), make_runs())["data"]).max() < 1e-9
    assert np.abs(decompose(make_fit("tokens_only"), make_runs())["capacity"]).max() < 1e-9


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("term", ["repetition", "muennighoff"])
def test_repeats_cost_and_fresh_data_do_not(term, seed):
    fit, columns = make_fit(f"general+{term}", seed), make_runs()
    part = decompose(fit, columns)[term]
    repeated = columns["tokens"] / columns["unique_tokens"] > 1
    assert (part[repeated] >= 0).all()
    if term == "repetition":
        assert (part[repeated] > 0).all()
        np.testing.assert_allclose(part[~repeated], 0.0, atol=1e-12)


def test_experts_help_where_their_gain_is_positive():
    fit, columns = make_fit("general+experts", 2, width=0.3), make_runs()
    columns = {**columns, "params": np.full(60, 1e9)}
    part = decompose(fit, columns)["experts"]
    dense = columns["num_experts"] == 1
    np.testing.assert_allclose(part[dense], 0.0, atol=1e-12)
    assert (part[~dense] < 0).all()


@pytest.mark.parametrize("term", ["lr", "lr_batch"])
def test_a_learning_rate_off_its_optimum_costs(term):
    assert (decompose(make_fit(f"general+{term}", 1), make_runs())[term] >= 0).all()


def test_a_term_without_its_columns_has_no_part_in_the_loss():
    fit = make_fit("general+repetition+experts", 1)
    columns = {name: make_runs()[name] for name in ("params", "tokens")}
    parts = decompose(fit, columns)
    np.testing.assert_array_equal(parts["repetition"], 0.0)
    np.testing.assert_array_equal(parts["experts"], 0.0)
