import datetime
import json
from pathlib import Path

import jsonschema
import pytest
from foretrain.core.errors import ConfigError
from foretrain.core.reading.yaml_reader import loads_yaml
from foretrain.simulator.config.run_config import EnergyConfig, PricesConfig, ReliabilityConfig, RunConfig

GOOD = "model: {params: 7B}\ndata: {tokens: 2T}\n"


def run(text: str) -> RunConfig:
    return RunConfig.from_mapping(loads_yaml(GOOD + text))


BAD = [
    (
        "reliability: {failures_per_device_hour: -1}",
        "failures_per_device_hour: got -1; expected a number of at least 0",
    ),
    ("reliability: {failure_rate_spread: 0.5}", "expected a number of at least 1"),
    ("reliability: {checkpoint: 30}", "reliability.checkpoint: got 30; expected a duration with its unit"),
    ("reliability: {checkpoint: 0s}", "reliability.checkpoint"),
    ("reliability: {restart: 5m}", "write min for minutes"),
    ("reliability: {planned_downtime: 1}", "expected a number below 1"),
    ("reliability: {mtbf: 3h}", "reliability.mtbf: unknown key"),
    ("prices: {purchase: rented}", "prices.purchase: got 'rented'; expected one of"),
    ("prices: {spot_usd_per_hour: yes}", "prices.spot_usd_per_hour"),
    ("prices: {reserved: 90d}", "prices.reserved: is given beside purchase on_demand; expected purchase: reserved"),
    ("prices: {purchase: spot}", "reliability.preemptions_per_device_hour: is missing; prices.purchase is spot"),
    ("prices: {checkpoints_kept: 0}", "prices.checkpoints_kept"),
    ("energy: {pue: 0.9}", "energy.pue: got 0.9; expected a number of at least 1"),
    ("energy: {idle_share_of_tdp: 15}", "expected a number of at most 1"),
    ("start: 20261201", "start: got 20261201; expected a date as year-month-day"),
    ("start: 2026-02-30", "start: got '2026-02-30'; expected a date"),
    ("start: 1.12.2026", "start: got '1.12.2026'; expected a date"),
    ("targets: {deadline: 2027-01-01}", "targets.deadline: got the date 2027-01-01, but start is missing"),
    ("start: 2026-12-01\ntargets: {deadline: 2026-12-01}", "targets.deadline: got 2026-12-01, which is past when"),
    ("start: 2026-12-01\ntargets: {deadline: 2026-11-31}", "targets.deadline: got '2026-11-31'; expected a date"),
    ("targets: {deadline: 0s}", "targets.deadline: got '0s'; expected more than nothing"),
    ("targets: {deadline: 101y}", "targets.deadline: got '101y'; expected a duration"),
    ("targets: {deadline: soon}", "or a date such as 2026-12-01"),
]


@pytest.mark.parametrize(("text", "fragment"), BAD, ids=[text for text, _ in BAD])
def test_bad_sections_are_refused_with_a_message_that_helps(text, fragment):
    with pytest.raises(ConfigError) as caught:
        run(text)
    assert fragment in str(caught.value)


def test_a_config_that_says_nothing_of_operations_has_stated_defaults():
    config = run("")
    assert (config.reliability, config.prices, config.energy) == (ReliabilityConfig(), PricesConfig(), EnergyConfig())
    assert config.reliability.failures_per_device_hour == pytest.approx(1.97e-5, rel=2e-3)
    assert config.reliability.checkpoint_interval_s is None
    assert config.usd_per_hour is None
    assert config.deadline_s is None


def test_the_failure_rate_is_only_uncertain_where_nobody_states_it():
    assert run("").reliability.failure_rate_spread == 2.5
    assert run("reliability: {failures_per_device_hour: 1e-5}").reliability.failure_rate_spread == 1
    both = run("reliability: {failures_per_device_hour: 1e-5, failure_rate_spread: 1.5}").reliability
    assert (both.failures_per_device_hour, both.failure_rate_spread) == (1e-5, 1.5)


def test_the_price_is_that_of_the_purchase_and_falls_back_on_the_hardwares():
    prices = "hardware: {price_usd_per_hour: 2}\nprices: {on_demand_usd_per_hour: 3, reserved_usd_per_hour: 1.5"
    assert run(prices + "}").usd_per_hour == 3
    assert run(prices + ", purchase: reserved}").usd_per_hour == 1.5
    spot = run(prices + ", purchase: spot}\nreliability: {preemptions_per_device_hour: 0}")
    assert spot.usd_per_hour == 2


def test_deadlines_are_durations_or_days():
    assert run("targets: {deadline: 30d}").deadline_s == 30 * 86_400
    dated = run("start: 2026-12-01\ntargets: {deadline: 2027-01-01}")
    assert dated.start == datetime.date(2026, 12, 1)
    assert dated.deadline_s == 31 * 86_400


def test_everything_survives_writing_and_fits_the_schema():
    text = """start: 2026-12-01
reliability: {failures_per_device_hour: 3e-5, checkpoint: 45s, checkpoint_interval: 1h, restart: 7min,
  straggler_slowdown: 0.02, planned_downtime: 0.01, preemptions_per_device_hour: 1e-4, preemption_wait: 20min}
prices: {purchase: spot, spot_usd_per_hour: 1.2, storage_usd_per_gib_month: 0.02, checkpoints_kept: 5, dataset_gib: 9k}
energy: {pue: 1.1, grid_g_co2e_per_kwh: 400, usd_per_kwh: 0.08, host_w_per_accelerator: 300, idle_share_of_tdp: 0.1}
targets: {deadline: 2027-03-01}
"""
    for config in (run(text), run("")):
        schema = RunConfig.json_schema()
        jsonschema.validate(config.to_mapping(), schema)
        again = RunConfig.from_mapping(json.loads(json.dumps(config.to_mapping())))
        assert again == config
        assert again.reliability.failure_rate_spread == config.reliability.failure_rate_spread
    jsonschema.validate(loads_yaml(GOOD + text), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(loads_yaml(GOOD + "targets: {deadline: 30}"), schema)


def test_overrides_reach_the_new_sections():
    config = RunConfig.from_mapping(loads_yaml(GOOD), overrides=["reliability.restart=3min", "energy.pue=1.3"])
    assert (config.reliability.restart_s, config.energy.pue) == (180, 1.3)


def test_what_the_main_example_comments_out_is_accepted():
    text = (Path(__file__).parents[3] / "examples/llama-7b.yaml").read_text(encoding="utf-8")
    before, marker, after = text.partition("# reliability:\n")
    comments, others = after.split("\n\n", 1)
    said = (marker + comments).replace("\n# ", "\n").removeprefix("# ")
    config = RunConfig.from_mapping(loads_yaml(f"{before}{said}\n\n{others}"))
    assert config.reliability.restart_s == ReliabilityConfig().restart_s == 600
    assert config.reliability.checkpoint_s == ReliabilityConfig().checkpoint_s == 30
    assert config.reliability.failures_per_device_hour == pytest.approx(
        ReliabilityConfig().failures_per_device_hour, rel=2e-3
    )
    assert (config.energy.pue, config.prices.purchase) == (EnergyConfig().pue, PricesConfig().purchase)
    assert config.start == datetime.date(2026, 12, 1)
