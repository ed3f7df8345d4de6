"""Gates on RegMix's public tables, read in place: what the law of the mix alone must reach, before any learner.

512 training mixes of "1M" models, 256 unseen mixes at 1M and at 60M, 17 training domains. Figures of other methods are
in benchmarks/mixtures.py; a plain effective-token law ranks the targets used here at .982 and .970 (1M).
"""

import os
from pathlib import Path

import numpy as np
import pytest
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import Fit, Observations, fit_observations, public_prior
from foretrain.simulator.laws import get_law

FOLDER = Path(os.environ.get("FORETRAIN_SHARED", Path(__file__).parents[1].parent / "shared")) / "data" / "regmix"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="RegMix's tables are not beside this checkout")
TARGETS = ("loss.pile_cc", "loss.stackexchange")


def table(name: str, target: str) -> Observations:
    return Observations.from_table(RunTable.read(FOLDER / f"{name}.csv"), target)


def fit_to(seen: Observations) -> Fit:
    return fit_observations(get_law("general+mixture", seen.domains), seen, public_prior())


def rank(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(np.argsort(np.argsort(one)), np.argsort(np.argsort(other)))[0, 1])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("runs", "least_rank", "most_error"), [(512, 0.988, 0.016), (64, 0.972, 0.020)])
def test_unseen_mixes_are_ranked_at_the_same_size_and_at_sixty_times_it(target, runs, least_rank, most_error):
    seen = table("train_1m", target)
    fit = fit_to(seen.take(np.random.default_rng(0).permutation(512)[:runs]))
    same, larger = table("test_1m", target), table("test_60m", target)
    assert rank(fit.log_loss(same.columns), same.loss) > least_rank
    assert np.abs(fit.log_loss(same.columns) - np.log(same.loss)).mean() < most_error
    assert rank(fit.log_loss(larger.columns), larger.loss) > least_rank - 0.004


def test_eight_larger_runs_give_the_level_at_their_size():
    small, large = (table(name, TARGETS[0]) for name in ("train_1m", "test_60m"))
    some = np.random.default_rng(1).permutation(256)
    both = {name: np.concatenate([small.columns[name], large.columns[name][some[:8]]]) for name in small.columns}
    fit = fit_to(Observations.from_columns(both, np.concatenate([small.loss, large.loss[some[:8]]])))
    rest = large.take(some[8:])
    assert np.abs(np.exp(fit.log_loss(rest.columns)) - rest.loss).mean() < 0.05
