<<<<<<< HEAD
"""Token mixers where no law of the predictor has their levels: by the shipped proxies of architectures.

What a mixer does to size, data and floor there is carried over to the predictor's own law: as many parameters and
tokens more or less, at the plan's own size, and as much of its floor. Small proxies show little of what happens at
sizes that papers compared: where one did, its comparison and the proxies' are averaged, each by its precision.
=======
"""Mixers other than attention where no law of the predictor has their level, by published comparisons.

A paper's comparison is turned into tokens: a model that needs a share of the compute for the same loss at the same size
needs that share of the tokens. Beyond the sizes that were compared the doubt grows, as architectures change rank with
size (Tay et al. 2022, arXiv:2207.10551); where nobody compared, all that is known is that they differ.
>>>>>>> 251ad1465a2666c3561154c8c32288911fb38736
"""

from __future__ import annotations

<<<<<<< HEAD
from collections.abc import Mapping
from typing import Any
=======
import math
from collections.abc import Mapping
from typing import Any, NamedTuple
>>>>>>> 251ad1465a2666c3561154c8c32288911fb38736

import numpy as np
from typing_extensions import override

<<<<<<< HEAD
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
=======
from ....core.model.mixers.members.attention import ATTENTION
from ....core.units import format_count
from ....datasets.facts.optimisation import Cost
from ...config.run_config import RunConfig
from ...laws import Columns
from ...predictor.loss_model import LossModel
from .effect import Adjustment, Effect, effect_of_cost

__all__ = ["Architecture"]

_PLACE = "model.architecture.mixer"
_RANKS = "arXiv:2207.10551"


class _Published(NamedTuple):
    """A comparison with transformers: log tokens that the mixer saves, one sd of it, and the largest model compared."""

    log_tokens: float
    sd: float
    params: float
    source: str


# One paper each, by its authors, at contexts of 2k and below: the sd leaves it open whether there is any gain.
_FACTS = {
    # equal loss at 20 % less compute, up to 355M parameters on The Pile (abstract, section 4.2)
    "hyena": _Published(-math.log(0.8), 0.25, 355e6, "arXiv:2302.10866"),
    # at 125M within .4 of a perplexity of about 20 (abstract): .02 nats, which a law of such models makes up for with
    # a fifth more tokens (Hoffmann et al. 2022, arXiv:2203.15556, table A3: β .28, B·D^-β about .4 at 10B tokens)
    "h3": _Published(-0.18, 0.25, 125e6, "arXiv:2212.14052"),
}
_OPEN = _Published(0.0, 0.7, 0.0, _RANKS)
"""Where nobody compared: twice the tokens either way is one sd."""
_SD_PER_DECADE = 0.25
"""Beyond the largest model compared: a judgement."""


class Architecture(Adjustment):
    """What another mixer is worth beside attention, in tokens."""

    name = "architecture"
    places = (_PLACE,)
>>>>>>> 251ad1465a2666c3561154c8c32288911fb38736

    @override
    def is_read(self, model: LossModel) -> bool:
        law = model.fit.law
<<<<<<< HEAD
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
                sources.append(COMPARED[level].source)
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
=======
        return "architecture" in {*law.columns, *law.optional, *law.levels}

    @override
    def columns(self, config: RunConfig, of_runs: Mapping[str, Any]) -> dict[str, float]:
        shape = config.model.architecture
        if shape is None or shape.mixer == ATTENTION:
            return {}
        return {f"{_PLACE}.{shape.mixer.name}": 1.0}

    @override
    def effect(self, model: LossModel, columns: Columns, stated: Columns) -> Effect | None:
        has = {
            name.removeprefix(f"{_PLACE}."): np.nan_to_num(values) > 0
            for name, values in stated.items()
            if name.startswith(f"{_PLACE}.")
        }
        if not has or self.is_read(model):
            return None
        params = np.asarray(columns["params"], dtype=float)
        gain, sd = np.zeros(len(params)), np.zeros(len(params))
        sources: dict[str, None] = {}
        for mixer, here in has.items():
            known = _FACTS.get(mixer, _OPEN)
            beyond = np.maximum(np.log10(params / known.params), 0.0) if known.params else 0.0
            gain = np.where(here, known.log_tokens, gain)
            sd = np.where(here, np.hypot(known.sd, _SD_PER_DECADE * beyond), sd)
            sources |= {known.source: None, _RANKS: None}
        # of a single run, for its sentence
        published = [_FACTS[mixer].params for mixer, here in has.items() if here[0] and mixer in _FACTS]
        facts = {"tokens_factor": float(np.exp(gain[0])), "published_params": published[0] if published else 0.0}
        return effect_of_cost(
            model, columns, Cost(-gain, sd), self.name, self.places, tuple(sources), facts=facts, of_text=True
        )  # fmt: skip

    @override
    def sentence(self, effect: Effect) -> str | None:
        facts = effect.facts or {}
        middle, low, high = effect.percent()
        open_too = ", undecided" if low < 0 < high else ""
        sizes = facts["published_params"]
        known = (
            f"by a paper with models of up to {format_count(sizes)} parameters it counts tokens "
            f"{facts['tokens_factor']:.2f} times"
            if sizes
            else "nobody is known to have compared it with transformers at such sizes"
        )
        return (
            f"{_PLACE}: no run of this predictor had this mixer; {known}: {middle:+.2g} % of a transformer's loss "
            f"({low:+.2g} to {high:+.2g}){open_too} ({effect.sources[0]}); the predictor proxy-architectures rests on "
            "small runs of it"
        )
>>>>>>> 251ad1465a2666c3561154c8c32288911fb38736
