"""What would narrow the loss: a finished run of one's own on the same text, and naming the text.

Both are asked of the model over tables, as a forecast with such a run, or with such names, would ask it. A run that
hasn't been trained is taken to end at its own median prediction; a text that isn't named, to be one of those that are
known best, each as likely.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ....core.units import format_count
from ....datasets.facts.corpora import composition_text, find_corpus
from ...config.run_config import RunConfig
from ...fitting import Observations
from ...hierarchy.shipped import population
from ...predictor.fit.posterior_model import posterior_model
from ...predictor.named import with_terms
from ...predictor.prediction import LossPrediction
from ...predictor.predictor import Predictor
from ..for_plan import for_plan, plan_labels
from ..forecast import Forecast
from ..law_inputs import planned_loss, run_columns
from .costs import training_cost
from .measures import LEVEL, Cost, Measure, Narrowing

__all__ = ["name_the_text", "own_run"]

_SHARES_OF_SIZE = (0.01, 0.05, 0.2)  # of the plan's parameters: runs that could be trained before it
_TOKENS_PER_PARAM = 20.0
_LEAST_SHARE = 0.1  # of the width: less isn't worth a run, however cheap
_MOST_TEXTS = 4
_FLOPS_PER_PARAM_AND_TOKEN = 6.0


def own_run(forecast: Forecast, predictor: Predictor) -> Measure | None:
    """The finished run of one's own that narrows the loss most for its compute; None where none of those weighed does.

    Args:
        forecast: The forecast, whose loss was predicted without runs of one's own.
        predictor: What was asked for; one that follows plans.
    """
    config, asked = forecast.config, for_plan(forecast.config, predictor)
    columns, before = run_columns(config, asked, []), _share_of_loss(forecast.prediction)
    sizes = np.array([share * forecast.params_fitted for share in _SHARES_OF_SIZE])
    tokens = _TOKENS_PER_PARAM * sizes
    medians = asked.predict({"params": sizes, "tokens": tokens}).loss_nats
    weighed: list[dict[str, Any]] = []
    for params, seen, loss in zip(sizes, tokens, medians, strict=True):
        run = {"params": np.array([params]), "tokens": np.array([seen])}
        model = with_terms(posterior_model(plan_labels(config), Observations.from_columns(run, np.array([loss]))))
        given = Predictor("anchor", {"loss": model}, asked.about)
        after = _share_of_loss(planned_loss(config, given, "loss", columns))
        flops = float(_FLOPS_PER_PARAM_AND_TOKEN * params * seen)
        weighed.append({"params": float(params), "tokens": float(seen), "flops": flops, "share": 1.0 - after / before})
    worth = [one for one in weighed if one["share"] >= _LEAST_SHARE]
    if not worth:
        return None
    best = max(worth, key=lambda one: one["share"] / one["flops"])
    run_text = f"{format_count(best['params'])} parameters on {format_count(best['tokens'])} tokens"
    return Measure(
        name="own_run",
        sentence=f"train one run of {run_text} of this corpus to its end, and forecast with it (--anchor)",
        cost=training_cost(forecast, best["flops"]),
        narrows=(_narrowing(forecast, before * (1.0 - best["share"])),),
        how="the forecast given a run that ends at its own median prediction; of the sizes weighed, the most for its "
        "compute",
        details={"params": best["params"], "tokens": best["tokens"], "weighed": weighed},
    )


def name_the_text(forecast: Forecast, predictor: Predictor) -> Measure | None:
    """Naming what the plan leaves open of corpus, tokenizer and evaluation text; None where nothing is, or it's no use.

    Arguments as those of `own_run`.
    """
    config = forecast.config
    data = config.data
    lacking = [
        name for name, value in (("corpus", data.corpus or data.mix), ("tokenizer", data.tokenizer)) if not value
    ]
    if not lacking:
        return None
    columns = run_columns(config, for_plan(config, predictor), [])
    widths, texts = [], _known_texts(config)
    for named in texts:
        of_text = config.model_copy(update={"data": data.model_copy(update=named)})
        asked = for_plan(of_text, predictor)
        widths.append(_share_of_loss(planned_loss(of_text, asked, asked.main_loss, columns)))
    if not widths or np.mean(widths) >= _share_of_loss(forecast.prediction):
        return None
    names = " and ".join(lacking)
    known = [", ".join(str(value) for value in named.values()) for named in texts]
    return Measure(
        name="name_the_text",
        sentence=f"name the {names} (data.{', data.'.join(lacking)}): free",
        cost=Cost("saying it"),
        narrows=(_narrowing(forecast, float(np.mean(widths))),),
        how=f"the mean width with each of {len(known)} texts named that most public runs are of: {'; '.join(known)}",
        details={"lacking": lacking, "texts": known},
    )


def _known_texts(config: RunConfig) -> list[Mapping[str, str]]:
    """What the plan leaves open, as the tables with most runs have it, each once."""
    data, found = config.data, []
    for table in sorted(population().tables, key=lambda table: -int(str(table.facts["rows"]))):
        labels = table.labels
        if any(find_corpus(name) is None for name in labels.corpus) or not labels.tokenizer:
            continue
        named = {}
        if not (data.corpus or data.mix):
            named["corpus"] = composition_text(labels.corpus) if len(labels.corpus) > 1 else next(iter(labels.corpus))
        if not data.tokenizer:
            named["tokenizer"] = labels.tokenizer
        if len(labels.corpus) == 1 and named not in found:
            found.append(named)
    return found[:_MOST_TEXTS]


def _share_of_loss(prediction: LossPrediction) -> float:
    """Width of the interval of one run's loss, as a share of its median."""
    low, high = prediction.interval(LEVEL)
    return float((high - low)[0] / prediction.loss_nats[0])


def _narrowing(forecast: Forecast, share_of_loss: float) -> Narrowing:
    """A width as a share of the loss, in nats of the plan's own loss."""
    nats = float(forecast.prediction.loss_nats[0])
    return Narrowing("loss_nats", _share_of_loss(forecast.prediction) * nats, share_of_loss * nats)
