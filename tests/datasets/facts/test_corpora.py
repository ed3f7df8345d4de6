import csv
import json
import os
from pathlib import Path

import pytest
from foretrain.datasets.facts import corpora as catalogue
from foretrain.datasets.facts.catalogue import folded
from foretrain.datasets.facts.corpora import (
    KINDS,
    EvaluationSet,
    composition_of,
    composition_text,
    corpora,
    evaluation_sets,
    find_corpus,
    find_evaluation_set,
    kinds_of,
    nearest_corpora,
    nearest_evaluation_sets,
)
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

FACTS = json.loads((Path(__file__).parents[3] / "datasets/facts/corpora.json").read_text(encoding="utf-8"))
SHARED = Path(os.environ.get("FORETRAIN_SHARED", Path(__file__).parents[4] / "shared")) / "data"
EVERY = [*corpora().values(), *evaluation_sets().values()]
NAMES = st.sampled_from([*corpora(), *KINDS])


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: f"{type(entry).__name__}-{entry.name}")
def test_every_text_has_kinds_that_sum_to_1_and_says_where_they_are_from(entry):
    assert set(entry.kinds) <= set(KINDS)
    assert sum(entry.kinds.values()) == pytest.approx(0 if getattr(entry, "own_mix", False) else 1, abs=1e-9)
    assert entry.sources
    assert set(entry.sources) <= set(catalogue.sources())


@pytest.mark.parametrize("entries", ["corpora", "evaluation_sets"])
def test_no_name_means_two_things(entries):
    seen = {}
    for name, entry in FACTS[entries].items():
        for spelling in {folded(name), *map(folded, entry.get("aliases", ()))}:
            assert spelling
            assert seen.setdefault(spelling, name) == name


@pytest.mark.parametrize("spelling", ["FineWeb-Edu", "fineweb_edu", " fineweb edu", "FINEWEB/EDU", "fineweb%edu"])
def test_names_are_compared_without_case_blanks_and_signs(spelling):
    assert find_corpus(spelling).name == "fineweb_edu"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("finewebb", ["fineweb", "fineweb_edu"]), ("slimpijama", ["slimpajama"]), ("dclmm", ["dclm"]), ("", [])],
)
def test_a_name_one_letter_off_is_suggested_and_not_guessed(name, nearest):
    assert find_corpus(name) is None
    assert kinds_of(name) is None
    assert set(nearest_corpora(name)[: len(nearest)]) <= {*nearest, "fineweb_2"}
    assert nearest_corpora(name)[:1] == nearest[:1]


def test_sets_are_suggested_too():
    assert find_evaluation_set("c4_enn") is None
    assert nearest_evaluation_sets("c4_enn")[0] == "c4_en"


def test_variants_are_known_by_how_their_names_begin():
    assert find_corpus("rw_v2_fasttext_openhermes_vs_rw_v2_bigram_0.1").name == "dclm_pool"
    assert find_evaluation_set("bbc_news_20240501to20240515").name == "uncheatable_bbc_news"


def test_the_runs_own_mix_has_no_kinds_of_its_own():
    assert find_evaluation_set("training").own_mix
    assert kinds_of("training", evaluation=True) is None


def test_what_a_name_means_depends_on_its_use():
    assert kinds_of("paloma_redpajama", evaluation=True) == kinds_of("redpajama", evaluation=True)
    assert kinds_of("redpajama") != kinds_of("redpajama", evaluation=True)


@given(st.dictionaries(NAMES, st.floats(0.01, 1), min_size=1, max_size=6))
def test_a_composition_lies_between_its_parts(parts):
    kinds = kinds_of(parts)
    assert sum(kinds.values()) == pytest.approx(1, abs=1e-6)
    for kind in KINDS:
        of_parts = [kinds_of(name).get(kind, 0) for name in parts]
        assert min(of_parts) - 1e-6 <= kinds.get(kind, 0) <= max(of_parts) + 1e-6


@given(st.dictionaries(NAMES, st.integers(1, 100), min_size=2, max_size=5))
def test_a_composition_written_as_text_reads_back(parts):
    total = sum(parts.values())
    shares = {name: count / total for name, count in parts.items()}
    back = composition_of(composition_text(shares))
    assert list(back) == list(shares)
    assert list(back.values()) == pytest.approx(list(shares.values()), rel=1e-4)


@pytest.mark.parametrize(
    "text", ["web", "web:0.8", "web:0.8+code:0.4", "web:0.5+web:0.5", "nemotron_cc, starcoder", "+", ""]
)
def test_other_text_is_no_composition(text):
    assert composition_of(text) is None


def test_an_unknown_part_leaves_the_composition_unknown():
    assert kinds_of({"web": 0.5, "finewebb": 0.5}) is None
    assert kinds_of({"web": 0.0}) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [({"kinds": {"web": 0.7}}, "sum to 1"), ({"kinds": {"wbe": 1.0}}, "expected web"), ({"kinds": {}}, "own_mix")],
)
def test_entries_that_make_no_sense_are_refused(change, message):
    entry = {"name": "new", "what": "new", "kinds": {"web": 1.0}, "sources": ["plain"], "evidence": "stated"}
    with pytest.raises(ValidationError, match=message):
        EvaluationSet.model_validate(entry | change)


def _stated(columns):
    """Every value of these columns in the shared tables."""
    found = set()
    for path in sorted(SHARED.rglob("*.csv")):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                found |= {row[column] for column in columns if row.get(column)}
    return sorted(found)


def _domains():
    """Every domain that a loss column of the shared tables is named after."""
    found = set()
    for path in sorted(SHARED.rglob("*.csv")):
        with path.open(newline="") as file:
            found |= {name.removeprefix("loss.") for name in next(csv.reader(file)) if name.startswith("loss.")}
    return sorted(found)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared tables are not here")
def test_every_name_of_the_shared_tables_is_known():
    assert [name for name in _stated(["corpus", "dataset"]) if kinds_of(name) is None] == []
    sets = [*_stated(["val_domain", "bpb_domain"]), *_domains()]
    unknown = [name for name in sets if find_evaluation_set(name) is None]
    assert unknown == []
