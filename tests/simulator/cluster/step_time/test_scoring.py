import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from foretrain.simulator.cluster.step_time.measurements.table import Measurements, read_measurements
from foretrain.simulator.cluster.step_time.scoring import errors, ranking, score, step_time_scores
from foretrain.simulator.cluster.step_time.step_model import StepTimeModel
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[4]
RUNS = Path(os.environ.get("FORETRAIN_SHARED", ROOT.parent / "shared")) / "data/measured_runs/runs.csv"
ROW = {
    "sub_source": "here", "model": "llama-2-7b", "n_layers": 32, "d_model": 4096, "n_heads": 32, "d_ff": 11008,
    "vocab": 32000, "seq_len": 4096, "gpu": "A100-SXM-80", "n_gpus": 8, "gpus_per_node": 8, "tp": 1,
    "micro_batch": 1, "global_batch": 64, "recompute": "full", "framework": "megatron-lm", "step_time_s": 10.0,
}  # fmt: skip
EXPERTS = {"n_experts": 8, "topk": 2, "moe_d_ff": 14336}
MODEL = StepTimeModel.shipped()


def read(*changes: dict) -> Measurements:
    return read_measurements(pd.DataFrame([{**ROW, **change} for change in changes]))


# errors


def test_errors_by_hand():
    found = errors(np.array([1.1, 0.8, 1.0, 3.0, 2.2]), np.array([1.0, 1.0, 1.0, 2.0, 2.0]))
    # sizes 0.1, 0.2, 0, 0.5, 0.1; the p90 lies 0.6 of the way from 0.2 to 0.5
    expected = {"rows": 5, "median": 0.1, "p90": 0.38, "max": 0.5, "bias": 0.1}
    assert found == pytest.approx(expected)


def test_step_times_by_hand():
    data = read({}, {}, {"sub_source": "there"}, {"sub_source": "there", **EXPERTS})
    predicted = np.array([10.0, 12.0, 9.0, 15.0])
    interval = (np.array([9.0, 11.0, 8.0, 9.0]), np.array([11.0, 13.0, 10.0, 16.0]))
    found = step_time_scores(data, predicted, interval)
    assert found["pooled"] == pytest.approx({"rows": 4, "median": 0.15, "p90": 0.41, "max": 0.5, "bias": 0.1})
    assert (found["dense"]["rows"], found["moe"]["rows"], found["moe"]["median"]) == (3, 1, 0.5)
    assert list(found["by_source"]) == ["here", "there"]
    assert found["by_source"]["here"]["median"] == pytest.approx(0.1)
    assert found["by_source"]["here"]["coverage"] == {"0.8": 0.5}  # 10 is in 9…11, not in 11…13
    assert found["by_source"]["there"]["coverage"] == {"0.8": 1.0}  # an end counts
    assert found["macro_median"] == pytest.approx((0.1 + 0.3) / 2)
    assert found["coverage"] == {"0.8": pytest.approx(0.75)}


def test_sources_without_experts_have_none():
    found = step_time_scores(read({}), np.array([10.0]), (np.array([9.0]), np.array([11.0])))
    assert found["moe"] is None


# ranking


def layouts(*times: float) -> Measurements:
    """Rows of one group that differ in tensor parallelism and micro-batch."""
    kinds = [{"tp": tp, "micro_batch": size} for size in (1, 2, 4) for tp in (1, 2, 4, 8)]
    return read(*({**kind, "step_time_s": time} for kind, time in zip(kinds, times, strict=False)))


def test_ranking_by_hand():
    data = layouts(10.0, 8.0, 9.0, 12.0)
    right = ranking(data, np.array([5.0, 3.0, 4.0, 6.0]))
    assert right == {"groups": 1, "mean_regret": 0.0, "spearman": pytest.approx(1.0)}
    # it picks the third, 9 s where 8 s is best; ranks 3 1 2 4 against 3 2 1 4: 1 − 6 · 2 / (4 · 15)
    wrong = ranking(data, np.array([5.0, 4.0, 3.0, 6.0]))
    assert wrong == {"groups": 1, "mean_regret": pytest.approx(0.125), "spearman": pytest.approx(0.8)}
    reverse = ranking(data, np.array([5.0, 6.0, 5.5, 4.0]))
    assert reverse["mean_regret"] == pytest.approx(0.5)


def test_fewer_than_four_layouts_say_nothing():
    nothing = {"groups": 0, "mean_regret": None, "spearman": None}
    assert ranking(layouts(1.0, 2.0, 3.0), np.ones(3)) == nothing
    # the same layout measured again is no other layout
    again = read({}, {}, {}, {}, {"tp": 2})
    assert ranking(again, np.ones(5)) == nothing


def test_repeated_measurements_are_their_median():
    data = read({"step_time_s": 1.0}, {"step_time_s": 9.0}, {"step_time_s": 5.0}, *({"tp": tp} for tp in (2, 4, 8)))
    predicted = np.array([1.0, 1.0, 1.0, 2.0, 3.0, 4.0])
    assert ranking(data, predicted)["mean_regret"] == 0.0
    assert ranking(data, 1 / predicted)["mean_regret"] == pytest.approx(1.0)  # 10 s where 5 s is best


def test_groups_count_alike():
    one, other = layouts(10.0, 8.0, 9.0, 12.0), layouts(1.0, 2.0, 3.0, 4.0)
    rows = [{"tp": tp, "global_batch": batch} for batch in (64, 128) for tp in (1, 2, 4, 8)]
    times = np.concatenate([one.step_time_s, other.step_time_s])
    data = read(*({**row, "step_time_s": time} for row, time in zip(rows, times, strict=True)))
    found = ranking(data, np.array([5.0, 4.0, 3.0, 6.0, 1.0, 2.0, 3.0, 4.0]))
    assert found == {"groups": 2, "mean_regret": pytest.approx(0.0625), "spearman": pytest.approx(0.9)}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=4, max_size=12))
def test_rank_correlation_is_scipys(pairs):
    """Ties share their ranks. Where one side is constant, scipy has no value and we say 0."""
    from scipy.stats import spearmanr

    seen, said = np.array(pairs, dtype=float).T
    found = ranking(layouts(*seen), said)["spearman"]
    if np.ptp(seen) == 0 or np.ptp(said) == 0:
        assert found == 0
        return
    assert found == pytest.approx(spearmanr(seen, said).statistic, abs=1e-12)


# the whole


def test_a_score_has_its_keys():
    changes = [{"tp": tp, "peak_mem_gib": 40.0} for tp in (1, 2, 4, 8)]
    found = score(MODEL, read(*changes, {"gpu": "Z80"}))
    assert found["rows"] == 4
    assert found["skipped"] == {"on 'Z80', which isn't in the catalogue": 1}
    assert set(found["step_time"]) >= {"pooled", "by_source", "macro_median", "coverage"}
    assert set(found["step_time"]["pooled"]) >= {"rows", "median", "p90", "max"}
    assert set(found["step_time"]["coverage"]) == {"0.8"}
    assert set(found["ranking"]) == {"groups", "mean_regret", "spearman"}
    assert set(found["memory"]) >= {"pooled", "by_source"}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_rows_with_memory_alone():
    found = score(MODEL, read({"step_time_s": None, "peak_mem_gib": 40.0}))
    assert found["memory"]["pooled"]["rows"] == 1
    assert found.get("step_time") is None


def test_rows_with_times_alone():
    found = score(MODEL, read({}))
    assert found["step_time"]["pooled"]["rows"] == 1
    assert json.dumps(found, allow_nan=False)


def test_perfect_predictions():
    data = read(*({"tp": tp, "micro_batch": size} for tp in (1, 2, 4) for size in (1, 2)))
    predicted = MODEL.predict(data.steps).total_s
    found = score(MODEL, replace(data, step_time_s=predicted))
    assert found["step_time"]["pooled"]["max"] == 0
    assert found["step_time"]["coverage"] == {"0.8": 1.0}
    assert found["ranking"] == {"groups": 1, "mean_regret": 0.0, "spearman": pytest.approx(1.0)}


def test_published_rows_are_scored():
    """What the shipped model was fitted on, and the small models it saw a fifth of: no proof, but what users see."""
    if not RUNS.is_file():
        pytest.skip("the shared run tables are not here")
    found = score(MODEL, read_measurements(pd.read_csv(RUNS, low_memory=False), RUNS.name))
    assert found["step_time"]["macro_median"] < 0.15
    assert found["step_time"]["dense"]["p90"] < 0.3
    assert found["step_time"]["moe"]["median"] < 0.25
    assert found["ranking"]["groups"] > 100
    assert found["ranking"]["mean_regret"] < 0.05
    assert found["ranking"]["spearman"] > 0.85
    assert found["memory"]["pooled"]["median"] < 0.05
