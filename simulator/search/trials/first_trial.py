"""A sampler that is constructed when its first trial begins, so that the trial's number can seed it.

Importing this module imports Optuna, so import it where it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState
from typing_extensions import override

__all__ = ["SeededByFirstTrial"]


class SeededByFirstTrial(BaseSampler):
    """Delegates to the sampler that `make` returns for the number of the first trial that is sampled."""

    def __init__(self, make: Callable[[int], BaseSampler]) -> None:
        self._make = make
        self._made: BaseSampler | None = None

    def _inner(self, trial: FrozenTrial) -> BaseSampler:
        if self._made is None:
            self._made = self._make(trial.number)
        return self._made

    @override
    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._inner(trial).infer_relative_search_space(study, trial)

    @override
    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        # with one point worth trying, Optuna's Gaussian process divides the others' chances, all 0, by their sum
        with np.errstate(invalid="ignore"):
            return self._inner(trial).sample_relative(study, trial, search_space)

    @override
    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._inner(trial).sample_independent(study, trial, param_name, param_distribution)

    @override
    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._inner(trial).before_trial(study, trial)

    @override
    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._inner(trial).after_trial(study, trial, state, values)

    @override
    def reseed_rng(self) -> None:
        if self._made is not None:
            self._made.reseed_rng()
