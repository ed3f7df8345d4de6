"""Mixers other than attention where no law of the predictor has their level, by published comparisons.

A paper's comparison is turned into tokens: a model that needs a share of the compute for the same loss at the same size
needs that share of the tokens. Beyond the sizes that were compared the doubt grows, as architectures change rank with
size (Tay et al. 2022, arXiv:2207.10551); where nobody compared, all that is known is that they differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from typing_extensions import override

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

    @override
    def is_read(self, model: LossModel) -> bool:
        law = model.fit.law
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
