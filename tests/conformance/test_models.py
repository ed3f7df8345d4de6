"""Every registered model of proxies, in every shape that it can have, meets the contract of `foretrain.testing`.

Models are found through the registry: a new file in proxies/models is covered without a change here. A model says with
ConfigError that it can't have a shape; that shape is then left out, but the plain one is for everybody.
"""

from collections.abc import Callable

import pytest
import torch
from foretrain.core.errors import ConfigError
from foretrain.core.processors import one_torch_thread
from foretrain.proxies.models import ProxyModel, build_model, models, register_model
from foretrain.proxies.models._registry import _MODELS
from foretrain.proxies.models.transformer import Transformer
from foretrain.testing._model_checks import a_step_gives_the_scores_of_the_whole_sequence
from foretrain.testing._model_shapes import shape_of
from foretrain.testing.architectures import CHECKS, TRAINING_CHECKS, check_architecture, possible_shapes

every_model = pytest.mark.parametrize("model_name", models())
BLOCK = "transformer"
"""The member that goes through every shape: what surrounds the mixer is the same code in all of ours."""
OTHERS_HAVE = ("plain", "tied", "odd depth", "experts")
"""Shapes of the others; `foretrain.testing.check_architecture` takes all."""
CASES = [
    (model, shape) for model in models() for shape in possible_shapes(model) if model == BLOCK or shape in OTHERS_HAVE
]


@pytest.fixture(autouse=True)
def one_thread():
    with one_torch_thread():
        yield


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("model_name", "shape_name"), CASES, ids=[f"{model}, {shape}" for model, shape in CASES])
def test_a_model_meets_the_contract_in_every_shape(check, model_name, shape_name):
    check(model_name, shape_name)


@every_model
@pytest.mark.parametrize("check", TRAINING_CHECKS, ids=lambda check: check.__name__)
def test_a_model_meets_the_contract_in_training(check, model_name):
    check(model_name)


# the suite itself


@pytest.fixture
def register():
    """`register(cls)`: an architecture for the length of a test, under the name `faulty`."""
    yield register_model("faulty")
    _MODELS.remove("faulty")


def test_all_that_fails_is_raised_together_and_says_where(register):
    class Silent(Transformer):
        def logits(self, weights, tokens):
            raise RuntimeError("no scores today")

    register(Silent)
    threads = torch.get_num_threads()
    with pytest.raises(ExceptionGroup, match="the architecture faulty fails ") as caught:
        check_architecture("faulty")
    assert torch.get_num_threads() == threads
    notes = [note for failure in caught.value.exceptions for note in failure.__notes__]
    assert "no_score_depends_on_a_later_token of faulty, shape odd depth" in notes
    assert "a_model_learns_a_known_source_down_to_its_entropy of faulty" in notes
    assert not [note for note in notes if note.startswith("weights_add_up")]


class Leaky(Transformer):
    """Scores know the next token."""

    def logits(self, weights, tokens):
        return super().logits(weights, tokens.roll(-1, -1))


class Mixing(Transformer):
    """Copies see the mean of all copies' gains."""

    def logits(self, weights, tokens):
        return super().logits({**weights, "norm": weights["norm"].mean(0).expand_as(weights["norm"])}, tokens)


class Dead(Transformer):
    """The second layer's output is left out."""

    def logits(self, weights, tokens):
        return super().logits({**weights, "1.down": weights["1.down"] * 0}, tokens)


class Loud(Transformer):
    """Matrices start twice as large as they say."""

    def logits(self, weights, tokens):
        return super().logits(weights, tokens) + 3 * tokens[..., None]


class Unscaled(Transformer):
    """One learning rate at every width."""

    def learning_rate_scale(self, weight):
        return 1.0


class Forgetful(Transformer):
    """A step no longer sees the first token."""

    def step(self, weights, state, tokens):
        found = super().step(weights, state, tokens)
        state.mixers[0].values[:, 0] = 0
        return found


@pytest.mark.parametrize(
    ("faulty", "check_name"),
    [
        (Leaky, "no_score_depends_on_a_later_token"),
        (Mixing, "a_copy_computes_as_if_it_were_alone"),
        (Mixing, "no_gradient_reaches_another_copy"),
        (Dead, "no_weight_is_dead"),
        (Loud, "loss_starts_at_guessing"),
        (Forgetful, "a_step_gives_the_scores_of_the_whole_sequence"),
        (Unscaled, "learning_rates_of_matrices_fall_with_width"),
    ],
)
def test_the_suite_finds_a_faulty_model(register, faulty, check_name):
    register(faulty)
    checks: dict[str, Callable] = {check.__name__: check for check in CHECKS}
    with pytest.raises(AssertionError, match="expected"):
        checks[check_name]("faulty", "plain")


def test_a_model_without_a_cache_steps_by_computing_all_again(register):
    class Plain(Transformer):
        cached, start, step = False, ProxyModel.start, ProxyModel.step

    register(Plain)
    a_step_gives_the_scores_of_the_whole_sequence("faulty", "convolution")


# names, and what our own models refuse


@every_model
@pytest.mark.parametrize("name", ["", "Transformer", "transformer ", "gpt5\n"])
def test_unknown_names_are_refused_with_the_known_ones(model_name, name):
    with pytest.raises(ConfigError, match=r"model: got .*; expected one of ") as caught:
        build_model(name, shape_of("plain"))
    assert model_name in str(caught.value)
    assert "\n" not in str(caught.value)


MLA = {"kv_lora_rank": 8, "qk_rope_width": 8, "qk_nope_width": 8, "v_head_width": 8}


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"norm": "layer"}, "norm"),
        ({"norm": "none"}, "norm"),
        ({"biases": True}, "biases"),
        ({"qkv_biases": True}, "qkv_biases"),
        (MLA, "kv_lora_rank"),
        ({"width": 30, "heads": 2}, "heads"),
        ({"head_width": 15}, "head_width|heads"),
        ({"family": "gpt"}, "norm|biases"),
    ],
)
def test_the_transformer_refuses_shapes_that_it_cannot_express(more, field):
    with pytest.raises(ConfigError, match=rf"shape\.({field}): "):
        build_model("transformer", shape_of("plain", **more))


def test_the_transformer_takes_what_it_has_anyway():
    build_model("transformer", shape_of("plain", qkv_biases=False, norm="rms", biases=False))
