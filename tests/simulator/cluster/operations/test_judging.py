"""What a judge's inference takes, and where it is counted."""

import numpy as np
import pytest
from foretrain.simulator.cluster.estimate import estimate
from foretrain.simulator.cluster.operations.judging import judging
from foretrain.simulator.cluster.operations.waterfall import waterfall
from foretrain.simulator.config.run_config import RunConfig

PLAN = {
    "model": {
        "architecture": {
            "layers": 16, "width": 2048, "heads": 16, "ffn_width": 5632, "vocab_size": 32000, "context_length": 2048,
        }
    },
    "optim": {"batch_tokens": "1M"},
    "hardware": {"accelerator": "H100-SXM-80", "count": 16, "price_usd_per_hour": 2.0},
    "energy": {"grid_g_co2e_per_kwh": 100},
}  # fmt: skip
STATED = {"kind": "dedup+judge", "keep": 0.25, "judge": {"params": "3B", "efficiency": 0.5}}


def plan(selection=None, **data) -> RunConfig:
    stated = {} if selection is None else {"selection": selection}
    return RunConfig.from_mapping(PLAN | {"data": {"tokens": "100B", **data, **stated}})


def test_only_what_must_be_scored_is():
    assert judging(plan(STATED)).tokens == pytest.approx(4e11)
    assert judging(plan(STATED, unique_tokens="1T")).tokens == pytest.approx(4e11)
    assert judging(plan(STATED, unique_tokens="300B")).tokens == pytest.approx(3e11)
    mix = {"mix": {"web": 0.9, "code": 0.1}, "unique_tokens_by_domain": {"code": "10B"}}
    assert judging(plan(STATED, **mix)).tokens == pytest.approx(3.6e11 + 1e10)


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("judge", 3e9),
        ("QuRating", 1.28e9),
        ("dedup+fineweb-edu", 1.09e8),
        ("dedup", None),
        ("mine", None),
        ("none", None),
    ],
)  # fmt: skip
def test_published_judges_stand_in(kind, params):
    found = judging(plan({"kind": kind} if kind == "none" else {"kind": kind, "keep": 0.3}))
    assert (None if found is None else found.params) == params
    notes = " ".join(estimate(plan({"kind": kind, "keep": 1}), draws=100).notes)
    assert ("data.selection.judge" in notes) == (kind not in ("none", "dedup"))
    assert ("is not counted" in notes) == (kind == "mine")


def test_it_is_paid_and_drawn_but_no_part_of_the_wall_clock():
    """By hand: 2 × 3e9 × 4e11 FLOPs at half of 989.4 TFLOP/s."""
    plain, judged = estimate(plan(), draws=2000), estimate(plan(STATED), draws=2000)
    hours = 2 * 3e9 * 4e11 / (0.5 * 989.4e12) / 3600
    assert judged.wall_clock_days == plain.wall_clock_days
    (part,) = (one for one in waterfall(judged, plan(STATED)).parts if one.name == "judging")
    assert (part.days, part.usd) == (0.0, pytest.approx(2.0 * hours, rel=0.01))
    assert judged.judging_gpu_hours.median == pytest.approx(hours, rel=1e-3)
    assert plain.judging_gpu_hours is None
    assert "judging_usd" not in plain.cost_parts_usd
    np.testing.assert_allclose(judged.draws.gpu_hours - plain.draws.gpu_hours, judged.draws.judging_gpu_hours)
    np.testing.assert_allclose(judged.draws.cost_usd - plain.draws.cost_usd, 2.0 * judged.draws.judging_gpu_hours)
    more_mwh = judged.draws.energy_mwh - plain.draws.energy_mwh
    assert 0.5e-3 < more_mwh[0] / hours < 1.5e-3
    assert judged.co2e_t.median - plain.co2e_t.median == pytest.approx(0.1 * more_mwh[0], rel=1e-6)


def test_an_efficiency_that_is_not_stated_widens_the_cost():
    stated = {"kind": "judge", "keep": 0.1, "judge": {"params": "7B", "efficiency": 0.34}}
    open_ = {"kind": "judge", "keep": 0.1, "judge": {"params": "7B"}}
    widths = [np.subtract(*estimate(plan(one), draws=2000).cost_usd.intervals[0.9][::-1]) for one in (stated, open_)]
    assert widths[1] > 1.5 * widths[0]
