"""`simulate proxies train --plan`: the run that a plan describes, trained for real as a proxy, to check its forecast.

    plan ─► shape, mix, tokens, rates of a `ProxyRun` ─► a campaign of its own ─► one row of a run table

What the plan doesn't state is the project's: its text, batch, recipe and tuned learning rate. The row joins no table of
proxies, so that a predictor fitted on these hasn't seen it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ..core.errors import ConfigError, InfeasibleError
from ..core.model.schedules import Schedule, ScheduleName
from ..core.progress import Progress
from ..core.reading.config_messages import Origins
from ..core.reading.config_reader import validated
from ..core.units import format_count, format_duration, shown
from ..proxies.design.mixes import DomainFacts, check_epochs, domain_facts, named_mixes
from ..proxies.runs import ProxyRun, Recipe

if TYPE_CHECKING:
    from ..core.model.architecture import Architecture
    from ..proxies.executors import Executor
    from ..proxies.project import Project
    from ..proxies.results import DomainLoss, RunResult
    from ..simulator.config.run_config import OptimConfig, RunConfig

__all__ = ["PlannedProxy", "TrainedPlan", "planned_proxy", "train_planned"]

_OPTIMIZER = "adamw"
_PLAIN = Schedule(name="wsd", steps=1)
"""What a proxy's decay is like."""


@dataclass(frozen=True)
class PlannedProxy:
    """The run of a plan as a proxy."""

    run: ProxyRun
    predicted_s: float
    """Wall clock that it is predicted to take here."""
    notes: tuple[str, ...]
    """Where it is another run than the plan's, in plain sentences."""


@dataclass(frozen=True)
class TrainedPlan:
    """The run of a plan, trained to its end, and what should be known of it."""

    run: ProxyRun
    result: RunResult
    folder: Path
    """The campaign that holds it."""
    out: str
    """The run table that its row was written into."""
    notes: tuple[str, ...]
    """Where it is another run than the plan's, in plain sentences."""

    @property
    def losses(self) -> Mapping[str, DomainLoss]:
        """Validation loss at the end by domain, nats per token; none of a run that diverged before."""
        return self.result.evaluations[-1].losses if self.result.evaluations else {}

    @property
    def loss_nats(self) -> float | None:
        """Mean of the domains' losses, which is `loss` in the table; None where there is none."""
        return math.fsum(loss.mean_nats for loss in self.losses.values()) / len(self.losses) if self.losses else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, units in the names."""
        return {
            "out": self.out,
            "folder": str(self.folder),
            "status": self.result.status,
            "diverged_step": self.result.diverged_step,
            "params": self.run.shape.params_total,
            "tokens": self.run.steps * self.run.batch_tokens,
            "training_flops": self.run.training_flops,
            "loss_nats": self.loss_nats,
            "losses": {domain: loss._asdict() for domain, loss in self.losses.items()},
            "run": self.run.model_dump(mode="json"),
            "notes": list(self.notes),
        }


def planned_proxy(project: Project, plan: RunConfig, most_s: float) -> PlannedProxy:
    """The run of a plan as a proxy of a project, whose own proxies need not be trained.

    Args:
        project: Whose text, recipe and speed are taken.
        plan: The run.
        most_s: Wall-clock seconds that it may be predicted to take.

    Raises:
        ConfigError: The plan asks for what a proxy can't be.
        InfeasibleError: It would take longer, or repeats text more often than is allowed.
        CampaignError: The project's tokens have changed.
    """
    from ..proxies.models import build_model

    space, store = project.space, project.store()
    domains = domain_facts(store)
    shape, notes = _shape(project, plan, store.vocab_size)
    try:
        build_model(space.model, shape)
    except ConfigError as error:
        raise ConfigError(f"model.architecture: {error}") from None
    if plan.data.synthetic_share > 0:
        raise ConfigError(
            f"data.synthetic.share: got {plan.data.synthetic_share:g} of the tokens trained on; expected 0, for the "
            "project's text is real: simulate proxies generations trains on synthetic text"
        )
    mix = plan.data.mix or named_mixes(space.mix, domains, "mix")[0]
    for domain in mix:
        if domain not in domains:
            expected = ", ".join(domains)
            raise ConfigError(f"data.mix.{domain}: the project has no such domain; expected one of {expected}")
    stocks = _stocks(plan, mix)
    check_epochs(mix, plan.data.tokens, domains, "data.tokens")
    notes += _repeats(plan, mix, stocks, domains)
    if plan.data.selection is not None:
        kind = plan.data.selection.kind
        notes.append(f"data.selection: the project's text is taken to be selected by {kind} as its corpora state it")
    batch = _batch_sequences(plan.optim.batch_tokens, shape.context_length) or space.batch_sequences
    planned = ProxyRun(
        run_id="planned",
        model=space.model,
        shape=shape,
        recipe=_recipe(project, plan.optim, shape, batch * shape.context_length),
        tokens=plan.data.tokens,
        batch_sequences=batch,
        mix=mix,
        unique_tokens=stocks,
        seed=space.seed,
    )
    stated = plan.optim.warmup_steps
    if stated is not None and stated > planned.schedule.warmup_steps:
        notes.append(f"warm-up takes {planned.schedule.warmup_steps} steps, not {stated}: a fifth of the run at most")
    cost = project.estimate([planned])
    if cost.wall_clock_s > most_s:
        size = f"{format_count(shape.params_total)} parameters on {format_count(planned.tokens)} tokens"
        needed = f"about {format_duration(cost.wall_clock_s)} here, in {cost.peak_memory_bytes / 2**30:.2g} GiB"
        raise InfeasibleError(
            f"{size} would train for {needed}; expected at most {format_duration(most_s)}: plan a smaller run, or "
            "allow more (--budget)"
        )
    facts = json.dumps(planned.model_dump(mode="json"), sort_keys=True)
    name = f"planned-n{shape.params_total}-d{planned.tokens:.0f}-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"
    return PlannedProxy(planned.model_copy(update={"run_id": name}), cost.wall_clock_s, tuple(notes))


def train_planned(
    project: Project, planned: PlannedProxy, executor: Executor, out: str, progress: Progress | None = None
) -> TrainedPlan:
    """Train the run of a plan, and write its row into a run table.

    Interrupted, the same call goes on from there; a plan that was trained already is not trained again.

    Args:
        project: The project that `planned` is of.
        planned: The run.
        executor: Where it is trained.
        out: The run table to write: .csv or .parquet.
        progress: Called about once a second.

    Raises:
        CampaignError: The text has changed, or training failed.
        RunTableError: The table can't be written.
    """
    project.check_corpus()
    campaign = project.apart(planned.run, planned.predicted_s)
    campaign.train(executor, progress)
    campaign.write_table(out)
    ((_, result),) = campaign.results()
    return TrainedPlan(planned.run, result, campaign.folder, out, planned.notes)


def _shape(project: Project, plan: RunConfig, vocab_size: int) -> tuple[Architecture, list[str]]:
    """The plan's shape; where it states a size alone, that of the project's ladder at this size."""
    if plan.model.architecture is not None:
        return plan.model.architecture, []
    if plan.model.num_experts is not None:
        raise ConfigError(f"model.num_experts: got {plan.model.num_experts}; expected a dense model, as proxies are")
    shape = project.space.family(vocab_size).of_size(plan.model.params_total)
    size = f"{shape.layers} layers of width {shape.width}, {format_count(shape.params_total)} parameters"
    return shape, [f"the plan states no shape: that of the project's models was taken, {size}"]


def _stocks(plan: RunConfig, mix: Mapping[str, float]) -> dict[str, float]:
    """Distinct tokens by domain that the plan's selection keeps, where the plan states them."""
    stock = plan.data.kept_tokens
    if stock is None:
        return dict(plan.data.kept_tokens_by_domain or {})
    used = [domain for domain, share in mix.items() if share > 0]
    if stock >= plan.data.tokens:
        return {}
    if len(used) > 1:
        raise ConfigError(
            f"data.unique_tokens: got {format_count(stock)} for {len(used)} domains; expected "
            "data.unique_tokens_by_domain, for which of them repeats can't be told"
        )
    return {used[0]: stock}


def _repeats(
    plan: RunConfig, mix: Mapping[str, float], stocks: Mapping[str, float], domains: Mapping[str, DomainFacts]
) -> Iterator[str]:
    """Notes on domains of which there is less text than the plan says."""
    for domain, share in mix.items():
        here = domains[domain].train_tokens
        seen = share * plan.data.tokens
        stated = stocks.get(domain, math.inf)
        if seen > here and stated > here:
            counted = "every token as new" if math.isinf(stated) else f"{format_count(stated)} distinct tokens of it"
            yield (
                f"{domain} is seen {seen / here:.2g} times, for there are {format_count(here)} tokens here; "
                f"the plan counts {counted}"
            )


def _batch_sequences(batch_tokens: float | None, context_length: int) -> int | None:
    """Sequences of a step; None where the plan doesn't say. Raises ConfigError for a part of a sequence."""
    if batch_tokens is None:
        return None
    sequences = round(batch_tokens / context_length)
    if sequences < 1 or sequences * context_length != batch_tokens:
        near = max(1, sequences) * context_length
        raise ConfigError(
            f"optim.batch_tokens: got {batch_tokens:g}; expected whole sequences of {context_length} tokens, such as "
            f"{near}"
        )
    return sequences


def _recipe(project: Project, optim: OptimConfig, shape: Architecture, batch_tokens: int) -> Recipe:
    """The project's recipe with what the plan states in its place. Raises ConfigError."""
    if optim.optimizer != _OPTIMIZER:
        raise ConfigError(
            f"optim.optimizer: got {shown(optim.optimizer)}; expected {_OPTIMIZER}, which proxies are trained with"
        )
    schedules = get_args(ScheduleName)
    if optim.schedule not in (None, *schedules):
        expected = ", ".join(schedules)
        raise ConfigError(f"optim.schedule: got {shown(optim.schedule)}; expected one of {expected}, as proxies have")
    for key in ("decay_share", "decay_form"):
        stated, ours = getattr(optim, key), getattr(_PLAIN, key)
        if stated not in (None, ours):
            raise ConfigError(f"optim.{key}: got {shown(stated)}; expected {ours}, as proxies have it")
    warmup = optim.warmup_tokens if optim.warmup_steps is None else optim.warmup_steps * batch_tokens
    stated = {
        "lr": _rate(project, optim.lr, shape.width),
        "schedule": optim.schedule,
        "lr_final": optim.lr_final,
        "warmup_tokens": warmup,
        "weight_decay": optim.weight_decay,
    }
    known = {key: value for key, value in stated.items() if value is not None}
    return validated(Recipe, {**project.space.recipe.model_dump(), **known}, Origins("optim"))


def _rate(project: Project, stated: float | None, width: int) -> float:
    """The peak learning rate at width 64: the plan's, else the project's. Raises ConfigError where neither is known."""
    if stated is not None:
        return stated
    tuned = project.learning_rate()
    rate = project.space.lr.fixed if tuned is None else tuned.at(width)
    if rate is None:
        raise ConfigError(
            "optim.lr: is missing, and the project hasn't tuned its own yet; expected a rate such as 0.005"
        )
    return rate
