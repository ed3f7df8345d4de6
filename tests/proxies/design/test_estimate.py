from dataclasses import replace

import pytest
from foretrain.proxies.design.estimate import (
    COMPILE_S,
    START_S,
    Machine,
    Speed,
    estimate,
    groups,
    measure_speed,
)
from foretrain.proxies.design.family import ModelFamily
from foretrain.proxies.kernels import find_compiler
from foretrain.proxies.runs import ProxyRun
from foretrain.proxies.settings import EngineSettings
from hypothesis import given, settings
from hypothesis import strategies as st

FAMILY = ModelFamily(256, 128, 4, 32, 2.5, 4, False)
NEVER = EngineSettings(compile="never")
MACHINE = Machine(Speed(75e9, "cpu"), 2, NEVER)


def run(number=0, width=32, tokens=1e6, **more):
    return ProxyRun(run_id=f"r{number}", shape=FAMILY.of_width(width), tokens=tokens, mix={"a": 1.0}, **more)


def test_flops_are_those_of_the_runs():
    runs = [run(0), run(1, 64, 2e6, evaluate_at=(1e6,))]
    found = estimate(runs, MACHINE, domains=3)
    assert found.training_flops == sum(r.training_flops for r in runs)
    expected = sum(
        r.shape.forward_flops_per_token() * 3 * NEVER.eval_tokens * evaluations
        for r, evaluations in zip(runs, (1, 2), strict=True)
    )
    assert found.validation_flops == pytest.approx(expected)
    assert (found.runs, found.rows) == (2, 3)


# (width, 6·N·tokens per second) on a core of 75 GFLOP/s; see estimate.HALF_WIDTH.
@pytest.mark.parametrize(("width", "measured"), [(32, 22e9), (64, 35e9), (152, 48e9)])
def test_the_constants_reproduce_what_they_were_measured_on(width, measured):
    [group] = groups([run(width=width)], replace(MACHINE, engine=NEVER), domains=0)
    model = group.runs[0]
    assert 6 * model.shape.params_total * model.tokens / group.busy_s == pytest.approx(measured, rel=0.1)


def test_groups_are_even_and_of_runs_that_can_be_trained_together():
    runs = [run(k) for k in range(5)] + [run(9, tokens=2e6)]
    assert sorted(len(group.runs) for group in groups(runs, MACHINE, 1)) == [1, 2, 3]


def test_start_and_compilation_are_counted_once_per_worker_and_program(monkeypatch):
    monkeypatch.setattr("foretrain.proxies.compute_plan.find_compiler", lambda: None)
    always = replace(MACHINE, workers=1, engine=EngineSettings(compile="always", group_size=1))
    never = replace(always, engine=EngineSettings(compile="never", group_size=1))
    alike = [run(0), run(1)]
    bare = sum(group.busy_s for group in groups(alike, never, 1))
    assert estimate(alike, never, 1).wall_clock_s == pytest.approx(START_S + bare)
    assert estimate(alike, always, 1).wall_clock_s == pytest.approx(START_S + COMPILE_S + bare)
    other = [run(0), run(1, batch_sequences=4)]
    assert estimate(other, always, 1).wall_clock_s == pytest.approx(START_S + 2 * COMPILE_S + bare)


@pytest.mark.skipif(find_compiler() is None, reason="the kernels take a C++ compiler")
def test_what_the_kernels_compute_is_not_compiled_by_torch():
    always, never = (replace(MACHINE, engine=EngineSettings(compile=choice)) for choice in ("always", "never"))
    assert estimate([run()], always, 1).wall_clock_s == estimate([run()], never, 1).wall_clock_s


@pytest.mark.parametrize("compiler", ["g++", None])
def test_auto_compiles_what_is_worth_it_where_there_is_a_compiler(monkeypatch, compiler):
    auto = replace(MACHINE, engine=EngineSettings())
    monkeypatch.setattr("foretrain.proxies.compute_plan.find_compiler", lambda: compiler)
    ungated = FAMILY.of_width(32).model_copy(update={"ffn_gated": False})  # which the kernels don't compute
    short = run().model_copy(update={"shape": ungated})
    long = short.model_copy(update={"tokens": 1.01 * 60 * 30e9 / ungated.training_flops_per_token()})
    assert estimate([short], auto, 1).wall_clock_s == estimate([short], MACHINE, 1).wall_clock_s
    compiling_s = COMPILE_S if compiler else 0.0
    assert estimate([long], auto, 1).wall_clock_s == estimate([long], MACHINE, 1).wall_clock_s + compiling_s


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from([16, 32, 64]), st.floats(1e4, 1e7)), min_size=1, max_size=20), st.integers(1, 5)
)
def test_workers_share_the_work(cases, workers):
    runs = [run(k, width, tokens) for k, (width, tokens) in enumerate(cases)]
    machine = replace(MACHINE, workers=workers, engine=EngineSettings(compile="never", group_size=1))
    found = estimate(runs, machine, 2)
    busy = [group.busy_s for group in groups(runs, machine, 2)]
    assert found.busy_s == pytest.approx(sum(busy) + START_S * min(workers, len(runs)))
    # bounds of longest-first scheduling (Graham 1969)
    assert found.wall_clock_s <= START_S + sum(busy) / workers + max(busy)
    assert found.wall_clock_s >= (START_S + max(max(busy), sum(busy) / workers)) * (1 - 1e-12)
    more = estimate(runs, replace(machine, speed=Speed(150e9, "cpu")), 2)
    assert more.wall_clock_s - START_S == pytest.approx((found.wall_clock_s - START_S) / 2)


def test_memory_grows_with_copies_and_is_that_of_one_worker():
    one = estimate([run()], MACHINE, 1).peak_memory_bytes
    four = estimate([run(k) for k in range(4)], MACHINE, 1).peak_memory_bytes
    eight = estimate([run(k) for k in range(8)], MACHINE, 1).peak_memory_bytes
    assert 400e6 < one < four == eight < 1e9
    assert four - 400e6 == pytest.approx(4 * (one - 400e6))
    assert estimate([run(width=64)], MACHINE, 1).peak_memory_bytes > one


def test_nothing_costs_nothing():
    found = estimate([], MACHINE, 3)
    assert set(found.to_dict().values()) == {0}


def test_the_speed_of_this_machine_is_measured_and_nothing_is_left_changed():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    speed = measure_speed("cpu")
    assert speed.device == "cpu"
    assert 1e8 < speed.flops_per_s < 1e13
    assert torch.get_num_threads() == before


def test_a_cpu_is_measured_in_fp32_whatever_it_computes_in(monkeypatch):
    """Its bf16 peak made designs ten times too hopeful: 34 seconds were said, five minutes taken."""
    from foretrain.proxies import project
    from foretrain.proxies.design.space import ProxySpace

    asked = []
    monkeypatch.setattr(project, "measure_speed", lambda *kind: asked.append(kind) or Speed(1e11, kind[0]))
    space = {"corpora": "corpora.yaml", "sizes": ["20k"], "tokens": ["1M"], "engine": {"device": "cpu"}}
    machine, plan = project._machine(ProxySpace.from_mapping(space), 256, 1)
    assert asked == [("cpu", "fp32")]
    assert plan.device == "cpu"
    assert find_compiler() is None or list(machine.speed.training) == [16]


def test_measured_steps_stand_for_the_widths_between_them():
    speed = Speed(75e9, "cpu", {16: 10e9, 64: 40e9})
    assert [speed.of_training(width) for width in (8, 16, 64, 128)] == pytest.approx([10e9, 10e9, 40e9, 40e9])
    assert speed.of_training(32) == pytest.approx(20e9)
