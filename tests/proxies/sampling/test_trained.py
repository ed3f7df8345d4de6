"""Trained proxies read back: their scores are those of training, whatever is scored beside them; what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from foretrain.core.errors import CampaignError, UsageError
from foretrain.core.model.architecture import Architecture
from foretrain.datasets.tokens.tokenizer import BpeTokenizer, ByteTokenizer
from foretrain.proxies.engine._buffers import WeightLayout
from foretrain.proxies.models import build_model
from foretrain.proxies.sampling.trained import TrainedProxy, stacked
from foretrain.proxies.weights import RunWeights, WeightsFacts, write_weights
from foretrain.testing._model_shapes import away_from_start

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = Architecture(layers=1, width=16, heads=2, ffn_width=24, vocab_size=258, context_length=8, short_conv=2)


def weights(seed=1, tokenizer=None, **change):
    """Weights away from where training starts."""
    model = build_model("transformer", SHAPE)
    named = WeightLayout(model).split(away_from_start(model, [seed]))
    arrays = {name: weight[0].numpy().copy() for name, weight in named.items()}
    digest = (tokenizer or ByteTokenizer()).digest
    facts = {"model": "transformer", "shape": SHAPE, "tokenizer_digest": digest, "run_digest": "0" * 64, **change}
    return RunWeights(WeightsFacts(**facts), arrays)


PROXY = TrainedProxy(weights())


def by_hand(ids, size, proxy=PROXY):
    """Nats per byte of a document from the definition: at most a context, half of it before what is counted."""
    tokens, total, done = [0, *ids], 0.0, 0
    while done < len(ids):
        start = 0 if done == 0 else max(0, min(done - 4, len(ids) - 8))
        stop = min(start + 8, len(ids))
        with torch.no_grad():
            scores = proxy.model.logits(proxy.weights, torch.tensor(tokens[start:stop])[None, None])[0, 0]
        nats = -scores.double().log_softmax(-1)
        total += sum(nats[at - start, tokens[at + 1]].item() for at in range(done, stop))
        done = stop
    return total / size


def test_scores_are_those_of_the_model_and_of_each_document_alone():
    rng = np.random.default_rng(0)
    documents = [rng.integers(1, 256, size).astype(np.uint8).tobytes() for size in (1, 2, 7, 8, 9, 12, 13, 40, 600)]
    found = PROXY.nats_per_byte(documents)
    np.testing.assert_allclose(found, [by_hand(list(text), len(text)) for text in documents], rtol=1e-5)
    for document, score in zip(documents, found, strict=True):
        assert PROXY.nats_per_byte([document])[0] == score
    assert PROXY.nats_per_byte(["año"])[0] == PROXY.nats_per_byte(["año".encode()])[0]
    assert PROXY.nats_per_byte([]).shape == (0,)


def test_other_tokens_than_bytes_are_scored_with_their_tokenizer_by_byte():
    tokenizer = BpeTokenizer([(97, 98), (256, 99)])
    proxy = TrainedProxy(weights(tokenizer=tokenizer))
    assert proxy.nats_per_byte(["abcab"], tokenizer)[0] == pytest.approx(by_hand([257, 256], 5, proxy), rel=1e-5)
    with pytest.raises(UsageError, match="got no tokenizer; expected the one of the run"):
        proxy.nats_per_byte(["abc"])
    with pytest.raises(UsageError, match="expected the one of the run"):
        PROXY.nats_per_byte(["abc"], tokenizer)
    with pytest.raises(UsageError, match="expected a run on text"):
        TrainedProxy(weights(tokenizer_digest=None)).nats_per_byte(["abc"])


def test_an_empty_document_is_refused():
    with pytest.raises(UsageError, match="got an empty one"):
        PROXY.nats_per_byte(["a", ""])


def test_a_folder_gives_the_same_proxy_and_a_diverged_run_none(tmp_path):
    write_weights(tmp_path, weights())
    found = TrainedProxy.open(tmp_path)
    assert (found.digest, found.facts) == (PROXY.digest, PROXY.facts)
    assert all(torch.equal(found.weights[name], weight) for name, weight in PROXY.weights.items())
    write_weights(tmp_path, weights(diverged=True))
    with pytest.raises(CampaignError, match="diverged"):
        TrainedProxy.open(tmp_path)
    with pytest.raises(CampaignError, match="keep_weights"):
        TrainedProxy.open(tmp_path / "none")


def test_proxies_of_one_shape_stack_and_others_do_not():
    other = TrainedProxy(weights(2))
    model, together = stacked([PROXY, other])
    assert model is PROXY.model
    assert torch.equal(together["norm"][1], other.weights["norm"][0])
    wider = replace(weights(), facts=weights().facts.model_copy(update={"model": "another"}))
    with pytest.raises(UsageError, match="got 2 different models"):
        stacked([PROXY, type("P", (), {"facts": wider.facts})()])
    with pytest.raises(UsageError, match="got 0 different models"):
        stacked([])
