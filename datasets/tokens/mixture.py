"""Training sequences drawn by domain weights, so that sequence i of a run is the same however the run got there.

Nothing is remembered between calls and nothing is stored per sequence: which domain has sequence i, how many of that
domain came before it and which window comes that far in the shuffled epoch are all computed from i and the seed. A run
that resumes at sequence i therefore reads exactly what the uninterrupted run would have read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...core.errors import ConfigError, CorpusError, UsageError
from ...core.units import format_count, shown
from .interleave import MAX_TURNS, Interleave
from .shuffling import shuffle_key, shuffled, shuffled_epochs
from .store import TokenStore

__all__ = ["DomainUse", "Mixture", "stock_rows", "validation_rows"]

_SUM_TOLERANCE = 0.01
_ROUNDING = 1e-9
_STOCK = "stock"


@dataclass(frozen=True)
class DomainUse:
    """The use of one domain by a run.

    `tokens` were trained on (targets, context_length per sequence), out of a stock of `unique_tokens`; `epochs` is
    their ratio: how often the average token of the stock was seen.
    """

    tokens: int
    unique_tokens: int
    epochs: float


class Mixture:
    """The training sequences of one run: `sequences` of them, `context_length` + 1 tokens each.

    `weights` are shares of training tokens by domain and sum to 1 within 0.01; they are renormalised, and a domain
    that isn't there or has 0 is left out. After any number of sequences each domain has had its share within two
    sequences. Within a domain every window comes once per epoch, each epoch in another order.

    `unique_tokens` bounds the stock of a domain, to repeat a small one as a real run would repeat its own: that many
    tokens of windows that are the same for every run and seed, and that a larger stock includes. `max_epochs` bounds
    how often a domain may be repeated. `seed` decides all orders. With a `selection`, by its key in the store, training
    text is what that keeps.

    `texts` are shares of training tokens drawn from further texts of the store, by key, as if each were a domain; the
    `weights` are then those of the rest. `unique_tokens` may bound them too.

    Raises ConfigError for weights, domains or a length that make no sense, and CorpusError, naming the domain, where
    the store has less than the run needs.
    """

    def __init__(
        self,
        store: TokenStore,
        weights: Mapping[str, float],
        context_length: int,
        sequences: int,
        seed: int,
        unique_tokens: Mapping[str, float] | None = None,
        max_epochs: Mapping[str, float] | None = None,
        selection: str | None = None,
        texts: Mapping[str, float] | None = None,
    ) -> None:
        if not 1 <= sequences <= MAX_TURNS:
            raise ConfigError(f"sequences: got {shown(sequences)}; expected 1 to {MAX_TURNS}")
        if seed < 0:
            raise ConfigError(f"seed: got {shown(seed)}; expected 0 or more")
        shares = _shares(store, weights, texts or {})
        for name, given in (("unique_tokens", unique_tokens), ("max_epochs", max_epochs)):
            _check_names(store, name, {key: bound for key, bound in (given or {}).items() if key not in (texts or {})})
        self.domains = tuple(shares)
        """The domains with a weight above 0, in the store's order, and the further texts after them."""
        self.weights = shares
        """The share of each of them; they sum to 1."""
        self.context_length, self.sequences = context_length, sequences
        self._windows = [
            store.text_windows(domain, context_length)
            if domain in (texts or {})
            else store.windows(domain, "train", context_length, selection)
            for domain in self.domains
        ]
        self._stocks = np.array(
            [
                _stock(domain, len(windows), context_length, unique_tokens or {})
                for domain, windows in zip(self.domains, self._windows, strict=True)
            ],
            np.int64,
        )
        self._available = np.array([len(windows) for windows in self._windows], np.int64)
        self._restricted = bool((self._stocks < self._available).any())
        # The stock depends on the data alone, so that seeds differ in order and never in what there is to learn.
        self._stock_keys = _keys(_STOCK, store.digest, self.domains)
        self._order_keys = _keys("order", seed, self.domains)
        self._interleave = Interleave(list(shares.values()), np.random.default_rng([seed, len(shares)]))
        self._check_epochs(unique_tokens or {}, max_epochs or {})

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Sequences `start` to `stop` - 1 of the run, (stop - start, context_length + 1) int64.

        Inputs are `rows[:, :-1]`, targets `rows[:, 1:]`. Raises UsageError outside 0 to `sequences`.
        """
        domain, before = self.turns(start, stop)
        return self.rows_at(domain, before)

    def turns(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """The number of each sequence's domain in `domains`, (n,), and how many of it came before, (n,).

        Raises UsageError outside 0 to `sequences`.
        """
        if not 0 <= start <= stop <= self.sequences:
            raise UsageError(f"rows: got {shown(start)} to {shown(stop)}; the run has sequences 0 to {self.sequences}")
        return self._interleave.turns(np.arange(start, stop))

    def rows_at(self, domain: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The windows at these places of their domains' order, epoch after epoch, (n, context_length + 1) int64.

        `domain`, (n,), are numbers in `domains`; the first epoch has places 0 to `stocks` - 1, each window once.
        """
        window = self._window(domain, places)
        rows = np.empty((len(domain), self.context_length + 1), np.int64)
        for number in np.unique(domain).tolist():
            here = np.flatnonzero(domain == number)
            rows[here] = self._windows[number].gather(window[here])
        return rows

    def stock_rows(self, number: int) -> np.ndarray:
        """Every window of the stock of the domain of this number in `domains`, once, (stock, context_length + 1)."""
        stock = int(self._stocks[number])
        return self.rows_at(np.full(stock, number), np.arange(stock))

    @property
    def stocks(self) -> np.ndarray:
        """How many windows of each domain there are for this run, (domains,) int64."""
        return self._stocks.copy()

    def counts(self, sequences: int) -> np.ndarray:
        """How many of the first `sequences` of the run are of each domain, (domains,) int64."""
        return self._interleave.counts(sequences)

    def account(self, sequences: int | None = None) -> dict[str, DomainUse]:
        """What the first `sequences` of the run (default: all) take from each domain, exactly."""
        done = self.sequences if sequences is None else sequences
        if not 0 <= done <= self.sequences:
            raise UsageError(f"account: got {shown(sequences)}; the run has sequences 0 to {self.sequences}")
        counts = self._interleave.counts(done).tolist()
        return {
            domain: DomainUse(count * self.context_length, stock * self.context_length, count / stock)
            for domain, count, stock in zip(self.domains, counts, self._stocks.tolist(), strict=True)
        }

    def _window(self, domain: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The number of the window, in its domain, at each place of the domain's order, (n,)."""
        stocks = self._stocks[domain]
        window = shuffled_epochs(places, stocks, self._order_keys[domain])
        if self._restricted:
            # A stock is the first entries of one permutation of all windows: fixed, and inside any larger stock.
            chosen = shuffled(window, self._available[domain], self._stock_keys[domain])
            window = np.where(stocks < self._available[domain], chosen, window)
        return window

    def _check_epochs(self, unique_tokens: Mapping[str, float], max_epochs: Mapping[str, float]) -> None:
        """Raise CorpusError where the run repeats a domain more than it may, or more than the stock it stands for."""
        for domain, use in self.account().items():
            allowed = max_epochs.get(domain, math.inf)
            if use.epochs > allowed:
                raise CorpusError(
                    f"domain {shown(domain)}: the run needs {use.epochs:.3g} epochs of its "
                    f"{format_count(use.unique_tokens)} tokens; max_epochs allows {allowed:.3g}: "
                    "lower its weight, shorten the run or allow more epochs"
                )
            claimed = unique_tokens.get(domain, 0)
            if use.epochs > 1 and claimed >= use.unique_tokens + self.context_length:
                raise CorpusError(
                    f"domain {shown(domain)}: the run needs {format_count(use.tokens)} tokens of a stock of "
                    f"{format_count(claimed)}, but the store holds {format_count(use.unique_tokens)}: lower its "
                    "unique_tokens or its weight, or prepare more text"
                )


def stock_rows(store: TokenStore, domain: str, context_length: int, first: int, count: int) -> np.ndarray:
    """Windows of a domain's training text, (count, context_length + 1) int64: from `first` on, in the fixed order by
    which `Mixture` bounds a stock, so that those after a stock of `first` windows are none of it.

    Raises CorpusError, with figures, where there are fewer.
    """
    windows = store.windows(domain, "train", context_length)
    if first + count > len(windows):
        raise CorpusError(
            f"domain {shown(domain)}: its training text holds {format_count(len(windows) * context_length)} tokens in "
            f"windows of {context_length + 1}; expected {format_count((first + count) * context_length)}"
        )
    keys = np.full(count, _keys(_STOCK, store.digest, (domain,))[0])
    return windows.gather(shuffled(np.arange(first, first + count), np.full(count, len(windows)), keys))


def validation_rows(store: TokenStore, domain: str, context_length: int, max_tokens: int) -> np.ndarray:
    """Validation windows of a domain, (n, context_length + 1) int64: all, or n of them evenly spread, n·context_length
    at most `max_tokens`. They depend on nothing else, so every run is measured on the same text.

    Raises CorpusError for an unknown domain, and where there is no window, or `max_tokens` has room for none.
    """
    windows = store.windows(domain, "valid", context_length)
    if not len(windows):
        raise CorpusError(
            f"domain {shown(domain)}: its {store.count(domain, 'valid')} validation tokens hold no window of "
            f"{context_length + 1} tokens; shorten the context or prepare more validation text"
        )
    count = min(len(windows), max_tokens // context_length)
    if count < 1:
        raise CorpusError(f"max_tokens: got {shown(max_tokens)}; expected at least the context of {context_length}")
    return windows.gather(np.arange(count, dtype=np.int64) * len(windows) // count)


def _shares(store: TokenStore, weights: Mapping[str, float], texts: Mapping[str, float]) -> dict[str, float]:
    """The shares above 0, of domains in the store's order and then of texts by key, summing to 1.

    Raises ConfigError for what isn't a mix of the store's domains, and for shares of texts that exceed 1.
    """
    _check_names(store, "weights", weights)
    for key, share in texts.items():
        _ = store.text(key)
        if not 0 <= share <= 1:
            raise ConfigError(f"texts: {shown(key)}: got {shown(share)}; expected a share from 0 to 1")
    of_texts = math.fsum(texts.values())
    if of_texts > 1 + _ROUNDING:
        raise ConfigError(f"texts: sum to {of_texts:.4g}; expected 1 at most")
    for domain, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise ConfigError(f"weights: {shown(domain)}: got {shown(weight)}; expected a share from 0 to 1")
    total = math.fsum(weights.values())
    if abs(total - 1) > _SUM_TOLERANCE:
        raise ConfigError(f"weights: sum to {total:.4g}; expected 1 (within {_SUM_TOLERANCE})")
    shares = {domain: weights[domain] / total for domain in store.domains if weights.get(domain, 0) > 0}
    if not texts:
        return shares
    rest = 1 - of_texts if of_texts < 1 - _ROUNDING else 0.0
    mixed = {domain: share * rest for domain, share in shares.items()} | dict(sorted(texts.items()))
    return {name: share for name, share in mixed.items() if share > 0}


def _check_names(store: TokenStore, what: str, given: Mapping[str, float]) -> None:
    for domain in given:
        if domain not in store.domains:
            known = ", ".join(store.domains)
            raise ConfigError(f"{what}: there is no domain {shown(domain)}; the domains are {known}")


def _stock(domain: str, available: int, context_length: int, unique_tokens: Mapping[str, float]) -> int:
    """How many windows of a domain the run may use. Raises CorpusError if that is none."""
    if available < 1:
        raise CorpusError(
            f"domain {shown(domain)}: its training text holds no window of {context_length + 1} tokens; "
            "shorten the context, prepare more text or set its weight to 0"
        )
    if domain not in unique_tokens:
        return available
    stock = unique_tokens[domain]
    if not stock >= context_length:
        raise ConfigError(
            f"unique_tokens: {shown(domain)}: got {shown(stock)}; expected at least the context of {context_length}"
        )
    return min(available, int(min(stock, 2.0**62)) // context_length)


def _keys(purpose: str, value: object, domains: tuple[str, ...]) -> np.ndarray:
    """A shuffle key for each domain by its name, (domains,) uint64: other domains beside it change nothing."""
    return np.array([shuffle_key(purpose, value, domain) for domain in domains], np.uint64)
