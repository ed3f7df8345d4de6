"""The text VAE: its bound holds exactly where it can be computed, and posterior collapse is named."""

from itertools import product

import numpy as np
import pytest
from foretrain.datasets.generators.members.vae import VAEGenerator
from pydantic import ValidationError

torch = pytest.importorskip("torch")
from foretrain.datasets.generators.neural.networks import seeded  # noqa: E402
from foretrain.datasets.generators.neural.text_vae import TextVAE, divergence, kept_free  # noqa: E402

TINY = VAEGenerator(window=16, batch=16, steps=80, lr=0.02, width=12, latent=2, embedding=4, mean_spread=0)
COINS = np.random.default_rng(0).integers(97, 99, 4_000).astype(np.uint8).tobytes()


@pytest.fixture
def network() -> TextVAE:
    made = seeded(lambda: TextVAE(2, 6, 1, 3), torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        for weight in made.parameters():
            weight *= 3  # far from a posterior that is the prior
    return made


def test_the_divergence_is_that_of_the_two_normal_distributions():
    mean, log_variance = torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, (log_variance / 2).exp()), normal(0.0, 1.0))
    assert torch.allclose(divergence(mean, log_variance), expected, atol=1e-12)


def test_all_windows_have_a_probability_of_one_together_and_writing_goes_by_it(network):
    windows = torch.tensor(list(product((0, 1), repeat=4)))
    latents = torch.full((16, 1), 0.7, dtype=torch.float64)
    reconstruction = network.reconstruction(latents, windows)
    assert float((-reconstruction).exp().sum().detach()) == pytest.approx(1, abs=1e-12)
    before, state, stepwise = torch.full((16, 1), network.symbols), None, 0.0
    for place in range(4):  # as it is written, byte after byte
        logits, state = network.decode(latents, before, state)
        before = windows[:, place : place + 1]
        stepwise -= logits[:, 0].log_softmax(-1).gather(1, before)[:, 0]
    assert torch.allclose(stepwise, reconstruction, atol=1e-12)


def test_the_bound_and_the_divergence_from_the_true_posterior_make_the_log_probability(network):
    """log p(x) = ELBO + KL(q(z|x) || p(z|x)), each an integral over the one latent unit."""
    z = torch.linspace(-12, 12, 4_001, dtype=torch.float64)
    normal = torch.distributions.Normal
    for window in torch.tensor([[0, 1, 1], [1, 0, 0]]):
        with torch.no_grad():
            mean, log_variance = (value[0, 0] for value in network.encode(window[None]))
            log_likelihood = -network.reconstruction(z[:, None], window.expand(len(z), -1))
            log_joint = log_likelihood + normal(0.0, 1.0).log_prob(z)
            log_evidence = torch.logsumexp(log_joint, 0) + (z[1] - z[0]).log()
            log_q = normal(mean, (log_variance / 2).exp()).log_prob(z)
            q = log_q.exp() * (z[1] - z[0])
            bound = (q * log_likelihood).sum() - divergence(mean, log_variance)
            gap = (q * (log_q - (log_joint - log_evidence))).sum()
        assert float(gap) > 0.005
        assert float(bound + gap) == pytest.approx(float(log_evidence), abs=1e-9)


def test_what_is_free_is_not_paid_for():
    kl = torch.tensor([[0.1, 2.0], [0.3, 4.0]], requires_grad=True)
    paid = kept_free(kl, 1.0)  # half a nat for each unit
    paid.backward()
    assert float(paid.detach()) == pytest.approx(0.5 + 3.0)
    assert kl.grad.tolist() == [[0.0, 0.5], [0.0, 0.5]]
    assert float(kept_free(kl, 0.0).detach()) == pytest.approx(0.2 + 3.0)


def test_the_weight_of_the_divergence_rises_in_every_cycle():
    settings = TINY.model_copy(update={"steps": 8, "kl_anneal_share": 0.5, "kl_cycles": 2})
    assert [settings._weight(step) for step in range(8)] == [0, 0.5, 1, 1, 0, 0.5, 1, 1]
    assert settings.model_copy(update={"kl_anneal_share": 0.0})._weight(0) == 1


def test_collapse_is_named():
    facts = TINY.model_copy(update={"free_bits_nats": 0.0}).fit([COINS]).facts  # nothing to encode about coins
    assert facts["collapsed"]
    assert max(facts["kl_nats_per_byte"], facts["latent_gain_nats_per_byte"]) < 1e-3
    assert facts["reconstruction_nats_per_byte"] == pytest.approx(np.log(2), abs=0.02)


@pytest.mark.parametrize("kept", [{"free_bits_nats": 2.0}, {"free_bits_nats": 0.0, "mean_spread": 1.0}])
def test_free_bits_or_means_that_are_spread_keep_a_divergence(kept):
    facts = TINY.model_copy(update=kept).fit([COINS]).facts
    assert facts["kl_nats_per_document"] > (0.5 if "mean_spread" not in kept else 2 * 1.0**2 / 2)
    assert facts["kl_nats_per_byte"] == pytest.approx(facts["kl_nats_per_document"] / 16)
    assert facts["latent_gain_nats_per_byte"] > 1e-3
    assert not facts["collapsed"]


def test_means_of_one_window_have_no_spread():
    with pytest.raises(ValidationError, match="got 1; expected 2 windows at least"):
        VAEGenerator(batch=1)
    assert VAEGenerator(batch=1, mean_spread=0).batch == 1


def test_a_latent_vector_that_is_needed_is_used():
    settings = TINY.model_copy(update={"dropped_bytes": 0.9, "free_bits_nats": 0.0})
    fitted = settings.fit([b"a" * 200, b"b" * 200])
    assert not fitted.facts["collapsed"]
    assert fitted.facts["kl_nats_per_document"] > 0.5  # log 2 is .69
    written = fitted.sample(50, 16, np.random.default_rng(0))
    assert {document[:1] for document in written if len(set(document)) == 1} == {b"a", b"b"}
