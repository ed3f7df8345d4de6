"""What can be wrong with the mixes of a run table: constant, too few, collinear, repeated with different losses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...core.units import shown
from ..fitting import Observations, known_columns
from ..laws import CORE, mix_column, terms

if TYPE_CHECKING:
    from ...datasets.runs.run_table import RunTable

_MIX_SPREAD = 0.01  # sd of a share below which a mix that no law reads is not worth a word
_NO_SHARE = 1e-9
_COLLINEAR = 1e-3  # least eigenvalue of the shares' correlations, less one domain: 1 when none follows from the others
_PART = 0.1  # of a standardised direction that never varies: domains with less of it are not meant
_SAME_SUM = 0.02  # shares of the domains that vary whose sum strays by less sum to a constant
_MOST_NAMED = 6


def mix_warnings(observations: Observations, domains: Sequence[str], left_out: Mapping[str, str]) -> Iterator[str]:
    """Doubts about a law that reads the shares of `domains`, or, where it reads none, about a mix that varies."""
    shares = {name: v for name, v in observations.columns.items() if name.startswith("mix.")}
    if not domains:
        if any(np.std(values) > _MIX_SPREAD for values in shares.values()):
            reasons = [reason for name, reason in left_out.items() if name in terms() and terms()[name].takes_domains]
            why = f" ({reasons[0]})" if reasons else ""
            yield f"the mix columns vary, but the law doesn't read them{why}: their effect ends up in the noise"
        return
    still = [name.removeprefix("mix.") for name in shares if name.removeprefix("mix.") not in domains]
    absent = [d for d in still if not np.max(shares[mix_column(d)]) > _NO_SHARE]
    constant = [d for d in still if d not in absent]
    if absent:
        yield f"no run was trained on {_named(absent)}: the law leaves them out and refuses mixes that have them"
    if constant:
        yield f"the share of {_named(constant)} is the same in every run: the law can't say what such a domain is worth"
    runs = len(observations) if observations.origins is None else len(np.unique(observations.origins))
    if runs < len(domains):
        yield f"fewer runs ({runs}) than domains ({len(domains)}): what most domains are worth rests on the prior"
    elif runs < len(domains) + len(CORE):
        yield f"{runs} runs for {len(domains)} domains and {len(CORE)} core parameters: the fit leans on the prior"
    tied = collinear_domains(np.array([shares[mix_column(d)] for d in domains]).T, domains)
    if tied and runs >= len(domains):  # with fewer runs than domains every mix is collinear
        yield f"the shares of {_named(tied)} follow from each other in every run: what each of them is worth is a guess"


def collinear_domains(shares: np.ndarray, domains: Sequence[str]) -> list[str]:
    """The domains whose shares never vary on their own, beyond what a sum of 1 asks for; [] if there are none.

    `shares: (n, S)`. That shares sum to 1 ties all of them once, so one domain is left out; whichever it is, the
    others must vary freely. If they don't, the smallest set that explains it is named.
    """
    spread = shares - shares.mean(axis=0)
    free = np.ptp(shares.sum(axis=1)) > _SAME_SUM
    sets = []
    for without in [None] if free else range(len(domains)):
        kept = [i for i in range(len(domains)) if i != without]
        part = spread[:, kept] / spread[:, kept].std(axis=0)
        values, directions = np.linalg.eigh(part.T @ part / len(part))
        flat = directions[:, values < _COLLINEAR]
        if not flat.shape[1]:
            return []
        sets.append([domains[kept[i]] for i in np.flatnonzero(np.abs(flat).max(axis=1) > _PART)])
    return min(sets, key=len)


def duplicate_warnings(table: RunTable) -> Iterator[str]:
    """What runs of one mix, with all else the same, say of the noise of a run: its sd by target, in %."""
    found, mixes = [], 0
    for target in table.loss_columns if table.domains else ():
        rows = table.fit_rows(target)
        columns = known_columns(rows)
        key = np.array([np.round(np.nan_to_num(values), 6) for values in columns.values()]).T
        _, place, count = np.unique(key, axis=0, return_inverse=True, return_counts=True)
        place = place.ravel()
        if count.max(initial=1) < 2:
            continue
        loss = np.log(rows.column(target))
        apart = loss - (np.bincount(place, loss) / count)[place]
        if np.abs(apart).max() > 0:
            found.append(float(np.sqrt((apart**2).sum() / (count - 1).sum())))
            mixes = max(mixes, int((count > 1).sum()))
    if found:
        low, high = f"{100 * min(found):.2g}", f"{100 * max(found):.2g}"
        sd = f"{low} %" if low == high else f"{low} to {high} % by target"
        yield f"{mixes} mixes were run more than once, all else the same: their losses differ by {sd} (pooled sd)"


def _named(domains: Sequence[str]) -> str:
    more = len(domains) - _MOST_NAMED
    names = ", ".join(shown(domain) for domain in domains[:_MOST_NAMED])
    return names + (f" and {more} more" if more > 0 else "")
