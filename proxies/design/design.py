"""`design`: the runs of a proxy space, reduced in a stated order until they fit the time budget.

A campaign has up to two stages. Where the learning rate is a range, the stage `lr` comes first; `pick_lr` chooses from
its losses, and the stage `main` trains the ladder, the mixes and the Sobol points at the chosen rate. Each stage is a
design of its own; that of `lr` accounts for the time of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal

from ...core.errors import ConfigError, InfeasibleError
from ...core.units import format_count, format_duration, format_flops
from ..runs import ProxyRun
from ._shrink import dropped, smaller
from .design_parts import Part, PartName, lr_variants, make_parts, runs_of
from .estimate import Estimate, Machine, estimate
from .learning_rate import LearningRateChoice
from .mixes import DomainFacts, check_epochs
from .space import ProxySpace

__all__ = ["Design", "Stage", "design"]

Stage = Literal["lr", "main"]

_FILLED = 0.9
"""Part of a time budget that is planned for: predicted times are right to some ten per cent."""

_MOST_RUNS = 20_000


@dataclass(frozen=True, slots=True)
class Design:
    """The runs of one stage, and what this stage and the ones after it will cost.

    `estimates` has an entry per stage still to come, this one first; `dropped` says what the time budget removed;
    `epochs` is the most that any run of this stage repeats each domain.
    """

    stage: Stage
    runs: tuple[ProxyRun, ...]
    estimates: Mapping[Stage, Estimate]
    machine: Machine
    time_budget_s: float | None
    dropped: tuple[str, ...]
    epochs: Mapping[str, float]

    @property
    def wall_clock_s(self) -> float:
        """Predicted wall clock of this stage and those after it."""
        return sum(stage.wall_clock_s for stage in self.estimates.values())

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON: everything but the runs themselves."""
        totals = self.estimates.values()
        return {
            "stage": self.stage,
            "runs": len(self.runs),
            "stages": {name: stage.to_dict() for name, stage in self.estimates.items()},
            "training_flops": sum(stage.training_flops for stage in totals),
            "wall_clock_s": self.wall_clock_s,
            "time_budget_s": self.time_budget_s,
            "peak_memory_bytes_per_worker": max(stage.peak_memory_bytes for stage in totals),
            "workers": self.machine.workers,
            "speed_flops_per_s_per_worker": self.machine.speed.flops_per_s,
            "device": self.machine.speed.device,
            "dropped": list(self.dropped),
            "epochs": dict(self.epochs),
        }

    def summary(self) -> list[str]:
        """Return a few lines for people, with rounded figures."""
        lines = [
            f"{name}: {stage.runs} runs, {stage.rows} rows, {format_flops(stage.training_flops)}, "
            f"about {format_duration(stage.wall_clock_s)}, {stage.peak_memory_bytes / 2**30:.2g} GiB per worker"
            for name, stage in self.estimates.items()
        ]
        within = "" if self.time_budget_s is None else f" of {format_duration(self.time_budget_s)}"
        lines.append(f"together about {format_duration(self.wall_clock_s)}{within} on {self.machine.workers} workers")
        return lines + [f"dropped to fit: {what}" for what in self.dropped]


def design(
    space: ProxySpace,
    domains: Mapping[str, DomainFacts],
    vocab_size: int,
    machine: Machine,
    time_budget_s: float | None = None,
    lr: LearningRateChoice | None = None,
) -> Design:
    """Return the runs of the next stage: `lr` if a range is to be tuned and `lr` isn't given, else `main`.

    `time_budget_s` is the wall clock that is left, for this stage and those after it; None for no limit. Nine tenths of
    it are planned for. Whatever doesn't fit is dropped, from the part of the design that takes longest, and `dropped`
    says what (the order within a part: `_shrink.smaller`).

    Raises ConfigError for a space that doesn't fit the domains or has too many runs, and InfeasibleError where not even
    the smallest campaign fits the time, or a domain can't supply a run.
    """
    asked = make_parts(space, domains, vocab_size)
    if lr is not None:
        asked.pop("lr", None)
    count = sum(_count(part, space) for part in asked.values())
    if count > _MOST_RUNS:
        raise ConfigError(f"{space.where}: asks for {count} runs; expected at most {_MOST_RUNS}")
    chosen = lr or space.lr.fixed or space.lr.low
    parts = asked if time_budget_s is None else _fitted(asked, space, len(domains), machine, time_budget_s)
    stages = _stages(parts, space, chosen)
    stage: Stage = "lr" if "lr" in stages else "main"
    for runs in stages.values():
        for run in runs:
            check_epochs(run.mix, run.tokens, domains, run.run_id, run.selection)
    return Design(
        stage=stage,
        runs=tuple(stages[stage]),
        estimates={name: estimate(runs, machine, len(domains)) for name, runs in stages.items()},
        machine=machine,
        time_budget_s=time_budget_s,
        dropped=tuple(dropped(asked, parts)),
        epochs=_most_epochs(stages[stage], domains),
    )


def _count(part: Part, space: ProxySpace) -> int:
    """Return how many runs a part has, without making them."""
    lengths = 1 if space.one_run_gives_every_token_count else len(part.tokens)
    return len(part.shapes) * len(part.variants) * part.seeds * lengths


def _stages(
    parts: Mapping[PartName, Part], space: ProxySpace, lr: float | LearningRateChoice
) -> dict[Stage, list[ProxyRun]]:
    """Return the runs of each stage that has any, in order; the rate of what isn't tuned yet changes no cost."""
    runs = {name: runs_of(part, space, lr) for name, part in parts.items()}
    tuning = runs.pop("lr", [])
    main: dict[Stage, list[ProxyRun]] = {"main": list(chain.from_iterable(runs.values()))}
    return {"lr": tuning, **main} if tuning else main


def _fitted(
    asked: Mapping[PartName, Part], space: ProxySpace, domains: int, machine: Machine, budget_s: float
) -> dict[PartName, Part]:
    """Return parts whose predicted time fits the budget. Raises InfeasibleError."""
    parts: dict[PartName, Part] = dict(asked)
    anyhow = space.lr.fixed or space.lr.low
    while True:
        stages = _stages(parts, space, anyhow)
        needed_s = sum(estimate(runs, machine, domains).wall_clock_s for runs in stages.values())
        if needed_s <= _FILLED * budget_s:
            return parts
        busy = {name: estimate(runs_of(part, space, anyhow), machine, domains).busy_s for name, part in parts.items()}
        for name in sorted(parts, key=lambda name: -busy[name]):
            if (less := _smaller(parts[name], space)) is not None:
                parts[name] = less
                break
        else:
            raise _infeasible(parts["ladder"], space, domains, machine, budget_s, needed_s)


def _smaller(part: Part, space: ProxySpace) -> Part | None:
    """Return the part with the next thing dropped; fewer learning rates are spread anew over the whole range."""
    less = smaller(part)
    if less is None or less.name != "lr" or len(less.variants) == len(part.variants):
        return less
    return replace(less, variants=lr_variants(space, part.variants[0].mix, len(less.variants)))


def _infeasible(
    ladder: Part, space: ProxySpace, domains: int, machine: Machine, budget_s: float, needed_s: float
) -> InfeasibleError:
    """Return the error that names the cheapest run and what the smallest campaign needs."""
    cheapest = runs_of(ladder, space, space.lr.low)[0]
    alone_s = estimate([cheapest], machine, domains).wall_clock_s
    whole = f", the smallest campaign {format_duration(needed_s)}" if needed_s > alone_s * (1 + 1e-9) else ""
    return InfeasibleError(
        f"time_budget: {format_duration(budget_s)}, of which {_FILLED:.0%} are planned for, is too short: the cheapest "
        f"run ({format_count(cheapest.shape.params_total)} parameters, {format_count(cheapest.tokens)} tokens) is "
        f"predicted to take {format_duration(alone_s)}, start included{whole}; allow more time, or ask for smaller "
        "sizes or fewer tokens"
    )


def _most_epochs(runs: list[ProxyRun], domains: Mapping[str, DomainFacts]) -> dict[str, float]:
    """Return the most that any run repeats each domain."""
    return {
        name: max(run.mix.get(name, 0.0) * run.tokens / facts.tokens_of(run.selection) for run in runs)
        for name, facts in domains.items()
    }
