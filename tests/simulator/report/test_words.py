"""Numbers as a meeting says them: rounded, never surer than they are, and in one unit where they stand together."""

import re

import pytest
from foretrain.core.quantity import Quantity
from foretrain.simulator.report import words
from hypothesis import given
from hypothesis import strategies as st

SHARES = st.floats(0, 1)
AMOUNTS = st.floats(1e-3, 1e13)
WIDTHS = st.none() | st.floats(1e-6, 1e6)


def read(text: str) -> float:
    """The number that a text says, its unit aside."""
    return float(re.search(r"-?\d*\.?\d+(e[+-]?\d+)?", text.replace("−", "-").replace(",", ""))[0])


@given(SHARES)
def test_no_chance_is_said_to_be_none_or_all(share):
    for text in (words.percent(share), words.chance(share), words.chance_in_words(share), words.a_chance(share)):
        assert not re.search(r"(?<![\d.])(0|100) %", text), text
        part, found, whole = text.removeprefix("about a ").removesuffix(" chance").partition(" in ")
        assert not found or read(part) < read(whole)


@given(SHARES)
def test_a_chance_is_within_what_its_words_allow(share):
    text = words.chance(share)
    if " in " in text:
        part, whole = map(int, text.split(" in "))
        assert abs(part / whole - share) <= 0.051
    elif "over" not in text and "under" not in text:
        assert abs(read(text) / 100 - share) <= 0.0051
    if 0 < share < 1:
        assert 1 <= words.in_fifty(share) <= 49
    assert not re.search(r"(?<!under )\b(0|50) of 50", words.of_fifty(share))


@given(SHARES, SHARES)
def test_a_greater_chance_is_never_said_as_a_smaller_one(one, other):
    order = ["almost surely not", "unlikely", "perhaps", "likely", "almost surely"]
    low, high = sorted((one, other))
    assert order.index(words.likely(low)) <= order.index(words.likely(high))
    assert words.in_fifty(low) <= words.in_fifty(high)


@given(AMOUNTS, WIDTHS, st.integers(1, 3))
def test_a_number_is_rounded_and_nothing_else(value, width, digits):
    said = read(words.plain(value, width, digits))
    assert said == pytest.approx(value, rel=0.51 * 10 ** (1 - digits))
    assert words.plain(-value, width, digits) == f"−{words.plain(value, width, digits)}"
    if width is not None:  # as close as the interval can tell apart, or to four digits
        assert abs(said - value) <= max(width / 6, value * 5.1e-4)


@given(AMOUNTS, st.floats(1.0001, 50), st.floats(1.0001, 50), st.sampled_from(["money", "days", "bare"]))
def test_the_ends_of_an_interval_are_in_order_and_in_the_unit_of_its_median(median, below, above, kind):
    unit = {"money": words.money_unit, "days": words.days_unit, "bare": lambda _: words.PERPLEXITY}[kind](median)
    quantity = Quantity(median, {0.9: (median / below, median * above)})
    low, high = words.interval(quantity, unit).split(" to ")
    middle = unit.text(median, words.width_of(quantity))
    assert read(low) <= read(middle) <= read(high)
    if kind == "money":
        assert all(end.startswith("$") for end in (low, middle, high))
        assert len({re.sub(r"[^kMB]", "", end) for end in (low, middle, high)}) == 1


@given(AMOUNTS)
def test_a_unit_leaves_a_number_that_can_be_said(amount):
    assert 1 <= words.money_unit(amount).scale <= max(1.01 * amount, 1)  # $995 is said as $1.0k
    days = amount / 1e6
    unit = words.days_unit(days)
    assert unit.after in (" years", " days", " hours", " minutes", " seconds")
    assert read(unit.text(days)) * unit.scale == pytest.approx(days, rel=0.06)


@given(st.floats(1, 1e15))
def test_a_count_keeps_its_size(number):
    text = words.count(number)
    scale = {"k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}.get(text[-1], 1.0)
    assert read(text.rstrip("kMBT")) * scale == pytest.approx(number, rel=0.051)
    assert "e" not in text


@given(st.floats(0.001, 0.999))
def test_a_share_is_near_its_fraction(share):
    said = words.share_in_words(share)
    assert "%" in said if share < 0.08 else said[0].isalpha()


@pytest.mark.parametrize("text", ["", "  ", "a", "über alles", "1e5", "a.b", "x?", "<b>"])
def test_a_sentence_of_any_text_is_one(text):
    said = words.sentence(text)
    assert said == "" if not text.strip() else said[-1] in ".!?"
