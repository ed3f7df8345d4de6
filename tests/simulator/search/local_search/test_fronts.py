"""The front holds what nothing beats, once each; its ends come first; the balanced point is on it."""

import numpy as np
import pytest
from foretrain.simulator.search.evaluate import PlanEvaluation
from foretrain.simulator.search.local_search.fronts import balanced, front_of, spread_out
from hypothesis import given
from hypothesis import strategies as st

POINTS = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5), st.integers(-5, 5)), min_size=1, max_size=30)
WAYS = st.tuples(*[st.sampled_from(["minimize", "maximize"])] * 3)


def plans(points):
    return [PlanEvaluation({"n": n}, None, tuple(map(float, goals)), {}) for n, goals in enumerate(points)]


def beats(one, other, ways) -> bool:
    sign = np.array([1 if way == "minimize" else -1 for way in ways])
    mine, theirs = sign * one.goals, sign * other.goals
    return bool(np.all(mine <= theirs) and np.any(mine < theirs))


@given(POINTS, WAYS)
def test_nothing_on_the_front_is_beaten_and_all_else_is(points, ways):
    found = plans(points)
    front = front_of(found, ways)
    assert front
    assert len({one.goals for one in front}) == len(front)
    for one in found:
        on_it = any(one.goals == other.goals for other in front)
        assert on_it != any(beats(other, one, ways) for other in found)
    assert balanced(front, ways) in front
    spread = spread_out(front, ways, 4)
    assert len(spread) == min(4, len(front))
    assert len({id(one) for one in spread}) == len(spread)


def test_the_balanced_point_is_the_knee():
    front = plans([(0, 10), (1, 1), (10, 0)])
    assert balanced(front, ["minimize"] * 2).goals == (1, 1)


def test_the_ends_come_first():
    front = plans([(0, 10), (1, 1), (10, 0)])
    assert {one.goals for one in spread_out(front, ["minimize"] * 2, 2)} == {(0, 10), (10, 0)}
    assert spread_out([], ["minimize"], 3) == []


@pytest.mark.parametrize("ways", [["minimize", "minimize"], ["maximize", "maximize"]], ids=["small", "large"])
def test_a_single_plan_is_its_own_front(ways):
    only = plans([(1, 2)])
    assert front_of(only, ways) == only
    assert balanced(only, ways) is only[0]
