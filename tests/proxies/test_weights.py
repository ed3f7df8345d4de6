"""The weights that a run ends with: those that it was validated with, the same after a fault, checked when read."""

import json

import numpy as np
import pytest
import torch
from foretrain.core.errors import CampaignError
from foretrain.datasets.tokens.mixture import validation_rows
from foretrain.proxies.campaign.campaign import Campaign
from foretrain.proxies.campaign.group import train_one_group
from foretrain.proxies.engine import _train as train_module
from foretrain.proxies.engine import train_group
from foretrain.proxies.kernels import find_compiler
from foretrain.proxies.models import build_model
from foretrain.proxies.settings import EngineSettings
from foretrain.proxies.weights import WEIGHTS_NAME, read_weights, write_weights
from safetensors.numpy import load, save

pytestmark = pytest.mark.usefixtures("one_thread")

WAYS = ["never", pytest.param("always", marks=pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler"))]


@pytest.fixture(scope="module")
def weights(tiny_run, tiny_store, plain, tmp_path_factory):
    """The weights of a short run."""
    keeping = plain.model_copy(update={"keep_weights": True})
    (result,) = train_group([tiny_run(4)], tiny_store, keeping, tmp_path_factory.mktemp("weights") / "c")
    return result.weights


@pytest.mark.parametrize("way", WAYS)
def test_they_are_those_that_were_validated_and_the_same_after_a_fault(
    way, tiny_run, tiny_store, plain, tmp_path, monkeypatch
):
    keeping = plain.model_copy(update={"keep_weights": True, "compile": way, "checkpoint_every_s": 1e-9})
    runs = [tiny_run(24, run_id=name, seed=seed) for seed, name in enumerate("xy")]

    def fail(progress):
        if progress.step == 9:
            raise OSError("no more")

    monkeypatch.setattr(train_module, "_REPORT_EVERY_S", 0.0)
    with pytest.raises(OSError, match="no more"):
        train_group(runs, tiny_store, keeping, tmp_path / "c", fail)
    resumed = train_group(runs, tiny_store, keeping, tmp_path / "c")
    straight = train_group(runs, tiny_store, keeping, tmp_path / "unused")
    assert [one.weights.digest for one in resumed] == [one.weights.digest for one in straight]
    assert resumed[0].weights.digest != resumed[1].weights.digest
    rows = torch.from_numpy(validation_rows(tiny_store, "a", 16, 512))
    for run, result in zip(runs, straight, strict=True):
        named = {name: torch.from_numpy(array)[None] for name, array in result.weights.arrays.items()}
        loss = build_model(run.model, run.shape).losses(named, rows[None]).mean().item()
        assert loss == pytest.approx(result.evaluations[-1].losses["a"].mean_nats, abs=1e-5)


def test_nothing_is_kept_unasked(tiny_run, tiny_store, plain, tmp_path):
    (result,) = train_group([tiny_run(2)], tiny_store, plain, tmp_path / "c")
    assert result.weights is None
    assert "keep_weights" not in EngineSettings().model_dump(mode="json"), "old campaigns stay as they are"


def test_they_come_back_as_they_were_written(weights, tmp_path):
    write_weights(tmp_path, weights)
    found = read_weights(tmp_path)
    assert (found.facts, found.digest) == (weights.facts, weights.digest)
    for name, array in weights.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
    assert [path.name for path in tmp_path.iterdir()] == [WEIGHTS_NAME]


def test_one_flipped_bit_is_noticed_wherever_it_is(weights, tmp_path):
    write_weights(tmp_path, weights)
    path = tmp_path / WEIGHTS_NAME
    whole = path.read_bytes()
    for at in [*np.random.default_rng(0).integers(0, len(whole), 40).tolist(), *range(0, 2000, 41)]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x04]) + whole[at + 1 :])
        with pytest.raises(CampaignError, match=WEIGHTS_NAME):
            read_weights(tmp_path)


def test_weights_of_another_model_are_refused_and_named(weights, tmp_path):
    write_weights(tmp_path, weights)
    path = tmp_path / WEIGHTS_NAME
    whole, facts = load(path.read_bytes()), json.loads(weights.facts.model_dump_json())

    def refused(match, arrays=whole, **change):
        header = {"facts": {**facts, **change}, "digest": weights.digest}
        path.write_bytes(save(arrays, {"foretrain": json.dumps(header)}))
        with pytest.raises(CampaignError, match=match):
            read_weights(tmp_path)

    refused("'norm': missing", {name: array for name, array in whole.items() if name != "norm"})
    refused("'more': no weight of this model", {**whole, "more": whole["norm"]})
    refused(r"'norm': got F32 \(3,\); expected F32 \(16,\)", {**whole, "norm": whole["norm"][:3].copy()})
    refused(r"'norm': got F64", {**whole, "norm": whole["norm"].astype(np.float64)})
    refused("its digest is", {**whole, "norm": whole["norm"] + 1})
    refused("its digest is", diverged=True)
    refused("model: got 'gpt5'", model="gpt5")
    refused("format", format=2)
    refused("parameters; expected those of a proxy", shape={**facts["shape"], "width": 2**16, "ffn_width": 2**20})
    path.unlink()
    with pytest.raises(CampaignError, match="keep_weights"):
        read_weights(tmp_path)


def test_a_run_is_done_only_with_its_weights_where_they_are_kept(toy_store, toy_settings, toy_run, tmp_path):
    keeping = toy_settings.model_copy(update={"keep_weights": True})
    campaign = Campaign.create(tmp_path / "c", [toy_run("r", tokens=1024)], toy_store, keeping)
    assert train_one_group(campaign.folder, 0) is None
    path = campaign.layout.run("r") / WEIGHTS_NAME
    first = path.read_bytes()
    assert campaign.is_group_done(0)
    path.unlink()
    assert not campaign.is_group_done(0)
    assert campaign.status().counts["done"] == 0
    assert train_one_group(campaign.folder, 0) is None
    assert path.read_bytes() == first
    assert campaign.status().counts["done"] == 1
    failure = train_one_group(
        Campaign.create(tmp_path / "d", [toy_run("r", tokens=1024)], toy_store, keeping).folder,
        0,
        lambda runs, *_: train_group(runs, campaign.open_store(), toy_settings, tmp_path / "unused"),
    )
    assert "without its weights" in failure
