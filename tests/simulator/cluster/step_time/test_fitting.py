import numpy as np
import pytest
from foretrain.core.model.architecture import Architecture
from foretrain.simulator.cluster.step_time.efficiency import PARAMETERS, Efficiencies
from foretrain.simulator.cluster.step_time.fitting import (
    KIND_VARIANCE,
    EfficiencyFit,
    fit_efficiencies,
    jacobian,
    kind_offsets,
    source_weights,
)
from foretrain.simulator.cluster.step_time.parts import step_time
from foretrain.simulator.cluster.step_time.steps import FRAMEWORKS, GENERATIONS, Steps

SOURCES = ("a", "b", "c", "d")
OFFSETS = {"a": 0.2, "b": -0.1, "c": 0.0, "d": -0.25}


@pytest.fixture(scope="module")
def known(make_steps) -> tuple[Steps, np.ndarray, Efficiencies]:
    """Steps on two kinds of GPU in layouts of every degree, their sources, and the efficiencies they ran with."""
    rng = np.random.default_rng(0)
    parts, source = [], []
    for name, gpu, framework in zip(
        SOURCES, ("A100-SXM-80", "H100") * 2, ("megatron", "megatron", "fsdp", "fsdp"), strict=True
    ):
        for width in (2048, 4096, 8192):
            shape = Architecture(
                layers=32, width=width, heads=width // 128, ffn_width=4 * width, vocab_size=50304, context_length=2048
            )
            n = 8
            columns = {
                "tp": rng.choice([1.0, 2, 4, 8], n), "pp": rng.choice([1.0, 2, 4], n),
                "dp": rng.choice([1.0, 4, 16], n),
                "micro_batch": rng.choice([1.0, 2, 4], n), "accumulation": rng.choice([4.0, 16], n),
                "recompute_full": rng.choice([0.0, 1], n),
                "zero_stage": np.full(n, 3.0 if framework == "fsdp" else 1.0),
                "sequence_parallel": np.ones(n),
            }  # fmt: skip
            whole = make_steps(shape, gpu=gpu, framework=framework, **columns)
            parts += [_one(whole, k) for k in range(n)]
            source += [name] * n
    moved = {name: rng.normal(0, 0.7 * prior.log_sd) for name, prior in PARAMETERS.items()}
    truth = {name: prior.median * float(np.exp(moved[name])) for name, prior in PARAMETERS.items()}
    return Steps.join(parts), np.array(source), Efficiencies(truth)


def _one(steps: Steps, row: int) -> Steps:
    columns = {name: value if value.ndim == 0 else value[row] for name, value in vars(steps.layouts).items()}
    return Steps(steps.models, steps.machines, type(steps.layouts)(**columns))


@pytest.fixture(scope="module")
def observed(known) -> np.ndarray:
    steps, source, truth = known
    noise = np.random.default_rng(1).normal(0, 0.02, len(source))
    return step_time(steps, truth).total_s * np.exp([OFFSETS[name] for name in source] + noise)


@pytest.fixture(scope="module")
def fit(known, observed) -> EfficiencyFit:
    return fit_efficiencies(known[0], observed, known[1])


def test_known_efficiencies_are_found_again(known, observed, fit):
    """Parameters may stand in for each other, but what they predict together is right within 3 %."""
    steps, source, truth = known
    predicted = step_time(steps, fit.efficiencies).total_s * np.exp(fit.log_offsets(source))
    before = step_time(steps, Efficiencies.prior()).total_s
    error = np.abs(np.log(predicted / observed))
    assert np.median(error) < 0.03
    assert np.percentile(error, 90) < 0.07
    assert np.median(np.abs(np.log(before / observed))) > 0.1
    closer = np.abs(fit.efficiencies.logs() - truth.logs()) <= np.abs(Efficiencies.prior().logs() - truth.logs())
    assert closer.mean() > 0.5


def test_offsets_of_sources_are_found_apart_from_a_common_one(fit):
    """All sources being slower alike can't be told from slower parameters; how they differ can."""
    found = np.array([fit.offsets[name] for name in SOURCES])
    true = np.array([OFFSETS[name] for name in SOURCES])
    for gpu in (0, 1):  # same accelerator, other software
        apart = (found[gpu] - found[gpu + 2]) - (true[gpu] - true[gpu + 2])
        assert abs(apart) < 0.25
    assert np.corrcoef(found, true)[0, 1] > 0.8


def test_fits_are_the_same_again(known, observed, fit):
    again = fit_efficiencies(known[0], observed, known[1])
    assert again.efficiencies.values == fit.efficiencies.values
    assert again.offsets == fit.offsets


def test_one_absurd_row_bends_little(known, observed, fit):
    spoiled = observed.copy()
    spoiled[5] *= 10
    found = fit_efficiencies(known[0], spoiled, known[1])
    seconds = [
        step_time(known[0], one.efficiencies).total_s * np.exp(one.log_offsets(known[1])) for one in (found, fit)
    ]
    assert np.median(np.abs(np.log(seconds[0] / seconds[1]))) < 0.05


def test_unknown_sources_have_no_offset():
    fit = EfficiencyFit(Efficiencies.prior(), {"a": 0.3})
    assert fit.log_offsets(np.array(["a", "z"])).tolist() == [0.3, 0.0]


def test_derivatives_are_those_of_wider_differences(known, shipped):
    steps = known[0].take(np.arange(0, len(known[1]), 7))
    found, logs, h = jacobian(steps, shipped), shipped.logs(), 3e-3
    for j in range(len(PARAMETERS)):
        up, down = logs.copy(), logs.copy()
        up[j], down[j] = up[j] + h, down[j] - h
        wide = [np.log(step_time(steps, Efficiencies.from_logs(x)).total_s) for x in (up, down)]
        np.testing.assert_allclose(found[:, j], (wide[0] - wide[1]) / (2 * h), atol=5e-3)
    # faster products, links and memory make steps shorter; costs make them longer
    signs = dict(zip(PARAMETERS, np.sign(np.round(found, 6)).T, strict=True))
    for name in ("matmul", "flash.ampere", "intra_node", "inter_node"):
        assert np.all(signs[name] <= 0), name
    for name in ("elementwise", "launch_s", "tp_exposed", "dp_exposed", "bubble", "optimizer_bytes", "step_s"):
        assert np.all(signs[name] >= 0), name


def test_large_sources_count_less_per_row():
    weights = source_weights(np.array(["a"] * 16 + ["b"] * 4 + ["c"]))
    assert weights.mean() == pytest.approx(1)
    assert weights[20] / weights[0] == pytest.approx(4)
    assert weights[:16].sum() / weights[16:20].sum() == pytest.approx(2)


def test_kinds_expect_what_their_sources_share(known):
    """One source's offset is shrunk by V / (V + 1), of two their sum by V / (2 V + 1); one far off counts little."""
    steps, source, _ = known
    v = KIND_VARIANCE
    kinds = kind_offsets(steps, source, OFFSETS)
    assert kinds.shape == (len(GENERATIONS) + 1, len(FRAMEWORKS))
    ampere, hopper = GENERATIONS.index("ampere"), GENERATIONS.index("hopper")
    megatron, fsdp = FRAMEWORKS.index("megatron"), FRAMEWORKS.index("fsdp")
    assert kinds[ampere, megatron] == pytest.approx(OFFSETS["a"] * v / (v + 1))
    assert kinds[hopper, fsdp] == pytest.approx(OFFSETS["d"] * v / (v + 1))
    assert np.count_nonzero(kinds) == 3  # c has none
    steps = steps.take(np.arange(3))
    for offsets, expected, within in (
        ((0.3, 0.301), 0.601 * v / (2 * v + 1), 1e-3),
        ((-0.05, -0.06, 0.3), -0.05, 0.03),
    ):
        names = np.array(["p", "q", "r"][: len(offsets)])
        kinds = kind_offsets(steps.take(np.arange(len(names))), names, dict(zip(names, offsets, strict=True)))
        assert kinds[ampere, megatron] == pytest.approx(expected, abs=within)
