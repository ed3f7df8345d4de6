"""Generators that are networks: the same seed gives the same bits, and what they can't do they refuse."""

import numpy as np
import pytest
from foretrain.core.errors import FitError, UsageError
from foretrain.datasets.generators.members.gan import GANGenerator
from foretrain.datasets.generators.members.vae import VAEGenerator
from foretrain.datasets.generators.neural.windows import Windows

torch = pytest.importorskip("torch")

VAE = VAEGenerator(window=12, batch=4, steps=6, width=8, latent=2, embedding=4)
GAN = GANGenerator(window=12, batch=4, steps=2, width=4, blocks=1, noise=3, critic_steps=2)
TEXT = [b"The tide follows the moon, ", b"and the moon takes no notice of the tide."]


@pytest.mark.parametrize("settings", [VAE, GAN], ids=["vae", "gan"])
def test_the_same_seed_gives_the_same_bits_and_leaves_torch_as_it_was(settings):
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(2)
    told = []
    first = settings.fit(TEXT, lambda text, share: told.append((text, share)))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.get_num_threads() == 2
    torch.rand(3)
    torch.set_num_threads(1)
    second = settings.fit(TEXT)
    assert first.digest == second.digest != settings.model_copy(update={"seed": 1}).fit(TEXT).digest
    assert first.digest != settings.fit([TEXT[1]]).digest
    assert first.facts["bytes_unread"] == 0
    assert settings.fit([*TEXT, b"short"]).facts["bytes_unread"] == 5
    written = [fitted.sample(5, 12, np.random.default_rng(3)) for fitted in (first, second)]
    assert written[0] == written[1] != first.sample(5, 12, np.random.default_rng(4))
    assert {len(document) for document in written[0]} == {12}
    assert set(b"".join(written[0])) <= set(b"".join(TEXT))
    assert [share for _, share in told] == [(step + 1) / settings.steps for step in range(settings.steps)]
    torch.set_num_threads(threads)


@pytest.mark.parametrize("settings", [VAE, GAN], ids=["vae", "gan"])
def test_what_they_cannot_write_or_learn_from_is_refused(settings):
    fitted = settings.fit(TEXT)
    assert fitted.longest_bytes == 12
    assert [len(document) for document in fitted.sample(2, 1, np.random.default_rng(0))] == [1, 1]
    for documents, length in [(1, 13), (0, 5), (1, 0)]:
        with pytest.raises(UsageError, match=r"expected one document at least, of 1 to 12 bytes, the window"):
            fitted.sample(documents, length, np.random.default_rng(0))
    with pytest.raises(UsageError, match=r"got 2, the longest of 11 bytes; expected at least one of 12 bytes"):
        settings.fit([b"elevenbytes", b""])
    with pytest.raises(UsageError, match=r"got 0, the longest of 0"):
        settings.fit([])


def test_a_loss_that_is_no_number_is_named():
    with pytest.raises(FitError, match=r"gan: the critic: its loss is (nan|inf) at step \d with lr 1; .* lower lr"):
        GAN.model_copy(update={"lr": 1.0, "steps": 9, "blocks": 40}).fit(TEXT)


def test_windows_lie_within_a_document_and_are_drawn_alike():
    windows = Windows.of([b"abcde", b"x", b"fghi"], 3)
    drawn = windows.alphabet[windows.draw(5_000, np.random.default_rng(0))]
    found, counts = np.unique(drawn, axis=0, return_counts=True)
    assert [row.tobytes() for row in found] == [b"abc", b"bcd", b"cde", b"fgh", b"ghi"]
    assert counts.min() > 900
