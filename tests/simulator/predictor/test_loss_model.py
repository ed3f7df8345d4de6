"""`LossModel`: law, learner and calibration as one chain on runs of known laws."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from foretrain.core.errors import DataWarning, FitError
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import Observations, public_prior
from foretrain.simulator.predictor.fit.loss_fit import errors_over_sd, fit_loss_model
from foretrain.simulator.predictor.loss_model import LossModel
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage.folder import load, save

PRIOR = public_prior()
NOISE = 0.004
SEEDS = range(4)


def covered(model: LossModel, runs: Observations, level: float = 0.9) -> float:
    """Share of the observed losses inside the interval."""
    low, high = model.predict(runs.columns).interval(level)
    return float(np.mean((low <= runs.loss) & (runs.loss <= high)))


def some(columns, rows) -> dict[str, np.ndarray]:
    return {name: values[rows] for name, values in columns.items()}


@pytest.fixture(scope="module")
def chains(make_mixed) -> list[tuple[LossModel, LossModel, Observations]]:
    """By seed: the chain, the law alone, both fitted to 80 runs, and 400 new runs."""
    found = []
    for seed in SEEDS:
        runs = make_mixed(80, seed, NOISE)
        found.append(
            (
                fit_loss_model(runs, "auto", PRIOR),
                fit_loss_model(runs, "auto", PRIOR, learner="none"),
                make_mixed(400, seed + 100, NOISE),
            )
        )
    return found


@pytest.fixture(scope="module")
def sized(make_mixed) -> LossModel:
    """A chain fitted to runs of three sizes."""
    return fit_loss_model(make_mixed(60, 1, size=(5e7, 1e8, 4e8)), "auto", PRIOR)


# mixes


def test_the_chain_beats_the_bare_law_on_new_mixes(chains, mixed_log_loss):
    for chain, bare, new in chains:
        truth = mixed_log_loss(new.columns)
        assert chain.surrogate is not None
        ours, laws = (np.abs(model.predict(new.columns).log_loss - truth).mean() for model in (chain, bare))
        assert ours < 0.75 * laws


def test_ninety_percent_intervals_hold_on_new_mixes(chains):
    shares = [covered(chain, new) for chain, _, new in chains]
    assert 0.80 <= np.mean(shares) <= 0.97, shares
    halves = [covered(chain, new, 0.5) for chain, _, new in chains]
    assert 0.38 <= np.mean(halves) <= 0.62, halves
    narrower = [np.median(chain.predict(new.columns).scale) for chain, _, new in chains]
    assert max(narrower) < 3 * NOISE


def test_where_the_law_is_right_the_chain_is_the_law_or_next_to_it(make_mixed, mixed_log_loss):
    for seed in range(2):
        runs = make_mixed(80, seed, NOISE, wiggle=0.0)
        chain, bare = fit_loss_model(runs, "auto", PRIOR), fit_loss_model(runs, "auto", PRIOR, learner="none")
        new = make_mixed(300, seed + 100, NOISE, wiggle=0.0)
        truth = mixed_log_loss(new.columns, 0.0)
        ours, laws = (np.abs(model.predict(new.columns).log_loss - truth).mean() for model in (chain, bare))
        assert ours < laws + 0.25 * NOISE
        assert covered(chain, new) >= 0.8


def test_the_choice_says_what_was_tried(chains):
    chain, bare, _ = chains[0]
    told = chain.choice["surrogate"]
    assert told["chosen"] == "joint"
    assert told["errors"]["joint"] < told["errors"]["law"]
    assert chain.surrogate is not None
    assert chain.surrogate.errors == told["errors"]
    assert bare.choice["surrogate"] is None
    assert chain.choice["cuts"] == 0  # one size allows no cut in compute
    assert chain.within is not None
    assert (chain.within.own_scores, bare.within) == (80, None)


# who learns


def test_without_a_learner_it_is_the_law_alone(chains, make_mixed):
    """`surrogate="none"` and the same law asked for by its name are one."""
    chain, bare, new = chains[0]
    named = fit_loss_model(make_mixed(80, 0, NOISE), chain.fit.law.name, PRIOR)
    assert named.surrogate is None
    assert named.choice["surrogate"] is None
    np.testing.assert_array_equal(bare.fit.theta, chain.fit.theta)
    one, other = bare.predict(new.columns), named.predict(new.columns)
    np.testing.assert_array_equal(one.log_loss, bare.fit.log_loss(new.columns))
    np.testing.assert_array_equal(one.log_loss, other.log_loss)
    np.testing.assert_array_equal(one.interval(0.9), other.interval(0.9))


def test_a_law_that_was_asked_for_is_taken_as_it_is(make_table):
    predictor = Predictor.fit(make_table(40, 0.01), "chinchilla")
    assert predictor.models["loss"].surrogate is None
    assert predictor.models["loss"].within is None


def test_few_runs_are_left_to_the_law(make_mixed):
    model = fit_loss_model(make_mixed(15), "auto", PRIOR)
    assert (model.surrogate, model.choice["surrogate"]) == (None, None)


# prediction


def test_one_run_or_many_makes_no_difference(sized, make_mixed):
    columns = make_mixed(40, 5, size=(5e7, 4e8, 5e9)).columns
    together = sized.predict(columns)
    for row in range(0, 40, 7):
        alone = sized.predict(some(columns, slice(row, row + 1)))
        assert alone.log_loss[0] == pytest.approx(together.log_loss[row], rel=1e-9)
        assert alone.scale[0] == pytest.approx(together.scale[row], rel=1e-3)
        assert alone.extrapolation_decades[0] == together.extrapolation_decades[row]


def test_many_runs_are_predicted_in_chunks_as_at_once(chains, make_mixed):
    model = chains[0][0]
    columns = make_mixed(2600, 6).columns
    whole = model.predict(columns)
    parts = [model.predict(some(columns, slice(at, at + 500))) for at in range(0, 2600, 500)]
    np.testing.assert_allclose(np.concatenate([p.log_loss for p in parts]), whole.log_loss, rtol=1e-9)
    np.testing.assert_allclose(np.concatenate([p.scale for p in parts]), whole.scale, rtol=1e-3)


def test_the_order_of_runs_to_fit_is_irrelevant(chains, make_mixed):
    runs = make_mixed(80, 0, NOISE)
    turned = fit_loss_model(runs.take(np.random.default_rng(0).permutation(80)), "auto", PRIOR)
    chain, _, new = chains[0]
    one, other = chain.predict(new.columns), turned.predict(new.columns)
    np.testing.assert_allclose(other.log_loss, one.log_loss, atol=0.1 * NOISE)
    np.testing.assert_allclose(other.scale, one.scale, rtol=0.05)


def test_the_same_seed_gives_the_same_bits(sized, make_mixed):
    again = fit_loss_model(make_mixed(60, 1, size=(5e7, 1e8, 4e8)), "auto", PRIOR)
    columns = make_mixed(40, 5, size=(5e7, 4e9)).columns
    one, other = sized.predict(columns), again.predict(columns)
    for name in ("log_loss", "scale", "extrapolation_decades"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(one.interval(0.9), other.interval(0.9))


def test_intervals_widen_beyond_the_fitted_runs(sized, make_mixed):
    columns = make_mixed(30, 7, size=4e8).columns
    widths = []
    for factor in 10.0 ** np.arange(0, 3.1, 0.5):
        grown = {**columns, "params": factor * columns["params"], "tokens": factor * columns["tokens"]}
        low, high = sized.predict(grown).interval(0.9)
        widths.append(np.median(np.log(high / low)))
    assert (np.diff(widths) > 0).all()
    assert widths[-1] > 3 * widths[0]


def test_scale_that_no_run_had_is_less_sure(chains):
    """All runs had one size: what another does is known from the prior alone, the mix as well as before."""
    chain, bare, new = chains[0]
    for model in (chain, bare):
        near = model.predict(new.columns)
        grown = {**new.columns, "params": 20 * new.columns["params"], "tokens": 20 * new.columns["tokens"]}
        far = model.predict(grown)
        assert (far.scale > 3 * near.scale).all()
        assert (far.loss_nats < near.loss_nats).all()


# what the runs say of themselves


def test_errors_over_sd_are_those_of_runs_left_out(chains, make_mixed):
    chain, bare, _ = chains[1]
    runs = make_mixed(80, 1, NOISE)
    for model in (chain, bare):
        found = errors_over_sd(model, runs)
        assert found.shape == (80,)
        assert 0.5 < np.sqrt(np.mean(found**2)) < 1.8
    loss = runs.loss.copy()
    loss[12] *= np.exp(12 * NOISE)  # among mixes like it; an odd mix of its own could be right
    spoilt = replace(runs, loss=loss)
    worst = errors_over_sd(fit_loss_model(spoilt, "auto", PRIOR), spoilt)
    assert np.abs(worst).argmax() == 12
    assert worst[12] < -5, "predicted less observed"


# by the run table


@pytest.fixture(scope="module")
def table(make_mixed, mix_domains) -> RunTable:
    runs = make_mixed(50, 2, NOISE)
    frame = {**runs.columns, "loss.web": runs.loss, "loss.code": 0.7 * runs.loss**1.1}
    return RunTable.from_frame(pd.DataFrame(frame), where="mixes.csv")


def quietly(table: RunTable, *args, **kwargs) -> Predictor:
    """Fit a table whose doubts (all runs have one size) are not this test's business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return Predictor.fit(table, *args, **kwargs)


def test_a_table_of_mixes_gets_a_chain_for_each_target(table, make_mixed, tmp_path):
    predictor = quietly(table)
    assert all("mixture" in model.fit.law.name for model in predictor.models.values())
    assert all(model.surrogate is not None for model in predictor.models.values())
    save(predictor, tmp_path / "mixes")
    again, columns = load(tmp_path / "mixes"), make_mixed(30, 9).columns
    for target in predictor.models:
        one, other = predictor.predict(columns, target), again.predict(columns, target)
        np.testing.assert_allclose(other.log_loss, one.log_loss, rtol=1e-8)
        np.testing.assert_allclose(other.scale, one.scale, rtol=1e-3)
    card = (tmp_path / "mixes" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "mixture" in card


def test_learners_are_switched_off_by_name(table):
    assert all(model.surrogate is None for model in quietly(table, surrogate="none").models.values())


def test_a_mixture_law_without_a_mix_is_refused(make_table):
    with pytest.raises(FitError, match="mix"):
        Predictor.fit(make_table(30), "general+mixture")
