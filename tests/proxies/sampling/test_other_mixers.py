"""Proxies without attention, wherever weights that a run ended with are used."""

import numpy as np
import pytest
import torch
import yaml
from foretrain.core.model.architecture import Architecture
from foretrain.datasets.tokens.tokenizer import ByteTokenizer
from foretrain.datasets.watermark.detection import Detector
from foretrain.datasets.watermark.green import Watermark
from foretrain.proxies.campaign.group import train_one_group
from foretrain.proxies.engine._buffers import WeightLayout
from foretrain.proxies.executors import Executor, GroupOutcome
from foretrain.proxies.generations.generations import Generations
from foretrain.proxies.models import build_model, models
from foretrain.proxies.sampling.radioactivity import radioactivity
from foretrain.proxies.sampling.sampling import sample
from foretrain.proxies.sampling.settings import SamplingSettings
from foretrain.proxies.sampling.trained import TrainedProxy
from foretrain.proxies.weights import RunWeights, WeightsFacts, read_weights, write_weights
from foretrain.testing._model_shapes import away_from_start

pytestmark = pytest.mark.usefixtures("one_thread")
others = pytest.mark.parametrize("mixer", [model.mixer for model in models().values() if model.mixer != "attention"])


def weights(mixer):
    """Those of a model away from where training starts."""
    shape = Architecture.model_validate(
        {"layers": 1, "width": 16, "ffn_width": 24, "vocab_size": 256, "context_length": 16, "mixer": mixer}
    )
    model = build_model(mixer, shape)
    named = WeightLayout(model).split(away_from_start(model, [1]))
    facts = WeightsFacts(model=mixer, shape=shape, tokenizer_digest=ByteTokenizer().digest, run_digest="0" * 64)
    return RunWeights(facts, {name: weight[0].numpy().copy() for name, weight in named.items()})


@others
def test_weights_come_back_and_score_text(mixer, tmp_path):
    kept = weights(mixer)
    write_weights(tmp_path, kept)
    assert read_weights(tmp_path).digest == kept.digest
    proxy = TrainedProxy.open(tmp_path)
    assert proxy.facts.shape.mixer.name == mixer
    text = b"a text of more than one context"
    tokens = torch.tensor([0, *text[:16]])[None, None]
    first = proxy.model.losses(proxy.weights, tokens).item()
    assert proxy.nats_per_byte([text[:16]])[0] == pytest.approx(first, rel=1e-5)
    assert np.isfinite(proxy.nats_per_byte([text, text[:3]])).all()


@others
def test_sampling_draws_what_the_whole_sequence_makes_likeliest(mixer):
    """With what the mixer keeps, or computed again; and a copy writes the same beside others."""
    proxy = TrainedProxy(weights(mixer))
    first = np.array([[3, 200]])
    written = sample(proxy.model, proxy.weights, first, 16, SamplingSettings(temperature=0), [1])
    with torch.no_grad():
        best = proxy.model.logits(proxy.weights, torch.from_numpy(written)).argmax(-1)
    np.testing.assert_array_equal(written[..., 1:], best[..., :-1].numpy())
    drawn = sample(proxy.model, proxy.weights, first, 16, SamplingSettings(temperature=0.7), [5])
    twice = {name: weight.expand(2, *weight.shape[1:]) for name, weight in proxy.weights.items()}
    beside = sample(proxy.model, twice, first.repeat(2, 0), 16, SamplingSettings(temperature=0.7), [5, 6])
    np.testing.assert_array_equal(beside[0], drawn[0])
    assert (beside[0] != beside[1]).any()


@others
def test_radioactivity_asks_any_mixer(mixer):
    proxy = TrainedProxy(weights(mixer))
    mark = Watermark(key="9f86d081884c7d65")
    windows = np.random.default_rng(0).integers(0, 256, (40, 16))
    assert 1e-3 < radioactivity(proxy, windows, Detector([mark], 256)).p <= 1


class Here(Executor):
    """Trains in this process."""

    name = "here"

    def run(self, jobs, device):
        for job in jobs:
            yield GroupOutcome(job.group, train_one_group(job.folder, job.group))


@pytest.mark.parametrize("mixer", ["hyena", "dynamic_conv"])
def test_generations_train_and_sample_another_mixer(mixer, tmp_path):
    source = {"kind": "zipf_markov", "vocab_size": 32, "branching": 4, "tokens": 6_000}
    space = {
        "corpora": "corpora.yaml", "mixer": mixer, "widths": [8], "depth": 1, "context_length": 16, "tokens": [1_000],
        "engine": {"compile": "never", "precision": "fp32", "device": "cpu", "eval_tokens": 512},
        "generations": {"count": 1, "regimes": ["replace"], "real_shares": [0], "unique_tokens": 1_000},
    }  # fmt: skip
    (tmp_path / "corpora.yaml").write_text(yaml.safe_dump({"domains": {"toy": {"synthetic": source}}}))
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(space))
    chains = Generations.create(tmp_path / "chains", tmp_path / "space.yaml")
    chains.train(Here())
    assert chains.status().complete
    frame = chains.table().frame
    assert set(frame["architecture"]) == {mixer}
    assert sorted(frame["generation"]) == [0, 1]
    assert frame["loss"].between(0.5, 4).all()
