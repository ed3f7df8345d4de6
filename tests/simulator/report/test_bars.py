"""Pictures of text: on a terminal only, as wide as it is, in ASCII where its encoding has nothing else."""

import io

import pytest
from foretrain.core.quantity import Quantity
from foretrain.simulator.forecast.compare import compare
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.predictor.storage.folder import load
from foretrain.simulator.report.bars import Amount, Bars, Interval, Strips, bar_text, strip_text
from foretrain.simulator.report.tables.comparison import comparison_view
from foretrain.simulator.report.tables.forecast import forecast_view
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

NUMBER = st.floats(1e-6, 1e12)
PERPLEXITY = Quantity(7.7, {0.5: (6.0, 9.5), 0.9: (4.4, 17.0)})


def shown(view, width: int = 80, terminal: bool = True, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    console = Console(file=file, width=width, force_terminal=terminal, color_system=None, highlight=False)
    console.print(view)
    file.flush()
    return file.buffer.getvalue().decode(encoding)


@given(st.lists(NUMBER, min_size=5, max_size=5).map(sorted), NUMBER, NUMBER, st.integers(16, 60), st.booleans())
def test_a_strip_holds_its_numbers_in_order(numbers, one, other, cells, ascii_only):
    low90, low50, median, high50, high90 = numbers
    quantity = Quantity(median, {0.5: (low50, high50), 0.9: (low90, high90)})
    strip = strip_text(quantity, min(one, other), max(one, other), cells, numbers[0], ascii_only)
    assert len(strip) == cells
    assert strip.count("|" if ascii_only else "│") == 1
    assert strip.isascii() is ascii_only
    assert len(bar_text(one, max(one, other), cells, ascii_only)) == cells


@pytest.mark.parametrize("width", [60, 80, 200])
def test_strips_fit_the_terminal_and_say_their_numbers(width):
    rows = [Interval("perplexity", PERPLEXITY, "7.7", 6.5), Interval("[red]\x1b[2J\n" + "x" * 99, PERPLEXITY, "7.7")]
    text = shown(Strips(rows, together=True), width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    first, second, legend = text.splitlines()
    assert first.index("│") == second.index("│")
    assert ("┊" in first, "┊" in second) == (True, False)
    assert first.endswith("7.7")
    assert legend == "░ 90 %, ▓ 50 %, │ median, ┊ target"


def test_ascii_where_the_encoding_has_nothing_else():
    rows = [Interval("perplexity", PERPLEXITY, "7.7", 6.5)]
    assert shown(Strips(rows), encoding="ascii").isascii()
    assert "=" in shown(Strips(rows), encoding="ascii")
    assert "#" in shown(Bars([Amount("a", 1.0, "1")]), encoding="ascii")


def test_nothing_off_a_terminal_and_where_there_is_no_room():
    rows = [Interval("perplexity", PERPLEXITY, "7.7", 6.5)]
    for view in (Strips(rows), Bars([Amount("a", 1.0, "1")])):
        assert shown(view, terminal=False) == ""
        assert shown(view, width=20) == ""
    assert shown(Strips([])) == shown(Bars([])) == ""


def test_the_longest_bar_is_the_largest_amount():
    small, large = shown(Bars([Amount("a", 1.0, "$1"), Amount("b", 4.0, "$4")])).splitlines()
    assert large.count("█") == 48
    assert small.count("█") == 12


def test_views_draw_them_on_a_terminal_only(plan):
    web = load("web-text")
    small, large = plan("7B", "2T", targets={"perplexity": 6.5}), plan("20B", "2T")
    views = {
        "┊ target": forecast_view(forecast(small, web)),
        "┊ no difference": comparison_view(compare([small, large], web)),
    }
    for legend, view in views.items():
        on, off = shown(view, 100), shown(view, 100, terminal=False)
        assert legend in on
        assert not set("░▓┊│") & set(off)
        assert set(off.splitlines()) <= set(on.splitlines()), "what stands off a terminal stands on it too"
