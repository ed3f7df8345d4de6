"""When `auto` reads the mix, which form it takes, and what a law of the mix needs where N or D never changes."""

import importlib
from collections.abc import Callable

import numpy as np
import pytest
from foretrain.core.errors import FitError
from foretrain.simulator.fitting import Observations, candidates, choose, fit_observations, public_prior, require
from foretrain.simulator.laws import get_law

MODULE = importlib.import_module("foretrain.simulator.fitting.choose")
DOMAINS = ("web", "code", "books")


@pytest.fixture
def table(simulate, true_loss) -> Callable[..., Observations]:
    """`table(n, domains, **columns)`: runs of the known law times what their mix is worth, with columns replaced."""

    def make(n: int = 40, domains=DOMAINS, **more) -> Observations:
        columns, _ = simulate(n)
        shares = np.random.default_rng(2).dirichlet(np.ones(len(domains)), n).T
        columns |= {f"mix.{d}": share for d, share in zip(domains, shares, strict=True)}
        columns |= {name: np.broadcast_to(np.asarray(v, float), (n,)) for name, v in more.items()}
        noise = np.exp(np.random.default_rng(3).normal(0, 0.005, n))
        return Observations.from_columns(columns, true_loss(columns) * (shares[0] + 0.3) ** -0.1 * noise)

    return make


def test_a_mix_that_varies_is_read(table):
    names, left_out = candidates(table(), public_prior())
    assert names[:2] == ["general+mixture", "general+exponential_mixture"]
    assert names[-3:] == ["general", "chinchilla", "kaplan"]
    assert left_out == {}


def test_a_mix_that_never_changes_is_not(table):
    same = {f"mix.{d}": share for d, share in zip(DOMAINS, (0.5, 0.3, 0.2), strict=True)}
    names, left_out = candidates(table(**same), public_prior())
    assert names == ["general", "chinchilla", "kaplan"]
    assert left_out["mixture"] == "the share of every domain is the same in all runs"


def test_too_few_runs_for_the_domains(table):
    domains = tuple(f"d{i}" for i in range(17))
    names, left_out = candidates(table(12, domains), public_prior())
    assert names[0] == "general"
    assert left_out["mixture"] == "12 runs are too few for 17 domains; 13 are needed"
    assert candidates(table(13, domains), public_prior())[0][0] == "general+mixture"


@pytest.mark.parametrize("fixed", [{"params": 1e8}, {"tokens": 2e9}, {"params": 1e8, "tokens": 2e9}])
def test_one_size_or_one_amount_of_data_with_a_prior(fixed, table):
    """A mixture law from small proxies predicts other sizes and token budgets: the prior says what those do."""
    seen = table(**fixed)
    names, left_out = candidates(seen, public_prior())
    assert names == ["general+mixture", "general+exponential_mixture"]
    assert left_out == {}
    choice = choose(seen, public_prior())
    assert choice.law == "general+mixture"
    for column in fixed:
        assert f"column {column!r} takes one value" in choice.why
    assert "so the prior says what else" in choice.why


def test_one_size_without_a_prior(table):
    names, left_out = candidates(table(params=1e8))
    assert names == ["tokens_only"]
    assert "there is no prior to say what it does (--prior public)" in left_out["mixture"]
    with pytest.raises(FitError, match=r"nothing to fit a law on: .*the mix varies, but .*--prior public"):
        candidates(table(params=1e8, tokens=2e9))


def test_far_sizes_rest_on_the_prior_and_say_so_by_their_width(table):
    seen = table(params=1e8, tokens=2e9)
    fit = fit_observations(get_law("general+mixture", DOMAINS), seen, public_prior(), draws=60)
    near = {name: values[:1] for name, values in seen.columns.items()}
    far = near | {"params": near["params"] * 100}
    spread = [float(fit.log_loss_draws(columns).std()) for columns in (near, far)]
    assert spread[1] > 5 * spread[0]
    assert fit.log_loss(far)[0] < fit.log_loss(near)[0]


def test_stocks_by_domain_take_the_place_of_repeats_in_total(table):
    plain = table()
    repeats = {"unique_tokens": plain.columns["tokens"] / np.tile([1, 4, 16, 64], 10)}
    assert candidates(table(**repeats), public_prior())[0][0] == "general+repetition+mixture"
    names, left_out = candidates(table(**repeats, **{"unique_tokens.web": 1e9}), public_prior())
    assert names[0] == "general+mixture"
    assert left_out["repetition"] == "'mixture' counts repeats domain by domain"
    blank = table(**repeats, **{"unique_tokens.web": np.nan})
    assert candidates(blank, public_prior())[0][0] == "general+repetition+mixture"


# laws that are named


def law(name: str, domains=DOMAINS):
    return get_law(name, domains)


def test_a_named_law_of_the_mix(table):
    require(law("general+mixture"), table())
    require(law("general+mixture"), table(params=1e8, tokens=2e9), public_prior())
    require(law("tokens_only+exponential_mixture"), table(params=1e8))


def test_a_named_law_at_one_size_needs_a_prior(table):
    with pytest.raises(FitError, match=r"column 'params' takes one value, 1e\+08; take --law auto or --prior public"):
        require(law("general+mixture"), table(params=1e8))


def test_a_named_law_with_more_parameters_than_runs_needs_a_prior(table):
    domains = tuple(f"d{i}" for i in range(17))
    with pytest.raises(FitError, match=r"20 runs for 28 parameters; take --prior public"):
        require(law("general+mixture", domains), table(20, domains))
    require(law("general+mixture", domains), table(20, domains), public_prior())


def test_repeats_in_total_and_by_domain_are_not_both_named(table):
    repeats = {"unique_tokens": table().columns["tokens"] / np.tile([1, 4, 16, 64], 10), "unique_tokens.web": 1e9}
    with pytest.raises(FitError, match=r"'unique_tokens.web', … state repeats by domain, which 'repetition' would"):
        require(law("general+repetition+mixture"), table(**repeats))


def test_a_law_of_the_mix_is_chosen_over_the_plain_one_and_back_tested(table):
    choice = choose(table(80), public_prior())
    assert choice.law == "general+mixture"
    assert choice.scores["general+mixture"].cuts >= 2
    errors = {name: scores.median_relative_error for name, scores in choice.scores.items()}
    assert errors["general+mixture"] < 0.5 * errors["general"]
