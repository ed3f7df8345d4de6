"""The features of a residual learner: shares of the mix, and scale-free logarithms of settings.

Raw columns would let a learner remember sizes; what carries over to larger runs is how far a learning rate is from the
law's own optimum for that size, how many tokens a parameter gets, and which mix it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...core.columns import level_of
from ...datasets.runs.columns import column
from ..fitting import Fit
from ..laws import CORE, Columns, Law, Term

COMPUTE, RATIO = "log_compute", "log_tokens_per_param"
_UNIFORM = np.sqrt(12.0)  # range over sd of evenly spread values
_OF_SHARES, _ALONG_RATIO, _OF_OFFSETS = 1.5, 1.5, 0.7  # logs of lengths, in log shares or sds
_ALONG_SCALE = 2.5  # what a mix does beyond the law at one size, it does at the next
_VARIES = 0.05  # spread of a log below which a feature is left out as constant
_LEAST_HARM = 2e-3  # of log loss: below it, an ill-set learning rate is lost in the noise


@dataclass(frozen=True)
class Features:
    """Which features a learner reads: `shares` (columns `mix.<domain>`) first, then `logs`, standardised.

    `centre` and `spread` belong to `logs`, `(len(logs),)` each.
    """

    shares: tuple[str, ...]
    logs: tuple[str, ...]
    centre: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, fit: Fit, columns: Columns, scale: bool = True) -> Features:
        """The features that vary over the fitted runs; without `scale`, compute is not among them.

        Features tied to a size don't carry over to larger ones: a learner that is to extrapolate does better without.
        """
        shares = tuple(f"mix.{domain}" for domain in fit.law.domains)
        every = _logs(fit, columns)
        kept = tuple(k for k, values in every.items() if np.std(values) > _VARIES and (scale or k != COMPUTE))
        ends = np.array([(every[name].min(), every[name].max()) for name in kept]).reshape(-1, 2)
        # by the range: a few large runs among many small ones are no further off for being few
        centre, spread = ends.mean(axis=1), np.diff(ends, axis=1)[:, 0] / _UNIFORM
        return cls(shares, kept, centre, spread)

    @property
    def lengths(self) -> np.ndarray:
        """Log of the length over which a residual is expected to change, `(d,)`: along scale it hardly does."""
        usual = {COMPUTE: _ALONG_SCALE, RATIO: _ALONG_RATIO}
        return np.array([_OF_SHARES] * len(self.shares) + [usual.get(name, _OF_OFFSETS) for name in self.logs])

    @property
    def names(self) -> tuple[str, ...]:
        """All features in the order of the columns of `matrix`."""
        return self.shares + self.logs

    def matrix(self, fit: Fit, columns: Columns) -> np.ndarray:
        """The features of runs, `(n, d)`."""
        n = len(columns["params"])
        out = np.empty((n, len(self.names)))
        for place, name in enumerate(self.shares):
            out[:, place] = columns[name]
        every = _logs(fit, columns)
        for place, name in enumerate(self.logs):
            # a setting that isn't stated is taken as well tuned, at the optimum, where its offset is zero; any other
            # as usual among the fitted runs
            values = every.get(name, self.centre[place] if _is_setting(name) else 0.0)
            out[:, len(self.shares) + place] = (values - self.centre[place]) / self.spread[place]
        return out

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "shares": list(self.shares),
            "logs": list(self.logs),
            "centre": self.centre.tolist(),
            "spread": self.spread.tolist(),
        }

    @classmethod
    def from_dict(cls, data: Mapping) -> Features:
        """The inverse of `to_dict`. ValueError where lengths don't agree."""
        centre, spread = np.array(data["centre"], dtype=float), np.array(data["spread"], dtype=float)
        logs: Sequence[str] = data["logs"]
        numbers = np.isfinite(centre).all() and np.isfinite(spread).all() and np.all(spread > 0)
        if centre.shape != (len(logs),) or spread.shape != (len(logs),) or not numbers:
            raise ValueError("features: centre and spread must have one finite number for each log")
        return cls(tuple(map(str, data["shares"])), tuple(map(str, logs)), centre, spread)


def run_noise(fit: Fit, columns: Columns) -> np.ndarray:
    """What makes runs noisy, `(n, c)`: how close a mix is to a single domain, how far settings are from their best.

    log Σ w² where the law reads shares; the log of what ill-set terms (a learning rate far off) do to the log loss
    where it has such terms. Training noise grows with both (RegMix's and StepLaw's tables).
    """
    n, found = len(columns["params"]), []
    if fit.law.domains:
        shares = np.array([columns[f"mix.{domain}"] for domain in fit.law.domains])
        found.append(np.log(np.sum(shares**2, axis=0) + 1e-12))
    harm = _harm(fit, columns)
    if harm is not None:
        found.append(np.log(harm + _LEAST_HARM))
    return np.array(found).reshape(len(found), n).T


def run_noise_causes(law: Law) -> int:
    """How many columns `run_noise` has for fits of a law."""
    return int(bool(law.domains)) + int(any(term.tunes for term in law.terms))


def _logs(fit: Fit, columns: Columns) -> dict[str, np.ndarray]:
    """Every feature beside shares that the columns give, by name, `(n,)` each; a log is zero at the reference point."""
    params = np.log(np.asarray(columns["params"], dtype=float)) - fit.reference.log("params")
    tokens = np.log(np.asarray(columns["tokens"], dtype=float)) - fit.reference.log("tokens")
    return {COMPUTE: params + tokens, RATIO: tokens - params, **_offsets(fit, columns), **_settings(fit, columns)}


def _settings(fit: Fit, columns: Columns) -> dict[str, np.ndarray]:
    """Numbers that the law reads, as their columns say that a learner sees them, and its categories' levels."""
    found = {}
    for name in (*fit.law.columns, *fit.law.optional):
        if name in columns and _is_setting(name):
            values = np.asarray(columns[name], dtype=float)
            one = column(name)
            found[name] = np.log(values) if one is not None and one.feature == "log" else values
    return found


def _is_setting(name: str) -> bool:
    """Whether this is the name of such a number or of a level, not of an offset."""
    one = column(name)
    return level_of(name) is not None or (one is not None and one.feature is not None)


def _offsets(fit: Fit, columns: Columns) -> dict[str, np.ndarray]:
    """How far each run is from the optima of the law's terms, in logs; absent where a run states no such setting."""
    found = {}
    for term, theta, block in _terms(fit, columns):
        if block:
            found |= term.offsets(theta, block)
    return found


def _harm(fit: Fit, columns: Columns) -> np.ndarray | None:
    """What the terms that have an optimum do to the log loss, `(n,)`; None if the law has none."""
    if not any(term.tunes for term in fit.law.terms):
        return None
    blocks = fit.law.prepare(columns, fit.reference)
    pairs = zip(fit.law.terms, blocks[1:], strict=True)
    tuned_features = [blocks[0], *(term.tuned(block) if term.tunes else block for term, block in pairs)]
    theta = fit.theta[None]
    return np.abs(np.log(fit.law.loss(theta, blocks)[0]) - np.log(fit.law.loss(theta, tuned_features)[0]))


def _terms(fit: Fit, columns: Columns) -> Iterator[tuple[Term, np.ndarray, dict[str, np.ndarray]]]:
    """The law's terms with their own parameters and features."""
    at = len(CORE)
    for term, block in zip(fit.law.terms, fit.law.prepare(columns, fit.reference)[1:], strict=True):
        yield term, fit.theta[at : at + len(term.parameters)], block
        at += len(term.parameters)
