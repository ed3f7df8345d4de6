"""Executors are found by name; a wrong call is a UsageError, not wrong data."""

import pytest
from foretrain.core.errors import UsageError
from foretrain.proxies.executors import executor_names, get_executor


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("slurm",), "unknown engine 'slurm'; expected one of local, ray"),
        (("local", 0), "workers: got 0; expected at least 1"),
        (("local", None, "10.0.0.1:6379"), "the local engine has no cluster"),
    ],
)
def test_what_no_executor_can_be_is_refused(words, message):
    with pytest.raises(UsageError, match=message):
        get_executor(*words)


def test_executors_are_found_by_name():
    assert executor_names() == ["local", "ray"]
    assert get_executor("local", 3).workers == 3
