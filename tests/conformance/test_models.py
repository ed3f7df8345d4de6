"""Every registered model of proxies, in every shape of this list that it can have, meets one contract.

Models are found through the registry: a new file in proxies/models is covered without a change here. A model says with
ConfigError that it can't have a shape; that shape is then left out, but the plain one is for everybody.
"""

import math

import numpy as np
import pytest
import torch
from foretrain.core.errors import ConfigError
from foretrain.core.model.architecture import Architecture
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.tokens.prepare import prepare
from foretrain.proxies.engine import train_group
from foretrain.proxies.engine._buffers import WeightLayout
from foretrain.proxies.engine._checkpoint import load_checkpoint, save_checkpoint
from foretrain.proxies.engine._group import TrainingGroup
from foretrain.proxies.engine._hardware import resolve
from foretrain.proxies.models import ProxyModel, build_model, models
from foretrain.proxies.runs import ProxyRun, Recipe
from foretrain.proxies.settings import EngineSettings
from torch.utils.flop_counter import FlopCounterMode

PLAIN = {"layers": 2, "width": 32, "heads": 2, "ffn_width": 48, "vocab_size": 61, "context_length": 12}
SHAPES = {
    "plain": {},
    "convolution": {"short_conv": 4},
    "tied": {"tied_embeddings": True, "short_conv": 4},
    "shared keys": {"heads": 4, "kv_heads": 2, "short_conv": 1},
    "one key head": {"heads": 4, "kv_heads": 1},
    "not gated": {"ffn_gated": False, "short_conv": 2},
    "wide heads": {"heads": 3, "head_width": 14, "short_conv": 4},
    "one layer": {"layers": 1},
    "odd depth": {"layers": 3, "width": 24, "ffn_width": 25, "vocab_size": 17, "short_conv": 4},
    "more taps than tokens": {"short_conv": 15},
    "experts": {"num_experts": 4, "experts_per_token": 2},
    "layer norm": {"norm": "layer"},
    "biases": {"biases": True},
    "learned positions": {"learned_positions": True},
}
SETTINGS = EngineSettings(device="cpu", precision="fp32", compile="never", eval_tokens=1_000)


def shape_of(name: str, **more) -> Architecture:
    return Architecture(**{**PLAIN, **SHAPES[name], **more})


def cases() -> list[tuple[str, str]]:
    out = []
    for model in models():
        for name in SHAPES:
            try:
                build_model(model, shape_of(name))
            except ConfigError:
                assert name != "plain", f"{model} must have the plain shape"
            else:
                out.append((model, name))
    return out


every_model = pytest.mark.parametrize("model_name", models())
CASES = cases()


def each(selected: list[tuple[str, str]]):
    return pytest.mark.parametrize(("model_name", "shape_name"), selected, ids=[f"{m}, {s}" for m, s in selected])


every_case = each(CASES)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def lively(model: ProxyModel, seeds: list[int]) -> torch.Tensor:
    """Weights away from where training starts, where parts such as a zero head hide the rest: (copies, size)."""
    layout = WeightLayout(model)
    flat = layout.initial(seeds)
    for copy, seed in enumerate(seeds):
        flat[copy] += 0.2 * torch.randn(layout.size, generator=torch.Generator().manual_seed(seed + 1000))
    return flat


def text(model: ProxyModel, copies: int, sequences: int = 3, seed: int = 0) -> torch.Tensor:
    """Random tokens, (copies, sequences, context_length + 1)."""
    generator = torch.Generator().manual_seed(seed)
    size = (copies, sequences, model.shape.context_length + 1)
    return torch.randint(model.shape.vocab_size, size, generator=generator)


def scores(model: ProxyModel, flat: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(WeightLayout(model).split(flat), tokens)


@every_case
def test_weights_add_up_to_the_parameters_of_the_shape(model_name, shape_name):
    model = build_model(model_name, shape_of(shape_name))
    assert model.name == model_name
    weights = model.weights
    assert len({weight.name for weight in weights}) == len(weights)
    assert sum(weight.size for weight in weights) == model.shape.params_total
    assert all(weight.size > 0 for weight in weights)
    for name, part in WeightLayout(model).split(torch.zeros(2, WeightLayout(model).size)).items():
        assert part.shape == (2, *next(w.shape for w in weights if w.name == name))


@every_case
def test_gains_start_at_1_and_matrices_around_0(model_name, shape_name):
    model = build_model(model_name, shape_of(shape_name))
    parts = WeightLayout(model).split(WeightLayout(model).initial([3]))
    for weight in model.weights:
        values = parts[weight.name]
        assert weight.start in (0.0, 1.0)
        assert weight.role == "vector" or weight.start == 0
        assert values.mean().item() == pytest.approx(weight.start, abs=5 * weight.deviation / weight.size**0.5 + 1e-7)
        assert values.std().item() == pytest.approx(weight.deviation, rel=5 / weight.size**0.5, abs=1e-7)


@every_case
def test_no_score_depends_on_a_later_token(model_name, shape_name):
    model = build_model(model_name, shape_of(shape_name))
    flat, tokens = lively(model, [1, 2]), text(model, 2)[..., :-1]
    before = scores(model, flat, tokens)
    assert before.shape == (2, 3, model.shape.context_length, model.shape.vocab_size)
    for at in range(model.shape.context_length):
        changed = tokens.clone()
        changed[..., at] = (changed[..., at] + 1) % model.shape.vocab_size
        after = scores(model, flat, changed)
        assert torch.equal(after[:, :, :at], before[:, :, :at]), at
        assert (after[:, :, at] != before[:, :, at]).any(-1).all(), at
        if at + 1 < model.shape.context_length:
            assert (after[:, :, at + 1 :] != before[:, :, at + 1 :]).any(), at


@every_case
def test_every_score_of_a_sequence_depends_on_its_first_token(model_name, shape_name):
    model = build_model(model_name, shape_of(shape_name))
    flat, tokens = lively(model, [1]), text(model, 1)[..., :-1]
    changed = tokens.clone()
    changed[..., 0] = (changed[..., 0] + 1) % model.shape.vocab_size
    assert (scores(model, flat, changed) != scores(model, flat, tokens)).any(-1).all()


@every_case
def test_scores_depend_on_the_order_of_earlier_tokens(model_name, shape_name):
    model = build_model(model_name, shape_of(shape_name))
    flat, tokens = lively(model, [1]), text(model, 1)[..., :-1]
    tokens[..., :2] = torch.tensor([3, 4])
    swapped = tokens.clone()
    swapped[..., :2] = torch.tensor([4, 3])
    last = scores(model, flat, swapped)[:, :, -1] - scores(model, flat, tokens)[:, :, -1]
    assert last.abs().max() > 1e-4


@every_case
def test_a_shorter_sequence_gives_the_same_scores(model_name, shape_name):
    model = build_model(model_name, shape_of(shape_name))
    flat, tokens = lively(model, [1, 2]), text(model, 2)[..., :-1]
    half = scores(model, flat, tokens[..., :5])
    torch.testing.assert_close(half, scores(model, flat, tokens)[:, :, :5], rtol=1e-4, atol=1e-4)


@each([case for case in CASES if case[1] != "more taps than tokens"])  # some taps there have nothing to look at
def test_no_weight_is_dead(model_name, shape_name):
    model = build_model(model_name, shape_of(shape_name))
    flat, tokens = lively(model, [1, 2, 3]).requires_grad_(), text(model, 3, sequences=8)
    (gradient,) = torch.autograd.grad(model.losses(WeightLayout(model).split(flat), tokens).sum(), flat)
    assert gradient.isfinite().all()
    for weight in model.weights:
        part = WeightLayout(model).split(gradient)[weight.name]
        for copy in range(3):
            rows = part[copy].reshape(len(part[copy]), -1).any(-1)
            if weight.role == "embedding" and len(rows) == model.shape.vocab_size:
                rows = rows[tokens[copy, :, :-1].unique()]
            assert rows.all(), (weight.name, copy)


@every_case
def test_loss_is_the_cross_entropy_of_the_scores(model_name, shape_name):
    model = build_model(model_name, shape_of(shape_name))
    flat, tokens = lively(model, [1, 2]), text(model, 2)
    found = model.losses(WeightLayout(model).split(flat), tokens)
    assert found.shape == (2, 3)
    assert found.dtype == torch.float32
    log_share = scores(model, flat, tokens[..., :-1]).double().log_softmax(-1)
    expected = -log_share.gather(-1, tokens[..., 1:, None]).mean((-1, -2))
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


@every_case
def test_matrix_products_cost_what_the_shape_says(model_name, shape_name):
    """The counter sees whole squares of attention, where the shape counts the half that a causal mask leaves, and none
    of the convolution, which isn't a matrix product."""
    model = build_model(model_name, shape_of(shape_name))
    shape, tokens = model.shape, text(model, 2)
    with FlopCounterMode(display=False) as counter:
        scores(model, lively(model, [1, 2]), tokens[..., :-1])
    counted = counter.get_total_flops() / tokens[..., :-1].numel()
    head_width = shape.head_width or shape.width // shape.heads
    upper_half = 4 * shape.layers * shape.heads * head_width * (shape.context_length - 1) / 2
    convolution = 2 * shape.layers * shape.short_conv * shape.width
    assert counted == pytest.approx(shape.forward_flops_per_token() + upper_half - convolution, rel=1e-9)


@every_case
def test_a_copy_computes_as_if_it_were_alone(model_name, shape_name):
    model = build_model(model_name, shape_of(shape_name))
    flat, tokens = lively(model, [1, 2, 3]), text(model, 3)
    together = scores(model, flat, tokens[..., :-1])
    for copy in range(3):
        alone = scores(model, flat[copy : copy + 1], tokens[copy : copy + 1, :, :-1])
        torch.testing.assert_close(together[copy], alone[0], rtol=1e-4, atol=1e-4)


@every_case
def test_no_gradient_reaches_another_copy(model_name, shape_name):
    model = build_model(model_name, shape_of(shape_name))
    tokens = text(model, 3)
    for copy in range(3):
        flat = lively(model, [1, 2, 3]).requires_grad_()
        losses = model.losses(WeightLayout(model).split(flat), tokens)
        (gradient,) = torch.autograd.grad(losses[copy].sum(), flat)
        assert gradient[copy].any()
        assert not gradient[[other for other in range(3) if other != copy]].any()


@every_case
def test_initial_weights_depend_on_the_seed_of_the_copy_alone(model_name, shape_name):
    layout = WeightLayout(build_model(model_name, shape_of(shape_name)))
    state = torch.get_rng_state()
    three = layout.initial([5, 2**32 - 1, 0])
    assert torch.equal(torch.get_rng_state(), state)
    for copy, seed in enumerate([5, 2**32 - 1, 0]):
        assert torch.equal(layout.initial([7, seed])[1], three[copy])
    assert not torch.equal(three[0], three[2])


@every_case
def test_loss_starts_at_guessing(model_name, shape_name):
    """And the scores that it comes from are small, so that no choice of seed starts far from it."""
    model = build_model(model_name, shape_of(shape_name))
    flat, tokens = WeightLayout(model).initial([1, 2, 3, 4]), text(model, 4, sequences=16)
    loss = model.losses(WeightLayout(model).split(flat), tokens)
    torch.testing.assert_close(loss.mean(1), torch.full((4,), math.log(model.shape.vocab_size)), rtol=0, atol=0.1)
    assert scores(model, flat, tokens[..., :-1]).abs().max() < 2


@every_case
def test_learning_rates_of_matrices_fall_with_width(model_name, shape_name):
    narrow, wide = (
        build_model(model_name, shape_of(shape_name, width=width, heads=2, kv_heads=None, head_width=width // 2))
        for width in (32, 64)
    )
    for role in {weight.role for weight in wide.weights}:
        ratio = wide.learning_rate_scale(role) / narrow.learning_rate_scale(role)
        assert ratio == (0.5 if role in ("hidden", "head") else 1.0), role
        assert wide.learning_rate_scale(role) == 1.0, "64 is the width that recipes are meant for"


@every_model
@pytest.mark.parametrize("name", ["", "Transformer", "transformer ", "gpt5\n"])
def test_unknown_names_are_refused_with_the_known_ones(model_name, name):
    with pytest.raises(ConfigError, match=r"model: got .*; expected one of ") as caught:
        build_model(name, shape_of("plain"))
    assert model_name in str(caught.value)
    assert "\n" not in str(caught.value)


MOE = {"num_experts": 4, "experts_per_token": 2}
MLA = {"kv_lora_rank": 8, "qk_rope_width": 8, "qk_nope_width": 8, "v_head_width": 8}


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"norm": "layer"}, "norm"),
        ({"norm": "none"}, "norm"),
        ({"biases": True}, "biases"),
        ({"qkv_biases": True}, "qkv_biases"),
        ({"learned_positions": True}, "learned_positions"),
        (MOE, "num_experts"),
        (MLA, "kv_lora_rank"),
        ({"width": 30, "heads": 2}, "heads"),
        ({"head_width": 15}, "head_width|heads"),
        ({"family": "gpt"}, "norm|biases|learned_positions"),
    ],
)
def test_the_transformer_refuses_shapes_that_it_cannot_express(more, field):
    with pytest.raises(ConfigError, match=rf"shape\.({field}): "):
        build_model("transformer", Architecture(**{**PLAIN, **more}))


def test_the_transformer_takes_what_it_has_anyway():
    build_model("transformer", Architecture(**PLAIN, qkv_biases=False, norm="rms", biases=False))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A chain over 64 tokens, each followed by one of 4: an entropy of 1.24 nats, where guessing gives 4.16."""
    source = {"kind": "zipf_markov", "vocab_size": 64, "branching": 4, "exponent": 1.0, "tokens": 1_000_000}
    corpus = Corpus.from_mapping({"domains": {"known": {"synthetic": source}}})
    return prepare(corpus, tmp_path_factory.mktemp("known"))


def proxy(model_name: str, steps: int, batch: int, seed: int = 1, **shape) -> ProxyRun:
    sizes = {"layers": 2, "width": 40, "heads": 2, "ffn_width": 80, "vocab_size": 64, "context_length": 64}
    return ProxyRun(
        run_id=f"{model_name} {seed}",
        model=model_name,
        shape=Architecture(**{**sizes, **shape}),
        recipe=Recipe(lr=0.02, schedule="linear", lr_final=0.0, warmup_tokens=10_000, weight_decay=0.0),
        tokens=steps * batch * 64,
        batch_sequences=batch,
        mix={"known": 1.0},
        seed=seed,
    )


@every_model
def test_a_saved_model_has_the_same_loss_when_loaded(model_name, store, tmp_path):
    runs = [proxy(model_name, 6, 4, seed) for seed in (1, 2)]

    def group() -> TrainingGroup:
        return TrainingGroup(runs, store, SETTINGS, resolve(SETTINGS, 1.0))

    trained, fresh = group(), group()
    for _ in range(3):
        trained.advance()
    save_checkpoint(trained, tmp_path / "c.safetensors")
    assert load_checkpoint(fresh, tmp_path / "c.safetensors")
    tokens = text(trained.model, 2)
    before = group()._losses(tokens)
    assert torch.equal(fresh._losses(tokens), trained._losses(tokens))
    assert not torch.equal(fresh._losses(tokens), before)


@every_model
def test_a_model_learns_a_known_source_down_to_its_entropy(model_name, store, tmp_path):
    settings = SETTINGS.model_copy(update={"eval_tokens": 60_000})
    one = proxy(model_name, 300, 8)
    assert 30_000 <= one.shape.params_total <= 60_000
    (result,) = train_group([one], store, settings, tmp_path / "c.safetensors")
    entropy = store.entropy_nats("known")
    loss = result.evaluations[-1].losses["known"]
    assert result.status == "ok"
    assert loss.mean_nats < 1.05 * entropy
    assert loss.mean_nats > entropy - 2 * loss.standard_error_nats
    assert np.mean([point.loss_nats for point in result.curve[:3]]) > 2 * entropy
