"""The step judge: exactly one judge, from a file, another package, or a classifier distilled from a few labels."""

import json
import sys
from typing import ClassVar

import numpy as np
import pytest
from foretrain.core.errors import ConfigError, CorpusError, MissingExtraError
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.selection.judges import Judge, Judged, _judge, register_judge
from foretrain.datasets.selection.selection import select

WORDS = {"who": ("cat", "dog", "bird", "girl"), "does": ("sees", "likes", "hears"), "how": ("old", "small", "red")}
N = 120


def sentences(rng) -> str:
    def one():
        who, whom = rng.choice(WORDS["who"], 2)
        return f"The {rng.choice(WORDS['how'])} {who} {rng.choice(WORDS['does'])} a {rng.choice(WORDS['how'])} {whom}."

    return " ".join(one() for _ in range(8))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Sentences, and in every other document the same words shuffled."""
    folder, rng = tmp_path_factory.mktemp("judge"), np.random.default_rng(5)
    texts = [sentences(rng) for _ in range(N)]
    texts = [" ".join(rng.permutation(text.split())) if n % 2 else text for n, text in enumerate(texts)]
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    for name, rows in {
        "labels": [(n, int(n % 2 == 0)) for n in range(40)],
        "graded": [(n, (n % 2 == 0) * 5 + rng.random()) for n in range(40)],
        "few": [(n, n % 2) for n in range(19)],
        "same": [(n, 1) for n in range(40)],
        "lone": [(n, int(n < 4)) for n in range(40)],
        "scores": [(n, (n * 7) % N) for n in range(N)],
        "equal": [(n, 3) for n in range(N)],
    }.items():
        (folder / f"{name}.csv").write_text("document,label,score\n" + "".join(f"{n},{v},{v}\n" for n, v in rows))
    return Corpus.from_mapping({"validation_share": 0, "domains": {"a": {"path": "a.jsonl"}}}, "c.yaml", folder)


def judged(corpus, **settings):
    """The selection of a judge."""
    described = {"validation_share": 0, "domains": {"a": {"path": "a.jsonl", "select": [{"judge": settings}]}}}
    return select(Corpus.from_mapping(described, "c.yaml", corpus.folder), "a")


class Order(Judge):
    """How many of the sentences are in order, for as many texts as it is asked about."""

    asked: ClassVar[list[str]] = []
    answer: str = "order"

    def judge(self, texts, folder, place):
        """Note the texts, and answer."""
        self.asked[:] = texts
        scores = np.array([text.count(". The ") for text in self.asked], float)
        scores = {"few": scores[1:], "nan": scores * np.nan, "same": scores * 0, "words": ["good"] * len(scores)}.get(
            self.answer, scores
        )
        if self.answer == "bare":
            return scores
        return Judged(scores, {"parameters": {10} if self.answer == "facts" else 10, "tokens": 7, "flops": 140.0})


@pytest.fixture
def plugin():
    register_judge("order")(Order)
    yield Order
    _judge._JUDGES.remove("order")


def area(good, scores):
    """The chance that a good document scores above another."""
    return (scores[good][:, None] > scores[~good]).mean()


def test_the_best_scores_are_kept_up_to_a_share_of_the_bytes(corpus):
    selection = judged(corpus, scores="scores.csv", keep=0.3)
    scores = (np.arange(N) * 7) % N
    assert scores[selection.kept].min() > scores[~selection.kept].max()
    assert selection.kept_share == pytest.approx(0.3, abs=0.01)
    other = judged(corpus, scores="scores.csv", column="label", keep=0.3)
    np.testing.assert_array_equal(other.kept, selection.kept)
    assert judged(corpus, scores="scores.csv", keep=1).kept.all()


@pytest.mark.parametrize("name", ["labels", "graded"])
def test_a_classifier_learns_order_from_a_few_labels(corpus, name):
    """Every word is in both kinds of documents; only their order tells them apart."""
    selection = judged(corpus, labels=f"{name}.csv", keep="50%")
    good, (outcome,) = np.arange(N) % 2 == 0, selection.outcomes
    assert area(good[40:], outcome.chosen.scores[40:]) > 0.95
    facts = outcome.chosen.facts
    assert (facts["labels"], facts["labels_good"], facts["auc_held_out"] > 0.9) == (40, 20, True)
    again = judged(corpus, labels=f"{name}.csv", keep="50%")
    assert (again.digest, list(again.kept)) == (selection.digest, list(selection.kept))


def test_a_dear_judge_labels_a_sample_that_a_classifier_learns_from(corpus, plugin):
    whole = judged(corpus, plugin="order")
    assert len(plugin.asked) == N
    assert whole.outcomes[0].chosen.facts["cost"].items() > {"parameters": 10, "tokens": 7, "flops": 140.0}.items()
    assert whole.outcomes[0].chosen.facts["cost"]["seconds"] > 0
    samples = {}
    for seed in (1, 1, 2):
        distilled = judged(corpus, plugin="order", distil=50, seed=seed)
        samples.setdefault(seed, []).append(tuple(plugin.asked))
        scores, facts = distilled.outcomes[0].chosen.scores, distilled.outcomes[0].chosen.facts
        assert area(np.arange(N) % 2 == 0, scores) > 0.9
        assert (facts["labels"], facts["cost"]["flops"]) == (50, 140.0)
    assert samples[1][0] == samples[1][1] != samples[2][0]
    assert {len(sample) for (sample, *_) in samples.values()} == {50}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": "few.csv"}, r"few\.csv: 19 of its labels are of documents that reach it; expected 20 at least"),
        ({"labels": "same.csv"}, r"same\.csv: all 40 labels are 1; expected two classes, or scores"),
        ({"labels": "lone.csv"}, r"lone\.csv: 4 of 40 labels are of the rarer class; expected 5 at least"),
        ({"labels": "none.csv"}, r"none\.csv: can't be read: "),
        ({"scores": "equal.csv"}, r"equal\.csv: score: is 3 for all 120 documents; expected scores that differ"),
        ({"scores": "labels.csv"}, r"labels\.csv: 80 of 120 documents have no score, such as \S+a\.jsonl:41, "),
        (
            {"plugin": {"order": {"answer": "few"}}},
            "order: gave 119 finite scores; expected 120, one for each",
        ),
        ({"plugin": {"order": {"answer": "nan"}}}, "order: gave 0 finite scores; expected 120"),
        ({"plugin": {"order": {"answer": "bare"}}}, r"order: answers array\([^;]*\); expected a Judged"),
        ({"plugin": {"order": {"answer": "words"}}}, "order: gave scores of type <U4; expected real numbers"),
        ({"plugin": {"order": {"answer": "facts"}}}, "order: facts: got {.*}; expected plain values by name"),
        ({"plugin": {"order": {"answer": "same"}}}, "order: is 0 for all 120 documents"),
        ({"plugin": {"order": {"answer": "same"}}, "distil": 40}, "labels by order: all 40 labels are 0"),
    ],
)
def test_what_cannot_be_judged_by_is_said(corpus, plugin, settings, message):
    with pytest.raises(CorpusError, match=rf"^c\.yaml: domains\.a\.select\.0\.judge: \S*{message}"):
        judged(corpus, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "judge: got no judge; expected one of scores, model, plugin, labels"),
        ({"scores": "a.csv", "labels": "b.csv"}, "judge: got scores and labels; expected one of"),
        ({"model": "m", "column": "x"}, "judge.column: goes with scores or labels only"),
        ({"scores": "a.csv", "distil": 200}, "judge.distil: goes with model or plugin only"),
        ({"model": "m", "distil": 19}, "judge.distil: got 19; expected a number of at least 20"),
        ({"scores": "a.csv", "keep": 0}, "judge.keep: got 0; expected a number above 0"),
        ({"scores": "a.csv", "keep": 1.2}, "judge.keep: got 1.2; expected"),
        ({"plugin": "acme"}, "judge.plugin: got 'acme'; no such judge is installed; expected one of ask_llm"),
        ({"plugin": {"order": {"answers": 1}}}, "judge.plugin.order.answers: unknown key"),
        ({"plugin": 3}, "judge.plugin: got 3; expected the name of one judge"),
    ],
)
def test_what_a_judge_may_not_be_told(corpus, plugin, settings, message):
    with pytest.raises(ConfigError, match=r"^c\.yaml: domains\.a\.select\.0\.") as caught:
        judged(corpus, **settings)
    assert message in str(caught.value)


def test_a_classifier_without_its_library_is_said(corpus, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match="a classifier of documents needs sklearn; install it with"):
        judged(corpus, labels="labels.csv")
