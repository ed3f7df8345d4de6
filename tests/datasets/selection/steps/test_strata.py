"""Quotas add up to what is kept, what a stratum lacks goes to others, and the best of each stratum come first."""

import numpy as np
import pytest
from foretrain.core.errors import ConfigError, CorpusError
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.selection.quota import best
from foretrain.datasets.selection.step import Chosen, Step
from foretrain.datasets.selection.steps.strata import order_within
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

SIZES = {0: 240, 1: 40, 2: 20}  # documents of three topics


@pytest.fixture
def stratified(chosen, tmp_path):
    """`stratified(stated, before)`: documents kept of each topic, as vectors divide them, after other steps."""
    topic = np.random.default_rng(0).permutation(np.repeat(list(SIZES), list(SIZES.values())))
    np.save(tmp_path / "v.npy", np.eye(3)[topic] + 0.01 * np.random.default_rng(1).standard_normal((300, 3)))

    def run(stated, before=()):
        steps = [*before, {"strata": {"clusters": 3, "embeddings": "v.npy", **stated}}]
        found = chosen([f"page {number:03d} of the web" for number in range(300)], steps)
        return np.bincount(topic[found.kept], minlength=3).tolist(), found, topic

    return run


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"keep": 0.2, "quotas": "equal"}, [20, 20, 20]),
        ({"keep": 0.5, "quotas": "equal"}, [90, 40, 20]),  # what the small ones lack goes to the large one
        ({"keep": 0.5}, [120, 20, 10]),
        ({"keep": 0.2, "quotas": [0.25, 0.5, 0.25]}, [15, 30, 15]),
        ({"keep": 0.3, "quotas": [0.2, 0.2, 0.6]}, [35, 35, 20]),
        ({"keep": 1}, [240, 40, 20]),
    ],
)
def test_each_stratum_gets_its_quota(stratified, stated, expected):
    counts, found, _ = stratified(stated)
    assert np.abs(np.subtract(counts, expected)).max() <= 1
    facts = found.to_dict()["steps"][0]
    assert sum(facts["bytes_kept_by_stratum"]) == found.to_dict()["bytes_kept"]
    assert facts["bytes_by_stratum"] == sorted(facts["bytes_by_stratum"], reverse=True)


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=20), min_size=1, max_size=5), st.floats(0.01, 1))
def test_quotas_add_up_to_what_is_kept(strata, keep):
    rng = np.random.default_rng(0)
    sizes = np.concatenate([np.array(some) for some in strata])
    scores = np.concatenate([-order_within(np.array(some), None, rng) for some in strata])
    kept = best(scores, sizes, keep, rng)
    assert keep * sizes.sum() <= sizes[kept].sum() + 1e-9
    assert sizes[kept].sum() < keep * sizes.sum() + sizes.max() + 1e-9


class Dislike(Step):
    """A judge that keeps everything, and likes no page of the second topic."""

    name = "dislike"
    topic: tuple[int, ...]

    @override
    def select(self, texts, rng) -> Chosen:
        return Chosen(np.ones(len(texts), bool), rng.random(len(texts)) - 5 * (np.array(self.topic) == 1))


def test_the_best_of_each_stratum_come_first(stratified):
    """So strata give a topic back that a judge dislikes, also where copies were looked for between the two."""
    _, _, topic = stratified({})
    counts, found, _ = stratified({"keep": 0.2, "quotas": "equal"}, [Dislike(topic=tuple(topic.tolist())), "dedup"])
    assert counts == [20, 20, 20]
    scores = found.outcomes[0].chosen.scores
    for number in SIZES:
        here = topic == number
        assert scores[here & found.kept].min() >= scores[here & ~found.kept].max(initial=-np.inf)


def test_more_strata_than_documents(chosen):
    with pytest.raises(CorpusError, match=r"web.select.0.strata: clusters: got 32 for 2 documents; expected as many"):
        chosen(["one", "two"], ["strata"])


def test_fewer_kinds_of_documents_than_strata(chosen):
    found = chosen(["same words"] * 20 + ["other text"] * 20, [{"strata": {"clusters": 8, "keep": 0.5}}])
    assert found.kept.sum() == 20
    assert found.to_dict()["steps"][0]["strata"] == 2


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"keep": 0}, "strata.keep: got 0; expected a number above 0"),
        ({"keep": 1.2}, "strata.keep: got 1.2; expected a number of at most 1"),
        ({"clusters": 0}, "strata.clusters: got 0; expected a number of at least 1"),
        ({"quotas": "most"}, "strata.quotas: got 'most'; expected equal, proportional, or shares"),
        ({"clusters": 2, "quotas": [0.5, 0.6]}, "strata.quotas: got shares with a sum of 1.1; expected"),
        ({"clusters": 2, "quotas": [1.0]}, "strata.quotas: got 1 shares; expected 2, one for each cluster"),
        ({"clusters": 2, "quotas": [1.5, -0.5]}, "strata.quotas: got .1.5, -0.5.; expected"),
        ({"clusters": 2, "quotas": [float("nan"), 1]}, "strata.quotas: got .nan, 1.; expected"),
    ],
)
def test_settings_that_make_no_sense(stated, message):
    with pytest.raises(ConfigError, match=message):
        Corpus.from_mapping({"domains": {"web": {"path": "web.jsonl", "select": [{"strata": stated}]}}})


def test_quotas_read_back():
    domain = {"path": "web.jsonl", "select": [{"strata": {"clusters": 2, "quotas": [0.5, 0.5]}}]}
    corpus = Corpus.from_mapping({"domains": {"web": domain}})
    assert Corpus.from_mapping(corpus.to_mapping()).domains == corpus.domains
