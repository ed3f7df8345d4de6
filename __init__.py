"""foretrain: simulate an LLM pretraining run before anyone pays for it.

>>> import foretrain
>>> config = foretrain.RunConfig.from_mapping({"model": {"params": "7B"}, "data": {"tokens": "2T"}})
>>> result = foretrain.forecast(config, foretrain.load_predictor("web-text"))
>>> low, high = result.headline.perplexity.intervals[0.9]
>>> low < result.headline.perplexity.median < high
True

Names are imported when they are first used, so that `import foretrain` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.model.architecture import Architecture
    from .datasets.corpus.corpus import Corpus
    from .datasets.corpus.quality import inspect
    from .datasets.facts.accelerators import Accelerator, accelerator
    from .datasets.runs.run_table import RunTable
    from .datasets.selection.derived.result import Derived
    from .datasets.selection.derived.writing import derive
    from .datasets.selection.selection import Selection, select
    from .datasets.tokens.prepare import prepare
    from .proxies.design.space import ProxySpace
    from .proxies.generations.generations import Generations
    from .proxies.project import Project
    from .simulator.allocation.compute_optimal.curves import isoflop, isoloss
    from .simulator.allocation.compute_optimal.optimal import compute_optimal
    from .simulator.allocation.sensitivity.sensitivity import sensitivity
    from .simulator.allocation.under_limits.marginal import what_more_buys
    from .simulator.allocation.under_limits.money import money_optimal
    from .simulator.cluster.cluster_estimate import ClusterEstimate
    from .simulator.cluster.estimate import estimate as estimate_cluster
    from .simulator.cluster.layout_choice import search_layouts
    from .simulator.cluster.step_time.calibrate import calibrate_on_plan as calibrate_step_times
    from .simulator.cluster.step_time.step_model import StepTimeModel
    from .simulator.config.run_config import RunConfig
    from .simulator.config.starting.sketch import PlanSketch, sketch_plan
    from .simulator.curve.forecasting import CurveForecast, forecast_curve
    from .simulator.curve.forecasting import Run as CurveRun
    from .simulator.curve.law.transfer import Library as CurveLibrary
    from .simulator.curve.law.transfer import fit_library as fit_curves
    from .simulator.curve.reading import read_curves
    from .simulator.curve.scoring import score as score_curves
    from .simulator.curve.store import load as load_curves
    from .simulator.curve.store import save as save_curves
    from .simulator.data_budget.data_budget import plan_stock
    from .simulator.forecast.compare import Comparison, compare
    from .simulator.forecast.forecast import Forecast, forecast
    from .simulator.predictor.estimator import ScalingLawRegressor
    from .simulator.predictor.evaluation.backtesting import backtest_table as backtest
    from .simulator.predictor.evaluation.scoring import score
    from .simulator.predictor.predictor import Predictor
    from .simulator.predictor.storage.folder import load as load_predictor
    from .simulator.predictor.storage.folder import save as save_predictor
    from .simulator.search.optimize import optimize
    from .simulator.search.planning.outcomes.reading import read_outcome
    from .simulator.search.planning.planner import Planner
    from .simulator.search.result import Optimization
    from .simulator.search.study import Study
    from .simulator.tracking.result import Tracking
    from .simulator.tracking.track import track
    from .workflows.next_stage import NextStage, next_stage
    from .workflows.planned_run import StageBudget

from .core import errors
from .core.errors import (
    CampaignError,
    ConfigError,
    CorpusError,
    DataWarning,
    ExtrapolationWarning,
    FitError,
    ForetrainError,
    ForetrainWarning,
    InfeasibleError,
    InputError,
    LogError,
    MissingExtraError,
    OutputError,
    PluginWarning,
    PredictorError,
    RegistryError,
    RunTableError,
    UsageError,
)
from .core.version import __version__

_HOMES = {
    "Accelerator": ("datasets.facts.accelerators", "Accelerator"),
    "Architecture": ("core.model.architecture", "Architecture"),
    "ClusterEstimate": ("simulator.cluster.cluster_estimate", "ClusterEstimate"),
    "Comparison": ("simulator.forecast.compare", "Comparison"),
    "Corpus": ("datasets.corpus.corpus", "Corpus"),
    "CurveForecast": ("simulator.curve.forecasting", "CurveForecast"),
    "CurveLibrary": ("simulator.curve.law.transfer", "Library"),
    "CurveRun": ("simulator.curve.forecasting", "Run"),
    "Derived": ("datasets.selection.derived.result", "Derived"),
    "Forecast": ("simulator.forecast.forecast", "Forecast"),
    "Generations": ("proxies.generations.generations", "Generations"),
    "NextStage": ("workflows.next_stage", "NextStage"),
    "Optimization": ("simulator.search.result", "Optimization"),
    "PlanSketch": ("simulator.config.starting.sketch", "PlanSketch"),
    "Planner": ("simulator.search.planning.planner", "Planner"),
    "Predictor": ("simulator.predictor.predictor", "Predictor"),
    "Project": ("proxies.project", "Project"),
    "ProxySpace": ("proxies.design.space", "ProxySpace"),
    "RunConfig": ("simulator.config.run_config", "RunConfig"),
    "RunTable": ("datasets.runs.run_table", "RunTable"),
    "ScalingLawRegressor": ("simulator.predictor.estimator", "ScalingLawRegressor"),
    "Selection": ("datasets.selection.selection", "Selection"),
    "StageBudget": ("workflows.planned_run", "StageBudget"),
    "StepTimeModel": ("simulator.cluster.step_time.step_model", "StepTimeModel"),
    "Study": ("simulator.search.study", "Study"),
    "Tracking": ("simulator.tracking.result", "Tracking"),
    "accelerator": ("datasets.facts.accelerators", "accelerator"),
    "backtest": ("simulator.predictor.evaluation.backtesting", "backtest_table"),
    "calibrate_step_times": ("simulator.cluster.step_time.calibrate", "calibrate_on_plan"),
    "compare": ("simulator.forecast.compare", "compare"),
    "compute_optimal": ("simulator.allocation.compute_optimal.optimal", "compute_optimal"),
    "derive": ("datasets.selection.derived.writing", "derive"),
    "estimate_cluster": ("simulator.cluster.estimate", "estimate"),
    "fit_curves": ("simulator.curve.law.transfer", "fit_library"),
    "forecast": ("simulator.forecast.forecast", "forecast"),
    "forecast_curve": ("simulator.curve.forecasting", "forecast_curve"),
    "inspect": ("datasets.corpus.quality", "inspect"),
    "isoflop": ("simulator.allocation.compute_optimal.curves", "isoflop"),
    "isoloss": ("simulator.allocation.compute_optimal.curves", "isoloss"),
    "load_curves": ("simulator.curve.store", "load"),
    "load_predictor": ("simulator.predictor.storage.folder", "load"),
    "money_optimal": ("simulator.allocation.under_limits.money", "money_optimal"),
    "next_stage": ("workflows.next_stage", "next_stage"),
    "optimize": ("simulator.search.optimize", "optimize"),
    "plan_stock": ("simulator.data_budget.data_budget", "plan_stock"),
    "prepare": ("datasets.tokens.prepare", "prepare"),
    "read_curves": ("simulator.curve.reading", "read_curves"),
    "read_outcome": ("simulator.search.planning.outcomes.reading", "read_outcome"),
    "save_curves": ("simulator.curve.store", "save"),
    "save_predictor": ("simulator.predictor.storage.folder", "save"),
    "score": ("simulator.predictor.evaluation.scoring", "score"),
    "score_curves": ("simulator.curve.scoring", "score"),
    "search_layouts": ("simulator.cluster.layout_choice", "search_layouts"),
    "select": ("datasets.selection.selection", "select"),
    "sensitivity": ("simulator.allocation.sensitivity.sensitivity", "sensitivity"),
    "sketch_plan": ("simulator.config.starting.sketch", "sketch_plan"),
    "track": ("simulator.tracking.track", "track"),
    "what_more_buys": ("simulator.allocation.under_limits.marginal", "what_more_buys"),
}

__all__ = [
    "Accelerator",
    "Architecture",
    "CampaignError",
    "ClusterEstimate",
    "Comparison",
    "ConfigError",
    "Corpus",
    "CorpusError",
    "CurveForecast",
    "CurveLibrary",
    "CurveRun",
    "DataWarning",
    "Derived",
    "ExtrapolationWarning",
    "FitError",
    "Forecast",
    "ForetrainError",
    "ForetrainWarning",
    "Generations",
    "InfeasibleError",
    "InputError",
    "LogError",
    "MissingExtraError",
    "NextStage",
    "Optimization",
    "OutputError",
    "PlanSketch",
    "Planner",
    "PluginWarning",
    "Predictor",
    "PredictorError",
    "Project",
    "ProxySpace",
    "RegistryError",
    "RunConfig",
    "RunTable",
    "RunTableError",
    "ScalingLawRegressor",
    "Selection",
    "StageBudget",
    "StepTimeModel",
    "Study",
    "Tracking",
    "UsageError",
    "__version__",
    "accelerator",
    "backtest",
    "calibrate_step_times",
    "compare",
    "compute_optimal",
    "derive",
    "errors",
    "estimate_cluster",
    "fit_curves",
    "forecast",
    "forecast_curve",
    "inspect",
    "isoflop",
    "isoloss",
    "load_curves",
    "load_predictor",
    "money_optimal",
    "next_stage",
    "optimize",
    "plan_stock",
    "prepare",
    "read_curves",
    "read_outcome",
    "save_curves",
    "save_predictor",
    "score",
    "score_curves",
    "search_layouts",
    "select",
    "sensitivity",
    "sketch_plan",
    "track",
    "what_more_buys",
]


def _pictures(result: object) -> str:
    """A result's pictures for a notebook; what draws them is imported when one is shown."""
    return import_module(".simulator.report.notebook", __name__).pictures_of(result)


import_module(".core.output.notebook", __name__).picture_makers.append(_pictures)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(import_module(f".{module}", __name__), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
