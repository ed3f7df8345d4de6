"""Text that models wrote: how much the loss rises with its share, its generation and what a generation is trained on.

Generation n is trained on text of generation n - 1, generation 0 on real text. With s the synthetic share of the
training tokens and x = log N/N₀, the loss rises, as a share of the loss level at the reference point, by

    replace       c·s^p·(Σ_{j<n} s^(m·j))^ν                                         s = 1 - r, r the real share
    accumulate, accumulate_fixed, subsample        c'·(s·(n + 1)/n)^p·Σ_{j≤n} j^-κ     with c' and κ of each

times (N/N₀)^a, exp(τ·z_g) for generator g, and (n/n₀)^b beyond the last generation n₀ that was fitted. What is
synthetic counts as training tokens worth e^ω each, log D_eff += log(1 - s + s·e^ω): ω may be above 0. `fresh` text, and
all that isn't synthetic, has no effect.

Text sampled with top-p or at a temperature below 1 lacks rare tokens, a share of real text that `lost_tail` says; the
loss rises by d times that. Nothing is lost where a table states neither.

How accumulation ends is left to the runs: the sum is bounded for κ > 1 only. κ = 2 is the bound of linear regression,
π²/6 (Gerstgrasser et al. 2024, arXiv 2404.01413); near .8 it follows log(1 + n)/log 2 within 1 % over five generations
and 5 % over fifteen, as n-grams did. ν = 1 is linear regression under `replace` (same source).
What an earlier generation got wrong is thinned out by s each time: m = 1 for errors that cost in proportion, m = 2 for
small ones, whose cost is quadratic. Chains of 5-grams with r = .1 and .5 level off sooner than m = 1 says.
A chain that accumulates has s = n/(n + 1) by itself; a corpus with another share is taken as one of the same
generation that was thinned out, by the same power p as under `replace`.

b is 0 with an open sign: what forms of a few generations miss of later ones.

Larger models: the rise is in nats, alike at every size and length, but for (N/N₀)^a. In regression larger models suffer
more up to the interpolation threshold and less beyond it, and a share of 1 % can be enough to stop scaling (Dohmatob et
al. 2024, arXiv 2410.04840); so a is 0 with an open sign, which widens what is said far beyond the fitted sizes.

Differences between generators are in c alone: a `Variant` of the same category would count them twice.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from typing_extensions import override

from .._registry import register_term
from .._term import Columns, Effect, Parameter, need
from ._of_levels import OfLevels
from ._tails import lost_tail

_REPLACE = "replace"
_ACCUMULATING = ("accumulate", "accumulate_fixed", "subsample")
_HARMFUL = (_REPLACE, *_ACCUMULATING)
_UNHARMED = ("real", "fresh")
_MOST_GENERATIONS = 1000
"""More count as so many."""
_LATER_SD = 0.15
"""Per e-fold of generations. Eleven rises of 5-gram chains, foretold from 3 and 5 generations for 5 to 20, were off by
2 to 15 %, .13 per e-fold (root mean square; benchmarks/collapse.py law)."""
_NEAR = 1e-4
"""Below, a sum is a polynomial: the closed form is 0/0 at real share 0."""
_FEWEST_RUNS = 3
"""With synthetic text."""

# Of the loss level at generation 1, from three set-ups: 5-grams of 206 kB, transformers of 52k parameters on .41M
# tokens, and Gemma 2 2B fine-tuned on 5M tokens (Kazdan et al. 2024, arXiv 2410.16713). Under replace .085, .071, .38;
# under accumulate .045 (5-grams), .034 (transformers, equal compute) and .013 (Gemma), under subsample .063 and .041.
# Geometric means; their logs differ by .9 (sd).
_HARM_REPLACE, _HARM_ACCUMULATING, _HARM_LOG_SD = 0.13, 0.035, 0.9
_SHARE_POWER = (0.5, 0.25)  # 5-grams .51, transformers .49
_GROWTH = (0.7, 0.25)  # 5-grams .87, transformers .58, Gemma .75, linear regression 1
_MEMORY = (1.5, 0.4)  # 1 to 2, see above; 5-grams 2.3, transformers 1.4
_DECAY = (1.0, 0.4)  # on the border of what is bounded; 5-grams .98 (subsample 1.5), transformers .96, regression 2
_TAIL = (np.log(2.0), 0.7)  # a guess: a token that was never seen costs 4 to 7 nats more, twice a usual loss
_LOG_WORTH_SD = 0.5  # a token like any other, give or take a factor
_BY_PARAMS_SD = 0.08  # per e-fold: four decades are half as much or twice as much, at one sd


@register_term("synthetic")
class Synthetic(OfLevels):
    """What synthetic text does, by its share, generation, regime and generator.

    >>> term = Synthetic(levels=("none", "ngram", "self"))
    >>> [one.name for one in term.parameters][:3]
    ['synthetic_log_spread_harm', 'synthetic_log_harm.replace', 'synthetic_log_harm.accumulate']
    """

    category = "generator"
    columns = ("synthetic_share", "generation")
    optional = ("temperature", "top_p")
    further_levels = MappingProxyType({"regime": ("real", _REPLACE, *_ACCUMULATING, "fresh")})
    rank = 61
    alone = True
    usual_baseline = "none"
    kinds = ("harm",)
    usual_spread = (0.5,)
    fewest_variants = 2

    def __init__(self, domains=(), levels=()):
        super().__init__(domains, levels)
        self.columns = (*self.columns, *type(self).columns)
        names = [parameter.name.removeprefix("synthetic_") for parameter in self.parameters]
        self._at = {name: place for place, name in enumerate(names)}
        self._of_level = slice(self._first, len(names))

    @override
    def further_parameters(self):
        harms = {_REPLACE: _HARM_REPLACE, **dict.fromkeys(_ACCUMULATING, _HARM_ACCUMULATING)}
        return [
            *(Parameter(f"synthetic_log_harm.{q}", np.log(c), _HARM_LOG_SD, -14.0, 3.0) for q, c in harms.items()),
            Parameter("synthetic_share_power", *_SHARE_POWER, 0.0, 4.0),
            Parameter("synthetic_growth", *_GROWTH, 0.0, 2.5),
            Parameter("synthetic_memory", *_MEMORY, 0.05, 8.0),
            *(Parameter(f"synthetic_decay.{q}", *_DECAY, 0.0, 4.0) for q in _ACCUMULATING),
            Parameter("synthetic_log_worth", 0.0, _LOG_WORTH_SD, -8.0, 3.0),
            Parameter("synthetic_harm_by_params", 0.0, _BY_PARAMS_SD, -1.0, 1.0),
            Parameter("synthetic_later", 0.0, _LATER_SD, -1.0, 1.0),
            Parameter("synthetic_log_tail", *_TAIL, -10.0, 5.0),
        ]

    @override
    def identifiable(self, columns):
        reason = self.absent(columns)
        if reason is not None:
            return reason
        share = np.asarray(columns["synthetic_share"])
        harmed = _by_regime(columns).any(axis=1)
        if harmed.sum() < _FEWEST_RUNS:
            return (
                f"column 'synthetic_share': {int(harmed.sum())} runs have synthetic text of generation 1 or later "
                f"(regime other than {' and '.join(_UNHARMED)}); {_FEWEST_RUNS} are needed"
            )
        if harmed.all():
            return (
                f"column 'synthetic_share': every run has synthetic text, {share.min():.3g} or more; one must have none"
            )
        return None

    @override
    def centre(self, columns, rows):
        harmed = _by_regime(columns).any(axis=1)
        return {"generation": float(_generation(columns)[harmed].max())} if harmed.any() else {}

    @override
    def prepare(self, columns, reference):
        of = _by_regime(columns)
        harmed = of.any(axis=1)
        share = np.where(harmed, _share(columns), 0.0)
        generation = np.where(harmed, _generation(columns), 1.0)
        log_share = np.log(np.where(harmed, share, 1.0))
        temperature, top_p = (np.asarray(columns.get(name, np.ones(len(of))), float) for name in self.optional)
        has = [np.asarray(columns[f"generator={level}"], dtype=float) for level in self.variants]
        return {
            "x": np.log(need(columns, "params")) - reference.log("params"),
            "of": of.astype(float),
            "share": share,
            "log_share": log_share,
            "log_beside_usual": log_share - np.log(generation / (generation + 1.0)),
            "generation": generation,
            "log_later": np.log(np.maximum(generation / reference.values.get("generation", np.inf), 1.0)),
            "lost": harmed * lost_tail(need(columns, "tokens"), temperature, top_p, generation, 1.0 - share),
            "has": np.array(has).reshape(len(has), len(share)).T,
        }

    @override
    def rebase(self, theta, x, t, level):
        moved = theta.copy()
        by_size = theta[:, self._at["harm_by_params"]] * x
        for regime in _HARMFUL:
            moved[:, self._at[f"log_harm.{regime}"]] += by_size - level  # harm is a share of the level
        moved[:, self._at["log_tail"]] -= level
        return moved

    @override
    def felt(self, features):
        regimes = [regime for at, regime in enumerate(_HARMFUL) if features["of"][:, at].any()]
        absent = [f"{kind}.{regime}" for regime in _HARMFUL if regime not in regimes for kind in ("log_harm", "decay")]
        absent += ["growth", "memory"] if _REPLACE not in regimes else []
        absent += [name for name, by in (("later", "log_later"), ("log_tail", "lost")) if not features[by].any()]
        found = np.ones(len(self.parameters), dtype=bool)
        found[[self._at[name] for name in absent if name in self._at]] = False
        return found

    @override
    def effect(self, theta, features):
        share = features["share"]
        by_penalty = np.zeros((len(theta), len(self.parameters), len(share)))
        by_tokens = np.zeros_like(by_penalty)

        spread, of_generator = np.ones((len(theta), 1)), np.zeros((len(theta), len(share)))
        if self.kinds:
            spread = np.exp(theta[:, :1])
            of_generator = spread * (theta[:, self._of_level] @ features["has"].T)
        common = of_generator + self._of(theta, "harm_by_params") * features["x"]
        common += self._of(theta, "later") * features["log_later"]
        penalty = np.zeros_like(common)
        for at, regime in enumerate(_HARMFUL):
            of = features["of"][:, at]
            if not of.any():
                continue
            log_growth, by_name = self._growth(regime, theta, features, of)
            log_share = features["log_share" if regime == _REPLACE else "log_beside_usual"]
            log_harm = self._of(theta, f"log_harm.{regime}") + self._of(theta, "share_power") * log_share
            harm = of * np.exp(log_harm + log_growth + common)
            for name, slope in {**by_name, f"log_harm.{regime}": 1.0, "share_power": log_share}.items():
                by_penalty[:, self._at[name]] += harm * slope
            penalty += harm
        by_penalty[:, self._at["harm_by_params"]] = penalty * features["x"]
        by_penalty[:, self._at["later"]] = penalty * features["log_later"]
        if self.kinds:
            by_penalty[:, 0] = penalty * of_generator
            by_penalty[:, self._of_level] = (penalty * spread)[:, None] * features["has"].T

        of_tail = np.exp(self._of(theta, "log_tail")) * features["lost"]
        by_penalty[:, self._at["log_tail"]] = of_tail
        worth = np.exp(self._of(theta, "log_worth"))
        left = 1.0 + share * (worth - 1.0)
        by_tokens[:, self._at["log_worth"]] = share * worth / left
        return Effect(log_tokens=(np.log(left), by_tokens), penalty=(penalty + of_tail, by_penalty))

    def _of(self, theta, name: str) -> np.ndarray:
        """A parameter, `(K, 1)`."""
        return theta[:, self._at[name], None]

    def _growth(self, regime: str, theta, features, of) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Log of how much larger the rise is than that of generation 1, `(K, n)`, and its derivatives by name."""
        generation = features["generation"].astype(int)
        if regime == _REPLACE:
            growth = self._of(theta, "growth")
            total, slope = rounds(self._of(theta, "memory") * features["log_share"], generation)
            log_total = np.log(total)
            return growth * log_total, {"growth": log_total, "memory": growth * features["log_share"] * slope / total}
        decay = f"decay.{regime}"
        most = int(generation[of > 0].max())
        place = np.minimum(generation, most) - 1
        total, slope = accumulated(theta[:, self._at[decay]], most)
        return np.log(total)[:, place], {decay: (slope / total)[:, place]}


def rounds(log_left: np.ndarray, generation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Σ_{j<n} e^(j·q) and its derivative by q: how many generations' worth of errors there are under `replace`.

    Args:
        log_left: q = m·log s, never above 0: log of what is left of an error after another generation, `(K, runs)`.
        generation: n, `(runs,)`.

    >>> rounds(np.log([[1.0, 0.5]]), np.array([5, 3]))[0]
    array([[5.  , 1.75]])
    """
    n, q = generation.astype(float), log_left
    first = n * (n - 1.0) / 2.0
    second = first * (2.0 * n - 1.0) / 3.0
    near = np.abs(q) * n < _NEAR
    apart = np.where(near, -1.0, q)
    one, all_ = -np.expm1(apart), -np.expm1(n * apart)
    slope = (all_ * np.exp(apart) - n * np.exp(n * apart) * one) / one**2
    total = np.where(near, n + q * first + 0.5 * q**2 * second, all_ / one)
    return total, np.where(near, first + q * second + 0.5 * q**2 * first**2, slope)


def accumulated(decay: np.ndarray, generations: int) -> tuple[np.ndarray, np.ndarray]:
    """Σ_{j≤n} j^-κ for n = 1 … `generations`, and its derivative by κ; both `(K, generations)`. `decay: (K,)` is κ.

    >>> accumulated(np.array([0.0, 2.0]), 3)[0].round(3)
    array([[1.   , 2.   , 3.   ],
           [1.   , 1.25 , 1.361]])
    """
    log_j = np.log(np.arange(1.0, generations + 1.0))
    part = np.exp(-decay[:, None] * log_j)
    return part.cumsum(axis=1), (-log_j * part).cumsum(axis=1)


def _share(columns: Columns) -> np.ndarray:
    return np.clip(np.asarray(columns["synthetic_share"], dtype=float), 0.0, 1.0)


def _generation(columns: Columns) -> np.ndarray:
    return np.clip(np.rint(np.asarray(columns["generation"], dtype=float)), 0.0, _MOST_GENERATIONS)


def _by_regime(columns: Columns) -> np.ndarray:
    """Which runs have synthetic text, under each regime that harms, `(n, 4)`; runs that state no regime replace."""
    harmed = np.asarray((_share(columns) > 0) & (_generation(columns) >= 1))
    if not any(name.startswith("regime=") for name in columns):
        return harmed[:, None] & (np.array(_HARMFUL) == _REPLACE)
    none = np.zeros(harmed.shape)
    found = [np.asarray(columns.get(f"regime={regime}", none)) == 1.0 for regime in _HARMFUL]
    return np.stack(found, axis=1) & harmed[:, None]
