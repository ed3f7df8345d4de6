"""Releases of training software: how they are read, what is known of them, and that they are recovered from rows."""

from dataclasses import replace

import numpy as np
import pytest
from foretrain.core.errors import InputError
from foretrain.core.model.architecture import Architecture
from foretrain.simulator.cluster.step_time.efficiency import Efficiencies
from foretrain.simulator.cluster.step_time.fitting import fit_efficiencies, sources_by_model
from foretrain.simulator.cluster.step_time.parts import step_time
from foretrain.simulator.cluster.step_time.releases import Releases, release_kinds
from foretrain.simulator.cluster.step_time.step_model import StepTimeModel
from foretrain.simulator.cluster.step_time.steps import GENERATIONS, Steps
from foretrain.simulator.config.software_release import release_inside, release_name, release_number

EXPERTS = Architecture(
    layers=32, width=4096, heads=32, ffn_width=14336, vocab_size=32000, context_length=4096, num_experts=8,
    experts_per_token=2,
)  # fmt: skip
DENSE = Architecture(layers=32, width=4096, heads=32, ffn_width=11008, vocab_size=32000, context_length=4096)


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("26.04", 2604), ("26.04.01", 2604.01), (" 25.9 ", 2509), (26.04, 2604), (26.1, 2610), ("2026-04-15", 2604),
        ("2026.04", 2604), ("20.04", 2004), ("v0.15.0", 0), ("1.13", 0), (0.15, 0),
    ],
)  # fmt: skip
def test_releases_are_read(said, number):
    assert release_number(said) == pytest.approx(number)
    if number:
        assert release_number(release_name(number)) == pytest.approx(number)


@pytest.mark.parametrize("said", ["newest", "", "26.04-rc", "-26.04", "9" * 60, float("nan"), float("inf")])
def test_what_is_no_version_is_refused(said):
    with pytest.raises(InputError, match=r"such as 26\.04"):
        release_number(said)


@pytest.mark.parametrize("said", ["26.13", 26.13, "26.00", "2026-13-41"])
def test_a_month_that_does_not_exist_is_refused(said):
    with pytest.raises(InputError, match="which has no month"):
        release_number(said)


def test_a_frameworks_name_may_hold_its_release():
    assert release_inside("megatron-bridge 26.04.01") == pytest.approx(2604.01)
    assert release_inside("megatron-lm") == release_inside("composer 0.15.0") == release_inside("x 126.04") == 0
    assert release_inside("megatron 25.40") == 0


@pytest.fixture(scope="module")
def many(make_steps) -> tuple[Steps, np.ndarray]:
    """Eight layouts of a dense model and of experts on two kinds of GPU, with each of four releases; their sources."""
    parts, source = [], []
    for gpu in ("H100", "GB200"):
        for shape in (DENSE, EXPERTS):
            for release in (2509.0, 2602.0, 2604.0, 2606.0):
                size = 8
                columns = {
                    "dp": [8.0, 8, 16, 16, 32, 32, 8, 8], "pp": [1.0, 2, 1, 2, 1, 2, 4, 4],
                    "micro_batch": [1.0, 2, 1, 2, 1, 2, 1, 2],
                }  # fmt: skip
                ep = 8.0 if shape is EXPERTS else 1.0
                made = make_steps(shape, gpu=gpu, accumulation=16.0, ep=ep, release=np.full(size, release), **columns)
                wide = [made.take(np.array([i])) for i in range(size)]
                parts += wide
                source += [gpu] * size
    return Steps.join(parts), np.array(source)


def test_what_releases_gained_is_recovered(many):
    """Experts gained 30 % with one release on one accelerator, 5 % on the other; dense models nothing."""
    steps, source = many
    experts = steps.models.num_experts > 0
    gained = np.where(source == "GB200", 0.3, 0.05) * experts * (steps.layouts.release < 2606)
    seconds = step_time(steps, Efficiencies.prior()).total_s * np.exp(gained)
    fit = fit_efficiencies(steps, seconds, sources_by_model(steps, source))
    found = fit.releases.log_factor(steps)
    np.testing.assert_allclose(found, gained, atol=0.06)
    np.testing.assert_allclose(found[steps.layouts.release == 2606], 0.0, atol=1e-12)
    spread = dict(zip(("dense", "experts"), fit.releases.spread, strict=True))
    assert spread["dense"] < 0.01 < 0.05 < spread["experts"]
    # an accelerator of which nothing is known takes what all have in common
    other = replace(steps, machines=replace(steps.machines, generation=np.array(float(len(GENERATIONS)))))
    common = fit.releases.log_factor(other)
    old = experts & (steps.layouts.release < 2606)
    assert np.all((common[old] > 0.05) & (common[old] < 0.3))


def test_unknown_releases_are_the_newest_with_the_spread(many):
    steps, _ = many
    kinds = release_kinds(steps)
    known = Releases({int(kind): (np.array([2602.0, 2604.0]), np.array([0.2, 0.0])) for kind in kinds}, (0.03, 0.2))

    def at(release: float) -> Steps:
        return replace(steps, layouts=replace(steps.layouts, release=np.array(release)))

    for release, slower in ((0.0, 0.0), (2604.0, 0.0), (2612.0, 0.0), (2602.0, 0.2), (2603.0, 0.2), (2401.0, 0.2)):
        np.testing.assert_allclose(known.log_factor(at(release)), slower)
    expected = np.where(steps.models.num_experts > 0, 0.2, 0.03)
    for release in (0.0, 2603.0, 2612.0):
        np.testing.assert_allclose(known.log_sd(at(release)), expected)
    np.testing.assert_allclose(known.log_sd(at(2602.0)), 0.0)
    assert Releases.from_dict(known.to_dict()).to_dict() == known.to_dict()


def test_a_release_that_nobody_measured_is_told():
    releases = StepTimeModel.shipped().releases
    assert releases.note(0, 2604.0, "26.04") is None
    for release, said, taken in ((2712.0, "27.12", "newest"), (0.0, "0.15.0", "newest"), (2412.0, "24.12", "25.09")):
        note = releases.note(0, release, said)
        assert note is not None
        assert said in note
        assert "26.04.01" in note
        assert f"{taken} is taken" in note
    assert "no release of fsdp is told apart" in str(releases.note(1, 2604.0, "26.04"))


def test_experts_gain_from_releases_in_the_shipped_model(make_steps):
    """Shared runs: deepseek-v3 on GB200 15.5 s with 26.04, 13.3 with 26.06; qwen3-30b 10.05 and 6.5."""
    model = StepTimeModel.shipped()
    seconds = {}
    for release in (0.0, 2604.0, 2606.0):
        steps = make_steps(EXPERTS, gpu="GB200", dp=64.0, ep=64.0, accumulation=16.0, release=release)
        seconds[release] = float(model.predict(steps).total_s[0])
        if release == 0.0:
            unknown = float(model.log_sd(steps)[0])
    assert 1.15 < seconds[2604.0] / seconds[2606.0] < 1.5
    assert seconds[0.0] == pytest.approx(seconds[2606.0], rel=0.05)
    assert unknown > float(model.log_sd(steps)[0])
