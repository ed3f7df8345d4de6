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
    """Check the mixes of runs against what the law knows, and complete them.

    Args:
        fit: The fitted law.
        columns: Columns of the runs, each `(n,)`.
        where: The place that an error names.

    Returns:
        The columns with every share that the law reads: those of domains that aren't named are 0.

    Raises:
        InputError: The law reads shares and there are none, or a run has a share of a domain that no fitted run had,
            or one far off the share that every fitted run had.
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

    for domain in given:
        if domain in domains:
            continue
        usual = fit.reference.values.get(mix_column(domain), 0.0)
        share = np.asarray(columns[mix_column(domain)], dtype=float)
        off = np.abs(share - usual)
        if np.max(off) > _MOVED:
            wrong = float(share.flat[int(off.argmax())])
            raise InputError(
                f"{where}.{domain}: got {wrong:.3g}; every fitted run has {usual:.3g}, so this predictor can't say "
                "what another share does; expected that share, or a predictor fitted on runs in which it varies"
            )

    completed = dict(columns)
    for domain in domains:
        if domain not in given:
            completed[mix_column(domain)] = np.zeros(len(columns["params"]))
    return completed


def known_domains(fit: Fit) -> list[str]:
    """The domains that some fitted run was trained on."""
    return [name.removeprefix("mix.") for name in fit.reference.values if name.startswith("mix.")]


def new_domains(fit: Fit, columns: Columns) -> list[str]:
    """The domains that some of these runs have a share of and that no fitted run had."""
    known = known_domains(fit)
    new = []
    for name, share in columns.items():
        domain = name.removeprefix("mix.")
        if name.startswith("mix.") and domain not in known and np.max(share, initial=0.0) > _NO_SHARE:
            new.append(domain)
    return new


def without_new_domains(fit: Fit, columns: Columns, where: str = "mix") -> tuple[Columns, Columns]:
    """Two readings of runs that have new domains: their tokens are worthless, or as good as the average of the rest.

    In both, the shares of the known domains sum to what all shares did. In the first the tokens are fewer by those of
    the new domains. In the second stocks grow as the known shares do, so that nothing repeats more often than it would.
    InputError if all of a run's tokens are of new domains.
    """
    new = new_domains(fit, columns)
    shares = {name: np.asarray(values, dtype=float) for name, values in columns.items() if name.startswith("mix.")}
    total = np.sum(list(shares.values()), axis=0)
    of_new = np.sum([shares[mix_column(domain)] for domain in new], axis=0)
    kept = 1.0 - of_new / total
    if np.any(kept < _NO_SHARE):
        raise InputError(
            f"{where}: all tokens are of domains that are new to this predictor ({_named(new)}); expected some share "
            f"of {_named(known_domains(fit))}"
        )

    rest = dict(columns)
    for domain in new:
        rest.pop(mix_column(domain), None)
        rest.pop(stock_column(domain), None)
    for name in shares:
        if name in rest:
            rest[name] = shares[name] / kept

    worthless = dict(rest)
    worthless["tokens"] = columns["tokens"] * kept
    average = dict(rest)
    for name, values in rest.items():
        if name.startswith("unique_tokens."):
            average[name] = values / kept
    return worthless, average


def _named(domains: Sequence[str]) -> str:
    """The first few domains by name, and how many more there are."""
    text = ", ".join(shown(domain) for domain in domains[:_MOST_NAMED])
    more = len(domains) - _MOST_NAMED
    if more > 0:
        text += f" and {more} more"
    return text
