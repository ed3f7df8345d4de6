"""Gates on the public run tables, read in place: what the shipped prior must reach on runs that were held out.

`benchmarks/terms.py` and `benchmarks/extrapolation.py` measure the same with a prior that has not seen the table.
"""

import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from foretrain.core.errors import DataWarning, FitError
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import Fit, Observations, choose, fit_observations, public_prior
from foretrain.simulator.laws import get_law
from foretrain.simulator.predictor.fit.loss_fit import fit_loss_model
from foretrain.simulator.predictor.predictor import Predictor

SHARED = Path(os.environ.get("FORETRAIN_SHARED", Path(__file__).parents[1].parent / "shared")) / "data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the public run tables are not beside this checkout")


def read(name: str) -> pd.DataFrame:
    if not (SHARED / name).exists():
        pytest.skip(f"{name} is not among the public run tables beside this checkout")
    return pd.read_csv(SHARED / name, low_memory=False)


def observe(frame: pd.DataFrame) -> Observations:
    return Observations.from_table(RunTable.from_frame(frame.reset_index(drop=True)), "loss")


def auto(train: pd.DataFrame) -> Fit:
    """law="auto" with the shipped prior."""
    seen = observe(train)
    return fit_observations(get_law(choose(seen, public_prior()).law), seen, public_prior())


def relative_error(fit: Fit, test: pd.DataFrame) -> np.ndarray:
    seen = observe(test)
    return np.abs(np.expm1(fit.log_loss(seen.columns) - np.log(seen.loss)))


def test_chinchilla_is_fitted_to_its_known_optimum():
    table = read("chinchilla/runs.csv")
    kept = table[table.outlier_dropped_by_epoch != 1][["run_id", "params", "tokens", "loss"]]
    predictor = Predictor.fit(RunTable.from_frame(kept), "chinchilla")
    assert predictor.models["loss"].rows == 240
    assert predictor.models["loss"].fit.objective <= 0.0010182740180


def test_repeated_data_of_larger_models():
    columns = ["params", "tokens", "unique_tokens", "loss"]
    table = read("datablations/runs.csv")
    fit = auto(table[table.params <= 1.2e9][columns])
    large = table[(table.params > 1.2e9) & (table.epochs > 1.01) & (table.diverged_or_overfit == 0)]
    assert "repetition" in fit.law.name
    assert len(large) > 100
    assert np.median(relative_error(fit, large[columns])) <= 0.033


@pytest.mark.parametrize("router", ["S-Base", "RL-R", "Hash"])
def test_experts_of_the_largest_size(router):
    columns = ["params", "tokens", "num_experts", "loss"]
    table = read("routing_moe/runs.csv")
    plain = (table.routing_frequency == 0.5) & (table.k == 1) & (table.seed == 42)
    rows = table[(plain & (table.router_type == router)) | ((table.router_type == "Dense") & (table.k == 1))]
    largest = rows.params == rows.params.max()
    fit = auto(rows[~largest][columns])
    assert fit.law.name == "params_only+experts"
    assert np.median(relative_error(fit, rows[largest][columns])) <= 0.014


def test_learning_rate_and_batch_of_the_largest_cells():
    columns = ["params", "tokens", "lr", "batch_tokens", "loss"]
    table = read("steplaw/dense_runs.csv")
    table = table[table.diverged == 0]
    compute = table.params.astype(float) * table.tokens  # beyond a 64-bit integer
    held = compute.isin(sorted(compute.unique())[-5:])
    fit = auto(table[~held][columns])
    assert fit.law.name == "general+lr_batch_posynomial"
    excess = []
    for _, cell in table[held].groupby(["params", "tokens"]):
        pick = np.argmin(fit.log_loss(observe(cell[columns]).columns))
        excess.append(cell.loss.to_numpy()[pick] / cell.loss.min() - 1)
    assert len(excess) == 5
    assert np.mean(excess) <= 0.001


# every table reads and gives finite intervals

TABLES = {  # which runs belong together, and which of them are enough here
    "chinchilla/runs.csv": {"thin": 3},
    "datablations/runs.csv": {"thin": 9},
    "olmo_ladder/runs.csv": {"by": ["val_domain"], "only": 1},
    "overtraining/runs.csv": {"by": ["dataset", "val_domain"], "only": 1, "drop": ["lr", "batch_tokens"]},
    "misfitting/runs.csv": {"by": ["family"], "only": 1, "thin": 8},
    "routing_moe/runs.csv": {"thin": 2},
    "steplaw/dense_runs.csv": {"thin": 32},
}
MIXES = ["regmix/train_1m.csv", "regmix/test_1m.csv", "regmix/test_60m.csv"]  # nothing but the mix varies
LOSS_OF_A_GUESS = 12.0  # nats, a uniform guess among 160 thousand tokens


def read_table(frame: pd.DataFrame, name: str) -> RunTable:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return RunTable.from_frame(frame.reset_index(drop=True), where=name)


@pytest.mark.parametrize("name", [*TABLES, *MIXES])
def test_every_table_reads(name):
    read(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        table = RunTable.read(SHARED / name)
    assert len(table) > 20
    assert table.loss_columns
    for target in table.loss_columns:
        assert len(table.fit_rows(target)) > 20


def parts(name: str) -> list[RunTable]:
    """The groups of runs that belong together, as tables."""
    how, frame = TABLES[name], read(name)
    frame = frame.drop(columns=how.get("drop", [])).iloc[:: how.get("thin", 1)]
    kinds = [part for _, part in frame.groupby(how["by"])] if "by" in how else [frame]
    return [read_table(part, name) for part in kinds[: how.get("only")]]


@pytest.mark.parametrize("name", TABLES)
def test_every_table_gives_finite_intervals(name):
    """Each target is predicted at its three largest runs, and with ten times their tokens and parameters."""
    for table in parts(name):
        for target in table.loss_columns:
            seen = Observations.from_table(table, target)
            model = fit_loss_model(seen, "auto", public_prior())
            top = seen.take(np.argsort(seen.compute)[-3:]).columns
            grows = list(model.fit.law.member.uses)
            grows += ["unique_tokens"] * ("tokens" in grows)
            further = {column: values * (10.0 if column in grows else 1.0) for column, values in top.items()}
            check_interval(model.predict(top))
            check_interval(model.predict(further))
            low, high = model.predict(top).interval(0.9)
            assert (high < LOSS_OF_A_GUESS).all()
            assert (low > 0.5).all()
            inside = model.predict(seen.columns)
            assert np.median(np.abs(inside.loss_nats / seen.loss - 1)) < 0.05


def check_interval(prediction) -> None:
    low, high = prediction.interval(0.9)
    assert np.isfinite([low, prediction.loss_nats, high]).all()
    assert ((low > 0) & (low < prediction.loss_nats) & (prediction.loss_nats < high)).all()


def test_a_table_in_which_only_the_mix_varies_needs_the_prior():
    table = read_table(read("regmix/train_1m.csv").head(64), "train_1m.csv")
    observations = Observations.from_table(table, table.loss_columns[0])
    assert fit_loss_model(observations, "auto", public_prior()).fit.law.name == "general+mixture"
    with pytest.raises(FitError, match="nothing to fit a law on: column 'params' takes one value"):
        fit_loss_model(observations, "auto", None)
