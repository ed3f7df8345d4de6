"""`compare`: every plan's own forecast is untouched, and differences hold only what plans don't share."""

import json
import warnings

import numpy as np
import pytest
from foretrain.core.errors import DataWarning, InfeasibleError, InputError, UsageError
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.forecast.compare import FIGURES, Comparison, compare, figures
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.predictor.storage.folder import load

SHAPE = {"layers": 16, "width": 2048, "heads": 16, "ffn_width": 5504, "vocab_size": 32000, "context_length": 2048}


def run_plan(name: str = "run", tokens: str = "100B", seed: int = 0, **hardware) -> RunConfig:
    """A plan of 1B on 64 H100, whose failures, price and energy are known; keywords are of `hardware`."""
    return RunConfig.from_mapping(
        {
            "name": name,
            "seed": seed,
            "model": {"architecture": SHAPE},
            "data": {"tokens": tokens, "bytes_per_token": 4.0},
            "optim": {"batch_tokens": "1M"},
            "hardware": {"accelerator": "H100-SXM-80", "count": 64, "price_usd_per_hour": 2.0, **hardware},
            "prices": {"spread": 1.2},
        }
    )


@pytest.fixture(scope="module")
def web():
    return load("web-text")


@pytest.fixture(scope="module")
def compared(web) -> Comparison:
    """The plan, the same again, one with twice the tokens, one on other machines."""
    return compare(
        [
            run_plan("first"),
            run_plan("again"),
            run_plan("longer", "200B"),
            run_plan("other", accelerator="A100-SXM-80"),
        ],
        web,
    )


def test_every_forecast_is_the_one_that_the_plan_has_alone(compared, web):
    for one in compared.forecasts:
        assert one.to_dict() == forecast(one.config, web).to_dict()


def test_differences_are_those_of_the_medians_and_the_first_has_none(compared):
    first = figures(compared.forecasts[0], compared.target)
    assert tuple(first) == FIGURES
    assert compared.differences[0] == {}
    for one, found in zip(compared.forecasts[1:], compared.differences[1:], strict=True):
        own = figures(one, compared.target)
        assert set(found) == set(FIGURES)
        for name, difference in found.items():
            assert difference.median == pytest.approx(own[name].median - first[name].median, abs=1e-12)
            for low, high in difference.intervals.values():
                assert low <= difference.median <= high
            assert 0.0 <= difference.chance_lower <= 1.0


def test_a_plan_against_itself_differs_by_luck_alone(compared):
    for name, difference in compared.differences[1].items():
        assert difference.median == 0.0, name
        assert difference.chance_lower == pytest.approx(0.5, abs=0.01), name
    own = compared.forecasts[0].cluster
    for name, quantity in (("wall_clock_days", own.wall_clock_days), ("cost_usd", own.cost_usd)):
        low, high = compared.differences[1][name].intervals[0.9]
        assert high - low < 0.05 * np.ptp(quantity.intervals[0.9]), "the cluster and the price are the same"


def test_what_is_unknown_of_both_alike_is_no_part_of_the_difference(compared):
    own = [one.headline.loss_nats.intervals[0.9] for one in compared.forecasts]
    longer = compared.differences[2]
    assert np.ptp(longer["loss_nats"].intervals[0.9]) < 0.15 * np.ptp(own[0])
    assert longer["loss_nats"].chance_lower > 0.9
    # twice the steps on one cluster are twice the time, however fast it is
    days = longer["wall_clock_days"]
    once = compared.forecasts[0].cluster.wall_clock_days
    assert days.intervals[0.9] == pytest.approx(once.intervals[0.9], rel=0.03)
    assert days.chance_lower == 0.0


def test_other_machines_share_nothing(compared):
    other = compared.differences[3]
    assert (other["loss_nats"].median, other["loss_nats"].chance_lower) == (0.0, 0.5)
    widths = [np.ptp(np.log(one.cluster.wall_clock_days.intervals[0.9])) for one in compared.forecasts[::3]]
    medians = [one.cluster.wall_clock_days.median for one in compared.forecasts[::3]]
    alone = np.hypot(widths[0] * medians[0], widths[1] * medians[1])
    assert np.ptp(other["wall_clock_days"].intervals[0.9]) == pytest.approx(alone, rel=0.1)


def test_all_figures_of_the_loss_tell_one_chance(compared):
    for found in compared.differences[1:]:
        chances = [found[name].chance_lower for name in ("loss_nats", "perplexity", "bits_per_byte")]
        assert chances == pytest.approx([chances[0]] * 3, abs=0.01)
        bits = np.array(found["bits_per_byte"].intervals[0.9]) * 4.0 * np.log(2.0)
        assert bits == pytest.approx(found["loss_nats"].intervals[0.9], abs=2e-3)


def test_turned_round_the_difference_is_its_negative(web):
    plans = [run_plan("a"), run_plan("b", "150B")]
    there, back = (compare(pair, web).differences[1] for pair in (plans, plans[::-1]))
    for name in FIGURES:
        assert there[name].median == pytest.approx(-back[name].median)
        low, high = there[name].intervals[0.9]
        width = high - low
        assert [-high, -low] == pytest.approx(list(back[name].intervals[0.9]), abs=0.06 * width), name
        assert there[name].chance_lower == pytest.approx(1.0 - back[name].chance_lower, abs=0.01)


def test_the_same_plans_give_the_same_figures(web):
    plans = [run_plan("a"), run_plan("b", "150B")]
    assert compare(plans, web).to_dict() == compare(plans, web).to_dict()


def test_repeats_and_experts_of_one_plan_alone_are_compared(plan, web):
    fresh, repeated = plan("1B", "100B"), plan("1B", "100B", unique_tokens="10B")
    routed = plan(
        tokens="100B", model={"params": "8B", "params_active": "1B", "num_experts": 16, "experts_per_token": 2}
    )
    found = compare([fresh, repeated, routed], web)
    assert found.differences[1]["loss_nats"].median > 0 > found.differences[2]["loss_nats"].median
    assert [one["loss_nats"].chance_lower > 0.5 for one in found.differences[1:]] == [False, True]
    assert set(found.differences[1]) == {"loss_nats", "perplexity"}


def test_a_learning_rate_of_one_plan_alone(plan):
    tuned = plan("500M", "20B")
    stated = plan("500M", "20B", optim={"lr": 1e-2, "batch_tokens": "512k"})
    found = compare([tuned, stated], load("steplaw"))
    own = [one.headline.loss_nats.median for one in found.forecasts]
    assert found.differences[1]["loss_nats"].median == pytest.approx(own[1] - own[0])
    assert own[1] > own[0]


def test_every_target_of_a_predictor(make_targets, plan):
    found = compare([plan("1B", "20B"), plan("1B", "40B")], make_targets)
    assert {"loss_nats", "loss_nats.code"} <= set(found.differences[1])
    assert found.to_dict()["plans"][1]["difference"]["loss_nats.code"]["chance_lower"] > 0.5


@pytest.fixture(scope="module")
def make_targets():
    """A predictor of two targets."""
    import pandas as pd
    from foretrain.datasets.runs.run_table import RunTable
    from foretrain.simulator.predictor.predictor import Predictor

    rng = np.random.default_rng(0)
    params, tokens = 10 ** rng.uniform(7, 9, 30), 10 ** rng.uniform(9, 10.5, 30)
    loss = 1.7 + 400 * params**-0.34 + 1500 * tokens**-0.34
    noise = np.exp(0.003 * rng.standard_normal((2, 30)))
    frame = pd.DataFrame(
        {"params": params, "tokens": tokens, "loss": loss * noise[0], "loss.code": 0.6 * loss * noise[1]}
    )
    return Predictor.fit(RunTable.from_frame(frame))


def test_names_and_json(compared, web):
    assert compared.names == ("first", "again", "longer", "other")
    nameless = compare([{"model": {"params": "1B"}, "data": {"tokens": "20B"}}] * 2, web)
    assert nameless.names == ("plan 1", "plan 2")
    facts = compared.to_dict()
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["plans"][0]["difference"] == dict.fromkeys(FIGURES)
    told = facts["plans"][2]["difference"]["loss_nats"]
    assert set(told) == {"median", "intervals", "chance_lower"}
    assert "better with" in repr(compared)


def test_what_cannot_be_compared_is_said(web, plan):
    with pytest.raises(UsageError, match="at least two"):
        compare([run_plan()], web)
    large = RunConfig.from_mapping(
        run_plan("large", count=1).to_mapping(), overrides=["model.architecture.layers=200", "model.params=null"]
    )
    with pytest.raises(InfeasibleError, match=r"plan 2 \(large\): "):
        compare([run_plan(), large], web)
    with pytest.raises(InputError, match=r"plan 1: data\.mix"):
        compare([plan("1B", mix={"web": 1.0}), plan("1B", mix={"web": 1.0})], mixed_predictor())
    partly = compare([run_plan(), plan("1B")], web)
    assert "no times or cost of plan 2" in " ".join(partly.notes)
    assert "wall_clock_days" not in partly.differences[1]


def mixed_predictor():
    """A predictor that reads shares of two domains, neither of them web."""
    import pandas as pd
    from foretrain.datasets.runs.run_table import RunTable
    from foretrain.simulator.predictor.predictor import Predictor

    rng = np.random.default_rng(1)
    share = rng.uniform(0.1, 0.9, 24)
    frame = pd.DataFrame({"params": 1e8, "tokens": 2e9, "mix.code": share, "mix.books": 1 - share})
    frame["loss"] = 3.0 - 0.3 * np.sqrt(share) + 0.003 * rng.standard_normal(24)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # of one size
        return Predictor.fit(RunTable.from_frame(frame))
