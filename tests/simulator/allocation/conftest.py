"""Laws of stated parameters as surfaces, shipped predictors, and a plan with machines and prices."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from foretrain.simulator.allocation.compute_optimal.surface import LossSurface
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.fitting import Fit
from foretrain.simulator.laws import Reference, get_law
from foretrain.simulator.predictor.calibration import public_calibration
from foretrain.simulator.predictor.loss_model import LossModel
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage.folder import load

EXAMPLES = Path(__file__).parents[3] / "examples"


def _surface(E, A, B, alpha, beta, gamma=1.0) -> LossSurface:
    """L = E + (A·N^-α + B·D^-β)^γ."""
    params, tokens = 1e9, 2e10
    capacity, data = A * params**-alpha, B * tokens**-beta
    reducible = (capacity + data) ** gamma
    theta = np.array(
        [
            np.log(E + reducible),
            np.log(reducible / E),
            np.log(capacity / data),
            gamma * alpha,
            gamma * beta,
            np.log(gamma),
        ]
    )
    fit = Fit(get_law("general", ()), Reference({"params": params, "tokens": tokens}), theta, theta[None], 0.0, 0.0)
    return LossSurface(Predictor("law", {"loss": LossModel(fit, public_calibration(), {}, 0)}), "loss", "total")


@pytest.fixture(scope="session")
def law_surface() -> Callable[..., LossSurface]:
    """`law_surface(E, A, B, alpha, beta, gamma)`: the surface of a law with these textbook parameters."""
    return _surface


@pytest.fixture(scope="session")
def web() -> Predictor:
    """The shipped predictor of web text: repetition and experts."""
    return load("web-text")


@pytest.fixture(scope="session")
def chinchilla() -> Predictor:
    """The shipped predictor of Chinchilla's runs."""
    return load("chinchilla-massivetext")


@pytest.fixture(scope="session")
def fitted(make_table) -> Predictor:
    """A law fitted on a few runs: its forecasts are the law's own, and it knows no repeats."""
    return Predictor.fit(make_table(40), "chinchilla", name="fitted")


@pytest.fixture(scope="session")
def seven() -> RunConfig:
    """Llama-2 7B on 512 A100, with a price."""
    return RunConfig.load(EXAMPLES / "llama-7b.yaml")
