"""`Predictor`: a law with its parameters, what they leave open, and the calibration that makes intervals hold.

One `LossModel` for each loss column of the run table. `storage.folder` saves and loads it; `forecast` turns a RunConfig
and a Predictor into the answer a user reads.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from typing_extensions import override

from ...core.columns import level_of
from ...core.errors import DataWarning, FitError, UsageError
from ...core.processors import usable_cores
from ...core.progress import Progress
from ...core.summary import Summarised
from ...core.units import format_count, shown
from ...datasets.facts.corpora import find_evaluation_set
from ..fitting import AUTO, LawPrior, Observations, one_thread, public_prior, weak_prior
from ..laws import Columns
from .domain_average import average, error_correlation, shares
from .fit.fit_warnings import UnexplainedLoss, table_warnings, unexplained_loss, unexplained_warnings
from .fit.loss_fit import Learner, errors_over_sd, fit_loss_model
from .levels import runs_by_level
from .loss_model import LossModel
from .params_kind import without_embeddings
from .prediction import LossPrediction
from .table_labels import table_facts, target_labels

if TYPE_CHECKING:
    from ...datasets.runs.run_table import RunTable

AVERAGE = "loss.average"
"""The target that is the plain mean of the losses of all domains."""

_Found = TypeVar("_Found")


@dataclass(frozen=True, repr=False)
class Predictor(Summarised):
    """Fitted laws for one or more losses, with everything that a forecast must say about where they come from.

    `Predictor.fit` makes one from a run table; `load_predictor` loads one.

    >>> import numpy as np
    >>> import pandas as pd
    >>> import foretrain
    >>> params = np.repeat([1e7, 3e7, 1e8, 3e8], 3)
    >>> tokens = params * np.tile([5, 20, 80], 4)
    >>> loss = 1.7 + 400 * params**-0.34 + 1500 * tokens**-0.34
    >>> table = foretrain.RunTable.from_frame(pd.DataFrame({"params": params, "tokens": tokens, "loss": loss}))
    >>> predictor = foretrain.Predictor.fit(table, law="chinchilla")
    >>> prediction = predictor.predict({"params": np.array([1e9]), "tokens": np.array([20e9])})
    >>> bool(abs(prediction.loss_nats[0] / (1.7 + 400 * 1e9**-0.34 + 1500 * 20e9**-0.34) - 1) < 0.01)
    True
    """

    name: str
    """Name of the predictor."""
    models: Mapping[str, LossModel]
    """The fitted law of each target (`loss`, `loss.<domain>`)."""
    about: Mapping[str, object] = field(default_factory=dict)
    """Plain facts: `title`, `params_kind` (what N counts: total, active or non_embedding), `corpus`, `val_domain`,
    `tokenizer`, `bytes_per_token`, `table`, `digest`, `seed`, `versions`, `prior`, `levels` (see `runs_by_level`).
    """
    notes: tuple[str, ...] = ()
    """What looked wrong when it was fitted, in plain sentences."""
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
        by: str | None = None,
        like: str | None = None,
    ) -> Predictor:
        """Fit a law to every loss column of a run table.

        A column `weight` in the table weighs its rows.

        Args:
            table: The runs.
            law: "auto", or a name such as "chinchilla" or "general+repetition".
            prior: Prior of the law's parameters: "auto" (that of the public tables if `law` is "auto", otherwise none),
                "public", "weak", "none" or None, or a `LawPrior`.
            fixed: Values of parameters that are not fitted: E (nats per token), alpha, beta, gamma, or the law's own.
            surrogate: "auto" (if `law` is "auto", a learner of the law's residuals where cross-validation shows that it
                helps) or "none".
            seed: Seed of the draws.
            name: Name of the predictor.
            about: Facts about it, in addition to or instead of those that the table tells.
            progress: Called with each target and the share done, 0 to 1.
            by: A column of text: each of its values gets a law of its own, as the target `loss.<value>`.
            like: A corpus of the catalogue that the runs' text is like, where the table doesn't name it: the fewer the
                runs, the more it helps.

        Returns:
            The predictor.

        Raises:
            FitError: The table can't identify what was asked for.

        Warns:
            DataWarning: Something in the table looks like a mistake.
        """
        chosen_prior = resolve_prior(prior, law)
        digest = table.digest()
        if by is not None:
            table = table.split_by(by)
        table = without_embeddings(table)
        found_facts = table_facts(table) | dict(about or {})

        def fit_target(target: str) -> tuple[LossModel, np.ndarray, UnexplainedLoss]:
            try:
                observations = Observations.from_table(table, target)
                model = fit_loss_model(
                    observations,
                    law,
                    chosen_prior,
                    fixed=fixed,
                    seed=seed,
                    learner=surrogate,
                    labels=target_labels(found_facts, target, by=by, like=like),
                )
                errors = np.full(len(table), np.nan)
                errors[table.fit_mask(target)] = errors_over_sd(model, observations)
                return model, errors, unexplained_loss(table, target, model.fit, observations, chosen_prior)
            except FitError as error:
                raise FitError(f"{table.where}: target {target!r}: {error}") from None

        models: dict[str, LossModel] = {}
        errors_by_target: list[np.ndarray] = []
        unexplained: dict[str, UnexplainedLoss] = {}
        fitted = _side_by_side(fit_target, table.loss_columns, progress)
        for target, (model, errors, left_over) in zip(table.loss_columns, fitted, strict=True):
            models[target] = model
            errors_by_target.append(errors)
            unexplained[target] = left_over

        facts = {"table": table.where, "digest": digest, "seed": seed, **found_facts}
        if like is not None:
            facts["like"] = like
        if by is not None:
            facts["by"] = by
        facts["prior"] = None
        if chosen_prior is not None:
            facts["prior"] = chosen_prior.name

        told_apart: set[str] = set()
        doubts: list[str] = []
        for model in models.values():
            told_apart |= model.fit.law.levels.keys()
            doubts += model.choice["doubts"]
        levels = _runs_by_level(table, models)
        if levels:
            facts["levels"] = levels
        if by is not None:
            told_apart.add(by)
        notes = (*table_warnings(table, told_apart), *unexplained_warnings(unexplained), *dict.fromkeys(doubts))
        for note in notes:
            warnings.warn(note, DataWarning, stacklevel=2)
        return cls(name, models, facts, (*table.doubts, *notes), error_correlation(errors_by_target))

    @property
    def main_loss(self) -> str:
        """The main target: `loss` if there is one, else the only one, else the mean of all domains (`AVERAGE`)."""
        if "loss" in self.models or len(self.models) > 1:
            return "loss" if "loss" in self.models else AVERAGE
        return next(iter(self.models))

    def parts(self, target: str) -> dict[str, LossModel]:
        """The models whose plain mean a target is: its own, or that of every domain for `AVERAGE`.

        Raises:
            UsageError: The predictor has no such target.
        """
        if target in self.models:
            return {target: self.models[target]}
        if target != AVERAGE:
            raise UsageError(f"target: got {shown(target)}; expected one of {', '.join(self.models)}")
        return {name: self.models[name] for name in sorted(self.domain_losses)}

    def in_words(self, target: str) -> str:
        """What a target is the loss of: a domain's name, "mean of 3 domains", or nothing for `loss`."""
        parts = self.parts(target)
        if len(parts) > 1:
            return f"mean of {len(parts)} {'corpora' if 'by' in self.about else 'domains'}"
        return "" if target == "loss" else target.removeprefix("loss.")

    def main_loss_on(self, evaluated_on: str | None, corpus: str | None = None) -> str:
        """The main target of a plan: that of the text it is evaluated on, by any of its names, if there is one.

        Else that of its corpus, where each corpus (or the like) has a law of its own (`fit(by=…)`).

        >>> from foretrain.simulator.predictor.storage.folder import load
        >>> load("web-text").main_loss_on("c4_en")
        'loss'
        """
        if evaluated_on is not None:
            if f"loss.{evaluated_on}" in self.models:
                return f"loss.{evaluated_on}"
            wanted = find_evaluation_set(evaluated_on)
            for name in [] if wanted is None else self.domain_losses:
                if find_evaluation_set(name.removeprefix("loss.")) is wanted:
                    return name
        of_corpus = f"loss.{corpus}"
        return of_corpus if "by" in self.about and of_corpus in self.models else self.main_loss

    @override
    def summary(self) -> dict[str, str]:
        models = self.parts(self.main_loss).values()
        laws = dict.fromkeys(model.fit.law.name for model in models)
        facts = {"name": self.name, "law": ", ".join(laws), "runs": str(max(model.rows for model in models))}
        for fact, column in (("parameters", "params"), ("tokens", "tokens")):
            ends = [model.fitted_ranges[column] for model in models]
            low, high = min(low for low, _ in ends), max(high for _, high in ends)
            facts[fact] = f"{format_count(low)} to {format_count(high)}"
        if len(self.models) > 1:
            facts["losses"] = ", ".join(self.models)
            facts["main loss"] = self.in_words(self.main_loss) or "loss"
        return facts

    def predict(self, columns: Columns, target: str | None = None) -> LossPrediction:
        """Predict one target of n runs.

        Args:
            columns: Columns of the runs, each `(n,)`: `params`, `tokens` and whatever else the law reads.
            target: The target, such as "loss", "loss.code" or "loss.average"; by default the main one.

        Returns:
            Losses `(n,)` in nats per token, with their uncertainty.

        Raises:
            UsageError: The predictor has no such target.
        """
        if target is None:
            target = self.main_loss
        parts = self.parts(target)
        return self.mean({name: model.predict(columns) for name, model in parts.items()})

    def average(self, columns: Columns, weights: Mapping[str, float] | None = None) -> LossPrediction:
        """Predict the mean loss over several targets of n runs, taking the correlation of their errors into account.

        Args:
            columns: Columns of the runs, each `(n,)`.
            weights: Weights by target (`loss.<domain>`), which need not sum to 1; by default all domains have the same.

        Returns:
            Mean losses `(n,)` in nats per token, with their uncertainty.

        Raises:
            UsageError: A target is unknown, a weight is negative, or all weights are 0.
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
        """Average given predictions of the same runs.

        Args:
            predictions: The predictions, by target.
            weights: Weights by target, which need not sum to 1.

        Returns:
            The weighted mean, in nats per token.
        """
        targets = list(self.models)
        places = [targets.index(name) for name in predictions]
        correlation = self.correlation
        if correlation is None:
            correlation = np.ones((len(targets), len(targets)))
        of_these = correlation[np.ix_(places, places)]
        return average(list(predictions.values()), shares(weights, list(predictions)), of_these)

    def mean(self, predictions: Mapping[str, LossPrediction]) -> LossPrediction:
        """The plain mean of the predictions of what a target consists of (`parts`); of one, that one itself."""
        if len(predictions) == 1:
            return next(iter(predictions.values()))
        return self.averaged(predictions, dict.fromkeys(predictions, 1.0))

    @property
    def domain_losses(self) -> list[str]:
        """The targets of single domains, `loss.<domain>`; all targets if there are none."""
        return [name for name in self.models if name != "loss"] or list(self.models)

    def only(self, targets: Sequence[str]) -> Predictor:
        """A predictor of only some of the targets, which is faster.

        Args:
            targets: The targets to keep.

        Returns:
            The smaller predictor.
        """
        kept = {name: model for name, model in self.models.items() if name in targets}
        correlation = self.correlation
        if correlation is not None:
            places = [place for place, name in enumerate(self.models) if name in kept]
            correlation = correlation[np.ix_(places, places)]
        return replace(self, models=kept, correlation=correlation)

    def renamed(self, name: str, about: Mapping[str, object]) -> Predictor:
        """The same fits under another name.

        Args:
            name: The new name.
            about: Facts to add to `about`.

        Returns:
            The renamed predictor.
        """
        return replace(self, name=name, about={**self.about, **about})


def _runs_by_level(table: RunTable, models: Mapping[str, LossModel]) -> dict[str, Any]:
    """The runs behind each level of the categories that laws tell apart: those of the first target of such a law."""
    found: dict[str, Any] = {}
    for target, model in models.items():
        for term in model.fit.law.terms:
            if term.category is not None and term.category not in found:
                further = [name for name in term.columns if level_of(name) is None]
                further += [name for name in term.optional if name in model.fit.reference.values]
                found |= runs_by_level(table.fit_rows(target), [term.category, *term.further_levels], further)
    return found


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
