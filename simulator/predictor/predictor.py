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
        """Fit every target of a run table, side by side.

        `law` is `auto` or a name such as `chinchilla` or `general+repetition`. `prior` is `auto` (the public tables'
        prior with `law="auto"`, none for a law that is named), `public`, `weak`, None or a LawPrior. `fixed` holds
        parameters that fitting must not change: E (nats), alpha, beta, gamma, or any of the law's own. `surrogate` is
        `auto` (with law auto, a residual learner where cross-validation says that it helps) or `none`. A column
        `weight` in the table weighs its rows. Raises FitError if the table can't identify what was asked; warns
        DataWarning on what looks like a mistake.
        """
        chosen_prior = resolve_prior(prior, law)

        def one(target: str) -> tuple[LossModel, np.ndarray]:
            try:
                observations = Observations.from_table(table, target)
                model = fit_loss_model(observations, law, chosen_prior, fixed=fixed, seed=seed, learner=surrogate)
                return model, _on_every_row(table, target, errors_over_sd(model, observations))
            except FitError as error:
                raise FitError(f"{table.where}: target {target!r}: {error}") from None

        fitted = list(_side_by_side(one, table.loss_columns, progress))
        models = {target: model for target, (model, _) in zip(table.loss_columns, fitted, strict=True)}
        facts = {"table": table.where, "digest": table.digest(), "seed": seed, **_table_facts(table), **(about or {})}
        facts["prior"] = None if chosen_prior is None else chosen_prior.name
        told_apart = {category for model in models.values() for category in model.fit.law.levels}
        notes = tuple(table_warnings(table, told_apart))
        notes += tuple(dict.fromkeys(warning for model in models.values() for warning in model.choice["doubts"]))
        for note in notes:
            warnings.warn(note, DataWarning, stacklevel=2)
        return cls(name, models, facts, notes, error_correlation([errors for _, errors in fitted]))

    @property
    def main_loss(self) -> str:
        """`loss` where it is there, else the first target."""
        return "loss" if "loss" in self.models else next(iter(self.models))

    @override
    def summary(self) -> dict[str, str]:
        model = self.models[self.main_loss]
        ranges = {name: " to ".join(map(format_count, model.fitted_ranges[name])) for name in ("params", "tokens")}
        facts = {"name": self.name, "law": model.fit.law.name, "runs": str(model.rows)}
        facts |= {"parameters": ranges["params"], "tokens": ranges["tokens"]}
        others = [name for name in self.models if name != self.main_loss]
        return facts | ({"losses": ", ".join([self.main_loss, *others])} if others else {})

    def predict(self, columns: Columns, target: str | None = None) -> LossPrediction:
        """Predict one target (the main one by default) for runs given as columns `(n,)`."""
        return self.models[self.main_loss if target is None else target].predict(columns)

    def average(self, columns: Columns, weights: Mapping[str, float] | None = None) -> LossPrediction:
        """The mean loss over several targets, for runs given as columns `(n,)`, with their errors' correlation kept.

        `weights` are by target (`loss.<domain>`) and need not sum to 1; by default every domain counts the same.
        UsageError for an unknown target, a negative weight, or no weight at all.
        """
        weights = dict.fromkeys(self.domain_losses, 1.0) if weights is None else weights
        wrong = [name for name, w in weights.items() if name not in self.models or not 0 <= w < np.inf]
        if wrong or not sum(weights.values()) > 0:
            named = f"{wrong[0]!r}: {weights[wrong[0]]}" if wrong else "nothing"
            raise UsageError(
                f"weights: got {named}; expected weights of at least 0, not all 0, for {', '.join(self.models)}"
            )
        names = [name for name in self.models if weights.get(name, 0.0) > 0]
        return self.averaged({name: self.models[name].predict(columns) for name in names}, weights)

    def averaged(self, predictions: Mapping[str, LossPrediction], weights: Mapping[str, float]) -> LossPrediction:
        """The weighted mean of predictions of the same runs, by target; `weights` need not sum to 1."""
        every = list(self.models)
        at = [every.index(name) for name in predictions]
        known = np.ones((len(every), len(every))) if self.correlation is None else self.correlation
        return average(list(predictions.values()), shares(weights, list(predictions)), known[np.ix_(at, at)])

    @property
    def domain_losses(self) -> list[str]:
        """The targets of single domains, `loss.<domain>`; all targets where there are none."""
        return [name for name in self.models if name != "loss"] or list(self.models)

    def only(self, targets: Sequence[str]) -> Predictor:
        """The same with only some of its targets, for those who ask for few of them often."""
        at = [number for number, name in enumerate(self.models) if name in targets]
        kept = {name: model for name, model in self.models.items() if name in targets}
        correlation = None if self.correlation is None else self.correlation[np.ix_(at, at)]
        return replace(self, models=kept, correlation=correlation)

    def renamed(self, name: str, about: Mapping[str, object]) -> Predictor:
        """The same fits under another name and with more facts about them."""
        return replace(self, name=name, about={**self.about, **about})


def _side_by_side(one: Callable[[str], _Found], targets: Sequence[str], progress: Progress | None) -> Iterator[_Found]:
    """`one` of each target, on as many threads as there are cores; numpy leaves the interpreter free."""
    import scipy.linalg  # noqa: F401 - its BLAS must be there before threads are limited

    with one_thread(), ThreadPoolExecutor(max_workers=usable_cores()) as pool:
        for number, (target, found) in enumerate(zip(targets, pool.map(one, targets), strict=True)):
            if progress is not None:
                progress(target, (number + 1) / len(targets))
            yield found


def _on_every_row(table: RunTable, target: str, values: np.ndarray) -> np.ndarray:
    """Values of the rows that a target is fitted on, at their places among all rows; NaN elsewhere."""
    out = np.full(len(table), np.nan)
    out[table.fit_mask(target)] = values
    return out


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
    facts: dict[str, object] = {"params_kind": _params_kind(table)}
    for column in ("val_domain", "tokenizer"):
        kinds = set(table.frame[column].dropna().astype(str)) if column in table.frame.columns else set()
        if len(kinds) == 1:
            facts[column] = kinds.pop()
    return facts


def _params_kind(table: RunTable) -> str:
    """What the table's `params` count: `non_embedding` by its name there, else `total`, or `active` for routed runs.

    Routed runs count by what one token uses unless the table has that in a column of its own.
    """
    if "nonemb" in table.labels.get("params", "params").lower().replace("_", "").replace("-", ""):
        return "non_embedding"
    routed = table.has("num_experts") and bool(np.nanmax(table.column("num_experts")) > 1)
    if not routed or not table.has("params_active"):
        return "active" if routed else "total"
    differ = np.abs(table.column("params_active") / table.column("params") - 1.0) > 0.01
    return "total" if differ.any() else "active"
