"""`Predictor`: a law with its parameters, what they leave open, and the calibration that makes intervals hold.

One `LossModel` for each loss column of the run table. `storage.folder` saves and loads it; `forecast` turns a RunConfig
and a Predictor into the answer a user reads.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from typing_extensions import override

from ...core.errors import DataWarning, FitError, UsageError
from ...core.processors import usable_cores
from ...core.progress import Progress
from ...core.summary import Summarised
from ...core.units import format_count
from ..fitting import AUTO, LawPrior, Observations, one_thread, public_prior, weak_prior
from ..laws import Columns
from .domain_average import average, error_correlation, shares
from .fit_warnings import table_warnings
from .loss_model import Learner, LossModel, errors_over_sd, fit_loss_model
from .prediction import LossPrediction

if TYPE_CHECKING:
    from ...datasets.runs.run_table import RunTable

_Found = TypeVar("_Found")


@dataclass(frozen=True, repr=False)
class Predictor(Summarised):
    """Fitted laws for one or more targets, with everything a forecast must say about where they come from.

    `about` holds plain facts: `title`, `params_kind` (what N counts: total, active or non_embedding), `corpus`,
    `val_domain`, `tokenizer`, `bytes_per_token`, `table`, `digest`, `seed`, `versions`, `prior`.
    """

    name: str
    models: Mapping[str, LossModel]
    about: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    correlation: np.ndarray | None = None
    """Correlation of the targets' errors on one run, `(T, T)` in their order; None where it isn't known."""

    @classmethod
    def fit(
        cls,
        table: RunTable,
        law: str = AUTO,
        *,
        prior: str | LawPrior | None = AUTO,
        fixed: Mapping[str, float] | None = None,
        surrogate: Learner = AUTO,
        seed: int = 0,
        name: str = "predictor",
        about: Mapping[str, object] | None = None,
        progress: Progress | None = None,
    ) -> Predictor:
        """Fit every target of a run table, side by side. Warns DataWarning on what looks like a mistake.

        Args:
            table: The runs. A column `weight` in it weighs its rows.
            law: `auto` or a name such as `chinchilla` or `general+repetition`.
            prior: `auto` (the public tables' prior with `law="auto"`, none for a law that is named), `public`, `weak`,
                None or a LawPrior.
            fixed: Parameters that fitting must not change: E (nats), alpha, beta, gamma, or any of the law's own.
            surrogate: `auto` (with law auto, a residual learner where cross-validation says that it helps) or `none`.
            seed: Seed of all that is drawn.
            name: Name of the predictor.
            about: Facts about it, beside or instead of those that the table tells.
            progress: Told of each target that is fitted.

        Raises:
            FitError: The table can't identify what was asked.
        """
        chosen_prior = resolve_prior(prior, law)

        def fit_target(target: str) -> tuple[LossModel, np.ndarray]:
            try:
                observations = Observations.from_table(table, target)
                model = fit_loss_model(observations, law, chosen_prior, fixed=fixed, seed=seed, learner=surrogate)
                errors = np.full(len(table), np.nan)
                errors[table.fit_mask(target)] = errors_over_sd(model, observations)
                return model, errors
            except FitError as error:
                raise FitError(f"{table.where}: target {target!r}: {error}") from None

        models: dict[str, LossModel] = {}
        errors_by_target: list[np.ndarray] = []
        fitted = _side_by_side(fit_target, table.loss_columns, progress)
        for target, (model, errors) in zip(table.loss_columns, fitted, strict=True):
            models[target] = model
            errors_by_target.append(errors)

        facts = {"table": table.where, "digest": table.digest(), "seed": seed, **_table_facts(table), **(about or {})}
        facts["prior"] = None
        if chosen_prior is not None:
            facts["prior"] = chosen_prior.name

        told_apart: set[str] = set()
        doubts: list[str] = []
        for model in models.values():
            told_apart |= model.fit.law.levels.keys()
            doubts += model.choice["doubts"]
        notes = (*table_warnings(table, told_apart), *dict.fromkeys(doubts))
        for note in notes:
            warnings.warn(note, DataWarning, stacklevel=2)
        return cls(name, models, facts, notes, error_correlation(errors_by_target))

    @property
    def main_loss(self) -> str:
        """`loss` where it is there, else the first target."""
        return "loss" if "loss" in self.models else next(iter(self.models))

    @override
    def summary(self) -> dict[str, str]:
        model = self.models[self.main_loss]
        facts = {"name": self.name, "law": model.fit.law.name, "runs": str(model.rows)}
        for fact, column in (("parameters", "params"), ("tokens", "tokens")):
            low, high = model.fitted_ranges[column]
            facts[fact] = f"{format_count(low)} to {format_count(high)}"
        others = [name for name in self.models if name != self.main_loss]
        if others:
            facts["losses"] = ", ".join([self.main_loss, *others])
        return facts

    def predict(self, columns: Columns, target: str | None = None) -> LossPrediction:
        """Predict one target (the main one by default) for runs given as columns `(n,)`."""
        if target is None:
            target = self.main_loss
        return self.models[target].predict(columns)

    def average(self, columns: Columns, weights: Mapping[str, float] | None = None) -> LossPrediction:
        """The mean loss over several targets, with their errors' correlation kept.

        Args:
            columns: Columns of the runs, each `(n,)`.
            weights: Weight of each target (`loss.<domain>`); they need not sum to 1. By default every domain counts
                the same.

        Raises:
            UsageError: An unknown target, a negative weight, or no weight at all.
        """
        if weights is None:
            weights = dict.fromkeys(self.domain_losses, 1.0)
        got = None
        for name, weight in weights.items():
            if name not in self.models or not 0 <= weight < np.inf:
                got = f"{name!r}: {weight}"
                break
        if got is None and not sum(weights.values()) > 0:
            got = "nothing"
        if got is not None:
            raise UsageError(
                f"weights: got {got}; expected weights of at least 0, not all 0, for {', '.join(self.models)}"
            )
        predictions = {}
        for name, model in self.models.items():
            if weights.get(name, 0.0) > 0:
                predictions[name] = model.predict(columns)
        return self.averaged(predictions, weights)

    def averaged(self, predictions: Mapping[str, LossPrediction], weights: Mapping[str, float]) -> LossPrediction:
        """The weighted mean of predictions of the same runs, by target; `weights` need not sum to 1."""
        targets = list(self.models)
        places = [targets.index(name) for name in predictions]
        correlation = self.correlation
        if correlation is None:
            correlation = np.ones((len(targets), len(targets)))
        of_these = correlation[np.ix_(places, places)]
        return average(list(predictions.values()), shares(weights, list(predictions)), of_these)

    @property
    def domain_losses(self) -> list[str]:
        """The targets of single domains, `loss.<domain>`; all targets where there are none."""
        return [name for name in self.models if name != "loss"] or list(self.models)

    def only(self, targets: Sequence[str]) -> Predictor:
        """The same with only some of its targets, for those who ask for few of them often."""
        kept = {name: model for name, model in self.models.items() if name in targets}
        correlation = self.correlation
        if correlation is not None:
            places = [place for place, name in enumerate(self.models) if name in kept]
            correlation = correlation[np.ix_(places, places)]
        return replace(self, models=kept, correlation=correlation)

    def renamed(self, name: str, about: Mapping[str, object]) -> Predictor:
        """The same fits under another name and with more facts about them."""
        return replace(self, name=name, about={**self.about, **about})


def _side_by_side(
    fit_target: Callable[[str], _Found], targets: Sequence[str], progress: Progress | None
) -> Iterator[_Found]:
    """What `fit_target` finds of each target, on as many threads as cores; numpy leaves the interpreter free."""
    import scipy.linalg  # noqa: F401 - its BLAS must be there before threads are limited

    with one_thread(), ThreadPoolExecutor(max_workers=usable_cores()) as pool:
        found_in_turn = pool.map(fit_target, targets)
        for done, (target, found) in enumerate(zip(targets, found_in_turn, strict=True), start=1):
            if progress is not None:
                progress(target, done / len(targets))
            yield found


def resolve_prior(prior: str | LawPrior | None, law: str) -> LawPrior | None:
    """The prior that a name stands for: `auto` is the public one with law auto, none with a law that is named."""
    if prior is None or isinstance(prior, LawPrior):
        return prior
    if prior == AUTO:
        return public_prior() if law == AUTO else None
    known = {"public": public_prior, "weak": weak_prior, "none": lambda: None}
    if prior not in known:
        raise FitError(f"prior: got {prior!r}; expected auto, public, weak or none")
    return known[prior]()


def _table_facts(table: RunTable) -> dict[str, object]:
    """What the table tells: what its `params` count, and its validation domain and tokenizer where all runs agree."""
    facts: dict[str, object] = {"params_kind": _params_kind(table)}
    for column in ("val_domain", "tokenizer"):
        if column in table.frame.columns:
            values = set(table.frame[column].dropna().astype(str))
            if len(values) == 1:
                facts[column] = values.pop()
    return facts


def _params_kind(table: RunTable) -> str:
    """What the table's `params` count: `non_embedding` by its name there, else `total`, or `active` for routed runs.

    Routed runs count by what one token uses unless the table has that in a column of its own.
    """
    label = table.labels.get("params", "params")
    if "nonemb" in label.lower().replace("_", "").replace("-", ""):
        return "non_embedding"
    routed = table.has("num_experts") and bool(np.nanmax(table.column("num_experts")) > 1)
    if not routed:
        return "total"
    if not table.has("params_active"):
        return "active"
    differ = np.abs(table.column("params_active") / table.column("params") - 1.0) > 0.01
    if differ.any():
        return "total"
    return "active"
