"""What holds for an architecture in any shape: checks of its weights, scores, losses and gradients.

Each takes the name of an architecture and that of a shape, and its own name says what it establishes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from ..proxies.engine._buffers import WeightLayout
from ..proxies.models import BASE_WIDTH, models
from ._model_shapes import away_from_start, build, expecting, random_tokens, scores, with_another_token

__all__ = ["CHECKS"]

_ROUNDING = 1e-9
"""Of scores in fp64: what Fourier transforms and sums in another order leave."""


# weights


def weights_add_up_to_the_parameters_of_the_shape(name: str, shape: str) -> None:
    """The shape's count of parameters is that of the weights, whose names differ."""
    model = build(name, shape)
    assert model.name == name, f"got a model of the name {model.name}; expected {name}"
    weights = model.weights
    names = [weight.name for weight in weights]
    assert len(set(names)) == len(names), f"two weights have the same name, among {names}"
    total = sum(weight.size for weight in weights)
    expected = model.shape.params_total
    assert total == expected, f"the weights have {total} numbers; expected the {expected} of the shape"
    layout = WeightLayout(model)
    parts = layout.split(torch.zeros(2, layout.size))
    for weight in weights:
        assert weight.size > 0, f"{weight.name} has no numbers; expected such a weight to be left out"
        found = tuple(parts[weight.name].shape)
        assert found == (2, *weight.shape), f"{weight.name} of 2 copies is {found}; expected {(2, *weight.shape)}"


def gains_start_at_1_and_matrices_around_0(name: str, shape: str) -> None:
    """Initial values have the mean and the deviation that each weight states."""
    model = build(name, shape)
    layout = WeightLayout(model)
    parts = layout.split(layout.initial([3]))
    for weight in model.weights:
        values = parts[weight.name]
        if isinstance(weight.start, torch.Tensor):
            found = tuple(weight.start.shape)
            assert found == weight.shape, f"{weight.name}: its start is {found}; expected {weight.shape}"
            values = values - weight.start
        else:
            assert weight.start in (0.0, 1.0), f"{weight.name} starts at {weight.start}; expected 0, 1 or a tensor"
            assert weight.role == "vector" or weight.start == 0, f"{weight.name}, a {weight.role}, must start at 0"
            values = values - weight.start
        mean, deviation = values.mean().item(), values.std().item()
        error = 5 / math.sqrt(weight.size)  # five standard errors, in deviations
        assert abs(mean) <= error * weight.deviation + 1e-7, (
            f"{weight.name} starts with a mean of {mean} from its start; expected about 0"
        )
        assert abs(deviation - weight.deviation) <= max(error * weight.deviation, 1e-7), (
            f"{weight.name} starts with a deviation of {deviation}; expected about {weight.deviation}"
        )


def initial_weights_depend_on_the_seed_of_the_copy_alone(name: str, shape: str) -> None:
    """Not on the other copies, nor on torch's global generator, which is left as it was."""
    layout = WeightLayout(build(name, shape))
    state = torch.get_rng_state()
    seeds = [5, 2**32 - 1, 0]
    together = layout.initial(seeds)
    assert torch.equal(torch.get_rng_state(), state), "torch's global generator was used; expected one for each copy"
    for copy, seed in enumerate(seeds):
        beside_another = layout.initial([7, seed])[1]
        assert torch.equal(beside_another, together[copy]), f"seed {seed} gives other weights beside another copy"
    assert not torch.equal(together[0], together[2]), "two seeds give the same weights; expected different ones"


def learning_rates_of_matrices_fall_with_width(name: str, shape: str) -> None:
    """As 1 / width for hidden matrices and the head, not at all for the rest; 1 at the width recipes are meant for.

    A matrix that states its own number of inputs is scaled by that.
    """
    own = {"heads": 2, "kv_heads": None, "head_width": None} if models()[name].mixer == "attention" else {}
    narrow, wide = (build(name, shape, width=width, **own) for width in (BASE_WIDTH // 2, BASE_WIDTH))
    for slim, weight in zip(narrow.weights, wide.weights, strict=True):
        scale, before = wide.learning_rate_scale(weight), narrow.learning_rate_scale(slim)
        scaled = weight.role in ("hidden", "head")
        at_base = 1.0 if weight.fan_in is None or not scaled else BASE_WIDTH / weight.fan_in
        assert scale == at_base, f"{weight.name}: its scale is {scale} at width {BASE_WIDTH}; expected {at_base}"
        ratio = 0.5 if weight.fan_in is None and scaled else 1.0
        if weight.fan_in == slim.fan_in:
            assert scale / before == ratio, f"{weight.name}: twice the width gives {scale / before}; expected {ratio}"


# scores


def no_score_depends_on_a_later_token(name: str, shape: str) -> None:
    """A token changes the scores at its own place and at some later one, and none before it.

    In fp64 within rounding, as Fourier transforms mix all places.
    """
    model = build(name, shape)
    length, vocab_size = model.shape.context_length, model.shape.vocab_size
    flat, tokens = away_from_start(model, [1, 2]).double(), random_tokens(model, 2)[..., :-1]
    before = scores(model, flat, tokens)
    expected = (2, 3, length, vocab_size)
    assert before.shape == expected, f"scores are {tuple(before.shape)}; expected {expected}"
    for at in range(length):
        after = scores(model, flat, with_another_token(model, tokens, at))
        moved = (after - before).abs()
        assert not (moved[:, :, :at] > _ROUNDING).any(), f"token {at} changes a score before it; expected none"
        here = (moved[:, :, at] > _ROUNDING).any(-1).all()
        assert here, f"token {at} doesn't change the scores at its own place; expected it to"
        if at + 1 < length:
            later = (moved[:, :, at + 1 :] > _ROUNDING).any()
            assert later, f"token {at} changes no later score; expected it to"


def no_score_has_a_gradient_in_a_later_token(name: str, shape: str) -> None:
    """By the rows of the embedding table, of a sequence of different tokens; a tied table is the head too."""
    model = build(name, shape)
    if model.shape.tied_embeddings:
        return
    length = model.shape.context_length
    layout, flat = WeightLayout(model), away_from_start(model, [1]).double().requires_grad_()
    tokens = torch.arange(length).view(1, 1, length)
    found = model.logits(layout.split(flat), tokens)
    for at in range(length):
        (gradient,) = torch.autograd.grad(found[:, :, at].square().sum(), flat, retain_graph=True)
        largest = layout.split(gradient)["embedding"][0, :length].abs().amax(-1)
        assert largest[at] > _ROUNDING, f"the scores at place {at} have no gradient in its own token; expected one"
        leak = largest[at + 1 :].max().item() if at + 1 < length else 0.0
        assert leak <= _ROUNDING, f"the scores at place {at} have a gradient of {leak} in a later token; expected none"


def every_score_of_a_sequence_depends_on_its_first_token(name: str, shape: str) -> None:
    """Nothing is forgotten within what all layers reach, or the context."""
    model = build(name, shape)
    reach = model.shape.mixer.reach(model.shape)
    places = None if reach is None else model.shape.layers * (reach - 1) + 1
    flat, tokens = away_from_start(model, [1]), random_tokens(model, 1)[..., :-1]
    changed = with_another_token(model, tokens, 0)
    differ = (scores(model, flat, changed) != scores(model, flat, tokens)).any(-1)
    assert differ[..., :places].all(), "some scores don't depend on the first token; expected all of them to"


def scores_depend_on_the_order_of_earlier_tokens(name: str, shape: str) -> None:
    """The model knows positions: the first two tokens exchanged give other scores of those after them."""
    model = build(name, shape)
    flat, tokens = away_from_start(model, [1]), random_tokens(model, 1)[..., :-1]
    tokens[..., :2] = torch.tensor([3, 4])
    swapped = tokens.clone()
    swapped[..., :2] = torch.tensor([4, 3])
    later = (scores(model, flat, swapped) - scores(model, flat, tokens))[:, :, 2:]
    largest = later.abs().max().item()
    assert largest > 1e-4, f"exchanging the first two tokens moves later scores by {largest} at most; expected 1e-4"


def a_shorter_sequence_gives_the_same_scores(name: str, shape: str) -> None:
    """Scores don't depend on how much text follows."""
    model = build(name, shape)
    flat, tokens = away_from_start(model, [1, 2]), random_tokens(model, 2)[..., :-1]
    start = scores(model, flat, tokens[..., :5])
    whole = scores(model, flat, tokens)[:, :, :5]
    with expecting("the first 5 tokens alone to have the scores that they have in the whole sequence"):
        assert_close(start, whole, rtol=1e-4, atol=1e-4)


def a_copy_computes_as_if_it_were_alone(name: str, shape: str) -> None:
    """Its scores are those that its weights and its tokens give without other copies beside it."""
    model = build(name, shape)
    flat, tokens = away_from_start(model, [1, 2, 3]), random_tokens(model, 3)
    together = scores(model, flat, tokens[..., :-1])
    for copy in range(3):
        alone = scores(model, flat[copy : copy + 1], tokens[copy : copy + 1, :, :-1])
        with expecting(f"copy {copy} to have the scores that it has alone"):
            assert_close(together[copy], alone[0], rtol=1e-4, atol=1e-4)


def a_step_gives_the_scores_of_the_whole_sequence(name: str, shape: str) -> None:
    """Token by token, at every place, for several copies and sequences; with what is kept or computed again."""
    model = build(name, shape)
    flat, tokens = away_from_start(model, [1, 2, 3]).double(), random_tokens(model, 3)[..., :-1]
    weights, whole = WeightLayout(model).split(flat), scores(model, flat, tokens)
    with torch.no_grad():
        state = model.start(weights, *tokens.shape)
        for at in range(tokens.shape[-1]):
            found = model.step(weights, state, tokens[..., at])
            with expecting(f"the step with token {at} to give the scores that the whole sequence has there"):
                assert_close(found, whole[:, :, at], rtol=1e-9, atol=1e-9)


def matrix_products_cost_what_the_shape_says(name: str, shape: str) -> None:
    """The counter sees what a mixer computes of masked squares, which the shape doesn't count, and nothing of what
    isn't a matrix product, such as convolutions. In fp64, in which no product is done by a kernel that it doesn't know.
    """
    model = build(name, shape)
    sizes, tokens = model.shape, random_tokens(model, 2)
    with FlopCounterMode(display=False) as counter:
        scores(model, away_from_start(model, [1, 2]).double(), tokens[..., :-1])
    counted = counter.get_total_flops() / tokens[..., :-1].numel()
    mixer = sizes.mixer.flops(sizes)
    convolution = 2 * sizes.layers * sizes.short_conv * sizes.width
    uncounted = mixer.masked + mixer.shared / tokens.shape[1] - mixer.other
    expected = sizes.forward_flops_per_token() + sizes.layers * uncounted - convolution
    assert math.isclose(counted, expected, rel_tol=1e-9), f"counted {counted} FLOPs a token; expected {expected}"


# losses and gradients


def loss_is_the_cross_entropy_of_the_scores(name: str, shape: str) -> None:
    """Nats per token, one fp32 number for each sequence."""
    model = build(name, shape)
    flat, tokens = away_from_start(model, [1, 2]), random_tokens(model, 2)
    found = model.losses(WeightLayout(model).split(flat), tokens)
    assert found.shape == (2, 3), f"losses are {tuple(found.shape)}; expected (copies, sequences): (2, 3)"
    assert found.dtype == torch.float32, f"losses are {found.dtype}; expected torch.float32"
    log_share = scores(model, flat, tokens[..., :-1]).double().log_softmax(-1)
    expected = -log_share.gather(-1, tokens[..., 1:, None]).mean((-1, -2))
    with expecting("the losses to be the cross-entropies of the scores"):
        assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def training_adds_to_the_losses_of_validation(name: str, shape: str) -> None:
    """What is trained on are the losses that validation measures, and one finite number for each copy, if any."""
    model = build(name, shape)
    weights, tokens = WeightLayout(model).split(away_from_start(model, [1, 2])), random_tokens(model, 2)
    losses, added = model.training_losses(weights, tokens)
    with expecting("training to see the losses of validation"):
        assert_close(losses, model.losses(weights, tokens), rtol=1e-6, atol=1e-6)
    if added is not None:
        assert added.shape == (2,), f"what training adds is {tuple(added.shape)}; expected one number a copy: (2,)"
        assert added.isfinite().all(), f"what training adds is {added.tolist()}; expected finite numbers"
    for what, values in model.diagnostics(weights, tokens).items():
        assert values.shape == (2,), f"{what} is {tuple(values.shape)}; expected one number a copy: (2,)"


def loss_starts_at_guessing(name: str, shape: str) -> None:
    """And the scores that it comes from are small, so that no choice of seed starts far from it."""
    model = build(name, shape)
    flat, tokens = WeightLayout(model).initial([1, 2, 3, 4]), random_tokens(model, 4, sequences=16)
    loss = model.losses(WeightLayout(model).split(flat), tokens)
    guessing = torch.full((4,), math.log(model.shape.vocab_size))
    with expecting("the loss to start at log(vocab_size)"):
        assert_close(loss.mean(1), guessing, rtol=0, atol=0.1)
    largest = scores(model, flat, tokens[..., :-1]).abs().max().item()
    assert largest < 2, f"a score starts at {largest}; expected all within 2 of 0"


def no_weight_is_dead(name: str, shape: str) -> None:
    """Every row of every weight has a gradient, but for embeddings of tokens that didn't occur."""
    model = build(name, shape)
    if model.shape.short_conv > model.shape.context_length:
        return  # some taps have nothing to look at
    layout = WeightLayout(model)
    flat, tokens = away_from_start(model, [1, 2, 3]).requires_grad_(), random_tokens(model, 3, sequences=8)
    (gradient,) = torch.autograd.grad(model.losses(layout.split(flat), tokens).sum(), flat)
    assert gradient.isfinite().all(), "a gradient isn't finite; expected all to be"
    parts = layout.split(gradient)
    for weight in model.weights:
        for copy in range(3):
            part = parts[weight.name][copy]
            rows = part.reshape(len(part), -1).any(-1)
            if weight.role == "embedding" and len(rows) == model.shape.vocab_size:
                rows = rows[tokens[copy, :, :-1].unique()]
            assert rows.all(), f"{weight.name}: a row of copy {copy} has no gradient; expected one in every row"


def no_gradient_reaches_another_copy(name: str, shape: str) -> None:
    """The loss of a copy depends on the weights of that copy alone."""
    model = build(name, shape)
    layout, tokens = WeightLayout(model), random_tokens(model, 3)
    for copy in range(3):
        flat = away_from_start(model, [1, 2, 3]).requires_grad_()
        losses = model.losses(layout.split(flat), tokens)
        (gradient,) = torch.autograd.grad(losses[copy].sum(), flat)
        assert gradient[copy].any(), f"the loss of copy {copy} has no gradient in its own weights; expected one"
        others = gradient[[other for other in range(3) if other != copy]]
        assert not others.any(), f"the loss of copy {copy} has a gradient in another copy's weights; expected none"


CHECKS: list[Callable[[str, str], None]] = [
    weights_add_up_to_the_parameters_of_the_shape,
    gains_start_at_1_and_matrices_around_0,
    initial_weights_depend_on_the_seed_of_the_copy_alone,
    learning_rates_of_matrices_fall_with_width,
    no_score_depends_on_a_later_token,
    no_score_has_a_gradient_in_a_later_token,
    every_score_of_a_sequence_depends_on_its_first_token,
    scores_depend_on_the_order_of_earlier_tokens,
    a_shorter_sequence_gives_the_same_scores,
    a_copy_computes_as_if_it_were_alone,
    a_step_gives_the_scores_of_the_whole_sequence,
    matrix_products_cost_what_the_shape_says,
    loss_is_the_cross_entropy_of_the_scores,
    training_adds_to_the_losses_of_validation,
    loss_starts_at_guessing,
    no_weight_is_dead,
    no_gradient_reaches_another_copy,
]
"""Called with the name of an architecture and that of a shape; some milliseconds each."""
