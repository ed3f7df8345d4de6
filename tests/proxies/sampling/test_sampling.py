"""Sampling: draws follow the model's distribution, each copy by itself, the same however many are written at once."""

import numpy as np
import pytest
import torch
from foretrain.core.errors import ConfigError, UsageError
from foretrain.core.reading.config_messages import Origins
from foretrain.core.reading.config_reader import validated
from foretrain.datasets.watermark.green import Watermark
from foretrain.proxies.engine._buffers import WeightLayout
from foretrain.proxies.models import ProxyModel
from foretrain.proxies.models.transformer import Transformer
from foretrain.proxies.sampling.cost import sampling_flops
from foretrain.proxies.sampling.sampling import sample
from foretrain.proxies.sampling.settings import SamplingSettings
from foretrain.testing._model_shapes import away_from_start, shape_of
from scipy.stats import chisquare

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = shape_of("convolution", vocab_size=17, kv_heads=1, context_length=12)
MODEL = Transformer(SHAPE)
PLAIN = SamplingSettings()
GREEDY = SamplingSettings(temperature=0)


def weights_of(seeds):
    """Weights of one copy for each seed, with scores that are far from uniform."""
    flat = away_from_start(MODEL, seeds)
    named = dict(WeightLayout(MODEL).split(flat))
    named["head"] = named["head"] * 2
    return named


WEIGHTS = weights_of([1, 2, 3])


def one(copy):
    return {name: weight[copy : copy + 1] for name, weight in WEIGHTS.items()}


def shares(copy, tokens, temperature=1.0):
    """Probabilities of the next token after tokens (T,), from the whole sequence at once: (V,)."""
    with torch.no_grad():
        scores = MODEL.logits(one(copy), torch.tensor(tokens)[None, None])[0, 0, -1]
    return (scores / temperature).softmax(-1).double().numpy()


def seconds_after_first(settings, draws=6400, seed=5):
    """How often copy 0 draws each token after token 3: (V,)."""
    written = sample(MODEL, one(0), np.full((1, draws), 3), 2, settings, [seed])
    assert (written[..., 0] == 3).all()
    return np.bincount(written[0, :, 1], minlength=17)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
def test_draws_follow_the_models_distribution(temperature):
    expected = shares(0, [3], temperature)
    found = seconds_after_first(SamplingSettings(temperature=temperature))
    rare = expected * found.sum() < 5
    assert chisquare(
        np.append(found[~rare], found[rare].sum() + 1e-9),
        np.append(expected[~rare], expected[rare].sum() + 1e-9) * (found.sum() / expected.sum()),
        sum_check=False,
    ).pvalue > 1e-3  # fmt: skip


def test_later_draws_follow_what_was_drawn_before():
    """The last of eight tokens, given the seven before it: its probability integral transform is uniform."""
    written = sample(MODEL, one(0), np.full((1, 640), 3), 8, PLAIN, [1])[0]
    with torch.no_grad():
        found = MODEL.logits(one(0), torch.from_numpy(written[None, :, :-1]))[0, :, -1].softmax(-1).double().numpy()
    drawn = written[:, -1]
    reached = found.cumsum(1)
    own = found[np.arange(640), drawn]
    places = reached[np.arange(640), drawn] - own * np.random.default_rng(0).random(640)
    assert chisquare(np.histogram(places, 10, (0, 1))[0]).pvalue > 1e-3


@pytest.mark.parametrize("top_p", [0.2, 0.5, 0.9])
def test_a_nucleus_is_the_fewest_tokens_that_have_the_share(top_p):
    expected = shares(0, [3])
    order = np.argsort(-expected)
    size = int((np.cumsum(expected[order]) < top_p).sum()) + 1
    kept = set(order[:size].tolist())
    found = seconds_after_first(SamplingSettings(top_p=top_p))
    assert set(np.flatnonzero(found).tolist()) == kept
    if size > 1:
        wanted = expected[sorted(kept)] / expected[sorted(kept)].sum()
        assert chisquare(found[sorted(kept)], wanted * found.sum()).pvalue > 1e-3


def test_greedy_takes_the_best_token_always():
    written = sample(MODEL, one(0), np.array([[3, 5]]), 9, GREEDY, [1])[0]
    for sequence in written:
        for at in range(1, 9):
            assert sequence[at] == shares(0, sequence[:at].tolist()).argmax()
    cold = sample(MODEL, one(0), np.array([[3, 5]]), 9, SamplingSettings(temperature=0.001), [1])[0]
    np.testing.assert_array_equal(cold, written)


def test_a_copy_writes_the_same_beside_others_and_more_sequences_begin_with_the_fewer():
    first = np.random.default_rng(0).integers(0, 17, (3, 140))
    together = sample(MODEL, WEIGHTS, first, 13, PLAIN, [7, 8, 9])
    for copy in range(3):
        alone = sample(MODEL, one(copy), first[copy : copy + 1], 13, PLAIN, [7 + copy])
        np.testing.assert_array_equal(alone[0], together[copy])
    for fewer in (1, 3, 129):
        some = sample(MODEL, WEIGHTS, first[:, :fewer], 13, PLAIN, [7, 8, 9])
        np.testing.assert_array_equal(some, together[:, :fewer])
    other = sample(MODEL, WEIGHTS, first, 13, PLAIN, [7, 8, 10])
    assert (other[:2] == together[:2]).all()
    assert (other[2] != together[2]).any()


def test_without_a_cache_the_same_is_written():
    class Recomputing(Transformer):
        cached, start, step = False, ProxyModel.start, ProxyModel.step

    first = np.full((3, 4), 2)
    expected = sample(MODEL, WEIGHTS, first, 13, GREEDY, [0, 0, 0])
    np.testing.assert_array_equal(sample(Recomputing(SHAPE), WEIGHTS, first, 13, GREEDY, [0, 0, 0]), expected)


def test_a_watermark_is_added_once_a_whole_context_was_written():
    mark = Watermark(key="0123456789abcdef", delta=100.0, vocab_size=17)
    first = np.full((1, 300), 3)
    plain = sample(MODEL, one(0), first, 8, PLAIN, [1])[0]
    marked = sample(MODEL, one(0), first, 8, SamplingSettings(watermark=mark), [1])[0]
    np.testing.assert_array_equal(marked[:, :3], plain[:, :3])
    for at in range(3, 8):
        contexts = marked[:, at - 3 : at]
        has_green = mark.bias(contexts, 17).any(1)
        np.testing.assert_array_equal(mark.green(contexts, marked[:, at]), has_green)
    with pytest.raises(UsageError, match="marks a vocabulary of 256"):
        sample(MODEL, one(0), first, 8, SamplingSettings(watermark=Watermark(key="0123456789abcdef")), [1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"length": 14}, "got a length of 14; expected 1 to 13: the context of 12 and one more"),
        ({"length": 0}, "expected 1 to 13"),
        ({"seeds": [1, 2]}, "2 seeds for weights of 1 copies"),
        ({"first": np.zeros((2, 4), int)}, r"got first tokens \(2, 4\)"),
        ({"first": np.full((1, 4), 17)}, "outside the vocabulary of 17"),
        ({"first": np.full((1, 4), -1)}, "outside the vocabulary of 17"),
        ({"weights": {name: weight * torch.nan for name, weight in one(0).items()}}, "aren't numbers"),
    ],
)
def test_what_makes_no_sense_is_refused(change, message):
    given = {"weights": one(0), "first": np.zeros((1, 4), int), "length": 5, "settings": PLAIN, "seeds": [1]}
    with pytest.raises(UsageError, match=message):
        sample(MODEL, **{**given, **change})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temperature": 0, "top_p": 0}, "top_p"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.01}, "top_p"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": 1e-6}, "temperature: got 1e-06; expected 0.001 to 100, or 0: greedy"),
        ({"temperature": float("inf")}, "temperature"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        validated(SamplingSettings, given, Origins("sampling"))


def test_nothing_to_write_costs_nothing():
    assert sample(MODEL, one(0), np.zeros((1, 0), int), 5, PLAIN, [1]).shape == (1, 0, 5)
    assert sample(MODEL, one(0), np.full((1, 3), 4), 1, PLAIN, [1]).tolist() == [[[4], [4], [4]]]


def test_the_cost_is_a_forward_pass_a_token_and_half_a_sequence_more_without_a_cache():
    assert sampling_flops(SHAPE, 1000) == 2 * SHAPE.params_total * 1000
    assert sampling_flops(SHAPE, 1000, length=9, cached=False) == 5 * sampling_flops(SHAPE, 1000)
