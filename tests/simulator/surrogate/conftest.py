"""Runs of known laws with something left over, and laws fitted to them, shared by the tests of this folder."""

from collections.abc import Callable

import numpy as np
import pytest
from foretrain.simulator.fitting import Fit, Observations, fit_observations, public_prior
from foretrain.simulator.laws import get_law


@pytest.fixture(scope="package")
def fit_mixed(mix_domains) -> Callable[..., Fit]:
    """`fit_mixed(observations)`: the mixture law of the four domains, with the public prior."""

    def fit(observations: Observations, domains=mix_domains, draws: int = 20) -> Fit:
        return fit_observations(get_law("general+mixture", domains), observations, public_prior(), draws=draws)

    return fit


@pytest.fixture(scope="package")
def tuned_runs() -> Callable[..., Observations]:
    """`tuned_runs(n, seed)`: runs of many sizes whose learning rates and batches stray from an optimum."""

    def make(n: int = 90, seed: int = 0, noise: float = 0.002) -> Observations:
        rng = np.random.default_rng(seed)
        params = 10 ** rng.uniform(7.5, 9, n)
        tokens = params * 10 ** rng.uniform(0.8, 2, n)
        off, batch_off = rng.normal(0, 0.8, (2, n))
        lr = 1e-3 * (params / 1e8) ** -0.3 * np.exp(off)
        batch = 5e5 * (tokens / 2e9) ** 0.4 * np.exp(batch_off)
        loss = 1.7 + (480 * params**-0.35 + 2100 * tokens**-0.37) * (1 + 0.03 * off**2 + 0.02 * batch_off**2)
        columns = {"params": params, "tokens": tokens, "lr": lr, "batch_tokens": batch}
        return Observations.from_columns(columns, loss * np.exp(noise * rng.standard_normal(n)))

    return make


@pytest.fixture(scope="package", params=["general+lr_batch", "general+lr_batch_posynomial"])
def tuned(request, tuned_runs) -> tuple[Observations, Fit]:
    """Ninety such runs, and a law fitted to them: bowls in learning rate and batch, or a posynomial."""
    observations = tuned_runs()
    return observations, fit_observations(get_law(request.param), observations, public_prior())
