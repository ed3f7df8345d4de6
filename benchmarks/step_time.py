"""Step times against published measurements, each source predicted by a model that hasn't seen it.

    python benchmarks/step_time.py             the whole table (about a minute), exit status 1 if a target is missed
    python benchmarks/step_time.py --no-trees  the same without the learned residual

Beside it what is customary: the step's FLOPs at 50 % of the peak, and 6·N·D at 40 % MFU. Errors are
|predicted / measured − 1|, median/p90 in per cent.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from _cluster import SMALL, fit_model, left_out, measured, small_part
from foretrain.core.model.architecture import Architecture
from foretrain.datasets.facts.accelerators import accelerator
from foretrain.simulator.cluster.layouts.candidates import LayoutSpace, candidate_layouts
from foretrain.simulator.cluster.step_time.measurements.table import Measurements, read_measurements
from foretrain.simulator.cluster.step_time.scoring import ranking
from foretrain.simulator.cluster.step_time.step_model import StepTimeModel
from foretrain.simulator.cluster.step_time.steps import FRAMEWORKS, GENERATIONS, Steps, layouts, machine, model
from foretrain.simulator.fitting import one_thread

LEVEL = 0.8
CALIBRATE_ON, SEEDS, LEAST_LEFT = (1, 2, 3, 5), 5, 2
_SHOWN = 3  # rows of the calibration that is shown by source
TARGETS: dict[str, tuple[float, str, Callable[[float, float], bool]]] = {
    "dense, pooled median": (0.075, "at most", float.__le__),
    "dense, pooled p90": (0.24, "at most", float.__le__),
    "dense, mean of the sources' medians": (0.10, "at most", float.__le__),
    "experts, median": (0.13, "at most", float.__le__),
    "experts, p90": (0.40, "at most", float.__le__),
    "small models, median": (0.15, "at most", float.__le__),
    "calibrated on 3 rows, dense, median": (0.08, "at most", float.__le__),
    "calibrated on 3 rows, dense, p90": (0.25, "at most", float.__le__),
    "80 % interval, least": (0.75, "at least", float.__ge__),
    "80 % interval, most": (0.85, "at most", float.__le__),
    "calibrated on 3 rows, experts, 80 % interval, least": (0.75, "at least", float.__ge__),
    "calibrated on 3 rows, experts, 80 % interval, most": (0.85, "at most", float.__le__),
    "layouts, mean regret": (0.05, "at most", float.__le__),
    "layouts, rank correlation": (0.85, "at least", float.__ge__),
    "layouts per second": (10_000, "at least", float.__ge__),
    "search over 512 devices, s": (5.0, "at most", float.__le__),
}


@dataclass
class Left:
    """Predictions of every row by a model that hasn't seen its source (or, of the small models, only a fifth)."""

    data: Measurements
    predicted_s: np.ndarray
    inside: np.ndarray
    models: dict[str, StepTimeModel]


def predict_left_out(data: Measurements, learned: bool) -> Left:
    """Leave each source out in turn. Rows of small models that trained stay NaN."""
    predicted, inside, models = np.full(len(data), np.nan), np.zeros(len(data)), {}
    shipped = StepTimeModel.shipped().spread
    for name, rows, fitted in left_out(data, learned):
        fitted = replace(fitted, spread=shipped)
        part = data.take(rows)
        predicted[rows] = fitted.predict(part.steps).total_s
        low, high = fitted.interval_s(part.steps, LEVEL)
        inside[rows] = (part.step_time_s >= low) & (part.step_time_s <= high)
        models[name] = fitted
    return Left(data, predicted, inside, models)


@dataclass(frozen=True)
class Calibrated:
    """Rows of one source and kind of model after calibrating on others of them, all draws together, (rows,)."""

    source: str
    experts: bool
    count: int
    """Rows that it was calibrated on."""
    before: np.ndarray
    """Errors without calibration."""
    after: np.ndarray
    inside: np.ndarray
    """Whether the interval held."""

    @property
    def label(self) -> str:
        """The source, and which of its models."""
        return self.source + (" (experts)" if self.experts else "")


def calibrate(left: Left, experts: np.ndarray) -> list[Calibrated]:
    """The other rows after calibrating on random ones of the same source, format and kind of model."""
    data, formats, found = left.data, left.data.steps.machines.format, []
    for name, fitted in left.models.items():
        if name == SMALL:
            continue
        own = data.source == name
        for kind in sorted({(bool(e), float(f)) for e, f in zip(experts[own], formats[own], strict=True)}):
            rows = np.flatnonzero(own & (experts == kind[0]) & (formats == kind[1]))
            for count in CALIBRATE_ON:
                if len(rows) < count + LEAST_LEFT:
                    continue
                draws = [_calibrated_errors(data, fitted, rows, count, seed) for seed in range(SEEDS)]
                found.append(Calibrated(name, kind[0], count, *np.concatenate(draws, axis=1)))
    return found


def _calibrated_errors(
    data: Measurements, fitted: StepTimeModel, rows: np.ndarray, count: int, seed: int
) -> np.ndarray:
    """(3, left rows): error without and with calibration, and whether the interval held."""
    known = np.random.default_rng(seed).choice(rows, count, replace=False)
    rest = data.take(np.setdiff1d(rows, known))
    part = data.take(known)
    own = fitted.calibrated(part.steps, part.step_time_s)
    low, high = own.interval_s(rest.steps, LEVEL)
    errors = [np.abs(model.predict(rest.steps).total_s / rest.step_time_s - 1) for model in (fitted, own)]
    return np.stack([*errors, (rest.step_time_s >= low) & (rest.step_time_s <= high)])


def pooled(these: list[Calibrated], key: str) -> np.ndarray:
    """One of the arrays of several, joined."""
    return np.concatenate([getattr(one, key) for one in these])


def print_calibrated(found: list[Calibrated]) -> None:
    """For each number of rows: errors before and after, coverage, and the sources whose error rose."""
    for count in CALIBRATE_ON:
        for kind, of_experts in (("dense", False), ("experts", True)):
            these = [one for one in found if one.count == count and one.experts == of_experts]
            worse = []
            for label in dict.fromkeys(one.label for one in these):
                own = [one for one in these if one.label == label]
                before, after = (100 * float(np.median(pooled(own, key))) for key in ("before", "after"))
                if after > before:
                    worse.append(f"{label} {before:.1f} to {after:.1f}")
            print(
                f"after {count} row{'s' * (count > 1)}, {kind}: {two(pooled(these, 'before'))} to "
                f"{two(pooled(these, 'after'))}, inside 80 %: {pooled(these, 'inside').mean():.2f}; "
                f"worse: {', '.join(worse) or 'none'}"
            )


def print_generations(data: Measurements, experts: np.ndarray) -> None:
    """Every generation of accelerators left out of the fit, its rows predicted as those of one that nobody measured."""
    generation = np.broadcast_to(data.steps.machines.generation, data.step_time_s.shape)
    small, spread = data.source == SMALL, StepTimeModel.shipped().spread
    for index, name in enumerate(GENERATIONS):
        rows = np.flatnonzero((generation == index) & ~small)
        fitted, _ = fit_model(data.take(np.flatnonzero((generation != index) & (~small | small_part(data)))))
        part = data.take(rows)
        unknown = replace(part.steps.machines, generation=np.full(len(rows), float(len(GENERATIONS))))
        steps, fitted = replace(part.steps, machines=unknown), replace(fitted, spread=spread)
        low, high = fitted.interval_s(steps, LEVEL)
        inside = (part.step_time_s >= low) & (part.step_time_s <= high)
        size = np.abs(fitted.predict(steps).total_s / part.step_time_s - 1)
        by_source = np.mean([inside[part.source == one].mean() for one in np.unique(part.source)])
        print(
            f"{name} left out: dense {two(size[~experts[rows]])}, experts {two(size[experts[rows]])}, "
            f"inside 80 %: {inside.mean():.2f}, mean of its sources {by_source:.2f}"
        )


def repeats(data: Measurements) -> list[float]:
    """Sds of log step time within groups of rows that agree in everything that the model sees, and in their source."""
    predicted = np.round(np.log(StepTimeModel.shipped().predict(data.steps).total_s), 7)
    groups: dict[tuple[str, int, float], list[float]] = {}
    for source, group, log_s, measured_s in zip(data.source, data.group, predicted, data.step_time_s, strict=True):
        groups.setdefault((str(source), int(group), float(log_s)), []).append(float(np.log(measured_s)))
    return [float(np.std(logs, ddof=1)) for logs in groups.values() if len(logs) > 1]


def flops_at_half_peak_s(steps: Steps) -> np.ndarray:
    """Training FLOPs, recomputation included, at half of the datasheet's peak; all pairs of a context count (PaLM)."""
    models, machines, split = steps.models, steps.machines, steps.layouts
    scores = 2.0 * models.layers * models.heads * (models.key_width + models.value_width) * models.context_length
    forward = 2.0 * active_params(steps) + scores
    return steps.tokens * forward * (3.0 + split.recompute_full) / (split.devices * machines.peak_flops * 0.5)


def six_n_d_s(steps: Steps) -> np.ndarray:
    """6 · active parameters · tokens at 40 % MFU."""
    return 6.0 * active_params(steps) * steps.tokens / (steps.layouts.devices * steps.machines.peak_flops * 0.4)


def active_params(steps: Steps) -> np.ndarray:
    """Parameters in matrices that a token meets, the output head among them."""
    models = steps.models
    routed = models.experts_per_token + models.shared_experts
    body = models.layers * models.mixer_params + (models.layers - models.moe_layers) * models.ffn_params
    return body + models.moe_layers * routed * models.expert_params + models.table_params


def two(size: np.ndarray) -> str:
    """Median and p90 in per cent."""
    size = size[np.isfinite(size)]
    return f"{100 * np.median(size):6.1f}/{100 * np.percentile(size, 90):<6.1f}" if len(size) else " " * 13


def search_seconds() -> tuple[float, float, int]:
    """Layouts per second of the whole prediction, and seconds to rank every layout of a 70B model on 512 H100."""
    from foretrain.simulator.cluster.layouts.search import fastest_layouts

    shape = Architecture(
        layers=80, width=8192, heads=64, kv_heads=8, ffn_width=28672, vocab_size=128256, context_length=8192
    )
    space = LayoutSpace(shape, count=512, per_node=8, global_batch=1024)
    columns = candidate_layouts(space)
    steps = Steps(model(shape), machine(accelerator("H100-SXM-80"), "bf16", devices=512), layouts(**columns))
    fitted = StepTimeModel.shipped()
    start = time.perf_counter()
    fitted.predict(steps)
    rate = len(steps) / (time.perf_counter() - start)
    start = time.perf_counter()
    fastest_layouts(space, accelerator("H100-SXM-80"), "bf16")
    return rate, time.perf_counter() - start, len(steps)


@dataclass
class Sizes:
    """Sizes of errors of all rows: ours, and of the two baselines."""

    ours: np.ndarray
    half: np.ndarray
    six: np.ndarray

    def line(self, label: str, rows: np.ndarray) -> str:
        """One line of the table."""
        return f"{label:36s}{rows.sum():5d} {two(self.half[rows])} {two(self.six[rows])} {two(self.ours[rows])}"


def print_unstated(left: Left, table: pd.DataFrame) -> None:
    """What is lost where a row's vpp, micro-batch or recomputation is hidden: taken as 1 or none, and as usual."""
    split = left.data.steps.layouts
    piped = (split.pp > 1) & (split.framework != FRAMEWORKS.index("deepspeed"))
    gathered = (split.zero_stage >= 3) & (split.pp == 1)
    kin = np.isin(split.framework, [FRAMEWORKS.index(name) for name in ("fsdp", "deepspeed")])
    cases = (("vpp", piped, 1), ("micro_batch", gathered, 1), ("recompute", kin, "none"))
    print("not stated                 rows  stated        as 1 or none  as usual     inside 80 %")
    for key, of_kind, plainest in cases:
        chosen = (table[key].notna() & (table[key] != "unknown")).to_numpy() & of_kind & (left.data.source != SMALL)
        sizes: list[list[np.ndarray]] = [[], [], []]
        inside = []
        for name in np.unique(left.data.source[chosen]):
            known, model = table.iloc[np.flatnonzero(chosen & (left.data.source == name))], left.models[name]
            low, high = np.zeros(0), np.zeros(0)
            told = (known, known.assign(**{key: plainest}), known.assign(**{key: None}))
            for of, data in zip(sizes, map(read_measurements, told), strict=True):
                of.append(np.abs(model.predict(data.steps).total_s / data.step_time_s - 1))
                low, high = model.interval_s(data.steps, LEVEL)
            inside.append((known["step_time_s"] >= low) & (known["step_time_s"] <= high))
        errors = "  ".join(two(np.concatenate(of)) for of in sizes)
        print(f"{key:24s} {chosen.sum():6d} {errors} {100 * np.concatenate(inside).mean():5.0f}")


def print_sources(
    left: Left, sizes: Sizes, experts: np.ndarray, read: np.ndarray, calibrated: list[Calibrated]
) -> float:
    """The table by source. Returns the mean of our medians over sources of dense rows that were read."""
    names = ("half", "six", "ours")
    medians: list[list[float]] = []
    print(f"{'source':36s} rows FLOPs at 50 % 6ND at 40 %          ours  inside 80 %  after 3 rows  inside")
    for name in np.unique(left.data.source):
        for kind, chosen in (("", ~experts), (" (experts)", experts)):
            rows = (left.data.source == name) & chosen & np.isfinite(left.predicted_s)
            if not rows.any():
                continue
            tail = f"{100 * left.inside[rows].mean():7.0f}"
            own = [one for one in calibrated if one.count == _SHOWN and one.label == name + kind]
            if own:
                tail += f"      {two(pooled(own, 'after'))} {100 * pooled(own, 'inside').mean():5.0f}"
            print(sizes.line(name + kind, rows), tail, "" if read[rows].all() else " recalled")
            if not kind and name != SMALL and read[rows].all():
                medians.append([float(np.median(getattr(sizes, key)[rows])) for key in names])
    means = np.mean(medians, axis=0)
    said = ", ".join(f"{key} {100 * value:.1f}" for key, value in zip(names, means, strict=True))
    print(f"mean of the sources' medians, dense and read, %: {said}")
    return float(means[-1])


def print_rankings(left: Left, baselines: dict[str, np.ndarray]) -> dict[str, float]:
    """How well layouts are ranked. Returns ours."""
    known = np.flatnonzero(np.isfinite(left.predicted_s))
    data, found = left.data.take(known), {}
    for key, predicted in {**baselines, "ours": left.predicted_s}.items():
        found = ranking(data, predicted[known])
        print(
            f"layouts, {found['groups']} groups of at least 4, {key}: regret {found['mean_regret']:.3f}, "
            f"Spearman {found['spearman']:.2f}"
        )
    return found


def print_targets(found: dict[str, float]) -> int:
    """The targets. Returns how many were missed."""
    missed = 0
    for name, (target, words, holds) in TARGETS.items():
        met = holds(float(found[name]), float(target))
        missed += not met
        print(f"{'met   ' if met else 'MISSED'} {name}: {found[name]:.4g}, {words} {target:g}")
    return missed


def main() -> None:
    """Print the table and the targets."""
    start = time.perf_counter()
    data, table = measured()
    experts = np.broadcast_to(data.steps.models.num_experts > 0, data.step_time_s.shape)
    read = (table["evidence"] == "read").to_numpy()
    with one_thread():
        left = predict_left_out(data, learned="--no-trees" not in sys.argv[1:])
        calibrated = calibrate(left, experts)
    baselines = {"FLOPs at 50 %": flops_at_half_peak_s(data.steps), "6ND at 40 % MFU": six_n_d_s(data.steps)}
    predictions = [left.predicted_s, *baselines.values()]
    sizes = Sizes(*(np.abs(predicted / data.step_time_s - 1) for predicted in predictions))
    macro = print_sources(left, sizes, experts, read, calibrated)
    gate = ~experts & read & (data.source != SMALL)
    small = (data.source == SMALL) & np.isfinite(left.predicted_s)
    for label, rows in (("dense, read, without small models", gate), ("experts", experts), ("small models", small)):
        print(sizes.line(label, rows))
    print_calibrated(calibrated)
    with one_thread():
        print_generations(data, experts)
    print_unstated(left, table)
    sds = repeats(data)
    print(
        f"{len(sds)} layouts measured again: sd of log step time, median {np.median(sds):.3f}, largest {max(sds):.3f}"
    )
    ranked = print_rankings(left, baselines)
    rate, seconds, count = search_seconds()
    print(f"{rate:,.0f} layouts/s; a 70B model on 512 H100: {count} layouts ranked in {seconds:.2f} s")
    print(f"took {time.perf_counter() - start:.0f} s")
    three = [one for one in calibrated if one.count == _SHOWN]
    dense_after = pooled([one for one in three if not one.experts], "after")
    experts_inside = pooled([one for one in three if one.experts], "inside").mean()
    covered = float(np.mean([left.inside[data.source == name].mean() for name in left.models if name != SMALL]))
    values = (
        np.median(sizes.ours[gate]),
        np.percentile(sizes.ours[gate], 90),
        macro,
        np.median(sizes.ours[experts]),
        np.percentile(sizes.ours[experts], 90),
        np.median(sizes.ours[small]),
        np.median(dense_after),
        np.percentile(dense_after, 90),
        covered,
        covered,
        experts_inside,
        experts_inside,
        ranked["mean_regret"],
        ranked["spearman"],
        rate,
        seconds,
    )
    sys.exit(1 if print_targets(dict(zip(TARGETS, map(float, values), strict=True))) else 0)


if __name__ == "__main__":
    main()
