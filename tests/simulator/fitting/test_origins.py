"""Rows of one training run share its luck, so that they count as one run when the fit's uncertainty is drawn."""

import numpy as np
import pandas as pd
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import Observations, fit_observations
from foretrain.simulator.fitting.prior import public_prior
from foretrain.simulator.laws import get_law

TOKENS = np.array([1e9, 2e9, 4e9, 8e9])


def table(named_alike: bool) -> RunTable:
    """Twelve runs validated at four token counts; each run's luck moves all of its losses together."""
    rng = np.random.default_rng(0)
    rows = []
    for number, params in enumerate(np.geomspace(1e7, 3e8, 12)):
        luck = np.exp(rng.normal(0, 0.01))
        for tokens in TOKENS:
            loss = (1.7 + 400 * params**-0.34 + 1500 * tokens**-0.34) * luck
            mark = "@" if named_alike else "-"
            rows.append({"run_id": f"r{number}{mark}{tokens:.0f}", "params": params, "tokens": tokens, "loss": loss})
    return RunTable.from_frame(pd.DataFrame(rows))


def test_rows_of_one_run_are_known_by_their_names():
    together = Observations.from_table(table(True), "loss")
    assert np.array_equal(np.unique(together.origins, return_counts=True)[1], np.full(12, 4))
    assert Observations.from_table(table(False), "loss").origins is None
    assert len(together.take(np.arange(5)).origins) == 5


def test_shared_luck_widens_what_the_fit_leaves_open():
    wide, narrow = (
        fit_observations(get_law("general"), Observations.from_table(table(alike), "loss"), public_prior(), draws=200)
        for alike in (True, False)
    )
    target = {"params": np.array([1e9]), "tokens": np.array([2e10])}
    assert np.allclose(wide.theta, narrow.theta)
    assert wide.log_loss_draws(target).std() > 1.2 * narrow.log_loss_draws(target).std()
