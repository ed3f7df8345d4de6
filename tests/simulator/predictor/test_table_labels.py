"""What a table says of its text, and what its `params` count."""

import numpy as np
import pytest
from foretrain.core.errors import UsageError
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.predictor.params_kind import counted_as, params_kind, without_embeddings
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.table_labels import table_facts, target_labels


@pytest.fixture
def table_with(make_frame):
    """`table_with(**columns)`: eight runs with more columns."""
    return lambda **columns: RunTable.from_frame(make_frame(8).assign(**columns))


def test_facts_on_which_all_runs_agree(table_with):
    facts = table_facts(table_with(corpus="c4", tokenizer=["gpt2"] * 7 + [None], val_domain=["a", "b"] * 4))
    assert facts == {"params_kind": "total", "corpus": "c4", "tokenizer": "gpt2"}


def test_other_columns_name_the_corpus_where_none_is_called_so(table_with):
    assert table_facts(table_with(dataset="fineweb"))["corpus"] == "fineweb"
    assert table_facts(table_with(dataset="fineweb", corpus="c4"))["corpus"] == "c4"
    assert "corpus" not in table_facts(table_with(data=1.0))


def test_labels_of_a_loss(table_with):
    labels = target_labels({"corpus": "fineweb", "tokenizer": "llama2"}, "loss")
    assert (labels.corpus, labels.tokenizer) == ({"fineweb": 1.0}, "llama2")
    of_domain = target_labels({"corpus": "fineweb", "tokenizer": "llama2"}, "loss.c4_en")
    assert (of_domain.corpus, of_domain.evaluated_on) == ({"fineweb": 1.0}, "c4_en")
    counted = target_labels({"corpus": "fineweb", "tokenizer": "llama2", "bytes_per_token": 4.4}, "loss")
    assert (counted.bytes_per_token, counted.bytes_log_sd) == (4.4, pytest.approx(0.01))
    nobody_knows = target_labels({}, "loss.our_text")
    assert (nobody_knows.corpus, nobody_knows.evaluated_on) == ({"": 1.0}, "")


def test_where_the_loss_was_split_its_parts_may_be_corpora():
    labels = target_labels({"tokenizer": "llama2"}, "loss.starcoder", by="data")
    assert labels.corpus == {"starcoder": 1.0}
    assert target_labels({}, "loss.large", by="size").corpus == {"": 1.0}


def test_like():
    assert target_labels({}, "loss", like="FineWeb-Edu").corpus == {"fineweb_edu": 1.0}
    assert target_labels({"corpus": "ours"}, "loss", like="c4").corpus == {"c4": 1.0}
    with pytest.raises(UsageError, match=r"like: got 'finewebb'; did you mean"):
        target_labels({}, "loss", like="finewebb")


def test_what_params_count(table_with, make_frame):
    assert params_kind(table_with()) == "total"
    renamed = make_frame(8).rename(columns={"params": "n_nonemb"})
    assert params_kind(RunTable.from_frame(renamed, {"params": "n_nonemb"})) == "non_embedding"
    assert params_kind(table_with(num_experts=8.0, experts_per_token=1.0)) == "active"


def test_embeddings_are_left_out_where_every_run_states_them(table_with, make_frame):
    embedding = make_frame(8)["params"].to_numpy() / 10
    table = table_with(params_embedding=embedding)
    without = without_embeddings(table)
    np.testing.assert_allclose(without.column("params"), table.column("params") - embedding)
    assert params_kind(without) == "non_embedding"
    assert without_embeddings(without) is without, "once is enough"
    blank = table_with(params_embedding=np.where(np.arange(8) == 3, np.nan, embedding))
    assert without_embeddings(blank) is blank
    assert counted_as(table, "total") is table
    np.testing.assert_array_equal(counted_as(table, "non_embedding").column("params"), without.column("params"))


def test_a_fit_says_so(table_with, make_frame):
    table = table_with(params_embedding=make_frame(8)["params"].to_numpy() / 10)
    predictor = Predictor.fit(table)
    assert predictor.about["params_kind"] == "non_embedding"
    assert predictor.about["digest"] == table.digest(), "of the table as it was given"
