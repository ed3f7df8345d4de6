"""Every example by every shipped predictor: the page agrees with itself and with JSON, measured steps or not.

The page is read back by benchmarks/_gate/printed.py, which the gate's cases of kind "page" share.
"""

import io
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from foretrain.simulator.cluster.estimate import estimate, plan_step
from foretrain.simulator.cluster.layout_choice import missing
from foretrain.simulator.cluster.step_time.calibrate import calibrate_on_plan
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.predictor.storage.folder import load, shipped
from foretrain.simulator.report.tables.cluster import estimate_view
from foretrain.simulator.report.tables.forecast import forecast_view
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from _gate.printed import check_chance, check_json, check_loss, check_machines, check_rows, read_page

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(
    path.stem for path in (ROOT / "examples").glob("*.yaml") if "model:" in path.read_text("utf-8").splitlines()
)
MACHINES = [name for name in EXAMPLES if not missing(RunConfig.load(str(ROOT / "examples" / f"{name}.yaml")))]
FACTORS = (1.0, 1.3)  # of the predicted step, measured


@cache
def step(example: str, factor: float | None):
    """An example's step by the shipped model, or by one calibrated on it."""
    config = RunConfig.load(str(ROOT / "examples" / f"{example}.yaml"))
    if factor is None:
        return plan_step(config)
    seconds = factor * float(step(example, None).time.total_s[0])
    return plan_step(config, calibrate_on_plan(config, [seconds])[0])


def plan(example: str, *overrides: str) -> RunConfig:
    return RunConfig.load(str(ROOT / "examples" / f"{example}.yaml"), overrides)


def printed(view, width: int = 10_000) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False, markup=False).print(view)
    return "\n".join(line.rstrip() for line in stream.getvalue().split("\n"))


def of(predictor: str, example: str, factor: float | None = None):
    """The forecast of an example, with the tokens of the predictor's runs where these had all the same."""
    overrides: tuple[str, ...] = ()
    if predictor == "routing-moe":
        overrides = ("data.tokens=131B", "data.unique_tokens=null")
        if "stages" in (ROOT / "examples" / f"{example}.yaml").read_text("utf-8"):
            overrides += ("data.stages=[]", "optim.stages=[]")  # they are stated in tokens of a longer run
    known = step(example, factor) if example in MACHINES else None
    return forecast(plan(example, *overrides), load(predictor), step=known)


def test_examples_are_found():
    assert len(EXAMPLES) >= 5
    assert len(MACHINES) >= 3


@pytest.mark.parametrize("example", EXAMPLES)
# proxies are too small for the runs of these plans
@pytest.mark.parametrize("predictor", [name for name in shipped() if name != "proxy-architectures"])
def test_a_forecast_agrees_with_itself(predictor, example):
    for factor in (None, 1.3) if example in MACHINES else (None,):
        result = of(predictor, example, factor)
        page, answer = read_page(printed(forecast_view(result))), result.to_dict()
        check_rows(page)
        check_json(page, answer)
        check_loss(page, answer)
        if result.cluster is not None:
            check_machines(page, answer)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("example", MACHINES)
def test_a_measured_step_is_the_answer_and_leaves_the_rest(example, factor):
    before, after = (estimate(plan(example), step=step(example, one)) for one in (None, factor))
    assert after.step_time_s.median == pytest.approx(
        factor * before.step_time_s.median, rel=5e-3
    )  # a mean of batches moves a little less
    assert after.overhead == before.overhead
    assert after.layout == before.layout
    assert after.wall_clock_days.median == pytest.approx(factor * before.wall_clock_days.median, rel=0.02)
    page = read_page(printed(estimate_view(after)))
    check_rows(page)
    check_json(page, after.to_dict())
    check_machines(page, after.to_dict())


@pytest.mark.parametrize("example", MACHINES)
def test_chances_are_those_of_the_intervals(example):
    """At the ends of an interval and at the median a deadline, a budget and a loss have the chances that these mean."""
    first = of("web-text", example)
    cluster = first.cluster
    assert cluster is not None
    loss, days, cost = first.headline.loss_nats, cluster.wall_clock_days, cluster.cost_usd
    for share in (0.05, 0.5, 0.95):
        at = [one.quantile(share) for one in (loss, days, cost)]
        targets = f"targets={{loss_nats: {at[0]!r}, deadline: {at[1]!r}d, budget_usd: {at[2]!r}}}"
        again = forecast(plan(example, targets), load("web-text"), step=step(example, None))
        check_chance(again.p_target, share)
        check_chance(again.cluster.p_deadline, share)
        check_chance(again.cluster.p_budget, share)
        assert again.p_all <= min(again.p_target, again.cluster.p_deadline, again.cluster.p_budget) + 0.015


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_page_stays_within_the_terminal(example):
    text = printed(forecast_view(of("web-text", example)), width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_huge_and_tiny_runs_are_printed_in_a_sensible_form():
    for overrides in (
        ("data.tokens=100M", "optim=null", "optim.batch_tokens=1M"),
        ("data.tokens=1000T", "hardware.count=8"),
        ("model={params: 1B}", "data.tokens=1M", "optim=null"),
    ):
        result = forecast(plan("llama-7b", "targets=null", *overrides), load("web-text"))
        text = printed(forecast_view(result), width=80)
        assert max(map(len, text.splitlines())) <= 80
        assert not any(len(word.strip("(),")) > 14 and word[0].isdigit() for word in text.split()), text


def test_mixes_that_are_read_sum_to_one():
    for example in EXAMPLES:
        mix = plan(example).data.mix
        if mix is not None:
            assert np.sum(list(mix.values())) == pytest.approx(1)


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("outside steps                 25%", "outside steps                 20%"),
        ("476,837", "480,000"),
        ("matmul 76%", "matmul 74%"),
        ("irreducible (E) 0.", "irreducible (E) 1."),
        ("2 USD a GPU-hour", "3 USD a GPU-hour"),
        ("PUE 1.2", "PUE 1.1"),
    ],
)
def test_a_page_that_contradicts_itself_is_found(written, instead):
    result = of("web-text", "llama-7b")
    text = printed(forecast_view(result))
    assert written in text
    page, answer = read_page(text.replace(written, instead)), result.to_dict()
    check = check_loss if "irreducible" in written else check_machines
    with pytest.raises(AssertionError):
        check(page, answer)
