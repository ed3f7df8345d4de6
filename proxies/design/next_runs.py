"""Candidate runs after a design: sizes, token counts and mixes that its space didn't list, and more seeds.

The pool spans the space's own ranges with points between its sizes and token counts, and three doublings beyond them,
because the runs nearest to a planned one are the most informative about it. Settings are those of the ladder. With
`mixes` in the space there are further mixes too, spread away from those trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, pairwise
from typing import NamedTuple

import numpy as np

from ...core.errors import ConfigError, InfeasibleError
from ...core.model.architecture import Architecture
from ...core.reading.fields import FieldError
from ..runs import ProxyRun
from .design_parts import Variant, make_run
from .learning_rate import LearningRateChoice
from .mixes import DomainFacts, named_mixes, sample_mixes, share_caps
from .sizes import shapes
from .space import ProxySpace

__all__ = ["candidate_runs"]

_DOUBLINGS = 3
_STEPS_PER_DOUBLING = 2  # of sizes; token counts take one
_MIXES = 32
_STREAM = 3  # of the seed sequence; 1 and 2 are the design's own
_SLACK = 1e-9

Mix = Mapping[str, float]


class _Trained(NamedTuple):
    """A mix, what its runs are called, and whether it is trained at every size and token count."""

    name: str
    mix: Mix
    everywhere: bool


def candidate_runs(
    space: ProxySpace,
    domains: Mapping[str, DomainFacts],
    vocab_size: int,
    lr: LearningRateChoice | float,
    done: Sequence[ProxyRun],
    stage: str,
    planned_mix: Mix | None = None,
) -> list[ProxyRun]:
    """Runs that could follow those `done`, named after `stage`, each with a seed that its cell hasn't had.

    The space's own mix, and `planned_mix` beside it, are trained at every size; further mixes at the space's sizes. A
    run that would repeat a domain more often than its max_epochs allows is left out.
    """
    lengths, seeds = _tokens(space), _FreshSeeds(space.seed, done)
    found = []
    for name, mix, everywhere in _mixes(space, domains, done, planned_mix):
        sizes = _sizes(space, vocab_size) if everywhere else [*shapes(space, vocab_size).values()]
        for shape in sizes:
            rate = lr.at(shape.width) if isinstance(lr, LearningRateChoice) else lr
            for tokens in lengths if everywhere else [_mix_tokens(space)]:
                if any(share > domains[domain].cap(tokens) * (1 + _SLACK) for domain, share in mix.items()):
                    continue
                shorter = [length for length in lengths if length < tokens]
                seen = [*shorter, tokens] if space.one_run_gives_every_token_count else [tokens]
                replicate = seeds.next(shape, mix)
                found.append(make_run(space, shape, Variant(f"{stage}-{name}", mix), seen, replicate, rate))
    return found


def _mixes(
    space: ProxySpace, domains: Mapping[str, DomainFacts], done: Sequence[ProxyRun], planned_mix: Mix | None
) -> Iterator[_Trained]:
    """The ladder's mix, the planned one if it is another, and further ones if the space has `mixes`."""
    base = named_mixes(space.mix, domains, "mix")[0]
    yield _Trained("ladder", base, True)
    if planned_mix is not None and _key(planned_mix) != _key(base):
        yield _Trained("planned", planned_mix, True)
    if space.mixes is None or len(domains) < 2:
        return
    beside = {_key(mix): mix for mix in (base, planned_mix or base, *(run.mix for run in done))}
    stated = {name: (bounds.low, bounds.high) for name, bounds in space.mixes.bounds.items()}
    rng = np.random.default_rng([space.seed, _STREAM, len(beside)])
    try:
        bounds = share_caps(domains, stated, _mix_tokens(space))
        drawn = sample_mixes([*domains], _MIXES, space.mixes.concentration, bounds, rng, [*beside.values()])
    except (FieldError, InfeasibleError):
        return  # the bounds leave no room for further mixes
    for number, row in enumerate(drawn):
        yield _Trained(f"mix-{number:03d}", dict(zip(domains, map(float, row), strict=True)), False)


def _mix_tokens(space: ProxySpace) -> float:
    """The token count at which the space trains its mixes."""
    stated = None if space.mixes is None else space.mixes.tokens
    return stated or space.tokens[(len(space.tokens) - 1) // 2]


def _sizes(space: ProxySpace, vocab_size: int) -> list[Architecture]:
    """The space's models, one between each two, and half-doublings beyond the largest; each width once, ascending."""
    family, own = space.family(vocab_size), [*shapes(space, vocab_size).values()]
    wanted = [math.sqrt(a.params_active * b.params_active) for a, b in pairwise(own)]
    steps = range(1, _DOUBLINGS * _STEPS_PER_DOUBLING + 1)
    wanted += [own[-1].params_active * 2.0 ** (step / _STEPS_PER_DOUBLING) for step in steps]
    by_width = {shape.width: shape for shape in own}
    for size in wanted:
        try:
            shape = family.of_size(size)
        except ConfigError:
            continue  # beyond the widest model that there is
        by_width.setdefault(shape.width, shape)
    return [by_width[width] for width in sorted(by_width)]


def _tokens(space: ProxySpace) -> list[float]:
    """The space's token counts, one between each two, and doublings beyond the largest; whole numbers, ascending."""
    between = [math.sqrt(a * b) for a, b in pairwise(space.tokens)]
    beyond = [space.tokens[-1] * 2.0**step for step in range(1, _DOUBLINGS + 1)]
    return sorted({*space.tokens, *(float(round(tokens)) for tokens in (*between, *beyond))})


class _FreshSeeds:
    """Replicates by model and mix, each used once: under a steady schedule, equal seeds repeat each other's losses."""

    def __init__(self, first: int, done: Sequence[ProxyRun]) -> None:
        self._first, self._used = first, {}
        for run in done:
            self._used.setdefault((run.shape, _key(run.mix)), set()).add(run.seed)

    def next(self, shape: Architecture, mix: Mix) -> int:
        used = self._used.setdefault((shape, _key(mix)), set())
        free = (replicate for replicate in count() if (self._first + replicate) % 2**32 not in used)
        replicate = next(free)
        used.add((self._first + replicate) % 2**32)
        return replicate


def _key(mix: Mix) -> tuple[tuple[str, float], ...]:
    return tuple(sorted((name, round(share, 6)) for name, share in mix.items() if share > 0))
