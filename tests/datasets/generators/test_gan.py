"""The text WGAN-GP: its penalty has the closed form that it must have, and training moves it towards the text."""

import numpy as np
import pytest
from foretrain.datasets.generators.members.gan import GANGenerator

torch = pytest.importorskip("torch")
from foretrain.datasets.generators.neural.networks import seeded  # noqa: E402
from foretrain.datasets.generators.neural.text_gan import Critic, Writer, gradient_penalty  # noqa: E402


def test_the_penalty_of_a_quadratic_critic_is_that_of_its_slope_where_it_is_looked_at():
    """critic(x) = Σ x² / 2 has the gradient x: between a window of zeros and one of length r it is u·r, u uniform."""

    class Quadratic(torch.nn.Module):
        def forward(self, windows):
            return windows.square().flatten(1).sum(1) / 2

    written = torch.zeros(20_000, 2, 2, dtype=torch.float64)
    written[:, 0, 0], written[:, 1, 1] = 1.2, 1.6  # of length 2
    penalty = gradient_penalty(Quadratic(), torch.zeros_like(written), written, torch.Generator().manual_seed(0))
    assert float(penalty.detach()) == pytest.approx(1 / 3, abs=0.01)  # E[(2u - 1)²]


def test_the_penalty_of_a_linear_critic_is_that_of_its_norm_and_has_its_gradient():
    weight = torch.tensor([[3.0, 0.0, 4.0, 0.0]], requires_grad=True)
    critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 1))
    critic[1].weight = torch.nn.Parameter(weight)
    penalty = gradient_penalty(critic, torch.rand(3, 2, 2), torch.rand(3, 2, 2))
    penalty.backward()
    assert float(penalty.detach()) == pytest.approx((5 - 1) ** 2)
    assert critic[1].weight.grad[0].tolist() == pytest.approx([2 * 4 * 0.6, 0, 2 * 4 * 0.8, 0])


def test_shapes_are_those_of_windows_and_the_writer_gives_probabilities():
    generator = torch.Generator().manual_seed(0)
    writer = seeded(lambda: Writer(5, 7, 4, 2, 3), generator)
    critic = seeded(lambda: Critic(5, 7, 4, 2), generator)
    probabilities = writer(torch.randn(6, 3, generator=generator))
    assert probabilities.shape == (6, 5, 7)
    assert torch.allclose(probabilities.sum(1), torch.ones(6, 7))
    assert critic(probabilities).shape == (6,)


def test_it_learns_which_bytes_a_text_has_and_says_what_it_measured():
    rare = bytes(range(33, 63))  # once each, among many of two others
    text = b"ab" * 600 + rare + b"ab" * 600
    settings = GANGenerator(window=8, batch=16, steps=20, width=8, blocks=1, noise=4, critic_steps=2, lr=0.01)
    fitted = settings.fit([text])
    written = b"".join(fitted.sample(50, 8, np.random.default_rng(0)))
    assert sum(map(written.count, (b"a", b"b"))) / len(written) > 0.9
    assert 0 < fitted.facts["distinct_windows"] <= 1
    assert fitted.facts["gradient_penalty"] < 1
