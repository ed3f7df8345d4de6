"""Logs whose steps count the calls of a logger instead of optimizer steps, and those that only look so."""

import numpy as np
import pytest
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.tracking.track import predictor_for, track

LAST = 60_000  # of 100,000 steps
PEAK, FINAL, WARMUP = 6e-4, 6e-5, 2_000


def loss(step):
    """As a small GPT on web text falls."""
    return 3.0 + 7.95 / np.sqrt(1 + step / 160)


def rate(step):
    cosine = FINAL + 0.5 * (PEAK - FINAL) * (1 + np.cos(np.pi * (step - WARMUP) / (100_000 - WARMUP)))
    return np.where(step < WARMUP, PEAK * step / WARMUP, cosine)


@pytest.fixture(scope="module")
def config():
    return RunConfig.from_mapping({
        "name": "small",
        "model": {"params": "124M", "vocab_size": 50304, "context_length": 1024},
        "data": {"tokens": "49.152B", "corpus": "web"},
        "optim": {
            "lr": PEAK, "lr_final": FINAL, "batch_tokens": 491_520, "schedule": "cosine", "warmup_steps": WARMUP,
        },
    })  # fmt: skip


@pytest.fixture(scope="module")
def predictor(config):
    return predictor_for(config, None)


def axis(result):
    return [notice for notice in result.notices if notice.kind == "step_axis"]


@pytest.mark.parametrize(("first", "last", "every"), [(0, LAST, 500), (0, 119, 1), (500, 2_000, 10)])
def test_true_steps_have_no_notice(config, predictor, write_log, first, last, every):
    step = np.arange(first, last + 1, every)
    result = track(config, write_log(step=step, loss=loss(step)), predictor)
    assert (result.log.now, axis(result)) == (last, [])


@pytest.mark.parametrize("multiple", [250, 500, 1000])
def test_losses_that_no_run_has_so_early(config, predictor, write_log, multiple):
    step = np.arange(0, LAST + 1, multiple)
    (notice,) = axis(track(config, write_log(step=np.arange(len(step)), loss=loss(step)), predictor))
    assert notice.serious
    words = notice.text.split()
    about = float(words[words.index("about") + 1])
    # losses alone tell the multiple roughly
    assert multiple / 2.5 <= about <= 2.5 * multiple
    assert f"such as --step-unit {about:g}steps" in notice.text


def test_ten_steps_to_a_record_may_be_a_fast_run(config, predictor, write_log):
    step = np.arange(0, LAST + 1, 10)
    result = track(config, write_log(step=np.arange(len(step)), loss=loss(step)), predictor)
    assert (result.verdict, axis(result)) == ("too early", [])


@pytest.mark.parametrize("multiple", [10, 250, 500, 1000])
def test_conversion_by_learning_rates_converts_by_itself(config, predictor, write_log, multiple):
    step = np.arange(0, LAST + 1, multiple)
    log = write_log(step=np.arange(len(step)), loss=loss(step), lr=rate(step))
    result = track(config, log, predictor)
    assert (result.log.now, result.verdict) == (LAST, "on track")
    (notice,) = axis(result)
    assert f"{multiple} steps each, and is read so" in notice.text
    assert track(config, log, predictor, unit="steps").log.now == len(step) - 1


@pytest.mark.parametrize("earlier", [range(0, 30_000, 500), range(0, LAST + 1, 500)])
def test_of_two_runs_in_one_file_the_last_counts(config, predictor, write_log, earlier):
    step = np.r_[np.array(earlier), np.arange(0, LAST + 1, 500)]
    result = track(config, write_log(step=step, loss=loss(step)), predictor)
    assert (result.log.now, len(result.log.loss), axis(result)) == (LAST, LAST // 500 + 1, [])
    (notice,) = result.notices
    assert notice.serious
    assert f"the {len(earlier)} points before it are left out; is it all one run?" in notice.text


@pytest.mark.parametrize("source", ["target", "predictor"])
def test_the_planned_band_ends_around_the_planned_value(config, predictor, write_log, source):
    """The page, the chart and the JSON speak of one planned curve."""
    from foretrain.simulator.report.charts.runs.track import planned_rows

    plan = config if source == "predictor" else RunConfig.from_mapping(config.model_dump(exclude_none=True))
    if source == "target":
        plan = plan.model_copy(update={"targets": plan.targets.model_copy(update={"loss_nats": 3.1})})
    step = np.arange(0, LAST + 1, 500)
    result = track(plan, write_log(step=step, loss=loss(step)), predictor if source == "predictor" else None)
    assert result.plan.source == source
    band = planned_rows(result)
    assert band[-1]["step"] == result.steps
    assert band[-1]["low90"] < result.plan.loss_nats < band[-1]["high90"]
    assert band[-1]["median"] == pytest.approx(result.plan.loss_nats, rel=0.01)
