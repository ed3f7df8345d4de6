"""`Planner`: an ask-and-tell interface that proposes plans for real training runs and learns from their results.

Proposals and results are stored as trials of an Optuna study in a journal or a database, so that an interrupted
pipeline resumes where it was, and several processes may share one planner. The predictor is fitted on the run table
and all reported results.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ....core.errors import DataWarning, InfeasibleError, InputError, UsageError
from ....core.progress import Progress
from ....core.units import shown
from ....core.version import __version__
from ...config.run_config import RunConfig
from ...forecast.forecast import forecast
from ...predictor.predictor import Predictor
from ..optimize import optimize
from .next_plans import ProposedPlan, apart, judged_at, search_plans
from .outcomes.outcome import RunOutcome
from .planner_start import StudySource, digest_of, run_table, stated, study_on
from .proposals import Expected, Proposal, ProposalResult, expect
from .refit import Refit, lacking, outcome_row
from .results import ReportedResult, headline, headline_nats, read_result

if TYPE_CHECKING:
    from ....datasets.runs.run_table import RunTable
    from ..result import Optimization
    from .proposal_store import Entry

__all__ = ["Planner"]

_QUANTILES = (0.005, 0.995)
_FAR = 0.005  # beyond the 99 % interval
_OTHER_TOKENS = 1e-3  # a run that saw other tokens than planned is compared at those
_OTHER_PARAMS = 0.05
_MOST_PROPOSALS = 10_000


@dataclass(frozen=True)
class _Pending:
    """A result that is about to be stored."""

    entry: Entry
    told: RunOutcome
    digest: str
    """Digest of the result as it was reported, before unused losses were removed."""
    config: RunConfig | None
    row: Mapping[str, Any] | None
    notes: tuple[str, ...]


class Planner:
    """Plans real runs one after another: `ask` for plans, train them, `tell` their results.

    The predictor is fitted on the run table and all results so far, so that each result improves the next plan.

    >>> import numpy as np
    >>> import pandas as pd
    >>> import foretrain
    >>> params = np.repeat([1e7, 3e7, 1e8, 3e8], 3)
    >>> tokens = params * np.tile([5, 20, 80], 4)
    >>> loss = 1.7 + 400 * params**-0.34 + 1500 * tokens**-0.34
    >>> table = foretrain.RunTable.from_frame(pd.DataFrame({"params": params, "tokens": tokens, "loss": loss}))
    >>> study = {
    ...     "run": {"model": {"params": "1B"}, "data": {"tokens": "20B"}},
    ...     "space": {"data.tokens": {"low": "10B", "high": "100B", "log": True}},
    ...     "objective": {"minimise": "loss_nats"},
    ...     "search": {"trials": 6},
    ... }
    >>> planner = foretrain.Planner(study, table, fit={"law": "chinchilla"})
    >>> (proposal,) = planner.ask()
    >>> result = planner.tell(proposal, 2.4)  # the loss that the real run reached, nats per token
    >>> len(planner.table), planner.waiting
    (13, [])
    """

    def __init__(
        self,
        config: StudySource,
        runs: RunTable | str | os.PathLike[str],
        *,
        fit: Mapping[str, Any] | None = None,
        columns: Mapping[str, str] | None = None,
        storage: str | None = None,
        name: str | None = None,
        explore: float | None = None,
    ) -> None:
        """Open a planner for a study on a table of runs: a new one, or one as it was left in its storage.

        Args:
            config: A study, its file, or the mapping that such a file would hold. Its predictor is replaced by one that
                is fitted on `runs` and on every result.
            runs: A run table, or the file of one.
            fit: Options of `Predictor.fit`: law, prior, fixed, surrogate, seed.
            columns: Standard names of columns, mapped to the table's own names.
            storage: A journal file or the URL of a database; by default the study's, otherwise memory.
            name: The planner's name in its storage; by default the study's.
            explore: Quantile of the forecast at which plans are judged; by default each goal's own, which is the median
                unless it says otherwise. 0.1 is optimistic and prefers plans of which less is known.

        Raises:
            UsageError: `runs` is not a table, or `explore` is out of range.
            ConfigError: Something is wrong with the study.
            RunTableError: Something is wrong with the table.
            FitError: The table can't be fitted.
            InputError: The storage can't be used.
        """
        from .proposal_store import ProposalStore

        if explore is not None and not _QUANTILES[0] <= explore <= _QUANTILES[1]:
            raise UsageError(f"explore: got {shown(explore)}; expected a quantile between 0.005 and 0.995, such as 0.1")
        self.explore = explore
        self._refit = Refit(run_table(runs, columns), fit or {})
        stated_name, stated_storage = stated(config)
        self.name = name or stated_name
        self.storage = storage or stated_storage
        self._lock = threading.RLock()
        self._store = ProposalStore(self.storage, f"{self.name}.planner")  # beside a search of the same name
        told = _fitted(self._store.entries())
        self._fitted_on = list(told)
        self._predictor = self._refit.predictor(list(told.values()))
        self.study = study_on(config, self._predictor)
        self._store.begin(digest_of(self.study, self._refit.base))
        self._weights = headline(self.study)

    @property
    def predictor(self) -> Predictor:
        """Fitted on the table and everything that was told until now, by whichever process."""
        self._follow()
        return self._predictor

    @property
    def table(self) -> RunTable:
        """The run table with the told results beside its own rows."""
        return self._refit.table(list(_fitted(self._store.entries()).values()))

    @property
    def waiting(self) -> list[Proposal]:
        """The proposals without a result, also those that a process asked for which has died since."""
        self._follow()
        return [self._proposal(entry) for entry in self._store.entries() if entry.waiting]

    @property
    def history(self) -> list[ProposalResult]:
        """Every told result beside what had been forecast, in the order of the proposals."""
        return [self._result(entry) for entry in self._store.entries() if entry.told is not None]

    def ask(self, count: int = 1, *, progress: Progress | None = None) -> list[Proposal]:
        """Up to `count` plans to train, the best first, apart from each other and from those waiting or told.

        Fewer where the space holds no more. Raises InfeasibleError where no plan keeps every limit, or all that do are
        waiting or told.
        """
        if not 1 <= count <= _MOST_PROPOSALS:
            raise UsageError(f"count: got {shown(count)}; expected 1 to {_MOST_PROPOSALS}")
        with self._lock:
            self._follow()
            study = self.study if self.explore is None else judged_at(self.study, self.explore)
            taken = [entry.plan["values"] for entry in self._store.entries() if entry.waiting or entry.told]
            proposals: list[Proposal] = []
            for plan in search_plans(study, taken, progress):
                proposal = self._claim(plan)
                proposals += [] if proposal is None else [proposal]
                if len(proposals) == count:
                    break
        if not proposals:
            raise InfeasibleError(
                f"{self.name}: every plan that keeps the limits is waiting or told ({len(taken)} of them); expected "
                "a wider space"
            )
        return proposals

    def tell(self, proposal: Proposal | int | None, result: ReportedResult) -> ProposalResult:
        """Take what became of a proposal, fit anew, and say what that changed.

        `result` is a `RunOutcome` (which may name its proposal itself), the loss of the study's own target in nats per
        token, losses by target, or what went wrong: None or "failed", "diverged". A run without a loss is written down
        and not fitted. The same result again changes nothing. Raises InputError for an unknown proposal, one that was
        given up, another result than before, and a loss that is none.
        """
        number = proposal.number if isinstance(proposal, Proposal) else proposal
        with self._lock:
            return self._tell([self._news(number, result)])[0]

    def tell_from(
        self,
        source: str | os.PathLike[str],
        number: int | None = None,
        *,
        columns: Mapping[str, str] | None = None,
    ) -> list[ProposalResult]:
        """Tell the runs of a file or a run's folder (W&B, MLflow, a log of metrics), as `read_outcome` reads them.

        Each names its proposal as in `watch`; `number` says it of a single run. Nothing is taken if one can't be.
        """
        from .outcomes.reading import TRIAL_KEY, Asked, read_outcomes

        with self._lock:
            self._follow()
            configs = {entry.number: self._config(entry) for entry in self._store.entries()}
            own = None if number is None else self.config(number)
            told = read_outcomes(source, Asked(own, configs, self.name, columns or {}))
            if number is not None and len(told) > 1:
                raise InputError(f"{source}: holds {len(told)} runs; expected the one of trial {number}")
            if not told:
                raise InputError(f"{source}: no run in it is over; expected the result of one that is")
            try:
                return self._tell([self._news(number, one) for one in told])
            except InputError as error:
                raise type(error)(f"{source}: {error} (a run names its proposal by {TRIAL_KEY})") from None

    def watch(
        self,
        folder: str | os.PathLike[str],
        on_told: Callable[[ProposalResult], None] | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        quiet_s: float = 600.0,
    ) -> list[ProposalResult]:
        """Look once through a folder that runs write to (W&B, MLflow, CSV, JSON lines), and take what is new.

        A run belongs to the proposal that its column or tag `foretrain_trial` numbers, or to the one of its name;
        others are left alone, a log or a run's folder with a DataWarning. `quiet_s` is how long a file must be
        untouched to count as finished where nothing in it says so. `on_told` is called with each result. Results that
        can't be taken are warned of (DataWarning).
        """
        from .outcomes.watching import new_results

        with self._lock:
            self._follow()
            entries = self._store.entries()
            seen = {entry.told["digest"] for entry in entries if entry.told}
            configs = {entry.number: self._config(entry) for entry in entries}
            found = new_results(folder, seen, study=self.name, configs=configs, columns=columns, quiet_s=quiet_s)
            self._warn_of_strangers(found)
            news: dict[int, _Pending] = {}
            for told in found:
                if told.trial is None:
                    continue
                try:
                    one = self._news(None, told)
                    if one.entry.told is not None:
                        self._same_or_raise(one.entry, one.told)
                        continue
                    self._refit.table([] if one.row is None else [one.row])
                    if one.entry.number in news:
                        raise InputError(f"trial {told.trial}: has another result in {news[told.trial].told.where}")
                except InputError as error:
                    warnings.warn(f"{told.where}: {error}", DataWarning, stacklevel=2)
                else:
                    news[one.entry.number] = one
            results = self._tell(list(news.values()))
        if on_told is not None:
            for result in results:
                on_told(result)
        return results

    def _warn_of_strangers(self, found: list[RunOutcome]) -> None:
        """A DataWarning of each log or run folder that names no proposal; the rows of an export may be other runs."""
        from .outcomes.reading import TRIAL_KEY

        for told in found:
            if told.trial is None and ", line " not in told.where:
                text = f"{told.where}: names no proposal and is left alone; expected {TRIAL_KEY}, or a name like "
                warnings.warn(f"{text}{self.name}-0", DataWarning, stacklevel=3)

    def give_up(self, number: int, why: str = "given up") -> None:
        """Write down that a proposal will have no result; its plan may be proposed again. InputError if not waiting."""
        if not self._entry(number).waiting or not self._store.give_up(number, why):
            raise InputError(f"trial {number}: isn't waiting any more; {self._expected()}")

    def config(self, number: int) -> RunConfig:
        """The plan of a proposal. InputError if there is none of that number."""
        return self._config(self._entry(number))

    def best(self, *, progress: Progress | None = None) -> Optimization:
        """The best plan by the predictor as it is now: an ordinary search, whose trials aren't kept."""
        self._follow()
        with self._lock:
            options = self.study.options.model_copy(update={"storage": None})
            return optimize(replace(self.study, options=options), progress=progress)

    def status(self) -> dict[str, Any]:
        """Plain facts for JSON: what waits, what was told, and what the predictor rests on."""
        entries = self._store.entries()
        waiting, history = self.waiting, self.history
        return {
            "name": self.name,
            "storage": self.storage,
            "waiting": [proposal.to_dict() for proposal in waiting],
            "history": [result.to_dict() for result in history],
            "given_up": {str(entry.number): entry.why for entry in entries if not entry.waiting and entry.told is None},
            "table": {"where": self._refit.base.where, "rows": len(self._refit.base), "told": len(_fitted(entries))},
            "version": __version__,
        }

    # asking

    def _claim(self, plan: ProposedPlan) -> Proposal | None:
        """Store a plan as a proposal; None if another process has just stored a similar one."""
        config = self.study.space.config(plan.values)
        facts = {"values": dict(plan.values), "config": config.to_mapping(), "goals": list(plan.evaluation.goals)}
        number = self._store.add(facts, plan.params, plan.distributions)
        entries = self._store.entries()
        before = [entry for entry in entries if entry.number < number and (entry.waiting or entry.told)]
        if any(apart(self.study.space, plan.values, entry.plan["values"]) < plan.spacing for entry in before):
            self._store.give_up(number, "another process asked for the same plan at the same time")
            return None
        return self._proposal(next(entry for entry in entries if entry.number == number))

    def _proposal(self, entry: Entry) -> Proposal:
        config = self._config(entry)
        seen = forecast(config, self._predictor, self.study.step_times)
        return Proposal(entry.number, self._name(entry.number), entry.plan["values"], config, seen)

    def _config(self, entry: Entry) -> RunConfig:
        return RunConfig.from_mapping({**entry.plan["config"], "name": self._name(entry.number)}, where="proposal")

    def _name(self, number: int) -> str:
        return f"{self.name}-{number}"

    # telling

    def _news(self, number: int | None, result: ReportedResult) -> _Pending:
        """The proposal that a result belongs to, and the result as it will be stored. InputError if it is invalid."""
        if isinstance(result, RunOutcome) and result.trial is not None:
            if number is not None and number != result.trial:
                raise InputError(f"{result.where}: is of trial {result.trial}; expected the result of trial {number}")
            number = result.trial
        if number is None:
            raise InputError(f"the result doesn't say which proposal it belongs to; {self._expected()}")
        entry = self._entry(number)
        if not entry.waiting and entry.told is None:
            raise InputError(f"trial {number}: was given up ({entry.why}); {self._expected()}")
        config = self._config(entry)
        told, notes = read_result(self._name(number), config, result, self._refit.base.loss_columns, self._weights)
        digest = result.digest if isinstance(result, RunOutcome) else told.digest
        if told.status != "ok":
            return _Pending(entry, told, digest, None, None, notes)
        headline_nats(told.losses, self._weights)
        if told.tokens is not None and abs(told.tokens / config.data.tokens - 1.0) > _OTHER_TOKENS:
            notes += (f"the run saw {told.tokens:.4g} tokens, not {config.data.tokens:.4g} as planned",)
            values = {**entry.plan["values"], "data.tokens": told.tokens}
            config = self.study.space.config(values).model_copy(update={"name": config.name})
        if told.params is not None and abs(told.params / config.model.params_total - 1.0) > _OTHER_PARAMS:
            notes += (f"the run counts {told.params:.4g} parameters, the plan {config.model.params_total:.4g}",)
        row = outcome_row(self._refit.base, self._predictor, self._name(number), config, told)
        return _Pending(entry, told, digest, config, row, notes + lacking(self._refit.base, row))

    def _tell(self, news: Sequence[_Pending]) -> list[ProposalResult]:
        """Fit on results, then store them, so that a result that can't be fitted isn't stored."""
        self._follow()
        fresh = [one for one in news if one.entry.told is None]
        before = [self._expect(one) for one in fresh]
        rows = [one.row for one in fresh if one.row is not None]
        fitted = self._predictor
        if rows:
            fitted = self._refit.predictor([*_fitted(self._store.entries()).values(), *rows])
        kept = {one.entry.number: self._keep(one, *seen) for one, seen in zip(fresh, before, strict=True)}
        if rows:
            self._use(fitted, [*self._fitted_on, *(one.entry.number for one in fresh if one.row is not None)])
        return [self._answer(one, kept.get(one.entry.number)) for one in news]

    def _keep(self, one: _Pending, before: Mapping[str, Expected], places: Mapping[str, float]) -> ProposalResult:
        number = one.entry.number
        notes = list(one.notes)
        for target, place in places.items():
            if min(place, 1.0 - place) < _FAR:
                side = "below" if place < 0.5 else "above"
                notes.append(f"{target} is far {side} what was forecast, beyond the 99 % interval")
        result = ProposalResult(number, self._name(number), one.told, before, places, {}, tuple(notes))
        loss = headline_nats(one.told.losses, self._weights) if one.told.status == "ok" else None
        record = {**result.record(), "row": one.row, "digest": one.digest}
        self._same_or_raise(self._store.close(number, record, one.digest, loss), one.told)
        return result

    def _answer(self, one: _Pending, result: ProposalResult | None) -> ProposalResult:
        if result is None:
            self._same_or_raise(one.entry, one.told)
            result = replace(self._result(one.entry), news=False)
        return replace(result, after=self._expect(one)[0])

    def _expect(self, one: _Pending) -> tuple[dict[str, Expected], dict[str, float]]:
        return ({}, {}) if one.config is None else expect(self._predictor, one.config, one.told.losses)

    def _same_or_raise(self, entry: Entry, told: RunOutcome) -> None:
        """Raise InputError unless the stored result equals the reported one."""
        kept = None if entry.told is None else self._result(entry).told
        if kept is None or (kept.status, dict(kept.losses)) != (told.status, dict(told.losses)):
            said = "given up" if kept is None else f"told {_summary(kept)}"
            raise InputError(f"trial {entry.number}: was {said} before, which is kept; got {_summary(told)}")

    def _entry(self, number: int) -> Entry:
        found = next((entry for entry in self._store.entries() if entry.number == number), None)
        if found is None:
            raise InputError(f"trial {shown(number)}: {self.name} has no such proposal; {self._expected()}")
        return found

    def _expected(self) -> str:
        waiting = [str(entry.number) for entry in self._store.entries() if entry.waiting]
        return f"expected one that waits: {', '.join(waiting) or 'there is none'}"

    def _result(self, entry: Entry) -> ProposalResult:
        return ProposalResult.restore(entry.number, self._name(entry.number), entry.told or {})

    # the predictor

    def _follow(self) -> None:
        """Refit if results were reported, by any process, since the last fit."""
        with self._lock:
            told = _fitted(self._store.entries())
            if set(told) != set(self._fitted_on):
                self._use(self._refit.predictor(list(told.values())), list(told))

    def _use(self, predictor: Predictor, numbers: list[int]) -> None:
        self._predictor, self._fitted_on = predictor, numbers
        self.study = replace(self.study, predictor=predictor)


def _fitted(entries: Sequence[Entry]) -> dict[int, Mapping[str, Any]]:
    """The table rows of reported runs that have a loss, by the proposal's number."""
    told = {entry.number: entry.told for entry in entries if entry.told is not None}
    return {number: one["row"] for number, one in told.items() if one["row"] is not None}


def _summary(told: RunOutcome) -> str:
    return ", ".join(f"{target} {loss:.6g}" for target, loss in told.losses.items()) or told.status
