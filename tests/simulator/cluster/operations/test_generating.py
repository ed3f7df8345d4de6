"""What writing synthetic text takes, and where it is counted."""

import numpy as np
import pytest
from foretrain.simulator.cluster.estimate import estimate
from foretrain.simulator.cluster.operations.before_run import before_run
from foretrain.simulator.cluster.operations.generating import generating
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
WRITER = {"params": "8B", "efficiency": 0.1}
JUDGED = {"kind": "judge", "keep": 0.5, "judge": {"params": "3B", "efficiency": 0.5}}


def plan(synthetic=None, **data) -> RunConfig:
    stated = {} if synthetic is None else {"synthetic": synthetic}
    return RunConfig.from_mapping(PLAN | {"data": {"tokens": "100B", **data, **stated}})


@pytest.mark.parametrize(
    ("generator", "params", "said"),
    [
        ("self", "own", "the plan's own size"),
        ("WRAP", 8e9, "as published"),
        ("ngram", None, None),
        ("web", None, None),
        ("llama", None, "what writing with llama costs is not counted"),
    ],
)
def test_what_writes_where_the_plan_states_no_size(generator, params, said):
    config = plan({"share": 0.3, "generator": generator})
    found = generating(config)
    expected = config.model.params_active if params == "own" else params
    assert (None if found is None else found.params) == expected
    notes = " ".join(note for note in estimate(config, draws=100).notes if "synthetic" in note)
    assert (said or "") in notes
    assert bool(notes) == (said is not None)


def test_all_that_is_written_is_paid_what_is_detected_included():
    """By hand: of text half synthetic, of which half is found, 100B tokens are left of 133B; 67B were written."""
    found = generating(plan({"share": 0.5, "detected": 0.5, "generating": WRITER}))
    assert found.tokens == pytest.approx(1e11 / 0.75 * 0.5)
    assert found.flops == pytest.approx(2 * 8e9 * found.tokens)
    assert generating(plan({"share": 0.5, "detected": 1})).tokens == pytest.approx(1e11)
    assert generating(plan({"share": 0})) is None


def test_it_is_paid_and_drawn_beside_the_judge_but_no_part_of_the_wall_clock():
    config = plan({"share": 0.3, "generating": WRITER}, selection=JUDGED)
    plain, both = estimate(plan(), draws=2000), estimate(config, draws=2000)
    hours = {
        "generating": 2 * 8e9 * 3e10 / (0.1 * 989.4e12) / 3600,
        "judging": 2 * 3e9 * 1.4e11 / (0.5 * 989.4e12) / 3600,
    }
    assert list(before_run(config)) == ["judging", "generating"]
    assert both.wall_clock_days == plain.wall_clock_days
    parts = {one.name: one for one in waterfall(both, config).parts}
    for name, of in hours.items():
        assert (parts[name].days, parts[name].usd) == (0.0, pytest.approx(2.0 * of, rel=0.01))
        assert getattr(both, f"{name}_gpu_hours").median == pytest.approx(of, rel=1e-3)
    total = sum(hours.values())
    np.testing.assert_allclose(both.draws.gpu_hours - plain.draws.gpu_hours, total, rtol=1e-3)
    np.testing.assert_allclose(both.draws.cost_usd - plain.draws.cost_usd, 2.0 * total, rtol=1e-3)
    more_mwh = both.draws.energy_mwh - plain.draws.energy_mwh
    assert 0.5e-3 < more_mwh[0] / total < 1.5e-3
    assert plain.generating_gpu_hours is None


def test_an_efficiency_that_is_not_stated_widens_the_cost():
    stated, open_ = ({"params": "70B", "efficiency": 0.05}, {"params": "70B"})
    plans = [plan({"share": 0.5, "generating": one}) for one in (stated, open_)]
    widths = [np.subtract(*estimate(one, draws=2000).cost_usd.intervals[0.9][::-1]) for one in plans]
    assert widths[1] > 1.5 * widths[0]
