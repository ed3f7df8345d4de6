"""The model over tables: what a table is expected to be like, and how its spreads are learned."""

from dataclasses import replace

import numpy as np
import pytest
from foretrain.simulator.hierarchy.coordinates import LEVEL, PARAMS, SIZE, TOKENS, UNFINISHED
from foretrain.simulator.hierarchy.population import Population, Spreads, learn

SHAPES = [place for place in range(SIZE) if place != LEVEL]


def sd(belief) -> np.ndarray:
    """Standard deviations of all that these tables tell of: they have no unfinished runs."""
    return np.sqrt(np.diag(belief.covariance))[:UNFINISHED]


def test_beliefs_are_gaussians(small, make_labels):
    for labels in (make_labels(), make_labels("ann", "c4", "c4"), make_labels("new", {"c4": 0.5, "code": 0.5}, "new")):
        belief = small.expected(labels)
        assert belief.covariance == pytest.approx(belief.covariance.T)
        assert np.linalg.eigvalsh(belief.covariance).min() > 0


def test_a_known_table_gets_its_own_part(small, make_labels):
    labels = make_labels("ann", "pile", "c4")
    own = small.expected(labels)
    table = small.tables_of(labels)[0]
    told = slice(0, UNFINISHED)
    solved = np.linalg.solve(table.summary.information[told, told], table.summary.vector[told])
    assert own.mean[LEVEL] == pytest.approx(solved[LEVEL], abs=0.01)
    others = replace(small, tables=tuple(one for one in small.tables if one is not table))
    assert np.all(sd(own) < sd(others.expected(labels)))
    assert own.covariance[LEVEL, LEVEL] < 0.25 * others.expected(labels).covariance[LEVEL, LEVEL]


def test_the_same_names_without_an_author_are_another_table(small, make_labels):
    labels = make_labels("", "pile", "c4")
    assert small.tables_of(labels) == []
    assert sd(small.expected(labels))[LEVEL] > sd(small.expected(make_labels("bob", "pile", "c4")))[LEVEL]


@pytest.mark.parametrize("name", ["source", "corpus", "evaluated_on"])
def test_a_name_that_nobody_has_widens(small, make_labels, name):
    known = {"source": "cyd", "corpus": "c4", "evaluated_on": "c4"}
    new = known | {name: "new"}
    assert np.all(sd(small.expected(make_labels(**new))) > sd(small.expected(make_labels(**known))))
    unstated = known | {name: ""}
    assert small.expected(make_labels(**unstated)).covariance == pytest.approx(
        small.expected(make_labels(**new)).covariance
    )


def test_without_a_source_all_it_knew_is_wider(small, make_labels):
    left = small.without("bob")
    assert {table.labels.source for table in left.tables} == {"ann", "cyd"}
    for labels in (make_labels("bob", "pile", "pile"), make_labels("", "pile", "pile"), make_labels()):
        assert np.all(sd(left.expected(labels)) >= sd(small.expected(labels)) * (1 - 1e-9))


def test_a_composition_is_a_blend(small, make_labels):
    def level(corpus) -> float:
        return small.expected(make_labels("dan", corpus, "c4")).mean[LEVEL]

    ends = sorted((level("pile"), level("fine")))
    blends = [level({"pile": share, "fine": 1 - share}) for share in (0.25, 0.5, 0.75)]
    assert ends[0] < min(blends) < max(blends) < ends[1]
    assert blends[1] == pytest.approx(np.mean(ends))
    half_new = small.expected(make_labels("dan", {"pile": 0.5, "new": 0.5}, "c4"))
    assert sd(small.expected(make_labels("dan", "pile", "c4")))[LEVEL] < sd(half_new)[LEVEL]
    assert sd(half_new)[LEVEL] < sd(small.expected(make_labels("dan", "new", "c4")))[LEVEL]


def test_the_order_of_tables_does_not_matter(small, make_labels):
    turned = replace(small, tables=small.tables[::-1])
    for labels in (make_labels("ann", "c4", "pile"), make_labels("dan", "pile", "c4"), make_labels()):
        a, b = small.expected(labels), turned.expected(labels)
        assert a.mean == pytest.approx(b.mean)
        assert a.covariance == pytest.approx(b.covariance, abs=1e-9)


def test_bytes_per_token_move_the_level_alone_and_their_doubt_widens_it_alone(small, make_labels):
    plain = small.expected(make_labels("dan", "c4", "c4"))
    longer = small.expected(make_labels("dan", "c4", "c4", bytes_per_token=8.0))
    assert longer.mean[LEVEL] - plain.mean[LEVEL] == pytest.approx(np.log(2))
    assert longer.mean[SHAPES] == pytest.approx(plain.mean[SHAPES])
    doubted = small.expected(make_labels("dan", "c4", "c4", bytes_log_sd=0.2))
    more = doubted.covariance - plain.covariance
    assert more[LEVEL, LEVEL] == pytest.approx(0.2**2 - 0.01**2)
    assert np.abs(more[SHAPES]).max() < 1e-9


def test_new_authors_are_shifted_and_known_ones_are_not(small, make_labels):
    shift = np.zeros(SIZE)
    shift[PARAMS] = -0.3
    shifted = replace(small, shift=shift)
    for source, by in (("ann", 0.0), ("dan", -0.3), ("", -0.3)):
        labels = make_labels(source, "fine", "c4")
        assert shifted.expected(labels).mean - small.expected(labels).mean == pytest.approx(by * np.eye(SIZE)[PARAMS])


def test_a_set_whose_levels_agree_narrows_tables_on_it(small, make_labels):
    labels = make_labels("dan", "c4", "c4")
    wide = replace(small.spreads, level_sd={"c4": 0.2})
    narrow = replace(small.spreads, level_sd={"c4": 0.005})
    levels = [sd(replace(small, spreads=some).expected(labels))[LEVEL] for some in (narrow, small.spreads, wide)]
    assert levels == sorted(levels)
    assert wide.own_part(labels)[LEVEL, LEVEL] == pytest.approx(0.2**2 + 0.01**2)
    assert np.linalg.eigvalsh(wide.own_part(labels)).min() > 0


def test_the_author_of_a_corpus(small, make_labels):
    assert small.author_of(make_labels("", "fine", "c4")) == "cyd"
    assert small.author_of(make_labels("", "pile", "c4")) == ""  # two of them
    assert small.author_of(make_labels("", "new", "c4")) == ""
    only_ann = [one for one in small.tables if (one.labels.source, one.labels.evaluated_on) != ("bob", "pile")]
    assert replace(small, tables=tuple(only_ann)).author_of(make_labels("", "pile", "pile")) == "ann"


@pytest.fixture(scope="module")
def simulated(make_table, make_labels, spreads):
    """Sixteen authors who trained on three of eight corpora, judged on one or two of three sets, of known spreads."""
    rng = np.random.default_rng(3)
    true = replace(spreads, source=4 * spreads.source, table=2 * spreads.table)

    def off(covariance, names):
        return {name: rng.multivariate_normal(np.zeros(SIZE), covariance) for name in names}

    of_author = off(true.source, [f"author{number}" for number in range(16)])
    of_corpus = off(true.corpus, [f"corpus{number}" for number in range(8)])
    of_set = off(true.evaluated_on, ["c4", "pile", "wiki"])
    usual = np.array([0.0, -0.6, 0.0, -1.0, -1.1, -0.2, 0.05])
    tables = []
    for author, his in of_author.items():
        for corpus in rng.permutation(list(of_corpus))[:3]:
            for judged in rng.permutation(list(of_set))[: rng.integers(1, 3)]:
                theta = usual + his + of_corpus[corpus] + of_set[judged]
                theta += rng.multivariate_normal(np.zeros(SIZE), true.table)
                labels = make_labels(author, str(corpus), str(judged))
                tables.append(make_table(labels, theta, n=12, noise=0.001, seed=len(tables)))
    return tables, true


def test_spreads_are_learned(simulated):
    tables, true = simulated
    start = Spreads(*(np.diag(np.full(SIZE, 0.15**2)) for _ in range(4)))
    found = learn(tables, lambda table, _: table, kinds=("web",), start=start, shift=np.zeros(SIZE)).spreads
    for effect in ("source", "corpus", "table"):
        got, wanted = (np.sqrt(getattr(of, effect)[LEVEL, LEVEL]) for of in (found, true))
        assert wanted / 2 < got < wanted * 2, effect
    for place in (PARAMS, TOKENS):
        whole = [np.sqrt((of.source + of.corpus + of.table)[place, place]) for of in (found, true)]
        assert whole[0] == pytest.approx(whole[1], rel=0.5)
    for name in ("source", "evaluated_on", "corpus", "table"):
        assert np.linalg.eigvalsh(getattr(found, name)).min() > 0
    assert set(found.level_sd) == {"c4", "pile", "wiki"}


def test_tables_are_read_again_with_what_the_others_say(simulated):
    tables, true = simulated
    seen = []

    def refit(table, belief):
        seen.append((table.labels.key, belief))
        return table

    found = learn(tables[:6], refit, kinds=("web",), start=true, shift=np.zeros(SIZE), rounds=2)
    assert isinstance(found, Population)
    assert [key for key, _ in seen] == [table.labels.key for table in tables[:6]] * 2
    for _, belief in seen:
        assert np.linalg.eigvalsh(belief.covariance).min() > 0
