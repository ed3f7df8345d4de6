"""The level of the training loss on the text of each stage, where a predictor tells texts apart."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ....datasets.facts.corpora import kinds_of
from ...config.run_config import RunConfig
from ...curve.rates.path import RatePath
from ...curve.rates.planned_changes import TEXT_LOG_SD, TextLevels
from ...curve.rates.planned_rates import path_of
from ...predictor.predictor import Predictor
from ..for_plan import for_plan
from ..law_inputs import planned_loss, run_columns
from .one_text import LOG_LOSS_PER_SHARE, text_stages

__all__ = ["end_nats", "expected_path", "text_levels"]


_OF_KINDS = 0.85
"""Of the spread between texts, what is left where their kind is known: a domain's log loss from the mean of the others
of its kind is open by .20 of .23 (20 domains of the public bimix_pile) and .17 of .21 (9 of regmix at 60M)."""


def expected_path(config: RunConfig, predictor: Predictor | None) -> RatePath:
    """Learning rates of a plan and its planned changes, those of the text by as much as the predictor expects.

    Args:
        config: The plan.
        predictor: Predicts the loss; without one, the levels of other texts are left open.

    Raises:
        ConfigError: The plan leaves out something that is needed.
    """
    return path_of(config, None if predictor is None else text_levels(config, predictor))


def end_nats(config: RunConfig, predictor: Predictor, loss_nats: float) -> float:
    """The loss that a run is expected to log at its end, nats: on the text of its last stage.

    Args:
        config: The plan.
        predictor: Predicts the loss.
        loss_nats: The forecast of its final loss, which is that of the whole run's text; it holds where texts aren't
            told apart.
    """
    levels = text_levels(config, predictor)
    return loss_nats if levels is None else math.exp(levels.log_nats[-1])


def text_levels(config: RunConfig, predictor: Predictor) -> TextLevels | None:
    """Levels of the loss on each stage's own text; None where the predictor doesn't tell the texts apart.

    None, too, where the plan says that the loss is measured on one text all the way.
    """
    stages = text_stages(config)
    if stages is None or stages.alike or config.data.evaluated_on is not None:
        return None
    if all(mix is not None and all(f"loss.{name}" in predictor.models for name in mix) for mix in stages.mixes):
        return _by_domain(config, predictor, [mix or {} for mix in stages.mixes])
    texts = [corpus or mix for corpus, mix in zip(stages.corpora, stages.mixes, strict=True)]
    if not predictor.about.get("follows_plan") or any(text is None or kinds_of(text) is None for text in texts):
        return None
    found = []
    for text in texts:
        data = config.data.model_copy(update={"corpus": text, "mix": None, "stages": ()})
        found.append(math.log(_loss(config.model_copy(update={"data": data}), predictor, None)))
    return TextLevels(tuple(found), _OF_KINDS * TEXT_LOG_SD)


def _by_domain(config: RunConfig, predictor: Predictor, mixes: list[Mapping[str, float]]) -> TextLevels:
    """The loss on a mix is that on its domains, each by its share."""
    names = {name for mix in mixes for name in mix}
    of_domain = {name: _loss(config, predictor, f"loss.{name}") for name in names}
    levels = [math.log(math.fsum(share * of_domain[name] for name, share in mix.items())) for mix in mixes]
    return TextLevels(tuple(levels), LOG_LOSS_PER_SHARE)


def _loss(config: RunConfig, predictor: Predictor, target: str | None) -> float:
    """Predicted loss of a plan, nats."""
    asked = for_plan(config, predictor)
    target = target or asked.main_loss_on(None, config.data.corpus_text)
    return float(planned_loss(config, asked, target, run_columns(config, asked, [])).loss_nats[0])
