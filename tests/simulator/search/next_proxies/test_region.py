import numpy as np
import pytest
from foretrain.core.errors import UsageError
from foretrain.simulator.search.next_proxies import Candidates, Region

RUNS = {"params": np.array([1e7, 1e9]), "tokens": np.array([1e9, 1e11])}


def test_weights_sum_to_one_and_place_the_centre():
    assert Region(RUNS).centre == pytest.approx({"params": 1e8, "tokens": 1e10})
    region = Region(RUNS, np.array([0.0, 5.0]))
    assert region.centre == pytest.approx({"params": 1e9, "tokens": 1e11})
    assert region.mean(np.array([1.0, 3.0])) == 3.0


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, np.nan]])
def test_weights_that_do_not_fit_are_refused(weights):
    with pytest.raises(UsageError, match="target region of 2 runs"):
        Region(RUNS, np.array(weights))


def test_an_empty_region_is_refused():
    with pytest.raises(UsageError, match="0 runs"):
        Region({"params": np.zeros(0), "tokens": np.zeros(0)})


def test_rows_fall_into_blocks_by_run():
    columns = {"params": np.full(5, 1e7), "tokens": np.arange(1.0, 6.0) * 1e8}
    pool = Candidates(columns, np.array([1.0, 1.0, 2.0]), np.array([2, 0, 2, 1, 1]))
    blocks = {tuple(ids): rows.tolist() for ids, rows in pool.blocks()}
    assert blocks == {(0,): [[1]], (1, 2): [[3, 4], [0, 2]]}
    assert pool.rows_of([2, 0]).tolist() == [0, 2, 1]
    assert len(pool.rows_of([])) == 0


@pytest.mark.parametrize(
    ("cost", "run"), [([1.0, 0.0], None), ([1.0, np.nan], None), ([1.0], None), ([1.0, 1.0], [0, 0]), ([1.0], [0, 1])]
)
def test_costs_and_runs_that_do_not_fit_are_refused(cost, run):
    with pytest.raises(UsageError, match="expected"):
        Candidates(RUNS, np.array(cost), None if run is None else np.array(run))
