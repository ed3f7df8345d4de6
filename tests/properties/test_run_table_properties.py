"""RunTable: what holds for every table."""

import contextlib
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from foretrain.core.errors import DataWarning, RunTableError
from foretrain.datasets.runs.run_table import RunTable
from hypothesis import given, settings
from hypothesis import strategies as st

# tables of any numbers are drawn, also such as no run has
pytestmark = pytest.mark.filterwarnings("ignore:.*per parameter in most rows:foretrain.core.errors.DataWarning")

AWKWARD = ["a,b", 'q"q', "x\ny", "x\ry"]
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8) | st.sampled_from(AWKWARD)
ALIASES = {"params": "N", "tokens": "num_tokens", "loss": "val_loss", "lr": "learning_rate", "status": "State"}


def positive(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


@st.composite
def frames(draw) -> pd.DataFrame:
    """A valid table with a mix, blank cells, extra columns of all kinds and some failed runs."""
    rows = draw(st.integers(1, 6))

    def column(cells: st.SearchStrategy) -> list:
        return draw(st.lists(cells, min_size=rows, max_size=rows))

    shares = np.array(column(st.tuples(*[positive(0.01, 1)] * 3)))
    shares /= shares.sum(axis=1, keepdims=True) * np.array(column(positive(0.991, 1.009)))[:, None]
    frame = pd.DataFrame(
        {
            "run_id": [f"run {i}" for i in range(rows)],
            "params": column(positive(1e4, 1e13)),
            "tokens": column(positive(1e5, 1e15)),
            "loss": column(positive(0.1, 13.8)),
            "lr": column(positive(1e-9, 1) | st.none()),
            "epochs": column(positive(0.5, 100) | st.none()),
            "source": column(TEXT),
            "status": column(st.sampled_from(["ok", "diverged", "failed"])),
            "note": column(TEXT | st.none()),
            "score": column(st.floats(width=32) | st.none()),
            "flag": column(st.booleans()),
        }
    )
    return frame.assign(**{f"mix.{d}": shares[:, i] for i, d in enumerate(("web", "code", "books"))})


@settings(max_examples=30, deadline=None)
@given(frame=frames(), name=st.sampled_from(["t.csv", "t.csv.gz", "t.parquet"]))
def test_reading_what_was_written_changes_nothing(frame, name):
    table = RunTable.from_frame(frame)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        table.write(path)
        again = RunTable.read(path)
    assert again.digest() == table.digest()
    assert again.loss_columns == table.loss_columns
    for column in ("params", "tokens", "loss", "lr", "flops", "epochs", "unique_tokens", "mix.web"):
        np.testing.assert_array_equal(again.column(column), table.column(column))


@settings(max_examples=20, deadline=None)
@given(frame=frames(), data=st.data())
def test_digest_ignores_column_order(frame, data):
    order = data.draw(st.permutations(list(frame.columns)))
    assert RunTable.from_frame(frame[order]).digest() == RunTable.from_frame(frame).digest()


@settings(max_examples=20, deadline=None)
@given(frame=frames())
def test_mixes_sum_to_one_and_keep_their_ratios(frame):
    table = RunTable.from_frame(frame)
    shares = np.stack([table.column(f"mix.{domain}") for domain in table.domains])
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-9)
    ratio = (frame["mix.web"] / frame["mix.code"]).to_numpy()
    np.testing.assert_allclose(shares[0] / shares[1], ratio, rtol=1e-9)


@settings(max_examples=20, deadline=None)
@given(frame=frames(), data=st.data())
def test_select_keeps_order(frame, data):
    table = RunTable.from_frame(frame)
    mask = data.draw(st.lists(st.booleans(), min_size=len(table), max_size=len(table)))
    selected = table.select(np.array(mask, dtype=bool))
    assert list(selected.frame["run_id"]) == [r for r, keep in zip(table.frame["run_id"], mask, strict=True) if keep]
    assert set(table.fit_rows("loss").frame["status"]) <= {"ok"}


@settings(max_examples=20, deadline=None)
@given(frame=frames(), names=st.sets(st.sampled_from(sorted(ALIASES))))
def test_aliases_and_mappings_read_the_same_table(frame, names):
    table = RunTable.from_frame(frame)
    renamed = frame.rename(columns={name: ALIASES[name] for name in names})
    pd.testing.assert_frame_equal(RunTable.from_frame(renamed).frame, table.frame)
    odd = frame.rename(columns={name: f"my {name}" for name in names})
    mapped = RunTable.from_frame(odd, {name: f"my {name}" for name in names})
    pd.testing.assert_frame_equal(mapped.frame, table.frame)


@settings(max_examples=50, deadline=None)
@given(text=st.text(st.sampled_from('ab,"\n\r \t;7.e-1\x00é'), max_size=60))
def test_any_text_is_read_or_refused(text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.csv"
        path.write_bytes(("params,tokens,loss\n" + text).encode())
        with contextlib.suppress(RunTableError, DataWarning):
            RunTable.read(path)  # anything else that it raises fails the test
