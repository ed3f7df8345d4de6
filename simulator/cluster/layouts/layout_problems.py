"""What makes a layout impossible, each problem with the smallest change that would help.

The rules are those of Megatron-LM and its kin. Where frameworks differ, what any of them can do is possible, and
`layout.layout_warnings` says so. A vocabulary that tp doesn't divide is padded by all of them and is no matter here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ....core.errors import InfeasibleError
from ....core.model.architecture import Architecture
from ....core.model.mixers.members.attention import ATTENTION
from ...config.hardware import LayoutConfig
from .layout import ParallelLayout

__all__ = ["OWN_STAGES", "complete_layout", "problems", "tp_faults"]

OWN_STAGES = 2
"""Embedding and output head may be virtual stages of their own, as in Llama 3 405B: 126 layers on 16 · 8 stages."""

_FARTHEST = 100_000  # how far up a better value is looked for


def complete_layout(architecture: Architecture, count: int, global_batch: int, stated: LayoutConfig) -> ParallelLayout:
    """The layout stated for `count` devices and `global_batch` sequences, the plainest where nothing is stated.

    Degrees that are left out are 1, dp is what remains of the devices, ZeRO stage 1, one sequence at once, nothing
    recomputed or offloaded; sequence parallelism is on where tp > 1, and off, whatever is stated, where tp is 1.
    Raises `InfeasibleError` that lists everything that makes it impossible, with the smallest change for each.
    """
    tp, pp, cp = stated.tp or 1, stated.pp or 1, stated.cp or 1
    dp = stated.dp or max(1, count // (tp * pp * cp))
    micro_batch = stated.micro_batch or 1
    offload = stated.offload or ()
    layout = ParallelLayout(
        tp=tp,
        pp=pp,
        vpp=stated.vpp or 1,
        cp=cp,
        ep=stated.ep or 1,
        dp=dp,
        zero_stage=1 if stated.zero_stage is None else stated.zero_stage,
        sequence_parallel=tp > 1 and stated.sequence_parallel is not False,
        micro_batch=micro_batch,
        accumulation=max(1, global_batch // (dp * micro_batch)),
        recompute=stated.recompute or "none",
        flash_attention=stated.flash_attention is not False,
        offload_optimizer="optimizer" in offload,
        offload_weights="weights" in offload,
        offload_activations="activations" in offload,
        loss_chunks=stated.loss_chunks,
    )
    found = problems(architecture, layout, count, global_batch)
    if found:
        raise InfeasibleError("\n".join(found))
    return layout


def problems(architecture: Architecture, layout: ParallelLayout, count: int, global_batch: int) -> list[str]:
    """Everything that makes a layout impossible: key, value, why, and the nearest values that would do; or nothing."""
    return [
        *_device_problems(architecture, layout, count),
        *_tensor_problems(architecture, layout),
        *_pipeline_problems(architecture, layout, global_batch),
        *_context_problems(architecture, layout),
        *_expert_problems(architecture, layout),
        *_batch_problems(architecture, layout, count, global_batch),
    ]


def tp_faults(architecture: Architecture, tp: int, cp: int, sequence_parallel: bool) -> list[str]:
    """What tp doesn't divide though it must, in words; empty for a possible tp."""
    faults = _mixer_faults(architecture, tp)
    if architecture.moe_layers < architecture.layers and architecture.ffn_width % tp:
        faults.append(f"ffn_width {architecture.ffn_width}")
    shared = architecture.shared_experts * (architecture.expert_ffn_width or architecture.ffn_width)
    if shared % tp:
        faults.append(f"the shared experts' width {shared}")
    if sequence_parallel and tp > 1 and architecture.context_length % (cp * tp):
        faults.append(f"context_length / cp {architecture.context_length}/{cp} (sequence parallel)")
    return faults


def _mixer_faults(architecture: Architecture, tp: int) -> list[str]:
    """What tp doesn't divide of the mixer."""
    parts = architecture.mixer.parts(architecture)
    if architecture.mixer != ATTENTION:
        return [] if parts % tp == 0 else [f"the {parts} parts that mixer {architecture.mixer.name} can be split into"]
    faults = [] if parts % tp == 0 else [f"heads {parts}"]
    kv_heads = architecture.kv_heads or parts
    # Fewer key-value heads than tp are copied (Megatron-LM places them so); other remainders can't be placed.
    if kv_heads % tp and tp % kv_heads:
        faults.append(f"kv_heads {kv_heads} (nor is it a multiple)")
    return faults


def _device_problems(architecture: Architecture, layout: ParallelLayout, count: int) -> Iterator[str]:
    if layout.devices == count:
        return
    shared = layout.tp * layout.pp * layout.cp
    product = f"tp {layout.tp} · pp {layout.pp} · cp {layout.cp}"
    if count % shared == 0:
        change = f"expected layout.dp {count // shared}, or hardware.count {layout.devices}"
        yield f"layout.dp: got {layout.dp}; {product} · dp {layout.dp} is {layout.devices}, not {count}; {change}"
        return
    below = count // shared * shared
    counts = _either(value for value in (below, below + shared) if value)
    change = "; ".join([f"expected hardware.count {counts}", *_other_degrees(architecture, layout, count)])
    yield f"hardware.count: got {count}, which isn't a multiple of {product} = {shared}; {change}"


def _other_degrees(architecture: Architecture, layout: ParallelLayout, count: int) -> Iterator[str]:
    """The nearest tp or pp that the model allows and with which `count` devices come out even."""
    tensor = layout.pp * layout.cp
    pipeline = layout.tp * layout.cp
    cp, sequence = layout.cp, layout.sequence_parallel
    tps = _near(
        layout.tp,
        lambda tp: count % (tensor * tp) == 0 and not tp_faults(architecture, tp, cp, sequence),
        min(architecture.mixer.parts(architecture), 4 * layout.tp),
    )
    pps = _near(layout.pp, lambda pp: count % (pipeline * pp) == 0, min(architecture.layers, 4 * layout.pp))
    found = [*(f"layout.tp {tp}" for tp in tps), *(f"layout.pp {pp}" for pp in pps)]
    if found:
        yield f"or {_either(found)}"


def _tensor_problems(architecture: Architecture, layout: ParallelLayout) -> Iterator[str]:
    # A cp that doesn't fit is said at cp; no tp would make up for it.
    cp, sequence = layout.cp if architecture.context_length % layout.cp == 0 else 1, layout.sequence_parallel
    faults = tp_faults(architecture, layout.tp, cp, sequence)
    if faults:
        parts = architecture.mixer.parts(architecture)
        near = _near(layout.tp, lambda tp: not tp_faults(architecture, tp, cp, sequence), parts)
        yield f"layout.tp: got {layout.tp}, which doesn't divide {', '.join(faults)}; expected {_either(near)}"


def _pipeline_problems(architecture: Architecture, layout: ParallelLayout, global_batch: int) -> Iterator[str]:
    layers, pp, vpp = architecture.layers, layout.pp, layout.vpp
    if pp > layers:
        yield f"layout.pp: got {pp}, more stages than the {layers} layers; expected at most {layers}"
    elif vpp > 1 and pp == 1:
        yield f"layout.vpp: got {vpp} with pp 1; expected vpp 1, or pp of at least 2"
    elif vpp > 1 and pp * vpp > layers + OWN_STAGES:
        yield (
            f"layout.vpp: got {vpp}; pp {pp} · vpp {vpp} is more stages than the {layers} layers; "
            f"expected at most {max(1, layers // pp)}"
        )
    elif vpp > 1 and layout.accumulation % pp and global_batch % (layout.dp * layout.micro_batch) == 0:
        # The interleaved schedule goes round in groups of pp micro-batches (Narayanan et al. 2021, section 2.2).
        per_replica = global_batch // layout.dp
        sizes = _near(layout.micro_batch, lambda size: per_replica % (size * pp) == 0, per_replica)
        instead = f" or micro_batch {_either(sizes)}" if sizes else ""
        yield (
            f"layout.vpp: got {vpp}, which needs a multiple of pp {pp} micro-batches per step, not "
            f"{layout.accumulation}; expected vpp 1{instead}"
        )


def _context_problems(architecture: Architecture, layout: ParallelLayout) -> Iterator[str]:
    length = architecture.context_length
    if layout.cp > 1 and architecture.mixer != ATTENTION:
        mixer = f"mixer {architecture.mixer.name} over parts of a context"
        yield f"layout.cp: got {layout.cp}; {mixer} isn't priced; expected 1"
    elif layout.cp > 1 and length % (2 * layout.cp):
        # Each device takes one part from either end, so that causal attention is even work.
        near = _near(layout.cp, lambda cp: cp == 1 or length % (2 * cp) == 0, min(length, 4 * layout.cp))
        yield (
            f"layout.cp: got {layout.cp}; context_length {length} can't be cut into 2 · cp = {2 * layout.cp} equal "
            f"parts; expected {_either(near)}"
        )


def _expert_problems(architecture: Architecture, layout: ParallelLayout) -> Iterator[str]:
    experts, ep = architecture.num_experts, layout.ep
    if ep == 1:
        return
    if experts is None:
        yield f"layout.ep: got {ep} for a model without experts; expected 1"
        return
    ranks = layout.tp * layout.cp * layout.dp
    if experts % ep or ranks % ep:
        near = _near(ep, lambda value: experts % value == 0 and ranks % value == 0, experts)
        faults = [f"num_experts {experts}"] * (experts % ep > 0) + [f"tp · cp · dp = {ranks}"] * (ranks % ep > 0)
        yield f"layout.ep: got {ep}, which doesn't divide {' nor '.join(faults)}; expected {_either(near)}"


def _batch_problems(architecture: Architecture, layout: ParallelLayout, count: int, global_batch: int) -> Iterator[str]:
    dp, rest = divmod(count, layout.tp * layout.pp * layout.cp)
    micro_batch = layout.micro_batch
    together = dp * micro_batch
    # Where the devices don't come out even, the replicas aren't known yet.
    if rest or global_batch % together == 0:
        return
    if global_batch % dp == 0:
        per_replica = global_batch // dp
        near = _near(micro_batch, lambda size: per_replica % size == 0, per_replica)
        yield (
            f"layout.micro_batch: got {micro_batch}, which doesn't divide the {per_replica} sequences of each of dp "
            f"{dp} replicas; expected {_either(near)}"
        )
        return
    below = global_batch // together * together
    tokens = [f"{n * architecture.context_length} ({n} sequences)" for n in (below, below + together) if n]
    yield (
        f"optim.batch_tokens: {global_batch} sequences can't be split evenly over dp {dp} · micro_batch {micro_batch}; "
        f"expected {_either(tokens)}, or a layout or hardware.count that makes dp a divisor of {global_batch}"
    )


def _near(value: int, fits: Callable[[int], bool], most: int) -> list[int]:
    """The nearest fitting number below `value` and the nearest above up to `most`, those that there are."""
    below = next((n for n in range(min(value - 1, most), 0, -1) if fits(n)), None)
    above = next((n for n in range(value + 1, min(most, value + _FARTHEST) + 1) if fits(n)), None)
    return [n for n in (below, above) if n is not None]


def _either(values: Iterable[object]) -> str:
    """`a, b or c`."""
    *first, last = [str(value) for value in values] or ["1"]
    return f"{', '.join(first)} or {last}" if first else last
