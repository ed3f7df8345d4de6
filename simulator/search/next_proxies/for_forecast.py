"""The small runs to train next for a forecast by a predictor of one's own, as one more measure that narrows it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ....core.units import format_count
from ...forecast.forecast import Forecast
from ...forecast.law_inputs import planned, run_columns
from ...forecast.narrowing.costs import training_cost
from ...forecast.narrowing.measures import Measure, Narrowing
from ...hierarchy.errors import Runs
from ...hierarchy.shipped import population
from ...laws import Columns
from ...predictor.fit.posterior_model import given_runs
from ...predictor.loss_model import LossModel
from ...predictor.prediction import LossPrediction
from ...predictor.predictor import Predictor
from ...predictor.table_labels import target_labels
from .active import choose_runs
from .posterior import LawPosterior
from .region import Candidates, Region
from .width import LEVEL, Width

__all__ = ["proxies_that_narrow"]

_OF_PLAN = 0.01  # of its FLOPs, for all runs together
_SIZES, _LARGEST = 6, 0.1  # of the pool; the largest as a share of the plan's parameters
_TOKENS_PER_PARAM = (10.0, 20.0, 40.0, 80.0)
_SD_PER_MEAN = 1.25  # sd of a normal with mean absolute value 1


def proxies_that_narrow(forecast: Forecast, predictor: Predictor) -> Measure | None:
    """The runs, for a hundredth of the plan's FLOPs, that narrow the loss most; None where none of them would.

    Runs to choose from have from the smallest fitted size up to a tenth of the plan's, and the plan's other settings.
    They are chosen as a project's next stage is, by the draws of the predictor's law. Where the model over tables
    fitted the predictor, it is asked what it would leave open given these runs, which end around their predicted
    medians with a run's usual noise. Of a law of its own the draws tell, which promise too little, not too much.

    Args:
        forecast: The forecast.
        predictor: The predictor that made it, fitted on runs of one's own.

    >>> import numpy as np
    >>> import pandas as pd
    >>> import foretrain
    >>> params = np.repeat([1e7, 3e7, 1e8], 3)
    >>> tokens = params * np.tile([5, 20, 80], 3)
    >>> loss = 1.7 + 400 * params**-0.34 + 1500 * tokens**-0.34
    >>> table = foretrain.RunTable.from_frame(pd.DataFrame({"params": params, "tokens": tokens, "loss": loss}))
    >>> predictor = foretrain.Predictor.fit(table)
    >>> plan = foretrain.RunConfig.from_mapping({"model": {"params": "7B"}, "data": {"tokens": "140B"}})
    >>> found = proxies_that_narrow(foretrain.forecast(plan, predictor), predictor)
    >>> found.narrows[0].width_after < found.narrows[0].width_before
    True
    """
    config = forecast.config
    columns, models = run_columns(config, predictor, []), list(predictor.parts(forecast.main).values())
    known = planned(config, models[0], columns)[1]
    smallest = min(model.fitted_ranges["params"][0] for model in models)
    largest = _LARGEST * forecast.params_fitted
    if largest <= smallest:
        return None
    region = Region({name: np.asarray(values, dtype=float) for name, values in known.items()})
    pool = _pool(region, smallest, largest)
    candidates = Candidates(pool, 6.0 * pool["params"] * pool["tokens"])
    budget = _OF_PLAN * 6.0 * forecast.params_fitted * config.data.tokens
    if candidates.cost.min() > budget:
        return None
    width = Width.of(forecast.prediction, models[0], candidates, region)
    beliefs = [_belief(model, region) for model in models]
    found = choose_runs(beliefs, candidates, region, budget, width=width).worthwhile()
    if found.half_width is None or not found.runs or found.half_width[-1] >= found.half_width[0]:
        return None
    chosen = {name: pool[name][list(found.runs)] for name in ("params", "tokens")}
    before, after = _share_of_loss(forecast.prediction), None
    if len(models) == 1:
        after = _given(forecast, predictor, models[0], chosen, known)
    how = "the same model given these runs, which end around their median predictions with a run's usual noise"
    if after is None:
        after = before * float(found.half_width[-1] / found.half_width[0])
        how = "the draws of the fitted law given these runs, which is cautious"
    if after >= before:
        return None
    nats = float(forecast.prediction.loss_nats[0])
    runs = [{name: float(values[place]) for name, values in chosen.items()} for place in range(len(found.runs))]
    sizes = [format_count(run["params"]) for run in (min(runs, key=_size), max(runs, key=_size))]
    return Measure(
        name="next_proxies",
        sentence=f"train {len(runs)} more runs of {' to '.join(dict.fromkeys(sizes))} parameters, and fit again",
        cost=training_cost(forecast, float(found.cost[-1])),
        narrows=(Narrowing("loss_nats", before * nats, after * nats),),
        how=how,
        details={"runs": runs},
    )


def _given(
    forecast: Forecast, predictor: Predictor, model: LossModel, runs: dict[str, np.ndarray], plan: Columns
) -> float | None:
    """The width, as a share of the loss, with runs beside those of the predictor; None for a law of its own."""
    if model.misfit is None or not len(model.misfit.runs):
        return None
    about = predictor.about
    labels = target_labels(about, forecast.main, by=_text(about.get("by")), like=_text(about.get("like")))
    noise = np.random.default_rng(forecast.config.seed).normal(0.0, model.misfit.noise, len(runs["params"]))
    ends = model.predict(runs).log_loss + noise
    known = model.misfit.runs.joined(Runs.finished(runs["params"], runs["tokens"], ends))
    given = given_runs(labels, known, population())
    return _share_of_loss(replace(given, calibration=model.calibration).predict(plan))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _share_of_loss(prediction: LossPrediction) -> float:
    low, high = prediction.interval(LEVEL)
    return float((high - low)[0] / prediction.loss_nats[0])


def _size(run: dict[str, float]) -> float:
    return run["params"]


def _pool(region: Region, smallest: float, largest: float) -> dict[str, np.ndarray]:
    """Columns of runs to choose from: sizes and tokens per parameter of a grid, all else as planned."""
    sizes, ratios = np.meshgrid(np.geomspace(smallest, largest, _SIZES), _TOKENS_PER_PARAM)
    params = sizes.ravel()
    tokens = params * ratios.ravel()
    pool = {name: np.repeat(values, len(params)) for name, values in region.columns.items()}
    pool |= {"params": params, "tokens": tokens}
    stocks = [name for name in pool if name == "unique_tokens"]
    return pool | {name: np.minimum(pool[name], tokens) for name in stocks}


def _belief(model: LossModel, region: Region) -> LawPosterior:
    """What the draws of a fitted law leave open."""
    fit = model.fit
    largest = model.fitted_ranges["compute"][1]
    return LawPosterior(
        fit.law, fit.reference, fit.theta, np.cov(fit.draws, rowvar=False), _SD_PER_MEAN * fit.noise, largest, region
    )
