"""Pooling fits of several tables: shares of the sources, terms from elsewhere, held-out scores."""

import numpy as np
import pytest
from foretrain.simulator.fitting import Observations, draw_spread, public_prior
from foretrain.simulator.predictor.loss_model import LossModel, fit_loss_model
from foretrain.simulator.predictor.pooling import REFERENCE, held_out_scores, pool


def fit(make_frame, seed: int = 0, factor: float = 1.0, law: str = "general", **columns) -> LossModel:
    frame = make_frame(30, 0.003, seed)
    arrays = {name: frame[name].to_numpy() for name in ("params", "tokens")}
    arrays |= {name: np.asarray(values, float) for name, values in columns.items()}
    return fit_loss_model(Observations.from_columns(arrays, factor * frame["loss"].to_numpy()), law, public_prior())


@pytest.fixture(scope="module")
def low(make_frame) -> LossModel:
    return fit(make_frame)


@pytest.fixture(scope="module")
def high(make_frame) -> LossModel:
    """The same runs with losses a fifth higher."""
    return fit(make_frame, factor=1.2)


@pytest.fixture(scope="module")
def columns() -> dict[str, np.ndarray]:
    params = np.geomspace(1e8, 1e11, 12)
    return {"params": params, "tokens": 20 * params}


def centre(model: LossModel, columns) -> np.ndarray:
    return model.fit.log_loss(columns)


def spread(model: LossModel, columns) -> np.ndarray:
    return draw_spread(model.fit, columns, centre(model, columns))


@pytest.mark.parametrize("groups", [{"one": 1}, {"one": 3}, {"one": 1, "two": 1, "three": 1}, {"one": 2, "two": 1}])
def test_a_pool_of_identical_models_is_that_model(groups, low, columns):
    """Its centre is the mean of the draws, so it differs from the optimum, by far less than sources differ."""
    pooled = pool({name: [low] * count for name, count in groups.items()})
    own = spread(low, columns)
    np.testing.assert_allclose(centre(pooled, columns), centre(low, columns), atol=0.005)
    np.testing.assert_allclose(spread(pooled, columns), own, rtol=0.35)
    assert pooled.fit.noise == pytest.approx(low.fit.noise)
    assert {k: tuple(v) for k, v in pooled.fitted_ranges.items()} == {k: tuple(v) for k, v in low.fitted_ranges.items()}
    assert pooled.rows == 30 * sum(groups.values())


def test_a_pool_is_expressed_at_one_reference_and_changes_no_draw(low, columns):
    pooled = pool({"one": [low]})
    assert pooled.fit.reference == REFERENCE
    drawn = low.fit.log_loss_draws(columns)
    for row in pooled.fit.log_loss_draws(columns):
        assert np.abs(drawn - row).max(axis=1).min() < 1e-9, "each draw is one of the model's own"


def test_a_source_counts_once_however_many_tables_it_has(low, high, columns):
    even = pool({"a": [low], "b": [high]})
    crowded = pool({"a": [low] * 5, "b": [high]})
    np.testing.assert_allclose(centre(crowded, columns), centre(even, columns), rtol=1e-9)
    np.testing.assert_allclose(spread(crowded, columns), spread(even, columns), rtol=0.1)
    tilted = pool({"a": [low], "b": [low], "c": [low], "d": [low], "e": [low], "f": [high]})
    assert (centre(tilted, columns) < centre(even, columns)).all()


def test_a_pool_lies_between_its_sources_and_spreads_over_them(low, high, columns):
    pooled = pool({"a": [low], "b": [high]})
    near = {name: values[:6] for name, values in columns.items()}
    assert (centre(low, near) < centre(pooled, near)).all()
    assert (centre(pooled, near) < centre(high, near)).all()
    assert (spread(pooled, columns) > spread(low, columns)).all()
    assert (spread(pooled, near) > 0.5 * np.log(1.2) * 0.8).all()


def test_order_of_the_sources_is_irrelevant(low, high, columns):
    one, other = pool({"a": [low], "b": [high]}), pool({"b": [high], "a": [low]})
    np.testing.assert_allclose(centre(one, columns), centre(other, columns), rtol=1e-12)
    np.testing.assert_allclose(spread(one, columns), spread(other, columns), rtol=1e-9)


def test_ranges_are_the_union(make_frame, low):
    wide = fit(lambda n, noise, seed: make_frame(n, noise, seed, decades=(8.0, 10.0)))
    pooled = pool({"a": [low], "b": [wide]})
    for key in ("params", "tokens", "compute"):
        assert pooled.fitted_ranges[key] == (
            min(low.fitted_ranges[key][0], wide.fitted_ranges[key][0]),
            max(low.fitted_ranges[key][1], wide.fitted_ranges[key][1]),
        )


def test_a_term_comes_from_the_table_that_shows_it(make_frame, low, high, columns):
    experts = np.tile([1.0, 4.0, 16.0], 10)
    routed = fit(make_frame, 3, law="general+experts", num_experts=experts)
    pooled = pool({"a": [low], "b": [high]}, {"experts": routed})
    assert pooled.fit.law.name == "general+experts"
    dense = {**columns, "num_experts": np.ones(12)}
    np.testing.assert_allclose(centre(pooled, dense), centre(pool({"a": [low], "b": [high]}), columns), rtol=1e-12)
    names = list(pooled.fit.law.names)
    start = names.index("log_experts_start")
    own = routed.fit.theta[list(routed.fit.law.names).index("log_experts_start")]
    assert pooled.fit.theta[start] == own
    assert np.isfinite(pooled.fit.draws).all()


# held-out scores


def items(model: LossModel, make_frame, seed: int, factor: float = 1.0):
    frame = make_frame(8, 0.003, 50 + seed)
    arrays = {name: frame[name].to_numpy() for name in ("params", "tokens")}
    return model, arrays, factor * frame["loss"].to_numpy()


def test_a_source_is_predicted_by_the_others_alone(make_frame, low, high):
    """Exchanging a source's own fit leaves its own scores as they were, and changes those of the others."""
    other = fit(make_frame, 4)
    groups = {"a": [items(low, make_frame, 1)], "b": [items(other, make_frame, 2)]}
    changed = {**groups, "a": [(high, *groups["a"][0][1:])]}
    before, after = held_out_scores(groups), held_out_scores(changed)
    own = before.cut == 0
    np.testing.assert_array_equal(after.error[own], before.error[own])
    np.testing.assert_array_equal(after.spread[own], before.spread[own])
    assert (after.error[~own] - before.error[~own] > 0.1).all()


def test_errors_are_against_the_pool_of_the_rest(make_frame, low, high):
    groups = {"a": [items(low, make_frame, 1)], "b": [items(high, make_frame, 2)], "c": [items(low, make_frame, 3)]}
    scores = held_out_scores(groups)
    _, arrays, loss = groups["b"][0]
    rest = pool({"a": [low], "c": [low]})
    here = scores.cut == 1
    np.testing.assert_allclose(scores.error[here], centre(rest, arrays) - np.log(loss), rtol=1e-12)
    np.testing.assert_allclose(scores.spread[here], spread(rest, arrays), rtol=1e-12)


def test_each_table_is_a_cut(make_frame, low, high):
    groups = {"a": [items(low, make_frame, 1), items(low, make_frame, 2)], "b": [items(high, make_frame, 3)]}
    scores = held_out_scores(groups)
    assert scores.cuts == 3
    np.testing.assert_array_equal(np.unique(scores.cut, return_counts=True)[1], [8, 8, 8])


def test_sources_that_agree_score_well_and_others_do_not(make_frame, low, high):
    agree = held_out_scores({"a": [items(low, make_frame, 1)], "b": [items(low, make_frame, 2)]})
    differ = held_out_scores({"a": [items(low, make_frame, 1)], "b": [items(high, make_frame, 2, 1.2)]})
    assert agree.median_relative_error < 0.02
    assert differ.median_relative_error == pytest.approx(np.log(1.2), rel=0.2)
