"""How many runs are trained together: one rule for the campaign and for what it is estimated to take."""

import pytest
from foretrain.proxies.compute_plan import Program, copies_of, grouped
from foretrain.proxies.design.estimate import Machine, Speed, groups
from foretrain.proxies.design.sizes import ModelFamily
from foretrain.proxies.runs import ProxyRun
from foretrain.proxies.settings import EngineSettings

FAMILY = ModelFamily(256, 128, 4, 32, 2.5, 4, False)


def run(number=0, width=32, tokens=1e6):
    return ProxyRun(run_id=f"r{number}", shape=FAMILY.of_width(width), tokens=tokens, mix={"a": 1.0})


@pytest.mark.parametrize(
    ("width", "size", "device", "copies"),
    [
        (32, "auto", "cpu", 4),
        (64, "auto", "cpu", 1),  # 223 thousand parameters
        (64, "auto", "cuda", 4),
        (64, 3, "cpu", 3),
        (32, 1, "cuda", 1),
    ],
)
def test_copies_are_those_asked_for_or_those_that_pay(width, size, device, copies):
    program = Program.of(run(width=width).shared)
    assert copies_of(program, EngineSettings(group_size=size), device) == copies


def test_the_estimate_counts_the_groups_of_the_campaign():
    runs = [*(run(k) for k in range(6)), *(run(6 + k, 64, 2e6) for k in range(3)), run(9, tokens=2e6)]
    for device in ("cpu", "cuda"):
        found = grouped(runs, EngineSettings(), device)
        estimated = groups(runs, Machine(Speed(1e11, device), 2, EngineSettings()), 1)
        assert [group.runs for group in estimated] == [tuple(group) for group in found]
        assert sorted(member.run_id for group in found for member in group) == sorted(r.run_id for r in runs)
    assert [len(group) for group in grouped(runs, EngineSettings(), "cpu")] == [1, 1, 1, 3, 3, 1]
