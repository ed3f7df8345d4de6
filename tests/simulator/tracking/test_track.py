"""Runs that follow their plan, run ahead of it, fall behind, jump or diverge."""

import json
import math

import numpy as np
import pytest
from foretrain.core.errors import ConfigError, InputError, LogError
from foretrain.simulator.curve.law.transfer import Library
from foretrain.simulator.curve.library import Curve
from foretrain.simulator.curve.rates.planned_rates import path_of
from foretrain.simulator.predictor.storage.folder import load
from foretrain.simulator.tracking.relatives import prior_from
from foretrain.simulator.tracking.track import predictor_for, track
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_run_that_follows_its_plan_is_on_track(plan, losses, write_log, share):
    step, loss = losses(share)
    result = track(plan(), write_log(step=step, loss=loss))
    assert (result.verdict, result.ok, result.shift, result.notices) == ("on track", True, None, ())
    low, high = result.loss_nats.intervals[0.95]
    assert low < plan().targets.loss_nats < high


@pytest.mark.parametrize(("target", "verdict", "ok"), [(2.5, "behind", False), (3.4, "ahead", True)])
def test_against_another_target(plan, losses, write_log, target, verdict, ok):
    step, loss = losses(0.6)
    result = track(plan(targets__loss_nats=target), write_log(step=step, loss=loss))
    assert (result.verdict, result.ok) == (verdict, ok)
    assert result.sentence.startswith(f"{verdict} at step 6000 of 10000 (60%): final loss ")
    assert result.p_target == pytest.approx(float(target > 3), abs=0.02)


def test_a_target_that_is_hardly_reached_is_missed(plan, losses, write_log):
    """A job .03 nats above its target read "on track" with a chance of 8 %, inside its 90 % interval."""
    step, loss = losses(0.6)
    log = write_log(step=step, loss=loss)
    end = track(plan(), log).belief.final()
    for z, verdict in ((1.45, "behind"), (1.1, "on track")):
        target = float(end.loss[0] * np.exp(-z * end.log_sd[0]))
        result = track(plan(targets__loss_nats=target), log)
        assert (result.verdict, result.ok) == (verdict, verdict == "on track")
        assert result.p_target == pytest.approx(0.5 * math.erfc(z / math.sqrt(2)), rel=0.02)
        assert ("; 7% chance of the target" in result.sentence) == (verdict == "behind")


def test_a_plan_far_beyond_the_public_curves_is_said_to_be(plan, losses, write_log):
    step, loss = losses(0.6)
    log = write_log(step=step, loss=loss)
    near, far = (track(plan(model__params=size), log) for size in ("10M", "5T"))
    assert near.belief.prior.name == far.belief.prior.name == "public curves"
    assert (near.notices, [notice.kind for notice in far.notices]) == ((), ["curves"])
    assert "5.00T parameters (they have 25.0M to 33.7B): far beyond the public curves" in far.notices[0].text
    assert far.belief.final().log_sd[0] > near.belief.final().log_sd[0]


def test_a_jump_of_the_loss_is_noticed(plan, losses, write_log):
    step, loss = losses(0.6)
    result = track(plan(), write_log(step=step, loss=np.where(step > 5000, 1.02, 1.0) * loss))
    assert not result.ok
    assert 4800 <= result.shift.since <= 5000
    assert result.shift.size == pytest.approx(0.02, abs=0.005)
    assert "the loss stands 2." in result.sentence or "the loss stands 1.9" in result.sentence


def test_spikes_are_counted_and_said(plan, losses, write_log):
    step, loss = losses(0.6)
    result = track(plan(), write_log(step=step, loss=np.where(np.isin(step, [3000, 4050]), 1.3 * loss, loss)))
    assert (result.verdict, result.shift) == ("on track", None)
    assert [notice.text.partition(": ")[2] for notice in result.notices] == [
        "2 spikes of the loss, far above their neighbours, don't count"
    ]


def test_a_run_that_diverged(plan, losses, write_log):
    step, loss = losses(0.6)
    result = track(plan(), write_log(step=step, loss=np.where(step > 5500, np.nan, loss)))
    assert (result.verdict, result.ok, result.log.diverged_at) == ("diverged", False, 5550)
    assert (result.loss_nats, result.p_target) == (None, None)
    assert result.sentence == "diverged: no finite loss since step 5550"


def test_too_early_to_tell(plan, losses, write_log):
    step, loss = losses(0.05)
    result = track(plan(targets__loss_nats=1.0), write_log(step=step, loss=loss))
    assert (result.verdict, result.ok) == ("too early", True)


def test_in_the_warm_up_nothing_is_forecast(plan, losses, write_log):
    """A point in the warm-up once made the forecast 1e-6 nats, with an interval that overflowed."""
    step, loss = losses(0.03)
    for count in (1, len(step)):
        result = track(plan(), write_log(step=step[:count] - 50, loss=loss[:count]))
        assert (result.verdict, result.ok, result.loss_nats, result.z) == ("too early", True, None, None)
        assert result.sentence.startswith("too early to tell at step ")
    result = track(plan(), write_log(step=step, loss=loss), load("web-text"))
    assert result.loss_nats.median == pytest.approx(result.plan.loss_nats, rel=2e-3)


def test_a_restart_changes_nothing_but_the_notes(plan, losses, write_log):
    step, loss = losses(0.6)
    plain = track(plan(), write_log(step=step, loss=loss))
    worse = np.concatenate([loss[:80], 1.2 * loss[80:100], loss[80:]])
    again = track(plan(), write_log(step=np.concatenate([step[:100], step[80:]]), loss=worse))
    assert [notice.kind for notice in again.notices] == ["restart"]
    assert again.loss_nats == plain.loss_nats


@pytest.mark.parametrize("factor", [4096, 8])
def test_units_change_nothing_but_the_notes(plan, losses, write_log, factor):
    step, loss = losses(0.6)
    plain = track(plan(), write_log(step=step, loss=loss))
    other = track(plan(), write_log(step=step * factor, loss=np.exp(loss)))
    assert [notice.kind for notice in other.notices] == ["step_unit", "loss_unit"]
    assert other.loss_nats.median == pytest.approx(plain.loss_nats.median, rel=1e-9)


def test_points_beyond_the_plan(plan, losses, write_log):
    step, loss = losses(1.0)
    result = track(plan(), write_log(step=np.append(step, [10_050, 10_100]), loss=np.append(loss, loss[-2:])))
    assert [(n.kind, n.serious) for n in result.notices] == [("beyond", True)]
    assert result.log.now == 10_000


def test_against_a_predictor_and_its_interval(plan, losses, write_log):
    step, loss = losses(0.6)
    predictor = load("web-text")
    result = track(plan(), write_log(step=step, loss=loss), predictor)
    assert result.plan.source == "predictor"
    assert result.plan.log_sd > 0.01
    # the anchor pulls a little, and never beyond the plan
    alone = track(plan(), write_log(step=step, loss=loss)).loss_nats.median
    assert abs(result.loss_nats.median / alone - 1) < 0.01


def test_the_difference_to_the_plan(plan, losses, write_log):
    step, loss = losses(0.6)
    result = track(plan(), write_log(step=step, loss=loss))
    difference, planned = result.difference_nats, result.plan.loss_nats
    assert difference.median == pytest.approx(result.loss_nats.median - planned)
    for level, ends in result.loss_nats.intervals.items():
        assert difference.intervals[level] == pytest.approx([end - planned for end in ends])
    assert difference.chance_lower == pytest.approx(result.p_target), "the plan is the target here"


def test_which_predictor_is_taken(plan):
    assert predictor_for(plan(), None) is None
    bare = plan().model_copy(update={"targets": type(plan().targets)()})
    assert predictor_for(bare, None).name == "web-text"
    assert predictor_for(plan(), "olmo-c4").name == "olmo-c4"


def test_curves_of_relatives_narrow_the_forecast(plan, losses, write_log):
    config = plan()
    step, loss = losses(1.0)
    library = Library([Curve("small", "ours", 1.02e7, path_of(config), step, loss)])
    log = write_log(step=step[:60], loss=loss[:60])
    known = track(config, log, curves=prior_from(library, config, "ours"))
    assert known.belief.prior.name == "known size", "a size within 5 % is the same"
    plain = track(config, log)
    assert np.ptp(known.loss_nats.intervals[0.9]) < np.ptp(plain.loss_nats.intervals[0.9])
    assert track(config, log, curves=prior_from(library, config, "others")).belief.prior.name == "generic"


def test_bits_that_nothing_else_gives_away_are_suspected(plan, losses, write_log):
    step, loss = losses(0.6)
    result = track(plan(), write_log(step=step, loss=loss / math.log(2)))
    assert [notice.text for notice in result.notices if "is the loss in bits?" in notice.text]


def test_plain_values(plan, losses, write_log):
    step, loss = losses(0.5)
    facts = track(plan(), write_log(step=step, loss=loss, timestamp=1.7e9 + 2 * step)).to_dict()
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert set(facts) == {
        "name", "verdict", "ok", "sentence", "z", "shift", "plan", "loss_nats", "perplexity", "difference_nats",
        "p_target", "branches", "step", "steps", "progress", "tokens", "points", "spikes", "last_loss_nats",
        "diverged_at_step", "log", "metric", "step_unit", "prior", "time", "notices", "config", "version",
    }  # fmt: skip
    assert facts["time"]["step_time_s"] == pytest.approx(2)


def test_a_plan_without_a_schedule(plan, losses, write_log):
    step, loss = losses(0.5)
    config = plan()
    bare = config.model_copy(update={"optim": config.optim.model_copy(update={"schedule": None})})
    with pytest.raises(ConfigError, match=r"optim\.schedule: is missing"):
        track(bare, write_log(step=step, loss=loss))


def test_a_log_of_another_part_of_training(plan, write_log):
    with pytest.raises(LogError, match="begins at step 20000; the plan ends at step 10000"):
        track(plan(), write_log(step=[20_000, 20_010], loss=[3.0, 3.0]), unit="steps")


@pytest.mark.parametrize("count", [1, 2, 5, 7])
def test_a_few_points_are_too_early(plan, losses, write_log, count):
    step, loss = losses(0.6, every=500)
    result = track(plan(), write_log(step=step[:count], loss=loss[:count]))
    assert result.verdict == ("too early" if count < 6 else "on track")
    assert math.isfinite(result.loss_nats.median)


_CELLS = st.one_of(
    st.sampled_from([None, True, "NaN", "inf", "", "x", 0, -1, 1e-300, 1e300, 10**400, float("nan"), [], {}]),
    st.floats(0, 20_000),
)
_EDITS = st.lists(
    st.tuples(
        st.integers(0, 29), st.sampled_from(["step", "loss", "lr", "timestamp", "tokens", "cut", "move"]), _CELLS
    ),
    max_size=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(_EDITS)
def test_a_damaged_log_has_an_answer_or_an_error(plan, losses, tmp_path, edits):
    """Whatever a logger may write: never anything but our own errors, and never an answer that isn't finite."""
    step, loss = losses(0.6, every=200)
    rows: list[dict] = [{"step": float(s), "loss": float(v), "lr": 1e-3} for s, v in zip(step, loss, strict=True)]
    for at, what, value in edits:
        if what == "move":
            rows.insert(int(value) % len(rows) if isinstance(value, int) else 0, rows.pop(at % len(rows)))
        else:
            rows[at % len(rows)][what] = value
    lines = [json.dumps(row)[: 9 if "cut" in row else None] for row in rows]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    try:
        result = track(plan(), path)
    except InputError:
        return
    assert result.loss_nats is None or math.isfinite(result.loss_nats.median)
    json.dumps(result.to_dict(), allow_nan=False)
    assert result.sentence
