"""The plan of chains: which runs each generation trains, on which texts, and who writes those. Pure functions.

A chain is one regime, real share and seed over its generations. Generation 0, one run per seed on real text, belongs to
all chains of the seed, and so does what it writes. Text n is written by the runs of generation n - 1 and named by their
ids; under `fresh`, text n is windows of real text that no generation before had.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ...core.model.architecture import Architecture
from ...core.reading.fields import FieldError
from ...core.units import format_count
from ...datasets.provenance.regimes import HUMAN, Regime
from ..runs import Chain, ProxyRun, Recipe
from .composition import Composition, composition

__all__ = ["Chains", "FreshText", "GenerationPlan", "WrittenText"]


@dataclass(frozen=True)
class WrittenText:
    """A text that the run `writer` writes: so many samples of a context and one token, by this seed."""

    writer: str
    generation: int
    samples: int
    seed: int

    @property
    def key(self) -> str:
        """What runs call it: the id of its writer."""
        return self.writer


@dataclass(frozen=True)
class FreshText:
    """Windows of real text: of each domain so many, from `first` on in the order of its stock."""

    key: str
    generation: int
    first: Mapping[str, int]
    samples: Mapping[str, int]


@dataclass(frozen=True)
class GenerationPlan:
    """One generation: the texts that are new in it, then its runs."""

    number: int
    texts: tuple[WrittenText | FreshText, ...]
    runs: tuple[ProxyRun, ...]


@dataclass(frozen=True)
class Chains:
    """All chains of a space over known tokens.

    Args:
        chains: Regime and real share of each chain of a seed.
        generator: What writes, by its name.
        seeds: Those of the runs; every chain has all of them.
        model: Kind of model.
        shape: Shape of every model.
        recipe: Optimisation of every run.
        tokens: Training tokens of a generation.
        batch_sequences: Sequences per step.
        mix: Shares of real text by domain; they sum to 1.
        unique_tokens: Distinct tokens of real text, and of what is written for each generation.
        temperature: Temperature at which models are sampled.
        top_p: Share of each distribution that is sampled.
    """

    chains: tuple[tuple[Regime, float], ...]
    generator: str
    seeds: tuple[int, ...]
    model: str
    shape: Architecture
    recipe: Recipe
    tokens: float
    batch_sequences: int
    mix: Mapping[str, float]
    unique_tokens: float
    temperature: float = 1.0
    top_p: float = 1.0

    def generation(self, number: int) -> GenerationPlan:
        """The texts and runs of a generation from 0 on; chains by seed, and in their order."""
        if number == 0:
            return GenerationPlan(0, (), tuple(self._first(seed) for seed in self.seeds))
        runs = tuple(self._run(number, regime, share, seed) for seed in self.seeds for regime, share in self.chains)
        return GenerationPlan(number, (*self._written(number), *self._fresh(number)), runs)

    def writer(self, text: int, regime: Regime, real_share: float, seed: int) -> str:
        """The id of the run that writes text n of a chain; of `fresh`, the key of its text."""
        if regime == "fresh":
            return f"fresh-{text}"
        return _run_id(text - 1, regime, real_share, seed)

    def stock(self, amount: float) -> dict[str, int]:
        """Windows of each domain in `amount` times the distinct tokens of generation 0."""
        length = self.shape.context_length
        return {domain: int(amount * self.unique_tokens * share) // length for domain, share in self.mix.items()}

    def check_stock(self, windows: Mapping[str, int], count: int) -> None:
        """Raise FieldError, with figures, where the real text is too little for `count` generations.

        `windows` are those of a context and one token in each domain's training text.
        """
        length = self.shape.context_length
        needed = {domain: stock * (count + 1 if self._has_fresh else 1) for domain, stock in self.stock(1.0).items()}
        for domain, need in needed.items():
            if need < 1:
                raise FieldError(
                    "generations.unique_tokens",
                    f"leaves {domain} less than its context of {length} tokens; expected more, or another mix",
                )
            if need > windows[domain]:
                why = f" for fresh text in each of {count + 1} generations" if self._has_fresh else ""
                have, most = windows[domain] * length, windows[domain] * length / (need / self.stock(1.0)[domain])
                raise FieldError(
                    "generations.unique_tokens",
                    f"got {format_count(self.unique_tokens)}, which takes {format_count(need * length)} tokens of "
                    f"{domain}{why}; its training text has {format_count(have)}: expected at most "
                    f"{format_count(most / self.mix[domain])}, or more text",
                )
        smallest = min(self._parts(count), default=1.0)
        if int(smallest * self.unique_tokens * min(self.mix.values())) < length:
            raise FieldError(
                "generations.unique_tokens",
                f"got {format_count(self.unique_tokens)}, of which the smallest part of a corpus, {smallest:.3g}, is "
                f"less than a context of {length} tokens; expected more, fewer generations or other real shares",
            )

    @property
    def _has_fresh(self) -> bool:
        return any(regime == "fresh" for regime, _ in self.chains)

    def _parts(self, count: int) -> Iterator[float]:
        """The distinct amounts of every part of the last generation's corpora."""
        for regime, share in self.chains:
            made = composition(regime, share, count)
            yield from (amount for amount in (made.distinct_real, *made.distinct.values()) if amount > 0)

    def _first(self, seed: int) -> ProxyRun:
        return self._made("g0", seed, None, None)

    def _run(self, number: int, regime: Regime, real_share: float, seed: int) -> ProxyRun:
        made = composition(regime, real_share, number)
        chain = Chain(
            generator=HUMAN if regime == "fresh" else self.generator,
            regime=regime,
            real_share=1.0 if regime == "fresh" else real_share,
            generation=number,
            temperature=1.0 if regime == "fresh" else self.temperature,
            top_p=1.0 if regime == "fresh" else self.top_p,
        )
        return self._made(_run_id(number, regime, real_share, seed), seed, chain, made)

    def _made(self, run_id: str, seed: int, chain: Chain | None, made: Composition | None) -> ProxyRun:
        """One run; generation 0 where it has no place in a chain."""
        unique: dict[str, float] = {}
        if made is None or made.distinct_real:
            amount = self.unique_tokens * (1.0 if made is None else made.distinct_real)
            unique = {domain: amount * share for domain, share in self.mix.items() if share > 0}
        texts: dict[str, float] = {}
        if chain is not None and made is not None:
            for text, share in made.texts.items():
                key = self.writer(text, chain.regime, chain.real_share, seed)
                texts[key] = share
                unique[key] = self.unique_tokens * made.distinct[text]
        return ProxyRun(
            run_id=run_id if chain is not None else f"{run_id}-s{seed}",
            model=self.model,
            shape=self.shape,
            recipe=self.recipe,
            tokens=self.tokens * (1 if made is None else made.tokens),
            batch_sequences=self.batch_sequences,
            mix=dict(self.mix),
            texts=texts,
            unique_tokens=unique,
            chain=chain,
            seed=seed,
        )

    def _written(self, number: int) -> list[WrittenText]:
        """Texts of a generation that runs of the one before write, each as long as who needs most of it says."""
        needed: dict[str, float] = {}
        seeds: dict[str, int] = {}
        for seed in self.seeds:
            for regime, share in self.chains:
                if regime == "fresh":
                    continue
                key = self.writer(number, regime, share, seed)
                needed[key] = max(needed.get(key, 0.0), composition(regime, share, number).distinct[number])
                seeds[key] = seed
        length = self.shape.context_length
        return [
            WrittenText(key, number, int(amount * self.unique_tokens) // length, _sampling_seed(seeds[key], number))
            for key, amount in needed.items()
        ]

    def _fresh(self, number: int) -> list[FreshText]:
        if not self._has_fresh:
            return []
        stock = {domain: windows for domain, windows in self.stock(1.0).items() if windows}
        first = {domain: number * windows for domain, windows in stock.items()}
        return [FreshText(self.writer(number, "fresh", 0.0, 0), number, first, stock)]


def _run_id(number: int, regime: Regime, real_share: float, seed: int) -> str:
    if number == 0:
        return f"g0-s{seed}"
    name = f"{regime}-{real_share:g}" if regime == "replace" else regime
    return f"g{number}-{name}-s{seed}"


def _sampling_seed(seed: int, number: int) -> int:
    """One for all chains of a seed, so that their texts differ by their models alone."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
