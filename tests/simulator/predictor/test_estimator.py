import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from foretrain import ScalingLawRegressor
from foretrain.core.errors import FitError
from sklearn import base as sklearn_base
from sklearn import config_context
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator


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
    assert (
        copy.get_params()
        == regressor.get_params()
        == {
            "law": "chinchilla",
            "prior": "auto",
            "seed": 5,
            "feature_names": None,
        }
    )
    assert cross_val_score(copy, *runs, cv=3).min() > 0.9


NOT_RUNS = "its data are no runs: zeros, or columns without names that aren't params and tokens"
EXPECTED = dict.fromkeys(
    [
        "check_dict_unchanged",
        "check_dont_overwrite_parameters",
        "check_dtype_object",
        "check_estimators_dtypes",
        "check_estimators_fit_returns_self",
        "check_estimators_nan_inf",
        "check_estimators_overwrite_params",
        "check_estimators_pickle",
        "check_f_contiguous_array_estimator",
        "check_fit2d_1feature",
        "check_fit2d_predict1d",
        "check_fit_check_is_fitted",
        "check_fit_idempotent",
        "check_fit_score_takes_y",
        "check_methods_sample_order_invariance",
        "check_methods_subset_invariance",
        "check_n_features_in",
        "check_n_features_in_after_fitting",
        "check_pipeline_consistency",
        "check_positive_only_tag_during_fit",
        "check_readonly_memmap_input",
        "check_regressor_data_not_an_array",
        "check_regressors_int",
        "check_regressors_no_decision_function",
        "check_regressors_train",
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weights_list",
        "check_sample_weights_not_an_array",
        "check_sample_weights_pandas_series",
        "check_supervised_y_2d",
    ],
    NOT_RUNS,
)
EXPECTED_OF_RUNS = {
    "check_positive_only_tag_during_fit": "this estimator makes runs of any numbers",
    "check_sample_weight_equivalence_on_dense_data": "its losses follow no law, which leaves the fit open; on runs "
    "that follow one, see test_weights_count_as_repeated_rows",
}


class OnAnything(ScalingLawRegressor):
    """The same, with runs made of whatever numbers scikit-learn's checks hold, so that they get past the data."""

    def _columns(self, table):
        return {"params": 1e8 * np.exp(np.sin(5 * table[:, 0])), "tokens": 1e9 * np.exp(np.cos(7 * table[:, -1]))}


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (ScalingLawRegressor(law="chinchilla"), EXPECTED),
        (OnAnything(law="chinchilla", prior="weak"), EXPECTED_OF_RUNS),
    ],
    ids=["as it is", "on anything"],
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks(estimator, expected):
    checks = check_estimator(estimator, expected_failed_checks=expected, on_skip=None, on_fail=None)
    assert [(c["check_name"], c["exception"]) for c in checks if c["status"] == "failed"] == []
    assert {c["check_name"] for c in checks if c["status"] == "xfail"} == set(expected), "no longer fail"


def test_arrays_are_read_by_the_names_given(runs):
    X, y = runs
    by_frame = ScalingLawRegressor(law="chinchilla").fit(X, y)
    plain = ScalingLawRegressor(law="chinchilla").fit(X.to_numpy(), y)
    turned = ScalingLawRegressor(law="chinchilla", feature_names=["tokens", "params"])
    turned.fit(X[["tokens", "params"]].to_numpy(), y)
    assert np.array_equal(plain.predict(X.to_numpy()), by_frame.predict(X))
    assert np.array_equal(turned.predict(X[["tokens", "params"]].to_numpy()), by_frame.predict(X))
    assert list(turned.feature_names_in_) == ["tokens", "params"]
    assert (plain.n_features_in_, list(plain.feature_names_in_)) == (2, ["params", "tokens"])
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        by_frame.predict(X[["tokens", "params"]])


def test_it_works_in_pipelines_and_searches(runs):
    X, y = runs
    steps = Pipeline([("same", FunctionTransformer()), ("law", ScalingLawRegressor(prior="weak"))])
    search = GridSearchCV(steps, {"law__law": ["chinchilla", "kaplan"]}, cv=2).fit(X, y)
    assert search.best_params_ == {"law__law": "chinchilla"}
    assert search.best_estimator_.predict(X).shape == (40,)


def test_weights_are_routed_where_they_are_asked_for(runs):
    X, y = runs
    weights = np.linspace(0.1, 1.0, 40)
    with config_context(enable_metadata_routing=True):
        regressor = ScalingLawRegressor(law="chinchilla").set_fit_request(sample_weight=True)
        routed = Pipeline([("law", regressor)]).fit(X, y, sample_weight=weights)
    direct = ScalingLawRegressor(law="chinchilla").fit(X, y, sample_weight=weights)
    unweighted = ScalingLawRegressor(law="chinchilla").fit(X, y)
    assert np.array_equal(routed.predict(X), direct.predict(X))
    assert not np.array_equal(routed.predict(X), unweighted.predict(X))


def test_it_is_not_there_without_scikit_learn():
    program = (
        "import sys; sys.modules['sklearn'] = None\nimport foretrain\n"
        "try: foretrain.ScalingLawRegressor\nexcept ImportError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.startswith("MissingExtraError ScalingLawRegressor needs sklearn; install it with: pip install")


def test_weights_count_as_repeated_rows(runs):
    X, y = runs
    weights = np.random.default_rng(0).integers(1, 3, 40)
    once = ScalingLawRegressor(law="chinchilla").fit(X, y, sample_weight=weights)
    again = np.repeat(np.arange(40), weights)
    twice = ScalingLawRegressor(law="chinchilla").fit(X.iloc[again], y[again])
    np.testing.assert_allclose(once.predict(X), twice.predict(X), rtol=1e-5)


def test_what_it_refuses(runs):
    X, y = runs
    with pytest.raises(FitError, match=r"no column 'tokens'.* expected a DataFrame with params and tokens"):
        ScalingLawRegressor().fit(X[["params"]], y)
    with pytest.raises(FitError, match="an array of 3 columns without names"):
        ScalingLawRegressor().fit(np.ones((40, 3)), y)
    with pytest.raises(FitError, match="tokens: got 0; expected values above 0"):
        ScalingLawRegressor().fit(X.assign(tokens=0.0), y)
    with pytest.raises(FitError, match="expected losses above 0"):
        ScalingLawRegressor().fit(X, y - 5)
    with pytest.raises(FitError, match="sample_weight: every weight is zero"):
        ScalingLawRegressor().fit(X, y, sample_weight=np.zeros(40))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ScalingLawRegressor().fit(X, y[:39])
    with pytest.raises(NotFittedError, match="not fitted"):
        ScalingLawRegressor().predict(X)
    with pytest.raises(ValueError, match="Invalid parameter 'alpha'"):
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
