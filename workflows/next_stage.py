"""`simulate proxies design --after`: where trained proxies meet the belief about what they leave open.

    results → run table → fitted law and learner → belief → runs of the project's pool, chosen for the planned run

`proxies` knows what can be trained and for how long, `simulator.search` what that would tell; neither knows the other.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import InfeasibleError
from ..core.progress import Progress
from ..core.units import format_count, format_duration, format_flops
from ..proxies.design.estimate import Estimate, estimate, groups
from ..proxies.design.mixes import domain_facts, named_mixes
from ..simulator.fitting import AUTO, Observations, one_thread, public_prior
from ..simulator.predictor.fit.loss_fit import fit_loss_model
from ..simulator.predictor.loss_model import LossModel
from ..simulator.search.next_proxies import (
    Candidates,
    JointPosterior,
    LawPosterior,
    Region,
    Selection,
    SurrogatePosterior,
    Width,
    choose_runs,
)
from .planned_run import StageBudget, with_mix

if TYPE_CHECKING:
    from pathlib import Path

    from ..proxies.design.estimate import Machine
    from ..proxies.project import Project
    from ..proxies.runs import ProxyRun

__all__ = ["NextStage", "next_stage"]

_log = logging.getLogger(__name__)

_FILLED = 0.9  # of a time budget that is planned for, as in a first design
_OF_PLAN = 0.25
"""Of the planned run's FLOPs, the most that proxies are proposed for where no budget is stated.

The run itself tells its loss exactly: proxies that cost about as much buy an estimate of what could be known. Within a
stated budget they may cost as much as the run, never more.
"""
_ROUNDS = 8
_TRIMMED = 0.95


@dataclass(frozen=True)
class NextStage:
    """The next stage of a project, as `next_stage` chooses it: its runs, their cost, and what they tell.

    >>> from pathlib import Path
    >>> import numpy as np
    >>> import foretrain
    >>> from foretrain.proxies.design.estimate import Estimate
    >>> stage = foretrain.NextStage(
    ...     stage="next-1", folder=Path("proxies/next-1"), written=False, planned={"params": 2e5, "tokens": 256e3},
    ...     runs=(), pool=12, law="general", loss_nats=3.1, half_width=np.array([0.004]),
    ...     estimate=Estimate(0, 0, 0.0, 0.0, 0.0, 0.0, 0), workers=2, budget=foretrain.StageBudget(), precision=0.01,
    ...     notes=("the precision is reached already",),
    ... )  # fmt: skip
    >>> stage.reached, stage.to_dict()["half_width_after"]
    (True, 0.004)
    """

    stage: str
    """Name of the stage."""
    folder: Path
    """Folder of the stage."""
    written: bool
    """Whether there is something to train, written into the folder."""
    planned: Mapping[str, float]
    """The planned run: `params`, `tokens`, and a share `mix.<domain>` of each domain."""
    runs: tuple[ProxyRun, ...]
    """The chosen runs."""
    pool: int
    """Number of candidate runs."""
    law: str
    """The law that was fitted on the results so far."""
    loss_nats: float
    """Its prediction for the planned run, nats per token."""
    half_width: np.ndarray
    """Half-width of the 90 % interval as a fraction of the loss, `(k + 1,)`: before the first run, after each."""
    estimate: Estimate
    """Cost of the chosen runs."""
    workers: int
    """Number of workers that train at the same time."""
    budget: StageBudget
    """The limits on the cost."""
    precision: float | None
    """Half-width that is enough, as a fraction of the loss; None if not stated."""
    notes: tuple[str, ...]
    """What else should be known, in plain sentences."""

    @property
    def planned_flops(self) -> float:
        """Training compute of the planned run itself, FLOPs."""
        return 6.0 * self.planned["params"] * self.planned["tokens"]

    @property
    def reached(self) -> bool | None:
        """Whether the half-width is within the precision asked for; None if none was."""
        return None if self.precision is None else bool(self.half_width[-1] <= self.precision)

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys and units in the names, for JSON."""
        flops = np.cumsum([run.training_flops for run in self.runs]).tolist()
        return {
            "stage": self.stage,
            "folder": str(self.folder),
            "written": self.written,
            "planned": dict(self.planned),
            "loss_nats": self.loss_nats,
            "law": self.law,
            "candidates": self.pool,
            "runs": len(self.runs),
            "training_flops": self.estimate.training_flops,
            "planned_training_flops": self.planned_flops,
            "share_of_planned_flops": self.estimate.training_flops / self.planned_flops,
            "wall_clock_s": self.estimate.wall_clock_s,
            "workers": self.workers,
            "budget_wall_clock_s": self.budget.wall_clock_s,
            "budget_training_flops": self.budget.training_flops,
            "half_width_before": float(self.half_width[0]),
            "half_width_after": float(self.half_width[-1]),
            "precision": self.precision,
            "precision_reached": self.reached,
            "curve": [
                {"run_id": run.run_id, "training_flops": spent, "half_width": float(width)}
                for run, spent, width in zip(self.runs, flops, self.half_width[1:], strict=True)
            ],
            "run_list": [run.model_dump(mode="json") for run in self.runs],
            "notes": list(self.notes),
        }


def next_stage(
    project: Project,
    planned: Mapping[str, float],
    budget: StageBudget,
    precision: float | None = None,
    *,
    progress: Progress | None = None,
) -> NextStage:
    """Choose the runs that tell most about a planned run, and write them as the project's next stage.

    Args:
        project: The project, trained to its end.
        planned: The planned run: `params`, `tokens`, and optionally a share `mix.<domain>` for each domain.
        budget: What the stage may cost.
        precision: Half-width of the 90 % interval at the planned run, as a fraction of the loss, that is enough; no
            more runs are chosen than are needed for it.
        progress: Called with what is being done and the share done, 0 to 1.

    Returns:
        The stage, and how much it is expected to narrow the interval.

    Raises:
        CampaignError: Not everything that was designed before is trained.
        FitError: The results can't be fitted.
        UsageError: The planned mix has unknown domains or does not sum to 1.
        InfeasibleError: The budget pays for no run (the message names the cheapest), or the planned run is smaller than
            every candidate.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import foretrain
    >>> from foretrain.proxies.executors import get_executor
    >>> corpora = "domains: {toy: {synthetic: {kind: zipf, vocab_size: 64, tokens: 20k}}}"
    >>> space = '''
    ... {corpora: corpora.yaml, widths: [8, 16, 24], depth: 1, head_width: 8, context_length: 32, tokens: [2k, 4k, 8k],
    ...  engine: {device: cpu, precision: fp32, compile: never, eval_tokens: 1k}}
    ... '''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "corpora.yaml").write_text(corpora)
    ...     _ = Path(folder, "space.yaml").write_text(space)
    ...     project = foretrain.Project.create(f"{folder}/proxies", f"{folder}/space.yaml", workers=1)
    ...     _ = project.train(get_executor("local", workers=1))
    ...     stage = foretrain.next_stage(project, {"params": 2e5, "tokens": 256e3}, foretrain.StageBudget(None, 1e9))
    >>> stage.stage, stage.written, bool(stage.half_width[-1] < stage.half_width[0])
    ('next-1', True, True)
    """
    import scipy.linalg  # noqa: F401 - its BLAS must be there before threads are limited

    domains = domain_facts(project.store())
    planned = with_mix(planned, domains, named_mixes(project.space.mix, domains, "mix")[0])
    mix = {name.removeprefix("mix."): share for name, share in planned.items() if name.startswith("mix.") and share}
    flops = 6.0 * planned["params"] * planned["tokens"]
    stage, runs = project.next_stage(), project.candidates(mix)
    runs = [run for run in runs if 6.0 * run.shape.params_total * run.tokens < flops]
    if not runs:
        raise InfeasibleError("the planned run is smaller than every run that could be added; train it itself")
    most = flops * (_OF_PLAN if budget == StageBudget() else 1.0)
    pool = _Pool(project.machine, len(domains), runs, planned, budget, most)
    pool.check()
    report = progress or (lambda text, share: None)
    report("fitting the results so far", 0.0)
    observations = Observations.from_table(project.table(), "loss")
    with one_thread():  # the last digits depend on the number of threads
        model = fit_loss_model(observations, AUTO, public_prior())
        prediction = model.predict(pool.region.columns)
        width = Width.of(prediction, model, pool.candidates, pool.region)
        report(f"{len(runs)} runs to choose from", 0.5)
        inside = bool(prediction.extrapolation_decades[0] <= 0)
        selection = pool.choose(_belief(model, observations, pool, inside), width, precision)
        selection = selection if precision is not None else selection.worthwhile()
    chosen = tuple(runs[number] for number in selection.runs)
    assert selection.half_width is not None  # a width was given
    widths = selection.half_width
    _log.info("%s: chose %d of %d runs, ±%.2g → ±%.2g", stage, len(chosen), len(runs), widths[0], widths[-1])
    # without a budget, a stage that misses its aim may be far larger than anyone wants
    missed = budget == StageBudget() and precision is not None and not selection.reaches(precision)
    written = bool(chosen) and not missed
    folder = project.add(chosen) if written else project.folder / stage
    return NextStage(
        stage=stage,
        folder=folder,
        written=written,
        planned=planned,
        runs=chosen,
        pool=len(runs),
        law=model.fit.law.name,
        loss_nats=float(prediction.loss_nats[0]),
        half_width=selection.half_width,
        estimate=pool.estimate(chosen),
        workers=project.machine.workers,
        budget=budget,
        precision=precision,
        notes=tuple(_notes(selection, inside, pool, precision)),
    )


class _Pool:
    """The project's candidate runs as rows of a run table, with their costs, beside the planned run."""

    def __init__(
        self,
        machine: Machine,
        domains: int,
        runs: Sequence[ProxyRun],
        planned: Mapping[str, float],
        budget: StageBudget,
        most_flops: float,
    ) -> None:
        self.machine, self.domains, self.runs, self.budget = machine, domains, runs, budget
        self.most_flops = most_flops
        self.window_s = None if budget.wall_clock_s is None else _FILLED * budget.wall_clock_s
        names = [name for name in planned if name.startswith("mix.")]
        rows = [(number, step) for number, run in enumerate(runs) for step in run.evaluate_steps]
        columns = {
            "params": [runs[number].shape.params_total for number, _ in rows],
            "tokens": [step * runs[number].batch_tokens for number, step in rows],
            **{name: [runs[number].mix.get(name.removeprefix("mix."), 0.0) for number, _ in rows] for name in names},
        }
        self.region = Region({name: np.array([float(planned[name])]) for name in columns})
        self.candidates = Candidates(
            {name: np.array(values, dtype=float) for name, values in columns.items()},
            np.array([self._cost(run) for run in runs]),
            np.array([number for number, _ in rows], dtype=int),
        )

    def check(self) -> None:
        """Raise InfeasibleError, naming the cheapest run, if the budget pays for none."""
        if not np.isfinite(self.candidates.cost).any():
            raise self._too_small()

    def choose(self, belief: JointPosterior, width: Width, precision: float | None) -> Selection:
        """The selection whose predicted wall clock or FLOPs fit the budget."""
        if self.window_s is None:
            limit = min(self.budget.training_flops or np.inf, self.most_flops)
            if self.candidates.cost.min() > limit:
                return self._none(belief, width)
            return choose_runs(belief, self.candidates, self.region, limit, width=width, precision=precision)
        limit = self.machine.workers * self.window_s
        found = choose_runs(belief, self.candidates, self.region, limit, width=width, precision=precision)
        for _ in range(_ROUNDS):  # workers start, compile, and wait for the longest run
            limit *= _TRIMMED * self.window_s / max(self._wall_s(found.runs), _TRIMMED * self.window_s)
            if self._wall_s(found.runs) <= self.window_s or limit < self.candidates.cost.min():
                break
            found = choose_runs(belief, self.candidates, self.region, limit, width=width, precision=precision)
        flops = np.cumsum([0.0, *(self.runs[number].training_flops for number in found.runs)])
        fitting = [n for n in range(len(found.runs) + 1) if self._wall_s(found.runs[:n]) <= self.window_s]
        return found.first(max(n for n in fitting if flops[n] <= self.most_flops))

    def _none(self, belief: JointPosterior, width: Width) -> Selection:
        """No run at all, where each costs too much beside the planned one."""
        cheapest = choose_runs(belief, self.candidates, self.region, float(self.candidates.cost.min()), width=width)
        return cheapest.first(0)

    def _wall_s(self, numbers: Sequence[int]) -> float:
        return self.estimate([self.runs[number] for number in numbers]).wall_clock_s

    def estimate(self, runs: Sequence[ProxyRun]) -> Estimate:
        """What runs cost on the project's machine."""
        return estimate(runs, self.machine, self.domains)

    def _cost(self, run: ProxyRun) -> float:
        """Busy seconds of a worker where time is limited, else FLOPs; infinite for what the budget can't pay alone."""
        if self.window_s is None:
            flops, limit = run.training_flops, self.budget.training_flops
            return flops if limit is None or flops <= limit else np.inf
        if self.estimate([run]).wall_clock_s > self.window_s:
            return np.inf
        return sum(group.busy_s for group in groups([run], self.machine, self.domains))

    def _too_small(self) -> InfeasibleError:
        """The error that names the cheapest run."""
        cheapest = min(self.runs, key=lambda run: run.training_flops)
        alone = self.estimate([cheapest])
        size = f"{format_count(cheapest.shape.params_total)} parameters, {format_count(cheapest.tokens)} tokens"
        if self.budget.wall_clock_s is None:
            given = format_flops(self.budget.training_flops or 0.0)
            needed = format_flops(cheapest.training_flops)
            return InfeasibleError(f"--budget: {given} pays for no run: the cheapest ({size}) takes {needed}")
        return InfeasibleError(
            f"--budget: {format_duration(self.budget.wall_clock_s)}, of which {_FILLED:.0%} are planned for, is too "
            f"short: the cheapest run ({size}) is predicted to take {format_duration(alone.wall_clock_s)}, start "
            "included"
        )


def _belief(model: LossModel, observations: Observations, pool: _Pool, inside: bool) -> JointPosterior:
    """The law's belief; among the fitted runs that of the learner on top of it, which knows nothing of larger ones."""
    law = LawPosterior.of(model.fit.law, public_prior(), pool.region, pool.candidates.columns, observations, model.fit)
    return SurrogatePosterior(law, model.fit, model.surrogate) if inside and model.surrogate is not None else law


def _notes(selection: Selection, inside: bool, pool: _Pool, precision: float | None) -> list[str]:
    """What a reader should know beside the figures."""
    widths = selection.half_width
    assert widths is not None
    notes = []
    if inside:
        notes.append("the planned run lies within the fitted range: its loss is interpolated, not extrapolated")
    if precision is not None and widths[0] <= precision:
        notes.append(f"±{precision:.2%} is reached already: no further run is needed")
    elif precision is not None and widths[-1] > precision:
        if pool.budget == StageBudget():
            limited, then = f"a pool of {len(pool.runs)} runs", "; nothing is written, give a --budget to go on"
        else:
            limited, then = "this budget", ""
        notes.append(f"±{precision:.2%} can't be reached with {limited}: ±{widths[-1]:.2%} at most{then}")
    planned_flops = 6.0 * float(pool.region.columns["params"][0]) * float(pool.region.columns["tokens"][0])
    spent = sum(pool.runs[number].training_flops for number in selection.runs)
    train_it = f"the planned run itself takes {format_flops(planned_flops)}: train it"
    missed = precision is not None and widths[-1] > precision
    if not selection.runs and min(run.training_flops for run in pool.runs) > pool.most_flops:
        notes.append(f"{train_it}; the cheapest proxy costs more than proxies for it should")
    elif not selection.runs and precision is None:
        notes.append("no run of the pool would tell more of the planned one: nothing is added")
    elif spent > _OF_PLAN * planned_flops:
        notes.append(f"these proxies cost {spent / planned_flops:.0%} of that, and only estimate its loss: {train_it}")
    elif missed and pool.budget == StageBudget():
        notes.append(f"proxies for {_OF_PLAN:.0%} of its FLOPs don't tell it so exactly; {train_it}")
    return notes
