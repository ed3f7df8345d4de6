"""Run tables of a known law, shared by the tests of this folder."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.fitting import Observations

_DOMAINS = ("web", "code", "wiki", "forum")


def _loss(params, tokens) -> np.ndarray:
    """A Chinchilla law with typical coefficients, in nats."""
    return 1.7 + 480 * np.asarray(params, float) ** -0.35 + 2100 * np.asarray(tokens, float) ** -0.37


@pytest.fixture(scope="session")
def true_loss_at() -> Callable[..., np.ndarray]:
    """`true_loss_at(params, tokens)`: the loss of the known law, nats."""
    return _loss


@pytest.fixture(scope="session")
def make_frame() -> Callable[..., pd.DataFrame]:
    """`make_frame(n, noise, seed, **columns)`: n runs between 1e7 and 1e9 parameters, 5 to 160 tokens for each."""

    def make(n: int, noise: float = 0.003, seed: int = 0, decades=(7.0, 9.0), **columns) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        params = 10 ** rng.uniform(*decades, n)
        tokens = params * 10 ** rng.uniform(0.7, 2.2, n)
        loss = _loss(params, tokens) * np.exp(rng.normal(0, noise, n))
        frame = pd.DataFrame({"params": params, "tokens": tokens, "loss": loss})
        return frame.assign(**columns)

    return make


@pytest.fixture(scope="session")
def make_table(make_frame) -> Callable[..., RunTable]:
    """`make_table(n, noise, seed, **columns)`: `make_frame` as a run table."""
    return lambda *args, **kwargs: RunTable.from_frame(make_frame(*args, **kwargs), where="runs.csv")


@pytest.fixture(scope="session")
def plan() -> Callable[..., RunConfig]:
    """`plan("7B", "2T", unique_tokens=…, model={…}, targets={…})`: a configuration; other keywords are of `data`."""

    def make(params=None, tokens="1T", model=None, optim=None, targets=None, name=None, **data) -> RunConfig:
        model = {**({} if params is None else {"params": params}), **(model or {})}
        sections = {"model": model, "data": {"tokens": tokens, **data}, "optim": optim or {}, "targets": targets or {}}
        return RunConfig.from_mapping(sections | ({} if name is None else {"name": name}))

    return make


@pytest.fixture(scope="session")
def mix_domains() -> tuple[str, ...]:
    """The training domains of `make_mixed`."""
    return _DOMAINS


def _mixed_log_loss(columns, wiggle: float) -> np.ndarray:
    w = np.array([columns[f"mix.{name}"] for name in _DOMAINS])
    worth = np.log((np.exp([[0.5], [0.0], [-0.3], [-0.8]]) * (w + 1e-4) ** 0.6).sum(axis=0)) / 0.6
    size, data = columns["params"] / 1e8, columns["tokens"] / 2e9 * np.exp(worth)
    law = np.log(1.7 + 0.9 * size**-0.3 + 1.0 * data**-0.3)
    return law + wiggle * (0.04 * np.sin(4 * np.sqrt(w[0])) * np.cos(3 * w[1]) + 0.03 * np.log(w[2] + 0.02) * w[3])


@pytest.fixture(scope="session")
def mixed_log_loss() -> Callable[..., np.ndarray]:
    """`mixed_log_loss(columns, wiggle=1)`: log of a mixture law's loss, and 1 % of something smooth that it lacks."""
    return lambda columns, wiggle=1.0: _mixed_log_loss(columns, wiggle)


@pytest.fixture(scope="session")
def make_mixed() -> Callable[..., Observations]:
    """`make_mixed(n, seed, noise, wiggle, size)`: runs on random mixes of four domains, of one size or of several."""

    def make(n: int, seed: int = 0, noise: float = 0.004, wiggle: float = 1.0, size=1e8) -> Observations:
        rng = np.random.default_rng(seed)
        shares, params = rng.dirichlet(np.full(4, 0.8), n), rng.choice(np.atleast_1d(size), n)
        columns = {"params": params, "tokens": 20 * params}
        columns |= {f"mix.{name}": shares[:, place] for place, name in enumerate(_DOMAINS)}
        log_loss = _mixed_log_loss(columns, wiggle) + noise * rng.standard_normal(n)
        return Observations.from_columns(columns, np.exp(log_loss))

    return make
