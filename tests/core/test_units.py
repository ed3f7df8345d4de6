import math
from fractions import Fraction

import numpy as np
import pytest
from foretrain.core.errors import ConfigError
from foretrain.core.units import (
    COUNT_PATTERN,
    DURATION_PATTERN,
    format_count,
    format_duration,
    format_flops,
    parse_count,
    parse_duration_s,
    parse_whole,
    shown,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("7B", 7e9),
        ("1.4T", 1.4e12),
        ("300k", 3e5),
        ("300K", 3e5),
        ("6e11", 6e11),
        (" 2.5 m ", 2.5e6),
        ("+3b", 3e9),
        (".5M", 5e5),
        ("6_740_000_000", 6.74e9),
        ("1e-3", 1e-3),
        ("0", 0.0),
        (7_000_000_000, 7e9),
        (7e9, 7e9),
        (-0.0, 0.0),
        (np.int64(3), 3.0),
        (np.float32(0.5), 0.5),
        (Fraction(1, 2), 0.5),
    ],
)
def test_counts(written, count):
    parsed = parse_count(written)
    assert parsed == count
    assert type(parsed) is float
    assert math.copysign(1, parsed) == 1


@pytest.mark.parametrize(
    "written",
    [
        "",
        " ",
        "B",
        "7 Bn",
        "7BB",
        "7e9B9",
        "1,4T",
        "1__000",
        "10_00",
        "-3",
        "-3B",
        "nan",
        "inf",
        "Infinity",
        "0x10",
        "1e400",
        "9e9999T",
        "1" * 65,
        "٣",
        "7\n8",
        float("nan"),
        float("inf"),
        -1,
        -1e-9,
        10**400,
        -(10**400),
        True,
        False,
        np.True_,
        None,
        [],
        b"7B",
        1j,
    ],
)
def test_what_is_no_count_is_refused(written):
    with pytest.raises(ConfigError, match=r"^got .*; expected a number that isn't negative"):
        parse_count(written)


def test_a_config_error_is_a_value_error():
    with pytest.raises(ValueError, match="got 'x'"):
        parse_count("x")


def test_whole_numbers():
    assert parse_whole("32k") == 32000
    assert parse_whole(8.0) == 8
    # A float would round this one.
    assert parse_whole(2**53 + 1) == 2**53 + 1
    with pytest.raises(ConfigError, match=r"got '1\.5'; expected a whole number"):
        parse_whole("1.5")


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("45s", 45),
        ("90min", 5400),
        ("12h", 43200),
        ("30d", 2_592_000),
        ("2w", 1_209_600),
        ("1d12h", 129_600),
        ("1d 12h 30min", 131_400),
        (" 1.5h ", 5400),
        ("1e3s", 1000),
        (60, 60),
        (0.5, 0.5),
    ],
)
def test_durations(written, seconds):
    assert parse_duration_s(written) == seconds


@pytest.mark.parametrize(
    "written",
    [
        "",
        "30",
        "d",
        "30 days",
        "1mo",
        "1D",
        "1d-2h",
        "-3d",
        "10:30",
        "1e400s",
        "1s" * 40,
        math.inf,
        math.nan,
        -1,
        True,
        None,
        10**400,
    ],
)
def test_what_is_no_duration_is_refused(written):
    with pytest.raises(ConfigError, match=r"^got .*; expected a duration with its unit"):
        parse_duration_s(written)


def test_m_could_be_minutes_or_months():
    with pytest.raises(ConfigError, match="write min for minutes"):
        parse_duration_s("6m")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (7, "7"),
        (512, "512"),
        (0.5, "0.500"),
        (2.25, "2.25"),
        (999.6, "1.00k"),
        (999_999, "1.00M"),
        (7e9, "7.00B"),
        (12.9e9, "12.9B"),
        (405.9e9, "406B"),
        (1.4e12, "1.40T"),
        (3.14e23, "3.14e23"),
        (0.001, "1.00e-3"),
        (-7e9, "-7.00B"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_count_formats(count, text):
    assert format_count(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (7.25, "7.25s"),
        (59.96, "1min"),
        (60, "1min"),
        (5400, "1h30min"),
        (86_399.9, "1d"),
        (129_600, "1d12h"),
        (2_592_000, "30d"),
        (1e9, "11574d2h"),
        (-60, "-1min"),
        (math.inf, "inf"),
    ],
)
def test_duration_formats(seconds, text):
    assert format_duration(seconds) == text


def test_flops_format():
    assert format_flops(3.14e23) == "3.14e23 FLOPs"
    assert format_flops(0) == "0.00e0 FLOPs"
    assert format_flops(math.inf) == "inf FLOPs"


@given(st.floats(0, 1e300))
def test_a_formatted_count_reads_back_within_three_digits(count):
    text = format_count(count)
    assert parse_count(text) == pytest.approx(count, rel=0.0051)
    assert len(text) <= 9


@given(st.floats(0, 1e10))
def test_a_formatted_duration_reads_back_within_its_second_unit(seconds):
    assert parse_duration_s(format_duration(seconds)) == pytest.approx(seconds, rel=0.022, abs=1e-300)


@given(st.floats(0, 1e15), st.sampled_from(["", "k", "M", "B", "T"]))
def test_text_is_read_to_the_nearest_float(number, suffix):
    exponent = {"": 0, "k": 3, "M": 6, "B": 9, "T": 12}[suffix]
    exact = Fraction(repr(number)) * 10**exponent
    assert parse_count(f"{number!r}{suffix}") == float(exact)


@given(st.text(alphabet="0123456789.eE+-_kMBTdhmins wx", max_size=12))
def test_the_schema_patterns_admit_what_is_read(text):
    import re

    for pattern, parse in ((COUNT_PATTERN, parse_count), (DURATION_PATTERN, parse_duration_s)):
        try:
            parse(text)
        except ConfigError:
            continue
        assert re.search(pattern, text)


@given(st.text() | st.integers() | st.floats() | st.booleans() | st.binary() | st.none())
def test_anything_is_a_number_or_a_config_error(value):
    for parse in (parse_count, parse_duration_s, parse_whole):
        try:
            assert parse(value) >= 0
        except ConfigError as error:
            message = str(error)
            assert len(message) < 250, message


def test_shown_survives_anything():
    class Rude:
        def __repr__(self):
            raise RuntimeError

    deep = []
    for _ in range(10_000):
        deep = [deep]
    for value in (Rude(), deep, "x" * 10**6, 10**10_000, {i: i for i in range(1000)}):
        assert len(shown(value)) <= 60
