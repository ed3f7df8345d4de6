"""The measurement that decides between fp32 and bf16, with a clock of the test's own and with the real one."""

import pytest

torch = pytest.importorskip("torch")

from foretrain.core.errors import ConfigError  # noqa: E402
from foretrain.proxies.compute_plan import Program  # noqa: E402
from foretrain.proxies.design.family import ModelFamily  # noqa: E402
from foretrain.proxies.engine import _plan, measure_plan, what_is_missing  # noqa: E402
from foretrain.proxies.runs import ProxyRun  # noqa: E402
from foretrain.proxies.settings import EngineSettings  # noqa: E402

FAMILY = ModelFamily(256, 128, 2, 16, 2.5, 4, False)
CPU = EngineSettings(device="cpu")


def run(width=32, tokens=1e6):
    return ProxyRun(run_id=f"r{width}", shape=FAMILY.of_width(width), tokens=tokens, mix={"a": 1.0})


@pytest.fixture
def clock(monkeypatch):
    """`clock(seconds)`: products take `seconds(narrow, rows, inner, columns)`; returns the timings of bf16 so far."""

    def wind(seconds):
        timed = []

        def take(a, b, product):
            narrow = a.dtype == torch.bfloat16
            if narrow:
                timed.append(tuple(product.shape))
            return seconds(narrow, a.shape[0], a.shape[1], b.shape[1])

        monkeypatch.setattr(_plan, "_seconds", take)
        return timed

    return wind


@pytest.mark.parametrize(("speed", "precision"), [(1.1, "fp32"), (1.3, "bf16"), (0.5, "fp32")])
def test_bf16_is_taken_where_it_is_a_fifth_faster(clock, speed, precision):
    clock(lambda narrow, rows, inner, columns: 2e-11 * rows * inner * columns / (speed if narrow else 1))
    plan = measure_plan([run()], CPU)
    assert (plan.precision, plan.device, plan.busy) == (precision, "cpu", False)
    (shape,) = plan.shapes
    assert (shape.fp32_gflops, shape.bf16_gflops) == (pytest.approx(100), pytest.approx(100 * speed))
    assert (shape.params, shape.batch_tokens) == (run().shape.params_total, 1024)


def test_emulated_bf16_is_given_up_after_one_small_product(clock):
    timed = clock(lambda narrow, rows, inner, columns: 2e-11 * rows * inner * columns * (100 if narrow else 1))
    plan = measure_plan([run(), run(64)], CPU)
    assert plan.precision == "fp32"
    assert set(timed) == {(128, 128)}
    assert [shape.bf16_gflops for shape in plan.shapes] == [None, None]
    assert "has no bf16 products of its own" in what_is_missing("cpu", "bf16", Program.of(run().shared))


def test_the_campaigns_flops_decide_between_shapes_that_disagree(clock):
    """Tiles of bf16 units are half empty where a model is narrow."""

    def seconds(narrow, rows, inner, columns):
        slow = min(rows, inner, columns) < 32  # of the narrow model only
        return 2e-11 * rows * inner * columns * ((2 if slow else 0.5) if narrow else 1)

    clock(seconds)
    assert measure_plan([run(16, 1e8), run(64, 1e6)], CPU).precision == "fp32"
    assert measure_plan([run(16, 1e6), run(64, 1e8)], CPU).precision == "bf16"


@pytest.mark.parametrize(
    ("slowness", "attempts", "busy"),
    [
        (lambda number: 1, 1, False),
        (lambda number: 3 if number == 1 else 1, 1, False),
        (lambda number: (1, 1.5, 2)[number] if number < 3 else 1, 2, False),
        (lambda number: (1, 1.5, 2)[number % 3], 3, True),
    ],
    ids=["quiet", "in one round", "at first", "always"],
)
def test_disturbed_rounds_are_repeated_and_the_shortest_times_count(clock, monkeypatch, slowness, attempts, busy):
    """Other programs have the core for a part of some rounds."""
    measured, measure = [], _plan._Products.measure
    monkeypatch.setattr(_plan._Products, "measure", lambda products: measured.append(products) or measure(products))

    def seconds(narrow, rows, inner, columns):
        number = (len(measured) - 1) // 2  # of the round, each of fp32 and bf16
        return 2e-11 * rows * inner * columns * slowness(number) / (2 if narrow else 1)

    clock(seconds)
    plan = measure_plan([run()], CPU)
    assert (plan.busy, plan.precision) == (busy, "bf16")
    assert plan.shapes[0].fp32_gflops == pytest.approx(100)
    assert len(measured) == attempts * 3 * 2


def test_what_is_stated_is_not_measured(clock):
    clock(lambda *product: pytest.fail("measured"))
    for precision in ("fp32", "bf16"):
        plan = measure_plan([run()], CPU.model_copy(update={"precision": precision}))
        assert (plan.precision, plan.shapes[0].fp32_gflops) == (precision, None)
    assert what_is_missing("cpu", "fp32", Program.of(run().shared)) is None


def test_another_machine_is_told_what_it_lacks(clock, monkeypatch):
    program = Program.of(run().shared)
    clock(lambda narrow, *sizes: 2e-3 if narrow else 1e-3)
    assert "multiplies slower in bf16 than in fp32" in what_is_missing("cpu", "bf16", program)
    clock(lambda narrow, *sizes: 0.9e-3 if narrow else 1e-3)
    assert what_is_missing("cpu", "bf16", program) is None, "worth less than at first, but it can be done"
    clock(lambda narrow, *sizes: 1.2e-3 if narrow else 1e-3)
    assert what_is_missing("cpu", "bf16", program) is None, "other work may have disturbed it"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert what_is_missing("cuda", "bf16", program) == "torch sees no GPU here"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "an old card")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert what_is_missing("cuda", "bf16", program) == "an old card has no bf16"
    assert what_is_missing("cuda", "fp32", program) is None
    plan = measure_plan([run()], EngineSettings())
    assert (plan.device, plan.precision, plan.processor) == ("cuda", "fp32", "an old card")


def test_this_machine_is_measured_and_nothing_is_left_changed():
    """Seven shapes, of which a sample is timed; a model without a head of its own is one too."""
    before = torch.get_num_threads()
    tied = ModelFamily(256, 128, 2, 16, 2.5, 4, True)
    runs = [run(width) for width in range(16, 112, 16)]
    runs.append(ProxyRun(run_id="tied", shape=tied.of_width(112), tokens=1e6, mix={"a": 1.0}))
    plan = measure_plan(runs, CPU)
    assert plan.precision in ("fp32", "bf16")
    rates = [shape.fp32_gflops for shape in plan.shapes]
    assert rates[0] is not None is not rates[-1]
    assert sum(rate is not None for rate in rates) == 5
    assert all(0.1 < rate < 1e4 for rate in rates if rate is not None)
    assert torch.get_num_threads() == before
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match=r"engine\.device: got 'cuda'"):
            measure_plan(runs, EngineSettings(device="cuda"))


def test_of_experts_the_products_of_those_that_a_token_visits_count():
    shape = FAMILY.of_width(32).model_copy(update={"num_experts": 8, "experts_per_token": 2, "expert_ffn_width": 24})
    found = _plan._matrices(Program("transformer", shape, 8))
    assert found[32, 48] == found[24, 32] == 2 * shape.layers
    products = sum(inputs * outputs * count for (inputs, outputs), count in found.items())
    other = shape.mixer.flops(shape).total - 2 * shape.mixer.weights(shape).matrices  # scores of attention
    convolution = 2 * shape.layers * shape.short_conv * shape.width
    assert 2 * products == shape.forward_flops_per_token() - shape.layers * other - convolution
