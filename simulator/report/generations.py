"""What chains of generations came to, as rows of text and sentences, for the terminal and for reports.

Results come as values whose attributes are read here; nothing of `proxies` is imported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from ...core.output.plain import visible
from ...core.units import format_count
from ...datasets.provenance.provenance import Provenance
from ...datasets.tokens.store import TextIndex, TokenStore
from . import words
from .sources import SOURCES, source_cells

__all__ = ["CONTROL", "TEXTS", "Generations", "Sample", "chain_name", "finding", "notes"]

TEXTS = ("text", "tokens", *SOURCES)
"""Headings of `Generations.text_rows`."""

CONTROL = "fresh"
"""The regime that is no collapse: new real text each time."""

_SAMPLE_TOKENS = 600
_FEW_SEEDS = 3
_LEVELS = 0.005  # nats: a rise that goes on by less from one generation to the next isn't called one


class ChainKey(Protocol):
    """A chain, whatever its seed."""

    @property
    def regime(self) -> str:
        """What a generation's corpus is made of."""
        ...

    @property
    def real_share(self) -> float:
        """Share of real text in every corpus of `replace`."""
        ...


class ChainLoss(Protocol):
    """The loss of one run; `chain` is None in generation 0, which all chains of a seed share."""

    @property
    def chain(self) -> ChainKey | None:
        """Its chain."""
        ...

    @property
    def generation(self) -> int:
        """Its generation."""
        ...

    @property
    def seed(self) -> int:
        """Its seed."""
        ...

    @property
    def loss_nats(self) -> float:
        """Loss on real validation text."""
        ...

    @property
    def rise_nats(self) -> float:
        """Its rise over generation 0 of its seed."""
        ...


class Difference(Protocol):
    """One chain less another in a generation, over common seeds, with the half-width of its 90 % interval."""

    @property
    def first(self) -> ChainKey:
        """The chain whose loss is taken."""
        ...

    @property
    def second(self) -> ChainKey:
        """The chain whose loss is taken off it."""
        ...

    @property
    def generation(self) -> int:
        """Its generation."""
        ...

    @property
    def by_seed(self) -> Mapping[int, float]:
        """The difference of each common seed."""
        ...

    @property
    def mean_nats(self) -> float:
        """Their mean."""
        ...

    @property
    def half_nats(self) -> float:
        """Half of its interval; infinite for one pair."""
        ...


@dataclass(frozen=True)
class Sample:
    """The beginning of a text: whose, in words, of which generation, and how it begins."""

    writer: str
    generation: int
    text: str


@dataclass(frozen=True)
class Generations:
    """Chains of generations as they are shown.

    Args:
        where: Their folder.
        generator: What writes, such as self.
        losses: One entry a run.
        differences: The first chain less each other one, by generation.
        store: The tokens of the last generation, further texts included; None where they aren't at hand.
        unit: Of the losses.
    """

    where: str
    generator: str
    losses: Sequence[ChainLoss]
    differences: Sequence[Difference] = ()
    store: TokenStore | None = None
    unit: str = "nats per token"

    @cached_property
    def chains(self) -> tuple[ChainKey, ...]:
        """Every chain, in the order in which they are met."""
        return tuple(dict.fromkeys(one.chain for one in self.losses if one.chain is not None))

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Every seed."""
        return tuple(sorted({one.seed for one in self.losses}))

    @cached_property
    def last(self) -> int:
        """The last generation."""
        return max((one.generation for one in self.losses), default=0)

    def of(self, chain: ChainKey) -> dict[int, dict[int, ChainLoss]]:
        """The runs of a chain by generation, then by seed; generation 0, which chains share, among them."""
        found: dict[int, dict[int, ChainLoss]] = {}
        for one in self.losses:
            if one.chain is None or one.chain == chain:
                found.setdefault(one.generation, {})[one.seed] = one
        return dict(sorted(found.items()))

    def mean_rise(self, chain: ChainKey, generation: int) -> float:
        """The mean over seeds of the rise over generation 0; NaN where no run is done."""
        rises = [one.rise_nats for one in self.of(chain).get(generation, {}).values()]
        known = [rise for rise in rises if math.isfinite(rise)]
        return math.fsum(known) / len(known) if known else math.nan

    @cached_property
    def worst(self) -> ChainKey | None:
        """The chain that rises most by the last generation; None without any."""
        done = [chain for chain in self.chains if math.isfinite(self.mean_rise(chain, self.last))]
        return max(done, key=lambda chain: self.mean_rise(chain, self.last), default=None)

    def shown_generations(self, most: int) -> list[int]:
        """At most `most` of the generations after 0, evenly."""
        return _thinned(range(1, self.last + 1), most)

    def rise_rows(self, most: int) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Headings and rows: the mean rise of each chain, by generation."""
        numbers = self.shown_generations(most)
        headings = ("rise over generation 0", *(f"n = {number}" for number in numbers))
        rows = [(chain_name(one), *(_signed(self.mean_rise(one, number)) for number in numbers)) for one in self.chains]
        return headings, rows

    def loss_rows(self, most: int) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Headings and rows: the loss of each chain and seed, by generation from 0 on."""
        numbers = [0, *self.shown_generations(most)]
        headings = (f"loss, {self.unit}", "seed", *(f"n = {number}" for number in numbers))
        rows = []
        for chain in self.chains:
            runs = self.of(chain)
            for seed in self.seeds:
                found = (runs.get(number, {}).get(seed) for number in numbers)
                cells = ("" if one is None else f"{one.loss_nats:.3f}" for one in found)
                rows.append((chain_name(chain), f"{seed}", *cells))
        return headings, rows

    def difference_rows(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Headings and rows: differences of the last generation over common seeds, with what they decide."""
        first = chain_name(self.differences[0].first) if self.differences else ""
        headings = (f"{first} against, at n = {self.last}", "loss higher by", "90 %", "pairs higher", f"{first} is")
        rows = []
        for one in self.differences:
            if one.generation != self.last:
                continue
            above = sum(value > 0 for value in one.by_seed.values())
            decided = abs(one.mean_nats) > one.half_nats
            so = "undecided" if not decided else "worse" if one.mean_nats > 0 else "better"
            width = f"±\u00a0{one.half_nats:.3f}" if math.isfinite(one.half_nats) else "one pair"
            rows.append((chain_name(one.second), _signed(one.mean_nats), width, f"{above} of {len(one.by_seed)}", so))
        return headings, rows

    def text_rows(self) -> list[tuple[str, ...]]:
        """Where every text is from that was trained on: the domains, then what was written, by generation."""
        store = self.store
        if store is None:
            return []
        rows = []
        for name in store.domains:
            domain = store.index.domains[name]
            for one in domain.provenance or (Provenance(),):
                rows.append((visible(name), format_count(domain.train.tokens), *source_cells(one)))
        written: dict[tuple[int, str], list[TextIndex]] = {}
        for key in store.texts:
            text = store.text(key)
            by = text.provenance.generator
            if by is None:
                rows.append((visible(key), format_count(text.tokens), *source_cells(text.provenance)))
            else:
                written.setdefault((by.generation, by.kind), []).append(text)
        for (number, kind), texts in sorted(written.items()):
            made = f"{len(texts)} text{'s' if len(texts) > 1 else ''} for generation {number}"
            if left_out := sum(text.replaced for text in texts):
                made += f", {words.share(left_out / sum(text.documents for text in texts))} filtered out"
            plain = Provenance(source=_same(texts, "source"), licence=_same(texts, "licence"), origin="generator")
            writers = {text.provenance.generator.digest for text in texts if text.provenance.generator is not None}
            by = f"{visible(kind)}, {len(writers)} model{'s' if len(writers) > 1 else ''}"
            rows.append((made, format_count(sum(text.tokens for text in texts)), by, *source_cells(plain)[1:]))
        return rows

    def samples(self, generations: int = 4) -> list[Sample]:
        """How real text begins, then the first sample of the texts of one seed, of so many generations at most."""
        store = self.store
        if store is None or store.tokenizer is None:
            return []
        found = []
        for name in store.domains:
            split = store.index.domains[name].valid
            if split.text_bytes is not None:
                tokens = store.windows(name, "valid", min(_SAMPLE_TOKENS, split.tokens - 1))[0]
                found.append(Sample(f"{visible(name)}, as it is", 0, store.tokenizer.decode(tokens)))
        written: dict[int, dict[str, int]] = {}
        for key in store.texts:
            by = store.text(key).provenance.generator
            if by is not None:
                written.setdefault(by.generation, {})[key] = by.seed
        for number in _thinned(sorted(written), generations):
            seeds = written[number]
            of_one_seed = [key for key, seed in seeds.items() if seed == next(iter(seeds.values()))]
            for key in sorted(of_one_seed, key=lambda key: not self._is_of_worst(key)):
                tokens = store.text_windows(key, store.text(key).sample_tokens - 1)[0]
                found.append(Sample(visible(key), number, store.tokenizer.decode(tokens)))
        return found

    def _is_of_worst(self, key: str) -> bool:
        """Was a text written in the chain that gets worst? Its key is the id of the run that wrote it."""
        worst = self.worst
        if worst is None:
            return False
        return any(f"-{name}-s" in key for name in (worst.regime, f"{worst.regime}-{worst.real_share:g}"))


def _thinned(numbers: Sequence[int], most: int) -> list[int]:
    """At most `most` of some numbers, evenly, the first and the last among them."""
    if len(numbers) <= most:
        return list(numbers)
    return [numbers[round(place * (len(numbers) - 1) / (most - 1))] for place in range(most)]


def _same(texts: Sequence[TextIndex], key: str) -> str | None:
    """What all texts say; None where they differ."""
    said = {getattr(text.provenance, key) for text in texts}
    return said.pop() if len(said) == 1 else None


def chain_name(chain: ChainKey) -> str:
    """A chain in words.

    >>> from collections import namedtuple
    >>> Key = namedtuple("Key", "regime real_share")
    >>> chain_name(Key("replace", 0.5)), chain_name(Key("accumulate_fixed", 0.0))
    ('replace with 50 % real', 'accumulate_fixed')
    """
    real = f" with {words.share(chain.real_share)} real" if chain.regime == "replace" and chain.real_share else ""
    return f"{visible(chain.regime)}{real}"


def finding(found: Generations) -> str:
    """What came out, one sentence."""
    worst = found.worst
    if worst is None:
        return "No generation after the first is done"
    rise = found.mean_rise(worst, found.last)
    count = f"{found.last} generation{'s' if found.last > 1 else ''}"
    if rise <= _LEVELS:
        return f"No chain gets worse in {count}"
    of_models = [chain for chain in found.chains if chain.regime != CONTROL] or list(found.chains)
    least = min(of_models, key=lambda chain: found.mean_rise(chain, found.last))
    said = f"{chain_name(worst)} gets worse by {rise:.2f} nats in {count}"
    if least == worst:
        return words.capital(said)
    lowest = found.mean_rise(least, found.last)
    other = f"by {lowest:.2f}" if lowest >= 0 else f"better by {-lowest:.2f}"
    return words.capital(f"{said}, {chain_name(least)} {other}")


def notes(found: Generations) -> list[str]:
    """What these figures can't tell, as sentences."""
    said = []
    if len(found.seeds) < _FEW_SEEDS:
        count = f"{len(found.seeds)} seed{'s' if len(found.seeds) > 1 else ''}"
        said.append(f"{count}: one unlucky generation lifts every chain of a seed; expected 3 or more for an interval")
    fresh = next((chain for chain in found.chains if chain.regime == CONTROL), None)
    if fresh is None and found.chains:
        said.append("no control: without the regime fresh, a rise may be the noise of training; add it to the regimes")
    elif fresh is not None and abs(found.mean_rise(fresh, found.last)) > 2 * _LEVELS:
        drift = _signed(found.mean_rise(fresh, found.last))
        said.append(f"the control moves: fresh real text changes the loss by {drift} nats; rises within it are noise")
    diverged = [one for one in found.losses if not math.isfinite(one.loss_nats)]
    if diverged:
        said.append(f"{len(diverged)} runs diverged; their chains end there")
    return said


def _signed(value: float) -> str:
    """A difference in nats."""
    return f"{value:+.3f}".replace("-", "−") if math.isfinite(value) else ""
