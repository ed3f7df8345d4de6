import contextlib
import json
import math
import re

import pytest
import yaml
from foretrain.core.errors import ConfigError
from foretrain.core.reading.yaml_reader import (
    dumps_yaml,
    load_document,
    load_yaml,
    loads_document,
    loads_value,
    loads_yaml,
)
from hypothesis import assume, given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("6e11", 6e11),
        ("1e-4", 1e-4),
        ("+1.5E+3", 1500.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("7", 7),
        ("-7", -7),
        ("010", 10),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("y", "y"),
        ("10:30", "10:30"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("0x1f", "0x1f"),
        ("0o17", "0o17"),
        ("7B", "7B"),
        ("1e5k", "1e5k"),
        ("inf", "inf"),
        ("<<", "<<"),
        ("=", "="),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("'7'", "7"),
        ('"true"', "true"),
        ("[1, a, {b: 2}]", [1, "a", {"b": 2}]),
        ("|\n  a\n  b", "a\nb"),
        ('"\\ud83d\\ude00"', "😀"),
    ],
)
def test_values_are_those_of_yaml_1_2(text, value):
    read = loads_value(text)
    assert read == value
    assert type(read) is type(value)


def test_keys_are_text_as_written():
    assert loads_yaml("1: a\nno: b\nnull: c\ntrue: d\n1e3: e") == {
        "1": "a",
        "no": "b",
        "null": "c",
        "true": "d",
        "1e3": "e",
    }


def test_anchors_that_nothing_refers_to_are_harmless():
    assert loads_yaml("a: &x 1") == {"a": 1}


def test_lines_of_keys_and_entries():
    document = loads_document("# a comment\na:\n  b: 1\n  c:\n    - x\n    - y\n")
    assert document.lines == {("a",): 2, ("a", "b"): 3, ("a", "c"): 4, ("a", "c", "0"): 5, ("a", "c", "1"): 6}


def test_json_with_a_byte_order_mark_and_windows_line_ends(tmp_path):
    path = tmp_path / "run.json"
    path.write_bytes(b'\xef\xbb\xbf{\r\n "a": {"b": [1, 2.5e3, true, null, "x\\/y"]}\r\n}\r\n')
    assert load_yaml(path) == {"a": {"b": [1, 2500.0, True, None, "x/y"]}}
    assert load_document(str(path)).lines[("a",)] == 2


# The rest of the bad documents is in tests/data/bad_configs.json.
@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("", "f: is empty"),
        ("---\n", "expected settings"),
        ("a: 1\na: 2", "f:2: 'a' is given twice, first in line 1"),
        ("1: 1\n'1': 2", "f:2: '1' is given twice"),
        ("b: [{a: 1, a: 2}]", "f:1: 'a' is given twice"),
        ("a: !x 1", "f:1: tags aren't accepted, got '!x'"),
        ("!!map {a: 1}", "tags aren't accepted"),
        ("a: &x [*x]", "aliases"),
        ("a: 1e309", "f:1: got '1e309'; expected a finite number"),
        ("a: -.INF", "expected a finite number"),
        ("a:\n  - " + "9" * 309, "f:2: got"),
        ("a: " + "0" * 401, "expected a finite number"),
        ("a: " + "[" * 60 + "]" * 60, "deeper than 50 levels"),
        ("a: " + "{a: " * 60 + "}" * 60, "deeper than 50 levels"),
        ("a: {\n\tb: 1}", "f:2: a tab can't be used here"),
        ("a: \x07", "f:1: a control character isn't accepted"),
        ("a: 1\nb: \x00", "f:2: a control character isn't accepted"),
        ("%YAML 2.0\n---\na: 1", "f:1: isn't valid YAML"),
        ("%YAML " + "9" * 5000 + ".1\n---\na: 1", "isn't valid YAML"),
        ("a: 'b", "isn't valid YAML"),
        ("a: @b", "f:1: isn't valid YAML"),
        ("a: b: c", "f:1: isn't valid YAML"),
        ("{1, 2}: 3", "expected text"),
        ("x" * 1_000_001, "larger than 1000000 characters"),
    ],
)
def test_bad_documents_are_refused(text, fragment):
    with pytest.raises(ConfigError) as caught:
        loads_yaml(text, "f")
    assert fragment in str(caught.value)
    assert str(caught.value).startswith("f:")
    assert len(str(caught.value)) < 300


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**300), 10**300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=8), json_values, min_size=1, max_size=5))
def test_json_reads_as_what_it_is(value):
    read = loads_yaml(json.dumps(value))
    assert read == value


@given(st.dictionaries(st.text(max_size=8), json_values, min_size=1, max_size=5))
def test_what_is_written_reads_back(value):
    assert loads_yaml(dumps_yaml(value)) == value


@given(st.dictionaries(st.text(max_size=8), json_values, min_size=1, max_size=5), st.booleans())
def test_what_pyyaml_writes_reads_back(value, flow):
    """But for text such as 0E0, which it leaves without quotes and which is a number to people."""
    assume(not re.search(r'"[-+]?[\d._]+[eE][-+]?\d+"', json.dumps(value)))
    assert loads_yaml(yaml.safe_dump(value, default_flow_style=flow)) == value


@given(st.text(alphabet=st.sampled_from("ab:-[]{},&*!|>'\"%@`#\n\t ?~.0e9\\ux\ud800"), max_size=40))
def test_any_text_is_a_mapping_or_a_config_error(text):
    # Any other exception fails the test.
    with contextlib.suppress(ConfigError):
        assert isinstance(loads_yaml(text), dict)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_survive_to_the_last_bit(number):
    read = loads_value(repr(number))
    assert read == number
    assert math.copysign(1, read) == math.copysign(1, number)


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.one_of(
            st.text(max_size=12),
            st.from_regex(r"[-+]?[0-9._:x]{1,4}([eE][-+]?[0-9]{1,2})?", fullmatch=True),
            st.sampled_from(["1e3", "no", "~", "a\u202fb", "e\u0301", "- x", "&a", "\x85", ".inf"]),
            st.floats(-1e300, 1e300),
            st.integers(-(2**60), 2**60),
            st.booleans(),
            st.none(),
        ),
        max_size=4,
    )
)
def test_what_is_written_is_read_as_the_same(values):
    again = loads_yaml(dumps_yaml({"x": values, "again": [values, values]}))
    assert again == {"x": values, "again": [values, values]}
    assert [type(one) for one in again["x"].values()] == [type(one) for one in values.values()]
