"""`StepTimeModel`: efficiencies, the learned residual and their uncertainty, and calibration on measured steps.

A cluster is modelled as differing from the fitted efficiencies by an offset and by its own deviation of every
parameter, with Gaussian priors in log units. A prediction's variance is that of these deviations, propagated, plus
noise; measured steps of the cluster give the deviations' posterior, so that a slow step dominated by tensor-parallel
traffic is mostly attributed to the links. What that leaves of a measured step is carried over to steps like it, and to
the measured step itself in full (`measurements/own_cluster.py`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from ....core.errors import InputError
from ....core.files import read_bounded_text, write_text
from .efficiency import PARAMETERS, Efficiencies
from .fitting import jacobian
from .measurements.own_cluster import REPEAT_SD, MeasuredSteps, likeness, same_release, time_shares
from .operators import MIXER_FACTOR
from .parts import StepTime, step_time
from .releases import Releases
from .residual import Residual, features
from .roofline import least_step_s
from .steps import FRAMEWORKS, GENERATIONS, Steps

__all__ = ["LEVELS", "Spread", "StepTimeModel"]

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Levels of central intervals whose widths are stored."""

_FORMATS = (1, 2, 3)  # the second may hold measured steps beside the model before them, the third tells releases
_LARGEST_BYTES = 16 * 2**20
_ITERATIONS = 4  # of Gauss–Newton and reweighting for calibrated parameters; three suffice
_FREEDOMS = 2.0
"""Degrees of freedom of measured steps about a cluster's model: 1 to 4 do as well where sources are left out; with a
Gaussian an outlier among three rows misleads the rest."""
_CLUSTER_FREEDOMS = 4.0
"""The same of how far a cluster deviates (chosen likewise): one three times as slow is believed to be."""
_ALIKE_ODDS = 0.5
"""Prior odds that a cluster is just like those fitted: of 19 groups of rows of sources left out, calibrating on one of
them then raises the median error of 2 instead of 7, for 4.9 % instead of 4.5 off after three (dense)."""
_LARGEST_ODDS = 50.0  # logarithm
_TAIL = 0.46  # (z / 1.96)² − 1 per e-fold of rarity beyond 95 %: normal quantiles to 1 % up to 99.99 %
_IMPLAUSIBLE = 100.0  # times a prediction: milliseconds, or another model's time
_LARGEST_LOG = 10.0  # log units: bound of an offset, or of a parameter about its prior, in a file
_SAME = 1e-9  # of times and shares: two layouts that differ by less are one
_NORMAL_90 = 1.6449
_UNKNOWN_GENERATION_SD = 0.2  # log units; by the coverage of generations left out (benchmarks/step_time.py)


@dataclass(frozen=True)
class Spread:
    """Sd of measured steps about predictions that the parameters don't explain, log units."""

    noise_sd: float
    noise_sd_experts: float
    """The same for mixtures of experts, whose kernels changed with every release."""
    quantiles: Mapping[float, float]
    """Half-widths of central intervals by level, in standard deviations: from sources left out."""

    def draw(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Standardised errors whose central intervals are those of `quantiles`, symmetric.

        Stratified: one draw from each of `size` equally likely ranges, in random order, so that quantiles settle early.
        """
        levels, widths = np.array([0.0, *self.quantiles]), np.array([0.0, *self.quantiles.values()])
        place = (rng.permutation(size) + rng.random(size)) / size
        level = np.abs(2.0 * place - 1.0)
        # beyond the last level the tail is that of a Gaussian which matches the last quantile
        rarer = np.log((1 - levels[-1]) / np.clip(1 - level, 1e-12, 1 - levels[-1]))
        tail = widths[-1] * np.sqrt(1.0 + _TAIL * rarer)
        sizes = np.where(level > levels[-1], tail, np.interp(level, levels, widths))
        return np.where(place < 0.5, -sizes, sizes)


@dataclass(frozen=True)
class StepTimeModel:
    """Predicts the time of a training step, with its uncertainty. `StepTimeModel.shipped()` is the default model.

    `calibrate_step_times` adapts it to a cluster; `save` and `load` keep the result in a file.

    >>> import tempfile
    >>> import foretrain
    >>> model = foretrain.StepTimeModel.shipped()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(f"{folder}/steps.json")
    ...     again = foretrain.StepTimeModel.load(f"{folder}/steps.json")
    >>> again.calibrated_on, again.provenance == model.provenance
    (0, True)
    """

    efficiencies: Efficiencies
    """Efficiencies of arithmetic, memory and network that the physical model multiplies peaks by."""
    residual: Residual | None
    """What the physical model misses, as learned from measurements; None for none."""
    spread: Spread
    """How far measured times scatter around predictions."""
    kinds: np.ndarray
    """(generations + 1, frameworks): log offsets of kinds of accelerator and software, for dense models."""
    offset: float
    """Log units, added to every prediction: 0 unless calibrated."""
    covariance: np.ndarray
    """(1 + parameters, 1 + parameters): of the offset and of log parameters, for a cluster as believed now."""
    releases: Releases = field(default_factory=Releases.none)
    """How much longer steps take with older releases of their software."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Where the model comes from, as plain facts."""
    calibrated_on: int = 0
    """How many measured steps of the cluster are in it."""
    own: OwnSteps | None = None
    """The measured steps of the cluster, where it is calibrated."""

    @classmethod
    def shipped(cls) -> StepTimeModel:
        """The model fitted on published measurements."""
        return _shipped()

    def without_trees(self) -> StepTimeModel:
        """The model without its learned residual."""
        return replace(self, residual=None)

    def predict(self, steps: Steps) -> StepTime:
        """Step times with parts; `learned` is the residual's and the calibration's."""
        return self.corrected(steps, step_time(steps, self.efficiencies))

    def corrected(self, steps: Steps, physics: StepTime) -> StepTime:
        """What `predict` gives, from the times that `step_time` gives of the same steps."""
        shift = self.offset + self._kind(steps) + self.releases.log_factor(steps)
        factor = np.exp(shift + self._learned(steps, physics))
        total_s = physics.total_s * factor
        if self.own is not None:
            total_s = self.own.answer_s(total_s, steps, physics, self._noise_sd(steps))
        return StepTime(total_s, {**physics.parts, "learned": total_s - physics.total_s})

    def measured(self, steps: Steps) -> np.ndarray:
        """Whether each of some steps is one that the model was calibrated on. (n,)"""
        if self.own is None:
            return np.zeros(len(steps), dtype=bool)
        return np.any(self.own.same(steps, step_time(steps, self.efficiencies)), axis=1)

    def log_sd(self, steps: Steps) -> np.ndarray:
        """Standard deviation of log step time, before `spread.quantiles`. (n,)

        For a step that was measured k times it is that of another measurement, √(1 + 1/k) of REPEAT_SD.
        """
        noise = self._noise_sd(steps)
        if self.own is None:
            tangent = self._tangent(steps)
            known = np.einsum("ij,jk,ik->i", tangent, self.covariance, tangent)
            return np.sqrt(np.maximum(known, 0.0) + noise**2 + self._shared_sd(steps) ** 2)
        shared, prior = self._with_measured(steps), self.own.before
        tangent = self._tangent(steps)
        known = np.einsum("ij,jk,ik->i", tangent, prior, tangent) + noise**2
        known = known - np.einsum("ij,jk,ik->i", shared, self.own.precision, shared)
        same = self.own.same(steps, step_time(steps, self.efficiencies))
        again = REPEAT_SD**2 / self.own.measured.counts[np.argmax(same, axis=1)]
        return np.sqrt(np.where(np.any(same, axis=1), again, np.maximum(known, 0.0)) + REPEAT_SD**2)

    def error_correlation(self, first: Steps, other: Steps) -> float:
        """Correlation of the errors of two steps' log times, each one step, on machines of one kind.

        They share the cluster's deviations, as far as both depend on them; all of the error if they are the same step.
        """
        tangents = self._tangent(first), self._tangent(other)
        same = np.array_equal(*tangents) and np.array_equal(self.predict(first).total_s, self.predict(other).total_s)
        if same:
            return 1.0
        if self.own is None:
            unknown = self._shared_sd(first) * self._shared_sd(other)
            shared = float((tangents[0] @ self.covariance @ tangents[1].T)[0, 0] + unknown[0])
        else:
            prior, own = self.own.before, self.own
            shares, of_other = (time_shares(step_time(steps, self.efficiencies)) for steps in (first, other))
            alike = likeness(shares, of_other, first.layouts.release, other.layouts.release)
            noise = self._noise_sd(first)[:, None] * self._noise_sd(other)[None, :]
            before = tangents[0] @ prior @ tangents[1].T + noise * alike
            learned = self._with_measured(first) @ own.precision @ self._with_measured(other).T
            shared = float((before - learned)[0, 0])
        correlation = shared / float(self.log_sd(first)[0] * self.log_sd(other)[0])
        return min(max(correlation, -1.0), 1.0)

    def _with_measured(self, steps: Steps) -> np.ndarray:
        """Covariance of what is unknown of steps (n,) and of the measured ones (k,) before measuring. (n, k)"""
        assert self.own is not None
        release = np.broadcast_to(steps.layouts.release, (len(steps),))
        alike = self.own.alike(time_shares(step_time(steps, self.efficiencies)), release)
        noise = self._noise_sd(steps)[:, None] * self.own.noise_sd[None, :]
        return self._tangent(steps) @ self.own.before @ self.own.tangents.T + noise * alike

    def interval_s(self, steps: Steps, level: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
        """Central interval of the step time at one of LEVELS, cut at the least possible time (`roofline.py`)."""
        half = self.spread.quantiles[level] * self.log_sd(steps)
        total_s = self.predict(steps).total_s
        return np.maximum(total_s * np.exp(-half), np.minimum(least_step_s(steps), total_s)), total_s * np.exp(half)

    def calibrated(self, steps: Steps, step_time_s: np.ndarray) -> StepTimeModel:
        """The model for a cluster with these measured steps (k,), beside those that it was calibrated on before.

        A measured step is then answered with the mean of its measurements, steps like it nearly so, and others as far
        as its offset and deviations, found by Gauss–Newton, and its likeness to them tell. Raises `InputError` where a
        time isn't positive, or so far from its prediction that it can't be in seconds.
        """
        step_time_s = np.asarray(step_time_s, dtype=float)
        if not step_time_s.size or not np.all(np.isfinite(step_time_s) & (step_time_s > 0)):
            raise InputError("step_time_s: expected seconds above 0 for at least one measured step")
        predicted_s = np.broadcast_to(self.predict(steps).total_s, step_time_s.shape)
        worst = int(np.argmax(np.abs(np.log(step_time_s / predicted_s))))
        if not 1 / _IMPLAUSIBLE <= step_time_s[worst] / predicted_s[worst] <= _IMPLAUSIBLE:
            told = f"got {step_time_s[worst]:.4g} where {predicted_s[worst]:.4g} s are predicted"
            raise InputError(f"step_time_s: {told}; expected seconds, within a factor of {_IMPLAUSIBLE:g}")
        found = MeasuredSteps.of(steps, step_time_s)
        if self.own is None:
            return _conditioned(self, found)
        return _conditioned(self.own.prior, self.own.measured.joined(found))

    def _kind(self, steps: Steps) -> np.ndarray:
        kinds = self.kinds[steps.machines.generation.astype(int), steps.layouts.framework.astype(int)]
        return np.where(steps.models.num_experts > 0, 0.0, kinds)

    def _learned(self, steps: Steps, physics: StepTime) -> np.ndarray | float:
        return 0.0 if self.residual is None else self.residual.log_factor(features(steps, physics))

    def _tangent(self, steps: Steps) -> np.ndarray:
        slopes = np.atleast_2d(jacobian(steps, self.efficiencies))
        return np.concatenate([np.ones((len(slopes), 1)), slopes], axis=1)

    def _noise_sd(self, steps: Steps) -> np.ndarray:
        shape = np.shape(np.broadcast_to(0.0, np.broadcast(steps.layouts.tp, steps.models.layers).shape)) or (1,)
        experts = np.broadcast_to(np.atleast_1d(steps.models.num_experts > 0), shape)
        noise = np.where(experts, self.spread.noise_sd_experts, self.spread.noise_sd)
        return np.hypot(noise, steps.layouts.unstated_sd)

    def _shared_sd(self, steps: Steps) -> np.ndarray:
        """Sd of what isn't known of an unmeasured accelerator or mixer, and of a release: all steps share it."""
        unknown = np.where(steps.machines.generation >= len(GENERATIONS), _UNKNOWN_GENERATION_SD, 0.0)
        return np.hypot(np.hypot(unknown, self._mixer_sd(steps)), self.releases.log_sd(steps))

    def _mixer_sd(self, steps: Steps) -> np.ndarray:
        """Sd that a mixer without attention adds: of its matrix products, and of its own operators as far as they are
        of the step's time."""
        if not np.any(steps.models.unattended > 0):
            return np.zeros(())
        time = step_time(steps, self.efficiencies)
        longer = np.log1p(time.parts["attention"] / time.total_s * (MIXER_FACTOR - 1.0)) / _NORMAL_90
        return np.where(steps.models.unattended > 0, np.hypot(steps.models.mixer_log_sd, longer), 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: of a calibrated model, those of the model before, and the measured steps."""
        if self.own is not None:
            before = self.own.prior.to_dict()
            return {**before, "calibrated_on": self.calibrated_on, "measured": self.own.measured.to_dict()}
        spread = {**vars(self.spread), "quantiles": {f"{k:g}": v for k, v in self.spread.quantiles.items()}}
        return {
            "format": _FORMATS[-1],
            "what": "step times of training: fitted efficiencies, learned residual, spread",
            "provenance": dict(self.provenance),
            "calibrated_on": self.calibrated_on,
            "offset": self.offset,
            "kinds": np.round(self.kinds, 6).tolist(),
            "efficiencies": dict(self.efficiencies.values),
            "releases": self.releases.to_dict(),
            "spread": spread,
            "covariance": [[float(f"{v:.6g}") for v in row] for row in self.covariance],
            "residual": None if self.residual is None else self.residual.to_dict(),
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file, whole or not at all."""
        write_text(path, json.dumps(self.to_dict(), allow_nan=False, separators=(",", ":")) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> StepTimeModel:
        """Read what `save` wrote. Raises `InputError` for anything else."""
        text = read_bounded_text(path, _LARGEST_BYTES)
        try:
            return cls.from_dict(json.loads(text))
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            expected = "expected a file made by simulate cluster calibrate"
            known = isinstance(error, ValueError)
            why = str(error) if known else "something is missing from it, or is of another kind"
            raise InputError(f"{path}: is not a calibration of this version ({why[:200]}); {expected}") from None

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> StepTimeModel:
        """Read what `to_dict` wrote. Raises ValueError, KeyError or their like for anything else."""
        if plain["format"] not in _FORMATS or set(plain["efficiencies"]) != set(PARAMETERS):
            raise ValueError("its format or its parameters differ")
        values = {name: float(plain["efficiencies"][name]) for name in PARAMETERS}
        offset, covariance = float(plain["offset"]), np.array(plain["covariance"], dtype=float)
        logs = [
            np.log(values[name] / prior.median) if values[name] > 0 else np.inf for name, prior in PARAMETERS.items()
        ]
        if not np.max(np.abs([offset, *logs])) <= _LARGEST_LOG or not _is_covariance(covariance):
            raise ValueError("its covariance or its parameters are out of range")
        calibrated_on = int(plain["calibrated_on"])
        if calibrated_on < 0:
            raise ValueError("it says to be calibrated on fewer than 0 steps")
        measured = None if "measured" not in plain else MeasuredSteps.from_dict(plain["measured"])
        before = calibrated_on - (0 if measured is None else int(np.sum(measured.counts)))
        if before < 0:
            raise ValueError("it holds more measured steps than it says")
        found = cls(
            efficiencies=Efficiencies(values),
            residual=None if plain["residual"] is None else Residual.from_dict(plain["residual"]),
            spread=_spread(plain["spread"]),
            kinds=_kinds(plain["kinds"]),
            offset=offset,
            covariance=covariance,
            releases=Releases.none() if plain["format"] < _FORMATS[-1] else Releases.from_dict(plain["releases"]),
            provenance=dict(plain["provenance"]),
            calibrated_on=before,
        )
        if measured is None:
            return found
        with np.errstate(all="ignore"):
            made = _conditioned(found, measured)
        if not np.all(np.isfinite(made.own.left_over)) or not np.all(np.isfinite(made.covariance)):  # pyright: ignore[reportOptionalMemberAccess]
            raise ValueError("its measured steps can't be predicted")
        return made


@dataclass(frozen=True)
class OwnSteps:
    """The measured steps of a cluster, and what conditioning a model on them needs. Arrays over the k distinct ones."""

    prior: StepTimeModel
    """The model before."""
    before: np.ndarray
    """Covariance of the cluster's offset and log parameters before."""
    measured: MeasuredSteps
    shares: np.ndarray
    """What they spend their time on, (k, parts)."""
    physics_s: np.ndarray
    """Their times by the fitted efficiencies alone, which tell a measured step from one like it."""
    tangents: np.ndarray
    noise_sd: np.ndarray
    precision: np.ndarray
    """Inverse of the covariance of their log times before they were measured."""
    doubt: np.ndarray
    """Variance beyond `noise_sd` of measured steps that contradict the others, or what was expected."""
    left_over: np.ndarray
    """Log units by which they exceed the prediction with offset and efficiencies of the cluster."""

    @property
    def release(self) -> np.ndarray:
        """Releases of the software that they were measured with."""
        return np.broadcast_to(self.measured.steps.layouts.release, (len(self.measured),))

    def alike(self, shares: np.ndarray, release: np.ndarray) -> np.ndarray:
        """How far steps (n,) that spend their time so, with these releases, are like the measured ones. (n, k)"""
        return likeness(shares, self.shares, release, self.release)

    def answer_s(self, total_s: np.ndarray, steps: Steps, physics: StepTime, noise_sd: np.ndarray) -> np.ndarray:
        """Times (n,) with what measured steps leave over: all where measured, else as far as steps are alike."""
        alike = self.alike(time_shares(physics), np.broadcast_to(steps.layouts.release, (len(steps),)))
        among = self.alike(self.shares, self.release) * np.outer(self.noise_sd, self.noise_sd)
        among += np.diag(REPEAT_SD**2 / self.measured.counts + self.doubt)
        carried = (alike * self.noise_sd) @ np.linalg.solve(among, self.left_over) * noise_sd
        answers = np.atleast_1d(total_s) * np.exp(carried)
        same = self.same(steps, physics)
        return np.where(np.any(same, axis=1), np.exp(self.measured.log_s[np.argmax(same, axis=1)]), answers)

    def same(self, steps: Steps, physics: StepTime) -> np.ndarray:
        """Which measured step each of some steps is, by its release, its time without what was learned, and its parts.

        (n, k)
        """
        near = np.isclose(np.atleast_1d(physics.total_s)[:, None], self.physics_s[None, :], rtol=_SAME, atol=0.0)
        parts = np.all(np.abs(time_shares(physics)[:, None, :] - self.shares[None, :, :]) <= _SAME, axis=-1)
        return near & parts & same_release(np.broadcast_to(steps.layouts.release, (len(steps),)), self.release)


def _conditioned(prior: StepTimeModel, measured: MeasuredSteps) -> StepTimeModel:
    """A model conditioned on measured steps: Gauss–Newton on the offset and the log parameters.

    Measured steps are as a Student t about what the cluster's offset and efficiencies say, so that one which
    contradicts the rest counts less; so are the cluster's deviations, so that a cluster far off is believed
    (iteratively reweighted: Lange, Little & Taylor 1989). The cluster may also be just like those fitted, with odds
    that the steps tell (spike and slab: Mitchell & Beauchamp 1988).
    """
    before = prior.covariance.copy()
    if prior.calibrated_on == 0:  # what isn't known of a generation or of a release all its steps share
        before[0, 0] += float(np.max(prior._shared_sd(measured.steps))) ** 2
    steps, start, current = measured.steps, prior.efficiencies.logs(), prior
    noise_sd = np.broadcast_to(prior._noise_sd(steps), measured.log_s.shape)
    release = np.broadcast_to(steps.layouts.release, measured.log_s.shape)
    again = REPEAT_SD**2 / measured.counts
    doubt, wider = np.zeros_like(noise_sd), 1.0

    def slopes(model: StepTimeModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tangents (k, 1 + parameters), and the covariances (k, k) of what steps share by them, and of all else."""
        tangents, shares = model._tangent(steps), time_shares(step_time(steps, model.efficiencies))
        noise = likeness(shares, shares, release, release) * np.outer(noise_sd, noise_sd) + np.diag(again + doubt)
        return tangents, wider * (tangents @ before @ tangents.T), noise

    for _ in range(_ITERATIONS):
        tangents, cluster, noise = slopes(current)
        precision = np.linalg.inv(cluster + noise)
        moved = np.concatenate([[current.offset - prior.offset], current.efficiencies.logs() - start])
        errors = measured.log_s - np.log(current.predict(steps).total_s) + tangents @ moved
        # as far as the errors are told from those of a cluster that is just like the others
        odds = 0.5 * (errors @ (precision - np.linalg.inv(noise)) @ errors)
        odds += 0.5 * (np.linalg.slogdet(cluster + noise)[1] - np.linalg.slogdet(noise)[1])
        differs = 1.0 / (1.0 + _ALIKE_ODDS * np.exp(np.clip(odds, -_LARGEST_ODDS, _LARGEST_ODDS)))
        change = differs * wider * (before @ tangents.T @ precision @ errors)
        efficiencies = Efficiencies.from_logs(start + change[1:])
        current = replace(current, offset=prior.offset + float(change[0]), efficiencies=efficiencies)
        left = errors - tangents @ change
        known = np.diag(cluster) - np.einsum("ij,jk,ik->i", cluster, precision, cluster)
        weight = (_FREEDOMS + 1.0) / (_FREEDOMS + (left**2 + np.maximum(known, 0.0)) / (noise_sd**2 + again))
        doubt = noise_sd**2 * (1.0 / np.minimum(weight, 1.0) - 1.0)
        unlikely = float(errors @ precision @ cluster @ precision @ errors)  # squared distance of the change, in sds
        wider = max(1.0, (_CLUSTER_FREEDOMS + wider * unlikely) / (_CLUSTER_FREEDOMS + 1.0))
    tangents, cluster, noise = slopes(current)
    before, precision = wider * before, np.linalg.inv(cluster + noise)
    covariance = before - before @ tangents.T @ precision @ tangents @ before
    physics = step_time(steps, current.efficiencies)
    own = OwnSteps(
        prior=prior,
        before=before,
        measured=measured,
        shares=time_shares(physics),
        physics_s=np.broadcast_to(physics.total_s, measured.log_s.shape),
        tangents=tangents,
        noise_sd=noise_sd,
        precision=precision,
        doubt=doubt,
        left_over=measured.log_s - np.log(current.predict(steps).total_s),
    )
    count = prior.calibrated_on + int(np.sum(measured.counts))
    return replace(current, covariance=(covariance + covariance.T) / 2, calibrated_on=count, own=own)


def _kinds(plain: Any) -> np.ndarray:
    """Read offsets of kinds; ValueError unless there is one for every generation and framework."""
    kinds = np.array(plain, dtype=float)
    if kinds.shape != (len(GENERATIONS) + 1, len(FRAMEWORKS)) or not np.max(np.abs(kinds)) <= _LARGEST_LOG:
        raise ValueError("its kinds of accelerator and software differ, or their offsets are out of range")
    return kinds


def _is_covariance(matrix: np.ndarray) -> bool:
    """Whether a matrix can be the covariance of the offset and all parameters, rounding aside."""
    size = 1 + len(PARAMETERS)
    if matrix.shape != (size, size) or not np.max(np.abs(matrix)) <= _LARGEST_LOG**2:
        return False
    return np.allclose(matrix, matrix.T, atol=1e-9) and np.linalg.eigvalsh(matrix)[0] >= -1e-4


def _spread(plain: Mapping[str, Any]) -> Spread:
    """Read a spread; ValueError unless its widths are those of LEVELS, each wider than the last."""
    noise = float(plain["noise_sd"]), float(plain["noise_sd_experts"])
    widths = [float(plain["quantiles"][f"{level:g}"]) for level in LEVELS]
    rising = all(low < high for low, high in zip([0.0, *widths], [*widths, _LARGEST_LOG], strict=True))
    if not rising or not all(0 < sd <= _LARGEST_LOG for sd in noise):
        raise ValueError("its spread is out of range")
    return Spread(*noise, dict(zip(LEVELS, widths, strict=True)))


@cache
def _shipped() -> StepTimeModel:
    text = resources.files("foretrain.datasets.facts").joinpath("step_time.json").read_text(encoding="utf-8")
    return StepTimeModel.from_dict(json.loads(text))
