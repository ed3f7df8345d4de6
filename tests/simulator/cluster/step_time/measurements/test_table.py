import csv
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from foretrain.core.errors import RunTableError
from foretrain.simulator.cluster.step_time.measurements.table import (
    REQUIRED,
    Measurements,
    framework_index,
    read_measurements,
)
from foretrain.simulator.cluster.step_time.measurements.table_rows import clean
from foretrain.simulator.cluster.step_time.step_model import StepTimeModel
from foretrain.simulator.cluster.step_time.steps import FRAMEWORKS
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[5]
RUNS = Path(os.environ.get("FORETRAIN_SHARED", ROOT.parent / "shared")) / "data/measured_runs/runs.csv"

# Llama-2-7B on 16 A100 in nodes of 8; what is measured is made up
ROW = {
    "sub_source": "here", "model": "llama-2-7b", "n_layers": 32, "d_model": 4096, "n_heads": 32, "n_kv_heads": 32,
    "d_ff": 11008, "gated_mlp": 1, "vocab": 32000, "seq_len": 4096, "gpu": "A100-SXM-80", "n_gpus": 16,
    "gpus_per_node": 8, "inter_gbps_per_gpu": 200, "precision": "bf16", "tp": 4, "pp": 2, "dp": 2, "zero_stage": 1,
    "seq_parallel": 1, "micro_batch": 2, "global_batch": 64, "recompute": "full", "flash_attn": 1,
    "framework": "megatron-lm", "step_time_s": 9.5, "peak_mem_gib": 41.0, "mem_kind": "nvidia-smi",
}  # fmt: skip
EXPERTS = {"n_experts": 8, "topk": 2, "n_shared_experts": 0, "moe_d_ff": 14336, "n_dense_layers": 0}


def read(*rows: dict) -> Measurements:
    return read_measurements(pd.DataFrame(list(rows)))


def skipped(**changed) -> str:
    """Why a row with other cells is skipped: the reason alone."""
    found = read(ROW, {**ROW, **changed})
    assert len(found) == 1, "the row was expressed"
    (reason,) = found.skipped
    return reason


def test_a_row_becomes_a_step():
    found = read(ROW)
    steps = found.steps
    assert (len(found), found.skipped) == (1, {})
    assert (found.step_time_s[0], found.peak_memory_gib[0], found.memory_kind[0]) == (9.5, 41.0, "device")
    assert (found.source[0], found.group[0], found.rows[0], found.recompute_known[0]) == ("here", 0, 0, True)
    layout = {name: float(value[0]) for name, value in vars(steps.layouts).items()}
    expected = {"tp": 4, "pp": 2, "dp": 2, "cp": 1, "micro_batch": 2, "accumulation": 16, "recompute_full": 1}
    assert {name: layout[name] for name in expected} == expected
    assert steps.models.params_total == 6_738_415_616  # as the checkpoint has it
    assert steps.machines.inter_bytes_per_s == 25e9  # 200 Gb/s
    assert steps.tokens == 64 * 4096


@pytest.mark.parametrize(
    ("cells", "layers", "loss"),
    [
        ({}, np.nan, np.nan),
        ({"compile": "all"}, 1, 1),
        ({"compile": "layers", "note": "eager"}, 1, 0),
        ({"framework": "torchtitan fsdp + torch.compile"}, 1, np.nan),
        ({"note": "Eager, no TP"}, 0, 0),
    ],
)
def test_what_is_compiled_is_a_column_or_said_in_words(cells, layers, loss):
    kernels = read({**ROW, **cells}).steps.kernels
    assert [kernels.compiled[0], kernels.compiled_loss[0]] == pytest.approx([layers, loss], nan_ok=True)
    assert np.isnan(kernels.dropout[0])
    assert read({**ROW, "dropout": 1, "loss_chunks": 8}).steps.kernels.dropout[0] == 1
    assert "compile" in skipped(compile="maybe")


def test_what_is_left_out_is_the_plainest():
    names = [*REQUIRED, "step_time_s"]
    found = read({name: ROW[name] for name in names})
    layout = {name: float(value[0]) for name, value in vars(found.steps.layouts).items()}
    expected = {"tp": 1, "pp": 1, "cp": 1, "vpp": 1, "ep": 1, "dp": 16, "micro_batch": 1, "accumulation": 4}
    assert {name: layout[name] for name in expected} == expected
    assert (found.source[0], found.recompute_known[0]) == ("A100-SXM-80", False)
    assert np.isnan(found.peak_memory_gib[0])
    assert found.memory_kind[0] == "allocated"


def test_a_release_is_its_columns_or_the_frameworks():
    columns = {"framework": "megatron-bridge 26.02", "release": None}
    rows = [columns, {**columns, "release": "26.04.01"}, {**columns, "release": 26.1}, {"framework": "megatron-lm"}]
    found = read(*({**ROW, **row} for row in rows)).steps.layouts.release
    np.testing.assert_allclose(found, [2602, 2604.01, 2610, 0])


def test_tied_embeddings_follow_from_the_number_of_parameters():
    total = [read({**ROW, "params_total_b": size}).steps.models.params_total for size in (6.738, 6.607)]
    assert total == [6_738_415_616, 6_738_415_616 - 32000 * 4096]


def test_rows_that_differ_only_in_layout_are_of_one_group():
    found = read(ROW, {**ROW, "tp": 8, "dp": 1}, {**ROW, "global_batch": 128}, {**ROW, "micro_batch": 1})
    assert found.group.tolist() == [0, 0, 1, 0]


def test_a_batch_that_does_not_divide_keeps_its_tokens():
    found = read({**ROW, "global_batch": 65, "micro_batch": 3})
    assert found.steps.tokens == pytest.approx(65 * 4096)


def test_offloading_is_read():
    found = read(
        {**ROW, "recompute": "offload", "offload": 1},
        {**ROW, "offload": "optimizer, weights"},
        {**ROW, "offload": 0},
    )
    layouts = found.steps.layouts
    assert layouts.offload_activations.tolist() == [1 / 6, 0, 0]  # a residual stream of six
    assert layouts.offload_optimizer.tolist() == layouts.offload_weights.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Megatron-DeepSpeed", "deepspeed"),
        ("composer-fsdp-pure", "fsdp"),
        ("MaxText", "xla"),
        ("megatron-bridge 26.04", "megatron"),
        ("of their own", "megatron"),
        (None, "megatron"),
    ],
)
def test_software_by_its_name(name, kind):
    assert FRAMEWORKS[framework_index(name)] == kind


# rows that can't be expressed


@pytest.mark.parametrize("column", ["tp", "pp", "cp", "vpp", "ep", "dp", "n_gpus", "global_batch", "micro_batch"])
@pytest.mark.parametrize("value", [0, -1, 1.5, 1e300, "inf"])
def test_degrees_are_whole_and_above_0(column, value):
    assert skipped(**{column: value}) == f"with {column} that isn't a whole number from 1 to 100000000"


@pytest.mark.parametrize("column", ["n_layers", "d_model", "n_heads", "d_ff", "vocab", "seq_len", "n_kv_heads"])
@pytest.mark.parametrize("value", [0, -4, 2.5])
def test_shapes_are_whole_and_above_0(column, value):
    assert skipped(**{column: value}) == f"with {column} that isn't a whole number from 1 to 100000000"


@pytest.mark.parametrize("column", ["step_time_s", "peak_mem_gib", "params_total_b", "inter_gbps_per_gpu"])
def test_measures_are_finite_and_above_0(column):
    assert skipped(**{column: 0}) == f"with {column} that isn't a finite number above 0"
    assert skipped(**{column: -3.0}) == f"with {column} that isn't a finite number above 0"
    assert skipped(**{column: np.inf}) == f"with {column} that isn't a finite number above 0"
    assert skipped(**{column: "fast"}) == f"with {column} that isn't a number"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"step_time_s": None, "peak_mem_gib": None}, "without step_time_s or peak_mem_gib"),
        ({"n_layers": None}, "without an architecture"),
        ({"d_ff": None}, "without d_ff"),
        ({"n_heads": 33}, "with an impossible architecture"),
        ({"n_layers": 10**7}, "with an impossible architecture"),
        ({"n_experts": 8}, "without topk"),
        ({**EXPERTS, "topk": 9}, "with an impossible architecture"),
        ({"attention": "linear"}, "with attention 'linear'"),
        ({"gpu": None}, "without gpu"),
        ({"gpu": "H1000"}, "on 'H1000', which isn't in the catalogue"),
        ({"precision": "int8"}, "in precision 'int8'"),
        ({"precision": "fp8"}, "in fp8 on A100-SXM-80, or without its bandwidths"),
        ({"dp": 4}, "whose tp · pp · cp · dp isn't n_gpus"),
        ({"n_gpus": 24, "dp": None}, None),
        ({"n_gpus": 20, "dp": None}, "whose tp · pp · cp · dp isn't n_gpus"),
        ({"global_batch": 1}, "whose global_batch is less than one sequence per data-parallel rank"),
        ({"vpp": 20}, "with more pipeline stages than layers"),
        ({"zero_stage": 4}, "with zero_stage that isn't a whole number from 0 to 3"),
        ({"seq_parallel": 2}, "with seq_parallel that isn't a whole number from 0 to 1"),
        ({"flash_attn": "maybe"}, "with flash_attn that isn't a number"),
        ({"recompute": "some"}, "with recompute 'some'"),
        ({"offload": 1}, "with offload, not saying of what"),
        ({"release": "newest"}, "with release that isn't a version such as 26.04"),
    ],
)
def test_rows_are_skipped_by_reason(changed, reason):
    if reason is None:
        assert len(read(ROW, {**ROW, **changed})) == 2
    else:
        assert skipped(**changed) == reason


def test_reasons_are_counted_together():
    found = read(ROW, {**ROW, "tp": 0}, {**ROW, "tp": -5}, {**ROW, "gpu": "Z80"})
    assert found.skipped == {
        "with tp that isn't a whole number from 1 to 100000000": 2,
        "on 'Z80', which isn't in the catalogue": 1,
    }


def test_a_machine_that_fails_once_fails_for_every_row():
    found = read({**ROW, "precision": "fp8"}, {**ROW, "precision": "fp8"}, ROW)
    assert (found.rows.tolist(), sum(found.skipped.values())) == ([2], 2)


# tables


def test_a_table_without_a_column_names_it():
    with pytest.raises(RunTableError, match=r"mine.csv: has no column n_heads, gpu; expected n_layers"):
        read_measurements(pd.DataFrame([ROW]).drop(columns=["gpu", "n_heads"]), "mine.csv")


def test_a_column_that_comes_twice_is_named():
    table = pd.DataFrame([ROW])
    table = pd.concat([table, table[["tp"]]], axis=1)
    with pytest.raises(RunTableError, match="has column tp more than once"):
        read_measurements(table)


def test_a_table_without_any_usable_row_says_why():
    with pytest.raises(RunTableError, match=r"no row can be expressed \(2 on 'Z80', which isn't in the catalogue\)"):
        read({**ROW, "gpu": "Z80"}, {**ROW, "gpu": "Z80"})
    with pytest.raises(RunTableError, match="it is empty"):
        read_measurements(pd.DataFrame(columns=list(REQUIRED)))


def test_columns_of_every_type_are_read(tmp_path):
    table = pd.DataFrame([{**ROW, "vpp": None, "head_dim": None}, {**ROW, "vpp": 5, "head_dim": 128}])
    nullable, text = table.convert_dtypes(), table.astype(object).map(lambda v: None if v is None else str(v))
    table.to_parquet(tmp_path / "t.parquet")
    for other in (nullable, text, pd.read_parquet(tmp_path / "t.parquet")):
        found = read_measurements(other)
        np.testing.assert_array_equal(found.steps.layouts.vpp, [2, 5])  # blank: as usual
        assert (found.skipped, found.group.tolist()) == ({}, [0, 0])


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        (np.nan, None), (pd.NA, None), (pd.NaT, None), (None, None), ("  ", None), (" NaN", None), (" x ", "x"),
        (True, 1.0), (3, 3.0), (10**400, np.inf), ([1, 2], "[1, 2]"), (np.array([1.0]), "array([1.])"),
    ],
)  # fmt: skip
def test_cells(cell, value):
    assert clean(cell) == value


JUNK = st.one_of(
    st.none(), st.just(pd.NA), st.text(max_size=8), st.booleans(), st.integers(-3, 3), st.integers(),
    st.floats(), st.sampled_from(["inf", "nan", "-0", "1e400", "None", "fp8", "full", "offload", "mla"]),
    st.lists(st.integers(), max_size=2),
)  # fmt: skip
COLUMNS = sorted({*ROW, *EXPERTS, "vpp", "cp", "ep", "head_dim", "offload", "params_total_b", "attention", "source"})


@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS), JUNK, min_size=1, max_size=4), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_odd_cells_are_skipped_or_give_finite_predictions(changes):
    table = pd.DataFrame([ROW, *({**ROW, **change} for change in changes)], dtype=object)
    found = read_measurements(table)
    assert len(found) + sum(found.skipped.values()) == len(table)
    seconds = StepTimeModel.shipped().predict(found.steps).total_s
    assert seconds.shape == (len(found),) or len(found) == 1
    assert np.all(np.isfinite(seconds) & (seconds > 0))
    assert not np.any(found.step_time_s <= 0)


# the table of published runs


@pytest.fixture(scope="module")
def published() -> Measurements:
    if not RUNS.is_file():
        pytest.skip("the shared run tables are not here")
    return read_measurements(pd.read_csv(RUNS, low_memory=False), RUNS.name)


def test_published_rows_are_expressed_or_counted(published):
    # hybrid models carry no architecture, and rows of whole runs no step: counted in the file by hand
    assert published.skipped == {"without an architecture": 27, "without step_time_s or peak_mem_gib": 11}
    assert len(published) == 1925


def test_published_steps_have_the_tokens_of_their_batch(published):
    with RUNS.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    expected = [float(rows[k]["global_batch"]) * float(rows[k]["seq_len"]) for k in published.rows]
    np.testing.assert_allclose(published.steps.tokens, expected, rtol=1e-12)
    devices = [float(rows[k]["n_gpus"]) for k in published.rows]
    np.testing.assert_array_equal(published.steps.layouts.devices, devices)
    seconds = [float(rows[k]["step_time_s"] or "nan") for k in published.rows]
    np.testing.assert_array_equal(published.step_time_s, seconds)


def test_published_models_have_their_parameters(published):
    with RUNS.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    stated = np.array([float(rows[k]["params_total_b"] or "nan") for k in published.rows]) * 1e9
    ratio = np.broadcast_to(published.steps.models.params_total, stated.shape) / stated
    assert np.nanmedian(np.abs(ratio - 1)) < 0.005
    assert np.nanpercentile(np.abs(ratio - 1), 95) < 0.03
    assert np.nanmax(np.abs(ratio - 1)) < 0.1  # tables of positions, which no column tells, are a tenth of MPT-125M
