"""Copies go, the first of each stays, whatever kind of copy."""

import numpy as np
import pytest
from foretrain.core.errors import ConfigError
from foretrain.datasets.corpus.corpus import Corpus

RNG = np.random.default_rng(0)
PLAIN = [" ".join(f"w{number}" for number in RNG.integers(0, 5_000, 80)) for _ in range(40)]


def near(text, number):
    """A copy with one word changed."""
    parts = text.split()
    parts[number % len(parts)] = f"changed{number}"
    return " ".join(parts)


def test_exact_copies_differ_in_white_space_only(chosen):
    texts = [*PLAIN, PLAIN[3].replace(" ", "\n "), near(PLAIN[3], 5), f"  {PLAIN[0]}\n"]
    found = chosen(texts, ["dedup"])
    assert np.flatnonzero(~found.kept).tolist() == [40, 42]


@pytest.mark.parametrize("kind", ["minhash", "semantic"])
def test_near_copies_go_and_nothing_else(chosen, kind):
    texts = [*PLAIN, *(near(PLAIN[7], number) for number in range(5)), *(near(PLAIN[9], number) for number in range(3))]
    found = chosen(texts, [{"dedup": {"kind": kind}}])
    assert np.flatnonzero(~found.kept).tolist() == list(range(40, 48))
    assert chosen(texts, [{"dedup": {"kind": kind}}]).digest == found.digest
    if kind == "minhash":
        assert found.to_dict()["steps"][0]["groups_of_copies"] == 2
        assert found.to_dict()["steps"][0]["largest_group"] == 6


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"threshold": 0.7}, "select.0.dedup.threshold: goes with minhash or semantic only, not with exact"),
        ({"kind": "minhash", "threshold": 1.2}, "dedup.threshold: got 1.2; expected a number of at most 1"),
        ({"kind": "minhash", "embeddings": "v.npy"}, "dedup.embeddings: goes with semantic only, not with minhash"),
        ({"kind": "semantic", "words": 3}, "dedup.words: goes with minhash only, not with semantic"),
        ({"kind": "fuzzy"}, "dedup.kind: got 'fuzzy'; expected one of"),
    ],
)
def test_settings_that_go_with_nothing(step, message):
    with pytest.raises(ConfigError, match=message):
        Corpus.from_mapping({"domains": {"web": {"path": "web.jsonl", "select": [{"dedup": step}]}}})
