"""Reading run tables: files that are none, size bounds, odd frames, exports of experiment trackers."""

import gzip
from pathlib import Path

import pandas as pd
import pytest
from foretrain.core.errors import RunTableError
from foretrain.datasets.runs import raw_table as run_import
from foretrain.datasets.runs.run_table import RunTable

HEADER = "run_id,params,tokens,loss"


def read(tmp_path: Path, text: str) -> RunTable:
    path = tmp_path / "runs.csv"
    path.write_bytes(text.encode("utf-8"))
    return RunTable.read(path)


def noted(table: RunTable, words: str) -> bool:
    return any(words in note for note in table.notes)


@pytest.mark.parametrize(
    ("name", "data", "fragment"),
    [
        ("runs.xlsx", b"PK\3\4", "damaged, or not an Excel workbook"),
        ("runs", b"a,b\n", "unknown file type ''"),
        ("runs.pkl", b"\x80\x04.", "unknown file type '.pkl'"),
        ("runs.csv", b"params,loss\n1,\xe9\n", "line 2: not UTF-8 text"),
        ("runs.csv", "params,loss\n".encode("utf-16"), "not UTF-8 text"),
        ("runs.csv.gz", b"params,tokens\n", "not a complete gzip file"),
        ("runs.csv.gz", gzip.compress(b"params,tokens,loss\n1e9,2e10,3\n", mtime=0)[:-12], "not a complete gzip file"),
        ("runs.parquet", b"PAR1 and then nothing", "damaged, or not a Parquet file"),
        ("runs.parquet", b"", "the file is empty"),
    ],
)
def test_files_that_are_no_tables(tmp_path, name, data, fragment):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(RunTableError, match="run") as error:
        RunTable.read(path)
    assert fragment in str(error.value)


def test_every_truncation_of_a_parquet_file_is_a_run_table_error(tmp_path):
    path = tmp_path / "runs.parquet"
    read(tmp_path, f"{HEADER}\na,1e9,2e10,3.1\n").write(path)
    data = path.read_bytes()
    for size in range(1, len(data), 97):
        path.write_bytes(data[:size])
        with pytest.raises(RunTableError):
            RunTable.read(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(RunTableError, match="there is no such file"):
        RunTable.read(tmp_path / "runs.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(RunTableError, match="can't be read"):
        RunTable.read(tmp_path / "folder.csv")


def test_size_bounds_hold_for_packed_files_too(tmp_path, monkeypatch):
    table = read(tmp_path, HEADER + "\n" + "".join(f"r{i},1e9,2e10,3.1\n" for i in range(200)))
    table.write(tmp_path / "runs.csv.gz")
    table.write(tmp_path / "runs.parquet")
    monkeypatch.setattr(run_import, "MAX_BYTES", 1000)
    with pytest.raises(RunTableError, match="at most 1,000"):
        RunTable.read(tmp_path / "runs.csv")
    with pytest.raises(RunTableError, match="unpacks to more than 1,000 bytes"):
        RunTable.read(tmp_path / "runs.csv.gz")
    monkeypatch.undo()
    monkeypatch.setattr(run_import, "MAX_CELLS", 100)
    with pytest.raises(RunTableError, match="at most 100"):
        RunTable.read(tmp_path / "runs.parquet")


def test_parquet_and_frames_count_rows_from_one(tmp_path):
    frame = pd.DataFrame({"params": [1e9, 1e9], "tokens": [1e10, 1e10], "loss": [3.0, -1.0]}, index=[7, 8])
    with pytest.raises(RunTableError, match=r"sweep, row 2, column 'loss': '-1.0' is not positive"):
        RunTable.from_frame(frame, where="sweep")
    frame.to_parquet(tmp_path / "runs.parquet")
    with pytest.raises(RunTableError, match="row 2, column 'loss'"):
        RunTable.read(tmp_path / "runs.parquet")


def test_frames_with_odd_cells_raise_only_our_error():
    good = {"params": [1e9], "tokens": [1e10], "loss": [3.0]}
    for name, cell in [("loss", [3.0]), ("loss", {}), ("tokens", True), ("params", 1j), ("loss", pd.Timestamp(0))]:
        with pytest.raises(RunTableError, match="is not a number"):
            RunTable.from_frame(pd.DataFrame({**good, name: pd.Series([cell])}))
    with pytest.raises(RunTableError, match="can't be read"):
        RunTable.from_frame(pd.DataFrame({**good, "source": pd.Series(["\ud800"], dtype=object)}))


# exports of experiment trackers


def test_wandb_export(tmp_path):
    table = read(
        tmp_path,
        '"Name","State","ID","Notes","Runtime","config.n_params","config.lr","summary/lr","D","eval/loss","train/loss"\n'
        '"brisk-1","finished","x1","","3600","7B","0.0003","0","1.4T","2.0","1.9"\n'
        '"brisk-1","running","x2","-","60","7B","0.0003","0.0001","1.4T","NaN","7"\n'
        '"gone-3","crashed","x3","-","60","7B","0.0003","0.0001","1.4T","","7"\n',
    )
    assert list(table.frame["run_id"]) == ["x1", "x2", "x3"]
    assert list(table.frame["status"]) == ["ok", "failed", "failed"]
    assert table.column("lr").tolist() == [3e-4] * 3
    assert table.loss_columns == ["loss"]
    assert table.has("train/loss")
    assert noted(table, "read as a W&B export")
    assert noted(table, "1 rows with status 'running' are marked failed: their loss is not final")


def test_mlflow_export(tmp_path):
    table = read(
        tmp_path,
        "run_id,status,start_time,params.params,params.tokens,params.loss,params.lr,metrics.lr,metrics.loss,tags.source\n"
        "m1,FINISHED,2025-01-01,7B,1.4T,cross_entropy,3e-4,3e-5,2.0,lab\n"
        "m2,FAILED,2025-01-02,7B,1.4T,cross_entropy,3e-4,3e-5,,lab\n",
    )
    assert table.column("params").tolist() == [7e9, 7e9]
    assert table.column("lr").tolist() == [3e-4, 3e-4]
    assert table.column("loss")[0] == 2.0
    assert (list(table.frame["status"]), list(table.frame["source"])) == (["ok", "failed"], ["lab", "lab"])
    assert table.has("params.loss")
    assert table.has("metrics.lr")


def test_a_params_column_is_not_an_mlflow_prefix(tmp_path):
    table = read(tmp_path, f"{HEADER},params.note\na,1e9,2e10,3,x\n")
    assert list(table.frame.columns[:5]) == ["run_id", "params", "tokens", "loss", "params.note"]


def test_a_row_index_written_by_pandas_is_dropped(tmp_path):
    assert noted(read(tmp_path, f",{HEADER}\n0,a,1e9,2e10,3\n"), "a row index")
    assert len(read(tmp_path, f"\ufeff{HEADER}\r\na,1e9,2e10,3\r\n")) == 1
