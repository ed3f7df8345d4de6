"""What comes of a search: the best plan with its full forecast, the front, and what the trials say about the space."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ...core.errors import ForetrainError, InfeasibleError
from ...core.files import write_text
from ...core.version import __version__
from ..forecast.forecast import Forecast
from .evaluate import Evaluator, PlanEvaluation
from .local_search.fronts import balanced, front_of, spread_out
from .local_search.relaxation import Relaxation, relaxations, why_impossible
from .storage.own_journal import MEMORY
from .study import Study
from .trials.records import ORIGIN, evaluations

if TYPE_CHECKING:
    import optuna

__all__ = ["Candidate", "Optimization", "conclude"]

_MOST_ON_FRONT = 50  # points that get a full forecast
_LEAST_FOR_IMPORTANCE = 20  # trials


@dataclass(frozen=True)
class Candidate:
    """One plan of a study."""

    number: int | None
    """Its trial; None for the run as it is, where that can't be a trial."""
    origin: str
    """sampler, polish, or the recipe's name."""
    evaluation: PlanEvaluation
    forecast: Forecast | None
    """None where the plan can't be run."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        one = self.evaluation
        return {
            "trial": self.number,
            "origin": self.origin,
            "values": dict(one.values),
            "goals": list(one.goals if one.why is None else (None for _ in one.goals)),
            "limits": dict(one.measured),
            "feasible": one.feasible,
            "why": one.why,
            "config": None if self.forecast is None else self.forecast.config.to_mapping(),
            "forecast": None if self.forecast is None else self.forecast.to_dict(),
        }


@dataclass(frozen=True)
class Optimization:
    """What a search found."""

    study: Study
    sampler: str
    storage: str | None
    best: Candidate
    """Of several goals the balanced one; without a feasible plan the one that misses the limits least."""
    front: tuple[Candidate, ...]
    baseline: Candidate
    """The run as it is."""
    feasible: bool
    trials: Mapping[str, int]
    """complete, feasible, impossible, failed, running; how many were polished, and how many were there before."""
    history: Sequence[tuple[int, tuple[float, ...], bool, str]]
    """Number, goals, feasible and origin of every complete trial."""
    importances: Mapping[str, Mapping[str, float]]
    """By goal: the share of each parameter in what makes good trials good (PED-ANOVA)."""
    relaxations: tuple[Relaxation, ...] = ()
    why: str | None = None
    """Why no plan can be run at all."""
    notes: tuple[str, ...] = field(default_factory=tuple)

    def require_feasible(self) -> None:
        """Raise InfeasibleError with the smallest relaxation unless there is a feasible plan."""
        if self.feasible:
            return
        name = f"study {self.study.name}"
        if self.relaxations:
            first, *others = self.relaxations
            also = "".join(f"; or {one.text}" for one in others[:2])
            raise InfeasibleError(
                f"{name}: no plan keeps every limit ({self.trials['complete']} tried); smallest relaxation: "
                f"{first.text}{also}"
            )
        raise InfeasibleError(f"{name}: no plan can be run: {self.why}")

    def save_best(self, path: str | os.PathLike[str]) -> None:
        """Write the best plan as a run configuration, complete with defaults. Raises as `require_feasible`."""
        import yaml

        self.require_feasible()
        seen = self.best.forecast
        config = self.study.space.config(self.best.evaluation.values) if seen is None else seen.config
        write_text(path, yaml.safe_dump(config.to_mapping(), sort_keys=False, allow_unicode=True))

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys and units in the names, for JSON."""
        study = self.study
        return {
            "best": self.best.to_dict(),
            "pareto": [one.to_dict() for one in self.front],
            "baseline": self.baseline.to_dict(),
            "feasible": self.feasible,
            "trials": dict(self.trials),
            "study": {
                "name": study.name,
                "storage": self.storage,
                "sampler": self.sampler,
                "seed": study.options.seed,
                "digest": study.digest,
                "goals": [
                    {
                        "measure": goal.name,
                        "direction": goal.goal.direction,
                        "quantile": goal.goal.quantile,
                        "weights": goal.goal.weights,
                    }
                    for goal in study.goals
                ],
                "limits": [
                    {
                        "measure": limit.measure.name,
                        limit.side: limit.bound,
                        "chance": limit.chance if limit.measure.uncertain else None,
                        "source": limit.source,
                    }
                    for limit in study.limits
                ],
                "space": list(study.space.paths),
            },
            "importances": {name: dict(values) for name, values in self.importances.items()},
            "relaxations": [one.to_dict() for one in self.relaxations],
            "why": self.why,
            "notes": list(self.notes),
            "version": __version__,
        }


def conclude(
    study: Study, evaluator: Evaluator, found: optuna.Study, sampler: str, storage: str | None, earlier: int = 0
) -> Optimization:
    """Read the trials and say what came of them, `earlier` of them found as they were; InfeasibleError for none."""
    from .storage.database import without_password

    known = evaluations(found)
    origins = {t.number: str(t.user_attrs.get(ORIGIN, "sampler")) for t in found.get_trials(deepcopy=False)}
    if not known:
        raise InfeasibleError(f"study {study.name}: no trial was completed; expected more trials or a longer timeout")
    numbers = {id(one): number for number, one in known.items()}

    def candidate(one: PlanEvaluation) -> Candidate:
        number, forecast = numbers.get(id(one)), _forecast(evaluator, one)
        config = None if forecast is None else forecast.config
        origin = "polish" if number is None else origins[number]
        return Candidate(number, origin, replace(one, config=config), forecast)

    feasible = [one for one in known.values() if one.feasible]
    front = front_of(feasible, study.directions) if feasible else []
    best = balanced(front, study.directions) if front else min(known.values(), key=lambda one: one.worst)
    relaxed = () if feasible else tuple(relaxations(evaluator, list(known.values())))
    hit = next((one.plan for one in relaxed if one.plan.feasible), None)
    if hit is not None:  # looking for what must give, the local search has found a plan that needs nothing
        feasible, front, best, relaxed = [hit], [hit], hit, ()
    shown = spread_out(front, study.directions, _MOST_ON_FRONT)
    own = evaluator(study.space.current())
    notes = [f"the front has {len(front)} points, {len(shown)} of them forecast"] if len(shown) < len(front) else []
    return Optimization(
        study=study,
        sampler=sampler,
        storage=None if storage in (None, MEMORY) else without_password(storage),
        best=candidate(best),
        front=tuple(candidate(one) for one in sorted(shown, key=lambda one: one.goals)),
        baseline=Candidate(None, "as it is", own, _forecast(evaluator, own)),
        feasible=bool(feasible),
        trials={**_counts(known, origins, found), "earlier": earlier},
        history=[(n, one.goals, one.feasible, origins[n]) for n, one in sorted(known.items())],
        importances=_importances(study, found, len(known)),
        relaxations=relaxed,
        why=None if feasible or relaxed else why_impossible(study, list(known.values())),
        notes=(*notes, *_unread(study)),
    )


def _unread(study: Study) -> list[str]:
    """What varies though no loss depends on it: the search would take whatever is cheapest."""
    laws = [study.predictor.models[target].fit.law for target in study.loss_columns]
    reads = {column for law in laws for column in (*law.columns, *law.optional, *law.levels)}
    mixed = any(law.domains for law in laws)
    settings = [path for path in study.space.paths if path.startswith(("optim.", "columns."))]
    unread = [path for path in settings if path.partition(".")[2] not in reads]
    unread += ["data.mix"] if study.space.mix is not None and not mixed else []
    return [
        f"{path} varies, but {study.predictor.name} doesn't know what it does to the loss: what is fastest is chosen; "
        "bound it by what is known to train well"
        for path in unread
        if laws
    ]


def _forecast(evaluator: Evaluator, one: PlanEvaluation) -> Forecast | None:
    """The full forecast of a plan; None where it can't be run."""
    if one.why is not None:
        return None
    try:
        return evaluator.forecast(one.values)
    except ForetrainError:
        return None


def _counts(known: Mapping[int, PlanEvaluation], origins: Mapping[int, str], found: optuna.Study) -> dict[str, int]:
    from optuna.trial import TrialState

    states = [trial.state for trial in found.get_trials(deepcopy=False)]
    return {
        "complete": len(known),
        "feasible": sum(one.feasible for one in known.values()),
        "impossible": sum(one.why is not None for one in known.values()),
        "failed": states.count(TrialState.FAIL),
        "running": states.count(TrialState.RUNNING),
        "polished": sum(origins[number] == "polish" for number in known),
    }


def _importances(study: Study, found: optuna.Study, complete: int) -> dict[str, dict[str, float]]:
    """PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255): which parameters set good trials apart, by goal."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    from .storage.quiet import experimental_parts

    if complete < _LEAST_FOR_IMPORTANCE:
        return {}
    shares = {}
    for number, goal in enumerate(study.goals):
        sign = 1.0 if study.directions[number] == "minimize" else -1.0
        with experimental_parts(), warnings.catch_warnings():
            # it says that it takes low values for good, which they are
            warnings.filterwarnings("ignore", message="PedAnovaImportanceEvaluator computes", category=UserWarning)
            evaluator = PedAnovaImportanceEvaluator()
            try:
                found_shares = get_param_importances(
                    found, evaluator=evaluator, target=lambda trial, n=number, s=sign: s * trial.values[n]
                )
            except (ValueError, RuntimeError):  # every trial alike, or too few that differ
                continue
        shares[goal.name] = {name: float(value) for name, value in found_shares.items()}
    return shares
