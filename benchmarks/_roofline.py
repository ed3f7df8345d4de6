"""Where the time of a training step goes: each operator's time beside what the processor could do it in.

That is the larger of its FLOPs at the speed of large matrix products, and its bytes at the speed of copying arrays that
fit the second-level cache. Both are measured in the same process, on one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from statistics import mean
from typing import Any, NamedTuple

import torch
from _eager_trainer import EagerTrainer
from foretrain.proxies.engine._group import TrainingGroup
from foretrain.proxies.engine.native.computation import NativeComputation

__all__ = ["Operator", "Roof", "operators_of_ours", "operators_of_plain", "product_speed", "show"]

_STEPS = 30
_CACHED_NUMBERS = 2**17  # of fp32: half a MiB


class Roof(NamedTuple):
    """What one core does at most."""

    flops_per_s: float
    bytes_per_s: float

    @classmethod
    def measure(cls, precision: str) -> Roof:
        """Measure products in a number format, and copies."""
        numbers, to = torch.rand(_CACHED_NUMBERS), torch.empty(_CACHED_NUMBERS)
        copied = 2 * numbers.nbytes / _fastest(lambda: to.copy_(numbers))
        return cls(product_speed(precision), copied)


class Operator(NamedTuple):
    """An operator of a step, all calls of one name and shape together; bytes and FLOPs are None where unknown."""

    name: str
    shape: str
    calls: int
    seconds: float
    flops: float | None
    moved_bytes: float | None

    def share(self, roof: Roof) -> float | None:
        """Of what the processor could do."""
        if self.flops is None or self.moved_bytes is None:
            return None
        return max(self.flops / roof.flops_per_s, self.moved_bytes / roof.bytes_per_s) / self.seconds


def product_speed(precision: str) -> float:
    """FLOP/s of the best matrix product, by size, of fp32 or bf16."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    speeds = []
    for size in (512, 1024, 2048):
        a, b = torch.rand(2, size, size).to(dtype)
        out = a @ b
        speeds.append(2 * size**3 / _fastest(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), repeats=8))
    return max(speeds)


def operators_of_ours(group: TrainingGroup) -> list[Operator]:
    """Each call of the steps of a native computation, timed on the way, and what else a step takes."""
    computation = group.computation
    if not isinstance(computation, NativeComputation):
        raise SystemExit("ours isn't computed by the kernels here: there is no C++ compiler")
    calls = computation.passes[0].training
    clocks: list[list[float]] = [[] for _ in calls]
    for number, (call, clock) in enumerate(zip(list(calls), clocks, strict=True)):
        calls[number] = call._replace(run=lambda run=call.run, clock=clock: clock.append(_timed(run)))
    updates: list[float] = []
    update = computation._update
    computation._update = lambda *step: updates.append(_timed(lambda: update(*step)))
    steps = [_timed(group.advance) for _ in range(_STEPS)]
    merged: dict[tuple[str, str], list[float]] = {}
    for number, call in enumerate(calls):
        found = merged.setdefault((call.name, "×".join(map(str, call.shape))), [0, 0.0, 0.0, 0.0])
        times = len(clocks[number]) // _STEPS  # in a step, whose batch may be computed in parts
        for at, value in enumerate((1, mean(clocks[number]), call.flops, call.moved_bytes)):
            found[at] += times * value
    operators = [Operator(*key, *values) for key, values in merged.items()]  # type: ignore[arg-type]
    params = computation.layout.size
    # Read: gradient, weights, moments, average; written: all but the gradient, and the working copy.
    moved = params * (8 * 4 + 2 * computation.hardware.dtype.itemsize)
    operators.append(Operator("update", str(params), 1, mean(updates), 20.0 * params, float(moved)))
    return [*operators, _rest(operators, mean(steps))]


def operators_of_plain(trainer: EagerTrainer) -> list[Operator]:
    """Each operator of a step of the plain trainer, as torch's profiler sees it, and what it doesn't see."""
    from torch.profiler import ProfilerActivity, profile

    steps = [_timed(trainer.advance) for _ in range(_STEPS)]
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
        for _ in range(_STEPS):
            trainer.advance()
    operators = []
    for event in profiler.key_averages(group_by_input_shape=True):
        seconds = event.self_cpu_time_total / 1e6 / _STEPS
        shapes = [shape for shape in event.input_shapes if shape]
        calls = event.count / _STEPS
        flops, moved = (None if work is None else work * calls for work in _work(event.key, shapes))
        shape = "×".join(map(str, shapes[0])) if shapes else ""
        operators.append(Operator(event.key, shape, round(calls), seconds, flops, moved))
    seen = sorted(operators, key=lambda operator: -operator.seconds)[:25]
    return [*seen, _rest(seen, mean(steps))]


def show(title: str, operators: Iterable[Operator], roof: Roof) -> None:
    """Print a table of operators, those that take longest first."""
    found = sorted(operators, key=lambda operator: -operator.seconds)
    total = sum(operator.seconds for operator in found)
    print(f"\n{title}: {total * 1e3:.2f} ms a step; roof {roof.flops_per_s / 1e9:.0f} GFLOP/s, "
          f"{roof.bytes_per_s / 1e9:.0f} GB/s\n"
          f"{'operator':28} {'shape':16} {'calls':>5} {'ms':>7} {'share':>6} {'MFLOP':>8} {'MB':>7} "
          f"{'of roof':>8}")  # fmt: skip
    for operator in found:
        if operator.seconds < total / 200:
            continue
        of_roof = operator.share(roof)
        print(f"{operator.name[:28]:28} {operator.shape[:16]:16} {operator.calls:5d} {operator.seconds * 1e3:7.3f} "
              f"{operator.seconds / total:6.1%} {_millions(operator.flops):>8} {_millions(operator.moved_bytes):>7} "
              f"{'' if of_roof is None else f'{of_roof:.0%}':>8}")  # fmt: skip


def _rest(operators: list[Operator], step_s: float) -> Operator:
    """What of a step isn't in its operators: data, Python."""
    rest = max(0.0, step_s - sum(operator.seconds for operator in operators))
    return Operator("data, Python", "", 1, rest, None, None)


def _work(name: str, shapes: list[Any]) -> tuple[float | None, float | None]:
    """FLOPs and bytes (fp32) of one call of an operator of torch by its shapes; None where it isn't a product."""
    if name not in ("aten::mm", "aten::bmm", "aten::addmm") or len(shapes) < 2:
        return None, None
    left, right = shapes[1:3] if name == "aten::addmm" else shapes[:2]  # one more where the product is written to it
    (*batch, rows, inner), (*_, columns) = left, right
    copies = batch[0] if batch else 1
    moved = 4.0 * copies * (rows * inner + inner * columns + rows * columns)
    return 2.0 * copies * rows * inner * columns, moved


def _timed(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _fastest(run: Callable[[], Any], repeats: int = 50) -> float:
    run()
    return min(_timed(run) for _ in range(repeats))


def _millions(number: float | None) -> str:
    return "" if number is None else f"{number / 1e6:.2f}"
