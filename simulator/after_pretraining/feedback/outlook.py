"""`feedback_outlook`: what the feedback stage of a plan gains at which KL divergence, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....core.errors import InputError
from ....core.quantity import Quantity, spread_normal
from ....core.units import format_count, format_decimals, format_flops
from ...cluster.cluster_estimate import ClusterEstimate
from ...config.after_pretraining.feedback import FeedbackConfig
from ...config.after_pretraining.law_names import PRIOR, PROXIES
from ...config.run_config import RunConfig
from ..machine_time import MachineTime, machine_time
from .costs import label_costs, reward_flops, serving_factor, stage_flops
from .gain import best_of_n_kl, samples_of_kl
from .law import FeedbackLaw
from .prior import prior_law
from .storage import law_of_proxies, load_laws

__all__ = ["FeedbackOutlook", "feedback_law", "feedback_outlook"]

_GRID = 200  # distances among which the best is looked for
_PRIOR_REACH = 4.0  # times the middle peak of a law without measurements
_REACH = 2.0  # times the farthest distance that was measured, beyond which a peak is the form's word alone
_BEYOND = 0.05  # decades that are worth naming
_IN_WORDS = {"kl_nats": "KL", "comparisons": "comparisons", "reward_params": "parameters of the reward model"}


@dataclass(frozen=True)
class FeedbackOutlook:
    """What a feedback stage gains and costs. Gains are in `unit`; the starting policy's reward is 0."""

    method: str
    comparisons: float
    kl_nats: float
    """How far the policy goes."""
    kl_stated: bool
    """Whether the plan states it; else it is where the expected gain is largest, within what was measured."""
    samples: float | None
    """Answers of which the best is taken; None but for best_of_n."""
    gain: Quantity
    """The true reward there."""
    best_kl_nats: Quantity
    """Where the gain is largest; infinite where it never turns, or so far beyond what was measured as to be no peak."""
    p_past_peak: float
    """Chance that the policy goes past that."""
    preferred: Quantity | None
    """Chance that an answer is preferred to one of the start, by the true reward; None where its spread isn't known."""
    unit: str
    source: str
    measured: bool
    """Whether the law rests on any measurement."""
    beyond_decades: Mapping[str, float]
    """How far the stage lies outside what was measured."""
    label_usd: Quantity
    label_hours: Quantity
    label_days: Quantity | None
    """Wall clock of labelling; None where the plan states no labellers."""
    machines: MachineTime
    """Training the reward model and moving the policy."""
    serving_factor: float
    """How much more an answer costs to serve; 1 but for best_of_n."""
    curve: tuple[tuple[float, float, float, float], ...]
    """KL, and the gain there: median, and the ends of its 90 % interval."""
    notes: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Gain, distance and doubt in one sentence."""
        low, high = self.gain.intervals[0.9]
        how = f"the best of {format_count(self.samples)}" if self.samples is not None else self.method
        chosen = "" if self.kl_stated else ", where the expected gain is largest"
        return (
            f"{how}, {format_count(self.comparisons)} comparisons, KL {self.kl_nats:.3g} nats{chosen}: gain "
            f"{self.gain.median:+.2f} (90 %: {low:+.2f} to {high:+.2f}) {self.unit}; "
            f"{100 * self.p_past_peak:.0f} % chance of being past the peak; {self.verdict}"
        )

    @property
    def verdict(self) -> str:
        """Whether the policy is better or worse than its start; undecided where the 90 % interval contains 0.

        A law without measurements decides nothing.
        """
        if not self.measured:
            return "undecided, as nothing is measured"
        low, high = self.gain.intervals[0.9]
        return "better" if low > 0 else "worse" if high < 0 else "undecided"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None for a gain that never turns."""
        return {
            "method": self.method,
            "comparisons": self.comparisons,
            "kl_nats": self.kl_nats,
            "kl_stated": self.kl_stated,
            "samples": self.samples,
            "gain": self.gain.to_dict(),
            "verdict": self.verdict,
            "best_kl_nats": self.best_kl_nats.to_dict(),
            "p_past_peak": self.p_past_peak,
            "preferred": None if self.preferred is None else self.preferred.to_dict(),
            "unit": self.unit,
            "source": self.source,
            "measured": self.measured,
            "beyond_decades": dict(self.beyond_decades),
            "label_usd": self.label_usd.to_dict(),
            "label_hours": self.label_hours.to_dict(),
            "label_days": None if self.label_days is None else self.label_days.to_dict(),
            "machines": self.machines.to_dict(),
            "serving_factor": self.serving_factor,
            "curve": [dict(zip(("kl_nats", "gain", "low", "high"), one, strict=True)) for one in self.curve],
            "notes": list(self.notes),
        }


def feedback_law(config: RunConfig) -> FeedbackLaw:
    """The law of a plan's feedback stage, of its file, of our proxies or none measured.

    Raises InputError for a file that can't be read, or lacks the method.
    """
    stage = _stage(config)
    if stage.law == PRIOR:
        return prior_law(stage.method, stage.comparisons)
    if stage.law == PROXIES:
        found = law_of_proxies(stage.method)
        known = "prior"
    else:
        path = config.path_of("post_training.law", stage.law)
        laws = load_laws(path)
        found, known = laws.get(stage.method), f"{path} with rows of {stage.method}; it has {', '.join(laws)}"
    if found is None:
        raise InputError(f"post_training.law: {stage.law} says nothing of {stage.method}; expected {known}")
    return found


def feedback_outlook(config: RunConfig, cluster: ClusterEstimate | None) -> FeedbackOutlook | None:
    """What the feedback stage of a plan gains and costs; None for a plan without one.

    Args:
        config: The plan.
        cluster: Its machines; None where it states too little of them.

    >>> plan = {"model": {"params": "7B"}, "data": {"tokens": "2T"}}
    >>> stage = {"method": "best_of_n", "comparisons": "30k", "samples": 16}
    >>> found = feedback_outlook(RunConfig.from_mapping({**plan, "post_training": stage}), None)
    >>> found.samples, round(found.kl_nats, 2), found.serving_factor
    (16.0, 1.84, 32.0)
    """
    if config.post_training is None:
        return None
    stage, law = config.post_training, feedback_law(config)
    rng = np.random.default_rng([config.seed, 25])
    params = config.model.params_active
    reward_params = params if stage.reward_params is None else stage.reward_params
    drivers = {"comparisons": stage.comparisons, "reward_params": stage.reward_params}
    alpha, beta = law.coefficients(drivers, rng)
    peak = law.form.peak(alpha, beta)
    kl, stated = _distance(stage, law, alpha, beta, peak)
    off = spread_normal(law.draws, rng)
    gains = law.gain(np.array(math.sqrt(kl)), alpha, beta, off)
    samples = None
    if stage.method == "best_of_n":
        samples = float(stage.samples) if stage.samples is not None else samples_of_kl(kl)
    labels = label_costs(stage, law.draws, rng)
    flops = reward_flops(stage, reward_params) + stage_flops(stage, params, reward_params)
    beyond = {k: v for k, v in law.beyond_decades(kl, drivers).items() if v > _BEYOND}
    return FeedbackOutlook(
        method=stage.method,
        comparisons=stage.comparisons,
        kl_nats=kl,
        kl_stated=stated,
        samples=samples,
        gain=Quantity.of_draws(gains),
        best_kl_nats=Quantity.of_draws(np.where(peak > _farthest(law), np.inf, peak**2)),
        p_past_peak=float(np.mean(math.sqrt(kl) > peak)),
        preferred=Quantity.of_draws(_preferred(gains)) if law.standardised else None,
        unit=law.unit,
        source=law.source,
        measured=bool(law.measured),
        beyond_decades=beyond,
        label_usd=Quantity.of_draws(labels.usd),
        label_hours=Quantity.of_draws(labels.hours),
        label_days=None if stage.labellers is None else Quantity.of_draws(labels.days),
        machines=machine_time(flops, stage.efficiency, cluster),
        serving_factor=1.0 if samples is None else serving_factor(samples, params, reward_params),
        curve=_curve(law, alpha, beta, off, kl),
        notes=tuple(_notes(stage, law, beyond, reward_params, flops)),
    )


def _stage(config: RunConfig) -> FeedbackConfig:
    if config.post_training is None:
        raise ValueError("the plan has no feedback stage")
    return config.post_training


def _distance(
    stage: FeedbackConfig, law: FeedbackLaw, alpha: np.ndarray, beta: np.ndarray, peak: np.ndarray
) -> tuple[float, bool]:
    """KL of the policy, nats, and whether the plan states it."""
    if stage.samples is not None:
        return float(best_of_n_kl(stage.samples)), True
    if stage.kl_nats is not None:
        return stage.kl_nats, True
    d = _distances(law, peak)
    expected = law.form.gain(d[:, None], alpha, beta).mean(axis=1)
    return float(d[int(np.argmax(expected))] ** 2), False


def _distances(law: FeedbackLaw, peak: np.ndarray) -> np.ndarray:
    """Distances up to the farthest that was measured; of a law without measurements well past the middle peak."""
    most = law.measured["kl_nats"][1] ** 0.5 if "kl_nats" in law.measured else _PRIOR_REACH * float(np.median(peak))
    return most * np.arange(1, _GRID + 1) / _GRID


def _farthest(law: FeedbackLaw) -> float:
    """The distance up to which a peak is one."""
    return _REACH * math.sqrt(law.measured["kl_nats"][1]) if "kl_nats" in law.measured else math.inf


def _curve(
    law: FeedbackLaw, alpha: np.ndarray, beta: np.ndarray, off: np.ndarray, kl: float
) -> tuple[tuple[float, float, float, float], ...]:
    """The gain along the way, for a picture."""
    d = np.linspace(0.0, 1.25 * max(math.sqrt(kl), float(_distances(law, law.form.peak(alpha, beta))[-1]) / 1.5), 41)
    gains = law.gain(d[:, None], alpha, beta, off)
    low, middle, high = np.quantile(gains, [0.05, 0.5, 0.95], axis=1)
    return tuple(zip((d**2).tolist(), middle.tolist(), low.tolist(), high.tolist(), strict=True))


def _preferred(gains: np.ndarray) -> np.ndarray:
    """Chance that the new answer's true reward is the higher one, both normal with one standard deviation."""
    from scipy.special import ndtr

    return ndtr(gains / math.sqrt(2.0))


def _notes(
    stage: FeedbackConfig, law: FeedbackLaw, beyond: Mapping[str, float], reward_params: float, flops: float
) -> list[str]:
    """What the figures rest on, and what was taken without being said."""
    said = [f"post_training.law {stage.law}: {law.source}"]
    if stage.law == PROXIES:
        said.append(
            "α and β of our proxies belong to their own set-up: measure yours at three KLs or more and fit them "
            "(`simulate feedback fit`)"
        )
    if stage.method == "dpo" and law.method != "dpo":
        said.append("dpo is held to the law of policy gradients (arXiv:2406.02900), which was measured instead")
    for name, decades in beyond.items():
        said.append(f"{_IN_WORDS[name]} lies {format_decimals(decades, 1)} decades outside what was measured")
    if stage.reward_params is None and stage.method != "dpo":
        said.append(f"post_training.reward_params isn't stated: {format_count(reward_params)} taken, as the model has")
    if stage.label_usd is None:
        said.append("post_training.label_usd isn't stated: $1.60 a comparison taken, within a factor of 3 (recalled)")
    if stage.labellers is None:
        said.append("post_training.labellers isn't stated: labels take no wall clock here")
    if stage.method == "best_of_n":
        said.append(
            f"best_of_n trains the reward model alone, {format_flops(flops)}; it costs where answers are served"
        )
    return said
