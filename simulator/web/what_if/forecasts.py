"""The last forecasts of a page, kept while they may be asked for again."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from ...config.run_config import RunConfig
from ...forecast.forecast import Forecast, forecast
from ...predictor.predictor import Predictor

__all__ = ["Forecasts"]


class Forecasts:
    """The last forecasts, by what they are of: the baseline's is asked for with every change."""

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._found: OrderedDict[tuple[str, str], Forecast] = OrderedDict()
        self._lock = Lock()

    def of(self, config: RunConfig, predictor: Predictor) -> Forecast:
        """The forecast of a plan. Errors as those of `forecast`."""
        key = (predictor.name, config.model_dump_json())
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        found = forecast(config, predictor)
        with self._lock:
            self._found[key] = found
            while len(self._found) > self._most:
                self._found.popitem(last=False)
        return found
