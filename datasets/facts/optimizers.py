"""Optimizers by name, and the states that each keeps of a parameter, for memory.

A state is counted in values, of 4 bytes beside 32-bit master weights (or 32-bit weights), and of the weights' own
format where there are none: PyTorch makes states in the format of the parameter that they belong to. What is stored in
8 bits stays so.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ADAMW", "OPTIMIZERS", "OptimizerStates", "meant_optimizer", "optimizer_states"]

_LEAST_LIKENESS = 0.75  # two letters of four exchanged ("muno") are this like the name; own names of variants are less


@dataclass(frozen=True)
class OptimizerStates:
    """What one optimizer keeps of each parameter, beside weights, gradients and master weights."""

    name: str
    matrix_values: float
    """Values per parameter of a layer's matrices."""
    other_values: float
    """Values per parameter of vocabulary tables."""
    source: str
    eight_bit: bool = False
    """Whether a value takes one byte, whatever the weights' format."""
    aliases: tuple[str, ...] = ()


def _same(name: str, values: float, source: str, *aliases: str, eight_bit: bool = False) -> OptimizerStates:
    """An optimizer that treats all parameters alike."""
    return OptimizerStates(name, values, values, source, eight_bit, aliases)


_PRECONDITIONED = 6.0
"""Two moments, and for an n × m matrix two factors of n² and two of m² values with their roots or bases: 4 more values
per parameter where n = m, which is taken for all."""

_ADAMW = _same(
    "adamw", 2.0, "Loshchilov and Hutter 2017, arXiv:1711.05101: first and second moment",
    "adam", "adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw_apex_fused", "fused_adam", "fused_adamw", "cpu_adam",
    "paged_adamw", "paged_adamw_32bit", "distributed_fused_adam",
)  # fmt: skip

ADAMW = _ADAMW.name
"""What is taken where nothing is stated, or an optimizer that isn't known."""

_ALL = (
    _ADAMW,
    _same(
        "adamw8bit", 2.0, "Dettmers et al. 2021, arXiv:2110.02861: both moments in 8 bits",
        "adam8bit", "adamw_8bit", "adam_8bit", "adamw_bnb_8bit", "paged_adamw_8bit", "paged_adamw8bit", eight_bit=True,
    ),
    _same("lion8bit", 1.0, "arXiv:2302.06675 with arXiv:2110.02861", "lion_8bit", "paged_lion_8bit", eight_bit=True),
    _same("ademamix8bit", 3.0, "arXiv:2409.03137 with arXiv:2110.02861", "ademamix_8bit", eight_bit=True),
    _same("adafactor", 0.0, "Shazeer and Stern 2018, arXiv:1804.04235: rows and columns of the second moment only"),
    _same("lion", 1.0, "Chen et al. 2023, arXiv:2302.06675: momentum", "paged_lion", "lion_32bit", "tiger"),
    _same("sgd", 0.0, "without momentum", "lomo", "adalomo", "signsgd"),
    _same("sgd_momentum", 1.0, "momentum", "sgdm", "momentum", "nesterov", "sgd_nesterov", "signum", "lars"),
    OptimizerStates(
        "muon", 1.0, 2.0, "Jordan 2024 (kellerjordan.github.io/posts/muon): momentum of matrices, AdamW for the rest",
        aliases=("muonclip", "moonlight", "muon_adamw", "muon_with_aux_adam"),
    ),
    OptimizerStates("scion", 1.0, 1.0, "Pethick et al. 2025, arXiv:2502.07529: momentum"),
    OptimizerStates("dion", 1.0, 2.0, "Ahn et al. 2025, arXiv:2504.05295: momentum and a low-rank basis, not counted"),
    _same("sophia", 2.0, "Liu et al. 2023, arXiv:2305.14342: momentum and the Hessian's diagonal", "sophiag"),
    OptimizerStates(
        "shampoo", _PRECONDITIONED, 2.0, "Shi et al. 2023, arXiv:2309.06497: factors, roots, momentum and grafting",
        aliases=("distributed_shampoo",),
    ),
    OptimizerStates("soap", _PRECONDITIONED, 2.0, "Vyas et al. 2024, arXiv:2409.11321: factors, bases, two moments"),
    _same("adam_mini", 1.0, "Zhang et al. 2024, arXiv:2406.16793: one second moment per block"),
    _same("ademamix", 3.0, "Pagliardini et al. 2024, arXiv:2409.03137: two first moments and a second"),
    _same("adan", 4.0, "Xie et al. 2022, arXiv:2208.06677: three moments and the last gradient"),
    _same("mars", 3.0, "Yuan et al. 2024, arXiv:2411.10438: two moments and the last gradient"),
    _same("prodigy", 4.0, "Mishchenko and Defazio 2023, arXiv:2306.06101: two moments, a sum and the first weights"),
    _same("schedule_free", 2.0, "Defazio et al. 2024, arXiv:2405.15682", "schedule_free_adamw", "adamw_schedule_free"),
    _same("lamb", 2.0, "You et al. 2019, arXiv:1904.00962: two moments", "fused_lamb"),
    _same("nadam", 2.0, "two moments", "radam", "adamax", "nadamw"),
    _same("adagrad", 1.0, "Duchi et al. 2011: sum of squares"),
    _same("rmsprop", 1.0, "mean of squares, without momentum"),
    _same("came", 1.0, "Luo et al. 2023, arXiv:2307.02047: momentum and factors"),
)  # fmt: skip


def _plain(name: str) -> str:
    """A name without case and separators."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


OPTIMIZERS: Mapping[str, OptimizerStates] = {_plain(name): one for one in _ALL for name in (one.name, *one.aliases)}
"""By name and alias, in lower case without separators."""


def optimizer_states(name: str) -> OptimizerStates | None:
    """The states of an optimizer by its name, in any spelling; None for one that isn't known.

    >>> optimizer_states("AdamW-8bit").name, optimizer_states("muon").matrix_values, optimizer_states("mine")
    ('adamw8bit', 1.0, None)
    """
    return OPTIMIZERS.get(_plain(name))


def meant_optimizer(name: str) -> str | None:
    """The known optimizer that a misspelt name must mean; None for a known one, and for a name of its own.

    A name with a known one as a part (`muon_mine`) is a variant, and no slip.

    >>> meant_optimizer("adamww"), meant_optimizer("muon_mine"), meant_optimizer("frobnicate")
    ('adamw', None, None)
    """
    parts = {_plain(part) for part in re.split(r"[\W_]+", name)}
    if not parts.isdisjoint(OPTIMIZERS) or optimizer_states(name) is not None:
        return None
    near = difflib.get_close_matches(_plain(name), OPTIMIZERS, n=1, cutoff=_LEAST_LIKENESS)
    return OPTIMIZERS[near[0]].name if near else None
