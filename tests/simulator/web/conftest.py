"""One application for all tests of the API, asked without a network."""

from collections.abc import Iterator

import pytest
from foretrain.simulator.web.app import create_app
from foretrain.simulator.web.settings import Limits, Settings
from starlette.testclient import TestClient

HOST = "http://127.0.0.1:8321"

SHAPE = {"layers": 8, "width": 768, "heads": 12, "ffn_width": 2048, "vocab_size": 32000, "context_length": 2048}
PLAN = {
    "name": "small",
    "model": {"architecture": SHAPE},
    "data": {"tokens": "10B"},
    "optim": {"batch_tokens": "512k"},
    "hardware": {"accelerator": "H100-SXM-80", "count": 8, "price_usd_per_hour": 2.0},
}
CURVE_PLAN = {
    "model": {"params": "1B"},
    "data": {"tokens": "4B"},
    "optim": {"batch_tokens": "1M", "lr": 3e-4, "lr_final": 3e-5, "schedule": "cosine", "warmup_steps": 100},
}


@pytest.fixture(scope="session")
def curves(tmp_path_factory) -> str:
    """A folder with a library of one curve."""
    import numpy as np
    from foretrain.simulator.curve.law.transfer import Library
    from foretrain.simulator.curve.library import Curve
    from foretrain.simulator.curve.rates.path import named_path
    from foretrain.simulator.curve.store import save

    path = named_path("cosine", 2000, 100, 0.1)
    steps = np.arange(300.0, 2001.0, 100.0)
    curve = Curve("first", "toy", 1e9, path, steps, 2.6 + 8.0 / np.sqrt(steps))
    folder = tmp_path_factory.mktemp("web") / "curves"
    save(Library([curve]), folder)
    return str(folder)


@pytest.fixture(scope="session")
def client(curves) -> Iterator[TestClient]:
    """Asks one application, whose limits leave room for a test's haste."""
    settings = Settings(curves={"own": curves}, limits=Limits(requests_per_s=1e6, burst=10**6, jobs_waiting=1))
    with TestClient(create_app(settings), base_url=HOST, raise_server_exceptions=False) as asking:
        yield asking
