"""The optimizer against torch's own, and what it does beyond it: clipping, averaging, copies that die."""

import numpy as np
import pytest
import torch
from foretrain.proxies.engine._adamw import Moments, StepSizes, update
from foretrain.proxies.engine._buffers import WeightLayout
from foretrain.proxies.models import build_model

SIZE = 48
NO_CLIP = 1e30
ONES = torch.ones(SIZE)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def weights():
    return torch.randn(1, SIZE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def gradients():
    """Of 30 steps, each of its own size: (30, 1, SIZE)."""
    generator = torch.Generator().manual_seed(2)
    return torch.randn(30, 1, SIZE, generator=generator) * torch.logspace(-2, 1, 30)[:, None, None]


def step(state, gradient, sizes, at, scales=ONES, decays=ONES):
    update(state, gradient, sizes.at(at), scales, decays, torch.tensor(at))


def torch_adamw(weights, gradients, run, clip=None):
    """The weights after each step, by torch.optim.AdamW, (steps, 1, SIZE)."""
    recipe = run.recipe
    parameter = weights.clone().requires_grad_()
    betas = (recipe.beta1, recipe.beta2)
    optimizer = torch.optim.AdamW([parameter], lr=1.0, betas=betas, eps=1e-8, weight_decay=recipe.weight_decay)
    out = []
    for at, gradient in enumerate(gradients):
        parameter.grad = gradient.clone()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_([parameter], clip)
        optimizer.param_groups[0]["lr"] = recipe.lr * float(run.schedule.at(at))
        optimizer.step()
        out.append(parameter.detach().clone())
    return torch.stack(out)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("clip", [None, 1.0, 20.0])
def test_every_step_is_that_of_torch(tiny_run, weights, gradients, schedule, clip):
    recipe = {"lr": 0.03, "weight_decay": 0.2, "beta1": 0.8, "beta2": 0.9, "averaging": 0, "schedule": schedule}
    run = tiny_run(30, recipe={**recipe, "clip_norm": clip or NO_CLIP, "warmup_tokens": 256})
    expected = torch_adamw(weights, gradients, run, clip)
    state, sizes = Moments.start(weights.clone()), StepSizes([run], "cpu")
    for at, gradient in enumerate(gradients):
        step(state, gradient, sizes, at)
        torch.testing.assert_close(state.master, expected[at], rtol=2e-5, atol=2e-6)
        torch.testing.assert_close(state.average, state.master)
    assert state.died.item() == -1


def test_clipping_limits_each_copy_by_its_own_norm(tiny_run, weights, gradients):
    """The first moment after one step from zero is (1 - beta1) times what is left of the gradient."""
    run = tiny_run(30, recipe={"beta1": 0.5, "clip_norm": 2.0})
    state, sizes = Moments.start(weights.repeat(3, 1)), StepSizes([run] * 3, "cpu")
    unit = gradients[0] / gradients[0].norm()
    step(state, torch.cat([0.5 * unit, 2.0 * unit, 50 * unit]), sizes, 0)
    torch.testing.assert_close(state.first.norm(dim=1), 0.5 * torch.tensor([0.5, 2.0, 2.0]))
    torch.testing.assert_close(state.first[2], state.first[1])


def test_clipping_changes_what_is_trained(tiny_run, weights, gradients):
    ends = []
    for clip in (NO_CLIP, 0.1):
        run = tiny_run(30, recipe={"clip_norm": clip})
        state, sizes = Moments.start(weights.clone()), StepSizes([run], "cpu")
        for at, gradient in enumerate(gradients):
            step(state, gradient, sizes, at)
        ends.append(state.master)
    assert (ends[0] - ends[1]).abs().max() > 1e-3


def test_no_gradient_moves_nothing_but_by_decay(tiny_run):
    run = tiny_run(24, recipe={"lr": 0.5, "weight_decay": 0.1})
    layout = WeightLayout(build_model("transformer", run.shape))
    start = layout.initial([0, 1])
    state, sizes = Moments.start(start.clone()), StepSizes([run, run], "cpu")
    for at in range(2):
        update(
            state,
            torch.zeros_like(start),
            sizes.at(at),
            layout.learning_rate_scales(),
            layout.decays(),
            torch.tensor(at),
        )
    before, after = layout.split(start), layout.split(state.master)
    for weight in layout.weights:
        kept = 1.0 if weight.role == "vector" else (1 - 0.5 * 0.1) ** 2
        torch.testing.assert_close(after[weight.name], kept * before[weight.name])
    assert {weight.name for weight in layout.weights if weight.role == "vector"} >= {"norm", "0.norm_1", "0.norm_2"}
    assert torch.equal(after["norm"], before["norm"])


def test_each_kind_of_weight_moves_at_its_own_rate(tiny_run):
    """Adam's first step is the learning rate times the gradient's sign, so the moves show the rates."""
    run = tiny_run(24, recipe={"lr": 0.01, "weight_decay": 0.0})
    model = build_model("transformer", run.shape)
    layout = WeightLayout(model)
    start = layout.initial([0])
    state = Moments.start(start.clone())
    gradient = torch.ones_like(start)
    scales, decays = layout.learning_rate_scales(), layout.decays()
    update(state, gradient, StepSizes([run], "cpu").at(0), scales, decays, torch.tensor(0))
    moves = layout.split(start - state.master)
    for weight in layout.weights:
        rate = 0.01 * (64 / 16 if weight.role in ("hidden", "head") else 1)
        torch.testing.assert_close(moves[weight.name], torch.full_like(moves[weight.name], rate), rtol=1e-3, atol=1e-6)


def test_copies_use_their_own_settings(tiny_run, weights, gradients):
    recipes = [
        {"lr": 0.1, "beta1": 0.5},
        {"lr": 0.01, "schedule": "linear", "lr_final": 0.0, "averaging": 0.5},
        {"weight_decay": 3.0, "clip_norm": 0.2, "beta2": 0.5, "warmup_tokens": 300},
    ]
    runs = [tiny_run(30, recipe=recipe) for recipe in recipes]
    together, sizes = Moments.start(weights.repeat(3, 1)), StepSizes(runs, "cpu")
    alone = [(Moments.start(weights.clone()), StepSizes([run], "cpu")) for run in runs]
    for at, gradient in enumerate(gradients):
        step(together, gradient.repeat(3, 1), sizes, at)
        for state, own in alone:
            step(state, gradient, own, at)
    for copy, (state, _) in enumerate(alone):
        for name in ("master", "first", "second", "average"):
            torch.testing.assert_close(getattr(together, name)[copy], getattr(state, name)[0])
    assert (together.master[0] - together.master[1]).abs().max() > 0.01


def shares_of_steps(tiny_run, averaging: float, steps: int, upto: int) -> np.ndarray:
    """How much the average after `upto` steps of `steps` holds of the weights after each of these, (upto,).

    Step t leaves the t-th unit vector behind, so that the average is the list of shares.
    """
    run = tiny_run(steps, recipe={"averaging": averaging, "weight_decay": 0.0})
    state, sizes = Moments.start(torch.zeros(1, steps)), StepSizes([run], "cpu")
    for at in range(upto):
        state.master.copy_(torch.eye(steps)[at : at + 1])
        step(state, torch.zeros(1, steps), sizes, at, torch.ones(steps), torch.ones(steps))
    assert not state.average[0, upto:].any()
    return state.average[0, :upto].double().numpy()


def test_averaging_0_is_the_last_step_and_1_the_plain_mean(tiny_run):
    np.testing.assert_allclose(shares_of_steps(tiny_run, 0.0, 50, 50), np.eye(50)[-1])
    np.testing.assert_allclose(shares_of_steps(tiny_run, 1.0, 50, 40), np.full(40, 1 / 40), rtol=1e-4)


@pytest.mark.parametrize("averaging", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("upto", [200, 400])
def test_averaging_spans_about_the_stated_share_of_the_run_so_far(tiny_run, averaging, upto):
    shares = shares_of_steps(tiny_run, averaging, 400, upto)
    age = (upto - 1 - np.arange(upto)) / upto
    assert shares.sum() == pytest.approx(1, abs=1e-5)
    assert (shares >= 0).all()
    assert averaging / 2 < shares @ age < averaging
    assert shares[age <= averaging].sum() > 0.6
    assert shares[age <= 3 * averaging].sum() > 0.9


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
def test_a_copy_with_a_broken_gradient_stays_as_it_was_for_good(tiny_run, weights, gradients, poison):
    run = tiny_run(30)
    state, sizes = Moments.start(weights.repeat(2, 1)), StepSizes([run] * 2, "cpu")
    healthy, own = Moments.start(weights.clone()), StepSizes([run], "cpu")
    for at, gradient in enumerate(gradients):
        both = gradient.repeat(2, 1)
        if at in (7, 8, 20):
            both[0, 3] = poison
        if at == 7:
            before = state.master[0].clone(), state.average[0].clone()
        step(state, both, sizes, at)
        step(healthy, gradient, own, at)
    assert state.died.flatten().tolist() == [7, -1]
    assert torch.equal(state.master[0], before[0])
    assert torch.equal(state.average[0], before[1])
    assert all(getattr(state, name).isfinite().all() for name in ("first", "second"))
    torch.testing.assert_close(state.master[1], healthy.master[0])
    torch.testing.assert_close(state.average[1], healthy.average[0])


def test_numbers_between_weights_stay_zero(tiny_run):
    """Weights lie at multiples of 16 numbers; what fills the gaps must never enter a gradient's norm."""
    run = tiny_run(4, shape={"width": 10, "ffn_width": 7, "heads": 1})
    model = build_model("transformer", run.shape)
    layout = WeightLayout(model)
    assert layout.size > sum(weight.size for weight in layout.weights)
    flat = layout.initial([0]).requires_grad_()
    tokens = torch.randint(32, (1, 4, 17), generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(model.losses(layout.split(flat), tokens).sum(), flat)
    used = torch.cat([part.flatten() for part in layout.split(torch.arange(layout.size)[None]).values()])
    gaps = torch.ones(layout.size, dtype=torch.bool)
    gaps[used] = False
    assert gaps.any()
    assert not gradient[0, gaps].any()
    assert not flat[0, gaps].any()
