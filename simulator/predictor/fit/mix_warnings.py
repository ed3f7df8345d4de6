"""What can be wrong with the mixes of a run table: constant, too few, collinear, repeated with different losses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ....core.units import shown
from ...fitting import Observations, known_columns
from ...laws import CORE, terms

if TYPE_CHECKING:
    from ....datasets.runs.run_table import RunTable

_MIX_SPREAD = 0.01  # sd of a share below which a mix that no law reads is not worth a word
_NO_SHARE = 1e-9
_COLLINEAR = 1e-3  # least eigenvalue of the shares' correlations, less one domain: 1 when none follows from the others
_PART = 0.1  # of a standardised direction that never varies: domains with less of it are not meant
_SAME_SUM = 0.02  # shares of the domains that vary whose sum strays by less sum to a constant
_MOST_NAMED = 6


def mix_warnings(observations: Observations, domains: Sequence[str], left_out: Mapping[str, str]) -> Iterator[str]:
    """Doubts about the mixes of runs.

    Args:
        observations: The runs.
        domains: The domains whose shares the law reads; where it reads none, doubts are about a mix that varies.
        left_out: Why each other term is left out of the law.
    """
    shares: dict[str, np.ndarray] = {}
    for name, values in observations.columns.items():
        if name.startswith("mix."):
            shares[name.removeprefix("mix.")] = values

    if not domains:
        if any(np.std(share) > _MIX_SPREAD for share in shares.values()):
            known = terms()
            reasons = [reason for name, reason in left_out.items() if name in known and known[name].takes_domains]
            why = f" ({reasons[0]})" if reasons else ""
            yield f"the mix columns vary, but the law doesn't read them{why}: their effect ends up in the noise"
        return

    absent: list[str] = []
    constant: list[str] = []
    for domain, share in shares.items():
        if domain in domains:
            continue
        if np.max(share) > _NO_SHARE:
            constant.append(domain)
        else:
            absent.append(domain)
    if absent:
        yield f"no run was trained on {_named(absent)}: the law leaves them out and refuses mixes that have them"
    if constant:
        yield f"the share of {_named(constant)} is the same in every run: the law can't say what such a domain is worth"

    runs = len(observations)
    if observations.origins is not None:
        runs = len(np.unique(observations.origins))
    if runs < len(domains):
        yield f"fewer runs ({runs}) than domains ({len(domains)}): what most domains are worth rests on the prior"
        return  # with fewer runs than domains every mix is collinear
    if runs < len(domains) + len(CORE):
        yield f"{runs} runs for {len(domains)} domains and {len(CORE)} core parameters: the fit leans on the prior"
    tied = collinear_domains(np.array([shares[domain] for domain in domains]).T, domains)
    if tied:
        yield f"the shares of {_named(tied)} follow from each other in every run: what each of them is worth is a guess"


def collinear_domains(shares: np.ndarray, domains: Sequence[str]) -> list[str]:
    """The domains whose shares never vary on their own, beyond what a sum of 1 asks for; [] if there are none.

    That shares sum to 1 ties all of them once, so one domain is left out; whichever it is, the others must vary
    freely. If they don't, the smallest set that explains it is named.

    Args:
        shares: Shares of the runs, `(n, S)`.
        domains: Names of the S domains.
    """
    spread = shares - shares.mean(axis=0)
    left_out: Sequence[int | None] = range(len(domains))
    if np.ptp(shares.sum(axis=1)) > _SAME_SUM:
        left_out = [None]  # these shares don't sum to a constant
    sets = []
    for without in left_out:
        kept = [place for place in range(len(domains)) if place != without]
        standardised = spread[:, kept] / spread[:, kept].std(axis=0)
        correlations = standardised.T @ standardised / len(standardised)
        values, directions = np.linalg.eigh(correlations)
        flat = directions[:, values < _COLLINEAR]
        if not flat.shape[1]:
            return []
        taking_part = np.flatnonzero(np.abs(flat).max(axis=1) > _PART)
        sets.append([domains[kept[place]] for place in taking_part])
    return min(sets, key=len)


def duplicate_warnings(table: RunTable) -> Iterator[str]:
    """What runs of one mix, with all else the same, say of the noise of a run: its sd by target, in %."""
    if not table.domains:
        return
    sds: list[float] = []
    repeated_mixes = 0
    for target in table.loss_columns:
        rows = table.fit_rows(target)
        settings = [np.round(np.nan_to_num(values), 6) for values in known_columns(rows).values()]
        _, mix, count = np.unique(np.array(settings).T, axis=0, return_inverse=True, return_counts=True)
        mix = mix.ravel()
        if count.max(initial=1) < 2:
            continue
        log_loss = np.log(rows.column(target))
        mean = np.bincount(mix, log_loss) / count
        apart = log_loss - mean[mix]
        if np.abs(apart).max() > 0:
            variance = (apart**2).sum() / (count - 1).sum()
            sds.append(float(np.sqrt(variance)))
            repeated_mixes = max(repeated_mixes, int((count > 1).sum()))
    if not sds:
        return
    low, high = f"{100 * min(sds):.2g}", f"{100 * max(sds):.2g}"
    sd = f"{low} %" if low == high else f"{low} to {high} % by target"
    yield f"{repeated_mixes} mixes were run more than once, all else the same: their losses differ by {sd} (pooled sd)"


def _named(domains: Sequence[str]) -> str:
    """The first few domains by name, and how many more there are."""
    text = ", ".join(shown(domain) for domain in domains[:_MOST_NAMED])
    more = len(domains) - _MOST_NAMED
    if more > 0:
        text += f" and {more} more"
    return text
