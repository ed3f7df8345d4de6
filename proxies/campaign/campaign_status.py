"""The status of a campaign, read from its folder: states of its runs, tokens, pace and time left."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from ...core.units import format_count, format_duration
from ..compute_plan import ComputePlan
from ..runs import ProxyRun
from .campaign_files import CampaignFile, CampaignPaths
from .campaign_time import CampaignTime, campaign_time
from .result_files import is_done, read_result

__all__ = ["CampaignPace", "CampaignStatus", "RunState", "RunStatus", "campaign_status"]

RunState = Literal["planned", "running", "done", "diverged", "failed"]
"""`planned` has no result yet and isn't being trained, though a checkpoint may be there; `done` and `diverged` have a
result; `failed` was given up the last time and is tried again by the next `train`."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One run: its state, the group it is trained in, steps taken and planned, and why it failed if it did.

    `diagnostics` are what its model noted of itself at the last evaluation, such as the load of its experts.
    """

    run_id: str
    state: RunState
    group: int
    step: int
    steps: int
    failure: str | None = None
    diagnostics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CampaignStatus:
    """A campaign as it stands. Tokens are training tokens of all runs; `flops_share` is the share of work done.

    `tokens_per_s` and `eta_s` (seconds) are None while nothing is running; `predicted_s` is what the design expected
    for the whole. `plan` says how it is computed, None where that was never fixed; `time` is None before it is trained.
    """

    counts: dict[RunState, int]
    tokens_done: int
    tokens_total: int
    flops_share: float
    tokens_per_s: float | None
    eta_s: float | None
    predicted_s: float | None
    plan: ComputePlan | None
    time: CampaignTime | None
    runs: tuple[RunStatus, ...]

    @property
    def complete(self) -> bool:
        """Whether every run has a result."""
        return self.counts["done"] + self.counts["diverged"] == len(self.runs)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: the number of runs under the name of each state, `total`, and the rest."""
        facts = asdict(self)
        for run in facts["runs"]:
            if not run["diagnostics"]:
                del run["diagnostics"]
        facts["plan"] = None if self.plan is None else self.plan.model_dump(mode="json", exclude={"shapes"})
        facts["time"] = None if self.time is None else self.time.to_dict()
        return {**facts.pop("counts"), "total": len(self.runs), "complete": self.complete, **facts}


def campaign_status(file: CampaignFile, layout: CampaignPaths) -> CampaignStatus:
    """Read a campaign's status. Raises CampaignError if a result is damaged."""
    runs = {run.run_id: run for run in file.runs}
    found: dict[str, RunStatus] = {}
    tokens_per_s = flops_per_s = 0.0
    for number, run_ids in enumerate(file.groups):
        group = [runs[run_id] for run_id in run_ids]
        statuses, steps_per_s = _group_status(layout, number, group, file.settings.keep_weights)
        found.update({status.run_id: status for status in statuses})
        tokens_per_s += sum(run.batch_tokens for run in group) * steps_per_s
        flops_per_s += sum(run.training_flops / run.steps for run in group) * steps_per_s
    statuses = tuple(found[run.run_id] for run in file.runs)
    total = math.fsum(run.training_flops for run in file.runs)
    done = math.fsum(runs[s.run_id].training_flops * s.step / s.steps for s in statuses)
    return CampaignStatus(
        counts={state: sum(status.state == state for status in statuses) for state in get_args(RunState)},
        tokens_done=sum(status.step * runs[status.run_id].batch_tokens for status in statuses),
        tokens_total=sum(run.steps * run.batch_tokens for run in file.runs),
        flops_share=done / total,
        tokens_per_s=tokens_per_s or None,
        eta_s=(total - done) / flops_per_s if flops_per_s else None,
        predicted_s=file.predicted_s,
        plan=file.plan,
        time=campaign_time(file, layout),
        runs=statuses,
    )


def _group_status(
    layout: CampaignPaths, number: int, runs: list[ProxyRun], with_weights: bool
) -> tuple[list[RunStatus], float]:
    """Status of a group's runs, and the steps per second that it makes just now."""
    results = [_finished(layout, run, number, with_weights) for run in runs]
    finished = [result for result in results if result is not None]
    if len(finished) == len(runs):
        return finished, 0.0
    files = layout.group(number)
    running, progress, failure = files.is_locked(), files.read_progress(), files.read_failure()
    state: RunState = "running" if running else "planned" if failure is None else "failed"
    unfinished = {
        "state": state,
        "group": number,
        "step": 0 if progress is None else min(progress.step, runs[0].steps),
        "steps": runs[0].steps,
        "failure": str(failure) if state == "failed" else None,
    }
    statuses = [result or RunStatus(run.run_id, **unfinished) for run, result in zip(runs, results, strict=True)]
    return statuses, (progress.steps_per_s or 0.0) if running and progress else 0.0


def _finished(layout: CampaignPaths, run: ProxyRun, group: int, with_weights: bool) -> RunStatus | None:
    """Status of a run that has a result; None for any other."""
    folder = layout.run(run.run_id)
    if not is_done(folder, with_weights):
        return None
    result = read_result(folder, run)
    noted = result.evaluations[-1].diagnostics if result.evaluations else {}
    state: RunState = "done" if result.status == "ok" else "diverged"
    return RunStatus(run.run_id, state, group, run.steps, run.steps, diagnostics=dict(noted))


class CampaignPace:
    """Progress of one `train`, cheap enough for once a second: no result is read, only notes of unfinished groups."""

    def __init__(self, file: CampaignFile, layout: CampaignPaths, groups: Sequence[int]) -> None:
        runs = {run.run_id: run for run in file.runs}
        self._layout = layout
        self._members = [[runs[run_id] for run_id in group] for group in file.groups]
        self._flops = [math.fsum(run.training_flops for run in group) for group in self._members]
        self._tokens = [sum(run.steps * run.batch_tokens for run in group) for group in self._members]
        self._unfinished, self._failed = set(groups), 0
        self._started, self._start = time.monotonic(), self._done()

    def ended(self, group: int, successful: bool) -> None:
        """Take note of the end of a group."""
        if successful:
            self._unfinished.discard(group)
        else:
            self._failed += len(self._members[group])

    def read(self) -> tuple[str, float]:
        """Where the campaign is, in words, and the share of its FLOPs that are done."""
        flops, tokens = self._done()
        elapsed = time.monotonic() - self._started
        total, gained = math.fsum(self._flops), flops - self._start[0]
        runs = sum(map(len, self._members))
        left = sum(len(self._members[group]) for group in self._unfinished)
        words = [f"{runs - left} of {runs} runs"]
        if self._failed:
            words.append(f"{self._failed} failed")
        if gained > 0 and elapsed > 0:
            words.append(f"{format_count((tokens - self._start[1]) / elapsed)} tokens/s")
            words.append(f"{format_duration((total - flops) * elapsed / gained)} left")
        return ", ".join(words), flops / total

    def _done(self) -> tuple[float, float]:
        """FLOPs and tokens that are done."""
        flops = tokens = 0.0
        for group in range(len(self._members)):
            share = self._share(group) if group in self._unfinished else 1.0
            flops += share * self._flops[group]
            tokens += share * self._tokens[group]
        return flops, tokens

    def _share(self, group: int) -> float:
        progress = self._layout.group(group).read_progress()
        return 0.0 if progress is None else min(1.0, progress.step / progress.steps)
