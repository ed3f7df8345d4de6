"""Losses in other units become nats per token on reading, whichever way a table states its bytes per token."""

import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from foretrain.core.errors import DataWarning, RunTableError, UsageError
from foretrain.datasets.facts.corpora import kinds_of
from foretrain.datasets.facts.tokenizers import bytes_per_token, find_tokenizer
from foretrain.datasets.runs.run_table import RunTable

SHARED = Path(os.environ.get("FORETRAIN_SHARED", Path(__file__).parents[3].parent / "shared")) / "data"


def frame(**columns) -> pd.DataFrame:
    return pd.DataFrame({"run_id": ["a", "b"], "params": [1e9, 2e9], "tokens": [2e10, 4e10], **columns})


def noted(table: RunTable, words: str) -> bool:
    return any(words in note for note in table.notes)


@pytest.mark.parametrize("name", ["bpb", "bits_per_byte", "Val BPB", "eval/bpb"])
def test_bits_per_byte_become_nats_by_a_column_of_bytes(name):
    table = RunTable.from_frame(frame(**{name: [0.8, 0.75]}, bytes_per_token=[4.5, 4.0]))
    np.testing.assert_allclose(table.column("loss"), np.log(2) * np.array([0.8 * 4.5, 0.75 * 4.0]))
    assert noted(table, f"loss is ln 2 · {name} · bytes per token, in nats per token")


def test_bits_per_byte_become_nats_by_the_name_of_a_tokenizer():
    """All rows of one tokenizer get the same bytes, whatever text each states, so that the law keeps its form."""
    llama = find_tokenizer("llama3")
    assert llama is not None
    of_c4, _ = bytes_per_token(llama, kinds_of("c4_en", evaluation=True) or {})
    table = RunTable.from_frame(frame(bpb=[0.8, 0.75], tokenizer="llama3", val_domain="c4_en"))
    np.testing.assert_allclose(table.column("loss"), np.log(2) * of_c4 * np.array([0.8, 0.75]))
    assert table.column("bytes_per_token").tolist() == [of_c4] * 2
    mixed = RunTable.from_frame(frame(bpb=[0.8, 0.75], tokenizer="llama3", bpb_domain=["c4_en", "github_python"]))
    assert len(np.unique(mixed.column("bytes_per_token"))) == 1


def test_blank_bytes_fall_back_on_the_tokenizer():
    table = RunTable.from_frame(frame(bpb=[0.8, 0.75], bytes_per_token=[4.5, None], tokenizer=[None, "gpt2"]))
    first, second = table.column("loss")
    assert first == pytest.approx(0.8 * 4.5 * np.log(2))
    assert 0.75 * 3 * np.log(2) < second < 0.75 * 5 * np.log(2)


def test_a_domain_has_its_own_bytes():
    table = RunTable.from_frame(frame(**{"bpb.web": [0.8, 0.75], "bpb.code": [0.5, 0.45]}, tokenizer="gpt2"))
    assert table.loss_columns == ["loss.web", "loss.code"]
    web, code = table.column("loss.web")[0] / 0.8, table.column("loss.code")[0] / 0.5
    assert code < web  # GPT-2's tokenizer is poor at code


def test_bits_per_byte_of_no_known_tokenizer_are_refused():
    with pytest.raises(RunTableError) as error:
        RunTable.from_frame(frame(bpb=[0.8, 0.75]))
    for words in ("row 1, column 'bpb' (read as loss)", "no tokenizer is stated", "--columns bytes_per_token=COLUMN"):
        assert words in str(error.value)
    assert "--tokenizer NAME" in str(error.value)
    with pytest.raises(RunTableError, match="nothing is known of tokenizer 'our own'"):
        RunTable.from_frame(frame(bpb=[0.8, 0.75], tokenizer="our own"))
    with pytest.raises(RunTableError, match=r"row 2, column 'bytes_per_token': '45.0' is not what a token has"):
        RunTable.from_frame(frame(bpb=[0.8, 0.75], bytes_per_token=[4.5, 45.0]))


def test_a_tokenizer_may_be_given_for_rows_that_state_none():
    given = RunTable.from_frame(frame(bpb=[0.8, 0.75]), tokenizer="gpt2")
    stated = RunTable.from_frame(frame(bpb=[0.8, 0.75], tokenizer="gpt2"))
    assert given.column("loss").tolist() == stated.column("loss").tolist()
    with pytest.raises(UsageError, match=r"tokenizer: got 'gtp2'; did you mean gpt2"):
        RunTable.from_frame(frame(bpb=[0.8, 0.75]), tokenizer="gtp2")


def test_perplexities_and_bits_of_domains():
    table = RunTable.from_frame(frame(**{"ppl.web": [20.0, 18.0], "bits_per_token.code": [2.0, 1.9]}))
    np.testing.assert_allclose(table.column("loss.web"), np.log([20.0, 18.0]))
    np.testing.assert_allclose(table.column("loss.code"), np.log(2) * np.array([2.0, 1.9]))
    assert RunTable.from_frame(frame(bits=[4.0, 3.9])).column("loss")[0] == pytest.approx(4 * np.log(2))


def test_bits_beside_a_unit_may_be_those_of_a_byte():
    table = RunTable.from_frame(frame(bits=[0.8, 0.7], unit="bits per character", tokenizer="gpt2"))
    assert table.column("loss")[0] > 2 * np.log(2) * 0.8


def test_a_loss_in_nats_wins_and_other_units_fill_its_blanks():
    table = RunTable.from_frame(frame(loss=[3.0, None], ppl=[50.0, 20.0], bpb=[0.9, 0.8]))
    np.testing.assert_allclose(table.column("loss"), [3.0, np.log(20.0)])
    assert noted(table, "loss is ln(ppl), in nats per token in 1 rows")
    assert table.column("ppl").tolist() == [50.0, 20.0]


def test_columns_may_be_named_in_any_unit():
    table = RunTable.from_frame(frame(loss=[9.0, 9.0], a=[0.8, 0.7], b=4.0), {"bpb": "a", "bytes_per_token": "b"})
    assert table.column("loss")[0] == pytest.approx(0.8 * 4 * np.log(2))
    assert table.column("loss_original")[0] == 9
    named = RunTable.from_frame(frame(a=[20.0, 18.0]), {"perplexity.web": "a"})
    assert named.column("loss.web")[0] == pytest.approx(np.log(20))
    with pytest.raises(RunTableError, match="both loss and bpb"):
        RunTable.from_frame(frame(a=[3.0, 2.9], b=[0.8, 0.7]), {"loss": "a", "bpb": "b"})


def test_what_was_read_is_read_again(tmp_path):
    table = RunTable.from_frame(frame(bpb=[0.8, 0.75], tokenizer="llama3"))
    table.write(tmp_path / "again.csv")
    assert RunTable.read(tmp_path / "again.csv").digest() == table.digest()


@pytest.mark.parametrize(("name", "rows"), [("nanochat", 21), ("marin_speedrun", 74)])
def test_published_tables_of_bits_per_byte(name, rows):
    path = SHARED / name / "runs.csv"
    if not path.is_file():
        pytest.skip(f"no table of published runs at shared/data/{name} beside this checkout")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        table = RunTable.read(path)
    assert len(table.fit_rows("loss")) == rows
    assert 2 < np.median(table.column("loss")) < 5


def test_published_models_by_their_bits_per_byte():
    """GPT-Neo's perplexity per GPT-2 token is 6.159 beside .7527 bits per byte of the Pile."""
    path = SHARED / "published_models" / "runs.csv"
    if not path.is_file():
        pytest.skip("no table of published models at shared/data beside this checkout")
    models = pd.read_csv(path)
    table = RunTable.from_frame(models[models.bpb.notna() & models.tokens.notna()], tokenizer="llama3")
    found = dict(zip(table.frame["run_id"], table.column("loss"), strict=True))
    assert found["GPT-Neo-1.3B"] == pytest.approx(np.log(6.159), rel=0.02)
