"""A planned run on a planned cluster: layout, step time, memory, wall clock, money and energy, each with an interval.

`estimate(config)` chooses the fastest layout that fits where the plan states none, draws step time, failure rate and
interruptions together, and turns the draws into quantities.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ...core.quantity import LEVELS, Quantity, median
from ...core.summary import percent
from ...core.units import shown
from ...datasets.facts.accelerators import catalogue
from ...datasets.facts.optimizers import optimizer_states
from ..config.run_config import RunConfig
from .chance import Chance
from .cluster_estimate import ClusterEstimate, Draws
from .layout_choice import choose_layout, plan_space, plan_steps
from .layouts.candidates import LayoutSpace
from .layouts.layout import ParallelLayout, layout_warnings
from .layouts.unstated import unstated_notes, unstated_sd
from .memory.kernels import kernel_notes
from .memory.memory import GIB, Memory, MemoryCap, memory
from .operations.before_run import BEFORE_RUN, before_run, before_run_notes
from .operations.energy import Energy, energy_of_hours, energy_used
from .operations.goodput import expected_run_time, require_progress
from .operations.goodput_simulation import simulate_run_time
from .operations.money import Cost, cost_of, device_hours, stored_gib
from .operations.run_time import RunTime, finishing_day
from .planned_shape import mixer_note, shape_note
from .step_question import StepQuestion
from .step_time.parts import StepTime
from .step_time.roofline import least_step_s
from .step_time.step_model import StepTimeModel
from .step_time.steps import FRAMEWORKS, GENERATIONS, Steps

__all__ = ["DRAWS", "PlannedStep", "estimate", "plan_step"]

DRAWS = 10_000

_MOST_STEPS = 512  # that are known at once, some 20 kB each
_NORMAL = dict(zip(LEVELS, (0.6745, 1.2816, 1.6449, 1.9600), strict=True))
_COMPUTING = ("matmul", "attention", "elementwise", "recompute", "output_head", "gradients", "optimizer")
_DAY_S = 86_400.0
_STREAMS: dict[str, int] = dict(zip(BEFORE_RUN, (5, 6), strict=True))  # of a seed, beside those of its chance


@dataclass(frozen=True)
class PlannedStep:
    """One optimizer step of a plan in its layout, which doesn't depend on tokens, prices, failures or seeds."""

    fitted: StepTimeModel
    space: LayoutSpace
    layout: ParallelLayout
    steps: Steps
    time: StepTime
    log_sd: float
    """Standard deviation of log step time."""
    memory: Memory


def plan_step(config: RunConfig, fitted: StepTimeModel | None = None, cap: MemoryCap | None = None) -> PlannedStep:
    """The step of a plan in the fastest layout that fits, and keeps to a `cap`, of those that the plan leaves open.

    The search is done once for plans that differ in nothing that it reads. Errors as `estimate`.
    """
    return _searched(StepQuestion(config, plan_space(config), fitted or StepTimeModel.shipped(), cap))


@lru_cache(maxsize=_MOST_STEPS)
def _searched(asked: StepQuestion) -> PlannedStep:
    config, space, fitted = asked.config, asked.space, asked.fitted
    layout = choose_layout(config, space, fitted, asked.cap)
    steps = unstated_sd(plan_steps(config, space, layout), layout, space.stated)
    return PlannedStep(
        fitted, space, layout, steps, fitted.predict(steps), float(fitted.log_sd(steps)[0]), memory(steps)
    )


def estimate(
    config: RunConfig,
    fitted: StepTimeModel | None = None,
    draws: int = DRAWS,
    *,
    step: PlannedStep | None = None,
    chance: Chance | None = None,
) -> ClusterEstimate:
    """Estimate time, memory, cost and energy of a planned run.

    Args:
        config: The plan, with its architecture, batch size and hardware.
        fitted: Predicts the time of a step; by default the shipped model.
        draws: Number of random draws behind the intervals.
        step: What `plan_step` gave for a plan with the same model, batch, hardware and layout, if it is known already.
        chance: What is drawn from, where the plan is to be compared with another; by default its own seed.

    Returns:
        Medians with intervals; the same seed (`config.seed`) gives the same figures.

    Raises:
        ConfigError: The plan leaves out something that is needed.
        InfeasibleError: No layout is possible or fits into memory, or failures leave no time to train.

    >>> import foretrain
    >>> shape = {"layers": 8, "width": 768, "heads": 12, "ffn_width": 2048, "vocab_size": 32000, "context_length": 2048}
    >>> config = foretrain.RunConfig.from_mapping({
    ...     "model": {"architecture": shape},
    ...     "data": {"tokens": "10B"},
    ...     "optim": {"batch_tokens": "512k"},
    ...     "hardware": {"accelerator": "H100-SXM-80", "count": 8, "price_usd_per_hour": 2.0},
    ... })
    >>> found = foretrain.estimate_cluster(config)
    >>> found.cost_usd.median / found.gpu_hours.median > 1.9
    True
    """
    step = step or plan_step(config, fitted)
    return _Estimate(config, step, chance or Chance.own(config.seed, step.fitted, draws)).result()


class _Estimate:
    """Builds one estimate, whose parts share the same draws."""

    def __init__(self, config: RunConfig, step: PlannedStep, chance: Chance) -> None:
        self.config, self.fitted, self.space, self.layout, self.steps = (
            config, step.fitted, step.space, step.layout, step.steps
        )  # fmt: skip
        self.chance = chance
        self.overhead = config.reliability.overhead
        self.time, self.memory = step.time, step.memory
        usual_tokens = float(step.steps.tokens[0])
        typical = float(self.time.total_s[0])
        # no draw is faster than the machines' peak, nor than what would be a model FLOPs utilisation of 100 %
        least = min(max(float(least_step_s(step.steps)[0]), self._at_peak_s(usual_tokens)), typical)
        usual_s = np.maximum(typical * np.exp(step.log_sd * chance.step_errors), least)
        self.number, self.step_tokens, self.as_usual = self._mean_step(usual_tokens)
        self.step_s = self.as_usual * usual_s
        self.run_time = self._run_time()
        self.hours_before = self._hours_before()

    def _run_time(self) -> RunTime:
        config, devices = self.config, self.layout.devices
        steps = (1.0 + self.overhead) * self.number
        typical = self.as_usual * float(self.time.total_s[0]) * steps
        require_progress(expected_run_time(typical, devices, config.reliability), typical, devices, config.reliability)
        chance = self.chance
        productive_s = self.step_s * steps
        return simulate_run_time(productive_s, devices, config.reliability, chance.failure_rates, chance.interruptions)

    def _mean_step(self, usual_tokens: float) -> tuple[float, float, float]:
        """How many steps there are, the tokens of the mean one, and its time as a share of that of the usual batch."""
        plan, tokens = self.config.batches, self.config.data.tokens
        if plan is None or plan.even:
            return tokens / usual_tokens, usual_tokens, 1.0
        number = as_long = 0.0
        for batch, count in plan.parts:
            share, time = self._smaller(batch / (self.config.optim.batch_tokens or batch))
            steps = batch * count / (share * usual_tokens)
            number += steps
            as_long += steps * time
        return number, tokens / number, as_long / number

    def _smaller(self, share: float) -> tuple[float, float]:
        """A step of `share` of the usual batch as the same devices make it, in smaller or more rounds.

        Returns its share of the tokens of the usual step, and of its time. A replica computes one sequence at least:
        where there are fewer, it waits for those that have one.
        """
        usual = self.layout.micro_batch * self.layout.accumulation
        sequences = max(1.0, usual * share)
        micro = min(self.layout.micro_batch, round(sequences))
        rounds = max(1, round(sequences / micro))
        split = replace(self.layout, micro_batch=micro, accumulation=rounds)
        time = float(self.fitted.predict(plan_steps(self.config, self.space, split)).total_s[0])
        return min(share, 1 / usual) if usual * share < 1 else micro * rounds / usual, time / float(
            self.time.total_s[0]
        )

    def result(self) -> ClusterEstimate:
        config, hardware, run_time = self.config, self.config.hardware, self.run_time
        energy, needed = self._energy(), self.memory
        cost = self._cost(energy)
        finish = None if config.start is None else self._finish(config.start)
        budget = config.targets.budget_usd
        gpu_hours = device_hours(run_time, self.layout.devices)
        before = {f"{name}_gpu_hours": hours for name, hours in self.hours_before.items()}
        for hours in before.values():
            gpu_hours = gpu_hours + hours
        peak = float(np.ravel(self.steps.machines.peak_flops)[0])
        energy_mwh = None if energy is None else Quantity.of_draws(energy.total_mwh)
        hours = Quantity.of_draws(gpu_hours)
        cost_usd = None if cost is None else Quantity.of_draws(cost.total_usd)
        power_w = None if energy_mwh is None else 1e6 * energy_mwh.median / config.energy.pue / hours.median
        return ClusterEstimate(
            accelerator=hardware.machine.name,
            devices=self.layout.devices,
            precision=hardware.working_precision,
            framework=FRAMEWORKS[int(self.steps.layouts.framework[0])],
            layout=self.layout,
            step_time_s=Quantity.of_draws(self.step_s),
            steps=self.number,
            step_tokens=self.step_tokens,
            step_parts_s={name: self.as_usual * float(np.ravel(part)[0]) for name, part in self.time.parts.items()},
            tokens_per_s=Quantity.of_draws(self.step_tokens / self.step_s),
            mfu=Quantity.of_draws(self._at_peak_s(self.step_tokens) / self.step_s),
            peak_flops_per_s=peak,
            peak_memory_gib=_memory_quantity(needed),
            memory_parts_gib=_memory_parts(needed),
            usable_memory_gib=float(needed.usable_gib[0]),
            fits=str(needed.verdict(self.space.fit_chance)[0]),
            p_fit=needed.p_fit(),
            overhead=self.overhead,
            wall_clock_days=Quantity.of_draws(run_time.wall_clock_s / _DAY_S),
            wall_clock_shares=run_time.shares(),
            goodput=Quantity.of_draws(self._goodput()),
            interruptions=Quantity.of_draws(run_time.interruptions),
            gpu_hours=hours,
            cost_usd=cost_usd,
            cost_parts_usd=None if cost is None or cost_usd is None else _cost_parts(cost, cost_usd.median),
            usd_per_device_hour=config.usd_per_hour,
            price_published=None if config.prices.published is None else config.prices.published.to_dict(),
            energy_mwh=energy_mwh,
            power_w=power_w,
            pue=config.energy.pue,
            co2e_t=None if energy is None or energy.co2e_t is None else Quantity.of_draws(energy.co2e_t),
            finish=finish,
            p_deadline=None if config.deadline_s is None else run_time.chance_by(config.deadline_s),
            p_budget=None if cost is None or budget is None else float(np.mean(cost.total_usd <= budget)),
            calibrated_on=self.fitted.calibrated_on,
            draws=Draws(
                step_time_s=self.step_s,
                wall_clock_s=run_time.wall_clock_s,
                gpu_hours=gpu_hours,
                cost_usd=None if cost is None else cost.total_usd,
                energy_mwh=None if energy is None else energy.total_mwh,
                **before,
            ),
            **{name: Quantity.of_draws(hours) for name, hours in before.items()},
            notes=tuple(self._notes(needed, cost, energy)),
        )

    def _at_peak_s(self, tokens: float) -> float:
        """Seconds of the model's FLOPs of a step of `tokens` at the datasheet's peak: at a utilisation of 100 %."""
        flops = self.space.architecture.training_flops_per_token() * tokens
        return flops / (float(np.ravel(self.steps.machines.peak_flops)[0]) * self.layout.devices)

    def _goodput(self) -> np.ndarray:
        """Goodput by draw, moved so that the medians of step time, goodput and wall clock agree with each other."""
        run_time = self.run_time
        at_medians = median(run_time.productive_s) / median(run_time.wall_clock_s)
        return run_time.goodput * (at_medians / median(run_time.goodput))

    def _energy(self) -> Energy | None:
        power = self.config.hardware.machine.tdp_w
        if power is None:
            return None
        busy = sum(float(np.ravel(self.time.parts[name])[0]) for name in _COMPUTING) / float(self.time.total_s[0])
        energy = energy_used(self.run_time, self.layout.devices, power, self.config.energy, min(busy, 1.0))
        for hours in self.hours_before.values():
            energy = energy.plus(energy_of_hours(hours, power, self.config.energy))
        return energy

    def _cost(self, energy: Energy | None) -> Cost | None:
        config = self.config
        unique = config.data.distinct_tokens() or config.data.tokens
        stored = stored_gib(config.prices, config.model.params_total, unique)
        per_kwh = config.energy.usd_per_kwh
        cost = cost_of(
            self.run_time, self.layout.devices, config.prices, config.usd_per_hour, stored, energy, per_kwh,
            self.hours_before,
        )  # fmt: skip
        if cost is None or config.prices.spread == 1.0:
            return cost
        dearer = np.exp(np.log(config.prices.spread) * self.chance.prices.standard_normal(len(self.step_s)))
        before = {name: part * dearer for name, part in cost.before_run.items()}
        return replace(cost, compute_usd=cost.compute_usd * dearer, idle_usd=cost.idle_usd * dearer, **before)

    def _hours_before(self) -> dict[str, np.ndarray]:
        """Accelerator hours of what models compute before the run, by draw."""
        peak, found = float(np.ravel(self.steps.machines.peak_flops)[0]), {}
        for name, one in before_run(self.config).items():
            # a stream of its own, the same for plans that are compared: they share how well their models run
            errors = np.random.default_rng([self.config.seed, _STREAMS[name]]).standard_normal(len(self.step_s))
            found[name] = one.device_hours(peak) * np.exp(-one.efficiency_log_sd * errors)
        return found

    def _finish(self, start: datetime.date) -> dict[str, datetime.date]:
        low, median, high = np.quantile(self.run_time.wall_clock_s, [0.05, 0.5, 0.95])
        days = {"median": median, "low_90": low, "high_90": high}
        return {name: finishing_day(start, float(seconds)) for name, seconds in days.items()}

    def _notes(self, needed: Memory, cost: Cost | None, energy: Energy | None) -> list[str]:
        """Caveats of the numbers."""
        hardware, machines = self.config.hardware, self.steps.machines
        notes = layout_warnings(self.space.architecture, self.layout, self.space.per_node)
        notes += unstated_notes(self.steps, self.layout, self.space.stated)
        shape = self.space.architecture
        notes += [note for note in (shape_note(self.config.model, shape), mixer_note(shape)) if note is not None]
        if self.overhead and self.config.reliability.stated_overhead is None:
            notes.append(
                f"outside steps, {self.overhead:.0%}: evaluation, loading, pauses, as published runs took beyond steps "
                "and interruptions; state reliability.overhead from a log of your own"
            )
        notes += self._memory_notes(needed)
        if float(machines.generation) >= len(GENERATIONS):
            notes.append(
                f"no step time measured on {hardware.machine.name} or its kin: efficiencies are the mean of others, "
                "and the interval is wider for it; simulate cluster calibrate narrows it"
            )
        if hardware.release is not None:
            framework = int(np.ravel(self.steps.layouts.framework)[0])
            unmeasured = self.fitted.releases.note(framework, self.space.release, hardware.release)
            notes += [] if unmeasured is None else [f"hardware.{unmeasured}"]
        beyond = self.layout.devices > self.space.per_node
        if beyond and hardware.inter_node_gbit_per_s is None and hardware.accelerator in catalogue().values():
            usual = hardware.machine.inter_node_gbit_per_s
            notes.append(f"hardware.inter_node_gbps isn't stated: {usual:g} Gbit/s per accelerator taken, as is usual")
        if cost is None:
            notes.append("no cost: no price is stated (hardware.price_usd_per_hour, or prices)")
        elif self.config.usd_per_hour is None:
            notes.append("the cost is of electricity alone: no price of an accelerator (hardware.price_usd_per_hour)")
        notes += before_run_notes(self.config)
        if energy is None:
            notes.append(f"no energy: {hardware.machine.name} states no tdp_w")
        return notes

    def _memory_notes(self, needed: Memory) -> Iterator[str]:
        """Whether memory is short, and what was taken of the software and the optimizer without being said."""
        optimizer, hardware = self.config.optim.optimizer, self.config.hardware
        verdict, peak_gib = str(needed.verdict(self.space.fit_chance)[0]), float(needed.device_gib[0])
        if verdict != "fits":
            yield (
                f"memory is {verdict}: {peak_gib:.1f} GiB needed, "
                f"{float(needed.usable_gib[0]):.1f} usable with the reserve: a chance to fit of "
                f"{percent(needed.p_fit())} where hardware.fit_chance asks for {hardware.fit_chance:.0%}"
            )
        if optimizer_states(optimizer) is None:
            yield f"optim.optimizer {shown(optimizer)} isn't known: its memory is counted as adamw's"
        yield from kernel_notes(self.steps)
        below = replace(self.layout, zero_stage=2)
        if hardware.framework is None and self.layout.zero_stage > below.zero_stage:
            other = plan_steps(self.config, self.space, below)
            kinds = [FRAMEWORKS[int(np.ravel(steps.layouts.framework)[0])] for steps in (other, self.steps)]
            before = float(memory(other).device_gib[0])
            if kinds[0] != kinds[1] and before < peak_gib:
                yield (
                    f"memory rises from ZeRO stage 2 to 3, {before:.1f} to {peak_gib:.1f} GiB, since "
                    f"the software changes with it: {kinds[0]} is taken up to stage 2, {kinds[1]} at 3; "
                    "hardware.framework states one for all"
                )


def _cost_parts(cost: Cost, median_usd: float) -> dict[str, float]:
    """Medians of the parts, scaled to the median of the whole where rare long runs move them apart."""
    medians = {name: median(part) for name, part in vars(cost).items() if part is not None}
    total = sum(medians.values())
    return {name: part * (median_usd / total if total > 0 else 1.0) for name, part in medians.items()}


def _memory_quantity(needed: Memory) -> Quantity:
    ends = {level: needed.interval_gib(normal) for level, normal in _NORMAL.items()}
    intervals = {level: (float(low[0]), float(high[0])) for level, (low, high) in ends.items()}
    return Quantity(float(needed.device_gib[0]), intervals)


def _memory_parts(needed: Memory) -> dict[str, float]:
    parts = {name: float(part[0]) / GIB for name, part in needed.parts.items()}
    return parts | {"reserve": float(needed.reserve_bytes[0]) / GIB, "context": float(needed.context_bytes[0]) / GIB}
