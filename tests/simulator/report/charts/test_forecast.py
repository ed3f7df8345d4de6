"""The chart: the plan, its bands and its target are in the specification; files come in three formats."""

import numpy as np
import pytest
from foretrain.core.errors import UsageError
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.predictor.storage.folder import load
from foretrain.simulator.report.charts.altair_old import FORMATS, forecast_chart, save_chart


@pytest.fixture(scope="module")
def web():
    return load("web-text")


def spec_of(config, predictor) -> dict:
    return forecast_chart(forecast(config, predictor), predictor).to_dict()


def datasets(spec: dict) -> list[list[dict]]:
    """The rows of every data set in a specification, wherever Altair put them."""
    found = [layer["data"]["values"] for layer in spec["layer"] if "values" in layer.get("data", {})]
    return found + list(spec.get("datasets", {}).values())


def rows_with(spec: dict, *keys: str) -> list[dict]:
    return next(rows for rows in datasets(spec) if set(keys) <= set(rows[0]))


def test_the_plan_is_in_the_chart(web, plan):
    config = plan("7B", "2T", name="mine")
    result = forecast(config, web)
    spec = forecast_chart(result, web).to_dict()
    (point,) = rows_with(spec, "label", "median", "low", "high")
    perplexity = result.headline.perplexity
    assert point["tokens"] == 2e12
    assert point["median"] == pytest.approx(perplexity.median)
    assert (point["low"], point["high"]) == pytest.approx(perplexity.intervals[0.9])
    assert point["label"].startswith(f"plan: {perplexity.median:.2f} (")
    assert spec["title"]["text"] == "mine: predicted perplexity"
    assert "7.00B parameters" in spec["title"]["subtitle"]
    assert "web-text" in spec["title"]["subtitle"]


def test_the_curve_passes_through_the_plan_inside_its_bands(web, plan):
    result = forecast(plan("7B", "2T"), web)
    curve = rows_with(forecast_chart(result, web).to_dict(), "low90")
    tokens, median = (np.array([row[key] for row in curve]) for key in ("tokens", "median"))
    assert (tokens[0], tokens[-1]) == (pytest.approx(2e12 / 30), pytest.approx(2e12 * 30))
    assert (np.diff(tokens) > 0).all()
    assert (np.diff(median) < 0).all(), "fresh tokens never hurt"
    at = int(np.argmin(np.abs(tokens - 2e12)))
    assert median[at] == pytest.approx(result.headline.perplexity.median, rel=1e-9)
    for row in curve:
        assert row["low90"] < row["low50"] < row["median"] < row["high50"] < row["high90"]


@pytest.mark.parametrize("target", [None, 8.5])
def test_the_target_is_in_the_chart_if_there_is_one(target, web, plan):
    spec = spec_of(plan("7B", "2T", targets={} if target is None else {"perplexity": target}), web)
    lines = [rows for rows in datasets(spec) if "y" in rows[0]]
    assert lines == ([] if target is None else [[{"y": 8.5, "label": "target 8.5"}]] * len(lines))
    assert bool(lines) == (target is not None)


def test_a_target_stated_as_loss_is_in_the_chart_too(web, plan):
    spec = spec_of(plan("7B", "2T", targets={"loss_nats": 2.0}), web)
    assert any("y" in rows[0] and rows[0]["y"] == pytest.approx(np.exp(2.0)) for rows in datasets(spec))


def test_a_stock_that_is_already_repeated_stays_as_it_is(web, plan):
    spec = spec_of(plan("1B", "100B", unique_tokens="10B"), web)
    curve = rows_with(spec, "low90")
    fresh = rows_with(spec_of(plan("1B", "100B"), web), "low90")
    assert curve[0]["median"] == pytest.approx(fresh[0]["median"], rel=1e-9), "3.3B tokens of 10B are fresh"
    assert curve[-1]["median"] > 1.05 * fresh[-1]["median"], "300 epochs are not"


def test_a_stock_that_the_plan_uses_up_stays_as_it_is(web, plan):
    """Beyond the plan the curve must repeat the stock: it fell as if there were thirty times as much text."""
    curve = rows_with(spec_of(plan("1B", "10B", unique_tokens="10B"), web), "low90")
    fresh = rows_with(spec_of(plan("1B", "10B"), web), "low90")
    assert curve[-1]["median"] > fresh[-1]["median"]


def test_a_law_without_tokens_has_a_chart(plan):
    """`simulate predict --predictor routing-moe --chart x.svg` ended with an error about tokens nobody had stated."""
    routed = load("routing-moe")
    assert rows_with(spec_of(plan("300M", "131B"), routed), "label", "median")


def test_names_cannot_leave_their_text(web, plan, tmp_path):
    name = "</script><script>alert(1)</script>"
    chart = forecast_chart(forecast(plan("7B", "2T", name=name), web), web)
    assert chart.to_dict()["title"]["text"].startswith(name)
    save_chart(chart, tmp_path / "chart.svg")
    assert "<script" not in (tmp_path / "chart.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(("ending", "start"), [(".svg", b"<svg"), (".png", b"\x89PNG"), (".SVG", b"<svg")])
def test_files_are_of_their_format(ending, start, web, plan, tmp_path):
    chart = forecast_chart(forecast(plan("7B", "2T"), web), web)
    save_chart(chart, tmp_path / f"chart{ending}")
    assert (tmp_path / f"chart{ending}").read_bytes().startswith(start)
    assert [p.name for p in tmp_path.iterdir()] == [f"chart{ending}"]


@pytest.mark.parametrize("name", ["chart.pdf", "chart", "chart.json"])
def test_other_formats_are_refused(name, web, plan, tmp_path):
    chart = forecast_chart(forecast(plan("7B", "2T"), web), web)
    with pytest.raises(UsageError, match=r"expected \.html, \.svg, \.png"):
        save_chart(chart, tmp_path / name)
    assert not list(tmp_path.iterdir())
    assert FORMATS == (".html", ".svg", ".png")
