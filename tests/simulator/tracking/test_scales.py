"""Units: optimizer steps out of tokens, samples and micro-batches; nats out of perplexities and bits."""

import math

import numpy as np
import pytest
from foretrain.core.errors import LogError, UsageError
from foretrain.datasets.run_logs.columns import RawLog
from foretrain.simulator.curve.rates.planned_rates import path_of
from foretrain.simulator.tracking.scales import in_nats, step_unit

BATCH, CONTEXT, STEPS = 4096, 512, 10_000


def raw(step, loss=3.0, lr=np.nan, tokens=np.nan, axis="steps", kind="nats") -> RawLog:
    step = np.asarray(step, dtype=float)
    columns = [np.broadcast_to(np.asarray(values, float), step.shape) for values in (loss, lr, np.nan, tokens)]
    return RawLog("log", step, *columns, np.arange(len(step)), axis, "step", "loss", kind)


def unit_of(log: RawLog, config, stated="auto"):
    return step_unit(log, np.arange(len(log.step)), config, path_of(config), stated)


STEP = np.arange(50, 6001, 50)


@pytest.mark.parametrize(
    ("log", "stated", "name", "per_step"),
    [
        (raw(STEP), "auto", "steps", 1),
        (raw(STEP, tokens=STEP * BATCH), "auto", "steps", 1),
        (raw(STEP * BATCH), "auto", "tokens", BATCH),
        (raw(STEP * BATCH, axis="tokens"), "auto", "tokens", BATCH),
        (raw(STEP * BATCH / CONTEXT), "auto", "samples", BATCH / CONTEXT),
        (raw(STEP * BATCH / CONTEXT, axis="samples"), "auto", "samples", BATCH / CONTEXT),
        (raw(STEP * 4, tokens=STEP * BATCH), "auto", "micro-batches", 4),
        (raw(STEP), "steps", "steps", 1),
        (raw(STEP * 1000), "tokens", "tokens", BATCH),
        (raw(STEP), "samples", "samples", BATCH / CONTEXT),
        (raw(STEP), "steps/8", "micro-batches", 8),
    ],
)
def test_what_a_log_counts(plan, log, stated, name, per_step):
    unit = unit_of(log, plan(), stated)
    assert (unit.name, unit.per_step) == (name, per_step)
    assert [notice.kind for notice in unit.notices] == ([] if name == "steps" or "/" in stated else ["step_unit"])


@pytest.mark.parametrize("micro", [2, 8, 37])
def test_micro_batches_are_told_by_learning_rates(plan, micro):
    config = plan()
    rate = 1e-3 * path_of(config).rate
    step = np.arange(20, 6000 * micro, 20)
    unit = unit_of(raw(step, lr=rate[step // micro]), config)
    assert (unit.name, unit.per_step) == ("micro-batches", micro)
    assert "by its learning rates" in unit.notices[0].text


def test_a_schedule_that_differs_is_no_other_unit(plan):
    """A constant rate beside a planned cosine once passed for micro-batches that never leave the plateau."""
    rate = 1e-3 * np.minimum(1, STEP / 200)
    assert unit_of(raw(STEP, lr=rate), plan()).per_step == 1


def test_rates_of_the_plan_leave_steps_as_they_are(plan):
    rate = 1e-3 * path_of(plan()).rate
    assert unit_of(raw(STEP, lr=rate[STEP]), plan()).per_step == 1


def test_another_batch_is_said(plan):
    unit = unit_of(raw(STEP, tokens=STEP * BATCH * 1.3), plan())
    assert unit.per_step == pytest.approx(1 / 1.3)
    assert (unit.notices[0].kind, unit.notices[0].serious) == ("other_config", True)
    assert "5.32k tokens per step; the plan's optim.batch_tokens is 4.10k" in unit.notices[0].text


def test_steps_in_no_known_unit(plan):
    with pytest.raises(LogError, match=r"runs to 60007, the plan to step 10000: expected .*--step-unit tokens"):
        unit_of(raw(np.arange(20_007, 60_008, 50)), plan())


def test_a_run_that_goes_on_beyond_its_plan_still_counts_steps(plan):
    assert unit_of(raw(np.arange(37, 12_000, 50)), plan()).per_step == 1


def test_units_that_are_stated_wrongly(plan):
    with pytest.raises(UsageError, match=r"--step-unit: got 'epochs'; expected auto, steps, tokens, samples"):
        unit_of(raw(STEP), plan(), "epochs")
    config = plan()
    config = config.model_copy(update={"model": config.model.model_copy(update={"stated_context_length": None})})
    with pytest.raises(LogError, match=r"expected model\.context_length in the plan"):
        unit_of(raw(STEP), config, "samples")


LOSS = np.linspace(3.6, 3.0, 20)
FIRST = np.arange(1, 21) * 100.0


@pytest.mark.parametrize(
    ("kind", "loss", "said"),
    [
        ("nats", LOSS, []),
        ("perplexity", np.exp(LOSS), ["a perplexity, exp(nats)"]),
        ("bits", LOSS / math.log(2), ["in bits per token"]),
        ("bits per byte", LOSS / math.log(2) / 4, ["in bits per byte"]),
        ("nats", np.exp(LOSS), ["a perplexity: half of it lies above"]),
    ],
)
def test_losses_become_nats(plan, kind, loss, said):
    config = plan(data__bytes_per_token=4.0)
    nats, notices = in_nats(raw(FIRST, loss, kind=kind), FIRST, loss, config, 2.9)
    np.testing.assert_allclose(nats, LOSS)
    assert len(notices) == len(said)
    assert all(text in notice.text for text, notice in zip(said, notices, strict=True))


def test_bits_are_told_by_where_they_start(plan):
    loss = np.append(10.02, LOSS / math.log(2))  # log2 of 1024 tokens is 10
    step = np.append(0.0, FIRST)
    nats, notices = in_nats(raw(step, loss), step, loss, plan(), 2.9)
    np.testing.assert_allclose(nats[1:], LOSS)
    assert "in bits: it starts at 10.02, and log2 of the vocabulary is 10" in notices[0].text


def test_losses_in_no_known_unit(plan):
    with pytest.raises(LogError, match=r"loss: half of it lies above 3e\+05, and guessing evenly.* 6.93 nats"):
        in_nats(raw(FIRST, 3e5), FIRST, np.full(20, 3e5), plan(), 2.9)
    with pytest.raises(LogError, match=r"expected data\.bytes_per_token"):
        in_nats(raw(FIRST, 1.0, kind="bits per byte"), FIRST, np.ones(20), plan(), 2.9)
