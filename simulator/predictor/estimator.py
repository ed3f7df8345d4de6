"""`ScalingLawRegressor`: the predictor as a scikit-learn-compatible estimator, for pipelines that use such.

It takes DataFrames (or mappings of arrays), duck-types scikit-learn's estimator contract and imports scikit-learn only
when scikit-learn asks for its tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ...core.errors import FitError, UsageError
from ..fitting import AUTO, Observations, law_columns
from ..laws import DOMAIN_FAMILIES
from .loss_model import LossModel, fit_loss_model
from .prediction import LossPrediction
from .predictor import resolve_prior

_PARAMETERS = ("law", "prior", "seed")


class ScalingLawRegressor:
    """Loss of a run, nats per token, from `params`, `tokens` and whatever else the law reads.

    `law` is "auto" or a name, `prior` "auto", "public", "weak", "none" or None, `seed` that of the draws. After
    `fit`, `model_` is the `LossModel` and `feature_names_in_` the columns that were used.

    >>> import pandas as pd
    >>> X = pd.DataFrame({"params": [1e8, 2e8, 4e8, 1e8, 2e8, 4e8], "tokens": [2e9, 4e9, 8e9, 8e9, 16e9, 32e9]})
    >>> y = 1.8 + 400 * X.params**-0.34 + 2000 * X.tokens**-0.37
    >>> regressor = ScalingLawRegressor().fit(X, y)
    >>> low, high = regressor.predict_interval(X.tail(1), level=0.9)
    >>> bool(low[0] < y.iloc[-1] < high[0])
    True
    """

    _estimator_type = "regressor"

    def __init__(self, law: str = AUTO, prior: str | None = AUTO, seed: int = 0):
        self.law = law
        self.prior = prior
        self.seed = seed

    def fit(self, X: Any, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> Self:
        """Fit to runs: `X` with columns params and tokens `(n,)`, `y` the loss in nats. Raises FitError."""
        columns = _columns(X)
        loss = np.asarray(y, dtype=float).ravel()
        weights = None if sample_weight is None else np.asarray(sample_weight, dtype=float)
        for name, values in columns.items():
            if len(values) != len(loss):
                raise FitError(f"column {name!r} has {len(values)} values for {len(loss)} losses")
        observations = Observations.from_columns(columns, loss, weights)
        self.model_: LossModel = fit_loss_model(
            observations, self.law, resolve_prior(self.prior, self.law), seed=self.seed
        )
        self.feature_names_in_ = np.array(list(columns), dtype=object)
        self.n_features_in_ = len(columns)
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predicted loss in nats `(n,)`; with `return_std` also its standard scale in nats `(n,)`."""
        prediction = self._predict(X)
        if return_std:
            return prediction.loss_nats, prediction.loss_nats * prediction.scale
        return prediction.loss_nats

    def predict_interval(self, X: Any, level: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """Central interval of the loss in nats at `level`, two `(n,)`."""
        return self._predict(X).interval(level)

    def score(self, X: Any, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
        """R² of the prediction."""
        loss = np.asarray(y, dtype=float).ravel()
        weights = np.ones(len(loss)) if sample_weight is None else np.asarray(sample_weight, dtype=float)
        error = weights @ (loss - self.predict(X)) ** 2
        return float(1.0 - error / (weights @ (loss - np.average(loss, weights=weights)) ** 2))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments."""
        return {name: getattr(self, name) for name in _PARAMETERS}

    def set_params(self, **params: Any) -> Self:
        """Set constructor arguments. UsageError for an unknown one."""
        for name, value in params.items():
            if name not in _PARAMETERS:
                raise UsageError(f"unknown parameter {name!r}; expected one of {', '.join(_PARAMETERS)}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        changed = {k: v for k, v in self.get_params().items() if v != getattr(type(self)(), k)}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in changed.items())})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, RegressorTags, Tags, TargetTags

        return Tags(
            estimator_type="regressor",
            target_tags=TargetTags(required=True),
            regressor_tags=RegressorTags(),
            input_tags=InputTags(positive_only=True),
        )

    def _predict(self, X: Any) -> LossPrediction:
        if not self.__sklearn_is_fitted__():
            raise UsageError("this ScalingLawRegressor is not fitted; call fit first")
        return self.model_.predict(_columns(X))


def _columns(X: Any) -> dict[str, np.ndarray]:
    """The columns of a frame or mapping that laws read, as float arrays. FitError if params or tokens is absent."""
    names = list(X) if isinstance(X, Mapping) else list(getattr(X, "columns", []))
    missing = [name for name in ("params", "tokens") if name not in names]
    if missing:
        raise FitError(
            f"X has no column {missing[0]!r}; expected a DataFrame with params and tokens, got {names or type(X)}"
        )
    known = [name for name in ("params", "tokens", *(one.name for one in law_columns())) if name in names]
    known += [name for name in names if str(name).startswith(DOMAIN_FAMILIES)]
    return {name: np.asarray(X[name], dtype=float) for name in known}
