"""What long calls tell while they run: their modules' loggers, and the progress that was asked for; else nothing."""

import logging
import subprocess
import sys

import numpy as np
import pytest
from foretrain import Predictor, RunTable, backtest, fit_curves, optimize, score, score_curves

STUDY = {
    "run": {"model": {"params": "1B"}, "data": {"tokens": "20B"}},
    "space": {"model.params": {"low": "100M", "high": "10B", "log": True}},
    "objective": "loss_nats",
    "search": {"trials": 5, "sampler": "random"},
}


@pytest.fixture(scope="module")
def table(tmp_path_factory, write_runs):
    sizes = np.repeat([1e7, 3e7, 1e8, 3e8], 3)
    path = tmp_path_factory.mktemp("runs") / "runs.csv"
    return RunTable.read(write_runs(path, sizes, sizes * np.tile([10, 30, 90], 4), 0.002))


def logged(caplog) -> dict[str, str]:
    """Messages by module, the last of each."""
    return {record.name.removeprefix("foretrain."): record.getMessage() for record in caplog.records}


def test_a_fit_says_which_law_it_chose(table, caplog):
    with caplog.at_level(logging.INFO, logger="foretrain"):
        Predictor.fit(table)
    assert logged(caplog)["simulator.predictor.fit.loss_fit"].startswith(
        "12 runs: law general, as what the public tables"
    )


def test_a_search_says_how_it_searches(caplog):
    with caplog.at_level(logging.INFO, logger="foretrain"):
        optimize(STUDY)
    assert logged(caplog)["simulator.search.optimize"] == "study study: 5 trials by random, 0 of them there already"


def test_importing_and_failing_leave_logging_as_it_is():
    program = """
import logging, foretrain
foretrain.optimize, foretrain.Project, foretrain.next_stage, foretrain.fit_curves
names = [name for name in logging.root.manager.loggerDict if name.startswith("foretrain")]
print(len(names) > 3, logging.root.handlers, [n for n in names if logging.getLogger(n).handlers])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "True [] []"


def shares(told: list) -> list[float]:
    assert all(isinstance(text, str) for text, _ in told)
    return [share for _, share in told]


def test_long_calls_tell_their_progress(table):
    told = {"score": [], "backtest": []}
    fitted = Predictor.fit(table)
    score(fitted, table, progress=lambda *step: told["score"].append(step))
    backtest(table, progress=lambda *step: told["backtest"].append(step))
    assert told == {"score": [("loss", 0.0)], "backtest": [("loss", 0.0)]}


def test_curves_tell_theirs():
    from foretrain import CurveLibrary
    from foretrain.simulator.curve.library import Curve
    from foretrain.simulator.curve.rates.path import named_path

    steps = np.arange(100.0, 2001.0, 50.0)
    curves = [
        Curve(f"{family}-cosine", family, 1e8, named_path("cosine", 2000, 100, 0.1), steps, 2.5 + 8 * steps**-0.4)
        for family in ("a", "b")
    ]
    told = []
    library = fit_curves(curves, progress=lambda *step: told.append(step))
    assert isinstance(library, CurveLibrary)
    score_curves(library, curves, progress=lambda *step: told.append(step))
    assert told == [("a", 0.0), ("b", 0.5), ("a-cosine", 0.0), ("b-cosine", 0.5)]
