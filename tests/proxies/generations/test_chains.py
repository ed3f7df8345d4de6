"""The plan of chains: who writes what for whom, with which limits and seeds."""

import pytest
from foretrain.core.model.architecture import Architecture
from foretrain.core.reading.fields import FieldError
from foretrain.proxies.generations.chains import Chains, FreshText, WrittenText
from foretrain.proxies.runs import Recipe
from hypothesis import given
from hypothesis import strategies as st

CONTEXT = 16
SHAPE = Architecture(layers=1, width=8, heads=1, ffn_width=16, vocab_size=32, context_length=CONTEXT)
ALL = (
    ("replace", 0.0), ("replace", 0.1), ("replace", 0.5), ("accumulate", 0.0), ("accumulate_fixed", 0.0),
    ("subsample", 0.0), ("fresh", 0.0),
)  # fmt: skip


def chains(chosen=ALL, seeds=(3, 4), unique_tokens=4_000.0, mix=None):
    mix = mix or {"a": 0.75, "b": 0.25}
    return Chains(tuple(chosen), "self", seeds, "transformer", SHAPE, Recipe(), 8_000.0, 4, mix, unique_tokens)


@given(st.lists(st.sampled_from(ALL), min_size=1, unique=True), st.integers(1, 6), st.floats(2_000, 1e6))
def test_every_text_is_there_when_it_is_needed_and_long_enough(chosen, count, unique_tokens):
    planned = [chains(chosen, unique_tokens=unique_tokens).generation(number) for number in range(count + 1)]
    ids: set[str] = set()
    windows: dict[str, int] = {}
    for plan in planned:
        for text in plan.texts:
            assert text.key not in windows
            if isinstance(text, WrittenText):
                assert text.writer in ids, "written by a run of the generation before"
                windows[text.key] = text.samples
            else:
                windows[text.key] = sum(text.samples.values())
        for run in plan.runs:
            assert run.texts.keys() <= windows.keys()
            for key in run.texts:
                # up to a window of each domain that is cut
                assert windows[key] >= run.unique_tokens[key] / CONTEXT - 2
        ids = {run.run_id for run in plan.runs}
        assert len(ids) == len(plan.runs)


def test_generation_0_and_what_it_writes_belong_to_all_chains_of_a_seed():
    plan = chains().generation(0)
    assert [(run.run_id, run.seed, run.chain, run.texts) for run in plan.runs] == [
        ("g0-s3", 3, None, {}),
        ("g0-s4", 4, None, {}),
    ]
    first = chains().generation(1)
    assert [text.key for text in first.texts] == ["g0-s3", "g0-s4", "fresh-1"]
    assert first.texts[0].samples == 4_000 // CONTEXT
    assert {run.seed for run in first.runs} == {3, 4}
    assert len(first.runs) == 2 * len(ALL)


def test_equal_seeds_write_by_equal_seeds_whatever_the_regime():
    texts = [text for text in chains().generation(3).texts if isinstance(text, WrittenText)]
    seeds = {text.writer[-2:]: set() for text in texts}
    for text in texts:
        seeds[text.writer[-2:]].add(text.seed)
    assert len(seeds["s3"]) == len(seeds["s4"]) == 1
    assert seeds["s3"] != seeds["s4"]


def test_rows_say_which_chain():
    runs = {run.run_id: run for run in chains().generation(2).runs}
    half, fresh = runs["g2-replace-0.5-s3"], runs["g2-fresh-s3"]
    assert half.chain.model_dump() == {"generator": "self", "regime": "replace", "real_share": 0.5, "generation": 2}
    assert (half.texts, half.unique_tokens) == (
        {"g1-replace-0.5-s3": 0.5},
        {"a": 1_500, "b": 500, "g1-replace-0.5-s3": 2_000},
    )
    assert (fresh.chain.generator, fresh.chain.regime, fresh.texts) == ("none", "fresh", {"fresh-2": 1.0})
    assert runs["g2-accumulate-s3"].tokens == 3 * runs["g2-accumulate_fixed-s3"].tokens


def test_fresh_text_follows_what_earlier_generations_had():
    texts = [one for number in (1, 2) for one in chains().generation(number).texts if isinstance(one, FreshText)]
    stock = {"a": 3_000 // CONTEXT, "b": 1_000 // CONTEXT}
    assert [text.first for text in texts] == [stock, {domain: 2 * windows for domain, windows in stock.items()}]
    assert all(text.samples == stock for text in texts)


def test_too_little_real_text_is_refused_with_figures():
    windows = {"a": 300, "b": 300}
    chains([("subsample", 0.0)]).check_stock(windows, 3)
    with pytest.raises(FieldError) as caught:
        chains([("fresh", 0.0)]).check_stock(windows, 3)
    assert str(caught.value) == (
        "generations.unique_tokens: got 4.00k, which takes 12.0k tokens of a for fresh text in each of 4 generations; "
        "its training text has 4.80k: expected at most 1.60k, or more text"
    )


def test_parts_of_a_corpus_below_a_window_are_refused():
    with pytest.raises(FieldError, match="less than a context of 16 tokens"):
        chains([("subsample", 0.0)], unique_tokens=200.0).check_stock({"a": 300, "b": 300}, 5)
