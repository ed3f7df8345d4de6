import itertools
import math
import re

import numpy as np
import pytest
from foretrain.core.errors import InfeasibleError
from foretrain.core.reading.fields import FieldError
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.tokens.prepare import prepare
from foretrain.proxies.design.mixes import (
    DomainFacts,
    check_epochs,
    domain_facts,
    named_mixes,
    sample_mixes,
    share_caps,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

NAMES = ["books", "code", "web", "news", "talk"]
FACTS = {"books": DomainFacts(1e6, 3e9), "web": DomainFacts(3e6, 9e9)}
SPREAD = (0.1, 0.3, 1.0, 3.0)


def rng(seed=0):
    return np.random.default_rng(seed)


def nearest_pair(mixes):
    roots = np.sqrt(mixes)
    return min(np.linalg.norm(a - b) for a, b in itertools.combinations(roots, 2))


@st.composite
def bounded(draw):
    """Domains with bounds that leave room for a mix."""
    names = NAMES[: draw(st.integers(2, 5))]
    lows = [draw(st.floats(0, 0.9 / len(names))) for _ in names]
    highs = [draw(st.floats(low + 0.05, 1)) for low in lows]
    assume(math.fsum(highs) > 1.1)
    return names, dict(zip(names, zip(lows, highs, strict=True), strict=True))


@settings(deadline=None, max_examples=40)
@given(bounded(), st.integers(0, 2**32), st.integers(1, 8), st.lists(st.floats(0.01, 30), min_size=1, max_size=4))
def test_rows_are_mixes_within_bounds_and_differ(case, seed, count, concentrations):
    names, bounds = case
    mixes = sample_mixes(names, count, concentrations, bounds, rng(seed))
    low, high = np.array([bounds[name] for name in names]).T
    assert mixes.shape == (count, len(names))
    assert np.allclose(mixes.sum(axis=1), 1, atol=1e-9)
    assert (mixes >= low).all()
    assert (mixes <= high).all()
    assert count == 1 or nearest_pair(mixes) > 1e-6
    assert (sample_mixes(names, count, concentrations, bounds, rng(seed)) == mixes).all()


@settings(deadline=None, max_examples=20)
@given(bounded(), st.integers(0, 2**32), st.randoms())
def test_reordering_domains_reorders_columns_only(case, seed, random):
    names, bounds = case
    other = random.sample(names, len(names))
    before, after = (sample_mixes(order, 5, SPREAD, bounds, rng(seed)) for order in (names, other))
    assert (after == before[:, [names.index(name) for name in other]]).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("count", "domains"), [(12, 3), (24, 5)])
def test_a_design_spreads_more_than_independent_draws(count, domains, seed):
    design = sample_mixes(NAMES[:domains], count, SPREAD, {}, rng(seed))
    independent = [
        np.concatenate([rng(seed * 100 + k).dirichlet(np.full(domains, c), count // 4) for c in SPREAD])
        for k in range(20)
    ]
    assert nearest_pair(design) > max(nearest_pair(draws) for draws in independent)
    # both ends of sparsity are there
    assert design.max(axis=1).max() > 0.9
    assert design.max(axis=1).min() < 0.6


def test_a_design_keeps_clear_of_what_is_there_already():
    beside = [{"a": 1.0}, {"b": 1.0}, {"a": 0.5, "b": 0.5}]
    mixes = sample_mixes(["a", "b"], 4, [1.0], {}, rng(), beside)
    assert nearest_pair(np.vstack([mixes, [[1, 0], [0, 1], [0.5, 0.5]]])) > 0.1


def test_the_first_mixes_are_a_spread_design_too():
    mixes = sample_mixes(NAMES, 32, SPREAD, {}, rng())
    assert nearest_pair(mixes[:8]) > nearest_pair(mixes)


@pytest.mark.parametrize(
    ("names", "bounds"), [(["a"], {}), (["a", "b"], {"a": (0.3, 0.3)}), (["a", "b"], {"a": (0.5, 1), "b": (0.5, 1)})]
)
def test_bounds_that_leave_one_mix(names, bounds):
    assert sample_mixes(names, 1, SPREAD, bounds, rng()).sum() == pytest.approx(1)
    with pytest.raises(FieldError, match=r"mixes\.sample: got 2; the bounds leave only 1 different mixes more"):
        sample_mixes(names, 2, SPREAD, bounds, rng())


def test_named_mixes():
    assert named_mixes("natural", FACTS, "mix") == [{"books": 0.25, "web": 0.75}]
    assert named_mixes("uniform", FACTS, "mix") == [{"books": 0.5, "web": 0.5}]
    assert named_mixes("single", FACTS, "mix") == [{"books": 1.0}, {"web": 1.0}]
    assert named_mixes({"web": 1.0}, FACTS, "mix") == [{"web": 1.0}]
    # one unstated stock, and the stated ones no longer compare with it
    unstated = {"books": DomainFacts(1e6, 1e12), "web": DomainFacts(1e6)}
    assert named_mixes("natural", unstated, "mix") == [{"books": 0.5, "web": 0.5}]
    with pytest.raises(FieldError, match=r"mix\.bok: there is no domain 'bok'; expected one of books, web"):
        named_mixes({"bok": 1.0}, FACTS, "mix")


LITTLE = {"books": DomainFacts(100_000, max_epochs=2), "web": DomainFacts(1e6, max_epochs=4), "code": DomainFacts(1.0)}


def test_epochs_cap_shares():
    assert share_caps(LITTLE, {"web": (0.1, 0.9)}, 1e6) == {"books": (0, 0.2), "web": (0.1, 0.9), "code": (0, 1)}
    mixes = sample_mixes([*LITTLE], 10, SPREAD, share_caps(LITTLE, {}, 8e6), rng())
    for row in mixes:
        check_epochs(dict(zip(LITTLE, row, strict=True)), 8e6, LITTLE, "run")


@pytest.mark.parametrize(
    ("bounds", "tokens", "error", "message"),
    [
        ({"bok": (0, 1)}, 1e6, FieldError, "mixes.bounds.bok: there is no domain 'bok'"),
        ({"books": (0.6, 1), "web": (0.6, 1)}, 1, FieldError, "mixes.bounds: the lowest shares sum to 1.2"),
        (dict.fromkeys(LITTLE, (0, 0.3)), 1, FieldError, "mixes.bounds: the highest shares sum to 0.9"),
        ({"books": (0.3, 1)}, 1e6, InfeasibleError, "mixes.bounds.books.low: got 0.3; max_epochs lets a run of 1.00M"),
        ({"code": (0, 0.1)}, 8e6, InfeasibleError, "take at most these shares: 'books' 0.025, 'web' 0.5; together"),
    ],
)
def test_bounds_and_epochs_that_leave_no_mix(bounds, tokens, error, message):
    with pytest.raises(error, match=re.escape(message)):
        share_caps(LITTLE, bounds, tokens)


def test_a_mix_that_repeats_too_much_is_refused_by_name():
    check_epochs({"books": 0.2, "web": 0.8}, 1e6, LITTLE, "run")
    with pytest.raises(InfeasibleError) as caught:
        check_epochs({"books": 0.5, "web": 0.5}, 1e6, LITTLE, "ladder")
    assert str(caught.value) == (
        "ladder: domain 'books': 0.5 of 1.00M tokens are 5 epochs of its 100k tokens; max_epochs allows 2: lower its "
        "share, train on fewer tokens (at most 400k at this share) or prepare more text"
    )


def test_the_facts_of_a_prepared_corpus(tmp_path):
    source = {"synthetic": {"kind": "zipf", "vocab_size": 300, "tokens": 5000}}
    domains = {"z": source, "a": {**source, "unique_tokens": "3B", "max_epochs": 2}}
    store = prepare(Corpus.from_mapping({"domains": domains}), tmp_path / "store")
    facts = domain_facts(store)
    assert [*facts] == ["a", "z"]
    assert facts["a"] == DomainFacts(store.count("a", "train"), 3e9, 2)
    assert facts["z"] == DomainFacts(store.count("z", "train"), None, None)


def test_narrow_bounds_are_filled_and_not_just_touched():
    """Draws that were clipped to narrow bounds all fell on the same edge, and the design found a single mix."""
    mixes = sample_mixes(["a", "b", "c"], 16, SPREAD, {"a": (0.25, 0.3)}, rng())
    inside = (mixes[:, 0] > 0.251) & (mixes[:, 0] < 0.299)
    assert inside.sum() >= 8
    assert mixes[:, 1].min() < 0.05
    assert mixes[:, 1].max() > 0.65
