"""`GoalReader`: goals and limits of a study, checked against the run, its space and the predictor."""

from __future__ import annotations

import math
from typing import Literal

from ....core.errors import ConfigError
from ....core.reading.config_messages import Origins
from ....core.units import shown
from ...cluster.layout_choice import missing
from ...config.run_config import RunConfig
from ...forecast.after_pretraining import check_laws
from ...predictor.domains import known_domains
from ...predictor.predictor import Predictor
from ..space.dimensions import MixDimension
from ..space.spaces import Space
from ..study_config import Goal, Limit, StudyConfig
from .after_pretraining import STAGE_MEASURES
from .goals import BoundLimit, MeasuredGoal
from .measures import Measure, get_measure

__all__ = ["GoalReader", "lacking"]

_LOSSES = ("loss_nats", "perplexity")
_GRID = "energy.grid_g_co2e_per_kwh"
_PRICE = "hardware.price_usd_per_hour"
_PRICED = ("cost_usd", "lifetime_cost_usd", "total_cost_usd")
_SERVED = ("inference_usd_per_mtok", "lifetime_cost_usd")
_LIFETIME = ("lifetime_cost_usd", "lifetime_flops")


def lacking(run: RunConfig, space: Space) -> list[str]:
    """The settings needed for an estimate of the cluster that neither the run nor the space states."""
    return [key for key in missing(run) if not space.supplies(key)]


class GoalReader:
    """Reads goals and limits; problems are named with their place in the file."""

    def __init__(
        self, config: StudyConfig, run: RunConfig, space: Space, predictor: Predictor, origins: Origins
    ) -> None:
        self.config, self.run, self.space, self.predictor, self.origins = config, run, space, predictor, origins
        self.main = predictor.main_loss_on(run.data.evaluated_on, run.data.corpus_text)

    def goals(self) -> tuple[MeasuredGoal, ...]:
        """The goals. Raises ConfigError for an unknown measure, one that lacks what it needs, or one named twice."""
        found = tuple(self._goal(goal) for goal in self.config.objectives)
        names = [goal.name for goal in found if goal.weights is None]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"{self.origins.of(('objective',))}: objective: names {twice} twice; expected it once")
        return found

    def limits(self) -> tuple[BoundLimit, ...]:
        """The limits: those stated, the run's targets and the epochs of a mix; of one measure's the tightest."""
        found = []
        for name, limit in self.config.constraints.items():
            measure = self._measure(name, f"{self.origins.of(('constraints', name))}: constraints")
            found += _sides(measure, limit, "constraints")
        found += self._targets({limit.name for limit in found})
        found += self._epochs()
        tightest: dict[str, BoundLimit] = {}
        for limit in found:
            other = tightest.get(limit.name)
            if other is None or (limit.bound < other.bound) == (limit.side == "at_most"):
                tightest[limit.name] = limit
        return tuple(tightest.values())

    def check_mix(self, goals: tuple[MeasuredGoal, ...], limits: tuple[BoundLimit, ...]) -> None:
        """Refuse mixes that the predictor can't evaluate, and a search for a mix that it doesn't depend on."""
        targets = {t for goal in goals for t in goal.loss_columns} | {
            t for limit in limits for t in limit.measure.loss_columns
        }
        models = {name: model for name, model in self.predictor.models.items() if name in targets}
        reading = [model for model in models.values() if model.fit.law.domains]
        mix = self.space.mix
        if mix is None:
            if reading and self.run.data.mix is None and not self.space.supplies("data.mix"):
                known = ", ".join(known_domains(reading[0].fit)[:8])
                place = f"{self.origins.of(('run',))}: run: data.mix"
                raise ConfigError(f"{place}: is missing; the predictor's laws read the shares of {known}")
            return
        where = f"{self.origins.of(('space', mix.path))}: space.{mix.path}"
        if not reading and targets and not any(math.isfinite(stock) for stock in mix.stocks):
            raise ConfigError(
                f"{where}: the predictor reads no mix, and no domain states its unique_tokens, so that one mix is as "
                "good as another; expected a predictor fitted on runs with different mixes"
            )
        if not self.run.data.allow_new_domains:
            self._check_known(mix, [known_domains(model.fit) for model in reading], where)

    def _check_known(self, mix: MixDimension, known: list[list[str]], where: str) -> None:
        for domains in known:
            new = [d for d, high in zip(mix.domains, mix.high, strict=True) if high > 0 and d not in domains]
            if new:
                raise ConfigError(
                    f"{where}: the predictor's runs had no {shown(new[0])}; expected domains among "
                    f"{', '.join(domains[:20])}, or data.allow_new_domains: true in the run"
                )

    def _goal(self, goal: Goal) -> MeasuredGoal:
        where = f"{self.origins.of(('objective',))}: objective"
        measure = self._measure(goal.name, where)
        if goal.weights is None:
            return MeasuredGoal(goal, measure)
        weights = {f"loss.{domain}": weight for domain, weight in goal.weights.items()}
        for target in weights:
            self._measure(f"loss_nats.{target.removeprefix('loss.')}", f"{where}.weights")
        return MeasuredGoal(goal, measure, weights)

    def _targets(self, stated: set[str]) -> list[BoundLimit]:
        """The run's own targets are limits, unless the study says otherwise or makes them goals."""
        targets, run = self.run.targets, self.run
        goals = {goal.name for goal in self.config.objectives}
        wanted = [("targets.budget_usd", "cost_usd", targets.budget_usd)]
        days = None if run.deadline_s is None else run.deadline_s / 86_400.0
        wanted.append(("targets.deadline", "wall_clock_days", days))
        # a loss that the study states itself, as a goal or a limit, takes precedence over the run's target
        if not any(name.partition(".")[0] in _LOSSES for name in (*goals, *stated)):
            wanted += [("targets.perplexity", "perplexity", targets.perplexity)]
            wanted += [("targets.loss_nats", "loss_nats", targets.loss_nats)]
        found = []
        for source, name, bound in wanted:
            if bound is None or name in stated or (name == "cost_usd" and not self._priced):
                continue
            if name in _LOSSES or not lacking(run, self.space):
                found += _sides(self._measure(name, source), Limit(at_most=bound), source)
        return found

    def _epochs(self) -> list[BoundLimit]:
        mix = self.space.mix
        if mix is None:
            return []
        most = dict(zip(mix.domains, map(float, mix.max_epochs), strict=True))
        limited = [domain for domain in self._stocked() if math.isfinite(most[domain])]
        measures = {domain: self._measure(f"epochs.{domain}", "space") for domain in limited}
        source = "space.data.mix.max_epochs"
        return [BoundLimit(measure, "at_most", most[domain], 0.5, source) for domain, measure in measures.items()]

    @property
    def _priced(self) -> bool:
        """Whether accelerators have a price, of the run or of the space."""
        of_space = self.space.supplies(_PRICE) or any(path.startswith("prices") for path in self.space.paths)
        return self.run.usd_per_hour is not None or self.run.energy.usd_per_kwh is not None or of_space

    def _measure(self, name: str, where: str) -> Measure:
        measure = get_measure(name, self.predictor, self.main, where)
        needed = lacking(self.run, self.space)
        if measure.needs_cluster and needed:
            raise ConfigError(
                f"{where}: {name} needs {', '.join(needed)}, which the run doesn't state; expected that in the run"
            )
        self._check_money(name, where)
        if name == "co2e_t" and self.run.energy.grid_g_co2e_per_kwh is None and not self.space.supplies(_GRID):
            raise ConfigError(f"{where}: {name} needs {_GRID}, which the run doesn't state; expected it in the run")
        if name == "devices" and self.run.hardware.count is None and not self.space.supplies("hardware.count"):
            raise ConfigError(
                f"{where}: {name} needs hardware.count, which the run doesn't state; expected it in the run"
            )
        if name in STAGE_MEASURES:
            self._check_stage(name, where)
        if measure.domain is None and name == "epochs" and not self._stocked():
            raise ConfigError(f"{where}: epochs needs data.unique_tokens, which the run doesn't state")
        if name.startswith("epochs.") and measure.domain not in self._stocked():
            known = ", ".join(self._stocked()) or "none"
            raise ConfigError(
                f"{where}: {name} needs the unique_tokens of {shown(measure.domain)}; those of {known} are stated"
            )
        return measure

    def _check_stage(self, name: str, where: str) -> None:
        """Refuse a measure of a stage that the run doesn't state, or whose law can't be read."""
        section = STAGE_MEASURES[name].section
        if section and getattr(self.run, section) is None and not self.space.supplies(section):
            raise ConfigError(f"{where}: {name} needs {section}, which the run doesn't state; expected it in the run")
        check_laws(self.run)

    def _check_money(self, name: str, where: str) -> None:
        """Refuse a measure of cost if no price, or no amount, is stated."""
        serving = self.config.serving
        if name in _LIFETIME and serving.tokens is None:
            raise ConfigError(
                f"{where}: {name} needs serving.tokens: how many tokens the model will serve, such as 10T"
            )
        if name in _SERVED and serving.usd_per_hour is None and not self._priced:
            raise ConfigError(f"{where}: {name} needs a price; expected serving.usd_per_hour, or {_PRICE} in the run")
        if name in _PRICED and not self._priced:
            raise ConfigError(f"{where}: {name} needs a price, which the run doesn't state; expected {_PRICE} in it")
        stated = self.run.hardware.accelerator is not None or self.space.supplies("hardware.accelerator")
        if name in _SERVED and not stated:
            raise ConfigError(f"{where}: {name} needs hardware.accelerator, which the run doesn't state")

    def _stocked(self) -> list[str]:
        """Domains whose stock is stated; `all` for a stock of everything."""
        mix, data = self.space.mix, self.run.data
        if mix is not None:
            return [d for d, stock in zip(mix.domains, mix.stocks, strict=True) if math.isfinite(stock)]
        whole = data.unique_tokens is not None or self.space.supplies("data.unique_tokens")
        return [*(data.unique_tokens_by_domain or ()), *(["all"] if whole else [])]


def _sides(measure: Measure, limit: Limit, source: str) -> list[BoundLimit]:
    bounds: list[tuple[Literal["at_most", "at_least"], float | None]] = [
        ("at_most", limit.at_most),
        ("at_least", limit.at_least),
    ]
    return [BoundLimit(measure, side, bound, limit.chance, source) for side, bound in bounds if bound is not None]
