"""Parts of days and dollars: they add up to the medians, none is negative, and what isn't stated is named."""

import json

import pytest
from foretrain.simulator.cluster.estimate import estimate
from foretrain.simulator.cluster.operations.waterfall import PART_TITLES, waterfall
from foretrain.simulator.config.run_config import RunConfig
from hypothesis import given, settings
from hypothesis import strategies as st

PLAN = {
    "model": {
        "architecture": {
            "layers": 16, "width": 2048, "heads": 16, "ffn_width": 5632, "vocab_size": 32000, "context_length": 2048,
        }
    },
    "data": {"tokens": "100B"},
    "optim": {"batch_tokens": "1M"},
    "hardware": {"accelerator": "H100-SXM-80", "count": 16, "price_usd_per_hour": 2.0},
}  # fmt: skip
LAYOUTS = ({"tp": 1}, {"tp": 2, "pp": 2}, {"tp": 1, "zero_stage": 3, "recompute": "full"}, {"tp": 8, "pp": 2})
PURCHASES = (
    {},
    {"purchase": "spot", "spot_usd_per_hour": 1},
    {"purchase": "reserved", "reserved_usd_per_hour": 1.5, "reserved": "30d", "spread": 1.3},
    {"storage_usd_per_gib_month": 0.02, "on_demand_usd_per_hour": 0},
)
SELECTIONS = (
    {},
    {"selection": {"kind": "dedup", "keep": 0.5}},
    {"selection": {"kind": "judge", "keep": 0.1}},
    {"selection": {"kind": "judge", "keep": 0.3, "judge": {"params": "70B", "efficiency": 0.2}}},
)


def found(**sections):
    config = RunConfig.from_mapping(PLAN | sections)
    estimated = estimate(config, draws=500)
    return estimated, waterfall(estimated, config)


@settings(max_examples=30, deadline=None)
@given(
    layout=st.sampled_from(LAYOUTS),
    prices=st.sampled_from(PURCHASES),
    tokens=st.sampled_from(["100M", "100B", "10T"]),
    usd_per_kwh=st.sampled_from([None, 0.1]),
    selection=st.sampled_from(SELECTIONS),
    reliability=st.fixed_dictionaries(
        {
            "failures_per_device_hour": st.sampled_from([0.0, 2e-5, 3e-3]),
            "preemptions_per_device_hour": st.sampled_from([0.0, 1e-3]),
            "preemption_wait": st.sampled_from(["1s", "1h"]),
            "overhead": st.floats(0, 2),
            "straggler_slowdown": st.floats(0, 0.5),
            "planned_downtime": st.floats(0, 0.5),
        }
    ),
)
def test_parts_add_up_to_the_medians(layout, prices, tokens, usd_per_kwh, selection, reliability):
    estimated, parts = found(
        layout=layout,
        prices=prices,
        data={"tokens": tokens, **selection},
        energy={} if usd_per_kwh is None else {"usd_per_kwh": usd_per_kwh},
        reliability=reliability,
    )
    assert sum(part.days for part in parts.parts) == pytest.approx(estimated.wall_clock_days.median, rel=1e-9)
    assert sum(part.usd for part in parts.parts) == pytest.approx(estimated.cost_usd.median, rel=1e-9, abs=1e-9)
    assert all(part.days >= 0 and part.usd >= 0 for part in parts.parts)
    order = list(PART_TITLES)
    assert [part.name for part in parts.parts] == sorted((part.name for part in parts.parts), key=order.index)


def test_parts_are_those_of_the_step_and_of_the_wall_clock():
    """By hand, of a run that nothing interrupts: steps, and 25 % on top of them."""
    nothing = {"failures_per_device_hour": 0, "overhead": 0.25, "checkpoint": "1s"}
    estimated, parts = found(reliability=nothing, layout={"tp": 2, "pp": 2})
    by_name = {part.name: part for part in parts.parts}
    days = estimated.wall_clock_days.median
    assert by_name["overhead"].days == pytest.approx(days * 0.2, rel=1e-4)
    assert by_name["interruptions"].days < 1e-4 * days  # one checkpoint of a second
    step = estimated.step_parts_s
    physics = sum(step.values()) - step["learned"]
    products = (step["matmul"] + step["output_head"]) / physics
    assert by_name["matrix_products"].days == pytest.approx(days * 0.8 * products, rel=1e-4)
    assert by_name["overhead"].usd == pytest.approx(estimated.cost_usd.median * 0.2, rel=1e-4)


def test_waiting_costs_only_what_is_reserved():
    waits = {"preemptions_per_device_hour": 1e-3, "preemption_wait": "1h"}
    for prices, paid in ((PURCHASES[1], False), ({"purchase": "reserved", "reserved_usd_per_hour": 1.5}, True)):
        _, parts = found(reliability=waits, prices=prices, layout={"tp": 1})
        (waiting,) = [part for part in parts.parts if part.name == "waiting"]
        assert waiting.days > 0
        assert (waiting.usd > 0) == paid


def test_what_is_not_stated_is_named():
    _, parts = found(layout={"tp": 1})
    counted = {one.key: one.counted for one in parts.not_stated}
    assert counted == {
        "reliability.overhead": True,
        "reliability.failures_per_device_hour": True,
        "prices.storage_usd_per_gib_month": False,
        "energy.usd_per_kwh": False,
    }
    _, free = found(layout={"tp": 1}, hardware={"accelerator": "H100-SXM-80", "count": 16})
    assert free.cost_usd is None
    assert {part.usd for part in free.parts} == {None}
    assert free.not_stated[-1].key == "hardware.price_usd_per_hour"
    assert json.loads(json.dumps(free.to_dict(), allow_nan=False))["parts"][0]["usd"] is None
