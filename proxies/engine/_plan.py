"""Which number format products are fast in on this machine: measured on the shapes of a campaign, asked of no flag.

Of each shape its real products are timed on one thread: the rows of a batch times every matrix of the model, and the
two products of the backward pass with their operands as they lie then. bf16 is taken where it makes the products of the
whole campaign at least `_WORTH_IT` times as fast.
"""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from ...core.errors import ConfigError
from ...core.processors import one_torch_thread, processor_name
from ..compute_plan import ComputePlan, Device, Precision, Program, shape_plans
from ..models import build_model
from ..runs import ProxyRun
from ..settings import EngineSettings

__all__ = ["device_of", "evenly_spaced", "measure_plan", "what_is_missing"]

_WORTH_IT = 1.2  # below that, bf16's rounding isn't worth what it gains
_ROUNDS = 3
_ATTEMPTS = 3
_AGREEMENT = 1.25  # where the two shortest rounds differ by more, other work disturbed them, and they are repeated
_MOST_SHAPES = 5
_SHAPE_FLOPS = 1e9  # of one shape's products, each once: of larger ones fewer rows are taken; some 10 ms of one core
_FEWEST_ROWS = 64
_TIMING_S = 6e-4
# A core that emulates bf16 is up to 100 times slower in it than in fp32; a small product tells within milliseconds.
_PROBE_SIZE = 128
_HOPELESS = 3.0
_T = TypeVar("_T")
_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


def device_of(settings: EngineSettings) -> Device:
    """Return where proxies are trained on this machine. Raises ConfigError if a GPU is asked for and there is none."""
    cuda = torch.cuda.is_available()
    if settings.device == "cuda" and not cuda:
        raise ConfigError("engine.device: got 'cuda', but torch sees no GPU here; expected cpu or auto")
    return "cuda" if cuda and settings.device != "cpu" else "cpu"


def measure_plan(runs: Sequence[ProxyRun], settings: EngineSettings) -> ComputePlan:
    """Return how these runs are best computed here; it takes less than a second, up to three if the cores are busy.

    Only a `precision` of `auto` on a CPU is measured; a GPU takes bf16 if it has it natively. Raises ConfigError as
    `device_of`, and for a model that is unknown or can't have its shape.
    """
    device = device_of(settings)
    flops: dict[Program, float] = defaultdict(float)
    for run in runs:
        flops[Program.of(run.shared)] += run.training_flops
    measured = _measure(flops) if settings.precision == "auto" and device == "cpu" else _Measured()
    precision = settings.precision
    if precision == "auto":
        precision = _gpu_precision() if device == "cuda" else measured.precision(flops)
    return ComputePlan(
        device=device,
        precision=precision,
        processor=torch.cuda.get_device_name() if device == "cuda" else processor_name(),
        busy=measured.busy,
        shapes=shape_plans(runs, settings, device, measured.gflops),
    )


def what_is_missing(device: Device, precision: Precision, program: Program) -> str | None:
    """Say what this machine lacks to train a shape on a device in a number format; None if it can."""
    if device == "cuda":
        if not torch.cuda.is_available():
            return "torch sees no GPU here"
        lacks = precision == "bf16" and _gpu_precision() != "bf16"
        return f"{torch.cuda.get_device_name()} has no bf16" if lacks else None
    if precision == "fp32":
        return None
    rates = _measure({program: 1.0}).gflops[program]
    if "bf16" not in rates:
        return f"{processor_name()} has no bf16 products of its own"
    if _AGREEMENT * rates["bf16"] < rates["fp32"]:  # not where other work on this machine may be what slows it
        return (
            f"{processor_name()} multiplies slower in bf16 than in fp32 "
            f"({rates['bf16']:.3g} against {rates['fp32']:.3g} GFLOP/s on one core)"
        )
    return None


def evenly_spaced(values: Sequence[_T], most: int) -> list[_T]:
    """Return at most so many of some values (2 or more), the first and the last among them."""
    stride = max(1.0, (len(values) - 1) / (most - 1))
    return [values[round(place * stride)] for place in range(min(len(values), most))]


@dataclass(frozen=True, slots=True)
class _Measured:
    """Speeds of products in GFLOP/s by shape (those that were sampled) and precision, and whether rounds disagreed."""

    gflops: Mapping[Program, Mapping[Precision, float]] = field(default_factory=dict)
    busy: bool = False

    def precision(self, flops: Mapping[Program, float]) -> Precision:
        """What to take for a campaign of so many training FLOPs by shape."""
        times = dict.fromkeys(_DTYPES, 0.0)
        for program, total in flops.items():
            rates = self.gflops[_nearest(program, self.gflops)]
            for precision in _DTYPES:
                times[precision] += total / rates[precision] if precision in rates else math.inf
        return "bf16" if _WORTH_IT * times["bf16"] < times["fp32"] else "fp32"


def _measure(flops: Mapping[Program, float]) -> _Measured:
    """Measure a sample of the shapes, in rounds of fp32 and bf16 in turn; of each product the shortest time counts."""
    programs = sorted(flops, key=lambda program: program.shape.params_total)
    sample = evenly_spaced(programs, _MOST_SHAPES)
    weights: dict[Program, float] = defaultdict(float)
    for program, total in flops.items():
        weights[_nearest(program, sample)] += total
    busy = False
    with one_torch_thread():
        formats: tuple[Precision, ...] = ("fp32",) if _emulates_bf16() else ("fp32", "bf16")
        products = {(program, precision): _Products(program, precision) for program in sample for precision in formats}
        for _ in range(_ATTEMPTS):
            rounds: dict[Precision, list[float]] = {precision: [] for precision in formats}
            for _ in range(_ROUNDS):
                for precision in formats:
                    times = (weights[p] / products[p, precision].measure() for p in sample)
                    rounds[precision].append(math.fsum(times))
            busy = any(sorted(times)[1] > _AGREEMENT * min(times) for times in rounds.values())
            if not busy:
                break
    found: dict[Program, dict[Precision, float]] = {
        p: {precision: products[p, precision].best / 1e9 for precision in formats} for p in sample
    }
    return _Measured(found, busy)


class _Products:
    """The products of one training step of a shape, in one number format."""

    def __init__(self, program: Program, precision: Precision) -> None:
        matrices = _matrices(program)
        flops_per_row = math.fsum(6.0 * inputs * outputs for inputs, outputs in matrices)
        rows = min(program.batch_tokens, max(_FEWEST_ROWS, int(_SHAPE_FLOPS / flops_per_row)))
        self._products: list[tuple[int, Tensor, Tensor, Tensor]] = []  # how many of this size, factors, product
        self._flops = 0.0
        for (inputs, outputs), count in matrices.items():
            ingoing, matrix, outgoing = (
                torch.ones(size, dtype=_DTYPES[precision])
                for size in ((rows, inputs), (inputs, outputs), (rows, outputs))
            )
            for a, b in ((ingoing, matrix), (outgoing, matrix.T), (ingoing.T, outgoing)):
                self._products.append((count, a, b, a @ b))  # this first time isn't measured: kernels are made in it
            self._flops += 6.0 * count * rows * inputs * outputs
        self._shortest = [math.inf] * len(self._products)

    def measure(self) -> float:
        """Time each product once more; return FLOPs per second."""
        total = 0.0
        for place, (count, a, b, product) in enumerate(self._products):
            seconds = _seconds(a, b, product)
            self._shortest[place] = min(self._shortest[place], seconds)
            total += count * seconds
        return self._flops / total

    @property
    def best(self) -> float:
        """FLOPs per second by the shortest time of each product."""
        times = (product[0] * seconds for product, seconds in zip(self._products, self._shortest, strict=True))
        return self._flops / math.fsum(times)


def _matrices(program: Program) -> Counter[tuple[int, int]]:
    """How many matrices of each size, (inputs, outputs), a row is multiplied with: of experts, those it visits."""
    shape = program.shape
    found: Counter[tuple[int, int]] = Counter()
    has_head = False
    for weight in build_model(program.model, shape).weights:
        if weight.role in ("hidden", "head") and len(weight.shape) > 1:
            *alike, inputs, outputs = weight.shape
            routed = weight.name.rpartition(".")[2].startswith("experts_")
            found[inputs, outputs] += (shape.experts_per_token or 1) if routed else math.prod(alike)
            has_head = has_head or weight.role == "head"
    if not has_head:  # the table of embeddings serves as one
        found[shape.width, shape.vocab_size] += 1
    return found


def _nearest(program: Program, sample: Sequence[Program] | Mapping[Program, object]) -> Program:
    """The one of the sample that is nearest in size."""
    size = math.log(program.shape.params_total)
    return min(sample, key=lambda other: abs(math.log(other.shape.params_total) - size))


def _emulates_bf16() -> bool:
    times = {}
    for precision, dtype in _DTYPES.items():
        a = torch.ones(_PROBE_SIZE, _PROBE_SIZE, dtype=dtype)
        product = a @ a
        times[precision] = min(_seconds(a, a, product) for _ in range(3))
    return times["bf16"] > _HOPELESS * times["fp32"]


def _seconds(a: Tensor, b: Tensor, product: Tensor) -> float:
    """Time of one product, from as many as take `_TIMING_S` together."""
    start, done = time.perf_counter(), 0
    while True:
        torch.mm(a, b, out=product)
        done += 1
        elapsed = time.perf_counter() - start
        if elapsed >= _TIMING_S:
            return elapsed / done


def _gpu_precision() -> Precision:
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
