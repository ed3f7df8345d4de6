"""The candidate layouts of a model on a number of devices, as arrays, for the search of the fastest one.

All pass `layout_problems.problems`. Also left out are tensor parallelism beyond the fast links, context parallelism
that leaves a device fewer than 1,024 tokens, pipelines whose stages are uneven by more than 10 %, and micro-batches
above 128 sequences. What a `LayoutConfig` states is kept, even beyond these bounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np

from ....core.deadline import check_time
from ....core.errors import ConfigError, InfeasibleError
from ....core.model.architecture import Architecture
from ....core.model.mixers.members.attention import ATTENTION
from ...config.hardware import LayoutConfig, Recompute
from ..memory.memory import FIT_CHANCE
from ..step_time.steps import Kernels, States
from .layout import ParallelLayout
from .layout_problems import OWN_STAGES, complete_layout, tp_faults

__all__ = ["RECOMPUTE", "LayoutSpace", "candidate_layouts", "layout_at"]

RECOMPUTE: tuple[Recompute, ...] = ("none", "selective", "full")
"""What may be recomputed, least first."""

_SHORTEST_CONTEXT = 1024  # tokens per device; fewer can't hide the exchange of keys and values
_UNEVEN = 1.10
_LARGEST_MICRO_BATCH = 128  # the largest among the measured runs is 104
_NEIGHBOURS = 256
_MOST = 2_000_000  # layouts, twice those of a mixture of 384 experts on 46,080 devices
_MOST_SPLITS = 50_000


@dataclass(frozen=True)
class LayoutSpace:
    """What layouts are sought for: a model on `count` devices, `per_node` of them joined by fast links."""

    architecture: Architecture
    count: int
    per_node: int
    global_batch: int
    """Sequences per step."""
    stated: LayoutConfig = field(default_factory=LayoutConfig)
    """What isn't free."""
    states: States = field(default_factory=States)
    """What the optimizer keeps of a parameter."""
    fit_chance: float = FIT_CHANCE
    """Chance to fit into memory that a layout must have."""
    kernels: Kernels = field(default_factory=Kernels)
    """How the software runs operators."""
    release: float = 0.0
    """Release of the training software as a number; 0 where none is stated."""


class _Split(NamedTuple):
    tp: int
    pp: int
    cp: int
    dp: int


def candidate_layouts(space: LayoutSpace) -> dict[str, np.ndarray]:
    """All candidate layouts: arrays of shape (n,) by the names of `steps.Layouts` (without framework).

    Raises `InfeasibleError`, with the nearest number of devices that would do, if there is none; `ConfigError` if there
    are too many.
    """
    check_time()
    columns = _rows(space, list(islice(_splits(space), _MOST_SPLITS + 1)))
    if not len(columns):
        raise InfeasibleError(_why_none(space))
    found = dict(zip(_COLUMNS, columns.T, strict=True))
    recompute = found.pop("recompute")
    offload = space.stated.offload or ()
    alike: dict[str, bool | int] = {
        f"offload_{what}": what in offload for what in ("optimizer", "weights", "activations")
    }
    alike["flash_attention"] = space.stated.flash_attention is not False
    alike["loss_chunks"] = space.stated.loss_chunks
    return {
        **found,
        "sequence_parallel": (found["tp"] > 1) & (space.stated.sequence_parallel is not False),
        "accumulation": space.global_batch // (found["dp"] * found["micro_batch"]),
        "recompute_selective": recompute == 1,
        "recompute_full": recompute == 2,
        **{key: np.full(len(columns), value) for key, value in alike.items()},
    }


def layout_at(candidates: Mapping[str, np.ndarray], row: int) -> ParallelLayout:
    """One of the candidates as a `ParallelLayout`."""
    values = {key: column[row].item() for key, column in candidates.items()}
    full, selective = values.pop("recompute_full"), values.pop("recompute_selective")
    return ParallelLayout(**values, recompute=RECOMPUTE[2 if full else int(selective)])


_COLUMNS = ("tp", "pp", "cp", "dp", "vpp", "ep", "zero_stage", "micro_batch", "recompute")
_FREE = len(_COLUMNS) - len(_Split._fields)


def _splits(space: LayoutSpace) -> Iterator[_Split]:
    """Every way to split the devices that leaves whole replicas with whole sequences."""
    stated, count = space.stated, space.count
    for tp in _tensor_degrees(space):
        for cp in _context_degrees(space, tp):
            for pp in _pipeline_degrees(space, count // (tp * cp)):
                dp = count // (tp * cp * pp)
                if space.global_batch % dp == 0 and stated.dp in (None, dp):
                    yield _Split(tp, pp, cp, dp)


def _tensor_degrees(space: LayoutSpace) -> list[int]:
    stated = space.stated.tp
    parts = space.architecture.mixer.parts(space.architecture)
    free = [tp for tp in _divisors(space.count) if tp <= min(space.per_node, parts)]
    return [tp for tp in (free if stated is None else [stated]) if space.count % tp == 0]


def _context_degrees(space: LayoutSpace, tp: int) -> Iterator[int]:
    length, stated = space.architecture.context_length, space.stated.cp
    powers = [2**k for k in range(length.bit_length()) if length >= 2**k * _SHORTEST_CONTEXT or k == 0]
    for cp in powers if stated is None else [stated]:
        # other mixers over parts of a context aren't priced
        even = cp == 1 or (length % (2 * cp) == 0 and space.architecture.mixer == ATTENTION)
        even = even and space.count % (tp * cp) == 0
        if even and not tp_faults(space.architecture, tp, cp, space.stated.sequence_parallel is not False):
            yield cp


def _pipeline_degrees(space: LayoutSpace, devices: int) -> list[int]:
    layers, stated = space.architecture.layers, space.stated.pp
    if stated is not None:
        return [stated] if stated <= layers and devices % stated == 0 else []
    return [pp for pp in _divisors(devices) if pp <= layers and -(-layers // pp) * pp <= _UNEVEN * layers]


def _rows(space: LayoutSpace, splits: Sequence[_Split]) -> np.ndarray:
    """All layouts of some splits, in the splits' order: int array (n, 9) in the order of `_COLUMNS`."""
    choices = [_choices(space, split) for split in splits]
    lengths = np.array([[len(values) for values in of_split] for of_split in choices], int).reshape(-1, _FREE)
    sizes = lengths.prod(axis=1)
    if len(splits) > _MOST_SPLITS or sizes.sum() > _MOST:
        raise ConfigError(
            f"layout: more than {_MOST:,} layouts are possible; expected some of it stated, such as tp, pp or ep"
        )
    of = np.repeat(np.arange(len(splits)), sizes)
    place = np.arange(len(of)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # within its split, last choice fastest
    chosen = []
    for axis in reversed(range(_FREE)):
        flat = np.array([value for of_split in choices for value in of_split[axis]], dtype=int)
        starts = np.cumsum(lengths[:, axis]) - lengths[:, axis]
        place, at = np.divmod(place, lengths[of, axis])
        chosen.append(flat[starts[of] + at])
    rows = np.column_stack([np.array(splits, dtype=int).reshape(-1, len(_Split._fields))[of], *reversed(chosen)])
    pp, dp, vpp, size = rows[:, 1], rows[:, 3], rows[:, 4], rows[:, 7]
    # The interleaved schedule goes round in groups of pp micro-batches.
    return rows[(vpp == 1) | (space.global_batch // (dp * size) % pp == 0)]


def _choices(space: LayoutSpace, split: _Split) -> tuple[Sequence[int], ...]:
    """What is left to choose within one split: vpp, ep, ZeRO stage, micro-batch, recompute, as `_COLUMNS` has them."""
    stated = space.stated
    per_replica = space.global_batch // split.dp
    sizes = [size for size in _divisors(per_replica) if size <= _LARGEST_MICRO_BATCH]
    if stated.micro_batch is not None:
        sizes = [stated.micro_batch] if per_replica % stated.micro_batch == 0 else []
    # with a pipeline gradients stay whole until the step's end, so that stage 2 shards nothing that stage 1 doesn't
    stages = (0, 1, 2, 3) if split.pp == 1 else (0, 1, 3)
    stages = stages if split.dp * split.cp > 1 else (0,)
    return (
        _virtual_stages(space, split),
        _expert_degrees(space, split),
        stages if stated.zero_stage is None else [stated.zero_stage],
        sizes,
        range(3) if stated.recompute is None else [RECOMPUTE.index(stated.recompute)],
    )


def _virtual_stages(space: LayoutSpace, split: _Split) -> list[int]:
    layers, stated = space.architecture.layers, space.stated.vpp
    most = (layers + OWN_STAGES) // split.pp if split.pp > 1 else 1
    free = _divisors(-(-layers // split.pp)) if stated is None else [stated]
    return [vpp for vpp in free if vpp <= most]


def _expert_degrees(space: LayoutSpace, split: _Split) -> list[int]:
    experts, stated = space.architecture.num_experts or 1, space.stated.ep
    ranks = split.tp * split.cp * split.dp
    free = _divisors(experts) if stated is None else [stated]
    return [ep for ep in free if experts % ep == 0 and ranks % ep == 0]


@lru_cache(maxsize=4096)
def _divisors(number: int) -> tuple[int, ...]:
    """Every divisor, in order."""
    small = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
    return tuple(sorted({*small, *(number // n for n in small)}))


def _why_none(space: LayoutSpace) -> str:
    """What makes every layout impossible, and the nearest number of devices that would do."""
    try:
        complete_layout(space.architecture, space.count, space.global_batch, space.stated)
        faults = ""
    except InfeasibleError as error:
        faults = f"; the plainest fails so:\n{error}"
    near = [str(count) for count in _around(space.count) if _possible(space, count)][:2]
    what = f"no layout is possible for {space.count} devices and {space.global_batch} sequences per step"
    if near:
        return f"hardware.count: {what}; expected hardware.count {' or '.join(near)}{faults}"
    return f"layout: {what}; expected another layout, batch or model{faults}"


def _around(count: int) -> Iterator[int]:
    """Numbers near `count`, nearest first."""
    for distance in range(1, _NEIGHBOURS + 1):
        yield from (near for near in (count - distance, count + distance) if near >= 1)


def _possible(space: LayoutSpace, count: int) -> bool:
    """Whether any layout is possible on another number of devices."""
    other = replace(space, count=count)
    return any(len(_rows(other, [split])) for split in _splits(other))
