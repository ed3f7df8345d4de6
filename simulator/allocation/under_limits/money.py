"""The best size and tokens for a sum of money, or for a time, on stated machines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....core.errors import InputError
from ....core.progress import Progress
from ....core.quantity import Quantity
from ....core.version import __version__
from ...cluster.cluster_estimate import ClusterEstimate
from ...cluster.estimate import DRAWS
from ...cluster.step_time.step_model import StepTimeModel
from ...config.run_config import RunConfig
from ...predictor.predictor import Predictor
from ..compute_optimal.optimum import DRIFT_PER_DECADE
from ..compute_optimal.over_training import OverTraining, over_training_of
from ..compute_optimal.surface import LossSurface
from ..figures import NORMAL, perplexity_of, spread_of, times_or_over
from .affordable import AffordableSteps, Limits, affordable
from .ladder import Ladder, climb

__all__ = ["MoneyOptimal", "SizeAtLimits", "money_optimal"]


@dataclass(frozen=True)
class SizeAtLimits:
    """One size of the plan's family with the tokens that the limits allow it; medians."""

    params_total: float
    layers: int
    width: int
    tokens: float
    loss_nats: float
    cost_usd: float | None
    wall_clock_days: float
    binding: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class MoneyOptimal:
    """The run of lowest predicted loss within a budget and a deadline, and the other sizes beside it."""

    config: RunConfig
    """The plan to run: shape, tokens, layout."""
    limits: Limits
    binding: str
    """cost_usd or wall_clock_days: the limit that ends the run."""
    predictor: str
    law: str
    params: Quantity
    """All parameters of the best size; intervals by the law's draws and its drift beyond the fitted runs."""
    tokens: Quantity
    loss_nats: Quantity
    perplexity: Quantity
    cluster: ClusterEstimate
    over_training: OverTraining
    """Against the optimum of equal compute, where machines and prices play no part."""
    sizes: tuple[SizeAtLimits, ...]
    plan: SizeAtLimits | None
    """The plan's own size within the same limits; None where it can't be trained so."""
    left_out: dict[float, str]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys and units in the names, for JSON."""
        cluster, model = self.cluster, self.config.model
        machine = ("cost_usd", "wall_clock_days", "gpu_hours", "energy_mwh", "co2e_t")
        quantities = {name: getattr(cluster, name) for name in machine}
        return {
            "limits": dict(vars(self.limits)),
            "binding": self.binding,
            "predictor": self.predictor,
            "law": self.law,
            "params_total": self.params.to_dict(),
            "params_active": model.params_active,
            "tokens": self.tokens.to_dict(),
            "loss_nats": self.loss_nats.to_dict(),
            "perplexity": self.perplexity.to_dict(),
            **{name: None if value is None else value.to_dict() for name, value in quantities.items()},
            "training_flops": self.config.training_flops,
            "epochs": self.config.data.epochs,
            "over_training": self.over_training.to_dict(),
            "sizes": [row.to_dict() for row in self.sizes],
            "plan": None if self.plan is None else self.plan.to_dict(),
            "left_out": {f"{size:.0f}": why for size, why in self.left_out.items()},
            "config": self.config.to_mapping(),
            "notes": list(self.notes),
            "version": __version__,
        }


def money_optimal(
    config: RunConfig,
    predictor: Predictor,
    *,
    budget_usd: float | None = None,
    deadline_days: float | None = None,
    chance: float = 0.5,
    step_times: StepTimeModel | None = None,
    progress: Progress | None = None,
) -> MoneyOptimal:
    """The model size and number of tokens of lowest loss within a budget, a deadline, or both.

    The run uses the plan's accelerators at its prices. Every size gets the tokens that the limits allow at the speed of
    its own fastest layout.

    Args:
        config: The plan, with its architecture, hardware and prices.
        predictor: Predicts the loss.
        budget_usd: Budget, US dollars.
        deadline_days: Wall clock, days. Without either limit, those of the plan's targets are taken.
        chance: Probability with which each limit must hold; 0.5 takes medians.
        step_times: Predicts the time of a step; by default the shipped model.
        progress: Called with what is being done and the share done, 0 to 1.

    Returns:
        The best plan with its loss and cost, and the other sizes beside it.

    Raises:
        ConfigError: The plan leaves out something that is needed.
        InfeasibleError: No size can be trained within the limits.
        InputError: There is no limit, or one that makes no sense.

    >>> import foretrain
    >>> shape = {"layers": 8, "width": 768, "heads": 12, "ffn_width": 2048, "vocab_size": 32000, "context_length": 2048}
    >>> config = foretrain.RunConfig.from_mapping({
    ...     "model": {"architecture": shape},
    ...     "data": {"tokens": "10B"},
    ...     "optim": {"batch_tokens": "512k"},
    ...     "hardware": {"accelerator": "H100-SXM-80", "count": 8, "price_usd_per_hour": 2.0},
    ... })
    >>> found = foretrain.money_optimal(config, foretrain.load_predictor("web-text"), budget_usd=1000)
    >>> found.binding, found.cluster.cost_usd.median <= 1000
    ('cost_usd', True)
    """
    if not 0 < chance < 1:
        raise InputError(f"chance: got {chance:g}; expected one between 0 and 1, such as 0.9")
    given = Limits(budget_usd, deadline_days, chance)
    limits = Limits.of(config, chance) if given.unlimited else given
    steps = AffordableSteps(step_times)
    ladder = climb(config, predictor, limits, steps, progress)
    surface = LossSurface.of(predictor, config)
    rung = ladder.rungs[ladder.best]
    loss = ladder.prediction.quantity(ladder.best)
    gap = float(surface.decades_beyond(_columns(ladder))[ladder.best])
    params, tokens = _intervals(ladder, gap)
    chosen = affordable(rung.config, limits, steps, DRAWS)
    own = config.model.params_total
    sizes = tuple(_row(ladder, place) for place in range(len(ladder.rungs)))
    return MoneyOptimal(
        config=surface.with_rate(chosen.config, rung.params_fitted),
        limits=limits,
        binding=chosen.binding,
        predictor=predictor.name,
        law=surface.law_name,
        params=params,
        tokens=tokens,
        loss_nats=loss,
        perplexity=perplexity_of(loss),
        cluster=steps.estimate(with_limits(chosen.config, limits), DRAWS),
        over_training=over_training_of(surface, rung.params_fitted, chosen.config.data.tokens),
        sizes=sizes,
        plan=next((row for row in sizes if row.params_total == own), None),
        left_out=dict(ladder.left_out),
        notes=tuple(_notes(ladder, surface, gap)),
    )


def with_limits(config: RunConfig, limits: Limits) -> RunConfig:
    """The plan with the limits as its targets, so that an estimate says how likely they hold."""
    days = limits.wall_clock_days
    targets = config.targets.model_copy(
        update={"budget_usd": limits.cost_usd, "deadline": None if days is None else days * 86_400.0}
    )
    return config.model_copy(update={"targets": targets})


def _intervals(ladder: Ladder, gap: float) -> tuple[Quantity, Quantity]:
    """The best size and its tokens, with intervals along the ladder: draws differ in where on it they put the best."""
    x = np.log([rung.params for rung in ladder.rungs])
    tokens = np.log([rung.tokens for rung in ladder.rungs])
    best = ladder.rungs[ladder.best]
    if len(x) == 1:
        return times_or_over(best.params, 0.0), times_or_over(best.tokens, 0.0)
    grid = np.linspace(x[0], x[-1], 801)
    steady = np.array([np.interp(grid, x, row) for row in _smoothed(x, ladder.draws)])
    centre = math.log(best.params)
    own = grid[steady.argmin(axis=1)]
    log_sd = math.hypot(spread_of(own, centre), DRIFT_PER_DECADE * gap)
    slope = np.polyfit(x - centre, tokens, 1)[0]
    ends = {}
    for level, width in NORMAL.items():
        two = sorted(best.tokens * math.exp(slope * sign * width * log_sd) for sign in (-1.0, 1.0))
        ends[level] = (two[0], two[1])
    return times_or_over(best.params, log_sd), Quantity(best.tokens, ends)


def _smoothed(x: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Curves `(K, n)` over log N freed of the jitter of layouts: the fourth-degree polynomial nearest to each."""
    degree = min(4, len(x) - 1)
    moved = (x - x.mean()) / max(np.ptp(x), 1e-9)
    basis = np.vander(moved, degree + 1)
    return (basis @ np.linalg.lstsq(basis, draws.T, rcond=None)[0]).T


def _row(ladder: Ladder, place: int) -> SizeAtLimits:
    rung = ladder.rungs[place]
    shape, made = rung.config.model.architecture, rung.affordable.estimate
    assert shape is not None  # by plan_shape
    return SizeAtLimits(
        params_total=rung.params,
        layers=shape.layers,
        width=shape.width,
        tokens=rung.tokens,
        loss_nats=float(ladder.prediction.loss_nats[place]),
        cost_usd=None if made.cost_usd is None else made.cost_usd.median,
        wall_clock_days=made.wall_clock_days.median,
        binding=rung.affordable.binding,
    )


def _columns(ladder: Ladder) -> dict[str, np.ndarray]:
    rungs = ladder.rungs
    return {"params": np.array([r.params_fitted for r in rungs]), "tokens": np.array([r.tokens for r in rungs])}


def _notes(ladder: Ladder, surface: LossSurface, gap: float) -> list[str]:
    notes = [surface.of_settings]
    if ladder.best in (0, len(ladder.rungs) - 1) and len(ladder.rungs) > 1:
        notes.append("the best size is the last that can be trained so: a size beyond it might be better still")
    if ladder.left_out:
        sizes = ", ".join(f"{size / 1e9:.3g}B" for size in sorted(ladder.left_out))
        notes.append(f"left out, because they can't be trained so: {sizes}")
    if gap > 0.05:
        notes.append(f"beyond the fitted runs by {gap:.2g} decades; intervals have been widened for it")
    return [*notes, *surface.notes]
