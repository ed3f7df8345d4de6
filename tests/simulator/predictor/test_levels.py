"""Levels of a category at prediction: those that runs had, and those that none had."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from foretrain import Predictor, RunTable
from foretrain.core.errors import InputError
from foretrain.simulator.predictor.levels import check_levels, error_of_new_levels, new_levels
from foretrain.simulator.predictor.storage.format import arrays_of, from_dict, to_dict

LEVELS = ("none", "a", "b")
GAIN = {"none": 0.0, "a": 0.5, "b": 0.3}
"""Of tokens, in log."""


def table(levels=LEVELS, sizes=(1e5, 4e5, 1.6e6), keeps=(None,)) -> RunTable:
    rng = np.random.default_rng(0)
    rows = []
    for level in levels:
        for params in sizes:
            for ratio in (5, 20, 80):
                for seed in (1, 2):
                    for keep in keeps if level != "none" else (None,):
                        strict = 1.0 if keep is None else 1.0 - keep
                        tokens = params * ratio
                        worth = tokens * np.exp(GAIN[level] * strict)
                        loss = 1.0 + 3.0 * (params / 1e5) ** -0.3 + 3.5 * (worth / 1e6) ** -0.3
                        rows.append((params, tokens, level, seed, keep, loss * np.exp(rng.normal(0, 0.004))))
    frame = pd.DataFrame(rows, columns=["params", "tokens", "selection", "seed", "keep", "loss"])
    return RunTable.from_frame(frame if keeps != (None,) else frame.drop(columns="keep"))


def fitted(of: RunTable) -> Predictor:
    return Predictor.fit(of, "chinchilla+selection", prior="public")


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return fitted(table())


def runs(*levels: str, params: float = 3e6, **more: np.ndarray) -> dict[str, np.ndarray]:
    n = len(levels)
    columns = {"params": np.full(n, params), "tokens": np.full(n, 20 * params), **more}
    return columns | {f"selection={one}": np.array([float(one == level) for level in levels]) for one in set(levels)}


def test_a_level_that_no_run_had_is_the_baseline_with_the_spread_between_levels(predictor):
    found = predictor.predict(runs("none", "a", "b", "new"))
    assert found.log_loss[3] == found.log_loss[0]
    assert found.scale[3] > 1.3 * max(found.scale[:3])
    low, high = found.interval(0.9)
    assert low[3] < found.loss_nats[1] < high[3]
    kept = from_dict(to_dict(predictor), arrays_of(predictor)).predict(runs("none", "a", "b", "new"))
    np.testing.assert_allclose(kept.scale, found.scale, rtol=1e-4)


def test_only_new_levels_have_an_error_of_their_own(predictor):
    fit = predictor.models["loss"].fit
    columns = runs("new", "a")
    assert new_levels(fit, columns) == {"selection": ["new"]}
    errors = error_of_new_levels(fit, check_levels(fit, columns))
    assert (errors[:, 0] != 0).all()
    assert (errors[:, 1] == 0).all()
    assert not new_levels(fit, runs("a"))
    assert error_of_new_levels(fit, check_levels(fit, runs("a"))).shape == (0, 1)


def test_runs_of_the_same_new_level_share_its_error(predictor):
    model = predictor.models["loss"]
    same = model.predict(runs("new", "new"), joint=True).difference(1)
    other = model.predict(runs("new", "other"), joint=True).difference(1)
    none = model.predict(runs("none", "none"), joint=True).difference(1)
    assert same.scale_nats == pytest.approx(none.scale_nats, abs=1e-6)
    assert other.scale_nats > 0.05


def test_one_level_beside_the_baseline_says_nothing_of_others():
    with pytest.raises(InputError, match="selection: got 'new'; the fitted runs had 'a', 'none'"):
        fitted(table(LEVELS[:2])).predict(runs("new"))


def test_a_run_that_states_no_level_is_refused(predictor):
    with pytest.raises(InputError, match="selection: is not stated"):
        predictor.predict({"params": np.array([1e6]), "tokens": np.array([2e7])})


def test_stricter_levels_differ_more_and_a_predictor_knows_its_runs():
    found = fitted(table(keeps=(0.8, 0.4, 0.2)))
    loss = found.predict(runs("a", "a", "a", "none", keep=np.array([1.0, 0.5, 0.1, 1.0]))).loss_nats
    assert loss[0] == loss[3] > loss[1] > loss[2]
    errors = found.predict(runs("new", "new", "none", keep=np.array([0.9, 0.1, np.nan]))).scale
    assert errors[1] > errors[0] > errors[2]
    about = found.about["levels"]["selection"]
    assert about["a"] == {
        "runs": 54,
        "params": [1e5, 1.6e6],
        "tokens": [5e5, 1.28e8],
        "keep": [0.2, 0.8],
        "seeds": 2,
    }
    assert about["none"]["runs"] == 18
