"""`optimize(study)`: Optuna over a study's space, with warm starts and a local search from the best trials.

Warm starts are tried first, then the sampler's trials, interleaved with local search from the best plans. The result
is the best plan and the Pareto front, each with its full forecast; if no plan is feasible, the smallest relaxations of
the limits that would make one feasible.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...core.errors import UsageError
from ...core.progress import Progress
from ...core.version import __version__
from ..predictor.predictor import Predictor
from .evaluate import Evaluator
from .local_search.polishing import polished
from .study import Study, for_study
from .trials.records import ORIGIN, evaluations, keep
from .trials.samplers import choose_sampler, make_sampler
from .trials.warm_start import recipes

if TYPE_CHECKING:
    import optuna

    from .result import Optimization

__all__ = ["FORMAT", "as_study", "open_search", "optimize", "run_search", "work"]

_log = logging.getLogger(__name__)

FORMAT = 1
"""Of what a trial's attributes hold; a study of another format isn't taken up again."""

_POLISH_AT = (0.4, 0.75, 0.95)
"""Shares of the trials after which the best plans are polished; the sampler then continues from the result."""


def optimize(
    config: Study | Mapping[str, Any] | str | os.PathLike[str],
    predictor: Predictor | None = None,
    *,
    trials: int | None = None,
    storage: str | None = None,
    progress: Progress | None = None,
) -> Optimization:
    """Search for the best plan of a study.

    A study without a feasible plan is not an error here; the result says so (`Optimization.require_feasible` raises).

    Args:
        config: A `Study`, the path of a study file, or the mapping that such a file would hold.
        predictor: Instead of the one that the study names.
        trials: How many to reach, instead of the study's `search.trials`. They are counted over everything that the
            storage holds, so that an interrupted search goes on where it stopped, and several processes share the work.
        storage: Where trials are kept, instead of the study's `search.storage`.
        progress: Called with what is being done and the share done, 0 to 1.

    Returns:
        The best plan, the Pareto front of several goals, and what the trials say about the search space.

    Raises:
        ConfigError: Something is wrong with the study.
        InputError: The storage can't be used.
        UsageError: `trials` is below 1.

    >>> import foretrain
    >>> study = {
    ...     "run": {"model": {"params": "1B"}, "data": {"tokens": "20B"}},
    ...     "predictor": "web-text",
    ...     "space": {"data.tokens": {"low": "10B", "high": "100B", "log": True}},
    ...     "objective": {"minimise": "loss_nats"},
    ... }
    >>> found = foretrain.optimize(study, trials=6)
    >>> found.feasible, found.best.forecast.config.data.tokens > 50e9
    (True, True)
    """
    from .result import conclude

    study = as_study(config, predictor)
    total = study.options.trials if trials is None else trials
    if total < 1:
        raise UsageError(f"trials: got {total}; expected at least 1")
    evaluator = Evaluator(study)
    where = study.options.storage if storage is None else storage
    sampler = choose_sampler(study, total)
    found = open_search(study, where, sampler)
    earlier = len(evaluations(found))
    _log.info("study %s: %d trials by %s, %d of them there already", study.name, total, sampler, earlier)
    run_search(study, evaluator, found, total, progress)
    return conclude(study, evaluator, found, sampler, where, earlier)


def run_search(
    study: Study, evaluator: Evaluator, found: optuna.Study, total: int, progress: Progress | None = None
) -> None:
    """Recipes, trials and polish, until the Optuna study has `total` complete trials."""
    _Search(study, evaluator, found, total, progress).run()


def work(study: Study, *, trials: int, storage: str) -> None:
    """Try plans of a study that another process leads, until it has so many; no recipes, no polish, no answer."""
    sampler = choose_sampler(study, trials)
    found = open_search(study, storage, sampler)
    search = _Search(study, Evaluator(study), found, trials, None)
    search.trials(trials)


def as_study(config: Study | Mapping[str, Any] | str | os.PathLike[str], predictor: Predictor | None = None) -> Study:
    """A study from whatever describes one."""
    if isinstance(config, Study):
        if predictor is None:
            return config
        # another predictor's trials mean something else
        identity = f"{config.digest} {predictor.name} {predictor.about.get('digest')}"
        digest = hashlib.sha256(identity.encode()).hexdigest()
        return replace(config, predictor=for_study(config.run, config.space, predictor), digest=digest)
    if isinstance(config, Mapping):
        return Study.from_mapping(config, predictor=predictor)
    return Study.load(config, predictor=predictor)


def open_search(study: Study, storage: str | None, sampler: str) -> optuna.Study:
    """The Optuna study that keeps a search's trials, new or as it was left. Errors as `open_storage`, `open_study`."""
    from .storage.opening import open_storage, open_study
    from .storage.quiet import experimental_parts

    stamp = {"format": FORMAT, "version": __version__, "digest": study.digest}
    made = make_sampler(sampler, study.options.seed)
    opened = open_storage(storage)
    found = open_study(opened, study.name, study.directions, stamp, made)
    with experimental_parts():
        found.set_metric_names([goal.name for goal in study.goals])
    return found


class _Search:
    """One process's part of a search."""

    def __init__(
        self, study: Study, evaluator: Evaluator, found: optuna.Study, total: int, progress: Progress | None
    ) -> None:
        self.study = study
        self.evaluator = evaluator
        self.found = found
        self.total = total
        self.progress = progress
        self.done = 0
        self.polished_from: set[str] = set()
        timeout_s = math.inf if study.options.timeout is None else study.options.timeout
        self.ends = time.monotonic() + timeout_s

    def run(self) -> None:
        """Recipes, then trials with polish between."""
        options = self.study.options
        if options.warm_start:
            for name, parameters in recipes(self.study):
                self.enqueue(parameters, name)
        if options.polish:
            for share in _POLISH_AT:
                self.trials(math.floor(share * self.total))
                if self.time_left() > 0 and len(evaluations(self.found)) < self.total:
                    self.polish()
        self.trials(self.total)

    def trials(self, upto: int) -> None:
        """Run trials until the study has so many."""
        from .storage.trials import run_trials

        left = self.time_left()
        if left > 0:
            timeout = None if math.isinf(left) else left
            run_trials(self.found, self.judge, upto, timeout_s=timeout, progress=self.report_trials)

    def judge(self, trial: optuna.Trial) -> Sequence[float]:
        """One trial: the values that the sampler suggests, forecast and judged."""
        values = self.study.space.suggest(trial)
        return keep(trial, self.evaluator(values))

    def polish(self) -> None:
        """Improve the best plans so far, and put what is better in the queue."""
        _log.debug("study %s: polishing after %d trials", self.study.name, self.done)
        known = list(evaluations(self.found).values())
        budget = math.ceil(self.total / len(_POLISH_AT))
        for better in polished(self.evaluator, known, budget, self.polished_from, self.report_polish):
            parameters = self.study.space.encode(better.values)
            if parameters is not None:
                self.enqueue(parameters, "polish")

    def enqueue(self, parameters: dict[str, Any], origin: str) -> None:
        """Put a plan in the queue, unless it was tried already."""
        from .storage.quiet import quiet_log

        with quiet_log():  # which would tell of plans that were tried already
            self.found.enqueue_trial(parameters, user_attrs={ORIGIN: origin}, skip_if_exists=True)

    def time_left(self) -> float:
        """Seconds until the study's timeout; infinite without one."""
        return self.ends - time.monotonic()

    def report_trials(self, done: int, total: int) -> None:
        """Pass on how many trials are done, as a share of all that are wanted (not of this stretch's `total`)."""
        self.done = done
        self.report(f"trial {done} of {self.total}")

    def report_polish(self, share: float) -> None:
        """Pass on that plans are being polished, which adds no trials."""
        self.report("polishing")

    def report(self, what: str) -> None:
        """Pass progress on, if anyone listens."""
        if self.progress is not None:
            self.progress(what, min(self.done / self.total, 1.0))
