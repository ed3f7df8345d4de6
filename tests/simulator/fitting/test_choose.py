"""Which laws a table can support, and when `auto` leaves the preferred one."""

import importlib
from collections.abc import Callable

import numpy as np
import pytest
from foretrain.core.errors import FitError
from foretrain.simulator.fitting import Observations, Scores, candidates, choose, collinearity, public_prior, require
from foretrain.simulator.laws import get_law

MODULE = importlib.import_module("foretrain.simulator.fitting.choose")
CORES = ["general", "chinchilla", "kaplan"]


@pytest.fixture
def table(simulate) -> Callable[..., Observations]:
    """`table(n, **columns)`: runs of the known law, with columns replaced or added."""

    def make(n: int = 40, seed: int = 0, **more) -> Observations:
        columns, loss = simulate(n, 0.005, seed)
        columns = {**columns, **{k: np.broadcast_to(np.asarray(v, float), (n,)) for k, v in more.items()}}
        return Observations.from_columns(columns, loss)

    return make


def mixed(n: int, sd: float, seed: int = 9) -> np.ndarray:
    """Factors that follow nothing else, `(n,)`."""
    return np.exp(np.random.default_rng(seed).normal(0, sd, n))


# candidates


def test_size_and_data_that_both_vary(table):
    names, left_out = candidates(table())
    assert names == CORES
    assert left_out == {}


@pytest.mark.parametrize(("column", "law"), [("tokens", "params_only"), ("params", "tokens_only")])
def test_only_one_of_them_varies(column, law, table):
    names, left_out = candidates(table(**{column: 2e9}))
    assert names == [law]
    assert left_out == {column: f"column {column!r} takes one value, 2e+09"}
    nearly = table(**{column: 2e9 * np.linspace(1, 1.4, 40)})
    assert candidates(nearly)[0] == [law]
    assert "varies too little, 2e+09 to 2.8e+09" in candidates(nearly)[1][column]


def test_nothing_varies(table):
    with pytest.raises(FitError, match="nothing to fit a law on: column 'params' takes one value"):
        candidates(table(params=1e9, tokens=2e10))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_too_few_runs(n, table):
    with pytest.raises(FitError, match=rf"{n} run\(s\) to fit; at least 4 are needed"):
        candidates(table(n))


def test_repeated_data(table):
    plain = table()
    repeated = table(unique_tokens=plain.columns["tokens"] / np.tile([1, 4, 16, 64], 10))
    names, left_out = candidates(repeated)
    assert names[0] == "general+repetition"
    assert set(names) == {*CORES, *(f"{core}+{t}" for core in CORES for t in ("repetition", "muennighoff"))}
    assert left_out == {}


def test_hardly_repeated_data(table):
    plain = table()
    names, left_out = candidates(table(unique_tokens=plain.columns["tokens"] / np.where(np.arange(40) < 4, 3, 1)))
    assert names == CORES
    assert "4 runs see their data more than 1.5 times; 5 are needed" in left_out["repetition"]


def test_experts(table):
    names, _ = candidates(table(num_experts=np.tile([1, 4, 16, 64], 10)))
    assert names[0] == "general+experts"
    names, left_out = candidates(table(num_experts=np.tile([1, 8], 20)))
    assert names == CORES
    assert "3 are needed" in left_out["experts"]


def test_experts_without_a_change_of_data(table):
    assert candidates(table(tokens=1e11, num_experts=np.tile([1, 4, 16, 64], 10)))[0][0] == "params_only+experts"


def test_learning_rate(table):
    names, _ = candidates(table(lr=1e-3 * mixed(40, 1.0)))
    assert names == ["general+lr", "chinchilla+lr", "kaplan+lr", *CORES]


def test_learning_rate_and_batch(table):
    names, _ = candidates(table(60, lr=1e-3 * mixed(60, 1.0), batch_tokens=1e6 * mixed(60, 1.0, seed=8)))
    assert names[0] == "general+lr_batch"
    assert not any(name.endswith("+lr") for name in names), "at most one term for the learning rate"


def test_a_batch_that_never_changes_leaves_the_learning_rate(table):
    names, left_out = candidates(table(60, lr=1e-3 * mixed(60, 1.0), batch_tokens=1e6))
    assert names[0] == "general+lr"
    assert "'batch_tokens' varies too little" in left_out["lr_batch"]


@pytest.mark.parametrize("n", [20, 200])
@pytest.mark.parametrize(("by_params", "by_tokens"), [(-0.3, 0.1), (-0.5, 0.0)])
def test_a_learning_rate_that_follows_size_and_data_is_not_taken(n, by_params, by_tokens, table):
    """Such a learning rate varies a lot over the table and still says nothing about its own effect."""
    for seed in range(5):
        plain = table(n, seed).columns
        follows = 2e-3 * (plain["params"] / 1e8) ** by_params * (plain["tokens"] / 1e10) ** by_tokens
        names, left_out = candidates(table(n, seed, lr=follows * mixed(n, 0.02)))
        assert names == CORES
        assert "'lr' varies too little" in left_out["lr"]


def test_terms_of_different_kinds_are_combined(table):
    plain = table()
    both = table(
        unique_tokens=plain.columns["tokens"] / np.tile([1, 4, 16, 64], 10), num_experts=np.repeat([1, 4, 16, 64], 10)
    )
    assert candidates(both)[0][0] == "general+repetition+experts"


def test_every_candidate_is_a_law_that_the_runs_identify(table):
    for seen in (
        table(),
        table(tokens=1e11),
        table(lr=1e-3 * mixed(40, 1.0)),
        table(num_experts=np.tile([1, 2, 4, 8], 10)),
    ):
        for name in candidates(seen)[0]:
            require(get_law(name), seen)


@pytest.mark.parametrize("name", ["general+repetition", "general+experts", "general+lr"])
def test_a_named_term_without_its_column_is_refused(name, table):
    with pytest.raises(FitError, match="is absent"):
        require(get_law(name), table())


def test_collinearity_is_a_squared_correlation(table):
    plain = table()
    assert 0 < collinearity(plain) < 1
    assert collinearity(table(tokens=20 * plain.columns["params"])) == pytest.approx(1.0)
    assert collinearity(table(tokens=1e11)) == 0.0


# the choice


@pytest.fixture
def judged(monkeypatch):
    """`judged(errors, cuts)`: back-tests that find these errors, by law."""

    def fake(errors: dict[str, float], cuts: int = 6):
        def backtest(law, observations, prior, **_):
            n = cuts if law.name in errors else 0
            values = np.full(n, errors.get(law.name, 0.0))
            return Scores(values, np.zeros(n), np.full(n, 0.004), np.ones(n), np.arange(n))

        monkeypatch.setattr(MODULE, "backtest", backtest)

    return fake


@pytest.mark.parametrize(
    ("errors", "cuts", "chosen"),
    [
        ({"general": 0.01, "chinchilla": 0.02, "kaplan": 0.02}, 6, "general"),
        ({"general": 0.01, "chinchilla": 0.008, "kaplan": 0.02}, 6, "general"),
        ({"general": 0.05, "chinchilla": 0.005, "kaplan": 0.05}, 6, "chinchilla"),
        ({"general": 0.05, "chinchilla": 0.005, "kaplan": 0.05}, 1, "general"),
        ({"general": 0.1, "chinchilla": 0.1, "kaplan": 0.002}, 20, "kaplan"),
    ],
)
def test_the_law_is_the_form_of_most_weight(errors, cuts, chosen, judged, table):
    judged(errors, cuts)
    choice = choose(table(), None)
    assert choice.law == chosen == max(choice.weights, key=lambda name: choice.weights[name])
    assert ("better than general" in choice.why) == (chosen != "general")
    assert f"{choice.weights[chosen]:.0%}" in choice.why
    assert set(choice.scores) == set(errors)


@pytest.mark.parametrize(("rival", "chosen"), [(0.008, "repetition"), (0.001, "muennighoff")])
def test_terms_for_the_same_thing_are_weighed_too(rival, chosen, judged, table):
    error = 0.01 if chosen == "repetition" else 0.05
    judged({"general+repetition": error, "general+muennighoff": rival, "general": 1.2 * error})
    repeated = table(unique_tokens=table().columns["tokens"] / np.tile([1, 4, 16, 64], 10))
    choice = choose(repeated, None)
    assert choice.law == f"general+{chosen}"
    assert {"general+repetition", "general+muennighoff"} <= set(choice.weights)


def test_a_law_without_its_term_counts_only_where_it_is_clearly_better(judged, table):
    routed = table(num_experts=np.tile([1, 4, 16, 64], 10))
    judged({"general+experts": 0.01, "general": 0.008})
    assert set(choose(routed, None).weights) == {"general+experts"}
    judged({"general+experts": 0.2, "general": 0.004}, cuts=10)
    assert choose(routed, None).law == "general"


def test_too_few_runs_for_a_back_test(table):
    choice = choose(table(5), public_prior())
    assert choice.law == "general"
    assert "too few runs for a back-test" in choice.why


def test_auto_takes_the_general_form_on_an_ordinary_table(table):
    choice = choose(table(), public_prior())
    assert choice.law == "general"
    assert set(choice.scores) == set(CORES)
    assert "N and D both vary" in choice.why
    assert f"{choice.scores['general'].median_relative_error:.2%}" in choice.why


def test_the_choice_names_what_was_left_out(table):
    choice = choose(table(tokens=1e11), public_prior())
    assert choice.law == "params_only"
    assert "only the effect of size" in choice.why
    assert set(choice.left_out) == {"tokens"}


def test_the_same_table_gives_the_same_choice(table):
    one, other = (choose(table(20), public_prior(), seed=seed) for seed in (0, 1))
    assert (one.law, one.why) == (other.law, other.why)
