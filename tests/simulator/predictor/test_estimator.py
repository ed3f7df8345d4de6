import numpy as np
import pandas as pd
import pytest
from foretrain import ScalingLawRegressor
from foretrain.core.errors import FitError, UsageError

sklearn_base = pytest.importorskip("sklearn.base")


@pytest.fixture
def runs() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(3)
    X = pd.DataFrame({"params": 10 ** rng.uniform(7, 9, 40), "tokens": 10 ** rng.uniform(9, 10.5, 40)})
    y = 1.7 + 420 * X.params**-0.34 + 1900 * X.tokens**-0.36
    return X, y.to_numpy() * np.exp(rng.normal(0, 0.003, 40))


def test_it_fits_predicts_and_scores(runs):
    X, y = runs
    regressor = ScalingLawRegressor().fit(X.iloc[:30], y[:30])
    loss, scale = regressor.predict(X.iloc[30:], return_std=True)
    low, high = regressor.predict_interval(X.iloc[30:], level=0.95)
    assert np.abs(loss / y[30:] - 1).max() < 0.03
    assert (scale > 0).all()
    assert np.all((low < loss) & (loss < high))
    assert regressor.score(X, y) > 0.98
    assert list(regressor.feature_names_in_) == ["params", "tokens"]


def test_scikit_learn_takes_it_for_a_regressor(runs):
    from sklearn.model_selection import cross_val_score
    from sklearn.utils import get_tags

    regressor = ScalingLawRegressor(law="chinchilla", seed=5)
    assert sklearn_base.is_regressor(regressor)
    assert get_tags(regressor).input_tags.positive_only
    copy = sklearn_base.clone(regressor)
    assert copy.get_params() == regressor.get_params() == {"law": "chinchilla", "prior": "auto", "seed": 5}
    assert cross_val_score(copy, *runs, cv=3).min() > 0.9


def test_scikit_learns_own_checks_of_the_constructor():
    from sklearn.utils.estimator_checks import (
        check_get_params_invariance,
        check_no_attributes_set_in_init,
        check_parameters_default_constructible,
        check_set_params,
    )

    for check in (
        check_no_attributes_set_in_init,
        check_parameters_default_constructible,
        check_get_params_invariance,
        check_set_params,
    ):
        check("ScalingLawRegressor", ScalingLawRegressor())


def test_weights_count_as_repeated_rows(runs):
    X, y = runs
    weights = np.random.default_rng(0).integers(1, 3, 40)
    once = ScalingLawRegressor(law="chinchilla").fit(X, y, sample_weight=weights)
    again = np.repeat(np.arange(40), weights)
    twice = ScalingLawRegressor(law="chinchilla").fit(X.iloc[again], y[again])
    np.testing.assert_allclose(once.predict(X), twice.predict(X), rtol=1e-5)


def test_what_it_refuses(runs):
    X, y = runs
    with pytest.raises(FitError, match="no column 'tokens'"):
        ScalingLawRegressor().fit(X[["params"]], y)
    with pytest.raises(FitError, match="ndarray"):
        ScalingLawRegressor().fit(X.to_numpy(), y)
    with pytest.raises(FitError, match="40 values for 39 losses"):
        ScalingLawRegressor().fit(X, y[:39])
    with pytest.raises(UsageError, match="not fitted"):
        ScalingLawRegressor().predict(X)
    with pytest.raises(UsageError, match="unknown parameter 'alpha'"):
        ScalingLawRegressor().set_params(alpha=1)


def test_its_repr_says_what_was_changed():
    assert repr(ScalingLawRegressor(seed=2)) == "ScalingLawRegressor(seed=2)"


def test_shares_of_domains_are_read():
    rng = np.random.default_rng(0)
    params, share = 10 ** rng.uniform(7, 8.5, 40), rng.uniform(0, 1, 40)
    X = pd.DataFrame({"params": params, "tokens": 20 * params, "mix.web": share, "mix.code": 1 - share})
    y = (1.7 + 480 * params**-0.35 + 2100 * (20 * params) ** -0.37) * (share + 0.3) ** -0.1
    regressor = ScalingLawRegressor("general+mixture", prior="public").fit(X, y * np.exp(rng.normal(0, 0.003, 40)))
    assert list(regressor.feature_names_in_) == list(X.columns)
    assert regressor.model_.fit.law.domains == ("web", "code")
    assert regressor.score(X, y) > 0.99
    one = pd.DataFrame({"params": [1e8] * 2, "tokens": [2e9] * 2, "mix.web": [0.9, 0.1], "mix.code": [0.1, 0.9]})
    assert regressor.predict(one)[0] < 0.95 * regressor.predict(one)[1]
