"""Mixes of domains to train proxies on: natural, uniform, single, and samples that spread over what is allowed.

A sampled design alternates between symmetric Dirichlet distributions, from sparse (few domains each) to dense, and
takes from each pool of candidates the one farthest from everything taken so far (Gonzalez 1985, Theor. Comput. Sci. 38;
maximin designs: Johnson, Moore and Ylvisaker 1990). Distance is Hellinger's, which tells a share of 0 from one of 1 %.
Any first few of the mixes are a spread design of their own, so that a design can be cut short.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...core.errors import InfeasibleError
from ...core.reading.fields import FieldError
from ...core.units import format_count, shown

if TYPE_CHECKING:
    from ...datasets.tokens.store import TokenStore

__all__ = ["DomainFacts", "check_epochs", "check_known", "domain_facts", "named_mixes", "sample_mixes", "share_caps"]

Array = NDArray[np.float64]
Bounds = Mapping[str, tuple[float, float]]

_CANDIDATES_PER_MIX = 32
_CANDIDATES = (256, 4096)  # of one pool, at least and at most
_SMALLEST_SHARE = 1e-3
"""Sampled shares below this become 0: so few tokens of a domain have no measurable effect on a proxy's loss."""

_SAME = 1e-6
"""Mixes closer than this Hellinger distance are the same."""

_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """The facts of a domain that a design uses.

    `train_tokens` can be trained on here; `stock` are the unique tokens of the real corpus that they stand for, if
    stated; `max_epochs` is how often a run may repeat the domain, None for any number of times; `selected` are the
    tokens that selections keep, by key.
    """

    train_tokens: float
    stock: float | None = None
    max_epochs: float | None = None
    selected: Mapping[str, float] = field(default_factory=dict)

    def tokens_of(self, selection: str | None) -> float:
        """Return the tokens that can be trained on with a selection, by key."""
        return self.train_tokens if selection is None else self.selected.get(selection, self.train_tokens)

    def cap(self, tokens: float, selection: str | None = None) -> float:
        """Return the largest share, at most 1, that a run of `tokens` training tokens may give to this domain."""
        return 1.0 if self.max_epochs is None else min(1.0, self.max_epochs * self.tokens_of(selection) / tokens)


def domain_facts(store: TokenStore) -> dict[str, DomainFacts]:
    """Return the facts of each domain of a prepared corpus, by name, sorted."""
    return {
        name: DomainFacts(
            store.count(name, "train"),
            domain.unique_tokens,
            domain.max_epochs,
            {key: held.tokens for key, held in domain.selections.items()},
        )
        for name, domain in sorted(store.index.domains.items())
    }


def named_mixes(
    spec: str | Mapping[str, float], domains: Mapping[str, DomainFacts], key: str
) -> list[dict[str, float]]:
    """Return the mixes that `natural`, `uniform`, `single` or shares by domain stand for; each sums to 1.

    `natural` is in proportion to the stocks where every domain states one, else to the tokens that are here; `single`
    are as many mixes as domains. Raises FieldError at `key` for a domain that isn't there.
    """
    if not isinstance(spec, str):
        for name in spec:
            check_known(name, domains, f"{key}.{name}")
        return [dict(spec)]
    if spec == "single":
        return [{name: 1.0} for name in domains]
    sizes = dict.fromkeys(domains, 1.0)
    if spec == "natural":
        stated = all(facts.stock is not None for facts in domains.values())
        sizes = {name: facts.stock if stated and facts.stock else facts.train_tokens for name, facts in domains.items()}
    total = math.fsum(sizes.values())
    return [{name: size / total for name, size in sizes.items()}]


def check_epochs(
    mix: Mapping[str, float],
    tokens: float,
    domains: Mapping[str, DomainFacts],
    what: str,
    selection: str | None = None,
) -> None:
    """Raise InfeasibleError, naming the domain, where `tokens` of the mix repeat a domain more often than allowed."""
    for name, share in mix.items():
        facts = domains[name]
        if share > facts.cap(tokens, selection) * (1 + _SLACK):
            assert facts.max_epochs is not None
            stock = facts.tokens_of(selection)
            kept = "" if selection is None else f" that the selection {selection} keeps"
            remedy = "" if selection is None else ", keep more"
            raise InfeasibleError(
                f"{what}: domain {shown(name)}: {share:.3g} of {format_count(tokens)} tokens are "
                f"{share * tokens / stock:.3g} epochs of its {format_count(stock)} tokens{kept}; "
                f"max_epochs allows {facts.max_epochs:g}: lower its share, train on fewer tokens (at most "
                f"{format_count(facts.max_epochs * stock / share)} at this share){remedy} or prepare more text"
            )


def share_caps(domains: Mapping[str, DomainFacts], bounds: Bounds, tokens: float, key: str = "mixes.bounds") -> Bounds:
    """Return bounds for every domain: those stated, and no more than its text allows a run of `tokens`.

    Raises FieldError at `key` for bounds that name an unknown domain or leave no mix, and InfeasibleError, naming
    domains, where it is the text that leaves none.
    """
    for name in bounds:
        check_known(name, domains, f"{key}.{name}")
    stated = {name: bounds.get(name, (0.0, 1.0)) for name in domains}
    lowest, highest = (math.fsum(pair[end] for pair in stated.values()) for end in (0, 1))
    if lowest > 1 + _SLACK:
        raise FieldError(key, f"the lowest shares sum to {lowest:.4g}; expected at most 1")
    if highest < 1 - _SLACK:
        raise FieldError(key, f"the highest shares sum to {highest:.4g}; expected at least 1")
    caps = {name: facts.cap(tokens) for name, facts in domains.items()}
    length = f"a run of {format_count(tokens)} tokens"
    for name, (low, _) in stated.items():
        if low > caps[name] + _SLACK:
            raise InfeasibleError(
                f"{key}.{name}.low: got {low:g}; max_epochs lets {length} take at most {caps[name]:.3g} from it"
            )
    capped = {name: (low, min(high, caps[name])) for name, (low, high) in stated.items()}
    if (reach := math.fsum(high for _, high in capped.values())) < 1 - _SLACK:
        binding = ", ".join(
            f"{shown(name)} {caps[name]:.3g}" for name, (_, high) in stated.items() if caps[name] < high
        )
        raise InfeasibleError(
            f"mixes: max_epochs lets {length} take at most these shares: {binding}; together with the bounds that is "
            f"{reach:.3g} of it: train on fewer tokens, allow more epochs or prepare more text"
        )
    return capped


def sample_mixes(
    domains: Sequence[str],
    count: int,
    concentrations: Sequence[float],
    bounds: Bounds,
    rng: np.random.Generator,
    beside: Sequence[Mapping[str, float]] = (),
) -> Array:
    """Return `count` mixes that spread, (count, n_domains), columns in the order of `domains`, rows that sum to 1.

    Every share lies within its domain's bounds, (0, 1) where none are given, which must leave room for a mix. They
    keep clear of the mixes `beside` too. Renaming or reordering the domains changes nothing but the columns. Raises
    FieldError where the bounds leave fewer than `count` different mixes.

    >>> rows = sample_mixes(["a", "b"], 3, [1.0], {"a": (0.2, 0.4)}, np.random.default_rng(0))
    >>> rows.shape, bool((rows[:, 0] <= 0.4).all())
    ((3, 2), True)
    """
    # In one order whatever order the domains come in: the design depends on names and seed alone.
    names = sorted(domains)
    low, high = (np.array([bounds.get(name, (0.0, 1.0))[end] for name in names]) for end in (0, 1))
    share = math.ceil(count / len(concentrations))
    size = max(2 * share, min(max(share * _CANDIDATES_PER_MIX, _CANDIDATES[0]), _CANDIDATES[1]))
    pools = [_candidates(rng, concentration, size, low, high) for concentration in concentrations]
    taken = np.array([[mix.get(name, 0.0) for name in names] for mix in beside]).reshape(-1, len(names))
    rows = _farthest(pools, count, taken)
    return rows[:, [names.index(name) for name in domains]]


def check_known(name: str, domains: Mapping[str, DomainFacts], key: str) -> None:
    """Raise FieldError at `key` for a domain that isn't there."""
    if name not in domains:
        raise FieldError(key, f"there is no domain {shown(name)}; expected one of {', '.join(domains)}")


def _candidates(rng: np.random.Generator, concentration: float, size: int, low: Array, high: Array) -> Array:
    """Return Dirichlet draws brought within the bounds, (size, n_domains); without bounds, the draws themselves."""
    draws = rng.dirichlet(np.full(len(low), concentration), size)
    draws = np.where(draws < _SMALLEST_SHARE, 0.0, draws)
    draws /= draws.sum(axis=1, keepdims=True)
    # What the others' bounds leave to each domain.
    least, most = np.maximum(low, 1 - (high.sum() - high)), np.minimum(high, 1 - (low.sum() - low))
    mixes = least + np.maximum(0.0, most - least) * draws
    missing = 1 - mixes.sum(axis=1, keepdims=True)
    # A share moves in proportion to the way that it has left, so that none piles up at a bound.
    room = np.maximum(0.0, np.where(missing > 0, most - mixes, mixes - least))
    total = room.sum(axis=1, keepdims=True)
    mixes += missing * np.divide(room, total, out=np.zeros_like(room), where=total > 0)
    return np.clip(mixes, low, high)


def _farthest(pools: Sequence[Array], count: int, taken: Array) -> Array:
    """Return `count` candidates, from each pool in turn the one farthest from all taken so far."""
    # Hellinger's distance is Euclid's between the roots of the shares, over √2.
    roots = [np.sqrt(pool / 2) for pool in pools]
    nearest = [np.full(len(pool), np.inf) for pool in pools]
    chosen: list[Array] = []

    def take(root: Array) -> None:
        for distances, others in zip(nearest, roots, strict=True):
            np.minimum(distances, np.linalg.norm(others - root, axis=1), out=distances)

    for mix in taken:
        take(np.sqrt(mix / 2))
    while len(chosen) < count:
        turn = len(chosen) % len(pools)
        if nearest[turn].max() <= _SAME:
            turn = int(np.argmax([distances.max() for distances in nearest]))
        best = int(np.argmax(nearest[turn]))
        if nearest[turn][best] <= _SAME:
            raise FieldError("mixes.sample", f"got {count}; the bounds leave only {len(chosen)} different mixes more")
        chosen.append(pools[turn][best])
        take(roots[turn][best])
    return np.array(chosen).reshape(count, -1)
