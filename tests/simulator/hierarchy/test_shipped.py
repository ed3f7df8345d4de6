"""The shipped model over tables: read, written, and complete."""

import json

import numpy as np
import pytest
from foretrain.datasets.facts.corpora import KINDS, find_corpus, find_evaluation_set
from foretrain.datasets.facts.tokenizers import find_tokenizer
from foretrain.simulator.hierarchy.coordinates import LEVEL, SIZE
from foretrain.simulator.hierarchy.labels import UNKNOWN, describe
from foretrain.simulator.hierarchy.shipped import error_quantiles, from_dict, population, term_moments, to_dict


def test_written_and_read_it_expects_the_same():
    again = from_dict(json.loads(json.dumps(to_dict(population()))))
    for labels in (
        describe(),
        describe("pile", "neox20b", "pile_test", source="pythia"),
        describe({"web": 1, "code": 1}),
    ):
        a, b = population().expected(labels), again.expected(labels)
        assert np.array_equal(a.mean, b.mean)
        assert np.array_equal(a.covariance, b.covariance)
    assert to_dict(again) == to_dict(population())


def test_every_table_is_of_the_catalogue():
    for table in population().tables:
        labels = table.labels
        assert labels.source
        for name in labels.corpus:  # a corpus that its author never named goes by the author's name
            assert name in (UNKNOWN, labels.source) or find_corpus(name) is not None
        assert sum(labels.corpus.values()) == pytest.approx(1)
        if not labels.evaluated_on.startswith("training:"):
            assert find_evaluation_set(labels.evaluated_on) is not None
        assert labels.tokenizer == UNKNOWN or find_tokenizer(labels.tokenizer) is not None
        assert set(labels.kinds) <= set(KINDS)
        assert set(population().kinds) <= set(KINDS)
        assert 0 <= labels.bytes_log_sd < 0.3


def test_every_table_says_what_it_rests_on():
    for table in population().tables:
        facts = table.facts
        assert facts["rows"] >= 1
        assert abs(facts["deviation"]) < 0.1
        for name in ("params", "tokens", "compute"):
            low, high = facts[name]
            assert 0 < low <= high
        assert np.array(facts["sizes"]).shape[1] == 2
        information = table.summary.information
        assert np.linalg.eigvalsh(information).min() > -1e-6 * np.abs(information).max()


def test_named_tables_are_found_and_known_better():
    nobody = population().expected(describe()).covariance[LEVEL, LEVEL]
    for table in population().tables[::8]:
        assert any(one is table for one in population().tables_of(table.labels))
        assert population().expected(table.labels).covariance[LEVEL, LEVEL] < nobody


def test_spreads_are_covariances():
    spreads = population().spreads
    for name in ("source", "evaluated_on", "corpus", "table"):
        covariance = getattr(spreads, name)
        assert covariance.shape == (SIZE, SIZE)
        assert np.linalg.eigvalsh(covariance).min() > 0
    assert all(0 < value < 0.5 for value in spreads.level_sd.values())
    assert population().shift.shape == (SIZE,)


@pytest.mark.parametrize("name", ["repetition", "experts"])
def test_terms_have_moments(name):
    mean, covariance = term_moments(name)
    assert covariance.shape == (len(mean), len(mean))
    assert np.linalg.eigvalsh(covariance).min() > -1e-9


def test_quantiles_of_errors_rise():
    assert np.all(np.diff(error_quantiles()) >= 0)
    assert error_quantiles()[0] >= 0
