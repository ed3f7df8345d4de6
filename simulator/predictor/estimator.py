"""`ScalingLawRegressor`: the predictor as a scikit-learn-compatible estimator, for pipelines that use such.

Importing this module imports scikit-learn (`foretrain[sklearn]`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...core.errors import FitError
from ...core.extras import require
from ..fitting import AUTO, Observations, law_columns
from ..laws import DOMAIN_FAMILIES
from .fit.loss_fit import fit_loss_model
from .loss_model import LossModel
from .prediction import LossPrediction
from .predictor import resolve_prior

require("ScalingLawRegressor", "sklearn")

from sklearn.base import BaseEstimator, RegressorMixin  # noqa: E402 - after the message that says how to install it
from sklearn.utils import Tags  # noqa: E402
from sklearn.utils.validation import check_is_fitted, validate_data  # noqa: E402

_SIZES = ("params", "tokens")
_ABOVE_ZERO = ("count", "positive")
"""Rules of columns whose logarithm laws take."""


class ScalingLawRegressor(RegressorMixin, BaseEstimator):
    """Loss of a run, nats per token, from `params`, `tokens` and whatever else the law reads.

    `X` is a DataFrame whose columns have the names of a run table's, or an array whose columns `feature_names` names
    (params and tokens unless it is given). Columns that no law reads are left alone.

    Args:
        law: "auto", or a law's name such as "chinchilla".
        prior: "auto", "public", "weak", "none" or None.
        seed: Of the draws.
        feature_names: What an array's columns are, in their order; None for `("params", "tokens")`.

    After `fit`, `model_` is the `LossModel`, `feature_names_in_` and `n_features_in_` are those of `X`.

    >>> import pandas as pd
    >>> X = pd.DataFrame({"params": [1e8, 2e8, 4e8, 1e8, 2e8, 4e8], "tokens": [2e9, 4e9, 8e9, 8e9, 16e9, 32e9]})
    >>> y = 1.8 + 400 * X.params**-0.34 + 2000 * X.tokens**-0.37
    >>> regressor = ScalingLawRegressor().fit(X, y)
    >>> low, high = regressor.predict_interval(X.tail(1), level=0.9)
    >>> bool(low[0] < y.iloc[-1] < high[0])
    True
    """

    def __init__(
        self,
        law: str = AUTO,
        prior: str | None = AUTO,
        seed: int = 0,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        self.law = law
        self.prior = prior
        self.seed = seed
        self.feature_names = feature_names

    def fit(self, X: Any, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> Self:
        """Fit to runs.

        Args:
            X: `(n, n_features)`, params and tokens among its columns, all above 0.
            y: Loss of each run in nats per token, `(n,)`, above 0.
            sample_weight: `(n,)`; a weight of 2 counts as the row twice.

        Raises:
            FitError: a ValueError, for columns that are missing or not above 0, and runs that can't tell the law.
        """
        losses: Any = y
        checked: Any = validate_data(self, self._named(X), losses, dtype=float, y_numeric=True, ensure_min_samples=2)
        table, loss = checked
        if not (loss > 0).all():
            raise FitError(f"y: got {loss.min():g}; expected losses above 0, in nats per token")
        weights = None if sample_weight is None else _weights(sample_weight, len(loss))
        observations = Observations.from_columns(self._columns(table), loss, weights)
        self.model_: LossModel = fit_loss_model(
            observations, self.law, resolve_prior(self.prior, self.law), seed=self.seed
        )
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

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.target_tags.positive_only = True
        if tags.regressor_tags is not None:
            tags.regressor_tags.poor_score = True  # on what follows no law of scale
        return tags

    def _predict(self, X: Any) -> LossPrediction:
        check_is_fitted(self)
        table: Any = validate_data(self, self._named(X), dtype=float, reset=False)
        return self.model_.predict(self._columns(table))

    def _named(self, X: Any) -> Any:
        """`X`, an array with the names of its columns; as it is where there aren't as many as it has columns."""
        names = _SIZES if self.feature_names is None else tuple(self.feature_names)
        if hasattr(X, "columns") or not isinstance(X, np.ndarray | Sequence):
            return X
        array = np.asarray(X)
        named = array.ndim == 2 and array.shape[1] == len(names)
        return pd.DataFrame(array, columns=list(names)) if named else X

    def _columns(self, table: np.ndarray) -> dict[str, np.ndarray]:
        """The columns of `table: (n, n_features)` that laws read, by name."""
        names = [str(name) for name in getattr(self, "feature_names_in_", ())]
        missing = [name for name in _SIZES if name not in names]
        if missing:
            got = f"columns {', '.join(names)}" if names else f"an array of {table.shape[1]} columns without names"
            raise FitError(
                f"X has no column {missing[0]!r}: got {got}; expected a DataFrame with params and tokens, or an array "
                "and feature_names"
            )
        rules = {column.name: column.rule for column in law_columns()} | dict.fromkeys(_SIZES, "count")
        known = {}
        for at, name in enumerate(names):
            family = next((prefix for prefix in DOMAIN_FAMILIES if name.startswith(prefix)), name)
            if family in (*rules, *DOMAIN_FAMILIES):
                known[name] = table[:, at]
                if rules.get(family) in _ABOVE_ZERO and not (known[name] > 0).all():
                    raise FitError(f"X: {name}: got {known[name].min():g}; expected values above 0")
        return known


def _weights(values: npt.ArrayLike, rows: int) -> np.ndarray:
    weights = np.asarray(values, dtype=float)
    if weights.shape != (rows,) or not np.isfinite(weights).all() or (weights < 0).any():
        raise FitError(f"sample_weight: expected {rows} numbers of at least 0, one for each run")
    if not weights.any():
        raise FitError("sample_weight: every weight is zero; expected some above 0")
    return weights
