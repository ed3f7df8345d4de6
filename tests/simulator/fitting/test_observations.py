"""What a fit sees of a run table: completed columns, failed runs left out, weights for extrapolation."""

import numpy as np
import pandas as pd
import pytest
from foretrain.core.errors import FitError
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import Observations, known_columns, law_columns
from foretrain.simulator.laws import MOST_LEVELS

BLANK = float("nan")


def observe(target: str = "loss", **columns) -> Observations:
    n = 4
    base = {"params": np.geomspace(1e8, 8e8, n), "tokens": np.geomspace(1e10, 8e10, n), "loss": np.linspace(3, 2.4, n)}
    return Observations.from_table(RunTable.from_frame(pd.DataFrame({**base, **columns})), target)


def of_runs(params, tokens, weights=None) -> Observations:
    params, tokens = np.broadcast_arrays(np.asarray(params, float), np.asarray(tokens, float))
    return Observations.from_columns({"params": params, "tokens": tokens}, np.full(len(params), 3.0), weights)


# completion


def test_a_plain_table_has_params_and_tokens_only():
    seen = observe()
    assert set(seen.columns) == {"params", "tokens"}
    assert len(seen) == 4
    np.testing.assert_array_equal(seen.weights, 1.0)
    np.testing.assert_allclose(seen.compute, 6 * seen.columns["params"] * seen.columns["tokens"])


def test_blank_unique_tokens_mean_a_single_pass():
    seen = observe(unique_tokens=[1e10, BLANK, 1e10, BLANK])
    np.testing.assert_array_equal(seen.columns["unique_tokens"][[1, 3]], seen.columns["tokens"][[1, 3]])
    np.testing.assert_array_equal(seen.columns["unique_tokens"][[0, 2]], 1e10)


def test_epochs_become_unique_tokens():
    seen = observe(epochs=[1.0, 4.0, BLANK, 2.0])
    np.testing.assert_allclose(seen.columns["tokens"] / seen.columns["unique_tokens"], [1, 4, 1, 2])


def test_blank_experts_mean_a_dense_model():
    np.testing.assert_array_equal(observe(num_experts=[8, BLANK, 1, BLANK]).columns["num_experts"], [8, 1, 1, 1])


def test_zero_experts_mean_a_dense_model():
    """The run table lets dense runs be written as 0 experts, but fitting then refuses the whole table."""
    np.testing.assert_array_equal(observe(num_experts=[8, 0, 1, 0]).columns["num_experts"], [8, 1, 1, 1])


@pytest.mark.parametrize("column", ["lr", "batch_tokens"])
def test_optimisation_that_is_blank_in_some_rows_is_left_out(column):
    assert column in observe(**{column: [2e5, 3e5, 4e5, 5e5] if column == "batch_tokens" else 1e-3}).columns
    assert column not in observe(**{column: [1e5, BLANK, 1e5, 1e5]} if column == "batch_tokens" else {
        column: [1e-3, BLANK, 1e-3, 1e-3]}).columns  # fmt: skip


def test_columns_that_no_law_reads_are_left_out():
    seen = observe(width=512, seed=[1, 2, 3, 4], tokenizer="bpe", my_column=[1.0, 2.0, 3.0, 4.0])
    assert set(seen.columns) == {"params", "tokens"}


def test_columns_that_are_all_blank_are_left_out():
    assert set(observe(**dict.fromkeys(("lr", "num_experts"), BLANK)).columns) == {"params", "tokens"}


def test_every_optional_column_is_one_that_some_law_reads():
    table = RunTable.from_frame(pd.DataFrame({
        "params": [1e8, 2e8], "tokens": [1e10, 2e10], "loss": [3.0, 2.9], "unique_tokens": [5e9, 2e10],
        "num_experts": [1, 8], "lr": [1e-3, 2e-3], "batch_tokens": [1e6, 2e6], "params_total": [1e8, 1e9],
        "selection": ["none", "dedup"], "keep": [BLANK, 0.8],
        "architecture": ["transformer", "hyena"],
        "generator": ["none", "self"], "regime": ["real", "replace"], "synthetic_share": [0.0, 1.0],
        "generation": [0, 1], "temperature": [BLANK, 0.9], "top_p": [BLANK, 0.95],
    }))  # fmt: skip
    optional = {"unique_tokens", "num_experts", "lr", "batch_tokens", "params_total", "keep"}
    optional |= {"synthetic_share", "generation", "temperature", "top_p"}
    of_levels = {"selection": ("none", "dedup"), "generator": ("none", "self"), "regime": ("real", "replace")}
    of_levels["architecture"] = ("transformer", "hyena")
    levels = {f"{category}={level}" for category, both in of_levels.items() for level in both}
    assert set(known_columns(table)) == {"params", "tokens"} | optional | levels
    assert {one.name for one in law_columns()} == optional | set(of_levels)


# rows


@pytest.mark.parametrize("status", ["diverged", "failed", "crashed", "running"])
def test_runs_that_did_not_end_well_are_never_fitted(status):
    seen = observe(status=["ok", status, "ok", "finished"], loss=[3.0, 99.0, 2.8, 2.6])
    np.testing.assert_array_equal(seen.loss, [3.0, 2.8, 2.6])


def test_a_failed_runs_blank_cells_do_not_hide_a_column():
    seen = observe(status=["ok", "diverged", "ok", "ok"], lr=[1e-3, BLANK, 2e-3, 3e-3])
    np.testing.assert_array_equal(seen.columns["lr"], [1e-3, 2e-3, 3e-3])


def test_each_target_has_its_own_rows():
    table = RunTable.from_frame(pd.DataFrame({
        "params": [1e8, 2e8, 3e8], "tokens": [1e10, 2e10, 3e10],
        "loss.web": [3.0, BLANK, 2.8], "loss.code": [1.5, 1.4, BLANK],
    }))  # fmt: skip
    np.testing.assert_array_equal(Observations.from_table(table, "loss.web").columns["params"], [1e8, 3e8])
    np.testing.assert_array_equal(Observations.from_table(table, "loss.code").loss, [1.5, 1.4])


def test_nothing_but_failures_is_refused():
    with pytest.raises(FitError, match="nothing to fit"):
        observe(status="diverged")


def test_a_weight_column_weighs():
    np.testing.assert_array_equal(observe(weight=[1.0, 2.0, 0.5, 0.0]).weights, [1, 2, 0.5, 0])


# selection


def test_take_and_thinned_keep_rows_together():
    rng = np.random.default_rng(0)
    params, tokens = 10 ** rng.uniform(7, 9, 500), 10 ** rng.uniform(9, 11, 500)
    seen = Observations.from_columns({"params": params, "tokens": tokens}, np.arange(500.0) + 1, np.arange(500.0))
    some = seen.thinned(50)
    assert len(some) == 50
    rows = some.weights.astype(int)
    assert (np.diff(rows) > 0).all(), "in the table's order"
    np.testing.assert_array_equal(some.loss, rows + 1)
    np.testing.assert_array_equal(some.columns["params"], params[rows])
    assert {int(seen.compute.argmin()), int(seen.compute.argmax())} <= set(rows), "the ends stay"
    quantiles = np.searchsorted(np.sort(seen.compute), np.sort(some.compute))
    assert np.diff(quantiles).max() <= 12, "evenly spread over compute"
    assert seen.thinned(500) is seen
    np.testing.assert_array_equal(seen.take(seen.loss > 490).loss, np.arange(491.0, 501.0))


# weights for extrapolation


def test_weights_grow_with_the_cube_root_of_compute():
    seen = of_runs([1e8, 1e9, 1e9], [2e10, 2e10, 2e11])
    np.testing.assert_allclose(seen.extrapolation_weights(), [100 ** (-1 / 3), 10 ** (-1 / 3), 1.0])


def test_weights_have_no_unit():
    rng = np.random.default_rng(1)
    params, tokens = 10 ** rng.uniform(7, 9, 30), 10 ** rng.uniform(8, 11, 30)
    one, other = of_runs(params, tokens), of_runs(params * 1e3, tokens * 1e3)
    np.testing.assert_allclose(one.extrapolation_weights(), other.extrapolation_weights(), rtol=1e-12)


def test_under_trained_runs_count_less():
    seen = of_runs([1e9, 1e10, 1e11], [1e12, 1e11, 1e10])  # equal compute; 1000, 10 and 0.1 tokens per parameter
    np.testing.assert_allclose(seen.extrapolation_weights(), [1.0, 1.0, 0.02])


def test_a_table_of_nothing_but_under_trained_runs_keeps_its_weight():
    seen = of_runs([1e9, 1e9], [1e9, 2e9])
    np.testing.assert_allclose(seen.extrapolation_weights(), [0.5 * 2 ** (-1 / 3), 1.0])


def test_the_users_weights_multiply():
    weights = np.array([1.0, 0.0, 3.0])
    args = ([1e8, 1e9, 1e9], [2e10, 2e10, 2e11])
    np.testing.assert_allclose(
        of_runs(*args, weights).extrapolation_weights(), weights * of_runs(*args).extrapolation_weights()
    )


def test_weights_are_positive_and_at_most_one():
    rng = np.random.default_rng(2)
    seen = of_runs(10 ** rng.uniform(6, 11, 200), 10 ** rng.uniform(8, 12, 200))
    weights = seen.extrapolation_weights()
    assert (weights > 0).all()
    assert weights.max() <= 1.0


# the mix


def mixed(**more) -> RunTable:
    frame = pd.DataFrame({
        "params": [1e8, 2e8, 3e8, 4e8], "tokens": [1e10, 2e10, 3e10, 4e10], "loss": [3.0, 2.9, 2.8, 2.7],
        "mix.web": [0.5, 0.6, 0.7, 0.6], "mix.code": [0.3, 0.2, 0.1, 0.2], "mix.books": 0.2, "mix.law": 0.0,
    })  # fmt: skip
    return RunTable.from_frame(frame.assign(**more))


def test_shares_are_read_and_domains_are_those_that_vary():
    seen = Observations.from_table(mixed(), "loss")
    assert [name for name in seen.columns if name.startswith("mix.")] == [
        "mix.web", "mix.code", "mix.books", "mix.law",
    ]  # fmt: skip
    assert seen.domains == ("web", "code")
    np.testing.assert_array_equal(seen.columns["mix.web"], [0.5, 0.6, 0.7, 0.6])


def test_stocks_of_domains_are_read_as_they_are():
    seen = Observations.from_table(mixed(**{"unique_tokens.web": [1e9, BLANK, 2e9, BLANK]}), "loss")
    np.testing.assert_array_equal(seen.columns["unique_tokens.web"], [1e9, np.nan, 2e9, np.nan])


def test_taking_and_thinning_keep_the_mix():
    seen = Observations.from_table(mixed(), "loss")
    assert seen.take(np.array([True, False, True, True])).domains == ("web", "code")
    assert seen.take(np.array([1, 3])).domains == (), "the same mix twice"
    thin = seen.thinned(2)
    assert len(thin) == len(thin.columns["mix.web"]) == 2


@pytest.mark.parametrize(("count", "read"), [(MOST_LEVELS, MOST_LEVELS), (MOST_LEVELS + 1, 0)])
def test_a_column_of_too_many_levels_is_no_category(count, read):
    sizes = np.geomspace(1e8, 8e8, count)
    columns = {"params": sizes, "tokens": 20 * sizes, "loss": np.linspace(3, 2.4, count)}
    table = pd.DataFrame({**columns, "architecture": [f"run {number}" for number in range(count)]})
    seen = Observations.from_table(RunTable.from_frame(table), "loss")
    assert len(seen.levels.get("architecture", ())) == read
    if not read:
        with pytest.raises(FitError, match=f"no level of 'architecture' is known; .* at most {MOST_LEVELS} levels"):
            seen.law("chinchilla+architecture")
