"""A ladder of runs that could be trained, two planned ones beyond it, and what is believed of them before any run."""

import copy
import importlib.util
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import Observations, public_prior
from foretrain.simulator.laws import get_law
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage.folder import load
from foretrain.simulator.search.next_proxies import Candidates, LawPosterior, Region
from foretrain.simulator.search.study import Study


def _ladder() -> dict[str, np.ndarray]:
    params, ratio = np.meshgrid(np.geomspace(2e7, 6e8, 6), [5.0, 20.0, 80.0])
    return {"params": params.ravel(), "tokens": (params * ratio).ravel()}


@pytest.fixture(scope="package")
def columns() -> dict[str, np.ndarray]:
    """Eighteen runs: six sizes, each with 5, 20 and 80 tokens per parameter."""
    return _ladder()


@pytest.fixture(scope="package")
def region() -> Region:
    """Two planned runs, a decade in size beyond the ladder."""
    return Region({"params": np.array([3e9, 7e9]), "tokens": np.array([6e10, 1.4e11])})


@pytest.fixture(scope="package")
def candidates(columns) -> Candidates:
    """The ladder, at 6·N·D FLOPs a run."""
    return Candidates(columns, 6.0 * columns["params"] * columns["tokens"])


@pytest.fixture(scope="package")
def belief(columns, region) -> LawPosterior:
    """Before any run."""
    return LawPosterior.of(get_law("general"), public_prior(), region, columns)


@pytest.fixture(scope="package")
def observe() -> Callable[..., Observations]:
    """`observe(columns, noise=0.003, seed=0)`: the same runs with losses of a Chinchilla law."""

    def make(columns, noise: float = 0.003, seed: int = 0) -> Observations:
        loss = 1.7 + 480 * columns["params"] ** -0.35 + 2100 * columns["tokens"] ** -0.37
        run_noise = np.random.default_rng(seed).normal(0, noise, len(loss))
        return Observations.from_columns(columns, loss * np.exp(run_noise))

    return make


RUN = {
    "model": {
        "architecture": {
            "layers": 16, "width": 2048, "heads": 16, "ffn_width": 5632, "vocab_size": 32000, "context_length": 2048,
        }
    },
    "data": {"tokens": "100B"},
    "optim": {"lr": 3e-4, "lr_final": 3e-5, "batch_tokens": "1M"},
    "hardware": {"accelerator": "H100-SXM-80", "count": 64, "price_usd_per_hour": 2.0},
}  # fmt: skip
SIZES = {
    "model.params": {"low": "300M", "high": "5B", "log": True},
    "data.tokens": {"low": "10B", "high": "1T", "log": True},
}


@pytest.fixture(scope="package")
def web_text() -> Predictor:
    """The shipped predictor that studies use by default."""
    return load("web-text")


@pytest.fixture(scope="package")
def make_study(web_text) -> Callable[..., Study]:
    """`make_study(space=…, objective=…, run={…}, search={…}, …)`: a study of a 1B model on 64 accelerators."""

    def make(*, run: dict | None = None, predictor: Predictor | None = None, **parts) -> Study:
        plain = copy.deepcopy(RUN)
        for section, values in (run or {}).items():
            plain[section] = {**plain.get(section, {}), **values} if isinstance(values, dict) else values
        mapping = {"run": plain, "space": SIZES, "objective": "loss_nats", **parts}
        return Study.from_mapping(mapping, predictor=predictor or web_text)

    return make


@pytest.fixture(scope="package")
def mixed_predictor() -> Predictor:
    """A predictor of three domains' mixes at one size, whose own law is an effective-token power law."""
    rng = np.random.default_rng(3)
    shares = rng.dirichlet(np.ones(3), 40)
    frame = pd.DataFrame({"params": 1e8, "tokens": 1e10, **{f"mix.{d}": shares[:, n] for n, d in enumerate("abc")}})
    for number, domain in enumerate("ab"):
        worth = np.full(3, 0.25)
        worth[number] = 1.0
        frame[f"loss.{domain}"] = 1.5 + 1.2 * (shares @ worth) ** -0.4 * np.exp(0.003 * rng.standard_normal(40))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Predictor.fit(RunTable.from_frame(frame, where="mixes"), surrogate="none")


def _benchmark(name: str) -> ModuleType:
    path = Path(__file__).parents[3] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a real server's own database, password included."""
    postgresql = _benchmark("_postgresql")
    if postgresql.binaries() is None:
        pytest.skip("PostgreSQL isn't installed")
    with postgresql.server() as url:
        yield url


@pytest.fixture
def postgresql_url(postgresql_server, request) -> str:
    """A database of this test's own."""
    import psycopg

    name = f"d{abs(hash(request.node.nodeid))}"
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    return postgresql_server.replace("/postgres", f"/{name}")
