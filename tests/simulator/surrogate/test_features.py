"""What a learner sees of runs: shares first, then logs that a larger run could have too."""

import json

import numpy as np
import pytest
from foretrain.simulator.fitting import Observations, fit_observations, public_prior
from foretrain.simulator.laws import get_law
from foretrain.simulator.surrogate.features import COMPUTE, RATIO, Features, run_noise


@pytest.fixture(scope="module")
def mixed(make_mixed, fit_mixed):
    observations = make_mixed(60, size=(5e7, 1e8, 2e8))
    fit = fit_mixed(observations)
    return fit, observations, Features.of(fit, observations.columns)


def test_shares_come_first_in_the_laws_order_then_what_varies(mixed, mix_domains):
    fit, observations, features = mixed
    assert features.shares == tuple(f"mix.{name}" for name in mix_domains)
    assert features.logs == (COMPUTE,)  # all have 20 tokens per parameter
    assert features.names == (*features.shares, COMPUTE)
    assert features.lengths.shape == (5,)
    assert (features.lengths[:4] < features.lengths[4]).all()  # along scale, residuals hardly change
    matrix = features.matrix(fit, observations.columns)
    assert matrix.shape == (60, 5)
    for place, name in enumerate(features.shares):
        np.testing.assert_array_equal(matrix[:, place], observations.columns[name])


def test_a_table_of_one_size_has_shares_alone(make_mixed, fit_mixed):
    observations = make_mixed(40)
    assert Features.of(fit_mixed(observations), observations.columns).logs == ()


def test_logs_are_standardised_by_their_range(mixed):
    """A few large runs among many small ones would be ten sds off by the mean and the sd."""
    fit, observations, features = mixed
    values = features.matrix(fit, observations.columns)[:, 4]
    assert values.min() == pytest.approx(-np.sqrt(3))
    assert values.max() == pytest.approx(np.sqrt(3))
    few = observations.take(np.argsort(observations.compute)[np.r_[:20, -1]])
    np.testing.assert_allclose(
        Features.of(fit, few.columns).matrix(fit, few.columns)[:, 4], [-np.sqrt(3)] * 20 + [np.sqrt(3)]
    )


def test_settings_enter_as_distances_from_the_laws_own_optimum(tuned):
    observations, fit = tuned
    columns = observations.columns
    features = Features.of(fit, columns)
    assert features.logs == (COMPUTE, RATIO, "log_lr_offset", "log_batch_offset")
    assert (features.lengths[:2].min() > features.lengths[2:]).all()
    moved = {**columns, "lr": columns["lr"] * np.e**0.7}
    before, after = features.matrix(fit, columns), features.matrix(fit, moved)
    np.testing.assert_allclose((after - before)[:, 2] * features.spread[2], 0.7)
    # the true optimum of lr is 1e-3·(N/1e8)^-0.3: with it, the offset is the same at all sizes
    offset = after[:, 2] * features.spread[2] + features.centre[2]
    true = np.log(moved["lr"] / (1e-3 * (columns["params"] / 1e8) ** -0.3))
    assert np.std(offset - true) < 0.35 * np.std(true)


def test_a_setting_that_is_not_stated_counts_as_well_tuned(tuned):
    observations, fit = tuned
    features = Features.of(fit, observations.columns)
    bare = {name: observations.columns[name] for name in ("params", "tokens")}
    matrix = features.matrix(fit, bare)
    for place, name in enumerate(features.logs):
        if name.endswith("_offset"):
            np.testing.assert_allclose(
                matrix[:, place] * features.spread[place] + features.centre[place], 0, atol=1e-12
            )
    np.testing.assert_allclose(matrix[:, :2], features.matrix(fit, observations.columns)[:, :2])


def test_a_constant_setting_is_no_feature(tuned):
    observations, fit = tuned
    columns = {**observations.columns, "tokens": 20 * observations.columns["params"]}
    assert RATIO not in Features.of(fit, columns).names


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_all_but_compute_is_free_of_scale(factor, tuned):
    """The same run at another scale, its settings as far from their optima, looks the same but for its compute."""
    observations, fit = tuned
    features, columns = Features.of(fit, observations.columns), observations.columns
    at = fit.law.names.index
    if "lr_by_params" not in fit.law.names:
        return  # the posynomial has its optimum in no parameter
    move = np.log(factor)
    lr = (fit.theta[at("lr_by_params")] + fit.theta[at("lr_by_tokens")]) * move
    batch = (fit.theta[at("batch_by_params")] + fit.theta[at("batch_by_tokens")]) * move
    grown = {
        "params": factor * columns["params"],
        "tokens": factor * columns["tokens"],
        "lr": columns["lr"] * np.exp(lr),
        "batch_tokens": columns["batch_tokens"] * np.exp(batch),
    }
    one, other = features.matrix(fit, columns), features.matrix(fit, grown)
    np.testing.assert_allclose(other[:, 1:], one[:, 1:], atol=1e-9)
    assert (np.sign(factor - 1) * (other - one)[:, 0] > 1).all()


def test_round_trips_through_json(mixed):
    features = mixed[2]
    again = Features.from_dict(json.loads(json.dumps(features.to_dict())))
    assert (again.shares, again.logs) == (features.shares, features.logs)
    np.testing.assert_array_equal(again.centre, features.centre)
    np.testing.assert_array_equal(again.spread, features.spread)


@pytest.mark.parametrize(
    "change",
    [{"centre": []}, {"spread": [1.0, 1.0]}, {"spread": [0.0]}, {"spread": [float("nan")]}, {"logs": [COMPUTE, RATIO]}],
)
def test_numbers_that_do_not_fit_the_names_are_refused(change, mixed):
    with pytest.raises(ValueError, match="centre and spread"):
        Features.from_dict({**mixed[2].to_dict(), **change})


# luck


def test_mixes_close_to_one_domain_are_unlucky(mixed, mix_domains):
    fit = mixed[0]
    shares = np.array([[1.0, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]])
    columns = {f"mix.{name}": shares[:, place] for place, name in enumerate(mix_domains)}
    columns |= {"params": np.full(3, 1e8), "tokens": np.full(3, 2e9)}
    np.testing.assert_allclose(run_noise(fit, columns), np.log([[1.0], [0.25], [0.5]]), atol=1e-9)


def test_settings_far_off_are_unlucky_and_a_law_without_settings_knows_no_luck(tuned):
    observations, fit = tuned
    bare = {name: values[:1] for name, values in observations.columns.items()}
    off = [{**bare, "lr": bare["lr"] * factor} for factor in np.geomspace(1, 100, 9)]
    values = np.array([run_noise(fit, columns)[0, 0] for columns in off])
    assert (np.diff(values[2:]) > 0).all()
    assert values[-1] - values.min() > 2
    tuned_best = run_noise(fit, {name: bare[name] for name in ("params", "tokens")})
    np.testing.assert_allclose(tuned_best, np.log(2e-3))
    plain = fit_observations(get_law("general"), observations, public_prior())
    assert run_noise(plain, observations.columns).shape == (90, 0)


def test_luck_is_one_row_for_each_run(mixed, tuned):
    for fit, columns in ((mixed[0], mixed[1].columns), (tuned[1], tuned[0].columns)):
        every = run_noise(fit, columns)
        some = run_noise(fit, {name: values[5:8] for name, values in columns.items()})
        np.testing.assert_allclose(some, every[5:8])


def test_no_runs_have_no_rows(mixed):
    fit, observations, features = mixed
    none = Observations.take(observations, np.zeros(60, dtype=bool))
    assert features.matrix(fit, none.columns).shape == (0, 5)
    assert run_noise(fit, none.columns).shape == (0, 1)


def test_compute_is_left_out_for_who_is_to_extrapolate(mixed, tuned):
    fit, observations, features = mixed
    without = Features.of(fit, observations.columns, scale=False)
    assert without.names == features.shares
    observations, fit = tuned
    assert Features.of(fit, observations.columns, scale=False).logs == (RATIO, "log_lr_offset", "log_batch_offset")
