import os

import pytest
from foretrain.core.processors import processor_name, usable_cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_a_process_that_is_kept_to_one_core_counts_one():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert usable_cores() == len(allowed)


@pytest.mark.parametrize(("machine", "counted"), [(6, 6), (None, 1)])
def test_without_affinity_the_machine_is_counted_or_one_core_at_least(monkeypatch, machine, counted):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: machine)
    assert usable_cores() == counted


def test_the_processor_has_a_name_wherever_it_is(monkeypatch):
    assert processor_name()
    monkeypatch.setattr("pathlib.Path.read_text", lambda *path, **kind: "flags\t: fma\nmodel name\t: Some Core i1\n")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert processor_name() == "Some Core i1 (x86_64)"
    monkeypatch.setattr("pathlib.Path.read_text", lambda *path, **kind: "CPU part\t: 0xd40\n")
    monkeypatch.setattr("platform.processor", lambda: "")
    assert processor_name() == "x86_64"
