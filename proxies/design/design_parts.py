"""From a space to its parts, each a full product of shapes, variants and seeds, and from a part to its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...core.model.architecture import Architecture
from ...core.reading.fields import FieldError
from ..runs import ProxyRun, Recipe
from ._space_parts import BATCH, SampledMixes, SobolPoints, ValueRange
from .learning_rate import LearningRateChoice
from .mixes import DomainFacts, check_known, named_mixes, sample_mixes, share_caps
from .sizes import shapes
from .space import ProxySpace

__all__ = ["Part", "PartName", "Variant", "lr_variants", "make_parts", "make_run", "runs_of"]

PartName = Literal["lr", "ladder", "mixes", "sobol"]

_FEWEST_LR = 3
_DESIGN_STREAMS = {"mixes": 1, "sobol": 2}
"""Each part draws from a stream of its own, so that one changes nothing in the other."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What sets runs of one shape and seed apart: a mix, settings by name, a selection.

    Settings are of `Recipe`, or `batch_sequences`; `selection` is the key of one that the token store holds, None for
    text as it is.
    """

    name: str
    mix: Mapping[str, float]
    settings: Mapping[str, float] = field(default_factory=dict)
    selection: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Every shape with every variant, seed and token count. `kept` of the variants are never dropped singly."""

    name: PartName
    shapes: tuple[Architecture, ...]
    tokens: tuple[float, ...]
    seeds: int
    variants: tuple[Variant, ...]
    kept: int = 0


def make_parts(space: ProxySpace, domains: Mapping[str, DomainFacts], vocab_size: int) -> dict[PartName, Part]:
    """Return the parts of a space over these domains, by name: `lr` if the learning rate is tuned, `ladder`, others.

    Raises ConfigError, with its place in the file, for what doesn't fit the domains or the vocabulary, and
    InfeasibleError where a domain's text or `max_epochs` leaves no mix.
    """
    rungs = shapes(space, vocab_size)
    try:
        base = named_mixes(space.mix, domains, "mix")[0]
        variants = _ladder_variants(space, base, domains)
        ladder = Part("ladder", (*rungs.values(),), space.tokens, space.seeds, variants, kept=1)
        parts = [_lr_part(space, rungs, base), ladder]
        if space.mixes is not None:
            parts.append(_mixes_part(space, space.mixes, domains, rungs))
        if space.sobol is not None:
            parts.append(_sobol_part(space, space.sobol, base, rungs))
    except FieldError as error:
        raise space.problem(error) from None
    return {part.name: part for part in parts if part.variants}


def runs_of(part: Part, space: ProxySpace, lr: float | LearningRateChoice) -> list[ProxyRun]:
    """Return the runs of a part at this learning rate (at width 64), or at the one chosen for each width.

    Under a schedule that doesn't depend on the run's length, one run to the largest token count passes through all.
    """
    every = [part.tokens] if space.one_run_gives_every_token_count else [(tokens,) for tokens in part.tokens]
    lrs = {shape: lr.at(shape.width) if isinstance(lr, LearningRateChoice) else lr for shape in part.shapes}
    return [
        make_run(space, shape, variant, lengths, replicate, lrs[shape])
        for shape in part.shapes
        for variant in part.variants
        for lengths in every
        for replicate in range(part.seeds)
    ]


def lr_variants(space: ProxySpace, mix: Mapping[str, float], points: int) -> tuple[Variant, ...]:
    """Return the trials of the learning rate: `points` of them, evenly spaced on a log scale, both ends included."""
    lrs = [float(f"{lr:.4g}") for lr in np.geomspace(space.lr.low, space.lr.high, points)]
    return tuple(Variant(f"lr-{lr:g}", mix, {"lr": lr}) for lr in lrs)


def make_run(
    space: ProxySpace, shape: Architecture, variant: Variant, lengths: Sequence[float], replicate: int, lr: float
) -> ProxyRun:
    """Return one run at learning rate `lr` (at width 64), validated at all of `lengths`, which ascend.

    `replicate` numbers the repetitions of one cell: the seed is the space's own plus that.
    """
    settings = dict(variant.settings)
    batch = settings.pop(BATCH, space.batch_sequences)
    tokens = lengths[-1]
    return ProxyRun(
        run_id=f"{variant.name}-n{shape.params_total}-d{tokens:.0f}-s{replicate}",
        model=space.model,
        shape=shape,
        recipe=Recipe.model_validate({**space.recipe.model_dump(), "lr": lr, **settings}),
        tokens=tokens,
        evaluate_at=tuple(lengths[:-1]),
        batch_sequences=int(batch),
        mix=dict(variant.mix),
        selection=variant.selection,
        seed=(space.seed + replicate) % 2**32,
    )


def _ladder_variants(
    space: ProxySpace, mix: Mapping[str, float], domains: Mapping[str, DomainFacts]
) -> tuple[Variant, ...]:
    """Return the ladder's selections: text as it is first, so that it goes last; without any, that alone.

    Or the mixes with each of the shares of a domain, the smallest first. Raises FieldError for an unknown domain.
    """
    if space.shares is not None:
        check_known(space.shares.domain, domains, "shares.domain")
        return tuple(Variant(f"share-{share:g}", each) for share, each in space.shares.mixes(mix).items())
    found = [Variant(f"ladder-{named.key}", mix, selection=named.key) for named in space.named_selections()]
    plain = len(found) < len(space.selections) or not found
    return (*([Variant("ladder", mix)] if plain else []), *found)


def _lr_part(space: ProxySpace, rungs: Mapping[float, Architecture], mix: Mapping[str, float]) -> Part:
    """Return the trials of the learning rate; a part without variants if it is fixed."""
    # The second size is the middle one: far enough from the first to show a trend, and cheap beside the largest.
    sizes = space.lr.sizes or sorted({space.rungs[0], space.rungs[len(space.rungs) // 2]})
    variants = () if space.lr.fixed is not None else lr_variants(space, mix, space.lr.points)
    tokens = space.lr.tokens or _middle(space.tokens)
    return Part("lr", tuple(rungs[size] for size in sizes), (tokens,), 1, variants, kept=_FEWEST_LR)


def _mixes_part(
    space: ProxySpace, mixes: SampledMixes, domains: Mapping[str, DomainFacts], rungs: Mapping[float, Architecture]
) -> Part:
    """Return the included mixes, then the sampled ones."""
    tokens = mixes.tokens or _middle(space.tokens)
    included = [
        mix for index, spec in enumerate(mixes.include) for mix in named_mixes(spec, domains, f"mixes.include.{index}")
    ]
    bounds = share_caps(domains, {name: (b.low, b.high) for name, b in mixes.bounds.items()}, tokens)
    rng = np.random.default_rng([space.seed, _DESIGN_STREAMS["mixes"]])
    sampled = sample_mixes([*domains], mixes.sample, mixes.concentration, bounds, rng, included)
    drawn = [dict(zip(domains, map(float, row), strict=True)) for row in sampled]
    variants = tuple(Variant(f"mix-{number:03d}", mix) for number, mix in enumerate([*included, *drawn]))
    sizes = mixes.sizes or space.rungs[:1]
    return Part("mixes", tuple(rungs[s] for s in sizes), (tokens,), mixes.seeds, variants, kept=len(included))


def _sobol_part(
    space: ProxySpace, sobol: SobolPoints, mix: Mapping[str, float], rungs: Mapping[float, Architecture]
) -> Part:
    """Return the points of a scrambled Sobol sequence over the ranges."""
    from scipy.stats import qmc

    rng = np.random.default_rng([space.seed, _DESIGN_STREAMS["sobol"]])
    sampler = qmc.Sobol(len(sobol.vary), scramble=True, rng=rng)
    # The sequence is balanced over powers of 2 only, and warns otherwise; its first points are taken.
    unit = sampler.random_base2((sobol.points - 1).bit_length())[: sobol.points]
    columns = {name: _spread(sobol.vary[name], column) for name, column in zip(sobol.vary, unit.T, strict=True)}
    if BATCH in columns:
        columns[BATCH] = [float(round(value)) for value in columns[BATCH]]
    variants = tuple(
        Variant(f"sobol-{number:03d}", mix, {name: values[number] for name, values in columns.items()})
        for number in range(sobol.points)
    )
    sizes = sobol.sizes or space.rungs[:1]
    return Part("sobol", tuple(rungs[s] for s in sizes), (sobol.tokens or _middle(space.tokens),), 1, variants)


def _spread(values: ValueRange, positions: NDArray[np.float64]) -> list[float]:
    """Return the values at positions from 0 to 1 along a range, with six digits."""
    low, high = (np.log([values.low, values.high])) if values.log else (values.low, values.high)
    spread = low + (high - low) * positions
    rounded = (float(f"{value:.6g}") for value in (np.exp(spread) if values.log else spread))
    return [min(max(value, values.low), values.high) for value in rounded]


def _middle(tokens: Sequence[float]) -> float:
    """Return the lower middle one of the ladder's token counts: a modest length."""
    return tokens[(len(tokens) - 1) // 2]
