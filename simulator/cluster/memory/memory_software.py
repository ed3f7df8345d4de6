"""Memory overheads of training software beyond the textbook formulas: a few constants for each kind of software.

Every constant is a property of kernels and frameworks, not of a model or a plan. `benchmarks/memory.py` fits those that
are fitted, scores them on rows that they haven't seen, and names the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..step_time.steps import FRAMEWORKS

__all__ = ["SOFTWARE", "Software", "by_framework"]


@dataclass(frozen=True)
class Software:
    """Constants of one kind of software."""

    kept: float
    """Activations kept for the backward pass over those that the mathematics needs: what kernels don't fuse."""
    logit_bytes: float
    """Bytes per logit when the loss is computed: copies in 16 and 32 bits, the softmax, the gradient."""
    kept_compiled: float
    """`kept` where layers are compiled (torch.compile)."""
    logit_bytes_compiled: float
    """`logit_bytes` where the loss is."""
    layer_work: float
    """Temporary tensors of one layer's backward pass, in units of what the layer keeps."""
    whole_streams: float
    """Residual streams of whole sequences that tensor parallelism puts together when the loss is computed."""
    cached_gradients: float
    """Layers whose 16-bit weight gradients the software keeps room for between uses."""
    gathered_layers: float
    """Layers whose weights, and gradients, are whole at the same time where ZeRO shards them."""
    working_copy_stays: float
    """1 where a 16-bit shard of weights is stored beside the 32-bit one at ZeRO stage 3, 0 where it's made anew."""
    gradient_bytes: float
    """Bytes per parameter of gradients with bf16 weights."""
    gradient_bytes_fp16: float
    """The same with fp16 weights."""
    gradient_copies_fp16: float
    """Bytes per parameter of 32-bit copies of fp16 gradients, for unscaling and the step; sharded as moments are."""
    fixed_gib: float
    """Buffers of collectives that don't depend on the model."""
    reserve: float
    """What the allocator holds beyond its tensors at the peak, as a share of them."""
    log_sd: float
    """Standard deviation of log(measured / estimated)."""
    more_reserve_fp16: float = 0.0
    """What fp16 weights add to `reserve`."""
    more_log_sd_fp16: float = 0.0
    """Standard deviation that fp16 weights add to `log_sd`, independent of it."""


# Megatron-LM with Transformer Engine: fp32 gradients, fused cross-entropy, fused SwiGLU and norms; Transformer Engine
# keeps a dummy weight gradient of every shape (release 2.3 and later). kept, logit_bytes and layer_work are fitted on
# eight distinct readings on B200 (SimuMax); its seven with context parallelism and four with experts, which nothing was
# fitted on, are met within 3 %. gradient_copies_fp16: its documentation of the distributed optimizer gives 20 bytes
# per parameter for fp16 (4 + 16/d sharded), 18 for bf16 (6 + 12/d), 16 for fp32 (8 + 8/d). reserve: nanotron's
# benchmarks (Hugging Face hub, nanotron/old_bench), whose allocator holds 1 to 7 % more than it uses. With fp16,
# published readings on V100 hold 17 to 24 % more, one with larger micro-batches 40 %: the copies come and go between
# steps and leave holes. log_sd is wider than those errors, since releases and options differ.
_MEGATRON = Software(
    kept=0.90,
    logit_bytes=5.8,
    kept_compiled=0.90,
    logit_bytes_compiled=5.8,
    layer_work=1.4,
    whole_streams=2.0,
    cached_gradients=1.0,
    gathered_layers=2.0,
    working_copy_stays=1.0,
    gradient_bytes=4.0,
    gradient_bytes_fp16=2.0,
    gradient_copies_fp16=4.0,
    fixed_gib=0.2,
    reserve=0.03,
    log_sd=0.04,
    more_reserve_fp16=0.16,
    more_log_sd_fp16=0.07,
)

# PyTorch FSDP: fp32 shards of weights, gradients and moments; 16-bit copies of the layer at work and the next. Loss:
# whole, the log-softmax, its gradient and that of the logits in 32 bits, and the logits in 16 (torchtitan's maintainers
# count 13 bytes too); compiled, the logits and their gradient in 16 bits, little else. kept: what pointwise operators
# keep for themselves, which a compiler computes anew. logit_bytes and whole_streams are fitted on torchtitan's readings
# of December 2024 (loss not compiled), logit_bytes_compiled is counted. log_sd is that of readings that nothing was
# fitted on, runs on B200 aside, which take a fifth less than those on H200 and MI300X.
_FSDP = Software(
    kept=1.0,
    logit_bytes=13.0,
    kept_compiled=0.84,
    logit_bytes_compiled=5.0,
    layer_work=0.7,
    whole_streams=6.0,
    cached_gradients=0.0,
    gathered_layers=2.0,
    working_copy_stays=0.0,
    gradient_bytes=4.0,
    gradient_bytes_fp16=4.0,
    gradient_copies_fp16=0.0,
    fixed_gib=0.5,
    reserve=0.05,
    log_sd=0.07,
)

# Megatron-DeepSpeed of 2022: nothing fused across operators; with bf16, 16-bit gradients beside their 32-bit sums.
# layer_work, fixed_gib and reserve are fitted on 68 readings of BLOOM's trials on A100, log_sd on what they leave.
_DEEPSPEED = Software(
    kept=1.0,
    logit_bytes=10.0,
    kept_compiled=1.0,
    logit_bytes_compiled=10.0,
    layer_work=1.0,
    whole_streams=2.0,
    cached_gradients=0.0,
    gathered_layers=2.0,
    working_copy_stays=1.0,
    gradient_bytes=6.0,
    gradient_bytes_fp16=2.0,
    gradient_copies_fp16=0.0,
    fixed_gib=4.9,
    reserve=0.15,
    log_sd=0.05,
)

# JAX and others that compile the whole step plan their buffers ahead. No reading of memory was found: as FSDP, with a
# cheaper loss, one layer whole at a time, no caching allocator, and a larger log_sd.
_XLA = Software(
    kept=1.0,
    logit_bytes=8.0,
    kept_compiled=1.0,
    logit_bytes_compiled=8.0,
    layer_work=0.7,
    whole_streams=2.0,
    cached_gradients=0.0,
    gathered_layers=1.0,
    working_copy_stays=0.0,
    gradient_bytes=4.0,
    gradient_bytes_fp16=4.0,
    gradient_copies_fp16=0.0,
    fixed_gib=0.5,
    reserve=0.02,
    log_sd=0.20,
)

SOFTWARE: Mapping[str, Software] = {
    "megatron": _MEGATRON,
    "fsdp": _FSDP,
    "deepspeed": _DEEPSPEED,
    "xla": _XLA,
}
"""Constants by the names of FRAMEWORKS."""


def by_framework(software: Mapping[str, Software], framework: np.ndarray, name: str) -> np.ndarray:
    """One constant for each element of an index into FRAMEWORKS."""
    return np.array([getattr(software[kind], name) for kind in FRAMEWORKS])[np.asarray(framework).astype(int)]
