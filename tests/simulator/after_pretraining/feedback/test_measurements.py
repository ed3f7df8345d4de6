"""Tables of policies: what they may say, and what is refused with its line."""

import numpy as np
import pandas as pd
import pytest
from foretrain.core.errors import InputError
from foretrain.simulator.after_pretraining.feedback.measurements import Measurements

GOOD = "method,n,gold\nbest_of_n,1,0.1\nbest_of_n,4,0.5\nbest_of_n,16,0.7\nbest_of_n,64,0.8\n"
KL = "method,kl_nats,gold\n"
BAD = {
    "empty": ("", "empty"),
    "header only": ("method,n,gold\n", "no rows"),
    "no gold": ("method,n,reward\nbest_of_n,4,1\n", "gold"),
    "no method": ("n,gold\n4,1\n", "method"),
    "no distance": ("method,gold\nppo,1\n", "kl_nats (or n, of best_of_n)"),
    "two of a column": ("method,n,gold,gold\nbest_of_n,4,1,1\n", "gold"),
    "unknown method": (GOOD + "best_of_m,9,1\n", "line 6: method: got 'best_of_m'; expected one of best_of_n, ppo"),
    "text for a number": (GOOD.replace("0.7", "much"), "line 4: gold: got 'much'; expected a number"),
    "NaN": (GOOD.replace("0.7", "nan"), "line 4: gold"),
    "infinite": (GOOD.replace("0.7", "inf"), "line 4: gold"),
    "missing reward": (GOOD.replace("0.7", ""), "line 4: gold"),
    "no such n": (GOOD.replace(",16,", ",0.5,"), "line 4: n: got '0.5'; expected a number of at least 1"),
    "missing n": (GOOD.replace(",16,", ",,"), "line 4: kl_nats is missing; expected a KL divergence in nats, or n"),
    "n of ppo": (GOOD.replace("best_of_n", "ppo"), "line 2: kl_nats is missing"),
    "negative KL": (KL + "ppo,-1,0\nppo,2,1\nppo,3,1\n", "line 2: kl_nats: got '-1'; expected a number of at least 0"),
    "two KLs": (KL + "ppo,1,0\nppo,2,1\nppo,2,1\n", "is measured at 2 KL divergences above 0; expected 3"),
    "only the start": (KL + "ppo,0,0\nppo,0,1\n", "at 0 KL divergences above 0"),
    "no comparisons": ("method,n,gold,comparisons\nbest_of_n,4,1,0\n", "line 2: comparisons: got '0'; expected a"),
    "negative error": ("method,n,gold,gold_se\nbest_of_n,4,1,-1\n", "line 2: gold_se: got '-1'; expected a number of"),
    "more cells than columns": (GOOD + "best_of_n,9,1,2\n", "line 6: 4 cells, but the header has 3 columns"),
    "binary": (GOOD + "\0", "zero byte"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), BAD.values(), ids=BAD)
def test_bad_tables_are_refused_with_what_is_wrong(text, said, tmp_path):
    path = tmp_path / "policies.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        Measurements.read(path)
    assert said in str(caught.value)
    assert "policies.csv" in str(caught.value)


def test_a_file_that_is_absent_or_a_folder_is_refused(tmp_path):
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(InputError, match=path.name):
            Measurements.read(path)


def test_tables_with_too_many_rows_are_refused():
    frame = pd.DataFrame({"method": "ppo", "kl_nats": np.arange(100_001.0), "gold": 0.0})
    with pytest.raises(InputError, match=r"has 100001 rows; expected .* at most 100,000"):
        Measurements.of_frame(frame)


def test_methods_are_told_apart_and_other_names_read():
    rows = {"method": ["BoN"] * 3 + ["REINFORCE"] * 3, "kl_nats": [1, 2, 3] * 2, "gold": [1, 2, 3, 4, 5, 6]}
    found = Measurements.of_frame(pd.DataFrame(rows))
    assert {method: one.gold.tolist() for method, one in found.items()} == {"best_of_n": [1, 2, 3], "ppo": [4, 5, 6]}


def test_the_start_is_taken_off_by_its_own_seed():
    rows = {"method": "ppo", "kl_nats": [0, 1, 2, 3] * 2, "gold": [1, 2, 3, 4, 3, 4, 5, 6], "seed": [0] * 4 + [1] * 4}
    found = Measurements.of_frame(pd.DataFrame(rows))["ppo"]
    assert found.gold.tolist() == [1, 2, 3] * 2
    assert found.kl_nats.min() == 1


def test_the_index_of_a_frame_does_not_matter():
    frame = pd.DataFrame({"method": "ppo", "kl_nats": [1.0, 2.0, "far"], "gold": 0.0}, index=["a", "b", "c"])
    with pytest.raises(InputError, match="row 3: kl_nats: got 'far'"):
        Measurements.of_frame(frame)
