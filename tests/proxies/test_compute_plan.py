"""How many runs are trained together: one rule for the campaign and for what it is estimated to take."""

import pytest
from foretrain.proxies import compute_plan
from foretrain.proxies.compute_plan import Program, copies_of, grouped
from foretrain.proxies.design.estimate import Machine, Speed, groups
from foretrain.proxies.design.family import ModelFamily
from foretrain.proxies.runs import ProxyRun
from foretrain.proxies.settings import EngineSettings

FAMILY = ModelFamily(256, 128, 4, 32, 2.5, 4, False)


def run(number=0, width=32, tokens=1e6):
    return ProxyRun(run_id=f"r{number}", shape=FAMILY.of_width(width), tokens=tokens, mix={"a": 1.0})


@pytest.fixture
def compiler(monkeypatch):
    """`compiler(there)`: whether this machine has a compiler."""
    return lambda there: monkeypatch.setattr(compute_plan, "find_compiler", lambda: ("/bin/c++",) if there else None)


@pytest.mark.parametrize(
    ("width", "settings", "device", "has_compiler", "copies"),
    [
        (32, {}, "cpu", True, 1),  # by kernels, one after the other
        (32, {"compile": "never"}, "cpu", True, 4),
        (32, {}, "cpu", False, 4),
        (64, {}, "cpu", False, 1),  # 223 thousand parameters
        (64, {}, "cuda", True, 4),
        (64, {"group_size": 3}, "cpu", True, 3),
        (32, {"group_size": 1}, "cuda", False, 1),
    ],
)
def test_copies_are_those_asked_for_or_those_that_pay(compiler, width, settings, device, has_compiler, copies):
    compiler(has_compiler)
    program = Program.of(run(width=width).shared)
    assert copies_of(program, EngineSettings(**settings), device) == copies


def test_the_estimate_counts_the_groups_of_the_campaign(compiler):
    compiler(False)
    runs = [*(run(k) for k in range(6)), *(run(6 + k, 64, 2e6) for k in range(3)), run(9, tokens=2e6)]
    for device in ("cpu", "cuda"):
        found = grouped(runs, EngineSettings(), device)
        estimated = groups(runs, Machine(Speed(1e11, device), 2, EngineSettings()), 1)
        assert [group.runs for group in estimated] == [tuple(group) for group in found]
        assert sorted(member.run_id for group in found for member in group) == sorted(r.run_id for r in runs)
    assert [len(group) for group in grouped(runs, EngineSettings(), "cpu")] == [1, 1, 1, 3, 3, 1]
