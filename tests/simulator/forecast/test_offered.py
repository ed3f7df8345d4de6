"""What `simulate predictors` lists: everything that ships, as plans find it."""

import io

import pytest
from foretrain.datasets.facts.corpora import find_corpus, find_evaluation_set
from foretrain.datasets.facts.tokenizers import find_tokenizer
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.forecast.offered import offered
from foretrain.simulator.predictor.storage.folder import load, shipped
from foretrain.simulator.report.tables.forecast import predictors_view
from rich.console import Console


@pytest.fixture(scope="module")
def found():
    return offered()


def test_every_predictor_that_ships_is_listed_the_default_first(found):
    names = [one.name for one in found.predictors]
    assert names[0] == "web-text"
    assert sorted(names) == sorted(shipped())
    refusing = [one.name for one in found.predictors if one.perplexity_ratio is None]
    # proxies are eight decades below, and all runs of the other saw 131B tokens
    assert refusing == ["proxy-architectures", "routing-moe"]


def test_widths_are_those_of_a_plan_that_names_the_text(found, plan):
    text = next(one for one in found.texts if one.corpus == "llama2_mix")
    named = plan("7B", "2T", corpus=text.corpus, tokenizer=text.tokenizer)
    low, high = forecast(named, load("web-text")).headline.perplexity.intervals[0.9]
    assert text.perplexity_ratio == pytest.approx(high / low)
    assert 1 < text.perplexity_ratio < found.predictors[0].perplexity_ratio


def test_names_are_such_as_a_plan_may_state(found):
    for one in found.texts:
        assert find_corpus(one.corpus) is not None
        assert one.tokenizer is None or find_tokenizer(one.tokenizer) is not None
        assert one.evaluated_on == "its own mix" or find_evaluation_set(one.evaluated_on) is not None
        assert one.params[0] <= one.params[1]
        assert one.tokens[0] <= one.tokens[1]
        assert one.runs >= 1


def test_the_view_fits_100_columns_and_shows_each_text_once(found):
    console = Console(file=io.StringIO(), width=10_000, highlight=False)
    console.print(predictors_view(found))
    lines = console.file.getvalue().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 100
    rows = [line for line in lines if line.startswith("llama2_mix")]
    assert len(rows) == 1
    assert rows[0].split()[:3] == ["llama2_mix", "llama2", "llama2"]
    assert not any("training:" in line for line in lines)
