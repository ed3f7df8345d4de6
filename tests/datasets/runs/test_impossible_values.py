"""Counts given as logarithms, and losses that a uniform guess would beat, are refused with what they may be instead."""

import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from foretrain.core.errors import RunTableError
from foretrain.datasets.runs.run_table import RunTable

CASES = Path(os.environ.get("FORETRAIN_SHARED", Path(__file__).parents[3].parent / "shared")) / "field_cases"


def frame(**columns) -> pd.DataFrame:
    given = {"run_id": ["a", "b"], "params": [3e7, 1e8], "tokens": [1e9, 2e9], "loss": [4.2, 3.8], **columns}
    return pd.DataFrame({name: cells for name, cells in given.items() if cells is not None})


def refused(given: pd.DataFrame, columns: dict[str, str] | None = None) -> str:
    with pytest.raises(RunTableError) as error:
        RunTable.from_frame(given, columns)
    return str(error.value)


def test_flops_as_logarithms_make_no_tokens():
    """2.4e-08 tokens were made of such FLOPs, and a law was fitted to them."""
    logs = np.log10([1.8e17, 1.2e18])
    message = refused(frame(tokens=None, flops=logs))
    assert message.startswith("table, row 1, column 'flops': '17.25")
    assert "FLOPs are fewer than params" in message
    assert "log10? 10^17.2553 is 1.8e+17" in message
    natural = refused(frame(flops=np.log([1.8e17, 1.2e18])))
    assert "natural log? e^39.7317 is 1.8e+17" in natural


def test_flops_that_no_logarithm_explains_get_no_guess():
    message = refused(frame(flops=[5e6, 6e6]))
    assert "FLOPs are fewer than params" in message
    assert "log" not in message


def test_counts_below_one_are_refused_before_anything_is_made_of_them():
    assert "column 'tokens': '0.3' is less than one" in refused(frame(tokens=[0.3, 0.6]))
    assert "column 'batch_tokens': '0.5' is less than one" in refused(frame(batch_tokens=[0.5, 0.5], steps=[1e3, 2e3]))
    assert "is less than one" in refused(frame(params=None, tokens=[1e9, 2e9], flops=[1e9, 2e9]))


def test_sizes_and_tokens_as_logarithms_are_refused_without_flops_too():
    message = refused(frame(params=[7.5, 8.0], tokens=[9.0, 9.3]))
    assert "column 'tokens': '9.0' tokens and as few parameters are no run" in message
    assert "(log10? 10^9 is 1e+09)" in message


def test_a_name_that_says_logarithm_is_no_plain_count():
    for name in ("log10_tokens", "tokens_log10", "ln tokens", "log_D"):
        message = refused(frame(tokens=None, **{name: [9.0, 9.5]}), {"tokens": name})
        assert f"--columns tokens={name}: the name says l" in message
        assert "expected a column of counts" in message
    assert RunTable.from_frame(frame(logical_tokens=[1e9, 2e9], tokens=None), {"tokens": "logical_tokens"}).has(
        "tokens"
    )


@pytest.mark.parametrize("columns", [None, {"tokens": "log10_tokens", "params": "model_size"}])
def test_a_table_of_logarithms(columns):
    path = CASES / "09_counts_as_logarithms" / "runs.csv"
    if not path.is_file():
        pytest.skip("no field cases beside this checkout")
    with pytest.raises(RunTableError, match="log10"):
        RunTable.read(path, columns)


def test_losses_above_a_uniform_guess_are_refused():
    message = refused(frame(loss=[4.0, 11.0], vocab_size=50257))
    assert message.startswith("table, row 2, column 'loss': '11.0' is more than the loss of a uniform guess")
    assert f"ln(50257 entries) = {math.log(50257):.4g} nats per token" in message
    assert "a perplexity? --columns perplexity=loss" in message
    assert "bits per token? --columns bits_per_token=loss" in message
    assert "ln(32000 entries)" in refused(frame(loss=[4.0, 11.0], tokenizer="llama2"))
    assert "any vocabulary, 1e+06 entries" in refused(frame(loss=[4.0, 14.0]))
    assert RunTable.from_frame(frame(loss=[4.0, 13.0])).column("loss")[1] == 13


def test_a_loss_of_a_domain_and_a_failed_run():
    message = refused(frame(**{"loss.web": [4.0, 60.0]}))
    assert "looks like a perplexity, not a loss in nats per token" in message
    assert "--columns perplexity.web=loss.web" in message
    table = RunTable.from_frame(frame(loss=[4.0, 60.0], status=["ok", "diverged"]))
    assert len(table.fit_rows("loss")) == 1


def test_a_perplexity_above_the_vocabulary_is_refused_without_a_guess():
    message = refused(frame(loss=None, ppl=[20.0, 1e5], vocab_size=32000))
    assert "column 'ppl' (read as loss)" in message
    assert "--columns" not in message


def test_the_first_points_of_a_run_may_be_a_little_worse_than_guessing():
    first = frame(loss=[10.9, 3.8], vocab_size=50257, checkpoint=[1, 0])
    assert RunTable.from_frame(first).column("loss")[0] == 10.9


def test_a_few_runs_that_learnt_nothing_are_no_other_unit():
    """A campaign could not be read any more: models trained on one domain alone guess worse than that on another."""
    many = {"run_id": list("abcdefgh"), "params": [1e8] * 8, "tokens": [1e9] * 8, "vocab_size": [50257] * 8}
    assert len(RunTable.from_frame(frame(**many, loss=[4.0] * 7 + [11.5])).fit_rows("loss")) == 8
    assert (
        len(RunTable.from_frame(frame(**many, loss=None, **{"loss.a": [4.0] * 5 + [14.0] * 3})).fit_rows("loss.a")) == 8
    )
    assert "more than the loss of a uniform guess" in refused(frame(**many, loss=[4.0] * 4 + [11.5] * 4))
    assert "looks like a perplexity" in refused(frame(**many, loss=[4.0] * 7 + [60.0]))
