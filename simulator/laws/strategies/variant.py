"""Categorical strategies: what each level of a category (how text was selected, say) does to size, data and floor.

Level v of a category, against its baseline, with x = log N/N₀ and t = log D/D₀:

    log N_eff += c·(a_v + a'_v·x)        log D_eff += c·(b_v + b'_v·t)        log E += c·e_v

Offset, slope and floor are apart, since an intervention may move the floor one way and the exponents the other: what
gains most on a small budget gains least on a large one (Goyal et al. 2024, arXiv 2404.07177). c is 1, or says how
strict the level is in this run.

Each of the five kinds of effect is τ·z_v, see `OfLevels`: a slope that a level's runs leave open is as wide as slopes
are.
"""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from .._registry import register_term
from .._term import Effect, Parameter, need
from ._of_levels import OfLevels

_PARAMS, _PARAMS_SLOPE, _TOKENS, _TOKENS_SLOPE, _FLOOR = range(5)
KINDS = ("params", "params_by_params", "tokens", "tokens_by_tokens", "floor")
"""The kinds of effect, in the order of the parameters."""

_USUAL_SPREAD = (0.2, 0.05, 0.4, 0.05, 0.01)
"""Centre of the prior of each kind's τ. By published figures selections were worth 1.2 times the tokens (D4, arXiv
2308.12284), 1.5 times (QuRating, 2402.09739), up to 3.3 times (Ask-LLM, 2402.09668): .2, .4 and 1.2 in log tokens.
Hyena needs 20 % less compute than a transformer (2302.10866): .2. Slopes are per e-fold; one of .05 undoes an offset of
.35 in three decades."""
_FEWEST_RUNS = 3
"""Of each of two levels at least."""


class Variant(OfLevels):
    """The effects of a category's levels. A subclass names category, baseline and what says how strict a run is.

    >>> term = SelectionVariant(levels=("none", "dedup", "judge"))
    >>> term.baseline, term.variants, len(term.parameters)
    ('none', ('dedup', 'judge'), 16)
    """

    rank = 60
    kinds = KINDS
    usual_spread = _USUAL_SPREAD
    strictness: str | None = None
    """The column with the share that a level leaves, 1 to 0: c = 1 - share^s with s fitted. A run that doesn't say has
    c = 1, as all have where no fitted run of a level says less than 1."""

    @override
    def further_parameters(self):
        if self.strictness is None:
            return ()
        return (Parameter(f"{self.name}_log_strictness", 0.0, 0.7, -3.0, 3.0),)

    @override
    def identifiable(self, columns):
        reason = super().identifiable(columns)
        if reason is not None:
            return reason
        runs = {level: int(np.sum(columns[name])) for level, name in zip(self.levels, self.columns, strict=True)}
        if sum(count >= _FEWEST_RUNS for count in runs.values()) < 2:
            counted = ", ".join(f"{level} {count}" for level, count in runs.items())
            return f"column {self.category!r}: {_FEWEST_RUNS} runs of two levels are needed; there are {counted}"
        return None

    @override
    def centre(self, columns, rows):
        if self.strictness is None or self.strictness not in columns:
            return {}
        other = np.asarray(columns.get(f"{self.category}={self.baseline}", 0.0)) == 0.0
        share = np.asarray(columns[self.strictness], dtype=float)[other & (columns[self.strictness] < 1.0)]
        return {self.strictness: float(np.exp(np.log(share).mean()))} if len(share) else {}

    @override
    def prepare(self, columns, reference):
        has = [np.asarray(columns[f"{self.category}={level}"], dtype=float) for level in self.variants]
        n = len(columns["params"])
        features = {
            "x": np.log(need(columns, "params")) - reference.log("params"),
            "t": np.log(need(columns, "tokens")) - reference.log("tokens"),
            "has": np.array(has).reshape(len(has), n).T,
        }
        if self.strictness is not None and self.strictness in columns and self.strictness in reference.values:
            # NaN where it isn't stated
            share = np.nan_to_num(np.asarray(columns[self.strictness], dtype=float), nan=0.0)
            features["log_left"] = np.log(np.maximum(share, 1e-300))
        return features

    @override
    def rebase(self, theta, x, t, level):
        moved = theta.copy()
        for offset, slope, by in ((_PARAMS, _PARAMS_SLOPE, x), (_TOKENS, _TOKENS_SLOPE, t)):
            # τ·z grows by τ'·z'·by
            factor = np.exp(theta[:, slope] - theta[:, offset])[:, None] * by
            moved[:, self.places_of(offset)] += theta[:, self.places_of(slope)] * factor
        return moved

    @override
    def effect(self, theta, features):
        strict, by_strictness = self._strict(theta, features)
        x, t = features["x"], features["t"]
        return Effect(
            log_params=self._channel(theta, features, strict, by_strictness, {_PARAMS: 1.0, _PARAMS_SLOPE: x}),
            log_tokens=self._channel(theta, features, strict, by_strictness, {_TOKENS: 1.0, _TOKENS_SLOPE: t}),
            log_floor=self._channel(theta, features, strict, by_strictness, {_FLOOR: 1.0}),
        )

    def _strict(self, theta, features) -> tuple[np.ndarray, np.ndarray | None]:
        """c `(K, n)`, or 1, and its derivative by log s, if there is one."""
        if "log_left" not in features:
            return np.ones((1, 1)), None
        power = np.exp(theta[:, len(KINDS), None]) * features["log_left"]
        left = np.exp(power)
        return 1.0 - left, -left * power

    def _channel(self, theta, features, strict, by_strictness, kinds) -> tuple[np.ndarray, np.ndarray]:
        """What some kinds of effect add up to, each times its own factor `(n,)`: value and gradient."""
        has = features["has"]
        value = np.zeros((len(theta), len(has)))
        grad = np.zeros((len(theta), len(self.parameters), len(has)))
        for kind, factor in kinds.items():
            places = list(self.places_of(kind))
            spread = np.exp(theta[:, kind, None])
            part = spread * (theta[:, places] @ has.T) * factor
            value += part
            grad[:, kind] = strict * part
            grad[:, places] = (strict * spread * factor)[:, None] * has.T
        if by_strictness is not None:
            grad[:, len(KINDS)] = by_strictness * value
        return strict * value, grad


@register_term("selection")
class SelectionVariant(Variant):
    """How documents were selected. Stricter selections do more: nothing where all text is kept, all as keep → 0."""

    category = "selection"
    usual_baseline = "none"
    strictness = "keep"
    optional = ("keep",)


@register_term("architecture")
class ArchitectureVariant(Variant):
    """What lets tokens see one another: a transformer, or another kind of model by its name (`core.model.mixers`).

    Small proxies rank architectures by how fast they learn n-grams, and public ladders change rank with scale (Tay et
    al. 2022, arXiv 2207.10551: 15M to 40B): slopes are as uncertain as one decade of proxies leaves them.
    """

    category = "architecture"
    usual_baseline = "transformer"
    usual_spread = (0.2, 0.1, 0.4, 0.1, 0.03)
    """As wide as papers disagree: Hyena a transformer's equal at 20 % less compute up to 355M (arXiv 2302.10866), .2 in
    log size or tokens, but gated convolutions, Hyena and H3 among them, up to 2.1 of perplexity behind on The Pile,
    mostly in recall within the context (Arora et al. 2023, arXiv 2312.04927, abstract: 17 models to 1.4B). That is 6 to
    8 % of loss at assumed perplexities of 10 to 13, the largest of many comparisons and so two sds, and what a model
    can't recall it lacks at every size: a floor of .03. Slopes twice those of selections are a judgement: with these
    spreads, and not with those of selections, runs of 12k to 210k leave an interval for Hyena with 1B that holds most
    of it (to 7 %)."""
