import itertools
import re

import numpy as np
import pytest
from foretrain.core.errors import InfeasibleError
from foretrain.simulator.fitting import public_prior
from foretrain.simulator.laws import get_law
from foretrain.simulator.search.next_proxies import (
    Candidates,
    LawPosterior,
    Region,
    Width,
    choose_in_rounds,
    choose_runs,
)
from hypothesis import given, settings
from hypothesis import strategies as st


def left_by(belief, candidates, region, runs):
    """Mean variance at the region once these runs are done, by conditioning on all of them at once."""
    rows = candidates.rows_of(list(runs))
    done = {name: values[rows] for name, values in candidates.columns.items()}
    origins = np.asarray(candidates.run)[rows]
    after = belief.after(done, np.unique(origins, return_inverse=True)[1])
    return region.mean(np.diag(after.covariance(region.columns, region.columns)))


def test_what_is_said_to_be_left_is_what_is_left(belief, candidates, region):
    found = choose_runs(belief, candidates, region, 0.3 * candidates.cost.sum())
    assert len(found.runs) > 2
    for count in range(len(found.runs) + 1):
        assert found.variance[count] == pytest.approx(left_by(belief, candidates, region, found.runs[:count]), rel=1e-6)
        assert found.cost[count] == pytest.approx(candidates.cost[list(found.runs[:count])].sum())


def test_runs_of_several_rows_are_weighed_as_a_whole(columns, region, belief):
    """Each size passes through its three token counts: six runs of three rows."""
    run = np.tile(np.arange(6), 3)
    cost = 6.0 * columns["params"][:6] * columns["tokens"][12:]
    ladder = Candidates(columns, cost, run)
    found = choose_runs(belief, ladder, region, 0.5 * cost.sum())
    assert found.variance[-1] == pytest.approx(left_by(belief, ladder, region, found.runs), rel=1e-6)


def test_the_choice_is_near_the_best_there_is(belief, columns, region):
    """Against every set of runs that the budget pays for, on a pool small enough to try them all."""
    rows = np.arange(0, 18, 2)
    pool = Candidates({name: values[rows] for name, values in columns.items()}, np.arange(1.0, 10.0))
    budget = 9.0
    sets = [
        runs
        for count in range(1, 5)
        for runs in itertools.combinations(range(9), count)
        if pool.cost[list(runs)].sum() <= budget
    ]
    best = min(left_by(belief, pool, region, runs) for runs in sets)
    assert choose_runs(belief, pool, region, budget).variance[-1] <= 1.1 * best


def test_several_losses_are_weighed_together(belief, candidates, region):
    one = choose_runs(belief, candidates, region, 0.2 * candidates.cost.sum())
    twice = choose_runs([belief, belief], candidates, region, 0.2 * candidates.cost.sum())
    assert one.runs == twice.runs
    np.testing.assert_allclose(one.variance, twice.variance)


def test_a_replicate_tells_less_than_a_new_run(belief, columns, region):
    twice = {name: np.append(values[[17, 17]], values[12]) for name, values in columns.items()}
    found = choose_runs(belief, Candidates(twice, np.ones(3)), region, 2.0)
    assert set(found.runs) == {0, 2} or set(found.runs) == {1, 2}


def test_a_budget_for_no_run_names_the_cheapest(belief, candidates, region):
    with pytest.raises(InfeasibleError, match=re.escape(f"cheapest run costs {candidates.cost.min():.4g}")):
        choose_runs(belief, candidates, region, 0.5 * candidates.cost.min())
    with pytest.raises(InfeasibleError, match="no run is left"):
        choose_runs(belief, candidates, region, taken=range(18))


def test_taken_runs_are_not_taken_again(belief, candidates, region):
    first = choose_runs(belief, candidates, region, 0.2 * candidates.cost.sum()).runs
    again = choose_runs(belief, candidates, region, 0.5 * candidates.cost.sum(), taken=first).runs
    assert not set(first) & set(again)


def test_rounds_spend_no_more_than_the_budget_and_see_chosen_losses_only(candidates, region, columns, observe):
    everything, seen = observe(columns), []

    def believe(taken):
        seen.append(taken)
        done = everything.take(np.array(taken)) if taken else None
        return LawPosterior.of(get_law("general"), public_prior(), region, columns, done)

    budget = 0.3 * candidates.cost.sum()
    taken = choose_in_rounds(believe, candidates, region, budget)
    assert candidates.cost[list(taken)].sum() <= budget
    assert len(set(taken)) == len(taken)
    assert seen[0] == ()
    assert all(longer[: len(shorter)] == shorter for shorter, longer in itertools.pairwise(seen))
    with pytest.raises(InfeasibleError):
        choose_in_rounds(believe, candidates, region, 0.5 * candidates.cost.min())


@pytest.fixture(scope="module")
def width(candidates, region):
    return Width(candidates, region, noise=0.003)


def test_runs_for_a_precision_are_as_few_as_reach_it(belief, candidates, region, width):
    all_of_it = choose_runs(belief, candidates, region, width=width)
    assert all_of_it.half_width is not None
    wanted = 1.3 * all_of_it.half_width[-1]
    found = choose_runs(belief, candidates, region, width=width, precision=wanted)
    assert found.reaches(wanted)
    assert not found.first(len(found.runs) - 1).reaches(wanted)
    assert found.cost[-1] < all_of_it.cost[-1]
    never = choose_runs(belief, candidates, region, width=width, precision=1e-6)
    assert not never.reaches(1e-6)
    np.testing.assert_allclose(never.half_width, all_of_it.half_width)


def test_a_precision_that_is_there_already_takes_no_run(belief, candidates, region, width):
    found = choose_runs(belief, candidates, region, width=width, precision=1e9)
    assert found.runs == ()
    assert found.reaches(1e9)


# properties

POOLS = st.lists(st.tuples(st.floats(1e6, 1e9), st.floats(2.0, 200.0), st.floats(0.01, 100.0)), min_size=2, max_size=8)
AHEAD = Region({"params": np.array([7e9]), "tokens": np.array([1.4e11])})


def drawn(raw):
    params, ratio, cost = (np.array(values) for values in zip(*raw, strict=True))
    columns = {"params": params, "tokens": params * ratio}
    return LawPosterior.of(get_law("general"), public_prior(), AHEAD, columns), Candidates(columns, cost)


@settings(max_examples=30, deadline=None)
@given(POOLS)
def test_another_run_never_leaves_more_open(raw):
    belief, pool = drawn(raw)
    order = range(len(pool))
    variance = [left_by(belief, pool, AHEAD, order[:count]) for count in range(1, len(pool) + 1)]
    assert all(after <= before * (1 + 1e-9) for before, after in itertools.pairwise(variance))
    found = choose_runs(belief, pool, AHEAD)
    assert (np.diff(found.variance) <= 0).all()


@settings(max_examples=30, deadline=None)
@given(POOLS, st.floats(0.1, 1.0), st.sampled_from([0.25, 2.0, 1024.0]))
def test_another_unit_of_cost_changes_nothing(raw, share, unit):
    belief, pool = drawn(raw)
    budget = max(share * pool.cost.sum(), float(pool.cost.min()))
    found = choose_runs(belief, pool, AHEAD, budget)
    other = choose_runs(belief, Candidates(pool.columns, unit * pool.cost), AHEAD, unit * budget)
    assert found.runs == other.runs


@settings(max_examples=30, deadline=None)
@given(POOLS, st.data())
def test_what_nobody_can_pay_is_never_taken(raw, data):
    belief, pool = drawn(raw)
    dear = data.draw(st.sets(st.integers(0, len(pool) - 1), max_size=len(pool) - 1))
    cost = pool.cost.copy()
    cost[list(dear)] = np.inf
    found = choose_runs(belief, Candidates(pool.columns, cost), AHEAD)
    assert not dear & set(found.runs)
    assert np.isfinite(found.cost).all()


@settings(max_examples=20, deadline=None)
@given(POOLS, st.floats(0.1, 1.0))
def test_the_same_question_has_the_same_answer(raw, share):
    budget = max(share * drawn(raw)[1].cost.sum(), float(drawn(raw)[1].cost.min()))
    (belief, pool), (again, same) = drawn(raw), drawn(raw)
    assert choose_runs(belief, pool, AHEAD, budget).runs == choose_runs(again, same, AHEAD, budget).runs
