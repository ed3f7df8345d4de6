"""The forecast's picture: the plan, its bands and its target are in the drawing; files come in four formats."""

import json

import numpy as np
import pytest
from foretrain.core.errors import UsageError
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.predictor.storage.folder import load
from foretrain.simulator.report.charts.plans.forecast import curve_rows, forecast_picture
from foretrain.simulator.report.charts.writing import FORMATS, save_pictures, sheet


@pytest.fixture(scope="module")
def web():
    return load("web-text")


def picture_of(config, predictor):
    return forecast_picture(forecast(config, predictor), predictor)


def rows_with(spec: dict, *keys: str) -> list[dict]:
    found = (layer["data"]["values"] for layer in spec["layer"])
    return next(rows for rows in found if rows and set(keys) <= set(rows[0]))


def test_the_plan_is_in_the_picture(web, plan):
    result = forecast(plan("7B", "2T", name="mine"), web)
    picture = forecast_picture(result, web)
    (point,) = rows_with(picture.spec(560), "text", "median", "low90")
    perplexity = result.headline.perplexity
    assert point["tokens"] == 2e12
    assert point["median"] == pytest.approx(perplexity.median)
    assert (point["low90"], point["high90"]) == pytest.approx(perplexity.intervals[0.9])
    median = point["text"].removeprefix("plan ")
    assert float(median) == pytest.approx(perplexity.median, rel=0.05)
    assert f"Perplexity {median}" in picture.title
    assert len(picture.title.split()) <= 12
    assert "7B model" in picture.subtitle
    assert "web-text" in picture.caption
    assert picture.numbers.rows[0] == ("perplexity", median)


def test_the_curve_passes_through_the_plan_inside_its_bands(web, plan):
    result = forecast(plan("7B", "2T"), web)
    curve = curve_rows(result, web)
    tokens, median = (np.array([row[key] for row in curve]) for key in ("tokens", "median"))
    assert (tokens[0], tokens[-1]) == (pytest.approx(2e12 / 30), pytest.approx(2e12 * 30))
    assert (np.diff(tokens) > 0).all()
    assert (np.diff(median) < 0).all(), "fresh tokens never hurt"
    at = int(np.argmin(np.abs(tokens - 2e12)))
    assert median[at] == pytest.approx(result.headline.perplexity.median, rel=1e-9)
    for row in curve:
        assert row["low90"] < row["low50"] < row["median"] < row["high50"] < row["high90"]


@pytest.mark.parametrize(
    ("targets", "drawn"), [({}, None), ({"perplexity": 8.5}, "target 8.5"), ({"loss_nats": 2.0}, "target 7.4")]
)
def test_the_target_is_in_the_picture_if_there_is_one(targets, drawn, web, plan):
    text = json.dumps(picture_of(plan("7B", "2T", targets=targets), web).spec(560))
    assert ("target" in text) is (drawn is not None)
    assert drawn is None or drawn in text


def test_a_stock_that_is_already_repeated_stays_as_it_is(web, plan):
    curve = curve_rows(forecast(plan("1B", "100B", unique_tokens="10B"), web), web)
    fresh = curve_rows(forecast(plan("1B", "100B"), web), web)
    assert curve[0]["median"] == pytest.approx(fresh[0]["median"], rel=1e-9), "3.3B tokens of 10B are fresh"
    assert curve[-1]["median"] > 1.05 * fresh[-1]["median"], "300 epochs are not"


def test_a_stock_that_the_plan_uses_up_stays_as_it_is(web, plan):
    """Beyond the plan the curve must repeat the stock: it fell as if there were thirty times as much text."""
    curve = curve_rows(forecast(plan("1B", "10B", unique_tokens="10B"), web), web)
    fresh = curve_rows(forecast(plan("1B", "10B"), web), web)
    assert curve[-1]["median"] > fresh[-1]["median"]


def test_a_law_without_tokens_has_a_picture(plan):
    """`simulate predict --predictor routing-moe --chart x.svg` ended with an error about tokens nobody had stated."""
    routed = load("routing-moe")
    assert rows_with(picture_of(plan("300M", "131B"), routed).spec(320), "text", "median")


def test_a_baseline_is_drawn_beside_the_plan(web, plan):
    first, second = (forecast(plan("7B", tokens), web) for tokens in ("1T", "2T"))
    picture = forecast_picture(second, web, first)
    texts = [row["text"] for layer in picture.spec(1040)["layer"] for row in layer["data"]["values"] if "text" in row]
    assert any(text.startswith("baseline ") for text in texts)
    assert picture.numbers.columns == ("", "plan", "baseline")
    assert "below the baseline" in picture.title or "as the baseline" in picture.title


@pytest.mark.parametrize(("ending", "start"), [(".svg", b"<svg"), (".png", b"\x89PNG"), (".PDF", b"%PDF")])
def test_files_are_of_their_format(ending, start, web, plan, tmp_path):
    save_pictures([picture_of(plan("7B", "2T"), web)], tmp_path / f"chart{ending}")
    assert (tmp_path / f"chart{ending}").read_bytes().startswith(start)
    assert [p.name for p in tmp_path.iterdir()] == [f"chart{ending}"]


def test_a_page_of_pictures_needs_nothing_from_elsewhere(web, plan, tmp_path):
    picture = picture_of(plan("7B", "2T"), web)
    save_pictures([picture], tmp_path / "chart.html")
    page = (tmp_path / "chart.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert 'name="viewport"' in page
    assert page.count("<svg") == len(picture.widths)
    for text in (picture.title, picture.subtitle, picture.caption, *picture.numbers.rows[1]):
        assert text in page


def test_a_sheet_says_title_source_and_warnings(web, plan):
    picture = picture_of(plan("70B", "100T"), web)
    drawn = sheet([picture])
    assert "var(--" not in drawn, "a file of its own has no style sheet"
    assert picture.title.split()[0] in drawn
    assert "widened" in drawn


@pytest.mark.parametrize("name", ["chart.gif", "chart", "chart.json"])
def test_other_formats_are_refused(name, web, plan, tmp_path):
    with pytest.raises(UsageError, match=r"expected \.html, \.svg, \.png, \.pdf"):
        save_pictures([picture_of(plan("7B", "2T"), web)], tmp_path / name)
    assert not list(tmp_path.iterdir())
    assert FORMATS == (".html", ".svg", ".png", ".pdf")
