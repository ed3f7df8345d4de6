"""Text that models wrote, where no law of the predictor reads it, by published figures and our own small chains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from typing_extensions import override

from ....core.columns import level_column, level_of
from ....datasets.facts.optimisation import Cost
from ....datasets.facts.synthetic import UNKNOWN_KIND, SyntheticFacts, synthetic_facts
from ...config.run_config import RunConfig
from ...laws import Columns, lost_tail
from ...predictor.loss_model import LossModel
from ...predictor.textbook_parameters import textbook_parameters
from .effect import Adjustment, Effect, effect_of_cost

__all__ = ["Synthetic"]

_PLACE = "data.synthetic"
_SHARE, _GENERATION = f"{_PLACE}.share", f"{_PLACE}.generation"
_TEMPERATURE, _TOP_P = f"{_PLACE}.temperature", f"{_PLACE}.top_p"
_REGIME, _KIND = f"{_PLACE}.regime", f"{_PLACE}.kind"
_SHARE_FACT, _GENERATION_FACT, _UNKNOWN, _RISES = "synthetic_share", "generation", "unknown_generator", "rises"
_LEAST_RISE = 1e-12
_MOST_RISE = 1.0
"""Of log loss: e times a usual loss is about what guessing by the frequency of tokens reaches."""


class Synthetic(Adjustment):
    """What text that models wrote is worth beside real text: a rise of the loss, a gain in tokens, or both.

    How many distinct tokens of real text are left to be drawn, and so how often they are seen, is no part of it: laws
    read that.
    """

    name = "synthetic"
    places = (_PLACE,)

    def __init__(self, facts: SyntheticFacts | None = None) -> None:
        self.facts = synthetic_facts() if facts is None else facts

    @override
    def is_read(self, model: LossModel) -> bool:
        law = model.fit.law
        return "synthetic_share" in {*law.columns, *law.optional}

    @override
    def columns(self, config: RunConfig, of_runs: Mapping[str, Any]) -> dict[str, float]:
        synthetic = config.data.synthetic
        if synthetic is None:
            return {}
        kind = self.facts.kind_of(synthetic.generator) or UNKNOWN_KIND
        return {
            _SHARE: synthetic.trained_share,
            _GENERATION: float(synthetic.generation),
            _TEMPERATURE: synthetic.temperature,
            _TOP_P: synthetic.top_p,
            level_column(_REGIME, synthetic.regime): 1.0,
            level_column(_KIND, kind): 1.0,
        }

    @override
    def effect(self, model: LossModel, columns: Columns, stated: Columns) -> Effect | None:
        if _SHARE not in stated or self.is_read(model):
            return None
        share, generation = np.nan_to_num(stated[_SHARE]), np.nan_to_num(stated[_GENERATION])
        regimes, kinds = _levels(stated, _REGIME), _levels(stated, _KIND)
        kind = next((name for name, has in kinds.items() if has[0]), "")
        gain, gain_sd = self._gain(kinds, share)
        rise, log_sd = self._rise(regimes, kinds, share, generation)
        carried, carried_sd = self._carried(model, columns)
        facts = {
            _SHARE_FACT: float(share[0]),
            _GENERATION_FACT: float(generation[0]),
            _UNKNOWN: float(kind == UNKNOWN_KIND),
            _RISES: float(rise[0] > _LEAST_RISE),
            "tokens_factor": float(np.exp(gain[0])),
        }
        sources = self.facts.sources(list(regimes), list(kinds))
        of_text = effect_of_cost(
            model, columns, Cost(-gain, gain_sd), self.name, self.places, sources,
            one_sided=not gain_sd.any(), facts=facts, of_text=True,
        )  # fmt: skip
        if of_text is None:
            return None
        tail, tail_sd = self.facts.tail(self._lost(columns, stated, share, generation))
        harm = (rise + tail) * np.exp(carried)
        sd = np.exp(carried) * np.sqrt((rise * log_sd) ** 2 + tail_sd**2 + ((rise + tail) * carried_sd) ** 2)
        # of a model that has forgotten nearly all there is no more to lose
        shift = np.minimum(harm, _MOST_RISE)
        sd = np.minimum(sd * shift / np.where(harm > 0.0, harm, 1.0), shift)  # harm has no other sign
        return Effect(
            self.name, self.places, of_text.log_loss + shift, np.hypot(of_text.sd, sd), of_text.sources,
            of_text.one_sided, facts,
        )  # fmt: skip

    def _lost(self, columns: Columns, stated: Columns, share: np.ndarray, generation: np.ndarray) -> np.ndarray:
        """The share of real text that runs lack since sampling left it out, `(n,)`."""
        temperature, top_p = (np.nan_to_num(stated[name], nan=1.0) for name in (_TEMPERATURE, _TOP_P))
        return np.where(share > 0.0, lost_tail(columns["tokens"], temperature, top_p, generation, 1.0 - share), 0.0)

    def _gain(self, kinds: Columns, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The log of the factor by which tokens of runs count more, and one sd of it, `(n,)`."""
        gain, sd = np.zeros(len(share)), np.zeros(len(share))
        for kind, has in kinds.items():
            found = self.facts.gain(kind, share)
            gain, sd = gain + has * found[0], sd + has * found[1]
        return gain, sd

    def _rise(
        self, regimes: Columns, kinds: Columns, share: np.ndarray, generation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The rise of log loss of runs at a size like the measured ones, and one sd of its log, `(n,)`.

        Of text that gains it is what later generations add to the first.
        """
        rise, log_sd = np.zeros(len(share)), np.zeros(len(share))
        for kind, of_kind in kinds.items():
            for regime, of_regime in regimes.items():
                found = self.facts.rise(regime, kind, share, generation)
                first = np.zeros(len(share))
                if not self.facts.collapses(kind):
                    first, _ = self.facts.rise(regime, kind, share, np.minimum(generation, 1.0))
                rise, log_sd = rise + of_kind * of_regime * (found[0] - first), log_sd + of_kind * of_regime * found[1]
        return rise, log_sd

    def _carried(self, model: LossModel, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
        """The log of what becomes of a rise at the size of runs `(n,)`, and one sd of it.

        Either it stays the same share of the loss, or of the loss's reducible part, which is smaller in large runs.
        """
        total = np.exp(model.fit.log_loss(columns))
        reducible = np.maximum(1.0 - textbook_parameters(model.fit)["E"] / total, 1e-3)
        log_ratio = np.log(reducible / self.facts.reducible_share)
        return 0.5 * log_ratio, 0.5 * np.abs(log_ratio)

    @override
    def sentence(self, effect: Effect) -> str | None:
        facts = effect.facts or {}
        share, generation = facts[_SHARE_FACT], facts[_GENERATION_FACT]
        if share == 0.0 or generation == 0.0:
            return None
        middle, low, high = effect.percent()
        said = [
            f"{_PLACE}: {100 * share:.3g} % of the tokens are written by models: {middle:+.2g} % of loss "
            f"({low:+.2g} to {high:+.2g})"
        ]
        if facts[_UNKNOWN]:
            known = ", ".join(self.facts.known)
            said.append(
                f"nothing is known of this generator: it counts as self, with more left open; known are {known}"
            )
        if facts["tokens_factor"] != 1.0:
            said.append(f"all tokens count about {facts['tokens_factor']:.2f} times; published")
        if facts[_RISES]:
            said.append(
                "by chains of n-grams, of proxies of 59k parameters and of fine-tuned models of 2B (arXiv:2410.16713); "
                "at this size nobody measured it: taken between the same share of the loss and of its reducible part"
            )
            if generation > self.facts.measured_generations:
                said.append(f"no chain went beyond generation {self.facts.measured_generations}")
            if share < self.facts.least_measured_share:
                said.append(f"no chain had a share below {self.facts.least_measured_share:g}")
        said.append("not measured on runs of this predictor")
        return "; ".join(said)


def _levels(stated: Columns, place: str) -> dict[str, np.ndarray]:
    """Which runs `(n,)` have which level of a category that plans state."""
    found = {}
    for column, values in stated.items():
        name, level = level_of(column) or ("", "")
        if name == place:
            found[level] = np.asarray(values == 1.0, dtype=float)
    return found
