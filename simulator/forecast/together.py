"""The loss of several plans predicted together, so that they can be compared, also in perplexity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...core.columns import level_of
from ...core.quantity import Difference
from ..cluster.estimate import DRAWS
from ..config.run_config import RunConfig
from ..laws import Columns
from ..predictor.prediction import KNOTS, LossPrediction
from ..predictor.predictor import Predictor
from .adjustments import is_stated
from .for_plan import for_plan
from .law_inputs import planned_loss, run_columns
from .stages.one_text import likeness

__all__ = ["LossDraws", "predict_together"]

_LOSS_STREAM = 1  # of a seed: as in the chance of all targets, times don't depend on what is drawn of losses
_MOST_NATS = 700.0  # beyond this exp overflows


def predict_together(configs: Sequence[RunConfig], predictor: Predictor, target: str) -> LossPrediction:
    """Predict one target of n plans, with the correlation of their errors.

    Each plan's own loss and scale are exactly those of its forecast. What only some plans state and has no neutral
    value for the others, a learning rate say, is left out where the correlation is found.

    Args:
        configs: The plans.
        predictor: The predictor.
        target: The target.

    Raises:
        InputError: The predictor does not apply to one of them.
    """
    asked = [for_plan(config, predictor) for config in configs]
    columns = [run_columns(config, its, []) for config, its in zip(configs, asked, strict=True)]
    alone = [
        planned_loss(config, its, target, of_plan) for config, its, of_plan in zip(configs, asked, columns, strict=True)
    ]
    allowing = next((config for config in configs if config.data.allow_new_domains), configs[0])
    joint = planned_loss(allowing, asked[0], target, _side_by_side(columns), joint=True)
    if joint.correlation is not None:  # what tables of different texts share isn't known
        same = np.array([[one is other for other in asked] for one in asked])
        never_above = None if joint.never_above is None else joint.never_above & same
        shared = np.where(same, 1.0, likeness(configs, float(min(one.scale[0] for one in alone))))
        joint = replace(joint, correlation=joint.correlation * shared, never_above=never_above)
    return replace(
        joint,
        log_loss=np.concatenate([one.log_loss for one in alone]),
        scale=np.concatenate([one.scale for one in alone]),
        extrapolation_decades=np.concatenate([one.extrapolation_decades for one in alone]),
        upper_share=np.concatenate(
            [np.ones((1, len(KNOTS))) if (own := one.upper_share) is None else own for one in alone]
        ),
    )


@dataclass(frozen=True)
class LossDraws:
    """Losses of n plans by the same draws, `(draws, n)` in nats, for what isn't linear in the loss."""

    prediction: LossPrediction
    nats: np.ndarray

    @classmethod
    def of(cls, prediction: LossPrediction, seed: int) -> LossDraws:
        """Draw from a joint prediction."""
        return cls(prediction, prediction.sample(np.random.default_rng([seed, _LOSS_STREAM]), DRAWS))

    def pair(self, number: int, to: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Losses of plan `to` and of plan `number`, whose differences are calibrated, each `(draws,)`.

        The draws' own order holds what a difference has to do with the level.
        """
        base = self.nats[:, to]
        return base, base + self.prediction.difference(number, to).matched(self.nats[:, number] - base)

    def perplexity(self, number: int, to: int = 0) -> Difference:
        """The perplexity of plan `number` minus that of plan `to`."""
        base, own = (np.exp(np.minimum(nats, _MOST_NATS)) for nats in self.pair(number, to))
        medians = np.exp(np.minimum(self.prediction.loss_nats[[to, number]], _MOST_NATS))
        centre, off = float(medians[1] - medians[0]), own - base
        of_loss = self.prediction.difference(number, to)
        if of_loss.one_sided:  # a shift of draws would take some across zero
            off *= centre / float(np.median(off))
        return replace(Difference.around(centre, off), chance_lower=of_loss.probability_below_zero)


def _side_by_side(plans: Sequence[Mapping[str, np.ndarray]]) -> Columns:
    """The columns of single plans `(1,)` as columns `(n,)`; what a plan lacks at the value that means the same."""
    found = {}
    for name in dict.fromkeys(name for plan in plans for name in plan):
        values = [plan[name] if name in plan else _neutral(name, plan) for plan in plans]
        if not any(value is None for value in values):
            found[name] = np.concatenate([value for value in values if value is not None])
    return found


def _neutral(name: str, plan: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """What a column is for a plan that doesn't have it; None where no value means that."""
    if name == "unique_tokens":
        return plan["tokens"]
    if name.startswith("unique_tokens."):
        return np.array([np.inf])
    if name == "params_total":
        return plan["params"]
    if name == "num_experts":
        return np.ones(1)
    if name.startswith("mix.") or level_of(name) is not None:
        return np.zeros(1)
    if is_stated(name) or name == "keep":
        return np.full(1, np.nan)
    return None
