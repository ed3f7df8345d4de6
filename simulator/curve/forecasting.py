"""The loss curve of a planned run before its first step, from a library of curves and a forecast of its final loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.errors import FitError
from ...core.quantity import Quantity
from ...core.units import format_count, shown
from ..config.run_config import RunConfig
from .law.public import PUBLIC, far_from_public, far_note
from .law.transfer import Library
from .prefix import CurvePosterior, LossBand, Z, condition
from .rates.branches import branch_plans
from .rates.path import RatePath
from .rates.planned_rates import path_of

FINAL_SD = 2e-3
"""A final loss that is stated is taken to be good to 0.2 %, which is how well reruns of the public curves agree."""
_SAME_SIZE = 0.05  # "25M" and 25.9M are one size: published sizes are rounded
_POINTS = 201


@dataclass(frozen=True)
class Run:
    """The run whose loss curve is forecast: a family and a size of a curve library, and the learning rate of each step.

    >>> import numpy as np
    >>> import foretrain
    >>> from foretrain.simulator.curve.library import Curve
    >>> from foretrain.simulator.curve.rates.path import named_path
    >>> path = named_path("cosine", 2000, 100, 0.1)  # 2000 steps, of which 100 warm up, down to 0.1 of the peak
    >>> curve = Curve("first", "toy", 25e6, path, np.array([500, 1000, 2000]), np.array([3.6, 3.4, 3.2]))
    >>> config = foretrain.RunConfig.from_mapping({
    ...     "model": {"params": "25M"},
    ...     "data": {"tokens": "4B"},
    ...     "optim": {"batch_tokens": "1M", "lr": 1e-3, "lr_final": 1e-4, "schedule": "cosine", "warmup_steps": 100},
    ... })
    >>> run = foretrain.CurveRun.of_config(foretrain.CurveLibrary([curve]), config)
    >>> run.family, run.size, run.path.steps
    ('toy', 25000000.0, 4000)
    """

    family: str
    """Maker, corpus and recipe, as a curve library names them."""
    size: float
    """Number of parameters."""
    path: RatePath
    """Learning rate of each step as a share of the peak."""
    name: str = "run"
    """Name of the run, for messages."""
    batch_tokens: float | None = None
    """Tokens per optimizer step."""
    branches: tuple[tuple[str, RatePath], ...] = ()
    """Runs that leave it on the way, such as earlier cooldowns: their names, and their rates from the beginning on."""

    @classmethod
    def of_config(
        cls, library: Library, config: RunConfig, *, family: str | None = None, size: float | None = None
    ) -> Run:
        """The planned run of a configuration, whose `optim` states its learning rates.

        Args:
            library: The curves that the run is compared with.
            config: The plan.
            family: Whose curves the run is like; by default the library's only family.
            size: Parameters of the curves that the run is like; by default the plan's.

        Raises:
            FitError: The library lacks the family, or has several and none is named.
            ConfigError: The plan does not tell its learning rates.
        """
        family = choose_family(library, family)
        size = choose_size(library, family, config.model.params_total if size is None else size)
        branches = tuple((one.name, path_of(one.config)) for one in branch_plans(config))
        return cls(family, size, path_of(config), config.name or "run", config.optim.batch_tokens, branches)


@dataclass(frozen=True)
class CurveForecast:
    """The forecast loss curve of a run, with its uncertainty. `forecast_curve` makes it.

    >>> import numpy as np
    >>> import foretrain
    >>> from foretrain.simulator.curve.rates.path import RatePath
    >>> run = foretrain.CurveRun("toy", 25e6, RatePath(np.linspace(1, 0.1, 1000)), batch_tokens=1e6)
    >>> found = foretrain.forecast_curve(foretrain.CurveLibrary([]), run, final=(3.2, 0.01))
    >>> round(found.final.median, 1), found.rests_on
    (3.2, 'generic')
    >>> first, *_, last = found.rows()
    >>> first["loss_nats"] > last["loss_nats"], last["tokens"]
    (True, 1000000000.0)
    """

    run: Run
    """The run."""
    belief: CurvePosterior
    """The distribution of the curve."""
    rests_on: str
    """What set the curve's shape and level."""
    notes: tuple[str, ...] = ()
    """What else should be known, in plain sentences."""

    @property
    def steps(self) -> np.ndarray:
        """Steps `(n,)` at which the curve is tabled, from where the law holds to the end."""
        first = min(self.belief.settled, self.run.path.steps - 1)
        return np.unique(np.linspace(first, self.run.path.steps, _POINTS).round())

    @property
    def final(self) -> Quantity:
        """Loss at the end, nats."""
        return _quantity(self.belief.band(np.array([self.run.path.steps])))

    @property
    def branch_ends(self) -> dict[str, tuple[int, Quantity]]:
        """By name of a branch, its last step, and the loss there in nats."""
        return {name: (path.steps, _quantity(self.belief.end_of(path))) for name, path in self.run.branches}

    @property
    def sources(self) -> str:
        """What set the curve's shape and level, in words."""
        if self.rests_on == PUBLIC:
            return "the laws of the public curves, of eleven recipes (no curves of related runs were given)"
        return f"the curves of {self.run.family} ({self.rests_on})"

    @property
    def planned_steps(self) -> list[str]:
        """What the plan changes on the way, each with what that may do to the loss."""
        return [
            f"at step {one.step:,.0f}, {one.what}: the loss may step by some {100 * one.log_sd:.2g}%"
            for one in self.run.path.changes
        ]

    def rows(self, steps: np.ndarray | None = None) -> list[dict[str, float | None]]:
        """Loss and its 90 % interval at `steps: (n,)`, with the rate there as a share of the peak."""
        steps = self.steps if steps is None else steps
        band = self.belief.band(steps)
        low, high = band.interval(0.9)
        rates = self.run.path.rate[np.minimum(steps.astype(int), self.run.path.steps - 1)]
        batch = self.run.batch_tokens
        return [
            {
                "step": int(step),
                "tokens": None if batch is None else float(self.run.path.batches(step) * batch),
                "lr_share": float(rate),
                "loss_nats": float(middle),
                "low90_nats": float(lo),
                "high90_nats": float(hi),
            }
            for step, rate, middle, lo, hi in zip(steps, rates, band.loss, low, high, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys and units in the names, for JSON."""
        final = self.final
        perplexity = {f"{k:g}": [float(np.exp(edge)) for edge in v] for k, v in final.intervals.items()}
        return {
            "name": self.run.name,
            "family": self.run.family,
            "params": self.run.size,
            "steps": self.run.path.steps,
            "warmup_steps": self.run.path.warmup,
            "rests_on": self.rests_on,
            "final_loss_nats": final.to_dict(),
            "final_perplexity": {"median": float(np.exp(final.median)), "intervals": perplexity},
            "curve": self.rows(),
            "branches": [
                {"name": name, "steps": steps, "final_loss_nats": loss.to_dict()}
                for name, (steps, loss) in self.branch_ends.items()
            ],
            "planned_changes": [
                {"step": one.step, "what": one.what, "log_sd": one.log_sd} for one in self.run.path.changes
            ],
            "notes": list(self.notes),
        }


def _quantity(end: LossBand) -> Quantity:
    """The loss at one step with its intervals."""
    intervals = {level: tuple(float(edge[0]) for edge in end.interval(level)) for level in Z}
    return Quantity(float(end.loss[0]), intervals)  # type: ignore[arg-type]


def choose_family(library: Library, family: str | None) -> str:
    """The family that was named, or the only one; with laws alone, none need be. FitError names those there are."""
    known = library.families
    if family is None and len(known) == 1:
        return known[0]
    if family in (None, PUBLIC) and library.laws and not library.curves:
        return PUBLIC
    if family not in known:
        got = "several families" if family is None else shown(family)
        raise FitError(f"family: got {got}; expected one of {', '.join(known)}")
    return family


def choose_size(library: Library, family: str, size: float | None) -> float:
    """The size that was asked for, or the only one; one of the library's where it is that but for rounding."""
    known = library.sizes.get(family, [])
    if not known:
        if size is None:
            raise FitError("size: is missing; expected the run's parameters, such as --size 100M")
        return size
    if size is None:
        if len(known) > 1:
            sizes = ", ".join(format_count(s) for s in known)
            raise FitError(f"size: the family {family} has several; expected one, such as one of {sizes}")
        return known[0]
    nearest = min(known, key=lambda s: abs(s / size - 1))
    return nearest if abs(nearest / size - 1) < _SAME_SIZE else size


def forecast_curve(library: Library, run: Run, final: tuple[float, float] | None = None) -> CurveForecast:
    """Forecast the loss curve of a run.

    Args:
        library: Whole curves of other runs.
        run: The run: its family, size and learning rates.
        final: Final loss if known from elsewhere, such as a `Forecast`: nats per token, and the standard deviation of
            its logarithm. A size that the library has needs none; for any other, the library tells only the shape.

    Returns:
        The curve with its intervals.

    Raises:
        FitError: The library has no run of this size, and `final` is missing.

    >>> import numpy as np
    >>> import foretrain
    >>> from foretrain.simulator.curve.rates.path import RatePath
    >>> run = foretrain.CurveRun("toy", 25e6, RatePath(np.linspace(1, 0.1, 1000)))
    >>> found = foretrain.forecast_curve(foretrain.CurveLibrary([]), run, final=(3.2, 0.01))
    >>> low, high = found.final.intervals[0.9]
    >>> low < 3.2 < high
    True
    """
    sizes = library.sizes.get(run.family, [])
    if final is None and run.size not in sizes:
        have = ", ".join(format_count(s) for s in sizes) or "none"
        fitted = f"{format_count(run.size)} parameters are none of the sizes that were fitted ({have}), so the curves"
        curves = "the public curves" if library.laws and not sizes else fitted
        raise FitError(
            f"{run.name}: {curves} tell its shape but not its level; expected its final loss (--final-loss 2.31) or a "
            "predictor of it (--predictor web-text)"
        )
    mine = [curve.final_loss for curve in library.curves if curve.family == run.family and curve.size == run.size]
    scale = final[0] if final is not None else float(np.mean(mine))
    prior = library.prior(run.family, run.size, run.path, scale)
    if run.size not in sizes:
        prior = prior.open_level(scale)  # the final loss sets it, whatever other sizes reach
    belief = condition(run.path, prior, anchor=final)
    return CurveForecast(run, belief, prior.name, tuple(_notes(library, run, final)))


def _notes(library: Library, run: Run, final: tuple[float, float] | None) -> Sequence[str]:
    relatives = [curve for curve in library.curves if curve.family == run.family]
    notes = []
    if not relatives and library.laws:
        notes += [far_note(what) for what in far_from_public(run.size, run.path)]
    longest = max((curve.path.steps for curve in relatives), default=0)
    if relatives and run.path.steps > 2 * longest:
        notes.append(
            f"the run takes {run.path.steps:,} steps, the longest of the curves {longest:,}: a long way beyond"
        )
    if relatives and run.size not in library.sizes[run.family]:
        notes.append("another size than those of the curves: their shape is taken, the level is that of the final loss")
    if relatives and not library.family_fits()[run.family].identified:
        notes.append("the curves hardly decay: what a decay does is assumed, with a wide interval")
    if final is None and run.batch_tokens is not None:
        notes.append("steps count as in the curves: a run with another batch needs its final loss (--final-loss)")
    return notes
