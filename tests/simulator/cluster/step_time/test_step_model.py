import copy
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from foretrain.core.errors import InputError
from foretrain.core.model.architecture import Architecture
from foretrain.simulator.cluster.step_time.efficiency import PARAMETERS
from foretrain.simulator.cluster.step_time.measurements.own_cluster import REPEAT_SD
from foretrain.simulator.cluster.step_time.step_model import LEVELS, Spread, StepTimeModel
from foretrain.simulator.cluster.step_time.steps import FRAMEWORKS, GENERATIONS, Steps
from hypothesis import given, settings
from hypothesis import strategies as st

LLAMA7 = Architecture(layers=32, width=4096, heads=32, ffn_width=11008, vocab_size=32000, context_length=4096)
LLAMA70 = Architecture(
    layers=80, width=8192, heads=64, kv_heads=8, ffn_width=28672, vocab_size=128256, context_length=8192
)
MIXTRAL = Architecture(
    layers=32, width=4096, heads=32, kv_heads=8, ffn_width=14336, vocab_size=32000, context_length=4096,
    num_experts=8, experts_per_token=2,
)  # fmt: skip
MODEL = StepTimeModel.shipped()


@pytest.fixture(scope="module")
def steps(make_steps) -> Steps:
    """A dozen layouts of one model on H100."""
    tp, pp = np.meshgrid([1.0, 2, 4, 8], [1.0, 2, 4])
    shared = {"dp": 8.0, "accumulation": 16.0, "sequence_parallel": 1.0, "recompute_full": (tp < 4).ravel() * 1.0}
    return make_steps(LLAMA70, tp=tp.ravel(), pp=pp.ravel(), **shared)


@pytest.fixture(scope="module")
def measured(steps) -> np.ndarray:
    """Times of a cluster 20 % slower than predicted, with 3 % noise."""
    noise = np.random.default_rng(0).normal(0, 0.03, len(steps))
    return MODEL.predict(steps).total_s * 1.2 * np.exp(noise)


# what is shipped


def test_a_prediction_needs_numpy_only():
    program = """
import sys
from foretrain.simulator.cluster.step_time.step_model import StepTimeModel
from foretrain.simulator.cluster.step_time.steps import Steps, layouts, machine, model
from foretrain.core.model.architecture import Architecture
from foretrain.datasets.facts.accelerators import accelerator
shape = Architecture(layers=32, width=4096, heads=32, ffn_width=11008, vocab_size=32000, context_length=4096)
steps = Steps(model(shape), machine(accelerator("h100"), "bf16", devices=8), layouts(dp=8))
assert StepTimeModel.shipped().interval_s(steps)[0] > 0
print(sorted({"scipy", "pandas", "lightgbm", "sklearn", "pyarrow", "torch"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_where_the_shipped_figures_are_from():
    assert set(MODEL.provenance) >= {"command", "table", "digest", "rows", "sources", "published_by"}
    assert MODEL.provenance["rows"] == sum(MODEL.provenance["sources"].values()) > 500
    assert (MODEL.offset, MODEL.calibrated_on) == (0.0, 0)
    assert MODEL.residual is not None


def test_fitted_efficiencies_are_believable():
    """Within three prior standard deviations; shares of a rate about 1 at most, as nominal rates are."""
    values = MODEL.efficiencies.values
    for name, prior in PARAMETERS.items():
        assert abs(np.log(values[name] / prior.median)) < 3 * prior.log_sd, name
    for name in ("intra_node", "inter_node", "host", "matmul"):
        assert values[name] < 1.05, name


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        (LLAMA7, {"gpu": "A100-SXM-80", "dp": 64, "accumulation": 4, "micro_batch": 2}),
        (LLAMA7, {"gpu": "H100", "dp": 64, "accumulation": 4, "micro_batch": 2}),
        (LLAMA7, {"gpu": "H100", "dp": 64, "accumulation": 1, "micro_batch": 4, "zero_stage": 3, "framework": "fsdp"}),
        (LLAMA70, {"gpu": "A100-SXM-80", "tp": 8, "pp": 4, "vpp": 5, "dp": 8, "accumulation": 32}),
        (LLAMA70, {"gpu": "H100", "tp": 8, "pp": 4, "vpp": 5, "dp": 16, "accumulation": 32}),
    ],
)
def test_utilisation_is_in_the_published_range(shape, layout, make_steps):
    """MFU of good layouts: 38 to 43 % of Llama 3 on H100 (arXiv:2407.21783, table 4), 60 to 65 % on A100."""
    one = make_steps(shape, sequence_parallel=1, **layout)
    flops = float(one.tokens) * shape.training_flops_per_token()
    mfu = flops / MODEL.predict(one).total_s / float(one.layouts.devices * one.machines.peak_flops)
    assert 0.3 < mfu < 0.67


# predictions


def test_parts_add_up(steps):
    found = MODEL.predict(steps)
    np.testing.assert_allclose(sum(found.parts.values()), found.total_s)


def test_the_learned_part_is_bounded(steps):
    ratio = MODEL.predict(steps).total_s / MODEL.without_trees().predict(steps).total_s
    assert np.all(np.abs(np.log(ratio)) <= 0.15 + 1e-9)
    assert np.any(ratio != 1)


def test_offsets_of_kinds_apply_to_their_rows(make_steps):
    kinds = np.zeros((len(GENERATIONS) + 1, len(FRAMEWORKS)))
    kinds[GENERATIONS.index("hopper"), FRAMEWORKS.index("fsdp")] = 0.3
    plain, other = replace(MODEL, kinds=np.zeros_like(kinds)), replace(MODEL, kinds=kinds)
    ratios = {
        (gpu, framework): float(other.predict(one).total_s[0] / plain.predict(one).total_s[0])
        for gpu in ("A100-SXM-80", "H100", "MI300X")
        for framework in ("megatron", "fsdp")
        for one in [make_steps(LLAMA7, gpu=gpu, framework=framework, dp=8)]
    }
    assert ratios.pop(("H100", "fsdp")) == pytest.approx(np.exp(0.3))
    assert set(ratios.values()) == {1.0}


def test_intervals_widen_with_their_level(steps):
    median = MODEL.predict(steps).total_s
    ends = [MODEL.interval_s(steps, level) for level in LEVELS]
    for low, high in ends:
        assert np.all((low < median) & (median < high))
    assert np.all(np.diff([low for low, _ in ends], axis=0) < 0)
    assert np.all(np.diff([high for _, high in ends], axis=0) > 0)


def test_experts_and_unknown_accelerators_are_less_sure(make_steps):
    names = {"dense": (LLAMA7, "H100"), "experts": (MIXTRAL, "H100"), "unknown": (LLAMA7, "MI300X")}
    sd = {name: float(MODEL.log_sd(make_steps(shape, gpu=gpu, dp=8))[0]) for name, (shape, gpu) in names.items()}
    assert sd["experts"] > 1.2 * sd["dense"]
    assert sd["unknown"] > sd["dense"]


def test_draws_have_the_quantiles_of_the_spread():
    sizes = np.abs(MODEL.spread.draw(np.random.default_rng(0), 200_000))
    for level, width in MODEL.spread.quantiles.items():
        assert np.quantile(sizes, level) == pytest.approx(width, rel=0.03)
    signed = MODEL.spread.draw(np.random.default_rng(1), 200_000)
    assert abs(np.mean(signed > 0) - 0.5) < 0.005
    assert np.all(np.isfinite(signed))
    assert np.array_equal(signed, MODEL.spread.draw(np.random.default_rng(1), 200_000))


def test_draws_of_a_gaussian_spread_are_gaussian():
    gaussian = Spread(0.1, 0.2, dict(zip(LEVELS, (0.6745, 1.2816, 1.6449, 1.9600), strict=True)))
    sizes = np.abs(gaussian.draw(np.random.default_rng(0), 400_000))
    # normal quantiles beyond the last level that is kept
    for level, width in ((0.99, 2.5758), (0.999, 3.2905)):
        assert np.quantile(sizes, level) == pytest.approx(width, rel=0.03)


# calibration


@pytest.mark.parametrize("factor", [0.6, 0.9, 1.3, 3.0])
def test_calibration_moves_towards_what_was_measured(factor, steps):
    before = MODEL.predict(steps).total_s
    some = steps.take(np.array([2, 5, 9]))
    after = MODEL.calibrated(some, MODEL.predict(some).total_s * factor).predict(steps).total_s
    moved = np.log(after / before) / np.log(factor)
    assert np.all((moved > 0.3) & (moved < 1.15))
    assert 0.6 < np.median(moved) < 1.05


def test_calibrating_on_its_own_predictions_changes_nothing(steps):
    again = MODEL.calibrated(steps, MODEL.predict(steps).total_s)
    np.testing.assert_allclose(again.predict(steps).total_s, MODEL.predict(steps).total_s, rtol=1e-9)
    assert again.calibrated_on == len(steps)


def test_more_rows_make_surer(steps, measured, make_steps):
    others = make_steps(LLAMA7, dp=8.0, micro_batch=np.array([1.0, 2, 4]), framework="fsdp")
    sds = {name: [MODEL.log_sd(one)] for name, one in (("same", steps), ("others", others))}
    for rows in (1, 3, 12):
        found = MODEL.calibrated(steps.take(np.arange(rows)), measured[:rows])
        sds["same"].append(found.log_sd(steps))
        sds["others"].append(found.log_sd(others))
    for found in sds.values():
        # parameters have moved, and slopes with them: a little leeway
        assert np.all(np.diff(found, axis=0) <= 2e-3)
    assert np.all(sds["same"][2] < 0.85 * sds["same"][0])
    # never surer than of another measurement, and of other machines' software never than of any one step
    assert np.all(sds["same"][-1] >= REPEAT_SD)
    assert np.all(sds["others"][-1] >= MODEL.spread.noise_sd / 2)


def test_calibration_halves_the_error_on_other_layouts(steps, measured):
    rest = np.arange(3, len(steps))
    found = MODEL.calibrated(steps.take(np.arange(3)), measured[:3])
    errors = [np.abs(np.log(one.predict(steps).total_s / measured))[rest] for one in (MODEL, found)]
    assert np.median(errors[1]) < 0.5 * np.median(errors[0])


@pytest.mark.parametrize("order", [(5, 4, 3, 2, 1, 0), (2, 0, 1, 5, 3, 4)])
def test_the_order_of_rows_does_not_matter(steps, measured, order):
    rows = np.array(order)
    one = MODEL.calibrated(steps.take(np.arange(6)), measured[:6])
    other = MODEL.calibrated(steps.take(rows), measured[rows])
    np.testing.assert_allclose(one.predict(steps).total_s, other.predict(steps).total_s, rtol=1e-6)
    np.testing.assert_allclose(one.log_sd(steps), other.log_sd(steps), rtol=1e-6)


def test_calibrating_twice_is_much_like_once(steps, measured):
    once = MODEL.calibrated(steps.take(np.arange(6)), measured[:6])
    half = MODEL.calibrated(steps.take(np.arange(3)), measured[:3])
    twice = half.calibrated(steps.take(np.arange(3, 6)), measured[3:6])
    assert once.calibrated_on == twice.calibrated_on == 6
    np.testing.assert_allclose(twice.predict(steps).total_s, once.predict(steps).total_s, rtol=0.01)
    np.testing.assert_allclose(twice.log_sd(steps), once.log_sd(steps), rtol=0.05)


def test_repetitions_of_one_step(make_steps):
    one = make_steps(LLAMA7, dp=8)
    found = MODEL.calibrated(Steps.join([one] * 3), np.full(3, 2 * MODEL.predict(one).total_s[0]))
    assert found.predict(one).total_s[0] == pytest.approx(2 * MODEL.predict(one).total_s[0])
    assert found.log_sd(one)[0] == pytest.approx(REPEAT_SD * np.sqrt(1 + 1 / 3), rel=0.02)


@pytest.mark.parametrize("factor", [0.3, 0.9, 1.08, 2.0])
def test_the_answer_for_a_measured_step_is_the_measurement(factor, steps):
    """And layouts that spend their time nearly alike are answered nearly so."""
    one = steps.take(np.array([4]))
    measured_s = MODEL.predict(one).total_s * factor
    found = MODEL.calibrated(one, measured_s)
    np.testing.assert_allclose(found.predict(steps).total_s[4], measured_s, rtol=1e-12)
    assert found.log_sd(steps)[4] == pytest.approx(REPEAT_SD * np.sqrt(2), rel=0.02)
    assert np.all(found.log_sd(steps)[[3, 5]] > 1.2 * REPEAT_SD)


def test_a_second_measurement_of_a_step_counts_beside_the_first(steps):
    one = steps.take(np.array([4]))
    first_s = MODEL.predict(one).total_s
    twice = MODEL.calibrated(one, first_s).calibrated(one, 1.21 * first_s)
    assert twice.calibrated_on == 2
    np.testing.assert_allclose(twice.predict(one).total_s, 1.1 * first_s)
    assert twice.log_sd(one)[0] == pytest.approx(REPEAT_SD * np.sqrt(1.5), rel=0.02)


@pytest.mark.parametrize("seconds", [0.0, -1.0, np.nan, np.inf])
def test_times_that_are_none_are_refused(seconds, steps):
    with pytest.raises(InputError, match="expected seconds above 0"):
        MODEL.calibrated(steps.take(np.array([0, 1])), np.array([1.0, seconds]))


def test_nothing_measured_is_refused(steps):
    with pytest.raises(InputError, match="at least one measured step"):
        MODEL.calibrated(steps.take(np.array([], dtype=int)), np.array([]))


@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_milliseconds_are_refused(factor, steps):
    one = steps.take(np.array([0]))
    with pytest.raises(InputError, match=r"where .* s are predicted; expected seconds, within a factor of 100"):
        MODEL.calibrated(one, MODEL.predict(one).total_s * factor)


# files


def test_a_saved_model_predicts_the_same(tmp_path, steps, measured):
    own = MODEL.calibrated(steps.take(np.arange(3)), measured[:3])
    own.save(tmp_path / "own.json")
    again = StepTimeModel.load(tmp_path / "own.json")
    np.testing.assert_allclose(again.predict(steps).total_s, own.predict(steps).total_s, rtol=1e-5)
    np.testing.assert_allclose(again.interval_s(steps)[1], own.interval_s(steps)[1], rtol=1e-4)
    assert (again.calibrated_on, again.provenance) == (3, MODEL.provenance)
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "own.json").read_bytes()


def test_a_model_without_trees_is_kept_so(tmp_path, steps):
    MODEL.without_trees().save(tmp_path / "plain.json")
    again = StepTimeModel.load(tmp_path / "plain.json")
    assert again.residual is None
    np.testing.assert_allclose(again.predict(steps).total_s, MODEL.without_trees().predict(steps).total_s, rtol=1e-6)


PLAIN = json.loads(json.dumps(MODEL.to_dict()))
SMALL = {**PLAIN, "residual": None}


def load(tmp_path, text: str) -> StepTimeModel:
    (tmp_path / "own.json").write_text(text, encoding="utf-8")
    return StepTimeModel.load(tmp_path / "own.json")


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "3", '"x"', "{}", '{"format": 1}', "[" * 100_000, '{"format": 1e999}', "NaN", "\x00"],
)
def test_what_is_no_calibration_is_refused(tmp_path, text):
    with pytest.raises(InputError, match=r"own.json: is not a calibration of this version"):
        load(tmp_path, text)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        StepTimeModel.load(tmp_path / "none.json")
    with pytest.raises(InputError, match="is a folder"):
        StepTimeModel.load(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="isn't UTF-8"):
        StepTimeModel.load(tmp_path / "binary")


HUGE = 10**400


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), 4), (("offset",), float("nan")), (("offset",), 11), (("offset",), "x"), (("offset",), None),
        (("offset",), HUGE), (("kinds",), []), (("kinds",), [[0.0]]), (("kinds", 0, 0), float("inf")),
        (("efficiencies",), {}), (("efficiencies", "matmul"), 0), (("efficiencies", "matmul"), -1),
        (("efficiencies", "matmul"), float("nan")), (("efficiencies", "matmul"), 1e30),
        (("efficiencies", "other"), 1.0), (("covariance",), [[1.0]]), (("covariance", 0, 0), float("nan")),
        (("covariance", 0, 0), -1.0), (("covariance", 0, 1), 0.5), (("covariance", 0, 0), 1e300),
        (("releases",), {}), (("releases", "spread", "dense"), -1), (("releases", "slower"), {"megatron": {}}),
        (("spread",), None), (("spread", "noise_sd"), 0), (("spread", "noise_sd"), float("nan")),
        (("spread", "noise_sd_experts"), -0.1), (("spread", "quantiles"), {}), (("spread", "quantiles", "0.8"), 0.1),
        (("spread", "quantiles", "0.95"), float("inf")), (("spread", "quantiles", "0.5"), -1),
        (("residual",), {}), (("residual",), 5), (("residual", "left", 0, 0), 0), (("calibrated_on",), float("inf")),
        (("calibrated_on",), "many"), (("calibrated_on",), -1), (("provenance",), 3), (("provenance",), [1]),
    ],
)  # fmt: skip
def test_damaged_files_are_refused(tmp_path, path, value):
    plain = copy.deepcopy(PLAIN if "residual" in path else SMALL)
    inner = plain
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(InputError, match=r"own.json: is not a calibration of this version"):
        load(tmp_path, json.dumps(plain))


@pytest.mark.parametrize("key", sorted(PLAIN.keys() - {"what"}))
def test_every_part_is_needed(tmp_path, key):
    with pytest.raises(InputError, match=r"own.json: is not a calibration of this version"):
        load(tmp_path, json.dumps({name: value for name, value in SMALL.items() if name != key}))


ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)


@given(st.sampled_from(sorted(PLAIN.keys() - {"what"})), ANY)
@settings(max_examples=40, deadline=None)
def test_junk_is_refused_or_harmless(steps, tmp_path_factory, key, junk):
    path = tmp_path_factory.getbasetemp() / "junk.json"
    path.write_text(json.dumps({**SMALL, key: junk}), encoding="utf-8")
    try:
        found = StepTimeModel.load(path)
    except InputError:
        return
    low, high = found.interval_s(steps)
    assert np.all(np.isfinite(high) & (low > 0))
