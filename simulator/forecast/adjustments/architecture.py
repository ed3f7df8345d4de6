"""Token mixers where no law of the predictor has their levels: by the shipped proxies of architectures.

What a mixer does to size, data and floor there is carried over to the predictor's own law: as many parameters and
tokens more or less, at the plan's own size, and as much of its floor. Small proxies show little of what happens at
sizes that papers compared: where one did, its comparison and the proxies' are averaged, each by its precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from typing_extensions import override

from ....core.columns import level_column, level_of
from ....core.errors import InputError
from ....core.units import shown
from ....datasets.facts.architectures import COMPARED, Comparison
from ....datasets.facts.optimisation import Cost, setting_costs
from ....datasets.runs.columns import columns as run_table_columns
from ...config.run_config import RunConfig
from ...laws import Columns, OfLevels
from ...predictor.loss_model import LossModel
from ...predictor.predictor import Predictor
from ...predictor.storage.folder import load, shipped
from ...predictor.textbook_parameters import textbook_parameters
from .effect import Adjustment, Effect, effect_of_cost

__all__ = ["ARCHITECTURE", "MIXER_PLACE", "PROXIES", "TRANSFORMER", "Architecture"]

ARCHITECTURE, TRANSFORMER = "architecture", "transformer"
"""The category, and its usual baseline."""
PROXIES = "proxy-architectures"
"""The shipped predictor that is fitted on ladders of several architectures."""
MIXER_PLACE = "model.architecture.mixer"
_MOST_DRAWS = 200
_FEWEST_VARIANTS = 2  # beside the baseline, from which on runs say how far levels are apart


class Architecture(Adjustment):
    """What another token mixer than attention does to the loss."""

    name = ARCHITECTURE
    places = (MIXER_PLACE,)

    def __init__(self, proxies: Predictor | None = None) -> None:
        self._given = proxies

    @property
    def proxies(self) -> Predictor | None:
        """The predictor that knows architectures; None where none ships."""
        if self._given is None and PROXIES in shipped():
            self._given = load(PROXIES)
        return self._given

    @override
    def is_known(self) -> bool:
        return self._given is not None or PROXIES in shipped()

    @override
    def is_read(self, model: LossModel) -> bool:
        law = model.fit.law
        return ARCHITECTURE in {*law.columns, *law.optional, *law.levels}

    @override
    def columns(self, config: RunConfig, of_runs: Mapping[str, Any]) -> dict[str, float]:
        level = run_table_columns()[ARCHITECTURE].value_in(config)
        return {} if level in (None, TRANSFORMER) else {level_column(MIXER_PLACE, str(level)): 1.0}

    @override
    def effect(self, model: LossModel, columns: Columns, stated: Columns) -> Effect | None:
        levels = {
            named[1]: name for name in stated if (named := level_of(name)) is not None and named[0] == MIXER_PLACE
        }
        if not levels or self.is_read(model) or self.proxies is None:
            return None
        if not {"params", "tokens"} <= set(model.fit.law.member.uses):
            return None
        n = len(columns["params"])
        log_loss, sd = np.zeros(n), np.zeros(n)
        sources = []
        for level, name in levels.items():
            shift, open_ = self._of_level(model, columns, level)
            if level in COMPARED:
                shift, open_ = _averaged((shift, open_), self._published(model, columns, COMPARED[level]))
            has = np.asarray(stated[name] == 1.0, dtype=float)
            log_loss, sd = log_loss + has * shift, sd + has * open_
            if level in COMPARED:
                sources += COMPARED[level].sources
        return Effect(self.name, self.places, log_loss, sd, ("shipped proxies of architectures", *sources))

    def _of_level(self, model: LossModel, columns: Columns, level: str) -> tuple[np.ndarray, np.ndarray]:
        """The shift of log loss of runs of a level, and one sd of it, `(n,)` each."""
        middle, draws = self._moves(columns, level)
        base = model.fit.log_loss(columns)
        shift = _shift(model, columns, base, middle)[0]
        drawn = _shift(model, columns, base, draws)
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        spread = np.sqrt(np.mean((np.clip(drawn, low, high) - shift) ** 2, axis=0))
        return shift, np.hypot(spread, setting_costs().worth_log_sd * shift)

    def _published(self, model: LossModel, columns: Columns, compared: Comparison) -> tuple[np.ndarray, np.ndarray]:
        """The shift of log loss by a paper's comparison, and one sd of it, `(n,)` each."""
        saved, sd = compared.tokens_saved(columns["params"])
        found = effect_of_cost(model, columns, Cost(-saved, sd), self.name, self.places, (), of_text=True)
        assert found is not None
        return found.log_loss, found.sd

    def _moves(self, columns: Columns, level: str) -> tuple[np.ndarray, np.ndarray]:
        """By how much a level moves log N, log D and log E: `(3, 1, n)` in the middle, `(3, K, n)` by draws."""
        assert self.proxies is not None
        fit = self.proxies.models[self.proxies.main_loss].fit
        term, place = next((term, place) for term, place in fit.law.places if term.category == ARCHITECTURE)
        assert isinstance(term, OfLevels)
        theta = np.concatenate([fit.theta[None], fit.draws[:_MOST_DRAWS]])[:, place]
        stand_in = level
        if level not in term.levels:
            if len(term.variants) < _FEWEST_VARIANTS:
                known = ", ".join(map(shown, term.levels))
                raise InputError(
                    f"{MIXER_PLACE}: got {shown(level)}; {PROXIES} has {known}, so it can't say what it does: expected "
                    "one of those"
                )
            # as far off as levels are: each kind of effect is its spread times a standard normal
            stand_in, own = term.variants[0], term.effects_of(term.variants[0])
            theta[:, own] = np.random.default_rng(0).standard_normal((len(theta), own.stop - own.start))
            theta[0, own] = 0.0
        n = len(columns["params"])
        of_runs = {name: columns[name] for name in ("params", "tokens")}
        of_runs |= {level_column(ARCHITECTURE, one): np.full(n, float(one == stand_in)) for one in term.levels}
        found = term.effect(theta, term.prepare(of_runs, fit.reference))
        zero = np.zeros((len(theta), n))
        parts = (found.log_params, found.log_tokens, found.log_floor)
        moves = np.array([zero if part is None else np.broadcast_to(part[0], zero.shape) for part in parts])
        return moves[:, :1], moves[:, 1:]

    @override
    def sentence(self, effect: Effect) -> str | None:
        return None  # a strategy of the forecast says more


def _averaged(
    one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Two independent estimates, mean and sd each, as one: weighted by their precisions."""
    (mean, sd), (mean_2, sd_2) = one, other
    weight, weight_2 = sd**-2.0, sd_2**-2.0
    return (weight * mean + weight_2 * mean_2) / (weight + weight_2), (weight + weight_2) ** -0.5


def _shift(model: LossModel, columns: Columns, base: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """The shift of log loss `(K, n)` of runs `(n,)` whose log N, log D and log E are moved by `(3, K, n)`."""
    log_params, log_tokens, log_floor = moves
    count = len(log_params)
    moved = {name: np.tile(values, count) for name, values in columns.items()}
    moved["params"] = moved["params"] * np.exp(log_params.ravel())
    moved["tokens"] = moved["tokens"] * np.exp(log_tokens.ravel())
    for name in moved:
        if name.startswith("unique_tokens"):  # as often seen as before
            moved[name] = moved[name] * np.exp(log_tokens.ravel())
    loss = np.exp(model.fit.log_loss(moved)).reshape(count, -1)
    floor = textbook_parameters(model.fit)["E"] * np.expm1(log_floor)
    return np.log(np.maximum(loss + floor, 0.01 * loss)) - base
