"""Text that leaves the program: spelled out where it would steer a terminal, and errors of streams that are gone."""

import io
import json

import pytest
from foretrain.core.errors import ConfigError, OutputError
from foretrain.core.output.plain import bounded, is_plain, made_plain, visible
from foretrain.core.output.streams import PlainStream, trusted
from foretrain.core.progress import ProgressLines


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "\x9b1m", "a\rb", "\u202ex", "\u2066x", "\x07", "\ud800", "a\nb", "\u2028"]
)
def test_what_steers_is_spelled_out(text):
    assert not is_plain(text)
    assert is_plain(visible(text))
    assert made_plain({text: [text]}) == {visible(text): [visible(text)]}


@pytest.mark.parametrize("text", ["12\u202f000", "a\u00a0b", "\U0001f469\u200d\U0001f52c", "\u0645\u06cc\u200c", "± α"])
def test_what_people_write_stays(text):
    assert is_plain(text)
    assert visible(text) == text


@pytest.mark.parametrize("long", ["x" * 10_000, "many words " * 1_000], ids=["a word", "a line"])
def test_of_long_texts_a_message_has_both_ends(long):
    message = bounded(f"runs.csv:3: loss: got '{long}'; expected a number\nthe next line")
    assert len(message) < 2_000
    assert message.startswith("runs.csv:3: loss: got '" + long[:100])
    assert message.endswith("expected a number\nthe next line")


def test_messages_as_they_are_stay():
    path = "/".join(["folder"] * 20) + "/run.yaml"
    assert bounded(f"{path}:3: data.tokens is missing") == f"{path}:3: data.tokens is missing"


def test_a_stream_filters_all_but_what_the_program_draws():
    behind = io.StringIO()
    stream = PlainStream(behind, "standard output", True)
    stream.write("a\x1b[31m\tb\n")
    trusted(stream).write("\x1b[1mbold\x1b[0m")
    assert behind.getvalue() == "a\\x1b[31m\tb\n\x1b[1mbold\x1b[0m"
    assert stream.written == len(behind.getvalue())


@pytest.mark.parametrize(("error", "code"), [(OSError(28, "No space"), 3), (BrokenPipeError(32, "Broken pipe"), 1)])
def test_a_stream_that_fails_says_which(error, code):
    class Failing(io.StringIO):
        def write(self, text):
            raise error

    with pytest.raises(OutputError, match="standard output: can't be written") as raised:
        PlainStream(Failing(), "standard output", True).write("x")
    assert raised.value.exit_code == code
    PlainStream(Failing(), "standard error", False).write("x")
    with pytest.raises(OutputError, match="it is closed"):
        PlainStream(None, "standard output", True).write("x")


def test_an_error_has_parts():
    error = ConfigError("run.yaml:3: data.tokens: got '1X'; expected a count\nrun.yaml:4: model: is missing")
    assert error.to_dict() == {
        "kind": "ConfigError",
        "message": str(error),
        "where": "run.yaml:3: data.tokens",
        "got": "'1X'",
        "expected": "a count",
        "others": [
            {
                "message": "run.yaml:4: model: is missing",
                "where": "run.yaml:4: model",
                "got": "is missing",
                "expected": None,
            }
        ],
    }
    assert ConfigError("nothing").to_dict()["where"] is None


def test_a_line_a_minute_and_json_for_each_event():
    now = [0.0]
    lines: list[str] = []
    with ProgressLines("training", lines.append, clock=lambda: now[0]) as step:
        for now[0] in range(0, 200):
            step("group 1", now[0] / 200)
    assert lines == [
        "training: group 1: 30% after 1 min",
        "training: group 1: 60% after 2 min",
        "training: group 1: 90% after 3 min",
    ]
    lines.clear()
    with pytest.raises(KeyError), ProgressLines("fitting", lines.append, as_json=True, clock=lambda: 0.0):
        raise KeyError
    assert [json.loads(line)["event"] for line in lines] == ["start", "failed"]
