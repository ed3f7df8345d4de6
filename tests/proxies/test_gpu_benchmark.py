"""What benchmarks/proxy_gpu.py needs no GPU for: its sizes, its forecast, its rows. All of it runs with `--tiny`."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from _gpu.case import LADDER, SPEED, TINY_LADDER, TINY_SPEED
from _gpu.ladder import best_lr, compare, forecast
from _gpu.rows import as_csv, measured_row

H200 = {"device_name": "NVIDIA H200", "precision": "bf16", "compiled": True}


def test_sizes_cover_what_is_promised_with_heads_that_a_gpu_likes():
    for cases, tiny in ((SPEED, False), (LADDER.rungs, False), (TINY_SPEED, True), (TINY_LADDER.rungs, True)):
        sizes = [case.shape.params_total for case in cases]
        assert sizes == sorted(set(sizes))
        assert tiny or all(case.shape.width // case.shape.heads == 64 for case in cases)
    params = [case.shape.params_total for case in SPEED]
    assert params[0] < 1.5e6
    assert 280e6 < params[-1] < 320e6
    assert LADDER.rungs[-1].shape.params_total >= 100e6
    assert {rung.layers for rung in LADDER.rungs} == {LADDER.lr_rung.layers}


@pytest.mark.parametrize("ladder", [LADDER, TINY_LADDER])
def test_runs_of_a_rung_can_be_trained_together_and_are_validated_where_the_forecast_is(ladder):
    for rung in ladder.rungs:
        runs = ladder.runs(rung, ("a", "b"), 0.01)
        assert len({run.shared for run in runs}) == 1
        assert len({run.run_id for run in runs}) == rung.copies
        assert len(runs[0].evaluate_steps) >= len(ladder.shares)
    lr_runs = ladder.lr_runs(("a", "b"))
    assert [run.recipe.lr for run in lr_runs] == list(ladder.lrs)
    assert len({run.shared for run in lr_runs}) == 1


def test_the_best_rate_is_that_of_the_last_row_and_one_that_diverged_is_none():
    rows = [{"lr": 0.1, "tokens": 1, "loss": 2.0}, {"lr": 0.1, "tokens": 2, "loss": 4.0}]
    assert best_lr([*rows, {"lr": 0.2, "tokens": 2, "loss": 3.0}, {"lr": 0.2, "tokens": 1, "loss": 5.0}]) == 0.2


def law(params, tokens):
    return 1.2 + 300 / params**0.35 + 900 / tokens**0.4


def test_a_ladder_of_an_exact_law_is_forecast_and_compared_at_what_was_reached(capsys):
    tokens = [share * LADDER.tokens for share in LADDER.shares]
    sizes = [rung.shape.params_total for rung in LADDER.rungs]
    rows = [
        {"run_id": f"{n}@{d}", "params": n, "tokens": d, "loss": law(n, d), "lr": 0.01}
        for n in sizes[:-1]
        for d in tokens
    ]
    said = forecast(rows, sizes[-1], tokens)
    assert said["loss"] == pytest.approx([law(sizes[-1], d) for d in tokens], rel=2e-3)
    assert np.all(np.array(said["low"]) < said["loss"])
    assert np.all(np.array(said["high"]) > said["loss"])
    reached = [{"tokens": d, "loss": law(sizes[-1], d)} for d in tokens[:3]]
    assert compare(said, reached)["inside"] == 1
    assert len(capsys.readouterr().out.splitlines()) == 1 + 3 + 1
    assert compare(said, []) == {}


def test_measured_rows_are_read_as_steps_of_this_card(tmp_path):
    from foretrain.simulator.cluster.step_time.measurements.table import load_measurements

    rows = [
        measured_row(case.shape, case.sequences, 0.01 * number, memory, kind, H200)
        for number, case in enumerate(SPEED, 1)
        for kind, memory in (("plain", 3.5), ("ours", None))
    ]
    path = tmp_path / "measured.csv"
    path.write_text(as_csv(rows))
    read = load_measurements(str(path))
    assert len(read) == len(rows)
    assert not read.skipped
    assert not read.assumed
    np.testing.assert_allclose(read.step_time_s[::2], 0.01 * np.arange(1, len(SPEED) + 1))
    np.testing.assert_allclose(read.peak_memory_gib[::2], 3.5)
    assert set(read.memory_kind) == {"allocated", "reserved"}
    # what is left out in such a table: the short convolution
    params = read.steps.models.params_total
    np.testing.assert_allclose(params[::2], [case.shape.params_total for case in SPEED], rtol=0.01)
