"""Records in rising order: restarts, repeats, slips of the logger and losses that are no numbers, each named."""

import numpy as np
import pytest
from foretrain.core.errors import LogError
from foretrain.datasets.run_logs.columns import RawLog
from foretrain.datasets.run_logs.order import in_order
from hypothesis import given
from hypothesis import strategies as st


def raw(step, loss=None) -> RawLog:
    step = np.array(step, dtype=float)
    loss = 3.0 + 0.01 * np.arange(len(step)) if loss is None else np.array(loss, dtype=float)
    nothing = np.full(len(step), np.nan)
    lines = np.arange(1, len(step) + 1)
    return RawLog("log", step, loss, nothing, nothing, nothing, lines, "steps", "step", "loss", "nats")


def kinds(ordered) -> list[str]:
    return [notice.kind for notice in ordered.notices]


def test_a_log_in_order_is_left_alone():
    ordered = in_order(raw([1, 2, 3]))
    assert (ordered.index.tolist(), ordered.diverged_at, ordered.notices) == ([0, 1, 2], None, ())


def test_after_a_restart_the_later_pass_counts():
    ordered = in_order(raw([10, 20, 30, 40, 50, 25, 35, 45, 55]))
    assert ordered.index.tolist() == [0, 1, 5, 6, 7, 8]
    assert kinds(ordered) == ["restart"]
    assert ordered.notices[0].text == (
        "log: line 6: step falls back from 50 to 25, a restart from a checkpoint: the 3 points done again count as "
        "they were the last time"
    )


def test_a_restart_after_a_divergence_says_so():
    ordered = in_order(raw([10, 20, 30, 40, 25, 35], [4, 3, np.nan, np.inf, 3, 3]))
    assert (ordered.index.tolist(), ordered.diverged_at, kinds(ordered)) == ([0, 1, 4, 5], None, ["restart"])
    assert "2 of them without a finite loss" in ordered.notices[0].text


def test_a_start_from_the_beginning_is_doubted():
    ordered = in_order(raw([10, 20, 30, 10, 20]))
    assert (ordered.index.tolist(), kinds(ordered), ordered.notices[0].serious) == ([3, 4], ["reset"], True)


def test_steps_that_are_written_twice():
    ordered = in_order(raw([10, 20, 20, 30]))
    assert (ordered.index.tolist(), kinds(ordered)) == ([0, 2, 3], ["repeated"])


def test_a_slip_of_the_logger_is_no_restart():
    """A single record of step 0 in the middle once threw away all that came before it."""
    ordered = in_order(raw([10, 20, 0, 30, 40]))
    assert (ordered.index.tolist(), kinds(ordered)) == ([0, 1, 3, 4], ["repeated"])


def test_a_log_that_is_not_sorted_is_sorted():
    ordered = in_order(raw([50, 40, 30, 20, 10]))
    assert (ordered.index.tolist(), kinds(ordered)) == ([4, 3, 2, 1, 0], ["unsorted"])


def test_losses_that_are_no_numbers():
    ordered = in_order(raw([1, 2, 3, 4, 5, 6], [4, np.nan, 3, 3, np.inf, np.nan]))
    assert (ordered.index.tolist(), ordered.diverged_at, kinds(ordered)) == ([0, 2, 3], 5.0, ["not_finite", "diverged"])
    assert ordered.notices[1].serious


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ([3, 0], "line 2: loss: got 0; expected a cross-entropy above 0"),
        ([3, -np.inf], "line 2: loss: got -inf"),
        ([np.nan, np.nan], "loss: no finite loss; the first is at step 1"),
    ],
)
def test_what_no_cross_entropy_can_be(loss, message):
    with pytest.raises(LogError, match=message):
        in_order(raw([1, 2], loss))


@given(st.lists(st.tuples(st.integers(0, 30), st.one_of(st.just(np.nan), st.floats(0.1, 9))), min_size=1, max_size=40))
def test_whatever_the_order_steps_rise_and_losses_are_finite(points):
    log = raw(*zip(*points, strict=True))
    finite = np.isfinite(log.loss)
    try:
        ordered = in_order(log)
    except LogError:
        # only where every step that counts lacks its loss
        assert not finite.all()
        return
    assert (np.diff(log.step[ordered.index]) > 0).all()
    assert finite[ordered.index].all()
    assert ordered.notices or (finite.all() and (np.diff(log.step) > 0).all()), "left out and not said"
