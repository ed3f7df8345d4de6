"""Pictures of runs: titles agree with verdicts, intervals with what they held, and logs may be long and odd."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from foretrain.core.errors import UsageError
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.curve.forecasting import Run, forecast_curve
from foretrain.simulator.curve.law.transfer import Library
from foretrain.simulator.curve.rates.path import RatePath
from foretrain.simulator.report import words
from foretrain.simulator.report.charts.runs.calibration import backtest_pictures, calibration_picture
from foretrain.simulator.report.charts.runs.curve import curve_picture
from foretrain.simulator.report.charts.runs.track import track_picture
from foretrain.simulator.tracking.track import track

BATCH, STEPS = 4096, 1000


def logged(step: float) -> float:
    """A power law that ends at 3 nats after 1000 steps."""
    return (2.7 + 0.3 * (step / 1000) ** -0.5) * (1 + 1e-3 * math.sin(7.0 * step))


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """`tracked(target, change, last)`: a run of which a share is logged, each told once."""
    known = {}

    def told(target: float = 3.0, change=lambda step, loss: loss, last: int = 600, every: int = 10, name="small"):
        key = (target, change, last, every, name)
        if key not in known:
            folder = tmp_path_factory.mktemp("log")
            lines = [f"{step},{change(step, logged(step))}" for step in range(every, last + 1, every)]
            (folder / "log.csv").write_text("\n".join(["step,loss", *lines]) + "\n", encoding="utf-8")
            config = RunConfig.from_mapping({
                "name": name,
                "model": {"params": "10M"},
                "data": {"tokens": STEPS * BATCH},
                "optim": {"batch_tokens": BATCH, "lr": 1e-3, "schedule": "constant", "warmup_steps": 20},
                "targets": {"loss_nats": target},
            })  # fmt: skip
            known[key] = track(config, folder / "log.csv")
        return known[key]

    return told


def jumped(step, loss):
    return loss * (1.03 if step > 500 else 1.0)


def diverged(step, loss):
    return math.nan if step > 550 else loss


CASES = {
    "on track": (3.0, lambda step, loss: loss, 600, "On track: will end near "),
    "ahead": (3.4, lambda step, loss: loss, 600, "Ahead: will end near "),
    "behind": (2.7, lambda step, loss: loss, 600, "Behind: will end near "),
    "too early": (3.0, lambda step, loss: loss, 40, "Too early to tell: step 40 of 1,000"),
    "diverged": (3.0, diverged, 600, "Diverged: no finite loss since step 560"),
}


@pytest.mark.parametrize("verdict", CASES)
def test_titles_agree_with_verdicts(drawn, tracked, verdict):
    target, change, last, title = CASES[verdict]
    result = tracked(target, change, last)
    assert (result.verdict, result.shift) == (verdict, None)
    picture = track_picture(result)
    assert picture.title.startswith(title)
    shown = drawn(picture)
    assert {"as planned", "logged", f"target {words.plain(target, 0.5)}"} <= set(shown)
    now = [text for text in shown if text.startswith("now, ")]
    if verdict == "diverged":
        assert not now
        assert "no finite loss since" in shown
    else:
        assert set(now) == {f"now, {last // 10} %"}
    if verdict in ("on track", "ahead", "behind"):
        low, high = result.loss_nats.intervals[0.9]
        said = float(picture.title.split("near ")[1].split(",")[0].split(";")[0])
        assert low <= said <= high
        assert any(text.startswith(f"{said:.2f}") for text in shown)
    if verdict in ("ahead", "behind"):
        assert f"the planned {target:.2f}" in picture.title


@pytest.mark.parametrize("target", [3.0, 3.4, 2.7])
def test_a_run_that_has_jumped_is_titled_so_whatever_its_verdict(drawn, tracked, target):
    result = tracked(target, jumped)
    assert result.shift is not None
    picture = track_picture(result)
    assert picture.title.startswith(f"Jumped by {100 * result.shift.size:.2g} % at step {result.shift.since:.0f}: ")
    assert not any(word in picture.title.lower() for word in ("on track", "ahead", "behind"))
    assert f"+{100 * result.shift.size:.2g} % since {result.shift.since:.0f}" in drawn(picture)
    assert ("jump", f"+{100 * result.shift.size:.2g} % since step {result.shift.since:.0f}") in picture.numbers.rows


def test_a_long_log_is_thinned(drawn, tracked):
    result = tracked(3.0, CASES["on track"][1], 900, 1)
    assert len(result.log.step) > 800
    drawn(track_picture(result))


def test_names_of_logs_are_harmless(drawn, tracked, hostile):
    result = tracked()
    odd = SimpleNamespace(text=f"{hostile}: is odd", serious=True)
    fields = {**vars(result), "notices": (odd, odd, odd), "steps": result.steps}
    picture = track_picture(SimpleNamespace(**fields))  # type: ignore[arg-type]
    drawn(picture, 320)
    assert len(picture.caption) < 1000


# a planned curve


@pytest.fixture(scope="module")
def planned():
    rate = np.concatenate([np.linspace(0, 1, 500), np.ones(16_000), np.linspace(1, 0.1, 3_500)])
    return forecast_curve(Library([]), Run("toy", 25e6, RatePath(rate), batch_tokens=1e6), final=(3.2, 0.01))


def test_a_planned_curve_ends_at_what_its_title_says(drawn, planned):
    picture = curve_picture(planned)
    low, high = planned.final.intervals[0.9]
    width = high - low
    median, ends = words.plain(planned.final.median, width), words.interval(planned.final, words.LOSS)
    assert picture.title == f"The run will end at {median} nats (90 %: {ends})"
    assert {f"{median} ({ends})", "learning rate, of its peak", "optimizer step"} <= set(drawn(picture))
    assert picture.numbers.rows[-1][0] == "20,000"


def test_names_of_families_are_harmless(drawn, planned, hostile):
    odd = replace(planned, run=Run(hostile, 25e6, planned.run.path, name=hostile))
    drawn(curve_picture(odd), 320)


def test_a_run_that_leaves_the_planned_one_is_drawn_to_its_end(drawn, planned):
    rate = np.concatenate([planned.run.path.rate[:10_000], np.linspace(1, 0, 2_000)])
    found = replace(planned, run=replace(planned.run, branches=(("early cooldown", RatePath(rate)),)))
    step, loss = found.branch_ends["early cooldown"]
    picture = curve_picture(found)
    assert {f"early cooldown {loss.median:.2f}"} <= set(drawn(picture))
    assert picture.numbers.rows[-1][:2] == (f"early cooldown, {step:,}", f"{loss.median:.3f}")
    drawn(picture, 320)


# back-tests


def outcomes(count: int, error, seed: int = 0):
    """Predictions of `count` runs with intervals of 1 % (one sd), and what was observed `error` sds away."""
    predicted = np.exp(np.random.default_rng(seed).normal(1.0, 0.15, count))
    ends = [predicted * np.exp(z * 0.01) for z in (-0.674, 0.674, -1.645, 1.645)]
    return [predicted, *ends, predicted * np.exp(0.01 * np.asarray(error))]


@pytest.mark.parametrize(
    ("errors", "title", "half"),
    [
        ([0.1] * 30 + [1.0] * 24 + [2.0] * 6, "54 of 60 inside the 90 % interval, as promised", "30 of 60"),
        ([0.1] * 20 + [1.0] * 20 + [-2.0] * 20, "40 of 60 inside the 90 % interval: too narrow", "20 of 60"),
        ([0.1] * 90, "90 of 90 inside the 90 % interval: wider than needed", "90 of 90"),
        ([0.1] * 3, "3 of 3 inside the 90 % interval: too few to judge", "3 of 3"),
    ],
)
def test_the_title_of_a_calibration_counts_and_judges(drawn, errors, title, half):
    names = [f"run {place}" for place in range(len(errors))]
    picture = calibration_picture(*outcomes(len(errors), errors), names)
    assert picture.title == title
    assert f"{half} inside the 50 %" in picture.subtitle
    shown = drawn(picture)
    outside = [name for name, error in zip(names, errors, strict=True) if abs(error) > 1.645]
    assert len([text for text in shown if text in outside]) == 2 * min(3, len(outside)), "each with its rim"


def test_many_back_tested_runs_of_any_name(drawn, hostile):
    errors = np.random.default_rng(1).normal(0, 1, 2000)
    drawn(calibration_picture(*outcomes(2000, errors), [hostile] * 2000, of=hostile), 320)


def test_pictures_of_back_tests_by_target(drawn, hostile):
    predicted, low50, high50, low90, high90, observed = outcomes(20, [0.5] * 20)
    points = [
        {
            "params": 1e8,
            "tokens": 2e9,
            "predicted_nats": predicted[at],
            "observed_nats": observed[at],
            "intervals": {"0.5": [low50[at], high50[at]], "0.9": [low90[at], high90[at]]},
        }
        for at in range(20)
    ]
    results = {"loss": {"chosen": "chinchilla", "points": points}, f"loss.{hostile}": {"chosen": "x", "points": points}}
    found = backtest_pictures({**results, "loss.none": {"chosen": "x", "points": []}}, f"{hostile}.csv")
    assert [picture.name for picture in found] == ["calibration", "calibration-2"]
    for picture in found:
        drawn(picture, 320)
    assert backtest_pictures({"loss": {"chosen": "x", "points": []}}, "runs.csv") == []
    with pytest.raises(UsageError, match="nothing to draw"):
        calibration_picture([], [], [], [], [], [], [])
