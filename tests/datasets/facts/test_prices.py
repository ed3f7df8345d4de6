"""Published prices: each dated and sourced, paid only where a plan names it, and only for its own accelerator."""

import datetime
import json

import foretrain
import pytest
from foretrain import RunConfig
from foretrain.core.errors import ConfigError
from foretrain.datasets.facts.prices import price, prices, sources

PLAN = {
    "model": {"params": "1B"},
    "data": {"tokens": "20B"},
    "optim": {"batch_tokens": "1M"},
    "hardware": {"accelerator": "H100-SXM-80", "count": 8},
}
LAMBDA = "lambda-h100-on-demand-2026"


def priced(hardware=None, **prices):
    return RunConfig.from_mapping(PLAN | {"hardware": {**PLAN["hardware"], **(hardware or {})}, "prices": prices})


@pytest.mark.parametrize("one", prices().values(), ids=list(prices()))
def test_every_price_says_when_and_where_it_was_published(one):
    assert datetime.date(2023, 1, 1) <= one.date <= datetime.date.today()
    assert str(one.date.year) in one.name
    first, seen = one.sources
    assert "." in first.split("/")[0]
    assert seen in sources()
    assert 0.5 < one.usd_per_hour < 20
    # an instance's price, where the source states one, is that of eight accelerators, or of one
    if ": " in first:
        of_instance = float(first.split(": ")[1].split()[0])
        assert one.usd_per_hour in (pytest.approx(of_instance / 8, abs=6e-4), of_instance)


def test_no_plan_pays_a_price_that_it_does_not_name():
    assert RunConfig.from_mapping(PLAN).usd_per_hour is None
    assert priced(preset="Lambda H100 2026").prices.preset == LAMBDA  # by any of its names


def test_a_named_price_costs_what_the_same_price_stated_costs():
    named, stated = (
        foretrain.estimate_cluster(one) for one in (priced(preset=LAMBDA), priced({"price_usd_per_hour": 3.99}))
    )
    assert named.cost_usd == stated.cost_usd
    assert stated.price_published is None
    assert named.price_published["date"] == "2026-09-20"
    assert named.to_dict()["price_published"]["sources"][0] == "lambda.ai/instances"


def test_a_reserved_price_is_paid_as_reserved():
    config = priced(preset="aws-p5-capacity-block-2024", on_demand_usd_per_hour=6.88, reserved="30d")
    assert (config.prices.purchase, config.usd_per_hour) == ("reserved", 4.916)
    assert RunConfig.from_mapping(config.to_mapping()) == config


def test_the_digest_of_other_plans_is_what_it_was():
    assert "preset" not in RunConfig.from_mapping(PLAN).to_digest()["prices"]


@pytest.mark.parametrize(
    ("hardware", "stated", "message"),
    [
        ({}, {"preset": "lambda-h10"}, "prices.preset: got 'lambda-h10', which isn't in the catalogue; did you mean"),
        ({}, {"preset": LAMBDA, "on_demand_usd_per_hour": 2}, "prices.on_demand_usd_per_hour: is given beside preset"),
        ({"price_usd_per_hour": 2}, {"preset": LAMBDA}, "hardware.price_usd_per_hour: is given beside prices.preset"),
        ({}, {"preset": LAMBDA, "purchase": "spot"}, "prices.purchase: got 'spot'; expected on_demand"),
        (
            {"accelerator": "MI300X"},
            {"preset": LAMBDA},
            "is of H100-SXM-80; hardware.accelerator is MI300X: expected none",
        ),
        ({}, {"preset": "nebius-h100-spot-2026"}, "reliability.preemptions_per_device_hour: is missing"),
        ({}, {"preset": 3}, "prices.preset: got 3; expected text"),
        ({}, {"preset": [LAMBDA]}, "prices.preset: got"),
    ],
)
def test_what_contradicts_a_named_price_is_refused(hardware, stated, message):
    with pytest.raises(ConfigError) as refused:
        priced(hardware, **stated)
    assert message in str(refused.value)


def test_an_unknown_price_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean aws-p5"):
        price("aws-p5-demand-2026")


def test_the_page_says_which_price_of_which_day(call, tmp_path):
    (tmp_path / "plan.json").write_text(json.dumps(PLAN | {"prices": {"preset": LAMBDA}}), encoding="utf-8")
    shown = call("predict", "--config", "plan.json")
    assert shown.returncode == 0, shown.stderr
    assert f"price: {LAMBDA}: Lambda, 8 H100 SXM, on demand, as of 2026-09-20 (lambda.ai/instances)" in shown.stdout


def test_the_price_turns_what_hangs_on_it():
    rows = foretrain.sensitivity(priced(preset=LAMBDA), foretrain.load_predictor("web-text")).rows
    (row,) = (row for row in rows if row.key == "prices.preset")
    assert row.value == 3.99
