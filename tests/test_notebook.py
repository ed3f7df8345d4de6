"""What a notebook shows of the results: a line that can be read, and a table."""

from pathlib import Path

import foretrain
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NAME = "<b>plan</b>"


@pytest.fixture(scope="module")
def shown():
    """One of each result that a user gets, of a run whose name is HTML."""
    predictor = foretrain.load_predictor("web-text")
    config = foretrain.RunConfig.load(EXAMPLES / "llama-7b.yaml", [f"name={NAME}"])
    forecast = foretrain.forecast(config, predictor)
    study = {
        "run": {"model": {"params": "1B"}, "data": {"tokens": "20B"}, "name": NAME},
        "space": {"model.params": {"low": "100M", "high": "10B", "log": True}},
        "objective": "loss_nats",
        "search": {"trials": 5, "sampler": "random"},
    }
    return {
        "forecast": forecast,
        "predictor": predictor,
        "cluster": forecast.cluster,
        "found": foretrain.optimize(study, predictor),
    }


@pytest.mark.parametrize("name", ["forecast", "predictor", "cluster", "found"])
def test_a_result_is_short(shown, name):
    result = shown[name]
    assert repr(result).startswith(f"<{type(result).__name__}: ")
    assert "\n" not in repr(result)
    assert len(repr(result)) < 400
    page = result._repr_html_()
    assert all(f">{fact}<" in page for fact in result.summary())
    assert "<b>" not in page


def test_a_result_shows_its_pictures(shown):
    """Those of a report, in colours that need no style sheet; a predictor has none."""
    page = shown["forecast"]._repr_html_()
    assert page.count("<svg ") == page.count("<figcaption>") == 3
    assert "var(--" not in page
    assert f"{shown['forecast'].headline.perplexity.median:.2g}" in page.partition("</strong>")[0]
    assert "<svg" in shown["found"]._repr_html_()
    assert "<svg" not in shown["predictor"]._repr_html_()


def test_a_forecast_says_what_a_reader_looks_for(shown):
    perplexity = shown["forecast"].headline.perplexity
    text = repr(shown["forecast"])
    assert f"perplexity {perplexity.median:.4g} (" in text
    assert f"run {NAME}, 6.74B parameters, 2.00T tokens" in text
    assert "predictor web-text" in text


def test_a_tracked_run_says_its_verdict(tmp_path):
    lines = [f'{{"step": {step}, "loss": {2.0 + 20 / step**0.5}}}\n' for step in range(100, 5000, 100)]
    (tmp_path / "log.jsonl").write_text("".join(lines))
    config = foretrain.RunConfig.load(EXAMPLES / "llama-7b.yaml")
    result = foretrain.track(config, tmp_path / "log.jsonl")
    assert result.sentence in repr(result)
    assert len(repr(result)) < 400
