"""The term of batches without learning rates."""

import numpy as np
from foretrain.simulator.fitting import Observations, choose, fit_observations, public_prior
from foretrain.simulator.laws import get_law, terms

RNG = np.random.default_rng(0)


def _table(params, tokens, batch):
    """Losses whose tokens count D / (1 + B / B_c), B_c = 60·D^0.462, with a little noise."""
    worth = tokens / (1.0 + batch / (60.0 * tokens**0.462))
    loss = 1.8 + 400.0 * params**-0.34 + 1500.0 * worth**-0.36
    return {"params": params, "tokens": tokens, "batch_tokens": batch, "loss": loss}


def _grid(sizes):
    points = np.array([(n, n * ratio, b) for n in sizes for ratio in (10.0, 40.0) for b in (6e4, 2.5e5, 1e6, 4e6)])
    return _table(*points.T)


def test_the_term_carries_few_steps_to_larger_runs():
    seen, larger = _grid([5e7, 1e8, 2e8, 4e8]), _grid([3e9])
    noisy = seen["loss"] * np.exp(RNG.normal(0.0, 1e-3, len(seen["loss"])))
    observations = Observations(
        {name: seen[name] for name in ("params", "tokens", "batch_tokens")}, noisy, np.ones(len(noisy))
    )
    prior = public_prior()
    errors = {}
    for law in ("general", "general+batch"):
        fit = fit_observations(get_law(law), observations, prior)
        errors[law] = np.abs(fit.log_loss(larger) - np.log(larger["loss"])).mean()
    assert errors["general+batch"] < 0.4 * errors["general"]
    assert choose(observations, prior).law.endswith("+batch")


def test_a_batch_that_follows_size_is_no_evidence():
    tokens = np.geomspace(1e9, 1e11, 20)
    columns = {"params": tokens / 20.0, "tokens": tokens, "batch_tokens": 6.0 * tokens**0.477}
    assert "varies too little" in terms()["batch"]().identifiable(columns)
