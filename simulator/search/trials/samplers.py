"""The choice of Optuna's sampler for a study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....core.extras import has, require

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from ..study import Study

__all__ = ["choose_sampler", "make_sampler", "sampler_note", "suits_gp"]

_MANY_GOALS = 3
_FEW_TRIALS = 100  # a Gaussian process takes a second a trial past a few hundred, and imports torch
_FEW_PARAMETERS = 10


def choose_sampler(study: Study, trials: int) -> str:
    """The sampler's name, as requested or chosen by the study's goals and parameters.

    Three or more goals: NSGA-III. Otherwise up to 100 trials of up to 10 continuous parameters: a Gaussian process, if
    torch is installed, which Optuna's needs. Otherwise the multivariate tree-structured Parzen estimator, which handles
    categorical and logarithmic parameters.
    """
    if study.options.sampler != "auto":
        return study.options.sampler
    if len(study.goals) >= _MANY_GOALS:
        return "nsga"
    return "gp" if suits_gp(study, trials) and has("torch") else "tpe"


def suits_gp(study: Study, trials: int) -> bool:
    """Whether a Gaussian process suits the study: few trials of few, continuous parameters."""
    few = trials <= _FEW_TRIALS and len(study.space.parameters) <= _FEW_PARAMETERS
    return few and study.space.continuous


def sampler_note(study: Study, sampler: str, trials: int) -> str | None:
    """A note for a study that would use a Gaussian process if torch were installed; None otherwise."""
    if sampler != "tpe" or study.options.sampler != "auto" or has("torch") or not suits_gp(study, trials):
        return None
    return (
        "searched by tpe, as torch isn't installed: so few trials of so few parameters are best spent by a Gaussian "
        "process (pip install 'foretrain[proxies]')"
    )


def make_sampler(name: str, seed: int) -> BaseSampler:
    """One of Optuna's samplers, seeded at its first trial by `seed` and that trial's number.

    So a repeated search gives the same plans, a resumed one continues with new plans, and processes that share a study
    try different plans. MissingExtraError for gp without torch.
    """
    from .first_trial import SeededByFirstTrial

    if name == "gp":
        require("search.sampler gp", "torch")
    return SeededByFirstTrial(lambda number: _sampler(name, (seed + number) % 2**32))


def _sampler(name: str, seed: int) -> BaseSampler:
    """A sampler; all read the limits that trials state (`Trial.set_constraint`)."""
    from optuna import samplers

    from ..storage.quiet import experimental_parts

    with experimental_parts():
        if name == "gp":
            return samplers.GPSampler(seed=seed, deterministic_objective=True)
        if name == "nsga":
            return samplers.NSGAIIISampler(seed=seed)
        if name == "random":
            return samplers.RandomSampler(seed=seed)
        return samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
