"""`Predictor`: a law with its parameters, what they leave open, and the calibration that makes intervals hold.

    table → Observations → choose a law → fit with draws → back-test → Calibration → Predictor

`predictor_io` saves and loads it; `forecast` turns a RunConfig and a Predictor into the answer a user reads.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataWarning, FitError, InputError, UsageError
from .calibration import Calibration, public_calibration
from .doubts import fit_doubts, table_doubts
from .fitting import (
    AUTO,
    Fit,
    Observations,
    Prior,
    backtest,
    choose,
    draw_spread,
    error_scale,
    fit_observations,
    gap_decades,
    public_prior,
    ranges,
    require,
    weak_prior,
)
from .laws import Columns, Law, get_law
from .natural import natural_parameters

if TYPE_CHECKING:
    from ..datasets.run_table import RunTable

Progress = Callable[[str, float], None]
"""Called with what is being done and the share done so far, 0 to 1."""

DRAWS = 200
_BACKTEST_DRAWS = 64
_SINGLE_VALUE_SLACK = 2.0  # a law without N (or D) still holds this many times off the one value it was fitted at


@dataclass(frozen=True)
class LossPrediction:
    """Predicted loss of n runs: `log_loss` the centre, `scale` its s, `gap` decades of extrapolation, each `(n,)`."""

    log_loss: np.ndarray
    scale: np.ndarray
    gap: np.ndarray
    calibration: Calibration

    @property
    def loss_nats(self) -> np.ndarray:
        """Median predicted loss, nats per token `(n,)`."""
        return np.exp(self.log_loss)

    def interval(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Central interval of the loss at `level`, nats per token, two `(n,)`. UsageError outside (0, 1)."""
        if not 0 < level < 1:
            raise UsageError(f"interval level: got {level}; expected a fraction between 0 and 1, such as 0.9")
        half = self.calibration.width(level) * self.scale
        return np.exp(self.log_loss - half), np.exp(self.log_loss + half)

    def probability_at_most(self, loss_nats: float) -> np.ndarray:
        """Chance that each run's loss is at most `loss_nats`, `(n,)`."""
        z = (np.log(loss_nats) - self.log_loss) / self.scale
        return np.array([0.5 + 0.5 * np.sign(v) * self.calibration.level(v) for v in z])

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Random losses `(size, n)`, one |z| for all runs of a draw: they share the law's error."""
        z = self.calibration.sample(rng, size)
        return np.exp(self.log_loss + z[:, None] * self.scale)


@dataclass(frozen=True)
class TargetModel:
    """The fitted law of one target (`loss`, or `loss.<domain>`)."""

    fit: Fit
    calibration: Calibration
    seen: Mapping[str, tuple[float, float]]
    """Lowest and highest params, tokens and compute (6·N·D) of the fitted runs."""
    rows: int
    choice: Mapping[str, Any] = field(default_factory=dict)
    """Why this law, each candidate's back-test error, and which terms were left out."""

    @property
    def parameters(self) -> dict[str, float]:
        """Textbook parameters: E in nats, A, B, alpha, beta, gamma, and those of the terms."""
        return natural_parameters(self.fit)

    def predict(self, columns: Columns) -> LossPrediction:
        """Predict runs from their columns, each `(n,)`. InputError where the law can't speak of a run at all."""
        self._refuse_unseen_dimension(columns)
        centre = self.fit.log_loss(columns)
        gap = gap_decades(dict(self.seen), columns)
        spread = draw_spread(self.fit, columns, centre)
        return LossPrediction(centre, error_scale(spread, self.fit.noise, gap), gap, self.calibration)

    def _refuse_unseen_dimension(self, columns):
        for name in ("params", "tokens"):
            if name in self.fit.law.member.uses:
                continue
            only = self.fit.reference.values[name]
            off = np.abs(np.log(np.asarray(columns[name], dtype=float) / only))
            if np.any(off > np.log(_SINGLE_VALUE_SLACK)):
                wrong = float(np.asarray(columns[name]).flat[int(off.argmax())])
                raise InputError(
                    f"{name}: got {wrong:.3g}; every fitted run has about {only:.3g}, so this predictor can't say how "
                    f"the loss changes with {name}; expected a value within a factor {_SINGLE_VALUE_SLACK:g} of it, "
                    f"or a predictor fitted on runs in which {name} varies"
                )


@dataclass(frozen=True)
class Predictor:
    """Fitted laws for one or more targets, with everything a forecast must say about where they come from.

    `about` holds plain facts: `title`, `params_kind` (what N counts: total, active or non_embedding), `corpus`,
    `val_domain`, `tokenizer`, `bytes_per_token`, `table`, `digest`, `seed`, `versions`, `prior`.
    """

    name: str
    targets: Mapping[str, TargetModel]
    about: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls,
        table: RunTable,
        law: str = AUTO,
        *,
        prior: str | Prior | None = AUTO,
        fixed: Mapping[str, float] | None = None,
        seed: int = 0,
        name: str = "predictor",
        about: Mapping[str, object] | None = None,
        progress: Progress | None = None,
    ) -> Predictor:
        """Fit every target of a run table.

        `law` is `auto` or a name such as `chinchilla` or `general+repetition`. `prior` is `auto` (the public tables'
        prior with `law="auto"`, none for a law that is named), `public`, `weak`, None or a Prior. `fixed` holds
        parameters that fitting must not change: E (nats), alpha, beta, gamma, or any of the law's own. A column
        `weight` in the table weighs its rows. Raises FitError if the table can't identify what was asked; warns
        DataWarning on what looks like a mistake.
        """
        chosen_prior = resolve_prior(prior, law)
        notes = tuple(table_doubts(table))
        models = {}
        for number, target in enumerate(table.targets):
            if progress is not None:
                progress(target, number / len(table.targets))
            try:
                observations = Observations.from_table(table, target)
                models[target] = fit_target(observations, law, chosen_prior, fixed=fixed, seed=seed)
            except FitError as error:
                raise FitError(f"{table.where}: target {target!r}: {error}") from None
        facts = {"table": table.where, "digest": table.digest(), "seed": seed, **_table_facts(table), **(about or {})}
        facts["prior"] = None if chosen_prior is None else chosen_prior.name
        notes += tuple(dict.fromkeys(doubt for model in models.values() for doubt in model.choice["doubts"]))
        for note in notes:
            warnings.warn(note, DataWarning, stacklevel=2)
        return cls(name, models, facts, notes)

    @property
    def main_target(self) -> str:
        """`loss` where it is there, else the first target."""
        return "loss" if "loss" in self.targets else next(iter(self.targets))

    def predict(self, columns: Columns, target: str | None = None) -> LossPrediction:
        """Predict one target (the main one by default) for runs given as columns `(n,)`."""
        return self.targets[self.main_target if target is None else target].predict(columns)

    def renamed(self, name: str, about: Mapping[str, object]) -> Predictor:
        """The same fits under another name and with more facts about them."""
        return replace(self, name=name, about={**self.about, **about})


def fit_target(
    observations: Observations,
    law: str,
    prior: Prior | None,
    *,
    fixed: Mapping[str, float] | None = None,
    seed: int = 0,
    public: Calibration | None = None,
) -> TargetModel:
    """Choose (or check) the law of one target, fit it with draws, and calibrate it by its own back-test.

    `public` replaces the shipped scores of the public tables, for judging on a table that they have seen.
    """
    if law == AUTO:
        choice = choose(observations, prior, seed=seed)
        name, why, left_out = choice.law, choice.why, dict(choice.left_out)
        errors = {n: s.median_relative_error for n, s in choice.scores.items() if s.cuts}
    else:
        name, why, left_out, errors = law, "as asked", {}, {}
        require(get_law(law), observations)
    plain = get_law(name)
    built = Law(plain.member, plain.terms, fixed) if fixed else plain
    fit = fit_observations(built, observations, prior, draws=DRAWS, seed=seed)
    scores = backtest(built, observations, prior, draws=_BACKTEST_DRAWS, seed=seed)
    facts = {"why": why, "left_out": left_out, "backtest_errors": errors, "cuts": scores.cuts}
    facts["doubts"] = fit_doubts(observations, left_out, prior, built.member.uses)
    calibration = Calibration.from_scores(scores, public_calibration() if public is None else public)
    return TargetModel(fit, calibration, ranges(observations), len(observations), facts)


def resolve_prior(prior: str | Prior | None, law: str) -> Prior | None:
    """The prior that a name stands for: `auto` is the public one with law auto, none with a law that is named."""
    if prior is None or isinstance(prior, Prior):
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
