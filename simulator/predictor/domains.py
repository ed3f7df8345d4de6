"""Mixes at prediction: the domains that a fitted law knows, those that it doesn't, and a forecast in spite of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...core.errors import InputError
from ...core.units import shown
from ..fitting import Fit
from ..laws import Columns, mix_column, stock_column

_NO_SHARE = 5e-4  # tables rounded to three decimals write 0 for less
_MOVED = 0.01  # as far as a share may lie from the one that every fitted run had: mixes are checked to 0.01 everywhere
_MOST_NAMED = 8


def check_domains(fit: Fit, columns: Columns, where: str = "mix") -> Columns:
    """The columns of runs `(n,)` with every share that the law reads: those of domains that aren't named are 0.

    Raises InputError, with `where` as the place, if the law reads shares and there are none, if a run has a share of a
    domain that no fitted run had, or one far off the share that every fitted run had.
    """
    domains = fit.law.domains
    if not domains:
        return columns
    given = [name.removeprefix("mix.") for name in columns if name.startswith("mix.")]
    if not given:
        raise InputError(f"{where}: is not stated; expected a mix of {_named(domains)}, whose shares the law reads")
    new = new_domains(fit, columns)
    if new:
        raise InputError(
            f"{where}: the domain {_named(new)} is new to this predictor, whose runs were trained on "
            f"{_named(known_domains(fit))}; expected a mix of those, or data.allow_new_domains: true in a "
            "configuration (simulate predict --allow-new-domain) for a wider interval"
        )
    for domain in [d for d in given if d not in domains]:
        usual = fit.reference.values.get(mix_column(domain), 0.0)
        off = np.abs(np.asarray(columns[mix_column(domain)], dtype=float) - usual)
        if np.max(off) > _MOVED:
            wrong = float(np.asarray(columns[mix_column(domain)]).flat[int(off.argmax())])
            raise InputError(
                f"{where}.{domain}: got {wrong:.3g}; every fitted run has {usual:.3g}, so this predictor can't say "
                "what another share does; expected that share, or a predictor fitted on runs in which it varies"
            )
    none = np.zeros(len(columns["params"]))
    return {**columns, **{mix_column(d): none for d in domains if d not in given}}


def known_domains(fit: Fit) -> list[str]:
    """The domains that some fitted run was trained on."""
    return [name.removeprefix("mix.") for name in fit.reference.values if name.startswith("mix.")]


def new_domains(fit: Fit, columns: Columns) -> list[str]:
    """The domains that some of these runs have a share of and that no fitted run had."""
    known = {mix_column(domain) for domain in known_domains(fit)}
    shares = {name: v for name, v in columns.items() if name.startswith("mix.") and name not in known}
    return [name.removeprefix("mix.") for name, v in shares.items() if np.max(v, initial=0.0) > _NO_SHARE]


def without_new_domains(fit: Fit, columns: Columns, where: str = "mix") -> tuple[Columns, Columns]:
    """Two readings of runs that have new domains: their tokens are worthless, or as good as the average of the rest.

    In both, the shares of the known domains sum to what all shares did. In the first the tokens are fewer by those of
    the new domains. In the second stocks grow as the known shares do, so that nothing repeats more often than it would.
    InputError if all of a run's tokens are of new domains.
    """
    new = new_domains(fit, columns)
    shares = {name: np.asarray(v, dtype=float) for name, v in columns.items() if name.startswith("mix.")}
    total = np.sum(list(shares.values()), axis=0)
    kept = 1.0 - np.sum([shares[mix_column(d)] for d in new], axis=0) / total
    if np.any(kept < _NO_SHARE):
        raise InputError(
            f"{where}: all tokens are of domains that are new to this predictor ({_named(new)}); expected some share "
            f"of {_named(known_domains(fit))}"
        )
    dropped = {f(d) for d in new for f in (mix_column, stock_column)}
    rest = {name: v for name, v in columns.items() if name not in dropped}
    rest |= {name: v / kept for name, v in shares.items() if name not in dropped}
    worthless = {**rest, "tokens": columns["tokens"] * kept}
    stocks = {name: v / kept for name, v in rest.items() if name.startswith("unique_tokens.")}
    return worthless, {**rest, **stocks}


def _named(domains: Sequence[str]) -> str:
    more = len(domains) - _MOST_NAMED
    return ", ".join(shown(domain) for domain in domains[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
