"""The result of a search: the best plan with its full forecast, the Pareto front, and statistics of the trials."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from ...core.errors import InfeasibleError
from ...core.files import write_text
from ...core.reading.yaml_reader import dumps_yaml
from ...core.summary import Summarised
from ...core.version import __version__
from ..forecast.adjustments import known_places
from .alternatives import Alternative, loss_for_cost, named_alternatives, relaxed_alternative
from .candidate import Candidate, compared, forecast_of
from .evaluate import Evaluator, PlanEvaluation
from .local_search.fronts import balanced, front_of, spread_out
from .local_search.relaxation import Relaxation, relaxations, why_impossible
from .space.dimensions import KEEP, KIND, MIXER, SYNTHETIC
from .space.paths import within
from .storage.own_journal import MEMORY
from .study import Study
from .trials.records import ORIGIN, evaluations
from .trials.samplers import sampler_note

if TYPE_CHECKING:
    import optuna

__all__ = ["Candidate", "Optimization", "conclude"]

_MOST_ON_FRONT = 50  # points that get a full forecast
_MOST_RELAXATIONS = 3  # that a message names
_LEAST_FOR_IMPORTANCE = 20  # trials


@dataclass(frozen=True, repr=False)
class Optimization(Summarised):
    """The result of a search: the best plan, the Pareto front, and what the trials say about the search space.

    >>> import foretrain
    >>> study = {
    ...     "run": {"model": {"params": "1B"}, "data": {"tokens": "20B"}},
    ...     "predictor": "web-text",
    ...     "space": {"data.tokens": {"low": "10B", "high": "100B", "log": True}},
    ...     "objective": {"minimise": "loss_nats"},
    ... }
    >>> found = foretrain.optimize(study, trials=6)
    >>> found.require_feasible()  # raises InfeasibleError if no plan keeps every limit
    >>> found.trials["complete"], found.best.evaluation.goals <= found.baseline.evaluation.goals
    (6, True)
    """

    study: Study
    """What was searched."""
    sampler: str
    """Name of the sampler."""
    storage: str | None
    """Where the trials are kept; None for memory."""
    best: Candidate
    """Of several goals the balanced one; without a feasible plan the one that misses the limits least."""
    front: tuple[Candidate, ...]
    """The Pareto front: plans of which none is better in every goal."""
    baseline: Candidate
    """The run as it is."""
    feasible: bool
    """Whether any plan keeps every limit."""
    trials: Mapping[str, int]
    """complete, feasible, impossible, failed, running; how many were polished, and how many were there before."""
    history: Sequence[tuple[int, tuple[float, ...], bool, str]]
    """Number, goals, feasible and origin of every complete trial."""
    importances: Mapping[str, Mapping[str, float]]
    """By goal: the share of each parameter in what makes good trials good (PED-ANOVA)."""
    alternatives: tuple[Alternative, ...] = ()
    """The best and what else is worth knowing, each against the run as it is; without a feasible plan the one that the
    smallest relaxation admits, if there is one."""
    loss_for_cost: tuple[tuple[float, float], ...] = ()
    """Cost in US dollars and loss in nats of the feasible plans that none beats in both; empty without costs."""
    relaxations: tuple[Relaxation, ...] = ()
    """Without a feasible plan: which limits to relax, and by how much, the smallest first."""
    why: str | None = None
    """Why no plan can be run at all."""
    notes: tuple[str, ...] = field(default_factory=tuple)
    """What else should be known, in plain sentences."""

    @override
    def summary(self) -> dict[str, str]:
        best, trials = self.best.evaluation, self.trials
        values = ", ".join(f"{name} {_short(value)}" for name, value in best.values.items())
        goals = ", ".join(f"{goal.label} {value:.4g}" for goal, value in zip(self.study.goals, best.goals, strict=True))
        facts = {"study": self.study.name, "trials": f"{trials['complete']}, {trials['feasible']} of them feasible"}
        if not self.feasible:
            gives = self.relaxations[0].text if self.relaxations else str(self.why)
            return {**facts, "no plan keeps every limit": gives}
        facts |= {"best": goals, "with": values}
        return facts | ({"front": f"{len(self.front)} plans"} if len(self.study.goals) > 1 else {})

    @property
    def smallest_relaxation(self) -> Relaxation | None:
        """What would make a plan feasible at the least change; None where one is, or where none can be."""
        return self.relaxations[0] if self.relaxations else None

    @property
    def why_infeasible(self) -> str | None:
        """Why there is no plan, and what would do, as a sentence; None where there is one."""
        if self.feasible:
            return None
        if self.smallest_relaxation is None:
            return f"no plan can be run: {self.why}"
        return f"no plan keeps every limit; the smallest relaxation is {self.smallest_relaxation.text}"

    def require_feasible(self) -> None:
        """Raise InfeasibleError with the smallest relaxation unless there is a feasible plan."""
        if self.feasible:
            return
        name = f"study {self.study.name}"
        if not self.relaxations:
            raise InfeasibleError(f"{name}: no plan can be run: {self.why}")
        smallest = "; or ".join(relaxation.text for relaxation in self.relaxations[:_MOST_RELAXATIONS])
        raise InfeasibleError(
            f"{name}: no plan keeps every limit ({self.trials['complete']} tried); smallest relaxation: {smallest}"
        )

    def save_best(self, path: str | os.PathLike[str]) -> None:
        """Write the best plan as a run configuration of its own name, without keys that say nothing.

        Raises as `require_feasible`.
        """
        self.require_feasible()
        forecast = self.best.forecast
        if forecast is None:
            config = self.study.space.config(self.best.evaluation.values)
        else:
            config = forecast.config
        plain = config.model_copy(update={"name": f"{self.study.name} best"})
        stated = plain.model_dump(mode="json", by_alias=True, exclude_none=True)
        stated = {key: value for key, value in stated.items() if value != {}}
        known_runs = self.study.run.known_runs_path
        if known_runs is not None:  # the plan is read in another folder
            stated["known_runs"] = os.path.relpath(known_runs, Path(path).parent)
        for section in ("continued_pretraining", "post_training"):
            stage = getattr(plain, section)
            if stage is not None and stage.law_file is not None:
                law = plain.path_of(f"{section}.law", stage.law_file)
                stated[section]["law"] = os.path.relpath(law, Path(path).parent)
        write_text(path, dumps_yaml(stated))

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys and units in the names, for JSON."""
        study = self.study
        goals = []
        for goal in study.goals:
            stated = goal.goal
            facts = {
                "measure": goal.name,
                "in_words": goal.label,
                "direction": stated.direction,
                "quantile": stated.quantile,
                "weights": stated.weights,
            }
            goals.append(facts)
        limits = []
        for limit in study.limits:
            facts = {
                "measure": limit.measure.name,
                limit.side: limit.bound,
                "chance": limit.chance if limit.measure.uncertain else None,
                "source": limit.source,
            }
            limits.append(facts)
        return {
            "best": self.best.to_dict(),
            "pareto": [one.to_dict() for one in self.front],
            "baseline": self.baseline.to_dict(),
            "alternatives": [one.to_dict() for one in self.alternatives],
            "loss_for_cost": [{"cost_usd": cost, "loss_nats": loss} for cost, loss in self.loss_for_cost],
            "feasible": self.feasible,
            "trials": dict(self.trials),
            "study": {
                "name": study.name,
                "storage": self.storage,
                "sampler": self.sampler,
                "seed": study.options.seed,
                "digest": study.digest,
                "goals": goals,
                "limits": limits,
                "space": list(study.space.paths),
            },
            "importances": {name: dict(values) for name, values in self.importances.items()},
            "relaxations": [one.to_dict() for one in self.relaxations],
            "why": self.why,
            "notes": list(self.notes),
            "version": __version__,
        }


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def conclude(
    study: Study, evaluator: Evaluator, found: optuna.Study, sampler: str, storage: str | None, earlier: int = 0
) -> Optimization:
    """Read the trials and say what came of them.

    Args:
        study: What was searched.
        evaluator: Judges and forecasts plans of the study.
        found: The Optuna study that holds the trials.
        sampler: The name of the sampler, for the record.
        storage: Where the trials are kept.
        earlier: How many trials were there before this search.

    Raises:
        InfeasibleError: No trial was completed.
    """
    from .storage.database import without_password

    known = evaluations(found)
    if not known:
        raise InfeasibleError(f"study {study.name}: no trial was completed; expected more trials or a longer timeout")
    evaluated = list(known.values())
    numbers = {id(one): number for number, one in known.items()}
    origins = {}
    for trial in found.get_trials(deepcopy=False):
        origins[trial.number] = str(trial.user_attrs.get(ORIGIN, "sampler"))

    feasible = [one for one in evaluated if one.feasible]
    relaxed: tuple[Relaxation, ...] = ()
    if feasible:
        front = front_of(feasible, study.directions)
        best = balanced(front, study.directions)
    else:
        front = []
        best = min(evaluated, key=lambda one: one.worst)
        relaxed = tuple(relaxations(evaluator, evaluated))
    for relaxation in relaxed:
        if relaxation.plan.feasible:
            # the search for relaxations has found a plan that needs none
            best = relaxation.plan
            feasible = front = [best]
            relaxed = ()
            break

    def candidate(one: PlanEvaluation) -> Candidate:
        """A plan with its full forecast."""
        number = numbers.get(id(one))
        origin = "polish" if number is None else origins[number]
        forecast = forecast_of(evaluator, one)
        config = None if forecast is None else forecast.config
        return Candidate(number, origin, replace(one, config=config), forecast)

    notes = [*_unread_notes(study), *_text_notes(study)]
    on_front = spread_out(front, study.directions, _MOST_ON_FRONT)
    if len(on_front) < len(front):
        notes.insert(0, f"the front has {len(front)} points, {len(on_front)} of them forecast")
    own = evaluator(study.space.current())
    counts = _counts(known, origins, found)
    fallback = sampler_note(study, sampler, len(known))
    if fallback is not None:
        notes.insert(0, fallback)
    baseline = Candidate(None, "as it is", own, forecast_of(evaluator, own))
    candidates = [candidate(best), *(candidate(one) for one in sorted(on_front, key=lambda one: one.goals))]
    told_best, *told_front = compared(study, baseline, candidates)
    priced: tuple[tuple[float, float], ...] = ()
    if front:
        keeps = [one for one in evaluated if one.feasible]
        alternatives = named_alternatives(evaluator, keeps, baseline, told_best, told_front)
        if told_best.forecast is not None and told_best.forecast.cluster is not None:
            priced = loss_for_cost(evaluator, keeps)
    else:
        alternatives = tuple(relaxed_alternative(evaluator, baseline, one) for one in relaxed[:1])
    return Optimization(
        study=study,
        sampler=sampler,
        storage=None if storage in (None, MEMORY) else without_password(storage),
        best=told_best,
        front=tuple(told_front),
        baseline=baseline,
        feasible=bool(feasible),
        trials={**counts, "earlier": earlier},
        history=[(number, one.goals, one.feasible, origins[number]) for number, one in sorted(known.items())],
        importances=_importances(study, found, len(known)),
        alternatives=alternatives,
        loss_for_cost=priced,
        relaxations=relaxed,
        why=None if feasible or relaxed else why_impossible(study, evaluated),
        notes=tuple(notes),
    )


def _unread_notes(study: Study) -> list[str]:
    """What varies though no loss depends on it: the search would take whatever is cheapest."""
    laws = [study.predictor.models[column].fit.law for column in study.loss_columns]
    if not laws:
        return []
    read: set[str] = set()
    for law in laws:
        read.update(law.columns, law.optional, law.levels)
    known = set.intersection(*(known_places(study.predictor.models[column]) for column in study.loss_columns))
    unread = []
    for path in study.space.paths:
        section, _, key = path.partition(".")
        if section in ("optim", "columns") and key not in read and path not in known:
            unread.append(path)
        if path in ("data.selection", KIND, KEEP) and "selection" not in read and "data.selection" not in known:
            unread.append(path)
        if path == MIXER and "architecture" not in read and MIXER not in known:
            unread.append(path)
        if within(path, SYNTHETIC) and "synthetic_share" not in read and SYNTHETIC not in known:
            unread.append(path)
    if study.space.mix is not None and not any(law.domains for law in laws):
        unread.append("data.mix")
    return [
        f"{path} varies, but {study.predictor.name} doesn't know what it does to the loss: what is fastest is chosen; "
        "bound it by what is known to train well"
        for path in unread
    ]


def _text_notes(study: Study) -> list[str]:
    """What varies of the text although losses on different texts, or per different tokens, say little of each other."""
    if not study.loss_columns:
        return []
    notes = []
    if study.space.supplies("data.corpus") and study.run.data.evaluated_on is None:
        notes.append(
            "data.corpus varies, and each plan's loss is on its own text: state data.evaluated_on for one text"
        )
    if study.space.supplies("data.tokenizer"):
        notes.append("data.tokenizer varies, and losses are per token: those of two tokenizers are no better or worse")
    return notes


def _counts(known: Mapping[int, PlanEvaluation], origins: Mapping[int, str], found: optuna.Study) -> dict[str, int]:
    from optuna.trial import TrialState

    states = [trial.state for trial in found.get_trials(deepcopy=False)]
    known_origins = [origins[number] for number in known]
    return {
        "complete": len(known),
        "feasible": sum(one.feasible for one in known.values()),
        "impossible": sum(one.why is not None for one in known.values()),
        "failed": states.count(TrialState.FAIL),
        "running": states.count(TrialState.RUNNING),
        "polished": known_origins.count("polish"),
    }


def _importances(study: Study, found: optuna.Study, complete: int) -> dict[str, dict[str, float]]:
    """PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255): which parameters set good trials apart, by goal."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    from .storage.quiet import experimental_parts

    if complete < _LEAST_FOR_IMPORTANCE:
        return {}
    importances = {}
    for number, goal in enumerate(study.goals):
        sign = 1.0 if study.directions[number] == "minimize" else -1.0

        def target(trial: optuna.trial.FrozenTrial, number: int = number, sign: float = sign) -> float:
            return sign * trial.values[number]

        with experimental_parts(), warnings.catch_warnings():
            # it says that it takes low values for good, which they are
            warnings.filterwarnings("ignore", message="PedAnovaImportanceEvaluator computes", category=UserWarning)
            evaluator = PedAnovaImportanceEvaluator()
            try:
                shares = get_param_importances(found, evaluator=evaluator, target=target)
            except (ValueError, RuntimeError):  # every trial alike, or too few that differ
                continue
        importances[goal.name] = {name: float(share) for name, share in shares.items()}
    return importances
