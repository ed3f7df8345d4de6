"""What people read of cluster estimates: the facts, in whole lines, without empty parts."""

import io
from dataclasses import replace

import numpy as np
import pytest
from foretrain.simulator.cluster.estimate import estimate
from foretrain.simulator.cluster.layout_choice import search_layouts
from foretrain.simulator.cluster.layouts.layout import ParallelLayout
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.report.tables.cluster import (
    calibration_view,
    cluster_lines,
    estimate_view,
    layout_text,
    score_view,
    search_view,
)
from rich.console import Console

SHAPE = {"layers": 32, "width": 4096, "heads": 32, "ffn_width": 11008, "vocab_size": 32000, "context_length": 4096}
PLAN = {
    "model": {"architecture": SHAPE},
    "data": {"tokens": "1T"},
    "optim": {"batch_tokens": "4M"},
    "hardware": {"accelerator": "H100", "count": 64, "price_usd_per_hour": 2.5, "inter_node_gbps": 400},
    "energy": {"grid_g_co2e_per_kwh": 300},
    "start": "2026-12-01",
    "targets": {"deadline": "2027-02-01", "budget_usd": "250k"},
}


def plan(*overrides: str) -> RunConfig:
    return RunConfig.from_mapping(PLAN, overrides=overrides)


def shown(view) -> str:
    stream = io.StringIO()
    Console(file=stream, width=10_000, highlight=False, markup=False).print(view)
    return stream.getvalue()


@pytest.fixture(scope="module")
def result():
    return estimate(plan(), draws=500)


def test_an_estimate_shows_every_quantity_with_its_intervals(result):
    text = shown(estimate_view(result))
    assert text.startswith("64 × H100-SXM-80, bf16 at 989 TFLOP/s, megatron\n")
    for label in (
        "step time",
        "MFU",
        "wall clock, days",
        "goodput",
        "GPU-hours",
        "cost, USD",
        "energy, MWh",
        "CO2e, t",
    ):
        assert f"\n{label} " in text
    low, high = result.wall_clock_days.intervals[0.9]
    assert f"{result.wall_clock_days.median:.1f} " in text
    assert f"{low:.1f} to {high:.1f}" in text
    assert f"done on {result.finish['median']}, 90 % interval" in text
    assert "chance of keeping to the deadline" in text
    assert ", to the budget " in text
    assert "calibrated" not in text
    assert all(f"! {note}\n" in text for note in result.notes)
    assert "e+0" not in text, "nobody reads 1.13e+03 gladly"


def test_what_is_not_known_is_left_out():
    plain = ("energy=null", "start=null", "targets=null", "hardware.price_usd_per_hour=null")
    text = shown(estimate_view(estimate(plan(*plain), draws=50)))
    assert not any(word in text for word in ("CO2e", "done on", "chance of keeping", "cost, USD"))
    assert "! no cost" in text
    measured = replace(estimate(plan(), draws=50), calibrated_on=1)
    assert "calibrated on 1 measured step" in [line.plain for line in cluster_lines(measured)]


def test_parts_are_shown_largest_first_and_small_ones_not(result):
    (line,) = [line.plain for line in cluster_lines(result) if line.plain.startswith("step: ")]
    shares = [int(part.rsplit(" ", 1)[1].rstrip("%")) for part in line.removeprefix("step: ").split(", ")]
    assert [abs(share) for share in shares] == sorted((abs(share) for share in shares), reverse=True)
    assert sum(shares) == 100
    assert "offload" not in line


def test_a_layout_in_a_line():
    assert layout_text(ParallelLayout(dp=8)) == "dp 8, zero_stage 1, micro_batch 1, accumulation 1"
    text = layout_text(
        ParallelLayout(tp=4, dp=2, zero_stage=3, sequence_parallel=True, recompute="full", flash_attention=False)
    )
    assert text == (
        "tp 4, dp 2, zero_stage 3, sequence_parallel, micro_batch 1, accumulation 1, recompute full, no flash_attention"
    )


def test_a_search_shows_one_line_for_each_layout():
    found, rows = search_layouts(plan(), top=4)
    lines = shown(search_view(found, rows, 0.25)).splitlines()
    assert len(lines) == 6
    for one, row, line in zip(found, rows, lines[1:5], strict=True):
        assert line.startswith(layout_text(one.layout) + " ")
        assert f"{row['mfu']:.1%}" in line
        assert line.rstrip().endswith("fits")
    assert lines[-1].endswith("took 0.25 s")


def test_a_calibration_shows_before_and_after():
    step = {
        "name": "mine", "measured_s": 2.0, "before_s": 1.5, "after_s": 1.9, "half_width_before": 0.2,
        "half_width_after": 0.1,
    }  # fmt: skip
    text = shown(calibration_view({"calibrated_on": 1, "steps": [step]}, "mine.json"))
    assert all(word in text for word in ("mine", "2s", "1.5s", "1.9s", "20%", "10%", "wrote mine.json"))
    assert "layout" not in text
    layout = {name: getattr(ParallelLayout(dp=8), name) for name in ParallelLayout.__slots__}
    text = shown(calibration_view({"calibrated_on": 1, "steps": [step], "layout": layout}, "mine.json"))
    assert "taken as measured in the layout dp 8, zero_stage 1" in text


def test_scores_of_tables_with_and_without_times():
    errors = {"rows": 3, "median": 0.1, "p90": 0.2, "max": 0.3, "bias": -0.05}
    empty = {"pooled": None, "by_source": {}, "fits": {"rows": 0, "wrong": 0}}
    bare = {"rows": 0, "skipped": {"on 'X'": 2}, "step_time": None, "ranking": None, "memory": empty}
    assert shown(score_view(bare)) == "! 2 rows on 'X': left out\n"
    step_time = {
        "pooled": errors, "dense": errors, "moe": None, "by_source": {"here": {**errors, "coverage": {"0.8": 0.67}}},
        "macro_median": 0.1, "coverage": {"0.8": 0.67},
    }  # fmt: skip
    ranking = {"groups": 2, "mean_regret": 0.025, "spearman": 0.9}
    text = shown(score_view({**bare, "step_time": step_time, "ranking": ranking}))
    assert all(word in text for word in ("10.0%", "20.0%", "30.0%", "-5.0%", "67%", "mean regret 2.5%", "0.90"))
    assert "mixtures of experts" not in text
    assert not np.any([line.endswith("…") for line in text.splitlines()])
