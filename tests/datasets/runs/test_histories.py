"""Several rows of one run are one curve, however a table says so."""

import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from foretrain.core.errors import DataWarning, RunTableError
from foretrain.datasets.runs.run_table import RunTable

SHARED = Path(os.environ.get("FORETRAIN_SHARED", Path(__file__).parents[3].parent / "shared")) / "data"
TOKENS = [1e9, 2e9, 4e9]


def curves(**columns) -> pd.DataFrame:
    """Two runs at three token counts each."""
    given = {
        "run_id": [f"r{row}" for row in range(6)],
        "params": [1e8] * 3 + [1e9] * 3,
        "tokens": TOKENS * 2,
        "loss": [4.0, 3.6, 3.3, 3.7, 3.3, 3.0],
        **columns,
    }
    return pd.DataFrame(given)


def noted(table: RunTable, words: str) -> bool:
    return any(words in note for note in table.notes)


def test_one_run_id_at_several_tokens_is_a_curve():
    """Such tables were refused, without a word of the form that is read."""
    table = RunTable.from_frame(curves(run_id=["small"] * 3 + ["large"] * 3))
    assert list(table.frame["run_id"][:3]) == ["small@1000000000", "small@2000000000", "small"]
    assert table.origins.tolist() == [1, 1, 1, 0, 0, 0]
    assert table.progress.tolist() == [0.25, 0.5, 1, 0.25, 0.5, 1]
    assert noted(table, "6 rows share 2 run_ids at several tokens: each run is a curve")


def test_curves_are_read_again_as_they_were(tmp_path):
    table = RunTable.from_frame(curves(run_id=["small"] * 3 + ["large"] * 3))
    table.write(tmp_path / "again.csv")
    again = RunTable.read(tmp_path / "again.csv")
    assert again.digest() == table.digest()
    assert again.progress.tolist() == table.progress.tolist()


def test_a_run_id_of_two_sizes_or_two_losses_is_no_curve():
    with pytest.raises(RunTableError, match="with params"):
        RunTable.from_frame(curves(run_id="same", tokens=[1e9, 2e9, 3e9, 4e9, 5e9, 6e9]))
    twice = curves(run_id=["small"] * 3 + ["large"] * 3, tokens=[1e9, 1e9, 2e9, *TOKENS])
    with pytest.raises(RunTableError, match=r"'small' is there already, at row 1, with loss 4\.0"):
        RunTable.from_frame(twice)


def test_of_a_curve_the_two_rows_that_contradict_each_other_are_named():
    """The first two rows of the run were named, which lie at different tokens and are in order."""
    runs = pd.concat([curves(run_id=["small"] * 3 + ["large"] * 3), curves(run_id=["small"] * 6).iloc[[1]]])
    runs.iloc[-1, runs.columns.get_loc("loss")] = 3.5
    with pytest.raises(RunTableError, match=r"row 7.*'small' is there already, at row 2, with loss 3\.6 where .* 3\.5"):
        RunTable.from_frame(runs.reset_index(drop=True))


def test_a_run_id_of_two_mixes_is_no_curve_and_is_told_how_points_of_a_run_are_named():
    mixes = {"mix.web": [0.5, 0.5, 0.2] + [0.7] * 3, "mix.code": [0.5, 0.5, 0.8] + [0.3] * 3}
    named = ["small"] * 3 + ["large"] * 3
    with pytest.raises(RunTableError, match=r"row 3.*with mix.web 0\.5 where this row has mix.web 0\.2.*run_id@tokens"):
        RunTable.from_frame(curves(run_id=named, **mixes))
    rounded = {"mix.web": [0.50001, 0.5, 0.5] + [0.7] * 3, "mix.code": [0.49999, 0.5, 0.5] + [0.3] * 3}
    assert RunTable.from_frame(curves(run_id=named, **rounded)).origins.tolist() == [1, 1, 1, 0, 0, 0]


def test_rows_before_the_end_of_a_schedule_are_points_of_the_run_of_their_settings():
    table = RunTable.from_frame(curves(checkpoint=[1, 1, 0] * 2))
    assert table.origins.tolist() == [0, 0, 0, 1, 1, 1]
    assert table.progress.tolist() == [0.25, 0.5, 1, 0.25, 0.5, 1]
    assert list(table.frame["run_id"]) == [f"r{row}" for row in range(6)]


def test_two_finished_runs_of_the_same_settings_stay_two():
    table = RunTable.from_frame(curves(params=1e9, tokens=[1e9, 2e9, 4e9, 1e9, 2e9, 8e9], checkpoint=[1, 1, 0] * 2))
    assert table.origins[2] != table.origins[5]


def test_planned_tokens_say_how_far_along_a_point_is():
    table = RunTable.from_frame(curves(checkpoint=1, tokens_planned=8e9))
    assert table.progress.tolist() == [0.125, 0.25, 0.5] * 2


def test_models_at_several_steps_are_curves():
    table = RunTable.from_frame(curves(model=["s"] * 3 + ["l"] * 3, checkpoint=["step1", "step2", "step4"] * 2))
    assert table.origins.tolist() == [0, 0, 0, 1, 1, 1]
    assert RunTable.from_frame(curves(model=["s"] * 3 + ["l"] * 3)).origins is None


def test_a_run_may_be_named():
    table = RunTable.from_frame(curves(training_run=["a", "a", "a", "b", "b", "b"]))
    assert table.origins.tolist() == [0, 0, 0, 1, 1, 1]
    assert table.progress.tolist() == [1] * 6


def test_rows_that_campaigns_name_are_as_good_as_finished():
    """Their rate is constant and their weights averaged: every point is where a shorter run would have ended."""
    table = RunTable.from_frame(curves(run_id=["a@1", "a@2", "a", "b@1", "b@2", "b"]))
    assert table.origins.tolist() == [0, 0, 0, 1, 1, 1]
    assert table.progress.tolist() == [1] * 6


def test_a_falling_rate_is_read_as_its_peak():
    table = RunTable.from_frame(curves(run_id=["small"] * 3 + ["large"] * 3, lr=[2e-3, 3e-3, 1e-4, 1e-3, 9e-4, 1e-5]))
    assert table.column("lr").tolist() == [3e-3] * 3 + [1e-3] * 3
    assert noted(table, "lr changes along the runs: took the highest of each")


def test_steps_follow_from_tokens_and_batch():
    table = RunTable.from_frame(curves(batch_tokens=1e6, steps=[None, 3000, None, None, None, None]))
    assert table.steps.tolist() == [1000, 3000, 4000, 1000, 2000, 4000]
    assert np.isnan(RunTable.from_frame(curves()).steps).all()


@pytest.mark.parametrize(
    ("name", "rows", "runs", "finished"),
    [
        ("gpt3_curves/runs.csv", 55, 5, 5),
        ("llama2_curves/runs.csv", 44, 2, 2),
        ("opt_curves/runs.csv", 79, 3, 3),
        ("olmo1_curves/runs.csv", 735, 1, 1),
        ("olmo3_curves/runs.csv", 14, 1, 1),
        ("olmo_ladder/curves.csv", 2459, 24, 24),
    ],
)
def test_published_curves(name, rows, runs, finished):
    if not (SHARED / name).is_file():
        pytest.skip(f"no table of published runs at shared/data/{name} beside this checkout")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        table = RunTable.read(SHARED / name)
    assert (len(table), len(np.unique(table.origins)), int((table.progress == 1).sum())) == (rows, runs, finished)


# rows by value, and a target for each value


def test_rows_by_value(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("N,D,val_loss,data,seed\n1e8,1e9,4,web,1\n1e9,1e9,3.5,code,2\n", encoding="utf-8")
    table = RunTable.read(path)
    assert table.rows_where({"data": "web"}).column("loss").tolist() == [4]
    assert table.rows_where({"data": "code", "seed": "2"}).column("loss").tolist() == [3.5]
    with pytest.raises(RunTableError, match=r"no row has 'wob' in column 'data' \(did you mean 'web'\?\)"):
        table.rows_where({"data": "wob"})
    with pytest.raises(RunTableError, match=r"no column 'date' \(did you mean 'data'\?\)"):
        table.rows_where({"date": "web"})


def test_a_target_for_each_value():
    corpora = ["web", "code", "web", "code", "web", None]
    table = RunTable.from_frame(curves(corpus=corpora)).split_by("corpus")
    assert table.loss_columns == ["loss.code", "loss.web"]
    assert [len(table.fit_rows(target)) for target in table.loss_columns] == [2, 3]
    assert noted(table, "loss is split by corpus: code, web")
    with pytest.raises(RunTableError, match="column 'corpus' has 1 such values; expected 2 to 20"):
        RunTable.from_frame(curves(corpus="web")).split_by("corpus")
    two = curves(corpus=corpora, **{"loss.a": 3.0, "loss.b": 3.0}).drop(columns="loss")
    with pytest.raises(RunTableError, match=r"there must be one, and there are loss\.a, loss\.b"):
        RunTable.from_frame(two).split_by("corpus")
